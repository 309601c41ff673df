//! The two state machines against each other and against plain oracles: any bytes, any chunks.

mod common;

use std::io::IoSlice;

use common::inflate::inflate;
use common::wire::{self, Wire};
use proptest::prelude::*;
use switchboard::proto::deflate::{DeflateConfig, DeflateParams};
use switchboard::proto::frame::Header;
use switchboard::proto::mask::apply_mask;
use switchboard::proto::{
    CloseCode, CloseFrame, Event, Limits, Message, Piece, Prepared, ProtocolError, Receiver, Role, SendError,
    Sender,
};

/// Everything that `sender` has to write.
fn drain(sender: &mut Sender) -> Vec<u8> {
    let mut wire = Vec::new();
    while sender.queued_bytes() > 0 {
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = sender.output(&mut slices);
        let before = wire.len();
        slices[..filled].iter().for_each(|slice| wire.extend_from_slice(slice));
        let len = wire.len() - before;
        sender.advance(len);
    }
    wire
}

/// What `receiver` makes of `wire` in chunks of these lengths, over and over; the error comes last.
fn receive(receiver: &mut Receiver, wire: &[u8], chunks: &[usize]) -> (Vec<Event>, Option<ProtocolError>) {
    let mut events = Vec::new();
    let mut rest = wire.to_vec();
    let mut lengths = chunks.iter().copied().cycle();
    let mut rest = &mut rest[..];
    while !rest.is_empty() {
        let len = lengths.next().unwrap_or(usize::MAX).clamp(1, rest.len());
        let (mut input, after) = rest.split_at_mut(len);
        loop {
            match receiver.poll_event(&mut input) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
        assert!(input.is_empty(), "Ok(None) means that the input is used up");
        rest = after;
    }
    (events, None)
}

fn server() -> Receiver {
    Receiver::new(Role::Server, Limits::default())
}

fn client() -> Receiver {
    Receiver::new(Role::Client, Limits::default())
}

/// A client whose keys are known.
fn masking_sender() -> Sender {
    Sender::client(|| [0x37, 0xfa, 0x21, 0x3d])
}

#[test]
fn the_examples_of_rfc_6455_section_5_7_are_made_and_read() {
    let hello = Message::text("Hello");
    let mut sender = Sender::server();
    sender.send(hello.clone()).unwrap();
    let unmasked = drain(&mut sender);
    assert_eq!(unmasked, b"\x81\x05\x48\x65\x6c\x6c\x6f");
    assert_eq!(receive(&mut client(), &unmasked, &[]), (vec![Event::Message(hello.clone())], None));
    let mut sender = masking_sender();
    sender.send(hello.clone()).unwrap();
    let masked = drain(&mut sender);
    assert_eq!(masked, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    assert_eq!(receive(&mut server(), &masked, &[]), (vec![Event::Message(hello.clone())], None));

    let mut sender = Sender::server();
    sender.send_piece(Piece { part: Message::text("Hel"), is_final: false }).unwrap();
    sender.send_piece(Piece { part: Message::text("lo"), is_final: true }).unwrap();
    let fragments = drain(&mut sender);
    assert_eq!(fragments, b"\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f");
    assert_eq!(receive(&mut client(), &fragments, &[]), (vec![Event::Message(hello)], None));

    let mut sender = Sender::server();
    sender.ping(b"Hello").unwrap();
    let ping = drain(&mut sender);
    assert_eq!(ping, b"\x89\x05\x48\x65\x6c\x6c\x6f");
    assert_eq!(receive(&mut client(), &ping, &[]), (vec![Event::Ping("Hello".into())], None));
    let mut sender = masking_sender();
    sender.on_event(&Event::Ping("Hello".into()));
    let pong = drain(&mut sender);
    assert_eq!(pong, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    assert_eq!(receive(&mut server(), &pong, &[]), (vec![Event::Pong("Hello".into())], None));

    let large: [(usize, &[u8]); 2] =
        [(256, b"\x82\x7e\x01\x00"), (65_536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00")];
    for (len, header) in large {
        let mut sender = Sender::server();
        let message = Message::binary(vec![7; len]);
        sender.send(message.clone()).unwrap();
        let wire = drain(&mut sender);
        assert_eq!(wire[..header.len()], *header);
        assert_eq!(receive(&mut client(), &wire, &[]), (vec![Event::Message(message)], None));
    }
}

#[test]
fn the_examples_of_rfc_7692_section_7_2_3_are_read() {
    let takeover = || client().with_deflate(DeflateParams::default());
    let hello = || Event::Message(Message::text("Hello"));
    for (wire, count) in [
        // One compressed block, whole and in fragments.
        (&b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"[..], 1),
        (b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00", 1),
        // The second refers to the first.
        (b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00", 2),
        // A block without compression, one with BFINAL, two blocks.
        (b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 1),
        (b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 1),
        (b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 1),
    ] {
        for chunk in [1, 2, 3, 100] {
            let expected: Vec<Event> = (0..count).map(|_| hello()).collect();
            assert_eq!(receive(&mut takeover(), wire, &[chunk]), (expected, None), "{wire:x?} by {chunk}");
        }
    }
    // §7.2.3.6: an empty message.
    let empty = (vec![Event::Message(Message::text(""))], None);
    assert_eq!(receive(&mut takeover(), b"\xc1\x01\x00", &[]), empty);
}

#[test]
fn each_broken_rule_has_its_error_and_its_code() {
    use ProtocolError::*;
    let cases: &[(&[u8], ProtocolError, u16)] = &[
        (b"\xc1\x80\0\0\0\0", ReservedBits(4), 1002),
        (b"\xa1\x80", ReservedBits(2), 1002),
        (b"\x91\x80", ReservedBits(1), 1002),
        (b"\x83\x80", ReservedOpCode(3), 1002),
        (b"\x8f\x80", ReservedOpCode(15), 1002),
        (b"\x81\x05Hello", UnmaskedFrame, 1002),
        (b"\x81\xfe\x00\x7d\0\0\0\0", NonMinimalLength(125), 1002),
        (b"\x82\xff\x80\0\0\0\0\0\0\0", LengthTopBit, 1002),
        (b"\x89\xfe\x00\x7e", ControlTooLong, 1002),
        (b"\x09\x80\0\0\0\0", FragmentedControl, 1002),
        (b"\x80\x80\0\0\0\0", UnexpectedContinuation, 1002),
        (b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", ExpectedContinuation, 1002),
        (b"\x88\x81\0\0\0\0\x03", TruncatedCloseCode, 1002),
        (b"\x88\x82\0\0\0\0\x03\xed", InvalidCloseCode(1005), 1002),
        (b"\x88\x83\0\0\0\0\x03\xe8\xff", InvalidCloseReason, 1007),
        (b"\x81\x81\0\0\0\0\xff", InvalidUtf8, 1007),
        // In the middle of a frame of 100 bytes, and of a code point.
        (b"\x81\xe4\0\0\0\0ok\xf4\x90", InvalidUtf8, 1007),
        // A message that ends in the middle of one.
        (b"\x81\x81\0\0\0\0\xc3", InvalidUtf8, 1007),
    ];
    for (wire, error, code) in cases {
        for chunk in [1, 3, 100] {
            let mut receiver = server();
            let (_, result) = receive(&mut receiver, wire, &[chunk]);
            assert_eq!(result, Some(*error), "{wire:x?} by {chunk}");
            assert_eq!(receiver.poll_event(&mut &mut [0x81, 0x80][..]), Err(*error), "it stays failed");
        }
        assert_eq!(error.close_code().get(), *code);
        let mut sender = Sender::server();
        sender.fail(error);
        assert_eq!(drain(&mut sender)[2..4], code.to_be_bytes());
    }
}

#[test]
fn limits_bind_whatever_way_round_is_tried() {
    let mut limits = Limits::default();
    limits.max_message_bytes = 1000;
    limits.max_frame_bytes = 800;
    limits.max_fragments = 3;
    let server = || Receiver::new(Role::Server, limits).with_deflate(DeflateParams::default());
    let too_large = Some(ProtocolError::MessageTooLarge { limit: 1000 });
    // By one frame's header, before any payload; by the sum of fragments; by their number; after inflation.
    let frame = Some(ProtocolError::FrameTooLarge { announced: 801, limit: 800 });
    assert_eq!(receive(&mut server(), b"\x82\xfe\x03\x21\0\0\0\0", &[]).1, frame);
    let mut wire = Wire::client();
    wire.frame(0x02, &[7; 600]).frame(0x80, &[7; 401]);
    assert_eq!(receive(&mut server(), &wire.bytes, &[]).1, too_large);
    let mut wire = Wire::client();
    wire.frame(0x02, &[]).frame(0x00, &[]).frame(0x00, &[]).frame(0x00, &[]);
    assert_eq!(
        receive(&mut server(), &wire.bytes, &[]).1,
        Some(ProtocolError::TooManyFragments { limit: 3 })
    );
    for len in [1000, 1001, 10_000_000] {
        let mut sender = masking_sender().with_deflate(DeflateParams::default(), &DeflateConfig::default());
        sender.send(Message::binary(vec![0; len])).unwrap();
        let wire = drain(&mut sender);
        let expected = if len > 1000 && wire.len() > 810 {
            ProtocolError::FrameTooLarge { announced: 0, limit: 0 }
        } else {
            ProtocolError::MessageTooLarge { limit: 1000 }
        };
        let (events, error) = receive(&mut server(), &wire, &[100]);
        match (len, error) {
            (1000, None) => assert_eq!(events.len(), 1),
            (1000, error) => panic!("{error:?}"),
            (_, Some(error)) => assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&expected)),
            (len, None) => panic!("{len} bytes passed"),
        }
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let mut limits = Limits::default();
    limits.max_message_bytes = 1 << 20;
    let mut sender = masking_sender().with_deflate(DeflateParams::default(), &DeflateConfig::default());
    sender.send(Message::binary(vec![0; 64 << 20])).unwrap();
    let wire = drain(&mut sender);
    assert!(wire.len() < 1 << 20);
    let mut receiver = Receiver::new(Role::Server, limits).with_deflate(DeflateParams::default());
    assert_eq!(receive(&mut receiver, &wire, &[]).1, Some(ProtocolError::MessageTooLarge { limit: 1 << 20 }));
}

#[test]
fn endless_final_blocks_end() {
    let mut receiver = server().with_deflate(DeflateParams::default());
    let mut wire = Wire::client();
    wire.frame(0xc2, &b"\x03\x00".repeat(100_000));
    assert_eq!(receive(&mut receiver, &wire.bytes, &[]).1, Some(ProtocolError::InvalidDeflate));
    // Four bytes that once kept a peer busy for ever: a last block at the very end.
    let mut receiver = server().with_deflate(DeflateParams::default());
    let mut wire = Wire::client();
    wire.frame(0xc2, b"\x03\x00");
    let (events, error) = receive(&mut receiver, &wire.bytes, &[]);
    assert_eq!((events, error), (vec![Event::Message(Message::binary(vec![]))], None));
}

#[test]
fn after_a_close_everything_is_dropped_and_nothing_sent() {
    let mut receiver = server();
    let mut wire = Wire::client();
    wire.frame(0x88, b"\x03\xe8bye").frame(0x81, b"late").bytes.extend([0xff; 100]);
    let frame = CloseFrame::new(CloseCode::NORMAL, "bye").unwrap();
    assert_eq!(receive(&mut receiver, &wire.bytes, &[7]), (vec![Event::Close(Some(frame.clone()))], None));
    let mut sender = Sender::server();
    sender.on_event(&Event::Close(Some(frame.clone())));
    assert_eq!(sender.send(Message::text("late")), Err(SendError::Closed));
    assert_eq!(sender.ping(b""), Err(SendError::Closed));
    assert_eq!(sender.close(Some(&frame)), Err(SendError::Closed));
    sender.on_event(&Event::Ping("late".into()));
    assert_eq!(drain(&mut sender), b"\x88\x02\x03\xe8");
}

#[test]
fn outgoing_mistakes_are_results() {
    let mut sender = Sender::server();
    assert_eq!(sender.ping(&[0; 126]), Err(SendError::ControlTooLong(126)));
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        assert_eq!(CloseCode::try_from(code), Err(SendError::InvalidCloseCode(code)));
    }
    sender.send_piece(Piece { part: Message::text("a"), is_final: false }).unwrap();
    assert_eq!(sender.send(Message::text("b")), Err(SendError::MessageUnfinished));
    let binary = Piece { part: Message::binary(vec![1]), is_final: true };
    assert_eq!(sender.send_piece(binary), Err(SendError::MessageUnfinished));
    assert_eq!(drain(&mut sender), b"\x01\x01a", "a mistake queues nothing");
}

#[test]
fn pings_have_their_pongs_until_too_many_wait_then_the_newest_has() {
    let mut sender = Sender::server();
    for number in 0..1000u32 {
        sender.on_event(&Event::Ping(number.to_be_bytes().to_vec().into()));
    }
    assert!(sender.queued_bytes() < 1000, "a flood costs a few slots");
    let mut events = Vec::new();
    while sender.queued_bytes() > 0 {
        events.extend(receive(&mut client(), &drain(&mut sender), &[]).0);
    }
    let pongs: Vec<u32> = events
        .iter()
        .map(|event| match event {
            Event::Pong(payload) => u32::from_be_bytes(payload[..].try_into().unwrap()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(pongs[..3], [0, 1, 2]);
    assert_eq!(pongs.last(), Some(&999));
}

#[test]
fn a_large_message_is_read_straight_into_its_buffer() {
    let payload: Vec<u8> = (0..2_000_000u32).map(|number| number as u8).collect();
    let mut wire = Wire::client();
    wire.frame(0x82, &payload);
    let mut receiver = server();
    let (front, mut rest) = wire.bytes.split_at_mut(1000);
    assert_eq!(receiver.poll_event(&mut &mut *front), Ok(None));
    let mut received = None;
    while received.is_none() {
        if let Some(mut spare) = receiver.spare() {
            use bytes::BufMut;
            let len = spare.remaining_mut().min(rest.len()).min(100_000);
            assert!(
                spare.get_ref().capacity() <= 2 * spare.get_ref().len().max(256 << 10),
                "it doubles as bytes come"
            );
            let (direct, after) = rest.split_at_mut(len);
            spare.put_slice(direct);
            rest = after;
            received = receiver.poll_event(&mut &mut [][..]).unwrap();
        } else {
            received = receiver.poll_event(&mut rest).unwrap();
        }
    }
    assert_eq!(received, Some(Event::Message(Message::binary(payload))));
}

/// Python's zlib with a window of 256 bytes, drained a byte at a time, so that it can't look further back.
#[test]
fn a_window_of_8_bits_is_enough_for_what_is_compressed_with_8() {
    let params =
        DeflateParams { server_max_window_bits: 8, client_max_window_bits: 8, ..DeflateParams::default() };
    let mut sender = Sender::server().with_deflate(params, &DeflateConfig::default());
    let text: String =
        (0..4000).map(|at| ["switch", "board ", "message ", "and "][at * at % 7 % 4]).collect();
    sender.send(Message::text(text.clone())).unwrap();
    let frame = drain(&mut sender);
    let (header, len) = Header::parse(&frame).unwrap().unwrap();
    assert!(header.is_compressed);
    let script = "import sys, zlib\n\
                  inflater = zlib.decompressobj(-8)\n\
                  rest, out = sys.stdin.buffer.read() + bytes([0, 0, 255, 255]), b''\n\
                  while rest or out[-1:]:\n    \
                      part = inflater.decompress(rest, 1)\n    \
                      rest, out = inflater.unconsumed_tail, out + part\n    \
                      if not part: break\n\
                  sys.stdout.buffer.write(out)\n";
    let mut python = std::process::Command::new("python3")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python3 runs");
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), &frame[len..]).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, text.as_bytes());
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let text = ("\\PC{0,30}", 0usize..40).prop_map(|(text, times)| Message::text(text.repeat(times)));
    let binary =
        (any::<Vec<u8>>(), 0usize..40).prop_map(|(bytes, times)| Message::binary(bytes.repeat(times)));
    proptest::collection::vec(prop_oneof![text, binary], 1..8)
}

fn params() -> impl Strategy<Value = Option<DeflateParams>> {
    proptest::option::of((any::<bool>(), any::<bool>(), 8u8..=15, 8u8..=15).prop_map(
        |(server, client, a, b)| DeflateParams {
            server_no_context_takeover: server,
            client_no_context_takeover: client,
            server_max_window_bits: a,
            client_max_window_bits: b,
        },
    ))
}

proptest! {
    #[test]
    fn what_a_sender_makes_a_receiver_reads(
        messages in messages(),
        params in params(),
        is_client: bool,
        takeover: bool,
        level in 1u8..=9,
        in_pieces in proptest::collection::vec(any::<bool>(), 0..16),
        chunks in proptest::collection::vec(1usize..5000, 1..5),
    ) {
        let (mut sender, role) = if is_client { (masking_sender(), Role::Server) } else { (Sender::server(), Role::Client) };
        let mut receiver = Receiver::new(role, Limits::default());
        if let Some(params) = params {
            let mut config = DeflateConfig::default();
            config.takeover = takeover;
            config.level = level;
            config.threshold_bytes = 8;
            sender = sender.with_deflate(params, &config);
            receiver = receiver.with_deflate(params);
        }
        for (at, message) in messages.iter().enumerate() {
            if let Some(true) = in_pieces.get(at + messages.len()) {
                sender.send_prepared(&Prepared::from(message.clone())).unwrap();
            } else if in_pieces.get(at) == Some(&true) {
                let cut = wire::boundary(message, message.len() / 3);
                let (front, back) = wire::split(message, cut);
                sender.send_piece(Piece { part: front, is_final: false }).unwrap();
                sender.ping(b"between").unwrap();
                sender.send_piece(Piece { part: back, is_final: true }).unwrap();
            } else {
                sender.send(message.clone()).unwrap();
            }
        }
        let (events, error) = receive(&mut receiver, &drain(&mut sender), &chunks);
        prop_assert_eq!(error, None);
        let received: Vec<Message> = events
            .into_iter()
            .filter_map(|event| if let Event::Message(message) = event { Some(message) } else { None })
            .collect();
        prop_assert_eq!(received, messages);
    }

    /// What is compressed inflates by the book, and no match reaches beyond the window that was agreed on.
    #[test]
    fn what_a_sender_compresses_anybody_inflates(
        messages in messages(),
        is_client: bool,
        no_takeover: bool,
        bits in 8u8..=15,
        level in 1u8..=9,
    ) {
        let params = DeflateParams {
            server_no_context_takeover: no_takeover,
            client_no_context_takeover: no_takeover,
            server_max_window_bits: bits,
            client_max_window_bits: bits,
        };
        let mut config = DeflateConfig::default();
        config.takeover = true;
        config.level = level;
        config.threshold_bytes = 0;
        let mut sender = if is_client { masking_sender() } else { Sender::server() }.with_deflate(params, &config);
        let mut window = Vec::new();
        for message in messages {
            sender.send(message.clone()).unwrap();
            let mut frame = drain(&mut sender);
            let (header, len) = Header::parse(&frame).unwrap().unwrap();
            if let Some(key) = header.mask {
                apply_mask(&mut frame[len..], key, 0);
            }
            if !header.is_compressed {
                prop_assert_eq!(&frame[len..], &message.as_bytes()[..]);
                continue;
            }
            if no_takeover {
                window.clear();
            }
            let before = window.len();
            let distance = inflate(&frame[len..], &mut window).unwrap();
            prop_assert_eq!(&window[before..], &message.as_bytes()[..]);
            // zlib keeps 262 bytes of its window for itself, so 9 bits give 250.
            let most = if bits == 8 { 250 } else { 1 << bits };
            prop_assert!(distance <= most, "a match reaches {} back at {} bits", distance, bits);
        }
    }

    /// What we take is what the plain inflate makes of it, whole or not, and what is whole we take.
    #[test]
    fn what_is_inflated_is_what_the_bytes_say(
        message: Vec<u8>,
        times in 1usize..60,
        level in 0u32..=9,
        mutation in proptest::option::of((any::<u16>(), 1u8..)),
        chunks in proptest::collection::vec(1usize..200, 1..4),
    ) {
        let message = message.repeat(times);
        let mut packed = Vec::with_capacity(message.len() * 2 + 1000);
        let mut packer = flate2::Compress::new(flate2::Compression::new(level), false);
        packer.compress_vec(&message, &mut packed, flate2::FlushCompress::Sync).unwrap();
        prop_assert!(packed.ends_with(&[0, 0, 0xff, 0xff]));
        packed.truncate(packed.len() - 4);
        if let Some((at, bits)) = mutation {
            let at = usize::from(at) % packed.len();
            packed[at] ^= bits;
        }
        let mut wire = Wire::client();
        wire.frame(0xc2, &packed);
        // With takeover a message that breaks off in the middle of a block is told from a whole one by nothing but the
        // next message.
        let params = DeflateParams { client_no_context_takeover: true, ..DeflateParams::default() };
        let mut receiver = server().with_deflate(params);
        let (events, error) = receive(&mut receiver, &wire.bytes, &chunks);
        let mut plain = Vec::new();
        let by_the_book = inflate(&packed, &mut plain);
        match (&events[..], error) {
            ([Event::Message(inflated)], None) => {
                prop_assert!(by_the_book.is_ok(), "ours took what is invalid");
                prop_assert_eq!(&inflated.as_bytes()[..], &plain[..]);
            }
            (events, error) => prop_assert!(mutation.is_some(), "{:?} {:?}", events, error),
        }
    }

    #[test]
    fn pieces_make_up_the_message(
        messages in messages(),
        params in params(),
        chunks in proptest::collection::vec(1usize..300, 1..4),
    ) {
        let mut sender = masking_sender();
        let mut receiver = server();
        if let Some(params) = params {
            let mut config = DeflateConfig::default();
            config.takeover = true;
            sender = sender.with_deflate(params, &config);
            receiver = receiver.with_deflate(params);
        }
        messages.iter().for_each(|message| sender.send(message.clone()).unwrap());
        let mut wire = drain(&mut sender);
        let mut rest = &mut wire[..];
        let mut lengths = chunks.iter().copied().cycle();
        let mut received = Vec::new();
        let mut parts: Vec<Message> = Vec::new();
        while !rest.is_empty() {
            let len = lengths.next().unwrap().min(rest.len());
            let (mut input, after) = rest.split_at_mut(len);
            while let Some(event) = receiver.poll_piece(&mut input).unwrap() {
                let Event::Piece(piece) = event else { panic!("{event:?}") };
                parts.push(piece.part);
                if piece.is_final {
                    received.push(wire::join(&std::mem::take(&mut parts)));
                }
            }
            rest = after;
        }
        prop_assert_eq!(received, messages);
    }
}
