//! The group `events.k8s.io`.

kinds! {
    mod event: k8s_openapi::api::events::v1::Event;
}
