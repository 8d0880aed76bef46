//! `hexdump`: bytes as numbers and characters, in the usual formats (`-C`, `-b`, `-c`, `-d`, `-o`,
//! `-x`) or in one's own (`-e`).
//!
//! All formats are format strings, also the usual ones. A format string is a list of units,
//! `[COUNT/][BYTES] "TEXT"`: the text's conversions take the bytes of the block, COUNT times. Every
//! format string is applied to the same block, which is as long as the longest of them wants.
//! Source: hexdump(1) of the BSDs, on which busybox' is built.

mod block;
mod format;

use super::reason;
use block::Plan;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

const USAGE: &str = "Usage: hexdump [-bcCdoxv] [-e FORMAT] [-n LENGTH] [-s OFFSET] [FILE]...";

#[derive(Debug, Default)]
struct Options {
    formats: Vec<String>,
    /// Whether a block that equals the one before it is shown, too (`-v`).
    all: bool,
    length: Option<u64>,
    skip: u64,
    files: Vec<String>,
}

/// Reads a number of bytes: decimal, `0x…` or `0…`, with `b` (512), `k` or `m` behind it.
fn parse_count(text: &str) -> Result<u64, String> {
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

fn parse_options(args: &[String]) -> Result<Options, String> {
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
                        'n' => length = Some(parse_count(value)?),
                        _ => skip = parse_count(value)?,
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
fn read_block(input: &mut dyn Read, block: &mut [u8]) -> io::Result<usize> {
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
        let have = read_block(&mut input, &mut block)?;
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
            plan.write_block(&mut text, &block[..have], address);
            out.write_all(&text)?;
            last = Some(block.clone());
        }
        address += have as u64;
    }
    if address > 0 {
        text.clear();
        plan.write_end(&mut text, address);
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
    let read = parse_options(&words).and_then(|options| Ok((Plan::from_formats(&options.formats)?, options)));
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
        let options = parse_options(&args.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let mut out = Vec::new();
        dump(&Plan::from_formats(&options.formats)?, &options, &mut &*input, &mut out).unwrap();
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    // The expected texts are those of hexdump of util-linux 2.38.
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
            (parse_count("0x10"), parse_count("2k"), parse_count("010"), parse_count("1b")),
            (Ok(16), Ok(2048), Ok(8), Ok(512))
        );
    }
}
