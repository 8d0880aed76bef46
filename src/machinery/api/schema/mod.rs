//! What an object of a built-in kind may contain: the published schemas, which k8s-openapi has, in
//! a compact form that is made once. By them an object is read as Go's decoder would read it:
//! unknown fields are found and dropped, wrong types are refused in Go's words, and quantities get
//! the text that upstream stores.

pub(crate) mod decode;
pub mod equality;
mod numbers;
mod shapes;

pub(crate) use decode::BASE64;
pub use decode::{conform_named, rfc3339};
pub use numbers::keep_number_texts;
pub(crate) use numbers::keep_number_texts_at;

use super::kinds::entry::Kind;
use super::path::UnknownFields;
use serde_json::Value;
use shapes::SCHEMAS;
use std::sync::LazyLock;

/// Makes the tables now rather than at the first request.
pub fn warm_up() {
    LazyLock::force(&SCHEMAS);
}

/// Makes `object` what a Go server would have understood: unknown fields and nulls go (the former
/// are returned), quantities get the text that is stored. A kind without a schema stays as it is.
///
/// # Errors
/// The decoder's message for a value of the wrong type. The object may be changed in part then.
pub fn conform(kind: &Kind, object: &mut Value) -> Result<UnknownFields, String> {
    conform_named(kind.schema_name, object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;
    use serde_json::json;

    fn deployment(spec: Value) -> Value {
        json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "web", "creationTimestamp": null}, "spec": spec})
    }

    #[test]
    fn unknown_fields_are_named_and_pruned() {
        let kind = kinds::find("apps", "v1", "Deployment").unwrap();
        let mut object = deployment(json!({"foo": 1, "template": {"spec": {"containers": [
            {"name": "c", "imag": "x", "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}}]}}}));
        let unknown = conform(kind, &mut object).unwrap();
        assert_eq!(unknown.shown(), ["spec.foo", "spec.template.spec.containers[0].imag"]);
        let want = deployment(json!({"template": {"spec": {"containers": [
            {"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}]}}}));
        let mut want = want;
        value_remove_null(&mut want);
        assert_eq!(object, want);
    }

    fn value_remove_null(object: &mut Value) {
        crate::value::remove(object, "metadata.creationTimestamp");
    }

    #[test]
    fn the_empty_time_is_no_time() {
        let pod = kinds::find("", "v1", "Pod").unwrap();
        let lease = kinds::find("coordination.k8s.io", "v1", "Lease").unwrap();
        let empty = "parsing time \"\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"2006\"";
        let entry = json!({"manager": "x", "operation": "Update", "apiVersion": "v1", "time": "", "fieldsType": "FieldsV1"});
        for (kind, object) in [
            (pod, json!({"metadata": {"managedFields": [entry]}})),
            (pod, json!({"metadata": {"creationTimestamp": ""}})),
            (pod, json!({"metadata": {"deletionTimestamp": ""}})),
            (pod, json!({"status": {"startTime": ""}})),
            (pod, json!({"status": {"conditions": [{"lastProbeTime": ""}]}})),
            (
                kinds::find("apps", "v1", "Deployment").unwrap(),
                deployment(json!({"template": {"metadata": {"creationTimestamp": ""}}})),
            ),
        ] {
            assert_eq!(conform(kind, &mut object.clone()).unwrap_err(), empty, "{object}");
        }
        for (time, want) in [("", false), ("now", false), ("2026-01-02T03:04:05.000000Z", true)] {
            let mut object = json!({"spec": {"renewTime": time}});
            assert_eq!(conform(lease, &mut object).is_ok(), want, "{time:?}");
        }
        for (time, want) in [
            ("2026-01-02T03:04:05Z", true),
            ("2026-01-02T03:04:05.5+02:00", true),
            ("0001-01-01T00:00:00Z", true),
            ("-009999-01-01T00:00:00Z", false),
            ("2026-01-02 03:04:05Z", false),
            ("2026-01-02t03:04:05z", false),
            ("2026-01-02T03:04Z", false),
            ("2026-01-02T03:04:60Z", false),
            ("2026-02-30T03:04:05Z", false),
            ("2026-01-02T03:04:05", false),
            ("2026-01-02T03:04:05.Z", false),
            ("2026-01-02T03:04:05Z[UTC]", false),
        ] {
            assert_eq!(rfc3339(time).is_some(), want, "{time:?}");
        }
        let mut null = json!({"metadata": {"creationTimestamp": null}});
        assert!(conform(pod, &mut null).is_ok(), "null is no time that was set");
    }

    #[test]
    fn times_are_kept_in_utc_and_with_the_digits_of_their_type() {
        let lease = kinds::find("coordination.k8s.io", "v1", "Lease").unwrap();
        for (source, time, micro) in [
            ("2026-01-02T03:04:05.500000+02:00", "2026-01-02T01:04:05Z", "2026-01-02T01:04:05.500000Z"),
            ("2026-01-02T03:04:05.000006Z", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000006Z"),
            ("0001-01-01T00:00:00.000000Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ] {
            let mut object =
                json!({"metadata": {"creationTimestamp": source}, "spec": {"renewTime": source}});
            conform(lease, &mut object).unwrap();
            let want = json!({"metadata": {"creationTimestamp": time}, "spec": {"renewTime": micro}});
            assert_eq!(object, want, "{source}");
        }
        for (source, time) in [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05.5+02:00", "2026-01-02T01:04:05Z"),
            ("2026-01-02T03:04:05.000006789Z", "2026-01-02T03:04:05Z"),
        ] {
            let mut object = json!({"metadata": {"creationTimestamp": source}});
            conform(lease, &mut object).unwrap();
            assert_eq!(object, json!({"metadata": {"creationTimestamp": time}}), "{source}");
        }
    }

    /// As `time.Parse` of Go says it.
    #[test]
    fn a_micro_time_has_six_digits_of_a_second() {
        let lease = kinds::find("coordination.k8s.io", "v1", "Lease").unwrap();
        for (source, why) in [
            ("2026-01-02T03:04:05Z", r#"cannot parse "Z" as ".000000""#),
            ("2026-01-02T03:04:05+02:00", r#"cannot parse "+02:00" as ".000000""#),
            ("2026-01-02T03:04:05.5Z", r#"cannot parse ".5Z" as ".000000""#),
            ("2026-01-02T03:04:05.000006789Z", r#"cannot parse "789Z" as "Z07:00""#),
        ] {
            let mut object = json!({"spec": {"renewTime": source}});
            let layout = "2006-01-02T15:04:05.000000Z07:00";
            let want = format!("parsing time {source:?} as {layout:?}: {why}");
            assert_eq!(conform(lease, &mut object).unwrap_err(), want);
        }
    }

    #[test]
    fn bytes_may_go_over_lines_and_are_kept_on_one() {
        let kind = kinds::find("", "v1", "Secret").unwrap();
        let read = |text: &str| {
            let mut object = json!({"data": {"key": text}});
            let found = conform(kind, &mut object);
            found.map(|_| object["data"]["key"].as_str().unwrap_or_default().to_string())
        };
        for (text, want) in [
            ("YWJj", "YWJj"),
            ("YWJj\r\nZGVm\n", "YWJjZGVm"),
            ("YQ=\n=\n", "YQ=="),
            ("YR==", "YQ=="),
            ("", ""),
        ] {
            assert_eq!(read(text).as_deref(), Ok(want), "{text:?}");
        }
        for (text, place) in [("YWJj\nZG!m", 7), ("YWJj ZGVm", 4), ("YWJjZ", 4)] {
            let why = format!("illegal base64 data at input byte {place}");
            assert_eq!(read(text), Err(why), "{text:?}");
        }
    }

    /// `items` and `additionalProperties` hold schemas too. Of what is unknown there Go says
    /// nothing.
    #[test]
    fn a_schema_inside_a_schema_is_read_as_one() {
        let kind = kinds::find("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
        let read = |schema: Value| {
            let mut object = json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}});
            let unknown = conform(kind, &mut object)?;
            assert!(unknown.is_empty(), "{:?}", unknown.shown());
            Ok::<Value, String>(object["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take())
        };
        let more = json!({"type": "string", "foo": 1, "default": null, "enum": [null, {"foo": 1}]});
        let less = json!({"type": "string", "enum": [null, {"foo": 1}]});
        for (word, given, want) in [
            ("items", more.clone(), less.clone()),
            ("items", json!([more.clone()]), json!([less.clone()])),
            ("additionalProperties", json!({"items": more}), json!({"items": less})),
            ("additionalProperties", json!(false), json!(false)),
            ("dependencies", json!({"a": ["b"]}), json!({"a": ["b"]})),
        ] {
            assert_eq!(read(json!({ word: given })), Ok(json!({ word: want })));
        }
        assert_eq!(read(json!({"items": 5, "type": "array"})), Ok(json!({"type": "array"})));
        let of_type = |field: &str, found: &str, wanted: &str| {
            let place = "JSONSchemaProps.spec.versions.schema.openAPIV3Schema";
            format!("json: cannot unmarshal {found} into Go struct field {place}.{field} of type {wanted}")
        };
        for (schema, why) in [
            (json!({"items": {"maxLength": "3"}}), of_type("items.maxLength", "string", "int64")),
            (json!({"items": [{"type": 1}]}), of_type("items.type", "number", "string")),
            (
                json!({"additionalProperties": {"items": {"nullable": "true"}}}),
                of_type("additionalProperties.items.nullable", "string", "bool"),
            ),
            (json!({"dependencies": {"a": [1]}}), of_type("dependencies", "number", "string")),
            (json!({"additionalProperties": 5}), "boolean or JSON schema expected".to_string()),
        ] {
            assert_eq!(read(schema), Err(why));
        }
    }

    #[test]
    fn the_status_among_subresources_is_a_map_without_fields() {
        let kind = kinds::find("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
        let definition =
            |status: Value| json!({"spec": {"versions": [{"subresources": {"status": status}}]}});
        let why = "json: cannot unmarshal number into Go struct field CustomResourceSubresources.spec.versions.subresources.status of type v1.CustomResourceSubresourceStatus";
        assert_eq!(conform(kind, &mut definition(json!(5))).unwrap_err(), why);
        let mut known = definition(json!({"foo": 1}));
        let unknown = conform(kind, &mut known).unwrap();
        assert_eq!(unknown.shown(), ["spec.versions[0].subresources.status.foo"]);
        assert_eq!(known, definition(json!({})));
    }

    #[test]
    fn wrong_types_are_told_as_go_tells_them() {
        let kind = kinds::find("apps", "v1", "Deployment").unwrap();
        let error = |spec: Value| conform(kind, &mut deployment(spec)).unwrap_err();
        assert_eq!(
            error(json!({"replicas": "two"})),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
        assert_eq!(
            error(json!({"template": {"spec": {"containers": {"name": "c"}}}})),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container"
        );
        assert_eq!(
            error(json!({"template": {"metadata": {"labels": {"a": 1}}}})),
            "json: cannot unmarshal number into Go struct field ObjectMeta.spec.template.metadata.labels of type string"
        );
    }
}
