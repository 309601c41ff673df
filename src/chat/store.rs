//! The history on disk, for a chat server that remembers across restarts.
//!
//! One file in the data directory, one process, one thread that writes. Whatever waits is written in one transaction
//! with one `fsync` (group commit), in the order of the calls; a [`Durable`] resolves once its part of that is on
//! disk, and from then on neither `kill -9` nor a power cut loses it, provided that the disk keeps what it
//! acknowledged. Everything is bounded: what waits (32,768 changes, 32 MiB: more is refused with
//! [`StoreError::Busy`]), what is kept ([`Retention`]), the work of a transaction. After a crash the file is read
//! once as it is opened (some seconds a GiB); otherwise a small one is, so that damage shows at the start.
//!
//! What it doesn't do: it keeps no room in memory, gives out no offsets, and finds no second copies: that is the
//! room's part. A deleted record is gone from every answer; its bytes may stay in the file until they are written over.

mod book;
mod error;
mod queue;
mod read;
mod record;
mod writer;

#[cfg(test)]
mod disk;
#[cfg(test)]
mod model;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, ready};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

pub use error::StoreError;
pub use record::Record;

use queue::{Bounds, Change, Command, Done, Queue};
use writer::{Opener, Writer, guarded};

/// So many offsets a room may hand out whose records aren't stored (yet, or since storing failed). A room that goes
/// beyond that needs a new epoch.
///
/// Each [`Store::load`] moves a room's next offset on by as much, so that an offset means one record for ever. Offsets
/// stay below 2^53, which is as far as JavaScript counts, for some 8,000,000,000 loads of a room.
pub const MAX_UNSTORED: u64 = 1 << 20;

/// The longest name of a room, and the longest key of a ban, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// What may wait for the writer.
const QUEUE: Bounds = Bounds { commands: 32_768, bytes: 32 << 20 };

/// What the database may keep in memory.
const CACHE_BYTES: usize = 32 << 20;

/// A file up to this size is checked whole whenever it is opened, a larger one only after a crash.
const CHECKED_BYTES: u64 = 64 << 20;

const FILE_NAME: &str = "history.redb";

/// What is kept. On disk that is at most `rooms` × `bytes`, and what the database adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The newest messages of a room.
    pub messages: u64,
    /// Their bytes, as they are stored.
    pub bytes: u64,
    /// How old they may become.
    pub age: Duration,
    /// Rooms. One that holds nothing any more goes an hour after its last use.
    pub rooms: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { messages: 1000, bytes: 4 << 20, age: Duration::from_secs(24 * 3600), rooms: 100_000 }
    }
}

impl Retention {
    fn is_expired(&self, time_ms: u64, now_ms: u64) -> bool {
        u128::from(time_ms) + self.age.as_millis() < u128::from(now_ms)
    }
}

/// What there is of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The epoch of its offsets.
    pub epoch: String,
    /// Where to go on: beyond every offset that was ever handed out in this epoch.
    pub next_offset: u64,
    /// The records that retention leaves, oldest first.
    pub records: Vec<Record>,
}

/// Somebody who may not come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Who it is.
    pub key: String,
    /// Until when, in milliseconds since 1970.
    pub until_ms: u64,
}

/// Milliseconds since 1970.
type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The history on disk. Dropping it writes what waits, and blocks for that.
pub struct Store {
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
    retention: Retention,
    clock: Clock,
    file: PathBuf,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("file", &self.file).field("retention", &self.retention).finish()
    }
}

impl Store {
    /// Opens the history in a folder, or begins one there; makes the folder if need be. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError::Folder`], [`InUse`](StoreError::InUse), [`Corrupt`](StoreError::Corrupt),
    /// [`Newer`](StoreError::Newer), [`DiskFull`](StoreError::DiskFull) or [`Io`](StoreError::Io).
    pub fn open(folder: &Path, retention: Retention) -> Result<Arc<Self>, StoreError> {
        make_folder(folder).map_err(|error| StoreError::folder(folder, &error))?;
        let file = folder.join(FILE_NAME);
        let path = file.clone();
        let opener = Box::new(move || open_file(&path));
        let store = Self::start(opener, file, retention, Arc::new(now_ms))?;
        // The file's name has to survive a power cut too.
        sync_folder(folder).map_err(|error| StoreError::folder(folder, &error))?;
        Ok(store)
    }

    fn start(
        opener: Opener,
        file: PathBuf,
        retention: Retention,
        clock: Clock,
    ) -> Result<Arc<Self>, StoreError> {
        let writer = Writer::open(opener, file.clone(), retention, clock.clone())?;
        let queue = Arc::new(Queue::new(QUEUE));
        let queue_of_writer = queue.clone();
        let writer = thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || writer.run(&queue_of_writer))
            .map_err(|error| StoreError::Io { file: file.clone(), problem: error.to_string() })?;
        Ok(Arc::new(Self { queue, writer: Mutex::new(Some(writer)), retention, clock, file }))
    }

    /// What there is of a room, after everything that was queued before. `None`: it is new, or was forgotten, and
    /// needs a new epoch.
    ///
    /// Call it once as a room comes into memory, not while the room lives there: each call moves `next_offset` on.
    /// Blocks for about one `fsync`: in async code, call it by `spawn_blocking`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; whatever it is, don't go on with an epoch that was used before.
    pub fn load(&self, room: &str) -> Result<Option<Saved>, StoreError> {
        check_key(room)?;
        let transaction = self.look(Change::Reopen { room: room.to_owned() })?;
        let now_ms = (self.clock)();
        guarded(&self.file, || {
            Ok::<_, redb::Error>(read::saved(&transaction, room, (self.retention, now_ms), &self.file))
        })?
    }

    /// Whether there is anything of a room, after everything that was queued before. Blocks, as [`Self::load`] does.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn contains(&self, room: &str) -> Result<bool, StoreError> {
        let transaction = self.look(Change::Look)?;
        guarded(&self.file, || read::is_there(&transaction, room))
    }

    /// Resolves once everything that was queued before is on disk, or can't be.
    pub fn settled(&self) -> Durable {
        self.write(Change::Look)
    }

    /// Stores a record, and makes the room if need be. Resolves once that is on disk.
    ///
    /// A room is of one epoch: with another one than before, what was before is dropped. A record that is refused
    /// leaves a gap, and later ones may be stored.
    pub fn append(&self, room: &str, epoch: &str, record: &Record) -> Durable {
        let (room, epoch) = (room.to_owned(), epoch.to_owned());
        if let Err(error) = check_key(&room) {
            return Durable(Answer::Refused(Some(error)));
        }
        self.write(Change::Append { room, epoch, offset: record.offset, value: record.encode() })
    }

    /// Removes a record, whether or not it was there. Resolves once that is on disk.
    pub fn delete(&self, room: &str, offset: u64) -> Durable {
        self.write(Change::Delete { room: room.to_owned(), offset })
    }

    /// Bans somebody from a room until a time, in milliseconds since 1970. Resolves once that is on disk.
    ///
    /// Refused with [`StoreError::TooManyBans`] if there are 100,000.
    pub fn put_ban(&self, room: &str, key: &str, until_ms: u64) -> Durable {
        if let Err(error) = check_key(room).and_then(|()| check_key(key)) {
            return Durable(Answer::Refused(Some(error)));
        }
        self.write(Change::PutBan { room: room.to_owned(), key: key.to_owned(), until_ms })
    }

    /// Lifts a ban, whether or not it was there. Resolves once that is on disk.
    pub fn remove_ban(&self, room: &str, key: &str) -> Durable {
        self.write(Change::RemoveBan { room: room.to_owned(), key: key.to_owned() })
    }

    /// The bans of a room that still hold, after everything that was queued before. Blocks, as [`Self::load`] does.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn load_bans(&self, room: &str) -> Result<Vec<Ban>, StoreError> {
        let transaction = self.look(Change::Look)?;
        let now_ms = (self.clock)();
        guarded(&self.file, || read::bans(&transaction, room, now_ms))
    }

    /// Writes what waits, and ends. Blocks. Whatever is called afterwards gets [`StoreError::Closed`].
    pub fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // It catches what panics.
            _ = writer.join();
        }
    }

    fn write(&self, change: Change) -> Durable {
        let (done, answer) = oneshot::channel();
        Durable(match self.queue.push(Command { change, done: Done::Durable(done) }) {
            Ok(()) => Answer::Waiting(answer),
            Err(error) => Answer::Refused(Some(error)),
        })
    }

    /// A view in which the change, and all before it, can be seen.
    fn look(&self, change: Change) -> Result<redb::ReadTransaction, StoreError> {
        let (seen, view) = mpsc::sync_channel(1);
        self.queue.push(Command { change, done: Done::Seen(seen) })?;
        view.recv().map_err(|_| StoreError::Closed)?
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Resolves once a change is on disk, or can't be. Dropping it doesn't undo the change.
#[derive(Debug)]
#[must_use = "it says whether the change is on disk"]
pub struct Durable(Answer);

#[derive(Debug)]
enum Answer {
    Waiting(oneshot::Receiver<Result<(), StoreError>>),
    Refused(Option<StoreError>),
}

impl Future for Durable {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match &mut self.0 {
            Answer::Waiting(answer) => {
                ready!(Pin::new(answer).poll(context)).unwrap_or(Err(StoreError::Closed))
            }
            Answer::Refused(error) => Err(error.take().unwrap_or(StoreError::Closed)),
        })
    }
}

fn check_key(key: &str) -> Result<(), StoreError> {
    match key.len() {
        bytes if bytes > MAX_KEY_BYTES => Err(StoreError::KeyTooLong { bytes, max: MAX_KEY_BYTES }),
        _ => Ok(()),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Opens the database or makes it, for this user's eyes only.
fn open_file(path: &Path) -> Result<redb::Database, redb::Error> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let bytes = options.open(path)?.metadata()?.len();
    let mut builder = redb::Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(0 < bytes && bytes <= CHECKED_BYTES);
    Ok(builder.create(path)?)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Puts the names in a folder, and its own, on disk.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
        if let Some(parent) = folder.canonicalize()?.parent() {
            File::open(parent)?.sync_all()?;
        }
    }
    Ok(())
}
