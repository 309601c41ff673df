//! One room: its members, its order, and its books.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::proto::Prepared;

use super::Settings;
use super::pending::{Missed, Next, Pending, TooSlow};

/// Where a member's messages go. Nothing here may wait, and nothing may call back into the room.
pub trait Outlet: Send + Sync {
    /// Takes a message, unless there is no room for it.
    fn deliver(&self, message: &Prepared) -> Delivery;

    /// Takes the news that messages were missed, unless there is no room for it.
    fn deliver_missed(&self, missed: Missed) -> Delivery;

    /// Messages wait because there was no room: call [`Membership::resume`](super::Membership::resume) once there
    /// is some.
    fn on_slow(&self);

    /// Too many messages wait: the member is out, and is to be disconnected.
    fn on_too_slow(&self);
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It will reach the member.
    Taken,
    /// There is no room for it.
    Full,
    /// The member is gone.
    Closed,
}

/// Something to publish.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The message, encoded once.
    pub message: Prepared,
    /// What it is the newest state of, for [`Policy::LatestPerKey`](super::Policy::LatestPerKey).
    pub key: Option<String>,
}

impl From<Prepared> for Publish {
    fn from(message: Prepared) -> Self {
        Self { message, key: None }
    }
}

/// Tells members apart, whatever they are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(u64);

/// Somebody in the room goes by one of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken;

/// A room's books: at any moment `addressed == delivered + dropped + pending + abandoned`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    /// The sum over all messages of the members that each was for.
    pub addressed: u64,
    /// Of those, taken by the member's outlet.
    pub delivered: u64,
    /// Dropped by the policy.
    pub dropped: u64,
    /// Waiting for a slow member.
    pub pending: u64,
    /// Lost with a member that left or was disconnected.
    pub abandoned: u64,
}

/// A message that was published.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) key: Option<String>,
    message: Prepared,
}

impl Entry {
    /// What it costs to keep it, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.message.frame_bytes() + ENTRY_OVERHEAD_BYTES
    }
}

/// The entry itself, its reference in a queue, the allocations' own.
const ENTRY_OVERHEAD_BYTES: usize = 160;

struct Member {
    id: MemberId,
    names: Vec<String>,
    outlet: Arc<dyn Outlet>,
    /// What waits, if it is slow.
    pending: Option<Pending>,
}

#[derive(Default)]
struct State {
    members: Vec<Member>,
    /// By each of their names.
    names: HashMap<String, MemberId>,
    next_member: u64,
    next_offset: u64,
    books: Accounting,
}

/// One room, under one lock.
pub(super) struct Room {
    state: Mutex<State>,
    settings: Settings,
}

impl Room {
    pub(super) fn new(settings: Settings) -> Self {
        Self { state: Mutex::default(), settings }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().members.is_empty()
    }

    pub(super) fn accounting(&self) -> Accounting {
        self.lock().books
    }

    pub(super) fn join(
        &self,
        names: Vec<String>,
        outlet: Arc<dyn Outlet>,
        welcome: &Publish,
        announcement: &Publish,
    ) -> Result<MemberId, Taken> {
        let mut state = self.lock();
        if names.iter().any(|name| state.names.contains_key(name)) {
            return Err(Taken);
        }
        // Before anything else can reach it. Whether it was taken shows at the first message.
        outlet.deliver(&welcome.message);
        state.publish(None, announcement, self.settings);
        let id = MemberId(state.next_member);
        state.next_member += 1;
        state.names.extend(names.iter().map(|name| (name.clone(), id)));
        state.members.push(Member { id, names, outlet, pending: None });
        Ok(id)
    }

    pub(super) fn publish(&self, from: Option<MemberId>, publish: &Publish) {
        self.lock().publish(from, publish, self.settings);
    }

    pub(super) fn resume(&self, id: MemberId) {
        let mut state = self.lock();
        let State { members, books, .. } = &mut *state;
        if let Some(at) = members.iter().position(|member| member.id == id)
            && members[at].resume(books) == Delivery::Closed
        {
            state.remove(at);
        }
    }

    pub(super) fn leave(&self, id: MemberId, announcement: Option<&Publish>) {
        let mut state = self.lock();
        // Whoever was disconnected as too slow is out already, but its leaving is still told.
        if let Some(at) = state.members.iter().position(|member| member.id == id) {
            state.remove(at);
        }
        if let Some(announcement) = announcement {
            state.publish(Some(id), announcement, self.settings);
        }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("accounting", &self.accounting()).finish_non_exhaustive()
    }
}

impl State {
    fn publish(&mut self, from: Option<MemberId>, publish: &Publish, settings: Settings) {
        let offset = self.next_offset;
        self.next_offset += 1;
        // Made only if somebody is slow.
        let mut entry = None;
        let mut gone = Vec::new();
        for (at, member) in self.members.iter_mut().enumerate() {
            if from == Some(member.id) {
                continue;
            }
            self.books.addressed += 1;
            if member.pending.is_none() {
                match member.outlet.deliver(&publish.message) {
                    Delivery::Taken => {
                        self.books.delivered += 1;
                        continue;
                    }
                    Delivery::Full => {
                        member.pending = Some(Pending::default());
                        member.outlet.on_slow();
                    }
                    Delivery::Closed => {
                        self.books.abandoned += 1;
                        gone.push(at);
                        continue;
                    }
                }
            }
            let entry = entry.get_or_insert_with(|| {
                Arc::new(Entry { offset, key: publish.key.clone(), message: publish.message.clone() })
            });
            if member.push(entry.clone(), settings, &mut self.books) == Err(TooSlow) {
                member.outlet.on_too_slow();
                gone.push(at);
            }
        }
        // From the back, so that the places stay true.
        for at in gone.into_iter().rev() {
            self.remove(at);
        }
    }

    fn remove(&mut self, at: usize) {
        let member = self.members.swap_remove(at);
        for name in &member.names {
            self.names.remove(name);
        }
        let pending = member.pending.as_ref().map_or(0, Pending::entries);
        self.books.pending -= pending;
        self.books.abandoned += pending;
    }
}

impl Member {
    fn push(&mut self, entry: Arc<Entry>, settings: Settings, books: &mut Accounting) -> Result<(), TooSlow> {
        let pending = self.pending.get_or_insert_default();
        let before = pending.entries();
        match pending.push(entry, settings.policy, settings.queue_bytes) {
            Ok(dropped) => {
                books.dropped += dropped;
                books.pending = books.pending + pending.entries() - before;
                Ok(())
            }
            Err(TooSlow) => {
                books.abandoned += 1;
                Err(TooSlow)
            }
        }
    }

    /// Delivers what has waited, in order.
    fn resume(&mut self, books: &mut Accounting) -> Delivery {
        let Some(pending) = &mut self.pending else { return Delivery::Taken };
        while let Some(next) = pending.front() {
            let (delivery, entries) = match next {
                Next::Entry(entry) => (self.outlet.deliver(&entry.message), 1),
                Next::Missed(missed) => (self.outlet.deliver_missed(*missed), 0),
            };
            match delivery {
                Delivery::Taken => {
                    pending.pop();
                    books.pending -= entries;
                    books.delivered += entries;
                }
                Delivery::Full => {
                    self.outlet.on_slow();
                    return Delivery::Full;
                }
                Delivery::Closed => return Delivery::Closed,
            }
        }
        self.pending = None;
        Delivery::Taken
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::super::Policy;
    use super::*;
    use crate::proto::Message;

    /// A member in memory, with room for so many messages.
    #[derive(Default)]
    struct Inbox {
        room: AtomicUsize,
        seen: Mutex<Vec<Seen>>,
    }

    #[derive(Clone, Debug, PartialEq)]
    enum Seen {
        Text(String),
        Missed(Missed),
        Out,
    }

    impl Inbox {
        fn with_room(room: usize) -> Arc<Self> {
            Arc::new(Self { room: AtomicUsize::new(room), ..Self::default() })
        }

        fn take(&self, seen: Seen) -> Delivery {
            let has_room =
                self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1));
            if has_room.is_err() {
                return Delivery::Full;
            }
            self.seen.lock().unwrap().push(seen);
            Delivery::Taken
        }

        fn texts(&self) -> Vec<String> {
            let seen = self.seen.lock().unwrap();
            seen.iter()
                .filter_map(|seen| if let Seen::Text(text) = seen { Some(text.clone()) } else { None })
                .collect()
        }

        fn missed(&self) -> u64 {
            let seen = self.seen.lock().unwrap();
            seen.iter().map(|seen| if let Seen::Missed(missed) = seen { missed.count } else { 0 }).sum()
        }
    }

    impl Outlet for Inbox {
        fn deliver(&self, message: &Prepared) -> Delivery {
            self.take(Seen::Text(message.message().as_text().unwrap().to_owned()))
        }

        fn deliver_missed(&self, missed: Missed) -> Delivery {
            self.take(Seen::Missed(missed))
        }

        fn on_slow(&self) {}

        fn on_too_slow(&self) {
            self.seen.lock().unwrap().push(Seen::Out);
        }
    }

    fn publish(text: &str, key: Option<&str>) -> Publish {
        Publish { message: Prepared::new(Message::text(text)), key: key.map(str::to_owned) }
    }

    fn room(policy: Policy, entries: usize) -> Room {
        // Every message of these tests has a frame of at most ten bytes.
        Room::new(Settings { policy, queue_bytes: entries * (ENTRY_OVERHEAD_BYTES + 10), max_rooms: 1 })
    }

    fn join(room: &Room, name: &str, inbox: &Arc<Inbox>) -> MemberId {
        room.join(vec![name.to_owned()], inbox.clone(), &publish("hi", None), &publish("new", None)).unwrap()
    }

    fn balance(books: Accounting) {
        assert_eq!(
            books.addressed,
            books.delivered + books.dropped + books.pending + books.abandoned,
            "{books:?}"
        );
    }

    #[test]
    fn everybody_else_gets_a_message_and_a_name_is_taken_once() {
        let room = room(Policy::Disconnect, 10);
        let (a, b) = (Inbox::with_room(100), Inbox::with_room(100));
        let id_a = join(&room, "a", &a);
        let id_b = join(&room, "b", &b);
        assert_eq!(
            room.join(vec!["x".into(), "a".into()], b.clone(), &publish("", None), &publish("", None)),
            Err(Taken)
        );
        room.publish(Some(id_a), &publish("from a", None));
        room.leave(id_b, Some(&publish("bye", None)));
        assert_eq!(a.texts(), ["hi", "new", "bye"]);
        assert_eq!(b.texts(), ["hi", "from a"]);
        balance(room.accounting());
    }

    #[test]
    fn the_policies_differ_in_what_a_slow_member_misses() {
        for (policy, texts, missed) in [
            (Policy::DropOldest, vec!["hi", "3", "4", "5"], 3),
            (Policy::DropNewest, vec!["hi", "0", "1", "2"], 3),
            (Policy::LatestPerKey, vec!["hi", "3", "4", "5"], 3),
        ] {
            let room = room(policy, 3);
            let slow = Inbox::with_room(1);
            let id = join(&room, "slow", &slow);
            for number in 0..6u32 {
                let key = (number % 2).to_string();
                room.publish(None, &publish(&number.to_string(), (number > 2).then_some(&key)));
            }
            slow.room.store(100, Ordering::Relaxed);
            room.resume(id);
            let expected = if policy == Policy::LatestPerKey { vec!["hi", "2", "4", "5"] } else { texts };
            assert_eq!(slow.texts(), expected, "{policy:?}");
            assert_eq!(slow.missed(), missed, "{policy:?}");
            balance(room.accounting());
        }
    }

    #[test]
    fn too_slow_a_member_is_out_and_the_others_feel_nothing() {
        let room = room(Policy::Disconnect, 2);
        let (slow, quick) = (Inbox::with_room(1), Inbox::with_room(100));
        join(&room, "slow", &slow);
        join(&room, "quick", &quick);
        for number in 0..5 {
            room.publish(None, &publish(&number.to_string(), None));
        }
        assert_eq!(slow.seen.lock().unwrap().last(), Some(&Seen::Out));
        assert_eq!(quick.texts(), ["hi", "0", "1", "2", "3", "4"]);
        balance(room.accounting());
        assert_eq!(room.accounting().pending, 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Join,
        Leave(usize),
        Publish(Option<usize>, Option<u8>),
        Room(usize, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            1 => Just(Step::Join),
            1 => (0usize..6).prop_map(Step::Leave),
            6 => (proptest::option::of(0usize..6), proptest::option::of(0u8..3)).prop_map(|(from, key)| Step::Publish(from, key)),
            3 => ((0usize..6), (0usize..8)).prop_map(|(who, room)| Step::Room(who, room)),
        ];
        proptest::collection::vec(step, 0..80)
    }

    proptest! {
        #[test]
        fn the_books_balance_and_nothing_is_lost_without_a_notice(
            steps in steps(),
            policy in prop_oneof![
                Just(Policy::Disconnect), Just(Policy::DropOldest), Just(Policy::DropNewest), Just(Policy::LatestPerKey)
            ],
        ) {
            let room = room(policy, 4);
            let mut members: Vec<(MemberId, Arc<Inbox>, u64)> = Vec::new();
            let mut published = 0u64;
            for step in steps {
                match step {
                    Step::Join => {
                        let inbox = Inbox::with_room(2);
                        let id = join(&room, &format!("n{}", room.lock().next_member), &inbox);
                        for (_, _, due) in &mut members { *due += 1; }
                        members.push((id, inbox, 0));
                    }
                    Step::Leave(at) if at < members.len() => {
                        let (id, _, _) = members.swap_remove(at);
                        room.leave(id, None);
                    }
                    Step::Publish(from, key) => {
                        let from = from.and_then(|at| members.get(at)).map(|(id, _, _)| *id);
                        room.publish(from, &publish(&published.to_string(), key.map(|key| key.to_string()).as_deref()));
                        published += 1;
                        for (id, _, due) in &mut members { *due += u64::from(Some(*id) != from); }
                    }
                    Step::Room(at, amount) if at < members.len() => {
                        let (id, inbox, _) = &members[at];
                        inbox.room.fetch_add(amount, Ordering::Relaxed);
                        room.resume(*id);
                    }
                    Step::Leave(_) | Step::Room(..) => {}
                }
                balance(room.accounting());
            }
            // Whoever is still in gets, with enough room, everything or the news of it, and in order.
            for (id, inbox, due) in &members {
                if inbox.seen.lock().unwrap().contains(&Seen::Out) { continue; }
                inbox.room.fetch_add(1000, Ordering::Relaxed);
                room.resume(*id);
                let texts = inbox.texts();
                prop_assert_eq!(texts.len() as u64 - 1 + inbox.missed(), *due);
                let numbers: Vec<u64> = texts.iter().filter_map(|text| text.parse().ok()).collect();
                prop_assert!(numbers.is_sorted());
            }
            balance(room.accounting());
        }
    }
}
