//! How long to wait before the next attempt: full jitter, so that those who were cut off together come back apart.

use std::time::Duration;

use super::super::entropy;

/// How the waits between attempts grow. All fields may hold any value.
///
/// Each wait is random between nothing and a cap; the cap doubles with every attempt in a row, from `first` to `max`.
/// Where the server says when to come back, the random part comes on top of that, never before.
///
/// ```
/// use std::time::Duration;
/// use switchboard::reconnecting::Backoff;
///
/// let mut backoff = Backoff::default();
/// backoff.max = Duration::from_secs(5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The cap of the first wait. 1 s by default.
    pub first: Duration,
    /// The cap that the waits grow to. 30 s by default.
    pub max: Duration,
    /// How long a connection has to last for the waits to begin anew. 10 s by default.
    pub lasting: Duration,
    /// The longest that a server may make us wait; more counts as this much. 1 h by default.
    pub max_retry_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            max: Duration::from_secs(30),
            lasting: Duration::from_secs(10),
            max_retry_after: Duration::from_secs(3600),
        }
    }
}

/// A wait in its two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// What the server asked for.
    pub(super) floor: Duration,
    /// What chance adds.
    pub(super) jitter: Duration,
}

impl Backoff {
    /// The wait after so many `earlier` ones in a row, not shorter than `retry_after`.
    pub(super) fn wait(&self, earlier: u32, retry_after: Option<Duration>) -> Wait {
        self.wait_by(earlier, retry_after, u64::from_ne_bytes(entropy::random()))
    }

    fn wait_by(&self, earlier: u32, retry_after: Option<Duration>, random: u64) -> Wait {
        let floor = retry_after.unwrap_or_default().min(self.max_retry_after);
        // A server may tell everybody the same minute: the longer it is, the wider they have to spread.
        let cap = self.cap(earlier).max((floor / 4).min(self.max));
        Wait { floor, jitter: share(cap, random) }
    }

    /// What a wait may be without the server's advice.
    fn cap(&self, earlier: u32) -> Duration {
        let factor = 1u32.checked_shl(earlier).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.max)
    }
}

/// The part of `whole` that `random` is of all that it could be.
fn share(whole: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    let part = (u128::from(nanos) * u128::from(random)) >> u64::BITS;
    // Below `nanos`, so it fits.
    Duration::from_nanos(part as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_secs(1),
        max: Duration::from_secs(30),
        lasting: Duration::from_secs(10),
        max_retry_after: Duration::from_secs(3600),
    };

    fn longest(earlier: u32, retry_after: Option<u64>) -> (u64, u64) {
        let wait = BACKOFF.wait_by(earlier, retry_after.map(Duration::from_secs), u64::MAX);
        (wait.floor.as_secs(), wait.jitter.as_millis().div_ceil(1000) as u64)
    }

    #[test]
    fn the_cap_doubles_up_to_the_largest() {
        let caps: Vec<_> = (0..8).map(|earlier| longest(earlier, None).1).collect();
        assert_eq!(caps, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(longest(u32::MAX, None), (0, 30));
    }

    #[test]
    fn the_shortest_wait_is_what_the_server_asks_for() {
        assert_eq!(BACKOFF.wait_by(9, None, 0), Wait { floor: Duration::ZERO, jitter: Duration::ZERO });
        let asked = Duration::from_secs(7);
        assert_eq!(BACKOFF.wait_by(9, Some(asked), 0), Wait { floor: asked, jitter: Duration::ZERO });
    }

    #[test]
    fn a_long_advice_spreads_wider_and_has_an_end() {
        assert_eq!(longest(0, Some(2)), (2, 1));
        assert_eq!(longest(0, Some(60)), (60, 15));
        assert_eq!(longest(0, Some(900)), (900, 30));
        assert_eq!(longest(0, Some(1 << 40)), (3600, 30));
    }

    #[test]
    fn no_value_of_a_field_is_too_large() {
        let backoff = Backoff { first: Duration::MAX, max: Duration::MAX, ..BACKOFF };
        assert!(backoff.wait_by(7, Some(Duration::MAX), u64::MAX).jitter > Duration::from_secs(1 << 33));
    }

    #[test]
    fn waits_are_spread_over_the_whole_cap() {
        let waits: Vec<_> = (0..200).map(|_| BACKOFF.wait(0, None).jitter).collect();
        assert!(waits.iter().all(|wait| *wait < BACKOFF.first));
        assert!(waits.iter().any(|wait| *wait < BACKOFF.first / 4));
        assert!(waits.iter().any(|wait| *wait > BACKOFF.first / 4 * 3));
    }
}
