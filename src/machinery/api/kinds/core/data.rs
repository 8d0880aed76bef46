//! What ConfigMaps and Secrets share: keys, sizes, and `immutable`.

use crate::errors::Errors;
use crate::validate::names;
use crate::value::{at, flag, map};
use serde_json::Value;

pub(super) const SIZE_MAX: usize = 1024 * 1024;

/// Checks the keys of a map and returns how large its values are together.
pub(super) fn keys(object: &Value, path: &str, size_of: fn(&str) -> usize, errors: &mut Errors) -> usize {
    let mut size = 0;
    for (key, value) in map(object, path).into_iter().flatten() {
        for problem in names::config_key(key) {
            errors.invalid_text(format!("{path}[{key}]"), key, &problem);
        }
        size += value.as_str().map_or(0, size_of);
    }
    size
}

/// Returns the number of bytes that a text in base64 encodes.
pub(super) fn decoded(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

pub(super) fn immutable(new: &Value, old: &Value, paths: &[&str], errors: &mut Errors) {
    if !flag(old, "immutable") {
        return;
    }
    if !flag(new, "immutable") {
        errors.forbidden("immutable", "field is immutable when `immutable` is set");
    }
    for path in paths {
        if at(new, path) != at(old, path) {
            errors.forbidden(*path, "field is immutable when `immutable` is set");
        }
    }
}

pub(super) fn count(object: &Value, path: &str) -> usize {
    map(object, path).map_or(0, |m| m.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::core::{config_map, secret};
    use serde_json::json;

    fn fields(check: impl FnOnce(&mut Errors)) -> Vec<String> {
        let mut errors = Errors::default();
        check(&mut errors);
        errors.iter().map(|e| e.field.to_string()).collect()
    }

    #[test]
    fn padding_of_base64_takes_no_room() {
        use base64::Engine as _;
        let of = |size: usize| base64::engine::general_purpose::STANDARD.encode(vec![7; size]);
        for (size, fits) in [(SIZE_MAX - 1, true), (SIZE_MAX, true), (SIZE_MAX + 1, false)] {
            let map = json!({"binaryData": {"key": of(size)}});
            assert_eq!(fields(|errors| config_map::validate(&map, errors)).is_empty(), fits, "{size}");
            let one = json!({"data": {"key": of(size)}});
            assert_eq!(fields(|errors| secret::validate(&one, errors)).is_empty(), fits, "{size}");
        }
    }
}
