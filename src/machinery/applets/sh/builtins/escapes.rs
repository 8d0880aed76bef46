//! Backslashes of `echo -e`, `printf` and `$'…'`.

/// Decodes escapes as `$'…'` and the format of printf do. A number is a byte: several of them may
/// make one character, and the bytes need not be UTF-8.
pub(crate) fn decode_ansi(text: &str) -> Vec<u8> {
    decode(text, true).0
}

/// Decodes the escapes in a format of printf. A `%` that a number makes is plain, so it is doubled.
pub(crate) fn decode_format(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let end = at + 1 + rest[at + 1..].chars().next().map_or(0, char::len_utf8);
        let digits = |from: usize, base: u32, most: usize| {
            rest[from..].chars().take(most).take_while(|c| c.is_digit(base)).count()
        };
        let end = match rest.as_bytes().get(at + 1) {
            Some(b'0'..=b'7') => at + 1 + digits(at + 1, 8, 3),
            Some(b'x') => end + digits(end, 16, 2),
            _ => end,
        };
        out.extend(rest[..at].bytes());
        let escape = decode_ansi(&rest[at..end]);
        out.extend(if escape == b"%" { b"%%".to_vec() } else { escape });
        rest = &rest[end..];
    }
    out.extend(rest.bytes());
    out
}

/// As `echo -e` and `%b` do; also whether `\c` ended the output.
pub(crate) fn decode_echo(text: &str) -> (Vec<u8>, bool) {
    decode(text, false)
}

/// Reads up to `digits` more digits: one byte.
fn read_byte(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    first: u32,
    base: u32,
    digits: usize,
) -> u8 {
    let mut value = first;
    for _ in 0..digits {
        let Some(digit) = chars.peek().and_then(|c| c.to_digit(base)) else { break };
        value = value * base + digit;
        chars.next();
    }
    (value & 0xff) as u8
}

fn decode(text: &str, ansi: bool) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let add = |out: &mut Vec<u8>, c: char| out.extend(c.encode_utf8(&mut [0; 4]).bytes());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            add(&mut out, c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push(b'\n'),
            Some('t') => out.push(b'\t'),
            Some('r') => out.push(b'\r'),
            Some('a') => out.push(0x07),
            Some('b') => out.push(0x08),
            Some('f') => out.push(0x0c),
            Some('v') => out.push(0x0b),
            Some('e') => out.push(0x1b),
            Some('\\') => out.push(b'\\'),
            Some('c') if !ansi => return (out, true),
            Some(c @ ('\'' | '"')) if ansi => add(&mut out, c),
            Some('x') if chars.peek().is_some_and(char::is_ascii_hexdigit) => {
                out.push(read_byte(&mut chars, 0, 16, 2));
            }
            Some('0') if !ansi => out.push(read_byte(&mut chars, 0, 8, 3)),
            Some(c @ '0'..='7') => out.push(read_byte(&mut chars, c as u32 - '0' as u32, 8, 2)),
            Some(other) => {
                out.push(b'\\');
                add(&mut out, other);
            }
            None => out.push(b'\\'),
        }
    }
    (out, false)
}
