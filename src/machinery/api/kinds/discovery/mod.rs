//! The group `discovery.k8s.io`.

mod endpoint_slice;

use crate::kinds::entry::Kind;

/// The kinds of this group, in the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![endpoint_slice::kind()]
}
