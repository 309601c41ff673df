//! The hub on a runtime: names, waiting, ends, and what panics.

use std::time::Duration;

use super::*;

fn hub(policy: Policy) -> Hub<Note> {
    Hub::new(settings(policy, 100))
}

/// Lets the shards do what there is to do.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_room_is_there_as_long_as_somebody_holds_it() {
    let hub = hub(Policy::Disconnect);
    let room = hub.room("a");
    assert!(Arc::ptr_eq(&room, &hub.room("a")) && !Arc::ptr_eq(&room, &hub.room("b")));
    room.publish(Publish::new(Note::new(1)));
    let member = room.join(Peer::new(), Form::default());
    drop(room);
    settle().await;
    assert_eq!(hub.room("a").look(|view| view.offset()), 1);
    drop(member);
    settle().await;
    assert_eq!(hub.room("a").look(|view| view.offset()), 0);
}

#[tokio::test]
async fn names_that_nobody_holds_do_not_pile_up() {
    let hub = hub(Policy::Disconnect);
    for number in 0..10_000 {
        hub.room(&number.to_string());
    }
    assert!(lock(&hub.rooms).len() < 10);
}

#[tokio::test]
async fn who_publishes_waits_for_the_shards_and_nobody_is_slow_by_that() {
    let hub = hub(Policy::Disconnect);
    let (peer, sender) = (Peer::new(), Peer::new());
    let room = hub.room("a");
    let _member = room.join(peer.clone(), Form::default());
    let sender = room.join(sender, Form::default());
    for number in 0..10_000 {
        sender.publish(number).await;
    }
    settle().await;
    assert_eq!(peer.messages(), (0..10_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn nobody_waits_where_nobody_is() {
    let hub = hub(Policy::Disconnect);
    let room = hub.open(Settings { queue_bytes: 0, ..settings(Policy::Disconnect, 0) }, 0);
    room.ready().await;
    drop(room.join(Peer::new(), Form::default()));
    for number in 0..1000 {
        room.publish(Publish::new(Note::new(number)));
    }
    room.ready().await;
    assert_eq!(room.live_bytes(), 0);
}

#[tokio::test]
async fn rooms_outlive_their_hub() {
    let hub = hub(Policy::Disconnect);
    let peer = Peer::new();
    let member = hub.room("a").join(peer.clone(), Form::default());
    drop(hub);
    member.room().publish(Publish::new(Note::new(1)));
    settle().await;
    assert_eq!(peer.messages(), [1]);
    let room = Arc::downgrade(member.room());
    drop(member);
    settle().await;
    assert_eq!(room.strong_count(), 0);
}

#[test]
fn nothing_is_kept_for_members_whose_runtime_has_ended() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let hub = runtime.block_on(async { hub(Policy::Disconnect) });
    let room = hub.room("a");
    let member = room.join(Peer::new(), Form::default());
    room.publish(Publish::new(Note::new(1)));
    drop(runtime);
    let late = room.join(Peer::new(), Form::default());
    for number in 0..1000 {
        room.publish(Publish::new(Note::new(number)));
    }
    assert!(!member.is_in() && !late.is_in());
    assert_eq!((room.live_bytes(), room.len()), (0, 0));
    assert_eq!(room.accounting().abandoned, 2);
    let other = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    other.block_on(async { tokio::time::timeout(Duration::from_secs(10), room.ready()).await }).unwrap();
    drop((member, late));
    assert_eq!(Arc::strong_count(&room), 1, "no list holds it");
}

struct Panics;

impl Outlet for Panics {
    fn deliver(&self, _: &Batch, _: Range<usize>) -> Delivery {
        panic!("this outlet panics, as the test wants it")
    }
    fn deliver_missed(&self, _: Missed) -> Delivery {
        Delivery::Closed
    }
    fn wake_when_ready(&self, _: &Waker) -> bool {
        true
    }
    fn on_too_slow(&self) {}
}

#[tokio::test]
async fn an_outlet_that_panics_is_alone_with_that() {
    let hub = hub(Policy::Disconnect);
    let room = hub.room("a");
    let before = Peer::new();
    let _before = room.join(before.clone(), Form::default());
    let panics = room.join(Arc::new(Panics), Form::default());
    let behind = Peer::new();
    let _behind = room.join(behind.clone(), Form::default());
    settle().await;
    for number in 0..2 {
        room.publish(Publish::new(Note::new(number)));
        settle().await;
    }
    assert_eq!((before.messages(), behind.messages()), (vec![0, 1], vec![0, 1]));
    assert!(!panics.is_in());
}

#[tokio::test]
async fn a_message_that_cannot_be_encoded_costs_its_own_room_only() {
    #[derive(Debug)]
    struct Bad(bool);
    impl Content for Bad {
        fn encode(&self, _: Form, _: Stamp, _: Option<&str>) -> Prepared {
            assert!(!self.0, "this message can't be encoded, as the test wants it");
            Message::text("1").into()
        }
        fn bytes(&self) -> usize {
            1
        }
    }
    let hub: Hub<Bad> = Hub::new(Settings::default());
    let (bad, good) = (hub.room("bad"), hub.room("good"));
    let peer = Peer::new();
    let bad_member = bad.join(Peer::new(), Form::default());
    let _good_member = good.join(peer.clone(), Form::default());
    bad.publish(Publish::new(Bad(true)));
    settle().await;
    good.publish(Publish::new(Bad(false)));
    settle().await;
    assert!(!bad_member.is_in());
    assert_eq!(peer.messages(), [1]);
    let again = Peer::new();
    let _again = bad.join(again.clone(), Form::default());
    bad.publish(Publish::new(Bad(false)));
    settle().await;
    assert_eq!(again.messages(), [1]);
}

#[tokio::test]
async fn a_large_room_does_not_hold_up_a_small_one() {
    let hub = hub(Policy::Disconnect);
    let (large, small) = (hub.room("large"), hub.room("small"));
    let peers: Vec<_> = (0..2000).map(|_| Peer::new()).collect();
    let _members: Vec<_> = peers.iter().map(|peer| large.join(peer.clone(), Form::default())).collect();
    let peer = Peer::new();
    let _member = small.join(peer.clone(), Form::default());
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    large.publish(Publish::new(Note::new(1)));
    small.publish(Publish::new(Note::new(2)));
    while peer.messages().is_empty() {
        tokio::task::yield_now().await;
    }
    let served = peers.iter().filter(|peer| !peer.messages().is_empty()).count();
    assert!(served < 1000, "{served} of the large room's members came first");
}
