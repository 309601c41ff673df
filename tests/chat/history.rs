//! What was said before: on joining, after a reconnect, and when asked for.

use serde_json::{Value, json};

use crate::common::client::Client;
use crate::common::json::Json;
use crate::common::server::Server;

fn offsets(messages: &Value) -> Vec<u64> {
    messages.as_array().unwrap().iter().map(|said| said["offset"].as_u64().unwrap()).collect()
}

/// A server that keeps so many messages, and Ada, who has said as many as are asked for.
async fn talked(history: &str, texts: u64) -> (Server, Json) {
    let server = Server::start(&["chat", "--rate-messages", "0", "--history", history]).await;
    let mut ada = Json::join(&server, "Ada").await;
    for number in 1..=texts {
        assert_eq!(ada.say(&number.to_string()).await, number);
    }
    (server, ada)
}

async fn history(client: &mut Json, more: Value) -> (Vec<u64>, bool) {
    let mut request = json!({"type": "history", "room": "lobby", "id": "h"});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = client.ask(request).await;
    assert_eq!((&answer["type"], &answer["id"]), (&json!("history"), &json!("h")));
    assert_eq!(answer["epoch"], client.joined["epoch"]);
    (offsets(&answer["messages"]), answer["complete"].as_bool().unwrap())
}

#[tokio::test]
async fn whoever_joins_sees_the_newest_hundred() {
    let (server, mut ada) = talked("1000", 100).await;
    let bob = Json::join(&server, "Bob").await;
    assert_eq!(offsets(&bob.joined["history"]), (1..=100).collect::<Vec<_>>());
    assert_eq!((&bob.joined["complete"], &bob.joined["offset"]), (&json!(true), &json!(100)));
    assert_eq!(bob.joined["history"][41]["text"], "42");
    assert_eq!(bob.joined["history"][41]["from"], "Ada");
    ada.until("presence").await;
    ada.say("101").await;
    let eve = Json::join(&server, "Eve").await;
    assert_eq!(offsets(&eve.joined["history"]), (2..=101).collect::<Vec<_>>());
    assert_eq!(eve.joined["complete"], false);
    // Plain text has none.
    let mut ann = Client::join(&server, "ann").await;
    ada.settle().await;
    ada.say("102").await;
    assert_eq!(ann.recv_text().await, "[Ada] 102");
}

#[tokio::test]
async fn parts_of_it_can_be_asked_for() {
    let (_server, mut ada) = talked("50", 60).await;
    for (range, expected, complete) in [
        (json!({}), 11..=60, false),
        (json!({"limit": 5}), 56..=60, false),
        (json!({"after": 58}), 59..=60, true),
        (json!({"after": 10}), 11..=60, true),
        (json!({"after": 9}), 11..=60, false),
        (json!({"after": 10, "limit": 3}), 11..=13, false),
        (json!({"after": 57, "limit": 3}), 58..=60, true),
        (json!({"before": 15}), 11..=14, false),
        (json!({"before": 61, "limit": 2}), 59..=60, false),
    ] {
        let answer = history(&mut ada, range.clone()).await;
        assert_eq!(answer, (expected.collect(), complete), "{range}");
    }
    assert_eq!(history(&mut ada, json!({"after": 60})).await, (vec![], true));
    // There is no such offset yet: whoever has it has it of another history.
    assert_eq!(history(&mut ada, json!({"after": 61})).await, (vec![], false));
    assert_eq!(history(&mut ada, json!({"limit": 0})).await, (vec![], false));
    assert_eq!(history(&mut ada, json!({"limit": 100_000})).await, ((11..=60).collect(), false));
}

#[tokio::test]
async fn all_of_it_is_complete() {
    let (_server, mut ada) = talked("1000", 20).await;
    for (range, expected) in
        [(json!({}), 1..=20), (json!({"after": 0}), 1..=20), (json!({"before": 4}), 1..=3)]
    {
        assert_eq!(history(&mut ada, range.clone()).await, (expected.collect(), true), "{range}");
    }
}

#[tokio::test]
async fn a_join_with_an_offset_gets_what_came_after_it_or_is_told_that_it_is_not_whole() {
    let (server, ada) = talked("50", 60).await;
    let epoch = ada.joined["epoch"].as_str().unwrap();
    let mut bob = Json::join_at(&server, "/rooms/other", "Bob").await;
    for (offset, epoch, first, complete) in [
        (60, epoch, 61, true),
        (57, epoch, 58, true),
        (10, epoch, 11, true),
        (9, epoch, 11, false),
        (61, epoch, 11, false),
        (60, "other", 11, false),
    ] {
        let after = json!({"offset": offset, "epoch": epoch});
        let joined = bob.ask(json!({"type": "join", "room": "lobby", "after": after})).await;
        assert_eq!(offsets(&joined["history"]), (first..=60).collect::<Vec<_>>(), "{after}");
        assert_eq!((&joined["complete"], &joined["offset"]), (&json!(complete), &json!(60)), "{after}");
        assert_eq!(bob.ask(json!({"type": "leave", "room": "lobby"})).await["type"], "left");
    }
}

#[tokio::test]
async fn without_history_there_is_none_and_talk_goes_on() {
    let (server, mut ada) = talked("0", 3).await;
    let mut bob = Json::join(&server, "Bob").await;
    assert_eq!((&bob.joined["history"], &bob.joined["complete"]), (&json!([]), &json!(false)));
    ada.settle().await;
    assert_eq!(ada.say("4").await, 4);
    assert_eq!(bob.recv().await["offset"], 4);
    assert_eq!(history(&mut bob, json!({"after": 4})).await, (vec![], true));
    assert_eq!(history(&mut bob, json!({"after": 3})).await, (vec![], false));
}

#[tokio::test]
async fn an_answer_has_a_mebibyte_at_most_and_the_rest_can_be_asked_for() {
    let server = Server::start(&["chat", "--rate-messages", "0", "--rate-bytes", "0"]).await;
    let mut ada = Json::join(&server, "Ada").await;
    let long = "x".repeat(50_000);
    for number in 1..=40 {
        let ack = ada.ask(json!({"type": "publish", "room": "lobby", "text": long})).await;
        assert_eq!(ack["offset"], number);
    }
    let (first, complete) = history(&mut ada, json!({"after": 0, "limit": 1000})).await;
    assert_eq!((first.first(), complete), (Some(&1), false));
    assert!(first.len() * long.len() <= 1 << 20 && first.len() >= 20, "{}", first.len());
    let (rest, complete) = history(&mut ada, json!({"after": first.last(), "limit": 1000})).await;
    assert!(complete);
    assert_eq!([first, rest].concat(), (1..=40).collect::<Vec<_>>());
    let bob = Json::join(&server, "Bob").await;
    let joined = offsets(&bob.joined["history"]);
    assert_eq!((joined.last(), &bob.joined["complete"]), (Some(&40), &json!(false)));
    assert!(joined.len() <= 21);
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_comes_twice_while_one_joins_and_all_talk() {
    let server = Server::start(&["chat", "--rate-messages", "0"]).await;
    let mut talkers = Vec::new();
    for number in 0..4 {
        let mut talker = Json::join(&server, &format!("talker {number}")).await;
        talkers.push(tokio::spawn(async move {
            for number in 0..100 {
                talker.send(json!({"type": "publish", "room": "lobby", "text": number.to_string()})).await;
                while talker.recv().await["type"] != "ack" {}
            }
            talker
        }));
    }
    let mut listener = Json::join_at(&server, "/rooms/other", "listener").await;
    for _ in 0..20 {
        let joined = listener.ask(json!({"type": "join", "room": "lobby"})).await;
        let mut expected = joined["offset"].as_u64().unwrap();
        let mut version = joined["version"].as_u64().unwrap();
        assert!(joined["history"].as_array().unwrap().last().is_none_or(|last| last["offset"] == expected));
        listener.send(json!({"type": "leave", "room": "lobby"})).await;
        loop {
            let message = listener.recv().await;
            match message["type"].as_str().unwrap() {
                "message" => {
                    expected += 1;
                    assert_eq!(message["offset"], expected);
                }
                "presence" => {
                    version += 1;
                    assert_eq!(message["version"], version);
                }
                "left" => break,
                _ => panic!("{message}"),
            }
        }
    }
    for talker in talkers {
        talker.await.unwrap();
    }
}
