//! Reads the head of a request or a response as its bytes arrive (RFC 9112 §2–§5).
//!
//! Each byte is judged once, by a small state machine, when it comes: the end is found without going back, the bounds
//! hold before anything is stored, and what can't become a head is refused at its first wrong byte. httparse splits
//! the head up once, when it is complete. What the fields mean is for others to say.
//!
//! The grammar is the strict one: lines end in CRLF, no folded lines, no space before a colon, no control character in
//! a value. Whatever two HTTP implementations could read in two ways is how requests get smuggled.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::error::HeadError;
use super::fields::is_token_char;
use crate::proto::Limits;

/// Collects one head after another; bytes behind a head are left to the caller.
#[derive(Debug)]
pub(super) struct Reader {
    kind: Kind,
    state: State,
    /// Never longer than `max_head_bytes`.
    head: Vec<u8>,
    /// Fields begun in this head, at most `max_headers`.
    fields: usize,
    /// Bytes taken in all: of skipped empty lines and of earlier heads too, so that interim responses can't go on for
    /// ever.
    taken_bytes: usize,
    max_head_bytes: usize,
    max_headers: usize,
}

/// Whether a head begins with a request line or a status line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

/// A complete head whose grammar was checked.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) bytes: Bytes,
    fields: usize,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first byte of the head.
    Start,
    /// The LF of an empty line before the request.
    EmptyLineFeed,
    /// The first byte behind that empty line.
    AfterEmptyLine,
    /// The second byte of what may be a TLS record.
    TlsVersion,
    /// The n-th byte of `HTTP/`.
    Protocol(u8),
    Method,
    StartLine,
    StartLineFeed,
    LineStart,
    Name,
    Value,
    ValueFeed,
    EndFeed,
    Complete,
    Failed(HeadError),
}

impl Reader {
    /// A reader whose heads are bounded by `max_head_bytes` and `max_headers`.
    pub(super) fn new(kind: Kind, limits: &Limits) -> Self {
        Self {
            kind,
            state: State::Start,
            head: Vec::new(),
            fields: 0,
            taken_bytes: 0,
            max_head_bytes: limits.max_head_bytes,
            max_headers: limits.max_headers,
        }
    }

    /// Takes the bytes of a head from the front of `input`, and returns the head once it is complete.
    ///
    /// `Ok(None)` means that all of `input` was taken. The call after a head begins the next one.
    ///
    /// # Errors
    ///
    /// Any [`HeadError`]; from then on the same one each time.
    pub(super) fn receive(&mut self, input: &mut &[u8]) -> Result<Option<Head>, HeadError> {
        self.head.reserve(input.len().min(self.max_head_bytes.saturating_sub(self.head.len())));
        while let [byte, rest @ ..] = *input {
            match self.step(*byte) {
                Ok(State::Complete) => {
                    *input = rest;
                    return Ok(Some(self.take_head()));
                }
                Ok(state) => self.state = state,
                Err(error) => {
                    self.state = State::Failed(error);
                    return Err(error);
                }
            }
            *input = rest;
        }
        Ok(None)
    }

    /// Whether a byte of the next head has come.
    pub(super) fn has_begun(&self) -> bool {
        self.state != State::Start
    }

    fn take_head(&mut self) -> Head {
        self.state = State::Start;
        Head { bytes: std::mem::take(&mut self.head).into(), fields: std::mem::take(&mut self.fields) }
    }

    /// Judges and stores one byte, and says what the next one belongs to.
    fn step(&mut self, byte: u8) -> Result<State, HeadError> {
        let next = match self.state {
            State::Start | State::EmptyLineFeed | State::AfterEmptyLine | State::TlsVersion => {
                self.first(byte)?
            }
            State::Protocol(at) => protocol(at, byte)?,
            State::Method | State::StartLine | State::StartLineFeed => self.start_line(byte)?,
            State::LineStart => self.line_start(byte)?,
            State::Name => name(byte)?,
            State::Value => value(byte)?,
            State::ValueFeed => line_feed(byte, State::LineStart)?,
            State::EndFeed => line_feed(byte, State::Complete)?,
            State::Complete => State::Start,
            State::Failed(error) => return Err(error),
        };
        self.store(byte, next)?;
        Ok(next)
    }

    fn store(&mut self, byte: u8, next: State) -> Result<(), HeadError> {
        if self.taken_bytes >= self.max_head_bytes {
            return Err(HeadError::TooLarge { limit: self.max_head_bytes });
        }
        self.taken_bytes += 1;
        if !matches!(next, State::EmptyLineFeed | State::AfterEmptyLine) {
            self.head.push(byte);
        }
        Ok(())
    }

    /// The bytes before the start line, and its first one.
    fn first(&self, byte: u8) -> Result<State, HeadError> {
        match (self.state, byte) {
            (State::TlsVersion, 0x03) => Err(HeadError::Tls),
            (State::TlsVersion, _) => Err(HeadError::NotHttp(TLS_HANDSHAKE)),
            (State::EmptyLineFeed, _) => line_feed(byte, State::AfterEmptyLine),
            (State::Start, TLS_HANDSHAKE | TLS_ALERT) => Ok(State::TlsVersion),
            // One empty line may come before a request (RFC 9112 §2.2); a second one is no HTTP.
            (State::Start, b'\r') if self.kind == Kind::Request => Ok(State::EmptyLineFeed),
            (_, b'H') if self.kind == Kind::Response => Ok(State::Protocol(1)),
            (_, byte) if self.kind == Kind::Request && is_token_char(byte) => Ok(State::Method),
            (_, byte) => Err(HeadError::NotHttp(byte)),
        }
    }

    fn start_line(&self, byte: u8) -> Result<State, HeadError> {
        match (self.state, byte) {
            (State::StartLineFeed, b'\n') => {
                check_start_line(self.kind, &self.head).map(|()| State::LineStart)
            }
            (State::StartLineFeed, _) => Err(HeadError::BareCarriageReturn),
            (_, b'\r') => Ok(State::StartLineFeed),
            (_, b'\n') => Err(HeadError::BareLineFeed),
            (State::Method, b' ') => Ok(State::StartLine),
            (State::Method, byte) if is_token_char(byte) => Ok(State::Method),
            (State::StartLine, b' '..=b'~') => Ok(State::StartLine),
            // A reason phrase may hold tabs and bytes beyond ASCII, a request line may not (RFC 9112 §3, §4).
            (State::StartLine, b'\t' | 0x80..) if self.kind == Kind::Response => Ok(State::StartLine),
            _ => Err(HeadError::InvalidStartLine),
        }
    }

    fn line_start(&mut self, byte: u8) -> Result<State, HeadError> {
        match byte {
            b'\r' => Ok(State::EndFeed),
            b'\n' => Err(HeadError::BareLineFeed),
            b' ' | b'\t' => Err(HeadError::FoldedLine),
            byte if !is_token_char(byte) => Err(HeadError::InvalidFieldName(byte)),
            _ if self.fields >= self.max_headers => Err(HeadError::TooManyFields { limit: self.max_headers }),
            _ => {
                self.fields += 1;
                Ok(State::Name)
            }
        }
    }
}

impl Head {
    /// Splits a request's head into method, target and fields.
    pub(super) fn parse_request(&self) -> Result<(http::Method, Bytes, http::Version, HeaderMap), HeadError> {
        let mut fields = vec![httparse::EMPTY_HEADER; self.fields];
        let mut request = httparse::Request::new(&mut fields);
        let Ok(httparse::Status::Complete(_)) = request.parse(&self.bytes) else {
            return Err(HeadError::InvalidStartLine);
        };
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
        else {
            return Err(HeadError::InvalidStartLine);
        };
        let method = http::Method::from_bytes(method.as_bytes()).map_err(|_| HeadError::InvalidStartLine)?;
        let target = self.bytes.slice_ref(target.as_bytes());
        Ok((method, target, version(minor), self.header_map(request.headers)?))
    }

    /// Splits a response's head into status and fields.
    pub(super) fn parse_response(&self) -> Result<http::Response<()>, HeadError> {
        let mut fields = vec![httparse::EMPTY_HEADER; self.fields];
        let mut parsed = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(_)) = parsed.parse(&self.bytes) else {
            return Err(HeadError::InvalidStartLine);
        };
        let (Some(code), Some(minor)) = (parsed.code, parsed.version) else {
            return Err(HeadError::InvalidStartLine);
        };
        let mut response = http::Response::new(());
        *response.status_mut() = http::StatusCode::from_u16(code).map_err(|_| HeadError::InvalidStartLine)?;
        *response.version_mut() = version(minor);
        *response.headers_mut() = self.header_map(parsed.headers)?;
        Ok(response)
    }

    /// The fields; their values are slices of the head, not copies.
    fn header_map(&self, fields: &[httparse::Header<'_>]) -> Result<HeaderMap, HeadError> {
        let too_many = |_| HeadError::TooManyFields { limit: self.fields };
        let mut map = HeaderMap::try_with_capacity(fields.len()).map_err(too_many)?;
        for field in fields {
            let first = field.name.bytes().next().unwrap_or_default();
            let name = HeaderName::from_bytes(field.name.as_bytes())
                .map_err(|_| HeadError::InvalidFieldName(first))?;
            let value = HeaderValue::from_maybe_shared(self.bytes.slice_ref(field.value.trim_ascii()))
                .map_err(|_| HeadError::InvalidFieldValue(0))?;
            map.try_append(name, value).map_err(too_many)?;
        }
        Ok(map)
    }
}

fn version(minor: u8) -> http::Version {
    if minor == 0 { http::Version::HTTP_10 } else { http::Version::HTTP_11 }
}

fn protocol(at: u8, byte: u8) -> Result<State, HeadError> {
    match PROTOCOL.get(usize::from(at)) {
        Some(&expected) if expected != byte => Err(HeadError::NotHttp(byte)),
        _ if usize::from(at) + 1 == PROTOCOL.len() => Ok(State::StartLine),
        _ => Ok(State::Protocol(at + 1)),
    }
}

fn name(byte: u8) -> Result<State, HeadError> {
    match byte {
        b':' => Ok(State::Value),
        b' ' | b'\t' => Err(HeadError::SpaceBeforeColon),
        b'\r' | b'\n' => Err(HeadError::MissingColon),
        byte if is_token_char(byte) => Ok(State::Name),
        byte => Err(HeadError::InvalidFieldName(byte)),
    }
}

fn value(byte: u8) -> Result<State, HeadError> {
    match byte {
        b'\r' => Ok(State::ValueFeed),
        b'\n' => Err(HeadError::BareLineFeed),
        b'\t' | b' '..=b'~' | 0x80.. => Ok(State::Value),
        byte => Err(HeadError::InvalidFieldValue(byte)),
    }
}

fn line_feed(byte: u8, next: State) -> Result<State, HeadError> {
    if byte == b'\n' { Ok(next) } else { Err(HeadError::BareCarriageReturn) }
}

/// Checks the parts of a start line, of which all but the LF is there.
///
/// Here an HTTP/2 preface is told (`PRI * HTTP/2.0`), before its head is complete.
fn check_start_line(kind: Kind, line: &[u8]) -> Result<(), HeadError> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let version = match kind {
        Kind::Request => parts.nth(2),
        Kind::Response => parts.next(),
    };
    match version {
        Some(b"HTTP/1.1" | b"HTTP/1.0") => Ok(()),
        Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']) => {
            Err(HeadError::UnsupportedVersion)
        }
        _ => Err(HeadError::InvalidStartLine),
    }
}

/// The type of a TLS handshake record, a ClientHello's first byte (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// The type of a TLS alert record: what a TLS server answers to plain HTTP.
const TLS_ALERT: u8 = 0x15;
/// What every response begins with.
const PROTOCOL: &[u8] = b"HTTP/";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, bytes: &[u8]) -> Result<Option<Head>, HeadError> {
        Reader::new(kind, &Limits::default()).receive(&mut &bytes[..])
    }

    fn failure(bytes: &[u8]) -> HeadError {
        read(Kind::Request, bytes).expect_err("must be refused")
    }

    #[test]
    fn leaves_what_comes_behind_the_head() {
        let mut input = &b"GET / HTTP/1.1\r\nA: b\r\n\r\n\x81\x80"[..];
        let head = Reader::new(Kind::Request, &Limits::default()).receive(&mut input).unwrap().unwrap();
        assert_eq!((&head.bytes[..], input), (&b"GET / HTTP/1.1\r\nA: b\r\n\r\n"[..], &b"\x81\x80"[..]));
    }

    #[test]
    fn one_empty_line_may_come_first() {
        let head = read(Kind::Request, b"\r\nGET / HTTP/1.1\r\n\r\n").unwrap().unwrap();
        assert_eq!(&head.bytes[..], b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(failure(b"\r\n\r\n"), HeadError::NotHttp(b'\r'));
    }

    #[test]
    fn every_fault_is_told_at_its_first_byte() {
        let cases: [(&[u8], HeadError); 17] = [
            (b"\x16\x03", HeadError::Tls),
            (b"\x16\x04", HeadError::NotHttp(0x16)),
            (b"\x00", HeadError::NotHttp(0)),
            (b"\n", HeadError::NotHttp(b'\n')),
            (b" ", HeadError::NotHttp(b' ')),
            (b"PRI * HTTP/2.0\r\n", HeadError::UnsupportedVersion),
            (b"SSH-2.0-OpenSSH_9\r\n", HeadError::InvalidStartLine),
            (b"GET  / HTTP/1.1\r\n", HeadError::InvalidStartLine),
            (b"GET / HTTP/1.1 \r\n", HeadError::InvalidStartLine),
            (b"GET /\x80", HeadError::InvalidStartLine),
            (b"GET / HTTP/1.1\n", HeadError::BareLineFeed),
            (b"GET / HTTP/1.1\rA", HeadError::BareCarriageReturn),
            (b"GET / HTTP/1.1\r\n ", HeadError::FoldedLine),
            (b"GET / HTTP/1.1\r\nA ", HeadError::SpaceBeforeColon),
            (b"GET / HTTP/1.1\r\n:", HeadError::InvalidFieldName(b':')),
            (b"GET / HTTP/1.1\r\nA\r", HeadError::MissingColon),
            (b"GET / HTTP/1.1\r\nA: \0", HeadError::InvalidFieldValue(0)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(failure(bytes), expected, "{bytes:?}");
            assert!(read(Kind::Request, &bytes[..bytes.len() - 1]).is_ok(), "{bytes:?}");
        }
    }

    #[test]
    fn an_error_stays() {
        let mut reader = Reader::new(Kind::Request, &Limits::default());
        assert_eq!(reader.receive(&mut &b"\x00"[..]).unwrap_err(), HeadError::NotHttp(0));
        assert_eq!(reader.receive(&mut &b"GET / HTTP/1.1\r\n\r\n"[..]).unwrap_err(), HeadError::NotHttp(0));
    }

    #[test]
    fn a_response_begins_with_its_protocol() {
        assert!(read(Kind::Response, b"HTTP/1.1 101 \xfcber\tall\r\n\r\n").unwrap().is_some());
        assert_eq!(read(Kind::Response, b"HTTQ").unwrap_err(), HeadError::NotHttp(b'Q'));
        assert_eq!(read(Kind::Response, b"\x15\x03").unwrap_err(), HeadError::Tls);
        assert_eq!(read(Kind::Response, b"\r").unwrap_err(), HeadError::NotHttp(b'\r'));
    }
}
