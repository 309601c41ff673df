//! As many open files as the system lets us have: every connection is one.

use std::io;
use std::process::{Command, ExitStatus};

/// Set where the limit was raised.
pub(crate) const LIFTED: &str = "BENCH_FILES_LIFTED";

/// Runs this program once more, with the limit raised.
pub(crate) fn again_with_more() -> io::Result<ExitStatus> {
    Command::new("sh")
        .args(["-c", "ulimit -S -n \"$(ulimit -H -n)\" && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(LIFTED, "1")
        .status()
}

/// How many files this process may open.
pub(crate) fn most() -> io::Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    // Else it is `unlimited`.
    Ok(soft.and_then(|soft| soft.parse().ok()).unwrap_or(usize::MAX))
}
