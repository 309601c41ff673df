//! Header fields as the handshake reads them: tokens, lists of tokens, and fields that come once (RFC 9110 §5.5–§5.6).

use http::{HeaderMap, HeaderName, HeaderValue};

/// Whether `byte` may stand in a token (RFC 9110 §5.6.2).
pub(super) fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `text` is a token.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_char)
}

/// The field's value if the field comes once, and `Err` if it comes more often.
pub(super) fn at_most_one<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, Repeated> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Repeated),
    }
}

/// A field that may come once came again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repeated;

/// The members of a list field, all its lines together; empty members are skipped (RFC 9110 §5.6.1).
///
/// A line that isn't ASCII gives one empty member, which is no token.
pub(super) fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
    headers.get_all(name).iter().flat_map(|line| {
        let readable = line.to_str().ok();
        let members = readable.unwrap_or_default().split(',').map(trim);
        members.filter(move |member| readable.is_none() || !member.is_empty())
    })
}

/// Whether a list field has the member `token`, in upper or lower case.
pub(super) fn list_has(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    list(headers, name).any(|member| member.eq_ignore_ascii_case(token))
}

/// `text` without the spaces and tabs around it (RFC 9110 §5.6.3).
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::CONNECTION;

    fn connection(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (CONNECTION, HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn lines_of_a_list_are_joined() {
        let headers = connection(&["keep-alive,", " ,\tUpgrade\t, x"]);
        assert_eq!(list(&headers, &CONNECTION).collect::<Vec<_>>(), ["keep-alive", "Upgrade", "x"]);
        assert!(list_has(&headers, &CONNECTION, "upgrade"));
    }

    #[test]
    fn a_member_counts_only_whole() {
        assert!(!list_has(&connection(&["not-upgrade, upgrade/2"]), &CONNECTION, "upgrade"));
    }

    #[test]
    fn a_repeated_field_is_told() {
        assert_eq!(at_most_one(&connection(&[]), &CONNECTION), Ok(None));
        assert_eq!(at_most_one(&connection(&["a", "a"]), &CONNECTION), Err(Repeated));
    }
}
