//! A URL as a log may have it.

use std::fmt;

use http::Uri;

/// Shows a request's target without its query, which may hold a token that somebody put there, and with whatever a
/// terminal would act on escaped.
#[derive(Clone, Copy)]
pub struct Redacted<'a>(pub &'a Uri);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = if self.0.query().is_some() { "?…" } else { "" };
        write!(f, "{}{query}", self.0.path().escape_debug())
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_not_shown() {
        let shown = |uri: &'static str| Redacted(&Uri::from_static(uri)).to_string();
        assert_eq!(shown("/rooms/a?token=secret"), "/rooms/a?…");
        assert_eq!(shown("http://user:secret@host/rooms/a"), "/rooms/a");
        assert_eq!(format!("{:?}", Redacted(&Uri::from_static("/?secret"))), "/?…");
    }
}
