//! From bytes to frame headers that this side may receive, before anything is allocated for them.
//!
//! First of the four steps of the receive path: a header that comes in parts waits here (at most 14 bytes), and
//! the mask's direction (RFC 6455 §5.1) and the frame limit are checked. What a frame means to the message is
//! [`Receiver`](super::Receiver)'s.

use super::Role;
use super::error::ProtocolError;
use super::frame::{Header, MAX_HEADER_BYTES, OpCode};
use super::limits::Bounds;

/// Collects frame headers.
#[derive(Debug)]
pub(super) struct Decoder {
    partial: [u8; MAX_HEADER_BYTES],
    /// How many bytes of `partial` hold the front of a header.
    partial_len: u8,
}

impl Decoder {
    pub(super) const fn new() -> Self {
        Self { partial: [0; MAX_HEADER_BYTES], partial_len: 0 }
    }

    /// Takes the next frame's header from the front of `input`; `None` if that used it up.
    #[inline]
    pub(super) fn poll_header(
        &mut self,
        limits: &Bounds,
        input: &mut &mut [u8],
    ) -> Result<Option<Header>, ProtocolError> {
        let peer = if limits.role == Role::Server { Role::Client } else { Role::Server };
        let header = if self.partial_len == 0 {
            match Header::parse_from(Some(peer), input)? {
                Some((header, len)) => {
                    take(input, len);
                    header
                }
                None => {
                    self.keep(input);
                    return Ok(None);
                }
            }
        } else {
            match self.complete(peer, input)? {
                Some(header) => header,
                None => return Ok(None),
            }
        };
        check(&header, limits)?;
        Ok(Some(header))
    }

    /// Whether the front of a header waits for the rest.
    pub(super) fn is_partial(&self) -> bool {
        self.partial_len != 0
    }

    #[cold]
    fn complete(&mut self, peer: Role, input: &mut &mut [u8]) -> Result<Option<Header>, ProtocolError> {
        while !input.is_empty() {
            // A header's end is known only once its second byte is there: go byte by byte.
            self.keep(&mut take(input, 1));
            let partial = &self.partial[..usize::from(self.partial_len)];
            if let Some((header, _)) = Header::parse_from(Some(peer), partial)? {
                self.partial_len = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// Moves all of `input`, which is less than a header, behind what is kept.
    fn keep(&mut self, input: &mut &mut [u8]) {
        let start = usize::from(self.partial_len);
        let bytes = take(input, input.len());
        self.partial[start..start + bytes.len()].copy_from_slice(bytes);
        self.partial_len += bytes.len() as u8;
    }
}

#[inline]
fn check(header: &Header, limits: &Bounds) -> Result<(), ProtocolError> {
    if header.payload_bytes > limits.max_frame_bytes && !header.opcode.is_control() {
        return Err(ProtocolError::FrameTooLarge {
            announced: header.payload_bytes,
            limit: limits.max_frame_bytes,
        });
    }
    // RSV1 belongs on the first frame of a message only (RFC 7692 §6.1).
    if header.is_compressed && (header.opcode.is_control() || header.opcode == OpCode::Continuation) {
        return Err(ProtocolError::ReservedBits(0b100));
    }
    Ok(())
}

/// Takes `len` bytes from the front of `input`.
#[inline]
pub(super) fn take<'a>(input: &mut &'a mut [u8], len: usize) -> &'a mut [u8] {
    let (front, rest) = std::mem::take(input).split_at_mut(len);
    *input = rest;
    front
}

#[cfg(test)]
mod tests {
    use super::super::limits::Limits;
    use super::*;

    fn bounds(role: Role) -> Bounds {
        Bounds::new(role, &Limits::default())
    }

    #[test]
    fn a_header_may_come_byte_by_byte() {
        let mut wire = [0x82, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
        let mut decoder = Decoder::new();
        let last = wire.len() - 1;
        for (at, byte) in wire.iter_mut().enumerate() {
            let mut input = std::slice::from_mut(byte);
            let header = decoder.poll_header(&bounds(Role::Server), &mut input).unwrap();
            assert_eq!(header.is_some(), at == last, "byte {at}");
            assert!(input.is_empty());
        }
        assert!(!decoder.is_partial());
    }

    #[test]
    fn the_masks_direction_is_judged_at_the_second_byte() {
        let poll = |role, bytes: &mut [u8]| Decoder::new().poll_header(&bounds(role), &mut &mut *bytes);
        assert_eq!(poll(Role::Server, &mut [0x82, 0x7e]), Err(ProtocolError::UnmaskedFrame));
        assert_eq!(poll(Role::Client, &mut [0x82, 0xfe]), Err(ProtocolError::MaskedFrame));
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_by_its_header() {
        let limits = Bounds { max_frame_bytes: 1000, ..bounds(Role::Client) };
        let mut wire = [0x82, 126, 0x03, 0xe9];
        let refused = Decoder::new().poll_header(&limits, &mut &mut wire[..]);
        assert_eq!(refused, Err(ProtocolError::FrameTooLarge { announced: 1001, limit: 1000 }));
    }
}
