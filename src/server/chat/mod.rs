//! `switchboard chat`: connections joined to rooms.
//!
//! One task a connection: it reads, and answers what was asked. What others say comes to it straight from the hub,
//! into its socket.

mod connections;
mod json;
mod mailbox;
mod plain;

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

use crate::chat::rate::Rates;
use crate::chat::room::{Contact, Order};
use crate::chat::room_name::RoomName;
use crate::chat::rooms::{self, Rooms};
use crate::chat::sessions::Sessions;
use crate::chat::store::Store;
use crate::chat::wire;
use crate::handshake::RequestError;
use crate::hub::{Delivery, Missed, Outlet};
use crate::net::{Acceptor, Config, Error, Receiver, Sender};
use crate::proto::{Batch, CloseCode, Prepared};

use super::listener;
use super::member::SocketMember;
use super::shutdown;

pub use connections::{Connection, Limits};

use connections::{Connections, Entrance, Place};
use mailbox::Mailbox;

/// How a chat server behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The connections' configuration.
    pub config: Config,
    /// The rooms'.
    pub rooms: rooms::Settings,
    /// What a connection may say.
    pub rates: Rates,
    /// The longest text in Unicode scalar values; by default only the message limit bounds it.
    pub max_text: Option<usize>,
    /// How many connections there may be.
    pub connections: Limits,
    /// How a stop is announced, and how long it may take.
    pub shutdown: shutdown::Settings,
}

/// How long a user has to say who they are.
const NAME_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server that goes down waits for requests that haven't come.
const REQUEST_GRACE: Duration = Duration::from_secs(1);

/// What a refused connection is told about coming again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Its answer.
const NO_ROOM: RequestError = RequestError::NoRoom { retry_after: RETRY_AFTER };

/// An administrator disconnected it.
const DISCONNECTED: CloseCode = CloseCode::private(4403);

/// Another connection took its session over.
const TAKEN_OVER: CloseCode = CloseCode::private(4409);

/// How often the histories' bounds are looked at.
const TIDY_EVERY: Duration = Duration::from_secs(30);

struct Chat {
    settings: Settings,
    acceptor: Acceptor,
    rooms: Arc<Rooms>,
    sessions: Arc<Sessions>,
    connections: Arc<Connections>,
}

/// Serves on `listener` until `stop` is ready, and then says goodbye to everybody.
///
/// # Cancel safety
///
/// Dropped it stops listening; the connections go on.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    (store, sessions): (Option<Arc<Store>>, Arc<Sessions>),
    stop: impl Future<Output = ()>,
) {
    let mut config = settings.config.clone();
    config.subprotocols = vec![wire::json::SUBPROTOCOL.to_owned()];
    let chat = Arc::new(Chat {
        acceptor: Acceptor::new(config),
        rooms: Arc::new(Rooms::new(settings.rooms, store.clone())),
        sessions,
        connections: Arc::default(),
        settings,
    });
    let mut stop = std::pin::pin!(stop);
    let mut tidy = tokio::time::interval(TIDY_EVERY);
    loop {
        tokio::select! {
            (stream, peer) = listener::accept(&listener) => chat.spawn(stream, peer),
            _ = tidy.tick() => chat.rooms.tidy(),
            () = &mut stop => break,
        }
    }
    chat.connections.begin_shutdown();
    for (stream, peer) in listener::close(listener) {
        chat.spawn(stream, peer);
    }
    shutdown::drain(&*chat.connections, chat.settings.shutdown).await;
    if let Some(store) = store {
        // It waits for the disk.
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
    }
}

impl Chat {
    /// Serves or refuses a connection, which counts from now on: a shutdown waits for it.
    fn spawn(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let chat = self.clone();
        match self.connections.enter(peer, self.settings.connections) {
            Entrance::Served(place) => drop(tokio::spawn(chat.connection(stream, peer, place))),
            Entrance::Refused(place) => drop(tokio::spawn(chat.refuse(stream, place))),
            Entrance::Dropped => {}
        }
    }

    async fn refuse(self: Arc<Self>, stream: TcpStream, _place: Place) {
        tokio::select! {
            () = shutdown::refuse(stream, self.acceptor.clone(), NO_ROOM) => {}
            () = self.connections.shut_down_since(REQUEST_GRACE) => {}
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Place) {
        let started = Instant::now();
        // Boxed: the handshake's future is gone when the connection only waits.
        let user = match Box::pin(self.open(stream, &place)).await {
            Ok(Some(user)) => user,
            Ok(None) => return,
            Err(error) => return tracing::info!(%peer, %error, "a connection was refused"),
        };
        let ended = user.run(&self, &place).await;
        let seconds = started.elapsed().as_secs_f64();
        let id = place.id();
        match ended {
            Ok(()) => tracing::info!(%peer, id, seconds, "a connection ended"),
            Err(error) => tracing::info!(%peer, id, seconds, %error, "a connection ended"),
        }
    }

    /// Shakes hands; `None` if there is nobody to serve.
    async fn open(&self, stream: TcpStream, place: &Place) -> Result<Option<User>, Error> {
        let request = tokio::select! {
            request = self.acceptor.read_http(stream) => request?,
            // Nothing to say goodbye to: a socket that was opened in advance, most likely.
            () = self.connections.shut_down_since(REQUEST_GRACE) => return Ok(None),
        };
        // The server was asked to stop while the request was on its way.
        if self.connections.is_shutting_down() {
            request.respond(&NO_ROOM.response()).await?;
            return Ok(None);
        }
        let request = request.upgrade().await?;
        let Some(room) = RoomName::of_path(request.uri().path()) else {
            request.reject(http::StatusCode::NOT_FOUND, "there are /, /ws and /rooms/NAME here").await?;
            return Ok(None);
        };
        let ws = request.accept().await?;
        let is_json = ws.negotiated().subprotocol.is_some();
        let (sender, receiver) = ws.split();
        let mailbox = Arc::new(Mailbox::default());
        place.register(sender.clone(), mailbox.clone());
        let line = Line { sender, receiver, mailbox };
        Ok(Some(if is_json {
            User::Json(Box::new(json::User::new(line, room)))
        } else {
            User::Plain(plain::User::new(line, room, self.settings.max_text))
        }))
    }
}

/// A connection's ends.
struct Line {
    sender: Sender,
    receiver: Receiver,
    mailbox: Arc<Mailbox>,
}

impl Line {
    /// Where a room's messages go; `missed` makes the news that some didn't.
    fn outlet(&self, missed: impl Fn(&Missed) -> Prepared + Send + Sync + 'static) -> Arc<dyn Outlet> {
        let member = SocketMember::with_notice(self.sender.clone(), missed);
        Arc::new(LineOutlet { member, mailbox: self.mailbox.clone() })
    }
}

/// A connection as a room sees it.
struct LineOutlet {
    member: SocketMember,
    mailbox: Arc<Mailbox>,
}

impl Outlet for LineOutlet {
    fn deliver(&self, batch: &Batch, range: Range<usize>) -> Delivery {
        self.member.deliver(batch, range)
    }

    fn deliver_missed(&self, missed: Missed) -> Delivery {
        self.member.deliver_missed(missed)
    }

    fn wake_when_ready(&self, waker: &Waker) -> bool {
        self.member.wake_when_ready(waker)
    }

    fn on_too_slow(&self) {
        self.member.on_too_slow();
        // It has left: its task says so now, not when the connection has ended.
        self.mailbox.order(Order::TooSlow);
    }
}

/// A user, by the form that they speak.
enum User {
    Plain(plain::User),
    Json(Box<json::User>),
}

impl User {
    async fn run(self, chat: &Chat, place: &Place) -> Result<(), Error> {
        match self {
            // Each boxed: a task is no larger than its form needs.
            Self::Plain(user) => Box::pin(user.run(chat, place)).await,
            Self::Json(user) => Box::pin(user.run(chat, place)).await,
        }
    }
}
