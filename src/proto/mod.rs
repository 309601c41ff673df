//! The protocol without I/O: bytes in → events; commands → bytes out.

pub mod close;
pub mod deflate;
pub mod error;
pub mod frame;
pub mod limits;
pub mod mask;
pub mod message;
pub mod utf8;

pub use close::{CloseCode, CloseFrame};
pub use error::{ProtocolError, SendError};
pub use limits::Limits;
pub use message::{Kind, Message, Piece};
pub use utf8::Utf8Bytes;

/// Which side of the connection we are (RFC 6455 §1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We connected: our frames are masked, the peer's are not.
    Client,
    /// We accepted: our frames are not masked, the peer's are.
    Server,
}
