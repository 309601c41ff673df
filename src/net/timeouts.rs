//! The deadlines of a connection.

use std::time::Duration;

/// When to give up on a peer. All are on by default but `idle`; `None` turns one off.
///
/// All fields may hold any value.
///
/// ```
/// use std::time::Duration;
///
/// let mut config = switchboard::Config::default();
/// config.timeouts.ping_interval = Some(Duration::from_secs(5));
/// config.timeouts.silence = Some(Duration::from_secs(15));
/// config.timeouts.idle = None;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the TCP connection to the end of the opening handshake. 10 s by default.
    pub handshake: Option<Duration>,
    /// How often a Ping is sent, counted from the handshake. 15 s by default.
    pub ping_interval: Option<Duration>,
    /// How long the peer may be silent while we wait on an empty socket. 45 s by default: three Pings missed.
    pub silence: Option<Duration>,
    /// How long the peer may send no message; Pings and Pongs don't count. Off by default.
    pub idle: Option<Duration>,
    /// From a Close to the end of the TCP connection. 5 s by default.
    pub close: Option<Duration>,
    /// How long the peer's side may take no byte of what we have to write. 30 s by default.
    pub write: Option<Duration>,
    /// How long a message may take from its first byte to its last. 60 s by default, and as much more as it takes
    /// at `message_rate`.
    pub message: Option<Duration>,
    /// Bytes a second at which a message may take longer than `message`. 16 KiB by default.
    pub message_rate: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Some(Duration::from_secs(10)),
            ping_interval: Some(Duration::from_secs(15)),
            silence: Some(Duration::from_secs(45)),
            idle: None,
            close: Some(Duration::from_secs(5)),
            write: Some(Duration::from_secs(30)),
            message: Some(Duration::from_secs(60)),
            message_rate: 16 << 10,
        }
    }
}

impl Timeouts {
    /// No deadline at all, and so no timer: for a runtime without `enable_time`, or tests under a paused clock that
    /// use real sockets.
    pub const fn none() -> Self {
        Self {
            handshake: None,
            ping_interval: None,
            silence: None,
            idle: None,
            close: None,
            write: None,
            message: None,
            message_rate: 0,
        }
    }
}
