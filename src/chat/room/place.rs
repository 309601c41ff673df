//! Being in a room: seen there, and getting what is said there.

use std::sync::Arc;

use crate::hub::Membership;

use super::super::content::Content;
use super::super::name::UserName;
use super::{Room, lock};

/// Somebody's being in a room by their name. Dropped it tells everybody that they left.
#[derive(Debug)]
pub struct Presence {
    room: Arc<Room>,
    name: UserName,
    number: u64,
    manner: Manner,
}

/// How somebody leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Everybody is told.
    Seen,
    /// Nobody is.
    Quiet,
}

impl Presence {
    /// Whoever has this number is in the room.
    pub(super) fn new(room: Arc<Room>, name: UserName, number: u64) -> Self {
        Self { room, name, number, manner: Manner::Seen }
    }

    pub(super) fn name(&self) -> &UserName {
        &self.name
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// In which room.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut people = lock(&self.room.people);
        self.room.leave(&mut people, self.name.as_str(), self.number, self.manner);
    }
}

/// A place in a room: one gets what is said there, and is seen there. Dropped it is given up, and everybody is told.
#[derive(Debug)]
pub struct Place {
    // Dropped first: who leaves doesn't get the news of it.
    membership: Membership<Content>,
    presence: Presence,
}

impl Place {
    pub(super) fn new(membership: Membership<Content>, presence: Presence) -> Self {
        Self { membership, presence }
    }

    /// From now on the member gets what is said.
    pub fn begin(&self) {
        self.membership.begin();
    }

    /// The hub's side of it.
    pub fn membership(&self) -> &Membership<Content> {
        &self.membership
    }

    /// The room.
    pub fn room(&self) -> &Arc<Room> {
        &self.presence.room
    }

    /// Gets nothing more, but is still seen.
    pub fn hold(self) -> Presence {
        let Self { membership, presence } = self;
        drop(membership);
        lock(&presence.room.people).set_contact(presence.name.as_str(), presence.number, None);
        presence
    }

    /// Gives it up without a word, because everybody goes.
    pub fn leave_quietly(mut self) {
        self.presence.manner = Manner::Quiet;
    }
}
