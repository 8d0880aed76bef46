//! Odd objects for a running cluster: whatever the API accepts, and whatever is put into the store
//! beside it, no component stops.
//!
//! Each seed is a history: objects of every kind, bent ones among them, are created, changed and
//! deleted through the API, values that nobody can decode are put into the store, and components
//! are killed on the way. Afterwards a new Deployment becomes Ready, `undo` works, every list can
//! be read, and no component ended but those that were killed. `ROPEWALK_FUZZ_SECONDS=3600` makes a
//! long run, `ROPEWALK_SEED_FROM` begins elsewhere.

mod api;
mod objects;

use super::support::{
    Cluster, Home, PATIENCE, TIMEOUT, World, built_in, capable, eventually, number, turn, turn_of,
};
use api::{Api, Kind, kinds};
use objects::{bend, metadata, sensible, status_of, stored};
use rng::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

/// How long an ordinary `cargo test` bends.
const USUAL: Duration = Duration::from_secs(20);
/// Requests of one seed.
const HISTORY: usize = 120;
const NAMESPACES: u64 = 3;
/// Killed on the way, one a seed.
const KILLED: &[&str] = &[
    "kube-scheduler",
    "kube-controller-manager",
    "kube-apiserver",
    "kubelet/ropewalk-worker",
    "kube-proxy/ropewalk-worker",
];
/// A component that is killed again sooner waits longer before it comes back, as any container, and
/// the odd objects would meet nobody.
const KILLED_AGAIN: Duration = Duration::from_secs(660);

struct Play<'a> {
    home: &'a Home,
    api: &'a Api,
    kinds: Vec<Kind>,
    /// Code of the answer (0: none) → how often; `put` and `delete` for the store.
    answers: BTreeMap<String, usize>,
    killed: BTreeMap<String, u64>,
    /// Path and what was answered when it was made.
    known: Vec<(String, Value)>,
}

impl Play<'_> {
    fn count(&mut self, what: String) {
        *self.answers.entry(what).or_default() += 1;
    }

    fn send(&mut self, method: &str, path: &str, kind: &str, body: &Value) -> Option<(u16, String)> {
        let answer = self.api.ask(method, path, kind, &body.to_string());
        let code = answer.as_ref().map_or(0, |(code, _)| *code);
        assert_ne!(code, 500, "{method} {path} {body}: {:?}", answer.map(|(_, body)| body));
        self.count(format!("{code}"));
        answer
    }

    fn etcdctl(&mut self, args: &[&str], input: &str) {
        let mut command = self.home.command(self.home.program());
        // No argument of a program can have a NUL.
        command.args(["etcdctl", "--name", "t"]).args(args.iter().map(|arg| arg.replace('\0', "\u{1}")));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcdctl");
        let _ = child.stdin.take().expect("its input").write_all(input.as_bytes()); // it may refuse before it reads
        let good = child.wait().expect("its end").success();
        self.count(format!("store {} {good}", args[0]));
    }

    /// One request, or one value for the store.
    fn one(&mut self, rng: &Rng, number: usize) {
        let kind = self.kinds[rng.range(0, self.kinds.len() as u64) as usize].clone();
        let namespace = format!("fuzz-{}", rng.range(0, NAMESPACES));
        let long = if rng.chance(0.05) { "x".repeat(200) } else { String::new() };
        let name = format!("fuzz-{}-{number}{long}", rng.range(0, 1000));
        let mut object = sensible(&kind, &namespace, &name);
        if rng.chance(0.8) {
            let chance = [0.01, 0.05, 0.2][rng.range(0, 3) as usize];
            bend(rng, &mut object, chance);
        }
        let more = metadata(rng, &self.known);
        if let Some(meta) = object["metadata"].as_object_mut() {
            meta.extend(more);
        }
        let old = self.known.get(rng.range(0, self.known.len() as u64) as usize).cloned();
        match (rng.range(0, 20), old) {
            (0..2, _) => {
                let name = object["metadata"]["name"].as_str().unwrap_or("odd").to_string();
                let value = stored(rng, &object.to_string(), &name, &namespace);
                let key = match rng.range(0, 8) {
                    0 => format!("/registry/{}/{name}", kind.plural),
                    1 => format!("/registry/odd\u{1}/{name}"),
                    2 => format!("/ropewalk/steps/{name}"),
                    _ => kind.key(&namespace, &name),
                };
                self.etcdctl(&["put", "--", &key], &value);
            }
            (2, Some((path, old))) => self.overwrite(rng, &path, &old),
            (3..7, Some((path, mut old))) => {
                bend(rng, &mut old, 0.1);
                let part = if rng.chance(0.5) { "spec" } else { "metadata" };
                let patch = json!({part: old[part]});
                self.patch(&path, MERGE, &patch);
            }
            (7..10, Some((path, old))) => {
                let plural = path.rsplit('/').nth(1).unwrap_or_default();
                if self.kinds.iter().any(|k| k.plural == plural && k.has_status) {
                    let mut status = status_of(plural);
                    bend(rng, &mut status, 0.2);
                    let patch = json!({"metadata": {"uid": old["metadata"]["uid"]}, "status": status});
                    self.patch(&format!("{path}/status"), MERGE, &patch);
                }
            }
            (10..12, Some((path, _))) => {
                let policy = ["Foreground", "Background", "Orphan"][rng.range(0, 3) as usize];
                let options =
                    json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
                self.patchless("DELETE", &path, JSON, &options);
            }
            _ => {
                let answer = self.send("POST", &kind.path(&namespace, ""), JSON, &object);
                if let Some((201, body)) = answer
                    && let Some(made) = body.find('{').and_then(|at| {
                        serde_json::from_str::<Value>(body[at..].trim_end_matches(|c| c != '}')).ok()
                    })
                {
                    let name = made["metadata"]["name"].as_str().unwrap_or_default();
                    self.known.push((kind.path(&namespace, name), made));
                }
            }
        }
    }

    /// Puts a value over what an API server wrote.
    fn overwrite(&mut self, rng: &Rng, path: &str, old: &Value) {
        let name = old["metadata"]["name"].as_str().unwrap_or("odd").to_string();
        let namespace = old["metadata"]["namespace"].as_str().unwrap_or_default().to_string();
        let value = stored(rng, &old.to_string(), &name, &namespace);
        let plural = path.rsplit('/').nth(1).unwrap_or_default().to_string();
        if let Some(kind) = self.kinds.iter().find(|k| k.plural == plural).cloned() {
            self.etcdctl(&["put", "--", &kind.key(&namespace, &name)], &value);
        }
    }

    fn patch(&mut self, path: &str, kind: &str, body: &Value) {
        self.patchless("PATCH", path, kind, body);
    }

    /// Sends what may meet a value that cannot be decoded: that alone may be answered with 500.
    fn patchless(&mut self, method: &str, path: &str, kind: &str, body: &Value) {
        let answer = self.api.ask(method, path, kind, &body.to_string());
        let (code, said) = answer.unwrap_or_default();
        assert!(code != 500 || said.contains("StorageReadError"), "{method} {path} {body}: {said}");
        self.count(format!("{code}"));
    }
}

/// How often each component's container was started again.
fn restarts(api: &Api) -> BTreeMap<String, u64> {
    let pods = api.get("/api/v1/namespaces/kube-system/pods");
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    let count = |pod: &Value| {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_string();
        let statuses = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        (name, statuses.iter().filter_map(|s| s["restartCount"].as_u64()).sum())
    };
    pods.iter().map(count).filter(|(name, _)| !name.starts_with("fuzz")).collect()
}

/// How each component's container ended that has ended since it was last looked: (pod, time) and
/// the code and message.
fn ends(api: &Api, found: &mut BTreeMap<(String, String), String>) {
    let pods = api.get("/api/v1/namespaces/kube-system/pods");
    for pod in pods["items"].as_array().into_iter().flatten() {
        for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
            for state in [&status["state"]["terminated"], &status["lastState"]["terminated"]] {
                if let (Some(name), Some(at)) =
                    (pod["metadata"]["name"].as_str(), state["finishedAt"].as_str())
                {
                    let end = format!(
                        "code {}: {}",
                        state["exitCode"],
                        state["message"].as_str().unwrap_or_default()
                    );
                    found.insert((name.to_string(), at.to_string()), end);
                }
            }
        }
    }
}

#[test]
fn odd_objects_stop_no_component() {
    if !capable() {
        return;
    }
    let life = number("ROPEWALK_FUZZ_SECONDS").map_or(USUAL, Duration::from_secs);
    let (_turn, home) = (turn_of(life + Duration::from_secs(900)), Home::new());
    let cluster = home.up(&["--workers", "1"]);
    let main = cluster.pid("main");
    let api = Api::open(&cluster);
    let k = |args: &[&str]| cluster.kubectl(&built_in(), args);
    for n in 0..NAMESPACES {
        let name = format!("fuzz-{n}");
        k(&["create", "namespace", &name]).ok();
        // Two thousand million replicas are asked for on the way; the node has room for 110 pods.
        k(&["create", "quota", "keep", "--hard=pods=12", "-n", &name]).ok();
    }
    let (before, mut ended) = (restarts(&api), BTreeMap::new());
    let all = kinds(&api);
    assert!(all.len() > 25, "{all:?}");
    let mut play = Play {
        home: &home,
        api: &api,
        kinds: all,
        answers: BTreeMap::new(),
        killed: BTreeMap::new(),
        known: vec![],
    };
    let (start, mut seed) = (Instant::now(), number("ROPEWALK_SEED_FROM").unwrap_or(0));
    let mut killed_at = BTreeMap::new();
    while start.elapsed() < life {
        let rng = Rng::seeded(seed);
        let victim = KILLED[seed as usize % KILLED.len()];
        for number in 0..HISTORY {
            let rested = killed_at.get(victim).is_none_or(|at: &Instant| at.elapsed() > KILLED_AGAIN);
            // A container's status keeps its last end only.
            if number % 10 == 0 {
                ends(&api, &mut ended);
            }
            if number == HISTORY / 2 && rested {
                ends(&api, &mut ended);
                killed_at.insert(victim, Instant::now());
                let said = home.ropewalk(&["fault", "kill", victim, "--name", "t"]);
                if said.code == 0 {
                    let component = victim.split('/').next().unwrap_or(victim);
                    *play.killed.entry(component.to_string()).or_default() += 1;
                }
                let answers = || api.ask("GET", "/readyz", "", "").is_some_and(|(code, _)| code == 200);
                eventually(PATIENCE, answers, |ready| *ready);
                ends(&api, &mut ended);
            }
            play.one(&rng, number);
        }
        play.known.drain(..play.known.len().saturating_sub(300));
        ends(&api, &mut ended);
        println!("odd objects: seed {seed}, after {:?}: {:?}", start.elapsed(), play.answers);
        assert_eq!(cluster.pid("main"), main, "seed {seed}: the program ended");
        seed += 1;
    }
    check_ends(&play, &before, &mut ended);
    let panics = panics(&home);
    assert!(panics.is_empty(), "{}", panics.join("\n"));
    for kind in &play.kinds {
        assert!(api.get(&format!("{}/{}", kind.root, kind.plural))["items"].is_array(), "{}", kind.plural);
    }
    check_service(&cluster);
}

/// Not one component ended by itself, but for one that could not renew its Lease: while the API
/// server is killed, or on a machine with more work than processors, it has to. It says so as it
/// ends.
fn check_ends(play: &Play, before: &BTreeMap<String, u64>, ended: &mut BTreeMap<(String, String), String>) {
    let killed = play.killed.clone();
    let made = play.answers.get("201").copied().unwrap_or_default();
    assert!(made > 20, "too few were accepted: {:?}", play.answers);
    ends(play.api, ended);
    let all: Vec<String> = ended.iter().map(|((pod, at), end)| format!("{at} {pod} {end}")).collect();
    println!("odd objects: killed {killed:?}; ended:\n{}", all.join("\n"));
    let mut too_often = vec![];
    for (name, count) in restarts(play.api) {
        let by_us: u64 =
            killed.iter().filter(|(component, _)| name.starts_with(component.as_str())).map(|(_, n)| n).sum();
        let lost = ended.iter().filter(|((pod, _), end)| *pod == name && end.contains("leaderelection lost"));
        let more = count.saturating_sub(before.get(&name).copied().unwrap_or_default());
        if more > by_us + lost.count() as u64 {
            too_often.push(format!("{name} was started {more} times, killed {by_us} times"));
        }
    }
    assert!(too_often.is_empty(), "{}\n{}\n{}", too_often.join("\n"), all.join("\n"), tail(&play.home.log()));
}

/// The cluster still works for a user who wants nothing odd.
fn check_service(cluster: &Cluster) {
    let k = |args: &[&str]| cluster.kubectl(&built_in(), args);
    k(&["create", "namespace", "after"]).ok();
    k(&["create", "deployment", "later", "--image=nginx", "--replicas=2", "-n", "after"]).ok();
    let ready =
        || k(&["get", "deployment", "later", "-n", "after", "-o", "jsonpath={.status.readyReplicas}"]).out;
    eventually(PATIENCE, ready, |n| n == "2");
    let said = cluster.home.ropewalk(&["undo", "--name", "t"]).ok();
    assert!(said.contains("undone: kubectl create deployment"), "{said}");
    k(&["get", "deployment", "later", "-n", "after"]).fails("not found");
    let pods = || k(&["get", "pods", "-n", "after", "-o", "name"]).out;
    eventually(PATIENCE, pods, |left| left.trim().is_empty());
}

/// One object after the other that once kept others from being served.
#[test]
fn one_odd_object_is_told_of_and_the_others_are_served() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let w = World::up(&home, &["--workers", "1"]);
    let wait =
        |what: &str, wanted: &str| eventually(PATIENCE, || w.say(what).out, |out| out.trim() == wanted);

    // A stored value of the wrong shape: left out of lists, 500 by its name, and gone when it is
    // deleted.
    let odd = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"odd","namespace":"default"},"spec":5}"#;
    home.ropewalk(&["etcdctl", "--name", "t", "put", "/registry/pods/default/odd", odd]).ok();
    w.say("run good --image=nginx").ok();
    w.k(&["wait", "--for=condition=Ready", "pod/good", TIMEOUT]);
    assert_eq!(w.say("get pods -o name").ok().trim(), "pod/good");
    w.say("get pod odd").fails("cannot unmarshal number into Go struct field");
    w.say("run odd --image=nginx").fails("already exists");
    w.say("delete pod odd").ok();
    w.say("get pod odd").fails("not found");

    // Pods that own each other in a circle, deleted in the foreground.
    let uid = |name: &str| w.object(&format!("pod {name} -n ring"))["metadata"]["uid"].clone();
    w.create_namespace("ring");
    for name in ["a", "b", "c"] {
        w.say(&format!("run {name} -n ring --image=nginx")).ok();
    }
    for (name, owner) in [("a", "c"), ("b", "a"), ("c", "b")] {
        let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": owner, "uid": uid(owner),
            "controller": true, "blockOwnerDeletion": true});
        let patch = json!({"metadata": {"ownerReferences": [reference]}}).to_string();
        w.k(&["patch", "pod", name, "-n", "ring", "--type=merge", "-p", &patch]);
    }
    w.say("delete pod a -n ring --cascade=foreground --wait=false --grace-period=1").ok();
    wait("get pods -n ring -o name", "");
    w.k(&["delete", "namespace", "ring", TIMEOUT]);

    // A pod that its Job lets go, with all of its labels.
    w.say("create job work --image=busybox -- sleep 600").ok();
    let pods = || w.pod_names("job-name=work");
    let pod = eventually(PATIENCE, pods, |names| names.len() == 1).remove(0);
    let labels = json!([{"op": "replace", "path": "/metadata/labels", "value": {}}]).to_string();
    w.k(&["patch", "pod", &pod, "--type=json", "-p", &labels]);
    let what = format!("get pod {pod} -o jsonpath={{.metadata.ownerReferences}}{{.metadata.finalizers}}");
    wait(&what, "");

    // A Service that claims another one's address.
    w.say("create service clusterip thief --tcp=443:80").ok();
    let theft = ["patch", "service", "thief", "-p", r#"{"spec":{"externalIPs":["10.96.0.1"]}}"#];
    w.cluster.kubectl(&w.any, &theft).fails("may not be an address of this cluster");
    w.rewrite_stored("/registry/services/default/thief", |service| {
        service["spec"]["externalIPs"] = json!(["10.96.0.1"]);
    });
    w.told("Service", "thief", "10.96.0.1:443 belongs to default/kubernetes");
    w.say("expose pod good --port=80").ok();
    w.say("run env --image=busybox --restart=Never --env=my-name=dash -- sh -c env").ok();
    // As a client does that may be earlier than the proxy and the name server.
    let ask = "until wget -qO- -T 30 http://good; do sleep 1; done";
    w.k(&["run", "ask", "--image=busybox", "--restart=Never", "--", "sh", "-c", ask]);
    wait("get pod ask -o jsonpath={.status.phase}", "Succeeded");
    wait("get pod env -o jsonpath={.status.phase}", "Succeeded");
    assert!(w.say("logs env").ok().lines().any(|line| line == "my-name=dash"));
}

/// What the program and its components say of panics: they are survived, and are faults all the
/// same.
fn panics(home: &Home) -> Vec<String> {
    fn logs(dir: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => logs(&path, found),
                Ok(kind) if kind.is_file() => found.push(std::fs::read_to_string(&path).unwrap_or_default()),
                _ => {}
            }
        }
    }
    let mut texts = vec![home.log()];
    for node in std::fs::read_dir(home.path().join("clusters/t/data")).into_iter().flatten().flatten() {
        logs(&node.path().join("log"), &mut texts);
    }
    let lines = texts.iter().flat_map(|text| text.lines());
    lines.filter(|line| line.contains("panicked")).take(40).map(String::from).collect()
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|l| l.contains("panick") || l.contains("ended")).collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
