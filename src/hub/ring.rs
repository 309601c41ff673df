//! A room's messages, in their one order: live delivery, slow members, history and resumption all read this.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use crate::proto::Prepared;

use super::audience::{Audience, MemberId};
use super::content::{Content, FORMS, Form, Lifetime, Publish, Stamp, now};
use super::room::lock;

/// How much of what was published a room keeps as its history: whatever is least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many messages.
    pub messages: usize,
    /// How many bytes, counted with what it takes to keep them.
    pub bytes: usize,
    /// How old they may be, in milliseconds.
    pub age: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { messages: 1000, bytes: 4 << 20, age: 24 * 60 * 60 * 1000 }
    }
}

impl Retention {
    /// No history.
    pub const NONE: Self = Self { messages: 0, bytes: 0, age: 0 };
}

/// A message in its place.
#[derive(Debug)]
pub struct Entry<C> {
    /// Its place among everything that was published here.
    pub(super) seq: u64,
    pub(super) from: Option<MemberId>,
    pub(super) key: Option<Box<str>>,
    pub(super) lifetime: Lifetime,
    stamp: Stamp,
    content: C,
    /// The cost of everything up to and with this.
    end: u64,
    forms: Mutex<Forms>,
}

/// An entry's encoded forms: made on first need, and gone once no member needs them.
#[derive(Debug, Default)]
struct Forms {
    made: [Option<Prepared>; FORMS],
    /// Whether it has left the ring's live part: only those who kept it still need it.
    is_released: bool,
}

/// The entry itself, its reference in the ring, the allocations' own.
const ENTRY_OVERHEAD_BYTES: usize = 256;

impl<C: Content> Entry<C> {
    /// Its offset and its time.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// What was published.
    pub fn content(&self) -> &C {
        &self.content
    }

    /// What it is the newest state of.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// How long it is, about.
    pub(super) fn bytes(&self) -> usize {
        self.content.bytes() + self.key.as_deref().map_or(0, str::len)
    }

    /// What it costs to keep it, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.bytes() + ENTRY_OVERHEAD_BYTES
    }

    /// Whether a member gets it.
    pub(super) fn is_for(&self, form: Form, member: MemberId) -> bool {
        self.from != Some(member) && self.content.is_for(form)
    }

    /// The message in a form that it is for.
    pub(super) fn prepared(&self, form: Form) -> Prepared {
        let mut forms = lock(&self.forms);
        forms.made[form.index()]
            .get_or_insert_with(|| self.content.encode(form, self.stamp, self.key.as_deref()))
            .clone()
    }

    /// A slow member that kept it has no need of it any more. If that was the last one, its forms go.
    pub(super) fn let_go(self: Arc<Self>) {
        let mut forms = lock(&self.forms);
        // The history may hold it, and we do.
        if forms.is_released && Arc::strong_count(&self) <= 2 {
            forms.made = Default::default();
        }
    }

    fn release(&self) {
        *lock(&self.forms) = Forms { made: Default::default(), is_released: true };
    }

    /// Whether it is held encoded.
    #[cfg(test)]
    pub(super) fn is_encoded(&self) -> bool {
        lock(&self.forms).made.iter().any(Option::is_some)
    }
}

/// A room's messages: what members have still to get, and the history. Both share their entries.
///
/// Invariants: `live` is consecutive in `seq`, the last one's being `next_seq - 1`; `history_bytes` is the cost of
/// the history, which `retention` bounds. What is live is bounded by the room: nobody may lag further.
#[derive(Debug)]
pub(super) struct Ring<C> {
    /// Whom the messages are for.
    pub(super) audience: Audience,
    live: VecDeque<Arc<Entry<C>>>,
    history: VecDeque<Arc<Entry<C>>>,
    history_bytes: usize,
    next_seq: u64,
    /// The newest kept message's offset.
    offset: u64,
    /// Offsets up to this one are no longer in the history.
    forgotten_offset: u64,
    /// The cost of everything ever published, and of what is no longer live.
    total: u64,
    gone: u64,
    retention: Retention,
    /// The newest entry of each key, in rooms that need it. Bounded by `MAX_KEYS`.
    newest: Option<HashMap<Box<str>, u64>>,
}

/// Room for so many is kept, whether they are there or not.
const MIN_CAPACITY: usize = 256;

/// How many keys a room tells apart; past it the oldest are forgotten, and their messages are like any other.
const MAX_KEYS: usize = 16_384;

impl<C: Content> Ring<C> {
    pub(super) fn new(retention: Retention, offset: u64, has_keys: bool) -> Self {
        Self {
            audience: Audience::default(),
            live: VecDeque::new(),
            history: VecDeque::new(),
            history_bytes: 0,
            next_seq: 0,
            offset,
            forgotten_offset: offset,
            total: 0,
            gone: 0,
            retention,
            newest: has_keys.then(HashMap::new),
        }
    }

    /// Where the next entry will be.
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The newest kept message's offset.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Gives a message its place.
    pub(super) fn push(&mut self, publish: Publish<C>) -> Arc<Entry<C>> {
        let Publish { content, from, key, lifetime, time } = publish;
        self.audience.address(&content, from);
        if lifetime == Lifetime::Kept {
            self.offset += 1;
        }
        let stamp = Stamp { offset: self.offset, time };
        let mut entry = Entry {
            seq: self.next_seq,
            from,
            key,
            lifetime,
            stamp,
            content,
            end: 0,
            forms: Mutex::default(),
        };
        self.total += entry.cost() as u64;
        entry.end = self.total;
        let entry = Arc::new(entry);
        self.next_seq += 1;
        self.note_key(&entry);
        self.live.push_back(entry.clone());
        if lifetime == Lifetime::Kept {
            self.remember(entry.clone());
            // The message may come from a clock that is ahead of ours, which is asked only then: it costs more than
            // all else here.
            let is_due = self.history.front().is_some_and(|oldest| self.is_old(oldest, time));
            self.trim_history(if is_due { now() } else { time });
        }
        if self.audience.len() == 0 {
            self.release(self.next_seq);
        }
        entry
    }

    /// Adds a message to the history that was published before, such as by an earlier process; oldest first.
    pub(super) fn restore(&mut self, content: C, key: Option<Box<str>>, stamp: Stamp) {
        let entry = Entry {
            seq: 0,
            from: None,
            key,
            lifetime: Lifetime::Kept,
            stamp,
            content,
            end: 0,
            forms: Mutex::default(),
        };
        if self.history.is_empty() {
            self.forgotten_offset = stamp.offset.saturating_sub(1);
        }
        self.offset = self.offset.max(stamp.offset);
        self.remember(Arc::new(entry));
    }

    fn remember(&mut self, entry: Arc<Entry<C>>) {
        self.history_bytes += entry.cost();
        self.history.push_back(entry);
    }

    fn note_key(&mut self, entry: &Entry<C>) {
        let (Some(newest), Some(key)) = (&mut self.newest, &entry.key) else { return };
        if entry.lifetime == Lifetime::Ephemeral {
            // A slow member doesn't get it: it takes nothing's place.
            return;
        }
        if newest.len() >= MAX_KEYS && !newest.contains_key(key) {
            // The older half at once, so that this is seldom done.
            let mut seqs: Vec<u64> = newest.values().copied().collect();
            let (_, &mut middle, _) = seqs.select_nth_unstable(MAX_KEYS / 2);
            newest.retain(|_, seq| *seq > middle);
        }
        newest.insert(key.clone(), entry.seq);
    }

    fn newest_of_key(&self, entry: &Entry<C>) -> Option<u64> {
        self.newest.as_ref()?.get(entry.key.as_ref()?).copied()
    }

    /// Whether a newer message of the same key has come.
    pub(super) fn is_superseded(&self, entry: &Entry<C>) -> bool {
        self.newest_of_key(entry).is_some_and(|seq| seq > entry.seq)
    }

    /// Whether it is the newest of its key.
    pub(super) fn is_newest(&self, entry: &Entry<C>) -> bool {
        self.newest_of_key(entry) == Some(entry.seq)
    }

    /// The entries from `seq` on that members may have still to get.
    pub(super) fn live_from(&self, seq: u64) -> impl Iterator<Item = &Arc<Entry<C>>> {
        let skip = seq.saturating_sub(self.next_seq - self.live.len() as u64);
        self.live.range((skip as usize).min(self.live.len())..)
    }

    /// How many bytes lie from `seq` to the end: what a member there has still to get.
    pub(super) fn lag(&self, seq: u64) -> u64 {
        let before = self.live_from(seq.saturating_sub(1)).next().filter(|entry| entry.seq < seq);
        self.total - before.map_or(self.gone, |entry| entry.end)
    }

    /// No member needs what lies before `seq` any more.
    pub(super) fn release(&mut self, seq: u64) {
        while self.live.front().is_some_and(|first| first.seq < seq)
            && let Some(first) = self.live.pop_front()
        {
            self.gone = first.end;
            first.release();
            if let (Some(newest), Some(key)) = (&mut self.newest, &first.key)
                && newest.get(key) == Some(&first.seq)
            {
                newest.remove(key);
            }
        }
        // A burst is over.
        if self.live.capacity() > MIN_CAPACITY && self.live.len() < self.live.capacity() / 8 {
            self.live.shrink_to(self.live.len() * 2);
        }
    }

    /// Keeps no more of the history than may be.
    pub(super) fn trim_history(&mut self, now: u64) {
        let Retention { messages, bytes, .. } = self.retention;
        while let Some(oldest) = self.history.front() {
            let is_old = self.is_old(oldest, now);
            if self.history.len() <= messages && self.history_bytes <= bytes && !is_old {
                return;
            }
            self.history_bytes -= oldest.cost();
            self.forgotten_offset = oldest.stamp.offset;
            self.history.pop_front();
        }
    }

    fn is_old(&self, entry: &Entry<C>, now: u64) -> bool {
        now.saturating_sub(entry.stamp.time) > self.retention.age
    }

    /// Keeps at most so many bytes of it for now.
    pub(super) fn shrink_history(&mut self, bytes: usize) {
        let retention = self.retention;
        self.retention.bytes = bytes.min(retention.bytes);
        self.trim_history(0);
        self.retention = retention;
    }

    /// What the history costs, in bytes.
    pub(super) fn history_bytes(&self) -> usize {
        self.history_bytes
    }

    /// The history, oldest first.
    pub(super) fn history(&self) -> &VecDeque<Arc<Entry<C>>> {
        &self.history
    }

    /// Whether the history has everything that came after `offset`.
    pub(super) fn is_complete_after(&self, offset: u64) -> bool {
        (self.forgotten_offset..=self.offset).contains(&offset)
    }
}
