//! One room for the fan-out benchmarks: what is said in it, who listens, and a bare loop that serves it.

pub(crate) mod members;
pub(crate) mod raw;

/// The publisher's name.
pub(crate) const NAME: &str = "p";

/// Bytes of each text.
const TEXT_BYTES: usize = 64;

/// A message as the publisher writes it.
pub(crate) const SAID_BYTES: usize = 6 + TEXT_BYTES;

/// A message as every member gets it: `[p] text`.
pub(crate) const HEARD_BYTES: usize = 2 + 4 + TEXT_BYTES;

/// A short text as a client sends it; a mask of zeros changes nothing.
pub(crate) fn masked(text: &[u8]) -> Vec<u8> {
    let len = u8::try_from(text.len()).expect("it is short");
    [&[0x81, 0x80 | len, 0, 0, 0, 0], text].concat()
}

/// What is said.
pub(crate) fn said() -> Vec<u8> {
    masked(&[b'x'; TEXT_BYTES])
}

/// What of that is heard.
pub(crate) fn heard() -> Vec<u8> {
    let line = [b"[", NAME.as_bytes(), b"] ", &[b'x'; TEXT_BYTES][..]].concat();
    [&[0x81, line.len() as u8], &line[..]].concat()
}
