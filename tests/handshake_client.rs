//! The client's side of the handshake: RFC 6455's example, and each answer that must not pass.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use switchboard::handshake::*;
use switchboard::proto::deflate::DeflateConfig;

const ENTROPY: [u8; 16] = *b"the sample nonce";
/// The response of RFC 6455 §1.2, without its subprotocol.
const EXAMPLE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn config() -> ClientConfig {
    ClientConfig {
        subprotocols: vec!["chat".into(), "superchat".into()],
        deflate: Some(DeflateConfig::default()),
        ..ClientConfig::default()
    }
}

fn handshake(config: &ClientConfig) -> ClientHandshake {
    let url = Url::parse("ws://server.example.com/chat").unwrap();
    ClientHandshake::new(&url, config, ENTROPY).unwrap()
}

fn receive(text: &str) -> Result<Connected, ResponseError> {
    Ok(handshake(&config()).receive(text.as_bytes())?.expect("the head is complete"))
}

fn failure(text: &str) -> ResponseError {
    receive(text).expect_err(text)
}

fn with(field: &str) -> String {
    EXAMPLE.replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"))
}

#[test]
fn asks_as_the_rfc_says() {
    let mut config = config();
    config.origin = Some(HeaderValue::from_static("http://example.com"));
    config.headers.insert(header::COOKIE, HeaderValue::from_static("a=b"));
    assert_eq!(
        std::str::from_utf8(handshake(&config).request()).unwrap(),
        "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\ncookie: a=b\r\n\r\n"
    );
}

#[test]
fn takes_the_answer_and_what_comes_behind_it() {
    let text =
        with("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate") + "\u{1}frame";
    let connected = receive(&text).unwrap();
    assert_eq!(connected.negotiated.subprotocol.as_deref(), Some("chat"));
    assert!(!connected.negotiated.deflate.unwrap().server_no_context_takeover);
    assert_eq!(&connected.remainder[..], b"\x01frame");
    assert_eq!(connected.response.status(), 101);
}

#[test]
fn upper_case_lists_and_a_missing_reason_are_fine() {
    let text = EXAMPLE.replace(" Switching Protocols", " ").replace("websocket", "WebSocket");
    assert!(
        receive(&text.replace("Connection: Upgrade", "connection: keep-alive\r\nconnection: UPGRADE"))
            .is_ok()
    );
}

#[test]
fn interim_responses_are_skipped_within_the_limit() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    assert!(receive(&format!("HTTP/1.1 100 Continue\r\n\r\n{hints}{EXAMPLE}")).is_ok());
    let flood = failure(&hints.repeat(1000));
    assert!(matches!(flood, ResponseError::Head(HeadError::TooLarge { .. })), "{flood}");
}

#[test]
fn every_wrong_answer_fails() {
    use ResponseError as E;
    type Check = fn(&ResponseError) -> bool;
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    let cases: Vec<(String, Check)> = vec![
        ("SSH-2.0-x\r\n".into(), |e| matches!(e, E::Head(HeadError::NotHttp(b'S')))),
        ("\u{15}\u{3}\u{1}".into(), |e| matches!(e, E::Head(HeadError::Tls))),
        ("HTTP/2.0 200\r\n".into(), |e| matches!(e, E::Head(HeadError::UnsupportedVersion))),
        ("HTTP/1.1 1O1 x\r\n\r\n".into(), |e| matches!(e, E::Head(HeadError::InvalidStartLine))),
        ("HTTP/1.1 000 x\r\n\r\n".into(), |e| matches!(e, E::Head(HeadError::InvalidStartLine))),
        (EXAMPLE.replace("/1.1", "/1.0"), |e| matches!(e, E::Http10)),
        (EXAMPLE.replace("101", "200"), |e| matches!(e, E::Refused(_))),
        (EXAMPLE.replace("Upgrade: websocket\r\n", ""), |e| matches!(e, E::InvalidUpgrade)),
        (EXAMPLE.replace("websocket", "websocket, h2c"), |e| matches!(e, E::InvalidUpgrade)),
        (with("Upgrade: websocket"), |e| matches!(e, E::RepeatedHeader(name) if name == "upgrade")),
        (EXAMPLE.replace("Connection: Upgrade", "Connection: close"), |e| matches!(e, E::InvalidConnection)),
        (EXAMPLE.replace("Connection: Upgrade", "X: y"), |e| matches!(e, E::InvalidConnection)),
        (EXAMPLE.replace(accept, "X: y"), |e| matches!(e, E::InvalidAccept)),
        (EXAMPLE.replace("s3p", "S3p"), |e| matches!(e, E::InvalidAccept)),
        (with(accept), |e| matches!(e, E::RepeatedHeader(_))),
        (with("Sec-WebSocket-Protocol: other"), |e| matches!(e, E::SubprotocolNotOffered(_))),
        (with("Sec-WebSocket-Protocol: Chat"), |e| matches!(e, E::SubprotocolNotOffered(_))),
        (with("Sec-WebSocket-Protocol:"), |e| matches!(e, E::SubprotocolNotOffered(_))),
        (with("Sec-WebSocket-Protocol: chat, superchat"), |e| matches!(e, E::SubprotocolNotOffered(_))),
        (with("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat"), |e| {
            matches!(e, E::RepeatedHeader(_))
        }),
        (with("Sec-WebSocket-Extensions: x"), |e| matches!(e, E::Extensions(ExtensionError::NotOffered(_)))),
        (with("Sec-WebSocket-Extensions:"), |e| matches!(e, E::Extensions(ExtensionError::Malformed))),
    ];
    for (text, is_expected) in cases {
        let error = failure(&text);
        assert!(is_expected(&error), "{error:?}: {text:?}");
    }
}

#[test]
fn nothing_is_negotiated_that_was_not_offered() {
    let bare = ClientConfig::default();
    for field in ["Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate"] {
        assert!(handshake(&bare).receive(with(field).as_bytes()).is_err(), "{field}");
    }
}

#[test]
fn a_refusal_tells_all_it_said() {
    let text = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 9\r\n\r\nno room\r\n";
    let ResponseError::Refused(refused) = failure(text) else { panic!("must be a refusal") };
    assert_eq!((refused.status().as_u16(), refused.retry_after()), (503, Some(Duration::from_secs(7))));
    assert_eq!(&refused.body[..], b"no room\r\n");
    assert_eq!(refused.to_string(), "503 Service Unavailable: \"no room\"");
    let long = format!("{text}{}", "x".repeat(5000));
    let ResponseError::Refused(refused) = failure(&long) else { panic!("must be a refusal") };
    assert_eq!(refused.body.len(), 1024);
}

#[test]
fn a_failure_stays() {
    let mut handshake = handshake(&config());
    assert!(handshake.receive(EXAMPLE.replace("s3p", "S3p").as_bytes()).is_err());
    assert!(matches!(handshake.receive(EXAMPLE.as_bytes()), Err(ResponseError::InvalidAccept)));
}

#[test]
fn an_offer_has_to_be_sound() {
    let url = Url::parse("ws://a/").unwrap();
    let offer = |config: &ClientConfig| ClientHandshake::new(&url, config, ENTROPY).map(|_| ()).unwrap_err();
    for names in [vec!["a b"], vec![""], vec!["a", "a"]] {
        let subprotocols: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let wrong = names.last().map(|name| (*name).into()).unwrap();
        let config = ClientConfig { subprotocols, ..ClientConfig::default() };
        assert_eq!(offer(&config), OfferError::InvalidSubprotocol(wrong));
    }
    for name in ["host", "upgrade", "connection", "origin", "sec-websocket-key", "content-length"] {
        let name: http::HeaderName = name.parse().unwrap();
        let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("x"))]);
        let config = ClientConfig { headers, ..ClientConfig::default() };
        assert_eq!(offer(&config), OfferError::ReservedHeader(name));
    }
}
