//! Joining, leaving, order, turns, history.

use super::*;

fn world() -> World {
    World::new(settings(Policy::Disconnect, 100))
}

#[test]
fn everybody_but_the_sender_gets_what_is_published() {
    let mut world = world();
    let (a, b) = (Peer::new(), Peer::new());
    let member = world.join(&a);
    let _b = world.join(&b);
    for number in 0..6 {
        let publish = Publish::new(Note::new(number));
        if number % 2 == 0 {
            member.publish_now(publish)
        } else {
            world.room.publish(publish)
        };
    }
    world.settle();
    assert_eq!(a.messages(), [1, 3, 5]);
    assert_eq!(b.messages(), [0, 1, 2, 3, 4, 5]);
    let books = world.assert_books_balance();
    assert_eq!((books.addressed, books.delivered), (9, 9));
}

#[test]
fn a_sender_may_be_named_to_the_room_itself() {
    let mut world = world();
    let peer = Peer::new();
    let member = world.join(&peer);
    world.room.publish(Publish::new(Note::new(1)).by(member.id()));
    let left = world.join(&Peer::new());
    let id = left.id();
    drop(left);
    world.room.publish(Publish::new(Note::new(2)).by(id));
    world.settle();
    assert_eq!(peer.messages(), [2]);
    assert_eq!(world.assert_books_balance().addressed, 1);
}

#[test]
fn what_was_published_in_one_turn_comes_at_once() {
    let mut world = world();
    let peer = Peer::new();
    let _member = world.join(&peer);
    world.settle();
    world.publish(0..50);
    world.settle();
    assert_eq!(lock(&peer.0).calls, [50]);
}

#[test]
fn who_joins_gets_what_comes_after_even_if_it_begins_late() {
    let mut world = world();
    let (early, late) = (Peer::new(), Peer::new());
    let _early = world.join(&early);
    world.publish(0..3);
    let news = Publish::new(Note::new(3)).passing();
    let (member, seen) =
        world.room.join_with(late.clone(), Form::default(), Some(news), |view| view.offset());
    world.publish(4..6);
    world.settle();
    assert_eq!((seen, late.messages().len()), (3, 0));
    assert_eq!(early.messages(), [0, 1, 2, 3, 4, 5]);
    member.begin();
    member.begin();
    world.settle();
    assert_eq!(late.messages(), [4, 5]);
    world.publish([6]);
    world.settle();
    assert_eq!(late.messages(), [4, 5, 6]);
    world.assert_books_balance();
}

/// More than a turn takes was published when it joined: its place is far ahead of the shard's.
#[test]
fn who_joins_ahead_of_a_turn_is_not_set_back_by_it() {
    let mut world = World::new(settings(Policy::Disconnect, 10_000));
    let (early, late) = (Peer::new(), Peer::new());
    let _early = world.join(&early);
    world.settle();
    world.publish(0..3000);
    let member = world.join(&late);
    member.begin();
    world.publish([3000]);
    world.settle();
    assert_eq!(late.messages(), [3000]);
    assert_eq!(early.messages(), (0..=3000).collect::<Vec<_>>());
    world.assert_books_balance();
}

#[test]
fn a_member_leaves_in_the_middle_of_a_turn_and_another_takes_its_slot() {
    let mut world = world();
    let peers: Vec<_> = (0..3).map(|_| Peer::new()).collect();
    let mut members: Vec<_> = peers.iter().map(|peer| world.join(peer)).collect();
    world.settle();
    world.publish([1]);
    let home = (0..2).find(|&shard| {
        world.step(shard, 1);
        !peers[0].messages().is_empty()
    });
    assert!(home.is_some(), "the first one has had its share");
    drop(members.pop());
    let next = Peer::new();
    let _next = world.join(&next);
    world.publish([2]);
    world.settle();
    assert_eq!(peers[1].messages(), [1, 2]);
    assert!(peers[2].messages().is_empty());
    assert_eq!(next.messages(), [2]);
    assert_eq!(world.assert_books_balance().abandoned, 1);
}

#[test]
fn everybody_leaves_in_the_middle_of_a_turn_and_somebody_comes() {
    let mut world = world();
    let members: Vec<_> = (0..3).map(|_| world.join(&Peer::new())).collect();
    world.settle();
    world.publish(0..5);
    world.step(0, 1);
    world.step(1, 1);
    drop(members);
    world.publish(5..8);
    let peer = Peer::new();
    let _member = world.join(&peer);
    world.publish([8]);
    world.settle();
    assert_eq!(peer.messages(), [8]);
    world.assert_books_balance();
}

#[test]
fn members_spread_over_the_shards_and_keep_doing_so() {
    let world = world();
    let mut members: std::collections::VecDeque<_> = (0..20).map(|_| world.join(&Peer::new())).collect();
    for _ in 0..200 {
        members.pop_front();
        members.push_back(world.join(&Peer::new()));
    }
    let at_one = members.iter().filter(|member| member.shard == 0).count();
    assert!((8..=12).contains(&at_one), "{at_one} of 20 are on one shard");
}

#[test]
fn nothing_is_kept_that_nobody_needs() {
    let mut world = World::new(Settings { retention: Retention::NONE, ..settings(Policy::Disconnect, 100) });
    world.publish(0..10);
    assert_eq!(world.room.live_bytes(), 0);
    let (fast, slow) = (Peer::new(), Peer::with_room(1));
    let _fast = world.join(&fast);
    let slow_member = world.join(&slow);
    world.settle();
    world.publish(0..10);
    world.settle();
    assert_eq!(world.room.live_bytes(), 9 * (10 + OVERHEAD) as u64);
    assert_eq!(world.room.look(|view| view.history().len()), 0);
    drop(slow_member);
    assert_eq!(world.room.live_bytes(), 0);
    assert_eq!(fast.messages().len(), 10);
}

#[test]
fn the_history_has_the_newest_and_knows_from_where_on() {
    let retention = Retention { messages: 3, ..Retention::default() };
    let world = World::new(Settings { retention, ..settings(Policy::Disconnect, 100) });
    world.publish(1..=5);
    world.room.publish(Publish::new(Note::new(6)).passing());
    world.room.look(|view| {
        let offsets: Vec<_> = view.history().map(|entry| entry.stamp().offset).collect();
        assert_eq!(offsets, [3, 4, 5]);
        assert_eq!(view.after(4).map(|entry| entry.content().number).collect::<Vec<_>>(), [5]);
        let complete: Vec<_> = (0..8).filter(|&offset| view.is_complete_after(offset)).collect();
        assert_eq!(complete, [2, 3, 4, 5]);
        assert!(!view.is_whole());
    });
    world.room.shrink_history(OVERHEAD + 10);
    assert_eq!(world.room.look(|view| view.history().len()), 1);
}

#[test]
fn what_is_restored_goes_on_where_it_ended() {
    let world = world();
    let time = now();
    let restored =
        [(7, time), (9, time)].map(|(offset, time)| (Note::new(offset), None, Stamp { offset, time }));
    world.room.restore(restored);
    let entry = world.room.publish(Publish::new(Note::new(10)));
    assert_eq!(entry.stamp().offset, 10);
    world.room.look(|view| {
        assert_eq!(view.history().map(|entry| entry.stamp().offset).collect::<Vec<_>>(), [7, 9, 10]);
        assert_eq!((view.is_complete_after(5), view.is_complete_after(6)), (false, true));
    });
}

#[test]
fn what_is_too_old_is_not_shown_even_to_who_joins() {
    let world = world();
    let day = 24 * 60 * 60 * 1000;
    world.room.publish(Publish { time: now() - 2 * day, ..Publish::new(Note::new(1)) });
    world.room.publish(Publish { time: now() + 2 * day, ..Publish::new(Note::new(2)) });
    let look = |view: &View<'_, Note>| view.history().map(|entry| entry.content().number).collect::<Vec<_>>();
    let (_member, seen) = world.room.join_with(Peer::new(), Form::default(), None, look);
    assert_eq!(seen, [2], "a clock that is ahead makes nobody else's messages old");
}

#[test]
fn a_form_gets_only_what_is_for_it() {
    let mut world = world();
    let (plain, other) = (Peer::new(), Peer::new());
    let _plain = world.room.join(plain.clone(), Form::new(0));
    let other_member = world.room.join(other.clone(), Form::new(1));
    world.room.publish(Publish::new(Note { forms: 0b01, ..Note::new(1) }));
    world.room.publish(Publish::new(Note { forms: 0b10, ..Note::new(2) }));
    other_member.publish_now(Publish::new(Note { forms: 0b01, ..Note::new(3) }));
    world.room.publish(Publish::new(Note { forms: 0, ..Note::new(4) }));
    world.settle();
    assert_eq!((plain.messages(), other.messages()), (vec![1, 3], vec![2]));
    assert_eq!(world.assert_books_balance().addressed, 3);
}

#[test]
fn leaving_tells_the_others_and_is_told_from_being_put_out() {
    let mut world = world();
    let (a, b) = (Peer::new(), Peer::new());
    let (leaving, gone) = (world.join(&a), world.join(&b));
    let c = Peer::new();
    let _c = world.join(&c);
    world.settle();
    b.close();
    world.publish([1]);
    world.settle();
    assert!(leaving.is_in() && !gone.is_in());
    leaving.leave(Publish::new(Note::new(2)).passing());
    gone.leave(Publish::new(Note::new(3)).passing());
    world.settle();
    assert_eq!((a.messages(), c.messages()), (vec![1], vec![1, 2, 3]));
    assert_eq!(world.room.len(), 1);
    world.assert_books_balance();
}
