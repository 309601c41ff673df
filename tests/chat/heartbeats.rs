//! Whoever gives no sign of life is gone; whoever does stays.

use std::time::Duration;

use crate::common::client::{Client, RawClient};
use crate::common::server::Server;

const QUICK: [&str; 5] = ["chat", "--ping-interval", "200ms", "--pong-timeout", "600ms"];

#[tokio::test]
async fn a_client_that_answers_no_ping_is_told_and_gone() {
    let server = Server::start(&QUICK).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut silent = RawClient::join(&server, "silent").await;
    assert_eq!(ann.recv_text().await, "[system] >>> silent joined the chat");
    assert_eq!(ann.recv_text().await, "[system] >>> silent left the chat");
    let mut pings = 0;
    let (first, close) = loop {
        match silent.recv().await {
            (0x89, _) => pings += 1,
            frame => break frame,
        }
    };
    assert!(pings > 0);
    assert_eq!((first, &close[..2]), (0x88, &1011u16.to_be_bytes()[..]));
}

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let server = Server::start(&QUICK).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut bob = Client::join(&server, "bob").await;
    assert_eq!(ann.recv_text().await, "[system] >>> bob joined the chat");
    // They answer while they wait for messages, of which none come.
    let quiet = async { tokio::join!(ann.ws.recv(), bob.ws.recv()) };
    assert!(tokio::time::timeout(Duration::from_millis(1500), quiet).await.is_err());
    ann.say("still here").await;
    assert_eq!(bob.recv_text().await, "[ann] still here");
}

#[tokio::test]
async fn zero_turns_heartbeats_off() {
    let server = Server::start(&["chat", "--ping-interval", "0s", "--pong-timeout", "0s"]).await;
    let mut silent = RawClient::join(&server, "silent").await;
    let mut ann = Client::join(&server, "ann").await;
    assert_eq!(silent.recv().await, (0x81, b"[system] >>> ann joined the chat".to_vec()));
    for _ in 0..20 {
        ann.say("hi").await;
        assert_eq!(silent.recv().await, (0x81, b"[ann] hi".to_vec()));
    }
}
