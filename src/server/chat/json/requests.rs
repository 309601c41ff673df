//! What a client can ask for, once it has said hello.

use std::sync::Arc;

use crate::chat::content;
use crate::chat::name::UserName;
use crate::chat::room::{Range, Room, RoomError, Words};
use crate::chat::room_name::RoomName;
use crate::chat::wire::json::{Answer, Code, Failure, MAX_DATA_BYTES, MemberName, Request};
use crate::hub;

use super::super::super::auth::Action;
use super::{Client, Unstored, acknowledgement, failure};

/// How many messages of the history somebody gets who doesn't say.
const DEFAULT_MESSAGES: usize = 100;

impl Client<'_> {
    pub(super) async fn handle(&mut self, request: Request) -> Result<(), Failure> {
        let named = match request.room() {
            Some(name) => Some(RoomName::parse(name).ok_or_else(|| {
                let why = "a room's name has 1 to 64 of the characters A–Z a–z 0–9 . _ -";
                failure(&request, Code::RoomInvalid, why)
            })?),
            None => None,
        };
        let Some(name) = named else { return self.handle_general(&request) };
        if let Request::Join { id, after, .. } = &request {
            if self.places.contains_key(&name) {
                return Err(failure(&request, Code::BadRequest, "you are in this room already"));
            }
            return self.join(&name, id.as_deref(), after.as_ref()).await;
        }
        let room = match self.places.get(&name) {
            Some(place) => place.room().clone(),
            None => return Err(failure(&request, Code::NotJoined, "you aren't in this room: join it first")),
        };
        match request {
            Request::Publish { .. } => self.publish(&name, &room, request).await,
            Request::Signal { .. } => self.signal(&name, request).await,
            Request::Delete { .. } | Request::Kick { .. } | Request::Ban { .. } => {
                self.moderate(&name, &room, request).await
            }
            Request::History { after: Some(_), before: Some(_), .. } => {
                Err(failure(&request, Code::BadRequest, "give `after` or `before`, not both"))
            }
            request => {
                self.look(&name, &room, &request);
                Ok(())
            }
        }
    }

    fn handle_general(&mut self, request: &Request) -> Result<(), Failure> {
        match request {
            Request::Ping { id } => {
                self.answer(Answer::Pong { id: id.as_deref(), time: hub::now() }.encode());
                Ok(())
            }
            Request::Refresh { token, .. } => self.refresh(request, token),
            _ => Err(failure(request, Code::BadRequest, "you have said hello already")),
        }
    }

    /// Goes on with a newer token of the same person.
    fn refresh(&mut self, request: &Request, token: &str) -> Result<(), Failure> {
        if !self.chat.settings.auth.has_tokens() {
            return Err(failure(request, Code::BadRequest, "this server asks for no tokens"));
        }
        let rights = self.chat.settings.auth.verify(token);
        let rights = rights.map_err(|error| failure(request, Code::Unauthorized, error.to_string()))?;
        if rights.name() != Some(&self.name) {
            return Err(failure(request, Code::Unauthorized, "this token is somebody else's"));
        }
        self.expiry = rights.lasts().map(|lasts| Box::pin(tokio::time::sleep(lasts)));
        self.rights = rights;
        self.answer(Answer::Done { id: request.id() }.encode());
        // A newer token may allow less.
        let forbidden: Vec<_> =
            self.places.keys().filter(|room| !self.rights.may(Action::Join, room)).cloned().collect();
        for room in forbidden {
            self.places.remove(&room);
            let kicked = Answer::Kicked { room: room.as_str(), by: "system", reason: None };
            self.answer(kicked.encode());
        }
        self.describe();
        Ok(())
    }

    fn look(&mut self, name: &RoomName, room: &Room, request: &Request) {
        let id = request.id();
        let answer = match *request {
            Request::Leave { .. } => {
                self.places.remove(name);
                self.describe();
                Answer::Left { room: name.as_str(), id }.encode()
            }
            Request::History { after, before, limit, .. } => {
                let range = match (after, before) {
                    (Some(after), _) => Range::After(after),
                    (None, Some(before)) => Range::Before(before),
                    (None, None) => Range::Newest,
                };
                let (messages, complete) = room.history(range, limit.unwrap_or(DEFAULT_MESSAGES));
                let messages = messages.iter().filter_map(|entry| content::of_history(entry)).collect();
                Answer::History { room: name.as_str(), id, epoch: room.epoch(), messages, complete }.encode()
            }
            _ => {
                let people = room.attendance();
                let members = people.names.iter().map(|name| MemberName { name }).collect();
                let (version, count) = (people.version, people.count);
                Answer::Members { room: name.as_str(), id, version, members, count }.encode()
            }
        };
        self.answer(answer);
    }

    async fn publish(&mut self, name: &RoomName, room: &Arc<Room>, request: Request) -> Result<(), Failure> {
        if !self.rights.may(Action::Send, name) {
            return Err(failure(&request, Code::Forbidden, "your token doesn't let you talk in this room"));
        }
        let max = self.chat.settings.max_text;
        match &request {
            Request::Publish { text, .. } if text.trim().is_empty() => {
                return Err(failure(&request, Code::TextEmpty, "there is nothing but blanks in this text"));
            }
            Request::Publish { text, .. } if max.is_some_and(|max| text.chars().nth(max).is_some()) => {
                let max = max.unwrap_or_default();
                let why = format!("this text is longer than {max} characters: it was not sent");
                return Err(failure(&request, Code::TextTooLong, why));
            }
            _ => {}
        }
        let Request::Publish { id, text, key, .. } = request else { return Ok(()) };
        room.hub().ready().await;
        let Some(place) = self.places.get(name) else { return Ok(()) };
        let words = Words { text, key, session: self.session.id.clone(), id: id.clone() };
        let receipt = room.say(Some(place.membership()), self.name.as_str(), words);
        if receipt.durable.is_some() {
            self.receipts.push_back(Unstored { id, room: room.clone(), receipt });
        } else {
            self.answer(acknowledgement(id.as_deref(), room, &receipt));
        }
        Ok(())
    }

    async fn signal(&mut self, name: &RoomName, request: Request) -> Result<(), Failure> {
        if !self.rights.may(Action::Send, name) {
            return Err(failure(&request, Code::Forbidden, "your token doesn't let you talk in this room"));
        }
        let is_too_large =
            matches!(&request, Request::Signal { data, .. } if data.to_string().len() > MAX_DATA_BYTES);
        if is_too_large {
            let why = format!("`data` has at most {MAX_DATA_BYTES} bytes: make it shorter");
            return Err(failure(&request, Code::TooLarge, why));
        }
        let (Request::Signal { data, .. }, Some(place)) = (request, self.places.get(name)) else {
            return Ok(());
        };
        place.room().hub().ready().await;
        place.room().signal(place.membership(), self.name.as_str(), data);
        Ok(())
    }

    async fn moderate(&mut self, name: &RoomName, room: &Room, request: Request) -> Result<(), Failure> {
        let is_moderator = self.rights.may(Action::Moderate, name);
        let by = self.name.as_str().to_owned();
        let parse = |name: &str| {
            UserName::parse(name).map_err(|error| failure(&request, Code::NameInvalid, error.to_string()))
        };
        let refuse = |error: RoomError| {
            let code = match error {
                RoomError::NotYours => Code::Forbidden,
                RoomError::TooManyBans => Code::Unavailable,
                _ => Code::NotFound,
            };
            failure(&request, code, error.to_string())
        };
        let done = match &request {
            Request::Delete { offset, .. } => {
                let session = (!is_moderator).then_some(self.session.id.as_str());
                room.delete(*offset, &by, session).map(Vec::from_iter).map_err(refuse)?
            }
            _ if !is_moderator => {
                return Err(failure(&request, Code::Forbidden, "only a moderator of this room may do that"));
            }
            Request::Kick { name, reason, .. } => {
                room.kick(&parse(name)?, &by, reason.as_deref()).map_err(refuse)?;
                Vec::new()
            }
            Request::Ban { name, seconds, reason, .. } => {
                let millis = seconds.saturating_mul(1000);
                room.ban(&parse(name)?, millis, (&by, reason.as_deref())).map_err(refuse)?
            }
            _ => Vec::new(),
        };
        for durable in done {
            if let Err(error) = durable.await {
                let why = format!("it is done, but can't be kept on disk: {error}");
                return Err(failure(&request, Code::Unavailable, why));
            }
        }
        self.answer(Answer::Done { id: request.id() }.encode());
        Ok(())
    }
}
