//! ValidatingAdmissionPolicies: what the policies of the cluster say of a request.
//!
//! ```text
//! policies that a binding names, by name
//!   the policy matches the request      its rules, selectors, exclusions
//!     each binding matches as well      its own, and it finds the parameters
//!       conditions, then validations    `api::admission` evaluates them, for each parameter
//!         Deny     refused with the message of the first
//!         Warn     a Warning header
//!         Audit    an annotation in the record of the stage `admit`
//! ```
//!
//! What an expression asks with `authorizer` is decided as a request of the user would be
//! (`rights`). Policies, bindings, parameters and namespaces are read from this server's memory, as
//! upstream's informers have them. A creation that is refused is judged again by what the store has
//! now, as with every plug-in. The configuration of admission itself is never judged: a policy that
//! denies everything can be deleted. Nor are reviews, without which no component could work.

mod compiled;
mod params;
mod request;
mod rights;
#[cfg(test)]
mod tests;

use super::attributes::{Attributes, name_before_generation};
use crate::registry::delete::Options;
use crate::request::context::Context;
use crate::state::State;
use crate::storage::extra::Extra;
use crate::storage::object::Object;
use api::admission::{AccessCheck, Criteria, Denial, Outcome, Review, param_kind};
use api::kinds::Kind;
use api::value::{at, list, text};
use api::{Status, meta};
pub(crate) use compiled::Compiled;
use request::PolicyRequest;
pub(crate) use request::connect_options;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const GROUP: &str = "admissionregistration.k8s.io";
const POLICIES: &str = "validatingadmissionpolicies";
const BINDINGS: &str = "validatingadmissionpolicybindings";
/// The key of the annotation that says which validation failed.
const FAILURE: &str = "validation.policy.admission.k8s.io/validation_failure";
/// Bytes of the values of one audit annotation together: there may be one for each parameter.
const ANNOTATION_MAX: usize = 64 << 10;
/// Groups of the reviews, which are answered and not stored.
const REVIEWS: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];

/// Asks the policies about a new or changed object.
///
/// # Errors
/// The refusal of a policy.
pub(super) fn check(a: &Attributes, object: &Value) -> Result<Extra, Status> {
    let info = &a.ctx.info;
    // Another object that the request changes beside its own, and what a binding does to its pod:
    // upstream's admission sees the Binding alone ([`check_creation_below`]).
    let is_beside = info.resource != a.kind.plural;
    if is_beside || info.subresource == "binding" {
        return Ok(Extra::default());
    }
    let operation = if a.old.is_none() { "CREATE" } else { "UPDATE" };
    let old = a.old.unwrap_or(&Value::Null);
    let scaled = a.kind.scale.filter(|_| info.subresource == "scale");
    let request = |object, old| PolicyRequest {
        state: a.state,
        ctx: a.ctx,
        kind: a.kind,
        operation,
        object,
        old,
        deletion: None,
        is_name_generated: a.is_name_generated,
    };
    let done = match scaled {
        Some(paths) => {
            let [object, old] = [object, old].map(|o| crate::registry::scale::scale_of(paths, o));
            ask(&request(&object, &old))
        }
        None => ask(&request(object, old)),
    };
    done.map(|()| Extra::default())
}

/// Asks the policies about the deletion of an object. The deletion that an eviction leads to is the
/// eviction's ([`check_creation_below`]).
///
/// # Errors
/// The refusal of a policy.
pub(crate) fn check_deletion(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    old: &Value,
    options: &Options,
) -> Result<(), Status> {
    if !ctx.info.subresource.is_empty() {
        return Ok(());
    }
    let (operation, object, deletion) = ("DELETE", &Value::Null, Some(options));
    ask(&PolicyRequest { state, ctx, kind, operation, object, old, deletion, is_name_generated: false })
}

/// Asks the policies about what is created below an object and not stored: a Binding, an Eviction,
/// a TokenRequest.
///
/// # Errors
/// The refusal of a policy.
pub(crate) fn check_creation_below(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    object: &Value,
) -> Result<(), Status> {
    let (operation, old, deletion) = ("CREATE", &Value::Null, None);
    ask(&PolicyRequest { state, ctx, kind, operation, object, old, deletion, is_name_generated: false })
}

/// Asks the policies about a connection to a pod, before it is made.
///
/// # Errors
/// The refusal of a policy.
pub(crate) fn check_connection(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    options: &Value,
) -> Result<(), Status> {
    let (operation, object, old, deletion) = ("CONNECT", options, &Value::Null, None);
    ask(&PolicyRequest { state, ctx, kind, operation, object, old, deletion, is_name_generated: false })
}

/// Why a request is refused, and by which policy and binding.
struct Refusal {
    policy: String,
    /// `None` if something is wrong with the policy itself.
    binding: Option<String>,
    denial: Denial,
}

impl Refusal {
    /// Returns the refusal for what goes wrong with the configuration, as upstream whatever the
    /// binding says.
    fn of_configuration(policy: &str, binding: Option<&str>, why: &str) -> Refusal {
        let what = if binding.is_some() { "binding" } else { "policy" };
        let message = format!("failed to configure {what}: {why}");
        let denial = Denial { index: 0, message, reason: String::new(), is_final: true };
        Refusal { policy: policy.to_string(), binding: binding.map(String::from), denial }
    }

    /// Returns the answer to the refused request.
    fn status(&self, request: &PolicyRequest) -> Status {
        let policy = &self.policy;
        let by = self.binding.as_ref().map_or(String::new(), |binding| format!(" with binding '{binding}'"));
        let why = format!("ValidatingAdmissionPolicy '{policy}'{by} denied request: {}", self.denial.message);
        let name = match request.ctx.info.name.as_str() {
            "" => name_before_generation(request.object),
            name => name,
        };
        let info = &request.ctx.info;
        let mut status = Status::forbidden(&info.group, &info.resource, name, &why);
        (status.code, status.reason) = match self.denial.reason.as_str() {
            "Unauthorized" => (401, "Unauthorized"),
            "Forbidden" => (403, "Forbidden"),
            "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
            _ => (422, "Invalid"),
        };
        status.details["causes"] = json!([{ "message": why }]);
        status
    }
}

/// True for resources that no policy is asked about (`IsExemptAdmissionConfigurationResource`, and
/// the resources that `kubeapiserver/admission/exclusion` leaves out).
fn is_exempt(request: &PolicyRequest) -> bool {
    let group = request.ctx.info.group.as_str();
    group == GROUP || REVIEWS.contains(&group)
}

/// Asks the policies that a binding names, and records their audit annotations.
///
/// # Errors
/// The first refusal.
fn ask(request: &PolicyRequest) -> Result<(), Status> {
    let bindings = request.state.cache.list(BINDINGS, "").objects;
    if bindings.is_empty() || is_exempt(request) {
        return Ok(());
    }
    let mut by_policy: BTreeMap<&str, Vec<&Arc<Object>>> = BTreeMap::new();
    for (_, binding) in &bindings {
        by_policy.entry(text(&binding.value, "spec.policyName")).or_default().push(binding);
    }
    let mut dispatch = Dispatch {
        request,
        served: request.served(),
        labels: request.labels(),
        views: BTreeMap::new(),
        left: Review::STEPS_MAX,
        refusal: None,
        annotations: BTreeMap::new(),
    };
    for (name, bindings) in by_policy {
        if let Some(policy) = request.state.cache.get(POLICIES, name) {
            dispatch.policy(&policy, &bindings);
        }
    }
    let Dispatch { refusal, annotations, .. } = dispatch;
    request.ctx.annotate(annotations);
    match refusal {
        Some(refusal) => Err(refusal.status(request)),
        None => Ok(()),
    }
}

/// One request on its way through all policies.
struct Dispatch<'r, 'a> {
    request: &'r PolicyRequest<'a>,
    /// Groups and versions in which the resource is served.
    served: Vec<(&'static str, &'static str)>,
    /// The labels by which a selector of namespaces judges.
    labels: Option<Value>,
    /// The variables of expressions, for each group and version in which a policy matches the
    /// request.
    views: BTreeMap<(&'static str, &'static str), Review>,
    /// Steps that the policies may still take together.
    left: f64,
    /// The first refusal, which is the answer. With many parameters there may be any number of
    /// them.
    refusal: Option<Refusal>,
    annotations: BTreeMap<String, String>,
}

impl Dispatch<'_, '_> {
    /// Asks one policy, for each of its bindings that match and each of their parameters.
    fn policy(&mut self, object: &Object, bindings: &[&Arc<Object>]) {
        let state = self.request.state;
        let policy = state.policies.policy(state, object);
        let matches =
            |criteria: &Criteria| self.request.matches(criteria, &self.served, self.labels.as_ref());
        let Some(matched) = matches(&policy.criteria) else { return };
        let bindings: Vec<&Arc<Object>> = bindings
            .iter()
            .copied()
            .filter(|b| matches(&state.policies.binding(state, b)).is_some())
            .collect();
        let name = meta::name(&object.value);
        let rules = policy.rules();
        let ignores = rules.ignores_failures();
        let params = match param_kind(&object.value).map(|kind| params::kind(state, kind)) {
            Some(Err(why)) => {
                if !ignores {
                    self.refusal.get_or_insert_with(|| Refusal::of_configuration(name, None, &why));
                }
                return;
            }
            Some(Ok(kind)) => Some(kind),
            None => None,
        };
        let request = self.request;
        let view = self.views.entry(matched).or_insert_with(|| request.view(matched));
        let mut notes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for binding in bindings {
            let called = meta::name(&binding.value);
            let reference = at(&binding.value, "spec.paramRef");
            let found = match params::collect(state, params.as_ref(), reference, request.namespace()) {
                Ok(found) => found,
                Err(why) => {
                    if !ignores {
                        let refusal = || Refusal::of_configuration(name, Some(called), &why);
                        self.refusal.get_or_insert_with(refusal);
                    }
                    continue;
                }
            };
            for params in found.values() {
                let is_out_of_steps = self.left < 0.0;
                let authorize = |check: &AccessCheck| rights::decide(state, &request.ctx.user, check);
                let outcome = rules.evaluate(view, &params, &mut self.left, &authorize);
                let actions = list(&binding.value, "spec.validationActions");
                let enforcer = Enforcer { policy: name, binding: called, actions };
                enforcer.enforce(request.ctx, outcome, &mut self.refusal, &mut self.annotations, &mut notes);
                if is_out_of_steps {
                    break; // without steps every further parameter ends as this one
                }
            }
        }
        for (key, values) in notes {
            self.annotations.insert(format!("{name}/{key}"), values.join(", "));
        }
    }
}

/// What follows from the outcome of a policy, as a binding of it says.
struct Enforcer<'a> {
    policy: &'a str,
    binding: &'a str,
    actions: &'a [Value],
}

impl Enforcer<'_> {
    /// Warns, annotates and refuses, as the binding's actions say. `notes` are the values of the
    /// policy's audit annotations by their keys.
    fn enforce(
        &self,
        ctx: &Context,
        outcome: Outcome,
        refusal: &mut Option<Refusal>,
        annotations: &mut BTreeMap<String, String>,
        notes: &mut BTreeMap<String, Vec<String>>,
    ) {
        let Enforcer { policy, binding, .. } = *self;
        for denial in outcome.denials {
            let does = |action: &str| self.actions.iter().any(|known| known == action);
            if does("Warn") && !denial.is_final {
                let message = &denial.message;
                ctx.warn(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {message}"
                ));
            }
            if does("Audit") && !denial.is_final {
                let failure = json!([{"message": denial.message, "policy": policy, "binding": binding,
                    "expressionIndex": denial.index, "validationActions": self.actions}]);
                // The first one stays, as in upstream's audit log.
                annotations.entry(FAILURE.to_string()).or_insert_with(|| failure.to_string());
            }
            if denial.is_final || does("Deny") {
                let (policy, binding) = (policy.to_string(), Some(binding.to_string()));
                refusal.get_or_insert(Refusal { policy, binding, denial });
            }
        }
        for (key, value) in outcome.annotations {
            let known = notes.entry(key).or_default();
            let all: usize = known.iter().map(String::len).sum();
            if all + value.len() <= ANNOTATION_MAX && !known.contains(&value) {
                known.push(value);
            }
        }
    }
}
