//! The group `storage.k8s.io`.

kinds! {
    mod storage_class: k8s_openapi::api::storage::v1::StorageClass;
}
