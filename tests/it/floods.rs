//! Floods of connections: a cluster that may open few files keeps those of its store, and is whole
//! again when the flood is over.

use super::support::{Home, PATIENCE, World, any_kubectl, capable, eventually, turn_alone};
use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

/// Open files that the cluster's process may have.
const FILES: usize = 900;
/// Connections that the flood tries to hold.
const FLOOD: usize = 1500;
/// Four values fill a segment of the log, so that it rolls several times.
const VALUE: usize = 900_000;

/// Holds as many connections as it gets, and says nothing over them.
fn flood(port: u16, connections: usize) -> Vec<TcpStream> {
    let address = ([127, 0, 0, 1], port).into();
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok();
    (0..connections).map_while(connect).collect()
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

#[test]
fn a_flood_leaves_the_store_its_files() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn_alone(), Home::new());
    let up = format!("ulimit -n {FILES} && exec \"$0\" up --name t --detach --wait");
    let said = home.command("sh").args(["-c", &up]).arg(home.program()).output().expect("a shell");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let world = World { cluster: super::support::Cluster { home: &home }, any: any_kubectl() };
    let status = world.cluster.status();
    let main = world.cluster.pid("main");
    let open = || std::fs::read_dir(format!("/proc/{main}/fd")).map_or(0, Iterator::count);
    let kubeconfig = std::fs::read_to_string(world.cluster.kubeconfig()).expect("a kubeconfig");
    let server =
        kubeconfig.split("server:").nth(1).and_then(|s| s.split_whitespace().next()).expect("a server");
    let endpoint = status["etcd"]["endpoints"][0].as_str().expect("an endpoint");

    let held = [flood(port_of(server), FLOOD), flood(port_of(endpoint), FLOOD)];
    assert!(held.iter().all(|h| h.len() > 100), "{} {}", held[0].len(), held[1].len());
    // A listener takes connections in the order in which they came: when these are answered, or
    // refused, it has worked through the flood.
    eventually(PATIENCE, || world.say("get nodes").code, |code| *code == 0);
    let asked = home.command(home.program()).args(["etcdctl", "--name", "t", "get", "/flood"]).output();
    asked.expect("etcdctl");
    let reserve = FILES / 4;
    assert!(open() <= FILES - reserve + 60, "{} of {FILES} files are open", open());

    // The store goes on: its log rolls, with new files, while the flood is on. Its own door may be
    // full for a while.
    drop(held);
    let put = |n: usize| {
        let mut etcdctl = home.command(home.program());
        etcdctl.args(["etcdctl", "--name", "t", "put", &format!("/flood/{n}")]).stdin(Stdio::piped());
        let mut child = etcdctl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("etcdctl");
        child.stdin.take().expect("stdin").write_all(&vec![b'x'; VALUE]).expect("written");
        let said = child.wait_with_output().expect("an end");
        (said.status.success(), String::from_utf8_lossy(&said.stderr).into_owned())
    };
    let again = flood(port_of(server), FLOOD);
    for n in 0..20 {
        eventually(PATIENCE, || put(n), |(done, _)| *done);
    }
    drop(again);
    world.cluster.must(&world.any, &["create", "configmap", "after"]);
    eventually(PATIENCE, || world.say("get nodes").out, |nodes| nodes.contains(" Ready"));
    let store = "logs -n kube-system etcd-ropewalk-control-plane";
    let told = eventually(PATIENCE, || world.say(store), |said| said.code == 0);
    assert!(!told.out.contains("the log cannot be written"), "{}", told.out);
}
