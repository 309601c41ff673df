//! Who is in a room, by name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::name::UserName;

/// What a member's connection can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Leave this room.
    Kick {
        /// Which room.
        room: super::room_name::RoomName,
        /// Who says so.
        by: String,
        /// And why.
        reason: Option<String>,
    },
    /// An administrator disconnects it.
    Disconnect,
    /// Another connection goes on with its session.
    GiveUp,
    /// It was too slow, and is out of its room.
    TooSlow,
}

/// A member's connection, as others reach it.
pub trait Contact: Send + Sync {
    /// Gives an order, which is carried out soon.
    fn order(&self, order: Order);
}

/// Those who are in a room.
///
/// Invariant: each person in `by_name` holds all of their keys in `by_key`.
#[derive(Default)]
pub(super) struct People {
    by_key: HashMap<String, u64>,
    by_name: BTreeMap<String, Person>,
    next: u64,
    /// Counts joins and leaves.
    pub(super) version: u64,
    /// Until when whoever goes by a key may not come in. Bounded by `MAX_BANS`.
    bans: HashMap<String, u64>,
}

struct Person {
    number: u64,
    keys: Vec<String>,
    /// `None` while their session is held.
    contact: Option<Arc<dyn Contact>>,
}

/// Somebody who is there.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) number: u64,
    /// `None` while their session is held.
    pub(super) contact: Option<Arc<dyn Contact>>,
}

/// How many bans a room has at most.
pub(super) const MAX_BANS: usize = 10_000;

impl People {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Lets somebody in whose name is free, and returns their number.
    pub(super) fn insert(&mut self, name: &UserName, contact: Arc<dyn Contact>) -> Option<u64> {
        let keys = name.keys();
        if keys.iter().any(|key| self.by_key.contains_key(key)) {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.by_key.extend(keys.iter().map(|key| (key.clone(), number)));
        self.by_name.insert(name.as_str().to_owned(), Person { number, keys, contact: Some(contact) });
        self.version += 1;
        Some(number)
    }

    pub(super) fn remove(&mut self, name: &str, number: u64) -> bool {
        if self.by_name.get(name).is_none_or(|person| person.number != number) {
            return false;
        }
        for key in self.by_name.remove(name).into_iter().flat_map(|person| person.keys) {
            self.by_key.remove(&key);
        }
        self.version += 1;
        true
    }

    /// How somebody is reached from now on; `false` if they are gone.
    pub(super) fn set_contact(&mut self, name: &str, number: u64, contact: Option<Arc<dyn Contact>>) -> bool {
        let person = self.by_name.get_mut(name).filter(|person| person.number == number);
        person.map(|person| person.contact = contact).is_some()
    }

    /// Whoever goes by a name that looks like this one.
    pub(super) fn find(&self, name: &UserName) -> Option<Found> {
        let number = name.keys().iter().find_map(|key| self.by_key.get(key).copied())?;
        let (name, person) = self.by_name.iter().find(|(_, person)| person.number == number)?;
        Some(Found { name: name.clone(), number, contact: person.contact.clone() })
    }

    /// Whether anybody is banned now.
    pub(super) fn has_bans(&self, now: u64) -> bool {
        self.bans.values().any(|until| *until > now)
    }

    /// Until when a name is banned.
    pub(super) fn banned_until(&mut self, name: &UserName, now: u64) -> Option<u64> {
        let keys = name.keys();
        let until = keys.iter().filter_map(|key| self.bans.get(key)).copied().max()?;
        if until > now {
            return Some(until);
        }
        for key in keys {
            self.bans.remove(&key);
        }
        None
    }

    /// Bans a name, or lifts that if `until` is over; `false` if there are too many bans.
    pub(super) fn ban(&mut self, keys: impl IntoIterator<Item = String>, until: u64, now: u64) -> bool {
        if self.bans.len() >= MAX_BANS {
            self.bans.retain(|_, until| *until > now);
        }
        for key in keys {
            if until <= now {
                self.bans.remove(&key);
            } else if self.bans.len() >= MAX_BANS {
                return false;
            } else {
                self.bans.insert(key, until);
            }
        }
        true
    }
}
