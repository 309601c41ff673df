//! The protocol without I/O: bytes in → events; commands → bytes out (RFC 6455, RFC 7692).
//!
//! [`Receiver`] and [`Sender`] are two plain state machines, one a direction. They know no socket, no clock and no
//! entropy, so a fuzzer, a property test, the tokio layer and any other runtime drive them alike.
//!
//! # The contract
//!
//! After every call drain the events, then the output, then wait:
//!
//! 1. Bytes came: call [`Receiver::poll_event`] until it returns `Ok(None)`, which means that they are used up.
//! 2. Give every event to [`Sender::on_event`]: it answers Pings and the Close. That is the only way from reading
//!    to writing. An error goes to [`Sender::fail`], and nothing more is read but to drop it.
//! 3. While [`Sender::output`] gives bytes: write them, and tell [`Sender::advance`] how many the socket took.
//!    Bytes leave it only by that, so a write that is given up halfway loses nothing and tears no frame.
//! 4. Once [`Sender::close_sent`] and [`Receiver::close_received`], and all output is written, a server closes the
//!    TCP connection and a client waits for that (RFC 6455 §7.1.1).
//!
//! ```
//! use switchboard::proto::{Event, Limits, Message, Receiver, Role, Sender};
//!
//! let mut sender = Sender::server();
//! sender.send(Message::text("Hello")).unwrap();
//! let mut slices = [std::io::IoSlice::new(&[]); 8];
//! let filled = sender.output(&mut slices);
//! let mut wire: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
//! assert_eq!(wire, b"\x81\x05Hello");
//! sender.advance(wire.len());
//!
//! let mut receiver = Receiver::new(Role::Client, Limits::default());
//! let mut input = &mut wire[..];
//! let event = receiver.poll_event(&mut input).unwrap();
//! assert_eq!(event, Some(Event::Message(Message::text("Hello"))));
//! assert_eq!(receiver.poll_event(&mut input), Ok(None));
//! ```

mod assembly;
mod batch;
mod close;
mod decoder;
pub mod deflate;
mod error;
pub mod frame;
mod joined;
mod limits;
pub mod mask;
mod message;
mod outbox;
mod prepared;
mod receiver;
mod sender;
mod utf8;

pub use close::{CloseCode, CloseFrame};
pub use error::{ProtocolError, SendError};
pub use joined::Batch;
pub use limits::Limits;
pub use message::{Kind, Message, Piece};
pub use prepared::Prepared;
pub use receiver::{Event, Receiver};
pub use sender::{MaskSource, Sender};
pub use utf8::{InvalidUtf8, Utf8Bytes, Utf8Validator};

/// Which side of the connection we are (RFC 6455 §1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We connected: our frames are masked, the peer's are not.
    Client,
    /// We accepted: our frames are not masked, the peer's are.
    Server,
}
