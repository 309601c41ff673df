//! The sending half: a handle that can be cloned and used by any number of tasks at once.

use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_sink::Sink;
use tokio::task;

use crate::proto::{Batch, CloseFrame, Kind, Message, Piece, Prepared};

use super::connection::{Connection, Outlet, Sent, Ticket, Urgency};
use super::error::{Error, TrySendError};
use super::transport::Stream;

/// Sends on a connection, from any task.
///
/// Cloning is cheap. Messages of one `Sender` arrive in the order in which they were sent, and so do those of
/// several that are sent one after the other. A message is written at once, or, from the task that also reads the
/// connection, when the input that has come is used up.
///
/// When the last `Sender` and the reading half are gone, the connection is closed with 1001.
///
/// ```
/// # use switchboard::{Error, Role, WebSocket};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let (a, b) = tokio::io::duplex(1 << 16);
/// # let ws = WebSocket::from_upgraded(a, Role::Client, Default::default())?;
/// # let mut peer = WebSocket::from_upgraded(b, Role::Server, Default::default())?;
/// let (sender, mut receiver) = ws.split();
/// for name in ["Ada", "Grace"] {
///     let sender = sender.clone();
///     tokio::spawn(async move { sender.send(name).await });
/// }
/// assert_eq!(peer.recv().await?.unwrap().as_text(), Some("Ada"));
/// assert_eq!(peer.recv().await?.unwrap().as_text(), Some("Grace"));
/// peer.send("hello, both").await?;
/// assert_eq!(receiver.recv().await?.unwrap().as_text(), Some("hello, both"));
/// # Ok(())
/// # }
/// ```
pub struct Sender {
    outlet: Arc<dyn Outlet>,
    /// What the [`Sink`] is at, once it was used as one.
    sink: Option<Box<SinkState>>,
}

#[derive(Default)]
struct SinkState {
    /// Its place among the waiters.
    ticket: Option<Ticket>,
    /// Whether `poll_ready` has taken room that `start_send` hasn't used.
    has_permit: bool,
    flush_target: Option<u64>,
}

impl Sender {
    pub(super) fn new(outlet: Arc<dyn Outlet>) -> Self {
        outlet.retain();
        Self { outlet, sink: None }
    }

    /// Sends a message: waits for room in the queue, encodes it and writes as much as the socket takes.
    ///
    /// # Errors
    ///
    /// Whatever ended the connection, and [`SendError::Closed`](crate::proto::SendError::Closed) after a Close.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has sent nothing; once ready the whole message is queued and will be written,
    /// whatever is dropped.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.send_by(message.into(), Urgency::ByTask).await
    }

    /// As [`Sender::send`], but leaves the message to [`Sender::flush`], or to whatever is written next.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    ///
    /// # Cancel safety
    ///
    /// As [`Sender::send`].
    pub async fn feed(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.send_by(message.into(), Urgency::Fed).await
    }

    async fn send_by(&self, message: Message, urgency: Urgency) -> Result<(), Error> {
        take_turns(urgency).await;
        let mut message = message;
        loop {
            match self.outlet.try_send(message, urgency) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Refused(error)) => return Err(error),
                Err(TrySendError::Full(back)) => message = back,
            }
            self.room().await?;
        }
    }

    /// Sends a message that was encoded before, by reference.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    ///
    /// # Cancel safety
    ///
    /// As [`Sender::send`].
    pub async fn send_prepared(&self, prepared: &Prepared) -> Result<(), Error> {
        self.send_prepared_by(prepared, Urgency::ByTask).await
    }

    pub(super) async fn send_prepared_by(&self, prepared: &Prepared, urgency: Urgency) -> Result<(), Error> {
        take_turns(urgency).await;
        loop {
            match self.outlet.try_send_prepared(prepared, urgency) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Refused(error)) => return Err(error),
                Err(TrySendError::Full(())) => self.room().await?,
            }
        }
    }

    /// Sends a message if there is room for it at once.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] gives the message back, [`TrySendError::Refused`] says why it can't be sent.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError<Message>> {
        self.try_send_by(message.into(), Urgency::ByTask)
    }

    pub(super) fn try_send_by(
        &self,
        message: Message,
        urgency: Urgency,
    ) -> Result<(), TrySendError<Message>> {
        self.outlet.try_send(message, urgency)
    }

    /// Sends a message that was encoded before, if there is room for it at once.
    ///
    /// # Errors
    ///
    /// As [`Sender::try_send`].
    pub fn try_send_prepared(&self, prepared: &Prepared) -> Result<(), TrySendError<()>> {
        self.outlet.try_send_prepared(prepared, Urgency::ByTask)
    }

    /// Sends the messages of `batch` in `range` as far as the socket takes them now, and returns how many that are.
    ///
    /// For whoever keeps the messages anyway and sends them to many, such as a hub: nothing but the message that the
    /// socket took a part of stays in this connection's queue, however slow its peer is. While anything else is
    /// queued none are taken. On a server all of a batch is one write; a client, which masks, sends one by one and
    /// queues them.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    ///
    /// # Panics
    ///
    /// If `range` isn't within the batch.
    pub fn try_send_batch(&self, batch: &Batch, range: Range<usize>) -> Result<usize, Error> {
        self.outlet.try_send_batch(batch, range)
    }

    /// Has `waker` woken once everything queued is written, or the connection has ended; `true` if that is so
    /// already, and then it isn't. It is woken once, perhaps too early, so ask again.
    pub fn wake_when_written(&self, waker: &Waker) -> bool {
        self.outlet.wake_when_written(waker)
    }

    /// Waits for room and takes it for one message.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has taken no room.
    pub async fn reserve(&self) -> Result<Permit<'_>, Error> {
        self.reserve_by(Urgency::ByTask).await
    }

    pub(super) async fn reserve_by(&self, urgency: Urgency) -> Result<Permit<'_>, Error> {
        take_turns(urgency).await;
        Wait::new(&*self.outlet, |outlet, cx, ticket| outlet.poll_reserve(cx, ticket)).done().await?;
        Ok(Permit { outlet: &*self.outlet, urgency })
    }

    /// Begins a message that is sent in pieces. Other senders' messages wait until it is finished; it waits for
    /// [`Permit`]s that are outstanding, a `Sink` that is ready among them.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has begun nothing.
    pub async fn begin(&self, kind: Kind) -> Result<MessageWriter<'_>, Error> {
        Wait::new(&*self.outlet, |outlet, cx, ticket| outlet.poll_begin(cx, ticket)).done().await?;
        Ok(MessageWriter { outlet: &*self.outlet, kind, is_halfway: false })
    }

    /// Waits until everything that was queued before is written.
    ///
    /// # Errors
    ///
    /// Whatever ended the connection.
    ///
    /// # Cancel safety
    ///
    /// What is queued will be written, whether this is dropped or not.
    pub async fn flush(&self) -> Result<(), Error> {
        let mut target = None;
        Wait::new(&*self.outlet, move |outlet, cx, ticket| outlet.poll_flushed(cx, ticket, &mut target))
            .done()
            .await
    }

    /// Queues a Ping of at most 125 bytes. Heartbeats go by themselves: this is for whoever wants more.
    ///
    /// # Errors
    ///
    /// [`SendError::ControlTooLong`](crate::proto::SendError::ControlTooLong); otherwise as [`Sender::send`].
    pub fn ping(&self, payload: &[u8]) -> Result<(), Error> {
        self.outlet.ping(payload)
    }

    /// Queues a Close behind everything that was sent, and returns at once.
    ///
    /// The reading half gets what the peer still sends, and then the end. Nothing can be sent any more.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`](crate::proto::SendError::Closed) if it was closed before.
    pub fn close(&self, frame: impl Into<Option<CloseFrame>>) -> Result<(), Error> {
        self.outlet.close(frame.into().as_ref())
    }

    /// Drops what is queued but not begun to be written, and closes: for a peer that is too slow to be waited for.
    ///
    /// A Close that was queued before stays and goes out in place of this one.
    ///
    /// Returns how many bytes were dropped.
    ///
    /// # Errors
    ///
    /// As [`Sender::close`].
    pub fn cut_and_close(&self, frame: impl Into<Option<CloseFrame>>) -> Result<usize, Error> {
        self.outlet.cut_and_close(frame.into().as_ref())
    }

    /// Waits until [`Sender::try_send`] has room, or fails for another reason.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    ///
    /// # Cancel safety
    ///
    /// It changes nothing.
    pub async fn room(&self) -> Result<(), Error> {
        Wait::new(&*self.outlet, |outlet, cx, ticket| outlet.poll_room(cx, ticket)).done().await
    }

    /// Bytes that are queued and not written.
    pub fn queued_bytes(&self) -> usize {
        self.outlet.queued_bytes()
    }

    /// Whether nothing can be sent any more.
    pub fn is_closed(&self) -> bool {
        self.outlet.is_closed()
    }

    /// The round-trip time of the newest heartbeat that was answered.
    pub fn round_trip_time(&self) -> Option<Duration> {
        self.outlet.round_trip()
    }
}

impl Clone for Sender {
    fn clone(&self) -> Self {
        Self::new(self.outlet.clone())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(sink) = &self.sink {
            if let Some(ticket) = sink.ticket {
                self.outlet.stop_waiting(ticket);
            }
            if sink.has_permit {
                self.outlet.unreserve();
            }
        }
        self.outlet.release();
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("queued_bytes", &self.queued_bytes()).finish_non_exhaustive()
    }
}

/// `poll_close` queues a Close without waiting for the peer's.
impl Sink<Message> for Sender {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Self { outlet, sink } = &mut *self;
        let sink = sink.get_or_insert_default();
        if !sink.has_permit {
            // As `take_turns`.
            let budget = ready!(task::coop::poll_proceed(cx));
            ready!(outlet.poll_reserve(cx, &mut sink.ticket))?;
            budget.made_progress();
            sink.has_permit = true;
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let Self { outlet, sink } = &mut *self;
        let sent = outlet.send_reserved(message, Urgency::Fed);
        if std::mem::take(&mut sink.get_or_insert_default().has_permit) {
            outlet.unreserve();
        }
        sent
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Self { outlet, sink } = &mut *self;
        let SinkState { ticket, flush_target, .. } = &mut **sink.get_or_insert_default();
        let flushed = ready!(outlet.poll_flushed(cx, ticket, flush_target));
        *flush_target = None;
        Poll::Ready(flushed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.outlet.is_closed() {
            self.outlet.close(Some(&crate::proto::CloseCode::NORMAL.into()))?;
        }
        self.as_mut().poll_flush(cx)
    }
}

/// Room for one message, taken by [`Sender::reserve`]. Dropped it gives the room back.
///
/// For whoever must not take a message out of a queue of its own before it can be sent:
///
/// ```
/// # use switchboard::{Error, Role, WebSocket};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let (a, b) = tokio::io::duplex(1 << 16);
/// # let mut ws = WebSocket::from_upgraded(a, Role::Client, Default::default())?;
/// # let mut peer = WebSocket::from_upgraded(b, Role::Server, Default::default())?;
/// let permit = ws.reserve().await?;
/// permit.send("the newest price")?;
/// assert_eq!(peer.recv().await?.unwrap().as_text(), Some("the newest price"));
/// # Ok(())
/// # }
/// ```
pub struct Permit<'a> {
    outlet: &'a dyn Outlet,
    urgency: Urgency,
}

impl Permit<'_> {
    /// Sends a message; it can't fail for lack of room.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    pub fn send(self, message: impl Into<Message>) -> Result<(), Error> {
        self.outlet.send_reserved(message.into(), self.urgency)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.outlet.unreserve();
    }
}

/// A message on its way out in pieces, from [`Sender::begin`].
///
/// Dropped after its first piece and before its last it closes the connection with 1011: the peer must not take a part
/// for the whole.
///
/// ```
/// # use switchboard::{Error, Kind, Role, WebSocket};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let (a, b) = tokio::io::duplex(1 << 16);
/// # let mut ws = WebSocket::from_upgraded(a, Role::Client, Default::default())?;
/// # let mut peer = WebSocket::from_upgraded(b, Role::Server, Default::default())?;
/// let mut writer = ws.begin(Kind::Text).await?;
/// writer.write("a line of a long report\n").await?;
/// writer.finish("the last one\n").await?;
/// let report = peer.recv().await?.unwrap();
/// assert_eq!(report.as_text(), Some("a line of a long report\nthe last one\n"));
/// # Ok(())
/// # }
/// ```
pub struct MessageWriter<'a> {
    outlet: &'a dyn Outlet,
    kind: Kind,
    /// Whether the peer has a part of the message, and not the end.
    is_halfway: bool,
}

impl MessageWriter<'_> {
    /// Sends a piece, once there is room for it.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`], and [`SendError::MessageUnfinished`](crate::proto::SendError::MessageUnfinished) for
    /// text in a binary message or the reverse.
    ///
    /// # Cancel safety
    ///
    /// As [`Sender::send`].
    pub async fn write(&mut self, part: impl Into<Message>) -> Result<(), Error> {
        self.send_piece(part.into(), false).await
    }

    /// Sends the last piece, which may be empty, and with it ends the message.
    ///
    /// # Errors
    ///
    /// As [`MessageWriter::write`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready the message is unfinished, which closes the connection if a piece of it was sent.
    pub async fn finish(mut self, part: impl Into<Message>) -> Result<(), Error> {
        self.send_piece(part.into(), true).await
    }

    async fn send_piece(&mut self, part: Message, is_final: bool) -> Result<(), Error> {
        if part.kind() != self.kind {
            return Err(crate::proto::SendError::MessageUnfinished.into());
        }
        take_turns(Urgency::Now).await;
        Wait::new(self.outlet, |outlet, cx, ticket| outlet.poll_room_for_piece(cx, ticket)).done().await?;
        self.outlet.send_piece(Piece { part, is_final })?;
        self.is_halfway = !is_final;
        Ok(())
    }
}

impl Drop for MessageWriter<'_> {
    fn drop(&mut self) {
        if self.is_halfway && !self.outlet.is_closed() {
            let frame =
                CloseFrame::new(crate::proto::CloseCode::INTERNAL_ERROR, "a message was given up halfway");
            let _ = self.outlet.close(frame.ok().as_ref());
        }
        self.outlet.end_pieces();
    }
}

/// A message on its way into the queue. By hand, because an `async fn` moves the message twice more.
#[must_use = "futures do nothing unless polled"]
pub(super) struct SendMessage<'a, S: Stream> {
    connection: &'a Connection<S>,
    message: Option<Message>,
    urgency: Urgency,
    /// Its place among the waiters, once it has to wait.
    ticket: Option<Ticket>,
}

impl<'a, S: Stream> SendMessage<'a, S> {
    #[inline(always)]
    pub(super) fn new(connection: &'a Connection<S>, message: Message, urgency: Urgency) -> Self {
        Self { connection, message: Some(message), urgency, ticket: None }
    }

    #[cold]
    fn poll_full(&mut self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            ready!(self.connection.poll_room(cx, &mut self.ticket))?;
            match self.connection.try_send_from(&mut self.message, self.urgency) {
                Sent::Queued => return Poll::Ready(Ok(())),
                Sent::Refused(error) => return Poll::Ready(Err(*error)),
                Sent::Full => {}
            }
        }
    }
}

impl<S: Stream> Future for SendMessage<'_, S> {
    type Output = Result<(), Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.urgency == Urgency::Now {
            // As `take_turns`.
            ready!(task::coop::poll_proceed(cx)).made_progress();
        }
        let Self { connection, message, urgency, .. } = &mut *self;
        match connection.try_send_from(message, *urgency) {
            Sent::Queued => Poll::Ready(Ok(())),
            Sent::Refused(error) => Poll::Ready(Err(*error)),
            Sent::Full => self.poll_full(cx),
        }
    }
}

impl<S: Stream> Drop for SendMessage<'_, S> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.connection.stop_waiting(ticket);
        }
    }
}

/// Spends a unit of the task's budget, so that a loop which only sends doesn't keep the worker from others. What is
/// deferred costs none: its reader spends one for each message that it answers.
async fn take_turns(urgency: Urgency) {
    if matches!(urgency, Urgency::Now | Urgency::ByTask) {
        task::coop::consume_budget().await;
    }
}

/// A place among the waiters, given back when the wait is dropped.
struct Wait<'a, F> {
    outlet: &'a dyn Outlet,
    ticket: Option<Ticket>,
    poll: F,
}

impl<'a, F> Wait<'a, F>
where
    F: FnMut(&dyn Outlet, &Context<'_>, &mut Option<Ticket>) -> Poll<Result<(), Error>> + Unpin,
{
    fn new(outlet: &'a dyn Outlet, poll: F) -> Self {
        Self { outlet, ticket: None, poll }
    }

    async fn done(mut self) -> Result<(), Error> {
        poll_fn(|cx| {
            let Self { outlet, ticket, poll } = &mut self;
            poll(*outlet, cx, ticket)
        })
        .await
    }
}

impl<F> Drop for Wait<'_, F> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.outlet.stop_waiting(ticket);
        }
    }
}
