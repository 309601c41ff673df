//! Frame headers, read and written, against copying as many bytes.

mod common;

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use switchboard::proto::Role;
use switchboard::proto::frame::{Header, OpCode};

fn frame(criterion: &mut Criterion) {
    for (name, payload_bytes) in [("short", 100), ("16 bit", 1000), ("64 bit", 100_000)] {
        let mut group = criterion.benchmark_group(format!("frame header, {name} length"));
        let header = Header {
            is_final: true,
            is_compressed: false,
            opcode: OpCode::Binary,
            mask: Some([1, 2, 3, 4]),
            payload_bytes,
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        let mut out = Vec::with_capacity(64);
        group.bench_function("copy", |bencher| {
            bencher.iter(|| {
                out.clear();
                out.extend_from_slice(black_box(&bytes));
            });
        });
        group.bench_function("encode", |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(&header).encode(black_box(&mut out));
            });
        });
        group.bench_function("parse", |bencher| {
            bencher.iter(|| Header::parse_from(Some(Role::Client), black_box(&bytes)));
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = common::config();
    targets = frame
}
criterion_main!(benches);
