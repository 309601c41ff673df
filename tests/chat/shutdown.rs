//! Going down: everybody is told, nobody is left without an answer, and nobody can hold it up for ever.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::common::client::{Client, RawClient, ask, read_head, request};
use crate::common::server::{Server, within};

#[tokio::test]
async fn on_sigterm_everybody_is_closed_with_1001_and_it_exits_with_0() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(&["chat"]).await;
        let mut named = Client::join(&server, "ann").await;
        let mut nameless = Client::connect(&server, "/rooms/other").await;
        server.signal(signal).await;
        for client in [&mut named, &mut nameless] {
            // And no line before it: that the others leave is no news now.
            let (code, reason) = client.closed().await;
            assert_eq!(code, 1001);
            let seconds = reason.strip_prefix("retry-after=").and_then(|seconds| seconds.parse().ok());
            assert!(seconds.is_some_and(|seconds: u64| seconds > 0), "{reason}");
        }
        drop((named, nameless));
        assert_eq!(server.wait().await.code(), Some(0), "{signal}");
    }
}

#[tokio::test]
async fn a_server_can_be_stopped_as_soon_as_it_listens() {
    for command in ["chat", "echo"] {
        let mut server = Server::start(&[command]).await;
        server.signal("TERM").await;
        assert_eq!(server.wait().await.code(), Some(0), "{command}");
    }
}

#[tokio::test]
async fn a_client_that_never_closes_is_cut_off_in_time() {
    let mut server = Server::start(&["chat", "--drain-timeout", "300ms"]).await;
    let mut stubborn = RawClient::join(&server, "stubborn").await;
    server.signal("TERM").await;
    assert_eq!(stubborn.recv().await.0, 0x88);
    assert_eq!(server.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_exits_at_once() {
    let mut server = Server::start(&["chat", "--drain-timeout", "1h"]).await;
    let mut stubborn = RawClient::join(&server, "stubborn").await;
    server.signal("TERM").await;
    assert_eq!(stubborn.recv().await.0, 0x88);
    server.signal("TERM").await;
    assert_eq!(server.wait().await.code(), Some(1));
}

#[tokio::test]
async fn whoever_is_in_the_backlog_gets_an_answer() {
    let mut server = Server::start(&["chat", "--threads", "1"]).await;
    server.signal("STOP").await;
    let mut waiting = Vec::new();
    for _ in 0..200 {
        waiting.push(ask(&server, "/", &[]).await);
    }
    server.signal("TERM").await;
    server.signal("CONT").await;
    let mut refused = 0;
    for mut stream in waiting {
        let head = read_head(&mut stream).await;
        if head.starts_with("HTTP/1.1 503 ") {
            assert!(head.contains("\r\nRetry-After: "), "{head}");
            refused += 1;
        } else {
            // Accepted just before the signal was seen.
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        }
    }
    assert!(refused > 0);
    assert_eq!(server.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_request_that_comes_while_it_drains_is_refused() {
    let server = Server::start(&["chat"]).await;
    let mut stubborn = RawClient::join(&server, "stubborn").await;
    let mut late = within(TcpStream::connect(server.address())).await.unwrap();
    let request = request("/", &[]);
    let (first, rest) = request.split_at(20);
    late.write_all(first.as_bytes()).await.unwrap();
    server.signal("TERM").await;
    assert_eq!(stubborn.recv().await.0, 0x88);
    late.write_all(rest.as_bytes()).await.unwrap();
    let head = read_head(&mut late).await;
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: "), "{head}");
}

#[tokio::test]
async fn nobody_new_is_let_in_while_it_drains() {
    let server = Server::start(&["chat"]).await;
    let mut stubborn = RawClient::join(&server, "stubborn").await;
    server.signal("TERM").await;
    assert_eq!(stubborn.recv().await.0, 0x88);
    let connected = within(TcpStream::connect(server.address())).await;
    assert_eq!(connected.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_silent_connection_does_not_hold_up_a_stop() {
    let mut server = Server::start(&["chat", "--drain-timeout", "1h"]).await;
    let silent = TcpStream::connect(server.address()).await.unwrap();
    // Somebody who came after it is in: so it was accepted.
    drop(Client::join(&server, "ann").await);
    server.signal("TERM").await;
    assert_eq!(server.wait().await.code(), Some(0));
    drop(silent);
}
