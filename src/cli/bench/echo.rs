//! `switchboard bench echo`: messages that come back.
//!
//! By default on an open-loop schedule; with `--depth` in a closed loop, whose latencies say less.

mod closed;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Args;

use crate::cli::units::{parse_duration, parse_size};
use crate::net::{Receiver, WebSocket};
use crate::proto::Kind;

use super::arrivals::Arrivals;
use super::crew::{Connections, Counters, Crew, Failed, Worker, lock};
use super::errors::{self, Errors};
use super::lane::{self, Lane};
use super::latency::{Latencies, human};
use super::progress;
use super::report::{Report, grouped};
use super::schedule::{Plan, Schedule};
use super::stamp::Messages;
use super::target::{Dialer, Target};

/// The flags of `switchboard bench echo`.
#[derive(Args)]
pub(in crate::cli) struct Flags {
    #[command(flatten)]
    pub(super) target: Target,
    /// How many connections
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Messages a second, of all connections together, sent by schedule whatever comes back
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Instead: so many messages under way a connection, the next when one comes back (a closed loop)
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    depth: Option<u32>,
    /// Bytes a message
    #[arg(long, default_value = "125", value_name = "SIZE", value_parser = parse_size)]
    size: usize,
    /// Send text instead of binary messages
    #[arg(long)]
    text: bool,
    /// How long to measure
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = parse_duration)]
    duration: Duration,
    /// How long to send before that
    #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = parse_duration)]
    warmup: Duration,
    /// How long to wait at the end while nothing comes of what is under way
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = parse_duration)]
    wait: Duration,
}

pub(super) const HELP: &str = "\
Latency counts from the moment at which the schedule meant a message to be sent, so a server that stalls \
shows in every message that it kept waiting. A closed loop (--depth) leaves those out: it shows what a \
server can do, not what its users feel.";

/// What all threads know.
#[derive(Debug)]
struct Job {
    messages: Arc<Messages>,
    plan: Plan,
    depth: Option<u32>,
    wait: Duration,
}

/// What a thread found.
#[derive(Debug)]
struct Tally {
    made: u64,
    arrivals: Vec<Arrivals>,
    sent: u64,
    unsent: u64,
    others: u64,
    latencies: Latencies,
    late: Latencies,
    /// When the last message came that counts.
    last: Option<Instant>,
    failed: Errors,
    /// Connections that ended before their time.
    ended: Errors,
    is_over: bool,
}

impl Tally {
    fn new(connections: usize, failed: Errors) -> Self {
        Self {
            made: connections as u64,
            arrivals: vec![Arrivals::default(); connections],
            sent: 0,
            unsent: 0,
            others: 0,
            latencies: Latencies::default(),
            late: Latencies::default(),
            last: None,
            failed,
            ended: Errors::default(),
            is_over: false,
        }
    }

    fn received(&self) -> u64 {
        self.arrivals.iter().map(|arrivals| arrivals.received).sum()
    }

    fn merge(&mut self, other: Self) {
        self.made += other.made;
        self.arrivals.extend(other.arrivals);
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.others += other.others;
        self.latencies.merge(&other.latencies);
        self.late.merge(&other.late);
        self.last = self.last.max(other.last);
        self.failed.merge(&other.failed);
        self.ended.merge(&other.ended);
    }
}

pub(super) fn run(flags: &Flags) -> Result<Report, String> {
    let kind = if flags.text { Kind::Text } else { Kind::Binary };
    let plan = Plan { warmup: flags.warmup, duration: flags.duration, rate: flags.rate, burst: 1 };
    let job = Arc::new(Job {
        messages: Arc::new(Messages::echoed(kind, flags.size)),
        plan,
        depth: flags.depth,
        wait: flags.wait,
    });
    let dialer = Arc::new(Dialer::new(&flags.target)?);
    let connections = flags.connections as usize;
    let crew = Crew::new(flags.target.threads().min(connections));
    let shown = progress::Plan { connections, duration: flags.warmup + flags.duration };
    let tallies = crew.run(&shown, |worker| work(job.clone(), dialer.clone(), worker, connections))?;
    let measured_from = crew.start().map(|start| start + flags.warmup);
    let mut whole = Tally::new(0, Errors::default());
    tallies.into_iter().for_each(|tally| whole.merge(tally));
    Ok(report(flags, &whole, measured_from))
}

async fn work(job: Arc<Job>, dialer: Arc<Dialer>, worker: Worker, connections: usize) -> Tally {
    let as_it_is = async |ws, _| Ok::<WebSocket, Failed>(ws);
    let Connections { made: sockets, failed, .. } =
        worker.connect(&dialer, worker.share(connections), None, as_it_is).await;
    let [made, _] = worker.count_off([sockets.len() as u64, 0]).await;
    let tally = Arc::new(Mutex::new(Tally::new(sockets.len(), failed)));
    if made.all > 0 {
        let start = worker.start();
        match job.depth {
            Some(depth) => closed::run(&job, &worker, sockets, depth, start, &tally).await,
            None => {
                let schedule = Schedule::new(&job.plan, made.all, start);
                open(&job, &worker, sockets, schedule, made.mine, &tally).await;
            }
        }
    }
    let mut tally = lock(&tally);
    std::mem::replace(&mut *tally, Tally::new(0, Errors::default()))
}

/// The open loop: one task sends by schedule, one a connection receives.
async fn open(
    job: &Job,
    worker: &Worker,
    sockets: Vec<WebSocket>,
    schedule: Schedule,
    streams: std::ops::Range<u64>,
    tally: &Arc<Mutex<Tally>>,
) {
    let mut lanes = Vec::new();
    for (at, socket) in sockets.into_iter().enumerate() {
        let (sender, receiver) = socket.split();
        let stream = streams.start + at as u64;
        lanes.push(Lane::new(sender, stream, job.messages.clone(), worker.clone()));
        let echoes = Echoes {
            at,
            stream,
            messages: job.messages.clone(),
            schedule,
            worker: worker.clone(),
            tally: tally.clone(),
        };
        tokio::spawn(echoes.receive(receiver));
    }
    let late = lane::pace(&schedule, streams, &lanes, worker).await;
    let sent = || lanes.iter().map(Lane::sent).sum::<u64>();
    let unsent = || lanes.iter().map(Lane::unsent).sum::<u64>();
    worker
        .wait_until(job.wait, || {
            let received = lock(tally).received();
            (unsent() == 0 && received == sent(), received + sent())
        })
        .await;
    {
        let mut tally = lock(tally);
        tally.is_over = true;
        (tally.sent, tally.unsent) = (sent(), unsent());
        tally.late = late;
    }
    lanes.iter().for_each(Lane::close);
    // Time for the closing handshakes, so that the server sees no lost connections; nothing depends on them.
    tokio::time::sleep(GOODBYE).await;
}

const GOODBYE: Duration = Duration::from_millis(100);

/// What receives on one connection.
struct Echoes {
    at: usize,
    stream: u64,
    messages: Arc<Messages>,
    schedule: Schedule,
    worker: Worker,
    tally: Arc<Mutex<Tally>>,
}

impl Echoes {
    async fn receive(self, mut receiver: Receiver) {
        let planned = self.schedule.messages_of(self.stream);
        let ended = loop {
            let message = match receiver.recv().await {
                Ok(Some(message)) => message,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            let now = Instant::now();
            let mut tally = lock(&self.tally);
            let tally = &mut *tally;
            let arrivals = &mut tally.arrivals[self.at];
            let read = self.messages.read(message.as_bytes(), |_| Some(arrivals.next()));
            let Some((_, sequence)) = read.filter(|&(_, sequence)| sequence < planned) else {
                tally.others += 1;
                continue;
            };
            if arrivals.arrived(sequence) {
                Counters::add(&self.worker.counters().received);
                let intended = self.schedule.intended(self.stream, sequence);
                if intended >= self.schedule.measured_from() {
                    tally.latencies.record(now.saturating_duration_since(intended));
                    tally.last = Some(now);
                }
            }
        };
        let mut tally = lock(&self.tally);
        if !tally.is_over {
            tally.ended.add(errors::ending(ended, &receiver));
        }
    }
}

fn report(flags: &Flags, tally: &Tally, measured_from: Option<Instant>) -> Report {
    let sending = match flags.depth {
        Some(depth) => format!("a closed loop with {depth} under way each"),
        None => format!("{} messages/s by schedule (an open loop)", grouped(flags.rate)),
    };
    let heading = format!("{}, {} bytes each", sending, grouped(flags.size as u64));
    let mut report = Report::new("echo", &flags.target.url, heading);
    report.setting("loop", if flags.depth.is_some() { "closed" } else { "open" });
    match flags.depth {
        Some(depth) => report.setting("depth", depth),
        None => report.setting("rate", flags.rate),
    }
    report.setting("message_bytes", flags.size);
    super::report_connections(&mut report, flags.connections as usize, tally.made, &tally.failed);
    report.count_if_any("connections_ended", "connections that ended early", tally.ended.total());
    report.errors(&tally.ended);
    report.count("sent", "messages sent", tally.sent);
    report.count("received", "messages received", tally.received());
    let lost = tally.sent.saturating_sub(tally.received());
    let sum = |count: fn(&Arrivals) -> u64| tally.arrivals.iter().map(count).sum::<u64>();
    report.count("lost", "lost", lost);
    report.count("doubled", "doubled", sum(|arrivals| arrivals.doubled));
    report.count("out_of_order", "out of order", sum(|arrivals| arrivals.out_of_order));
    report.count_if_any("unsent", "due but never sent", tally.unsent);
    report.count_if_any("others", "other messages", tally.others);
    let seconds = tally.last.zip(measured_from).map(|(last, from)| last.saturating_duration_since(from));
    if let Some(seconds) = seconds.map(|time| time.as_secs_f64()).filter(|&seconds| seconds > 0.0) {
        report.setting("seconds", seconds);
        report.value("messages_per_second", "messages a second", tally.latencies.count() as f64 / seconds);
    }
    let label = if flags.depth.is_some() {
        "latency, from the moment of sending: it leaves out what a stalled server kept from being sent"
    } else {
        "latency, from the moment at which each message was meant to be sent"
    };
    report.latencies("latency", label, &tally.latencies);
    report.setting("late_us", tally.late.json());
    note_lateness(&mut report, &tally.late);
    if tally.latencies.count() == 0 {
        report.fault("nothing was measured: no message came back");
    }
    if lost + tally.unsent > 0 {
        let count = grouped(lost + tally.unsent);
        report.fault(format!("{count} messages did not come back within --wait {}", human(flags.wait)));
    }
    report
}

/// The share of latency that is the load generator's own.
pub(super) fn note_lateness(report: &mut Report, late: &Latencies) {
    let p99 = late.percentile(99.0);
    if p99 > Duration::from_millis(1) {
        report.note(format!(
            "1 % of the messages were sent {} late or more, which the latencies contain: this side is too busy; \
             lower --rate, or give it more --threads and cores of its own",
            human(p99)
        ));
    }
}
