//! The wire that joins the nodes: a namespace with a bridge.

use super::addresses::{BRIDGE, node_ip, pods};
use super::host::Host;
use super::link::{self, mac};
use super::namespace::Namespace;
use super::node::Node;
use super::refused::Refused;
use cni::{Error, HostNetwork, NodeNetwork, Result};
use futures::future::BoxFuture; // compiled in this room once, not in each that awaits it
use linux::namespace::{disable_ipv6, set_network_sysctls};
use nlink::netlink::addr::Ipv4Address;
use nlink::netlink::link::BridgeLink;
use nlink::netlink::route::Ipv4Route;
use nlink::netlink::tc::NetemConfig;
use nlink::netlink::{Connection, Route};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Nodes have addresses from 172.30.0.11 on; pods' addresses have room for as many.
const NODES_MAX: u8 = 200;

/// The longest delay of a slow link.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// Packets that a slow link holds; more are lost. netem's own limit of 1000 would cut a link with a
/// delay of 1 s to 1000 packets a second.
const QUEUE: u32 = 100_000;

/// The network of a cluster: a namespace with a bridge, the nodes on it, and the way from the
/// learner's own loopback to them.
pub struct Fabric {
    namespace: Namespace,
    route: Connection<Route>,
    bridge: u32,
    /// The number of the next wire: a wire that is still vanishing keeps its name.
    next_wire: AtomicU32,
    nodes: Mutex<BTreeMap<u8, Arc<Node>>>,
    host: Arc<Host>,
}

impl Fabric {
    /// Makes the namespace and its bridge, without nodes.
    ///
    /// # Errors
    /// The kernel has no network namespaces, veth or bridge for us; `ropewalk doctor` says which.
    pub fn new() -> BoxFuture<'static, Result<Fabric>> {
        Box::pin(async move {
            let namespace = Namespace::new().during(|| "cannot make a network namespace".into())?;
            let route = link::open(namespace.fd())?;
            link::up(&route, 1).await?;
            route
                .add_link(BridgeLink::new("br0").address(mac(BRIDGE)))
                .await
                .during(|| "cannot make a bridge".into())?;
            let bridge = link::index_of(&route, "br0").await?;
            link::up(&route, bridge).await?;
            let address = Ipv4Address::with_index(bridge, BRIDGE, 24);
            route.add_address(address).await.during(|| "cannot give the bridge an address".into())?;
            set_network_sysctls(
                namespace.fd().as_fd(),
                &[
                    ("net/ipv4/ip_forward", "1"),
                    // As on nodes, whatever the machine's own settings are. Wires of nodes are
                    // ports of the bridge and have no address.
                    ("net/ipv4/conf/all/route_localnet", "0"),
                    ("net/ipv4/conf/br0/route_localnet", "0"),
                    ("net/ipv4/conf/all/accept_source_route", "0"),
                    ("net/ipv4/conf/all/send_redirects", "0"),
                    ("net/ipv4/conf/br0/send_redirects", "0"),
                    ("net/ipv4/conf/all/rp_filter", "0"),
                    ("net/ipv4/conf/br0/rp_filter", "0"),
                ],
            )
            .during(|| "cannot configure the fabric".into())?;
            disable_ipv6(namespace.fd().as_fd()).during(|| "cannot switch IPv6 off in the fabric".into())?;
            let host = Arc::new(Host::new(namespace.clone()));
            let (next_wire, nodes) = (AtomicU32::new(0), Mutex::default());
            Ok(Fabric { namespace, route, bridge, next_wire, nodes, host })
        })
    }

    /// Makes node N's network, once: 172.30.0.(10+N), pods in 10.244.N.0/24. `index` is 1 to 200.
    ///
    /// # Errors
    /// The index is another number, or a node has it; the kernel refuses.
    pub fn node<'a>(&'a self, index: u8, name: &'a str) -> BoxFuture<'a, Result<Arc<dyn NodeNetwork>>> {
        Box::pin(async move {
            let has_it = self.lock().contains_key(&index);
            let refused = match index {
                1..=NODES_MAX if !has_it => None,
                1..=NODES_MAX => Some(std::io::ErrorKind::AlreadyExists),
                _ => Some(std::io::ErrorKind::InvalidInput),
            };
            if let Some(kind) = refused {
                return Err(Error::Kernel { what: format!("cannot make node {index}"), cause: kind.into() });
            }
            let ip = node_ip(index);
            let namespace = Namespace::new().during(|| "cannot make a network namespace".into())?;
            let inside = link::open(namespace.fd())?;
            link::up(&inside, 1).await?;
            let wire = format!("n{index}-{}", self.next_wire.fetch_add(1, Ordering::Relaxed));
            let port = link::wire(&self.route, &wire, None, namespace.fd(), mac(ip)).await?;
            let eth0 = link::index_of(&inside, "eth0").await?;
            link::up(&inside, eth0).await?;
            let joined = self.route.set_link_master_by_index(port, self.bridge).await;
            joined.during(|| format!("cannot join {name} to the bridge"))?;
            link::up(&self.route, port).await?;
            link::neighbour(&self.route, self.bridge, ip, mac(ip)).await?;
            link::neighbour(&inside, eth0, BRIDGE, mac(BRIDGE)).await?;
            let address = Ipv4Address::with_index(eth0, ip, 24);
            inside.add_address(address).await.during(|| format!("cannot give {name} its address"))?;
            // Local connections to a Service need a route before they are translated.
            let default = Ipv4Route::default_route().gateway(BRIDGE).dev_index(eth0);
            inside.add_route(default).await.during(|| format!("cannot give {name} a default route"))?;
            let pods = Ipv4Route::new(pods(index), 24).gateway(ip).dev_index(self.bridge);
            self.route.replace_route(pods).await.during(|| format!("cannot route to the pods of {name}"))?;
            self.introduce(index, &inside, eth0).await?;
            link::wait_up(&inside, eth0).await?;
            link::wait_up(&self.route, port).await?;
            let node = Arc::new(Node::new(index, name, ip, namespace, inside, eth0, port).await?);
            self.lock().insert(index, node.clone());
            Ok(node as Arc<dyn NodeNetwork>)
        })
    }

    /// Nodes that know each other's hardware address never lose a first packet to ARP.
    async fn introduce(&self, index: u8, inside: &Connection<Route>, eth0: u32) -> Result<()> {
        let others: Vec<Arc<Node>> =
            self.lock().iter().filter(|(other, _)| **other != index).map(|(_, node)| node.clone()).collect();
        for other in others {
            let there = other.ip();
            link::neighbour(inside, eth0, there, mac(there)).await?;
            other.meet(node_ip(index)).await?;
        }
        Ok(())
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, BTreeMap<u8, Arc<Node>>> {
        self.nodes.lock()
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        self.lock().values().cloned().collect()
    }

    /// The learner's own loopback.
    pub fn host(&self) -> Arc<dyn HostNetwork> {
        self.host.clone()
    }

    /// Makes a TCP connection from the fabric, e.g. to a node's address.
    ///
    /// # Errors
    /// As [`Namespace::dial`].
    pub fn dial(&self, to: SocketAddr) -> BoxFuture<'_, std::io::Result<tokio::net::TcpStream>> {
        Box::pin(async move { self.namespace.dial(to).await })
    }

    /// Makes a TCP listener in the fabric, at its own address ([`BRIDGE`]).
    ///
    /// # Errors
    /// As [`Namespace::listen`].
    pub fn listen(&self, port: u16) -> BoxFuture<'_, std::io::Result<tokio::net::TcpListener>> {
        Box::pin(async move { self.namespace.listen((BRIDGE, port).into()).await })
    }

    /// Loses a share of what passes between two nodes and their pods, each way, until `heal`: 100
    /// is a cut cable, 0 mends it. Without two such nodes it does nothing: a node has no link to
    /// itself, and a rule for one would cut off its own pods.
    ///
    /// # Errors
    /// The kernel refuses; then both ways are as they were.
    pub fn lose(&self, a: u8, b: u8, percent: f64) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if a == b {
                return Ok(());
            }
            let (one, other) = {
                let nodes = self.lock();
                let (Some(one), Some(other)) = (nodes.get(&a), nodes.get(&b)) else { return Ok(()) };
                (one.clone(), other.clone())
            };
            let before = one.loss(b).await;
            both_or_none(one.lose(b, percent), other.lose(a, percent), one.lose(b, before)).await
        })
    }

    /// Delays what a node sends to the fabric, by a minute at most, until `heal`. Without such a
    /// node it does nothing.
    ///
    /// # Errors
    /// The kernel has no netem.
    pub fn slow(&self, index: u8, delay: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let Some(node) = self.lock().get(&index).cloned() else { return Ok(()) };
            node.shape(NetemConfig::new().delay(delay.min(DELAY_MAX)).limit(QUEUE.into())).await
        })
    }

    /// Pulls a node's plug out of the bridge, or puts it in again and waits until the wire works.
    /// Without such a node it does nothing.
    ///
    /// # Errors
    /// The kernel refuses. `TimedOut`: the wire did not come up within 2 seconds.
    pub fn plug(&self, index: u8, inserted: bool) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let Some(node) = self.lock().get(&index).cloned() else { return Ok(()) };
            match inserted {
                true => {
                    link::up(&self.route, node.bridge_port()).await?;
                    link::wait_up(&self.route, node.bridge_port()).await
                }
                false => link::down(&self.route, node.bridge_port()).await,
            }
        })
    }

    /// Undoes `lose` and `slow` on every node.
    ///
    /// # Errors
    /// The first one; a further call tries again where it failed.
    pub fn heal(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut healed = Ok(());
            for node in self.nodes() {
                healed = healed.and(node.heal().await);
            }
            healed
        })
    }
}

/// Makes two changes. Where the second one fails, the first one is undone.
///
/// # Errors
/// That of the change that failed.
async fn both_or_none(
    first: impl Future<Output = Result<()>>,
    second: impl Future<Output = Result<()>>,
    undo_first: impl Future<Output = Result<()>>,
) -> Result<()> {
    first.await?;
    let done = second.await;
    if done.is_err()
        && let Err(error) = undo_first.await
    {
        tracing::warn!(%error, "a link is changed one way until it is healed");
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[tokio::test]
    async fn a_link_is_not_cut_one_way() {
        let done = RefCell::new(Vec::new());
        let act = async |what: &'static str, works: bool| {
            done.borrow_mut().push(what);
            let refused =
                || Error::Kernel { what: what.into(), cause: std::io::ErrorKind::OutOfMemory.into() };
            works.then_some(()).ok_or_else(refused)
        };
        both_or_none(act("there", true), act("back", true), act("undo", true)).await.unwrap();
        assert_eq!(done.take(), ["there", "back"]);
        let failed = both_or_none(act("there", true), act("back", false), act("undo", true)).await;
        assert!(failed.unwrap_err().to_string().starts_with("back"));
        assert_eq!(done.take(), ["there", "back", "undo"]);
        assert!(both_or_none(act("there", false), act("back", true), act("undo", true)).await.is_err());
        assert_eq!(done.take(), ["there"]);
    }
}
