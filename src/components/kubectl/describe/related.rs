//! What the server is asked beside an object that is described: its events, and objects it selects.

use crate::ctx::Ctx;
use crate::error::Fail;
use crate::info::Info;
use crate::wire::paths;
use api::value;
use serde_json::Value;

/// Core events that speak of an object.
pub(super) async fn events_of(ctx: &Ctx, info: &Info) -> Result<Vec<Value>, Fail> {
    let uid = value::text(&info.object, "metadata.uid");
    let mut selector =
        format!("involvedObject.name={},involvedObject.namespace={}", info.name, info.namespace);
    if info.resource.plural != "pods" {
        selector.push_str(&format!(",involvedObject.kind={}", info.resource.kind));
    }
    selector.push_str(&format!(",involvedObject.uid={uid}"));
    events_matching(ctx, &info.namespace, &selector).await
}

/// Events that a field selector selects; none if they may not be read.
pub(super) async fn events_matching(ctx: &Ctx, namespace: &str, selector: &str) -> Result<Vec<Value>, Fail> {
    let path = match namespace {
        "" => "/api/v1/events".to_string(),
        namespace => paths::within("/api/v1", namespace, "events"),
    };
    match crate::builder::whole(ctx, &path, &[("fieldSelector", selector)]).await {
        Ok(list) => Ok(value::list(&list, "items").to_vec()),
        Err(Fail::Api(_)) => Ok(vec![]),
        Err(other) => Err(other),
    }
}

/// Objects of an `apps/v1` resource in the same namespace that a selector selects.
pub(crate) async fn list(ctx: &Ctx, info: &Info, plural: &str, selector: &Value) -> Result<Vec<Value>, Fail> {
    let path = paths::within("/apis/apps/v1", &info.namespace, plural);
    let selector = api::labels::Selector::of(selector).map_or(String::new(), |s| s.to_string());
    let list = crate::builder::whole(ctx, &path, &[("labelSelector", &selector)]).await?;
    Ok(value::list(&list, "items").to_vec())
}
