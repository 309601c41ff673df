//! The opening handshake, without I/O (RFC 6455 §4, RFC 7692 §5, §7.1).
//!
//! Bytes go in and bytes come out; sockets, clocks and entropy are the caller's. Each step consumes the one before:
//!
//! - A server feeds a [`ServerHandshake`] until it gives a [`Request`], which may be any HTTP request.
//!   [`Request::upgrade`] makes an [`Upgrade`] of one that asks for a WebSocket; [`Upgrade::accept`] and
//!   [`Upgrade::reject`] give the response. A [`RequestError`] has one too.
//! - A client makes a [`ClientHandshake`] for a [`Url`], sends [`ClientHandshake::request`], and feeds it until it gives
//!   [`Connected`].
//!
//! Whatever came behind the head is handed on as `remainder`: the peer's first frames.
//!
//! ```
//! # use switchboard::handshake::*;
//! let mut handshake = ServerHandshake::new(UpgradeConfig::default());
//! let bytes = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
//! let request = handshake.receive(bytes)?.expect("the whole head is there");
//! let accepted = request.upgrade()?.accept(Answer::default()).expect("the default answer fits");
//! assert!(accepted.response.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
//! # Ok::<(), RequestError>(())
//! ```

mod authority;
mod client;
mod error;
mod extensions;
mod fields;
mod head;
mod key;
mod negotiation;
mod origin;
mod refusal;
mod request;
mod server;
mod upgrade;
mod url;

pub use client::{ClientConfig, ClientHandshake, Connected};
pub use error::{AnswerError, HeadError, OfferError, RequestError, ResponseError};
pub use extensions::ExtensionError;
pub use origin::{InvalidOrigin, OriginPolicy};
pub use refusal::Refused;
pub use request::{Body, Request};
pub use server::{ServerHandshake, UpgradeConfig};
pub use upgrade::{Accepted, Answer, SubprotocolChoice, Upgrade};
pub use url::{Url, UrlError};

/// Header fields, of the crate `http`.
pub use http::HeaderMap;

use crate::proto::deflate::DeflateParams;

/// What the two sides agreed on, beyond RFC 6455 itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// The subprotocol, if one was chosen (RFC 6455 §1.9).
    pub subprotocol: Option<String>,
    /// permessage-deflate's parameters, if messages may be compressed (RFC 7692 §7.1).
    pub deflate: Option<DeflateParams>,
}
