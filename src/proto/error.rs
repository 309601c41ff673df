//! What can go wrong in the protocol, by whose fault it is.
//!
//! [`ProtocolError`] is the peer's fault and ends the connection with the Close code of
//! [`ProtocolError::close_code`] (RFC 6455 §7.1.7). [`SendError`] is the caller's and changes nothing on the wire.

use super::close::CloseCode;

/// The peer broke RFC 6455 or RFC 7692, or went over one of our [`Limits`](super::Limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit is set that no negotiated extension defines (RFC 6455 §5.2).
    #[error("reserved bits {0:#05b} are set, but no negotiated extension gives them a meaning here")]
    ReservedBits(u8),
    /// The opcode is one of 0x3–0x7 or 0xB–0xF (RFC 6455 §5.2).
    #[error("opcode {0:#x} is reserved")]
    ReservedOpCode(u8),
    /// A client sent a frame without a mask (RFC 6455 §5.1).
    #[error("a frame from a client has to be masked, this one isn't")]
    UnmaskedFrame,
    /// A server sent a masked frame (RFC 6455 §5.1).
    #[error("a frame from a server must not be masked, this one is")]
    MaskedFrame,
    /// A length is not written in the least number of bytes (RFC 6455 §5.2).
    #[error("payload length {0} is not encoded in the least number of bytes")]
    NonMinimalLength(u64),
    /// The most significant bit of a 64-bit length is set (RFC 6455 §5.2).
    #[error("the most significant bit of a 64-bit payload length is set")]
    LengthTopBit,
    /// A control frame has more than 125 bytes of payload (RFC 6455 §5.5).
    #[error("a control frame may carry at most 125 bytes, this one announces more")]
    ControlTooLong,
    /// A control frame is fragmented (RFC 6455 §5.5).
    #[error("a control frame must not be fragmented")]
    FragmentedControl,
    /// A continuation frame came with no message to continue (RFC 6455 §5.4).
    #[error("a continuation frame came, but there is no message to continue")]
    UnexpectedContinuation,
    /// A new message began before the last one was complete (RFC 6455 §5.4).
    #[error("a new message began before the last one was complete")]
    ExpectedContinuation,
    /// A Close payload of one byte (RFC 6455 §5.5.1).
    #[error("a close frame's payload is empty or begins with a two-byte code, this one is 1 byte long")]
    TruncatedCloseCode,
    /// A Close code that must not be on the wire (RFC 6455 §7.4).
    #[error("close code {0} must not appear in a close frame")]
    InvalidCloseCode(u16),
    /// A Close reason is not UTF-8 (RFC 6455 §5.5.1).
    #[error("the reason in a close frame is not UTF-8")]
    InvalidCloseReason,
    /// A text message is not UTF-8 (RFC 6455 §8.1).
    #[error("a text message is not UTF-8")]
    InvalidUtf8,
    /// Compressed data that can't be inflated (RFC 7692 §7.2.2).
    #[error("a compressed message is not valid DEFLATE data")]
    InvalidDeflate,
    /// A frame longer than `max_frame_bytes`.
    #[error("a frame announces {announced} bytes, the limit is {limit}")]
    FrameTooLarge {
        /// The length in the frame's header, in bytes.
        announced: u64,
        /// [`Limits::max_frame_bytes`](super::Limits::max_frame_bytes).
        limit: u64,
    },
    /// A message longer than `max_message_bytes`, after inflation.
    #[error("a message is longer than the limit of {limit} bytes")]
    MessageTooLarge {
        /// [`Limits::max_message_bytes`](super::Limits::max_message_bytes).
        limit: usize,
    },
    /// A message in more than `max_fragments` frames.
    #[error("a message has more than {limit} fragments")]
    TooManyFragments {
        /// [`Limits::max_fragments`](super::Limits::max_fragments).
        limit: u32,
    },
}

impl ProtocolError {
    /// The code with which the connection is failed (RFC 6455 §7.4.1).
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::ReservedBits(_)
            | Self::ReservedOpCode(_)
            | Self::UnmaskedFrame
            | Self::MaskedFrame
            | Self::NonMinimalLength(_)
            | Self::LengthTopBit
            | Self::ControlTooLong
            | Self::FragmentedControl
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::TruncatedCloseCode
            | Self::InvalidCloseCode(_)
            | Self::InvalidDeflate => CloseCode::PROTOCOL_ERROR,
            Self::InvalidCloseReason | Self::InvalidUtf8 => CloseCode::INVALID_PAYLOAD,
            Self::FrameTooLarge { .. } | Self::MessageTooLarge { .. } => CloseCode::MESSAGE_TOO_BIG,
            Self::TooManyFragments { .. } => CloseCode::POLICY_VIOLATION,
        }
    }
}

/// The caller asked for something that can't be sent. Nothing of it was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// A Ping or Pong payload, or a Close reason, is too long for a control frame (RFC 6455 §5.5).
    #[error("a control frame may carry at most 125 bytes (a close reason 123), this one would carry {0}")]
    ControlTooLong(usize),
    /// A Close code that must not be sent (RFC 6455 §7.4).
    #[error("close code {0} must not be sent; use 1000–1003, 1007–1014 or 3000–4999")]
    InvalidCloseCode(u16),
    /// A Close frame was queued already, nothing may follow it (RFC 6455 §5.5.1).
    #[error("the connection is closing: nothing may be sent after a close frame")]
    Closed,
    /// A message that is being sent in pieces isn't finished yet (RFC 6455 §5.4).
    #[error("another message is being sent in pieces: finish it first")]
    MessageUnfinished,
}
