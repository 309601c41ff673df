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
mod tests;
