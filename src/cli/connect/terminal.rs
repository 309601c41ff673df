//! A terminal with a line editor at its foot: what comes is printed above the prompt, which stays where it is.
//!
//! It never leaves the normal screen, reports no mouse and sets no title.

use std::future::poll_fn;
use std::io::{self, Write};
use std::pin::Pin;

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste, Event, EventStream, KeyEventKind};
use crossterm::terminal;
use futures_core::Stream;

use super::command;
use super::editor::{Editor, Typed};
use super::layout::Layout;
use super::style::{Style, wrap};

/// The terminal of our standard input and output, in raw mode as long as this lives.
pub(super) struct Terminal {
    keys: EventStream,
    editor: Editor,
    prompt: String,
    words: Vec<String>,
    style: Style,
    /// Columns and rows.
    size: (usize, usize),
    /// What is on the screen of the line.
    drawn: Layout,
}

/// What a terminal is taken for that doesn't say how large it is.
const USUAL_SIZE: (u16, u16) = (80, 24);

impl Terminal {
    /// Takes over the terminal.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn open() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let mut terminal = Self {
            keys: EventStream::new(),
            editor: Editor::default(),
            prompt: String::new(),
            words: command::names().map(str::to_owned).collect(),
            style: Style::of_environment(),
            size: size(),
            drawn: Layout::default(),
        };
        // Whatever fails from here on, the terminal is given back.
        crossterm::execute!(io::stdout(), EnableBracketedPaste)?;
        terminal.draw("")?;
        Ok(terminal)
    }

    pub(super) fn style(&self) -> Style {
        self.style
    }

    /// How many columns a line may have.
    pub(super) fn columns(&self) -> usize {
        self.size.0.saturating_sub(1)
    }

    /// Sets what stands in front of the line.
    pub(super) fn set_prompt(&mut self, prompt: &str) -> io::Result<()> {
        if self.prompt == prompt {
            return Ok(());
        }
        prompt.clone_into(&mut self.prompt);
        self.draw("")
    }

    /// Sets what Tab completes to, besides commands.
    pub(super) fn set_words(&mut self, words: Vec<String>) {
        self.words = command::names().map(str::to_owned).chain(words).collect();
    }

    /// Prints lines above the prompt.
    ///
    /// They go to the terminal as they are.
    pub(super) fn print(&mut self, lines: &str) -> io::Result<()> {
        let lines = lines.replace('\n', "\r\n");
        self.draw(&format!("{lines}\r\n"))
    }

    /// Waits for the next line, or for whatever else the user wants. Lines stay on the screen.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> io::Result<Typed> {
        loop {
            let event = poll_fn(|cx| Pin::new(&mut self.keys).poll_next(cx)).await;
            let typed = match event {
                None => return Ok(Typed::Leave),
                Some(Err(error)) => return Err(error),
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                    self.editor.on_key(key, &self.words)
                }
                Some(Ok(Event::Paste(text))) => {
                    self.editor.on_paste(&text);
                    Typed::Changed
                }
                Some(Ok(Event::Resize(..))) => Typed::Changed,
                Some(Ok(_)) => continue,
            };
            match typed {
                Typed::Changed => self.draw("")?,
                Typed::Clear => {
                    self.drawn = Layout::default();
                    self.draw("\x1b[H\x1b[2J")?;
                }
                Typed::Line(line) => {
                    self.print(&self.committed(&line))?;
                    return Ok(Typed::Line(line));
                }
                Typed::Suspend => self.suspend()?,
                Typed::Leave => return Ok(Typed::Leave),
            }
        }
    }

    /// A line that was typed, as it stays on the screen.
    fn committed(&self, line: &str) -> String {
        let whole = wrap(&super::lines::printable(&format!("{}{line}", self.prompt)), self.columns());
        match whole.strip_prefix(&self.prompt) {
            Some(rest) => format!("{}{rest}", self.style.dim(&self.prompt)),
            None => whole,
        }
    }

    /// Looks how large the terminal is. An event says so, but one that comes together with a key is lost.
    fn measure(&mut self) {
        let size = size();
        if self.size != size {
            self.size = size;
            // Most terminals break the rows anew.
            self.drawn.cursor.0 = self.drawn.cursor_row_at(size.0);
        }
    }

    /// Takes the line off the screen, writes `above`, and draws the line anew, all at once.
    fn draw(&mut self, above: &str) -> io::Result<()> {
        self.measure();
        let (text, cursor) = self.editor.text();
        let layout = Layout::new(&self.prompt, text, cursor, self.size);
        let mut bytes = String::new();
        if self.drawn.cursor.0 > 0 {
            bytes.push_str(&format!("\x1b[{}A", self.drawn.cursor.0));
        }
        bytes.push_str("\r\x1b[J");
        bytes.push_str(above);
        bytes.push_str(&self.style.dim(&layout.prompt));
        bytes.push_str(&layout.rows.join("\r\n"));
        let below = layout.rows.len() - 1 - layout.cursor.0;
        if below > 0 {
            bytes.push_str(&format!("\x1b[{below}A"));
        }
        bytes.push('\r');
        if layout.cursor.1 > 0 {
            bytes.push_str(&format!("\x1b[{}C", layout.cursor.1));
        }
        self.drawn = layout;
        let mut out = io::stdout().lock();
        out.write_all(bytes.as_bytes())?;
        out.flush()
    }

    /// Gives the terminal back to the shell, until the shell continues us.
    fn suspend(&mut self) -> io::Result<()> {
        #[cfg(unix)]
        {
            crossterm::execute!(io::stdout(), DisableBracketedPaste)?;
            terminal::disable_raw_mode()?;
            println!("\r");
            signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGTSTP)?;
            terminal::enable_raw_mode()?;
            crossterm::execute!(io::stdout(), EnableBracketedPaste)?;
            self.drawn = Layout::default();
        }
        self.draw("")
    }

    /// Takes the line off the screen: nothing is typed any more.
    fn wipe(&mut self) {
        self.prompt.clear();
        self.editor = Editor::default();
        // If it can't be written to, nobody sees it.
        let _ = self.draw("");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.wipe();
        let _ = crossterm::execute!(io::stdout(), DisableBracketedPaste);
        let _ = terminal::disable_raw_mode();
    }
}

fn size() -> (usize, usize) {
    let (columns, rows) =
        terminal::size().ok().filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or(USUAL_SIZE);
    (usize::from(columns), usize::from(rows))
}
