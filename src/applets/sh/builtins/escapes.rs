//! Backslashes of `echo -e`, `printf` and `$'…'`.

/// As `$'…'` and printf's format understand them.
pub fn ansi(text: &str) -> String {
    expand(text, true).0
}

/// As `echo -e` and `%b` do; also whether `\c` ended the output.
pub fn echo(text: &str) -> (String, bool) {
    expand(text, false)
}

/// Up to `digits` more digits. One byte; beyond ASCII it becomes the character of that number.
fn number(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    first: u32,
    base: u32,
    digits: usize,
) -> char {
    let mut value = first;
    for _ in 0..digits {
        let Some(digit) = chars.peek().and_then(|c| c.to_digit(base)) else { break };
        value = value * base + digit;
        chars.next();
    }
    char::from((value & 0xff) as u8)
}

fn expand(text: &str, ansi: bool) -> (String, bool) {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('a') => out.push('\x07'),
            Some('b') => out.push('\x08'),
            Some('f') => out.push('\x0c'),
            Some('v') => out.push('\x0b'),
            Some('e') => out.push('\x1b'),
            Some('\\') => out.push('\\'),
            Some('c') if !ansi => return (out, true),
            Some(c @ ('\'' | '"')) if ansi => out.push(c),
            Some('x') => out.push(number(&mut chars, 0, 16, 2)),
            Some('0') => out.push(number(&mut chars, 0, 8, 3)),
            Some(c @ '1'..='7') => out.push(number(&mut chars, c as u32 - '0' as u32, 8, 2)),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    (out, false)
}
