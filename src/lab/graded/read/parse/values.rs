//! The values of a lab: drawn from a seed, and derived from those.

use super::faults::On;
use crate::cel::{Expr, Use};
use crate::graded::draw::{self, Choice, Choices};
use crate::graded::read::written;
use serde_json::{Map, Value};

/// The ends of a range are no further apart.
const WIDTH_MAX: u64 = 1_000_000_000;

/// What can be drawn for each key.
pub(super) fn choices(written: &Map<String, Value>, on: &mut On<'_>) -> Choices {
    let mut all = Choices::new();
    for (key, value) in written {
        if !draw::is_name(key) {
            on.fault(&format!("{key}:"), format!("{key:?} is no name: letters, digits and `_` alone"));
        }
        let of = value.as_object().and_then(|o| if o.len() == 1 { o.iter().next() } else { None });
        let choice = match of.map(|(how, list)| (how.as_str(), list.as_array())) {
            Some(("pick", Some(list))) if !list.is_empty() => Some(Choice::Pick(list.clone())),
            Some(("range", Some(ends))) => {
                match (ends.first().and_then(Value::as_i64), ends.get(1).and_then(Value::as_i64)) {
                    // Wider than a lab needs, and no sum of its ends is too big for its type.
                    (Some(low), Some(high))
                        if low <= high && high.abs_diff(low) <= WIDTH_MAX && ends.len() == 2 =>
                    {
                        Some(Choice::Range(low, high))
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        match choice {
            Some(choice) => all.push((key.clone(), choice)),
            None => on.fault(
                &format!("{key}:"),
                format!("{key}: write {{pick: [A, B]}} or {{range: [LOW, HIGH]}}, at most {WIDTH_MAX} apart"),
            ),
        }
    }
    all
}

/// Compiles the values that are derived from the drawn ones.
pub(super) fn derived(raw: &written::Lab, on: &mut On<'_>) -> Vec<(String, Expr)> {
    let mut derived = Vec::new();
    for (key, source) in &raw.derive {
        if !draw::is_name(key) {
            on.fault(&format!("{key}:"), format!("{key:?} is no name: letters, digits and `_` alone"));
        }
        let near = format!("{key}:");
        if raw.variants.contains_key(key) {
            on.fault(&near, format!("{key} is drawn and derived; call one of the two something else"));
        }
        let Some(source) = source.as_str() else {
            on.fault(&near, format!("{key}: write an expression, in quotes"));
            continue;
        };
        if let Some(expr) = on.expr(source, Use::Check) {
            derived.push((key.clone(), expr));
        }
    }
    derived
}
