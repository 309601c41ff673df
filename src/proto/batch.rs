//! Small messages that were decoded ahead: those of one read share one allocation.
//!
//! What a user keeps must not pin a read buffer, so small payloads are copied out of it. With 16 messages in a read
//! a single pass unmasks and checks them where they lie, one copy of at most 4 KiB takes them all, and each message
//! is then a slice of that. A frame that is anything but a whole, plain, valid message within the limits ends the
//! pass untouched.

use bytes::{Buf, Bytes};

use super::decoder::take;
use super::frame::OpCode;
use super::limits::Bounds;
use super::message::{Kind, Message};
use super::{Role, mask, utf8};

/// Messages that were decoded and not yet handed out: their frames as they came, but unmasked.
#[derive(Debug, Default)]
pub(super) struct Batch {
    frames: Bytes,
}

/// The most that messages share; keeping one of them keeps no more than this.
const MAX_SHARED_BYTES: usize = 4 << 10;

/// A payload longer than this has an allocation of its own, which then costs less than the copying.
const MAX_SMALL_BYTES: usize = 512;

/// The most messages that are decoded ahead.
const MAX_MESSAGES: usize = 32;

impl Batch {
    #[cfg(feature = "net")]
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The next message.
    #[inline(always)]
    pub(super) fn next(&mut self, role: Role) -> Option<Message> {
        let frame = WholeFrame::parse(&self.frames, role)?;
        self.frames.advance(frame.header_bytes);
        // The last one takes the reference that is already there.
        let payload = if self.frames.len() == frame.payload_bytes {
            std::mem::take(&mut self.frames)
        } else {
            self.frames.split_to(frame.payload_bytes)
        };
        Some(super::assembly::message(frame.kind, payload))
    }

    /// Decodes the messages at the front of `input`, if the `first` one is small and not alone.
    #[inline]
    pub(super) fn fill(&mut self, first: WholeFrame, limits: &Bounds, input: &mut &mut [u8]) {
        let max_bytes = MAX_SMALL_BYTES.min(limits.max_message_bytes);
        let max_bytes = limits.max_frame_bytes.min(max_bytes as u64) as usize;
        if first.payload_bytes <= max_bytes && first.len() * 2 <= input.len() {
            let decoded = decode(limits.role, max_bytes, input);
            self.frames = Bytes::copy_from_slice(take(input, decoded));
        }
    }
}

/// Unmasks and checks whole small frames at the front of `input`, and returns how many bytes they are.
#[inline(never)]
fn decode(role: Role, max_bytes: usize, input: &mut [u8]) -> usize {
    mask::vectorized(
        #[inline(always)]
        || {
            let mut decoded = 0;
            for _ in 0..MAX_MESSAGES {
                let rest = &mut input[decoded..];
                let Some(frame) = WholeFrame::parse(rest, role) else { break };
                if frame.payload_bytes > max_bytes || decoded + frame.len() > MAX_SHARED_BYTES {
                    break;
                }
                let whole = &mut rest[..frame.len()];
                let payload = frame.unmask_within(whole, role);
                if frame.kind == Kind::Text && !utf8::is_utf8(payload) {
                    // Masked again it is as it was, for whoever finds out where it goes wrong.
                    frame.unmask_within(whole, role);
                    break;
                }
                decoded += frame.len();
            }
            decoded
        },
    )
}

/// The front of a frame that is a whole message of less than 64 KiB, uncompressed, all of it in the input.
#[derive(Clone, Copy)]
pub(super) struct WholeFrame {
    pub(super) kind: Kind,
    header_bytes: usize,
    pub(super) payload_bytes: usize,
}

impl WholeFrame {
    #[inline(always)]
    pub(super) fn parse(input: &[u8], role: Role) -> Option<Self> {
        const FINAL_TEXT: u8 = 0x80 | OpCode::Text as u8;
        const FINAL_BINARY: u8 = 0x80 | OpCode::Binary as u8;
        let kind = match *input.first()? {
            FINAL_TEXT => Kind::Text,
            FINAL_BINARY => Kind::Binary,
            _ => return None,
        };
        let (mask_bit, key_bytes) = if role == Role::Server { (0x80, 4) } else { (0, 0) };
        let (header_bytes, payload_bytes) = match *input {
            [_, short, ..] if short ^ mask_bit <= 125 => (2 + key_bytes, usize::from(short ^ mask_bit)),
            // A length under 126 has to be in the second byte.
            [_, short, a, b, ..] if short ^ mask_bit == 126 && u16::from_be_bytes([a, b]) >= 126 => {
                (4 + key_bytes, usize::from(u16::from_be_bytes([a, b])))
            }
            _ => return None,
        };
        let frame = Self { kind, header_bytes, payload_bytes };
        (frame.len() <= input.len()).then_some(frame)
    }

    /// How long it is, header included.
    #[inline(always)]
    pub(super) fn len(self) -> usize {
        self.header_bytes + self.payload_bytes
    }

    /// Unmasks the payload of `whole`, this frame, where it lies, within [`mask::vectorized`].
    #[inline(always)]
    fn unmask_within(self, whole: &mut [u8], role: Role) -> &mut [u8] {
        let (header, payload) = whole.split_at_mut(self.header_bytes);
        if role == Role::Server
            && let Some(key) = header.last_chunk()
        {
            mask::apply_mask_within(payload, *key);
        }
        payload
    }

    /// The payload of `whole`, this frame, unmasked in an allocation of its own.
    #[inline]
    pub(super) fn copy(self, whole: &mut [u8], role: Role) -> Bytes {
        let (header, payload) = whole.split_at_mut(self.header_bytes);
        if role == Role::Server
            && let Some(key) = header.last_chunk()
        {
            mask::apply_mask(payload, *key, 0);
        }
        Bytes::copy_from_slice(payload)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::Limits;

    /// A server's input: binary messages of these lengths, masked.
    fn frames(lengths: &[usize]) -> Vec<u8> {
        let mut wire = Vec::new();
        for (number, &length) in lengths.iter().enumerate() {
            match u8::try_from(length) {
                Ok(short @ 0..=125) => wire.extend([0x82, 0x80 | short]),
                _ => wire.extend([0x82, 0xfe, (length >> 8) as u8, length as u8]),
            }
            wire.extend([1, 2, 3, 4]);
            wire.extend((0..length).map(|at| number as u8 ^ [1, 2, 3, 4][at % 4]));
        }
        wire
    }

    proptest! {
        #[test]
        fn what_is_kept_of_a_read_keeps_4_kib_at_most_and_nothing_of_the_others(
            lengths in proptest::collection::vec(0usize..600, 1..120),
        ) {
            let mut wire = frames(&lengths);
            let bounds = Bounds::new(Role::Server, &Limits::default());
            let mut input = &mut wire[..];
            let mut batch = Batch::default();
            let mut number = 0;
            while let Some(first) = WholeFrame::parse(input, Role::Server) {
                batch.fill(first, &bounds, &mut input);
                prop_assert!(batch.frames.len() <= MAX_SHARED_BYTES);
                if batch.frames.is_empty() {
                    // It goes the common way.
                    take(&mut input, first.len());
                    number += 1;
                }
                while let Some(message) = batch.next(Role::Server) {
                    prop_assert_eq!(message.as_bytes(), &vec![number as u8; lengths[number]][..]);
                    number += 1;
                }
            }
            prop_assert_eq!(number, lengths.len());
        }
    }
}
