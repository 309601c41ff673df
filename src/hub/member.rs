//! A member: where its messages go, and how far it is.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use crate::proto::Batch;

use super::audience::MemberId;
use super::content::{Content, Form, Lifetime};
use super::lag::{Chunk, Lag};
use super::ring::{Entry, Ring};
use super::room::{Accounting, lock};

/// Where a member's messages go.
///
/// Nothing here may wait. [`Outlet::deliver`], [`Outlet::deliver_missed`] and [`Outlet::wake_when_ready`] are called
/// with a lock of the room held, so they must not call back into it. One that panics counts as closed.
pub trait Outlet: Send + Sync {
    /// Takes what there is room for of the batch's messages in `range`, from the front.
    fn deliver(&self, batch: &Batch, range: Range<usize>) -> Delivery;

    /// Takes the news that messages were missed, if there is room for it: [`Delivery::Taken`] with 1 or 0.
    fn deliver_missed(&self, missed: Missed) -> Delivery;

    /// Wakes `waker` once there is room again, unless there is some already: then it says `true`.
    fn wake_when_ready(&self, waker: &Waker) -> bool;

    /// Too much waits for it: the member is out, and is to be disconnected. Called with no lock held.
    fn on_too_slow(&self);
}

/// What became of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// So many of them will reach the member; for the rest there is no room.
    Taken(usize),
    /// The member is gone.
    Closed,
}

/// What happens to a member that is too slow: for which more waits than `queue_bytes`.
///
/// What lies between its place and the end of the room's messages counts, its own messages included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// It is disconnected; it may come back.
    #[default]
    Disconnect,
    /// It misses the oldest messages.
    DropOldest,
    /// It misses the newest messages.
    DropNewest,
    /// Of messages with the same key it gets the newest; otherwise it misses the oldest.
    LatestPerKey,
}

/// Messages that a member won't get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// How many.
    pub count: u64,
    /// The offset of the first of them that is kept.
    pub first: u64,
    /// The offset of the last one that is; it is less than `first` if none of them is.
    pub last: u64,
}

impl Missed {
    pub(super) fn one<C: Content>(entry: &Entry<C>) -> Self {
        let last = entry.stamp().offset;
        let first = if entry.lifetime == Lifetime::Kept { last } else { last + 1 };
        Self { count: 1, first, last }
    }

    pub(super) fn join(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

/// A member of a room.
pub(super) struct Member<C> {
    pub(super) id: MemberId,
    pub(super) form: Form,
    pub(super) outlet: Arc<dyn Outlet>,
    /// The entry that it gets next.
    pub(super) cursor: u64,
    /// `Some` while it is slow.
    pub(super) lag: Option<Box<Lag<C>>>,
}

/// Why a member can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Out {
    TooSlow,
    Closed,
}

/// How far a slow member came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CaughtUp {
    /// It is slow no more.
    Yes,
    /// Its outlet takes no more.
    Waits,
    /// There is more, but it is others' turn.
    GoesOn,
}

/// How many chunks a slow member gets before others have their turn.
const MAX_CHUNKS: usize = 4;

impl<C: Content> Member<C> {
    /// How many bytes wait for it.
    pub(super) fn waiting(&self, ring: &Ring<C>) -> usize {
        ring.lag(self.cursor) as usize + self.lag.as_ref().map_or(0, |lag| lag.ahead_bytes())
    }

    /// How many messages wait for it.
    pub(super) fn pending(&self, ring: &Ring<C>) -> u64 {
        let behind = ring.live_from(self.cursor).filter(|entry| entry.is_for(self.form, self.id)).count();
        behind as u64 + self.lag.as_ref().map_or(0, |lag| lag.ahead_entries())
    }

    /// Hands its outlet messages; [`Delivery::Taken`] with no more than there are.
    pub(super) fn deliver(&self, batch: &Batch, range: Range<usize>) -> Delivery {
        let count = range.len();
        match guard(|| self.outlet.deliver(batch, range)) {
            Some(Delivery::Taken(taken)) => Delivery::Taken(taken.min(count)),
            Some(Delivery::Closed) | None => Delivery::Closed,
        }
    }

    /// Has its waker called once there is room; `true` if there is room already.
    pub(super) fn wait(&self) -> bool {
        // Whoever panics here does so again when it is asked to take something, and is closed.
        self.lag.as_ref().is_some_and(|lag| guard(|| self.outlet.wake_when_ready(&lag.waker)).unwrap_or(true))
    }

    /// Puts it among those that have room again.
    pub(super) fn wake(&self) {
        if let Some(lag) = &self.lag {
            lag.waker.wake_by_ref();
        }
    }

    /// Applies the room's policy to a slow member for which more than `budget` bytes wait.
    pub(super) fn enforce(
        &mut self,
        ring: &Ring<C>,
        (policy, budget): (Policy, usize),
        books: &mut Accounting,
    ) -> Result<(), Out> {
        let Self { id, form, cursor, lag: Some(lag), .. } = self else { return Ok(()) };
        let waiting = |cursor: u64, lag: &Lag<C>| ring.lag(cursor) as usize + lag.ahead_bytes();
        if policy == Policy::LatestPerKey && waiting(*cursor, lag) > budget {
            lag.drop_superseded(ring, books);
        }
        if waiting(*cursor, lag) <= budget {
            return Ok(());
        }
        if policy == Policy::Disconnect {
            return Err(Out::TooSlow);
        }
        for entry in ring.live_from(*cursor) {
            // The newest go, or as many of the oldest as need be.
            if policy != Policy::DropNewest && waiting(*cursor, lag) <= budget {
                break;
            }
            *cursor = entry.seq + 1;
            if !entry.is_for(*form, *id) {
                continue;
            }
            let keep = match policy {
                Policy::DropNewest => lag.ahead_bytes() + entry.cost() <= budget,
                Policy::LatestPerKey => ring.is_newest(entry),
                Policy::DropOldest | Policy::Disconnect => false,
            };
            if keep && entry.lifetime != Lifetime::Ephemeral {
                lag.push_entry(entry.clone());
            } else {
                lag.drop_entry(entry, books);
            }
        }
        lag.drop_oldest(budget, books);
        Ok(())
    }

    /// Gives a slow member what waits for it; it is slow no more once it has all there is.
    pub(super) fn catch_up(
        &mut self,
        books: &mut Accounting,
        ring: &Mutex<Ring<C>>,
    ) -> Result<CaughtUp, Out> {
        for _ in 0..MAX_CHUNKS {
            let Some(lag) = &self.lag else { return Ok(CaughtUp::Yes) };
            let has_taken = if !lag.is_ahead_empty() {
                self.deliver_ahead(books)?
            } else if let Some(chunk) = Chunk::read(self, &lock(ring)) {
                self.deliver_chunk(chunk, books)?
            } else {
                self.lag = None;
                return Ok(CaughtUp::Yes);
            };
            if !has_taken {
                return Ok(CaughtUp::Waits);
            }
        }
        Ok(CaughtUp::GoesOn)
    }

    /// Whether what was tried was taken: the news of what it missed, or the messages in front of that.
    fn deliver_ahead(&mut self, books: &mut Accounting) -> Result<bool, Out> {
        let Some(lag) = &self.lag else { return Ok(true) };
        if let Some(missed) = lag.missed_first() {
            let delivery = guard(|| self.outlet.deliver_missed(missed)).unwrap_or(Delivery::Closed);
            return match delivery {
                Delivery::Taken(0) => Ok(false),
                Delivery::Taken(_) => {
                    self.settle_ahead(1);
                    Ok(true)
                }
                Delivery::Closed => Err(Out::Closed),
            };
        }
        let batch = lag.entries_first(self.form);
        let Delivery::Taken(taken) = self.deliver(&batch, 0..batch.len()) else { return Err(Out::Closed) };
        books.delivered += taken as u64;
        self.settle_ahead(taken);
        Ok(taken == batch.len())
    }

    fn settle_ahead(&mut self, count: usize) {
        if let Some(lag) = &mut self.lag {
            lag.pop(count);
        }
    }

    /// Whether all of it was taken.
    fn deliver_chunk(&mut self, chunk: Chunk<C>, books: &mut Accounting) -> Result<bool, Out> {
        let batch = chunk.batch(self.form);
        let mut taken = 0;
        if !batch.is_empty() {
            let Delivery::Taken(count) = self.deliver(&batch, 0..batch.len()) else {
                return Err(Out::Closed);
            };
            taken = count;
        }
        books.delivered += taken as u64;
        self.cursor = chunk.cursor_after(taken);
        if let Some(lag) = &mut self.lag {
            // Only what lies in front of the cursor now is settled.
            let settled = chunk.dropped.iter().filter(|entry| entry.seq < self.cursor);
            settled.for_each(|entry| lag.drop_entry(entry, books));
        }
        Ok(taken == batch.len())
    }
}

/// What an outlet says, unless it panics: then its member is alone with that.
fn guard<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}
