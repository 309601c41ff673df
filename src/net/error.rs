//! How a connection can end, and what can't be sent.

use std::io;

use crate::handshake;
use crate::proto::{CloseCode, ProtocolError, SendError};

/// What went wrong on a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke the protocol or a limit; it was told so by a Close.
    #[error("the peer broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// What was to be sent can't be sent. The connection goes on.
    #[error("nothing was sent: {0}")]
    Send(#[from] SendError),
    /// The connection is over.
    #[error("the connection is closed")]
    Closed,
    /// The TCP connection ended without the closing handshake (what RFC 6455 §7.1.5 calls 1006).
    #[error("the connection was lost: it ended without a close frame")]
    Lost,
    /// A deadline passed.
    #[error("the connection was given up: {0}")]
    Timeout(#[from] Timeout),
    /// Reading or writing failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// A client's request wasn't one for a WebSocket; it was answered.
    #[error("the request was refused: {0}")]
    Request(Box<handshake::RequestError>),
    /// A server's answer wasn't the one to our request.
    #[error("the server's answer was refused: {0}")]
    Response(Box<handshake::ResponseError>),
    /// The URL can't be connected to.
    #[error("{0}")]
    Url(Box<handshake::UrlError>),
    /// The request can't be made: a subprotocol or a header doesn't fit.
    #[error("{0}")]
    Offer(Box<handshake::OfferError>),
    /// The request can't be accepted like that: a subprotocol or a header doesn't fit.
    #[error("{0}")]
    Answer(Box<handshake::AnswerError>),
    /// A `wss` URL, but this build has no TLS.
    #[error("wss:// needs TLS, which this build of switchboard doesn't have (the feature `tls`)")]
    NoTls,
    /// There is no tokio runtime here.
    #[error("there is no tokio runtime here: call this from a task, or within `Runtime::enter`")]
    NoRuntime,
}

/// Which deadline passed; each is a field of [`Timeouts`](super::Timeouts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Timeout {
    /// The opening handshake took too long.
    #[error("the opening handshake took too long")]
    Handshake,
    /// No sign of life came, whatever we sent.
    #[error("the peer gave no sign of life")]
    Silence,
    /// No message came.
    #[error("the peer sent no message")]
    Idle,
    /// The peer took nothing of what we had to write.
    #[error("the peer takes no more data")]
    Write,
    /// A message that had begun didn't end.
    #[error("a message began and did not end in time")]
    Message,
    /// The closing handshake didn't end.
    #[error("the peer did not finish the closing handshake")]
    Close,
}

impl Error {
    /// Whether the connection had simply ended: closed by either side, or lost.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed | Self::Lost | Self::Send(SendError::Closed))
    }

    /// Whether a deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    /// Whether the peer did something that it must not do.
    pub fn is_peer_fault(&self) -> bool {
        matches!(self, Self::Protocol(_) | Self::Request(_) | Self::Response(_))
    }

    /// The code of the Close with which we ended the connection, if this error did.
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Protocol(error) => Some(error.close_code()),
            Self::Timeout(timeout) => timeout.close_code(),
            _ => None,
        }
    }
}

impl Timeout {
    /// The code with which the peer is told, if it can take it.
    pub(super) fn close_code(self) -> Option<CloseCode> {
        match self {
            Self::Silence => Some(CloseCode::INTERNAL_ERROR),
            Self::Idle => Some(CloseCode::GOING_AWAY),
            Self::Message => Some(CloseCode::POLICY_VIOLATION),
            Self::Handshake | Self::Write | Self::Close => None,
        }
    }
}

// Boxed: every result of every receive and send would be as large as the largest of them.
impl From<handshake::RequestError> for Error {
    fn from(error: handshake::RequestError) -> Self {
        Self::Request(Box::new(error))
    }
}

impl From<handshake::ResponseError> for Error {
    fn from(error: handshake::ResponseError) -> Self {
        Self::Response(Box::new(error))
    }
}

impl From<handshake::OfferError> for Error {
    fn from(error: handshake::OfferError) -> Self {
        Self::Offer(Box::new(error))
    }
}

impl From<handshake::AnswerError> for Error {
    fn from(error: handshake::AnswerError) -> Self {
        Self::Answer(Box::new(error))
    }
}

impl From<handshake::UrlError> for Error {
    fn from(error: handshake::UrlError) -> Self {
        Self::Url(Box::new(error))
    }
}

/// Why a message wasn't queued at once; it comes back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// More than `max_queued_bytes` wait to be written.
    #[error("the queue is full: the peer reads more slowly than we send")]
    Full(T),
    /// It can't be sent at all.
    #[error(transparent)]
    Refused(Error),
}

/// How a connection failed, as everybody who asks is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    Protocol(ProtocolError),
    Timeout(Timeout),
    Io(io::ErrorKind),
    Lost,
    Closed,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Protocol(error) => Self::Protocol(error),
            Failure::Timeout(timeout) => Self::Timeout(timeout),
            Failure::Io(kind) => Self::Io(kind.into()),
            Failure::Lost => Self::Lost,
            Failure::Closed => Self::Closed,
        }
    }
}

impl From<&io::Error> for Failure {
    /// A reset is how many peers end a connection: it is a loss like any other.
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotConnected => Self::Lost,
            kind => Self::Io(kind),
        }
    }
}
