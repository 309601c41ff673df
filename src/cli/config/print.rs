//! The settings that hold, as a configuration file.

use std::fmt::Write;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::file::{Entry, is_list, is_number};
use super::{CONFIG, PRINT_CONFIG};

/// Writes every setting of `command`, with where it comes from. A flag that hides its environment's value from `--help`
/// is a secret, and its value isn't written.
pub(super) fn print(command: &Command, matches: &ArgMatches, from_file: &[Entry]) -> String {
    let mut text = String::new();
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        let Some(long) =
            argument.get_long().filter(|_| ![CONFIG, PRINT_CONFIG, "help", "version"].contains(&id))
        else {
            continue;
        };
        let line = match value(argument, matches) {
            None => format!("# {long} is not set"),
            Some(_) if argument.is_hide_env_values_set() => format!("# {long} is set, and secret"),
            // Read back it would be another value.
            Some(value) if value.contains(HIDDEN) => {
                format!("# {long} = {value}, whose password is not shown")
            }
            Some(value) => format!("{long} = {value}  # {}", source(argument, matches, from_file)),
        };
        // Writing to a text can't fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

fn value(argument: &Arg, matches: &ArgMatches) -> Option<String> {
    let id = argument.get_id().as_str();
    if matches!(argument.get_action(), ArgAction::SetTrue) {
        return Some(matches.get_flag(id).to_string());
    }
    let mut values: Vec<String> =
        matches.get_raw(id)?.map(|raw| literal(argument, &raw.to_string_lossy())).collect();
    if is_list(argument) { Some(format!("[{}]", values.join(", "))) } else { values.pop() }
}

/// A number as such, anything else in quotes.
fn literal(argument: &Arg, raw: &str) -> String {
    match raw.parse::<i64>() {
        Ok(number) if is_number(argument) => number.to_string(),
        _ => toml::Value::String(without_password(raw)).to_string(),
    }
}

/// A URL's password is nobody's business: `redis://user:…@host`.
fn without_password(text: &str) -> String {
    let hidden = || {
        let (scheme, rest) = text.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let (user, host) = authority.rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        Some(format!("{scheme}://{name}{HIDDEN}{host}{}", &rest[authority.len()..]))
    };
    hidden().unwrap_or_else(|| text.to_owned())
}

fn source(argument: &Arg, matches: &ArgMatches, from_file: &[Entry]) -> String {
    let id = argument.get_id().as_str();
    if let Some(entry) = from_file.iter().find(|entry| entry.id == id) {
        return format!("the file, line {}", entry.line);
    }
    match matches.value_source(id) {
        Some(ValueSource::CommandLine) => "flag".to_owned(),
        Some(ValueSource::EnvVariable) => argument
            .get_env()
            .map_or_else(|| "environment".to_owned(), |name| name.to_string_lossy().into_owned()),
        _ => "default".to_owned(),
    }
}

/// What stands in a URL in place of its password.
const HIDDEN: &str = ":…@";
