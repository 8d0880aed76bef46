//! Which form of an answer the client wants: the object, a Table, or only its metadata.

use super::http::{Answer, Query, json, json_bytes};
use super::object::Object;
use crate::api::kinds::Kind;
use crate::api::table::{self, Include, Printing};
use crate::api::{Status, value};
use crate::clock::Timestamp;
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value, json as object};
use std::borrow::Cow;

/// The form of objects in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Object,
    /// With the apiVersion: `meta.k8s.io/v1` or `v1beta1`.
    Table(&'static str, Include),
    Partial(&'static str),
}

const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// From the Accept header; the first range that can be satisfied wins.
pub fn form(accept: &str, query: &Query) -> Result<Form, Status> {
    if accept.is_empty() {
        return Ok(Form::Object);
    }
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or("");
        let (mut as_kind, mut group, mut version) = ("", "", "");
        for (key, value) in parts.filter_map(|p| p.split_once('=')) {
            match key {
                "as" => as_kind = value,
                "g" => group = value,
                "v" => version = value,
                _ => {}
            }
        }
        if !matches!(media, "application/json" | "*/*" | "application/*" | "application/yaml") {
            continue;
        }
        let api_version = match version {
            "v1" => "meta.k8s.io/v1",
            "v1beta1" => "meta.k8s.io/v1beta1",
            _ => "",
        };
        match (as_kind, group, api_version) {
            ("", ..) => return Ok(Form::Object),
            (_, "meta.k8s.io", "") => {}
            ("Table", "meta.k8s.io", v) => return Ok(Form::Table(v, include(query)?)),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", v) => {
                return Ok(Form::Partial(v));
            }
            _ => {}
        }
    }
    // Protobuf alone is asked for by some typed clients: they read JSON as well.
    if accept.contains("application/vnd.kubernetes.protobuf") {
        return Ok(Form::Object);
    }
    Err(Status::new(406, "NotAcceptable", format!("only the following media types are accepted: {ACCEPTED}")))
}

fn include(query: &Query) -> Result<Include, Status> {
    match query.get("includeObject") {
        "" | "Metadata" => Ok(Include::Metadata),
        "Object" => Ok(Include::Object),
        "None" => Ok(Include::None),
        other => Err(Status::bad_request(format!("unrecognized includeObject value: {other:?}"))),
    }
}

/// An object in the version that was asked for.
pub fn versioned<'a>(kind: &Kind, object: &'a Value) -> Cow<'a, Value> {
    kind.from_stored(object)
}

/// The bytes of one object, as they go out.
pub fn encoded(kind: &Kind, object: &Object) -> Bytes {
    match versioned(kind, &object.value) {
        Cow::Borrowed(_) => object.bytes.clone(),
        Cow::Owned(value) => Bytes::from(value.to_string()),
    }
}

/// Rows are made from the stored form: one printer per resource.
pub fn table(
    api_version: &str,
    printing: Printing,
    include: Include,
    objects: &[&Value],
    head: bool,
    meta: Value,
    now: Timestamp,
) -> Value {
    let rows: Vec<Value> = objects.iter().map(|o| table::row(printing, o, include, now)).collect();
    let columns = if head { table::definitions(printing) } else { Value::Null };
    object!({"kind": "Table", "apiVersion": api_version, "metadata": meta, "columnDefinitions": columns, "rows": rows})
}

/// One object.
pub fn one(code: u16, kind: &Kind, form: Form, object: &Object) -> Answer {
    match form {
        Form::Object => json_bytes(code, encoded(kind, object)),
        _ => json(code, &one_value(kind, form, &object.value)),
    }
}

pub fn one_value(kind: &Kind, form: Form, value: &Value) -> Value {
    match form {
        Form::Object => versioned(kind, value).into_owned(),
        Form::Table(api_version, include) => {
            let meta = object!({"resourceVersion": value::text(value, "metadata.resourceVersion")});
            table(api_version, table::printing(kind), include, &[value], true, meta, table::now())
        }
        Form::Partial(api_version) => table::partial(value, api_version),
    }
}

/// Metadata of a list.
pub struct ListMeta {
    pub revision: i64,
    pub next: String,
    pub remaining: Option<i64>,
}

impl ListMeta {
    fn to_value(&self) -> Value {
        let mut meta = Map::new();
        meta.insert("resourceVersion".into(), self.revision.to_string().into());
        if !self.next.is_empty() {
            meta.insert("continue".into(), self.next.clone().into());
        }
        if let Some(n) = self.remaining {
            meta.insert("remainingItemCount".into(), n.into());
        }
        Value::Object(meta)
    }
}

/// An object of a list. The items of a typed list are of its kind without saying so; only those of custom kinds say it.
fn put_item(kind: &Kind, object: &Object, out: &mut BytesMut) {
    if kind.custom.is_some() {
        return out.put_slice(&encoded(kind, object));
    }
    let shown = versioned(kind, &object.value);
    match (&shown, object.untyped()) {
        (Cow::Borrowed(_), Some(body)) => {
            out.put_u8(b'{');
            out.put_slice(body);
        }
        _ => {
            let mut value = shown.into_owned();
            value::remove(&mut value, "kind");
            value::remove(&mut value, "apiVersion");
            out.put_slice(value.to_string().as_bytes());
        }
    }
}

/// Many objects. Their own bytes are joined, nothing is encoded again.
pub fn many(kind: &Kind, form: Form, objects: &[std::sync::Arc<Object>], meta: &ListMeta) -> Answer {
    match form {
        Form::Object => {
            let size: usize = objects.iter().map(|o| o.bytes.len() + 1).sum();
            let mut out = BytesMut::with_capacity(size + 256);
            let head = format!(
                "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
                kind.list_kind(),
                kind.api_version(),
                meta.to_value()
            );
            out.put_slice(head.as_bytes());
            for (i, object) in objects.iter().enumerate() {
                if i > 0 {
                    out.put_u8(b',');
                }
                put_item(kind, object, &mut out);
            }
            out.put_slice(b"]}");
            json_bytes(200, out.freeze())
        }
        Form::Table(api_version, include) => {
            let values: Vec<&Value> = objects.iter().map(|o| &o.value).collect();
            json(
                200,
                &table(
                    api_version,
                    table::printing(kind),
                    include,
                    &values,
                    true,
                    meta.to_value(),
                    table::now(),
                ),
            )
        }
        Form::Partial(api_version) => {
            let items: Vec<Value> = objects.iter().map(|o| table::partial(&o.value, api_version)).collect();
            json(
                200,
                &object!({"kind": "PartialObjectMetadataList", "apiVersion": api_version, "metadata": meta.to_value(), "items": items}),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_satisfiable_range_wins() {
        let q = Query::default();
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(form(kubectl, &q).unwrap(), Form::Table("meta.k8s.io/v1", Include::Metadata));
        assert_eq!(form("application/vnd.kubernetes.protobuf,application/json", &q).unwrap(), Form::Object);
        assert_eq!(form("application/vnd.kubernetes.protobuf", &q).unwrap(), Form::Object);
        assert_eq!(form("application/json;as=Foo;g=x;v=v1,*/*", &q).unwrap(), Form::Object);
        assert_eq!(form("text/html", &q).unwrap_err().code, 406);
    }
}
