//! A hand-rolled WebSocket library: RFC 6455 and RFC 7692, strict in both roles.

pub mod handshake;
#[cfg(feature = "net")]
pub mod net;
pub mod proto;

#[cfg(feature = "net")]
pub use net::{Error, WebSocket};
