//! What was typed and isn't acknowledged yet: it outlives connections, and is sent once the server can have it.

use std::collections::VecDeque;

/// Texts in the order in which they were typed.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Outgoing>,
    bytes: usize,
    last_id: u64,
}

/// A text on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    /// By which the acknowledgement names it, and the server knows it when it comes again.
    pub(super) id: String,
    pub(super) room: String,
    pub(super) text: String,
    is_sent: bool,
}

/// The most texts that wait at once, in either form.
pub(super) const MAX_TEXTS: usize = 1000;

/// The most bytes that these have.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// How many texts may be sent and not acknowledged: the server knows as many ids again, and twice that.
const WINDOW: usize = 100;

impl Outbox {
    /// Takes a text; `false` if there is no room for it.
    pub(super) fn push(&mut self, room: &str, text: &str) -> bool {
        if self.waiting.len() >= MAX_TEXTS || text.len() > MAX_BYTES - self.bytes {
            return false;
        }
        self.last_id += 1;
        self.bytes += text.len();
        let (id, room, text) = (self.last_id.to_string(), room.to_owned(), text.to_owned());
        self.waiting.push_back(Outgoing { id, room, text, is_sent: false });
        true
    }

    /// Takes what is to be sent now, of rooms for which `is_open` holds.
    pub(super) fn due(&mut self, is_open: impl Fn(&str) -> bool) -> Vec<Outgoing> {
        let sent = self.waiting.iter().filter(|text| text.is_sent).count();
        let due = self.waiting.iter_mut().filter(|text| !text.is_sent && is_open(&text.room));
        due.take(WINDOW.saturating_sub(sent))
            .map(|text| {
                text.is_sent = true;
                text.clone()
            })
            .collect()
    }

    /// The connection is gone, and with it perhaps what was sent: all of it is sent again.
    pub(super) fn on_disconnected(&mut self) {
        self.waiting.iter_mut().for_each(|text| text.is_sent = false);
    }

    /// The server has answered: takes the text off.
    pub(super) fn settle(&mut self, id: &str) -> Option<Outgoing> {
        let at = self.waiting.iter().position(|text| text.id == id)?;
        let text = self.waiting.remove(at)?;
        self.bytes -= text.text.len();
        Some(text)
    }

    /// Takes off what waits for a room that we are out of.
    pub(super) fn drop_room(&mut self, room: &str) -> Vec<Outgoing> {
        let (gone, kept) = self.waiting.drain(..).partition::<VecDeque<_>, _>(|text| text.room == room);
        self.waiting = kept;
        self.bytes = self.waiting.iter().map(|text| text.text.len()).sum();
        gone.into()
    }

    /// Whether a text of ours in this room reads so.
    pub(super) fn contains(&self, room: &str, text: &str) -> bool {
        self.waiting.iter().any(|waiting| waiting.room == room && waiting.text == text)
    }

    /// How many texts wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether so much waits that no more should be read of somebody who can wait.
    pub(super) fn is_busy(&self) -> bool {
        self.waiting.len() >= WINDOW || self.bytes >= MAX_BYTES / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold() {
        let mut outbox = Outbox::default();
        assert!(outbox.push("a", &"x".repeat(MAX_BYTES)));
        assert!(!outbox.push("a", "x"));
        outbox.settle("1").unwrap();
        for _ in 0..MAX_TEXTS {
            assert!(outbox.push("a", "x"));
        }
        assert!(!outbox.push("a", ""));
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_with_its_id() {
        let mut outbox = Outbox::default();
        for text in ["one", "two", "three"] {
            outbox.push("a", text);
        }
        let ids = |due: Vec<Outgoing>| due.into_iter().map(|text| text.id).collect::<Vec<_>>();
        assert!(outbox.due(|room| room != "a").is_empty());
        assert_eq!(ids(outbox.due(|_| true)), ["1", "2", "3"]);
        assert!(outbox.due(|_| true).is_empty());
        assert_eq!(outbox.settle("2").unwrap().text, "two");
        assert_eq!(outbox.settle("2"), None);
        outbox.on_disconnected();
        assert_eq!(ids(outbox.due(|_| true)), ["1", "3"]);
        assert!(outbox.contains("a", "one") && !outbox.contains("a", "two"));
        assert_eq!(outbox.drop_room("a").len(), 2);
        assert_eq!((outbox.len(), outbox.bytes), (0, 0));
    }

    #[test]
    fn only_so_many_are_on_their_way() {
        let mut outbox = Outbox::default();
        for _ in 0..WINDOW + 5 {
            outbox.push("a", "x");
        }
        assert_eq!(outbox.due(|_| true).len(), WINDOW);
        assert!(outbox.is_busy());
        outbox.settle("1");
        assert_eq!(outbox.due(|_| true).len(), 1);
    }
}
