//! `printf`, and the formats CONVFMT and OFMT.

use super::value::Value;

/// The widest field and the most digits. Larger ones are an error: `%1000000000d` would fill the
/// memory.
const MAX_WIDTH: usize = 1_000_000;

/// A conversion without its letter.
#[derive(Debug, Default, Clone, Copy)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// Formats the values. `convfmt` is for numbers that are printed as strings.
///
/// # Errors
/// When the format has a conversion that does not exist or more conversions than there are values.
pub(in crate::awk) fn format(format: &[u8], values: &[Value], convfmt: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(format.len() + 16);
    let mut values = values.iter();
    let mut at = 0;
    while let Some(&byte) = format.get(at) {
        at += 1;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        if format.get(at) == Some(&b'%') {
            at += 1;
            out.push(b'%');
            continue;
        }
        let start = at - 1;
        let missing = || {
            let text = String::from_utf8_lossy(format);
            format!("not enough arguments for the format \"{}\"", text.escape_debug())
        };
        let mut next = || values.next().ok_or_else(missing);
        let spec = parse_spec(format, &mut at, &mut next)?;
        let Some(&letter) = format.get(at) else {
            out.extend_from_slice(&format[start..]);
            break;
        };
        at += 1;
        let body = match letter {
            b'd' | b'i' => format_integer(spec, next()?.number()),
            b'o' | b'x' | b'X' | b'u' => format_unsigned(spec, letter, next()?.number()),
            b'e' | b'E' | b'f' | b'F' | b'g' | b'G' => format_float(spec, letter, next()?.number()),
            b'c' => format_text(spec, &byte_of(next()?)),
            b's' => {
                let value = next()?.to_text(convfmt);
                let length = spec.precision.unwrap_or(value.len()).min(value.len());
                format_text(spec, &value[..length])
            }
            _ => {
                let text = String::from_utf8_lossy(&format[start..at]).into_owned();
                return Err(format!("unknown conversion {text} in a format"));
            }
        };
        out.extend(body);
    }
    Ok(out)
}

/// Reads the flags, the width and the precision, and length modifiers, which mean nothing here.
fn parse_spec<'v>(
    format: &[u8],
    at: &mut usize,
    next: &mut impl FnMut() -> Result<&'v Value, String>,
) -> Result<Spec, String> {
    let mut spec = Spec::default();
    while let Some(&flag) = format.get(*at) {
        match flag {
            b'-' => spec.left = true,
            b'+' => spec.plus = true,
            b' ' => spec.space = true,
            b'#' => spec.alternate = true,
            b'0' => spec.zero = true,
            _ => break,
        }
        *at += 1;
    }
    let width = parse_count(format, at, next)?.unwrap_or(0);
    spec.left |= width < 0;
    spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
    if format.get(*at) == Some(&b'.') {
        *at += 1;
        let precision = parse_count(format, at, next)?.unwrap_or(0);
        spec.precision = usize::try_from(precision).ok();
    }
    if spec.width > MAX_WIDTH || spec.precision.is_some_and(|p| p > MAX_WIDTH) {
        return Err("a width in a format is out of range".into());
    }
    while matches!(format.get(*at), Some(b'h' | b'l' | b'L' | b'q' | b'j' | b'z' | b't')) {
        *at += 1;
    }
    Ok(spec)
}

fn parse_count<'v>(
    format: &[u8],
    at: &mut usize,
    next: &mut impl FnMut() -> Result<&'v Value, String>,
) -> Result<Option<i64>, String> {
    if format.get(*at) == Some(&b'*') {
        *at += 1;
        return Ok(Some(next()?.number() as i64));
    }
    let digits = format[*at..].iter().take_while(|b| b.is_ascii_digit()).count();
    let text = std::str::from_utf8(&format[*at..*at + digits]).unwrap_or_default();
    *at += digits;
    Ok((digits > 0).then(|| text.parse().unwrap_or(i64::MAX)))
}

/// Writes a number by CONVFMT or OFMT. A format that is none gives the number as `%.6g` has it.
pub(super) fn format_number(format: &[u8], number: f64) -> Vec<u8> {
    let plain = || format_float(Spec { precision: Some(6), ..Spec::default() }, b'g', number);
    if format == b"%.6g" {
        return plain();
    }
    // `%s` in CONVFMT must not use CONVFMT again, so the inner format is `%.6g`.
    self::format(format, &[Value::Number(number)], b"%.6g").unwrap_or_else(|_| plain())
}

/// Returns the byte with the number, or the first byte of a string that is no number from outside.
/// A value that was never assigned is the number 0, and the empty string is NUL too, as in mawk and
/// gawk.
fn byte_of(value: &Value) -> [u8; 1] {
    match value.numeric() {
        Some(number) => [(number as i64 & 0xff) as u8],
        None => [value.to_text(b"").first().copied().unwrap_or(0)],
    }
}

/// `%s` and `%c`, which zeros never fill.
fn format_text(spec: Spec, text: &[u8]) -> Vec<u8> {
    pad(Spec { zero: false, ..spec }, b"", text)
}

/// Fills up to the width: with blanks, or with zeros between the sign and the digits.
fn pad(spec: Spec, sign: &[u8], digits: &[u8]) -> Vec<u8> {
    let fill = spec.width.saturating_sub(sign.len() + digits.len());
    let mut out = Vec::with_capacity(sign.len() + digits.len() + fill);
    if !spec.left && !spec.zero {
        out.resize(fill, b' ');
    }
    out.extend_from_slice(sign);
    if !spec.left && spec.zero {
        out.resize(out.len() + fill, b'0');
    }
    out.extend_from_slice(digits);
    if spec.left {
        out.resize(out.len() + fill, b' ');
    }
    out
}

fn sign_of(spec: Spec, negative: bool) -> &'static [u8] {
    match (negative, spec.plus, spec.space) {
        (true, ..) => b"-",
        (false, true, _) => b"+",
        (false, false, true) => b" ",
        _ => b"",
    }
}

/// `inf` and `nan`, which zeros never fill.
fn format_not_finite(spec: Spec, upper: bool, number: f64) -> Vec<u8> {
    let text: &[u8] = match (number.is_nan(), upper) {
        (true, false) => b"nan",
        (true, true) => b"NAN",
        (false, false) => b"inf",
        (false, true) => b"INF",
    };
    pad(Spec { zero: false, ..spec }, sign_of(spec, number.is_sign_negative()), text)
}

/// Writes at least as many digits as the precision says; the precision switches the flag `0` off.
fn pad_digits(spec: Spec, sign: &[u8], mut text: String) -> Vec<u8> {
    if let Some(precision) = spec.precision {
        if precision == 0 && text == "0" {
            text.clear();
        }
        let missing = precision.saturating_sub(text.len());
        text.insert_str(0, &"0".repeat(missing));
    }
    pad(Spec { zero: spec.zero && spec.precision.is_none(), ..spec }, sign, text.as_bytes())
}

fn format_integer(spec: Spec, number: f64) -> Vec<u8> {
    if !number.is_finite() {
        return format_not_finite(spec, false, number);
    }
    let whole = number.trunc();
    pad_digits(spec, sign_of(spec, whole < 0.0), format!("{:.0}", whole.abs()))
}

fn format_unsigned(spec: Spec, letter: u8, number: f64) -> Vec<u8> {
    if !number.is_finite() {
        return format_not_finite(spec, letter == b'X', number);
    }
    // A negative number as the machine has it, as in C.
    let bits = if number < 0.0 { (number as i64) as u64 } else { number as u64 };
    let (prefix, text): (&[u8], String) = match letter {
        b'o' if spec.alternate && bits > 0 => (b"", format!("0{bits:o}")),
        b'o' => (b"", format!("{bits:o}")),
        b'x' if spec.alternate && bits > 0 => (b"0x", format!("{bits:x}")),
        b'x' => (b"", format!("{bits:x}")),
        b'X' if spec.alternate && bits > 0 => (b"0X", format!("{bits:X}")),
        b'X' => (b"", format!("{bits:X}")),
        _ => (b"", bits.to_string()),
    };
    pad_digits(spec, prefix, text)
}

fn format_float(spec: Spec, letter: u8, number: f64) -> Vec<u8> {
    let upper = letter.is_ascii_uppercase();
    if !number.is_finite() {
        return format_not_finite(spec, upper, number);
    }
    let (sign, number) = (sign_of(spec, number.is_sign_negative()), number.abs());
    let precision = spec.precision.unwrap_or(6);
    let mut text = match letter.to_ascii_lowercase() {
        b'f' => format_fixed(number, precision, spec.alternate),
        b'e' => format_exponential(number, precision, spec.alternate),
        _ => format_general(number, precision.max(1), spec.alternate),
    };
    if upper {
        text = text.to_ascii_uppercase();
    }
    pad(spec, sign, text.as_bytes())
}

fn format_fixed(number: f64, precision: usize, point: bool) -> String {
    // Rust's formatting takes 16 bits of precision; a double has 1074 digits at most.
    let mut text = format!("{number:.*}", precision.min(1100));
    text.push_str(&"0".repeat(precision.saturating_sub(1100)));
    if precision == 0 && point {
        text.push('.');
    }
    text
}

fn format_exponential(number: f64, precision: usize, point: bool) -> String {
    let text = format!("{number:.*e}", precision.min(1100));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let zeros = "0".repeat(precision.saturating_sub(1100));
    let dot = if precision == 0 && point { "." } else { "" };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
    format!("{mantissa}{zeros}{dot}e{sign}{exponent:0>2}")
}

/// `%g`: as many significant digits as the precision says, without zeros at the end.
fn format_general(number: f64, precision: usize, zeros: bool) -> String {
    let precision = precision.min(1100);
    let shown = format_exponential(number, precision - 1, false);
    let exponent = shown.split_once('e').and_then(|(_, e)| e.parse::<i64>().ok()).unwrap_or(0);
    let scientific = exponent < -4 || exponent >= precision as i64;
    let text = match scientific {
        true => shown,
        false => format_fixed(number, usize::try_from(precision as i64 - 1 - exponent).unwrap_or(0), zeros),
    };
    if zeros {
        return text;
    }
    let (mantissa, tail) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, format!("e{exponent}")),
        None => (text.as_str(), String::new()),
    };
    match mantissa.contains('.') {
        true => format!("{}{tail}", mantissa.trim_end_matches('0').trim_end_matches('.')),
        false => format!("{mantissa}{tail}"),
    }
}
