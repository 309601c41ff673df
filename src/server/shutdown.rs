//! Going down in order: nobody is left without an answer, and not everybody comes back at once.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::handshake::RequestError;
use crate::net::{Acceptor, Sender};
use crate::proto::{CloseCode, CloseFrame};

/// How a server goes down.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long it may take. By half of it everybody is told, at the end whoever is left is cut off.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10) }
    }
}

/// A server that goes down.
pub(super) trait Shutdown {
    /// Everybody who is to be told.
    fn clients(&self) -> Vec<Sender>;

    /// How many connections are left, those that are only being refused among them.
    fn left(&self) -> usize;

    /// Ready when some connection has ended.
    fn somebody_gone(&self) -> impl Future<Output = ()>;
}

/// Up to so many are told at once; more are told in batches.
const AT_ONCE: usize = 1000;

/// How many batches there are then.
const BATCHES: u32 = 10;

/// Tells everybody, waits for them to go, and returns when they are gone or the time is up.
pub(super) async fn drain(server: &impl Shutdown, settings: Settings) {
    let deadline = Instant::now() + settings.timeout;
    let clients = server.clients();
    let batch = clients.len().div_ceil(BATCHES as usize).max(AT_ONCE);
    let pause = settings.timeout / 2 / BATCHES;
    for (number, clients) in clients.chunks(batch).enumerate() {
        if number > 0 {
            tokio::time::sleep(pause).await;
        }
        for (at, client) in clients.iter().enumerate() {
            // Spread over some seconds, so that they don't all come back in the same one.
            let _ = client.close(going_away(Duration::from_secs(1 + at as u64 % 5)));
        }
    }
    drop(clients);
    while server.left() > 0 {
        let gone = server.somebody_gone();
        // Somebody may go between the look and the wait: look again soon.
        let soon = deadline.min(Instant::now() + Duration::from_millis(50));
        if tokio::time::timeout_at(soon, gone).await.is_err() && Instant::now() >= deadline {
            tracing::warn!(left = server.left(), "the time is up: cutting off who is left");
            return;
        }
    }
}

/// The Close of a server that goes down, with advice when to come back.
pub(super) fn going_away(retry_after: Duration) -> CloseFrame {
    let reason = format!("retry-after={}", retry_after.as_secs());
    CloseFrame::new(CloseCode::GOING_AWAY, reason).expect("a short reason")
}

/// Reads a request and refuses it.
pub(super) async fn refuse(stream: TcpStream, acceptor: Acceptor, error: RequestError) {
    if let Ok(request) = acceptor.read_http(stream).await {
        // It is refused whether the answer arrives or not.
        let _ = request.respond(&error.response()).await;
    }
}
