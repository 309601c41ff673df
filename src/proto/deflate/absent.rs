//! Built without the feature `deflate`: codecs that are never made, because compression is never negotiated.

use super::{DeflateConfig, DeflateParams};
use crate::proto::{ProtocolError, Role};

/// Compresses messages; without the feature `deflate` there is none.
#[derive(Debug)]
pub struct Compressor(());

/// Inflates messages; without the feature `deflate` there is none.
#[derive(Debug)]
pub struct Decompressor(());

const ABSENT: &str = "permessage-deflate needs the feature `deflate` of switchboard";

#[allow(missing_docs, reason = "the real ones are documented")]
impl Compressor {
    /// # Panics
    ///
    /// Always: who makes one has negotiated what this build can't do.
    pub fn new(_: Role, _: DeflateParams, _: &DeflateConfig) -> Self {
        panic!("{ABSENT}")
    }

    pub fn wants(&self, _: &[u8]) -> bool {
        unreachable!("{ABSENT}")
    }

    pub fn threshold_bytes(&self) -> usize {
        unreachable!("{ABSENT}")
    }

    pub fn window_bytes(&self) -> usize {
        unreachable!("{ABSENT}")
    }

    pub fn level(&self) -> u8 {
        unreachable!("{ABSENT}")
    }

    pub fn has_context(&self) -> bool {
        unreachable!("{ABSENT}")
    }

    pub fn compress(&mut self, _: &[u8], _: &mut Vec<u8>) {
        unreachable!("{ABSENT}")
    }

    pub fn begin_pieces(&mut self) -> bool {
        unreachable!("{ABSENT}")
    }

    pub fn compress_piece(&mut self, _: &[u8], _: bool, _: &mut Vec<u8>) {
        unreachable!("{ABSENT}")
    }

    pub fn forget_window(&mut self) {
        unreachable!("{ABSENT}")
    }
}

#[allow(missing_docs, reason = "the real ones are documented")]
impl Decompressor {
    /// # Panics
    ///
    /// Always: who makes one has negotiated what this build can't do.
    pub fn new(_: Role, _: DeflateParams, _: usize) -> Self {
        panic!("{ABSENT}")
    }

    pub fn inflate(&mut self, _: &mut &[u8], _: &mut Vec<u8>, _: usize) -> Result<(), ProtocolError> {
        unreachable!("{ABSENT}")
    }

    pub(in crate::proto) fn may_pause(&self) -> bool {
        unreachable!("{ABSENT}")
    }

    pub fn finish(&mut self, _: &mut Vec<u8>, _: usize) -> Result<bool, ProtocolError> {
        unreachable!("{ABSENT}")
    }
}
