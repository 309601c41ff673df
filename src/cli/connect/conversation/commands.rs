//! The commands of a chat.

use std::time::Instant;

use crate::chat::wire::json::Request;

use super::super::show::Shown;
use super::Conversation;

impl Conversation {
    /// `/join`
    pub(in super::super) fn join(&mut self, room: &str) {
        let room = room.trim_start_matches('#');
        if self.rooms.contains_key(room) {
            self.present = Some(room.to_owned());
            self.has_new_words = true;
        } else if self.is_online() {
            self.asked.insert(room.to_owned());
            self.requests.push(Request::Join { room: room.to_owned(), id: None, after: None });
        }
    }

    /// `/leave`
    pub(in super::super) fn leave(&mut self, room: Option<&str>) {
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
    pub(in super::super) fn list_rooms(&mut self) {
        let rooms: Vec<_> = self.rooms.keys().map(|room| format!("#{room}")).collect();
        let rooms = if rooms.is_empty() { "none".to_owned() } else { rooms.join(", ") };
        self.shown.push(Shown::Note(format!("your rooms: {rooms}")));
    }

    /// `/who`
    pub(in super::super) fn who(&mut self) {
        let Some(room) = self.present.clone() else {
            return self.shown.push(Shown::Alarm("you are in no room: /join ROOM".to_owned()));
        };
        if self.is_online() {
            self.requests.push(Request::Members { room, id: None });
        }
    }

    /// `/rtt`
    pub(in super::super) fn round_trip(&mut self) {
        if self.is_online() {
            self.ping_sent = Some(Instant::now());
            self.requests.push(Request::Ping { id: None });
        }
    }
}
