//! Plain words that YAML 1.2 reads otherwise than Go's library of 1.1 (`resolve.go` in
//! go.yaml.in/yaml/v2).

/// Which plain words of 1.1 are read as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// All: `yes` is a boolean, `0644` an octal number. The server and kubectl read so.
    All,
    /// Numbers alone: `yes` and `on` stay text. kustomize reads its resources so, by another
    /// version of Go's library (go.yaml.in/yaml/v3).
    Numbers,
}

/// Returns the spelling of a plain word of 1.1 in 1.2, if it differs: `true` for `yes`, `420` for
/// `0644`, `8080` for `8_080`.
pub(super) fn respelled(word: &str, words: Words) -> Option<String> {
    match word {
        _ if words == Words::Numbers => {}
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Some("true".into()),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Some("false".into()),
        _ => {}
    }
    if word.starts_with('.') {
        return fraction(word);
    }
    let (sign, digits) = match word.as_bytes().first()? {
        b'-' => ("-", &word[1..]),
        b'+' => ("", &word[1..]),
        _ => ("", word),
    };
    let is_signed = digits.len() < word.len();
    if digits.contains('_') && (is_signed || digits.starts_with(|c: char| c.is_ascii_digit())) {
        return without_underscores(sign, digits);
    }
    if word.starts_with('+') && digits.parse::<u64>().is_ok_and(|number| i64::try_from(number).is_err()) {
        return Some(format!("{digits}.0")); // a number without a sign has a bit more
    }
    if let Some((radix, rest)) = based(digits) {
        return in_base(word, sign, radix, rest);
    }
    let rest = digits.strip_prefix('0').filter(|rest| !rest.is_empty() && is_digits(rest))?;
    match u64::from_str_radix(rest, 8) {
        Ok(number) => Some(format!("{sign}{number}")),
        Err(_) => Some(whole_float(sign, rest)),
    }
}

/// Writes digits that are no octal number, or too large a one, as a float: `08` as `8.0`.
fn whole_float(sign: &str, digits: &str) -> String {
    format!("{sign}{}.0", digits.trim_start_matches('0'))
}

/// `.1_5` as `.15`. Behind a dot Go takes underscores between digits only.
fn fraction(word: &str) -> Option<String> {
    let digits = |c: Option<&u8>| c.is_some_and(u8::is_ascii_digit);
    let bytes = word.as_bytes();
    let is_between = |at: usize| at > 0 && digits(bytes.get(at - 1)) && digits(bytes.get(at + 1));
    let mut underscores = word.match_indices('_').map(|(at, _)| at).peekable();
    if underscores.peek().is_none() || !underscores.all(is_between) {
        return None;
    }
    let plain = word.replace('_', "");
    float(&plain).map(|_| plain)
}

/// Returns a float as Go's YAML library takes it: no word, and not too large.
pub(super) fn float(text: &str) -> Option<f64> {
    let is_float = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    text.parse::<f64>().ok().filter(|number| is_float && number.is_finite())
}

/// Splits a number with a prefix into its radix and its digits: `0x1F` into 16 and `1F`.
fn based(digits: &str) -> Option<(u32, &str)> {
    let (prefix, rest) = digits.split_at_checked(2)?;
    match prefix {
        "0x" | "0X" => Some((16, rest)),
        "0o" | "0O" => Some((8, rest)),
        "0b" | "0B" => Some((2, rest)),
        _ => None,
    }
}

/// Writes a number with a prefix in decimal digits, or in quotes if it has more than 64 bits: then
/// it is text. `None` if it is no number.
fn in_base(word: &str, sign: &str, radix: u32, rest: &str) -> Option<String> {
    const NEGATIVE_MAX: u64 = 1 << 63;
    if rest.is_empty() || !rest.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let max = match word.as_bytes().first() {
        Some(b'-') => NEGATIVE_MAX,
        Some(b'+') => NEGATIVE_MAX - 1, // a number without a sign has a bit more
        _ => u64::MAX,
    };
    match u64::from_str_radix(rest, radix).ok().filter(|number| *number <= max) {
        Some(number) => Some(format!("{sign}{number}")),
        None => Some(quoted(word)),
    }
}

/// Returns the word as text in single quotes.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "''"))
}

/// `8_080` as `8080`, if it is a number without its underscores.
fn without_underscores(sign: &str, digits: &str) -> Option<String> {
    let plain = digits.replace('_', "");
    let (radix, rest) = match plain.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &plain[2..]),
        [b'0', b'o' | b'O', ..] => (8, &plain[2..]),
        [b'0', b'b' | b'B', ..] => (2, &plain[2..]),
        [b'0', _, ..] => (8, &plain[1..]),
        _ => (10, plain.as_str()),
    };
    // `from_str_radix` takes a sign; there was one before.
    let is_whole = rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    if let Some(number) = u64::from_str_radix(rest, radix).ok().filter(|_| is_whole) {
        return Some(format!("{sign}{number}"));
    }
    float(&plain).filter(|_| !plain.starts_with(['+', '-'])).map(|_| match is_digits(&plain) {
        true => whole_float(sign, &plain),
        false => format!("{sign}{plain}"),
    })
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use crate::yaml::parse;
    use serde_json::json;

    /// As sigs.k8s.io/yaml 1.6 reads them.
    #[test]
    fn numbers_with_a_prefix_have_64_bits() {
        for (word, want) in [
            ("0xFFFFFFFFFFFFFFFF", json!(u64::MAX)),
            ("0x1FFFFFFFFFFFFFFFF", json!("0x1FFFFFFFFFFFFFFFF")),
            ("-0x8000000000000000", json!(i64::MIN)),
            ("-0xFFFFFFFFFFFFFFFF", json!("-0xFFFFFFFFFFFFFFFF")),
            ("+0x1f", json!(31)),
            ("0o7777777777777777777777777", json!("0o7777777777777777777777777")),
            ("07777777777777777777777777", json!(7.777777777777778e24)),
            ("0o17", json!(15)),
            ("0O17", json!(15)),
            ("-0o17", json!(-15)),
            ("0B11", json!(3)),
            ("-0b11", json!(-3)),
            ("0X1f", json!(31)),
            ("0xG", json!("0xG")),
            ("0x1p4", json!("0x1p4")),
            ("0x", json!("0x")),
            ("0b2", json!("0b2")),
            ("18446744073709551615", json!(u64::MAX)),
            ("1267650600228229401496703205376", json!(1.2676506002282294e30)),
            ("08.5", json!(8.5)),
            (".1_5", json!(0.15)),
            (".1e1_0", json!(1_000_000_000)),
            ("._5", json!("._5")),
            (".5_", json!(".5_")),
            (".1e_2", json!(".1e_2")),
            ("-._5", json!(-0.5)),
            ("-_1", json!(-1)),
            ("+_1", json!(1)),
            ("+-1", json!("+-1")),
            ("-_-1", json!("-_-1")),
            ("1_e3", json!(1000)),
            ("1_0e400", json!("1_0e400")),
            ("1_000", json!(1000)),
            ("1__0", json!(10)),
            ("1_", json!(1)),
            ("0_o17", json!(15)),
            ("0_8", json!(8)),
            ("-08", json!(-8)),
            ("0900000000000000001", json!(900_000_000_000_000_000i64)),
            ("+12", json!(12)),
            ("+017", json!(15)),
            ("+9223372036854775807", json!(i64::MAX)),
            ("+18446744073709551615", json!(18446744073709551615f64)),
            ("1e3", json!(1000)),
            ("01e3", json!(1000)),
            (".5", json!(0.5)),
            ("1.", json!(1)),
            (".e3", json!(".e3")),
            ("1:30", json!("1:30")),
        ] {
            let text = format!("a: {word}\nb: [{word}]\n");
            assert_eq!(parse(text.as_bytes()), Ok(json!({"a": want, "b": [want]})), "{word}");
        }
        assert_eq!(parse(b"0x10: a\n"), Ok(json!({"16": "a"})));
        assert_eq!(parse(b"0x1FFFFFFFFFFFFFFFF: a\n"), Ok(json!({"0x1FFFFFFFFFFFFFFFF": "a"})));
    }
}
