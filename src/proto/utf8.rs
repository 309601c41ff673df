//! UTF-8: text that is proven, and the check of text that comes in chunks (RFC 6455 §8.1).
//!
//! A chunk may end in the middle of a code point: at most 3 bytes are carried to the next one, so the check is
//! linear whatever the chunks. Bytes that no continuation can make valid fail at once, in the middle of a frame.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

/// [`Bytes`] that are proven to be UTF-8. Cloning it copies a reference.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Utf8Bytes {
    /// Invariant: valid UTF-8.
    bytes: Bytes,
}

impl Utf8Bytes {
    /// Text that lives as long as the program, without a copy.
    pub const fn from_static(text: &'static str) -> Self {
        Self { bytes: Bytes::from_static(text.as_bytes()) }
    }

    /// Text of bytes that were checked before.
    pub(super) fn from_validated(bytes: Bytes) -> Self {
        debug_assert!(std::str::from_utf8(&bytes).is_ok(), "the caller checked these bytes");
        Self { bytes }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // SAFETY: `bytes` is valid UTF-8: every constructor has checked it, and `Bytes` never changes. The one that
        // takes its caller's word (`from_validated`) is for this module's siblings, which call it after the check.
        unsafe { std::str::from_utf8_unchecked(&self.bytes) }
    }

    /// The text's bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The text's bytes.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl Deref for Utf8Bytes {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Utf8Bytes {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<[u8]> for Utf8Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Borrow<str> for Utf8Bytes {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Utf8Bytes {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Utf8Bytes {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl TryFrom<Bytes> for Utf8Bytes {
    type Error = InvalidUtf8;

    fn try_from(bytes: Bytes) -> Result<Self, InvalidUtf8> {
        if is_utf8(&bytes) { Ok(Self { bytes }) } else { Err(InvalidUtf8) }
    }
}

impl TryFrom<Vec<u8>> for Utf8Bytes {
    type Error = InvalidUtf8;

    fn try_from(bytes: Vec<u8>) -> Result<Self, InvalidUtf8> {
        Bytes::from(bytes).try_into()
    }
}

impl From<&str> for Utf8Bytes {
    fn from(text: &str) -> Self {
        Self { bytes: Bytes::copy_from_slice(text.as_bytes()) }
    }
}

impl From<String> for Utf8Bytes {
    fn from(text: String) -> Self {
        Self { bytes: text.into() }
    }
}

/// Bytes that are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are not UTF-8: a text has to be, send others as binary")]
pub struct InvalidUtf8;

/// Whether `bytes` is UTF-8.
#[inline]
pub(super) fn is_utf8(bytes: &[u8]) -> bool {
    match bytes.len() {
        // Short text is ASCII, mostly, and that is told in a fraction of the time.
        ..SHORT_BYTES if is_ascii(bytes) => true,
        // Below this length the standard library is as fast.
        ..64 => std::str::from_utf8(bytes).is_ok(),
        _ => simdutf8::basic::from_utf8(bytes).is_ok(),
    }
}

/// From this length on simdutf8 knows ASCII as fast.
const SHORT_BYTES: usize = 256;

/// Whether no byte has its top bit set.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<16>() else { return bytes.iter().all(u8::is_ascii) };
    let (blocks, _) = bytes.as_chunks::<16>();
    let all = blocks.iter().fold(u128::from_ne_bytes(*last), |all, block| all | u128::from_ne_bytes(*block));
    all & (u128::MAX / 0xff * 0x80) == 0
}

/// Checks text that comes in chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8Validator {
    /// The front of a code point that the last chunk ended in.
    carry: [u8; 3],
    carry_len: u8,
}

impl Utf8Validator {
    /// Checks the next chunk.
    ///
    /// # Errors
    ///
    /// [`InvalidUtf8`] once the bytes so far can't be the front of any text.
    pub fn push(&mut self, mut chunk: &[u8]) -> Result<(), InvalidUtf8> {
        // The carry becomes a code point byte by byte, and no further than that.
        while self.carry_len > 0 {
            let Some((&byte, rest)) = chunk.split_first() else { return Ok(()) };
            chunk = rest;
            self.carry_on(byte)?;
        }
        let tail = incomplete_tail(chunk);
        let (whole, tail) = chunk.split_at(chunk.len() - tail);
        if !is_utf8(whole) {
            return Err(InvalidUtf8);
        }
        tail.iter().try_for_each(|&byte| self.carry_on(byte))
    }

    /// How many of the last bytes are the front of a code point whose rest has not come: 0 to 3.
    pub fn pending_len(&self) -> usize {
        usize::from(self.carry_len)
    }

    /// Adds a byte to the carry; it is empty again once that makes a whole code point.
    fn carry_on(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        let len = usize::from(self.carry_len);
        let mut code_point = [0; 4];
        code_point[..len].copy_from_slice(&self.carry[..len]);
        code_point[len] = byte;
        match std::str::from_utf8(&code_point[..=len]) {
            Ok(_) => self.carry_len = 0,
            // No length: what is there is fine, the rest is missing. That are at most three bytes.
            Err(error) if error.error_len().is_none() => {
                self.carry[len] = byte;
                self.carry_len += 1;
            }
            Err(_) => return Err(InvalidUtf8),
        }
        Ok(())
    }
}

/// How many bytes at the end of `chunk` begin a code point that needs more bytes than there are: 0 to 3.
fn incomplete_tail(chunk: &[u8]) -> usize {
    for (back, &byte) in chunk.iter().rev().take(3).enumerate() {
        let needed = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            // Complete, or never valid: the check of the whole part says which.
            _ => return 0,
        };
        return if back + 1 < needed { back + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether some text begins with `bytes`, and how many bytes of a code point hang over.
    fn oracle(bytes: &[u8]) -> Option<usize> {
        match std::str::from_utf8(bytes) {
            Ok(_) => Some(0),
            Err(error) if error.error_len().is_none() => Some(bytes.len() - error.valid_up_to()),
            Err(_) => None,
        }
    }

    fn check(chunks: &[&[u8]]) {
        let mut validator = Utf8Validator::default();
        let mut so_far = Vec::new();
        for chunk in chunks {
            so_far.extend_from_slice(chunk);
            match (validator.push(chunk), oracle(&so_far)) {
                (Ok(()), Some(pending)) => assert_eq!(validator.pending_len(), pending, "{so_far:x?}"),
                (Err(InvalidUtf8), None) => return,
                (ours, theirs) => panic!("{so_far:x?}: {ours:?}, but std says {theirs:?}"),
            }
        }
    }

    #[test]
    fn every_sequence_of_interesting_bytes_is_judged_as_by_std() {
        const BYTES: [u8; 21] = [
            0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xed,
            0xef, 0xf0, 0xf4, 0xf5, 0xff,
        ];
        for a in BYTES {
            for b in BYTES {
                for c in BYTES {
                    for d in BYTES {
                        let all = [a, b, c, d];
                        check(&[&all]);
                        check(&[&[a], &[b], &[c], &[d]]);
                        check(&[&all[..2], &all[2..]]);
                        check(&[&all[..1], &all[1..]]);
                    }
                }
            }
        }
    }

    #[test]
    fn a_byte_that_is_not_ascii_is_seen_wherever_it_lies() {
        for len in 0..=SHORT_BYTES + 1 {
            let mut text = vec![b'a'; len];
            assert!(is_ascii(&text) && is_utf8(&text), "len {len}");
            for at in 0..len {
                text[at] = 0x80;
                assert!(!is_ascii(&text) && !is_utf8(&text), "len {len} at {at}");
                text[at] = b'a';
            }
        }
    }

    #[test]
    fn fails_at_the_first_byte_that_nothing_can_mend() {
        for bad in [&b"\xf4\x90"[..], b"\xed\xa0", b"\xe0\x80", b"\xf0\x80", b"\xc0", b"\xff", b"\x80"] {
            let (last, front) = bad.split_last().unwrap();
            let mut validator = Utf8Validator::default();
            assert_eq!(validator.push(front), Ok(()), "{bad:x?}");
            assert_eq!(validator.push(&[*last]), Err(InvalidUtf8), "{bad:x?}");
        }
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference(text: String, noise: Vec<u8>, cuts: Vec<prop::sample::Index>) {
            let bytes = [text.as_bytes(), &noise].concat();
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            ends.extend([0, bytes.len()]);
            ends.sort_unstable();
            let chunks: Vec<&[u8]> = ends.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            check(&chunks);
        }

        #[test]
        fn whole_buffers_are_judged_as_by_std(text: String, noise: Vec<u8>) {
            let bytes = [text.repeat(20).as_bytes(), &noise].concat();
            prop_assert_eq!(is_utf8(&bytes), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
