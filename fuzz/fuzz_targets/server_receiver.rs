//! What a server receives: any bytes, however they are cut.
#![no_main]

mod receive;

use switchboard::proto::Role;

libfuzzer_sys::fuzz_target!(|data: &[u8]| receive::run(Role::Server, data));
