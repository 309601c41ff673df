//! What goes in and out of the API, and what it needs of the chat.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::chat::name::UserName;
use crate::chat::room_name::RoomName;
use crate::server::http::Problem;

/// The chat as the API sees it. Each method may refuse with a [`Problem`]: 404 for what isn't there, 422 for what can't be
/// done, 429 and 503 for what can't be done now.
pub trait Chat: Sync {
    /// Publishes a message to a room, and returns once it has its place (and, with a store, is on the disk). The same
    /// idempotency key again has the first one's result; with another content it is a 422.
    fn publish(
        &self,
        room: &RoomName,
        publication: Publication,
    ) -> impl Future<Output = Result<Published, Problem>> + Send;

    /// Publishes a message to every room.
    fn broadcast(&self, broadcast: Broadcast) -> impl Future<Output = Result<Broadcasted, Problem>> + Send;

    /// Deletes a message.
    fn delete_message(
        &self,
        room: &RoomName,
        offset: u64,
    ) -> impl Future<Output = Result<(), Problem>> + Send;

    /// The rooms that there are.
    fn rooms(&self) -> impl Future<Output = Result<Rooms, Problem>> + Send;

    /// Messages of a room, oldest first.
    fn history(
        &self,
        room: &RoomName,
        range: HistoryRange,
    ) -> impl Future<Output = Result<History, Problem>> + Send;

    /// Who is in a room.
    fn presence(&self, room: &RoomName) -> impl Future<Output = Result<Presence, Problem>> + Send;

    /// Puts a member out of a room.
    fn kick(&self, room: &RoomName, kick: Kick) -> impl Future<Output = Result<(), Problem>> + Send;

    /// Puts a member out, and keeps the name out for a time; no time lifts the ban.
    fn ban(&self, room: &RoomName, ban: Ban) -> impl Future<Output = Result<(), Problem>> + Send;

    /// Who is connected.
    fn connections(&self) -> impl Future<Output = Result<Connections, Problem>> + Send;

    /// Disconnects a connection.
    fn disconnect(&self, id: u64) -> impl Future<Output = Result<(), Problem>> + Send;
}

/// A message to a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Whose message it is.
    pub from: UserName,
    /// Its text, not blank; whether it is too long is the chat's to say.
    pub text: String,
    /// What it is the newest state of.
    pub key: Option<String>,
    /// What tells a repetition.
    pub idempotency_key: Option<String>,
}

/// A message to every room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// Whose message it is.
    pub from: UserName,
    /// Its text, not blank.
    pub text: String,
    /// What tells a repetition.
    pub idempotency_key: Option<String>,
}

/// A member to put out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kick {
    /// The member.
    pub name: UserName,
    /// What the member is told.
    pub reason: Option<String>,
}

/// A member to put out and to keep out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The member.
    pub name: UserName,
    /// For how long; zero lifts the ban.
    pub duration: Duration,
    /// What the member is told.
    pub reason: Option<String>,
}

/// Which messages of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRange {
    /// Those behind this offset, the oldest of them first; without it the newest.
    pub after: Option<u64>,
    /// How many at most, 1 to 1,000.
    pub limit: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageBody {
    pub(super) from: String,
    pub(super) text: String,
    pub(super) key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BroadcastBody {
    pub(super) from: String,
    pub(super) text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KickBody {
    pub(super) name: String,
    pub(super) reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BanBody {
    pub(super) name: String,
    pub(super) seconds: u32,
    pub(super) reason: Option<String>,
}

/// The place that a message got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Published {
    /// Its offset in the room.
    pub offset: u64,
    /// The history that the offset belongs to.
    pub epoch: String,
}

/// How far a broadcast went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broadcasted {
    /// How many rooms it was published to.
    pub rooms: usize,
}

/// The rooms that there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rooms {
    /// Sorted by name.
    pub rooms: Vec<RoomInfo>,
}

/// A room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoomInfo {
    /// Its name.
    pub name: String,
    /// How many are in it.
    pub members: usize,
    /// The offset of its newest message, 0 if there was none.
    pub offset: u64,
    /// The history that the offset belongs to.
    pub epoch: String,
}

/// Some messages of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct History {
    /// Oldest first.
    pub messages: Vec<HistoryMessage>,
    /// The offset of the room's newest message.
    pub offset: u64,
    /// The history that the offsets belong to.
    pub epoch: String,
    /// Whether no message of that range is missing.
    pub complete: bool,
}

/// A message that was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryMessage {
    /// Its offset.
    pub offset: u64,
    /// When it was published, in milliseconds since 1970.
    pub time: u64,
    /// Whose it is.
    pub from: String,
    /// Its text.
    pub text: String,
    /// What it is the newest state of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Who is in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Presence {
    /// The room.
    pub room: String,
    /// How many joins and leaves it has had.
    pub version: u64,
    /// How many are in it.
    pub count: usize,
    /// The first 1,000 of them, sorted by name.
    pub members: Vec<Member>,
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The member's name.
    pub name: String,
}

/// Who is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Sorted by id.
    pub connections: Vec<ConnectionInfo>,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectionInfo {
    /// Its number.
    pub id: u64,
    /// Its user's name; missing until it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The room that it came to first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// All rooms that it is in.
    pub rooms: Vec<String>,
    /// The client's address.
    pub address: String,
    /// `text` or `json`.
    pub form: &'static str,
    /// When it connected, in milliseconds since 1970.
    pub since: u64,
}
