//! Bounds on what a client's object may be: how deep its values nest, how many maps it has. Most
//! functions over values recurse, and a stack overflow ends the process, which no panic boundary
//! holds; so a value that nests too deep is refused at the door.

mod places;
mod properties;
mod repeats;
mod text;

use super::status::Status;
use properties::property;
use regex::{Regex, RegexBuilder};
use repeats::{Repeats, operator};
use serde_json::Value;
pub(crate) use text::{FURTHER, LIST, MAP, TEXT, TOO_MANY, VALUES_MAX};
pub use text::{check_json, values_cost};

/// Levels of lists and maps in an object. `serde_json` reads 127 levels, and clients read an object
/// inside of a list, of a watch event or of a table's row, with managed fields that nest as deep as
/// the object itself: all of that has to fit.
pub const DEPTH_MAX: usize = 100;

/// Items of one list of a pod's spec. An empty one has three bytes in a body and takes thousands
/// here: the server fills in fields of a container, and a volume has a place for each of its
/// sources. A body of 3 MB would take gigabytes. No kubelet starts a pod with as many.
const POD_ITEMS_MAX: usize = 10_000;

/// Maps in an object of a built-in kind, without its managed fields. Each may stand for a type that
/// has kilobytes: a metric of an autoscaler, a claim of a StatefulSet, a source of a volume. An
/// object of as many useful ones does not fit into the store.
const MAPS_MAX: usize = 100_000;

/// Bytes of a compiled regular expression that an object brings, and of the table that matching
/// fills for each thread.
pub(crate) const PATTERN_MAX: usize = 4 * 1024 * 1024;

/// Bytes of the table of a pattern of a schema: 500 sets of places, where an ordinary pattern has
/// less than 200.
pub(crate) const SCHEMA_TABLE: usize = 128 << 10;

/// Compiles a regular expression of this program, which means what it means in Go.
///
/// # Errors
/// It is none in Go, or it takes more than [`PATTERN_MAX`] bytes.
pub fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&from_go(pattern).map_err(regex::Error::Syntax)?)
        .size_limit(PATTERN_MAX)
        .dfa_size_limit(PATTERN_MAX)
        .build()
}

/// Compiles a regular expression of a schema. The table of each is kept as long as the schema, for
/// each thread.
///
/// # Errors
/// As [`regex`].
pub(crate) fn schema_regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&from_go(pattern).map_err(regex::Error::Syntax)?)
        .size_limit(PATTERN_MAX)
        .dfa_size_limit(SCHEMA_TABLE)
        .build()
}

/// Returns how many places of a pattern's repetitions may be under way at once (`places`); 0 if it
/// is no pattern.
pub(crate) fn live_places(pattern: &str) -> usize {
    let mut repeats = Repeats::default();
    translated(pattern, &mut repeats).map_or(0, |_| repeats.places.live())
}

/// Compiles a regular expression of CEL that takes at most `most` bytes. Returns about how many it
/// takes, too: the library does not tell, so the least of a few limits within which it compiles.
///
/// # Errors
/// As [`regex`].
pub(crate) fn measured_regex(pattern: &str, most: usize) -> Result<(Regex, usize), regex::Error> {
    const SIZES: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
    /// Bytes of the table that matching fills: many patterns are remembered.
    const TABLE: usize = 512 << 10;
    let pattern = from_go(pattern).map_err(regex::Error::Syntax)?;
    let build = |size: usize| {
        let built = RegexBuilder::new(&pattern).size_limit(size).dfa_size_limit(TABLE).build();
        built.map(|regex| (regex, size))
    };
    for size in SIZES.into_iter().filter(|size| *size < most) {
        match build(size) {
            Err(regex::Error::CompiledTooBig(_)) => {}
            built => return built,
        }
    }
    build(most)
}

/// Returns about how many bytes a pattern takes when it is compiled: [`PATTERN_MAX`] if it takes
/// more, and none if it is no pattern.
pub(crate) fn regex_bytes(pattern: &str) -> usize {
    match measured_regex(pattern, PATTERN_MAX) {
        Ok((_, bytes)) => bytes,
        Err(regex::Error::CompiledTooBig(_)) => PATTERN_MAX,
        Err(_) => 0,
    }
}

/// Returns whether a text is a regular expression of Go, however large. With room for no byte it is
/// read, and not compiled.
pub(crate) fn is_regex(pattern: &str) -> bool {
    let read = from_go(pattern).map_err(regex::Error::Syntax);
    let read = read.and_then(|pattern| RegexBuilder::new(&pattern).size_limit(0).build());
    !matches!(read, Err(regex::Error::Syntax(_)))
}

/// Writes a pattern of Go's `regexp` for this program's engine. What differs:
///
/// ```text
/// \d \w \s \b \B   ASCII in Go, all of Unicode here: `^\d+$` refuses other digits
/// \< \>            the characters; here the start and the end of a word
/// \Q...\E          text; not known here
/// {                the character where no count follows: `^{.*}$`; here an error
/// [ & ~ --         characters inside of a class; here operators
/// a** a{1001}      errors; fine here
/// \012 \p{^Greek}  characters; errors here
/// \u0041 (?x)      errors; fine here
/// ```
///
/// Source: `regexp/syntax/parse.go`.
///
/// # Errors
/// Go's message for what it refuses and this engine takes.
fn from_go(pattern: &str) -> Result<String, String> {
    translated(pattern, &mut Repeats::default())
}

/// As [`from_go`], and leaves in `repeats` what the pattern repeats.
fn translated<'a>(pattern: &'a str, repeats: &mut Repeats<'a>) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\\' => escape(rest, false, &mut out)?.0,
            '[' => class(rest, &mut out)?,
            '(' => {
                check_flags(rest)?;
                out.push('(');
                1
            }
            '{' if !is_count(rest) => {
                out.push_str("\\{");
                1
            }
            '*' | '+' | '?' | '{' => {
                let length = operator(rest);
                out.push_str(&rest[..length]);
                repeats.repeat(rest, length)?;
                rest = &rest[length..];
                continue;
            }
            _ => {
                out.push(c);
                c.len_utf8()
            }
        };
        repeats.pass(c);
        rest = &rest[taken..];
    }
    Ok(out)
}

/// Returns whether the text begins with `{3}`, `{3,}` or `{3,5}`.
fn is_count(text: &str) -> bool {
    // Only its digits are looked at: to look for the end from each brace takes the square of the
    // length.
    let length = text[1..].bytes().take_while(|b| b.is_ascii_digit() || *b == b',').count();
    let (inner, rest) = text[1..].split_at(length);
    if !rest.starts_with('}') {
        return false;
    }
    let (least, most) = inner.split_once(',').unwrap_or((inner, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let is_number = |text: &str| digits(text) && (text.len() < 2 || !text.starts_with('0'));
    !least.is_empty() && is_number(least) && is_number(most)
}

/// Refuses flags that Go does not know, if a group begins with them: `(?x)`, `(?i-u:`.
fn check_flags(group: &str) -> Result<(), String> {
    let Some(flags) = group.strip_prefix("(?") else { return Ok(()) };
    let length = flags.bytes().take_while(|b| b.is_ascii_alphabetic() || *b == b'-').count();
    let (flags, rest) = flags.split_at(length);
    match flags.find(|c: char| !"imsU-".contains(c)).filter(|_| rest.starts_with([':', ')'])) {
        None => Ok(()),
        Some(at) => {
            let written = &group[..at + 3];
            Err(format!("error parsing regexp: invalid or unsupported Perl syntax: `{written}`"))
        }
    }
}

/// Returns how many octal digits of a character the text begins with: three at most. A single one
/// that is not 0 would be a reference to a group, which neither engine knows.
fn octal_digits(text: &str) -> usize {
    let count = text.bytes().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count();
    if count == 1 && !text.starts_with('0') { 0 } else { count }
}

/// Writes the escape that `text` begins with. Returns how many bytes it takes, and whether it
/// stands for several characters.
fn escape(text: &str, in_class: bool, out: &mut String) -> Result<(usize, bool), String> {
    let Some(c) = text[1..].chars().next() else {
        out.push('\\');
        return Ok((1, false));
    };
    let octal = octal_digits(&text[1..]);
    if octal > 0 {
        let number = u32::from_str_radix(&text[1..=octal], 8).unwrap_or_default();
        out.push_str(&format!("\\x{{{number:X}}}"));
        return Ok((1 + octal, false));
    }
    let set = match c {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => "[\\t\\n\\f\\r ]",
        'S' => "[^\\t\\n\\f\\r ]",
        'b' if !in_class => "(?-u:\\b)",
        'B' if !in_class => "(?-u:\\B)",
        // The engine knows no escape for these two, for they need none.
        '<' => "<",
        '>' => ">",
        'p' | 'P' => return property(text, out).map(|length| (length, true)),
        'u' | 'U' => return Err(format!("error parsing regexp: invalid escape sequence: `\\{c}`")),
        'x' => {
            let number = &text[2..];
            let length = match number.strip_prefix('{') {
                Some(inner) => inner.find('}').map_or(number.len(), |end| end + 2),
                None => number.bytes().take(2).take_while(u8::is_ascii_hexdigit).count(),
            };
            out.push_str(&text[..2 + length]);
            return Ok((2 + length, false));
        }
        'Q' if !in_class => {
            let quoted = &text[2..];
            let end = quoted.find("\\E");
            out.push_str(&regex::escape(&quoted[..end.unwrap_or(quoted.len())]));
            return Ok((end.map_or(text.len(), |end| end + 4), true));
        }
        _ => {
            out.extend(['\\', c]);
            return Ok((1 + c.len_utf8(), false));
        }
    };
    out.push_str(set);
    Ok((2, c.is_ascii_alphabetic()))
}

/// Returns how many bytes a name of characters such as `[:^digit:]` takes, if the text begins with
/// one. Only the name is looked at, as by [`is_count`].
fn class_name(text: &str) -> Option<usize> {
    let name = text.strip_prefix("[:")?;
    let length = name.bytes().take_while(|b| b.is_ascii_alphabetic() || *b == b'^').count();
    name[length..].starts_with(":]").then_some(length + 4)
}

/// Writes the class that `text` begins with, `[^a-z]`. Returns how many bytes it takes; all if it
/// does not end, which the engine reports.
fn class(text: &str, out: &mut String) -> Result<usize, String> {
    let mut at = 1;
    out.push('[');
    if text[at..].starts_with('^') {
        out.push('^');
        at += 1;
    }
    // The first character of a class is no end of it.
    let mut first = true;
    while at < text.len() {
        let here = &text[at..];
        if here.starts_with(']') && !first {
            out.push(']');
            return Ok(at + 1);
        }
        first = false;
        if let Some(length) = class_name(here) {
            out.push_str(&here[..length]);
            at += length;
            continue;
        }
        let (taken, is_set) = member(here, out)?;
        at += taken;
        // A range, as in `a-z`. A dash before the end is a character.
        let after = text[at..].strip_prefix('-').filter(|a| !is_set && !a.is_empty() && !a.starts_with(']'));
        if let Some(after) = after {
            out.push('-');
            at += 1 + member(after, out)?.0;
        }
    }
    Ok(text.len())
}

/// Writes one character of a class, or an escape. Returns how many bytes it takes, and whether it
/// is a set of characters.
fn member(text: &str, out: &mut String) -> Result<(usize, bool), String> {
    match text.chars().next() {
        Some('\\') => escape(text, true, out),
        Some(c) => {
            if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
                out.push('\\');
            }
            out.push(c);
            Ok((c.len_utf8(), false))
        }
        None => Ok((0, false)),
    }
}

/// Levels of lists and maps in `value`; 0 for a scalar. It never counts (nor recurses) beyond
/// [`DEPTH_MAX`] + 1. Every value that it looks at is taken from `left`; `None` if that is used up.
pub(crate) fn depth_within(value: &Value, left: &mut usize) -> Option<usize> {
    level(value, 0, left)
}

fn level(value: &Value, above: usize, left: &mut usize) -> Option<usize> {
    *left = left.checked_sub(1)?;
    let here = match value {
        Value::Array(_) | Value::Object(_) => above + 1,
        _ => return Some(above),
    };
    if here > DEPTH_MAX {
        return Some(here);
    }
    let mut deepest = here;
    let mut visit = |inner: &Value| {
        deepest = deepest.max(level(inner, here, left)?);
        Some(deepest <= DEPTH_MAX)
    };
    match value {
        Value::Array(items) => {
            for item in items {
                if !visit(item)? {
                    break;
                }
            }
        }
        Value::Object(fields) => {
            for field in fields.values() {
                if !visit(field)? {
                    break;
                }
            }
        }
        _ => {}
    }
    Some(deepest)
}

/// Levels of lists and maps in `value`, at most [`DEPTH_MAX`] + 1.
pub fn depth(value: &Value) -> usize {
    let mut left = usize::MAX;
    depth_within(value, &mut left).unwrap_or(DEPTH_MAX + 1)
}

/// Refuses a value that nests deeper than [`DEPTH_MAX`].
///
/// # Errors
/// 400 `BadRequest`.
pub fn check_depth(value: &Value) -> Result<(), Status> {
    match depth(value) > DEPTH_MAX {
        true => Err(too_deep()),
        false => Ok(()),
    }
}

/// Returns the answer for a value that nests too deep.
pub(crate) fn too_deep() -> Status {
    Status::bad_request(format!(
        "the object provided is nested too deeply: at most {DEPTH_MAX} levels of lists and maps are allowed"
    ))
}

/// Refuses the spec of a pod with a list that is too long: of containers, of volumes.
///
/// # Errors
/// 400 `BadRequest`.
pub fn check_pod_lists(spec: &Value) -> Result<(), Status> {
    for (name, field) in spec.as_object().into_iter().flatten() {
        let items = field.as_array().map_or(0, Vec::len);
        if items > POD_ITEMS_MAX {
            return Err(Status::bad_request(format!(
                "the object provided has {items} {name}: at most {POD_ITEMS_MAX} are allowed"
            )));
        }
    }
    Ok(())
}

/// Refuses an object of a built-in kind with too many maps in it. It must not nest deeper than
/// [`DEPTH_MAX`].
///
/// # Errors
/// 400 `BadRequest`.
pub fn check_maps(object: &Value) -> Result<(), Status> {
    count_maps(object, &mut { MAPS_MAX }).ok_or_else(|| {
        Status::bad_request(format!(
            "the object provided has more than {MAPS_MAX} maps in its fields and lists"
        ))
    })
}

/// Takes the number of maps from `left`; `None` if there are more.
fn count_maps(value: &Value, left: &mut usize) -> Option<()> {
    match value {
        Value::Object(map) => {
            *left = left.checked_sub(1)?;
            let mut fields = map.iter().filter(|(name, _)| *name != "managedFields");
            fields.try_for_each(|(_, field)| count_maps(field, left))
        }
        Value::Array(list) => list.iter().try_for_each(|item| count_maps(item, left)),
        _ => Some(()),
    }
}

/// Makes a value of `levels` maps, one inside of the other.
#[cfg(any(test, feature = "testing"))]
pub fn nested(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inner, _| serde_json::json!({ "a": inner }))
}

#[cfg(test)]
mod tests;
