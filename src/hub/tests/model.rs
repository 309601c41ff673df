//! Random rooms against a plain model: a list of what was published, and for each member a look at what came.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    /// Joins, with so much room, in the form of that number; begins at once or not.
    Join {
        room: Option<usize>,
        form: u8,
        begins: bool,
    },
    Begin(usize),
    Leave {
        member: usize,
        tells: bool,
    },
    /// The connection is gone.
    Close(usize),
    SetRoom(usize, Option<usize>),
    Publish {
        by: Option<usize>,
        key: Option<u8>,
        lifetime: Lifetime,
        bytes: usize,
        forms: u8,
    },
    Step {
        shard: usize,
        members: usize,
    },
    Settle,
}

fn op() -> impl Strategy<Value = Op> {
    let room = prop_oneof![2 => Just(None), 1 => (0..4_usize).prop_map(Some), 1 => Just(Some(0))];
    let lifetime = prop_oneof![
        5 => Just(Lifetime::Kept), 2 => Just(Lifetime::Passing), 1 => Just(Lifetime::Ephemeral)
    ];
    let publish =
        (any::<Option<prop::sample::Index>>(), any::<Option<bool>>(), lifetime, 1..600_usize, 1..4_u8);
    let index = any::<prop::sample::Index>().prop_map(|index| index.index(1000));
    prop_oneof![
        2 => (room.clone(), 0..2_u8, prop::bool::weighted(0.8))
            .prop_map(|(room, form, begins)| Op::Join { room, form, begins }),
        1 => index.clone().prop_map(Op::Begin),
        1 => (index.clone(), any::<bool>()).prop_map(|(member, tells)| Op::Leave { member, tells }),
        1 => index.clone().prop_map(Op::Close),
        4 => (index, room).prop_map(|(member, room)| Op::SetRoom(member, room)),
        12 => publish.prop_map(|(by, key, lifetime, bytes, forms)| Op::Publish {
            by: by.map(|by| by.index(1000)),
            key: key.map(u8::from),
            lifetime,
            bytes,
            // Messages with a key are for all.
            forms: if key.is_some() { 3 } else { forms },
        }),
        12 => (0..2_usize, 1..5_usize).prop_map(|(shard, members)| Op::Step { shard, members }),
        1 => Just(Op::Settle),
    ]
}

/// What was published, as the model has it.
struct Published {
    offset: u64,
    lifetime: Lifetime,
    key: Option<u8>,
    by: Option<usize>,
    forms: u8,
}

/// A member, as the model has it.
struct Seen {
    peer: Arc<Peer>,
    membership: Option<Membership<Note>>,
    form: u8,
    /// What it is for lies in here.
    from: usize,
    until: Option<usize>,
    /// Whether it ever had less room than it wanted, or hadn't begun.
    was_slow: bool,
}

struct Model {
    world: World,
    settings: Settings,
    published: Vec<Published>,
    members: Vec<Seen>,
    addressed: u64,
}

impl Model {
    fn new(settings: Settings) -> Self {
        let world = World::new(settings);
        Self { world, settings, published: Vec::new(), members: Vec::new(), addressed: 0 }
    }

    fn is_for(&self, number: usize, member: usize) -> bool {
        let (message, seen) = (&self.published[number], &self.members[member]);
        number >= seen.from
            && seen.until.is_none_or(|until| number < until)
            && message.forms & (1 << seen.form) != 0
            && message.by != Some(member)
    }

    /// The next message, as the model has it and as it is published.
    fn message(&mut self, published: Published, bytes: usize) -> Publish<Note> {
        let number = self.published.len();
        let note = Note { number: number as u64, bytes, forms: published.forms };
        let publish = Publish { lifetime: published.lifetime, ..Publish::new(note) };
        let publish = match published.key {
            Some(key) => publish.of_key(key.to_string()),
            None => publish,
        };
        self.published.push(published);
        let is_in = |seen: &Seen| seen.membership.as_ref().is_some_and(Membership::is_in);
        let members = 0..self.members.len();
        self.addressed +=
            members.filter(|&at| is_in(&self.members[at]) && self.is_for(number, at)).count() as u64;
        publish
    }

    fn next_offset(&self, lifetime: Lifetime) -> u64 {
        self.published.last().map_or(0, |last| last.offset) + u64::from(lifetime == Lifetime::Kept)
    }

    fn apply(&mut self, op: Op) {
        let pick = |members: &Vec<Seen>, index: usize| (!members.is_empty()).then(|| index % members.len());
        match op {
            Op::Join { room, form, begins } => {
                let peer = Peer::new();
                peer.set_room(room);
                let outlet = peer.clone();
                let (membership, _) = self.world.room.join_with(outlet, Form::new(form), None, |_| {});
                if begins {
                    membership.begin();
                }
                let from = self.published.len();
                let was_slow = true;
                let membership = Some(membership);
                self.members.push(Seen { peer, membership, form, from, until: None, was_slow });
            }
            Op::Begin(index) => {
                if let Some(at) = pick(&self.members, index) {
                    self.members[at].membership.iter().for_each(Membership::begin);
                }
            }
            Op::Leave { member, tells } => {
                let Some(at) = pick(&self.members, member) else { return };
                let Some(membership) = self.members[at].membership.take() else { return };
                self.members[at].until = Some(self.published.len());
                if tells {
                    let lifetime = Lifetime::Passing;
                    let offset = self.next_offset(lifetime);
                    let news = Published { offset, lifetime, key: None, by: None, forms: 3 };
                    membership.leave(self.message(news, 10));
                }
            }
            Op::Close(index) => {
                if let Some(at) = pick(&self.members, index) {
                    self.members[at].peer.close();
                }
            }
            Op::SetRoom(index, room) => {
                if let Some(at) = pick(&self.members, index) {
                    self.members[at].was_slow |= room.is_some();
                    self.members[at].peer.set_room(room);
                }
            }
            Op::Publish { by, key, lifetime, bytes, forms } => {
                let by = by.and_then(|by| pick(&self.members, by));
                let offset = self.next_offset(lifetime);
                let message = self.message(Published { offset, lifetime, key, by, forms }, bytes);
                let entry = match by.and_then(|by| self.members[by].membership.as_ref()) {
                    Some(membership) => membership.publish_now(message),
                    None => {
                        // Whoever has left is nobody any more.
                        self.world.room.publish(message)
                    }
                };
                assert_eq!(entry.stamp().offset, offset);
            }
            Op::Step { shard, members } => self.world.step(shard, members),
            Op::Settle => self.settle(),
        }
    }

    fn settle(&mut self) {
        self.world.settle();
        let longest = 600 + 1 + OVERHEAD;
        assert!(self.world.room.live_bytes() as usize <= self.settings.queue_bytes + longest);
        if self.world.room.slow_members() == 0 {
            assert_eq!(self.world.room.live_bytes(), 0, "it is kept for nobody");
        }
    }

    fn check_books(&self) {
        let books = self.world.assert_books_balance();
        assert_eq!(books.addressed, self.addressed);
        let delivered: usize = self.members.iter().map(|seen| seen.peer.messages().len()).sum();
        assert_eq!(books.delivered, delivered as u64);
    }

    /// Everybody has room, everything is done.
    fn finish(&mut self) {
        for seen in &self.members {
            seen.membership.iter().for_each(Membership::begin);
            seen.peer.set_room(None);
        }
        self.settle();
        self.check_books();
        let books = self.world.room.accounting();
        assert_eq!((books.pending, self.world.room.slow_members()), (0, 0));
        (0..self.members.len()).for_each(|at| self.check_member(at));
        self.check_history();
    }

    fn check_member(&self, at: usize) {
        let seen = &self.members[at];
        let policy = self.settings.policy;
        let is_whole = seen.membership.as_ref().is_some_and(Membership::is_in);
        assert!(!seen.peer.was_too_slow() || policy == Policy::Disconnect);
        let mut expected = (0..self.published.len()).filter(|&number| self.is_for(number, at)).peekable();
        let mut told: Option<Missed> = None;
        // What was skipped since the news of it were last complete.
        let mut skipped = Vec::new();
        for got in seen.peer.got() {
            match got {
                Got::Missed(missed) => told = Some(told.map_or(missed, |told| told.join(missed))),
                Got::Message(number) => {
                    let skip = std::iter::from_fn(|| expected.next_if(|next| *next < number as usize));
                    skipped.extend(skip);
                    assert_eq!(expected.next(), Some(number as usize), "it is for it, once, in order");
                    if policy != Policy::LatestPerKey {
                        self.check_missed(&skipped, told.take());
                        skipped.clear();
                    }
                }
            }
        }
        if is_whole {
            skipped.extend(expected);
            assert!(seen.was_slow || skipped.is_empty());
            self.check_missed(&skipped, told);
            self.check_keys(at, &skipped);
        }
    }

    /// What was skipped is what it was told.
    fn check_missed(&self, skipped: &[usize], told: Option<Missed>) {
        let mut expected: Option<Missed> = None;
        for message in skipped.iter().map(|&number| &self.published[number]) {
            let first = message.offset + u64::from(message.lifetime != Lifetime::Kept);
            let one = Missed { count: 1, first, last: message.offset };
            if message.lifetime != Lifetime::Ephemeral {
                assert_ne!(self.settings.policy, Policy::Disconnect, "nothing is missed");
                expected = Some(expected.map_or(one, |expected| expected.join(one)));
            }
        }
        assert_eq!(told, expected);
    }

    /// The newest of each key came.
    fn check_keys(&self, at: usize, skipped: &[usize]) {
        for key in (0..2).filter(|_| self.settings.policy == Policy::LatestPerKey) {
            let is_of_key = |number: &usize| {
                let message = &self.published[*number];
                message.key == Some(key) && message.lifetime != Lifetime::Ephemeral
            };
            let newest = (0..self.published.len()).rfind(is_of_key);
            if let Some(newest) = newest.filter(|&newest| self.is_for(newest, at)) {
                assert!(!skipped.contains(&newest), "the newest of {key} is {newest}");
            }
        }
    }

    fn check_history(&self) {
        let kept: Vec<_> = self
            .published
            .iter()
            .filter(|one| one.lifetime == Lifetime::Kept)
            .map(|one| one.offset)
            .collect();
        let Retention { messages, bytes, .. } = self.settings.retention;
        self.world.room.look(|view| {
            let offsets: Vec<_> = view.history().map(|entry| entry.stamp().offset).collect();
            assert_eq!(offsets, kept[kept.len() - offsets.len()..]);
            assert!(offsets.len() <= messages && view.history_bytes() <= bytes);
            for offset in 0..=kept.len() as u64 {
                let after = view.after(offset).count() as u64;
                assert_eq!(view.is_complete_after(offset), after == kept.len() as u64 - offset);
            }
            assert!(!view.is_complete_after(kept.len() as u64 + 1));
        });
    }
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let policies = [Policy::Disconnect, Policy::DropOldest, Policy::DropNewest, Policy::LatestPerKey];
    let budget = prop_oneof![Just(2000_usize), Just(4000), Just(20_000)];
    let retention = prop_oneof![
        Just(Retention::NONE),
        Just(Retention { messages: 5, ..Retention::default() }),
        Just(Retention { bytes: 2000, ..Retention::default() }),
    ];
    (prop::sample::select(policies.to_vec()), budget, retention)
        .prop_map(|(policy, queue_bytes, retention)| Settings { policy, queue_bytes, retention })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn rooms_do_what_the_model_says(
        settings in any_settings(),
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut model = Model::new(settings);
        for op in ops {
            model.apply(op);
            model.check_books();
        }
        model.finish();
    }
}
