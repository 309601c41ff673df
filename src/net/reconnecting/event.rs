//! What happens to a client that reconnects, as it is told in between its messages.

use std::sync::Arc;
use std::time::Duration;

use super::cause::Cause;
use crate::proto::Message;

/// What [`Reconnecting::recv`](super::Reconnecting::recv) gives.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// There is a connection.
    ///
    /// Until the next `recv` the queue waits, so now is the time for
    /// [`Reconnecting::send_first`](super::Reconnecting::send_first): subscriptions, a session to resume.
    #[non_exhaustive]
    Connected {
        /// Whether this is the first one. After any other, messages may have been missed.
        is_first: bool,
        /// The server's answer.
        response: Box<http::Response<()>>,
    },
    /// A message came.
    Message(Message),
    /// A connection ended, or an attempt failed; there will be another attempt.
    #[non_exhaustive]
    Disconnected {
        /// Why.
        cause: Arc<Cause>,
        /// How many attempts there were since the last connection that lasted.
        attempts: u32,
        /// How long it is until the next one.
        retry_in: Duration,
    },
}

/// Why there will be no further attempt.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// The cause is final: trying again would change nothing.
    #[error("{0}")]
    Final(#[source] Arc<Cause>),
    /// [`Options::max_attempts`](super::Options::max_attempts) or [`Options::max_outage`](super::Options::max_outage)
    /// is reached.
    #[error("given up after {attempts} attempts: {cause}")]
    GivenUp {
        /// How many attempts there were since the last connection that lasted.
        attempts: u32,
        /// Why the last one failed.
        #[source]
        cause: Arc<Cause>,
    },
}

impl Ended {
    /// Why the last connection ended, or the last attempt failed.
    pub fn cause(&self) -> &Cause {
        match self {
            Self::Final(cause) | Self::GivenUp { cause, .. } => cause,
        }
    }
}
