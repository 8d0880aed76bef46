//! `echo` and `printf`.

use super::super::{Run, Shell, reason};
use super::escapes;
use super::numbers::{format_real, parse_integer, parse_real};
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
            let (expanded, stop) = escapes::decode_echo(&rest.join(" "));
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
        let formatted = format_text(format, values);
        for fault in &formatted.faults {
            self.print_error(format_args!("printf: {fault}"));
        }
        let status = self.print_bytes(&formatted.text)?;
        Ok(status.max(formatted.status()))
    }
}

/// What printf(1) makes of a format and values.
#[derive(Debug, Default, PartialEq, Eq)]
struct Formatted {
    text: Vec<u8>,
    /// What is wrong with the values or the format, in words for standard error.
    faults: Vec<String>,
    /// Whether the format is wrong. The text ends there.
    is_misused: bool,
}

impl Formatted {
    /// Adds what is wrong with the format.
    fn add_misuse(&mut self, fault: String) {
        self.faults.push(fault);
        self.is_misused = true;
    }

    /// Returns the exit status: 1 for a wrong value and, as in dash, 2 for a wrong format.
    fn status(&self) -> i32 {
        match self.is_misused {
            true => 2,
            false => i32::from(!self.faults.is_empty()),
        }
    }
}

/// Formats values as printf(1) does. The format is used again while values are left.
fn format_text(format: &str, values: &[String]) -> Formatted {
    let format = escapes::decode_format(format);
    let mut formatted = Formatted::default();
    let mut values = values.iter();
    loop {
        let before = values.len();
        if !format_once(&format, &mut values, &mut formatted) || values.len() == 0 || values.len() == before {
            return formatted;
        }
    }
}

/// Adds the format to the text once. Returns `false` if the output ends here: `\c` in a value, or a
/// directive that is wrong.
fn format_once(format: &[u8], values: &mut std::slice::Iter<'_, String>, formatted: &mut Formatted) -> bool {
    let mut bytes = format.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            formatted.text.push(byte);
            continue;
        }
        let mut spec = String::new();
        while let Some(byte) = bytes.next_if(|byte| b"-+ #0123456789.*".contains(byte)) {
            match byte {
                b'*' => {
                    let value = values.next().map_or("0", String::as_str);
                    let (number, whole) = parse_integer(value);
                    if !whole {
                        formatted.faults.push(format!("invalid number '{value}'"));
                    }
                    spec.push_str(&number.to_string());
                }
                byte => spec.push(byte.into()),
            }
        }
        // C's lengths, as in `%ld`: every number here is as long as the longest.
        while bytes.next_if(|byte| b"hlLjzt".contains(byte)).is_some() {}
        let Some(conversion) = bytes.next().map(char::from) else {
            formatted.add_misuse("missing format character".into());
            return false;
        };
        if conversion == '%' {
            formatted.text.push(b'%');
            continue;
        }
        let Some(spec) = Spec::parse(&spec) else {
            formatted.add_misuse("width or precision is too large".into());
            return false;
        };
        let value = values.next().map_or("", String::as_str);
        if conversion == 'b' {
            let (text, stop) = escapes::decode_echo(value);
            formatted.text.extend(spec.pad_bytes(text));
            if stop {
                return false;
            }
            continue;
        }
        match spec.convert(conversion, value, &mut formatted.faults) {
            Some(text) => formatted.text.extend(text.into_bytes()),
            None => {
                formatted.add_misuse(format!("%{conversion}: invalid directive"));
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

    /// Returns a value as a conversion prints it; `None` if the conversion is unknown.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printf_formats_as_c_does() {
        let print = |format: &str, values: &[&str]| {
            let values: Vec<String> = values.iter().map(|v| (*v).to_string()).collect();
            String::from_utf8(format_text(format, &values).text).unwrap()
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
        assert_eq!(print("%*d|%*d", &["x", "1", "007", "2"]), "1|      2");
        assert_eq!(print("%s|", &[]), "|");
        assert_eq!(print("x", &["unused"]), "x");
        assert_eq!(print("%.3d|%06.3d|%.2x|%.3d", &["5", "-5", "255", "1234"]), "005|  -005|ff|1234");
        assert_eq!(print("\\342\\234\\223 %b %3b|", &["\\xe2\\x9c\\x93", "\\0303\\0251"]), "✓ ✓   é|");
        assert_eq!(format_text("\\377%s", &["ü".into()]).text, [0xff, 0xc3, 0xbc]);
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
        assert_eq!(print("%.101f|%.101g", &["0.5", "0.5"]), format!("0.5{}|0.5", "0".repeat(100)));
        assert_eq!(print("[%c|%3c|%-3c|%c]", &["", "", "", "ab"]), "[\0|  \0|\0  |a]");
    }

    /// The statuses are those of dash 0.5.12.
    #[test]
    fn a_wrong_format_ends_the_output() {
        let large = "width or precision is too large";
        let missing = "missing format character";
        for (format, text, fault, status) in [
            ("a%.99999999999999999999d", "a", large, 2),
            ("a%.2147483648s", "a", large, 2),
            ("a%99999999999999999999f", "a", large, 2),
            ("a%", "a", missing, 2),
            ("a%l", "a", missing, 2),
            ("a%-5", "a", missing, 2),
            ("a%zb%5y", "a12x", "%y: invalid directive", 2),
            ("%d|", "12|0|", "invalid number '12x'", 1),
            ("%.*s|", "|", "invalid number '12x'", 1),
        ] {
            let formatted = format_text(format, &["12x".into(), "".into()]);
            let found = (formatted.text.as_slice(), formatted.faults.join(", "), formatted.status());
            assert_eq!(found, (text.as_bytes(), fault.to_string(), status), "{format}");
        }
    }
}
