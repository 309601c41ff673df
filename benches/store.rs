//! What it costs to store: records through the store, against one write and `fsync` of the same bytes.
//!
//! `cargo bench --bench store --features cli`. Each step hands over so many records at once and waits until all of
//! them are on disk; the plain file beside it is given the same bytes in one write and synced. It measures the disk
//! under the system's folder for temporary files; in memory (`tmpfs`) it would say nothing.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write;
use std::path::PathBuf;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use switchboard::chat::store::{Record, Retention, Store};

/// How many records wait at once.
const BATCHES: [usize; 4] = [1, 16, 256, 2048];

const TEXT_BYTES: usize = 200;

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn record(offset: u64) -> Record {
    let text = "x".repeat(TEXT_BYTES);
    Record { offset, time_ms: u64::MAX / 2, from: "Ann".into(), text, ..Record::default() }
}

fn append(criterion: &mut Criterion) {
    let folder = Folder(std::env::temp_dir().join(format!("switchboard-bench-{}", std::process::id())));
    let store = Store::open(&folder.0, Retention::default()).unwrap();
    let mut plain = File::create(folder.0.join("plain")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut group = criterion.benchmark_group("store");
    group.sample_size(20);
    let mut offset = 0;
    for batch in BATCHES {
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("append", batch), |bencher| {
            bencher.iter(|| {
                let durable: Vec<_> = (0..batch)
                    .map(|_| {
                        offset += 1;
                        store.append("lobby", "epoch", &record(offset))
                    })
                    .collect();
                for durable in durable {
                    runtime.block_on(durable).unwrap();
                }
            });
        });
        group.bench_function(BenchmarkId::new("write and fsync", batch), |bencher| {
            let bytes = vec![b'x'; batch * (TEXT_BYTES + 22)];
            bencher.iter(|| {
                plain.write_all(black_box(&bytes)).unwrap();
                plain.sync_data().unwrap();
            });
        });
    }
    group.finish();
}

/// A room that comes into memory with all that it may hold.
fn load(criterion: &mut Criterion) {
    let folder = Folder(std::env::temp_dir().join(format!("switchboard-bench-{}", std::process::id())));
    let store = Store::open(&folder.0, Retention::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let durable: Vec<_> = (0..1000).map(|offset| store.append("lobby", "epoch", &record(offset))).collect();
    for durable in durable {
        runtime.block_on(durable).unwrap();
    }
    let mut group = criterion.benchmark_group("store");
    group.sample_size(20);
    group.bench_function("load 1000", |bencher| {
        bencher.iter(|| {
            let saved = store.load("lobby").unwrap().unwrap();
            assert_eq!(saved.records.len(), 1000);
        });
    });
    group.finish();
}

criterion_group!(benches, append, load);
criterion_main!(benches);
