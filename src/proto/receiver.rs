//! The receiving side: bytes → events.
//!
//! Four steps, a file each: a header is judged before anything is allocated ([`decoder`](super::decoder)), its
//! payload unmasked where it lies ([`mask`](super::mask)), inflated if the message is compressed
//! ([`deflate`](super::deflate)), and assembled under the limits ([`assembly`](super::assembly)). This file puts
//! them in order and decides which frame may follow which (RFC 6455 §5.4).

use bytes::buf::Limit;
use bytes::{BufMut, Bytes};

use super::assembly::Assembly;
use super::batch::{Batch, WholeFrame};
use super::close::CloseFrame;
use super::decoder::{Decoder, take};
use super::deflate::{Decompressor, DeflateParams};
use super::error::ProtocolError;
use super::frame::{Header, MaskKey, OpCode};
use super::limits::{Bounds, Limits};
use super::message::{Kind, Message, Piece};
use super::{Role, mask};

/// What the peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message.
    Message(Message),
    /// A piece of a message, from [`Receiver::poll_piece`].
    Piece(Piece),
    /// A Ping, at most 125 bytes; [`Sender::on_event`](super::Sender::on_event) answers it.
    Ping(Bytes),
    /// A Pong, at most 125 bytes.
    Pong(Bytes),
    /// A Close, the last event; [`Sender::on_event`](super::Sender::on_event) answers it. `None` is one without a
    /// code.
    Close(Option<CloseFrame>),
}

/// Decodes what one side of a connection receives.
///
/// After a Close it takes and drops whatever comes. After an error it returns that error again and takes nothing.
#[derive(Debug)]
pub struct Receiver {
    limits: Bounds,
    /// Messages that were decoded ahead of being asked for.
    batch: Batch,
    /// `None` between messages, as on an idle connection.
    state: Option<Box<State>>,
    inflate: Option<Decompressor>,
}

/// A million idle connections each hold a receiver.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Receiver>() <= 80);

/// Where a receiver stands that isn't between two messages.
#[derive(Debug)]
enum State {
    /// Something has begun and not ended.
    Current(Current),
    /// The peer's Close has come: nothing more is received.
    Closed,
    /// Nothing more is received because of this.
    Failed(ProtocolError),
}

/// Everything that lies between two frames, or in the middle of one.
#[derive(Debug)]
struct Current {
    decoder: Decoder,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The message whose frames are being read, or whose pieces are being handed out.
    message: Option<Assembly>,
    /// The front of a control frame's payload, at most 125 bytes.
    control: Vec<u8>,
}

/// How the caller wants messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Whole,
    Pieces,
}

/// A frame whose payload isn't complete.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: OpCode,
    is_final: bool,
    mask: Option<MaskKey>,
    payload_bytes: u64,
    /// How much of the payload was taken, which is the mask's phase too.
    taken_bytes: u64,
}

impl Frame {
    fn remaining(&self) -> u64 {
        self.payload_bytes - self.taken_bytes
    }

    /// Counts `len` bytes of the payload as taken and unmasks them.
    fn unmask(&mut self, bytes: &mut [u8]) {
        if let Some(key) = self.mask {
            mask::apply_mask(bytes, key, (self.taken_bytes & 3) as usize);
        }
        self.taken_bytes += bytes.len() as u64;
    }
}

impl Receiver {
    /// What `role` receives, within `limits`.
    pub fn new(role: Role, limits: Limits) -> Self {
        Self { limits: Bounds::new(role, &limits), batch: Batch::default(), state: None, inflate: None }
    }

    /// Inflates from now on, as was agreed in the handshake (RFC 7692 §7).
    #[must_use]
    pub fn with_deflate(mut self, params: DeflateParams) -> Self {
        self.inflate = Some(Decompressor::new(self.limits.role, params, self.limits.max_message_bytes));
        self
    }

    /// Takes what it needs from the front of `input` and returns the next event, messages whole.
    ///
    /// `Ok(None)` means that the input is used up. The bytes are unmasked where they lie, so what is taken is
    /// garbage afterwards; what is left is untouched. If [`Receiver::poll_piece`] handed out a part of the current
    /// message, the rest of it comes as [`Event::Piece`] here too.
    ///
    /// # Errors
    ///
    /// The rule that the peer broke. The connection has to be failed with it
    /// ([`Sender::fail`](super::Sender::fail)).
    #[inline]
    pub fn poll_event(&mut self, input: &mut &mut [u8]) -> Result<Option<Event>, ProtocolError> {
        self.poll(input, Delivery::Whole)
    }

    /// As [`Receiver::poll_event`], but messages come as [`Event::Piece`]s as their bytes arrive: text checked,
    /// compressed data inflated, and never more than a piece in memory.
    ///
    /// # Errors
    ///
    /// As [`Receiver::poll_event`].
    pub fn poll_piece(&mut self, input: &mut &mut [u8]) -> Result<Option<Event>, ProtocolError> {
        self.poll(input, Delivery::Pieces)
    }

    /// The unfilled rest of a large message's buffer, to read from the socket straight into it.
    ///
    /// `None` when there is no such message; then read elsewhere and hand it to `poll_event`. Whatever was put here
    /// is looked at by the next poll, even one with empty input. It never takes more than the frame still has.
    pub fn spare(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        let State::Current(current) = self.state.as_deref_mut()? else { return None };
        let Current { frame: Some(frame), message: Some(message), .. } = current else { return None };
        if frame.opcode.is_control() || !message.is_collecting_plain() {
            return None;
        }
        // What was read here since the last poll isn't counted in the frame yet.
        let room = usize::try_from(frame.remaining()).unwrap_or(usize::MAX) - message.unseen().len();
        if room < MIN_SPARE_BYTES {
            return None;
        }
        let buffer = message.room_for(room);
        let spare = buffer.capacity() - buffer.len();
        Some(buffer.limit(spare.min(room)))
    }

    /// Whether a message or a frame has begun and not ended.
    pub fn is_in_message(&self) -> bool {
        matches!(self.state.as_deref(), Some(State::Current(_)))
    }

    /// Whether the peer's Close has come.
    pub fn close_received(&self) -> bool {
        matches!(self.state.as_deref(), Some(State::Closed))
    }

    fn poll(&mut self, input: &mut &mut [u8], delivery: Delivery) -> Result<Option<Event>, ProtocolError> {
        match delivery {
            Delivery::Whole => {
                if let Some(message) = self.poll_whole(input)? {
                    return Ok(Some(Event::Message(message)));
                }
            }
            Delivery::Pieces => {
                if let Some(part) = self.batch.next(self.limits.role) {
                    return Ok(Some(Event::Piece(Piece { part, is_final: true })));
                }
            }
        }
        if self.state.is_none() && input.is_empty() {
            return Ok(None);
        }
        let result = self.poll_state(input, delivery);
        match result {
            Err(error) => self.end(State::Failed(error)),
            Ok(Some(Event::Close(_))) => self.end(State::Closed),
            Ok(_) => {}
        }
        result
    }

    /// Nothing more will be received: everything that was held for it goes.
    #[cold]
    fn end(&mut self, end: State) {
        self.batch = Batch::default();
        self.inflate = None;
        self.state = Some(Box::new(end));
    }

    fn poll_state(
        &mut self,
        input: &mut &mut [u8],
        delivery: Delivery,
    ) -> Result<Option<Event>, ProtocolError> {
        let current = match &mut **self.state.get_or_insert_default() {
            State::Current(current) => current,
            State::Closed => {
                take(input, input.len());
                return Ok(None);
            }
            State::Failed(error) => return Err(*error),
        };
        let mut rules = Rules { limits: self.limits, inflate: self.inflate.as_mut(), delivery };
        let event = current.poll(&mut rules, input)?;
        if current.is_idle() {
            self.state = None;
        }
        Ok(event)
    }

    /// The common case at once: a message in one frame of less than 64 KiB, uncompressed, all of it in the input.
    ///
    /// `Ok(None)` says nothing: then [`Receiver::poll_event`] has to look.
    #[inline]
    pub(crate) fn poll_whole(&mut self, input: &mut &mut [u8]) -> Result<Option<Message>, ProtocolError> {
        if let Some(message) = self.batch.next(self.limits.role) {
            return Ok(Some(message));
        }
        if !self.is_between_messages() {
            return Ok(None);
        }
        let Some(frame) = WholeFrame::parse(input, self.limits.role) else { return Ok(None) };
        self.batch.fill(frame, &self.limits, input);
        if let Some(message) = self.batch.next(self.limits.role) {
            return Ok(Some(message));
        }
        if frame.payload_bytes > self.limits.max_message_bytes
            || frame.payload_bytes as u64 > self.limits.max_frame_bytes
        {
            return Ok(None);
        }
        let payload = frame.copy(take(input, frame.len()), self.limits.role);
        if frame.kind == Kind::Text && !super::utf8::is_utf8(&payload) {
            self.end(State::Failed(ProtocolError::InvalidUtf8));
            return Err(ProtocolError::InvalidUtf8);
        }
        Ok(Some(super::assembly::message(frame.kind, payload)))
    }

    /// The next of the messages that were decoded ahead.
    #[cfg(feature = "net")]
    #[inline(always)]
    pub(crate) fn next_decoded(&mut self) -> Option<Message> {
        self.batch.next(self.limits.role)
    }

    /// Whether messages were decoded ahead.
    #[cfg(feature = "net")]
    #[inline(always)]
    pub(crate) fn has_decoded(&self) -> bool {
        !self.batch.is_empty()
    }

    #[inline(always)]
    fn is_between_messages(&self) -> bool {
        self.state.is_none() && self.limits.max_fragments > 0
    }
}

/// What a poll goes by.
struct Rules<'a> {
    limits: Bounds,
    inflate: Option<&'a mut Decompressor>,
    delivery: Delivery,
}

impl Default for State {
    fn default() -> Self {
        Self::Current(Current { decoder: Decoder::new(), frame: None, message: None, control: Vec::new() })
    }
}

impl Current {
    /// Whether nothing has begun.
    fn is_idle(&self) -> bool {
        self.frame.is_none() && self.message.is_none() && !self.decoder.is_partial()
    }

    fn poll(&mut self, rules: &mut Rules<'_>, input: &mut &mut [u8]) -> Result<Option<Event>, ProtocolError> {
        loop {
            if self.frame.is_none() {
                if let Some(event) = self.poll_finishing(rules)? {
                    return Ok(Some(event));
                }
                let Some(header) = self.decoder.poll_header(&rules.limits, input)? else {
                    return Ok(None);
                };
                self.begin(rules, &header)?;
            }
            if let Some(event) = self.poll_payload(rules, input)? {
                return Ok(Some(event));
            }
            if self.frame.is_some() && input.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Judges a frame by what came before it, and makes it the current one.
    fn begin(&mut self, rules: &Rules<'_>, header: &Header) -> Result<(), ProtocolError> {
        if !header.opcode.is_control() {
            self.begin_data(rules, header)?;
        }
        self.frame = Some(Frame {
            opcode: header.opcode,
            is_final: header.is_final,
            mask: header.mask,
            payload_bytes: header.payload_bytes,
            taken_bytes: 0,
        });
        Ok(())
    }

    fn begin_data(&mut self, rules: &Rules<'_>, header: &Header) -> Result<(), ProtocolError> {
        if header.is_compressed && rules.inflate.is_none() {
            return Err(ProtocolError::ReservedBits(0b100));
        }
        let kind = match header.opcode {
            OpCode::Text => Some(Kind::Text),
            OpCode::Binary => Some(Kind::Binary),
            _ => None,
        };
        let message = match (&mut self.message, kind) {
            (Some(_), Some(_)) => return Err(ProtocolError::ExpectedContinuation),
            (None, None) => return Err(ProtocolError::UnexpectedContinuation),
            (message @ None, Some(kind)) => message.insert(Assembly::new(kind, header.is_compressed)),
            (Some(message), None) => message,
        };
        message.begin_frame(header.payload_bytes, &rules.limits)
    }

    fn poll_payload(
        &mut self,
        rules: &mut Rules<'_>,
        input: &mut &mut [u8],
    ) -> Result<Option<Event>, ProtocolError> {
        let frame = self.frame.as_ref().expect("a payload belongs to a frame");
        if frame.opcode.is_control() { self.poll_control(input) } else { self.poll_data(rules, input) }
    }

    fn poll_control(&mut self, input: &mut &mut [u8]) -> Result<Option<Event>, ProtocolError> {
        let frame = self.frame.as_mut().expect("a payload belongs to a frame");
        let bytes = take(input, frame.remaining().min(input.len() as u64) as usize);
        frame.unmask(bytes);
        self.control.extend_from_slice(bytes);
        if frame.remaining() > 0 {
            return Ok(None);
        }
        let opcode = frame.opcode;
        self.frame = None;
        let payload = std::mem::take(&mut self.control);
        Ok(Some(match opcode {
            OpCode::Ping => Event::Ping(payload.into()),
            OpCode::Pong => Event::Pong(payload.into()),
            _ => Event::Close(CloseFrame::parse(&payload)?),
        }))
    }

    fn poll_data(
        &mut self,
        rules: &mut Rules<'_>,
        input: &mut &mut [u8],
    ) -> Result<Option<Event>, ProtocolError> {
        let frame = self.frame.as_mut().expect("a payload belongs to a frame");
        let message = self.message.as_mut().expect("a data frame belongs to a message");
        if message.is_compressed() {
            let inflate = rules.inflate.as_mut().expect("RSV1 was checked when the message began");
            poll_compressed(frame, message, inflate, &rules.limits, input)?;
        } else {
            // What was read straight into the buffer comes first, it is older than the input.
            frame.unmask(message.unseen());
            message.check_unseen()?;
            let bytes = take(input, frame.remaining().min(input.len() as u64) as usize);
            frame.unmask(bytes);
            message.append(bytes, frame.remaining())?;
        }
        if frame.remaining() == 0 {
            if frame.is_final {
                message.end_input();
            }
            self.frame = None;
        }
        self.poll_finishing(rules)
    }

    /// Hands out what can be handed out: a message whose input is complete, or in pieces what there is of one.
    fn poll_finishing(&mut self, rules: &mut Rules<'_>) -> Result<Option<Event>, ProtocolError> {
        let Some(message) = &mut self.message else { return Ok(None) };
        let wants_pieces = rules.delivery == Delivery::Pieces;
        if message.is_input_complete() && message.is_compressed() {
            let inflate = rules.inflate.as_mut().expect("RSV1 was checked when the message began");
            message.finish_inflating(inflate, &rules.limits, wants_pieces)?;
        }
        if wants_pieces {
            message.hand_out_pieces();
        }
        let event = if message.is_in_pieces() {
            message.next_piece()?.map(Event::Piece)
        } else {
            message.whole()?.map(Event::Message)
        };
        if message.is_over() {
            self.message = None;
        }
        Ok(event)
    }
}

/// Inflates what is there of a frame's payload.
///
/// It unmasks a copy of a few KiB at a time: what the inflater doesn't take because its output is full stays in
/// the input untouched.
fn poll_compressed(
    frame: &mut Frame,
    message: &mut Assembly,
    inflate: &mut Decompressor,
    limits: &Bounds,
    input: &mut &mut [u8],
) -> Result<(), ProtocolError> {
    let mut copy = [0; INFLATE_CHUNK_BYTES];
    while frame.remaining() > 0 && !input.is_empty() && message.wants_input() {
        let len = frame.remaining().min(input.len().min(INFLATE_CHUNK_BYTES) as u64) as usize;
        let chunk = &mut copy[..len];
        chunk.copy_from_slice(&input[..len]);
        let mut unmasked = *frame;
        unmasked.unmask(chunk);
        let taken = message.inflate(inflate, chunk, limits)?;
        frame.taken_bytes += taken as u64;
        take(input, taken);
    }
    Ok(())
}

/// Less than this isn't worth a read of its own.
const MIN_SPARE_BYTES: usize = 4 << 10;

/// How much compressed data is unmasked at a time.
const INFLATE_CHUNK_BYTES: usize = 4 << 10;
