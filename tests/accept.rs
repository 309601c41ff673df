//! Requests that are refused, on a stream: what is answered, and how the connection ends.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use switchboard::handshake::{AnswerError, RequestError};
use switchboard::{Acceptor, Config, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A peer that has sent `bytes` and shut its side, and our end.
async fn half_closed(bytes: &str) -> (DuplexStream, DuplexStream) {
    let (mut peer, ours) = tokio::io::duplex(1 << 16);
    peer.write_all(bytes.as_bytes()).await.unwrap();
    peer.shutdown().await.unwrap();
    (peer, ours)
}

async fn rest_of(mut peer: DuplexStream) -> String {
    let mut text = String::new();
    peer.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_rejection_may_have_fields_of_its_own() {
    let (peer, ours) = half_closed(REQUEST).await;
    let request = Acceptor::new(Config::default()).read(ours).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    request.reject_with(StatusCode::UNAUTHORIZED, &headers, "send a token").await.unwrap();
    let answer = rest_of(peer).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nwww-authenticate: bearer\r\n"), "{answer}");
    assert!(answer.contains("send a token"), "{answer}");

    let (peer, ours) = half_closed(REQUEST).await;
    let request = Acceptor::new(Config::default()).read(ours).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("7"));
    let refused = request.reject_with(StatusCode::UNAUTHORIZED, &headers, "send a token").await.unwrap_err();
    let Error::Answer(error) = refused else { panic!("{refused}") };
    assert_eq!(*error, AnswerError::ReservedHeader(header::CONTENT_LENGTH));
    assert!(rest_of(peer).await.starts_with("HTTP/1.1 500 "));
}

#[tokio::test]
async fn a_request_that_ends_halfway_is_told_so() {
    for len in [1, 20, REQUEST.len() - 1] {
        let (peer, ours) = half_closed(&REQUEST[..len]).await;
        let error = Acceptor::new(Config::default()).accept(ours).await.unwrap_err();
        assert!(matches!(&error, Error::Request(error) if **error == RequestError::Unfinished), "{error}");
        assert!(rest_of(peer).await.starts_with("HTTP/1.1 400 "), "after {len} bytes");
    }
    // Who has asked for nothing gets nothing.
    let (peer, ours) = half_closed("").await;
    assert!(matches!(Acceptor::new(Config::default()).accept(ours).await, Err(Error::Lost)));
    assert_eq!(rest_of(peer).await, "");
}
