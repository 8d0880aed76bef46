//! The group `autoscaling`.

kinds! {
    mod horizontal_pod_autoscaler: k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
    mod horizontal_pod_autoscaler_v1: k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
}
