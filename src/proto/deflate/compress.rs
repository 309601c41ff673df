//! Compressing messages (RFC 7692 §7.2.1).

use flate2::{Compress, FlushCompress};

use super::loans::{self, Loan, Shape};
use super::{DeflateConfig, DeflateParams};
use crate::proto::Role;

/// Compresses what one side sends.
///
/// What was compressed has to be sent, in order: with context takeover the peer's window must see what ours has
/// seen. [`Compressor::forget_window`] is the way out.
#[derive(Debug)]
pub struct Compressor {
    /// 8–15, as agreed: how far back the peer can read.
    bits: u8,
    /// 1–9.
    level: u8,
    takeover: bool,
    /// Messages shorter than this aren't worth it. More than 4 GiB counts as that.
    threshold_bytes: u32,
    /// With takeover the connection's own, from the first message on; otherwise lent for a message in pieces.
    codec: Option<Box<Compress>>,
    loan: Option<Loan>,
}

/// A million idle connections each hold one.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Option<Compressor>>() <= 16);

/// What a sync flush ends with, and a message leaves out (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

impl Compressor {
    /// What `role` compresses with after agreeing on `params`.
    pub fn new(role: Role, params: DeflateParams, config: &DeflateConfig) -> Self {
        let (bits, no_takeover) = match role {
            Role::Server => (params.server_max_window_bits, params.server_no_context_takeover),
            Role::Client => (params.client_max_window_bits, params.client_no_context_takeover),
        };
        Self {
            bits: bits.clamp(8, 15),
            level: config.level.clamp(1, 9),
            // Who may keep its window need not: without `takeover` the memory is worth more.
            takeover: !no_takeover && config.takeover,
            threshold_bytes: u32::try_from(config.threshold_bytes).unwrap_or(u32::MAX),
            codec: None,
            loan: None,
        }
    }

    /// Whether `payload` is long enough to be worth compressing.
    pub fn wants(&self, payload: &[u8]) -> bool {
        payload.len() >= self.threshold_bytes as usize
    }

    /// Messages shorter than this aren't worth compressing.
    pub fn threshold_bytes(&self) -> usize {
        self.threshold_bytes as usize
    }

    /// How far back the peer can read, in bytes.
    pub fn window_bytes(&self) -> usize {
        1 << self.bits
    }

    /// zlib's level, 1–9.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Whether the next message may refer back to this one.
    pub fn has_context(&self) -> bool {
        self.takeover
    }

    /// Appends a whole message's compressed form to `out`.
    pub fn compress(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let mut codec = self.codec.take().unwrap_or_else(|| loans::take_compressor(self.shape()));
        deflate(&mut codec, payload, out);
        end_message(payload, out);
        self.put_back(codec);
    }

    /// Prepares for a message in pieces; `false` if it has to be sent uncompressed, because too many are under way.
    pub fn begin_pieces(&mut self) -> bool {
        if !self.takeover && self.loan.is_none() {
            self.loan = Loan::take();
        }
        self.takeover || self.loan.is_some()
    }

    /// Appends the compressed form of a message's next piece to `out`.
    pub fn compress_piece(&mut self, piece: &[u8], is_final: bool, out: &mut Vec<u8>) {
        let mut codec = self.codec.take().unwrap_or_else(|| loans::take_compressor(self.shape()));
        deflate(&mut codec, piece, out);
        if is_final {
            end_message(piece, out);
            self.put_back(codec);
        } else {
            self.codec = Some(codec);
        }
    }

    /// Forgets all messages so far; the next one begins with an empty window, which is always valid.
    pub fn forget_window(&mut self) {
        if let Some(codec) = self.codec.take() {
            loans::give_compressor(self.shape(), codec);
        }
    }

    fn shape(&self) -> Shape {
        // zlib has no window of 8 bits. In one of 9 its matches reach back 250 bytes at most (the window less its
        // look-ahead of 262), so a peer with a window of 8 bits can read them.
        Shape { bits: self.bits.clamp(9, 15), level: self.level }
    }

    fn put_back(&mut self, codec: Box<Compress>) {
        if self.takeover {
            self.codec = Some(codec);
        } else {
            loans::give_compressor(self.shape(), codec);
            self.loan = None;
        }
    }
}

/// Appends all of `payload`, flushed to a byte boundary. Nothing is appended for nothing.
fn deflate(codec: &mut Compress, mut payload: &[u8], out: &mut Vec<u8>) {
    if payload.is_empty() {
        return;
    }
    out.reserve(payload.len() / 2 + 32);
    loop {
        let (taken, len) = (codec.total_in(), out.len());
        // `compress_vec` fills what `out` has room for and no more.
        codec.compress_vec(payload, out, FlushCompress::Sync).expect("a compressor takes any input");
        payload = &payload[(codec.total_in() - taken) as usize..];
        let has_stopped = out.len() == len && codec.total_in() == taken;
        if payload.is_empty() && (out.len() < out.capacity() || has_stopped) {
            return;
        }
        out.reserve(payload.len() / 2 + 64);
    }
}

/// Cuts the flush's tail off, or gives an empty end of a message its one byte (RFC 7692 §7.2.3.6).
fn end_message(last_piece: &[u8], out: &mut Vec<u8>) {
    if last_piece.is_empty() {
        out.push(0x00);
    } else {
        debug_assert!(out.ends_with(&TAIL), "a sync flush ends with its marker");
        out.truncate(out.len() - TAIL.len());
    }
}
