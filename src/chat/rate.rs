//! How much one connection may say: token buckets that delay reading. The clock is an argument.

use std::time::{Duration, Instant};

/// The rates of one connection; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Messages a second.
    pub messages: u32,
    /// Bytes a second.
    pub bytes: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { messages: 100, bytes: 1 << 20 }
    }
}

/// So many seconds' worth may come at once.
const BURST_SECONDS: f64 = 10.0;

/// Whoever has to be delayed for so long without a break is cut off.
const MAX_DELAYED: Duration = Duration::from_secs(60);

/// The longest single delay: meanwhile nobody notices that the connection has ended.
const MAX_DELAY: Duration = Duration::from_secs(5);

/// One connection's buckets.
#[derive(Debug)]
pub struct RateLimit {
    messages: Bucket,
    bytes: Bucket,
    delayed_since: Option<Instant>,
}

/// What to do after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Fine,
    /// Read no further for so long.
    Delay(Duration),
    /// It goes on and on: close.
    Abuse,
}

impl RateLimit {
    /// Full buckets.
    pub fn new(rates: Rates, now: Instant) -> Self {
        Self {
            messages: Bucket::new(rates.messages, now),
            bytes: Bucket::new(rates.bytes, now),
            delayed_since: None,
        }
    }

    /// Counts a message of so many bytes.
    pub fn count(&mut self, bytes: usize, now: Instant) -> Verdict {
        let delay = self.messages.take(1.0, now).max(self.bytes.take(bytes as f64, now));
        if delay.is_zero() {
            self.delayed_since = None;
            return Verdict::Fine;
        }
        let since = *self.delayed_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= MAX_DELAYED {
            Verdict::Abuse
        } else {
            // What is left of it is found by the next message.
            Verdict::Delay(delay.min(MAX_DELAY))
        }
    }
}

#[derive(Debug)]
struct Bucket {
    rate: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: u32, now: Instant) -> Self {
        let rate = f64::from(rate);
        Self { rate, tokens: rate * BURST_SECONDS, at: now }
    }

    /// Takes tokens, on credit if there are too few, and returns how long it takes to pay that back.
    fn take(&mut self, tokens: f64, now: Instant) -> Duration {
        if self.rate == 0.0 {
            return Duration::ZERO;
        }
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + earned).min(self.rate * BURST_SECONDS) - tokens;
        self.at = now;
        if self.tokens >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.tokens / self.rate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_what_is_more_is_delayed() {
        let start = Instant::now();
        let mut limit = RateLimit::new(Rates { messages: 10, bytes: 0 }, start);
        for _ in 0..100 {
            assert_eq!(limit.count(1 << 30, start), Verdict::Fine);
        }
        assert_eq!(limit.count(0, start), Verdict::Delay(Duration::from_millis(100)));
        assert_eq!(limit.count(0, start + Duration::from_millis(200)), Verdict::Fine);
    }

    #[test]
    fn a_large_debt_is_paid_in_parts() {
        let start = Instant::now();
        let mut limit = RateLimit::new(Rates { messages: 0, bytes: 10 }, start);
        assert_eq!(limit.count(1000, start), Verdict::Delay(MAX_DELAY));
        assert_eq!(limit.count(0, start + MAX_DELAY), Verdict::Delay(MAX_DELAY));
    }

    #[test]
    fn a_minute_of_delays_without_a_break_is_abuse() {
        let mut now = Instant::now();
        let start = now;
        let mut limit = RateLimit::new(Rates { messages: 0, bytes: 100 }, now);
        let verdict = loop {
            match limit.count(5000, now) {
                Verdict::Fine => {}
                Verdict::Delay(delay) => now += delay - Duration::from_millis(1),
                Verdict::Abuse => break now - start,
            }
        };
        assert!((Duration::from_secs(60)..Duration::from_secs(120)).contains(&verdict), "{verdict:?}");
    }
}
