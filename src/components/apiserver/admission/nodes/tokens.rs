//! Tokens: which ones a kubelet may request for its pods.

use crate::admission::check_node_name;
use crate::auth::attributes::Attributes;
use crate::request::context::Context;
use crate::state::State;
use api::gostr::quote;
use api::value::{at, list, text};
use api::{Status, meta};
use serde_json::Value;

/// Judges a kubelet's request for a token of a ServiceAccount. It has to be for a pod on the node
/// that runs as this account, and the token ends with the pod.
///
/// # Errors
/// 403 that says what is wrong, 404 if the pod does not exist.
pub(crate) fn token(
    state: &State,
    ctx: &Context,
    request: &Value,
    namespace: &str,
    account: &str,
) -> Result<(), Status> {
    check_node_name(&ctx.user, ("", "serviceaccounts"), account)?;
    let Some(node) = ctx.user.node() else { return Ok(()) };
    let refuse = |why: &str| Err(Status::forbidden("", "serviceaccounts", account, why));
    let bound = at(request, "spec.boundObjectRef");
    let (kind, name, uid) = (text(bound, "kind"), text(bound, "name"), text(bound, "uid"));
    if text(bound, "apiVersion") != "v1" || kind != "Pod" || name.is_empty() {
        return refuse("node requested token not bound to a pod");
    }
    if uid.is_empty() {
        return refuse("node requested token with a pod binding without a uid");
    }
    let Some(pod) = state.cache.get("pods", &format!("{namespace}/{name}")) else {
        return Err(Status::not_found("", "pods", name));
    };
    if meta::uid(&pod.value) != uid {
        return refuse(&format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        ));
    }
    if text(&pod.value, "spec.nodeName") != node {
        return refuse("node requested token bound to a pod scheduled on a different node");
    }
    if text(&pod.value, "spec.serviceAccountName") != account {
        return refuse("node requested token bound to a pod that runs as a different service account");
    }
    match refused_audience(state, ctx, list(request, "spec.audiences"), &pod.value) {
        None => Ok(()),
        Some(why) => refuse(&why),
    }
}

/// Returns why an audience is refused (upstream's gate ServiceAccountNodeAudienceRestriction). A
/// kubelet gets tokens for the audiences that its pod's volumes ask for, and for those that a role
/// allows it (verb `request-serviceaccounts-token-audience`, resource: the audience). Otherwise a
/// node that was taken over could speak for its pods to any service that trusts the cluster's
/// tokens.
fn refused_audience(state: &State, ctx: &Context, requested: &[Value], pod: &Value) -> Option<String> {
    let audience = match requested {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return Some("node may only request 0 or 1 audiences".to_string()),
    };
    let mut sources = list(pod, "spec.volumes").iter().flat_map(|v| list(v, "projected.sources"));
    let projected =
        sources.any(|s| s.get("serviceAccountToken").is_some_and(|t| text(t, "audience") == audience));
    let attributes = Attributes {
        verb: "request-serviceaccounts-token-audience",
        resource: audience,
        namespace: meta::namespace(pod),
        name: text(pod, "spec.serviceAccountName"),
        ..Attributes::RESOURCE
    };
    let is_allowed = projected || state.authorize(&ctx.user, &attributes).is_ok();
    (!is_allowed).then(|| {
        let user = &ctx.user.name;
        format!(
            "audience {} not found in pod spec volume, {user} is not authorized to request tokens for this audience",
            quote(audience)
        )
    })
}
