//! The group `authentication.k8s.io`: kinds that are posted and answered, never stored.

mod self_subject_review;
mod token_review;

use crate::kinds::entry::Kind;

/// The kinds of this group, in the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![self_subject_review::kind(), token_review::kind()]
}
