//! `switchboard connect`: lines in and out, for people and for scripts.

mod command;
mod conversation;
mod editor;
mod form;
mod layout;
pub(super) mod lines;
mod outbox;
mod show;
mod style;
mod talk;
mod terminal;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::{HeaderName, HeaderValue};

use crate::chat::room_name::RoomName;
use crate::chat::wire::json::SUBPROTOCOL;
use crate::handshake::Url;
use crate::net::Config;
use crate::proto::CloseFrame;

use super::units::parse_duration;
use show::{Format, Screen};
use talk::Talk;

/// The flags of `switchboard connect`.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Flags {
    /// Where to connect, such as ws://127.0.0.1:9001
    url: String,
    /// The user name: sent as the first message. On a terminal it also asks a chat server for rooms, history and more
    #[arg(long)]
    name: Option<String>,
    /// The room to join, if the URL names none: appended as /rooms/ROOM
    #[arg(long, value_parser = parse_room)]
    room: Option<RoomName>,
    /// Another header field for the request, as 'Name: value'
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The Origin to send
    #[arg(long)]
    origin: Option<HeaderValue>,
    /// A subprotocol to offer, the preferred one first
    #[arg(long = "subprotocol", value_name = "PROTOCOL")]
    subprotocols: Vec<String>,
    /// Send each line as a binary message
    #[arg(long)]
    binary: bool,
    /// Show messages as JSON, one a line. Asks a chat server for its JSON form; what is typed may be a request
    #[arg(long, conflicts_with_all = ["raw", "binary"])]
    json: bool,
    /// Connect again whenever the connection is lost, as on a terminal; and if the first attempt fails too
    #[arg(long)]
    reconnect: bool,
    /// How long to go on receiving when the input has ended
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = parse_duration)]
    wait: Duration,
    /// Say on standard error what the server answered and how the connection ended
    #[arg(short, long)]
    verbose: bool,
    /// Write messages as they are, control characters included: never on a terminal with strangers' messages
    #[arg(long)]
    raw: bool,
}

/// Reads `Name: value`.
pub(super) fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let explain = || format!("{text:?} is no header: write 'Name: value'");
    let (name, value) = text.split_once(':').ok_or_else(explain)?;
    let name = name.trim().parse().map_err(|_| explain())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| explain())?;
    Ok((name, value))
}

/// Reads the name of a room.
pub(super) fn parse_room(text: &str) -> Result<RoomName, String> {
    RoomName::parse(text)
        .ok_or_else(|| format!("{text:?} is no room: write 1 to 64 of the characters A-Z a-z 0-9 . _ -"))
}

/// The URL of a room: in front of the query, if there is one.
pub(super) fn with_room(url: &str, room: &RoomName) -> String {
    let (path, query) = url.split_at(url.find('?').unwrap_or(url.len()));
    format!("{}/rooms/{}{query}", path.trim_end_matches('/'), room.as_str())
}

impl Flags {
    /// How messages are written.
    fn format(&self) -> Format {
        match self {
            Self { raw: true, .. } => Format::Raw,
            Self { json: true, .. } => Format::Json,
            _ => Format::Text,
        }
    }

    /// Whether the JSON form is offered though nobody has asked for a subprotocol: on a pipe lines are plain text.
    fn offers_json(&self, is_terminal: bool) -> bool {
        let is_chat = self.name.is_some() && is_terminal && !self.binary && !self.raw;
        self.subprotocols.is_empty() && (is_chat || self.json)
    }

    fn config(&self, is_terminal: bool, offers_json: bool) -> Config {
        let mut config = Config { origin: self.origin.clone(), ..Config::default() };
        config.subprotocols.clone_from(&self.subprotocols);
        if offers_json {
            config.subprotocols.push(SUBPROTOCOL.to_owned());
        }
        if is_terminal {
            // Somebody who looks at it wants to know soon that a connection is dead, and how fast it is.
            config.timeouts.ping_interval = Some(Duration::from_secs(5));
            config.timeouts.silence = Some(Duration::from_secs(15));
        }
        config.headers.extend(self.headers.iter().cloned());
        config
    }

    /// The room that a URL leads to, if it can be seen.
    fn path_room(&self, url: &str) -> Option<String> {
        let path = Url::parse(url).ok()?.path_and_query();
        let path = path.split('?').next().unwrap_or_default();
        RoomName::of_path(path).map(|room| room.as_str().to_owned())
    }
}

/// What `--help` says at its end.
const AFTER_HELP: &str = "\
On a terminal: a line editor, and /help for its commands.
On pipes: lines in, messages out; /quit or the end of the input ends it.

Exit codes:
  0  the connection was closed in order, and everything was sent
  1  it could not be made, was lost, or was closed with an error;
     the name was refused; a text was not delivered
  2  a flag is wrong";

pub(super) fn run(flags: &Flags) -> ExitCode {
    let runtime = match super::runtime(Some(1)) {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("switchboard: the runtime can't start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = match runtime.block_on(talk(flags)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = match error {
                // How it ended was said.
                TalkError::Closed(_) if flags.verbose => {
                    "the server closed the connection with an error".to_owned()
                }
                error => error.to_string(),
            };
            eprintln!("switchboard: {}", lines::printable(&error));
            ExitCode::FAILURE
        }
    };
    // A read of standard input can't be given up: don't wait for it.
    runtime.shutdown_background();
    code
}

async fn talk(flags: &Flags) -> Result<(), TalkError> {
    let url = match &flags.room {
        None => flags.url.clone(),
        Some(room) => with_room(&flags.url, room),
    };
    let is_smart = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let is_terminal = is_smart && io::stdin().is_terminal() && io::stdout().is_terminal();
    let screen = if is_terminal { Screen::terminal()? } else { Screen::pipe() };
    Talk::new(flags, url, screen).run().await
}

/// How a conversation can fail.
#[derive(Debug, thiserror::Error)]
enum TalkError {
    #[error("can't connect to {0}: {1}")]
    Connect(String, String),
    #[error("{0}")]
    Lost(String),
    #[error("the server closed the connection: {0}")]
    Closed(CloseFrame),
    #[error("the name {0:?} was refused: choose another --name")]
    NameRefused(String),
    #[error("{0} of the texts were not delivered, or the server didn't say so")]
    Undelivered(usize),
    #[error("the input can't be read: {0}")]
    Input(io::Error),
    #[error("the input is no text: send it with --binary")]
    NotText,
    #[error("the output can't be written: {0}")]
    Output(io::Error),
}
