//! A WebSocket connection, whole or in halves.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream as MessageStream;
use futures_sink::Sink;
use tokio::net::TcpStream;

use crate::handshake::Negotiated;
use crate::proto::deflate::DeflateConfig;
use crate::proto::{self, CloseFrame, Kind, Message, Piece, Prepared, Role};

use super::config::Config;
use super::connection::{Connection, Settings, Urgency};
use super::error::{Error, TrySendError};
use super::helpers::Helpers;
use super::reader::{NextMessage, Reader};
use super::sender::{MessageWriter, Permit, SendMessage, Sender};
use super::transport::{self, Stream};

/// A WebSocket connection on any stream, as server or as client.
///
/// One type, whatever was negotiated. Pings and the closing handshake are answered while [`WebSocket::recv`] is
/// polled, so keep receiving. The obvious loop is the fast one: what is sent between two `recv`s is written when
/// the input that has come is used up.
///
/// Dropped without [`WebSocket::close`] it goes on in the background: what is queued is written, then Close 1001,
/// within the write and close deadlines.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), switchboard::Error> {
/// # let (stream, theirs) = tokio::io::duplex(1 << 16);
/// # let client = tokio::spawn(async move {
/// #     let connector = switchboard::Connector::new(Default::default());
/// #     let (mut ws, _) = connector.connect_on("ws://example.com/", theirs).await?;
/// #     ws.send("Hello").await?;
/// #     assert_eq!(ws.recv().await?.unwrap().as_text(), Some("Hello"));
/// #     ws.close(None).await
/// # });
/// let mut ws = switchboard::WebSocket::accept(stream).await?;
/// while let Some(message) = ws.recv().await? {
///     ws.send(message).await?;
/// }
/// # drop(ws);
/// # client.await.unwrap()
/// # }
/// ```
pub struct WebSocket<S: Stream = TcpStream> {
    // Boxed, so that a task which holds it, and every future that it is moved through, stays small.
    halves: Box<Halves<S>>,
}

/// The two directions of a connection.
struct Halves<S: Stream> {
    // Dropped before the reader, which looks whether there are senders left.
    sender: Sender,
    reader: Reader<S>,
    /// `None` where nothing was agreed on.
    negotiated: Option<Arc<Negotiated>>,
}

/// What is negotiated where nothing is.
static NOTHING: Negotiated = Negotiated { subprotocol: None, deflate: None };

/// A million idle connections each hold them; they just fill a size class of jemalloc.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Halves<TcpStream>>() <= 160);

impl<S: Stream> WebSocket<S> {
    /// A connection on a stream whose opening handshake was done elsewhere.
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntime`] outside a tokio runtime.
    pub fn from_upgraded(stream: S, role: Role, negotiated: Negotiated) -> Result<Self, Error> {
        Self::from_parts(stream, role, negotiated, &Config::default(), Vec::new())
    }

    /// As [`WebSocket::from_upgraded`], with a configuration and the bytes that came behind the handshake.
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntime`] outside a tokio runtime.
    pub fn from_parts(
        stream: S,
        role: Role,
        negotiated: Negotiated,
        config: &Config,
        unread: Vec<u8>,
    ) -> Result<Self, Error> {
        let setup = Setup::new(role, config);
        Self::set_up(stream, &setup, negotiated, unread)
    }

    pub(super) fn set_up(
        stream: S,
        setup: &Setup,
        negotiated: Negotiated,
        unread: Vec<u8>,
    ) -> Result<Self, Error> {
        let Setup { settings, deflate, .. } = setup;
        let (role, limits) = (settings.role, settings.limits);
        let helpers = Helpers::current()?;
        let mut receiver = proto::Receiver::new(role, limits);
        let mut out = match role {
            Role::Server => proto::Sender::server(),
            Role::Client => proto::Sender::client(super::entropy::mask_key),
        };
        if let Some(params) = negotiated.deflate {
            receiver = receiver.with_deflate(params);
            out = out.with_deflate(params, deflate);
        }
        let (half, transport) = transport::split(stream);
        let connection = Connection::new(transport, out, settings.clone(), helpers);
        let sender = Sender::new(connection.clone());
        let reader = Reader::new(connection, half, receiver, unread);
        let negotiated = (negotiated != NOTHING).then(|| setup.share(negotiated));
        Ok(Self { halves: Box::new(Halves { sender, reader, negotiated }) })
    }

    /// Receives the next message; `None` once the peer has closed.
    ///
    /// If [`WebSocket::recv_piece`] gave a part of a message, the rest of that one is skipped.
    ///
    /// # Errors
    ///
    /// Whatever ended the connection: a rule that the peer broke, a deadline, a loss. Messages that came before it
    /// are returned first.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if it is dropped before it is ready.
    #[inline(always)]
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> + Send {
        // Neither an `async fn`, which moves every message once more, nor a `poll_fn`, which isn't always inlined.
        NextMessage(&mut self.halves.reader)
    }

    /// Receives the next piece of a message as its bytes arrive: text checked, compressed data inflated.
    ///
    /// While more than 256 compressed messages are under way in the process, those past that number come whole.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::recv`].
    pub async fn recv_piece(&mut self) -> Result<Option<Piece>, Error> {
        poll_fn(|cx| self.halves.reader.poll_piece(cx)).await
    }

    /// Sends a message. While input waits to be received it stays in the queue; else it is written at once.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has sent nothing; once ready the whole message is queued.
    #[inline(always)]
    pub fn send(&mut self, message: impl Into<Message>) -> impl Future<Output = Result<(), Error>> + Send {
        let urgency = self.urgency();
        SendMessage::new(self.halves.reader.connection(), message.into(), urgency)
    }

    /// As [`WebSocket::send`], but leaves the message to [`WebSocket::flush`], or to whatever is written next.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::send`].
    pub async fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.halves.sender.feed(message).await
    }

    /// Sends a message that was encoded before, by reference.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::send`].
    pub async fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), Error> {
        self.halves.sender.send_prepared_by(prepared, self.urgency()).await
    }

    /// Sends a message if there is room for it at once.
    ///
    /// # Errors
    ///
    /// As [`Sender::try_send`].
    pub fn try_send(&mut self, message: impl Into<Message>) -> Result<(), TrySendError<Message>> {
        self.halves.sender.try_send_by(message.into(), self.urgency())
    }

    /// Begins a message that is sent in pieces.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    ///
    /// # Cancel safety
    ///
    /// As [`Sender::begin`].
    pub async fn begin(&mut self, kind: Kind) -> Result<MessageWriter<'_>, Error> {
        self.halves.sender.begin(kind).await
    }

    /// Waits for room and takes it for one message.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    ///
    /// # Cancel safety
    ///
    /// As [`Sender::reserve`].
    pub async fn reserve(&mut self) -> Result<Permit<'_>, Error> {
        self.halves.sender.reserve_by(self.urgency()).await
    }

    /// Waits until everything that was sent is written.
    ///
    /// # Errors
    ///
    /// Whatever ended the connection.
    ///
    /// # Cancel safety
    ///
    /// As [`Sender::flush`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.halves.sender.flush().await
    }

    /// Queues a Ping of at most 125 bytes. Heartbeats go by themselves.
    ///
    /// # Errors
    ///
    /// As [`Sender::ping`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.halves.sender.ping(payload)
    }

    /// Closes: sends a Close behind everything else and waits for the peer's, and for the end of the stream.
    ///
    /// What the peer still sends is read and dropped. After the peer's Close it finishes that closing handshake.
    ///
    /// # Errors
    ///
    /// What ended the connection, if it wasn't the closing handshake; a peer that doesn't finish it in time is
    /// [`Timeout::Close`](super::Timeout::Close).
    ///
    /// # Cancel safety
    ///
    /// The Close is queued when it is first polled; calling it again waits on.
    pub async fn close(&mut self, frame: impl Into<Option<CloseFrame>>) -> Result<(), Error> {
        if !self.halves.sender.is_closed() {
            self.halves.sender.close(frame)?;
        }
        poll_fn(|cx| self.halves.reader.poll_close(cx)).await
    }

    /// A handle that sends on this connection from any task.
    pub fn sender(&mut self) -> Sender {
        self.halves.reader.track_task();
        self.halves.sender.clone()
    }

    /// Two halves that two tasks can use at once.
    pub fn split(mut self) -> (Sender, Receiver<S>) {
        self.halves.reader.track_task();
        let Halves { sender, reader, negotiated } = *self.halves;
        (sender, Receiver { reader: Box::new(reader), negotiated })
    }

    /// The Close with which the peer ended the connection, if it bore a code.
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.halves.reader.close_frame()
    }

    /// What the two sides agreed on in the handshake.
    pub fn negotiated(&self) -> &Negotiated {
        self.halves.negotiated.as_deref().unwrap_or(&NOTHING)
    }

    /// The round-trip time of the newest heartbeat that was answered.
    pub fn round_trip_time(&self) -> Option<Duration> {
        self.halves.sender.round_trip_time()
    }

    #[inline]
    fn urgency(&self) -> Urgency {
        if self.halves.reader.has_input() { Urgency::Deferred } else { Urgency::Now }
    }
}

impl<S: Stream> std::fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocket").field("negotiated", self.negotiated()).finish_non_exhaustive()
    }
}

/// Ends after the peer's Close, or after one error.
impl<S: Stream> MessageStream for WebSocket<S> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.halves.reader.poll_item(cx)
    }
}

/// `poll_close` goes through the whole closing handshake.
impl<S: Stream> Sink<Message> for WebSocket<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.halves.sender).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        Pin::new(&mut self.halves.sender).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.halves.sender).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.halves.sender.is_closed() {
            ready!(Pin::new(&mut self.halves.sender).poll_close(cx))?;
        }
        self.halves.reader.poll_close(cx)
    }
}

/// The receiving half, from [`WebSocket::split`].
///
/// Dropped while there are [`Sender`]s, the connection goes on: what comes is dropped, Pings are answered.
///
/// ```
/// # use switchboard::{Error, Role, WebSocket};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let (a, b) = tokio::io::duplex(1 << 16);
/// # let ws = WebSocket::from_upgraded(a, Role::Client, Default::default())?;
/// # let mut peer = WebSocket::from_upgraded(b, Role::Server, Default::default())?;
/// let (_sender, mut receiver) = ws.split();
/// peer.send("one").await?;
/// drop(peer);
/// assert_eq!(receiver.recv().await?.unwrap().as_text(), Some("one"));
/// // Dropped without a word it went away in order: a Close 1001.
/// assert!(receiver.recv().await?.is_none());
/// assert_eq!(receiver.close_frame().unwrap().code().get(), 1001);
/// # Ok(())
/// # }
/// ```
pub struct Receiver<S: Stream = TcpStream> {
    reader: Box<Reader<S>>,
    negotiated: Option<Arc<Negotiated>>,
}

impl<S: Stream> Receiver<S> {
    /// As [`WebSocket::recv`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if it is dropped before it is ready.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.reader.poll_message(cx)).await
    }

    /// As [`WebSocket::recv_piece`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    ///
    /// # Cancel safety
    ///
    /// As [`WebSocket::recv`].
    pub async fn recv_piece(&mut self) -> Result<Option<Piece>, Error> {
        poll_fn(|cx| self.reader.poll_piece(cx)).await
    }

    /// Waits for the end of a connection that [`Sender::close`] or the peer closes, dropping what still comes.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::close`].
    ///
    /// # Cancel safety
    ///
    /// Calling it again waits on.
    pub async fn closed(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.reader.poll_close(cx)).await
    }

    /// Another handle that sends.
    pub fn sender(&self) -> Sender {
        Sender::new(self.reader.connection().clone())
    }

    /// The Close with which the peer ended the connection, if it bore a code.
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.reader.close_frame()
    }

    /// What the two sides agreed on in the handshake.
    pub fn negotiated(&self) -> &Negotiated {
        self.negotiated.as_deref().unwrap_or(&NOTHING)
    }
}

impl<S: Stream> std::fmt::Debug for Receiver<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("negotiated", self.negotiated()).finish_non_exhaustive()
    }
}

/// Ends after the peer's Close, or after one error.
impl<S: Stream> MessageStream for Receiver<S> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.reader.poll_item(cx)
    }
}

/// What connections of one configuration share.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    settings: Arc<Settings>,
    deflate: DeflateConfig,
    /// What connections have agreed on so far, the first few different outcomes.
    outcomes: Arc<Mutex<Vec<Arc<Negotiated>>>>,
}

/// How many outcomes are shared: a peer that asks for odd windows must not make the list grow.
const MAX_OUTCOMES: usize = 8;

impl Setup {
    pub(super) fn new(role: Role, config: &Config) -> Self {
        Self {
            settings: Arc::new(Settings { role, limits: config.limits, timeouts: config.timeouts }),
            deflate: config.deflate.unwrap_or_default(),
            outcomes: Arc::default(),
        }
    }

    /// `negotiated`, in one allocation with all connections that have agreed on the same.
    fn share(&self, negotiated: Negotiated) -> Arc<Negotiated> {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = outcomes.iter().find(|known| ***known == negotiated) {
            return known.clone();
        }
        let new = Arc::new(negotiated);
        if outcomes.len() < MAX_OUTCOMES {
            outcomes.push(new.clone());
        }
        new
    }
}
