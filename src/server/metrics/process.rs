//! What the process takes of the machine, under the names that Prometheus's own clients give it. On Linux only.

use std::fmt;
use std::fs;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::put;

/// Looks at the process at every look at the metrics.
#[derive(Debug)]
pub(super) struct Process {
    started: SystemTime,
}

impl Default for Process {
    fn default() -> Self {
        Self { started: SystemTime::now() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let started = self.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let gauges = [
            ("process_start_time_seconds", "When the process started, in seconds since 1970", Some(started)),
            ("process_open_fds", "File descriptors that are open", open_files()),
            ("process_max_fds", "File descriptors that may be open", max_files()),
            (
                "process_resident_memory_bytes",
                "Memory that is resident",
                status("VmRSS:").map(|kib| kib * 1024.0),
            ),
            ("process_threads", "Threads", status("Threads:")),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                put(&mut encoder, name, help, &ConstGauge::new(value))?;
            }
        }
        match cpu_seconds() {
            Some(seconds) => put(
                &mut encoder,
                "process_cpu_seconds",
                "Processor time, of user and system",
                &ConstCounter::new(seconds),
            ),
            None => Ok(()),
        }
    }
}

/// What share of the file descriptors that this process may have is free; `None` where the system doesn't say.
pub fn free_files() -> Option<f64> {
    let (open, max) = (open_files()?, max_files()?);
    (max > 0.0).then(|| 1.0 - open / max)
}

/// How many files are open: newer kernels say it as the folder's size, which spares us reading 100,000 names.
fn open_files() -> Option<f64> {
    let size = fs::metadata("/proc/self/fd").ok()?.len();
    if size > 0 {
        return Some(size as f64);
    }
    // One of them is the folder's own.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn max_files() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A number in the process's status.
fn status(name: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Ticks of user and system time, the 14th and 15th field, 100 a second wherever Linux shows them.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut ticks = fields.split(' ').skip(11).map(|field| field.parse::<f64>().ok());
    Some((ticks.next()?? + ticks.next()??) / 100.0)
}
