//! Endpoints that share their ports, and how those of a headless Service are known. Slices and the
//! older Endpoints object are both made of them.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort};

/// The label of what belongs to a service without an address of its own.
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

/// Endpoints that share their ports.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Group {
    pub ports: Vec<EndpointPort>,
    pub endpoints: Vec<Endpoint>,
}

/// True for a Service that has no address of its own.
pub(super) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()) == Some("None")
}
