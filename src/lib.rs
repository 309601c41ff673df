//! A hand-rolled WebSocket library: RFC 6455 and RFC 7692, strict in both roles.
//!
//! [`WebSocket`] is a connection, whichever side we are and whatever it stands on:
//!
//! ```
//! use switchboard::WebSocket;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let url = format!("ws://{}/", listener.local_addr()?);
//! tokio::spawn(async move {
//!     let (stream, _) = listener.accept().await?;
//!     let mut ws = WebSocket::accept(stream).await?;
//!     while let Some(message) = ws.recv().await? {
//!         ws.send(message).await?;
//!     }
//!     Ok::<_, switchboard::Error>(())
//! });
//!
//! let mut ws = WebSocket::connect(&url).await?;
//! ws.send("hello").await?;
//! assert_eq!(ws.recv().await?.unwrap().as_text(), Some("hello"));
//! ws.close(None).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//!
//! - [`Acceptor`]: a server that looks at a request before it answers, or has a [`Config`] of its own.
//! - [`Connector`]: the same for a client.
//! - [`Reconnecting`]: a client that keeps a connection: jitter, the server's advice, a queue for the meantime.
//! - [`WebSocket::split`] and [`Sender`]: one task receives, any number of tasks send.
//! - [`Limits`] and [`Timeouts`]: what a peer may cost. All of them are on by default.
//! - [`Prepared`] and [`Batch`]: messages that are encoded once and sent to many.
//! - `hub` and `SocketMember` (feature `hub`): rooms; what is published in one goes to all its members.
//! - [`proto`] and [`handshake`]: the protocol without I/O, for another runtime or a test.
//! - `testing`: two connections joined in memory (feature `test-util`).
//!
//! # What it needs
//!
//! A tokio runtime with I/O and time, of either flavour, any number of them. With [`Timeouts::none`] it needs no
//! time. The library never prints, never exits, and sets nothing that is global.
//!
//! # Compatibility
//!
//! The minimum supported Rust version is 1.88 (1.90 with the feature `cli`); raising it is a minor release. Semantic
//! versioning covers every public item at the crate's root and in [`net`], [`handshake`], [`proto`] and `testing`,
//! the names of the features, and which errors and close codes are told apart; not the wording of messages, the
//! sizes of types, or what is marked `#[doc(hidden)]`. The hub and the modules of the binary (`hub`, `server`,
//! `chat`, `cli`, with the features `hub` and `cli`) are not covered yet. The types of `bytes`, `http` and tokio in
//! the API make their major versions ours.

#[cfg(feature = "cli")]
pub mod chat;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod handshake;
#[cfg(feature = "hub")]
pub mod hub;
#[cfg(feature = "net")]
pub mod net;
pub mod proto;
#[cfg(feature = "hub")]
pub mod server;
#[cfg(feature = "test-util")]
pub mod testing;

#[cfg(feature = "server")]
pub use net::{Acceptor, HttpRequest, Pending};
#[cfg(feature = "net")]
pub use net::{
    Config, Error, MessageWriter, Permit, Receiver, Sender, Stream, Timeout, Timeouts, TrySendError,
    WebSocket,
};
#[cfg(feature = "client")]
pub use net::{Connector, Reconnecting, reconnecting};
pub use proto::{Batch, CloseCode, CloseFrame, Kind, Limits, Message, Piece, Prepared, Role, Utf8Bytes};
#[cfg(feature = "hub")]
pub use server::SocketMember;

/// The README's examples, compiled with the tests.
#[cfg(all(doctest, feature = "client", feature = "hub"))]
#[doc = include_str!("../README.md")]
struct Readme;
