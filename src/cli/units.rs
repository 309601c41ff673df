//! Sizes and durations as people write them.

use std::time::Duration;

/// Reads a size in bytes: a bare number, or one with KiB, MiB or GiB.
pub(super) fn parse_size(text: &str) -> Result<usize, String> {
    let explain =
        || format!("{text:?} is no size: write a number of bytes, or a number with KiB, MiB or GiB");
    let split = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: usize = number.parse().map_err(|_| explain())?;
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(explain()),
    };
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is more bytes than this machine can count"))
}

/// Reads a duration: a number with ms, s, m or h.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let explain =
        || format!("{text:?} is no duration: write a number with ms, s, m or h, such as 500ms or 15s");
    let split = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| explain())?;
    let millis = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(explain()),
    };
    let millis =
        number.checked_mul(millis).ok_or_else(|| format!("{text:?} is longer than can be counted"))?;
    Ok(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_binary_units() {
        for (text, expected) in
            [("0", 0), ("100", 100), ("64KiB", 65_536), ("1 MiB", 1 << 20), ("2GiB", 2 << 30)]
        {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5MiB", "64KB", "99999999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        for (text, millis) in [("500ms", 500), ("2s", 2_000), ("1m", 60_000), ("0s", 0), ("1 h", 3_600_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1.5s", "1d", "99999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
