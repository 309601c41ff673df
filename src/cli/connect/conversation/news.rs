//! What the server says, and what follows from it.

use crate::chat::wire::client::{News, Person, Said};
use crate::chat::wire::json::{Position, PresenceEvent, Request};

use super::super::show::Shown;
use super::{Conversation, Stage, undelivered};

/// How many lines of the history are shown to who joins.
const HISTORY_LINES: usize = 20;

/// How many of our own offsets are remembered.
const MAX_OWN: usize = 1000;

/// How many names a list has.
const MAX_NAMES: usize = 50;

impl Conversation {
    /// Something came.
    pub(in super::super) fn on_news(&mut self, news: News) {
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
        self.has_new_words = true;
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
        self.has_new_words = true;
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
            self.refused += 1;
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
