//! Endpoints that share their ports, and how those of a headless Service are known. Slices and the
//! older Endpoints object are both made of them.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort};
use std::collections::BTreeMap;

/// The label of what belongs to a service without an address of its own.
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

/// Endpoints that share their ports.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Group {
    pub ports: Vec<EndpointPort>,
    pub endpoints: Vec<Endpoint>,
}

/// Sets the label [`HEADLESS`] if the Service has no address of its own, and removes one that the
/// Service's own labels brought along otherwise: proxies do not read what carries it.
pub(super) fn label_headless(labels: &mut BTreeMap<String, String>, service: &Service) {
    if service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()) == Some("None") {
        labels.insert(HEADLESS.into(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
}
