//! The group `authorization.k8s.io`: kinds that are posted and answered, never stored.

mod local_subject_access_review;
mod self_subject_access_review;
mod self_subject_rules_review;
mod subject_access_review;

use crate::kinds::entry::Kind;

/// The kinds of this group, in the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![
        local_subject_access_review::kind(),
        self_subject_access_review::kind(),
        self_subject_rules_review::kind(),
        subject_access_review::kind(),
    ]
}
