//! The group `networking.k8s.io`.

mod ingress;
mod ingress_class;
mod network_policy;

use crate::kinds::entry::Kind;

/// The kinds of this group, in the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![ingress_class::kind(), ingress::kind(), network_policy::kind()]
}
