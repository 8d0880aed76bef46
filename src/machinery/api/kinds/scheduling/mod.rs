//! The group `scheduling.k8s.io`.

kinds! {
    mod priority_class: k8s_openapi::api::scheduling::v1::PriorityClass;
}
