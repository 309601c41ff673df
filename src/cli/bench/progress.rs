//! Progress bars, if somebody is looking.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::crew::Crew;
use super::report::grouped;

/// What there is to show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// How many connections are wanted.
    pub(super) connections: usize,
    /// How long the load lasts, warm-up included.
    pub(super) duration: Duration,
}

const LOOK: Duration = Duration::from_millis(100);

/// Shows how far a crew is until it `is_over`.
pub(super) fn show(crew: &Crew, plan: &Plan, is_over: impl Fn() -> bool) {
    let is_seen = std::io::stderr().is_terminal();
    let target = if is_seen { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(plan.connections as u64), target);
    bar.set_style(style("connecting  {bar:30}  {pos} of {len}"));
    let mut is_running = false;
    let mut next_look = Instant::now();
    while !is_over() {
        // Short naps: a run that is over should not wait for the next look.
        std::thread::sleep(Duration::from_millis(5));
        if !is_seen || Instant::now() < next_look {
            continue;
        }
        next_look += LOOK;
        let Some(start) = crew.start() else {
            bar.set_position(crew.sum(|counters| &counters.connected));
            continue;
        };
        if !is_running {
            is_running = true;
            bar.set_length(plan.duration.as_millis() as u64);
            bar.set_style(style("running     {bar:30}  {msg}"));
        }
        bar.set_position(start.elapsed().as_millis() as u64);
        bar.set_message(counts(crew, start));
    }
    bar.finish_and_clear();
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well-formed").progress_chars("━━ ")
}

fn counts(crew: &Crew, start: Instant) -> String {
    let sum =
        |counter: fn(&super::crew::Counters) -> &std::sync::atomic::AtomicU64| grouped(crew.sum(counter));
    let seconds = start.elapsed().as_secs();
    format!("{seconds} s, {} sent, {} received", sum(|c| &c.sent), sum(|c| &c.received))
}
