//! What is shown of messages: nothing that a terminal would act on, nothing that looks like another line.

use crate::handshake::Negotiated;

/// A message as lines for a terminal: control and bidirectional characters are gone, further lines indented.
pub(in crate::cli) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.trim_end_matches(['\n', '\r']).chars() {
        match char {
            '\n' => shown.push_str("\n    "),
            '\t' => shown.push(' '),
            // C0 and C1 controls, ESC among them, and what turns the writing direction.
            char if char.is_control() => {}
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            char => shown.push(char),
        }
    }
    shown
}

/// What was agreed, in words.
pub(in crate::cli) fn describe(negotiated: &Negotiated) -> String {
    let deflate = if negotiated.deflate.is_some() { "compressed" } else { "not compressed" };
    match &negotiated.subprotocol {
        Some(subprotocol) => format!("({deflate}, subprotocol {})", printable(subprotocol)),
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
    }
}
