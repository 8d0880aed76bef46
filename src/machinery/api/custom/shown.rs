//! Single fields of a stored object, as a read of the whole object shows them.
//!
//! A field selector asks every object of a list for some short values. To build each object with
//! the defaults that its schema got later would copy up to 1.4 MB for each object that is looked
//! at, also for those that are not selected.

use super::fill;
use super::version::Custom;
use serde_json::Value;
use std::borrow::Cow;
use std::cell::OnceCell;

/// The fields of an object, as [`Custom::shown`] shows them in a version. No object is built for
/// that.
pub struct ShownFields<'a> {
    custom: &'a Custom,
    group: &'a str,
    version: &'a str,
    object: &'a Value,
    /// Whether the object gets its defaults: it is small enough with them. This takes time that
    /// grows with the object, so it is found out at most once, and only where a default is asked
    /// for.
    gets_defaults: OnceCell<bool>,
}

impl<'a> ShownFields<'a> {
    /// Returns the fields of `object` as this version of the kind shows them.
    pub fn new(custom: &'a Custom, group: &'a str, version: &'a str, object: &'a Value) -> ShownFields<'a> {
        ShownFields { custom, group, version, object, gets_defaults: OnceCell::new() }
    }

    /// Returns the value at a path without lists, e.g. `spec.color`; `null` if there is none.
    pub fn at(&self, path: &str) -> Cow<'a, Value> {
        if path == "apiVersion" {
            return Cow::Owned(format!("{}/{}", self.group, self.version).into());
        }
        let (value, is_default) = fill::find_field(&self.custom.schema, self.object, path, true);
        if is_default && !self.gets_defaults() {
            return Cow::Borrowed(fill::find_field(&self.custom.schema, self.object, path, false).0);
        }
        Cow::Borrowed(value)
    }

    /// Tells whether the object is shown with its defaults. An object fits if it does with the
    /// fields that its schema lost since, and with another version's name. Only one that does not
    /// is pruned for the exact answer.
    fn gets_defaults(&self) -> bool {
        let ShownFields { custom, group, version, object, .. } = self;
        *self.gets_defaults.get_or_init(|| {
            let name = group.len() + version.len() + 1;
            fill::added_beside(&custom.schema, object, name).is_ok()
                || fill::added(&custom.schema, &custom.without_defaults(group, version, object)).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custom::Schema;
    use serde_json::json;
    use std::sync::Arc;

    fn custom(schema: &Value) -> Custom {
        Custom {
            place: "example.com/tabs".into(),
            list_kind: "TabList".into(),
            columns: vec![],
            fields: vec![],
            published: Value::Null,
            schema: Arc::new(Schema::root(schema)),
            stored: "example.com/v1".into(),
        }
    }

    /// Each field has the value that the whole object would have, and a default is borrowed from
    /// the schema.
    #[test]
    fn a_field_is_found_as_the_whole_object_shows_it() {
        let large = "x".repeat(900_000);
        let text = json!({"type": "string", "default": "red"});
        let inner = json!({"type": "object", "default": {}, "properties": {"color": text}});
        let spec = json!({"type": "object", "properties": {
            "color": text, "page": {"type": "string", "default": large}, "inner": inner,
            "plain": {"type": "string"}, "nullable": {"type": "string", "nullable": true, "default": "x"},
            "map": {"type": "object", "additionalProperties": text},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
        let custom = custom(&json!({"type": "object", "properties": {"spec": spec}}));
        let paths = [
            "spec.color",
            "spec.page",
            "spec.inner.color",
            "spec.plain",
            "spec.nullable",
            "spec.map.a",
            "spec.map.b",
            "spec.free.a",
            "spec.gone",
            "gone",
            "spec.color.below",
            "metadata.name",
            "apiVersion",
            "kind",
        ];
        let too_large = "y".repeat(900_000);
        for spec in [
            Value::Null,
            json!("text"),
            json!([{}]),
            json!({}),
            json!({"color": null, "plain": null, "nullable": null, "inner": null, "map": {"a": null}}),
            json!({"color": "blue", "page": "", "inner": {"color": "green"}, "free": {"a": "b"}, "gone": 1}),
            json!({"map": {"a": "b"}, "plain": "p", "inner": {}, "free": null}),
            json!({"plain": too_large}), // with its defaults it is too large: it gets none
            json!({"gone": too_large}),  // it is small enough again without that field
        ] {
            for stored in ["example.com/v1", "example.com/v1beta1"] {
                let object =
                    json!({"apiVersion": stored, "kind": "Tab", "metadata": {"name": "a"}, "spec": spec});
                let fields = ShownFields::new(&custom, "example.com", "v1", &object);
                let (shown, _) = custom.shown("example.com", "v1", &object);
                for path in paths {
                    let is_same = *fields.at(path) == *crate::value::at(&shown, path);
                    assert!(is_same, "{path} of {stored}");
                    assert!(path == "apiVersion" || matches!(fields.at(path), Cow::Borrowed(_)), "{path}");
                }
            }
        }
    }
}
