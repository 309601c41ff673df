//! permessage-deflate through `Sender` and `Receiver`, against flate2 alone on the same bytes.

mod common;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use std::hint::black_box;
use switchboard::proto::deflate::{DeflateConfig, DeflateParams};
use switchboard::proto::{Limits, Message, Receiver, Role, Sender};

fn deflate(criterion: &mut Criterion) {
    let params = DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        ..DeflateParams::default()
    };
    let config = DeflateConfig::default();
    let mut group = criterion.benchmark_group("deflate");
    for size in [125, 1 << 10, 16 << 10, 64 << 10] {
        let text = Bytes::from(common::text(size));
        group.throughput(Throughput::Bytes(size as u64));

        let mut raw = Compress::new(Compression::new(config.level.into()), false);
        let mut out = Vec::with_capacity(2 * size + 64);
        group.bench_function(BenchmarkId::new("compress, flate2", size), |bencher| {
            bencher.iter(|| {
                raw.reset();
                out.clear();
                raw.compress_vec(black_box(&text), &mut out, FlushCompress::Sync).expect("it has room");
            });
        });
        let packed = out.clone();
        let mut sender = Sender::server().with_deflate(params, &config);
        group.bench_function(BenchmarkId::new("compress, send", size), |bencher| {
            bencher.iter(|| {
                sender.send(Message::Binary(text.clone())).expect("it is open");
                common::drain(&mut sender, |bytes| {
                    black_box(bytes);
                });
            });
        });

        let mut raw = Decompress::new(false);
        group.bench_function(BenchmarkId::new("inflate, flate2", size), |bencher| {
            bencher.iter(|| {
                raw.reset(false);
                out.clear();
                raw.decompress_vec(black_box(&packed), &mut out, FlushDecompress::Sync).expect("it is valid");
            });
        });
        let mut wire = Vec::new();
        sender.send(Message::Binary(text.clone())).expect("it is open");
        common::drain(&mut sender, |bytes| wire.extend_from_slice(bytes));
        let mut receiver = Receiver::new(Role::Client, Limits::default()).with_deflate(params);
        group.bench_function(BenchmarkId::new("inflate, receive", size), |bencher| {
            bencher.iter(|| receiver.poll_event(&mut black_box(&mut wire[..])).expect("it is valid"));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = common::config();
    targets = deflate
}
criterion_main!(benches);
