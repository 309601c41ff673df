//! Servers: glue between connections, hub and chat. Most of it is the binary's.

#[cfg(feature = "cli")]
pub mod auth;
#[cfg(feature = "cli")]
pub mod chat;
#[cfg(feature = "cli")]
pub mod client_address;
#[cfg(feature = "cli")]
pub mod echo;
#[cfg(feature = "cli")]
pub mod http;
#[cfg(feature = "cli")]
pub mod http_api;
#[cfg(feature = "cli")]
pub mod listener;
mod member;
#[cfg(feature = "cli")]
pub mod metrics;
#[cfg(feature = "cli")]
pub mod page;
#[cfg(feature = "cli")]
pub mod proxy_protocol;
#[cfg(feature = "cli")]
pub mod shutdown;

pub use member::SocketMember;
