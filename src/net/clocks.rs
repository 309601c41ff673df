//! Since when something has been under way that seldom is: a blocked write, a Close, a heartbeat, a long message.
//!
//! An idle connection has none of these, so they lie in a box that is there only while one of them runs.

use super::helpers::Millis;

/// A time that hasn't come.
pub(super) const NEVER: u64 = u64::MAX;

/// The clocks of one connection.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// `None` while none of them runs.
    running: Option<Box<Running>>,
}

/// A clock that doesn't run is `NEVER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Running {
    /// Since when the socket has taken nothing although there is something.
    pub(super) blocked_since: Millis,
    /// When a Close was queued.
    pub(super) close_since: Millis,
    /// When the heartbeat whose Pong is awaited was sent, in microseconds. Its payload says so too.
    pub(super) ping_sent: u64,
    /// Since when a message has been on its way in.
    pub(super) message_since: Millis,
    /// How many bytes came since then.
    pub(super) message_bytes: u64,
}

const STOPPED: Running = Running {
    blocked_since: NEVER,
    close_since: NEVER,
    ping_sent: NEVER,
    message_since: NEVER,
    message_bytes: 0,
};

impl Clocks {
    /// How they stand.
    #[inline]
    pub(super) fn read(&self) -> &Running {
        self.running.as_deref().unwrap_or(&STOPPED)
    }

    /// Starts or stops some of them.
    pub(super) fn set(&mut self, set: impl FnOnce(&mut Running)) {
        let mut running = *self.read();
        set(&mut running);
        if running == STOPPED {
            self.running = None;
        } else {
            **self.running.get_or_insert_with(|| Box::new(STOPPED)) = running;
        }
    }

    /// The socket has taken everything.
    #[inline]
    pub(super) fn unblock(&mut self) {
        if self.running.is_some() {
            self.set(|running| running.blocked_since = NEVER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_take_no_room_once_all_have_stopped() {
        let mut clocks = Clocks::default();
        clocks.set(|running| running.ping_sent = 7);
        clocks.set(|running| running.blocked_since = 8);
        assert_eq!(*clocks.read(), Running { ping_sent: 7, blocked_since: 8, ..STOPPED });
        clocks.unblock();
        assert!(clocks.running.is_some());
        clocks.set(|running| running.ping_sent = NEVER);
        assert!(clocks.running.is_none());
    }
}
