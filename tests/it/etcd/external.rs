//! A control plane on a store that is not its own: the real etcd, over mutual TLS.

use super::super::support::{Cluster, Home, PATIENCE, Said, TIMEOUT, any_kubectl, capable, eventually, turn};
use super::pair::Real;
use etcd::pb;
use std::path::Path;
use tokio::runtime::Runtime;

#[test]
fn a_control_plane_on_a_real_etcd() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let Some(etcd) = runtime.block_on(Real::secure(dir.path())) else { return };
    let url = format!("https://127.0.0.1:{}", etcd.port);

    // Without a certificate it is told at once, not in a log.
    let refused = home.ropewalk(&["up", "--name", "t", "--detach", "--etcd", &url]);
    assert!(refused.code != 0 && refused.err.contains("--etcd-cafile"), "{refused:?}");

    let cluster = up_on(&home, &url, dir.path());
    let any = any_kubectl();
    let k = |line: &str| cluster.kubectl(&any, &line.split(' ').collect::<Vec<_>>());
    let system = k("get pods -n kube-system --no-headers").ok();
    assert!(system.contains("kube-apiserver-") && !system.contains("etcd-"), "{system}");
    assert_eq!(cluster.status()["etcd"]["endpoints"][0], url);

    // What the cluster does is in that store, and nowhere else.
    k("create deployment web --image=nginx --replicas=2").ok();
    k(&format!("rollout status deployment/web {TIMEOUT}")).ok();
    let keys = |etcd: &Real, prefix: &str| keys(&runtime, etcd, prefix);
    assert_eq!(keys(&etcd, "/registry/deployments/default/web").kvs.len(), 1);
    assert_eq!(keys(&etcd, "/registry/pods/default/").kvs.len(), 2);
    let pods = ["get", "--prefix", "--keys-only", "/registry/pods/default/"];
    let told = home.ropewalk(&[&["etcdctl", "--name", "t"][..], &pods].concat());
    assert_eq!(told.ok().matches("/registry/pods/default/web-").count(), 2);

    // A step is undone there, too.
    k("scale deployment web --replicas=3").ok();
    eventually(PATIENCE, || k("get deployment web --no-headers"), |said| said.out.contains("3/3"));
    home.ropewalk(&["undo", "--name", "t"]).ok();
    eventually(PATIENCE, || k("get deployment web --no-headers"), |said| said.out.contains("2/2"));

    // Another client compacts the history: the cluster reads on from what there is.
    let revision = keys(&etcd, "/registry/").header.map_or(0, |h| h.revision);
    let compact = pb::CompactionRequest { revision, physical: true };
    let done = etcd.client.unary::<_, pb::CompactionResponse>("/etcdserverpb.KV/Compact", compact);
    runtime.block_on(done).expect("a compaction");
    k("scale deployment web --replicas=3").ok();
    eventually(PATIENCE, || k("get deployment web --no-headers"), |said| said.out.contains("3/3"));

    // The store dies and comes back; what was acknowledged is there, and the cluster goes on by
    // itself.
    let etcd = runtime.block_on(etcd.again());
    // The API server's own connection may still be broken when this test's is not.
    for line in [
        "get deployment web",
        "create configmap after --from-literal=a=b",
        "scale deployment web --replicas=1",
    ] {
        cluster.must(&any, &line.split(' ').collect::<Vec<_>>());
    }
    let is_single = |said: &Said| said.code == 0 && said.out.lines().count() == 1;
    eventually(PATIENCE, || k("get pods -l app=web --no-headers"), is_single);

    // The next start finds everything again without being told where.
    drop(cluster);
    let cluster = home.up(&[]);
    assert!(cluster.kubectl(&any, &["get", "configmap", "after"]).ok().contains("after"));
    drop((cluster, etcd));
}

/// Starts a cluster on this etcd, with the certificates in a directory.
fn up_on<'a>(home: &'a Home, url: &str, dir: &Path) -> Cluster<'a> {
    let file = |name: &str| dir.join(name).display().to_string();
    let (ca, cert, key) = (file("ca.crt"), file("client.crt"), file("client.key"));
    let files = ["--etcd-cafile", &ca, "--etcd-certfile", &cert, "--etcd-keyfile", &key];
    home.up(&[&["--workers", "1", "--etcd", url][..], &files].concat())
}

/// The keys with a prefix, as the etcd itself has them.
fn keys(runtime: &Runtime, etcd: &Real, prefix: &str) -> pb::RangeResponse {
    let (key, mut range_end) = (bytes::Bytes::from(prefix.to_string()), prefix.as_bytes().to_vec());
    *range_end.last_mut().expect("a prefix") += 1;
    let read = pb::RangeRequest { key, range_end: range_end.into(), ..Default::default() };
    let answer = etcd.client.unary::<_, pb::RangeResponse>("/etcdserverpb.KV/Range", read);
    runtime.block_on(answer).expect("an answer")
}
