//! Compressed messages as other implementations make them: final blocks, windows that go on behind them, odd window
//! bits.

mod common;

use std::io::IoSlice;

use common::wire::Wire;
use flate2::{Compress, Compression, FlushCompress};
use switchboard::proto::deflate::{DeflateConfig, DeflateParams};
use switchboard::proto::{Event, Limits, Message, Receiver, Role, Sender};

fn receiver(params: DeflateParams) -> Receiver {
    Receiver::new(Role::Server, Limits::default()).with_deflate(params)
}

/// A compressed binary message.
fn receive(receiver: &mut Receiver, packed: &[u8]) -> Message {
    let mut wire = Wire::client();
    wire.frame(0xc2, packed);
    match receiver.poll_event(&mut &mut wire.bytes[..]).unwrap() {
        Some(Event::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// "Hello" in a block with BFINAL, and the byte that begins an empty one (RFC 7692 §7.2.3.4).
const FINAL_HELLO: &[u8] = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00";

/// "Hello" by reference to the one before (§7.2.3.2).
const HELLO_AGAIN: &[u8] = b"\xf2\x00\x11\x00\x00";

#[test]
fn a_window_goes_on_behind_a_final_block() {
    let mut receiver = receiver(DeflateParams::default());
    for packed in [FINAL_HELLO, HELLO_AGAIN, FINAL_HELLO, HELLO_AGAIN, HELLO_AGAIN] {
        assert_eq!(receive(&mut receiver, packed), Message::binary("Hello"));
    }
}

#[test]
fn a_message_goes_on_behind_a_final_block_and_refers_to_it() {
    let no_takeover = DeflateParams { client_no_context_takeover: true, ..DeflateParams::default() };
    for params in [DeflateParams::default(), no_takeover] {
        let packed = [&FINAL_HELLO[..7], HELLO_AGAIN].concat();
        assert_eq!(receive(&mut receiver(params), &packed), Message::binary("HelloHello"));
    }
}

#[test]
fn a_final_block_keeps_all_of_a_full_window() {
    // 100,000 bytes that repeat nothing, so that only the window explains how short the second message is.
    let mut state = 1u32;
    let payload: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(100_000)
    .collect();
    let window = &payload[payload.len() - (32 << 10)..];
    let mut receiver = receiver(DeflateParams::default());

    let mut packed = Vec::with_capacity(200_000);
    let mut codec = Compress::new(Compression::fast(), false);
    codec.compress_vec(&payload, &mut packed, FlushCompress::Finish).unwrap();
    packed.push(0x00);
    assert_eq!(receive(&mut receiver, &packed).as_bytes(), &payload);

    let mut packed = Vec::with_capacity(200_000);
    let mut codec = Compress::new(Compression::best(), false);
    codec.set_dictionary(window).unwrap();
    // zlib's matches reach back by the window less its look-ahead.
    let again = &window[300..20_000];
    codec.compress_vec(again, &mut packed, FlushCompress::Sync).unwrap();
    packed.truncate(packed.len() - 4);
    assert!(packed.len() < 1000, "{} bytes", packed.len());
    assert_eq!(receive(&mut receiver, &packed).as_bytes(), again);
}

#[test]
fn window_bits_that_cannot_be_count_as_the_nearest() {
    for bits in [0, 7, 16, 64, 255] {
        let params = DeflateParams {
            server_max_window_bits: bits,
            client_max_window_bits: bits,
            ..DeflateParams::default()
        };
        let mut config = DeflateConfig::default();
        config.takeover = true;
        let mut sender = Sender::client(|| [1, 2, 3, 4]).with_deflate(params, &config);
        let mut receiver = receiver(params);
        for _ in 0..2 {
            let message = Message::text("Hello ".repeat(10_000));
            sender.send(message.clone()).unwrap();
            let mut slices = [IoSlice::new(&[])];
            sender.output(&mut slices);
            let mut wire = slices[0].to_vec();
            sender.advance(wire.len());
            assert_eq!(receiver.poll_event(&mut &mut wire[..]).unwrap(), Some(Event::Message(message)));
        }
    }
}
