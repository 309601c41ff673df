//! Requests: any bytes, at once and byte by byte, are judged alike; what is refused has an answer.
#![no_main]

use switchboard::handshake::{OriginPolicy, RequestError, ServerConfig, ServerHandshake, refusal};
use switchboard::proto::Limits;
use switchboard::proto::deflate::DeflateConfig;

fn judge(data: &[u8], chunk: usize) -> Result<Option<Vec<u8>>, RequestError> {
    let mut config = ServerConfig::default();
    config.origins = OriginPolicy::same_host();
    config.subprotocols = vec!["chat".to_owned()];
    config.deflate = Some(DeflateConfig::default());
    let mut handshake = ServerHandshake::new(Limits::default());
    for (at, bytes) in data.chunks(chunk).enumerate() {
        if let Some(request) = handshake.receive(bytes)? {
            let accepted = request.upgrade(&config)?.accept(&http_headers());
            let mut unread = accepted.unread;
            unread.extend(data.chunks(chunk).skip(at + 1).flatten());
            assert!(accepted.response.ends_with(b"\r\n\r\n"));
            return Ok(Some(unread));
        }
    }
    Ok(None)
}

fn http_headers() -> switchboard::handshake::HeaderMap {
    switchboard::handshake::HeaderMap::new()
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let whole = judge(data, data.len().max(1));
    let bytewise = judge(data, 1);
    match (&whole, &bytewise) {
        // Cut up, an error may be seen before the head is found too long; but right stays right.
        (Ok(a), Ok(b)) => assert_eq!(a, b),
        (Err(_), Err(_)) => {}
        (a, b) => panic!("{a:?} but {b:?}"),
    }
    if let Err(error) = whole {
        let answer = refusal(&error);
        assert!(answer.starts_with(b"HTTP/1.1 "));
        assert_eq!(answer.windows(4).filter(|window| window == b"\r\n\r\n").count(), 1);
    }
});
