//! What several tests share.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

#[cfg(feature = "cli")]
pub mod client;
#[cfg(feature = "cli")]
pub mod http;
pub mod inflate;
#[cfg(feature = "cli")]
pub mod json;
#[cfg(any(feature = "client", feature = "server"))]
pub mod scripted;
#[cfg(feature = "cli")]
pub mod server;
#[cfg(any(feature = "client", feature = "server"))]
pub mod tls_like;
pub mod wire;
