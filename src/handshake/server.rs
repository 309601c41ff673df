//! The server's side of the handshake up to the request (RFC 6455 §4.2).

use std::sync::Arc;

use bytes::Bytes;

use super::error::RequestError;
use super::head::{Kind, Reader};
use super::origin::OriginPolicy;
use super::request::Request;
use crate::proto::Limits;
use crate::proto::deflate::DeflateConfig;

/// What a server accepts.
#[derive(Clone, Debug, Default)]
pub struct UpgradeConfig {
    /// Subprotocols, the most preferred first; compared exactly. None by default.
    pub subprotocols: Vec<String>,
    /// permessage-deflate, if it is to be agreed on when a client offers it. `None` by default.
    pub deflate: Option<DeflateConfig>,
    /// Which pages may connect. Only those of the same host by default.
    pub origins: OriginPolicy,
    /// Bounds the head.
    pub limits: Limits,
}

/// Reads requests from the bytes of a connection.
///
/// ```
/// # use switchboard::handshake::{Answer, RequestError, ServerHandshake, UpgradeConfig};
/// let mut config = UpgradeConfig::default();
/// config.subprotocols = vec!["chat.2".to_owned(), "chat.1".to_owned()];
/// let mut handshake = ServerHandshake::new(config);
/// // As a socket may give it, in two parts.
/// assert!(handshake.receive(b"GET / HTTP/1.1\r\nHost: example.com\r\nUpgr")?.is_none());
/// let request = handshake.receive(b"ade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
///     Sec-WebSocket-Protocol: chat.1, chat.2\r\n\r\n\x81\x80the first frame")?;
/// let accepted = request.expect("the head is complete").upgrade()?.accept(Answer::default()).unwrap();
/// assert_eq!(accepted.negotiated.subprotocol.as_deref(), Some("chat.2"));
/// assert!(accepted.remainder.ends_with(b"the first frame"));
/// // A request that gets no WebSocket has its answer.
/// let error = ServerHandshake::new(UpgradeConfig::default()).receive(b"\x16\x03\x01").unwrap_err();
/// assert!(error.response().starts_with(b"HTTP/1.1 400 "));
/// # Ok::<(), RequestError>(())
/// ```
#[derive(Debug)]
pub struct ServerHandshake {
    config: Arc<UpgradeConfig>,
    reader: Reader,
    /// What a complete head turned out to be wrong with; it is told again each time.
    failure: Option<RequestError>,
}

impl ServerHandshake {
    /// A handshake before its first byte; an `Arc` shares one configuration among all of them.
    pub fn new(config: impl Into<Arc<UpgradeConfig>>) -> Self {
        let config = config.into();
        Self { reader: Reader::new(Kind::Request, &config.limits), config, failure: None }
    }

    /// Takes bytes as they come, cut anywhere, and returns the request once its head is complete.
    ///
    /// `Ok(None)` means that more bytes are needed. What of `bytes` lies behind the head becomes the request's
    /// remainder; what is read later is the caller's to keep. A request is the last that is read: what follows one is
    /// frames or a body, or is answered with `Connection: close`.
    ///
    /// # Errors
    ///
    /// [`RequestError::Head`] at the first byte that can't be in a head or goes over a limit, and for a complete head
    /// those about the target, `Host`, repeated fields and the body's length. From then on the same one each time.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Request>, RequestError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.try_receive(bytes).inspect_err(|error| self.failure = Some(error.clone()))
    }

    fn try_receive(&mut self, mut bytes: &[u8]) -> Result<Option<Request>, RequestError> {
        let Some(head) = self.reader.receive(&mut bytes)? else { return Ok(None) };
        let request = Request::parse(&head, Bytes::copy_from_slice(bytes), Arc::clone(&self.config))?;
        Ok(Some(request))
    }

    /// Whether anything has come: a connection that ends before that asked for nothing.
    pub fn has_begun(&self) -> bool {
        self.reader.has_begun()
    }
}
