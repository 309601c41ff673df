//! `switchboard connect`: lines in and out, for people and for scripts.

pub(super) mod lines;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::{HeaderName, HeaderValue};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Stdout};

use crate::chat::room_name::RoomName;
use crate::chat::wire::plain;
use crate::net::{Config, Connector, Error, WebSocket};
use crate::proto::{CloseCode, CloseFrame, Message, Utf8Bytes};

use super::units::parse_duration;

/// The flags of `switchboard connect`.
#[derive(Args)]
pub(super) struct Flags {
    /// Where to connect, such as ws://127.0.0.1:9001
    url: String,
    /// The user name: sent as the first message
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

/// Exit codes for scripts: 0 closed in order, 1 anything else (what is wrong with the flags is clap's 2).
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
            eprintln!("switchboard: {}", lines::printable(&error));
            ExitCode::FAILURE
        }
    };
    // A read of standard input can't be given up: don't wait for it.
    runtime.shutdown_background();
    code
}

/// How a conversation can fail.
#[derive(Debug, thiserror::Error)]
enum TalkError {
    #[error(transparent)]
    Connection(#[from] Error),
    #[error("the name {0:?} was refused: choose another --name")]
    NameRefused(String),
    #[error("the input can't be read: {0}")]
    Input(io::Error),
    #[error("the input is no text: send it with --binary")]
    NotText,
    #[error("the output can't be written: {0}")]
    Output(io::Error),
}

async fn talk(flags: &Flags) -> Result<(), String> {
    let url = match &flags.room {
        None => flags.url.clone(),
        Some(room) => with_room(&flags.url, room),
    };
    let mut config = Config {
        subprotocols: flags.subprotocols.clone(),
        origin: flags.origin.clone(),
        ..Config::default()
    };
    config.headers.extend(flags.headers.iter().cloned());
    let (mut ws, response) = Connector::new(config)
        .connect(&url)
        .await
        .map_err(|error| format!("can't connect to {url}: {error}"))?;
    if flags.verbose {
        eprintln!("connected: {} {}", response.status(), lines::describe(ws.negotiated()));
    }
    if let Some(name) = &flags.name {
        introduce(&mut ws, name, flags).await.map_err(|error| error.to_string())?;
    }
    let ended = converse(&mut ws, flags).await;
    if flags.verbose {
        match (&ended, ws.close_frame()) {
            (Err(error), _) => eprintln!("ended: {error}"),
            (Ok(()), Some(frame)) => eprintln!("ended: closed with {}", lines::printable(&frame.to_string())),
            (Ok(()), None) => eprintln!("ended: closed without a code"),
        }
    }
    ended.map_err(|error| error.to_string())?;
    match ws.close_frame().map(CloseFrame::code) {
        None | Some(CloseCode::NORMAL | CloseCode::GOING_AWAY) => Ok(()),
        Some(_) if flags.verbose => Err("the server closed the connection with an error".into()),
        Some(_) => {
            Err(format!("the server closed the connection: {}", ws.close_frame().expect("it has a code")))
        }
    }
}

/// Gives the name and waits for the answer. Who reads a refusal on a terminal can type another name; but a script's
/// first line must not become one.
async fn introduce(ws: &mut WebSocket, name: &str, flags: &Flags) -> Result<(), TalkError> {
    ws.send(name).await?;
    let Ok(answer) = tokio::time::timeout(ANSWER_TIMEOUT, ws.recv()).await else { return Ok(()) };
    // Without one it has closed, and the conversation ends before it begins.
    let Some(answer) = answer? else { return Ok(()) };
    show(&mut tokio::io::stdout(), &answer, flags).await?;
    if answer.as_text().is_some_and(plain::is_error) && !io::stdin().is_terminal() {
        // It is refused whatever becomes of the connection.
        let _ = ws.close(None).await;
        return Err(TalkError::NameRefused(name.to_owned()));
    }
    Ok(())
}

/// How long the lines wait for an answer to the name: some servers know no names.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends what is typed and shows what comes, until one of the two ends.
async fn converse(ws: &mut WebSocket, flags: &Flags) -> Result<(), TalkError> {
    let mut input = BufReader::new(tokio::io::stdin()).split(b'\n');
    let mut output = tokio::io::stdout();
    let sender = ws.sender();
    loop {
        // No line is taken before there is room for it: who waits to send and doesn't receive meanwhile may wait
        // for a server that does the same.
        let next_line = async {
            sender.room().await?;
            input.next_segment().await.map_err(TalkError::Input)
        };
        tokio::select! {
            message = ws.recv() => match message? {
                Some(message) => show(&mut output, &message, flags).await?,
                None => return Ok(ws.close(None).await?),
            },
            line = next_line => match line? {
                Some(line) if line.trim_ascii() == b"/quit" => break,
                Some(line) => ws.send(message(line, flags)?).await?,
                None => {
                    receive_for(ws, flags, &mut output).await?;
                    break;
                }
            },
        }
    }
    // What is still on its way when we leave is shown too.
    if !sender.is_closed() {
        sender.close(CloseFrame::from(CloseCode::NORMAL))?;
    }
    while let Some(message) = ws.recv().await? {
        show(&mut output, &message, flags).await?;
    }
    Ok(ws.close(None).await?)
}

/// A line as a message.
fn message(mut line: Vec<u8>, flags: &Flags) -> Result<Message, TalkError> {
    if flags.binary {
        return Ok(Message::binary(line));
    }
    if line.ends_with(b"\r") {
        line.pop();
    }
    Utf8Bytes::try_from(line).map(Message::Text).map_err(|_| TalkError::NotText)
}

/// The input has ended: shows what comes for a while.
async fn receive_for(ws: &mut WebSocket, flags: &Flags, output: &mut Stdout) -> Result<(), TalkError> {
    let end = tokio::time::Instant::now() + flags.wait;
    while let Ok(message) = tokio::time::timeout_at(end, ws.recv()).await {
        match message? {
            Some(message) => show(output, &message, flags).await?,
            None => break,
        }
    }
    Ok(())
}

async fn show(output: &mut Stdout, message: &Message, flags: &Flags) -> Result<(), TalkError> {
    let line = match message {
        message if flags.raw => message.as_bytes().to_vec(),
        Message::Text(text) => lines::printable(text).into_bytes(),
        Message::Binary(bytes) => format!("({} bytes of binary data)", bytes.len()).into_bytes(),
    };
    let write = async {
        output.write_all(&line).await?;
        output.write_all(b"\n").await?;
        output.flush().await
    };
    write.await.map_err(TalkError::Output)
}
