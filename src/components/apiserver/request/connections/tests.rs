use super::*;
use crate::auth::user::{MASTERS, NODES};

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn user(name: &str) -> User {
    let groups: &[&str] = match name.split(':').nth(1) {
        Some("node") => &[NODES],
        _ if name == "admin" => &[MASTERS],
        _ => &[],
    };
    User::new(name, groups)
}

/// A connection from a source of its own.
fn known(all: &Arc<Connections>, n: u8, name: &str) -> Option<Counted> {
    let one = all.admit(SocketAddr::from(([10, 244, n, 2], 4000)))?;
    one.mark_known(&user(name)).then_some(one)
}

#[test]
fn the_oldest_stranger_of_a_source_makes_room() {
    let all = Connections::new(8, Known::default());
    let from = |port: u16| SocketAddr::from(([10, 244, 1, 2], port));
    let held: Vec<Counted> = (0..4).map(|port| all.admit(from(port)).unwrap()).collect();
    assert!(held.iter().all(|c| !c.end.is_cancelled()));
    let fifth = all.admit(from(4)).unwrap();
    assert!(held[0].end.is_cancelled() && !held[1].end.is_cancelled() && !fifth.end.is_cancelled());
    // A client that is known stays, however many come after it.
    assert!(held[1].mark_known(&user("bob")));
    let more: Vec<Counted> = (5..20).map(|port| all.admit(from(port)).unwrap()).collect();
    assert!(!held[1].end.is_cancelled() && held[2].end.is_cancelled());
    assert_eq!(more.iter().filter(|c| !c.end.is_cancelled()).count(), 4);
    drop((held, fifth, more));
    let inner = all.lock();
    assert!(inner.open == 0 && inner.sources.is_empty() && inner.strangers.is_empty());
    assert!(inner.accounts.is_empty() && !all.known.lock().is_authenticated(from(1)));
}

#[test]
fn the_end_of_a_connection_forgets_no_other_one_from_its_port() {
    let all = Connections::new(8, Known::default());
    let from = at("10.244.1.2:1");
    let [reset, next] = [all.admit(from).unwrap(), all.admit(from).unwrap()];
    assert!(next.mark_known(&user("admin")));
    drop(reset);
    assert!(all.known.lock().is_authenticated(from));
    drop(next);
    assert!(!all.known.lock().is_authenticated(from));
}

#[test]
fn no_source_takes_all_connections() {
    let all = Connections::new(8, Known::default());
    let admin = |c: &Counted| assert!(c.mark_known(&user("admin")));
    let held: Vec<Counted> = (0..6)
        .map(|port| {
            let one = all.admit(SocketAddr::from(([10, 244, 1, 2], port))).unwrap();
            admin(&one);
            one
        })
        .collect();
    assert!(all.admit(at("10.244.1.2:99")).is_none());
    let other = all.admit(at("172.30.0.1:1")).unwrap();
    admin(&other);
    let last = all.admit(at("172.30.0.2:1")).unwrap();
    assert!(all.has_room() && !last.end.is_cancelled());
    let instead = all.admit(at("172.30.0.3:1")).unwrap();
    admin(&instead);
    assert!(last.end.is_cancelled() && !all.has_room() && all.admit(at("172.30.0.4:1")).is_none());
    drop(held);
    assert!(all.admit(at("10.244.1.2:99")).is_some());
}

/// One pod's token from many addresses, each connection with a watch: it has half of the
/// places, and components, nodes, administrators and another user get theirs.
#[test]
fn no_account_takes_all_connections() {
    let all = Connections::new(16, Known::default());
    let mut held = vec![];
    for n in 0..40 {
        let pod = format!("system:serviceaccount:shop:robot-{n}");
        held.extend(known(&all, n, &pod).map(|one| (one.activity.begin(), one)));
    }
    assert_eq!(held.len(), 8, "half of the places, whatever the ServiceAccount's name");
    let names = ["system:kube-scheduler", "admin", "system:node:n1", "system:node:n2", "bob"];
    let others: Vec<Counted> =
        names.iter().zip(100..).map(|(name, n)| known(&all, n, name).expect(name)).collect();
    let closed: Vec<bool> = held.iter().map(|(_, one)| one.end.is_cancelled()).collect();
    assert_eq!(
        closed,
        [true, false, false, false, false, false, false, false],
        "the oldest makes room for bob"
    );
    // It cannot take the place back.
    assert!(known(&all, 200, "system:serviceaccount:shop:late").is_none());
    assert!(others.iter().all(|one| !one.end.is_cancelled()));
    drop((held, others));
    let inner = all.lock();
    assert!(inner.open == 0 && inner.sources.is_empty() && inner.accounts.is_empty());
}

#[test]
fn an_account_over_its_share_gives_up_its_own_idle_connections() {
    let all = Connections::new(8, Known::default());
    let held: Vec<Counted> = (0..4).map(|n| known(&all, n, "eve").unwrap()).collect();
    let busy = (held[0].activity.begin(), held[2].activity.begin(), held[3].activity.begin());
    let fifth = known(&all, 4, "eve").unwrap();
    let closed: Vec<bool> = held.iter().map(|one| one.end.is_cancelled()).collect();
    assert_eq!(closed, [false, true, false, false], "the oldest idle one");
    let watch = fifth.activity.begin();
    assert!(known(&all, 5, "eve").is_none(), "all of them are in use");
    // A node's certificate has a fourth, and another node's makes room for itself.
    let first: Vec<Counted> = (10..12).map(|n| known(&all, n, "system:node:n1").unwrap()).collect();
    let n2 = known(&all, 20, "system:node:n2").unwrap();
    assert!(first[0].end.is_cancelled() && !first[1].end.is_cancelled() && !n2.end.is_cancelled());
    drop((busy, watch));
}

/// Strangers in one pod, and then connections of its token, come through the balancer: they
/// count on the pod's address, and take nothing from others that come through it.
#[test]
fn connections_of_a_balancer_count_on_their_clients() {
    let all = Connections::new(8, Known::default());
    let forwarded = |port: u16, client: &str| {
        let from = SocketAddr::from(([172, 30, 0, 1], port));
        all.known.lock().clients.insert(from, at(client));
        let one = all.admit(from)?;
        one.find_client().then_some(one)
    };
    let person = forwarded(1, "127.0.0.1:5").unwrap();
    assert_eq!((person.source(), person.from), (at("127.0.0.1:5"), at("172.30.0.1:1")));
    let mut pod: Vec<Counted> = (2..12).map(|port| forwarded(port, "10.244.1.2:7").unwrap()).collect();
    let open = |held: &[Counted]| held.iter().filter(|one| !one.end.is_cancelled()).count();
    assert_eq!(open(&pod), 4, "half of the places before it says who it is");
    assert!(!person.end.is_cancelled(), "it is older than all of the pod's");
    pod.retain(|one| !one.end.is_cancelled() && one.mark_known(&user("admin")));
    pod.extend([12, 13].into_iter().filter_map(|port| {
        let one = forwarded(port, "10.244.1.2:7")?;
        one.mark_known(&user("admin")).then_some(one)
    }));
    assert!(forwarded(14, "10.244.1.2:7").is_none(), "three fourths of them");
    let node = forwarded(15, "172.30.0.11:7").unwrap();
    assert!(node.mark_known(&user("system:node:n1")));
    assert!(all.known.lock().is_authenticated(node.from), "the address that the balancer knows");
    assert_eq!((open(&pod), all.lock().open), (6, 8));
    drop((person, pod, node));
    let inner = all.lock();
    assert!(inner.open == 0 && inner.sources.is_empty() && inner.strangers.is_empty());
}
