//! Codecs without context are lent, and the loans are bounded: what happens when all are out. By itself, because the
//! bound is the process's.

mod common;

use std::io::IoSlice;

use common::wire::Wire;
use switchboard::proto::deflate::{Compressor, DeflateConfig, DeflateParams};
use switchboard::proto::{Event, Limits, Message, Piece, ProtocolError, Receiver, Role, Sender};

/// So many loans there are at most.
const LOANS: usize = 256;

const NO_TAKEOVER: DeflateParams = DeflateParams {
    server_no_context_takeover: true,
    client_no_context_takeover: true,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};

fn receiver(limits: Limits) -> Receiver {
    Receiver::new(Role::Server, limits).with_deflate(NO_TAKEOVER)
}

/// A message of 96 KiB that isn't all the same, and the frame of its compressed form.
fn message() -> (Message, Vec<u8>) {
    let payload: Vec<u8> = (0..24u32 << 10).flat_map(|number| (number / 3).to_be_bytes()).collect();
    let mut packed = Vec::new();
    Compressor::new(Role::Client, NO_TAKEOVER, &DeflateConfig::default()).compress(&payload, &mut packed);
    (Message::binary(payload), Wire::client().frame(0xc2, &packed).bytes.clone())
}

/// What comes of `bytes` in pieces.
fn pieces(receiver: &mut Receiver, bytes: &[u8]) -> Vec<Message> {
    let mut bytes = bytes.to_vec();
    let mut input = &mut bytes[..];
    let mut parts = Vec::new();
    while let Some(event) = receiver.poll_piece(&mut input).unwrap() {
        let Event::Piece(piece) = event else { panic!("{event:?}") };
        parts.push(piece.part);
    }
    parts
}

#[test]
fn past_the_bound_messages_are_collected_and_inflated_at_their_end() {
    let (message, frame) = message();
    let (front, back) = frame.split_at(frame.len() - 100);

    // Whole messages.
    let mut receivers: Vec<Receiver> = (0..LOANS + 8).map(|_| receiver(Limits::default())).collect();
    for receiver in &mut receivers {
        assert_eq!(receiver.poll_event(&mut &mut front.to_vec()[..]).unwrap(), None);
    }
    for receiver in &mut receivers {
        let event = receiver.poll_event(&mut &mut back.to_vec()[..]).unwrap();
        assert_eq!(event, Some(Event::Message(message.clone())));
    }

    // In pieces: those without a loan come whole, so that no codec is held between two of them.
    let is_in_pieces: Vec<bool> = receivers
        .iter_mut()
        .map(|receiver| {
            let mut parts = pieces(receiver, front);
            parts.extend(pieces(receiver, &[]));
            !parts.is_empty()
        })
        .collect();
    assert_eq!(
        is_in_pieces.iter().filter(|&&is| is).count(),
        LOANS,
        "all loans have come back, and no more are out"
    );
    for (receiver, is_in_pieces) in receivers.iter_mut().zip(is_in_pieces) {
        let rest = pieces(receiver, back);
        if !is_in_pieces {
            assert_eq!(rest, std::slice::from_ref(&message));
        }
    }

    // What is collected counts as the message does.
    let mut holders: Vec<Receiver> = (0..LOANS).map(|_| receiver(Limits::default())).collect();
    holders.iter_mut().for_each(|holder| assert!(!pieces(holder, front).is_empty()));
    let mut limits = Limits::default();
    limits.max_message_bytes = front.len() / 2;
    let refused = receiver(limits).poll_event(&mut &mut front.to_vec()[..]).unwrap_err();
    assert!(matches!(refused, ProtocolError::MessageTooLarge { .. }), "{refused:?}");

    // A sender of pieces goes without compression then.
    let mut sender = Sender::server().with_deflate(NO_TAKEOVER, &DeflateConfig::default());
    let mut send = || {
        sender.send_piece(Piece { part: Message::text("Hello ".repeat(100)), is_final: true }).unwrap();
        let mut slices = [IoSlice::new(&[])];
        assert_eq!(sender.output(&mut slices), 1);
        let (first, len) = (slices[0][0], slices[0].len());
        sender.advance(len);
        first
    };
    assert_eq!(send(), 0x81);

    // A connection that fails gives its loan back, as one that is dropped does.
    assert!(holders[0].poll_event(&mut &mut [0xff; 9000][..]).is_err());
    let mut next = receiver(Limits::default());
    assert!(!pieces(&mut next, front).is_empty());
    drop(holders.split_off(200));
    assert_eq!(send(), 0xc1);
}
