//! What the HTTP API does with the chat.

use std::sync::Arc;

use http::StatusCode;

use crate::chat::content;
use crate::chat::room::{self, Range, Receipt, Room, RoomError, Words};
use crate::chat::room_name::RoomName;
use crate::chat::rooms::OpenError;
use crate::chat::store::StoreError;

use super::super::http::Problem;
use super::super::http_api::{
    self, Ban, Broadcast, Broadcasted, ConnectionInfo, Connections, History, HistoryMessage, HistoryRange,
    Kick, Member, Presence, Publication, Published, RoomInfo, Rooms,
};
use super::{Chat, RETRY_AFTER};

/// The session of whoever publishes by the API.
const SESSION: &str = "api";

impl http_api::Chat for Chat {
    async fn publish(&self, room: &RoomName, publication: Publication) -> Result<Published, Problem> {
        self.check_text(&publication.text)?;
        let room = self.room(room).await?;
        let Publication { from, text, key, idempotency_key } = publication;
        let words = Words { text, key, session: SESSION.to_owned(), id: idempotency_key };
        let offset = say(&room, from.as_str(), words).await?;
        Ok(Published { offset, epoch: room.epoch().to_owned() })
    }

    async fn broadcast(&self, broadcast: Broadcast) -> Result<Broadcasted, Problem> {
        self.check_text(&broadcast.text)?;
        let Broadcast { from, text, idempotency_key } = broadcast;
        let rooms = self.rooms.all();
        for room in &rooms {
            let id = idempotency_key.clone();
            let words = Words { text: text.clone(), key: None, session: SESSION.to_owned(), id };
            say(room, from.as_str(), words).await?;
        }
        Ok(Broadcasted { rooms: rooms.len() })
    }

    async fn delete_message(&self, room: &RoomName, offset: u64) -> Result<(), Problem> {
        let room = self.existing(room).await?;
        let durable = room.delete(offset, SESSION, None).map_err(refuse)?;
        room::stored(durable).await.map_err(unstored)
    }

    async fn rooms(&self) -> Result<Rooms, Problem> {
        let mut rooms: Vec<_> = self.rooms.all().iter().map(|room| info(room)).collect();
        rooms.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Rooms { rooms })
    }

    async fn history(&self, room: &RoomName, range: HistoryRange) -> Result<History, Problem> {
        let room = self.existing(room).await?;
        let HistoryRange { after, limit } = range;
        let range = after.map_or(Range::Newest, Range::After);
        let (messages, complete) = room.history(range, limit);
        let said = messages.iter().filter_map(|entry| content::of_history(entry));
        let messages = said.map(|said| HistoryMessage {
            offset: said.offset,
            time: said.time,
            from: said.from.to_owned(),
            text: said.text.to_owned(),
            key: said.key.map(str::to_owned),
        });
        let offset = room.hub().look(|view| view.offset());
        Ok(History { messages: messages.collect(), offset, epoch: room.epoch().to_owned(), complete })
    }

    async fn presence(&self, room: &RoomName) -> Result<Presence, Problem> {
        let room = self.existing(room).await?;
        let people = room.attendance();
        Ok(Presence {
            room: room.name().as_str().to_owned(),
            version: people.version,
            count: people.count,
            members: people.names.into_iter().map(|name| Member { name }).collect(),
        })
    }

    async fn kick(&self, room: &RoomName, kick: Kick) -> Result<(), Problem> {
        let room = self.existing(room).await?;
        room.kick(&kick.name, SESSION, kick.reason.as_deref()).map_err(refuse)
    }

    async fn ban(&self, room: &RoomName, ban: Ban) -> Result<(), Problem> {
        let room = self.room(room).await?;
        let millis = u64::try_from(ban.duration.as_millis()).unwrap_or(u64::MAX);
        let durables = room.ban(&ban.name, millis, (SESSION, ban.reason.as_deref())).map_err(refuse)?;
        for durable in durables {
            durable.await.map_err(unstored)?;
        }
        Ok(())
    }

    async fn connections(&self) -> Result<Connections, Problem> {
        let connections = self.connections.list().into_iter().map(|connection| ConnectionInfo {
            id: connection.id,
            name: connection.name,
            room: connection.rooms.first().cloned(),
            rooms: connection.rooms,
            address: connection.address.to_string(),
            form: connection.form,
            since: connection.since,
        });
        Ok(Connections { connections: connections.collect() })
    }

    async fn disconnect(&self, id: u64) -> Result<(), Problem> {
        if self.connections.disconnect(id) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::NOT_FOUND,
            "there is no connection of this number: GET /api/connections lists them",
        ))
    }
}

impl Chat {
    fn check_text(&self, text: &str) -> Result<(), Problem> {
        match self.settings.max_text {
            Some(max) if text.chars().nth(max).is_some() => {
                let why = format!("the text is longer than {max} characters: it was not sent");
                Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why))
            }
            _ => Ok(()),
        }
    }

    async fn room(&self, room: &RoomName) -> Result<Arc<Room>, Problem> {
        self.rooms.get(room).await.map_err(|error| {
            let status = match &error {
                OpenError::TooManyRooms => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            Problem::retry_after(status, RETRY_AFTER, error.to_string())
        })
    }

    /// A room that somebody is in, or was, or where something was said.
    async fn existing(&self, name: &RoomName) -> Result<Arc<Room>, Problem> {
        let missing = || {
            let why = format!("there is no room {name}: GET /api/rooms lists them, a message to it makes it");
            Problem::new(StatusCode::NOT_FOUND, why)
        };
        match self.rooms.find(name) {
            Some(room) => Ok(room),
            // It may be on disk.
            None if self.rooms.is_stored(name).await => self.room(name).await,
            None => Err(missing()),
        }
    }
}

async fn say(room: &Room, from: &str, words: Words) -> Result<u64, Problem> {
    room.hub().ready().await;
    let (text, key) = (words.text.clone(), words.key.clone());
    let Receipt { offset, durable, is_duplicate, .. } = room.say(None, from, words);
    match room::stored(durable).await {
        Ok(()) if is_duplicate && room.is_other(offset, (from, &text, key.as_deref())) => {
            let why = "this Idempotency-Key was used for another message: take a new one";
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why))
        }
        Ok(()) => Ok(offset),
        Err(error) => Err(unstored(error)),
    }
}

fn info(room: &Room) -> RoomInfo {
    RoomInfo {
        name: room.name().as_str().to_owned(),
        members: room.count(),
        offset: room.hub().look(|view| view.offset()),
        epoch: room.epoch().to_owned(),
    }
}

fn refuse(error: RoomError) -> Problem {
    let status = match error {
        RoomError::NoMessage | RoomError::NoMember => StatusCode::NOT_FOUND,
        RoomError::NotYours => StatusCode::FORBIDDEN,
        RoomError::TooManyBans => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status, error.to_string())
}

fn unstored(error: StoreError) -> Problem {
    let why = format!("it can't be kept on disk: {error}");
    Problem::retry_after(StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER, why)
}
