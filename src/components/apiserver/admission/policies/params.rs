//! The parameters of a policy: which objects a binding refers to.

use crate::state::State;
use api::kinds::Kind;
use api::labels::Selector;
use api::value::{at, text};
use serde_json::Value;
use std::sync::Arc;

const NOT_FOUND: &str = "no params found for policy binding with `Deny` parameterNotFoundAction";

/// The kind of parameters: its place in the store, and the version in which the policy reads them.
pub(super) struct ParamKind {
    catalog: Arc<api::kinds::Catalog>,
    group: String,
    version: String,
    kind: String,
}

fn is(kind: &Kind, wanted: (&str, &str, &str)) -> bool {
    (kind.group, kind.version, kind.kind) == wanted && kind.is_stored()
}

/// Finds the kind that a policy names.
///
/// # Errors
/// Upstream's sentence if it is not served.
pub(super) fn kind(state: &State, wanted: (&str, &str, &str)) -> Result<ParamKind, String> {
    let catalog = state.cache.kinds();
    let (group, version, kind) = wanted;
    if !catalog.iter().any(|known| is(known, wanted)) {
        let version = if group.is_empty() { format!("/{version}") } else { format!("{group}/{version}") };
        return Err(format!("failed to find resource referenced by paramKind: '{version}, Kind={kind}'"));
    }
    let [group, version, kind] = [group, version, kind].map(String::from);
    Ok(ParamKind { catalog, group, version, kind })
}

/// Returns the parameters of a binding. `null` stands for none: a policy without parameters, or a
/// binding that refers to none. `namespace` is that of the request.
///
/// # Errors
/// A sentence about a reference that leads nowhere.
pub(super) fn collect(
    state: &State,
    kind: Option<&ParamKind>,
    reference: &Value,
    namespace: &str,
) -> Result<Vec<Value>, String> {
    let Some(params) = kind.filter(|_| !reference.is_null()) else { return Ok(vec![Value::Null]) };
    let wanted = (params.group.as_str(), params.version.as_str(), params.kind.as_str());
    let Some(kind) = params.catalog.iter().find(|known| is(known, wanted)) else { return Ok(vec![]) };
    let of_reference = text(reference, "namespace");
    let within = match (kind.namespaced, of_reference, namespace) {
        (false, "", _) => "",
        (false, ..) => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
        }
        (true, "", "") => {
            let why =
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
            return Err(why.into());
        }
        (true, "", namespace) => namespace,
        (true, of_reference, _) => of_reference,
    };
    let prefix = if kind.namespaced { format!("{within}/") } else { String::new() };
    let found: Vec<Value> = match text(reference, "name") {
        "" => {
            let selector = Selector::of(at(reference, "selector"));
            let selector = selector.ok_or("one of name or selector must be provided")?;
            let all = state.cache.list(kind.place(), &prefix).objects;
            let chosen = all.iter().filter(|(_, o)| selector.matches(at(&o.value, "metadata.labels")));
            chosen.map(|(_, o)| kind.from_stored(&o.value).into_owned()).collect()
        }
        name => {
            let found = state.cache.get(kind.place(), &format!("{prefix}{name}"));
            found.iter().map(|o| kind.from_stored(&o.value).into_owned()).collect()
        }
    };
    match found.is_empty() && text(reference, "parameterNotFoundAction") == "Deny" {
        true => Err(NOT_FOUND.into()),
        false => Ok(found),
    }
}
