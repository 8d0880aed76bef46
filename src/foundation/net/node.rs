//! One node's network namespace.

use super::conntrack::Stale;
use super::ipam::Ipam;
use super::link::{self, GATEWAY, NODE_END, mac};
use super::namespace::Namespace;
use super::nft::{self, Nft};
use super::plan::{Change, Known, Table, Write};
use super::refused::Refused;
use super::rules::installed;
use super::{addresses, loss, rules};
use async_trait::async_trait;
use cni::{Error, Installed, NodeNetwork, Result, ServiceRule};
use linux::namespace::{disable_ipv6, set_network_sysctls};
use nlink::TcHandle;
use nlink::netlink::addr::Ipv4Address;
use nlink::netlink::route::Ipv4Route;
use nlink::netlink::tc::NetemConfig;
use nlink::netlink::types::route::RouteType;
use nlink::netlink::{Connection, Netfilter, Route};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// How many seconds a node remembers the translation of a silent TCP connection, as kube-proxy sets
/// it (`conntrack.tcpEstablishedTimeout` and `tcpCloseWaitTimeout`).
///
/// The kernel itself remembers one that is half closed for a minute: a server that thinks longer
/// about a question that has ended would answer with the pod's own address, and the client would
/// refuse that.
const CONNTRACK_TIMEOUTS: [(&str, &str); 2] = [
    ("net/netfilter/nf_conntrack_tcp_timeout_established", "86400"),
    ("net/netfilter/nf_conntrack_tcp_timeout_close_wait", "3600"),
];

/// What the kernel knows of services.
struct Services {
    known: Known,
    /// UDP flows that are not forgotten yet.
    stale: Stale,
}

impl Services {
    /// Begins a write, unless the kernel has the wanted rules. Flows that the rules of before may
    /// have led are stale from now on, and not from its end: a write that is dropped has none.
    fn begin(&mut self, wanted: &[ServiceRule]) -> Option<Write> {
        let write = self.known.begin(wanted)?;
        self.stale.add(write.changes.iter().filter_map(Change::removed).chain(&write.replaced));
        if write.replaces_any {
            self.stale.add_everything();
        }
        self.stale.add_new(write.changes.iter().filter_map(Change::added));
        Some(write)
    }
}

pub(crate) struct Node {
    index: u8,
    ip: Ipv4Addr,
    namespace: Namespace,
    route: Connection<Route>,
    eth0: u32,
    nft: Nft,
    ipam: Mutex<Ipam>,
    /// Indices of the wires of pods, by sandbox.
    wires: Mutex<BTreeMap<String, u32>>,
    /// The number of the next wire: a pod's wire vanishes some milliseconds after the pod, so names
    /// are not used twice.
    next_wire: AtomicU32,
    /// Locked for the whole of a change, so that changes do not overtake each other.
    services: tokio::sync::Mutex<Services>,
    /// The index of the fabric's end of its wire, which is a port of the bridge.
    bridge_port: u32,
    /// The share of packets from other nodes that is dropped on purpose, in percent, by the number
    /// of the other node.
    losses: tokio::sync::Mutex<BTreeMap<u8, f64>>,
}

impl Node {
    /// Configures a namespace that has its wire to the fabric.
    pub(super) async fn new(
        index: u8,
        name: &str,
        ip: Ipv4Addr,
        namespace: Namespace,
        route: Connection<Route>,
        eth0: u32,
        bridge_port: u32,
    ) -> Result<Node> {
        let settings = [
            ("net/ipv4/ip_forward", "1"),
            // A namespace begins with the machine's own settings, and an interface with those of
            // `default`. No pod and no other node may reach what listens on the node's 127.0.0.1
            // (CVE-2020-8558; kube-proxy sets it on machines), nor choose a packet's way.
            ("net/ipv4/conf/all/route_localnet", "0"),
            ("net/ipv4/conf/default/route_localnet", "0"),
            ("net/ipv4/conf/eth0/route_localnet", "0"),
            ("net/ipv4/conf/all/accept_source_route", "0"),
            ("net/ipv4/conf/default/accept_source_route", "0"),
            // The kernel sends redirects if either `all` or the interface says so.
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/default/send_redirects", "0"),
            ("net/ipv4/conf/eth0/send_redirects", "0"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/eth0/rp_filter", "0"),
            // For the wires of pods, which come later: a packet whose source is not the pod's own
            // address is dropped.
            ("net/ipv4/conf/default/rp_filter", "1"),
            ("net/ipv4/ip_unprivileged_port_start", "0"),
        ];
        set_network_sysctls(namespace.fd().as_fd(), &settings)
            .during(|| format!("cannot configure {name}"))?;
        disable_ipv6(namespace.fd().as_fd()).during(|| format!("cannot switch IPv6 off in {name}"))?;
        // A pod's own route is longer. A packet to an address that no pod has would go back to the
        // fabric by the default route, and come again until its TTL ends; its sender gets
        // EHOSTUNREACH instead.
        let nobody = Ipv4Route::new(addresses::pods(index), 24).route_type(RouteType::Unreachable);
        route.replace_route(nobody).await.during(|| format!("cannot refuse what no pod of {name} has"))?;
        let nft = nft::open(namespace.fd()).during(|| "cannot open nftables".into());
        let nft = nft.map_err(Error::of_nftables)?;
        let base = rules::base(&nft, index).during(|| "cannot build the service rules".into())?;
        let written = base.commit(&nft).await;
        written.during(|| format!("cannot write the service rules of {name}")).map_err(Error::of_nftables)?;
        // Now the kernel tracks connections, and has these settings.
        let kept = set_network_sysctls(namespace.fd().as_fd(), &CONNTRACK_TIMEOUTS);
        if let Err(error) = kept.during(|| format!("cannot configure {name}")) {
            tracing::warn!(%error, "connections to Services that are half closed end after a silent minute");
        }
        Ok(Node {
            index,
            ip,
            namespace,
            route,
            eth0,
            nft,
            ipam: Mutex::new(Ipam::new(index)),
            wires: Mutex::default(),
            next_wire: AtomicU32::new(0),
            services: tokio::sync::Mutex::new(Services { known: Known::default(), stale: Stale::new(ip) }),
            bridge_port,
            losses: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    fn ipam(&self) -> MutexGuard<'_, Ipam> {
        self.ipam.lock()
    }

    fn wires(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.wires.lock()
    }

    /// Writes down the hardware address of a node that joined, so that no packet waits for ARP.
    pub(super) async fn meet(&self, other: Ipv4Addr) -> Result<()> {
        link::neighbour(&self.route, self.eth0, other, mac(other)).await
    }

    pub(super) fn bridge_port(&self) -> u32 {
        self.bridge_port
    }

    /// Returns what is lost of the packets from another node, in percent.
    pub(super) async fn loss(&self, other: u8) -> f64 {
        self.losses.lock().await.get(&other).copied().unwrap_or_default()
    }

    pub(super) async fn lose(&self, other: u8, percent: f64) -> Result<()> {
        let lose = |losses: &mut BTreeMap<u8, f64>| {
            losses.remove(&other);
            losses.extend((percent > 0.0).then_some((other, percent)));
        };
        change_written(&self.losses, lose, async |after| self.write_losses(after).await).await
    }

    async fn write_losses(&self, losses: &BTreeMap<u8, f64>) -> Result<()> {
        let rules = loss::loss_rules(&self.nft, losses).during(|| "cannot build fault rules".into())?;
        rules.commit(&self.nft).await.during(|| "cannot write fault rules".into())
    }

    pub(super) async fn shape(&self, netem: NetemConfig) -> Result<()> {
        let done = self.route.replace_qdisc("eth0", netem.build()).await;
        done.during(|| "cannot slow the link down (netem)".into())
    }

    pub(super) async fn heal(&self) -> Result<()> {
        let mended =
            change_written(&self.losses, BTreeMap::clear, async |after| self.write_losses(after).await);
        let mended = mended.await;
        let removed = self.route.del_qdisc_if_exists("eth0", TcHandle::ROOT).await;
        mended.and(removed.map(drop).during(|| "cannot make the link fast again".into()))
    }

    /// Makes a pod's wire. A wire that cannot be brought into use is removed again: the pod's
    /// namespace, with which it would go, may be held by another process.
    async fn connect(&self, ip: Ipv4Addr, netns: &OwnedFd) -> Result<u32> {
        let pod = link::open(netns)?;
        link::up(&pod, 1).await?;
        let name = format!("p{}", self.next_wire.fetch_add(1, Ordering::Relaxed));
        let near = link::wire(&self.route, &name, Some(NODE_END), netns, mac(ip)).await?;
        let connected = self.configure(ip, &pod, near).await;
        if connected.is_err()
            && let Err(error) = self.route.del_link_by_index(near).await
        {
            tracing::warn!(node = %self.ip, wire = name, %error, "a wire stays until its pod's namespace goes");
        }
        connected.map(|()| near)
    }

    /// The pod with 10.244.1.2 has this address alone (`/32`) and one way out: a default route by
    /// 169.254.1.1, which is no interface but only an entry with the hardware address of the node's
    /// end. The node has a route of one address for each pod. So pods of one node meet in its
    /// routing table, where the rules for Services see them, and not on a bridge.
    async fn configure(&self, ip: Ipv4Addr, pod: &Connection<Route>, near: u32) -> Result<()> {
        let eth0 = link::index_of(pod, "eth0").await?;
        let address = Ipv4Address::with_index(eth0, ip, 32);
        pod.add_address(address).await.during(|| format!("cannot give the pod {ip}"))?;
        link::up(pod, eth0).await?; // the far side first, see `wait_up`
        link::up(&self.route, near).await?;
        link::route_to(pod, eth0, GATEWAY).await?;
        let default = Ipv4Route::default_route().gateway(GATEWAY).dev_index(eth0);
        pod.add_route(default).await.during(|| "cannot give the pod a default route".into())?;
        link::neighbour(pod, eth0, GATEWAY, NODE_END).await?;
        link::route_to(&self.route, near, ip).await?;
        link::neighbour(&self.route, near, ip, mac(ip)).await?;
        link::wait_up(pod, eth0).await?;
        link::wait_up(&self.route, near).await
    }

    /// Writes changes in one transaction. Where that is a longer message than the socket takes (an
    /// ordinary user's takes 416 KiB), both halves are written one after the other: what goes comes
    /// before what comes, so an address that moves is free in time.
    async fn commit(&self, changes: &[Change]) -> Result<()> {
        let failed = || "cannot change the service rules".to_string();
        let mut portions = vec![changes];
        while let Some(portion) = portions.pop() {
            let transaction = rules::apply(self.nft.transaction(), self.index, portion).during(failed)?;
            match transaction.commit(&self.nft).await {
                Err(e) if e.is_message_too_long() && portion.len() > 1 => {
                    let (first, second) = portion.split_at(portion.len() / 2);
                    portions.extend([second, first]);
                }
                done => done.during(failed)?,
            }
        }
        Ok(())
    }

    /// Writes everything anew, in one transaction if the socket takes it.
    async fn recommit(&self, changes: &[Change]) -> Result<()> {
        let failed = || "cannot write the service rules".to_string();
        let base = || rules::base(&self.nft, self.index).during(failed);
        match rules::apply(base()?, self.index, changes).during(failed)?.commit(&self.nft).await {
            Err(e) if e.is_message_too_long() => {
                base()?.commit(&self.nft).await.during(failed)?;
                self.commit(changes).await
            }
            done => done.during(failed),
        }
    }

    async fn forget(&self, stale: &Stale) -> Result<()> {
        let failed = || "cannot forget UDP flows".to_string();
        let conntrack = Connection::<Netfilter>::new_in(self.namespace.fd().as_fd()).during(failed)?;
        for filter in stale.filters() {
            let found = conntrack.get_conntrack_matching(&filter).await.during(failed)?;
            for entry in found.iter().filter(|e| stale.includes(e)) {
                match conntrack.del_conntrack_entry(entry).await {
                    Err(e) if e.is_not_found() => {} // it timed out meanwhile
                    other => other.during(failed)?,
                }
            }
        }
        Ok(())
    }
}

/// Changes what is known of the kernel's state, once the kernel has it: after a write that failed,
/// the next change starts from what is there, and `heal` finds what it has to remove. A change that
/// changes nothing is not written.
async fn change_written<T: Clone + PartialEq>(
    known: &tokio::sync::Mutex<T>,
    change: impl FnOnce(&mut T),
    write: impl AsyncFnOnce(&T) -> Result<()>,
) -> Result<()> {
    let mut known = known.lock().await;
    let mut after = known.clone();
    change(&mut after);
    if after != *known {
        write(&after).await?;
        *known = after;
    }
    Ok(())
}

#[async_trait]
impl NodeNetwork for Node {
    fn node_ip(&self) -> Ipv4Addr {
        self.ip
    }

    async fn add_pod(&self, sandbox_id: &str, netns: Arc<OwnedFd>) -> Result<Ipv4Addr> {
        let (known, taken) = {
            let mut ipam = self.ipam();
            (ipam.has(sandbox_id), ipam.take(sandbox_id).ok_or_else(|| Error::NoAddress(ipam.cidr())))
        };
        let ip = taken?;
        if known {
            return Ok(ip);
        }
        match self.connect(ip, &netns).await {
            Ok(near) => {
                self.wires().insert(sandbox_id.into(), near);
                Ok(ip)
            }
            Err(e) => {
                self.ipam().give_back(sandbox_id);
                Err(e)
            }
        }
    }

    async fn remove_pod(&self, sandbox_id: &str) -> Result<()> {
        // The kernel removes the route and the neighbour with the wire. Without this the wire would
        // stay as long as some process holds the pod's namespace.
        let near = self.wires().remove(sandbox_id);
        if let Some(near) = near
            && let Err(error) = self.route.del_link_by_index(near).await
            && !error.is_not_found()
        {
            tracing::warn!(node = %self.ip, wire = near, %error, "a wire stays until its pod's namespace goes");
        }
        self.ipam().give_back(sandbox_id);
        Ok(())
    }

    async fn sync_services(&self, wanted: &[ServiceRule]) -> Result<usize> {
        let mut services = self.services.lock().await;
        let mut count = 0;
        if let Some(Write { changes, after, anew, .. }) = services.begin(wanted) {
            let once = changes.iter().filter(
                |c| !matches!(c, Change::Remove { old, .. } if after.services.contains_key(&old.key)),
            );
            count = once.count();
            let written = match anew {
                true => self.recommit(&changes).await.map(|()| after),
                false => match self.commit(&changes).await {
                    Ok(()) => Ok(after),
                    Err(e) => {
                        tracing::warn!(node = %self.ip, "{e}; writing all of them anew");
                        let (changes, after) = Table::rebuild(wanted);
                        self.recommit(&changes).await.map(|()| after)
                    }
                },
            };
            services.known.end(written?);
        }
        if !services.stale.is_empty() {
            services.stale.allow(wanted.iter());
        }
        Ok(count)
    }

    async fn installed(&self) -> Result<Vec<Installed>> {
        let services = self.services.lock().await; // what is written now is read whole
        let failed = || format!("cannot read the service rules of {}", self.ip);
        let read = installed::read(&self.nft, &services.known.services()).await;
        read.during(failed).map_err(Error::of_nftables)
    }

    async fn forget_flows(&self) -> Result<()> {
        let mut services = self.services.lock().await;
        if !services.stale.is_empty() {
            self.forget(&services.stale).await?;
            services.stale = Stale::new(self.ip);
        }
        Ok(())
    }

    async fn dial(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        self.namespace.dial(to).await
    }

    async fn listen(&self, on: SocketAddr) -> std::io::Result<TcpListener> {
        self.namespace.listen(on).await
    }

    async fn bind_udp(&self, on: SocketAddr) -> std::io::Result<UdpSocket> {
        self.namespace.bind_udp(on).await
    }

    fn netns(&self) -> Option<Arc<OwnedFd>> {
        Some(self.namespace.fd().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::rule;
    use cni::Protocol;

    /// A kube-proxy is killed while it writes, and another Service is deleted before the next one
    /// writes.
    #[test]
    fn a_removal_is_not_lost_with_a_write_that_did_not_end() {
        let node = Ipv4Addr::new(172, 30, 0, 11);
        let udp = |key: &str, host: u8, port: u16| ServiceRule {
            protocol: Protocol::Udp,
            addresses: vec![Ipv4Addr::new(10, 96, 0, host)],
            port,
            ..rule(key, &[(Ipv4Addr::new(10, 244, 1, 2), 53)])
        };
        let mut services = Services { known: Known::default(), stale: Stale::new(node) };
        let write = services.begin(&[udp("deleted", 10, 53), udp("changed", 11, 53)]).unwrap();
        services.known.end(write.after);
        services.stale = Stale::new(node); // the flows of then are forgotten
        drop(services.begin(&[udp("deleted", 10, 53), udp("changed", 11, 54)]).unwrap());
        services.stale = Stale::new(node);
        services.begin(&[udp("changed", 11, 54)]).unwrap();
        let asked: Vec<String> = services.stale.filters().iter().map(|f| format!("{f:?}")).collect();
        assert!(asked.iter().any(|filter| filter.contains("10.96.0.10")), "{asked:?}");
    }

    /// The kernel refuses every write until there were more rules than are remembered.
    #[test]
    fn a_write_that_may_replace_any_rule_makes_every_flow_stale() {
        let node = Ipv4Addr::new(172, 30, 0, 11);
        let mut services = Services { known: Known::default(), stale: Stale::new(node) };
        for round in 0..11 {
            let wanted: Vec<ServiceRule> = (0..1000).map(|n| rule(&format!("{round}-{n}"), &[])).collect();
            services.begin(&wanted).unwrap();
        }
        assert!(services.stale.is_empty(), "none of them is a UDP service");
        services.begin(&[]).unwrap();
        assert!(!services.stale.is_empty());
        assert_eq!(services.stale.filters().len(), 1, "all of UDP");
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_written_by_the_next_call() {
        let (losses, kernel) =
            (tokio::sync::Mutex::new(BTreeMap::new()), parking_lot::Mutex::new(BTreeMap::new()));
        let write = |works: bool| {
            let kernel = &kernel;
            async move |after: &BTreeMap<u8, f64>| match works {
                true => {
                    kernel.lock().clone_from(after);
                    Ok(())
                }
                false => {
                    Err(Error::Kernel { what: "no".into(), cause: std::io::ErrorKind::OutOfMemory.into() })
                }
            }
        };
        let cut = |losses: &mut BTreeMap<u8, f64>| {
            losses.insert(2, 100.0);
        };
        assert!(change_written(&losses, cut, write(false)).await.is_err());
        assert!(losses.lock().await.is_empty(), "the kernel loses nothing yet");
        change_written(&losses, cut, write(true)).await.unwrap();
        assert_eq!(kernel.lock().len(), 1);
        assert!(change_written(&losses, BTreeMap::clear, write(false)).await.is_err());
        change_written(&losses, BTreeMap::clear, write(true)).await.unwrap();
        assert!(kernel.lock().is_empty(), "the partition is there for good");
        change_written(&losses, BTreeMap::clear, write(false)).await.unwrap(); // nothing is written
    }
}
