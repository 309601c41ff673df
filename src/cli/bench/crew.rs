//! The threads that make the load. Each has a runtime and connections of its own; they share nothing but counters.

use std::future::Future;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::net::{Error, WebSocket};

use super::errors::{self, Errors};
use super::latency::Latencies;
use super::progress;
use super::target::Dialer;

/// What a run's threads have in common.
#[derive(Debug)]
pub(super) struct Crew {
    threads: usize,
    barrier: Barrier,
    counters: Vec<Counters>,
    /// How many connections each thread has made of each kind.
    made: Vec<[AtomicU64; KINDS]>,
    start: OnceLock<Instant>,
    is_stopped: AtomicBool,
}

/// Kinds of connections a benchmark has at most: those that send, and those that listen.
const KINDS: usize = 2;

/// What one thread counts while it runs; a cache line of its own, since everybody looks.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counters {
    pub(super) connected: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) others: AtomicU64,
}

impl Counters {
    /// One more. Only this thread writes.
    pub(super) fn add(counter: &AtomicU64) {
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// How many connections are made at once, a thread.
const CONCURRENT_CONNECTS: usize = 64;

impl Crew {
    pub(super) fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self {
            threads,
            barrier: Barrier::new(threads),
            counters: (0..threads).map(|_| Counters::default()).collect(),
            made: (0..threads).map(|_| Default::default()).collect(),
            start: OnceLock::new(),
            is_stopped: AtomicBool::new(false),
        })
    }

    /// Runs `work` on every thread, with `progress` shown meanwhile; what each came to, in their order.
    ///
    /// # Errors
    ///
    /// A runtime that can't start.
    pub(super) fn run<T, F>(
        self: &Arc<Self>,
        plan: &progress::Plan,
        work: impl Fn(Worker) -> F + Sync,
    ) -> Result<Vec<T>, String>
    where
        T: Send,
        F: Future<Output = T>,
    {
        // All of them before the first thread: one that is missing would keep the others waiting.
        let runtimes = (0..self.threads)
            .map(|_| crate::cli::runtime(Some(1)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("the runtime can't start: {error}"))?;
        let work = &work;
        std::thread::scope(|scope| {
            let threads: Vec<_> = runtimes
                .into_iter()
                .enumerate()
                .map(|(thread, runtime)| {
                    let worker = Worker { crew: self.clone(), thread };
                    scope.spawn(move || runtime.block_on(worker.until_stopped(work)))
                })
                .collect();
            progress::show(self, plan, || threads.iter().all(|thread| thread.is_finished()));
            Ok(threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect())
        })
    }

    /// When the load begins; `None` while connections are made.
    pub(super) fn start(&self) -> Option<Instant> {
        self.start.get().copied()
    }

    /// A counter's sum over all threads.
    pub(super) fn sum(&self, counter: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        self.counters.iter().map(|counters| counter(counters).load(Ordering::Relaxed)).sum()
    }
}

/// One thread of the crew.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    crew: Arc<Crew>,
    thread: usize,
}

/// How long the load waits for all threads to have heard that it begins.
const RUN_UP: Duration = Duration::from_millis(20);

impl Worker {
    /// Works, and meanwhile hears Ctrl-C: then the load ends early and is reported as far as it came.
    async fn until_stopped<T, F: Future<Output = T>>(self, work: impl Fn(Self) -> F) -> T {
        let crew = self.crew.clone();
        let mut work = std::pin::pin!(work(self));
        tokio::select! {
            result = &mut work => return result,
            _ = tokio::signal::ctrl_c() => crew.is_stopped.store(true, Ordering::Relaxed),
        }
        work.await
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.crew.is_stopped.load(Ordering::Relaxed)
    }

    pub(super) fn is_first(&self) -> bool {
        self.thread == 0
    }

    /// How many threads there are.
    pub(super) fn threads(&self) -> u32 {
        self.crew.threads as u32
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.crew.counters[self.thread]
    }

    pub(super) fn crew(&self) -> &Crew {
        &self.crew
    }

    /// This thread's part of so many.
    pub(super) fn share(&self, of: usize) -> Range<usize> {
        let bound = |thread| of * thread / self.crew.threads;
        bound(self.thread)..bound(self.thread + 1)
    }

    /// Waits until all threads have come as far.
    pub(super) async fn meet(&self) {
        self.crew.barrier.wait().await;
    }

    /// Says how many connections of each kind this thread has made, and learns how many all have.
    pub(super) async fn count_off(&self, made: [u64; KINDS]) -> [Made; KINDS] {
        for (kind, made) in made.into_iter().enumerate() {
            self.crew.made[self.thread][kind].store(made, Ordering::Relaxed);
        }
        self.meet().await;
        std::array::from_fn(|kind| {
            let sum = |threads: &[[AtomicU64; KINDS]]| {
                threads.iter().map(|made| made[kind].load(Ordering::Relaxed)).sum::<u64>()
            };
            let before = sum(&self.crew.made[..self.thread]);
            Made { mine: before..before + made[kind], all: sum(&self.crew.made) }
        })
    }

    /// The moment at which the load begins, the same for all threads.
    pub(super) fn start(&self) -> Instant {
        *self.crew.start.get_or_init(|| Instant::now() + RUN_UP)
    }

    /// Makes connections, a few at a time; what becomes of each is `then`'s, which gets its number.
    ///
    /// At a `pace` the first is begun at its moment and each next one so much later.
    pub(super) async fn connect<T, F>(
        &self,
        dialer: &Arc<Dialer>,
        numbers: Range<usize>,
        pace: Option<(Instant, Duration)>,
        then: impl Fn(WebSocket, usize) -> F + Clone + Send + 'static,
    ) -> Connections<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failed>> + Send,
    {
        let mut connections = Connections::default();
        let mut running = JoinSet::new();
        for (at, number) in numbers.enumerate() {
            let due = pace.map(|(start, interval)| start + interval * at as u32);
            if let Some(due) = due {
                self.sleep_until(due).await;
            }
            if self.is_stopped() {
                break;
            }
            while running.len() >= CONCURRENT_CONNECTS {
                self.one_more(&mut running, &mut connections).await;
            }
            let (dialer, then) = (dialer.clone(), then.clone());
            running.spawn(async move {
                let began = due.unwrap_or_else(Instant::now);
                let socket = dialer.connect().await?;
                let took = began.elapsed();
                Ok((then(socket, number).await?, took))
            });
        }
        while !running.is_empty() {
            self.one_more(&mut running, &mut connections).await;
        }
        connections
    }

    async fn one_more<T: 'static>(
        &self,
        running: &mut JoinSet<Result<(T, Duration), Failed>>,
        connections: &mut Connections<T>,
    ) {
        match running.join_next().await {
            Some(Ok(Ok((connection, took)))) => {
                connections.made.push(connection);
                connections.times.record(took);
                Counters::add(&self.counters().connected);
            }
            Some(Ok(Err(Failed(why)))) => connections.failed.add(why),
            Some(Err(error)) => connections.failed.add(error.to_string()),
            None => {}
        }
    }

    /// Waits until `at`, or until the user has seen enough.
    pub(super) async fn sleep_until(&self, at: Instant) {
        while Instant::now() < at && !self.is_stopped() {
            let left = at.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(Duration::from_millis(50))).await;
        }
    }

    /// Waits until something holds, but no longer than `patience` after it last changed.
    pub(super) async fn wait_until(&self, patience: Duration, mut state: impl FnMut() -> (bool, u64)) {
        let (mut last, mut since) = (None, Instant::now());
        loop {
            let (holds, now) = state();
            if last != Some(now) {
                (last, since) = (Some(now), Instant::now());
            }
            if holds || since.elapsed() >= patience {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// What came of connecting.
#[derive(Debug)]
pub(super) struct Connections<T> {
    pub(super) made: Vec<T>,
    pub(super) failed: Errors,
    /// How long the opening handshakes took, from when they were meant to begin.
    pub(super) times: Latencies,
}

impl<T> Default for Connections<T> {
    fn default() -> Self {
        Self { made: Vec::new(), failed: Errors::default(), times: Latencies::default() }
    }
}

/// Connections of one kind: the numbers of this thread's, and how many there are.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) mine: Range<u64>,
    pub(super) all: u64,
}

/// Why there is no connection, for the user.
#[derive(Debug)]
pub(super) struct Failed(pub(super) String);

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(errors::explain(&error))
    }
}

/// Locks what tasks of one thread share; nobody panics with it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
