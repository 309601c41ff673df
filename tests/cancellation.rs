//! Futures dropped while they wait: the connection goes on, and what was promised arrives whole, in order, once.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures_util::{FutureExt, SinkExt, Stream, StreamExt};
use switchboard::testing::Pair;
use switchboard::{Acceptor, Config, Connector, Kind, Message, Prepared, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

type Ws = WebSocket<DuplexStream>;

/// A client whose queue is full of one message that the pipe doesn't take, and its server.
async fn full() -> (Ws, Ws) {
    let mut pair = Pair::default();
    pair.pipe_bytes = 64;
    pair.client.limits.max_queued_bytes = 100;
    let (mut client, server) = pair.join().unwrap();
    client.send(vec![1; 1000]).await.unwrap();
    (client, server)
}

/// Polls once, finds that it has to wait, and drops it.
fn dropped_while_waiting<T>(future: impl Future<Output = T>) {
    let mut future = pin!(future);
    let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending(), "it has to wait");
}

/// Nothing but the first message has come, and the connection goes on.
async fn goes_on(mut client: Ws, mut server: Ws) {
    let echo = tokio::spawn(async move {
        assert_eq!(server.recv().await.unwrap(), Some(Message::binary(vec![1; 1000])));
        assert_eq!(server.recv().await.unwrap(), Some(Message::text("after")));
        server.send("answer").await.unwrap();
        server.recv().await.unwrap()
    });
    client.send("after").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some(Message::text("answer")));
    client.close(None).await.unwrap();
    assert_eq!(echo.await.unwrap(), None);
}

#[tokio::test]
async fn sends_that_wait_for_room() {
    let (mut client, server) = full().await;
    dropped_while_waiting(client.send("never"));
    dropped_while_waiting(client.feed("never"));
    dropped_while_waiting(client.send_prepared(&Prepared::from(Message::text("never"))));
    dropped_while_waiting(client.reserve());
    dropped_while_waiting(client.begin(Kind::Text));
    dropped_while_waiting(client.flush());
    dropped_while_waiting(futures_util::future::poll_fn(|cx| client.poll_ready_unpin(cx)));
    dropped_while_waiting(futures_util::future::poll_fn(|cx| client.poll_flush_unpin(cx)));
    let sender = client.sender();
    dropped_while_waiting(sender.send("never"));
    dropped_while_waiting(sender.send_prepared(&Prepared::from(Message::text("never"))));
    dropped_while_waiting(sender.room());
    dropped_while_waiting(sender.reserve());
    dropped_while_waiting(sender.begin(Kind::Binary));
    dropped_while_waiting(sender.flush());
    drop(sender);
    goes_on(client, server).await;
}

#[tokio::test]
async fn receives_that_wait_for_a_message() {
    let (mut client, server) = full().await;
    dropped_while_waiting(client.recv());
    dropped_while_waiting(client.recv_piece());
    dropped_while_waiting(client.next());
    goes_on(client, server).await;
}

#[tokio::test]
async fn a_receive_in_the_middle_of_a_message() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    let mut ws = Ws::from_upgraded(ours, switchboard::Role::Client, Default::default()).unwrap();
    // Every byte by itself: a header in parts, a text in parts, a code point in parts.
    for byte in b"\x81\x05a\xf0\x9f\xa6" {
        theirs.write_all(&[*byte]).await.unwrap();
        dropped_while_waiting(ws.recv());
    }
    theirs.write_all(b"\x80").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some(Message::text("a🦀")));
}

#[tokio::test]
async fn a_piece_that_waits_for_room() {
    let (mut client, mut server) = full().await;
    let drained = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(message) = server.recv().await.unwrap() {
            all.push(message);
        }
        all
    });
    let mut writer = client.begin(Kind::Text).await.unwrap();
    writer.write("x".repeat(200)).await.unwrap();
    let mut dropped = 0;
    for _ in 0..20 {
        // Whichever way it goes: sent whole, or not at all.
        match writer.write("y".repeat(200)).now_or_never() {
            Some(sent) => sent.unwrap(),
            None => dropped += 1,
        }
    }
    assert!(dropped > 0, "some had to wait");
    writer.finish("z").await.unwrap();
    client.close(None).await.unwrap();
    let all = drained.await.unwrap();
    let text = all[1].as_text().unwrap();
    let sent = 20 - dropped;
    assert_eq!(text, format!("{}{}z", "x".repeat(200), "y".repeat(200 * sent)));
}

#[tokio::test]
async fn a_close_that_waits_for_the_peer() {
    let (mut client, mut server) = full().await;
    dropped_while_waiting(client.close(None));
    // Calling it again waits on.
    dropped_while_waiting(client.close(None));
    let (sender, mut receiver) = client.split();
    dropped_while_waiting(receiver.closed());
    assert!(sender.is_closed());
    let reads = tokio::spawn(async move {
        assert_eq!(server.recv().await.unwrap(), Some(Message::binary(vec![1; 1000])));
        assert_eq!(server.recv().await.unwrap(), None);
        server.close(None).await.unwrap();
    });
    receiver.closed().await.unwrap();
    reads.await.unwrap();
}

#[tokio::test]
async fn a_handshake_drops_its_stream() {
    let acceptor = Acceptor::new(Config::default());
    let (ours, mut theirs) = tokio::io::duplex(64);
    dropped_while_waiting(acceptor.accept(ours));
    assert_eq!(theirs.read(&mut [0; 8]).await.unwrap(), 0);

    let connector = Connector::new(Config::default());
    let (ours, mut theirs) = tokio::io::duplex(1024);
    dropped_while_waiting(connector.connect_on("ws://a/", ours));
    let mut request = Vec::new();
    theirs.read_to_end(&mut request).await.unwrap();
    assert!(request.starts_with(b"GET / HTTP/1.1\r\n"));
}

/// What `Stream` promises beyond `recv`: it can be polled again after it was pending.
#[tokio::test]
async fn a_stream_polled_by_hand() {
    let (client, mut server) = switchboard::testing::pair().unwrap();
    let mut client = pin!(client);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(client.as_mut().poll_next(&mut cx), Poll::Pending));
    server.send("later").await.unwrap();
    let message = client.next().await.unwrap().unwrap();
    assert_eq!(message.as_text(), Some("later"));
}
