//! The tables, and what one transaction does to them. The time is an argument; nothing here commits.

use std::collections::HashMap;
use std::path::Path;

use redb::{ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction};

use super::queue::Change;
use super::record::{self, Row, Unfit};
use super::{MAX_UNSTORED, Retention, StoreError};

/// Room → its [`Row`].
pub(super) const ROOMS: TableDefinition<&str, &[u8]> = TableDefinition::new("rooms");
/// (Room's id, offset) → record.
pub(super) const RECORDS: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("records");
/// (Room, key) → until when, in milliseconds since 1970.
pub(super) const BANS: TableDefinition<(&str, &str), u64> = TableDefinition::new("bans");
/// The format, and the next room's id.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

/// The format of the whole.
const FORMAT: u64 = 1;

/// At most so many bans, expired ones included until they are swept.
const MAX_BANS: u64 = 100_000;

/// So many records a transaction removes for retention, several times what a batch can add.
const MAX_REMOVALS: usize = 8192;

/// So long a room that holds nothing stays after its last use, so that whoever comes back finds the same epoch.
pub(super) const EMPTY_ROOM_STAYS_MS: u64 = 3600 * 1000;

/// How it went; the outer error, of the database, fails the whole transaction.
type Outcome = Result<(), StoreError>;

/// Makes the tables, or finds them of a format that we know.
///
/// # Errors
///
/// The outer one is the database's; the inner one [`StoreError::Newer`].
pub(super) fn prepare(database: &redb::Database, file: &Path) -> Result<Outcome, redb::Error> {
    let transaction = database.begin_write()?;
    let mut numbers = transaction.open_table(NUMBERS)?;
    let found = numbers.get("format")?.map(|format| format.value());
    match found {
        Some(FORMAT) => return Ok(Ok(())),
        Some(found) => return Ok(Err(StoreError::Newer { file: file.to_owned(), found, known: FORMAT })),
        None => {}
    }
    numbers.insert("format", FORMAT)?;
    drop(numbers);
    transaction.open_table(ROOMS)?;
    transaction.open_table(RECORDS)?;
    transaction.open_table(BANS)?;
    transaction.commit()?;
    Ok(Ok(()))
}

/// Where the sweep goes on.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    room: String,
    ban: (String, String),
}

/// The tables in a transaction.
pub(super) struct Book<'t> {
    rooms: Table<'t, &'static str, &'static [u8]>,
    records: Table<'t, (u64, u64), &'static [u8]>,
    bans: Table<'t, (&'static str, &'static str), u64>,
    numbers: Table<'t, &'static str, u64>,
    /// The rooms of this transaction, each read and written once.
    touched: HashMap<String, Row>,
    removals_left: usize,
    is_changed: bool,
    retention: Retention,
    file: &'t Path,
    now_ms: u64,
}

impl<'t> Book<'t> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        retention: Retention,
        file: &'t Path,
        now_ms: u64,
    ) -> Result<Self, redb::Error> {
        Ok(Self {
            rooms: transaction.open_table(ROOMS)?,
            records: transaction.open_table(RECORDS)?,
            bans: transaction.open_table(BANS)?,
            numbers: transaction.open_table(NUMBERS)?,
            touched: HashMap::new(),
            removals_left: MAX_REMOVALS,
            is_changed: false,
            retention,
            file,
            now_ms,
        })
    }

    pub(super) fn apply(&mut self, change: &Change) -> Result<Outcome, redb::Error> {
        match change {
            Change::Append { room, epoch, offset, value } => self.append((room, epoch), *offset, value),
            Change::Delete { room, offset } => self.delete(room, *offset),
            Change::Reopen { room } => self.reopen(room),
            Change::PutBan { room, key, until_ms } => self.put_ban((room, key), *until_ms),
            Change::RemoveBan { room, key } => {
                self.is_changed |= self.bans.remove((room.as_str(), key.as_str()))?.is_some();
                Ok(Ok(()))
            }
            Change::Look => Ok(Ok(())),
        }
    }

    /// Removes what fell out of retention and writes the rooms' books. Whether there is anything to commit.
    pub(super) fn finish(mut self) -> Result<bool, redb::Error> {
        for (room, mut row) in std::mem::take(&mut self.touched) {
            self.trim(&mut row)?;
            self.rooms.insert(room.as_str(), row.encode().as_slice())?;
            self.is_changed = true;
        }
        Ok(self.is_changed)
    }

    fn append(
        &mut self,
        (room, epoch): (&str, &str),
        offset: u64,
        value: &[u8],
    ) -> Result<Outcome, redb::Error> {
        match self.touch(room)? {
            Ok(true) => {}
            Ok(false) => {
                if let Err(refusal) = self.make(room, epoch)? {
                    return Ok(Err(refusal));
                }
            }
            Err(refusal) => return Ok(Err(refusal)),
        }
        let row = self.touched.get_mut(room).expect("it was touched or made");
        if row.epoch != epoch {
            // The room has begun anew: nobody can resume what was before.
            self.records.retain_in((row.id, 0)..=(row.id, u64::MAX), |_, _| false)?;
            *row = Row { epoch: epoch.to_owned(), next: 0, messages: 0, bytes: 0, ..*row };
        }
        let replaced = self.records.insert((row.id, offset), value)?.map(|old| old.value().len());
        row.count_out(replaced);
        row.messages += 1;
        row.bytes += record::cost(value.len());
        row.next = row.next.max(offset.saturating_add(1));
        row.used_ms = self.now_ms;
        Ok(Ok(()))
    }

    fn delete(&mut self, room: &str, offset: u64) -> Result<Outcome, redb::Error> {
        match self.touch(room)? {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(())),
            Err(refusal) => return Ok(Err(refusal)),
        }
        let row = self.touched.get_mut(room).expect("it was touched");
        let removed = self.records.remove((row.id, offset))?.map(|old| old.value().len());
        row.count_out(removed);
        Ok(Ok(()))
    }

    fn reopen(&mut self, room: &str) -> Result<Outcome, redb::Error> {
        Ok(match self.touch(room)? {
            Ok(true) => {
                let row = self.touched.get_mut(room).expect("it was touched");
                row.next = row.next.saturating_add(MAX_UNSTORED);
                row.used_ms = self.now_ms;
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(refusal) => Err(refusal),
        })
    }

    fn put_ban(&mut self, ban: (&str, &str), until_ms: u64) -> Result<Outcome, redb::Error> {
        if self.bans.len()? >= MAX_BANS && self.bans.get(ban)?.is_none() {
            return Ok(Err(StoreError::TooManyBans { max: MAX_BANS }));
        }
        self.bans.insert(ban, until_ms)?;
        self.is_changed = true;
        Ok(Ok(()))
    }

    /// Brings a room's books in, and says whether there are any.
    fn touch(&mut self, room: &str) -> Result<Result<bool, StoreError>, redb::Error> {
        if self.touched.contains_key(room) {
            return Ok(Ok(true));
        }
        let Some(value) = self.rooms.get(room)? else { return Ok(Ok(false)) };
        let row = match Row::decode(value.value()) {
            Ok(row) => row,
            Err(unfit) => return Ok(Err(unfit.of_room(room, self.file))),
        };
        self.touched.insert(room.to_owned(), row);
        Ok(Ok(true))
    }

    fn make(&mut self, room: &str, epoch: &str) -> Result<Outcome, redb::Error> {
        if self.rooms.len()? >= self.retention.rooms {
            return Ok(Err(StoreError::TooManyRooms { max: self.retention.rooms }));
        }
        let id = self.numbers.get("next_room")?.map_or(0, |id| id.value());
        self.numbers.insert("next_room", id + 1)?;
        let row = Row { id, epoch: epoch.to_owned(), next: 0, messages: 0, bytes: 0, used_ms: self.now_ms };
        // At once, so that it counts.
        self.rooms.insert(room, row.encode().as_slice())?;
        self.touched.insert(room.to_owned(), row);
        Ok(Ok(()))
    }

    /// Removes a room's oldest records until the rest may stay.
    fn trim(&mut self, row: &mut Row) -> Result<(), redb::Error> {
        let mut gone = Vec::new();
        for entry in self.records.range((row.id, 0)..=(row.id, u64::MAX))?.take(self.removals_left) {
            let (key, value) = entry?;
            let value = value.value();
            let is_over = row.messages > self.retention.messages
                || row.bytes > self.retention.bytes
                || self.retention.is_expired(record::time_ms(value).unwrap_or(u64::MAX), self.now_ms);
            if !is_over {
                break;
            }
            row.count_out(Some(value.len()));
            gone.push(key.value());
        }
        self.removals_left -= gone.len();
        for key in gone {
            self.records.remove(key)?;
            self.is_changed = true;
        }
        Ok(())
    }

    /// Looks at the next rooms and bans, so that what nobody uses ends too.
    pub(super) fn sweep(&mut self, sweep: &mut Sweep, count: usize) -> Result<(), redb::Error> {
        let mut rooms = Vec::new();
        for entry in self.rooms.range(sweep.room.as_str()..)?.take(count) {
            let (room, value) = entry?;
            rooms.push((room.value().to_owned(), Row::decode(value.value())));
        }
        sweep.room = following(rooms.last().filter(|_| rooms.len() == count).map(|(room, _)| room));
        for (room, row) in rooms {
            // A room of this transaction is trimmed at its end; a damaged one is left for whoever repairs it.
            if let (Ok(row), false) = (row, self.touched.contains_key(&room)) {
                self.sweep_room(&room, row)?;
            }
        }
        self.sweep_bans(sweep, count)
    }

    fn sweep_room(&mut self, room: &str, mut row: Row) -> Result<(), redb::Error> {
        let messages = row.messages;
        self.trim(&mut row)?;
        if row.messages == 0 && row.used_ms.saturating_add(EMPTY_ROOM_STAYS_MS) < self.now_ms {
            self.rooms.remove(room)?;
            self.is_changed = true;
        } else if row.messages != messages {
            self.rooms.insert(room, row.encode().as_slice())?;
        }
        Ok(())
    }

    fn sweep_bans(&mut self, sweep: &mut Sweep, count: usize) -> Result<(), redb::Error> {
        let from = (sweep.ban.0.as_str(), sweep.ban.1.as_str());
        let mut bans = Vec::new();
        for entry in self.bans.range(from..)?.take(count) {
            let (ban, until_ms) = entry?;
            let (room, key) = ban.value();
            bans.push((room.to_owned(), key.to_owned(), until_ms.value()));
        }
        sweep.ban = match bans.last() {
            Some((room, key, _)) if bans.len() == count => (room.clone(), following(Some(key))),
            _ => Default::default(),
        };
        for (room, key, until_ms) in bans {
            if until_ms <= self.now_ms {
                self.bans.remove((room.as_str(), key.as_str()))?;
                self.is_changed = true;
            }
        }
        Ok(())
    }
}

/// The least string that comes after this one.
fn following(last: Option<&String>) -> String {
    last.map(|last| format!("{last}\0")).unwrap_or_default()
}

impl Row {
    /// A record of so many bytes is there no more.
    fn count_out(&mut self, value_bytes: Option<usize>) {
        if let Some(bytes) = value_bytes {
            self.messages = self.messages.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(record::cost(bytes));
        }
    }
}

impl Unfit {
    pub(super) fn of_room(self, room: &str, file: &Path) -> StoreError {
        match self {
            Self::Newer(found) => StoreError::Newer {
                file: file.to_owned(),
                found: found.into(),
                known: record::VERSION.into(),
            },
            Self::Damaged => StoreError::corrupt(file, format!("room {room:?} can't be read")),
        }
    }
}
