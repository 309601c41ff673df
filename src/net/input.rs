//! Read buffers: borrowed from the thread while there is something to read, held by nobody who waits.
//!
//! A waiting connection holds no buffer. To read it takes one from its thread's small pool and gives it back as
//! soon as its input is used up or the socket is empty. A connection that stops in the middle of its input keeps
//! the buffer; when too many do, the input moves into a buffer of its exact size.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The length of a read buffer in bytes.
pub(super) const READ_BUFFER_BYTES: usize = 128 << 10;

/// How many buffers a thread keeps besides the next one.
const MAX_MORE: usize = 3;

/// How many buffers connections may keep between two calls, in the whole process: 16 MiB.
const MAX_KEPT: usize = 128;

/// Buffers that are kept between two calls.
static KEPT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The buffer that the next reader takes: most threads never need another.
    static NEXT: Cell<Option<Box<Buffer>>> = const { Cell::new(None) };
    /// And those that came back while it was there, in the boxes that connections hold.
    #[expect(clippy::vec_box, reason = "they move between here and the connections as they are")]
    static MORE: RefCell<Vec<Box<Buffer>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes to read into, and which of them were read and aren't used up.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// All of it initialised, once.
    bytes: Vec<u8>,
    start: u32,
    end: u32,
    /// Whether it counts in `KEPT`.
    is_kept: bool,
}

/// A buffer to read into.
#[inline]
pub(super) fn take_buffer() -> Box<Buffer> {
    match NEXT.try_with(Cell::take) {
        Ok(Some(buffer)) => buffer,
        _ => take_another(),
    }
}

#[cold]
fn take_another() -> Box<Buffer> {
    let pooled = MORE.try_with(|more| more.borrow_mut().pop()).ok().flatten();
    pooled.unwrap_or_else(|| Box::new(Buffer { bytes: vec![0; READ_BUFFER_BYTES], ..Buffer::default() }))
}

/// Gives a buffer back, to whichever thread this is.
#[inline]
pub(super) fn give_buffer(buffer: Box<Buffer>) {
    if buffer.bytes.len() != READ_BUFFER_BYTES {
        return;
    }
    // Without a pool (the thread ends) the buffer is freed.
    if let Ok(Some(before)) = NEXT.try_with(|next| next.replace(Some(buffer))) {
        give_another(before);
    }
}

#[cold]
fn give_another(buffer: Box<Buffer>) {
    let _ = MORE.try_with(|more| {
        let mut more = more.borrow_mut();
        if more.len() < MAX_MORE {
            more.push(buffer);
        }
    });
}

impl Buffer {
    /// Where to read into.
    #[inline]
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn unread(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start as usize..self.end as usize]
    }

    fn forget_kept(&mut self) {
        if std::mem::take(&mut self.is_kept) {
            KEPT.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.forget_kept();
    }
}

/// What was read and isn't used up.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// `None` while there is nothing, as on an idle connection.
    buffer: Option<Box<Buffer>>,
}

impl Input {
    /// The first `end` bytes of a buffer from the pool.
    #[inline]
    pub(super) fn from_buffer(mut buffer: Box<Buffer>, end: usize) -> Self {
        buffer.start = 0;
        buffer.end = end as u32;
        Self { buffer: Some(buffer) }
    }

    /// Bytes of one's own.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        // What came behind a handshake, or a part of a read buffer: far less than 4 GiB.
        let end = bytes.len() as u32;
        Self { buffer: Some(Box::new(Buffer { bytes, start: 0, end, is_kept: false })) }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.as_ref().is_none_or(|buffer| buffer.start == buffer.end)
    }

    /// The unread bytes.
    #[inline]
    pub(super) fn unread(&mut self) -> &mut [u8] {
        self.buffer.as_mut().map_or(&mut [], |buffer| buffer.unread())
    }

    /// Leaves the last `left` bytes unread.
    #[inline]
    pub(super) fn leave(&mut self, left: usize) {
        if let Some(buffer) = &mut self.buffer {
            buffer.start = buffer.end - left as u32;
        }
    }

    /// The input is used up, or never wanted: the buffer goes back.
    #[inline]
    pub(super) fn release(&mut self) {
        if let Some(mut buffer) = self.buffer.take() {
            buffer.forget_kept();
            give_buffer(buffer);
        }
    }

    /// The connection stops with input left: keeps the buffer, or if too many are kept only the bytes.
    #[inline]
    pub(super) fn keep(&mut self) {
        if let Some(buffer) = &self.buffer
            && !buffer.is_kept
            && buffer.bytes.len() == READ_BUFFER_BYTES
        {
            self.count_or_copy();
        }
    }

    #[cold]
    fn count_or_copy(&mut self) {
        let Some(buffer) = &mut self.buffer else { return };
        if KEPT.fetch_add(1, Ordering::Relaxed) < MAX_KEPT {
            buffer.is_kept = true;
            return;
        }
        KEPT.fetch_sub(1, Ordering::Relaxed);
        let own = buffer.unread().to_vec();
        self.release();
        *self = Self::from_bytes(own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the buffer is.
    fn len(input: &Input) -> usize {
        input.buffer.as_ref().map_or(0, |buffer| buffer.bytes.len())
    }

    #[test]
    fn past_the_bound_only_the_bytes_are_kept() {
        let mut inputs: Vec<Input> = (0..MAX_KEPT + 8)
            .map(|_| {
                let mut input = Input::from_buffer(take_buffer(), 100);
                input.leave(10);
                input.keep();
                input
            })
            .collect();
        let whole = inputs.iter().filter(|input| len(input) == READ_BUFFER_BYTES).count();
        // Other tests of this process may keep a few at the same time.
        assert!(whole <= MAX_KEPT);
        assert!(inputs.iter_mut().all(|input| input.unread().len() == 10));
        assert!(inputs.iter().filter(|input| len(input) == 10).count() >= 8);
    }
}
