//! What a benchmark found: a table for people, or one JSON object.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use crate::cli::connect::lines::printable;

use super::errors::Errors;
use super::latency::Latencies;

/// A report, filled in the order in which it is shown.
#[derive(Debug)]
pub(super) struct Report {
    heading: String,
    json: Map<String, Value>,
    rows: Vec<(String, String)>,
    latencies: Vec<(String, Latencies)>,
    errors: Errors,
    notes: Vec<String>,
    faults: Vec<String>,
}

impl Report {
    pub(super) fn new(bench: &str, url: &str, heading: String) -> Self {
        let mut json = Map::new();
        json.insert("bench".to_owned(), bench.into());
        json.insert("url".to_owned(), url.into());
        let heading = format!("{bench} {url}: {heading}");
        let (rows, latencies, notes, faults) = Default::default();
        Self { heading, json, rows, latencies, errors: Errors::default(), notes, faults }
    }

    /// Something only programs are told: it stands in the heading or was asked for.
    pub(super) fn setting(&mut self, key: &str, value: impl Into<Value>) {
        self.json.insert(key.to_owned(), value.into());
    }

    /// A number.
    pub(super) fn count(&mut self, key: &str, label: &str, count: u64) {
        self.json.insert(key.to_owned(), count.into());
        self.rows.push((label.to_owned(), grouped(count)));
    }

    /// A number that is shown only if something was.
    pub(super) fn count_if_any(&mut self, key: &str, label: &str, count: u64) {
        self.json.insert(key.to_owned(), count.into());
        if count > 0 {
            self.rows.push((label.to_owned(), grouped(count)));
        }
    }

    /// A measured value, rounded for people.
    pub(super) fn value(&mut self, key: &str, label: &str, value: f64) {
        self.json.insert(key.to_owned(), json!(value));
        self.rows.push((label.to_owned(), grouped(value.round().max(0.0) as u64)));
    }

    /// A distribution; its key says that it is in microseconds.
    pub(super) fn latencies(&mut self, key: &str, label: &str, latencies: &Latencies) {
        self.json.insert(format!("{key}_us"), latencies.json());
        if latencies.count() > 0 {
            self.latencies.push((label.to_owned(), latencies.clone()));
        }
    }

    /// What went wrong with connections.
    pub(super) fn errors(&mut self, errors: &Errors) {
        // What a server answers may hold anything; a terminal acts on some of it.
        errors.iter().for_each(|(what, count)| self.errors.add_many(printable(what), count));
    }

    /// What the reader should know about the numbers.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// What makes the run a failure.
    pub(super) fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    /// Writes it, and says how the program ends: badly if there was a fault.
    pub(super) fn print(mut self, as_json: bool) -> ExitCode {
        let text = if as_json { self.object() } else { self.table() };
        // Whoever reads it may have gone.
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
        for fault in &self.faults {
            eprintln!("switchboard: {fault}");
        }
        if as_json {
            for (what, count) in self.errors.iter() {
                eprintln!("switchboard: {} × {what}", grouped(count));
            }
        }
        if self.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn object(&mut self) -> String {
        let errors: Vec<_> =
            self.errors.iter().map(|(what, count)| json!({ "what": what, "count": count })).collect();
        self.json.insert("errors".to_owned(), errors.into());
        self.json.insert("faults".to_owned(), self.faults.clone().into());
        Value::from(std::mem::take(&mut self.json)).to_string()
    }

    fn table(&self) -> String {
        let mut lines = vec![self.heading.clone(), String::new()];
        let wide = self.rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        lines.extend(self.rows.iter().map(|(label, value)| format!("  {label:<wide$}  {value:>13}")));
        for (label, latencies) in &self.latencies {
            let [head, values] = latencies.table();
            lines.extend([String::new(), format!("  {label}"), format!("  {head}"), format!("  {values}")]);
        }
        if self.errors.total() > 0 {
            lines.extend([String::new(), "  connections that failed or ended early".to_owned()]);
            lines
                .extend(self.errors.iter().map(|(what, count)| format!("  {:>13} × {what}", grouped(count))));
        }
        if !self.notes.is_empty() {
            lines.push(String::new());
            lines.extend(self.notes.iter().map(|note| format!("  note: {note}")));
        }
        lines.join("\n")
    }
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (number, shown) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), shown);
        }
    }
}
