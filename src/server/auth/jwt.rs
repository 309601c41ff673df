//! Verifying a token: signature, time, issuer, audience, claims (RFC 7515, RFC 7519, RFC 8725).

use std::time::{Duration, SystemTime};

use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;

use crate::chat::name::{NameError, UserName};
use crate::server::http::Problem;

use super::Token;
use super::grant::{Grant, Patterns};
use super::keys::Keys;

/// What a token has to say, besides being signed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who has to have issued it; anybody who has the key by default.
    pub issuer: Option<String>,
    /// Whom it has to be for. Without this it may be for nobody in particular, but not for somebody else.
    pub audience: Option<String>,
    /// How far the issuer's clock may be from ours. 30 s by default.
    pub leeway: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { issuer: None, audience: None, leeway: Duration::from_secs(30) }
    }
}

/// Verifies tokens.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: Keys,
    settings: Settings,
}

/// The claims that are read; others are nobody's business here.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    name: Option<String>,
    iss: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
    switchboard: Option<Rooms>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Our own claim. A misspelt member would allow more than it should, so there is no unknown one.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rooms {
    join: Option<Vec<String>>,
    send: Option<Vec<String>>,
    moderate: Option<Vec<String>>,
}

impl Verifier {
    /// Verifies with these keys.
    pub fn new(keys: Keys, settings: Settings) -> Self {
        Self { keys, settings }
    }

    /// What `token` allows at the time `now`.
    ///
    /// # Errors
    ///
    /// A [`TokenError`] of the first thing that is wrong with it.
    pub fn verify(&self, token: &Token, now: SystemTime) -> Result<Grant, TokenError> {
        let claims = self.signed_claims(token)?;
        let expires_at = self.check_time(&claims, now)?;
        self.check_parties(&claims)?;
        let name = claims.name.or(claims.sub).ok_or(TokenError::NoName)?;
        let rooms = claims.switchboard.unwrap_or_default();
        Ok(Grant {
            name: UserName::parse(&name)?,
            expires_at,
            join: rooms.join.map_or_else(Patterns::all, Patterns),
            send: rooms.send.map_or_else(Patterns::all, Patterns),
            moderate: rooms.moderate.map_or_else(Patterns::none, Patterns),
        })
    }

    /// The claims of a token whose signature is right.
    fn signed_claims(&self, token: &Token) -> Result<Claims, TokenError> {
        let wrong_algorithm = || TokenError::Algorithm { expected: self.keys.algorithms() };
        let header = jsonwebtoken::decode_header(token.as_str()).map_err(|error| match error.kind() {
            // JSON of another shape: an `alg` that nobody knows, `none` among them.
            ErrorKind::Json(error) if error.is_data() => wrong_algorithm(),
            _ => TokenError::Malformed,
        })?;
        // Whatever it says must be understood isn't (RFC 7515 §4.1.11).
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let key = self.keys.find(header.kid.as_deref(), header.alg).ok_or(TokenError::UnknownKey)?;
        if header.alg != key.algorithm {
            return Err(wrong_algorithm());
        }
        let mut validation = Validation::new(key.algorithm);
        // These are checked below, with a clock that is an argument.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        match jsonwebtoken::decode(token.as_str(), &key.decoding, &validation) {
            Ok(data) => Ok(data.claims),
            Err(error) => match error.kind() {
                ErrorKind::Json(_) | ErrorKind::Utf8(_) => Err(TokenError::Claims),
                ErrorKind::Base64(_) | ErrorKind::InvalidToken => Err(TokenError::Malformed),
                _ => Err(TokenError::Signature),
            },
        }
    }

    /// When the token runs out, if it holds now.
    fn check_time(&self, claims: &Claims, now: SystemTime) -> Result<SystemTime, TokenError> {
        let leeway = self.settings.leeway;
        let expires_at = time(claims.exp.ok_or(TokenError::NoExpiry)?)?;
        let expires_at = expires_at.checked_add(leeway).ok_or(TokenError::Claims)?;
        if now >= expires_at {
            return Err(TokenError::Expired);
        }
        if let Some(seconds) = claims.nbf
            && now.checked_add(leeway).ok_or(TokenError::Claims)? < time(seconds)?
        {
            return Err(TokenError::NotYetValid);
        }
        Ok(expires_at)
    }

    fn check_parties(&self, claims: &Claims) -> Result<(), TokenError> {
        if self.settings.issuer.is_some() && claims.iss != self.settings.issuer {
            return Err(TokenError::Issuer);
        }
        let is_for_us = match (&claims.aud, &self.settings.audience) {
            (None, None) => true,
            (Some(Audience::One(audience)), Some(us)) => audience == us,
            (Some(Audience::Several(audience)), Some(us)) => audience.contains(us),
            // A token for somebody must not be taken by anybody else (RFC 7519 §4.1.3).
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_for_us { Ok(()) } else { Err(TokenError::Audience) }
    }
}

/// Seconds since 1970, which may have a fraction (RFC 7519 §2).
fn time(seconds: f64) -> Result<SystemTime, TokenError> {
    let since = Duration::try_from_secs_f64(seconds).map_err(|_| TokenError::Claims)?;
    SystemTime::UNIX_EPOCH.checked_add(since).ok_or(TokenError::Claims)
}

/// A token that isn't accepted. Nothing of the token is in the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There is none.
    #[error(
        "there is no token: send one in Authorization: Bearer, or offer the subprotocol switchboard.token.TOKEN"
    )]
    Missing,
    /// There are two in one place.
    #[error("there is more than one token in the same place: send one")]
    Repeated,
    /// It is longer than any that is accepted.
    #[error("the token is too long: put less into it")]
    TooLong,
    /// It isn't three parts of base64url with JSON in the first.
    #[error("this is no token: it has three parts with dots between, in base64url (RFC 7515)")]
    Malformed,
    /// It needs something to be understood that isn't.
    #[error("the token's header has crit, of which nothing is understood here")]
    Critical,
    /// No key fits.
    #[error("the token is signed with a key that is not known here (its kid names none of the server's)")]
    UnknownKey,
    /// It is signed in another way than the key is for.
    #[error("the token is signed with another algorithm than {expected}")]
    Algorithm {
        /// What the server's keys are for.
        expected: String,
    },
    /// The signature is wrong.
    #[error("the token's signature is wrong: it was changed, or signed with another key")]
    Signature,
    /// The claims aren't what they should be.
    #[error(
        "the token's claims can't be read: sub, name and iss are texts, exp and nbf numbers, \
         switchboard has only join, send and moderate, lists of texts"
    )]
    Claims,
    /// There is no `exp`.
    #[error("the token never runs out: give it an exp")]
    NoExpiry,
    /// `exp` is over.
    #[error("the token has expired: get a new one")]
    Expired,
    /// `nbf` is still to come.
    #[error("the token is not valid yet: check the clocks of the server and of whoever issued it")]
    NotYetValid,
    /// Another issuer.
    #[error("the token's iss is not the issuer that the server trusts")]
    Issuer,
    /// For somebody else.
    #[error("the token's aud is not this server (its operator sets it with --jwt-audience)")]
    Audience,
    /// Neither `name` nor `sub`.
    #[error("the token says nobody's name: give it a sub or a name")]
    NoName,
    /// A name that can't be had in the chat.
    #[error("the token's name can't be used: {0}")]
    Name(#[from] NameError),
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        Self::unauthorized(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::*;
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::{Value, json};

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const RSA: &[u8] = include_bytes!("../../../tests/auth/rs256.pem");

    /// The second 1,000 after 1970.
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1000)
    }

    fn signed(header: &Header, claims: &Value, secret: &[u8]) -> Token {
        Token::parse(&jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret)).unwrap())
            .unwrap()
    }

    fn verify_with(claims: &Value, settings: Settings) -> Result<Grant, TokenError> {
        let verifier = Verifier::new(Keys::secret(SECRET).unwrap(), settings);
        verifier.verify(&signed(&Header::new(Algorithm::HS256), claims, SECRET), now())
    }

    fn verify(claims: &Value) -> Result<Grant, TokenError> {
        verify_with(claims, Settings { leeway: Duration::from_secs(30), ..Settings::default() })
    }

    fn failure(claims: Value) -> TokenError {
        verify(&claims).expect_err("must be refused")
    }

    #[test]
    fn tokens_that_others_signed_are_verified() {
        let set = Keys::set(include_bytes!("../../../tests/auth/jwks.json")).unwrap();
        for (pem, token, named) in [
            (
                RSA,
                include_str!("../../../tests/auth/rs256.jwt"),
                include_str!("../../../tests/auth/rs256_kid.jwt"),
            ),
            (
                include_bytes!("../../../tests/auth/es256.pem"),
                include_str!("../../../tests/auth/es256.jwt"),
                include_str!("../../../tests/auth/es256_kid.jwt"),
            ),
            (
                include_bytes!("../../../tests/auth/eddsa.pem"),
                include_str!("../../../tests/auth/eddsa.jwt"),
                include_str!("../../../tests/auth/eddsa_kid.jwt"),
            ),
        ] {
            let keys = Keys::public_key(pem).unwrap();
            for (keys, token) in [(&keys, token), (&keys, named), (&set, token), (&set, named)] {
                let token = Token::parse(token.trim()).unwrap();
                let verifier = Verifier::new(keys.clone(), Settings::default());
                assert_eq!(verifier.verify(&token, now()).unwrap().name().as_str(), "Ann");
                let cut = Token::parse(&token.as_str()[..token.as_str().len() - 2]).unwrap();
                let error = verifier.verify(&cut, now()).unwrap_err();
                assert!(matches!(error, TokenError::Signature | TokenError::Malformed), "{error}");
            }
        }
    }

    #[test]
    fn a_public_key_can_not_be_passed_off_as_a_secret() {
        let verifier = Verifier::new(Keys::public_key(RSA).unwrap(), Settings::default());
        let token = signed(&Header::new(Algorithm::HS256), &json!({"sub": "Ann", "exp": 2000}), RSA);
        let expected = TokenError::Algorithm { expected: "RS256".to_owned() };
        assert_eq!(verifier.verify(&token, now()).unwrap_err(), expected);
        // {"alg":"none"}
        let unsigned = Token::parse("eyJhbGciOiJub25lIn0.eyJzdWIiOiJBbm4iLCJleHAiOjIwMDB9.").unwrap();
        assert_eq!(verifier.verify(&unsigned, now()).unwrap_err(), expected);
    }

    #[test]
    fn a_head_with_an_unknown_key_or_demand_is_refused() {
        let keys = Keys::set(include_bytes!("../../../tests/auth/jwks.json")).unwrap();
        let claims = json!({"sub": "Ann", "exp": 2000});
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("other".to_owned());
        let verifier = Verifier::new(keys, Settings::default());
        assert_eq!(
            verifier.verify(&signed(&header, &claims, SECRET), now()).unwrap_err(),
            TokenError::UnknownKey
        );
        header.crit = Some(vec!["b64".to_owned()]);
        assert_eq!(
            verifier.verify(&signed(&header, &claims, SECRET), now()).unwrap_err(),
            TokenError::Critical
        );
    }

    #[test]
    fn another_secret_is_another_signature() {
        let verifier = Verifier::new(Keys::secret(SECRET).unwrap(), Settings::default());
        let header = Header::new(Algorithm::HS256);
        let token =
            signed(&header, &json!({"sub": "Ann", "exp": 2000}), b"another secret, just as long as it");
        assert_eq!(verifier.verify(&token, now()).unwrap_err(), TokenError::Signature);
    }

    #[test]
    fn a_token_holds_between_its_times() {
        assert!(verify(&json!({"sub": "Ann", "exp": 971, "nbf": 1030})).is_ok());
        let grant = verify(&json!({"sub": "Ann", "exp": 2000.5})).unwrap();
        assert_eq!(grant.expires_at(), now() + Duration::from_millis(1_030_500));
        assert_eq!(failure(json!({"sub": "Ann", "exp": 970})), TokenError::Expired);
        assert_eq!(failure(json!({"sub": "Ann", "exp": 2000, "nbf": 1031})), TokenError::NotYetValid);
        assert_eq!(failure(json!({"sub": "Ann"})), TokenError::NoExpiry);
        for exp in [json!(-1), json!(1e300), json!("2000"), json!([])] {
            assert_eq!(failure(json!({"sub": "Ann", "exp": exp})), TokenError::Claims);
        }
    }

    #[test]
    fn issuer_and_audience_have_to_be_ours() {
        let settings =
            Settings { issuer: Some("us".into()), audience: Some("chat".into()), ..Settings::default() };
        let with = |iss: Value, aud: Value| {
            verify_with(&json!({"sub": "Ann", "exp": 2000, "iss": iss, "aud": aud}), settings.clone())
                .map(drop)
        };
        assert_eq!(with(json!("us"), json!("chat")), Ok(()));
        assert_eq!(with(json!("us"), json!(["mail", "chat"])), Ok(()));
        assert_eq!(with(json!("them"), json!("chat")), Err(TokenError::Issuer));
        assert_eq!(with(Value::Null, json!("chat")), Err(TokenError::Issuer));
        assert_eq!(with(json!("us"), json!(["mail"])), Err(TokenError::Audience));
        assert_eq!(with(json!("us"), Value::Null), Err(TokenError::Audience));
        assert_eq!(failure(json!({"sub": "Ann", "exp": 2000, "aud": "mail"})), TokenError::Audience);
    }

    #[test]
    fn names_come_from_name_or_sub() {
        let name = |claims| verify(&claims).unwrap().name().as_str().to_owned();
        assert_eq!(name(json!({"sub": "u1", "name": "Ann", "exp": 2000})), "Ann");
        assert_eq!(name(json!({"sub": "u1", "exp": 2000})), "u1");
        assert_eq!(failure(json!({"exp": 2000})), TokenError::NoName);
        assert!(matches!(failure(json!({"sub": "[x]", "exp": 2000})), TokenError::Name(_)));
    }

    #[test]
    fn rooms_are_those_of_the_patterns() {
        let open = verify(&json!({"sub": "Ann", "exp": 2000})).unwrap();
        let allowed =
            [Action::Join, Action::Send, Action::Moderate].map(|action| open.allows(action, "lobby"));
        assert_eq!(allowed, [true, true, false]);
        let rooms = json!({"join": ["team-*"], "send": [], "moderate": ["team-a"]});
        let closed = verify(&json!({"sub": "Ann", "exp": 2000, "switchboard": rooms})).unwrap();
        assert!(closed.allows(Action::Join, "team-a") && !closed.allows(Action::Join, "lobby"));
        assert!(!closed.allows(Action::Send, "team-a") && closed.allows(Action::Moderate, "team-a"));
        let misspelt = json!({"sub": "Ann", "exp": 2000, "switchboard": {"jion": ["team-*"]}});
        assert_eq!(failure(misspelt), TokenError::Claims);
    }
}
