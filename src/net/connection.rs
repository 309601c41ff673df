//! What the parts of one connection share: its write side behind one short lock, and how it stands.
//!
//! Whoever has something to say (the reader with a Pong, a sender in any task, the wheel with a Ping) takes the
//! lock, encodes, and tries the write at once. If the socket is full the bytes wait in the queue. The one waker
//! that is ever registered for writing is the connection's own: it takes no lock of the connection, holds it
//! weakly, and puts it on the flusher's list. So no task overwrites another's waker, and what was queued goes out
//! even if nobody polls the connection. No waker of anybody's is called while the lock is held.

mod deadlines;
mod outlet;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use atomic_waker::AtomicWaker;
use tokio::task;

use crate::proto::{self, CloseFrame, Limits, Message, Role, SendError};

use super::clocks::{Clocks, NEVER};
use super::error::{Error, Failure, TrySendError};
use super::helpers::{Helpers, Millis, Watched};
use super::timeouts::Timeouts;
use super::transport::{ReadInto, Stream, Transport};
use super::waker::{OwnWaker, Signal};

pub(super) use outlet::Outlet;

use deadlines::after;

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
    /// Who waits for room, or for the queue to be written.
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

/// What became of a message that was to be sent at once.
pub(super) enum Sent {
    Queued,
    /// There is no room for it.
    Full,
    /// It can't be sent at all. Boxed, since it hardly ever is there.
    Refused(Box<Error>),
}

impl Sent {
    #[cold]
    fn refused(error: Error) -> Self {
        Self::Refused(Box::new(error))
    }
}

/// Who waits; `None` while nobody does.
type Waiters = Option<Box<Waiting>>;

#[derive(Default)]
struct Waiting {
    /// Tasks, each under its ticket. They may be woken too early.
    tasks: Vec<(Ticket, Waker)>,
    /// Who sends batches. Woken before everything is written they would only find the socket full again, and two of
    /// them would wake each other for ever.
    batches: Vec<Waker>,
}

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

    /// These and those.
    fn join(&mut self, more: Self) {
        match (&mut self.0, more.0) {
            (Some(these), Some(those)) => {
                these.tasks.extend(those.tasks);
                these.batches.extend(those.batches);
            }
            (none @ None, those) => *none = those,
            (Some(_), None) => {}
        }
    }
}

#[cold]
fn wake_all(Waiting { tasks, batches }: Waiting) {
    for waker in tasks.into_iter().map(|(_, waker)| waker).chain(batches) {
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
            Urgency::ByTask => self.is_reading(&write),
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

    /// Whether we are in the task of a reader that has more input.
    fn is_reading(&self, write: &WriteSide<S>) -> bool {
        self.has_input.load(Ordering::Relaxed)
            && write.reader_task.is_some()
            && write.reader_task == task::try_id()
    }

    /// Takes a message and queues it, if there is room; it stays where it is if there isn't.
    ///
    /// Not by `try_submit`, and the answer fits into two registers: what goes through memory here, a closure's
    /// captures or an error that isn't there, is moved for every message.
    #[inline(always)]
    pub(super) fn try_send_from(&self, message: &mut Option<Message>, urgency: Urgency) -> Sent {
        let mut write = self.lock();
        if let Err(error) = write.check() {
            return Sent::refused(error);
        }
        if !write.has_room(&self.settings.limits) {
            return Sent::Full;
        }
        let Some(message) = message.take() else { return Sent::Queued };
        if let Err(error) = write.out.send(message) {
            return Sent::refused(error.into());
        }
        self.after_encode(write, urgency);
        Sent::Queued
    }

    /// Puts the connection on the flusher's list.
    pub(super) fn list(&self) {
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
        // A waiter that is woken looks again and may come back here: without progress two would wake each other.
        let has_progress = result.is_ready() || write.out.written_total() > before;
        match result {
            Poll::Ready(Ok(())) => {
                write.clocks.unblock();
                self.has_output.store(false, Ordering::Release);
            }
            Poll::Ready(Err(error)) => return self.fail_locked(write, Failure::from(&error)),
            Poll::Pending => self.on_blocked(write, before),
        }
        if !has_progress {
            // Whoever waits has seen all that there is to see.
            Wakes::default()
        } else if write.out.queued_bytes() == 0 {
            Wakes(write.waiters.take())
        } else if write.has_room_in_bytes(&self.settings.limits) {
            write.take_tasks()
        } else {
            Wakes::default()
        }
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
        if write.out.queued_bytes() > 0 || write.shutdown == Shutdown::Wanted {
            self.has_output.store(true, Ordering::Release);
        }
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
        if let Some(reader) = self.reader.take() {
            // It waits for nothing any more, in no place among the others: any ticket does.
            write.waiters.get_or_insert_default().tasks.push((Ticket::MIN, reader));
        }
        Wakes(std::mem::take(&mut write.waiters))
    }

    /// Frees the socket.
    pub(super) fn free(&self, failure: Failure) {
        let mut write = self.lock();
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

    /// The tasks among those that wait.
    fn take_tasks(&mut self) -> Wakes {
        match &mut self.waiters {
            Some(waiting) if !waiting.batches.is_empty() => {
                let tasks = std::mem::take(&mut waiting.tasks);
                Wakes((!tasks.is_empty()).then(|| Box::new(Waiting { tasks, batches: Vec::new() })))
            }
            waiters => Wakes(waiters.take()),
        }
    }

    /// Registers somebody who has a batch to send.
    fn wait_with_batch(&mut self, waker: &Waker) {
        let batches = &mut self.waiters.get_or_insert_default().batches;
        if !batches.iter().any(|other| other.will_wake(waker)) {
            batches.push(waker.clone());
        }
    }

    fn want_shutdown(&mut self) {
        if self.shutdown == Shutdown::No {
            self.shutdown = Shutdown::Wanted;
        }
    }

    /// Registers a task that waits; `ticket` is its place, kept from one poll to the next.
    fn wait(&mut self, cx: &Context<'_>, ticket: &mut Option<Ticket>) {
        let waiters = &mut self.waiters.get_or_insert_default().tasks;
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
