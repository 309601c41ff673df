//! The JSON form: opening, rooms, talking, errors.

use serde_json::{Value, json};

use crate::common::client::Client;
use crate::common::json::Json;
use crate::common::server::{PATIENCE, Server};

#[tokio::test]
async fn a_hello_is_answered_by_welcome_and_joined() {
    let server = Server::start(&["chat"]).await;
    let ada = Json::join(&server, "Ada").await;
    let welcome = &ada.welcome;
    assert_eq!((&welcome["name"], &welcome["resumed"]), (&json!("Ada"), &json!(false)));
    assert_eq!(welcome["moderator"], false);
    assert_eq!(
        welcome["limits"],
        json!({"text": null, "message_bytes": 65536, "rooms": 128, "signal_bytes": 1024})
    );
    assert!(welcome["server"].as_str().unwrap().starts_with("switchboard/"));
    let joined = &ada.joined;
    assert_eq!((&joined["room"], &joined["offset"]), (&json!("lobby"), &json!(0)));
    assert_eq!((&joined["history"], &joined["complete"]), (&json!([]), &json!(true)));
    assert_eq!((&joined["members"], &joined["count"]), (&json!([{"name": "Ada"}]), &json!(1)));
    let grace = Json::join_at(&server, "/rooms/rust", " Grace ").await;
    assert_eq!((&grace.welcome["name"], &grace.joined["room"]), (&json!("Grace"), &json!("rust")));
}

#[tokio::test]
async fn a_text_limit_is_in_the_welcome_and_holds() {
    let server = Server::start(&["chat", "--max-text", "5", "--max-message-bytes", "2KiB"]).await;
    let mut ada = Json::join(&server, "Ada").await;
    assert_eq!(ada.welcome["limits"]["text"], 5);
    assert_eq!(ada.welcome["limits"]["message_bytes"], 2048);
    assert_eq!(ada.say("äöü!?").await, 1);
    let error = ada.ask(json!({"type": "publish", "room": "lobby", "id": "x", "text": "123456"})).await;
    assert_eq!(
        (&error["code"], &error["id"], &error["room"]),
        (&json!("text_too_long"), &json!("x"), &json!("lobby"))
    );
    ada.send_text(&format!("{:3000}", json!({"type": "ping"}).to_string())).await;
    assert_eq!(ada.closed().await.0, 1009);
}

#[tokio::test]
async fn what_comes_before_hello_counts_as_a_try_and_three_are_the_end() {
    let server = Server::start(&["chat"]).await;
    let _ann = Client::join(&server, "ann").await;
    let mut ada = Json::connect(&server, "/").await;
    for (text, code) in [
        (r#"{"type":"ping","id":"1"}"#, "hello_first"),
        (r#"{"type":"hello","name":"[Ada]"}"#, "name_invalid"),
        // It looks the same.
        (r#"{"type":"hello","name":"Ann"}"#, "name_taken"),
    ] {
        let error = ada.ask_text(text).await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)));
    }
    assert_eq!(ada.closed().await.0, 1008);
    // After two there is a third.
    let mut bob = Json::connect(&server, "/").await;
    for text in ["{", r#"{"type":"hello"}"#] {
        assert_eq!(bob.ask_text(text).await["type"], "error");
    }
    bob.greet(json!({"name": "Bob"})).await;
}

#[tokio::test]
async fn whoever_says_no_hello_in_ten_seconds_is_closed() {
    let server = Server::start(&["chat"]).await;
    let mut ada = Json::connect(&server, "/").await;
    let late = tokio::time::timeout(3 * PATIENCE, ada.ws.recv()).await.expect("it is closed");
    assert_eq!(late.unwrap(), None);
    assert_eq!(ada.ws.close_frame().unwrap().code().get(), 1008);
}

#[tokio::test]
async fn a_binary_message_is_closed_with_1003() {
    let server = Server::start(&["chat"]).await;
    let mut new = Json::connect(&server, "/").await;
    let mut ada = Json::join(&server, "Ada").await;
    for client in [&mut new, &mut ada] {
        client.ws.send(vec![1]).await.unwrap();
        assert_eq!(client.closed().await.0, 1003);
    }
}

#[tokio::test]
async fn rooms_are_joined_left_and_looked_at() {
    let server = Server::start(&["chat"]).await;
    let mut ada = Json::join(&server, "Ada").await;
    let mut bob = Json::join_at(&server, "/rooms/rust", "Bob").await;
    let joined = ada.ask(json!({"type": "join", "room": "rust", "id": "1"})).await;
    assert_eq!(
        (&joined["type"], &joined["id"], &joined["count"]),
        (&json!("joined"), &json!("1"), &json!(2))
    );
    assert_eq!(joined["members"], json!([{"name": "Ada"}, {"name": "Bob"}]));
    let news = bob.recv().await;
    assert_eq!(
        news,
        json!({"type": "presence", "room": "rust", "version": 2, "event": "join", "name": "Ada", "count": 2})
    );
    let again = ada.ask(json!({"type": "join", "room": "rust", "id": "2"})).await;
    assert_eq!((&again["code"], &again["id"]), (&json!("bad_request"), &json!("2")));
    let left = ada.ask(json!({"type": "leave", "room": "rust", "id": "3"})).await;
    assert_eq!(left, json!({"type": "left", "room": "rust", "id": "3"}));
    let news = bob.recv().await;
    assert_eq!((&news["event"], &news["version"], &news["count"]), (&json!("leave"), &json!(3), &json!(1)));
    let members = bob.ask(json!({"type": "members", "room": "rust", "id": "4"})).await;
    assert_eq!(
        members,
        json!({"type": "members", "room": "rust", "id": "4", "version": 3, "members": [{"name": "Bob"}], "count": 1})
    );
    for request in [
        json!({"type": "leave", "room": "rust", "id": "5"}),
        json!({"type": "members", "room": "rust", "id": "5"}),
        json!({"type": "history", "room": "rust", "id": "5"}),
        json!({"type": "publish", "room": "rust", "id": "5", "text": "hi"}),
        json!({"type": "delete", "room": "rust", "id": "5", "offset": 1}),
    ] {
        let error = ada.ask(request).await;
        assert_eq!((&error["code"], &error["id"]), (&json!("not_joined"), &json!("5")));
    }
}

#[tokio::test]
async fn a_connection_may_be_in_128_rooms() {
    let server = Server::start(&["chat", "--rate-messages", "0"]).await;
    let mut ada = Json::join(&server, "Ada").await;
    for number in 1..128 {
        let joined = ada.ask(json!({"type": "join", "room": format!("r{number}")})).await;
        assert_eq!(joined["type"], "joined");
    }
    let error = ada.ask(json!({"type": "join", "room": "more", "id": "1"})).await;
    assert_eq!((&error["code"], &error["room"]), (&json!("too_many_rooms"), &json!("more")));
    assert_eq!(ada.ask(json!({"type": "leave", "room": "r1"})).await["type"], "left");
    assert_eq!(ada.ask(json!({"type": "join", "room": "more"})).await["type"], "joined");
}

#[tokio::test]
async fn a_published_text_is_acknowledged_and_passed_on_as_it_is() {
    let server = Server::start(&["chat"]).await;
    let mut bob = Json::join(&server, "Bob").await;
    let mut ann = Client::join(&server, "ann").await;
    let mut ada = Json::join(&server, "Ada").await;
    let text = " <script>alert(1)</script>\n\u{2028}\u{0}\u{1F600} ";
    let ack =
        ada.ask(json!({"type": "publish", "room": "lobby", "id": "5", "text": text, "key": "build"})).await;
    assert_eq!((&ack["type"], &ack["id"], &ack["offset"]), (&json!("ack"), &json!("5"), &json!(1)));
    let message = bob.until("message").await;
    assert_eq!(
        message,
        json!({"type": "message", "room": "lobby", "offset": 1, "time": ack["time"], "from": "Ada", "text": text, "key": "build"})
    );
    assert_eq!(ann.recv_text().await, "[system] >>> Ada joined the chat");
    assert_eq!(ann.recv_text().await, format!("[Ada] {text}"));
    ann.say("from plain text").await;
    for client in [&mut ada, &mut bob] {
        let message = client.until("message").await;
        assert_eq!((&message["from"], &message["text"]), (&json!("ann"), &json!("from plain text")));
        assert_eq!(message["offset"], 2);
    }
    // An id is optional, and so is the ack's then.
    let ack = ada.ask(json!({"type": "publish", "room": "lobby", "text": "x"})).await;
    assert_eq!((&ack["type"], ack.get("id"), &ack["offset"]), (&json!("ack"), None, &json!(3)));
}

#[tokio::test]
async fn the_same_id_again_is_not_published_again() {
    let server = Server::start(&["chat"]).await;
    let mut bob = Json::join(&server, "Bob").await;
    let mut ada = Json::join(&server, "Ada").await;
    let publish = |id: &str| json!({"type": "publish", "room": "lobby", "id": id, "text": id});
    let mut first = ada.ask(publish("1")).await;
    let second = ada.ask(publish("1")).await;
    first["duplicate"] = json!(true);
    assert_eq!(second, first);
    // Another room and another session have their own ids.
    ada.ask(json!({"type": "join", "room": "rust"})).await;
    let other = ada.ask(json!({"type": "publish", "room": "rust", "id": "1", "text": "1"})).await;
    assert_eq!((other["offset"].as_u64(), other.get("duplicate")), (Some(1), None));
    assert_eq!(bob.until("message").await["text"], "1");
    assert_eq!(bob.ask(publish("1")).await["offset"], 2);
    ada.send(publish("2")).await;
    assert_eq!(bob.until("message").await["text"], "2");
}

#[tokio::test]
async fn a_signal_is_passed_on_and_never_stored_nor_shown_in_plain_text() {
    let server = Server::start(&["chat"]).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut bob = Json::join(&server, "Bob").await;
    let mut ada = Json::join(&server, "Ada").await;
    bob.settle().await;
    for data in [json!({"typing": true}), json!(null), json!([1, "x"]), json!(-1.5e-7)] {
        ada.send(json!({"type": "signal", "room": "lobby", "data": data})).await;
        assert_eq!(bob.recv().await, json!({"type": "signal", "room": "lobby", "from": "Ada", "data": data}));
    }
    // As JSON it has two bytes more.
    let fits = json!({"type": "signal", "room": "lobby", "data": "x".repeat(1022)});
    ada.send(fits).await;
    assert_eq!(bob.recv().await["type"], "signal");
    let error = ada.ask(json!({"type": "signal", "room": "lobby", "data": "x".repeat(1023)})).await;
    assert_eq!(error["code"], "too_large");
    assert_eq!(ada.say("after").await, 1);
    for line in ["[system] >>> Bob joined the chat", "[system] >>> Ada joined the chat", "[Ada] after"] {
        assert_eq!(ann.recv_text().await, line);
    }
    let history = ada.ask(json!({"type": "history", "room": "lobby"})).await;
    assert_eq!(history["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_ping_is_answered_with_the_time() {
    let server = Server::start(&["chat"]).await;
    let mut ada = Json::join(&server, "Ada").await;
    let pong = ada.ask(json!({"type": "ping", "id": "6"})).await;
    assert_eq!((&pong["type"], &pong["id"]), (&json!("pong"), &json!("6")));
    assert!(pong["time"].as_u64().unwrap() > 1_700_000_000_000);
    assert_eq!(ada.ask(json!({"type": "ping"})).await.get("id"), None);
}

#[tokio::test]
async fn what_is_wrong_is_said_and_the_connection_goes_on() {
    let server = Server::start(&["chat"]).await;
    let mut ada = Json::join(&server, "Ada").await;
    let long = "x".repeat(65);
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for (text, code, id) in [
        ("".to_owned(), "bad_request", None),
        ("null".to_owned(), "bad_request", None),
        ("[]".to_owned(), "bad_request", None),
        ("{\"type\":".to_owned(), "bad_request", None),
        (deep.clone(), "bad_request", None),
        (format!(r#"{{"type":"signal","room":"lobby","data":{deep}}}"#), "bad_request", None),
        (json!({"id": "1"}).to_string(), "bad_request", Some("1")),
        (json!({"type": 1, "id": "1"}).to_string(), "bad_request", Some("1")),
        (json!({"type": "publish", "id": "1", "room": "lobby"}).to_string(), "bad_request", Some("1")),
        (json!({"type": "publish", "id": "1", "room": 7, "text": ""}).to_string(), "bad_request", Some("1")),
        (json!({"type": "hello", "name": "Eve", "id": "1"}).to_string(), "bad_request", None),
        (json!({"type": "refresh", "token": "x", "id": "1"}).to_string(), "bad_request", Some("1")),
        (
            json!({"type": "history", "room": "lobby", "after": 1, "before": 2, "id": "1"}).to_string(),
            "bad_request",
            Some("1"),
        ),
        (json!({"type": "dance", "id": "1"}).to_string(), "unknown_type", Some("1")),
        (json!({"type": "join", "room": "a b", "id": "1"}).to_string(), "room_invalid", Some("1")),
        (json!({"type": "join", "room": "x".repeat(65), "id": "1"}).to_string(), "room_invalid", Some("1")),
        (
            json!({"type": "publish", "room": "lobby", "text": " \n", "id": "1"}).to_string(),
            "text_empty",
            Some("1"),
        ),
        (json!({"type": "ping", "id": long}).to_string(), "too_large", None),
        (
            json!({"type": "publish", "room": "lobby", "text": "x", "key": long, "id": "1"}).to_string(),
            "too_large",
            Some("1"),
        ),
        (
            json!({"type": "delete", "room": "lobby", "offset": 9, "id": "1"}).to_string(),
            "not_found",
            Some("1"),
        ),
        (
            json!({"type": "kick", "room": "lobby", "name": "Bob", "id": "1"}).to_string(),
            "forbidden",
            Some("1"),
        ),
    ] {
        let error = ada.ask_text(&text).await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{text:.100}: {error}");
        assert_eq!(error.get("id").and_then(Value::as_str), id, "{text:.100}");
    }
    assert_eq!(ada.say("still here").await, 1);
}

#[tokio::test]
async fn members_of_an_object_that_nobody_knows_are_ignored() {
    let server = Server::start(&["chat"]).await;
    let mut ada = Json::connect(&server, "/").await;
    let welcome = ada.ask_text(r#"{"type":"hello","name":"Ada","colour":"red","from":"Bob"}"#).await;
    assert_eq!(welcome["name"], "Ada");
    assert_eq!(ada.recv().await["type"], "joined");
    let mut bob = Json::join(&server, "Bob").await;
    // Nobody says in whose name they speak.
    ada.send_text(r#"{"type":"publish","room":"lobby","text":"hi","from":"system","offset":7}"#).await;
    let message = bob.until("message").await;
    assert_eq!((&message["from"], &message["offset"]), (&json!("Ada"), &json!(1)));
}
