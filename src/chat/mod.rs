//! The chat's own rules: names, rooms, wire forms, rates. It knows no WebSocket and no socket.

pub mod name;
pub mod rate;
pub mod session;
pub mod store;
pub mod wire;
