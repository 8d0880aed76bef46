//! Trials of what networks need from the kernel, for `ropewalk doctor`.

mod words;

use super::Fabric;
use cni::{Protocol, ServiceRule};
use lang::Lang;
use linux::probe::Capability;
use std::net::Ipv4Addr;
use std::time::Duration;
use words::Word;

const LINKS: &str = "sudo modprobe -a veth bridge";
const TABLES: &str = "sudo modprobe -a nf_tables nft_ct nft_chain_nat nft_nat nft_masq nft_numgen nft_reject_ipv4 nf_conntrack_netlink";

/// Returns the command that helps where a node's network cannot be made.
fn remedy(error: &cni::Error) -> &'static str {
    match error {
        cni::Error::Nftables { .. } => TABLES,
        _ => LINKS,
    }
}

/// Runs in a child of `linux::probe::probe`, which has no threads yet.
pub fn trials(lang: Lang) -> Vec<Capability> {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(lang)),
        Err(e) => vec![needed(lang, Word::Networks, Err(e.to_string()), &lang.say(Word::SeeMessage, &[]))],
    }
}

/// Returns the finding of a trial without which no cluster can run.
fn needed(lang: Lang, name: Word, outcome: Result<String, String>, mend: &str) -> Capability {
    Capability::of(lang.say(name, &[]), outcome, lang.say(Word::NoCluster, &[]), mend).needed()
}

fn text(e: &cni::Error) -> String {
    let cause = std::error::Error::source(e).map(|c| format!(": {c}")).unwrap_or_default();
    format!("{e}{cause}")
}

async fn run(lang: Lang) -> Vec<Capability> {
    let say = |word: Word| lang.say(word, &[]);
    let links = LINKS;
    let tables = TABLES;
    let fabric = match Fabric::new().await {
        Ok(fabric) => fabric,
        Err(e) => return vec![needed(lang, Word::Bridge, Err(text(&e)), links)],
    };
    let mut findings = vec![needed(lang, Word::Bridge, Ok(say(Word::CanBeMade)), links)];
    let node = match fabric.node(1, "probe").await {
        Ok(node) => node,
        Err(e) => {
            findings.push(needed(lang, Word::VethAndNftables, Err(text(&e)), remedy(&e)));
            return findings;
        }
    };
    findings.push(needed(lang, Word::Veth, Ok(say(Word::CanBeMade)), links));
    let rules = rules();
    let written = node.sync_services(&rules).await;
    let written = written.map(|count| lang.say(Word::Services, &[&count.to_string()])).map_err(|e| text(&e));
    let has_rules = written.is_ok();
    findings.push(Capability::of(say(Word::Nftables), written, say(Word::NoServices), tables));
    if has_rules {
        // A UDP service that goes has its flows forgotten.
        let tcp: Vec<ServiceRule> = rules.into_iter().filter(|r| r.protocol == Protocol::Tcp).collect();
        let forgotten = async {
            node.sync_services(&tcp).await?;
            node.forget_flows().await?;
            Ok::<_, cni::Error>(say(Word::Forgotten))
        };
        let forgotten = forgotten.await.map_err(|e| text(&e));
        let flows = "sudo modprobe nf_conntrack_netlink";
        findings.push(Capability::of(say(Word::Conntrack), forgotten, say(Word::StaleFlows), flows));
    }
    let slow = fabric.slow(1, Duration::from_millis(1)).await;
    findings.push(Capability::of(
        say(Word::Netem),
        slow.map(|()| say(Word::Delays)).map_err(|e| text(&e)),
        say(Word::NoSlow),
        "sudo modprobe sch_netem",
    ));
    findings
}

/// One service of every kind, so that every expression that services use is tried.
fn rules() -> Vec<ServiceRule> {
    let rule = |host: u8, protocol, affinity_seconds, endpoints: &[(Ipv4Addr, u16)]| ServiceRule {
        key: format!("probe/{host}:"),
        protocol,
        addresses: vec![Ipv4Addr::new(10, 96, 0, host)],
        port: 80,
        node_port: Some(30000 + u16::from(host)),
        endpoints: endpoints.to_vec(),
        all_endpoints: None,
        local_endpoints: None,
        affinity_seconds,
        draining: Vec::new(),
    };
    let pods = [(Ipv4Addr::new(10, 244, 1, 2), 80), (Ipv4Addr::new(10, 244, 1, 3), 80)];
    vec![
        rule(1, Protocol::Tcp, None, &pods),
        rule(2, Protocol::Udp, None, &pods),
        rule(3, Protocol::Tcp, Some(10800), &pods),
        rule(4, Protocol::Tcp, None, &[]),
        // Both traffic policies `Local`: chains of their own for clients inside and outside.
        ServiceRule {
            all_endpoints: Some(pods.to_vec()),
            local_endpoints: Some(pods[..1].to_vec()),
            ..rule(5, Protocol::Tcp, None, &pods[..1])
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_nftables_is_told_to_load_nftables() {
        let refused = |what: &str| {
            let cause = std::io::Error::from_raw_os_error(nix::libc::EPROTONOSUPPORT);
            cni::Error::Kernel { what: what.into(), cause }
        };
        assert_eq!(remedy(&refused("cannot make the wire n1-0")), LINKS);
        assert_eq!(remedy(&refused("cannot open nftables").of_nftables()), TABLES);
    }

    /// A kernel that lacks what one kind of service needs refuses all rules of a node once such a
    /// Service is made.
    #[test]
    fn the_trial_has_a_service_of_every_kind() {
        type Kind = (&'static str, fn(&ServiceRule) -> bool);
        let kinds: [Kind; 8] = [
            ("TCP", |r| r.protocol == Protocol::Tcp),
            ("UDP", |r| r.protocol == Protocol::Udp),
            ("node port", |r| r.node_port.is_some()),
            ("refused", |r| r.everywhere().is_empty()),
            ("affinity", |r| r.affinity_seconds.is_some()),
            ("several endpoints", |r| r.endpoints.len() > 1),
            ("internalTrafficPolicy: Local", |r| r.all_endpoints.is_some()),
            ("externalTrafficPolicy: Local", |r| r.local_endpoints.is_some()),
        ];
        for (kind, is_of_kind) in kinds {
            assert!(rules().iter().any(is_of_kind), "no service is tried: {kind}");
        }
    }
}
