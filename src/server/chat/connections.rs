//! Who is connected, for the limits, for a shutdown, and for whoever asks.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::chat::room::{Contact, Order};
use crate::net::Sender;

use super::super::metrics::Refused;
use super::super::shutdown;
use super::RETRY_AFTER;
use super::mailbox::Mailbox;

/// How many there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// In all; by default as many as the system gives.
    pub total: Option<usize>,
    /// From one address, those of this machine not counted.
    pub per_address: Option<usize>,
}

/// Who is connected.
#[derive(Default)]
pub(super) struct Connections {
    state: Mutex<State>,
    /// Told when somebody goes.
    gone: Notify,
    /// Told when the shutdown begins.
    shutdown: Notify,
}

#[derive(Default)]
struct State {
    next_id: u64,
    /// Bounded by `Limits::total`.
    served: usize,
    /// Bounded by `MAX_REFUSED`.
    refused: usize,
    /// Bounded by `Limits::total`.
    by_address: HashMap<IpAddr, usize>,
    /// Those whose handshake is done.
    known: HashMap<u64, Known>,
    is_shutting_down: bool,
}

/// So many are refused politely at once; more are dropped.
const MAX_REFUSED: usize = 1024;

struct Known {
    sender: Sender,
    mailbox: Arc<Mailbox>,
    address: IpAddr,
    form: &'static str,
    name: Option<Box<str>>,
    rooms: Vec<Box<str>>,
    since: u64,
}

/// A connection, as it is shown to administrators.
pub(super) struct Shown {
    pub(super) id: u64,
    pub(super) name: Option<String>,
    pub(super) rooms: Vec<String>,
    pub(super) address: IpAddr,
    pub(super) form: &'static str,
    pub(super) since: u64,
}

/// A place among the connections, given up when it is dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Served(u64, IpAddr),
    Refused,
}

/// How somebody is let in.
pub(super) enum Entrance {
    /// There is room.
    Served(Place),
    /// There is none, and it is told so.
    Refused(Place, Refused),
    /// There isn't even room to say that.
    Dropped,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(self: &Arc<Self>, peer: SocketAddr, limits: Limits) -> Entrance {
        let mut state = self.lock();
        let address = peer.ip().to_canonical();
        let place = |kind| Place { connections: self.clone(), kind };
        let from_there = state.by_address.get(&address).copied().unwrap_or(0);
        let is_crowd = !address.is_loopback() && limits.per_address.is_some_and(|max| from_there >= max);
        let reason = match () {
            () if state.is_shutting_down => Some(Refused::ShuttingDown),
            () if is_crowd => Some(Refused::AddressLimit),
            () if limits.total.is_some_and(|max| state.served >= max) => Some(Refused::Limit),
            () => None,
        };
        if let Some(reason) = reason {
            if state.refused >= MAX_REFUSED {
                return Entrance::Dropped;
            }
            state.refused += 1;
            return Entrance::Refused(place(Kind::Refused), reason);
        }
        state.served += 1;
        state.next_id += 1;
        *state.by_address.entry(address).or_default() += 1;
        Entrance::Served(place(Kind::Served(state.next_id, address)))
    }

    /// How many are served.
    pub(super) fn served(&self) -> usize {
        self.lock().served
    }

    /// All whose handshake is done, by number.
    pub(super) fn list(&self) -> Vec<Shown> {
        let state = self.lock();
        let mut list: Vec<_> = state.known.iter().map(|(id, known)| known.show(*id)).collect();
        drop(state);
        list.sort_by_key(|connection| connection.id);
        list
    }

    /// Has a connection closed; `false` if there is none of that number.
    pub(super) fn disconnect(&self, id: u64) -> bool {
        let mailbox = self.lock().known.get(&id).map(|known| known.mailbox.clone());
        mailbox.inspect(|mailbox| mailbox.order(Order::Disconnect)).is_some()
    }

    /// Ready when the shutdown began so long ago.
    pub(super) async fn shut_down_since(&self, grace: Duration) {
        let shutdown = self.shutdown.notified();
        if !self.is_shutting_down() {
            shutdown.await;
        }
        tokio::time::sleep(grace).await;
    }

    pub(super) fn begin_shutdown(&self) {
        self.lock().is_shutting_down = true;
        self.shutdown.notify_waiters();
    }

    pub(super) fn is_shutting_down(&self) -> bool {
        self.lock().is_shutting_down
    }
}

impl Known {
    fn show(&self, id: u64) -> Shown {
        Shown {
            id,
            name: self.name.as_deref().map(str::to_owned),
            rooms: self.rooms.iter().map(|room| room.to_string()).collect(),
            address: self.address,
            form: self.form,
            since: self.since,
        }
    }
}

impl Place {
    /// Its number.
    pub(super) fn id(&self) -> u64 {
        match self.kind {
            Kind::Served(id, _) => id,
            Kind::Refused => 0,
        }
    }

    /// Where it comes from.
    pub(super) fn address(&self) -> IpAddr {
        match self.kind {
            Kind::Served(_, address) => address,
            Kind::Refused => IpAddr::from([0, 0, 0, 0]),
        }
    }

    /// It counts as of another address: the client's, not the proxy's. `false` if there are too many from there.
    pub(super) fn comes_from(&mut self, client: IpAddr, limits: Limits) -> bool {
        let Kind::Served(id, before) = self.kind else { return true };
        let client = client.to_canonical();
        if client == before {
            return true;
        }
        let mut state = self.connections.lock();
        let from_there = state.by_address.entry(client).or_default();
        if !client.is_loopback() && limits.per_address.is_some_and(|max| *from_there >= max) {
            return false;
        }
        *from_there += 1;
        state.leave(before);
        self.kind = Kind::Served(id, client);
        true
    }

    /// Its handshake is done.
    pub(super) fn register(&self, sender: Sender, mailbox: Arc<Mailbox>, form: &'static str) {
        let Kind::Served(id, address) = self.kind else { return };
        let mut state = self.connections.lock();
        if state.is_shutting_down {
            let _ = sender.close(shutdown::going_away(RETRY_AFTER));
        }
        let since = crate::hub::now();
        state
            .known
            .insert(id, Known { sender, mailbox, address, form, name: None, rooms: Vec::new(), since });
    }

    /// By which name it is where, as it was last described.
    pub(super) fn description(&self) -> (Option<String>, Vec<String>) {
        let state = self.connections.lock();
        let shown = state.known.get(&self.id()).map(|known| known.show(self.id()));
        shown.map_or_else(Default::default, |shown| (shown.name, shown.rooms))
    }

    /// By which name it is where.
    pub(super) fn describe<'a>(&self, name: &str, rooms: impl Iterator<Item = &'a str>) {
        if let Some(known) = self.connections.lock().known.get_mut(&self.id()) {
            known.name = Some(name.into());
            known.rooms = rooms.map(Into::into).collect();
        }
    }
}

impl State {
    fn leave(&mut self, address: IpAddr) {
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.connections.lock();
        let known = match self.kind {
            Kind::Served(id, address) => {
                state.served -= 1;
                state.leave(address);
                state.known.remove(&id)
            }
            Kind::Refused => {
                state.refused -= 1;
                None
            }
        };
        drop(state);
        // Outside the lock: it may be the last handle of its connection.
        drop(known);
        self.connections.gone.notify_waiters();
    }
}

impl shutdown::Shutdown for Connections {
    fn clients(&self) -> Vec<Sender> {
        self.lock().known.values().map(|known| known.sender.clone()).collect()
    }

    fn left(&self) -> usize {
        let state = self.lock();
        state.served + state.refused
    }

    async fn somebody_gone(&self) {
        self.gone.notified().await;
    }
}
