//! How a client reconnects.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::cause::{Cause, Verdict};

/// Judges whether to try again.
pub type Classify = Arc<dyn Fn(&Cause) -> Verdict + Send + Sync>;

/// How a client reconnects, and what it keeps meanwhile. All fields may hold any value.
///
/// ```
/// use std::sync::Arc;
/// use switchboard::reconnecting::{Options, Verdict};
///
/// let mut options = Options::default();
/// options.max_attempts = Some(10);
/// // This server says 4900 when somebody else has taken our place; the rest is as usual.
/// options.classify = Arc::new(|cause| match cause.close_code() {
///     Some(code) if code.get() == 4900 => Verdict::Fail,
///     _ => cause.verdict(),
/// });
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// How long to wait between attempts.
    pub backoff: Backoff,
    /// How many attempts in a row may fail, or lead to a connection that doesn't last. `None` by default: no end.
    pub max_attempts: Option<u32>,
    /// How long there may be no connection that lasts, from the first attempt to the last. `None` by default: no end.
    pub max_outage: Option<Duration>,
    /// How many messages may wait for a connection. 1,000 by default.
    pub max_queued_messages: usize,
    /// How many bytes of payload these may have in all, and so the longest that can wait. 1 MiB by default.
    pub max_queued_bytes: usize,
    /// Whether to try again. [`Cause::verdict`] by default.
    pub classify: Classify,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            max_attempts: None,
            max_outage: None,
            max_queued_messages: 1000,
            max_queued_bytes: 1 << 20,
            classify: Arc::new(Cause::verdict),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backoff, max_attempts, max_outage, max_queued_messages, max_queued_bytes, classify: _ } =
            self;
        f.debug_struct("Options")
            .field("backoff", backoff)
            .field("max_attempts", max_attempts)
            .field("max_outage", max_outage)
            .field("max_queued_messages", max_queued_messages)
            .field("max_queued_bytes", max_queued_bytes)
            .finish_non_exhaustive()
    }
}
