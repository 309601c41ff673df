//! One room: its order, its members, and its books.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Wake, Waker};

use tokio::sync::Notify;

use super::content::{Content, FORMS, Form, Publish};
use super::member::{Lag, Member, Outlet, Policy};
use super::part::{Part, Turn};
use super::ring::{Entry, Retention, Ring};
use super::shard::Shard;

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

/// Tells members apart, whatever they are called. No two of a process are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(u64);

impl MemberId {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Its number.
    pub fn get(self) -> u64 {
        self.0
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

/// How many members of each form there are. Changed under the ring's lock only.
#[derive(Debug, Default)]
pub(super) struct Audience([AtomicUsize; FORMS]);

impl Audience {
    fn join(&self, form: Form) {
        self.0[form.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self, form: Form) {
        self.0[form.index()].fetch_sub(1, Ordering::Relaxed);
    }

    fn of<C: Content>(&self, content: &C) -> usize {
        let counts = self.0.iter().zip(0..);
        counts
            .filter(|(_, form)| content.is_for(Form::new(*form)))
            .map(|(count, _)| count.load(Ordering::Relaxed))
            .sum()
    }

    fn total(&self) -> usize {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// A room. It lives as long as somebody holds it.
///
/// Locks are taken in this order: a part, then the ring, then a shard's list.
pub struct Room<C: Content = crate::proto::Prepared> {
    ring: Mutex<Ring<C>>,
    /// One a shard, made with its first member.
    parts: Box<[OnceLock<Box<Seat<C>>>]>,
    shards: Arc<[Arc<Shard<C>>]>,
    /// Where its first members are.
    home: usize,
    audience: Audience,
    addressed: AtomicU64,
    settings: Settings,
    /// Told whenever a shard has delivered something.
    progress: Notify,
    me: Weak<Self>,
}

/// A part, and what can be seen of it without its lock.
struct Seat<C> {
    part: Mutex<Part<C>>,
    /// Whether it stands on its shard's list.
    is_dirty: AtomicBool,
    /// What its members need begins here. Changed under the ring's lock only.
    needs_from: AtomicU64,
    /// Where its next turn begins, for whoever doesn't want to wait for the lock.
    cursor: AtomicU64,
}

/// Nobody there needs anything.
const NOTHING: u64 = u64::MAX;

/// So many members are on one shard before others get some: small rooms stay together.
const MEMBERS_AT_HOME: usize = 64;

/// How many members get their share before others' tasks run.
pub(super) const MEMBERS_A_STEP: usize = 128;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<C: Content + 'static> Room<C> {
    /// A room whose newest message has had `offset`, 0 for a new one.
    pub(super) fn new(shards: Arc<[Arc<Shard<C>>]>, settings: Settings, offset: u64) -> Arc<Self> {
        static NEXT_HOME: AtomicUsize = AtomicUsize::new(0);
        let has_keys = settings.policy == Policy::LatestPerKey;
        Arc::new_cyclic(|me| Self {
            ring: Mutex::new(Ring::new(settings.retention, offset, has_keys)),
            parts: shards.iter().map(|_| OnceLock::new()).collect(),
            home: NEXT_HOME.fetch_add(1, Ordering::Relaxed) % shards.len(),
            shards,
            audience: Audience::default(),
            addressed: AtomicU64::new(0),
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
    /// The member gets nothing until [`Membership::begin`], so that it can be told first what `look` saw.
    pub fn join_with<R>(
        self: &Arc<Self>,
        outlet: Arc<dyn Outlet>,
        form: Form,
        announcement: Option<Publish<C>>,
        look: impl FnOnce(&View<'_, C>) -> R,
    ) -> (Membership<C>, R) {
        let index = self.seat_index();
        let seat = self.seat(index);
        let mut part = lock(&seat.part);
        let mut ring = lock(&self.ring);
        let is_told = announcement.is_some();
        if let Some(announcement) = announcement {
            self.push(&mut ring, announcement);
        }
        let id = MemberId::new();
        let is_in = Arc::new(AtomicBool::new(true));
        let cursor = ring.next_seq();
        let slot = part.insert(&ring, |slot| Member {
            id,
            form,
            outlet,
            is_in: is_in.clone(),
            cursor,
            lag: Some(Box::new(Lag::new(self.waker(index, slot, id)))),
        });
        self.audience.join(form);
        seat.needs_from.store(part.needs_from().unwrap_or(NOTHING), Ordering::Relaxed);
        let seen = look(&View { ring: &mut ring });
        drop(ring);
        drop(part);
        if is_told {
            self.call_shards();
        }
        (Membership { room: self.clone(), index, slot, id, form, is_in }, seen)
    }

    /// Publishes to everybody, and returns the message in its place.
    pub fn publish(&self, publish: Publish<C>) -> Arc<Entry<C>> {
        let entry = self.push(&mut lock(&self.ring), publish);
        self.call_shards();
        entry
    }

    /// Looks at the room's history.
    pub fn look<R>(&self, look: impl FnOnce(&View<'_, C>) -> R) -> R {
        let mut ring = lock(&self.ring);
        ring.trim_history(super::content::now());
        look(&View { ring: &mut ring })
    }

    /// Adds messages to the history that were published before, such as by an earlier process; oldest first.
    pub fn restore(&self, messages: impl IntoIterator<Item = (C, Option<Box<str>>, super::Stamp)>) {
        let mut ring = lock(&self.ring);
        for (content, key, stamp) in messages {
            ring.restore(content, key, stamp);
        }
        ring.trim_history(super::content::now());
    }

    /// Drops the oldest history until it costs at most so many bytes, however much it may keep.
    pub fn shrink_history(&self, bytes: usize) {
        lock(&self.ring).shrink_history(bytes);
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.audience.total()
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them are slow.
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
        let mut books =
            Accounting { addressed: self.addressed.load(Ordering::Relaxed), ..Accounting::default() };
        for part in &parts {
            books += part.books;
            books.pending += part.pending(&ring);
        }
        books
    }

    /// Waits until the shards have delivered so much that at most `queue_bytes` are left: whoever publishes waits
    /// here before, so that bursts don't make members slow who aren't.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    pub async fn ready(&self) {
        loop {
            let progress = self.progress.notified();
            let mut progress = std::pin::pin!(progress);
            progress.as_mut().enable();
            if self.backlog_bytes() <= self.settings.queue_bytes as u64 / 2 {
                return;
            }
            progress.await;
        }
    }

    /// What the shards have still to begin with.
    fn backlog_bytes(&self) -> u64 {
        let dirty = self.seats().filter(|(_, seat)| seat.is_dirty.load(Ordering::Acquire));
        let cursors = dirty.map(|(_, seat)| seat.cursor.load(Ordering::Relaxed));
        cursors.min().map_or(0, |cursor| lock(&self.ring).lag(cursor))
    }

    fn push(&self, ring: &mut Ring<C>, publish: Publish<C>) -> Arc<Entry<C>> {
        let audience = self.audience.of(&publish.content);
        let entry = ring.push(publish);
        self.addressed.fetch_add(audience as u64, Ordering::Relaxed);
        if self.audience.total() == 0 {
            ring.release(ring.next_seq());
        }
        entry
    }

    fn call_shards(&self) {
        self.seats().for_each(|(index, seat)| self.call_shard(index, seat));
    }

    fn call_shard(&self, index: usize, seat: &Seat<C>) {
        if !seat.is_dirty.swap(true, Ordering::AcqRel)
            && let Some(me) = self.me.upgrade()
        {
            self.shards[index].push_dirty(me);
        }
    }

    fn seats(&self) -> impl Iterator<Item = (usize, &Seat<C>)> {
        self.parts.iter().enumerate().filter_map(|(index, seat)| Some((index, &**seat.get()?)))
    }

    fn seat(&self, index: usize) -> &Seat<C> {
        self.parts[index].get_or_init(|| {
            Box::new(Seat {
                part: Mutex::new(Part::new()),
                is_dirty: AtomicBool::new(false),
                needs_from: AtomicU64::new(NOTHING),
                cursor: AtomicU64::new(0),
            })
        })
    }

    /// Where the next member goes.
    fn seat_index(&self) -> usize {
        let members = self.len();
        if members < MEMBERS_AT_HOME { self.home } else { (self.home + members) % self.parts.len() }
    }

    fn waker(&self, index: usize, slot: usize, id: MemberId) -> Waker {
        Waker::from(Arc::new(MemberWaker { room: self.me.clone(), index, slot, id }))
    }

    /// Takes what was published, for the shard of this index. What comes from now on calls it again.
    pub(super) fn begin_turn(&self, index: usize) -> Option<Turn<C>> {
        let seat = self.seat(index);
        seat.is_dirty.store(false, Ordering::Release);
        let mut part = lock(&seat.part);
        let turn = part.begin(&lock(&self.ring));
        seat.cursor.store(part.cursor(), Ordering::Relaxed);
        if turn.is_none() {
            self.progress.notify_waiters();
        }
        turn
    }

    /// Gives some members their share; `true` once all have it.
    pub(super) fn serve(&self, index: usize, turn: &mut Turn<C>) -> bool {
        let seat = self.seat(index);
        lock(&seat.part).serve(turn, MEMBERS_A_STEP, (&self.ring, &self.audience))
    }

    /// After a turn: the slow ones wait, or bear what the policy says.
    pub(super) fn end_turn(&self, index: usize) {
        let seat = self.seat(index);
        let Settings { policy, queue_bytes, .. } = self.settings;
        let mut part = lock(&seat.part);
        let ready = part.end(
            (policy, queue_bytes),
            |slot, id| self.waker(index, slot, id),
            (&self.ring, &self.audience),
        );
        seat.cursor.store(part.cursor(), Ordering::Relaxed);
        let has_more = self.release(seat, &part);
        drop(part);
        for (slot, id) in ready {
            self.shards[index].push_ready(self.me.clone(), slot, id);
        }
        if has_more {
            // Behind the other rooms.
            self.call_shard(index, seat);
        }
        self.progress.notify_waiters();
    }

    /// Gives a member what waits for it; `true` if there is more and it has room.
    pub(super) fn resume(&self, index: usize, slot: usize, id: MemberId) -> bool {
        let seat = self.seat(index);
        lock(&seat.part).resume(slot, id, (&self.ring, &self.audience))
    }

    /// After members were served out of turn: lets go what nobody needs any more.
    pub(super) fn release_after(&self, index: usize) {
        let seat = self.seat(index);
        self.release(seat, &lock(&seat.part));
    }

    /// Lets go what nobody needs, and says whether there is more for the part.
    fn release(&self, seat: &Seat<C>, part: &Part<C>) -> bool {
        let mut ring = lock(&self.ring);
        seat.needs_from.store(part.needs_from().unwrap_or(NOTHING), Ordering::Relaxed);
        let needed = self.seats().map(|(_, seat)| seat.needs_from.load(Ordering::Relaxed)).min();
        let next = ring.next_seq();
        ring.release(needed.unwrap_or(next).min(next));
        part.len() > 0 && part.cursor() < next
    }
}

impl<C: Content> fmt::Debug for Room<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("members", &self.audience.total()).finish_non_exhaustive()
    }
}

/// A look at a room's history, while nothing changes.
pub struct View<'a, C> {
    ring: &'a mut Ring<C>,
}

impl<C: Content> View<'_, C> {
    /// The newest kept message's offset.
    pub fn offset(&self) -> u64 {
        self.ring.offset()
    }

    /// The history, oldest first.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Arc<Entry<C>>> + ExactSizeIterator {
        self.ring.history().iter()
    }

    /// What came after `offset`, oldest first.
    pub fn after(&self, offset: u64) -> impl DoubleEndedIterator<Item = &Arc<Entry<C>>> + ExactSizeIterator {
        let history = self.ring.history();
        history.range(history.partition_point(|entry| entry.stamp().offset <= offset)..)
    }

    /// Whether [`View::after`] has everything that came after `offset`.
    pub fn is_complete_after(&self, offset: u64) -> bool {
        self.ring.is_complete_after(offset)
    }

    /// Whether the history has everything that was ever published.
    pub fn is_whole(&self) -> bool {
        self.ring.is_complete_after(0)
    }

    /// What the history costs, in bytes.
    pub fn history_bytes(&self) -> usize {
        self.ring.history_bytes()
    }
}

/// Wakes a member that had no room.
struct MemberWaker<C: Content> {
    room: Weak<Room<C>>,
    index: usize,
    slot: usize,
    id: MemberId,
}

impl<C: Content + 'static> Wake for MemberWaker<C> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(room) = self.room.upgrade() {
            room.shards[self.index].push_ready(self.room.clone(), self.slot, self.id);
        }
    }
}

/// A place in a room, given up when it is dropped.
pub struct Membership<C: Content + 'static = crate::proto::Prepared> {
    room: Arc<Room<C>>,
    index: usize,
    slot: usize,
    id: MemberId,
    form: Form,
    is_in: Arc<AtomicBool>,
}

impl<C: Content + 'static> Membership<C> {
    /// From now on the member gets what is published.
    pub fn begin(&self) {
        self.room.shards[self.index].push_ready(Arc::downgrade(&self.room), self.slot, self.id);
    }

    /// Publishes to everybody else in the room, in the order of the calls, and returns the message in its place.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has published nothing.
    pub async fn publish(&self, content: impl Into<C>) -> Arc<Entry<C>> {
        self.room.ready().await;
        self.publish_now(Publish::new(content.into()))
    }

    /// The same, whatever the shards have still to deliver; see [`Room::ready`].
    pub fn publish_now(&self, publish: Publish<C>) -> Arc<Entry<C>> {
        let mut ring = lock(&self.room.ring);
        let is_addressed = self.is_in.load(Ordering::Relaxed) && publish.content.is_for(self.form);
        let entry = self.room.push(&mut ring, publish.by(self.id));
        if is_addressed {
            // It is for everybody but its sender.
            self.room.addressed.fetch_sub(1, Ordering::Relaxed);
        }
        drop(ring);
        self.room.call_shards();
        entry
    }

    /// Which member it is.
    pub fn id(&self) -> MemberId {
        self.id
    }

    /// The room.
    pub fn room(&self) -> &Arc<Room<C>> {
        &self.room
    }

    /// Whether the room still counts it among its members: it doesn't if it was too slow, or its outlet was closed.
    pub fn is_in(&self) -> bool {
        self.is_in.load(Ordering::Relaxed)
    }

    /// Leaves, and tells everybody else, in one step.
    pub fn leave(self, announcement: Publish<C>) {
        self.give_up(Some(announcement));
    }

    fn give_up(&self, announcement: Option<Publish<C>>) {
        let seat = self.room.seat(self.index);
        let mut part = lock(&seat.part);
        let mut ring = lock(&self.room.ring);
        let outlet = if part.get(self.slot, self.id).is_some() {
            part.remove(self.slot, &ring, &self.room.audience)
        } else {
            None
        };
        let is_told = announcement.is_some();
        if let Some(announcement) = announcement {
            self.room.push(&mut ring, announcement);
        }
        drop(ring);
        if outlet.is_some() {
            self.room.release(seat, &part);
        }
        drop(part);
        if is_told {
            self.room.call_shards();
        }
        // Outside the locks: it may be the last that holds a connection.
        drop(outlet);
    }
}

impl<C: Content + 'static> Drop for Membership<C> {
    fn drop(&mut self) {
        self.give_up(None);
    }
}

impl<C: Content + 'static> fmt::Debug for Membership<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("id", &self.id).finish_non_exhaustive()
    }
}
