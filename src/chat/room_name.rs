//! The names of rooms.

use std::fmt;
use std::sync::Arc;

/// The name of a room: 1–64 characters of `A–Z a–z 0–9 . _ -`, which every broker's topics can bear. Cloning it
/// copies a reference. `.` and `..` are none: no URL would lead there (RFC 3986 §5.2.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomName(Arc<str>);

/// Where everybody is who names no room.
const LOBBY: &str = "lobby";

const MAX_BYTES: usize = 64;

impl RoomName {
    /// Makes a room's name of a text.
    pub fn parse(text: &str) -> Option<Self> {
        let is_name = !text.is_empty()
            && text.len() <= MAX_BYTES
            && !matches!(text, "." | "..")
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        is_name.then(|| Self(text.into()))
    }

    /// The room that a path leads to: `/` and `/ws` to the lobby, `/rooms/NAME` to NAME.
    pub fn of_path(path: &str) -> Option<Self> {
        match path {
            "/" | "/ws" => Some(Self(LOBBY.into())),
            path => Self::parse(path.strip_prefix("/rooms/")?),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
            ("/rooms/..", None),
            ("/rooms/...", Some("...")),
            ("/other", None),
            ("", None),
        ] {
            assert_eq!(RoomName::of_path(path).as_ref().map(RoomName::as_str), room, "{path}");
        }
        assert!(RoomName::parse(&"x".repeat(64)).is_some());
        assert!(RoomName::parse(&"x".repeat(65)).is_none());
    }
}
