//! The check of text, whole and in chunks, against simdutf8 and the standard library on the same bytes.

mod common;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use switchboard::proto::Utf8Validator;

fn utf8(criterion: &mut Criterion) {
    let texts = [("ASCII", "The quick brown fox. "), ("mixed", "Zürich, 東京, naïve 🦀. ")];
    for (name, words) in texts {
        let mut group = criterion.benchmark_group(format!("utf8, {name}"));
        for size in [125, 1 << 10, 64 << 10] {
            let mut text = words.repeat(size / words.len() + 1);
            while text.len() > size {
                text.pop();
            }
            let bytes = text.as_bytes();
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_function(BenchmarkId::new("std", size), |bencher| {
                bencher.iter(|| std::str::from_utf8(black_box(bytes)).is_ok());
            });
            group.bench_function(BenchmarkId::new("simdutf8", size), |bencher| {
                bencher.iter(|| simdutf8::basic::from_utf8(black_box(bytes)).is_ok());
            });
            for (name, chunk) in [("whole", size), ("chunks of 1000", 1000)] {
                group.bench_function(BenchmarkId::new(name, size), |bencher| {
                    bencher.iter(|| {
                        let mut validator = Utf8Validator::default();
                        black_box(bytes).chunks(chunk).try_for_each(|chunk| validator.push(chunk)).is_ok()
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = common::config();
    targets = utf8
}
criterion_main!(benches);
