//! Connections on tokio.

#[cfg(feature = "server")]
mod accept;
mod clocks;
mod config;
#[cfg(feature = "client")]
mod connect;
mod connection;
#[cfg(feature = "client")]
mod dial;
mod entropy;
mod error;
mod helpers;
mod input;
#[cfg(any(feature = "client", feature = "server"))]
mod opening;
mod reader;
#[cfg(feature = "client")]
pub mod reconnecting;
mod sender;
mod timeouts;
mod transport;
mod waker;
mod websocket;

#[cfg(feature = "server")]
pub use accept::{Acceptor, HttpRequest, Pending};
pub use config::Config;
#[cfg(feature = "client")]
pub use connect::Connector;
pub use error::{Error, Timeout, TrySendError};
#[cfg(feature = "client")]
pub use reconnecting::Reconnecting;
pub use sender::{MessageWriter, Permit, Sender};
pub use timeouts::Timeouts;
pub use transport::Stream;
pub use websocket::{Receiver, WebSocket};
