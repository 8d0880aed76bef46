//! JSON patch (RFC 6902) and merge patch (RFC 7386).

mod lenient;
mod refusal;

use super::bounds;
use super::errors::brief;
use super::kinds::Kind;
use super::schema;
use super::status::Status;
use super::value::as_map;
use json_patch::jsonptr::Pointer;
use json_patch::{PatchErrorKind, PatchOperation};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

const OPERATIONS_MAX: usize = 10_000;
/// Bytes (as JSON) that the `copy` operations of one patch may add: as much as a request's body may
/// have (CVE-2019-1002100).
const COPY_MAX: usize = 3 * 1024 * 1024;
/// Values that the operations of one patch may carry from place to place. A body of 3 MiB has less
/// than half of them.
const VISITS_MAX: usize = 4 * 1024 * 1024;
/// Items of lists that the operations of one patch may move up or down: the removal of the first of
/// many moves all others. A tenth of a second's work.
const SHIFTS_MAX: usize = 64 * 1024 * 1024;

/// The strategic merge patch: only the server's own kinds say by what their lists merge.
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Returns the media types of the patches that the API server takes of a kind, in the order in
/// which upstream lists them (`installer.go`, `customresource_handler.go`).
pub fn media_types(kind: &Kind) -> &'static [&'static str] {
    const TABLE: [&str; 4] = [
        "application/json-patch+json",
        "application/merge-patch+json",
        STRATEGIC,
        "application/apply-patch+yaml",
    ];
    const CUSTOM: [&str; 3] = [TABLE[0], TABLE[1], TABLE[3]];
    if kind.custom.is_none() { &TABLE } else { &CUSTOM }
}

/// Applies a merge patch. A null removes a field. Lists are replaced; a null field of a map inside
/// of the new list is left out, and a null item of the list stays, as `evanphx/json-patch` does it
/// upstream.
pub fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *object = patch.clone();
        return;
    };
    let map = as_map(object);
    if fields.values().any(Value::is_null) {
        // In one pass: to remove each field for itself would move all fields behind it.
        map.retain(|key, _| !fields.get(key).is_some_and(Value::is_null));
    }
    for (key, value) in fields {
        match value {
            Value::Null => {}
            Value::Object(_) => merge(map.entry(key).or_insert(Value::Null), value),
            other => {
                let mut fresh = other.clone();
                prune_nulls(&mut fresh);
                map.insert(key.clone(), fresh);
            }
        }
    }
}

/// Drops the null fields of all maps in a value.
fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, field| !field.is_null());
            map.values_mut().for_each(prune_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}

/// Applies a JSON patch given as text. The whole patch or nothing of it takes effect.
///
/// # Errors
/// 400 for text that is no patch or has too many values, 413 for more than 10 000 operations, 422
/// for an operation that fails: among them copies beyond [`COPY_MAX`] and values that nest deeper
/// than [`bounds::DEPTH_MAX`].
pub fn json(object: &mut Value, patch: &[u8]) -> Result<(), Status> {
    run(object, decode(patch)?)
}

/// As [`json`], for an object of a kind. Upstream carries the values of a patch as text into the
/// object, so that a quantity that is a number there keeps its digits: `1E3` is stored as `1E3`.
///
/// # Errors
/// As [`json`].
pub fn json_of_kind(kind: &Kind, object: &mut Value, patch: &[u8]) -> Result<(), Status> {
    let mut operations = decode(patch)?;
    let texts: Vec<&RawValue> = serde_json::from_slice(patch).unwrap_or_default();
    for (operation, text) in operations.0.iter_mut().zip(texts) {
        // A `remove` that names two values is taken, since it needs none.
        let Ok(text) = serde_json::from_str::<OperationText>(text.get()) else { continue };
        let (path, value) = match operation {
            PatchOperation::Add(add) => (&add.path, &mut add.value),
            PatchOperation::Replace(replace) => (&replace.path, &mut replace.value),
            _ => continue,
        };
        let Some(text) = text.value else { continue };
        let path: Vec<String> = path.tokens().map(|token| token.decoded().into_owned()).collect();
        schema::keep_number_texts_at(kind, path.iter().map(String::as_str), value, text.get().as_bytes());
    }
    run(object, operations)
}

/// The value of an operation as it is written.
#[derive(Deserialize)]
struct OperationText<'a> {
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

/// Reads a patch. An operation that cannot be done is no error of its form: upstream refuses it
/// when its turn comes.
fn decode(patch: &[u8]) -> Result<json_patch::Patch, Status> {
    bounds::check_json(patch)?;
    if patch.trim_ascii() == b"null" {
        return Ok(json_patch::Patch(vec![])); // as Go's decoder reads it
    }
    serde_json::from_slice(patch).or_else(|e| {
        let wrong = || Status::bad_request(format!("error decoding patch: {e}"));
        let mut operations: Vec<Map<String, Value>> = serde_json::from_slice(patch).map_err(|_| wrong())?;
        operations.iter_mut().try_for_each(complete).map_err(|why| refused(&why))?;
        let operations = operations.into_iter().map(Value::Object).collect();
        serde_json::from_value(Value::Array(operations)).map_err(|_| wrong())
    })
}

/// Fills in the value that an operation leaves out, which is null.
///
/// # Errors
/// Upstream's sentence for an operation of an unknown kind, or without a place from the root.
fn complete(operation: &mut Map<String, Value>) -> Result<(), String> {
    const KINDS: [&str; 6] = ["add", "remove", "replace", "move", "copy", "test"];
    let kind = match operation.get("op") {
        None | Some(Value::Null) => "unknown",
        Some(Value::String(kind)) => kind.as_str(),
        Some(_) => return Ok(()), // the decoder refuses it
    };
    let Some(kind) = KINDS.into_iter().find(|known| *known == kind) else {
        return Err(format!("Unexpected kind: {}", brief(kind)));
    };
    if matches!(kind, "move" | "copy") {
        settle_place(operation, kind, "from")?;
    }
    settle_place(operation, kind, "path")?;
    if matches!(kind, "add" | "replace" | "test") {
        operation.entry("value").or_insert(Value::Null);
    }
    Ok(())
}

/// Lets a place begin at the root: upstream passes over what stands before the first slash, so that
/// `data/b` is `/b` (`findObject`). A tilde that escapes nothing stands for itself.
///
/// # Errors
/// Upstream's sentence for a place that is missing, or has no slash.
fn settle_place(operation: &mut Map<String, Value>, kind: &str, field: &str) -> Result<(), String> {
    let place = match operation.get_mut(field) {
        None | Some(Value::Null) => {
            let missing = match (kind, field) {
                (_, "from") => "operation, missing from field: ",
                ("replace" | "move" | "test", _) => "operation missing path field: ",
                _ => "",
            };
            return Err(format!("{kind} operation failed to decode {field}: {missing}missing value"));
        }
        Some(Value::String(place)) if !place.is_empty() => place,
        Some(_) => return Ok(()), // the whole object, or the decoder refuses it
    };
    if let Some(begin) = place.find('/') {
        place.replace_range(..begin, "");
        *place = escape_tildes(place);
        return Ok(());
    }
    let shown = brief(place);
    let lost = match (kind, field) {
        (_, "from") => format!("doc is missing from path: {shown}"),
        ("move" | "copy", _) => format!("doc is missing destination path: {shown}"),
        ("replace", _) => format!("doc is missing path: {shown}"),
        ("test", _) => format!("is missing path: {shown}"),
        _ => format!("doc is missing path: \"{shown}\""),
    };
    Err(format!("{kind} operation does not apply: {lost}: missing value"))
}

/// Returns a place in which each tilde is an escape: `/a~b/c~1d` becomes `/a~0b/c~1d`.
fn escape_tildes(place: &str) -> String {
    let mut parts = place.split('~');
    let mut escaped = parts.next().unwrap_or_default().to_string();
    for part in parts {
        escaped.push_str(if part.starts_with(['0', '1']) { "~" } else { "~0" });
        escaped.push_str(part);
    }
    escaped
}

fn run(object: &mut Value, operations: json_patch::Patch) -> Result<(), Status> {
    if operations.0.len() > OPERATIONS_MAX {
        let message = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
            operations.0.len()
        );
        return Err(Status::new(413, "RequestEntityTooLarge", message));
    }
    // On a copy: the crate's own way back panics after a `move` that put a value in the place of
    // what held it.
    let mut patched = object.clone();
    let mut allowance = Allowance { copied: 0, visits: VISITS_MAX, shifts: SHIFTS_MAX };
    for (i, operation) in operations.0.into_iter().enumerate() {
        let named = refusal::Named::of(&operation);
        let operation = &lenient::plain(&patched, operation);
        allowance.spend(&patched, operation).map_err(|why| refused(&why))?;
        if lenient::tests_for_nothing(&patched, operation) {
            continue;
        }
        json_patch::patch_unsafe(&mut patched, std::slice::from_ref(operation)).map_err(|mut e| {
            e.operation = i;
            let is_from = matches!(e.kind, PatchErrorKind::InvalidFromPointer);
            refused(&named.why(&patched, is_from).unwrap_or_else(|| e.to_string()))
        })?;
    }
    *object = patched;
    Ok(())
}

fn refused(why: &str) -> Status {
    let causes = json!([{"reason": "UnexpectedServerResponse", "message": why}]);
    Status::new(422, "Invalid", "the server rejected our request due to an error in our request")
        .with(json!({"causes": causes}))
}

/// What the operations of one patch may still make.
struct Allowance {
    /// Bytes that `copy` has added so far.
    copied: usize,
    /// Values that may still be looked at to learn how deep they nest.
    visits: usize,
    /// Items of lists that may still be moved.
    shifts: usize,
}

impl Allowance {
    /// Takes the items behind `place`, which an insertion or a removal moves.
    fn shift(&mut self, object: &Value, place: &Pointer) -> Result<(), String> {
        let Some((parent, last)) = place.split_back() else { return Ok(()) };
        let Some(Value::Array(items)) = object.pointer(parent.as_str()) else { return Ok(()) };
        let at = last.decoded().parse().unwrap_or(items.len()); // `-` is the end
        let left = self.shifts.checked_sub(items.len().saturating_sub(at));
        self.shifts = left.ok_or("the patch inserts or removes too often in long lists")?;
        Ok(())
    }

    /// Judges an operation before it runs, so that no value too large or too deep ever exists.
    fn spend(&mut self, object: &Value, operation: &PatchOperation) -> Result<(), String> {
        match operation {
            PatchOperation::Add(add) => self.shift(object, &add.path)?,
            PatchOperation::Copy(copy) => self.shift(object, &copy.path)?,
            PatchOperation::Remove(remove) => self.shift(object, &remove.path)?,
            PatchOperation::Move(moved) => {
                self.shift(object, &moved.from)?;
                self.shift(object, &moved.path)?;
            }
            PatchOperation::Replace(_) | PatchOperation::Test(_) => {}
        }
        let (path, value) = match operation {
            PatchOperation::Add(add) => (&add.path, Some(&add.value)),
            PatchOperation::Replace(replace) => (&replace.path, Some(&replace.value)),
            PatchOperation::Move(moved) => (&moved.path, object.pointer(moved.from.as_str())),
            PatchOperation::Copy(copy) => {
                let value = object.pointer(copy.from.as_str());
                self.copied = self.copied.saturating_add(value.map_or(0, size));
                if self.copied > COPY_MAX {
                    return Err(format!(
                        "Unable to complete the copy, the accumulated size increase of copy is {}, exceeding the limit {COPY_MAX}",
                        self.copied
                    ));
                }
                (&copy.path, value)
            }
            PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
        };
        let Some(value) = value else { return Ok(()) }; // the operation itself says that there is nothing
        let inner = bounds::depth_within(value, &mut self.visits)
            .ok_or("the patch moves too many values from place to place")?;
        match path.count() + inner > bounds::DEPTH_MAX {
            true => Err(format!(
                "the patched object is nested too deeply: at most {} levels of lists and maps are allowed",
                bounds::DEPTH_MAX
            )),
            false => Ok(()),
        }
    }
}

/// Returns the bytes of a value as JSON.
fn size(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        Err(_) => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_removes_and_lists_are_replaced() {
        let mut object = json!({"a": {"b": 1, "c": [1, 2]}, "d": "x"});
        merge(&mut object, &json!({"a": {"b": null, "c": [3]}, "e": {"f": null, "g": 1}}));
        assert_eq!(object, json!({"a": {"c": [3]}, "d": "x", "e": {"g": 1}}));
        merge(&mut object, &json!({"a": {"c": [{"x": null, "y": [{"z": null}]}, null]}, "n": [{"m": null}]}));
        assert_eq!(object, json!({"a": {"c": [{"y": [{}]}, null]}, "d": "x", "e": {"g": 1}, "n": [{}]}));
    }

    #[test]
    fn what_fails_half_way_changes_nothing() {
        let before = json!({"a": {"b": 1}});
        let mut object = before.clone();
        let patch = br#"[{"op":"move","from":"/a/b","path":"/a"},{"op":"test","path":"/a","value":2}]"#;
        assert_eq!(json(&mut object, patch).unwrap_err().code, 422);
        assert_eq!(object, before);
    }

    #[test]
    fn a_failed_test_is_unprocessable() {
        let mut object = json!({"a": 1});
        let error = json(&mut object, br#"[{"op":"test","path":"/a","value":2}]"#).unwrap_err();
        assert_eq!(error.code, 422);
        assert_eq!(json(&mut object, b"{").unwrap_err().code, 400);
        assert!(json(&mut object, br#"[{"op":"remove","path":"/zz/y"}]"#).is_err());
        json(&mut object, br#"[{"op":"add","path":"/b","value":[1]},{"op":"add","path":"/b/-","value":2}]"#)
            .unwrap();
        assert_eq!(object, json!({"a": 1, "b": [1, 2]}));
    }

    /// As `evanphx/json-patch` 4.13 applies them.
    #[test]
    fn an_operation_that_cannot_be_done_is_unprocessable() {
        let errors_of = |patch: &str| {
            let status = json(&mut json!({"a": 1}), patch.as_bytes()).unwrap_err();
            (status.code, status.details["causes"][0]["message"].as_str().unwrap_or_default().to_string())
        };
        for (patch, why) in [
            (r#"[{"op": "relace", "path": "/a", "value": 2}]"#, "Unexpected kind: relace"),
            (r#"[{"op": "add", "path": "/b", "value": 1}, {"path": "/a"}]"#, "Unexpected kind: unknown"),
            (r#"[{"op": "remove"}]"#, "remove operation failed to decode path: missing value"),
            (
                r#"[{"op": "add", "path": "b", "value": 2}]"#,
                "add operation does not apply: doc is missing path: \"b\": missing value",
            ),
            (
                r#"[{"op": "test", "path": "a", "value": 1}]"#,
                "test operation does not apply: is missing path: a: missing value",
            ),
            (
                r#"[{"op": "copy", "path": "/b"}]"#,
                "copy operation failed to decode from: operation, missing from field: missing value",
            ),
            (
                r#"[{"op": "move", "from": "/a"}]"#,
                "move operation failed to decode path: operation missing path field: missing value",
            ),
            (
                r#"[{"op": "move", "from": "/a", "path": "b"}]"#,
                "move operation does not apply: doc is missing destination path: b: missing value",
            ),
        ] {
            assert_eq!(errors_of(patch), (422, why.to_string()), "{patch}");
        }
        for patch in
            [r#"{"op": "add"}"#, r#"[{"op": 1, "path": "/a"}]"#, r#"[{"op": "add", "path": 1}]"#, "[1]"]
        {
            assert_eq!(errors_of(patch).0, 400, "{patch}");
        }
        let mut object = json!({"a": 1});
        json(&mut object, br#"[{"op": "add", "path": "/b"}, {"op": "test", "path": "/c"}]"#).unwrap();
        assert_eq!(object, json!({"a": 1, "b": null}), "a value that is left out is null");
        json(&mut object, br#"[{"op": "copy", "from": "data/a", "path": "x/b"}]"#).unwrap();
        assert_eq!(object, json!({"a": 1, "b": 1}), "nothing counts before the first slash");
    }

    #[test]
    fn a_tilde_that_escapes_nothing_stands_for_itself() {
        let mut object = json!({"a~b": 1, "c/d": 2, "e~": 3});
        let patch = br#"[{"op":"test","path":"/a~b","value":1},{"op":"move","from":"/c~1d","path":"/~2"},
            {"op":"remove","path":"/e~"}]"#;
        assert!(json(&mut object, patch).is_ok());
        assert_eq!(object, json!({"a~b": 1, "~2": 2}));
    }

    /// As `evanphx/json-patch` and `Quantity.UnmarshalJSON` upstream.
    #[test]
    fn a_quantity_that_is_a_number_keeps_its_text() {
        let pod = crate::kinds::find("", "v1", "Pod").unwrap();
        let mut object = json!({"spec": {"priority": 1, "containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]}});
        let patch = br#"[{"op": "replace", "path": "/spec/containers/0/resources/limits/cpu", "value": 1E3},
            {"op": "add", "path": "/spec/containers/0/resources/limits/a.b~1c", "value": 1.500},
            {"op": "add", "path": "/spec/containers/-", "value": {"name": "d", "resources": {"requests": {"cpu": 2e0}}}},
            {"op": "replace", "path": "/spec/priority", "value": 7}]"#;
        json_of_kind(pod, &mut object, patch).unwrap();
        let first = json!({"name": "c", "resources": {"limits": {"cpu": "1E3", "a.b/c": "1.500"}}});
        let second = json!({"name": "d", "resources": {"requests": {"cpu": "2e0"}}});
        assert_eq!(object, json!({"spec": {"priority": 7, "containers": [first, second]}}));
        assert_eq!(json_of_kind(pod, &mut object, b"{").unwrap_err().code, 400);
    }

    #[test]
    fn an_operation_with_values_that_it_does_not_need_changes_no_other_one() {
        let pod = crate::kinds::find("", "v1", "Pod").unwrap();
        let mut object = json!({"spec": {"priority": 1, "overhead": {}}});
        let patch = br#"[{"op": "remove", "path": "/spec/priority", "value": 2, "value": 3},
            {"op": "add", "path": "/spec/overhead/cpu", "value": 1E3}]"#;
        json_of_kind(pod, &mut object, patch).unwrap();
        assert_eq!(object, json!({"spec": {"overhead": {"cpu": "1E3"}}}));
    }

    fn operations(operation: impl Fn(usize) -> Value, count: usize) -> Vec<u8> {
        Value::Array((0..count).map(operation).collect()).to_string().into_bytes()
    }

    #[test]
    fn copies_that_double_are_refused_before_they_are_made() {
        let before = json!({"data": {"a": "b"}});
        let mut object = before.clone();
        let doubling = |i| json!({"op": "copy", "from": "/data", "path": format!("/data/k{i}")});
        json(&mut object.clone(), &operations(doubling, 8)).unwrap();
        let status = json(&mut object, &operations(doubling, 40)).unwrap_err();
        assert_eq!(status.code, 422);
        let why = status.details["causes"][0]["message"].as_str().unwrap().to_string();
        assert!(
            why.starts_with("Unable to complete the copy, the accumulated size increase of copy is "),
            "{why}"
        );
        assert!(why.ends_with(", exceeding the limit 3145728"), "{why}");
        assert_eq!(object, before);
    }

    #[test]
    fn a_patch_of_null_has_no_operation() {
        let mut object = json!({"a": 1});
        assert!(json(&mut object, b" null\n").is_ok() && json(&mut object, b"{}").is_err());
        assert_eq!(object, json!({"a": 1}));
    }

    #[test]
    fn a_value_that_nests_ever_deeper_is_refused() {
        let deep = |op: &str| {
            let op = op.to_string();
            let mut object = json!({"data": {"a": "b"}, "x": []});
            let one = move |_| json!({"op": op, "from": "/data", "path": "/data/x"});
            json(&mut object, &operations(one, 9_900))
                .map_err(|e| e.details["causes"][0]["message"].to_string())
        };
        assert!(deep("copy").unwrap_err().contains("nested too deeply"));
        // Each adds a level around what is there already.
        let add =
            |i: usize| json!({"op": "add", "path": format!("/data{}", "/a".repeat(i)), "value": {"a": {}}});
        let mut object = json!({"data": {}});
        assert!(json(&mut object, &operations(add, 90)).is_ok());
        assert!(json(&mut object, &operations(add, 200)).is_err());
        // `move` makes it deeper without a byte more.
        let wrap = |i: usize| match i % 2 {
            0 => json!({"op": "move", "from": "/a", "path": "/b/a"}),
            _ => json!({"op": "move", "from": "/b", "path": "/a"}),
        };
        let mut object = json!({"a": {}, "b": {}});
        assert!(json(&mut object, &operations(wrap, 2)).is_ok());
        assert!(json(&mut json!({"a": 1}), br#"[{"op":"copy","from":"/zz/x","path":"/y"}]"#).is_err());
    }
}
