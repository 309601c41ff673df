//! Why there is no connection, and what follows from that.

use std::io;
use std::time::{Duration, SystemTime};

use http::header::{DATE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use super::super::error::Error;
use crate::handshake::{HeadError, ResponseError};
use crate::proto::{CloseCode, CloseFrame};

/// Why a connection ended, or didn't come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// An attempt failed.
    #[error("can't connect: {0}")]
    Connect(#[source] Error),
    /// The server closed, with a code or without.
    #[error("the server closed the connection {}", Code(.0.as_ref()))]
    Closed(Option<CloseFrame>),
    /// The connection ended in any other way: it was lost, a deadline passed, the server broke the protocol.
    #[error(transparent)]
    Failed(Error),
}

/// What follows from a [`Cause`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Try again after a random wait.
    Retry,
    /// Try again, not before so much time has passed; a random wait comes on top.
    RetryAfter(Duration),
    /// End with an error: trying again would change nothing.
    Fail,
    /// End in order, as if we had closed.
    End,
}

impl Cause {
    /// What follows from it, if nobody says otherwise.
    ///
    /// | cause | verdict |
    /// |---|---|
    /// | a Close 1000 | [`Verdict::End`] |
    /// | a Close 1002, 1003, 1007–1010, 3000, 3003, 4400, 4401, 4403, 4404 | [`Verdict::Fail`] |
    /// | an answer other than 101, but 408, 425, 429 or a passing 5xx | [`Verdict::Fail`] |
    /// | an answer that isn't HTTP, is no answer to our request, or what wasn't offered | [`Verdict::Fail`] |
    /// | a URL or a request that can't be; no TLS or no runtime; a TLS failure, such as a wrong certificate | [`Verdict::Fail`] |
    /// | anything else, with the server's advice when to come back | [`Verdict::RetryAfter`] |
    /// | anything else: a loss, a deadline, a rule that the server broke, another Close | [`Verdict::Retry`] |
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Closed(Some(frame)) if frame.code() == CloseCode::NORMAL => Verdict::End,
            Self::Closed(Some(frame)) if is_final_code(frame.code()) => Verdict::Fail,
            Self::Connect(error) if is_final_error(error) => Verdict::Fail,
            _ => self.retry_after().map_or(Verdict::Retry, Verdict::RetryAfter),
        }
    }

    /// When the server wants us back: `Retry-After` of a refusal, as seconds or as a date, or `retry-after=SECONDS`
    /// in the reason of a Close, which is what our servers say when they go down.
    ///
    /// A date counts from the server's own `Date`, if it sent one, so that our clock may be wrong.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Connect(Error::Response(error)) => match &**error {
                ResponseError::Refused(refused) => {
                    refused.retry_after().or_else(|| until_date(refused.response.headers()))
                }
                _ => None,
            },
            Self::Closed(Some(frame)) => in_reason(frame.reason()),
            _ => None,
        }
    }

    /// The status with which the server refused, if it did.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Connect(Error::Response(error)) => match &**error {
                ResponseError::Refused(refused) => Some(refused.status()),
                _ => None,
            },
            _ => None,
        }
    }

    /// The code with which the server closed, if it did and gave one.
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Closed(frame) => frame.as_ref().map(CloseFrame::code),
            _ => None,
        }
    }
}

/// How a Close is told.
struct Code<'a>(Option<&'a CloseFrame>);

impl std::fmt::Display for Code<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(frame) => write!(f, "with {frame}"),
            None => f.write_str("without a code"),
        }
    }
}

/// Codes that say that we did wrong, or may not: the same again would end the same.
fn is_final_code(code: CloseCode) -> bool {
    // 3000 and 3003 are IANA's Unauthorized and Forbidden; the private ones follow HTTP, as is the custom.
    matches!(code.get(), 1002 | 1003 | 1007..=1010 | 3000 | 3003 | 4400 | 4401 | 4403 | 4404)
}

/// Whether an attempt that failed so would fail again.
fn is_final_error(error: &Error) -> bool {
    match error {
        Error::Url(_) | Error::Offer(_) | Error::NoTls | Error::NoRuntime => true,
        Error::Response(error) => match &**error {
            ResponseError::Refused(refused) => is_final_status(refused.status()),
            ResponseError::Closed => false,
            // Bytes that are cut or spoilt on the way may come whole the next time; another protocol doesn't.
            ResponseError::Head(error) => matches!(error, HeadError::NotHttp(_) | HeadError::Tls),
            _ => true,
        },
        // What a TLS stream says of a certificate that it doesn't trust, or of a peer that doesn't speak TLS.
        Error::Io(error) => {
            matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            )
        }
        _ => false,
    }
}

fn is_final_status(status: StatusCode) -> bool {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => false,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => true,
        other => !other.is_server_error(),
    }
}

/// How long it is until the date in `Retry-After` (RFC 9110 §10.2.3).
fn until_date(headers: &HeaderMap) -> Option<Duration> {
    let date = |name: HeaderName| {
        headers.get(name).and_then(|value| httpdate::parse_http_date(value.to_str().ok()?).ok())
    };
    let now = date(DATE).unwrap_or_else(SystemTime::now);
    // A date that is past asks for no wait.
    Some(date(RETRY_AFTER)?.duration_since(now).unwrap_or_default())
}

/// Finds `retry-after=SECONDS` in a reason, wherever it stands.
fn in_reason(reason: &str) -> Option<Duration> {
    const KEY: &str = "retry-after=";
    let seconds = &reason[reason.find(KEY)? + KEY.len()..];
    let end = seconds.find(|c: char| !c.is_ascii_digit()).unwrap_or(seconds.len());
    seconds[..end].parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{ClientConfig, ClientHandshake, Url, UrlError};

    fn closed(code: u16, reason: &str) -> Cause {
        Cause::Closed(Some(CloseFrame::new(code.try_into().unwrap(), reason).unwrap()))
    }

    /// What a client makes of an answer.
    fn answered(answer: &str) -> Cause {
        let url = Url::parse("ws://a/").unwrap();
        let mut handshake = ClientHandshake::new(&url, &ClientConfig::default(), [0; 16]).unwrap();
        Cause::Connect(handshake.receive(answer.as_bytes()).unwrap_err().into())
    }

    fn refused(status: u16, fields: &str) -> Cause {
        answered(&format!("HTTP/1.1 {status} X\r\n{fields}\r\n"))
    }

    fn io(kind: io::ErrorKind) -> Cause {
        Cause::Connect(io::Error::from(kind).into())
    }

    #[test]
    fn every_close_code_has_its_verdict() {
        assert_eq!(closed(1000, "").verdict(), Verdict::End);
        for code in [1002, 1003, 1007, 1008, 1009, 1010, 3000, 3003, 4400, 4401, 4403, 4404] {
            assert_eq!(closed(code, "retry-after=3").verdict(), Verdict::Fail, "{code}");
        }
        for code in [1001, 1011, 1012, 1013, 1014, 3001, 4000, 4999] {
            assert_eq!(closed(code, "").verdict(), Verdict::Retry, "{code}");
        }
        assert_eq!(Cause::Closed(None).verdict(), Verdict::Retry);
        assert_eq!(Cause::Failed(Error::Lost).verdict(), Verdict::Retry);
    }

    #[test]
    fn every_answer_has_its_verdict() {
        for status in [200, 302, 400, 401, 403, 404, 405, 410, 426, 501, 505] {
            assert_eq!(refused(status, "Retry-After: 3\r\n").verdict(), Verdict::Fail, "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert_eq!(refused(status, "").verdict(), Verdict::Retry, "{status}");
        }
        let switched = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        for answer in [switched, "SSH-2.0-OpenSSH\r\n", "\x15\x03\x01\x00\x02\x02\x46"] {
            assert_eq!(answered(answer).verdict(), Verdict::Fail, "{answer:?}");
        }
        assert_eq!(Cause::Connect(ResponseError::Closed.into()).verdict(), Verdict::Retry);
        assert_eq!(
            Cause::Connect(ResponseError::from(HeadError::BareLineFeed).into()).verdict(),
            Verdict::Retry
        );
    }

    #[test]
    fn what_cant_ever_work_is_final() {
        for error in [UrlError::NoHost.into(), Error::NoTls, Error::NoRuntime] {
            assert_eq!(Cause::Connect(error).verdict(), Verdict::Fail);
        }
        assert_eq!(io(io::ErrorKind::InvalidData).verdict(), Verdict::Fail);
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut, io::ErrorKind::NotFound] {
            assert_eq!(io(kind).verdict(), Verdict::Retry);
        }
    }

    #[test]
    fn advice_is_read_wherever_it_stands() {
        let seconds = |cause: Cause| match cause.verdict() {
            Verdict::RetryAfter(wait) => Some(wait.as_secs()),
            _ => None,
        };
        assert_eq!(seconds(refused(503, "Retry-After: 7\r\n")), Some(7));
        let dates = "Date: Sun, 06 Nov 1994 08:49:30 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        assert_eq!(seconds(refused(429, dates)), Some(7));
        assert_eq!(seconds(refused(429, "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n")), Some(0));
        assert!(seconds(refused(503, "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n")) > Some(1 << 32));
        assert_eq!(seconds(closed(1001, "retry-after=3")), Some(3));
        assert_eq!(seconds(closed(1012, "new version; retry-after=12, please")), Some(12));
    }

    #[test]
    fn advice_that_is_none_is_passed_over() {
        for reason in ["retry-after=", "retry-after=-1", "retry-after=99999999999999999999", "later"] {
            assert_eq!(closed(1001, reason).verdict(), Verdict::Retry, "{reason}");
        }
        for value in ["soon", "-1", "", "99999999999999999999"] {
            assert_eq!(
                refused(503, &format!("Retry-After: {value}\r\n")).verdict(),
                Verdict::Retry,
                "{value}"
            );
        }
    }

    #[test]
    fn a_cause_says_what_happened() {
        assert_eq!(closed(1001, "").to_string(), "the server closed the connection with 1001");
        assert_eq!(
            closed(1001, "\x1b[2J").to_string(),
            r#"the server closed the connection with 1001 "\u{1b}[2J""#
        );
        assert_eq!(Cause::Closed(None).to_string(), "the server closed the connection without a code");
        let full = refused(503, "");
        assert_eq!(
            full.to_string(),
            "can't connect: the server's answer was refused: the server refused: 503 Service Unavailable"
        );
        assert_eq!(
            (full.status(), closed(4401, "").close_code().unwrap().get()),
            (Some(StatusCode::SERVICE_UNAVAILABLE), 4401)
        );
    }
}
