//! What waits for a slow member, and the policies for what doesn't fit.

use std::collections::VecDeque;
use std::sync::Arc;

use super::room::Entry;

/// What happens to a member that is too slow: whose pending messages exceed the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// It is disconnected (Close 1013); it may come back.
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

    fn join(self, later: Self) -> Self {
        Self {
            count: self.count + later.count,
            first: self.first.min(later.first),
            last: self.last.max(later.last),
        }
    }
}

/// What comes next for a slow member.
#[derive(Clone, Debug)]
pub(super) enum Next {
    Entry(Arc<Entry>),
    Missed(Missed),
}

/// The messages that a slow member hasn't had, oldest first, with what it has missed between them.
///
/// Invariants: no two `Missed` stand side by side; `bytes` and `entries` are those of the entries.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Bounded by `Settings::queue_bytes`.
    queue: VecDeque<Next>,
    bytes: usize,
    entries: u64,
}

/// The member can't be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooSlow;

impl Pending {
    /// Adds an entry by `policy` and returns how many messages were dropped for it.
    pub(super) fn push(&mut self, entry: Arc<Entry>, policy: Policy, budget: usize) -> Result<u64, TooSlow> {
        let mut dropped = 0;
        if policy == Policy::LatestPerKey {
            dropped += self.drop_superseded(&entry);
        }
        let fits = |bytes: usize| bytes + entry.cost() <= budget;
        match policy {
            Policy::Disconnect if !fits(self.bytes) => return Err(TooSlow),
            Policy::DropNewest if !fits(self.bytes) => {
                self.push_missed(Missed::one(entry.offset));
                return Ok(dropped + 1);
            }
            Policy::DropOldest | Policy::LatestPerKey => {
                while !fits(self.bytes) && self.drop_oldest() {
                    dropped += 1;
                }
            }
            Policy::Disconnect | Policy::DropNewest => {}
        }
        self.bytes += entry.cost();
        self.entries += 1;
        self.queue.push_back(Next::Entry(entry));
        Ok(dropped)
    }

    /// What comes next.
    pub(super) fn front(&self) -> Option<&Next> {
        self.queue.front()
    }

    /// The member has had what came next.
    pub(super) fn pop(&mut self) {
        if let Some(Next::Entry(entry)) = self.queue.pop_front() {
            self.bytes -= entry.cost();
            self.entries -= 1;
        }
    }

    /// How many messages wait.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(at) = self.queue.iter().position(|next| matches!(next, Next::Entry(_))) else {
            return false;
        };
        self.replace_by_missed(at);
        true
    }

    fn drop_superseded(&mut self, newer: &Entry) -> u64 {
        let Some(key) = &newer.key else { return 0 };
        let is_older = |next: &Next| matches!(next, Next::Entry(entry) if entry.key.as_ref() == Some(key));
        let Some(at) = self.queue.iter().position(is_older) else { return 0 };
        self.replace_by_missed(at);
        1
    }

    fn replace_by_missed(&mut self, at: usize) {
        let Some(Next::Entry(entry)) = self.queue.get(at) else { return };
        self.bytes -= entry.cost();
        self.entries -= 1;
        self.queue[at] = Next::Missed(Missed::one(entry.offset));
        // Neighbours that were missed too become one.
        if at + 1 < self.queue.len() {
            self.join_at(at);
        }
        if at > 0 {
            self.join_at(at - 1);
        }
    }

    fn join_at(&mut self, at: usize) {
        if let (Next::Missed(older), Next::Missed(newer)) = (&self.queue[at], &self.queue[at + 1]) {
            self.queue[at] = Next::Missed(older.join(*newer));
            self.queue.remove(at + 1);
        }
    }

    fn push_missed(&mut self, missed: Missed) {
        self.queue.push_back(Next::Missed(missed));
        if self.queue.len() > 1 {
            self.join_at(self.queue.len() - 2);
        }
    }
}
