//! Where the line that is being typed lies on the screen.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// A prompt and a line as rows, none of which reaches the last column: so the terminal never breaks one by itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// What of the prompt there is room for, in front of the first row.
    pub(super) prompt: String,
    pub(super) rows: Vec<String>,
    /// Row and column of the cursor.
    pub(super) cursor: (usize, usize),
}

/// The most rows that a line takes; of a longer one those around the cursor are shown.
const MAX_ROWS: usize = 8;

impl Layout {
    /// Lays out `prompt` and `text` with the cursor behind `before` bytes, on a screen of so many columns and rows.
    pub(super) fn new(prompt: &str, text: &str, before: usize, (columns, height): (usize, usize)) -> Self {
        let width = columns.saturating_sub(1).max(2);
        let prompt = cut(prompt, width / 2);
        let (mut rows, mut row, mut column) = (Vec::new(), String::new(), prompt.width());
        let mut cursor = None;
        for (at, grapheme) in text.grapheme_indices(true) {
            let shown = shown(grapheme);
            if column + shown.width() > width {
                rows.push(std::mem::take(&mut row));
                column = 0;
            }
            if at == before {
                cursor = Some((rows.len(), column));
            }
            row.push_str(shown);
            column += shown.width();
        }
        let mut cursor = cursor.unwrap_or((rows.len(), column));
        rows.push(row);
        let most = MAX_ROWS.min(height.saturating_sub(1)).max(1);
        // Those up to the cursor, or the first.
        let first = (cursor.0 + 1).saturating_sub(most);
        rows = rows.into_iter().skip(first).take(most).collect();
        cursor.0 -= first;
        let prompt = if first == 0 { prompt } else { String::new() };
        Self { prompt, rows, cursor }
    }

    /// In which row the cursor is, once the terminal has become `columns` wide and broken our rows by itself.
    pub(super) fn cursor_row_at(&self, columns: usize) -> usize {
        let columns = columns.max(1);
        let width = |at: usize, row: &String| row.width() + if at == 0 { self.prompt.width() } else { 0 };
        let above = self.rows.iter().enumerate().take(self.cursor.0);
        above.map(|(at, row)| width(at, row).div_ceil(columns).max(1)).sum::<usize>()
            + self.cursor.1 / columns
    }
}

/// How a grapheme of the line is shown: a line break has to stay in its row.
fn shown(grapheme: &str) -> &str {
    match grapheme {
        "\n" | "\r\n" => "⏎",
        "\t" => " ",
        grapheme if grapheme.chars().any(char::is_control) => "",
        grapheme => grapheme,
    }
}

fn cut(text: &str, width: usize) -> String {
    let mut taken = String::new();
    for grapheme in text.graphemes(true) {
        if taken.width() + grapheme.width() > width {
            break;
        }
        taken.push_str(grapheme);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(text: &str, before: usize, columns: usize) -> Layout {
        Layout::new("> ", text, before, (columns, 24))
    }

    #[test]
    fn a_line_takes_as_many_rows_as_it_needs() {
        let short = layout("abc", 1, 20);
        assert_eq!((short.rows, short.cursor), (vec!["abc".to_owned()], (0, 3)));
        let long = layout("abcdefghijk", 11, 7);
        assert_eq!((long.rows, long.cursor), (vec!["abcd".into(), "efghij".into(), "k".into()], (2, 1)));
        let wide = layout("漢字漢", 0, 7);
        assert_eq!((wide.rows, wide.cursor), (vec!["漢字".to_owned(), "漢".to_owned()], (0, 2)));
    }

    #[test]
    fn a_line_that_is_too_long_shows_the_cursor() {
        let text = "x".repeat(1000);
        for before in [0, 500, 1000] {
            let layout = Layout::new("> ", &text, before, (11, 6));
            assert_eq!(layout.rows.len(), 5);
            assert!(layout.cursor.0 < 5);
            assert_eq!(layout.prompt.is_empty(), before > 0);
        }
    }

    #[test]
    fn what_breaks_a_line_stays_in_its_row() {
        assert_eq!(layout("a\nb\tc\u{1b}", 2, 20).rows, ["a⏎b c"]);
    }

    #[test]
    fn a_narrower_terminal_moves_the_cursor_down() {
        let line = layout("abcdefghij", 10, 20);
        assert_eq!(line.cursor, (0, 12));
        assert_eq!((line.cursor_row_at(20), line.cursor_row_at(5)), (0, 2));
        let empty = Layout::default();
        assert_eq!(empty.cursor_row_at(0), 0);
    }
}
