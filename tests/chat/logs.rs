//! What is in the logs, and what never is.

use serde_json::{Value, json};

use crate::auth::token;
use crate::common::client::{answer_to, request};
use crate::common::http;
use crate::common::json::{Json, Opening};
use crate::common::server::{Folder, Server};

const API_KEY: &str = "key-of-some-backend-0123456789";

/// Everything that could tell a secret or a text; returns the secrets and what was logged.
async fn log_of_a_busy_day(format: &str, filter: &str) -> (Vec<String>, String) {
    let folder = Folder::new();
    let secret = folder.write("secret", "0123456789abcdef0123456789abcdef");
    let (keys, log) = (folder.write("keys", API_KEY), folder.path("log"));
    let arguments = [
        "chat",
        "--auth",
        "jwt",
        "--jwt-secret-file",
        &secret,
        "--jwt-cookie",
        "session",
        "--api-key-file",
        &keys,
        "--log-format",
        format,
    ];
    let mut server = Server::start_logged(&arguments, filter, log.as_ref()).await;
    let good = token(json!({"sub": "Ada \"x\" bytes=1", "exp": 9e9}));
    let bad = format!("{good}x");
    let subprotocol = format!("switchboard.token.{good}");
    let opening = Opening { path: "/", subprotocols: &[&subprotocol], ..Opening::default() };
    let mut ada = Json::open(server.address(), opening).await.unwrap();
    ada.greet(json!({})).await;
    let session = ada.session()["secret"].as_str().unwrap().to_owned();
    ada.say("TEXT-OF-A-MESSAGE").await;
    ada.ask(json!({"type": "signal", "room": "nowhere", "data": "TEXT-OF-A-MESSAGE"})).await;
    ada.ask_text("TEXT-OF-A-MESSAGE").await;
    ada.ask(json!({"type": "refresh", "token": bad})).await;
    ada.close().await;
    for wrong in [&good, &bad] {
        let mut eve = Json::connect(&server, "/").await;
        eve.ask(json!({"type": "hello", "name": "TEXT-OF-A-MESSAGE\u{7}", "token": wrong})).await;
    }
    for field in [
        format!("Authorization: Bearer {bad}"),
        format!("Cookie: session={bad}"),
        format!("Sec-WebSocket-Protocol: switchboard.token.{bad}"),
        format!("Origin: http://{bad}.example"),
    ] {
        answer_to(&server, &format!("/?token={good}"), &[&field]).await;
    }
    // A path and fields that would write lines and colours of their own.
    for path in ["/rooms/a\u{1b}[31mINFO", "/%0d%0aINFO%20forged", "/nothing/%1b%5b31m"] {
        answer_to(&server, path, &[]).await;
        http::get(server.address(), path).await;
    }
    let odd = request("/", &["X: \u{1b}[31mforged\rINFO forged"]);
    http::ask_raw(server.address(), odd.as_bytes()).await;
    let api = format!("Authorization: Bearer {API_KEY}");
    let body = json!({"from": "backend", "text": "TEXT-OF-A-MESSAGE"}).to_string();
    http::ask(server.address(), ("POST", "/api/rooms/lobby/messages"), &[&api], Some(&body)).await;
    http::ask(server.address(), ("GET", "/api/rooms"), &["Authorization: Bearer wrong-API-KEY"], None).await;
    server.signal("TERM").await;
    server.wait().await;
    let signature = good.rsplit('.').next().unwrap().to_owned();
    let secrets = [session, signature, API_KEY.into(), "wrong-API-KEY".into(), "TEXT-OF-A-MESSAGE".into()];
    (secrets.into(), std::fs::read_to_string(log).unwrap())
}

#[tokio::test]
async fn neither_tokens_nor_texts_nor_secrets_are_logged() {
    for (format, filter) in [("text", "trace"), ("json", "trace")] {
        let (secrets, log) = log_of_a_busy_day(format, filter).await;
        assert!(log.contains("a connection ended"), "{log}");
        for secret in secrets {
            assert!(!log.contains(&secret), "{secret}: {log}");
        }
    }
}

#[tokio::test]
async fn nobody_writes_lines_of_their_own_into_the_log() {
    let (_, log) = log_of_a_busy_day("text", "debug").await;
    for line in log.lines() {
        // Nor colours: standard error is a file here.
        assert!(!line.contains(|char: char| char.is_control()), "{line:?}");
        assert!(!line.trim_start().starts_with("INFO"), "{line:?}");
    }
    let (_, log) = log_of_a_busy_day("json", "debug").await;
    // Behind the lines for people each is an object.
    let lines = log.lines().filter(|line| !line.starts_with("page: ") && !line.starts_with("talk with: "));
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect(line)).collect();
    let ended = lines.iter().map(|line| &line["fields"]).find(|fields| fields["rooms"] == "lobby").unwrap();
    // Who, where, how much, how it ended, how long.
    assert_eq!(ended["message"], "a connection ended");
    assert_eq!(ended["name"], r#""Ada \"x\" bytes=1""#);
    assert_eq!(ended["client"], "127.0.0.1");
    assert!(ended["bytes"].as_u64().unwrap() > 0 && ended["seconds"].as_f64().is_some());
    assert!(lines.iter().any(|line| line["fields"]["code"].is_u64()), "{log}");
}
