//! The group `policy`.

mod pod_disruption_budget;

use crate::kinds::entry::Kind;

/// The kinds of this group, in the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![pod_disruption_budget::kind()]
}
