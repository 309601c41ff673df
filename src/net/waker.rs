//! The one waker that a connection registers for writing, and that a stream which isn't TCP gets for reading too.
//!
//! It takes no lock of the connection: a duplex or TLS stream may call it from inside a poll, while the lock is
//! held. And it holds the connection weakly: tokio keeps it in the socket's registration, where a strong reference
//! would keep the socket of a peer that stopped reading for ever.

use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

use super::connection::Connection;
use super::transport::Stream;

/// Makes the connection's waker when it is first needed.
#[derive(Debug)]
pub(super) struct OwnWaker<'a, S> {
    /// Where the connection keeps it.
    pub(super) made: &'a mut Option<Waker>,
    pub(super) connection: &'a Weak<Connection<S>>,
}

impl<S: Stream> OwnWaker<'_, S> {
    pub(super) fn get(&mut self) -> &Waker {
        let connection = self.connection;
        self.made.get_or_insert_with(|| Waker::from(Arc::new(Signal(connection.clone()))))
    }
}

/// What the waker does.
struct Signal<S>(Weak<Connection<S>>);

impl<S: Stream> Wake for Signal<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(connection) = self.0.upgrade() {
            connection.on_ready();
        }
    }
}
