//! A request's head, checked for what holds of every HTTP request (RFC 9112 §3, §6; RFC 9110 §7.2).
//!
//! Whether it asks for a WebSocket, and rightly, is the next step's question: see [`Request::upgrade`].

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use super::authority::Authority;
use super::error::RequestError;
use super::fields::{at_most_one, list_has};
use super::head::Head;
use super::refusal::Refusal;
use super::server::UpgradeConfig;
use super::upgrade::Upgrade;

/// Any HTTP request, read and found well-formed; it may ask for a WebSocket or not.
#[derive(Debug)]
pub struct Request {
    head: http::Request<()>,
    remainder: Bytes,
    config: Arc<UpgradeConfig>,
}

/// Where a request's body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// After so many bytes; 0 is no body.
    Length(u64),
    /// With the chunk of length 0 (RFC 9112 §7.1).
    Chunked,
}

impl Request {
    pub(super) fn parse(
        head: &Head,
        remainder: Bytes,
        config: Arc<UpgradeConfig>,
    ) -> Result<Self, RequestError> {
        let (method, target, version, headers) = head.parse_request()?;
        let uri = parse_target(&method, target)?;
        check_host(&uri, version, &headers)?;
        check_body(version, &headers)?;
        single(&headers, &ORIGIN)?;
        let mut head = http::Request::new(());
        *head.method_mut() = method;
        *head.uri_mut() = uri;
        *head.version_mut() = version;
        *head.headers_mut() = headers;
        Ok(Self { head, remainder, config })
    }

    /// Method, target, version and header fields.
    ///
    /// Header values are slices of the head: who keeps one for long keeps the head, and copies it rather.
    pub fn head(&self) -> &http::Request<()> {
        &self.head
    }

    /// The head, and what came behind it: the beginning of the body, or the first frames.
    pub fn into_parts(self) -> (http::Request<()>, Bytes) {
        (self.head, self.remainder)
    }

    /// How its body ends.
    pub fn body(&self) -> Body {
        if self.head.headers().contains_key(TRANSFER_ENCODING) {
            return Body::Chunked;
        }
        let length = self.head.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        // `check_body` has let nothing else than digits through.
        Body::Length(length.and_then(|digits| digits.parse().ok()).unwrap_or(0))
    }

    /// Takes what came behind the head, for whoever reads the body; a request to upgrade would lack it.
    pub fn take_remainder(&mut self) -> Bytes {
        std::mem::take(&mut self.remainder)
    }

    /// Whether a WebSocket is asked for; if not, this is plain HTTP.
    ///
    /// Over HTTP/1.0 none is: its `Upgrade` is ignored (RFC 9110 §7.8).
    pub fn is_upgrade(&self) -> bool {
        self.head.version() == Version::HTTP_11 && asks_for_websocket(self.head.headers())
    }

    /// Checks all that a WebSocket request has to have (RFC 6455 §4.2.1).
    ///
    /// # Errors
    ///
    /// The [`RequestError`] of the first rule that the request breaks: method, version of HTTP, `Upgrade`, body, version
    /// of WebSocket, key, subprotocols, extensions, and at last the origin.
    pub fn upgrade(self) -> Result<Upgrade, RequestError> {
        if self.head.method() != Method::GET {
            return Err(RequestError::MethodNotAllowed(self.head.method().clone()));
        }
        if self.head.version() != Version::HTTP_11 {
            return Err(RequestError::Http10);
        }
        if !asks_for_websocket(self.head.headers()) {
            return Err(RequestError::NoUpgrade);
        }
        if self.body() != Body::Length(0) {
            return Err(RequestError::UnexpectedBody);
        }
        Upgrade::check(self.head, self.remainder, &self.config)
    }

    /// A whole response that refuses the request with `status` and one line of text; the connection ends after it.
    pub fn reject(self, status: StatusCode, reason: &str) -> Bytes {
        Refusal::new(status, reason).answering(self.head.method()).to_bytes()
    }
}

/// The field's value, or nothing if there is none.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, RequestError> {
    at_most_one(headers, name).map_err(|_| RequestError::RepeatedHeader(name.clone()))
}

fn asks_for_websocket(headers: &HeaderMap) -> bool {
    list_has(headers, &UPGRADE, "websocket") && list_has(headers, &CONNECTION, "upgrade")
}

/// Reads the target in the form that the method has (RFC 9112 §3.2).
fn parse_target(method: &Method, target: Bytes) -> Result<Uri, RequestError> {
    // `Uri` would drop a fragment without a word.
    if target.contains(&b'#') {
        return Err(RequestError::InvalidTarget);
    }
    let is_path = target.first() == Some(&b'/');
    let is_asterisk = &target[..] == b"*";
    let uri = Uri::from_maybe_shared(target).map_err(|_| RequestError::InvalidTarget)?;
    let is_valid = match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https" | "ws" | "wss"), Some(_)) => *method != Method::CONNECT,
        (None, Some(_)) => *method == Method::CONNECT,
        (None, None) => is_path || is_asterisk && *method == Method::OPTIONS,
        _ => false,
    };
    if is_valid { Ok(uri) } else { Err(RequestError::InvalidTarget) }
}

/// `Host` comes once, is a host, and is the target's if that has one (RFC 9112 §3.2).
fn check_host(uri: &Uri, version: Version, headers: &HeaderMap) -> Result<(), RequestError> {
    let Some(host) = single(headers, &HOST)? else {
        return if version == Version::HTTP_10 { Ok(()) } else { Err(RequestError::MissingHost) };
    };
    let host = host.to_str().ok().and_then(Authority::parse).ok_or(RequestError::InvalidHost)?;
    let Some(authority) = uri.authority() else { return Ok(()) };
    let target = Authority::parse(authority.as_str()).ok_or(RequestError::InvalidTarget)?;
    let port = if matches!(uri.scheme_str(), Some("https" | "wss")) { 443 } else { 80 };
    // Were they to differ, whoever looks at the one would be led past a rule about the other.
    if target.host != host.host || target.port_or(port) != host.port_or(port) {
        return Err(RequestError::HostMismatch);
    }
    Ok(())
}

/// The body's length is clear, so that nobody sees two requests where another sees one (RFC 9112 §6).
fn check_body(version: Version, headers: &HeaderMap) -> Result<(), RequestError> {
    let length = single(headers, &CONTENT_LENGTH)?;
    let coding = single(headers, &TRANSFER_ENCODING)?;
    match (length, coding) {
        (None, None) => Ok(()),
        (Some(length), None) if is_length(length.as_bytes()) => Ok(()),
        (None, Some(coding))
            if version == Version::HTTP_11 && coding.as_bytes().eq_ignore_ascii_case(b"chunked") =>
        {
            Ok(())
        }
        _ => Err(RequestError::UnclearBody),
    }
}

fn is_length(digits: &[u8]) -> bool {
    // 19 digits fit a u64.
    (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}
