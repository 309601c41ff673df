//! Sessions of the JSON form: who goes on with one after a lost connection.
//!
//! A session's secret is computed from its id with a key of the server's, so that nothing has to be remembered for
//! it; with a data directory the key is kept there, and a client is the same one after a restart.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::name::UserName;
use super::room::{Contact, Order, Presence};
use super::wire::json::Credentials;

/// How long a session whose connection was lost is held.
pub const HOLD: Duration = Duration::from_secs(5);

/// How long whoever takes a session over waits for its old connection to let go.
const HANDOVER: Duration = Duration::from_secs(2);

const KEY_FILE: &str = "session.key";

/// The sessions of a server.
pub struct Sessions {
    key: [u8; 32],
    state: Mutex<State>,
    /// Told when a session is held or gone.
    news: Notify,
}

#[derive(Default)]
struct State {
    /// Bounded by the connections there are, and by how many of them are lost in five seconds.
    live: HashMap<String, Arc<dyn Contact>>,
    held: HashMap<String, Held>,
    /// Until when each is held, the first one first.
    until: VecDeque<(Instant, String, u64)>,
    next: u64,
}

/// A session without a connection.
#[derive(Debug)]
pub struct Held {
    /// By which name it goes.
    pub name: UserName,
    /// Where it is seen.
    pub presences: Vec<Presence>,
    number: u64,
}

impl Sessions {
    /// Sessions whose key lies in a folder, or is new for this process.
    ///
    /// # Errors
    ///
    /// If the key can't be read or written.
    pub fn new(folder: Option<&Path>) -> io::Result<Arc<Self>> {
        let key = match folder {
            Some(folder) => key_of(folder)?,
            None => random(),
        };
        let sessions = Arc::new(Self { key, state: Mutex::default(), news: Notify::new() });
        tokio::spawn(end_held(Arc::downgrade(&sessions)));
        Ok(sessions)
    }

    /// A new session.
    pub fn create(&self) -> Credentials {
        let id = random_text::<16>();
        Credentials { secret: self.secret(&id), id }
    }

    /// Whether credentials are ours.
    pub fn verify(&self, credentials: &Credentials) -> bool {
        let Ok(secret) = URL_SAFE_NO_PAD.decode(&credentials.secret) else { return false };
        credentials.id.len() <= 64 && self.mac(&credentials.id).verify_slice(&secret).is_ok()
    }

    fn secret(&self, id: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.mac(id).finalize().into_bytes())
    }

    fn mac(&self, id: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length will do");
        mac.update(id.as_bytes());
        mac
    }

    /// Takes a session over from whoever has it: what was held of it, if anything.
    ///
    /// # Cancel safety
    ///
    /// Dropped it has taken nothing over; the old connection may be gone.
    pub async fn take_over(&self, id: &str, contact: &Arc<dyn Contact>) -> Option<Held> {
        let deadline = Instant::now() + HANDOVER;
        loop {
            let news = self.news.notified();
            let mut news = std::pin::pin!(news);
            news.as_mut().enable();
            {
                let mut state = self.lock();
                let held = state.held.remove(id);
                match state.live.get(id) {
                    Some(other) if held.is_none() && Instant::now() < deadline => other.order(Order::GiveUp),
                    _ => {
                        state.live.insert(id.to_owned(), contact.clone());
                        return held;
                    }
                }
            }
            let _ = tokio::time::timeout_at(deadline, news).await;
        }
    }

    /// The connection of a session was lost: it is held for a while, unless another connection has it already.
    pub fn hold(&self, id: &str, contact: &Arc<dyn Contact>, name: UserName, presences: Vec<Presence>) {
        let mut state = self.lock();
        if state.live.get(id).is_some_and(|live| Arc::ptr_eq(live, contact)) {
            state.live.remove(id);
            state.next += 1;
            let number = state.next;
            state.until.push_back((Instant::now() + HOLD, id.to_owned(), number));
            let before = state.held.insert(id.to_owned(), Held { name, presences, number });
            drop(state);
            drop(before);
        } else {
            drop(state);
            drop(presences);
        }
        self.news.notify_waiters();
    }

    /// A session has ended for good.
    pub fn end(&self, id: &str, contact: &Arc<dyn Contact>) {
        let mut state = self.lock();
        if state.live.get(id).is_some_and(|live| Arc::ptr_eq(live, contact)) {
            state.live.remove(id);
        }
        drop(state);
        self.news.notify_waiters();
    }

    /// How many are held.
    pub fn held(&self) -> usize {
        self.lock().held.len()
    }

    /// Lets go of whoever's time is over, and returns when the next one's is.
    fn end_due(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut gone = Vec::new();
        let mut state = self.lock();
        let next = loop {
            match state.until.front() {
                Some((until, ..)) if *until > now => break Some(*until),
                Some(_) => {}
                None => break None,
            }
            let Some((_, id, number)) = state.until.pop_front() else { break None };
            if state.held.get(&id).is_some_and(|held| held.number == number) {
                gone.extend(state.held.remove(&id));
            }
        };
        drop(state);
        // Outside the lock: everybody in their rooms is told.
        drop(gone);
        next
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("held", &self.held()).finish_non_exhaustive()
    }
}

/// Ends what was held for too long, until the sessions are gone.
async fn end_held(sessions: Weak<Sessions>) {
    loop {
        let Some(strong) = sessions.upgrade() else { return };
        let next = strong.end_due();
        drop(strong);
        // Nothing is held for less than this, so nothing is missed by looking again then.
        tokio::time::sleep_until(next.unwrap_or_else(|| Instant::now() + HOLD)).await;
    }
}

fn key_of(folder: &Path) -> io::Result<[u8; 32]> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(KEY_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|_| {
            let why = format!("{} has to have 32 bytes: remove it, and a new one is made", path.display());
            io::Error::new(io::ErrorKind::InvalidData, why)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = random();
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            io::Write::write_all(&mut options.open(&path)?, &key)?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    bytes
}

/// A text that nobody can guess, of so many random bytes.
pub(super) fn random_text<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(random::<N>())
}
