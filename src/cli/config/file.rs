//! A configuration file's entries, as the flags that they stand for.

use std::any::TypeId;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{CONFIG, PRINT_CONFIG};

/// What one key of the file says.
#[derive(Debug)]
pub(super) struct Entry {
    /// The name under which clap knows the flag.
    pub(super) id: String,
    /// The key's line, from 1 on.
    pub(super) line: usize,
    /// The flag as it would be written, once for each value; a flag that is off is not written.
    pub(super) flags: Vec<String>,
}

/// Reads a file's text by the flags that `command` has. An error begins with `LINE: `.
pub(super) fn read(text: &str, command: &Command) -> Result<Vec<Entry>, String> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line(text, span.start));
        // The parser's own explanation may have several lines.
        format!("{line}: {}", error.message().lines().collect::<Vec<_>>().join(": "))
    })?;
    let mut keys: Vec<_> = table.get_ref().iter().collect();
    keys.sort_by_key(|(key, _)| key.span().start);
    let mut entries: Vec<Entry> = Vec::new();
    for (key, value) in keys {
        let line = line(text, key.span().start);
        let entry = entry(key.get_ref(), value, command, line).map_err(|error| format!("{line}: {error}"))?;
        if entries.iter().any(|other| other.id == entry.id) {
            return Err(format!("{line}: {} stands in the file twice", key.get_ref().replace('_', "-")));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count()
}

fn entry(key: &str, value: &Spanned<DeValue<'_>>, command: &Command, line: usize) -> Result<Entry, String> {
    // Both ways to write a key are common in TOML.
    let long = key.replace('_', "-");
    let argument = command.get_arguments().find(|argument| argument.get_long() == Some(&long));
    let Some(argument) = argument.filter(|argument| argument.get_id() != "help") else {
        return Err(unknown(&long, command));
    };
    let id = argument.get_id().to_string();
    if id == CONFIG || id == PRINT_CONFIG {
        return Err(format!("{long} can't stand in a file: it is a flag only"));
    }
    Ok(Entry { flags: flags(argument, &long, value.get_ref())?, id, line })
}

fn unknown(long: &str, command: &Command) -> String {
    let known = command.get_arguments().filter_map(Arg::get_long).filter(|long| *long != "help");
    let nearest = known
        .map(|known| (strsim::jaro(long, known), known))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    match nearest {
        Some((_, known)) => format!("there is no setting {long}: do you mean {known}?"),
        None => {
            format!("there is no setting {long}: --help lists the flags, whose names are the keys")
        }
    }
}

fn flags(argument: &Arg, long: &str, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    if matches!(argument.get_action(), ArgAction::SetTrue) {
        return match value.as_bool() {
            Some(true) => Ok(vec![format!("--{long}")]),
            Some(false) => Ok(Vec::new()),
            None => Err(format!("{long} is true or false, without quotes")),
        };
    }
    let values: Vec<&DeValue<'_>> = match value {
        DeValue::Array(values) if is_list(argument) => values.iter().map(Spanned::get_ref).collect(),
        DeValue::Array(_) => return Err(format!("{long} takes one value, not a list")),
        DeValue::Table(_) => return Err(format!("{long} takes one value, not a table")),
        value => vec![value],
    };
    values
        .into_iter()
        .map(|value| {
            let text = text(argument, long, value)?;
            check(argument, long, &text)?;
            Ok(format!("--{long}={text}"))
        })
        .collect()
}

pub(super) fn is_list(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Append)
}

/// Whether the flag's value is a number, perhaps with a unit.
pub(super) fn is_number(argument: &Arg) -> bool {
    let kind = argument.get_value_parser().type_id();
    let numbers = [
        TypeId::of::<usize>(),
        TypeId::of::<u64>(),
        TypeId::of::<u32>(),
        TypeId::of::<u16>(),
        TypeId::of::<u8>(),
        TypeId::of::<i64>(),
        TypeId::of::<i32>(),
    ];
    numbers.into_iter().any(|number| kind == number)
}

/// The value as it would stand on the command line.
fn text(argument: &Arg, long: &str, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) if is_number(argument) => {
            let number = i128::from_str_radix(number.as_str(), number.radix());
            number.map(|number| number.to_string()).map_err(|_| format!("{long} is too large a number"))
        }
        _ if is_number(argument) => {
            Err(format!("{long} is a number, or a text in quotes, such as \"64KiB\""))
        }
        _ => Err(format!("{long} is a text: write it in quotes")),
    }
}

/// Has the flag's own parser look at a value, so that what is wrong is told by its line.
fn check(argument: &Arg, long: &str, text: &str) -> Result<(), String> {
    let mut alone = Arg::new("value").long("value").value_parser(argument.get_value_parser().clone());
    if let Some(delimiter) = argument.get_value_delimiter() {
        alone = alone.value_delimiter(delimiter).action(ArgAction::Append);
    }
    let command = Command::new("check").no_binary_name(true).arg(alone);
    let Err(error) = command.try_get_matches_from([format!("--value={text}")]) else { return Ok(()) };
    let mut why = std::error::Error::source(&error).map(ToString::to_string);
    if let Some(ContextValue::Strings(valid)) = error.get(ContextKind::ValidValue)
        && !valid.is_empty()
    {
        why = Some(format!("it can be {}", valid.join(", ")));
    }
    Err(match why {
        Some(why) => format!("{long} can't be {text:?}: {why}"),
        None => format!("{long} can't be {text:?}"),
    })
}
