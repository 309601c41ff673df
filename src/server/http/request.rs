//! A request that has come whole.

use std::fmt;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::{Problem, Query};

/// A plain HTTP request: head and body.
pub struct Request {
    head: http::Request<()>,
    body: Bytes,
}

impl Request {
    /// Puts a head and its body together.
    pub fn new(head: http::Request<()>, body: Bytes) -> Self {
        Self { head, body }
    }

    /// Its method.
    pub fn method(&self) -> &Method {
        self.head.method()
    }

    /// Its path, as it was sent.
    pub fn path(&self) -> &str {
        self.head.uri().path()
    }

    /// Its header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.head.headers()
    }

    /// Its body, as it was sent.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Its query.
    ///
    /// # Errors
    ///
    /// A 400 if it can't be read.
    pub fn query(&self) -> Result<Query, Problem> {
        Query::parse(self.head.uri().query().unwrap_or_default())
    }

    /// What stands behind `Authorization: Bearer` (RFC 6750 §2.1).
    pub fn bearer(&self) -> Option<&str> {
        bearer(self.headers())
    }

    /// Its body, read as JSON.
    ///
    /// # Errors
    ///
    /// 415 if it is said to be something else, 400 if it is no JSON, and 422 if it is JSON of another shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if !is_json(self.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body is not said to be JSON: send Content-Type: application/json",
            ));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            let (status, what) = match error.classify() {
                Category::Data => (StatusCode::UNPROCESSABLE_ENTITY, "the body is not what is expected here"),
                _ => (StatusCode::BAD_REQUEST, "the body is not JSON"),
            };
            // serde_json quotes at most the name of a field.
            Problem::new(status, format!("{what}: {error}"))
        })
    }
}

impl fmt::Debug for Request {
    /// Without the query, header fields and body, any of which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} bytes)", self.method(), self.path().escape_debug(), self.body.len())
    }
}

/// What stands behind `Authorization: Bearer`, if the field comes once.
pub(in crate::server) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Message {
        text: String,
    }

    fn request(media_type: &'static str, body: &'static str) -> Request {
        let head = http::Request::builder().header(CONTENT_TYPE, media_type).uri("/a?token=secret").body(());
        Request::new(head.unwrap(), Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn json_is_read() {
        for media_type in ["application/json", "Application/JSON; charset=utf-8", "application/x+json"] {
            assert_eq!(request(media_type, r#"{"text":"hi"}"#).json::<Message>().unwrap().text, "hi");
        }
    }

    #[test]
    fn each_way_to_be_no_message_has_its_status() {
        let json = "application/json";
        for (media_type, body, status) in [
            ("text/plain", r#"{"text":"hi"}"#, 415),
            (json, "", 400),
            (json, "{", 400),
            (json, r#"{"text":"hi"}x"#, 400),
            (json, r#"{"text":1}"#, 422),
            (json, r#"{"txt":"hi"}"#, 422),
            (json, r#"{"text":"hi","text":"ho"}"#, 422),
            (json, "[]", 422),
        ] {
            let problem = request(media_type, body).json::<Message>().unwrap_err();
            assert_eq!(problem.status().as_u16(), status, "{body}");
        }
    }

    #[test]
    fn only_one_bearer_counts() {
        let with = |values: &[&'static str]| {
            let headers: HeaderMap =
                values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value))).collect();
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(with(&["bearer  abc"]).as_deref(), Some("abc"));
        for wrong in [&["Bearer "][..], &["Basic abc"], &["abc"], &["Bearer a", "Bearer a"], &[]] {
            assert_eq!(with(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_shown_has_no_secret() {
        assert_eq!(format!("{:?}", request("text/plain", "secret")), "GET /a (6 bytes)");
    }
}
