//! Sending on a connection that comes and goes: at once, by the queue, or ahead of it; and the last of it, closing.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream as _;
use futures_sink::Sink as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::super::error::{Error, TrySendError};
use super::super::websocket::WebSocket;
use super::queue::{Queue, Unsent};
use super::{Reconnecting, State};
use crate::proto::{CloseFrame, Message};

/// A connection, and whether the queue may go out on it.
pub(super) struct Open {
    pub(super) ws: WebSocket<TcpStream>,
    pub(super) since: Instant,
    pub(super) hold: Hold,
}

/// Until when the queue has to wait on a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Until the next `recv`: whoever was told of the connection has had a turn.
    UntilReceive,
    UntilRelease,
    Released,
}

impl Reconnecting {
    /// Sends a message: at once if there is a connection that has room for it and nothing else waits, else by the
    /// queue, which `recv` sends in order as there is room.
    ///
    /// While there is a connection and the queue is full it waits for room. Without one it never waits, nor while the
    /// queue is held.
    ///
    /// # Errors
    ///
    /// [`Unsent::Full`], [`Unsent::Ended`]; the message comes back.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has sent and queued nothing.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Unsent> {
        let mut message = Some(message.into());
        poll_fn(|cx| self.poll_send(cx, &mut message)).await
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, slot: &mut Option<Message>) -> Poll<Result<(), Unsent>> {
        let message = slot.take().expect("a future isn't polled after it was ready");
        let Self { state, queue, .. } = self;
        let open = match state {
            State::Ended(_) => return Poll::Ready(Err(Unsent::Ended(message))),
            _ if self.is_closing => return Poll::Ready(Err(Unsent::Ended(message))),
            State::Open(open) if open.may_send(queue) => open,
            _ => return Poll::Ready(queue.push(message)),
        };
        match open.poll_send_now(cx, queue, &message) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            // It has just ended, which `recv` will say: for `send` there is none.
            Poll::Ready(Err(_)) => Poll::Ready(queue.push(message)),
            Poll::Pending if queue.has_room(message.len()) => Poll::Ready(queue.push(message)),
            Poll::Pending => {
                *slot = Some(message);
                Poll::Pending
            }
        }
    }

    /// Sends a message on the present connection, ahead of the queue: to subscribe, to say who we are, to resume.
    ///
    /// If the connection has just ended, the message is lost with it: `recv` says so, and then it is time to send it on
    /// the next one.
    ///
    /// # Errors
    ///
    /// [`Unsent::NotConnected`] if `recv` has told of no connection, [`Unsent::Ended`]; the message comes back.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has sent nothing.
    pub async fn send_first(&mut self, message: impl Into<Message>) -> Result<(), Unsent> {
        let message = message.into();
        match &mut self.state {
            State::Ended(_) => Err(Unsent::Ended(message)),
            State::Open(_) if self.is_closing => Err(Unsent::Ended(message)),
            State::Open(open) => {
                // No error: whoever has just been told of a connection must not stumble over its end.
                let _ = open.ws.send(message).await;
                Ok(())
            }
            _ => Err(Unsent::NotConnected(message)),
        }
    }

    /// Keeps the queue back until [`Reconnecting::release_queue`], or until this connection ends.
    ///
    /// For protocols in which the server has to answer first. Without it the queue goes out with the next `recv` after
    /// [`Event::Connected`](super::Event::Connected). While there is no connection it does nothing.
    pub fn hold_queue(&mut self) {
        self.set_hold(Hold::UntilRelease);
    }

    /// Lets the queue go out with the next `recv`, and what is sent from now on behind it.
    pub fn release_queue(&mut self) {
        self.set_hold(Hold::Released);
    }

    fn set_hold(&mut self, hold: Hold) {
        if let State::Open(open) = &mut self.state {
            open.hold = hold;
        }
    }

    /// Closes for good. With a connection, sends what is queued, unless it is held, then the Close, and waits for the
    /// server's; what the server still sends is read and dropped.
    ///
    /// What couldn't be sent is left in the queue: see [`Reconnecting::take_queued`].
    ///
    /// # Errors
    ///
    /// What ended the connection, if it wasn't the closing handshake.
    ///
    /// # Cancel safety
    ///
    /// Calling it again goes on.
    pub async fn close(&mut self, frame: impl Into<Option<CloseFrame>>) -> Result<(), Error> {
        let frame = frame.into();
        poll_fn(|cx| self.poll_send_rest(cx)).await;
        let State::Open(open) = &mut self.state else {
            if !matches!(self.state, State::Ended(_)) {
                self.state = State::Ended(Ok(()));
            }
            return Ok(());
        };
        self.is_closing = true;
        let closed = open.ws.close(frame).await;
        self.state = State::Ended(Ok(()));
        closed
    }

    /// Begins to close for good, and goes on: with a connection [`Reconnecting::recv`] sends what is queued, unless it
    /// is held, then the Close; it gives what the server still sends, and then `None`. Without one it ends at once.
    ///
    /// From now on nothing can be sent, and however the connection ends, it is the end:
    /// [`Reconnecting::last_cause`] says how.
    pub fn begin_close(&mut self, frame: impl Into<Option<CloseFrame>>) {
        match &self.state {
            State::Open(_) if self.is_closing => {}
            State::Open(_) => {
                self.is_closing = true;
                self.farewell = Some(frame.into());
            }
            State::Ended(_) => {}
            _ => self.state = State::Ended(Ok(())),
        }
    }

    /// Sends the queue, if the connection lives for so long.
    fn poll_send_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Open(open) = &mut self.state else { return Poll::Ready(()) };
        if self.is_closing || open.hold == Hold::UntilRelease {
            return Poll::Ready(());
        }
        open.hold = Hold::Released;
        while open.poll_send_queue(cx, &mut self.queue).is_pending() {
            // A server that answers must not wait for us to read while we wait for it.
            let Some(Ok(_)) = ready!(Pin::new(&mut open.ws).poll_next(cx)) else { return Poll::Ready(()) };
        }
        Poll::Ready(())
    }

    /// How many messages wait in the queue.
    pub fn queued_messages(&self) -> usize {
        self.queue.len()
    }

    /// How many bytes of payload wait in the queue.
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Takes what waits in the queue, the oldest first, so that it isn't sent.
    pub fn take_queued(&mut self) -> Vec<Message> {
        self.queue.take()
    }
}

impl Open {
    /// Whether something new may go out: behind a queue that waits for the next `recv` it has to wait too.
    fn may_send(&self, queue: &Queue) -> bool {
        match self.hold {
            Hold::Released => true,
            Hold::UntilReceive => queue.len() == 0,
            Hold::UntilRelease => false,
        }
    }

    /// Sends what is queued, unless it is held; ready once there is nothing left to send.
    pub(super) fn poll_send_queue(
        &mut self,
        cx: &mut Context<'_>,
        queue: &mut Queue,
    ) -> Poll<Result<(), Error>> {
        if self.hold != Hold::Released {
            return Poll::Ready(Ok(()));
        }
        let mut ws = Pin::new(&mut self.ws);
        while let Some(message) = queue.front() {
            ready!(ws.as_mut().poll_ready(cx))?;
            // It leaves the queue once the connection has it: a clone is a reference.
            ws.as_mut().start_send(message.clone())?;
            queue.pop();
        }
        Poll::Ready(Ok(()))
    }

    /// Sends the queue and `message` behind it.
    fn poll_send_now(
        &mut self,
        cx: &mut Context<'_>,
        queue: &mut Queue,
        message: &Message,
    ) -> Poll<Result<(), Error>> {
        ready!(self.poll_send_queue(cx, queue))?;
        match self.ws.try_send(message.clone()) {
            Ok(()) => return Poll::Ready(Ok(())),
            Err(TrySendError::Refused(error)) => return Poll::Ready(Err(error)),
            Err(TrySendError::Full(_)) => {}
        }
        let mut ws = Pin::new(&mut self.ws);
        ready!(ws.as_mut().poll_ready(cx))?;
        Poll::Ready(ws.start_send(message.clone()))
    }
}
