//! Format strings, from text to units.

/// A block, and so what a format string may ask for, is no longer.
pub(super) const BLOCK_MAX: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
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
pub(super) struct Field {
    pub kind: Kind,
    pub left: bool,
    pub zero: bool,
    /// What stands before a number that is not negative.
    pub plus: &'static str,
    pub width: usize,
    pub precision: Option<usize>,
    pub bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Field(Field),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub times: usize,
    /// The number of times was given.
    pub fixed: bool,
    pub parts: Vec<Part>,
}

impl Unit {
    pub(super) fn bytes(&self) -> usize {
        let bytes = |part: &Part| if let Part::Field(field) = part { field.bytes } else { 0 };
        self.parts.iter().map(bytes).sum()
    }

    pub(super) fn is_end(&self) -> bool {
        let end = |part: &Part| matches!(part, Part::Field(Field { kind: Kind::End(_), .. }));
        self.parts.iter().any(end)
    }
}

pub(super) type Format = Vec<Unit>;

pub(super) fn size_of(format: &Format) -> usize {
    format.iter().fold(0, |sum, unit| sum.saturating_add(unit.bytes().saturating_mul(unit.times)))
}

/// Takes the digits at the beginning of a text. A number that is too large for any use becomes
/// [`BLOCK_MAX`].
fn take_number(rest: &mut &str) -> Option<usize> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, behind) = rest.split_at(end);
    *rest = behind;
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(BLOCK_MAX).min(BLOCK_MAX))
}

/// Reads one format string.
pub(super) fn parse(text: &str) -> Result<Format, String> {
    let bad = || format!("bad format {{{text}}}");
    let (mut units, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let times = take_number(&mut rest);
        rest = rest.trim_start();
        let mut size = None;
        if let Some(behind) = rest.strip_prefix('/') {
            rest = behind.trim_start();
            size = Some(take_number(&mut rest).ok_or_else(bad)?);
            rest = rest.trim_start();
        }
        let quoted = rest.strip_prefix('"').ok_or_else(bad)?;
        let end = quoted.find('"').ok_or_else(bad)?;
        units.push(Unit {
            times: times.unwrap_or(1),
            fixed: times.is_some(),
            parts: parse_parts(&unescape(&quoted[..end]), size)?,
        });
        rest = quoted[end + 1..].trim_start();
    }
    Ok(units)
}

fn unescape(text: &str) -> String {
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
fn parse_parts(text: &str, size: Option<usize>) -> Result<Vec<Part>, String> {
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
        let width = take_number(&mut rest).unwrap_or(0);
        let mut precision = None;
        if let Some(behind) = rest.strip_prefix('.') {
            rest = behind;
            precision = Some(take_number(&mut rest).unwrap_or(0));
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
