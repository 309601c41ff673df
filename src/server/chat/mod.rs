//! `switchboard chat`: connections joined to rooms.
//!
//! One task a connection: it reads, and answers what was asked. What others say comes to it straight from the hub,
//! into its socket.

mod access;
mod api;
mod connections;
mod json;
mod line;
mod mailbox;
mod plain;
mod web;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::net::{TcpListener, TcpStream};

use crate::chat::rate::Rates;
use crate::chat::room_name::RoomName;
use crate::chat::rooms::{self, Rooms};
use crate::chat::sessions::Sessions;
use crate::chat::store::Store;
use crate::chat::wire;
use crate::handshake::RequestError;
use crate::net::{Acceptor, Config, Error, Sender};
use crate::proto::CloseCode;

use super::auth::{Action, ApiKeys};
use super::client_address::TrustedProxies;
use super::http_api::Api;
use super::listener;
use super::metrics::{ClosedBy, Metrics, Refused, Snapshot};
use super::proxy_protocol::{self, ProxyHeader};
use super::shutdown;

pub use access::Auth;
pub use connections::Limits;

use connections::{Connections, Entrance, Place};
use line::{Line, Tally};
use mailbox::Mailbox;
use web::Door;

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
    /// How users say who they are.
    pub auth: Auth,
    /// Who may use the HTTP API; without keys nobody.
    pub api_keys: Option<ApiKeys>,
    /// Whose word about their clients' addresses is taken.
    pub proxies: TrustedProxies,
    /// Whether connections of trusted proxies begin with the PROXY protocol, and there are no others.
    pub proxy_protocol: bool,
    /// For how long a server that was told to stop goes on accepting, so that balancers hear of it.
    pub drain_delay: Duration,
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
    metrics: Arc<Metrics>,
    api: Api,
    /// Whether the administrators have an address of their own.
    has_admin_door: AtomicBool,
    is_draining: AtomicBool,
}

/// What a server listens on, and what it keeps.
pub struct Parts {
    /// For everybody.
    pub listener: TcpListener,
    /// For administrators, if they have an address of their own.
    pub admin: Option<TcpListener>,
    /// Where the history is kept.
    pub store: Option<Arc<Store>>,
    /// Whose sessions there are.
    pub sessions: Arc<Sessions>,
}

/// Serves until `stop` is ready, and then says goodbye to everybody.
///
/// # Cancel safety
///
/// Dropped it stops listening; the connections go on.
pub async fn serve(parts: Parts, settings: Settings, stop: impl Future<Output = ()>) {
    let Parts { listener, admin, store, sessions } = parts;
    let mut config = settings.config.clone();
    config.subprotocols = vec![wire::json::SUBPROTOCOL.to_owned()];
    let rooms = Arc::new(Rooms::new(settings.rooms, store.clone()));
    let metrics = Arc::new(Metrics::new(snapshot(rooms.clone(), sessions.clone())));
    let chat = Arc::new(Chat {
        acceptor: Acceptor::new(config),
        rooms,
        sessions,
        connections: Arc::default(),
        metrics,
        api: Api::new(settings.api_keys.clone()),
        has_admin_door: AtomicBool::new(admin.is_some()),
        is_draining: AtomicBool::new(false),
        settings,
    });
    let mut tidy = tokio::time::interval(TIDY_EVERY);
    let stop = async {
        stop.await;
        chat.is_draining.store(true, Ordering::Relaxed);
        tokio::time::sleep(chat.settings.drain_delay).await;
    };
    let mut stop = std::pin::pin!(stop);
    let next_admin = async |admin: &Option<TcpListener>| match admin {
        Some(admin) => listener::accept(admin).await,
        None => std::future::pending().await,
    };
    loop {
        tokio::select! {
            (stream, peer) = listener::accept(&listener) => chat.spawn(stream, peer),
            (stream, _) = next_admin(&admin) => drop(tokio::spawn(chat.clone().administrate(stream))),
            _ = tidy.tick() => chat.rooms.tidy(),
            () = &mut stop => break,
        }
    }
    chat.connections.begin_shutdown();
    for (stream, peer) in listener::close(listener) {
        chat.spawn(stream, peer);
    }
    // Whoever watches from the administrators' door still hears that the server goes down.
    let administration = async {
        loop {
            let (stream, _) = next_admin(&admin).await;
            drop(tokio::spawn(chat.clone().administrate(stream)));
        }
    };
    tokio::select! {
        () = shutdown::drain(&*chat.connections, chat.settings.shutdown) => {}
        () = administration => {}
    }
    if let Some(store) = store {
        // It waits for the disk.
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
    }
}

/// What the metrics ask for.
fn snapshot(rooms: Arc<Rooms>, sessions: Arc<Sessions>) -> impl Fn() -> Snapshot + Send + Sync {
    move || {
        let all = rooms.all();
        let books = rooms.accounting();
        let sum =
            |of: &dyn Fn(&crate::chat::room::Room) -> usize| all.iter().map(|room| of(room) as u64).sum();
        Snapshot {
            addressed: books.addressed,
            delivered: books.delivered,
            dropped: books.dropped,
            pending: books.pending,
            abandoned: books.abandoned,
            rooms: all.len() as u64,
            members: sum(&|room| room.count()),
            slow_members: sum(&|room| room.hub().slow_members()),
            sessions_held: sessions.held() as u64,
            queue_bytes: sum(&|room| room.hub().waiting_bytes()),
            history_bytes: sum(&|room| room.hub().look(|view| view.history_bytes())),
        }
    }
}

impl Chat {
    /// Serves or refuses a connection, which counts from now on: a shutdown waits for it.
    fn spawn(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let chat = self.clone();
        let mut limits = self.settings.connections;
        if self.settings.proxies.trusts(peer.ip()) {
            // It is many clients, each of whom is counted once the proxy has said whose connection it is.
            limits.per_address = None;
        }
        match self.connections.enter(peer, limits) {
            Entrance::Served(place) => drop(tokio::spawn(chat.connection(stream, peer, place))),
            Entrance::Refused(place, reason) => {
                self.metrics.on_refused(reason);
                drop(tokio::spawn(chat.refuse(stream, peer, place)));
            }
            Entrance::Dropped => self.metrics.on_refused(Refused::Limit),
        }
    }

    async fn refuse(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr, _place: Place) {
        let refused = async {
            // What a proxy says comes before the request.
            if self.peer(&mut stream, peer).await.is_some() {
                shutdown::refuse(stream, self.acceptor.clone(), NO_ROOM).await;
            }
        };
        tokio::select! {
            () = refused => {}
            () = self.connections.shut_down_since(REQUEST_GRACE) => {}
        }
    }

    /// Answers a request at the administrators' door.
    async fn administrate(self: Arc<Self>, stream: TcpStream) {
        let Ok(request) = self.acceptor.read_http(stream).await else { return };
        if let Err(error) = self.answer(request, Door::Admin).await {
            tracing::debug!(%error, "a request of an administrator wasn't answered");
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, mut place: Place) {
        let started = Instant::now();
        self.metrics.connections_accepted.inc();
        let open = Open::new(&self.metrics);
        let user = match self.open(stream, peer, &mut place).await {
            Ok(Some(user)) => user,
            Ok(None) => return,
            Err(error) => {
                self.on_refused(&error);
                return tracing::info!(%peer, %error, "a connection was refused");
            }
        };
        let visit =
            Visit { place, sender: user.sender(), tally: user.tally(), started, _open: open, chat: self };
        // A task of its own, no larger than its form needs: what the handshake took goes with this one.
        match user {
            User::Plain(user) => drop(tokio::spawn(async move {
                let ended = user.run(&visit.chat, &visit.place).await;
                visit.end(ended);
            })),
            User::Json(user) => drop(tokio::spawn(async move {
                let ended = user.run(&visit.chat, &visit.place).await;
                visit.end(ended);
            })),
        }
    }

    fn on_refused(&self, error: &Error) {
        if let Error::Request(error) = error {
            self.metrics.on_handshake_failed(error.status());
        }
    }

    /// Shakes hands, or answers plain HTTP; `None` if there is nobody to serve.
    async fn open(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        place: &mut Place,
    ) -> Result<Option<User>, Error> {
        let Some(peer) = self.peer(&mut stream, peer).await else {
            self.metrics.on_refused(Refused::ProxyProtocol);
            return Ok(None);
        };
        let request = tokio::select! {
            request = self.acceptor.read_http(stream) => request?,
            // Nothing to say goodbye to: a socket that was opened in advance, most likely.
            () = self.connections.shut_down_since(REQUEST_GRACE) => return Ok(None),
        };
        let client = self.settings.proxies.client(peer, request.head().headers());
        let is_crowd = !place.comes_from(client, self.settings.connections);
        // The server was asked to stop while the request was on its way, or there are too many from there.
        if self.connections.is_shutting_down() || is_crowd {
            let reason = if is_crowd { Refused::AddressLimit } else { Refused::ShuttingDown };
            self.metrics.on_refused(reason);
            request.respond(&NO_ROOM.response()).await?;
            return Ok(None);
        }
        if !request.is_upgrade() {
            self.answer(request, Door::Public).await?;
            return Ok(None);
        }
        let request = request.upgrade().await?;
        let Some(room) = RoomName::of_path(request.uri().path()) else {
            self.metrics.on_refused(Refused::NotFound);
            request.reject(StatusCode::NOT_FOUND, "there are /, /ws and /rooms/NAME here").await?;
            return Ok(None);
        };
        let is_json = request.offered_subprotocols().iter().any(|offer| offer == wire::json::SUBPROTOCOL);
        let rights = self.settings.auth.rights(request.headers(), request.offered_subprotocols(), is_json);
        let rights = match rights {
            Ok(rights) => rights,
            Err(error) => {
                self.metrics.on_refused(Refused::Unauthorized);
                request.reject(StatusCode::UNAUTHORIZED, &error.to_string()).await?;
                return Ok(None);
            }
        };
        if !is_json && !rights.may(Action::Join, &room) {
            self.metrics.on_refused(Refused::Unauthorized);
            request.reject(StatusCode::FORBIDDEN, "your token doesn't let you into this room").await?;
            return Ok(None);
        }
        let ws = request.accept().await?;
        let (sender, receiver) = ws.split();
        let mailbox = Arc::new(Mailbox::default());
        place.register(sender.clone(), mailbox.clone(), if is_json { "json" } else { "text" });
        let (metrics, tally) = (self.metrics.clone(), Arc::default());
        let line = Line { sender, receiver, mailbox, metrics, tally };
        Ok(Some(if is_json {
            User::Json(Box::new(json::User::new(line, room, rights)))
        } else {
            User::Plain(Box::new(plain::User::new(line, room, rights, self.settings.max_text)))
        }))
    }

    /// Where a connection comes from, once the proxy has said so; `None` if it had to and didn't.
    async fn peer(&self, stream: &mut TcpStream, peer: SocketAddr) -> Option<IpAddr> {
        if !self.settings.proxy_protocol {
            return Some(peer.ip());
        }
        if !self.settings.proxies.trusts(peer.ip()) {
            tracing::info!(%peer, "a connection was refused: it doesn't come from a --trusted-proxy");
            return None;
        }
        let read = proxy_protocol::read(stream);
        match tokio::time::timeout(self.settings.config.timeouts.handshake.unwrap_or(NAME_TIMEOUT), read)
            .await
        {
            Ok(Ok(ProxyHeader::Proxied { source, .. })) => Some(source.ip()),
            Ok(Ok(ProxyHeader::Local)) => Some(peer.ip()),
            Ok(Err(error)) => {
                tracing::info!(%peer, %error, "a connection was refused");
                None
            }
            Err(_) => None,
        }
    }
}

/// A connection whose user is served.
struct Visit {
    place: Place,
    sender: Sender,
    tally: Arc<Tally>,
    started: Instant,
    _open: Open,
    // Dropped last: a place is one of its connections.
    chat: Arc<Chat>,
}

impl Visit {
    /// Keeps the books of a connection that has ended.
    fn end(self, ended: Result<(), Error>) {
        let Self { place, sender, tally, started, chat, .. } = &self;
        if let Some(time) = sender.round_trip_time() {
            chat.metrics.on_round_trip(time);
        }
        let stopped = || chat.connections.is_shutting_down().then_some(CloseCode::GOING_AWAY);
        let ours = tally.ours().or_else(|| ended.as_ref().err().and_then(Error::close_code)).or_else(stopped);
        match (&ended, ours) {
            (_, Some(code)) => chat.metrics.on_closed(ClosedBy::Server, Some(code)),
            (Ok(()), None) => chat.metrics.on_closed(ClosedBy::Client, tally.theirs()),
            (Err(_), None) => chat.metrics.on_lost(),
        }
        let (name, rooms) = place.description();
        tracing::info!(
            client = %place.address(),
            id = place.id(),
            // Quoted, so that none looks like another member of the line.
            name = name.map(tracing::field::debug),
            rooms = %rooms.join(" "),
            bytes = tally.bytes(),
            code = ours.or(tally.theirs()).map(CloseCode::get),
            seconds = started.elapsed().as_secs_f64(),
            error = ended.err().map(tracing::field::display),
            "a connection ended"
        );
    }
}

/// A connection that counts as open.
struct Open(Arc<Metrics>);

impl Open {
    fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.connections.inc();
        Self(metrics.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

/// A user, by the form that they speak.
enum User {
    Plain(Box<plain::User>),
    Json(Box<json::User>),
}

impl User {
    fn sender(&self) -> Sender {
        match self {
            Self::Plain(user) => user.sender(),
            Self::Json(user) => user.sender(),
        }
    }

    fn tally(&self) -> Arc<Tally> {
        match self {
            Self::Plain(user) => user.tally(),
            Self::Json(user) => user.tally(),
        }
    }
}
