//! Messages that were encoded before and go out together, joined to one piece for the socket.
//!
//! Many peers get the same messages at the same time. Their frames are the same bytes (a server masks none,
//! RFC 6455 §5.1), so they are joined once, plain and deflated, and each peer's share is one write of one slice
//! instead of a vectored write of many.

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;

use super::prepared::Prepared;

/// Messages that were encoded once and are sent together, in order, to any number of peers.
///
/// ```
/// use switchboard::{Batch, Message, Prepared, Sender};
///
/// fn announce(peers: &[Sender], news: Vec<Prepared>) {
///     let batch = Batch::new(news);
///     for peer in peers {
///         // So many of them were taken. Whoever is behind gets the rest later, or not at all.
///         let taken = peer.try_send_batch(&batch, 0..batch.len());
///     }
/// }
/// # let _ = announce(&[], vec![Prepared::from(Message::text("news"))]);
/// ```
#[derive(Debug, Default)]
pub struct Batch {
    messages: Vec<Prepared>,
    plain: OnceLock<Bytes>,
    /// For the first peer's threshold.
    deflated: OnceLock<(usize, Bytes)>,
}

/// How the frames of a batch are for one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Plain,
    /// Deflated without context where that makes them shorter, in a window of 15 bits.
    Deflated {
        /// Payloads shorter than this stay as they are.
        threshold_bytes: usize,
        /// zlib's level.
        level: u8,
    },
}

impl Batch {
    /// The messages, in the order in which they are sent.
    pub fn new(messages: Vec<Prepared>) -> Self {
        Self { messages, plain: OnceLock::new(), deflated: OnceLock::new() }
    }

    /// How many messages it has.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The messages.
    pub fn messages(&self) -> &[Prepared] {
        &self.messages
    }

    /// All frames in one piece; `None` for a peer whose threshold isn't that of the first one that deflates.
    ///
    /// Of two peers that deflate by another level the second gets what the first one's made: both can read it.
    pub(super) fn joined(&self, form: Form) -> Option<&Bytes> {
        match form {
            Form::Plain => Some(self.plain.get_or_init(|| self.join(form))),
            Form::Deflated { threshold_bytes, .. } => {
                let (made_for, joined) = self.deflated.get_or_init(|| (threshold_bytes, self.join(form)));
                (*made_for == threshold_bytes).then_some(joined)
            }
        }
    }

    fn join(&self, form: Form) -> Bytes {
        match &self.messages[..] {
            [one] => form.frame(one).clone(),
            many => {
                let mut run = Vec::with_capacity(many.iter().map(|one| form.frame(one).len()).sum());
                many.iter().for_each(|one| run.extend_from_slice(form.frame(one)));
                run.into()
            }
        }
    }

    /// How many of the messages in `range` lie, at least in part, in the first `kept` bytes of their frames.
    pub(super) fn begun(&self, form: Form, range: Range<usize>, kept: usize) -> usize {
        let mut end = 0;
        let frames = self.messages[range].iter();
        frames
            .take_while(|one| {
                let is_begun = end < kept;
                end += form.frame(one).len();
                is_begun
            })
            .count()
    }
}

impl From<Prepared> for Batch {
    fn from(one: Prepared) -> Self {
        Self::new(vec![one])
    }
}

impl Form {
    /// The frame of `message` in this form.
    pub(super) fn frame(self, message: &Prepared) -> &Bytes {
        match self {
            Self::Deflated { threshold_bytes, level } if message.message().len() >= threshold_bytes => {
                message.deflated(level).unwrap_or(message.plain())
            }
            Self::Plain | Self::Deflated { .. } => message.plain(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Message;

    fn batch(texts: &[&str]) -> Batch {
        Batch::new(texts.iter().map(|text| Message::text(*text).into()).collect())
    }

    #[test]
    fn frames_are_joined_in_order() {
        assert_eq!(&batch(&["a", "bc"]).joined(Form::Plain).unwrap()[..], b"\x81\x01a\x81\x02bc");
        assert_eq!(&batch(&[]).joined(Form::Plain).unwrap()[..], b"");
    }

    #[test]
    fn short_messages_stay_plain_in_the_deflated_form() {
        let long = "x".repeat(1000);
        let batch = batch(&["a", &long]);
        let joined = batch.joined(Form::Deflated { threshold_bytes: 32, level: 6 }).unwrap();
        assert_eq!(&joined[..4], b"\x81\x01a\xc1");
        assert!(joined.len() < 50);
        assert_eq!(
            batch.joined(Form::Deflated { threshold_bytes: 2000, level: 6 }),
            None,
            "it has others' form"
        );
    }

    #[test]
    fn a_message_counts_as_begun_from_its_first_byte_on() {
        let batch = batch(&["a", "bc", "d"]);
        for (kept, begun) in [(0, 0), (1, 1), (3, 1), (4, 2), (7, 2), (8, 3), (10, 3)] {
            assert_eq!(batch.begun(Form::Plain, 0..3, kept), begun, "{kept} bytes");
        }
        assert_eq!(batch.begun(Form::Plain, 1..3, 1), 1);
    }
}
