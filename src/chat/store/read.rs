//! Reads a room or its bans, in a transaction that sees what was committed when it began.

use std::path::Path;

use redb::ReadTransaction;

use super::book::{BANS, RECORDS, ROOMS};
use super::record::{self, Record, Row};
use super::{Ban, Retention, Saved, StoreError};

/// What there is of a room, as far as it may stay.
pub(super) fn saved(
    transaction: &ReadTransaction,
    room: &str,
    (retention, now_ms): (Retention, u64),
    file: &Path,
) -> Result<Option<Saved>, StoreError> {
    let failed = |error: redb::Error| StoreError::from_database(error, file);
    let Some(row) = row(transaction, room).map_err(failed)? else { return Ok(None) };
    let row = row.map_err(|unfit| unfit.of_room(room, file))?;
    let mut records = Vec::new();
    for (offset, value) in newest(transaction, row.id, retention).map_err(failed)? {
        records.push(Record::decode(offset, &value).map_err(|unfit| unfit.of_room(room, file))?);
    }
    let stays =
        records.iter().rposition(|record| !retention.is_expired(record.time_ms, now_ms)).map(|last| last + 1);
    records.truncate(stays.unwrap_or(0));
    records.reverse();
    Ok(Some(Saved { epoch: row.epoch, next_offset: row.next, records }))
}

/// Whether there is anything of a room.
pub(super) fn is_there(transaction: &ReadTransaction, room: &str) -> Result<bool, redb::Error> {
    Ok(transaction.open_table(ROOMS)?.get(room)?.is_some())
}

fn row(transaction: &ReadTransaction, room: &str) -> Result<Option<Result<Row, record::Unfit>>, redb::Error> {
    let rooms = transaction.open_table(ROOMS)?;
    Ok(rooms.get(room)?.map(|value| Row::decode(value.value())))
}

/// The newest records within the limits on messages and bytes, newest first.
fn newest(
    transaction: &ReadTransaction,
    id: u64,
    retention: Retention,
) -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
    let table = transaction.open_table(RECORDS)?;
    let mut found = Vec::new();
    let mut bytes = 0;
    for entry in table.range((id, 0)..=(id, u64::MAX))?.rev() {
        let (key, value) = entry?;
        bytes += record::cost(value.value().len());
        if found.len() as u64 >= retention.messages || bytes > retention.bytes {
            break;
        }
        found.push((key.value().1, value.value().to_vec()));
    }
    Ok(found)
}

/// A room's bans that still hold.
pub(super) fn bans(transaction: &ReadTransaction, room: &str, now_ms: u64) -> Result<Vec<Ban>, redb::Error> {
    let table = transaction.open_table(BANS)?;
    let mut found = Vec::new();
    for entry in table.range((room, "")..)? {
        let (ban, until_ms) = entry?;
        let ((of_room, key), until_ms) = (ban.value(), until_ms.value());
        if of_room != room {
            break;
        }
        if until_ms > now_ms {
            found.push(Ban { key: key.to_owned(), until_ms });
        }
    }
    Ok(found)
}
