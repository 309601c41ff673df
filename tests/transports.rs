//! Connections on real sockets and on streams of the TLS kind, and what comes glued to the handshake.

mod common;

use std::time::Duration;

use common::tls_like::TlsLike;
use common::wire::Wire;
use switchboard::handshake::{Answer, ServerHandshake, UpgradeConfig};
use switchboard::net::Stream;
use switchboard::{Acceptor, Config, Connector, Kind, Message, Role, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A message of this number, every seventh of them large.
fn message(number: u32) -> Message {
    let len = if number.is_multiple_of(7) { 100_000 } else { number % 1500 };
    Message::binary(vec![number as u8; len as usize])
}

/// Sends and receives so many messages at once, by two halves in two tasks, and closes.
async fn exchange<S: Stream>(ws: WebSocket<S>, count: u32, role: Role) {
    let (sender, mut receiver) = ws.split();
    let pinger = sender.clone();
    let (is_full, full) = tokio::sync::oneshot::channel();
    let mut is_full = Some(is_full);
    let sending = tokio::spawn(async move {
        for number in 0..count {
            if number % 10 == 3 {
                let mut writer = sender.begin(Kind::Binary).await.unwrap();
                writer.write(message(number)).await.unwrap();
                writer.finish(Vec::new()).await.unwrap();
            } else {
                sender.send(message(number)).await.unwrap();
            }
            pinger.ping(b"there?").unwrap();
            // Nobody reads before the stream is full, or the other side has begun to.
            if (number == count / 2 || pinger.queued_bytes() > 0)
                && let Some(is_full) = is_full.take()
            {
                is_full.send(()).unwrap();
            }
        }
        sender
    });
    full.await.expect("a stream that nobody reads fills up");
    for number in 0..count {
        assert_eq!(receiver.recv().await.unwrap(), Some(message(number)), "{number}");
    }
    let sender = sending.await.unwrap();
    if role == Role::Client {
        sender.close(None).unwrap();
    }
    receiver.closed().await.unwrap();
}

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, server) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let (client, (server, _)) = (client.unwrap(), server.unwrap());
    // Small buffers are full most of the time.
    for stream in [&client, &server] {
        let socket = socket2::SockRef::from(stream);
        socket.set_send_buffer_size(128 << 10).unwrap();
        socket.set_recv_buffer_size(128 << 10).unwrap();
    }
    (client, server)
}

fn upgraded<S: Stream>(stream: S, role: Role) -> WebSocket<S> {
    WebSocket::from_upgraded(stream, role, Default::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn halves_on_full_sockets_lose_nothing() {
    let mut exchanges = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (client, server) = tcp_pair().await;
        exchanges.spawn(exchange(upgraded(client, Role::Client), 100, Role::Client));
        exchanges.spawn(exchange(upgraded(server, Role::Server), 100, Role::Server));
    }
    let all = tokio::time::timeout(Duration::from_secs(120), exchanges.join_all()).await;
    assert!(all.is_ok(), "no wakeup is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn halves_on_streams_like_tls_lose_nothing() {
    for pipe_bytes in [1, 64, 4096] {
        let (client, server) = TlsLike::pair(pipe_bytes);
        let count = if pipe_bytes == 1 { 7 } else { 30 };
        let client = tokio::spawn(exchange(upgraded(client, Role::Client), count, Role::Client));
        let server = tokio::spawn(exchange(upgraded(server, Role::Server), count, Role::Server));
        let both = async { (client.await.unwrap(), server.await.unwrap()) };
        tokio::time::timeout(Duration::from_secs(120), both).await.expect("no wakeup is lost");
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_connection_works_on_a_stream_like_tls() {
    let (client, server) = TlsLike::pair(64);
    let echo = tokio::spawn(async move {
        let mut ws = WebSocket::accept(server).await.unwrap();
        while let Some(message) = ws.recv().await.unwrap() {
            ws.send(message).await.unwrap();
        }
    });
    let (mut ws, _) = Connector::new(Config::default()).connect_on("ws://a/", client).await.unwrap();
    for number in 0..20 {
        ws.send(message(number)).await.unwrap();
        ws.flush().await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some(message(number)));
    }
    ws.close(None).await.unwrap();
    echo.await.unwrap();
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn frames_glued_to_the_request_reach_the_server() {
    for split in [false, true] {
        let (mut peer, ours) = tokio::io::duplex(1 << 16);
        let mut all = REQUEST.to_vec();
        all.extend(&Wire::client().frame(0x81, b"one").frame(0x89, b"?").frame(0x81, b"two").bytes);
        // The front of a third one, whose rest comes later.
        let third = Wire::client().frame(0x81, b"three").bytes.clone();
        all.extend(&third[..5]);
        peer.write_all(&all).await.unwrap();
        let ws = Acceptor::new(Config::default()).accept(ours).await.unwrap();
        peer.write_all(&third[5..]).await.unwrap();
        receive_three(ws, split).await;
    }
}

#[tokio::test(start_paused = true)]
async fn frames_glued_to_the_response_reach_the_client() {
    for split in [false, true] {
        let (mut peer, ours) = tokio::io::duplex(1 << 16);
        let connecting =
            tokio::spawn(async move { Connector::new(Config::default()).connect_on("ws://a/", ours).await });
        let mut handshake = ServerHandshake::new(UpgradeConfig::default());
        let request = loop {
            let mut head = Vec::new();
            peer.read_buf(&mut head).await.unwrap();
            if let Some(request) = handshake.receive(&head).unwrap() {
                break request;
            }
        };
        let mut all = request.upgrade().unwrap().accept(Answer::default()).unwrap().response.to_vec();
        all.extend(&Wire::server().frame(0x81, b"one").frame(0x89, b"?").frame(0x81, b"two").bytes);
        all.extend(b"\x81\x05thr");
        peer.write_all(&all).await.unwrap();
        let (ws, _) = connecting.await.unwrap().unwrap();
        peer.write_all(b"ee").await.unwrap();
        receive_three(ws, split).await;
    }
}

async fn receive_three<S: Stream>(mut ws: WebSocket<S>, split: bool) {
    let texts = ["one", "two", "three"].map(Message::text);
    if split {
        let (_sender, mut receiver) = ws.split();
        for text in texts {
            assert_eq!(receiver.recv().await.unwrap(), Some(text));
        }
    } else {
        for text in texts {
            assert_eq!(ws.recv().await.unwrap(), Some(text));
        }
    }
}
