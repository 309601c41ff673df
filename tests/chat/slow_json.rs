//! JSON clients that read too slowly: they are told exactly what they missed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::common::json::{Json, Opening};
use crate::common::server::Server;

/// Far more in all than the kernel keeps for a client that doesn't read.
const TEXTS: u64 = 512;

async fn start(policy: &str) -> Server {
    let arguments = ["chat", "--slow-consumer", policy, "--queue-bytes", "256KiB"];
    Server::start(&[&arguments[..], &["--rate-messages", "0", "--rate-bytes", "0"]].concat()).await
}

/// A client that won't read for a while.
async fn slow(server: &Server) -> Json {
    let opening = Opening { path: "/", receive_buffer: Some(4096), ..Opening::default() };
    let mut slow = Json::open(server.address(), opening).await.unwrap();
    slow.greet(json!({"name": "slow"})).await;
    slow
}

/// Ann talks, each text with a key if there are keys; offsets 1 to `TEXTS`.
async fn talk(server: &Server, keys: Option<u64>) -> Json {
    let mut ann = Json::join(server, "ann").await;
    for number in 1..=TEXTS {
        let mut publish = json!({"type": "publish", "room": "lobby", "text": "x".repeat(16 << 10)});
        if let Some(keys) = keys {
            publish["key"] = json!(format!("key {}", number % keys));
        }
        assert_eq!(ann.ask(publish).await["offset"], number);
    }
    ann
}

/// What came, by offset, and what was said to be missed.
async fn catch_up(slow: &mut Json) -> (BTreeMap<u64, Value>, Vec<(u64, u64, u64)>) {
    let (mut came, mut missed, mut count) = (BTreeMap::new(), Vec::new(), 0);
    while came.len() as u64 + count < TEXTS {
        let message = slow.recv().await;
        let number = |name: &str| message[name].as_u64().unwrap();
        match message["type"].as_str().unwrap() {
            "message" => assert!(came.insert(number("offset"), message).is_none(), "nothing comes twice"),
            "missed" => {
                count += number("count");
                missed.push((number("count"), number("first"), number("last")));
            }
            "presence" => assert_eq!(message["name"], "ann"),
            _ => panic!("{message}"),
        }
    }
    (came, missed)
}

/// The gaps are what was said to be missed: no more, no less.
fn check(came: &BTreeMap<u64, Value>, missed: &[(u64, u64, u64)]) {
    let mut gaps: BTreeSet<u64> = (1..=TEXTS).filter(|offset| !came.contains_key(offset)).collect();
    for (count, first, last) in missed {
        let within: Vec<u64> = gaps.range(first..=last).copied().collect();
        assert_eq!(within.len() as u64, *count, "{first} to {last}");
        assert_eq!((within.first(), within.last()), (Some(first), Some(last)));
        gaps.retain(|offset| !within.contains(offset));
    }
    assert!(gaps.is_empty() && !missed.is_empty());
}

#[tokio::test]
async fn by_drop_oldest_the_oldest_are_missed_and_counted_exactly() {
    let server = start("drop-oldest").await;
    let mut slow = slow(&server).await;
    let mut ann = talk(&server, None).await;
    let (came, missed) = catch_up(&mut slow).await;
    check(&came, &missed);
    assert!(came.contains_key(&TEXTS) && came.contains_key(&1));
    // What was missed is in the history, and from now on nothing is missed.
    let (_, first, last) = missed[0];
    let request = json!({"type": "history", "room": "lobby", "after": first - 1, "limit": 1});
    let history = slow.ask(request).await;
    assert!(history["messages"].as_array().unwrap().len() <= 1 && last >= first);
    ann.ask(json!({"type": "publish", "room": "lobby", "text": "now"})).await;
    assert_eq!(slow.recv().await["text"], "now");
}

#[tokio::test]
async fn by_drop_newest_the_newest_are_missed_and_counted_exactly() {
    let server = start("drop-newest").await;
    let mut slow = slow(&server).await;
    let _ann = talk(&server, None).await;
    let (came, missed) = catch_up(&mut slow).await;
    check(&came, &missed);
    assert!(came.keys().copied().eq(1..=came.len() as u64));
}

#[tokio::test]
async fn by_latest_per_key_the_newest_of_each_key_comes() {
    let server = start("latest-per-key").await;
    let mut slow = slow(&server).await;
    let _ann = talk(&server, Some(8)).await;
    let (came, missed) = catch_up(&mut slow).await;
    check(&came, &missed);
    for newest in TEXTS - 7..=TEXTS {
        assert_eq!(came[&newest]["key"], format!("key {}", newest % 8));
    }
}

#[tokio::test]
async fn by_disconnect_the_slow_one_gets_1013_and_has_left_at_once() {
    let server = start("disconnect").await;
    let mut slow = slow(&server).await;
    let session = slow.session();
    let mut bob = Json::join(&server, "bob").await;
    let ann = tokio::spawn({
        let mut ann = Json::join(&server, "ann").await;
        async move {
            for _ in 0..TEXTS {
                ann.send(json!({"type": "publish", "room": "lobby", "text": "x".repeat(16 << 10)})).await;
                while ann.recv().await["type"] != "ack" {}
            }
        }
    });
    let news = loop {
        let news = bob.until("presence").await;
        if news["name"] == "slow" {
            break news;
        }
    };
    assert_eq!(news["event"], "leave");
    ann.await.unwrap();
    assert_eq!(slow.closed().await.0, 1013);
    let again = Json::resume(&server, "slow", &session, json!({})).await;
    assert_eq!(again.welcome["resumed"], false);
}

#[tokio::test]
async fn signals_that_are_dropped_are_not_missed() {
    let server = start("drop-oldest").await;
    let mut slow = slow(&server).await;
    let mut ann = Json::join(&server, "ann").await;
    for number in 0..20_000 {
        ann.send(json!({"type": "signal", "room": "lobby", "data": [number, "x".repeat(1000)]})).await;
    }
    assert_eq!(ann.settle().await, Vec::<Value>::new());
    ann.say("after").await;
    let mut signals = Vec::new();
    loop {
        let message = slow.recv().await;
        match message["type"].as_str().unwrap() {
            "signal" => signals.push(message["data"][0].as_u64().unwrap()),
            "message" => break assert_eq!(message["text"], "after"),
            "presence" => {}
            _ => panic!("{message}"),
        }
    }
    assert!(signals.is_sorted() && signals.len() < 20_000);
}
