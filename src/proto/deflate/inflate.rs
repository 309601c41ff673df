//! Inflating messages (RFC 7692 §7.2.2).

use flate2::{Decompress, FlushDecompress, Status};

use super::DeflateParams;
use super::loans::{self, Loan};
use crate::proto::{ProtocolError, Role};

/// Inflates what the peer of one side sends.
#[derive(Debug)]
pub struct Decompressor {
    /// 8–15, as agreed: how far back a match may reach, and what is kept for a new stream's window.
    bits: u8,
    takeover: bool,
    /// Bounds what is collected when no codec can be lent. More than 4 GiB never is.
    max_collected_bytes: u32,
    /// `None` between messages; with takeover only before the first one.
    stream: Option<Box<Stream>>,
}

/// A million idle connections each hold one.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Option<Decompressor>>() <= 16);

/// A DEFLATE stream under way, of one message or with takeover of all.
#[derive(Debug)]
struct Stream {
    codec: Option<Box<Decompress>>,
    /// Held until the codec is given back.
    loan: Option<Loan>,
    window: Window,
    /// Blocks with BFINAL in this message.
    final_blocks: u32,
    /// Whether the last byte taken ended a stream.
    is_at_end: bool,
    /// How much of what ends a message was fed.
    fed_end: usize,
    /// Whether that ends with a last block of our own.
    has_own_end: bool,
    /// The message's compressed bytes, if there was no codec to lend. Bounded by `max_collected_bytes`.
    collected: Vec<u8>,
    /// How much of them was inflated.
    inflated: usize,
}

/// What a message leaves out (RFC 7692 §7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The same, and an empty last block. That ends the stream exactly if the message was whole.
const TAIL_AND_FINAL_BLOCK: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];

/// A sender needs one a message, if any. Each costs a copy of the window, so their number is bounded.
const MAX_FINAL_BLOCKS: u32 = 1024;

/// The least and the most that is inflated at a time.
const MIN_STEP_BYTES: usize = 256;
const MAX_STEP_BYTES: usize = 16 << 10;

impl Decompressor {
    /// What `role` inflates with after agreeing on `params`.
    ///
    /// `max_collected_bytes` bounds the compressed bytes of a message that are kept when too many messages are under
    /// way at once to inflate each as it comes.
    pub fn new(role: Role, params: DeflateParams, max_collected_bytes: usize) -> Self {
        let (bits, no_takeover) = match role {
            Role::Server => (params.client_max_window_bits, params.client_no_context_takeover),
            Role::Client => (params.server_max_window_bits, params.server_no_context_takeover),
        };
        let max_collected_bytes = u32::try_from(max_collected_bytes).unwrap_or(u32::MAX);
        // The fields of `DeflateParams` may hold anything; a window that can't be would be a shift too far.
        Self { bits: bits.clamp(8, 15), takeover: !no_takeover, max_collected_bytes, stream: None }
    }

    /// Takes bytes of a message from the front of `input` and appends at most `max_out` inflated ones to `out`.
    ///
    /// It returns when one of the two is used up.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::InvalidDeflate`], and [`ProtocolError::MessageTooLarge`] for what can't be collected.
    pub fn inflate(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        max_out: usize,
    ) -> Result<(), ProtocolError> {
        if input.is_empty() {
            return Ok(());
        }
        let limit = self.max_collected_bytes as usize;
        let stream = self.begin();
        if stream.codec.is_some() {
            return stream.feed(input, out, max_out);
        }
        if input.len() > limit - stream.collected.len() {
            return Err(ProtocolError::MessageTooLarge { limit });
        }
        stream.collected.extend_from_slice(std::mem::take(input));
        Ok(())
    }

    /// Whether the message under way holds a codec until its end, as its own or on loan. If not it has to be inflated
    /// without a pause, when it is complete.
    pub(in crate::proto) fn may_pause(&self) -> bool {
        self.takeover || self.stream.as_ref().is_none_or(|stream| stream.loan.is_some())
    }

    /// Ends a message, appending at most `max_out` inflated bytes to `out`.
    ///
    /// `true` when it is complete; `false` when there is more to append and it has to be called again.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::InvalidDeflate`], also for a message that ends in the middle of a block.
    pub fn finish(&mut self, out: &mut Vec<u8>, max_out: usize) -> Result<bool, ProtocolError> {
        let (bits, takeover) = (self.bits, self.takeover);
        let stream = self.begin();
        stream.codec.get_or_insert_with(|| loans::take_inflater(codec_bits(bits)));
        let end = out.len() + max_out;
        let collected = std::mem::take(&mut stream.collected);
        let mut rest = &collected[stream.inflated..];
        let fed = stream.feed(&mut rest, out, max_out);
        stream.inflated = collected.len() - rest.len();
        stream.collected = collected;
        fed?;
        if stream.inflated < stream.collected.len() {
            return Ok(false);
        }
        if !stream.feed_end(out, end - out.len(), takeover)? {
            return Ok(false);
        }
        self.end_message();
        Ok(true)
    }

    fn begin(&mut self) -> &mut Stream {
        let (bits, takeover) = (self.bits, self.takeover);
        self.stream.get_or_insert_with(|| {
            let loan = if takeover { None } else { Loan::take() };
            let may_keep = takeover || loan.is_some();
            Box::new(Stream {
                codec: may_keep.then(|| loans::take_inflater(codec_bits(bits))),
                loan,
                window: Window::new(bits),
                final_blocks: 0,
                is_at_end: false,
                fed_end: 0,
                has_own_end: false,
                collected: Vec::new(),
                inflated: 0,
            })
        })
    }

    fn end_message(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        if self.takeover {
            stream.final_blocks = 0;
            stream.fed_end = 0;
            stream.is_at_end = false;
            return;
        }
        if let Some(codec) = stream.codec.take() {
            loans::give_inflater(codec_bits(self.bits), codec);
        }
        self.stream = None;
    }
}

impl Stream {
    /// Inflates from `input` until it or `max_out` is used up.
    fn feed(&mut self, input: &mut &[u8], out: &mut Vec<u8>, max_out: usize) -> Result<(), ProtocolError> {
        let end = out.len() + max_out;
        while out.len() < end {
            let before = out.len();
            let room = (input.len() * 4).clamp(MIN_STEP_BYTES, MAX_STEP_BYTES).min(end - before);
            self.step(input, out, room)?;
            // A step that fills its room may have left output in the codec.
            if input.is_empty() && out.len() < before + room {
                break;
            }
        }
        Ok(())
    }

    /// Appends at most `room` bytes.
    fn step(&mut self, input: &mut &[u8], out: &mut Vec<u8>, room: usize) -> Result<(), ProtocolError> {
        let codec = self.codec.as_mut().expect("a stream that is fed has a codec");
        let (taken, made) = (codec.total_in(), codec.total_out());
        let start = out.len();
        out.resize(start + room, 0);
        let status = codec.decompress(input, &mut out[start..], FlushDecompress::None);
        let (taken, made) = ((codec.total_in() - taken) as usize, (codec.total_out() - made) as usize);
        out.truncate(start + made);
        self.window.push(&out[start..]);
        *input = &input[taken..];
        match status {
            // Nothing follows our own last block, so nothing needs a window.
            Ok(Status::StreamEnd) if self.has_own_end && input.is_empty() => {
                self.is_at_end = true;
                Ok(())
            }
            Ok(Status::StreamEnd) => self.begin_stream(),
            // Room and input but no progress: a codec that waits for what will never come.
            Ok(_) if taken == 0 && made == 0 && !input.is_empty() => Err(ProtocolError::InvalidDeflate),
            Ok(_) => {
                self.is_at_end &= taken == 0;
                Ok(())
            }
            Err(_) => Err(ProtocolError::InvalidDeflate),
        }
    }

    /// After a block with BFINAL: what follows is a stream of its own, with the same window (RFC 7692 §7.2.3.4).
    fn begin_stream(&mut self) -> Result<(), ProtocolError> {
        self.final_blocks += 1;
        self.is_at_end = true;
        if self.final_blocks > MAX_FINAL_BLOCKS {
            return Err(ProtocolError::InvalidDeflate);
        }
        let codec = self.codec.as_mut().expect("it has just ended a stream");
        codec.reset(false);
        let window = self.window.contents();
        if !window.is_empty() {
            codec.set_dictionary(&window).map_err(|_| ProtocolError::InvalidDeflate)?;
        }
        Ok(())
    }

    /// Feeds what a message leaves out; `true` when that is done and nothing is left to append.
    fn feed_end(&mut self, out: &mut Vec<u8>, max_out: usize, takeover: bool) -> Result<bool, ProtocolError> {
        // A message may end right behind a last block; what it left out would begin a stream with no end.
        if self.is_at_end && self.fed_end == 0 {
            return Ok(true);
        }
        let end: &[u8] = if takeover { &TAIL } else { &TAIL_AND_FINAL_BLOCK };
        self.has_own_end = !takeover;
        let stop = out.len() + max_out;
        let mut rest = &end[self.fed_end..];
        let fed = self.feed(&mut rest, out, max_out);
        self.fed_end = end.len() - rest.len();
        fed?;
        if !rest.is_empty() || out.len() == stop {
            return Ok(false);
        }
        if !takeover && !self.is_at_end {
            return Err(ProtocolError::InvalidDeflate);
        }
        Ok(true)
    }
}

/// zlib-rs inflates with 9 bits at least; a larger window reads what a smaller one wrote.
fn codec_bits(bits: u8) -> u8 {
    bits.clamp(9, 15)
}

/// The last 2^bits bytes of output, for a stream that begins anew.
#[derive(Debug)]
struct Window {
    /// A ring once it is full.
    bytes: Vec<u8>,
    /// Where the oldest byte lies, once it is full.
    oldest: usize,
    capacity: usize,
}

impl Window {
    fn new(bits: u8) -> Self {
        Self { bytes: Vec::new(), oldest: 0, capacity: 1 << bits }
    }

    fn push(&mut self, output: &[u8]) {
        let output = &output[output.len().saturating_sub(self.capacity)..];
        let growth = output.len().min(self.capacity - self.bytes.len());
        let (appended, mut rest) = output.split_at(growth);
        self.bytes.extend_from_slice(appended);
        while !rest.is_empty() {
            let len = rest.len().min(self.capacity - self.oldest);
            let (front, back) = rest.split_at(len);
            self.bytes[self.oldest..self.oldest + len].copy_from_slice(front);
            self.oldest = (self.oldest + len) % self.capacity;
            rest = back;
        }
    }

    fn contents(&self) -> Vec<u8> {
        [&self.bytes[self.oldest..], &self.bytes[..self.oldest]].concat()
    }
}
