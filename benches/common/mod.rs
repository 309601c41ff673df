//! What the benchmarks share: short runs, and frames to feed.

#![allow(dead_code, reason = "each benchmark uses some of it")]

use std::time::Duration;

use criterion::Criterion;
use switchboard::proto::{Message, Sender};

/// Message sizes in bytes.
pub(crate) const SIZES: [usize; 5] = [16, 125, 1 << 10, 16 << 10, 64 << 10];

/// Messages in a batch, as many as come in one read.
pub(crate) const BATCH: usize = 16;

/// A second a benchmark: a ratio to the limit beside it needs no more.
pub(crate) fn config() -> Criterion {
    Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
}

/// A payload of text that compresses like text does.
pub(crate) fn text(len: usize) -> Vec<u8> {
    let line =
        |at: usize| format!("{{\"id\":{at},\"room\":\"lobby\",\"from\":\"user{}\"}}\n", at * 7919 % 1000);
    (0..).flat_map(|at| line(at).into_bytes()).take(len).collect()
}

/// `BATCH` frames of a client's, each with a message of `size` bytes.
pub(crate) fn masked_batch(size: usize) -> Vec<u8> {
    let mut sender = Sender::client(|| [0x37, 0xfa, 0x21, 0x3d]);
    let mut wire = Vec::new();
    for _ in 0..BATCH {
        sender.send(Message::binary(text(size))).expect("it is open");
    }
    drain(&mut sender, |bytes| wire.extend_from_slice(bytes));
    wire
}

/// Takes all output, as a socket would.
pub(crate) fn drain(sender: &mut Sender, mut take: impl FnMut(&[u8])) {
    while sender.queued_bytes() > 0 {
        let mut slices = [std::io::IoSlice::new(&[]); 64];
        let filled = sender.output(&mut slices);
        let mut written = 0;
        for slice in &slices[..filled] {
            take(slice);
            written += slice.len();
        }
        sender.advance(written);
    }
}
