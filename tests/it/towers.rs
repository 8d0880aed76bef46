//! Several control planes: leaders die, cables are cut, plugs are pulled; writes go on and nothing
//! is lost.

use super::support::{Cluster, Home, Kubectl, PATIENCE, any_kubectl, capable, eventually, turn};
use serde_json::Value;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const CONTROL_PLANES: [&str; 3] =
    ["ropewalk-control-plane", "ropewalk-control-plane2", "ropewalk-control-plane3"];

/// Creates objects as fast as it can while `break_it` runs, and afterwards until one more is made:
/// a busy machine may need long for each. Every acknowledged one must be there at the end.
fn writing_while(cluster: &Cluster, kubectl: &Kubectl, label: &str, break_it: impl FnOnce()) {
    let (breaking, is_broken) = mpsc::channel::<()>(); // let go of, even by a panic, when it is broken
    let (acknowledged, gap) = std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let (mut acknowledged, mut gap, mut last) = (vec![], Duration::ZERO, Instant::now());
            loop {
                // Asked before the write, which is then surely after it.
                let is_last = is_broken.try_recv() == Err(mpsc::TryRecvError::Disconnected);
                let name = format!("{label}-{}", acknowledged.len());
                let args = ["create", "configmap", &name, "-o", "name", "--request-timeout=10s"];
                let said = cluster.kubectl(kubectl, &args);
                // "AlreadyExists": the write before was made, only its answer was lost.
                if said.code == 0 || said.err.contains("already exists") {
                    gap = gap.max(last.elapsed());
                    last = Instant::now();
                    acknowledged.push(name);
                    if is_last {
                        return (acknowledged, gap);
                    }
                }
                assert!(last.elapsed() < PATIENCE, "{label}: nothing is written any more: {said:?}");
            }
        });
        break_it();
        drop(breaking);
        writer.join().expect("the writer")
    });
    // Asked until it is answered: the last write may still stand between two leaders.
    let there = cluster.must(kubectl, &["get", "configmaps", "-o", "name"]);
    let there: Vec<&str> = there.lines().filter_map(|l| l.strip_prefix("configmap/")).collect();
    for name in &acknowledged {
        assert!(there.contains(&name.as_str()), "{name} was acknowledged and is lost");
    }
    println!("{label}: {} writes, longest gap {gap:?}", acknowledged.len());
}

#[test]
fn leaders_die_cables_are_cut_and_writes_go_on() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let any = any_kubectl();
    let cluster = home.up(&["--control-planes", "3", "--workers", "1"]);
    let k = |args: &[&str]| cluster.kubectl(&any, args);
    let fault = |args: &[&str]| home.ropewalk(&[&["fault"], args, &["--name", "t"]].concat());
    // The balancer hangs up on an API server that was silent for a moment, so any answer may be
    // lost.
    let must = |args: &[&str]| cluster.must(&any, args);
    let pods = must(&["get", "pods", "-n", "kube-system", "-o", "name"]);
    for component in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        for node in CONTROL_PLANES {
            assert!(pods.contains(&format!("pod/{component}-{node}")), "{component} of {node} in {pods}");
        }
    }
    fault(&["cut", CONTROL_PLANES[0], CONTROL_PLANES[0]]).fails("no link to itself");
    fault(&["cut", CONTROL_PLANES[0], "nowhere"]).fails("there is no node nowhere");
    fault(&["node", "start", CONTROL_PLANES[0]]).fails("is running");

    // One of the three leads: each member in turn is killed.
    writing_while(&cluster, &any, "kill", || {
        for node in CONTROL_PLANES {
            fault(&["kill", &format!("etcd/{node}")]).ok();
            std::thread::sleep(Duration::from_secs(3)); // load, not a wait for anything
        }
    });

    // Each is cut off from both others in turn; two always remain.
    writing_while(&cluster, &any, "cut", || {
        for node in CONTROL_PLANES {
            for other in CONTROL_PLANES.iter().filter(|other| **other != node) {
                fault(&["cut", node, other]).ok();
            }
            std::thread::sleep(Duration::from_secs(3));
            let list: Value = serde_json::from_str(&fault(&["list", "-o", "json"]).ok()).expect("JSON");
            assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
            fault(&["heal"]).ok();
        }
    });
    assert!(fault(&["list"]).ok().contains("nothing is broken"));

    let leader = lose_the_leader(&cluster, &any);

    // A minority serves nobody, and says so; the majority's words are its own again after the
    // healing.
    let others: Vec<&str> = CONTROL_PLANES.into_iter().filter(|n| *n != leader).collect();
    assert!(!fault(&["node", "stop", others[0]]).ok().contains("no API server"), "two are a majority");
    assert!(fault(&["node", "stop", others[1]]).ok().contains("no API server answers"));
    let alone = k(&["create", "configmap", "alone", "--request-timeout=5s"]);
    assert_ne!(alone.code, 0, "one of three must not write: {alone:?}");
    for node in &others {
        fault(&["node", "start", node]).ok();
    }
    must(&["create", "configmap", "together"]);
}

/// A whole tower falls and comes back; the leaders' leases move to those that stand. Returns the
/// tower that led.
fn lose_the_leader(cluster: &Cluster, any: &Kubectl) -> String {
    let k = |args: &[&str]| cluster.kubectl(any, args);
    let must = |args: &[&str]| cluster.must(any, args);
    let fault = |args: &[&str]| cluster.home.ropewalk(&[&["fault"], args, &["--name", "t"]].concat());
    let lease = |name: &str| {
        let holder =
            must(&["get", "lease", "-n", "kube-system", name, "-o", "jsonpath={.spec.holderIdentity}"]);
        let (node, uuid) = holder.split_once('_').unwrap_or((&holder, ""));
        assert!(holder.is_empty() || uuid.len() == 36, "{holder}"); // hostname_uuid, as upstream's
        node.to_string()
    };
    // A scheduler that could not renew its Lease has given it up; another one takes it.
    let leader = eventually(PATIENCE, || lease("kube-scheduler"), |holder| !holder.is_empty());
    assert!(CONTROL_PLANES.contains(&leader.as_str()), "{leader}");
    writing_while(cluster, any, "crash", || {
        fault(&["node", "crash", &leader]).ok();
        std::thread::sleep(Duration::from_secs(3));
    });
    eventually(PATIENCE, || lease("kube-scheduler"), |holder| !holder.is_empty() && *holder != leader);
    must(&["create", "deployment", "web", "--image=nginx"]);
    eventually(PATIENCE, || k(&["get", "deploy", "web"]), |said| said.out.contains("1/1"));
    fault(&["node", "crash", &leader]).fails("is off");
    fault(&["node", "start", &leader]).ok();
    let etcd = format!("etcd-{leader}");
    let restarts = || k(&["get", "pod", "-n", "kube-system", &etcd, "--no-headers"]);
    eventually(PATIENCE, restarts, |said| said.out.contains("1/1"));
    leader
}
