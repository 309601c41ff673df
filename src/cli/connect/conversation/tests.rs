//! A conversation with a server that says just what it is told.

use crate::chat::wire::client::News;
use crate::chat::wire::json::Request;

use super::super::show::Shown;
use super::{Conversation, Stage};

const WELCOME: &str = r#"{"type":"welcome","name":"Ada","session":{"id":"i","secret":"s"},"resumed":false,"limits":{"message_bytes":200}}"#;

fn tell(chat: &mut Conversation, text: &str) {
    chat.on_news(News::parse(text).expect("the server speaks well"));
}

/// A room with the history up to `offset`, of which these come along.
fn joined(room: &str, offset: u64, history: &[(u64, &str, &str)]) -> String {
    let history: Vec<_> = history
        .iter()
        .map(|(offset, from, text)| {
            format!(r#"{{"offset":{offset},"time":0,"from":"{from}","text":"{text}"}}"#)
        })
        .collect();
    format!(
        r#"{{"type":"joined","room":"{room}","offset":{offset},"epoch":"e","complete":true,"history":[{}],"version":1,"members":[{{"name":"Ada"}}],"count":1}}"#,
        history.join(",")
    )
}

fn sent(chat: &mut Conversation) -> Vec<String> {
    let requests = chat.take_requests();
    requests.iter().map(|request| request.encode().as_text().unwrap().to_owned()).collect()
}

/// What was said, as it is shown.
fn said(chat: &mut Conversation) -> Vec<String> {
    let said = |shown| match shown {
        Shown::Said { room, from, text } => Some(format!("{room}[{from}] {text}")),
        _ => None,
    };
    chat.take_shown().into_iter().filter_map(said).collect()
}

fn alarms(chat: &mut Conversation) -> Vec<String> {
    let alarm = |shown| if let Shown::Alarm(text) = shown { Some(text) } else { None };
    chat.take_shown().into_iter().filter_map(alarm).collect()
}

/// In the lobby.
fn chat() -> Conversation {
    let mut chat = Conversation::new("Ada", Some("lobby".into()));
    chat.on_connected();
    tell(&mut chat, WELCOME);
    tell(&mut chat, &joined("lobby", 5, &[]));
    sent(&mut chat);
    chat.take_shown();
    chat
}

#[test]
fn who_comes_back_asks_for_what_came_meanwhile() {
    let mut chat = chat();
    tell(&mut chat, r#"{"type":"message","room":"lobby","offset":7,"time":0,"from":"Bob","text":"hi"}"#);
    chat.on_disconnected();
    chat.on_connected();
    let hello =
        r#"{"type":"hello","name":"Ada","session":{"id":"i","secret":"s"},"after":{"offset":7,"epoch":"e"}}"#;
    assert_eq!(sent(&mut chat), [hello]);
}

#[test]
fn an_acknowledgement_is_no_position() {
    let mut chat = chat();
    chat.say_text("mine");
    sent(&mut chat);
    tell(&mut chat, r#"{"type":"ack","id":"1","room":"lobby","offset":9,"time":0}"#);
    chat.on_disconnected();
    chat.on_connected();
    assert!(sent(&mut chat)[0].contains(r#""after":{"offset":5,"#));
    tell(&mut chat, WELCOME);
    // What Bob said just before came to the server first; our own isn't shown twice.
    tell(&mut chat, &joined("lobby", 9, &[(8, "Bob", "before"), (9, "Ada", "mine")]));
    assert_eq!(said(&mut chat), ["[Bob] before"]);
}

#[test]
fn what_was_not_acknowledged_goes_out_again_with_its_id() {
    let mut chat = chat();
    chat.say_text("one");
    chat.on_disconnected();
    chat.say_text("two");
    assert_eq!(sent(&mut chat).len(), 1);
    chat.on_connected();
    tell(&mut chat, WELCOME);
    assert_eq!(sent(&mut chat).len(), 1, "hello alone: the room isn't joined yet");
    // The first had arrived.
    tell(&mut chat, &joined("lobby", 6, &[(6, "Ada", "one")]));
    assert_eq!(said(&mut chat), [""; 0]);
    assert_eq!(
        sent(&mut chat),
        [
            r#"{"type":"publish","room":"lobby","id":"1","text":"one"}"#,
            r#"{"type":"publish","room":"lobby","id":"2","text":"two"}"#
        ]
    );
}

#[test]
fn the_other_rooms_are_joined_again_by_name() {
    let mut chat = chat();
    chat.join("rust");
    tell(&mut chat, &joined("rust", 3, &[]));
    assert_eq!(chat.present(), Some("rust"));
    chat.on_disconnected();
    sent(&mut chat);
    chat.on_connected();
    tell(&mut chat, WELCOME);
    let requests = sent(&mut chat);
    assert_eq!(requests[1], r#"{"type":"join","room":"rust","after":{"offset":3,"epoch":"e"}}"#);
    tell(&mut chat, &joined("lobby", 6, &[(6, "Bob", "hi")]));
    assert_eq!(chat.present(), Some("rust"));
    assert_eq!(said(&mut chat), ["#lobby [Bob] hi"]);
}

#[test]
fn a_room_that_was_left_stays_left() {
    let mut chat = chat();
    chat.join("rust");
    tell(&mut chat, &joined("rust", 3, &[]));
    chat.leave(Some("lobby"));
    sent(&mut chat);
    chat.on_disconnected();
    chat.on_connected();
    tell(&mut chat, WELCOME);
    sent(&mut chat);
    tell(&mut chat, &joined("lobby", 6, &[]));
    assert_eq!(sent(&mut chat), [r#"{"type":"leave","room":"lobby"}"#]);
    assert_eq!(chat.present(), Some("rust"));
}

#[test]
fn what_was_refused_is_said_and_not_sent_again() {
    let mut chat = chat();
    chat.say_text("no");
    tell(&mut chat, r#"{"type":"error","id":"1","room":"lobby","code":"forbidden","message":"why"}"#);
    assert_eq!(alarms(&mut chat), [r#"not delivered: "no": why"#]);
    assert_eq!((chat.outbox().len(), chat.refused()), (0, 1));
}

#[test]
fn what_the_server_would_not_take_is_not_sent() {
    let mut chat = chat();
    chat.say_text(&"\n".repeat(80));
    assert_eq!(sent(&mut chat), [""; 0], "blank");
    chat.say_text(&"x\n".repeat(80));
    assert_eq!(alarms(&mut chat), ["not sent: this server takes at most 200 bytes"]);
    assert_eq!(sent(&mut chat), [""; 0]);
}

#[test]
fn a_refused_name_is_asked_for_again() {
    let mut chat = Conversation::new("Ada", None);
    chat.on_connected();
    tell(&mut chat, r#"{"type":"error","code":"name_taken","message":"why"}"#);
    assert_eq!(chat.stage(), Stage::Nameless);
    sent(&mut chat);
    chat.rename(" Bea ");
    let requests = chat.take_requests();
    assert!(matches!(&requests[..], [Request::Hello(hello)] if hello.name.as_deref() == Some("Bea")));
}
