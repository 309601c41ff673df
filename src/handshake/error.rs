//! What can go wrong in the handshake, by whose fault it is.
//!
//! [`HeadError`] is bytes that are no head, whoever sent them; [`RequestError`] a request that gets no WebSocket;
//! [`ResponseError`] a server's answer that gives none. [`AnswerError`] and [`OfferError`] are the caller's own.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode};

use super::extensions::ExtensionError;
use super::refusal::{Refusal, Refused};

/// Bytes that are no HTTP/1.1 head, or one over our [`Limits`](crate::proto::Limits) (RFC 9112 §2–§5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The first byte, or one in `HTTP/`, can't be HTTP.
    #[error("this is not HTTP: a byte {0:#04x} can't be where it is")]
    NotHttp(u8),
    /// The bytes are TLS.
    #[error("this is TLS on a plain port: ws:// and http:// are plain, wss:// and https:// are TLS")]
    Tls,
    /// The request line or the status line isn't one.
    #[error("the first line is no HTTP/1.1 request or status line: a request's is METHOD /path HTTP/1.1")]
    InvalidStartLine,
    /// A version of HTTP other than 1.0 and 1.1.
    #[error("this version of HTTP is not spoken here: use HTTP/1.1")]
    UnsupportedVersion,
    /// A CR that no LF follows.
    #[error("a CR stands alone: lines end in CR LF")]
    BareCarriageReturn,
    /// A LF that no CR precedes.
    #[error("a LF stands alone: lines end in CR LF")]
    BareLineFeed,
    /// A line that continues the one before (RFC 9112 §5.2).
    #[error("a header field is folded over several lines: write it in one")]
    FoldedLine,
    /// A space or a tab between a field's name and its colon.
    #[error("there is white space between a header field's name and its colon: remove it")]
    SpaceBeforeColon,
    /// A field's line without a colon.
    #[error("a header line has no colon: write Name: value")]
    MissingColon,
    /// A byte that can't be in a field's name.
    #[error("a header field's name has a byte {0:#04x}: it may hold letters, digits and !#$%&'*+-.^_`|~")]
    InvalidFieldName(u8),
    /// A byte that can't be in a field's value.
    #[error("a header field's value has a control byte {0:#04x}: remove it")]
    InvalidFieldValue(u8),
    /// A head longer than `max_head_bytes`.
    #[error("the head has more than {limit} bytes: send fewer or shorter header fields")]
    TooLarge {
        /// [`Limits::max_head_bytes`](crate::proto::Limits::max_head_bytes).
        limit: usize,
    },
    /// A head with more than `max_headers` fields.
    #[error("the head has more than {limit} header fields: send fewer")]
    TooManyFields {
        /// [`Limits::max_headers`](crate::proto::Limits::max_headers).
        limit: usize,
    },
}

/// A request that gets no WebSocket; [`RequestError::response`] tells its sender why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The bytes are no HTTP/1.1 head: 400, 431 or 505.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The request's target is no path and no `http` URL: 400.
    #[error("the request's target is invalid: send a path such as /chat, without a fragment")]
    InvalidTarget,
    /// HTTP/1.1 without `Host`: 400.
    #[error("there is no Host header: HTTP/1.1 requires one")]
    MissingHost,
    /// A `Host` that is no host: 400.
    #[error("the Host header is invalid: it is name, name:port, or an address in place of the name")]
    InvalidHost,
    /// A target with another host than `Host`: 400.
    #[error("the request's target and its Host header name different hosts")]
    HostMismatch,
    /// A field that may come once came again: 400.
    #[error("the header {0} came more than once")]
    RepeatedHeader(HeaderName),
    /// `Content-Length` that is no number, a `Transfer-Encoding` other than chunked, or both: 400.
    #[error(
        "where the body ends is unclear: send one Content-Length, or Transfer-Encoding: chunked over HTTP/1.1"
    )]
    UnclearBody,
    /// Another method than GET: 405.
    #[error("a WebSocket is asked for with GET, not with {0}")]
    MethodNotAllowed(Method),
    /// HTTP/1.0: 426.
    #[error("HTTP/1.0 can't be upgraded: use HTTP/1.1 (a proxy may have lowered it)")]
    Http10,
    /// `Upgrade` or `Connection` doesn't ask for a WebSocket: 426.
    #[error(
        "a WebSocket is needed here: send Upgrade: websocket and Connection: Upgrade (a proxy may drop them)"
    )]
    NoUpgrade,
    /// A request to upgrade with a body: 400.
    #[error("a request to upgrade must not have a body")]
    UnexpectedBody,
    /// `Sec-WebSocket-Version` isn't 13: 426.
    #[error("this version of WebSocket is not spoken here: send Sec-WebSocket-Version: 13")]
    UnsupportedWebSocketVersion,
    /// No `Sec-WebSocket-Key`: 400.
    #[error("there is no Sec-WebSocket-Key header: send 16 random bytes in base64")]
    MissingKey,
    /// A `Sec-WebSocket-Key` that isn't 16 bytes in base64: 400.
    #[error("the Sec-WebSocket-Key header is invalid: send 16 random bytes in base64")]
    InvalidKey,
    /// `Sec-WebSocket-Protocol` is no list of tokens, all different: 400.
    #[error("the Sec-WebSocket-Protocol header is invalid: send names, each once, with commas between")]
    InvalidSubprotocols,
    /// `Sec-WebSocket-Extensions` isn't what its grammar allows: 400.
    #[error(
        "the Sec-WebSocket-Extensions header is invalid: send name; parameter=value, with commas between"
    )]
    InvalidExtensions,
    /// The [`OriginPolicy`](super::OriginPolicy) refuses the page: 403.
    #[error("pages of this origin may not connect here: the server's operator can allow it")]
    OriginRefused,
    /// The bytes end before the head does: 400. Made by whoever has the stream.
    #[error("the request ended before its head did: send all of it, up to an empty line")]
    Unfinished,
    /// No complete head in time: 408. Made by whoever has the clock.
    #[error("the request did not come in time")]
    Timeout,
    /// No room for another connection: 503. Made by whoever counts them.
    #[error("there is no room for another connection: try again later")]
    NoRoom {
        /// What `Retry-After` says, in whole seconds, rounded up.
        retry_after: Duration,
    },
}

impl RequestError {
    /// The status that says whose fault it is.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Head(HeadError::UnsupportedVersion) => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Head(HeadError::TooLarge { .. } | HeadError::TooManyFields { .. }) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Http10 | Self::NoUpgrade | Self::UnsupportedWebSocketVersion => {
                StatusCode::UPGRADE_REQUIRED
            }
            Self::OriginRefused => StatusCode::FORBIDDEN,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::NoRoom { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Head(_)
            | Self::InvalidTarget
            | Self::MissingHost
            | Self::InvalidHost
            | Self::HostMismatch
            | Self::RepeatedHeader(_)
            | Self::UnclearBody
            | Self::UnexpectedBody
            | Self::MissingKey
            | Self::InvalidKey
            | Self::Unfinished
            | Self::InvalidSubprotocols
            | Self::InvalidExtensions => StatusCode::BAD_REQUEST,
        }
    }

    /// The whole HTTP/1.1 response, with one line that says why; the connection ends after it.
    pub fn response(&self) -> Bytes {
        let reason = self.to_string();
        let mut refusal = Refusal::new(self.status(), &reason);
        match self {
            Self::MethodNotAllowed(method) => refusal = refusal.answering(method).header("Allow", "GET"),
            Self::NoRoom { retry_after } => {
                let seconds = retry_after.as_secs().saturating_add(u64::from(retry_after.subsec_nanos() > 0));
                refusal = refusal.header("Retry-After", &seconds.to_string());
            }
            _ => {}
        }
        refusal.to_bytes()
    }
}

/// An answer that the server's own code asked for, but that can't be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The subprotocol is none of those that the client offered (RFC 6455 §4.2.2).
    #[error("subprotocol {0:?} was not offered: choose one of Upgrade::subprotocols, or none")]
    SubprotocolNotOffered(String),
    /// A header field that is the handshake's own.
    #[error("the header {0} is the handshake's own: leave it out")]
    ReservedHeader(HeaderName),
}

impl AnswerError {
    /// A whole 500 response that doesn't say more: the client can't help it.
    pub fn response(&self) -> Bytes {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the server could not answer this request").to_bytes()
    }
}

/// A request that can't be made as the caller asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// A subprotocol is no token, or is offered twice (RFC 6455 §4.1).
    #[error(
        "subprotocol {0:?} can't be offered: a name is letters, digits and !#$%&'*+-.^_`|~, each name once"
    )]
    InvalidSubprotocol(String),
    /// A header field that is the handshake's own.
    #[error("the header {0} is the handshake's own: leave it out (Origin has a field in ClientConfig)")]
    ReservedHeader(HeaderName),
}

/// A server's answer that gives no WebSocket (RFC 6455 §4.1).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The bytes are no HTTP/1.1 head.
    #[error("the server's answer can't be read: {0}")]
    Head(#[from] HeadError),
    /// The server answered with another status than 101.
    #[error("the server refused: {0}")]
    Refused(Box<Refused>),
    /// 101, but over HTTP/1.0.
    #[error("the server switched protocols over HTTP/1.0: that takes HTTP/1.1")]
    Http10,
    /// `Upgrade` isn't `websocket`.
    #[error("the server switched protocols, but not to WebSocket: its Upgrade header is not websocket")]
    InvalidUpgrade,
    /// `Connection` has no `Upgrade`.
    #[error("the server's Connection header does not list Upgrade")]
    InvalidConnection,
    /// `Sec-WebSocket-Accept` is missing or isn't what our key asks for.
    #[error(
        "the server's Sec-WebSocket-Accept header does not answer our key: it is no WebSocket server, or a cache answered"
    )]
    InvalidAccept,
    /// A field that may come once came again.
    #[error("the server sent the header {0} more than once")]
    RepeatedHeader(HeaderName),
    /// The server chose a subprotocol that we didn't offer.
    #[error("the server chose the subprotocol {0:?}, which was not offered")]
    SubprotocolNotOffered(String),
    /// The server's extensions aren't what we offered.
    #[error("the server's extensions can't be used: {0}")]
    Extensions(#[from] ExtensionError),
    /// The connection ended before the head did. Made by whoever reads the socket.
    #[error("the server closed the connection before it had answered")]
    Closed,
}
