//! The group `scheduling.k8s.io`.

mod priority_class;

use crate::kinds::entry::Kind;

/// The kinds of this group, in the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![priority_class::kind()]
}
