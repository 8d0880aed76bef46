//! Subresources that are more than another door to the same object: binding, token.

use crate::admission;
use crate::auth::authn::ISSUER;
use crate::registry::strategy::{Part, precondition_failed, set_namespace};
use crate::registry::write::modify;
use crate::request::context::Context;
use crate::request::decode::{BINDING, TOKEN_REQUEST};
use crate::request::http::{Answer, json};
use crate::state::State;
use api::errors::Errors;
use api::kinds::{self, Kind};
use api::value::{self, at, int, list, text};
use api::{Status, meta};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

// -- binding
// -------------------------------------------------------------------------------------------------

/// Binds a pod to a node: `POST pods/x/binding`, or `POST bindings`.
pub(crate) async fn bind(state: &Arc<State>, ctx: &Context, body: &Bytes) -> Result<Answer, Status> {
    let mut binding = BINDING.read(ctx, body)?;
    let kind = pods()?;
    set_namespace(ctx, kind, &mut binding)?;
    if !ctx.info.name.is_empty() && meta::name(&binding) != ctx.info.name {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    let name =
        if ctx.info.name.is_empty() { meta::name(&binding).to_string() } else { ctx.info.name.clone() };
    let node = text(&binding, "target.name").to_string();
    let mut errors = Errors::default();
    if !matches!(text(&binding, "target.kind"), "" | "Node") {
        errors.not_supported("target.kind", at(&binding, "target.kind"), &["Node", "<empty>"]);
    }
    if node.is_empty() {
        errors.required("target.name", "");
    }
    if !errors.is_empty() {
        return Err(Status::new(500, "", errors.aggregate())); // upstream makes no 422 of them
    }
    check_has_name(&name)?;
    admission::policies::check_creation_below(state, ctx, kind, &binding)?;
    let version = text(&binding, "target.resourceVersion");
    if !version.is_empty() {
        check_node_is_as_seen(state, &name, &node, version).await?;
    }
    // As upstream: a target without a kind is a node, and its labels do not come along, nor with a
    // `POST bindings`.
    if text(&binding, "target.kind") == "Node" && ctx.info.subresource == "binding" {
        admission::set_topology_labels(state, &node, &mut binding);
    }
    let bound = modify(state, ctx, kind, Part::Internal, &name, |old| bound_pod(&binding, &node, old));
    drop(bound.await?);
    Ok(json(
        201,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}

/// Refuses to look for an object without a name (upstream: `NamespaceKeyFunc`).
///
/// # Errors
/// 400 for an empty name.
fn check_has_name(name: &str) -> Result<(), Status> {
    match name.is_empty() {
        true => Err(Status::bad_request("Name parameter required.")),
        false => Ok(()),
    }
}

/// Judges a Binding that says at which version the scheduler looked at the node. Upstream ignores
/// `target.resourceVersion`. There no transaction writes two objects; here an undo or rewind does,
/// and a scheduler may hear of the pod before it hears of the node.
///
/// Example: a rewind takes the label `disk` from `n1` and makes the pod again that waited for it,
/// both in revision 40. The scheduler sees the pod of 40 and the node of 31, and binds. The pod is
/// in the store, so the node of 40 is, too, and its labels are others than at 31: 409. After its
/// pause the scheduler knows both.
///
/// # Errors
/// 409 if the node's labels, taints or `unschedulable` have changed since then.
async fn check_node_is_as_seen(state: &State, pod: &str, node: &str, version: &str) -> Result<(), Status> {
    let (Some(kind), Ok(seen)) = (kinds::stored("nodes"), version.parse::<i64>()) else { return Ok(()) };
    // As upstream, a node that does not exist can be bound to.
    let Ok(now) = state.get(kind, "", node).await else { return Ok(()) };
    if now.revision == seen {
        return Ok(());
    }
    // A version that the store no longer keeps cannot be compared: that is no reason to refuse.
    let Some(then) = state.get_at(kind, "", node, seen).await else { return Ok(()) };
    let what_filters_see = ["metadata.labels", "spec.taints", "spec.unschedulable"];
    match what_filters_see.iter().all(|field| at(&then, field) == at(&now.value, field)) {
        true => Ok(()),
        false => {
            let why = format!("node {node} has changed since the scheduler looked at it; look at it again");
            Err(Status::conflict("", "pods/binding", pod, &why))
        }
    }
}

/// The pod as a Binding binds it to `node`.
///
/// # Errors
/// 409 if the Binding means another pod of this name or another version of it, and for a pod that
/// cannot be bound.
fn bound_pod(binding: &Value, node: &str, old: &Value) -> Result<Value, Status> {
    let name = meta::name(old);
    let conflict = |why: String| Err(Status::conflict("", "pods/binding", name, &why));
    for (what, wanted, found) in [
        ("UID", meta::uid(binding), meta::uid(old)),
        ("ResourceVersion", meta::resource_version(binding), meta::resource_version(old)),
    ] {
        if !wanted.is_empty() && wanted != found {
            let why = precondition_failed(pods()?, old, what, wanted, found);
            return Err(Status::conflict("", "pods", name, &why)); // upstream names the pod here
        }
    }
    if meta::is_terminating(old) {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let assigned = text(old, "spec.nodeName");
    if !assigned.is_empty() {
        return conflict(format!("pod {name} is already assigned to node {assigned:?}"));
    }
    if !list(old, "spec.schedulingGates").is_empty() {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut pod = old.clone();
    value::remove(&mut pod, "metadata.resourceVersion");
    value::put(&mut pod, "spec.nodeName", node);
    for map in ["metadata.annotations", "metadata.labels"] {
        for (key, text) in value::pairs(binding, map) {
            value::slot_map(&mut pod, map).insert(key.into(), text.into());
        }
    }
    // The hint is of no use any more, and would be shown for as long as the pod lives (upstream:
    // `ClearingNominatedNodeNameAfterBinding`).
    value::remove(&mut pod, "status.nominatedNodeName");
    set_condition(&mut pod, json!({"type": "PodScheduled", "status": "True"}));
    Ok(pod)
}

/// Sets a condition of a pod by its type. The transition time changes only with the status.
pub(crate) fn set_condition(pod: &mut Value, mut condition: Value) {
    let now = clock::rfc3339(clock::now());
    let mut all: Vec<Value> = list(pod, "status.conditions").to_vec();
    condition["lastProbeTime"] = Value::Null;
    condition["lastTransitionTime"] = now.into();
    match all.iter_mut().find(|c| text(c, "type") == text(&condition, "type")) {
        Some(found) => {
            if text(found, "status") == text(&condition, "status") {
                condition["lastTransitionTime"] = found["lastTransitionTime"].clone();
            }
            *found = condition;
        }
        None => all.push(condition),
    }
    value::put(pod, "status.conditions", all);
}

pub(crate) fn pods() -> Result<&'static Kind, Status> {
    kinds::find("", "v1", "Pod").ok_or_else(|| Status::internal("pods are not served"))
}

// -- token
// -------------------------------------------------------------------------------------------------

pub(crate) async fn token(state: &State, ctx: &Context, body: &Bytes) -> Result<Answer, Status> {
    if !ctx.query.get("dryRun").is_empty() {
        ctx.warn("dryRun has no effect: a token is issued"); // as upstream, which says nothing of it
    }
    let mut request = TOKEN_REQUEST.read(ctx, body)?;
    let (namespace, name) = (ctx.info.namespace.clone(), ctx.info.name.clone());
    let kind = kinds::find("", "v1", "ServiceAccount")
        .ok_or_else(|| Status::internal("service accounts are not served"))?;
    set_namespace(ctx, kind, &mut request)?;
    check_account(&request, &name)?;
    let account = state.get(kind, &namespace, &name).await?;
    let (wanted, uid) = (meta::uid(&request), meta::uid(&account.value));
    if !wanted.is_empty() && wanted != uid {
        let why = format!(
            "the UID in the token request ({wanted}) does not match the UID of the service account ({uid})"
        );
        return Err(Status::conflict("authentication.k8s.io", "TokenRequest", &name, &why));
    }
    value::put(&mut request, "metadata.uid", uid);
    let seconds = int(&request, "spec.expirationSeconds").unwrap_or(3600);
    let mut errors = Errors::default();
    if seconds < 600 {
        errors.invalid(
            "spec.expirationSeconds",
            &json!(seconds),
            "may not specify a duration less than 10 minutes",
        );
    } else if seconds > 1 << 32 {
        errors.invalid(
            "spec.expirationSeconds",
            &json!(seconds),
            "may not specify a duration larger than 2^32 seconds",
        );
    }
    if !errors.is_empty() {
        return Err(Status::invalid("authentication.k8s.io", "TokenRequest", "", &errors)); // as upstream
    }
    admission::nodes::token(state, ctx, &request, &namespace, &name)?;
    admission::policies::check_creation_below(state, ctx, kind, &request)?;
    let mut audiences = at(&request, "spec.audiences").clone();
    if audiences.as_array().is_none_or(|a| a.is_empty()) {
        audiences = json!([ISSUER]);
    }
    let mut own =
        json!({"namespace": namespace, "serviceaccount": {"name": name, "uid": meta::uid(&account.value)}});
    bound_object(state, &request, (&namespace, &name), &mut own)?;
    let now = clock::now();
    let expires = now + Duration::from_secs(seconds as u64);
    let ends = end_of(&mut own, &audiences, seconds, (now, expires));
    let claims = json!({"iss": ISSUER, "aud": audiences, "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "iat": now.as_second(), "nbf": now.as_second(), "exp": ends.as_second(), "jti": state.rng.uuid(), "kubernetes.io": own});
    let token = state.tokens.sign(&claims).map_err(Status::internal)?;
    value::put(&mut request, "spec.audiences", audiences);
    value::put(&mut request, "spec.expirationSeconds", seconds);
    value::put(
        &mut request,
        "status",
        json!({"token": token, "expirationTimestamp": clock::rfc3339(expires)}),
    );
    value::put(&mut request, "metadata.name", name);
    value::put(&mut request, "metadata.creationTimestamp", clock::rfc3339(now));
    Ok(json(201, &request))
}

/// Seconds for which the kubelet asks for the token that every pod has, and those for which it is
/// issued.
const POD_TOKEN_SECS: i64 = 60 * 60 + 7;
const POD_TOKEN_LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Returns when a token ends that was asked for from `now` until `wanted`. The token of a pod for
/// the API has a year, because programs that read its file only once were written for tokens
/// without an end. Its claim `warnafter` is the end that was asked for, which the answer has, too:
/// the kubelet renews the file by that time (upstream: `TokenREST.Create`, with
/// `--service-account-extend-token-expiration`, which is on by default).
fn end_of(
    own: &mut Value,
    audiences: &Value,
    seconds: i64,
    (now, wanted): (clock::Timestamp, clock::Timestamp),
) -> clock::Timestamp {
    let is_for_api = audiences.as_array().is_some_and(|all| all.iter().all(|one| one == ISSUER));
    if seconds != POD_TOKEN_SECS || !is_for_api || own.get("pod").is_none() {
        return wanted;
    }
    own["warnafter"] = wanted.as_second().into();
    now + POD_TOKEN_LIFE
}

/// A request for a token may name its account again, and no other.
fn check_account(request: &Value, name: &str) -> Result<(), Status> {
    let own_name = meta::name(request);
    if own_name.is_empty() || own_name == name {
        return Ok(());
    }
    let mut errors = Errors::default();
    errors.invalid_text("metadata.name", own_name, "must match the service account name if specified");
    Err(Status::invalid("authentication.k8s.io", "TokenRequest", name, &errors))
}

/// A token may be bound to a pod of its account, a secret or a node, and dies with it.
fn bound_object(
    state: &State,
    request: &Value,
    (namespace, account): (&str, &str),
    own: &mut Value,
) -> Result<(), Status> {
    let bound = at(request, "spec.boundObjectRef");
    if bound.is_null() {
        return Ok(());
    }
    let (version, kind, name) = (text(bound, "apiVersion"), text(bound, "kind"), text(bound, "name"));
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let (resource, key, field) = match kind {
        "Pod" if group.is_empty() => ("pods", format!("{namespace}/{name}"), "pod"),
        "Secret" if group.is_empty() => ("secrets", format!("{namespace}/{name}"), "secret"),
        "Node" if group.is_empty() => ("nodes", name.to_string(), "node"),
        _ => {
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    check_has_name(name)?;
    let found = state.cache.get(resource, &key).ok_or_else(|| Status::not_found("", resource, name))?;
    if kind == "Pod" && text(&found.value, "spec.serviceAccountName") != account {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        )));
    }
    let uid = text(bound, "uid");
    if !uid.is_empty() && uid != meta::uid(&found.value) {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::conflict("", kind, name, &why)); // upstream names the kind here
    }
    value::put(own, field, json!({"name": name, "uid": meta::uid(&found.value)}));
    let on = text(&found.value, "spec.nodeName");
    if kind == "Pod" && !on.is_empty() {
        // Of a node that is gone the name is told.
        let node = match state.cache.get("nodes", on) {
            Some(node) => json!({"name": on, "uid": meta::uid(&node.value)}),
            None => json!({"name": on}),
        };
        value::put(own, "node", node);
    }
    Ok(())
}
