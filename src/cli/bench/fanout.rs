//! `switchboard bench fanout`: one room, and how long what is said there takes to everybody.
//!
//! Publishers are in the room too, but only what the members hear is measured.

mod member;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use clap::Args;

use crate::chat::room_name::RoomName;
use crate::cli::connect::{parse_room, with_room};
use crate::cli::units::{parse_duration, parse_size};

use super::crew::{Connections, Crew, Worker, lock};
use super::echo::note_lateness;
use super::errors::Errors;
use super::lane::{self, Lane};
use super::latency::{Latencies, human};
use super::progress;
use super::report::{Report, grouped};
use super::schedule::{Plan, Schedule};
use super::stamp::{self, MAX_STREAMS, Messages, ROOM_STAMP_BYTES};
use super::target::{Dialer, Target};
use member::{Entrance, Listener, Room};

/// The flags of `switchboard bench fanout`.
#[derive(Args)]
pub(in crate::cli) struct Flags {
    #[command(flatten)]
    pub(super) target: Target,
    /// How many members listen
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    members: u32,
    /// How many others talk
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_STREAMS as i64))]
    publishers: u32,
    /// Messages a second, of all publishers together, sent by schedule
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// So many of them at once, at the same average rate
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    burst: u64,
    /// Bytes a message, 16 at least
    #[arg(long, default_value = "64", value_name = "SIZE", value_parser = parse_message_size)]
    size: usize,
    /// The room, if the URL names none: appended as /rooms/ROOM
    #[arg(long, value_parser = parse_room)]
    room: Option<RoomName>,
    /// Give no names: for servers that pass every text on to all others, and know nothing else
    #[arg(long)]
    no_names: bool,
    /// How long to measure
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = parse_duration)]
    duration: Duration,
    /// How long to talk before that
    #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = parse_duration)]
    warmup: Duration,
    /// How long to wait at the end while nothing comes of what is under way
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = parse_duration)]
    wait: Duration,
}

pub(super) const HELP: &str = "\
Latency counts from the moment at which the schedule meant a message to be sent. switchboard chat lets \
each publisher say 100 messages a second (its --rate-messages): for more, add publishers or raise it.";

fn parse_message_size(text: &str) -> Result<usize, String> {
    let size = parse_size(text)?;
    if size < ROOM_STAMP_BYTES {
        return Err(format!("{ROOM_STAMP_BYTES} bytes at least: a message says whose it is, and which"));
    }
    Ok(size)
}

/// What all threads know.
#[derive(Debug)]
struct Job {
    messages: Arc<Messages>,
    plan: Plan,
    entrance: Entrance,
    members: usize,
    publishers: usize,
    wait: Duration,
    schedule: OnceLock<Schedule>,
}

/// What a thread found.
#[derive(Debug)]
struct Tally {
    members: u64,
    publishers: u64,
    room: Room,
    /// What each of this thread's publishers has sent.
    sent: u64,
    unsent: u64,
    late: Latencies,
    failed: Errors,
}

pub(super) fn run(flags: &Flags) -> Result<Report, String> {
    let run = stamp::run_mark();
    let mut dialer = Dialer::new(&flags.target)?;
    if let Some(room) = &flags.room {
        dialer.set_url(with_room(&flags.target.url, room));
    }
    let dialer = Arc::new(dialer);
    let job = Arc::new(Job {
        messages: Arc::new(Messages::shared(&run, flags.size)),
        plan: Plan { warmup: flags.warmup, duration: flags.duration, rate: flags.rate, burst: flags.burst },
        entrance: if flags.no_names { Entrance::Open } else { Entrance::Named { run } },
        members: flags.members as usize,
        publishers: flags.publishers as usize,
        wait: flags.wait,
        schedule: OnceLock::new(),
    });
    let connections = job.members + job.publishers;
    let crew = Crew::new(flags.target.threads().min(connections));
    let shown = progress::Plan { connections, duration: flags.warmup + flags.duration };
    let tallies = crew.run(&shown, |worker| work(job.clone(), dialer.clone(), worker))?;
    let measured_from = crew.start().map(|start| start + flags.warmup);
    let whole = tallies.into_iter().reduce(|mut whole, tally| {
        whole.merge(tally);
        whole
    });
    Ok(report(flags, &whole.expect("there is a thread at least"), measured_from))
}

impl Tally {
    fn merge(&mut self, other: Self) {
        self.members += other.members;
        self.publishers += other.publishers;
        self.room.merge(other.room);
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.late.merge(&other.late);
        self.failed.merge(&other.failed);
    }

    /// How many messages ought to have arrived.
    fn expected(&self) -> u64 {
        self.sent * self.members
    }
}

async fn work(job: Arc<Job>, dialer: Arc<Dialer>, worker: Worker) -> Tally {
    let room = Arc::new(Mutex::new(Room::default()));
    let listen = {
        let (job, room, worker) = (job.clone(), room.clone(), worker.clone());
        move |socket, number| Listener::join(socket, number, job.clone(), room.clone(), worker.clone())
    };
    let Connections { made: members, mut failed, .. } =
        worker.connect(&dialer, worker.share(job.members), None, listen).await;
    let talk = {
        let job = job.clone();
        move |socket, number| member::join_to_talk(socket, number, job.clone())
    };
    let talkers = worker.connect(&dialer, worker.share(job.publishers), None, talk).await;
    failed.merge(&talkers.failed);
    let publishers = talkers.made;
    let [made_publishers, made_members] =
        worker.count_off([publishers.len() as u64, members.len() as u64]).await;
    let (mut sent, mut unsent, mut late) = (0, 0, Latencies::default());
    if made_publishers.all > 0 && made_members.all > 0 {
        settle(&worker).await;
        worker.meet().await;
        let schedule =
            *job.schedule.get_or_init(|| Schedule::new(&job.plan, made_publishers.all, worker.start()));
        let first = made_publishers.mine.start;
        let lanes: Vec<_> = publishers
            .into_iter()
            .zip(first..)
            .map(|(sender, stream)| Lane::new(sender, stream, job.messages.clone(), worker.clone()))
            .collect();
        late = lane::pace(&schedule, made_publishers.mine.clone(), &lanes, &worker).await;
        arrive(&job, &worker, &lanes, made_members.all).await;
        (sent, unsent) = (lanes.iter().map(Lane::sent).sum(), lanes.iter().map(Lane::unsent).sum());
    }
    let mut room = lock(&room);
    room.is_over = true;
    let room = std::mem::take(&mut *room);
    // Nobody says goodbye: everybody would have to be told of everybody.
    Tally {
        members: members.len() as u64,
        publishers: made_publishers.mine.count() as u64,
        room,
        sent,
        unsent,
        late,
        failed,
    }
}

/// Waits until nobody hears of anybody's coming any more.
async fn settle(worker: &Worker) {
    let start = Instant::now();
    worker
        .wait_until(QUIET, || {
            let heard = worker.crew().sum(|counters| &counters.others);
            (worker.is_stopped() || start.elapsed() > MOST_SETTLING, heard)
        })
        .await;
}

/// For how long nothing may come before the load begins.
const QUIET: Duration = Duration::from_millis(300);
/// In a room that is never quiet it begins all the same.
const MOST_SETTLING: Duration = Duration::from_secs(60);

/// Waits until all that everybody has sent has come to all members.
async fn arrive(job: &Job, worker: &Worker, lanes: &[Lane], members: u64) {
    let unsent = || lanes.iter().map(Lane::unsent).sum::<u64>();
    worker.wait_until(job.wait, || (unsent() == 0, unsent())).await;
    worker.meet().await;
    let expected = worker.crew().sum(|counters| &counters.sent) * members;
    worker
        .wait_until(job.wait, || {
            let received = worker.crew().sum(|counters| &counters.received);
            (received >= expected, received)
        })
        .await;
    worker.meet().await;
}

fn report(flags: &Flags, tally: &Tally, measured_from: Option<Instant>) -> Report {
    let in_bursts =
        if flags.burst > 1 { format!(", {} at once", grouped(flags.burst)) } else { String::new() };
    let heading = format!(
        "{} messages/s by schedule{in_bursts}, to {} members, {} bytes each",
        grouped(flags.rate),
        grouped(flags.members.into()),
        grouped(flags.size as u64)
    );
    let mut report = Report::new("fanout", &flags.target.url, heading);
    report.setting("loop", "open");
    report.setting("rate", flags.rate);
    report.setting("burst", flags.burst);
    report.setting("message_bytes", flags.size);
    let wanted = (flags.members + flags.publishers) as usize;
    super::report_connections(&mut report, wanted, tally.members + tally.publishers, &tally.failed);
    report.count("members", "of them members", tally.members);
    report.count("publishers", "and publishers", tally.publishers);
    let room = &tally.room;
    report.count_if_any("connections_ended", "connections that ended early", room.ended.total());
    report.errors(&room.ended);
    let received = room.sum(|arrivals| arrivals.received);
    let lost = tally.expected().saturating_sub(received);
    report.count("sent", "messages sent", tally.sent);
    report.count("expected", "deliveries expected", tally.expected());
    report.count("received", "deliveries", received);
    report.count("lost", "lost", lost);
    report.count("doubled", "doubled", room.sum(|arrivals| arrivals.doubled));
    report.count("out_of_order", "out of order", room.sum(|arrivals| arrivals.out_of_order));
    report.count_if_any("unsent", "due but never sent", tally.unsent);
    // Comings and goings mostly.
    report.setting("others", room.others);
    let seconds = room.last.zip(measured_from).map(|(last, from)| last.saturating_duration_since(from));
    if let Some(seconds) = seconds.map(|time| time.as_secs_f64()).filter(|&seconds| seconds > 0.0) {
        report.setting("seconds", seconds);
        report.value("deliveries_per_second", "deliveries a second", room.latencies.count() as f64 / seconds);
    }
    let label = "latency of a delivery, from the moment at which the message was meant to be sent";
    report.latencies("latency", label, &room.latencies);
    report.setting("late_us", tally.late.json());
    note_lateness(&mut report, &tally.late);
    if room.latencies.count() == 0 {
        report.fault("nothing was measured: no message came to a member");
    }
    if lost > 0 {
        report.fault(format!(
            "{} deliveries did not come within --wait {}",
            grouped(lost),
            human(flags.wait)
        ));
    }
    if tally.unsent > 0 {
        report.fault(format!("{} messages were due but the server took no more", grouped(tally.unsent)));
    }
    report
}
