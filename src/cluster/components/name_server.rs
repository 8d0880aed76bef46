//! CoreDNS: answers in the network of its own pod, and asks the machine's resolvers for names
//! outside of the cluster.

use super::{Location, OnEnd};
use crate::world::World;
use addons::dns;
use client::Client;
use net::Namespace;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::sync::Arc;
use tap::Component;
use task::Crew;

const DNS_PORT: u16 = 53;

/// Starts a name server in the crew.
pub(super) fn start(world: &Arc<World>, crew: &Crew, client: Client, place: Location) {
    let (domain, inner, rng) = (world.domain.clone(), crew.clone(), world.rng.fork("coredns"));
    let (upstream, tap) = (resolvers(), world.tap.at(&place.node, Component::Dns));
    crew.spawn_main(async move {
        let namespace = match place.netns {
            Some(fd) => Namespace::enter(fd).map_err(|e| e.to_string())?,
            None => return Err("the name server has no network: its sandbox is stopped".to_string()),
        };
        // Every address of the pod's network, as CoreDNS: kubectl port-forward comes by localhost.
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DNS_PORT));
        let listen = async |port| {
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            namespace.listen(address).await.map_err(|e| format!("cannot listen on {address}: {e}"))
        };
        // The probes come first: the kubelet asks from the moment the container runs.
        let (ready, health) = (listen(dns::READY_PORT).await?, listen(dns::HEALTH_PORT).await?);
        let udp = namespace.bind_udp(address).await.map_err(|e| format!("cannot bind {address}: {e}"))?;
        let tcp = listen(DNS_PORT).await?;
        let server = Crew::new("coredns");
        let ended = server.clone();
        let _guard = OnEnd(move || ended.kill());
        dns::start(&server, dns::Config { client, domain, udp, tcp, health, ready, upstream, rng, tap });
        let stop = inner.token();
        tokio::select! {
            end = server.wait() => match end {
                task::End::Done(result) => result,
                other => Err(format!("{other:?}")),
            },
            () = stop.cancelled() => {
                server.stop().await;
                Ok(())
            }
        }
    });
}

/// Lists the machine's own resolvers: where names outside the cluster are asked.
fn resolvers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let index = |name: &str| {
        let file = Path::new("/sys/class/net").join(name).join("ifindex");
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    };
    name_servers(&text, index)
}

/// Lists the servers that a resolv.conf(5) names. What follows an address is a remark, as for
/// glibc. A link-local address names its interface (`fe80::1%eth0`, or its number): `index` gives
/// the number of a name.
fn name_servers(text: &str, index: impl Fn(&str) -> Option<u32>) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next())?
    });
    let address = |word: &str| {
        let Some((ip, zone)) = word.split_once('%') else {
            return Some(SocketAddr::new(word.parse().ok()?, DNS_PORT));
        };
        let scope = zone.parse().ok().or_else(|| index(zone))?;
        Some(SocketAddr::V6(SocketAddrV6::new(ip.parse().ok()?, DNS_PORT, 0, scope)))
    };
    servers.filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_with_a_remark_behind_it_is_asked() {
        let text = "# nameserver 1.1.1.1\nsearch a b\nnameserver 10.0.0.1 # the office\n nameserver ::1\nnameserver\nnameserver x\n\
             nameserver fe80::1%eth0\nnameserver fe80::2%7\nnameserver fe80::3%gone\n";
        let index = |name: &str| (name == "eth0").then_some(2);
        let servers: Vec<String> = name_servers(text, index).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[::1]:53", "[fe80::1%2]:53", "[fe80::2%7]:53"]);
    }
}
