//! Reviews: questions about who one is and what one may. Answered, never kept.

use super::State;
use super::authn;
use super::authz::Attributes;
use super::context::Context;
use super::decode;
use super::http::{Answer, json};
use super::user::{AUTHENTICATED, MASTERS, User};
use crate::api::Status;
use crate::api::kinds::Kind;
use crate::api::value::{self, at, list, text};
use crate::clock;
use bytes::Bytes;
use serde_json::{Value, json as object};

/// Answers the review posted as `kind`.
pub fn review(state: &State, ctx: &Context, kind: &Kind, body: &Bytes) -> Result<Answer, Status> {
    let mut review = decode::object(ctx, kind, body)?;
    let status = match kind.kind {
        "SelfSubjectReview" => {
            value::put(&mut review, "metadata.creationTimestamp", clock::rfc3339(clock::now()));
            object!({"userInfo": ctx.user.info()})
        }
        "TokenReview" => token(state, &review),
        "SelfSubjectAccessReview" => access(state, &ctx.user, at(&review, "spec"))?,
        "SelfSubjectRulesReview" => rules(state, &ctx.user, text(&review, "spec.namespace"))?,
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            let spec = at(&review, "spec");
            if text(spec, "user").is_empty() && list(spec, "groups").is_empty() {
                return Err(Status::bad_request("at least one of user or group must be specified"));
            }
            if kind.namespaced && text(spec, "resourceAttributes.namespace") != ctx.info.namespace {
                return Err(Status::bad_request(
                    "spec.resourceAttributes.namespace must match metadata.namespace",
                ));
            }
            let groups = list(spec, "groups").iter().filter_map(Value::as_str).map(String::from).collect();
            let user = User { name: text(spec, "user").into(), groups, ..User::default() };
            access(state, &user, spec)?
        }
        other => return Err(Status::bad_request(format!("{other} is not a review"))),
    };
    value::put(&mut review, "status", status);
    Ok(json(201, &review))
}

fn token(state: &State, review: &Value) -> Value {
    let wanted: Vec<String> =
        list(review, "spec.audiences").iter().filter_map(Value::as_str).map(String::from).collect();
    match authn::service_account(state, text(review, "spec.token"), &wanted) {
        Ok((user, audiences)) => {
            object!({"authenticated": true, "user": user.info(), "audiences": audiences})
        }
        Err(error) => object!({"user": {}, "error": error}),
    }
}

fn access(state: &State, user: &User, spec: &Value) -> Result<Value, Status> {
    let (resource, path) = (at(spec, "resourceAttributes"), at(spec, "nonResourceAttributes"));
    let attributes = match (resource.is_object(), path.is_object()) {
        (true, false) => Attributes {
            verb: text(resource, "verb"),
            group: text(resource, "group"),
            resource: text(resource, "resource"),
            subresource: text(resource, "subresource"),
            namespace: text(resource, "namespace"),
            name: text(resource, "name"),
            on_node: "",
            path: "",
            is_resource: true,
        },
        (false, true) => Attributes {
            verb: text(path, "verb"),
            group: "",
            resource: "",
            subresource: "",
            namespace: "",
            name: "",
            on_node: "",
            path: text(path, "path"),
            is_resource: false,
        },
        _ => {
            return Err(Status::bad_request(
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            ));
        }
    };
    Ok(match state.authorize(user, &attributes) {
        Ok(()) => object!({"allowed": true}),
        Err(reason) if reason.is_empty() => object!({"allowed": false}),
        Err(reason) => object!({"allowed": false, "reason": reason}),
    })
}

fn rules(state: &State, user: &User, namespace: &str) -> Result<Value, Status> {
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (mut resources, mut paths) = (vec![], vec![]);
    if user.is_in(MASTERS) {
        resources.push(object!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        paths.push(object!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    state.each_rule(user, namespace, |rule| {
        if list(rule, "nonResourceURLs").is_empty() {
            let mut entry = object!({"verbs": at(rule, "verbs"), "apiGroups": at(rule, "apiGroups"), "resources": at(rule, "resources")});
            if !list(rule, "resourceNames").is_empty() {
                entry["resourceNames"] = at(rule, "resourceNames").clone();
            }
            resources.push(entry);
        } else {
            paths.push(object!({"verbs": at(rule, "verbs"), "nonResourceURLs": at(rule, "nonResourceURLs")}));
        }
    });
    let incomplete = user.node().is_some() && user.is_in(AUTHENTICATED);
    Ok(object!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": incomplete}))
}
