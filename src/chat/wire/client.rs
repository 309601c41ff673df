//! The JSON form as a client reads it: what [`json::Answer`](super::json::Answer) says, owned and forgiving.
//!
//! Members and types that a client has no use for are ignored, so that a newer server can say more. What a client asks
//! is [`json::Request`](super::json::Request), either way.

use serde::Deserialize;

use super::json::{Credentials, PresenceEvent};

/// What came from the server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "docs/chat-protocol.md describes each with its members")]
pub enum News {
    Welcome {
        name: String,
        session: Credentials,
        resumed: bool,
        limits: Option<Limits>,
    },
    Joined {
        room: String,
        offset: u64,
        epoch: String,
        complete: bool,
        history: Vec<Said>,
        members: Vec<Person>,
        count: usize,
    },
    Left {
        room: String,
    },
    Members {
        room: String,
        members: Vec<Person>,
        count: usize,
    },
    Message {
        room: String,
        #[serde(flatten)]
        said: Said,
    },
    Presence {
        room: String,
        event: PresenceEvent,
        name: String,
    },
    Ack {
        id: Option<String>,
        room: String,
        offset: u64,
    },
    Pong {
        id: Option<String>,
    },
    Deleted {
        room: String,
        offset: u64,
        by: String,
    },
    Missed {
        room: String,
        count: u64,
    },
    Kicked {
        room: String,
        by: String,
        reason: Option<String>,
    },
    Notice {
        room: Option<String>,
        text: String,
    },
    Error {
        id: Option<String>,
        room: Option<String>,
        /// As the server said it: a newer one has codes that we don't know.
        code: String,
        message: String,
    },
    /// Anything else.
    #[serde(other)]
    Other,
}

/// What the server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Limits {
    /// The longest WebSocket message, in bytes.
    pub message_bytes: usize,
}

/// A message in a room.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Said {
    /// Its offset.
    pub offset: u64,
    /// By whom.
    pub from: String,
    /// What.
    pub text: String,
}

/// Somebody who is there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Person {
    /// By which name.
    pub name: String,
}

impl News {
    /// Reads what came; `None` if it isn't an object with a type and the members that this type has to have.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::{self, Answer, Position, Request};
    use super::*;

    fn read(answer: &Answer<'_>) -> Option<News> {
        News::parse(answer.encode().message().as_text().unwrap())
    }

    #[test]
    fn what_the_server_says_is_read() {
        let said = json::Said { offset: 3, time: 5, from: "Ada", text: "\"\\\u{1b}\u{1f600}", key: None };
        let expected = Said { offset: 3, from: "Ada".into(), text: "\"\\\u{1b}\u{1f600}".into() };
        assert_eq!(
            read(&Answer::Message { room: "a", said: said.clone() }),
            Some(News::Message { room: "a".into(), said: expected.clone() })
        );
        let joined = Answer::Joined {
            room: "a",
            id: None,
            offset: 3,
            epoch: "e",
            complete: true,
            history: vec![said],
            deleted: &[],
            version: 1,
            members: vec![json::MemberName { name: "Ada" }],
            count: 1,
        };
        let members = vec![Person { name: "Ada".into() }];
        assert_eq!(
            read(&joined),
            Some(News::Joined {
                room: "a".into(),
                offset: 3,
                epoch: "e".into(),
                complete: true,
                history: vec![expected],
                members,
                count: 1
            })
        );
        let error = Answer::Error {
            id: None,
            room: None,
            code: json::Code::NameTaken,
            message: "why",
            retry_after: None,
        };
        let code = "name_taken".to_owned();
        assert_eq!(read(&error), Some(News::Error { id: None, room: None, code, message: "why".into() }));
    }

    #[test]
    fn what_is_unknown_is_ignored_and_what_is_broken_is_nothing() {
        assert_eq!(News::parse(r#"{"type":"dance","room":"a"}"#), Some(News::Other));
        assert_eq!(News::parse(r#"{"type":"pong","time":3,"more":[]}"#), Some(News::Pong { id: None }));
        for text in ["", "hi", "[]", "{}", r#"{"type":"left"}"#, r#"{"type":"left","room":3}"#] {
            assert_eq!(News::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_client_asks_is_what_the_server_reads() {
        let hello = json::Hello {
            name: Some("Ada".into()),
            after: Some(Position { offset: 4, epoch: "e".into() }),
            ..json::Hello::default()
        };
        for (request, text) in [
            (Request::Hello(hello), r#"{"type":"hello","name":"Ada","after":{"offset":4,"epoch":"e"}}"#),
            (Request::Ping { id: None }, r#"{"type":"ping"}"#),
            (
                Request::Publish { room: "a".into(), id: Some("1".into()), text: "\n".into(), key: None },
                r#"{"type":"publish","room":"a","id":"1","text":"\n"}"#,
            ),
        ] {
            let message = request.encode();
            assert_eq!(message.as_text(), Some(text));
            assert_eq!(Request::parse(text), Ok(request));
        }
    }
}
