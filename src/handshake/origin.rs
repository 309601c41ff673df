//! Which pages may connect: the `Origin` rule (RFC 6455 §4.2.2, §10.2; RFC 6454 §6.2).
//!
//! A browser sends cookies along with any page's WebSocket request, and only `Origin` tells whose page it was: a server
//! that doesn't look lets every site act in its visitors' names. A client that is no browser may send what it likes,
//! so this protects users, not the server.

use super::authority::Authority;

/// Which origins are let in.
///
/// The default is [`OriginPolicy::same_host`].
///
/// ```
/// use switchboard::handshake::OriginPolicy;
///
/// let origins = OriginPolicy::same_host().allow("https://app.example.com")?;
/// # Ok::<(), switchboard::handshake::InvalidOrigin>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginPolicy {
    admits_any: bool,
    allowed: Vec<Origin>,
}

impl OriginPolicy {
    /// Lets in whoever comes: for services that need no cookie and no trusted address.
    pub fn any() -> Self {
        Self { admits_any: true, allowed: Vec::new() }
    }

    /// Lets in who sends no `Origin`, and so is no browser, and pages of the host and port in `Host`.
    pub fn same_host() -> Self {
        Self::default()
    }

    /// Lets in `origin` too: exactly `scheme://host[:port]`, or `*` for any.
    ///
    /// # Errors
    ///
    /// [`InvalidOrigin`] if it is neither.
    pub fn allow(mut self, origin: &str) -> Result<Self, InvalidOrigin> {
        match origin {
            "*" => self.admits_any = true,
            // A star is legal in a host's name, so a pattern would silently match nothing.
            _ if origin.contains('*') => return Err(InvalidOrigin(origin.to_owned())),
            _ => self.allowed.push(Origin::parse(origin).ok_or_else(|| InvalidOrigin(origin.to_owned()))?),
        }
        Ok(self)
    }

    /// Whether a request with these values of `Origin` and `Host` is let in.
    ///
    /// `null`, a list, and whatever isn't `scheme://host[:port]` is refused unless any origin is let in. A port that is
    /// left out is the one of the origin's scheme, in `Host` too: which of the two schemes the server is reached by,
    /// it can't know behind a proxy.
    pub fn admits(&self, origin: Option<&str>, host: &str) -> bool {
        if self.admits_any {
            return true;
        }
        let Some(origin) = origin else { return true };
        let Some(origin) = Origin::parse(origin) else { return false };
        self.allowed.contains(&origin) || origin.is_of_host(host)
    }
}

/// A text that is no origin was to be allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no origin: write scheme://host or scheme://host:port, with nothing behind it, or * for any"
)]
pub struct InvalidOrigin(pub String);

/// `scheme://host[:port]`, with scheme and host in lower case and the scheme's own port filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        // An empty port is legal in a URL, but no browser writes an origin so.
        if !is_scheme || authority.ends_with(':') {
            return None;
        }
        let Authority { host, port } = Authority::parse(authority)?;
        let scheme = scheme.to_ascii_lowercase();
        let port = port.or(default_port(&scheme));
        Some(Self { scheme, host, port })
    }

    /// Whether a page of this origin came from the server at `host`.
    fn is_of_host(&self, host: &str) -> bool {
        // Other schemes, such as a browser extension's, have names of another kind.
        if !matches!(&*self.scheme, "http" | "https") {
            return false;
        }
        let Some(host) = Authority::parse(host) else { return false };
        host.host == self.host && host.port.or(default_port(&self.scheme)) == self.port
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_host_takes_its_own_pages_and_whoever_is_no_browser() {
        let policy = OriginPolicy::same_host();
        let admitted = [
            (None, "example.com"),
            (Some("http://example.com"), "example.com"),
            (Some("http://example.com"), "EXAMPLE.com:80"),
            (Some("http://example.com:80"), "example.com"),
            (Some("HTTPS://Example.com"), "example.com:443"),
            (Some("http://localhost:9001"), "localhost:9001"),
            (Some("http://[0::1]:9001"), "[::1]:9001"),
        ];
        for (origin, host) in admitted {
            assert!(policy.admits(origin, host), "{origin:?} at {host}");
        }
    }

    #[test]
    fn same_host_refuses_everybody_else() {
        let policy = OriginPolicy::same_host();
        let refused = [
            "null",
            "",
            "*",
            "example.com",
            "http://example.com/",
            "http://example.com:",
            "http://example.com:8080",
            "https://example.com",
            "http://example.com.evil.org",
            "http://evil.org",
            "http://user@example.com",
            "http://example.com http://example.com",
            " http://example.com",
            "ftp://example.com:80",
            "://example.com",
            "http://example.com\0",
        ];
        for origin in refused {
            assert!(!policy.admits(Some(origin), "example.com:80"), "{origin:?}");
        }
        assert!(!policy.admits(Some("http://example.com"), "not a host"));
    }

    #[test]
    fn additions_are_compared_whole() {
        let policy = OriginPolicy::same_host().allow("https://App.example:443").unwrap();
        assert!(policy.admits(Some("https://app.example"), "api.example"));
        assert!(!policy.admits(Some("http://app.example"), "api.example"));
        assert!(!policy.admits(Some("https://app.example:444"), "api.example"));
        let extension = OriginPolicy::same_host().allow("chrome-extension://abcdef").unwrap();
        assert!(extension.admits(Some("chrome-extension://abcdef"), "x"));
        assert!(!OriginPolicy::same_host().admits(Some("chrome-extension://abcdef"), "abcdef"));
    }

    #[test]
    fn any_takes_null_and_junk() {
        for policy in [OriginPolicy::any(), OriginPolicy::same_host().allow("*").unwrap()] {
            assert!(
                policy.admits(Some("null"), "x")
                    && policy.admits(Some("\u{0}"), "")
                    && policy.admits(None, "x")
            );
        }
    }

    #[test]
    fn only_an_origin_can_be_allowed() {
        for text in ["example.com", "https://example.com/", "null", "", "https://*.example.com"] {
            assert_eq!(OriginPolicy::any().allow(text), Err(InvalidOrigin(text.to_owned())));
        }
    }
}
