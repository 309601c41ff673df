//! Masking: a client's payload is XORed with four bytes, over and over (RFC 6455 §5.3).
//!
//! One safe body does it, compiled twice: for the baseline and for AVX2, chosen at run time, for a payload or for a batch
//! of them. That choice is all that is `unsafe` here.

use super::frame::MaskKey;

/// XORs `buf` with `key` in place; `offset` is how many bytes of the payload came before.
#[inline]
pub fn apply_mask(buf: &mut [u8], key: MaskKey, offset: usize) {
    let key = u32::from_ne_bytes(key).rotate_left_bytes(offset & 3);
    if buf.len() < WIDE_BYTES {
        apply_narrow(buf, key);
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        if buf.len() < ALIGN_BYTES {
            // SAFETY: the processor has AVX2, as was just asked.
            unsafe { apply_avx2_short(buf, key) };
        } else {
            // SAFETY: as above.
            unsafe { apply_avx2(buf, key) };
        }
        return;
    }
    apply_wide(buf, key);
}

/// Runs `work`, compiled for the processor that is there: every [`apply_mask_within`] in it saves asking.
#[inline]
pub(super) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as was just asked.
        return unsafe { run_avx2(work) };
    }
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// As [`apply_mask`] from a payload's first byte, for short payloads within [`vectorized`].
#[inline(always)]
pub(super) fn apply_mask_within(buf: &mut [u8], key: MaskKey) {
    let key = u32::from_ne_bytes(key);
    if buf.len() < 32 { apply_narrow(buf, key) } else { apply_overlapping::<32>(buf, key) }
}

/// Appends `payload` to `out`, masked from its first byte.
#[inline]
pub fn extend_masked(out: &mut Vec<u8>, payload: &[u8], key: MaskKey) {
    out.reserve(payload.len());
    // A chunk is still in the first-level cache when it is masked.
    for chunk in payload.chunks(COPY_CHUNK_BYTES) {
        let start = out.len();
        out.extend_from_slice(chunk);
        apply_mask(&mut out[start..], key, 0);
    }
}

/// From this length on the wide body pays.
const WIDE_BYTES: usize = 64;

/// A multiple of four, so that every chunk begins with the key's first byte.
const COPY_CHUNK_BYTES: usize = 8 << 10;

/// The key as it stands in memory from some byte on.
trait RotateBytes {
    fn rotate_left_bytes(self, bytes: usize) -> Self;
}

impl RotateBytes for u32 {
    #[inline]
    fn rotate_left_bytes(self, bytes: usize) -> Self {
        let bits = 8 * bytes as u32;
        if cfg!(target_endian = "little") { self.rotate_right(bits) } else { self.rotate_left(bits) }
    }
}

/// Sixteen bytes at a time; the end by the last sixteen, eight or four bytes, which overlap what came before.
#[inline(always)]
fn apply_narrow(buf: &mut [u8], key: u32) {
    match buf.len() {
        16.. => apply_overlapping::<16>(buf, key),
        8..=15 => apply_overlapping::<8>(buf, key),
        4..=7 => apply_overlapping::<4>(buf, key),
        _ => {
            for (byte, key) in buf.iter_mut().zip(key.to_ne_bytes()) {
                *byte ^= key;
            }
        }
    }
}

/// Blocks of `N` bytes; the last one is taken as it was before, so that no byte is masked twice.
#[inline(always)]
fn apply_overlapping<const N: usize>(buf: &mut [u8], key: u32) {
    let last_start = buf.len() - N;
    let Some(last) = buf.last_chunk::<N>() else { return };
    let mut last = *last;
    apply_block(&mut last, key.rotate_left_bytes(last_start & 3));
    let (blocks, _) = buf.as_chunks_mut::<N>();
    for block in blocks {
        apply_block(block, key);
    }
    if let Some(end) = buf.last_chunk_mut::<N>() {
        *end = last;
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn apply_avx2(buf: &mut [u8], key: u32) {
    apply_wide(buf, key);
}

/// As [`apply_avx2`] without the way to a boundary, which only long payloads repay.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn apply_avx2_short(buf: &mut [u8], key: u32) {
    apply_overlapping::<32>(buf, key);
}

/// In blocks, which the compiler makes vectors of; a long payload's from the first 32-byte boundary on.
#[inline(always)]
fn apply_wide(buf: &mut [u8], key: u32) {
    let head = if buf.len() < ALIGN_BYTES { 0 } else { buf.as_ptr().align_offset(32).min(buf.len()) };
    let (head, body) = buf.split_at_mut(head);
    apply_narrow(head, key);
    let key = key.rotate_left_bytes(head.len() & 3);
    let (blocks, rest) = body.as_chunks_mut::<128>();
    for block in blocks {
        apply_block(block, key);
    }
    if rest.len() < 32 { apply_narrow(rest, key) } else { apply_overlapping::<32>(rest, key) }
}

#[inline(always)]
fn apply_block<const N: usize>(block: &mut [u8; N], key: u32) {
    let (words, _) = block.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
}

/// From this length on it pays to begin at a boundary.
const ALIGN_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn oracle(buf: &mut [u8], key: MaskKey, offset: usize) {
        for (at, byte) in buf.iter_mut().enumerate() {
            *byte ^= key[(at + offset) % 4];
        }
    }

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 7 + 3) as u8).collect()
    }

    #[test]
    fn masks_the_rfcs_hello() {
        let mut hello = *b"Hello";
        apply_mask(&mut hello, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(hello, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn equals_the_byte_loop_at_every_length_offset_and_alignment() {
        let key = [0x12, 0x34, 0x56, 0x78];
        for len in (0..=300).chain([1000, 4099]) {
            for offset in 0..4 {
                for start in [0, 1, 2, 3, 5, 8, 31] {
                    let mut ours = sample(len + start);
                    let mut expected = ours.clone();
                    apply_mask(&mut ours[start..], key, offset);
                    oracle(&mut expected[start..], key, offset);
                    assert_eq!(ours, expected, "len {len} offset {offset} start {start}");
                    if offset == 0 {
                        vectorized(|| apply_mask_within(&mut ours[start..], key));
                        assert_eq!(ours, sample(len + start), "len {len} start {start}");
                    }
                }
            }
        }
    }

    #[test]
    fn both_bodies_agree() {
        let mut narrow = sample(1000);
        let mut wide = narrow.clone();
        apply_narrow(&mut narrow, 0x1234_5678);
        apply_wide(&mut wide, 0x1234_5678);
        assert_eq!(narrow, wide);
    }

    proptest! {
        #[test]
        fn extending_equals_the_byte_loop(payload: Vec<u8>, key: MaskKey, repeat in 1usize..200, before in 0usize..9) {
            let mut expected = payload.repeat(repeat);
            let mut out = vec![9; before];
            extend_masked(&mut out, &expected, key);
            oracle(&mut expected, key, 0);
            prop_assert_eq!(&out[before..], &expected[..]);
        }

        #[test]
        fn masking_in_parts_equals_masking_at_once(payload: Vec<u8>, key: MaskKey, cut: usize) {
            let mut whole = payload.clone();
            apply_mask(&mut whole, key, 0);
            let mut parts = payload;
            let cut = cut.checked_rem(parts.len()).unwrap_or(0);
            let (front, back) = parts.split_at_mut(cut);
            apply_mask(front, key, 0);
            apply_mask(back, key, cut);
            prop_assert_eq!(parts, whole);
        }
    }
}
