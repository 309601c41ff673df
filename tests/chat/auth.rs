//! Tokens: where they stand, what they allow, how long.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use switchboard::handshake::Negotiated;
use switchboard::{Config, Role, WebSocket};

use crate::common::client::{Client, answer_to, ask, read_head};
use crate::common::json::{Json, Opening, SUBPROTOCOL};
use crate::common::server::{Folder, Server};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// How long an expired token is still taken.
const LEEWAY: u64 = 30;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A token with these claims, good for an hour unless they say otherwise.
pub(crate) fn token(claims: Value) -> String {
    signed(claims, SECRET)
}

fn signed(mut claims: Value, secret: &str) -> String {
    claims.as_object_mut().unwrap().entry("exp").or_insert(json!(now() + 3600));
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

/// A server that wants tokens.
pub(crate) async fn server(more: &[&str]) -> (Server, Folder) {
    let folder = Folder::new();
    let secret = folder.write("secret", SECRET);
    let arguments = [&["chat", "--auth", "jwt", "--jwt-secret-file", &secret][..], more].concat();
    (Server::start(&arguments).await, folder)
}

/// Joins as a moderator of every room.
pub(crate) async fn moderator(server: &Server, name: &str) -> Json {
    let mut client = Json::connect(server, "/").await;
    let grant = json!({"moderate": ["*"]});
    client.greet(json!({"token": token(json!({"sub": name, "switchboard": grant}))})).await;
    client
}

/// Joins in plain text, by a token in the header.
pub(crate) async fn plain(server: &Server, bearer: &str) -> Client {
    let mut stream = ask(server, "/", &[&format!("Authorization: {bearer}")]).await;
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let ws =
        WebSocket::from_parts(stream, Role::Client, Negotiated::default(), &Config::default(), Vec::new());
    let mut client = Client { ws: ws.unwrap() };
    assert!(client.recv_text().await.starts_with("Welcome, "));
    client
}

async fn open(server: &Server, fields: &[(&'static str, &str)], subprotocols: &[&str]) -> Option<Json> {
    let opening = Opening { path: "/", fields, subprotocols, ..Opening::default() };
    Json::open(server.address(), opening).await.ok()
}

#[tokio::test]
async fn a_token_may_stand_in_the_header_a_subprotocol_the_cookie_or_the_hello() {
    let (server, _folder) = server(&["--jwt-cookie", "session"]).await;
    let origin = format!("http://{}", server.address());
    for (number, place) in ["header", "subprotocol", "cookie", "hello"].into_iter().enumerate() {
        let token = token(json!({"sub": format!("user {number}")}));
        let (bearer, cookie) = (format!("Bearer {token}"), format!("a=b; session={token}"));
        let offered = format!("switchboard.token.{token}");
        let mut client = match place {
            "header" => open(&server, &[("authorization", &bearer)], &[]).await,
            "subprotocol" => open(&server, &[], &[&offered]).await,
            "cookie" => open(&server, &[("cookie", &cookie), ("origin", &origin)], &[]).await,
            _ => open(&server, &[], &[]).await,
        }
        .expect(place);
        // The name is the token's, whatever the hello says.
        let hello = if place == "hello" { json!({"token": token}) } else { json!({"name": "somebody"}) };
        client.greet(hello).await;
        assert_eq!(client.welcome["name"], format!("user {number}"), "{place}");
        client.close().await;
    }
}

#[tokio::test]
async fn a_cookie_without_an_origin_or_with_another_sites_is_refused() {
    let (server, _folder) = server(&["--jwt-cookie", "session"]).await;
    let cookie = format!("Cookie: session={}", token(json!({"sub": "Ada"})));
    for (fields, status) in [
        (vec![cookie.as_str()], "401"),
        (vec![&cookie, "Origin: http://evil.example"], "403"),
        (vec![&cookie, "Origin: null"], "403"),
        (vec![&cookie, "Origin: http://chat.example"], "101"),
        // A cookie of another name is nobody's.
        (vec!["Cookie: other=a.b.c", "Origin: http://chat.example"], "401"),
    ] {
        let head = answer_to(&server, "/", &fields).await;
        assert_eq!(&head[9..12], status, "{fields:?}");
    }
}

#[tokio::test]
async fn plain_text_needs_its_token_with_the_request_and_is_in_by_its_name() {
    let (server, _folder) = server(&[]).await;
    let head = answer_to(&server, "/", &[]).await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    let mut ann = plain(&server, &format!("Bearer {}", token(json!({"sub": "id-7", "name": "ann"})))).await;
    let mut mia = moderator(&server, "Mia").await;
    assert_eq!(ann.recv_text().await, "[system] >>> Mia joined the chat");
    ann.say("the first text is said").await;
    let message = mia.until("message").await;
    assert_eq!((&message["from"], &message["text"]), (&json!("ann"), &json!("the first text is said")));
    let bearer = token(json!({"sub": "bob", "switchboard": {"join": ["lobby"], "send": []}}));
    let head = answer_to(&server, "/rooms/other", &[&format!("Authorization: Bearer {bearer}")]).await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    let mut bob = plain(&server, &format!("Bearer {bearer}")).await;
    bob.say("hello").await;
    assert_eq!(bob.recv_text().await, "[system] error: your token doesn't let you talk in this room");
}

#[tokio::test]
async fn wrong_tokens_are_refused_wherever_they_stand() {
    let (server, _folder) = server(&[]).await;
    let expired = token(json!({"sub": "Ada", "exp": now() - LEEWAY - 1}));
    let early = token(json!({"sub": "Ada", "nbf": now() + 100}));
    let (other, good) = (
        signed(json!({"sub": "Ada"}), "another secret, as long as this one is"),
        token(json!({"sub": "Ada"})),
    );
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap());
    let for_others = token(json!({"sub": "Ada", "aud": "billing"}));
    let misspelt = token(json!({"sub": "Ada", "switchboard": {"jion": ["x"]}}));
    let nameless = token(json!({"x": 1}));
    let invisible = token(json!({"sub": "Ad\u{202e}a"}));
    let wrong =
        [&expired, &early, &other, &unsigned, &for_others, &misspelt, &nameless, &invisible, "a.b.c", ""];
    for (number, wrong) in wrong.into_iter().enumerate() {
        let head = answer_to(&server, "/", &[&format!("Authorization: Bearer {wrong}")]).await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{wrong}: {head}");
        let mut client = Json::connect(&server, "/").await;
        let error = client.ask(json!({"type": "hello", "name": "Ada", "token": wrong})).await;
        assert_eq!(error["code"], "unauthorized", "{wrong}: {error}");
        assert!(wrong.is_empty() || !error["message"].as_str().unwrap().contains(wrong));
        // There is another try.
        assert_eq!(client.ask(json!({"type": "hello", "name": "Ada"})).await["code"], "unauthorized");
        client.greet(json!({"token": token(json!({"sub": format!("user {number}")}))})).await;
    }
}

#[tokio::test]
async fn a_token_that_runs_out_closes_with_4401_unless_it_is_refreshed() {
    let (server, _folder) = server(&[]).await;
    let brief = |name: &str, seconds: u64| token(json!({"sub": name, "exp": now() + seconds - LEEWAY}));
    let mut ada = Json::connect(&server, "/").await;
    ada.greet(json!({"token": brief("Ada", 3)})).await;
    let mut bob = Json::connect(&server, "/").await;
    bob.greet(json!({"token": brief("Bob", 3)})).await;
    let mut ann = plain(&server, &format!("Bearer {}", brief("ann", 3))).await;
    for (wrong, code) in [("x".to_owned(), "unauthorized"), (token(json!({"sub": "Eve"})), "unauthorized")] {
        let error = bob.ask(json!({"type": "refresh", "id": "r", "token": wrong})).await;
        assert_eq!((&error["code"], &error["id"]), (&json!(code), &json!("r")));
    }
    let refreshed =
        bob.ask(json!({"type": "refresh", "id": "r", "token": token(json!({"sub": "Bob"}))})).await;
    assert_eq!(refreshed, json!({"type": "done", "id": "r"}));
    assert_eq!(ada.closed().await.0, 4401);
    assert_eq!(ann.closed_after_lines().await, 4401);
    // Whoever ran out has left at once.
    let mut left = Vec::new();
    while left.len() < 2 {
        let news = bob.until("presence").await;
        if news["event"] == "leave" {
            left.push(news["name"].clone());
        }
    }
    left.sort_by_key(Value::to_string);
    assert_eq!(left, ["Ada", "ann"]);
    bob.say("still here").await;
}

#[tokio::test]
async fn a_refresh_puts_out_of_the_rooms_that_the_newer_token_does_not_allow() {
    let (server, _folder) = server(&[]).await;
    let mut ada = Json::connect(&server, "/").await;
    ada.greet(json!({"token": token(json!({"sub": "Ada"}))})).await;
    ada.ask(json!({"type": "join", "room": "secret", "id": "j"})).await;
    let less = token(json!({"sub": "Ada", "switchboard": {"join": ["lobby"]}}));
    let refreshed = ada.ask(json!({"type": "refresh", "id": "r", "token": less})).await;
    assert_eq!(refreshed, json!({"type": "done", "id": "r"}));
    let kicked = ada.until("kicked").await;
    assert_eq!((&kicked["room"], &kicked["by"]), (&json!("secret"), &json!("system")));
    let refused = ada.ask(json!({"type": "publish", "room": "secret", "id": "p", "text": "hi"})).await;
    assert_eq!(refused["code"], "not_joined");
    ada.say("still in the lobby").await;
}

#[tokio::test]
async fn a_session_comes_back_only_to_the_rooms_of_its_new_token() {
    let (server, _folder) = server(&[]).await;
    let mut mia = moderator(&server, "Mia").await;
    let mut ada = Json::connect(&server, "/").await;
    ada.greet(json!({"token": token(json!({"sub": "Ada"}))})).await;
    ada.ask(json!({"type": "join", "room": "secret"})).await;
    mia.ask(json!({"type": "join", "room": "secret"})).await;
    let session = ada.session();
    ada.lose();
    let narrow = token(json!({"sub": "Ada", "switchboard": {"join": ["lobby"]}}));
    let mut ada = Json::connect(&server, "/").await;
    ada.greet(json!({"token": narrow, "session": session})).await;
    assert_eq!((&ada.welcome["resumed"], &ada.joined["room"]), (&json!(true), &json!("lobby")));
    assert_eq!(ada.ask(json!({"type": "members", "room": "secret"})).await["code"], "not_joined");
    let left = loop {
        let news = mia.until("presence").await;
        if news["event"] == "leave" {
            break news;
        }
    };
    assert_eq!((&left["name"], &left["room"]), (&json!("Ada"), &json!("secret")));
}

#[tokio::test]
async fn tokens_that_others_signed_with_public_keys_let_in() {
    for (key, jwt) in [
        ("rs256.pem", include_str!("../auth/rs256.jwt")),
        ("es256.pem", include_str!("../auth/es256.jwt")),
        ("eddsa.pem", include_str!("../auth/eddsa.jwt")),
        ("jwks.json", include_str!("../auth/rs256_kid.jwt")),
    ] {
        let path = format!("{}/tests/auth/{key}", env!("CARGO_MANIFEST_DIR"));
        let flag = if key == "jwks.json" { "--jwt-jwks-file" } else { "--jwt-public-key-file" };
        let server = Server::start(&["chat", "--auth", "jwt", flag, &path]).await;
        let mut client = Json::connect(&server, "/").await;
        client.greet(json!({"token": jwt.trim()})).await;
        assert_eq!(client.welcome["name"], "Ann", "{key}");
    }
}

#[tokio::test]
async fn the_subprotocol_with_the_token_is_never_chosen() {
    let (server, _folder) = server(&[]).await;
    let token = token(json!({"sub": "Ada"}));
    let offer = format!("Sec-WebSocket-Protocol: switchboard.token.{token}, {SUBPROTOCOL}");
    let head = answer_to(&server, "/", &[&offer]).await;
    assert!(head.starts_with("HTTP/1.1 101 ") && !head.contains(&token), "{head}");
    assert!(head.to_ascii_lowercase().contains(&format!("sec-websocket-protocol: {SUBPROTOCOL}")), "{head}");
}
