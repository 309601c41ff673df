//! What can be wrong with a request, an answer or a URL. One variant a fault.

use http::{HeaderMap, StatusCode};

/// Why a request is refused. [`refusal`](super::refusal) makes the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The head isn't an HTTP/1 request.
    #[error("this is not an HTTP/1.1 request: {0}")]
    Malformed(&'static str),
    /// The first bytes are those of a TLS handshake.
    #[error("this port speaks plain text, but the first bytes are TLS: use ws:// instead of wss://")]
    Tls,
    /// The head is longer than `max_head_bytes`.
    #[error("the request's head is longer than {0} bytes")]
    HeadTooLong(usize),
    /// The head has more header fields than `max_headers`.
    #[error("the request has more than {0} header fields")]
    TooManyHeaders(usize),
    /// The head didn't come in time.
    #[error("the request did not come in time")]
    TimedOut,
    /// A header that may stand once stands twice.
    #[error("the header {0} stands more than once")]
    Duplicate(&'static str),
    /// HTTP/1.1 needs a Host.
    #[error("the header Host is missing or malformed")]
    BadHost,
    /// A request for a WebSocket has no body.
    #[error("a WebSocket request has no body: Content-Length and Transfer-Encoding don't belong here")]
    HasBody,
    /// The version in the request line isn't HTTP/1.0 or 1.1.
    #[error("only HTTP/1.1 is spoken here")]
    HttpVersion,
    /// Not GET.
    #[error("a WebSocket request uses GET, not {0}")]
    Method(String),
    /// No upgrade to a WebSocket was asked for.
    #[error("this is a WebSocket endpoint: ask with Upgrade: websocket, Connection: Upgrade over HTTP/1.1")]
    NotAnUpgrade,
    /// Another version of the protocol.
    #[error("only Sec-WebSocket-Version 13 is spoken here")]
    WebSocketVersion,
    /// The key isn't 16 bytes of base64, or missing.
    #[error("Sec-WebSocket-Key has to be 16 bytes in base64")]
    BadKey,
    /// `Sec-WebSocket-Protocol` isn't a list of different tokens.
    #[error("Sec-WebSocket-Protocol has to be a list of different tokens")]
    BadSubprotocols,
    /// `Sec-WebSocket-Extensions` isn't a list of extensions.
    #[error("Sec-WebSocket-Extensions is malformed")]
    BadExtensions,
    /// The page that asks isn't allowed to.
    #[error("the origin {0:?} is not allowed here")]
    Origin(String),
    /// The caller refused the request.
    #[error("the request was refused with {0}")]
    Refused(StatusCode),
    /// No room for another connection.
    #[error("no room for another connection at the moment")]
    NoRoom {
        /// When to come again, in seconds.
        retry_after: u32,
    },
}

impl RequestError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_)
            | Self::Tls
            | Self::Duplicate(_)
            | Self::BadHost
            | Self::HasBody
            | Self::BadKey
            | Self::BadSubprotocols
            | Self::BadExtensions => StatusCode::BAD_REQUEST,
            Self::HeadTooLong(_) | Self::TooManyHeaders(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::HttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAnUpgrade | Self::WebSocketVersion => StatusCode::UPGRADE_REQUIRED,
            Self::Origin(_) => StatusCode::FORBIDDEN,
            Self::Refused(status) => *status,
            Self::NoRoom { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Why a client doesn't take a server's answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The head isn't an HTTP/1.1 response.
    #[error("this is not an HTTP/1.1 response: {0}")]
    Malformed(&'static str),
    /// The answer is a TLS record.
    #[error("the server speaks TLS here: use wss:// instead of ws://")]
    Tls,
    /// The head is longer than `max_head_bytes`.
    #[error("the response's head is longer than {0} bytes")]
    HeadTooLong(usize),
    /// The head has more header fields than `max_headers`.
    #[error("the response has more than {0} header fields")]
    TooManyHeaders(usize),
    /// Any status but 101; with the headers and what came of the body, at most 1 KiB.
    #[error("the server answered {status} instead of 101{}", excerpt(.body))]
    Status {
        /// The status.
        status: StatusCode,
        /// The header fields, such as `Retry-After`.
        headers: Box<HeaderMap>,
        /// The front of the body.
        body: Vec<u8>,
    },
    /// No `Upgrade: websocket`.
    #[error("the header Upgrade isn't websocket")]
    Upgrade,
    /// No `Connection: Upgrade`.
    #[error("the header Connection doesn't name Upgrade")]
    Connection,
    /// `Sec-WebSocket-Accept` isn't the answer to our key.
    #[error("Sec-WebSocket-Accept isn't the answer to our key")]
    Accept,
    /// A header that may stand once stands twice.
    #[error("the header {0} stands more than once")]
    Duplicate(&'static str),
    /// A subprotocol that we didn't offer.
    #[error("the server chose the subprotocol {0:?}, which was not offered")]
    Subprotocol(String),
    /// An extension that we didn't offer, or one twice.
    #[error("the server chose an extension that was not offered")]
    Extension,
    /// Parameters of permessage-deflate that don't answer our offer (RFC 7692 §7.1).
    #[error("the server's parameters of permessage-deflate don't answer our offer")]
    DeflateParams,
}

/// The first line of a refusal's body, for people; control characters don't reach a terminal.
fn excerpt(body: &[u8]) -> String {
    let line = body.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line: String =
        String::from_utf8_lossy(line).chars().filter(|char| !char.is_control()).take(200).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

/// Why a URL can't be connected to (RFC 6455 §3), or a request can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Not a URL at all.
    #[error("{0:?} is not a URL: write ws://HOST[:PORT]/PATH")]
    Malformed(String),
    /// Not `ws` or `wss`.
    #[error("the scheme has to be ws or wss, not {0:?}")]
    Scheme(String),
    /// A fragment, which has no meaning here.
    #[error("a WebSocket URL has no #fragment: write %23 for a # in it")]
    Fragment,
    /// No host.
    #[error("the URL names no host")]
    NoHost,
    /// A user or a password.
    #[error("the URL bears a user name: send credentials in a header instead")]
    UserInfo,
    /// A header that belongs to the handshake.
    #[error("the header {0} belongs to the handshake and can't be set")]
    ReservedHeader(String),
    /// A subprotocol that isn't a token, or stands twice.
    #[error("{0:?} can't be offered as a subprotocol: it has to be a token, once")]
    Subprotocol(String),
}
