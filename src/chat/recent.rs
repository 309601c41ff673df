//! What was published lately, by its id: a second copy is found, and not published again.

use std::collections::{HashMap, VecDeque};

/// The newest ids of a room, and where each message is.
#[derive(Debug, Default)]
pub(super) struct Recent {
    places: HashMap<Box<str>, (u64, u64)>,
    order: VecDeque<Box<str>>,
}

/// How many a room remembers.
const MAX_IDS: usize = 4096;

impl Recent {
    /// The offset and time of the message with this id.
    pub(super) fn get(&self, id: &str) -> Option<(u64, u64)> {
        self.places.get(id).copied()
    }

    pub(super) fn insert(&mut self, id: &str, offset: u64, time: u64) {
        if self.order.len() >= MAX_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.places.remove(&oldest);
        }
        if self.places.insert(id.into(), (offset, time)).is_none() {
            self.order.push_back(id.into());
        }
    }

    /// The message couldn't be kept: its sender may try again.
    pub(super) fn remove(&mut self, id: &str) {
        if self.places.remove(id).is_some() {
            self.order.retain(|other| &**other != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered_and_the_rest_is_bounded() {
        let mut recent = Recent::default();
        for number in 0..5000u64 {
            recent.insert(&number.to_string(), number, 0);
        }
        assert_eq!(recent.get("4999"), Some((4999, 0)));
        assert_eq!(recent.get("0"), None);
        assert_eq!((recent.order.len(), recent.places.len()), (MAX_IDS, MAX_IDS));
        recent.remove("4999");
        assert_eq!(recent.get("4999"), None);
        assert_eq!(recent.order.len(), MAX_IDS - 1);
    }
}
