//! The group `storage.k8s.io`.

mod storage_class;

use crate::kinds::entry::Kind;

/// The kinds of this group, in the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![storage_class::kind()]
}
