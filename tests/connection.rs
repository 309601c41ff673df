//! Two connections joined in memory or by TCP.

use std::time::Duration;

use switchboard::handshake::Negotiated;
use switchboard::net::{Error, WebSocket};
use switchboard::proto::{CloseCode, CloseFrame, Kind, Message, Role};
use tokio::io::DuplexStream;

fn pair(bytes: usize) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (a, b) = tokio::io::duplex(bytes);
    (
        WebSocket::from_upgraded(a, Role::Client, Negotiated::default()).unwrap(),
        WebSocket::from_upgraded(b, Role::Server, Negotiated::default()).unwrap(),
    )
}

#[tokio::test]
async fn echoes_and_closes() {
    let (mut client, mut server) = pair(1024);
    let echo = tokio::spawn(async move {
        while let Some(message) = server.recv().await.unwrap() {
            server.send(message).await.unwrap();
        }
        server.close_frame().cloned()
    });
    for len in [0, 1, 125, 126, 70_000] {
        let text = Message::text("x".repeat(len));
        client.send(text.clone()).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some(text));
    }
    let mut writer = client.begin(Kind::Text).await.unwrap();
    writer.write("Hel").await.unwrap();
    writer.finish("lo").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some(Message::text("Hello")));
    client.close(CloseFrame::new(CloseCode::NORMAL, "bye").unwrap()).await.unwrap();
    assert_eq!(echo.await.unwrap(), Some(CloseFrame::new(CloseCode::NORMAL, "bye").unwrap()));
}

#[tokio::test]
async fn saturated_peers_with_a_tiny_pipe_do_not_deadlock() {
    let (mut a, mut b) = pair(64);
    let run = |ws: &mut WebSocket<DuplexStream>| {
        let sender = ws.sender();
        tokio::spawn(async move {
            for number in 0..500u32 {
                sender.send(vec![7; (number % 300) as usize]).await.unwrap();
                sender.ping(b"there?").unwrap();
            }
        })
    };
    let (send_a, send_b) = (run(&mut a), run(&mut b));
    let receive = |mut ws: WebSocket<DuplexStream>| {
        tokio::spawn(async move {
            for number in 0..500u32 {
                let message = ws.recv().await.unwrap().unwrap();
                assert_eq!(message.len(), (number % 300) as usize);
            }
            ws
        })
    };
    let all = async {
        let (a, b) = (receive(a), receive(b));
        send_a.await.unwrap();
        send_b.await.unwrap();
        (a.await.unwrap(), b.await.unwrap())
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("no deadlock");
}

#[tokio::test]
async fn a_dropped_connection_says_goodbye() {
    let (client, mut server) = pair(1024);
    drop(client);
    assert_eq!(server.recv().await.unwrap(), None);
    assert_eq!(server.close_frame().unwrap().code(), CloseCode::GOING_AWAY);
}

#[tokio::test]
async fn a_lost_connection_is_an_error() {
    let (a, b) = tokio::io::duplex(100);
    let mut server = WebSocket::from_upgraded(b, Role::Server, Negotiated::default()).unwrap();
    drop(a);
    assert!(matches!(server.recv().await, Err(Error::Lost)));
}
