//! Networks.

mod services;

pub(crate) use services::services;

use crate::world::{Check, World, dial, ensure};
use cni::{NodeNetwork, Protocol, ServiceRule};
use linux::namespace;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// A pod that is a namespace only.
struct Pod {
    ip: Ipv4Addr,
    netns: Arc<OwnedFd>,
}

async fn pod(node: &dyn NodeNetwork, name: &str) -> Check<Pod> {
    let netns = Arc::new(namespace::new_network()?);
    let ip = node.add_pod(name, netns.clone()).await?;
    ensure(node.add_pod(name, netns.clone()).await? == ip, "adding twice is adding once")?;
    Ok(Pod { ip, netns })
}

impl Pod {
    /// Says its name, and who asked, to everybody who connects.
    fn serve(&self, name: &'static str) -> Check {
        let at = (self.ip, 8080);
        let listener = namespace::in_network(self.netns.as_fd(), || TcpListener::bind(at))??;
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                use std::io::Write;
                let peer = stream.peer_addr().map(|p| p.ip().to_string()).unwrap_or_default();
                let _ = write!(stream, "{name} {peer}");
            }
        });
        Ok(())
    }
}

/// Asks from inside a namespace; an error's kind if nobody answers.
fn ask(netns: &OwnedFd, to: (Ipv4Addr, u16)) -> Check<String> {
    use std::io::Read;
    let dial = || match TcpStream::connect_timeout(&SocketAddr::from(to), Duration::from_millis(800)) {
        Ok(mut stream) => {
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        }
        Err(e) => format!("{:?}", e.kind()),
    };
    Ok(namespace::in_network(netns.as_fd(), dial)?)
}

fn many(netns: &OwnedFd, to: (Ipv4Addr, u16), times: usize) -> Check<BTreeMap<String, usize>> {
    let mut answers = BTreeMap::new();
    for _ in 0..times {
        let who = ask(netns, to)?.split(' ').next().unwrap_or_default().to_string();
        *answers.entry(who).or_insert(0) += 1;
    }
    Ok(answers)
}

fn vip(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 96, 0, host)
}

fn service(host: u8, endpoints: &[&Pod]) -> ServiceRule {
    ServiceRule {
        key: format!("default/s{host}:"),
        protocol: Protocol::Tcp,
        addresses: vec![vip(host)],
        port: 80,
        node_port: Some(30000 + u16::from(host)),
        endpoints: endpoints.iter().map(|p| (p.ip, 8080)).collect(),
        all_endpoints: None,
        local_endpoints: None,
        affinity_seconds: None,
        draining: Vec::new(),
    }
}

async fn read(mut stream: tokio::net::TcpStream) -> Check<String> {
    use tokio::io::AsyncReadExt;
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(2), stream.read_to_string(&mut text)).await??;
    Ok(text)
}

pub(crate) async fn udp(w: World) -> Check {
    let node = &*w.nodes[0].network;
    let (a, b) = (pod(node, "a").await?, pod(node, "b").await?);
    for (pod, name) in [(&a, "a"), (&b, "b")] {
        let at = (pod.ip, 8080);
        let socket = namespace::in_network(pod.netns.as_fd(), || UdpSocket::bind(at))??;
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(name.as_bytes(), from);
            }
        });
    }
    let mut rule = ServiceRule { protocol: Protocol::Udp, node_port: None, ..service(53, &[&a]) };
    node.sync_services(std::slice::from_ref(&rule)).await?;
    let client = node.bind_udp("0.0.0.0:0".parse()?).await?;
    let ask = async || -> Check<String> {
        client.send_to(b"who", (vip(53), 80)).await?;
        let mut buffer = [0; 64];
        let (length, _) =
            tokio::time::timeout(Duration::from_secs(1), client.recv_from(&mut buffer)).await??;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    ensure(ask().await? == "a", "the first endpoint")?;
    rule.endpoints = vec![(b.ip, 8080)];
    rule.draining = vec![(a.ip, 8080)];
    node.sync_services(std::slice::from_ref(&rule)).await?;
    node.forget_flows().await?;
    ensure(ask().await? == "a", "a flow stays with an endpoint that ends and serves")?;
    rule.draining.clear();
    node.sync_services(std::slice::from_ref(&rule)).await?;
    node.forget_flows().await?;
    ensure(ask().await? == "b", "the same client socket finds the new endpoint")?;
    // The client asks before its Service is there: the node sends it on without a translation, to
    // an address that is nobody's.
    let early = node.bind_udp("0.0.0.0:0".parse()?).await?;
    let other: Ipv4Addr = "203.0.113.53".parse()?;
    early.send_to(b"who", (other, 80)).await.ok();
    let mut late: Vec<ServiceRule> = (80..100)
        .map(|port| ServiceRule {
            key: format!("late/{port}:"),
            addresses: vec![other],
            port,
            ..rule.clone()
        })
        .collect();
    late.push(rule.clone());
    node.sync_services(&late).await?;
    node.forget_flows().await?;
    early.send_to(b"who", (other, 80)).await?;
    let mut buffer = [0; 64];
    let (length, _) = tokio::time::timeout(Duration::from_secs(5), early.recv_from(&mut buffer)).await??;
    ensure(&buffer[..length] == b"b", "the flow is forgotten")
}

/// An address of a node's range that no pod has, and what a namespace must not take from the
/// machine.
pub(crate) async fn nobody(w: World) -> Check {
    let (n1, n2) = (&*w.nodes[0].network, &*w.nodes[1].network);
    let (a, c) = (pod(n1, "a").await?, pod(n2, "c").await?);
    let node1 = n1.netns().ok_or("no namespace")?;
    let free = Ipv4Addr::new(10, 244, 1, 200);
    for (who, netns) in
        [("a pod of the node", &a.netns), ("another node's pod", &c.netns), ("the node", &node1)]
    {
        let before = forwarded(&node1)?;
        let answer = ask(netns, (free, 8080))?;
        ensure(answer == "HostUnreachable", format!("{who}: {answer}"))?;
        let packets = forwarded(&node1)? - before;
        ensure(packets < 8, format!("{who}: the node forwarded {packets} packets for one connection"))?;
    }
    for (setting, wanted) in [
        ("eth0/send_redirects", "0"), // `default` is 1
        ("all/send_redirects", "0"),
        ("all/route_localnet", "0"),
        ("eth0/route_localnet", "0"),
        ("all/accept_source_route", "0"),
        ("eth0/rp_filter", "0"),
    ] {
        let path = format!("/proc/sys/net/ipv4/conf/{setting}");
        let value = namespace::in_network(node1.as_fd(), || std::fs::read_to_string(&path))??;
        ensure(value.trim() == wanted, format!("{setting} is {value}"))?;
    }
    // As kube-proxy sets them: a half-closed connection to a Service may be silent for an hour.
    for (state, wanted) in [("established", "86400"), ("close_wait", "3600")] {
        let path = format!("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_{state}");
        let value = namespace::in_network(node1.as_fd(), || std::fs::read_to_string(&path))??;
        ensure(value.trim() == wanted, format!("{state} is {value}"))?;
    }
    for index in [0, 1, 201] {
        let made = w.fabric.node(index, "refused").await;
        ensure(made.is_err(), format!("node {index} is made (again)"))?;
    }
    Ok(())
}

/// IPv4 packets that a namespace has forwarded so far.
fn forwarded(netns: &OwnedFd) -> Check<u64> {
    let snmp =
        namespace::in_network(netns.as_fd(), || std::fs::read_to_string("/proc/thread-self/net/snmp"))??;
    let mut lines = snmp.lines().filter(|line| line.starts_with("Ip:"));
    let (names, values) = (lines.next().ok_or("no names")?, lines.next().ok_or("no values")?);
    let column = names.split(' ').position(|name| name == "ForwDatagrams").ok_or("no such counter")?;
    Ok(values.split(' ').nth(column).ok_or("no value")?.parse()?)
}

pub(crate) async fn faults(w: World) -> Check {
    let (n1, n2) = (&*w.nodes[0].network, &*w.nodes[1].network);
    let listener = n2.listen((n2.node_ip(), 9000).into()).await?;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let reach =
        async || tokio::time::timeout(Duration::from_millis(400), n1.dial((n2.node_ip(), 9000).into())).await;
    drop(dial(n1, (n2.node_ip(), 9000)).await?);
    w.fabric.lose(1, 2, 100.0).await?;
    ensure(reach().await.is_err(), "nothing comes through a cut link")?;
    w.fabric.lose(2, 2, 100.0).await?;
    let own = n2.dial((n2.node_ip(), 9000).into());
    let own = tokio::time::timeout(Duration::from_millis(400), own).await;
    ensure(matches!(own, Ok(Ok(_))), "a node has no link to itself that could be cut")?;
    w.fabric.lose(1, 2, 50.0).await?;
    let mut through = 0;
    for _ in 0..40 {
        through += usize::from(matches!(reach().await, Ok(Ok(_))));
    }
    // A connection needs one packet each way: a quarter comes through. All or none would happen
    // once in ten thousand runs.
    ensure((1..40).contains(&through), format!("a lossy link loses some: {through} of 40 came through"))?;
    w.fabric.plug(1, false).await?;
    ensure(reach().await.is_err(), "nothing comes out of a node without its plug")?;
    w.fabric.plug(1, true).await?;
    w.fabric.heal().await?;
    ensure(matches!(reach().await, Ok(Ok(_))), "a mended link carries")?;
    match w.fabric.slow(1, Duration::from_millis(100)).await {
        Ok(()) => {
            let start = std::time::Instant::now();
            drop(dial(n1, (n2.node_ip(), 9000)).await?);
            ensure(start.elapsed() >= Duration::from_millis(100), "a slow link delays")?;
            w.fabric.heal().await?;
        }
        Err(e) => println!("netem: {e}"), // not every kernel has it
    }
    Ok(())
}

/// What a pod with CAP_NET_RAW may put on its wire: packets from another address are dropped by its
/// node, and its answers to ARP reach nobody, because every pod has a wire of its own whose ends
/// know each other.
pub(crate) async fn impostors(w: World) -> Check {
    use nix::sys::socket::{setsockopt, sockopt};
    let node = &*w.nodes[0].network;
    let (liar, victim, hearer) =
        (pod(node, "liar").await?, pod(node, "victim").await?, pod(node, "hearer").await?);
    let away = pod(&*w.nodes[1].network, "away").await?;
    for to in [&hearer, &away] {
        let at = (to.ip, 9999);
        let ear = namespace::in_network(to.netns.as_fd(), || UdpSocket::bind(at))??;
        ear.set_read_timeout(Some(Duration::from_secs(5)))?;
        // The lies first: what is heard first tells whether they came through.
        for (source, word) in [(victim.ip, "lie"), (Ipv4Addr::new(172, 30, 0, 1), "lie"), (liar.ip, "truth")]
        {
            let say = || -> std::io::Result<usize> {
                let mouth = nix::sys::socket::socket(
                    nix::sys::socket::AddressFamily::Inet,
                    nix::sys::socket::SockType::Datagram,
                    nix::sys::socket::SockFlag::SOCK_CLOEXEC,
                    None,
                )?;
                setsockopt(&mouth, sockopt::IpTransparent, &true)?; // any source
                let bound: nix::sys::socket::SockaddrIn = std::net::SocketAddrV4::new(source, 0).into();
                nix::sys::socket::bind(std::os::fd::AsRawFd::as_raw_fd(&mouth), &bound)?;
                UdpSocket::from(mouth).send_to(word.as_bytes(), at)
            };
            namespace::in_network(liar.netns.as_fd(), say)??;
        }
        let mut heard = [0; 16];
        let (length, from) = ear.recv_from(&mut heard)?;
        ensure(
            &heard[..length] == b"truth" && from.ip() == liar.ip,
            format!("{:?} from {from}", &heard[..length]),
        )?;
    }
    // Every neighbour is written down, so none is asked for.
    let arp = namespace::in_network(hearer.netns.as_fd(), || {
        std::fs::read_to_string("/proc/thread-self/net/arp")
    })??;
    let permanent = arp.lines().skip(1).all(|line| line.split_whitespace().nth(2) == Some("0x6"));
    ensure(arp.lines().count() == 2 && permanent, arp)?;
    // By default the kernel gives every interface an IPv6 address, and listens to any router.
    let inside = node.netns().ok_or("no namespace")?;
    let ipv6 = || std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    let addresses = namespace::in_network(inside.as_fd(), ipv6)?;
    ensure(addresses.is_empty(), format!("the node has IPv6: {addresses}"))
}
