//! Values: a number, a string, or a text from outside that may be both (POSIX' "numeric string").

use super::format;
use std::cmp::Ordering;
use std::rc::Rc;

/// Bytes, in no particular encoding: what is read is written as it was.
pub(in crate::awk) type Text = Rc<[u8]>;

#[derive(Debug, Clone)]
pub(in crate::awk) enum Value {
    /// Never assigned: both 0 and the empty string.
    Unset,
    Number(f64),
    Text(Text),
    /// A text from outside (a field, a line, an operand): a number too if it looks like one.
    Input(Text),
}

impl From<bool> for Value {
    fn from(truth: bool) -> Value {
        Value::Number(f64::from(truth))
    }
}

impl Value {
    pub(in crate::awk) fn text(bytes: &[u8]) -> Value {
        Value::Text(Rc::from(bytes))
    }

    pub(in crate::awk) fn input(bytes: &[u8]) -> Value {
        Value::Input(Rc::from(bytes))
    }

    pub(in crate::awk) fn number(&self) -> f64 {
        match self {
            Value::Unset => 0.0,
            Value::Number(number) => *number,
            Value::Text(text) | Value::Input(text) => leading_number(text).0,
        }
    }

    /// Returns the value as a string; numbers that are no integers by the format (CONVFMT or OFMT).
    pub(in crate::awk) fn to_text(&self, format: &[u8]) -> Text {
        match self {
            Value::Unset => Rc::from(&b""[..]),
            Value::Number(number) => Rc::from(number_text(*number, format)),
            Value::Text(text) | Value::Input(text) => Rc::clone(text),
        }
    }

    pub(in crate::awk) fn truth(&self) -> bool {
        match self {
            Value::Unset => false,
            Value::Number(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::Input(text) => match whole_number(text) {
                Some(number) => number != 0.0,
                None => !text.is_empty(),
            },
        }
    }

    /// Returns the number that the value compares as; `None` if it compares as a string.
    pub(in crate::awk) fn numeric(&self) -> Option<f64> {
        match self {
            Value::Unset => Some(0.0),
            Value::Number(number) => Some(*number),
            Value::Text(_) => None,
            Value::Input(text) => whole_number(text),
        }
    }

    /// Compares as numbers if both sides are numbers or look like numbers from outside, and as
    /// strings otherwise. `None` if one of them is no number at all (NaN).
    pub(in crate::awk) fn compare(&self, other: &Value, convfmt: &[u8]) -> Option<Ordering> {
        match (self.numeric(), other.numeric()) {
            (Some(left), Some(right)) => left.partial_cmp(&right),
            _ => Some(self.to_text(convfmt).cmp(&other.to_text(convfmt))),
        }
    }
}

/// Returns a number as a string: integers with all their digits, others by the format.
pub(in crate::awk) fn number_text(number: f64, format: &[u8]) -> Vec<u8> {
    if number == number.trunc() && number.abs() < 1e16 {
        return (number as i64).to_string().into_bytes();
    }
    if number.is_finite() && number == number.trunc() {
        return format!("{number:.0}").into_bytes();
    }
    format::format_number(format, number)
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Returns the number with which a text begins, 0 if there is none, and how many bytes belong to
/// it.
pub(in crate::awk) fn leading_number(text: &[u8]) -> (f64, usize) {
    let digits = |from: usize| text[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let start = text.iter().take_while(|b| is_blank(b)).count();
    let mut at = start + usize::from(matches!(text.get(start), Some(b'+' | b'-')));
    let whole = digits(at);
    at += whole;
    if text.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if whole + fraction == 0 {
            return (0.0, 0);
        }
        at += 1 + fraction;
    } else if whole == 0 {
        return (0.0, 0);
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + sign);
        if exponent > 0 {
            at += 1 + sign + exponent;
        }
    }
    let number = std::str::from_utf8(&text[start..at]).ok().and_then(|t| t.parse().ok());
    (number.unwrap_or(0.0), at)
}

/// Returns the number that a text from outside is, if nothing but blanks stands around it.
fn whole_number(text: &[u8]) -> Option<f64> {
    let (number, length) = leading_number(text);
    (length > 0 && text[length..].iter().all(is_blank)).then_some(number)
}

/// Replaces the escape sequences of a string. An unknown one stays as it is, as in mawk and
/// busybox, so `"\."` is the regular expression for a dot.
pub(in crate::awk) fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        let Some((escaped, length)) = escape(&raw[at..]) else {
            match raw.get(at) {
                Some(b'\n') => {}
                Some(&other) => text.extend([b'\\', other]),
                None => text.push(b'\\'),
            }
            at += 1;
            continue;
        };
        text.push(escaped);
        at += length;
    }
    text
}

/// Returns the byte that an escape sequence means, and its length without the backslash; `None` if
/// it is none that strings and regular expressions share.
pub(in crate::awk) fn escape(rest: &[u8]) -> Option<(u8, usize)> {
    let byte = match rest.first()? {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'v' => 0x0b,
        same @ (b'\\' | b'"' | b'/') => *same,
        b'x' => {
            let digits: Vec<u32> =
                rest[1..].iter().take(2).map_while(|&b| char::from(b).to_digit(16)).collect();
            let code = digits.iter().fold(0, |code, digit| code * 16 + digit);
            return (!digits.is_empty()).then_some((code as u8, 1 + digits.len()));
        }
        b'0'..=b'7' => {
            let digits: Vec<u32> = rest.iter().take(3).map_while(|&b| char::from(b).to_digit(8)).collect();
            let code = digits.iter().fold(0, |code, digit| code * 8 + digit);
            return Some((code as u8, digits.len()));
        }
        _ => return None,
    };
    Some((byte, 1))
}
