//! `switchboard chat`: connections joined to rooms.
//!
//! One task a connection: it reads, and while its member is slow it waits for room and delivers what has waited.
//! Everything else comes to it straight from the hub, into its sender's queue.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::chat::name::UserName;
use crate::chat::rate::{RateLimit, Rates, Verdict};
use crate::chat::session::{Session, Step};
use crate::chat::wire::{self, RoomName};
use crate::handshake::RequestError;
use crate::hub::{self, Delivery, Hub, Membership, Missed, Outlet};
use crate::net::{Acceptor, Config, Error, Receiver, Sender, TrySendError};
use crate::proto::{CloseCode, CloseFrame, Prepared};

use super::listener;
use super::shutdown::{self, Shutdown};

/// How a chat server behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The connections' configuration.
    pub config: Config,
    /// The rooms'.
    pub hub: hub::Settings,
    /// What a connection may say.
    pub rates: Rates,
    /// The longest text in Unicode scalar values; by default only the message limit bounds it.
    pub max_text: Option<usize>,
    /// The most connections; by default as many as the system gives.
    pub max_connections: Option<usize>,
    /// How a stop is announced, and how long it may take.
    pub shutdown: shutdown::Settings,
}

/// How long a user has to give a name.
const NAME_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server that goes down waits for requests that haven't come.
const REQUEST_GRACE: Duration = Duration::from_secs(1);

/// What a refused connection is told about coming again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Its answer.
const NO_ROOM: RequestError = RequestError::NoRoom { retry_after: RETRY_AFTER };

struct Chat {
    settings: Settings,
    acceptor: Acceptor,
    hub: Arc<Hub>,
    connections: Connections,
}

/// Serves on `listener` until `stop` is ready, and then says goodbye to everybody.
///
/// # Cancel safety
///
/// Dropped it stops listening; the connections go on.
pub async fn serve(listener: TcpListener, settings: Settings, stop: impl Future<Output = ()>) {
    let chat = Arc::new(Chat {
        acceptor: Acceptor::new(settings.config.clone()),
        hub: Hub::new(settings.hub),
        connections: Connections::default(),
        settings,
    });
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            (stream, peer) = listener::accept(&listener) => {
                chat.spawn(stream, peer);
            }
            () = &mut stop => break,
        }
    }
    chat.connections.begin_shutdown();
    for (stream, peer) in listener::close(listener) {
        chat.spawn(stream, peer);
    }
    shutdown::drain(&*chat, chat.settings.shutdown).await;
}

impl Chat {
    /// Serves or refuses a connection, which counts from now on: a shutdown waits for it.
    fn spawn(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let chat = self.clone();
        match self.connections.enter(self.settings.max_connections) {
            Place::Served(id) => tokio::spawn(chat.connection(stream, peer, id)),
            Place::Refused => tokio::spawn(chat.refuse(stream)),
        };
    }

    async fn refuse(self: Arc<Self>, stream: TcpStream) {
        tokio::select! {
            () = shutdown::refuse(stream, self.acceptor.clone(), NO_ROOM) => {}
            () = self.connections.shut_down_since(REQUEST_GRACE) => {}
        }
        self.connections.leave(Place::Refused);
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, id: u64) {
        let started = Instant::now();
        let ended = Box::pin(self.serve_one(stream, id)).await;
        let seconds = started.elapsed().as_secs_f64();
        match ended {
            Ok(()) => tracing::info!(%peer, seconds, "a connection ended"),
            Err(error) => tracing::info!(%peer, seconds, %error, "a connection ended"),
        }
        self.connections.leave(Place::Served(id));
    }

    async fn serve_one(&self, stream: TcpStream, id: u64) -> Result<(), Error> {
        let request = tokio::select! {
            request = self.acceptor.read_http(stream) => request?,
            // Nothing to say goodbye to: a socket that was opened in advance, most likely.
            () = self.connections.shut_down_since(REQUEST_GRACE) => return Ok(()),
        };
        // The server was asked to stop while the request was on its way.
        if self.connections.is_shutting_down() {
            return request.respond(&NO_ROOM.response()).await;
        }
        let request = request.upgrade().await?;
        let Some(room) = RoomName::of_path(request.uri().path()) else {
            return request
                .reject(http::StatusCode::NOT_FOUND, "there are /, /ws and /rooms/NAME here")
                .await;
        };
        let (sender, receiver) = request.accept().await?.split();
        self.connections.register(id, sender.clone());
        let user =
            User { sender, receiver, session: Session::new(self.settings.max_text), lag: Arc::default() };
        user.run(self, &room).await
    }
}

/// One connection's side of the chat.
struct User {
    sender: Sender,
    receiver: Receiver,
    session: Session,
    lag: Arc<Lag>,
}

/// A user who is in a room.
struct Joined {
    name: UserName,
    membership: Membership,
}

impl User {
    async fn run(mut self, chat: &Chat, room: &RoomName) -> Result<(), Error> {
        let named = tokio::time::timeout(NAME_TIMEOUT, self.join(chat, room)).await;
        let joined = match named {
            Ok(joined) => joined?,
            Err(_) => {
                self.act(Session::timed_out())?;
                return self.receiver.closed().await;
            }
        };
        let Some(Joined { name, membership }) = joined else { return self.receiver.closed().await };
        let ended = self.talk(chat, &name, &membership).await;
        // Told at once, however the connection ended; when everybody goes nobody is told.
        if chat.connections.is_shutting_down() {
            drop(membership);
        } else {
            membership.leave(&wire::left(&name).into());
        }
        ended?;
        self.receiver.closed().await
    }

    /// Waits for a name that can be had; `None` if the connection closes before that.
    async fn join(&mut self, chat: &Chat, room: &RoomName) -> Result<Option<Joined>, Error> {
        while let Some(message) = self.receiver.recv().await? {
            let step = match self.session.receive(&message) {
                Step::Join(name) => {
                    let outlet =
                        Arc::new(SocketOutlet { sender: self.sender.clone(), lag: self.lag.clone() });
                    let lines = (&wire::welcome(&name).into(), &wire::joined(&name).into());
                    match chat.hub.join(room.as_str(), name.keys(), outlet, lines) {
                        Ok(membership) => {
                            self.session.joined();
                            return Ok(Some(Joined { name, membership }));
                        }
                        Err(error) => self.session.refused(&error),
                    }
                }
                step => step,
            };
            if self.act(step)? == Flow::End {
                return Ok(None);
            }
        }
        Ok(None)
    }

    async fn talk(&mut self, chat: &Chat, name: &UserName, membership: &Membership) -> Result<(), Error> {
        let mut rate = RateLimit::new(chat.settings.rates, Instant::now());
        loop {
            let message = tokio::select! {
                message = self.receiver.recv() => message?,
                flow = self.lag.catch_up(&self.sender, membership) => match flow {
                    Flow::On => continue,
                    Flow::End => return Ok(()),
                },
            };
            let Some(message) = message else { return Ok(()) };
            let bytes = message.len();
            match self.session.receive(&message) {
                Step::Say(text) => membership.publish(&wire::said(name, &text).into()),
                step => {
                    if self.act(step)? == Flow::End {
                        return Ok(());
                    }
                }
            }
            if self.slow_down(rate.count(bytes, Instant::now()), membership).await? == Flow::End {
                return Ok(());
            }
        }
    }

    /// Reads no further for a while, if the user says too much; what others say goes on coming.
    async fn slow_down(&mut self, verdict: Verdict, membership: &Membership) -> Result<Flow, Error> {
        match verdict {
            Verdict::Fine => Ok(Flow::On),
            Verdict::Delay(delay) => {
                let end = tokio::time::Instant::now() + delay;
                loop {
                    let caught_up = self.lag.catch_up(&self.sender, membership);
                    match tokio::time::timeout_at(end, caught_up).await {
                        Ok(Flow::On) => {}
                        Ok(Flow::End) => return Ok(Flow::End),
                        Err(_) => return Ok(Flow::On),
                    }
                }
            }
            Verdict::Abuse => {
                let frame = CloseFrame::new(CloseCode::POLICY_VIOLATION, "too many messages for too long");
                self.sender.close(frame.ok())?;
                Ok(Flow::End)
            }
        }
    }

    fn act(&mut self, step: Step) -> Result<Flow, Error> {
        match step {
            Step::Ignore | Step::Join(_) | Step::Say(_) => Ok(Flow::On),
            Step::Complain(why) => {
                self.tell(&wire::error(why))?;
                Ok(Flow::On)
            }
            Step::Close(why, frame) => {
                self.tell(&wire::error(why))?;
                self.sender.close(frame)?;
                Ok(Flow::End)
            }
        }
    }

    fn tell(&self, line: &Prepared) -> Result<(), Error> {
        match self.sender.try_send_prepared(line) {
            // Whoever doesn't read its complaints doesn't get more of them.
            Ok(()) | Err(TrySendError::Full(())) => Ok(()),
            Err(TrySendError::Refused(error)) => Err(error),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    End,
}

/// How a member lags behind, as the hub tells its connection's task.
#[derive(Default)]
struct Lag {
    /// Told when it becomes slow, and when it is out.
    news: Notify,
    /// Whether it was too slow: the hub has put it out, and its connection closes.
    is_out: AtomicBool,
}

impl Lag {
    /// Once the member is slow: waits until its socket has room again, and delivers what has waited. Ends with a
    /// member that is out.
    ///
    /// A future that is dropped in between leaves the member slow, and the next one goes on.
    async fn catch_up(&self, sender: &Sender, membership: &Membership) -> Flow {
        self.news.notified().await;
        // Given back if this is dropped while it waits.
        let pending = Renotify(&self.news);
        tokio::select! {
            // An error shows at the next read.
            _ = sender.room() => {}
            // It is out.
            () = self.news.notified() => {}
        }
        std::mem::forget(pending);
        if self.is_out.load(Ordering::Acquire) {
            return Flow::End;
        }
        membership.resume();
        Flow::On
    }
}

/// Gives a notification back when it is dropped.
struct Renotify<'a>(&'a Notify);

impl Drop for Renotify<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// A connection as the hub sees it.
struct SocketOutlet {
    sender: Sender,
    lag: Arc<Lag>,
}

impl Outlet for SocketOutlet {
    fn deliver(&self, message: &Prepared) -> Delivery {
        match self.sender.try_send_prepared(message) {
            Ok(()) => Delivery::Taken,
            Err(TrySendError::Full(())) => Delivery::Full,
            Err(TrySendError::Refused(_)) => Delivery::Closed,
        }
    }

    fn deliver_missed(&self, missed: Missed) -> Delivery {
        self.deliver(&wire::missed(missed))
    }

    fn on_slow(&self) {
        self.lag.news.notify_one();
    }

    fn on_too_slow(&self) {
        let frame = CloseFrame::new(CloseCode::TRY_AGAIN_LATER, "your connection is too slow for this room");
        // It may be closed already.
        let _ = self.sender.cut_and_close(frame.ok());
        // It has left: its task says so now, not when the connection has ended.
        self.lag.is_out.store(true, Ordering::Release);
        self.lag.news.notify_one();
    }
}

/// Who is connected.
#[derive(Default)]
struct Connections {
    state: Mutex<ConnectionsState>,
    /// Told when somebody goes.
    gone: Notify,
    /// Told when the shutdown begins.
    shutdown: Notify,
}

#[derive(Default)]
struct ConnectionsState {
    next_id: u64,
    /// Bounded by `Settings::max_connections`.
    served: usize,
    refused: usize,
    /// Those whose handshake is done.
    senders: HashMap<u64, Sender>,
    is_shutting_down: bool,
}

/// A place among the connections.
enum Place {
    /// By its number.
    Served(u64),
    /// There was no room; it is told so.
    Refused,
}

impl Connections {
    fn lock(&self) -> std::sync::MutexGuard<'_, ConnectionsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, max: Option<usize>) -> Place {
        let mut state = self.lock();
        if state.is_shutting_down || max.is_some_and(|max| state.served >= max) {
            state.refused += 1;
            return Place::Refused;
        }
        state.served += 1;
        state.next_id += 1;
        Place::Served(state.next_id)
    }

    fn register(&self, id: u64, sender: Sender) {
        let mut state = self.lock();
        if state.is_shutting_down {
            let frame = shutdown::going_away(RETRY_AFTER);
            let _ = sender.close(frame);
        }
        state.senders.insert(id, sender);
    }

    fn leave(&self, place: Place) {
        let mut state = self.lock();
        let sender = match place {
            Place::Served(id) => {
                state.served -= 1;
                state.senders.remove(&id)
            }
            Place::Refused => {
                state.refused -= 1;
                None
            }
        };
        drop(state);
        // Outside the lock: it may be the last one.
        drop(sender);
        self.gone.notify_waiters();
    }

    /// Ready when the shutdown began so long ago.
    async fn shut_down_since(&self, grace: Duration) {
        let shutdown = self.shutdown.notified();
        if !self.is_shutting_down() {
            shutdown.await;
        }
        tokio::time::sleep(grace).await;
    }

    fn begin_shutdown(&self) {
        self.lock().is_shutting_down = true;
        self.shutdown.notify_waiters();
    }

    fn is_shutting_down(&self) -> bool {
        self.lock().is_shutting_down
    }
}

impl Shutdown for Chat {
    fn clients(&self) -> Vec<Sender> {
        self.connections.lock().senders.values().cloned().collect()
    }

    fn left(&self) -> usize {
        let state = self.connections.lock();
        state.served + state.refused
    }

    async fn somebody_gone(&self) {
        self.connections.gone.notified().await;
    }
}
