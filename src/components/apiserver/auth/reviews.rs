//! Reviews: questions of a client about a token, its user, or a user's rights. They are answered
//! and never stored.

use crate::admission;
use crate::auth::access_reviews;
use crate::auth::authn;
use crate::auth::rbac;
use crate::auth::role_bindings::ROLES_MAX;
use crate::auth::user::{MASTERS, User};
use crate::flowcontrol::compute::Pace;
use crate::request::context::Context;
use crate::request::decode;
use crate::request::http::{Answer, json};
use crate::request::negotiate;
use crate::state::State;
use api::Status;
use api::kinds::Kind;
use api::value::{self, at, list, text};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::HashSet;

/// Answers the review posted as `kind`.
///
/// # Errors
/// 400 for a review that cannot be read, 403 for a kubelet whose name says no node, 422 for a
/// review that is not valid.
pub(crate) async fn review(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    body: &Bytes,
) -> Result<Answer, Status> {
    let form = negotiate::form_of_review(ctx.accept(), &ctx.query)?;
    let mut review = decode::object(ctx, kind, body)?;
    admission::check_review(&ctx.user, kind, &review)?;
    // What only a server sets is dropped from every new object (`WipeObjectMetaSystemFields`).
    for own in ["creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "selfLink", "uid"] {
        value::remove(&mut review, &format!("metadata.{own}"));
    }
    if !kind.namespaced {
        value::remove(&mut review, "metadata.namespace");
    }
    let status = match kind.kind {
        "SelfSubjectReview" => {
            value::put(&mut review, "metadata", json!({"creationTimestamp": clock::rfc3339(clock::now())}));
            json!({"userInfo": ctx.user.info()})
        }
        "TokenReview" => token(state, &review).await?,
        "SelfSubjectAccessReview" | "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            access_reviews::access(state, ctx, kind, &review)?
        }
        "SelfSubjectRulesReview" => {
            let rules = rules(state, &ctx.user, text(&review, "spec.namespace")).await?;
            // The answer of upstream is a new object: it does not repeat what was asked.
            for field in ["metadata", "spec"] {
                value::put(&mut review, field, json!({}));
            }
            rules
        }
        other => return Err(Status::bad_request(format!("{other} is not a review"))),
    };
    value::put(&mut review, "status", status);
    Ok(json(201, &negotiate::one_value(kind, form, &review)))
}

async fn token(state: &State, review: &Value) -> Result<Value, Status> {
    if text(review, "spec.token").is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let wanted: Vec<String> =
        list(review, "spec.audiences").iter().filter_map(Value::as_str).map(String::from).collect();
    match authn::service_account(state, text(review, "spec.token"), &wanted).await {
        Ok((user, audiences)) => {
            Ok(json!({"authenticated": true, "user": user.info(), "audiences": audiences}))
        }
        Err(error) => Ok(json!({"user": {}, "error": error})),
    }
}

/// Rules that one answer lists, at most. The bootstrap roles of one user have some dozens.
const RULES_MAX: usize = 10_000;
/// Bytes of these rules, at most.
const RULES_BYTES: usize = 1 << 20;

/// The rules of one user as the answer lists them: each once, up to the bounds.
#[derive(Default)]
struct RuleList<'a> {
    seen: HashSet<&'a Value>,
    bytes: usize,
    resources: Vec<Value>,
    paths: Vec<Value>,
}

impl<'a> RuleList<'a> {
    /// Adds a rule; false if there is no room for it.
    fn add(&mut self, rule: &'a Value) -> bool {
        if !self.seen.insert(rule) {
            return true;
        }
        let part = |field: &str| at(rule, field).clone();
        let of_paths = !list(rule, "nonResourceURLs").is_empty();
        let listed = match of_paths {
            true => json!({"verbs": part("verbs"), "nonResourceURLs": part("nonResourceURLs")}),
            false => {
                let mut listed = json!({"verbs": part("verbs"), "apiGroups": part("apiGroups"), "resources": part("resources")});
                if !list(rule, "resourceNames").is_empty() {
                    listed["resourceNames"] = part("resourceNames");
                }
                listed
            }
        };
        self.bytes += listed.to_string().len();
        if self.seen.len() > RULES_MAX || self.bytes > RULES_BYTES {
            return false;
        }
        if of_paths { &mut self.paths } else { &mut self.resources }.push(listed);
        true
    }
}

async fn rules(state: &State, user: &User, namespace: &str) -> Result<Value, Status> {
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let everything = [
        json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
        json!({"verbs": ["*"], "nonResourceURLs": ["*"]}),
    ];
    let roles: Vec<_> = state.roles(user, namespace).collect();
    let own = everything.iter().filter(|_| user.is_in(MASTERS));
    let (mut listed, mut pace, mut cut) = (RuleList::default(), Pace::default(), roles.len() == ROLES_MAX);
    for rule in own.chain(roles.iter().flat_map(|role| rbac::rules(role))) {
        let before = listed.bytes;
        if !listed.add(rule) {
            cut = true;
            break;
        }
        pace.step(listed.bytes - before).await;
    }
    // A node may also read what its pods refer to, which no rule says.
    let is_node = user.node().is_some();
    let RuleList { resources, paths, .. } = listed;
    let mut status =
        json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": cut || is_node});
    let mut problems = vec![];
    if is_node {
        problems.push("node authorizer does not support user rule resolution".to_string());
    }
    problems.extend(rbac::not_found(&state.missing_roles(user, namespace)));
    if cut {
        let most = RULES_BYTES >> 10;
        problems.push(format!("the rules of {:?} are more than {RULES_MAX} or {most} KiB, or those of {ROLES_MAX} roles; the rest is not listed, ask with a SelfSubjectAccessReview", user.name));
    }
    if !problems.is_empty() {
        status["evaluationError"] = problems.join(", ").into();
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kubectl auth can-i --list` prints why the list of a node may be incomplete; a role that is
    /// bound and does not exist is named.
    #[tokio::test]
    async fn the_rules_of_a_node_are_incomplete_and_the_review_says_why() {
        let api = crate::testing::Api::bare().await;
        let why = "node authorizer does not support user rule resolution";
        let node = User::new("system:node:n1", &[crate::auth::user::NODES]);
        let status = rules(api.state(), &node, "default").await.unwrap();
        assert_eq!((&status["incomplete"], &status["evaluationError"]), (&json!(true), &json!(why)));
        let status = rules(api.state(), &User::new("jane", &[]), "default").await.unwrap();
        assert_eq!((&status["incomplete"], status.get("evaluationError")), (&json!(false), None));
        let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
        let (role, jane) =
            (json!({"kind": "Role", "name": "none"}), json!([{"kind": "User", "name": "jane"}]));
        let binding = json!({"metadata": {"name": "b"}, "roleRef": role, "subjects": jane});
        api.made(bindings, binding).await;
        let status = rules(api.state(), &User::new("jane", &[]), "default").await.unwrap();
        let why = "role.rbac.authorization.k8s.io \"none\" not found";
        assert_eq!((&status["incomplete"], &status["evaluationError"]), (&json!(false), &json!(why)));
    }

    #[tokio::test]
    async fn an_answered_review_has_no_metadata_of_its_client() {
        let api = crate::testing::Api::bare().await;
        let all = "/apis/authorization.k8s.io/v1";
        let review = json!({"metadata": {"name": "x"}, "spec": {"namespace": "default"}});
        let rules = api.made(&format!("{all}/selfsubjectrulesreviews"), review).await;
        assert_eq!((&rules["metadata"], &rules["spec"]), (&json!({}), &json!({})), "{rules}");
        let metadata = json!({"uid": "x", "namespace": "y", "creationTimestamp": "2001-01-01T00:00:00Z"});
        let review =
            json!({"metadata": metadata, "spec": {"nonResourceAttributes": {"verb": "get", "path": "/x"}}});
        let access = api.made(&format!("{all}/selfsubjectaccessreviews"), review).await;
        assert_eq!((&access["status"]["allowed"], access["metadata"].get("uid")), (&json!(true), None));
    }

    #[test]
    fn rules_are_listed_once_and_up_to_a_bound() {
        let rule = |name: String| json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": [name]});
        let same = vec![rule("a".into()); 2 * RULES_MAX];
        let mut listed = RuleList::default();
        assert!(same.iter().all(|rule| listed.add(rule)));
        assert_eq!((listed.resources.len(), listed.resources[0].clone()), (1, rule("a".into())));
        let many: Vec<Value> = (0..=RULES_MAX).map(|n| rule(n.to_string())).collect();
        let mut listed = RuleList::default();
        assert_eq!(many.iter().filter(|rule| listed.add(rule)).count(), RULES_MAX);
        let large: Vec<Value> = (0..5).map(|n| rule(n.to_string().repeat(RULES_BYTES / 4))).collect();
        let mut listed = RuleList::default();
        assert_eq!(large.iter().filter(|rule| listed.add(rule)).count(), 3);
    }
}
