//! With `--data-dir` what was acknowledged outlives the process, however it ends.

use serde_json::{Value, json};

use crate::auth::token;
use crate::common::http;
use crate::common::json::Json;
use crate::common::server::{Folder, Server};

async fn start(folder: &Folder) -> Server {
    Server::start(&["chat", "--rate-messages", "0", "--data-dir", &folder.path("data")]).await
}

async fn kill(mut server: Server) {
    server.signal("KILL").await;
    server.wait().await;
}

fn texts(messages: &Value) -> Vec<String> {
    messages.as_array().unwrap().iter().map(|said| said["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn history_epoch_and_sessions_survive_a_kill() {
    let folder = Folder::new();
    let server = start(&folder).await;
    let mut ada = Json::join(&server, "Ada").await;
    let publish = json!({"type": "publish", "room": "lobby", "id": "1", "text": "first", "key": "k"});
    let ack = ada.ask(publish.clone()).await;
    let gone = ada.say("gone").await;
    ada.send(json!({"type": "delete", "room": "lobby", "offset": gone})).await;
    ada.until("done").await;
    let last = ada.say("last").await;
    let (session, epoch) = (ada.session(), ada.joined["epoch"].clone());
    kill(server).await;
    let server = start(&folder).await;
    // The client is the same one, though its place is gone with the process.
    let mut ada = Json::resume(&server, "Ada", &session, json!({})).await;
    assert_eq!((&ada.welcome["resumed"], &ada.welcome["session"]), (&json!(false), &session));
    assert_eq!(texts(&ada.joined["history"]), ["first", "last"]);
    assert_eq!((&ada.joined["epoch"], &ada.joined["complete"]), (&epoch, &json!(true)));
    let first = &ada.joined["history"][0];
    assert_eq!(
        (&first["offset"], &first["time"], &first["key"]),
        (&ack["offset"], &ack["time"], &json!("k"))
    );
    // What it said isn't said again, and is still its own.
    let again = ada.ask(publish).await;
    assert_eq!(
        (&again["offset"], &again["time"], &again["duplicate"]),
        (&ack["offset"], &ack["time"], &json!(true))
    );
    let after = json!({"offset": last, "epoch": epoch});
    let bob = Json::resume(&server, "Bob", &json!({"id": "x", "secret": "y"}), json!({"after": after})).await;
    assert_eq!((&bob.joined["history"], &bob.joined["complete"]), (&json!([]), &json!(true)));
    ada.settle().await;
    assert!(ada.say("new").await > last);
    ada.send(json!({"type": "delete", "room": "lobby", "id": "d", "offset": ack["offset"]})).await;
    assert_eq!(ada.until("done").await["id"], "d");
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_by_a_kill_while_many_talk() {
    let folder = Folder::new();
    let mut acked: Vec<(String, u64)> = Vec::new();
    for round in 0..3 {
        let server = start(&folder).await;
        let mut talkers = Vec::new();
        for number in 0..8 {
            let mut talker = Json::join(&server, &format!("talker {number}")).await;
            talkers.push(tokio::spawn(async move {
                let mut acked = Vec::new();
                for text in (0..).map(|count| format!("{round}.{number}.{count}")) {
                    let publish = json!({"type": "publish", "room": "lobby", "id": text, "text": text});
                    if talker.ws.send(publish.to_string()).await.is_err() {
                        return acked;
                    }
                    loop {
                        let Ok(Some(message)) = talker.ws.recv().await else { return acked };
                        let answer: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
                        if answer["type"] == "ack" {
                            break acked.push((text, answer["offset"].as_u64().unwrap()));
                        }
                    }
                }
                acked
            }));
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        kill(server).await;
        for talker in talkers {
            acked.extend(talker.await.unwrap());
        }
    }
    assert!(acked.len() > 100, "{}", acked.len());
    let server = start(&folder).await;
    let mut reader = Json::join(&server, "reader").await;
    let request = json!({"type": "history", "room": "lobby", "limit": 1000});
    let history = reader.ask(request).await;
    let said: std::collections::HashMap<u64, &str> = history["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|said| (said["offset"].as_u64().unwrap(), said["text"].as_str().unwrap()))
        .collect();
    // The history has the newest thousand.
    let oldest = *said.keys().min().unwrap();
    for (text, offset) in acked.iter().filter(|(_, offset)| *offset >= oldest) {
        assert_eq!(said.get(offset), Some(&text.as_str()));
    }
    assert!(said.len() == 1000 || acked.iter().all(|(_, offset)| *offset >= oldest));
}

#[tokio::test]
async fn a_ban_survives_a_kill() {
    let folder = Folder::new();
    let secret = folder.write("secret", "0123456789abcdef0123456789abcdef");
    let data = folder.path("data");
    let arguments = ["chat", "--auth", "jwt", "--jwt-secret-file", &secret, "--data-dir", &data];
    let server = Server::start(&arguments).await;
    let mut mia = crate::auth::moderator(&server, "Mia").await;
    mia.send(json!({"type": "ban", "room": "lobby", "name": "Eve", "seconds": 600})).await;
    mia.until("done").await;
    kill(server).await;
    let server = Server::start(&arguments).await;
    let mut eve = Json::connect(&server, "/").await;
    let hello = json!({"type": "hello", "token": token(json!({"sub": "EVE"}))});
    assert_eq!(eve.ask(hello).await["code"], "banned");
}

#[tokio::test]
async fn an_idempotency_key_survives_a_kill() {
    let folder = Folder::new();
    let (keys, data) = (folder.write("keys", "key-of-some-backend-0123456789\n"), folder.path("data"));
    let arguments = ["chat", "--api-key-file", &keys, "--data-dir", &data];
    let fields = ["Authorization: Bearer key-of-some-backend-0123456789", "Idempotency-Key: abc"];
    let body = json!({"from": "backend", "text": "once"}).to_string();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let server = Server::start(&arguments).await;
        let request = ("POST", "/api/rooms/lobby/messages");
        answers.push(http::ask(server.address(), request, &fields, Some(&body)).await.json());
        kill(server).await;
    }
    assert_eq!(answers[0], answers[1]);
    let server = Server::start(&arguments).await;
    let ada = Json::join(&server, "Ada").await;
    assert_eq!(texts(&ada.joined["history"]), ["once"]);
}

#[tokio::test]
async fn a_second_server_in_the_same_folder_is_told_so() {
    let folder = Folder::new();
    let _server = start(&folder).await;
    let data = folder.path("data");
    let output = crate::common::server::run(&["chat", "--listen", "127.0.0.1:0", "--data-dir", &data]).await;
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&data), "{error}");
}
