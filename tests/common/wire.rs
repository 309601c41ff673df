//! Frames written by hand, and messages cut and joined.

use switchboard::proto::{Message, Utf8Bytes};

/// Bytes as they go over the wire.
pub struct Wire {
    pub bytes: Vec<u8>,
    is_masked: bool,
}

impl Wire {
    /// Frames of a client.
    pub fn client() -> Self {
        Self { bytes: Vec::new(), is_masked: true }
    }

    /// Frames of a server.
    pub fn server() -> Self {
        Self { bytes: Vec::new(), is_masked: false }
    }

    /// A frame with this first byte, whatever it means.
    pub fn frame(&mut self, first: u8, payload: &[u8]) -> &mut Self {
        let mask_bit = if self.is_masked { 0x80 } else { 0 };
        self.bytes.push(first);
        match payload.len() {
            short @ 0..=125 => self.bytes.push(mask_bit | short as u8),
            medium @ 126..=0xffff => {
                self.bytes.push(mask_bit | 126);
                self.bytes.extend((medium as u16).to_be_bytes());
            }
            long => {
                self.bytes.push(mask_bit | 127);
                self.bytes.extend((long as u64).to_be_bytes());
            }
        }
        if self.is_masked {
            let key = [0x11, 0x22, 0x33, 0x44];
            self.bytes.extend(key);
            self.bytes.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
        } else {
            self.bytes.extend(payload);
        }
        self
    }
}

/// The code point boundary at or before `at`.
pub fn boundary(message: &Message, at: usize) -> usize {
    match message {
        Message::Text(text) => (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0),
        Message::Binary(_) => at,
    }
}

/// A message in two.
pub fn split(message: &Message, at: usize) -> (Message, Message) {
    match message {
        Message::Text(text) => (Message::text(&text[..at]), Message::text(&text[at..])),
        Message::Binary(bytes) => (Message::binary(bytes.slice(..at)), Message::binary(bytes.slice(at..))),
    }
}

/// The message that its parts make.
pub fn join(parts: &[Message]) -> Message {
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.as_bytes().iter().copied()).collect();
    match &parts[0] {
        Message::Text(_) => Message::Text(Utf8Bytes::try_from(bytes).expect("parts of a text are a text")),
        Message::Binary(_) => Message::binary(bytes),
    }
}
