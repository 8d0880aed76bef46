//! Formats of texts that stand for a name, a number of a book or a card, a color: what is not said
//! by another room's reader. Patterns and sums are those of `kube-openapi` (`strfmt`,
//! `govalidator`).

use super::mail;
use crate::bounds;
use crate::gostr;
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
        "ssn" => text.len() == 11 && matches(&SSN, text),
        "byte" => matches(&BYTES, text),
        "duration" => duration(text).is_some(),
        "email" => mail::is_address(text),
        "hostname" => is_hostname(text),
        "mac" => matches(&MAC, text),
        "date" => is_date(text),
        "datetime" => is_date_time(text),
        "hexcolor" => matches(&HEX_COLOR, text),
        "rgbcolor" => matches(&RGB_COLOR, text),
        _ => true,
    }
}

type Pattern = LazyLock<Option<Regex>>;

/// Compiles a pattern of this file. A test compiles them all.
fn compiled(pattern: &str) -> Option<Regex> {
    bounds::regex(pattern).ok()
}

fn matches(pattern: &Pattern, text: &str) -> bool {
    pattern.as_ref().is_some_and(|p| p.is_match(text))
}

static SSN: Pattern = LazyLock::new(|| compiled(r"^\d{3}[- ]?\d{2}[- ]?\d{4}$"));
static HEX_COLOR: Pattern = LazyLock::new(|| compiled("^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"));
static RGB_COLOR: Pattern = LazyLock::new(|| {
    const PART: &str = r"\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*";
    compiled(&format!(r"^rgb\({PART},{PART},{PART}\)$"))
});
static CARD: Pattern = LazyLock::new(|| {
    compiled(
        r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})$",
    )
});

/// Base64 without line ends. The empty text is none (`IsBase64` of `govalidator`).
static BYTES: Pattern = LazyLock::new(|| {
    const FOUR: &str = "[A-Za-z0-9+/]{4}";
    let last = format!("[A-Za-z0-9+/]{{2}}==|[A-Za-z0-9+/]{{3}}=|{FOUR}");
    compiled(&format!("^(?:{FOUR})*(?:{last})$"))
});
/// 6, 8 or 20 bytes with colons or hyphens, or with dots after two bytes each (`net.ParseMAC`).
static MAC: Pattern = LazyLock::new(|| {
    let forms = [
        ("[0-9a-fA-F]{2}", ":", [5, 7, 19]),
        ("[0-9a-fA-F]{2}", "-", [5, 7, 19]),
        (r"[0-9a-fA-F]{4}", r"\.", [2, 3, 9]),
    ];
    let form = |(digits, sign, more): (&str, &str, [usize; 3])| {
        more.map(|more| format!("{digits}(?:{sign}{digits}){{{more}}}")).join("|")
    };
    compiled(&format!("^(?:{})$", forms.map(form).join("|")))
});
/// Letters and symbols of any script, digits, hyphens and dots.
static HOST: Pattern = LazyLock::new(|| compiled(r"^[a-zA-Z0-9\p{S}\p{L}.-]+$"));
static LETTERS: Pattern = LazyLock::new(|| compiled(r"^\p{L}+$"));
static AMOUNTS: Pattern = LazyLock::new(|| compiled(r"([0-9]+)\s*([A-Za-zµ]+)"));
static TIME: Pattern =
    LazyLock::new(|| compiled(r"^([01]\d|2[0-3]):[0-5]\d:[0-5]\d(.\d+)?([zZ]|[+-]\d{2}:\d{2})$"));
static DATE: Pattern = LazyLock::new(|| compiled(r"^\d{4}-\d{2}-\d{2}$"));

fn is_date(text: &str) -> bool {
    matches(&DATE, text) && text.parse::<jiff::civil::Date>().is_ok()
}

/// Returns whether a text is a time of RFC 3339, in letters of any case (`IsDateTime` of `strfmt`):
/// neither a space for `T`, nor a time without seconds, nor the name of a zone. As there, what
/// follows a second `T` is not looked at.
fn is_date_time(text: &str) -> bool {
    let mut parts = text.split(['T', 't']);
    parts.next().is_some_and(is_date) && parts.next().is_some_and(|time| matches(&TIME, time))
}

/// Returns whether a text consists of small letters, digits and hyphens, with no hyphen at an end.
fn is_name(text: &str) -> bool {
    let is_end = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_inner = |c: u8| c == b'-' || c.is_ascii_lowercase() || c.is_ascii_digit();
    is_end(text.bytes().next()) && is_end(text.bytes().last()) && text.bytes().all(is_inner)
}

/// Returns whether a text is a UUID. Version 3 has any variant; 4 and 5 have the one of RFC 4122.
/// Each hyphen may be left out.
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

/// Returns whether a text is the name of a host. One without dots has at most one hyphen, which is
/// its second character. In one with dots the last part has letters only (`HostnamePattern`
/// upstream).
fn is_hostname(text: &str) -> bool {
    if text.len() > 255 || !matches(&HOST, text) || text.split('.').any(|label| label.len() > 63) {
        return false;
    }
    let Some((before, last)) = text.rsplit_once('.') else {
        let mut chars = text.chars();
        let first = chars.next();
        let rest = chars.as_str();
        return first != Some('-') && !rest.strip_prefix('-').unwrap_or(rest).contains('-');
    };
    let is_label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    matches(&LETTERS, last) && last.chars().count() >= 2 && before.split('.').all(is_label)
}

/// Reads `1h30m` and `2 days` in nanoseconds: a duration of Go, or else all numbers with a unit
/// that are found in the text (`strfmt.ParseDuration` upstream).
pub(super) fn duration(text: &str) -> Option<i64> {
    let of_go = gostr::parse_duration(text).ok().and_then(|duration| i64::try_from(duration.0).ok());
    of_go.or_else(|| sum_of_amounts(text))
}

/// Adds up all amounts of a text; `None` if it has none. What has too many bits wraps, as in Go.
fn sum_of_amounts(text: &str) -> Option<i64> {
    const SECOND: i64 = 1_000_000_000;
    const HOUR: i64 = 3600 * SECOND;
    /// Names of each unit, with what its longer names begin with, and its nanoseconds.
    const UNITS: [(&[&str], &str, i64); 8] = [
        (&["ns"], "nano", 1),
        (&["us", "\u{b5}s"], "micro", 1_000),
        (&["ms"], "milli", 1_000_000),
        (&["s"], "sec", SECOND),
        (&["m"], "min", 60 * SECOND),
        (&["h", "hr"], "hour", HOUR),
        (&["d"], "day", 24 * HOUR),
        (&["w", "wk"], "week", 7 * 24 * HOUR),
    ];
    let mut sum = None;
    for found in AMOUNTS.as_ref()?.captures_iter(text) {
        let number: i64 = found.get(1)?.as_str().parse().ok()?;
        let unit = found.get(2)?.as_str().to_lowercase();
        let is_unit = |(names, long, _): &&(&[&str], &str, i64)| {
            names.contains(&unit.as_str()) || unit.starts_with(long)
        };
        if let Some((_, _, nanos)) = UNITS.iter().find(is_unit) {
            sum = Some(sum.unwrap_or(0i64).wrapping_add(number.wrapping_mul(*nanos)));
        }
    }
    sum
}

/// Returns the digits of a number that may have spaces and hyphens in it; `X` is 10.
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

/// Returns whether a text is a number of one of the known companies, with the check digit of Luhn's
/// sum.
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

    /// A pattern that does not compile refuses every text.
    #[test]
    fn all_patterns_compile() {
        let all: [&Pattern; 11] =
            [&SSN, &HEX_COLOR, &RGB_COLOR, &CARD, &BYTES, &MAC, &HOST, &LETTERS, &AMOUNTS, &TIME, &DATE];
        for (i, pattern) in all.into_iter().enumerate() {
            assert!(pattern.is_some(), "{i}");
        }
    }

    /// As strfmt of kube-openapi judges them.
    #[test]
    fn host_names_have_the_form_that_upstream_takes() {
        let (long, longer) = ("a".repeat(63), "a".repeat(64));
        for text in [
            "a",
            "a-",
            "1",
            "a.bc",
            "a-b",
            "a-b-c.com",
            "a--b.com",
            "한국",
            "☃.net",
            "a+b",
            "localhost",
            &long,
        ] {
            assert!(fits("hostname", text), "{text}");
        }
        for text in [
            "",
            "-a",
            "a.b",
            "a_b",
            "1.2",
            "a..com",
            "a.com.",
            "a.c0m",
            "a--b",
            "a-b-c",
            "a-.com",
            "127.0.0.1",
            "a.co-m",
            &longer,
        ] {
            assert!(!fits("hostname", text), "{text}");
        }
    }

    /// As strfmt of kube-openapi reads them.
    #[test]
    fn durations_are_those_of_go_or_of_scala() {
        const SECOND: i64 = 1_000_000_000;
        for (text, want) in [
            ("1h30m", Some(5400 * SECOND)),
            ("1.5s", Some(1_500_000_000)),
            (".5s", Some(500_000_000)),
            ("5.s", Some(5 * SECOND)),
            ("-5s", Some(-5 * SECOND)),
            ("0", Some(0)),
            ("1\u{3bc}s", Some(1_000)),
            ("22 ns", Some(22)),
            ("3 Days", Some(3 * 86_400 * SECOND)),
            ("2 weeks", Some(14 * 86_400 * SECOND)),
            ("1d", Some(86_400 * SECOND)),
            ("1 minute 2 s", Some(62 * SECOND)),
            ("10 millis", Some(10_000_000)),
            ("P1D", Some(86_400 * SECOND)),
            ("", None),
            ("-", None),
            ("5", None),
            ("1y", None),
            ("infinity", None),
        ] {
            assert_eq!(duration(text), want, "{text}");
        }
    }

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
            ("ssn", "111111111", false),
            ("byte", "aGVsbG8=", true),
            ("byte", "aGVsbG9=", true),
            ("byte", "aGVsbG8", false),
            ("byte", "aGVs\nbG8=", false),
            ("byte", "", false),
            ("mac", "01:02:03:04:05:06", true),
            ("mac", "01-02-03-aA-05-06-07-08", true),
            ("mac", "0102.0304.0506", true),
            ("mac", "010203040506", false), // Go 1.26 takes it; 1.35 is built with 1.25
            ("mac", "01:02-03:04:05:06", false),
            ("mac", "01:02:03:04:05:06:07", false),
            ("mac", "1:2:3:4:5:6", false),
            ("rgbcolor", "rgb(0, 31,255)", true),
            ("rgbcolor", "rgb(0,31,256)", false),
            ("hexcolor", "#a0F", true),
            ("hexcolor", "a0F0", false),
            ("datetime", "2026-01-02T03:04:05Zt", true),
            ("datetime", "2026-01-02t03:04:05.5ZT03", true),
            ("datetime", "2026-01-02T03:04:05Z t", false),
            ("datetime", "2026-01-02Tt03:04:05Z", false),
            ("datetime", "2026-01-02T", false),
            ("datetime", "t", false),
            ("unknown", "anything", true),
        ] {
            assert_eq!(fits(format, text), want, "{format} {text}");
        }
    }
}
