//! Validation by the schema, in the words of Kubernetes. What an update leaves as it was is not
//! judged again: objects that were stored before a schema became stricter can still be changed
//! elsewhere (ratcheting, KEP-4008).

use super::embedded;
use super::formats;
use super::numbers;
use super::schema::{Bound, ListType, Schema, Type};
use crate::cel::uris;
use crate::cidr;
use crate::errors::{ErrorKind, Errors, brief};
use crate::gostr;
use crate::path::Path;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::HashSet;
use std::net::Ipv6Addr;

/// Steps of judging one object: one for each value and each schema that it is held against, one for
/// each value of an `enum`, and those of reading its texts. A second, or five if each alternative
/// of an `anyOf` lists what it supports. A schema and an object of a megabyte each would take
/// 10^11.
pub(super) const STEPS_MAX: usize = 50_000_000;
/// Bytes of a text that a step reads, to count its letters and to judge its format.
const TEXT_BYTES: usize = 16;

/// Judges a whole object. One that had an item twice before may have more of them, in whatever list
/// (as upstream, which asks the old object first).
pub(super) fn object(schema: &Schema, object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let errors_of = |object, old| schema_errors(schema, object, old, &Cell::new(STEPS_MAX));
    let found = errors_of(object, old);
    let had_twins = has_twins(&found) && old.is_some_and(|old| has_twins(&errors_of(old, None)));
    errors.append(if had_twins { found.without_kind(ErrorKind::Duplicate) } else { found });
}

/// Returns what is wrong with an object. `left`: the steps that may be taken.
pub(super) fn schema_errors(
    schema: &Schema,
    object: &Value,
    old: Option<&Value>,
    left: &Cell<usize>,
) -> Errors {
    let mut found = Errors::default();
    check_value(schema, object, old, Path::Root, left, &mut found);
    if left.get() == 0 {
        found.forbidden("<nil>", "the object has too many values for the size of its schema");
    }
    found
}

fn has_twins(found: &Errors) -> bool {
    found.iter().any(|error| error.kind == ErrorKind::Duplicate)
}

/// Returns the name that JSON has for the type of a value.
pub(super) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if is_whole(n) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Returns whether a number is an integer. Go reads what does not fit into 64 bits as a float, and
/// a float is an integer only where floats hold each of them.
fn is_whole(number: &serde_json::Number) -> bool {
    number.is_i64() || number.as_f64().is_some_and(numbers::is_integer)
}

fn has_type(schema: &Schema, value: &Value) -> bool {
    match (schema.kind, value) {
        (Type::Any, _) => true,
        (_, Value::Null) => false,
        (Type::Object, Value::Object(_)) | (Type::Array, Value::Array(_)) => true,
        (Type::String | Type::IntOrString, Value::String(_)) | (Type::Boolean, Value::Bool(_)) => true,
        (Type::Integer | Type::IntOrString, Value::Number(n)) => is_whole(n),
        (Type::Number, Value::Number(_)) => true,
        _ => false,
    }
}

/// Checks a value and all that is inside of it. `old` is the value that it replaces, if any; `left`
/// are the steps that the object has left: without any nothing is checked.
fn check_value(
    schema: &Schema,
    here: &Value,
    old: Option<&Value>,
    path: Path,
    left: &Cell<usize>,
    errors: &mut Errors,
) {
    left.set(left.get().saturating_sub(1 + schema.one_of_these.len()));
    if left.get() == 0 || errors.is_full() || old == Some(here) || (here.is_null() && schema.nullable) {
        return;
    }
    if let Some(text) = here.as_str() {
        let matching = schema.pattern.as_ref().map_or(0, |pattern| pattern.steps(text.len()));
        left.set(left.get().saturating_sub(text.len() / TEXT_BYTES + matching));
        if left.get() == 0 {
            return;
        }
    }
    if !has_type(schema, here) {
        let (found, wanted) = (json_type(here), schema.kind.name());
        let place = if path.is_root() { "<nil>".to_string() } else { path.to_string() };
        errors.type_invalid(place, found, &format!("{path} in body must be of type {wanted}: {found:?}"));
        return;
    }
    match here {
        Value::Object(map) => {
            check_size(schema, map.len(), path, errors);
            for name in schema.required.iter().filter(|name| !map.contains_key(*name)) {
                errors.required(path.field(name), "");
            }
            for (name, field) in map {
                if let Some(inner) = schema.field(name) {
                    let old = old.and_then(|o| o.get(name));
                    check_value(inner, field, old, path.field(name), left, errors);
                }
            }
            if schema.embedded && !path.is_root() {
                embedded::judge(here, path, errors);
            }
        }
        Value::Array(items) => {
            check_count(schema, items.len(), path, errors);
            check_unique(schema, items, path, errors);
            if let Some(inner) = &schema.items {
                let before = schema.items_by_key(old);
                for (i, item) in items.iter().enumerate() {
                    check_value(inner, item, before.same(schema, item), path.item(i), left, errors);
                }
            }
        }
        Value::String(text) => check_text(schema, text, path, errors),
        Value::Number(_) => check_number(schema, here, path, errors),
        _ => {}
    }
    if !schema.one_of_these.is_empty() && !schema.one_of_these.iter().any(|v| is_same_value(v, here)) {
        let supported: Vec<String> = schema
            .one_of_these
            .iter()
            .map(|v| v.as_str().map_or_else(|| v.to_string(), String::from))
            .collect();
        let supported: Vec<&str> = supported.iter().map(String::as_str).collect();
        errors.not_supported(path, here, &supported);
    }
    check_combined(schema, here, path, left, errors);
}

/// Returns whether two values are equal. Numbers are compared as numbers: 1 equals 1.0.
fn is_same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

/// Checks a value against the schemas in `allOf`, `anyOf`, `oneOf` and `not` of its schema.
fn check_combined(schema: &Schema, here: &Value, path: Path, left: &Cell<usize>, errors: &mut Errors) {
    let fits = |schema: &Schema| {
        let mut found = Errors::default();
        check_value(schema, here, None, path, left, &mut found);
        found.is_empty()
    };
    let place = || path.to_string();
    let mut tell = |why: &str| errors.invalid_text("<nil>", "", &format!("{:?} {why}", place()));
    if !schema.any_of.is_empty() && !schema.any_of.iter().any(fits) {
        tell("must validate at least one schema (anyOf)");
    }
    if !schema.one_of.is_empty() {
        match schema.one_of.iter().filter(|s| fits(s)).count() {
            1 => {}
            0 => tell("must validate one and only one schema (oneOf). Found none valid"),
            n => {
                tell(&format!("must validate one and only one schema (oneOf). Found {n} valid alternatives"))
            }
        }
    }
    // Each is judged once: judged again for its errors, schemas inside of each other would take
    // twice as long at each level.
    let mut found = Errors::default();
    schema.all_of.iter().for_each(|s| check_value(s, here, None, path, left, &mut found));
    if !found.is_empty() {
        tell("must validate all the schemas (allOf)");
        errors.append(found);
    }
    if schema.not.as_deref().is_some_and(fits) {
        errors.invalid_text("<nil>", "", &format!("{:?} must not validate the schema (not)", place()));
    }
}

fn check_size(schema: &Schema, found: usize, path: Path, errors: &mut Errors) {
    if let Some(max) = schema.size.1.filter(|max| found as u64 > *max) {
        errors.too_many(path, found, max);
    }
    if let Some(min) = schema.size.0.filter(|min| (found as u64) < *min) {
        errors.invalid(path, &json!(found), &format!("{path} in body should have at least {min} properties"));
    }
}

fn check_count(schema: &Schema, found: usize, path: Path, errors: &mut Errors) {
    if let Some(max) = schema.count.1.filter(|max| found as u64 > *max) {
        errors.too_many(path, found, max);
    }
    if let Some(min) = schema.count.0.filter(|min| (found as u64) < *min) {
        errors.invalid(path, &json!(found), &format!("{path} in body should have at least {min} items"));
    }
}

/// Reports items of a set that occur twice, and items of a list that is a map whose keys do.
fn check_unique(schema: &Schema, items: &[Value], path: Path, errors: &mut Errors) {
    // Items are compared as values: two maps whose fields have another order are the same item.
    let mut seen = HashSet::new();
    for (i, item) in items.iter().enumerate() {
        let key = match &schema.list {
            ListType::Atomic => return,
            ListType::Set => item.clone(),
            ListType::Map(keys) => {
                Value::Object(keys.iter().map(|k| (k.clone(), schema.key(item, k))).collect())
            }
        };
        if seen.contains(&key) {
            errors.duplicate(path.item(i), &key);
        }
        seen.insert(key);
    }
}

fn check_text(schema: &Schema, text: &str, path: Path, errors: &mut Errors) {
    let length = text.chars().count() as u64;
    if let Some(max) = schema.length.1.filter(|max| length > *max) {
        errors.too_long(path, max as usize);
    }
    if let Some(min) = schema.length.0.filter(|min| length < *min) {
        errors.invalid_text(path, text, &format!("{path} in body should be at least {min} chars long"));
    }
    if let Some(pattern) = schema.pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
        errors.invalid_text(path, text, &format!("{path} in body should match '{}'", pattern.source));
    }
    if !has_format(&schema.format, text) {
        let why = format!("{path} in body must be of type {}: {:?}", schema.format, brief(text));
        errors.type_invalid(path, text, &why);
    }
}

/// Returns the bound of a value as Go prints it: the bound of a whole number has no fraction.
fn shown(bound: f64, here: &Value) -> String {
    match here.is_f64() || bound.fract() != 0.0 {
        true => gostr::general(bound),
        false => (bound as i64).to_string(),
    }
}

/// Returns whether a number is a multiple of `factor`. Whole numbers are divided as integers
/// (`MultipleOfInt` upstream). A fraction may miss a multiple by a little, as 0.3 / 0.1 is a little
/// less than 3; of two large whole numbers every one would be a multiple with that tolerance.
fn is_multiple(here: &Value, found: f64, factor: f64) -> bool {
    match here.as_i64().filter(|_| factor.fract() == 0.0 && factor < i64::MAX as f64) {
        Some(whole) => whole % (factor as i64) == 0,
        None => {
            let times = found / factor;
            (times - times.round()).abs() <= 1e-9 * times.abs().max(1.0)
        }
    }
}

fn check_number(schema: &Schema, here: &Value, path: Path, errors: &mut Errors) {
    let Some(found) = here.as_f64() else { return };
    let mut tell = |why: String| errors.invalid(path, here, &format!("{path} in body should be {why}"));
    // Whole numbers are compared as integers: a float does not hold all of them.
    let order = |bound: f64| match here.as_i64().filter(|_| bound.fract() == 0.0) {
        Some(found) => found.cmp(&(bound as i64)),
        None => found.total_cmp(&bound),
    };
    if let Some(Bound { value, exclusive }) = schema.maximum {
        match exclusive {
            true if order(value).is_ge() => tell(format!("less than {}", shown(value, here))),
            false if order(value).is_gt() => tell(format!("less than or equal to {}", shown(value, here))),
            _ => {}
        }
    }
    if let Some(Bound { value, exclusive }) = schema.minimum {
        match exclusive {
            true if order(value).is_le() => tell(format!("greater than {}", shown(value, here))),
            false if order(value).is_lt() => tell(format!("greater than or equal to {}", shown(value, here))),
            _ => {}
        }
    }
    if let Some(factor) = schema.multiple_of.filter(|f| *f > 0.0)
        && !is_multiple(here, found, factor)
    {
        tell(format!("a multiple of {}", gostr::general(factor)));
    }
}

/// Returns whether a text has the format of its schema; true for a format that is not enforced.
/// Formats of numbers (int32) are not enforced (`supportedVersionedFormats` upstream).
fn has_format(format: &str, text: &str) -> bool {
    let format = format.replace('-', "");
    match format.as_str() {
        "ipv4" => text.contains('.') && cidr::parse_ip(text).is_some(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => cidr::parse(text).is_some(),
        "uri" => uris::is_request_uri(text),
        format => formats::fits(format, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(schema: Value, value: Value) -> Vec<String> {
        let mut errors = Errors::default();
        object(&Schema::read(&schema), &value, None, &mut errors);
        errors.iter().map(|e| e.body.clone()).collect()
    }

    /// Each item may have to be compared with each value that is allowed.
    #[test]
    fn many_values_are_not_held_against_a_large_schema() {
        let choices: Vec<usize> = (0..500_000).collect();
        let schema = json!({"type": "array", "items": {"enum": choices}});
        assert_eq!(problems(schema.clone(), json!(vec![0; 10])), [""; 0]);
        let found = problems(schema, json!(vec![0; 200]));
        assert_eq!(found, ["Forbidden: the object has too many values for the size of its schema"]);
    }

    /// Each schema may read the whole text, and a repetition at each byte all of its places.
    #[test]
    fn a_long_text_is_not_held_against_many_patterns() {
        let text = json!("ab".repeat(500_000));
        let schema = |count: usize, pattern: &str| json!({"type": "string", "allOf": vec![json!({"pattern": pattern}); count]});
        let too_much = "Forbidden: the object has too many values for the size of its schema";
        let long = format!("^[{}]*$", "ab".repeat(200));
        for (count, pattern) in [(1, "^[ab]*a[ab]{1000}c"), (3, long.as_str())] {
            let found = problems(schema(count, pattern), text.clone());
            assert_eq!(found.last().map(String::as_str), Some(too_much), "{pattern}");
        }
        let name = "^[a-z0-9]([-a-z0-9]{0,999}[a-z0-9])?$";
        for (count, pattern) in [(1, "^[ab]*a[ab]{60}$"), (10, "^[ab]*$"), (10, name)] {
            let found = problems(schema(count, pattern), text.clone());
            assert!(found.iter().all(|why| why != too_much), "{pattern}: {found:?}");
        }
        let names = json!({"type": "array", "items": {"type": "string", "pattern": name}});
        assert_eq!(problems(names, json!(vec!["a".repeat(60); 20_000])), [""; 0]);
    }

    #[test]
    fn items_of_a_set_are_compared_without_the_order_of_their_fields() {
        let item = json!({"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "integer"}});
        let schema = json!({"type": "array", "x-kubernetes-list-type": "set", "items": item});
        let found = |text: &str| problems(schema.clone(), serde_json::from_str(text).unwrap()).len();
        assert_eq!(found(r#"[{"a": 1, "b": 2}, {"a": 2, "b": 1}]"#), 0);
        assert_eq!(found(r#"[{"a": 1, "b": 2}, {"b": 2, "a": 1}]"#), 1);
    }

    #[test]
    fn integers_have_64_bits() {
        let wrong = |found: &str| {
            vec![format!("Invalid value: {found:?}:  in body must be of type integer: {found:?}")]
        };
        for (text, want) in [
            ("9223372036854775807", vec![]),
            ("-9223372036854775808", vec![]),
            ("3.0", vec![]),
            ("9007199254740991.0", vec![]),
            ("9223372036854775808", wrong("number")),
            ("10000000000000000000", wrong("number")),
            ("1e300", wrong("number")),
            ("1.5", wrong("number")),
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(problems(json!({"type": "integer"}), value), want, "{text}");
        }
        let schema = json!({"type": "integer", "format": "int32"});
        assert_eq!(
            problems(schema, json!(3_000_000_000_i64)),
            [""; 0],
            "a format of no text is not enforced"
        );
    }

    #[test]
    fn large_numbers_are_multiples_only_if_they_are() {
        for (factor, value, fits) in [
            (json!(2), json!(1_000_000_000_i64), true),
            (json!(2), json!(1_000_000_001_i64), false),
            (json!(1024), json!(549_755_813_889_i64), false),
            (json!(1024), json!(-549_755_813_888_i64), true),
            (json!(2), json!(9_007_199_254_740_993_i64), false), // 2^53 + 1 is no float
            (json!(0.1), json!(0.3), true),
            (json!(0.1), json!(0.35), false),
            (json!(2.5), json!(5), true),
            (json!(2), json!(5.0), false),
        ] {
            let found = problems(json!({"type": "number", "multipleOf": factor}), value.clone());
            assert_eq!(found.is_empty(), fits, "{value} and {factor}: {found:?}");
        }
    }

    #[test]
    fn times_and_uris_have_the_form_that_upstream_takes() {
        for (format, text, fits) in [
            ("date-time", "2026-01-02T03:04:05Z", true),
            ("date-time", "2026-01-02t03:04:05.25+02:00", true),
            ("date-time", "2026-01-02 03:04:05Z", false),
            ("date-time", "2026-01-02T03:04Z", false),
            ("date-time", "2026-01-02T03:04:05Z[UTC]", false),
            ("date-time", "2026-01-02T24:04:05Z", false),
            ("date-time", "2026-02-30T03:04:05Z", false),
            ("date-time", "2026-01-02T03:04:05", false),
            ("date", "2026-01-02", true),
            ("date", "2026-W01-1", false),
            ("uri", "urn:isbn:1", true),
            ("uri", "mailto:a@b.c", true),
            ("uri", "file:///etc/x", true),
            ("uri", "unix:///run/x.sock", true),
            ("uri", "/a/b?c=d", true),
            ("uri", "http://u:p@[::1]:80/a b", true),
            ("uri", "http://a.b:8080/x", true),
            ("uri", "", false),
            ("uri", "a/b", false),
            ("uri", ":a", false),
            ("uri", "http://a b/", false),
            ("uri", "http://a:b/", false),
            ("uri", "http://[::1/", false),
            ("uri", "/a%zz", false),
            ("uri", "/a\n", false),
            ("uri", "http://a%20b/", false),
            ("uri", "http://[fe80::1%25en0]/", true),
            ("uri", "http://[fe80::1%25e%20n]/", true),
            ("uri", "http://[::ffff:1.2.3.4]:/", true),
            ("uri", "http://u@[::1]/", true),
            ("uri", "http://[a]/", false),
            ("uri", "http://[]/", false),
            ("uri", "http://[1.2.3.4]/", false),
            ("uri", "http://[fe80:1:1%25en0]/", false),
            ("uri", "http://[::1%25]/", false),
            ("uri", "http://[::1%en0]/", false),
            ("uri", "http://[::1%25e n]/", false),
            ("uri", "http://[::1%25%2f]/", false),
            ("uri", "http://[::%31]/", false),
            ("uri", "http://[::1]x/", false),
            ("uri", "http://a[b/", false),
            ("uri", "http://a%25b%e1/", true),
            ("uri", "http://%41/", false),
            ("ipv4", "010.1.2.3", true),
            ("ipv4", "::ffff:1.2.3.4", true),
            ("ipv4", "::1", false),
            ("ipv6", "::ffff:1.2.3.4", true),
            ("ipv6", "1.2.3.4", false),
            ("ipv6", "::ffff:010.2.3.4", false),
            ("cidr", "010.0.0.1/08", true),
        ] {
            assert_eq!(has_format(format, text), fits, "{format} {text}");
        }
    }
}
