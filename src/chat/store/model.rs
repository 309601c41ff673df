//! The store against a plain model, on a disk whose power is cut and that is full at times.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::book::EMPTY_ROOM_STAYS_MS;
use super::disk::Disk;
use super::{Ban, Durable, MAX_UNSTORED, Record, Retention, Store, StoreError, record};

const RETENTION: Retention =
    Retention { messages: 5, bytes: 400, age: Duration::from_millis(1000), rooms: 3 };

const ROOMS: [&str; 4] = ["a", "a\0", "b", ""];

/// A store on a disk of ours, with a clock of ours.
struct Bench {
    disk: Disk,
    now_ms: Arc<AtomicU64>,
    store: Option<Arc<Store>>,
}

impl Bench {
    fn new(retention: Retention) -> Self {
        let bench = Self { disk: Disk::default(), now_ms: Arc::new(AtomicU64::new(1 << 40)), store: None };
        bench.open(retention)
    }

    fn open(mut self, retention: Retention) -> Self {
        self.store = None;
        let (disk, now_ms) = (self.disk.clone(), self.now_ms.clone());
        let opener = Box::new(move || disk.open());
        let clock = Arc::new(move || now_ms.load(Ordering::Relaxed));
        self.store = Some(Store::start(opener, PathBuf::from("disk"), retention, clock).unwrap());
        self
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open")
    }

    fn now(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn pass(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn record(&self, offset: u64, text_bytes: usize) -> Record {
        let text = "x".repeat(text_bytes);
        Record { offset, time_ms: self.now(), from: "Ann".into(), text, ..Record::default() }
    }
}

fn wait(durable: Durable) -> Result<(), StoreError> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(durable)
}

#[derive(Clone, Debug)]
enum Step {
    Append {
        room: usize,
        text_bytes: usize,
        skipped: u64,
    },
    Delete {
        room: usize,
        back: usize,
    },
    Ban {
        room: usize,
        key: u8,
        ms: u64,
    },
    Lift {
        room: usize,
        key: u8,
    },
    Pass(u64),
    Load(usize),
    Restart,
    /// With what was queued at that moment: it may be there or not, but only in order.
    CutPower {
        room: usize,
        queued: usize,
        kept: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let room = 0..ROOMS.len();
    let step = prop_oneof![
        8 => (room.clone(), 0..200usize, 0..3u64)
            .prop_map(|(room, text_bytes, skipped)| Step::Append { room, text_bytes, skipped }),
        2 => (room.clone(), 0..6usize).prop_map(|(room, back)| Step::Delete { room, back }),
        1 => (room.clone(), 0..3u8, 0..2000u64).prop_map(|(room, key, ms)| Step::Ban { room, key, ms }),
        1 => (room.clone(), 0..3u8).prop_map(|(room, key)| Step::Lift { room, key }),
        2 => prop_oneof![0..600u64, Just(EMPTY_ROOM_STAYS_MS + 1)].prop_map(Step::Pass),
        2 => room.clone().prop_map(Step::Load),
        1 => Just(Step::Restart),
        1 => (room, 0..8usize, any::<u64>())
            .prop_map(|(room, queued, kept)| Step::CutPower { room, queued, kept }),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Debug, Default)]
struct Model {
    rooms: BTreeMap<usize, Room>,
    bans: BTreeMap<(usize, u8), u64>,
    epochs: u64,
}

#[derive(Clone, Debug, Default)]
struct Room {
    epoch: String,
    next: u64,
    records: BTreeMap<u64, Record>,
    used_ms: u64,
}

impl Room {
    fn trim(&mut self, now_ms: u64) {
        let bytes = |records: &BTreeMap<u64, Record>| -> u64 {
            records.values().map(|record| record::cost(record.encode().len())).sum()
        };
        while let Some(oldest) = self.records.first_entry() {
            let is_expired = oldest.get().time_ms + 1000 < now_ms;
            if !is_expired && self.records.len() <= 5 && bytes(&self.records) <= 400 {
                break;
            }
            self.records.pop_first();
        }
    }
}

impl Model {
    /// The room's epoch and next offset, begun anew if it isn't there.
    fn enter(&mut self, bench: &Bench, room: usize) -> Result<(String, u64), TestCaseError> {
        self.load(bench, room)?;
        if let Some(room) = self.rooms.get(&room) {
            return Ok((room.epoch.clone(), room.next));
        }
        self.epochs += 1;
        Ok((self.epochs.to_string(), 0))
    }

    /// Loads a room, compares it, and takes over that it may be gone.
    fn load(&mut self, bench: &Bench, at: usize) -> Result<(), TestCaseError> {
        let now_ms = bench.now();
        let saved = bench.store().load(ROOMS[at]).unwrap();
        let Some(saved) = saved else {
            if let Some(mut room) = self.rooms.remove(&at) {
                room.trim(now_ms);
                prop_assert!(room.records.is_empty(), "{room:?} is gone");
                prop_assert!(room.used_ms + EMPTY_ROOM_STAYS_MS < now_ms, "{room:?} went too early");
            }
            return Ok(());
        };
        let room = self.rooms.get_mut(&at);
        prop_assert!(room.is_some(), "{saved:?} came from nowhere");
        let room = room.unwrap();
        room.trim(now_ms);
        room.next += MAX_UNSTORED;
        room.used_ms = now_ms;
        prop_assert_eq!(&saved.epoch, &room.epoch);
        prop_assert_eq!(saved.next_offset, room.next);
        prop_assert_eq!(saved.records, room.records.values().cloned().collect::<Vec<_>>());
        Ok(())
    }

    fn append(&mut self, at: usize, epoch: &str, record: Record, now_ms: u64) {
        let room = self.rooms.entry(at).or_default();
        epoch.clone_into(&mut room.epoch);
        room.next = room.next.max(record.offset + 1);
        room.used_ms = now_ms;
        room.records.insert(record.offset, record);
        room.trim(now_ms);
    }
}

fn run(bench: &mut Option<Bench>, model: &mut Model, step: Step) -> Result<(), TestCaseError> {
    let now_ms = bench.as_ref().unwrap().now();
    match step {
        Step::Append { room, text_bytes, skipped } => {
            let bench = bench.as_ref().unwrap();
            let (epoch, next) = model.enter(bench, room)?;
            let record = bench.record(next + skipped, text_bytes);
            match wait(bench.store().append(ROOMS[room], &epoch, &record)) {
                Ok(()) => model.append(room, &epoch, record, now_ms),
                // The sweep may not have come by.
                Err(error) => {
                    prop_assert_eq!(error, StoreError::TooManyRooms { max: 3 });
                    prop_assert!(model.rooms.len() >= 3);
                }
            }
        }
        Step::Delete { room, back } => {
            let known = model.rooms.get_mut(&room);
            let offset = known
                .as_ref()
                .and_then(|room| room.records.keys().rev().nth(back).copied())
                .unwrap_or(back as u64);
            wait(bench.as_ref().unwrap().store().delete(ROOMS[room], offset)).unwrap();
            if let Some(known) = known {
                known.records.remove(&offset);
                known.trim(now_ms);
            }
        }
        Step::Ban { room, key, ms } => {
            let until_ms = now_ms + ms;
            wait(bench.as_ref().unwrap().store().put_ban(ROOMS[room], &key.to_string(), until_ms)).unwrap();
            model.bans.insert((room, key), until_ms);
        }
        Step::Lift { room, key } => {
            wait(bench.as_ref().unwrap().store().remove_ban(ROOMS[room], &key.to_string())).unwrap();
            model.bans.remove(&(room, key));
        }
        Step::Pass(ms) => bench.as_ref().unwrap().pass(ms),
        Step::Load(room) => model.load(bench.as_ref().unwrap(), room)?,
        Step::Restart => *bench = bench.take().map(|bench| bench.open(RETENTION)),
        Step::CutPower { room, queued, mut kept } => {
            cut_power(bench, model, room, queued, || {
                kept = kept.rotate_left(1);
                kept & 1 == 1
            })?;
        }
    }
    Ok(())
}

/// Cuts the power while records are on their way; then those acknowledged are there, and perhaps more of them.
fn cut_power(
    bench: &mut Option<Bench>,
    model: &mut Model,
    room: usize,
    queued: usize,
    is_kept: impl FnMut() -> bool,
) -> Result<(), TestCaseError> {
    let here = bench.take().unwrap();
    let (epoch, next) = model.enter(&here, room)?;
    let records: Vec<_> = (0..queued).map(|at| here.record(next + at as u64, 10)).collect();
    let durable: Vec<_> =
        records.iter().map(|record| here.store().append(ROOMS[room], &epoch, record)).collect();
    if queued.is_multiple_of(2) {
        std::thread::yield_now();
    }
    here.disk.cut_power(is_kept);
    let outcomes: Vec<_> = durable.into_iter().map(wait).collect();
    let here = here.open(RETENTION);
    let now_ms = here.now();
    // Anybody may have been told the last of these offsets.
    let handed_out = next + queued as u64;
    if let Some(saved) = here.store().load(ROOMS[room]).unwrap() {
        prop_assert!(saved.next_offset >= handed_out);
        let stored = records.iter().filter(|record| record.offset + MAX_UNSTORED < saved.next_offset);
        for record in stored {
            model.append(room, &epoch, record.clone(), now_ms);
        }
        if let Some(known) = model.rooms.get_mut(&room) {
            known.next = saved.next_offset;
            known.used_ms = now_ms;
        }
    }
    for (record, outcome) in records.iter().zip(outcomes) {
        let is_stored = model.rooms.get(&room).is_some_and(|room| room.next > record.offset + MAX_UNSTORED);
        prop_assert!(outcome.is_err() || is_stored, "{} was acknowledged and is lost", record.offset);
    }
    *bench = Some(here);
    model.load(bench.as_ref().unwrap(), room)
}

fn compare_bans(bench: &Bench, model: &Model) -> Result<(), TestCaseError> {
    let now_ms = bench.now();
    for (at, room) in ROOMS.iter().enumerate() {
        let expected: Vec<_> = model
            .bans
            .iter()
            .filter(|((of_room, _), until_ms)| *of_room == at && **until_ms > now_ms)
            .map(|((_, key), until_ms)| Ban { key: key.to_string(), until_ms: *until_ms })
            .collect();
        prop_assert_eq!(bench.store().load_bans(room).unwrap(), expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn it_holds_what_a_plain_map_holds(steps in steps()) {
        let mut bench = Some(Bench::new(RETENTION));
        let mut model = Model::default();
        for step in steps {
            run(&mut bench, &mut model, step)?;
            compare_bans(bench.as_ref().unwrap(), &model)?;
        }
        for room in 0..ROOMS.len() {
            model.load(bench.as_ref().unwrap(), room)?;
        }
    }
}

#[test]
fn what_waits_together_is_synced_together() {
    let bench = Bench::new(Retention::default());
    let before = bench.disk.syncs();
    let durable: Vec<_> =
        (0..2000).map(|offset| bench.store().append("a", "e", &bench.record(offset, 10))).collect();
    for durable in durable {
        wait(durable).unwrap();
    }
    let syncs = bench.disk.syncs() - before;
    assert!(syncs < 500, "{syncs} syncs for 2000 records");
}

#[test]
fn a_new_room_that_nobody_writes_to_costs_no_sync() {
    let bench = Bench::new(Retention::default());
    let before = bench.disk.syncs();
    assert_eq!(bench.store().load("a"), Ok(None));
    assert_eq!(bench.store().load_bans("a"), Ok(vec![]));
    assert_eq!(bench.disk.syncs(), before);
}

#[test]
fn a_full_disk_is_named_and_storing_goes_on_once_there_is_space() {
    let bench = Bench::new(Retention::default());
    wait(bench.store().append("a", "e", &bench.record(0, 10))).unwrap();
    bench.disk.set_full(true);
    let error = wait(bench.store().append("a", "e", &bench.record(1, 10))).unwrap_err();
    assert_eq!(error, StoreError::DiskFull { file: PathBuf::from("disk") });
    bench.disk.set_full(false);
    let stored = (2..200).find(|offset| {
        std::thread::sleep(Duration::from_millis(50));
        wait(bench.store().append("a", "e", &bench.record(*offset, 10))).is_ok()
    });
    let records = bench.store().load("a").unwrap().unwrap().records;
    let offsets: Vec<_> = records.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [0, stored.unwrap()]);
}

#[test]
fn rooms_that_nobody_uses_lose_their_old_records_and_end() {
    let bench = Bench::new(RETENTION);
    for room in ["a", "b", "c"] {
        wait(bench.store().append(room, "e", &bench.record(0, 10))).unwrap();
    }
    let refused = wait(bench.store().append("d", "e", &bench.record(0, 10)));
    assert_eq!(refused, Err(StoreError::TooManyRooms { max: 3 }));
    bench.pass(EMPTY_ROOM_STAYS_MS + 1);
    // The sweep comes by with any batch.
    wait(bench.store().delete("nowhere", 0)).unwrap();
    wait(bench.store().append("d", "e", &bench.record(0, 10))).unwrap();
    assert_eq!(bench.store().load("a"), Ok(None));
}

#[test]
fn a_smaller_retention_holds_from_the_next_start() {
    let bench = Bench::new(Retention::default());
    for offset in 0..20 {
        wait(bench.store().append("a", "e", &bench.record(offset, 10))).unwrap();
    }
    let bench = bench.open(Retention { messages: 3, ..Retention::default() });
    let records = bench.store().load("a").unwrap().unwrap().records;
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [17, 18, 19]);
}

#[test]
fn a_format_of_the_future_is_named() {
    let bench = Bench::new(RETENTION);
    let disk = bench.disk.clone();
    drop(bench);
    let database = disk.open().unwrap();
    let transaction = database.begin_write().unwrap();
    let numbers = redb::TableDefinition::<&str, u64>::new("numbers");
    transaction.open_table(numbers).unwrap().insert("format", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let opener = Box::new(move || disk.open());
    let error = Store::start(opener, "disk".into(), RETENTION, Arc::new(|| 0)).unwrap_err();
    assert_eq!(error, StoreError::Newer { file: "disk".into(), found: 2, known: 1 });
}
