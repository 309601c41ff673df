//! What the hub knows and is asked for at every look.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::put;

/// What the hub knows. Of the messages that it has addressed to members,
/// *delivered + dropped + pending + abandoned = addressed* at any moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Messages times the members that each was for.
    pub addressed: u64,
    /// Of these, those that were handed over.
    pub delivered: u64,
    /// Those that a slow member missed.
    pub dropped: u64,
    /// Those that wait for a slow member.
    pub pending: u64,
    /// Those that waited for a member that left.
    pub abandoned: u64,
    /// Rooms that there are.
    pub rooms: u64,
    /// Members in them.
    pub members: u64,
    /// Members whose sockets take nothing more at the moment.
    pub slow_members: u64,
    /// Sessions that are kept for members whose connections were lost.
    pub sessions_held: u64,
    /// Bytes that wait for slow members.
    pub queue_bytes: u64,
    /// Bytes that the rooms' histories hold.
    pub history_bytes: u64,
}

/// Asks the hub.
pub(super) struct HubCollector(Box<dyn Fn() -> Snapshot + Send + Sync>);

impl HubCollector {
    pub(super) fn new(hub: impl Fn() -> Snapshot + Send + Sync + 'static) -> Self {
        Self(Box::new(hub))
    }
}

impl fmt::Debug for HubCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubCollector")
    }
}

impl Collector for HubCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = (self.0)();
        for (name, help, value) in [
            ("deliveries_addressed", "Messages times the members that each was for", now.addressed),
            ("deliveries_delivered", "Of those addressed, how many were handed over", now.delivered),
            ("deliveries_dropped", "Of those addressed, how many a slow member missed", now.dropped),
            (
                "deliveries_abandoned",
                "Of those addressed, how many waited for a member that left",
                now.abandoned,
            ),
        ] {
            put(&mut encoder, name, help, &ConstCounter::new(value))?;
        }
        for (name, help, value) in [
            ("deliveries_pending", "Of those addressed, how many wait for a slow member", now.pending),
            ("rooms", "Rooms that there are", now.rooms),
            ("members", "Members in rooms", now.members),
            ("slow_members", "Members whose sockets take nothing more at the moment", now.slow_members),
            ("sessions_held", "Sessions kept for members whose connections were lost", now.sessions_held),
            ("queue_bytes", "Bytes that wait for slow members", now.queue_bytes),
            ("history_bytes", "Bytes that the rooms' histories hold", now.history_bytes),
        ] {
            put(&mut encoder, name, help, &ConstGauge::new(value as f64))?;
        }
        Ok(())
    }
}
