//! Texts as Go prints them: quoted strings, durations, numbers.

use regex::Regex;
use serde_json::Value;
use std::sync::LazyLock;
use std::time::Duration;

/// What Go's `unicode.IsPrint` takes for printable: letters, marks, numbers, punctuation and
/// symbols that are assigned. (The tables of Go 1.26 are those of Unicode 15, these of Unicode 16.)
static PRINTED: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$").ok());

/// Returns whether Go prints the character as it is. The only space that it prints is U+0020.
pub fn is_print(c: char) -> bool {
    match c.is_ascii() {
        true => c == ' ' || c.is_ascii_graphic(),
        false => PRINTED.as_ref().is_some_and(|printed| printed.is_match(c.encode_utf8(&mut [0; 4]))),
    }
}

/// Returns the text of an I/O error as Go words it: the C library's words of an error of the kernel
/// with a small first letter, and without its number.
pub fn io_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    if error.raw_os_error().is_none() {
        return match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".into(),
            _ => text,
        };
    }
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut chars = words.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// `%q`: a string in double quotes; special characters, and those that cannot be seen, escaped.
pub fn quote(text: &str) -> String {
    quote_bytes(text.as_bytes())
}

/// As [`quote`], of bytes. Those that are no UTF-8 are escaped one by one.
pub fn quote_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\u{b}' => out.push_str("\\v"),
                c if is_print(c) => out.push(c),
                c => out.push_str(&match c as u32 {
                    code @ (..0x20 | 0x7f) => format!("\\x{code:02x}"),
                    code @ ..0x10000 => format!("\\u{code:04x}"),
                    code => format!("\\U{code:08x}"),
                }),
            }
        }
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out.push('"');
    out
}

/// Nanoseconds, with a sign, as Go's `time.Duration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub i128);

impl Nanos {
    /// Returns the duration; a negative one counts as nothing.
    pub fn duration(self) -> Duration {
        Duration::from_nanos(self.0.max(0).min(u64::MAX as i128) as u64)
    }
    /// Makes a duration of whole seconds.
    pub fn secs(secs: i64) -> Nanos {
        Nanos(secs as i128 * 1_000_000_000)
    }
}

impl std::fmt::Display for Nanos {
    /// `1h5m0s`, `1.5s`, `250ms`, `0s`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sign, n) = if self.0 < 0 { ("-", -self.0) } else { ("", self.0) };
        let fraction = |n: i128, unit: i128, name: &str| {
            let mut text = format!("{}", n / unit);
            if n % unit != 0 {
                let digits = unit.ilog10() as usize;
                let part = format!("{:0digits$}", n % unit);
                text.push('.');
                text.push_str(part.trim_end_matches('0'));
            }
            text + name
        };
        let text = match n {
            0 => "0s".to_string(),
            n if n < 1_000 => format!("{n}ns"),
            n if n < 1_000_000 => fraction(n, 1_000, "µs"),
            n if n < 1_000_000_000 => fraction(n, 1_000_000, "ms"),
            n => {
                let minutes = n / 60_000_000_000;
                let seconds = fraction(n % 60_000_000_000, 1_000_000_000, "s");
                match (minutes / 60, minutes % 60) {
                    (0, 0) => seconds,
                    (0, m) => format!("{m}m{seconds}"),
                    (h, m) => format!("{h}h{m}m{seconds}"),
                }
            }
        };
        write!(f, "{sign}{text}")
    }
}

/// Reads `1h30m`, `5s`, `1.5s`, `0`.
///
/// # Errors
/// Go's sentence (`time: …`) for text that is no duration, or one of more than 64 bits of
/// nanoseconds.
pub fn parse_duration(text: &str) -> Result<Nanos, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Nanos(0));
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        if number.is_empty() || number == "." {
            return Err(invalid());
        }
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(format!("time: missing unit in duration {}", quote(text))),
            other => return Err(format!("time: unknown unit {} in duration {}", quote(other), quote(text))),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') {
            return Err(invalid());
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        // Digits beyond these are less than a nanosecond of the longest unit.
        let fraction = &fraction[..fraction.len().min(18)];
        let digits: i128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| invalid())? };
        let part = digits * scale / 10i128.pow(fraction.len() as u32);
        let nanos = whole.checked_mul(scale).and_then(|nanos| nanos.checked_add(part));
        total = nanos.and_then(|nanos| total.checked_add(nanos)).unwrap_or(i128::MAX);
        // Go counts in 64 bits; there is one more negative number than positive ones.
        if total > i128::from(i64::MAX) + i128::from(sign < 0) {
            return Err(invalid());
        }
        rest = tail;
    }
    Ok(Nanos(sign * total))
}

/// Reads a number of so many bits as Go's `strconv.ParseInt` does with base 0: `12`, `-3`, `0x1f`,
/// `0o17`, `017`, `0b1`, `1_000`.
///
/// # Errors
/// Go's reason: the text is no number, or one that needs more bits.
pub fn parse_int(text: &str, bits: u32) -> Result<i64, &'static str> {
    let (negative, rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let lower = rest.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // An underscore stands between digits, or between a prefix and digits.
    let plain = digits.replace('_', "");
    let spaced =
        !digits.contains("__") && !digits.ends_with('_') && (radix != 10 || !digits.starts_with('_'));
    if plain.is_empty() || !spaced || !plain.chars().all(|c| c.is_digit(radix)) {
        return Err("invalid syntax");
    }
    let size = u64::from_str_radix(&plain, radix).map_err(|_| "value out of range")?;
    let most = 1u64 << (bits - 1);
    match negative {
        true if size <= most => Ok((size as i64).wrapping_neg()),
        false if size < most => Ok(size as i64),
        _ => Err("value out of range"),
    }
}

/// Returns a float as Go's `encoding/json` writes it: with an exponent below 1e-6 and from 1e+21
/// on, and without a zero before its digit.
pub(crate) fn float(f: f64) -> String {
    if f == 0.0 {
        return "0".into();
    }
    if (1e-6..1e21).contains(&f.abs()) {
        return format!("{f}");
    }
    let text = format!("{f:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

/// `%v` of a float: an exponent from 1e+06 on, though for no more digits than it takes.
pub fn general(f: f64) -> String {
    let text = format!("{f:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) && f.is_finite() {
        return format!("{f}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// `%v` of a JSON value decoded by Go: `map[a:1 b:[x y]]`, `<nil>`.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => match n.as_f64() {
            Some(f) if n.is_f64() => general(f),
            _ => n.to_string(),
        },
        Value::String(s) => s.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let pairs: Vec<String> = keys.iter().map(|k| format!("{k}:{}", plain(&map[*k]))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

/// `%#v` of a JSON value decoded by Go: `map[string]interface {}{"a":1}`.
pub(crate) fn syntax(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let pairs: Vec<String> =
                keys.iter().map(|k| format!("{}:{}", quote(k), syntax(&map[*k]))).collect();
            format!("map[string]interface {{}}{{{}}}", pairs.join(", "))
        }
        Value::Array(list) => {
            format!("[]interface {{}}{{{}}}", list.iter().map(syntax).collect::<Vec<_>>().join(", "))
        }
        Value::String(s) => quote(s),
        Value::Null => "interface {}(nil)".into(),
        other => plain(other),
    }
}

/// Decodes base64 as Go's `base64.StdEncoding`: line ends are skipped wherever they are, and bits
/// beyond the last byte may be set.
///
/// # Errors
/// Go's `illegal base64 data at input byte N`. Of a last group of four that is not whole, N is the
/// place where it would begin without the line ends.
pub fn decode_base64(text: &str) -> Result<Vec<u8>, String> {
    let corrupt = |at: usize| Err(format!("illegal base64 data at input byte {at}"));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len() / 4 * 3);
    let (mut group, mut length) = (0_u32, 0);
    for (at, byte) in bytes.iter().copied().enumerate() {
        let six = match byte {
            b'\r' | b'\n' => continue,
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' if length >= 2 => {
                // A group of two is filled up with two of them, and nothing follows the last one.
                let rest = (at + 1..).zip(bytes[at + 1..].iter().copied());
                let mut rest = rest.filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'));
                if length == 2 {
                    match rest.next() {
                        Some((_, b'=')) => {}
                        Some((next, _)) => return corrupt(next - 1),
                        None => return corrupt(bytes.len()),
                    }
                }
                if let Some((next, _)) = rest.next() {
                    return corrupt(next);
                }
                let filled = group << (6 * (4 - length));
                decoded.extend_from_slice(&filled.to_be_bytes()[1..length]);
                return Ok(decoded);
            }
            _ => return corrupt(at),
        };
        group = (group << 6) | u32::from(six);
        length += 1;
        if length == 4 {
            decoded.extend_from_slice(&group.to_be_bytes()[1..]);
            (group, length) = (0, 0);
        }
    }
    if length > 0 { corrupt(bytes.len() - length) } else { Ok(decoded) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the table of errors in Go's `syscall` for Linux.
    #[test]
    fn an_error_of_the_kernel_has_the_words_of_go() {
        let text = |number: i32| io_error(&std::io::Error::from_raw_os_error(number));
        for (number, words) in [
            (1, "operation not permitted"),
            (2, "no such file or directory"),
            (7, "argument list too long"),
            (8, "exec format error"),
            (13, "permission denied"),
            (20, "not a directory"),
            (21, "is a directory"),
            (28, "no space left on device"),
        ] {
            assert_eq!(text(number), words);
        }
        let absent = std::io::Error::from(std::io::ErrorKind::NotFound);
        assert_eq!(io_error(&absent), "no such file or directory");
        let own = std::io::Error::other("Not from the kernel");
        assert_eq!(io_error(&own), "Not from the kernel");
    }

    /// As `base64.StdEncoding.DecodeString` of Go 1.24 answers.
    #[test]
    fn base64_is_read_as_go_reads_it() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("aGk=", b"hi"),
            ("aG\nk=\r\n", b"hi"),
            ("aGl=", b"hi"),
            ("YQ=\n=\n", b"a"),
            ("/w==", b"\xff"),
            ("YWJjZGVm", b"abcdef"),
            ("+/+/", b"\xfb\xff\xbf"),
        ] {
            assert_eq!(decode_base64(text).as_deref(), Ok(bytes), "{text:?}");
        }
        for (text, at) in [
            ("aGk", 0),
            ("aG!k", 2),
            (" aGk=", 0),
            ("aGk=x", 4),
            ("Zm=", 3),
            ("Zm=v", 2),
            ("=", 0),
            ("YWJj\nZG!m", 7),
            ("YWJjZ", 4),
        ] {
            let why = format!("illegal base64 data at input byte {at}");
            assert_eq!(decode_base64(text), Err(why), "{text:?}");
        }
    }

    /// As `strconv.Quote` of Go 1.26 answers.
    #[test]
    fn what_go_does_not_print_is_escaped() {
        for (text, quoted) in [
            ("a b\u{e9}\u{ac00}\u{1f600}\u{fffd}\u{301}", "\"a b\u{e9}\u{ac00}\u{1f600}\u{fffd}\u{301}\""),
            ("\0\u{7}\u{1b}\u{7f}\"\\", r#""\x00\a\x1b\x7f\"\\""#),
            (
                "\u{80}\u{a0}\u{ad}\u{200b}\u{2028}\u{3000}\u{feff}",
                r#""\u0080\u00a0\u00ad\u200b\u2028\u3000\ufeff""#,
            ),
            ("\u{378}\u{e000}\u{ffff}\u{e0001}\u{10ffff}", r#""\u0378\ue000\uffff\U000e0001\U0010ffff""#),
        ] {
            assert_eq!(quote(text), quoted);
        }
        assert_eq!(quote_bytes(b"\xe4\xb8a\xff"), r#""\xe4\xb8a\xff""#);
    }

    #[test]
    fn floats_are_written_as_in_gos_json() {
        for (number, written) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (0.000_001, "0.000001"),
            (0.000_012_5, "0.0000125"),
            (1e-7, "1e-7"),
            (-2.5e-10, "-2.5e-10"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
        ] {
            assert_eq!(float(number), written);
        }
    }

    #[test]
    fn floats_have_an_exponent_from_a_million_on() {
        for (number, printed) in [
            (0.0, "0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (999_999.0, "999999"),
            (1_000_000.0, "1e+06"),
            (2_147_483_647.0, "2.147483647e+09"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
        ] {
            assert_eq!(general(number), printed);
        }
    }

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        for (text, printed) in [
            ("90s", "1m30s"),
            ("1h", "1h0m0s"),
            ("1.5s", "1.5s"),
            ("250ms", "250ms"),
            ("0", "0s"),
            ("-1s", "-1s"),
            ("1h1ms", "1h0m0.001s"),
        ] {
            assert_eq!(parse_duration(text).unwrap().to_string(), printed, "{text}");
        }
        let least = parse_duration("-9223372036854775808ns").unwrap();
        assert_eq!(least, Nanos(i128::from(i64::MIN)));
        assert!(parse_duration("9223372036854775808ns").is_err());
        let above = "170141183460469231731687303715884105.999us"; // just above the largest i128
        assert_eq!(parse_duration(above).unwrap_err(), format!("time: invalid duration \"{above}\""));
        assert_eq!(parse_duration("5").unwrap_err(), "time: missing unit in duration \"5\"");
        assert_eq!(parse_duration("5x").unwrap_err(), "time: unknown unit \"x\" in duration \"5x\"");
        assert_eq!(parse_duration("x").unwrap_err(), "time: invalid duration \"x\"");
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, want) in [
            ("12", Ok(12)),
            ("-3", Ok(-3)),
            ("+5", Ok(5)),
            ("0", Ok(0)),
            ("0x1F", Ok(31)),
            ("017", Ok(15)),
            ("0b1_0", Ok(2)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err("value out of range")),
            ("99999999999999999999999", Err("value out of range")),
            ("08", Err("invalid syntax")),
            ("1_000", Ok(1000)),
            ("0_7", Ok(7)),
            ("_1", Err("invalid syntax")),
            ("1_", Err("invalid syntax")),
            ("1__0", Err("invalid syntax")),
            ("", Err("invalid syntax")),
            ("--1", Err("invalid syntax")),
            ("é1", Err("invalid syntax")),
        ] {
            assert_eq!(parse_int(text, i64::BITS), want, "{text}");
        }
        assert_eq!(parse_int("2147483648", i32::BITS), Err("value out of range"));
        assert_eq!(parse_int("-2147483648", i32::BITS), Ok(-2147483648));
    }
}
