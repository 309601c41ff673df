//! Requests: any bytes, at once and byte by byte, are judged alike; what is refused has an answer.
#![no_main]

use std::sync::{Arc, LazyLock};

use switchboard::handshake::{Answer, RequestError, ServerHandshake, UpgradeConfig};
use switchboard::proto::deflate::DeflateConfig;

static CONFIG: LazyLock<Arc<UpgradeConfig>> = LazyLock::new(|| {
    let mut config = UpgradeConfig::default();
    config.subprotocols = vec!["chat".to_owned()];
    config.deflate = Some(DeflateConfig::default());
    Arc::new(config)
});

/// The response to an accepted request, and what came behind it.
fn judge(data: &[u8], chunk: usize) -> Result<Option<(Vec<u8>, Vec<u8>)>, RequestError> {
    let mut handshake = ServerHandshake::new(CONFIG.clone());
    let mut rest = data;
    while !rest.is_empty() {
        let (bytes, after) = rest.split_at(chunk.min(rest.len()));
        rest = after;
        if let Some(request) = handshake.receive(bytes)? {
            let accepted = request.upgrade()?.accept(Answer::default()).expect("the default answer fits");
            let unread = [&accepted.remainder[..], rest].concat();
            return Ok(Some((accepted.response.to_vec(), unread)));
        }
    }
    Ok(None)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let whole = judge(data, usize::MAX);
    assert_eq!(format!("{whole:?}"), format!("{:?}", judge(data, 1)));
    if let Err(error) = whole {
        let answer = error.response();
        assert!(answer.starts_with(b"HTTP/1.1 "));
        assert_eq!(answer.windows(4).filter(|window| window == b"\r\n\r\n").count(), 1);
    }
});
