//! `switchboard bench`: a load for any WebSocket server, by schedule, and what it finds.

mod alarm;
mod arrivals;
mod crew;
mod echo;
mod errors;
mod fanout;
mod idle;
mod lane;
mod latency;
mod progress;
mod report;
mod schedule;
mod stamp;
mod target;

use std::process::ExitCode;

use clap::Subcommand;

use report::Report;

/// What to measure.
#[derive(Subcommand)]
pub(super) enum Bench {
    /// How fast messages come back: any server that echoes
    #[command(after_help = echo::HELP)]
    Echo(echo::Flags),
    /// How fast messages reach a whole room: the chat, or any server that passes messages on to all others
    #[command(after_help = fanout::HELP)]
    Fanout(fanout::Flags),
    /// How many connections a server holds, and what each costs it in memory
    #[command(after_help = idle::HELP)]
    Idle(idle::Flags),
}

/// Exit codes for scripts: 0 measured and nothing was lost, 1 anything else (wrong flags are clap's 2).
pub(super) fn run(bench: &Bench) -> ExitCode {
    raise_file_limit();
    let (as_json, found) = match bench {
        Bench::Echo(flags) => (flags.target.json, echo::run(flags)),
        Bench::Fanout(flags) => (flags.target.json, fanout::run(flags)),
        Bench::Idle(flags) => (flags.target.json, idle::run(flags)),
    };
    match found {
        Ok(report) => report.print(as_json),
        Err(error) => {
            eprintln!("switchboard: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Takes as many open files as the system gives without being asked: each connection is one.
fn raise_file_limit() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        // Whoever needs more than there are is told so then.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// The rows on connections, which every benchmark has.
fn report_connections(report: &mut Report, wanted: usize, made: u64, errors: &errors::Errors) {
    report.setting("connections_wanted", wanted);
    report.count("connections", "connections", made);
    if made < wanted as u64 {
        let missing = report::grouped(wanted as u64 - made);
        report
            .fault(format!("{missing} of {} connections could not be made", report::grouped(wanted as u64)));
    }
    report.errors(errors);
}
