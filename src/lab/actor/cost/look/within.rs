//! What goes with an object: the server deletes what is in a namespace together with it, and all
//! objects of a CustomResourceDefinition.

use super::{LOOK_BYTES, LOOK_MAX, is_controlled, loss};
use crate::teacher;
use cluster::undo::Loss;
use serde_json::Value;

/// Kinds of which controllers and clients leave objects in a namespace without an owner.
const DERIVED: &[&str] = &["endpoints", "events", "events.events.k8s.io"];
/// Objects that controllers make in every namespace, by kind and name.
const EVERYWHERE: &[(&str, &str)] = &[("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")];

impl teacher::Teacher {
    /// Lists the objects that the server would delete together with this one. Those that a
    /// controller makes again are no loss.
    ///
    /// # Errors
    /// The server did not answer, so nothing is known.
    pub(super) async fn deleted_with(&self, object: &Value) -> Result<Vec<Loss>, String> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let (kinds, place) = match object["kind"].as_str() {
            Some("Namespace") => (self.kinds_in_namespaces().await?, format!("--namespace={name}")),
            Some("CustomResourceDefinition") => (name.to_string(), "--all-namespaces".to_string()),
            _ => return Ok(vec![]),
        };
        let look = ["kubectl", "get", &kinds, &place, "--ignore-not-found", "-o", "json"];
        let found = self.ask_kubectl(look.map(String::from).into(), "").await?.objects;
        let named = |object: &Value| {
            let part = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_string();
            (part("/kind"), part("/metadata/name"))
        };
        let is_everywhere = |object: &Value| {
            let (kind, name) = named(object);
            EVERYWHERE.contains(&(kind.as_str(), name.as_str()))
        };
        let own = found.iter().filter(|object| !is_controlled(object) && !is_everywhere(object));
        Ok(own.map(|object| loss(object, true)).collect())
    }

    /// The kinds of this server whose objects are in namespaces, separated by commas.
    async fn kinds_in_namespaces(&self) -> Result<String, String> {
        let words = ["kubectl", "api-resources", "--namespaced", "--verbs=list,delete", "-o", "name"];
        let words = words.map(String::from).into();
        let ran = teacher::kubectl_up_to(LOOK_BYTES, words, String::new(), &self.kubeconfig, LOOK_MAX).await;
        if ran.code != 0 {
            return Err(ran.stderr.trim().to_string());
        }
        let kinds = ran.stdout.lines().filter(|kind| !DERIVED.contains(kind));
        Ok(kinds.collect::<Vec<_>>().join(","))
    }
}
