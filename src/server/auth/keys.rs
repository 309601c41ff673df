//! The keys that tokens are verified with: a secret, a public key, or a set of public keys.
//!
//! A key bears the one algorithm that it is for. What a token's head says is only compared with it, so nobody can pass
//! a public key off as a secret (RFC 8725 §2.1, §3.1).

use std::path::Path;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;

/// One key or several.
#[derive(Clone, Debug)]
pub struct Keys(Vec<Key>);

/// A key and what it is for. What is shown of it is no secret.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
    /// Its name within a set (RFC 7517 §4.5).
    id: Option<String>,
}

/// HS256 asks for a secret as long as its hash (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// A public RSA key in DER is somewhat longer than its modulus, which has at least 2048 bits (RFC 7518 §3.3).
const MIN_RSA_BYTES: usize = 256;

/// A point of P-256, uncompressed.
const P256_POINT_BYTES: usize = 65;

impl Keys {
    /// A secret for HS256: the content of the file at `path`, without the line's end.
    ///
    /// # Errors
    ///
    /// [`KeyError`].
    pub fn load_secret(path: &Path) -> Result<Self, KeyError> {
        Self::secret(&std::fs::read(path)?)
    }

    /// A public key in PEM, in the file at `path`: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA.
    ///
    /// # Errors
    ///
    /// [`KeyError`].
    pub fn load_public_key(path: &Path) -> Result<Self, KeyError> {
        Self::public_key(&std::fs::read(path)?)
    }

    /// A set of public keys as JSON (RFC 7517 §5), in the file at `path`.
    ///
    /// # Errors
    ///
    /// [`KeyError`].
    pub fn load_set(path: &Path) -> Result<Self, KeyError> {
        Self::set(&std::fs::read(path)?)
    }

    /// A secret for HS256.
    ///
    /// # Errors
    ///
    /// [`KeyError::ShortSecret`] or [`KeyError::NoSecret`].
    pub fn secret(bytes: &[u8]) -> Result<Self, KeyError> {
        let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        // Whoever knows a public key could sign with it.
        if secret.starts_with(b"-----BEGIN") {
            return Err(KeyError::NoSecret);
        }
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::ShortSecret);
        }
        Ok(Self(vec![Key {
            algorithm: Algorithm::HS256,
            decoding: DecodingKey::from_secret(secret),
            id: None,
        }]))
    }

    /// A public key in PEM.
    ///
    /// # Errors
    ///
    /// [`KeyError`].
    pub fn public_key(pem: &[u8]) -> Result<Self, KeyError> {
        let is_private = pem.windows(PRIVATE.len()).any(|window| window == PRIVATE);
        if is_private {
            return Err(KeyError::PrivateKey);
        }
        let key = |algorithm, decoding| Key { algorithm, decoding, id: None };
        let found = DecodingKey::from_ed_pem(pem)
            .map(|decoding| key(Algorithm::EdDSA, decoding))
            .or_else(|_| DecodingKey::from_ec_pem(pem).map(|decoding| key(Algorithm::ES256, decoding)))
            .or_else(|_| DecodingKey::from_rsa_pem(pem).map(|decoding| key(Algorithm::RS256, decoding)))
            .map_err(|_| KeyError::NoPublicKey)?;
        found.check()?;
        Ok(Self(vec![found]))
    }

    /// A set of public keys as JSON. Keys for something else, and kinds that aren't known here, are left out.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoSet`] or [`KeyError::EmptySet`], or what is wrong with a key that would be used.
    pub fn set(json: &[u8]) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(|_| KeyError::NoSet)?;
        let known = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let mut keys = Vec::new();
        for jwk in known {
            let Some(algorithm) = algorithm(&jwk) else { continue };
            let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| KeyError::NoSet)?;
            let key = Key { algorithm, decoding, id: jwk.common.key_id };
            key.check()?;
            keys.push(key);
        }
        if keys.is_empty() { Err(KeyError::EmptySet) } else { Ok(Self(keys)) }
    }

    /// The key for a token whose head says this.
    ///
    /// A lone key needs no name. Several are told apart by their names, or by their algorithms if only one fits.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        if let [key] = &*self.0
            && (key.id.is_none() || id.is_none())
        {
            return Some(key);
        }
        let mut fitting = self.0.iter().filter(|key| match id {
            Some(id) => key.id.as_deref() == Some(id),
            None => key.algorithm == algorithm,
        });
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Some(key),
            _ => None,
        }
    }

    /// The algorithms that tokens may be signed with.
    pub(super) fn algorithms(&self) -> String {
        let mut names: Vec<String> = self.0.iter().map(|key| format!("{:?}", key.algorithm)).collect();
        names.sort_unstable();
        names.dedup();
        names.join(" or ")
    }
}

impl Key {
    fn check(&self) -> Result<(), KeyError> {
        match (self.algorithm, self.decoding.kind()) {
            (Algorithm::RS256, DecodingKeyKind::SecretOrDer(bytes)) if bytes.len() <= MIN_RSA_BYTES => {
                Err(KeyError::ShortRsa)
            }
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, .. }) if n.len() < MIN_RSA_BYTES => {
                Err(KeyError::ShortRsa)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(bytes)) if bytes.len() != P256_POINT_BYTES => {
                Err(KeyError::WrongCurve)
            }
            _ => Ok(()),
        }
    }
}

/// What a key of a set is for, if it is one that is known here. A secret isn't: a set is public.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    jwk.common.key_algorithm.as_ref().is_none_or(|said| *said == name).then_some(algorithm)
}

const PRIVATE: &[u8] = b"PRIVATE KEY-----";

/// A file that holds no key for tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Io(#[from] std::io::Error),
    /// A secret that can be guessed.
    #[error(
        "the secret is too short: use at least {MIN_SECRET_BYTES} bytes, such as `openssl rand -hex 32` prints"
    )]
    ShortSecret,
    /// A key pair's half where a secret is needed.
    #[error("this is a key in PEM, not a secret: give a public key as such")]
    NoSecret,
    /// A private key where a public one is needed.
    #[error(
        "this is a private key, which belongs to whoever signs: `openssl pkey -pubout` makes the public one of it"
    )]
    PrivateKey,
    /// No public key of a known kind.
    #[error(
        "this is no public key in PEM of RSA, P-256 or Ed25519: it begins with -----BEGIN PUBLIC KEY-----"
    )]
    NoPublicKey,
    /// An RSA key that is too short.
    #[error("the RSA key is too short: use at least 2048 bits")]
    ShortRsa,
    /// A key on another curve.
    #[error("the key is on another curve than P-256, which is what ES256 needs")]
    WrongCurve,
    /// No set of keys.
    #[error("this is no set of keys: it is JSON, {{\"keys\": […]}}, as RFC 7517 describes it")]
    NoSet,
    /// A set without a key that is known here.
    #[error("the set has no public key for RS256, ES256 or EdDSA")]
    EmptySet,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: &[u8] = include_bytes!("../../../tests/auth/rs256.pem");

    #[test]
    fn the_kind_of_a_public_key_fixes_its_algorithm() {
        for (pem, algorithm) in [
            (RSA, "RS256"),
            (include_bytes!("../../../tests/auth/es256.pem"), "ES256"),
            (include_bytes!("../../../tests/auth/eddsa.pem"), "EdDSA"),
        ] {
            assert_eq!(Keys::public_key(pem).unwrap().algorithms(), algorithm);
        }
    }

    #[test]
    fn a_set_keeps_what_is_for_signatures() {
        let set = include_bytes!("../../../tests/auth/jwks.json");
        assert_eq!(Keys::set(set).unwrap().algorithms(), "ES256 or EdDSA or RS256");
        let others = br#"{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"new"},{"kty":"RSA","use":"enc","n":"AAAA","e":"AQAB"}]}"#;
        assert!(matches!(Keys::set(others), Err(KeyError::EmptySet)));
        let short = br#"{"keys":[{"kty":"RSA","n":"AAAA","e":"AQAB"}]}"#;
        assert!(matches!(Keys::set(short), Err(KeyError::ShortRsa)));
        assert!(matches!(Keys::set(b"[]"), Err(KeyError::NoSet)));
    }

    #[test]
    fn weak_and_wrong_keys_are_refused() {
        assert!(matches!(Keys::secret(b"0123456789012345678901234567890\n"), Err(KeyError::ShortSecret)));
        assert!(matches!(Keys::secret(RSA), Err(KeyError::NoSecret)));
        let private = b"-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n";
        assert!(matches!(Keys::public_key(private), Err(KeyError::PrivateKey)));
        assert!(matches!(Keys::public_key(b"secret"), Err(KeyError::NoPublicKey)));
        let short = include_bytes!("../../../tests/auth/rsa1024.pem");
        assert!(matches!(Keys::public_key(short), Err(KeyError::ShortRsa)));
        let p384 = include_bytes!("../../../tests/auth/p384.pem");
        assert!(matches!(Keys::public_key(p384), Err(KeyError::WrongCurve)));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", Keys::secret(b"01234567890123456789012345678901").unwrap());
        assert!(!shown.contains("48, 49") && !shown.contains("0123"), "{shown}");
    }
}
