//! Inflating: any bytes, cut in any way and given any room, end; they give the same as at once, and what is taken for
//! a whole message is what a plain inflate makes of it.
#![no_main]

use switchboard::proto::deflate::{Decompressor, DeflateParams};
use switchboard::proto::{ProtocolError, Role};

#[path = "../../tests/common/inflate.rs"]
mod plain;

const MAX_BYTES: usize = 1 << 16;

fn inflate(how: u8, data: &[u8], chunk: usize, room: usize) -> Result<Vec<u8>, ProtocolError> {
    let bits = 8 + (how >> 1 & 7);
    let mut codec = Decompressor::new(
        Role::Server,
        DeflateParams {
            server_no_context_takeover: false,
            client_no_context_takeover: how & 1 != 0,
            server_max_window_bits: 15,
            client_max_window_bits: bits,
        },
        MAX_BYTES,
    );
    let mut out = Vec::new();
    for chunk in data.chunks(chunk) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let (left, len) = (rest.len(), out.len());
            codec.inflate(&mut rest, &mut out, room)?;
            assert!(out.len() <= len + room);
            assert!(rest.len() < left || out.len() > len, "every call makes progress");
            if out.len() > MAX_BYTES {
                return Err(ProtocolError::MessageTooLarge { limit: MAX_BYTES });
            }
        }
    }
    while !codec.finish(&mut out, room)? {
        if out.len() > MAX_BYTES {
            return Err(ProtocolError::MessageTooLarge { limit: MAX_BYTES });
        }
    }
    Ok(out)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&how, data)) = data.split_first() else { return };
    let whole = inflate(how, data, data.len().max(1), 1 << 20);
    let parts = inflate(how, data, 1 + usize::from(how >> 4), 1 + usize::from(how));
    // With takeover a message that breaks off in the middle of a block can't be told from a whole one.
    let is_without_takeover = how & 1 != 0;
    if let (Ok(whole), true) = (&whole, is_without_takeover) {
        let mut out = Vec::new();
        plain::inflate(data, &mut out).expect("what we take is whole and valid");
        assert_eq!(*whole, out);
    }
    match (&whole, &parts) {
        (Ok(whole), Ok(parts)) => assert_eq!(whole, parts),
        // Whichever of two faults is met first.
        (Err(_), Err(_)) => {}
        (Ok(whole), Err(_)) | (Err(_), Ok(whole)) => assert!(whole.len() > MAX_BYTES, "judged differently"),
    }
});
