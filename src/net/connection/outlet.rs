//! A connection as its senders see it, whatever it stands on.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::super::error::{Error, TrySendError};
use super::super::transport::Stream;
use super::{Connection, Sent, Ticket, Urgency, Wakes, WriteSide};
use crate::proto::{Batch, CloseFrame, Message, Piece, Prepared, Role, SendError};

/// A connection as its senders see it, whatever it stands on.
///
/// The polls of this trait register a place among the waiters under `ticket`; whoever gives a wait up says
/// [`Outlet::stop_waiting`].
pub(in crate::net) trait Outlet: Send + Sync {
    /// Queues a message if there is room; it comes back if there isn't.
    fn try_send(&self, message: Message, urgency: Urgency) -> Result<(), TrySendError<Message>>;

    /// Queues a message by reference if there is room.
    fn try_send_prepared(&self, prepared: &Prepared, urgency: Urgency) -> Result<(), TrySendError<()>>;

    /// Writes as many messages of a batch as the socket takes, and returns how many; the last of them may be torn.
    fn try_send_batch(&self, batch: &Batch, range: Range<usize>) -> Result<usize, Error>;

    /// Wakes `waker` once nothing is queued, unless that is so already: then it says `true`.
    fn wake_when_written(&self, waker: &Waker) -> bool;

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
        let mut message = Some(message);
        match self.try_send_from(&mut message, urgency) {
            Sent::Queued => Ok(()),
            Sent::Full => message.map_or(Ok(()), |message| Err(TrySendError::Full(message))),
            Sent::Refused(error) => Err(TrySendError::Refused(*error)),
        }
    }

    fn try_send_prepared(&self, prepared: &Prepared, urgency: Urgency) -> Result<(), TrySendError<()>> {
        self.try_submit((), urgency, |out, ()| out.send_prepared(prepared))
    }

    fn try_send_batch(&self, batch: &Batch, range: Range<usize>) -> Result<usize, Error> {
        match self.settings.role {
            Role::Server => self.write_batch(batch, range),
            Role::Client => {
                let messages = &batch.messages()[range];
                for (taken, message) in messages.iter().enumerate() {
                    match self.try_send_prepared(message, Urgency::Now) {
                        Ok(()) => {}
                        Err(TrySendError::Full(())) => return Ok(taken),
                        Err(TrySendError::Refused(error)) => return Err(error),
                    }
                }
                Ok(messages.len())
            }
        }
    }

    fn wake_when_written(&self, waker: &Waker) -> bool {
        let mut write = self.lock();
        let mut wakes = Wakes::default();
        if write.out.queued_bytes() > 0 {
            // What was fed may be all there is, and nobody else might write it.
            wakes = self.write_out(&mut write);
        }
        // There is output with nothing queued, too: when the socket took nothing of a batch, which went back.
        let is_ready = write.failure.is_some() || !self.has_output() && !write.is_streaming;
        if !is_ready {
            write.wait_with_batch(waker);
        }
        drop(write);
        wakes.wake();
        is_ready
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
        let target = target.get_or_insert(write.out.queued_total());
        // What was cut in the meantime isn't waited for.
        *target = write.out.queued_total().min(*target);
        let target = *target;
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
            waiters.tasks.retain(|(other, _)| *other != ticket);
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
    /// A server's share of a batch: what the socket doesn't take goes back, but for the frame that it tore.
    fn write_batch(&self, batch: &Batch, range: Range<usize>) -> Result<usize, Error> {
        let mut write = self.lock();
        write.check()?;
        if write.out.close_sent() {
            return Err(SendError::Closed.into());
        }
        let mut wakes = Wakes::default();
        if write.out.queued_bytes() > 0 {
            // What was fed or deferred may be all there is.
            wakes = self.write_out(&mut write);
        }
        let mut sent = Ok(0);
        if write.out.queued_bytes() == 0 && !write.is_streaming && write.failure.is_none() {
            let before = write.out.queued_total();
            sent = write.out.send_batch(batch, range.clone()).map(|()| range.len()).map_err(Error::from);
            if sent.is_ok() {
                wakes.join(self.write_out(&mut write));
                if write.out.queued_bytes() > 0 {
                    sent = Ok(write.out.take_back(batch, range, before));
                }
            }
        }
        // What a socket took that failed then reaches nobody.
        let sent = write.check().and(sent);
        drop(write);
        wakes.wake();
        sent
    }

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
        let is_full = !write.has_room_in_bytes(&self.settings.limits);
        drop(write);
        if is_full {
            // Of what was deferred or fed, perhaps: nobody else might write it.
            self.list();
        }
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
