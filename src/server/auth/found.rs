//! Where a token stands in a request.

use std::fmt;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

use crate::server::http::bearer;

use super::TokenError;

/// A token as it came, not yet verified. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// The longest token: a head holds 16 KiB in all.
const MAX_TOKEN_BYTES: usize = 8 << 10;

impl Token {
    /// Takes a text for a token.
    ///
    /// # Errors
    ///
    /// [`TokenError::TooLong`] or [`TokenError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_token = text.bytes().all(is_char) && text.split('.').count() == 3;
        if is_token { Ok(Self(text.to_owned())) } else { Err(TokenError::Malformed) }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where a token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `Authorization: Bearer`.
    Header,
    /// A subprotocol that was offered: all that a page's script can send.
    Subprotocol,
    /// A cookie, which a browser sends for any page: such a request must bear an `Origin` that is let in.
    Cookie,
}

/// A token and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundToken {
    /// The token.
    pub token: Token,
    /// Where it came from.
    pub source: Source,
}

/// Where tokens are looked for.
#[derive(Clone, Debug, Default)]
pub struct TokenPlaces {
    /// The cookie that may hold one; none by default.
    pub cookie: Option<String>,
}

/// What stands before a token that is offered as a subprotocol. The server never chooses such a one, so the token
/// doesn't come back in its answer.
const SUBPROTOCOL: &str = "switchboard.token.";

impl TokenPlaces {
    /// The token in a request's head: in `Authorization`, else in `offered` subprotocols, else in the cookie.
    ///
    /// # Errors
    ///
    /// [`TokenError::Repeated`] if one place has two; [`TokenError::Malformed`] or [`TokenError::TooLong`] if what is there
    /// is no token.
    pub fn find(&self, headers: &HeaderMap, offered: &[String]) -> Result<Option<FoundToken>, TokenError> {
        let places = [
            (Source::Header, in_header(headers)?),
            (Source::Subprotocol, only(offered.iter().filter_map(|offer| offer.strip_prefix(SUBPROTOCOL)))?),
            (Source::Cookie, self.in_cookie(headers)?),
        ];
        let Some((source, text)) = places.into_iter().find_map(|(source, text)| Some((source, text?))) else {
            return Ok(None);
        };
        Ok(Some(FoundToken { token: Token::parse(text)?, source }))
    }

    fn in_cookie<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a str>, TokenError> {
        let Some(name) = &self.cookie else { return Ok(None) };
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        // Another host of the same domain may have set a second one (RFC 6265 §8.6).
        only(pairs.filter(|(other, _)| other == name).map(|(_, value)| value.trim_matches('"')))
    }
}

fn in_header(headers: &HeaderMap) -> Result<Option<&str>, TokenError> {
    match headers.get_all(AUTHORIZATION).iter().count() {
        0 => Ok(None),
        // Another scheme is somebody else's business, such as a proxy's.
        1 => Ok(bearer(headers)),
        _ => Err(TokenError::Repeated),
    }
}

fn only<'a>(mut texts: impl Iterator<Item = &'a str>) -> Result<Option<&'a str>, TokenError> {
    match (texts.next(), texts.next()) {
        (text, None) => Ok(text),
        _ => Err(TokenError::Repeated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn find(
        fields: &[(http::HeaderName, &'static str)],
        offered: &[&str],
    ) -> Result<Option<(Source, String)>, TokenError> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        let offered: Vec<String> = offered.iter().map(|&offer| offer.to_owned()).collect();
        let places = TokenPlaces { cookie: Some("session".to_owned()) };
        let found = places.find(&headers, &offered)?;
        Ok(found.map(|found| (found.source, found.token.as_str().to_owned())))
    }

    #[test]
    fn each_place_is_looked_at_in_turn() {
        let header = (AUTHORIZATION, "Bearer h.h.h");
        let cookie = (COOKIE, "a=b; session=\"c.c.c\"; session2=x");
        let offered = ["switchboard.v1.json", "switchboard.token.s.s.s"];
        assert_eq!(
            find(&[header.clone(), cookie.clone()], &offered),
            Ok(Some((Source::Header, "h.h.h".into())))
        );
        assert_eq!(
            find(std::slice::from_ref(&cookie), &offered),
            Ok(Some((Source::Subprotocol, "s.s.s".into())))
        );
        assert_eq!(find(&[cookie], &["switchboard.v1.json"]), Ok(Some((Source::Cookie, "c.c.c".into()))));
        assert_eq!(find(&[(AUTHORIZATION, "Basic abc")], &[]), Ok(None));
    }

    #[test]
    fn two_in_one_place_are_refused() {
        let twice = [(AUTHORIZATION, "Bearer a.a.a"), (AUTHORIZATION, "Bearer b.b.b")];
        assert_eq!(find(&twice, &[]), Err(TokenError::Repeated));
        assert_eq!(find(&[(COOKIE, "session=a.a.a; session=b.b.b")], &[]), Err(TokenError::Repeated));
        let offered = ["switchboard.token.a.a.a", "switchboard.token.b.b.b"];
        assert_eq!(find(&[], &offered), Err(TokenError::Repeated));
    }

    #[test]
    fn what_has_not_the_form_of_a_token_is_refused() {
        for text in ["", "a", "a.b", "a.b.c.d", "a.b.c=", "a.b.c d", "a.b.\u{e9}"] {
            assert_eq!(Token::parse(text), Err(TokenError::Malformed), "{text:?}");
        }
        assert_eq!(Token::parse(&"a".repeat(MAX_TOKEN_BYTES + 1)), Err(TokenError::TooLong));
    }

    #[test]
    fn a_token_is_not_shown() {
        assert_eq!(format!("{:?}", Token::parse("a.b.c").unwrap()), "Token(…)");
    }
}
