//! A connection's ends: what it says, where a room's messages go, how it ends.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::task::Waker;

use crate::chat::room::{Contact, Order};
use crate::hub::{Delivery, Missed, Outlet};
use crate::net::{Error, Receiver, Sender};
use crate::proto::{Batch, CloseCode, CloseFrame, Message, Prepared};

use super::super::member::SocketMember;
use super::super::metrics::Metrics;
use super::mailbox::Mailbox;

/// A connection's ends.
pub(super) struct Line {
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tally: Arc<Tally>,
}

/// How a connection went, for whoever keeps the books.
#[derive(Debug, Default)]
pub(super) struct Tally {
    bytes: AtomicU64,
    /// The codes of the Closes that were sent; 0 is none.
    ours: AtomicU16,
    theirs: AtomicU16,
}

impl Tally {
    /// How many bytes of messages the client sent.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The code of the Close that we sent, if we closed it.
    pub(super) fn ours(&self) -> Option<CloseCode> {
        code(&self.ours)
    }

    /// The code of the client's Close, if there was one.
    pub(super) fn theirs(&self) -> Option<CloseCode> {
        code(&self.theirs)
    }

    /// It is closed with this code.
    pub(super) fn close(&self, code: CloseCode) {
        self.ours.store(code.get(), Ordering::Relaxed);
    }
}

fn code(number: &AtomicU16) -> Option<CloseCode> {
    CloseCode::try_from(number.load(Ordering::Relaxed)).ok()
}

impl Line {
    /// A message came.
    pub(super) fn count(&self, message: &Message) {
        self.tally.bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
        self.metrics.messages_received.inc();
        self.metrics.bytes_received.inc_by(message.len() as u64);
    }

    /// Closes the connection.
    pub(super) fn close(&self, frame: Option<CloseFrame>) -> Result<(), Error> {
        if let Some(frame) = &frame {
            self.tally.close(frame.code());
        }
        self.sender.close(frame)
    }

    /// Waits for the end of the closing handshake.
    pub(super) async fn closed(mut self) -> Result<(), Error> {
        let result = self.receiver.closed().await;
        if let Some(frame) = self.receiver.close_frame() {
            self.tally.theirs.store(frame.code().get(), Ordering::Relaxed);
        }
        result
    }

    /// Where a room's messages go; `missed` makes the news that some didn't.
    pub(super) fn outlet(
        &self,
        missed: impl Fn(&Missed) -> Prepared + Send + Sync + 'static,
    ) -> Arc<dyn Outlet> {
        let member = SocketMember::with_notice(self.sender.clone(), missed);
        let (mailbox, metrics, tally) = (self.mailbox.clone(), self.metrics.clone(), self.tally.clone());
        Arc::new(LineOutlet { member, mailbox, metrics, tally })
    }
}

/// A connection as a room sees it.
struct LineOutlet {
    member: SocketMember,
    mailbox: Arc<Mailbox>,
    metrics: Arc<Metrics>,
    tally: Arc<Tally>,
}

impl Outlet for LineOutlet {
    fn deliver(&self, batch: &Batch, range: Range<usize>) -> Delivery {
        let delivery = self.member.deliver(batch, range);
        if let Delivery::Taken(messages) = delivery {
            self.metrics.messages_sent.inc_by(messages as u64);
        }
        delivery
    }

    fn deliver_missed(&self, missed: Missed) -> Delivery {
        self.member.deliver_missed(missed)
    }

    fn wake_when_ready(&self, waker: &Waker) -> bool {
        self.member.wake_when_ready(waker)
    }

    fn on_too_slow(&self) {
        self.tally.close(CloseCode::TRY_AGAIN_LATER);
        self.member.on_too_slow();
        // It has left: its task says so now, not when the connection has ended.
        self.mailbox.order(Order::TooSlow);
    }
}
