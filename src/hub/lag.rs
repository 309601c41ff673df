//! What waits for a slow member.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use crate::proto::Batch;

use super::content::{Content, Form, Lifetime};
use super::member::{Member, Missed};
use super::ring::{Entry, Ring};
use super::room::Accounting;

/// How a slow member stands.
pub(super) struct Lag<C> {
    /// What comes before the entries from its cursor on. Bounded by `queue_bytes`.
    ahead: VecDeque<Next<C>>,
    ahead_bytes: usize,
    pub(super) waker: Waker,
}

enum Next<C> {
    Entry(Arc<Entry<C>>),
    Missed(Missed),
}

/// How much a slow member gets at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// And how many messages.
const CHUNK_MESSAGES: usize = 1024;

impl<C: Content> Lag<C> {
    pub(super) fn new(waker: Waker) -> Self {
        Self { ahead: VecDeque::new(), ahead_bytes: 0, waker }
    }

    /// What the entries in front of the cursor cost.
    pub(super) fn ahead_bytes(&self) -> usize {
        self.ahead_bytes
    }

    pub(super) fn is_ahead_empty(&self) -> bool {
        self.ahead.is_empty()
    }

    /// How many messages wait in front of the cursor.
    pub(super) fn ahead_entries(&self) -> u64 {
        self.ahead.iter().filter(|next| matches!(next, Next::Entry(_))).count() as u64
    }

    /// The news of missed messages, if those come first.
    pub(super) fn missed_first(&self) -> Option<Missed> {
        match self.ahead.front() {
            Some(Next::Missed(missed)) => Some(*missed),
            _ => None,
        }
    }

    /// The messages that come first, up to the news of missed ones.
    pub(super) fn entries_first(&self, form: Form) -> Batch {
        let mut bytes = 0;
        let entries = self.ahead.iter().map_while(|next| match next {
            Next::Entry(entry) => Some(entry),
            Next::Missed(_) => None,
        });
        let first = entries.take(CHUNK_MESSAGES).take_while(|entry| {
            let is_first = bytes == 0;
            bytes += entry.bytes();
            is_first || bytes <= CHUNK_BYTES
        });
        Batch::new(first.map(|entry| entry.prepared(form)).collect())
    }

    /// The first so many are settled.
    pub(super) fn pop(&mut self, count: usize) {
        for next in self.ahead.drain(..count) {
            if let Next::Entry(entry) = next {
                self.ahead_bytes -= entry.cost();
                entry.let_go();
            }
        }
    }

    pub(super) fn push_entry(&mut self, entry: Arc<Entry<C>>) {
        self.ahead_bytes += entry.cost();
        self.ahead.push_back(Next::Entry(entry));
    }

    /// A message that the member doesn't get. It is told, unless that is ephemeral.
    pub(super) fn drop_entry(&mut self, entry: &Entry<C>, books: &mut Accounting) {
        books.dropped += 1;
        if entry.lifetime != Lifetime::Ephemeral {
            self.push_missed(Missed::one(entry));
        }
    }

    fn push_missed(&mut self, missed: Missed) {
        match self.ahead.back_mut() {
            Some(Next::Missed(before)) => *before = before.join(missed),
            _ => self.ahead.push_back(Next::Missed(missed)),
        }
    }

    /// Drops what has been superseded from what lies in front of the cursor.
    pub(super) fn drop_superseded(&mut self, ring: &Ring<C>, books: &mut Accounting) {
        self.keep_if(books, |entry, _| !ring.is_superseded(entry));
    }

    /// Drops the oldest of what lies in front of the cursor until it costs no more than `budget`.
    pub(super) fn drop_oldest(&mut self, budget: usize, books: &mut Accounting) {
        if self.ahead_bytes > budget {
            self.keep_if(books, |_, bytes| bytes <= budget);
        }
    }

    /// `keep` sees an entry and what it and all the others left cost.
    fn keep_if(&mut self, books: &mut Accounting, mut keep: impl FnMut(&Entry<C>, usize) -> bool) {
        for next in std::mem::take(&mut self.ahead) {
            match next {
                Next::Entry(entry) if keep(&entry, self.ahead_bytes) => {
                    self.ahead.push_back(Next::Entry(entry))
                }
                Next::Entry(entry) => {
                    self.ahead_bytes -= entry.cost();
                    self.drop_entry(&entry, books);
                    entry.let_go();
                }
                Next::Missed(missed) => self.push_missed(missed),
            }
        }
    }
}

/// What a slow member gets next from the ring.
pub(super) struct Chunk<C> {
    entries: Vec<Arc<Entry<C>>>,
    /// What it doesn't get although it is for it: because it is ephemeral, or because a newer one has come.
    pub(super) dropped: Vec<Arc<Entry<C>>>,
    end: u64,
}

impl<C: Content> Chunk<C> {
    /// `None` if it has had everything.
    pub(super) fn read(member: &Member<C>, ring: &Ring<C>) -> Option<Self> {
        let mut chunk = Self { entries: Vec::new(), dropped: Vec::new(), end: member.cursor };
        let mut bytes = 0;
        for entry in ring.live_from(member.cursor).take(CHUNK_MESSAGES) {
            let is_for = entry.is_for(member.form, member.id);
            if is_for && (entry.lifetime == Lifetime::Ephemeral || ring.is_superseded(entry)) {
                chunk.dropped.push(entry.clone());
            } else if is_for {
                bytes += entry.bytes();
                if bytes > CHUNK_BYTES && !chunk.entries.is_empty() {
                    break;
                }
                chunk.entries.push(entry.clone());
            }
            chunk.end = entry.seq + 1;
        }
        (chunk.end > member.cursor).then_some(chunk)
    }

    /// Its messages. Encoded here, where nobody waits for the ring.
    pub(super) fn batch(&self, form: Form) -> Batch {
        Batch::new(self.entries.iter().map(|entry| entry.prepared(form)).collect())
    }

    /// Where the member is once it has taken so many of the messages.
    pub(super) fn cursor_after(&self, taken: usize) -> u64 {
        self.entries.get(taken).map_or(self.end, |entry| entry.seq)
    }
}
