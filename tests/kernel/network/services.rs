//! Services: what leads to their endpoints, from pods, nodes and outside.

use super::{Pod, ask, many, pod, read, service, vip};
use crate::world::{Check, World, ensure};
use cni::{Does, Installed, NodeNetwork, ServiceRule};
use linux::namespace;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Duration;

/// Two nodes, two pods on the first and one on the second.
struct Ends<'a> {
    w: &'a World,
    n1: &'a dyn NodeNetwork,
    n2: &'a dyn NodeNetwork,
    a: Pod,
    b: Pod,
    c: Pod,
}

/// What the kernel has says of each rule which Service and endpoints it is for, and what it does.
fn read_back(found: &[Installed], pods: &[&Pod], rules: &[ServiceRule]) -> Check {
    let of = |key: &str| -> Vec<&Does> {
        found.iter().filter(|i| i.service.as_deref() == Some(key)).map(|i| &i.does).collect()
    };
    for rule in rules {
        let address = rule.addresses[0];
        let leads = |does: &Does| match does {
            Does::LeadsAddress { address: to, port: 80, .. } | Does::Refused { address: to, port: 80 } => {
                *to == address
            }
            _ => false,
        };
        let listed = found.iter().filter(|i| leads(&i.does)).count();
        ensure(listed == 1, format!("{}: {found:?}", rule.key))?;
        let led: BTreeSet<(Ipv4Addr, u16)> = of(&rule.key)
            .into_iter()
            .filter_map(|does| match does {
                Does::Endpoint { ip, port, .. } | Does::LeadsToSticky { ip, port, .. } => Some((*ip, *port)),
                _ => None,
            })
            .collect();
        ensure(led == rule.used(), format!("{}: {led:?}", rule.key))?;
        let numbers: Vec<u32> = of(&rule.key)
            .into_iter()
            .filter_map(|does| match does {
                Does::Endpoint { number, .. } => Some(*number),
                _ => None,
            })
            .collect();
        let chains = numbers.iter().filter(|number| **number == 0).count();
        let in_order = numbers.windows(2).all(|two| two[1] == two[0] + 1 || two[1] == 0);
        ensure(in_order && chains <= 2, format!("{}: elements out of order: {numbers:?}", rule.key))?;
    }
    let client = |does: &Does| matches!(does, Does::Client { client, .. } if *client == pods[0].ip);
    ensure(
        of("default/s20:").iter().filter(|does| client(does)).count() == 1,
        "one endpoint knows its client",
    )?;
    ensure(
        of("default/s20:").iter().filter(|does| matches!(does, Does::Remembers { .. })).count() == 3,
        "three do",
    )?;
    ensure(
        of("default/s40:").iter().filter(|does| matches!(does, Does::LeadsInside { .. })).count() == 3,
        "Local",
    )?;
    for all in
        [Does::FindsAddress, Does::FindsNodePort, Does::Masquerades, Does::Hairpin, Does::EntersFromPods]
    {
        ensure(
            found.iter().filter(|i| i.service.is_none() && i.does == all).count() == 1,
            format!("{all:?}"),
        )?;
    }
    let unclear: Vec<&Installed> =
        found.iter().filter(|i| i.does == Does::Other || i.text.is_empty() || i.text.contains('?')).collect();
    ensure(unclear.is_empty(), format!("{unclear:?}"))
}

/// Services of every policy, their changes, and as many as there may be.
pub(crate) async fn services(w: World) -> Check {
    let (n1, n2) = (&*w.nodes[0].network, &*w.nodes[1].network);
    let (a, b, c) = (pod(n1, "a").await?, pod(n1, "b").await?, pod(n2, "c").await?);
    a.serve("a")?;
    b.serve("b")?;
    c.serve("c")?;
    // Pods reach pods, and see who asks.
    ensure(ask(&a.netns, (b.ip, 8080))? == format!("b {}", a.ip), "same node")?;
    ensure(ask(&a.netns, (c.ip, 8080))? == format!("c {}", a.ip), "other node")?;
    let sticky = ServiceRule { affinity_seconds: Some(10800), ..service(20, &[&a, &b, &c]) };
    let local = ServiceRule { local_endpoints: Some(vec![(a.ip, 8080)]), ..service(40, &[&a, &c]) };
    let at_node = ServiceRule { addresses: vec![vip(50), n1.node_ip()], ..service(50, &[]) };
    let mut rules =
        vec![service(10, &[&a, &b, &c]), sticky, service(30, &[&a]), local, at_node, service(60, &[&c])];
    for node in [n1, n2] {
        let mut rules = rules.clone();
        if node.node_ip() == n2.node_ip() {
            rules[3].local_endpoints = Some(vec![(c.ip, 8080)]);
        }
        ensure(node.sync_services(&rules).await? == 6, "six rules")?;
    }
    let ends = Ends { w: &w, n1, n2, a, b, c };
    let first = cluster_ips(&ends, &rules).await?;
    node_ports(&ends).await?;
    older_connection(&ends, &rules).await?;
    local_policies(&ends, &rules).await?;
    ending_endpoint(&ends, &rules).await?;
    changes(&ends, &mut rules, &first).await?;
    masses(&ends).await?;
    addresses(&ends).await
}

/// Cluster IPs, from pods and from the node. Returns the endpoint that a service with affinity has
/// chosen.
async fn cluster_ips(ends: &Ends<'_>, rules: &[ServiceRule]) -> Check<BTreeMap<String, usize>> {
    let Ends { n1, a, b, c, .. } = ends;
    let node1 = n1.netns().ok_or("no namespace")?;
    ensure(many(&a.netns, (vip(10), 80), 40)?.len() == 3, "a pod reaches all endpoints")?;
    ensure(many(&node1, (vip(10), 80), 40)?.len() == 3, "the node does too")?;
    let first = many(&a.netns, (vip(20), 80), 15)?;
    ensure(first.len() == 1, format!("affinity: {first:?}"))?;
    read_back(&n1.installed().await?, &[a, b, c], rules)?;
    ensure(ask(&a.netns, (vip(30), 80))?.starts_with("a "), "a pod reaches itself through its service")?;
    ensure(ask(&a.netns, (vip(50), 80))? == "ConnectionRefused", "no endpoints: refused")?;
    ensure(ask(&node1, (vip(50), 80))? == "ConnectionRefused", "no endpoints: refused on the node")?;
    ensure(ask(&a.netns, (vip(99), 80))? == "ConnectionRefused", "no such service: refused")?;
    Ok(first)
}

/// Node ports: from the fabric, through either node; the node masquerades unless the policy is
/// Local.
async fn node_ports(ends: &Ends<'_>) -> Check {
    let Ends { w, n1, n2, b, c, .. } = ends;
    let node1 = n1.netns().ok_or("no namespace")?;
    for node in [n1, n2] {
        let stream =
            tokio::time::timeout(Duration::from_secs(2), w.fabric.dial((node.node_ip(), 30060).into()))
                .await??;
        let answer = read(stream).await?;
        ensure(answer == format!("c {}", node.node_ip()), format!("node port: {answer}"))?;
    }
    let loopback = ask(&node1, (Ipv4Addr::LOCALHOST, 30060))?;
    ensure(
        loopback == "ConnectionRefused",
        format!("a node port is at the node's address alone: {loopback}"),
    )?;
    ensure(ask(&node1, (n1.node_ip(), 30060))?.starts_with("c "), "the node reaches its own node port")?;
    let answer = read(w.fabric.dial((n1.node_ip(), 30040).into()).await?).await?;
    ensure(answer == "a 172.30.0.1", format!("local policy keeps the client: {answer}"))?;
    for (who, netns) in [("a pod of the node", &b.netns), ("the node", &node1)] {
        let answers = many(netns, (n1.node_ip(), 30040), 40)?;
        ensure(answers.keys().eq(["a", "c"]), format!("a local policy does not bind {who}: {answers:?}"))?;
    }
    let answers = many(&c.netns, (n1.node_ip(), 30040), 20)?;
    ensure(answers.keys().eq(["a"]), format!("a pod of another node comes from outside: {answers:?}"))?;
    refused_at_node(ends).await?;
    ensure(ask(&b.netns, (n1.node_ip(), 30030))?.starts_with("a "), "a pod uses its node's port")
}

/// Without endpoints a node port is refused, and an external address that is the node's own, also
/// where a program of the node has the port.
async fn refused_at_node(ends: &Ends<'_>) -> Check {
    let Ends { w, n1, b, .. } = ends;
    let node1 = n1.netns().ok_or("no namespace")?;
    for port in [30050, 80] {
        let at = (n1.node_ip(), port);
        let _program = n1.listen(at.into()).await?;
        let outside = w.fabric.dial(at.into()).await.map(drop).map_err(|e| e.kind());
        ensure(
            outside == Err(std::io::ErrorKind::ConnectionRefused),
            format!("{port} from outside: {outside:?}"),
        )?;
        for (who, netns) in [("a pod", &b.netns), ("the node", &node1)] {
            let answer = ask(netns, at)?;
            ensure(answer == "ConnectionRefused", format!("{port} without endpoints, {who}: {answer}"))?;
        }
    }
    let found = n1.installed().await?;
    let own = |i: &&Installed| i.service.as_deref() == Some("default/s50:");
    let listed = found.iter().filter(own).filter(|i| i.does == Does::RefusedNodePort { port: 30050 }).count();
    let rules = |does: Does| found.iter().filter(|i| i.does == does).count();
    let counts = (listed, rules(Does::RefusesListedPorts), rules(Does::RefusesListed));
    ensure(counts == (1, 1, 3), format!("{found:?}"))
}

/// A connection goes on when a Service without endpoints gets its address and port.
async fn older_connection(ends: &Ends<'_>, rules: &[ServiceRule]) -> Check {
    use tokio::io::AsyncWriteExt;
    let Ends { n1, n2, .. } = ends;
    let at = (n2.node_ip(), 8081);
    let listener = n2.listen(at.into()).await?;
    let mut client = n1.dial(at.into()).await?;
    let (server, _) = listener.accept().await?;
    let later =
        ServiceRule { addresses: vec![vip(51), at.0], port: at.1, node_port: None, ..service(51, &[]) };
    ensure(n1.sync_services(&[rules.to_vec(), vec![later]].concat()).await? == 1, "one came")?;
    client.write_all(b"kept").await?;
    client.shutdown().await?;
    ensure(read(server).await? == "kept", "it goes on")?;
    let again = n1.dial(at.into()).await.map(drop).map_err(|e| e.kind());
    ensure(again == Err(std::io::ErrorKind::ConnectionRefused), format!("a new one: {again:?}"))?;
    ensure(n1.sync_services(rules).await? == 1, "one went")
}

/// `internalTrafficPolicy: Local`, on a node without an endpoint: nothing answers at the cluster
/// IP, node ports reach the others.
async fn local_policies(ends: &Ends<'_>, rules: &[ServiceRule]) -> Check {
    let Ends { w, n1, a, b, c, .. } = ends;
    let internal = ServiceRule { all_endpoints: Some(vec![(c.ip, 8080)]), ..service(70, &[]) };
    // Both policies are Local, and a client that comes through the node port has its endpoint.
    let mut kept = ServiceRule { affinity_seconds: Some(10800), ..service(80, &[a, b]) };
    (kept.all_endpoints, kept.local_endpoints) =
        (Some([a, b, c].iter().map(|p| (p.ip, 8080)).collect()), Some(kept.endpoints.clone()));
    let more = [rules.to_vec(), vec![internal, kept]].concat();
    ensure(n1.sync_services(&more).await? == 2, "two came")?;
    ensure(ask(&a.netns, (vip(70), 80))? == "TimedOut", "an internal policy of Local: dropped")?;
    let answer = read(w.fabric.dial((n1.node_ip(), 30070).into()).await?).await?;
    ensure(answer.starts_with("c "), format!("its node port: {answer}"))?;
    let mut answers = std::collections::BTreeSet::new();
    for _ in 0..15 {
        answers.insert(read(w.fabric.dial((n1.node_ip(), 30080).into()).await?).await?);
    }
    ensure(answers.len() == 1, format!("affinity at a node port: {answers:?}"))?;
    ensure(n1.sync_services(rules).await? == 2, "two went")
}

/// The last endpoint of a node ends and serves on; the ready ones are elsewhere, and all of them
/// remember their clients.
async fn ending_endpoint(ends: &Ends<'_>, rules: &[ServiceRule]) -> Check {
    let Ends { w, n1, a, b, c, .. } = ends;
    let ending = ServiceRule {
        affinity_seconds: Some(10800),
        local_endpoints: Some(vec![(a.ip, 8080)]),
        ..service(90, &[c])
    };
    let more = [rules.to_vec(), vec![ending]].concat();
    ensure(n1.sync_services(&more).await? == 1, "one came")?;
    let answer = read(w.fabric.dial((n1.node_ip(), 30090).into()).await?).await?;
    ensure(answer == "a 172.30.0.1", format!("the endpoint that ends: {answer}"))?;
    ensure(ask(&b.netns, (vip(90), 80))?.starts_with("c "), "the cluster IP leads to the ready endpoint")?;
    ensure(n1.sync_services(rules).await? == 1, "one went")
}

/// An endpoint goes: clients of the others stay where they were. `first`: the endpoint of a service
/// with affinity.
async fn changes(ends: &Ends<'_>, rules: &mut [ServiceRule], first: &BTreeMap<String, usize>) -> Check {
    let Ends { n1, a, b, c, .. } = ends;
    let (stays, _) = first.first_key_value().ok_or("nobody")?;
    let others: Vec<&Pod> =
        [(a, "a"), (b, "b"), (c, "c")].iter().filter(|(_, n)| n == stays).map(|(p, _)| *p).collect();
    rules[1].endpoints = others.iter().map(|p| (p.ip, 8080)).chain([(c.ip, 8080)]).collect();
    rules[1].endpoints.sort();
    rules[1].endpoints.dedup();
    rules[0].endpoints = vec![(c.ip, 8080)];
    ensure(n1.sync_services(rules).await? == 2, "two rules changed")?;
    ensure(many(&a.netns, (vip(20), 80), 10)?.keys().eq([stays]), "affinity outlives a change")?;
    ensure(many(&a.netns, (vip(10), 80), 10)?.keys().eq(["c"]), "the endpoint that is left")?;
    // A service that loses its last endpoint, and gets one again.
    rules[5].endpoints.clear();
    n1.sync_services(rules).await?;
    ensure(ask(&a.netns, (vip(60), 80))? == "ConnectionRefused", "refused now")?;
    rules[5].endpoints = vec![(b.ip, 8080)];
    n1.sync_services(rules).await?;
    ensure(ask(&a.netns, (vip(60), 80))?.starts_with("b "), "served again")?;
    ensure(ask(&a.netns, (n1.node_ip(), 30060))?.starts_with("b "), "at its node port, too")
}

/// Many at once fit one transaction, and many addresses in one rule.
async fn masses(ends: &Ends<'_>) -> Check {
    let Ends { n1, a, b, c, .. } = ends;
    let mut lot: Vec<ServiceRule> = (0..500u16)
        .map(|n| {
            let [high, low] = n.to_be_bytes();
            ServiceRule {
                key: format!("lot/{n}:"),
                addresses: vec![Ipv4Addr::new(10, 97, high, low)],
                node_port: None,
                ..service(10, &[a, b])
            }
        })
        .collect();
    ensure(n1.sync_services(&lot).await? == 506, "500 came, 6 went")?;
    ensure(ask(&c.netns, (vip(10), 80))? != "ConnectionRefused", "the other node has its own rules")?;
    ensure(ask(&a.netns, (Ipv4Addr::new(10, 97, 1, 243), 80))?.starts_with(['a', 'b']), "the last of them")?;
    lot.clear();
    ensure(n1.sync_services(&lot).await? == 500, "all went")?;
    // More addresses than an attribute may have; all together more bytes than one transaction may
    // have.
    let address = |n: u32| Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 100, 0, 0)) + n);
    let wide: Vec<ServiceRule> = (0..80)
        .map(|n| ServiceRule {
            key: format!("wide/{n}:"),
            addresses: (n * 3000..(n + 1) * 3000).map(address).collect(),
            node_port: None,
            ..service(10, &[a, b])
        })
        .collect();
    ensure(n1.sync_services(&wide).await? == 80, "80 rules of 3000 addresses")?;
    for n in [0, 2_999, 120_000, 239_999] {
        let answer = ask(&a.netns, (address(n), 80))?;
        ensure(answer.starts_with(['a', 'b']), format!("address {n}: {answer}"))?;
    }
    ensure(n1.sync_services(&[]).await? == 80, "they went")
}

/// An address comes back as late as possible, and a pod's wire goes with it.
async fn addresses(ends: &Ends<'_>) -> Check {
    let Ends { n1, b, .. } = ends;
    let has_wire = |pod: &Pod| -> Check<bool> {
        let links = || std::fs::read_to_string("/proc/thread-self/net/dev");
        Ok(namespace::in_network(pod.netns.as_fd(), links)??.contains("eth0"))
    };
    ensure(has_wire(b)?, "a pod has a wire")?;
    n1.remove_pod("b").await?;
    n1.remove_pod("b").await?;
    ensure(!has_wire(b)?, "its wire goes, although its namespace is still held")?;
    ensure(pod(*n1, "d").await?.ip != b.ip, "the address rests")
}
