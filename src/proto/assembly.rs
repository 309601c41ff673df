//! A message under way: its frames put together under the limits, its text checked as it comes.

use bytes::Bytes;

use super::deflate::Decompressor;
use super::error::ProtocolError;
use super::limits::Bounds;
use super::message::{Kind, Message, Piece};
use super::utf8::{Utf8Bytes, Utf8Validator};

/// The frames of one message so far.
///
/// Invariant: `buffer[..checked]` is unmasked and, of a text, valid but for the validator's pending bytes. What
/// lies behind `checked` was read straight from the socket.
#[derive(Debug)]
pub(super) struct Assembly {
    kind: Kind,
    is_compressed: bool,
    /// One growing buffer, not a list of fragments; bounded by `Limits::max_message_bytes`.
    buffer: Vec<u8>,
    checked: usize,
    text: Utf8Validator,
    /// Bounded by `Limits::max_fragments`.
    fragments: u32,
    /// All of the message's bytes so far, inflated, handed out or not. Bounded by `Limits::max_message_bytes`.
    message_bytes: u64,
    /// Whether the final frame's payload is complete.
    is_input_complete: bool,
    /// Whether everything was inflated.
    is_inflated: bool,
    /// Whether pieces are handed out; once they are, the rest comes in pieces too.
    is_in_pieces: bool,
    is_over: bool,
}

/// What a large message's buffer starts with; it doubles as bytes really come, whatever its header announces.
const FIRST_BUFFER_BYTES: usize = 256 << 10;

/// About the most that is inflated for one piece.
const MAX_PIECE_BYTES: usize = 64 << 10;

impl Assembly {
    pub(super) fn new(kind: Kind, is_compressed: bool) -> Self {
        Self {
            kind,
            is_compressed,
            buffer: Vec::new(),
            checked: 0,
            text: Utf8Validator::default(),
            fragments: 0,
            message_bytes: 0,
            is_input_complete: false,
            is_inflated: false,
            is_in_pieces: false,
            is_over: false,
        }
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    pub(super) fn is_input_complete(&self) -> bool {
        self.is_input_complete
    }

    pub(super) fn is_in_pieces(&self) -> bool {
        self.is_in_pieces
    }

    /// Whether its last event was handed out.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether payload may be read straight into the buffer.
    pub(super) fn is_collecting_plain(&self) -> bool {
        !self.is_compressed && !self.is_in_pieces
    }

    /// Counts a frame, and refuses it by its header if the message would go over a limit.
    pub(super) fn begin_frame(&mut self, payload_bytes: u64, limits: &Bounds) -> Result<(), ProtocolError> {
        self.fragments += 1;
        if self.fragments > limits.max_fragments {
            return Err(ProtocolError::TooManyFragments { limit: limits.max_fragments });
        }
        if !self.is_compressed {
            // Neither summand can reach 2^63.
            self.message_bytes += payload_bytes;
            check_size(self.message_bytes, limits)?;
        }
        Ok(())
    }

    /// The buffer, with room for some of the `remaining` bytes of the current frame.
    pub(super) fn room_for(&mut self, remaining: usize) -> &mut Vec<u8> {
        if self.buffer.len() == self.buffer.capacity() {
            self.reserve(remaining);
        }
        &mut self.buffer
    }

    fn reserve(&mut self, remaining: usize) {
        // Exact, so that a message in one frame is frozen without a copy.
        self.buffer.reserve_exact(remaining.min(self.buffer.len().max(FIRST_BUFFER_BYTES)));
    }

    /// What was read straight into the buffer and is still masked.
    pub(super) fn unseen(&mut self) -> &mut [u8] {
        &mut self.buffer[self.checked..]
    }

    /// Checks the text of what was unmasked by way of [`Assembly::unseen`].
    pub(super) fn check_unseen(&mut self) -> Result<(), ProtocolError> {
        if self.kind == Kind::Text {
            self.text.push(&self.buffer[self.checked..]).map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        self.checked = self.buffer.len();
        Ok(())
    }

    /// Appends unmasked payload; `remaining` is what its frame will still bring.
    pub(super) fn append(&mut self, bytes: &[u8], remaining: u64) -> Result<(), ProtocolError> {
        if self.buffer.capacity() - self.buffer.len() < bytes.len() {
            let all = usize::try_from(remaining).unwrap_or(usize::MAX).saturating_add(bytes.len());
            if self.fragments > 1 {
                // Of many fragments the buffer grows by doubling, however small each one is.
                self.buffer.reserve(bytes.len());
            } else {
                self.reserve(if self.is_in_pieces { bytes.len() } else { all });
            }
        }
        self.buffer.extend_from_slice(bytes);
        self.check_unseen()
    }

    /// Whether compressed payload may be inflated now: in pieces, one piece at a time.
    pub(super) fn wants_input(&self) -> bool {
        !self.is_in_pieces || self.buffer.len() < MAX_PIECE_BYTES
    }

    /// Inflates `bytes` and returns how many of them were taken.
    pub(super) fn inflate(
        &mut self,
        inflate: &mut Decompressor,
        bytes: &[u8],
        limits: &Bounds,
    ) -> Result<usize, ProtocolError> {
        let mut rest = bytes;
        while !rest.is_empty() && self.wants_input() {
            let room = self.inflate_room(limits);
            let inflated = inflate.inflate(&mut rest, &mut self.buffer, room);
            // What came out before a fault is judged before it, so that the first fault in the bytes is the one told.
            self.on_inflated(limits)?;
            inflated?;
        }
        Ok(bytes.len() - rest.len())
    }

    /// The final frame is complete.
    pub(super) fn end_input(&mut self) {
        self.is_input_complete = true;
    }

    /// Inflates what the inflater still holds; in pieces no more than a piece, unless the codec can't wait.
    pub(super) fn finish_inflating(
        &mut self,
        inflate: &mut Decompressor,
        limits: &Bounds,
        in_pieces: bool,
    ) -> Result<(), ProtocolError> {
        let at_once = !(in_pieces || self.is_in_pieces) || !inflate.may_pause();
        while !self.is_inflated && (at_once || self.buffer.len() < MAX_PIECE_BYTES) {
            let room = self.inflate_room(limits);
            let finished = inflate.finish(&mut self.buffer, room);
            self.on_inflated(limits)?;
            self.is_inflated = finished?;
        }
        Ok(())
    }

    /// How much to inflate at once: a piece, and never more than one byte over what the message may hold.
    fn inflate_room(&self, limits: &Bounds) -> usize {
        let left = (limits.max_message_bytes as u64).saturating_sub(self.message_bytes).saturating_add(1);
        usize::try_from(left).unwrap_or(usize::MAX).min(MAX_PIECE_BYTES)
    }

    fn on_inflated(&mut self, limits: &Bounds) -> Result<(), ProtocolError> {
        self.message_bytes += (self.buffer.len() - self.checked) as u64;
        let is_allowed = check_size(self.message_bytes, limits);
        if is_allowed.is_err() {
            // `inflate_room` lets one byte through beyond the limit: what came before it is judged first.
            self.buffer.pop();
        }
        self.check_unseen()?;
        is_allowed
    }

    /// From now on pieces are handed out.
    pub(super) fn hand_out_pieces(&mut self) {
        self.is_in_pieces = true;
    }

    fn is_complete(&self) -> bool {
        self.is_input_complete && (self.is_inflated || !self.is_compressed)
    }

    /// The whole message, once it is complete.
    pub(super) fn whole(&mut self) -> Result<Option<Message>, ProtocolError> {
        if !self.is_complete() {
            return Ok(None);
        }
        self.check_text_is_complete()?;
        self.is_over = true;
        let mut payload = std::mem::take(&mut self.buffer);
        // A buffer that grew far beyond what came must not be kept alive by who keeps the message.
        if payload.capacity() / 2 > payload.len() {
            payload.shrink_to_fit();
        }
        Ok(Some(message(self.kind, payload.into())))
    }

    /// What there is of the message, if it is something or the end of it.
    pub(super) fn next_piece(&mut self) -> Result<Option<Piece>, ProtocolError> {
        let is_final = self.is_complete();
        if is_final {
            self.check_text_is_complete()?;
        }
        let pending = self.text.pending_len();
        let len = self.buffer.len() - pending;
        if len == 0 && !is_final {
            return Ok(None);
        }
        // The front of a code point waits for the rest of it.
        let pending = self.buffer.split_off(len);
        self.checked = pending.len();
        let payload = std::mem::replace(&mut self.buffer, pending);
        self.is_over = is_final;
        Ok(Some(Piece { part: message(self.kind, payload.into()), is_final }))
    }

    fn check_text_is_complete(&self) -> Result<(), ProtocolError> {
        if self.kind == Kind::Text && self.text.pending_len() > 0 {
            return Err(ProtocolError::InvalidUtf8);
        }
        Ok(())
    }
}

/// A message of checked bytes.
#[inline]
pub(super) fn message(kind: Kind, payload: Bytes) -> Message {
    match kind {
        Kind::Text => Message::Text(Utf8Bytes::from_validated(payload)),
        Kind::Binary => Message::Binary(payload),
    }
}

fn check_size(message_bytes: u64, limits: &Bounds) -> Result<(), ProtocolError> {
    if message_bytes > limits.max_message_bytes as u64 {
        return Err(ProtocolError::MessageTooLarge { limit: limits.max_message_bytes });
    }
    Ok(())
}
