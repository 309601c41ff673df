//! Bytes that nobody can predict, for mask keys (RFC 6455 §10.3) and handshake keys (§4.1).

use std::cell::RefCell;

/// How many bytes are asked of the system at once: a system call for every 256 frames.
const BATCH_BYTES: usize = 1024;

struct Batch {
    bytes: [u8; BATCH_BYTES],
    used: usize,
}

thread_local! {
    static BATCH: RefCell<Batch> = const { RefCell::new(Batch { bytes: [0; BATCH_BYTES], used: BATCH_BYTES }) };
}

/// A new mask key.
///
/// # Panics
///
/// If the system has no entropy to give: a predictable mask would be a silent hole.
pub(super) fn mask_key() -> [u8; 4] {
    random()
}

/// `N` random bytes, at most 1024.
pub(super) fn random<const N: usize>() -> [u8; N] {
    BATCH.with_borrow_mut(|batch| {
        if batch.used + N > BATCH_BYTES {
            getrandom::fill(&mut batch.bytes).expect("the system gives entropy");
            batch.used = 0;
        }
        let taken = &mut batch.bytes[batch.used..batch.used + N];
        batch.used += N;
        let mut random = [0; N];
        random.copy_from_slice(taken);
        // A key that was used is kept nowhere.
        taken.fill(0);
        random
    })
}
