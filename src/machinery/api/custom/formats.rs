//! Formats of texts that stand for a name, a number of a book or a card, a color: what is not said
//! by another room's reader. Patterns and sums are those of `kube-openapi` (`strfmt`,
//! `govalidator`).

use crate::bounds;
use regex::Regex;
use std::sync::LazyLock;

const SHORT_NAME_MAX: usize = 63;
const LONG_NAME_MAX: usize = 253;

/// True if a text has the format, or if the format is none of these. `format` comes without
/// hyphens.
pub(super) fn fits(format: &str, text: &str) -> bool {
    match format {
        "k8sshortname" => text.len() <= SHORT_NAME_MAX && is_name(text),
        "k8slongname" => text.len() <= LONG_NAME_MAX && text.split('.').all(is_name),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some(b'3')),
        "uuid4" => is_uuid(text, Some(b'4')),
        "uuid5" => is_uuid(text, Some(b'5')),
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|c| c.is_ascii_hexdigit()),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "creditcard" => is_credit_card(text),
        "ssn" => matches(&SSN, text),
        "rgbcolor" => matches(&COLOR, text),
        _ => true,
    }
}

static SSN: LazyLock<Option<Regex>> = LazyLock::new(|| bounds::regex(r"^\d{3}[- ]?\d{2}[- ]?\d{4}$").ok());
static COLOR: LazyLock<Option<Regex>> = LazyLock::new(|| {
    const PART: &str = r"\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*";
    bounds::regex(&format!(r"^rgb\({PART},{PART},{PART}\)$")).ok()
});
static CARD: LazyLock<Option<Regex>> = LazyLock::new(|| {
    bounds::regex(r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})$").ok()
});

fn matches(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    pattern.as_ref().is_none_or(|p| p.is_match(text))
}

/// Small letters, digits and hyphens, none of them at an end.
fn is_name(text: &str) -> bool {
    let is_end = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_inner = |c: u8| c == b'-' || c.is_ascii_lowercase() || c.is_ascii_digit();
    is_end(text.bytes().next()) && is_end(text.bytes().last()) && text.bytes().all(is_inner)
}

/// Version 3 has any variant; 4 and 5 have the one of RFC 4122. Each hyphen may be left out.
fn is_uuid(text: &str, version: Option<u8>) -> bool {
    let (mut rest, mut hex) = (text, String::new());
    for length in [8, 4, 4, 4, 12] {
        let Some((group, after)) = rest.split_at_checked(length) else { return false };
        hex.push_str(group);
        rest = if after.is_empty() { after } else { after.strip_prefix('-').unwrap_or(after) };
    }
    let digits = hex.as_bytes();
    let has_variant = |version| version == b'3' || b"89abAB".contains(&digits[16]);
    rest.is_empty()
        && !text.ends_with('-')
        && digits.iter().all(u8::is_ascii_hexdigit)
        && version.is_none_or(|version| digits[12] == version && has_variant(version))
}

/// The digits of a number that may have spaces and hyphens in it; `X` is 10.
fn digits(text: &str) -> Option<Vec<u32>> {
    let signs = text.chars().filter(|c| !matches!(c, '-' | ' ' | '\t' | '\n' | '\r' | '\x0c'));
    signs.map(|c| if c == 'X' { Some(10) } else { c.to_digit(10) }).collect()
}

fn is_isbn10(text: &str) -> bool {
    let Some(digits) = digits(text).filter(|all| all.len() == 10 && all[..9].iter().all(|d| *d < 10)) else {
        return false;
    };
    digits.iter().zip(1..).map(|(digit, weight)| digit * weight).sum::<u32>() % 11 == 0
}

fn is_isbn13(text: &str) -> bool {
    let Some(digits) = digits(text).filter(|all| all.len() == 13 && all.iter().all(|d| *d < 10)) else {
        return false;
    };
    let weights = [1, 3].into_iter().cycle();
    let sum: u32 = digits[..12].iter().zip(weights).map(|(digit, weight)| digit * weight).sum();
    digits[12] == (10 - sum % 10) % 10
}

/// A number of one of the known companies, with the check digit of Luhn's sum.
fn is_credit_card(text: &str) -> bool {
    let number: String = text.chars().filter(char::is_ascii_digit).collect();
    let doubled = |(i, digit): (usize, u32)| match (i % 2, digit * 2) {
        (0, _) => digit,
        (_, double) if double >= 10 => double - 9,
        (_, double) => double,
    };
    let sum: u32 = number.chars().rev().filter_map(|c| c.to_digit(10)).enumerate().map(doubled).sum();
    matches(&CARD, &number) && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_have_the_form_that_upstream_takes() {
        let long = "a".repeat(64);
        for (format, text, want) in [
            ("k8sshortname", "a-1", true),
            ("k8sshortname", "Not A Name", false),
            ("k8sshortname", "a.b", false),
            ("k8sshortname", "-a", false),
            ("k8sshortname", &long, false),
            ("k8slongname", &long, true),
            ("k8slongname", "a.b-c", true),
            ("k8slongname", "a..b", false),
            ("uuid", "6BA7B810-9dad-11d1-80b4-00c04fd430c8", true),
            ("uuid3", "6ba7b810-9dad-31d1-00b4-00c04fd430c8", true),
            ("uuid3", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", false),
            ("uuid4", "6ba7b810-9dad-41d1-80b4-00c04fd430c8", true),
            ("uuid4", "6ba7b810-9dad-41d1-00b4-00c04fd430c8", false),
            ("uuid5", "6ba7b8109dad51d1a0b400c04fd430c8", true),
            ("uuid", "6ba7b8109dad51d1a0b400c04fd430c8-", false),
            ("uuid", "6ba7b810--9dad-51d1a0b400c04fd430c8", false),
            ("uuid", "6ba7b8109dad51d1a0b400c04fd430cg", false),
            ("bsonobjectid", "507f1f77bcf86cd799439011", true),
            ("bsonobjectid", "507f1f77bcf86cd79943901", false),
            ("isbn", "0321751043", true),
            ("isbn10", "0321751044", false),
            ("isbn10", "080442957X", true),
            ("isbn10", "978-0321751041", false),
            ("isbn13", "978-0321751041", true),
            ("isbn", "978-0321751042", false),
            ("creditcard", "4111-1111-1111-1111", true),
            ("creditcard", "4111-1111-1111-1112", false),
            ("creditcard", "1234", false),
            ("ssn", "111-11-1111", true),
            ("ssn", "11-111-1111", false),
            ("rgbcolor", "rgb(0, 31,255)", true),
            ("rgbcolor", "rgb(0,31,256)", false),
            ("unknown", "anything", true),
        ] {
            assert_eq!(fits(format, text), want, "{format} {text}");
        }
    }
}
