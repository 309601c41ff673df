//! The server's side of the handshake: RFC 6455's example, and each row of the table of refusals.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use switchboard::handshake::*;
use switchboard::proto::Limits;
use switchboard::proto::deflate::{DeflateConfig, DeflateParams};

/// The request of RFC 6455 §1.2.
const EXAMPLE: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn plain() -> String {
    EXAMPLE
        .replace("Origin: http://example.com\r\n", "")
        .replace("Sec-WebSocket-Protocol: chat, superchat\r\n", "")
}

fn config() -> UpgradeConfig {
    UpgradeConfig::default()
}

fn read(bytes: &[u8], config: UpgradeConfig) -> Result<Request, RequestError> {
    Ok(ServerHandshake::new(config).receive(bytes)?.expect("the head is complete"))
}

fn upgrade(text: &str, config: UpgradeConfig) -> Result<Upgrade, RequestError> {
    read(text.as_bytes(), config)?.upgrade()
}

fn refusal(text: &str) -> RequestError {
    match upgrade(text, config()) {
        Ok(_) => panic!("must be refused: {text:?}"),
        Err(error) => error,
    }
}

fn with(field: &str) -> String {
    plain().replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"))
}

#[test]
fn answers_the_example_of_the_rfc() {
    let config =
        UpgradeConfig { subprotocols: vec!["chat".into()], origins: OriginPolicy::any(), ..config() };
    let accepted = upgrade(EXAMPLE, config).unwrap().accept(Answer::default()).unwrap();
    assert_eq!(
        accepted.response,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    );
    assert_eq!(accepted.negotiated, Negotiated { subprotocol: Some("chat".into()), deflate: None });
    assert_eq!(accepted.request.uri().path(), "/chat");
    assert_eq!(accepted.remainder, Bytes::new());
}

#[test]
fn every_refusal_has_its_status_and_fields() {
    use RequestError as E;
    use http::{Method, header::*};
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let version = "Sec-WebSocket-Version: 13";
    let host = "Host: server.example.com";
    let cases: Vec<(String, u16, RequestError)> = vec![
        (plain().replace("GET", "POST"), 405, E::MethodNotAllowed(Method::POST)),
        (plain().replace("GET", "HEAD"), 405, E::MethodNotAllowed(Method::HEAD)),
        (plain().replace("HTTP/1.1", "HTTP/2.0"), 505, E::Head(HeadError::UnsupportedVersion)),
        (plain().replace("HTTP/1.1", "HTTP/1.2"), 505, E::Head(HeadError::UnsupportedVersion)),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 505, E::Head(HeadError::UnsupportedVersion)),
        (plain().replace("HTTP/1.1", "HTTP/1.0"), 426, E::Http10),
        (plain().replace("Upgrade: websocket\r\n", ""), 426, E::NoUpgrade),
        (plain().replace("Upgrade: websocket", "Upgrade: websocket2"), 426, E::NoUpgrade),
        (plain().replace("Connection: Upgrade", "Connection: keep-alive"), 426, E::NoUpgrade),
        (plain().replace(version, "Sec-WebSocket-Version: 8"), 426, E::UnsupportedWebSocketVersion),
        (plain().replace(version, "Sec-WebSocket-Version: 013"), 426, E::UnsupportedWebSocketVersion),
        (plain().replace(version, "X: y"), 426, E::UnsupportedWebSocketVersion),
        (with(host), 400, E::RepeatedHeader(HOST)),
        (with("Origin: http://a\r\nOrigin: http://a"), 400, E::RepeatedHeader(ORIGIN)),
        (with(key), 400, E::RepeatedHeader(SEC_WEBSOCKET_KEY)),
        (with(version), 400, E::RepeatedHeader(SEC_WEBSOCKET_VERSION)),
        (with("Content-Length: 0\r\nContent-Length: 0"), 400, E::RepeatedHeader(CONTENT_LENGTH)),
        (plain().replace(host, "X: y"), 400, E::MissingHost),
        (plain().replace(host, "Host:"), 400, E::InvalidHost),
        (plain().replace(host, "Host: a b"), 400, E::InvalidHost),
        (plain().replace(host, "Host: user@a"), 400, E::InvalidHost),
        (plain().replace(key, "X: y"), 400, E::MissingKey),
        (plain().replace(key, "Sec-WebSocket-Key:"), 400, E::InvalidKey),
        (plain().replace(key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"), 400, E::InvalidKey),
        (plain().replace(key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU="), 400, E::InvalidKey),
        (with("Content-Length: 1"), 400, E::UnexpectedBody),
        (with("Transfer-Encoding: chunked"), 400, E::UnexpectedBody),
        (with("X: a\r\n b"), 400, E::Head(HeadError::FoldedLine)),
        (with("X: a\rb"), 400, E::Head(HeadError::BareCarriageReturn)),
        (with("X: a\nY: b"), 400, E::Head(HeadError::BareLineFeed)),
        (with("X : a"), 400, E::Head(HeadError::SpaceBeforeColon)),
        (with("Sec-WebSocket-Protocol:"), 400, E::InvalidSubprotocols),
        (with("Sec-WebSocket-Protocol: a, a"), 400, E::InvalidSubprotocols),
        (with("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b, a"), 400, E::InvalidSubprotocols),
        (with("Sec-WebSocket-Protocol: a/b"), 400, E::InvalidSubprotocols),
        (with("Sec-WebSocket-Extensions: a;"), 400, E::InvalidExtensions),
        (plain().replace("/chat", "/chat#a"), 400, E::InvalidTarget),
        (plain().replace("/chat", "chat"), 400, E::InvalidTarget),
        (plain().replace("/chat", "*"), 400, E::InvalidTarget),
        (plain().replace("/chat", "server.example.com:80"), 400, E::InvalidTarget),
        (plain().replace("/chat", "ftp://server.example.com/"), 400, E::InvalidTarget),
        (plain().replace("/chat", "http://other.example.com/"), 400, E::HostMismatch),
        (plain().replace("/chat", "http://u@server.example.com/"), 400, E::InvalidTarget),
        (with("Origin: http://evil.example"), 403, E::OriginRefused),
        (with("Origin: null"), 403, E::OriginRefused),
        (with("Origin: \u{e4}"), 403, E::OriginRefused),
        (with(&format!("X: {}", "x".repeat(16 << 10))), 431, E::Head(HeadError::TooLarge { limit: 16384 })),
        (with(&"X: y\r\n".repeat(100)), 431, E::Head(HeadError::TooManyFields { limit: 100 })),
        ("\u{16}\u{3}\u{1}".into(), 400, E::Head(HeadError::Tls)),
    ];
    for (text, status, expected) in cases {
        let error = refusal(&text);
        assert_eq!(error, expected, "{text:?}");
        assert_eq!(error.status().as_u16(), status, "{error}: {text:?}");
        check_response(&error);
    }
}

/// The response is whole, says why in one line, and has what its status asks for.
fn check_response(error: &RequestError) {
    let response = String::from_utf8(error.response().to_vec()).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let has = |field: &str| head.lines().any(|line| line == field);
    assert!(head.starts_with(&format!("HTTP/1.1 {}\r\n", error.status())), "{response}");
    assert!(has(&format!("Content-Length: {}", error.to_string().len() + 1)), "{response}");
    assert!(has("Content-Type: text/plain; charset=utf-8"), "{response}");
    let is_head = *error == RequestError::MethodNotAllowed(http::Method::HEAD);
    assert_eq!(body, if is_head { String::new() } else { format!("{error}\n") });
    match error.status().as_u16() {
        405 => assert!(has("Allow: GET") && has("Connection: close"), "{response}"),
        426 => assert!(
            has("Upgrade: websocket")
                && has("Connection: Upgrade, close")
                && has("Sec-WebSocket-Version: 13"),
            "{response}"
        ),
        503 => assert!(has("Retry-After: 2") && has("Connection: close"), "{response}"),
        _ => assert!(has("Connection: close"), "{response}"),
    }
}

#[test]
fn whoever_has_the_clock_refuses_with_408_and_503() {
    let no_room = RequestError::NoRoom { retry_after: Duration::from_millis(1001) };
    assert_eq!((RequestError::Timeout.status().as_u16(), no_room.status().as_u16()), (408, 503));
    check_response(&RequestError::Timeout);
    check_response(&no_room);
    assert!(!RequestError::NoRoom { retry_after: Duration::MAX }.response().is_empty());
}

#[test]
fn smuggled_requests_are_refused_whatever_they_ask_for() {
    let cases = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding:\u{b}chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\r\n: chunked",
        " Transfer-Encoding: chunked",
        "X: y\0",
        "X: \u{7f}",
        "X\u{e9}: y",
        "Host: a",
    ];
    for fields in cases {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        let error = read(text.as_bytes(), config()).expect_err(&text);
        assert_eq!(error.status(), StatusCode::BAD_REQUEST, "{text:?}");
    }
    let old = read(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", config());
    assert_eq!(old.unwrap_err(), RequestError::UnclearBody);
}

#[test]
fn plain_http_is_no_error_until_an_upgrade_is_needed() {
    let cases: [(&str, bool); 6] = [
        ("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", false),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", false),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", false),
        (
            "GET http://a/ HTTP/1.1\r\nHost: A:80\r\nupgrade: h2c, WebSocket\r\nconnection: x, UPGRADE\r\n\r\n",
            true,
        ),
    ];
    for (text, is_upgrade) in cases {
        let request = read(text.as_bytes(), config()).unwrap_or_else(|error| panic!("{error}: {text:?}"));
        assert_eq!(request.is_upgrade(), is_upgrade, "{text:?}");
    }
    let post = read(b"POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", config()).unwrap();
    assert_eq!(post.into_parts().1, "hi");
}

#[test]
fn a_plain_request_can_be_refused_too() {
    let head = read(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n", config()).unwrap();
    assert!(head.reject(StatusCode::NOT_FOUND, "nothing here").ends_with(b"Content-Length: 13\r\n\r\n"));
}

#[test]
fn lists_on_several_lines_are_joined_in_either_case() {
    let text = plain()
        .replace("Connection: Upgrade", "connection: keep-alive\r\nCONNECTION: , upGRADE")
        .replace("Upgrade: websocket", "upgrade: h2c\r\nUPGRADE: WebSocket");
    assert!(upgrade(&text, config()).is_ok());
}

#[test]
fn subprotocols_go_by_the_servers_preference() {
    let text = with("Sec-WebSocket-Protocol: c, b\r\nSec-WebSocket-Protocol: a");
    let config = UpgradeConfig { subprotocols: vec!["x".into(), "a".into(), "b".into()], ..config() };
    let choose = |subprotocol| {
        let upgrade = upgrade(&text, config.clone()).unwrap();
        assert_eq!(upgrade.subprotocols(), ["c", "b", "a"]);
        let answer = Answer { subprotocol, ..Answer::default() };
        upgrade.accept(answer).map(|accepted| accepted.negotiated.subprotocol)
    };
    assert_eq!(choose(SubprotocolChoice::Preferred), Ok(Some("a".into())));
    assert_eq!(choose(SubprotocolChoice::Nothing), Ok(None));
    assert_eq!(choose(SubprotocolChoice::Named("c".into())), Ok(Some("c".into())));
    assert_eq!(
        choose(SubprotocolChoice::Named("x".into())),
        Err(AnswerError::SubprotocolNotOffered("x".into()))
    );
}

#[test]
fn deflate_is_agreed_on_only_where_both_want_it() {
    let text = with("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits");
    let none = upgrade(&text, config()).unwrap().accept(Answer::default()).unwrap();
    assert_eq!(none.negotiated.deflate, None);
    let with_deflate = UpgradeConfig { deflate: Some(DeflateConfig::default()), ..config() };
    let accepted = upgrade(&text, with_deflate).unwrap().accept(Answer::default()).unwrap();
    let expected = DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    assert_eq!(accepted.negotiated.deflate, Some(expected));
    assert!(accepted.response.ends_with(
        b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
          client_no_context_takeover\r\n\r\n"
    ));
}

#[test]
fn an_answer_may_add_fields_but_not_contradict() {
    let answer = |name: &'static str| {
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static("x"))]);
        upgrade(&plain(), config()).unwrap().accept(Answer { headers, ..Answer::default() })
    };
    assert!(answer("set-cookie").unwrap().response.ends_with(b"set-cookie: x\r\n\r\n"));
    for name in ["upgrade", "connection", "sec-websocket-accept", "content-length", "transfer-encoding"] {
        let error = answer(name).unwrap_err();
        assert_eq!(error, AnswerError::ReservedHeader(name.parse().unwrap()));
        assert!(error.response().starts_with(b"HTTP/1.1 500 "));
    }
}

#[test]
fn an_upgrade_can_be_rejected() {
    let bytes = upgrade(&plain(), config()).unwrap().reject(StatusCode::NOT_FOUND, "no such room");
    assert!(bytes.starts_with(b"HTTP/1.1 404 Not Found\r\n") && bytes.ends_with(b"\r\n\r\nno such room\n"));
    let headers =
        HeaderMap::from_iter([(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))]);
    let rejected = upgrade(&plain(), config()).unwrap().reject_with(StatusCode::UNAUTHORIZED, &headers, "no");
    assert!(rejected.unwrap().windows(24).any(|part| part == b"www-authenticate: Bearer"));
    let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("text/html"))]);
    let rejected = upgrade(&plain(), config()).unwrap().reject_with(StatusCode::FORBIDDEN, &headers, "no");
    assert_eq!(rejected, Err(AnswerError::ReservedHeader(http::header::CONTENT_TYPE)));
}

#[test]
fn the_first_frames_survive() {
    let mut bytes = plain().into_bytes();
    bytes.extend_from_slice(b"\x81\x80\x01\x02\x03\x04");
    let request = read(&bytes, config()).unwrap();
    let accepted = request.upgrade().unwrap().accept(Answer::default()).unwrap();
    assert_eq!(&accepted.remainder[..], b"\x81\x80\x01\x02\x03\x04");
}

#[test]
fn limits_are_exact() {
    let text = plain();
    let read = |limits| read(text.as_bytes(), UpgradeConfig { limits, ..config() });
    assert!(read(limits(text.len(), 5)).is_ok());
    let limit = text.len() - 1;
    assert_eq!(read(limits(limit, 5)).unwrap_err(), HeadError::TooLarge { limit }.into());
    assert_eq!(read(limits(text.len(), 4)).unwrap_err(), HeadError::TooManyFields { limit: 4 }.into());
    assert_eq!(read(limits(0, 0)).unwrap_err(), HeadError::TooLarge { limit: 0 }.into());
}

fn limits(max_head_bytes: usize, max_headers: usize) -> Limits {
    let mut limits = Limits::default();
    limits.max_head_bytes = max_head_bytes;
    limits.max_headers = max_headers;
    limits
}
