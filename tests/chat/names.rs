//! Names: those that are refused, those that are the same, and how often somebody may try.

use std::time::Duration;

use crate::common::client::Client;
use crate::common::server::Server;

#[tokio::test]
async fn a_wrong_name_is_refused_with_its_reason_and_the_next_text_is_another_try() {
    let server = Server::start(&["chat"]).await;
    let cases = [
        (" \t ", "a name can't be empty: send the name you want to go by"),
        (&*"x".repeat(33), "this name is too long: use at most 32 characters and 128 bytes"),
        ("[ann]", "a name can't have [ or ] in it: leave them out"),
        ("ann］", "a name can't have [ or ] in it: leave them out"),
        ("an  n", "a name can have only single, plain spaces between words"),
        ("an\nn", "a name can't have the invisible or control character U+000A in it: leave it out"),
        ("an\u{1b}[1mn", "a name can't have the invisible or control character U+001B in it: leave it out"),
        ("an\u{202e}n", "a name can't have the invisible or control character U+202E in it: leave it out"),
        ("an\u{200b}n", "a name can't have the invisible or control character U+200B in it: leave it out"),
        ("\u{301}", "a name needs at least one letter, number or symbol"),
        ("x\u{300}\u{315}\u{31b}\u{316}\u{317}", "a name can't have more than 4 marks on one character"),
        ("system", "this name is reserved: choose another one"),
        ("SуsTEM", "this name is reserved: choose another one"),
    ];
    for (room, (name, why)) in cases.into_iter().enumerate() {
        // A room for each, where the right name is free.
        let mut client = Client::connect(&server, &format!("/rooms/{room}")).await;
        assert_eq!(client.ask(name).await, format!("[system] error: {why}"), "{name:?}");
        assert_eq!(client.ask("right").await, "Welcome, right!");
    }
}

#[tokio::test]
async fn the_third_wrong_name_closes_with_1008() {
    let server = Server::start(&["chat"]).await;
    let mut client = Client::connect(&server, "/").await;
    for name in ["", "[", "system"] {
        assert!(client.ask(name).await.starts_with("[system] error: "));
    }
    assert_eq!(client.closed().await, (1008, "three names were refused".to_owned()));
}

#[tokio::test]
async fn a_name_that_looks_like_somebody_elses_is_taken() {
    let server = Server::start(&["chat"]).await;
    let _ann = Client::join(&server, "Ann Lee").await;
    for name in ["Ann Lee", "ANN LEE", "Аnn Lee", "Ａｎｎ Ｌｅｅ", "Ann Iee"] {
        let mut client = Client::connect(&server, "/").await;
        let taken = "[system] error: this name is taken: choose another one";
        assert_eq!(client.ask(name).await, taken, "{name:?}");
    }
}

#[tokio::test]
async fn three_taken_names_close_too() {
    let server = Server::start(&["chat"]).await;
    let _ann = Client::join(&server, "ann").await;
    let mut client = Client::connect(&server, "/").await;
    for name in ["ann", "ANN", "Ann"] {
        assert_eq!(client.ask(name).await, "[system] error: this name is taken: choose another one");
    }
    assert_eq!(client.closed().await.0, 1008);
}

#[tokio::test]
async fn a_name_is_free_again_once_its_leave_is_told() {
    let server = Server::start(&["chat"]).await;
    let mut ann = Client::join(&server, "ann").await;
    Client::join(&server, "bob").await.close().await;
    assert_eq!(ann.recv_text().await, "[system] >>> bob joined the chat");
    assert_eq!(ann.recv_text().await, "[system] >>> bob left the chat");
    Client::join(&server, "BOB").await;
    assert_eq!(ann.recv_text().await, "[system] >>> BOB joined the chat");
}

#[tokio::test]
async fn a_name_is_trimmed_and_composed() {
    let server = Server::start(&["chat"]).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut zoe = Client::connect(&server, "/").await;
    assert_eq!(zoe.ask("  Zoe\u{308}\n").await, "Welcome, Zo\u{eb}!");
    assert_eq!(ann.recv_text().await, "[system] >>> Zo\u{eb} joined the chat");
}

#[tokio::test]
async fn whoever_gives_no_name_in_ten_seconds_is_closed_with_1008() {
    let server = Server::start(&["chat"]).await;
    let mut silent = Client::connect(&server, "/").await;
    let line = tokio::time::timeout(Duration::from_secs(20), silent.ws.recv()).await.unwrap().unwrap();
    assert_eq!(line.unwrap().as_text(), Some("[system] error: no name came in time"));
    assert_eq!(silent.closed().await, (1008, "no name came in time".to_owned()));
}
