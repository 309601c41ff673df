//! The chat's own rules: names, rooms, sessions, wire forms, rates. It knows no WebSocket and no socket.

pub mod content;
pub mod name;
mod people;
pub mod rate;
pub mod recent;
pub mod room;
pub mod room_name;
pub mod rooms;
pub mod session;
pub mod sessions;
pub mod store;
pub mod wire;
