//! Those who read too slowly, those who say too much, and the others, who feel neither.

use crate::common::client::{Client, RawClient};
use crate::common::server::Server;

/// Far more in all than the kernel keeps for a client that doesn't read.
const TEXTS: usize = 512;

/// A text that is long, and has a number.
fn text(number: usize) -> String {
    format!("{number:05}{}", "x".repeat(16 << 10))
}

async fn start(policy: &str) -> Server {
    let arguments = ["chat", "--slow-consumer", policy, "--queue-bytes", "256KiB"];
    Server::start(&[&arguments[..], &["--rate-messages", "0", "--rate-bytes", "0"]].concat()).await
}

/// Ann talks, Bob has to hear all of it, and somebody else doesn't read.
async fn talk_past_a_slow_one(server: &Server) -> (RawClient, Client) {
    let slow = RawClient::join(server, "slow").await;
    let mut bob = Client::join(server, "bob").await;
    let mut ann = Client::join(server, "ann").await;
    assert_eq!(bob.recv_text().await, "[system] >>> ann joined the chat");
    for number in 0..TEXTS {
        let text = text(number);
        ann.say(&text).await;
        assert_eq!(bob.recv_text().await, format!("[ann] {text}"));
    }
    (slow, ann)
}

/// Reads until every text has come or is said to be missed, and returns the numbers of those that came.
async fn catch_up(slow: &mut Client) -> Vec<usize> {
    let (mut numbers, mut missed) = (Vec::new(), 0);
    while numbers.len() + missed < TEXTS {
        let line = slow.recv_text().await;
        if let Some(said) = line.strip_prefix("[ann] ") {
            numbers.push(said[..5].parse().unwrap());
        } else if let Some(news) = line.strip_prefix("[system] you missed ") {
            missed += news.split(' ').next().unwrap().parse::<usize>().unwrap();
        } else {
            assert!(line.ends_with(" joined the chat"), "{line}");
        }
    }
    assert!(numbers.is_sorted() && missed > 0);
    numbers
}

#[tokio::test]
async fn a_slow_client_is_disconnected_with_1013() {
    let server = start("disconnect").await;
    let slow = RawClient::join(&server, "slow").await;
    let mut bob = Client::join(&server, "bob").await;
    let mut ann = Client::join(&server, "ann").await;
    assert_eq!(bob.recv_text().await, "[system] >>> ann joined the chat");
    // Told while that client still reads nothing, not even its Close.
    let mut number = 0;
    let left = loop {
        ann.say(&text(number)).await;
        match bob.recv_text().await {
            line if line.starts_with("[ann] ") => number += 1,
            line => break line,
        }
        assert!(number < TEXTS, "the slow client is still there");
    };
    assert_eq!(left, "[system] >>> slow left the chat");
    let mut slow = slow.into_client();
    while let Some(message) = slow.ws.recv().await.unwrap() {
        assert!(!message.as_text().unwrap().contains("missed"));
    }
    assert_eq!(slow.ws.close_frame().unwrap().code().get(), 1013);
}

#[tokio::test]
async fn by_drop_oldest_a_slow_client_gets_the_newest() {
    for policy in ["drop-oldest", "latest-per-key"] {
        let server = start(policy).await;
        let (slow, _ann) = talk_past_a_slow_one(&server).await;
        let numbers = catch_up(&mut slow.into_client()).await;
        assert_eq!(numbers.last(), Some(&(TEXTS - 1)), "{policy}");
    }
}

#[tokio::test]
async fn by_drop_newest_a_slow_client_gets_the_oldest() {
    let server = start("drop-newest").await;
    let (slow, mut ann) = talk_past_a_slow_one(&server).await;
    let mut slow = slow.into_client();
    let numbers = catch_up(&mut slow).await;
    assert!(numbers.iter().copied().eq(0..numbers.len()));
    // It has caught up: from now on it is like everybody else.
    ann.say("now").await;
    while slow.recv_text().await != "[ann] now" {}
}

#[tokio::test]
async fn whoever_says_too_much_is_delayed_and_nobody_else_is() {
    let server = Server::start(&["chat", "--rate-bytes", "10"]).await;
    let mut eve = Client::join(&server, "eve").await;
    let mut ann = Client::join(&server, "ann").await;
    let mut bob = Client::join(&server, "bob").await;
    for line in ["[system] >>> ann joined the chat", "[system] >>> bob joined the chat"] {
        assert_eq!(eve.recv_text().await, line);
    }
    // Thirty bytes more than ten seconds' worth: three seconds in which no more is read.
    let long = "x".repeat(130);
    ann.say(&long).await;
    ann.say("delayed").await;
    assert_eq!(eve.recv_text().await, format!("[ann] {long}"));
    bob.say("not delayed").await;
    assert_eq!(eve.recv_text().await, "[bob] not delayed");
    assert_eq!(eve.recv_text().await, "[ann] delayed");
}
