//! `printf` of a template: flags, width, precision and verbs of Go's formats, and its words for
//! what does not fit. Source: Go's package `fmt`, `print.go` and `format.go`.
//!
//! Left out: `%p`, `%b` and `%x` of fractions, and `#` with them. A whole number is an `int64`
//! wherever it comes from; in Go constants and lengths are `int`.

use super::values::TOO_MUCH;
use api::gostr;
use serde_json::Value;

/// The largest width and precision. Go's limit is a million.
const SIZE_MAX: usize = 10_000;
/// One text has at most about so many bytes: each element of a list has the width.
const TEXT_MAX: usize = 64 << 20;

/// Returns the text for a format and its arguments.
///
/// Example: `%-5s|%03d|%.1f` of `a`, 7 and 1.25 is `a    |007|1.2`.
pub(super) fn formatted(format: &str, args: &[Value]) -> Result<String, String> {
    let chars = format.chars().collect();
    let mut reader = Reader { chars, at: 0, args, next: 0, reordered: false, bad_index: false };
    let mut out = String::new();
    while let Some(c) = reader.peek() {
        reader.at += 1;
        match c {
            '%' => reader.directive(&mut out),
            c => out.push(c),
        }
    }
    if !reader.reordered && reader.next < args.len() {
        let extra = args[reader.next..].iter().map(|arg| match arg {
            Value::Null => "<nil>".to_string(),
            arg => format!("{}={}", type_of(arg), gostr::plain(arg)),
        });
        out.push_str(&format!("%!(EXTRA {})", extra.collect::<Vec<String>>().join(", ")));
    }
    match out.len() > TEXT_MAX {
        true => Err(TOO_MUCH.into()),
        false => Ok(out),
    }
}

/// The type that a value has in kubectl, as `%T` prints it.
pub(in crate::print) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.as_i64().is_some() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A format that is read, and the arguments that are left.
struct Reader<'a> {
    chars: Vec<char>,
    at: usize,
    args: &'a [Value],
    /// The index of the next argument.
    next: usize,
    /// The format names an argument by its number: then none is superfluous.
    reordered: bool,
    /// The number of an argument in this directive is wrong.
    bad_index: bool,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    /// Reads digits, if there are any. As in Go, nothing is read behind a number that is too large.
    fn number(&mut self) -> Option<usize> {
        let from = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == from {
            return None;
        }
        let digits: String = self.chars[from..self.at].iter().collect();
        let number = digits.parse::<usize>().ok().filter(|number| *number <= SIZE_MAX);
        if number.is_none() {
            self.at = self.chars.len();
        }
        number
    }

    /// Reads `[2]`, the number of the argument that is next. Returns whether there was one.
    fn index(&mut self) -> bool {
        if self.peek() != Some('[') {
            return false;
        }
        self.reordered = true;
        let Some(length) = self.chars[self.at..].iter().position(|c| *c == ']') else {
            self.bad_index = true;
            self.at += 1;
            return false;
        };
        let digits: String = self.chars[self.at + 1..self.at + length].iter().collect();
        self.at += length + 1;
        match digits.parse::<usize>() {
            Ok(number) if (1..=self.args.len()).contains(&number) => self.next = number - 1,
            _ => self.bad_index = true,
        }
        true
    }

    /// Takes an argument that stands for `*`.
    fn star(&mut self) -> Option<i64> {
        self.at += 1;
        let arg = self.args.get(self.next)?;
        self.next += 1;
        arg.as_i64().filter(|number| number.unsigned_abs() <= SIZE_MAX as u64)
    }

    /// Reads a directive behind its `%`, and writes the next argument in that form.
    fn directive(&mut self, out: &mut String) {
        let mut spec = Spec::default();
        while let Some(flag @ ('#' | '0' | '+' | '-' | ' ')) = self.peek() {
            spec.flags.push(flag);
            self.at += 1;
        }
        self.bad_index = false;
        self.sizes(&mut spec, out);
        let Some(verb) = self.peek() else {
            out.push_str("%!(NOVERB)");
            return;
        };
        self.at += 1;
        if verb == '%' {
            out.push('%');
        } else if self.bad_index {
            out.push_str(&format!("%!{verb}(BADINDEX)"));
        } else if let Some(arg) = self.args.get(self.next) {
            self.next += 1;
            if verb == 'v' {
                // `%+v` is about Go's structures only; `%#v` has a flag of its own.
                spec.flags = spec.flags.replace('+', "").replace('#', "v");
            }
            spec.write(out, verb, arg);
        } else {
            out.push_str(&format!("%!{verb}(MISSING)"));
        }
    }

    /// Reads the width, the precision, and the number of the argument, which may stand before each.
    fn sizes(&mut self, spec: &mut Spec, out: &mut String) {
        let mut indexed = self.index();
        if self.peek() == Some('*') {
            indexed = false;
            match self.star() {
                None => out.push_str("%!(BADWIDTH)"),
                Some(width) => {
                    spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(0);
                    if width < 0 {
                        spec.flags.push('-');
                    }
                }
            }
        } else if let Some(width) = self.number() {
            spec.width = width;
            self.bad_index |= indexed;
        }
        if self.peek() == Some('.') {
            self.at += 1;
            self.bad_index |= indexed;
            indexed = self.index();
            if self.peek() == Some('*') {
                indexed = false;
                spec.precision = self.star().and_then(|number| usize::try_from(number).ok());
                if spec.precision.is_none() {
                    out.push_str("%!(BADPREC)");
                }
            } else {
                spec.precision = Some(self.number().unwrap_or(0));
            }
        }
        if !indexed {
            self.index();
        }
    }
}

/// The flags and sizes between `%` and the verb.
#[derive(Default)]
struct Spec {
    /// Signs of `#0+- `; `v` stands for the `#` of `%#v`.
    flags: String,
    /// In characters; 0 is none.
    width: usize,
    precision: Option<usize>,
}

impl Spec {
    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    /// Zeros are padded on the left only.
    fn has_zeros(&self) -> bool {
        self.has('0') && !self.has('-')
    }

    /// Writes an argument.
    fn write(&self, out: &mut String, verb: char, arg: &Value) {
        match arg {
            Value::Null if matches!(verb, 'v' | 'T') => out.push_str(&self.padded("<nil>")),
            Value::Null => out.push_str(&format!("%!{verb}(<nil>)")),
            arg if verb == 'T' => out.push_str(&self.padded(self.cut(type_of(arg)))),
            arg => self.element(out, verb, arg),
        }
    }

    /// Writes an argument, or an element of one that is a list or a map. Flags, width and precision
    /// are those of each element.
    fn element(&self, out: &mut String, verb: char, value: &Value) {
        if out.len() > TEXT_MAX {
            return;
        }
        let syntax = self.has('v');
        match value {
            Value::Null => out.push_str(if syntax { "interface {}(nil)" } else { "<nil>" }),
            Value::Array(list) => {
                out.push_str(if syntax { "[]interface {}{" } else { "[" });
                for (i, item) in list.iter().enumerate() {
                    self.separate(out, i);
                    self.element(out, verb, item);
                }
                out.push(if syntax { '}' } else { ']' });
            }
            Value::Object(map) => {
                out.push_str(if syntax { "map[string]interface {}{" } else { "map[" });
                let mut keys: Vec<&String> = map.keys().collect();
                keys.sort();
                for (i, key) in keys.into_iter().enumerate() {
                    self.separate(out, i);
                    self.element(out, verb, &Value::from(key.as_str()));
                    out.push(':');
                    self.element(out, verb, &map[key]);
                }
                out.push(if syntax { '}' } else { ']' });
            }
            plain => match self.scalar(verb, plain) {
                Some(text) => out.push_str(&text),
                None => {
                    let text = self.scalar('v', plain).unwrap_or_default();
                    out.push_str(&format!("%!{verb}({}={text})", type_of(plain)));
                }
            },
        }
    }

    /// Writes what stands before element `at` of a list or a map.
    fn separate(&self, out: &mut String, at: usize) {
        if at > 0 {
            out.push_str(if self.has('v') { ", " } else { " " });
        }
    }

    /// A text, number or truth value as the verb prints it; `None` if the verb is not for its type.
    fn scalar(&self, verb: char, value: &Value) -> Option<String> {
        match value {
            Value::Bool(truth) => matches!(verb, 'v' | 't').then(|| self.padded(&truth.to_string())),
            Value::String(text) => self.text(verb, text),
            Value::Number(number) => match number.as_i64() {
                Some(number) => self.integer(verb, number),
                None => self.fraction(verb, number.as_f64()?),
            },
            _ => None,
        }
    }

    /// The first characters of a text, as many as the precision says.
    fn cut<'t>(&self, text: &'t str) -> &'t str {
        let end = self.precision.and_then(|length| text.char_indices().nth(length));
        end.map_or(text, |(end, _)| &text[..end])
    }

    fn padded(&self, text: &str) -> String {
        match self.has_zeros() {
            true => "0".repeat(self.width.saturating_sub(text.chars().count())) + text,
            false => self.spaced(text),
        }
    }

    fn spaced(&self, text: &str) -> String {
        let pad = " ".repeat(self.width.saturating_sub(text.chars().count()));
        match self.has('-') {
            true => format!("{text}{pad}"),
            false => format!("{pad}{text}"),
        }
    }

    fn text(&self, verb: char, text: &str) -> Option<String> {
        match verb {
            'v' if self.has('v') => Some(self.padded(&gostr::quote(self.cut(text)))),
            'v' | 's' => Some(self.padded(self.cut(text))),
            'q' => Some(self.padded(&self.quoted(self.cut(text)))),
            'x' | 'X' => Some(self.padded(&self.bytes(verb, text))),
            _ => None,
        }
    }

    /// `%#q` takes backquotes where it can, `%+q` escapes all that is not ASCII.
    fn quoted(&self, text: &str) -> String {
        let raw = |c: char| (c == '\t' || !c.is_control()) && c != '`' && c != '\u{feff}';
        if self.has('#') && text.chars().all(raw) {
            return format!("`{text}`");
        }
        let quoted = gostr::quote(text);
        if !self.has('+') {
            return quoted;
        }
        let escaped = |c: char| match u32::from(c) {
            ..0x80 => c.to_string(),
            code @ ..0x10000 => format!("\\u{code:04x}"),
            code => format!("\\U{code:08x}"),
        };
        quoted.chars().map(escaped).collect()
    }

    /// The bytes of a text in hexadecimal digits: as many as the precision says.
    fn bytes(&self, verb: char, text: &str) -> String {
        let bytes = text.bytes().take(self.precision.unwrap_or(usize::MAX));
        let digits = bytes.map(|byte| match verb {
            'X' => format!("{byte:02X}"),
            _ => format!("{byte:02x}"),
        });
        let all: Vec<String> = digits.collect();
        let prefix = if self.has('#') && !all.is_empty() { format!("0{verb}") } else { String::new() };
        match self.has(' ') {
            true => all.iter().map(|byte| format!("{prefix}{byte}")).collect::<Vec<_>>().join(" "),
            false => prefix + &all.concat(),
        }
    }

    fn sign(&self, negative: bool) -> &'static str {
        match negative {
            true => "-",
            false if self.has('+') => "+",
            false if self.has(' ') => " ",
            false => "",
        }
    }

    fn integer(&self, verb: char, number: i64) -> Option<String> {
        let size = number.unsigned_abs();
        let mut digits = match verb {
            'v' | 'd' => size.to_string(),
            'b' => format!("{size:b}"),
            'o' | 'O' => format!("{size:o}"),
            'x' => format!("{size:x}"),
            'X' => format!("{size:X}"),
            'c' => return Some(self.padded(&character(number).to_string())),
            'q' => return Some(self.padded(&quoted_character(character(number)))),
            'U' => return Some(self.spaced(&format!("U+{size:04X}"))),
            _ => return None,
        };
        if number == 0 && self.precision == Some(0) {
            return Some(self.spaced(""));
        }
        let sign = self.sign(number < 0);
        let least = match self.precision {
            Some(least) => least,
            None if self.has_zeros() => self.width.saturating_sub(sign.len()),
            None => 0,
        };
        digits.insert_str(0, &"0".repeat(least.saturating_sub(digits.len())));
        let prefix = match verb {
            'O' => "0o",
            'b' if self.has('#') => "0b",
            'o' if self.has('#') && !digits.starts_with('0') => "0",
            'x' if self.has('#') => "0x",
            'X' if self.has('#') => "0X",
            _ => "",
        };
        Some(self.spaced(&format!("{sign}{prefix}{digits}")))
    }

    fn fraction(&self, verb: char, number: f64) -> Option<String> {
        let size = number.abs();
        let digits = match (verb, self.precision) {
            ('v' | 'g' | 'G', None) => gostr::general(size),
            ('v' | 'g' | 'G', Some(precision)) => general_to(size, precision),
            ('e' | 'E', precision) => scientific(size, precision.unwrap_or(6)),
            ('f' | 'F', precision) => {
                let places = precision.unwrap_or(6);
                format!("{size:.places$}")
            }
            _ => return None,
        };
        let digits = if matches!(verb, 'E' | 'G') { digits.to_uppercase() } else { digits };
        let sign = self.sign(number.is_sign_negative());
        if self.has_zeros() {
            let zeros = "0".repeat(self.width.saturating_sub(sign.len() + digits.len()));
            return Some(format!("{sign}{zeros}{digits}"));
        }
        Some(self.spaced(&format!("{sign}{digits}")))
    }
}

fn character(number: i64) -> char {
    u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// As `strconv.QuoteRune`.
fn quoted_character(c: char) -> String {
    match c {
        '\'' => "'\\''".to_string(),
        '"' => "'\"'".to_string(),
        c => format!("'{}'", gostr::quote(&c.to_string()).trim_matches('"')),
    }
}

/// `1.50e+00`: one digit before the point, so many behind it, and two of the exponent at least.
fn scientific(size: f64, places: usize) -> String {
    let text = format!("{size:.places$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((text.as_str(), "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// `%g` with so many digits in all: with an exponent where it is smaller than -4 or has no place in
/// them. Example: with 3 digits, 1234.5 is `1.23e+03` and 1.23456 is `1.23`.
fn general_to(size: f64, digits: usize) -> String {
    let digits = digits.max(1);
    let text = scientific(size, digits - 1);
    let (first, exponent) = text.split_once('e').unwrap_or((text.as_str(), "+00"));
    let power = exponent.parse::<i64>().unwrap_or(0);
    let places = digits as i64 - 1 - power;
    match usize::try_from(places) {
        Ok(places) if power >= -4 => trimmed(&format!("{size:.places$}")).to_string(),
        _ => format!("{}e{exponent}", trimmed(first)),
    }
}

/// The digits without the zeros at the end of the places behind the point.
fn trimmed(digits: &str) -> &str {
    match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    }
}

#[cfg(test)]
mod tests;
