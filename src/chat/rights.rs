//! What somebody may do in which rooms.

use super::room_name::RoomName;

/// Rooms by pattern: a name, or its beginning and `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Those of a list.
    pub fn new(patterns: impl IntoIterator<Item = String>) -> Self {
        Self(patterns.into_iter().collect())
    }

    /// Every room.
    pub fn all() -> Self {
        Self(vec!["*".to_owned()])
    }

    /// No room.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether a room is among them.
    pub fn contain(&self, room: &RoomName) -> bool {
        let room = room.as_str();
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => room.starts_with(beginning),
            None => room == pattern,
        })
    }
}

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Where they may be.
    pub join: Patterns,
    /// Where they may talk.
    pub send: Patterns,
    /// Where they may delete, kick and ban.
    pub moderate: Patterns,
}

impl Rights {
    /// What anybody may where nobody has to say who they are.
    pub fn of_anybody() -> Self {
        Self { join: Patterns::all(), send: Patterns::all(), moderate: Patterns::none() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_end() {
        let patterns = Patterns::new(["lobby".to_owned(), "team-*".to_owned()]);
        let contain = |room: &str| patterns.contain(&RoomName::parse(room).unwrap());
        assert!(contain("lobby") && contain("team-a") && contain("team-"));
        assert!(!contain("lobby2") && !contain("team"));
        assert!(!Patterns::none().contain(&RoomName::parse("a").unwrap()));
    }
}
