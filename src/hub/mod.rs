//! Fan-out: rooms, and members that take what is published in them.
//!
//! The hub knows no WebSocket and no socket: a member is anything that takes a [`Batch`](crate::Batch) without
//! waiting. What is published has one place in its room's ring, one order for everybody. Members live on shards,
//! one a worker of the runtime; a shard runs behind the tasks that are ready, takes all that was published
//! meanwhile, and hands each member the whole batch by reference, encoded once. Nobody's task is woken for it.
//!
//! A member that takes no more becomes *slow*: only its cursor stays behind, and when more than `queue_bytes` lie
//! between it and the end the room's [`Policy`] says what happens. Nobody else feels it.

mod audience;
mod content;
mod lag;
mod member;
mod membership;
mod part;
mod ring;
mod room;
mod shard;
#[cfg(test)]
mod tests;
mod turn;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

pub use audience::MemberId;
pub use content::{Content, Form, Lifetime, Publish, Stamp, now};
pub use member::{Delivery, Missed, Outlet, Policy};
pub use membership::Membership;
pub use ring::{Entry, Retention};
pub use room::{Accounting, Room, Settings};
pub use view::View;

use room::lock;
use shard::Shards;

/// Rooms, and the shards that serve their members. Rooms that somebody holds outlive it.
pub struct Hub<C: Content + 'static = crate::proto::Prepared> {
    shards: Arc<Shards<C>>,
    settings: Settings,
    /// Those that somebody holds, and a bounded number of others.
    rooms: Mutex<HashMap<Box<str>, Weak<Room<C>>>>,
}

impl<C: Content + 'static> Hub<C> {
    /// A hub without rooms; `settings` are those of its rooms. Its members are served by the runtime that it is made
    /// in, and are put out when that ends.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn new(settings: Settings) -> Self {
        Self { shards: Shards::start(), settings, rooms: Mutex::default() }
    }

    /// The room of that name. It is there as long as somebody holds it, a member for one.
    pub fn room(&self, name: &str) -> Arc<Room<C>> {
        let mut rooms = lock(&self.rooms);
        if let Some(room) = rooms.get(name).and_then(Weak::upgrade) {
            return room;
        }
        if rooms.len() == rooms.capacity() {
            // Before it grows.
            rooms.retain(|_, room| room.strong_count() > 0);
        }
        let room = self.open(self.settings, 0);
        rooms.insert(name.into(), Arc::downgrade(&room));
        room
    }

    /// A room without a name, with settings of its own, whose newest message has had `offset`.
    pub fn open(&self, settings: Settings, offset: u64) -> Arc<Room<C>> {
        Room::new(self.shards.clone(), settings, offset)
    }
}

impl<C: Content> std::fmt::Debug for Hub<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}
