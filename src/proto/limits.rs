//! The bounds of everything that a peer can make grow.

use super::Role;

/// What a connection may cost. Every buffer, queue and list that a peer drives names its field here.
///
/// All fields may hold any value; zero lets nothing through.
///
/// ```
/// let mut config = switchboard::Config::default();
/// config.limits.max_message_bytes = 64 << 10;
/// config.limits.max_queued_bytes = 256 << 10;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest message to accept, in bytes after inflation. 64 MiB by default; over it: Close 1009.
    pub max_message_bytes: usize,
    /// The longest frame to accept, in bytes as on the wire. 64 MiB by default; over it: Close 1009.
    pub max_frame_bytes: u64,
    /// The most frames that one message may have, empty ones included. 131,072 by default; over it: Close 1008.
    pub max_fragments: u32,
    /// Bytes that may wait to be written before `send` waits too. 1 MiB by default; control frames don't count.
    pub max_queued_bytes: usize,
    /// The longest request or response head to accept, in bytes. 16 KiB by default; over it: 431.
    pub max_head_bytes: usize,
    /// The most header fields in a head. 100 by default; over it: 431.
    pub max_headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 64 << 20,
            max_frame_bytes: 64 << 20,
            max_fragments: 131_072,
            max_queued_bytes: 1 << 20,
            max_head_bytes: 16 << 10,
            max_headers: 100,
        }
    }
}

/// What a [`Receiver`](super::Receiver) goes by: which side it is on, and those of the limits that it needs.
///
/// A million idle connections each hold one, so it has no field to spare.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) max_message_bytes: usize,
    pub(super) max_frame_bytes: u64,
    pub(super) max_fragments: u32,
    pub(super) role: Role,
}

impl Bounds {
    pub(super) fn new(role: Role, limits: &Limits) -> Self {
        Self {
            max_message_bytes: limits.max_message_bytes,
            max_frame_bytes: limits.max_frame_bytes,
            max_fragments: limits.max_fragments,
            role,
        }
    }
}
