//! What a runtime does for its connections: one task that writes what was left behind and watches the deadlines.
//!
//! The task starts with a runtime's first connection and ends with the runtime. It has two parts. The *flusher*
//! takes connections off a list and writes what they have queued; being a task it runs behind whatever is ready.
//! The *wheel* looks at each connection when its next deadline may have come. It has no tick: it sleeps until the
//! nearest deadline, and without one there is no timer.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, Sleep};

use super::error::Error;

/// A connection as the helpers see it.
pub(super) trait Watched: Send + Sync {
    /// Writes what is queued.
    fn flush_late(&self);

    /// Ends the connection: its stream is broken.
    fn abandon(&self);

    /// Acts on what is due at `now` and says when to look again, if this look was the awaited one.
    fn look(&self, now: Millis) -> Option<Millis>;
}

/// Milliseconds since the runtime's first connection.
pub(super) type Millis = u64;

/// One runtime's helpers.
pub(super) struct Helpers {
    handle: Handle,
    epoch: Instant,
    /// Innermost lock: whoever holds it takes no other.
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    to_flush: Vec<Weak<dyn Watched>>,
    /// May hold connections that are gone, but no more of them than of others.
    looks: BinaryHeap<Look>,
    /// How many connections have gone since the last time that `looks` was rid of them.
    gone: usize,
    waker: Option<Waker>,
    /// The runtime is gone: nothing is taken any more.
    is_retired: bool,
}

/// When to look at a connection; the heap has the earliest on top.
struct Look {
    at: Millis,
    connection: Weak<dyn Watched>,
}

/// So many connections may be gone before it is worth looking for what they left.
const MIN_GONE: usize = 64;

static RUNTIMES: Mutex<Vec<(Id, Arc<Helpers>)>> = Mutex::new(Vec::new());

impl Helpers {
    /// The helpers of the runtime we are in; they start if this is their first connection.
    pub(super) fn current() -> Result<Arc<Self>, Error> {
        let handle = Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let id = handle.id();
        let mut runtimes = RUNTIMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, helpers)) = runtimes.iter().find(|(other, _)| *other == id) {
            return Ok(helpers.clone());
        }
        let helpers =
            Arc::new(Self { handle: handle.clone(), epoch: Instant::now(), shared: Mutex::default() });
        runtimes.push((id, helpers.clone()));
        drop(runtimes);
        let retire = Retire { id, helpers: helpers.clone() };
        handle.spawn(Work { retire, sleep: None });
        Ok(helpers)
    }

    /// The runtime.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn now(&self) -> Millis {
        let elapsed = self.epoch.elapsed();
        elapsed.as_secs() * 1000 + Millis::from(elapsed.subsec_millis())
    }

    /// Microseconds since the runtime's first connection.
    pub(super) fn now_micros(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64
    }

    /// Has a connection written out soon, behind the ready tasks.
    pub(super) fn flush_soon(&self, connection: Weak<dyn Watched>) {
        let mut shared = self.lock();
        if shared.is_retired {
            return;
        }
        shared.to_flush.push(connection);
        wake_after(shared);
    }

    /// Looks at a connection at `at`, and then whenever it asks for.
    pub(super) fn look_at(&self, at: Millis, connection: Weak<dyn Watched>) {
        let mut shared = self.lock();
        if shared.is_retired {
            return;
        }
        let is_next = shared.looks.peek().is_none_or(|next| at < next.at);
        shared.looks.push(Look { at, connection });
        if is_next {
            wake_after(shared);
        }
    }

    /// A connection is gone. What is left of it is kept by its look, so many of those must not pile up.
    pub(super) fn on_gone(&self) {
        let mut shared = self.lock();
        shared.gone += 1;
        if shared.gone < MIN_GONE || shared.gone * 2 < shared.looks.len() {
            return;
        }
        shared.gone = 0;
        let looks = std::mem::take(&mut shared.looks);
        let (left, gone): (Vec<_>, Vec<_>) =
            looks.into_vec().into_iter().partition(|look| look.connection.strong_count() > 0);
        shared.looks = left.into();
        drop(shared);
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the helpers' task after the lock is released.
fn wake_after(mut shared: MutexGuard<'_, Shared>) {
    let waker = shared.waker.take();
    drop(shared);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The helpers' task.
struct Work {
    retire: Retire,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Future for Work {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let helpers = self.retire.helpers.clone();
        flush_all(&helpers);
        let next = look_at_due(&helpers);
        let mut is_due = false;
        if let Some(at) = next {
            let deadline = helpers.epoch + Duration::from_millis(at);
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
            is_due = sleep.as_mut().poll(cx).is_ready();
        }
        let mut shared = helpers.lock();
        if is_due || !shared.to_flush.is_empty() || shared.looks.peek().map(|look| look.at) != next {
            drop(shared);
            // A stream may want to be asked again and again: in between others run.
            cx.waker().wake_by_ref();
        } else if shared.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            shared.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

fn flush_all(helpers: &Helpers) {
    let to_flush = std::mem::take(&mut helpers.lock().to_flush);
    for connection in to_flush {
        if let Some(connection) = connection.upgrade() {
            guarded(&*connection, |connection| connection.flush_late());
        }
    }
}

/// A user's stream may panic. That ends its connection, and not the helpers of all others.
fn guarded<R: Default>(connection: &dyn Watched, act: impl FnOnce(&dyn Watched) -> R) -> R {
    // What a panic leaves half done of the connection is given up as a whole.
    catch_unwind(AssertUnwindSafe(|| act(connection))).unwrap_or_else(|_| {
        let _ = catch_unwind(AssertUnwindSafe(|| connection.abandon()));
        R::default()
    })
}

/// Looks at every connection whose time has come and returns when the next one's comes.
fn look_at_due(helpers: &Helpers) -> Option<Millis> {
    loop {
        let now = helpers.now();
        let look = {
            let mut shared = helpers.lock();
            let next = shared.looks.peek()?;
            if next.at > now {
                return Some(next.at);
            }
            shared.looks.pop().expect("it was just there")
        };
        let Some(connection) = look.connection.upgrade() else { continue };
        if let Some(at) = guarded(&*connection, |connection| connection.look(now)) {
            helpers.look_at(at.max(now + 1), look.connection);
        }
    }
}

/// Ends the helpers with their runtime, which drops the task that holds this.
struct Retire {
    id: Id,
    helpers: Arc<Helpers>,
}

impl Drop for Retire {
    fn drop(&mut self) {
        // A later runtime may bear the same id: only this one's entry goes.
        let mut runtimes = RUNTIMES.lock().unwrap_or_else(PoisonError::into_inner);
        runtimes.retain(|(id, helpers)| *id != self.id || !Arc::ptr_eq(helpers, &self.helpers));
        drop(runtimes);
        let mut shared = self.helpers.lock();
        let retired = Shared { is_retired: true, ..Shared::default() };
        drop(std::mem::replace(&mut *shared, retired));
    }
}

impl PartialEq for Look {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Look {}

impl PartialOrd for Look {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Look {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtimes_helpers_end_with_it() {
        let ids: Vec<_> = (0..20)
            .map(|_| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let helpers = runtime.block_on(async { Helpers::current().unwrap() });
                drop(runtime);
                assert!(helpers.lock().is_retired);
                Arc::as_ptr(&helpers) as usize
            })
            .collect();
        let left = RUNTIMES.lock().unwrap();
        assert!(left.iter().all(|(_, helpers)| !ids.contains(&(Arc::as_ptr(helpers) as usize))));
    }

    /// Something to look at.
    struct Connection;

    impl Watched for Connection {
        fn flush_late(&self) {}

        fn abandon(&self) {}

        fn look(&self, _: Millis) -> Option<Millis> {
            None
        }
    }

    #[tokio::test]
    async fn what_is_gone_is_not_looked_at_for_long() {
        let helpers = Helpers::current().unwrap();
        let before = helpers.lock().looks.len();
        for _ in 0..1000 {
            let connection: Arc<dyn Watched> = Arc::new(Connection);
            helpers.look_at(helpers.now() + 1_000_000, Arc::downgrade(&connection));
            drop(connection);
            helpers.on_gone();
        }
        assert!(helpers.lock().looks.len() <= before + MIN_GONE);
    }
}
