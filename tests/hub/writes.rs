//! How a room's member writes: once a turn, and not at all while its socket is full.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use switchboard::hub::{Form, Hub, Policy, Retention, Settings};
use switchboard::{Message, Prepared, Role, Sender, SocketMember, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that counts its writes and takes no more than it may.
#[derive(Clone, Default)]
struct Meter(Arc<Mutex<Reading>>);

#[derive(Default)]
struct Reading {
    /// How many bytes it takes; `None` for any number.
    room: Option<usize>,
    bytes: Vec<u8>,
    /// How often something was taken, and how often it was asked to.
    writes: usize,
    polls: usize,
    waker: Option<Waker>,
}

impl Meter {
    fn set_room(&self, room: Option<usize>) {
        let mut reading = self.0.lock().unwrap();
        reading.room = room;
        let waker = reading.waker.take();
        drop(reading);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn look<R>(&self, look: impl FnOnce(&Reading) -> R) -> R {
        look(&self.0.lock().unwrap())
    }
}

impl AsyncRead for Meter {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Meter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut reading = self.0.lock().unwrap();
        reading.polls += 1;
        if reading.room == Some(0) {
            reading.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let taken = all.len().min(reading.room.unwrap_or(usize::MAX));
        reading.bytes.extend_from_slice(&all[..taken]);
        reading.room = reading.room.map(|room| room - taken);
        reading.writes += 1;
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn hub() -> Hub {
    Hub::new(Settings { policy: Policy::Disconnect, queue_bytes: 1 << 20, retention: Retention::NONE })
}

/// A server's connection on a meter. What receives has to live.
fn connection() -> (Meter, Sender, impl Sized) {
    let meter = Meter::default();
    let ws = WebSocket::from_upgraded(meter.clone(), Role::Server, Default::default()).unwrap();
    let (sender, receiver) = ws.split();
    (meter, sender, receiver)
}

fn messages(count: usize) -> Vec<Prepared> {
    (0..count).map(|number| Message::text("m".repeat(number)).into()).collect()
}

fn frames(count: usize) -> Vec<u8> {
    (0..count).flat_map(|number| [vec![0x81, number as u8], vec![b'm'; number]].concat()).collect()
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_published_in_one_turn_is_one_write_for_each_member() {
    let hub = hub();
    let room = hub.room("a");
    let connections: Vec<_> = (0..5).map(|_| connection()).collect();
    let _members: Vec<_> = connections
        .iter()
        .map(|(_, sender, _)| room.join(SocketMember::new(sender.clone()), Form::default()))
        .collect();
    settle().await;
    for message in messages(16) {
        room.publish(switchboard::hub::Publish::new(message));
    }
    settle().await;
    for (meter, ..) in &connections {
        meter.look(|reading| assert_eq!((reading.writes, &reading.bytes), (1, &frames(16))));
    }
}

/// A socket that is full at a frame's boundary has nothing queued: that must not look like room.
#[tokio::test]
async fn whatever_a_socket_takes_it_is_not_asked_again_until_it_has_room() {
    let all = frames(6);
    for first in 0..=all.len() {
        let hub = hub();
        let room = hub.room("a");
        let (meter, sender, _receiver) = connection();
        meter.set_room(Some(first));
        let _member = room.join(SocketMember::new(sender.clone()), Form::default());
        for message in messages(6) {
            room.publish(switchboard::hub::Publish::new(message));
        }
        settle().await;
        meter.look(|reading| assert_eq!(reading.bytes, all[..first]));
        let polls = meter.look(|reading| reading.polls);
        settle().await;
        assert_eq!(meter.look(|reading| reading.polls), polls, "it spins with {first} bytes written");
        // A byte at a time, so that each is a short write again.
        for room in [1, 2, 3] {
            meter.set_room(Some(room));
            settle().await;
        }
        meter.set_room(None);
        settle().await;
        meter.look(|reading| assert_eq!(reading.bytes, all, "{first} bytes were written first"));
        assert_eq!((room.slow_members(), sender.queued_bytes()), (0, 0));
    }
}

/// One connection in two rooms: neither may wake the other while the socket is full.
#[tokio::test]
async fn two_slow_members_on_one_connection_do_not_keep_each_other_awake() {
    let hub = hub();
    let (a, b) = (hub.room("a"), hub.room("b"));
    let (meter, sender, _receiver) = connection();
    let _a = a.join(SocketMember::new(sender.clone()), Form::default());
    let _b = b.join(SocketMember::new(sender.clone()), Form::default());
    settle().await;
    meter.set_room(Some(3));
    for message in messages(6) {
        a.publish(switchboard::hub::Publish::new(message.clone()));
        b.publish(switchboard::hub::Publish::new(message));
        settle().await;
    }
    let polls = meter.look(|reading| reading.polls);
    settle().await;
    assert_eq!(meter.look(|reading| reading.polls), polls);
    assert_eq!((a.slow_members(), b.slow_members()), (1, 1));
    meter.set_room(None);
    settle().await;
    assert_eq!(meter.look(|reading| reading.bytes.len()), 2 * frames(6).len());
    assert_eq!((a.slow_members(), b.slow_members()), (0, 0));
}

#[tokio::test]
async fn a_message_in_pieces_holds_a_member_up_until_it_is_finished() {
    let hub = hub();
    let room = hub.room("a");
    let (meter, sender, _receiver) = connection();
    let _member = room.join(SocketMember::new(sender.clone()), Form::default());
    settle().await;
    let mut writer = sender.begin(switchboard::Kind::Text).await.unwrap();
    writer.write("a").await.unwrap();
    room.publish(switchboard::hub::Publish::new(Message::text("c").into()));
    settle().await;
    meter.look(|reading| assert_eq!(reading.bytes, b"\x01\x01a"));
    writer.finish("b").await.unwrap();
    settle().await;
    meter.look(|reading| assert_eq!(reading.bytes, b"\x01\x01a\x80\x01b\x81\x01c"));
}

#[tokio::test]
async fn what_was_fed_goes_out_in_front_of_what_is_published() {
    let hub = hub();
    let room = hub.room("a");
    let (meter, sender, _receiver) = connection();
    let _member = room.join(SocketMember::new(sender.clone()), Form::default());
    settle().await;
    sender.feed("a").await.unwrap();
    room.publish(switchboard::hub::Publish::new(Message::text("b").into()));
    settle().await;
    meter.look(|reading| assert_eq!(reading.bytes, b"\x81\x01a\x81\x01b"));
}

#[tokio::test]
async fn who_has_closed_is_no_member_any_more() {
    let hub = hub();
    let room = hub.room("a");
    let (meter, sender, _receiver) = connection();
    let member = room.join(SocketMember::new(sender.clone()), Form::default());
    settle().await;
    meter.set_room(Some(0));
    sender.close(None).unwrap();
    room.publish(switchboard::hub::Publish::new(Message::text("b").into()));
    settle().await;
    assert!(!member.is_in(), "although its Close isn't written yet");
}
