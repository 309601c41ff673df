//! What the parts of one connection share: its write side behind one short lock, and how it stands.
//!
//! Whoever has something to say (the reader with a Pong, a sender in any task, the wheel with a Ping) takes the
//! lock, encodes, and tries the write at once. If the socket is full the bytes wait in the queue. The one waker
//! that is ever registered for writing is the connection's own: it takes no lock of the connection, holds it
//! weakly, and puts it on the flusher's list. So no task overwrites another's waker, and what was queued goes out
//! even if nobody polls the connection. No waker of anybody's is called while the lock is held.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use tokio::task;

use crate::proto::{self, CloseFrame, Limits, Message, Piece, Prepared, Role, SendError};

use super::clocks::{Clocks, NEVER};
use super::error::{Error, Failure, Timeout, TrySendError};
use super::helpers::{Helpers, Millis, Watched};
use super::timeouts::Timeouts;
use super::transport::{ReadInto, Stream, Transport};
use super::waker::{OwnWaker, Signal};

/// One connection.
pub(super) struct Connection<S> {
    write: Mutex<WriteSide<S>>,
    /// Whoever polls the reading side.
    pub(super) reader: AtomicWaker,
    /// Whether bytes wait to be written, or something to be flushed or shut down. Changed under the lock.
    has_output: AtomicBool,
    /// Whether it stands on the flusher's list.
    is_listed: AtomicBool,
    /// Whether it failed: the lock says how.
    has_failed: AtomicBool,
    /// Whether the peer has missed a deadline, for all the wheel knows.
    is_suspect: AtomicBool,
    /// Whether unread input lies in the reader's buffer.
    pub(super) has_input: AtomicBool,
    /// Since when the reader has been waiting on an empty socket, or `NEVER`.
    pub(super) waiting_since: AtomicU64,
    /// When the newest message came.
    pub(super) last_message: AtomicU64,
    /// The round-trip time of the newest heartbeat in microseconds, or `u32::MAX`.
    round_trip: AtomicU32,
    /// How many `Sender`s there are.
    pub(super) senders: AtomicU32,
    pub(super) helpers: Arc<Helpers>,
    pub(super) settings: Arc<Settings>,
    me: Weak<Self>,
}

/// A million idle connections each hold one. With the two counts of its `Arc` it just fills a size class of jemalloc.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Connection<tokio::net::TcpStream>>() + 2 * size_of::<usize>() <= 256);

/// What a connection needs of the configuration.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) role: Role,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
}

/// What the lock guards.
pub(super) struct WriteSide<S> {
    /// `None` once the connection is over and its socket freed.
    transport: Option<Transport<S>>,
    out: proto::Sender,
    /// What the connection's own waker does, once that was needed.
    signal: Option<Arc<Signal<S>>>,
    /// Tasks that wait for room, or for the queue to be written.
    waiters: Waiters,
    last_ticket: u32,
    /// How many permits are outstanding.
    permits: u32,
    /// Whether a message is being sent in pieces, which others wait for.
    is_streaming: bool,
    /// Whether the stream itself holds bytes that a flush hands on.
    needs_flush: bool,
    shutdown: Shutdown,
    failure: Option<Box<Failure>>,
    clocks: Clocks,
    next_ping: Millis,
    next_look: Millis,
    reader_task: Option<task::Id>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shutdown {
    No,
    /// Once everything is written.
    Wanted,
    Done,
}

/// With so much queued a deferred message is written at once.
const MAX_DEFERRED_BYTES: usize = 64 << 10;

/// What an outstanding permit counts as.
const PERMIT_BYTES: usize = 16 << 10;

/// How many slices a write takes.
const MAX_SLICES: usize = 64;

/// Whether a message may wait in the queue for those that come with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Write it at once.
    Now,
    /// Leave it in the queue: its reader has more input, and writes when that is used up.
    Deferred,
    /// `Deferred` if we are in the task of a reader that has more input, else `Now`.
    ByTask,
    /// Leave it to `flush`, to the reader, or to whoever sends next.
    Fed,
}

/// Tasks that wait, each under its ticket; `None` while there are none.
type Waiters = Option<Box<Vec<(Ticket, Waker)>>>;

/// A task's place among the waiters.
pub(super) type Ticket = NonZeroU32;

/// Wakers to call once the lock is released.
#[must_use]
#[derive(Default)]
pub(super) struct Wakes(Waiters);

impl Wakes {
    #[inline]
    pub(super) fn wake(self) {
        if let Some(waiters) = self.0 {
            wake_all(*waiters);
        }
    }
}

#[cold]
fn wake_all(waiters: Vec<(Ticket, Waker)>) {
    for (_, waker) in waiters {
        waker.wake();
    }
}

impl<S: Stream> Connection<S> {
    pub(super) fn new(
        transport: Transport<S>,
        out: proto::Sender,
        settings: Arc<Settings>,
        helpers: Arc<Helpers>,
    ) -> Arc<Self> {
        let now = helpers.now();
        let timeouts = settings.timeouts;
        let next_ping = timeouts.ping_interval.map_or(NEVER, |interval| after(now, interval));
        let connection = Arc::new_cyclic(|me| Self {
            write: Mutex::new(WriteSide {
                transport: Some(transport),
                out,
                signal: None,
                waiters: None,
                last_ticket: 0,
                permits: 0,
                is_streaming: false,
                needs_flush: false,
                shutdown: Shutdown::No,
                failure: None,
                clocks: Clocks::default(),
                next_ping,
                next_look: NEVER,
                reader_task: None,
            }),
            reader: AtomicWaker::new(),
            has_output: AtomicBool::new(false),
            is_listed: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            is_suspect: AtomicBool::new(false),
            has_input: AtomicBool::new(false),
            waiting_since: AtomicU64::new(NEVER),
            last_message: AtomicU64::new(now),
            round_trip: AtomicU32::new(u32::MAX),
            senders: AtomicU32::new(0),
            helpers,
            settings,
            me: me.clone(),
        });
        let first_look =
            [timeouts.ping_interval, timeouts.silence, timeouts.idle].into_iter().flatten().min();
        if let Some(first_look) = first_look {
            let at = after(now, first_look);
            connection.look_by(&mut connection.lock(), at);
        }
        connection
    }

    fn weak(&self) -> Weak<dyn Watched> {
        self.me.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, WriteSide<S>> {
        self.write.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something waits to be written.
    #[inline]
    pub(super) fn has_output(&self) -> bool {
        self.has_output.load(Ordering::Relaxed)
    }

    /// How the connection failed, if it did.
    #[inline]
    pub(super) fn failure(&self) -> Option<Failure> {
        if self.has_failed.load(Ordering::Acquire) { self.lock().failure.as_deref().copied() } else { None }
    }

    /// Queues what `encode` encodes and writes it, unless it may wait.
    #[inline]
    pub(super) fn submit(
        &self,
        urgency: Urgency,
        encode: impl FnOnce(&mut proto::Sender) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        let mut write = self.lock();
        write.check()?;
        encode(&mut write.out)?;
        self.after_encode(write, urgency);
        Ok(())
    }

    /// As [`Connection::submit`], if there is room; the message comes back if there isn't.
    #[inline(always)]
    fn try_submit<T>(
        &self,
        message: T,
        urgency: Urgency,
        encode: impl FnOnce(&mut proto::Sender, T) -> Result<(), SendError>,
    ) -> Result<(), TrySendError<T>> {
        let mut write = self.lock();
        write.check().map_err(TrySendError::Refused)?;
        if !write.has_room(&self.settings.limits) {
            return Err(TrySendError::Full(message));
        }
        encode(&mut write.out, message).map_err(|error| TrySendError::Refused(error.into()))?;
        self.after_encode(write, urgency);
        Ok(())
    }

    #[inline(always)]
    fn after_encode(&self, mut write: MutexGuard<'_, WriteSide<S>>, urgency: Urgency) {
        self.has_output.store(true, Ordering::Release);
        let may_wait = match urgency {
            Urgency::Now => false,
            Urgency::Deferred | Urgency::Fed => true,
            Urgency::ByTask => {
                self.has_input.load(Ordering::Relaxed)
                    && write.reader_task.is_some()
                    && write.reader_task == task::try_id()
            }
        };
        if may_wait && write.out.queued_bytes() < MAX_DEFERRED_BYTES {
            drop(write);
            if urgency != Urgency::Fed {
                // If that task goes to wait for something else, the flusher writes.
                self.list();
            }
            return;
        }
        let wakes = self.write_out(&mut write);
        drop(write);
        wakes.wake();
    }

    /// Queues a message if there is room; it comes back if there isn't.
    #[inline(always)]
    pub(super) fn try_send_now(
        &self,
        message: Message,
        urgency: Urgency,
    ) -> Result<(), TrySendError<Message>> {
        // By hand, not by `try_submit`: a closure here costs every message two moves.
        let mut write = self.lock();
        if let Err(error) = write.check() {
            return Err(TrySendError::Refused(error));
        }
        if !write.has_room(&self.settings.limits) {
            return Err(TrySendError::Full(message));
        }
        if let Err(error) = write.out.send(message) {
            return Err(TrySendError::Refused(error.into()));
        }
        self.after_encode(write, urgency);
        Ok(())
    }

    /// Puts the connection on the flusher's list.
    fn list(&self) {
        // Looked at first: a write to what is true already would cost every deferred message an atomic.
        if !self.is_listed.load(Ordering::Acquire) && !self.is_listed.swap(true, Ordering::AcqRel) {
            self.helpers.flush_soon(self.weak());
        }
    }

    /// The stream has become ready, whichever way. Called by anybody, the connection's lock held or not.
    pub(super) fn on_ready(&self) {
        if self.has_output() {
            self.list();
        }
        self.reader.wake();
    }

    /// Writes what is queued, as far as the socket takes it.
    pub(super) fn flush_now(&self) {
        let mut write = self.lock();
        let wakes = self.write_out(&mut write);
        drop(write);
        wakes.wake();
    }

    /// Writes what is queued; afterwards either everything is written or the waker is registered.
    pub(super) fn write_out(&self, write: &mut WriteSide<S>) -> Wakes {
        if write.failure.is_some() {
            self.has_output.store(false, Ordering::Release);
            return Wakes(std::mem::take(&mut write.waiters));
        }
        // Set before the socket is asked: a waker that fires meanwhile has to see it.
        self.has_output.store(true, Ordering::Release);
        let before = write.out.written_total();
        let result = self.poll_write_out(write);
        match result {
            Poll::Ready(Ok(())) => {
                write.clocks.unblock();
                self.has_output.store(false, Ordering::Release);
            }
            Poll::Ready(Err(error)) => return self.fail_locked(write, Failure::from(&error)),
            Poll::Pending => self.on_blocked(write, before),
        }
        let may_wake = write.out.queued_bytes() == 0 || write.has_room_in_bytes(&self.settings.limits);
        if may_wake { Wakes(std::mem::take(&mut write.waiters)) } else { Wakes::default() }
    }

    fn poll_write_out(&self, write: &mut WriteSide<S>) -> Poll<std::io::Result<()>> {
        let WriteSide { transport: Some(transport), signal, out, needs_flush, shutdown, .. } = write else {
            return Poll::Ready(Ok(()));
        };
        let waker = &mut OwnWaker::new(signal, &self.me);
        while out.queued_bytes() > 0 {
            let written = std::task::ready!(match out.single_output() {
                Some(bytes) => transport.poll_write(waker, &[std::io::IoSlice::new(bytes)]),
                None => write_many(out, transport, waker),
            })?;
            if written == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            out.advance(written);
            *needs_flush = true;
        }
        if *needs_flush {
            std::task::ready!(transport.poll_flush(waker))?;
            *needs_flush = false;
        }
        if *shutdown == Shutdown::Wanted {
            std::task::ready!(transport.poll_shutdown(waker))?;
            *shutdown = Shutdown::Done;
        }
        Poll::Ready(Ok(()))
    }

    /// The socket is full: the write deadline begins, or begins anew if some of it went.
    fn on_blocked(&self, write: &mut WriteSide<S>, written_before: u64) {
        write.out.settle();
        let Some(timeout) = self.settings.timeouts.write else { return };
        let is_new = write.clocks.read().blocked_since == NEVER;
        if is_new || write.out.written_total() > written_before {
            let now = self.helpers.now();
            write.clocks.set(|clocks| clocks.blocked_since = now);
            self.look_by(write, after(now, timeout));
        }
    }

    /// Sees to it that the wheel looks no later than `at`.
    fn look_by(&self, write: &mut WriteSide<S>, at: Millis) {
        if at < write.next_look {
            write.next_look = at;
            self.helpers.look_at(at, self.weak());
        }
    }

    /// A message has begun to come in, which has to be complete in time.
    pub(super) fn start_message_clock(&self, now: Millis, timeout: Duration) {
        let mut write = self.lock();
        write.clocks.set(|clocks| {
            clocks.message_since = now;
            clocks.message_bytes = 0;
        });
        self.look_by(&mut write, after(now, timeout));
    }

    /// More of it has come.
    pub(super) fn on_message_bytes(&self, read: usize) {
        let mut write = self.lock();
        if write.clocks.read().message_since != NEVER {
            write.clocks.set(|clocks| clocks.message_bytes += read as u64);
        }
    }

    /// No message is on its way in any more.
    pub(super) fn stop_message_clock(&self) {
        self.lock().clocks.set(|clocks| {
            clocks.message_since = NEVER;
            clocks.message_bytes = 0;
        });
    }

    /// Queues a Close and starts its deadline.
    pub(super) fn close(&self, frame: Option<&CloseFrame>) -> Result<(), Error> {
        let mut write = self.lock();
        write.check()?;
        write.out.close(frame)?;
        let waiting = self.on_close_sent(&mut write);
        let wakes = self.write_out(&mut write);
        drop(write);
        waiting.wake();
        wakes.wake();
        // The reader has a close handshake to finish.
        self.reader.wake();
        Ok(())
    }

    /// The deadline of the closing handshake begins, and whoever waits to send learns that nothing can be sent.
    fn on_close_sent(&self, write: &mut WriteSide<S>) -> Wakes {
        if write.clocks.read().close_since == NEVER {
            let now = self.helpers.now();
            write.clocks.set(|clocks| clocks.close_since = now);
            if let Some(timeout) = self.settings.timeouts.close {
                self.look_by(write, after(now, timeout));
            }
        }
        Wakes(write.waiters.take())
    }

    /// Answers what the peer sent, leaving it in the queue for the reader to write out.
    pub(super) fn answer(&self, event: &proto::Event) {
        let mut write = self.lock();
        write.out.on_event(event);
        let mut waiting = Wakes::default();
        if let proto::Event::Close(_) = event {
            waiting = self.on_close_sent(&mut write);
            if self.settings.role == Role::Server {
                // The server shuts its side first (RFC 6455 §7.1.1).
                write.want_shutdown();
            }
        }
        self.has_output.store(true, Ordering::Release);
        drop(write);
        waiting.wake();
    }

    /// Fails the connection for what the peer did: tells it, and shuts our side.
    pub(super) fn fail_protocol(&self, error: proto::ProtocolError) {
        let mut write = self.lock();
        write.out.fail(&error);
        let waiting = self.on_close_sent(&mut write);
        write.want_shutdown();
        let wakes = self.write_out(&mut write);
        drop(write);
        waiting.wake();
        wakes.wake();
    }

    fn fail_locked(&self, write: &mut WriteSide<S>, failure: Failure) -> Wakes {
        if write.failure.is_none() {
            write.failure = Some(Box::new(failure));
        }
        self.has_failed.store(true, Ordering::Release);
        self.has_output.store(false, Ordering::Release);
        Wakes(std::mem::take(&mut write.waiters))
    }

    /// Frees the socket, with a reset if the peer didn't take what it should have.
    pub(super) fn free(&self, failure: Failure, is_abort: bool) {
        let mut write = self.lock();
        if let (Some(transport), true) = (&write.transport, is_abort) {
            transport.abort();
        }
        let transport = write.transport.take();
        let wakes = self.fail_locked(&mut write, failure);
        drop(write);
        drop(transport);
        wakes.wake();
    }

    /// Reads from a stream that isn't TCP, whose bytes come by the connection's own waker.
    pub(super) fn poll_read_other(&self, into: ReadInto<'_>) -> Poll<std::io::Result<usize>> {
        let mut write = self.lock();
        let WriteSide { transport, signal, .. } = &mut *write;
        match transport {
            Some(transport) => transport.poll_read_other(&mut OwnWaker::new(signal, &self.me), into),
            None => Poll::Ready(Ok(0)),
        }
    }

    /// The reader is polled by this task: what it sends while it has input may wait.
    pub(super) fn set_reader_task(&self, id: Option<task::Id>) {
        self.lock().reader_task = id;
    }

    /// A Pong came: if it answers our heartbeat, the round trip is over.
    pub(super) fn on_pong(&self, payload: &[u8]) {
        let Ok(sent) = <[u8; 8]>::try_from(payload).map(u64::from_be_bytes) else { return };
        let mut write = self.lock();
        if sent != NEVER && write.clocks.read().ping_sent == sent {
            write.clocks.set(|clocks| clocks.ping_sent = NEVER);
            let micros = self.helpers.now_micros().saturating_sub(sent);
            self.round_trip.store(u32::try_from(micros).unwrap_or(u32::MAX - 1), Ordering::Relaxed);
        }
    }

    /// The deadline that has passed although our reader needn't be asked about it.
    fn due(&self, now: Millis, write: &WriteSide<S>) -> Option<Timeout> {
        let (timeouts, clocks) = (&self.settings.timeouts, write.clocks.read());
        if has_passed(now, clocks.close_since, timeouts.close) {
            Some(Timeout::Close)
        } else if has_passed(now, clocks.blocked_since, timeouts.write) {
            Some(Timeout::Write)
        } else {
            None
        }
    }

    /// The deadline that the peer has missed, if the socket is as empty as it was.
    fn miss_due(&self, now: Millis, write: &WriteSide<S>) -> Option<Timeout> {
        let timeouts = &self.settings.timeouts;
        if self.message_deadline(write).is_some_and(|deadline| now >= deadline) {
            Some(Timeout::Message)
        } else if has_passed(now, self.waiting_since.load(Ordering::Relaxed), timeouts.silence) {
            Some(Timeout::Silence)
        } else if has_passed(now, self.last_message.load(Ordering::Relaxed), timeouts.idle) {
            Some(Timeout::Idle)
        } else {
            None
        }
    }

    /// The reader found the socket empty: gives the peer up if the wheel suspected it, and rightly so.
    ///
    /// Only the reader can say that: bytes may lie in the socket that an application hasn't read yet, and one that
    /// doesn't read must not kill its peer.
    pub(super) fn confirm_miss(&self) {
        // Looked at first: an exchange is an atomic, and this is asked at every wait.
        if !self.is_suspect.load(Ordering::Relaxed) || !self.is_suspect.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut write = self.lock();
        if let Some(timeout) = self.miss_due(self.helpers.now(), &write) {
            let wakes = self.give_up(&mut write, timeout);
            drop(write);
            wakes.wake();
        }
    }

    /// When the message that is on its way in has to be complete.
    fn message_deadline(&self, write: &WriteSide<S>) -> Option<Millis> {
        let (timeouts, clocks) = (&self.settings.timeouts, write.clocks.read());
        let since = clocks.message_since;
        let timeout = timeouts.message.filter(|_| since != NEVER)?;
        let earned = clocks
            .message_bytes
            .saturating_mul(1000)
            .checked_div(u64::from(timeouts.message_rate))
            .unwrap_or(0);
        Some(after(since, timeout).saturating_add(earned))
    }

    /// The earliest time after `now` at which something can be due. What begins later looks by itself.
    fn next_look(&self, now: Millis, write: &WriteSide<S>) -> Option<Millis> {
        let (timeouts, clocks) = (&self.settings.timeouts, write.clocks.read());
        let deadline = |at: Millis, timeout: Option<Duration>| {
            timeout.filter(|_| at != NEVER).map(|timeout| after(at, timeout))
        };
        let silence = deadline(self.waiting_since.load(Ordering::Relaxed).min(now), timeouts.silence);
        let idle = deadline(self.last_message.load(Ordering::Relaxed), timeouts.idle);
        [
            (!write.out.close_sent() && write.next_ping != NEVER).then_some(write.next_ping),
            deadline(clocks.close_since, timeouts.close),
            deadline(clocks.blocked_since, timeouts.write),
            // The reader was asked already about those that have passed.
            again(self.message_deadline(write), now, timeouts.message),
            again(silence, now, timeouts.silence),
            again(idle, now, timeouts.idle),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn ping_if_due(&self, now: Millis, write: &mut WriteSide<S>) -> Wakes {
        let Some(interval) = self.settings.timeouts.ping_interval else { return Wakes::default() };
        if now < write.next_ping || write.out.close_sent() {
            return Wakes::default();
        }
        write.next_ping = after(now, interval);
        // Behind a full socket a Ping says nothing; the write deadline watches that.
        if write.clocks.read().blocked_since != NEVER {
            return Wakes::default();
        }
        let sent = self.helpers.now_micros();
        write.clocks.set(|clocks| clocks.ping_sent = sent);
        let queued = write.out.ping(&sent.to_be_bytes());
        debug_assert!(queued.is_ok(), "eight bytes, and no Close was sent");
        self.write_out(write)
    }

    /// Gives the peer up, telling it why if it can take that.
    fn give_up(&self, write: &mut WriteSide<S>, timeout: Timeout) -> Wakes {
        let mut wakes = Wakes::default();
        if let Some(code) = timeout.close_code() {
            let frame = CloseFrame::new(code, timeout.to_string().as_str());
            let _ = write.out.close(frame.ok().as_ref());
            write.want_shutdown();
            // What the peer doesn't take now it never will.
            wakes = self.write_out(write);
        }
        if let (Some(transport), Timeout::Write | Timeout::Close) = (&write.transport, timeout) {
            transport.abort();
        }
        // Whoever wasn't woken yet is now.
        let failed = self.fail_locked(write, Failure::Timeout(timeout));
        match (&mut wakes.0, failed.0) {
            (Some(wakes), Some(failed)) => wakes.extend(*failed),
            (none, failed) => *none = none.take().or(failed),
        }
        wakes
    }
}

impl<S> WriteSide<S> {
    #[inline]
    fn check(&self) -> Result<(), Error> {
        match &self.failure {
            Some(failure) => Err((**failure).into()),
            None => Ok(()),
        }
    }

    /// Whether a message may be queued.
    #[inline]
    fn has_room(&self, limits: &Limits) -> bool {
        !self.is_streaming && self.has_room_in_bytes(limits)
    }

    #[inline]
    fn has_room_in_bytes(&self, limits: &Limits) -> bool {
        self.out.queued_bytes() + self.permits as usize * PERMIT_BYTES <= limits.max_queued_bytes
    }

    fn want_shutdown(&mut self) {
        if self.shutdown == Shutdown::No {
            self.shutdown = Shutdown::Wanted;
        }
    }

    /// Registers a task that waits; `ticket` is its place, kept from one poll to the next.
    fn wait(&mut self, cx: &Context<'_>, ticket: &mut Option<Ticket>) {
        let waiters = self.waiters.get_or_insert_default();
        let id = *ticket.get_or_insert_with(|| {
            // After 2^32 waits the numbers come again: one that still stands is passed over.
            loop {
                self.last_ticket = self.last_ticket.wrapping_add(1);
                if let Some(id) = Ticket::new(self.last_ticket)
                    && waiters.iter().all(|(other, _)| *other != id)
                {
                    return id;
                }
            }
        });
        match waiters.iter_mut().find(|(other, _)| *other == id) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => waiters.push((id, cx.waker().clone())),
        }
    }
}

/// A connection as its senders see it, whatever it stands on.
///
/// The polls of this trait register a place among the waiters under `ticket`; whoever gives a wait up says
/// [`Outlet::stop_waiting`].
pub(super) trait Outlet: Send + Sync {
    /// Queues a message if there is room; it comes back if there isn't.
    fn try_send(&self, message: Message, urgency: Urgency) -> Result<(), TrySendError<Message>>;

    /// Queues a message by reference if there is room.
    fn try_send_prepared(&self, prepared: &Prepared, urgency: Urgency) -> Result<(), TrySendError<()>>;

    /// Queues a message whatever is queued already, for a permit.
    fn send_reserved(&self, message: Message, urgency: Urgency) -> Result<(), Error>;

    /// Queues a piece of the message that [`Outlet::poll_begin`] began.
    fn send_piece(&self, piece: Piece) -> Result<(), Error>;

    /// Queues a Ping.
    fn ping(&self, payload: &[u8]) -> Result<(), Error>;

    /// Queues a Close behind everything else.
    fn close(&self, frame: Option<&CloseFrame>) -> Result<(), Error>;

    /// Drops what is queued at a frame's boundary and queues a Close, unless there is one.
    fn cut_and_close(&self, frame: Option<&CloseFrame>) -> Result<usize, Error>;

    /// Waits for room.
    fn poll_room(&self, cx: &Context<'_>, ticket: &mut Option<Ticket>) -> Poll<Result<(), Error>>;

    /// Waits for room and takes it for a permit.
    fn poll_reserve(&self, cx: &Context<'_>, ticket: &mut Option<Ticket>) -> Poll<Result<(), Error>>;

    /// Gives a permit's room back.
    fn unreserve(&self);

    /// Waits until no message is being sent in pieces and no permit is outstanding, and begins one.
    fn poll_begin(&self, cx: &Context<'_>, ticket: &mut Option<Ticket>) -> Poll<Result<(), Error>>;

    /// Waits for room for a piece of the message begun.
    fn poll_room_for_piece(&self, cx: &Context<'_>, ticket: &mut Option<Ticket>) -> Poll<Result<(), Error>>;

    /// The message in pieces is over.
    fn end_pieces(&self);

    /// Waits until everything is written that was queued when `target` was `None`.
    fn poll_flushed(
        &self,
        cx: &Context<'_>,
        ticket: &mut Option<Ticket>,
        target: &mut Option<u64>,
    ) -> Poll<Result<(), Error>>;

    /// A task waits no longer.
    fn stop_waiting(&self, ticket: Ticket);

    /// Bytes that wait to be written.
    fn queued_bytes(&self) -> usize;

    /// Whether nothing can be sent any more.
    fn is_closed(&self) -> bool;

    /// The newest heartbeat's round trip.
    fn round_trip(&self) -> Option<Duration>;

    /// One more handle.
    fn retain(&self);

    /// One handle less.
    fn release(&self);
}

impl<S: Stream> Outlet for Connection<S> {
    fn try_send(&self, message: Message, urgency: Urgency) -> Result<(), TrySendError<Message>> {
        self.try_send_now(message, urgency)
    }

    fn try_send_prepared(&self, prepared: &Prepared, urgency: Urgency) -> Result<(), TrySendError<()>> {
        self.try_submit((), urgency, |out, ()| out.send_prepared(prepared))
    }

    fn send_reserved(&self, message: Message, urgency: Urgency) -> Result<(), Error> {
        self.submit(urgency, |out| out.send(message))
    }

    fn send_piece(&self, piece: Piece) -> Result<(), Error> {
        self.submit(Urgency::Now, |out| out.send_piece(piece))
    }

    fn ping(&self, payload: &[u8]) -> Result<(), Error> {
        self.submit(Urgency::Now, |out| out.ping(payload))
    }

    fn close(&self, frame: Option<&CloseFrame>) -> Result<(), Error> {
        Self::close(self, frame)
    }

    fn cut_and_close(&self, frame: Option<&CloseFrame>) -> Result<usize, Error> {
        let mut write = self.lock();
        write.check()?;
        let dropped = write.out.cut();
        let closed = write.out.close(frame);
        let waiting = self.on_close_sent(&mut write);
        let wakes = self.write_out(&mut write);
        drop(write);
        waiting.wake();
        wakes.wake();
        self.reader.wake();
        closed?;
        Ok(dropped)
    }

    fn poll_room(&self, cx: &Context<'_>, ticket: &mut Option<Ticket>) -> Poll<Result<(), Error>> {
        self.poll_until(cx, ticket, |write| write.has_room(&self.settings.limits))
    }

    fn poll_reserve(&self, cx: &Context<'_>, ticket: &mut Option<Ticket>) -> Poll<Result<(), Error>> {
        self.poll_until(cx, ticket, |write| {
            let has_room = write.has_room(&self.settings.limits);
            if has_room {
                write.permits += 1;
            }
            has_room
        })
    }

    fn unreserve(&self) {
        self.change_and_wake(|write| write.permits -= 1);
    }

    fn poll_begin(&self, cx: &Context<'_>, ticket: &mut Option<Ticket>) -> Poll<Result<(), Error>> {
        self.poll_until(cx, ticket, |write| {
            // A permit promises that its message can be sent: so it goes first.
            let may_begin = write.permits == 0 && write.has_room(&self.settings.limits);
            write.is_streaming |= may_begin;
            may_begin
        })
    }

    fn poll_room_for_piece(&self, cx: &Context<'_>, ticket: &mut Option<Ticket>) -> Poll<Result<(), Error>> {
        self.poll_until(cx, ticket, |write| write.has_room_in_bytes(&self.settings.limits))
    }

    fn end_pieces(&self) {
        self.change_and_wake(|write| write.is_streaming = false);
    }

    fn poll_flushed(
        &self,
        cx: &Context<'_>,
        ticket: &mut Option<Ticket>,
        target: &mut Option<u64>,
    ) -> Poll<Result<(), Error>> {
        let mut write = self.lock();
        let target = *target.get_or_insert(write.out.queued_total());
        if write.failure.is_none() && self.has_output() {
            let wakes = self.write_out(&mut write);
            drop(write);
            wakes.wake();
            write = self.lock();
        }
        write.check()?;
        if write.out.written_total() >= target && !write.needs_flush {
            return Poll::Ready(Ok(()));
        }
        write.wait(cx, ticket);
        Poll::Pending
    }

    fn stop_waiting(&self, ticket: Ticket) {
        let mut write = self.lock();
        if let Some(waiters) = &mut write.waiters {
            waiters.retain(|(other, _)| *other != ticket);
        }
    }

    fn queued_bytes(&self) -> usize {
        self.lock().out.queued_bytes()
    }

    fn is_closed(&self) -> bool {
        let write = self.lock();
        write.failure.is_some() || write.out.close_sent()
    }

    fn round_trip(&self) -> Option<Duration> {
        match self.round_trip.load(Ordering::Relaxed) {
            u32::MAX => None,
            micros => Some(Duration::from_micros(micros.into())),
        }
    }

    fn retain(&self) {
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    fn release(&self) {
        if self.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            // A reader that only winds the connection up has waited for this.
            self.reader.wake();
        }
    }
}

impl<S: Stream> Connection<S> {
    /// Waits until `take` finds what it wants and takes it.
    fn poll_until(
        &self,
        cx: &Context<'_>,
        ticket: &mut Option<Ticket>,
        take: impl FnOnce(&mut WriteSide<S>) -> bool,
    ) -> Poll<Result<(), Error>> {
        let mut write = self.lock();
        write.check()?;
        if write.out.close_sent() {
            return Poll::Ready(Err(SendError::Closed.into()));
        }
        if take(&mut write) {
            return Poll::Ready(Ok(()));
        }
        write.wait(cx, ticket);
        drop(write);
        // The queue may be full of what was deferred or fed: nobody else might write it.
        self.list();
        Poll::Pending
    }

    fn change_and_wake(&self, change: impl FnOnce(&mut WriteSide<S>)) {
        let mut write = self.lock();
        change(&mut write);
        let wakes = Wakes(std::mem::take(&mut write.waiters));
        drop(write);
        wakes.wake();
    }
}

impl<S: Stream> Watched for Connection<S> {
    fn flush_late(&self) {
        self.is_listed.store(false, Ordering::Release);
        if !self.has_output() {
            return;
        }
        self.flush_now();
        if !self.has_output() {
            // Whoever ends the connection waits for this.
            self.reader.wake();
        }
    }

    fn look(&self, now: Millis) -> Option<Millis> {
        let mut write = self.lock();
        // An earlier look took this one's place.
        if write.failure.is_some() || now < write.next_look {
            return None;
        }
        if let Some(timeout) = self.due(now, &write) {
            let wakes = self.give_up(&mut write, timeout);
            drop(write);
            wakes.wake();
            self.reader.wake();
            return None;
        }
        let wakes = self.ping_if_due(now, &mut write);
        let next = self.next_look(now, &write);
        write.next_look = next.unwrap_or(NEVER);
        let is_suspect = self.miss_due(now, &write).is_some();
        drop(write);
        wakes.wake();
        if is_suspect {
            self.is_suspect.store(true, Ordering::Relaxed);
            self.reader.wake();
        }
        next
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.helpers.on_gone();
    }
}

/// Writes the front of what is queued in several pieces.
fn write_many<S: Stream>(
    out: &proto::Sender,
    transport: &mut Transport<S>,
    waker: &mut OwnWaker<'_, S>,
) -> Poll<std::io::Result<usize>> {
    let mut slices = [std::io::IoSlice::new(&[]); MAX_SLICES];
    let filled = out.output(&mut slices);
    transport.poll_write(waker, &slices[..filled])
}

/// `timeout` after `at`, rounded up.
fn after(at: Millis, timeout: Duration) -> Millis {
    at.saturating_add(u64::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(NEVER)).min(NEVER - 1)
}

/// `deadline`, or if that has passed `timeout` from `now`.
fn again(deadline: Option<Millis>, now: Millis, timeout: Option<Duration>) -> Option<Millis> {
    deadline.map(|at| if at > now { at } else { after(now, timeout.unwrap_or_default()) })
}

/// Whether `timeout` has passed since `at`; it never has if `at` is `NEVER`.
fn has_passed(now: Millis, at: Millis, timeout: Option<Duration>) -> bool {
    at != NEVER && timeout.is_some_and(|timeout| now >= after(at, timeout))
}
