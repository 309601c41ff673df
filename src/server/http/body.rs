//! A request's body, collected under a limit (RFC 9112 §6).

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use crate::handshake::Body as Length;

use super::Problem;
use super::chunked::{Chunked, Piece};

/// Collects a body from the bytes behind a head, cut anywhere. What comes behind the body is dropped.
#[derive(Debug)]
pub(super) struct Collector {
    coding: Coding,
    /// Never longer than `max_bytes`.
    body: BytesMut,
    max_bytes: usize,
}

#[derive(Debug)]
enum Coding {
    /// So many bytes are still to come.
    Length(usize),
    Chunked(Chunked),
}

impl Collector {
    /// A collector of a body of this length, of at most `max_bytes`.
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLarge`] if the length is over that.
    pub(super) fn new(length: Length, max_bytes: usize) -> Result<Self, BodyError> {
        let coding = match length {
            Length::Chunked => Coding::Chunked(Chunked::new()),
            Length::Length(bytes) => match usize::try_from(bytes) {
                Ok(bytes) if bytes <= max_bytes => Coding::Length(bytes),
                _ => return Err(BodyError::TooLarge { limit: max_bytes }),
            },
        };
        // It grows as bytes really come.
        Ok(Self { coding, body: BytesMut::new(), max_bytes })
    }

    /// Takes bytes, and says whether the body is complete.
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLarge`] or [`BodyError::InvalidChunk`].
    pub(super) fn receive(&mut self, mut bytes: &[u8]) -> Result<bool, BodyError> {
        match &mut self.coding {
            Coding::Length(left) => {
                let len = bytes.len().min(*left);
                self.body.extend_from_slice(&bytes[..len]);
                *left -= len;
                Ok(*left == 0)
            }
            Coding::Chunked(chunked) => loop {
                match chunked.next(&mut bytes)? {
                    Piece::Data(data) if data.len() > self.max_bytes - self.body.len() => {
                        return Err(BodyError::TooLarge { limit: self.max_bytes });
                    }
                    Piece::Data(data) => self.body.extend_from_slice(data),
                    Piece::More => return Ok(false),
                    Piece::End => return Ok(true),
                }
            },
        }
    }

    /// The body.
    pub(super) fn finish(self) -> Bytes {
        self.body.freeze()
    }
}

/// A body that can't be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is longer than the limit: 413.
    #[error("the body has more than {limit} bytes: send less")]
    TooLarge {
        /// [`Limits::max_body_bytes`](super::Limits::max_body_bytes).
        limit: usize,
    },
    /// It isn't chunked as its head says: 400.
    #[error("the body is not chunked as it should be: SIZE in hexadecimal, CR LF, SIZE bytes, CR LF")]
    InvalidChunk,
    /// It did not come in time: 408.
    #[error("the body did not come in time")]
    Timeout,
    /// `Expect` asks for something else than `100-continue`: 417.
    #[error("the header Expect can only be 100-continue")]
    UnknownExpectation,
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::InvalidChunk => StatusCode::BAD_REQUEST,
            BodyError::Timeout => StatusCode::REQUEST_TIMEOUT,
            BodyError::UnknownExpectation => StatusCode::EXPECTATION_FAILED,
        };
        Self::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_after_its_length() {
        let mut collector = Collector::new(Length::Length(5), 5).unwrap();
        assert_eq!(collector.receive(b"hel"), Ok(false));
        assert_eq!(collector.receive(b"lo, and more"), Ok(true));
        assert_eq!(collector.finish(), "hello");
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_a_byte_is_read() {
        for length in [6, u64::MAX] {
            let refused = Collector::new(Length::Length(length), 5).unwrap_err();
            assert_eq!(refused, BodyError::TooLarge { limit: 5 });
        }
    }

    #[test]
    fn chunks_are_refused_once_they_exceed_the_limit() {
        let mut collector = Collector::new(Length::Chunked, 5).unwrap();
        assert_eq!(collector.receive(b"5\r\nhello\r\n"), Ok(false));
        assert_eq!(collector.receive(b"fffffff\r\nx"), Err(BodyError::TooLarge { limit: 5 }));
    }
}
