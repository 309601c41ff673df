//! `host[:port]`, as `Host`, `Origin` and a URL have it (RFC 3986 §3.2).

use std::net::Ipv6Addr;

/// A host and, if one is given, a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Authority {
    /// In lower case; an IPv6 address in its shortest form, in brackets. Never empty.
    pub(super) host: String,
    /// The port, if the text has one.
    pub(super) port: Option<u16>,
}

impl Authority {
    /// Reads `host`, `host:port` or `[v6]:port`; `None` if it is none of them. User information is none of them.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                (format!("[{}]", address.parse::<Ipv6Addr>().ok()?), port)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (registered_name(name)?, port)
            }
        };
        Some(Self { host, port: parse_port(port)? })
    }

    /// The port, or `default` if the text has none.
    pub(super) fn port_or(&self, default: u16) -> u16 {
        self.port.unwrap_or(default)
    }
}

/// A name or an IPv4 address, in lower case (RFC 3986 §3.2.2).
fn registered_name(name: &str) -> Option<String> {
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        let is_valid = match byte {
            b'%' => {
                bytes.next().is_some_and(|b| b.is_ascii_hexdigit())
                    && bytes.next().is_some_and(|b| b.is_ascii_hexdigit())
            }
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte),
        };
        if !is_valid {
            return None;
        }
    }
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

/// `:80` → 80; nothing, or a colon and nothing, → no port (RFC 3986 §3.2.3).
fn parse_port(text: &str) -> Option<Option<u16>> {
    match text.strip_prefix(':') {
        None => text.is_empty().then_some(None),
        Some("") => Some(None),
        // `u16::from_str` would take a plus sign.
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(Some),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, Option<u16>)> {
        Authority::parse(text).map(|authority| (authority.host, authority.port))
    }

    #[test]
    fn reads_host_and_port() {
        let cases = [
            ("Example.COM", "example.com", None),
            ("example.com:", "example.com", None),
            ("example.com:8080", "example.com", Some(8080)),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("[::1]:443", "[::1]", Some(443)),
            ("[0:0:0:0:0:0:0:1]", "[::1]", None),
            ("a_b.%41", "a_b.%41", None),
        ];
        for (text, host, port) in cases {
            assert_eq!(parsed(text), Some((host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_authority() {
        let wrong = [
            "",
            ":80",
            "a:b",
            "a:+1",
            "a:65536",
            "a:1:2",
            "::1",
            "[::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "[x]",
            "a b",
            "a/b",
            "user@a",
            "a%4",
            "a?b",
            "a#b",
            "a,b c",
            "ä",
            "a\\b",
        ];
        for text in wrong {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }
}
