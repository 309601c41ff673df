//! What is published, and in which forms members get it.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::proto::Prepared;

use super::audience::MemberId;

/// In which form a member gets what is published, such as one's wire format.
///
/// Each published message is encoded at most once a form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Form(u8);

/// How many forms a room can have.
pub(super) const FORMS: usize = 4;

impl Form {
    /// The form with this number, 0 to 3.
    ///
    /// # Panics
    ///
    /// If there is no such form; in a constant that doesn't compile.
    pub const fn new(number: u8) -> Self {
        assert!((number as usize) < FORMS, "there are forms 0 to 3");
        Self(number)
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What a room adds to a message when it takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The message's offset in its room, or for one that isn't kept, that of the newest that is.
    pub offset: u64,
    /// When it was published, in milliseconds since 1970-01-01 UTC.
    pub time: u64,
}

/// What is published. A [`Prepared`] is one that is the same in every form.
pub trait Content: fmt::Debug + Send + Sync {
    /// Whether members of that form get it. It always says the same, and so does [`Content::bytes`].
    fn is_for(&self, form: Form) -> bool {
        let _ = form;
        true
    }

    /// The message in a form that it is for; `key` is what it is the newest state of. Called at most once a form while
    /// members still wait for it.
    fn encode(&self, form: Form, stamp: Stamp, key: Option<&str>) -> Prepared;

    /// How many bytes it holds.
    fn bytes(&self) -> usize;
}

impl Content for Prepared {
    fn encode(&self, _: Form, _: Stamp, _: Option<&str>) -> Prepared {
        self.clone()
    }

    fn bytes(&self) -> usize {
        self.frame_bytes()
    }
}

/// How long a message matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// It has an offset of its own and is kept as history.
    #[default]
    Kept,
    /// Every member gets it, but it isn't kept.
    Passing,
    /// Whoever isn't slow gets it; it is dropped first, and nobody is told.
    Ephemeral,
}

/// Something to publish.
#[derive(Debug)]
pub struct Publish<C> {
    /// What.
    pub content: C,
    /// By which member, who doesn't get it.
    pub from: Option<MemberId>,
    /// What it is the newest state of, for [`Policy::LatestPerKey`](super::Policy::LatestPerKey). Messages of one key
    /// are all for the same forms.
    pub key: Option<Box<str>>,
    /// How long it matters.
    pub lifetime: Lifetime,
    /// When it is published, in milliseconds since 1970-01-01 UTC.
    pub time: u64,
}

impl<C> Publish<C> {
    /// Something to publish now, by nobody, that is kept.
    pub fn new(content: C) -> Self {
        Self { content, from: None, key: None, lifetime: Lifetime::Kept, time: now() }
    }

    /// The same, not kept.
    #[must_use]
    pub fn passing(self) -> Self {
        Self { lifetime: Lifetime::Passing, ..self }
    }

    /// The same, for whoever isn't slow.
    #[must_use]
    pub fn ephemeral(self) -> Self {
        Self { lifetime: Lifetime::Ephemeral, ..self }
    }

    /// The same, by a member.
    #[must_use]
    pub fn by(self, member: MemberId) -> Self {
        Self { from: Some(member), ..self }
    }

    /// The same, as the newest state of `key`.
    #[must_use]
    pub fn of_key(self, key: impl Into<Box<str>>) -> Self {
        Self { key: Some(key.into()), ..self }
    }
}

/// Now, in milliseconds since 1970-01-01 UTC.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
