//! Who goes on with a session after a lost connection.

use serde_json::{Value, json};

use crate::common::client::Client;
use crate::common::json::Json;
use crate::common::server::{PATIENCE, Server};

/// Bob, who sees what becomes of Ada.
async fn two(server: &Server) -> (Json, Json) {
    let bob = Json::join(server, "Bob").await;
    let ada = Json::join(server, "Ada").await;
    let mut bob = bob;
    assert_eq!(bob.recv().await["name"], "Ada");
    (ada, bob)
}

#[tokio::test]
async fn a_lost_connection_is_taken_over_with_nothing_lost_and_nobody_shown() {
    let server = Server::start(&["chat"]).await;
    let (mut ada, mut bob) = two(&server).await;
    let mut ann = Client::join(&server, "ann").await;
    ada.ask(json!({"type": "join", "room": "rust"})).await;
    ada.settle().await;
    let (session, epoch) = (ada.session(), ada.joined["epoch"].clone());
    let said = ada.say("before").await;
    ada.lose();
    for number in 0..10 {
        bob.settle().await;
        bob.say(&format!("meanwhile {number}")).await;
    }
    let after = json!({"after": {"offset": said, "epoch": epoch}});
    let mut ada = Json::resume(&server, "Ada", &session, after).await;
    assert_eq!((&ada.welcome["resumed"], &ada.welcome["session"]), (&json!(true), &session));
    assert_eq!((&ada.joined["room"], &ada.joined["complete"]), (&json!("lobby"), &json!(true)));
    let missed: Vec<_> = texts(&ada.joined["history"]);
    let expected: Vec<_> = (0..10).map(|number| format!("meanwhile {number}")).collect();
    assert_eq!(missed, expected);
    assert_eq!(ada.recv().await["room"], "rust");
    // The same publish again, had its ack been lost.
    let again = ada.ask(json!({"type": "publish", "room": "lobby", "id": "before", "text": "before"})).await;
    assert_eq!((&again["offset"], &again["duplicate"]), (&json!(said), &json!(true)));
    bob.say("now").await;
    assert_eq!(ada.recv().await["text"], "now");
    assert_eq!(bob.settle().await, Vec::<Value>::new());
    for _ in 0..12 {
        let line = ann.recv_text().await;
        assert!(line.starts_with("[Ada] before") || line.starts_with("[Bob] "), "{line}");
    }
}

fn texts(messages: &Value) -> Vec<String> {
    messages.as_array().unwrap().iter().map(|said| said["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_lost_connection_that_nobody_comes_back_for_is_one_leave_after_five_seconds() {
    let server = Server::start(&["chat"]).await;
    let (ada, mut bob) = two(&server).await;
    let session = ada.session();
    ada.lose();
    // The name is still hers, and she is still seen.
    let members = bob.ask(json!({"type": "members", "room": "lobby"})).await;
    assert_eq!(members["count"], 2);
    let mut eve = Json::connect(&server, "/").await;
    assert_eq!(eve.ask(json!({"type": "hello", "name": "ada"})).await["code"], "name_taken");
    let leave =
        tokio::time::timeout(3 * PATIENCE, bob.ws.recv()).await.expect("she leaves").unwrap().unwrap();
    let leave: Value = serde_json::from_str(leave.as_text().unwrap()).unwrap();
    assert_eq!(
        (&leave["event"], &leave["name"], &leave["count"]),
        (&json!("leave"), &json!("Ada"), &json!(1))
    );
    assert_eq!(bob.settle().await, Vec::<Value>::new());
    // Whoever comes too late is new, though the same.
    let ada = Json::resume(&server, "Ada", &session, json!({})).await;
    assert_eq!(ada.welcome["resumed"], false);
    assert_eq!(bob.recv().await["event"], "join");
}

#[tokio::test]
async fn a_wrong_secret_takes_nothing_over() {
    let server = Server::start(&["chat"]).await;
    let (ada, mut bob) = two(&server).await;
    let mut session = ada.session();
    for secret in [bob.session()["secret"].clone(), json!(""), json!("AAAA"), json!("\u{0}")] {
        session["secret"] = secret;
        let mut eve = Json::connect(&server, "/").await;
        let error = eve.ask(json!({"type": "hello", "name": "Ada", "session": session})).await;
        assert_eq!(error["code"], "name_taken");
        let welcome = eve.ask(json!({"type": "hello", "name": "Eve", "session": session})).await;
        assert_eq!(welcome["resumed"], false);
        assert_ne!(welcome["session"]["id"], session["id"]);
        assert_eq!(bob.recv().await["event"], "join");
        eve.close().await;
        assert_eq!(bob.recv().await["event"], "leave");
    }
    drop(ada);
}

#[tokio::test]
async fn a_live_connection_is_taken_over_and_closed_with_4409() {
    let server = Server::start(&["chat"]).await;
    let (mut old, mut bob) = two(&server).await;
    let mut new = Json::resume(&server, "Ada", &old.session(), json!({})).await;
    assert_eq!(new.welcome["resumed"], true);
    assert_eq!(old.closed().await.0, 4409);
    assert_eq!(bob.settle().await, Vec::<Value>::new());
    bob.say("hello").await;
    assert_eq!(new.recv().await["text"], "hello");
    // And back and forth.
    for _ in 0..5 {
        let newer = Json::resume(&server, "Ada", &new.session(), json!({})).await;
        assert_eq!(newer.welcome["resumed"], true);
        assert_eq!(new.closed().await.0, 4409);
        new = newer;
    }
    assert_eq!(bob.settle().await, Vec::<Value>::new());
}

#[tokio::test]
async fn by_another_name_it_is_somebody_new() {
    let server = Server::start(&["chat"]).await;
    let (ada, mut bob) = two(&server).await;
    let session = ada.session();
    ada.lose();
    let eve = Json::resume(&server, "Eve", &session, json!({})).await;
    assert_eq!(eve.welcome["resumed"], false);
    let news = [bob.recv().await, bob.recv().await];
    assert_eq!((&news[0]["event"], &news[0]["name"]), (&json!("leave"), &json!("Ada")));
    assert_eq!((&news[1]["event"], &news[1]["name"]), (&json!("join"), &json!("Eve")));
}

#[tokio::test]
async fn whoever_sends_a_close_has_left_at_once() {
    let server = Server::start(&["chat"]).await;
    let (ada, mut bob) = two(&server).await;
    let session = ada.session();
    ada.close().await;
    assert_eq!(bob.recv().await["event"], "leave");
    let ada = Json::resume(&server, "Ada", &session, json!({})).await;
    assert_eq!(ada.welcome["resumed"], false);
    // A plain-text member is never held.
    let mut ann = Client::join(&server, "ann").await;
    assert_eq!(bob.recv().await["name"], "Ada");
    assert_eq!(bob.recv().await["name"], "ann");
    within_close(&mut ann).await;
    assert_eq!(bob.recv().await["event"], "leave");
}

async fn within_close(client: &mut Client) {
    client.ws.close(None).await.expect("the server answers the close");
}

#[tokio::test]
async fn connections_that_are_lost_again_and_again_while_all_talk_miss_nothing() {
    let server = Server::start(&["chat", "--rate-messages", "0"]).await;
    let mut ada = Json::join(&server, "Ada").await;
    let mut bob = Json::join(&server, "Bob").await;
    let epoch = ada.joined["epoch"].clone();
    const TEXTS: usize = 600;
    let talker = tokio::spawn(async move {
        for number in 0..TEXTS {
            bob.send(json!({"type": "publish", "room": "lobby", "text": number.to_string()})).await;
            while bob.recv().await["type"] != "ack" {}
        }
        bob
    });
    let (mut seen, mut last, session) = (Vec::new(), 0, ada.session());
    while seen.len() < TEXTS {
        for _ in 0..20 {
            let message = ada.recv().await;
            if message["type"] == "message" {
                last = message["offset"].as_u64().unwrap();
                seen.push(message["text"].as_str().unwrap().to_owned());
            }
            if seen.len() == TEXTS {
                break;
            }
        }
        ada.lose();
        let after = json!({"after": {"offset": last, "epoch": epoch}});
        ada = Json::resume(&server, "Ada", &session, after).await;
        assert_eq!((&ada.welcome["resumed"], &ada.joined["complete"]), (&json!(true), &json!(true)));
        seen.extend(texts(&ada.joined["history"]));
        last = ada.joined["offset"].as_u64().unwrap();
    }
    let expected: Vec<_> = (0..TEXTS).map(|number| number.to_string()).collect();
    assert_eq!(seen, expected);
    let mut bob = talker.await.unwrap();
    assert_eq!(bob.settle().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_connection_that_is_reset_while_it_is_written_to_is_lost_like_any() {
    let server = Server::start(&["chat", "--rate-messages", "0", "--rate-bytes", "0"]).await;
    let mut bob = Json::join(&server, "Bob").await;
    let mut ada = Json::join(&server, "Ada").await;
    assert_eq!(bob.recv().await["name"], "Ada");
    let text = "x".repeat(4000);
    for _ in 0..10 {
        let session = ada.session();
        // Bytes that nobody has read make a reset of the end.
        for _ in 0..50 {
            bob.send(json!({"type": "publish", "room": "lobby", "text": text})).await;
        }
        ada.lose();
        for _ in 0..50 {
            bob.send(json!({"type": "publish", "room": "lobby", "text": text})).await;
        }
        ada = Json::resume(&server, "Ada", &session, json!({})).await;
        assert_eq!(ada.welcome["resumed"], true);
        for _ in 0..100 {
            assert_eq!(bob.answer().await["type"], "ack");
        }
        assert_eq!(bob.settle().await, Vec::<Value>::new());
    }
}

#[tokio::test]
async fn a_session_comes_back_to_all_of_its_rooms() {
    let server = Server::start(&["chat", "--rate-messages", "0"]).await;
    let mut ada = Json::join(&server, "Ada").await;
    let mut offsets = serde_json::Map::new();
    for number in 1..128 {
        let room = format!("r{number:03}");
        let joined = ada.ask(json!({"type": "join", "room": room})).await;
        ada.ask(json!({"type": "publish", "room": room, "text": "old"})).await;
        offsets.insert(room.clone(), json!({"offset": 1, "epoch": joined["epoch"]}));
        ada.ask(json!({"type": "publish", "room": room, "text": "new"})).await;
    }
    let session = ada.session();
    ada.lose();
    let mut ada = Json::resume(&server, "Ada", &session, json!({"rooms": offsets})).await;
    for number in 1..128 {
        let joined = ada.recv().await;
        assert_eq!((&joined["type"], &joined["room"]), (&json!("joined"), &json!(format!("r{number:03}"))));
        assert_eq!((texts(&joined["history"]), &joined["complete"]), (vec!["new".to_owned()], &json!(true)));
    }
    assert_eq!(ada.settle().await, Vec::<Value>::new());
}

#[tokio::test]
async fn whoever_comes_back_is_told_what_was_deleted_meanwhile() {
    let server = Server::start(&["chat"]).await;
    let (ada, mut bob) = two(&server).await;
    for text in ["1", "2", "3"] {
        bob.say(text).await;
    }
    let (session, epoch) = (ada.session(), ada.joined["epoch"].clone());
    ada.lose();
    for offset in [1, 3] {
        assert_eq!(
            bob.ask(json!({"type": "delete", "room": "lobby", "offset": offset})).await["type"],
            "done"
        );
    }
    let after = json!({"after": {"offset": 2, "epoch": epoch}});
    let ada = Json::resume(&server, "Ada", &session, after).await;
    // The third it never had.
    assert_eq!((&ada.joined["deleted"], &ada.joined["history"]), (&json!([1]), &json!([])));
    assert_eq!(ada.joined["complete"], true);
}
