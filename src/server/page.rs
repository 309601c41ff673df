//! The chat's web page: its files, and the header fields that go with them.
//!
//! Everything is in the binary, and nothing is fetched from anywhere else. It answers no request: the server does.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use sha1::{Digest, Sha1};

use crate::chat::room_name::RoomName;

/// A file of the page.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    file: &'static File,
}

/// The file that a path leads to: the page itself for `/` and `/rooms/NAME`, its parts below `/page/`.
pub fn asset(path: &str) -> Option<Asset> {
    let name = match path.strip_prefix("/page/") {
        Some(name) => name,
        // This one is for programs.
        None if path == "/ws" => return None,
        None => RoomName::of_path(path).map(|_| INDEX)?,
    };
    FILES.iter().find(|file| file.name == name).map(|file| Asset { file })
}

impl Asset {
    /// What it holds.
    pub fn body(&self) -> &'static [u8] {
        self.file.body
    }

    /// Its media type.
    pub fn content_type(&self) -> &'static str {
        match self.file.name.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "application/octet-stream",
        }
    }

    /// The header fields of its answer, for 200 and 304 alike.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(FIELDS.len() + 2);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type()));
        headers.insert(ETAG, self.etag());
        for (name, value) in FIELDS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers
    }

    /// Whether a request's `If-None-Match` names what would be sent: then 304 without a body will do
    /// (RFC 9110 §13.1.2).
    pub fn is_known(&self, request: &HeaderMap) -> bool {
        let etag = self.etag();
        request
            .get_all(http::header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == "*" || tag.as_bytes() == etag.as_bytes())
    }

    fn etag(&self) -> HeaderValue {
        ETAGS[self.file.name].clone()
    }
}

#[derive(Debug)]
struct File {
    name: &'static str,
    body: &'static [u8],
}

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(File { name: $name, body: include_bytes!(concat!("page/", $name)) }),+]
    };
}

const INDEX: &str = "index.html";

const FILES: &[File] = files![
    "index.html",
    "style.css",
    "icon.svg",
    "app.js",
    "chat.js",
    "composer.js",
    "connection.js",
    "history.js",
    "log.js",
    "outbox.js",
    "panels.js",
    "requests.js",
    "room.js",
    "store.js",
    "text.js",
];

/// A digest of each file's bytes: it only has to change when they do.
static ETAGS: LazyLock<std::collections::HashMap<&'static str, HeaderValue>> = LazyLock::new(|| {
    let tag = |file: &File| {
        let digest = URL_SAFE_NO_PAD.encode(Sha1::digest(file.body));
        HeaderValue::try_from(format!("\"{digest}\"")).expect("base64 and quotes are visible ASCII")
    };
    FILES.iter().map(|file| (file.name, tag(file))).collect()
});

/// Only our own files run, and only this server is talked to. No script can make markup of a text: what people write
/// stays text even if the page had a mistake.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const FIELDS: [(HeaderName, &str); 7] = [
    // Asked for again each time, and not sent again if it is the same: a new server never meets an old script.
    (CACHE_CONTROL, "no-cache"),
    (CONTENT_SECURITY_POLICY, POLICY),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> &'static str {
        std::str::from_utf8(asset(path).unwrap().body()).unwrap()
    }

    #[test]
    fn the_page_is_at_the_top_and_at_each_room() {
        for path in ["/", "/rooms/lobby", "/rooms/a.b_c-D1", "/page/index.html"] {
            assert_eq!(asset(path).unwrap().content_type(), "text/html; charset=utf-8", "{path}");
        }
        for path in [
            "",
            "/ws",
            "/rooms/",
            "/rooms/a/b",
            "/page/",
            "/page/../Cargo.toml",
            "/style.css",
            "/page/app.js/",
        ] {
            assert!(asset(path).is_none(), "{path}");
        }
    }

    #[test]
    fn every_file_that_the_page_names_is_served() {
        let names = FILES.iter().flat_map(|file| {
            let text = std::str::from_utf8(file.body).unwrap();
            text.split('"').filter(|part| part.starts_with("/page/") || part.starts_with("./"))
        });
        let mut count = 0;
        for name in names {
            let path = name.replacen("./", "/page/", 1);
            assert!(asset(&path).is_some(), "{name}");
            count += 1;
        }
        assert!(count > 20, "{count}");
    }

    #[test]
    fn every_script_is_loaded_ahead() {
        for file in FILES.iter().filter(|file| file.name.ends_with(".js") && file.name != "app.js") {
            assert!(
                text("/").contains(&format!("modulepreload\" href=\"/page/{}\"", file.name)),
                "{}",
                file.name
            );
        }
    }

    #[test]
    fn every_answer_is_strict() {
        for file in FILES {
            let headers = Asset { file }.headers();
            let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
            // None of CSP's keywords that let inline scripts, styles or `eval` in.
            assert!(!policy.contains("-inline") && !policy.contains("-eval"), "{policy}");
            assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(headers[REFERRER_POLICY], "no-referrer");
            assert_ne!(headers[CONTENT_TYPE], "application/octet-stream", "{}", file.name);
        }
    }

    /// The policy would refuse it, so it would only be a page that doesn't work.
    #[test]
    fn no_file_makes_markup_of_text_or_leaves_the_server() {
        for file in FILES {
            let text = std::str::from_utf8(file.body).unwrap();
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                " style=",
                "onclick=",
                "@import",
            ] {
                assert!(!text.contains(word), "{} has {word}", file.name);
            }
            let hosts = text.matches("://").count() - text.matches("://www.w3.org/2000/svg").count();
            assert!(hosts == 0 || file.name.ends_with(".js"), "{} names another host", file.name);
        }
    }

    #[test]
    fn what_the_browser_has_isnt_sent_again() {
        let [page, style] = ["/", "/page/style.css"].map(|path| asset(path).unwrap());
        let etag = page.headers()[ETAG].to_str().unwrap().to_owned();
        let asks =
            |value: &str| HeaderMap::from_iter([(http::header::IF_NONE_MATCH, value.parse().unwrap())]);
        assert!(page.is_known(&asks(&etag)));
        assert!(page.is_known(&asks(&format!("\"other\", W/{etag}"))));
        assert!(page.is_known(&asks("*")));
        assert!(!page.is_known(&asks("\"other\"")));
        assert!(!page.is_known(&HeaderMap::new()));
        assert!(!style.is_known(&asks(&etag)));
    }
}
