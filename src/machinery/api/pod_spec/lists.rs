//! Lists in a pod's spec: those that hold containers, and items that have a name each.

use crate::errors::Errors;
use crate::validate::names;
use crate::value::text;
use serde_json::{Value, json};
use std::collections::HashSet;

/// The lists of containers in a pod's spec.
pub(super) const GROUPS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// A DNS label that nothing before it in the list has, which `seen` holds.
pub(super) fn own_name<'a>(named: &'a Value, field: &str, seen: &mut HashSet<&'a str>, errors: &mut Errors) {
    let (name, field) = (text(named, "name"), format!("{field}.name"));
    if name.is_empty() {
        errors.required(field, "");
    } else if seen.contains(&name) {
        errors.duplicate(field, &json!(name));
    } else {
        for problem in names::dns_label(name) {
            errors.invalid_text(&field, name, &problem);
        }
    }
    seen.insert(name);
}
