//! The metadata of a manifest, read as Go's `ObjectMeta` before anything is done with the object.
//! Source: cli-runtime's `pkg/resource/metadata_decoder.go`.

use crate::error::Fail;
use api::gostr::quote;
use api::{schema, value};
use serde_json::{Value, json};

/// Returns why a document's metadata cannot be read, also for verbs that send nothing to a server.
///
/// Example: the label `version: 1`, whose value is a number.
pub(crate) fn mistyped(document: &Value, source: &str) -> Option<Fail> {
    const OF_ANY_KIND: &str = "io.k8s.api.core.v1.ConfigMap";
    let metadata = document.get("metadata").filter(|metadata| !is_plain(metadata))?;
    if ["apiVersion", "kind"].iter().any(|field| value::empty(document, field)) {
        return None; // the missing field is the error, or the object is only looked for
    }
    let why = schema::conform_named(OF_ANY_KIND, &mut json!({"metadata": metadata})).err()?;
    let why = why.replacen("field ConfigMap.", "field metadataOnlyObject.", 1);
    Some(Fail::Text(format!("unable to decode {}: {why}", quote(source))))
}

/// True of the usual metadata, which needs no look at the schemas.
fn is_plain(metadata: &Value) -> bool {
    let is_known = |(field, value): (&String, &Value)| match field.as_str() {
        "name" | "generateName" | "namespace" => value.is_string(),
        "labels" | "annotations" => value.as_object().is_some_and(|map| map.values().all(Value::is_string)),
        _ => false,
    };
    metadata.as_object().is_some_and(|fields| fields.iter().all(is_known))
}

#[cfg(test)]
mod tests {
    use crate::Env;
    use crate::testing::Server;

    /// A label `version: 1` in quotes would be a text.
    #[tokio::test]
    async fn metadata_of_a_wrong_type_is_refused_before_the_server_sees_it() {
        let server = Server::start().await;
        for (metadata, why) in [
            (
                "{labels: {version: 1}}",
                "number into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            (
                "{annotations: {x: true}}",
                "bool into Go struct field ObjectMeta.metadata.annotations of type string",
            ),
            (
                "{finalizers: x}",
                "string into Go struct field ObjectMeta.metadata.finalizers of type []string",
            ),
            ("x", "string into Go struct field metadataOnlyObject.metadata of type v1.ObjectMeta"),
        ] {
            let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {metadata}\n");
            for line in [&["apply", "--dry-run=client"][..], &["create"], &["delete"]] {
                let words = [line, &["-f", "-"]].concat();
                let result = server.kubectl_in(&words, &text, Env::default()).await;
                let err = format!("error: unable to decode \"STDIN\": json: cannot unmarshal {why}\n");
                assert_eq!((result.code, result.err), (1, err), "{line:?} {metadata}");
            }
        }
        assert!(server.requests().iter().all(|request| request.method == "GET"), "nothing was written");
        let text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, generation: 1, finalizers: [x/y]}}";
        let result = server.kubectl_in(&["create", "-f", "-"], text, Env::default()).await;
        assert_eq!(result.code, 0, "{result:?}");
    }
}
