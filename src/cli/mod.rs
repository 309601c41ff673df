//! The command line: flags read, configuration built, a server called.

mod access;
mod bench;
mod chat;
mod config;
mod connect;
mod echo;
mod units;

use std::process::ExitCode;

use crate::server::listener;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// A WebSocket chat server, echo server and client.
#[derive(Parser)]
#[command(name = "switchboard", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Echo every message: what conformance tests and benchmarks run against
    Echo(echo::Flags),
    /// Serve the chat: whoever connects gives a name and talks
    Chat(Box<chat::Flags>),
    /// Connect to a WebSocket server: lines in, messages out
    Connect(connect::Flags),
    /// Put a WebSocket server under load, and measure it
    #[command(subcommand)]
    Bench(bench::Bench),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let command = match config::parse::<Cli>(std::env::args_os()) {
        Ok(config::Parsed::Run(cli)) => cli.command,
        Ok(config::Parsed::Print(settings)) => {
            use std::io::Write;
            // Whoever reads it may have closed its end of the pipe.
            let _ = write!(std::io::stdout(), "{settings}");
            return ExitCode::SUCCESS;
        }
        Err(config::Failure::CommandLine(error)) => error.exit(),
        Err(config::Failure::File(error)) => {
            eprintln!("switchboard: {error}");
            // As for a wrong flag.
            return ExitCode::from(2);
        }
    };
    let result = match command {
        Command::Echo(flags) => echo::run(flags),
        Command::Chat(flags) => chat::run(*flags),
        Command::Connect(flags) => return connect::run(&flags),
        Command::Bench(bench) => return bench::run(&bench),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("switchboard: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A runtime of `threads` workers; one thread is a runtime of its own.
fn runtime(threads: Option<usize>) -> std::io::Result<tokio::runtime::Runtime> {
    match threads {
        Some(1) => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        Some(threads) => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads.max(1)).enable_all().build()
        }
        None => tokio::runtime::Builder::new_multi_thread().enable_all().build(),
    }
}

/// How a server logs: to standard error, as much as `RUST_LOG` says.
#[derive(Args)]
struct Logging {
    /// How to write the log, which goes to standard error; RUST_LOG says how much of it
    #[arg(long, env = "SWITCHBOARD_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Logging {
    /// Starts the log; `default` is how much there is of it unless `RUST_LOG` says something else.
    fn start(&self, default: &str) {
        let filter = tracing_subscriber::EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => log.init(),
            LogFormat::Json => log.json().init(),
        }
    }
}

/// Listens, or says why that can't be and what to do about it.
fn listen(address: std::net::SocketAddr) -> Result<tokio::net::TcpListener, String> {
    listener::listen(address).map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; choose another with --listen, such as 127.0.0.1:0 for a free one"
            }
            std::io::ErrorKind::PermissionDenied => "; choose a port from 1024 on with --listen",
            std::io::ErrorKind::AddrNotAvailable => "; choose an address of this machine with --listen",
            _ => "",
        };
        format!("can't listen on {address}: {error}{advice}")
    })
}

/// Says on standard output where the server listens.
fn announce(listener: &tokio::net::TcpListener) -> Result<std::net::SocketAddr, String> {
    use std::io::Write;
    let address = listener.local_addr().map_err(|error| format!("the listener has no address: {error}"))?;
    // Whoever started us may have closed its end of the pipe: the server serves all the same.
    let _ = writeln!(std::io::stdout(), "listening on ws://{address}");
    let _ = std::io::stdout().flush();
    Ok(address)
}

/// SIGTERM and SIGINT, none of which is lost from now on.
///
/// Made before anybody is told that we listen: whoever knows that may stop us.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn catch() -> Result<Self, String> {
        use tokio::signal::unix::{SignalKind, signal};
        let catch = |kind| signal(kind).map_err(|error| format!("signals can't be caught: {error}"));
        Ok(Self { terminate: catch(SignalKind::terminate())?, interrupt: catch(SignalKind::interrupt())? })
    }

    #[cfg(not(unix))]
    fn catch() -> Result<Self, String> {
        Ok(Self {})
    }

    /// Waits for the next one.
    #[cfg(unix)]
    async fn stopped(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn stopped(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
