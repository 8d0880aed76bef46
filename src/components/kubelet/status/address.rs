//! A pod's address. Pure.

use super::super::view::{View, has_ended};
use k8s_openapi::api::core::v1::PodStatus;
use std::net::Ipv4Addr;

/// Returns the address of a pod: that of its sandbox, or else the one that it had. Source:
/// `generateAPIPodStatus` in `pkg/kubelet/kubelet_pods.go`.
///
/// ```text
/// it waits for its volumes                          none
/// the same, in the network of its node              the node's: it needs no sandbox for that
/// it was over without an address                    none
/// ```
pub(super) fn address(view: &View, before: &PodStatus, node_ip: Ipv4Addr) -> Option<String> {
    if has_ended(view.pod) && before.pod_ip.is_none() {
        return None;
    }
    let of_sandbox = view.sandbox.and_then(|sandbox| sandbox.ip).map(|ip| ip.to_string());
    let is_on_host = view.pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    of_sandbox.or_else(|| before.pod_ip.clone()).or_else(|| is_on_host.then(|| node_ip.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::{Failure, Pod, Timestamp, Waiting, of};
    use super::*;
    use crate::back_off::Backoffs;
    use crate::decide::tests::pod;
    use crate::probe::ProbeResults;

    fn status(pod: &Pod) -> PodStatus {
        let view = View {
            pod,
            sandbox: None,
            containers: &[],
            backoffs: &Backoffs::new(),
            replaced: &Default::default(),
            probes: &ProbeResults::default(),
            now: Timestamp::UNIX_EPOCH,
        };
        of(&view, &Waiting::new(), [172, 30, 0, 12].into())
    }

    /// It is shown also while its volumes cannot be made, and not of a pod that was refused.
    #[test]
    fn a_pod_in_the_network_of_its_node_has_the_nodes_address_before_its_sandbox() {
        let mut pod = pod("Always", &[], &["a"]);
        assert_eq!(status(&pod).pod_ip, None);
        pod.spec.as_mut().unwrap().host_network = Some(true);
        let mut shown = status(&pod);
        assert_eq!(shown.pod_ip.as_deref(), Some("172.30.0.12"));
        assert_eq!(shown.pod_ips.iter().flatten().count(), 1);
        let refused = Failure::rejected("OutOfcpu", "no room".into());
        refused.mark(&mut shown, Timestamp::UNIX_EPOCH, None);
        assert_eq!((&shown.host_ip, &shown.pod_ip, &shown.pod_ips), (&None, &None, &None));
        pod.status = Some(shown);
        assert_eq!(status(&pod).pod_ip, None, "it was over without one");
    }
}
