//! Servers: glue between connections, hub and chat. Most of it is the binary's.

#[cfg(feature = "cli")]
pub mod chat;
#[cfg(feature = "cli")]
pub mod echo;
#[cfg(feature = "cli")]
pub mod listener;
mod member;
#[cfg(feature = "cli")]
pub mod page;
#[cfg(feature = "cli")]
pub mod shutdown;

pub use member::SocketMember;
