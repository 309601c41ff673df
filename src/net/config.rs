//! How connections are set up.

use http::{HeaderMap, HeaderValue};

use crate::handshake::{ClientConfig, OriginPolicy, UpgradeConfig};
use crate::proto::Limits;
use crate::proto::deflate::DeflateConfig;

use super::timeouts::Timeouts;

/// What holds for a connection, whichever side we are.
///
/// ```
/// let mut config = switchboard::Config::default();
/// config.limits.max_message_bytes = 1 << 20;
/// config.subprotocols = vec!["chat".to_owned()];
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What a connection may cost.
    pub limits: Limits,
    /// When to give up on a peer.
    pub timeouts: Timeouts,
    /// Whether to offer or accept permessage-deflate, and how; on by default.
    pub deflate: Option<DeflateConfig>,
    /// The subprotocols to offer or accept, the preferred one first; none by default.
    pub subprotocols: Vec<String>,
    /// A server's: the pages that may connect. By default those of its own host, and whoever is no browser.
    pub origins: OriginPolicy,
    /// A client's: the `Origin` to send, which only browsers have to; none by default.
    pub origin: Option<HeaderValue>,
    /// More header fields for the request or the response.
    pub headers: HeaderMap,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            deflate: cfg!(feature = "deflate").then(DeflateConfig::default),
            subprotocols: Vec::new(),
            origins: OriginPolicy::same_host(),
            origin: None,
            headers: HeaderMap::new(),
        }
    }
}

impl Config {
    #[cfg_attr(not(feature = "server"), allow(dead_code, reason = "servers accept"))]
    pub(super) fn server(&self) -> UpgradeConfig {
        UpgradeConfig {
            subprotocols: self.subprotocols.clone(),
            deflate: self.deflate.filter(|_| cfg!(feature = "deflate")),
            origins: self.origins.clone(),
            limits: self.limits,
        }
    }

    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "clients connect"))]
    pub(super) fn client(&self) -> ClientConfig {
        ClientConfig {
            subprotocols: self.subprotocols.clone(),
            deflate: self.deflate.filter(|_| cfg!(feature = "deflate")),
            headers: self.headers.clone(),
            origin: self.origin.clone(),
            limits: self.limits,
        }
    }
}
