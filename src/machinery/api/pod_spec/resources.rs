//! Requests and limits of containers and of whole pods.

use crate::errors::Errors;
use crate::quantity::Quantity;
use crate::validate::fields::add_problems;
use crate::validate::names;
use crate::value::{at, list, map, text};
use serde_json::{Value, json};
use std::collections::HashSet;

const STANDARD: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "storage"];

/// The name of a container's resource: a standard one, or `example.com/gpu`.
pub(crate) fn resource_name(name: &str, field: &str, errors: &mut Errors) {
    let problems = names::qualified_name(name);
    problems.iter().for_each(|p| errors.invalid_text(field, name, p));
    if !problems.is_empty() {
        return;
    }
    match name.split_once('/') {
        None if STANDARD.contains(&name) && name != "storage" || name.starts_with("hugepages-") => {}
        None => {
            if name != "storage" {
                errors.invalid_text(field, name, "must be a standard resource type or fully qualified");
            }
            errors.invalid_text(field, name, "must be a standard resource for containers");
        }
        Some((prefix, _)) => {
            let native = prefix.contains("kubernetes.io");
            if !native
                && (name.starts_with("requests.")
                    || !names::qualified_name(&format!("requests.{name}")).is_empty())
            {
                errors.invalid_text(field, name, "doesn't follow extended resource name standard");
            }
        }
    }
}

fn parsed(value: &Value) -> Option<Quantity> {
    value.as_str().and_then(Quantity::parse)
}

/// May a resource be promised to more than one container? Pages and devices may not, and they come
/// in whole pieces.
fn is_shared(name: &str) -> bool {
    !name.starts_with("hugepages-") && (!name.contains('/') || name.contains("kubernetes.io/"))
}

/// An amount of a resource.
pub(super) fn amount(name: &str, value: &Value, field: &str, errors: &mut Errors) {
    let Some(quantity) = parsed(value) else { return };
    if quantity.is_negative() {
        errors.invalid(field, value, "must be greater than or equal to 0");
    }
    if !is_shared(name) && !name.starts_with("hugepages-") && !quantity.is_whole() {
        errors.invalid(field, value, "must be an integer");
    }
}

/// Requests and limits; `check_name` judges the names of resources.
pub(super) fn requirements(
    resources: &Value,
    field: &str,
    check_name: &dyn Fn(&str, &str, &mut Errors),
    errors: &mut Errors,
) {
    let limits = at(resources, "limits");
    let (mut basic, mut pages) = (false, false);
    for what in ["limits", "requests"] {
        for (name, value) in map(resources, what).into_iter().flatten() {
            let here = format!("{field}.{what}[{name}]");
            check_name(name, &here, errors);
            amount(name, value, &here, errors);
            basic |= ["cpu", "memory"].contains(&name.as_str());
            pages |= name.starts_with("hugepages-");
            if what == "limits" {
                continue;
            }
            let limit = limits.get(name);
            let shown = limit.and_then(Value::as_str).unwrap_or("");
            match (parsed(value), limit.and_then(parsed)) {
                (Some(r), Some(l)) if r != l && !is_shared(name) => {
                    let why = format!("must be equal to {name} limit of {shown}");
                    errors.invalid(format!("{field}.requests"), value, &why);
                }
                (Some(r), Some(l)) if r > l => {
                    let why = format!("must be less than or equal to {name} limit of {shown}");
                    errors.invalid(format!("{field}.requests"), value, &why);
                }
                (Some(_), None) if !is_shared(name) => {
                    let why = "Limit must be set for non overcommitable resources";
                    errors.required(format!("{field}.limits"), why);
                }
                _ => {}
            }
        }
    }
    if pages && !basic {
        errors.forbidden(field, "HugePages require cpu or memory");
    }
}

/// The claims of the pod that a container uses: each as a whole, or only some of its requests.
pub(super) fn claims(known: &HashSet<&str>, c: &Value, field: &str, errors: &mut Errors) {
    let (mut seen, mut in_part): (HashSet<String>, HashSet<&str>) = Default::default();
    for (i, claim) in list(c, "resources.claims").iter().enumerate() {
        let (name, request, place) = (text(claim, "name"), text(claim, "request"), format!("{field}[{i}]"));
        if name.is_empty() {
            errors.required(place, "");
            continue;
        }
        if seen.contains(name) || (request.is_empty() && in_part.contains(name)) {
            errors.duplicate(&place, &json!(name));
        } else if request.is_empty() {
            seen.insert(name.to_string());
        } else {
            add_problems(names::dns_label(request), &format!("{place}.request"), request, errors);
            let part = format!("{name}/{request}");
            if seen.contains(&part) {
                errors.duplicate(&place, &json!(part));
            }
            seen.insert(part);
            in_part.insert(name);
        }
        if !known.contains(&name) {
            errors.not_found(place, &json!(name));
        }
    }
}

pub(super) fn resize(spec: &Value, c: &Value, field: &str, errors: &mut Errors) {
    let mut seen: HashSet<&str> = HashSet::new();
    for (i, policy) in list(c, "resizePolicy").iter().enumerate() {
        let (name, restart) = (text(policy, "resourceName"), text(policy, "restartPolicy"));
        if seen.contains(&name) {
            errors.duplicate(format!("{field}[{i}]"), &json!(name));
        }
        seen.insert(name);
        for (value, known) in [(name, ["cpu", "memory"]), (restart, ["NotRequired", "RestartContainer"])] {
            match value {
                "" => errors.required(field, ""),
                value if !known.contains(&value) => errors.not_supported(field, &json!(value), &known),
                _ => {}
            }
        }
        if text(spec, "restartPolicy") == "Never" && restart != "NotRequired" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.invalid_text(field, restart, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `validateResourceClaimNames` of Kubernetes 1.35.
    #[test]
    fn a_claim_is_used_as_a_whole_or_by_its_requests() {
        let told = |claims: Value| {
            let mut errors = Errors::default();
            let container = json!({"resources": {"claims": claims}});
            super::claims(&HashSet::from(["a", "b"]), &container, "claims", &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (whole, one) = (json!({"name": "a"}), json!({"name": "a", "request": "r"}));
        let other = json!({"name": "a", "request": "s"});
        assert_eq!(told(json!([one, other, {"name": "b"}])), [""; 0]);
        for (claims, key) in [
            (json!([whole, whole]), "a"),
            (json!([whole, one]), "a"),
            (json!([one, whole]), "a"),
            (json!([one, one]), "a/r"),
        ] {
            assert_eq!(told(claims.clone()), [format!("claims[1]: Duplicate value: {key:?}")], "{claims}");
        }
        let said = told(json!([{"name": "c", "request": "R"}, {"request": "r"}]));
        assert!(said[0].starts_with("claims[0].request: Invalid value: \"R\": a lowercase"), "{said:?}");
        assert_eq!(said[1..], ["claims[0]: Not found: \"c\"", "claims[1]: Required value"]);
    }
}
