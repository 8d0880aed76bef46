//! The last step of a build: kustomize's own annotations go, and the values of the others become
//! texts.

use api::gostr;
use api::value;
use serde_json::Value;

/// An object with this annotation serves the kustomization alone, e.g. as the source of a
/// replacement, and is not part of the result. `false` takes that back.
const LOCAL: &str = "config.kubernetes.io/local-config";

/// Annotations in which kustomize and its functions keep facts about an object. Source:
/// `BuildAnnotations` in kustomize's `api/resource`.
const OWN: [&str; 8] = [
    "alpha.config.kubernetes.io/transformations",
    "config.k8s.io/id",
    "config.kubernetes.io/index",
    "config.kubernetes.io/origin",
    "config.kubernetes.io/path",
    "internal.config.kubernetes.io/annotations-migration-resource-id",
    "internal.config.kubernetes.io/index",
    "internal.config.kubernetes.io/path",
];

/// Writes the annotations of an object back as kustomize does: without its own, each as a text. An
/// object without annotations has no such field.
///
/// Example: `prometheus.io/port: 9090`, which would be refused as a number, is a text.
pub(super) fn finish(object: &mut Value) {
    const ANNOTATIONS: &str = "metadata.annotations";
    let Some(map) = value::at_mut(object, ANNOTATIONS).and_then(Value::as_object_mut) else {
        // An empty field `annotations:`.
        if value::map(object, "metadata").is_some_and(|metadata| metadata.contains_key("annotations")) {
            value::remove(object, ANNOTATIONS);
        }
        return;
    };
    map.retain(|name, _| !OWN.contains(&name.as_str()));
    for annotation in map.values_mut().filter(|annotation| !annotation.is_string()) {
        *annotation = match &*annotation {
            Value::Null => "null".into(),
            Value::Array(_) | Value::Object(_) => "".into(),
            scalar => gostr::plain(scalar).into(),
        };
    }
    if map.is_empty() {
        value::remove(object, ANNOTATIONS);
    }
}

/// Returns whether an object is only for the kustomization itself. Its annotations are texts.
pub(super) fn is_local(object: &Value) -> bool {
    value::map(object, "metadata.annotations")
        .and_then(|map| map.get(LOCAL))
        .is_some_and(|local| local.as_str() != Some("false"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{built, write};
    use serde_json::{Value, json};

    /// As kustomize 5.5 and 5.7 have it.
    #[tokio::test]
    async fn annotations_are_texts_and_may_make_an_object_local() {
        let dir = tempfile::tempdir().unwrap();
        let map = |name: &str, annotations: &str| {
            format!(
                "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, annotations: {annotations}}}}}\n"
            )
        };
        let local = |word: &str| format!("{{config.kubernetes.io/local-config: {word}}}");
        let all = [
            map("a", "{port: 9090, scrape: true, n: null, m: {x: y}, t: '1'}"),
            map("b", "{}"),
            map("c", "null"),
            map("d", "{config.kubernetes.io/path: x, config.kubernetes.io/index: '0', k: v}"),
            map("e", &local("'true'")),
            map("f", &local("true")),
            map("g", &local("''")),
            map("h", &local("false")),
            "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {volumes: [{configMap: {name: e}}]}}\n"
                .to_string(),
        ];
        let content = "resources: [all.yaml]\nnamePrefix: x-\n";
        write(dir.path(), &[("k/kustomization.yaml", content), ("k/all.yaml", &all.join("---\n"))]);
        let found = built(dir.path(), "k").await.unwrap();
        let pairs: Vec<(&str, &Value)> = found
            .iter()
            .map(|o| (o["metadata"]["name"].as_str().unwrap(), &o["metadata"]["annotations"]))
            .collect();
        let texts = json!({"port": "9090", "scrape": "true", "n": "null", "m": "", "t": "1"});
        let kept = json!({"config.kubernetes.io/local-config": "false"});
        let (key, none) = (json!({"k": "v"}), Value::Null);
        let want =
            [("x-a", &texts), ("x-b", &none), ("x-c", &none), ("x-d", &key), ("x-h", &kept), ("x-p", &none)];
        assert_eq!(pairs, want);
        assert!(found.iter().all(|o| o["metadata"].get("annotations").is_none_or(Value::is_object)));
        assert_eq!(
            found[5]["spec"]["volumes"][0]["configMap"]["name"], "x-e",
            "references are followed first"
        );
    }
}
