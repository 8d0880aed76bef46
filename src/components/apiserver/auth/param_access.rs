//! Parameters of admission policies: a user who writes a policy or a binding must be able to read
//! the objects that it refers to, or refusals of the policy would show what is in them (upstream:
//! `registry/admissionregistration/*/authz.go`).

use crate::auth::attributes::Attributes;
use crate::auth::user::{MASTERS, User};
use crate::request::context::Context;
use crate::state::State;
use api::admission::param_kind;
use api::errors::Errors;
use api::kinds::Kind;
use api::value::{at, text};
use api::{Status, meta};
use serde_json::Value;

/// Refuses a policy or a binding whose writer may not read its parameters. A change that refers to
/// the same parameters as before is let in.
///
/// # Errors
/// 422 that names the right.
pub(crate) fn check(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let is_policy = kind.kind == "ValidatingAdmissionPolicy";
    let field = if is_policy { "spec.paramKind" } else { "spec.paramRef" };
    let same = |path: &str| old.is_some_and(|old| at(old, path) == at(object, path));
    let is_kept = same(field) && (is_policy || same("spec.policyName"));
    if ctx.user.is_in(MASTERS) || at(object, field).is_null() || is_kept {
        return Ok(());
    }
    let refused = match is_policy {
        true => refusal_of_policy(state, &ctx.user, object),
        false => refusal_of_binding(state, &ctx.user, object),
    };
    let Some(why) = refused else { return Ok(()) };
    let mut errors = Errors::default();
    errors.forbidden(field, &why);
    Err(Status::invalid(kind.group, kind.kind, meta::name(object), &errors))
}

/// Returns group and resource of a policy's parameters. Of a kind that is not served every resource
/// of its group is meant.
fn resource(state: &State, policy: &Value) -> Option<(String, String)> {
    let (group, version, kind) = param_kind(policy)?;
    let catalog = state.cache.kinds();
    let is = |known: &&Kind| (known.group, known.version, known.kind) == (group, version, kind);
    let plural = catalog.iter().find(is).map_or("*", |known| known.plural);
    Some((group.to_string(), plural.to_string()))
}

/// Returns whether the user has this right to objects of a group and resource.
fn is_authorized(
    state: &State,
    user: &User,
    verb: &str,
    of: &(String, String),
    (namespace, name): (&str, &str),
) -> bool {
    let attributes =
        Attributes { verb, group: &of.0, resource: &of.1, namespace, name, ..Attributes::RESOURCE };
    state.authorize(user, &attributes).is_ok()
}

/// Writes a user as Go prints it.
fn as_go_prints(user: &User) -> String {
    format!("&{{{} {} [{}] map[]}}", user.name, user.uid, user.groups.join(" "))
}

/// Returns why a policy is refused; `None` if its writer may read all objects of its `paramKind`.
fn refusal_of_policy(state: &State, user: &User, policy: &Value) -> Option<String> {
    let param_kind = at(policy, "spec.paramKind");
    let of = resource(state, policy)?;
    (!is_authorized(state, user, "get", &of, ("*", "*"))).then(|| {
        format!(
            "user {} must have \"get\" permission on all objects of the referenced paramKind (kind={}, apiVersion={})",
            as_go_prints(user),
            text(param_kind, "kind"),
            text(param_kind, "apiVersion")
        )
    })
}

/// Returns why a binding is refused; `None` if its writer may read what its `paramRef` names.
fn refusal_of_binding(state: &State, user: &User, binding: &Value) -> Option<String> {
    let name = text(binding, "spec.policyName");
    let policy = state.cache.get("validatingadmissionpolicies", name);
    let everything = || ("*".to_string(), "*".to_string());
    let of = policy.as_ref().and_then(|policy| resource(state, &policy.value)).unwrap_or_else(everything);
    let (namespace, object) = (text(binding, "spec.paramRef.namespace"), text(binding, "spec.paramRef.name"));
    let verb = if object.is_empty() { "list" } else { "get" };
    if is_authorized(state, user, verb, &of, (namespace, object)) {
        return None;
    }
    let user = as_go_prints(user);
    Some(match policy {
        None => format!(
            "unable to get policy {name} to determine minimum required permissions and user {user} does not have \"{verb}\" permission for all groups, versions and resources"
        ),
        Some(_) => {
            format!("user {user} does not have \"{verb}\" permission on the object referenced by paramRef")
        }
    })
}
