//! Errors as `application/problem+json` (RFC 9457).

use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::Response;

/// An error that its client is told: the status says whose fault it is, the detail what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    /// A list, because it is short, and an error has to be small.
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// How it looks. The type is always `about:blank`: the status says all that a program has to know (§4.2.1).
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    /// A problem with one or two sentences that say what was wrong and what to do.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), headers: Vec::new() }
    }

    /// 401, with the challenge that RFC 9110 §11.6.1 asks for.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 429 or 503, with the time after which to try again, rounded up to seconds.
    pub fn retry_after(status: StatusCode, after: Duration, detail: impl Into<String>) -> Self {
        let seconds = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
        Self::new(status, detail).with(RETRY_AFTER, seconds.into())
    }

    /// 405, with the methods that there are.
    pub fn method_not_allowed(allow: &str) -> Self {
        let problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("this method can't be used here, only {allow} can"),
        );
        match HeaderValue::from_str(allow) {
            Ok(allow) => problem.with(ALLOW, allow),
            Err(_) => problem,
        }
    }

    /// Adds a header field.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What was wrong.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        let body = Body {
            r#type: "about:blank",
            title: problem.status.canonical_reason().unwrap_or("Error"),
            status: problem.status.as_u16(),
            detail: &problem.detail,
        };
        let mut response = Self::json(problem.status, &body)
            .with(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for (name, value) in problem.headers {
            response = response.with(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    #[test]
    fn is_written_as_the_rfc_says() {
        let problem = Problem::unauthorized("there is no API key: send Authorization: Bearer KEY");
        let bytes = Response::from(problem).to_bytes(&Method::GET);
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{text}");
        assert!(text.contains("\r\ncontent-type: application/problem+json\r\n"), "{text}");
        assert!(text.contains("\r\nwww-authenticate: Bearer\r\n"), "{text}");
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        let expected = r#"{"type":"about:blank","title":"Unauthorized","status":401,"#.to_owned()
            + r#""detail":"there is no API key: send Authorization: Bearer KEY"}"#;
        assert_eq!(body, expected);
    }

    #[test]
    fn the_time_to_wait_is_rounded_up() {
        let problem =
            Problem::retry_after(StatusCode::TOO_MANY_REQUESTS, Duration::from_millis(1), "slow down");
        assert_eq!(problem.headers, [(RETRY_AFTER, HeaderValue::from_static("1"))]);
    }
}
