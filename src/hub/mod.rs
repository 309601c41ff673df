//! Fan-out: rooms, and members that take what is published in them.
//!
//! The hub knows no WebSocket and no socket: a member is anything that takes a [`Prepared`](crate::Prepared) without waiting. A
//! message is encoded once and given to each member by reference, in one order for everybody. A member that takes
//! no more becomes *slow*: what it has not had waits for it, by reference and within a budget, and the room's
//! [`Policy`] says what happens beyond that. Nobody else feels it.

mod pending;
mod room;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub use pending::{Missed, Policy};
pub use room::{Accounting, Delivery, MemberId, Outlet, Publish};

use room::Taken;

use room::Room;

/// All rooms of this server.
#[derive(Debug)]
pub struct Hub {
    rooms: Mutex<HashMap<String, Arc<Room>>>,
    settings: Settings,
}

/// What holds for every room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What happens to a member that is too slow.
    pub policy: Policy,
    /// How many bytes may wait for a slow member, counted with what it takes to keep them.
    pub queue_bytes: usize,
    /// How many rooms there may be. Empty ones don't count: they are gone.
    pub max_rooms: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { policy: Policy::Disconnect, queue_bytes: 1 << 20, max_rooms: 100_000 }
    }
}

/// Why somebody can't join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Somebody in the room goes by one of the names.
    #[error("this name is taken: choose another one")]
    NameTaken,
    /// There are `max_rooms` rooms.
    #[error("there are too many rooms: join one that exists")]
    TooManyRooms,
}

impl Hub {
    /// A hub without rooms.
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self { rooms: Mutex::default(), settings })
    }

    /// Joins a room, which is made if it isn't there.
    ///
    /// `names` are what nobody else in the room may go by. In one step, so that nothing can come between: `welcome`
    /// goes to the new member, `announcement` to everybody else, and the member is in.
    ///
    /// # Errors
    ///
    /// [`JoinError`]; then nobody was told anything.
    pub fn join(
        self: &Arc<Self>,
        room: &str,
        names: Vec<String>,
        outlet: Arc<dyn Outlet>,
        (welcome, announcement): (&Publish, &Publish),
    ) -> Result<Membership, JoinError> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !rooms.contains_key(room);
        if is_new && rooms.len() >= self.settings.max_rooms {
            return Err(JoinError::TooManyRooms);
        }
        let joined =
            rooms.entry(room.to_owned()).or_insert_with(|| Arc::new(Room::new(self.settings))).clone();
        // Counted while the rooms are locked, so that an emptied room isn't removed under it.
        let result = joined.join(names, outlet, welcome, announcement);
        if result.is_err() && is_new {
            rooms.remove(room);
        }
        let id = result.map_err(|Taken| JoinError::NameTaken)?;
        Ok(Membership { hub: Arc::downgrade(self), room_name: room.to_owned(), room: joined, id })
    }

    /// How many rooms have members.
    pub fn room_count(&self) -> usize {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn remove_if_empty(&self, room: &str) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if rooms.get(room).is_some_and(|room| room.is_empty()) {
            rooms.remove(room);
        }
    }
}

/// A place in a room. Dropped it is given up without a word; [`Membership::leave`] says one.
#[derive(Debug)]
pub struct Membership {
    hub: Weak<Hub>,
    room_name: String,
    room: Arc<Room>,
    id: MemberId,
}

impl Membership {
    /// Publishes to everybody else in the room.
    pub fn publish(&self, publish: &Publish) {
        self.room.publish(Some(self.id), publish);
    }

    /// Delivers what has waited, as far as the outlet takes it. Whoever was told [`Outlet::on_slow`] calls this once
    /// the outlet has room again.
    pub fn resume(&self) {
        self.room.resume(self.id);
    }

    /// The room's books.
    pub fn accounting(&self) -> Accounting {
        self.room.accounting()
    }

    /// Leaves, and tells everybody else.
    pub fn leave(self, announcement: &Publish) {
        self.room.leave(self.id, Some(announcement));
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.room.leave(self.id, None);
        if let Some(hub) = self.hub.upgrade() {
            hub.remove_if_empty(&self.room_name);
        }
    }
}
