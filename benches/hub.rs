//! What a delivery costs: publishing to members in memory, against calling their outlets in a plain loop.

mod common;

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use switchboard::hub::{Delivery, Form, Hub, Missed, Outlet, Publish, Retention, Settings};
use switchboard::{Batch, Message, Prepared};

/// A member that only counts.
#[derive(Default)]
struct Counter {
    messages: AtomicUsize,
}

impl Outlet for Counter {
    fn deliver(&self, batch: &Batch, range: Range<usize>) -> Delivery {
        black_box(batch);
        // Its shard alone writes this.
        let messages = self.messages.load(Ordering::Relaxed) + range.len();
        self.messages.store(messages, Ordering::Release);
        Delivery::Taken(range.len())
    }

    fn deliver_missed(&self, _: Missed) -> Delivery {
        Delivery::Taken(1)
    }

    fn wake_when_ready(&self, _: &Waker) -> bool {
        true
    }

    fn on_too_slow(&self) {}
}

const MEMBERS: [usize; 3] = [1, 100, 10_000];

/// Messages in a turn.
const MESSAGES: [usize; 2] = [1, 16];

fn settings() -> Settings {
    Settings { retention: Retention::NONE, ..Settings::default() }
}

fn message() -> Prepared {
    Message::text(String::from_utf8_lossy(&common::text(64)).into_owned()).into()
}

fn deliveries(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish");
    for (members, messages) in MEMBERS.into_iter().flat_map(|members| MESSAGES.map(|one| (members, one))) {
        let counters: Vec<Arc<Counter>> = (0..members).map(|_| Arc::default()).collect();
        let id = format!("{messages} to {members}");
        group.throughput(Throughput::Elements((members * messages) as u64));
        let outlets: Vec<Arc<dyn Outlet>> = counters.iter().map(|one| one.clone() as _).collect();
        let prepared = message();
        group.bench_function(BenchmarkId::new("plain loop", &id), |bencher| {
            bencher.iter(|| {
                let batch = Batch::new(vec![prepared.clone(); messages]);
                outlets.iter().for_each(|outlet| _ = black_box(outlet.deliver(&batch, 0..messages)));
            });
        });
        // One thread, so that what is measured is work and not the distance between threads.
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let hub = runtime.block_on(async { Hub::new(settings()) });
        let room = hub.room("bench");
        let _members: Vec<_> = outlets.iter().map(|one| room.join(one.clone(), Form::default())).collect();
        let last = &counters[members - 1].messages;
        group.bench_function(BenchmarkId::new("hub", &id), |bencher| {
            bencher.iter_custom(|turns| {
                runtime.block_on(async {
                    while room.slow_members() > 0 {
                        tokio::task::yield_now().await;
                    }
                    let start = Instant::now();
                    for _ in 0..turns {
                        let before = last.load(Ordering::Acquire);
                        for _ in 0..messages {
                            room.publish(Publish::new(prepared.clone()));
                        }
                        while last.load(Ordering::Acquire) < before + messages {
                            tokio::task::yield_now().await;
                        }
                    }
                    start.elapsed()
                })
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = common::config();
    targets = deliveries
}
criterion_main!(benches);
