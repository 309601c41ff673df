//! The deadlines of a connection: what the wheel looks at, and what the reader confirms.
//!
//! Bytes may lie in the socket that an application hasn't read yet, so only the reader can say that the peer was
//! silent: the wheel suspects, the reader confirms.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::error::{Failure, Timeout};
use super::super::helpers::{Millis, Watched};
use super::super::transport::Stream;
use super::{Connection, NEVER, Wakes, WriteSide};
use crate::proto::CloseFrame;

impl<S: Stream> Connection<S> {
    /// Sees to it that the wheel looks no later than `at`.
    pub(super) fn look_by(&self, write: &mut WriteSide<S>, at: Millis) {
        if at < write.next_look {
            write.next_look = at;
            self.helpers.look_at(at, self.weak());
        }
    }

    /// A message has begun to come in, which has to be complete in time.
    pub(in crate::net) fn start_message_clock(&self, now: Millis, timeout: Duration) {
        let mut write = self.lock();
        write.clocks.set(|clocks| {
            clocks.message_since = now;
            clocks.message_bytes = 0;
        });
        self.look_by(&mut write, after(now, timeout));
    }

    /// More of it has come.
    pub(in crate::net) fn on_message_bytes(&self, read: usize) {
        let mut write = self.lock();
        if write.clocks.read().message_since != NEVER {
            write.clocks.set(|clocks| clocks.message_bytes += read as u64);
        }
    }

    /// No message is on its way in any more.
    pub(in crate::net) fn stop_message_clock(&self) {
        self.lock().clocks.set(|clocks| {
            clocks.message_since = NEVER;
            clocks.message_bytes = 0;
        });
    }

    /// A Pong came: if it answers our heartbeat, the round trip is over.
    pub(in crate::net) fn on_pong(&self, payload: &[u8]) {
        let Ok(sent) = <[u8; 8]>::try_from(payload).map(u64::from_be_bytes) else { return };
        let mut write = self.lock();
        if sent != NEVER && write.clocks.read().ping_sent == sent {
            write.clocks.set(|clocks| clocks.ping_sent = NEVER);
            let micros = self.helpers.now_micros().saturating_sub(sent);
            self.round_trip.store(u32::try_from(micros).unwrap_or(u32::MAX - 1), Ordering::Relaxed);
        }
    }

    /// The deadline that has passed although our reader needn't be asked about it.
    fn due(&self, now: Millis, write: &WriteSide<S>) -> Option<Timeout> {
        let (timeouts, clocks) = (&self.settings.timeouts, write.clocks.read());
        if has_passed(now, clocks.close_since, timeouts.close) {
            Some(Timeout::Close)
        } else if has_passed(now, clocks.blocked_since, timeouts.write) {
            Some(Timeout::Write)
        } else {
            None
        }
    }

    /// The deadline that the peer has missed, if the socket is as empty as it was.
    pub(super) fn miss_due(&self, now: Millis, write: &WriteSide<S>) -> Option<Timeout> {
        let timeouts = &self.settings.timeouts;
        if self.message_deadline(write).is_some_and(|deadline| now >= deadline) {
            Some(Timeout::Message)
        } else if has_passed(now, self.waiting_since.load(Ordering::Relaxed), timeouts.silence) {
            Some(Timeout::Silence)
        } else if has_passed(now, self.last_message.load(Ordering::Relaxed), timeouts.idle) {
            Some(Timeout::Idle)
        } else {
            None
        }
    }

    /// The reader found the socket empty: gives the peer up if the wheel suspected it, and rightly so.
    ///
    /// Only the reader can say that: bytes may lie in the socket that an application hasn't read yet, and one that
    /// doesn't read must not kill its peer.
    pub(in crate::net) fn confirm_miss(&self) {
        // Looked at first: an exchange is an atomic, and this is asked at every wait.
        if !self.is_suspect.load(Ordering::Relaxed) || !self.is_suspect.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut write = self.lock();
        if let Some(timeout) = self.miss_due(self.helpers.now(), &write) {
            let wakes = self.give_up(&mut write, timeout);
            drop(write);
            wakes.wake();
        }
    }

    /// When the message that is on its way in has to be complete.
    fn message_deadline(&self, write: &WriteSide<S>) -> Option<Millis> {
        let (timeouts, clocks) = (&self.settings.timeouts, write.clocks.read());
        let since = clocks.message_since;
        let timeout = timeouts.message.filter(|_| since != NEVER)?;
        let earned = clocks
            .message_bytes
            .saturating_mul(1000)
            .checked_div(u64::from(timeouts.message_rate))
            .unwrap_or(0);
        Some(after(since, timeout).saturating_add(earned))
    }

    /// The earliest time after `now` at which something can be due. What begins later looks by itself.
    fn next_look(&self, now: Millis, write: &WriteSide<S>) -> Option<Millis> {
        let (timeouts, clocks) = (&self.settings.timeouts, write.clocks.read());
        let deadline = |at: Millis, timeout: Option<Duration>| {
            timeout.filter(|_| at != NEVER).map(|timeout| after(at, timeout))
        };
        let silence = deadline(self.waiting_since.load(Ordering::Relaxed).min(now), timeouts.silence);
        let idle = deadline(self.last_message.load(Ordering::Relaxed), timeouts.idle);
        [
            (!write.out.close_sent() && write.next_ping != NEVER).then_some(write.next_ping),
            deadline(clocks.close_since, timeouts.close),
            deadline(clocks.blocked_since, timeouts.write),
            // The reader was asked already about those that have passed.
            again(self.message_deadline(write), now, timeouts.message),
            again(silence, now, timeouts.silence),
            again(idle, now, timeouts.idle),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn ping_if_due(&self, now: Millis, write: &mut WriteSide<S>) -> Wakes {
        let Some(interval) = self.settings.timeouts.ping_interval else { return Wakes::default() };
        if now < write.next_ping || write.out.close_sent() {
            return Wakes::default();
        }
        write.next_ping = after(now, interval);
        // Behind a full socket a Ping says nothing; the write deadline watches that.
        if write.clocks.read().blocked_since != NEVER {
            return Wakes::default();
        }
        let sent = self.helpers.now_micros();
        write.clocks.set(|clocks| clocks.ping_sent = sent);
        let queued = write.out.ping(&sent.to_be_bytes());
        debug_assert!(queued.is_ok(), "eight bytes, and no Close was sent");
        self.write_out(write)
    }

    /// Gives the peer up, telling it why if it can take that.
    pub(super) fn give_up(&self, write: &mut WriteSide<S>, timeout: Timeout) -> Wakes {
        let mut wakes = Wakes::default();
        if let Some(code) = timeout.close_code() {
            let frame = CloseFrame::new(code, timeout.to_string().as_str());
            let _ = write.out.close(frame.ok().as_ref());
            write.want_shutdown();
            // What the peer doesn't take now it never will.
            wakes = self.write_out(write);
        }
        // Whoever wasn't woken yet is now.
        let failed = self.fail_locked(write, Failure::Timeout(timeout));
        // After that: a reader that finds the socket at its end asks why.
        if let (Some(transport), Timeout::Write | Timeout::Close) = (&write.transport, timeout) {
            transport.abort();
        }
        wakes.join(failed);
        wakes
    }
}

impl<S: Stream> Watched for Connection<S> {
    fn flush_late(&self) {
        self.is_listed.store(false, Ordering::Release);
        // Looked at under the lock: whoever finds us still listed has queued his bytes under it before, so either we
        // see them or he saw that we aren't listed.
        let mut write = self.lock();
        if !self.has_output() {
            return;
        }
        let wakes = self.write_out(&mut write);
        drop(write);
        wakes.wake();
        if !self.has_output() {
            // Whoever ends the connection waits for this.
            self.reader.wake();
        }
    }

    fn abandon(&self) {
        self.free(Failure::Io(std::io::ErrorKind::Other));
    }

    fn look(&self, now: Millis) -> Option<Millis> {
        let mut write = self.lock();
        // An earlier look took this one's place.
        if write.failure.is_some() || now < write.next_look {
            return None;
        }
        if let Some(timeout) = self.due(now, &write) {
            let wakes = self.give_up(&mut write, timeout);
            drop(write);
            wakes.wake();
            self.reader.wake();
            return None;
        }
        let wakes = self.ping_if_due(now, &mut write);
        let next = self.next_look(now, &write);
        write.next_look = next.unwrap_or(NEVER);
        let is_suspect = self.miss_due(now, &write).is_some();
        drop(write);
        wakes.wake();
        if is_suspect {
            self.is_suspect.store(true, Ordering::Relaxed);
            self.reader.wake();
        }
        next
    }
}

/// `timeout` after `at`, rounded up.
pub(super) fn after(at: Millis, timeout: Duration) -> Millis {
    at.saturating_add(u64::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(NEVER)).min(NEVER - 1)
}

/// `deadline`, or if that has passed `timeout` from `now`.
fn again(deadline: Option<Millis>, now: Millis, timeout: Option<Duration>) -> Option<Millis> {
    deadline.map(|at| if at > now { at } else { after(now, timeout.unwrap_or_default()) })
}

/// Whether `timeout` has passed since `at`; it never has if `at` is `NEVER`.
fn has_passed(now: Millis, at: Millis, timeout: Option<Duration>) -> bool {
    at != NEVER && timeout.is_some_and(|timeout| now >= after(at, timeout))
}
