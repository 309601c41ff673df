//! What accepting and connecting have in common.

use std::time::Duration;

use super::error::{Error, Timeout};

/// How much of a head is read at once, and so the most that is kept of what came behind it.
pub(super) const HEAD_READ_BYTES: usize = 2 << 10;

/// Runs a part of the handshake within its deadline.
pub(super) async fn within<T>(
    timeout: Option<Duration>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match timeout {
        None => work.await,
        Some(timeout) => match tokio::time::timeout(timeout, work).await {
            Ok(done) => done,
            Err(_) => Err(Timeout::Handshake.into()),
        },
    }
}
