//! The group `apiextensions.k8s.io`.

pub mod custom_resource_definition;

use super::Kind;

/// In the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![custom_resource_definition::kind()]
}
