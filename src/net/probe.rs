//! Trials of what networks need from the kernel, for `ropewalk doctor`.

mod words;

use super::Fabric;
use crate::cni::{Protocol, ServiceRule};
use crate::lang::Lang;
use crate::linux::probe::Capability;
use std::net::Ipv4Addr;
use std::time::Duration;
use words::Word;

/// Runs in a child of `linux::probe::probe`, which has no threads yet.
pub fn trials(lang: Lang) -> Vec<Capability> {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(lang)),
        Err(e) => vec![needed(lang, Word::Networks, Err(e.to_string()), &lang.say(Word::SeeMessage, &[]))],
    }
}

/// Without it no cluster can run.
fn needed(lang: Lang, name: Word, outcome: Result<String, String>, mend: &str) -> Capability {
    Capability::of(lang.say(name, &[]), outcome, lang.say(Word::NoCluster, &[]), mend).needed()
}

fn text(e: &crate::cni::Error) -> String {
    let cause = std::error::Error::source(e).map(|c| format!(": {c}")).unwrap_or_default();
    format!("{e}{cause}")
}

async fn run(lang: Lang) -> Vec<Capability> {
    let say = |word: Word| lang.say(word, &[]);
    let links = "sudo modprobe -a veth bridge";
    let tables = "sudo modprobe -a nf_tables nft_ct nft_chain_nat nft_nat nft_masq nft_numgen nft_fib_ipv4 \
                  nft_reject_ipv4 nf_conntrack_netlink";
    let fabric = match Fabric::new().await {
        Ok(fabric) => fabric,
        Err(e) => return vec![needed(lang, Word::Bridge, Err(text(&e)), links)],
    };
    let mut findings = vec![needed(lang, Word::Bridge, Ok(say(Word::CanBeMade)), links)];
    let node = match fabric.node(1, "probe").await {
        Ok(node) => node,
        Err(e) => {
            let what = text(&e);
            let mend = if what.contains("service rules") { tables } else { links };
            findings.push(needed(lang, Word::VethAndNftables, Err(what), mend));
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
            Ok::<_, crate::cni::Error>(say(Word::Forgotten))
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

/// One service of every kind that needs a module of its own.
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
    ]
}
