//! What somebody typed on a terminal: a text, or a command.

/// A line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// To be sent as it is.
    Text(String),
    Quit,
    Help,
    Who,
    RoundTrip,
    Rooms,
    Join(String),
    /// The room, or the present one.
    Leave(Option<String>),
    /// No command, or one that lacks something: what to do.
    Wrong(String),
}

/// Each command: its name, what comes after it, what it does.
const COMMANDS: [(&str, &str, &str); 7] = [
    ("/help", "", "this list"),
    ("/join", " ROOM", "enter a room, or turn to one that you are in"),
    ("/leave", " [ROOM]", "leave this room or another"),
    ("/quit", "", "leave"),
    ("/rooms", "", "the rooms that you are in"),
    ("/rtt", "", "how long a message to the server and back takes"),
    ("/who", "", "who is in this room"),
];

/// The names of all commands.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|(name, ..)| *name)
}

/// What `/help` says.
pub(super) fn help() -> String {
    let mut lines = vec!["commands:".to_owned()];
    lines.extend(
        COMMANDS.iter().map(|(name, argument, what)| format!("{:16}{what}", format!("{name}{argument}"))),
    );
    lines.push(format!("{:16}send /TEXT as a text", "//TEXT"));
    lines.push("Arrows: earlier lines. Tab: completes a name or command. Ctrl-D: leave.".to_owned());
    lines.join("\n")
}

impl Entry {
    /// Understands a line.
    pub(super) fn parse(line: &str) -> Self {
        let Some(rest) = line.strip_prefix('/') else { return Self::Text(line.to_owned()) };
        if rest.starts_with('/') {
            return Self::Text(rest.to_owned());
        }
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let arguments: Vec<_> = words.collect();
        match (name, &arguments[..]) {
            ("/quit", []) => Self::Quit,
            ("/help", []) => Self::Help,
            ("/who", []) => Self::Who,
            ("/rtt", []) => Self::RoundTrip,
            ("/rooms", []) => Self::Rooms,
            ("/join", [room]) => Self::Join((*room).to_owned()),
            ("/leave", []) => Self::Leave(None),
            ("/leave", [room]) => Self::Leave(Some((*room).to_owned())),
            _ => Self::Wrong(explain(name)),
        }
    }
}

/// What is wrong with a command that can't be understood.
fn explain(name: &str) -> String {
    if let Some((name, argument, _)) = COMMANDS.iter().find(|(known, ..)| *known == name) {
        return format!("write {name}{argument}; to send this as a text begin it with //");
    }
    let (nearest, distance) = names()
        .map(|known| (known, strsim::damerau_levenshtein(known, &name.to_lowercase())))
        .min_by_key(|(_, distance)| *distance)
        .expect("there are commands");
    let advice = if distance <= 2 || nearest.starts_with(name) {
        format!("did you mean {nearest}?")
    } else {
        "/help lists those that there are.".to_owned()
    };
    format!("there is no command {name}: {advice} To send it as a text write /{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_commands_are_told_apart() {
        for (line, entry) in [
            ("hello", Entry::Text("hello".into())),
            (" /quit", Entry::Text(" /quit".into())),
            ("//quit", Entry::Text("/quit".into())),
            ("/quit", Entry::Quit),
            ("/join  rust ", Entry::Join("rust".into())),
            ("/leave", Entry::Leave(None)),
        ] {
            assert_eq!(Entry::parse(line), entry, "{line}");
        }
    }

    #[test]
    fn the_nearest_command_is_named() {
        for (line, advice) in [
            ("/qiut", "did you mean /quit?"),
            ("/WHO", "did you mean /who?"),
            ("/j rust", "did you mean /join?"),
            ("/etc/passwd", "/help lists"),
            ("/", "To send it as a text write //"),
            ("/join", "write /join ROOM"),
            ("/join a b", "write /join ROOM"),
        ] {
            let Entry::Wrong(wrong) = Entry::parse(line) else { panic!("{line} is right") };
            assert!(wrong.contains(advice), "{line}: {wrong}");
        }
    }
}
