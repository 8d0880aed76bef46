//! The group `coordination.k8s.io`.

mod lease;

use crate::kinds::entry::Kind;

/// In the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![lease::kind()]
}
