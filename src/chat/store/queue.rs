//! What waits for the writer, in the order it came and never more than so much.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;

use super::StoreError;

/// What is to be done to the tables.
#[derive(Debug)]
pub(super) enum Change {
    /// Stores an encoded record; makes the room if need be.
    Append { room: String, epoch: String, offset: u64, value: Vec<u8> },
    /// Removes a record.
    Delete { room: String, offset: u64 },
    /// Moves a room's next offset beyond whatever was handed out, since its members are about to come back.
    Reopen { room: String },
    /// Sets or moves a ban.
    PutBan { room: String, key: String, until_ms: u64 },
    /// Lifts a ban.
    RemoveBan { room: String, key: String },
    /// Nothing: what came before is to be seen.
    Look,
}

/// Whom to tell how it went.
#[derive(Debug)]
pub(super) enum Done {
    /// A task, once it is on disk.
    Durable(oneshot::Sender<Result<(), StoreError>>),
    /// A thread, which then reads what there is.
    Seen(mpsc::SyncSender<Result<redb::ReadTransaction, StoreError>>),
}

#[derive(Debug)]
pub(super) struct Command {
    pub(super) change: Change,
    pub(super) done: Done,
}

/// How much may wait: some seconds' worth of what a disk takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) commands: usize,
    pub(super) bytes: usize,
}

/// A batch is one transaction: the larger, the fewer `fsync`s, the longer until the first of it is on disk.
const MAX_BATCH: Bounds = Bounds { commands: 2048, bytes: 4 << 20 };

/// What a command takes beside its strings.
const COMMAND_BYTES: usize = 256;

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    has_work: Condvar,
    bounds: Bounds,
}

#[derive(Debug, Default)]
struct Waiting {
    commands: VecDeque<Command>,
    bytes: usize,
    is_closed: bool,
}

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Next {
    /// These, in one transaction. None of them: nothing came for a while.
    Batch(Vec<Command>),
    /// End: the store is closed and nothing waits any more.
    End,
}

impl Queue {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { waiting: Mutex::default(), has_work: Condvar::new(), bounds }
    }

    /// Queues a command behind all others.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] if too much waits; [`StoreError::Closed`].
    pub(super) fn push(&self, command: Command) -> Result<(), StoreError> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(StoreError::Closed);
        }
        // Whoever reads waits for the answer, so there are no more of those than threads.
        let is_bounded = matches!(command.done, Done::Durable(_));
        let bytes = waiting.bytes + command.bytes();
        if is_bounded && (waiting.commands.len() >= self.bounds.commands || bytes > self.bounds.bytes) {
            return Err(StoreError::Busy);
        }
        waiting.bytes = bytes;
        waiting.commands.push_back(command);
        self.has_work.notify_one();
        Ok(())
    }

    /// Waits for the next batch, at most so long.
    pub(super) fn next(&self, patience: Duration) -> Next {
        let waiting = self.lock();
        let (mut waiting, _) = self
            .has_work
            .wait_timeout_while(waiting, patience, |waiting| {
                waiting.commands.is_empty() && !waiting.is_closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.commands.is_empty() && waiting.is_closed {
            return Next::End;
        }
        Next::Batch(waiting.take_batch())
    }

    /// Takes no more commands. What waits is still written.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.has_work.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take_batch(&mut self) -> Vec<Command> {
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        while batch.len() < MAX_BATCH.commands && batch_bytes < MAX_BATCH.bytes {
            let Some(command) = self.commands.pop_front() else { break };
            batch_bytes += command.bytes();
            batch.push(command);
        }
        self.bytes -= batch_bytes;
        batch
    }
}

impl Command {
    fn bytes(&self) -> usize {
        let strings = match &self.change {
            Change::Append { room, epoch, value, .. } => room.len() + epoch.len() + value.len(),
            Change::Delete { room, .. } | Change::Reopen { room } => room.len(),
            Change::PutBan { room, key, .. } | Change::RemoveBan { room, key } => room.len() + key.len(),
            Change::Look => 0,
        };
        COMMAND_BYTES + strings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(value_bytes: usize) -> Command {
        let change = Change::Append {
            room: String::new(),
            epoch: String::new(),
            offset: 0,
            value: vec![0; value_bytes],
        };
        Command { change, done: Done::Durable(oneshot::channel().0) }
    }

    fn batch(queue: &Queue) -> usize {
        match queue.next(Duration::ZERO) {
            Next::Batch(batch) => batch.len(),
            Next::End => panic!("the queue ended"),
        }
    }

    #[test]
    fn a_full_queue_refuses_until_a_batch_was_taken() {
        let queue = Queue::new(Bounds { commands: 2, bytes: 1 << 20 });
        assert_eq!(queue.push(append(0)), Ok(()));
        assert_eq!(queue.push(append(0)), Ok(()));
        assert_eq!(queue.push(append(0)), Err(StoreError::Busy));
        assert_eq!(batch(&queue), 2);
        assert_eq!(queue.push(append(0)), Ok(()));
    }

    #[test]
    fn bytes_are_bounded_too_and_given_back() {
        let queue = Queue::new(Bounds { commands: 100, bytes: 3000 });
        assert_eq!(queue.push(append(2000)), Ok(()));
        assert_eq!(queue.push(append(2000)), Err(StoreError::Busy));
        assert_eq!(batch(&queue), 1);
        assert_eq!(queue.push(append(2000)), Ok(()));
    }

    #[test]
    fn a_batch_is_bounded_in_commands_and_bytes() {
        let queue = Queue::new(Bounds { commands: 10_000, bytes: 100 << 20 });
        for _ in 0..3000 {
            queue.push(append(0)).unwrap();
        }
        assert_eq!(batch(&queue), 2048);
        assert_eq!(batch(&queue), 952);
        for _ in 0..8 {
            queue.push(append(1 << 20)).unwrap();
        }
        assert_eq!(batch(&queue), 4);
    }

    #[test]
    fn a_closed_queue_gives_what_waits_and_then_ends() {
        let queue = Queue::new(Bounds { commands: 10, bytes: 1 << 20 });
        queue.push(append(0)).unwrap();
        queue.close();
        assert_eq!(queue.push(append(0)), Err(StoreError::Closed));
        assert_eq!(batch(&queue), 1);
        assert!(matches!(queue.next(Duration::from_secs(3600)), Next::End));
    }
}
