//! Which pages may connect (RFC 6455 §10.2).

use http::Uri;

/// The origins from which a browser may connect.
///
/// A client that is no browser sends no `Origin` and is always let in: the check protects a browser's user from
/// other pages, not the server from programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPolicy {
    is_open: bool,
    same_host: bool,
    allowed: Vec<Origin>,
}

/// A scheme, a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl OriginPolicy {
    /// Any page may connect.
    pub fn any() -> Self {
        Self { is_open: true, same_host: false, allowed: Vec::new() }
    }

    /// A page may connect to the host and port that it came from.
    pub fn same_host() -> Self {
        Self { is_open: false, same_host: true, allowed: Vec::new() }
    }

    /// Lets `origin` in too: `scheme://host[:port]`, or `*` for all.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for people.
    pub fn allow(mut self, origin: &str) -> Result<Self, String> {
        if origin == "*" {
            self.is_open = true;
        } else {
            let parsed = Origin::parse(origin)
                .ok_or_else(|| format!("{origin:?} is no origin: write scheme://host[:port], or *"))?;
            self.allowed.push(parsed);
        }
        Ok(self)
    }

    /// Whether a request with these `Origin` and `Host` headers is let in.
    pub fn allows(&self, origin: Option<&str>, host: &str) -> bool {
        let Some(origin) = origin else { return true };
        if self.is_open {
            return true;
        }
        // `null`, and whatever else is no origin, is nobody.
        let Some(origin) = Origin::parse(origin) else { return false };
        (self.same_host && origin.is_at(host)) || self.allowed.contains(&origin)
    }
}

impl Default for OriginPolicy {
    fn default() -> Self {
        Self::any()
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let is_scheme = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if scheme.is_empty() || !is_scheme || authority.contains(['/', '?', '#', '@']) {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_authority(authority)?;
        let port = port.or_else(|| default_port(&scheme))?;
        Some(Self { scheme, host, port })
    }

    /// Whether it names the same host and port as a `Host` header.
    fn is_at(&self, host: &str) -> bool {
        let Some((host, port)) = split_authority(host) else { return false };
        host == self.host && port.or_else(|| default_port(&self.scheme)) == Some(self.port)
    }
}

/// The lower-case host and the port of `host[:port]`.
pub(super) fn split_authority(authority: &str) -> Option<(String, Option<u16>)> {
    let uri: Uri = Uri::builder().scheme("http").authority(authority).path_and_query("/").build().ok()?;
    let parsed = uri.authority()?;
    if parsed.as_str().contains('@') || parsed.host().is_empty() {
        return None;
    }
    let after_host = &parsed.as_str()[parsed.host().len()..];
    let port = match after_host.strip_prefix(':') {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
    };
    Some((parsed.host().to_ascii_lowercase(), port))
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
    fn the_same_host_is_the_same_host_and_port() {
        let policy = OriginPolicy::same_host();
        for (origin, host, expected) in [
            ("http://example.com", "example.com", true),
            ("http://example.com", "example.com:80", true),
            ("http://EXAMPLE.com:9001", "example.COM:9001", true),
            ("https://example.com", "example.com:443", true),
            ("http://[::1]:9001", "[::1]:9001", true),
            ("http://example.com", "example.com:9001", false),
            ("http://evil.com", "example.com", false),
            ("http://example.com.evil.com", "example.com", false),
            ("http://example.com@evil.com", "example.com", false),
            ("http://example.com/", "example.com", false),
            ("null", "example.com", false),
            ("", "example.com", false),
            ("file://", "", false),
        ] {
            assert_eq!(policy.allows(Some(origin), host), expected, "{origin} at {host}");
        }
        assert!(policy.allows(None, "example.com"));
    }

    #[test]
    fn the_list_is_exact() {
        let policy = OriginPolicy::same_host().allow("https://app.example.com").unwrap();
        assert!(policy.allows(Some("https://app.example.com:443"), "x"));
        for origin in ["http://app.example.com", "https://app.example.com:444", "https://example.com"] {
            assert!(!policy.allows(Some(origin), "x"), "{origin}");
        }
        assert!(OriginPolicy::same_host().allow("example.com").is_err());
        assert!(policy.allow("*").unwrap().allows(Some("null"), "x"));
    }
}
