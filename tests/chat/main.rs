//! `switchboard chat`, the real binary, as its clients see it.

#![cfg(feature = "cli")]

#[path = "../common/mod.rs"]
mod common;

mod doors;
mod heartbeats;
mod names;
mod protocol;
mod shutdown;
mod slow;
