//! Nothing is left: after the end of a cluster, however it came, processes, mounts, control groups and ports are as before.

use super::support::{Cluster, Home, any_kubectl, capable, eventually, http_get, kill, turn};
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(15);

/// Processes in a PID namespace, those that have ended but were not waited for aside.
fn in_namespace(namespace: &str) -> Vec<i32> {
    let alive = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
    };
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|e| e.file_name().to_string_lossy().parse::<i32>().ok())
        .filter(|pid| {
            let own = fs::read_link(format!("/proc/{pid}/ns/pid"));
            own.is_ok_and(|n| n.to_string_lossy() == namespace) && alive(*pid)
        })
        .collect()
}

fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(|l| l.split_whitespace().nth(4).map(String::from)).collect()
}

/// Control groups of clusters.
fn groups() -> BTreeSet<String> {
    fn walk(dir: &std::path::Path, depth: u32, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("ropewalk-") {
                found.insert(entry.path().display().to_string());
            } else if depth < 4 && entry.file_type().is_ok_and(|t| t.is_dir()) {
                walk(&entry.path(), depth + 1, found);
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(std::path::Path::new("/sys/fs/cgroup"), 0, &mut found);
    found
}

/// The control groups of the cluster whose processes live in this PID namespace: other clusters on the machine are none of its business.
fn own_groups(namespace: &str) -> BTreeSet<String> {
    let of = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let lines: String = in_namespace(namespace).into_iter().map(of).collect();
    let names = lines.split(['/', '\n']).filter(|part| part.starts_with("ropewalk-"));
    names.map(String::from).collect()
}

fn interfaces() -> BTreeSet<String> {
    fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Starts a cluster with pods and an open port, ends it with `end`, and counts.
fn ends(what: &str, end: impl FnOnce(&Cluster)) {
    let home = Home::new();
    let (mounts_before, links_before) = (mounts(), interfaces());
    let any = any_kubectl();
    let cluster = home.up(&["--workers", "1"]);
    let k = |args: &[&str]| cluster.kubectl(&any, args).ok();
    k(&["create", "deployment", "web", "--image=nginx", "--replicas=5"]);
    k(&["expose", "deployment", "web", "--port=80", "--type=NodePort"]);
    eventually(PATIENCE, || k(&["get", "deploy", "web"]), |t| t.contains("5/5"));
    let port: u16 =
        k(&["get", "svc", "web", "-o", "jsonpath={.spec.ports[0].nodePort}"]).parse().expect("a port");
    eventually(PATIENCE, || http_get("127.0.0.1", port), |r| r.is_ok()).expect("the page");
    let api = cluster.status()["apiServers"][0].as_str().expect("an address").to_string();
    let api_port: u16 = api.rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port");
    let main = cluster.pid("main");
    let namespace =
        fs::read_link(format!("/proc/{main}/ns/pid")).expect("a namespace").to_string_lossy().into_owned();
    assert!(in_namespace(&namespace).len() >= 2, "main and zygote live there");

    let own = own_groups(&namespace);
    assert!(
        !own.is_empty() || groups().is_empty(),
        "{what}: processes are in a group where there are groups"
    );

    end(&cluster);

    eventually(PATIENCE, || in_namespace(&namespace), Vec::is_empty);
    let left =
        || groups().into_iter().filter(|g| own.iter().any(|o| g.contains(o.as_str()))).collect::<Vec<_>>();
    eventually(PATIENCE, left, Vec::is_empty);
    for port in [port, api_port] {
        eventually(
            PATIENCE,
            || std::net::TcpStream::connect(("127.0.0.1", port)).err().map(|e| e.kind()),
            |kind| *kind == Some(std::io::ErrorKind::ConnectionRefused),
        );
    }
    assert_eq!(mounts(), mounts_before, "{what}: mounts");
    assert_eq!(interfaces(), links_before, "{what}: interfaces");
    let status = home.ropewalk(&["status", "--name", "t", "-o", "json"]).ok();
    assert!(status.contains("\"stopped\""), "{what}: {status}");
    std::mem::forget(cluster); // it has ended already
}

#[test]
fn nothing_is_left_after_down_signals_and_kills() {
    if !capable() {
        return;
    }
    let _turn = turn();
    ends("down", |c| drop(c.home.ropewalk(&["down", "--name", "t"]).ok()));
    ends("SIGTERM of the supervisor", |c| kill(c.pid("supervisor"), 15));
    ends("SIGKILL of the supervisor", |c| kill(c.pid("supervisor"), 9));
    ends("SIGKILL of main", |c| kill(c.pid("main"), 9));
    ends("SIGKILL of the zygote", |c| kill(c.pid("zygote"), 9));
}

#[test]
fn two_clusters_side_by_side_do_not_disturb_each_other() {
    if !capable() {
        return;
    }
    let (_turn, one, two) = (turn(), Home::new(), Home::new());
    let (a, b) = (one.up(&["--workers", "1"]), two.up(&["--workers", "1"]));
    let any = any_kubectl();
    a.kubectl(&any, &["create", "configmap", "here"]).ok();
    assert_eq!(b.kubectl(&any, &["get", "configmap", "here"]).code, 1);
    drop(a);
    assert_eq!(b.kubectl(&any, &["get", "nodes"]).code, 0);
}
