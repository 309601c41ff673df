//! What is published in a room, in either form.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::hub::{self, Entry, Form, Stamp};
use crate::proto::Prepared;

use super::room_name::RoomName;
use super::wire::json::{Answer, PresenceEvent, Said};
use super::wire::plain;

/// The form of those who negotiated no subprotocol.
pub const PLAIN: Form = Form::new(0);

/// The form of `switchboard.v1.json`.
pub const JSON: Form = Form::new(1);

/// What is published in a room.
#[derive(Debug)]
pub struct Content {
    /// Where.
    pub room: RoomName,
    /// What.
    pub what: What,
}

/// What is published.
#[derive(Debug)]
#[allow(missing_docs, reason = "the members are those of docs/chat-protocol.md")]
pub enum What {
    /// Somebody said something.
    Said(Message),
    /// Somebody came or went.
    Presence { event: PresenceEvent, name: Box<str>, version: u64, count: usize },
    /// A message is to be taken off the screen.
    Deleted { offset: u64, by: Box<str> },
    /// Something for the moment.
    Signal { from: Box<str>, data: Value },
    /// News for people.
    Notice { level: &'static str, code: &'static str, text: Box<str> },
}

/// What somebody said.
#[derive(Debug)]
pub struct Message {
    /// By which name.
    pub from: Box<str>,
    /// What.
    pub text: Box<str>,
    /// Which session said it, and nobody else may delete it; and its id there.
    pub id: Option<Box<str>>,
    /// Whether it was deleted: it isn't part of the history any more.
    pub is_deleted: AtomicBool,
}

impl Content {
    /// The message, unless it is something else or was deleted.
    pub fn said(&self) -> Option<&Message> {
        match &self.what {
            What::Said(message) if !message.is_deleted.load(Ordering::Acquire) => Some(message),
            _ => None,
        }
    }
}

/// A message of the history as the wire has it, unless it was deleted.
pub fn of_history(entry: &Entry<Content>) -> Option<Said<'_>> {
    let Message { from, text, .. } = entry.content().said()?;
    let Stamp { offset, time } = entry.stamp();
    Some(Said { offset, time, from, text, key: entry.key() })
}

impl hub::Content for Content {
    fn is_for(&self, form: Form) -> bool {
        match self.what {
            What::Said(_) | What::Presence { .. } | What::Notice { .. } => true,
            What::Deleted { .. } | What::Signal { .. } => form == JSON,
        }
    }

    fn encode(&self, form: Form, stamp: Stamp, key: Option<&str>) -> Prepared {
        if form == JSON { self.encode_json(stamp, key) } else { self.encode_plain() }
    }

    fn bytes(&self) -> usize {
        match &self.what {
            What::Said(message) => {
                message.from.len() + message.text.len() + message.id.as_ref().map_or(0, |id| id.len())
            }
            What::Presence { name, .. } => name.len(),
            What::Deleted { by, .. } => by.len(),
            // As it came, it had a kilobyte at most.
            What::Signal { from, .. } => from.len() + super::wire::json::MAX_DATA_BYTES,
            What::Notice { text, .. } => text.len(),
        }
    }
}

impl Content {
    fn encode_plain(&self) -> Prepared {
        match &self.what {
            What::Said(Message { from, text, .. }) => plain::said(from, text),
            What::Presence { event: PresenceEvent::Join, name, .. } => plain::joined(name),
            What::Presence { event: PresenceEvent::Leave, name, .. } => plain::left(name),
            What::Notice { text, .. } => plain::notice(text),
            What::Deleted { .. } | What::Signal { .. } => unreachable!("it isn't for this form"),
        }
    }

    fn encode_json(&self, Stamp { offset, time }: Stamp, key: Option<&str>) -> Prepared {
        let room = self.room.as_str();
        match &self.what {
            What::Said(Message { from, text, .. }) => {
                Answer::Message { room, said: Said { offset, time, from, text, key } }
            }
            What::Presence { event, name, version, count } => {
                Answer::Presence { room, version: *version, event: *event, name, count: *count }
            }
            What::Deleted { offset, by } => Answer::Deleted { room, offset: *offset, by },
            What::Signal { from, data } => Answer::Signal { room, from, data },
            What::Notice { level, code, text } => Answer::Notice { room: Some(room), level, code, text },
        }
        .encode()
    }
}
