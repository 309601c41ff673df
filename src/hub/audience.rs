//! Who is in a room, and how many members its messages are for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::content::{Content, FORMS, Form};

/// Tells members apart, whatever they are called. No two of a process are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(u64);

impl MemberId {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Its number.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// Whom a message published now is for.
///
/// Invariant: `counts` are those of `members`.
#[derive(Debug, Default)]
pub(super) struct Audience {
    members: HashMap<MemberId, Form>,
    counts: [usize; FORMS],
    addressed: u64,
}

impl Audience {
    pub(super) fn join(&mut self, id: MemberId, form: Form) {
        self.members.insert(id, form);
        self.counts[form.index()] += 1;
    }

    pub(super) fn leave(&mut self, id: MemberId) {
        if let Some(form) = self.members.remove(&id) {
            self.counts[form.index()] -= 1;
        }
    }

    pub(super) fn has(&self, id: MemberId) -> bool {
        self.members.contains_key(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// The sum over all messages of the members that each was for.
    pub(super) fn addressed(&self) -> u64 {
        self.addressed
    }

    /// Counts those for whom `content` is: the members of its forms, but for its sender.
    pub(super) fn address(&mut self, content: &impl Content, from: Option<MemberId>) {
        let forms = (0..FORMS as u8).map(Form::new).filter(|form| content.is_for(*form));
        let members: usize = forms.map(|form| self.counts[form.index()]).sum();
        let sender = from.and_then(|id| self.members.get(&id)).filter(|form| content.is_for(**form));
        self.addressed += members as u64 - u64::from(sender.is_some());
    }
}
