//! Tokens against a fixed clock; those in `tests/auth` were signed by OpenSSL.

use super::super::Action;
use super::*;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
use serde_json::{Value, json};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const RSA: &[u8] = include_bytes!("../../../../tests/auth/rs256.pem");

/// The second 1,000 after 1970.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1000)
}

fn signed(header: &Header, claims: &Value, secret: &[u8]) -> Token {
    Token::parse(&jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret)).unwrap()).unwrap()
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
    let set = Keys::set(include_bytes!("../../../../tests/auth/jwks.json")).unwrap();
    for (pem, token, named) in [
        (
            RSA,
            include_str!("../../../../tests/auth/rs256.jwt"),
            include_str!("../../../../tests/auth/rs256_kid.jwt"),
        ),
        (
            include_bytes!("../../../../tests/auth/es256.pem"),
            include_str!("../../../../tests/auth/es256.jwt"),
            include_str!("../../../../tests/auth/es256_kid.jwt"),
        ),
        (
            include_bytes!("../../../../tests/auth/eddsa.pem"),
            include_str!("../../../../tests/auth/eddsa.jwt"),
            include_str!("../../../../tests/auth/eddsa_kid.jwt"),
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
    let keys = Keys::set(include_bytes!("../../../../tests/auth/jwks.json")).unwrap();
    let claims = json!({"sub": "Ann", "exp": 2000});
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("other".to_owned());
    let verifier = Verifier::new(keys, Settings::default());
    assert_eq!(
        verifier.verify(&signed(&header, &claims, SECRET), now()).unwrap_err(),
        TokenError::UnknownKey
    );
    header.crit = Some(vec!["b64".to_owned()]);
    assert_eq!(verifier.verify(&signed(&header, &claims, SECRET), now()).unwrap_err(), TokenError::Critical);
}

#[test]
fn another_secret_is_another_signature() {
    let verifier = Verifier::new(Keys::secret(SECRET).unwrap(), Settings::default());
    let header = Header::new(Algorithm::HS256);
    let token = signed(&header, &json!({"sub": "Ann", "exp": 2000}), b"another secret, just as long as it");
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
        verify_with(&json!({"sub": "Ann", "exp": 2000, "iss": iss, "aud": aud}), settings.clone()).map(drop)
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
    let allowed = [Action::Join, Action::Send, Action::Moderate].map(|action| open.allows(action, "lobby"));
    assert_eq!(allowed, [true, true, false]);
    let rooms = json!({"join": ["team-*"], "send": [], "moderate": ["team-a"]});
    let closed = verify(&json!({"sub": "Ann", "exp": 2000, "switchboard": rooms})).unwrap();
    assert!(closed.allows(Action::Join, "team-a") && !closed.allows(Action::Join, "lobby"));
    assert!(!closed.allows(Action::Send, "team-a") && closed.allows(Action::Moderate, "team-a"));
    let misspelt = json!({"sub": "Ann", "exp": 2000, "switchboard": {"jion": ["team-*"]}});
    assert_eq!(failure(misspelt), TokenError::Claims);
}

/// Texts that may be JSON of about the right shape.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "\\{\"(alg|sub|exp|nbf|aud|kid|crit|switchboard)\":(\"(HS256|none|RS256|[a-z]*)\"|-?[0-9]{1,25}(e[0-9]{1,3})?|\\[\\]|null|\\{\\})\\}",
    ]
}

proptest! {
    #[test]
    fn any_token_is_verified_or_refused(head in texts(), claims in texts(), signature in any::<Vec<u8>>()) {
        use base64::Engine as _;
        let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let text = [encode(head.as_bytes()), encode(claims.as_bytes()), encode(&signature)].join(".");
        let verifier = Verifier::new(Keys::public_key(RSA).unwrap(), Settings::default());
        if let Ok(token) = Token::parse(&text) {
            prop_assert!(verifier.verify(&token, now()).is_err());
        }
    }

    #[test]
    fn any_claims_that_are_signed_are_read_or_refused(claims in texts()) {
        let Ok(claims) = serde_json::from_str::<Value>(&claims) else { return Ok(()) };
        let _ = verify(&claims);
    }
}
