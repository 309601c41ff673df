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
    static NEXT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// And those that came back while it was there.
    static MORE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer to read into: all of it initialised, once.
#[inline]
pub(super) fn take_buffer() -> Vec<u8> {
    match NEXT.try_with(Cell::take) {
        Ok(buffer) if !buffer.is_empty() => buffer,
        _ => take_another(),
    }
}

#[cold]
fn take_another() -> Vec<u8> {
    let pooled = MORE.try_with(|more| more.borrow_mut().pop()).ok().flatten();
    pooled.unwrap_or_else(|| vec![0; READ_BUFFER_BYTES])
}

/// Gives a buffer back, to whichever thread this is.
#[inline]
pub(super) fn give_buffer(buffer: Vec<u8>) {
    if buffer.len() != READ_BUFFER_BYTES {
        return;
    }
    // Without a pool (the thread ends) the buffer is freed.
    if let Ok(before) = NEXT.try_with(|next| next.replace(buffer))
        && !before.is_empty()
    {
        give_another(before);
    }
}

#[cold]
fn give_another(buffer: Vec<u8>) {
    let _ = MORE.try_with(|more| {
        let mut more = more.borrow_mut();
        if more.len() < MAX_MORE {
            more.push(buffer);
        }
    });
}

/// What was read and isn't used up.
#[derive(Debug, Default)]
pub(super) struct Input {
    buffer: Vec<u8>,
    start: u32,
    end: u32,
    /// Whether the buffer counts in `KEPT`.
    is_kept: bool,
}

impl Input {
    /// The first `end` bytes of a buffer from the pool.
    pub(super) fn from_buffer(buffer: Vec<u8>, end: usize) -> Self {
        Self { buffer, start: 0, end: end as u32, is_kept: false }
    }

    /// Bytes of one's own.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        // What came behind a handshake, or a part of a read buffer: far less than 4 GiB.
        let end = bytes.len() as u32;
        Self { buffer: bytes, start: 0, end, is_kept: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The unread bytes.
    pub(super) fn unread(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start as usize..self.end as usize]
    }

    /// Leaves the last `left` bytes unread.
    pub(super) fn leave(&mut self, left: usize) {
        self.start = self.end - left as u32;
    }

    /// The input is used up, or never wanted: the buffer goes back.
    pub(super) fn release(&mut self) {
        self.forget_kept();
        self.start = 0;
        self.end = 0;
        if self.buffer.capacity() > 0 {
            give_buffer(std::mem::take(&mut self.buffer));
        }
    }

    /// The connection stops with input left: keeps the buffer, or if too many are kept only the bytes.
    #[inline]
    pub(super) fn keep(&mut self) {
        if !self.is_kept && self.buffer.len() == READ_BUFFER_BYTES {
            self.count_or_copy();
        }
    }

    #[cold]
    fn count_or_copy(&mut self) {
        if KEPT.fetch_add(1, Ordering::Relaxed) < MAX_KEPT {
            self.is_kept = true;
            return;
        }
        KEPT.fetch_sub(1, Ordering::Relaxed);
        let own = self.unread().to_vec();
        self.release();
        *self = Self::from_bytes(own);
    }

    fn forget_kept(&mut self) {
        if std::mem::take(&mut self.is_kept) {
            KEPT.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.forget_kept();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let whole = inputs.iter().filter(|input| input.buffer.len() == READ_BUFFER_BYTES).count();
        // Other tests of this process may keep a few at the same time.
        assert!(whole <= MAX_KEPT);
        assert!(inputs.iter_mut().all(|input| input.unread().len() == 10));
        assert!(inputs.iter().filter(|input| input.buffer.len() == 10).count() >= 8);
    }
}
