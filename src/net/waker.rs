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
pub(super) struct OwnWaker<'a, S> {
    /// Where the connection keeps what the waker does.
    signal: &'a mut Option<Arc<Signal<S>>>,
    connection: &'a Weak<Connection<S>>,
    /// For this call.
    made: Option<Waker>,
}

impl<'a, S: Stream> OwnWaker<'a, S> {
    pub(super) fn new(signal: &'a mut Option<Arc<Signal<S>>>, connection: &'a Weak<Connection<S>>) -> Self {
        Self { signal, connection, made: None }
    }

    pub(super) fn get(&mut self) -> &Waker {
        let Self { signal, connection, made } = self;
        made.get_or_insert_with(|| {
            // Always the same one, so that whoever holds it already sees that.
            let signal = signal.get_or_insert_with(|| Arc::new(Signal((*connection).clone())));
            Waker::from(signal.clone())
        })
    }
}

/// What the waker does. A connection keeps this: it takes half the place of a [`Waker`].
pub(super) struct Signal<S>(Weak<Connection<S>>);

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
