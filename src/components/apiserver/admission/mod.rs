//! # Admission: what a cluster adds to objects, and what it does not let in
//!
//! ## In Kubernetes
//! After authorization a write passes a row of plug-ins. The mutating ones may change the object;
//! then it is validated; then the validating ones judge the result, ResourceQuota last, since it
//! charges.
//! ## How this one works
//! [`PLUGINS`] is the row, in upstream's order. A plug-in names the kinds that it cares about, and
//! has a function for new objects ([`mutate`]), one for the result ([`validate`]), or both. What a
//! validating plug-in wants to write with the object (a charged quota) goes into the same
//! transaction, so nothing is charged for an object that was not made.
//! ## Left out
//! Webhooks, MutatingAdmissionPolicy, PodSecurity, and plug-ins that are off by default upstream.
//! StorageObjectInUseProtection is no plug-in here: the kinds of claims and volumes add its
//! finalizers themselves.
//! Policies are not asked about proxied requests (`pods/proxy`), nor about what undo puts back.
//! RuntimeClass: its kind is not served, so upstream's plug-in would refuse every pod with
//! `runtimeClassName` or `overhead`; here both are kept, with a warning (`api::unhonoured`).
//! ## Read next
//! `limits` and `quota`; then `api::quota`, which knows what an object costs. `policies` asks the
//! ValidatingAdmissionPolicies of the cluster, and `api::admission` evaluates them.

mod addresses;
mod attributes;
mod certificates;
pub(crate) mod charging;
mod classes;
mod limits;
mod node_taint;
pub(crate) mod nodes;
mod pods;
pub(crate) mod policies;
mod quota;

use crate::auth;
use crate::auth::user::User;
use crate::request::context::Context;
use crate::state::State;
use crate::storage::cache::DEFINITIONS;
use crate::storage::extra::Extra;
use crate::storage::keys::ROOT;
use crate::storage::object::Object;
use api::kinds::Kind;
use api::{Status, meta};
pub(crate) use attributes::Attributes;
use etcd::api::Revision;
use futures::future::BoxFuture;
pub(crate) use pods::set_topology_labels;
pub(crate) use quota::turn;
use serde_json::{Value, json};
use std::sync::Arc;

/// Changes a new object. Returns what it did, for the trace (an object, or null).
type Mutate = for<'a> fn(&'a Attributes<'a>, &'a mut Value) -> BoxFuture<'a, Result<Value, Status>>;
/// Judges a new or changed object. Returns what is to be written with it.
type Validate = fn(&Attributes, &Value) -> Result<Extra, Status>;

struct Plugin {
    /// Group and kind; none for every namespaced kind, [`ANY`] for every kind.
    kinds: &'static [(&'static str, &'static str)],
    mutate: Option<Mutate>,
    validate: Option<Validate>,
}

/// Every kind, in a namespace or not.
const ANY: &[(&str, &str)] = &[("*", "*")];
const POD: (&str, &str) = ("", "Pod");
const REQUEST: (&str, &str) = ("certificates.k8s.io", "CertificateSigningRequest");
const INGRESS: (&str, &str) = ("networking.k8s.io", "Ingress");
const CLAIM: (&str, &str) = ("", "PersistentVolumeClaim");
const SERVICE: (&str, &str) = ("", "Service");
const NODE: (&str, &str) = ("", "Node");
const PRIORITY: (&str, &str) = ("scheduling.k8s.io", "PriorityClass");
const LEASE: (&str, &str) = ("coordination.k8s.io", "Lease");
/// What a kubelet changes, as NodeRestriction judges it.
const OF_NODES: &[(&str, &str)] = &[NODE, POD, CLAIM, LEASE];

fn done<'a, T: Send + 'a>(result: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(result))
}

#[rustfmt::skip]
static PLUGINS: &[Plugin] = &[
    // LimitRanger
    Plugin { kinds: &[POD, CLAIM], mutate: Some(|a, o| done(Ok(limits::fill(a, o)))), validate: Some(limits::check) },
    // ServiceAccount
    Plugin { kinds: &[POD], mutate: Some(|a, o| Box::pin(pods::service_account(a, o))), validate: Some(pods::secrets) },
    // NodeRestriction
    Plugin { kinds: OF_NODES, mutate: None, validate: Some(nodes::check) },
    // NodeRestriction for certificate requests
    Plugin { kinds: &[REQUEST], mutate: None, validate: Some(certificates::of_node) },
    // TaintNodesByCondition
    Plugin { kinds: &[NODE], mutate: Some(|_, o| { node_taint::taint_as_not_ready(o); done(Ok(Value::Null)) }), validate: None },
    // Who makes mirror pods (upstream: NodeRestriction for nodes; other users may)
    Plugin { kinds: &[POD], mutate: None, validate: Some(pods::mirrors) },
    // Priority
    Plugin { kinds: &[POD], mutate: Some(|a, o| done(pods::priority(a, o))), validate: None },
    Plugin { kinds: &[PRIORITY], mutate: None, validate: Some(classes::priority) },
    // DefaultTolerationSeconds
    Plugin { kinds: &[POD], mutate: Some(|_, o| { pods::tolerations(o); done(Ok(Value::Null)) }), validate: None },
    // DefaultStorageClass
    Plugin { kinds: &[CLAIM], mutate: Some(|a, o| done(Ok(classes::storage(a, o)))), validate: None },
    // PersistentVolumeClaimResize
    Plugin { kinds: &[CLAIM], mutate: None, validate: Some(classes::growth) },
    // The user of the request is the requester of a certificate (upstream: the registry)
    Plugin { kinds: &[REQUEST], mutate: Some(|a, o| { certificates::set_requester(a, o); done(Ok(Value::Null)) }), validate: None },
    // CertificateApproval
    Plugin { kinds: &[REQUEST], mutate: None, validate: Some(certificates::approval) },
    // CertificateSigning
    Plugin { kinds: &[REQUEST], mutate: None, validate: Some(certificates::signing) },
    // CertificateSubjectRestriction
    Plugin { kinds: &[REQUEST], mutate: None, validate: Some(certificates::subject) },
    // DefaultIngressClass
    Plugin { kinds: &[INGRESS], mutate: Some(|a, o| done(Ok(classes::ingress(a, o)))), validate: None },
    // External addresses of Services, instead of upstream's DenyServiceExternalIPs
    Plugin { kinds: &[SERVICE], mutate: None, validate: Some(addresses::check) },
    // PodTopologyLabels
    Plugin { kinds: &[POD], mutate: Some(|a, o| { pods::topology(a, o); done(Ok(Value::Null)) }), validate: None },
    // ValidatingAdmissionPolicy
    Plugin { kinds: ANY, mutate: None, validate: Some(policies::check) },
    // ResourceQuota
    Plugin { kinds: &[], mutate: None, validate: Some(quota::charge) },
];

/// Returns the plug-ins that care about a kind, in their order.
fn concerned(kind: &Kind) -> impl Iterator<Item = &'static Plugin> {
    let this = (kind.group, kind.kind);
    let namespaced = kind.namespaced;
    let is_for = move |kinds: &[(&str, &str)]| match kinds {
        [] => namespaced,
        kinds => kinds == ANY || kinds.contains(&this),
    };
    PLUGINS.iter().filter(move |p| is_for(p.kinds))
}

/// Checks that a new object's definition and namespace are there. Returns the keys of both with
/// the revisions that were looked at: the object may be made as long as they are as they were. One
/// that comes into a namespace just as that goes would stay for ever, in a namespace that is not
/// there.
///
/// # Errors
/// 404 without a namespace or definition, 403 if the namespace is going, 405 if the definition is.
pub(crate) fn check_placement(
    state: &State,
    kind: &Kind,
    object: &Value,
) -> Result<Vec<(String, Revision)>, Status> {
    let definition = definition(state, kind)?;
    let name = attributes::name_before_generation(object);
    let namespace = namespace(state, kind, meta::namespace(object), name)?;
    let key = |resource: &str, object: &Object| {
        (format!("{ROOT}{resource}/{}", meta::name(&object.value)), object.revision)
    };
    let definition = definition.map(|found| key(DEFINITIONS, &found));
    Ok(definition.into_iter().chain(namespace.map(|found| key("namespaces", &found))).collect())
}

/// Checks the namespace (NamespaceLifecycle) of what is created below an object and not stored by
/// itself: a binding, an eviction, a token. Access reviews are free, as upstream: a refusal would
/// say which namespaces there are.
///
/// Example: after `kubectl delete ns x`, `kubectl create token default -n x` is refused, and a pod
/// there that still waits for a node gets none.
///
/// # Errors
/// 404 without the namespace of the request, 403 if it is going; judged by what the store has now.
pub(crate) async fn lifecycle(state: &State, ctx: &Context, kind: &Kind) -> Result<(), Status> {
    let (in_namespace, name) = (&ctx.info.namespace, &ctx.info.name);
    if namespace(state, kind, in_namespace, name).is_err() {
        state.fresh().await?; // what this server remembers says no, and may be old
        namespace(state, kind, in_namespace, name)?;
    }
    Ok(())
}

/// Finds the namespace of a new object (NamespaceLifecycle): nothing is made in one that is not
/// there or is going.
fn namespace(state: &State, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Arc<Object>>, Status> {
    if !kind.namespaced {
        return Ok(None);
    }
    let found = state.cache.get("namespaces", namespace);
    let Some(found) = found else { return Err(Status::not_found("", "namespaces", namespace)) };
    if meta::is_terminating(&found.value) {
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut status = Status::forbidden(kind.group, kind.plural, name, &why);
        status.details["causes"] = json!([{"reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"), "field": "metadata.namespace"}]);
        return Err(status);
    }
    Ok(Some(found))
}

/// Finds the definition of a new object's kind: nothing is made of a kind whose definition is going
/// or has gone. The body of a request may come long after its kind was looked up: an object that is
/// stored then is served by no path, and no deletion of its namespace finds it. A definition of
/// that name may be another one by then, with other versions or another scope.
fn definition(state: &State, kind: &Kind) -> Result<Option<Arc<Object>>, Status> {
    if kind.custom.is_none() {
        return Ok(None);
    }
    let served = state.cache.kinds().resource(kind.group, kind.version, kind.plural);
    let found = state.cache.get(DEFINITIONS, &kind.qualified());
    if found.is_none() || served.is_none_or(|served| served.namespaced != kind.namespaced) {
        let why = "the server could not find the requested resource";
        return Err(Status::new(404, "NotFound", why).with(json!({})));
    }
    if found.as_ref().is_some_and(|d| meta::is_terminating(&d.value)) {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(Status::new(405, "MethodNotAllowed", why).with(json!({})));
    }
    Ok(found)
}

/// Checks the right to create for PUT and server-side apply, which create an object that does not
/// exist yet.
fn authorize_creation(a: &Attributes) -> Result<(), Status> {
    if a.old.is_some() || !matches!(a.ctx.info.verb.as_str(), "update" | "patch") {
        return Ok(());
    }
    let create =
        auth::attributes::Attributes { verb: "create", ..auth::attributes::Attributes::of(&a.ctx.info) };
    a.state.authorize(&a.ctx.user, &create).map_err(|reason| create.forbidden(&a.ctx.user, &reason))
}

/// Lets the mutating plug-ins change a new object. Returns what they did, for the trace.
///
/// # Errors
/// The refusal of a plug-in, and 403 for a PUT or an apply whose user may not create the object.
pub(crate) async fn mutate(a: &Attributes<'_>, object: &mut Value) -> Result<Value, Status> {
    authorize_creation(a)?;
    check_node_name(&a.ctx.user, (a.kind.group, a.kind.plural), a.early_name(object))?;
    let mut changes = serde_json::Map::new();
    for mutate in concerned(a.kind).filter_map(|p| p.mutate) {
        if let Value::Object(done) = mutate(a, object).await? {
            changes.extend(done);
        }
    }
    Ok(if changes.is_empty() { Value::Null } else { changes.into() })
}

/// Asks the validating plug-ins about a valid object. Returns what is to be written with it.
///
/// # Errors
/// The first refusal of a plug-in.
pub(crate) fn validate(a: &Attributes, object: &Value) -> Result<Extra, Status> {
    let mut extra = Extra::default();
    for validate in concerned(a.kind).filter_map(|p| p.validate) {
        extra.join(validate(a, object)?);
    }
    Ok(extra)
}

/// Refuses a kubelet whose name says no node (NodeRestriction). Whatever rights roles give it, it
/// writes and reviews nothing: the rules of no node could judge it.
///
/// # Errors
/// 403 for such a user.
fn check_node_name(user: &User, (group, plural): (&str, &str), name: &str) -> Result<(), Status> {
    match user.is_nameless_node() {
        true => {
            let why = format!("could not determine node from user {:?}", user.name);
            Err(Status::forbidden(group, plural, name, &why))
        }
        false => Ok(()),
    }
}

/// Judges a review, which is not stored: NodeRestriction is the only plug-in that refuses one.
///
/// # Errors
/// 403 for a kubelet whose name says no node.
pub(crate) fn check_review(user: &User, kind: &Kind, review: &Value) -> Result<(), Status> {
    check_node_name(user, (kind.group, kind.plural), attributes::name_before_generation(review))
}

/// Asks NodeRestriction alone about a change of an object. It is a mutating plug-in upstream, so it
/// judges before validation, and also a change that changes nothing: the answer shows the object.
///
/// Example: the kubelet of `n1` patches the status of a pod on `n2` with `{}`. Nothing would be
/// written, and without this the answer would be the pod.
///
/// # Errors
/// 403 if the user is a node that may not change the object.
pub(crate) fn restrict_node(a: &Attributes, object: &Value) -> Result<(), Status> {
    check_node_name(&a.ctx.user, (a.kind.group, a.kind.plural), meta::name(object))?;
    match OF_NODES.contains(&(a.kind.group, a.kind.kind)) {
        true => nodes::check(a, object).map(|_| ()),
        false => Ok(()),
    }
}
