//! A look at a room's history.

use std::fmt;
use std::sync::Arc;

use super::content::Content;
use super::ring::{Entry, Ring};

/// A look at a room's history, while nothing changes.
pub struct View<'a, C> {
    ring: &'a Ring<C>,
}

impl<'a, C: Content> View<'a, C> {
    pub(super) fn new(ring: &'a Ring<C>) -> Self {
        Self { ring }
    }

    /// The newest kept message's offset.
    pub fn offset(&self) -> u64 {
        self.ring.offset()
    }

    /// The history, oldest first.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Arc<Entry<C>>> + ExactSizeIterator {
        self.ring.history().iter()
    }

    /// What came after `offset`, oldest first.
    pub fn after(&self, offset: u64) -> impl DoubleEndedIterator<Item = &Arc<Entry<C>>> + ExactSizeIterator {
        let history = self.ring.history();
        history.range(history.partition_point(|entry| entry.stamp().offset <= offset)..)
    }

    /// Whether [`View::after`] has everything that came after `offset`.
    pub fn is_complete_after(&self, offset: u64) -> bool {
        self.ring.is_complete_after(offset)
    }

    /// Whether the history has everything that was ever published.
    pub fn is_whole(&self) -> bool {
        self.ring.is_complete_after(0)
    }

    /// What the history costs, in bytes.
    pub fn history_bytes(&self) -> usize {
        self.ring.history_bytes()
    }
}

impl<C: Content> fmt::Debug for View<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("offset", &self.offset()).finish_non_exhaustive()
    }
}
