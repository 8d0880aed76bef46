//! Constants of a template: text in quotes, characters, numbers. Source: Go's `strconv.Unquote` and
//! `text/template/parse`.

use api::gostr;
use serde_json::Value;

fn wrong(why: &str) -> String {
    format!("template: output:1: {why}")
}

/// Reads what begins at a quote: `"text"`, `` `raw text` ``, or `'c'`, which is a number.
pub(super) fn quoted(chars: &[char], at: &mut usize) -> Result<Value, String> {
    let quote = chars[*at];
    let start = *at + 1;
    let end = closing(&chars[start..], quote).ok_or_else(|| match quote {
        '`' => wrong("unterminated raw quoted string"),
        '"' => wrong("unterminated quoted string"),
        _ => wrong("unterminated character constant"),
    })?;
    let inner = &chars[start..start + end];
    *at = start + end + 1;
    if quote == '`' {
        return Ok(inner.iter().collect::<String>().into());
    }
    let bytes = unescaped(inner, quote).ok_or_else(|| wrong("invalid syntax"))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if quote == '"' {
        return Ok(text.into());
    }
    let mut found = text.chars();
    match (found.next(), found.next()) {
        (Some(c), None) => Ok(u32::from(c).into()),
        (None, _) => Err(wrong("invalid syntax")),
        _ => Err(wrong(&format!("malformed character constant: '{text}'"))),
    }
}

/// Returns the position of the closing quote. Only raw text may go over several lines.
fn closing(chars: &[char], quote: char) -> Option<usize> {
    let mut escaped = false;
    for (i, c) in chars.iter().enumerate() {
        match c {
            '\n' if quote != '`' => return None,
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            c if *c == quote => return Some(i),
            _ => {}
        }
    }
    None
}

/// Resolves escapes. `\x` and octal ones give single bytes.
fn unescaped(chars: &[char], quote: char) -> Option<Vec<u8>> {
    let mut out = vec![];
    let put = |out: &mut Vec<u8>, c: char| out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    let mut rest = chars;
    while let Some((c, after)) = rest.split_first() {
        rest = after;
        if *c != '\\' {
            put(&mut out, *c);
            continue;
        }
        let (escape, after) = rest.split_first()?;
        let (from, digits, radix) = match escape {
            'x' => (after, 2, 16),
            'u' => (after, 4, 16),
            'U' => (after, 8, 16),
            '0'..='7' => (rest, 3, 8),
            _ => {
                put(&mut out, plain_escape(*escape, quote)?);
                rest = after;
                continue;
            }
        };
        let mut number = 0;
        for digit in from.get(..digits)? {
            number = number * radix + digit.to_digit(radix)?;
        }
        rest = &from[digits..];
        match escape {
            'u' | 'U' => put(&mut out, char::from_u32(number)?),
            _ => out.push(u8::try_from(number).ok()?),
        }
    }
    Some(out)
}

fn plain_escape(escape: char, quote: char) -> Option<char> {
    Some(match escape {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' => '\\',
        c if c == quote => c,
        _ => return None,
    })
}

/// Reads a number: decimal, with a prefix for another base, with `_` between digits, or a fraction.
pub(super) fn number(chars: &[char], at: &mut usize) -> Result<Value, String> {
    let start = *at;
    *at += 1;
    while let Some(c) = chars.get(*at) {
        let exponent = matches!(chars[*at - 1], 'e' | 'E') && !is_hexadecimal(&chars[start..*at]);
        if !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || (matches!(c, '+' | '-') && exponent)) {
            break;
        }
        *at += 1;
    }
    let text: String = chars[start..*at].iter().collect();
    let value =
        gostr::parse_int(&text, i64::BITS).ok().map(Value::from).or_else(|| fraction(&text).map(Value::from));
    value.ok_or_else(|| wrong(&format!("bad number syntax: {}", gostr::quote(&text))))
}

fn is_hexadecimal(chars: &[char]) -> bool {
    let text: String = chars.iter().map(char::to_ascii_lowercase).collect();
    text.trim_start_matches(['+', '-']).starts_with("0x")
}

/// A number with a fraction or an exponent.
fn fraction(text: &str) -> Option<f64> {
    let known = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    let fraction = text.contains(['.', 'e', 'E']) && text.chars().all(known);
    text.parse().ok().filter(|_| fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        let (chars, mut at) = (text.chars().collect::<Vec<_>>(), 0);
        let read = if chars[0].is_ascii_digit() || "+-".contains(chars[0]) { number } else { quoted };
        match read(&chars, &mut at)? {
            value if at == chars.len() => Ok(value),
            _ => Err(format!("ends at {at}")),
        }
    }

    #[test]
    fn text_has_gos_escapes() {
        for (text, want) in [
            (r#""a\u00e9\x41\101\n""#, "a\u{e9}AA\n"),
            (r#""\xc3\xa9\U0001F600\"\\""#, "\u{e9}\u{1F600}\"\\"),
            ("`a\\n\n\"`", "a\\n\n\""),
        ] {
            assert_eq!(read(text).unwrap(), want, "{text}");
        }
        for text in
            [r#""\q""#, r#""\'""#, r#""\ud800""#, r#""\x4""#, r#""\400""#, "\"a\nb\"", "\"a", "''", "'ab'"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn characters_and_numbers_are_gos() {
        for (text, want) in [
            ("'a'", 97),
            (r"'\n'", 10),
            (r"'\''", 39),
            ("'\u{e9}'", 233),
            ("0x10", 16),
            ("0x_1", 1),
            ("0b11", 3),
            ("0o17", 15),
            ("017", 15),
            ("0", 0),
            ("1_000", 1000),
            ("-3", -3),
            ("+3", 3),
        ] {
            assert_eq!(read(text).unwrap(), want, "{text}");
        }
        for (text, want) in [("1.5", 1.5), ("1e3", 1000.0), ("1e-1", 0.1)] {
            assert_eq!(read(text).unwrap(), want, "{text}");
        }
        for text in ["1__0", "+inf", "08", "0x", "0xg", "9223372036854775808", "1a"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
