//! A connection as a member of a hub's room.

use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;

use crate::hub::{Delivery, Missed, Outlet};
use crate::net::Sender;
use crate::proto::{Batch, CloseCode, CloseFrame, Prepared};

/// A connection that gets what is published in a room.
///
/// ```
/// # async fn example(hub: std::sync::Arc<switchboard::hub::Hub>, stream: tokio::net::TcpStream)
/// # -> Result<(), switchboard::Error> {
/// use switchboard::hub::Form;
/// use switchboard::{Prepared, SocketMember, WebSocket};
///
/// let (sender, mut receiver) = WebSocket::accept(stream).await?.split();
/// let member = hub.room("lobby").join(SocketMember::new(sender), Form::default());
/// while let Some(message) = receiver.recv().await? {
///     member.publish(Prepared::from(message)).await;
/// }
/// # Ok(())
/// # }
/// ```
pub struct SocketMember {
    sender: Sender,
    /// How it is told that it missed something, if it is.
    missed: Option<Notice>,
}

type Notice = Box<dyn Fn(&Missed) -> Prepared + Send + Sync>;

impl SocketMember {
    /// A member that isn't told what it missed.
    pub fn new(sender: Sender) -> Arc<Self> {
        Arc::new(Self { sender, missed: None })
    }

    /// A member that is told what it missed by the message that `missed` makes.
    pub fn with_notice(sender: Sender, missed: impl Fn(&Missed) -> Prepared + Send + Sync + 'static) -> Self {
        Self { sender, missed: Some(Box::new(missed)) }
    }
}

impl Outlet for SocketMember {
    fn deliver(&self, batch: &Batch, range: Range<usize>) -> Delivery {
        match self.sender.try_send_batch(batch, range) {
            Ok(taken) => Delivery::Taken(taken),
            Err(_) => Delivery::Closed,
        }
    }

    fn deliver_missed(&self, missed: Missed) -> Delivery {
        match &self.missed {
            Some(notice) => self.deliver(&notice(&missed).into(), 0..1),
            None => Delivery::Taken(1),
        }
    }

    fn wake_when_ready(&self, waker: &Waker) -> bool {
        self.sender.wake_when_written(waker)
    }

    fn on_too_slow(&self) {
        let frame = CloseFrame::new(CloseCode::TRY_AGAIN_LATER, "your connection is too slow for this room");
        // It may be closed already.
        let _ = self.sender.cut_and_close(frame.ok());
    }
}

impl std::fmt::Debug for SocketMember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketMember").field("sender", &self.sender).finish_non_exhaustive()
    }
}
