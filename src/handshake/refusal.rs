//! A refused handshake: the response that a server writes, and the one that a client reads.
//!
//! What is written is complete and small, and the connection ends after it, so that no framing has to be agreed on.

use std::fmt::Write;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::RETRY_AFTER;
use http::{HeaderMap, Method, StatusCode};

/// A response in the making: a status, one line of text, and header fields.
#[derive(Debug)]
pub(super) struct Refusal<'a> {
    status: StatusCode,
    reason: &'a str,
    fields: BytesMut,
    has_body: bool,
}

impl<'a> Refusal<'a> {
    /// A response whose body is the line `reason`.
    ///
    /// An informational status ends no exchange (RFC 9110 §15.2), so 500 is sent in its place.
    pub(super) fn new(status: StatusCode, reason: &'a str) -> Self {
        let status = if status.is_informational() { StatusCode::INTERNAL_SERVER_ERROR } else { status };
        let has_body = !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Self { status, reason, fields: BytesMut::new(), has_body }
    }

    /// Leaves the body out if the request was HEAD (RFC 9110 §9.3.2).
    pub(super) fn answering(mut self, method: &Method) -> Self {
        self.has_body &= method != Method::HEAD;
        self
    }

    /// Adds a field of our own, so `value` is a text that we wrote.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        put_field(&mut self.fields, name, value.as_bytes());
        self
    }

    /// Adds the caller's fields.
    pub(super) fn headers(mut self, headers: &HeaderMap) -> Self {
        put_fields(&mut self.fields, headers);
        self
    }

    /// The whole response.
    pub(super) fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        put_status_line(&mut bytes, self.status);
        if self.status == StatusCode::UPGRADE_REQUIRED {
            // It has to name the protocol (RFC 9110 §15.5.22) and the version of it (RFC 6455 §4.4).
            put_field(&mut bytes, "Upgrade", b"websocket");
            put_field(&mut bytes, "Connection", b"Upgrade, close");
            put_field(&mut bytes, "Sec-WebSocket-Version", b"13");
        } else {
            put_field(&mut bytes, "Connection", b"close");
        }
        bytes.put_slice(&self.fields);
        if self.status != StatusCode::NO_CONTENT && self.status != StatusCode::NOT_MODIFIED {
            put_field(&mut bytes, "Content-Type", b"text/plain; charset=utf-8");
            put_field(&mut bytes, "Content-Length", (self.reason.len() + 1).to_string().as_bytes());
        }
        bytes.put_slice(b"\r\n");
        if self.has_body {
            bytes.put_slice(self.reason.as_bytes());
            bytes.put_slice(b"\n");
        }
        bytes.freeze()
    }
}

/// Writes `HTTP/1.1 STATUS Reason`.
pub(super) fn put_status_line(bytes: &mut BytesMut, status: StatusCode) {
    let reason = status.canonical_reason().unwrap_or_default();
    write!(bytes, "HTTP/1.1 {} {reason}\r\n", status.as_u16()).expect("BytesMut grows as needed");
}

/// Writes one field.
pub(super) fn put_field(bytes: &mut BytesMut, name: &str, value: &[u8]) {
    bytes.put_slice(name.as_bytes());
    bytes.put_slice(b": ");
    bytes.put_slice(value);
    bytes.put_slice(b"\r\n");
}

/// Writes fields that the caller gave; the types of `http` keep line breaks out of them.
pub(super) fn put_fields(bytes: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        put_field(bytes, name.as_str(), value.as_bytes());
    }
}

/// A response that refuses us: any status other than 101.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Status and header fields: `Location` of a redirect and `WWW-Authenticate` are here.
    pub response: http::Response<()>,
    /// The beginning of the body, at most 1 KiB: what came together with the head, as it was sent.
    pub body: Bytes,
}

impl Refused {
    /// Takes the body's beginning from what came behind the head.
    pub(super) fn new(response: http::Response<()>, behind: &[u8]) -> Self {
        let body = Bytes::copy_from_slice(&behind[..behind.len().min(MAX_EXCERPT_BYTES)]);
        Self { response, body }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// How long the server asks us to wait, if it says so in seconds.
    ///
    /// A date is left to whoever has a clock.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.response.headers().get(RETRY_AFTER)?.to_str().ok()?;
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok().map(Duration::from_secs))?
    }
}

impl std::fmt::Display for Refused {
    /// The status and the body's first line, with whatever a terminal would act on escaped.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status())?;
        let line = self.body.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii();
        if line.is_empty() { Ok(()) } else { write!(f, ": {:?}", String::from_utf8_lossy(line)) }
    }
}

/// How much of a refusal's body is kept.
const MAX_EXCERPT_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_whole() {
        let bytes = Refusal::new(StatusCode::FORBIDDEN, "no").header("A", "b").to_bytes();
        let expected = "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nA: b\r\n\
                        Content-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n\r\nno\n";
        assert_eq!(bytes, expected);
    }

    #[test]
    fn head_and_no_content_have_no_body() {
        let head = Refusal::new(StatusCode::NOT_FOUND, "no").answering(&Method::HEAD).to_bytes();
        assert!(head.ends_with(b"Content-Length: 3\r\n\r\n"));
        assert_eq!(
            Refusal::new(StatusCode::NO_CONTENT, "no").to_bytes(),
            "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn an_interim_status_becomes_500() {
        let bytes = Refusal::new(StatusCode::SWITCHING_PROTOCOLS, "").to_bytes();
        assert!(bytes.starts_with(b"HTTP/1.1 500 Internal Server Error\r\n"));
    }

    #[test]
    fn retry_after_is_read_in_seconds() {
        let asked = |value: &'static str| {
            let response = http::Response::builder().status(503).header(RETRY_AFTER, value).body(()).unwrap();
            Refused::new(response, b"").retry_after()
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        for value in ["", "+7", "-1", "Wed, 21 Oct 2015 07:28:00 GMT", "99999999999999999999"] {
            assert_eq!(asked(value), None, "{value}");
        }
    }

    #[test]
    fn what_is_shown_is_escaped_and_one_line() {
        let response = http::Response::builder().status(403).body(()).unwrap();
        let refused = Refused::new(response, b"\x1b[2Jno\r\nmore");
        assert_eq!(refused.to_string(), r#"403 Forbidden: "\u{1b}[2Jno""#);
    }
}
