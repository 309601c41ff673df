//! The room's people: how they come in, and what they hear.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::chat::wire::plain;
use crate::cli::bench::arrivals::Arrivals;
use crate::cli::bench::crew::{Counters, Failed, Worker, lock};
use crate::cli::bench::errors::{self, Errors};
use crate::cli::bench::latency::Latencies;
use crate::net::{Receiver, Sender, WebSocket};
use crate::proto::Message;

use super::Job;

/// How somebody gets into the room.
#[derive(Clone, Debug)]
pub(super) enum Entrance {
    /// By connecting.
    Open,
    /// By a name, as in `switchboard chat`; the run's mark keeps two runs apart.
    Named {
        /// The mark.
        run: String,
    },
}

/// How long the welcome may take: a full room is told of everybody who comes.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(60);

impl Entrance {
    /// Gives a name and waits for the welcome: from then on we hear everything.
    async fn enter(&self, socket: &mut WebSocket, kind: char, number: usize) -> Result<(), Failed> {
        let Self::Named { run } = self else { return Ok(()) };
        socket.send(format!("bench-{kind}{number}-{run}")).await?;
        let welcome = async {
            while let Some(message) = socket.recv().await? {
                match message.as_text() {
                    Some(line) if line.starts_with("Welcome, ") => return Ok(()),
                    Some(line) if plain::is_error(line) => {
                        return Err(Failed(format!("the name was refused: {line}")));
                    }
                    // Others come in.
                    _ => {}
                }
            }
            Err(Failed("the server closed the connection instead of a welcome".to_owned()))
        };
        tokio::time::timeout(WELCOME_TIMEOUT, welcome).await.unwrap_or_else(|_| {
            Err(Failed("no welcome came: a server that knows no names needs --no-names".to_owned()))
        })
    }
}

/// Comes in as a publisher: what it hears is dropped.
pub(super) async fn join_to_talk(
    mut socket: WebSocket,
    number: usize,
    job: Arc<Job>,
) -> Result<Sender, Failed> {
    job.entrance.enter(&mut socket, 'p', number).await?;
    let (sender, mut receiver) = socket.split();
    tokio::spawn(async move { while let Ok(Some(_)) = receiver.recv().await {} });
    Ok(sender)
}

/// What a thread's members have heard.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// A row a member, an entry a publisher in it.
    arrivals: Vec<Vec<Arrivals>>,
    /// Messages that aren't this run's.
    pub(super) others: u64,
    pub(super) latencies: Latencies,
    /// When the last message came that counts.
    pub(super) last: Option<Instant>,
    /// Connections that ended before their time.
    pub(super) ended: Errors,
    pub(super) is_over: bool,
}

impl Room {
    pub(super) fn merge(&mut self, other: Self) {
        self.arrivals.extend(other.arrivals);
        self.others += other.others;
        self.latencies.merge(&other.latencies);
        self.last = self.last.max(other.last);
        self.ended.merge(&other.ended);
    }

    pub(super) fn sum(&self, count: impl Fn(&Arrivals) -> u64) -> u64 {
        self.arrivals.iter().flatten().map(count).sum()
    }
}

/// A member.
pub(super) struct Listener {
    row: usize,
    job: Arc<Job>,
    room: Arc<Mutex<Room>>,
    worker: Worker,
}

impl Listener {
    /// Comes in, and listens until the connection ends.
    pub(super) async fn join(
        mut socket: WebSocket,
        number: usize,
        job: Arc<Job>,
        room: Arc<Mutex<Room>>,
        worker: Worker,
    ) -> Result<Sender, Failed> {
        job.entrance.enter(&mut socket, 'm', number).await?;
        let row = {
            let mut room = lock(&room);
            room.arrivals.push(vec![Arrivals::default(); job.publishers]);
            room.arrivals.len() - 1
        };
        let (sender, receiver) = socket.split();
        tokio::spawn(Self { row, job, room, worker }.listen(receiver));
        Ok(sender)
    }

    async fn listen(self, mut receiver: Receiver) {
        let ended = loop {
            match receiver.recv().await {
                Ok(Some(message)) => self.hear(&message),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let mut room = lock(&self.room);
        if !room.is_over {
            room.ended.add(errors::ending(ended, &receiver));
        }
    }

    fn hear(&self, message: &Message) {
        let now = Instant::now();
        let mut room = lock(&self.room);
        let room = &mut *room;
        let row = &mut room.arrivals[self.row];
        let expected = |stream| row.get(stream as usize).map(Arrivals::next);
        let (Some((stream, sequence)), Some(schedule)) =
            (self.job.messages.read(message.as_bytes(), expected), self.job.schedule.get())
        else {
            room.others += 1;
            return Counters::add(&self.worker.counters().others);
        };
        if sequence < schedule.messages_of(stream) && row[stream as usize].arrived(sequence) {
            Counters::add(&self.worker.counters().received);
            let intended = schedule.intended(stream, sequence);
            if intended >= schedule.measured_from() {
                room.latencies.record(now.saturating_duration_since(intended));
                room.last = Some(now);
            }
        }
    }
}
