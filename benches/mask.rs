//! Masking in place, against copying the same bytes: the limit is memcpy, which reads and writes them once.

mod common;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use switchboard::proto::mask::{apply_mask, extend_masked};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn mask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for size in common::SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let source = vec![7; size];
        let mut target = vec![7; size];
        group.bench_function(BenchmarkId::new("memcpy", size), |bencher| {
            bencher.iter(|| black_box(&mut target[..]).copy_from_slice(black_box(&source)));
        });
        group.bench_function(BenchmarkId::new("apply_mask", size), |bencher| {
            bencher.iter(|| apply_mask(black_box(&mut target), black_box(KEY), 0));
        });
        let mut out = Vec::with_capacity(size);
        group.bench_function(BenchmarkId::new("extend_masked", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                extend_masked(black_box(&mut out), black_box(&source), KEY);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = common::config();
    targets = mask
}
criterion_main!(benches);
