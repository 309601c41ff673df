//! The JSON form, subprotocol `switchboard.v1.json`: an object a message, whose `type` says what it is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::proto::{Message, Prepared};

/// The subprotocol that chooses this form.
pub const SUBPROTOCOL: &str = "switchboard.v1.json";

/// The longest `id` and `key`, in bytes.
pub const MAX_ID_BYTES: usize = 64;

/// The longest `data` of a signal and `reason`, in bytes.
pub const MAX_DATA_BYTES: usize = 1024;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "docs/chat-protocol.md describes each with its members")]
pub enum Request {
    Hello(Hello),
    Join {
        room: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<Position>,
    },
    Leave {
        room: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    Members {
        room: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    History {
        room: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
    },
    Publish {
        room: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    Signal {
        room: String,
        data: Value,
    },
    Delete {
        room: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        offset: u64,
    },
    Kick {
        room: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    Ban {
        room: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        name: String,
        seconds: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    Refresh {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        token: String,
    },
    Ping {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
}

/// How a client begins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// The name it wants to go by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The session that it goes on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Credentials>,
    /// What it has of the path's room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Position>,
    /// What it has of other rooms.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub rooms: std::collections::BTreeMap<String, Position>,
    /// Its bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// What proves that a session is one's own.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Which session.
    pub id: String,
    /// Known to its owner and the server only.
    pub secret: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A place in a room's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The newest message that one has.
    pub offset: u64,
    /// In which history.
    pub epoch: String,
}

/// What the server says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "docs/chat-protocol.md describes each with its members")]
pub enum Answer<'a> {
    Welcome {
        name: &'a str,
        connection: u64,
        session: &'a Credentials,
        resumed: bool,
        moderator: bool,
        limits: Limits,
        server: &'a str,
    },
    Joined {
        room: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        offset: u64,
        epoch: &'a str,
        complete: bool,
        history: Vec<Said<'a>>,
        #[serde(skip_serializing_if = "<[u64]>::is_empty")]
        deleted: &'a [u64],
        version: u64,
        members: Vec<MemberName<'a>>,
        count: usize,
    },
    Left {
        room: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
    },
    Members {
        room: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        version: u64,
        members: Vec<MemberName<'a>>,
        count: usize,
    },
    History {
        room: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        epoch: &'a str,
        messages: Vec<Said<'a>>,
        complete: bool,
    },
    Message {
        room: &'a str,
        #[serde(flatten)]
        said: Said<'a>,
    },
    Presence {
        room: &'a str,
        version: u64,
        event: PresenceEvent,
        name: &'a str,
        count: usize,
    },
    Ack {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        room: &'a str,
        offset: u64,
        time: u64,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        duplicate: bool,
    },
    Done {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        time: u64,
    },
    Signal {
        room: &'a str,
        from: &'a str,
        data: &'a Value,
    },
    Deleted {
        room: &'a str,
        offset: u64,
        by: &'a str,
    },
    Missed {
        room: &'a str,
        count: u64,
        first: u64,
        last: u64,
    },
    Kicked {
        room: &'a str,
        by: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    Notice {
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<&'a str>,
        level: &'a str,
        code: &'a str,
        text: &'a str,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<&'a str>,
        code: Code,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
}

/// What the server allows.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Limits {
    /// The longest text, in Unicode scalar values.
    pub text: Option<usize>,
    /// The longest WebSocket message, in bytes.
    pub message_bytes: usize,
    /// The most rooms a connection may be in.
    pub rooms: usize,
    /// The longest `data` of a signal.
    pub signal_bytes: usize,
}

/// A message in a room.
#[derive(Clone, Debug, Serialize)]
pub struct Said<'a> {
    /// Its offset.
    pub offset: u64,
    /// When it was said.
    pub time: u64,
    /// By whom.
    pub from: &'a str,
    /// What.
    pub text: &'a str,
    /// What it is the newest state of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
}

/// Somebody who is there.
#[derive(Clone, Debug, Serialize)]
pub struct MemberName<'a> {
    /// By which name.
    pub name: &'a str,
}

/// Whether somebody came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they say it")]
pub enum PresenceEvent {
    Join,
    Leave,
}

/// What was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "docs/chat-protocol.md describes each")]
pub enum Code {
    BadRequest,
    UnknownType,
    HelloFirst,
    NameInvalid,
    NameTaken,
    Unauthorized,
    Forbidden,
    Banned,
    RoomInvalid,
    TooManyRooms,
    NotJoined,
    NotFound,
    TextEmpty,
    TextTooLong,
    TooLarge,
    Unavailable,
}

/// A message that can't be understood, or not be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The request's id, if it had one.
    pub id: Option<String>,
    /// The room, if it named one.
    pub room: Option<String>,
    /// What was wrong.
    pub code: Code,
    /// For people.
    pub message: String,
    /// In how many seconds it may work.
    pub retry_after: Option<u64>,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the client is told.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let request: Self = serde_json::from_str(text).map_err(|error| explain(text, &error))?;
        for (what, value, max) in request.bounded() {
            if value.is_some_and(|value| value.len() > max) {
                return Err(Failure {
                    // An id that is too long isn't said again.
                    id: request.id().filter(|id| id.len() <= MAX_ID_BYTES).map(str::to_owned),
                    room: None,
                    code: Code::TooLarge,
                    message: format!("`{what}` has at most {max} bytes: make it shorter"),
                    retry_after: None,
                });
            }
        }
        Ok(request)
    }

    /// The message to send.
    pub fn encode(&self) -> Message {
        // Only a map with keys that aren't strings could fail, and there is none.
        Message::text(serde_json::to_string(self).expect("a request is JSON"))
    }

    /// Its id, if it has one.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Hello(_) | Self::Signal { .. } => None,
            Self::Join { id, .. }
            | Self::Leave { id, .. }
            | Self::Members { id, .. }
            | Self::History { id, .. }
            | Self::Publish { id, .. }
            | Self::Delete { id, .. }
            | Self::Kick { id, .. }
            | Self::Ban { id, .. }
            | Self::Refresh { id, .. }
            | Self::Ping { id } => id.as_deref(),
        }
    }

    /// The room that it is about.
    pub fn room(&self) -> Option<&str> {
        match self {
            Self::Hello(_) | Self::Refresh { .. } | Self::Ping { .. } => None,
            Self::Join { room, .. }
            | Self::Leave { room, .. }
            | Self::Members { room, .. }
            | Self::History { room, .. }
            | Self::Publish { room, .. }
            | Self::Signal { room, .. }
            | Self::Delete { room, .. }
            | Self::Kick { room, .. }
            | Self::Ban { room, .. } => Some(room),
        }
    }

    fn bounded(&self) -> [(&'static str, Option<&str>, usize); 3] {
        let (key, reason) = match self {
            Self::Publish { key, .. } => (key.as_deref(), None),
            Self::Kick { reason, .. } | Self::Ban { reason, .. } => (None, reason.as_deref()),
            _ => (None, None),
        };
        [("id", self.id(), MAX_ID_BYTES), ("key", key, MAX_ID_BYTES), ("reason", reason, MAX_DATA_BYTES)]
    }
}

/// Why a text is no request.
fn explain(text: &str, error: &serde_json::Error) -> Failure {
    let object = match serde_json::from_str(text) {
        Ok(Value::Object(object)) => object,
        _ => serde_json::Map::new(),
    };
    let member = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    let (code, message) = match object.get("type") {
        None => (
            Code::BadRequest,
            format!("a JSON object with a `type` is expected here, such as {{\"type\":\"ping\"}}: {error}"),
        ),
        Some(Value::String(kind)) if !KINDS.contains(&kind.as_str()) => {
            (Code::UnknownType, format!("there is no {:?} here: {}", shorten(kind), KINDS.join(", ")))
        }
        Some(_) => (Code::BadRequest, format!("this can't be read: {error}")),
    };
    let short = |text: &String| text.len() <= MAX_ID_BYTES;
    Failure {
        id: member("id").filter(short),
        room: member("room").filter(short),
        code,
        message,
        retry_after: None,
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(32).collect()
}

/// Every `type` of a request.
const KINDS: [&str; 12] = [
    "hello", "join", "leave", "members", "history", "publish", "signal", "delete", "kick", "ban", "refresh",
    "ping",
];

impl Answer<'_> {
    /// The message to send.
    pub fn encode(&self) -> Prepared {
        // Only a map with keys that aren't strings could fail, and there is none.
        let text = serde_json::to_string(self).expect("an answer is JSON");
        Prepared::new(Message::text(text))
    }
}

impl Failure {
    /// As the client is told.
    pub fn encode(&self) -> Prepared {
        Answer::Error {
            id: self.id.as_deref(),
            room: self.room.as_deref(),
            code: self.code,
            message: &self.message,
            retry_after: self.retry_after,
        }
        .encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(prepared: &Prepared) -> &str {
        prepared.message().as_text().unwrap()
    }

    #[test]
    fn requests_are_read_and_unknown_members_are_ignored() {
        let request = Request::parse(r#"{"type":"publish","room":"a","id":"1","text":"hi","extra":[1]}"#);
        assert_eq!(
            request,
            Ok(Request::Publish { room: "a".into(), id: Some("1".into()), text: "hi".into(), key: None })
        );
        let Ok(Request::Hello(hello)) =
            Request::parse(r#"{"type":"hello","name":"Ada","after":{"offset":4,"epoch":"e"}}"#)
        else {
            panic!("not a hello")
        };
        assert_eq!(hello.after, Some(Position { offset: 4, epoch: "e".into() }));
    }

    #[test]
    fn what_cannot_be_read_is_explained_with_its_id() {
        for (text, code, id) in [
            ("", Code::BadRequest, None),
            ("[]", Code::BadRequest, None),
            (r#"{"id":"7"}"#, Code::BadRequest, Some("7")),
            (r#"{"type":"dance","id":"7"}"#, Code::UnknownType, Some("7")),
            (r#"{"type":"publish","id":"7"}"#, Code::BadRequest, Some("7")),
            (r#"{"type":"publish","id":7,"room":"a","text":"b"}"#, Code::BadRequest, None),
        ] {
            let failure = Request::parse(text).unwrap_err();
            assert_eq!((failure.code, failure.id.as_deref()), (code, id), "{text}");
        }
        let long = format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(65));
        assert_eq!(Request::parse(&long).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn answers_leave_out_what_is_not_there() {
        let ack = Answer::Ack { id: None, room: "a", offset: 3, time: 5, duplicate: false };
        assert_eq!(text(&ack.encode()), r#"{"type":"ack","room":"a","offset":3,"time":5}"#);
        let said = Said { offset: 1, time: 2, from: "Ada", text: "<script>\u{2028}", key: None };
        assert_eq!(
            text(&Answer::Message { room: "a", said }.encode()),
            "{\"type\":\"message\",\"room\":\"a\",\"offset\":1,\"time\":2,\"from\":\"Ada\",\"text\":\"<script>\u{2028}\"}"
        );
    }
}
