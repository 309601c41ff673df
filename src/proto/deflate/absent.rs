//! Built without the feature `deflate`: codecs that can't be.

use super::{DeflateConfig, DeflateParams};
use crate::proto::{ProtocolError, Role};

/// Compresses messages; without the feature `deflate` there is none.
#[derive(Debug)]
pub enum Compressor {}

/// Inflates messages; without the feature `deflate` there is none.
#[derive(Debug)]
pub enum Decompressor {}

#[allow(missing_docs, reason = "the real ones are documented")]
impl Compressor {
    /// # Panics
    ///
    /// Always: nothing can have been negotiated.
    pub fn new(_: Role, _: DeflateParams, _: &DeflateConfig) -> Self {
        panic!("permessage-deflate needs the feature `deflate`")
    }

    pub fn has_context(&self) -> bool {
        match *self {}
    }

    pub fn compress(&mut self, _: &[u8], _: &mut Vec<u8>) {
        match *self {}
    }

    pub fn begin_pieces(&mut self) -> bool {
        match *self {}
    }

    pub fn compress_piece(&mut self, _: &[u8], _: bool, _: &mut Vec<u8>) {
        match *self {}
    }

    pub fn forget_window(&mut self) {
        match *self {}
    }
}

#[allow(missing_docs, reason = "the real ones are documented")]
impl Decompressor {
    /// # Panics
    ///
    /// Always: nothing can have been negotiated.
    pub fn new(_: Role, _: DeflateParams, _: usize) -> Self {
        panic!("permessage-deflate needs the feature `deflate`")
    }

    pub fn inflate(&mut self, _: &mut &[u8], _: &mut Vec<u8>, _: usize) -> Result<(), ProtocolError> {
        match *self {}
    }

    pub fn finish(&mut self, _: &mut Vec<u8>, _: usize) -> Result<bool, ProtocolError> {
        match *self {}
    }
}
