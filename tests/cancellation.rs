//! Futures dropped while they wait: the connection goes on, and what was promised arrives whole, in order, once.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures_util::{FutureExt, SinkExt, Stream, StreamExt};
use http::{HeaderMap, StatusCode};
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

/// Drops a future when it has to wait for the `wait`th time, counted from 0; `None` if it did.
async fn dropped_at_wait<T>(wait: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    let mut waits = 0;
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if waits == wait => Poll::Ready(None),
        Poll::Pending => {
            waits += 1;
            Poll::Pending
        }
    })
    .await
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A stream that takes and gives 20 bytes at a time, and what its peer, which sends `bytes`, reads until the end.
fn slow_peer(bytes: &'static [u8]) -> (DuplexStream, tokio::task::JoinHandle<Vec<u8>>) {
    let (ours, theirs) = tokio::io::duplex(20);
    let (mut reads, mut writes) = tokio::io::split(theirs);
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        reads.read_to_end(&mut all).await.unwrap();
        all
    });
    tokio::spawn(async move {
        // Nobody may be left to take it.
        let _ = writes.write_all(bytes).await;
        let _ = writes.shutdown().await;
    });
    (ours, reading)
}

/// Tries `act` on a request, dropped at its first wait, at its second, and so on, until it is ready before: each time
/// the peer has the end of the stream, whatever it was sent before.
async fn drops_its_stream<T>(act: impl AsyncFn(DuplexStream) -> T) {
    for wait in 0.. {
        let (ours, reading) = slow_peer(REQUEST);
        let done = dropped_at_wait(wait, act(ours)).await.is_some();
        let read = tokio::time::timeout(std::time::Duration::from_secs(60), reading).await;
        let read = read.expect("the stream is dropped").unwrap();
        assert!(read.is_empty() || read.starts_with(b"HTTP/1.1 "[..read.len().min(9)].as_ref()));
        if done {
            assert!(wait > 5, "it waited {wait} times only");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_accepted_refused_or_answered() {
    let acceptor = Acceptor::new(Config::default());
    drops_its_stream(async |stream| drop(acceptor.accept(stream).await)).await;
    drops_its_stream(async |stream| drop(acceptor.read(stream).await)).await;
    drops_its_stream(async |stream| drop(acceptor.read_http(stream).await)).await;
    let why = "not here";
    drops_its_stream(async |stream| {
        acceptor.read(stream).await.unwrap().reject(StatusCode::NOT_FOUND, why).await.unwrap();
    })
    .await;
    drops_its_stream(async |stream| {
        let pending = acceptor.read(stream).await.unwrap();
        pending.reject_with(StatusCode::NOT_FOUND, &HeaderMap::new(), why).await.unwrap();
    })
    .await;
    drops_its_stream(async |stream| {
        acceptor.read_http(stream).await.unwrap().respond(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    })
    .await;
    drops_its_stream(async |stream| {
        acceptor.read_http(stream).await.unwrap().reject(StatusCode::NOT_FOUND, why).await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_handshake_is_dropped_drops_its_stream() {
    let connector = Connector::new(Config::default());
    for wait in 0.. {
        let (ours, reading) = slow_peer(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
        let done = dropped_at_wait(wait, connector.connect_on("ws://a/", ours)).await;
        let request = reading.await.unwrap();
        assert!(b"GET / HTTP/1.1\r\n".starts_with(&request[..request.len().min(16)]));
        if let Some(refused) = done {
            assert!(wait > 5 && refused.is_err());
            break;
        }
    }
}

#[tokio::test]
async fn a_client_that_connects_by_tcp() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let connector = Connector::new(Config::default());
    // While it is being connected, and while it waits for the answer.
    for reads_request in [false, true] {
        let served = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while reads_request && !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream
        };
        let mut stream = tokio::select! {
            connected = connector.connect(&url) => panic!("nobody answers: {connected:?}"),
            stream = served => stream,
        };
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty() || !reads_request);
    }
}

#[tokio::test(start_paused = true)]
async fn receives_of_a_half_at_every_wait() {
    for in_pieces in [false, true] {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let ws = Ws::from_upgraded(ours, switchboard::Role::Client, Default::default()).unwrap();
        let (_sender, mut receiver) = ws.split();
        tokio::spawn(async move {
            for byte in b"\x01\x03a\xf0\x9f\x89\x01?\x80\x02\xa6\x80\x81\x04next\x88\x00" {
                theirs.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            let _ = theirs.read_to_end(&mut Vec::new()).await;
        });
        let mut texts = vec![String::new()];
        let mut wait = 0;
        loop {
            // Sometimes it waits on, and mostly it is dropped and asked again.
            wait = (wait + 1) % 3;
            let (part, is_final) = if in_pieces {
                let Some(piece) = dropped_at_wait(wait, receiver.recv_piece()).await else { continue };
                let Some(piece) = piece.unwrap() else { break };
                (piece.part, piece.is_final)
            } else {
                let Some(message) = dropped_at_wait(wait, receiver.recv()).await else { continue };
                let Some(message) = message.unwrap() else { break };
                (message, true)
            };
            texts.last_mut().unwrap().push_str(part.as_text().unwrap());
            if is_final {
                texts.push(String::new());
            }
        }
        assert_eq!(texts, ["a🦀", "next", ""]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_message_in_pieces() {
    let (mut client, mut server) = full().await;
    let read = tokio::spawn(async move {
        let mut lengths = Vec::new();
        while let Some(message) = server.recv().await.unwrap() {
            lengths.push(message.len());
        }
        (lengths, server.close_frame().unwrap().code().get())
    });
    let mut writer = client.begin(Kind::Binary).await.unwrap();
    writer.write(vec![2; 1000]).await.unwrap();
    // The pipe is full of that: the end has to wait, and is dropped. The peer must not take a part for the whole.
    assert!(dropped_at_wait(0, writer.finish(vec![3; 10])).await.is_none());
    assert_eq!(read.await.unwrap(), (vec![1000], 1011));
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
