//! `Sec-WebSocket-Key` and its answer, `Sec-WebSocket-Accept` (RFC 6455 §1.3, §4.1, §4.2.2).
//!
//! They prove that the other side speaks WebSocket and read this very request. They are no secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// A `Sec-WebSocket-Key`: 16 random bytes, in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// The key made of 16 bytes from a random source.
    pub(super) fn from_entropy(entropy: [u8; 16]) -> Self {
        Self(STANDARD.encode(entropy))
    }

    /// Reads a key; `None` if it isn't the one base64 form of 16 bytes.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 18];
        // Padding has to be there and the unused bits have to be zero, so the encoding is unique.
        let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
        let text = std::str::from_utf8(text).ok()?;
        (text.len() == ENCODED_BYTES && length == 16).then(|| Self(text.to_owned()))
    }

    /// The key as it is sent.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The `Sec-WebSocket-Accept` that answers this key.
    pub(super) fn accept(&self) -> String {
        STANDARD.encode(Sha1::new().chain_update(&self.0).chain_update(GUID).finalize())
    }
}

/// 16 bytes in base64.
const ENCODED_BYTES: usize = 24;
/// What the key is joined with before it is hashed (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_the_key_of_the_rfc() {
        let key = Key::from_entropy(*b"the sample nonce");
        assert_eq!(key.as_str(), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(key.accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_16_bytes_of_canonical_base64() {
        assert!(Key::parse(b"dGhlIHNhbXBsZSBub25jZQ==").is_some());
        let wrong: [&[u8]; 8] = [
            b"",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZR==",
            b"dGhlIHNhbXBsZSBub25jZWU=",
            b"dGhlIHNhbXBsZSBub25jZSEh",
            b"dGhlIHNhbXBsZSBub25jZQ== ",
            b"dGhlIHNhbXBsZSBub25j",
            b"dGhlIHNhbXBsZSBub25\xff\xff==",
        ];
        for text in wrong {
            assert_eq!(Key::parse(text), None, "{text:?}");
        }
    }
}
