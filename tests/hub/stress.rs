//! Several publishers, members that stall at random, on four threads.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use switchboard::hub::{Delivery, Form, Hub, Missed, Outlet, Policy, Publish, Retention, Room, Settings};
use switchboard::{Batch, Message, Prepared};

/// A member's end, with so much room as its stalls leave it.
#[derive(Default)]
struct Peer {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_stalled: bool,
    got: Vec<Prepared>,
    missed: u64,
    waker: Option<Waker>,
}

impl Peer {
    fn stall(&self, is_stalled: bool) {
        let mut state = self.state.lock().unwrap();
        state.is_stalled = is_stalled;
        let waker = if is_stalled { None } else { state.waker.take() };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Outlet for Peer {
    fn deliver(&self, batch: &Batch, range: Range<usize>) -> Delivery {
        let mut state = self.state.lock().unwrap();
        if state.is_stalled {
            return Delivery::Taken(0);
        }
        // Now and then it takes a part.
        let taken = if state.got.len().is_multiple_of(7) { range.len().div_ceil(2) } else { range.len() };
        state.got.extend_from_slice(&batch.messages()[range][..taken]);
        Delivery::Taken(taken)
    }

    fn deliver_missed(&self, missed: Missed) -> Delivery {
        let mut state = self.state.lock().unwrap();
        if state.is_stalled {
            return Delivery::Taken(0);
        }
        state.missed += missed.count;
        Delivery::Taken(1)
    }

    fn wake_when_ready(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock().unwrap();
        if state.is_stalled {
            state.waker = Some(waker.clone());
        }
        !state.is_stalled
    }

    fn on_too_slow(&self) {}
}

const PUBLISHERS: usize = 4;
const MESSAGES: usize = 1500;
const MEMBERS: usize = 150;

/// Publishes, stalls, joins and leaves; returns those who were there from the first to the last message.
async fn run(settings: Settings) -> (Arc<Room>, Vec<Arc<Peer>>) {
    let hub: Hub = Hub::new(settings);
    let room = hub.room("a");
    let peers: Vec<Arc<Peer>> = (0..MEMBERS).map(|_| Arc::default()).collect();
    let members: Vec<_> = peers.iter().map(|peer| room.join(peer.clone(), Form::default())).collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let stalls = tokio::spawn({
        let (peers, is_over) = (peers.clone(), is_over.clone());
        async move {
            let mut random = 1_u64;
            while !is_over.load(Ordering::Relaxed) {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                peers[(random >> 33) as usize % MEMBERS].stall(random >> 63 == 1);
                tokio::task::yield_now().await;
            }
            peers.iter().for_each(|peer| peer.stall(false));
        }
    });
    let churn = tokio::spawn({
        let (room, is_over) = (room.clone(), is_over.clone());
        async move {
            while !is_over.load(Ordering::Relaxed) {
                let member = room.join(Arc::<Peer>::default(), Form::default());
                tokio::task::yield_now().await;
                drop(member);
            }
        }
    });
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let room = room.clone();
            tokio::spawn(async move {
                for number in 0..MESSAGES {
                    room.ready().await;
                    room.publish(Publish::new(Message::text(format!("{publisher} {number}")).into()));
                    if number % 16 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    stalls.await.unwrap();
    churn.await.unwrap();
    let settled = async {
        while room.slow_members() > 0 || room.accounting().pending > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), settled).await.expect("nobody is woken for what is left");
    assert_eq!(room.len(), MEMBERS);
    let books = room.accounting();
    assert_eq!(books.addressed, books.delivered + books.dropped + books.abandoned, "{books:?}");
    drop(members);
    (room, peers)
}

fn texts(peer: &Peer) -> Vec<String> {
    let state = peer.state.lock().unwrap();
    state.got.iter().map(|one| one.message().as_text().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everybody_gets_everything_in_one_order() {
    let queue_bytes = 1 << 30;
    let (_, peers) =
        run(Settings { policy: Policy::Disconnect, queue_bytes, retention: Retention::NONE }).await;
    let first = texts(&peers[0]);
    assert_eq!(first.len(), PUBLISHERS * MESSAGES);
    assert!(peers.iter().all(|peer| texts(peer) == first), "somebody got another order");
    for publisher in 0..PUBLISHERS {
        let own = first.iter().filter(|text| text.starts_with(&format!("{publisher} ")));
        assert!(
            own.eq((0..MESSAGES).map(|number| format!("{publisher} {number}")).collect::<Vec<_>>().iter())
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_misses_something_knows_how_much() {
    for policy in [Policy::DropOldest, Policy::DropNewest] {
        let retention = Retention { messages: PUBLISHERS * MESSAGES, bytes: usize::MAX, age: u64::MAX };
        let (room, peers) = run(Settings { policy, queue_bytes: 20_000, retention }).await;
        let all: Vec<_> = room.look(|view| {
            let texts = view.history().map(|entry| entry.content().message().as_text().unwrap().to_owned());
            texts.collect()
        });
        assert_eq!(all.len(), PUBLISHERS * MESSAGES);
        for peer in &peers {
            let got = texts(peer);
            assert_eq!(got.len() as u64 + peer.state.lock().unwrap().missed, all.len() as u64);
            let mut order = all.iter();
            assert!(got.iter().all(|text| order.any(|other| other == text)), "it is not in the room's order");
        }
    }
}
