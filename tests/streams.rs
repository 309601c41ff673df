//! Streams that block, fail, yield, flood or panic at a bad moment: who waits is woken, and nobody spins.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use common::scripted::{Act, Scripted, settle};
use futures_util::{FutureExt, SinkExt, StreamExt};
use switchboard::net::Timeout;
use switchboard::testing::Pair;
use switchboard::{Config, Error, Kind, Message, Role, WebSocket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

mod common;

fn server(stream: &Scripted) -> WebSocket<Scripted> {
    stream.connect(Role::Server, &Config::default())
}

/// A future, and how often it was polled.
async fn counted<T>(future: impl Future<Output = T>, polls: Arc<AtomicUsize>) -> T {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        polls.fetch_add(1, Ordering::Relaxed);
        future.as_mut().poll(cx)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn two_flushes_on_a_blocked_stream_do_not_wake_each_other() {
    let stream = Scripted::new();
    let (sender, _receiver) = server(&stream).split();
    stream.act(Act::Block);
    sender.send("x").await.unwrap();
    let polls = Arc::new(AtomicUsize::new(0));
    let flushes = [(); 2].map(|()| {
        let (sender, polls) = (sender.clone(), polls.clone());
        tokio::spawn(counted(async move { sender.flush().await }, polls))
    });
    settle().await;
    assert!(polls.load(Ordering::Relaxed) <= 4, "{polls:?} polls");
    assert!(stream.state().writes <= 8, "{} writes", stream.state().writes);
    stream.act(Act::TakeAll);
    for flush in flushes {
        flush.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_behind_a_message_in_pieces_does_not_spin() {
    let stream = Scripted::new();
    let (sender, _receiver) = server(&stream).split();
    stream.act(Act::Block);
    let mut writer = sender.begin(Kind::Text).await.unwrap();
    writer.write("piece").await.unwrap();
    let polls = Arc::new(AtomicUsize::new(0));
    let other = sender.clone();
    let send = tokio::spawn(counted(async move { other.send("y").await }, polls.clone()));
    settle().await;
    assert!(polls.load(Ordering::Relaxed) <= 4, "{polls:?} polls");
    assert!(stream.state().writes <= 8, "{} writes", stream.state().writes);
    writer.finish("").await.unwrap();
    send.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_wakes_the_receiver() {
    let stream = Scripted::new();
    let (sender, mut receiver) = server(&stream).split();
    let received = tokio::spawn(async move { receiver.recv().await });
    settle().await;
    stream.act(Act::Fail);
    sender.send("x").await.unwrap();
    let received = tokio::time::timeout(Duration::from_secs(1), received).await.expect("it is woken");
    assert!(matches!(received.unwrap(), Err(Error::Io(_))));
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_messages_ends_after_its_error() {
    for split in [false, true] {
        let stream = Scripted::new();
        stream.input(b"\x81\x80\0\0\0\0");
        stream.end();
        let ws = server(&stream);
        let items: Vec<_> =
            if split { ws.split().1.take(9).collect().await } else { ws.take(9).collect().await };
        assert_eq!(items.len(), 2, "{items:?}");
        assert!(matches!(items[1], Err(Error::Lost)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_dropped_while_the_rest_is_written_still_says_goodbye() {
    let stream = Scripted::new();
    let mut config = Config::default();
    config.timeouts.ping_interval = None;
    config.timeouts.silence = None;
    let (sender, receiver) = stream.connect(Role::Server, &config).split();
    stream.act(Act::Block);
    sender.feed("x").await.unwrap();
    // A task goes on with the reader.
    drop(receiver);
    // The last sender goes in the middle of its first write, before it waits for that.
    stream.state().during_write = Some(Box::new(move || drop(sender)));
    stream.state().act = Act::TakeAll;
    settle().await;
    assert_eq!(stream.state().written, b"\x81\x01x\x88\x02\x03\xe9");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_wants_to_be_asked_again_leaves_the_runtime_to_others() {
    let stream = Scripted::new();
    let (sender, _receiver) = server(&stream).split();
    let turns = Arc::new(AtomicUsize::new(0));
    let counter = turns.clone();
    tokio::spawn(async move {
        loop {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    stream.act(Act::Yield(1000));
    sender.send("x").await.unwrap();
    sender.flush().await.unwrap();
    // A task that yields has a turn after every 61 of others.
    assert!(turns.load(Ordering::Relaxed) > 10, "{turns:?} turns");
}

/// A stream on which whole messages come for as long as there are any left.
struct Flood(u32);

impl AsyncRead for Flood {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Some(left) = self.0.checked_sub(1) {
            self.0 = left;
            while buf.remaining() >= 7 {
                buf.put_slice(b"\x82\x81\0\0\0\0a");
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_does_not_hide_the_deadline_of_a_close() {
    let mut ws = WebSocket::from_upgraded(Flood(1000), Role::Server, Default::default()).unwrap();
    let later = async {
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(6)).await;
    };
    let (closed, ()) = tokio::join!(ws.close(None), later);
    assert!(matches!(closed, Err(Error::Timeout(Timeout::Close))), "{closed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pong_does_not_wait_for_the_next_recv() {
    let stream = Scripted::new();
    stream.input(b"\x89\x80\0\0\0\0\x81\x81\0\0\0\0a");
    let mut ws = server(&stream);
    assert_eq!(ws.recv().await.unwrap(), Some(Message::text("a")));
    settle().await;
    assert_eq!(stream.state().written, b"\x8a\x00");
}

#[tokio::test(start_paused = true)]
async fn a_loop_of_sends_leaves_the_worker_to_others() {
    let stream = Scripted::new();
    let mut ws = server(&stream);
    let sender = ws.sender();
    let turns = Arc::new(AtomicUsize::new(0));
    let counter = turns.clone();
    tokio::spawn(async move {
        loop {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let mut before = 0;
    let mut yielded = || {
        let now = turns.load(Ordering::Relaxed);
        let had = now > before;
        before = now;
        had
    };
    for _ in 0..1000 {
        ws.send("x").await.unwrap();
    }
    assert!(yielded(), "the whole connection");
    for _ in 0..1000 {
        sender.send("x").await.unwrap();
    }
    assert!(yielded(), "a sender");
    let prepared = Message::text("x").into();
    for _ in 0..1000 {
        sender.send_prepared(&prepared).await.unwrap();
    }
    assert!(yielded(), "what was encoded before");
    for _ in 0..1000 {
        sender.reserve().await.unwrap().send("x").unwrap();
    }
    assert!(yielded(), "permits");
    let mut sink = sender.clone();
    for _ in 0..1000 {
        SinkExt::send(&mut sink, Message::text("x")).await.unwrap();
    }
    assert!(yielded(), "a sink");
    let mut writer = sender.begin(Kind::Text).await.unwrap();
    for _ in 0..1000 {
        writer.write("x").await.unwrap();
    }
    assert!(yielded(), "pieces");
    writer.finish("").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_large_payload_is_written_from_where_it_lies() {
    let stream = Scripted::new();
    let mut config = Config::default();
    config.limits.max_queued_bytes = 16 << 20;
    let (sender, _receiver) = stream.connect(Role::Server, &config).split();
    stream.act(Act::Block);
    let payload = bytes::Bytes::from(vec![7; 1 << 20]);
    sender.send(payload.clone()).await.unwrap();
    sender.send("behind it").await.unwrap();
    stream.act(Act::Take(16 << 10));
    sender.flush().await.unwrap();
    let state = stream.state();
    let lies = payload.as_ptr() as usize..=payload.as_ptr() as usize + payload.len();
    let copied: usize =
        state.offered.iter().filter(|bytes| !lies.contains(&bytes.start)).map(|bytes| bytes.len()).sum();
    assert!(copied <= 32 << 10, "{copied} bytes were copied");
}

#[tokio::test(start_paused = true)]
async fn a_flush_does_not_wait_for_what_was_cut() {
    let stream = Scripted::new();
    let (sender, _receiver) = server(&stream).split();
    stream.act(Act::Block);
    for _ in 0..10 {
        sender.send(vec![7; 100]).await.unwrap();
    }
    let other = sender.clone();
    let flush = tokio::spawn(async move { other.flush().await });
    settle().await;
    assert_eq!(sender.cut_and_close(None).unwrap(), 10 * 102);
    stream.act(Act::TakeAll);
    settle().await;
    flush.await.unwrap().unwrap();
    assert_eq!(stream.state().written, b"\x88\x00");
}

#[tokio::test(start_paused = true)]
async fn a_message_in_pieces_without_a_piece_leaves_nothing_behind() {
    let stream = Scripted::new();
    let (sender, _receiver) = server(&stream).split();
    drop(sender.begin(Kind::Text).await.unwrap());
    sender.send("next").await.unwrap();
    assert_eq!(stream.state().written, b"\x81\x04next");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_ends_its_own_connection_only() {
    let (broken, sound) = (Scripted::new(), Scripted::new());
    let (sender, mut receiver) = server(&broken).split();
    let (other, _receiver) = server(&sound).split();
    broken.act(Act::Block);
    sender.send("x").await.unwrap();
    sound.act(Act::Block);
    other.send("y").await.unwrap();
    // The helpers' task writes what was blocked.
    broken.act(Act::Panic);
    settle().await;
    sound.act(Act::TakeAll);
    settle().await;
    assert_eq!(sound.state().written, b"\x81\x01y");
    assert!(matches!(receiver.recv().await, Err(Error::Io(_))));
    assert!(sender.is_closed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_a_peer_up_is_told_which_deadline_it_missed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = async |config: &Config| {
        let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (client, WebSocket::from_parts(server, Role::Server, Default::default(), config, Vec::new()).unwrap())
    };
    let mut config = Config::default();
    config.timeouts.close = Some(Duration::from_millis(30));
    let (_client, mut ws) = connect(&config).await;
    let closed = tokio::spawn(async move { ws.close(None).await }).await.unwrap();
    assert!(matches!(closed, Err(Error::Timeout(Timeout::Close))), "{closed:?}");

    let mut config = Config::default();
    config.timeouts.write = Some(Duration::from_millis(30));
    let (_client, ws) = connect(&config).await;
    let (sender, mut receiver) = ws.split();
    let received = tokio::spawn(async move { receiver.recv().await });
    sender.send(vec![0; 64 << 20]).await.unwrap();
    let flushed = sender.flush().await;
    assert!(matches!(flushed, Err(Error::Timeout(Timeout::Write))), "{flushed:?}");
    let received = received.await.unwrap();
    assert!(matches!(received, Err(Error::Timeout(Timeout::Write))), "{received:?}");
}

#[tokio::test(start_paused = true)]
async fn pongs_have_room_where_data_has_none() {
    let stream = Scripted::new();
    let mut config = Config::default();
    config.limits.max_queued_bytes = 1000;
    let (sender, mut receiver) = stream.connect(Role::Server, &config).split();
    stream.act(Act::Block);
    let mut queued = 0;
    while sender.try_send(vec![7; 100]).is_ok() {
        queued += 1;
    }
    // More Pings than Pongs may wait: 32 have theirs, and of the rest the newest.
    for number in 0..40 {
        stream.input(&[0x89, 0x81, 0, 0, 0, 0, number]);
    }
    stream.input(b"\x81\x80\0\0\0\0");
    assert_eq!(receiver.recv().await.unwrap(), Some(Message::text("")));
    assert!(sender.try_send("no room").is_err());
    stream.act(Act::TakeAll);
    settle().await;
    let state = stream.state();
    let pongs: Vec<u8> = state.written[queued * 102..].chunks(3).map(|pong| pong[2]).collect();
    assert_eq!(pongs, (0..32).chain([39]).collect::<Vec<u8>>());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_nothing_has_failed() {
    let stream = Scripted::new();
    let mut ws = server(&stream);
    stream.act(Act::Take(0));
    ws.send("x").await.unwrap();
    let error = ws.recv().await.unwrap_err();
    assert!(matches!(&error, Error::Io(error) if error.kind() == std::io::ErrorKind::WriteZero), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_shorter_of_two_deadlines_ends_a_close_that_is_stuck() {
    for (close, write) in [(5, 30), (60, 20)] {
        let stream = Scripted::new();
        let mut config = Config::default();
        config.timeouts.close = Some(Duration::from_secs(close));
        config.timeouts.write = Some(Duration::from_secs(write));
        let mut ws = stream.connect(Role::Server, &config);
        stream.act(Act::Block);
        ws.send("x").await.unwrap();
        let start = tokio::time::Instant::now();
        let error = ws.close(None).await.unwrap_err();
        assert_eq!(start.elapsed().as_secs(), close.min(write));
        let expected = if close < write { Timeout::Close } else { Timeout::Write };
        assert!(matches!(error, Error::Timeout(timeout) if timeout == expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_a_close_is_read_and_dropped() {
    let stream = Scripted::new();
    let mut ws = server(&stream);
    stream.input(b"\x88\x82\0\0\0\0\x03\xe8\x81\x81\0\0\0\0a");
    stream.input(&[0xff; 300_000]);
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.recv().await.unwrap(), None);
    let mut close = pin!(ws.close(None));
    assert!((&mut close).now_or_never().is_none(), "the peer's side is still open");
    stream.end();
    close.await.unwrap();
    assert_eq!(stream.state().written, b"\x88\x02\x03\xe8");
}

#[tokio::test]
async fn a_peer_that_does_not_end_the_connection_is_reset() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    let mut config = Config::default();
    config.timeouts.close = Some(Duration::from_millis(30));
    let mut ws = WebSocket::from_parts(ours, Role::Server, Default::default(), &config, Vec::new()).unwrap();
    // The peer answers the Close, and then leaves its side open.
    peer.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
    let error = ws.close(None).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Timeout::Close)), "{error}");
    let mut end = [0; 2];
    peer.read_exact(&mut end).await.unwrap();
    assert_eq!(end, [0x88, 0]);
    let lost = loop {
        if let Err(error) = peer.write_all(b"still there?").await {
            break error;
        }
    };
    let lost = lost.kind();
    assert!(matches!(lost, std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn more_pieces_than_a_write_takes_arrive_in_order() {
    let mut pair = Pair::default();
    pair.server.limits.max_queued_bytes = 4 << 20;
    let (mut client, server) = pair.join().unwrap();
    let (sender, _receiver) = server.split();
    for number in 0..200u8 {
        // By reference, each behind a header of its own: 400 pieces.
        sender.feed(vec![number; 5000]).await.unwrap();
    }
    let flush = tokio::spawn(async move { sender.flush().await });
    for number in 0..200u8 {
        assert_eq!(client.recv().await.unwrap(), Some(Message::binary(vec![number; 5000])));
    }
    flush.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_plain_echo_loop_writes_once_a_batch() {
    const BATCHES: usize = 50;
    const DEPTH: usize = 16;
    let stream = Scripted::new();
    let mut ws = server(&stream);
    let echo = tokio::spawn(async move {
        while let Some(message) = ws.recv().await.unwrap() {
            ws.send(message).await.unwrap();
        }
    });
    for _ in 0..BATCHES {
        stream.input(&b"\x82\x83\0\0\0\0abc".repeat(DEPTH));
        settle().await;
    }
    assert_eq!(stream.state().written, b"\x82\x03abc".repeat(BATCHES * DEPTH));
    assert!(stream.state().writes <= BATCHES * DEPTH / 10, "{} writes", stream.state().writes);
    stream.input(b"\x88\x80\0\0\0\0");
    echo.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_message_that_keeps_the_least_rate_survives() {
    let stream = Scripted::new();
    let mut config = Config::default();
    config.timeouts.message = Some(Duration::from_secs(2));
    config.timeouts.message_rate = 1000;
    let mut ws = stream.connect(Role::Server, &config);
    let received = tokio::spawn(async move { ws.recv().await });
    stream.input(b"\x82\xfe\x75\x30\0\0\0\0");
    // 30,000 bytes, 1,100 of them a second.
    for _ in 0..28 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stream.input(&[7; 1100]);
    }
    assert_eq!(received.await.unwrap().unwrap(), Some(Message::binary(vec![7; 30_000])));
}

#[tokio::test(start_paused = true)]
async fn pongs_that_nobody_asked_for_are_ignored() {
    let stream = Scripted::new();
    let mut ws = server(&stream);
    stream.input(
        b"\x8a\x80\0\0\0\0\x8a\x88\0\0\0\0\0\0\0\0\0\0\0\0\x8a\x88\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
    );
    stream.input(&[&b"\x8a\xfd\0\0\0\0"[..], &[7; 125], b"\x81\x81\0\0\0\0a"].concat());
    assert_eq!(ws.recv().await.unwrap(), Some(Message::text("a")));
    settle().await;
    assert_eq!(ws.round_trip_time(), None);
    assert!(stream.state().written.is_empty());
}

#[tokio::test(start_paused = true)]
async fn buffers_hand_nothing_from_one_connection_to_the_next() {
    const SECRET: u8 = 0x53;
    // One that fills all buffers there are, of reading and of writing.
    let stream = Scripted::new();
    let mut ws = server(&stream);
    stream.input(&[&b"\x82\xff\0\0\0\0\0\x03\0\0\0\0\0\0"[..], &[SECRET; 3 << 16]].concat());
    stream.input(
        &b"\x82\xfe\x03\xe8\0\0\0\0".iter().copied().chain([SECRET; 1000]).collect::<Vec<_>>().repeat(100),
    );
    for _ in 0..101 {
        let message = ws.recv().await.unwrap().unwrap();
        ws.send(message).await.unwrap();
    }
    drop(ws);
    settle().await;

    // What the next one gets, in parts, is what was sent to it.
    let stream = Scripted::new();
    let mut ws = server(&stream);
    let frame = [&b"\x82\xfe\x03\xe8\0\0\0\0"[..], &[1; 1000]].concat();
    for part in frame.chunks(13) {
        assert!(ws.recv().now_or_never().is_none());
        stream.input(part);
    }
    assert_eq!(ws.recv().await.unwrap(), Some(Message::binary(vec![1; 1000])));

    // And what a Close says of a rule that was broken is a sentence of ours.
    for broken in [
        &b"\xf1\x80"[..],
        b"\x81\x00",
        b"\x88\x81\0\0\0\0\x03",
        b"\x82\xff\xff",
        b"\x81\x81\0\0\0\0\xff",
        b"\x89\xfe",
    ] {
        let stream = Scripted::new();
        let mut ws = server(&stream);
        stream.input(broken);
        let error = ws.recv().await.unwrap_err();
        let Error::Protocol(error) = error else { panic!("{error}") };
        let written = stream.state().written.clone();
        assert_eq!((written[0], usize::from(written[1])), (0x88, written.len() - 2));
        assert_eq!(std::str::from_utf8(&written[4..]).unwrap(), error.to_string());
    }
}
