//! A shard: the task that gives members what was published, behind everything else that is ready.

use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::content::Content;
use super::room::{MemberId, Room, lock};

/// What one shard has to do.
pub(super) struct Shard<C: Content> {
    index: usize,
    inbox: Mutex<Inbox<C>>,
    /// Told when something comes into the inbox, and when the hub is gone.
    news: Notify,
}

struct Inbox<C: Content> {
    /// Rooms in which something was published. Each stands here once.
    dirty: Vec<Arc<Room<C>>>,
    /// Members that have room again. Each stands here once a wake-up.
    ready: Vec<(Weak<Room<C>>, usize, MemberId)>,
    is_over: bool,
}

impl<C: Content + 'static> Shard<C> {
    pub(super) fn new(index: usize) -> Self {
        let inbox = Inbox { dirty: Vec::new(), ready: Vec::new(), is_over: false };
        Self { index, inbox: Mutex::new(inbox), news: Notify::new() }
    }

    pub(super) fn push_dirty(&self, room: Arc<Room<C>>) {
        lock(&self.inbox).dirty.push(room);
        self.news.notify_one();
    }

    pub(super) fn push_ready(&self, room: Weak<Room<C>>, slot: usize, id: MemberId) {
        lock(&self.inbox).ready.push((room, slot, id));
        self.news.notify_one();
    }

    /// Ends its task.
    pub(super) fn end(&self) {
        lock(&self.inbox).is_over = true;
        self.news.notify_one();
    }

    /// Serves members until the hub is gone.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            self.news.notified().await;
            // Whoever is ready to publish does so first, and then all of it goes out at once.
            tokio::task::yield_now().await;
            if lock(&self.inbox).is_over {
                return;
            }
            self.serve_ready().await;
            self.serve_dirty().await;
        }
    }

    async fn serve_ready(&self) {
        let ready = std::mem::take(&mut lock(&self.inbox).ready);
        let mut served: Vec<Arc<Room<C>>> = Vec::new();
        for (at, (weak, slot, id)) in ready.into_iter().enumerate() {
            let Some(room) = weak.upgrade() else { continue };
            if room.resume(self.index, slot, id) {
                self.push_ready(weak, slot, id);
            }
            if served.last().is_none_or(|last| !Arc::ptr_eq(last, &room)) {
                served.push(room);
            }
            if at % READY_A_STEP == READY_A_STEP - 1 {
                tokio::task::yield_now().await;
            }
        }
        for room in served {
            room.release_after(self.index);
        }
    }

    /// Gives everybody what was published, as much of it as goes out at a time; the rest is for the next round.
    async fn serve_dirty(&self) {
        let dirty = std::mem::take(&mut lock(&self.inbox).dirty);
        for room in dirty {
            let Some(mut turn) = room.begin_turn(self.index) else { continue };
            while !room.serve(self.index, &mut turn) {
                tokio::task::yield_now().await;
            }
            room.end_turn(self.index);
        }
    }
}

/// How many members that have room again are served before others' tasks run.
const READY_A_STEP: usize = 16;
