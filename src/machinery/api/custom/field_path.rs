//! Paths of fields as definitions write them, `.spec['max-size']`: the fields to select by, and the
//! field that a rule blames.

use super::schema::Schema;
use crate::path::Path;
use crate::value::at;
use serde_json::Value as Json;

/// Checks that a path such as `.spec['max-size']` leads to a field of the schema, which it returns
/// (`ValidFieldPath` upstream).
///
/// # Errors
/// Where it goes wrong.
pub(crate) fn find_schema<'a>(path: &str, schema: &'a Json) -> Result<&'a Json, String> {
    let (mut rest, mut schema) = (path, schema);
    while !rest.is_empty() {
        let (name, after) = read_step(rest)?;
        rest = after;
        let (properties, additional) = (at(schema, "properties"), at(schema, "additionalProperties"));
        let found = match (properties.is_object(), additional) {
            (true, _) => properties.get(&name),
            (false, Json::Object(_) | Json::Bool(true)) => Some(additional),
            _ => None,
        };
        schema = found.ok_or("does not refer to a valid field")?;
    }
    Ok(schema)
}

/// Returns where a field of a rule stands in the object: `.a['b-c']` of a rule at `spec` is
/// `spec.a.b-c`, or `spec.a[b-c]` if `a` is a plain map (`NormalizedRuleFieldPath` upstream).
pub(super) fn place_in_object(path: Path, field_path: &str, schema: &Schema) -> String {
    let (mut place, mut rest, mut here) = (path.to_string(), field_path, Some(schema));
    while let Ok((name, after)) = read_step(rest) {
        let named = here.and_then(|schema| schema.properties.get(&name));
        match named {
            None if here.is_some_and(|schema| schema.additional.is_some()) => {
                place.push_str(&format!("[{name}]"));
            }
            _ if place.is_empty() => place = name,
            _ => place.push_str(&format!(".{name}")),
        }
        here = named.or_else(|| here?.additional.as_deref());
        rest = after;
    }
    place
}

/// Reads the first step of a path such as `.spec['max-size']`: its name, and what follows it.
fn read_step(path: &str) -> Result<(String, &str), String> {
    if let Some(rest) = path.strip_prefix('.') {
        if rest.is_empty() {
            return Err("unexpected end of JSON path".into());
        }
        let (name, after) = rest.split_at(rest.find(['.', '[', ']']).unwrap_or(rest.len()));
        return Ok((name.to_string(), after));
    }
    let Some(rest) = path.strip_prefix('[') else {
        return Err(format!("expected [ or . but got: {path}"));
    };
    let Some(quoted) = rest.strip_prefix('\'') else {
        return Err(format!("expected single quoted string but got {rest}"));
    };
    let (name, length) = read_quoted(quoted)?;
    match quoted[length..].strip_prefix(']') {
        Some(after) => Ok((name, after)),
        None => Err(format!("expected ] but got {}", &quoted[length..])),
    }
}

/// Returns the name before the next quote, and the number of bytes up to that quote and with it.
fn read_quoted(text: &str) -> Result<(String, usize), String> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Ok((name, at + 1)),
            '\\' => match chars.next() {
                Some((_, c @ ('\'' | '\\'))) => name.push(c),
                Some((_, 'n')) => name.push('\n'),
                Some((_, 'r')) => name.push('\r'),
                Some((_, 't')) => name.push('\t'),
                other => {
                    let what = other.map_or(String::new(), |(_, c)| c.to_string());
                    return Err(format!("invalid string literal: invalid escape char \\{what}"));
                }
            },
            c => name.push(c),
        }
    }
    Err("unexpected end of JSON path".into())
}
