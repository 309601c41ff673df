//! Deleting, kicking, banning.

use serde_json::{Value, json};

use crate::auth::{moderator, server, token};
use crate::common::client::Client;
use crate::common::json::{Json, Opening};
use crate::common::server::Server;

/// A member by a token that lets them do everything but moderate.
async fn member(server: &Server, name: &str) -> Json {
    join(server, &token(json!({"sub": name}))).await
}

async fn join(server: &Server, token: &str) -> Json {
    let mut client = Json::connect(server, "/").await;
    client.greet(json!({"token": token})).await;
    client
}

async fn texts(client: &mut Json) -> Vec<String> {
    let answer = client.ask(json!({"type": "history", "room": "lobby"})).await;
    answer["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|said| said["text"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn whoever_wrote_a_message_may_delete_it_and_nobody_else() {
    let server = Server::start(&["chat"]).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut ada = Json::join(&server, "Ada").await;
    let offset = ada.say("secret").await;
    ada.say("other").await;
    let mut bob = Json::join(&server, "Bob").await;
    let delete = json!({"type": "delete", "room": "lobby", "id": "d", "offset": offset});
    let refused = bob.ask(delete.clone()).await;
    assert_eq!((&refused["code"], &refused["id"]), (&json!("forbidden"), &json!("d")));
    assert_eq!(ada.ask(delete.clone()).await, json!({"type": "done", "id": "d"}));
    let deleted = json!({"type": "deleted", "room": "lobby", "offset": offset, "by": "Ada"});
    assert_eq!(ada.until("deleted").await, deleted);
    assert_eq!(bob.recv().await, deleted);
    assert_eq!(ada.ask(delete).await["code"], "not_found");
    assert_eq!(texts(&mut bob).await, ["other"]);
    let eve = Json::join(&server, "Eve").await;
    assert_eq!(eve.joined["history"].as_array().unwrap().len(), 1);
    // Nothing of it in plain text.
    ada.settle().await;
    ada.say("last").await;
    for line in ["Ada joined", "secret", "other", "Bob joined", "Eve joined", "last"] {
        let came = ann.recv_text().await;
        assert!(came.contains(line), "{line}: {came}");
    }
}

#[tokio::test]
async fn the_same_name_in_another_session_is_somebody_else() {
    let server = Server::start(&["chat"]).await;
    let mut bob = Json::join(&server, "Bob").await;
    let mut ada = Json::join(&server, "Ada").await;
    let offset = ada.say("mine").await;
    ada.close().await;
    while bob.until("presence").await["event"] != "leave" {}
    let mut other = Json::join(&server, "Ada").await;
    let error = other.ask(json!({"type": "delete", "room": "lobby", "offset": offset})).await;
    assert_eq!(error["code"], "forbidden");
}

#[tokio::test]
async fn without_tokens_nobody_moderates() {
    let server = Server::start(&["chat"]).await;
    let mut ada = Json::join(&server, "Ada").await;
    let _bob = Json::join(&server, "Bob").await;
    ada.settle().await;
    for request in [
        json!({"type": "kick", "room": "lobby", "name": "Bob", "id": "1"}),
        json!({"type": "ban", "room": "lobby", "name": "Bob", "seconds": 5, "id": "1"}),
    ] {
        let error = ada.ask(request).await;
        assert_eq!((&error["code"], &error["id"]), (&json!("forbidden"), &json!("1")));
    }
}

#[tokio::test]
async fn a_moderator_deletes_what_others_wrote() {
    let (server, _folder) = server(&[]).await;
    let mut bob = member(&server, "Bob").await;
    let offset = bob.say("rude").await;
    let mut mod_ = moderator(&server, "Mia").await;
    assert_eq!(mod_.welcome["moderator"], true);
    mod_.send(json!({"type": "delete", "room": "lobby", "id": "1", "offset": offset})).await;
    mod_.until("done").await;
    assert_eq!(bob.until("deleted").await["by"], "Mia");
    assert_eq!(texts(&mut bob).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_kicked_member_is_told_and_may_go_elsewhere() {
    let (server, _folder) = server(&[]).await;
    let mut eve = member(&server, "Eve").await;
    let mut bob = member(&server, "Bob").await;
    let mut mia = moderator(&server, "Mia").await;
    assert_eq!(bob.recv().await["name"], "Mia");
    // A name that looks the same will do.
    mia.send(json!({"type": "kick", "room": "lobby", "id": "k", "name": "EVE", "reason": "enough"})).await;
    mia.until("done").await;
    assert_eq!(
        eve.until("kicked").await,
        json!({"type": "kicked", "room": "lobby", "by": "Mia", "reason": "enough"})
    );
    let news = bob.recv().await;
    assert_eq!((&news["event"], &news["name"]), (&json!("leave"), &json!("Eve")));
    assert_eq!(eve.ask(json!({"type": "publish", "room": "lobby", "text": "x"})).await["code"], "not_joined");
    assert_eq!(eve.ask(json!({"type": "join", "room": "other"})).await["type"], "joined");
    // A kick is no ban.
    assert_eq!(eve.ask(json!({"type": "join", "room": "lobby"})).await["type"], "joined");
    let nobody = json!({"type": "kick", "room": "lobby", "id": "k", "name": "Nobody"});
    mia.settle().await;
    assert_eq!(mia.ask(nobody).await["code"], "not_found");
    assert_eq!(
        mia.ask(json!({"type": "kick", "room": "lobby", "name": "[x]"})).await["code"],
        "name_invalid"
    );
}

#[tokio::test]
async fn a_plain_member_is_kicked_with_1008() {
    let (server, _folder) = server(&[]).await;
    let bearer = format!("Bearer {}", token(json!({"sub": "ann"})));
    let mut ann = crate::auth::plain(&server, &bearer).await;
    let mut mia = moderator(&server, "Mia").await;
    assert_eq!(ann.recv_text().await, "[system] >>> Mia joined the chat");
    mia.send(json!({"type": "kick", "room": "lobby", "name": "ann", "reason": "enough"})).await;
    assert_eq!(ann.recv_text().await, "[system] error: you were put out of the room by Mia: enough");
    assert_eq!(ann.closed().await.0, 1008);
    assert_eq!(mia.until("presence").await["event"], "leave");
}

#[tokio::test]
async fn whoever_is_kicked_while_held_has_left_at_once() {
    let (server, _folder) = server(&[]).await;
    let eve = member(&server, "Eve").await;
    let mut mia = moderator(&server, "Mia").await;
    let session = eve.session();
    eve.lose();
    let mut bob = member(&server, "Bob").await;
    assert_eq!(mia.recv().await["name"], "Bob");
    mia.send(json!({"type": "kick", "room": "lobby", "name": "Eve"})).await;
    let news = bob.recv().await;
    assert_eq!((&news["event"], &news["name"]), (&json!("leave"), &json!("Eve")));
    // Whoever comes back is told, and may join again.
    let mut eve = Json::connect(&server, "/").await;
    let hello = json!({"type": "hello", "token": token(json!({"sub": "Eve"})), "session": session});
    assert_eq!(eve.ask(hello).await["resumed"], true);
    assert_eq!(eve.recv().await, json!({"type": "kicked", "room": "lobby", "by": "system"}));
    assert_eq!(bob.settle().await, Vec::<Value>::new());
    assert_eq!(eve.ask(json!({"type": "join", "room": "lobby"})).await["type"], "joined");
    assert_eq!(bob.recv().await["event"], "join");
}

#[tokio::test]
async fn a_ban_keeps_out_whatever_looks_like_the_name_until_it_is_lifted() {
    let (server, _folder) = server(&[]).await;
    let mut eve = member(&server, "Eve").await;
    let mut mia = moderator(&server, "Mia").await;
    let ban =
        |seconds: u64| json!({"type": "ban", "room": "lobby", "id": "b", "name": "Eve", "seconds": seconds});
    mia.send(ban(600)).await;
    assert_eq!(mia.until("done").await["id"], "b");
    assert_eq!(eve.until("kicked").await.get("reason"), None);
    for name in ["Eve", "eve", "Ｅｖｅ", "Еvе"] {
        let mut other = Json::connect(&server, "/").await;
        let error = other.ask(json!({"type": "hello", "token": token(json!({"sub": name}))})).await;
        assert_eq!(error["code"], "banned", "{name}: {error}");
        let left = error["retry_after"].as_u64().unwrap();
        assert!((590..=600).contains(&left), "{left}");
    }
    let error = eve.ask(json!({"type": "join", "room": "lobby", "id": "j"})).await;
    assert_eq!((&error["code"], &error["id"]), (&json!("banned"), &json!("j")));
    // Another room is another matter.
    assert_eq!(eve.ask(json!({"type": "join", "room": "other"})).await["type"], "joined");
    mia.settle().await;
    assert_eq!(mia.ask(ban(0)).await["type"], "done");
    assert_eq!(eve.ask(json!({"type": "join", "room": "lobby"})).await["type"], "joined");
    mia.send(ban(1)).await;
    eve.until("kicked").await;
    while eve.ask(json!({"type": "join", "room": "lobby"})).await["type"] == "error" {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    mia.send(ban(u64::MAX / 4096)).await;
    eve.until("kicked").await;
    assert_eq!(eve.ask(json!({"type": "join", "room": "lobby"})).await["code"], "banned");
}

#[tokio::test]
async fn rights_are_by_room() {
    let (server, _folder) = server(&[]).await;
    let grant = json!({"join": ["lobby", "rust-*"], "send": ["rust-*"], "moderate": ["rust-tests"]});
    let mut ada = join(&server, &token(json!({"sub": "Ada", "switchboard": grant}))).await;
    assert_eq!(ada.welcome["moderator"], false);
    for room in ["rust-tests", "rust-"] {
        assert_eq!(ada.ask(json!({"type": "join", "room": room})).await["type"], "joined", "{room}");
    }
    for request in [
        json!({"type": "join", "room": "rust", "id": "1"}),
        json!({"type": "publish", "room": "lobby", "text": "x", "id": "1"}),
        json!({"type": "kick", "room": "rust-", "name": "x", "id": "1"}),
    ] {
        let error = ada.ask(request).await;
        assert_eq!((&error["code"], &error["id"]), (&json!("forbidden"), &json!("1")), "{error}");
    }
    assert_eq!(ada.ask(json!({"type": "signal", "room": "lobby", "data": 1})).await["code"], "forbidden");
    assert_eq!(ada.ask(json!({"type": "publish", "room": "rust-", "text": "x"})).await["type"], "ack");
    let nobody = ada.ask(json!({"type": "kick", "room": "rust-tests", "name": "Nobody"})).await;
    assert_eq!(nobody["code"], "not_found");
    assert_eq!(ada.settle().await, Vec::<Value>::new());
    // A path to a room that the token doesn't allow: welcome, but not there.
    let mut other =
        Json::open(server.address(), Opening { path: "/rooms/secret", ..Opening::default() }).await.unwrap();
    let grant = json!({"join": ["lobby"]});
    let hello = json!({"type": "hello", "token": token(json!({"sub": "Bob", "switchboard": grant}))});
    assert_eq!(other.ask(hello).await["type"], "welcome");
    assert_eq!(other.recv().await["code"], "forbidden");
}
