//! `Sec-WebSocket-Extensions`, as offer and as answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| switchboard::handshake::fuzz_extensions(data));
