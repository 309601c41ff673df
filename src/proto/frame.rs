//! Frame headers: reading one from bytes, writing one to bytes (RFC 6455 §5.2).
//!
//! Reading refuses whatever is wrong in any context. What depends on the role, on a negotiated extension or on
//! the frames before is the decoder's and [`Receiver`](super::Receiver)'s to judge.

use super::Role;
use super::error::ProtocolError;

/// What a frame is (RFC 6455 §5.2, §11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpCode {
    /// More of the message that an earlier frame began.
    Continuation = 0x0,
    /// Begins a text message.
    Text = 0x1,
    /// Begins a binary message.
    Binary = 0x2,
    /// Ends what this side sends.
    Close = 0x8,
    /// Asks for a Pong.
    Ping = 0x9,
    /// Answers a Ping, or is a sign of life on its own.
    Pong = 0xa,
}

impl OpCode {
    /// Whether it is Close, Ping or Pong (RFC 6455 §5.5).
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    const fn from_nibble(nibble: u8) -> Result<Self, ProtocolError> {
        Ok(match nibble {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return Err(ProtocolError::ReservedOpCode(nibble)),
        })
    }
}

/// The four bytes that a client's payload is XORed with (RFC 6455 §5.3).
pub type MaskKey = [u8; 4];

/// Everything in front of a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether the message ends with this frame (FIN).
    pub is_final: bool,
    /// Whether the message is compressed (RSV1, RFC 7692 §6).
    pub is_compressed: bool,
    /// What the frame is.
    pub opcode: OpCode,
    /// The mask, on frames from a client.
    pub mask: Option<MaskKey>,
    /// The length of the payload in bytes, below 2^63.
    pub payload_bytes: u64,
}

/// The longest header in bytes: two, eight of length, four of mask.
pub const MAX_HEADER_BYTES: usize = 14;

/// The longest payload of a control frame in bytes (RFC 6455 §5.5).
pub const MAX_CONTROL_BYTES: usize = 125;

impl Header {
    /// Reads a header from the front of `bytes`: it and its length, or `None` if more bytes are needed.
    ///
    /// Every byte is judged as soon as it is there, so a bad first byte fails although the rest is missing.
    ///
    /// # Errors
    ///
    /// The [`ProtocolError`] of the first rule of §5.2 or §5.5 that the header breaks.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        Self::parse_from(None, bytes)
    }

    /// As [`Header::parse`], for a frame that `sender` sent: a client masks its frames, a server doesn't (§5.1).
    ///
    /// # Errors
    ///
    /// As [`Header::parse`], [`ProtocolError::UnmaskedFrame`] and [`ProtocolError::MaskedFrame`].
    #[inline]
    pub fn parse_from(sender: Option<Role>, bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let [first, rest @ ..] = bytes else { return Ok(None) };
        if first & 0x30 != 0 {
            return Err(ProtocolError::ReservedBits(first >> 4 & 0x7));
        }
        let opcode = OpCode::from_nibble(first & 0xf)?;
        let is_final = first & 0x80 != 0;
        if opcode.is_control() && !is_final {
            return Err(ProtocolError::FragmentedControl);
        }
        let [second, rest @ ..] = rest else { return Ok(None) };
        match sender {
            Some(Role::Client) if second & 0x80 == 0 => return Err(ProtocolError::UnmaskedFrame),
            Some(Role::Server) if second & 0x80 != 0 => return Err(ProtocolError::MaskedFrame),
            _ => {}
        }
        if opcode.is_control() && second & 0x7f > 125 {
            return Err(ProtocolError::ControlTooLong);
        }
        let Some((payload_bytes, length_bytes)) = parse_length(second & 0x7f, rest)? else { return Ok(None) };
        let rest = &rest[length_bytes..];
        let (mask, mask_bytes) = match (second & 0x80 != 0, rest) {
            (false, _) => (None, 0),
            (true, [a, b, c, d, ..]) => (Some([*a, *b, *c, *d]), 4),
            (true, _) => return Ok(None),
        };
        let header = Self { is_final, is_compressed: first & 0x40 != 0, opcode, mask, payload_bytes };
        Ok(Some((header, 2 + length_bytes + mask_bytes)))
    }

    /// Appends the header to `out`, its length in the fewest bytes.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; MAX_HEADER_BYTES];
        let mut at = 2;
        bytes[0] = u8::from(self.is_final) << 7 | u8::from(self.is_compressed) << 6 | self.opcode as u8;
        bytes[1] = match self.payload_bytes {
            length @ 0..=125 => length as u8,
            length @ 126..=0xffff => {
                bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                at = 4;
                126
            }
            length => {
                bytes[2..10].copy_from_slice(&length.to_be_bytes());
                at = 10;
                127
            }
        };
        if let Some(key) = self.mask {
            bytes[1] |= 0x80;
            bytes[at..at + 4].copy_from_slice(&key);
            at += 4;
        }
        out.extend_from_slice(&bytes[..at]);
    }
}

/// The payload length that begins with the seven bits `short`, and how many bytes of `rest` it takes.
#[inline]
fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, ProtocolError> {
    match (short, rest) {
        (126, [a, b, ..]) => {
            let length = u64::from(u16::from_be_bytes([*a, *b]));
            if length < 126 { Err(ProtocolError::NonMinimalLength(length)) } else { Ok(Some((length, 2))) }
        }
        (127, [top, ..]) if top & 0x80 != 0 => Err(ProtocolError::LengthTopBit),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            if length <= 0xffff {
                Err(ProtocolError::NonMinimalLength(length))
            } else {
                Ok(Some((length, 8)))
            }
        }
        (126 | 127, _) => Ok(None),
        _ => Ok(Some((u64::from(short), 0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(opcode: OpCode, payload_bytes: u64) -> Header {
        Header { is_final: true, is_compressed: false, opcode, mask: None, payload_bytes }
    }

    #[test]
    fn every_length_is_encoded_minimally_and_read_back() {
        for (length, bytes) in
            [(0, 2), (1, 2), (125, 2), (126, 4), (0xffff, 4), (0x1_0000, 10), (u64::MAX >> 1, 10)]
        {
            for mask in [None, Some([1, 2, 3, 4])] {
                let header = Header { mask, ..header(OpCode::Binary, length) };
                let mut out = Vec::new();
                header.encode(&mut out);
                let expected = bytes + if mask.is_some() { 4 } else { 0 };
                assert_eq!(out.len(), expected, "length {length}");
                assert_eq!(Header::parse(&out), Ok(Some((header, expected))));
                for cut in 0..out.len() {
                    assert_eq!(Header::parse(&out[..cut]), Ok(None), "cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn refuses_lengths_that_are_not_minimal() {
        assert_eq!(Header::parse(&[0x82, 126, 0, 125]), Err(ProtocolError::NonMinimalLength(125)));
        assert_eq!(
            Header::parse(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            Err(ProtocolError::NonMinimalLength(0xffff))
        );
    }

    #[test]
    fn refuses_the_top_bit_of_a_length_at_its_first_byte() {
        assert_eq!(Header::parse(&[0x82, 127, 0x80]), Err(ProtocolError::LengthTopBit));
    }

    #[test]
    fn judges_the_first_byte_alone() {
        for first in 0..=u8::MAX {
            let parsed = Header::parse(&[first]);
            let reserved = !matches!(first & 0xf, 0..=2 | 8..=10);
            let expected = if first & 0x30 != 0 {
                Err(ProtocolError::ReservedBits(first >> 4 & 0x7))
            } else if reserved {
                Err(ProtocolError::ReservedOpCode(first & 0xf))
            } else if first & 0x88 == 0x08 {
                Err(ProtocolError::FragmentedControl)
            } else {
                Ok(None)
            };
            assert_eq!(parsed, expected, "first byte {first:#x}");
        }
    }

    #[test]
    fn refuses_a_long_control_frame_at_its_second_byte() {
        assert_eq!(Header::parse(&[0x89, 126]), Err(ProtocolError::ControlTooLong));
        assert_eq!(Header::parse(&[0x88, 0xff]), Err(ProtocolError::ControlTooLong));
    }
}
