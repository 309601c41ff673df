//! The members of a room that one shard serves, and how they get what is published.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;

use super::audience::MemberId;
use super::content::{Content, Form};
use super::lag::Lag;
use super::member::{CaughtUp, Member, Out, Outlet, Policy};
use super::membership::MemberWaker;
use super::ring::Ring;
use super::room::{Accounting, Room, Settings, lock};
use super::turn::Turn;

/// Some members of a room.
///
/// Invariants: a member that isn't slow has had everything in front of `cursor`, and of a turn that is under way what
/// it is for once its slot was served; `slow` holds every slow member under its own cursor.
pub(super) struct Part<C: Content + 'static> {
    slots: Vec<Option<Member<C>>>,
    free: Vec<usize>,
    /// The slots of those who are slow, by their cursors.
    slow: BTreeSet<(u64, usize)>,
    cursor: u64,
    pub(super) books: Accounting,
    /// Who was put out: told, and dropped, outside the locks.
    gone: Vec<(Arc<dyn Outlet>, Out)>,
    policy: Policy,
    queue_bytes: usize,
    room: Weak<Room<C>>,
    shard: usize,
}

impl<C: Content> Part<C> {
    pub(super) fn new(room: Weak<Room<C>>, shard: usize, settings: &Settings) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            slow: BTreeSet::new(),
            cursor: 0,
            books: Accounting::default(),
            gone: Vec::new(),
            policy: settings.policy,
            queue_bytes: settings.queue_bytes,
            room,
            shard,
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
    pub(super) fn insert(
        &mut self,
        ring: &mut Ring<C>,
        (id, form): (MemberId, Form),
        outlet: Arc<dyn Outlet>,
    ) -> usize {
        let cursor = ring.next_seq();
        if self.len() == 0 {
            // Nobody here needed what came before.
            self.cursor = cursor;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let lag = Some(Box::new(Lag::new(self.waker(slot, id))));
        self.slots[slot] = Some(Member { id, form, outlet, cursor, lag });
        self.slow.insert((cursor, slot));
        ring.audience.join(id, form);
        slot
    }

    fn waker(&self, slot: usize, id: MemberId) -> Waker {
        Waker::from(Arc::new(MemberWaker { room: self.room.clone(), shard: self.shard, slot, id }))
    }

    /// Everything that nobody here needs lies in front of this; `None` if nobody is here.
    pub(super) fn needs_from(&self) -> Option<u64> {
        let slowest = self.slow.first().map_or(self.cursor, |(cursor, _)| *cursor);
        (self.len() > 0).then(|| slowest.min(self.cursor))
    }

    /// Takes what was published since, if something was and somebody is here.
    pub(super) fn begin(&mut self, ring: &Ring<C>) -> Option<Turn<C>> {
        if self.len() == 0 {
            self.cursor = ring.next_seq();
            return None;
        }
        Turn::read(ring, self.cursor)
    }

    /// Serves as many members as `left` says, which it counts down; `true` once the turn is over.
    pub(super) fn serve(&mut self, turn: &mut Turn<C>, left: &mut usize, ring: &Mutex<Ring<C>>) -> bool {
        while turn.slot < self.slots.len() {
            let Some(fewer) = left.checked_sub(1) else { return false };
            *left = fewer;
            self.serve_slot(turn.slot, turn, ring);
            turn.slot += 1;
        }
        // Everybody may have left meanwhile, and others joined.
        self.cursor = self.cursor.max(turn.end);
        let over_budget = turn.over_budget.get_or_insert_with(|| self.over_budget(&lock(ring)));
        while let Some(&slot) = over_budget.last() {
            let Some(fewer) = left.checked_sub(1) else { return false };
            *left = fewer;
            self.enforce(slot, ring);
            over_budget.pop();
        }
        true
    }

    fn serve_slot(&mut self, slot: usize, turn: &mut Turn<C>, ring: &Mutex<Ring<C>>) {
        let Some(member) = &mut self.slots[slot] else { return };
        // Whoever joined since has its own beginning, and waits there.
        if member.lag.is_some() {
            return;
        }
        match turn.give_to(member, &mut self.books) {
            Ok(true) => {}
            Ok(false) => self.slow_down(slot),
            Err(out) => self.put_out(slot, out, ring),
        }
    }

    /// A member takes no more for now.
    fn slow_down(&mut self, slot: usize) {
        let Some(id) = self.slots[slot].as_ref().map(|member| member.id) else { return };
        let waker = self.waker(slot, id);
        let Some(member) = &mut self.slots[slot] else { return };
        self.slow.insert((member.cursor, slot));
        member.lag = Some(Box::new(Lag::new(waker)));
        if member.wait() {
            // It has room again already: its turn comes with the others' that do.
            member.wake();
        }
    }

    /// The slots of those for whom more waits than may.
    fn over_budget(&self, ring: &Ring<C>) -> Vec<usize> {
        // Those furthest behind come first, so mostly the first one says it all; but some policies keep entries.
        let keeps_entries = matches!(self.policy, Policy::DropNewest | Policy::LatestPerKey);
        let is_over = |(cursor, slot): &&(u64, usize)| match &self.slots[*slot] {
            Some(member) if keeps_entries => member.waiting(ring) > self.queue_bytes,
            _ => ring.lag(*cursor) as usize > self.queue_bytes,
        };
        let slots = self.slow.iter();
        if keeps_entries {
            slots.filter(is_over).map(|(_, slot)| *slot).collect()
        } else {
            slots.take_while(is_over).map(|(_, slot)| *slot).collect()
        }
    }

    fn enforce(&mut self, slot: usize, ring: &Mutex<Ring<C>>) {
        let Some(member) = &mut self.slots[slot] else { return };
        if member.lag.is_none() {
            return;
        }
        self.slow.remove(&(member.cursor, slot));
        let kept = member.enforce(&lock(ring), (self.policy, self.queue_bytes), &mut self.books);
        match kept {
            Ok(()) => {
                self.slow.insert((member.cursor, slot));
            }
            Err(out) => self.put_out(slot, out, ring),
        }
    }

    /// Gives a member that has room again what waits for it. Whether it has to be called again at once.
    pub(super) fn resume(&mut self, slot: usize, id: MemberId, ring: &Mutex<Ring<C>>) -> bool {
        let Some(member) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return false };
        if member.id != id || member.lag.is_none() {
            return false;
        }
        self.slow.remove(&(member.cursor, slot));
        let is_ready = match member.catch_up(&mut self.books, ring) {
            Ok(CaughtUp::Yes) => return false,
            Ok(CaughtUp::Waits) => member.wait(),
            Ok(CaughtUp::GoesOn) => true,
            Err(out) => {
                self.put_out(slot, out, ring);
                return false;
            }
        };
        self.slow.insert((member.cursor, slot));
        is_ready
    }

    fn put_out(&mut self, slot: usize, out: Out, ring: &Mutex<Ring<C>>) {
        if let Some(outlet) = self.remove(slot, &mut lock(ring)) {
            self.gone.push((outlet, out));
        }
    }

    /// Lets a member go of its own will, and returns where its messages went.
    pub(super) fn leave(&mut self, slot: usize, id: MemberId, ring: &mut Ring<C>) -> Option<Arc<dyn Outlet>> {
        self.slots.get(slot)?.as_ref().filter(|member| member.id == id)?;
        self.remove(slot, ring)
    }

    fn remove(&mut self, slot: usize, ring: &mut Ring<C>) -> Option<Arc<dyn Outlet>> {
        let member = self.slots[slot].take()?;
        self.books.abandoned += member.pending(ring);
        self.slow.remove(&(member.cursor, slot));
        self.free.push(slot);
        ring.audience.leave(member.id);
        Some(member.outlet)
    }

    /// Nobody will serve them any more: all are out.
    pub(super) fn dismiss(&mut self, ring: &Mutex<Ring<C>>) {
        (0..self.slots.len()).for_each(|slot| self.put_out(slot, Out::Closed, ring));
    }

    /// Who was put out since, to be told and dropped once no lock is held.
    pub(super) fn take_gone(&mut self) -> Vec<(Arc<dyn Outlet>, Out)> {
        std::mem::take(&mut self.gone)
    }

    /// How many messages wait for the members here.
    pub(super) fn pending(&self, ring: &Ring<C>) -> u64 {
        self.slots.iter().flatten().map(|member| member.pending(ring)).sum()
    }

    /// How many bytes wait for those who are slow.
    pub(super) fn waiting_bytes(&self, ring: &Ring<C>) -> usize {
        let slow = self.slow.iter().filter_map(|&(_, slot)| self.slots[slot].as_ref());
        slow.map(|member| ring.lag(member.cursor) as usize).sum()
    }

    pub(super) fn slow_members(&self) -> usize {
        self.slow.len()
    }
}
