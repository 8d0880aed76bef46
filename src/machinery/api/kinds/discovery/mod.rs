//! The group `discovery.k8s.io`.

kinds! {
    mod endpoint_slice: k8s_openapi::api::discovery::v1::EndpointSlice;
}
