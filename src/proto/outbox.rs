//! What waits to be written: encoded frames, in order, until the socket has taken them.
//!
//! Small frames are copied into one run of bytes, so that many of them are one piece for the socket. Large
//! payloads and frames that several connections share stay where they are and are queued by reference.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

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

/// The most segments that it keeps room for.
const MAX_SPARE_SEGMENTS: usize = 64;

thread_local! {
    /// An empty queue whose allocations the next connection takes: most are written and empty again in one turn.
    static SPARE: Cell<Option<Box<Queue>>> = const { Cell::new(None) };
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

/// A queue of bytes to write.
///
/// Invariant: `written_total <= queued_total`.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// `None` while nothing is queued: an idle connection holds no queue at all.
    queue: Option<Box<Queue>>,
    queued_total: u64,
    written_total: u64,
}

/// A million idle connections each hold an outbox.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Outbox>() <= 24);

/// What lies in an outbox.
///
/// Invariants: `written` is less than the length of the first piece of [`Outbox::output`]; no segment is empty.
#[derive(Debug, Default)]
struct Queue {
    /// None while everything lies in the run, as small frames do.
    segments: VecDeque<Segment>,
    /// The open run, behind all segments.
    run: Vec<u8>,
    /// How much of the first segment (or of the run, if there is none) the socket has taken.
    written: usize,
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
        let run = run_with_room(&mut self.queue, size);
        let before = run.len();
        write(run);
        self.queued_total += (run.len() - before) as u64;
    }

    /// Appends a frame of less than 64 KiB that is whole, not masked and not compressed.
    #[inline(always)]
    pub(super) fn append_small(&mut self, opcode: OpCode, payload: &[u8]) {
        let run = run_with_room(&mut self.queue, payload.len() + SMALL_HEADER_BYTES);
        let first = 0x80 | opcode as u8;
        let before = run.len();
        match payload.len() {
            short @ 0..=125 => run.extend_from_slice(&[first, short as u8]),
            long => {
                let [a, b] = (long as u16).to_be_bytes();
                run.extend_from_slice(&[first, 126, a, b]);
            }
        }
        run.extend_from_slice(payload);
        self.queued_total += (run.len() - before) as u64;
    }

    /// The socket takes no more for now: what waits shall not hold more than it needs.
    pub(super) fn settle(&mut self) {
        if let Some(queue) = &mut self.queue
            && queue.run.capacity() > queue.run.len() * 2
        {
            let small = queue.run.as_slice().to_vec();
            let run = std::mem::replace(&mut queue.run, small);
            give_spare(Box::new(Queue { run, ..Queue::default() }));
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
        self.queued_total += segment.bytes().len() as u64;
        let queue = self.queue.get_or_insert_with(take_spare);
        queue.close_run();
        queue.segments.push_back(segment);
    }

    /// All that is queued, if it lies in one piece.
    #[inline]
    pub(super) fn single(&self) -> Option<&[u8]> {
        match &self.queue {
            None => Some(&[]),
            Some(queue) if queue.segments.is_empty() => Some(&queue.run[queue.written..]),
            Some(_) => None,
        }
    }

    /// Fills `slices` with the bytes to write next, in order, and returns how many it filled.
    #[inline]
    pub(super) fn output<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let Some(queue) = &self.queue else { return 0 };
        let run = (!queue.run.is_empty()).then_some(queue.run.as_slice());
        let pieces = queue.segments.iter().map(Segment::bytes).chain(run);
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            let skip = if filled == 0 { queue.written } else { 0 };
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
        if self.written_total < self.queued_total {
            self.advance_within(written);
        } else if let Some(queue) = self.queue.take() {
            give_spare(queue);
        }
    }

    fn advance_within(&mut self, written: usize) {
        let Some(queue) = &mut self.queue else { return };
        queue.written += written;
        while let Some(first) = queue.segments.front() {
            let len = first.bytes().len();
            if queue.written < len {
                return;
            }
            queue.written -= len;
            queue.segments.pop_front();
        }
    }

    /// The last `len` bytes queued, if they are whole in the open run, where small frames are.
    pub(super) fn tail(&self, len: usize) -> &[u8] {
        let run = self.queue.as_ref().map_or(&[][..], |queue| &queue.run);
        run.len().checked_sub(len).map_or(&[], |start| &run[start..])
    }

    /// Drops every frame of which nothing has been written yet, and returns how many bytes that were.
    ///
    /// The frame that a short write tore stays, so what follows begins at a frame's boundary.
    pub(super) fn cut(&mut self) -> usize {
        let before = self.len();
        let Some(mut queue) = self.queue.take() else { return 0 };
        queue.cut();
        let left = queue.len();
        if left > 0 {
            self.queue = Some(queue);
        } else {
            give_spare(queue);
        }
        self.queued_total = self.written_total + left as u64;
        before - left
    }
}

/// The open run, with room for `size` bytes.
#[inline(always)]
fn run_with_room(queue: &mut Option<Box<Queue>>, size: usize) -> &mut Vec<u8> {
    match queue {
        Some(queue) => queue.run_with_room(size),
        none => begin(none, size),
    }
}

/// Something is queued again.
#[inline(never)]
fn begin(none: &mut Option<Box<Queue>>, size: usize) -> &mut Vec<u8> {
    none.insert(take_spare()).run_with_room(size)
}

/// An empty queue, the thread's spare one if it is there.
#[inline]
fn take_spare() -> Box<Queue> {
    SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default()
}

/// Gives a queue's allocations to the thread, for the next connection.
#[inline]
fn give_spare(mut queue: Box<Queue>) {
    if queue.run.capacity() <= MAX_SPARE_BYTES && queue.segments.capacity() <= MAX_SPARE_SEGMENTS {
        queue.segments.clear();
        queue.run.clear();
        queue.written = 0;
        // Without the slot (the thread ends) it is freed.
        let _ = SPARE.try_with(|spare| spare.set(Some(queue)));
    }
}

impl Queue {
    /// Bytes that wait to be written.
    fn len(&self) -> usize {
        let segments: usize = self.segments.iter().map(|segment| segment.bytes().len()).sum();
        segments + self.run.len() - self.written
    }

    #[inline(always)]
    fn run_with_room(&mut self, size: usize) -> &mut Vec<u8> {
        if self.run.capacity() - self.run.len() < size {
            self.make_room(size);
        }
        &mut self.run
    }

    #[inline(never)]
    fn make_room(&mut self, size: usize) {
        if self.run.len() >= MAX_RUN_BYTES {
            self.close_run();
        }
        self.run.reserve(if self.run.is_empty() { size.max(MIN_RUN_BYTES) } else { size });
    }

    fn close_run(&mut self) {
        if !self.run.is_empty() {
            self.segments.push_back(Segment::Run(std::mem::take(&mut self.run)));
        }
    }

    /// Drops every frame of which nothing has been written yet.
    fn cut(&mut self) {
        let Some(first) = self.segments.pop_front() else {
            let keep = frame_torn(&self.run, self.written).end;
            self.run.truncate(keep);
            return;
        };
        self.run = Vec::new();
        let mut behind = std::mem::take(&mut self.segments);
        match first {
            Segment::Payload(_) => self.segments.push_back(first),
            Segment::Frames(frames) => {
                let torn = frame_torn(&frames, self.written);
                self.written -= torn.start;
                // What stays of many frames must not hold all of them.
                let is_most = torn.len() * 2 > frames.len();
                let torn = if is_most { frames.slice(torn) } else { Bytes::copy_from_slice(&frames[torn]) };
                self.segments.extend((!torn.is_empty()).then_some(Segment::Frames(torn)));
            }
            Segment::Run(mut run) => {
                let keep = frame_torn(&run, self.written).end;
                // The payload of the last frame that was begun is a segment of its own.
                let payload = if keep > run.len() { behind.pop_front() } else { None };
                run.truncate(keep);
                run.shrink_to_fit();
                self.segments.extend((!run.is_empty()).then_some(Segment::Run(run)));
                self.segments.extend(payload);
            }
        }
    }
}

/// The last of the frames in `run` of which some byte lies before `written`; an empty one if there is none.
///
/// It may end past the end of `run`: then its payload is the next segment.
fn frame_torn(run: &[u8], written: usize) -> Range<usize> {
    let mut torn = 0..0;
    while torn.end < written {
        let Ok(Some((header, header_len))) = Header::parse(&run[torn.end..]) else {
            debug_assert!(false, "a run holds frames of our own making");
            return torn.start..run.len();
        };
        torn = torn.end..torn.end + header_len + header.payload_bytes as usize;
    }
    torn
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
