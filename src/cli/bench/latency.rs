//! Latencies, and how they are written.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// A distribution of durations, to three digits, from a nanosecond to an hour.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

const LONGEST: Duration = Duration::from_secs(3_600);
const DIGITS: u8 = 3;

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, DIGITS);
        Self(histogram.expect("the bounds are in order and the digits few"))
    }
}

impl Latencies {
    pub(super) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(latency.min(LONGEST).as_nanos() as u64);
    }

    pub(super) fn merge(&mut self, others: &Self) {
        self.0.add(&others.0).expect("the bounds are the same");
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// What so many of a hundred are within.
    pub(super) fn percentile(&self, percentile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_percentile(percentile))
    }

    fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    /// In microseconds.
    pub(super) fn json(&self) -> Value {
        let micros = |duration: Duration| duration.as_nanos() as f64 / 1e3;
        if self.count() == 0 {
            return json!({ "count": 0 });
        }
        json!({
            "count": self.count(),
            "min": self.0.min() as f64 / 1e3,
            "mean": self.0.mean() / 1e3,
            "p50": micros(self.percentile(50.0)),
            "p90": micros(self.percentile(90.0)),
            "p99": micros(self.percentile(99.0)),
            "p99.9": micros(self.percentile(99.9)),
            "max": micros(self.max()),
        })
    }

    /// Two lines of a table: what stands over the numbers, and the numbers.
    pub(super) fn table(&self) -> [String; 2] {
        let columns = [
            ("p50", self.percentile(50.0)),
            ("p90", self.percentile(90.0)),
            ("p99", self.percentile(99.0)),
            ("p99.9", self.percentile(99.9)),
            ("max", self.max()),
        ];
        let line = |cell: &dyn Fn(usize) -> String| {
            (0..columns.len()).map(|at| format!("{:>10}", cell(at))).collect()
        };
        [line(&|at| columns[at].0.to_owned()), line(&|at| human(columns[at].1))]
    }
}

/// A duration in the unit that suits it.
pub(super) fn human(duration: Duration) -> String {
    let micros = duration.as_nanos() as f64 / 1e3;
    let (value, unit) = match micros {
        ..1e3 => (micros, "µs"),
        ..1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    let digits = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_in_the_unit_that_suits() {
        for (nanos, shown) in
            [(1_234, "1.23 µs"), (412_000, "412 µs"), (56_780_000, "56.8 ms"), (2_050_000_000, "2.05 s")]
        {
            assert_eq!(human(Duration::from_nanos(nanos)), shown);
        }
    }

    #[test]
    fn percentiles_are_exact_to_three_digits() {
        let mut latencies = Latencies::default();
        for millis in 1..=1_000 {
            latencies.record(Duration::from_millis(millis));
        }
        let p99 = latencies.percentile(99.0).as_secs_f64();
        assert!((0.990..0.992).contains(&p99), "{p99}");
        let mut both = Latencies::default();
        both.merge(&latencies);
        both.record(2 * LONGEST);
        assert_eq!(both.count(), 1_001);
        assert_eq!(Latencies::default().json(), json!({ "count": 0 }));
    }
}
