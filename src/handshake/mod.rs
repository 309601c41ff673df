//! The opening handshake without I/O: bytes → request → [`Upgrade`] → bytes (RFC 6455 §4, RFC 7692 §5).
//!
//! [`ServerHandshake`] reads a request and refuses every wrong one with an HTTP answer that says why.
//! [`ClientHandshake`] writes a request and checks everything that comes back.

mod client;
mod error;
mod extensions;
mod head;
mod key;
mod origin;
mod server;

pub use client::{ClientConfig, ClientHandshake, Connected, Target};
pub use error::{RequestError, ResponseError, UrlError};
pub use origin::OriginPolicy;
pub use server::{Accepted, Request, ServerConfig, ServerHandshake, Upgrade, refusal};

/// Header fields, of the crate `http`.
pub use http::HeaderMap;

use crate::proto::deflate::DeflateParams;

#[doc(hidden)]
pub use extensions::fuzz_extensions;

/// What the two sides agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// The subprotocol (RFC 6455 §1.9).
    pub subprotocol: Option<String>,
    /// permessage-deflate, if both sides have it.
    pub deflate: Option<DeflateParams>,
}
