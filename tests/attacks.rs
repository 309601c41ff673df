//! Attacks from outside: bytes on a raw socket against the real binary, what is answered, and what memory it costs.
//!
//! `docs/attacks.md` lists them with the limits that bound them. Every attack ends with somebody else being served.

#![cfg(all(feature = "cli", target_os = "linux"))]

mod common;

use std::time::Duration;

use common::client::{Client, RawClient, read_head, request};
use common::server::{Server, within};
use common::wire::Wire;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// By so much the kernel's count of a process's pages sways, whatever the process does.
const SWAY: usize = 512 * KIB;

/// A server under attack, and what it had before.
struct Attacked {
    server: Server,
    before: usize,
    peak_before: usize,
}

impl Attacked {
    /// One thread, so that what belongs to a thread is there once; and warm, so that it is there.
    async fn start(flags: &[&str]) -> Self {
        let server = Server::start(&[&["echo", "--threads", "1"], flags].concat()).await;
        let mut client = Client::connect(&server, "/").await;
        for _ in 0..3 {
            assert_eq!(client.ask("warm").await, "warm");
        }
        client.close().await;
        // What the kernel counts while pages come and go can be less than there is: the greatest of a few looks.
        let before = (0..5).map(|_| server.private_bytes()).max().expect("five looks");
        server.reset_peak();
        let peak_before = server.peak_bytes();
        Self { server, before, peak_before }
    }

    /// It costs no more than this at the moment, and others are served.
    async fn costs_at_most(&self, bytes: usize, what: &str) {
        let now = (0..3).map(|_| self.server.private_bytes()).min().expect("three looks");
        let cost = now.saturating_sub(self.before);
        let peak = self.server.peak_bytes().saturating_sub(self.peak_before);
        println!("{what}: {} KiB, at most {} KiB in between", cost / KIB, peak / KIB);
        // What is left can't be more than what there was at most; a kernel that reclaims pages counts either too high
        // at times, never both.
        let cost = cost.min(peak);
        assert!(cost <= bytes + SWAY, "{what} costs {} KiB, more than {} KiB", cost / KIB, bytes / KIB);
        // Of the peak the kernel knows only all pages together, those of the program's own file among them.
        let most = 2 * bytes + 2 * MIB;
        assert!(peak <= most, "{what} costs up to {} KiB, more than {} KiB", peak / KIB, most / KIB);
        let mut other = Client::connect(&self.server, "/").await;
        assert_eq!(other.ask("still here?").await, "still here?");
        other.close().await;
    }

    async fn tcp(&self) -> TcpStream {
        within(TcpStream::connect(self.server.address())).await.unwrap()
    }

    /// Writes a head and returns the status of the answer; a server that answers early may read no more.
    async fn status(&self, head: &[u8]) -> u16 {
        let mut stream = self.tcp().await;
        let _ = stream.write_all(head).await;
        let answer = read_head(&mut stream).await;
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    /// Writes bytes behind a handshake and returns the code of the Close that comes.
    async fn close_code(&self, bytes: &[u8]) -> u16 {
        let mut client = RawClient::connect(&self.server).await;
        let _ = client.stream.write_all(bytes).await;
        loop {
            let (first, payload) = client.recv().await;
            if first == 0x88 {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }
}

/// The header of a client's frame that announces so many bytes.
fn announcing(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first, 0x80 | 127];
    header.extend(length.to_be_bytes());
    header.extend([0; 4]);
    header
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut wire = Wire::client();
    wire.frame(first, payload);
    wire.bytes
}

#[tokio::test]
async fn endless_heads_are_cut_off_with_431() {
    let attacked = Attacked::start(&[]).await;
    let mut long = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    long.resize(MIB, b'x');
    assert_eq!(attacked.status(&long).await, 431);
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "X: y\r\n".repeat(200));
    assert_eq!(attacked.status(many.as_bytes()).await, 431);
    attacked.costs_at_most(256 * KIB, "heads without an end").await;
}

#[tokio::test]
async fn slow_heads_are_cut_off_with_408() {
    let attacked = Attacked::start(&[]).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = attacked.tcp().await;
        stream.write_all(b"GET / HT").await.unwrap();
        slow.push(stream);
    }
    attacked.costs_at_most(200 * 8 * KIB, "200 heads that don't end").await;
    for mut stream in slow {
        let mut answer = String::new();
        let patience = Duration::from_secs(20);
        let read = tokio::time::timeout(patience, stream.read_to_string(&mut answer)).await;
        read.expect("it ends").expect("in order");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
}

#[tokio::test]
async fn malformed_requests_have_an_answer_each() {
    let attacked = Attacked::start(&[]).await;
    let good = request("/", &[]);
    let with =
        |field: &str| good.replace("Host: chat.example\r\n", &format!("Host: chat.example\r\n{field}\r\n"));
    let cases = [
        (with("Host: other.example"), 400),
        (with("Content-Length: 5"), 400),
        (with("Transfer-Encoding: chunked"), 400),
        (with("X: a\r\n folded"), 400),
        (with("X: a\rb"), 400),
        (with("X: a\0b"), 400),
        (with("X : a"), 400),
        (with("Origin: not an origin"), 101),
        (good.replace("Host: chat.example\r\n", ""), 400),
        (good.replace("chat.example", "a b"), 400),
        (good.replace("dGhlIHNhbXBsZSBub25jZQ==", "dG9vIHNob3J0"), 400),
        (good.replace("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"), 426),
        (good.replace("Upgrade: websocket\r\n", ""), 426),
        (good.replace("HTTP/1.1", "HTTP/1.0"), 426),
        (good.replace("HTTP/1.1", "HTTP/2.0"), 505),
        (good.replace("GET", "POST"), 405),
        ("\x16\x03\x01\x02\0\x01\0\x01\x7c\r\n\r\n".to_owned(), 400),
    ];
    for (head, status) in cases {
        assert_eq!(attacked.status(head.as_bytes()).await, status, "{head:?}");
    }
    attacked.costs_at_most(256 * KIB, "malformed requests").await;
}

#[tokio::test]
async fn lists_of_nonsense_are_read_in_linear_time() {
    let attacked = Attacked::start(&[]).await;
    for field in ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"] {
        for item in ["a; b=\"c\\\\\", ", "a;;,", "\"\\\\", " , ,\t"] {
            let list = format!("{field}: x, {}", item.repeat(12 * KIB / item.len()));
            let status = attacked.status(request("/", &[&list]).as_bytes()).await;
            assert!([101, 400].contains(&status), "{status} for {field} of {item:?}");
        }
    }
    // A window that can't be is declined, not served.
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7";
    let mut stream = attacked.tcp().await;
    stream.write_all(request("/", &[offer]).as_bytes()).await.unwrap();
    assert!(!read_head(&mut stream).await.to_ascii_lowercase().contains("permessage-deflate"));
    attacked.costs_at_most(256 * KIB, "lists of nonsense").await;
}

#[tokio::test]
async fn an_announced_length_costs_nothing() {
    let attacked = Attacked::start(&[]).await;
    let mut announced = Vec::new();
    for _ in 0..100 {
        let mut client = RawClient::connect(&attacked.server).await;
        client.stream.write_all(&announcing(0x82, 64 << 20)).await.unwrap();
        announced.push(client);
    }
    attacked.costs_at_most(100 * 4 * KIB, "100 announcements of 64 MiB").await;
    for (header, code) in [
        (announcing(0x82, (64 << 20) + 1), 1009),
        (announcing(0x82, u64::MAX >> 1), 1009),
        (announcing(0x82, 1 << 63), 1002),
        (announcing(0x82, u64::MAX), 1002),
        (announcing(0x83, 1 << 62), 1002),
        (announcing(0x8b, 1 << 62), 1002),
        (announcing(0x92, 1 << 62), 1002),
    ] {
        assert_eq!(attacked.close_code(&header).await, code, "{header:x?}");
    }
}

#[tokio::test]
async fn frames_against_the_rules_fail_the_connection() {
    let attacked = Attacked::start(&[]).await;
    let cases: [(&[u8], u16); 13] = [
        (b"\x82\x01x", 1002),
        (b"\xc2\x81\0\0\0\0x", 1002),
        (b"\xa2\x81\0\0\0\0x", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x8b\x80\0\0\0\0", 1002),
        (b"\x09\x80\0\0\0\0", 1002),
        (b"\x89\xfe\0\x7e\0\0\0\0", 1002),
        (b"\x82\xfe\0\x7d\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\x88\x81\0\0\0\0\x03", 1002),
        (b"\x88\x82\0\0\0\0\x03\xed", 1002),
        (b"\x88\x83\0\0\0\0\x03\xe8\xff", 1007),
        // The first byte that can't be: the rest of the frame never comes.
        (b"\x81\xfe\xff\xff\0\0\0\0fine, but \xff", 1007),
    ];
    for (bytes, code) in cases {
        assert_eq!(attacked.close_code(bytes).await, code, "{bytes:x?}");
    }
    attacked.costs_at_most(256 * KIB, "frames against the rules").await;
}

#[tokio::test]
async fn endless_fragments_are_bounded_by_size_and_by_number() {
    let attacked = Attacked::start(&["--max-message-bytes", "64KiB"]).await;
    let mut sum = frame(0x02, &[7; 60 * KIB]);
    sum.extend(frame(0x00, &[7; 5 * KIB]));
    assert_eq!(attacked.close_code(&sum).await, 1009);
    let mut empty = frame(0x02, b"");
    empty.extend(frame(0x00, b"").repeat(131_072));
    assert_eq!(attacked.close_code(&empty).await, 1008);
    attacked.costs_at_most(512 * KIB, "fragments without an end").await;
}

#[tokio::test]
async fn parked_halves_of_messages_cost_what_was_sent() {
    let attacked = Attacked::start(&[]).await;
    let mut parked = Vec::new();
    for _ in 0..100 {
        let mut client = RawClient::connect(&attacked.server).await;
        let mut half = announcing(0x82, 64 << 20);
        half.extend([7; 10 * KIB]);
        client.stream.write_all(&half).await.unwrap();
        parked.push(client);
    }
    attacked.costs_at_most(100 * 32 * KIB, "100 beginnings of 10 KiB").await;
}

#[tokio::test]
async fn a_deflate_bomb_stops_at_the_limit() {
    let attacked = Attacked::start(&["--max-message-bytes", "1MiB"]).await;
    let mut packer = flate2::Compress::new(flate2::Compression::best(), false);
    let mut bomb = Vec::with_capacity(MIB);
    packer.compress_vec(&vec![0; 256 * MIB], &mut bomb, flate2::FlushCompress::Sync).unwrap();
    assert!(bomb.len() < 512 * KIB);
    bomb.truncate(bomb.len() - 4);
    let mut stream = attacked.tcp().await;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate";
    stream.write_all(request("/", &[offer]).as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.contains("permessage-deflate"));
    let mut client = RawClient { stream };
    let _ = client.stream.write_all(&frame(0xc2, &bomb)).await;
    let (first, payload) = client.recv().await;
    assert_eq!((first, &payload[..2]), (0x88, &1009u16.to_be_bytes()[..]));
    attacked.costs_at_most(5 * MIB, "a bomb of 256 MiB").await;
}

#[tokio::test]
async fn a_flood_of_pings_that_nobody_reads_the_answers_of_does_not_grow() {
    let attacked = Attacked::start(&[]).await;
    let mut client = RawClient::connect(&attacked.server).await;
    let pings = frame(0x89, &[7; 125]).repeat(1000);
    for _ in 0..200 {
        within(client.stream.write_all(&pings)).await.unwrap();
    }
    attacked.costs_at_most(512 * KIB, "200,000 pings without a reader").await;
    // Whoever reads at last finds Pongs, the newest among them.
    client.send(0x89, b"the last").await;
    loop {
        let (first, payload) = client.recv().await;
        assert_eq!(first, 0x8a);
        if payload == b"the last" {
            break;
        }
    }
}

#[tokio::test]
async fn a_peer_that_never_reads_is_held_to_its_queue() {
    let attacked = Attacked::start(&[]).await;
    let mut client = RawClient::connect(&attacked.server).await;
    let message = frame(0x82, &[7; 16 * KIB]);
    // Until the server reads no more, because nobody takes its echoes.
    for _ in 0..10_000 {
        let write = client.stream.write_all(&message);
        if tokio::time::timeout(Duration::from_millis(300), write).await.is_err() {
            attacked.costs_at_most(2 * MIB, "a peer that never reads").await;
            return;
        }
    }
    panic!("the server took 160 MiB and sent nothing: where is it?");
}

#[tokio::test]
async fn what_comes_after_a_close_is_dropped() {
    let attacked = Attacked::start(&[]).await;
    let mut client = RawClient::connect(&attacked.server).await;
    client.send(0x88, &1000u16.to_be_bytes()).await;
    client.stream.write_all(&frame(0x82, &[7; MIB])).await.unwrap();
    assert_eq!(client.recv().await, (0x88, 1000u16.to_be_bytes().to_vec()));
    let mut rest = Vec::new();
    within(client.stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty(), "nothing follows a close");
    attacked.costs_at_most(256 * KIB, "a mebibyte behind a close").await;
}

#[tokio::test]
async fn connections_that_say_nothing_are_cheap() {
    let attacked = Attacked::start(&[]).await;
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(attacked.tcp().await);
    }
    attacked.costs_at_most(500 * 6 * KIB, "500 connections that say nothing").await;
}

#[tokio::test]
async fn frames_glued_to_the_request_and_single_bytes_are_read_like_any() {
    let attacked = Attacked::start(&[]).await;
    let mut all = request("/", &[]).into_bytes();
    all.extend(frame(0x81, b"glued"));
    all.extend(frame(0x89, b"?"));
    let mut stream = attacked.tcp().await;
    stream.set_nodelay(true).unwrap();
    for byte in all {
        stream.write_all(&[byte]).await.unwrap();
    }
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    // No more comes from this side; the echo and the Pong come all the same.
    stream.shutdown().await.unwrap();
    let mut client = RawClient { stream };
    assert_eq!(client.recv().await, (0x81, b"glued".to_vec()));
    assert_eq!(client.recv().await, (0x8a, b"?".to_vec()));
    attacked.costs_at_most(256 * KIB, "single bytes").await;
}

#[tokio::test]
async fn a_server_out_of_files_accepts_again_when_some_are_free() {
    let attacked = Attacked::start(&[]).await;
    let most = attacked.server.open_files() + 3;
    attacked.server.limit_files(most).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(attacked.tcp().await);
    }
    within(async {
        while attacked.server.open_files() < most {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // It has met the limit with seven still to be accepted; they are served once the first have gone.
    let last = silent.pop().unwrap();
    drop(silent);
    let mut client = RawClient { stream: last };
    client.stream.write_all(request("/", &[]).as_bytes()).await.unwrap();
    assert!(read_head(&mut client.stream).await.starts_with("HTTP/1.1 101 "));
    client.send(0x81, b"still here?").await;
    assert_eq!(client.recv().await, (0x81, b"still here?".to_vec()));
    attacked.costs_at_most(256 * KIB, "no files left").await;
}
