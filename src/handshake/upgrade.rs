//! A request for a WebSocket that is in order, and the answer to it (RFC 6455 §4.2.1, §4.2.2).

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, StatusCode};

use super::Negotiated;
use super::error::{AnswerError, RequestError};
use super::extensions;
use super::fields::{is_token, list};
use super::key::Key;
use super::negotiation;
use super::origin::OriginPolicy;
use super::refusal::{Refusal, put_field, put_fields, put_status_line};
use super::request::single;
use super::server::UpgradeConfig;
use crate::proto::deflate::DeflateParams;

/// A valid request for a WebSocket, waiting to be accepted or rejected.
#[derive(Debug)]
pub struct Upgrade {
    request: http::Request<()>,
    remainder: Bytes,
    key: Key,
    /// What the client offers: tokens, each once.
    offered: Vec<String>,
    /// The server's choice among `offered`.
    preferred: Option<String>,
    /// What is agreed, and the header that says so.
    deflate: Option<(DeflateParams, String)>,
}

/// What a server adds to its 101 response.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Which of the offered subprotocols is chosen.
    pub subprotocol: SubprotocolChoice,
    /// More header fields, such as `Set-Cookie`; none of the handshake's own.
    pub headers: HeaderMap,
}

/// Which of the offered subprotocols a server chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SubprotocolChoice {
    /// The first in [`UpgradeConfig::subprotocols`] that is offered, or none.
    #[default]
    Preferred,
    /// None; a client that needs one closes the connection.
    Nothing,
    /// This one, which has to be among [`Upgrade::subprotocols`].
    Named(String),
}

/// An accepted request: send `response`, and the connection is a WebSocket.
#[derive(Debug)]
pub struct Accepted {
    /// The whole 101 response.
    pub response: Bytes,
    /// What was agreed.
    pub negotiated: Negotiated,
    /// The request's head.
    pub request: http::Request<()>,
    /// What came behind the request's head: the client's first frames.
    pub remainder: Bytes,
}

impl Upgrade {
    pub(super) fn check(
        request: http::Request<()>,
        remainder: Bytes,
        config: &UpgradeConfig,
    ) -> Result<Self, RequestError> {
        let headers = request.headers();
        match single(headers, &SEC_WEBSOCKET_VERSION)? {
            Some(version) if version == "13" => {}
            _ => return Err(RequestError::UnsupportedWebSocketVersion),
        }
        let key = single(headers, &SEC_WEBSOCKET_KEY)?.ok_or(RequestError::MissingKey)?;
        let key = Key::parse(key.as_bytes()).ok_or(RequestError::InvalidKey)?;
        let offered = offered_subprotocols(headers)?;
        let extensions = extensions::parse(headers).map_err(|_| RequestError::InvalidExtensions)?;
        let deflate = config.deflate.as_ref().and_then(|config| negotiation::answer(&extensions, config));
        check_origin(headers, &config.origins)?;
        let preferred = config.subprotocols.iter().find(|name| offered.contains(name)).cloned();
        Ok(Self { request, remainder, key, offered, preferred, deflate })
    }

    /// The request's head.
    pub fn request(&self) -> &http::Request<()> {
        &self.request
    }

    /// The subprotocols that the client offers, its most preferred first.
    pub fn subprotocols(&self) -> &[String] {
        &self.offered
    }

    /// Accepts the request.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] if `answer` names a subprotocol that wasn't offered, or a header field of the handshake's own.
    pub fn accept(self, answer: Answer) -> Result<Accepted, AnswerError> {
        check_headers(&answer.headers)?;
        let subprotocol = match answer.subprotocol {
            SubprotocolChoice::Preferred => self.preferred,
            SubprotocolChoice::Nothing => None,
            SubprotocolChoice::Named(name) if self.offered.contains(&name) => Some(name),
            SubprotocolChoice::Named(name) => return Err(AnswerError::SubprotocolNotOffered(name)),
        };
        let mut response = BytesMut::new();
        put_status_line(&mut response, StatusCode::SWITCHING_PROTOCOLS);
        put_field(&mut response, "Upgrade", b"websocket");
        put_field(&mut response, "Connection", b"Upgrade");
        put_field(&mut response, "Sec-WebSocket-Accept", self.key.accept().as_bytes());
        if let Some(name) = &subprotocol {
            put_field(&mut response, "Sec-WebSocket-Protocol", name.as_bytes());
        }
        if let Some((_, header)) = &self.deflate {
            put_field(&mut response, "Sec-WebSocket-Extensions", header.as_bytes());
        }
        put_fields(&mut response, &answer.headers);
        response.put_slice(b"\r\n");
        Ok(Accepted {
            response: response.freeze(),
            negotiated: Negotiated { subprotocol, deflate: self.deflate.map(|(params, _)| params) },
            request: self.request,
            remainder: self.remainder,
        })
    }

    /// A whole response that refuses the request with `status` and one line of text; the connection ends after it.
    ///
    /// An informational status can't refuse anything; 500 is sent in its place.
    pub fn reject(self, status: StatusCode, reason: &str) -> Bytes {
        Refusal::new(status, reason).to_bytes()
    }

    /// As [`Upgrade::reject`], with more header fields: `WWW-Authenticate`, `Location`, `Retry-After`.
    ///
    /// # Errors
    ///
    /// [`AnswerError::ReservedHeader`] if one of `headers` is the handshake's own, or the body's `Content-Type`.
    pub fn reject_with(
        self,
        status: StatusCode,
        headers: &HeaderMap,
        reason: &str,
    ) -> Result<Bytes, AnswerError> {
        check_headers(headers)?;
        if headers.contains_key(CONTENT_TYPE) {
            return Err(AnswerError::ReservedHeader(CONTENT_TYPE));
        }
        Ok(Refusal::new(status, reason).headers(headers).to_bytes())
    }
}

/// Whether the handshake writes this field itself, or it would change where a message ends.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    [UPGRADE, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
        || name.as_str().starts_with("sec-websocket-")
}

fn check_headers(headers: &HeaderMap) -> Result<(), AnswerError> {
    match headers.keys().find(|name| is_reserved(name)) {
        Some(name) => Err(AnswerError::ReservedHeader(name.clone())),
        None => Ok(()),
    }
}

/// The offered subprotocols: tokens, each once, and at least one if the header is there (RFC 6455 §4.1).
fn offered_subprotocols(headers: &HeaderMap) -> Result<Vec<String>, RequestError> {
    let offered: Vec<String> = list(headers, &SEC_WEBSOCKET_PROTOCOL).map(str::to_owned).collect();
    let mut sorted: Vec<&String> = offered.iter().collect();
    // Comparing each with each would take quadratic time, and a head has room for thousands.
    sorted.sort_unstable();
    let is_repeated = sorted.windows(2).any(|pair| pair[0] == pair[1]);
    let is_empty = offered.is_empty() && headers.contains_key(SEC_WEBSOCKET_PROTOCOL);
    if is_repeated || is_empty || !offered.iter().all(|name| is_token(name)) {
        return Err(RequestError::InvalidSubprotocols);
    }
    Ok(offered)
}

fn check_origin(headers: &HeaderMap, policy: &OriginPolicy) -> Result<(), RequestError> {
    // An origin that is no text is none of a browser's: the empty one is refused like it.
    let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if policy.admits(origin, host) { Ok(()) } else { Err(RequestError::OriginRefused) }
}
