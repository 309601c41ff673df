//! What sends on a schedule: never waits for the server, and leaves nothing out.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::net::{Sender, TrySendError};

use super::alarm::Alarm;
use super::crew::{Counters, Worker, lock};
use super::latency::Latencies;
use super::schedule::Schedule;
use super::stamp::Messages;

/// One stream of messages on one connection.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    sender: Sender,
    stream: u64,
    messages: Arc<Messages>,
    worker: Worker,
    queue: Arc<Mutex<Queue>>,
}

/// What is due but could not be sent yet: the socket is full. Its latency counts from when it was due.
#[derive(Debug, Default)]
struct Queue {
    /// Numbers only; the schedule bounds them.
    due: VecDeque<u64>,
    /// Whether a task sends them, or nobody can any more: either way new ones have to line up.
    is_behind: bool,
    sent: u64,
}

impl Lane {
    pub(super) fn new(sender: Sender, stream: u64, messages: Arc<Messages>, worker: Worker) -> Self {
        Self { sender, stream, messages, worker, queue: Arc::default() }
    }

    /// How many messages went to the socket.
    pub(super) fn sent(&self) -> u64 {
        lock(&self.queue).sent
    }

    /// How many were due and did not.
    pub(super) fn unsent(&self) -> u64 {
        lock(&self.queue).due.len() as u64
    }

    /// Sends a message, now or as soon as there is room.
    pub(super) fn send(&self, sequence: u64) {
        let mut queue = lock(&self.queue);
        if queue.is_behind {
            queue.due.push_back(sequence);
            return;
        }
        match self.sender.try_send(self.messages.message(self.stream, sequence)) {
            Ok(()) => self.count(&mut queue),
            Err(refused) => {
                queue.due.push_back(sequence);
                queue.is_behind = true;
                if matches!(refused, TrySendError::Full(_)) {
                    tokio::spawn(self.clone().catch_up());
                }
            }
        }
    }

    /// Sends what is due, until nothing is or the connection has ended.
    async fn catch_up(self) {
        loop {
            let sequence = {
                let mut queue = lock(&self.queue);
                let Some(&sequence) = queue.due.front() else {
                    queue.is_behind = false;
                    return;
                };
                sequence
            };
            if self.sender.send(self.messages.message(self.stream, sequence)).await.is_err() {
                return;
            }
            let mut queue = lock(&self.queue);
            queue.due.pop_front();
            self.count(&mut queue);
        }
    }

    fn count(&self, queue: &mut Queue) {
        queue.sent += 1;
        Counters::add(&self.worker.counters().sent);
    }

    pub(super) fn close(&self) {
        // It may have ended already.
        let _ = self.sender.close(None);
    }
}

/// After so many bursts without a wait the readers get a turn.
const BURSTS_A_TURN: u32 = 32;

/// Sends on schedule; says how much later than meant, which is the load generator's own fault.
pub(super) async fn pace(
    schedule: &Schedule,
    streams: Range<u64>,
    lanes: &[Lane],
    worker: &Worker,
) -> Latencies {
    let (alarm, mut late) = (Alarm::new(), Latencies::default());
    let first = streams.start;
    let mut bursts = 0;
    for (number, stream, sequences) in schedule.bursts_of(streams) {
        let due = schedule.due(number);
        if Instant::now() < due {
            alarm.until(due).await;
            bursts = 0;
        } else {
            bursts += 1;
            if bursts % BURSTS_A_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        if worker.is_stopped() {
            break;
        }
        if due >= schedule.measured_from() {
            late.record(Instant::now().saturating_duration_since(due));
        }
        let lane = &lanes[(stream - first) as usize];
        sequences.for_each(|sequence| lane.send(sequence));
    }
    late
}
