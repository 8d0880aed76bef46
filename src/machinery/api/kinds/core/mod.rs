//! The core group, whose name is empty: `/api/v1`.

mod data;
pub(crate) mod volume_sources;
mod volumes;

kinds! {
    mod binding: k8s_openapi::api::core::v1::Binding;
    mod config_map: k8s_openapi::api::core::v1::ConfigMap;
    mod endpoints: k8s_openapi::api::core::v1::Endpoints;
    pub(super) mod event: k8s_openapi::api::core::v1::Event;
    mod limit_range: k8s_openapi::api::core::v1::LimitRange;
    mod namespace: k8s_openapi::api::core::v1::Namespace;
    mod node: k8s_openapi::api::core::v1::Node;
    pub(crate) mod persistent_volume_claim: k8s_openapi::api::core::v1::PersistentVolumeClaim;
    pub(crate) mod persistent_volume: k8s_openapi::api::core::v1::PersistentVolume;
    pub mod pod: k8s_openapi::api::core::v1::Pod;
    mod replication_controller: k8s_openapi::api::core::v1::ReplicationController;
    pub(crate) mod resource_quota: k8s_openapi::api::core::v1::ResourceQuota;
    mod secret: k8s_openapi::api::core::v1::Secret;
    mod service_account: k8s_openapi::api::core::v1::ServiceAccount;
    pub mod service: k8s_openapi::api::core::v1::Service;
}
