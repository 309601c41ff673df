//! What of a stream has arrived: what is lost, what came twice, what came out of order.

use std::ops::Range;

/// The arrivals of one stream of numbered messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    /// What comes next if all goes well.
    next: u64,
    /// What was jumped over and hasn't come since, in order. A jump is one range, however far it goes.
    missing: Vec<Range<u64>>,
    /// Messages that came, each counted once.
    pub(super) received: u64,
    /// How often one came again.
    pub(super) doubled: u64,
    /// How many came after one with a higher number.
    pub(super) out_of_order: u64,
}

impl Arrivals {
    /// The number that would be in order.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Takes an arrival; says whether it is the first of its number.
    pub(super) fn arrived(&mut self, sequence: u64) -> bool {
        if sequence >= self.next {
            if sequence > self.next {
                self.missing.push(self.next..sequence);
            }
            self.next = sequence + 1;
            self.received += 1;
            return true;
        }
        let at = self.missing.partition_point(|range| range.end <= sequence);
        let Some(range) = self.missing.get(at).filter(|range| range.start <= sequence).cloned() else {
            self.doubled += 1;
            return false;
        };
        let left = [range.start..sequence, sequence + 1..range.end];
        self.missing.splice(at..=at, left.into_iter().filter(|range| !range.is_empty()));
        self.received += 1;
        self.out_of_order += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(sequences: &[u64]) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for &sequence in sequences {
            arrivals.arrived(sequence);
        }
        arrivals
    }

    fn counts(sequences: &[u64]) -> (u64, u64, u64) {
        let arrivals = after(sequences);
        (arrivals.received, arrivals.doubled, arrivals.out_of_order)
    }

    #[test]
    fn lost_doubled_and_out_of_order_are_told_apart() {
        assert_eq!(counts(&[0, 1, 2]), (3, 0, 0));
        assert_eq!(counts(&[0, 3]), (2, 0, 0));
        assert_eq!(counts(&[0, 0, 1, 0]), (2, 2, 0));
        assert_eq!(counts(&[2, 0, 1]), (3, 0, 2));
        assert_eq!(counts(&[9, 4, 4, 5, 3, 0, 8, 9]), (6, 2, 5));
    }

    #[test]
    fn a_jump_costs_one_range_however_far_it_goes() {
        let arrivals = after(&[u64::MAX - 1]);
        assert_eq!((arrivals.missing.len(), arrivals.received), (1, 1));
    }
}
