//! Whose request it is when it came through proxies (RFC 7239).
//!
//! What a client writes into such a header reaches us as well as what a proxy does. So the header is read from its end,
//! where the proxy nearest to us has written, and only as long as whoever has written is trusted. And it is one header,
//! which the operator names: a proxy that writes one of them often lets the other one through as the client sent it.

use std::net::IpAddr;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// Which proxies are trusted, and where they say whom they forward.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ForwardingHeader,
}

/// The header in which proxies say whom they forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardingHeader {
    /// `X-Forwarded-For`, which nearly all of them write.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl TrustedProxies {
    /// Trusts the proxies in these networks, each written as `10.0.0.0/8`, or `10.0.0.1` for a single one.
    ///
    /// # Errors
    ///
    /// [`InvalidNetwork`] for the first that is neither.
    pub fn parse<'a>(
        networks: impl IntoIterator<Item = &'a str>,
        header: ForwardingHeader,
    ) -> Result<Self, InvalidNetwork> {
        let network = |text: &str| {
            let text = text.trim();
            let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| InvalidNetwork(text.to_owned()))
        };
        let networks = networks.into_iter().map(network).collect::<Result<_, _>>()?;
        Ok(Self { networks, header })
    }

    /// Whether a proxy at `address` is trusted.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The client's address, of a request that came from `peer`.
    ///
    /// Where the trusted proxies' word ends, be it that the next one isn't trusted, hides the address, or wrote what is
    /// none, the last address that was told is taken.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        for hop in self.hops(headers).into_iter().rev() {
            let Some(address) = hop else { break };
            client = address.to_canonical();
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    /// The addresses in the header, the nearest one last; `None` where there is something else.
    fn hops(&self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        // The head's limit bounds them.
        let lines = |name: &HeaderName| -> Vec<Option<String>> {
            let text = |line: &http::HeaderValue| line.to_str().ok().map(str::to_owned);
            headers.get_all(name).iter().map(text).collect()
        };
        match self.header {
            ForwardingHeader::XForwardedFor => lines(&X_FORWARDED_FOR)
                .iter()
                .flat_map(|line| line.as_deref().unwrap_or_default().split(','))
                .map(|hop| node(hop.trim()))
                .collect(),
            ForwardingHeader::Forwarded => lines(&FORWARDED)
                .iter()
                .flat_map(|line| split(line.as_deref().unwrap_or_default(), ','))
                .map(forwarded_for)
                .collect(),
        }
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A text that is no network was to be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no network: write an address such as 10.0.0.1, or a network such as 10.0.0.0/8 or fd00::/8"
)]
pub struct InvalidNetwork(pub String);

/// The address in `for=` of one proxy's element.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut values = split(element, ';').into_iter().filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    });
    match (values.next(), values.next()) {
        (Some(value), None) => node(&unquote(value)?),
        _ => None,
    }
}

/// `text` split at `separator` where that isn't within quotes that end.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            char if char == separator && !is_quoted => {
                parts.push(&text[start..at]);
                start = at + char.len_utf8();
            }
            _ => {}
        }
    }
    // A client may have opened quotes so that what the proxy adds falls into them: then they count for nothing.
    if is_quoted {
        return text.split(separator).collect();
    }
    parts.push(&text[start..]);
    parts
}

/// A token, or what is within quotes (RFC 9110 §5.6.4).
fn unquote(value: &str) -> Option<String> {
    let Some(quoted) = value.strip_prefix('"') else { return Some(value.to_owned()) };
    let mut chars = quoted.strip_suffix('"')?.chars();
    let mut text = String::new();
    while let Some(char) = chars.next() {
        match char {
            '\\' => text.push(chars.next()?),
            '"' => return None,
            char => text.push(char),
        }
    }
    Some(text)
}

/// An address with or without a port; one of IPv6 may have brackets, and needs them before a port.
fn node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (IpAddr::V6(address.parse().ok()?), port.strip_prefix(':').or(port.is_empty().then_some("0"))?)
        }
        None => {
            let (address, port) = text.split_once(':')?;
            (IpAddr::V4(address.parse().ok()?), port)
        }
    };
    // Ports may be hidden behind a name (RFC 7239 §6.2).
    let is_port = port.parse::<u16>().is_ok() || port.starts_with('_');
    is_port.then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn client(header: ForwardingHeader, peer: &str, lines: &[&str]) -> String {
        let proxies = TrustedProxies::parse(["10.0.0.0/8", "fd00::/8", "192.0.2.7"], header).unwrap();
        let name = if header == ForwardingHeader::Forwarded { FORWARDED } else { X_FORWARDED_FOR };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&name, HeaderValue::from_str(line).unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_walk_ends_at_the_first_who_is_not_trusted() {
        for (peer, lines, expected) in [
            ("10.0.0.1", &["203.0.113.9"][..], "203.0.113.9"),
            ("10.0.0.1", &["spoofed, 1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.9", "192.0.2.7"], "203.0.113.9"),
            ("203.0.113.9", &["1.1.1.1"], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["1.1.1.1, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["1.1.1.1, "], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
        ] {
            assert_eq!(client(ForwardingHeader::XForwardedFor, peer, lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_with_its_quotes() {
        for (line, expected) in [
            ("for=203.0.113.9", "203.0.113.9"),
            ("For=\"[2001:db8::1]:4711\";proto=http;by=10.0.0.1", "2001:db8::1"),
            ("for=1.1.1.1, for=203.0.113.9; host=\"a,for=2.2.2.2\"", "203.0.113.9"),
            ("for=203.0.113.9;by=\"a\\\",for=3.3.3.3;\"", "203.0.113.9"),
            ("for=\"203.0.113.9:_port\"", "203.0.113.9"),
            ("for=\"203\\.0.113.9\"", "203.0.113.9"),
            ("for=1.1.1.1, for=unknown", "10.0.0.1"),
            ("for=1.1.1.1, for=_hidden", "10.0.0.1"),
            ("for=1.1.1.1, proto=http", "10.0.0.1"),
            ("for=1.1.1.1;for=2.2.2.2", "10.0.0.1"),
            ("for=\"203.0.113.9", "10.0.0.1"),
            ("for=\"1.1.1.1, for=203.0.113.9", "203.0.113.9"),
            ("for=\"1.1.1.1\\, for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=2001:db8::1]", "10.0.0.1"),
        ] {
            assert_eq!(client(ForwardingHeader::Forwarded, "10.0.0.1", &[line]), expected, "{line}");
        }
    }

    #[test]
    fn the_header_that_was_not_named_is_not_read() {
        let proxies = TrustedProxies::parse(["10.0.0.1"], ForwardingHeader::XForwardedFor).unwrap();
        let headers = HeaderMap::from_iter([(FORWARDED, HeaderValue::from_static("for=1.1.1.1"))]);
        assert_eq!(proxies.client("10.0.0.1".parse().unwrap(), &headers).to_string(), "10.0.0.1");
    }

    #[test]
    fn only_networks_can_be_trusted() {
        for text in ["", "*", "10.0.0.0/33", "10.0.0", "proxy.example"] {
            let refused = TrustedProxies::parse([text], ForwardingHeader::default()).unwrap_err();
            assert_eq!(refused, InvalidNetwork(text.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn any_header_gives_an_address(line in "[ -~]{0,60}", is_forwarded in any::<bool>()) {
            let header = if is_forwarded { ForwardingHeader::Forwarded } else { ForwardingHeader::XForwardedFor };
            let _ = client(header, "10.0.0.1", &[&line]);
        }

        #[test]
        fn a_client_can_not_change_what_the_proxy_has_written(spoofed in "[ -~]{0,40}") {
            for (header, written) in [
                (ForwardingHeader::XForwardedFor, "203.0.113.9"),
                (ForwardingHeader::Forwarded, "for=203.0.113.9"),
                (ForwardingHeader::Forwarded, "proto=http;for=\"203.0.113.9:80\""),
            ] {
                let line = format!("{spoofed}, {written}");
                prop_assert_eq!(client(header, "10.0.0.1", &[&line]), "203.0.113.9");
            }
        }
    }
}
