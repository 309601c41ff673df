//! Sending 16 messages as one batch, against copying the same bytes once.

mod common;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use switchboard::proto::{Message, Sender};

fn send(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("send 16 messages");
    for size in common::SIZES {
        let payload = Bytes::from(common::text(size));
        let wire = vec![0; (size + 4) * common::BATCH];
        let mut target = wire.clone();
        group.throughput(Throughput::Bytes(wire.len() as u64));
        group.bench_function(BenchmarkId::new("memcpy", size), |bencher| {
            bencher.iter(|| black_box(&mut target).copy_from_slice(black_box(&wire)));
        });
        for (name, mut sender) in
            [("server", Sender::server()), ("client", Sender::client(|| [0x37, 0xfa, 0x21, 0x3d]))]
        {
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    for _ in 0..common::BATCH {
                        sender.send(Message::Binary(payload.clone())).expect("it is open");
                    }
                    common::drain(&mut sender, |bytes| {
                        black_box(bytes);
                    });
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = common::config();
    targets = send
}
criterion_main!(benches);
