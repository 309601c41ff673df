//! A plain inflate (RFC 1951): a bit at a time, no tables to look up, no window to slide. The oracle of ours.

/// What was wrong with the bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid;

/// Inflates a message's bytes with its tail (RFC 7692 §7.2.2) behind what `out` holds already, which matches may
/// refer to; returns the greatest distance of a match.
pub fn inflate(message: &[u8], out: &mut Vec<u8>) -> Result<usize, Invalid> {
    let bytes = [message, &[0x00, 0x00, 0xff, 0xff]].concat();
    let mut bits = Bits { bytes: &bytes, at: 0 };
    let mut distance = 0;
    while bits.at < 8 * bytes.len() {
        let is_final = bits.take(1)? == 1;
        let block = match bits.take(2)? {
            0 => stored(&mut bits, out)?,
            1 => coded(&mut bits, out, &fixed())?,
            2 => {
                let codes = dynamic(&mut bits)?;
                coded(&mut bits, out, &codes)?
            }
            _ => return Err(Invalid),
        };
        distance = distance.max(block);
        if is_final {
            bits.align();
            // Nothing but the tail is left: a message may end with a final block and no empty one behind it.
            if bits.at == 8 * message.len() {
                break;
            }
        }
    }
    Ok(distance)
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Result<usize, Invalid> {
        let mut value = 0;
        for place in 0..count {
            let byte = *self.bytes.get(self.at / 8).ok_or(Invalid)?;
            value |= usize::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Ok(value)
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}

/// Huffman codes of symbols: how many there are of each length, and the symbols in order (RFC 1951 §3.2.2).
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[usize]) -> Self {
        let mut counts = [0; 16];
        lengths.iter().for_each(|&length| counts[length] += 1);
        counts[0] = 0;
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|&symbol| lengths[symbol] > 0).collect();
        symbols.sort_by_key(|&symbol| (lengths[symbol], symbol));
        Self { counts, symbols }
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Result<usize, Invalid> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.take(1)?;
            if code < first + count {
                return Ok(self.symbols[index + code - first]);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(Invalid)
    }
}

fn fixed() -> [Code; 2] {
    let length = |symbol| match symbol {
        144..=255 => 9,
        256..=279 => 7,
        _ => 8,
    };
    let lengths: Vec<usize> = (0..288).map(length).collect();
    [Code::new(&lengths), Code::new(&[5; 30])]
}

fn dynamic(bits: &mut Bits<'_>) -> Result<[Code; 2], Invalid> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, meta) = (257 + bits.take(5)?, 1 + bits.take(5)?, 4 + bits.take(4)?);
    let mut lengths = [0; 19];
    for symbol in &ORDER[..meta] {
        lengths[*symbol] = bits.take(3)?;
    }
    let code = Code::new(&lengths);
    let mut lengths: Vec<usize> = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match code.symbol(bits)? {
            16 => (*lengths.last().ok_or(Invalid)?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(length, times));
    }
    if lengths.len() > literals + distances {
        return Err(Invalid);
    }
    let (literals, distances) = lengths.split_at(literals);
    Ok([Code::new(literals), Code::new(distances)])
}

fn stored(bits: &mut Bits<'_>, out: &mut Vec<u8>) -> Result<usize, Invalid> {
    bits.align();
    let (len, complement) = (bits.take(16)?, bits.take(16)?);
    if len ^ complement != 0xffff {
        return Err(Invalid);
    }
    for _ in 0..len {
        out.push(bits.take(8)? as u8);
    }
    Ok(0)
}

fn coded(
    bits: &mut Bits<'_>,
    out: &mut Vec<u8>,
    [literals, distances]: &[Code; 2],
) -> Result<usize, Invalid> {
    let mut greatest = 0;
    loop {
        let symbol = literals.symbol(bits)?;
        match symbol {
            0..=255 => out.push(symbol as u8),
            256 => return Ok(greatest),
            257..=285 => {
                let len = match symbol {
                    285 => 258,
                    257..=264 => symbol - 254,
                    _ => {
                        let extra = (symbol - 261) / 4;
                        3 + ((4 + (symbol - 265) % 4) << extra) + bits.take(extra)?
                    }
                };
                let distance = match distances.symbol(bits)? {
                    short @ 0..=3 => 1 + short,
                    long @ 4..=29 => {
                        let extra = long / 2 - 1;
                        1 + ((2 + long % 2) << extra) + bits.take(extra)?
                    }
                    _ => return Err(Invalid),
                };
                let start = out.len().checked_sub(distance).ok_or(Invalid)?;
                (0..len).for_each(|at| out.push(out[start + at]));
                greatest = greatest.max(distance);
            }
            _ => return Err(Invalid),
        }
    }
}
