//! The HTTP API, each route of it, against the description that it gives of itself.

use serde_json::{Value, json};

use crate::common::client::Client;
use crate::common::http::{self, Answer};
use crate::common::json::Json;
use crate::common::server::{Folder, Server};

const KEY: &str = "key-of-some-backend-0123456789";
const OTHER_KEY: &str = "another-key-0123456789abcdef";

async fn server(more: &[&str]) -> Server {
    let folder = Folder::new();
    let keys = folder.write("keys", &format!("# ours\n{KEY}\n\n{OTHER_KEY}\n"));
    Server::start(&[&["chat", "--api-key-file", &keys][..], more].concat()).await
}

async fn call(server: &Server, method: &str, path: &str, body: Option<Value>) -> Answer {
    call_with(server, (method, path), &[], body).await
}

async fn call_with(server: &Server, request: (&str, &str), fields: &[&str], body: Option<Value>) -> Answer {
    let bearer = format!("Authorization: Bearer {KEY}");
    let fields = [&[bearer.as_str()], fields].concat();
    let body = body.map(|body| body.to_string());
    let answer = http::ask(server.address(), request, &fields, body.as_deref()).await;
    assert_eq!(answer.field("connection"), Some("close"));
    if answer.status >= 400 && request.0 != "HEAD" {
        assert_eq!(answer.field("content-type"), Some("application/problem+json"));
        assert_eq!(answer.json()["status"], answer.status);
    }
    answer
}

#[tokio::test]
async fn without_a_key_file_there_is_no_api() {
    let server = Server::start(&["chat"]).await;
    for path in ["/api/rooms", "/api/openapi.json", "/api/nothing", "/api"] {
        assert_eq!(call(&server, "GET", path, None).await.status, 404);
    }
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_a_401() {
    let server = server(&[]).await;
    let other = format!("Authorization: Bearer {OTHER_KEY}");
    let request = ("GET", "/api/rooms");
    assert_eq!(http::ask(server.address(), request, &[&other], None).await.status, 200);
    for fields in [
        vec![],
        vec!["Authorization: Bearer wrong"],
        vec!["Authorization: Bearer "],
        vec!["Authorization: Basic a2V5Og=="],
        vec!["Authorization: Bearer # ours"],
        vec![&other, &other],
    ] {
        for (method, path) in [request, ("POST", "/api/broadcast"), ("DELETE", "/api/connections/1")] {
            let answer = http::ask(server.address(), (method, path), &fields, None).await;
            assert_eq!(answer.status, 401, "{fields:?}");
            assert!(answer.field("www-authenticate").is_some());
            assert_eq!(answer.field("content-type"), Some("application/problem+json"));
        }
    }
    assert_eq!(http::get(server.address(), "/api/openapi.json").await.status, 200);
}

#[tokio::test]
async fn a_message_is_published_to_both_forms() {
    let server = server(&[]).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut ada = Json::join(&server, "Ada").await;
    assert_eq!(ann.recv_text().await, "[system] >>> Ada joined the chat");
    let body = json!({"from": "backend", "text": " built\n", "key": "build"});
    let answer = call(&server, "POST", "/api/rooms/lobby/messages", Some(body)).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json(), json!({"offset": 1, "epoch": ada.joined["epoch"]}));
    assert_eq!(ann.recv_text().await, "[backend]  built\n");
    let message = ada.recv().await;
    assert_eq!(
        (&message["from"], &message["text"], &message["key"], &message["offset"]),
        (&json!("backend"), &json!(" built\n"), &json!("build"), &json!(1))
    );
    // A room is made by a message to it.
    let answer =
        call(&server, "POST", "/api/rooms/new/messages", Some(json!({"from": "b", "text": "x"}))).await;
    assert_eq!(answer.status, 201);
    let joined = ada.ask(json!({"type": "join", "room": "new"})).await;
    assert_eq!((&joined["history"][0]["text"], &joined["epoch"]), (&json!("x"), &answer.json()["epoch"]));
}

#[tokio::test]
async fn a_repeated_request_with_its_key_is_published_once() {
    let server = server(&[]).await;
    let mut ada = Json::join(&server, "Ada").await;
    let publish = async |key: &str, text: &str| {
        let key = format!("Idempotency-Key: {key}");
        let body = json!({"from": "backend", "text": text});
        call_with(&server, ("POST", "/api/rooms/lobby/messages"), &[&key], Some(body)).await
    };
    let first = publish("abc", "once").await;
    let second = publish("abc", "once").await;
    assert_eq!((second.status, second.json()), (201, first.json()));
    assert_eq!(publish("\"abc\"", "once").await.json(), first.json());
    assert_eq!(publish("abc", "other").await.status, 422);
    assert_eq!(publish("abd", "other").await.json()["offset"], 2);
    assert_eq!((&ada.recv().await["text"], &ada.recv().await["text"]), (&json!("once"), &json!("other")));
    assert_eq!(publish("a b", "x").await.status, 400);
    assert_eq!(publish(&"x".repeat(65), "x").await.status, 400);
    for _ in 0..2 {
        let body = json!({"from": "backend", "text": "to all"});
        let answer =
            call_with(&server, ("POST", "/api/broadcast"), &["Idempotency-Key: b"], Some(body)).await;
        assert_eq!((answer.status, answer.json()), (201, json!({"rooms": 1})));
    }
    assert_eq!(ada.recv().await["text"], "to all");
    assert_eq!(ada.settle().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_broadcast_goes_to_every_room() {
    let server = server(&[]).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut ada = Json::join_at(&server, "/rooms/rust", "Ada").await;
    let answer = call(&server, "POST", "/api/broadcast", Some(json!({"from": "ops", "text": "soon"}))).await;
    assert_eq!((answer.status, answer.json()), (201, json!({"rooms": 2})));
    assert_eq!(ann.recv_text().await, "[ops] soon");
    assert_eq!(ada.recv().await["text"], "soon");
}

#[tokio::test]
async fn rooms_history_and_presence_can_be_looked_at() {
    let server = server(&[]).await;
    let mut ada = Json::join(&server, "Ada").await;
    let _bob = Json::join_at(&server, "/rooms/rust", "Bob").await;
    let epoch = ada.joined["epoch"].clone();
    for number in 1..=5 {
        ada.say(&number.to_string()).await;
    }
    let rooms = call(&server, "GET", "/api/rooms", None).await.json();
    assert_eq!(rooms["rooms"][0], json!({"name": "lobby", "members": 1, "offset": 5, "epoch": epoch}));
    assert_eq!(rooms["rooms"][1]["name"], "rust");
    for (query, offsets, complete) in [
        ("", vec![1, 2, 3, 4, 5], true),
        ("?limit=2", vec![4, 5], false),
        ("?after=3", vec![4, 5], true),
        ("?after=1&limit=2", vec![2, 3], false),
        ("?after=5", vec![], true),
        ("?after=0", vec![1, 2, 3, 4, 5], true),
        ("?after=99", vec![], false),
    ] {
        let history = call(&server, "GET", &format!("/api/rooms/lobby/history{query}"), None).await.json();
        let came: Vec<_> = history["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|said| said["offset"].as_u64().unwrap())
            .collect();
        assert_eq!((came, &history["complete"]), (offsets, &json!(complete)), "{query}");
        assert_eq!((&history["offset"], &history["epoch"]), (&json!(5), &epoch));
    }
    let presence = call(&server, "GET", "/api/rooms/lobby/presence", None).await.json();
    assert_eq!(presence, json!({"room": "lobby", "version": 1, "count": 1, "members": [{"name": "Ada"}]}));
    for what in ["history", "presence"] {
        assert_eq!(call(&server, "GET", &format!("/api/rooms/nowhere/{what}"), None).await.status, 404);
    }
}

#[tokio::test]
async fn connections_are_listed_and_disconnected_with_4403() {
    let server = server(&[]).await;
    let mut ada = Json::join(&server, "Ada").await;
    let mut ann = Client::join(&server, "ann").await;
    ada.ask(json!({"type": "join", "room": "a"})).await;
    let list = call(&server, "GET", "/api/connections", None).await.json();
    let [first, second] = &list["connections"].as_array().unwrap()[..] else { panic!("{list}") };
    assert_eq!((&first["id"], &first["name"]), (&ada.welcome["connection"], &json!("Ada")));
    assert_eq!((&first["rooms"], &first["form"]), (&json!(["a", "lobby"]), &json!("json")));
    assert_eq!(
        (&second["name"], &second["room"], &second["form"]),
        (&json!("ann"), &json!("lobby"), &json!("text"))
    );
    assert_eq!(second["address"], "127.0.0.1");
    for connection in [first, second] {
        let path = format!("/api/connections/{}", connection["id"]);
        let answer = call(&server, "DELETE", &path, None).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    }
    assert_eq!(ada.closed().await.0, 4403);
    assert_eq!(ann.closed_after_lines().await, 4403);
    for id in ["999", "x", "-1", "18446744073709551616"] {
        assert_eq!(
            call(&server, "DELETE", &format!("/api/connections/{id}"), None).await.status,
            404,
            "{id}"
        );
    }
}

#[tokio::test]
async fn the_api_moderates() {
    let server = server(&[]).await;
    let mut ada = Json::join(&server, "Ada").await;
    let mut eve = Json::join(&server, "Eve").await;
    let offset = eve.say("rude").await;
    let path = format!("/api/rooms/lobby/messages/{offset}");
    assert_eq!(call(&server, "DELETE", &path, None).await.status, 204);
    assert_eq!(call(&server, "DELETE", &path, None).await.status, 404);
    assert_eq!(ada.until("deleted").await["offset"], offset);
    let kick = json!({"name": "eve", "reason": "enough"});
    assert_eq!(call(&server, "POST", "/api/rooms/lobby/kick", Some(kick.clone())).await.status, 204);
    assert_eq!(eve.until("kicked").await["reason"], "enough");
    ada.until("presence").await;
    assert_eq!(call(&server, "POST", "/api/rooms/lobby/kick", Some(kick)).await.status, 404);
    let ban = |seconds: u64| json!({"name": "Eve", "seconds": seconds});
    assert_eq!(call(&server, "POST", "/api/rooms/lobby/ban", Some(ban(60))).await.status, 204);
    assert_eq!(eve.ask(json!({"type": "join", "room": "lobby"})).await["code"], "banned");
    assert_eq!(call(&server, "POST", "/api/rooms/lobby/ban", Some(ban(0))).await.status, 204);
    assert_eq!(eve.ask(json!({"type": "join", "room": "lobby"})).await["type"], "joined");
}

#[tokio::test]
async fn what_is_wrong_has_its_status() {
    let server = server(&["--max-text", "10"]).await;
    let messages = "/api/rooms/lobby/messages";
    for (body, status) in [
        (json!({"from": "b"}), 422),
        (json!({"from": "b", "text": 7}), 422),
        (json!({"from": "b", "text": "x", "extra": 1}), 422),
        (json!({"from": "[b]", "text": "x"}), 422),
        (json!({"from": "system", "text": "x"}), 422),
        (json!({"from": "b", "text": " \n"}), 422),
        (json!({"from": "b", "text": "more than ten"}), 422),
        (json!({"from": "b", "text": "x", "key": "k".repeat(65)}), 422),
        (json!({"from": "b", "text": "x".repeat(100_000)}), 413),
    ] {
        assert_eq!(call(&server, "POST", messages, Some(body.clone())).await.status, status, "{body:.80}");
    }
    for (method, path, status) in [
        ("PUT", messages, 405),
        ("GET", messages, 405),
        ("POST", "/api/rooms", 405),
        ("GET", "/api/nothing", 404),
        ("GET", "/api/rooms/a%20b/history", 422),
        ("GET", "/api/rooms/%ff/history", 400),
        ("GET", "/api/rooms/lobby/history?after=x", 422),
        ("GET", "/api/rooms/lobby/history?limit=0", 422),
        ("GET", "/api/rooms/lobby/history?limit=1001", 422),
        ("GET", "/api/rooms?what=1", 400),
    ] {
        let answer = call(&server, method, path, None).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert_eq!(answer.field("allow").is_some(), status == 405);
    }
    let bearer = format!("Authorization: Bearer {KEY}\r\nHost: x\r\n");
    for (fields, body, status) in [
        ("Content-Type: text/plain\r\nContent-Length: 2\r\n", "{}", 415),
        ("Content-Type: application/json\r\nContent-Length: 1\r\n", "{", 400),
        ("Content-Type: application/json\r\nContent-Length: 2, 3\r\n", "{}", 400),
        ("Content-Type: application/json\r\nExpect: magic\r\nContent-Length: 2\r\n", "{}", 417),
    ] {
        let request = format!("POST {messages} HTTP/1.1\r\n{bearer}{fields}\r\n{body}");
        assert_eq!(http::ask_raw(server.address(), request.as_bytes()).await.status, status, "{fields}");
    }
}

#[tokio::test]
async fn head_is_where_get_is_and_has_no_body() {
    let server = server(&[]).await;
    let _ada = Json::join(&server, "Ada").await;
    for path in
        ["/api/rooms", "/api/openapi.json", "/api/connections", "/api/rooms/lobby/history", "/api/nothing"]
    {
        let (get, head) = (call(&server, "GET", path, None).await, call(&server, "HEAD", path, None).await);
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.field("content-length"), get.field("content-length"), "{path}");
    }
}

#[tokio::test]
async fn every_answer_is_as_the_description_says() {
    let server = server(&[]).await;
    let mut ada = Json::join(&server, "Ada").await;
    ada.say("hello").await;
    let mut description = http::get(server.address(), "/api/openapi.json").await.json();
    let schemas = description["components"]["schemas"].take();
    let schemas = schemas.to_string().replace("#/components/schemas/", "#/$defs/");
    let defs: Value = serde_json::from_str(&schemas).unwrap();
    for (path, schema) in [
        ("/api/rooms", "Rooms"),
        ("/api/rooms/lobby/history", "History"),
        ("/api/rooms/lobby/presence", "Presence"),
        ("/api/connections", "Connections"),
        ("/api/nothing", "Problem"),
    ] {
        let answer = call(&server, "GET", path, None).await.json();
        let schema = json!({"$ref": format!("#/$defs/{schema}"), "$defs": defs});
        let validator = jsonschema::validator_for(&schema).unwrap();
        validator.validate(&answer).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"));
    }
}
