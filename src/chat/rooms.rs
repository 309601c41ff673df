//! All rooms of a server: opened when they are needed, from the disk if there is one, and bounded.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::hub::{self, Accounting, Hub};

use super::content::Content;
use super::room::Room;
use super::room_name::RoomName;
use super::store::{Store, StoreError};

/// How rooms are, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Each room.
    pub room: hub::Settings,
    /// How many there may be at once. Those where nobody is make place for others.
    pub max_rooms: usize,
    /// What the histories of all of them may cost, in bytes.
    pub max_history_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { room: hub::Settings::default(), max_rooms: 100_000, max_history_bytes: 256 << 20 }
    }
}

/// Why a room can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There are `max_rooms` rooms with somebody in them.
    #[error("there are too many rooms: join one that exists")]
    TooManyRooms,
    /// Its history can't be read.
    #[error("the history of this room can't be read: {0}")]
    Store(#[from] StoreError),
}

/// All rooms.
#[derive(Debug)]
pub struct Rooms {
    hub: Hub<Content>,
    settings: Settings,
    store: Option<Arc<Store>>,
    open: Mutex<HashMap<RoomName, Arc<OnceCell<Arc<Room>>>>>,
    /// The books of rooms that were closed.
    closed: Mutex<Accounting>,
}

impl Rooms {
    /// No rooms yet.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn new(settings: Settings, store: Option<Arc<Store>>) -> Self {
        Self {
            hub: Hub::new(settings.room),
            settings,
            store,
            open: Mutex::default(),
            closed: Mutex::default(),
        }
    }

    /// The room of that name, which is opened if it isn't.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped it has opened nothing.
    pub async fn get(&self, name: &RoomName) -> Result<Arc<Room>, OpenError> {
        let cell = self.cell(name)?;
        let opened = cell.get_or_try_init(|| self.load(name)).await.cloned();
        if opened.is_err() {
            let mut open = self.lock();
            // Unless somebody else waits for it, or has made a new one: there is one room of a name.
            let is_ours = open.get(name).is_some_and(|other| {
                Arc::ptr_eq(other, &cell) && !cell.initialized() && Arc::strong_count(&cell) == 2
            });
            if is_ours {
                open.remove(name);
            }
        }
        opened
    }

    /// The room of that name, if it is open.
    pub fn find(&self, name: &RoomName) -> Option<Arc<Room>> {
        self.lock().get(name)?.get().cloned()
    }

    /// Whether a room that isn't open has something on disk.
    pub async fn is_stored(&self, name: &RoomName) -> bool {
        let Some(store) = self.store.clone() else { return false };
        let name = name.clone();
        let has = tokio::task::spawn_blocking(move || store.contains(name.as_str())).await;
        has.ok().and_then(Result::ok).unwrap_or(false)
    }

    /// All rooms that are open.
    pub fn all(&self) -> Vec<Arc<Room>> {
        self.lock().values().filter_map(|cell| cell.get().cloned()).collect()
    }

    /// The books of all rooms that there are and were.
    pub fn accounting(&self) -> Accounting {
        let mut books = *self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        self.all().iter().for_each(|room| books += room.hub().accounting());
        books
    }

    /// Keeps the histories within their bounds: old messages go, and rooms where nobody is and nothing is left. Call
    /// it from time to time.
    pub fn tidy(&self) {
        let mut rooms = self.all();
        rooms.sort_by_key(|room| room.used.load(Ordering::Relaxed));
        let history = |room: &Arc<Room>| room.hub().look(|view| view.history_bytes());
        let mut total: usize = rooms.iter().map(history).sum();
        for room in &rooms {
            let bytes = history(room);
            let is_over = total > self.settings.max_history_bytes;
            if (is_over || bytes == 0) && !room.is_needed() {
                total = total.saturating_sub(if self.close(room.name()) { bytes } else { 0 });
            }
        }
        // Nobody is in any that could go: then those with the most give half of it, until it fits.
        rooms.sort_by_key(|room| std::cmp::Reverse(history(room)));
        for room in rooms.iter().cycle().take(8 * rooms.len()) {
            if total <= self.settings.max_history_bytes {
                return;
            }
            let bytes = history(room);
            room.hub().shrink_history(bytes / 2);
            total = total.saturating_sub(bytes.saturating_sub(history(room)));
        }
    }

    fn cell(&self, name: &RoomName) -> Result<Arc<OnceCell<Arc<Room>>>, OpenError> {
        let mut open = self.lock();
        if let Some(cell) = open.get(name) {
            return Ok(cell.clone());
        }
        if open.len() >= self.settings.max_rooms {
            let idle = open.iter().filter(|(_, cell)| is_idle(cell));
            let longest =
                idle.min_by_key(|(_, cell)| cell.get().map(|room| room.used.load(Ordering::Relaxed)));
            let longest = longest.map(|(name, _)| name.clone()).ok_or(OpenError::TooManyRooms)?;
            self.keep_books(open.remove(&longest));
        }
        Ok(open.entry(name.clone()).or_default().clone())
    }

    /// Closes a room that nobody holds, or is about to.
    fn close(&self, name: &RoomName) -> bool {
        let mut open = self.lock();
        // Two: ours, and the list's of whoever tidies.
        let is_idle = open.get(name).filter(|cell| Arc::strong_count(cell) == 1).is_some_and(|cell| {
            cell.get().is_some_and(|room| Arc::strong_count(room) <= 2 && room.count() == 0)
        });
        let closed = if is_idle { open.remove(name) } else { None };
        let is_closed = closed.is_some();
        self.keep_books(closed);
        is_closed
    }

    /// A room is closed, but what it delivered counts on.
    fn keep_books(&self, closed: Option<Arc<OnceCell<Arc<Room>>>>) {
        if let Some(room) = closed.as_ref().and_then(|cell| cell.get()) {
            *self.closed.lock().unwrap_or_else(PoisonError::into_inner) += room.hub().accounting();
        }
    }

    async fn load(&self, name: &RoomName) -> Result<Arc<Room>, OpenError> {
        let saved = match &self.store {
            Some(store) => {
                let (store, name) = (store.clone(), name.clone());
                let load = move || Ok((store.load(name.as_str())?, store.load_bans(name.as_str())?));
                tokio::task::spawn_blocking(load).await.unwrap_or(Err(StoreError::Closed))?
            }
            None => (None, Vec::new()),
        };
        let (saved, bans) = saved;
        let (epoch, offset, records) = match saved {
            Some(saved) => (saved.epoch, saved.next_offset - 1, saved.records),
            None => (new_epoch(), 0, Vec::new()),
        };
        let room =
            Room::new(name.clone(), epoch, self.hub.open(self.settings.room, offset), self.store.clone());
        room.restore(records, bans);
        Ok(Arc::new(room))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RoomName, Arc<OnceCell<Arc<Room>>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_idle(cell: &Arc<OnceCell<Arc<Room>>>) -> bool {
    // One that nobody waits for any more was never opened.
    let is_held =
        cell.get().is_some_and(|room| Arc::strong_count(room) > 1 || room.count() > 0 || room.is_needed());
    Arc::strong_count(cell) == 1 && !is_held
}

/// A name for a history that no other one has.
fn new_epoch() -> String {
    super::sessions::random_text::<6>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::name::UserName;

    #[tokio::test]
    async fn an_empty_room_is_forgotten_unless_its_bans_are_nowhere_else() {
        let rooms = Rooms::new(Settings::default(), None);
        let [empty, banned] = ["empty", "banned"].map(|name| RoomName::parse(name).unwrap());
        rooms.get(&empty).await.unwrap();
        let eve = UserName::parse("Eve").unwrap();
        rooms.get(&banned).await.unwrap().ban(&eve, 60_000, ("Mia", None)).unwrap();
        rooms.tidy();
        assert!(rooms.find(&empty).is_none() && rooms.find(&banned).is_some());
        rooms.get(&banned).await.unwrap().ban(&eve, 0, ("Mia", None)).unwrap();
        rooms.tidy();
        assert!(rooms.find(&banned).is_none());
    }

    #[tokio::test]
    async fn a_room_that_somebody_is_about_to_join_is_not_closed() {
        let rooms = Rooms::new(Settings::default(), None);
        let name = RoomName::parse("lobby").unwrap();
        let room = rooms.get(&name).await.unwrap();
        rooms.tidy();
        assert!(Arc::ptr_eq(&room, &rooms.find(&name).unwrap()));
    }
}
