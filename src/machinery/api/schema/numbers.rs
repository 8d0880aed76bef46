//! Quantities that are numbers in a JSON body. Go reads such a number from its bytes, and so keeps
//! `1e3` as it is written; a parsed number is 1000 and nothing more.

use super::shapes::{SCHEMAS, Shape, root};
use crate::json_text::{Container, Look, skip_items};
use crate::kinds::entry::Kind;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess};
use serde_json::Value;
use serde_json::value::RawValue;

/// Replaces each number of `object` that is a quantity by the text that it has in `body`, the JSON
/// from which the object was parsed. A body without such numbers is not read again.
pub fn keep_number_texts(kind: &Kind, object: &mut Value, body: &[u8]) {
    // The name of a custom kind's type may be that of a published one.
    let Some(root) = root(kind.schema_name).filter(|_| kind.custom.is_none()) else { return };
    keep(&Shape::Struct(root), object, body);
}

/// As [`keep_number_texts`], for a value that stands at `path` of an object: `["spec",
/// "containers", "0", "resources"]`, as an operation of a JSON patch says it.
pub(crate) fn keep_number_texts_at<'a>(
    kind: &Kind,
    path: impl Iterator<Item = &'a str>,
    value: &mut Value,
    body: &[u8],
) {
    let Some(root) = root(kind.schema_name).filter(|_| kind.custom.is_none()) else { return };
    let root = Shape::Struct(root);
    let mut shape = &root;
    for step in path {
        let inner = match shape {
            Shape::List(inner) => Some(&**inner),
            shape => shape_of(shape, step),
        };
        let Some(inner) = inner else { return };
        shape = inner;
    }
    keep(shape, value, body);
}

fn keep(shape: &Shape, value: &mut Value, body: &[u8]) {
    if has_number(shape, value) {
        // The body was parsed before, so it has no error.
        let _ = Texts { shape, value }.deserialize(&mut serde_json::Deserializer::from_slice(body));
    }
}

/// Returns the type of a field, or of a value of a map.
fn shape_of<'a>(shape: &'a Shape, key: &str) -> Option<&'a Shape> {
    match shape {
        Shape::Struct(index) => SCHEMAS.structs[*index].fields.get(key),
        Shape::Map(inner) => Some(inner),
        _ => None,
    }
}

/// Returns whether a quantity of a value is a number. The parser bounds how deep a value nests.
fn has_number(shape: &Shape, value: &Value) -> bool {
    match (shape, value) {
        (Shape::Quantity, Value::Number(_)) => true,
        (Shape::List(inner), Value::Array(items)) => items.iter().any(|item| has_number(inner, item)),
        (_, Value::Object(map)) => {
            map.iter().any(|(key, item)| shape_of(shape, key).is_some_and(|inner| has_number(inner, item)))
        }
        _ => false,
    }
}

/// Reads a value again beside the parsed one. Of a key that stands twice the last value counts, as
/// in the parsed one.
struct Texts<'a> {
    shape: &'a Shape,
    value: &'a mut Value,
}

impl<'de> DeserializeSeed<'de> for Texts<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !matches!(self.shape, Shape::Quantity) {
            return Look(self).deserialize(deserializer);
        }
        let text = <&RawValue>::deserialize(deserializer)?.get();
        *self.value = match text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            true => text.into(),
            false => serde_json::from_str(text).unwrap_or_default(),
        };
        Ok(())
    }
}

impl<'de> Container<'de> for Texts<'_> {
    fn list<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if let (Shape::List(inner), Value::Array(items)) = (self.shape, self.value) {
            for value in items {
                if seq.next_element_seed(Texts { shape: inner, value })?.is_none() {
                    return Ok(());
                }
            }
        }
        // The list is another one if its key stands twice.
        skip_items(&mut seq)
    }
    fn map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match (shape_of(self.shape, &key), self.value.get_mut(&key)) {
                (Some(shape), Some(value)) => map.next_value_seed(Texts { shape, value })?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;
    use crate::schema::conform;
    use serde_json::json;

    /// As `Quantity.UnmarshalJSON` of apimachinery 0.35 reads them.
    #[test]
    fn a_quantity_that_is_a_number_keeps_its_text() {
        let pod = kinds::find("", "v1", "Pod").expect("a kind of the table");
        let limits = |body: &str| {
            let body = format!(
                r#"{{"kind": "Pod", "metadata": {{"name": "p", "x": [1]}},
                    "spec": {{"priority": 7, "containers": [{{"name": "a"}}, {{"name": "c", "resources": {body}}}]}}}}"#
            );
            let mut object: Value = serde_json::from_str(&body).expect("JSON");
            keep_number_texts(pod, &mut object, body.as_bytes());
            conform(pod, &mut object).expect("a pod");
            assert_eq!(object["spec"]["priority"], 7, "it is no quantity");
            object["spec"]["containers"][1]["resources"]["limits"].take()
        };
        for (number, stored) in [
            ("1e3", "1e3"),
            ("1E3", "1E3"),
            ("1.500", "1.500"),
            ("-1e+3", "-1e+3"),
            ("5.0", "5"),
            ("0.5", "500m"),
            ("100", "100"),
            ("1000", "1k"),
            ("\"1E3\"", "1E3"),
        ] {
            let body = format!(r#"{{"limits": {{"memory": {number}, "a.b/c": 2}}}}"#);
            assert_eq!(limits(&body), json!({"memory": stored, "a.b/c": "2"}), "{number}");
        }
        for (body, want) in [
            (r#"{"limits": {"cpu": 1E3, "cpu": 2E3}}"#, json!({"cpu": "2E3"})),
            (r#"{"limits": {"cpu": 1E3, "cpu": "3"}}"#, json!({"cpu": "3"})),
            (r#"{"limits": {"cpu": 1E3}, "limits": {"memory": 2E3}}"#, json!({"memory": "2E3"})),
            (r#"{"limits": [1E3], "limits": {"memory": 2E3}}"#, json!({"memory": "2E3"})),
            (r#"{"limits": "x", "limits": {"memory": 2E3}}"#, json!({"memory": "2E3"})),
        ] {
            assert_eq!(limits(body), want, "{body}");
        }
    }
}
