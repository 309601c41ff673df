//! A chat room: who is there, what was said, and who may not come in.
//!
//! Everything that changes who is there happens under one lock together with its place in the hub's ring, so that a
//! snapshot and the news that follow it fit.

mod history;
mod place;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::hub::{self, Entry, Form, Membership, Outlet, Publish, View};

use super::content::{Content, Message, What};
use super::name::UserName;
pub use super::people::{Contact, Order};
use super::people::{Found, People};
use super::recent::Recent;
use super::room_name::RoomName;
use super::store::{Durable, Record, Store, StoreError};
use super::wire::json::{Code, Position, PresenceEvent};
pub use history::{MAX_MESSAGES, Range};
use place::Manner;
pub use place::{Place, Presence};

/// A room.
pub struct Room {
    name: RoomName,
    epoch: String,
    hub: Arc<hub::Room<Content>>,
    people: Mutex<People>,
    /// Held from a message's place in the ring to its place in the store's queue: both have one order.
    saying: Mutex<Recent>,
    store: Option<Arc<Store>>,
    /// When it was last joined, published to, or left.
    pub(super) used: AtomicU64,
}

/// Why somebody can't join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Somebody in the room goes by a name that looks the same.
    #[error("this name is taken: choose another one")]
    NameTaken,
    /// The name is banned.
    #[error("this name is banned here for {0} more seconds")]
    Banned(u64),
}

/// Why something can't be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoomError {
    /// There is no such message, or not any more.
    #[error("there is no message with this offset here, or not any more")]
    NoMessage,
    /// There is nobody of that name.
    #[error("there is nobody here by this name")]
    NoMember,
    /// It was written by somebody else.
    #[error("only who wrote a message, or a moderator, may delete it")]
    NotYours,
    /// Too many bans.
    #[error("there are {max} bans in this room: lift one before", max = super::people::MAX_BANS)]
    TooManyBans,
}

/// How a room looks to somebody who joins it.
#[derive(Debug)]
pub struct Snapshot {
    /// The newest message's offset.
    pub offset: u64,
    /// What was said, oldest first.
    pub history: Vec<Arc<Entry<Content>>>,
    /// Whether that is everything that was asked for.
    pub is_complete: bool,
    /// Which messages of those that it has already were deleted.
    pub deleted: Vec<u64>,
    /// Who is there.
    pub people: Attendance,
}

/// Who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attendance {
    /// The first thousand, sorted.
    pub names: Vec<String>,
    /// How many there are.
    pub count: usize,
    /// Counts joins and leaves.
    pub version: u64,
}

/// Something to say.
#[derive(Clone, Debug)]
pub struct Words {
    /// What.
    pub text: String,
    /// What it is the newest state of.
    pub key: Option<String>,
    /// The session, or whatever else says it.
    pub session: String,
    /// The publisher's id for it: said again by that, it isn't said twice.
    pub id: Option<String>,
}

/// Something that was said.
#[derive(Debug)]
pub struct Receipt {
    /// Its offset.
    pub offset: u64,
    /// When it was said.
    pub time: u64,
    /// Whether it had been said before.
    pub is_duplicate: bool,
    /// Resolves once it is on disk; `None` where nothing is.
    pub durable: Option<Durable>,
}

/// How many names a list has.
const MAX_NAMES: usize = 1000;

impl Room {
    pub(super) fn new(
        name: RoomName,
        epoch: String,
        hub: Arc<hub::Room<Content>>,
        store: Option<Arc<Store>>,
    ) -> Self {
        Self {
            name,
            epoch,
            hub,
            people: Mutex::default(),
            saying: Mutex::default(),
            store,
            used: AtomicU64::new(hub::now()),
        }
    }

    /// What an earlier process had: messages, oldest first, and bans.
    pub(super) fn restore(&self, records: Vec<Record>, bans: Vec<super::store::Ban>) {
        let mut recent = lock(&self.saying);
        let restored = records.into_iter().map(|record| {
            // Those without an id are only their session's.
            if let Some(id) = record.id.as_ref().filter(|id| id.contains('/')) {
                recent.insert(id, record.offset, record.time_ms);
            }
            let message = Message {
                from: record.from.into(),
                text: record.text.into(),
                id: record.id.map(Into::into),
                is_deleted: AtomicBool::new(false),
            };
            let stamp = hub::Stamp { offset: record.offset, time: record.time_ms };
            (self.content(What::Said(message)), record.key.map(Into::into), stamp)
        });
        self.hub.restore(restored);
        let mut people = lock(&self.people);
        for ban in bans {
            people.ban([ban.key], ban.until_ms, hub::now());
        }
    }

    /// The room's name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// The epoch of its offsets.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The hub's side of it.
    pub fn hub(&self) -> &Arc<hub::Room<Content>> {
        &self.hub
    }

    /// Joins by a name that nobody here goes by.
    ///
    /// In one step: everybody else is told, and the snapshot is what the new member sees when it begins. It gets
    /// nothing before [`Place::begin`].
    ///
    /// # Errors
    ///
    /// [`JoinError`]; then nobody was told anything.
    pub fn join(
        self: &Arc<Self>,
        name: &UserName,
        (outlet, form, contact): (Arc<dyn Outlet>, Form, Arc<dyn Contact>),
        after: Option<&Position>,
    ) -> Result<(Place, Snapshot), JoinError> {
        let mut people = lock(&self.people);
        let now = self.touch();
        if let Some(until) = people.banned_until(name, now) {
            return Err(JoinError::Banned((until - now).div_ceil(1000)));
        }
        let number = people.insert(name, contact).ok_or(JoinError::NameTaken)?;
        let presence = Presence::new(self.clone(), name.clone(), number);
        let news = self.presence(&people, PresenceEvent::Join, name.as_str());
        let attendance = attendance(&people);
        let look = |view: &View<'_, Content>| self.snapshot(view, after, attendance);
        let (membership, snapshot) = self.hub.join_with(outlet, form, Some(news), look);
        Ok((Place::new(membership, presence), snapshot))
    }

    /// Why somebody couldn't join now, if that is so.
    pub fn objection(&self, name: &UserName) -> Option<(Code, String, Option<u64>)> {
        let mut people = lock(&self.people);
        let now = hub::now();
        let error = match people.banned_until(name, now) {
            Some(until) => JoinError::Banned((until - now).div_ceil(1000)),
            None if people.find(name).is_some() => JoinError::NameTaken,
            None => return None,
        };
        Some(Self::explain(&error))
    }

    /// As a client is told.
    pub fn explain(error: &JoinError) -> (Code, String, Option<u64>) {
        match error {
            JoinError::NameTaken => (Code::NameTaken, error.to_string(), None),
            JoinError::Banned(seconds) => (Code::Banned, error.to_string(), Some(*seconds)),
        }
    }

    /// Joins again by a name that was held; `None` if it was put out meanwhile.
    pub fn rejoin(
        self: &Arc<Self>,
        presence: Presence,
        (outlet, form, contact): (Arc<dyn Outlet>, Form, Arc<dyn Contact>),
        after: Option<&Position>,
    ) -> Option<(Place, Snapshot)> {
        let mut people = lock(&self.people);
        let now = self.touch();
        let is_banned = people.banned_until(presence.name(), now).is_some();
        if is_banned || !people.set_contact(presence.name().as_str(), presence.number(), Some(contact)) {
            // Its end takes the same lock.
            drop(people);
            return None;
        }
        let attendance = attendance(&people);
        let look = |view: &View<'_, Content>| self.snapshot(view, after, attendance);
        let (membership, snapshot) = self.hub.join_with(outlet, form, None, look);
        Some((Place::new(membership, presence), snapshot))
    }

    /// Says something to everybody, or to everybody else if a member says it.
    pub fn say(&self, by: Option<&Membership<Content>>, from: &str, words: Words) -> Receipt {
        let mut recent = lock(&self.saying);
        let time = self.touch();
        let Words { text, key, session, id } = words;
        let scoped = id.as_deref().map_or_else(|| session.clone(), |id| format!("{session}/{id}"));
        if id.is_some()
            && let Some((offset, time)) = recent.get(&scoped)
        {
            return Receipt { offset, time, is_duplicate: true, durable: self.keep_again(offset) };
        }
        let message = Message {
            from: from.into(),
            text: text.as_str().into(),
            id: Some(scoped.as_str().into()),
            is_deleted: AtomicBool::new(false),
        };
        let publish = Publish {
            key: key.as_deref().map(Into::into),
            time,
            ..Publish::new(self.content(What::Said(message)))
        };
        let entry = match by {
            Some(membership) => membership.publish_now(publish),
            None => self.hub.publish(publish),
        };
        let offset = entry.stamp().offset;
        if id.is_some() {
            recent.insert(&scoped, offset, time);
        }
        let durable = self.store.as_ref().map(|store| {
            let record = Record { offset, time_ms: time, from: from.to_owned(), text, key, id: Some(scoped) };
            store.append(self.name.as_str(), &self.epoch, &record)
        });
        Receipt { offset, time, is_duplicate: false, durable }
    }

    /// Stores what was said before: the first time it may not have got to the disk. The same offset is one record.
    fn keep_again(&self, offset: u64) -> Option<Durable> {
        let store = self.store.as_ref()?;
        let entry = self.entry(offset);
        let Some((entry, said)) = entry.as_ref().and_then(|entry| Some((entry, entry.content().said()?)))
        else {
            // It was deleted, or the history doesn't go back so far.
            return Some(store.settled());
        };
        let record = Record {
            offset,
            time_ms: entry.stamp().time,
            from: said.from.to_string(),
            text: said.text.to_string(),
            key: entry.key().map(str::to_owned),
            id: said.id.as_deref().map(str::to_owned),
        };
        Some(store.append(self.name.as_str(), &self.epoch, &record))
    }

    /// Passes a signal on.
    pub fn signal(&self, by: &Membership<Content>, from: &str, data: Value) {
        let content = self.content(What::Signal { from: from.into(), data });
        by.publish_now(Publish { lifetime: hub::Lifetime::Ephemeral, ..Publish::new(content) });
    }

    /// Tells everybody something.
    pub fn notify(&self, level: &'static str, code: &'static str, text: &str) {
        let content = self.content(What::Notice { level, code, text: text.into() });
        self.hub.publish(Publish::new(content).passing());
    }

    /// Deletes a message; `session` is whose it has to be, unless a moderator deletes it. Resolves once that is on
    /// disk.
    ///
    /// # Errors
    ///
    /// [`RoomError::NoMessage`], [`RoomError::NotYours`].
    pub fn delete(&self, offset: u64, by: &str, session: Option<&str>) -> Result<Option<Durable>, RoomError> {
        // Behind the record that it removes, should that be on its way.
        let _saying = lock(&self.saying);
        let entry = self.entry(offset).ok_or(RoomError::NoMessage)?;
        let What::Said(message) = &entry.content().what else { return Err(RoomError::NoMessage) };
        let owner = message.id.as_deref().and_then(|id| id.split('/').next());
        if session.is_some() && session != owner {
            return Err(RoomError::NotYours);
        }
        let was_deleted = message.is_deleted.swap(true, Ordering::AcqRel);
        let durable = self.store.as_ref().map(|store| store.delete(self.name.as_str(), offset));
        if was_deleted {
            // The disk may have failed then. Without one there is nothing left to do.
            return durable.map(Some).ok_or(RoomError::NoMessage);
        }
        let content = self.content(What::Deleted { offset, by: by.into() });
        self.hub.publish(Publish::new(content).passing());
        Ok(durable)
    }

    /// Whether a message that is still in the history is another one than this.
    pub fn is_other(&self, offset: u64, (from, text, key): (&str, &str, Option<&str>)) -> bool {
        self.entry(offset).is_some_and(|entry| {
            let said = entry.content().said();
            said.is_some_and(|said| (&*said.from, &*said.text, entry.key()) != (from, text, key))
        })
    }

    /// The message with this offset, if the history has it.
    fn entry(&self, offset: u64) -> Option<Arc<Entry<Content>>> {
        let entry = self.hub.look(|view| view.after(offset.saturating_sub(1)).next().cloned());
        entry.filter(|entry| entry.stamp().offset == offset)
    }

    /// Puts somebody out.
    ///
    /// # Errors
    ///
    /// [`RoomError::NoMember`].
    pub fn kick(&self, name: &UserName, by: &str, reason: Option<&str>) -> Result<(), RoomError> {
        let mut people = lock(&self.people);
        let Found { name, number, contact } = people.find(name).ok_or(RoomError::NoMember)?;
        match contact {
            Some(contact) => contact.order(Order::Kick {
                room: self.name.clone(),
                by: by.to_owned(),
                reason: reason.map(str::to_owned),
            }),
            // Nobody can be told: it has left, and whoever comes back isn't here.
            None => self.leave(&mut people, &name, number, Manner::Seen),
        }
        Ok(())
    }

    /// Bans a name for so many milliseconds, or lifts that with 0, and puts out whoever goes by it. Resolves once
    /// that is on disk.
    ///
    /// # Errors
    ///
    /// [`RoomError::TooManyBans`].
    pub fn ban(
        &self,
        name: &UserName,
        millis: u64,
        (by, reason): (&str, Option<&str>),
    ) -> Result<Vec<Durable>, RoomError> {
        let now = hub::now();
        let until = now.saturating_add(millis);
        if !lock(&self.people).ban(name.keys(), until, now) {
            return Err(RoomError::TooManyBans);
        }
        if millis > 0 {
            // Nobody may be there by that name.
            let _ = self.kick(name, by, reason);
        }
        let Some(store) = &self.store else { return Ok(Vec::new()) };
        let room = self.name.as_str();
        let store_key = |key: String| {
            if millis > 0 { store.put_ban(room, &key, until) } else { store.remove_ban(room, &key) }
        };
        Ok(name.keys().into_iter().map(store_key).collect())
    }

    /// Who is there.
    pub fn attendance(&self) -> Attendance {
        attendance(&lock(&self.people))
    }

    /// How many are there, those whose sessions are held among them.
    pub fn count(&self) -> usize {
        lock(&self.people).len()
    }

    fn content(&self, what: What) -> Content {
        Content { room: self.name.clone(), what }
    }

    fn presence(&self, people: &People, event: PresenceEvent, name: &str) -> Publish<Content> {
        let (version, count) = (people.version, people.len());
        let what = What::Presence { event, name: name.into(), version, count };
        Publish::new(self.content(what)).passing()
    }

    /// Somebody goes, unless they have gone.
    fn leave(&self, people: &mut People, name: &str, number: u64, manner: Manner) {
        self.touch();
        if people.remove(name, number) && manner == Manner::Seen {
            self.hub.publish(self.presence(people, PresenceEvent::Leave, name));
        }
    }

    /// Whether it has to be remembered although nobody is here and nothing was said: its bans are nowhere else.
    pub(super) fn is_needed(&self) -> bool {
        self.store.is_none() && lock(&self.people).has_bans(hub::now())
    }

    /// It is used now.
    fn touch(&self) -> u64 {
        let now = hub::now();
        self.used.store(now, Ordering::Relaxed);
        now
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("name", &self.name).finish_non_exhaustive()
    }
}

fn attendance(people: &People) -> Attendance {
    Attendance {
        names: people.names().take(MAX_NAMES).map(str::to_owned).collect(),
        count: people.len(),
        version: people.version,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until what was said is on disk.
///
/// # Errors
///
/// [`StoreError`].
///
/// # Cancel safety
///
/// Dropped it changes nothing.
pub async fn stored(durable: Option<Durable>) -> Result<(), StoreError> {
    match durable {
        Some(durable) => durable.await,
        None => Ok(()),
    }
}
