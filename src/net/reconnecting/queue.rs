//! What is to be sent once there is a connection: a queue with an end to it.

use std::collections::VecDeque;

use crate::proto::Message;

/// Messages in the order in which they were sent.
#[derive(Debug)]
pub(super) struct Queue {
    messages: VecDeque<Message>,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
}

impl Queue {
    /// Holds at most so many messages, and bytes of payload.
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self { messages: VecDeque::new(), bytes: 0, max_messages, max_bytes }
    }

    /// Whether a message of `len` bytes fits.
    pub(super) fn has_room(&self, len: usize) -> bool {
        self.messages.len() < self.max_messages && len <= self.max_bytes.saturating_sub(self.bytes)
    }

    /// Puts a message behind all others, or gives it back if it doesn't fit.
    pub(super) fn push(&mut self, message: Message) -> Result<(), Unsent> {
        if !self.has_room(message.len()) {
            return Err(Unsent::Full(message));
        }
        self.bytes += message.len();
        self.messages.push_back(message);
        Ok(())
    }

    pub(super) fn front(&self) -> Option<&Message> {
        self.messages.front()
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len();
        if self.messages.is_empty() {
            // What an outage needed isn't kept for ever.
            self.messages = VecDeque::new();
        }
        Some(message)
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn take(&mut self) -> Vec<Message> {
        self.bytes = 0;
        std::mem::take(&mut self.messages).into()
    }
}

/// Why a message wasn't taken; it comes back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unsent {
    /// The queue for the time without a connection is full.
    #[error("the message was not queued: too much waits for a connection already")]
    Full(Message),
    /// There is no connection, and the message was for the present one only.
    #[error("the message was not sent: there is no connection")]
    NotConnected(Message),
    /// The client was closed, or has given up.
    #[error("the message was not sent: the client has ended")]
    Ended(Message),
}

impl Unsent {
    /// The message.
    pub fn into_message(self) -> Message {
        match self {
            Self::Full(message) | Self::NotConnected(message) | Self::Ended(message) => message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold_and_the_message_comes_back() {
        let mut queue = Queue::new(3, 5);
        queue.push("abc".into()).unwrap();
        assert!(
            matches!(queue.push("def".into()), Err(Unsent::Full(message)) if message.as_text() == Some("def"))
        );
        queue.push("de".into()).unwrap();
        queue.push("".into()).unwrap();
        assert!(queue.push("".into()).is_err());
        assert_eq!((queue.len(), queue.bytes()), (3, 5));
        assert_eq!(queue.pop().unwrap().as_text(), Some("abc"));
        queue.push("fgh".into()).unwrap();
        let left: Vec<_> =
            queue.take().into_iter().map(|message| message.as_text().unwrap().to_owned()).collect();
        assert_eq!(left, ["de", "", "fgh"]);
        assert_eq!((queue.len(), queue.bytes(), queue.pop()), (0, 0, None));
    }
}
