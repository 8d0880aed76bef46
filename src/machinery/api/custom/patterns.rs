//! The memory of the patterns of a definition. Each stays compiled as long as the definition is
//! there, and a few letters take megabytes: `\pL{60}` stands for any of 140 000 letters, 60 times.

use crate::bounds;
use crate::errors::Errors;
use crate::value::{at, list};
use serde_json::Value;

/// Bytes that the patterns of all versions of a definition may take together when they are
/// compiled. There is no such bound upstream, where a letter is one instruction.
const PATTERNS_MAX: usize = 32 << 20;

/// Returns whether the patterns of a definition are within [`PATTERNS_MAX`], and reports it if they
/// are not. To compile more of them, as the other checks do, would take minutes.
pub(crate) fn check(definition: &Value, errors: &mut Errors) -> bool {
    let mut left = PATTERNS_MAX;
    for (i, version) in list(definition, "spec.versions").iter().enumerate() {
        if !take(at(version, "schema.openAPIV3Schema"), &mut left) {
            let why =
                format!("the patterns of all versions take more than {PATTERNS_MAX} bytes when compiled");
            errors.forbidden(format!("spec.versions[{i}].schema.openAPIV3Schema"), &why);
            return false;
        }
    }
    true
}

/// Subtracts the bytes of all compiled patterns of a schema from `left`. Returns false if there are
/// more, and looks at no further ones. A text `pattern` in a default counts, too.
fn take(schema: &Value, left: &mut usize) -> bool {
    match schema {
        Value::Object(words) => words.iter().all(|(word, inner)| match inner {
            Value::String(pattern) if word == "pattern" => {
                let rest = left.checked_sub(bounds::regex_bytes(pattern));
                *left = rest.unwrap_or(0);
                rest.is_some()
            }
            inner => take(inner, left),
        }),
        Value::Array(items) => items.iter().all(|item| take(item, left)),
        _ => true,
    }
}
