//! One user's session in the plain-text form: what each message of theirs means. No clock, no socket.

use crate::proto::{CloseCode, CloseFrame, Message};

use super::name::{NameError, UserName};

/// A session.
#[derive(Debug, Default)]
pub struct Session {
    is_named: bool,
    wrong_names: u32,
    max_text: Option<usize>,
}

/// What to do about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Ignore,
    /// Try to join by this name; then tell the session [`Session::joined`] or [`Session::refused`].
    Join(UserName),
    /// Send this text to everybody else.
    Say(String),
    /// Tell the user what was wrong.
    Complain(String),
    /// Tell the user what was wrong, and close.
    Close(String, CloseFrame),
}

/// How many names may be wrong.
const MAX_WRONG_NAMES: u32 = 3;

impl Session {
    /// A session whose texts may have `max_text` Unicode scalar values.
    pub fn new(max_text: Option<usize>) -> Self {
        Self { max_text, ..Self::default() }
    }

    /// Takes a message from the user.
    pub fn receive(&mut self, message: &Message) -> Step {
        let Message::Text(text) = message else {
            return close(CloseCode::UNSUPPORTED_DATA, "only text messages are understood here");
        };
        if !self.is_named {
            return match UserName::parse(text) {
                Ok(name) => Step::Join(name),
                Err(error) => self.refused(&error),
            };
        }
        let text = text.trim();
        match self.max_text {
            _ if text.is_empty() => Step::Ignore,
            Some(max) if text.chars().nth(max).is_some() => {
                Step::Complain(format!("this text is longer than {max} characters: it was not sent"))
            }
            _ => Step::Say(text.to_owned()),
        }
    }

    /// The user is in.
    pub fn joined(&mut self) {
        self.is_named = true;
    }

    /// The user can't have that name.
    pub fn refused(&mut self, why: &dyn std::error::Error) -> Step {
        self.wrong_names += 1;
        if self.wrong_names >= MAX_WRONG_NAMES {
            return Step::Close(
                why.to_string(),
                frame(CloseCode::POLICY_VIOLATION, "three names were refused"),
            );
        }
        Step::Complain(why.to_string())
    }

    /// The user gave no name in time.
    pub fn timed_out() -> Step {
        close(CloseCode::POLICY_VIOLATION, "no name came in time")
    }
}

fn close(code: CloseCode, why: &'static str) -> Step {
    Step::Close(why.to_owned(), frame(code, why))
}

fn frame(code: CloseCode, why: &'static str) -> CloseFrame {
    CloseFrame::new(code, why).expect("our own reasons are short")
}

impl From<NameError> for Step {
    fn from(error: NameError) -> Self {
        Self::Complain(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named() -> Session {
        let mut session = Session::new(Some(5));
        session.joined();
        session
    }

    #[test]
    fn the_first_text_is_the_name() {
        let mut session = Session::new(None);
        assert_eq!(session.receive(&Message::text(" ann ")), Step::Join(UserName::parse("ann").unwrap()));
    }

    #[test]
    fn the_third_wrong_name_closes() {
        let mut session = Session::new(None);
        assert!(matches!(session.receive(&Message::text("")), Step::Complain(_)));
        assert!(matches!(session.receive(&Message::text("[")), Step::Complain(_)));
        let Step::Close(_, frame) = session.receive(&Message::text("system")) else { panic!("not closed") };
        assert_eq!(frame.code(), CloseCode::POLICY_VIOLATION);
    }

    #[test]
    fn a_binary_message_closes_with_1003() {
        for mut session in [Session::new(None), named()] {
            let Step::Close(_, frame) = session.receive(&Message::binary(vec![1])) else {
                panic!("not closed")
            };
            assert_eq!(frame.code(), CloseCode::UNSUPPORTED_DATA);
        }
    }

    #[test]
    fn texts_are_trimmed_counted_and_said() {
        let mut session = named();
        assert_eq!(session.receive(&Message::text(" \n")), Step::Ignore);
        assert_eq!(session.receive(&Message::text(" äöü!? ")), Step::Say("äöü!?".into()));
        assert!(matches!(session.receive(&Message::text("123456")), Step::Complain(_)));
    }
}
