//! Two connections joined in memory: messages, halves, backpressure, deadlines, cancellation, the end.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use proptest::prelude::*;
use switchboard::net::Timeout;
use switchboard::proto::deflate::DeflateParams;
use switchboard::proto::{ProtocolError, SendError};
use switchboard::testing::{Pair, pair};
use switchboard::{CloseCode, CloseFrame, Error, Kind, Message, Prepared, TrySendError, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

type Ws = WebSocket<DuplexStream>;

fn tiny_pair() -> (Ws, Ws) {
    let mut pair = Pair::default();
    pair.pipe_bytes = 64;
    pair.join().unwrap()
}

/// A connection whose peer is played by hand.
fn by_hand(role: switchboard::Role) -> (Ws, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    (WebSocket::from_upgraded(ours, role, Default::default()).unwrap(), theirs)
}

async fn echo(mut ws: Ws) -> Option<CloseFrame> {
    while let Some(message) = ws.recv().await.unwrap() {
        ws.send(message).await.unwrap();
    }
    ws.close_frame().cloned()
}

#[tokio::test]
async fn messages_of_every_size_are_echoed_with_and_without_compression() {
    for deflate in [None, Some(DeflateParams::default())] {
        let mut pair = Pair::default();
        pair.deflate = deflate;
        let (mut client, server) = pair.join().unwrap();
        let echo = tokio::spawn(echo(server));
        for len in [0, 1, 125, 126, 4095, 4096, 65_535, 65_536, 1_000_000] {
            let text = Message::text("x".repeat(len));
            client.send(text.clone()).await.unwrap();
            assert_eq!(client.recv().await.unwrap(), Some(text));
        }
        client.close(CloseFrame::new(CloseCode::NORMAL, "bye").unwrap()).await.unwrap();
        let frame = echo.await.unwrap().unwrap();
        assert_eq!((frame.code(), frame.reason()), (CloseCode::NORMAL, "bye"));
    }
}

#[tokio::test]
async fn a_message_goes_and_comes_in_pieces() {
    let (mut client, mut server) = pair().unwrap();
    let mut writer = client.begin(Kind::Text).await.unwrap();
    writer.write("Hel").await.unwrap();
    let first = server.recv_piece().await.unwrap().unwrap();
    assert_eq!((first.part.as_text(), first.is_final), (Some("Hel"), false));
    writer.finish("lo").await.unwrap();
    let last = server.recv_piece().await.unwrap().unwrap();
    assert_eq!((last.part.as_text(), last.is_final), (Some("lo"), true));
    // Whoever has enough of a message skips the rest.
    let mut writer = client.begin(Kind::Binary).await.unwrap();
    writer.write(vec![1]).await.unwrap();
    server.recv_piece().await.unwrap().unwrap();
    writer.finish(vec![2]).await.unwrap();
    client.send("next").await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some(Message::text("next")));
}

#[tokio::test]
async fn a_message_given_up_halfway_closes_the_connection() {
    let (client, mut server) = pair().unwrap();
    let (sender, mut receiver) = client.split();
    let other = sender.clone();
    let mut writer = sender.begin(Kind::Text).await.unwrap();
    writer.write("half").await.unwrap();
    assert!(matches!(other.try_send("between"), Err(TrySendError::Full(_))), "others wait for the end of it");
    drop(writer);
    assert!(matches!(other.send("after").await, Err(Error::Send(SendError::Closed))));
    assert_eq!(server.recv().await.unwrap(), None);
    assert_eq!(server.close_frame().unwrap().code(), CloseCode::INTERNAL_ERROR);
    drop(server);
    assert_eq!(receiver.recv().await.unwrap(), None);
}

#[tokio::test]
async fn two_halves_and_many_senders_work_at_once() {
    let (client, server) = pair().unwrap();
    let echo = tokio::spawn(echo(server));
    let (sender, mut receiver) = client.split();
    let tasks: Vec<_> = (0..8u32)
        .map(|task| {
            let sender = sender.clone();
            tokio::spawn(async move {
                for number in 0..200u32 {
                    sender.send(format!("{task} {number}")).await.unwrap();
                }
            })
        })
        .collect();
    let mut next = [0u32; 8];
    for _ in 0..1600 {
        let message = receiver.recv().await.unwrap().unwrap();
        let (task, number) = message.as_text().unwrap().split_once(' ').unwrap();
        let (task, number): (usize, u32) = (task.parse().unwrap(), number.parse().unwrap());
        assert_eq!(number, next[task], "a sender's messages keep their order");
        next[task] += 1;
    }
    for task in tasks {
        task.await.unwrap();
    }
    sender.close(CloseFrame::from(CloseCode::NORMAL)).unwrap();
    receiver.closed().await.unwrap();
    assert_eq!(echo.await.unwrap().unwrap().code(), CloseCode::NORMAL);
}

#[tokio::test]
async fn stream_and_sink_do_as_recv_and_send() {
    let (mut client, server) = pair().unwrap();
    let (mut sink, stream) = server.split();
    let forward = tokio::spawn(async move { stream.forward(&mut sink).await });
    SinkExt::send(&mut client, Message::text("Hello")).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("Hello"));
    SinkExt::close(&mut client).await.unwrap();
    forward.await.unwrap().ok();
    assert!(client.next().await.is_none());
}

#[tokio::test]
async fn a_prepared_message_reads_like_any_other() {
    let prepared = Prepared::new(Message::text("to everybody ".repeat(100)));
    for deflate in [None, Some(DeflateParams::default())] {
        let mut pair = Pair::default();
        pair.deflate = deflate;
        let (mut client, mut server) = pair.join().unwrap();
        for _ in 0..3 {
            server.send_prepared(&prepared).await.unwrap();
            server.send("between").await.unwrap();
            assert_eq!(client.recv().await.unwrap().as_ref(), Some(prepared.message()));
            assert_eq!(client.recv().await.unwrap(), Some(Message::text("between")));
        }
    }
}

#[tokio::test]
async fn saturated_peers_with_a_tiny_pipe_do_not_deadlock() {
    let (mut a, mut b) = tiny_pair();
    let flood = |ws: &mut Ws| {
        let sender = ws.sender();
        tokio::spawn(async move {
            for number in 0..500u32 {
                sender.send(vec![7; (number % 300) as usize]).await.unwrap();
                sender.ping(b"there?").unwrap();
            }
        })
    };
    let floods = [flood(&mut a), flood(&mut b)];
    let drain = |mut ws: Ws| {
        tokio::spawn(async move {
            for number in 0..500u32 {
                assert_eq!(ws.recv().await.unwrap().unwrap().len(), (number % 300) as usize);
            }
            ws
        })
    };
    let drains = [drain(a), drain(b)];
    let all = async {
        for flood in floods {
            flood.await.unwrap();
        }
        let mut done = Vec::new();
        for drain in drains {
            done.push(drain.await.unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("no deadlock");
}

#[tokio::test]
async fn a_full_queue_makes_senders_wait_and_try_send_say_so() {
    let mut pair = Pair::default();
    pair.pipe_bytes = 64;
    pair.client.limits.max_queued_bytes = 1000;
    let (mut client, mut server) = pair.join().unwrap();
    let sender = client.sender();
    let mut sent = 0;
    while sender.try_send(vec![0; 100]).is_ok() {
        sent += 1;
    }
    assert!((10..20).contains(&sent), "{sent}");
    let mut waiting = pin!(sender.reserve());
    assert!(poll(&mut waiting).is_pending());
    // A waiting send that is dropped has sent nothing.
    assert!(poll(&mut pin!(sender.send(vec![9; 100]))).is_pending());
    for _ in 0..sent {
        assert_eq!(server.recv().await.unwrap().unwrap().len(), 100);
    }
    waiting.await.unwrap().send("permitted").unwrap();
    assert_eq!(server.recv().await.unwrap(), Some(Message::text("permitted")));
    sender.flush().await.unwrap();
    assert_eq!(sender.queued_bytes(), 0);
}

fn poll<F: Future>(future: &mut std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn what_is_fed_waits_for_a_flush() {
    let (mut client, mut server) = pair().unwrap();
    client.feed("a").await.unwrap();
    client.feed("b").await.unwrap();
    assert!(poll(&mut pin!(server.recv())).is_pending());
    client.flush().await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some(Message::text("a")));
    assert_eq!(server.recv().await.unwrap(), Some(Message::text("b")));
}

#[tokio::test]
async fn a_loop_that_goes_to_wait_for_something_else_leaves_nothing_behind() {
    let (mut client, mut server) = pair().unwrap();
    for text in ["1", "2", "3"] {
        client.feed(text).await.unwrap();
    }
    client.flush().await.unwrap();
    // The server has more input, so its answer to the first message waits in the queue; then it waits elsewhere.
    let first = server.recv().await.unwrap().unwrap();
    server.send(first).await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some(Message::text("1")));
}

#[tokio::test]
async fn a_dropped_connection_writes_what_is_queued_and_says_goodbye() {
    let (client, mut server) = tiny_pair();
    let (sender, receiver) = client.split();
    for _ in 0..50 {
        sender.try_send("0123456789").unwrap();
    }
    drop((sender, receiver));
    for _ in 0..50 {
        assert_eq!(server.recv().await.unwrap(), Some(Message::text("0123456789")));
    }
    assert_eq!(server.recv().await.unwrap(), None);
    assert_eq!(server.close_frame().unwrap().code(), CloseCode::GOING_AWAY);
}

#[tokio::test]
async fn without_its_receiver_a_connection_still_answers() {
    let (client, mut server) = pair().unwrap();
    let (sender, receiver) = client.split();
    drop(receiver);
    server.send("dropped").await.unwrap();
    sender.send("still here").await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some(Message::text("still here")));
    server.close(CloseFrame::from(CloseCode::NORMAL)).await.unwrap();
    assert!(sender.is_closed());
}

#[tokio::test]
async fn a_lost_connection_is_an_error_after_the_messages_before_it() {
    let (mut ws, mut peer) = by_hand(switchboard::Role::Client);
    peer.write_all(b"\x81\x05Hello").await.unwrap();
    drop(peer);
    assert_eq!(ws.recv().await.unwrap(), Some(Message::text("Hello")));
    let error = ws.recv().await.unwrap_err();
    assert!(error.is_closed() && matches!(error, Error::Lost));
}

#[tokio::test]
async fn messages_before_a_violation_are_delivered_and_the_peer_is_told() {
    let (mut ws, mut peer) = by_hand(switchboard::Role::Client);
    peer.write_all(b"\x81\x05Hello\xff\xff").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some(Message::text("Hello")));
    ws.send("answer").await.unwrap();
    let error = ws.recv().await.unwrap_err();
    assert!(error.is_peer_fault() && error.close_code() == Some(CloseCode::PROTOCOL_ERROR), "{error}");
    assert!(matches!(error, Error::Protocol(ProtocolError::ReservedBits(7))));
    drop(ws);
    let mut wire = Vec::new();
    peer.read_to_end(&mut wire).await.unwrap();
    // The answer is written before the Close: opcodes 1, then 8.
    assert_eq!((wire[0], wire[1] & 0x7f), (0x81, 6));
    assert_eq!(wire[2 + 4 + 6], 0x88);
}

#[tokio::test]
async fn a_close_is_answered_once_and_the_server_ends_first() {
    let (mut ws, mut peer) = by_hand(switchboard::Role::Server);
    peer.write_all(b"\x88\x82\0\0\0\0\x03\xe8\x88\x80\0\0\0\0").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.close_frame().unwrap().code(), CloseCode::NORMAL);
    let mut wire = Vec::new();
    // The server's side ends although ours hasn't.
    peer.read_to_end(&mut wire).await.unwrap();
    assert_eq!(wire, b"\x88\x02\x03\xe8");
    assert!(matches!(ws.send("late").await, Err(Error::Send(SendError::Closed))));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_go_every_15_seconds_and_a_silent_peer_is_gone_after_45() {
    let (mut ws, mut peer) = by_hand(switchboard::Role::Server);
    let start = Instant::now();
    let error = ws.recv().await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Timeout::Silence)) && error.is_timeout(), "{error}");
    assert_eq!(start.elapsed().as_secs(), 45);
    drop(ws);
    let mut wire = Vec::new();
    peer.read_to_end(&mut wire).await.unwrap();
    let pings = wire.chunks(10).filter(|frame| frame[0] == 0x89).count();
    assert!((2..=3).contains(&pings), "{pings} pings");
    assert!(
        wire.windows(4).any(|window| window[0] == 0x88 && window[2..4] == 1011u16.to_be_bytes()),
        "told why"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pong_is_a_sign_of_life_and_gives_the_round_trip() {
    let (mut client, mut server) = pair().unwrap();
    let client = tokio::spawn(async move { client.recv().await });
    assert!(tokio::time::timeout(Duration::from_secs(200), server.recv()).await.is_err(), "both are alive");
    assert!(server.round_trip_time().is_some());
    server.close(None).await.unwrap();
    assert!(client.await.unwrap().unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_application_that_does_not_read_does_not_kill_its_peer() {
    let (mut client, mut server) = pair().unwrap();
    client.send("first").await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some(Message::text("first")));
    assert!(poll(&mut pin!(server.recv())).is_pending());
    let client = tokio::spawn(async move {
        client.send("unread").await.unwrap();
        client.recv().await
    });
    tokio::time::sleep(Duration::from_secs(500)).await;
    assert_eq!(server.recv().await.unwrap(), Some(Message::text("unread")));
    server.send("still there?").await.unwrap();
    assert_eq!(client.await.unwrap().unwrap(), Some(Message::text("still there?")));
}

/// A peer that sends a message of 64 KiB, a byte a second.
async fn drip(mut peer: DuplexStream) {
    peer.write_all(b"\x82\xfe\xff\xff\0\0\0\0").await.unwrap();
    while peer.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_begun_message_has_to_end_in_pieces_too() {
    let (mut ws, peer) = by_hand(switchboard::Role::Server);
    let start = Instant::now();
    let drip = tokio::spawn(drip(peer));
    let error = loop {
        if let Err(error) = ws.recv_piece().await {
            break error;
        }
    };
    assert!(matches!(error, Error::Timeout(Timeout::Message)), "{error}");
    assert!((60..70).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    drop(ws);
    drip.await.unwrap();
}

/// A stream on which Pings never cease.
struct Flood;

impl tokio::io::AsyncRead for Flood {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        while buf.remaining() >= 6 {
            buf.put_slice(b"\x89\x80\0\0\0\0");
        }
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Flood {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_flood_leaves_the_worker_to_others() {
    let mut ws = WebSocket::from_upgraded(Flood, switchboard::Role::Server, Default::default()).unwrap();
    let other = tokio::spawn(async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    });
    tokio::select! {
        message = ws.recv() => panic!("no message was sent: {message:?}"),
        done = other => done.unwrap(),
    }
    // Nor does it keep whoever drops it.
    drop(ws);
}

#[tokio::test]
async fn a_message_in_pieces_waits_for_permits() {
    let (mut client, server) = pair().unwrap();
    let (sender, _receiver) = server.split();
    let permit = sender.reserve().await.unwrap();
    let other = sender.clone();
    let mut begin = pin!(other.begin(Kind::Text));
    assert!(begin.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    permit.send("first").unwrap();
    begin.await.unwrap().finish("second").await.unwrap();
    for expected in ["first", "second"] {
        assert_eq!(client.recv().await.unwrap().unwrap().as_text(), Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_begun_message_has_to_end() {
    let (mut ws, peer) = by_hand(switchboard::Role::Server);
    let start = Instant::now();
    let drip = tokio::spawn(drip(peer));
    let error = ws.recv().await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Timeout::Message)), "{error}");
    assert!((60..70).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    drop(ws);
    drip.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_given_up_after_30_seconds() {
    let mut pair = Pair::default();
    pair.pipe_bytes = 64;
    pair.client.limits.max_queued_bytes = 100;
    let (mut client, _server) = pair.join().unwrap();
    let start = Instant::now();
    let error = loop {
        if let Err(error) = client.send(vec![0; 100]).await {
            break error;
        }
    };
    assert!(matches!(error, Error::Timeout(Timeout::Write)), "{error}");
    assert!((30..46).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_close_is_given_up_after_5_seconds() {
    let (mut ws, _peer) = by_hand(switchboard::Role::Server);
    let start = Instant::now();
    let error = ws.close(CloseFrame::from(CloseCode::NORMAL)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Timeout::Close)), "{error}");
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_idle_peer_can_be_given_up_too() {
    let mut pair = Pair::default();
    pair.server.timeouts.idle = Some(Duration::from_secs(60));
    let (mut client, mut server) = pair.join().unwrap();
    let start = Instant::now();
    let client = tokio::spawn(async move { client.recv().await.map(|_| client.close_frame().cloned()) });
    let error = server.recv().await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Timeout::Idle)), "{error}");
    assert_eq!(start.elapsed().as_secs(), 60);
    assert_eq!(client.await.unwrap().unwrap().unwrap().code(), CloseCode::GOING_AWAY);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every future is dropped at its first await, over and over, and nothing is lost, doubled or torn.
    #[test]
    fn futures_may_be_dropped_at_every_await(
        sizes in proptest::collection::vec(0usize..3000, 1..30),
        pipe_bytes in 1usize..300,
        patience in proptest::collection::vec(0usize..4, 1..20),
        deflate: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::default();
            pair.pipe_bytes = pipe_bytes;
            pair.client.limits.max_queued_bytes = 500;
            pair.deflate = deflate.then(DeflateParams::default);
            let (client, mut server) = pair.join().unwrap();
            let (sender, mut receiver) = client.split();
            let expected = sizes.clone();
            let sending = tokio::spawn(async move {
                let mut patience = patience.into_iter().cycle();
                for size in sizes {
                    // A send that was dropped before it was ready has sent nothing: try again.
                    while !patiently(sender.send(vec![size as u8; size]), patience.next().unwrap()).await {}
                    let _ = patiently(sender.flush(), 0).await;
                }
                sender.close(CloseFrame::from(CloseCode::NORMAL)).unwrap();
            });
            let closing = tokio::spawn(async move { receiver.closed().await });
            for size in expected {
                let message = loop {
                    let mut received = None;
                    if patiently(async { received = Some(server.recv().await) }, 1).await {
                        break received.unwrap().unwrap().unwrap();
                    }
                };
                assert_eq!(message.as_bytes(), &vec![size as u8; size]);
            }
            assert_eq!(server.recv().await.unwrap(), None);
            sending.await.unwrap();
            closing.await.unwrap().unwrap();
        });
    }
}

/// Polls a future so many times beyond the first, then drops it; whether it was ready.
async fn patiently(future: impl Future, polls: usize) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(true),
        Poll::Pending if left == 0 => Poll::Ready(false),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
        || {
            tokio::task::yield_now().await;
            false
        }
}

/// Everything that comes until the end of the stream.
async fn rest_of(mut stream: DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_queued_survives_a_cut() {
    let (ours, theirs) = tokio::io::duplex(64);
    let ws = Ws::from_upgraded(ours, switchboard::Role::Server, Default::default()).unwrap();
    let (sender, receiver) = ws.split();
    for _ in 0..10 {
        sender.feed(Message::binary(vec![7; 100])).await.unwrap();
    }
    sender.close(CloseFrame::from(CloseCode::GOING_AWAY)).unwrap();
    let cut = sender.cut_and_close(CloseFrame::from(CloseCode::TRY_AGAIN_LATER));
    assert!(matches!(cut, Err(Error::Send(SendError::Closed))), "{cut:?}");
    drop((sender, receiver));
    // The frame that was begun, then the first Close.
    let bytes = rest_of(theirs).await;
    assert_eq!(bytes.len(), 102 + 4);
    assert_eq!(bytes[102..], [0x88, 2, 0x03, 0xe9]);
}

#[tokio::test(start_paused = true)]
async fn a_cut_drops_what_was_not_begun() {
    let (ours, theirs) = tokio::io::duplex(64);
    let ws = Ws::from_upgraded(ours, switchboard::Role::Server, Default::default()).unwrap();
    let (sender, receiver) = ws.split();
    for _ in 0..10 {
        sender.send(Message::binary(vec![7; 100])).await.unwrap();
    }
    let dropped = sender.cut_and_close(CloseFrame::from(CloseCode::TRY_AGAIN_LATER)).unwrap();
    assert_eq!(dropped, 9 * 102);
    drop((sender, receiver));
    let bytes = rest_of(theirs).await;
    assert_eq!(bytes[102..], [0x88, 2, 0x03, 0xf5]);
}

#[tokio::test]
async fn a_send_that_waits_for_room_learns_of_a_close_at_once() {
    let (ours, _theirs) = tokio::io::duplex(64);
    let mut config = switchboard::Config::default();
    config.limits.max_queued_bytes = 100;
    let ws =
        Ws::from_parts(ours, switchboard::Role::Server, Default::default(), &config, Vec::new()).unwrap();
    let (sender, _receiver) = ws.split();
    sender.send(Message::binary(vec![7; 300])).await.unwrap();
    let other = sender.clone();
    let waiting = tokio::spawn(async move { other.send("late").await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    sender.close(CloseFrame::from(CloseCode::NORMAL)).unwrap();
    let refused = waiting.await.unwrap();
    assert!(matches!(refused, Err(Error::Send(SendError::Closed))), "{refused:?}");
}
