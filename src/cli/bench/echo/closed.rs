//! The closed loop: so many messages under way a connection, and the next when one comes back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::cli::bench::crew::{Counters, Worker, lock};
use crate::cli::bench::stamp::Messages;
use crate::net::{Error, WebSocket};

use super::{Job, Tally};

/// Runs it on all connections of a thread, until the time is up and all has come back.
pub(super) async fn run(
    job: &Job,
    worker: &Worker,
    sockets: Vec<WebSocket>,
    depth: u32,
    start: Instant,
    tally: &Arc<Mutex<Tally>>,
) {
    tokio::time::sleep_until(start.into()).await;
    let measured_from = start + job.plan.warmup;
    let end = measured_from + job.plan.duration;
    let mut loops = tokio::task::JoinSet::new();
    for (at, socket) in sockets.into_iter().enumerate() {
        let turns = Turns {
            at,
            messages: job.messages.clone(),
            measured_from,
            end,
            worker: worker.clone(),
            tally: tally.clone(),
            under_way: VecDeque::new(),
            oldest: 0,
        };
        loops.spawn(turns.run(socket, depth));
    }
    // Whoever waits for an answer that never comes is given up.
    worker.sleep_until(end).await;
    worker.wait_until(job.wait, || (all_done(&mut loops), lock(tally).received())).await;
    lock(tally).is_over = true;
}

fn all_done(loops: &mut tokio::task::JoinSet<()>) -> bool {
    while loops.try_join_next().is_some() {}
    loops.is_empty()
}

/// One connection's turns.
struct Turns {
    at: usize,
    messages: Arc<Messages>,
    measured_from: Instant,
    end: Instant,
    worker: Worker,
    tally: Arc<Mutex<Tally>>,
    /// When each message was sent that hasn't come back, and the number of the first of them.
    under_way: VecDeque<Instant>,
    oldest: u64,
}

impl Turns {
    async fn run(mut self, mut socket: WebSocket, depth: u32) {
        if let Err(error) = self.turn(&mut socket, depth).await {
            let mut tally = lock(&self.tally);
            if !tally.is_over {
                tally.ended.add(error.to_string());
            }
            return;
        }
        // Nothing is measured any more.
        let _ = socket.close(None).await;
    }

    async fn turn(&mut self, socket: &mut WebSocket, depth: u32) -> Result<(), Error> {
        for _ in 0..depth {
            self.send(socket).await?;
        }
        while !self.under_way.is_empty() {
            let message = socket.recv().await?.ok_or(Error::Closed)?;
            let came_back = self.receive(message.as_bytes());
            let goes_on = Instant::now() < self.end && !self.worker.is_stopped();
            for _ in 0..if goes_on { came_back } else { 0 } {
                self.send(socket).await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, socket: &mut WebSocket) -> Result<(), Error> {
        let sequence = self.oldest + self.under_way.len() as u64;
        self.under_way.push_back(Instant::now());
        // Counted before: what is lost with the connection was sent.
        lock(&self.tally).sent += 1;
        Counters::add(&self.worker.counters().sent);
        socket.send(self.messages.message(0, sequence)).await
    }

    /// Takes an echo; how many messages are no longer under way: more than one if some were passed over.
    fn receive(&mut self, message: &[u8]) -> usize {
        let now = Instant::now();
        let mut tally = lock(&self.tally);
        let tally = &mut *tally;
        let arrivals = &mut tally.arrivals[self.at];
        let sent = self.oldest + self.under_way.len() as u64;
        let read = self.messages.read(message, |_| Some(arrivals.next()));
        let Some((_, sequence)) = read.filter(|&(_, sequence)| sequence < sent) else {
            tally.others += 1;
            return 0;
        };
        if arrivals.arrived(sequence) {
            Counters::add(&self.worker.counters().received);
        }
        let Some(at) = sequence.checked_sub(self.oldest).map(|at| at as usize) else { return 0 };
        let sent_at = self.under_way[at];
        if sent_at >= self.measured_from {
            tally.latencies.record(now.saturating_duration_since(sent_at));
            tally.last = Some(now);
        }
        self.under_way.drain(..=at);
        self.oldest = sequence + 1;
        at + 1
    }
}
