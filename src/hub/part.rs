//! The members of a room that one shard serves, and how they get what is published.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use crate::proto::Batch;

use super::content::{Content, FORMS, Form};
use super::member::{CaughtUp, Delivery, Lag, Member, Out, Outlet, Policy};
use super::ring::{Entry, Ring};
use super::room::{Accounting, Audience, MemberId, lock};

/// Some members of a room.
///
/// Invariant: a member that isn't slow has had everything in front of `cursor`.
pub(super) struct Part<C> {
    slots: Vec<Option<Member<C>>>,
    free: Vec<usize>,
    /// The slots of those who are slow.
    slow: HashSet<usize>,
    cursor: u64,
    pub(super) books: Accounting,
}

/// What was published since the last turn, or as much of it as goes out at a time.
pub(super) struct Turn<C> {
    entries: Vec<Arc<Entry<C>>>,
    /// Everything in front of this is among the entries.
    end: u64,
    /// Made when the first member needs them.
    forms: [Option<Run>; FORMS],
    /// Who sent some of it: they don't get that.
    senders: HashSet<MemberId>,
    /// Whose turn it is.
    slot: usize,
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

impl<C: Content> Part<C> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            slow: HashSet::new(),
            cursor: 0,
            books: Accounting::default(),
        }
    }

    /// Where its next turn begins.
    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Lets somebody in who waits until it is told to begin.
    pub(super) fn insert(&mut self, ring: &Ring<C>, member: impl FnOnce(usize) -> Member<C>) -> usize {
        if self.len() == 0 {
            // Nobody here needed what came before.
            self.cursor = ring.next_seq();
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(member(slot));
        self.slow.insert(slot);
        slot
    }

    pub(super) fn get(&self, slot: usize, id: MemberId) -> Option<&Member<C>> {
        self.slots.get(slot)?.as_ref().filter(|member| member.id == id)
    }

    /// Everything that nobody here needs lies in front of this; `None` if nobody is here.
    pub(super) fn needs_from(&self) -> Option<u64> {
        let slow = self.slow.iter().filter_map(|&slot| self.slots[slot].as_ref()).map(|member| member.cursor);
        (self.len() > 0).then(|| slow.min().map_or(self.cursor, |slowest| slowest.min(self.cursor)))
    }

    /// Takes what was published since, if something was and somebody is here.
    pub(super) fn begin(&mut self, ring: &Ring<C>) -> Option<Turn<C>> {
        if self.len() == 0 {
            self.cursor = ring.next_seq();
            return None;
        }
        let mut entries = Vec::new();
        let mut bytes = 0;
        for entry in ring.live_from(self.cursor) {
            bytes += entry.cost();
            if !entries.is_empty() && (bytes > TURN_BYTES || entries.len() == TURN_MESSAGES) {
                break;
            }
            entries.push(entry.clone());
        }
        let end = entries.last()?.seq + 1;
        let senders = entries.iter().filter_map(|entry| entry.from).collect();
        Some(Turn { entries, end, forms: Default::default(), senders, slot: 0 })
    }

    /// Serves the next `count` members; `true` once all are served.
    pub(super) fn serve(
        &mut self,
        turn: &mut Turn<C>,
        count: usize,
        (ring, audience): (&Mutex<Ring<C>>, &Audience),
    ) -> bool {
        let until = self.slots.len().min(turn.slot.saturating_add(count));
        for slot in std::mem::replace(&mut turn.slot, until)..until {
            let Some(member) = &mut self.slots[slot] else { continue };
            // Whoever joined since has its own beginning, and waits there.
            if member.lag.is_some() {
                continue;
            }
            match turn.give_to(member, &mut self.books) {
                Ok(true) => {}
                Ok(false) => {
                    self.slow.insert(slot);
                }
                Err(out) => self.put_out(slot, out, ring, audience),
            }
        }
        if until < self.slots.len() {
            return false;
        }
        self.cursor = turn.end;
        true
    }

    /// Makes whoever became slow in this turn wait, and applies the policy to everybody who is.
    ///
    /// Returns who needn't wait after all.
    pub(super) fn end(
        &mut self,
        (policy, budget): (Policy, usize),
        waker: impl Fn(usize, MemberId) -> Waker,
        (ring, audience): (&Mutex<Ring<C>>, &Audience),
    ) -> Vec<(usize, MemberId)> {
        let mut ready = Vec::new();
        for slot in self.slow.iter().copied().collect::<Vec<_>>() {
            let Some(member) = &mut self.slots[slot] else { continue };
            if member.lag.is_none() {
                member.lag = Some(Box::new(Lag::new(waker(slot, member.id))));
                if wait(member) {
                    ready.push((slot, member.id));
                }
            }
            let kept = member.enforce(&lock(ring), (policy, budget), &mut self.books);
            if let Err(out) = kept {
                self.put_out(slot, out, ring, audience);
            }
        }
        ready
    }

    /// Gives a member that has room again what waits for it. Whether it has to be called again at once.
    pub(super) fn resume(
        &mut self,
        slot: usize,
        id: MemberId,
        (ring, audience): (&Mutex<Ring<C>>, &Audience),
    ) -> bool {
        let Some(member) = self.slots.get_mut(slot).and_then(Option::as_mut).filter(|member| member.id == id)
        else {
            return false;
        };
        if member.lag.is_none() {
            return false;
        }
        match member.catch_up(self.cursor, &mut self.books, ring) {
            Ok(CaughtUp::Yes) => {
                self.slow.remove(&slot);
                false
            }
            Ok(CaughtUp::Waits) => wait(member),
            Ok(CaughtUp::GoesOn) => true,
            Err(out) => {
                self.put_out(slot, out, ring, audience);
                false
            }
        }
    }

    fn put_out(&mut self, slot: usize, out: Out, ring: &Mutex<Ring<C>>, audience: &Audience) {
        if let (Some(member), Out::TooSlow) = (&self.slots[slot], out) {
            member.outlet.on_too_slow();
        }
        self.remove(slot, &lock(ring), audience);
    }

    /// Lets a member go, and returns where its messages went.
    pub(super) fn remove(
        &mut self,
        slot: usize,
        ring: &Ring<C>,
        audience: &Audience,
    ) -> Option<Arc<dyn Outlet>> {
        let member = self.slots[slot].take()?;
        self.books.abandoned += pending(&member, ring);
        self.slow.remove(&slot);
        self.free.push(slot);
        member.is_in.store(false, Ordering::Relaxed);
        audience.leave(member.form);
        Some(member.outlet)
    }

    /// How many messages wait for the members here.
    pub(super) fn pending(&self, ring: &Ring<C>) -> u64 {
        self.slots.iter().flatten().map(|member| pending(member, ring)).sum()
    }

    /// How many bytes wait for those who are slow.
    pub(super) fn waiting_bytes(&self, ring: &Ring<C>) -> usize {
        let slow = self.slow.iter().filter_map(|&slot| self.slots[slot].as_ref());
        slow.map(|member| ring.lag(member.cursor) as usize).sum()
    }

    pub(super) fn slow_members(&self) -> usize {
        self.slow.len()
    }
}

/// Has the member's waker called once there is room; `true` if there is room already.
fn wait<C: Content>(member: &mut Member<C>) -> bool {
    let Some(lag) = &mut member.lag else { return false };
    lag.is_waiting = !member.outlet.wake_when_ready(&lag.waker);
    !lag.is_waiting
}

/// How many messages wait for a member.
fn pending<C: Content>(member: &Member<C>, ring: &Ring<C>) -> u64 {
    let behind = ring.live_from(member.cursor).filter(|entry| entry.is_for(member.form, member.id)).count();
    behind as u64 + member.lag.as_ref().map_or(0, |lag| lag.ahead_entries())
}

impl<C: Content> Turn<C> {
    /// Gives a member that isn't slow its share. `false` if it didn't take all of it.
    fn give_to(&mut self, member: &mut Member<C>, books: &mut Accounting) -> Result<bool, Out> {
        let run = self.forms[member.form.index()].get_or_insert_with(|| Run::new(&self.entries, member.form));
        let first = match member.cursor {
            0 => 0,
            cursor => run.seqs.partition_point(|&seq| seq < cursor),
        };
        let all = first..run.seqs.len();
        let taken = if self.senders.contains(&member.id) {
            run.give_others(member, all, books)?
        } else {
            run.give(member, all, books)?
        };
        if let Some(stopped_at) = taken {
            member.cursor = stopped_at;
            return Ok(false);
        }
        member.cursor = self.end;
        Ok(true)
    }
}

impl Run {
    fn new<C: Content>(entries: &[Arc<Entry<C>>], form: Form) -> Self {
        let shown = || entries.iter().filter(|entry| entry.content().is_for(form));
        Self {
            batch: Batch::new(shown().map(|entry| entry.prepared(form)).collect()),
            seqs: shown().map(|entry| entry.seq).collect(),
            senders: shown().map(|entry| entry.from).collect(),
        }
    }

    /// Where it stopped, if it didn't take all of it.
    fn give<C>(
        &self,
        member: &Member<C>,
        range: Range<usize>,
        books: &mut Accounting,
    ) -> Result<Option<u64>, Out> {
        if range.is_empty() {
            return Ok(None);
        }
        let count = range.len();
        match member.outlet.deliver(&self.batch, range.clone()) {
            Delivery::Taken(taken) => {
                let taken = taken.min(count);
                books.delivered += taken as u64;
                Ok((taken < count).then(|| self.seqs[range.start + taken]))
            }
            Delivery::Closed => Err(Out::Closed),
        }
    }

    /// The same for a member that sent some of it.
    fn give_others<C>(
        &self,
        member: &Member<C>,
        range: Range<usize>,
        books: &mut Accounting,
    ) -> Result<Option<u64>, Out> {
        let mut start = range.start;
        for at in range.clone() {
            if self.senders[at] == Some(member.id) {
                if let Some(stopped_at) = self.give(member, start..at, books)? {
                    return Ok(Some(stopped_at));
                }
                start = at + 1;
            }
        }
        self.give(member, start..range.end, books)
    }
}
