//! Lists of objects: all their pages, what limits them, and kubectl's words for one that is
//! refused.

use super::ctx::Ctx;
use super::error::Fail;
use super::info::Info;
use super::wire::paths;
use api::gostr::quote;
use api::value;
use client::discovery::Resource;
use serde_json::Value;
use std::sync::Arc;

/// One resource in one namespace, or in all, whose objects are listed.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub resource: Arc<Resource>,
    /// Empty: all namespaces.
    pub namespace: String,
}

/// All objects of a listing that match the selectors.
pub(crate) async fn list(ctx: &Ctx, listing: &Listing) -> Result<Vec<Info>, Fail> {
    let path = paths::collection(&listing.resource, &listing.namespace);
    let mut list =
        whole(ctx, &path, &selectors(ctx)).await.map_err(|fail| unlistable(ctx, &listing.resource, fail))?;
    let (api_version, kind) = (listing.resource.api_version(), listing.resource.kind.clone());
    let items = take_items(&mut list);
    let info = |mut object: Value| {
        value::put(&mut object, "apiVersion", api_version.as_str());
        value::put(&mut object, "kind", kind.as_str());
        Info {
            resource: listing.resource.clone(),
            namespace: value::text(&object, "metadata.namespace").into(),
            name: value::text(&object, "metadata.name").into(),
            object,
            source: String::new(),
        }
    };
    Ok(items.into_iter().map(info).collect())
}

/// Takes the items out of a list.
fn take_items(list: &mut Value) -> Vec<Value> {
    match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => vec![],
    }
}

/// How many objects a page of a list has at most.
const PAGE: &str = "500";

/// Reads a list page by page, and returns it with the items of all pages.
pub(crate) async fn whole(ctx: &Ctx, path: &str, query: &[(&str, &str)]) -> Result<Value, Fail> {
    let api = ctx.api().await?;
    let page = |token: String| async move {
        let mut query = query.to_vec();
        query.push(("limit", PAGE));
        if !token.is_empty() {
            query.push(("continue", token.as_str()));
        }
        api.get(path, &query).await
    };
    let mut list = page(String::new()).await?;
    loop {
        let token = value::text(&list, "metadata.continue").to_string();
        if token.is_empty() {
            return Ok(list);
        }
        let mut next = match page(token).await {
            Ok(next) => next,
            // The token for the next page has expired: the list is read again in one piece, as by
            // the pager of client-go. kubectl's own pages (`FollowContinue`) fail then.
            Err(fail) if fail.code() == Some(410) => return api.get(path, query).await,
            Err(fail) => return Err(fail),
        };
        let mut items = take_items(&mut list);
        items.append(&mut take_items(&mut next));
        value::put(&mut next, "items", items);
        list = next;
    }
}

/// kubectl's words for a list that was refused.
pub(crate) fn unlistable(ctx: &Ctx, resource: &Resource, fail: Fail) -> Fail {
    let gvr = match resource.group.as_str() {
        "" => format!("/{}, Resource={}", resource.version, resource.plural),
        group => format!("{group}/{}, Resource={}", resource.version, resource.plural),
    };
    match fail {
        Fail::Api(refusal) if refusal.code == 400 || refusal.code == 404 => {
            let (label, field) = (ctx.flags.text("selector"), ctx.flags.text("field-selector"));
            let prefix = if label.is_empty() && field.is_empty() {
                format!("Unable to list {}: ", quote(&gvr))
            } else {
                format!(
                    "Unable to find {} that match label selector {}, field selector {}: ",
                    quote(&gvr),
                    quote(label),
                    quote(field)
                )
            };
            Fail::Api(refusal.prefixed(&prefix))
        }
        other => other,
    }
}

/// `labelSelector` and `fieldSelector` as the flags say.
pub(crate) fn selectors(ctx: &Ctx) -> Vec<(&str, &str)> {
    let mut found = vec![];
    for (flag, key) in [("selector", "labelSelector"), ("field-selector", "fieldSelector")] {
        let text = selector(ctx, flag);
        if !text.is_empty() {
            found.push((key, text));
        }
    }
    found
}

/// The text of a flag with a selector; empty: it selects nothing in particular.
pub(crate) fn selector<'a>(ctx: &'a Ctx, flag: &str) -> &'a str {
    ctx.flags.text(flag).trim()
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, config_map, refusal};
    use serde_json::{Value, json};

    /// A token may expire between two pages, as after a compaction of the store.
    #[tokio::test]
    async fn pages_are_one_list_also_when_a_token_expires() {
        for (expires, requests) in [(false, 2), (true, 3)] {
            let server = Server::start_with(move |request| {
                let list = |names: &[&str], token: &str| {
                    let items: Vec<Value> = names.iter().map(|name| config_map(name, json!({}))).collect();
                    json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"continue": token}, "items": items})
                };
                match request.query.as_str() {
                    _ if !request.path.ends_with("/configmaps") => None,
                    query if query.contains("continue=") && expires => Some(refusal(410, "Expired", "too old")),
                    query if query.contains("continue=") => Some((200, list(&["b"], ""))),
                    query if query.contains("limit=") => Some((200, list(&["a"], "next"))),
                    _ => Some((200, list(&["a", "b"], ""))),
                }
            })
            .await;
            let result = server.kubectl(&["delete", "cm", "--all", "--dry-run=client", "-o", "name"]).await;
            assert_eq!((result.code, result.out.as_str()), (0, "configmap/a\nconfigmap/b\n"), "{result:?}");
            assert_eq!(server.requests().len(), requests, "{:?}", server.requests());
        }
    }
}
