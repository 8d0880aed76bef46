//! Bounds on what a client's object may be: how deep its values nest. Most functions over values recurse, and a stack
//! overflow ends the process, which no panic boundary holds; so a value that nests too deep is refused at the door.

use super::status::Status;
use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// Levels of lists and maps in an object. `serde_json` reads 127 levels, and clients read an object inside of a list, of a
/// watch event or of a table's row, with managed fields that nest as deep as the object itself: all of that has to fit.
pub const DEPTH_MAX: usize = 100;

/// Bytes of a compiled regular expression that an object brings, and of the table that matching fills for each thread.
const PATTERN_MAX: usize = 4 * 1024 * 1024;

/// Compiles a regular expression of a schema or a rule, which means what it means in Go.
///
/// # Errors
/// It is none, or it takes more than [`PATTERN_MAX`] bytes.
pub fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&as_go(pattern)).size_limit(PATTERN_MAX).dfa_size_limit(PATTERN_MAX).build()
}

/// Writes a pattern of Go's `regexp` for this program's engine, where classes like `\d` contain all of Unicode, and where `[`,
/// `&` and `~` are operators inside a class. Go's classes are ASCII: `^\d+$` refuses other digits.
fn as_go(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str("[0-9A-Za-z_]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('s') => out.push_str("[\\t\\n\\f\\r ]"),
                Some('S') => out.push_str("[^\\t\\n\\f\\r ]"),
                Some('b') if !in_class => out.push_str("(?-u:\\b)"),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                // The first character of a class is no end of it.
                if rest.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            // `[:alpha:]`
            '[' if rest.peek() == Some(&':') => {
                out.push('[');
                for c in rest.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' | '&' | '~' if in_class => out.extend(['\\', c]),
            ']' => {
                in_class = false;
                out.push(']');
            }
            _ => out.push(c),
        }
    }
    out
}

/// Levels of lists and maps in `value`; 0 for a scalar. It never counts (nor recurses) beyond [`DEPTH_MAX`] + 1. Every
/// value that it looks at is taken from `left`; `None` if that is used up.
pub fn depth_within(value: &Value, left: &mut usize) -> Option<usize> {
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

/// The answer for a value that nests too deep.
pub fn too_deep() -> Status {
    Status::bad_request(format!(
        "the object provided is nested too deeply: at most {DEPTH_MAX} levels of lists and maps are allowed"
    ))
}

/// A value of `levels` maps, one inside of the other.
#[cfg(test)]
pub fn nested(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inner, _| serde_json::json!({ "a": inner }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_have_a_size() {
        for fine in [r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]+){0,10}$", r"^\w{1,63}$", r"^.{1,253}$"]
        {
            assert!(regex(fine).is_ok(), "{fine}");
        }
        for large in [r"(?:\pL{100}){100}", r"((a{100}){100}){100}"] {
            assert!(regex(large).unwrap_err().to_string().contains("size limit"), "{large}");
        }
    }

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, text, matches) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "\u{663}", false),
            (r"^\w+$", "é", false),
            (r"^[\w.-]+$", "a.b-c_1", true),
            (r"^[^\s]$", "\u{a0}", true),
            (r"^\s$", "\u{a0}", false),
            (r"^\S$", "\u{a0}", true),
            (r"\bé", "é", false),
            (r"^[[a]$", "[", true),
            (r"^[a&&b]$", "&", true),
            (r"^[]a]$", "]", true),
            (r"^[[:alpha:]_]+$", "a_b", true),
            (r"^\[\d\]$", "[1]", true),
            (r"^\p{Greek}$", "α", true),
        ] {
            assert_eq!(regex(pattern).unwrap().is_match(text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn levels_are_counted_and_bounded() {
        for (value, want) in [
            (json!(1), 0),
            (json!({}), 1),
            (json!({"a": [1, {"b": 2}]}), 3),
            (nested(DEPTH_MAX), DEPTH_MAX),
            (nested(DEPTH_MAX + 20), DEPTH_MAX + 1),
        ] {
            assert_eq!(depth(&value), want);
        }
        assert!(check_depth(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(check_depth(&nested(DEPTH_MAX + 1)).unwrap_err().code, 400);
        assert_eq!(depth_within(&json!([1, 2, 3]), &mut 2), None);
    }
}
