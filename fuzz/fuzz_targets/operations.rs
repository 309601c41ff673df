//! An arbitrary list of operations on two joined connections: what one says the other hears, in order.
#![no_main]

use std::collections::VecDeque;
use std::io::IoSlice;

use arbitrary::Arbitrary;
use switchboard::proto::deflate::{DeflateConfig, DeflateParams};
use switchboard::proto::{CloseCode, CloseFrame, Event, Limits, Message, Piece, Prepared, Receiver, Role, Sender};

#[derive(Arbitrary, Debug)]
struct Plan {
    deflate: Option<[u8; 5]>,
    operations: Vec<(bool, Operation)>,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Send(Vec<u8>, u8),
    Text(String),
    Prepared(Vec<u8>, u8),
    Piece(Vec<u8>, bool),
    Ping(Vec<u8>),
    Close(u16, String),
    Cut,
    ReleaseMemory,
    Deliver(u16),
}

struct Side {
    sender: Sender,
    receiver: Receiver,
    /// What it has sent that the other hasn't heard.
    expected: VecDeque<Message>,
    /// The pieces of the message under way.
    pieces: Vec<u8>,
    is_cut: bool,
    has_failed: bool,
}

impl Side {
    fn new(role: Role, deflate: Option<[u8; 5]>) -> Self {
        let mut sender = match role {
            Role::Server => Sender::server(),
            Role::Client => Sender::client(|| [1, 2, 3, 4]),
        };
        let mut receiver = Receiver::new(role, Limits::default());
        if let Some([flags, server, client, level, threshold]) = deflate {
            let params = DeflateParams {
                server_no_context_takeover: flags & 1 != 0,
                client_no_context_takeover: flags & 2 != 0,
                server_max_window_bits: 8 + server % 8,
                client_max_window_bits: 8 + client % 8,
            };
            let mut config = DeflateConfig::default();
            config.takeover = flags & 4 != 0;
            config.level = level % 10;
            config.threshold_bytes = usize::from(threshold);
            sender = sender.with_deflate(params, &config);
            receiver = receiver.with_deflate(params);
        }
        Self { sender, receiver, expected: VecDeque::new(), pieces: Vec::new(), is_cut: false, has_failed: false }
    }

    fn operate(&mut self, operation: Operation) {
        match operation {
            Operation::Send(bytes, times) => {
                let message = Message::binary(bytes.repeat(usize::from(times)));
                if self.sender.send(message.clone()).is_ok() {
                    self.expected.push_back(message);
                }
            }
            Operation::Text(text) => {
                if self.sender.send(Message::text(text.as_str())).is_ok() {
                    self.expected.push_back(Message::text(text));
                }
            }
            Operation::Prepared(bytes, times) => {
                let message = Message::binary(bytes.repeat(usize::from(times)));
                if self.sender.send_prepared(&Prepared::new(message.clone())).is_ok() {
                    self.expected.push_back(message);
                }
            }
            Operation::Piece(bytes, is_final) => {
                let piece = Piece { part: Message::binary(bytes.clone()), is_final };
                if self.sender.send_piece(piece).is_ok() {
                    self.pieces.extend(bytes);
                    if is_final {
                        self.expected.push_back(Message::binary(std::mem::take(&mut self.pieces)));
                    }
                }
            }
            Operation::Ping(payload) => {
                let sent = self.sender.ping(&payload);
                assert!(sent.is_err() || payload.len() <= 125);
            }
            Operation::Close(code, reason) => {
                let frame = CloseCode::try_from(code).ok().and_then(|code| CloseFrame::new(code, reason).ok());
                let _ = self.sender.close(frame.as_ref());
            }
            Operation::Cut => {
                // What is cut is not heard: the order of what is stays, but not which.
                self.is_cut |= self.sender.cut() > 0;
            }
            Operation::ReleaseMemory => self.sender.release_memory(),
            Operation::Deliver(_) => {}
        }
    }

    /// Moves up to `max` bytes to the other side.
    fn deliver(&mut self, other: &mut Self, max: usize) {
        let mut slices = [IoSlice::new(&[]); 3];
        let filled = self.sender.output(&mut slices);
        let mut bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).take(max).collect();
        self.sender.advance(bytes.len());
        let mut input = &mut bytes[..];
        loop {
            match other.receiver.poll_event(&mut input) {
                Ok(Some(Event::Message(message))) => {
                    if !self.is_cut {
                        assert_eq!(Some(message), self.expected.pop_front());
                    }
                }
                Ok(Some(event)) => other.sender.on_event(&event),
                Ok(None) => break,
                Err(error) => {
                    // A message in pieces that was cut can't be continued; anything else is ours to get right.
                    assert!(self.is_cut, "{error:?}");
                    other.sender.fail(&error);
                    other.has_failed = true;
                    break;
                }
            }
        }
    }
}

libfuzzer_sys::fuzz_target!(|plan: Plan| {
    let mut client = Side::new(Role::Client, plan.deflate);
    let mut server = Side::new(Role::Server, plan.deflate);
    for (is_client, operation) in plan.operations {
        let (one, other) = if is_client { (&mut client, &mut server) } else { (&mut server, &mut client) };
        match operation {
            Operation::Deliver(max) => one.deliver(other, usize::from(max)),
            operation => one.operate(operation),
        }
    }
    while client.sender.queued_bytes() + server.sender.queued_bytes() > 0 {
        client.deliver(&mut server, usize::MAX);
        server.deliver(&mut client, usize::MAX);
    }
    for (one, other) in [(&client, &server), (&server, &client)] {
        assert!(one.is_cut || other.has_failed || other.receiver.close_received() || one.expected.is_empty());
    }
});
