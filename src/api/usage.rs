//! The group `metrics.k8s.io`: what nodes and pods use now. Its objects are never stored; they are asked of the kubelets when somebody asks.
//! Shape: `k8s.io/metrics/pkg/apis/metrics/v1beta1`.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use schemars::JsonSchema;
use std::collections::BTreeMap;

/// NodeMetrics sets resource usage metrics of a node.
#[derive(JsonSchema)]
#[schemars(rename = "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics", rename_all = "camelCase")]
#[allow(dead_code)] // its shape is what matters
pub struct NodeMetrics {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Option<ObjectMeta>,
    /// The end of the interval in which the use was counted.
    timestamp: Time,
    /// How long the interval was, e.g. `10.5s`.
    window: String,
    /// `cpu` in cores and `memory` in bytes.
    usage: BTreeMap<String, Quantity>,
}

/// PodMetrics sets resource usage metrics of a pod.
#[derive(JsonSchema)]
#[schemars(rename = "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics", rename_all = "camelCase")]
#[allow(dead_code)] // its shape is what matters
pub struct PodMetrics {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Option<ObjectMeta>,
    /// The end of the interval in which the use was counted.
    timestamp: Time,
    /// How long the interval was, e.g. `10.5s`.
    window: String,
    /// The containers that run.
    containers: Vec<ContainerMetrics>,
}

/// ContainerMetrics sets resource usage metrics of a container.
#[derive(JsonSchema)]
#[schemars(rename = "io.k8s.metrics.pkg.apis.metrics.v1beta1.ContainerMetrics", rename_all = "camelCase")]
#[allow(dead_code)] // its shape is what matters
pub struct ContainerMetrics {
    name: String,
    /// `cpu` in cores and `memory` in bytes.
    usage: BTreeMap<String, Quantity>,
}

impl k8s_openapi::Resource for NodeMetrics {
    const API_VERSION: &'static str = "metrics.k8s.io/v1beta1";
    const GROUP: &'static str = "metrics.k8s.io";
    const KIND: &'static str = "NodeMetrics";
    const VERSION: &'static str = "v1beta1";
    const URL_PATH_SEGMENT: &'static str = "nodes";
    type Scope = k8s_openapi::ClusterResourceScope;
}

impl k8s_openapi::Resource for PodMetrics {
    const API_VERSION: &'static str = "metrics.k8s.io/v1beta1";
    const GROUP: &'static str = "metrics.k8s.io";
    const KIND: &'static str = "PodMetrics";
    const VERSION: &'static str = "v1beta1";
    const URL_PATH_SEGMENT: &'static str = "pods";
    type Scope = k8s_openapi::NamespaceResourceScope;
}
