//! The sending side: commands → bytes.
//!
//! It frames, compresses and masks what it is told to send and holds the bytes until they are written. It never
//! waits and never looks at a clock: how much may be queued is for the caller to decide, by
//! [`Sender::queued_bytes`].

use std::io::IoSlice;
use std::ops::Range;

use bytes::Bytes;

use super::close::CloseFrame;
use super::deflate::{Compressor, DeflateConfig, DeflateParams};
use super::error::{ProtocolError, SendError};
use super::frame::{Header, MAX_CONTROL_BYTES, MAX_HEADER_BYTES, MaskKey, OpCode};
use super::joined::{Batch, Form};
use super::message::{Kind, Message, Piece};
use super::outbox::{BY_REFERENCE_BYTES, Outbox};
use super::prepared::Prepared;
use super::receiver::Event;
use super::{Role, mask};

/// Where a client's mask keys come from: a source that nobody can predict (RFC 6455 §10.3).
pub type MaskSource = fn() -> MaskKey;

/// Encodes what one side of a connection sends.
#[derive(Debug)]
pub struct Sender {
    /// `None` on a server, whose frames aren't masked (RFC 6455 §5.1).
    mask: Option<MaskSource>,
    outbox: Outbox,
    compressor: Option<Compressor>,
    /// `None` while no Pong is queued.
    pongs: Option<Box<Pongs>>,
    /// The message that is being sent in pieces.
    unfinished: Option<Unfinished>,
    /// Whether a Close frame was queued; nothing follows it (RFC 6455 §5.5.1).
    close_sent: bool,
    /// How long that frame is, in bytes, so that [`Sender::cut`] can keep it.
    close_bytes: u8,
}

/// A million idle connections each hold a sender.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Sender>() <= 64);

#[derive(Clone, Copy, Debug)]
struct Unfinished {
    kind: Kind,
    is_compressed: bool,
}

/// Pongs on their way out.
#[derive(Debug, Default)]
struct Pongs {
    /// How many were queued since the outbox was last rid of them.
    queued: u8,
    /// The outbox's position behind the last of them.
    queued_until: u64,
    /// The newest Ping's answer, once there are `MAX_QUEUED_PONGS`.
    latest: Option<Bytes>,
}

/// Every Ping gets its Pong while fewer than this many wait; past it only the newest one does (RFC 6455 §5.5.3).
const MAX_QUEUED_PONGS: u8 = 32;

impl Sender {
    /// A server's sender: its frames are not masked.
    pub fn server() -> Self {
        Self::new(None)
    }

    /// A client's sender: it takes a new key from `mask` for every frame.
    pub fn client(mask: MaskSource) -> Self {
        Self::new(Some(mask))
    }

    fn new(mask: Option<MaskSource>) -> Self {
        Self {
            mask,
            outbox: Outbox::default(),
            compressor: None,
            pongs: None,
            unfinished: None,
            close_sent: false,
            close_bytes: 0,
        }
    }

    /// Compresses from now on, as was agreed in the handshake (RFC 7692 §7).
    #[must_use]
    pub fn with_deflate(mut self, params: DeflateParams, config: &DeflateConfig) -> Self {
        self.compressor = Some(Compressor::new(self.role(), params, config));
        self
    }

    fn role(&self) -> Role {
        if self.mask.is_some() { Role::Client } else { Role::Server }
    }

    /// Queues a message.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after a Close, [`SendError::MessageUnfinished`] between the pieces of another one.
    #[inline(always)]
    pub fn send(&mut self, message: Message) -> Result<(), SendError> {
        self.check_open()?;
        if self.unfinished.is_some() {
            return Err(SendError::MessageUnfinished);
        }
        let opcode = OpCode::from(message.kind());
        if self.compressor.is_none() && self.mask.is_none() && message.len() < BY_REFERENCE_BYTES {
            self.outbox.append_small(opcode, message.as_bytes());
            return Ok(());
        }
        self.send_any(opcode, message.into_bytes())
    }

    fn send_any(&mut self, opcode: OpCode, payload: Bytes) -> Result<(), SendError> {
        if self.compressor.is_some() {
            return self.send_compressed(opcode, payload);
        }
        self.push(opcode, payload);
        Ok(())
    }

    /// Queues the next piece of a message, a frame of its own; the first one begins the message.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after a Close, [`SendError::MessageUnfinished`] if the message begun is of another
    /// kind.
    pub fn send_piece(&mut self, piece: Piece) -> Result<(), SendError> {
        self.check_open()?;
        let kind = piece.part.kind();
        let (opcode, is_compressed) = match self.unfinished {
            Some(begun) if begun.kind != kind => return Err(SendError::MessageUnfinished),
            Some(begun) => (OpCode::Continuation, begun.is_compressed),
            None => (OpCode::from(kind), self.may_compress_pieces()),
        };
        let payload = piece.part.into_bytes();
        let payload = match &mut self.compressor {
            Some(compressor) if is_compressed => {
                let mut packed = Vec::new();
                compressor.compress_piece(&payload, piece.is_final, &mut packed);
                packed.into()
            }
            _ => payload,
        };
        let header = Header {
            is_final: piece.is_final,
            // RSV1 stands on the first frame only (RFC 7692 §6.1).
            is_compressed: is_compressed && opcode != OpCode::Continuation,
            ..self.header(opcode, payload.len())
        };
        self.push_frame(header, payload);
        self.unfinished = (!piece.is_final).then_some(Unfinished { kind, is_compressed });
        Ok(())
    }

    /// Queues a message that was encoded before; on a server by reference, without encoding it again.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError> {
        if self.mask.is_some() {
            return self.send(prepared.message().clone());
        }
        self.check_open()?;
        if self.unfinished.is_some() {
            return Err(SendError::MessageUnfinished);
        }
        let frame = match &mut self.compressor {
            Some(compressor) => choose(compressor, prepared),
            None => prepared.plain(),
        };
        if frame.len() < BY_REFERENCE_BYTES {
            self.outbox.append(frame.len(), |run| run.extend_from_slice(frame));
        } else {
            self.outbox.push_frames(frame.clone());
        }
        Ok(())
    }

    /// Queues the messages of `batch` in `range`; on a server by reference, as one piece if that is all of them.
    ///
    /// Call it only while nothing is queued; then [`Sender::take_back`] can undo what the socket doesn't take.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    pub fn send_batch(&mut self, batch: &Batch, range: Range<usize>) -> Result<(), SendError> {
        self.check_open()?;
        if self.unfinished.is_some() {
            return Err(SendError::MessageUnfinished);
        }
        let is_all = range == (0..batch.len());
        if let Some(joined) = self.batch_form().filter(|_| is_all).and_then(|form| batch.joined(form)) {
            self.outbox.push_frames(joined.clone());
            self.release_memory();
            return Ok(());
        }
        batch.messages()[range].iter().try_for_each(|message| self.send_prepared(message))
    }

    /// Drops the messages of the last [`Sender::send_batch`], on a server, of which nothing was written yet, and
    /// returns how many of them stay.
    ///
    /// `queued_before` is [`Sender::queued_total`] as it was before.
    pub fn take_back(&mut self, batch: &Batch, range: Range<usize>, queued_before: u64) -> usize {
        debug_assert!(self.mask.is_none(), "a client's frames are its own");
        self.outbox.cut();
        self.outbox.settle();
        let kept = (self.outbox.queued_total() - queued_before) as usize;
        match self.batch_form() {
            Some(form) => batch.begun(form, range, kept),
            // Each in a form of its own, as `send_prepared` chose.
            None => {
                let mut end = 0;
                let messages = &batch.messages()[range];
                let is_begun = |message: &&Prepared| {
                    let is_begun = end < kept;
                    end += match &self.compressor {
                        Some(compressor) => form_for(compressor, message).frame(message).len(),
                        None => message.plain().len(),
                    };
                    is_begun
                };
                messages.iter().take_while(is_begun).count()
            }
        }
    }

    /// The form in which this peer gets all messages of a batch, if it is the same for all of them.
    fn batch_form(&self) -> Option<Form> {
        match &self.compressor {
            _ if self.mask.is_some() => None,
            None => Some(Form::Plain),
            Some(compressor) => {
                (compressor.window_bytes() >= SHARED_WINDOW_BYTES).then(|| shared_form(compressor))
            }
        }
    }

    /// Queues a Ping.
    ///
    /// # Errors
    ///
    /// [`SendError::ControlTooLong`] if `payload` has more than 125 bytes, [`SendError::Closed`] after a Close.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.check_open()?;
        self.push_control(OpCode::Ping, payload)
    }

    /// Queues a Pong that no Ping asked for (RFC 6455 §5.5.3).
    ///
    /// # Errors
    ///
    /// As [`Sender::ping`].
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.check_open()?;
        self.push_control(OpCode::Pong, payload)
    }

    /// Queues a Close, behind everything that is queued; `None` is one without a code. The second one is none.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] if a Close was queued before.
    pub fn close(&mut self, frame: Option<&CloseFrame>) -> Result<(), SendError> {
        self.check_open()?;
        // Nothing may follow the Close, so the one Pong that is held back goes now.
        if let Some(payload) = self.pongs.take().and_then(|pongs| pongs.latest) {
            self.push_control(OpCode::Pong, &payload)?;
        }
        let mut payload = Vec::new();
        if let Some(frame) = frame {
            payload.extend_from_slice(&frame.code().get().to_be_bytes());
            payload.extend_from_slice(frame.reason().as_bytes());
        }
        let before = self.outbox.queued_total();
        self.push_control(OpCode::Close, &payload)?;
        // At most 2 + 4 + 125.
        self.close_bytes = (self.outbox.queued_total() - before) as u8;
        self.close_sent = true;
        self.compressor = None;
        Ok(())
    }

    /// Fails the connection: queues the Close that tells the peer what it did (RFC 6455 §7.1.7).
    ///
    /// After a Close it does nothing.
    pub fn fail(&mut self, error: &ProtocolError) {
        let frame = CloseFrame::new(error.close_code(), error.to_string().as_str());
        // Every message of ours fits into 123 bytes; if one ever didn't, its code would still be sent.
        let frame = frame.unwrap_or_else(|_| CloseFrame::from(error.close_code()));
        let _ = self.close(Some(&frame));
    }

    /// Reacts to what the peer sent: a Ping with its Pong, a Close with ours (RFC 6455 §5.5.1–§5.5.2).
    pub fn on_event(&mut self, event: &Event) {
        match event {
            Event::Ping(payload) => self.queue_pong(payload),
            Event::Close(frame) => {
                // The answer echoes the code (§5.5.1); a reason would only be said twice.
                let answer = frame.as_ref().map(|frame| CloseFrame::from(frame.code()));
                let _ = self.close(answer.as_ref());
            }
            Event::Message(_) | Event::Piece(_) | Event::Pong(_) => {}
        }
    }

    /// Whether a Close was queued.
    pub fn close_sent(&self) -> bool {
        self.close_sent
    }

    /// Whether a message that is being sent in pieces waits for more of them.
    pub fn is_message_unfinished(&self) -> bool {
        self.unfinished.is_some()
    }

    /// Bytes that wait to be written.
    #[inline]
    pub fn queued_bytes(&self) -> usize {
        self.outbox.len()
    }

    /// The count of all bytes queued so far. What is queued now is written once [`Sender::written_total`] is
    /// that much.
    pub fn queued_total(&self) -> u64 {
        self.outbox.queued_total()
    }

    /// The count of all bytes written so far.
    pub fn written_total(&self) -> u64 {
        self.outbox.written_total()
    }

    /// All output, if it lies in one piece, as small frames do.
    #[inline]
    pub fn single_output(&self) -> Option<&[u8]> {
        self.outbox.single()
    }

    /// Fills `slices` with what is to be written next, in order, and returns how many it filled.
    #[inline]
    pub fn output<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.outbox.output(slices)
    }

    /// Forgets `written` bytes of [`Sender::output`]: the socket has taken them.
    ///
    /// # Panics
    ///
    /// If that is more than [`Sender::queued_bytes`].
    #[inline]
    pub fn advance(&mut self, written: usize) {
        self.outbox.advance(written);
        if let Some(pongs) = self.pongs.take_if(|pongs| self.outbox.written_total() >= pongs.queued_until)
            && let Some(payload) = pongs.latest
        {
            self.queue_pong(&payload);
        }
    }

    /// Drops all queued frames of which nothing was written yet and returns how many bytes that were.
    ///
    /// For a peer that is too slow: its Close then doesn't wait behind what it will never read. One that is queued
    /// already stays. Only a Close may follow: a message in pieces loses its end by it, and with context takeover the
    /// peer's window lacks what was dropped, so that it couldn't inflate what comes next.
    pub fn cut(&mut self) -> usize {
        self.pongs = None;
        let close = self.outbox.tail(usize::from(self.close_bytes)).to_vec();
        let dropped = self.outbox.cut();
        // The Close is the last frame: if anything was dropped, it was.
        if dropped == 0 || close.is_empty() {
            return dropped;
        }
        self.outbox.append(close.len(), |run| run.extend_from_slice(&close));
        dropped - close.len()
    }

    /// The socket takes no more for now: gives back what the queue holds beyond its bytes.
    pub fn settle(&mut self) {
        self.outbox.settle();
    }

    /// Drops what a compressor with context holds, some hundreds of KiB; the next message begins with an empty
    /// window, which is always valid. Between messages only; otherwise it does nothing.
    pub fn release_memory(&mut self) {
        if let (Some(compressor), None) = (&mut self.compressor, &self.unfinished) {
            compressor.forget_window();
        }
    }

    fn check_open(&self) -> Result<(), SendError> {
        if self.close_sent { Err(SendError::Closed) } else { Ok(()) }
    }

    fn queue_pong(&mut self, payload: &Bytes) {
        // After our Close nothing may follow (RFC 6455 §5.5.1).
        if self.close_sent {
            return;
        }
        if let Some(pongs) = &mut self.pongs
            && pongs.queued >= MAX_QUEUED_PONGS
        {
            pongs.latest = Some(payload.clone());
            return;
        }
        let queued = self.push_control(OpCode::Pong, payload);
        debug_assert!(queued.is_ok(), "a Ping's payload has at most 125 bytes");
        let pongs = self.pongs.get_or_insert_default();
        pongs.queued += 1;
        pongs.queued_until = self.outbox.queued_total();
    }

    fn push_control(&mut self, opcode: OpCode, payload: &[u8]) -> Result<(), SendError> {
        if payload.len() > MAX_CONTROL_BYTES {
            return Err(SendError::ControlTooLong(payload.len()));
        }
        let header = self.header(opcode, payload.len());
        self.append(header, payload);
        Ok(())
    }

    fn send_compressed(&mut self, opcode: OpCode, payload: Bytes) -> Result<(), SendError> {
        let Some(compressor) = self.compressor.as_mut().filter(|compressor| compressor.wants(&payload))
        else {
            self.push(opcode, payload);
            return Ok(());
        };
        let mut packed = Vec::new();
        compressor.compress(&payload, &mut packed);
        // With takeover the peer has to see what our window has seen, shorter or not.
        if packed.len() >= payload.len() && !compressor.has_context() {
            self.push(opcode, payload);
            return Ok(());
        }
        let header = Header { is_compressed: true, ..self.header(opcode, packed.len()) };
        self.push_frame(header, packed.into());
        Ok(())
    }

    fn may_compress_pieces(&mut self) -> bool {
        self.compressor.as_mut().is_some_and(Compressor::begin_pieces)
    }

    #[inline]
    fn push(&mut self, opcode: OpCode, payload: Bytes) {
        let header = self.header(opcode, payload.len());
        self.push_frame(header, payload);
    }

    #[inline]
    fn header(&self, opcode: OpCode, payload_bytes: usize) -> Header {
        let mask = self.mask.map(|new_key| new_key());
        Header { is_final: true, is_compressed: false, opcode, mask, payload_bytes: payload_bytes as u64 }
    }

    #[inline]
    fn push_frame(&mut self, header: Header, payload: Bytes) {
        if payload.len() < BY_REFERENCE_BYTES {
            self.append(header, &payload);
        } else {
            self.push_large(header, payload);
        }
    }

    fn push_large(&mut self, header: Header, payload: Bytes) {
        let Some(key) = header.mask else {
            self.outbox.push_by_reference(&header, payload);
            return;
        };
        // Masked in place if nobody else holds it, else in a copy.
        match payload.try_into_mut() {
            Ok(mut own) => {
                mask::apply_mask(&mut own, key, 0);
                self.outbox.push_by_reference(&header, own.freeze());
            }
            Err(shared) => {
                let mut masked = Vec::with_capacity(shared.len());
                mask::extend_masked(&mut masked, &shared, key);
                self.outbox.push_by_reference(&header, masked.into());
            }
        }
    }

    #[inline]
    fn append(&mut self, header: Header, payload: &[u8]) {
        self.outbox.append(MAX_HEADER_BYTES + payload.len(), |run| {
            header.encode(run);
            match header.mask {
                None => run.extend_from_slice(payload),
                Some(key) => mask::extend_masked(run, payload, key),
            }
        });
    }
}

/// The window in which shared messages are deflated.
const SHARED_WINDOW_BYTES: usize = 1 << 15;

/// The form of `prepared` that the peer of `compressor` can read. A deflated one moves its window, but not ours.
fn choose<'a>(compressor: &mut Compressor, prepared: &'a Prepared) -> &'a Bytes {
    let frame = form_for(compressor, prepared).frame(prepared);
    if !std::ptr::eq(frame, prepared.plain()) {
        compressor.forget_window();
    }
    frame
}

/// Deflated, if the peer can read that: a window shorter than the shared one serves if nothing lies further back.
fn form_for(compressor: &Compressor, prepared: &Prepared) -> Form {
    let window = compressor.window_bytes();
    let is_readable = window >= SHARED_WINDOW_BYTES || prepared.message().len() <= window;
    if is_readable { shared_form(compressor) } else { Form::Plain }
}

fn shared_form(compressor: &Compressor) -> Form {
    Form::Deflated { threshold_bytes: compressor.threshold_bytes(), level: compressor.level() }
}

impl From<Kind> for OpCode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
        }
    }
}
