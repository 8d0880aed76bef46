//! A kubelet in a simulated world: pods come and go, containers end, sandboxes are lost. Between
//! the kubelet and the API server are the faults of [`client::simulated`], and between it and its
//! runtime those of [`runtime`]. The kubelet is killed while it writes to either; the runtime and
//! its containers live on. Now and then the machine's memory is low, and a pod is evicted
//! ([`memory`]). Afterwards the faults end, and then every pod runs as its object says, and nothing
//! is left of those that are gone ([`checks`]). `ROPEWALK_SEEDS=100000 cargo test --profile sim -p
//! kubelet --lib sim::` runs more histories, `ROPEWALK_SEED_FROM` begins elsewhere.

mod checks;
mod memory;
mod runtime;

use super::config::Config;
use super::pods::start_workers;
use super::pods::tests::{NODE, PODS, config};
use super::pressure::Pressures;
use super::request_timeout::TimeLimited;
use super::simulated::{self, EvictionBug};
use api::meta;
use api::value::{put, text};
use client::simulated::{Bug as Mistake, Door, Faults, Store, Tally, kind};
use client::spin;
use cri::fake::{FakeRuntime, Script};
use cri::{ContainerState, Runtime, SandboxState};
use memory::MachineMemory;
use rng::Rng;
use rng::seeds::{caught_after, sweep};
use runtime::Rough;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use task::Crew;
use tokio::sync::watch;

/// A bug that is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// A mistake of the client that the kubelet uses.
    Client(Mistake),
    Runtime(runtime::Bug),
    /// A mistake of the kubelet's evictions.
    Eviction(EvictionBug),
}

impl Bug {
    fn of_client(self) -> Option<Mistake> {
        if let Bug::Client(mistake) = self { Some(mistake) } else { None }
    }

    fn of_runtime(self) -> Option<runtime::Bug> {
        if let Bug::Runtime(bug) = self { Some(bug) } else { None }
    }

    fn of_evictions(self) -> Option<EvictionBug> {
        if let Bug::Eviction(bug) = self { Some(bug) } else { None }
    }
}

/// After the last fault everything must be as it is wanted within this time: longer than a watch
/// lasts and than a container backs off.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Nothing was written for so long: it stays as it is.
const QUIET: Duration = Duration::from_secs(20);
/// What containers of each image do, until the faults end: from then on all run.
const IMAGES: [&str; 5] = ["runs", "deaf", "works", "crashes", "refuses"];

/// What happened between the kubelet and the API server, and between it and its runtime; the
/// store's hash; and how many pods were evicted.
type Ran = (Tally, runtime::Tally, u64, u64);

fn run(seed: u64, bug: Option<Bug>) -> Ran {
    simulated::EVICTION_BUG.set(bug.and_then(Bug::of_evictions));
    in_simulation(history(seed, bug))
}

fn in_simulation<T>(world: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    spin::find();
    simulated::SIMULATED.set(true);
    runtime.expect("a runtime without sockets").block_on(world)
}

/// Returns how rough a history is. In every fourth nothing fails, and everything is only late.
fn weather(rng: &Rng) -> (Faults, runtime::Faults) {
    let some = |most: f64| most * rng.range(0, 100) as f64 / 100.0;
    if rng.chance(0.25) {
        let faults = Faults { slow: some(0.5), lag: some(0.8), ..Faults::default() };
        return (faults, runtime::Faults { slow: some(0.3), ..runtime::Faults::default() });
    }
    let faults = Faults {
        slow: some(0.4),
        refused: some(0.2),
        lost: some(0.15),
        lag: some(0.5),
        cut: some(0.1),
        expired: some(0.5),
        killed: some(0.2),
    };
    (faults, runtime::Faults { slow: some(0.3), failed: some(0.1), lost: some(0.1), killed: some(0.1) })
}

/// Says how the containers of each image end.
fn write_scripts(fake: &FakeRuntime) {
    let ends = |seconds, code, reason| Script::Exit { after: Duration::from_secs(seconds), code, reason };
    fake.script("deaf", Script::IgnoreStop);
    fake.script("works", ends(3, 0, "Completed"));
    fake.script("crashes", ends(2, 1, "Error"));
    fake.script("refuses", Script::FailStart("no such program".into()));
}

async fn history(seed: u64, bug: Option<Bug>) -> Ran {
    clock::pin("2026-01-02T03:04:05Z".parse().expect("a time"));
    let dir = tempfile::tempdir().expect("a directory");
    let rng = Rng::seeded(seed);
    let store = Store::new(rng.fork("store"));
    let (calls, faults) = weather(&rng.fork("weather"));
    let door = Door::new(&store, &rng.fork("door"), calls, bug.and_then(Bug::of_client));
    let fake = FakeRuntime::new(NODE, PODS, rng.fork("runtime"));
    let rough = Rough::new(&fake, rng.fork("rough"), faults, bug.and_then(Bug::of_runtime));
    let (user, restarts) = (rng.fork("user"), rng.fork("restarts"));
    let gets_low = bug.and_then(Bug::of_evictions).is_some();
    let memory = MachineMemory::new(&fake, rng.fork("memory"), faults.are_fair(), gets_low);
    write_scripts(&fake);
    let script = async {
        act(&store, &fake, &user).await;
        door.calm();
        rough.calm();
        memory.calm();
        IMAGES.iter().for_each(|image| fake.script(image, Script::Run));
        let start = clock::Instant::now();
        loop {
            let before = store.revision();
            clock::sleep(QUIET).await;
            let mut wrong = checks::wrong(&store, &fake).await;
            wrong.extend(memory.lost(&store));
            if wrong.is_empty() && store.revision() == before {
                return;
            }
            let (wrong, tail) = (wrong.join("; "), store.tail());
            assert!(start.elapsed() < PATIENCE, "seed {seed}: {wrong}; {tail}");
        }
    };
    let watching = async {
        let mut events = fake.events();
        loop {
            let _ = events.recv().await; // which one it was, or whether some were missed, makes no difference
            let twins = checks::twins(&fake).await;
            assert!(twins.is_empty(), "seed {seed}: {}", twins.join("; "));
        }
    };
    let lives = async {
        loop {
            let crew = Crew::new("kubelet");
            rough.restarted().await;
            let config = Config {
                runtime: Arc::new(TimeLimited(Arc::new(rough.clone()))),
                ..config(&door.client(), &fake, dir.path().into())
            };
            let kubelet = start_workers(&crew, &Arc::new(config), watch::Sender::new(Pressures::default()));
            tokio::select! {
                biased;
                () = door.killed() => {}
                () = rough.killed() => {}
                end = crew.wait() => panic!("seed {seed}: the kubelet ended: {end:?}"),
                () = memory.watched_by(&kubelet, seed) => {}
            }
            crew.kill();
            clock::sleep(Duration::from_millis(restarts.range(1, 5000))).await;
        }
    };
    tokio::select! {
        biased;
        () = script => {}
        () = watching => {}
        () = lives => {}
    }
    (door.tally(), rough.tally(), store.hash(), memory.count())
}

/// Pods come, change and go for a while, containers end, and sandboxes are lost. In every third
/// history all pods are deleted at the end.
async fn act(store: &Store, fake: &FakeRuntime, rng: &Rng) {
    let at = |all: usize| rng.range(0, all as u64) as usize;
    for _ in 0..rng.range(5, 25) {
        let pods = store.all("pods");
        let pod = pods.get(at(pods.len())).map(|pod| &pod.value);
        match (rng.range(0, 12), pod) {
            (0 | 1, Some(pod)) => delete(store, pod, &json!({})),
            (2, Some(pod)) => delete(store, pod, &json!({"gracePeriodSeconds": 0})),
            (3, Some(pod)) => {
                let (image, key) = (some_image(rng), (meta::namespace(pod), meta::name(pod)));
                let edited = store.edit(kind("pods"), key, false, |pod| {
                    if let Some(first) = pod["spec"]["containers"].get_mut(0) {
                        put(first, "image", image);
                    }
                    Ok(())
                });
                edited.unwrap_or_else(|status| panic!("pod {key:?}: {}", status.message));
            }
            (4 | 5, Some(_)) => {
                let mut running = fake.list_containers().await.unwrap_or_default();
                running.retain(|c| c.state == ContainerState::Running);
                if let Some(container) = running.get(at(running.len())) {
                    let (code, reason) = if rng.chance(0.5) { (0, "Completed") } else { (1, "Error") };
                    fake.exit(&container.id, code, reason);
                }
            }
            (6, Some(_)) => {
                let mut ready = fake.list_pod_sandboxes().await.unwrap_or_default();
                ready.retain(|s| s.state == SandboxState::Ready);
                if let Some(sandbox) = ready.get(at(ready.len())) {
                    fake.stop_pod_sandbox(&sandbox.id).await.expect("the runtime itself does not fail");
                    // The runtime has no event for that: where nothing ran in it, the kubelet hears
                    // of it from the next change of the pod.
                    let key = (sandbox.pod.namespace.as_str(), sandbox.pod.name.as_str());
                    let note = sandbox.id.clone();
                    let _ = store.edit(kind("pods"), key, false, |pod| {
                        put(pod, "metadata.annotations.note", note);
                        Ok(())
                    });
                }
            }
            _ => {
                // One of that name may be there.
                let _ = store.create(kind("pods"), "default", new_pod(rng));
            }
        }
        clock::sleep(Duration::from_millis(rng.range(1, 4000))).await;
    }
    if rng.chance(0.3) {
        store.all("pods").iter().for_each(|pod| delete(store, &pod.value, &json!({})));
    }
}

fn delete(store: &Store, pod: &Value, options: &Value) {
    // It may be on its way already.
    let _ = store.delete(kind("pods"), (meta::namespace(pod), meta::name(pod)), options);
}

fn some_image(rng: &Rng) -> &'static str {
    // Most containers just run.
    if rng.chance(0.4) { IMAGES[0] } else { IMAGES[rng.range(0, IMAGES.len() as u64) as usize] }
}

/// Returns a pod for this node. Few names: another pod of the same name is the case that is easily
/// got wrong. Every second pod requests memory: the node takes it although its memory is low.
fn new_pod(rng: &Rng) -> Value {
    let names = if rng.chance(0.5) { &["a"][..] } else { &["a", "b"] };
    let requests = if rng.chance(0.5) { json!({"memory": "16Mi"}) } else { json!({}) };
    let container =
        |name: &&str| json!({"name": name, "image": some_image(rng), "resources": {"requests": requests}});
    let containers: Vec<Value> = names.iter().map(container).collect();
    let policy = ["Always", "OnFailure", "Never"][rng.range(0, 3) as usize];
    json!({
        "metadata": {"name": format!("p{}", rng.range(0, 5))},
        "spec": {
            "nodeName": "n1",
            "restartPolicy": policy,
            "terminationGracePeriodSeconds": rng.range(1, 5),
            "containers": containers,
        },
    })
}

#[test]
fn pods_run_as_their_objects_say_whatever_happens() {
    let test = "kubelet::sim::pods_run_as_their_objects_say_whatever_happens";
    let (mut calls, mut of_runtime, mut evictions) = (Tally::default(), runtime::Tally::default(), 0);
    let add = |(tally, own, _, evicted): Ran| {
        calls += tally;
        of_runtime += own;
        evictions += evicted;
    };
    let Some(seeds) = sweep(test, 20, |seed| run(seed, None), add) else { return };
    eprintln!("{seeds} seeds: {calls:?}, {of_runtime:?}, {evictions} evictions");
    // A sweep in which nothing bad happened proves nothing.
    let seen = [calls.refused, calls.lost, calls.cut, calls.expired, calls.killed];
    let own = [of_runtime.failed, of_runtime.lost, of_runtime.killed];
    assert!(
        seen.iter().chain(&own).all(|n| *n > seeds / 4),
        "the weather was too fair: {calls:?}, {of_runtime:?}"
    );
    assert!(evictions > seeds / 10, "memory was hardly ever low: {evictions} evictions");
}

#[test]
fn a_seed_is_a_history() {
    const FIRST: u64 = 1_000_000;
    let twice = |seed| (run(seed, None), run(seed, None));
    let differing: Vec<_> = (FIRST..FIRST + 40)
        .map(|seed| (seed, twice(seed)))
        .filter(|(_, (one, other))| one != other)
        .collect();
    assert!(differing.is_empty(), "{} of 40 seeds have two histories: {differing:#?}", differing.len());
    assert_ne!(run(3, None).2, run(4, None).2);
}

/// Nothing tells the kubelet that an object which a pod refers to was made, so only the next try
/// finds it. With the pauses of a controller's queue, up to 1000 s, the pod of this test would
/// start 11 minutes after its ConfigMap was made.
#[test]
fn a_pod_that_waited_an_hour_for_its_config_map_starts_within_seconds() {
    in_simulation(async {
        clock::pin("2026-01-02T03:04:05Z".parse().expect("a time"));
        let (dir, rng) = (tempfile::tempdir().expect("a directory"), Rng::seeded(1));
        let store = Store::new(rng.fork("store"));
        let door = Door::new(&store, &rng.fork("door"), Faults::default(), None);
        let fake = FakeRuntime::new(NODE, PODS, rng.fork("runtime"));
        let crew = Crew::new("kubelet");
        let config = config(&door.client(), &fake, dir.path().into());
        start_workers(&crew, &Arc::new(config), watch::Sender::new(Pressures::default()));
        let pod = json!({
            "metadata": {"name": "p"},
            "spec": {
                "nodeName": "n1",
                "containers": [{"name": "a", "image": "runs", "volumeMounts": [{"name": "c", "mountPath": "/c"}]}],
                "volumes": [{"name": "c", "configMap": {"name": "c"}}],
            },
        });
        store.create(kind("pods"), "default", pod).expect("a pod");
        clock::sleep(Duration::from_secs(3600)).await;
        let phase = || {
            let pod = store.get(kind("pods"), "default", "p").expect("it is not deleted");
            text(&pod.value, "status.phase").to_string()
        };
        assert_eq!(phase(), "Pending", "it has no ConfigMap");
        let map = json!({"metadata": {"name": "c"}, "data": {"k": "v"}});
        store.create(kind("configmaps"), "default", map).expect("a ConfigMap");
        clock::sleep(Duration::from_secs(15)).await;
        assert_eq!(phase(), "Running");
        crew.kill();
    });
}

/// Events that are lost, a container that a restarted kubelet starts once more, a sandbox that
/// stays, an evicted pod that runs on, two pods evicted for one. A report that failed and was taken
/// for a success is none of them: the kubelet compares what the API has with what it would say,
/// again and again, and so mends it.
#[test]
fn planted_bugs_are_caught() {
    const ENOUGH: u64 = 50;
    let bugs = [
        Bug::Client(Mistake::MissedDeletion),
        Bug::Client(Mistake::SkippedEvents),
        Bug::Runtime(runtime::Bug::ForgottenContainers),
        Bug::Runtime(runtime::Bug::LeakedSandbox),
        Bug::Eviction(EvictionBug::Lost),
        Bug::Eviction(EvictionBug::Doubled),
    ];
    let unnoticed: Vec<Bug> = bugs
        .into_iter()
        .filter(|bug| {
            let after = caught_after(ENOUGH, |seed| run(seed, Some(*bug)));
            eprintln!("{bug:?} was caught after {after:?} seeds");
            after.is_none()
        })
        .collect();
    simulated::EVICTION_BUG.set(None);
    assert!(unnoticed.is_empty(), "{ENOUGH} histories went unnoticed with each of {unnoticed:?}");
}
