//! The client's side of the handshake (RFC 6455 §4.1).
//!
//! Everything that comes back is checked: a server that didn't read this very request, or answers what nobody asked,
//! must not be taken for one that speaks WebSocket.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::Negotiated;
use super::error::{OfferError, ResponseError};
use super::extensions;
use super::fields::{at_most_one, is_token, list_has};
use super::head::{Kind, Reader};
use super::key::Key;
use super::negotiation;
use super::refusal::{Refused, put_field, put_fields};
use super::upgrade::is_reserved;
use super::url::Url;
use crate::proto::Limits;
use crate::proto::deflate::DeflateConfig;

/// What a client offers and sends.
#[derive(Clone, Debug, Default)]
pub struct ClientConfig {
    /// Subprotocols, the most preferred first. None by default.
    pub subprotocols: Vec<String>,
    /// permessage-deflate, if it is to be offered. `None` by default.
    pub deflate: Option<DeflateConfig>,
    /// The page that connects, for servers that look at it. `None` by default.
    pub origin: Option<HeaderValue>,
    /// More header fields, such as `Authorization` and `Cookie`; none of the handshake's own.
    pub headers: HeaderMap,
    /// Bounds the response's head, interim responses included.
    pub limits: Limits,
}

/// A request for a WebSocket, and the reader of its answer.
///
/// ```
/// # use switchboard::handshake::*;
/// let url = Url::parse("ws://example.com/feed")?;
/// // The key's 16 bytes have to be new and random for each connection (RFC 6455 §4.1).
/// let mut handshake = ClientHandshake::new(&url, &ClientConfig::default(), *b"the sample nonce")?;
/// assert!(handshake.request().starts_with(b"GET /feed HTTP/1.1\r\nHost: example.com\r\n"));
///
/// let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// let connected = handshake.receive(answer)?.expect("the whole head is there");
/// assert_eq!(connected.negotiated, Negotiated::default());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ClientHandshake {
    request: Bytes,
    accept: String,
    subprotocols: Vec<String>,
    deflate: Option<DeflateConfig>,
    reader: Reader,
    /// What was wrong with the answer; it is told again each time.
    failure: Option<ResponseError>,
}

/// A server's 101 response that passed every check: the connection is a WebSocket.
#[derive(Debug)]
pub struct Connected {
    /// Status and header fields.
    pub response: http::Response<()>,
    /// What was agreed.
    pub negotiated: Negotiated,
    /// What came behind the head: the server's first frames.
    pub remainder: Bytes,
}

impl ClientHandshake {
    /// A request for a WebSocket at `url`; `entropy` is 16 bytes from a random source, new ones for each connection.
    ///
    /// # Errors
    ///
    /// [`OfferError`] if a subprotocol is no token or comes twice, or a header field is the handshake's own.
    pub fn new(url: &Url, config: &ClientConfig, entropy: [u8; 16]) -> Result<Self, OfferError> {
        check_subprotocols(&config.subprotocols)?;
        if let Some(name) = config.headers.keys().find(|name| is_own(name)) {
            return Err(OfferError::ReservedHeader(name.clone()));
        }
        let key = Key::from_entropy(entropy);
        Ok(Self {
            request: write_request(url, config, &key),
            accept: key.accept(),
            subprotocols: config.subprotocols.clone(),
            deflate: config.deflate,
            reader: Reader::new(Kind::Response, &config.limits),
            failure: None,
        })
    }

    /// The whole request, to be sent before anything is read.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Takes bytes as they come, cut anywhere, and returns the answer once its head is complete.
    ///
    /// `Ok(None)` means that more bytes are needed. Interim responses (1xx) are skipped. A response is the last that is
    /// read: what follows it is frames.
    ///
    /// # Errors
    ///
    /// Any [`ResponseError`] but [`ResponseError::Closed`]; from then on the same one each time.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Connected>, ResponseError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.try_receive(bytes).inspect_err(|error| self.failure = Some(error.clone()))
    }

    fn try_receive(&mut self, mut bytes: &[u8]) -> Result<Option<Connected>, ResponseError> {
        // The reader bounds the bytes of all heads together, and so the number of rounds.
        while let Some(head) = self.reader.receive(&mut bytes)? {
            let response = head.parse_response()?;
            match response.status() {
                StatusCode::SWITCHING_PROTOCOLS => {
                    let negotiated = self.check(&response)?;
                    let remainder = Bytes::copy_from_slice(bytes);
                    return Ok(Some(Connected { response, negotiated, remainder }));
                }
                status if status.is_informational() => {}
                _ => return Err(ResponseError::Refused(Box::new(Refused::new(response, bytes)))),
            }
        }
        Ok(None)
    }

    /// Checks a 101 response against the request (RFC 6455 §4.1).
    fn check(&self, response: &http::Response<()>) -> Result<Negotiated, ResponseError> {
        let headers = response.headers();
        if response.version() != Version::HTTP_11 {
            return Err(ResponseError::Http10);
        }
        let is_websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
        if !single(headers, &UPGRADE)?.is_some_and(is_websocket) {
            return Err(ResponseError::InvalidUpgrade);
        }
        if !list_has(headers, &CONNECTION, "upgrade") {
            return Err(ResponseError::InvalidConnection);
        }
        if single(headers, &SEC_WEBSOCKET_ACCEPT)?.is_none_or(|accept| accept != self.accept.as_str()) {
            return Err(ResponseError::InvalidAccept);
        }
        let subprotocol = self.check_subprotocol(headers)?;
        let deflate = negotiation::check_answer(&extensions::parse(headers)?, self.deflate.as_ref())?;
        Ok(Negotiated { subprotocol, deflate })
    }

    fn check_subprotocol(&self, headers: &HeaderMap) -> Result<Option<String>, ResponseError> {
        let Some(chosen) = single(headers, &SEC_WEBSOCKET_PROTOCOL)? else { return Ok(None) };
        let offered = self.subprotocols.iter().find(|name| chosen == name.as_str());
        let Some(name) = offered else {
            let chosen = String::from_utf8_lossy(chosen.as_bytes()).into_owned();
            return Err(ResponseError::SubprotocolNotOffered(chosen));
        };
        Ok(Some(name.clone()))
    }
}

fn write_request(url: &Url, config: &ClientConfig, key: &Key) -> Bytes {
    let mut request = BytesMut::new();
    request.put_slice(b"GET ");
    request.put_slice(url.path_and_query().as_bytes());
    request.put_slice(b" HTTP/1.1\r\n");
    put_field(&mut request, "Host", url.host_header().as_bytes());
    put_field(&mut request, "Upgrade", b"websocket");
    put_field(&mut request, "Connection", b"Upgrade");
    put_field(&mut request, "Sec-WebSocket-Key", key.as_str().as_bytes());
    put_field(&mut request, "Sec-WebSocket-Version", b"13");
    if let Some(origin) = &config.origin {
        put_field(&mut request, "Origin", origin.as_bytes());
    }
    if !config.subprotocols.is_empty() {
        put_field(&mut request, "Sec-WebSocket-Protocol", config.subprotocols.join(", ").as_bytes());
    }
    if let Some(deflate) = &config.deflate {
        put_field(&mut request, "Sec-WebSocket-Extensions", negotiation::offer(deflate).as_bytes());
    }
    put_fields(&mut request, &config.headers);
    request.put_slice(b"\r\n");
    request.freeze()
}

fn check_subprotocols(names: &[String]) -> Result<(), OfferError> {
    for (index, name) in names.iter().enumerate() {
        if !is_token(name) || names[..index].contains(name) {
            return Err(OfferError::InvalidSubprotocol(name.clone()));
        }
    }
    Ok(())
}

/// Whether the request has this field already, or a field in [`ClientConfig`] is meant for it.
fn is_own(name: &HeaderName) -> bool {
    is_reserved(name) || [HOST, ORIGIN].contains(name)
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, ResponseError> {
    at_most_one(headers, name).map_err(|_| ResponseError::RepeatedHeader(name.clone()))
}
