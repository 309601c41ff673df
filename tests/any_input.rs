//! Whatever a peer sends: no panic, no limit exceeded, and the same result however it is cut and taken.
//!
//! The inputs are made of frames, mostly good ones, so that they come far; some are then changed here and there.

mod common;

use std::cell::Cell;

use bytes::BufMut;
use common::wire::{self, Wire};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use switchboard::proto::deflate::{Compressor, DeflateConfig, DeflateParams};
use switchboard::proto::{Event, Limits, Message, ProtocolError, Receiver, Role};

/// Small enough to be exceeded often, large enough for reading straight into a message.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_message_bytes = 20_000;
    limits.max_frame_bytes = 16_000;
    limits.max_fragments = 6;
    limits
}

/// A message as its sender cuts it.
#[derive(Clone, Debug)]
struct Sent {
    is_text: bool,
    is_compressed: bool,
    payload: Vec<u8>,
    /// Where it is cut, as shares of 256.
    cuts: Vec<u8>,
    /// A control frame's opcode and payload, sent behind the first fragment.
    between: Option<(u8, Vec<u8>)>,
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let text = "\\PC{0,60}";
    prop_oneof![
        8 => text.prop_map(String::into_bytes),
        2 => proptest::collection::vec(any::<u8>(), 0..300),
        // Large ones, which compress well or not.
        2 => (text, 1usize..30_000).prop_map(|(text, len)| text.bytes().chain([b'.']).cycle().take(len).collect()),
        1 => (any::<u32>(), 1usize..30_000).prop_map(|(seed, len)| {
            (0..len as u32).map(|at| (seed.wrapping_add(at).wrapping_mul(2_654_435_761) >> 25) as u8).collect()
        }),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let control = (
        prop_oneof![4 => Just(0x89u8), 4 => Just(0x8a), 1 => Just(0x88)],
        proptest::collection::vec(any::<u8>(), 0..126),
    );
    (
        any::<bool>(),
        any::<bool>(),
        payload(),
        proptest::collection::vec(any::<u8>(), 0..7),
        proptest::option::weighted(0.3, control),
    )
        .prop_map(|(is_text, is_compressed, payload, cuts, between)| Sent {
            is_text,
            is_compressed,
            payload,
            cuts,
            between,
        })
}

/// What is sent, and what is wrong with it.
#[derive(Clone, Debug)]
struct Input {
    role: Role,
    params: Option<DeflateParams>,
    wire: Vec<u8>,
}

fn input() -> impl Strategy<Value = Input> {
    let params =
        proptest::option::of((any::<bool>(), 8u8..=15).prop_map(|(no_takeover, bits)| DeflateParams {
            server_no_context_takeover: no_takeover,
            client_no_context_takeover: no_takeover,
            server_max_window_bits: bits,
            client_max_window_bits: bits,
        }));
    let change = (any::<proptest::sample::Index>(), any::<u8>());
    let changes = prop_oneof![2 => Just(Vec::new()), 1 => proptest::collection::vec(change, 1..4)];
    let noise = prop_oneof![3 => Just(Vec::new()), 1 => proptest::collection::vec(any::<u8>(), 0..40)];
    (any::<bool>(), params, proptest::collection::vec(sent(), 1..6), changes, noise).prop_map(
        |(is_server, params, messages, changes, noise)| {
            let (role, peer) =
                if is_server { (Role::Server, Role::Client) } else { (Role::Client, Role::Server) };
            let mut wire = encode(peer, params, &messages);
            for (at, byte) in changes {
                let at = at.index(wire.len());
                wire[at] = byte;
            }
            wire.extend(noise);
            Input { role, params, wire }
        },
    )
}

fn encode(peer: Role, params: Option<DeflateParams>, messages: &[Sent]) -> Vec<u8> {
    let mut config = DeflateConfig::default();
    config.takeover = true;
    let mut compressor = params.map(|params| Compressor::new(peer, params, &config));
    let mut wire = if peer == Role::Client { Wire::client() } else { Wire::server() };
    for message in messages {
        let mut first = if message.is_text { 0x01 } else { 0x02 };
        let mut payload = message.payload.clone();
        if let (Some(compressor), true) = (&mut compressor, message.is_compressed) {
            first |= 0x40;
            payload.clear();
            compressor.compress(&message.payload, &mut payload);
        }
        let mut ends: Vec<usize> =
            message.cuts.iter().map(|&share| payload.len() * usize::from(share) / 256).collect();
        ends.sort_unstable();
        ends.push(payload.len());
        let mut start = 0;
        for (number, &end) in ends.iter().enumerate() {
            let opcode = if number == 0 { first } else { 0x00 };
            let fin = if number + 1 == ends.len() { 0x80 } else { 0x00 };
            wire.frame(fin | opcode, &payload[start..end]);
            if let (0, Some((opcode, payload))) = (number, &message.between) {
                wire.frame(*opcode, payload);
            }
            start = end;
        }
    }
    wire.bytes
}

/// How the input is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Manner {
    in_pieces: bool,
    /// Whether bytes are put straight into a message's buffer where that is possible.
    by_spare: bool,
}

/// The messages put together again, what else came, and the error.
type Outcome = (Vec<Message>, Vec<Event>, Option<ProtocolError>);

fn receive(input: &Input, manner: Manner, chunks: &[usize]) -> Outcome {
    let mut receiver = Receiver::new(input.role, limits());
    if let Some(params) = input.params {
        receiver = receiver.with_deflate(params);
    }
    let mut outcome = Outcome::default();
    let mut parts = Vec::new();
    let mut bytes = input.wire.clone();
    let mut rest = &mut bytes[..];
    let mut lengths = chunks.iter().copied().cycle();
    while !rest.is_empty() {
        let mut len = lengths.next().unwrap_or(usize::MAX).clamp(1, rest.len());
        if let Some(mut spare) = manner.by_spare.then(|| receiver.spare()).flatten() {
            assert!(
                spare.get_ref().capacity() <= 2 * limits().max_message_bytes,
                "a buffer that doubles stays within twice the limit"
            );
            len = len.min(spare.remaining_mut());
            spare.put_slice(&rest[..len]);
            rest[..len].fill(0);
            if !poll_all(&mut receiver, &mut [], manner, &mut parts, &mut outcome) {
                return outcome;
            }
            rest = &mut rest[len..];
            continue;
        }
        let (chunk, after) = rest.split_at_mut(len);
        if !poll_all(&mut receiver, chunk, manner, &mut parts, &mut outcome) {
            return outcome;
        }
        rest = after;
    }
    outcome
}

/// Takes all events; `false` after an error.
fn poll_all(
    receiver: &mut Receiver,
    mut input: &mut [u8],
    manner: Manner,
    parts: &mut Vec<Message>,
    (messages, others, failed): &mut Outcome,
) -> bool {
    loop {
        let polled =
            if manner.in_pieces { receiver.poll_piece(&mut input) } else { receiver.poll_event(&mut input) };
        match polled {
            Ok(Some(Event::Message(message))) => messages.push(message),
            Ok(Some(Event::Piece(piece))) => {
                parts.push(piece.part);
                let sum: usize = parts.iter().map(Message::len).sum();
                assert!(sum <= limits().max_message_bytes, "{sum} bytes in pieces");
                if piece.is_final {
                    messages.push(wire::join(&std::mem::take(parts)));
                }
            }
            Ok(Some(other)) => others.push(other),
            Ok(None) => {
                assert!(input.is_empty(), "Ok(None) means that the input is used up");
                return true;
            }
            Err(error) => {
                assert_eq!(receiver.poll_event(&mut &mut [0x81, 0x80][..]), Err(error), "it stays failed");
                *failed = Some(error);
                return false;
            }
        }
    }
}

const WHOLE: Manner = Manner { in_pieces: false, by_spare: false };

#[test]
fn no_bytes_panic_or_exceed_a_limit_however_they_come() {
    let (messages, failures, compressed) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let chunks = proptest::collection::vec(prop_oneof![1usize..10, 1usize..9000], 1..6);
    TestRunner::new(Config::with_cases(200))
        .run(&(input(), chunks), |(input, chunks)| {
            let whole = receive(&input, WHOLE, &[]);
            prop_assert!(whole.0.iter().all(|message| message.len() <= limits().max_message_bytes));
            // A byte at a time takes its time.
            let bytes = if input.wire.len() < 2000 { &[1][..] } else { &[97] };
            let manners = [(false, false), (false, true), (true, false), (true, true)];
            for (in_pieces, by_spare) in manners {
                let manner = Manner { in_pieces, by_spare };
                for chunks in [&[][..], bytes, &chunks] {
                    prop_assert_eq!(&receive(&input, manner, chunks), &whole, "{:?} {:?}", manner, chunks);
                }
            }
            messages.set(messages.get() + whole.0.len());
            failures.set(failures.get() + usize::from(whole.2.is_some()));
            compressed.set(compressed.get() + usize::from(input.params.is_some() && !whole.0.is_empty()));
            Ok(())
        })
        .unwrap();
    // Else it would say little: inputs that fail at once, or never.
    let seen = (messages.get(), failures.get(), compressed.get());
    assert!(seen.0 > 100 && (25..175).contains(&seen.1) && seen.2 > 25, "{seen:?}");
}

proptest! {
    #[test]
    fn no_noise_panics(bytes: Vec<u8>, is_server: bool, in_pieces: bool, by_spare: bool, chunks in proptest::collection::vec(1usize..50, 1..4)) {
        let role = if is_server { Role::Server } else { Role::Client };
        let input = Input { role, params: Some(DeflateParams::default()), wire: bytes };
        receive(&input, Manner { in_pieces, by_spare }, &chunks);
    }
}
