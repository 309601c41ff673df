//! The API against a chat that remembers what it was asked.

use std::collections::BTreeSet;
use std::sync::Mutex;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;

/// Writes down each call, and has the room `lobby` and the connection 7.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn note(&self, call: String) {
        self.0.lock().unwrap().push(call);
    }
}

fn missing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such thing")
}

impl Chat for Recorder {
    async fn publish(&self, room: &RoomName, publication: Publication) -> Result<Published, Problem> {
        self.note(format!("{} {publication:?}", room.as_str()));
        Ok(Published { offset: 58, epoch: "e".into() })
    }

    async fn broadcast(&self, broadcast: Broadcast) -> Result<Broadcasted, Problem> {
        self.note(format!("{broadcast:?}"));
        Ok(Broadcasted { rooms: 2 })
    }

    async fn delete_message(&self, room: &RoomName, offset: u64) -> Result<(), Problem> {
        self.note(format!("delete {} {offset}", room.as_str()));
        if offset == 58 { Ok(()) } else { Err(missing()) }
    }

    async fn rooms(&self) -> Result<Rooms, Problem> {
        let room = RoomInfo { name: "lobby".into(), members: 1, offset: 58, epoch: "e".into() };
        Ok(Rooms { rooms: vec![room] })
    }

    async fn history(&self, _: &RoomName, range: HistoryRange) -> Result<History, Problem> {
        self.note(format!("{range:?}"));
        let message =
            HistoryMessage { offset: 58, time: 1, from: "Ada".into(), text: "hi".into(), key: None };
        Ok(History { messages: vec![message], offset: 58, epoch: "e".into(), complete: true })
    }

    async fn presence(&self, room: &RoomName) -> Result<Presence, Problem> {
        let members = vec![Member { name: "Ada".into() }];
        Ok(Presence { room: room.as_str().into(), version: 3, count: 1, members })
    }

    async fn kick(&self, room: &RoomName, kick: Kick) -> Result<(), Problem> {
        self.note(format!("{} {kick:?}", room.as_str()));
        Ok(())
    }

    async fn ban(&self, room: &RoomName, ban: Ban) -> Result<(), Problem> {
        self.note(format!("{} {ban:?}", room.as_str()));
        Ok(())
    }

    async fn connections(&self) -> Result<Connections, Problem> {
        let connection = ConnectionInfo {
            id: 7,
            name: Some("Ada".into()),
            room: Some("lobby".into()),
            rooms: vec!["lobby".into()],
            address: "192.0.2.1".into(),
            form: "json",
            since: 1,
        };
        Ok(Connections { connections: vec![connection] })
    }

    async fn disconnect(&self, id: u64) -> Result<(), Problem> {
        if id == 7 { Ok(()) } else { Err(missing()) }
    }
}

const KEY: &str = "0123456789abcdef";

fn request(method: &str, target: &str, body: &str) -> http::request::Builder {
    let builder = http::Request::builder().method(method).uri(target);
    let builder = builder.header("authorization", format!("Bearer {KEY}"));
    if body.is_empty() { builder } else { builder.header("content-type", "application/json") }
}

async fn send(chat: &Recorder, builder: http::request::Builder, body: &str) -> (u16, Value) {
    let api = Api::new(Some(ApiKeys::parse(KEY).unwrap()));
    let request = Request::new(builder.body(()).unwrap(), Bytes::copy_from_slice(body.as_bytes()));
    let (_, response) = api.answer(chat, &request).await;
    let body = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
    (response.status().as_u16(), body)
}

async fn call(method: &str, target: &str, body: &str) -> (u16, Value) {
    send(&Recorder::default(), request(method, target, body), body).await
}

#[tokio::test]
async fn a_message_is_published_once_for_its_key() {
    let chat = Recorder::default();
    let body = r#"{"from":"Ada","text":"hi","key":"build"}"#;
    let request = request("POST", "/api/rooms/lobby/messages", body).header("idempotency-key", "\"abc\"");
    let answer = send(&chat, request, body).await;
    assert_eq!(answer, (201, json!({"offset": 58, "epoch": "e"})));
    let calls = chat.0.lock().unwrap();
    assert!(calls[0].starts_with("lobby Publication { from: "), "{calls:?}");
    assert!(
        calls[0].ends_with(r#"text: "hi", key: Some("build"), idempotency_key: Some("abc") }"#),
        "{calls:?}"
    );
}

#[tokio::test]
async fn each_operation_has_its_answer() {
    let room = json!({"name": "lobby", "members": 1, "offset": 58, "epoch": "e"});
    let message = json!({"offset": 58, "time": 1, "from": "Ada", "text": "hi"});
    let connection = json!({"id": 7, "name": "Ada", "room": "lobby", "rooms": ["lobby"], "address": "192.0.2.1",
        "form": "json", "since": 1});
    for (method, target, body, status, expected) in [
        ("GET", "/api/rooms", "", 200, json!({"rooms": [room]})),
        (
            "GET",
            "/api/rooms/lobby/history?after=5&limit=10",
            "",
            200,
            json!({"messages": [message], "offset": 58, "epoch": "e", "complete": true}),
        ),
        (
            "GET",
            "/api/rooms/lobby/presence",
            "",
            200,
            json!({"room": "lobby", "version": 3, "count": 1, "members": [{"name": "Ada"}]}),
        ),
        ("GET", "/api/connections", "", 200, json!({"connections": [connection]})),
        ("POST", "/api/broadcast", r#"{"from":"Ada","text":"hi"}"#, 201, json!({"rooms": 2})),
        ("POST", "/api/rooms/lobby/kick", r#"{"name":"Ada"}"#, 204, Value::Null),
        ("POST", "/api/rooms/lobby/ban", r#"{"name":"Ada","seconds":60,"reason":"spam"}"#, 204, Value::Null),
        ("DELETE", "/api/rooms/lobby/messages/58", "", 204, Value::Null),
        ("DELETE", "/api/connections/7", "", 204, Value::Null),
    ] {
        assert_eq!(call(method, target, body).await, (status, expected), "{method} {target}");
    }
}

#[tokio::test]
async fn what_is_wrong_has_its_status() {
    for (method, target, body, status) in [
        ("POST", "/api/rooms/lobby/messages", "{", 400),
        ("POST", "/api/rooms/lobby/messages", r#"{"from":"Ada"}"#, 422),
        ("POST", "/api/rooms/lobby/messages", r#"{"from":"[x]","text":"hi"}"#, 422),
        ("POST", "/api/rooms/lobby/messages", r#"{"from":"Ada","text":"hi","txt":1}"#, 422),
        ("POST", "/api/rooms/a%20b/messages", r#"{"from":"Ada","text":"hi"}"#, 422),
        ("POST", "/api/rooms/lobby/messages?x=1", r#"{"from":"Ada","text":"hi"}"#, 400),
        ("POST", "/api/rooms/lobby/ban", r#"{"name":"Ada","seconds":-1}"#, 422),
        ("POST", "/api/broadcast", r#"{"from":"Ada","text":" \n"}"#, 422),
        ("GET", "/api/rooms/lobby/history?after=9007199254740992", "", 422),
        ("DELETE", "/api/connections/9007199254740992", "", 404),
        ("GET", "/api/rooms/lobby/history?limit=0", "", 422),
        ("GET", "/api/rooms/lobby/history?limit=1001", "", 422),
        ("GET", "/api/rooms/lobby/history?after=x", "", 422),
        ("GET", "/api/rooms/lobby/history?aftr=1", "", 400),
        ("GET", "/api/rooms/lobby/messages", "", 405),
        ("DELETE", "/api/connections/x", "", 404),
        ("DELETE", "/api/connections/8", "", 404),
        ("DELETE", "/api/rooms/lobby/messages/+58", "", 404),
        ("GET", "/api/", "", 404),
        ("GET", "/api/%", "", 400),
    ] {
        let (found, problem) = call(method, target, body).await;
        assert_eq!(found, status, "{method} {target} {body}: {problem}");
        assert_eq!(problem["status"], status, "{problem}");
    }
}

#[tokio::test]
async fn only_one_idempotency_key_of_moderate_length_is_taken() {
    let body = r#"{"from":"Ada","text":"hi"}"#;
    for keys in [&["", ""][..], &["a b"], &["a", "b"], &[&"x".repeat(65)]] {
        let request = keys.iter().fold(request("POST", "/api/broadcast", body), |request, key| {
            request.header("idempotency-key", *key)
        });
        assert_eq!(send(&Recorder::default(), request, body).await.0, 400, "{keys:?}");
    }
}

#[tokio::test]
async fn nothing_is_done_without_a_key() {
    for key in [None, Some("Bearer 0123456789abcdeX")] {
        let chat = Recorder::default();
        let mut request = http::Request::builder().method("DELETE").uri("/api/rooms/lobby/messages/58");
        if let Some(key) = key {
            request = request.header("authorization", key);
        }
        let (status, problem) = send(&chat, request, "").await;
        assert_eq!((status, &problem["title"]), (401, &json!("Unauthorized")));
        assert!(chat.0.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn without_a_key_file_there_is_no_api() {
    for target in ["/api/rooms", "/api/openapi.json"] {
        let head = request("GET", target, "").body(()).unwrap();
        let (route, response) =
            Api::new(None).answer(&Recorder::default(), &Request::new(head, Bytes::new())).await;
        assert_eq!((route, response.status().as_u16()), (NO_ROUTE, 404));
    }
}

/// The description and the router name the same operations.
#[tokio::test]
async fn the_description_is_complete() {
    let (status, description) = call("GET", "/api/openapi.json", "").await;
    assert_eq!((status, &description["openapi"]), (200, &json!("3.1.0")));
    let described: BTreeSet<String> = description["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| *key != "parameters")
                .map(move |method| format!("{method} {path}"))
        })
        .collect();
    let api = Api::new(None);
    let routed: BTreeSet<String> = api
        .router
        .routes()
        .map(|(method, path)| format!("{} {path}", method.as_str().to_lowercase()))
        .collect();
    assert_eq!(described, routed);
}
