//! A shard: the task that gives members what was published, behind everything else that is ready.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::audience::MemberId;
use super::content::Content;
use super::room::{Room, lock};
use super::turn::Turn;

/// What one shard has to do.
pub(super) struct Shard<C: Content + 'static> {
    index: usize,
    inbox: Mutex<Inbox<C>>,
    /// Told when something comes into the inbox, and when nobody needs the shard any more.
    news: Notify,
}

struct Inbox<C: Content + 'static> {
    /// Rooms in which something was published. Each stands here once.
    dirty: Vec<Arc<Room<C>>>,
    /// Members that have room again. Each stands here once a wake-up.
    ready: Vec<Ready<C>>,
    is_over: bool,
}

/// A member that has room again.
type Ready<C> = (Weak<Room<C>>, usize, MemberId);

impl<C: Content + 'static> Shard<C> {
    fn new(index: usize) -> Self {
        let inbox = Inbox { dirty: Vec::new(), ready: Vec::new(), is_over: false };
        Self { index, inbox: Mutex::new(inbox), news: Notify::new() }
    }

    /// Something was published there; `false` if nobody serves anybody here any more.
    pub(super) fn push_dirty(&self, room: Arc<Room<C>>) -> bool {
        let mut inbox = lock(&self.inbox);
        if inbox.is_over {
            return false;
        }
        inbox.dirty.push(room);
        drop(inbox);
        self.news.notify_one();
        true
    }

    pub(super) fn push_ready(&self, room: Weak<Room<C>>, slot: usize, id: MemberId) {
        let mut inbox = lock(&self.inbox);
        if !inbox.is_over {
            inbox.ready.push((room, slot, id));
            drop(inbox);
            self.news.notify_one();
        }
    }

    /// Ends its task.
    fn end(&self) {
        lock(&self.inbox).is_over = true;
        self.news.notify_one();
    }
}

/// The work of a shard's task. Dropped with the task: what the runtime ended before its rooms is nobody's any more.
pub(super) struct Shift<C: Content + 'static> {
    shard: Arc<Shard<C>>,
    /// Rooms whose members get their shares in turns, a step at a time.
    turns: VecDeque<Due<C>>,
    ready: VecDeque<Ready<C>>,
}

/// A room and its turn, once that has begun.
type Due<C> = (Arc<Room<C>>, Option<Box<Turn<C>>>);

/// How many members get their share before others' tasks run.
const MEMBERS_A_STEP: usize = 128;

/// How many members that have room again are served before others' tasks run: each may get much at once.
const READY_A_STEP: usize = 16;

impl<C: Content + 'static> Shift<C> {
    pub(super) fn new(shard: Arc<Shard<C>>) -> Self {
        Self { shard, turns: VecDeque::new(), ready: VecDeque::new() }
    }

    /// Serves members until nobody needs it any more.
    async fn run(mut self) {
        loop {
            if self.is_idle() {
                self.shard.news.notified().await;
            }
            // Whoever is ready to publish does so first, and then all of it goes out at once.
            tokio::task::yield_now().await;
            if !self.take_inbox() {
                return;
            }
            self.resume_some(READY_A_STEP);
            self.serve_some(MEMBERS_A_STEP);
        }
    }

    /// Whether all is done that was in the inbox.
    pub(super) fn is_idle(&self) -> bool {
        self.turns.is_empty() && self.ready.is_empty()
    }

    /// Takes what there is to do; `false` if there will be nothing any more.
    pub(super) fn take_inbox(&mut self) -> bool {
        let mut inbox = lock(&self.shard.inbox);
        self.turns.extend(inbox.dirty.drain(..).map(|room| (room, None)));
        self.ready.extend(inbox.ready.drain(..));
        !inbox.is_over
    }

    /// Gives some members what waits for them.
    pub(super) fn resume_some(&mut self, members: usize) {
        let index = self.shard.index;
        let some = self.ready.len().min(members);
        let mut served: Vec<Arc<Room<C>>> = Vec::new();
        for (weak, slot, id) in self.ready.drain(..some).collect::<Vec<_>>() {
            let Some(room) = weak.upgrade() else { continue };
            if guard(&room, index, || room.resume(index, slot, id)).unwrap_or(false) {
                self.ready.push_back((weak, slot, id));
            }
            if served.last().is_none_or(|last| !Arc::ptr_eq(last, &room)) {
                served.push(room);
            }
        }
        for room in served {
            room.release_after(index);
        }
    }

    /// Gives some members what was published. Rooms take turns at this: a large one doesn't hold up the others.
    pub(super) fn serve_some(&mut self, members: usize) {
        let index = self.shard.index;
        let mut left = members;
        while left > 0
            && let Some((room, turn)) = self.turns.pop_front()
        {
            let Some(mut turn) = turn.or_else(|| room.begin_turn(index).map(Box::new)) else {
                left -= 1;
                room.end_turn(index);
                continue;
            };
            match guard(&room, index, || room.serve(index, &mut turn, &mut left)) {
                Some(true) => room.end_turn(index),
                Some(false) => self.turns.push_back((room, Some(turn))),
                None => {}
            }
        }
    }
}

/// What `call` returns. If it panics, because a message can't be encoded, the room's members here are put out: the
/// other rooms go on.
fn guard<C: Content + 'static, T>(room: &Room<C>, shard: usize, call: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(call));
    if result.is_err() {
        room.dismiss(shard);
    }
    result.ok()
}

impl<C: Content + 'static> Drop for Shift<C> {
    fn drop(&mut self) {
        let mut inbox = lock(&self.shard.inbox);
        inbox.is_over = true;
        let dirty = std::mem::take(&mut inbox.dirty);
        let ready = std::mem::take(&mut inbox.ready);
        drop(inbox);
        drop(ready);
        for room in dirty.into_iter().chain(self.turns.drain(..).map(|(room, _)| room)) {
            room.dismiss(self.shard.index);
        }
    }
}

/// A hub's shards. Their tasks end with the last of the hub and its rooms.
pub(super) struct Shards<C: Content + 'static>(Box<[Arc<Shard<C>>]>);

impl<C: Content + 'static> Shards<C> {
    /// One a worker of the runtime.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(super) fn start() -> Arc<Self> {
        let shards = Self::idle(tokio::runtime::Handle::current().metrics().num_workers());
        for shard in &shards.0 {
            tokio::spawn(Shift::new(shard.clone()).run());
        }
        shards
    }

    /// So many of which nobody does the work.
    pub(super) fn idle(count: usize) -> Arc<Self> {
        Arc::new(Self((0..count).map(|index| Arc::new(Shard::new(index))).collect()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn at(&self, index: usize) -> &Arc<Shard<C>> {
        &self.0[index]
    }
}

impl<C: Content + 'static> Drop for Shards<C> {
    fn drop(&mut self) {
        self.0.iter().for_each(|shard| shard.end());
    }
}
