//! What was said in a room: the parts of it that fit into an answer.

use std::sync::Arc;

use crate::hub::{Entry, View};

use super::super::content::Content;
use super::super::wire::json::Position;
use super::{Attendance, Room, Snapshot};

/// What a part of the history one asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// What came after an offset, oldest first.
    After(u64),
    /// What came before an offset, the newest of it.
    Before(u64),
    /// The newest.
    Newest,
}

/// The most messages of an answer.
pub const MAX_MESSAGES: usize = 1000;

/// And the most bytes of text and names.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// How many messages somebody gets who asks for nothing in particular.
const DEFAULT_MESSAGES: usize = 100;

impl Room {
    /// A part of the history, oldest first, and whether it is all of that part.
    pub fn history(&self, range: Range, limit: usize) -> (Vec<Arc<Entry<Content>>>, bool) {
        let limit = limit.min(MAX_MESSAGES);
        self.hub.look(|view| match range {
            Range::After(offset) => {
                let is_complete = view.is_complete_after(offset);
                let (messages, is_all) = take(view.after(offset), limit);
                (messages, is_all && is_complete)
            }
            Range::Before(offset) => {
                let before = view.history().filter(|entry| entry.stamp().offset < offset);
                let (mut messages, is_all) = take(before.rev(), limit);
                messages.reverse();
                (messages, is_all && view.is_whole())
            }
            Range::Newest => {
                let (mut messages, is_all) = take(view.history().rev(), limit);
                messages.reverse();
                (messages, is_all && view.is_whole())
            }
        })
    }

    pub(super) fn snapshot(
        &self,
        view: &View<'_, Content>,
        after: Option<&Position>,
        people: Attendance,
    ) -> Snapshot {
        let known = after.filter(|after| after.epoch == self.epoch && view.is_complete_after(after.offset));
        let (history, is_complete) = match known {
            Some(after) => {
                let (mut messages, is_all) = take(view.after(after.offset).rev(), MAX_MESSAGES);
                messages.reverse();
                (messages, is_all)
            }
            None => {
                let limit = if after.is_some() { MAX_MESSAGES } else { DEFAULT_MESSAGES };
                let (mut messages, is_all) = take(view.history().rev(), limit);
                messages.reverse();
                (messages, after.is_none() && is_all && view.is_whole())
            }
        };
        // Whoever was away hasn't been told.
        let known = after.filter(|after| after.epoch == self.epoch).map_or(0, |after| after.offset);
        let gone = view.history().filter(|entry| entry.content().said().is_none());
        let deleted = gone.map(|entry| entry.stamp().offset).take_while(|offset| *offset <= known).collect();
        Snapshot { offset: view.offset(), history, is_complete, deleted, people }
    }
}

/// The first messages that fit into an answer, and whether those are all.
fn take<'a>(
    entries: impl Iterator<Item = &'a Arc<Entry<Content>>>,
    limit: usize,
) -> (Vec<Arc<Entry<Content>>>, bool) {
    let mut bytes = 0;
    let mut taken = Vec::new();
    for entry in entries {
        let Some(message) = entry.content().said() else { continue };
        bytes += message.text.len() + message.from.len();
        if taken.len() == limit || bytes > MAX_ANSWER_BYTES && !taken.is_empty() {
            return (taken, false);
        }
        taken.push(entry.clone());
    }
    (taken, true)
}
