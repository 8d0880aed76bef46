//! Trials of what networks need from the kernel, for `ropewalk doctor`.

use super::Fabric;
use crate::cni::{Protocol, ServiceRule};
use crate::linux::probe::Capability;
use std::net::Ipv4Addr;
use std::time::Duration;

const LOST: &str = "no cluster can run";

/// Runs in a child of `linux::probe::probe`, which has no threads yet.
pub fn trials() -> Vec<Capability> {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run()),
        Err(e) => vec![Capability::of("networks", Err(e.to_string()), LOST, "see the message")],
    }
}

fn text(e: &crate::cni::Error) -> String {
    let cause = std::error::Error::source(e).map(|c| format!(": {c}")).unwrap_or_default();
    format!("{e}{cause}")
}

async fn run() -> Vec<Capability> {
    let links = "sudo modprobe -a veth bridge";
    let tables = "sudo modprobe -a nf_tables nft_ct nft_chain_nat nft_nat nft_masq nft_numgen nft_fib_ipv4 \
                  nft_reject_ipv4 nf_conntrack_netlink";
    let fabric = match Fabric::new().await {
        Ok(fabric) => fabric,
        Err(e) => return vec![Capability::of("bridge", Err(text(&e)), LOST, links)],
    };
    let mut findings = vec![Capability::of("bridge", Ok("can be made".into()), LOST, links)];
    let node = match fabric.node(1, "probe").await {
        Ok(node) => node,
        Err(e) => {
            let what = text(&e);
            let mend = if what.contains("service rules") { tables } else { links };
            findings.push(Capability::of("veth and nftables", Err(what), LOST, mend));
            return findings;
        }
    };
    findings.push(Capability::of("veth", Ok("can be made".into()), LOST, links));
    let rules = rules();
    let written =
        node.sync_services(&rules).await.map(|count| format!("{count} services")).map_err(|e| text(&e));
    findings.push(Capability::of("nftables", written, "services have no addresses", tables));
    let slow = fabric.slow(1, Duration::from_millis(1)).await;
    findings.push(Capability::of(
        "netem",
        slow.map(|()| "delays".to_string()).map_err(|e| text(&e)),
        "`fault slow` does not work; everything else does",
        "sudo modprobe sch_netem",
    ));
    findings
}

/// One service of every kind that needs a module of its own.
fn rules() -> Vec<ServiceRule> {
    let rule = |host: u8, protocol, affinity_seconds, endpoints: &[(Ipv4Addr, u16)]| ServiceRule {
        key: format!("probe/{host}:"),
        protocol,
        addresses: vec![Ipv4Addr::new(10, 96, 0, host)],
        port: 80,
        node_port: Some(30000 + u16::from(host)),
        endpoints: endpoints.to_vec(),
        local_endpoints: None,
        affinity_seconds,
    };
    let pods = [(Ipv4Addr::new(10, 244, 1, 2), 80), (Ipv4Addr::new(10, 244, 1, 3), 80)];
    vec![
        rule(1, Protocol::Tcp, None, &pods),
        rule(2, Protocol::Udp, None, &pods),
        rule(3, Protocol::Tcp, Some(10800), &pods),
        rule(4, Protocol::Tcp, None, &[]),
    ]
}
