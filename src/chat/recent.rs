//! What was published lately, by its id: a second copy is found, and not published again.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// The newest ids of a room, and where each message is.
///
/// Only hashes of the ids are kept. Nobody outside knows the hasher's key, so nobody can find two that collide, and
/// by chance that doesn't happen among so few.
#[derive(Debug, Default)]
pub(super) struct Recent {
    hasher: RandomState,
    places: HashMap<u64, (u64, u64)>,
    order: VecDeque<u64>,
}

/// How many a room remembers: far more than are said in the time that it takes to come back.
const MAX_IDS: usize = 16_384;

impl Recent {
    /// The offset and time of the message with this id.
    pub(super) fn get(&self, id: &str) -> Option<(u64, u64)> {
        self.places.get(&self.hasher.hash_one(id)).copied()
    }

    pub(super) fn insert(&mut self, id: &str, offset: u64, time: u64) {
        if self.order.len() >= MAX_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.places.remove(&oldest);
        }
        let hash = self.hasher.hash_one(id);
        if self.places.insert(hash, (offset, time)).is_none() {
            self.order.push_back(hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered_and_the_rest_is_bounded() {
        let mut recent = Recent::default();
        for number in 0..20_000u64 {
            recent.insert(&number.to_string(), number, 0);
        }
        assert_eq!(recent.get("19999"), Some((19_999, 0)));
        assert_eq!(recent.get("0"), None);
        assert_eq!((recent.order.len(), recent.places.len()), (MAX_IDS, MAX_IDS));
    }
}
