//! Receiving 16 masked messages of one read, against copying the same bytes once.

mod common;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use switchboard::proto::{Limits, Receiver, Role};

fn receive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receive 16 messages");
    for size in common::SIZES {
        let wire = common::masked_batch(size);
        let mut input = wire.clone();
        group.throughput(Throughput::Bytes(wire.len() as u64));
        group.bench_function(BenchmarkId::new("memcpy", size), |bencher| {
            bencher.iter(|| input.copy_from_slice(black_box(&wire)));
        });
        // Receiving unmasks where the bytes lie, so it needs fresh ones: that copy is part of what is measured.
        let mut receiver = Receiver::new(Role::Server, Limits::default());
        group.bench_function(BenchmarkId::new("memcpy and poll_event", size), |bencher| {
            bencher.iter(|| {
                input.copy_from_slice(black_box(&wire));
                let mut unread = &mut input[..];
                let mut messages = 0;
                while let Some(event) = receiver.poll_event(&mut unread).expect("the frames are valid") {
                    black_box(event);
                    messages += 1;
                }
                assert_eq!(messages, common::BATCH);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = common::config();
    targets = receive
}
criterion_main!(benches);
