//! `Sec-WebSocket-Extensions` as text: extensions and their parameters (RFC 6455 §9.1).
//!
//! A hand-written parser that goes over the text once and never back, so that no value takes more than linear time.
//! What the parameters of permessage-deflate mean stands in `negotiation`.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::SEC_WEBSOCKET_EXTENSIONS;

use super::fields::{is_token, is_token_char};

/// One extension with its parameters, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extension<'a> {
    pub(super) name: &'a str,
    pub(super) parameters: Vec<Parameter<'a>>,
}

/// A parameter; a value was a token or, unquoted, is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter<'a> {
    pub(super) name: &'a str,
    pub(super) value: Option<Cow<'a, str>>,
}

/// Extensions that a server answered with, and that can't be used (RFC 6455 §9.1, RFC 7692 §5.2, §7.1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// The header isn't what its grammar allows.
    #[error("the Sec-WebSocket-Extensions header is no list of extensions")]
    Malformed,
    /// An extension that we didn't offer.
    #[error("{0:?} was not offered")]
    NotOffered(String),
    /// permessage-deflate is accepted twice.
    #[error("permessage-deflate is accepted more than once")]
    Repeated,
    /// A parameter that permessage-deflate doesn't have.
    #[error("permessage-deflate has no parameter {0:?}")]
    UnknownParameter(String),
    /// A parameter comes twice.
    #[error("the parameter {0} comes more than once")]
    RepeatedParameter(&'static str),
    /// A parameter has a value that it can't have, or lacks one.
    #[error("the parameter {0} has a value that it can't have: window bits are 8–15, the others have none")]
    InvalidValue(&'static str),
    /// `server_max_window_bits` is missing or larger than offered.
    #[error("the server did not agree to a window of {offered} bits or fewer")]
    WindowTooLarge {
        /// What we asked for.
        offered: u8,
    },
}

/// All extensions of a request or a response, all the header's lines together.
///
/// # Errors
///
/// [`ExtensionError::Malformed`], also for a header that lists nothing.
pub(super) fn parse(headers: &HeaderMap) -> Result<Vec<Extension<'_>>, ExtensionError> {
    let mut extensions = Vec::new();
    for line in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
        let text = line.to_str().map_err(|_| ExtensionError::Malformed)?;
        parse_line(text, &mut extensions).ok_or(ExtensionError::Malformed)?;
    }
    if extensions.is_empty() && headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(ExtensionError::Malformed);
    }
    Ok(extensions)
}

fn parse_line<'a>(text: &'a str, extensions: &mut Vec<Extension<'a>>) -> Option<()> {
    let mut rest = Cursor(text);
    loop {
        // Empty members of a list are skipped (RFC 9110 §5.6.1).
        while rest.take(',') {}
        if rest.0.is_empty() {
            return Some(());
        }
        extensions.push(rest.extension()?);
        if !rest.0.is_empty() && !rest.take(',') {
            return None;
        }
    }
}

/// What is left of the text; each step also skips the white space behind what it takes.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn take(&mut self, symbol: char) -> bool {
        self.skip_space();
        let Some(rest) = self.0.strip_prefix(symbol) else { return false };
        self.0 = rest;
        self.skip_space();
        true
    }

    fn skip_space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self.0.bytes().position(|byte| !is_token_char(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        self.skip_space();
        (!token.is_empty()).then_some(token)
    }

    fn extension(&mut self) -> Option<Extension<'a>> {
        let name = self.token()?;
        let mut parameters = Vec::new();
        while self.take(';') {
            parameters.push(self.parameter()?);
        }
        Some(Extension { name, parameters })
    }

    fn parameter(&mut self) -> Option<Parameter<'a>> {
        let name = self.token()?;
        let value = match self.take('=') {
            false => None,
            true if self.0.starts_with('"') => Some(Cow::Owned(self.quoted()?)),
            true => Some(Cow::Borrowed(self.token()?)),
        };
        Some(Parameter { name, value })
    }

    /// A quoted string, whose content has to be a token (RFC 6455 §9.1).
    fn quoted(&mut self) -> Option<String> {
        let mut content = String::new();
        let mut chars = self.0.char_indices().skip(1);
        loop {
            match chars.next()? {
                (end, '"') => {
                    self.0 = &self.0[end + 1..];
                    self.skip_space();
                    return is_token(&content).then_some(content);
                }
                (_, '\\') => content.push(chars.next()?.1),
                (_, other) => content.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// The extensions in a form that is easily written: `name[parameter=value,...]`.
    fn shown(lines: &[&str]) -> Result<String, ExtensionError> {
        let field = |line: &&str| (SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_str(line).unwrap());
        let headers: HeaderMap = lines.iter().map(field).collect();
        let parameter = |p: &Parameter<'_>| match &p.value {
            Some(value) => format!("{}={value}", p.name),
            None => p.name.to_owned(),
        };
        let extension = |e: &Extension<'_>| {
            format!("{}[{}]", e.name, e.parameters.iter().map(parameter).collect::<Vec<_>>().join(","))
        };
        Ok(parse(&headers)?.iter().map(extension).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn reads_names_parameters_and_values() {
        let cases: [(&[&str], &str); 7] = [
            (&[], ""),
            (&["foo"], "foo[]"),
            (&["foo; a; b=1, bar"], "foo[a,b=1] bar[]"),
            (&["foo ;\ta = \"1\" , ,bar;c"], "foo[a=1] bar[c]"),
            (&[r#"foo; a="\1\0""#], "foo[a=10]"),
            (&["foo", "", "bar; x"], "foo[] bar[x]"),
            (&["foo; a=1; a=2, foo"], "foo[a=1,a=2] foo[]"),
        ];
        for (lines, expected) in cases {
            assert_eq!(shown(lines).as_deref(), Ok(expected), "{lines:?}");
        }
    }

    #[test]
    fn refuses_what_the_grammar_does() {
        let wrong = [
            "",
            ",",
            " ",
            ";",
            "foo;",
            "foo; ",
            "foo;;a",
            "foo bar",
            "foo; a=",
            "foo; a=\"\"",
            "foo; a=\"1",
            "foo; a=\"1 2\"",
            "foo; a=\"1\"2",
            "foo; =1",
            "foo; a=b=c",
            "foo/1",
            "foo; a=\"\\",
            "foo; a='1\"",
            "\"foo\"",
            "=",
            "foo; a b",
        ];
        for text in wrong {
            assert_eq!(shown(&[text]), Err(ExtensionError::Malformed), "{text:?}");
        }
    }
}
