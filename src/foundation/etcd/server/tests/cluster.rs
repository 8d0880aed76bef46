//! Several members in one process.

use super::*;

/// Members in one process, joined by function calls.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<BTreeMap<MemberId, Handle>>>);

impl Link for Wire {
    fn send(&self, to: MemberId, message: Bytes) {
        let peer = self.0.lock().get(&to).cloned();
        if let Some(peer) = peer {
            peer.deliver(message).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_agree_and_survive_the_loss_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::default();
    let names = ["cp1", "cp2", "cp3"];
    let mut servers = BTreeMap::new();
    for name in names {
        let mut config = Config::new(name, dir.path().join(name), Tap::new(), Rng::seeded(7));
        config.initial_cluster = names.map(String::from).to_vec();
        config.link = Some(Arc::new(wire.clone()));
        let server = Server::start(config).await.unwrap();
        wire.0.lock().insert(member_id(name), server.raft());
        servers.insert(name, server);
    }
    // requests wait for the first election by themselves, on any member
    for (i, server) in servers.values().enumerate() {
        server.kv().put(put(&format!("k{i}"), "v")).await.unwrap();
    }
    for server in servers.values() {
        assert_eq!(server.kv().range(all()).await.unwrap().count, 3);
    }
    let leader = servers["cp1"].kv().status().leader;
    let handle = wire.0.lock().remove(&member_id(&leader)).unwrap();
    servers.remove(leader.as_str()).unwrap().kill();
    drop(handle);
    let survivor = servers.values().next().unwrap();
    // outcome unknown is an honest answer for the one that the old leader took with it
    let mut tries = 0;
    while survivor.kv().put(put("after", "1")).await.is_err() {
        tries += 1;
        assert!(tries < 3, "no new leader");
    }
    for server in servers.values() {
        assert_eq!(server.kv().range(all()).await.unwrap().count, 4);
        assert_ne!(server.kv().status().leader, leader);
    }
    let new_leader = servers.values().find(|s| s.kv().status().is_leader).unwrap();
    new_leader.raft().propose_conf(ConfChange::RemoveNode(member_id(&leader))).await.unwrap();
    survivor.kv().put(put("smaller", "1")).await.unwrap();
}

/// A member that has just started counts a lease's time from its own start. The leader, which ends
/// the lease, does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_tells_how_long_the_leader_lets_a_lease_live() {
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::default();
    let names = ["cp1", "cp2", "cp3"];
    let mut servers = BTreeMap::new();
    let begin = async |name: &'static str| {
        let config = || Config {
            initial_cluster: names.map(String::from).to_vec(),
            link: Some(Arc::new(wire.clone())),
            ..Config::new(name, dir.path().join(name), Tap::new(), Rng::seeded(7))
        };
        let server = again(config).await;
        wire.0.lock().insert(member_id(name), server.raft());
        server
    };
    for name in names {
        servers.insert(name, begin(name).await);
    }
    let kv = servers["cp1"].kv();
    let lease = kv.lease_grant(60, 0).await.unwrap();
    kv.put(PutRequest { lease, ..put("l", "") }).await.unwrap();
    // it takes two seconds; nothing announces them
    while kv.lease_time_to_live(lease).await.unwrap().remaining > 57 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (leader, term) = (kv.status().leader, kv.status().term);
    let follower = names.into_iter().find(|name| **name != leader).unwrap();
    wire.0.lock().remove(&member_id(follower));
    servers.remove(follower).unwrap().kill();
    servers.insert(follower, begin(follower).await);
    for (name, server) in &servers {
        let ttl = server.kv().lease_time_to_live(lease).await.unwrap();
        let extended = server.kv().status().term > term; // a new leader gives it its full time
        assert!(ttl.remaining <= 57 || extended, "{name} of leader {leader}: {ttl:?}");
        assert_eq!((ttl.granted, &*ttl.keys), (60, &[Bytes::from("l")][..]), "{name}");
        assert_eq!(server.kv().lease_time_to_live(7).await, Err(Error::LeaseNotFound), "{name}");
    }
}

/// What a peer says that is nonsense, or comes from no member, is an error of its connection; the
/// members go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_from_peers_ends_no_member() {
    use raft::codec::{COUNT_MAX, REACH_MAX, encode_message};
    use raft::{Body, ConfState, Message, SnapshotRef};
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::default();
    let names = ["cp1", "cp2", "cp3"];
    let mut servers = vec![];
    for name in names {
        let mut config = Config::new(name, dir.path().join(name), Tap::new(), Rng::seeded(9));
        config.initial_cluster = names.map(String::from).to_vec();
        config.link = Some(Arc::new(wire.clone()));
        servers.push(Server::start(config).await.unwrap());
        wire.0.lock().insert(member_id(name), servers[servers.len() - 1].raft());
    }
    let kv = servers[0].kv();
    kv.put(put("a", "1")).await.unwrap();
    let (victim, me, peer) = (servers[0].raft(), member_id("cp1"), member_id("cp2"));
    let say = |from, to, term, body| victim.deliver(encode_message(&Message { from, to, term, body }).into());
    let beat = || Body::MsgHeartbeat { commit: 0, read: 0 };
    assert!(say(peer, me, u64::MAX, beat()).is_err());
    assert!(say(peer, me, 5, Body::MsgHeartbeat { commit: u64::MAX, read: 0 }).is_err());
    assert!(say(4711, me, 1, beat()).is_err(), "no member of this cluster");
    assert!(say(peer, member_id("cp3"), 1, beat()).is_err(), "for another member");
    let rng = Rng::seeded(3);
    for _ in 0..20_000 {
        let noise: Vec<u8> = (0..rng.range(0, 80)).map(|_| rng.u64() as u8).collect();
        let _ = victim.deliver([&[1], &noise[..]].concat().into()); // by far the most is an error; all of it returns
    }
    // The largest term there can be, from a member, is not believed. The largest that is believed
    // costs no more than an election.
    say(peer, me, COUNT_MAX - 1, beat()).unwrap();
    say(peer, me, REACH_MAX, beat()).unwrap();
    // A state and a write that no store could read.
    let status = kv.status();
    let conf = ConfState::of(names.map(member_id));
    let garbage = SnapshotRef { index: status.index + 9, term: 1, conf, data: "garbage".into() };
    let without_voters = SnapshotRef { conf: ConfState::default(), ..garbage.clone() };
    assert!(say(peer, me, status.term, Body::MsgSnap(without_voters)).is_err());
    say(peer, me, status.term, Body::MsgSnap(garbage)).unwrap();
    for server in &servers {
        let to = member_id(&server.kv().status().member);
        let prop = Message { from: peer, to, term: 1, body: Body::MsgProp { data: "garbage".into() } };
        if to != peer {
            server.raft().deliver(encode_message(&prop).into()).unwrap();
        }
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while kv.put(put("a", "2")).await.is_err() {
        assert!(Instant::now() < deadline, "no leader again");
    }
    for server in &servers {
        assert_eq!(server.kv().range(all()).await.unwrap().kvs[0].value, "2");
    }
}
