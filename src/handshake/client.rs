//! The client's side: a request written, and everything that comes back checked (RFC 6455 §4.1).

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode, Uri};

use super::error::{ResponseError, UrlError};
use super::head::{self, Head, HeadError};
use super::origin::split_authority;
use super::server::{is_reserved, write_header};
use super::{Negotiated, extensions, key};
use crate::proto::Limits;
use crate::proto::deflate::DeflateConfig;

/// What a client asks for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The subprotocols to offer, the preferred one first.
    pub subprotocols: Vec<String>,
    /// Whether to offer compression, and how; not by default.
    pub deflate: Option<DeflateConfig>,
    /// More header fields for the request.
    pub headers: HeaderMap,
}

/// A handshake under way.
#[derive(Debug)]
pub struct ClientHandshake {
    request: Vec<u8>,
    accept: String,
    config: ClientConfig,
    limits: Limits,
    head: Head,
}

/// A server that agreed.
#[derive(Debug)]
pub struct Connected {
    /// The 101 response.
    pub response: http::Response<()>,
    /// What was agreed.
    pub negotiated: Negotiated,
    /// What came behind the response: the first frames.
    pub unread: Vec<u8>,
}

/// How much of a refusal's body is kept.
const MAX_BODY_EXCERPT_BYTES: usize = 1024;

impl ClientHandshake {
    /// Prepares the request for `url`; `random` makes its key.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL, the subprotocols or the headers.
    pub fn new(url: &str, config: ClientConfig, limits: Limits, random: [u8; 16]) -> Result<Self, UrlError> {
        let target = Target::parse(url)?;
        check_config(&config)?;
        let key = key::key(random);
        let mut request = format!("GET {} HTTP/1.1\r\n", target.path).into_bytes();
        if !config.headers.contains_key(header::HOST) {
            write_header(&mut request, "Host", target.host_header().as_bytes());
        }
        write_header(&mut request, "Upgrade", b"websocket");
        write_header(&mut request, "Connection", b"Upgrade");
        write_header(&mut request, "Sec-WebSocket-Key", key.as_bytes());
        write_header(&mut request, "Sec-WebSocket-Version", b"13");
        if !config.subprotocols.is_empty() {
            write_header(&mut request, "Sec-WebSocket-Protocol", config.subprotocols.join(", ").as_bytes());
        }
        if let Some(deflate) = &config.deflate {
            write_header(&mut request, "Sec-WebSocket-Extensions", extensions::offer(deflate).as_bytes());
        }
        for (name, value) in &config.headers {
            write_header(&mut request, name.as_str(), value.as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        Ok(Self { request, accept: key::accept(key.as_bytes()), config, limits, head: Head::default() })
    }

    /// What to write first.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Takes bytes as they come; what was agreed, once the response is complete.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with the response.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Connected>, ResponseError> {
        let mut bytes = bytes.to_vec();
        loop {
            let pushed = self.head.push(&bytes, self.limits.max_head_bytes);
            let Some(len) = pushed.map_err(|error| self.refuse(error))? else { return Ok(None) };
            let (head, rest) = std::mem::take(&mut self.head).split(len);
            let response = parse(&head, self.limits.max_headers).map_err(|error| self.refuse(error))?;
            // Early hints and the like come before the answer (RFC 9110 §15.2).
            let is_interim =
                response.status().is_informational() && response.status() != StatusCode::SWITCHING_PROTOCOLS;
            if !is_interim {
                return self.check(response, rest).map(Some);
            }
            bytes = rest;
        }
    }

    fn check(&self, response: http::Response<()>, rest: Vec<u8>) -> Result<Connected, ResponseError> {
        let headers = response.headers();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let body = rest[..rest.len().min(MAX_BODY_EXCERPT_BYTES)].to_vec();
            let headers = Box::new(headers.clone());
            return Err(ResponseError::Status { status: response.status(), headers, body });
        }
        if !head::has_token(headers, header::UPGRADE, "websocket") {
            return Err(ResponseError::Upgrade);
        }
        if !head::has_token(headers, header::CONNECTION, "upgrade") {
            return Err(ResponseError::Connection);
        }
        let accept = single(headers, header::SEC_WEBSOCKET_ACCEPT, "Sec-WebSocket-Accept")?;
        if accept.is_none_or(|accept| accept.as_bytes() != self.accept.as_bytes()) {
            return Err(ResponseError::Accept);
        }
        let subprotocol = self.check_subprotocol(headers)?;
        let deflate = extensions::check_answer(headers, self.config.deflate.as_ref()).map_err(|bad| match bad {
            extensions::BadAnswer::NotOffered => ResponseError::Extension,
            extensions::BadAnswer::Params => ResponseError::DeflateParams,
        })?;
        Ok(Connected { response, negotiated: Negotiated { subprotocol, deflate }, unread: rest })
    }

    /// The server chooses one of ours or none (RFC 6455 §4.1).
    fn check_subprotocol(&self, headers: &HeaderMap) -> Result<Option<String>, ResponseError> {
        let chosen = single(headers, header::SEC_WEBSOCKET_PROTOCOL, "Sec-WebSocket-Protocol")?;
        let Some(chosen) = chosen.map(|chosen| String::from_utf8_lossy(chosen.as_bytes()).into_owned()) else {
            return Ok(None);
        };
        if self.config.subprotocols.contains(&chosen) { Ok(Some(chosen)) } else { Err(ResponseError::Subprotocol(chosen)) }
    }

    fn refuse(&self, error: HeadError) -> ResponseError {
        match error {
            HeadError::Malformed(why) => ResponseError::Malformed(why),
            HeadError::Tls => ResponseError::Tls,
            HeadError::Http2 => ResponseError::Malformed("it is HTTP/2"),
            HeadError::TooLong => ResponseError::HeadTooLong(self.limits.max_head_bytes),
            HeadError::TooManyHeaders => ResponseError::TooManyHeaders(self.limits.max_headers),
        }
    }
}

fn parse(head: &[u8], max_headers: usize) -> Result<http::Response<()>, HeadError> {
    head::check_lines(head)?;
    let mut fields = vec![httparse::EMPTY_HEADER; max_headers];
    let mut parsed = httparse::Response::new(&mut fields);
    if parsed.parse(head).map_err(head::parse_error)?.is_partial() {
        return Err(HeadError::Malformed("the head has no end"));
    }
    if parsed.version != Some(1) {
        return Err(HeadError::Malformed("the version isn't HTTP/1.1"));
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let mut response = http::Response::new(());
    *response.status_mut() = status.ok_or(HeadError::Malformed("the status is malformed"))?;
    *response.headers_mut() = head::headers(parsed.headers)?;
    Ok(response)
}

fn single<'a>(
    headers: &'a HeaderMap,
    name: HeaderName,
    shown: &'static str,
) -> Result<Option<&'a HeaderValue>, ResponseError> {
    let mut values = headers.get_all(name).into_iter();
    let first = values.next();
    if values.next().is_some() { Err(ResponseError::Duplicate(shown)) } else { Ok(first) }
}

fn check_config(config: &ClientConfig) -> Result<(), UrlError> {
    let mut seen = std::collections::HashSet::new();
    for subprotocol in &config.subprotocols {
        if !head::is_token(subprotocol.as_bytes()) || !seen.insert(subprotocol) {
            return Err(UrlError::Subprotocol(subprotocol.clone()));
        }
    }
    match config.headers.keys().find(|name| is_reserved(name)) {
        Some(name) => Err(UrlError::ReservedHeader(name.to_string())),
        None => Ok(()),
    }
}

/// Where a URL leads (RFC 6455 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether the scheme is `wss`.
    pub is_tls: bool,
    /// The host, without the brackets of an IPv6 address.
    pub host: String,
    /// The port; 80 or 443 if the URL names none.
    pub port: u16,
    /// The path and the query.
    pub path: String,
}

impl Target {
    /// Reads a `ws` or `wss` URL.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        if url.contains('#') {
            return Err(UrlError::Fragment);
        }
        let uri: Uri = url.parse().map_err(|_| UrlError::Malformed(url.to_owned()))?;
        let is_tls = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("ws") => false,
            Some("wss") => true,
            Some(other) => return Err(UrlError::Scheme(other.to_owned())),
            None => return Err(UrlError::Malformed(url.to_owned())),
        };
        let authority = uri.authority().ok_or(UrlError::NoHost)?.as_str();
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let (host, port) = split_authority(authority).ok_or(UrlError::NoHost)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = match uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
            None | Some("") => "/".to_owned(),
            Some(query) if query.starts_with('?') => format!("/{query}"),
            Some(path) => path.to_owned(),
        };
        Ok(Self { is_tls, host, port: port.unwrap_or(if is_tls { 443 } else { 80 }), path })
    }

    /// The `Host` header: without the port that the scheme means anyway.
    fn host_header(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.is_tls, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}
