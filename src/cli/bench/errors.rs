//! What went wrong with how many connections, and what to do about it.

use std::collections::BTreeMap;
use std::io;

use crate::handshake::ResponseError;
use crate::net::{Error, Receiver, Timeout};

/// Counted failures, by what they say.
#[derive(Clone, Debug, Default)]
pub(super) struct Errors(BTreeMap<String, u64>);

/// A server could give every connection another reason: past these they are counted as one.
const MAX_KINDS: usize = 20;

impl Errors {
    pub(super) fn add(&mut self, what: String) {
        self.add_many(what, 1);
    }

    pub(super) fn add_many(&mut self, what: String, count: u64) {
        let is_known = self.0.contains_key(&what);
        let what = if is_known || self.0.len() < MAX_KINDS { what } else { "other reasons".to_owned() };
        *self.0.entry(what).or_default() += count;
    }

    pub(super) fn merge(&mut self, others: &Self) {
        others.iter().for_each(|(what, count)| self.add_many(what.to_owned(), count));
    }

    pub(super) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(what, &count)| (&**what, count))
    }
}

/// Why a connection could not be made, and what to do.
pub(super) fn explain(error: &Error) -> String {
    let advice = match error {
        Error::Io(error) => advice_on_io(error),
        Error::Timeout(Timeout::Handshake) => {
            "the server takes connections too slowly: ask for fewer at a time"
        }
        Error::Response(error) => advice_on_response(error),
        _ => "",
    };
    if advice.is_empty() { error.to_string() } else { format!("{error}: {advice}") }
}

fn advice_on_io(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there; start the server, or check host and port",
        io::ErrorKind::AddrNotAvailable => "no local port is left; give more --source addresses",
        io::ErrorKind::ConnectionReset => "the server accepts no more; check its limits and its backlog",
        _ => match error.raw_os_error() {
            Some(EMFILE) => "raise the limit of open files with `ulimit -n`, or ask for fewer connections",
            Some(ENFILE) => {
                "the system has no more open files; raise fs.file-max, or ask for fewer connections"
            }
            _ => "",
        },
    }
}

fn advice_on_response(error: &ResponseError) -> &'static str {
    let ResponseError::Refused(refused) = error else { return "" };
    match refused.response.status().as_u16() {
        404 => "check the URL's path",
        401 | 403 => "give what it asks for with -H",
        429 | 503 => "it has a limit of connections",
        _ => "",
    }
}

/// Too many open files in this process, on every Unix.
const EMFILE: i32 = 24;
/// Too many in the system.
const ENFILE: i32 = 23;

/// How a connection ended that should have stayed.
pub(super) fn ending(ended: Result<(), Error>, receiver: &Receiver) -> String {
    match (ended, receiver.close_frame()) {
        (Err(error), _) => error.to_string(),
        (Ok(()), None) => "the server closed the connection, without a code".to_owned(),
        (Ok(()), Some(frame)) => {
            format!("the server closed the connection: {} {}", frame.code(), frame.reason())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_of_files_says_what_to_raise() {
        let error = Error::Io(io::Error::from_raw_os_error(EMFILE));
        assert!(explain(&error).contains("ulimit -n"), "{}", explain(&error));
        let error = Error::Io(io::ErrorKind::AddrNotAvailable.into());
        assert!(explain(&error).contains("--source"), "{}", explain(&error));
    }

    #[test]
    fn the_kinds_of_errors_are_bounded() {
        let mut errors = Errors::default();
        for at in 0..100 {
            errors.add(format!("reason {at}"));
        }
        assert_eq!((errors.iter().count(), errors.total()), (MAX_KINDS + 1, 100));
    }
}
