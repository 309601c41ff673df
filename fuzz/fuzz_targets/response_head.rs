//! Responses: any bytes, at once and byte by byte, are judged alike; an accepted head has what the RFC asks for.
#![no_main]

use switchboard::handshake::{ClientConfig, ClientHandshake, Connected, ResponseError, Url};
use switchboard::proto::deflate::DeflateConfig;

/// What came of it, and the bytes behind the head.
fn judge(data: &[u8], chunk: usize) -> Result<Option<(Connected, Vec<u8>)>, ResponseError> {
    let mut config = ClientConfig::default();
    config.subprotocols = vec!["chat".to_owned()];
    config.deflate = Some(DeflateConfig::default());
    let url = Url::parse("ws://example.com/").expect("the URL is fine");
    // The key of RFC 6455 §1.3: the seeds hold its answer.
    let handshake = ClientHandshake::new(&url, &config, *b"the sample nonce");
    let mut handshake = handshake.expect("the request is fine");
    let mut rest = data;
    while !rest.is_empty() {
        let (bytes, after) = rest.split_at(chunk.min(rest.len()));
        rest = after;
        if let Some(connected) = handshake.receive(bytes)? {
            let unread = [&connected.remainder[..], rest].concat();
            return Ok(Some((connected, unread)));
        }
    }
    Ok(None)
}

/// RFC 6455 §4.1, the client's checks, once more and plainly.
fn check(connected: &Connected) {
    let headers = connected.response.headers();
    let texts = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter();
        let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        texts
            .flat_map(|text| text.split(',').map(|text| text.trim().to_owned()).collect::<Vec<_>>())
            .collect()
    };
    assert_eq!(connected.response.status().as_u16(), 101);
    assert!(texts("upgrade").iter().any(|text| text.eq_ignore_ascii_case("websocket")));
    assert!(texts("connection").iter().any(|text| text.eq_ignore_ascii_case("upgrade")));
    assert_eq!(texts("sec-websocket-accept"), ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
    assert!(
        matches!(&texts("sec-websocket-protocol")[..], []) || texts("sec-websocket-protocol") == ["chat"]
    );
    assert_eq!(connected.negotiated.subprotocol.is_some(), headers.contains_key("sec-websocket-protocol"));
    assert!(connected.negotiated.deflate.is_none() || headers.contains_key("sec-websocket-extensions"));
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let whole = judge(data, usize::MAX);
    let bytewise = judge(data, 1);
    match (&whole, &bytewise) {
        (Ok(None), Ok(None)) => {}
        (Ok(Some((connected, unread))), Ok(Some((again, rest)))) => {
            assert_eq!((&connected.negotiated, unread), (&again.negotiated, rest));
            check(connected);
        }
        (Err(_), Err(_)) => {}
        _ => panic!("{whole:?} but {bytewise:?}"),
    }
});
