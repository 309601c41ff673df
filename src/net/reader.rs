//! The reading side of a connection: socket → [`proto::Receiver`] → messages, and the way to the end.
//!
//! It never waits for a write: what it has to answer goes into the write side's queue. It holds a read buffer only
//! while there is input, and everything that a dropped future must not lose lies in here.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker, ready};

use tokio::net::tcp::OwnedReadHalf;
use tokio::task;

use crate::proto::{self, CloseCode, CloseFrame, Event, Message, Piece, Role};

use super::clocks::NEVER;
use super::connection::Connection;
use super::error::{Error, Failure};
use super::input::{self, Input};
use super::transport::{self, ReadInto, Stream};

/// After so many reads without a message a poll ends, so that a peer that floods us doesn't keep the worker.
const MAX_READS_A_POLL: u32 = 4;

/// After so many pieces that nobody wants a poll of the closing handshake ends.
const MAX_DROPPED_A_POLL: u32 = 128;

/// What reads a connection.
pub(super) struct Reader<S: Stream> {
    connection: Arc<Connection<S>>,
    /// Where TCP is read; any other stream lies in the connection.
    half: Option<OwnedReadHalf>,
    proto: proto::Receiver,
    input: Input,
    /// Whether `proto` has said that it used up all input.
    is_used_up: bool,
    /// Whether the last read of a `TcpStream` left its socket empty.
    is_drained: bool,
    /// Whether a message came since the reader last waited.
    has_message: bool,
    /// Whether the connection's message clock runs, be it for a message that has come since.
    has_message_clock: bool,
    /// Whether it runs for the message that is on its way in.
    is_message_timed: bool,
    /// Whether senders in this task may leave their messages to the reader.
    tracks_task: bool,
    task: Option<task::Id>,
    end: Option<Box<End>>,
    /// Whether the socket is freed, or somebody else sees to it.
    is_finished: bool,
    /// Whether it only winds the connection up, in a task of the runtime's.
    is_detached: bool,
}

/// How reading ended.
#[derive(Debug)]
enum End {
    /// By the peer's Close, which may bear a code and a reason.
    Close(Option<CloseFrame>),
    /// Otherwise, after the peer's Close or without one.
    Failed(Failure, Option<CloseFrame>),
    /// So too, and the stream of messages has said so.
    Told(Failure, Option<CloseFrame>),
}

/// How messages are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Whole,
    Pieces,
}

impl<S: Stream> Reader<S> {
    /// Reads `half`, or the stream in `connection`; `unread` came with the handshake.
    pub(super) fn new(
        connection: Arc<Connection<S>>,
        half: Option<OwnedReadHalf>,
        proto: proto::Receiver,
        unread: Vec<u8>,
    ) -> Self {
        Self {
            connection,
            half,
            proto,
            input: Input::from_bytes(unread),
            is_used_up: false,
            is_drained: false,
            has_message: false,
            has_message_clock: false,
            is_message_timed: false,
            tracks_task: false,
            task: None,
            end: None,
            is_finished: false,
            is_detached: false,
        }
    }

    pub(super) fn connection(&self) -> &Arc<Connection<S>> {
        &self.connection
    }

    /// Whether input has come that wasn't handed out.
    #[inline]
    pub(super) fn has_input(&self) -> bool {
        self.proto.has_decoded() || !self.input.is_empty()
    }

    /// From now on there are senders apart from the reader.
    pub(super) fn track_task(&mut self) {
        self.tracks_task = true;
    }

    /// The peer's Close frame, if one with a code has come.
    pub(super) fn close_frame(&self) -> Option<&CloseFrame> {
        match self.end.as_deref()? {
            End::Close(frame) | End::Failed(_, frame) | End::Told(_, frame) => frame.as_ref(),
        }
    }

    /// The next message; `None` after the peer's Close.
    #[inline(always)]
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        if self.tracks_task {
            self.set_task();
        }
        // The common case, kept short: the message came with others and is decoded already. Together they cost the
        // task's budget one unit.
        match self.proto.next_decoded() {
            Some(message) => {
                if !self.proto.has_decoded() {
                    self.on_decoded();
                }
                Poll::Ready(Ok(Some(message)))
            }
            None => self.poll_undecoded(cx),
        }
    }

    /// The next message as an item of a stream, which ends after one error.
    pub(super) fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        if let Some(End::Told(..)) = self.end.as_deref() {
            return Poll::Ready(None);
        }
        let received = ready!(self.poll_message(cx));
        if let (Err(_), Some(end)) = (&received, self.end.as_deref_mut())
            && let End::Failed(failure, frame) = end
        {
            *end = End::Told(*failure, frame.take());
        }
        Poll::Ready(received.transpose())
    }

    /// The last of the messages that were decoded ahead is out.
    #[inline(never)]
    fn on_decoded(&mut self) {
        self.is_used_up = self.input.is_empty();
        self.on_message();
    }

    #[inline(never)]
    fn poll_undecoded(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        // A peer that floods us must not keep the worker.
        let Poll::Ready(budget) = task::coop::poll_proceed(cx) else { return self.out_of_budget() };
        let polled = self.poll_next(cx);
        if polled.is_ready() {
            budget.made_progress();
        }
        polled
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        loop {
            if self.is_used_up && self.end.is_none() {
                ready!(self.poll_fill(cx));
            }
            // A whole message in the input needs none of the states between frames.
            if !self.is_used_up && self.end.is_none() {
                let mut unread = self.input.unread();
                let message = self.proto.poll_whole(&mut unread);
                let left = unread.len();
                if let Ok(Some(message)) = message {
                    self.input.leave(left);
                    self.is_used_up = left == 0 && !self.proto.has_decoded();
                    self.on_message();
                    return Poll::Ready(Ok(Some(message)));
                }
            }
            match ready!(self.poll_event(cx, Delivery::Whole))? {
                Some(Event::Message(message)) => return Poll::Ready(Ok(Some(message))),
                // The rest of a message whose pieces the caller no longer wants.
                Some(_) => {}
                None => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// The next piece of a message; `None` after the peer's Close.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Error>> {
        let Poll::Ready(budget) = task::coop::poll_proceed(cx) else { return self.out_of_budget() };
        if self.tracks_task {
            self.set_task();
        }
        let event = ready!(self.poll_event(cx, Delivery::Pieces))?;
        budget.made_progress();
        Poll::Ready(Ok(event.and_then(|event| match event {
            Event::Piece(piece) => Some(piece),
            Event::Message(part) => Some(Piece { part, is_final: true }),
            _ => None,
        })))
    }

    /// The task has to let others run; what it has sent so far goes out.
    #[cold]
    fn out_of_budget<T>(&mut self) -> Poll<T> {
        if self.connection.has_output() {
            self.connection.flush_now();
        }
        self.input.keep();
        Poll::Pending
    }

    /// The next message or piece. Control frames are answered here.
    fn poll_event(&mut self, cx: &mut Context<'_>, delivery: Delivery) -> Poll<Result<Option<Event>, Error>> {
        let mut reads = 0;
        loop {
            match self.end.as_deref() {
                None => {}
                Some(End::Close(_)) => return Poll::Ready(Ok(None)),
                Some(End::Failed(failure, _) | End::Told(failure, _)) => {
                    return Poll::Ready(Err((*failure).into()));
                }
            }
            if !self.is_used_up {
                match self.decode(delivery) {
                    Ok(Some(event @ (Event::Message(_) | Event::Piece(_)))) => {
                        // A piece is no end of a message: its deadline goes on.
                        let is_timed =
                            self.is_message_timed && matches!(&event, Event::Piece(piece) if !piece.is_final);
                        self.on_message();
                        self.is_message_timed = is_timed;
                        return Poll::Ready(Ok(Some(event)));
                    }
                    Ok(Some(event)) => self.on_control(event),
                    Ok(None) => {
                        self.is_used_up = true;
                        self.input.release();
                    }
                    Err(error) => {
                        self.connection.fail_protocol(error);
                        self.end(End::Failed(Failure::Protocol(error), None));
                    }
                }
                continue;
            }
            // Frames that are no messages cost no budget, and not every stream has one of its own.
            if reads == MAX_READS_A_POLL {
                cx.waker().wake_by_ref();
                return self.out_of_budget();
            }
            reads += 1;
            ready!(self.poll_fill(cx));
        }
    }

    #[inline]
    fn decode(&mut self, delivery: Delivery) -> Result<Option<Event>, proto::ProtocolError> {
        let mut unread = self.input.unread();
        let event = match delivery {
            Delivery::Whole => self.proto.poll_event(&mut unread),
            Delivery::Pieces => self.proto.poll_piece(&mut unread),
        };
        let left = unread.len();
        self.input.leave(left);
        event
    }

    #[inline]
    fn on_message(&mut self) {
        self.has_message = true;
        self.is_message_timed = false;
        if self.tracks_task {
            self.connection.has_input.store(self.has_input(), Relaxed);
        }
        if self.input.is_empty() {
            self.input.release();
        } else {
            self.input.keep();
        }
    }

    fn on_control(&mut self, event: Event) {
        match event {
            Event::Ping(_) => {
                self.connection.answer(&event);
                // A message may come next, and whoever receives it may take his time.
                self.connection.list();
            }
            Event::Pong(payload) => self.connection.on_pong(&payload),
            Event::Close(_) => {
                self.connection.answer(&event);
                self.connection.flush_now();
                if let Event::Close(frame) = event {
                    self.end(End::Close(frame));
                }
            }
            Event::Message(_) | Event::Piece(_) => {}
        }
    }

    fn end(&mut self, end: End) {
        self.end = Some(Box::new(end));
        self.input.release();
        self.connection.has_input.store(false, Relaxed);
    }

    /// Reads once. Before it waits everything that is queued is written, and the buffer given back.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.connection.has_output() {
            self.connection.flush_now();
        }
        if self.half.is_none() {
            // Another stream wakes the connection, and that wakes us.
            self.connection.reader.register(cx.waker());
        }
        // A socket that was empty still is, most likely: asking costs less than trying with a buffer in hand.
        if std::mem::take(&mut self.is_drained)
            && let Some(half) = &self.half
            && transport::poll_readable(half, cx).is_pending()
        {
            return self.on_empty_socket(cx);
        }
        match self.poll_read(cx) {
            Poll::Ready(Ok(0)) => self.on_end_of_stream(Failure::Lost),
            Poll::Ready(Ok(read)) => self.on_read(read),
            Poll::Ready(Err(error)) => self.on_end_of_stream(Failure::from(&error)),
            Poll::Pending => return self.on_empty_socket(cx),
        }
        Poll::Ready(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let Self { connection, half, proto, input, is_drained, .. } = self;
        let mut read = |into| match half {
            Some(half) => transport::poll_read(Pin::new(half), cx, into),
            None => connection.poll_read_other(into),
        };
        if let Some(spare) = proto.spare() {
            return read(ReadInto::Spare(spare));
        }
        let mut buffer = input::take_buffer();
        let result = read(ReadInto::Buffer(buffer.room()));
        match result {
            Poll::Ready(Ok(len)) if len > 0 => {
                *is_drained = len < buffer.room().len();
                *input = Input::from_buffer(buffer, len);
            }
            _ => input::give_buffer(buffer),
        }
        result
    }

    fn on_read(&mut self, read: usize) {
        self.is_used_up = false;
        let connection = &*self.connection;
        connection.waiting_since.store(NEVER, Relaxed);
        if self.is_message_timed {
            connection.on_message_bytes(read);
        }
    }

    fn on_end_of_stream(&mut self, failure: Failure) {
        // If we gave the peer up, that is why the stream ends.
        let failure = self.connection.failure().unwrap_or(failure);
        self.connection.free(failure);
        self.half = None;
        self.is_finished = true;
        self.end(End::Failed(failure, None));
    }

    /// The socket is empty: the deadlines of the peer's silence begin.
    fn on_empty_socket(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let connection = &*self.connection;
        // Before the last look at how the connection stands: what changes after it wakes us.
        connection.reader.register(cx.waker());
        if self.tracks_task {
            connection.has_input.store(false, Relaxed);
        }
        let timeouts = &connection.settings.timeouts;
        let is_new = connection.waiting_since.load(Relaxed) == NEVER;
        if is_new && (timeouts.silence.is_some() || timeouts.idle.is_some() || timeouts.message.is_some()) {
            let now = connection.helpers.now();
            connection.waiting_since.store(now, Relaxed);
            if std::mem::take(&mut self.has_message) {
                connection.last_message.store(now, Relaxed);
            }
            if !self.proto.is_in_message() {
                self.is_message_timed = false;
                if std::mem::take(&mut self.has_message_clock) {
                    connection.stop_message_clock();
                }
            } else if !self.is_message_timed
                && let Some(timeout) = timeouts.message
            {
                self.is_message_timed = true;
                self.has_message_clock = true;
                connection.start_message_clock(now, timeout);
            }
        }
        connection.confirm_miss();
        match connection.failure() {
            Some(failure) => {
                self.end(End::Failed(failure, None));
                Poll::Ready(())
            }
            None => Poll::Pending,
        }
    }

    fn set_task(&mut self) {
        let task = task::try_id();
        if task != self.task {
            self.task = task;
            self.connection.set_reader_task(task);
        }
    }

    /// Closes: reads and drops what still comes until the peer's Close and the end of the stream.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut events = 0;
        while self.end.is_none() {
            if events == MAX_DROPPED_A_POLL {
                // While there is always something to read, nobody else looks whether a deadline has passed.
                if let Some(failure) = self.connection.failure() {
                    self.end(End::Failed(failure, None));
                    break;
                }
                cx.waker().wake_by_ref();
                return self.out_of_budget();
            }
            events += 1;
            // An error is the end too, and is told below.
            let _ = ready!(self.poll_event(cx, Delivery::Pieces));
        }
        ready!(self.poll_drain(cx));
        Poll::Ready(match self.end.as_deref() {
            Some(End::Failed(Failure::Closed, _) | End::Close(_)) | None => Ok(()),
            Some(End::Failed(failure, _) | End::Told(failure, _)) => Err((*failure).into()),
        })
    }

    /// After the last frame: waits until everything is written and the peer's side has ended too.
    ///
    /// What still comes is read and dropped, so that the socket isn't reset under what we wrote last.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_finished {
            return Poll::Ready(());
        }
        if self.connection.has_output() {
            self.connection.flush_now();
        }
        let mut buffer = input::take_buffer();
        let mut reads = 0;
        let drained = loop {
            if reads == MAX_READS_A_POLL {
                cx.waker().wake_by_ref();
                break Poll::Pending;
            }
            reads += 1;
            self.connection.reader.register(cx.waker());
            if self.adopt_failure() {
                break Poll::Ready(());
            }
            let into = ReadInto::Buffer(buffer.room());
            let read = match &mut self.half {
                Some(half) => transport::poll_read(Pin::new(half), cx, into),
                None => self.connection.poll_read_other(into),
            };
            match read {
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.adopt_failure();
                    break Poll::Ready(());
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break Poll::Pending,
            }
        };
        input::give_buffer(buffer);
        ready!(drained);
        self.finish();
        Poll::Ready(())
    }

    /// Whether the connection failed, which then is its end although the peer has sent a Close.
    fn adopt_failure(&mut self) -> bool {
        let Some(failure) = self.connection.failure() else { return false };
        if let Some(End::Close(frame)) = self.end.as_deref_mut() {
            let frame = frame.take();
            self.end(End::Failed(failure, frame));
        }
        true
    }

    /// Frees the socket.
    fn finish(&mut self) {
        self.connection.free(Failure::Closed);
        self.half = None;
        self.is_finished = true;
    }

    /// What is left of the connection when its reader is dropped: a Close if there was none, then its end.
    fn poll_wind_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Before the senders are counted: the last of them to go wakes us.
        self.connection.reader.register(cx.waker());
        // While there are senders, what they send is still wanted.
        if self.end.is_none() && self.connection.senders.load(std::sync::atomic::Ordering::Acquire) == 0 {
            // It may be closed already, or have failed; then that is the end to wait for.
            let _ = self.connection.close(Some(&CloseFrame::from(CloseCode::GOING_AWAY)));
        }
        self.poll_close(cx).map(drop)
    }
}

/// Waits for the next message.
#[must_use = "futures do nothing unless polled"]
pub(super) struct NextMessage<'a, S: Stream>(pub(super) &'a mut Reader<S>);

impl<S: Stream> Future for NextMessage<'_, S> {
    type Output = Result<Option<Message>, Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.0.poll_message(cx)
    }
}

impl<S: Stream> Drop for Reader<S> {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        if self.is_detached {
            // The runtime ends, and with it everything that could still be waited for.
            self.finish();
            return;
        }
        // Often nothing is left to wait for; else a task of the runtime's goes on with it.
        if self.poll_wind_up(&mut Context::from_waker(Waker::noop())).is_ready() {
            if !self.is_finished {
                self.finish();
            }
            return;
        }
        let limits = self.connection.settings.limits;
        let mut rest = Self {
            connection: self.connection.clone(),
            half: self.half.take(),
            proto: std::mem::replace(&mut self.proto, proto::Receiver::new(Role::Server, limits)),
            input: std::mem::take(&mut self.input),
            end: self.end.take(),
            is_finished: false,
            is_detached: true,
            ..*self
        };
        let runtime = self.connection.helpers.handle().clone();
        runtime.spawn(async move {
            std::future::poll_fn(|cx| rest.poll_wind_up(cx)).await;
            if !rest.is_finished {
                rest.finish();
            }
        });
    }
}
