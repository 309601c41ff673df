//! `switchboard echo`, the real binary: its flags, and what it says about wrong ones.

#![cfg(feature = "cli")]

mod common;

use common::client::{Client, answer_to};
use common::server::{Server, run, switchboard, within};
use switchboard::{CloseFrame, Message};

#[tokio::test]
async fn every_message_comes_back_as_it_was() {
    let server = Server::start(&["echo"]).await;
    let mut client = Client::connect(&server, "/any/path?at=all").await;
    for message in [Message::text(""), Message::text("Grüße"), Message::binary(vec![0; 100_000])] {
        client.ws.send(message.clone()).await.unwrap();
        assert_eq!(client.ws.recv().await.unwrap(), Some(message));
    }
    client.close().await;
}

#[tokio::test]
async fn a_prefix_stands_in_front_of_texts_and_binaries() {
    let server = Server::start(&["echo", "--prefix", "Echo: "]).await;
    let mut client = Client::connect(&server, "/").await;
    assert_eq!(client.ask("hi").await, "Echo: hi");
    client.ws.send(vec![0xff]).await.unwrap();
    assert_eq!(client.ws.recv().await.unwrap(), Some(Message::binary(b"Echo: \xff".to_vec())));
}

#[tokio::test]
async fn compression_is_as_the_flags_say() {
    let offer = ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"];
    for (flags, expected) in [
        (&["echo"][..], "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        (&["echo", "--deflate-takeover"], "permessage-deflate"),
        (&["echo", "--no-deflate"], ""),
    ] {
        let server = Server::start(flags).await;
        let head = answer_to(&server, "/", &offer).await;
        let field = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
        assert_eq!(field.unwrap_or_default(), expected, "{flags:?}");
        let mut client = Client::connect(&server, "/").await;
        for text in ["again and again and again", "again and again and again"] {
            assert_eq!(client.ask(text).await, text, "{flags:?}");
        }
    }
}

#[tokio::test]
async fn too_large_a_message_closes_with_1009_compressed_or_not() {
    for flags in [
        &["echo", "--max-message-bytes", "2KiB"][..],
        &["echo", "--max-message-bytes", "2048", "--no-deflate"],
    ] {
        let server = Server::start(flags).await;
        let mut client = Client::connect(&server, "/").await;
        let fits = "x".repeat(2048);
        assert_eq!(client.ask(&fits).await, fits);
        client.say(&"x".repeat(2049)).await;
        assert_eq!(client.closed().await.0, 1009, "{flags:?}");
    }
}

#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    let server = Server::start(&["echo"]).await;
    let mut client = Client::connect(&server, "/").await;
    client.ws.close(CloseFrame::new(4321.try_into().unwrap(), "bye").unwrap()).await.unwrap();
    assert_eq!(client.ws.close_frame().map(|frame| frame.code().get()), Some(4321));
}

#[tokio::test]
async fn a_port_in_use_is_said_so() {
    let server = Server::start(&["echo"]).await;
    let address = server.address().to_string();
    for command in ["echo", "chat"] {
        let output = run(&[command, "--listen", &address]).await;
        assert_eq!(output.status.code(), Some(1), "{command}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with(&format!("switchboard: can't listen on {address}: ")), "{error}");
        assert!(error.contains("in use"), "{error}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn a_wrong_flag_is_refused_with_what_would_be_right() {
    for (arguments, why) in [
        (&["echo", "--listen", "9001"][..], "--listen"),
        (
            &["echo", "--max-message-bytes", "1MB"],
            "write a number of bytes, or a number with KiB, MiB or GiB",
        ),
        (&["echo", "--no-deflate", "--deflate-takeover"], "cannot be used with"),
        (&["echo", "--prefx", "x"], "--prefix"),
        (&["chat", "--ping-interval", "15"], "write a number with ms, s, m or h, such as 500ms or 15s"),
        (&["chat", "--slow-consumer", "ignore"], "drop-oldest"),
        (&["chat", "--rate-bytes", "5GiB"], "write 0 for no limit"),
        (&["chat", "--max-connections", "many"], "--max-connections"),
        (&["connect", "ws://a/", "-H", "nonsense"], "write 'Name: value'"),
        (&["listen"], "unrecognized subcommand"),
    ] {
        let output = run(arguments).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(why), "{arguments:?}: {error}");
    }
    let output = run(&["chat", "--allow-origin", "example.com"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("\"example.com\""));
}

#[tokio::test]
async fn a_flag_can_stand_in_the_environment_and_the_command_line_wins() {
    let mut wrong = switchboard(&["echo"]);
    wrong.env("SWITCHBOARD_LISTEN", "nonsense");
    let output = within(wrong.output()).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("'nonsense' for '--listen"));
    let server = Server::start(&["echo"]).await;
    let mut taken = switchboard(&["chat", "--listen", &server.address().to_string()]);
    taken.env("SWITCHBOARD_LISTEN", "127.0.0.1:0");
    assert_eq!(within(taken.output()).await.unwrap().status.code(), Some(1));
}
