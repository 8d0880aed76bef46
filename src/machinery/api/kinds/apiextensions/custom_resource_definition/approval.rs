//! What a definition in a group of Kubernetes says of the approval of its API.
//!
//! `k8s.io`, `kubernetes.io` and the groups below them belong to the project. A definition there
//! has an annotation with the URL of the review of its API, or with the reason why there was none.

use super::set_condition;
use crate::errors::Errors;
use crate::gostr::quote;
use crate::meta;
use crate::value::text;
use serde_json::Value;

/// The annotation that a definition in a group of Kubernetes has to have.
const APPROVAL: &str = "api-approved.kubernetes.io";
/// The condition that tells whether the annotation names an approval.
const CONFORMS: &str = "KubernetesAPIApprovalPolicyConformant";

/// What the annotation says (`GetAPIApprovalState` upstream).
#[derive(PartialEq, Eq)]
pub(super) enum Approval {
    Missing,
    /// It says that there is none.
    Bypassed,
    Given,
    Invalid,
}

impl Approval {
    pub(super) fn of(definition: &Value) -> Approval {
        match annotation(definition) {
            "" => Approval::Missing,
            text if text.starts_with("unapproved") => Approval::Bypassed,
            text if names_a_host(text) => Approval::Given,
            _ => Approval::Invalid,
        }
    }

    /// Returns the reason and the message of the condition. `annotation`: what [`APPROVAL`] says.
    fn reason_and_message(&self, annotation: &str) -> (&'static str, String) {
        const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
        let must = format!("protected groups must have approval annotation {APPROVAL:?}");
        match self {
            Approval::Missing => ("MissingAnnotation", format!("{must}, {SEE}")),
            Approval::Invalid => {
                let form = "with either a URL or a reason starting with \"unapproved\"";
                ("InvalidAnnotation", format!("{must} {form}, {SEE}"))
            }
            Approval::Bypassed => ("UnapprovedAnnotation", format!("not approved: {}", quote(annotation))),
            Approval::Given => ("ApprovedAnnotation", format!("approved in {annotation}")),
        }
    }
}

fn annotation(definition: &Value) -> &str {
    meta::annotation(definition, APPROVAL).unwrap_or("")
}

fn is_protected(definition: &Value) -> bool {
    let group = text(definition, "spec.group");
    ["k8s.io", "kubernetes.io"].iter().any(|g| group == *g || group.ends_with(&format!(".{g}")))
}

/// Checks that a definition in a group of Kubernetes has the annotation, in one of its two forms.
pub(super) fn check(object: &Value, errors: &mut Errors) {
    if !is_protected(object) {
        return;
    }
    let (field, approval) = (format!("metadata.annotations[{APPROVAL}]"), Approval::of(object));
    let (_, why) = approval.reason_and_message(annotation(object));
    match approval {
        Approval::Missing => errors.required(field, &why),
        Approval::Invalid => errors.invalid_text(field, annotation(object), &why),
        Approval::Bypassed | Approval::Given => {}
    }
}

/// Sets the condition of a definition in a group of Kubernetes; others have none. Upstream a
/// controller of its own does (`KubernetesAPIApprovalPolicyConformantConditionController`).
///
/// Example: `kubectl describe crd gateways.gateway.networking.k8s.io` shows the condition with
/// `approved in https://github.com/kubernetes-sigs/gateway-api/pull/3328`.
pub(super) fn set_conformance(definition: &mut Value) {
    if !is_protected(definition) {
        return;
    }
    let approval = Approval::of(definition);
    let (reason, why) = approval.reason_and_message(annotation(definition));
    set_condition(definition, CONFORMS, approval == Approval::Given, reason, &why);
}

/// Returns whether a text is a URL with a host: `https://example.com/pull/1`.
fn names_a_host(text: &str) -> bool {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    text.split_once("://").is_some_and(|(scheme, rest)| {
        let host = rest.split(['/', '?']).next().unwrap_or("");
        is_scheme(scheme) && !host.is_empty() && !text.contains(|c: char| c.is_ascii_control() || c == ' ')
    })
}

#[cfg(test)]
mod tests {
    use super::super::{accept_names, kind, validate_update};
    use super::*;
    use crate::value::list;
    use serde_json::json;

    fn in_group(group: &str, approved: &str) -> Value {
        json!({"metadata": {"annotations": {APPROVAL: approved}}, "spec": {"group": group}})
    }

    /// As `validateAPIApproval` upstream, which compares what the annotation means.
    #[test]
    fn an_update_may_leave_an_approval_as_wrong_as_it_is() {
        let count_errors = |new: &str, old: &str| {
            let mut errors = Errors::default();
            validate_update(&in_group("x.k8s.io", new), &in_group("x.k8s.io", old), &mut errors);
            errors.iter().count()
        };
        for (new, old, count) in
            [("", "", 0), ("yes", "no", 0), ("yes", "", 1), ("", "no", 1), ("", "https://a/1", 1)]
        {
            assert_eq!(count_errors(new, old), count, "{old:?} to {new:?}");
        }
        let mut errors = Errors::default();
        (kind().validate_create)(&in_group("example.com", ""), &mut errors);
        assert!(errors.is_empty(), "another group needs none");
    }

    #[test]
    fn an_approval_is_a_url_or_says_that_there_is_none() {
        let count_errors = |approved: &str| {
            let mut errors = Errors::default();
            check(&in_group("x.k8s.io", approved), &mut errors);
            errors.iter().count()
        };
        for good in ["https://github.com/kubernetes/kubernetes/pull/1", "ftp://host", "unapproved, a test"] {
            assert_eq!(count_errors(good), 0, "{good}");
        }
        for wrong in ["", "https://", "https:///pull/1", "github.com/1", "yes"] {
            assert_eq!(count_errors(wrong), 1, "{wrong}");
        }
    }

    /// As `calculateCondition` upstream.
    #[test]
    fn a_definition_in_a_group_of_kubernetes_tells_of_its_approval() {
        let condition_of = |group: &str, approved: &str| {
            let named = accept_names(&in_group(group, approved), std::iter::empty(), &[]).expect("a change");
            let conforms = list(&named, "status.conditions").iter().find(|c| text(c, "type") == CONFORMS);
            conforms.map(|c| ["status", "reason", "message"].map(|field| text(c, field).to_string()))
        };
        let must = "protected groups must have approval annotation \"api-approved.kubernetes.io\"";
        let see = "see https://github.com/kubernetes/enhancements/pull/1111";
        let form = "with either a URL or a reason starting with \"unapproved\"";
        let (invalid, missing) = (format!("{must} {form}, {see}"), format!("{must}, {see}"));
        for (approved, want) in [
            ("https://a/1", ["True", "ApprovedAnnotation", "approved in https://a/1"]),
            ("unapproved, a test", ["False", "UnapprovedAnnotation", "not approved: \"unapproved, a test\""]),
            ("yes", ["False", "InvalidAnnotation", invalid.as_str()]),
            ("", ["False", "MissingAnnotation", missing.as_str()]),
        ] {
            for group in ["k8s.io", "x.k8s.io", "x.kubernetes.io"] {
                assert_eq!(
                    condition_of(group, approved),
                    Some(want.map(String::from)),
                    "{group} {approved:?}"
                );
            }
        }
        assert_eq!(condition_of("example.com", "https://a/1"), None);
    }
}
