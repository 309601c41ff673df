//! The hub by itself: members in memory, whose room is settable, and shards whose steps the test takes.

mod facts;
mod model;
mod runtime;
mod slow;

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use super::shard::{Shards, Shift};
use super::*;
use crate::proto::{Batch, Message, Prepared};

/// What is published here: a number, of a size, for some forms.
#[derive(Debug)]
struct Note {
    number: u64,
    bytes: usize,
    /// A bit a form.
    forms: u8,
}

impl Note {
    fn new(number: u64) -> Self {
        Self { number, bytes: 10, forms: 0b1111 }
    }
}

impl From<u64> for Note {
    fn from(number: u64) -> Self {
        Self::new(number)
    }
}

impl Content for Note {
    fn is_for(&self, form: Form) -> bool {
        (0..4).any(|number| Form::new(number) == form && self.forms & (1 << number) != 0)
    }

    fn encode(&self, form: Form, _: Stamp, _: Option<&str>) -> Prepared {
        assert!(self.is_for(form), "encoded for whom it isn't");
        Message::text(self.number.to_string()).into()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What an entry of a note costs besides its bytes.
const OVERHEAD: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Got {
    Message(u64),
    Missed(Missed),
}

/// A member's end.
#[derive(Default)]
struct Peer(Mutex<State>);

#[derive(Default)]
struct State {
    /// For how many more it has room; `None` for any number.
    room: Option<usize>,
    got: Vec<Got>,
    /// How many messages came at a time.
    calls: Vec<usize>,
    wakers: Vec<Waker>,
    is_closed: bool,
    was_too_slow: bool,
}

impl Peer {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn with_room(room: usize) -> Arc<Self> {
        let peer = Self::new();
        peer.set_room(Some(room));
        peer
    }

    /// Sets its room, and wakes it if it has some.
    fn set_room(&self, room: Option<usize>) {
        let mut state = lock(&self.0);
        state.room = room;
        let wakers = if room == Some(0) { Vec::new() } else { std::mem::take(&mut state.wakers) };
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn close(&self) {
        lock(&self.0).is_closed = true;
        self.set_room(None);
    }

    fn got(&self) -> Vec<Got> {
        lock(&self.0).got.clone()
    }

    fn messages(&self) -> Vec<u64> {
        let messages = |got: Got| if let Got::Message(number) = got { Some(number) } else { None };
        self.got().into_iter().filter_map(messages).collect()
    }

    fn was_too_slow(&self) -> bool {
        lock(&self.0).was_too_slow
    }
}

impl Outlet for Peer {
    fn deliver(&self, batch: &Batch, range: Range<usize>) -> Delivery {
        let mut state = lock(&self.0);
        assert!(!range.is_empty(), "nothing was delivered");
        if state.is_closed {
            return Delivery::Closed;
        }
        let taken = state.room.unwrap_or(usize::MAX).min(range.len());
        if let Some(room) = &mut state.room {
            *room -= taken;
        }
        state.calls.push(taken);
        for message in &batch.messages()[range][..taken] {
            let number = message.message().as_text().and_then(|text| text.parse().ok()).unwrap();
            state.got.push(Got::Message(number));
        }
        Delivery::Taken(taken)
    }

    fn deliver_missed(&self, missed: Missed) -> Delivery {
        let mut state = lock(&self.0);
        if state.is_closed {
            return Delivery::Closed;
        }
        match &mut state.room {
            Some(0) => return Delivery::Taken(0),
            Some(room) => *room -= 1,
            None => {}
        }
        state.got.push(Got::Missed(missed));
        Delivery::Taken(1)
    }

    fn wake_when_ready(&self, waker: &Waker) -> bool {
        let mut state = lock(&self.0);
        let has_room = state.room != Some(0) || state.is_closed;
        if !has_room {
            state.wakers.push(waker.clone());
        }
        has_room
    }

    fn on_too_slow(&self) {
        lock(&self.0).was_too_slow = true;
    }
}

/// A room whose shards move only when they are told to.
struct World {
    room: Arc<Room<Note>>,
    shifts: Vec<Shift<Note>>,
}

impl World {
    fn new(settings: Settings) -> Self {
        let shards = Shards::idle(2);
        let shifts = (0..2).map(|index| Shift::new(shards.at(index).clone())).collect();
        Self { room: Room::new(shards, settings, 0), shifts }
    }

    /// One step of a shard, of so many members.
    fn step(&mut self, shard: usize, members: usize) {
        let shift = &mut self.shifts[shard];
        shift.take_inbox();
        shift.resume_some(members);
        shift.serve_some(members);
    }

    /// Steps until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..2000 {
            for shard in 0..2 {
                self.step(shard, 100);
            }
            self.shifts.iter_mut().for_each(|shift| _ = shift.take_inbox());
            if self.shifts.iter().all(Shift::is_idle) {
                return;
            }
        }
        panic!("the shards never rest");
    }

    fn publish(&self, numbers: impl IntoIterator<Item = u64>) {
        numbers.into_iter().for_each(|number| _ = self.room.publish(Publish::new(Note::new(number))));
    }

    fn join(&self, peer: &Arc<Peer>) -> Membership<Note> {
        self.room.join(peer.clone(), Form::default())
    }

    #[track_caller]
    fn assert_books_balance(&self) -> Accounting {
        let books = self.room.accounting();
        let Accounting { addressed, delivered, dropped, pending, abandoned } = books;
        assert_eq!(addressed, delivered + dropped + pending + abandoned, "{books:?}");
        books
    }
}

fn settings(policy: Policy, messages: usize) -> Settings {
    Settings { policy, queue_bytes: messages * (10 + OVERHEAD), retention: Retention::default() }
}
