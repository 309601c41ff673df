//! Responses: any bytes, at once and byte by byte, are judged alike.
#![no_main]

use switchboard::handshake::{ClientConfig, ClientHandshake, ResponseError, Url};
use switchboard::proto::deflate::DeflateConfig;

fn judge(data: &[u8], chunk: usize) -> Result<bool, ResponseError> {
    let mut config = ClientConfig::default();
    config.subprotocols = vec!["chat".to_owned()];
    config.deflate = Some(DeflateConfig::default());
    let url = Url::parse("ws://example.com/").expect("the URL is fine");
    // The key of RFC 6455 §1.3: the seeds hold its answer.
    let handshake = ClientHandshake::new(&url, &config, *b"the sample nonce");
    let mut handshake = handshake.expect("the request is fine");
    for bytes in data.chunks(chunk) {
        if handshake.receive(bytes)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let whole = judge(data, data.len().max(1));
    let bytewise = judge(data, 1);
    assert_eq!(whole.is_ok(), bytewise.is_ok(), "{whole:?} but {bytewise:?}");
});
