//! A member: where its messages go, and how far it is.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use crate::proto::Batch;

use super::content::{Content, Form, Lifetime};
use super::ring::{Entry, Ring};
use super::room::{Accounting, MemberId};

/// Where a member's messages go. Nothing here may wait, and nothing may call back into the room.
pub trait Outlet: Send + Sync {
    /// Takes what there is room for of the batch's messages in `range`, from the front.
    fn deliver(&self, batch: &Batch, range: Range<usize>) -> Delivery;

    /// Takes the news that messages were missed, if there is room for it: [`Delivery::Taken`] with 1 or 0.
    fn deliver_missed(&self, missed: Missed) -> Delivery;

    /// Wakes `waker` once there is room again, unless there is some already: then it says `true`.
    fn wake_when_ready(&self, waker: &Waker) -> bool;

    /// Too much waits for it: the member is out, and is to be disconnected.
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
    /// The offset of the first one in its room.
    pub first: u64,
    /// The offset of the last one.
    pub last: u64,
}

impl Missed {
    fn one(offset: u64) -> Self {
        Self { count: 1, first: offset, last: offset }
    }

    fn join(self, other: Self) -> Self {
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
    /// Whether it is counted among those whom messages are for. Changed under the ring's lock only.
    pub(super) is_in: Arc<AtomicBool>,
    /// The entry that it gets next.
    pub(super) cursor: u64,
    /// `Some` while it is slow.
    pub(super) lag: Option<Box<Lag<C>>>,
}

/// How a slow member stands.
pub(super) struct Lag<C> {
    /// What comes before the entries from its cursor on. Bounded by `queue_bytes`.
    ahead: VecDeque<Next<C>>,
    ahead_bytes: usize,
    pub(super) waker: Waker,
    /// Whether it waits for its outlet, or for whoever has joined to say that it may begin.
    pub(super) is_waiting: bool,
}

enum Next<C> {
    Entry(Arc<Entry<C>>),
    Missed(Missed),
}

/// Why a member can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Out {
    TooSlow,
    Closed,
}

/// How much a slow member gets at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// And how many messages.
const CHUNK_MESSAGES: usize = 1024;

impl<C: Content> Lag<C> {
    pub(super) fn new(waker: Waker) -> Self {
        Self { ahead: VecDeque::new(), ahead_bytes: 0, waker, is_waiting: true }
    }

    fn push_entry(&mut self, entry: Arc<Entry<C>>) {
        self.ahead_bytes += entry.cost();
        self.ahead.push_back(Next::Entry(entry));
    }

    fn push_missed(&mut self, missed: Missed) {
        match self.ahead.back_mut() {
            Some(Next::Missed(before)) => *before = before.join(missed),
            _ => self.ahead.push_back(Next::Missed(missed)),
        }
    }

    fn pop(&mut self) -> Option<Next<C>> {
        let next = self.ahead.pop_front();
        if let Some(Next::Entry(entry)) = &next {
            self.ahead_bytes -= entry.cost();
        }
        next
    }

    /// How many messages wait in front of the cursor.
    pub(super) fn ahead_entries(&self) -> u64 {
        self.ahead.iter().filter(|next| matches!(next, Next::Entry(_))).count() as u64
    }

    /// Drops from `ahead` what has been superseded, and then the oldest beyond `budget`.
    fn shrink_ahead(&mut self, ring: &Ring<C>, budget: usize, books: &mut Accounting) {
        for next in std::mem::take(&mut self.ahead) {
            match next {
                Next::Entry(entry) if self.ahead_bytes > budget || ring.is_superseded(&entry) => {
                    self.ahead_bytes -= entry.cost();
                    books.dropped += 1;
                    self.push_missed(Missed::one(entry.stamp().offset));
                }
                Next::Entry(entry) => self.ahead.push_back(Next::Entry(entry)),
                Next::Missed(missed) => self.push_missed(missed),
            }
        }
    }
}

impl<C: Content> Member<C> {
    /// Applies the room's policy to a slow member for which more than `budget` bytes wait.
    pub(super) fn enforce(
        &mut self,
        ring: &Ring<C>,
        (policy, budget): (Policy, usize),
        books: &mut Accounting,
    ) -> Result<(), Out> {
        let Self { id, form, cursor, lag: Some(lag), .. } = self else { return Ok(()) };
        let waiting = |cursor: u64, lag: &Lag<C>| ring.lag(cursor) as usize + lag.ahead_bytes;
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
                Policy::DropNewest => lag.ahead_bytes + entry.cost() <= budget,
                Policy::LatestPerKey => ring.is_newest(entry),
                Policy::DropOldest | Policy::Disconnect => false,
            };
            if keep && entry.lifetime != Lifetime::Ephemeral {
                lag.push_entry(entry.clone());
            } else {
                books.dropped += 1;
                if entry.lifetime != Lifetime::Ephemeral {
                    lag.push_missed(Missed::one(entry.stamp().offset));
                }
            }
        }
        if policy == Policy::LatestPerKey {
            lag.shrink_ahead(ring, budget, books);
        }
        Ok(())
    }

    /// Gives a slow member what waits for it, up to `end`; it is slow no more once it has all of that.
    pub(super) fn catch_up(
        &mut self,
        end: u64,
        books: &mut Accounting,
        ring: &Mutex<Ring<C>>,
    ) -> Result<CaughtUp, Out> {
        for _ in 0..MAX_CHUNKS {
            if !self.deliver_ahead(books)? {
                return Ok(CaughtUp::Waits);
            }
            let chunk = Chunk::read(self, &ring.lock().unwrap_or_else(PoisonError::into_inner), end);
            let Some(taken) = self.deliver_chunk(chunk, books)? else {
                self.lag = None;
                return Ok(CaughtUp::Yes);
            };
            if !taken {
                return Ok(CaughtUp::Waits);
            }
        }
        Ok(CaughtUp::GoesOn)
    }

    /// Whether all of it was taken.
    fn deliver_ahead(&mut self, books: &mut Accounting) -> Result<bool, Out> {
        let Some(lag) = &mut self.lag else { return Ok(true) };
        while let Some(next) = lag.ahead.front() {
            let (delivery, messages) = match next {
                Next::Entry(entry) => (self.outlet.deliver(&entry.prepared(self.form).into(), 0..1), 1),
                Next::Missed(missed) => (self.outlet.deliver_missed(*missed), 0),
            };
            match delivery {
                Delivery::Taken(0) => return Ok(false),
                Delivery::Taken(_) => {
                    books.delivered += messages;
                    lag.pop();
                }
                Delivery::Closed => return Err(Out::Closed),
            }
        }
        Ok(true)
    }

    /// Whether all of it was taken; `None` if there was nothing.
    fn deliver_chunk(&mut self, chunk: Chunk, books: &mut Accounting) -> Result<Option<bool>, Out> {
        if chunk.end == self.cursor {
            return Ok(None);
        }
        let messages = chunk.batch.len();
        let taken = match messages {
            0 => 0,
            _ => match self.outlet.deliver(&chunk.batch, 0..messages) {
                Delivery::Taken(taken) => taken.min(messages),
                Delivery::Closed => return Err(Out::Closed),
            },
        };
        books.delivered += taken as u64;
        self.cursor = chunk.seqs.get(taken).copied().unwrap_or(chunk.end);
        // Only what lies behind the cursor now is settled.
        for (_, missed) in chunk.dropped.into_iter().filter(|(seq, _)| *seq < self.cursor) {
            books.dropped += 1;
            if let (Some(missed), Some(lag)) = (missed, &mut self.lag) {
                lag.push_missed(missed);
            }
        }
        Ok(Some(taken == messages))
    }
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
const MAX_CHUNKS: usize = 16;

/// What a slow member gets next.
#[derive(Default)]
struct Chunk {
    batch: Batch,
    /// Where each message of the batch is.
    seqs: Vec<u64>,
    /// What it doesn't get although it is for it: because it is ephemeral, or because a newer one has come, which it
    /// is told.
    dropped: Vec<(u64, Option<Missed>)>,
    end: u64,
}

impl Chunk {
    fn read<C: Content>(member: &Member<C>, ring: &Ring<C>, end: u64) -> Self {
        let mut chunk = Self { end: member.cursor, ..Self::default() };
        let mut messages = Vec::new();
        let mut bytes = 0;
        for entry in ring.live_from(member.cursor).take_while(|entry| entry.seq < end) {
            if bytes > 0 && bytes + entry.cost() > CHUNK_BYTES || messages.len() >= CHUNK_MESSAGES {
                break;
            }
            chunk.end = entry.seq + 1;
            if !entry.is_for(member.form, member.id) {
                continue;
            }
            if entry.lifetime == Lifetime::Ephemeral {
                chunk.dropped.push((entry.seq, None));
            } else if ring.is_superseded(entry) {
                chunk.dropped.push((entry.seq, Some(Missed::one(entry.stamp().offset))));
            } else {
                bytes += entry.cost();
                messages.push(entry.prepared(member.form));
                chunk.seqs.push(entry.seq);
            }
        }
        chunk.batch = Batch::new(messages);
        chunk
    }
}
