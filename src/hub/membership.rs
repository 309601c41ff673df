//! A place in a room, as its holder sees it.

use std::fmt;
use std::sync::{Arc, Weak};
use std::task::Wake;

use super::audience::MemberId;
use super::content::{Content, Publish};
use super::ring::Entry;
use super::room::Room;

/// A place in a room, given up when it is dropped.
pub struct Membership<C: Content + 'static = crate::proto::Prepared> {
    pub(super) room: Arc<Room<C>>,
    pub(super) shard: usize,
    pub(super) slot: usize,
    pub(super) id: MemberId,
}

impl<C: Content + 'static> Membership<C> {
    /// From now on the member gets what is published, beginning with what was since it joined.
    pub fn begin(&self) {
        self.room.wake(self.shard, self.slot, self.id);
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
        self.room.publish(publish.by(self.id))
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
        self.room.has(self.id)
    }

    /// Leaves, and tells everybody else, in one step.
    pub fn leave(self, announcement: Publish<C>) {
        self.room.leave(&self, Some(announcement));
    }
}

impl<C: Content + 'static> Drop for Membership<C> {
    fn drop(&mut self) {
        self.room.leave(self, None);
    }
}

impl<C: Content + 'static> fmt::Debug for Membership<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Wakes a member that had no room. A connection may hold it for long, so it holds the room weakly.
pub(super) struct MemberWaker<C: Content + 'static> {
    pub(super) room: Weak<Room<C>>,
    pub(super) shard: usize,
    pub(super) slot: usize,
    pub(super) id: MemberId,
}

impl<C: Content + 'static> Wake for MemberWaker<C> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(room) = self.room.upgrade() {
            room.wake(self.shard, self.slot, self.id);
        }
    }
}
