//! The lines of the plain-text form: who hears what, and what becomes of whoever breaks the rules.

use crate::common::client::{Client, RawClient};
use crate::common::server::Server;

#[tokio::test]
async fn everybody_else_is_told_of_a_join_and_the_newcomer_is_welcomed() {
    let server = Server::start(&["chat"]).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut bob = Client::join(&server, "bob").await;
    assert_eq!(ann.recv_text().await, "[system] >>> bob joined the chat");
    ann.say("hi").await;
    // Neither his own join nor who was there before him.
    assert_eq!(bob.recv_text().await, "[ann] hi");
}

#[tokio::test]
async fn a_text_goes_to_everybody_else_and_not_back() {
    let server = Server::start(&["chat"]).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut bob = Client::join(&server, "bob").await;
    let mut eve = Client::join(&server, "eve").await;
    bob.say("one").await;
    for (client, expected) in [(&mut ann, 3), (&mut eve, 1)] {
        let mut last = String::new();
        for _ in 0..expected {
            last = client.recv_text().await;
        }
        assert_eq!(last, "[bob] one");
    }
    ann.say("two").await;
    assert_eq!(bob.recv_text().await, "[system] >>> eve joined the chat");
    assert_eq!(bob.recv_text().await, "[ann] two");
}

#[tokio::test]
async fn texts_are_trimmed_and_blank_ones_ignored() {
    let server = Server::start(&["chat"]).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut bob = Client::join(&server, "bob").await;
    for text in ["", " \t\r\n", "\u{3000}", " \n one\n two \t"] {
        bob.say(text).await;
    }
    assert_eq!(ann.recv_text().await, "[system] >>> bob joined the chat");
    assert_eq!(ann.recv_text().await, "[bob] one\n two");
}

#[tokio::test]
async fn a_leave_is_told_however_it_came_about() {
    let server = Server::start(&["chat"]).await;
    let mut ann = Client::join(&server, "ann").await;
    Client::join(&server, "closed").await.close().await;
    told_of(&mut ann, "closed").await;
    drop(RawClient::join(&server, "ended").await);
    told_of(&mut ann, "ended").await;
    let reset = RawClient::join(&server, "reset").await;
    reset.stream.set_zero_linger().unwrap();
    drop(reset);
    told_of(&mut ann, "reset").await;
    let mut rude = RawClient::join(&server, "rude").await;
    rude.send(0x83, b"no such opcode").await;
    told_of(&mut ann, "rude").await;
}

async fn told_of(client: &mut Client, name: &str) {
    assert_eq!(client.recv_text().await, format!("[system] >>> {name} joined the chat"));
    assert_eq!(client.recv_text().await, format!("[system] >>> {name} left the chat"));
}

#[tokio::test]
async fn nobody_hears_of_those_who_never_gave_a_name() {
    let server = Server::start(&["chat"]).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut nobody = Client::connect(&server, "/").await;
    assert!(nobody.ask("system").await.starts_with("[system] error: "));
    nobody.close().await;
    Client::join(&server, "bob").await.close().await;
    told_of(&mut ann, "bob").await;
}

#[tokio::test]
async fn a_binary_message_closes_with_1003_before_a_name_and_after_it() {
    let server = Server::start(&["chat"]).await;
    let mut ann = Client::join(&server, "ann").await;
    for mut client in [Client::connect(&server, "/").await, Client::join(&server, "bob").await] {
        client.ws.send(vec![1, 2]).await.unwrap();
        let why = "only text messages are understood here";
        assert_eq!(client.recv_text().await, format!("[system] error: {why}"));
        assert_eq!(client.closed().await, (1003, why.to_owned()));
    }
    told_of(&mut ann, "bob").await;
}

#[tokio::test]
async fn too_long_a_text_is_refused_and_not_sent() {
    let server = Server::start(&["chat", "--max-text", "3"]).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut bob = Client::join(&server, "bobby").await;
    let refusal = "[system] error: this text is longer than 3 characters: it was not sent";
    assert_eq!(bob.ask("äöü😀").await, refusal);
    bob.say("  äö😀  ").await;
    assert_eq!(ann.recv_text().await, "[system] >>> bobby joined the chat");
    assert_eq!(ann.recv_text().await, "[bobby] äö😀");
}

#[tokio::test]
async fn too_large_a_message_closes_with_1009() {
    let server = Server::start(&["chat", "--max-message-bytes", "1KiB", "--no-deflate"]).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut bob = Client::join(&server, "bob").await;
    let fits = "x".repeat(1024);
    bob.say(&fits).await;
    bob.say(&"x".repeat(1025)).await;
    assert_eq!(bob.closed().await.0, 1009);
    assert_eq!(ann.recv_text().await, "[system] >>> bob joined the chat");
    assert_eq!(ann.recv_text().await, format!("[bob] {fits}"));
    assert_eq!(ann.recv_text().await, "[system] >>> bob left the chat");
}

#[tokio::test]
async fn a_room_hears_nothing_of_another() {
    let server = Server::start(&["chat"]).await;
    let mut lobby = Client::join_at(&server, "/", "ann").await;
    let mut rust = Client::join_at(&server, "/rooms/rust", "ann").await;
    let mut also_rust = Client::join_at(&server, "/rooms/rust?from=afar", "bob").await;
    let mut also_lobby = Client::join_at(&server, "/ws", "bob").await;
    also_rust.say("in rust").await;
    also_lobby.say("in the lobby").await;
    for (client, text) in [(&mut lobby, "in the lobby"), (&mut rust, "in rust")] {
        assert_eq!(client.recv_text().await, "[system] >>> bob joined the chat");
        assert_eq!(client.recv_text().await, format!("[bob] {text}"));
    }
}

#[tokio::test]
async fn a_text_arrives_whole_whatever_each_client_agreed_on() {
    for flags in [&["chat"][..], &["chat", "--no-deflate"], &["chat", "--deflate-takeover"]] {
        let server = Server::start(flags).await;
        let mut plain = RawClient::join(&server, "plain").await.into_client();
        let mut ann = Client::join(&server, "ann").await;
        let mut bob = Client::join(&server, "bob").await;
        assert_eq!(ann.recv_text().await, "[system] >>> bob joined the chat");
        for text in ["short".to_owned(), "again and ".repeat(1000) + ".", "again and ".repeat(1001) + "."] {
            bob.say(&text).await;
            assert_eq!(ann.recv_text().await, format!("[bob] {text}"), "{flags:?}");
        }
        for line in ["[system] >>> ann joined the chat", "[system] >>> bob joined the chat", "[bob] short"] {
            assert_eq!(plain.recv_text().await, line);
        }
        assert_eq!(plain.recv_text().await.len(), "[bob] ".len() + 10_001);
    }
}

#[tokio::test]
async fn a_crowd_in_a_room_hears_everything_in_one_order() {
    let server = Server::start(&["chat"]).await;
    let mut crowd = Vec::new();
    for number in 0..20 {
        crowd.push(Client::join(&server, &format!("n{number}")).await);
    }
    let mut listener = Client::join(&server, "listener").await;
    let mut other = Client::join(&server, "other").await;
    assert_eq!(listener.recv_text().await, "[system] >>> other joined the chat");
    // At once, each from a task of its own.
    let say = |mut client: Client| {
        tokio::spawn(async move {
            for number in 0..10 {
                client.say(&number.to_string()).await;
            }
            client
        })
    };
    let said: Vec<_> = crowd.into_iter().map(say).collect();
    let mut heard = [Vec::new(), Vec::new()];
    for _ in 0..200 {
        heard[0].push(listener.recv_text().await);
        heard[1].push(other.recv_text().await);
    }
    assert_eq!(heard[0], heard[1]);
    for client in said {
        client.await.unwrap();
    }
}
