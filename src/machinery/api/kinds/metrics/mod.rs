//! The group `metrics.k8s.io`: what nodes and pods use now. Its objects are never stored. Shape:
//! `k8s.io/metrics/pkg/apis/metrics/v1beta1`; `scripts/schemas` has its schema.

mod node_metrics;
mod pod_metrics;
mod usage;

use crate::kinds::entry::Kind;

/// The kinds of this group, in the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![node_metrics::kind(), pod_metrics::kind()]
}
