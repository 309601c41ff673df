//! What is stored, and its bytes.
//!
//! A value begins with a version byte. In version 1 of a record the time follows, then fields, each a tag, a length
//! and that many bytes. A reader skips tags it doesn't know, so that fields can be added; what an old reader would
//! get wrong needs a new version, which it refuses.

/// One message of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its place in the room. Offsets grow; they needn't be consecutive.
    pub offset: u64,
    /// When it was published, in milliseconds since 1970.
    pub time_ms: u64,
    /// Who published it.
    pub from: String,
    /// What was said.
    pub text: String,
    /// What it is about, if the publisher said so.
    pub key: Option<String>,
    /// The publisher's own id for it, by which a second copy is found.
    pub id: Option<String>,
}

/// Why bytes from the disk can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// A version we don't know.
    Newer(u8),
    /// They make no sense.
    Damaged,
}

/// The newest version that is known, of records and of rooms.
pub(super) const VERSION: u8 = 1;

const FROM: u8 = 1;
const TEXT: u8 = 2;
const KEY: u8 = 3;
const ID: u8 = 4;

/// What a record takes beside its value: its own key.
const KEY_BYTES: u64 = 16;

/// What a value of so many bytes counts as.
pub(super) fn cost(value_bytes: usize) -> u64 {
    value_bytes as u64 + KEY_BYTES
}

impl Record {
    /// The value; the offset is in the key.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.from.len() + self.text.len());
        out.push(VERSION);
        out.extend(self.time_ms.to_le_bytes());
        put(&mut out, FROM, Some(&self.from));
        put(&mut out, TEXT, Some(&self.text));
        put(&mut out, KEY, self.key.as_deref());
        put(&mut out, ID, self.id.as_deref());
        out
    }

    pub(super) fn decode(offset: u64, mut value: &[u8]) -> Result<Self, Unfit> {
        let time_ms = time_ms(value)?;
        let mut record = Self { offset, time_ms, ..Self::default() };
        value = value.get(9..).ok_or(Unfit::Damaged)?;
        while let Some((&tag, rest)) = value.split_first() {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or(Unfit::Damaged)?;
            let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| Unfit::Damaged)?;
            let (field, rest) = rest.split_at_checked(length).ok_or(Unfit::Damaged)?;
            let text = || std::str::from_utf8(field).map(str::to_owned).map_err(|_| Unfit::Damaged);
            match tag {
                FROM => record.from = text()?,
                TEXT => record.text = text()?,
                KEY => record.key = Some(text()?),
                ID => record.id = Some(text()?),
                _ => {}
            }
            value = rest;
        }
        Ok(record)
    }
}

fn put(out: &mut Vec<u8>, tag: u8, field: Option<&str>) {
    let Some(field) = field else { return };
    // The database takes no value of more than 3 GiB either.
    let Ok(length) = u32::try_from(field.len()) else { return };
    out.push(tag);
    out.extend(length.to_le_bytes());
    out.extend(field.as_bytes());
}

/// When a value's record was published.
pub(super) fn time_ms(value: &[u8]) -> Result<u64, Unfit> {
    let rest = versioned(value)?;
    rest.first_chunk().map(|time| u64::from_le_bytes(*time)).ok_or(Unfit::Damaged)
}

/// What follows the version byte.
fn versioned(value: &[u8]) -> Result<&[u8], Unfit> {
    match value.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((&version, _)) if version > VERSION => Err(Unfit::Newer(version)),
        _ => Err(Unfit::Damaged),
    }
}

/// A room's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The first half of its records' keys.
    pub(super) id: u64,
    /// Whoever was told this epoch was told this room's offsets.
    pub(super) epoch: String,
    /// Above every offset that was stored, and by less than a gap at most above any that was handed out.
    pub(super) next: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// The last append or load, in milliseconds since 1970.
    pub(super) used_ms: u64,
}

impl Row {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for number in [self.id, self.next, self.messages, self.bytes, self.used_ms] {
            out.extend(number.to_le_bytes());
        }
        out.extend(self.epoch.as_bytes());
        out
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, Unfit> {
        let mut rest = versioned(value)?;
        let mut number = || {
            let (number, after) = rest.split_first_chunk().ok_or(Unfit::Damaged)?;
            rest = after;
            Ok(u64::from_le_bytes(*number))
        };
        let (id, next, messages, bytes, used_ms) = (number()?, number()?, number()?, number()?, number()?);
        let epoch = std::str::from_utf8(rest).map_err(|_| Unfit::Damaged)?.to_owned();
        Ok(Self { id, epoch, next, messages, bytes, used_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            offset: 7,
            time_ms: 0x0102,
            from: "Ann".into(),
            text: "hé".into(),
            key: Some(String::new()),
            id: Some("x1".into()),
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        assert_eq!(Record::decode(7, &record().encode()), Ok(record()));
        let bare = Record { key: None, id: None, ..record() };
        assert_eq!(Record::decode(7, &bare.encode()), Ok(bare));
    }

    #[test]
    fn these_are_the_bytes_of_version_1() {
        let bytes =
            b"\x01\x02\x01\0\0\0\0\0\0\x01\x03\0\0\0Ann\x02\x03\0\0\0h\xc3\xa9\x03\0\0\0\0\x04\x02\0\0\0x1";
        assert_eq!(record().encode(), bytes);
    }

    #[test]
    fn a_field_that_is_not_known_is_skipped() {
        let mut bytes = record().encode();
        bytes.extend(b"\x63\x03\0\0\0new");
        assert_eq!(Record::decode(7, &bytes), Ok(record()));
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = record().encode();
        bytes[0] = 2;
        assert_eq!(Record::decode(7, &bytes), Err(Unfit::Newer(2)));
        bytes[0] = 0;
        assert_eq!(Record::decode(7, &bytes), Err(Unfit::Damaged));
    }

    #[test]
    fn a_record_cut_inside_a_field_is_damaged() {
        let bytes = record().encode();
        let whole = [9, 17, 25, 30, 37];
        for length in 0..=bytes.len() {
            let is_whole = whole.contains(&length);
            assert_eq!(Record::decode(7, &bytes[..length]).is_ok(), is_whole, "{length} bytes");
        }
    }

    #[test]
    fn a_room_comes_back_as_it_was() {
        let row = Row { id: 1, epoch: "e".into(), next: 2, messages: 3, bytes: 4, used_ms: 5 };
        assert_eq!(Row::decode(&row.encode()), Ok(row.clone()));
        assert_eq!(Row::decode(&row.encode()[..40]), Err(Unfit::Damaged));
        assert_eq!(Row::decode(&[9; 60]), Err(Unfit::Newer(9)));
    }
}
