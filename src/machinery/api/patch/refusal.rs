//! Why an operation of a JSON patch cannot be done, in the sentences of upstream's library
//! (`evanphx/json-patch` 4.13). kubectl prints them behind `The request is invalid:`.

use super::lenient::index;
use crate::errors::brief;
use crate::gostr::quote;
use json_patch::PatchOperation;
use serde_json::Value;

/// An operation as its refusal names it: with the places as the client wrote them.
pub(super) struct Named {
    kind: &'static str,
    /// The source of a `move` or a `copy`; empty for other operations.
    from: String,
    path: String,
}

impl Named {
    pub(super) fn of(operation: &PatchOperation) -> Named {
        let (kind, from) = match operation {
            PatchOperation::Add(_) => ("add", ""),
            PatchOperation::Remove(_) => ("remove", ""),
            PatchOperation::Replace(_) => ("replace", ""),
            PatchOperation::Move(moved) => ("move", moved.from.as_str()),
            PatchOperation::Copy(copy) => ("copy", copy.from.as_str()),
            PatchOperation::Test(_) => ("test", ""),
        };
        Named { kind, from: brief(from).into(), path: brief(operation.path().as_str()).into() }
    }

    /// Says why the operation failed on this object; `None` if nothing of upstream's fits.
    /// `is_from`: it failed at the place that it takes the value from. If it failed later, a `move`
    /// has taken the value away already.
    ///
    /// ```text
    /// test /spec/replicas, another value   testing value /spec/replicas failed: test failed
    /// remove /spec/foo, not there          error in remove for path: '/spec/foo': Unable to …
    /// replace /spec/a/b, no map /spec/a    replace operation does not apply: doc is missing …
    /// ```
    pub(super) fn why(&self, object: &Value, is_from: bool) -> Option<String> {
        let Named { kind, from, path } = self;
        let lost = |what: String| Some(format!("{kind} operation does not apply: {what}: missing value"));
        if is_from {
            let Some((at, key)) = find(object, from) else {
                return lost(format!("doc is missing from path: {from}"));
            };
            let why = cannot_take(at, &key)?;
            return Some(match *kind {
                "copy" => format!("error in copy for from: '{from}': {why}"),
                _ => format!("error in {kind} for path: '{key}': {why}"),
            });
        }
        let is_within_itself = *kind == "move" && path.starts_with(&format!("{from}/"));
        let Some((at, key)) = find(object, path).filter(|_| !is_within_itself) else {
            return match *kind {
                "test" if path.is_empty() => Some("testing value  failed: test failed".into()),
                "test" => lost(format!("is missing path: {path}")),
                "move" | "copy" => lost(format!("doc is missing destination path: {path}")),
                "replace" => lost(format!("doc is missing path: {path}")),
                _ => lost(format!("doc is missing path: \"{path}\"")),
            };
        };
        match *kind {
            "replace" => lost(format!("doc is missing key: {path}")),
            "test" => Some(match cannot_take(at, &key).filter(|_| at.is_array()) {
                Some(why) => format!("error in test for path: '{path}': {why}"),
                None => format!("testing value {path} failed: test failed"),
            }),
            "remove" => cannot_take(at, &key).map(|why| format!("error in remove for path: '{path}': {why}")),
            "copy" => cannot_add(at, &key).map(|why| format!("error while adding value during copy: {why}")),
            _ => cannot_add(at, &key).map(|why| format!("error in {kind} for path: '{path}': {why}")),
        }
    }
}

/// Returns the map or the list that has a place, and the place's key in it (`findObject`).
fn find<'a>(object: &'a Value, path: &str) -> Option<(&'a Value, String)> {
    let (parents, key) = path.rsplit_once('/')?;
    let mut here = object;
    for parent in parents.split('/').skip(1).map(decoded) {
        here = match here {
            Value::Array(items) => items.get(position(&parent, items.len()).ok()?)?,
            map => map.as_object()?.get(&parent)?,
        };
    }
    (here.is_object() || here.is_array()).then(|| (here, decoded(key)))
}

/// Returns a part of a place without its escapes.
fn decoded(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// Returns why the value of this key cannot be taken from a map or a list.
fn cannot_take(at: &Value, key: &str) -> Option<String> {
    match at {
        Value::Array(items) => position(key, items.len()).err(),
        map if map.get(key).is_none() => {
            Some(format!("Unable to remove nonexistent key: {key}: missing value"))
        }
        _ => None,
    }
}

/// Returns why a value cannot be added under this key. A map takes every one.
fn cannot_add(at: &Value, key: &str) -> Option<String> {
    let items = at.as_array().filter(|_| key != "-")?;
    let why = position(key, items.len() + 1).err()?;
    Some(match key.parse::<i64>() {
        Ok(_) => why,
        Err(_) => format!("value was not a proper array index: '{key}': {why}"),
    })
}

/// Returns which of the places of a list a key names.
///
/// # Errors
/// Why it names none.
fn position(key: &str, places: usize) -> Result<usize, String> {
    let Ok(number) = key.parse::<i64>() else {
        return Err(format!("strconv.Atoi: parsing {}: invalid syntax", quote(key)));
    };
    let found = index(key, places).filter(|at| *at < places);
    found.ok_or_else(|| format!("Unable to access invalid index: {number}: invalid index referenced"))
}

#[cfg(test)]
mod tests {
    use super::super::json; // the function and the macro
    use serde_json::Value;

    fn assert_messages<const N: usize>(cases: [(Value, &str); N]) {
        let object = json!({"a": {"b": 1, "c/d": [1, 2]}, "t": "x"});
        for (operation, why) in cases {
            let patch = json!([operation]).to_string();
            let refused = json(&mut object.clone(), patch.as_bytes()).unwrap_err();
            assert_eq!(refused.details["causes"][0]["message"], why, "{operation}");
        }
    }

    #[test]
    fn a_refused_operation_is_told_in_the_words_of_upstream() {
        assert_messages([
            (json!({"op": "test", "path": "/a/b", "value": 2}), "testing value /a/b failed: test failed"),
            (json!({"op": "test", "path": "/a/z", "value": 2}), "testing value /a/z failed: test failed"),
            (json!({"op": "test", "path": "", "value": 2}), "testing value  failed: test failed"),
            (
                json!({"op": "test", "path": "/z/b", "value": 2}),
                "test operation does not apply: is missing path: /z/b: missing value",
            ),
            (
                json!({"op": "test", "path": "/a/c~1d/2", "value": 2}),
                "error in test for path: '/a/c~1d/2': Unable to access invalid index: 2: invalid index referenced",
            ),
            (
                json!({"op": "remove", "path": "/a/z"}),
                "error in remove for path: '/a/z': Unable to remove nonexistent key: z: missing value",
            ),
            (
                json!({"op": "remove", "path": "/a/c~1d/-3"}),
                "error in remove for path: '/a/c~1d/-3': Unable to access invalid index: -3: invalid index referenced",
            ),
            (
                json!({"op": "remove", "path": "/t/z"}),
                "remove operation does not apply: doc is missing path: \"/t/z\": missing value",
            ),
            (
                json!({"op": "add", "path": "/z/b", "value": 2}),
                "add operation does not apply: doc is missing path: \"/z/b\": missing value",
            ),
            (
                json!({"op": "add", "path": "/a/c~1d/3", "value": 2}),
                "error in add for path: '/a/c~1d/3': Unable to access invalid index: 3: invalid index referenced",
            ),
            (
                json!({"op": "add", "path": "/a/c~1d/x", "value": 2}),
                "error in add for path: '/a/c~1d/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                json!({"op": "replace", "path": "/z/b", "value": 2}),
                "replace operation does not apply: doc is missing path: /z/b: missing value",
            ),
            (
                json!({"op": "replace", "path": "/a/c~1d/2", "value": 2}),
                "replace operation does not apply: doc is missing key: /a/c~1d/2: missing value",
            ),
        ]);
    }

    #[test]
    fn a_refused_move_or_copy_is_told_in_the_words_of_upstream() {
        assert_messages([
            (
                json!({"op": "move", "from": "/a/z", "path": "/y"}),
                "error in move for path: 'z': Unable to remove nonexistent key: z: missing value",
            ),
            (
                json!({"op": "move", "from": "/z/b", "path": "/y"}),
                "move operation does not apply: doc is missing from path: /z/b: missing value",
            ),
            (
                json!({"op": "move", "from": "/t", "path": "/y/z"}),
                "move operation does not apply: doc is missing destination path: /y/z: missing value",
            ),
            (
                json!({"op": "move", "from": "/a", "path": "/a/b"}),
                "move operation does not apply: doc is missing destination path: /a/b: missing value",
            ),
            (
                json!({"op": "copy", "from": "/a/c~1d/5", "path": "/y"}),
                "error in copy for from: '/a/c~1d/5': Unable to access invalid index: 5: invalid index referenced",
            ),
            (
                json!({"op": "copy", "from": "/t", "path": "/a/c~1d/5"}),
                "error while adding value during copy: Unable to access invalid index: 5: invalid index referenced",
            ),
        ]);
    }
}
