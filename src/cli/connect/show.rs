//! What is shown, and where: on a terminal above the prompt, on a pipe as lines.
//!
//! All that others wrote passes through `lines` here, and nowhere else reaches an output.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Split, Stdin, Stdout};

use crate::chat::wire::plain;
use crate::proto::Message;

use super::TalkError;
use super::editor::Typed;
use super::lines;
use super::style::{Style, wrap};
use super::terminal::Terminal;

/// Something to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// What somebody said, and where, if it isn't where one looks.
    Said { room: String, from: String, text: String },
    /// What the server tells.
    System(String),
    /// What we tell: how the connection is.
    Note(String),
    /// What went wrong.
    Alarm(String),
}

impl Shown {
    /// How long there and back took.
    pub(super) fn round_trip(time: Duration) -> Self {
        Self::Note(format!("there and back in {:.1} ms", time.as_secs_f64() * 1000.0))
    }
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Text,
    /// As they came, one a line; what a terminal would act on is escaped.
    Json,
    /// As they came.
    Raw,
}

/// Where somebody types and reads.
pub(super) enum Screen {
    Pipe { input: Split<BufReader<Stdin>>, output: Stdout },
    Terminal(Box<Terminal>),
}

/// What somebody entered.
#[derive(Debug)]
pub(super) enum Entered {
    Line(Vec<u8>),
    /// There is no more input.
    End,
    /// Somebody wants to leave.
    Leave,
}

impl Screen {
    /// Lines in and out.
    pub(super) fn pipe() -> Self {
        let input = BufReader::new(tokio::io::stdin()).split(b'\n');
        Self::Pipe { input, output: tokio::io::stdout() }
    }

    /// The terminal, with a line editor.
    pub(super) fn terminal() -> Result<Self, TalkError> {
        Terminal::open().map(|terminal| Self::Terminal(Box::new(terminal))).map_err(TalkError::Output)
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// Waits for what is entered next.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Entered, TalkError> {
        match self {
            Self::Pipe { input, .. } => {
                let line = input.next_segment().await.map_err(TalkError::Input)?;
                Ok(line.map_or(Entered::End, Entered::Line))
            }
            Self::Terminal(terminal) => match terminal.next().await.map_err(TalkError::Input)? {
                Typed::Line(line) => Ok(Entered::Line(line.into_bytes())),
                _ => Ok(Entered::Leave),
            },
        }
    }

    /// Shows a message as the other side sent it.
    pub(super) async fn message(&mut self, message: &Message, format: Format) -> Result<(), TalkError> {
        let text = match (format, message) {
            (Format::Raw, message) => match self {
                Self::Pipe { output, .. } => return write(output, message.as_bytes()).await,
                Self::Terminal(_) => String::from_utf8_lossy(message.as_bytes()).into_owned(),
            },
            (_, Message::Binary(bytes)) => format!("({} bytes of binary data)", bytes.len()),
            (Format::Json, Message::Text(text)) => lines::escaped_json(text),
            (Format::Text, Message::Text(text)) => match self {
                Self::Pipe { .. } => lines::printable(text),
                Self::Terminal(terminal) => painted(terminal, text),
            },
        };
        self.write(&text).await
    }

    /// Shows something; on a pipe what is no message goes to standard error.
    pub(super) async fn show(&mut self, shown: &Shown) -> Result<(), TalkError> {
        let text = match self {
            Self::Pipe { .. } => match shown {
                Shown::Said { room, from, text } => lines::printable(&format!("{room}[{from}] {text}")),
                Shown::System(text) => lines::printable(&format!("[system] {text}")),
                Shown::Note(text) | Shown::Alarm(text) => {
                    eprintln!("switchboard: {}", lines::printable(text));
                    return Ok(());
                }
            },
            Self::Terminal(terminal) => {
                let style = terminal.style();
                let wrapped = |text: &str| wrap(&lines::printable(text), terminal.columns());
                match shown {
                    Shown::Said { room, from, text } => {
                        let text = wrapped(&format!("{room}[{from}] {text}"));
                        colour_name(style, &lines::inline(room), &lines::inline(from), text)
                    }
                    Shown::System(text) | Shown::Note(text) => style.dim(&wrapped(&format!("* {text}"))),
                    Shown::Alarm(text) => style.alarm(&wrapped(&format!("! {text}"))),
                }
            }
        };
        self.write(&text).await
    }

    /// Sets what the line can be completed to, besides commands.
    pub(super) fn set_words(&mut self, words: Vec<String>) {
        if let Self::Terminal(terminal) = self {
            terminal.set_words(words);
        }
    }

    /// Sets what stands in front of the line.
    pub(super) fn set_prompt(&mut self, prompt: &str) -> Result<(), TalkError> {
        let Self::Terminal(terminal) = self else { return Ok(()) };
        terminal.set_prompt(&lines::inline(prompt)).map_err(TalkError::Output)
    }

    async fn write(&mut self, text: &str) -> Result<(), TalkError> {
        match self {
            Self::Pipe { output, .. } => write(output, text.as_bytes()).await,
            Self::Terminal(terminal) => terminal.print(text).map_err(TalkError::Output),
        }
    }
}

/// A message of the plain form, wrapped and in colours.
fn painted(terminal: &Terminal, text: &str) -> String {
    let style = terminal.style();
    let shown = wrap(&lines::printable(text), terminal.columns());
    if plain::is_error(text) {
        return style.alarm(&shown);
    }
    let name = text.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map(|(name, _)| name);
    match name {
        Some("system") => style.dim(&shown),
        Some(name) => colour_name(style, "", &lines::inline(name), shown),
        None => shown,
    }
}

/// Gives the name at the beginning its colour.
fn colour_name(style: Style, room: &str, name: &str, text: String) -> String {
    let bracketed = format!("[{name}]");
    match text.strip_prefix(room).and_then(|rest| rest.strip_prefix(&bracketed)) {
        Some(rest) => format!("{}{}{rest}", style.dim(room), style.name(name, &bracketed)),
        // The name alone is wider than the terminal.
        None => text,
    }
}

async fn write(output: &mut Stdout, line: &[u8]) -> Result<(), TalkError> {
    let write = async {
        output.write_all(line).await?;
        output.write_all(b"\n").await?;
        output.flush().await
    };
    write.await.map_err(|error: io::Error| TalkError::Output(error))
}
