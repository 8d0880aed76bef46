//! Going back: what a learner did is undone, redone, rewound, and the cluster follows; also after
//! everything was killed in between.

use super::support::{
    Cluster, Home, Kubectl, PATIENCE, Said, TIMEOUT, any_kubectl, capable, eventually, kill, turn,
};
use serde_json::Value;
use std::time::Instant;

#[test]
fn steps_are_undone_and_redone_and_survive_kill_9() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let any = any_kubectl();
    let cluster = home.up(&["--workers", "2"]);
    let k = |args: &[&str]| cluster.kubectl(&any, args);
    let json = |args: &[&str]| -> Value {
        serde_json::from_str(&k(&[args, &["-o", "json"]].concat()).ok()).expect("JSON")
    };
    let undo = |args: &[&str]| -> Said { home.ropewalk(&[args, &["--name", "t"]].concat()) };
    let ready = |n: usize| {
        eventually(PATIENCE, || k(&["get", "deploy", "web"]).ok(), |t| t.contains(&format!("{n}/{n}")));
    };

    refuse_without_steps(&home);
    k(&["create", "deployment", "web", "--image=nginx", "--replicas=2"]).ok();
    ready(2);
    k(&["expose", "deployment", "web", "--port=80", "--type=NodePort"]).ok();
    let service = json(&["get", "service", "web"]);
    let deployment = json(&["get", "deployment", "web"]);
    let pods = json(&["get", "pods", "-l", "app=web"]);
    k(&["label", "node", "ropewalk-worker", "disk=ssd"]).ok();
    k(&["run", "alone", "--image=nginx"]).ok();
    k(&["create", "configmap", "kept", "--dry-run=server"]).ok(); // nothing was written: no step
    let before = json(&["get", "pod", "alone"])["metadata"]["resourceVersion"]
        .as_str()
        .map(String::from)
        .expect("a version");

    // A deletion of everything by one command is one step.
    k(&["delete", "deployment/web", "service/web", "--wait=false"]).ok();
    eventually(PATIENCE, || k(&["get", "pods", "-l", "app=web"]).err, |t| t.contains("No resources"));
    let begun = Instant::now();
    let said = undo(&["undo"]).ok();
    println!("an undo of 2 objects and their dependents took {:?} with its process", begun.elapsed());
    assert!(said.contains("undone: kubectl delete deployments/web"), "{said}");
    let back = json(&["get", "service", "web"]);
    for field in ["/spec/clusterIP", "/spec/ports", "/metadata/uid"] {
        assert_eq!(back.pointer(field), service.pointer(field), "{field}");
    }
    assert_eq!(json(&["get", "deployment", "web"])["metadata"]["uid"], deployment["metadata"]["uid"]);
    ready(2);
    let again = json(&["get", "pods", "-l", "app=web"]);
    let uids = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().expect("a list");
        // On a busy machine the controller may have made one too many, which ends now.
        let stays = items.iter().filter(|p| p["metadata"]["deletionTimestamp"].is_null());
        stays.map(|p| p["metadata"]["uid"].to_string()).collect()
    };
    assert_eq!(uids(&again).len(), 2, "{again:#}");
    assert!(uids(&again).iter().all(|uid| !uids(&pods).contains(uid)), "a pod that was gone is a new one");

    // Everything dies; the steps are still there.
    kill(cluster.pid("main"), 9);
    drop(cluster);
    let cluster = home.up(&[]);
    let k = |args: &[&str]| cluster.kubectl(&any, args);
    let said = undo(&["redo"]).ok();
    assert!(said.contains("done again: kubectl delete"), "{said}");
    k(&["get", "service", "web"]).fails("not found");
    undo(&["undo"]).ok();

    go_further_back(&cluster, &any, &before);
    undo_after_new_writes(&cluster, &any);
    eventually(PATIENCE, || k(&["get", "nodes"]).ok(), |nodes| nodes.matches(" Ready ").count() == 3);
}

/// Before the first step there is nothing to go back to.
fn refuse_without_steps(home: &Home) {
    let undo = |args: &[&str]| -> Said { home.ropewalk(&[args, &["--name", "t"]].concat()) };
    undo(&["undo"]).fails("there is nothing to undo");
    undo(&["redo"]).fails("there is nothing to redo");
    undo(&["rewind", "99999999"]).fails("is none of this cluster's");
    assert_eq!(undo(&["rewind", "yesterday"]).code, 2);
    assert_eq!(undo(&["undo", "0"]).code, 2);
}

/// Three more steps back: the bare pod, the label, the service; then to a revision.
fn go_further_back(cluster: &Cluster, any: &Kubectl, before: &str) {
    let k = |args: &[&str]| cluster.kubectl(any, args);
    let undo = |args: &[&str]| -> Said { cluster.home.ropewalk(&[args, &["--name", "t"]].concat()) };
    let list = undo(&["undo", "--list"]).ok();
    assert_eq!(list.lines().filter(|l| !l.trim_start().starts_with('-')).count(), 4, "{list}");
    let said = undo(&["undo", "3"]).ok();
    assert_eq!(said.matches("undone: ").count(), 3, "{said}");
    k(&["get", "pod", "alone"]).fails("not found");
    k(&["get", "service", "web"]).fails("not found");
    assert!(!k(&["get", "node", "ropewalk-worker", "--show-labels"]).ok().contains("disk=ssd"));
    eventually(PATIENCE, || k(&["get", "deploy", "web"]).ok(), |t| t.contains("2/2"));

    // To a revision: everything of then is there again, and the way back too.
    undo(&["rewind", before]).ok(); // what was undone is brought back, so there is nothing to ask
    k(&["get", "service", "web"]).ok();
    assert!(k(&["get", "node", "ropewalk-worker", "--show-labels"]).ok().contains("disk=ssd"));
    eventually(PATIENCE, || k(&["get", "pod", "alone"]).ok(), |t| t.contains("Running"));
    undo(&["redo"]).ok();
    k(&["get", "service", "web"]).fails("not found");
}

/// A new write gives up what could be redone; and it is the learner's, whatever name it bears.
fn undo_after_new_writes(cluster: &Cluster, any: &Kubectl) {
    let k = |args: &[&str]| cluster.kubectl(any, args);
    let undo = |args: &[&str]| -> Said { cluster.home.ropewalk(&[args, &["--name", "t"]].concat()) };
    k(&["create", "configmap", "new"]).ok();
    undo(&["redo"]).fails("there is nothing to redo");
    let said = undo(&["undo"]).ok();
    assert!(said.contains("undone: kubectl create configmap"), "{said}");
    k(&["get", "configmap", "new"]).fails("not found");

    // Who acts under another name has still acted.
    for name in ["teacher", "system:node:ropewalk-worker"] {
        k(&["create", "configmap", "borrowed", "--as", name, "--as-group", "system:masters"]).ok();
        let said = undo(&["undo"]).ok();
        assert!(said.contains("undone: kubectl create configmap"), "{name}: {said}");
        k(&["get", "configmap", "borrowed"]).fails("not found");
    }
}

/// What was there before a step is there after its undo: a ReplicaSet that was left behind without
/// an owner, adopted by the step and given back by the undo, stays, whatever the garbage collector
/// hears of first.
#[test]
fn what_was_orphaned_and_adopted_survives_the_undo_of_the_adoption() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let any = any_kubectl();
    let cluster = home.up(&[]);
    let k = |args: &[&str]| cluster.kubectl(&any, args);
    let sets = || k(&["get", "replicasets", "-l", "app=und", "-o", "jsonpath={.items[*].metadata.uid}"]).ok();
    // With its set, so that a failure shows who lacks what.
    let pods = || k(&["get", "replicasets,pods", "-l", "app=und", "-o", "wide", "--ignore-not-found"]).ok();
    k(&["create", "deployment", "und", "--image=nginx", "--replicas=2"]).ok();
    k(&["rollout", "status", "deployment", "und", TIMEOUT]).ok();
    k(&["delete", "deployment", "und", "--cascade=orphan"]).ok();
    let orphan = sets();
    assert!(!orphan.trim().is_empty());
    for round in 0..6 {
        // With the same image nothing but the owner changes; with another the old set is scaled
        // down as well.
        let image = if round % 2 == 0 { "--image=nginx:1.26" } else { "--image=nginx" };
        k(&["create", "deployment", "und", image, "--replicas=2"]).ok();
        if round % 3 != 2 {
            k(&["rollout", "status", "deployment", "und", TIMEOUT]).ok();
        }
        let said = home.ropewalk(&["undo", "--name", "t"]).ok();
        assert!(said.contains("undone: kubectl create deployment"), "{said}");
        k(&["get", "deployment", "und"]).fails("not found");
        eventually(PATIENCE, pods, |t| t.matches(" Running ").count() == 2);
        // A collector that had decided wrongly would have acted by now: it is asked to do something
        // after it.
        k(&["create", "deployment", "last", "--image=nginx"]).ok();
        k(&["delete", "deployment", "last"]).ok();
        let none = || k(&["get", "replicasets,pods", "-l", "app=last", "--ignore-not-found"]).ok();
        eventually(PATIENCE, none, |t| t.trim().is_empty());
        assert_eq!(sets(), orphan, "round {round}: the same set is there, and no other");
        eventually(PATIENCE, pods, |t| t.matches(" Running ").count() == 2);
    }
}

/// Nobody loses what a command that is not undone has made without having been told.
#[test]
fn going_back_asks_before_it_takes_what_others_made() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let any = any_kubectl();
    let cluster = home.up(&[]);
    let k = |args: &[&str]| cluster.kubectl(&any, args);
    let undo = |args: &[&str]| -> Said { home.ropewalk(&[args, &["--name", "t"]].concat()) };
    k(&["create", "configmap", "first"]).ok();
    let version = k(&["get", "configmap", "first", "-o", "jsonpath={.metadata.resourceVersion}"]).ok();
    k(&["create", "configmap", "second"]).ok();
    k(&["label", "configmap", "first", "seen=yes"]).ok();
    let said = undo(&["rewind", version.trim()]);
    said.fails("add --yes to go on all the same");
    let said = undo(&["rewind", version.trim()]);
    assert!(said.err.contains("configmaps/second would be removed"), "{}", said.err);
    assert!(said.err.contains("configmaps/first would be changed back"), "{}", said.err);
    k(&["get", "configmap", "second"]).ok();
    // What the last commands made is what their undo is for.
    undo(&["undo", "2"]).ok();
    k(&["get", "configmap", "second"]).fails("not found");
    undo(&["redo"]).ok();
    undo(&["rewind", version.trim(), "--yes"]).ok();
    k(&["get", "configmap", "second"]).fails("not found");
}
