//! Reading a head: bytes pushed as they arrive, until the empty line.
//!
//! The end is found without looking at a byte twice, and the head is tokenised once, when it is complete. The
//! grammar is strict (RFC 9112 §2.2, §5): lines end with CRLF, nothing is folded, no control character.

use http::{HeaderMap, HeaderName, HeaderValue};

/// A head under way.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Bounded by `Limits::max_head_bytes` and one read.
    bytes: Vec<u8>,
    /// Up to where there is no end.
    scanned: usize,
    /// Whether anything but the empty line that may come first was seen.
    has_begun: bool,
}

/// What is wrong with a head, whichever side reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    Malformed(&'static str),
    Tls,
    Http2,
    TooLong,
    TooManyHeaders,
}

const END: &[u8; 4] = b"\r\n\r\n";

impl Head {
    /// Adds bytes; the length of the head once it is complete.
    pub(super) fn push(&mut self, bytes: &[u8], max_bytes: usize) -> Result<Option<usize>, HeadError> {
        self.bytes.extend_from_slice(bytes);
        if !self.has_begun {
            self.begin()?;
        }
        let from = self.scanned.saturating_sub(END.len() - 1);
        let end = self.bytes[from..].windows(END.len()).position(|window| window == END);
        let len = end.map(|at| from + at + END.len());
        self.scanned = self.bytes.len();
        if len.unwrap_or(self.bytes.len()) > max_bytes {
            return Err(HeadError::TooLong);
        }
        Ok(len)
    }

    /// Judges the first bytes, so that what can't be HTTP isn't waited for.
    fn begin(&mut self) -> Result<(), HeadError> {
        // One empty line before a request is forgiven (RFC 9112 §2.2).
        if self.bytes == b"\r" {
            return Ok(());
        }
        if self.bytes.starts_with(b"\r\n") {
            self.bytes.drain(..2);
        }
        match *self.bytes {
            [] => return Ok(()),
            [0x16] => return Ok(()),
            [0x16, 0x03, ..] | [0x15, 0x03, ..] => return Err(HeadError::Tls),
            [first, ..] if !is_token_char(first) => {
                return Err(HeadError::Malformed("the first byte begins no request or status line"));
            }
            _ => {}
        }
        self.has_begun = true;
        Ok(())
    }

    /// Splits off what came behind the head's `len` bytes.
    pub(super) fn split(self, len: usize) -> (Vec<u8>, Vec<u8>) {
        let mut head = self.bytes;
        let rest = head.split_off(len);
        (head, rest)
    }
}

/// Refuses what httparse lets pass: other line ends than CRLF, and folded lines.
pub(super) fn check_lines(head: &[u8]) -> Result<(), HeadError> {
    if head.starts_with(b"PRI * HTTP/2") {
        return Err(HeadError::Http2);
    }
    for (at, &byte) in head.iter().enumerate() {
        match byte {
            b'\r' if head.get(at + 1) != Some(&b'\n') => {
                return Err(HeadError::Malformed("a carriage return stands alone"));
            }
            b'\n' if at == 0 || head[at - 1] != b'\r' => {
                return Err(HeadError::Malformed("a line ends without a carriage return"));
            }
            b'\n' if matches!(head.get(at + 1), Some(b' ' | b'\t')) => {
                return Err(HeadError::Malformed("a header is folded over two lines"));
            }
            0 => return Err(HeadError::Malformed("it holds a NUL")),
            _ => {}
        }
    }
    Ok(())
}

/// The header fields that httparse found.
pub(super) fn headers(parsed: &[httparse::Header<'_>]) -> Result<HeaderMap, HeadError> {
    let mut headers = HeaderMap::with_capacity(parsed.len());
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| HeadError::Malformed("a header's name isn't a token"))?;
        let value = HeaderValue::from_bytes(header.value)
            .map_err(|_| HeadError::Malformed("a header's value holds a control character"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// What httparse says, in our words.
pub(super) fn parse_error(error: httparse::Error) -> HeadError {
    HeadError::Malformed(match error {
        httparse::Error::TooManyHeaders => return HeadError::TooManyHeaders,
        httparse::Error::HeaderName => "a header's name isn't a token, or a space stands before its colon",
        httparse::Error::HeaderValue => "a header's value holds a control character",
        httparse::Error::NewLine => "a line doesn't end with CRLF",
        httparse::Error::Status => "the status is malformed",
        httparse::Error::Token => "the request line is malformed",
        httparse::Error::Version => "the HTTP version is malformed",
    })
}

/// Whether the header's lists, all lines of it joined, hold `token`, in either case (RFC 9110 §5.6.1).
pub(super) fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    list(headers, name).any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
}

/// The items of a header's lists, all lines of it joined.
pub(super) fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(name).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty())
}

/// Whether `byte` may stand in a token (RFC 9110 §5.6.2).
pub(super) fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `bytes` is a token.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_char(byte))
}
