//! OpenAPI v3 documents, one a group version, made from the table of kinds when first asked for;
//! and the stub of v2.

mod paths;

use super::kinds::{Catalog, Documents, Kind};
use super::published;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// A gnostic v2 document with nothing but a title: enough for kubectl, which then trusts the
/// server's own validation.
pub const V2_STUB: &[u8] = &[
    0x0a, 0x03, 0x32, 0x2e, 0x30, 0x12, 0x15, 0x0a, 0x0a, 0x4b, 0x75, 0x62, 0x65, 0x72, 0x6e, 0x65, 0x74,
    0x65, 0x73, 0x12, 0x07, 0x76, 0x31, 0x2e, 0x33, 0x35, 0x2e, 0x30, 0x42, 0x00,
];
/// The media type of the stub: with a dot, since kubectl 1.27 cannot read an at sign.
pub const V2_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// The older name of [`V2_TYPE`], under which clients still ask for the stub.
pub const V2_TYPE_OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// The same document as JSON.
pub const V2_JSON: &str = r#"{"swagger":"2.0","info":{"title":"Kubernetes","version":"v1.35.0"},"paths":{}}"#;

/// Returns the path of a group and version: `api/v1`, `apis/apps/v1`.
fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// Returns the index at `/openapi/v3`. A document's hash changes with the program, with the kinds
/// of its group and with their definitions.
pub fn index(catalog: &Catalog, program: &str) -> Value {
    let mut paths = Map::new();
    for (group, version, kinds) in catalog.group_versions() {
        let path = path_of(group, version);
        let hash = hash(program, &kinds, &catalog.stamp(group));
        let url = format!("/openapi/v3/{path}?hash={hash}");
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// Clients keep a document for as long as its hash is the same.
fn hash(program: &str, kinds: &[&Kind], stamp: &str) -> String {
    let mut all = crc32fast::Hasher::new();
    for part in [program, stamp].into_iter().chain(kinds.iter().flat_map(|k| served(k))) {
        all.update(part.as_bytes());
        all.update(b" ");
    }
    format!("{:08X}", all.finalize())
}

/// Returns what of a kind is served: its plural, its verbs, its subresources.
fn served(kind: &Kind) -> impl Iterator<Item = &str> {
    let subs = kind.subresources.iter().map(|sub| sub.name);
    std::iter::once(kind.plural).chain(kind.verbs.iter().copied()).chain(subs)
}

/// Returns the document at `/openapi/v3/<path>`, encoded; `None` if there is none. It is made once:
/// one of the table's kinds for as long as the program runs, one with kinds of definitions for the
/// catalog.
pub fn document(catalog: &Catalog, path: &str, version: &str) -> Option<Bytes> {
    static OF_TABLE: LazyLock<Documents> = LazyLock::new(Documents::default);
    let (group, api_version, kinds) =
        catalog.group_versions().into_iter().find(|(g, v, _)| path_of(g, v) == path)?;
    let of_table = kinds.iter().all(|k| k.custom.is_none());
    let documents = if of_table { &*OF_TABLE } else { &catalog.documents };
    let name = format!("openapi/v3/{path}");
    Some(documents.get(&name, || make(group, api_version, &kinds, version).to_string().into()))
}

fn make(group: &str, version: &str, kinds: &[&Kind], program: &str) -> Value {
    let custom = kinds.iter().any(|k| k.custom.is_some()).then_some(published::OBJECT_META);
    let subs =
        kinds.iter().flat_map(|k| k.subresources.iter().map(|s| published::name(s.group, s.version, s.kind)));
    let roots = kinds.iter().map(|k| k.schema_name).chain(custom).chain(subs).chain(paths::SHARED);
    let mut schemas = published::with_parts(roots);
    for schema in schemas.values_mut() {
        finish(schema);
    }
    for kind in kinds {
        if let Some(custom) = &kind.custom {
            schemas.insert(kind.schema_name.to_string(), custom.published.clone());
        }
    }
    let mut all = Map::new();
    for kind in kinds {
        let gvk = json!({"group": group, "version": version, "kind": kind.kind});
        if let Some(schema) = schemas.get_mut(kind.schema_name) {
            schema["x-kubernetes-group-version-kind"] = json!([gvk]);
            if let Some(Value::Array(required)) = schema.get_mut("required") {
                required.retain(|field| field != "metadata"); // Rust's structs insist on it, Kubernetes does not
            }
        }
        let (name, list) = paths::list_schema(kind, &gvk);
        schemas.insert(name, list);
        paths::add(kind, &gvk, &mut all);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": program},
        "paths": all,
        "components": {"schemas": schemas},
    })
}

/// Turns a schema of the generator into what Kubernetes publishes: a described reference stands
/// under `allOf`, and an int-or-string says so by its format.
fn finish(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            // In a schema it is `true`; among the properties of JSONSchemaProps it names a field.
            if map.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
                map.shift_remove("x-kubernetes-int-or-string");
                let quantity =
                    map.get("description").and_then(Value::as_str).is_some_and(|d| d.starts_with("Quantity"));
                if quantity {
                    map.insert("oneOf".into(), json!([{"type": "string"}, {"type": "number"}]));
                } else {
                    map.insert("format".into(), "int-or-string".into());
                    map.insert("oneOf".into(), json!([{"type": "integer"}, {"type": "string"}]));
                }
            }
            if map.len() > 1
                && let Some(reference) = map.get("$ref").filter(|r| r.is_string()).cloned()
            {
                map.shift_remove("$ref");
                map.insert("allOf".into(), json!([{"$ref": reference}]));
            }
            map.values_mut().for_each(finish);
        }
        Value::Array(list) => list.iter_mut().for_each(finish),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(generation: i64) -> Value {
        let names = json!({"plural": "tabs", "singular": "tab", "kind": "Tab", "listKind": "TabList"});
        json!({
            "kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1",
            "metadata": {"name": "tabs.example.com", "uid": "u", "generation": generation},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": names,
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
            "status": {"acceptedNames": names, "conditions": [{"type": "Established", "status": "True"}]},
        })
    }

    /// A document is made once until the definitions change, however many clients ask for it.
    #[test]
    fn a_document_is_made_once() {
        let before = Catalog::of([definition(1)].iter(), &Catalog::default());
        let after = Catalog::of([definition(2)].iter(), &before);
        let made = |catalog: &Catalog, path: &str| document(catalog, path, "v1.35.0").unwrap();
        let (table, custom) = ("api/v1", "apis/example.com/v1");
        for path in [table, custom] {
            assert_eq!(made(&before, path).as_ptr(), made(&before, path).as_ptr(), "{path}");
        }
        assert_eq!(made(&before, table).as_ptr(), made(&after, table).as_ptr());
        assert_ne!(made(&before, custom).as_ptr(), made(&after, custom).as_ptr());
    }

    #[test]
    fn a_custom_kind_names_its_list() {
        let mut definition = definition(1);
        definition["spec"]["names"]["listKind"] = "Tabs".into();
        definition["status"]["acceptedNames"]["listKind"] = "Tabs".into();
        let catalog = Catalog::of([definition].iter(), &Catalog::default());
        let text = document(&catalog, "apis/example.com/v1", "v0").unwrap();
        let document: Value = serde_json::from_slice(text.as_ref()).unwrap();
        let list = &document["components"]["schemas"]["com.example.v1.Tabs"];
        assert_eq!(list["x-kubernetes-group-version-kind"][0]["kind"], "Tabs");
        assert_eq!(list["description"], "Tabs is a list of Tab");
    }

    /// JSONSchemaProps has fields whose names are keys of schemas, too:
    /// `x-kubernetes-int-or-string`, `$ref`.
    #[test]
    fn every_property_is_a_schema() {
        for (group, version, kinds) in Catalog::default().group_versions() {
            let document = make(group, version, &kinds, "v0");
            for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
                for (field, of) in schema["properties"].as_object().into_iter().flatten() {
                    assert!(of.is_object(), "{name}.{field}: {of}");
                }
            }
        }
        let catalog = Catalog::default();
        let all = catalog.group_versions();
        let (group, version, kinds) = all.iter().find(|(g, ..)| *g == "apiextensions.k8s.io").unwrap();
        let schemas = &make(group, version, kinds, "v0")["components"]["schemas"];
        let props = &schemas["io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"];
        assert_eq!(props["properties"]["x-kubernetes-int-or-string"]["type"], "boolean");
        assert_eq!(props["properties"]["format"]["type"], "string");
    }

    /// A document offers the patches that the server accepts.
    #[test]
    fn custom_kinds_offer_no_strategic_patch() {
        let offered = |catalog: &Catalog, path: &str, of: &str| -> Vec<String> {
            let document = document(catalog, path, "v1.35.0").unwrap();
            let document: Value = serde_json::from_slice(&document).unwrap();
            let content = &document["paths"][of]["patch"]["requestBody"]["content"];
            content.as_object().unwrap().keys().cloned().collect()
        };
        let catalog = Catalog::of([definition(1)].iter(), &Catalog::default());
        let (apply, json) = ("application/apply-patch+yaml", "application/json-patch+json");
        let merge = "application/merge-patch+json";
        let tab = "/apis/example.com/v1/namespaces/{namespace}/tabs/{name}";
        assert_eq!(offered(&catalog, "apis/example.com/v1", tab), [apply, json, merge]);
        let pod = "/api/v1/namespaces/{namespace}/pods/{name}";
        let all = [apply, json, merge, "application/strategic-merge-patch+json"];
        assert_eq!(offered(&catalog, "api/v1", pod), all);
        assert_eq!(offered(&catalog, "api/v1", &format!("{pod}/status")), all);
    }
}
