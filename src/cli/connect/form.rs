//! How we talk with a server: in the chat's JSON form, or in plain text with whoever it may be.

use std::time::Duration;

use tokio::time::Instant;

use super::conversation::{Conversation, Stage};

/// What the present connection speaks.
pub(super) enum Form {
    /// There was no connection yet.
    Unknown,
    Plain(Plain),
    Chat(Box<Conversation>),
}

/// A conversation in plain text.
#[derive(Debug)]
pub(super) struct Plain {
    /// Sent first on each connection.
    pub(super) name: Option<String>,
    /// Until when everything waits for an answer to the name.
    pub(super) answer_by: Option<Instant>,
    /// When to give the name again.
    pub(super) again_at: Option<Instant>,
    /// Whether it was welcomed once.
    pub(super) is_known: bool,
}

/// How long the lines wait for an answer to the name: some servers know no names.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a server may take to answer a hello before it counts as one that doesn't know the JSON form.
pub(super) const WELCOME_TIMEOUT: Duration = Duration::from_secs(5);

impl Plain {
    /// A conversation that begins with this name.
    pub(super) fn new(name: Option<String>) -> Self {
        Self { name, answer_by: None, again_at: None, is_known: false }
    }

    /// Takes the name from the answer to it, if that is what it is: whoever comes back gives it again.
    pub(super) fn on_text(&mut self, text: &str) {
        if let Some(name) = text.strip_prefix("Welcome, ").and_then(|rest| rest.strip_suffix('!')) {
            self.is_known = true;
            self.name.get_or_insert_with(|| name.to_owned());
        }
    }
}

impl Form {
    /// What stands in front of the line that is typed.
    pub(super) fn prompt(&self, is_online: bool) -> String {
        let offline = if is_online { "" } else { "(offline) " };
        match self {
            Self::Chat(chat) => match (chat.stage(), chat.present()) {
                (Stage::Nameless, _) => "another name> ".to_owned(),
                (_, Some(room)) => format!("{offline}#{room} {}> ", chat.name()),
                (_, None) => format!("{offline}{}> ", chat.name()),
            },
            _ => format!("{offline}> "),
        }
    }

    /// What Tab completes to besides commands, if that has changed.
    pub(super) fn new_words(&mut self) -> Option<Vec<String>> {
        match self {
            Self::Chat(chat) => chat.new_words(),
            _ => None,
        }
    }
}
