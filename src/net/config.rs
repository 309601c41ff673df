//! How connections are set up.

use crate::proto::Limits;
use crate::proto::deflate::DeflateConfig;

use super::timeouts::Timeouts;

/// What holds for a connection, whichever side we are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What a connection may cost.
    pub limits: Limits,
    /// When to give up on a peer.
    pub timeouts: Timeouts,
    /// Whether to offer or accept permessage-deflate, and how; on by default.
    pub deflate: Option<DeflateConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self { limits: Limits::default(), timeouts: Timeouts::default(), deflate: Some(DeflateConfig::default()) }
    }
}
