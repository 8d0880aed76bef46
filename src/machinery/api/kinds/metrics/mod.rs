//! The group `metrics.k8s.io`: what nodes and pods use now. Its objects are never stored. Shape:
//! `k8s.io/metrics/pkg/apis/metrics/v1beta1`; `scripts/schemas` has its schema.

mod usage;

kinds! {
    mod node_metrics;
    mod pod_metrics;
}
