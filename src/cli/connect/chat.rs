//! A conversation in the JSON form, without I/O: what came and what was typed go in, what is shown and sent comes out.
//!
//! It keeps what a connection doesn't outlive: the session, the rooms with their offsets, what isn't acknowledged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use crate::chat::wire::client::{News, Person, Said};
use crate::chat::wire::json::{Credentials, Hello, Position, PresenceEvent, Request};

use super::outbox::{MAX_TEXTS, Outbox, Outgoing};
use super::show::Shown;

/// A conversation.
pub(super) struct Chat {
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

/// How many lines of the history are shown to who joins.
const HISTORY_LINES: usize = 20;

/// How many of our own offsets are remembered.
const MAX_OWN: usize = 1000;

/// How many names a list has.
const MAX_NAMES: usize = 50;

impl Chat {
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

    /// Whom and what Tab completes to.
    pub(super) fn words(&self) -> Vec<String> {
        let people = self.present.as_ref().and_then(|room| self.rooms.get(room)).map(|room| &room.people);
        people.into_iter().flatten().chain(self.rooms.keys()).cloned().collect()
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

    /// Something came.
    pub(super) fn on_news(&mut self, news: News) {
        match news {
            News::Welcome { name, session, resumed, limits } => {
                self.name = name;
                self.session = Some(session);
                self.stage = Stage::Welcome;
                self.max_message_bytes = limits.map_or(usize::MAX, |limits| limits.message_bytes);
                if !resumed {
                    self.join_again();
                }
            }
            News::Joined { room, offset, epoch, complete, history, members, count } => {
                let position = Position { offset, epoch };
                self.on_joined(&room, position, (complete, &history), (members, count));
            }
            News::Left { room } => self.say(format!("you left #{room}")),
            News::Members { room, members, count } => {
                let people = list(members.iter().map(|member| member.name.as_str()), count);
                self.say(format!("#{room}, {count} here: {people}"));
            }
            News::Message { room, said } => {
                if let Some(position) = self.rooms.get_mut(&room).and_then(|room| room.position.as_mut()) {
                    position.offset = position.offset.max(said.offset);
                }
                self.show_said(&room, &said);
            }
            News::Presence { room, event, name } => self.on_presence(&room, event, &name),
            News::Ack { id, room, offset } => {
                // Not our position: what others said just before may come later.
                if let Some(room) = self.rooms.get_mut(&room) {
                    room.own.push_back(offset);
                    if room.own.len() > MAX_OWN {
                        room.own.pop_front();
                    }
                }
                if id.is_some_and(|id| self.outbox.settle(&id).is_some()) {
                    self.pump();
                }
            }
            News::Pong { .. } => {
                if let Some(sent) = self.ping_sent.take() {
                    self.shown.push(Shown::round_trip(sent.elapsed()));
                }
            }
            News::Deleted { room, by, .. } => {
                let room = self.elsewhere(&room);
                self.say(format!("{room}{by} deleted a message"));
            }
            News::Missed { room, count } => {
                let messages = messages(count);
                self.say(format!("#{room}: {messages} missed, because this connection is too slow"));
            }
            News::Kicked { room, by, reason } => {
                let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                self.shown.push(Shown::Alarm(format!("{by} put you out of #{room}{why}")));
                self.forget(&room);
            }
            News::Notice { room, text } => {
                let room = room.map(|room| self.elsewhere(&room)).unwrap_or_default();
                self.say(format!("{room}{text}"));
            }
            News::Error { id, room, code, message } => self.on_error(id, room, &code, &message),
            News::Other => {}
        }
    }

    /// The session couldn't be taken over: joins by itself only the path's room.
    fn join_again(&mut self) {
        for (name, room) in &self.rooms {
            if Some(name) != self.path_room.as_ref() {
                let after = room.position.clone();
                self.requests.push(Request::Join { room: name.clone(), id: None, after });
            }
        }
    }

    fn on_joined(
        &mut self,
        name: &str,
        position: Position,
        (is_complete, history): (bool, &[Said]),
        (members, count): (Vec<Person>, usize),
    ) {
        let was_left = self.is_known() && !self.rooms.contains_key(name) && self.present.is_some();
        if was_left && !self.asked.contains(name) {
            // The path's room, which the user has left since.
            self.requests.push(Request::Leave { room: name.to_owned(), id: None });
            return;
        }
        if self.asked.remove(name) || self.present.is_none() {
            self.present = Some(name.to_owned());
        }
        let room = self.rooms.entry(name.to_owned()).or_default();
        let had = room.position.replace(position);
        room.is_in = true;
        room.people = members.into_iter().map(|member| member.name).collect();
        let others = room.people.iter().filter(|person| **person != self.name).map(String::as_str);
        let others = if count > 1 { list(others, count - 1) } else { "nobody else".to_owned() };
        let own = std::mem::take(&mut room.own);
        let news: Vec<_> = history
            .iter()
            .filter(|said| {
                let is_on_its_way = said.from == self.name && self.outbox.contains(name, &said.text);
                !own.contains(&said.offset) && !is_on_its_way
            })
            .collect();
        if had.is_some() {
            let missed = match (is_complete, news.len()) {
                (true, 0) => "nothing missed".to_owned(),
                (true, count) => format!("{} missed", messages(count as u64)),
                (false, 0) => "what was said meanwhile is gone".to_owned(),
                (false, count) => format!("messages may be missing in front of these {count}"),
            };
            let room = if self.rooms.len() > 1 { format!("#{name}: ") } else { String::new() };
            self.shown.push(Shown::Note(format!("{room}back again; {missed}")));
            news.iter().for_each(|said| self.show_said(name, said));
        } else {
            self.say(format!("you are in #{name} with {others}"));
            let last = &news[news.len().saturating_sub(HISTORY_LINES)..];
            if !last.is_empty() {
                self.say(format!("the last {} of #{name}:", messages(last.len() as u64)));
                last.iter().for_each(|said| self.show_said(name, said));
            }
        }
        self.pump();
    }

    fn on_presence(&mut self, name: &str, event: PresenceEvent, person: &str) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let what = match event {
            PresenceEvent::Join => {
                if room.people.len() < 1000 {
                    room.people.insert(person.to_owned());
                }
                "joined"
            }
            PresenceEvent::Leave => {
                room.people.remove(person);
                "left"
            }
        };
        let room = self.elsewhere(name);
        self.say(format!("{room}{person} {what}"));
    }

    fn on_error(&mut self, id: Option<String>, room: Option<String>, code: &str, message: &str) {
        if self.stage == Stage::Greeting {
            self.stage = Stage::Nameless;
            self.shown.push(Shown::Alarm(message.to_owned()));
            return;
        }
        if let Some(text) = id.and_then(|id| self.outbox.settle(&id)) {
            self.shown.push(undelivered(&text, message));
            self.pump();
            return;
        }
        if let Some(room) = room {
            let is_out = self.rooms.get(&room).is_none_or(|room| !room.is_in);
            if self.asked.remove(&room) || is_out || code == "not_joined" {
                self.shown.push(Shown::Alarm(format!("#{room} can't be entered: {message}")));
                self.forget(&room);
                return;
            }
        }
        self.shown.push(Shown::Alarm(message.to_owned()));
    }

    /// We are out of a room.
    fn forget(&mut self, name: &str) {
        self.rooms.remove(name);
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

    /// `/join`
    pub(super) fn join(&mut self, room: &str) {
        let room = room.trim_start_matches('#');
        if self.rooms.contains_key(room) {
            self.present = Some(room.to_owned());
        } else if self.is_online() {
            self.asked.insert(room.to_owned());
            self.requests.push(Request::Join { room: room.to_owned(), id: None, after: None });
        }
    }

    /// `/leave`
    pub(super) fn leave(&mut self, room: Option<&str>) {
        let room = room.map(|room| room.trim_start_matches('#').to_owned()).or_else(|| self.present.clone());
        let Some(room) = room.filter(|room| self.rooms.contains_key(room)) else {
            return self.shown.push(Shown::Alarm("you aren't in this room".to_owned()));
        };
        if self.is_online() {
            self.requests.push(Request::Leave { room: room.clone(), id: None });
            self.forget(&room);
        }
    }

    /// `/rooms`
    pub(super) fn list_rooms(&mut self) {
        let rooms: Vec<_> = self.rooms.keys().map(|room| format!("#{room}")).collect();
        let rooms = if rooms.is_empty() { "none".to_owned() } else { rooms.join(", ") };
        self.shown.push(Shown::Note(format!("your rooms: {rooms}")));
    }

    /// `/who`
    pub(super) fn who(&mut self) {
        let Some(room) = self.present.clone() else {
            return self.shown.push(Shown::Alarm("you are in no room: /join ROOM".to_owned()));
        };
        if self.is_online() {
            self.requests.push(Request::Members { room, id: None });
        }
    }

    /// `/rtt`
    pub(super) fn round_trip(&mut self) {
        if self.is_online() {
            self.ping_sent = Some(Instant::now());
            self.requests.push(Request::Ping { id: None });
        }
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

fn messages(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

/// Names, and how many there are besides.
fn list<'a>(names: impl Iterator<Item = &'a str>, count: usize) -> String {
    let named: Vec<_> = names.take(MAX_NAMES).collect();
    let more = count.saturating_sub(named.len());
    let names = named.join(", ");
    if more > 0 { format!("{names} and {more} more") } else { names }
}
