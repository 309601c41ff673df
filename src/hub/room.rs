//! One room: its order, its members, and its books.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::sync::Notify;

use super::audience::MemberId;
use super::content::{Content, Form, Publish, Stamp, now};
use super::member::{Out, Outlet, Policy};
use super::membership::Membership;
use super::part::Part;
use super::ring::{Entry, Retention, Ring};
use super::shard::Shards;
use super::turn::Turn;
use super::view::View;

/// How a room treats its messages and its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What happens to a member that is too slow.
    pub policy: Policy,
    /// How many bytes may wait for a slow member, counted with what it takes to keep them.
    pub queue_bytes: usize,
    /// What it keeps as history.
    pub retention: Retention,
}

impl Default for Settings {
    fn default() -> Self {
        Self { policy: Policy::Disconnect, queue_bytes: 1 << 20, retention: Retention::default() }
    }
}

/// A room's books: at any moment `addressed == delivered + dropped + pending + abandoned`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    /// The sum over all messages of the members that each was for.
    pub addressed: u64,
    /// Of those, taken by the member's outlet.
    pub delivered: u64,
    /// Dropped by the policy.
    pub dropped: u64,
    /// Waiting to be delivered.
    pub pending: u64,
    /// Lost with a member that left or was disconnected.
    pub abandoned: u64,
}

impl std::ops::AddAssign for Accounting {
    fn add_assign(&mut self, other: Self) {
        self.addressed += other.addressed;
        self.delivered += other.delivered;
        self.dropped += other.dropped;
        self.pending += other.pending;
        self.abandoned += other.abandoned;
    }
}

/// A room. It lives as long as somebody holds it.
///
/// Locks are taken in this order: a part, then the ring, then a shard's inbox. Nobody's outlet is dropped, and nobody
/// is told to go, under one of them.
pub struct Room<C: Content + 'static = crate::proto::Prepared> {
    ring: Mutex<Ring<C>>,
    /// One a shard, made with its first member.
    seats: Box<[OnceLock<Box<Seat<C>>>]>,
    shards: Arc<Shards<C>>,
    /// Where its first members are.
    home: usize,
    settings: Settings,
    /// Told whenever a turn is over.
    progress: Notify,
    me: Weak<Self>,
}

/// A part, and what can be seen of it without its lock.
struct Seat<C: Content + 'static> {
    part: Mutex<Part<C>>,
    /// Whether it stands on its shard's list, or has its turn.
    is_dirty: AtomicBool,
    /// What its members need begins here. Changed under the ring's lock only.
    needs_from: AtomicU64,
    /// How many members there are, or a little more. Changed under the ring's lock only.
    members: AtomicUsize,
    /// Where its next turn begins, or its turn has begun.
    cursor: AtomicU64,
}

/// Nobody there needs anything.
const NOTHING: u64 = u64::MAX;

/// So many members are on one shard before others get some: small rooms stay together. Tests have small rooms on
/// several shards.
const MEMBERS_AT_HOME: usize = if cfg!(test) { 3 } else { 64 };

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<C: Content + 'static> Room<C> {
    /// A room whose newest message has had `offset`, 0 for a new one.
    pub(super) fn new(shards: Arc<Shards<C>>, settings: Settings, offset: u64) -> Arc<Self> {
        static NEXT_HOME: AtomicUsize = AtomicUsize::new(0);
        let has_keys = settings.policy == Policy::LatestPerKey;
        Arc::new_cyclic(|me| Self {
            ring: Mutex::new(Ring::new(settings.retention, offset, has_keys)),
            seats: (0..shards.len()).map(|_| OnceLock::new()).collect(),
            home: NEXT_HOME.fetch_add(1, Ordering::Relaxed) % shards.len(),
            shards,
            settings,
            progress: Notify::new(),
            me: me.clone(),
        })
    }

    /// Joins the room; the member gets what is published from now on, by reference.
    pub fn join(self: &Arc<Self>, outlet: Arc<dyn Outlet>, form: Form) -> Membership<C> {
        let (membership, ()) = self.join_with(outlet, form, None, |_| {});
        membership.begin();
        membership
    }

    /// Joins the room, tells everybody else, and looks at it, in one step: nothing can come between.
    ///
    /// The member gets nothing until [`Membership::begin`], so that it can be told first what `look` saw. Until then
    /// it counts as slow. `look` must not call back into the room.
    pub fn join_with<R>(
        self: &Arc<Self>,
        outlet: Arc<dyn Outlet>,
        form: Form,
        announcement: Option<Publish<C>>,
        look: impl FnOnce(&View<'_, C>) -> R,
    ) -> (Membership<C>, R) {
        let (shard, id, now) = (self.next_shard(), MemberId::new(), now());
        let seat = self.seat(shard);
        // Declared before the locks: should `look` panic it is given up behind them.
        let membership;
        let mut part = lock(&seat.part);
        let mut ring = lock(&self.ring);
        ring.trim_history(now);
        let is_told = announcement.is_some();
        if let Some(announcement) = announcement {
            ring.push(announcement);
        }
        let slot = part.insert(&mut ring, (id, form), outlet);
        seat.note(&part);
        membership = Membership { room: self.clone(), shard, slot, id };
        let seen = look(&View::new(&ring));
        drop(ring);
        drop(part);
        if is_told {
            self.call_shards();
        }
        (membership, seen)
    }

    /// Publishes to everybody but its sender, and returns the message in its place.
    pub fn publish(&self, publish: Publish<C>) -> Arc<Entry<C>> {
        let entry = lock(&self.ring).push(publish);
        self.call_shards();
        entry
    }

    /// Looks at the room's history. `look` must not call back into the room.
    pub fn look<R>(&self, look: impl FnOnce(&View<'_, C>) -> R) -> R {
        let now = now();
        let mut ring = lock(&self.ring);
        ring.trim_history(now);
        look(&View::new(&ring))
    }

    /// Adds messages to the history that were published before, such as by an earlier process; oldest first, and
    /// before anything is published here.
    pub fn restore(&self, messages: impl IntoIterator<Item = (C, Option<Box<str>>, Stamp)>) {
        let now = now();
        let mut ring = lock(&self.ring);
        for (content, key, stamp) in messages {
            ring.restore(content, key, stamp);
        }
        ring.trim_history(now);
    }

    /// Drops the oldest history until it costs at most so many bytes, however much it may keep.
    pub fn shrink_history(&self, bytes: usize) {
        lock(&self.ring).shrink_history(bytes);
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        lock(&self.ring).audience.len()
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has that member.
    pub fn has(&self, id: MemberId) -> bool {
        lock(&self.ring).audience.has(id)
    }

    /// How many of its members are slow, or haven't begun.
    pub fn slow_members(&self) -> usize {
        self.seats().map(|(_, seat)| lock(&seat.part).slow_members()).sum()
    }

    /// How many bytes wait for them.
    pub fn waiting_bytes(&self) -> usize {
        self.seats().map(|(_, seat)| lock(&seat.part).waiting_bytes(&lock(&self.ring))).sum()
    }

    /// The room's books. Everything waits meanwhile, and what is pending is counted one by one.
    pub fn accounting(&self) -> Accounting {
        let parts: Vec<_> = self.seats().map(|(_, seat)| lock(&seat.part)).collect();
        let ring = lock(&self.ring);
        let mut books = Accounting { addressed: ring.audience.addressed(), ..Accounting::default() };
        for part in &parts {
            books += part.books;
            books.pending += part.pending(&ring);
        }
        books
    }

    /// Waits until the shards have delivered so much that at most half of `queue_bytes` is left: whoever publishes
    /// waits here before, so that bursts don't make members slow who aren't.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    pub async fn ready(&self) {
        loop {
            let mut progress = std::pin::pin!(self.progress.notified());
            progress.as_mut().enable();
            if self.is_ready() {
                return;
            }
            progress.await;
        }
    }

    /// Whether [`Room::ready`] is ready at once, as it is unless somebody publishes a lot: for whoever wants no
    /// future for that.
    pub fn is_ready(&self) -> bool {
        self.backlog_bytes() <= self.settings.queue_bytes as u64 / 2
    }

    /// What the shards have still to deliver to whoever isn't slow.
    fn backlog_bytes(&self) -> u64 {
        let dirty = self.seats().filter(|(_, seat)| seat.is_dirty.load(Ordering::Acquire));
        let cursors = dirty.map(|(_, seat)| seat.cursor.load(Ordering::Relaxed));
        cursors.min().map_or(0, |cursor| lock(&self.ring).lag(cursor))
    }

    fn call_shards(&self) {
        for (shard, seat) in self.seats() {
            // Whoever joined before this was published is counted, for that was under the ring's lock.
            if seat.members.load(Ordering::Relaxed) > 0 {
                self.call_shard(shard, seat);
            }
        }
    }

    /// Something was published, under the ring's lock, which the caller no longer holds.
    ///
    /// It isn't forgotten where the seat is dirty already: a turn's end clears that before it takes the ring's lock,
    /// so either it finds what was published, or it took that lock before and we see what it cleared.
    fn call_shard(&self, shard: usize, seat: &Seat<C>) {
        if seat.is_dirty.load(Ordering::Relaxed) || seat.is_dirty.swap(true, Ordering::AcqRel) {
            return;
        }
        let is_served = self.me.upgrade().is_some_and(|me| self.shards.at(shard).push_dirty(me));
        if !is_served {
            self.dismiss(shard);
        }
    }

    /// What is kept for members who haven't had it, in bytes.
    #[cfg(test)]
    pub(super) fn live_bytes(&self) -> u64 {
        lock(&self.ring).lag(0)
    }

    fn seats(&self) -> impl Iterator<Item = (usize, &Seat<C>)> {
        self.seats.iter().enumerate().filter_map(|(shard, seat)| Some((shard, &**seat.get()?)))
    }

    fn seat(&self, shard: usize) -> &Seat<C> {
        self.seats[shard].get_or_init(|| {
            Box::new(Seat {
                part: Mutex::new(Part::new(self.me.clone(), shard, &self.settings)),
                is_dirty: AtomicBool::new(false),
                needs_from: AtomicU64::new(NOTHING),
                members: AtomicUsize::new(0),
                cursor: AtomicU64::new(0),
            })
        })
    }

    /// Where the next member goes: home, and once that is full, wherever there are fewest.
    fn next_shard(&self) -> usize {
        let members =
            |shard: usize| self.seats[shard].get().map_or(0, |seat| seat.members.load(Ordering::Relaxed));
        if members(self.home) < MEMBERS_AT_HOME {
            return self.home;
        }
        (0..self.seats.len()).min_by_key(|shard| members(*shard)).unwrap_or(self.home)
    }

    /// A member has room again, or begins.
    pub(super) fn wake(&self, shard: usize, slot: usize, id: MemberId) {
        self.shards.at(shard).push_ready(self.me.clone(), slot, id);
    }

    /// Takes what was published, for that shard; `None` if nothing was.
    pub(super) fn begin_turn(&self, shard: usize) -> Option<Turn<C>> {
        let seat = self.seat(shard);
        let mut part = lock(&seat.part);
        let turn = part.begin(&lock(&self.ring));
        seat.cursor.store(part.cursor(), Ordering::Relaxed);
        turn
    }

    /// Serves as many members as `left` says, which it counts down; `true` once the turn is over.
    pub(super) fn serve(&self, shard: usize, turn: &mut Turn<C>, left: &mut usize) -> bool {
        let mut part = lock(&self.seat(shard).part);
        let is_over = part.serve(turn, left, &self.ring);
        say_goodbye(part);
        is_over
    }

    /// After a turn: lets go what nobody needs, and calls the shard again if there is more, behind the other rooms.
    pub(super) fn end_turn(&self, shard: usize) {
        let seat = self.seat(shard);
        seat.is_dirty.store(false, Ordering::Release);
        let part = lock(&seat.part);
        seat.cursor.store(part.cursor(), Ordering::Relaxed);
        let has_more = self.release(seat, &part);
        drop(part);
        if has_more {
            self.call_shard(shard, seat);
        }
        self.progress.notify_waiters();
    }

    /// Gives a member what waits for it; `true` if there is more and it has room.
    pub(super) fn resume(&self, shard: usize, slot: usize, id: MemberId) -> bool {
        let mut part = lock(&self.seat(shard).part);
        let has_more = part.resume(slot, id, &self.ring);
        say_goodbye(part);
        has_more
    }

    /// After members were served out of turn: lets go what nobody needs any more.
    pub(super) fn release_after(&self, shard: usize) {
        let seat = self.seat(shard);
        self.release(seat, &lock(&seat.part));
    }

    /// Lets go what nobody needs, and says whether there is more for the part.
    fn release(&self, seat: &Seat<C>, part: &Part<C>) -> bool {
        let mut ring = lock(&self.ring);
        seat.note(part);
        let needed = self.seats().map(|(_, seat)| seat.needs_from.load(Ordering::Relaxed)).min();
        let next = ring.next_seq();
        ring.release(needed.unwrap_or(next).min(next));
        part.len() > 0 && part.cursor() < next
    }

    /// A member leaves, if it hasn't been put out, and everybody else is told.
    pub(super) fn leave(&self, membership: &Membership<C>, announcement: Option<Publish<C>>) {
        let seat = self.seat(membership.shard);
        let mut part = lock(&seat.part);
        let mut ring = lock(&self.ring);
        let outlet = part.leave(membership.slot, membership.id, &mut ring);
        let is_told = announcement.is_some();
        if let Some(announcement) = announcement {
            ring.push(announcement);
        }
        drop(ring);
        if outlet.is_some() {
            self.release(seat, &part);
        }
        drop(part);
        if is_told {
            self.call_shards();
        }
        drop(outlet);
    }

    /// The shard's runtime has ended: its members get nothing any more, so nothing is kept for them.
    pub(super) fn dismiss(&self, shard: usize) {
        let seat = self.seat(shard);
        let mut part = lock(&seat.part);
        part.dismiss(&self.ring);
        seat.is_dirty.store(false, Ordering::Release);
        self.release(seat, &part);
        say_goodbye(part);
        self.progress.notify_waiters();
    }
}

/// Whoever was put out is told and dropped, outside the lock: that may end a connection, or call back.
fn say_goodbye<C: Content>(mut part: MutexGuard<'_, Part<C>>) {
    let gone = part.take_gone();
    drop(part);
    for (outlet, out) in gone {
        if out == Out::TooSlow {
            outlet.on_too_slow();
        }
    }
}

impl<C: Content> Seat<C> {
    /// What the part needs, for everybody to see; under the ring's lock.
    fn note(&self, part: &Part<C>) {
        self.needs_from.store(part.needs_from().unwrap_or(NOTHING), Ordering::Relaxed);
        self.members.store(part.len(), Ordering::Relaxed);
    }
}

impl<C: Content> fmt::Debug for Room<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("settings", &self.settings).finish_non_exhaustive()
    }
}
