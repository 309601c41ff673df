//! Waiting to the microsecond. Tokio's own timers count milliseconds, which is far more than an echo takes.

use std::time::Instant;

#[cfg(target_os = "linux")]
use {
    rustix::fd::OwnedFd,
    rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec},
    std::io,
    tokio::io::unix::AsyncFd,
};

/// A timer of the system's that the runtime waits for as for a socket; where there is none, tokio's.
#[derive(Debug)]
pub(super) struct Alarm {
    #[cfg(target_os = "linux")]
    timer: Option<AsyncFd<OwnedFd>>,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Self {
            // It takes one more file, which may be one too many.
            #[cfg(target_os = "linux")]
            timer: timer().ok(),
        }
    }

    /// Waits until `at`, and not much longer.
    pub(super) async fn until(&self, at: Instant) {
        #[cfg(target_os = "linux")]
        if let Some(timer) = &self.timer {
            // If that fails tokio's timer waits for the rest.
            let _ = ring(timer, at).await;
        }
        // Even for a moment that has just passed tokio waits until its next millisecond.
        if Instant::now() < at {
            tokio::time::sleep_until(at.into()).await;
        }
    }
}

#[cfg(target_os = "linux")]
#[allow(
    deprecated,
    reason = "what is unsound about it are types that give up their file: an `OwnedFd` doesn't"
)]
fn timer() -> io::Result<AsyncFd<OwnedFd>> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
    AsyncFd::new(timer)
}

#[cfg(target_os = "linux")]
async fn ring(timer: &AsyncFd<OwnedFd>, at: Instant) -> io::Result<()> {
    let left = at.saturating_duration_since(Instant::now());
    // All zeros would mean never.
    if left.is_zero() {
        return Ok(());
    }
    let never = Timespec { tv_sec: 0, tv_nsec: 0 };
    let once = Itimerspec { it_interval: never, it_value: left.try_into().map_err(io::Error::other)? };
    rustix::time::timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
    let mut expirations = [0; 8];
    loop {
        let mut ready = timer.readable().await?;
        if let Ok(read) = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?)) {
            return read.map(drop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn it_never_rings_early_and_can_be_set_again() {
        let alarm = Alarm::new();
        for micros in [0, 1, 300, 2_000] {
            let at = Instant::now() + Duration::from_micros(micros);
            alarm.until(at).await;
            assert!(Instant::now() >= at);
        }
    }
}
