//! Members that are too slow, by policy.

use super::*;

/// A room with a member that takes two messages and no more for now, and one that takes everything.
fn world(
    policy: Policy,
    messages: usize,
) -> (World, Arc<Peer>, Membership<Note>, Arc<Peer>, Membership<Note>) {
    let mut world = World::new(settings(policy, messages));
    let (slow, fast) = (Peer::with_room(2), Peer::new());
    let (slow_member, fast_member) = (world.join(&slow), world.join(&fast));
    world.settle();
    (world, slow, slow_member, fast, fast_member)
}

fn missed(count: u64, first: u64, last: u64) -> Got {
    Got::Missed(Missed { count, first, last })
}

#[test]
fn a_member_within_its_budget_loses_nothing() {
    let (mut world, slow, _member, fast, _fast) = world(Policy::Disconnect, 5);
    world.publish(1..=7);
    world.settle();
    assert_eq!((slow.messages(), world.room.slow_members()), (vec![1, 2], 1));
    assert_eq!(fast.messages(), [1, 2, 3, 4, 5, 6, 7]);
    slow.set_room(None);
    world.settle();
    assert_eq!((slow.messages(), world.room.slow_members()), (vec![1, 2, 3, 4, 5, 6, 7], 0));
    assert_eq!(world.room.live_bytes(), 0);
}

#[test]
fn disconnect_puts_out_and_says_so() {
    let (mut world, slow, member, fast, _fast) = world(Policy::Disconnect, 5);
    world.publish(1..=8);
    world.settle();
    assert!(slow.was_too_slow() && !member.is_in() && !fast.was_too_slow());
    let books = world.assert_books_balance();
    assert_eq!((books.delivered, books.abandoned), (2 + 8, 6));
    assert_eq!(world.room.live_bytes(), 0);
}

#[test]
fn drop_oldest_keeps_the_newest_and_says_what_is_missing() {
    let (mut world, slow, _member, _, _fast) = world(Policy::DropOldest, 3);
    world.publish(1..=9);
    world.settle();
    slow.set_room(None);
    world.settle();
    let expected = [1, 2].map(Got::Message).into_iter();
    let expected = expected.chain([missed(4, 3, 6)]).chain([7, 8, 9].map(Got::Message));
    assert_eq!(slow.got(), expected.collect::<Vec<_>>());
    assert_eq!(world.assert_books_balance().dropped, 4);
}

#[test]
fn drop_newest_keeps_the_oldest_and_says_what_is_missing() {
    let (mut world, slow, _member, _, _fast) = world(Policy::DropNewest, 3);
    world.publish(1..=9);
    world.settle();
    world.publish(10..=11);
    world.settle();
    slow.set_room(None);
    world.settle();
    world.publish([12]);
    world.settle();
    let expected = (1..=5).map(Got::Message).chain([missed(6, 6, 11), Got::Message(12)]);
    assert_eq!(slow.got(), expected.collect::<Vec<_>>());
}

/// It kept entries that lie ahead of the shard's next turn.
#[test]
fn who_was_enforced_in_the_middle_of_a_backlog_is_not_set_back() {
    let mut world = World::new(settings(Policy::DropNewest, 2000));
    let slow = Peer::with_room(0);
    let _member = world.join(&slow);
    world.settle();
    world.publish(0..5000);
    world.step(0, 100);
    world.step(1, 100);
    slow.set_room(None);
    world.settle();
    assert_eq!(slow.messages(), (0..2000).collect::<Vec<_>>());
    assert_eq!(slow.got().last(), Some(&missed(3000, 2001, 5000)));
    world.assert_books_balance();
}

#[test]
fn latest_per_key_gives_the_newest_of_each_key() {
    let (mut world, slow, _member, fast, _fast) = world(Policy::LatestPerKey, 4);
    let publish = |number: u64, key: &str| {
        let publish = Publish::new(Note::new(number));
        world.room.publish(if key.is_empty() { publish } else { publish.of_key(key) })
    };
    for number in 1..=20 {
        publish(number, ["", "a", "b"][number as usize % 3]);
    }
    world.settle();
    slow.set_room(None);
    world.settle();
    assert_eq!(fast.messages().len(), 20);
    let messages = slow.messages();
    assert_eq!(messages[..2], [1, 2]);
    assert!(messages.contains(&19) && messages.contains(&20), "{messages:?}");
    assert!(messages.len() < 8, "{messages:?}");
    let told: u64 =
        slow.got().iter().map(|got| if let Got::Missed(missed) = got { missed.count } else { 0 }).sum();
    assert_eq!(told, 20 - messages.len() as u64);
    world.assert_books_balance();
}

#[test]
fn an_ephemeral_message_takes_no_keys_place() {
    let (mut world, slow, _member, _, _fast) = world(Policy::LatestPerKey, 10);
    world.publish(1..=2);
    world.room.publish(Publish::new(Note::new(3)).of_key("k"));
    world.room.publish(Publish::new(Note::new(4)).of_key("k").ephemeral());
    world.settle();
    slow.set_room(None);
    world.settle();
    assert_eq!(slow.got(), [1, 2, 3].map(Got::Message));
}

#[test]
fn ephemeral_messages_go_first_and_nobody_is_told() {
    let (mut world, slow, _member, fast, _fast) = world(Policy::Disconnect, 10);
    for number in 1..=6 {
        let publish = Publish::new(Note::new(number));
        world.room.publish(if number % 2 == 0 { publish.ephemeral() } else { publish });
    }
    world.settle();
    slow.set_room(None);
    world.settle();
    assert_eq!(slow.got(), [1, 2, 3, 5].map(Got::Message));
    assert_eq!(fast.messages().len(), 6);
    assert_eq!(world.assert_books_balance().dropped, 2);
}

#[test]
fn missed_messages_that_are_not_kept_have_no_offsets() {
    let (mut world, slow, _member, _, _fast) = world(Policy::DropOldest, 1);
    world.publish([1]);
    for number in 2..=4 {
        world.room.publish(Publish::new(Note::new(number)).passing());
    }
    world.settle();
    slow.set_room(None);
    world.settle();
    assert_eq!(slow.got(), [Got::Message(1), Got::Message(2), missed(1, 2, 1), Got::Message(4)]);
}

/// It took a part of its share around its own message, and then it was gone: that part isn't abandoned.
#[test]
fn who_is_gone_in_the_middle_of_its_share_is_counted_once() {
    struct OnceOnly(Peer);
    impl Outlet for OnceOnly {
        fn deliver(&self, batch: &Batch, range: Range<usize>) -> Delivery {
            let delivery = self.0.deliver(batch, range);
            self.0.close();
            delivery
        }
        fn deliver_missed(&self, missed: Missed) -> Delivery {
            self.0.deliver_missed(missed)
        }
        fn wake_when_ready(&self, waker: &Waker) -> bool {
            self.0.wake_when_ready(waker)
        }
        fn on_too_slow(&self) {}
    }
    let mut world = World::new(settings(Policy::Disconnect, 10));
    let member = world.room.join(Arc::new(OnceOnly(Peer::default())), Form::default());
    world.settle();
    world.publish(1..=3);
    member.publish_now(Publish::new(Note::new(4)));
    world.publish(5..=6);
    world.settle();
    let books = world.assert_books_balance();
    assert_eq!((books.delivered, books.abandoned), (3, 2));
}

#[test]
fn a_slow_member_holds_up_no_turn_and_is_asked_only_when_it_has_room() {
    let (mut world, slow, _member, fast, _fast) = world(Policy::DropOldest, 5);
    world.publish(1..=3);
    world.settle();
    let calls = lock(&slow.0).calls.len();
    for number in 4..100 {
        world.publish([number]);
        world.settle();
    }
    assert_eq!(lock(&slow.0).calls.len(), calls);
    assert_eq!(fast.messages().len(), 99);
}

#[test]
fn the_history_holds_nothing_encoded_once_a_slow_member_has_had_it() {
    let (mut world, slow, _member, _, _fast) = world(Policy::DropNewest, 3);
    world.publish(1..=9);
    world.settle();
    assert_eq!(world.room.live_bytes(), 0, "what it kept is its own");
    slow.set_room(None);
    world.settle();
    assert_eq!(slow.messages(), [1, 2, 3, 4, 5]);
    world.room.look(|view| assert!(view.history().all(|entry| !entry.is_encoded())));
}
