//! `Sec-WebSocket-Extensions`, as an offer and as the answer to one.
#![no_main]

use switchboard::handshake::{
    Answer, ClientConfig, ClientHandshake, HeaderMap, Negotiated, ServerHandshake, UpgradeConfig, Url,
};
use switchboard::proto::deflate::DeflateConfig;

/// What a server agrees to when it is offered this.
fn offer(line: &[u8], takeover: bool) -> Option<(Vec<u8>, Negotiated)> {
    let mut config = UpgradeConfig::default();
    let mut deflate = DeflateConfig::default();
    deflate.takeover = takeover;
    config.deflate = Some(deflate);
    let mut handshake = ServerHandshake::new(config);
    let mut request = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: "
        .to_vec();
    request.extend(line);
    request.extend(b"\r\n\r\n");
    let accepted = handshake.receive(&request).ok()??.upgrade().ok()?.accept(Answer::default()).ok()?;
    Some((accepted.response.to_vec(), accepted.negotiated))
}

/// What a client takes this for.
fn answer(line: &[u8]) -> Option<Negotiated> {
    let mut config = ClientConfig::default();
    config.deflate = Some(DeflateConfig::default());
    config.headers = HeaderMap::new();
    let url = Url::parse("ws://example.com/").expect("the URL is fine");
    let mut handshake =
        ClientHandshake::new(&url, &config, *b"the sample nonce").expect("the request is fine");
    let mut response = b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: "
        .to_vec();
    response.extend(line);
    response.extend(b"\r\n\r\n");
    Some(handshake.receive(&response).ok()??.negotiated)
}

/// Nothing is agreed on that the other side didn't name. Without takeover a server drops the windows by itself.
fn check(line: &[u8], negotiated: &Negotiated, takeover: bool) {
    let Some(params) = negotiated.deflate else { return };
    let line = String::from_utf8_lossy(line).to_ascii_lowercase();
    assert!(line.contains("permessage-deflate"));
    for (bits, name) in [
        (params.server_max_window_bits, "server_max_window_bits"),
        (params.client_max_window_bits, "client_max_window_bits"),
    ] {
        assert!((8..=15).contains(&bits));
        assert!(bits == 15 || line.contains(name), "{name} is {bits}");
    }
    for (is_agreed, name) in [
        (params.server_no_context_takeover, "server_no_context_takeover"),
        (params.client_no_context_takeover, "client_no_context_takeover"),
    ] {
        assert!(!takeover || !is_agreed || line.contains(name), "{name}");
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for takeover in [false, true] {
        if let Some((_, negotiated)) = offer(data, takeover) {
            check(data, &negotiated, takeover);
        }
    }
    if let Some(negotiated) = answer(data) {
        check(data, &negotiated, true);
    }
});
