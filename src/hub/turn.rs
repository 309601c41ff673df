//! What one turn hands round: joined once a form, and to each member what it hasn't had.

use std::ops::Range;
use std::sync::Arc;

use crate::proto::Batch;

use super::audience::MemberId;
use super::content::{Content, FORMS, Form};
use super::member::{Delivery, Member, Out};
use super::ring::{Entry, Ring};
use super::room::Accounting;

/// What was published since the last turn, or as much of it as goes out at a time.
pub(super) struct Turn<C> {
    entries: Vec<Arc<Entry<C>>>,
    /// Everything in front of this is among the entries.
    pub(super) end: u64,
    /// Made when the first member needs them.
    forms: [Option<Run>; FORMS],
    /// Who sent some of it, sorted: they don't get that.
    senders: Vec<MemberId>,
    /// Whose turn it is.
    pub(super) slot: usize,
    /// For whom too much waits, once everybody has had a share.
    pub(super) over_budget: Option<Vec<usize>>,
}

/// The turn's messages in one form.
struct Run {
    batch: Batch,
    /// Where each of them is.
    seqs: Vec<u64>,
    /// Who sent each of them.
    senders: Vec<Option<MemberId>>,
}

/// A turn's messages are joined to one piece of about this much; a larger message has a turn of its own.
const TURN_BYTES: usize = 64 << 10;

/// And so many at most.
const TURN_MESSAGES: usize = 1024;

impl<C: Content> Turn<C> {
    /// What comes from `cursor` on; `None` if nothing does.
    pub(super) fn read(ring: &Ring<C>, cursor: u64) -> Option<Self> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for entry in ring.live_from(cursor).take(TURN_MESSAGES) {
            bytes += entry.bytes();
            if !entries.is_empty() && bytes > TURN_BYTES {
                break;
            }
            entries.push(entry.clone());
        }
        let end = entries.last()?.seq + 1;
        let mut senders: Vec<_> = entries.iter().filter_map(|entry| entry.from).collect();
        senders.sort_unstable();
        Some(Self { entries, end, forms: Default::default(), senders, slot: 0, over_budget: None })
    }

    /// Gives a member that isn't slow its share. `false` if it didn't take all of it.
    pub(super) fn give_to(&mut self, member: &mut Member<C>, books: &mut Accounting) -> Result<bool, Out> {
        let run = self.forms[member.form.index()].get_or_insert_with(|| Run::new(&self.entries, member.form));
        // It may have had some of it: by catching up, or because it joined in the middle.
        let first = match run.seqs.first() {
            Some(&first) if first < member.cursor => run.seqs.partition_point(|&seq| seq < member.cursor),
            _ => 0,
        };
        let all = first..run.seqs.len();
        let has_all = match self.senders.binary_search(&member.id) {
            Ok(_) => run.give_others(member, all, books)?,
            Err(_) => run.give(member, all, books)?,
        };
        if has_all {
            member.cursor = member.cursor.max(self.end);
        }
        Ok(has_all)
    }
}

impl Run {
    fn new<C: Content>(entries: &[Arc<Entry<C>>], form: Form) -> Self {
        let mut messages = Vec::with_capacity(entries.len());
        let mut seqs = Vec::with_capacity(entries.len());
        let mut senders = Vec::with_capacity(entries.len());
        for entry in entries.iter().filter(|entry| entry.content().is_for(form)) {
            messages.push(entry.prepared(form));
            seqs.push(entry.seq);
            senders.push(entry.from);
        }
        Self { batch: Batch::new(messages), seqs, senders }
    }

    /// Whether it took all of it.
    fn give<C: Content>(
        &self,
        member: &mut Member<C>,
        range: Range<usize>,
        books: &mut Accounting,
    ) -> Result<bool, Out> {
        let Some(last) = range.clone().next_back() else { return Ok(true) };
        let taken = match member.deliver(&self.batch, range.clone()) {
            Delivery::Taken(taken) => taken,
            Delivery::Closed => return Err(Out::Closed),
        };
        books.delivered += taken as u64;
        let has_all = taken == range.len();
        member.cursor = if has_all { self.seqs[last] + 1 } else { self.seqs[range.start + taken] };
        Ok(has_all)
    }

    /// The same for a member that sent some of it.
    fn give_others<C: Content>(
        &self,
        member: &mut Member<C>,
        range: Range<usize>,
        books: &mut Accounting,
    ) -> Result<bool, Out> {
        let mut start = range.start;
        for at in range.clone() {
            if self.senders[at] == Some(member.id) {
                if !self.give(member, start..at, books)? {
                    return Ok(false);
                }
                start = at + 1;
            }
        }
        self.give(member, start..range.end, books)
    }
}
