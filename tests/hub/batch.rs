//! Whatever a socket takes of a batch, the peer gets each message once, in order, and none torn.

use std::io::IoSlice;

use proptest::prelude::*;
use switchboard::proto::deflate::{DeflateConfig, DeflateParams};
use switchboard::proto::{Event, Receiver, Sender};
use switchboard::{Batch, Limits, Message, Prepared, Role};

/// What a connection agreed on: nothing, or parameters and the threshold under which nothing is deflated.
type Agreed = Option<(DeflateParams, usize)>;

fn agreements() -> Vec<Agreed> {
    let deflate = DeflateParams::default();
    let without_context = DeflateParams { server_no_context_takeover: true, ..deflate };
    vec![
        None,
        Some((without_context, 32)),
        Some((DeflateParams { server_no_context_takeover: false, ..deflate }, 32)),
        Some((DeflateParams { server_max_window_bits: 9, ..without_context }, 32)),
        Some((DeflateParams { server_max_window_bits: 8, server_no_context_takeover: false, ..deflate }, 32)),
        // The batch has its deflated form for those above.
        Some((without_context, 200)),
    ]
}

/// A server's connection, written by hand.
struct Peer {
    sender: Sender,
    receiver: Receiver,
    wire: Vec<u8>,
}

impl Peer {
    fn new(agreed: &Agreed) -> Self {
        let (sender, receiver) = (Sender::server(), Receiver::new(Role::Client, Limits::default()));
        let (sender, receiver) = match *agreed {
            None => (sender, receiver),
            Some((params, threshold_bytes)) => {
                let mut config = DeflateConfig::default();
                config.threshold_bytes = threshold_bytes;
                (sender.with_deflate(params, &config), receiver.with_deflate(params))
            }
        };
        Self { sender, receiver, wire: Vec::new() }
    }

    /// The socket takes so many bytes, or what there is.
    fn write(&mut self, bytes: usize) {
        let mut left = bytes.min(self.sender.queued_bytes());
        while left > 0 {
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = self.sender.output(&mut slices);
            assert!(filled > 0);
            let taken = slices[0].len().min(left);
            self.wire.extend_from_slice(&slices[0][..taken]);
            self.sender.advance(taken);
            left -= taken;
        }
    }

    /// Sends all of a batch on a socket that takes so much at a time.
    fn send(&mut self, batch: &Batch, mut cuts: impl Iterator<Item = usize>) {
        let mut sent = 0;
        while sent < batch.len() {
            let before = self.sender.queued_total();
            self.sender.send_batch(batch, sent..batch.len()).unwrap();
            self.write(cuts.next().unwrap_or(usize::MAX));
            if self.sender.queued_bytes() == 0 {
                return;
            }
            sent += self.sender.take_back(batch, sent..batch.len(), before);
            while self.sender.queued_bytes() > 0 {
                self.write(cuts.next().unwrap_or(usize::MAX));
            }
        }
    }

    fn received(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut input = &mut self.wire[..];
        while let Some(event) = self.receiver.poll_event(&mut input).unwrap() {
            let Event::Message(message) = event else { panic!("{event:?}") };
            messages.push(message);
        }
        assert!(input.is_empty() && !self.receiver.is_in_message());
        self.wire.clear();
        messages
    }
}

fn prepared(messages: &[Message]) -> Batch {
    Batch::new(messages.iter().cloned().map(Prepared::from).collect())
}

#[test]
fn every_short_first_write_loses_and_doubles_nothing() {
    let long = "to be, or not to be, ".repeat(30);
    let messages =
        ["", "a", &long[..100], &long[..250], "", &long].map(Message::text).into_iter().collect::<Vec<_>>();
    let batch = prepared(&messages);
    for agreed in agreements() {
        for first in 0..1200 {
            let mut peer = Peer::new(&agreed);
            peer.send(&batch, [first].into_iter());
            assert_eq!(peer.received(), messages, "{agreed:?}, {first} bytes");
        }
    }
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        4 => "[a-c]{0,300}".prop_map(Message::text),
        2 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Message::binary),
        1 => (4000..9000_usize).prop_map(|len| Message::text("lorem ".repeat(len / 6))),
        1 => prop::collection::vec(any::<u8>(), 4000..6000).prop_map(Message::binary),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_sequence_of_short_writes_loses_and_doubles_nothing(
        batches in prop::collection::vec(prop::collection::vec(message(), 1..8), 1..4),
        cuts in prop::collection::vec(prop_oneof![0..40_usize, 0..3000_usize], 0..40),
    ) {
        let prepared: Vec<_> = batches.iter().map(|messages| prepared(messages)).collect();
        for agreed in agreements() {
            let mut peer = Peer::new(&agreed);
            let mut cuts = cuts.iter().copied();
            for (messages, batch) in batches.iter().zip(&prepared) {
                peer.send(batch, &mut cuts);
                // One of its own, in its own context, in between.
                peer.sender.send(Message::text("x".repeat(100))).unwrap();
                peer.write(usize::MAX);
                let mut received = peer.received();
                prop_assert_eq!(received.pop(), Some(Message::text("x".repeat(100))));
                prop_assert_eq!(&received, messages);
            }
        }
    }

    /// The peer is told to go while a frame is torn: that one is finished, and then the Close comes.
    #[test]
    fn a_cut_behind_a_short_write_leaves_whole_frames(first in 0..400_usize, more in 0..400_usize) {
        let messages: Vec<_> = (1..20).map(|len| Message::text("y".repeat(len))).collect();
        let batch = prepared(&messages);
        for agreed in agreements() {
            let mut peer = Peer::new(&agreed);
            let before = peer.sender.queued_total();
            peer.sender.send_batch(&batch, 0..batch.len()).unwrap();
            peer.write(first);
            let sent = if peer.sender.queued_bytes() > 0 {
                peer.sender.take_back(&batch, 0..batch.len(), before)
            } else {
                batch.len()
            };
            peer.write(more);
            peer.sender.cut();
            peer.write(usize::MAX);
            prop_assert_eq!(&peer.received(), &messages[..sent]);
        }
    }
}
