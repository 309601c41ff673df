//! What a verified token allows.

use std::time::SystemTime;

use crate::chat::name::UserName;

/// A verified identity, and what it may do until when.
#[derive(Clone, Debug)]
pub struct Grant {
    pub(super) name: UserName,
    pub(super) expires_at: SystemTime,
    pub(super) join: Patterns,
    pub(super) send: Patterns,
    pub(super) moderate: Patterns,
}

/// What can be done in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Be in it and read.
    Join,
    /// Send messages to it.
    Send,
    /// Delete messages in it, kick and ban its members.
    Moderate,
}

impl Grant {
    /// The name to go by.
    pub fn name(&self) -> &UserName {
        &self.name
    }

    /// When it runs out, the clocks' leeway included.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Whether `action` is allowed in `room`.
    pub fn allows(&self, action: Action, room: &str) -> bool {
        let patterns = match action {
            Action::Join => &self.join,
            Action::Send => &self.send,
            Action::Moderate => &self.moderate,
        };
        patterns.fit(room)
    }
}

/// Names of rooms in which `*` stands for any characters or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patterns(pub(super) Vec<String>);

impl Patterns {
    pub(super) fn all() -> Self {
        Self(vec!["*".to_owned()])
    }

    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    fn fit(&self, room: &str) -> bool {
        self.0.iter().any(|pattern| fits(pattern, room))
    }
}

/// Whether `text` is what `pattern` describes.
///
/// Each part between two stars is taken where it comes first: later ones leave no more room for the rest. So the time is
/// bounded by the product of the lengths.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "lobby", true),
            ("lobby", "lobby", true),
            ("lobby", "lobby2", false),
            ("team-*", "team-a", true),
            ("team-*", "team-", true),
            ("team-*", "steam-a", false),
            ("*-team", "a-team", true),
            ("a*a", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    /// The definition, taken literally.
    fn oracle(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|at| oracle(rest, &text[at..])),
            [first, rest @ ..] => text.first() == Some(first) && oracle(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn fits_as_its_definition_does(pattern in "[ab*]{0,8}", text in "[ab]{0,8}") {
            prop_assert_eq!(fits(&pattern, &text), oracle(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
