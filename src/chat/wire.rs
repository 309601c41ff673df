//! The plain-text form of the chat, and the only place that knows it.

use std::fmt;

use crate::hub::Missed;
use crate::proto::{Message, Prepared};

use super::name::UserName;

/// The answer to a name.
pub fn welcome(name: &UserName) -> Prepared {
    text(format_args!("Welcome, {name}!"))
}

/// What everybody else is told when somebody comes.
pub fn joined(name: &UserName) -> Prepared {
    text(format_args!("[system] >>> {name} joined the chat"))
}

/// What everybody else is told when somebody goes.
pub fn left(name: &UserName) -> Prepared {
    text(format_args!("[system] >>> {name} left the chat"))
}

/// What somebody said.
pub fn said(name: &UserName, what: &str) -> Prepared {
    text(format_args!("[{name}] {what}"))
}

/// What somebody did wrong.
pub fn error(why: impl fmt::Display) -> Prepared {
    text(format_args!("[system] error: {why}"))
}

/// Whether a line is [`error`]'s.
pub fn is_error(line: &str) -> bool {
    line.starts_with("[system] error: ")
}

/// The news that messages were missed.
pub fn missed(missed: Missed) -> Prepared {
    let Missed { count, first, last } = missed;
    let plural = if count == 1 { "" } else { "s" };
    text(format_args!(
        "[system] you missed {count} message{plural} (from {first} to {last}): your connection is too slow"
    ))
}

fn text(text: fmt::Arguments<'_>) -> Prepared {
    Prepared::new(Message::text(text.to_string()))
}

/// The name of a room: 1–64 characters of `A–Z a–z 0–9 . _ -`, which every broker's topics can bear.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoomName(String);

/// Where everybody is who names no room.
const LOBBY: &str = "lobby";

const MAX_ROOM_NAME: usize = 64;

impl RoomName {
    /// Makes a room's name of a text.
    pub fn parse(text: &str) -> Option<Self> {
        let is_name = !text.is_empty()
            && text.len() <= MAX_ROOM_NAME
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        is_name.then(|| Self(text.to_owned()))
    }

    /// The room that a path leads to: `/` and `/ws` to the lobby, `/rooms/NAME` to NAME.
    pub fn of_path(path: &str) -> Option<Self> {
        match path {
            "/" | "/ws" => Some(Self(LOBBY.to_owned())),
            path => Self::parse(path.strip_prefix("/rooms/")?),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_rooms() {
        for (path, room) in [
            ("/", Some("lobby")),
            ("/ws", Some("lobby")),
            ("/rooms/rust", Some("rust")),
            ("/rooms/a.b_c-D1", Some("a.b_c-D1")),
            ("/rooms/", None),
            ("/rooms/a/b", None),
            ("/rooms/a%20b", None),
            ("/rooms/ä", None),
            ("/other", None),
            ("", None),
        ] {
            assert_eq!(RoomName::of_path(path).as_ref().map(RoomName::as_str), room, "{path}");
        }
        assert!(RoomName::parse(&"x".repeat(64)).is_some());
        assert!(RoomName::parse(&"x".repeat(65)).is_none());
    }

    #[test]
    fn lines_are_as_the_protocol_says() {
        let ann = UserName::parse("Ann").unwrap();
        let line = |prepared: Prepared| prepared.message().as_text().unwrap().to_owned();
        assert_eq!(line(welcome(&ann)), "Welcome, Ann!");
        assert_eq!(line(joined(&ann)), "[system] >>> Ann joined the chat");
        assert_eq!(line(left(&ann)), "[system] >>> Ann left the chat");
        assert_eq!(line(said(&ann, "hi")), "[Ann] hi");
        assert_eq!(line(error("why")), "[system] error: why");
        assert!(is_error(&line(error("why"))) && !is_error(&line(said(&ann, "why"))));
        let one = Missed { count: 1, first: 7, last: 7 };
        assert_eq!(
            line(missed(one)),
            "[system] you missed 1 message (from 7 to 7): your connection is too slow"
        );
    }
}
