//! `echo` and `printf`.

use super::super::{Run, Shell, reason};
use super::escapes;
use nix::errno::Errno;
use std::num::IntErrorKind;

impl Shell {
    /// Writes to standard output, past all buffers.
    pub(crate) fn print(&self, text: &str) -> Run {
        self.print_bytes(text.as_bytes())
    }

    fn print_bytes(&self, bytes: &[u8]) -> Run {
        let mut rest = bytes;
        while !rest.is_empty() {
            match nix::unistd::write(std::io::stdout(), rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::EINTR) => {}
                Err(e) => {
                    self.print_error(format_args!("write error: {}", reason(&std::io::Error::from(e))));
                    return Ok(1);
                }
            }
        }
        Ok(0)
    }

    pub(crate) fn echo(&mut self, args: &[String]) -> Run {
        let (mut newline, mut escaped, mut rest) = (true, false, args);
        while let [option, more @ ..] = rest {
            let letters = option.strip_prefix('-').unwrap_or_default();
            if letters.is_empty() || !letters.chars().all(|c| "neE".contains(c)) {
                break;
            }
            newline &= !letters.contains('n');
            escaped |= letters.contains('e');
            rest = more;
        }
        let mut text = rest.join(" ").into_bytes();
        if escaped {
            let (expanded, stop) = escapes::echo(&rest.join(" "));
            text = expanded;
            newline &= !stop;
        }
        if newline {
            text.push(b'\n');
        }
        self.print_bytes(&text)
    }

    pub(crate) fn printf(&mut self, args: &[String]) -> Run {
        if args.first().is_some_and(|a| a == "-v") {
            return self.report_misuse("printf", "illegal option -v"); // of bash: it sets a variable
        }
        let args = if args.first().is_some_and(|a| a == "--") { &args[1..] } else { args };
        let Some((format, values)) = args.split_first() else {
            return self.report_misuse("printf", "usage: printf format [argument ...]");
        };
        let (text, faults) = format_text(format, values);
        for fault in &faults {
            self.print_error(format_args!("printf: {fault}"));
        }
        let status = self.print_bytes(&text)?;
        Ok(if faults.is_empty() { status } else { 1 })
    }
}

/// Does the whole of printf(1): the format is used again while values are left. Also what was wrong
/// with them.
fn format_text(format: &str, values: &[String]) -> (Vec<u8>, Vec<String>) {
    let format = escapes::decode_format(format);
    let (mut out, mut faults) = (Vec::new(), Vec::new());
    let mut values = values.iter();
    loop {
        let before = values.len();
        if !format_once(&format, &mut values, &mut out, &mut faults)
            || values.len() == 0
            || values.len() == before
        {
            return (out, faults);
        }
    }
}

/// Returns `false` if the output ends here: `\c` in a value, or a directive that is wrong.
fn format_once(
    format: &[u8],
    values: &mut std::slice::Iter<'_, String>,
    out: &mut Vec<u8>,
    faults: &mut Vec<String>,
) -> bool {
    let mut bytes = format.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut spec = String::new();
        while let Some(byte) = bytes.next_if(|byte| b"-+ #0123456789.*".contains(byte)) {
            match byte {
                b'*' => {
                    let value = values.next().map_or("0", String::as_str);
                    let (number, whole) = parse_integer(value);
                    if !whole {
                        faults.push(format!("invalid number '{value}'"));
                    }
                    spec.push_str(&number.to_string());
                }
                byte => spec.push(byte.into()),
            }
        }
        // C's lengths, as in `%ld`: every number here is as long as the longest.
        while bytes.next_if(|byte| b"hlLjzt".contains(byte)).is_some() {}
        let Some(conversion) = bytes.next().map(char::from) else {
            faults.push("missing format character".into());
            return false;
        };
        if conversion == '%' {
            out.push(b'%');
            continue;
        }
        let Some(spec) = Spec::parse(&spec) else {
            faults.push("width or precision is too large".into());
            return false;
        };
        let value = values.next().map_or("", String::as_str);
        if conversion == 'b' {
            let (text, stop) = escapes::echo(value);
            out.extend(spec.pad_bytes(text));
            if stop {
                return false;
            }
            continue;
        }
        match spec.convert(conversion, value, faults) {
            Some(text) => out.extend(text.into_bytes()),
            None => {
                faults.push(format!("%{conversion}: invalid directive"));
                return false;
            }
        }
    }
    true
}

/// Flags, width and precision.
struct Spec {
    left: bool,
    plus: bool,
    blank: bool,
    zero: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

/// Returns a width or a precision; 0 if the text is no number, `None` if C's `int` cannot hold it.
fn parse_size(text: &str) -> Option<usize> {
    match text.parse::<i32>() {
        Ok(size) => usize::try_from(size).ok(),
        Err(e) if *e.kind() == IntErrorKind::PosOverflow => None,
        Err(_) => Some(0),
    }
}

impl Spec {
    /// Reads flags, width and precision. Returns `None` if one of the numbers is too large.
    fn parse(text: &str) -> Option<Spec> {
        let at = text.find(|c: char| !"-+ #0".contains(c)).unwrap_or(text.len());
        let (flags, rest) = text.split_at(at);
        let (width, precision) = match rest.split_once('.') {
            // As in C, a negative one (`%.*s` with -1) counts as none.
            Some((width, precision)) if precision.starts_with('-') => (width, None),
            Some((width, precision)) => (width, Some(parse_size(precision)?)),
            None => (rest, None),
        };
        Some(Spec {
            left: flags.contains('-') || width.starts_with('-'),
            plus: flags.contains('+'),
            blank: flags.contains(' '),
            zero: flags.contains('0'),
            alternate: flags.contains('#'),
            width: parse_size(width.trim_start_matches('-'))?.min(65536),
            precision,
        })
    }

    fn pad(&self, mut text: String, number: bool) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            text.push_str(&" ".repeat(missing));
        } else if self.zero && number {
            let sign = match text.starts_with(['-', '+', ' ']) {
                true => 1,
                false if text.starts_with("0x") || text.starts_with("0X") => 2,
                false => 0,
            };
            text.insert_str(sign, &"0".repeat(missing));
        } else {
            text.insert_str(0, &" ".repeat(missing));
        }
        text
    }

    /// As [`Spec::pad`]; what is no character counts as one.
    fn pad_bytes(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let missing = self.width.saturating_sub(String::from_utf8_lossy(&bytes).chars().count());
        let blanks = vec![b' '; missing];
        match self.left {
            true => bytes.extend(blanks),
            false => drop(bytes.splice(..0, blanks)),
        }
        bytes
    }

    /// `None` for an unknown conversion.
    fn convert(&self, conversion: char, value: &str, faults: &mut Vec<String>) -> Option<String> {
        let mut integer = || {
            let (number, whole) = parse_integer(value);
            if !whole {
                faults.push(format!("invalid number '{value}'"));
            }
            number
        };
        let unsigned = |number: i128| match u64::try_from(number) {
            Ok(number) => number,
            Err(_) if number > 0 => u64::MAX,
            Err(_) => number.max(i64::MIN.into()) as i64 as u64,
        };
        // A precision is the least number of digits, and then `0` fills nothing.
        let digits = |text: String| {
            let sign = usize::from(text.starts_with('-'));
            let missing = (self.precision.unwrap_or(0).min(65536) + sign).saturating_sub(text.len());
            format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..])
        };
        let zeros = self.precision.is_none();
        // Zero has no mark, and an octal number that begins with a zero has it already.
        let prefix = |text: String, mark: &str| {
            let marked = text.starts_with(mark) || text.chars().all(|c| c == '0');
            if self.alternate && !marked { format!("{mark}{text}") } else { text }
        };
        let signed = |text: String, negative: bool| match (negative, self.plus, self.blank) {
            (false, true, _) => format!("+{text}"),
            (false, false, true) => format!(" {text}"),
            _ => text,
        };
        Some(match conversion {
            's' => {
                let text = self.precision.map_or(value.to_string(), |p| value.chars().take(p).collect());
                self.pad(text, false)
            }
            // An empty text has its end to print: a NUL.
            'c' => self.pad(value.chars().next().unwrap_or('\0').to_string(), false),
            'd' | 'i' => {
                let number = integer().clamp(i64::MIN.into(), i64::MAX.into());
                self.pad(signed(digits(number.to_string()), number < 0), zeros)
            }
            'u' => self.pad(digits(unsigned(integer()).to_string()), zeros),
            'x' => self.pad(prefix(digits(format!("{:x}", unsigned(integer()))), "0x"), zeros),
            'X' => self.pad(prefix(digits(format!("{:X}", unsigned(integer()))), "0X"), zeros),
            'o' => self.pad(prefix(digits(format!("{:o}", unsigned(integer()))), "0"), zeros),
            'f' | 'F' | 'e' | 'E' | 'g' | 'G' => {
                let (number, whole) = parse_real(value);
                if !whole {
                    faults.push(format!("invalid number '{value}'"));
                }
                let text = format_real(conversion, number, self.precision, self.alternate);
                // Zeros fill no `inf` and no `nan`. -0.0 has a sign.
                self.pad(signed(text, number.is_sign_negative()), number.is_finite())
            }
            _ => return None,
        })
    }
}

/// Returns the number at the beginning of a text, as strtol(3) reads it, and whether that is all of
/// it and fits into 64 bits.
fn parse_integer(value: &str) -> (i128, bool) {
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
fn parse_real(value: &str) -> (f64, bool) {
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
fn format_real(conversion: char, number: f64, precision: Option<usize>, alternate: bool) -> String {
    let precision = precision.unwrap_or(6).min(100);
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

    #[test]
    fn printf_formats_as_c_does() {
        let print = |format: &str, values: &[&str]| {
            let (bytes, _) =
                format_text(format, &values.iter().map(|v| (*v).to_string()).collect::<Vec<_>>());
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(print("%s-%d\\n", &["a", "1", "b", "2"]), "a-1\nb-2\n");
        assert_eq!(print("%5.2f|%-4s|%04d|%+d", &["3.14159", "x", "-7", "5"]), " 3.14|x   |-007|+5");
        assert_eq!(print("%x %o %X %c %%", &["255", "8", "0xff", "word"]), "ff 10 FF w %");
        assert_eq!(print("%e %g %g", &["12345.678", "0.0001", "1e10"]), "1.234568e+04 0.0001 1e+10");
        assert_eq!(print("%ld %5lld|%hx", &["1", "2", "255"]), "1     2|ff");
        assert_eq!(print("%b|", &["a\\tb"]), "a\tb|");
        assert_eq!(print("\\x|\\xg|%b", &["\\x"]), "\\x|\\xg|\\x", "no digit, no byte");
        assert_eq!(print("a\\045d \\x25s \\0101|\\\\%d", &["5"]), "a%d %s \x081|\\5");
        assert_eq!(
            print("% d|% d|%#o|%#x|%#o|%#06x", &["5", "-5", "0", "0", "8", "255"]),
            " 5|-5|0|0|010|0x00ff"
        );
        assert_eq!(print("%.*s|%.*d|%.*f", &["-1", "ab", "-1", "5", "-1", "2.5"]), "ab|5|2.500000");
        assert_eq!(
            print("%+g|%+.1f|%05f|%-5f|%e|%G", &["-0.0", "-0.0", "inf", "nan", "-inf", "nan"]),
            "-0|-0.0|  inf|nan  |-inf|NAN"
        );
        assert_eq!(
            format_text("%*d|%*d", &["x".into(), "1".into(), "007".into(), "2".into()]),
            (b"1|      2".to_vec(), vec!["invalid number 'x'".to_string()])
        );
        assert_eq!(print("%s|", &[]), "|");
        assert_eq!(print("x", &["unused"]), "x");
        assert_eq!(print("%.3d|%06.3d|%.2x|%.3d", &["5", "-5", "255", "1234"]), "005|  -005|ff|1234");
        assert_eq!(print("\\342\\234\\223 %b %3b|", &["\\xe2\\x9c\\x93", "\\0303\\0251"]), "✓ ✓   é|");
        assert_eq!(format_text("\\377%s", &["ü".into()]).0, [0xff, 0xc3, 0xbc]);
        assert_eq!(
            print("%d %u %x", &["-9223372036854775808", "18446744073709551615", "-1"]),
            "-9223372036854775808 18446744073709551615 ffffffffffffffff"
        );
        assert_eq!(
            print("%d %d %u %d", &["12abc", "0x", "99999999999999999999", "99999999999999999999"]),
            "12 0 18446744073709551615 9223372036854775807"
        );
        assert_eq!(
            print("%#g|%#.0f|%#.0e|%#g|%#.3g|%#g|%#.0g", &["1", "1", "1", "100000", "1e10", "0", "1"]),
            "1.00000|1.|1.e+00|100000.|1.00e+10|0.00000|1."
        );
        assert_eq!(print("[%c|%3c|%-3c|%c]", &["", "", "", "ab"]), "[\0|  \0|\0  |a]");
        for format in ["a%.99999999999999999999d", "a%.2147483648s", "a%99999999999999999999f"] {
            let large = vec!["width or precision is too large".to_string()];
            assert_eq!(format_text(format, &["1".into()]), (b"a".to_vec(), large), "{format}");
        }
        for format in ["a%", "a%l", "a%-5"] {
            let missing = vec!["missing format character".to_string()];
            assert_eq!(format_text(format, &["1".into(), "2".into()]), (b"a".to_vec(), missing), "{format}");
        }
        assert_eq!(format_text("%d", &["12abc".into()]).1, ["invalid number '12abc'"]);
        assert_eq!(format_text("%d", &["abc".into()]), (b"0".to_vec(), vec!["invalid number 'abc'".into()]));
    }

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
