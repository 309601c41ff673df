//! A hand-rolled WebSocket library: RFC 6455 and RFC 7692, strict in both roles.
#![doc = ""]

pub mod handshake;
pub mod proto;
