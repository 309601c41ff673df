//! The line that is being typed: keys in, a line out. It knows no terminal.

use std::collections::VecDeque;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use unicode_segmentation::UnicodeSegmentation;

/// A line in the making, and those before it.
#[derive(Debug, Default)]
pub(super) struct Editor {
    text: String,
    /// In bytes, between two graphemes.
    cursor: usize,
    history: VecDeque<String>,
    /// Which line of the history is shown, and what stood there before.
    recalled: Option<(usize, String)>,
    /// What was cut last.
    killed: String,
    completion: Option<Completion>,
}

/// What Tab goes through.
#[derive(Debug)]
struct Completion {
    start: usize,
    candidates: Vec<String>,
    next: usize,
}

/// What a key led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// The line may look different.
    Changed,
    /// A line is done.
    Line(String),
    /// The user wants to leave.
    Leave,
    /// The user wants to see the shell.
    Suspend,
    /// The user wants an empty screen.
    Clear,
}

/// How many lines are remembered.
const MAX_HISTORY: usize = 500;

/// The longest line; what is typed or pasted beyond it is dropped.
const MAX_BYTES: usize = 64 << 10;

impl Editor {
    /// What is typed so far, and how many bytes of it are in front of the cursor.
    pub(super) fn text(&self) -> (&str, usize) {
        (&self.text, self.cursor)
    }

    /// Takes a key. `words` are what Tab completes to.
    pub(super) fn on_key(&mut self, key: KeyEvent, words: &[String]) -> Typed {
        if key.code == KeyCode::Tab {
            self.complete(words);
            return Typed::Changed;
        }
        self.completion = None;
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        let is_alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Enter if is_alt => self.insert("\n"),
            KeyCode::Enter => return self.enter(),
            KeyCode::Char(letter) if is_control && !is_alt => return self.on_control(letter),
            KeyCode::Char(letter) if is_alt && !is_control => self.on_alt(letter),
            KeyCode::Char(letter) => self.insert(letter.encode_utf8(&mut [0; 4])),
            KeyCode::Backspace if is_alt || is_control => self.kill_to(self.word_left()),
            KeyCode::Backspace => self.delete(self.left(), self.cursor),
            KeyCode::Delete => self.delete(self.cursor, self.right()),
            KeyCode::Left if is_control || is_alt => self.cursor = self.word_left(),
            KeyCode::Right if is_control || is_alt => self.cursor = self.word_right(),
            KeyCode::Left => self.cursor = self.left(),
            KeyCode::Right => self.cursor = self.right(),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            KeyCode::Up => self.recall(Direction::Back),
            KeyCode::Down => self.recall(Direction::Forward),
            _ => {}
        }
        Typed::Changed
    }

    fn on_control(&mut self, letter: char) -> Typed {
        match letter {
            'c' if self.text.is_empty() => return Typed::Leave,
            'd' if self.text.is_empty() => return Typed::Leave,
            'l' => return Typed::Clear,
            'z' => return Typed::Suspend,
            'c' => self.replace(String::new()),
            'd' => self.delete(self.cursor, self.right()),
            'a' => self.cursor = 0,
            'e' => self.cursor = self.text.len(),
            'b' => self.cursor = self.left(),
            'f' => self.cursor = self.right(),
            'h' => self.delete(self.left(), self.cursor),
            'j' | 'm' => return self.enter(),
            'k' => self.kill_to(self.text.len()),
            'u' => self.kill_to(0),
            'w' => self.kill_to(self.blank_left()),
            'y' => self.insert(&self.killed.clone()),
            'p' => self.recall(Direction::Back),
            'n' => self.recall(Direction::Forward),
            _ => {}
        }
        Typed::Changed
    }

    fn on_alt(&mut self, letter: char) {
        match letter {
            'b' => self.cursor = self.word_left(),
            'f' => self.cursor = self.word_right(),
            'd' => self.kill_to(self.word_right()),
            _ => {}
        }
    }

    /// Takes what was pasted: several lines become one message, and nothing of it is a key.
    pub(super) fn on_paste(&mut self, text: &str) {
        self.completion = None;
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let text: String =
            text.chars().filter(|char| !char.is_control() || matches!(char, '\n' | '\t')).collect();
        self.insert(&text);
    }

    fn insert(&mut self, text: &str) {
        let mut room = MAX_BYTES.saturating_sub(self.text.len()).min(text.len());
        while !text.is_char_boundary(room) {
            room -= 1;
        }
        self.text.insert_str(self.cursor, &text[..room]);
        self.cursor += room;
    }

    fn delete(&mut self, from: usize, to: usize) {
        self.text.drain(from..to);
        self.cursor = from;
    }

    /// Cuts what is between the cursor and another place.
    fn kill_to(&mut self, other: usize) {
        let (from, to) = (self.cursor.min(other), self.cursor.max(other));
        if from < to {
            self.killed = self.text[from..to].to_owned();
            self.delete(from, to);
        }
    }

    fn replace(&mut self, text: String) {
        self.cursor = text.len();
        self.text = text;
    }

    fn enter(&mut self) -> Typed {
        self.recalled = None;
        self.cursor = 0;
        let line = std::mem::take(&mut self.text);
        if !line.trim().is_empty() && self.history.back() != Some(&line) {
            if self.history.len() == MAX_HISTORY {
                self.history.pop_front();
            }
            self.history.push_back(line.clone());
        }
        Typed::Line(line)
    }

    fn recall(&mut self, direction: Direction) {
        let last = self.history.len();
        let at = self.recalled.as_ref().map_or(last, |(at, _)| *at);
        let to = match direction {
            Direction::Back => at.checked_sub(1),
            Direction::Forward => (at < last).then_some(at + 1),
        };
        let Some(to) = to else { return };
        let draft = match self.recalled.take() {
            Some((_, draft)) => draft,
            None => std::mem::take(&mut self.text),
        };
        match self.history.get(to) {
            Some(line) => {
                self.replace(line.clone());
                self.recalled = Some((to, draft));
            }
            None => self.replace(draft),
        }
    }

    /// Completes the word in front of the cursor, or takes the next of those that it may be.
    fn complete(&mut self, words: &[String]) {
        let mut completion = self.completion.take().unwrap_or_else(|| {
            let start = self.blank_left();
            let begun = self.text[start..self.cursor].to_lowercase();
            let fits = |word: &&String| {
                // Commands only stand at the beginning.
                let is_in_place = start == 0 || !word.starts_with('/');
                !begun.is_empty() && is_in_place && word.to_lowercase().starts_with(&begun)
            };
            Completion { start, candidates: words.iter().filter(fits).cloned().collect(), next: 0 }
        });
        let Some(word) = completion.candidates.get(completion.next) else { return };
        let word = format!("{word} ");
        self.delete(completion.start, self.cursor);
        self.insert(&word);
        completion.next = (completion.next + 1) % completion.candidates.len();
        self.completion = Some(completion);
    }

    fn left(&self) -> usize {
        self.text[..self.cursor].grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }

    fn right(&self) -> usize {
        self.cursor + self.text[self.cursor..].graphemes(true).next().map_or(0, str::len)
    }

    fn word_left(&self) -> usize {
        self.text[..self.cursor].unicode_word_indices().next_back().map_or(0, |(at, _)| at)
    }

    fn word_right(&self) -> usize {
        let behind = &self.text[self.cursor..];
        let word = behind.unicode_word_indices().next();
        self.cursor + word.map_or(behind.len(), |(at, word)| at + word.len())
    }

    /// The beginning of the word in front of the cursor, as blanks divide it.
    fn blank_left(&self) -> usize {
        let before = self.text[..self.cursor].trim_end();
        let begin = before.char_indices().rfind(|(_, char)| char.is_whitespace());
        begin.map_or(0, |(at, char)| at + char.len_utf8())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Back,
    Forward,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(code, modifiers)
    }

    /// Types letters; `^x` is a letter with Ctrl.
    fn typed(editor: &mut Editor, keys: &str) -> Typed {
        let (mut last, mut is_control) = (Typed::Changed, false);
        for letter in keys.chars() {
            let (code, modifiers) = match letter {
                '^' => {
                    is_control = true;
                    continue;
                }
                letter if is_control => (KeyCode::Char(letter), KeyModifiers::CONTROL),
                '\n' => (KeyCode::Enter, KeyModifiers::NONE),
                '\t' => (KeyCode::Tab, KeyModifiers::NONE),
                '\u{8}' => (KeyCode::Backspace, KeyModifiers::NONE),
                letter => (KeyCode::Char(letter), KeyModifiers::NONE),
            };
            is_control = false;
            last = editor.on_key(key(code, modifiers), &["/join".into(), "Ada".into(), "Anna".into()]);
        }
        last
    }

    #[test]
    fn keys_make_a_line() {
        for (keys, line) in [
            ("helo^bl\n", "hello"),
            ("one two^w2\n", "one 2"),
            ("abc^ax^e!\n", "xabc!"),
            ("abc^u^y^y\n", "abcabc"),
            ("e\u{301}x^b\u{8}\n", "x"),
            ("日本^b^b^d\n", "本"),
        ] {
            assert_eq!(typed(&mut Editor::default(), keys), Typed::Line(line.into()), "{keys:?}");
        }
    }

    #[test]
    fn earlier_lines_come_back_and_the_draft_too() {
        let mut editor = Editor::default();
        typed(&mut editor, "one\ntwo\ntwo\ndraft^p^p");
        assert_eq!(editor.text(), ("one", 3));
        typed(&mut editor, "^p^n");
        assert_eq!(editor.text().0, "two");
        typed(&mut editor, "^n^n");
        assert_eq!(editor.text().0, "draft");
    }

    #[test]
    fn ctrl_c_clears_first_and_leaves_then() {
        let mut editor = Editor::default();
        assert_eq!(typed(&mut editor, "abc^c"), Typed::Changed);
        assert_eq!(typed(&mut editor, "^c"), Typed::Leave);
        assert_eq!(typed(&mut editor, "^d"), Typed::Leave);
        assert_eq!(typed(&mut editor, "a^a^d^d"), Typed::Leave);
    }

    #[test]
    fn tab_completes_and_goes_on_to_the_next() {
        for (keys, line) in [
            ("/j\t", "/join "),
            ("hi a\t", "hi Ada "),
            ("hi a\t\t", "hi Anna "),
            ("a\t\t\t", "Ada "),
            ("hi /j\t", "hi /j"),
            ("\t", ""),
        ] {
            let mut editor = Editor::default();
            typed(&mut editor, keys);
            assert_eq!(editor.text().0, line, "{keys:?}");
        }
    }

    #[test]
    fn what_is_pasted_is_text_with_an_end() {
        let mut editor = Editor::default();
        editor.on_paste("one\r\n\u{1b}[2Jtwo\u{3}");
        assert_eq!(editor.text().0, "one\n[2Jtwo");
        editor.on_paste(&"é".repeat(MAX_BYTES));
        assert!(editor.text().0.len() <= MAX_BYTES);
    }
}
