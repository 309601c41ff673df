//! Those who want too much of the server, in JSON.

use serde_json::{Value, json};

use crate::common::json::{Json, Opening};
use crate::common::server::Server;

#[tokio::test]
async fn rooms_without_end_cost_little_and_are_forgotten() {
    let server = Server::start(&["chat", "--rate-messages", "0"]).await;
    let mut ada = Json::join(&server, "Ada").await;
    let before = server.private_bytes();
    for number in 0..5000 {
        let room = format!("room-{number}");
        ada.ask(json!({"type": "join", "room": room})).await;
        ada.ask(json!({"type": "leave", "room": room})).await;
    }
    let grown = server.private_bytes().saturating_sub(before);
    println!("5000 rooms: {} KiB", grown >> 10);
    assert!(grown < 32 << 20, "{grown}");
    assert_eq!(ada.say("still here").await, 1);
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_is_not_answered_without_bound() {
    let server = Server::start(&["chat", "--rate-messages", "0", "--rate-bytes", "0"]).await;
    let mut ada = Json::join(&server, "Ada").await;
    for _ in 0..20 {
        ada.ask(json!({"type": "publish", "room": "lobby", "text": "x".repeat(60_000)})).await;
    }
    let opening = Opening { path: "/", receive_buffer: Some(4096), ..Opening::default() };
    let mut eve = Json::open(server.address(), opening).await.unwrap();
    eve.greet(json!({"name": "Eve"})).await;
    let before = server.private_bytes();
    // A megabyte each, a gigabyte in all.
    let request = json!({"type": "history", "room": "lobby", "limit": 1000}).to_string();
    let asked = async {
        for _ in 0..1000 {
            eve.ws.send(request.as_str()).await.unwrap();
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), asked).await;
    let grown = server.private_bytes().saturating_sub(before);
    println!("asked for a gigabyte: {} KiB", grown >> 10);
    assert!(grown < 24 << 20, "{grown}");
    ada.settle().await;
    ada.say("still here").await;
}

#[tokio::test]
async fn a_session_taken_over_in_many_rooms_by_one_that_never_reads_is_bounded() {
    let server = Server::start(&["chat", "--rate-messages", "0", "--rate-bytes", "0"]).await;
    let mut ada = Json::join(&server, "Ada").await;
    for number in 0..60 {
        let room = format!("r{number}");
        ada.ask(json!({"type": "join", "room": room})).await;
        for _ in 0..17 {
            ada.ask(json!({"type": "publish", "room": room, "text": "x".repeat(60_000)})).await;
        }
    }
    let session = ada.session();
    let before = server.private_bytes();
    ada.lose();
    let opening = Opening { path: "/", receive_buffer: Some(4096), ..Opening::default() };
    let mut ada = Json::open(server.address(), opening).await.unwrap();
    ada.send(json!({"type": "hello", "name": "Ada", "session": session})).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let grown = server.private_bytes().saturating_sub(before);
    println!("60 rooms of a megabyte each: {} KiB", grown >> 10);
    assert!(grown < 16 << 20, "{grown}");
    // And yet all of it comes to whoever reads.
    assert_eq!(ada.recv().await["resumed"], true);
    for _ in 0..61 {
        assert_eq!(ada.recv().await["type"], "joined");
    }
    assert_eq!(ada.settle().await, Vec::<Value>::new());
}

#[tokio::test]
async fn whoever_says_too_much_is_read_later_and_the_others_are_not() {
    let server = Server::start(&["chat", "--rate-messages", "10"]).await;
    let mut eve = Json::join(&server, "Eve").await;
    let mut bob = Json::join(&server, "Bob").await;
    // Ten seconds' worth at once is fine; what is more waits.
    for number in 0..115 {
        eve.send(json!({"type": "publish", "room": "lobby", "text": number.to_string()})).await;
    }
    bob.say("not delayed").await;
    let mut before = 0;
    loop {
        let message = eve.recv().await;
        match message["type"].as_str().unwrap() {
            "ack" => before += 1,
            "message" => break,
            _ => {}
        }
    }
    assert!(before < 115, "{before}");
    for _ in before..115 {
        eve.until("ack").await;
    }
}

#[tokio::test]
async fn crashed_clients_leave_no_ghosts() {
    let server = Server::start(&["chat"]).await;
    let mut bob = Json::join(&server, "Bob").await;
    for number in 0..50 {
        Json::join(&server, &format!("ghost {number}")).await.lose();
    }
    let (mut joined, mut left) = (0, 0);
    while left < 50 {
        let message = tokio::time::timeout(std::time::Duration::from_secs(15), bob.ws.recv()).await;
        let message = message.expect("the ghosts leave").unwrap().unwrap();
        let news: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
        match news["event"].as_str().unwrap() {
            "join" => joined += 1,
            _ => left += 1,
        }
    }
    assert_eq!(joined, 50);
    let members = bob.ask(json!({"type": "members", "room": "lobby"})).await;
    assert_eq!((&members["members"], &members["count"]), (&json!([{"name": "Bob"}]), &json!(1)));
}
