//! Coming into rooms, for the first time or again.

use std::sync::Arc;

use crate::chat::content;
use crate::chat::room::{Contact, Place, Room, Snapshot};
use crate::chat::room_name::RoomName;
use crate::chat::wire::json::{Answer, Code, Failure, MemberName, Position};
use crate::hub::{self, Missed};
use crate::net::Error;

use super::super::super::auth::Action;
use super::{Client, Waiting};

/// In how many rooms one connection may be.
pub(super) const MAX_ROOMS: usize = 128;

impl Client<'_> {
    /// Is again in the rooms of the session that was taken over: the next one once the last one's history is gone out,
    /// so that all of them never wait here at once.
    pub(super) fn rejoin(&mut self) -> Result<(), Error> {
        self.flush()?;
        while self.answers.is_empty()
            && let Some(presence) = self.held.pop_front()
        {
            let room = presence.room().clone();
            let after = self.known_offsets.remove(room.name().as_str());
            match room.rejoin(presence, self.ends(room.name()), after.as_ref()) {
                Some((place, snapshot)) => self.enter(place, snapshot, None),
                None => {
                    // It was put out while nobody could be told.
                    let kicked = Answer::Kicked { room: room.name().as_str(), by: "system", reason: None };
                    self.answer(kicked.encode());
                }
            }
            self.flush()?;
        }
        Ok(())
    }

    /// Where a room's messages go.
    fn ends(&self, room: &RoomName) -> (Arc<dyn hub::Outlet>, hub::Form, Arc<dyn Contact>) {
        let room = room.clone();
        let outlet = self.line.outlet(move |&Missed { count, first, last }| {
            Answer::Missed { room: room.as_str(), count, first, last }.encode()
        });
        (outlet, content::JSON, self.contact.clone())
    }

    /// Is in a room from now on.
    fn enter(&mut self, place: Place, snapshot: Snapshot, id: Option<&str>) {
        let room = place.room().clone();
        let Snapshot { offset, history, is_complete, deleted, people } = &snapshot;
        let joined = Answer::Joined {
            room: room.name().as_str(),
            id,
            offset: *offset,
            epoch: room.epoch(),
            complete: *is_complete,
            history: history.iter().filter_map(|entry| content::of_history(entry)).collect(),
            deleted,
            version: people.version,
            members: people.names.iter().map(|name| MemberName { name }).collect(),
            count: people.count,
        }
        .encode();
        // Nothing of the room may overtake this.
        self.answers.push_back(Waiting { answer: joined, begins: Some(room.name().clone()) });
        self.places.insert(room.name().clone(), place);
        self.describe();
    }

    pub(super) fn describe(&self) {
        self.known.describe(self.name.as_str(), self.places.keys().map(RoomName::as_str));
    }

    pub(super) async fn join(
        &mut self,
        name: &RoomName,
        id: Option<&str>,
        after: Option<&Position>,
    ) -> Result<(), Failure> {
        let wrong = |code, message: String| Failure {
            id: id.map(str::to_owned),
            room: Some(name.as_str().to_owned()),
            code,
            message,
            retry_after: None,
        };
        if !self.rights.may(Action::Join, name) {
            return Err(wrong(Code::Forbidden, "your token doesn't let you into this room".into()));
        }
        if self.places.len() + self.held.len() >= MAX_ROOMS {
            return Err(wrong(Code::TooManyRooms, format!("you are in {MAX_ROOMS} rooms: leave one")));
        }
        let room = self.chat.rooms.get(name).await;
        let room = room.map_err(|error| wrong(Code::Unavailable, error.to_string()))?;
        match room.join(&self.name, self.ends(name), after) {
            Ok((place, snapshot)) => {
                self.enter(place, snapshot, id);
                Ok(())
            }
            Err(error) => {
                let (code, message, retry_after) = Room::explain(&error);
                Err(Failure { retry_after, ..wrong(code, message) })
            }
        }
    }
}
