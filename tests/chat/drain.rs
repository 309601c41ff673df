//! Going down behind a balancer, with clients that speak JSON.

use serde_json::{Value, json};

use crate::common::client::answer_to;
use crate::common::http::get;
use crate::common::json::Json;
use crate::common::server::{Folder, Server};

#[tokio::test]
async fn during_the_drain_delay_it_is_not_ready_but_serves() {
    let mut server = Server::start(&["chat", "--drain-delay", "1500ms"]).await;
    let mut ada = Json::join(&server, "Ada").await;
    assert_eq!(get(server.address(), "/readyz").await.status, 200);
    server.signal("TERM").await;
    let unready = loop {
        let answer = get(server.address(), "/readyz").await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((unready.status, unready.field("content-type")), (503, Some("application/problem+json")));
    assert_eq!(get(server.address(), "/healthz").await.status, 200);
    let bob = Json::join(&server, "Bob").await;
    ada.until("presence").await;
    ada.say("still here").await;
    drop(bob);
    let (code, reason) = ada.closed().await;
    assert_eq!(code, 1001);
    let seconds = reason.strip_prefix("retry-after=").and_then(|seconds| seconds.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| seconds > 0), "{reason}");
    drop(ada);
    assert_eq!(server.wait().await.code(), Some(0));
}

#[tokio::test]
async fn nobody_is_shown_the_leaves_of_a_stop_and_what_was_acknowledged_is_kept() {
    let folder = Folder::new();
    let arguments = ["chat", "--data-dir", &folder.path("data")];
    let mut server = Server::start(&arguments).await;
    let mut ada = Json::join(&server, "Ada").await;
    let mut bob = Json::join(&server, "Bob").await;
    ada.until("presence").await;
    let last = ada.say("last words").await;
    bob.until("message").await;
    let (session, epoch) = (ada.session(), ada.joined["epoch"].clone());
    server.signal("TERM").await;
    for mut client in [ada, bob] {
        // Nothing comes before the Close.
        assert_eq!(client.ws.recv().await.unwrap(), None);
        assert_eq!(client.ws.close_frame().unwrap().code().get(), 1001);
    }
    assert_eq!(server.wait().await.code(), Some(0));
    let server = Server::start(&arguments).await;
    let after = json!({"after": {"offset": last - 1, "epoch": epoch}});
    let mut ada = Json::resume(&server, "Ada", &session, after).await;
    assert_eq!(
        (&ada.joined["history"][0]["text"], &ada.joined["complete"]),
        (&json!("last words"), &json!(true))
    );
    let again = json!({"type": "publish", "room": "lobby", "id": "last words", "text": "last words"});
    assert_eq!(ada.ask(again).await["duplicate"], true);
    assert_eq!(ada.settle().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_full_server_is_not_ready() {
    let server = Server::start(&["chat", "--max-connections", "2"]).await;
    let _ada = Json::join(&server, "Ada").await;
    // Whoever asks takes a place for the time of the question.
    assert_eq!(get(server.address(), "/readyz").await.status, 503);
    // And has given it back soon after.
    while !answer_to(&server, "/", &[]).await.starts_with("HTTP/1.1 101") {}
}
