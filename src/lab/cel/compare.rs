//! Comparisons that lessons make beside CEL's own: an answer with what is right, an object with a
//! part of it.

use super::value;
use cel::Value;
use std::collections::BTreeSet;

/// Returns whether two texts are alike, without the space around them and without regard to case.
/// Numbers and truths count as their texts; of a list one item is enough.
///
/// Example: `" Running "` is like `"running"` and like `["Pending", "Running"]`.
///
/// # Errors
/// One of them is no text: a map, or nothing. Of a list only if no item is like it.
pub(super) fn alike(given: &Value, right: &Value) -> Result<bool, String> {
    if let Value::List(all) = right {
        let all: Vec<_> = all.iter().map(|one| alike(given, one)).collect();
        // One that is alike decides, whatever stands beside it.
        return match all.contains(&Ok(true)) {
            true => Ok(true),
            false => all.into_iter().find(Result::is_err).unwrap_or(Ok(false)),
        };
    }
    let fold = |value: &Value| match value {
        Value::String(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Bool(_) => {
            Ok(value::show(value).trim().to_lowercase())
        }
        other => Err(format!("alike() compares texts, not {:?}", other.type_of())),
    };
    Ok(fold(given)? == fold(right)?)
}

fn number(value: &Value) -> Result<f64, String> {
    match value {
        Value::Int(n) => Ok(*n as f64),
        Value::UInt(n) => Ok(*n as f64),
        Value::Float(n) => Ok(*n),
        other => Err(format!("near() compares numbers, not {:?}", other.type_of())),
    }
}

/// Returns whether a number is at most `by` away from another. Rounding errors of a double are
/// forgiven.
///
/// # Errors
/// One of them is no number.
pub(super) fn near(given: &Value, right: &Value, by: &Value) -> Result<bool, String> {
    let (given, right, by) = (number(given)?, number(right)?, number(by)?);
    let rounding = f64::EPSILON * given.abs().max(right.abs()) * 4.0;
    Ok((given - right).abs() <= by + rounding)
}

/// Returns whether two lists have the same items, in whatever order, and however often.
///
/// # Errors
/// One of them is no list of scalars.
pub(super) fn same_items(one: &Value, other: &Value) -> Result<bool, String> {
    let set = |value: &Value| match value {
        Value::List(all) => Ok(all.iter().map(value::show).collect::<BTreeSet<String>>()),
        other => Err(format!("same_items() compares lists, not {:?}", other.type_of())),
    };
    Ok(set(one)? == set(other)?)
}

/// Returns whether an object has all that is in a part of it. A map may have further fields. Each
/// item of a list in the part needs an item of the object's list that fits it, no two the same one.
/// Whole numbers and decimals are compared by value; `null` stands for a field that is not there.
///
/// Example: `{"spec": {"containers": [{"image": "nginx"}]}}` is a part of every Pod one of whose
/// containers has the image nginx.
///
/// # Errors
/// More than [`FITS_MAX`] values would have to be compared: lists within lists, each in any order,
/// multiply.
pub(super) fn fits(object: &Value, part: &Value) -> Result<bool, String> {
    let mut left = FITS_MAX;
    let is_part = is_part(object, part, &mut left);
    if left == 0 { Err("fits() has too much to compare".into()) } else { Ok(is_part) }
}

/// Values that one `fits` compares. A Pod with a part of it takes some hundreds.
const FITS_MAX: usize = 100_000;

/// As [`fits`]. `left`: so many values may still be compared; once it is 0 the answer means
/// nothing.
fn is_part(object: &Value, part: &Value, left: &mut usize) -> bool {
    *left = left.saturating_sub(1);
    if *left == 0 {
        return false;
    }
    match (object, part) {
        (_, Value::Map(wanted)) => wanted.map.iter().all(|(key, wanted)| {
            let name = match key {
                cel::objects::Key::String(name) => name.as_str(),
                _ => return false,
            };
            match (value::field(object, name), wanted) {
                (None | Some(Value::Null), Value::Null) => true,
                (Some(found), wanted) => is_part(found, wanted, left),
                // All that is wanted in it may be that fields are not there.
                (None, Value::Map(inner)) if !inner.map.is_empty() => is_part(&Value::Null, wanted, left),
                (None, _) => false,
            }
        }),
        (Value::List(found), Value::List(wanted)) => pairs(found, wanted, left),
        // As doubles, large ones would be rounded.
        (Value::Int(found), Value::Int(wanted)) => found == wanted,
        (found, wanted) => match (number(found), number(wanted)) {
            (Ok(found), Ok(wanted)) => found == wanted,
            _ => found == wanted,
        },
    }
}

/// Returns whether there is for each wanted item a found one of its own. Tries the found items for
/// one wanted item after the other, and moves an earlier choice where that makes room (augmenting
/// paths).
///
/// Example: `[{"port": 80}, {}]` fits `[{"port": 443}, {"port": 80}]`: the second takes what the
/// first leaves.
fn pairs(found: &[Value], wanted: &[Value], left: &mut usize) -> bool {
    fn place(
        at: usize,
        (found, wanted): (&[Value], &[Value]),
        taken: &mut [Option<usize>],
        tried: &mut [bool],
        left: &mut usize,
    ) -> bool {
        for (n, one) in found.iter().enumerate() {
            if !tried[n] && is_part(one, &wanted[at], left) {
                tried[n] = true;
                if taken[n].is_none_or(|other| place(other, (found, wanted), taken, tried, left)) {
                    taken[n] = Some(at);
                    return true;
                }
            }
        }
        false
    }
    let mut taken = vec![None; found.len()];
    (0..wanted.len()).all(|at| place(at, (found, wanted), &mut taken, &mut vec![false; found.len()], left))
}

/// Returns the sum of a list of whole numbers; that of an empty list is 0.
///
/// # Errors
/// It is no such list, or the sum is too large for 64 bits.
pub(super) fn sum(list: &Value) -> Result<i64, String> {
    let none = "sum() takes a list of whole numbers";
    let Value::List(items) = list else { return Err(none.into()) };
    let add = |sum: i64, item: &Value| match item {
        Value::Int(n) => sum.checked_add(*n).ok_or("the sum is too large"),
        _ => Err(none),
    };
    items.iter().try_fold(0, add).map_err(String::from)
}

#[cfg(test)]
mod tests {
    use super::super::{Expr, Facts, Use};
    use cel::Value;
    use std::sync::Arc;

    fn eval(source: &str) -> Option<bool> {
        let value = Expr::compile(source, Use::Check, &[]).unwrap().value(&Arc::new(Facts::default()), &[]);
        match value {
            Ok(Value::Bool(truth)) => Some(truth),
            _ => None,
        }
    }

    #[test]
    fn answers_are_compared_as_people_write_them() {
        for (source, truth) in [
            ("alike(' Running ', 'running')", Some(true)),
            ("alike('run', 'running')", Some(false)),
            ("alike('PENDING', ['Running', 'Pending'])", Some(true)),
            ("alike('3', 3)", Some(true)),
            ("alike('', [])", Some(false)),
            ("alike('a', {'a': 1})", None),
            // The second pod has no address yet.
            ("alike('10.0.0.1', ['10.0.0.1', null])", Some(true)),
            ("alike('10.0.0.2', ['10.0.0.1', null])", None),
            ("near(3, 3.0, 0)", Some(true)),
            ("near(4, 3, 1) && !near(5, 3, 1)", Some(true)),
            ("near(0.3, 0.1 + 0.2, 0)", Some(true)),
            ("near('3', 3, 0)", None),
            ("same_items(['b', 'a'], ['a', 'b'])", Some(true)),
            ("same_items(['a'], ['a', 'b'])", Some(false)),
            ("same_items('a', ['a'])", None),
            ("sum([3, 4]) == 7 && sum([]) == 0", Some(true)),
            ("sum([{'n': 3}, {'n': 4}].map(one, one.n)) == 7", Some(true)),
            ("sum([3, 'a']) == 3", None),
            ("sum([9223372036854775807, 1]) > 0", None),
        ] {
            assert_eq!(eval(source), truth, "{source}");
        }
    }

    #[test]
    fn a_part_of_an_object_fits_it_and_nothing_else_does() {
        let pod = r#"{"spec": {"replicas": 3, "paused": false, "ports": [{"port": 80}, {"port": 443}]}, "large": 9007199254740993}"#;
        for (part, truth) in [
            (r#"{}"#, true),
            (r#"{"spec": {"replicas": 3}}"#, true),
            (r#"{"spec": {"replicas": 3.0}}"#, true),
            (r#"{"spec": {"replicas": 2}}"#, false),
            (r#"{"large": 9007199254740992}"#, false),
            (r#"{"spec": {"replicas": "3"}}"#, false),
            (r#"{"spec": {"paused": null}}"#, false),
            (r#"{"spec": {"nodeName": null}}"#, true),
            (r#"{"spec": {"nodeSelector": {"disk": null}}}"#, true),
            (r#"{"spec": {"nodeSelector": {"disk": null, "zone": "a"}}}"#, false),
            (r#"{"spec": {"nodeSelector": {}}}"#, false),
            (r#"{"spec": {"nodeName": ""}}"#, false),
            (r#"{"spec": {"ports": [{"port": 443}]}}"#, true),
            (r#"{"spec": {"ports": [{}, {"port": 80}]}}"#, true),
            (r#"{"spec": {"ports": [{"port": 80}, {"port": 80}]}}"#, false),
            (r#"{"spec": {"ports": []}}"#, true),
            (r#"{"spec": [1]}"#, false),
        ] {
            assert_eq!(eval(&format!("fits({pod}, {part})")), Some(truth), "{part}");
        }
        assert_eq!(eval(r#"fits({}, {"kind": "Pod"})"#), Some(false), "an object that does not exist");
    }
}
