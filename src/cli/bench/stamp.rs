//! What is written into a message so that it is known again: whose it is, and which.

use std::time::Duration;

use crate::proto::{Kind, Message, Utf8Bytes};

/// The messages of a run: all of one size, each with a stamp in front.
#[derive(Clone, Debug)]
pub(super) struct Messages {
    kind: Kind,
    filler: Vec<u8>,
    /// What every stamp begins with; empty where nobody else's messages come.
    mark: String,
    stream_digits: usize,
    sequence_digits: usize,
}

/// Digits of six bits each, all of them text.
const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
const MAX_SEQUENCE_DIGITS: usize = 8;
const STREAM_DIGITS: usize = 3;
const RUN_DIGITS: usize = 4;

/// What a message must have room for that goes through a room with others.
pub(super) const ROOM_STAMP_BYTES: usize = 1 + RUN_DIGITS + STREAM_DIGITS + MAX_SEQUENCE_DIGITS;

/// How many streams can be told apart.
pub(super) const MAX_STREAMS: u64 = 1 << (6 * STREAM_DIGITS);

impl Messages {
    /// Messages that come back to whoever sent them: a number as long as it fits.
    pub(super) fn echoed(kind: Kind, size: usize) -> Self {
        let sequence_digits = size.min(MAX_SEQUENCE_DIGITS);
        Self { kind, filler: filler(size), mark: String::new(), stream_digits: 0, sequence_digits }
    }

    /// Texts that go through a room with others: this run's mark, the stream and the number.
    pub(super) fn shared(run: &str, size: usize) -> Self {
        Self {
            kind: Kind::Text,
            filler: filler(size.max(ROOM_STAMP_BYTES)),
            mark: format!("~{run}"),
            stream_digits: STREAM_DIGITS,
            sequence_digits: MAX_SEQUENCE_DIGITS,
        }
    }

    /// A message of a stream.
    pub(super) fn message(&self, stream: u64, sequence: u64) -> Message {
        let mut bytes = self.filler.clone();
        bytes[..self.mark.len()].copy_from_slice(self.mark.as_bytes());
        let (streams, sequences) = bytes[self.mark.len()..].split_at_mut(self.stream_digits);
        write_digits(streams, stream);
        write_digits(&mut sequences[..self.sequence_digits], sequence);
        match self.kind {
            Kind::Binary => Message::binary(bytes),
            Kind::Text => Message::Text(Utf8Bytes::try_from(bytes).expect("digits and filler are ASCII")),
        }
    }

    /// Reads stream and number off a message that came, which may have something in front.
    ///
    /// Of a short stamp only the number's lower digits are known: it is the one nearest to `expected`.
    pub(super) fn read(&self, message: &[u8], expected: impl Fn(u64) -> Option<u64>) -> Option<(u64, u64)> {
        let stamp = self.find(message)?;
        let (stream, rest) = stamp.split_at_checked(self.stream_digits)?;
        let stream = read_digits(stream)?;
        let low = read_digits(rest.get(..self.sequence_digits)?)?;
        Some((stream, nearest(expected(stream)?, low, 1 << (6 * self.sequence_digits))))
    }

    /// What stands behind the mark.
    fn find<'a>(&self, message: &'a [u8]) -> Option<&'a [u8]> {
        // Most servers pass a message on unchanged, perhaps with something in front.
        let tail = message.len().checked_sub(self.filler.len()).map(|at| &message[at..]);
        if let Some(stamp) = tail.and_then(|tail| tail.strip_prefix(self.mark.as_bytes())) {
            return Some(stamp);
        }
        if self.mark.is_empty() {
            return None;
        }
        let at = std::str::from_utf8(message).ok()?.find(&self.mark)?;
        Some(&message[at + self.mark.len()..])
    }
}

/// A mark for this run, which no other has at the same time.
pub(super) fn run_mark() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let mut digits = [0; RUN_DIGITS];
    write_digits(&mut digits, since.subsec_micros() as u64 ^ (u64::from(std::process::id()) << 8));
    digits.iter().map(|&digit| char::from(digit)).collect()
}

/// Text that compresses about as text does.
fn filler(len: usize) -> Vec<u8> {
    let line = |at: u64| {
        format!("{at} the {}th of {} came by;", at * 7919 % 1000, ["ann", "bo", "cy"][at as usize % 3])
    };
    let mut filler = Vec::with_capacity(len + 32);
    let mut at = 0;
    while filler.len() < len {
        filler.extend(line(at).into_bytes());
        at += 1;
    }
    filler.truncate(len);
    // Servers trim.
    if let Some(last @ b' ') = filler.last_mut() {
        *last = b'.';
    }
    filler
}

fn write_digits(into: &mut [u8], mut number: u64) {
    for digit in into.iter_mut().rev() {
        *digit = DIGITS[(number % 64) as usize];
        number /= 64;
    }
}

fn read_digits(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, &digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'A'..=b'Z' => digit - b'A' + 10,
            b'a'..=b'z' => digit - b'a' + 36,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        Some(number * 64 + u64::from(value))
    })
}

/// The number nearest to `expected` that is `low` modulo `modulus`.
fn nearest(expected: u64, low: u64, modulus: u64) -> u64 {
    let ahead = low.wrapping_sub(expected) % modulus;
    let behind = modulus - ahead;
    if ahead <= behind || expected < behind { expected + ahead } else { expected - behind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written_whatever_stands_around() {
        let messages = Messages::shared("wxyz", 64);
        let message = messages.message(4095, 1 << 40);
        assert_eq!(message.len(), 64);
        let text = message.as_text().unwrap();
        for around in [text.to_owned(), format!("[ann] {text}"), format!("{{\"text\":\"{text}\"}}")] {
            assert_eq!(messages.read(around.as_bytes(), |_| Some(0)), Some((4095, 1 << 40)), "{around}");
        }
        assert_eq!(Messages::shared("abcd", 64).read(text.as_bytes(), |_| Some(0)), None);
        assert_eq!(messages.read(b"~wxyz", |_| Some(0)), None);
    }

    #[test]
    fn a_short_message_has_a_short_number() {
        for size in 0..12 {
            let messages = Messages::echoed(Kind::Binary, size);
            for sequence in [0, 1, 63, 64, 70_000] {
                let message = messages.message(0, sequence);
                assert_eq!(message.len(), size);
                let read = messages.read(message.as_bytes(), |_| Some(sequence));
                assert_eq!(read, Some((0, sequence)), "{size}");
            }
        }
    }

    #[test]
    fn the_nearest_number_may_lie_on_either_side() {
        assert_eq!(nearest(100, 36, 64), 100);
        assert_eq!(nearest(100, 40, 64), 104);
        assert_eq!(nearest(100, 34, 64), 98);
        assert_eq!(nearest(0, 63, 64), 63);
        assert_eq!(nearest(7, 0, 1), 7);
    }

    #[test]
    fn a_text_has_nothing_to_trim() {
        for size in 1..200 {
            let filler = filler(size);
            assert_eq!(filler.trim_ascii().len(), size);
        }
    }
}
