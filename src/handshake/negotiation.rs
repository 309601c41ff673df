//! What permessage-deflate's parameters mean in an offer and in its answer (RFC 7692 §5, §7.1).
//!
//! A server declines an offer that it can't use and looks at the next one; a client fails the connection over an answer
//! that isn't one to its offer.

use std::fmt::Write;

use super::extensions::{Extension, ExtensionError};
use crate::proto::deflate::{DeflateConfig, DeflateParams};

/// The server's answer to the first offer that it can use: what was agreed, and the header that says so.
pub(super) fn answer(offers: &[Extension<'_>], config: &DeflateConfig) -> Option<(DeflateParams, String)> {
    let offers = offers.iter().filter(|offer| is_deflate(offer));
    offers
        .filter_map(|offer| Parameters::read(offer, Side::Offer).ok())
        .map(|offer| agree(&offer, config))
        .next()
}

/// The header with which a client offers permessage-deflate.
///
/// `client_max_window_bits` without a value lets the server name any window; a window smaller than the largest is
/// asked for only if the configuration has one.
pub(super) fn offer(config: &DeflateConfig) -> String {
    let mut text = String::from(NAME);
    text.push_str("; client_max_window_bits");
    put_bits(&mut text, "", config.client_max_window_bits);
    put_bits(&mut text, "; server_max_window_bits", config.server_max_window_bits);
    text
}

/// What a server's answer agrees to; `offered` is `None` if the client didn't offer permessage-deflate.
///
/// # Errors
///
/// Any [`ExtensionError`]: an answer that doesn't fit its offer fails the connection (RFC 7692 §5.2, §7.1).
pub(super) fn check_answer(
    answer: &[Extension<'_>],
    offered: Option<&DeflateConfig>,
) -> Result<Option<DeflateParams>, ExtensionError> {
    if let Some(other) = answer.iter().find(|extension| offered.is_none() || !is_deflate(extension)) {
        return Err(ExtensionError::NotOffered(other.name.to_owned()));
    }
    match (answer, offered) {
        ([accepted], Some(config)) => accepted_params(accepted, config).map(Some),
        ([_, _, ..], _) => Err(ExtensionError::Repeated),
        _ => Ok(None),
    }
}

fn accepted_params(
    accepted: &Extension<'_>,
    config: &DeflateConfig,
) -> Result<DeflateParams, ExtensionError> {
    let parameters = Parameters::read(accepted, Side::Answer)?;
    let offered = clamp(config.server_max_window_bits);
    let server_max_window_bits = parameters.server_max_window_bits.unwrap_or(MAX_BITS);
    if server_max_window_bits > offered {
        return Err(ExtensionError::WindowTooLarge { offered });
    }
    Ok(DeflateParams {
        server_no_context_takeover: parameters.server_no_context_takeover,
        client_no_context_takeover: parameters.client_no_context_takeover,
        server_max_window_bits,
        // Our window may always be smaller than what the server can take.
        client_max_window_bits: parameters.client_window().min(clamp(config.client_max_window_bits)),
    })
}

/// The parameters of one extension, each checked by itself.
#[derive(Clone, Copy, Debug, Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// `Some(None)` is the parameter without a value, which only an offer may have.
    client_max_window_bits: Option<Option<u8>>,
}

/// Whether parameters are read from a client's offer or a server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Offer,
    Answer,
}

impl Parameters {
    fn read(extension: &Extension<'_>, side: Side) -> Result<Self, ExtensionError> {
        let mut read = Self::default();
        for parameter in &extension.parameters {
            let value = parameter.value.as_deref();
            let name = PARAMETERS.into_iter().find(|known| known.eq_ignore_ascii_case(parameter.name));
            let Some(name) = name else {
                return Err(ExtensionError::UnknownParameter(parameter.name.to_owned()));
            };
            if read.has(name) {
                return Err(ExtensionError::RepeatedParameter(name));
            }
            read.set(name, value, side).ok_or(ExtensionError::InvalidValue(name))?;
        }
        Ok(read)
    }

    fn has(&self, name: &str) -> bool {
        match name {
            SERVER_NO_CONTEXT_TAKEOVER => self.server_no_context_takeover,
            CLIENT_NO_CONTEXT_TAKEOVER => self.client_no_context_takeover,
            SERVER_MAX_WINDOW_BITS => self.server_max_window_bits.is_some(),
            _ => self.client_max_window_bits.is_some(),
        }
    }

    /// Stores a parameter; `None` if the value is none that it can have.
    fn set(&mut self, name: &str, value: Option<&str>, side: Side) -> Option<()> {
        match (name, value) {
            (SERVER_NO_CONTEXT_TAKEOVER, None) => self.server_no_context_takeover = true,
            (CLIENT_NO_CONTEXT_TAKEOVER, None) => self.client_no_context_takeover = true,
            (SERVER_MAX_WINDOW_BITS, Some(value)) => self.server_max_window_bits = Some(window_bits(value)?),
            (CLIENT_MAX_WINDOW_BITS, Some(value)) => {
                self.client_max_window_bits = Some(Some(window_bits(value)?))
            }
            (CLIENT_MAX_WINDOW_BITS, None) if side == Side::Offer => self.client_max_window_bits = Some(None),
            _ => return None,
        }
        Some(())
    }

    fn client_window(&self) -> u8 {
        self.client_max_window_bits.flatten().unwrap_or(MAX_BITS)
    }
}

fn agree(offer: &Parameters, config: &DeflateConfig) -> (DeflateParams, String) {
    // Without client_max_window_bits in the offer the client can't be told to shrink its window (§7.1.2.2); a
    // decompressor of the largest window costs no more than another.
    let client_max_window_bits = match offer.client_max_window_bits {
        Some(_) => offer.client_window().min(clamp(config.client_max_window_bits)),
        None => MAX_BITS,
    };
    let params = DeflateParams {
        server_no_context_takeover: offer.server_no_context_takeover || !config.takeover,
        client_no_context_takeover: offer.client_no_context_takeover || !config.takeover,
        server_max_window_bits: offer
            .server_max_window_bits
            .unwrap_or(MAX_BITS)
            .min(clamp(config.server_max_window_bits)),
        client_max_window_bits,
    };
    let mut text = String::from(NAME);
    if params.server_no_context_takeover {
        text.push_str("; server_no_context_takeover");
    }
    if params.client_no_context_takeover {
        text.push_str("; client_no_context_takeover");
    }
    if offer.server_max_window_bits == Some(MAX_BITS) && params.server_max_window_bits == MAX_BITS {
        // An offer with this parameter is accepted by repeating it (§7.1.2.1), even where it says nothing.
        text.push_str("; server_max_window_bits=15");
    }
    put_bits(&mut text, "; server_max_window_bits", params.server_max_window_bits);
    put_bits(&mut text, "; client_max_window_bits", params.client_max_window_bits);
    (params, text)
}

/// Writes `name=bits` unless `bits` is what holds without it.
fn put_bits(text: &mut String, name: &str, bits: u8) {
    let bits = clamp(bits);
    if bits < MAX_BITS {
        write!(text, "{name}={bits}").expect("a String grows as needed");
    }
}

/// A decimal number from 8 to 15 without leading zeros (RFC 7692 §7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    match value {
        "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15" => value.parse().ok(),
        _ => None,
    }
}

/// A configuration may hold any number; the nearest one that exists is meant.
fn clamp(bits: u8) -> u8 {
    bits.clamp(MIN_BITS, MAX_BITS)
}

fn is_deflate(extension: &Extension<'_>) -> bool {
    extension.name.eq_ignore_ascii_case(NAME)
}

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";
const PARAMETERS: [&str; 4] =
    [SERVER_NO_CONTEXT_TAKEOVER, CLIENT_NO_CONTEXT_TAKEOVER, SERVER_MAX_WINDOW_BITS, CLIENT_MAX_WINDOW_BITS];

const MIN_BITS: u8 = 8;
const MAX_BITS: u8 = 15;

#[cfg(test)]
mod tests {
    use super::super::extensions::parse;
    use super::*;
    use http::header::SEC_WEBSOCKET_EXTENSIONS;
    use http::{HeaderMap, HeaderValue};

    fn headers(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_str(text).unwrap())])
    }

    fn answered(text: &str, config: &DeflateConfig) -> Option<String> {
        answer(&parse(&headers(text)).unwrap(), config).map(|(_, text)| text)
    }

    fn checked(text: &str, config: &DeflateConfig) -> Result<Option<DeflateParams>, ExtensionError> {
        check_answer(&parse(&headers(text))?, Some(config))
    }

    fn takeover() -> DeflateConfig {
        DeflateConfig { takeover: true, ..DeflateConfig::default() }
    }

    #[test]
    fn by_default_no_context_is_kept() {
        assert_eq!(
            answered("permessage-deflate; client_max_window_bits", &DeflateConfig::default()).unwrap(),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        );
    }

    #[test]
    fn the_offers_parameters_are_honoured() {
        let cases = [
            ("permessage-deflate", ""),
            ("PERMESSAGE-DEFLATE; Server_No_Context_Takeover", "; server_no_context_takeover"),
            ("permessage-deflate; client_no_context_takeover", "; client_no_context_takeover"),
            ("permessage-deflate; server_max_window_bits=10", "; server_max_window_bits=10"),
            ("permessage-deflate; server_max_window_bits=\"8\"", "; server_max_window_bits=8"),
            ("permessage-deflate; server_max_window_bits=15", "; server_max_window_bits=15"),
            ("permessage-deflate; client_max_window_bits=9", "; client_max_window_bits=9"),
            ("permessage-deflate; client_max_window_bits=15", ""),
        ];
        for (offer, rest) in cases {
            assert_eq!(answered(offer, &takeover()), Some(format!("{NAME}{rest}")), "{offer}");
        }
    }

    #[test]
    fn the_configurations_windows_are_asked_for_where_that_is_allowed() {
        let small = DeflateConfig { server_max_window_bits: 9, client_max_window_bits: 10, ..takeover() };
        let cases = [
            ("permessage-deflate", "; server_max_window_bits=9"),
            ("permessage-deflate; server_max_window_bits=15", "; server_max_window_bits=9"),
            (
                "permessage-deflate; client_max_window_bits",
                "; server_max_window_bits=9; client_max_window_bits=10",
            ),
            (
                "permessage-deflate; client_max_window_bits=8",
                "; server_max_window_bits=9; client_max_window_bits=8",
            ),
        ];
        for (offer, rest) in cases {
            assert_eq!(answered(offer, &small), Some(format!("{NAME}{rest}")), "{offer}");
        }
        let offers = headers("permessage-deflate");
        assert_eq!(answer(&parse(&offers).unwrap(), &small).unwrap().0.client_max_window_bits, 15);
    }

    #[test]
    fn an_offer_that_cannot_be_used_is_declined_and_the_next_one_tried() {
        let unusable = [
            "unknown",
            "server_no_context_takeover=1",
            "server_no_context_takeover; server_no_context_takeover",
            "client_max_window_bits; client_max_window_bits=10",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=08",
            "client_max_window_bits=1000000000000",
            "client_max_window_bits=ten",
        ];
        for parameters in unusable {
            let offer = format!("x-other; a=b, permessage-deflate; {parameters}");
            assert_eq!(answered(&offer, &takeover()), None, "{offer}");
            let next = format!("{offer}, permessage-deflate; server_max_window_bits=12");
            let expected = "permessage-deflate; server_max_window_bits=12";
            assert_eq!(answered(&next, &takeover()).as_deref(), Some(expected), "{next}");
        }
    }

    #[test]
    fn the_clients_offer_names_what_it_can_do() {
        assert_eq!(offer(&DeflateConfig::default()), "permessage-deflate; client_max_window_bits");
        let small = DeflateConfig { server_max_window_bits: 10, client_max_window_bits: 3, ..takeover() };
        assert_eq!(offer(&small), "permessage-deflate; client_max_window_bits=8; server_max_window_bits=10");
    }

    #[test]
    fn an_answer_is_read_whole() {
        let text = "permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits=12";
        let agreed = checked(text, &DeflateConfig::default()).unwrap().unwrap();
        let expected = DeflateParams {
            server_no_context_takeover: true,
            client_no_context_takeover: false,
            server_max_window_bits: 9,
            client_max_window_bits: 12,
        };
        assert_eq!(agreed, expected);
    }

    #[test]
    fn an_answer_that_fits_no_offer_fails() {
        use ExtensionError as E;
        let small = DeflateConfig { server_max_window_bits: 10, ..takeover() };
        let cases = [
            ("x-other", E::NotOffered("x-other".into())),
            ("permessage-deflate; server_max_window_bits=9, x-other", E::NotOffered("x-other".into())),
            ("permessage-deflate, permessage-deflate", E::Repeated),
            ("permessage-deflate; a", E::UnknownParameter("a".into())),
            (
                "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
                E::RepeatedParameter(CLIENT_NO_CONTEXT_TAKEOVER),
            ),
            ("permessage-deflate; client_max_window_bits", E::InvalidValue(CLIENT_MAX_WINDOW_BITS)),
            ("permessage-deflate; client_max_window_bits=16", E::InvalidValue(CLIENT_MAX_WINDOW_BITS)),
            ("permessage-deflate; server_max_window_bits", E::InvalidValue(SERVER_MAX_WINDOW_BITS)),
            ("permessage-deflate; server_max_window_bits=11", E::WindowTooLarge { offered: 10 }),
            ("permessage-deflate", E::WindowTooLarge { offered: 10 }),
            ("permessage-deflate;", E::Malformed),
        ];
        for (text, expected) in cases {
            assert_eq!(checked(text, &small), Err(expected), "{text}");
        }
        let extensions = headers("permessage-deflate");
        let refused = check_answer(&parse(&extensions).unwrap(), None);
        assert_eq!(refused, Err(E::NotOffered(NAME.into())));
    }
}
