//! What one pass over a namespace came to, and how the namespace's conditions say it.

use clock::Timestamp;
use k8s_openapi::api::core::v1::NamespaceCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;

/// Errors that a condition names; more are only counted.
const ERRORS_NAMED: usize = 3;

/// The result of one pass over a namespace.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Pass {
    /// The reason why the kinds could not be listed; `None`: they were.
    pub(super) undiscovered: Option<String>,
    /// Errors of objects that could not be deleted and of kinds that could not be listed.
    pub(super) errors: Vec<String>,
    /// Objects that are still there, by `resource.group`.
    pub(super) left: BTreeMap<String, usize>,
    /// Finalizers that they carry, with the number of objects.
    pub(super) finalizers: BTreeMap<String, usize>,
    /// The namespace is not being deleted any more, so the pass has ended early.
    pub(super) is_back: bool,
}

impl Pass {
    pub(super) fn is_empty(&self) -> bool {
        *self == Pass::default()
    }

    pub(super) fn errors(&self) -> String {
        let more = self.errors.len().saturating_sub(ERRORS_NAMED);
        let mut text = self.errors.iter().take(ERRORS_NAMED).cloned().collect::<Vec<_>>().join("; ");
        if more > 0 {
            text += &format!("; and {more} more");
        }
        text
    }
}

/// Pure: the conditions after a pass. A condition's time changes only with its status.
pub(super) fn conditions(
    before: &[NamespaceCondition],
    pass: &Pass,
    now: Timestamp,
) -> Vec<NamespaceCondition> {
    let list = |counts: &BTreeMap<String, usize>, has: &str| {
        let all: Vec<String> =
            counts.iter().map(|(what, n)| format!("{what} {has} {n} resource instances")).collect();
        all.join(", ")
    };
    let failed = |text: String| (!text.is_empty()).then_some(text);
    let rows: [(&str, &str, &str, &str, Option<String>); 5] = [
        (
            "NamespaceDeletionDiscoveryFailure",
            "ResourcesDiscovered",
            "All resources successfully discovered",
            "DiscoveryFailed",
            pass.undiscovered
                .as_ref()
                .map(|why| format!("Discovery failed for some groups, 1 failing: {why}")),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
            "GroupVersionParsingFailed",
            None,
        ),
        (
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
            "ContentDeletionFailed",
            failed(pass.errors()).map(|why| {
                format!("Failed to delete all resource types, {} remaining: {why}", pass.errors.len())
            }),
        ),
        (
            "NamespaceContentRemaining",
            "ContentRemoved",
            "All content successfully removed",
            "SomeResourcesRemain",
            failed(list(&pass.left, "has")).map(|all| format!("Some resources are remaining: {all}")),
        ),
        (
            "NamespaceFinalizersRemaining",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
            "SomeFinalizersRemain",
            failed(list(&pass.finalizers, "in"))
                .map(|all| format!("Some content in the namespace has finalizers remaining: {all}")),
        ),
    ];
    let mut all: Vec<NamespaceCondition> =
        before.iter().filter(|c| rows.iter().all(|(kind, ..)| c.type_ != *kind)).cloned().collect();
    for (kind, fine, all_well, bad, wrong) in rows {
        let (status, reason) = if wrong.is_some() { ("True", bad) } else { ("False", fine) };
        let old = before.iter().find(|c| c.type_ == kind && c.status == status);
        all.push(NamespaceCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(wrong.unwrap_or_else(|| all_well.into())),
            last_transition_time: old.and_then(|c| c.last_transition_time.clone()).or(Some(Time(now))),
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_as_long_as_its_status() {
        let (first, later) = (Timestamp::UNIX_EPOCH, "2026-01-01T00:00:00Z".parse().unwrap());
        let mut pass = Pass { left: [("pods.".to_string(), 2)].into(), ..Pass::default() };
        let before = conditions(&[], &pass, first);
        pass.left.insert("pods.".into(), 1);
        let after = conditions(&before, &pass, later);
        assert!(after.iter().all(|c| c.last_transition_time.as_ref().unwrap().0 == first), "{after:?}");
        let done = conditions(&after, &Pass::default(), later);
        let remaining = done.iter().find(|c| c.type_ == "NamespaceContentRemaining").unwrap();
        assert_eq!(
            (remaining.status.as_str(), remaining.last_transition_time.as_ref().unwrap().0),
            ("False", later)
        );
    }
}
