//! What both receivers' targets do: any bytes, in two ways of cutting them, give the same events within the limits.

use switchboard::proto::deflate::DeflateParams;
use switchboard::proto::{Event, Limits, ProtocolError, Receiver, Role};

const MAX_MESSAGE_BYTES: usize = 4096;

/// The first byte says how; the rest is received.
pub fn run(role: Role, data: &[u8]) {
    let Some((&how, bytes)) = data.split_first() else { return };
    let whole = receive(role, how, bytes, usize::MAX);
    let chunks = receive(role, how, bytes, 1 + usize::from(how >> 3));
    assert_eq!(whole, chunks, "chunks make no difference");
}

fn receive(role: Role, how: u8, bytes: &[u8], chunk: usize) -> (Vec<Event>, Option<ProtocolError>) {
    let mut limits = Limits::default();
    limits.max_message_bytes = MAX_MESSAGE_BYTES;
    limits.max_frame_bytes = 2 * MAX_MESSAGE_BYTES as u64;
    limits.max_fragments = 16;
    let mut receiver = Receiver::new(role, limits);
    if how & 1 != 0 {
        let no_takeover = how & 2 != 0;
        receiver = receiver.with_deflate(DeflateParams {
            server_no_context_takeover: no_takeover,
            client_no_context_takeover: no_takeover,
            server_max_window_bits: if how & 4 != 0 { 8 } else { 15 },
            client_max_window_bits: if how & 4 != 0 { 8 } else { 15 },
        });
    }
    let mut bytes = bytes.to_vec();
    let mut events = Vec::new();
    let chunk = chunk.min(bytes.len().max(1));
    for chunk in bytes.chunks_mut(chunk) {
        let mut input = chunk;
        loop {
            match receiver.poll_event(&mut input) {
                Ok(Some(event)) => {
                    if let Event::Message(message) = &event {
                        assert!(message.len() <= MAX_MESSAGE_BYTES);
                    }
                    events.push(event);
                }
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
        assert!(input.is_empty());
        if let Some(spare) = receiver.spare() {
            assert!(spare.limit() <= 2 * MAX_MESSAGE_BYTES);
        }
    }
    (events, None)
}
