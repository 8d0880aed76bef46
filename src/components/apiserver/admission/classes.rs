//! Classes of storage, Ingresses and priorities: the default of an object that names none, and what
//! a class allows.

use super::attributes::Attributes;
use crate::storage::extra::Extra;
use api::quantity::Quantity;
use api::value::{self, at, flag, text};
use api::volumes::{OLD_CLASS, class_named_by, is_default_class};
use api::{Status, meta};
use serde_json::{Value, json};
use std::cmp::Reverse;

/// Returns the name of the newest default class. Of those of the same second it is the first by
/// name.
fn newest(a: &Attributes, plural: &str, is_default: impl Fn(&Value) -> bool) -> Option<String> {
    let mut newest: Option<(String, Reverse<String>)> = None;
    a.state.cache.for_each(plural, "", |class| {
        if is_default(class) {
            let this = (
                text(class, "metadata.creationTimestamp").to_string(),
                Reverse(meta::name(class).to_string()),
            );
            newest = newest.take().max(Some(this));
        }
    });
    newest.map(|(_, Reverse(name))| name)
}

/// DefaultStorageClass: a claim that names no class gets the default one. Returns the class of the
/// claim, for the trace.
pub(super) fn storage(a: &Attributes, claim: &mut Value) -> Value {
    if at(claim, "spec.storageClassName").is_null()
        && meta::annotation(claim, OLD_CLASS).is_none()
        && let Some(name) =
            newest(a, "storageclasses", |class| is_default_class(|key| meta::annotation(class, key)))
    {
        value::put(claim, "spec.storageClassName", name);
    }
    json!({"storageClass": at(claim, "spec.storageClassName")})
}

/// PersistentVolumeClaimResize: a claim grows once it is bound, if its class allows it.
///
/// # Errors
/// 403 if it may not grow.
pub(super) fn growth(a: &Attributes, claim: &Value) -> Result<Extra, Status> {
    let Some(old) = a.old else { return Ok(Extra::default()) };
    let size = |claim: &Value| {
        let amount = at(claim, "spec.resources.requests").get("storage")?;
        Quantity::parse(amount.as_str()?)
    };
    let (Some(before), Some(after)) = (size(old), size(claim)) else { return Ok(Extra::default()) };
    if after <= before {
        return Ok(Extra::default());
    }
    if text(old, "status.phase") != "Bound" {
        return Err(a.forbidden(claim, "Only bound persistent volume claims can be expanded"));
    }
    let name = class_named_by(claim);
    let class = a.state.cache.get("storageclasses", name);
    if !class.is_some_and(|class| flag(&class.value, "allowVolumeExpansion")) {
        let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
        return Err(a.forbidden(claim, why));
    }
    Ok(Extra::default())
}

/// DefaultIngressClass: an Ingress that names no class gets the default one. Returns the class of
/// the Ingress, for the trace.
pub(super) fn ingress(a: &Attributes, ingress: &mut Value) -> Value {
    let is_default = |class: &Value| {
        meta::annotation(class, "ingressclass.kubernetes.io/is-default-class") == Some("true")
    };
    if at(ingress, "spec.ingressClassName").is_null()
        && meta::annotation(ingress, "kubernetes.io/ingress.class").is_none()
        && let Some(name) = newest(a, "ingressclasses", is_default)
    {
        value::put(ingress, "spec.ingressClassName", name);
    }
    json!({"ingressClass": at(ingress, "spec.ingressClassName")})
}

/// Priority: at most one PriorityClass is the default. As upstream a second default is refused also
/// where a class of its name exists. Of several default classes, made at the same moment, pods get
/// the lowest, which may still be changed.
///
/// # Errors
/// 403 if another class is the default.
pub(super) fn priority(a: &Attributes, class: &Value) -> Result<Extra, Status> {
    let mut default: Option<(i64, String)> = None;
    if flag(class, "globalDefault") {
        a.state.cache.for_each("priorityclasses", "", |c| {
            if flag(c, "globalDefault") {
                let this = (value::int(c, "value").unwrap_or(0), meta::name(c).to_string());
                default = Some(default.take().map_or(this.clone(), |lowest| lowest.min(this)));
            }
        });
    }
    match default {
        Some((_, name)) if a.old.is_none() || name != meta::name(class) => {
            let why =
                format!("PriorityClass {name} is already marked as default. Only one default can exist");
            Err(Status::forbidden("scheduling.k8s.io", "priorityclasses", meta::name(class), &why))
        }
        _ => Ok(Extra::default()),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Api;
    use serde_json::json;

    #[tokio::test]
    async fn a_class_with_the_old_annotation_is_a_default_as_well() {
        let api = Api::bare().await;
        let annotations = json!({"storageclass.beta.kubernetes.io/is-default-class": "true"});
        let class = json!({"metadata": {"name": "old", "annotations": annotations}, "provisioner": "example.com/disk"});
        api.made("/apis/storage.k8s.io/v1/storageclasses", class).await;
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        let claim = json!({"metadata": {"name": "c"}, "spec": spec});
        let made = api.made("/api/v1/namespaces/default/persistentvolumeclaims", claim).await;
        assert_eq!(made["spec"]["storageClassName"], "old");
    }

    #[tokio::test]
    async fn an_ingress_that_names_no_class_gets_the_default_one() {
        let api = Api::bare().await;
        let is_default = json!({"ingressclass.kubernetes.io/is-default-class": "true"});
        for (name, annotations) in [("usual", is_default), ("other", json!({}))] {
            let class = json!({"metadata": {"name": name, "annotations": annotations},
                "spec": {"controller": "example.com/ingress"}});
            api.made("/apis/networking.k8s.io/v1/ingressclasses", class).await;
        }
        assert!(api.state().fresh().await.is_ok());
        let old = json!({"kubernetes.io/ingress.class": "old"});
        for (name, annotations, class, wanted) in [
            ("none", json!({}), json!(null), json!("usual")),
            ("named", json!({}), json!("other"), json!("other")),
            ("annotated", old, json!(null), json!(null)),
        ] {
            let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
            let ingress = json!({"metadata": {"name": name, "annotations": annotations},
                "spec": {"ingressClassName": class, "defaultBackend": backend}});
            let made = api.made("/apis/networking.k8s.io/v1/namespaces/default/ingresses", ingress).await;
            assert_eq!(made["spec"]["ingressClassName"], wanted, "{name}");
        }
    }

    #[tokio::test]
    async fn a_default_priority_class_cannot_be_made_twice_and_may_change() {
        let api = Api::bare().await;
        let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
        let class = json!({"metadata": {"name": "a"}, "value": 5, "globalDefault": true});
        api.made(classes, class.clone()).await;
        assert!(api.state().fresh().await.is_ok());
        let (code, refused) = api.post(classes, class).await;
        let why = "PriorityClass a is already marked as default. Only one default can exist";
        assert!(code == 403 && refused["message"].as_str().unwrap().ends_with(why), "{refused}");
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        assert_eq!(api.patch(&format!("{classes}/a"), label).await.0, 200);
    }
}
