//! The plain-text form: a line a message.

use std::fmt;

use crate::chat::name::UserName;
use crate::hub::Missed;
use crate::proto::{Message, Prepared};

/// The answer to a name.
pub fn welcome(name: &UserName) -> Prepared {
    text(format_args!("Welcome, {name}!"))
}

/// What everybody else is told when somebody comes.
pub fn joined(name: &str) -> Prepared {
    text(format_args!("[system] >>> {name} joined the chat"))
}

/// What everybody else is told when somebody goes.
pub fn left(name: &str) -> Prepared {
    text(format_args!("[system] >>> {name} left the chat"))
}

/// What somebody said.
pub fn said(name: &str, what: &str) -> Prepared {
    text(format_args!("[{name}] {what}"))
}

/// What somebody did wrong.
pub fn error(why: impl fmt::Display) -> Prepared {
    text(format_args!("[system] error: {why}"))
}

/// News for everybody.
pub fn notice(what: &str) -> Prepared {
    text(format_args!("[system] {what}"))
}

/// Whether a line is [`error`]'s.
pub fn is_error(line: &str) -> bool {
    line.starts_with("[system] error: ")
}

/// The news that messages were missed.
pub fn missed(missed: Missed) -> Prepared {
    let Missed { count, first, last } = missed;
    let plural = if count == 1 { "" } else { "s" };
    // News of who came and went have no numbers.
    let range = if first <= last { format!(" (from {first} to {last})") } else { String::new() };
    text(format_args!("[system] you missed {count} message{plural}{range}: your connection is too slow"))
}

fn text(text: fmt::Arguments<'_>) -> Prepared {
    Prepared::new(Message::text(text.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_the_protocol_says() {
        let ann = UserName::parse("Ann").unwrap();
        let line = |prepared: Prepared| prepared.message().as_text().unwrap().to_owned();
        assert_eq!(line(welcome(&ann)), "Welcome, Ann!");
        assert_eq!(line(joined(ann.as_str())), "[system] >>> Ann joined the chat");
        assert_eq!(line(left(ann.as_str())), "[system] >>> Ann left the chat");
        assert_eq!(line(said(ann.as_str(), "hi")), "[Ann] hi");
        assert_eq!(line(error("why")), "[system] error: why");
        assert!(is_error(&line(error("why"))) && !is_error(&line(said(ann.as_str(), "why"))));
        let one = Missed { count: 1, first: 7, last: 7 };
        assert_eq!(
            line(missed(one)),
            "[system] you missed 1 message (from 7 to 7): your connection is too slow"
        );
        let news = Missed { count: 2, first: 8, last: 7 };
        assert_eq!(line(missed(news)), "[system] you missed 2 messages: your connection is too slow");
    }
}
