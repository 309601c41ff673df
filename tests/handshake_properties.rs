//! Properties of both sides: cuts don't matter, nothing panics, time is linear, the two sides agree.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use switchboard::handshake::*;
use switchboard::proto::deflate::DeflateConfig;

const REQUEST: &[u8] = b"GET /chat?a=b HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://example.com\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=\"10\", x; y=z\r\n\r\n\x81\x80abcd";
const RESPONSE: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: chat\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n\r\n\x81\x01a";

/// All that a server makes of `bytes` cut at `cuts`; what is left after the head is joined to the remainder.
fn serve(bytes: &[u8], cuts: &[usize]) -> String {
    let config = UpgradeConfig {
        subprotocols: vec!["chat".into()],
        deflate: Some(DeflateConfig::default()),
        ..UpgradeConfig::default()
    };
    let mut handshake = ServerHandshake::new(config);
    let mut taken = 0;
    for chunk in chunks(bytes, cuts) {
        taken += chunk.len();
        match handshake.receive(chunk) {
            Ok(None) => {}
            Err(error) => return String::from_utf8_lossy(&error.response()).into_owned(),
            Ok(Some(request)) => return answer(request, &bytes[taken..]),
        }
    }
    "incomplete".into()
}

fn answer(request: Request, rest: &[u8]) -> String {
    match request.upgrade().map(|upgrade| upgrade.accept(Answer::default())) {
        Err(error) => String::from_utf8_lossy(&error.response()).into_owned(),
        Ok(accepted) => {
            let accepted = accepted.expect("the default answer fits");
            format!(
                "{:?} {:?} {:?}",
                accepted.response,
                accepted.negotiated,
                [&accepted.remainder, rest].concat()
            )
        }
    }
}

/// All that a client makes of `bytes` cut at `cuts`.
fn connect(bytes: &[u8], cuts: &[usize]) -> String {
    let config = ClientConfig {
        subprotocols: vec!["chat".into()],
        deflate: Some(DeflateConfig::default()),
        ..ClientConfig::default()
    };
    let url = Url::parse("ws://example.com/").unwrap();
    let mut handshake = ClientHandshake::new(&url, &config, *b"the sample nonce").unwrap();
    let mut taken = 0;
    for chunk in chunks(bytes, cuts) {
        taken += chunk.len();
        match handshake.receive(chunk) {
            Ok(None) => {}
            // How much of a refusal's body has come depends on the cuts.
            Err(ResponseError::Refused(refused)) => return format!("{:?}", refused.response),
            Err(error) => return format!("{error:?}"),
            Ok(Some(connected)) => {
                let behind = [&connected.remainder, &bytes[taken..]].concat();
                return format!("{:?} {:?} {behind:?}", connected.response, connected.negotiated);
            }
        }
    }
    "incomplete".into()
}

/// `bytes` cut at each of `cuts`, wherever that is.
fn chunks<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]).collect();
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter().map(|end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}

/// `bytes` with some of them replaced, removed, or put in twice.
fn mutated(bytes: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let interesting =
        prop_oneof![any::<u8>(), prop::sample::select(b"\r\n\0 \t:,;=\"\\/#@[]%*\x16\x80".to_vec())];
    prop::collection::vec((0..bytes.len(), 0..4_u8, interesting), 0..6).prop_map(|changes| {
        let mut bytes = bytes.to_vec();
        for (at, change, byte) in changes {
            let at = at.min(bytes.len() - 1);
            match change {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.extend_from_within(at..(at + usize::from(byte)).min(bytes.len())),
            }
        }
        bytes
    })
}

fn deflate(mut config: DeflateConfig, (takeover, server, client): (bool, u8, u8)) -> DeflateConfig {
    config.takeover = takeover;
    config.server_max_window_bits = server;
    config.client_max_window_bits = client;
    config
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(any::<usize>(), 0..8)
}

proptest! {
    #[test]
    fn cuts_change_nothing_for_the_server(bytes in mutated(REQUEST), cuts in cuts()) {
        prop_assert_eq!(serve(&bytes, &cuts), serve(&bytes, &[]));
    }

    #[test]
    fn cuts_change_nothing_for_the_client(bytes in mutated(RESPONSE), cuts in cuts()) {
        prop_assert_eq!(connect(&bytes, &cuts), connect(&bytes, &[]));
    }

    #[test]
    fn no_bytes_make_either_side_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        serve(&bytes, &[]);
        connect(&bytes, &[]);
    }

    #[test]
    fn no_field_makes_either_side_panic(name in "[a-zA-Z-]{1,30}", value in "[\t -~]{0,80}") {
        let field = format!("\r\n{name}: {value}\r\n\r\n");
        let put = |head: &[u8]| String::from_utf8_lossy(head).replace("\r\n\r\n", &field).into_bytes();
        serve(&put(REQUEST), &[]);
        connect(&put(RESPONSE), &[]);
    }

    #[test]
    fn no_extension_header_makes_either_side_panic(value in "[ a,;=\"\\\\0-9_]{0,40}") {
        let field = format!("x\r\nSec-WebSocket-Extensions: permessage-deflate{value}\r\n\r\n");
        let put = |head: &[u8]| String::from_utf8_lossy(head).replacen("\r\n\r\n", &field, 1).into_bytes();
        serve(&put(REQUEST), &[]);
        connect(&put(RESPONSE), &[]);
    }

    #[test]
    fn no_text_makes_urls_and_origins_panic(text in "\\PC{0,40}", host in "\\PC{0,20}") {
        let _ = (Url::parse(&text), Url::parse(&format!("ws://{text}")), OriginPolicy::any().allow(&text));
        OriginPolicy::same_host().admits(Some(&text), &host);
        OriginPolicy::same_host().admits(Some(&format!("http://{host}")), &host);
    }

    #[test]
    fn the_two_sides_agree(
        ours in (any::<bool>(), 0..20_u8, 0..20_u8), theirs in (any::<bool>(), 0..20_u8, 0..20_u8),
    ) {
        let config = ClientConfig { deflate: Some(deflate(DeflateConfig::default(), ours)), ..ClientConfig::default() };
        let url = Url::parse("wss://[::1]:1234/x?y").unwrap();
        let mut client = ClientHandshake::new(&url, &config, [7; 16]).unwrap();
        let mut server = ServerHandshake::new(UpgradeConfig { deflate: Some(deflate(DeflateConfig::default(), theirs)), ..Default::default() });
        let request = server.receive(client.request()).unwrap().unwrap();
        let accepted = request.upgrade().unwrap().accept(Answer::default()).unwrap();
        let connected = client.receive(&accepted.response).unwrap().unwrap();
        prop_assert_eq!(connected.negotiated, accepted.negotiated);
    }
}

#[test]
fn the_unchanged_examples_pass() {
    assert!(serve(REQUEST, &[]).contains("101 Switching"));
    assert!(connect(RESPONSE, &[]).contains("chat"));
}

#[test]
fn a_head_that_comes_byte_by_byte_takes_linear_time() {
    let filler = "X: y\r\n".repeat(95);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n{filler}\r\n", "a".repeat(15_000));
    let start = Instant::now();
    for _ in 0..20 {
        let mut handshake = ServerHandshake::new(UpgradeConfig::default());
        let requests = long.as_bytes().iter().filter_map(|&byte| handshake.receive(&[byte]).unwrap());
        assert_eq!(requests.count(), 1);
    }
    // Linear work is some 320,000 steps, and quadratic 2.6 thousand million: far apart even on a busy machine.
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn a_header_full_of_commas_takes_linear_time() {
    let start = Instant::now();
    for filler in [",", ";a", "\\", "a,", "\"", " "] {
        let value = filler.repeat(15_000 / filler.len());
        let field = |name: &str| format!("\r\n{name}: x{value}\r\n\r\n");
        let request = String::from_utf8_lossy(REQUEST);
        serve(request.replacen("\r\n\r\n", &field("Sec-WebSocket-Extensions"), 1).as_bytes(), &[]);
        serve(request.replacen("\r\n\r\n", &field("Sec-WebSocket-Protocol"), 1).as_bytes(), &[]);
        serve(request.replacen("\r\n\r\n", &field("Connection"), 1).as_bytes(), &[]);
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}
