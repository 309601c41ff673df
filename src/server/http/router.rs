//! Which handler a method and a path lead to.

use http::Method;
use percent_encoding::percent_decode_str;

use super::Problem;

/// Routes: a method and a pattern such as `/rooms/{room}/messages`, each with what it leads to.
///
/// A parameter is one whole segment, percent-decoded; what stands in a pattern is compared with the decoded path.
#[derive(Debug)]
pub struct Router<T> {
    routes: Vec<Route<T>>,
}

#[derive(Debug)]
struct Route<T> {
    method: Method,
    pattern: &'static str,
    target: T,
}

/// Where a request leads to.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<'a, T> {
    /// What was added with the route.
    pub target: &'a T,
    /// The route's pattern: what a log or a metric may name without being flooded with names.
    pub pattern: &'static str,
    parameters: Vec<(&'static str, String)>,
}

/// Why a request leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// No pattern fits the path.
    #[error("there is nothing here")]
    Path,
    /// A pattern does, but not with this method.
    #[error("this method can't be used here, only {allow} can")]
    Method {
        /// The methods that can, as `Allow` lists them.
        allow: String,
    },
    /// The path has a percent sign that begins no byte in hexadecimal, or isn't UTF-8.
    #[error("the path can't be read: a % is followed by two hexadecimal digits, and all of it is UTF-8")]
    Undecodable,
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self { routes: Vec::new() }
    }
}

impl<T> Router<T> {
    /// Adds a route. Of several that fit a path, the one that was added first is taken.
    pub fn add(&mut self, method: Method, pattern: &'static str, target: T) {
        self.routes.push(Route { method, pattern, target });
    }

    /// The routes that there are.
    pub fn routes(&self) -> impl Iterator<Item = (&Method, &'static str)> {
        self.routes.iter().map(|route| (&route.method, route.pattern))
    }

    /// Where `method` and `path` lead to. Where GET is, HEAD is too.
    ///
    /// # Errors
    ///
    /// [`NotFound`].
    pub fn find(&self, method: &Method, path: &str) -> Result<Found<'_, T>, NotFound> {
        let segments =
            path.split('/').map(decode).collect::<Option<Vec<_>>>().ok_or(NotFound::Undecodable)?;
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let fitting = || self.routes.iter().filter_map(|route| Some((route, fit(route.pattern, &segments)?)));
        if let Some((route, parameters)) = fitting().find(|(route, _)| route.method == *method) {
            return Ok(Found { target: &route.target, pattern: route.pattern, parameters });
        }
        let mut allow: Vec<&str> = Vec::new();
        for (route, _) in fitting() {
            allow.push(route.method.as_str());
            if route.method == Method::GET {
                allow.push("HEAD");
            }
        }
        allow.sort_unstable();
        allow.dedup();
        if allow.is_empty() { Err(NotFound::Path) } else { Err(NotFound::Method { allow: allow.join(", ") }) }
    }
}

impl<T> Found<'_, T> {
    /// The value of a parameter of the pattern; a name that isn't in it has none.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(other, _)| *other == name).map_or("", |(_, value)| value)
    }
}

impl From<NotFound> for Problem {
    fn from(error: NotFound) -> Self {
        match error {
            NotFound::Path => Self::new(http::StatusCode::NOT_FOUND, error.to_string()),
            NotFound::Method { allow } => Self::method_not_allowed(&allow),
            NotFound::Undecodable => Self::new(http::StatusCode::BAD_REQUEST, error.to_string()),
        }
    }
}

/// The parameters, if the segments fit the pattern.
fn fit(pattern: &'static str, segments: &[String]) -> Option<Vec<(&'static str, String)>> {
    let mut parameters = Vec::new();
    let mut segments = segments.iter();
    for part in pattern.split('/') {
        let segment = segments.next()?;
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(_) if segment.is_empty() => return None,
            Some(name) => parameters.push((name, segment.clone())),
            None if part == segment => {}
            None => return None,
        }
    }
    segments.next().is_none().then_some(parameters)
}

/// The text that `encoded` stands for; `None` if a `%` begins no byte or the bytes are no UTF-8.
pub(super) fn decode(encoded: &str) -> Option<String> {
    let is_encoded = encoded.split('%').skip(1).all(|behind| {
        let mut digits = behind.bytes();
        let mut is_digit = || digits.next().is_some_and(|digit| digit.is_ascii_hexdigit());
        is_digit() && is_digit()
    });
    is_encoded.then(|| percent_decode_str(encoded).decode_utf8().ok().map(|text| text.into_owned()))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn router() -> Router<u8> {
        let mut router = Router::default();
        router.add(Method::GET, "/", 1);
        router.add(Method::GET, "/api/rooms/{room}/history", 2);
        router.add(Method::POST, "/api/rooms/{room}/messages", 3);
        router.add(Method::DELETE, "/api/rooms/{room}/messages", 4);
        router
    }

    #[test]
    fn parameters_are_decoded_and_stay_in_their_segment() {
        let router = router();
        for (path, room) in [
            ("/api/rooms/lobby/history", "lobby"),
            ("/api/rooms/a%20%C3%A4/history", "a ä"),
            ("/api/rooms/a%2Fb/history", "a/b"),
            ("/%61pi/rooms/+/history", "+"),
        ] {
            let found = router.find(&Method::GET, path).unwrap();
            assert_eq!((*found.target, found.parameter("room")), (2, room), "{path}");
            assert_eq!(found.parameter("other"), "");
        }
    }

    #[test]
    fn a_path_fits_whole_or_not_at_all() {
        let router = router();
        for path in ["", "/x", "//", "/api/rooms//history", "/api/rooms/a/b/history", "/api/rooms/a/history/"]
        {
            assert_eq!(router.find(&Method::GET, path), Err(NotFound::Path), "{path}");
        }
        for path in ["/%", "/%4", "/%zz", "/%ff", "/%+1"] {
            assert_eq!(router.find(&Method::GET, path), Err(NotFound::Undecodable), "{path}");
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let router = router();
        let allow = |method, path| match router.find(&method, path) {
            Err(NotFound::Method { allow }) => allow,
            other => panic!("{other:?}"),
        };
        assert_eq!(allow(Method::PUT, "/api/rooms/a/messages"), "DELETE, POST");
        assert_eq!(allow(Method::POST, "/"), "GET, HEAD");
        assert!(router.find(&Method::HEAD, "/").is_ok());
    }

    proptest! {
        #[test]
        fn any_path_is_found_or_not(path in "[/%a-z{}0-9é]{0,40}") {
            let _ = router().find(&Method::GET, &path);
        }

        #[test]
        fn what_was_encoded_is_decoded(text in any::<String>()) {
            let encoded = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC);
            prop_assert_eq!(decode(&encoded.to_string()), Some(text));
        }
    }
}
