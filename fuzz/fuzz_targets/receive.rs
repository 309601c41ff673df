//! What both receivers' targets do: any bytes, however they are cut and taken, give the same within the limits.

use switchboard::proto::deflate::DeflateParams;
use switchboard::proto::{Event, Limits, ProtocolError, Receiver, Role};

/// Large enough for `spare`.
const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// The first byte says how; the rest is received.
pub fn run(role: Role, data: &[u8]) {
    let Some((&how, bytes)) = data.split_first() else { return };
    let whole = receive(role, how, bytes, usize::MAX);
    let chunks = receive(role, how, bytes, 1 + usize::from(how >> 3));
    assert_eq!(whole, chunks, "chunks make no difference");
    let (by_spare, error) = by_spare(role, how, bytes);
    assert_eq!((&whole.0, whole.1), (&by_spare, error), "nor does reading into the message");
    let (pieces, error) = in_pieces(role, how, bytes);
    let messages: Vec<Vec<u8>> = whole
        .0
        .iter()
        .filter_map(|event| {
            if let Event::Message(message) = event { Some(message.as_bytes().to_vec()) } else { None }
        })
        .collect();
    assert_eq!((messages, whole.1), (pieces, error), "nor do pieces");
}

/// The messages that the pieces make, whose sum stays within the limit all the while.
fn in_pieces(role: Role, how: u8, bytes: &[u8]) -> (Vec<Vec<u8>>, Option<ProtocolError>) {
    let mut receiver = receiver(role, how);
    let mut bytes = bytes.to_vec();
    let (mut messages, mut message) = (Vec::new(), Vec::new());
    for mut input in bytes.chunks_mut(1 + usize::from(how >> 3)) {
        loop {
            match receiver.poll_piece(&mut input) {
                Ok(Some(Event::Piece(piece))) => {
                    message.extend_from_slice(piece.part.as_bytes());
                    assert!(message.len() <= MAX_MESSAGE_BYTES);
                    if piece.is_final {
                        messages.push(std::mem::take(&mut message));
                    }
                }
                Ok(Some(event)) => assert!(!matches!(event, Event::Message(_))),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

/// Whatever can be is put straight into the message.
fn by_spare(role: Role, how: u8, bytes: &[u8]) -> (Vec<Event>, Option<ProtocolError>) {
    let mut receiver = receiver(role, how);
    let mut bytes = bytes.to_vec();
    let mut rest = &mut bytes[..];
    let mut events = Vec::new();
    loop {
        let mut len = rest.len().min(1 + usize::from(how >> 3));
        let mut nothing: &mut [u8] = &mut [];
        let (front, after) = std::mem::take(&mut rest).split_at_mut(len);
        let mut input = front;
        if let Some(spare) = receiver.spare() {
            len = len.min(spare.limit());
            assert!(spare.get_ref().capacity() <= 2 * MAX_MESSAGE_BYTES);
            // Within what it lends, so it doesn't grow.
            spare.into_inner().extend_from_slice(&input[..len]);
            input = &mut input[len..];
            if let Err(error) = drain(&mut receiver, &mut nothing, &mut events) {
                return (events, Some(error));
            }
        }
        if let Err(error) = drain(&mut receiver, &mut input, &mut events) {
            return (events, Some(error));
        }
        rest = after;
        if rest.is_empty() {
            return (events, None);
        }
    }
}

fn drain(
    receiver: &mut Receiver,
    input: &mut &mut [u8],
    events: &mut Vec<Event>,
) -> Result<(), ProtocolError> {
    while let Some(event) = receiver.poll_event(input)? {
        events.push(event);
    }
    Ok(())
}

fn receiver(role: Role, how: u8) -> Receiver {
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
    receiver
}

fn receive(role: Role, how: u8, bytes: &[u8], chunk: usize) -> (Vec<Event>, Option<ProtocolError>) {
    let mut receiver = receiver(role, how);
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
    }
    (events, None)
}
