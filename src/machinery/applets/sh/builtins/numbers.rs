//! The numbers of `printf`, read and written as C's library does.

/// Returns the number at the beginning of a text, as strtol(3) reads it, and whether that is all of
/// it and fits into 64 bits.
pub(super) fn parse_integer(value: &str) -> (i128, bool) {
    let value = value.trim();
    if let Some(text) = value.strip_prefix(['\'', '"']) {
        return (text.chars().next().map_or(0, |c| i128::from(u32::from(c))), true);
    }
    let (negative, digits) = match value.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, value.strip_prefix('+').unwrap_or(value)),
    };
    let (digits, base) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    let end = digits.find(|c: char| !c.is_digit(base)).unwrap_or(digits.len());
    let most = i128::from(u64::MAX);
    let magnitude = match &digits[..end] {
        "" => 0,
        known => i128::from_str_radix(known, base).unwrap_or(i128::MAX),
    };
    let whole = (end == digits.len() && end > 0 || value.is_empty()) && magnitude <= most;
    let magnitude = magnitude.min(most);
    (if negative { -magnitude } else { magnitude }, whole)
}

/// Returns the number at the beginning of a text, as strtod(3) reads it, and whether that is all of
/// it and no number too large for a double. Behind a quote stands a character.
pub(super) fn parse_real(value: &str) -> (f64, bool) {
    let text = value.trim_start();
    if let Some(text) = text.strip_prefix(['\'', '"']) {
        return (text.chars().next().map_or(0.0, |c| u32::from(c).into()), true);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text).to_ascii_lowercase();
    let (magnitude, length) = match &*unsigned {
        name if name.starts_with("infinity") => (f64::INFINITY, "infinity".len()),
        name if name.starts_with("inf") => (f64::INFINITY, "inf".len()),
        name if name.starts_with("nan") => (f64::NAN, "nan".len()),
        number => match number.strip_prefix("0x").map(|hex| (hex, measure_real(hex, 16, 'p'))) {
            Some((hex, (mantissa, end))) if end > 0 => {
                (hexadecimal_real(&hex[..mantissa], &hex[mantissa..end]), "0x".len() + end)
            }
            _ => {
                let (_, end) = measure_real(number, 10, 'e');
                (number[..end].parse().unwrap_or(0.0), end)
            }
        },
    };
    let is_too_large = magnitude.is_infinite() && !unsigned.starts_with("inf");
    let whole = (length == unsigned.len() && length > 0 || value.is_empty()) && !is_too_large;
    (if text.starts_with('-') { -magnitude } else { magnitude }, whole)
}

/// Returns the length of the digits, with a point, at the beginning of a text, and their length
/// with an exponent behind them. Both are 0 if there is no digit.
fn measure_real(text: &str, radix: u32, exponent: char) -> (usize, usize) {
    let count = |from: usize, radix: u32| text[from..].chars().take_while(|c| c.is_digit(radix)).count();
    let whole = count(0, radix);
    let point = usize::from(text[whole..].starts_with('.'));
    let fraction = if point == 1 { count(whole + 1, radix) } else { 0 };
    if whole + fraction == 0 {
        return (0, 0);
    }
    let mantissa = whole + point + fraction;
    let Some(behind) = text[mantissa..].strip_prefix(exponent) else { return (mantissa, mantissa) };
    let begin = mantissa + 1 + usize::from(behind.starts_with(['-', '+']));
    match count(begin, 10) {
        0 => (mantissa, mantissa),
        digits => (mantissa, begin + digits),
    }
}

/// Returns the value of hexadecimal digits with a point and of a binary exponent, which may be
/// empty: `1.8` and `p1` are 3.
fn hexadecimal_real(mantissa: &str, exponent: &str) -> f64 {
    /// Beyond this exponent all that fits into 64 bits is 0 or infinite in a double.
    const EXPONENT_MAX: i64 = 2000;
    let (mut digits, mut scale, mut is_fraction) = (0_u64, 0_i64, false);
    for c in mantissa.chars() {
        let Some(digit) = c.to_digit(16) else {
            is_fraction = true;
            continue;
        };
        if digits >> 60 == 0 {
            digits = (digits << 4) | u64::from(digit);
            scale -= if is_fraction { 4 } else { 0 };
        } else {
            digits |= u64::from(digit > 0); // it only decides how the number is rounded
            scale += if is_fraction { 0 } else { 4 };
        }
    }
    let limit = if exponent.starts_with("p-") { i64::MIN } else { i64::MAX };
    let given = exponent.strip_prefix('p').map_or(0, |number| number.parse().unwrap_or(limit));
    let scale = scale.saturating_add(given).clamp(-EXPONENT_MAX, EXPONENT_MAX) as i32;
    // In two steps, each of which a double can hold.
    digits as f64 * 2.0_f64.powi(scale / 2) * 2.0_f64.powi(scale - scale / 2)
}

/// Returns a floating-point number in C's format. With `alternate`, the flag `#`, it has a point
/// always, and `%g` keeps the zeros at the end.
pub(super) fn format_real(
    conversion: char,
    number: f64,
    precision: Option<usize>,
    alternate: bool,
) -> String {
    // Rust's formatting takes 16 bits of precision.
    let precision = precision.unwrap_or(6).min(u16::MAX.into());
    let with_point = |text: String| match alternate && !text.contains('.') {
        true => format!("{text}."),
        false => text,
    };
    let scientific = |precision: usize| {
        let text = format!("{number:.precision$e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        (with_point(mantissa.to_string()), exponent)
    };
    let write = |mantissa: &str, exponent: i32| {
        format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    };
    let text = match conversion.to_ascii_lowercase() {
        _ if number.is_nan() => "nan".to_string(),
        _ if number.is_infinite() => number.to_string(),
        'f' => with_point(format!("{number:.precision$}")),
        'e' => {
            let (mantissa, exponent) = scientific(precision);
            write(&mantissa, exponent)
        }
        _ => {
            let precision = precision.max(1);
            let (mantissa, exponent) = scientific(precision - 1);
            let trim = |text: &str| match text.contains('.') && !alternate {
                true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
                false => text.to_string(),
            };
            if exponent < -4 || exponent >= precision as i32 {
                write(&trim(&mantissa), exponent)
            } else {
                let digits = (precision as i32 - 1 - exponent).max(0) as usize;
                trim(&with_point(format!("{number:.digits$}")))
            }
        }
    };
    if conversion.is_ascii_uppercase() { text.to_uppercase() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As dash 0.5.12 reads them with strtod(3).
    #[test]
    fn reals_are_read_as_c_reads_them() {
        for (text, number, whole) in [
            ("", 0.0, true),
            ("0x10", 16.0, true),
            ("010", 10.0, true),
            ("-0x1.8p1", -3.0, true),
            ("0x.8", 0.5, true),
            ("0X1P-2", 0.25, true),
            (" +5.", 5.0, true),
            (".5", 0.5, true),
            ("'a", 97.0, true),
            ("INF", f64::INFINITY, true),
            ("-infinity", f64::NEG_INFINITY, true),
            ("0x", 0.0, false),
            ("0xg", 0.0, false),
            ("0x1p", 1.0, false),
            ("1e2x", 100.0, false),
            ("1e", 1.0, false),
            ("1 ", 1.0, false),
            ("1_0", 1.0, false),
            ("infx", f64::INFINITY, false),
            (".", 0.0, false),
            ("abc", 0.0, false),
            ("1e400", f64::INFINITY, false),
            ("0x1p99999999999999999999", f64::INFINITY, false),
            ("0x1p-1074", 5e-324, true),
            ("0x20000000000001.8", 9_007_199_254_740_994.0, true),
            ("0x200000000000010000000000000001", 9_007_199_254_740_994.0 * 2_f64.powi(64), true),
        ] {
            assert_eq!(parse_real(text), (number, whole), "{text}");
        }
        assert!(parse_real("nan").0.is_nan());
    }
}
