//! Access reviews: whether a user may do something. Validation is upstream's
//! (`pkg/apis/authorization/validation`), and so is what is made of selectors
//! (`pkg/registry/authorization/util`, KEP-4601).

use crate::auth::attributes::Attributes;
use crate::auth::user::User;
use crate::request::context::Context;
use crate::state::State;
use api::errors::Errors;
use api::kinds::Kind;
use api::validate::names;
use api::value::{self, at, list, text};
use api::{Status, fields, labels, meta};
use serde_json::{Value, json};

const RESOURCE: &str = "spec.resourceAttributes";

/// Answers a SelfSubjectAccessReview, a SubjectAccessReview or a LocalSubjectAccessReview with its
/// status.
///
/// # Errors
/// 422 for a review that asks for nothing, or for two things; 400 for one of another namespace.
pub(crate) fn access(state: &State, ctx: &Context, kind: &Kind, review: &Value) -> Result<Value, Status> {
    let namespace = meta::namespace(review);
    if kind.namespaced && !namespace.is_empty() && namespace != ctx.info.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let mut errors = Errors::default();
    check(kind, &ctx.info.namespace, review, &mut errors);
    if !errors.is_empty() {
        return Err(Status::invalid(kind.group, kind.kind, "", &errors));
    }
    let spec = at(review, "spec");
    if kind.kind == "SelfSubjectAccessReview" {
        return Ok(decide(state, &ctx.user, spec));
    }
    let groups = list(spec, "groups").iter().filter_map(Value::as_str).map(String::from).collect();
    let user = User { name: text(spec, "user").into(), groups, ..User::default() };
    Ok(decide(state, &user, spec))
}

/// Checks a review: what its spec asks about, and that its metadata are empty.
fn check(kind: &Kind, namespace: &str, review: &Value, errors: &mut Errors) {
    let spec = at(review, "spec");
    let (resource, path) = (at(spec, "resourceAttributes"), at(spec, "nonResourceAttributes"));
    match (resource.is_object(), path.is_object()) {
        (true, true) => errors.invalid(
            "spec.nonResourceAttributes",
            path,
            "cannot be specified in combination with resourceAttributes",
        ),
        (false, false) => errors.invalid(
            RESOURCE,
            &Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        _ => {}
    }
    let is_self = kind.kind == "SelfSubjectAccessReview";
    if !is_self && text(spec, "user").is_empty() && list(spec, "groups").is_empty() {
        errors.invalid_text("spec.user", "", "at least one of user or group must be specified");
    }
    for (selector, of_labels) in [("fieldSelector", false), ("labelSelector", true)] {
        check_selector(at(resource, selector), of_labels, &format!("{RESOURCE}.{selector}"), errors);
    }
    let metadata = at(review, "metadata");
    let is_free = |key: &str| key == "managedFields" || kind.namespaced && key == "namespace";
    let mut keys = metadata.as_object().into_iter().flat_map(|m| m.keys());
    if keys.any(|key| !is_free(key) && !value::empty(metadata, key)) {
        let but = if kind.namespaced { " except for namespace" } else { "" };
        errors.invalid("metadata", metadata, &format!("must be empty{but}"));
    }
    if kind.namespaced && resource.is_object() && text(resource, "namespace") != namespace {
        let field = format!("{RESOURCE}.namespace");
        errors.invalid_text(field, text(resource, "namespace"), "must match metadata.namespace");
    }
    if kind.namespaced && path.is_object() {
        errors.invalid("spec.nonResourceAttributes", path, "disallowed on this kind of request");
    }
}

/// Checks a selector of a review. Unknown operators pass: they may be those of newer versions.
fn check_selector(selector: &Value, of_labels: bool, field: &str, errors: &mut Errors) {
    if !selector.is_object() {
        return;
    }
    let (raw, requirements) = (text(selector, "rawSelector"), list(selector, "requirements"));
    match (raw.is_empty(), requirements.is_empty()) {
        (false, false) => {
            let why = "may not specified at the same time as requirements";
            errors.invalid_text(format!("{field}.rawSelector"), raw, why);
        }
        (true, true) => {
            let why = format!("when {field} is specified, requirements or rawSelector is required");
            errors.required(format!("{field}.requirements"), &why);
        }
        _ => {}
    }
    for (i, requirement) in requirements.iter().enumerate() {
        let (field, key) = (format!("{field}.requirements[{i}]"), text(requirement, "key"));
        let values = list(requirement, "values");
        if !of_labels && key.is_empty() {
            errors.required(format!("{field}.key"), "must be specified");
        }
        match text(requirement, "operator") {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.required(format!("{field}.values"), why);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(format!("{field}.values"), why);
            }
            _ => {}
        }
        if of_labels {
            for problem in names::qualified_name(key) {
                errors.invalid_text(format!("{field}.key"), key, &problem);
            }
            for (j, value) in values.iter().filter_map(Value::as_str).enumerate() {
                for problem in names::label_value(value) {
                    errors.invalid_text(format!("{field}.values[{j}]"), value, &problem);
                }
            }
        }
    }
}

/// Answers what the spec of a review asks: whether the user may do it, and why.
fn decide(state: &State, user: &User, spec: &Value) -> Value {
    let (resource, path) = (at(spec, "resourceAttributes"), at(spec, "nonResourceAttributes"));
    let (node, problems) = match resource.is_object() {
        true => selectors(resource),
        false => (None, vec![]),
    };
    let attributes = match resource.is_object() {
        true => Attributes {
            verb: text(resource, "verb"),
            group: text(resource, "group"),
            resource: text(resource, "resource"),
            subresource: text(resource, "subresource"),
            namespace: text(resource, "namespace"),
            name: text(resource, "name"),
            on_node: node.as_deref().unwrap_or_default(),
            ..Attributes::RESOURCE
        },
        false => Attributes::of_path(text(path, "verb"), text(path, "path")),
    };
    let mut status = match state.authorize(user, &attributes) {
        Ok(()) => match state.why_allowed(user, &attributes) {
            why if why.is_empty() => json!({"allowed": true}),
            why => json!({"allowed": true, "reason": why}),
        },
        Err(reason) if reason.is_empty() => json!({"allowed": false}),
        Err(reason) => json!({"allowed": false, "reason": reason}),
    };
    if !problems.is_empty() {
        status["evaluationError"] = problems.join("; ").into();
    }
    status
}

/// Returns the node that the field selector is limited to, and a sentence for each selector of
/// which a part cannot be read. Without that part the review asks for more. Authorization looks at
/// nothing else in selectors.
fn selectors(resource: &Value) -> (Option<String>, Vec<String>) {
    let (of_fields, of_labels) = (at(resource, "fieldSelector"), at(resource, "labelSelector"));
    let mut problems = vec![];
    let mut ignored = |selector: &str, read: usize| {
        let part = if read > 0 { "partially " } else { "" };
        problems.push(format!("{RESOURCE}.{selector} {part}ignored due to parse error"));
    };
    let is_read = |requirement: &&Value| {
        let values = list(requirement, "values").len();
        matches!(text(requirement, "operator"), "In" | "NotIn") && values == 1
    };
    let all = list(of_fields, "requirements");
    let read: Vec<&Value> = all.iter().filter(is_read).collect();
    if read.len() < all.len() || !fields::is_readable(text(of_fields, "rawSelector")) {
        ignored("fieldSelector", read.len());
    }
    let all = list(of_labels, "requirements");
    let known = |r: &&Value| matches!(text(r, "operator"), "In" | "NotIn" | "Exists" | "DoesNotExist");
    let count = all.iter().filter(known).count();
    if count < all.len() || labels::Selector::parse(text(of_labels, "rawSelector")).is_err() {
        ignored("labelSelector", count);
    }
    let is_node = |r: &&&Value| text(r, "key") == "spec.nodeName" && text(r, "operator") == "In";
    let node = read.iter().find(is_node).and_then(|r| list(r, "values").first()?.as_str());
    let node = match node {
        Some(node) => Some(node.to_string()),
        None => fields::required(text(of_fields, "rawSelector"), "spec.nodeName"),
    };
    (node, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_selector_limits_a_review_to_a_node() {
        let one = |key: &str, operator: &str, values: Value| json!({"key": key, "operator": operator, "values": values});
        let of = |requirements: Value| selectors(&json!({"fieldSelector": {"requirements": requirements}}));
        let node = one("spec.nodeName", "In", json!(["n1"]));
        assert_eq!(
            of(json!([one("status.phase", "NotIn", json!(["x"])), node])),
            (Some("n1".into()), vec![])
        );
        let part = "spec.resourceAttributes.fieldSelector partially ignored due to parse error".to_string();
        assert_eq!(of(json!([node, one("a", "Near", json!([]))])), (Some("n1".into()), vec![part]));
        let whole = "spec.resourceAttributes.fieldSelector ignored due to parse error".to_string();
        let two = one("spec.nodeName", "In", json!(["n1", "n2"]));
        assert_eq!(of(json!([two])), (None, vec![whole.clone()]));
        assert_eq!(of(json!([one("spec.nodeName", "NotIn", json!(["n1"]))])), (None, vec![]));
        let raw = |raw: &str| selectors(&json!({"fieldSelector": {"rawSelector": raw}}));
        assert_eq!(raw("status.phase!=x,spec.nodeName=n1"), (Some("n1".into()), vec![]));
        assert_eq!(raw("nothing"), (None, vec![whole]));
        let odd = json!({"labelSelector": {"requirements": [one("a", "Near", json!([]))]}});
        let labels = "spec.resourceAttributes.labelSelector ignored due to parse error".to_string();
        assert_eq!(selectors(&odd), (None, vec![labels]));
    }

    #[test]
    fn a_selector_is_raw_or_taken_apart() {
        let problems = |selector: Value, of_labels| {
            let mut errors = Errors::default();
            check_selector(&selector, of_labels, "s", &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let good = json!({"requirements": [{"key": "a", "operator": "Near"}]});
        assert_eq!(problems(good.clone(), false), [""; 0]);
        assert_eq!(problems(json!({"rawSelector": "a=b"}), true), [""; 0]);
        let mut both = good;
        both["rawSelector"] = "a".into();
        let twice = "s.rawSelector: Invalid value: \"a\": may not specified at the same time as requirements";
        assert_eq!(problems(both, false), [twice]);
        let neither =
            "s.requirements: Required value: when s is specified, requirements or rawSelector is required";
        assert_eq!(problems(json!({}), true), [neither]);
        let wrong = json!({"requirements": [{"operator": "In"}, {"key": "a", "operator": "Exists", "values": ["-"]}]});
        let in_common = [
            "s.requirements[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            "s.requirements[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ];
        let of_fields = problems(wrong.clone(), false);
        assert_eq!(of_fields[0], "s.requirements[0].key: Required value: must be specified");
        assert_eq!(of_fields[1..], in_common);
        let of_labels = problems(wrong, true);
        assert!(in_common.iter().all(|line| of_labels.contains(&line.to_string())), "{of_labels:?}");
        assert!(of_labels.iter().any(|line| line.starts_with("s.requirements[0].key: Invalid value")));
        assert!(of_labels.iter().any(|line| line.starts_with("s.requirements[1].values[0]: Invalid value")));
    }
}
