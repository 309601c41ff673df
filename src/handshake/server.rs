//! The server's side: a request read, judged, and answered (RFC 6455 §4.2).
//!
//! [`ServerHandshake`] → [`Request`] → [`Upgrade`] → accept or reject: each step consumes the last.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Uri, Version};

use super::error::RequestError;
use super::head::{self, Head, HeadError};
use super::origin::{OriginPolicy, split_authority};
use super::{Negotiated, extensions, key};
use crate::proto::Limits;
use crate::proto::deflate::DeflateConfig;

/// What a server accepts.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The pages that may connect; any by default.
    pub origins: OriginPolicy,
    /// The subprotocols that are spoken here, the preferred one first.
    pub subprotocols: Vec<String>,
    /// Whether to compress, and how; not by default.
    pub deflate: Option<DeflateConfig>,
}

/// A request under way.
#[derive(Debug)]
pub struct ServerHandshake {
    head: Head,
    limits: Limits,
}

impl ServerHandshake {
    /// Reads a request within `limits`.
    pub fn new(limits: Limits) -> Self {
        Self { head: Head::default(), limits }
    }

    /// Takes bytes as they come; the request, once its head is complete.
    ///
    /// # Errors
    ///
    /// What is wrong with the head, as soon as it can be told.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Request>, RequestError> {
        let Some(len) = self.head.push(bytes, self.limits.max_head_bytes).map_err(|error| self.refuse(error))?
        else {
            return Ok(None);
        };
        let (head, rest) = std::mem::take(&mut self.head).split(len);
        let request = parse(&head, rest, self.limits.max_headers).map_err(|error| self.refuse(error))?;
        check_request(&request)?;
        Ok(Some(request))
    }

    fn refuse(&self, error: HeadError) -> RequestError {
        match error {
            HeadError::Malformed(why) => RequestError::Malformed(why),
            HeadError::Tls => RequestError::Tls,
            HeadError::Http2 => RequestError::HttpVersion,
            HeadError::TooLong => RequestError::HeadTooLong(self.limits.max_head_bytes),
            HeadError::TooManyHeaders => RequestError::TooManyHeaders(self.limits.max_headers),
        }
    }
}

fn parse(head: &[u8], rest: Vec<u8>, max_headers: usize) -> Result<Request, HeadError> {
    head::check_lines(head)?;
    let mut fields = vec![httparse::EMPTY_HEADER; max_headers];
    let mut parsed = httparse::Request::new(&mut fields);
    let status = parsed.parse(head).map_err(|error| match error {
        // httparse knows 1.0 and 1.1; any other version is one we don't speak.
        httparse::Error::Version => HeadError::Http2,
        error => head::parse_error(error),
    })?;
    if status.is_partial() {
        return Err(HeadError::Malformed("the head has no end"));
    }
    let method = parsed.method.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
    let uri = parsed.path.and_then(|path| path.parse().ok());
    let (Some(method), Some(uri)) = (method, uri) else {
        return Err(HeadError::Malformed("the request's target is malformed"));
    };
    let mut request = http::Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    *request.headers_mut() = head::headers(parsed.headers)?;
    Ok(Request { request, rest })
}

/// What has to hold for any request, upgrade or not.
fn check_request(request: &Request) -> Result<(), RequestError> {
    let headers = request.headers();
    for (name, shown) in SINGLE_HEADERS {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(RequestError::Duplicate(shown));
        }
    }
    match headers.get(header::HOST) {
        // HTTP/1.0 had none.
        None if request.request.version() == Version::HTTP_10 => Ok(()),
        None => Err(RequestError::BadHost),
        Some(host) => {
            let host = host.to_str().ok().filter(|host| host.is_empty() || split_authority(host).is_some());
            host.map(drop).ok_or(RequestError::BadHost)
        }
    }
}

/// The headers that may stand only once.
const SINGLE_HEADERS: [(HeaderName, &str); 5] = [
    (header::HOST, "Host"),
    (header::ORIGIN, "Origin"),
    (header::CONTENT_LENGTH, "Content-Length"),
    (header::SEC_WEBSOCKET_KEY, "Sec-WebSocket-Key"),
    (header::SEC_WEBSOCKET_VERSION, "Sec-WebSocket-Version"),
];

/// An HTTP request, which may ask for a WebSocket or for something else.
#[derive(Debug)]
pub struct Request {
    request: http::Request<()>,
    rest: Vec<u8>,
}

impl Request {
    /// The request.
    pub fn head(&self) -> &http::Request<()> {
        &self.request
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Whether it asks for an upgrade to a WebSocket, rightly or not.
    pub fn is_upgrade(&self) -> bool {
        head::has_token(self.headers(), header::UPGRADE, "websocket")
            && self.request.version() == Version::HTTP_11
    }

    /// Judges it as a request for a WebSocket (RFC 6455 §4.2.1).
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn upgrade(self, config: &ServerConfig) -> Result<Upgrade, RequestError> {
        let headers = self.headers();
        if self.request.method() != Method::GET {
            return Err(RequestError::Method(self.request.method().to_string()));
        }
        if !self.is_upgrade() || !head::has_token(headers, header::CONNECTION, "upgrade") {
            return Err(RequestError::NotAnUpgrade);
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(RequestError::WebSocketVersion);
        }
        let has_length = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
        if has_length || headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(RequestError::HasBody);
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
        let key = key.filter(|key| key::is_key(key)).ok_or(RequestError::BadKey)?;
        check_origin(headers, &config.origins)?;
        let subprotocol = choose_subprotocol(headers, &config.subprotocols)?;
        let deflate = extensions::negotiate(headers, config.deflate.as_ref())
            .map_err(|extensions::Malformed| RequestError::BadExtensions)?;
        let accept = key::accept(key);
        Ok(Upgrade { request: self.request, rest: self.rest, accept, subprotocol, deflate })
    }
}

fn check_origin(headers: &HeaderMap, policy: &OriginPolicy) -> Result<(), RequestError> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let origin = headers.get(header::ORIGIN).map(text);
    let host = headers.get(header::HOST).map(text).unwrap_or_default();
    if policy.allows(origin.as_deref(), &host) {
        return Ok(());
    }
    Err(RequestError::Origin(origin.unwrap_or_default()))
}

/// The first of ours that the client offers (RFC 6455 §4.2.2, by the server's preference).
fn choose_subprotocol(headers: &HeaderMap, ours: &[String]) -> Result<Option<String>, RequestError> {
    let offered: Vec<&[u8]> = head::list(headers, header::SEC_WEBSOCKET_PROTOCOL).collect();
    let mut seen = std::collections::HashSet::new();
    if !offered.iter().all(|token| head::is_token(token) && seen.insert(*token)) {
        return Err(RequestError::BadSubprotocols);
    }
    Ok(ours.iter().find(|ours| seen.contains(ours.as_bytes())).cloned())
}

/// A request for a WebSocket in which everything is right.
#[derive(Debug)]
pub struct Upgrade {
    request: http::Request<()>,
    rest: Vec<u8>,
    accept: String,
    subprotocol: Option<String>,
    deflate: Option<(HeaderValue, crate::proto::deflate::DeflateParams)>,
}

/// An accepted request.
#[derive(Debug)]
pub struct Accepted {
    /// What to write: the 101 response.
    pub response: Vec<u8>,
    /// What was agreed.
    pub negotiated: Negotiated,
    /// What came behind the request: the first frames.
    pub unread: Vec<u8>,
    /// The request.
    pub request: http::Request<()>,
}

impl Upgrade {
    /// The request: its path, its headers.
    pub fn request(&self) -> &http::Request<()> {
        &self.request
    }

    /// The request's target.
    pub fn uri(&self) -> &Uri {
        self.request.uri()
    }

    /// The request's header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// The subprotocols that the client offers, its preferred one first.
    pub fn offered_subprotocols(&self) -> impl Iterator<Item = &str> {
        head::list(self.headers(), header::SEC_WEBSOCKET_PROTOCOL).filter_map(|token| str::from_utf8(token).ok())
    }

    /// The subprotocol that accepting answers with.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Accepts, with `extra` header fields in the response.
    ///
    /// A `Sec-WebSocket-Protocol` among them replaces the subprotocol that was chosen, if the client offered it; other
    /// headers of the handshake's own are left out.
    pub fn accept(self, extra: &HeaderMap) -> Accepted {
        let chosen = extra
            .get(header::SEC_WEBSOCKET_PROTOCOL)
            .and_then(|chosen| chosen.to_str().ok())
            .filter(|chosen| self.offered_subprotocols().any(|offered| offered == *chosen))
            .map(str::to_owned);
        let subprotocol = chosen.or(self.subprotocol);
        let mut response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n".to_vec();
        write_header(&mut response, "Sec-WebSocket-Accept", self.accept.as_bytes());
        if let Some(subprotocol) = &subprotocol {
            write_header(&mut response, "Sec-WebSocket-Protocol", subprotocol.as_bytes());
        }
        if let Some((answer, _)) = &self.deflate {
            write_header(&mut response, "Sec-WebSocket-Extensions", answer.as_bytes());
        }
        for (name, value) in extra.iter().filter(|(name, _)| !is_reserved(name)) {
            write_header(&mut response, name.as_str(), value.as_bytes());
        }
        response.extend_from_slice(b"\r\n");
        let negotiated = Negotiated { subprotocol, deflate: self.deflate.map(|(_, params)| params) };
        Accepted { response, negotiated, unread: self.rest, request: self.request }
    }
}

/// Whether a header belongs to the handshake itself.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    [
        header::UPGRADE,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::SEC_WEBSOCKET_ACCEPT,
        header::SEC_WEBSOCKET_EXTENSIONS,
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_PROTOCOL,
        header::SEC_WEBSOCKET_VERSION,
    ]
    .contains(name)
}

/// The answer to a request that is refused, as it goes on the wire: the status, and one line that says why.
pub fn refusal(error: &RequestError) -> Vec<u8> {
    let status = error.status();
    let body = format!("{error}\n");
    let reason = status.canonical_reason().unwrap_or("Refused");
    let mut response = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    let connection = if status == StatusCode::UPGRADE_REQUIRED {
        write_header(&mut response, "Upgrade", b"websocket");
        write_header(&mut response, "Sec-WebSocket-Version", b"13");
        "Upgrade, close"
    } else {
        "close"
    };
    write_header(&mut response, "Connection", connection.as_bytes());
    match error {
        RequestError::Method(_) => write_header(&mut response, "Allow", b"GET"),
        RequestError::NoRoom { retry_after } => {
            write_header(&mut response, "Retry-After", retry_after.to_string().as_bytes());
        }
        _ => {}
    }
    write_header(&mut response, "Content-Type", b"text/plain; charset=utf-8");
    write_header(&mut response, "Content-Length", body.len().to_string().as_bytes());
    response.extend_from_slice(b"\r\n");
    // The answer to HEAD has no body.
    if !matches!(error, RequestError::Method(method) if method == "HEAD") {
        response.extend_from_slice(body.as_bytes());
    }
    response
}

pub(super) fn write_header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
