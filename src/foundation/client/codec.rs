//! Reading and writing the types of Kubernetes.

use super::item::Item;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DynamicObject, PartialObjectMeta, TypeMeta};
use serde::de::Deserialize;
use serde::ser::Error as _;
use serde_json::{Result, Value};
use std::marker::PhantomData;

/// A type that is read from JSON, and written as JSON.
///
/// serde does both with generic functions, which the compiler makes anew in each crate that uses
/// them: a Pod alone needs thousands of them. The functions here are not generic, so they are
/// compiled once, in this room. A type that is missing is added to the list in `codec.rs`.
pub trait Codec: Sized {
    /// Reads a value. An unknown field is ignored.
    ///
    /// # Errors
    /// The value does not have this type's shape; the error names the field's type.
    fn decode(value: &Value) -> Result<Self>;

    /// Writes a value. Fields that are not set are left out.
    ///
    /// # Errors
    /// None for a type of Kubernetes. An [`Item`] that could not be decoded is not written.
    fn encode(&self) -> Result<Value>;
}

/// Implements [`Codec`] for types that serde reads and writes.
macro_rules! codec {
    ($($type:ty),+ $(,)?) => {$(
        impl crate::codec::Codec for $type {
            fn decode(value: &serde_json::Value) -> serde_json::Result<Self> {
                serde::Deserialize::deserialize(value)
            }
            fn encode(&self) -> serde_json::Result<serde_json::Value> {
                serde_json::to_value(self)
            }
        }
    )+};
}

mod kinds {
    use k8s_openapi::api::apps::v1::*;
    use k8s_openapi::api::authentication::v1::*;
    use k8s_openapi::api::authorization::v1::*;
    use k8s_openapi::api::autoscaling::v1::Scale;
    use k8s_openapi::api::autoscaling::v2::*;
    use k8s_openapi::api::batch::v1::*;
    use k8s_openapi::api::certificates::v1::*;
    use k8s_openapi::api::coordination::v1::*;
    use k8s_openapi::api::core::v1::*;
    use k8s_openapi::api::discovery::v1::*;
    use k8s_openapi::api::policy::v1::*;
    use k8s_openapi::api::rbac::v1::*;
    use k8s_openapi::api::storage::v1::StorageClass;
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

    codec!(
        CertificateSigningRequest,
        ClusterRole,
        ConfigMap,
        ControllerRevision,
        CronJob,
        CustomResourceDefinition,
        DaemonSet,
        Deployment,
        EndpointSlice,
        Endpoints,
        Event,
        HorizontalPodAutoscaler,
        Job,
        Lease,
        Namespace,
        Node,
        PersistentVolume,
        PersistentVolumeClaim,
        Pod,
        PodDisruptionBudget,
        ReplicaSet,
        ReplicationController,
        ResourceQuota,
        Secret,
        Service,
        ServiceAccount,
        StatefulSet,
        StorageClass,
        SubjectAccessReview,
        TokenRequest,
    );
    // Parts of objects, and what subresources take.
    codec!(Binding, Container, EphemeralContainer, LabelSelector, PodTemplateSpec, Scale);
    codec!(
        DaemonSetStatus,
        DeploymentStatus,
        HorizontalPodAutoscalerStatus,
        NamespaceStatus,
        NodeStatus,
        PersistentVolumeClaimStatus,
        PersistentVolumeStatus,
        PodDisruptionBudgetStatus,
        PodStatus,
        ReplicaSetStatus,
        ReplicationControllerStatus,
        StatefulSetStatus,
    );
}

codec!(DynamicObject, ObjectMeta);

impl<K> Codec for PartialObjectMeta<K> {
    fn decode(value: &Value) -> Result<Self> {
        // What is no object fails as metadata would.
        let found = if value.is_object() { value.get("metadata") } else { Some(value) };
        let metadata = found.map(ObjectMeta::decode).transpose()?.unwrap_or_default();
        Ok(PartialObjectMeta { types: TypeMeta::deserialize(value).ok(), metadata, _phantom: PhantomData })
    }

    fn encode(&self) -> Result<Value> {
        let mut value = self.types.as_ref().map(serde_json::to_value).transpose()?.unwrap_or_default();
        value["metadata"] = self.metadata.encode()?;
        Ok(value)
    }
}

/// One that could not be decoded is not written: its spec would be lost.
impl<K: Codec> Codec for Item<K> {
    fn decode(value: &Value) -> Result<Self> {
        Ok(Item::read(value))
    }

    fn encode(&self) -> Result<Value> {
        match self {
            Item::Decoded(object) => object.encode(),
            Item::Undecodable(found) => Err(serde_json::Error::custom(format!(
                "{}: the object could not be decoded, and would lose fields: {}",
                found.key(),
                found.reason()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    #[test]
    fn metadata_alone_is_read_with_and_without_its_kind() {
        let metadata = json!({"name": "a", "uid": "1"});
        let of_list = json!({"metadata": metadata});
        let mut whole = of_list.clone();
        whole["apiVersion"] = "meta.k8s.io/v1".into();
        whole["kind"] = "PartialObjectMetadata".into();
        for value in [of_list, whole] {
            let read = PartialObjectMeta::<Pod>::decode(&value).unwrap();
            assert_eq!(read.types.as_ref().map(|types| types.kind.as_str()), value["kind"].as_str());
            assert_eq!(read.encode().unwrap(), value);
        }
        for odd in [json!({"metadata": {"labels": 5}}), json!({"metadata": null}), json!(5), json!([])] {
            assert!(PartialObjectMeta::<Pod>::decode(&odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn an_item_that_could_not_be_decoded_is_not_written() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
            "spec": {"containers": [{"name": "c", "image": "nginx"}]}});
        assert_eq!(Item::<Pod>::read(&pod).encode().unwrap(), pod);
        let odd = json!({"metadata": {"name": "a", "namespace": "d"}, "spec": 5});
        let why = Item::<Pod>::read(&odd).encode().unwrap_err().to_string();
        assert!(why.starts_with("d/a: "), "{why}");
    }
}
