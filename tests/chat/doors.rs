//! Who is let in: paths, origins, and how many.

use crate::common::client::{Client, answer_to};
use crate::common::server::Server;

async fn status(server: &Server, path: &str, fields: &[&str]) -> String {
    let head = answer_to(server, path, fields).await;
    head.split(' ').nth(1).expect("a status").to_owned()
}

#[tokio::test]
async fn any_other_path_is_not_found() {
    let server = Server::start(&["chat"]).await;
    for path in ["/other", "/rooms", "/rooms/", "/rooms/a/b", "/rooms/a%20b", "/ws/", "//"] {
        assert_eq!(status(&server, path, &[]).await, "404", "{path}");
    }
    let longest = format!("/rooms/{}", "x".repeat(64));
    assert_eq!(status(&server, &longest, &[]).await, "101");
    assert_eq!(status(&server, &format!("{longest}x"), &[]).await, "404");
}

#[tokio::test]
async fn a_page_of_another_host_is_refused() {
    let server = Server::start(&["chat"]).await;
    for (origin, expected) in [
        ("http://chat.example", "101"),
        ("http://evil.example", "403"),
        ("http://chat.example.evil.example", "403"),
        ("http://chat.example:81", "403"),
        ("null", "403"),
    ] {
        let field = format!("Origin: {origin}");
        assert_eq!(status(&server, "/", &[&field]).await, expected, "{origin}");
    }
}

#[tokio::test]
async fn the_origins_that_are_allowed_may_connect_too() {
    let allowed = ["chat", "--allow-origin", "https://a.example", "--allow-origin", "http://b.example:8080"];
    let server = Server::start(&allowed).await;
    for (origin, expected) in [
        ("https://a.example", "101"),
        ("http://b.example:8080", "101"),
        ("http://chat.example", "101"),
        ("http://a.example", "403"),
        ("http://b.example", "403"),
    ] {
        let field = format!("Origin: {origin}");
        assert_eq!(status(&server, "/", &[&field]).await, expected, "{origin}");
    }
    let open = Server::start(&["chat", "--allow-origin", "*"]).await;
    assert_eq!(status(&open, "/", &["Origin: https://anywhere.example"]).await, "101");
}

#[tokio::test]
async fn whoever_is_one_too_many_is_told_to_come_back() {
    let server = Server::start(&["chat", "--max-connections", "2"]).await;
    let mut ann = Client::join(&server, "ann").await;
    let bob = Client::join(&server, "bob").await;
    let head = answer_to(&server, "/", &[]).await;
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: "), "{head}");
    bob.close().await;
    assert_eq!(ann.recv_text().await, "[system] >>> bob joined the chat");
    assert_eq!(ann.recv_text().await, "[system] >>> bob left the chat");
    // A place is free when the connection has ended, which is soon after that line.
    while status(&server, "/", &[]).await != "101" {}
}
