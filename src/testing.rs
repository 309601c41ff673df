//! Two connections joined in memory: for our own tests and for our users'.
//!
//! They need no socket, so they work under a paused clock, which jumps to the next timer while bytes are still in
//! the kernel: with real sockets paused tests need [`Timeouts::none`](crate::Timeouts::none).

use tokio::io::DuplexStream;

use crate::handshake::Negotiated;
use crate::net::{Config, Error, WebSocket};
use crate::proto::Role;
use crate::proto::deflate::DeflateParams;

/// How two connections are joined.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pair {
    /// How many bytes the pipe between them holds each way. 64 KiB by default; 1 cuts everything into single bytes.
    pub pipe_bytes: usize,
    /// What the client's side goes by.
    pub client: Config,
    /// What the server's side goes by.
    pub server: Config,
    /// What a handshake would have agreed on; nothing by default.
    pub deflate: Option<DeflateParams>,
}

impl Default for Pair {
    fn default() -> Self {
        Self { pipe_bytes: 64 << 10, client: Config::default(), server: Config::default(), deflate: None }
    }
}

impl Pair {
    /// A client and the server that it is connected to.
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntime`] outside a tokio runtime.
    pub fn join(&self) -> Result<(WebSocket<DuplexStream>, WebSocket<DuplexStream>), Error> {
        let (client, server) = tokio::io::duplex(self.pipe_bytes);
        let negotiated = Negotiated { deflate: self.deflate, ..Negotiated::default() };
        Ok((
            WebSocket::from_parts(client, Role::Client, negotiated.clone(), &self.client, Vec::new())?,
            WebSocket::from_parts(server, Role::Server, negotiated, &self.server, Vec::new())?,
        ))
    }
}

/// A client and the server that it is connected to, by default.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), switchboard::Error> {
/// let (mut client, mut server) = switchboard::testing::pair()?;
/// client.send("Hello").await?;
/// assert_eq!(server.recv().await?.unwrap().as_text(), Some("Hello"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::NoRuntime`] outside a tokio runtime.
pub fn pair() -> Result<(WebSocket<DuplexStream>, WebSocket<DuplexStream>), Error> {
    Pair::default().join()
}
