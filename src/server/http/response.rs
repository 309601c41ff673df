//! A whole answer: status, header fields, body (RFC 9112 §4; RFC 9110 §8.6, §9.3.2).

use std::time::SystemTime;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, DATE, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;

/// An answer to a plain HTTP request.
///
/// Unless it says otherwise it can't be framed, run, sniffed or cached: a page brings its own
/// `Content-Security-Policy` and `Cache-Control`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// What every answer carries that has no value of its own for it.
const DEFAULTS: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
];

impl Response {
    /// An answer without a body.
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A body of this media type.
    pub fn of_type(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut response = Self::new(status).with(CONTENT_TYPE, HeaderValue::from_static(media_type));
        response.body = body.into();
        response
    }

    /// Plain text.
    pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self::of_type(status, "text/plain; charset=utf-8", text)
    }

    /// JSON.
    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::of_type(status, "application/json", body),
            // Only a map whose keys are no strings can't be written.
            Err(error) => {
                tracing::error!(%error, "an answer can't be written as JSON");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// Sets a header field. `Content-Length`, `Connection` and `Date` are written anyway and not taken from here.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its header fields, without those that every answer has.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Its body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The head as it is sent.
    ///
    /// The answer to HEAD has the head of the answer to GET.
    pub(super) fn head(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(512);
        let status =
            if self.status.is_informational() { StatusCode::INTERNAL_SERVER_ERROR } else { self.status };
        bytes.put_slice(b"HTTP/1.1 ");
        bytes.put_slice(status.as_str().as_bytes());
        bytes.put_u8(b' ');
        bytes.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        bytes.put_slice(b"\r\n");
        put_field(&mut bytes, &DATE, httpdate::fmt_http_date(SystemTime::now()).as_bytes());
        put_field(&mut bytes, &CONNECTION, b"close");
        for (name, value) in &self.headers {
            if ![CONNECTION, CONTENT_LENGTH, DATE].contains(name) {
                put_field(&mut bytes, name, value.as_bytes());
            }
        }
        for (name, value) in DEFAULTS.iter().filter(|(name, _)| !self.headers.contains_key(name)) {
            put_field(&mut bytes, name, value.as_bytes());
        }
        // These two have no body, and so no length (RFC 9110 §8.6).
        if self.may_have_body() {
            put_field(&mut bytes, &CONTENT_LENGTH, self.body.len().to_string().as_bytes());
        }
        bytes.put_slice(b"\r\n");
        bytes.freeze()
    }

    /// The body that is sent to a request with this method.
    pub(super) fn body_for(&self, method: &Method) -> Bytes {
        if *method == Method::HEAD || !self.may_have_body() { Bytes::new() } else { self.body.clone() }
    }

    /// All of it as it is sent to a request with this method.
    pub fn to_bytes(&self, method: &Method) -> Bytes {
        [self.head(), self.body_for(method)].concat().into()
    }

    fn may_have_body(&self) -> bool {
        !matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }
}

fn put_field(bytes: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    bytes.put_slice(name.as_str().as_bytes());
    bytes.put_slice(b": ");
    bytes.put_slice(value);
    bytes.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(response: &Response, method: &Method) -> String {
        let text = String::from_utf8(response.to_bytes(method).to_vec()).unwrap();
        let (line, rest) = text.split_once("\r\ndate: ").unwrap();
        let (date, rest) = rest.split_once("\r\n").unwrap();
        assert!(date.ends_with(" GMT"), "{date}");
        format!("{line}\r\n{rest}")
    }

    const SAFE: &str = "cache-control: no-store\r\n\
        content-security-policy: default-src 'none'; frame-ancestors 'none'\r\nreferrer-policy: no-referrer\r\n\
        x-content-type-options: nosniff\r\nx-frame-options: DENY\r\n";

    #[test]
    fn is_written_whole() {
        let expected = format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n{SAFE}\
             content-length: 3\r\n\r\nok\n"
        );
        assert_eq!(written(&Response::text(StatusCode::OK, "ok\n"), &Method::GET), expected);
    }

    #[test]
    fn head_gets_the_length_but_not_the_body() {
        let answer = written(&Response::text(StatusCode::OK, "ok\n"), &Method::HEAD);
        assert!(answer.ends_with("content-length: 3\r\n\r\n"), "{answer}");
    }

    #[test]
    fn no_content_has_neither() {
        let answer = written(&Response::new(StatusCode::NO_CONTENT), &Method::DELETE);
        assert_eq!(answer, format!("HTTP/1.1 204 No Content\r\nconnection: close\r\n{SAFE}\r\n"));
    }

    #[test]
    fn its_own_fields_win_except_over_framing() {
        let response = Response::text(StatusCode::OK, "ok")
            .with(CACHE_CONTROL, HeaderValue::from_static("max-age=60"))
            .with(CONTENT_LENGTH, HeaderValue::from_static("7"))
            .with(CONNECTION, HeaderValue::from_static("keep-alive"));
        let answer = written(&response, &Method::GET);
        assert!(answer.contains("cache-control: max-age=60\r\n") && !answer.contains("no-store"), "{answer}");
        assert!(!answer.contains("keep-alive") && !answer.contains("content-length: 7"), "{answer}");
    }
}
