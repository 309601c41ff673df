//! WebSocket URLs (RFC 6455 §3): where a client connects, and what it asks for there.

use std::str::FromStr;

use http::Uri;

use super::authority::Authority;

/// A `ws://` or `wss://` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    uri: Uri,
    authority: Authority,
    is_secure: bool,
}

impl Url {
    /// Reads a URL.
    ///
    /// User information is refused, not sent as `Authorization`: RFC 6455 has no place for it, and URLs end in logs.
    ///
    /// # Errors
    ///
    /// Any [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        // `Uri` would drop a fragment without a word.
        if text.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| UrlError::Scheme(text.to_owned()))?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" => true,
            _ => return Err(UrlError::Scheme(scheme.to_owned())),
        };
        let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        if authority.is_empty() || authority.starts_with(':') && !authority[1..].contains(':') {
            return Err(UrlError::NoHost);
        }
        let authority = Authority::parse(authority).ok_or(UrlError::InvalidHost)?;
        // Nothing listens on port 0, and no name that resolves is percent-encoded.
        if authority.port == Some(0) || authority.host.contains('%') {
            return Err(UrlError::InvalidHost);
        }
        let uri: Uri = text.parse().map_err(|_| UrlError::InvalidPath)?;
        // `Uri` lets bytes beyond ASCII through; a request line doesn't.
        let is_written =
            uri.path_and_query().is_none_or(|path| path.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
        if is_written { Ok(Self { uri, authority, is_secure }) } else { Err(UrlError::InvalidPath) }
    }

    /// Whether this is `wss://`.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The host to resolve, in lower case; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.authority.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, 80 or 443 if the URL has none.
    pub fn port(&self) -> u16 {
        self.authority.port_or(self.default_port())
    }

    /// What `Host` says: the port only where it isn't the scheme's own (RFC 6455 §4.1).
    pub fn host_header(&self) -> String {
        match self.port() {
            port if port == self.default_port() => self.authority.host.clone(),
            port => format!("{}:{port}", self.authority.host),
        }
    }

    /// Path and query, as the request line has them.
    pub fn path_and_query(&self) -> String {
        let whole = self.uri.path_and_query().map_or("", |path| path.as_str());
        // A query that is empty is none (RFC 6455 §3).
        match whole.strip_suffix('?').filter(|path| !path.contains('?')).unwrap_or(whole) {
            path if path.starts_with('/') => path.to_owned(),
            query => format!("/{query}"),
        }
    }

    /// The URL as a type of `http`.
    pub fn as_uri(&self) -> &Uri {
        &self.uri
    }

    fn default_port(&self) -> u16 {
        if self.is_secure { 443 } else { 80 }
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

impl TryFrom<&Uri> for Url {
    type Error = UrlError;

    /// # Errors
    ///
    /// Any [`UrlError`] but [`UrlError::Fragment`]: a [`Uri`] has already forgotten its fragment.
    fn try_from(uri: &Uri) -> Result<Self, UrlError> {
        Self::parse(&uri.to_string())
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.uri.fmt(f)
    }
}

/// A text that is no WebSocket URL (RFC 6455 §3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The scheme is neither `ws` nor `wss`.
    #[error("a WebSocket URL begins with ws:// or wss://, this one with {0:?}")]
    Scheme(String),
    /// There is a fragment.
    #[error("a WebSocket URL has no fragment: remove # and what follows, or write %23")]
    Fragment,
    /// There is a user name.
    #[error("a WebSocket URL has no user name or password: send an Authorization header instead")]
    UserInfo,
    /// There is no host.
    #[error("the URL has no host: write ws://host/path")]
    NoHost,
    /// The host or the port is invalid.
    #[error(
        "the URL's host or port is invalid: write non-ASCII names in their xn-- form, IPv6 addresses in brackets"
    )]
    InvalidHost,
    /// Path or query have a character that can't be there.
    #[error("the URL's path or query has a character that can't be there: percent-encode it")]
    InvalidPath,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_where_and_what() {
        let cases = [
            ("ws://example.com", "example.com", 80, "example.com", "/"),
            ("WSS://Example.com:443/Feed?a=B", "example.com", 443, "example.com", "/Feed?a=B"),
            ("ws://example.com:443/", "example.com", 443, "example.com:443", "/"),
            ("wss://[0::1]:9001?q", "::1", 9001, "[::1]:9001", "/?q"),
            ("ws://a:/x", "a", 80, "a", "/x"),
            ("ws://a/x?", "a", 80, "a", "/x"),
            ("ws://a?", "a", 80, "a", "/"),
            ("ws://a/?b?", "a", 80, "a", "/?b?"),
        ];
        for (text, host, port, header, path) in cases {
            let url = Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((url.host(), url.port()), (host, port), "{text}");
            assert_eq!((url.host_header(), url.path_and_query()), (header.into(), path.into()), "{text}");
        }
    }

    #[test]
    fn each_fault_has_its_error() {
        let cases = [
            ("http://a", UrlError::Scheme("http".into())),
            ("example.com", UrlError::Scheme("example.com".into())),
            ("ws://a/#", UrlError::Fragment),
            ("ws://user:pass@a/", UrlError::UserInfo),
            ("ws:///path", UrlError::NoHost),
            ("ws://:80/", UrlError::NoHost),
            ("ws://", UrlError::NoHost),
            ("ws://a:0/", UrlError::InvalidHost),
            ("ws://a:65536/", UrlError::InvalidHost),
            ("ws://ä/", UrlError::InvalidHost),
            ("ws://%61/", UrlError::InvalidHost),
            ("ws://::1/", UrlError::InvalidHost),
            ("ws://a\r\nX: y/", UrlError::InvalidHost),
            ("ws://a/b c", UrlError::InvalidPath),
            ("ws://a/ä", UrlError::InvalidPath),
            ("ws://a/\r\nX: y", UrlError::InvalidPath),
        ];
        for (text, expected) in cases {
            assert_eq!(Url::parse(text), Err(expected), "{text:?}");
        }
    }
}
