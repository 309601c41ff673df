//! How lines look on a terminal: a colour for each name, what the program says dim; and long lines wrapped, so that
//! no part of a message begins where a name would stand.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::lines::INDENT;

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Colours,
    Plain,
}

impl Style {
    /// What the environment asks for: no colours with a `NO_COLOR` that isn't empty.
    pub(super) fn of_environment() -> Self {
        match std::env::var_os("NO_COLOR") {
            Some(value) if !value.is_empty() => Self::Plain,
            _ => Self::Colours,
        }
    }

    /// A name in its own colour, the same each time.
    pub(super) fn name(self, name: &str, shown: &str) -> String {
        match self {
            Self::Plain => shown.to_owned(),
            Self::Colours => {
                let hash = fnv(name.as_bytes()) >> 16;
                let (colour, weight) = (31 + hash % 6, if (hash / 6).is_multiple_of(2) { "" } else { ";1" });
                format!("\x1b[{colour}{weight}m{shown}\x1b[0m")
            }
        }
    }

    /// What the program says, or is of less interest.
    pub(super) fn dim(self, text: &str) -> String {
        self.wrapped(text, "2")
    }

    /// What went wrong.
    pub(super) fn alarm(self, text: &str) -> String {
        self.wrapped(text, "31")
    }

    /// Each line by itself, so that none leaves its colour behind.
    fn wrapped(self, text: &str, code: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colours => {
                let lines: Vec<_> =
                    text.split('\n').map(|line| format!("\x1b[{code}m{line}\x1b[0m")).collect();
                lines.join("\n")
            }
        }
    }
}

/// FNV-1a: the same colours on each run.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Breaks lines that are wider than `columns`, at blanks where there are any; what follows is indented.
pub(super) fn wrap(text: &str, columns: usize) -> String {
    // Narrower than that nothing can be done.
    let columns = columns.max(2 * INDENT.len());
    let mut shown = String::with_capacity(text.len());
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            shown.push('\n');
        }
        let mut column = 0;
        for piece in line.split_inclusive(' ') {
            let (word, width) = (piece.trim_end_matches(' '), piece.trim_end_matches(' ').width());
            if column + width > columns && width <= columns - INDENT.len() {
                break_line(&mut shown, &mut column);
            }
            for grapheme in word.graphemes(true) {
                if column + grapheme.width() > columns {
                    break_line(&mut shown, &mut column);
                }
                shown.push_str(grapheme);
                column += grapheme.width();
            }
            // At the edge a blank isn't needed.
            if piece.len() > word.len() && column < columns {
                shown.push(' ');
                column += 1;
            }
        }
    }
    shown
}

fn break_line(shown: &mut String, column: &mut usize) {
    shown.push('\n');
    shown.push_str(INDENT);
    *column = INDENT.len();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_colour_and_none_without() {
        assert_eq!(Style::Colours.name("ann", "[ann]"), Style::Colours.name("ann", "[ann]"));
        assert_ne!(Style::Colours.name("ann", "x"), Style::Colours.name("bob", "x"));
        assert_eq!(Style::Plain.name("ann", "[ann]"), "[ann]");
        assert_eq!(Style::Plain.dim("a"), "a");
        assert_eq!(Style::Colours.dim("a\nb"), "\x1b[2ma\x1b[0m\n\x1b[2mb\x1b[0m");
    }

    #[test]
    fn long_lines_go_on_indented() {
        assert_eq!(wrap("one two three", 8), "one two \n    thre\n    e");
        assert_eq!(wrap("one two: three", 10), "one two: \n    three");
        assert_eq!(wrap("short", 20), "short");
        assert_eq!(wrap("0123456789abc", 10), "0123456789\n    abc");
        // Wide characters count twice.
        assert_eq!(wrap("漢字漢字漢", 8), "漢字漢字\n    漢");
        for text in ["a b c d e f g h i j k", "xxxxxxxxxxxxxxxxxxxxxx", "a\nb", "😀😀😀😀😀😀😀"]
        {
            let wrapped = wrap(text, 9);
            assert!(wrapped.split('\n').all(|line| line.width() <= 9), "{wrapped:?}");
        }
    }
}
