//! Finds the ports of its node that a pod takes, and whether two pods take the same one. Source:
//! `pkg/scheduler/framework/plugins/nodeports`, `HostPortInfo`.
//!
//! The scheduler and the kubelet's admission both ask this file, so they cannot disagree about a
//! pod.

use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeSet;

/// Why a pod does not fit, in upstream's words.
pub const CONFLICT: &str = "node(s) didn't have free ports for the requested pod ports";

/// Every address of the node.
const ANY: &str = "0.0.0.0";

/// A port of the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The port's number, from 1 to 65535.
    pub port: i32,
    /// An address of the node, or `0.0.0.0` for all of them. In a set those of one port stand
    /// together.
    pub ip: String,
}

impl HostPort {
    /// Returns whether one of these ports cannot be had beside this one: the same at the same
    /// address, or at all of them. It takes one look-up for each address, however many ports there
    /// are.
    ///
    /// Example: `TCP 0.0.0.0:80` conflicts with `TCP 127.0.0.1:80`, and not with `UDP 0.0.0.0:80`.
    fn conflicts_with_one_of(&self, taken: &BTreeSet<HostPort>) -> bool {
        let at = |ip: &str| HostPort { ip: ip.into(), ..self.clone() };
        if self.ip != ANY {
            return taken.contains(self) || taken.contains(&at(ANY));
        }
        let next = taken.range(at("")..).next();
        next.is_some_and(|other| other.protocol == self.protocol && other.port == self.port)
    }
}

/// Returns the ports of the node that a pod takes. Sidecars run beside the containers, so theirs
/// count; other init containers have ended before the containers begin.
pub fn of_pod(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return vec![] };
    let sidecars =
        spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let or = |text: &Option<String>, other: &str| {
        text.clone().filter(|t| !t.is_empty()).unwrap_or_else(|| other.into())
    };
    ports
        .filter_map(|p| {
            let port = p.host_port.filter(|p| *p > 0)?;
            Some(HostPort { protocol: or(&p.protocol, "TCP"), ip: or(&p.host_ip, ANY), port })
        })
        .collect()
}

/// Returns whether one of the wanted ports is taken already.
pub fn conflict(wanted: &[HostPort], taken: &BTreeSet<HostPort>) -> bool {
    wanted.iter().any(|one| one.conflicts_with_one_of(taken))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_conflict_by_number_protocol_and_address() {
        let one =
            |protocol: &str, ip: &str, port: i32| HostPort { protocol: protocol.into(), ip: ip.into(), port };
        let taken = BTreeSet::from([one("TCP", "127.0.0.1", 80), one("TCP", ANY, 81)]);
        for (wanted, want) in [
            (one("TCP", "127.0.0.1", 80), true),
            (one("TCP", ANY, 80), true),
            (one("TCP", "127.0.0.2", 80), false),
            (one("UDP", "127.0.0.1", 80), false),
            (one("TCP", "127.0.0.2", 81), true),
            (one("TCP", ANY, 82), false),
            (one("TCP", ANY, 8), false),
            (one("UDP", ANY, 80), false),
        ] {
            assert_eq!(conflict(std::slice::from_ref(&wanted), &taken), want, "{wanted:?}");
        }
    }

    /// Nearly all ports of one pod beside those of five others: to compare each with each would not
    /// end within a test run.
    #[test]
    fn many_ports_are_looked_up_and_not_compared() {
        let of = |ip: &str| {
            let ip = ip.to_string();
            (1..=60_000).map(move |port| HostPort { protocol: "UDP".into(), ip: ip.clone(), port })
        };
        let addresses: Vec<String> = (0..5).map(|n| format!("10.0.0.{n}")).collect();
        let taken: BTreeSet<HostPort> = addresses.iter().flat_map(|ip| of(ip)).collect();
        assert!(!conflict(&of("10.0.0.99").collect::<Vec<_>>(), &taken));
        assert!(conflict(&of(ANY).skip(59_999).collect::<Vec<_>>(), &taken));
    }

    #[test]
    fn a_sidecars_host_port_is_taken() {
        let ports = json!([{"containerPort": 1, "hostPort": 8080}, {"containerPort": 2}]);
        let container = |policy: Option<&str>| json!({"name": "c", "ports": ports, "restartPolicy": policy});
        let of = |policy: Option<&str>| {
            let pod = json!({"spec": {"containers": [], "initContainers": [container(policy)]}});
            of_pod(&serde_json::from_value(pod).unwrap())
        };
        let want = HostPort { protocol: "TCP".into(), ip: ANY.into(), port: 8080 };
        assert_eq!((of(Some("Always")), of(None)), (vec![want], vec![]));
    }
}
