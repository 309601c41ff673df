//! One exchange: the body read, a handler asked, the answer written, the connection ended.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::EXPECT;
use http::{Method, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::handshake::Body;
use crate::net::{Error, HttpRequest, Stream, Timeout};

use super::body::{BodyError, Collector};
use super::{Problem, Request, Response};

/// What an exchange may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest body. 64 KiB by default.
    pub max_body_bytes: usize,
    /// How long a body may take to come. 10 s by default.
    pub body_timeout: Duration,
    /// How long the peer may take to read each 64 KiB of the answer. 10 s by default.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 << 10,
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
        }
    }
}

/// Reads the body, asks `handler`, writes its answer, and ends the connection.
///
/// # Errors
///
/// [`Error::Io`], [`Error::Lost`] or [`Error::Timeout`] if the peer goes before it has its answer.
///
/// # Cancel safety
///
/// Dropped before it is ready it drops the stream.
pub async fn answer<S: Stream>(
    mut request: HttpRequest<S>,
    limits: Limits,
    handler: impl AsyncFnOnce(Request) -> Result<Response, Problem>,
) -> Result<(), Error> {
    let answered = match receive(&mut request, limits).await? {
        Ok(request) => handler(request).await,
        Err(error) => Err(error.into()),
    };
    respond(request, answered.unwrap_or_else(Response::from), limits).await
}

/// Reads the body of a request.
///
/// Who waits for `100 Continue` gets it, unless the body is refused anyway (RFC 9110 §10.1.1).
///
/// # Errors
///
/// The outer error is the connection's end; a [`BodyError`] is still to be answered.
///
/// # Cancel safety
///
/// Not cancel-safe: what was read is lost.
pub async fn receive<S: Stream>(
    request: &mut HttpRequest<S>,
    limits: Limits,
) -> Result<Result<Request, BodyError>, Error> {
    let body = match tokio::time::timeout(limits.body_timeout, read_body(request, limits)).await {
        Ok(body) => body?,
        Err(_) => Err(BodyError::Timeout),
    };
    Ok(body.map(|body| Request::new(request.head().clone(), body)))
}

async fn read_body<S: Stream>(
    request: &mut HttpRequest<S>,
    limits: Limits,
) -> Result<Result<Bytes, BodyError>, Error> {
    let expectation = expectation(request.head());
    if matches!(expectation, Expectation::Unknown) {
        return Ok(Err(BodyError::UnknownExpectation));
    }
    let mut collector = match Collector::new(request.body(), limits.max_body_bytes) {
        Ok(collector) => collector,
        Err(error) => return Ok(Err(error)),
    };
    if request.body() == Body::Length(0) {
        return Ok(Ok(Bytes::new()));
    }
    let mut bytes = request.take_remainder().to_vec();
    if matches!(expectation, Expectation::Continue) && bytes.is_empty() {
        request.stream_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        request.stream_mut().flush().await?;
    }
    loop {
        match collector.receive(&bytes) {
            Ok(true) => return Ok(Ok(collector.finish())),
            Ok(false) => {}
            Err(error) => return Ok(Err(error)),
        }
        bytes.clear();
        bytes.reserve(READ_BYTES);
        if request.stream_mut().read_buf(&mut bytes).await? == 0 {
            return Err(Error::Lost);
        }
    }
}

enum Expectation {
    None,
    Continue,
    Unknown,
}

fn expectation(head: &http::Request<()>) -> Expectation {
    // HTTP/1.0 doesn't know it (RFC 9110 §10.1.1).
    if head.version() == Version::HTTP_10 {
        return Expectation::None;
    }
    let mut values = head.headers().get_all(EXPECT).iter();
    match (values.next(), values.next()) {
        (None, _) => Expectation::None,
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Expectation::Continue
        }
        _ => Expectation::Unknown,
    }
}

/// Writes an answer and ends the connection.
///
/// # Errors
///
/// [`Error::Io`], or [`Timeout::Write`] if the peer doesn't take it.
///
/// # Cancel safety
///
/// Dropped before it is ready it drops the stream.
pub async fn respond<S: Stream>(
    mut request: HttpRequest<S>,
    response: Response,
    limits: Limits,
) -> Result<(), Error> {
    let method: Method = request.head().method().clone();
    let (head, body) = (response.head(), response.body_for(&method));
    let is_small = head.len() + body.len() <= WRITE_BYTES;
    if is_small {
        // One write, one packet.
        write(&mut request, &[head, body].concat(), limits).await?;
    } else {
        write(&mut request, &head, limits).await?;
        for part in body.chunks(WRITE_BYTES) {
            write(&mut request, part, limits).await?;
        }
    }
    request.respond(b"").await
}

async fn write<S: Stream>(request: &mut HttpRequest<S>, bytes: &[u8], limits: Limits) -> Result<(), Error> {
    let written: Result<io::Result<()>, _> =
        tokio::time::timeout(limits.write_timeout, request.stream_mut().write_all(bytes)).await;
    match written {
        Ok(written) => Ok(written?),
        Err(_) => Err(Timeout::Write.into()),
    }
}

/// How much of a body is read at once.
const READ_BYTES: usize = 8 << 10;

/// How much of an answer is written at once.
const WRITE_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Acceptor, Config};
    use http::StatusCode;
    use tokio::io::DuplexStream;

    const LIMITS: Limits = Limits {
        max_body_bytes: 10,
        body_timeout: Duration::from_secs(3),
        write_timeout: Duration::from_secs(3),
    };

    /// Answers one request with its own body.
    async fn serve(stream: DuplexStream) -> Result<(), Error> {
        let request = Acceptor::new(Config::default()).read_http(stream).await?;
        answer(request, LIMITS, async |request| {
            Ok(Response::text(StatusCode::CREATED, request.body().clone()))
        })
        .await
    }

    /// What comes back for a request that is sent in these parts; the client reads on until the end.
    async fn exchange(parts: &[&str]) -> String {
        let (mut client, server) = tokio::io::duplex(64 << 10);
        let server = tokio::spawn(serve(server));
        for part in parts {
            client.write_all(part.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        drop(client);
        let _ = server.await.unwrap();
        answer
    }

    fn status(answer: &str) -> &str {
        answer.get(9..12).unwrap_or(answer)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_whichever_way_it_comes() {
        for parts in [
            &["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"][..],
            &["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "hel", "lo and more"],
            &[
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe",
                "\r\n3\r\nllo\r\n0\r\n\r\n",
            ],
        ] {
            let answer = exchange(parts).await;
            assert_eq!(status(&answer), "201", "{answer}");
            assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_not_be_read_is_told_why() {
        for (head, body, expected) in [
            ("Content-Length: 11", "", "413"),
            ("Transfer-Encoding: chunked", "b\r\nhello world\r\n0\r\n\r\n", "413"),
            ("Transfer-Encoding: chunked", "hello", "400"),
            ("Content-Length: 5", "hell", "408"),
            ("Content-Length: 5\r\nExpect: 200-ok", "hello", "417"),
            ("Content-Length: 5\r\nContent-Length: 5", "hello", "400"),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", "hello", "400"),
            ("Transfer-Encoding: gzip, chunked", "hello", "400"),
            ("Content-Length: +5", "hello", "400"),
        ] {
            let answer = exchange(&[&format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n{body}")]).await;
            assert_eq!(status(&answer), expected, "{head}: {answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_go_ahead_gets_it() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n";
        let answer = exchange(&[head, "hello"]).await;
        assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n"), "{answer}");
        let at_once = exchange(&[&format!("{head}hello")]).await;
        assert_eq!(status(&at_once), "201");
        let too_large = exchange(&[&head.replace('5', "50")]).await;
        assert_eq!(status(&too_large), "413");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_stops_reading_is_given_up() {
        let (mut client, server) = tokio::io::duplex(1 << 10);
        let served = tokio::spawn(async {
            let request = Acceptor::new(Config::default()).read_http(server).await?;
            answer(request, LIMITS, async |_| Ok(Response::text(StatusCode::OK, vec![b'x'; 1 << 20]))).await
        });
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let error = served.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Timeout(Timeout::Write)), "{error}");
    }
}
