//! Codecs without context: a few for each thread, lent for a message.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::{Compress, Compression, Decompress};

/// How many codecs of a kind a thread keeps.
const MAX_POOLED: usize = 4;

/// How many codecs may be lent from one call to the next, in the whole process: some 16 MiB of inflaters.
const MAX_LOANS: usize = 256;

static LOANS: AtomicUsize = AtomicUsize::new(0);

/// Permission to keep a codec from one call to the next.
#[derive(Debug)]
pub(super) struct Loan(());

impl Loan {
    /// A loan, if not too many are out.
    pub(super) fn take() -> Option<Self> {
        if LOANS.fetch_add(1, Ordering::Relaxed) < MAX_LOANS {
            return Some(Self(()));
        }
        LOANS.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        LOANS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a compressor is made for; only an equal one can take its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// 9–15: zlib has no compressor of 8.
    pub(super) bits: u8,
    pub(super) level: u8,
}

thread_local! {
    static COMPRESSORS: RefCell<Vec<(Shape, Box<Compress>)>> = const { RefCell::new(Vec::new()) };
    static INFLATERS: RefCell<Vec<(u8, Box<Decompress>)>> = const { RefCell::new(Vec::new()) };
}

/// A compressor with an empty window.
pub(super) fn take_compressor(shape: Shape) -> Box<Compress> {
    let pooled = COMPRESSORS.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        let at = pool.iter().rposition(|(other, _)| *other == shape)?;
        Some(pool.swap_remove(at).1)
    });
    pooled.ok().flatten().unwrap_or_else(|| {
        let level = Compression::new(u32::from(shape.level));
        Box::new(Compress::new_with_window_bits(level, false, shape.bits))
    })
}

/// Gives a compressor back.
pub(super) fn give_compressor(shape: Shape, mut codec: Box<Compress>) {
    codec.reset();
    // Without a pool (the thread ends) it is freed.
    let _ = COMPRESSORS.try_with(|pool| keep(&mut pool.borrow_mut(), (shape, codec)));
}

/// An inflater with an empty window of 9–15 `bits`.
pub(super) fn take_inflater(bits: u8) -> Box<Decompress> {
    let pooled = INFLATERS.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        let at = pool.iter().rposition(|(other, _)| *other == bits)?;
        Some(pool.swap_remove(at).1)
    });
    pooled.ok().flatten().unwrap_or_else(|| Box::new(Decompress::new_with_window_bits(false, bits)))
}

/// Gives an inflater back.
pub(super) fn give_inflater(bits: u8, mut codec: Box<Decompress>) {
    codec.reset(false);
    let _ = INFLATERS.try_with(|pool| keep(&mut pool.borrow_mut(), (bits, codec)));
}

/// Keeps the newest few.
fn keep<T>(pool: &mut Vec<T>, codec: T) {
    if pool.len() >= MAX_POOLED {
        pool.remove(0);
    }
    pool.push(codec);
}
