//! The chunked coding (RFC 9112 §7.1), byte by byte and strict.
//!
//! Chunk extensions and trailers are read past, as §7.1.1 and §7.1.2 allow; together with the lines around the chunks
//! they are bounded, because a sender may make them as long as it likes.

use super::body::BodyError;

/// Takes chunks apart. The bytes behind the last one are left to the caller.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// Bytes of this chunk that are still to come.
    left: u64,
    /// Bytes of chunk extensions and trailers so far, at most `MAX_EXTRA_BYTES`.
    extra_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The n-th digit of a chunk's size.
    Size(u8),
    Extension,
    SizeFeed,
    Data,
    DataReturn,
    DataFeed,
    /// The first byte of a trailer's line, or of the empty one that ends all.
    TrailerStart,
    Trailer,
    TrailerFeed,
    EndFeed,
    End,
}

/// What the front of the input is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Some of the body.
    Data(&'a [u8]),
    /// All of the input was taken: more is needed.
    More,
    /// The body is complete.
    End,
}

/// The most that extensions and trailers may hold.
const MAX_EXTRA_BYTES: usize = 4 << 10;

/// 15 hexadecimal digits can't overflow.
const MAX_SIZE_DIGITS: u8 = 15;

impl Chunked {
    pub(super) fn new() -> Self {
        Self { state: State::Size(0), left: 0, extra_bytes: 0 }
    }

    /// Takes the next piece from the front of `input`.
    ///
    /// # Errors
    ///
    /// [`BodyError::InvalidChunk`] at the first byte that can't be where it is.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Piece<'a>, BodyError> {
        loop {
            if self.state == State::End {
                return Ok(Piece::End);
            }
            if self.state == State::Data {
                let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
                let (data, rest) = input.split_at(len);
                *input = rest;
                self.left -= len as u64;
                if self.left == 0 {
                    self.state = State::DataReturn;
                }
                return Ok(if data.is_empty() { Piece::More } else { Piece::Data(data) });
            }
            let [byte, rest @ ..] = *input else { return Ok(Piece::More) };
            self.state = self.step(*byte)?;
            *input = rest;
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, BodyError> {
        match (self.state, byte) {
            (State::Size(digits), byte) if byte.is_ascii_hexdigit() && digits < MAX_SIZE_DIGITS => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.left = self.left << 4 | u64::from(digit);
                Ok(State::Size(digits + 1))
            }
            (State::Size(1..), b'\r') => Ok(State::SizeFeed),
            // Only what begins with a semicolon is an extension; white space before it is an old mistake (§7.1.1).
            (State::Size(1..), b';') => self.extra(State::Extension),
            (State::Extension, b'\r') => Ok(State::SizeFeed),
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.extra(State::Extension),
            (State::SizeFeed, b'\n') if self.left == 0 => Ok(State::TrailerStart),
            (State::SizeFeed, b'\n') => Ok(State::Data),
            (State::DataReturn, b'\r') => Ok(State::DataFeed),
            (State::DataFeed, b'\n') => Ok(State::Size(0)),
            (State::TrailerStart, b'\r') => Ok(State::EndFeed),
            (State::TrailerStart, b'!'..=b'~') => self.extra(State::Trailer),
            (State::Trailer, b'\r') => Ok(State::TrailerFeed),
            (State::Trailer, b'\t' | b' '..=b'~' | 0x80..) => self.extra(State::Trailer),
            (State::TrailerFeed, b'\n') => Ok(State::TrailerStart),
            (State::EndFeed, b'\n') => Ok(State::End),
            _ => Err(BodyError::InvalidChunk),
        }
    }

    fn extra(&mut self, next: State) -> Result<State, BodyError> {
        self.extra_bytes += 1;
        if self.extra_bytes > MAX_EXTRA_BYTES { Err(BodyError::InvalidChunk) } else { Ok(next) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The body and what is left behind it, fed in parts of `part` bytes; `None` if it isn't complete.
    fn decode(bytes: &[u8], part: usize) -> Result<Option<(Vec<u8>, usize)>, BodyError> {
        let (mut chunked, mut body) = (Chunked::new(), Vec::new());
        for (at, part_bytes) in bytes.chunks(part).enumerate() {
            let mut input = part_bytes;
            loop {
                match chunked.next(&mut input)? {
                    Piece::Data(data) => body.extend_from_slice(data),
                    Piece::More => break,
                    Piece::End => {
                        let left = part_bytes.len() - input.len() + at * part;
                        return Ok(Some((body, bytes.len() - left)));
                    }
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn chunks_are_joined_and_the_rest_is_left() {
        let bytes = b"4\r\nWiki\r\nA;x=\"y\"\r\n0123456789\r\n000\r\nDigest: x\r\n\r\nrest";
        for part in 1..bytes.len() {
            assert_eq!(decode(bytes, part), Ok(Some((b"Wiki0123456789".to_vec(), 4))), "{part}");
        }
    }

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_refused() {
        let wrong: [&[u8]; 12] = [
            b"\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b"1 \r\n",
            b"1\n",
            b"1;a\n",
            b"1\rx",
            b"1\r\nab",
            b"1\r\na\n",
            b"0\r\n X: y\r\n",
            b"1000000000000000\r\n",
        ];
        for bytes in wrong {
            assert_eq!(decode(bytes, 64), Err(BodyError::InvalidChunk), "{bytes:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let extension = [b"1;".as_slice(), &[b'a'; MAX_EXTRA_BYTES]].concat();
        assert_eq!(decode(&extension, 4096), Err(BodyError::InvalidChunk));
        let trailers = [b"0\r\n".as_slice(), &b"A: b\r\n".repeat(MAX_EXTRA_BYTES / 4 + 1)].concat();
        assert_eq!(decode(&trailers, 4096), Err(BodyError::InvalidChunk));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused_alike_however_they_are_cut(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'2'), Just(b'0'), Just(b';'), any::<u8>()], 0..64),
            part in 1_usize..8,
        ) {
            prop_assert_eq!(decode(&bytes, part), decode(&bytes, bytes.len().max(1)));
        }

        #[test]
        fn what_was_chunked_comes_out_whole(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8),
            part in 1_usize..20,
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(decode(&bytes, part), Ok(Some((chunks.concat(), 0))));
        }
    }
}
