//! `switchboard chat`, the real binary, as its clients see it.

#![cfg(feature = "cli")]

#[path = "../common/mod.rs"]
mod common;

mod api;
mod auth;
mod data_dir;
mod doors;
mod drain;
mod floods;
mod heartbeats;
mod history;
mod json;
mod logs;
mod moderation;
mod names;
mod protocol;
mod proxies;
mod sessions;
mod shutdown;
mod slow;
mod slow_json;
mod web;
