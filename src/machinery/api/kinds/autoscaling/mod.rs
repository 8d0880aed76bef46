//! The group `autoscaling`.

mod horizontal_pod_autoscaler;

use crate::kinds::entry::Kind;

/// The kinds of this group, in the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![horizontal_pod_autoscaler::kind(), horizontal_pod_autoscaler::kind_v1()]
}
