//! What a delivery costs when one room's messages go to all its members: ours against a bare epoll loop.
//!
//! `cargo bench --bench fanout --features cli`. Each server has one thread on one core; its members and the publisher
//! are a process on the other. Messages are said one at a time, or in bursts, each when all members have heard the
//! one before. A window of each server's makes a round, every other round in the other order; printed are the CPU
//! time that a delivery costs the server and the median of its latency, as ratios to the bare loop's, with their 95 %
//! intervals. `FANOUT_ROUNDS` and `FANOUT_CELLS` (`100x1,1000x8`: members x burst) change what is measured.
//! `FANOUT_ALSO=NAME=PROGRAM` measures another chat server in the same rounds: one that says on its first line where
//! it listens, such as `classic` in `benches/peers`.

#[path = "load/files.rs"]
mod files;
mod load;
mod room;

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use load::Server;
use room::members::{self, Door};

/// Members, and messages at once.
const CELLS: &str = "100x1,100x16,1000x1,1000x8,10000x1,10000x4";

const WINDOW: Duration = Duration::from_millis(300);

/// Files that either process opens besides its connections, generously.
const OTHER_FILES: usize = 100;

fn main() -> io::Result<()> {
    if std::env::var_os("FANOUT_RAW_SERVER").is_some() {
        return room::raw::serve();
    }
    if let Ok(order) = std::env::var("FANOUT_MEMBERS") {
        let [address, count, door] = order.split(' ').collect::<Vec<_>>()[..] else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let door = if door == "raw" { Door::Raw } else { Door::Chat };
        return members::run(address, count.parse().map_err(io::Error::other)?, door);
    }
    // `cargo test --benches` only checks that it runs.
    let is_check = !std::env::args().any(|arg| arg == "--bench");
    if is_check {
        return room_of(5, &[2], 1);
    }
    if std::env::var_os(files::LIFTED).is_none() {
        let status = files::again_with_more()?;
        std::process::exit(status.code().unwrap_or(1));
    }
    let rounds = std::env::var("FANOUT_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let cells = std::env::var("FANOUT_CELLS").unwrap_or_else(|_| CELLS.to_owned());
    let cells = cells.split(',').map(parse_cell).collect::<io::Result<Vec<_>>>()?;
    println!(
        "members × burst, server: µs of CPU a delivery, median latency in ms; and their ratios to the bare loop's"
    );
    for cells in cells.chunk_by(|(one, _), (other, _)| one == other) {
        let members = cells[0].0;
        let bursts: Vec<_> = cells.iter().map(|&(_, burst)| burst).collect();
        if members + OTHER_FILES > files::most()? {
            println!("{members:>6} members need as many open files: raise the hard limit (ulimit -H -n)");
        } else {
            room_of(members, &bursts, rounds)?;
        }
    }
    Ok(())
}

/// Reads `1000x8`.
fn parse_cell(cell: &str) -> io::Result<(usize, usize)> {
    let explain = || io::Error::other(format!("{cell:?} is no cell: write members x burst, such as 1000x8"));
    let (members, burst) = cell.split_once('x').ok_or_else(explain)?;
    Ok((members.parse().map_err(|_| explain())?, burst.parse().map_err(|_| explain())?))
}

/// A server with its room, and what was measured of it.
struct Contestant {
    name: String,
    server: Server,
    members: Members,
    costs: Vec<f64>,
    latencies: Vec<f64>,
}

impl Contestant {
    fn start(name: &str, command: Command, members: usize, door: &str) -> io::Result<Self> {
        let server = Server::start(command, door != "raw")?;
        let members = Members::start(&format!("{} {members} {door}", server.address()))?;
        Ok(Self { name: name.to_owned(), server, members, costs: Vec::new(), latencies: Vec::new() })
    }

    fn window(&mut self, burst: usize) -> io::Result<()> {
        // The first messages after a pause find cold caches, everybody's.
        self.members.window(burst, WINDOW / 6)?;
        let before = self.server.cpu();
        let (deliveries, latency) = self.members.window(burst, WINDOW)?;
        self.costs.push((self.server.cpu() - before) * 1e6 / deliveries);
        self.latencies.push(latency);
        Ok(())
    }

    fn forget(&mut self) {
        self.costs.clear();
        self.latencies.clear();
    }
}

/// Measures one size of room, with each size of burst.
fn room_of(members: usize, bursts: &[usize], rounds: usize) -> io::Result<()> {
    let mut contestants = vec![
        Contestant::start("bare loop", bare_loop()?, members, "raw")?,
        Contestant::start("switchboard", switchboard(), members, "chat")?,
    ];
    if let Some((name, program)) =
        std::env::var("FANOUT_ALSO").ok().as_deref().and_then(|also| also.split_once('='))
    {
        contestants.push(Contestant::start(name, load::pinned(program), members, "chat")?);
    }
    for &burst in bursts {
        for round in 0..rounds {
            for at in 0..contestants.len() {
                let at = if round % 2 == 0 { at } else { contestants.len() - 1 - at };
                contestants[at].window(burst)?;
            }
        }
        print(&mut contestants, members, burst);
    }
    Ok(())
}

/// Prints what was measured, and forgets it.
fn print(contestants: &mut [Contestant], members: usize, burst: usize) {
    let (limit, others) = contestants.split_first_mut().expect("the bare loop is the first");
    println!("{members:>6} × {burst:<3} {}", summary(limit));
    for other in others {
        let costs = ratios(&other.costs, &limit.costs);
        let latencies = ratios(&other.latencies, &limit.latencies);
        println!("{:>12} {}  CPU × {costs}  p50 × {latencies}", "", summary(other));
        other.forget();
    }
    limit.forget();
}

fn summary(of: &Contestant) -> String {
    let median = |values: &[f64]| load::median(&mut values.to_vec());
    format!("{:<12} {:>7.3} µs {:>8.3} ms", of.name, median(&of.costs), median(&of.latencies) / 1e6)
}

/// The median of the paired ratios and its interval.
fn ratios(of: &[f64], limit: &[f64]) -> String {
    let mut ratios: Vec<f64> = of.iter().zip(limit).map(|(of, limit)| of / limit).collect();
    let (low, high) = load::interval(&mut ratios);
    format!("{:.2} ({low:.2}–{high:.2})", load::median(&mut ratios))
}

fn switchboard() -> Command {
    let mut command = load::pinned(env!("CARGO_BIN_EXE_switchboard"));
    // No limits and no heartbeats: only deliveries are measured.
    command.args([
        "chat",
        "--listen",
        "127.0.0.1:0",
        "--threads",
        "1",
        "--rate-messages",
        "0",
        "--rate-bytes",
        "0",
    ]);
    command.args(["--ping-interval", "0s", "--pong-timeout", "0s", "--queue-bytes", "16MiB"]);
    command.stderr(Stdio::null());
    command
}

fn bare_loop() -> io::Result<Command> {
    let mut command = load::pinned(std::env::current_exe()?);
    command.env("FANOUT_RAW_SERVER", "1");
    Ok(command)
}

/// The process that the members are in.
struct Members {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Members {
    /// Starts it; all are in when this returns.
    fn start(order: &str) -> io::Result<Self> {
        let mut command = load::pinned_to("1", std::env::current_exe()?);
        command.env("FANOUT_MEMBERS", order).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let orders = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut members = Self { child, orders, answers };
        members.answer()?;
        Ok(members)
    }

    /// Deliveries, and the median of their latencies in nanoseconds.
    fn window(&mut self, burst: usize, duration: Duration) -> io::Result<(f64, f64)> {
        writeln!(self.orders, "{burst} {}", duration.as_millis())?;
        let answer = self.answer()?;
        let (deliveries, latency) = answer.split_once(' ').ok_or(io::ErrorKind::InvalidData)?;
        let number = |text: &str| text.parse::<f64>().map_err(io::Error::other);
        Ok((number(deliveries)?, number(latency)?))
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err(io::Error::other("the members' process has ended")),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
