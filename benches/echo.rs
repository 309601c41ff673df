//! What an echoed message costs the server: ours against a raw tokio TCP echo of the same bytes.
//!
//! `cargo bench --bench echo --features cli`. Both servers are processes with one thread on one core, the load comes
//! from the other. A window of ours and one of the raw echo make a pair; of each cell 20 pairs are measured in turn,
//! and the median of their ratios of CPU time a message is printed with its 95 % interval. `ECHO_ROUNDS` and
//! `ECHO_CELLS` (`16x1,125x16`: bytes x depth) change what is measured.

mod load;

use std::io;

use load::{DEPTHS, Load, SIZES, Server};

fn main() -> io::Result<()> {
    if std::env::var_os("ECHO_RAW_SERVER").is_some() {
        return load::raw_server();
    }
    // `cargo test --benches` only checks that it runs.
    let is_check = !std::env::args().any(|arg| arg == "--bench");
    let rounds = if is_check {
        1
    } else {
        std::env::var("ECHO_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20)
    };
    let chosen = std::env::var("ECHO_CELLS").ok();
    let ours = ours()?;
    let raw = raw()?;
    println!(
        "{:>7} {:>5}  {:>10} {:>10}  {:>6}  95 % interval",
        "bytes", "depth", "ours µs", "raw µs", "ratio"
    );
    for size in SIZES {
        for depth in DEPTHS {
            let name = format!("{size}x{depth}");
            let is_chosen = chosen.as_ref().is_none_or(|chosen| chosen.split(',').any(|cell| cell == name));
            if is_chosen && (!is_check || size == 125) {
                cell(&ours, &raw, size, depth, rounds)?;
            }
        }
    }
    Ok(())
}

fn cell(ours: &Server, raw: &Server, size: usize, depth: usize, rounds: usize) -> io::Result<()> {
    let our_load = Load::start(ours, size, depth)?;
    let raw_load = Load::start(raw, size, depth)?;
    let (mut ratios, mut our_costs, mut raw_costs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        // Every other round the other one goes first.
        let (our_cost, raw_cost) = if round % 2 == 0 {
            let our_cost = our_load.window(ours);
            (our_cost, raw_load.window(raw))
        } else {
            let raw_cost = raw_load.window(raw);
            (our_load.window(ours), raw_cost)
        };
        ratios.push(our_cost / raw_cost);
        our_costs.push(our_cost);
        raw_costs.push(raw_cost);
    }
    our_load.stop();
    raw_load.stop();
    let (low, high) = load::interval(&mut ratios);
    println!(
        "{size:>7} {depth:>5}  {:>10.3} {:>10.3}  {:>6.3}  {low:.3}–{high:.3}",
        load::median(&mut our_costs),
        load::median(&mut raw_costs),
        load::median(&mut ratios),
    );
    Ok(())
}

fn ours() -> io::Result<Server> {
    let mut command = load::pinned(env!("CARGO_BIN_EXE_switchboard"));
    command.args(["echo", "--listen", "127.0.0.1:0", "--threads", "1"]);
    Server::start(command, true)
}

fn raw() -> io::Result<Server> {
    let mut command = load::pinned(std::env::current_exe()?);
    command.env("ECHO_RAW_SERVER", "1");
    Server::start(command, false)
}
