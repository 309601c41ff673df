//! User names: what they may hold, and when two of them are the same.
//!
//! A name is shown to everybody, so it must not look like somebody else's, like the server's, or like nothing.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeEmoji, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;

/// A user's name, in NFC and trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserName(String);

/// The longest name in grapheme clusters, what people see as characters.
const MAX_GRAPHEMES: usize = 32;

/// And in bytes of UTF-8.
const MAX_BYTES: usize = 128;

/// The most marks that may stand on one character: enough for every script, too few to smear over other lines.
const MAX_MARKS: usize = 4;

/// What the server calls itself.
const RESERVED: &str = "system";

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing is left after trimming.
    #[error("a name can't be empty: send the name you want to go by")]
    Empty,
    /// More than 32 characters or 128 bytes.
    #[error("this name is too long: use at most 32 characters and 128 bytes")]
    TooLong,
    /// A square bracket.
    #[error("a name can't have [ or ] in it: leave them out")]
    Bracket,
    /// Two spaces in a row, or a space that isn't the common one.
    #[error("a name can have only single, plain spaces between words")]
    Space,
    /// A character that can't be seen, or that changes how others are seen.
    #[error("a name can't have the invisible or control character U+{:04X} in it: leave it out", *.0 as u32)]
    Invisible(char),
    /// Nothing that can be seen.
    #[error("a name needs at least one letter, number or symbol")]
    NothingVisible,
    /// Too many marks on one character.
    #[error("a name can't have more than 4 marks on one character")]
    TooManyMarks,
    /// It reads like the server's own.
    #[error("this name is reserved: choose another one")]
    Reserved,
}

impl UserName {
    /// Makes a name of what a user sent.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the user is told.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        // Bounded before it is normalised, which may make it three times as long.
        let text = text.trim();
        if text.len() > 4 * MAX_BYTES {
            return Err(NameError::TooLong);
        }
        let name: String = text.nfc().collect();
        let name = name.trim();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MAX_BYTES || name.graphemes(true).count() > MAX_GRAPHEMES {
            return Err(NameError::TooLong);
        }
        check_characters(name)?;
        let name = Self(name.to_owned());
        let reserved = Self(RESERVED.to_owned()).keys();
        if name.keys().iter().any(|key| reserved.contains(key)) {
            return Err(NameError::Reserved);
        }
        Ok(name)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a name is unique by: nobody in a room may share a key with somebody else.
    ///
    /// The first is for names that differ by case, the second for those that look alike as they are written (a
    /// capital I and a small l).
    pub fn keys(&self) -> Vec<String> {
        let compatible: String = self.0.nfkc().collect();
        let folded = fold(&skeleton(&fold(&compatible)));
        let shown = fold(&skeleton(&compatible));
        if folded == shown { vec![folded] } else { vec![folded, shown] }
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Without case: ß and SS are the same.
fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfkc().collect()
}

/// What looks alike is the same (UTS #39).
fn skeleton(text: &str) -> String {
    unicode_security::skeleton(text).collect()
}

fn check_characters(name: &str) -> Result<(), NameError> {
    let chars: Vec<char> = name.chars().collect();
    let mut marks = 0;
    let mut is_visible = false;
    for (at, &char) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| chars[at]);
        let after = chars.get(at + 1).copied();
        check_character(char, before, after)?;
        if char.general_category_group() == GeneralCategoryGroup::Mark {
            marks += 1;
            if marks > MAX_MARKS {
                return Err(NameError::TooManyMarks);
            }
        } else {
            marks = 0;
            is_visible |= char != ' ' && !is_joiner(char);
        }
    }
    if is_visible { Ok(()) } else { Err(NameError::NothingVisible) }
}

fn check_character(char: char, before: Option<char>, after: Option<char>) -> Result<(), NameError> {
    // What NFKC would make a bracket looks like one.
    if std::iter::once(char).nfkc().any(|char| char == '[' || char == ']') {
        return Err(NameError::Bracket);
    }
    match char {
        ' ' if before == Some(' ') => return Err(NameError::Space),
        ' ' => return Ok(()),
        ZWNJ | ZWJ if joins(char, before, after) => return Ok(()),
        // The two variation selectors choose how an emoji is drawn; after anything else they are just invisible.
        '\u{fe0e}' | '\u{fe0f}' if before.is_some_and(UnicodeEmoji::is_emoji_char) => return Ok(()),
        _ => {}
    }
    if is_blank(char) {
        return Err(NameError::Invisible(char));
    }
    match char.general_category_group() {
        GeneralCategoryGroup::Letter
        | GeneralCategoryGroup::Mark
        | GeneralCategoryGroup::Number
        | GeneralCategoryGroup::Punctuation
        | GeneralCategoryGroup::Symbol => Ok(()),
        GeneralCategoryGroup::Separator if char.general_category() == GeneralCategory::SpaceSeparator => {
            Err(NameError::Space)
        }
        _ => Err(NameError::Invisible(char)),
    }
}

const ZWNJ: char = '\u{200c}';
const ZWJ: char = '\u{200d}';

fn is_joiner(char: char) -> bool {
    char == ZWNJ || char == ZWJ
}

/// Whether a joiner does something between these two: in an emoji sequence, after an Indic virama, and (the
/// non-joiner) between Arabic letters, as Persian needs it.
fn joins(joiner: char, before: Option<char>, after: Option<char>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    let is_emoji = |char: char| char.is_emoji_char() && !char.is_ascii() || char == '\u{fe0f}';
    let is_arabic = |char: char| ('\u{600}'..='\u{6ff}').contains(&char) && char.is_alphabetic();
    const VIRAMA: u8 = 9;
    match joiner {
        ZWJ => (is_emoji(before) && is_emoji(after)) || canonical_combining_class(before) == VIRAMA,
        _ => (is_arabic(before) && is_arabic(after)) || canonical_combining_class(before) == VIRAMA,
    }
}

/// Letters, marks and symbols that nobody can see (Default_Ignorable_Code_Point, and the braille blank).
fn is_blank(char: char) -> bool {
    matches!(
        char,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffd}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d159}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key_of(name: &str) -> Vec<String> {
        UserName::parse(name).unwrap().keys()
    }

    fn clash(a: &str, b: &str) -> bool {
        let b = key_of(b);
        key_of(a).iter().any(|key| b.contains(key))
    }

    #[test]
    fn names_of_many_scripts_are_names() {
        for name in [
            "ann",
            "Ann Lee",
            "Zoë",
            "李小龙",
            "Олег",
            "محمد",
            "क्‍ष",
            "می‌خواهم",
            "👩‍👩‍👧",
            "❤️ heart",
            "x_1.0-(a)!",
            "O'Neil",
            "ﬁ",
            "👍🏽",
        ] {
            assert_eq!(UserName::parse(name).map(|name| name.as_str().to_owned()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn a_name_is_trimmed_and_composed() {
        assert_eq!(UserName::parse("  Zoe\u{308}\t").unwrap().as_str(), "Zo\u{eb}");
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_reason() {
        let long = "x".repeat(33);
        let smear = format!("x{}", "\u{300}\u{315}\u{31b}\u{316}\u{317}");
        for (text, error) in [
            ("", NameError::Empty),
            (" \t\n", NameError::Empty),
            (long.as_str(), NameError::TooLong),
            ("a[b", NameError::Bracket),
            ("a］", NameError::Bracket),
            ("a  b", NameError::Space),
            ("a\u{a0}b", NameError::Space),
            ("a\u{3000}b", NameError::Space),
            ("a\u{7}b", NameError::Invisible('\u{7}')),
            ("a\nb", NameError::Invisible('\n')),
            ("a\u{202e}b", NameError::Invisible('\u{202e}')),
            ("a\u{200b}b", NameError::Invisible('\u{200b}')),
            ("a\u{200d}b", NameError::Invisible('\u{200d}')),
            ("a\u{200c}b", NameError::Invisible('\u{200c}')),
            ("a\u{fe0f}", NameError::Invisible('\u{fe0f}')),
            ("\u{3164}", NameError::Invisible('\u{3164}')),
            ("\u{2800}", NameError::Invisible('\u{2800}')),
            ("a\u{e0041}", NameError::Invisible('\u{e0041}')),
            ("a\u{e000}", NameError::Invisible('\u{e000}')),
            ("\u{301}", NameError::NothingVisible),
            (smear.as_str(), NameError::TooManyMarks),
            ("system", NameError::Reserved),
            ("SYSTEM", NameError::Reserved),
            ("ѕуѕtеm", NameError::Reserved),
            ("ｓｙｓｔｅｍ", NameError::Reserved),
        ] {
            assert_eq!(UserName::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn names_that_look_alike_clash() {
        for (a, b) in [
            ("ann", "ANN"),
            ("ann", "аnn"),
            ("Alice", "AIice"),
            ("straße", "STRASSE"),
            ("ﬁ", "fi"),
            ("rn", "m"),
        ] {
            assert!(clash(a, b), "{a} and {b}");
        }
        for (a, b) in [("ann", "anna"), ("bob", "rob"), ("李", "王")] {
            assert!(!clash(a, b), "{a} and {b}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_its_own_name(text in "\\PC{0,40}") {
            if let Ok(name) = UserName::parse(&text) {
                prop_assert_eq!(UserName::parse(name.as_str()), Ok(name.clone()));
                prop_assert!(!name.as_str().contains(['[', ']', '\n']));
            }
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = UserName::parse(&text);
        }
    }
}
