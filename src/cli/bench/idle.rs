//! `switchboard bench idle`: many connections that say nothing, and what each costs the server.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Args;

use crate::cli::units::parse_duration;
use crate::net::{Receiver, Sender, WebSocket};

use super::crew::{Crew, Failed, Worker, lock};
use super::errors::{self, Errors};
use super::latency::Latencies;
use super::progress;
use super::report::{Report, grouped};
use super::target::{Dialer, Target};

/// The flags of `switchboard bench idle`.
#[derive(Args)]
pub(in crate::cli) struct Flags {
    #[command(flatten)]
    pub(super) target: Target,
    /// How many connections
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// How long to hold them
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = parse_duration)]
    hold: Duration,
    /// New connections a second; without it as fast as the server takes them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    connect_rate: Option<u64>,
    /// What each says first, waiting for an answer; %n is its number, as in 'member%n' for a chat
    #[arg(long, value_name = "TEXT")]
    say: Option<String>,
    /// The server's process, if it runs here under Linux: shows its bytes a connection
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

pub(super) const HELP: &str = "\
Bytes a connection are the process's private memory at the end less that after the first tenth of the \
connections, so what a server holds only once isn't counted. The kernel's memory isn't in it either.";

/// What all threads know.
struct Job {
    connections: usize,
    /// How many there are before the first look at the server's memory.
    first: usize,
    hold: Duration,
    interval: Option<Duration>,
    say: Option<String>,
    pid: Option<u32>,
    memory: Mutex<Memory>,
}

/// The server's memory in bytes, and how many connections it had then.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    before: Option<(u64, u64)>,
    after: Option<(u64, u64)>,
}

/// What a thread found.
#[derive(Debug)]
struct Tally {
    made: u64,
    connecting: Latencies,
    took: Duration,
    held: u64,
    failed: Errors,
    ended: Errors,
}

pub(super) fn run(flags: &Flags) -> Result<Report, String> {
    if let Some(pid) = flags.pid {
        private_bytes(pid)?;
    }
    let connections = flags.connections as usize;
    let job = Arc::new(Job {
        connections,
        first: if flags.pid.is_some() { (connections / 10).min(MOST_FIRST) } else { 0 },
        hold: flags.hold,
        interval: flags.connect_rate.map(|rate| Duration::from_secs_f64(1.0 / rate as f64)),
        say: flags.say.clone(),
        pid: flags.pid,
        memory: Mutex::default(),
    });
    let dialer = Arc::new(Dialer::new(&flags.target)?);
    let crew = Crew::new(flags.target.threads().min(connections));
    let shown = progress::Plan { connections, duration: flags.hold };
    let tallies = crew.run(&shown, |worker| work(job.clone(), dialer.clone(), worker))?;
    let whole = tallies.into_iter().reduce(|mut whole, tally| {
        whole.made += tally.made;
        whole.connecting.merge(&tally.connecting);
        whole.took = whole.took.max(tally.took);
        whole.held += tally.held;
        whole.failed.merge(&tally.failed);
        whole.ended.merge(&tally.ended);
        whole
    });
    let memory = *lock(&job.memory);
    Ok(report(flags, &whole.expect("there is a thread at least"), memory))
}

const MOST_FIRST: usize = 500;

/// How long a server has to come to rest before its memory is looked at.
const REST: Duration = Duration::from_secs(1);

/// What a thread's connections come to while they are held.
#[derive(Debug, Default)]
struct Held {
    ended: Errors,
    is_over: bool,
}

async fn work(job: Arc<Job>, dialer: Arc<Dialer>, worker: Worker) -> Tally {
    let held = Arc::new(Mutex::new(Held::default()));
    let open = {
        let (job, held) = (job.clone(), held.clone());
        move |socket, number| hold(socket, number, job.clone(), held.clone())
    };
    let mut made_by_all = 0;
    let (mut senders, mut failed) = (Vec::new(), Errors::default());
    let (mut took, mut connecting) = (Duration::ZERO, Latencies::default());
    for (from, to) in [(0, job.first), (job.first, job.connections)] {
        let share = worker.share(to - from);
        let numbers = from + share.start..from + share.end;
        let start = Instant::now();
        let pace = job.interval.map(|interval| (start, interval * worker.threads()));
        let connections = worker.connect(&dialer, numbers, pace, open.clone()).await;
        took += start.elapsed();
        senders.extend(connections.made);
        failed.merge(&connections.failed);
        connecting.merge(&connections.times);
        let [made, _] = worker.count_off([senders.len() as u64, 0]).await;
        made_by_all = made.all;
        if worker.is_first() && to == job.first {
            look(&job, made.all, |memory| &mut memory.before).await;
        }
        worker.meet().await;
    }
    if made_by_all > 0 {
        worker.sleep_until(worker.start() + job.hold).await;
    }
    let there = (senders.len() as u64).saturating_sub(lock(&held).ended.total());
    let [made, _] = worker.count_off([there, 0]).await;
    if worker.is_first() {
        look(&job, made.all, |memory| &mut memory.after).await;
    }
    worker.meet().await;
    let mut held = lock(&held);
    held.is_over = true;
    let (made, ended) = (senders.len() as u64, held.ended.clone());
    Tally { made, connecting, took, held: made.saturating_sub(ended.total()), failed, ended }
}

/// Notes the server's memory.
async fn look(job: &Job, connections: u64, entry: impl Fn(&mut Memory) -> &mut Option<(u64, u64)>) {
    let Some(pid) = job.pid else { return };
    tokio::time::sleep(REST).await;
    *entry(&mut lock(&job.memory)) = private_bytes(pid).ok().map(|bytes| (bytes, connections));
}

/// Says what there is to say, and holds the connection.
async fn hold(
    mut socket: WebSocket,
    number: usize,
    job: Arc<Job>,
    held: Arc<Mutex<Held>>,
) -> Result<Sender, Failed> {
    if let Some(text) = &job.say {
        socket.send(text.replace("%n", &number.to_string())).await?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, socket.recv()).await;
        let closed = || Failed("the server closed the connection instead of an answer to --say".to_owned());
        answer.map_err(|_| Failed("no answer came to --say".to_owned()))??.ok_or_else(closed)?;
    }
    let (sender, receiver) = socket.split();
    tokio::spawn(listen(receiver, held));
    Ok(sender)
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

async fn listen(mut receiver: Receiver, held: Arc<Mutex<Held>>) {
    let ended = loop {
        match receiver.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let mut held = lock(&held);
    if !held.is_over {
        held.ended.add(errors::ending(ended, &receiver));
    }
}

/// The memory that a process has for itself alone.
fn private_bytes(pid: u32) -> Result<u64, String> {
    let explain = |error: std::io::Error| {
        format!(
            "the memory of process {pid} can't be read: {error}; give --pid the server's process, which must run here as this user"
        )
    };
    let find = |text: &str, key: &str| {
        let kib = text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next());
        kib.and_then(|kib| kib.parse::<u64>().ok()).map(|kib| kib << 10)
    };
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    if let Some(bytes) = rollup.ok().and_then(|text| find(&text, "Private_Dirty:")) {
        return Ok(bytes);
    }
    // Of another user's process only this can be read.
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(explain)?;
    find(&status, "RssAnon:").ok_or_else(|| explain(std::io::ErrorKind::Unsupported.into()))
}

fn report(flags: &Flags, tally: &Tally, memory: Memory) -> Report {
    let heading =
        format!("{} connections held for {} s", grouped(flags.connections.into()), flags.hold.as_secs_f64());
    let mut report = Report::new("idle", &flags.target.url, heading);
    report.setting("hold_seconds", flags.hold.as_secs_f64());
    super::report_connections(&mut report, flags.connections as usize, tally.made, &tally.failed);
    report.count("held", "still there at the end", tally.held);
    report.errors(&tally.ended);
    if !tally.took.is_zero() {
        let per_second = tally.made as f64 / tally.took.as_secs_f64();
        report.value("connections_per_second", "connections a second", per_second);
    }
    report.latencies("connecting", "from the first packet to the end of the handshake", &tally.connecting);
    if let (Some((before, few)), Some((after, many))) = (memory.before, memory.after) {
        report.setting("private_bytes_before", before);
        report.setting("private_bytes_after", after);
        if many > few {
            let each = (after as f64 - before as f64) / (many - few) as f64;
            report.value("bytes_per_connection", "bytes a connection", each);
        }
    }
    if tally.made == 0 {
        report.fault("nothing was measured: there was no connection");
    }
    if tally.held < tally.made {
        report.fault(format!("{} connections ended before their time", grouped(tally.made - tally.held)));
    }
    report
}
