//! What waits to be written: encoded frames, in order, until the socket has taken them.
//!
//! Small frames are copied into one run of bytes, so that many of them are one piece for the socket. Large
//! payloads and frames that several connections share stay where they are and are queued by reference.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use super::frame::{Header, OpCode};

/// From this many bytes on, a payload is queued by reference instead of being copied.
///
/// A copy of 4 KiB costs less than the two allocations and the second slice of a vectored write.
pub(super) const BY_REFERENCE_BYTES: usize = 4 << 10;

/// A run is closed at this length, so that a queue that never quite empties still frees what was written.
const MAX_RUN_BYTES: usize = 64 << 10;

/// What a run allocates, at least: it comes from the thread and goes back to it, so that is seldom done.
const MIN_RUN_BYTES: usize = 16 << 10;

/// The longest run that the thread keeps for the next connection that has something to write.
const MAX_SPARE_BYTES: usize = 64 << 10;

thread_local! {
    /// An empty run whose allocation the next connection takes: most are written and empty again in one turn.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The header of a frame of less than 64 KiB, not masked.
const SMALL_HEADER_BYTES: usize = 4;

#[derive(Debug)]
enum Segment {
    /// Frames, from a frame's first byte on; the payload of the last may be the next segment.
    Run(Vec<u8>),
    /// Whole frames, shared with other connections.
    Frames(Bytes),
    /// The payload of the frame whose header ends the segment before.
    Payload(Bytes),
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Run(run) => run,
            Self::Frames(bytes) | Self::Payload(bytes) => bytes,
        }
    }
}

/// Gives a run's allocation to the thread, for the next connection.
#[inline]
fn give_spare(mut run: Vec<u8>) {
    if (1..=MAX_SPARE_BYTES).contains(&run.capacity()) {
        run.clear();
        // Without the slot (the thread ends) it is freed.
        let _ = SPARE.try_with(|spare| spare.set(run));
    }
}

/// A queue of bytes to write.
///
/// Invariants: `written` is less than the length of the first piece of [`Outbox::output`]; no segment is empty;
/// `written_total <= queued_total`.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// `None` while everything lies in the run, as it does on an idle connection.
    segments: Option<Box<VecDeque<Segment>>>,
    /// The open run, behind all segments.
    run: Vec<u8>,
    /// How much of the first segment (or of the run, if there is none) the socket has taken.
    written: usize,
    queued_total: u64,
    written_total: u64,
}

impl Outbox {
    /// Bytes that wait to be written.
    #[inline]
    pub(super) fn len(&self) -> usize {
        (self.queued_total - self.written_total) as usize
    }

    /// The count of all bytes ever queued: the position at which what is queued next will begin.
    pub(super) fn queued_total(&self) -> u64 {
        self.queued_total
    }

    /// The count of all bytes ever written.
    pub(super) fn written_total(&self) -> u64 {
        self.written_total
    }

    /// Lets `write` append whole frames to the open run; `size` is a guess at how many bytes they are.
    #[inline]
    pub(super) fn append(&mut self, size: usize, write: impl FnOnce(&mut Vec<u8>)) {
        if self.run.capacity() - self.run.len() < size {
            self.make_room(size);
        }
        let before = self.run.len();
        write(&mut self.run);
        self.queued_total += (self.run.len() - before) as u64;
    }

    /// Appends a frame of less than 64 KiB that is whole, not masked and not compressed.
    #[inline(always)]
    pub(super) fn append_small(&mut self, opcode: OpCode, payload: &[u8]) {
        let size = payload.len() + SMALL_HEADER_BYTES;
        if self.run.capacity() - self.run.len() < size {
            self.make_room(size);
        }
        let first = 0x80 | opcode as u8;
        let before = self.run.len();
        match payload.len() {
            short @ 0..=125 => self.run.extend_from_slice(&[first, short as u8]),
            long => {
                let [a, b] = (long as u16).to_be_bytes();
                self.run.extend_from_slice(&[first, 126, a, b]);
            }
        }
        self.run.extend_from_slice(payload);
        self.queued_total += (self.run.len() - before) as u64;
    }

    /// Makes room in the open run, at first by the thread's spare one.
    fn make_room(&mut self, size: usize) {
        if self.run.len() >= MAX_RUN_BYTES {
            self.close_run();
        }
        if self.run.capacity() == 0 {
            self.run = SPARE.try_with(Cell::take).unwrap_or_default();
            self.run.reserve(size.max(MIN_RUN_BYTES));
        } else {
            self.run.reserve(size);
        }
    }

    /// The socket takes no more for now: what waits shall not hold more than it needs.
    pub(super) fn settle(&mut self) {
        if self.run.capacity() > self.run.len() * 2 {
            let small = self.run.as_slice().to_vec();
            give_spare(std::mem::replace(&mut self.run, small));
        }
    }

    /// Queues a frame whose payload is not copied.
    pub(super) fn push_by_reference(&mut self, header: &Header, payload: Bytes) {
        self.append(super::frame::MAX_HEADER_BYTES, |run| header.encode(run));
        self.push(Segment::Payload(payload));
    }

    /// Queues whole frames that are not copied.
    pub(super) fn push_frames(&mut self, frames: Bytes) {
        self.push(Segment::Frames(frames));
    }

    fn push(&mut self, segment: Segment) {
        if segment.bytes().is_empty() {
            return;
        }
        self.close_run();
        self.queued_total += segment.bytes().len() as u64;
        self.segments.get_or_insert_default().push_back(segment);
    }

    fn close_run(&mut self) {
        if !self.run.is_empty() {
            let run = std::mem::take(&mut self.run);
            self.segments.get_or_insert_default().push_back(Segment::Run(run));
        }
    }

    /// All that is queued, if it lies in one piece.
    #[inline]
    pub(super) fn single(&self) -> Option<&[u8]> {
        if self.segments.is_none() { Some(&self.run[self.written..]) } else { None }
    }

    /// Fills `slices` with the bytes to write next, in order, and returns how many it filled.
    #[inline]
    pub(super) fn output<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let run = (!self.run.is_empty()).then_some(self.run.as_slice());
        let pieces = self.segments.iter().flat_map(|segments| segments.iter().map(Segment::bytes)).chain(run);
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            let skip = if filled == 0 { self.written } else { 0 };
            *slice = IoSlice::new(&piece[skip..]);
            filled += 1;
        }
        filled
    }

    /// Removes `written` bytes from the front: the socket has taken them.
    ///
    /// # Panics
    ///
    /// If it is more than [`Outbox::len`].
    #[inline]
    pub(super) fn advance(&mut self, written: usize) {
        assert!(written <= self.len(), "more bytes were written than queued");
        self.written_total += written as u64;
        if self.written_total == self.queued_total {
            // An idle connection holds no queue at all.
            self.segments = None;
            give_spare(std::mem::take(&mut self.run));
            self.written = 0;
            return;
        }
        self.written += written;
        while let Some(first) = self.segments.as_ref().and_then(|segments| segments.front()) {
            let len = first.bytes().len();
            if self.written < len {
                return;
            }
            self.written -= len;
            self.pop_segment();
        }
    }

    fn pop_segment(&mut self) -> Option<Segment> {
        let segments = self.segments.as_mut()?;
        let first = segments.pop_front();
        if segments.is_empty() {
            self.segments = None;
        }
        first
    }

    /// The last `len` bytes queued, if they are whole in the open run, where small frames are.
    pub(super) fn tail(&self, len: usize) -> &[u8] {
        self.run.len().checked_sub(len).map_or(&[], |start| &self.run[start..])
    }

    /// Drops every frame of which nothing has been written yet, and returns how many bytes that were.
    ///
    /// The frame that a short write tore stays, so what follows begins at a frame's boundary.
    pub(super) fn cut(&mut self) -> usize {
        let before = self.len();
        let kept = match self.pop_segment() {
            None => {
                let keep = frames_begun(&self.run, self.written);
                self.run.truncate(keep);
                self.queued_total = self.written_total + (self.run.len() - self.written) as u64;
                return before - self.len();
            }
            Some(payload @ Segment::Payload(_)) => VecDeque::from([payload]),
            Some(first) => {
                let keep = frames_begun(first.bytes(), self.written);
                // The payload of the last frame that was begun is a segment of its own.
                let payload = if keep > first.bytes().len() { self.pop_segment() } else { None };
                let first = match first {
                    Segment::Run(mut run) => {
                        run.truncate(keep);
                        Segment::Run(run)
                    }
                    Segment::Frames(bytes) | Segment::Payload(bytes) => {
                        Segment::Frames(bytes.slice(..keep.min(bytes.len())))
                    }
                };
                std::iter::once(first).chain(payload).filter(|segment| !segment.bytes().is_empty()).collect()
            }
        };
        let kept_bytes: usize = kept.iter().map(|segment| segment.bytes().len()).sum();
        self.queued_total = self.written_total + (kept_bytes - self.written) as u64;
        self.run = Vec::new();
        self.segments = (!kept.is_empty()).then(|| Box::new(kept));
        before - self.len()
    }
}

/// Where the last of the frames in `run` ends of which some byte lies before `written`.
///
/// That may be past the end of `run`: then the frame's payload is the next segment.
fn frames_begun(run: &[u8], written: usize) -> usize {
    let mut end = 0;
    while end < written {
        let Ok(Some((header, header_len))) = Header::parse(&run[end..]) else {
            debug_assert!(false, "a run holds frames of our own making");
            return run.len();
        };
        end += header_len + header.payload_bytes as usize;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(payload_bytes: u64) -> Header {
        Header { is_final: true, is_compressed: false, opcode: OpCode::Binary, mask: None, payload_bytes }
    }

    fn push_small(outbox: &mut Outbox, payload: &[u8]) {
        outbox.append(payload.len() + 2, |run| {
            header(payload.len() as u64).encode(run);
            run.extend_from_slice(payload);
        });
    }

    fn contents(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = outbox.output(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    /// Two small frames, a large one by reference, shared frames, a small one: 4 + 4 + (4 + 300) + 6 + 3 bytes.
    fn sample() -> Outbox {
        let mut outbox = Outbox::default();
        push_small(&mut outbox, b"ab");
        push_small(&mut outbox, b"cd");
        outbox.push_by_reference(&header(300), Bytes::from(vec![7; 300]));
        outbox.push_frames(Bytes::from_static(b"\x82\x01x\x82\x01y"));
        push_small(&mut outbox, b"z");
        outbox
    }

    #[test]
    fn bytes_leave_in_order_whatever_the_socket_takes() {
        let whole = contents(&sample());
        assert_eq!(whole.len(), 321);
        for step in 1..=whole.len() {
            let mut outbox = sample();
            let mut seen = Vec::new();
            while outbox.len() > 0 {
                let front: Vec<u8> = contents(&outbox).into_iter().take(step).collect();
                outbox.advance(front.len());
                seen.extend(front);
            }
            assert_eq!(seen, whole, "step {step}");
        }
    }

    #[test]
    fn a_cut_keeps_what_was_torn_and_nothing_else() {
        let whole = contents(&sample());
        let boundaries = [0, 4, 8, 312, 315, 318, 321];
        for written in 0..whole.len() {
            let mut outbox = sample();
            outbox.advance(written);
            let dropped = outbox.cut();
            let end = boundaries.into_iter().find(|&end| end >= written).unwrap();
            assert_eq!(contents(&outbox), &whole[written..end], "written {written}");
            assert_eq!(dropped, whole.len() - end);
            push_small(&mut outbox, b"!");
            assert_eq!(contents(&outbox).len(), end - written + 3);
            outbox.advance(end - written + 3);
            assert_eq!(outbox.len(), 0);
        }
    }
}
