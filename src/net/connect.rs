//! Connecting to a server: its addresses, the handshake, and their deadline.

use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::handshake::{ClientHandshake, Connected, ResponseError, Url};
use crate::proto::Role;

use super::config::Config;
use super::dial::{Attempts, dial};
use super::entropy;
use super::error::Error;
use super::opening::{HEAD_READ_BYTES, within};
use super::transport::Stream;
use super::websocket::{Setup, WebSocket};

/// Connects to WebSocket servers by one configuration.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), switchboard::Error> {
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let address = listener.local_addr()?;
/// # let server = tokio::spawn(async move {
/// #     let mut ws = switchboard::WebSocket::accept(listener.accept().await?.0).await?;
/// #     ws.recv().await
/// # });
/// use switchboard::{Config, Connector};
///
/// let (mut ws, response) = Connector::new(Config::default()).connect(&format!("ws://{address}/")).await?;
/// assert_eq!(response.status(), 101);
/// ws.send("hello").await?;
/// # assert_eq!(server.await.unwrap()?.unwrap().as_text(), Some("hello"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Connector {
    config: Config,
    setup: Setup,
}

impl Connector {
    /// Connects by `config`.
    pub fn new(config: Config) -> Self {
        Self { setup: Setup::new(Role::Client, &config), config }
    }

    /// Connects to `url` by TCP and does the opening handshake, all within `Timeouts::handshake`.
    ///
    /// Of a host with several addresses both families are tried, each a little after the one before (RFC 8305).
    ///
    /// # Errors
    ///
    /// [`Error::Url`], [`Error::Offer`], [`Error::Io`] if no address answers, [`Error::Response`] if the server refuses or answers
    /// wrongly, [`Timeout::Handshake`](super::Timeout::Handshake).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it drops the connection.
    pub async fn connect(&self, url: &str) -> Result<(WebSocket<TcpStream>, http::Response<()>), Error> {
        let url = Url::parse(url)?;
        if url.is_secure() {
            return Err(Error::NoTls);
        }
        let connect = async {
            // Without deadlines there may be no time at all.
            let has_time = self.config.timeouts.handshake.is_some();
            let attempts = if has_time { Attempts::Raced } else { Attempts::InTurn };
            let stream = dial(url.host(), url.port(), attempts).await?;
            self.handshake(&url, stream).await
        };
        // Boxed, so that a task which connects and then talks doesn't keep room for the handshake.
        Box::pin(within(self.config.timeouts.handshake, connect)).await
    }

    /// Does the opening handshake on a stream that leads to `url`'s server already.
    ///
    /// # Errors
    ///
    /// As [`Connector::connect`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it drops the stream.
    pub async fn connect_on<S: Stream>(
        &self,
        url: &str,
        stream: S,
    ) -> Result<(WebSocket<S>, http::Response<()>), Error> {
        let url = Url::parse(url)?;
        Box::pin(within(self.config.timeouts.handshake, self.handshake(&url, stream))).await
    }

    async fn handshake<S: Stream>(
        &self,
        url: &Url,
        mut stream: S,
    ) -> Result<(WebSocket<S>, http::Response<()>), Error> {
        let random = entropy::random();
        let mut handshake = ClientHandshake::new(url, &self.config.client(), random)?;
        stream.write_all(handshake.request()).await?;
        stream.flush().await?;
        let Connected { response, negotiated, remainder } =
            read_response(&mut stream, &mut handshake).await?;
        let ws = WebSocket::set_up(stream, &self.setup, negotiated, remainder.into())?;
        Ok((ws, response))
    }

    /// The header fields that are sent besides the handshake's own.
    pub fn headers(&mut self) -> &mut HeaderMap {
        &mut self.config.headers
    }
}

impl WebSocket<TcpStream> {
    /// Connects with the default configuration; see [`Connector`] for any other.
    ///
    /// # Errors
    ///
    /// As [`Connector::connect`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it drops the connection.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Ok(Connector::new(Config::default()).connect(url).await?.0)
    }
}

async fn read_response<S: Stream>(
    stream: &mut S,
    handshake: &mut ClientHandshake,
) -> Result<Connected, Error> {
    let mut buffer = Vec::with_capacity(HEAD_READ_BYTES);
    loop {
        buffer.clear();
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(ResponseError::Closed.into());
        }
        if let Some(connected) = handshake.receive(&buffer)? {
            return Ok(connected);
        }
    }
}
