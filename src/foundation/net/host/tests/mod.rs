//! Listeners, targets and connections of a host.

mod ports;

use super::connections::{DIAL_LAST, DIAL_MAX, first_that_answers};
use super::flows::{Flow, Flows, UDP_CLIENTS, UDP_IDLE};
use super::places::{Place, Places};
use super::targets::{Goal, Kept, Targets};
use super::*;
use clock::Instant;
use tokio::net::TcpStream;

/// A Service may have thousands of node ports, and each takes four descriptors.
#[test]
fn ports_leave_the_reserve_of_descriptors_alone() {
    struct Numbered(i32);
    impl AsRawFd for Numbered {
        fn as_raw_fd(&self) -> std::os::fd::RawFd {
            self.0
        }
    }
    assert_eq!(bind_all(80, |_| Ok(Numbered(3))).map(|sockets| sockets.len()).ok(), Some(2));
    let refused = bind_all(80, |_| Ok(Numbered(i32::MAX))).map(|sockets| sockets.len()).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(nix::libc::EMFILE));
    let told = port_error(80, refused).to_string();
    assert!(told.contains("no file descriptor is left for port 80"), "{told}");
    let taken = port_error(80, io::Error::from_raw_os_error(nix::libc::EADDRINUSE)).to_string();
    assert!(taken.contains("port 80 of this machine is taken"), "{taken}");
    let denied = port_error(80, io::Error::from_raw_os_error(nix::libc::EACCES)).to_string();
    assert!(denied.contains("ip_unprivileged_port_start") && denied.contains("denied"), "{denied}");
}

/// Each Service of type NodePort or LoadBalancer has ports, and most of them have no
/// connections.
#[tokio::test]
async fn a_port_with_many_connections_leaves_some_to_others_and_silent_ports_take_none() {
    use futures::FutureExt;
    let places = Places::new(8);
    let mut busy: Vec<Place> = std::iter::from_fn(|| places.try_take(1)).collect();
    assert_eq!(busy.len(), 4, "as many as it leaves free");
    let others: Vec<Place> = (2..5).filter_map(|port| places.try_take(port)).collect();
    assert_eq!(others.len(), 3, "each other one has some");
    let mut waits = std::pin::pin!(places.take(1));
    assert!(waits.as_mut().now_or_never().is_none());
    busy.truncate(1);
    assert!(waits.now_or_never().is_some(), "it is woken when a place is free");
    drop((busy, others));
    assert_eq!(places.lock().all, 0);
    assert!(places.lock().by_port.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_costs_a_second() {
    let to: Vec<SocketAddr> = vec!["172.30.0.11:1".parse().unwrap(), "172.30.0.12:1".parse().unwrap()];
    let silent = to[0];
    let dial = |target: SocketAddr| async move {
        match target == silent {
            true => std::future::pending().await,
            false => Ok(target),
        }
    };
    let start = tokio::time::Instant::now();
    assert_eq!(first_that_answers(to.iter().copied(), &dial).await, Some((to[1], to[1])));
    assert_eq!(start.elapsed(), DIAL_MAX);
    let start = tokio::time::Instant::now();
    assert_eq!(first_that_answers(to[..1].iter().copied(), &dial).await, None);
    assert_eq!(start.elapsed(), DIAL_LAST);
}

#[tokio::test(start_paused = true)]
async fn slow_nodes_are_waited_for_when_no_other_answers() {
    let to: Vec<SocketAddr> = (11..14).map(|n| ([172, 30, 0, n], 1).into()).collect();
    let after = |seconds: [u64; 3]| {
        let to = to.clone();
        move |target: SocketAddr| {
            let at = to.iter().position(|one| *one == target).unwrap();
            async move {
                clock::pause(Duration::from_secs(seconds[at])).await;
                Ok(target)
            }
        }
    };
    let first = async |seconds, count: usize| {
        first_that_answers(to[..count].iter().copied(), after(seconds)).await.map(|(target, _)| target)
    };
    assert_eq!(first([10, 0, 0], 1).await, Some(to[0]), "the longest delay of a link");
    assert_eq!(first([33, 30, 33], 3).await, Some(to[1]), "three times, where the pod is on another node");
    assert_eq!(first([10, 5, 10], 3).await, Some(to[1]));
    assert_eq!(first([2, 5, 10], 3).await, Some(to[0]), "passed over, and still the first");
    assert_eq!(first([2, 0, 10], 3).await, Some(to[1]));
    let refused = |_| async { Err::<(), _>(io::ErrorKind::ConnectionRefused.into()) };
    let start = tokio::time::Instant::now();
    assert_eq!(first_that_answers(to.iter().copied(), refused).await, None);
    assert_eq!(start.elapsed(), Duration::ZERO, "a refusal is an answer");
}

/// A cluster may have 200 nodes, of which each is dialed a second after the one before.
#[tokio::test(start_paused = true)]
async fn the_last_nodes_of_many_are_waited_for_as_long_as_a_single_one() {
    let to: Vec<SocketAddr> = (11..51).map(|n| ([172, 30, 0, n], 1).into()).collect();
    let slow = |target: SocketAddr| async move {
        clock::pause(Duration::from_secs(30)).await;
        Ok(target)
    };
    // Five dials are under way at most: those of the first seven nodes have been given up.
    assert_eq!(first_that_answers(to[..12].iter().copied(), slow).await, Some((to[7], to[7])));
    let last = to[39];
    let dead = |target: SocketAddr| async move {
        match target == last {
            true => Ok(target),
            false => std::future::pending().await,
        }
    };
    let start = tokio::time::Instant::now();
    assert_eq!(first_that_answers(to.iter().copied(), dead).await, Some((last, last)));
    assert_eq!(start.elapsed(), 39 * DIAL_MAX, "each node that is dead costs a second");
}

#[test]
fn targets_take_turns_and_all_are_tried() {
    let to: Vec<SocketAddr> = vec!["172.30.0.11:1".parse().unwrap(), "172.30.0.12:1".parse().unwrap()];
    let targets = Targets::new(to.clone());
    assert_eq!(targets.in_turn().collect::<Vec<_>>(), to);
    assert_eq!(targets.in_turn().next(), Some(to[1]));
    assert_eq!(Targets::new(vec![]).in_turn().next(), None);
}

#[tokio::test(start_paused = true)]
async fn an_affinity_keeps_to_one_target_for_its_time() {
    let to: Vec<SocketAddr> = (11..14).map(|n| ([172, 30, 0, n], 1).into()).collect();
    let kept = Kept::default();
    let targets = |to: &[SocketAddr]| {
        let affinity = Some(Duration::from_secs(60));
        Targets { affinity, kept: kept.clone(), ..Targets::new(to.to_vec()) }
    };
    let all = targets(&to);
    all.keep(to[1]);
    for _ in 0..3 {
        assert_eq!(
            all.in_turn().collect::<Vec<_>>(),
            [to[1], to[2], to[0]],
            "the others if it does not answer"
        );
    }
    assert_eq!(targets(&to[1..]).in_turn().next(), Some(to[1]), "after a change of targets too");
    assert_eq!(targets(&to[2..]).in_turn().next(), Some(to[2]), "a target that is gone is not kept");
    tokio::time::advance(Duration::from_secs(59)).await;
    all.keep(to[1]);
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(all.in_turn().next(), Some(to[1]), "each use begins the time anew");
    tokio::time::advance(Duration::from_secs(2)).await;
    let firsts: Vec<_> = (0..3).filter_map(|_| all.in_turn().next()).collect();
    assert_eq!(firsts, to, "then they take turns");
}

pub(super) fn free(protocol: Protocol) -> HostPort {
    let port = match protocol {
        Protocol::Tcp => std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr(),
        Protocol::Udp => std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr(),
    };
    let port = port.unwrap().port();
    HostPort { port, protocol, to: vec![], ready: false, affinity_seconds: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_udp_port_refuses_while_nothing_is_ready_and_delivers_nothing_old() {
    let host = Host::new(Namespace::own());
    let served = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let wanted = HostPort { to: vec![served.local_addr().unwrap()], ..free(Protocol::Udp) };
    assert!(host.sync_ports(std::slice::from_ref(&wanted)).await.is_empty());
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(("127.0.0.1", wanted.port)).await.unwrap();
    let patience = Duration::from_secs(20);
    let mut buffer = [0; 16];
    for round in [b'1', b'2'] {
        client.send(b"old").await.unwrap();
        let answer = clock::timeout(patience, client.recv(&mut buffer)).await.unwrap();
        assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let ready = HostPort { ready: true, ..wanted.clone() };
        assert!(host.sync_ports(&[ready]).await.is_empty());
        client.send(&[round]).await.unwrap();
        let (length, from) = clock::timeout(patience, served.recv_from(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(buffer[..length], [round], "what was sent before is not delivered");
        served.send_to(b"yes", from).await.unwrap();
        assert_eq!(clock::timeout(patience, client.recv(&mut buffer)).await.unwrap().unwrap(), 3);
        assert!(host.sync_ports(std::slice::from_ref(&wanted)).await.is_empty());
    }
}

/// A port opens before its endpoints are ready, changes meanwhile, and closes and opens again.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_opened_late_carries_data() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = Host::new(Namespace::own());
    let served = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = served.local_addr().unwrap();
    let wanted = HostPort { to: vec![to], ..free(Protocol::Tcp) };
    let closed = HostPort { to: vec![to, to], ..wanted.clone() };
    let open = HostPort { ready: true, ..wanted.clone() };
    for _ in 0..2 {
        for port in [&wanted, &closed] {
            assert!(host.sync_ports(std::slice::from_ref(port)).await.is_empty());
            let refused = TcpStream::connect(("127.0.0.1", wanted.port)).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        }
        assert!(host.sync_ports(std::slice::from_ref(&open)).await.is_empty());
        let mut client = TcpStream::connect(("127.0.0.1", wanted.port)).await.unwrap();
        let (mut inside, _) = served.accept().await.unwrap();
        let mut buffer = [0; 4];
        client.write_all(b"ping").await.unwrap();
        inside.read_exact(&mut buffer).await.unwrap();
        inside.write_all(b"pong").await.unwrap();
        client.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"pong");
    }
}

#[tokio::test(start_paused = true)]
async fn a_udp_client_that_only_sends_is_not_forgotten_and_a_silent_one_holds_no_descriptor() {
    let pair = async || UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (inside, socket, client) = (pair().await, Arc::new(pair().await), pair().await);
    let (client, target) = (client.local_addr().unwrap(), socket.local_addr().unwrap());
    let (flows, goal) = (Arc::<Flows>::default(), Goal::default());
    goal.set(Targets::new(vec![target]));
    let flow = Flow::new(inside, target);
    assert!(flows.add(client, &flow, socket, &goal));
    for _ in 0..5 {
        clock::sleep(UDP_IDLE / 2).await;
        assert!(flows.of(client).is_some(), "it is cut");
    }
    let held = Arc::downgrade(&flow);
    drop(flow);
    clock::sleep(Duration::from_secs(119)).await;
    assert!(held.upgrade().is_some(), "a node's kernel still knows its endpoint");
    clock::sleep(Duration::from_secs(2)).await;
    assert!(flows.lock().is_empty(), "silence both ways ends it");
    assert!(held.upgrade().is_none(), "its socket is closed before the next datagram comes");
}

#[tokio::test]
async fn a_port_has_one_bound_of_udp_clients_and_leads_none_to_a_target_that_is_gone() {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let target: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let (flows, goal) = (Arc::<Flows>::default(), Goal::default());
    let add = async |client: SocketAddr| {
        let flow = Flow::new(UdpSocket::bind("127.0.0.1:0").await.unwrap(), target);
        flows.add(client, &flow, socket.clone(), &goal)
    };
    let [v4, v6] = addresses(1000);
    assert!(!add(v4).await, "the port does not lead there");
    goal.set(Targets::new(vec![target]));
    let clients = (1000..1000 + UDP_CLIENTS as u16 - 1).map(|port| addresses(port)[0]);
    for client in clients {
        assert!(add(client).await);
    }
    assert!(add(v6).await, "the last one");
    assert_eq!(flows.lock().len(), UDP_CLIENTS);
    assert!(add(addresses(999)[0]).await);
    assert_eq!(flows.lock().len(), UDP_CLIENTS, "of both addresses together");
    assert_eq!(flows.retain(&[target]), 0);
    assert_eq!(flows.retain(&[]), UDP_CLIENTS);
}

/// Each question of `dig` comes from a new port, and its flow stays for two minutes.
#[tokio::test(start_paused = true)]
async fn a_udp_client_beyond_the_bound_takes_the_place_of_the_most_silent_one() {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let target: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let (flows, goal) = (Arc::<Flows>::default(), Goal::default());
    goal.set(Targets::new(vec![target]));
    let client = |n: usize| addresses(1000 + n as u16)[0];
    let add = async |n: usize| {
        let flow = Flow::new(UdpSocket::bind("127.0.0.1:0").await.unwrap(), target);
        tokio::time::advance(Duration::from_millis(1)).await;
        flows.add(client(n), &flow, socket.clone(), &goal).then(|| Arc::downgrade(&flow))
    };
    let first = add(0).await.expect("it is added");
    let second = add(1).await.expect("it is added");
    for n in 2..UDP_CLIENTS {
        add(n).await.expect("it is added");
    }
    assert!(flows.of(client(0)).is_some(), "the first one sends again");
    add(UDP_CLIENTS).await.expect("it takes a place");
    assert_eq!(flows.lock().len(), UDP_CLIENTS);
    assert!(flows.of(client(1)).is_none(), "it was silent the longest");
    assert!(flows.of(client(0)).is_some() && flows.of(client(UDP_CLIENTS)).is_some());
    while second.upgrade().is_some() {
        tokio::task::yield_now().await; // its task was aborted: the socket is closed
    }
    assert!(first.upgrade().is_some());
}

/// Answers each datagram with one letter.
pub(super) async fn letter(letter: u8) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 16];
        while let Ok((_, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&[letter], from).await;
        }
    });
    address
}

async fn ask_udp(client: &UdpSocket) -> u8 {
    let mut buffer = [0; 16];
    client.send(b"who").await.unwrap();
    let answer = clock::timeout(Duration::from_secs(20), client.recv(&mut buffer)).await;
    assert_eq!(answer.expect("an answer").unwrap(), 1);
    buffer[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_udp_client_stays_with_its_target_while_the_port_leads_there() {
    let host = Host::new(Namespace::own());
    let (a, b) = (letter(b'a').await, letter(b'b').await);
    let open =
        |to: &[SocketAddr], port: &HostPort| [HostPort { to: to.to_vec(), ready: true, ..port.clone() }];
    let port = free(Protocol::Udp);
    assert!(host.sync_ports(&open(&[a], &port)).await.is_empty());
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(("127.0.0.1", port.port)).await.unwrap();
    assert_eq!(ask_udp(&client).await, b'a');
    assert!(host.sync_ports(&open(&[b, a], &port)).await.is_empty());
    assert_eq!(ask_udp(&client).await, b'a', "another target joined");
    assert!(host.sync_ports(&open(&[b], &port)).await.is_empty());
    assert_eq!(ask_udp(&client).await, b'b', "its target is gone");
}

/// A Service is deleted, and another one gets its node port.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_gone_can_be_had_at_once() {
    let host = Host::new(Namespace::own());
    let (target, tcp) = (letter(b'a').await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let (udp, tcp) = (
        HostPort { to: vec![target], ready: true, ..free(Protocol::Udp) },
        HostPort { to: vec![tcp.local_addr().unwrap()], ready: true, ..free(Protocol::Tcp) },
    );
    for round in 0..100 {
        let failed = host.sync_ports(&[udp.clone(), tcp.clone()]).await;
        assert!(failed.is_empty(), "round {round}: {failed:?}");
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(("127.0.0.1", udp.port)).await.unwrap();
        assert_eq!(ask_udp(&client).await, b'a');
        assert!(host.sync_ports(&[]).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_a_place_is_carried_after_a_change_of_targets() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let places = Places::new(2); // the port has one
    let host = Host { places: places.clone(), ..Host::new(Namespace::own()) };
    let (first, second) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = free(Protocol::Tcp);
    let to = |target: &TcpListener| {
        [HostPort { to: vec![target.local_addr().unwrap()], ready: true, ..port.clone() }]
    };
    assert!(host.sync_ports(&to(&first)).await.is_empty());
    let mut visits = host.visits();
    let connect = async || TcpStream::connect(("127.0.0.1", port.port)).await.unwrap();
    let (busy, mut waits) = (connect().await, connect().await);
    waits.write_all(b"x").await.unwrap();
    visits.wait_for(|visits| visits.get(&port.port) == Some(&1)).await.unwrap();
    // The second one leaves the queue of the kernel, and waits.
    let is_accepted = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let listens = format!("0100007F:{:04X} 00000000:0000 0A 00000000:00000000", port.port);
        table.contains(&listens)
    };
    let patience = Instant::now() + Duration::from_secs(20);
    while !is_accepted() {
        assert!(Instant::now() < patience, "nobody accepts");
        tokio::task::yield_now().await; // no event tells of the queue
    }
    assert!(host.sync_ports(&to(&second)).await.is_empty());
    drop((busy, first.accept().await.unwrap()));
    let (mut inside, _) = clock::timeout(Duration::from_secs(20), second.accept()).await.unwrap().unwrap();
    let mut byte = [0];
    inside.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"x");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_carried_connection_are_probed() {
    let host = Host::new(Namespace::own());
    let served = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = served.local_addr().unwrap();
    let port = HostPort { to: vec![to], ready: true, ..free(Protocol::Tcp) };
    assert!(host.sync_ports(std::slice::from_ref(&port)).await.is_empty());
    let client = TcpStream::connect(("127.0.0.1", port.port)).await.unwrap();
    let (_inside, dialled) = served.accept().await.unwrap();
    let outside = (port.port, client.local_addr().unwrap().port());
    // /proc/net/tcp: `tr` is 02 while the timer of SO_KEEPALIVE runs and no other one does
    // (proc_net_tcp.txt).
    let is_probed = |(own, other): (u16, u16)| {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let ends = format!(" 0100007F:{own:04X} 0100007F:{other:04X} 01 ");
        table.lines().find_map(|line| Some(line.split_once(&ends)?.1.contains(" 02:"))).unwrap_or(false)
    };
    let patience = Instant::now() + Duration::from_secs(20);
    for side in [outside, (dialled.port(), to.port())] {
        while !is_probed(side) {
            assert!(Instant::now() < patience, "{side:?} is not probed");
            tokio::task::yield_now().await; // no event tells of timers
        }
    }
}
