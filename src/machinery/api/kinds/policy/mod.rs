//! The group `policy`.

kinds! {
    mod pod_disruption_budget: k8s_openapi::api::policy::v1::PodDisruptionBudget;
}
