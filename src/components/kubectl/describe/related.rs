//! Requests beside that of the object which is described: its events, and the objects that it
//! selects.

use crate::ctx::Ctx;
use crate::error::Fail;
use crate::info::Info;
use crate::wire::paths;
use api::value;
use serde_json::Value;

/// On the mirror of a static pod: the UID that the kubelet knows the static pod by.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Core events that speak of an object. A ConfigMap is not described, as in kubectl, without the
/// right to read its events; other objects are.
pub(super) async fn events_of(ctx: &Ctx, info: &Info) -> Result<Vec<Value>, Fail> {
    match (info.resource.group.as_str(), info.resource.plural.as_str()) {
        ("", "configmaps") => readable(ctx, &info.namespace, &about(info)).await,
        _ => events_matching(ctx, &info.namespace, &about(info)).await,
    }
}

/// The field selector of an object's events. Those of a static pod have the static pod's UID.
fn about(info: &Info) -> String {
    let mut selector =
        format!("involvedObject.name={},involvedObject.namespace={}", info.name, info.namespace);
    let mut uid = value::text(&info.object, "metadata.uid");
    if info.resource.plural == "pods" {
        uid = value::at(&info.object, "metadata.annotations")[MIRROR].as_str().unwrap_or(uid);
    } else {
        selector.push_str(&format!(",involvedObject.kind={}", info.resource.kind));
    }
    selector + &format!(",involvedObject.uid={uid}")
}

/// Events that a field selector selects; none if they may not be read.
pub(super) async fn events_matching(ctx: &Ctx, namespace: &str, selector: &str) -> Result<Vec<Value>, Fail> {
    match readable(ctx, namespace, selector).await {
        Err(Fail::Api(_)) => Ok(vec![]),
        found => found,
    }
}

/// Events that a field selector selects.
async fn readable(ctx: &Ctx, namespace: &str, selector: &str) -> Result<Vec<Value>, Fail> {
    let path = match namespace {
        "" => "/api/v1/events".to_string(),
        namespace => paths::within("/api/v1", namespace, "events"),
    };
    let list = crate::lists::whole(ctx, &path, &[("fieldSelector", selector)]).await?;
    Ok(value::list(&list, "items").to_vec())
}

/// Objects of an `apps/v1` resource in the same namespace that a selector selects.
pub(crate) async fn list(ctx: &Ctx, info: &Info, plural: &str, selector: &Value) -> Result<Vec<Value>, Fail> {
    let path = paths::within("/apis/apps/v1", &info.namespace, plural);
    let selector = api::labels::Selector::of(selector).map_or(String::new(), |s| s.to_string());
    let list = crate::lists::whole(ctx, &path, &[("labelSelector", &selector)]).await?;
    Ok(value::list(&list, "items").to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::discovery::Resource;
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn events_of_a_static_pod_have_its_own_uid() {
        let about = |plural: &str, annotations: Value| {
            let resource = Resource { plural: plural.into(), kind: "Kind".into(), ..Resource::default() };
            super::about(&Info {
                resource: Arc::new(resource),
                namespace: "n".into(),
                name: "a".into(),
                object: json!({"metadata": {"uid": "u", "annotations": annotations}}),
                source: String::new(),
            })
        };
        let named = "involvedObject.name=a,involvedObject.namespace=n";
        assert_eq!(about("pods", Value::Null), format!("{named},involvedObject.uid=u"));
        assert_eq!(about("pods", json!({MIRROR: "static"})), format!("{named},involvedObject.uid=static"));
        let other = about("services", json!({MIRROR: "static"}));
        assert_eq!(other, format!("{named},involvedObject.kind=Kind,involvedObject.uid=u"));
    }
}
