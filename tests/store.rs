//! The history on disk against what really happens to servers: killed at any moment, started twice, damaged files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use switchboard::chat::store::{Ban, Record, Retention, Saved, Store, StoreError};

/// Set for the child process: its data directory.
const CHILD: &str = "STORE_TEST_CHILD";

/// How often the child is killed.
const KILLS: usize = 25;

const ROOMS: [&str; 3] = ["lobby", "a", "b"];

/// A folder of our own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("switchboard-store-{name}-{}", std::process::id()));
        _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("history.redb")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn record(offset: u64, text: &str) -> Record {
    Record { offset, time_ms: u64::MAX / 2, from: "Ann".into(), text: text.into(), ..Record::default() }
}

fn retention() -> Retention {
    Retention { messages: 1_000_000, bytes: 1 << 30, ..Retention::default() }
}

fn open(folder: &Path) -> std::sync::Arc<Store> {
    Store::open(folder, retention()).unwrap()
}

/// Runs in the child process only: appends without a pause and says what it does.
///
/// `room R EPOCH NEXT`, `out R OFFSET` before an offset is used, `ack R OFFSET` once it is stored.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&folder));
    let (acks, mut acked) = tokio::sync::mpsc::unbounded_channel();
    let mut rooms = BTreeMap::new();
    for room in ROOMS {
        let (epoch, next) = match store.load(room).unwrap() {
            Some(saved) => (saved.epoch, saved.next_offset),
            None => (format!("epoch-of-{room}-by-{}", std::process::id()), 0),
        };
        say(&format!("room {room} {epoch} {next}"));
        rooms.insert(room, (epoch, next));
    }
    let appending = async {
        loop {
            for (room, (epoch, next)) in &mut rooms {
                say(&format!("out {room} {next}"));
                let durable = store.append(room, epoch, &record(*next, &format!("{room} {next}")));
                acks.send((*room, *next, durable)).unwrap();
                *next += 1;
            }
            // About 300 wait at any moment.
            if rooms["a"].1.is_multiple_of(100) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::task::yield_now().await;
        }
    };
    let acknowledging = async {
        while let Some((room, offset, durable)) = acked.recv().await {
            durable.await.unwrap();
            say(&format!("ack {room} {offset}"));
        }
    };
    tokio::join!(appending, acknowledging);
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("@{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn start_child(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a child said before it was killed.
#[derive(Default, Debug)]
struct Said {
    epochs: BTreeMap<String, String>,
    out: BTreeMap<String, u64>,
    acked: Vec<(String, u64)>,
}

/// Kills the child once it has acknowledged so many records and so long has passed.
fn run_and_kill(mut child: Child, acks: usize, then: Duration) -> Said {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let reading = std::thread::spawn(move || {
        let mut said = Said::default();
        let mut child = Some(child);
        let mut line = String::new();
        // A last line without its end is torn.
        while out.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
            // The test harness says something before the first.
            let words: Vec<_> = line.rsplit('@').next().unwrap().trim_end().split(' ').collect();
            match words[..] {
                ["room", room, epoch, _] => _ = said.epochs.insert(room.into(), epoch.into()),
                ["out", room, offset] => _ = said.out.insert(room.into(), offset.parse().unwrap()),
                ["ack", room, offset] => said.acked.push((room.into(), offset.parse().unwrap())),
                _ => {}
            }
            if said.acked.len() >= acks
                && let Some(mut child) = child.take()
            {
                std::thread::spawn(move || {
                    std::thread::sleep(then);
                    child.kill().unwrap();
                    child.wait().unwrap();
                });
            }
            line.clear();
        }
        said
    });
    reading.join().unwrap()
}

fn random(below: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % below
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let folder = Folder::new("kill");
    let mut epochs = BTreeMap::new();
    let mut acked: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for _ in 0..KILLS {
        let child = start_child(&folder.0);
        let said = run_and_kill(child, 1 + random(500) as usize, Duration::from_micros(random(20_000)));
        for (room, offset) in &said.acked {
            acked.entry(room.clone()).or_default().push(*offset);
        }
        let store = open(&folder.0);
        for (room, offsets) in &acked {
            let saved = store.load(room).unwrap().unwrap();
            let epoch = epochs.entry(room.clone()).or_insert_with(|| said.epochs[room].clone());
            assert_eq!(&saved.epoch, epoch);
            assert_holds(&saved, room, offsets);
            let handed_out = said.out.get(room).copied().unwrap_or(0);
            assert!(saved.next_offset > handed_out, "{} after {handed_out}", saved.next_offset);
        }
    }
    assert!(acked.len() == ROOMS.len(), "{acked:?}");
}

fn assert_holds(saved: &Saved, room: &str, acked: &[u64]) {
    let offsets: Vec<_> = saved.records.iter().map(|record| record.offset).collect();
    assert!(offsets.is_sorted_by(|a, b| a < b));
    assert!(acked.is_sorted_by(|a, b| a < b), "acknowledged out of order");
    for offset in acked {
        let at = offsets.binary_search(offset).unwrap_or_else(|_| panic!("{room} lost {offset}"));
        assert_eq!(saved.records[at].text, format!("{room} {offset}"));
    }
}

#[tokio::test]
async fn what_was_stored_and_deleted_is_so_after_a_restart() {
    let folder = Folder::new("restart");
    let store = open(&folder.0);
    assert_eq!(store.load("lobby"), Ok(None));
    for offset in 0..3 {
        store.append("lobby", "e", &record(offset, "hello")).await.unwrap();
    }
    store.delete("lobby", 1).await.unwrap();
    store.put_ban("lobby", "mallory", u64::MAX).await.unwrap();
    store.put_ban("lobby", "trent", u64::MAX).await.unwrap();
    store.put_ban("lobby", "oscar", 1).await.unwrap();
    store.remove_ban("lobby", "trent").await.unwrap();
    drop(store);

    let store = open(&folder.0);
    let saved = store.load("lobby").unwrap().unwrap();
    assert_eq!(saved.epoch, "e");
    assert_eq!(saved.records, [record(0, "hello"), record(2, "hello")]);
    assert_eq!(saved.next_offset, 3 + (1 << 20));
    assert_eq!(store.load_bans("lobby"), Ok(vec![Ban { key: "mallory".into(), until_ms: u64::MAX }]));
    assert_eq!(store.load_bans("lobb"), Ok(vec![]));
}

#[tokio::test]
async fn a_load_sees_what_was_queued_before_it() {
    let folder = Folder::new("sees");
    let store = open(&folder.0);
    let durable: Vec<_> = (0..1000).map(|offset| store.append("a", "e", &record(offset, "x"))).collect();
    assert_eq!(store.load("a").unwrap().unwrap().records.len(), 1000);
    for durable in durable {
        durable.await.unwrap();
    }
}

#[tokio::test]
async fn dropping_the_store_writes_what_waits() {
    let folder = Folder::new("drop");
    let store = open(&folder.0);
    for offset in 0..5000 {
        _ = store.append("a", "e", &record(offset, "x"));
    }
    drop(store);
    assert_eq!(open(&folder.0).load("a").unwrap().unwrap().records.len(), 5000);
}

#[tokio::test]
async fn another_epoch_drops_what_was_before() {
    let folder = Folder::new("epoch");
    let store = open(&folder.0);
    store.append("a", "one", &record(7, "old")).await.unwrap();
    store.append("b", "one", &record(7, "other")).await.unwrap();
    store.append("a", "two", &record(0, "new")).await.unwrap();
    let saved = store.load("a").unwrap().unwrap();
    assert_eq!((saved.epoch.as_str(), saved.records), ("two", vec![record(0, "new")]));
    assert_eq!(store.load("b").unwrap().unwrap().records, [record(7, "other")]);
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let folder = Folder::new("closed");
    let store = open(&folder.0);
    store.close();
    assert_eq!(store.append("a", "e", &record(0, "x")).await, Err(StoreError::Closed));
    assert_eq!(store.load("a"), Err(StoreError::Closed));
}

#[tokio::test]
async fn more_than_may_wait_is_refused_and_the_rest_is_stored() {
    let folder = Folder::new("busy");
    let store = open(&folder.0);
    let text = "x".repeat(1 << 20);
    let durable: Vec<_> = (0..100).map(|offset| store.append("a", "e", &record(offset, &text))).collect();
    let mut stored = Vec::new();
    for (offset, durable) in durable.into_iter().enumerate() {
        match durable.await {
            Ok(()) => stored.push(offset as u64),
            Err(error) => assert_eq!(error, StoreError::Busy),
        }
    }
    let offsets: Vec<_> =
        store.load("a").unwrap().unwrap().records.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, stored);
    assert!((31..100).contains(&stored.len()), "{} stored", stored.len());
}

#[tokio::test]
async fn rooms_are_bounded_and_the_next_one_is_told_so() {
    let folder = Folder::new("rooms");
    let store = Store::open(&folder.0, Retention { rooms: 2, ..retention() }).unwrap();
    store.append("a", "e", &record(0, "x")).await.unwrap();
    store.append("b", "e", &record(0, "x")).await.unwrap();
    let refused = store.append("c", "e", &record(0, "x")).await;
    assert_eq!(refused, Err(StoreError::TooManyRooms { max: 2 }));
    store.append("a", "e", &record(1, "x")).await.unwrap();
    assert_eq!(store.load("c"), Ok(None));
}

#[tokio::test]
async fn a_name_that_is_too_long_is_refused() {
    let folder = Folder::new("long");
    let store = open(&folder.0);
    let refused = store.append(&"x".repeat(1025), "e", &record(0, "x")).await;
    assert_eq!(refused, Err(StoreError::KeyTooLong { bytes: 1025, max: 1024 }));
    store.append(&"x".repeat(1024), "e", &record(0, "x")).await.unwrap();
}

/// What was removed is written over: the file doesn't grow with all that was ever said.
#[tokio::test]
async fn the_file_stays_small_under_retention() {
    let folder = Folder::new("small");
    let store = Store::open(&folder.0, Retention { messages: 100, ..retention() }).unwrap();
    let text = "x".repeat(1000);
    for round in 0..100 {
        let durable: Vec<_> =
            (0..500).map(|at| store.append("a", "e", &record(round * 500 + at, &text))).collect();
        for durable in durable {
            durable.await.unwrap();
        }
    }
    let records = store.load("a").unwrap().unwrap().records;
    assert_eq!(records.len(), 100);
    assert_eq!(records[0].offset, 49_900);
    // 50 MB went through it.
    let bytes = fs::metadata(folder.file()).unwrap().len();
    assert!(bytes < 8 << 20, "{bytes} bytes");
}

#[test]
fn a_second_store_in_the_same_folder_is_told_who_has_it() {
    let folder = Folder::new("twice");
    let store = open(&folder.0);
    let error = Store::open(&folder.0, retention()).unwrap_err();
    assert_eq!(error, StoreError::InUse { folder: folder.0.clone() });
    drop(store);
    open(&folder.0);
}

#[test]
fn another_process_is_told_who_has_it() {
    let folder = Folder::new("process");
    let mut child = start_child(&folder.0);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("@room")), "the child has it open");
    let error = Store::open(&folder.0, retention()).unwrap_err();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(error, StoreError::InUse { folder: folder.0.clone() });
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = Folder::new("file");
    fs::write(&folder.0, "not a folder").unwrap();
    let error = Store::open(&folder.0.join("inside"), retention()).unwrap_err();
    fs::remove_file(&folder.0).unwrap();
    assert!(matches!(&error, StoreError::Folder { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("inside") && said.contains("choose a data directory"), "{said}");
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    let folder = Folder::new("alien");
    fs::create_dir_all(&folder.0).unwrap();
    fs::write(folder.file(), "this is no database ".repeat(1000)).unwrap();
    let error = Store::open(&folder.0, retention()).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { .. }), "{error}");
    assert!(fs::read_to_string(folder.file()).unwrap().starts_with("this is no database"));
}

/// Whatever byte is wrong, it opens with an error or with records that were written, and nothing panics.
#[tokio::test]
async fn a_damaged_file_is_never_read_as_something_else() {
    let folder = Folder::new("damaged");
    let store = open(&folder.0);
    for offset in 0..200 {
        _ = store.append("a", "e", &record(offset, "a text that was written"));
    }
    store.append("a", "e", &record(200, "a text that was written")).await.unwrap();
    drop(store);
    let whole = fs::read(folder.file()).unwrap();
    let mut refused = 0;
    for _ in 0..60 {
        let mut damaged = whole.clone();
        let at = random(damaged.len() as u64) as usize;
        damaged[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0x55);
        fs::write(folder.file(), &damaged).unwrap();
        match Store::open(&folder.0, retention()).and_then(|store| store.load("a")) {
            Err(error) => {
                refused += 1;
                assert!(!matches!(error, StoreError::InUse { .. }), "{error}");
            }
            Ok(saved) => {
                for read in saved.map(|saved| saved.records).unwrap_or_default() {
                    assert_eq!(read, record(read.offset, "a text that was written"), "damaged at {at}");
                }
            }
        }
    }
    assert!(refused < 60, "an untouched page is no reason to refuse");
}

#[test]
fn a_truncated_file_is_refused() {
    let folder = Folder::new("truncated");
    drop(open(&folder.0));
    let whole = fs::read(folder.file()).unwrap();
    fs::write(folder.file(), &whole[..whole.len() / 2]).unwrap();
    let error = Store::open(&folder.0, retention()).unwrap_err();
    assert!(error.to_string().contains("put a backup in its place"), "{error}");
}

#[cfg(unix)]
#[test]
fn only_this_user_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("mode");
    drop(open(&folder.0));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder.0), mode(&folder.file())), (0o700, 0o600));
}
