//! A message that is encoded once and sent to any number of peers by reference.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::Role;
use super::deflate::{Compressor, DeflateConfig, DeflateParams};
use super::frame::{Header, OpCode};
use super::message::{Kind, Message};
use super::utf8::Utf8Bytes;

/// A message, encoded once as a server sends it.
///
/// A server's frames aren't masked (RFC 6455 §5.1), so their bytes are the same for every peer. It is deflated at
/// most once too, without context, when the first peer that has negotiated permessage-deflate needs it. Cloning
/// it copies a reference.
///
/// ```
/// use switchboard::{Message, Prepared, Sender};
///
/// fn announce(peers: &[Sender], text: &str) {
///     let prepared = Prepared::from(Message::text(text));
///     for peer in peers {
///         // Whoever has no room at the moment, or is gone, doesn't hold up the others.
///         let _ = peer.try_send_prepared(&prepared);
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Prepared(Arc<Encoded>);

#[derive(Debug)]
struct Encoded {
    /// The frame, uncompressed.
    plain: Bytes,
    /// The same frame deflated; `None` inside if that isn't shorter.
    deflated: OnceLock<Option<Bytes>>,
    /// Its payload is a slice of `plain`.
    message: Message,
}

impl Prepared {
    /// Encodes `message`.
    pub fn new(message: impl Into<Message>) -> Self {
        let message = message.into();
        let (plain, header_bytes) = encode(message.kind(), message.as_bytes(), Deflated::No);
        let payload = plain.slice(header_bytes..);
        let message = match message {
            Message::Text(_) => Message::Text(Utf8Bytes::from_validated(payload)),
            Message::Binary(_) => Message::Binary(payload),
        };
        Self(Arc::new(Encoded { plain, deflated: OnceLock::new(), message }))
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.0.message
    }

    /// The length of the uncompressed frame in bytes, header included.
    pub fn frame_bytes(&self) -> usize {
        self.0.plain.len()
    }

    /// The frame, uncompressed.
    pub(super) fn plain(&self) -> &Bytes {
        &self.0.plain
    }

    /// The frame, deflated without context in a window of 15 bits, if that makes it shorter.
    ///
    /// `level` is the first asker's: whoever comes later gets what that one's made.
    pub(super) fn deflated(&self, level: u8) -> Option<&Bytes> {
        let deflate = || {
            let payload = self.message().as_bytes();
            let mut packed = Vec::new();
            let params = DeflateParams { server_no_context_takeover: true, ..DeflateParams::default() };
            let config = DeflateConfig { level, ..DeflateConfig::default() };
            Compressor::new(Role::Server, params, &config).compress(payload, &mut packed);
            (packed.len() < payload.len()).then(|| encode(self.message().kind(), &packed, Deflated::Yes).0)
        };
        self.0.deflated.get_or_init(deflate).as_ref()
    }
}

impl From<Message> for Prepared {
    fn from(message: Message) -> Self {
        Self::new(message)
    }
}

#[derive(Clone, Copy)]
enum Deflated {
    Yes,
    No,
}

/// A frame of one's own for `payload`, and the length of its header.
fn encode(kind: Kind, payload: &[u8], deflated: Deflated) -> (Bytes, usize) {
    let header = Header {
        is_final: true,
        is_compressed: matches!(deflated, Deflated::Yes),
        opcode: OpCode::from(kind),
        mask: None,
        payload_bytes: payload.len() as u64,
    };
    let mut frame = Vec::with_capacity(super::frame::MAX_HEADER_BYTES + payload.len());
    header.encode(&mut frame);
    let header_bytes = frame.len();
    frame.extend_from_slice(payload);
    (frame.into(), header_bytes)
}
