//! Accepting connections: the handshake's bytes, its deadline, and the answer to who is refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::handshake::{
    Answer, Body, Request, RequestError, ServerHandshake, SubprotocolChoice, Upgrade, UpgradeConfig,
};
use crate::proto::Role;

use super::config::Config;
use super::error::{Error, Timeout};
use super::opening::{HEAD_READ_BYTES, within};
use super::timeouts::Timeouts;
use super::transport::Stream;
use super::websocket::{Setup, WebSocket};

/// Accepts WebSocket connections by one configuration. Cloning it copies a reference.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), switchboard::Error> {
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let url = format!("ws://{}/chat", listener.local_addr()?);
/// # let client = tokio::spawn(async move { switchboard::WebSocket::connect(&url).await });
/// use switchboard::{Acceptor, Config};
///
/// let acceptor = Acceptor::new(Config::default());
/// let (stream, _) = listener.accept().await?;
/// let request = acceptor.read(stream).await?;
/// if request.uri().path() != "/chat" {
///     request.reject(http::StatusCode::NOT_FOUND, "the only path here is /chat").await?;
///     return Ok(());
/// }
/// let mut ws = request.accept().await?;
/// ws.send("welcome").await?;
/// # assert_eq!(client.await.unwrap()?.recv().await?.unwrap().as_text(), Some("welcome"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Acceptor {
    config: Arc<Config>,
    server: Arc<UpgradeConfig>,
    setup: Setup,
}

impl Acceptor {
    /// Accepts by `config`.
    pub fn new(config: Config) -> Self {
        let server = Arc::new(config.server());
        let setup = Setup::new(Role::Server, &config);
        Self { config: Arc::new(config), server, setup }
    }

    /// Does the opening handshake. Who is refused gets an answer that says why.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] if it was refused, [`Timeout::Handshake`] if it took too long, [`Error::Lost`] or
    /// [`Error::Io`] if the stream failed.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it drops the stream.
    pub async fn accept<S: Stream>(&self, stream: S) -> Result<WebSocket<S>, Error> {
        // Boxed, so that a task which accepts and then serves doesn't keep room for the handshake.
        Box::pin(async { self.read(stream).await?.accept().await }).await
    }

    /// Reads the request, and leaves it to the caller to accept or reject it.
    ///
    /// # Errors
    ///
    /// As [`Acceptor::accept`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it drops the stream.
    pub async fn read<S: Stream>(&self, stream: S) -> Result<Pending<S>, Error> {
        Box::pin(async { self.read_http(stream).await?.upgrade().await }).await
    }

    /// Reads any HTTP request: for a server that answers others on the same port.
    ///
    /// # Errors
    ///
    /// As [`Acceptor::accept`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it drops the stream.
    pub async fn read_http<S: Stream>(&self, mut stream: S) -> Result<HttpRequest<S>, Error> {
        let handshake = ServerHandshake::new(self.server.clone());
        let read = within(self.config.timeouts.handshake, read_request(&mut stream, handshake)).await;
        match read {
            Ok(request) => Ok(HttpRequest { request, stream, acceptor: self.clone() }),
            Err(error) => {
                let linger = self.config.timeouts.close;
                match &error {
                    Error::Request(error) => refuse(&mut stream, error, linger).await,
                    Error::Timeout(Timeout::Handshake) => {
                        refuse(&mut stream, &RequestError::Timeout, linger).await;
                    }
                    _ => {}
                }
                Err(error)
            }
        }
    }
}

impl<S: Stream> WebSocket<S> {
    /// Accepts a connection with the default configuration; see [`Acceptor`] for any other.
    ///
    /// # Errors
    ///
    /// As [`Acceptor::accept`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it drops the stream.
    pub async fn accept(stream: S) -> Result<Self, Error> {
        Acceptor::new(Config::default()).accept(stream).await
    }
}

/// An HTTP request whose stream waits for an answer.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), switchboard::Error> {
/// # let (mut peer, stream) = tokio::io::duplex(1 << 16);
/// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// # peer.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await?;
/// # peer.shutdown().await?;
/// # let acceptor = switchboard::Acceptor::new(switchboard::Config::default());
/// let request = acceptor.read_http(stream).await?;
/// if request.is_upgrade() {
///     request.upgrade().await?.accept().await?;
/// } else if request.head().uri().path() == "/health" {
///     request.respond(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await?;
/// } else {
///     request.reject(http::StatusCode::NOT_FOUND, "only /health is here").await?;
/// }
/// # let mut answer = String::new();
/// # peer.read_to_string(&mut answer).await?;
/// # assert!(answer.ends_with("\r\n\r\nok"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HttpRequest<S> {
    request: Request,
    stream: S,
    acceptor: Acceptor,
}

impl<S: Stream> HttpRequest<S> {
    /// The request.
    pub fn head(&self) -> &http::Request<()> {
        self.request.head()
    }

    /// Whether it asks for a WebSocket.
    pub fn is_upgrade(&self) -> bool {
        self.request.is_upgrade()
    }

    /// How its body ends.
    pub fn body(&self) -> Body {
        self.request.body()
    }

    /// Takes the body's beginning, as far as it came with the head; the rest is read from the stream.
    ///
    /// It is for plain HTTP: a request to upgrade would lack its first frames.
    pub fn take_remainder(&mut self) -> Bytes {
        self.request.take_remainder()
    }

    /// The stream, for its addresses.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream, to read a body from it and to write an answer that [`HttpRequest::respond`] then ends.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Judges it as a request for a WebSocket, and refuses it if it isn't one.
    ///
    /// # Errors
    ///
    /// [`Error::Request`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it drops the stream.
    pub async fn upgrade(mut self) -> Result<Pending<S>, Error> {
        match self.request.upgrade() {
            Ok(upgrade) => {
                let Acceptor { config, setup, .. } = self.acceptor;
                let answer = Answer { headers: config.headers.clone(), ..Answer::default() };
                Ok(Pending { stream: self.stream, upgrade, setup, timeouts: config.timeouts, answer })
            }
            Err(error) => {
                refuse(&mut self.stream, &error, self.acceptor.config.timeouts.close).await;
                Err(error.into())
            }
        }
    }

    /// Writes a whole response and ends the connection.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it drops the stream.
    pub async fn respond(mut self, response: &[u8]) -> Result<(), Error> {
        end_with(&mut self.stream, response, self.acceptor.config.timeouts.close).await
    }

    /// Refuses it, with a status and one line that says why.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it drops the stream.
    pub async fn reject(mut self, status: StatusCode, why: &str) -> Result<(), Error> {
        let response = self.request.reject(status, why);
        end_with(&mut self.stream, &response, self.acceptor.config.timeouts.close).await
    }
}

/// A request for a WebSocket that is neither accepted nor rejected yet.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), switchboard::Error> {
/// # let (mut peer, stream) = tokio::io::duplex(1 << 16);
/// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// # peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
/// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n").await?;
/// # peer.shutdown().await?;
/// # let acceptor = switchboard::Acceptor::new(switchboard::Config::default());
/// use http::{HeaderMap, HeaderValue, StatusCode, header};
///
/// let mut pending = acceptor.read(stream).await?;
/// if pending.headers().contains_key(header::AUTHORIZATION) {
///     pending.response_headers().insert(header::SERVER, HeaderValue::from_static("mine"));
///     pending.accept().await?;
/// } else {
///     let mut headers = HeaderMap::new();
///     headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
///     pending.reject_with(StatusCode::UNAUTHORIZED, &headers, "send a token").await?;
/// }
/// # let mut answer = String::new();
/// # peer.read_to_string(&mut answer).await?;
/// # assert!(answer.starts_with("HTTP/1.1 401 "));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Pending<S> {
    stream: S,
    upgrade: Upgrade,
    setup: Setup,
    timeouts: Timeouts,
    answer: Answer,
}

impl<S: Stream> Pending<S> {
    /// The request.
    pub fn request(&self) -> &http::Request<()> {
        self.upgrade.request()
    }

    /// The request's target.
    pub fn uri(&self) -> &http::Uri {
        self.upgrade.request().uri()
    }

    /// The request's header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.upgrade.request().headers()
    }

    /// The subprotocols that the client offers, its preferred one first.
    pub fn offered_subprotocols(&self) -> &[String] {
        self.upgrade.subprotocols()
    }

    /// The stream, for its addresses.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// More header fields for the response, besides the handshake's own.
    pub fn response_headers(&mut self) -> &mut HeaderMap {
        &mut self.answer.headers
    }

    /// Chooses a subprotocol by hand, instead of by the configuration's preference.
    pub fn choose_subprotocol(&mut self, choice: SubprotocolChoice) {
        self.answer.subprotocol = choice;
    }

    /// Another configuration for this connection's limits, timeouts and compression level.
    #[must_use]
    pub fn with_config(mut self, config: &Config) -> Self {
        self.setup = Setup::new(Role::Server, config);
        self.timeouts = config.timeouts;
        self
    }

    /// Accepts it.
    ///
    /// # Errors
    ///
    /// [`Error::Answer`] for a header or a subprotocol that doesn't fit the request (which is then answered 500),
    /// [`Error::Io`], [`Error::Lost`], or [`Timeout::Handshake`] if the answer can't be written in time.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it drops the stream.
    pub async fn accept(mut self) -> Result<WebSocket<S>, Error> {
        let accepted = match self.upgrade.accept(self.answer) {
            Ok(accepted) => accepted,
            Err(error) => {
                let _ = end_with(&mut self.stream, &error.response(), self.timeouts.close).await;
                return Err(error.into());
            }
        };
        let write = async {
            self.stream.write_all(&accepted.response).await?;
            self.stream.flush().await?;
            Ok(())
        };
        within(self.timeouts.handshake, write).await?;
        WebSocket::set_up(self.stream, &self.setup, accepted.negotiated, accepted.remainder.into())
    }

    /// Rejects it, with one line that says why.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it drops the stream.
    pub async fn reject(mut self, status: StatusCode, why: &str) -> Result<(), Error> {
        end_with(&mut self.stream, &self.upgrade.reject(status, why), self.timeouts.close).await
    }

    /// As [`Pending::reject`], with more header fields: `WWW-Authenticate`, `Location`, `Retry-After`.
    ///
    /// # Errors
    ///
    /// [`Error::Answer`] for a header that the response has already (the request is then answered 500), and
    /// [`Error::Io`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it drops the stream.
    pub async fn reject_with(
        mut self,
        status: StatusCode,
        headers: &HeaderMap,
        why: &str,
    ) -> Result<(), Error> {
        match self.upgrade.reject_with(status, headers, why) {
            Ok(response) => end_with(&mut self.stream, &response, self.timeouts.close).await,
            Err(error) => {
                let _ = end_with(&mut self.stream, &error.response(), self.timeouts.close).await;
                Err(error.into())
            }
        }
    }
}

async fn read_request<S: Stream>(stream: &mut S, mut handshake: ServerHandshake) -> Result<Request, Error> {
    let mut buffer = Vec::with_capacity(HEAD_READ_BYTES);
    loop {
        buffer.clear();
        if stream.read_buf(&mut buffer).await? == 0 {
            let has_begun = handshake.has_begun();
            return Err(if has_begun { RequestError::Unfinished.into() } else { Error::Lost });
        }
        if let Some(request) = handshake.receive(&buffer)? {
            return Ok(request);
        }
    }
}

/// Answers a request that is refused. It is refused whether the answer arrives or not.
async fn refuse<S: Stream>(stream: &mut S, error: &RequestError, timeout: Option<Duration>) {
    // Boxed: few need it, and every handshake would keep room for it.
    let _ = Box::pin(end_with(stream, &error.response(), timeout)).await;
}

/// Writes a last response and lingers, until `timeout` is over: it is for nobody to hold up.
async fn end_with<S: Stream>(
    stream: &mut S,
    response: &[u8],
    timeout: Option<Duration>,
) -> Result<(), Error> {
    let end = async {
        stream.write_all(response).await?;
        linger(stream).await;
        Ok(())
    };
    match within(timeout, end).await {
        // The answer was written, or the peer takes none: either way it is over.
        Err(Error::Timeout(_)) => Ok(()),
        ended => ended,
    }
}

/// Shuts our side, and reads what still comes until the peer has shut its own: closing a socket with unread bytes
/// resets it, and the answer might not arrive.
async fn linger<S: Stream>(stream: &mut S) {
    if stream.flush().await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    let mut buffer = vec![0; HEAD_READ_BYTES];
    for _ in 0..MAX_LINGER_READS {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// How often a refused client's last bytes are read, 8 MiB at most.
const MAX_LINGER_READS: usize = 4096;
