//! JSON patches that upstream's library takes (`evanphx/json-patch` 4.13, as the API server
//! configures it) and this program's does not. What the RFC says nothing of, or forbids:
//!
//! ```text
//! test of a missing field for null     passes: "only if nobody has set it yet"
//! replace of a missing field           adds it
//! copy of a missing field              adds null
//! items/-1                             the last item; for an added one, behind the last
//! items/01, items/+1                   items/1
//! ```

use json_patch::jsonptr::{Pointer, PointerBuf};
use json_patch::{AddOperation, PatchOperation};
use serde_json::Value;

/// True for a test that a field of a map is null where the map has no such field.
pub(super) fn tests_for_nothing(object: &Value, operation: &PatchOperation) -> bool {
    let PatchOperation::Test(test) = operation else { return false };
    test.value.is_null() && is_missing(object, &test.path)
}

/// True for a field that its map does not have. False if there is no map that could have it.
fn is_missing(object: &Value, path: &Pointer) -> bool {
    let Some((parent, field)) = path.split_back() else { return false };
    let parent = object.pointer(parent.as_str()).and_then(Value::as_object);
    parent.is_some_and(|map| !map.contains_key(field.decoded().as_ref()))
}

/// Returns an operation that means the same by the RFC, for this object.
pub(super) fn plain(object: &Value, mut operation: PatchOperation) -> PatchOperation {
    fn settle(object: &Value, path: &mut PointerBuf, place: Place) {
        if let Some(plain) = settled(object, path, place) {
            *path = plain;
        }
    }
    match &mut operation {
        PatchOperation::Add(add) => settle(object, &mut add.path, Place::New),
        PatchOperation::Remove(remove) => settle(object, &mut remove.path, Place::Old),
        PatchOperation::Replace(replace) => {
            settle(object, &mut replace.path, Place::Old);
            if is_missing(object, &replace.path) {
                let (path, value) = (replace.path.clone(), replace.value.take());
                return PatchOperation::Add(AddOperation { path, value });
            }
        }
        PatchOperation::Move(moved) => {
            settle(object, &mut moved.from, Place::Old);
            settle(object, &mut moved.path, Place::Moved { from: &moved.from });
        }
        PatchOperation::Copy(copy) => {
            settle(object, &mut copy.from, Place::Old);
            settle(object, &mut copy.path, Place::New);
            if is_missing(object, &copy.from) {
                return PatchOperation::Add(AddOperation { path: copy.path.clone(), value: Value::Null });
            }
        }
        PatchOperation::Test(test) => settle(object, &mut test.path, Place::Old),
    }
    operation
}

/// What a path leads to.
#[derive(Clone, Copy)]
enum Place<'a> {
    Old,
    /// A value that is added: a list has one place more for it.
    New,
    /// As `New`, after the value at `from` was removed.
    Moved {
        from: &'a Pointer,
    },
}

/// Returns a path whose indices are written as the RFC has them; `None` if they are already. An
/// index that no list can have stays, and the operation fails.
///
/// With `{"a": [1, 2, 3]}`, `/a/-1` is `/a/2` as an old place and `/a/3` as a new one.
fn settled(object: &Value, path: &Pointer, place: Place) -> Option<PointerBuf> {
    let mut settled = PointerBuf::new();
    let mut is_other = false;
    let mut here = Some(object);
    let mut tokens = path.tokens().peekable();
    while let Some(token) = tokens.next() {
        let mut name = token.decoded().into_owned();
        let removed = match place {
            Place::Moved { from } => from.split_back().filter(|(parent, _)| **parent == settled),
            _ => None,
        };
        let removed = removed.map(|(_, last)| last.decoded().into_owned());
        here = match here {
            Some(Value::Array(items)) => {
                let removed = removed.and_then(|index| index.parse::<usize>().ok());
                let is_new = tokens.peek().is_none() && !matches!(place, Place::Old);
                let length =
                    items.len() + usize::from(is_new) - usize::from(removed.is_some() && !items.is_empty());
                let at = index(&name, length);
                if let Some(at) = at.filter(|at| at.to_string() != name) {
                    (name, is_other) = (at.to_string(), true);
                }
                // Behind a removed item the others move up.
                at.and_then(|at| items.get(at + usize::from(removed.is_some_and(|removed| at >= removed))))
            }
            Some(Value::Object(map)) => map.get(&name).filter(|_| removed.as_ref() != Some(&name)),
            _ => None,
        };
        settled.push_back(name.as_str());
    }
    is_other.then_some(settled)
}

/// Reads an index as Go's `strconv.Atoi` does. A negative one counts from the end.
pub(super) fn index(text: &str, length: usize) -> Option<usize> {
    let number: i64 = text.parse().ok()?;
    match number < 0 {
        true => length.checked_sub(usize::try_from(number.unsigned_abs()).ok()?),
        false => usize::try_from(number).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::json; // the function and the macro
    use serde_json::Value;

    #[test]
    fn a_test_for_null_passes_where_there_is_no_field() {
        let object = json!({"metadata": {"annotations": {"a/b": "x"}}, "list": [1]});
        for (path, value, passes) in [
            ("/metadata/annotations/holder", json!(null), true),
            ("/metadata/labels", json!(null), true),
            ("/metadata/annotations/a~1c", json!(null), true),
            ("/metadata/annotations/a~1b", json!(null), false),
            ("/metadata/annotations/holder", json!("me"), false),
            ("/metadata/labels/holder", json!(null), false), // there is no map that could have it
            ("/list/3", json!(null), false),
        ] {
            let patch = json!([{"op": "test", "path": path, "value": value}]).to_string();
            assert_eq!(json(&mut object.clone(), patch.as_bytes()).is_ok(), passes, "{path} {value}");
        }
    }

    /// `Err`: the patch is refused.
    fn patched(object: &Value, operations: Value) -> Result<Value, u16> {
        let mut object = object.clone();
        json(&mut object, operations.to_string().as_bytes()).map_err(|status| status.code)?;
        Ok(object)
    }

    #[test]
    fn indices_count_from_the_end() {
        let object = json!({"a": [1, 2, {"b": ["x"]}]});
        for (operation, want) in [
            (json!({"op": "remove", "path": "/a/-1"}), Some(json!([1, 2]))),
            (json!({"op": "remove", "path": "/a/-3"}), Some(json!([2, {"b": ["x"]}]))),
            (json!({"op": "remove", "path": "/a/-4"}), None),
            (json!({"op": "replace", "path": "/a/-2", "value": 9}), Some(json!([1, 9, {"b": ["x"]}]))),
            (json!({"op": "add", "path": "/a/-1", "value": 9}), Some(json!([1, 2, {"b": ["x"]}, 9]))),
            (json!({"op": "add", "path": "/a/-4", "value": 9}), Some(json!([9, 1, 2, {"b": ["x"]}]))),
            (json!({"op": "add", "path": "/a/-5", "value": 9}), None),
            (
                json!({"op": "add", "path": "/a/-1/b/-1", "value": "y"}),
                Some(json!([1, 2, {"b": ["x", "y"]}])),
            ),
            (json!({"op": "test", "path": "/a/-3", "value": 1}), Some(json!([1, 2, {"b": ["x"]}]))),
            (json!({"op": "test", "path": "/a/-3", "value": 2}), None),
            (json!({"op": "remove", "path": "/a/01"}), Some(json!([1, {"b": ["x"]}]))),
            (json!({"op": "copy", "from": "/a/-2", "path": "/a/-1"}), Some(json!([1, 2, {"b": ["x"]}, 2]))),
            (json!({"op": "move", "from": "/a/0", "path": "/a/-1"}), Some(json!([2, {"b": ["x"]}, 1]))),
            (json!({"op": "move", "from": "/a/-1", "path": "/a/-2"}), Some(json!([1, {"b": ["x"]}, 2]))),
            (json!({"op": "move", "from": "/a/0", "path": "/a/1/b/-1"}), Some(json!([2, {"b": ["x", 1]}]))),
        ] {
            let found = patched(&object, json!([operation]));
            assert_eq!(found.as_ref().ok().map(|o| &o["a"]), want.as_ref(), "{operation}");
        }
    }

    /// An index from the end of a list moves as many items as one from its beginning.
    #[test]
    fn indices_from_the_end_are_bounded_alike() {
        let before = json!({"a": vec![0; 100_000]});
        let many = Value::Array(vec![json!({"op": "add", "path": "/a/-100001", "value": 0}); 1_000]);
        assert_eq!(patched(&before, many), Err(422));
    }

    #[test]
    fn a_replaced_field_need_not_be_there() {
        let object = json!({"metadata": {"labels": {"a": "b"}}, "list": [1]});
        for (operation, want) in [
            (
                json!({"op": "replace", "path": "/metadata/labels/c", "value": "d"}),
                Some(json!({"metadata": {"labels": {"a": "b", "c": "d"}}, "list": [1]})),
            ),
            (json!({"op": "replace", "path": "/metadata/annotations/c", "value": "d"}), None),
            (json!({"op": "replace", "path": "/list/1", "value": 2}), None),
            (json!({"op": "remove", "path": "/metadata/labels/c"}), None),
            (json!({"op": "move", "from": "/metadata/labels/c", "path": "/x"}), None),
            (
                json!({"op": "copy", "from": "/metadata/labels/c", "path": "/x"}),
                Some(json!({"metadata": {"labels": {"a": "b"}}, "list": [1], "x": null})),
            ),
        ] {
            assert_eq!(patched(&object, json!([operation])).ok(), want, "{operation}");
        }
    }
}
