//! `hexdump`: bytes as numbers and characters, in the usual formats (`-C`, `-b`, `-c`, `-d`, `-o`,
//! `-x`) or in one's own (`-e`).
//!
//! All formats are format strings, also the usual ones. A format string is a list of units,
//! `[COUNT/][BYTES] "TEXT"`: the text's conversions take the bytes of the block, COUNT times. Every
//! format string is applied to the same block, which is as long as the longest of them wants.
//! Source: hexdump(1) of the BSDs, on which busybox' is built.

use super::reason;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

const USAGE: &str = "Usage: hexdump [-bcCdoxv] [-e FORMAT] [-n LENGTH] [-s OFFSET] [FILE]...";
/// A block, and so what a format string may ask for, is no longer.
const BLOCK_MAX: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `%d`
    Signed,
    /// `%u`, `%o`, `%x`, `%X`
    Unsigned(u8),
    /// `%c`: the byte itself.
    Byte,
    /// `%_c`: a character, or an escape or three octal digits.
    Escaped,
    /// `%_p`: a character, or a dot.
    Printable,
    /// `%_u`: a character, or the name of a control character.
    Named,
    /// `%_a` with `d`, `o` or `x`: the address of the next byte.
    Address(u8),
    /// `%_A`: the address behind the last byte, once at the end.
    End(u8),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    kind: Kind,
    left: bool,
    zero: bool,
    /// What stands before a number that is not negative.
    plus: &'static str,
    width: usize,
    precision: Option<usize>,
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Unit {
    times: usize,
    /// The number of times was given.
    fixed: bool,
    parts: Vec<Part>,
}

impl Unit {
    fn bytes(&self) -> usize {
        let bytes = |part: &Part| if let Part::Field(field) = part { field.bytes } else { 0 };
        self.parts.iter().map(bytes).sum()
    }

    fn is_end(&self) -> bool {
        let end = |part: &Part| matches!(part, Part::Field(Field { kind: Kind::End(_), .. }));
        self.parts.iter().any(end)
    }
}

type Format = Vec<Unit>;

fn size_of(format: &Format) -> usize {
    format.iter().fold(0, |sum, unit| sum.saturating_add(unit.bytes().saturating_mul(unit.times)))
}

/// Takes the digits at the beginning of a text. A number that is too large for any use becomes
/// [`BLOCK_MAX`].
fn number(rest: &mut &str) -> Option<usize> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, behind) = rest.split_at(end);
    *rest = behind;
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(BLOCK_MAX).min(BLOCK_MAX))
}

/// Reads one format string.
fn parse(text: &str) -> Result<Format, String> {
    let bad = || format!("bad format {{{text}}}");
    let (mut units, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let times = number(&mut rest);
        rest = rest.trim_start();
        let mut size = None;
        if let Some(behind) = rest.strip_prefix('/') {
            rest = behind.trim_start();
            size = Some(number(&mut rest).ok_or_else(bad)?);
            rest = rest.trim_start();
        }
        let quoted = rest.strip_prefix('"').ok_or_else(bad)?;
        let end = quoted.find('"').ok_or_else(bad)?;
        units.push(Unit {
            times: times.unwrap_or(1),
            fixed: times.is_some(),
            parts: parts(&unescaped(&quoted[..end]), size)?,
        });
        rest = quoted[end + 1..].trim_start();
    }
    Ok(units)
}

fn unescaped(text: &str) -> String {
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some('0') => '\0',
                Some('a') => '\x07',
                Some('b') => '\x08',
                Some('f') => '\x0c',
                Some('v') => '\x0b',
                Some(other) => other,
                None => '\\',
            },
            c => c,
        });
    }
    out
}

/// Reads the text of one unit, whose conversions take `size` bytes if that was given.
fn parts(text: &str, size: Option<usize>) -> Result<Vec<Part>, String> {
    let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find('%') {
        literal.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('%') {
            literal.push('%');
            rest = behind;
            continue;
        }
        let behind = rest.trim_start_matches(['-', '0', '+', ' ']);
        let flags = &rest[..rest.len() - behind.len()];
        rest = behind;
        let width = number(&mut rest).unwrap_or(0);
        let mut precision = None;
        if let Some(behind) = rest.strip_prefix('.') {
            rest = behind;
            precision = Some(number(&mut rest).unwrap_or(0));
        }
        let length = if rest.starts_with("_a") || rest.starts_with("_A") {
            3
        } else {
            usize::from(rest.starts_with('_')) + 1
        };
        let end = rest.char_indices().nth(length).map_or(rest.len(), |(at, _)| at);
        let (name, behind) = rest.split_at(end);
        rest = behind;
        let kind = match name.as_bytes() {
            b"d" | b"i" => Kind::Signed,
            [base @ (b'u' | b'o' | b'x' | b'X')] => Kind::Unsigned(*base),
            b"c" => Kind::Byte,
            b"_c" => Kind::Escaped,
            b"_p" => Kind::Printable,
            b"_u" => Kind::Named,
            [b'_', b'a', base @ (b'd' | b'o' | b'x')] => Kind::Address(*base),
            [b'_', b'A', base @ (b'd' | b'o' | b'x')] => Kind::End(*base),
            _ => return Err(format!("bad conversion character %{name}")),
        };
        let bytes = match (kind, size) {
            (Kind::Address(_) | Kind::End(_), _) => 0,
            (Kind::Signed | Kind::Unsigned(_), None) => 4,
            (Kind::Signed | Kind::Unsigned(_), Some(size @ (1 | 2 | 4 | 8))) => size,
            (Kind::Byte | Kind::Escaped | Kind::Printable | Kind::Named, None | Some(1)) => 1,
            _ => return Err(format!("bad byte count for conversion character {name}")),
        };
        if !literal.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut literal)));
        }
        let (left, zero) = (flags.contains('-'), flags.contains('0'));
        let plus = match (flags.contains('+'), flags.contains(' ')) {
            (true, _) => "+",
            (false, true) => " ",
            (false, false) => "",
        };
        parts.push(Part::Field(Field { kind, left, zero, plus, width, precision, bytes }));
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

/// A number with at least so many digits as the precision says.
fn digits(base: u8, value: u64, precision: Option<usize>) -> String {
    let text = match base {
        b'o' => format!("{value:o}"),
        b'x' => format!("{value:x}"),
        b'X' => format!("{value:X}"),
        _ => value.to_string(),
    };
    // Not by `format!`, which panics for a width of more than 65535.
    "0".repeat(precision.unwrap_or(1).saturating_sub(text.len())) + &text
}

/// What hexdump(1) calls the control characters.
const NAMES: [&str; 33] = [
    "nul", "soh", "stx", "etx", "eot", "enq", "ack", "bel", "bs", "ht", "lf", "vt", "ff", "cr", "so", "si",
    "dle", "dc1", "dc2", "dc3", "dc4", "nak", "syn", "etb", "can", "em", "sub", "esc", "fs", "gs", "rs",
    "us", "del",
];

fn escaped(byte: u8) -> String {
    match byte {
        0 => "\\0".into(),
        7 => "\\a".into(),
        8 => "\\b".into(),
        9 => "\\t".into(),
        10 => "\\n".into(),
        11 => "\\v".into(),
        12 => "\\f".into(),
        13 => "\\r".into(),
        b' '..=b'~' => char::from(byte).into(),
        _ => format!("{byte:03o}"),
    }
}

fn named(byte: u8) -> String {
    match byte {
        b' '..=b'~' => char::from(byte).into(),
        0x7f => NAMES[32].into(),
        _ => NAMES.get(usize::from(byte)).map_or_else(|| format!("{byte:02x}"), ToString::to_string),
    }
}

impl Field {
    /// Puts one value out. `bytes` are those that the field takes; none of them are left behind the
    /// end of the input: then it is blank.
    fn put(&self, out: &mut Vec<u8>, bytes: Option<&[u8]>, address: u64) {
        let value = |bytes: &[u8]| {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(whole)
        };
        let mut zero = self.zero && !self.left && self.precision.is_none();
        let text: Vec<u8> = match (self.kind, bytes) {
            (Kind::Address(base) | Kind::End(base), _) => digits(base, address, self.precision).into_bytes(),
            (_, None) => {
                zero = false;
                Vec::new()
            }
            (Kind::Unsigned(base), Some(bytes)) => digits(base, value(bytes), self.precision).into_bytes(),
            (Kind::Signed, Some(bytes)) => {
                let unused = 64 - 8 * bytes.len() as u32;
                let signed = ((value(bytes) << unused) as i64) >> unused;
                let sign = if signed < 0 { "-" } else { self.plus };
                let width = if zero { self.width.saturating_sub(sign.len()) } else { 0 };
                let least = self.precision.unwrap_or(1).max(width);
                format!("{sign}{}", digits(b'u', signed.unsigned_abs(), Some(least))).into_bytes()
            }
            (Kind::Byte, Some(bytes)) => bytes.to_vec(),
            (Kind::Escaped, Some(bytes)) => escaped(bytes[0]).into_bytes(),
            (Kind::Printable, Some(bytes)) => {
                vec![if (b' '..=b'~').contains(&bytes[0]) { bytes[0] } else { b'.' }]
            }
            (Kind::Named, Some(bytes)) => named(bytes[0]).into_bytes(),
        };
        let fill = self.width.saturating_sub(text.len());
        let (before, behind) = if self.left { (0, fill) } else { (fill, 0) };
        out.extend(std::iter::repeat_n(if zero { b'0' } else { b' ' }, before));
        out.extend(text);
        out.extend(std::iter::repeat_n(b' ', behind));
    }
}

/// Formats as they were asked for, with the length of a block.
#[derive(Debug)]
struct Plan {
    formats: Vec<Format>,
    block: usize,
}

impl Plan {
    fn of(texts: &[String]) -> Result<Plan, String> {
        let mut formats = texts.iter().map(|text| parse(text)).collect::<Result<Vec<Format>, _>>()?;
        let block = formats.iter().map(size_of).max().unwrap_or(0);
        if block > BLOCK_MAX {
            return Err(format!("a block of more than {BLOCK_MAX} bytes"));
        }
        // The last unit of a shorter format string takes what is left of the block, unless it says
        // how often.
        for format in &mut formats {
            let own = size_of(format);
            if let Some(last) = format.last_mut().filter(|last| !last.fixed && last.bytes() > 0) {
                last.times += (block - own) / last.bytes();
            }
        }
        Ok(Plan { formats, block })
    }

    /// Puts one block out, of which `bytes` are there.
    fn put(&self, out: &mut Vec<u8>, bytes: &[u8], address: u64) {
        let mut block = bytes.to_vec();
        block.resize(self.block, 0);
        for format in &self.formats {
            let mut at = 0;
            for unit in format.iter().filter(|unit| !unit.is_end()) {
                for time in 1..=unit.times {
                    put_once(unit, out, &block, bytes.len(), &mut at, address, time == unit.times);
                }
            }
        }
    }

    /// What comes once, behind everything.
    fn put_end(&self, out: &mut Vec<u8>, address: u64) {
        let mut ends = self.formats.iter().flatten().filter(|unit| unit.is_end());
        if let Some(unit) = ends.next_back() {
            put_once(unit, out, &[], 0, &mut 0, address, false);
        }
    }
}

fn put_once(
    unit: &Unit,
    out: &mut Vec<u8>,
    block: &[u8],
    there: usize,
    at: &mut usize,
    address: u64,
    last: bool,
) {
    for (nth, part) in unit.parts.iter().enumerate() {
        match part {
            // White space separates one time from the next: behind the last it would be too much.
            Part::Text(text) if last && unit.times > 1 && nth + 1 == unit.parts.len() => {
                out.extend(text.trim_end_matches([' ', '\t', '\n']).bytes());
            }
            Part::Text(text) => out.extend(text.bytes()),
            Part::Field(field) => {
                let bytes = block.get(*at..*at + field.bytes).filter(|_| *at < there);
                field.put(out, bytes, address + *at as u64);
                *at += field.bytes;
            }
        }
    }
}

#[derive(Debug, Default)]
struct Options {
    formats: Vec<String>,
    /// Every block is shown, also one like that before it.
    all: bool,
    length: Option<u64>,
    skip: u64,
    files: Vec<String>,
}

/// A number of bytes: decimal, `0x…` or `0…`, with `b` (512), `k` or `m` behind it.
fn count(text: &str) -> Result<u64, String> {
    let bad = || format!("invalid number '{text}'");
    let (digits, base) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.starts_with('0') && text.len() > 1 => (&text[1..], 8),
        None => (text, 10),
    };
    let suffix = |c: char| match c {
        'b' if base != 16 => Some(512),
        'k' => Some(1 << 10),
        'm' => Some(1 << 20),
        _ => None,
    };
    let unit = digits.chars().last().and_then(suffix);
    let digits = if unit.is_some() { &digits[..digits.len() - 1] } else { digits };
    let value = u64::from_str_radix(if digits.is_empty() { "0" } else { digits }, base).map_err(|_| bad())?;
    value.checked_mul(unit.unwrap_or(1)).ok_or_else(bad)
}

const CANONICAL: [&str; 3] =
    [r#""%08.8_Ax\n""#, r#""%08.8_ax  " 8/1 "%02x " "  " 8/1 "%02x ""#, r#""  |" 16/1 "%_p" "|\n""#];

fn options(args: &[String]) -> Result<Options, String> {
    let mut found = Options::default();
    let mut args = args.iter();
    let mut usual = |lines: &[&str]| found.formats.extend(lines.iter().map(ToString::to_string));
    let (mut files, mut all, mut length, mut skip) = (Vec::new(), false, None, 0);
    let mut only_files = false;
    while let Some(arg) = args.next() {
        if only_files || !arg.starts_with('-') || arg == "-" {
            files.push(arg.clone());
            continue;
        }
        if arg == "--" {
            only_files = true;
            continue;
        }
        for (at, letter) in arg.char_indices().skip(1) {
            let addressed = |line| ["\"%07.7_Ax\\n\"", line];
            match letter {
                'v' => all = true,
                'C' => usual(&CANONICAL),
                'b' => usual(&addressed(r#""%07.7_ax " 16/1 "%03o " "\n""#)),
                'c' => usual(&addressed(r#""%07.7_ax " 16/1 "%3_c " "\n""#)),
                'd' => usual(&addressed(r#""%07.7_ax " 8/2 "  %05u " "\n""#)),
                'o' => usual(&addressed(r#""%07.7_ax " 8/2 " %06o " "\n""#)),
                'x' => usual(&addressed(r#""%07.7_ax " 8/2 "   %04x " "\n""#)),
                'e' | 'n' | 's' => {
                    let behind = &arg[at + 1..];
                    let value = match behind {
                        "" => args
                            .next()
                            .ok_or_else(|| format!("option requires an argument -- '{letter}'"))?
                            .as_str(),
                        behind => behind,
                    };
                    match letter {
                        'e' => usual(&[value]),
                        'n' => length = Some(count(value)?),
                        _ => skip = count(value)?,
                    }
                    break;
                }
                other => return Err(format!("invalid option -- '{other}'")),
            }
        }
    }
    if found.formats.is_empty() {
        found.formats = vec!["\"%07.7_Ax\\n\"".into(), r#""%07.7_ax " 8/2 "%04x " "\n""#.into()];
    }
    Ok(Options { files, all, length, skip, ..found })
}

/// Fills the block as far as the input goes.
fn fill(input: &mut dyn Read, block: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < block.len() {
        match input.read(&mut block[have..]) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

fn dump(plan: &Plan, options: &Options, mut input: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    let mut address = io::copy(&mut (&mut input).take(options.skip), &mut io::sink())?;
    if plan.block == 0 {
        return Ok(()); // formats without a byte in them
    }
    let mut input = input.take(options.length.unwrap_or(u64::MAX));
    let (mut block, mut last, mut starred) = (vec![0; plan.block], None, false);
    let mut text = Vec::new();
    loop {
        let have = fill(&mut input, &mut block)?;
        if have == 0 {
            break;
        }
        if !options.all && have == block.len() && last.as_ref() == Some(&block) {
            if !std::mem::replace(&mut starred, true) {
                out.write_all(b"*\n")?;
            }
        } else {
            starred = false;
            text.clear();
            plan.put(&mut text, &block[..have], address);
            out.write_all(&text)?;
            last = Some(block.clone());
        }
        address += have as u64;
    }
    if address > 0 {
        text.clear();
        plan.put_end(&mut text, address);
        out.write_all(&text)?;
    }
    out.flush()
}

/// Opens one file after the other; tells of those that cannot be read.
struct Files<'a> {
    names: std::slice::Iter<'a, String>,
    open: Option<Box<dyn Read>>,
    failed: bool,
}

impl Read for Files<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(file) = &mut self.open {
                match file.read(bytes)? {
                    0 => self.open = None,
                    n => return Ok(n),
                }
            }
            let Some(name) = self.names.next() else { return Ok(0) };
            match File::open(name) {
                Ok(file) => self.open = Some(Box::new(BufReader::new(file))),
                Err(error) => {
                    eprintln!("hexdump: {name}: {}", reason(&error));
                    self.failed = true;
                }
            }
        }
    }
}

/// `hexdump`, and `hd`, which is `hexdump -C`.
pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let mut words = args.into_iter().map(|a| a.to_string_lossy().into_owned());
    let name = words.next().unwrap_or_default();
    let canonical = (name.rsplit('/').next() == Some("hd")).then(|| "-C".to_string());
    let words: Vec<String> = canonical.into_iter().chain(words).collect();
    let read = options(&words).and_then(|options| Ok((Plan::of(&options.formats)?, options)));
    let (plan, options) = match read {
        Ok(read) => read,
        Err(why) => {
            eprintln!("hexdump: {why}\n{USAGE}");
            return 1;
        }
    };
    let stdin: Option<Box<dyn Read>> = options.files.is_empty().then(|| Box::new(io::stdin().lock()) as _);
    let mut input = Files { names: options.files.iter(), open: stdin, failed: false };
    if let Err(error) = dump(&plan, &options, &mut input, &mut BufWriter::new(io::stdout().lock())) {
        eprintln!("hexdump: {}", reason(&error));
        return 1;
    }
    i32::from(input.failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str], input: &[u8]) -> Result<String, String> {
        let options = options(&args.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let mut out = Vec::new();
        dump(&Plan::of(&options.formats)?, &options, &mut &*input, &mut out).unwrap();
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    // The expected texts are those of hexdump of util-linux 2.38.
    #[test]
    fn a_number_may_have_any_number_of_digits() {
        assert_eq!(digits(b'x', 255, Some(4)), "00ff");
        assert_eq!(digits(b'd', 0, None), "0");
        assert_eq!(digits(b'd', 7, Some(BLOCK_MAX)).len(), BLOCK_MAX);
    }

    #[test]
    fn the_usual_formats() {
        let text = b"hello, hexdump!\n\x00\xff~";
        assert_eq!(
            run(&["-C"], text).unwrap(),
            "00000000  68 65 6c 6c 6f 2c 20 68  65 78 64 75 6d 70 21 0a  |hello, hexdump!.|\n\
             00000010  00 ff 7e                                          |..~|\n\
             00000013\n"
        );
        assert_eq!(
            run(&[], text).unwrap(),
            "0000000 6568 6c6c 2c6f 6820 7865 7564 706d 0a21\n0000010 ff00 007e                              \n0000013\n"
        );
        assert_eq!(
            run(&["-c", "-s", "15"], text).unwrap().lines().next().unwrap().trim_end(),
            "000000f  \\n  \\0 377   ~"
        );
        assert_eq!(run(&["-b", "-n2"], text).unwrap().lines().next().unwrap().trim_end(), "0000000 150 145");
        assert_eq!(run(&["-C"], b"").unwrap(), "");
    }

    #[test]
    fn own_formats() {
        let bytes: Vec<u8> = (0..20).collect();
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let padded = hex(&bytes) + &" ".repeat(24);
        assert_eq!(run(&["-v", "-e", r#"16/1 "%02x""#], &bytes).unwrap(), padded);
        assert_eq!(
            run(&["-n", "16", "-v", "-e", r#"16/1 "%02x" "\n""#], &bytes).unwrap(),
            hex(&bytes[..16]) + "\n"
        );
        assert_eq!(run(&["-e", r#"4/1 "%d, " "\n""#, "-n8"], &bytes).unwrap(), "0, 1, 2, 3,\n4, 5, 6, 7,\n");
        assert_eq!(run(&["-e", r#"1/4 "%u" "\n""#, "-s4", "-n4"], &bytes).unwrap(), "117835012\n");
        assert_eq!(run(&["-e", r#"1/1 "%d""#], &[0xff]).unwrap(), "-1");
        for bad in [r#"16/1 "%02x"#, r#"16/3 "%x""#, r#""%s""#, r#"/ "%x""#, r#""%_ay""#, r##""%#x""##, "x"] {
            assert!(run(&["-e", bad], &bytes).is_err(), "{bad}");
        }
        assert!(run(&["-e", r#"9999999/8 "%x""#], &bytes).is_err(), "a block without bound");
        assert!(
            run(&["-Q"], &bytes).is_err() && run(&["-n"], &bytes).is_err() && run(&["-nx"], &bytes).is_err()
        );
    }

    #[test]
    fn equal_blocks_are_shown_once_unless_all_are_asked_for() {
        let shown = run(&["-C"], &[0; 64]).unwrap();
        assert_eq!(
            shown.lines().map(|l| &l[..l.len().min(8)]).collect::<Vec<_>>(),
            ["00000000", "*", "00000040"]
        );
        assert_eq!(run(&["-Cv"], &[0; 64]).unwrap().lines().count(), 5);
        assert_eq!(
            (count("0x10"), count("2k"), count("010"), count("1b")),
            (Ok(16), Ok(2048), Ok(8), Ok(512))
        );
    }
}
