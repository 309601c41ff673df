//! What the two sides say to each other: messages, and their pieces as they arrive.

use bytes::Bytes;

use super::utf8::Utf8Bytes;

/// A whole message, text or binary (RFC 6455 §5.6).
///
/// ```
/// use switchboard::Message;
///
/// assert_eq!(Message::text("hello"), Message::from("hello"));
/// assert_eq!(Message::binary(vec![1, 2, 3]).len(), 3);
/// assert_eq!(Message::binary(vec![1, 2, 3]).as_text(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text, proven to be UTF-8.
    Text(Utf8Bytes),
    /// Bytes, with whatever meaning the two sides give them.
    Binary(Bytes),
}

impl Message {
    /// Text.
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::Text(text.into())
    }

    /// Bytes.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    /// Text or binary.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    /// The payload, whichever kind it is.
    pub fn as_bytes(&self) -> &Bytes {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The payload, whichever kind it is.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The length of the payload in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

impl From<Utf8Bytes> for Message {
    fn from(text: Utf8Bytes) -> Self {
        Self::Text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

/// Whether a message is text or binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8 text (opcode 0x1).
    Text,
    /// Bytes (opcode 0x2).
    Binary,
}

/// A piece of a message, as it arrived.
///
/// A text piece is UTF-8 by itself: a code point that is cut between two pieces comes with the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The piece's payload; every piece of a message has the same [`Kind`]. It may be empty.
    pub part: Message,
    /// Whether the message ends with this piece.
    pub is_final: bool,
}
