//! The binding of a pod to a node: `pods/binding` and `bindings`, which the scheduler writes.

use crate::admission;
use crate::registry::pod::{kind_of_pods, set_condition};
use crate::registry::strategy::{Part, check_has_name, precondition_failed, set_namespace};
use crate::registry::write::modify;
use crate::request::context::Context;
use crate::request::decode::BINDING;
use crate::request::http::{Answer, json};
use crate::state::State;
use api::errors::Errors;
use api::kinds;
use api::value::{self, at, list, text};
use api::{Status, meta};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// Binds a pod to a node: `POST pods/x/binding`, or `POST bindings`.
pub(crate) async fn bind(state: &Arc<State>, ctx: &Context, body: &Bytes) -> Result<Answer, Status> {
    let mut binding = BINDING.read(ctx, body)?;
    let kind = kind_of_pods()?;
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

/// Returns the pod as a Binding binds it to `node`.
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
            let why = precondition_failed(kind_of_pods()?, old, what, wanted, found);
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
