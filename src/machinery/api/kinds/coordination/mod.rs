//! The group `coordination.k8s.io`.

kinds! {
    mod lease: k8s_openapi::api::coordination::v1::Lease;
}
