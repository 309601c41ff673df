//! Where a server's settings come from: flags, then the environment, then a file, then what is built in.
//!
//! This knows no flag by its name. Every flag that `clap` knows can stand in the file under the same name, and its value
//! goes through the same parser: the file's entries become flags, unless one was given or the environment has it.

mod file;
mod print;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Parser};

/// The flags of a server that takes a configuration file.
#[derive(Args, Clone, Debug)]
pub(super) struct ConfigFlags {
    /// Read settings from a TOML file: each flag's name, without the dashes, is a key; flags and environment go first
    #[arg(long, env = "SWITCHBOARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the settings that hold, each with where it comes from, as a configuration file, and end
    #[arg(long)]
    print_config: bool,
}

/// What the command line asks for.
pub(super) enum Parsed<C> {
    /// To run with these flags.
    Run(C),
    /// To print this.
    Print(String),
}

/// Why there are no flags.
pub(super) enum Failure {
    /// The command line is wrong, or asks for help.
    CommandLine(clap::Error),
    /// The file is.
    File(String),
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::CommandLine(error)
    }
}

/// Reads the command line, the environment and the file that they name.
pub(super) fn parse<C: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed<C>, Failure> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = look(&C::command(), &arguments)?;
    let mut command = C::command();
    command.build();
    let subcommand = matches.subcommand_name().and_then(|name| command.find_subcommand(name));
    let (Some((name, given)), Some(subcommand)) = (matches.subcommand(), subcommand) else {
        return Ok(Parsed::Run(C::try_parse_from(arguments)?));
    };
    if !has_flag(subcommand, CONFIG) {
        return Ok(Parsed::Run(C::try_parse_from(arguments)?));
    }
    let added = match given.get_one::<PathBuf>(CONFIG) {
        Some(path) => {
            read(path, subcommand)?.into_iter().filter(|entry| !is_given(given, &entry.id)).collect()
        }
        None => Vec::new(),
    };
    let all = with_added(&arguments, name, &added);
    let matches = C::command().try_get_matches_from(all)?;
    let given = matches.subcommand_matches(name).unwrap_or(given);
    if given.get_flag(PRINT_CONFIG) {
        return Ok(Parsed::Print(print::print(subcommand, given, &added)));
    }
    Ok(Parsed::Run(C::from_arg_matches(&matches)?))
}

/// A first look at the command line, which may lack what the file has.
fn look(command: &Command, arguments: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let strict = command.clone().try_get_matches_from(arguments);
    match strict {
        Err(error) if error.kind() == clap::error::ErrorKind::MissingRequiredArgument => {
            command.clone().ignore_errors(true).try_get_matches_from(arguments)
        }
        strict => strict,
    }
}

fn read(path: &Path, subcommand: &Command) -> Result<Vec<file::Entry>, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::File(format!("the configuration file {shown} can't be read: {error}; check --config"))
    })?;
    file::read(&text, subcommand).map_err(|error| Failure::File(format!("{shown}:{error}")))
}

fn has_flag(command: &Command, id: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_id() == id)
}

/// Whether a flag stands on the command line or in the environment.
fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// The command line with the file's flags behind the subcommand's name.
fn with_added(arguments: &[OsString], name: &str, added: &[file::Entry]) -> Vec<OsString> {
    let at =
        arguments.iter().skip(1).position(|argument| argument == name).map_or(arguments.len(), |at| at + 2);
    let (before, behind) = arguments.split_at(at);
    let flags = added.iter().flat_map(|entry| entry.flags.iter().map(OsString::from));
    before.iter().cloned().chain(flags).chain(behind.iter().cloned()).collect()
}

/// The names under which clap knows our own flags.
const CONFIG: &str = "config";
const PRINT_CONFIG: &str = "print_config";

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use clap::{CommandFactory, Subcommand};

    use super::super::units::{parse_duration, parse_size};
    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        command: Commands,
    }

    #[derive(Debug, Subcommand)]
    enum Commands {
        Serve(Serve),
        Other,
    }

    #[derive(Args, Clone, Debug)]
    struct Serve {
        #[arg(long, default_value = "127.0.0.1:9001")]
        listen: SocketAddr,
        #[arg(long, default_value = "64KiB", value_parser = parse_size)]
        max_bytes: usize,
        #[arg(long, value_parser = parse_duration)]
        ping_interval: Option<Duration>,
        #[arg(long, value_delimiter = ',')]
        allow_origin: Vec<String>,
        #[arg(long)]
        no_deflate: bool,
        #[arg(long, conflicts_with = "no_deflate")]
        takeover: bool,
        /// Any variable that is there in every test.
        #[arg(long, env = "CARGO_PKG_NAME")]
        prefix: Option<String>,
        #[arg(long, hide_env_values = true)]
        token: Option<String>,
        #[arg(long)]
        broker: Option<String>,
        #[command(flatten)]
        config: ConfigFlags,
    }

    /// The outcome with a file of this text and these flags.
    fn parsed(text: &str, flags: &[&str]) -> Result<Parsed<Program>, String> {
        let name =
            format!("switchboard-config-{}-{:?}.toml", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let arguments = ["switchboard", "serve", "--config"].map(OsString::from).into_iter();
        let arguments = arguments.chain([path.clone().into()]).chain(flags.iter().map(OsString::from));
        let parsed = parse(arguments);
        std::fs::remove_file(&path).unwrap();
        parsed.map_err(|failure| match failure {
            Failure::CommandLine(error) => error.to_string(),
            Failure::File(error) => error.replace(&path.display().to_string(), "FILE"),
        })
    }

    fn run(text: &str, flags: &[&str]) -> Serve {
        match parsed(text, flags) {
            Ok(Parsed::Run(Program { command: Commands::Serve(serve) })) => serve,
            Ok(_) => panic!("something else"),
            Err(error) => panic!("{error}"),
        }
    }

    fn failure(text: &str) -> String {
        parsed(text, &[]).map(|_| ()).expect_err("must be refused")
    }

    fn printed(text: &str, flags: &[&str]) -> String {
        match parsed(text, &[flags, &["--print-config"]].concat()) {
            Ok(Parsed::Print(text)) => text,
            _ => panic!("not printed"),
        }
    }

    const FILE: &str = "\
        # a comment\n\
        listen = \"127.0.0.1:7000\"\n\
        max_bytes = 1_000\n\
        ping-interval = \"2s\"\n\
        allow-origin = [\"https://a.example\", \"https://b.example\"]\n\
        no-deflate = true\n\
        takeover = false\n";

    #[test]
    fn the_file_fills_in_what_is_not_given() {
        let serve = run(FILE, &[]);
        assert_eq!(serve.listen.port(), 7000);
        assert_eq!((serve.max_bytes, serve.ping_interval), (1000, Some(Duration::from_secs(2))));
        assert_eq!(serve.allow_origin, ["https://a.example", "https://b.example"]);
        assert!(serve.no_deflate && !serve.takeover);
    }

    #[test]
    fn flags_go_before_the_environment_and_that_before_the_file() {
        let serve = run(FILE, &["--listen", "127.0.0.1:1", "--allow-origin", "https://c.example"]);
        assert_eq!((serve.listen.port(), serve.max_bytes), (1, 1000));
        assert_eq!(serve.allow_origin, ["https://c.example"]);
        assert_eq!(run("prefix = \"file\"", &[]).prefix.as_deref(), Some("switchboard"));
        assert_eq!(run("", &["--prefix", "flag"]).prefix.as_deref(), Some("flag"));
    }

    #[test]
    fn a_wrong_file_is_told_by_line_and_what_to_do() {
        for (text, expected) in [
            ("\nmax-byte = 1", "FILE:2: there is no setting max-byte: do you mean max-bytes?"),
            ("zzz = 1", "FILE:1: there is no setting zzz: --help lists the flags, whose names are the keys"),
            ("listen = 5", "FILE:1: listen is a text: write it in quotes"),
            ("no-deflate = \"yes\"", "FILE:1: no-deflate is true or false, without quotes"),
            ("max-bytes = true", "FILE:1: max-bytes is a number, or a text in quotes"),
            ("listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]", "FILE:1: listen takes one value, not a list"),
            ("[listen]\nport = 1", "FILE:1: listen takes one value, not a table"),
            ("\n\nmax-bytes = \"1KB\"", "FILE:3: max-bytes can't be \"1KB\": \"1KB\" is no size: "),
            ("config = \"other\"", "FILE:1: config can't stand in a file"),
            ("listen = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"", "FILE:2: "),
            ("max-bytes = 1\nmax_bytes = 2", "FILE:2: max-bytes stands in the file twice"),
            ("a b", "FILE:1: "),
        ] {
            let error = failure(text);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let arguments = ["switchboard", "serve", "--config", "/nowhere.toml"].map(OsString::from);
        let Err(Failure::File(error)) = parse::<Program>(arguments) else { panic!("must be refused") };
        assert!(error.starts_with("the configuration file /nowhere.toml can't be read: "), "{error}");
    }

    #[test]
    fn the_file_may_not_contradict_itself() {
        let error = failure("no-deflate = true\ntakeover = true");
        assert!(error.contains("cannot be used with"), "{error}");
    }

    #[test]
    fn what_holds_is_printed_with_its_sources() {
        let text = printed(FILE, &["--max-bytes", "2KiB"]);
        for expected in [
            "listen = \"127.0.0.1:7000\"  # the file, line 2",
            "max-bytes = \"2KiB\"  # flag",
            "allow-origin = [\"https://a.example\", \"https://b.example\"]  # the file, line 5",
            "no-deflate = true  # the file, line 6",
            "takeover = false  # the file, line 7",
            "prefix = \"switchboard\"  # CARGO_PKG_NAME",
            "# token is not set",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        assert!(!text.contains("config"), "{text}");
        assert!(printed("", &[]).contains("takeover = false  # default"));
    }

    #[test]
    fn what_was_printed_is_a_file_of_the_same_meaning() {
        let text = printed(FILE, &["--broker", "redis://host/1"]);
        let again = printed(&text, &[]);
        let values = |text: &str| -> Vec<String> {
            let value = |line: &str| line.split("  # ").next().unwrap_or_default().to_owned();
            text.lines().map(value).collect()
        };
        assert_eq!(values(&text), values(&again));
    }

    #[test]
    fn secrets_are_not_printed() {
        let text = printed("token = \"hush\"", &["--broker", "redis://user:hush@host/1"]);
        assert!(!text.contains("hush"), "{text}");
        assert!(text.contains("# token is set, and secret"), "{text}");
    }

    #[test]
    fn other_subcommands_and_wrong_flags_are_left_to_clap() {
        let other = parse::<Program>(["switchboard", "other"].map(OsString::from));
        assert!(matches!(other, Ok(Parsed::Run(Program { command: Commands::Other }))));
        let Err(error) = parsed("", &["--lisen", "x"]) else { panic!("must be refused") };
        assert!(error.contains("'--listen'"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(listen|max-bytes|no-deflate|[a-z]{0,3})? ?=? ?[\\PC\n\"\\[\\]]{0,30}") {
            let mut command = Program::command();
            command.build();
            let _ = file::read(&text, command.find_subcommand("serve").unwrap());
        }
    }
}
