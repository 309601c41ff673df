//! `Sec-WebSocket-Extensions`: its grammar, and the negotiation of permessage-deflate (RFC 6455 §9.1, RFC 7692 §7.1).

use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::{HeaderMap, HeaderValue};

use super::head::is_token_char;
use crate::proto::deflate::{DeflateConfig, DeflateParams};

/// An extension with its parameters, as offered or accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Extension {
    name: String,
    params: Vec<(String, Option<String>)>,
}

/// The header isn't a list of extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

const DEFLATE: &str = "permessage-deflate";

/// What the server answers to the offers in `headers`, and what that means: `None` is no compression.
///
/// An offer that can't be met is declined, and the next one tried (RFC 7692 §5).
pub(super) fn negotiate(
    headers: &HeaderMap,
    config: Option<&DeflateConfig>,
) -> Result<Option<(HeaderValue, DeflateParams)>, Malformed> {
    let offers = parse_all(headers)?;
    let Some(config) = config.filter(|_| cfg!(feature = "deflate")) else { return Ok(None) };
    Ok(offers.iter().filter(|offer| offer.name.eq_ignore_ascii_case(DEFLATE)).find_map(|offer| meet(offer, config)))
}

/// The answer to one offer, unless it has to be declined.
fn meet(offer: &Extension, config: &DeflateConfig) -> Option<(HeaderValue, DeflateParams)> {
    let offer = Params::parse(offer, Side::Offer)?;
    let mut answer = String::from(DEFLATE);
    let params = DeflateParams {
        // What the client asks of us we do (§7.1.1.1); what costs it nothing we ask of it.
        server_no_context_takeover: offer.server_no_context_takeover || !config.takeover,
        client_no_context_takeover: offer.client_no_context_takeover || !config.takeover,
        server_max_window_bits: offer.server_bits.unwrap_or(15).min(config.server_max_window_bits),
        // Only a client that says so can be asked to use a smaller window (§7.1.2.2).
        client_max_window_bits: match offer.client_bits {
            None => 15,
            Some(limit) => limit.unwrap_or(15).min(config.client_max_window_bits),
        },
    };
    if params.server_no_context_takeover {
        answer.push_str("; server_no_context_takeover");
    }
    if params.client_no_context_takeover {
        answer.push_str("; client_no_context_takeover");
    }
    if offer.server_bits.is_some() || params.server_max_window_bits < 15 {
        answer.push_str(&format!("; server_max_window_bits={}", params.server_max_window_bits));
    }
    if params.client_max_window_bits < 15 {
        answer.push_str(&format!("; client_max_window_bits={}", params.client_max_window_bits));
    }
    let answer = HeaderValue::try_from(answer).expect("tokens and digits are a header's value");
    Some((answer, params))
}

/// A client's offer.
pub(super) fn offer(config: &DeflateConfig) -> HeaderValue {
    let mut offer = String::from(DEFLATE);
    if config.server_max_window_bits < 15 {
        offer.push_str(&format!("; server_max_window_bits={}", config.server_max_window_bits));
    }
    offer.push_str("; client_max_window_bits");
    if config.client_max_window_bits < 15 {
        offer.push_str(&format!("={}", config.client_max_window_bits));
    }
    HeaderValue::try_from(offer).expect("tokens and digits are a header's value")
}

/// Why a client can't take a server's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadAnswer {
    NotOffered,
    Params,
}

/// What a server's answer to our offer means.
pub(super) fn check_answer(
    headers: &HeaderMap,
    config: Option<&DeflateConfig>,
) -> Result<Option<DeflateParams>, BadAnswer> {
    let accepted = parse_all(headers).map_err(|Malformed| BadAnswer::Params)?;
    let (extension, config) = match (accepted.as_slice(), config) {
        ([], _) => return Ok(None),
        ([one], Some(config)) if one.name.eq_ignore_ascii_case(DEFLATE) => (one, config),
        _ => return Err(BadAnswer::NotOffered),
    };
    let answer = Params::parse(extension, Side::Answer).ok_or(BadAnswer::Params)?;
    let server_bits = answer.server_bits.unwrap_or(15);
    // A server that was given a limit has to say that it keeps it (§7.1.2.1).
    if server_bits > config.server_max_window_bits {
        return Err(BadAnswer::Params);
    }
    let client_bits = answer.client_bits.flatten().unwrap_or(15).min(config.client_max_window_bits);
    Ok(Some(DeflateParams {
        server_no_context_takeover: answer.server_no_context_takeover,
        client_no_context_takeover: answer.client_no_context_takeover,
        server_max_window_bits: server_bits,
        client_max_window_bits: client_bits,
    }))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Offer,
    Answer,
}

/// The parameters of permessage-deflate (RFC 7692 §7.1).
#[derive(Default)]
struct Params {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_bits: Option<u8>,
    /// In an offer it may stand without a value.
    client_bits: Option<Option<u8>>,
}

impl Params {
    /// `None` for a parameter that is unknown, repeated, or has a value that it can't have.
    fn parse(extension: &Extension, side: Side) -> Option<Self> {
        let mut params = Self::default();
        for (name, value) in &extension.params {
            let is_new = match (name.to_ascii_lowercase().as_str(), value.as_deref()) {
                ("server_no_context_takeover", None) => {
                    !std::mem::replace(&mut params.server_no_context_takeover, true)
                }
                ("client_no_context_takeover", None) => {
                    !std::mem::replace(&mut params.client_no_context_takeover, true)
                }
                ("server_max_window_bits", Some(bits)) => params.server_bits.replace(parse_bits(bits)?).is_none(),
                ("client_max_window_bits", Some(bits)) => {
                    params.client_bits.replace(Some(parse_bits(bits)?)).is_none()
                }
                ("client_max_window_bits", None) if side == Side::Offer => params.client_bits.replace(None).is_none(),
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(params)
    }
}

/// 8–15 without a leading zero (RFC 7692 §7.1.2).
fn parse_bits(value: &str) -> Option<u8> {
    match value {
        "8" => Some(8),
        "9" => Some(9),
        "10" => Some(10),
        "11" => Some(11),
        "12" => Some(12),
        "13" => Some(13),
        "14" => Some(14),
        "15" => Some(15),
        _ => None,
    }
}

/// All extensions of all lines, in order.
fn parse_all(headers: &HeaderMap) -> Result<Vec<Extension>, Malformed> {
    let mut extensions = Vec::new();
    for line in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
        parse_line(line.as_bytes(), &mut extensions)?;
    }
    Ok(extensions)
}

fn parse_line(line: &[u8], extensions: &mut Vec<Extension>) -> Result<(), Malformed> {
    let mut rest = Rest(line);
    loop {
        rest.skip_space();
        // Empty items of a list are forgiven (RFC 9110 §5.6.1).
        if rest.take(b',') {
            continue;
        }
        if rest.0.is_empty() {
            return Ok(());
        }
        let mut extension = Extension { name: rest.token()?, params: Vec::new() };
        rest.skip_space();
        while rest.take(b';') {
            rest.skip_space();
            let name = rest.token()?;
            rest.skip_space();
            let value = if rest.take(b'=') { Some(rest.value()?) } else { None };
            rest.skip_space();
            extension.params.push((name, value));
        }
        extensions.push(extension);
        if !rest.0.is_empty() && !rest.take(b',') {
            return Err(Malformed);
        }
    }
}

/// What isn't parsed yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn skip_space(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.0.first() == Some(&byte);
        if is_next {
            self.0 = &self.0[1..];
        }
        is_next
    }

    fn token(&mut self) -> Result<String, Malformed> {
        let len = self.0.iter().position(|&byte| !is_token_char(byte)).unwrap_or(self.0.len());
        if len == 0 {
            return Err(Malformed);
        }
        let (token, rest) = self.0.split_at(len);
        self.0 = rest;
        Ok(token.iter().map(|&byte| char::from(byte)).collect())
    }

    /// A token, or a quoted one (RFC 6455 §9.1).
    fn value(&mut self) -> Result<String, Malformed> {
        self.skip_space();
        if !self.take(b'"') {
            return self.token();
        }
        let mut value = String::new();
        loop {
            let (&byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            match byte {
                b'"' if !value.is_empty() => return Ok(value),
                b'\\' => {
                    let (&escaped, rest) = self.0.split_first().ok_or(Malformed)?;
                    self.0 = rest;
                    value.push(token_char(escaped)?);
                }
                byte => value.push(token_char(byte)?),
            }
        }
    }
}

fn token_char(byte: u8) -> Result<char, Malformed> {
    if is_token_char(byte) { Ok(char::from(byte)) } else { Err(Malformed) }
}

/// Runs both sides' parsers over one header line, for the fuzz target. What a client accepts is in bounds.
#[doc(hidden)]
pub fn fuzz_extensions(line: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(line) else { return };
    let headers = HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, value)]);
    let config = DeflateConfig::default();
    if let Ok(Some((answer, params))) = negotiate(&headers, Some(&config)) {
        let answer = HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, answer)]);
        let ours = Params::parse(&parse_all(&answer).expect("our answer is a list")[0], Side::Answer);
        assert!(ours.is_some(), "a client takes what we answer");
        assert!((8..=15).contains(&params.server_max_window_bits));
        assert!((8..=15).contains(&params.client_max_window_bits));
    }
    if let Ok(Some(params)) = check_answer(&headers, Some(&config)) {
        assert!((8..=15).contains(&params.server_max_window_bits));
        assert!((8..=15).contains(&params.client_max_window_bits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| (SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_str(line).unwrap()))
            .collect()
    }

    fn answer(lines: &[&str], config: &DeflateConfig) -> Result<Option<String>, Malformed> {
        let negotiated = negotiate(&headers(lines), Some(config))?;
        Ok(negotiated.map(|(answer, _)| answer.to_str().unwrap().to_owned()))
    }

    #[test]
    fn offers_are_met_or_declined_one_by_one() {
        let none = DeflateConfig::default();
        let takeover = DeflateConfig { takeover: true, ..none };
        let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        for (config, offer, expected) in [
            (&none, "permessage-deflate", Some(both.to_owned())),
            (&takeover, "permessage-deflate", Some("permessage-deflate".to_owned())),
            (&takeover, "PERMESSAGE-DEFLATE; client_max_window_bits", Some("permessage-deflate".into())),
            (
                &takeover,
                "permessage-deflate; server_max_window_bits=\"10\"; client_max_window_bits=8",
                Some("permessage-deflate; server_max_window_bits=10; client_max_window_bits=8".into()),
            ),
            (&takeover, "permessage-deflate; server_max_window_bits", None),
            (&takeover, "permessage-deflate; server_max_window_bits=7", None),
            (&takeover, "permessage-deflate; server_max_window_bits=016", None),
            (&takeover, "permessage-deflate; client_no_context_takeover=1", None),
            (&takeover, "permessage-deflate; client_max_window_bits; client_max_window_bits", None),
            (&takeover, "permessage-deflate; unknown", None),
            (&takeover, "permessage-deflate; unknown, permessage-deflate", Some("permessage-deflate".into())),
            (&takeover, "x-webkit-deflate-frame; a=b", None),
            (&takeover, ", ,", None),
        ] {
            assert_eq!(answer(&[offer], config), Ok(expected), "{offer}");
        }
        assert_eq!(answer(&["foo; bar", "permessage-deflate"], &takeover), Ok(Some("permessage-deflate".into())));
    }

    #[test]
    fn a_window_is_limited_only_for_clients_that_can() {
        let config = DeflateConfig { takeover: true, client_max_window_bits: 10, ..DeflateConfig::default() };
        assert_eq!(answer(&["permessage-deflate"], &config), Ok(Some("permessage-deflate".into())));
        let limited = Ok(Some("permessage-deflate; client_max_window_bits=10".into()));
        assert_eq!(answer(&["permessage-deflate; client_max_window_bits"], &config), limited);
    }

    #[test]
    fn what_is_no_list_is_malformed() {
        for line in ["permessage-deflate; ", "a b", "a;=1", "a; b=", "a; b=\"\"", "a; b=\"x", "a; b=\"x y\"", "\"a\"", "a;b==c"] {
            assert_eq!(answer(&[line], &DeflateConfig::default()), Err(Malformed), "{line}");
        }
    }

    #[test]
    fn a_client_takes_only_what_answers_its_offer() {
        let config = DeflateConfig { server_max_window_bits: 12, ..DeflateConfig::default() };
        let check = |line| check_answer(&headers(&[line]), Some(&config));
        assert!(check("permessage-deflate; server_max_window_bits=12; client_max_window_bits=9").is_ok());
        for line in [
            "permessage-deflate",
            "permessage-deflate; server_max_window_bits=13",
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=12; server_max_window_bits=12",
            "permessage-deflate; server_max_window_bits=12; foo",
        ] {
            assert_eq!(check(line), Err(BadAnswer::Params), "{line}");
        }
        for line in ["foo", "permessage-deflate; server_max_window_bits=12, permessage-deflate"] {
            assert_eq!(check(line), Err(BadAnswer::NotOffered), "{line}");
        }
        assert_eq!(check_answer(&headers(&["permessage-deflate"]), None), Err(BadAnswer::NotOffered));
        assert_eq!(check_answer(&headers(&[]), Some(&config)), Ok(None));
    }
}
