//! What is shown of what others wrote: nothing that a terminal would act on, nothing that looks like another line.

use std::fmt::Write;

use crate::handshake::Negotiated;

/// What stands in front of a message's further lines.
pub(super) const INDENT: &str = "    ";

/// A message as lines for a terminal: control, bidirectional and invisible characters are gone, further lines indented.
pub(in crate::cli) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.trim_end_matches(['\n', '\r']).chars() {
        match char {
            '\n' | '\u{2028}' | '\u{2029}' => {
                shown.push('\n');
                shown.push_str(INDENT);
            }
            '\t' => shown.push(' '),
            char if is_unsafe(char) => {}
            char => shown.push(char),
        }
    }
    shown
}

/// A text as part of a line: as [`printable`], and line breaks are spaces.
pub(super) fn inline(text: &str) -> String {
    printable(text).replace(&format!("\n{INDENT}"), " ")
}

/// JSON as one line that means the same: whatever a terminal would act on is escaped.
pub(super) fn escaped_json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.trim().chars() {
        match char {
            // Where JSON allows them, they mean nothing.
            '\n' | '\r' | '\t' => shown.push(' '),
            char if is_unsafe(char) || matches!(char, '\u{2028}' | '\u{2029}') => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    write!(shown, "\\u{unit:04x}").expect("a String takes everything");
                }
            }
            char => shown.push(char),
        }
    }
    shown
}

/// Whether a terminal would act on it or show nothing for it: C0 and C1 controls, ESC among them, what turns the
/// writing direction, and what can't be seen. Joiners stay, which emoji and some scripts need.
fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0001}')
}

/// What was agreed, in words.
pub(in crate::cli) fn describe(negotiated: &Negotiated) -> String {
    let deflate = if negotiated.deflate.is_some() { "compressed" } else { "not compressed" };
    match &negotiated.subprotocol {
        Some(subprotocol) => format!("({deflate}, subprotocol {})", inline(subprotocol)),
        None => format!("({deflate})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_but_text() {
        assert_eq!(printable("a\u{1b}[31mb\u{7}\u{9b}c\u{202e}d\r"), "a[31mbcd");
        assert_eq!(printable("one\n[ann] two\r\n"), "one\n    [ann] two");
        assert_eq!(printable("one\u{2028}[ann]\u{feff} two\u{200b}"), "one\n    [ann] two");
        assert_eq!(printable("\u{1f468}\u{200d}\u{1f469}"), "\u{1f468}\u{200d}\u{1f469}");
        assert_eq!(inline("one\ntwo\u{1b}]0;title\u{7}"), "one two]0;title");
    }

    #[test]
    fn json_means_the_same_when_it_is_escaped() {
        let text = "{\n\t\"text\": \"a\u{202e}b\u{9b}c\u{e0001}\"\r\n}";
        let shown = escaped_json(text);
        assert_eq!(shown, "{  \"text\": \"a\\u202eb\\u009bc\\udb40\\udc01\"  }");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&shown), value(text));
    }
}
