//! The rules of docs/conformance.md that no other test shows, and that every name in its tables exists.

mod common;

use std::collections::HashSet;
use std::io::IoSlice;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::wire::Wire;
use switchboard::handshake::{Accepted, Answer, ServerHandshake, Upgrade, UpgradeConfig, Url};
use switchboard::proto::deflate::{DeflateConfig, DeflateParams};
use switchboard::proto::frame::{Header, MaskKey};
use switchboard::proto::{Event, Limits, Message, Piece, Prepared, ProtocolError, Receiver, Sender};
use switchboard::{Acceptor, CloseCode, CloseFrame, Config, Connector, Error, Role, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

/// A frame as its receiver reads it.
struct Frame {
    first: u8,
    mask: Option<MaskKey>,
    payload: Vec<u8>,
}

fn frames(mut wire: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !wire.is_empty() {
        let (header, len) = Header::parse(wire).unwrap().expect("frames are whole");
        let (front, rest) = wire.split_at(len + header.payload_bytes as usize);
        let key = header.mask.unwrap_or_default();
        let payload = front[len..].iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
        frames.push(Frame { first: front[0], mask: header.mask, payload });
        wire = rest;
    }
    frames
}

/// The frames that `sender` has to write.
fn output(sender: &mut Sender) -> Vec<Frame> {
    let mut wire = Vec::new();
    while sender.queued_bytes() > 0 {
        let mut slices = [IoSlice::new(&[])];
        sender.output(&mut slices);
        let written = slices[0].to_vec();
        sender.advance(written.len());
        wire.extend(written);
    }
    frames(&wire)
}

fn events(receiver: &mut Receiver, wire: &Wire) -> Result<Vec<Event>, ProtocolError> {
    let mut bytes = wire.bytes.clone();
    let mut input = &mut bytes[..];
    let mut events = Vec::new();
    while let Some(event) = receiver.poll_event(&mut input)? {
        events.push(event);
    }
    Ok(events)
}

fn server() -> Receiver {
    Receiver::new(Role::Server, Limits::default())
}

fn message(text: &str) -> Event {
    Event::Message(Message::text(text))
}

fn counted_key() -> MaskKey {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes()
}

/// Both sides, compressing from the first byte on.
fn compressing(params: DeflateParams) -> [Sender; 2] {
    let mut config = DeflateConfig::default();
    config.takeover = true;
    config.threshold_bytes = 0;
    [Sender::server(), Sender::client(counted_key)].map(|sender| sender.with_deflate(params, &config))
}

/// A frame of every kind, large and small.
fn say_everything(sender: &mut Sender) -> Vec<Frame> {
    sender.send(Message::text("Hello")).unwrap();
    sender.send(Message::binary(vec![0; 5000])).unwrap();
    sender.send_prepared(&Prepared::new(Message::text("everybody"))).unwrap();
    sender.send_piece(Piece { part: Message::text("a"), is_final: false }).unwrap();
    sender.ping(b"there?").unwrap();
    sender.send_piece(Piece { part: Message::text("b"), is_final: true }).unwrap();
    sender.pong(b"here").unwrap();
    sender.on_event(&Event::Ping(Bytes::from_static(b"?")));
    sender.close(Some(&CloseFrame::new(CloseCode::NORMAL, "bye").unwrap())).unwrap();
    let frames = output(sender);
    assert_eq!(frames.len(), 9);
    frames
}

/// Bytes that can't be compressed: xorshift.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(step).collect()
}

/// A connection whose peer is played by hand.
fn by_hand(role: Role) -> (WebSocket<DuplexStream>, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    (WebSocket::from_upgraded(ours, role, Default::default()).unwrap(), theirs)
}

async fn read_to_end(peer: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).await.unwrap();
    bytes
}

async fn read_upgrade(peer: &mut DuplexStream, config: UpgradeConfig) -> Upgrade {
    let mut handshake = ServerHandshake::new(config);
    loop {
        let mut bytes = Vec::new();
        assert!(peer.read_buf(&mut bytes).await.unwrap() > 0, "the request is cut off");
        if let Some(request) = handshake.receive(&bytes).unwrap() {
            return request.upgrade().unwrap();
        }
    }
}

/// A client in the middle of its handshake, and the server's end of the stream.
fn connecting(
    url: &'static str,
) -> (tokio::task::JoinHandle<Result<WebSocket<DuplexStream>, Error>>, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let connecting = async move { Ok(Connector::new(Config::default()).connect_on(url, ours).await?.0) };
    (tokio::spawn(connecting), theirs)
}

fn deflating() -> UpgradeConfig {
    UpgradeConfig { deflate: Some(DeflateConfig::default()), ..UpgradeConfig::default() }
}

fn accepted(fields: &str, config: UpgradeConfig) -> (Accepted, String) {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
    );
    let request = ServerHandshake::new(config).receive(request.as_bytes()).unwrap().unwrap();
    let accepted = request.upgrade().unwrap().accept(Answer::default()).unwrap();
    let response = String::from_utf8(accepted.response.to_vec()).unwrap();
    (accepted, response)
}

#[test]
fn an_escaped_hash_is_part_of_the_path() {
    assert_eq!(Url::parse("ws://a/%23b?c=%23").unwrap().path_and_query(), "/%23b?c=%23");
}

#[tokio::test]
async fn an_invalid_url_fails_before_anything_is_sent() {
    for url in ["ws://a/#b", "http://a/", "ws:///", "ws://a:0/", "ws://a/b c"] {
        let (connecting, mut peer) = connecting(url);
        assert!(matches!(connecting.await.unwrap(), Err(Error::Url(_))), "{url}");
        assert_eq!(read_to_end(&mut peer).await, b"", "{url}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert!(matches!(Connector::new(Config::default()).connect(&url).await, Err(Error::Io(_))));
}

#[tokio::test]
async fn each_connection_has_a_key_of_its_own() {
    let mut keys = HashSet::new();
    for _ in 0..20 {
        let (_connecting, mut peer) = connecting("ws://a/");
        let upgrade = read_upgrade(&mut peer, UpgradeConfig::default()).await;
        keys.insert(upgrade.request().headers()["sec-websocket-key"].clone());
    }
    assert_eq!(keys.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_client_sends_nothing_before_the_answer() {
    let (_connecting, mut peer) = connecting("ws://a/");
    let upgrade = read_upgrade(&mut peer, UpgradeConfig::default()).await;
    assert!(timeout(Duration::from_secs(5), peer.read_u8()).await.is_err());
    assert!(upgrade.accept(Answer::default()).unwrap().remainder.is_empty());
}

#[tokio::test]
async fn a_wrong_answer_ends_the_connection() {
    let (connecting, mut peer) = connecting("ws://a/");
    read_upgrade(&mut peer, UpgradeConfig::default()).await;
    // The answer to another key.
    let (_, answer) = accepted("", UpgradeConfig::default());
    peer.write_all(answer.as_bytes()).await.unwrap();
    assert!(matches!(connecting.await.unwrap(), Err(Error::Response(_))));
    assert_eq!(read_to_end(&mut peer).await, b"");
}

#[tokio::test]
async fn an_offer_that_is_not_accepted_is_not_used() {
    let (connecting, mut peer) = connecting("ws://a/");
    let upgrade = read_upgrade(&mut peer, UpgradeConfig::default()).await;
    assert!(upgrade.request().headers().contains_key("sec-websocket-extensions"));
    peer.write_all(&upgrade.accept(Answer::default()).unwrap().response).await.unwrap();
    let mut ws = connecting.await.unwrap().unwrap();
    ws.send("x".repeat(1000)).await.unwrap();
    assert_eq!(peer.read_u8().await.unwrap(), 0x81);
}

#[tokio::test]
async fn a_stream_of_the_callers_carries_the_whole_handshake() {
    let (connecting, peer) = connecting("wss://example.com/");
    let pending = Acceptor::new(Config::default()).read(peer).await.unwrap();
    assert_eq!(pending.headers()["host"], "example.com");
    let mut server = pending.accept().await.unwrap();
    let mut client = connecting.await.unwrap().unwrap();
    client.send("Hello").await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some(Message::text("Hello")));
}

#[tokio::test]
async fn a_refused_request_gets_its_answer_and_the_end() {
    let (ours, mut peer) = tokio::io::duplex(1 << 16);
    let accepting = tokio::spawn(async { Acceptor::new(Config::default()).accept(ours).await });
    peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        .await
        .unwrap();
    let answer = read_to_end(&mut peer).await;
    assert!(answer.starts_with(b"HTTP/1.1 426 "), "{}", String::from_utf8_lossy(&answer));
    drop(peer);
    assert!(matches!(accepting.await.unwrap(), Err(Error::Request(_))));
}

#[test]
fn nothing_is_answered_that_was_not_agreed_on() {
    for fields in ["", "Sec-WebSocket-Protocol: b\r\nSec-WebSocket-Extensions: x-other\r\n"] {
        let config = UpgradeConfig { subprotocols: vec!["a".into()], ..deflating() };
        let (accepted, response) = accepted(fields, config);
        assert_eq!(accepted.negotiated, Default::default());
        assert!(!response.contains("Sec-WebSocket-Protocol"), "{response}");
        assert!(!response.contains("Sec-WebSocket-Extensions"), "{response}");
    }
}

#[test]
fn only_one_offer_is_accepted() {
    let fields =
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10, permessage-deflate\r\n";
    let (accepted, response) = accepted(fields, deflating());
    assert_eq!(response.matches("permessage-deflate").count(), 1, "{response}");
    assert_eq!(accepted.negotiated.deflate.unwrap().server_max_window_bits, 10);
}

#[test]
fn every_frame_of_a_client_has_a_new_mask() {
    let frames = say_everything(&mut Sender::client(counted_key));
    let masks: HashSet<MaskKey> = frames.iter().map(|frame| frame.mask.unwrap()).collect();
    assert_eq!(masks.len(), frames.len());
    assert_eq!(frames[8].payload, b"\x03\xe8bye");
}

#[tokio::test]
async fn the_masks_of_a_connection_do_not_repeat() {
    let (mut ws, mut peer) = by_hand(Role::Client);
    for _ in 0..1000 {
        ws.send("the same").await.unwrap();
    }
    let mut wire = vec![0; 1000 * (2 + 4 + 8)];
    peer.read_exact(&mut wire).await.unwrap();
    let masks: Vec<u32> = frames(&wire).iter().map(|frame| u32::from_be_bytes(frame.mask.unwrap())).collect();
    // One equal pair in ten thousand runs is chance.
    assert!(masks.iter().collect::<HashSet<_>>().len() >= 999);
    let steps: HashSet<u32> = masks.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    assert!(steps.len() >= 990, "one key doesn't tell the next");
}

#[test]
fn no_frame_of_a_server_has_a_mask() {
    assert!(say_everything(&mut Sender::server()).iter().all(|frame| frame.mask.is_none()));
    let [mut sender, _] = compressing(DeflateParams::default());
    assert!(say_everything(&mut sender).iter().all(|frame| frame.mask.is_none()));
}

#[test]
fn without_an_extension_no_reserved_bit_is_sent() {
    for mut sender in [Sender::server(), Sender::client(counted_key)] {
        assert!(say_everything(&mut sender).iter().all(|frame| frame.first & 0x70 == 0));
    }
}

#[test]
fn control_frames_are_whole_and_never_compressed() {
    for mut sender in compressing(DeflateParams::default()) {
        let frames = say_everything(&mut sender);
        let control: Vec<u8> =
            frames.iter().map(|frame| frame.first).filter(|first| first & 0x08 != 0).collect();
        assert_eq!(control, [0x89, 0x8a, 0x8a, 0x88]);
    }
}

#[tokio::test]
async fn refuses_a_frame_without_a_mask() {
    let (mut ws, mut peer) = by_hand(Role::Server);
    peer.write_all(b"\x81\x05Hello").await.unwrap();
    assert!(matches!(ws.recv().await, Err(Error::Protocol(ProtocolError::UnmaskedFrame))));
    let wire = frames(&read_to_end(&mut peer).await);
    assert_eq!((wire.len(), wire[0].first, &wire[0].payload[..2]), (1, 0x88, &b"\x03\xea"[..]));
}

#[tokio::test]
async fn refuses_a_masked_frame_from_a_server() {
    let (mut ws, mut peer) = by_hand(Role::Client);
    peer.write_all(&Wire::client().frame(0x81, b"Hello").bytes).await.unwrap();
    assert!(matches!(ws.recv().await, Err(Error::Protocol(ProtocolError::MaskedFrame))));
    let wire = frames(&read_to_end(&mut peer).await);
    assert_eq!((wire.len(), wire[0].first, &wire[0].payload[..2]), (1, 0x88, &b"\x03\xea"[..]));
}

#[tokio::test]
async fn a_ping_between_fragments_is_answered_at_once() {
    let (mut ws, mut peer) = by_hand(Role::Server);
    let receiving = tokio::spawn(async move { ws.recv().await });
    peer.write_all(&Wire::client().frame(0x01, b"Hel").frame(0x89, b"hi").bytes).await.unwrap();
    let mut pong = [0; 4];
    peer.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\x8a\x02hi");
    peer.write_all(&Wire::client().frame(0x80, b"lo").bytes).await.unwrap();
    assert_eq!(receiving.await.unwrap().unwrap(), Some(Message::text("Hello")));
}

#[test]
fn a_code_point_may_be_cut_between_frames() {
    let mut wire = Wire::client();
    wire.frame(0x01, b"\xf0\x9f").frame(0x00, b"\x8d").frame(0x80, b"\xb0");
    assert_eq!(events(&mut server(), &wire), Ok(vec![message("\u{1f370}")]));
}

#[test]
fn a_payload_that_others_hold_is_masked_in_a_copy() {
    let payload = Bytes::from(noise(5000));
    let mut sender = Sender::client(counted_key);
    sender.send(Message::binary(payload.clone())).unwrap();
    assert_eq!(payload, noise(5000), "masking leaves the caller's bytes alone");
    assert_eq!(output(&mut sender)[0].payload, payload);
}

#[tokio::test]
async fn a_close_without_a_code_is_answered_by_one_without() {
    let (mut ws, mut peer) = by_hand(Role::Server);
    peer.write_all(&Wire::client().frame(0x88, b"").bytes).await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.close_frame(), None);
    assert_eq!(read_to_end(&mut peer).await, b"\x88\x00");
}

#[tokio::test]
async fn a_server_ends_first_after_its_own_close_too() {
    let (mut ws, mut peer) = by_hand(Role::Server);
    let closing = tokio::spawn(async move { ws.close(CloseFrame::from(CloseCode::NORMAL)).await });
    let mut close = [0; 4];
    peer.read_exact(&mut close).await.unwrap();
    assert_eq!(&close, b"\x88\x02\x03\xe8");
    peer.write_all(&Wire::client().frame(0x88, b"\x03\xe8").bytes).await.unwrap();
    assert_eq!(read_to_end(&mut peer).await, b"");
    drop(peer);
    closing.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_leaves_the_end_to_the_server() {
    let (mut ws, mut peer) = by_hand(Role::Client);
    let closing = tokio::spawn(async move { ws.close(CloseFrame::from(CloseCode::NORMAL)).await });
    let mut close = [0; 8];
    peer.read_exact(&mut close).await.unwrap();
    peer.write_all(b"\x88\x02\x03\xe8").await.unwrap();
    assert!(timeout(Duration::from_secs(3), peer.read_u8()).await.is_err(), "it waits");
    peer.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut peer).await, b"");
    closing.await.unwrap().unwrap();
}

#[test]
fn a_ping_behind_our_close_has_no_answer() {
    let mut sender = Sender::server();
    sender.close(None).unwrap();
    sender.on_event(&Event::Ping(Bytes::from_static(b"?")));
    let frames = output(&mut sender);
    assert_eq!((frames.len(), frames[0].first), (1, 0x88));
}

#[tokio::test]
async fn nothing_is_read_behind_a_violation() {
    let (mut ws, mut peer) = by_hand(Role::Server);
    let mut wire = Wire::client();
    wire.frame(0x83, b"").frame(0x89, b"?").frame(0x81, b"late").frame(0x88, b"\x03\xe8");
    peer.write_all(&wire.bytes).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(ws.recv().await, Err(Error::Protocol(ProtocolError::ReservedOpCode(3)))));
    }
    let wire = frames(&read_to_end(&mut peer).await);
    assert_eq!((wire.len(), wire[0].first, &wire[0].payload[..2]), (1, 0x88, &b"\x03\xea"[..]));
}

#[test]
fn a_compressed_message_is_marked_on_its_first_frame_only() {
    for mut sender in compressing(DeflateParams::default()) {
        for is_final in [false, false, true] {
            sender.send_piece(Piece { part: Message::text("Hello"), is_final }).unwrap();
        }
        sender.send(Message::binary(vec![7; 100])).unwrap();
        let first: Vec<u8> = output(&mut sender).iter().map(|frame| frame.first).collect();
        assert_eq!(first, [0x41, 0x00, 0x80, 0xc2]);
    }
}

#[test]
fn refuses_rsv1_anywhere_but_on_a_first_frame() {
    for first in [0xc0, 0xc8, 0xc9, 0xca] {
        let mut receiver = server().with_deflate(DeflateParams::default());
        let mut wire = Wire::client();
        wire.frame(0x41, b"\xf2\x48\xcd").frame(first, b"");
        assert_eq!(events(&mut receiver, &wire), Err(ProtocolError::ReservedBits(4)), "{first:#x}");
    }
}

#[test]
fn compressed_text_is_checked_once_it_is_inflated() {
    let [_, mut sender] = compressing(DeflateParams::default());
    sender.send(Message::binary(vec![0xff; 100])).unwrap();
    let packed = output(&mut sender).remove(0).payload;
    let mut receiver = server().with_deflate(DeflateParams::default());
    let mut wire = Wire::client();
    assert_eq!(events(&mut receiver, wire.frame(0xc1, &packed)), Err(ProtocolError::InvalidUtf8));
}

#[test]
fn a_message_not_worth_compressing_goes_as_it_is() {
    let params = DeflateParams { client_no_context_takeover: true, ..DeflateParams::default() };
    let mut sender = Sender::client(counted_key).with_deflate(params, &DeflateConfig::default());
    for part in [noise(1000), vec![7; 10], vec![7; 1000]] {
        sender.send(Message::binary(part)).unwrap();
    }
    let mut wire = Wire::client();
    let mut first = Vec::new();
    for frame in output(&mut sender) {
        first.push(frame.first);
        wire.frame(frame.first, &frame.payload);
    }
    assert_eq!(first, [0x82, 0x82, 0xc2]);
    let received = events(&mut server().with_deflate(params), &wire).unwrap();
    let expected = [noise(1000), vec![7; 10], vec![7; 1000]];
    assert_eq!(received, expected.map(|part| Event::Message(Message::binary(part))));
}

#[test]
fn a_compressed_message_leaves_its_tail_out() {
    for mut sender in compressing(DeflateParams::default()) {
        sender.send(Message::text("Hello")).unwrap();
        sender.send(Message::text("")).unwrap();
        let frames = output(&mut sender);
        // §7.2.3.1 and §7.2.3.6.
        assert_eq!(frames[0].payload, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
        assert_eq!(frames[1].payload, b"\x00");
    }
}

#[test]
fn without_takeover_every_message_stands_alone() {
    let params = DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        ..DeflateParams::default()
    };
    for mut sender in compressing(params) {
        let text = "again and again and again";
        sender.send(Message::text(text)).unwrap();
        sender.send_piece(Piece { part: Message::text(text), is_final: true }).unwrap();
        sender.send(Message::text(text)).unwrap();
        for frame in output(&mut sender) {
            let mut receiver = server().with_deflate(params);
            let mut wire = Wire::client();
            assert_eq!(
                events(&mut receiver, wire.frame(frame.first, &frame.payload)),
                Ok(vec![message(text)])
            );
        }
    }
}

#[test]
fn a_server_keeps_the_clients_window_unless_agreed_otherwise() {
    let params = DeflateParams { server_no_context_takeover: true, ..DeflateParams::default() };
    let mut wire = Wire::client();
    wire.frame(0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00").frame(0xc1, b"\xf2\x00\x11\x00\x00");
    let received = events(&mut server().with_deflate(params), &wire);
    assert_eq!(received, Ok(vec![message("Hello"), message("Hello")]));
}

/// The compressed length of noise that comes twice, `distance` apart: in one message, and in two.
fn lengths(bits: u8, distance: usize) -> Vec<usize> {
    let params = DeflateParams {
        server_max_window_bits: bits,
        client_max_window_bits: bits,
        ..DeflateParams::default()
    };
    let noise = noise(distance);
    let compressed = |mut sender: Sender| {
        sender.send(Message::binary(noise.repeat(2))).unwrap();
        sender.send(Message::binary(noise.clone())).unwrap();
        output(&mut sender).into_iter().map(|frame| frame.payload.len())
    };
    compressing(params).into_iter().flat_map(compressed).collect()
}

#[test]
fn no_match_reaches_beyond_the_agreed_window() {
    for bits in 8..=15 {
        let beyond = (1 << bits) + 1;
        for (at, len) in lengths(bits, beyond).into_iter().enumerate() {
            let plain = if at % 2 == 0 { 2 * beyond } else { beyond };
            assert!(len > plain - plain / 10, "{bits} bits: {len} of {plain}");
        }
        // What lies within is found, so the lengths above mean something.
        let within = (1 << bits) - if bits == 8 { 56 } else { 300 };
        assert!(lengths(bits, within)[0] < within + within / 2, "{bits} bits");
    }
}

#[test]
fn a_prepared_message_keeps_to_each_peers_window() {
    let prepared = Prepared::new(Message::binary(noise(600).repeat(2)));
    for (bits, first) in [(15, 0xc2), (9, 0x82), (10, 0x82), (11, 0xc2)] {
        let params = DeflateParams { server_max_window_bits: bits, ..DeflateParams::default() };
        let mut sender = Sender::server().with_deflate(params, &DeflateConfig::default());
        sender.send_prepared(&prepared).unwrap();
        assert_eq!(output(&mut sender)[0].first, first, "{bits} bits");
    }
}

#[test]
fn every_name_in_the_table_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/conformance.md")).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
    assert!(rows.len() > 150);
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let names = cells[3..].iter().flat_map(|cell| cell.split('`').skip(1).step_by(2));
        for name in names.filter(|name| name.contains("::")) {
            assert!(exists(root, name), "{name} doesn't exist: {row}");
        }
        if let [_, _, "done", _, test] = cells[..] {
            assert!(test.contains("rs::") || test.contains("Autobahn"), "no test: {row}");
        }
    }
}

/// Whether there is a test `file::name`, or a function or type of this path.
fn exists(root: &Path, name: &str) -> bool {
    if let Some((file, test)) = name.split_once(".rs::") {
        let text = std::fs::read_to_string(root.join(file).with_extension("rs")).unwrap_or_default();
        return has(&text, &format!("fn {test}"));
    }
    let parts: Vec<&str> = name.split("::").collect();
    let files = (1..parts.len()).rev().map(|depth| (depth, parts[..depth].join("/")));
    let mut files = files.flat_map(|(depth, path)| {
        let module = root.join("src").join(path);
        [(depth, module.with_extension("rs")), (depth, module.join("mod.rs"))]
    });
    let Some((depth, file)) = files.find(|(_, file)| file.is_file()) else { return false };
    let text = std::fs::read_to_string(file).unwrap();
    parts[depth..]
        .iter()
        .all(|part| ["fn", "struct", "enum"].iter().any(|kind| has(&text, &format!("{kind} {part}"))))
}

/// Whether `text` has `definition` and nothing that would make its name longer.
fn has(text: &str, definition: &str) -> bool {
    let is_part = |next: char| next.is_alphanumeric() || next == '_';
    text.match_indices(definition).any(|(at, _)| !text[at + definition.len()..].starts_with(is_part))
}
