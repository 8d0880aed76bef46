//! A store whose disk is full: it says so in etcd's words, reads go on, and with the room the
//! writes come back.

use super::support::{Home, PATIENCE, TIMEOUT, any_kubectl, capable, eventually, turn};

const FULL: &str = "etcdserver: mvcc: database space exceeded";

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let any = any_kubectl();
    let cluster = home.up(&["--workers", "1"]);
    let k = |args: &[&str]| cluster.kubectl(&any, args);
    let ropewalk = |args: &[&str]| home.ropewalk(&[args, &["--name", "t"]].concat());
    let etcdctl = |args: &[&str]| home.ropewalk(&[&["etcdctl", "--name", "t"], args].concat()).ok();
    let write = |name: &str| k(&["create", "configmap", name, "--request-timeout=5s"]);
    k(&["create", "configmap", "before"]).ok();
    ropewalk(&["fault", "disk", "full", "ropewalk-worker"]).fails("ropewalk-worker keeps no store");
    ropewalk(&["fault", "disk", "empty"]).fails("full");
    ropewalk(&["fault", "slow", "ropewalk-worker", "ropewalk-control-plane", "10001"]).fails("at most 10000");
    assert!(etcdctl(&["alarm", "list"]).trim().is_empty());

    let said = ropewalk(&["fault", "disk", "full", "ropewalk-control-plane"]).ok();
    assert!(
        said.contains("ropewalk-control-plane") && said.contains("`ropewalk fault --name t heal`"),
        "{said}"
    );
    // The first write that meets the full disk waits for room; those after it are refused.
    let mut tried = 0;
    let refused = eventually(
        PATIENCE,
        || {
            tried += 1;
            write(&format!("during-{tried}"))
        },
        |said| said.err.contains(FULL),
    );
    assert_eq!(
        (refused.code, refused.err.trim()),
        (1, format!("error: failed to create configmap: {FULL}").as_str())
    );
    k(&["get", "configmap", "before"]).ok();
    assert!(etcdctl(&["endpoint", "status", "-w", "json"]).contains(FULL));
    let alarms = etcdctl(&["alarm", "list"]);
    assert!(alarms.starts_with("memberID:") && alarms.contains("alarm:NOSPACE"), "{alarms}");
    assert!(!etcdctl(&["get", "/registry/configmaps/default/before", "--keys-only"]).is_empty());
    let list = ropewalk(&["fault", "list"]).ok();
    assert!(list.starts_with("disk full  ropewalk-control-plane  since "), "{list}");

    ropewalk(&["fault", "heal"]).ok();
    assert!(ropewalk(&["fault", "list"]).ok().contains("nothing is broken"));
    let made = |said: &super::support::Said| said.code == 0 || said.err.contains("already exists");
    eventually(PATIENCE, || write("after"), made);
    eventually(PATIENCE, || etcdctl(&["alarm", "list"]), |said| said.trim().is_empty());
    k(&["get", "configmap", "before", "after"]).ok();
    let told = k(&["logs", "-n", "kube-system", "etcd-ropewalk-control-plane"]).ok();
    assert!(told.contains("the disk is full") && told.contains("the log can be written again"), "{told}");
    assert!(k(&["get", "configmap", &format!("during-{tried}")]).code != 0, "what was refused is not there");
    k(&["run", "web", "--image=nginx"]).ok();
    k(&["wait", "--for=condition=ready", "pod/web", TIMEOUT]).ok();
}
