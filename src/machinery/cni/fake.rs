//! A network that only remembers what it was asked: for tests. Pods have addresses with no program
//! behind them. Sockets of a fake node lie on this machine's loopback; fake nodes of one
//! [`FakeFabric`] reach each other's TCP listeners, and no UDP socket.

use super::{Does, Error, HostNetwork, HostPort, Installed, NodeNetwork, Protocol, Result, ServiceRule};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// Where the fake nodes' listeners really are.
#[derive(Clone, Default)]
pub struct FakeFabric(Arc<Mutex<BTreeMap<SocketAddr, SocketAddr>>>);

impl FakeFabric {
    /// A node with this address whose pods are in the /24 of `pods`, e.g. 10.244.7.0.
    pub fn node(&self, ip: Ipv4Addr, pods: Ipv4Addr) -> Arc<FakeNode> {
        Arc::new(FakeNode { ip, pods, fabric: self.clone(), state: Mutex::default() })
    }
}

#[derive(Default)]
struct State {
    last: u8,
    taken: BTreeMap<String, Ipv4Addr>,
    services: BTreeMap<String, ServiceRule>,
    keeps_flows: bool,
    refuses_rules: bool,
}

/// One fake node. It remembers the addresses of its pods, from `.2` to `.254` of its /24, and its
/// service rules.
pub struct FakeNode {
    ip: Ipv4Addr,
    pods: Ipv4Addr,
    fabric: FakeFabric,
    state: Mutex<State>,
}

impl FakeNode {
    /// The rules as they were last written, by key.
    pub fn services(&self) -> Vec<ServiceRule> {
        self.state.lock().services.values().cloned().collect()
    }

    /// From now on flows can be forgotten, or cannot.
    pub fn keep_flows(&self, keeps: bool) {
        self.state.lock().keeps_flows = keeps;
    }

    /// From now on rules are refused, or written.
    pub fn refuse_rules(&self, refuses: bool) {
        self.state.lock().refuses_rules = refuses;
    }

    fn named(&self, on: SocketAddr) -> SocketAddr {
        if on.ip().is_unspecified() { (self.ip, on.port()).into() } else { on }
    }
}

/// A loopback address for one listener: after its end no other one of this process has its address
/// and port, so a connection to it is refused.
fn own_loopback() -> Ipv4Addr {
    static LISTENERS: AtomicU16 = AtomicU16::new(0);
    let [high, low] = LISTENERS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    // Other processes of this machine test, too.
    let [.., process] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + process % 254, high, low)
}

#[async_trait]
impl NodeNetwork for FakeNode {
    fn node_ip(&self) -> Ipv4Addr {
        self.ip
    }

    async fn add_pod(&self, sandbox_id: &str, _: Arc<OwnedFd>) -> Result<Ipv4Addr> {
        let mut state = self.state.lock();
        if let Some(ip) = state.taken.get(sandbox_id) {
            return Ok(*ip);
        }
        let [a, b, c, _] = self.pods.octets();
        // Around the range, as `net` does it: an address rests before it is used again.
        let around = (0..253).map(|step| 2 + (u16::from(state.last) + step) % 253);
        let free = around
            .map(|host| Ipv4Addr::new(a, b, c, host as u8))
            .find(|ip| !state.taken.values().any(|t| t == ip));
        let ip = free.ok_or_else(|| Error::NoAddress(format!("{}/24", self.pods)))?;
        state.last = ip.octets()[3] - 1;
        state.taken.insert(sandbox_id.to_string(), ip);
        Ok(ip)
    }

    async fn remove_pod(&self, sandbox_id: &str) -> Result<()> {
        self.state.lock().taken.remove(sandbox_id);
        Ok(())
    }

    async fn sync_services(&self, rules: &[ServiceRule]) -> Result<usize> {
        let wanted: BTreeMap<String, ServiceRule> =
            rules.iter().map(|r| (r.key.clone(), r.clone())).collect();
        let mut state = self.state.lock();
        if state.refuses_rules {
            let what = "cannot change the service rules".into();
            return Err(Error::Kernel { what, cause: io::ErrorKind::Unsupported.into() });
        }
        let changed = wanted.iter().filter(|(key, rule)| state.services.get(*key) != Some(rule)).count();
        let gone = state.services.keys().filter(|key| !wanted.contains_key(*key)).count();
        state.services = wanted;
        Ok(changed + gone)
    }

    /// The endpoints of the remembered rules.
    async fn installed(&self) -> Result<Vec<Installed>> {
        let endpoints = |rule: ServiceRule| {
            (0u32..).zip(rule.endpoints).map(move |(number, (ip, port))| Installed {
                service: Some(rule.key.clone()),
                within: "map".into(),
                text: format!("{number} : {ip} . {port}"),
                does: Does::Endpoint { number, ip, port },
            })
        };
        Ok(self.services().into_iter().flat_map(endpoints).collect())
    }

    async fn forget_flows(&self) -> Result<()> {
        match self.state.lock().keeps_flows {
            true => {
                let what = "cannot forget UDP flows".into();
                Err(Error::Kernel { what, cause: io::ErrorKind::Unsupported.into() })
            }
            false => Ok(()),
        }
    }

    async fn dial(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let real = self.fabric.0.lock().get(&to).copied();
        TcpStream::connect(real.ok_or(io::ErrorKind::ConnectionRefused)?).await
    }

    async fn listen(&self, on: SocketAddr) -> io::Result<TcpListener> {
        let listener = TcpListener::bind((own_loopback(), 0)).await?;
        self.fabric.0.lock().insert(self.named(on), listener.local_addr()?);
        Ok(listener)
    }

    async fn bind_udp(&self, _: SocketAddr) -> io::Result<UdpSocket> {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await
    }

    fn netns(&self) -> Option<Arc<OwnedFd>> {
        None
    }
}

/// The learner's loopback as a list.
#[derive(Default)]
pub struct FakeHost(Mutex<Vec<HostPort>>, tokio::sync::watch::Sender<BTreeMap<u16, u64>>);

impl FakeHost {
    /// A connection to a port.
    pub fn visit(&self, port: u16) {
        self.1.send_modify(|visits| *visits.entry(port).or_default() += 1);
    }

    /// Returns the ports that were asked for last.
    pub fn ports(&self) -> Vec<HostPort> {
        self.0.lock().clone()
    }
}

#[async_trait]
impl HostNetwork for FakeHost {
    async fn sync_ports(&self, want: &[HostPort]) -> Vec<((u16, Protocol), Error)> {
        *self.0.lock() = want.to_vec();
        Vec::new()
    }

    async fn has_port(&self, port: u16) -> bool {
        self.0.lock().iter().any(|own| own.port == port && own.protocol == Protocol::Tcp)
    }

    fn visits(&self) -> tokio::sync::watch::Receiver<BTreeMap<u16, u64>> {
        self.1.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn fake_nodes_talk_and_count_changes() {
        let fabric = FakeFabric::default();
        let a = fabric.node(Ipv4Addr::new(172, 30, 0, 11), Ipv4Addr::new(10, 244, 1, 0));
        let b = fabric.node(Ipv4Addr::new(172, 30, 0, 12), Ipv4Addr::new(10, 244, 2, 0));
        let listener = b.listen("0.0.0.0:10250".parse().unwrap()).await.unwrap();
        let at: SocketAddr = (b.node_ip(), 10250).into();
        let (dialled, accepted) = tokio::join!(a.dial(at), listener.accept());
        assert!(dialled.is_ok() && accepted.is_ok());
        assert_eq!(
            a.dial((b.node_ip(), 1).into()).await.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        let before = listener.local_addr().unwrap().ip();
        drop((dialled, accepted, listener));
        let next = b.listen("0.0.0.0:10251".parse().unwrap()).await.unwrap();
        assert_ne!(next.local_addr().unwrap().ip(), before, "each has an address of its own");
        let gone = a.dial(at).await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::ConnectionRefused, "the listener has ended");
        let file = || Arc::new(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        let first = a.add_pod("x", file()).await.unwrap();
        assert_eq!(first, Ipv4Addr::new(10, 244, 1, 2));
        assert_eq!(a.add_pod("x", file()).await.unwrap(), first);
        assert_eq!(a.add_pod("y", file()).await.unwrap(), Ipv4Addr::new(10, 244, 1, 3));
        for pod in 4..=254u8 {
            let ip = a.add_pod(&format!("pod-{pod}"), file()).await.unwrap();
            assert_eq!(ip, Ipv4Addr::new(10, 244, 1, pod));
        }
        assert!(matches!(a.add_pod("one too many", file()).await, Err(Error::NoAddress(_))));
        a.remove_pod("y").await.unwrap();
        assert_eq!(a.add_pod("z", file()).await.unwrap(), Ipv4Addr::new(10, 244, 1, 3));
    }
}
