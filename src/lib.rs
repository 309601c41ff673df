//! A hand-rolled WebSocket library: RFC 6455 and RFC 7692, strict in both roles.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "cli")]
pub mod chat;
pub mod handshake;
#[cfg(feature = "cli")]
pub mod hub;
#[cfg(feature = "net")]
pub mod net;
pub mod proto;
#[cfg(feature = "cli")]
pub mod server;

#[cfg(feature = "net")]
pub use net::{Config, Error, MessageWriter, Permit, Receiver, Sender, Stream, Timeout, Timeouts, TrySendError, WebSocket};
#[cfg(feature = "server")]
pub use net::{Acceptor, HttpRequest, Pending};
#[cfg(feature = "client")]
pub use net::Connector;
pub use proto::{CloseCode, CloseFrame, Kind, Limits, Message, Piece, Prepared, Role, Utf8Bytes};
