//! Default classes: what an object gets that names none.

use super::Attributes;
use crate::api::meta;
use crate::api::value::{self, at, text};
use serde_json::{Value, json};

/// The newest class with the annotation `mark: "true"`.
fn newest(a: &Attributes, plural: &str, mark: &str) -> Option<String> {
    let mut newest: Option<(String, String)> = None;
    a.state.cache.for_each(plural, "", |class| {
        if meta::annotation(class, mark) == Some("true") {
            let this = (text(class, "metadata.creationTimestamp").to_string(), meta::name(class).to_string());
            newest = newest.take().max(Some(this));
        }
    });
    newest.map(|(_, name)| name)
}

/// DefaultStorageClass.
pub fn storage(a: &Attributes, claim: &mut Value) -> Value {
    let old = "volume.beta.kubernetes.io/storage-class";
    if at(claim, "spec.storageClassName").is_null()
        && meta::annotation(claim, old).is_none()
        && let Some(name) = newest(a, "storageclasses", "storageclass.kubernetes.io/is-default-class")
    {
        value::put(claim, "spec.storageClassName", name);
    }
    json!({"storageClass": at(claim, "spec.storageClassName")})
}

/// DefaultIngressClass.
pub fn ingress(a: &Attributes, ingress: &mut Value) -> Value {
    if at(ingress, "spec.ingressClassName").is_null()
        && meta::annotation(ingress, "kubernetes.io/ingress.class").is_none()
        && let Some(name) = newest(a, "ingressclasses", "ingressclass.kubernetes.io/is-default-class")
    {
        value::put(ingress, "spec.ingressClassName", name);
    }
    json!({"ingressClass": at(ingress, "spec.ingressClassName")})
}
