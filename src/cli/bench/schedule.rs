//! An open-loop schedule: when each message is meant to be sent, whatever became of those before it.
//!
//! Latency is counted from that moment. A load that waits for a stalled server before it sends again would leave out
//! just the messages that suffered (coordinated omission).

use std::ops::Range;
use std::time::{Duration, Instant};

/// Which stream sends which message when. Every `burst` messages go at once, from the streams in turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    start: Instant,
    /// What comes before this is sent and checked, but its latency isn't counted.
    warmup: Duration,
    /// Messages a second, of all streams together.
    rate: f64,
    /// At least 1, like the number of streams.
    burst: u64,
    streams: u64,
    /// How many bursts there are.
    bursts: u64,
}

/// How a schedule is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) warmup: Duration,
    pub(super) duration: Duration,
    /// Messages a second, of all streams together.
    pub(super) rate: u64,
    /// Messages at once.
    pub(super) burst: u64,
}

impl Schedule {
    /// The schedule of `streams` streams from `start` on.
    pub(super) fn new(plan: &Plan, streams: u64, start: Instant) -> Self {
        let (rate, burst) = (plan.rate.max(1) as f64, plan.burst.max(1));
        let messages = (plan.warmup + plan.duration).as_secs_f64() * rate;
        let bursts = ((messages / burst as f64).round() as u64).max(1);
        Self { start, warmup: plan.warmup, rate, burst, streams: streams.max(1), bursts }
    }

    /// When a burst is due.
    pub(super) fn due(&self, burst: u64) -> Instant {
        self.start + Duration::from_secs_f64((burst * self.burst) as f64 / self.rate)
    }

    /// When a stream's message was meant to be sent.
    pub(super) fn intended(&self, stream: u64, sequence: u64) -> Instant {
        self.due((sequence / self.burst) * self.streams + stream)
    }

    /// From when on latencies count.
    pub(super) fn measured_from(&self) -> Instant {
        self.start + self.warmup
    }

    /// How many messages a stream has to send.
    pub(super) fn messages_of(&self, stream: u64) -> u64 {
        (self.bursts + self.streams - 1).saturating_sub(stream) / self.streams * self.burst
    }

    /// The bursts of the streams in a range, in the order of time: number, stream, and the messages' sequence.
    pub(super) fn bursts_of(&self, streams: Range<u64>) -> impl Iterator<Item = (u64, u64, Range<u64>)> {
        let Self { burst, streams: all, bursts, .. } = *self;
        let rounds = bursts.div_ceil(all);
        (0..rounds)
            .flat_map(move |round| streams.clone().map(move |stream| (round, stream)))
            .map(move |(round, stream)| (round * all + stream, stream, round * burst..(round + 1) * burst))
            .filter(move |(number, ..)| *number < bursts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate: u64, burst: u64, streams: u64) -> Schedule {
        let plan =
            Plan { warmup: Duration::from_secs(1), duration: Duration::from_millis(1_500), rate, burst };
        Schedule::new(&plan, streams, Instant::now())
    }

    #[test]
    fn every_message_has_one_moment_whichever_way_it_is_asked_for() {
        for (rate, burst, streams) in [(100, 1, 1), (100, 1, 7), (100, 4, 3), (3, 5, 2)] {
            let schedule = schedule(rate, burst, streams);
            let mut counts = vec![0; streams as usize];
            for (number, stream, sequences) in schedule.bursts_of(0..streams) {
                for sequence in sequences {
                    assert_eq!(schedule.intended(stream, sequence), schedule.due(number));
                    assert_eq!(counts[stream as usize], sequence, "in order, none left out");
                    counts[stream as usize] += 1;
                }
            }
            for stream in 0..streams {
                assert_eq!(schedule.messages_of(stream), counts[stream as usize]);
            }
        }
    }

    #[test]
    fn a_rate_is_kept_over_all_streams() {
        let schedule = schedule(100, 1, 7);
        assert_eq!((0..7).map(|stream| schedule.messages_of(stream)).sum::<u64>(), 250);
        assert_eq!(schedule.due(100), schedule.measured_from());
        let of_two: Vec<_> = schedule.bursts_of(2..4).map(|(number, ..)| number).take(4).collect();
        assert_eq!(of_two, [2, 3, 9, 10]);
    }
}
