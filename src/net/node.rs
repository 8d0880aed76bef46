//! One node's network namespace.

use super::conntrack::Stale;
use super::ipam::Ipam;
use super::link::{self, GATEWAY, NODE_END, mac};
use super::namespace::Namespace;
use super::nft::{self, Nft};
use super::plan::{Change, Table};
use super::{Refused, fabric, rules};
use crate::cni::{Error, NodeNetwork, Result, ServiceRule};
use crate::linux::namespace::set_network_sysctls;
use async_trait::async_trait;
use nlink::TcHandle;
use nlink::netlink::addr::Ipv4Address;
use nlink::netlink::route::Ipv4Route;
use nlink::netlink::tc::NetemConfig;
use nlink::netlink::{Connection, Netfilter, Route};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

pub struct Node {
    index: u8,
    ip: Ipv4Addr,
    namespace: Namespace,
    route: Connection<Route>,
    eth0: u32,
    nft: Nft,
    ipam: Mutex<Ipam>,
    /// Wires made so far: a pod's wire vanishes some milliseconds after the pod, so names are not used twice.
    wires: AtomicU32,
    /// Locked for the whole of a change, so that changes do not overtake each other.
    table: tokio::sync::Mutex<Table>,
    /// Its plug in the fabric's bridge.
    port: u32,
    /// What is lost of the packets from other nodes, in percent.
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
        port: u32,
    ) -> Result<Node> {
        let settings = [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/default/send_redirects", "0"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            // For the wires of pods, which come later: a packet whose source is not the pod's own address is dropped.
            ("net/ipv4/conf/default/rp_filter", "1"),
            ("net/ipv4/ip_unprivileged_port_start", "0"),
        ];
        set_network_sysctls(namespace.fd().as_fd(), &settings)
            .during(|| format!("cannot configure {name}"))?;
        let nft = nft::open(namespace.fd()).during(|| "cannot open nftables".into())?;
        let base = rules::base(&nft, index).during(|| "cannot build the service rules".into())?;
        base.commit(&nft).await.during(|| format!("cannot write the service rules of {name}"))?;
        Ok(Node {
            index,
            ip,
            namespace,
            route,
            eth0,
            nft,
            ipam: Mutex::new(Ipam::new(index)),
            wires: AtomicU32::new(0),
            table: tokio::sync::Mutex::default(),
            port,
            losses: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn index(&self) -> u8 {
        self.index
    }

    pub(super) fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    fn ipam(&self) -> MutexGuard<'_, Ipam> {
        self.ipam.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Another node has joined the fabric.
    pub(super) async fn meet(&self, other: Ipv4Addr) -> Result<()> {
        link::neighbour(&self.route, self.eth0, other, mac(other)).await
    }

    pub(super) fn port(&self) -> u32 {
        self.port
    }

    pub(super) async fn lose(&self, other: u8, percent: f64) -> Result<()> {
        let mut losses = self.losses.lock().await;
        match percent > 0.0 {
            true => drop(losses.insert(other, percent)),
            false => drop(losses.remove(&other)),
        }
        self.write_losses(&losses).await
    }

    async fn write_losses(&self, losses: &BTreeMap<u8, f64>) -> Result<()> {
        let rules = fabric::loss_rules(&self.nft, losses).during(|| "cannot build fault rules".into())?;
        rules.commit(&self.nft).await.during(|| "cannot write fault rules".into())
    }

    pub(super) async fn shape(&self, netem: NetemConfig) -> Result<()> {
        let done = self.route.replace_qdisc("eth0", netem.build()).await;
        done.during(|| "cannot slow the link down (netem)".into())
    }

    pub(super) async fn heal(&self) -> Result<()> {
        let mut losses = self.losses.lock().await;
        if !losses.is_empty() {
            losses.clear();
            self.write_losses(&losses).await?;
        }
        let removed = self.route.del_qdisc_if_exists("eth0", TcHandle::ROOT).await;
        removed.map(drop).during(|| "cannot make the link fast again".into())
    }

    /// Makes a pod's wire. A wire that cannot be brought into use is removed again: the pod's namespace, with which it would go, may be held by somebody.
    async fn connect(&self, ip: Ipv4Addr, netns: &OwnedFd) -> Result<()> {
        let pod = link::open(netns)?;
        link::up(&pod, 1).await?;
        let name = format!("p{}", self.wires.fetch_add(1, Ordering::Relaxed));
        let near = link::wire(&self.route, &name, Some(NODE_END), netns, mac(ip)).await?;
        let connected = self.configure(ip, &pod, near).await;
        if connected.is_err()
            && let Err(error) = self.route.del_link_by_index(near).await
        {
            tracing::warn!(node = %self.ip, wire = name, %error, "a wire stays until its pod's namespace goes");
        }
        connected
    }

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

    async fn commit(&self, changes: &[Change]) -> Result<()> {
        let failed = || "cannot change the service rules".to_string();
        let transaction = rules::apply(self.nft.transaction(), changes).during(failed)?;
        transaction.commit(&self.nft).await.during(failed)
    }

    /// Everything anew, in one transaction.
    async fn recommit(&self, changes: &[Change]) -> Result<()> {
        let failed = || "cannot write the service rules".to_string();
        let base = rules::base(&self.nft, self.index).during(failed)?;
        rules::apply(base, changes).during(failed)?.commit(&self.nft).await.during(failed)
    }

    async fn forget(&self, stale: &Stale) -> Result<()> {
        let failed = || "cannot forget UDP flows".to_string();
        let conntrack = Connection::<Netfilter>::new_in(self.namespace.fd().as_fd()).during(failed)?;
        for entry in conntrack.get_conntrack().await.during(failed)?.iter().filter(|e| stale.includes(e)) {
            match conntrack.del_conntrack_entry(entry).await {
                Err(e) if e.is_not_found() => {} // it timed out meanwhile
                other => other.during(failed)?,
            }
        }
        Ok(())
    }
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
            Ok(()) => Ok(ip),
            Err(e) => {
                self.ipam().give_back(sandbox_id);
                Err(e)
            }
        }
    }

    async fn remove_pod(&self, sandbox_id: &str) -> Result<()> {
        self.ipam().give_back(sandbox_id); // wire, route and neighbour go with the namespace
        Ok(())
    }

    async fn sync_services(&self, wanted: &[ServiceRule]) -> Result<usize> {
        let mut table = self.table.lock().await;
        let (changes, after) = table.change_to(wanted);
        if changes.is_empty() {
            return Ok(0);
        }
        let stale = Stale::of(changes.iter().filter_map(Change::old), wanted.iter());
        let count = changes
            .iter()
            .filter(|c| !matches!(c, Change::Remove { old, .. } if after.services.contains_key(&old.key)));
        let count = count.count();
        match self.commit(&changes).await {
            Ok(()) => *table = after,
            Err(e) => {
                tracing::warn!(node = %self.ip, "{}; writing all of them anew", e);
                let (changes, after) = Table::rebuild(wanted);
                self.recommit(&changes).await?;
                *table = after;
            }
        }
        if let Some(stale) = stale {
            self.forget(&stale).await?;
        }
        Ok(count)
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
