//! Entries that were written in a version whose fields have other names than the stored ones.
//!
//! An entry has the names of its own version: `f:note` in one of `events.k8s.io/v1`, `f:message` in
//! one of `v1`. They are the same field, so all entries are compared in the stored names.

use crate::kinds::Kind;
use crate::value::text;
use serde_json::Value;

/// Gives the entries that were written in the version of `kind` the stored names. `None`: no
/// version has other names.
pub fn to_stored_names(object: &mut Value, kind: Option<&Kind>) {
    rename(object, kind, |(stored, own)| (own, stored));
}

/// Gives these entries the names of their own version again.
pub fn to_own_names(object: &mut Value, kind: Option<&Kind>) {
    rename(object, kind, |names| names);
}

type Names = (&'static str, &'static str);

/// `order`: turns (stored name, name in this version) into (name now, name to be).
fn rename(object: &mut Value, kind: Option<&Kind>, order: fn(Names) -> Names) {
    let Some((version, conversion)) = kind.and_then(|kind| Some((kind.api_version(), kind.conversion?)))
    else {
        return;
    };
    let Some(Value::Array(entries)) = object.pointer_mut("/metadata/managedFields") else { return };
    for entry in entries.iter_mut().filter(|entry| text(entry, "apiVersion") == version) {
        let Some(Value::Object(fields)) = entry.get_mut("fieldsV1") else { continue };
        let renamed = std::mem::take(fields).into_iter().map(|(field, inner)| {
            let mut names = conversion.fields.iter().map(|names| order(*names));
            let new = names.find(|(now, _)| field.strip_prefix("f:") == Some(*now));
            (new.map_or(field, |(_, name)| format!("f:{name}")), inner)
        });
        *fields = renamed.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;
    use serde_json::json;

    #[test]
    fn entries_of_the_other_version_change_their_names_and_get_them_back() {
        let event = kinds::find("events.k8s.io", "v1", "Event");
        assert!(event.is_some());
        let entry = |version: &str, field: &str| {
            let fields = json!({"f:reason": {}, field: {".": {}, "f:name": {}}});
            json!({"manager": "m", "operation": "Update", "apiVersion": version, "fieldsV1": fields})
        };
        let with = |entries: [Value; 2]| json!({"metadata": {"managedFields": entries}});
        let own = with([entry("events.k8s.io/v1", "f:regarding"), entry("v1", "f:involvedObject")]);
        let stored = with([entry("events.k8s.io/v1", "f:involvedObject"), entry("v1", "f:involvedObject")]);
        let mut object = own.clone();
        to_stored_names(&mut object, event);
        assert_eq!(object, stored);
        to_own_names(&mut object, event);
        assert_eq!(object, own);
    }
}
