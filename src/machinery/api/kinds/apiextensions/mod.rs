//! The group `apiextensions.k8s.io`.

pub mod custom_resource_definition;

use crate::kinds::entry::Kind;

/// The kinds of this group, in the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![custom_resource_definition::kind()]
}
