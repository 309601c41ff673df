//! The servers behind `switchboard echo` and `switchboard chat`: glue between connections, hub and chat.

pub mod chat;
pub mod echo;
pub mod listener;
pub mod page;
pub mod shutdown;
