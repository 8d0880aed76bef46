//! Tables: their rows in the version that was asked for.

use crate::auth::user::{MASTERS, User};
use crate::request::http::full;
use crate::testing::Api;
use serde_json::{Value, json};

/// The first row of a Table whose rows have whole objects.
async fn first_row(api: &Api, path: &str) -> Value {
    let path = format!("{path}?includeObject=Object");
    let request = ::http::Request::builder().uri(path);
    let request = request.header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let admin = User::new("admin", &[MASTERS]);
    let (code, table) = api.send(admin, request.body(full("")).unwrap()).await;
    assert_eq!((code, &table["kind"]), (200, &json!("Table")), "{table}");
    table["rows"][0].clone()
}

/// A version of a definition that prints `spec.size`.
fn version(name: &str, is_stored: bool, size: &Value) -> Value {
    let spec = json!({"type": "object", "properties": {"size": size}});
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    json!({"name": name, "served": true, "storage": is_stored, "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [{"name": "Size", "type": "string", "jsonPath": ".spec.size"}]})
}

/// `kubectl get` shows what `kubectl get -o yaml` shows: also a default that the schema has got
/// since the object was stored.
#[tokio::test]
async fn a_row_of_a_custom_kind_is_made_from_the_version_that_was_asked_for() {
    let api = Api::bare().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let versions = |size: Value| json!([version("v1", true, &size), version("v2", false, &size)]);
    let names = json!({"plural": "tabs", "kind": "Tab"});
    let definition = json!({"metadata": {"name": "tabs.example.com"}, "spec": {"group": "example.com",
        "scope": "Namespaced", "names": names, "versions": versions(json!({"type": "string"}))}});
    let mut progress = api.state().cache.progress();
    api.made(definitions, definition).await;
    while api.state().cache.kinds().resource("example.com", "v2", "tabs").is_none() {
        progress.changed().await.unwrap();
    }
    let of = |version: &str| format!("/apis/example.com/{version}/namespaces/default/tabs");
    let tab = json!({"apiVersion": "example.com/v1", "kind": "Tab", "metadata": {"name": "x"}, "spec": {}});
    api.made(&of("v1"), tab).await;
    assert_eq!(first_row(&api, &of("v1")).await["cells"], json!(["x", null]));
    let later = json!({"spec": {"versions": versions(json!({"type": "string", "default": "wide"}))}});
    let (code, answer) = api.patch(&format!("{definitions}/tabs.example.com"), later).await;
    assert_eq!(code, 200, "{answer}");
    for version in ["v1", "v2"] {
        for path in [of(version), format!("{}/x", of(version))] {
            let row = first_row(&api, &path).await;
            assert_eq!(row["cells"], json!(["x", "wide"]), "{path}: {row}");
            assert_eq!(row["object"]["apiVersion"], format!("example.com/{version}"), "{path}: {row}");
            assert_eq!(row["object"]["spec"]["size"], "wide", "{path}: {row}");
        }
    }
}

/// `kubectl get --sort-by` asks for whole objects, and reads fields of the version that it asked
/// for.
#[tokio::test]
async fn an_object_in_a_row_has_the_version_that_was_asked_for() {
    let api = Api::bare().await;
    let of =
        |version: &str| format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers");
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
    let spec = json!({"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 70});
    api.made(&of("v1"), json!({"metadata": {"name": "h"}, "spec": spec})).await;
    for (version, path, value) in [
        ("v1", "/object/spec/targetCPUUtilizationPercentage", 70),
        ("v2", "/object/spec/metrics/0/resource/target/averageUtilization", 70),
    ] {
        let row = first_row(&api, &of(version)).await;
        assert_eq!(row["cells"][0], "h", "{row}");
        assert_eq!(row["object"]["apiVersion"], format!("autoscaling/{version}"), "{row}");
        assert_eq!(row.pointer(path), Some(&json!(value)), "{row}");
    }
}
