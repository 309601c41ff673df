//! permessage-deflate at message level (RFC 7692 §7): what was agreed, and the two codecs.
//!
//! A codec that keeps its window from one message to the next (*context takeover*) belongs to its connection, and
//! is made when the first message needs it. One that doesn't belongs to the thread: it is lent from a message's
//! first compressed byte to its last. The loans that may last from one call to the next are bounded.

#[cfg(not(feature = "deflate"))]
mod absent;
#[cfg(feature = "deflate")]
mod compress;
#[cfg(feature = "deflate")]
mod inflate;
#[cfg(feature = "deflate")]
mod loans;

#[cfg(not(feature = "deflate"))]
pub use absent::{Compressor, Decompressor};
#[cfg(feature = "deflate")]
pub use compress::Compressor;
#[cfg(feature = "deflate")]
pub use inflate::Decompressor;

/// What the two sides agreed on (RFC 7692 §7.1). The default is what an offer without parameters means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateParams {
    /// The server compresses each message with an empty window.
    pub server_no_context_takeover: bool,
    /// The client does.
    pub client_no_context_takeover: bool,
    /// The base-2 logarithm of the server's window, 8–15; what lies outside counts as the nearest.
    pub server_max_window_bits: u8,
    /// The base-2 logarithm of the client's window, 8–15; what lies outside counts as the nearest.
    pub client_max_window_bits: u8,
}

impl Default for DeflateParams {
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        }
    }
}

/// What this side is willing to do about compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateConfig {
    /// Whether windows may be kept from one message to the next. Off by default: it costs some 370 KiB a connection
    /// to compress and 80 KiB to inflate.
    pub takeover: bool,
    /// The largest window that the server may use, 8–15 bits. 15 by default.
    pub server_max_window_bits: u8,
    /// The largest window that the client may use, 8–15 bits. 15 by default.
    pub client_max_window_bits: u8,
    /// zlib's level, 1 (fast) to 9 (small). 1 by default.
    pub level: u8,
    /// Messages shorter than this are not compressed, in bytes. 64 by default: below it there is little to gain.
    pub threshold_bytes: usize,
}

impl Default for DeflateConfig {
    fn default() -> Self {
        Self {
            takeover: false,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
            level: 1,
            threshold_bytes: 64,
        }
    }
}
