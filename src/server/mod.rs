//! The servers behind `switchboard echo` and `switchboard chat`: glue between connections, hub and chat.

pub mod auth;
pub mod chat;
pub mod client_address;
pub mod echo;
pub mod http;
pub mod http_api;
pub mod listener;
pub mod metrics;
pub mod proxy_protocol;
pub mod shutdown;
