//! API keys, for backends that call the HTTP API.

use std::fmt;
use std::path::Path;

use http::HeaderMap;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::server::http::{Problem, bearer};

/// The keys of a file. Only their hashes are kept.
#[derive(Clone)]
pub struct ApiKeys {
    /// Never empty.
    hashes: Vec<[u8; 32]>,
    /// The lines of those that could be guessed.
    short: Vec<usize>,
}

/// Shorter ones could be guessed.
const SAFE_KEY_CHARS: usize = 16;

impl ApiKeys {
    /// Reads the keys in the file at `path`.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError`].
    pub fn load(path: &Path) -> Result<Self, ApiKeyError> {
        Self::parse(&std::fs::read_to_string(path)?)
    }

    /// Reads keys, one a line. White space around them, empty lines and lines that begin with `#` don't count.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError`].
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        let (mut hashes, mut short) = (Vec::new(), Vec::new());
        for (at, line) in text.lines().enumerate() {
            let key = line.trim();
            if key.is_empty() || key.starts_with('#') {
                continue;
            }
            if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(ApiKeyError::NotPrintable { line: at + 1 });
            }
            if key.len() < SAFE_KEY_CHARS {
                short.push(at + 1);
            }
            hashes.push(hash(key));
        }
        if hashes.is_empty() { Err(ApiKeyError::None) } else { Ok(Self { hashes, short }) }
    }

    /// The lines of keys with less than 16 characters, which could be guessed: they are to be warned of.
    pub fn short_lines(&self) -> &[usize] {
        &self.short
    }

    /// Whether `key` is one of them. How long it takes doesn't depend on how much of it is right.
    pub fn contains(&self, key: &str) -> bool {
        let hash = hash(key);
        let is_one = |found: Choice, known: &[u8; 32]| found | known.ct_eq(&hash);
        self.hashes.iter().fold(Choice::from(0), is_one).into()
    }

    /// Lets a request through that bears one of them.
    ///
    /// # Errors
    ///
    /// A 401 that says what to send.
    pub fn authorize(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match bearer(headers) {
            Some(key) if self.contains(key) => Ok(()),
            Some(_) => Err(Problem::unauthorized(
                "this API key is not known here: check it, and that no part is missing",
            )),
            None => {
                Err(Problem::unauthorized("there is no API key: send the header Authorization: Bearer KEY"))
            }
        }
    }
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({})", self.hashes.len())
    }
}

/// A file that holds no keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyError {
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Io(#[from] std::io::Error),
    /// A key can't be sent in a header.
    #[error("line {line}: a key can have only letters, digits and punctuation of ASCII, and no spaces")]
    NotPrintable {
        /// Its line, from 1 on.
        line: usize,
    },
    /// There is no key.
    #[error("there is no key in it: write one a line, such as `openssl rand -hex 32` prints")]
    None,
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::AUTHORIZATION;

    const FILE: &str = "# backend\n\n  0123456789abcdef \r\nfedcba9876543210\n";

    #[test]
    fn keys_are_read_one_a_line() {
        let keys = ApiKeys::parse(FILE).unwrap();
        assert!(keys.contains("0123456789abcdef") && keys.contains("fedcba9876543210"));
        for wrong in ["", "# backend", "0123456789abcde", "0123456789abcdef ", "0123456789abcdeff"] {
            assert!(!keys.contains(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_wrong_file_is_told_by_its_line_without_the_key() {
        for (text, expected) in [
            ("0123456789 abcdef", "line 1: a key can have only"),
            ("0123456789abcdéf", "line 1: a key can have only"),
            ("# none\n", "there is no key"),
        ] {
            let error = ApiKeys::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains("0123"), "{error}");
        }
    }

    #[test]
    fn keys_that_could_be_guessed_are_told_by_their_lines() {
        let keys = ApiKeys::parse("#\nsecret\n0123456789abcdef\n").unwrap();
        assert!(keys.contains("secret"));
        assert_eq!(keys.short_lines(), [2]);
    }

    #[test]
    fn a_request_needs_one_of_them() {
        let keys = ApiKeys::parse(FILE).unwrap();
        let with = |value: &'static str| {
            keys.authorize(&HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]))
        };
        assert_eq!(with("Bearer fedcba9876543210"), Ok(()));
        for wrong in ["Bearer 0123456789abcde0", "Basic fedcba9876543210", "fedcba9876543210"] {
            assert_eq!(with(wrong).unwrap_err().status().as_u16(), 401);
        }
        assert_eq!(keys.authorize(&HeaderMap::new()).unwrap_err().status().as_u16(), 401);
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        assert_eq!(format!("{:?}", ApiKeys::parse(FILE).unwrap()), "ApiKeys(2)");
    }
}
