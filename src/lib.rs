//! A hand-rolled WebSocket library: RFC 6455 and RFC 7692, strict in both roles.

#[cfg(feature = "cli")]
pub mod chat;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod handshake;
#[cfg(feature = "cli")]
pub mod hub;
#[cfg(feature = "net")]
pub mod net;
pub mod proto;
#[cfg(feature = "cli")]
pub mod server;
#[cfg(feature = "test-util")]
pub mod testing;

#[cfg(feature = "client")]
pub use net::Connector;
#[cfg(feature = "server")]
pub use net::{Acceptor, HttpRequest, Pending};
#[cfg(feature = "net")]
pub use net::{
    Config, Error, MessageWriter, Permit, Receiver, Sender, Stream, Timeout, Timeouts, TrySendError,
    WebSocket,
};
pub use proto::{CloseCode, CloseFrame, Kind, Limits, Message, Piece, Prepared, Role, Utf8Bytes};
