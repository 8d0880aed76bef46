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
mod tests;
