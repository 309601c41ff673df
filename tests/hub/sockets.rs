//! Members on real sockets, one of which doesn't read.

use std::sync::Arc;
use std::time::Duration;

use switchboard::hub::{Form, Hub, Membership, Policy, Publish, Retention, Settings};
use switchboard::{CloseCode, Config, Connector, Error, Message, Prepared, SocketMember, WebSocket};
use tokio::net::{TcpSocket, TcpStream};

type Client = WebSocket<TcpStream>;

/// A room, who is in it, and their peers. The first one's socket holds little.
struct Joined {
    members: Vec<Membership>,
    clients: Vec<Client>,
}

const MESSAGES: usize = 3000;

fn text(number: usize) -> Message {
    Message::text(format!("{number:05}{}", "x".repeat(1000)))
}

async fn join(policy: Policy, count: usize) -> Joined {
    let listener = TcpSocket::new_v4().unwrap();
    listener.set_send_buffer_size(4096).unwrap();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listener.listen(16).unwrap();
    let address = listener.local_addr().unwrap();
    let hub: Arc<Hub> =
        Arc::new(Hub::new(Settings { policy, queue_bytes: 200_000, retention: Retention::NONE }));
    let room = hub.room("a");
    let mut joined = Joined { members: Vec::new(), clients: Vec::new() };
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let client = async {
            let stream = socket.connect(address).await.unwrap();
            let url = format!("ws://{address}/");
            Connector::new(Config::default()).connect_on(&url, stream).await.unwrap().0
        };
        let server = async { WebSocket::accept(listener.accept().await.unwrap().0).await.unwrap() };
        let (client, server) = tokio::join!(client, server);
        let (sender, mut receiver) = server.split();
        // Whoever is put out has its connection ended by this.
        tokio::spawn(async move { while let Ok(Some(_)) = receiver.recv().await {} });
        let notice =
            |missed: &switchboard::hub::Missed| Prepared::from(Message::text(format!("!{}", missed.count)));
        joined.members.push(room.join(Arc::new(SocketMember::with_notice(sender, notice)), Form::default()));
        joined.clients.push(client);
    }
    joined
}

/// Publishes while all but the first one read, and returns the first one's peer.
async fn publish(joined: &mut Joined) -> Client {
    let slow = joined.clients.remove(0);
    let room = joined.members[0].room().clone();
    for number in 0..MESSAGES {
        room.publish(Publish::new(text(number).into()));
        // As fast as those read who do.
        if number % 20 == 19 {
            for client in &mut joined.clients {
                for expected in number - 19..=number {
                    let message = tokio::time::timeout(Duration::from_secs(60), client.recv()).await.unwrap();
                    assert_eq!(message.unwrap(), Some(text(expected)));
                }
            }
        }
    }
    slow
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_misses_the_oldest_and_nobody_else_feels_it() {
    let mut joined = join(Policy::DropOldest, 4).await;
    let mut slow = publish(&mut joined).await;
    let (mut next, mut missed) = (0, 0);
    while next < MESSAGES {
        let message = slow.recv().await.unwrap().unwrap();
        match message.as_text().unwrap().strip_prefix('!') {
            Some(count) => {
                let count: usize = count.parse().unwrap();
                missed += count;
                next += count;
            }
            None => {
                assert_eq!(message, text(next));
                next += 1;
            }
        }
    }
    assert!(missed > 0);
    let room = joined.members[0].room();
    while room.slow_members() > 0 {
        tokio::task::yield_now().await;
    }
    let books = room.accounting();
    assert_eq!((books.dropped, books.pending), (missed as u64, 0));
    assert_eq!(books.delivered + books.dropped, books.addressed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_disconnected_and_told_why() {
    let mut joined = join(Policy::Disconnect, 4).await;
    let mut slow = publish(&mut joined).await;
    assert!(!joined.members[0].is_in() && joined.members[1..].iter().all(Membership::is_in));
    let ended = loop {
        match slow.recv().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert!(matches!(ended, Ok(None) | Err(Error::Closed)), "{ended:?}");
    assert_eq!(slow.close_frame().map(|frame| frame.code()), Some(CloseCode::TRY_AGAIN_LATER));
}
