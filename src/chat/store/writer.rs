//! The one thread that writes: a batch is a transaction with one `fsync`, after which everybody in it is told.
//!
//! If the database fails, the whole batch is told so. The database is then closed, and opened again for a later
//! batch, which undoes what was half done: a disk that was full needs no restart of the server.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Database, Durability, ReadableDatabase};

use super::book::{self, Book, Sweep};
use super::queue::{Command, Done, Next, Queue};
use super::{Clock, Retention, StoreError};

/// Opens the database, or makes it.
pub(super) type Opener = Box<dyn Fn() -> Result<Database, redb::Error> + Send>;

/// After a failure nothing is tried for so long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often the sweep goes on if nothing is written.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// So many rooms are looked at beside each batch, and so many if there is no batch.
const SWEPT_WITH_BATCH: usize = 4;
const SWEPT_ALONE: usize = 1024;

pub(super) struct Writer {
    opener: Opener,
    file: PathBuf,
    retention: Retention,
    clock: Clock,
    database: Option<Database>,
    failed: Option<(Instant, StoreError)>,
    sweep: Sweep,
}

impl Writer {
    /// Opens the database.
    pub(super) fn open(
        opener: Opener,
        file: PathBuf,
        retention: Retention,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let database = open(&opener, &file)?;
        let sweep = Sweep::default();
        Ok(Self { opener, file, retention, clock, database: Some(database), failed: None, sweep })
    }

    /// Writes until the queue ends.
    pub(super) fn run(mut self, queue: &Arc<Queue>) {
        while let Next::Batch(batch) = queue.next(SWEEP_EVERY) {
            self.write(batch);
        }
        self.shut();
    }

    fn write(&mut self, batch: Vec<Command>) {
        match self.try_write(&batch) {
            Ok(outcomes) => {
                self.on_success();
                for (command, outcome) in batch.into_iter().zip(outcomes) {
                    self.answer(command.done, outcome);
                }
            }
            Err(error) => {
                self.on_failure(&error);
                for command in batch {
                    self.answer(command.done, Err(error.clone()));
                }
            }
        }
    }

    /// The outcome of each command, all of them on disk.
    fn try_write(&mut self, batch: &[Command]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        if let Some((at, error)) = &self.failed
            && at.elapsed() < RETRY_AFTER
        {
            return Err(error.clone());
        }
        let database = match &mut self.database {
            Some(database) => database,
            closed => closed.insert(open(&self.opener, &self.file)?),
        };
        let (retention, now_ms) = (self.retention, (self.clock)());
        let (file, sweep) = (&self.file, &mut self.sweep);
        guarded(file, || -> Result<_, redb::Error> {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            let mut book = Book::open(&transaction, retention, file, now_ms)?;
            let outcomes = batch.iter().map(|command| book.apply(&command.change));
            let outcomes = outcomes.collect::<Result<Vec<_>, _>>()?;
            book.sweep(sweep, if batch.is_empty() { SWEPT_ALONE } else { SWEPT_WITH_BATCH })?;
            if book.finish()? {
                transaction.commit()?;
            } else {
                transaction.abort()?;
            }
            Ok(outcomes)
        })
    }

    fn answer(&self, done: Done, outcome: Result<(), StoreError>) {
        match done {
            // Whoever asked may not want to know any more.
            Done::Durable(done) => _ = done.send(outcome),
            Done::Seen(seen) => _ = seen.send(outcome.and_then(|()| self.look())),
        }
    }

    /// A view of what is committed.
    fn look(&self) -> Result<redb::ReadTransaction, StoreError> {
        let database = self.database.as_ref().ok_or(StoreError::Closed)?;
        database.begin_read().map_err(|error| StoreError::from_database(error.into(), &self.file))
    }

    fn on_success(&mut self) {
        if self.failed.take().is_some() {
            tracing::info!("the history is stored again");
        }
    }

    fn on_failure(&mut self, error: &StoreError) {
        let is_news = self.failed.as_ref().is_none_or(|(_, before)| before != error);
        if is_news {
            tracing::error!(%error, "messages are not stored");
        }
        let is_due = self.failed.as_ref().is_none_or(|(at, _)| at.elapsed() >= RETRY_AFTER);
        if is_due {
            self.failed = Some((Instant::now(), error.clone()));
        }
        self.shut();
    }

    /// Closes the database, which unlocks it.
    fn shut(&mut self) {
        if let Some(database) = self.database.take() {
            // After a failure it may fail once more; what was acknowledged is on disk all the same.
            _ = guarded(&self.file, || database.close());
        }
    }
}

fn open(opener: &Opener, file: &Path) -> Result<Database, StoreError> {
    guarded(file, || {
        let database = opener()?;
        Ok::<_, redb::Error>(book::prepare(&database, file)?.map(|()| database))
    })?
}

/// Runs something of the database's, which may panic over a damaged file.
pub(super) fn guarded<T, E: Into<redb::Error>>(
    file: &Path,
    run: impl FnOnce() -> Result<T, E>,
) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(|error| StoreError::from_database(error.into(), file)),
        Err(_) => Err(StoreError::corrupt(file, "the database gave up on it")),
    }
}
