//! Connections on tokio.

mod config;
mod connection;
mod entropy;
mod error;
mod helpers;
mod input;
mod reader;
mod sender;
mod timeouts;
mod transport;
mod waker;
mod websocket;

pub use config::Config;
pub use error::{Error, Timeout, TrySendError};
pub use sender::{MessageWriter, Permit, Sender};
pub use timeouts::Timeouts;
pub use transport::Stream;
pub use websocket::{Receiver, WebSocket};
