//! The query of a URL, `a=b&c=d`, taken apart and used up (WHATWG URL §5.1).

use std::str::FromStr;

use http::StatusCode;

use super::Problem;
use super::router::decode;

/// Parameters that are taken one by one; whatever nobody takes is an error, so that a misspelt one is noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    parameters: Vec<(String, String)>,
}

impl Query {
    /// Takes a query apart. A plus is a space.
    ///
    /// # Errors
    ///
    /// A 400 if it can't be decoded, or has a parameter twice.
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        // The head's limit bounds it.
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = |text: &str| decode(&text.replace('+', " ")).ok_or_else(undecodable);
            let (name, value) = (decoded(name)?, decoded(value)?);
            if parameters.iter().any(|(other, _)| *other == name) {
                return Err(invalid(&name, "stands in the query twice: give it once"));
            }
            parameters.push((name, value));
        }
        Ok(Self { parameters })
    }

    /// Takes a parameter's text.
    pub fn take_text(&mut self, name: &str) -> Option<String> {
        let at = self.parameters.iter().position(|(other, _)| other == name)?;
        Some(self.parameters.swap_remove(at).1)
    }

    /// Takes a parameter that is, say, a number.
    ///
    /// # Errors
    ///
    /// A 422 if it isn't.
    pub fn take<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.take_text(name) else { return Ok(None) };
        // `u64::from_str` would take a plus sign.
        let value = if text.starts_with('+') { None } else { text.parse().ok() };
        match value {
            Some(value) => Ok(Some(value)),
            None => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!(
                    "the query's {name} can't be read: it isn't of the kind that is expected, or too large"
                ),
            )),
        }
    }

    /// Nothing more is expected.
    ///
    /// # Errors
    ///
    /// A 400 if something is left.
    pub fn finish(self) -> Result<(), Problem> {
        match self.parameters.first() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(name, "is not a parameter here: remove it")),
        }
    }
}

fn undecodable() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "the query can't be read: a % is followed by two hexadecimal digits, and all of it is UTF-8",
    )
}

fn invalid(name: &str, why: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("{name:?} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_are_taken_and_the_rest_is_refused() {
        let mut query = Query::parse("after=7&name=a+b%26c&&flag").unwrap();
        assert_eq!(query.take::<u64>("after"), Ok(Some(7)));
        assert_eq!(query.take::<u64>("after"), Ok(None));
        assert_eq!(query.take_text("name").as_deref(), Some("a b&c"));
        let left = query.finish().unwrap_err();
        assert_eq!(
            (left.status(), left.detail()),
            (StatusCode::BAD_REQUEST, "\"flag\" is not a parameter here: remove it")
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["after=", "after=x", "after=-1", "after=%2B1", "after=1.0", "after=99999999999999999999"]
        {
            let problem = Query::parse(text).unwrap().take::<u64>("after").unwrap_err();
            assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY, "{text}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for text in ["a=1&a=2", "a=1&%61=2", "a=%", "a=%ff"] {
            assert_eq!(Query::parse(text).unwrap_err().status(), StatusCode::BAD_REQUEST, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[&=%+a-c0-9é]{0,40}") {
            let _ = Query::parse(&text);
        }
    }
}
