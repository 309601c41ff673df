//! A conversation in the JSON form, without I/O: what came and what was typed go in, what is shown and sent comes out.
//!
//! It keeps what a connection doesn't outlive: the session, the rooms with their offsets, what isn't acknowledged.

mod commands;
mod news;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use crate::chat::wire::client::Said;
use crate::chat::wire::json::{Credentials, Hello, Position, Request};

use super::outbox::{MAX_TEXTS, Outbox, Outgoing};
use super::show::Shown;

/// A conversation.
pub(super) struct Conversation {
    name: String,
    session: Option<Credentials>,
    /// The one that the URL leads to, if the URL says.
    path_room: Option<String>,
    /// Those in which we are, or want to be again.
    rooms: BTreeMap<String, Room>,
    /// Where texts go.
    present: Option<String>,
    outbox: Outbox,
    stage: Stage,
    /// The most bytes that a message may have.
    max_message_bytes: usize,
    /// Rooms that the user has asked for.
    asked: BTreeSet<String>,
    ping_sent: Option<Instant>,
    /// How many texts were refused.
    refused: usize,
    /// Whether somebody came or went, or the room is another.
    has_new_words: bool,
    shown: Vec<Shown>,
    requests: Vec<Request>,
}

/// How far we are with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Offline,
    /// Said hello.
    Greeting,
    /// The name was refused: another one is needed.
    Nameless,
    Welcome,
}

/// A room.
#[derive(Default)]
struct Room {
    is_in: bool,
    /// What we have of it.
    position: Option<Position>,
    /// The first thousand at most.
    people: BTreeSet<String>,
    /// The newest offsets that are our own messages, which nobody has to show us.
    own: VecDeque<u64>,
}

impl Conversation {
    /// A conversation by this name.
    pub(super) fn new(name: &str, path_room: Option<String>) -> Self {
        Self {
            name: name.to_owned(),
            session: None,
            path_room,
            rooms: BTreeMap::new(),
            present: None,
            outbox: Outbox::default(),
            stage: Stage::Offline,
            max_message_bytes: usize::MAX,
            asked: BTreeSet::new(),
            ping_sent: None,
            refused: 0,
            has_new_words: false,
            shown: Vec::new(),
            requests: Vec::new(),
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn present(&self) -> Option<&str> {
        self.present.as_deref()
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// How many texts were refused.
    pub(super) fn refused(&self) -> usize {
        self.refused
    }

    /// Whether it was welcomed once.
    pub(super) fn is_known(&self) -> bool {
        self.session.is_some()
    }

    /// What has to be shown, in order.
    pub(super) fn take_shown(&mut self) -> Vec<Shown> {
        std::mem::take(&mut self.shown)
    }

    /// What has to be sent, in order.
    pub(super) fn take_requests(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }

    /// Whom and what Tab completes to, if that has changed.
    pub(super) fn new_words(&mut self) -> Option<Vec<String>> {
        if !std::mem::take(&mut self.has_new_words) {
            return None;
        }
        let people = self.present.as_ref().and_then(|room| self.rooms.get(room)).map(|room| &room.people);
        Some(people.into_iter().flatten().chain(self.rooms.keys()).cloned().collect())
    }

    /// There is a connection: says hello, and what we have already.
    pub(super) fn on_connected(&mut self) {
        self.stage = Stage::Greeting;
        let mut rooms: BTreeMap<String, Position> = self
            .rooms
            .iter()
            .filter_map(|(name, room)| Some((name.clone(), room.position.clone()?)))
            .collect();
        let after = self.path_room.as_ref().and_then(|room| rooms.remove(room));
        self.requests.push(Request::Hello(Hello {
            name: Some(self.name.clone()),
            session: self.session.clone(),
            after,
            rooms,
            token: None,
        }));
    }

    /// Tries another name.
    pub(super) fn rename(&mut self, name: &str) {
        name.trim().clone_into(&mut self.name);
        self.on_connected();
    }

    pub(super) fn on_disconnected(&mut self) {
        self.stage = Stage::Offline;
        self.ping_sent = None;
        self.rooms.values_mut().for_each(|room| room.is_in = false);
        self.outbox.on_disconnected();
    }

    /// We are out of a room.
    fn forget(&mut self, name: &str) {
        self.rooms.remove(name);
        self.has_new_words = true;
        for text in self.outbox.drop_room(name) {
            self.shown.push(undelivered(&text, "you are out of this room"));
        }
        if self.present() == Some(name) {
            self.present = self.rooms.keys().next().cloned();
            let now = match &self.present {
                Some(room) => format!("you are in #{room} now"),
                None => "you are in no room: /join ROOM".to_owned(),
            };
            self.shown.push(Shown::Note(now));
        }
    }

    /// Somebody has typed a text.
    pub(super) fn say_text(&mut self, text: &str) {
        let Some(room) = self.present.clone() else {
            let advice = "you are in no room, so nobody would hear that: /join ROOM";
            return self.shown.push(Shown::Alarm(advice.to_owned()));
        };
        if text.trim().is_empty() {
            return;
        }
        let request = Request::Publish { room: room.clone(), id: None, text: text.to_owned(), key: None };
        // Its id isn't there yet.
        if request.encode().len() + 32 > self.max_message_bytes {
            let max = self.max_message_bytes;
            return self.shown.push(Shown::Alarm(format!("not sent: this server takes at most {max} bytes")));
        }
        if !self.outbox.push(&room, text) {
            let why = format!("not sent: {MAX_TEXTS} texts or 1 MiB wait for the server already");
            return self.shown.push(Shown::Alarm(why));
        }
        self.pump();
        if self.stage != Stage::Welcome {
            let waiting = self.outbox.len();
            self.shown
                .push(Shown::Note(format!("this waits for a connection ({waiting} of at most {MAX_TEXTS})")));
        }
    }

    /// Somebody has typed a request, which goes out as it is.
    pub(super) fn on_raw(&mut self, request: Request) {
        if self.is_online() {
            if let Request::Join { room, .. } = &request {
                self.asked.insert(room.clone());
            }
            self.requests.push(request);
        }
    }

    /// Sends what can be sent.
    fn pump(&mut self) {
        if self.stage != Stage::Welcome {
            return;
        }
        let rooms = &self.rooms;
        let due = self.outbox.due(|name| rooms.get(name).is_some_and(|room| room.is_in));
        self.requests.extend(due.into_iter().map(|text| Request::Publish {
            room: text.room,
            id: Some(text.id),
            text: text.text,
            key: None,
        }));
    }

    fn is_online(&mut self) -> bool {
        let is_online = self.stage == Stage::Welcome;
        if !is_online {
            self.shown.push(Shown::Alarm("there is no connection: wait for it to come back".to_owned()));
        }
        is_online
    }

    /// A room's name in front of a line, unless it is the one that one looks at.
    fn elsewhere(&self, room: &str) -> String {
        if self.present() == Some(room) { String::new() } else { format!("#{room} ") }
    }

    fn show_said(&mut self, room: &str, said: &Said) {
        let room = self.elsewhere(room);
        self.shown.push(Shown::Said { room, from: said.from.clone(), text: said.text.clone() });
    }

    fn say(&mut self, text: String) {
        self.shown.push(Shown::System(text));
    }
}

fn undelivered(text: &Outgoing, why: &str) -> Shown {
    let text: String = text.text.chars().take(40).collect();
    Shown::Alarm(format!("not delivered: {text:?}: {why}"))
}
