//! The scheduler in a simulated world: pods come and go, nodes come and go, and between the
//! scheduler and the API server are the faults of [`client::simulated`]. The scheduler is killed
//! while it writes. Afterwards the faults end, and then every pod that fits on a node must have
//! one. [`volumes`] has histories of pods with claims. `ROPEWALK_SEEDS=100000 cargo test --profile
//! sim -p scheduler --lib sim::` runs more histories, `ROPEWALK_SEED_FROM` begins elsewhere.

mod volumes;

use super::queue::{Config, run as schedule};
use api::meta;
use api::value::{self, text};
use client::simulated::{Bug, Door, Faults, Store, Tally, kind};
use client::spin;
use rng::Rng;
use rng::seeds::{caught_after, sweep};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tap::Tap;
use task::Crew;
use tokio::sync::broadcast::error::RecvError;

/// After the last fault every pod that fits has a node within this time: longer than a watch lasts
/// and than a pod waits that fits nowhere.
const PATIENCE: Duration = Duration::from_secs(1800);
const QUIET: Duration = Duration::from_secs(20);
/// CPUs of each node.
const CPUS: u64 = 4;

fn run(seed: u64, bug: Option<Bug>) -> (Tally, u64) {
    in_simulation(history(seed, bug))
}

fn in_simulation<T>(world: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    spin::find();
    runtime.expect("a runtime without sockets").block_on(world)
}

async fn history(seed: u64, bug: Option<Bug>) -> (Tally, u64) {
    clock::pin("2026-01-02T03:04:05Z".parse().expect("a time"));
    let rng = Rng::seeded(seed);
    let store = Store::new(rng.fork("store"));
    let (faults, only_late) = weather(&rng.fork("weather"));
    let door = Door::new(&store, &rng.fork("door"), faults, bug);
    let (user, restarts, scheduler) = (rng.fork("user"), rng.fork("restarts"), rng.fork("scheduler"));
    let script = async {
        act(&store, &user, only_late).await;
        door.calm();
        settle(seed, &store, waiting).await;
    };
    tokio::select! {
        biased;
        () = script => {}
        () = live(seed, &door, &scheduler, &restarts) => {}
    }
    (door.tally(), store.hash())
}

/// Draws the faults of a history. In about every fourth nothing fails, and everything is only late:
/// then the second is true.
fn weather(rng: &Rng) -> (Faults, bool) {
    let some = |most: f64| most * rng.range(0, 100) as f64 / 100.0;
    let only_late = rng.chance(0.25);
    let faults = match only_late {
        true => Faults { slow: some(0.5), lag: some(0.8), ..Faults::default() },
        false => Faults {
            slow: some(0.4),
            refused: some(0.2),
            lost: some(0.15),
            lag: some(0.5),
            cut: some(0.1),
            expired: some(0.5),
            killed: some(0.2),
        },
    };
    (faults, only_late)
}

/// Runs one scheduler after the other: each ends when it is killed.
async fn live(seed: u64, door: &Door, scheduler: &Rng, restarts: &Rng) {
    loop {
        let crew = Crew::new("scheduler");
        let config =
            Config { client: door.client(), tap: Tap::new(), rng: scheduler.clone(), identity: "n_1".into() };
        let own = crew.clone();
        crew.spawn_main(async move {
            schedule(&own, config).await;
            std::future::pending::<Result<(), String>>().await
        });
        tokio::select! {
            biased;
            () = door.killed() => {}
            end = crew.wait() => panic!("seed {seed}: the scheduler ended: {end:?}"),
        }
        crew.kill();
        clock::sleep(Duration::from_millis(restarts.range(1, 5000))).await;
    }
}

/// Waits until no pod that fits waits any more, and nothing is written.
async fn settle(seed: u64, store: &Store, waiting: fn(&Store) -> Vec<String>) {
    let start = clock::Instant::now();
    loop {
        let before = store.revision();
        clock::sleep(QUIET).await;
        let wrong = waiting(store);
        if wrong.is_empty() && store.revision() == before {
            return;
        }
        let (wrong, tail) = (wrong.join("; "), store.tail());
        assert!(start.elapsed() < PATIENCE, "seed {seed}: {wrong}; {tail}");
    }
}

/// Lets pods and nodes come and go for a while. With `only_late` no node may have more pods than it
/// has room for, and nodes stay: a pod that has lost its node would be counted nowhere.
async fn act(store: &Store, rng: &Rng, only_late: bool) {
    for step in 0..rng.range(5, 30) {
        let (pods, nodes) = (store.all("pods"), store.all("nodes"));
        let some = |n: usize| rng.range(0, n as u64) as usize;
        match rng.range(0, 10) {
            0 | 1 if nodes.len() < 4 => {
                let room = json!({"cpu": CPUS.to_string(), "memory": "8Gi", "pods": "110"});
                let node = json!({
                    "metadata": {"name": format!("n{step}")},
                    "status": {"capacity": room, "allocatable": room},
                });
                store.create(kind("nodes"), "", node).expect("a node");
            }
            2 if !nodes.is_empty() && !only_late => {
                let name = meta::name(&nodes[some(nodes.len())].value).to_string();
                store.delete(kind("nodes"), ("", &name), &json!({})).expect("it was there");
                // As the garbage collector of pods does.
                pods.iter()
                    .filter(|p| text(&p.value, "spec.nodeName") == name)
                    .for_each(|p| remove(store, &p.value));
            }
            3 | 4 if !pods.is_empty() => remove(store, &pods[some(pods.len())].value),
            _ => {
                let cpu = rng.range(1, 4).to_string();
                let pod = json!({
                    "metadata": {"name": format!("p{}", rng.range(0, 12))},
                    "spec": {"containers": [{"name": "c", "image": "pause", "resources": {"requests": {"cpu": cpu}}}]},
                });
                // One of that name may be there.
                let _ = store.create(kind("pods"), "default", pod);
            }
        }
        if only_late {
            let crowded: Vec<_> = rooms(store).into_iter().filter(|(_, used)| *used > CPUS).collect();
            assert!(crowded.is_empty(), "more than {CPUS} CPUs are requested: {crowded:?}");
        }
        clock::sleep(Duration::from_millis(rng.range(1, 4000))).await;
    }
}

fn remove(store: &Store, pod: &Value) {
    let now = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": meta::uid(pod)}});
    store.delete(kind("pods"), (meta::namespace(pod), meta::name(pod)), &now).expect("it was there");
}

fn request(pod: &Value) -> u64 {
    let containers = value::list(pod, "spec.containers");
    text(&containers[0], "resources.requests.cpu").parse().expect("whole CPUs")
}

/// Returns the CPUs that are requested on each node.
fn rooms(store: &Store) -> BTreeMap<String, u64> {
    let nodes = store.all("nodes");
    let mut used: BTreeMap<String, u64> =
        nodes.iter().map(|node| (meta::name(&node.value).to_string(), 0)).collect();
    for pod in store.all("pods") {
        if let Some(used) = used.get_mut(text(&pod.value, "spec.nodeName")) {
            *used += request(&pod.value);
        }
    }
    used
}

/// Returns the pods without a node that would fit on one.
fn waiting(store: &Store) -> Vec<String> {
    let rooms = rooms(store);
    let pods = store.all("pods");
    let pending = pods.iter().filter(|p| value::empty(&p.value, "spec.nodeName"));
    let fits = |pod: &Value| rooms.iter().find(|(_, used)| **used + request(pod) <= CPUS);
    let problem = |pod: &Value| fits(pod).map(|(node, _)| format!("{} fits on {node}", meta::name(pod)));
    pending.filter_map(|p| problem(&p.value)).collect()
}

#[test]
fn every_pod_that_fits_gets_a_node_whatever_happens() {
    let test = "scheduler::sim::every_pod_that_fits_gets_a_node_whatever_happens";
    let mut all = Tally::default();
    let Some(seeds) = sweep(test, 100, |seed| run(seed, None), |(tally, _)| all += tally) else { return };
    eprintln!("{seeds} seeds: {all:?}");
    // A sweep in which nothing bad happened proves nothing.
    let seen = [all.refused, all.lost, all.cut, all.expired, all.killed];
    assert!(seen.iter().all(|n| *n > seeds / 4), "the weather was too fair: {all:?}");
}

/// Each life has caches of the whole cluster, and a tap that ends with the last handle to it.
#[tokio::test(start_paused = true)]
async fn a_scheduler_that_was_killed_leaves_nothing_in_memory() {
    let store = Store::new(Rng::seeded(1));
    let door = Door::new(&store, &Rng::seeded(2), Faults::default(), None);
    let (crew, tap) = (Crew::new("scheduler"), Tap::new());
    let mut records = tap.subscribe();
    let config = Config { client: door.client(), tap, rng: Rng::seeded(3), identity: "n_1".into() };
    schedule(&crew, config).await;
    crew.kill();
    let ended = async { while !matches!(records.recv().await, Err(RecvError::Closed)) {} };
    assert!(clock::limit(QUIET, ended).await.is_some());
}

/// After a change of leaders there may be many of them, and little room.
#[tokio::test(start_paused = true)]
async fn of_pods_that_wait_at_the_start_the_most_important_one_goes_first() {
    let store = Store::new(Rng::seeded(1));
    let door = Door::new(&store, &Rng::seeded(2), Faults::default(), None);
    let room = json!({"cpu": CPUS.to_string(), "memory": "8Gi", "pods": "110"});
    let node = json!({"metadata": {"name": "n"}, "status": {"capacity": room, "allocatable": room}});
    store.create(kind("nodes"), "", node).expect("a node");
    for (name, priority) in [("a", 0), ("b", 1000), ("c", 10)] {
        let resources = json!({"requests": {"cpu": CPUS.to_string()}});
        let container = json!({"name": "c", "image": "pause", "resources": resources});
        let spec = json!({"priority": priority, "containers": [container]});
        store
            .create(kind("pods"), "default", json!({"metadata": {"name": name}, "spec": spec}))
            .expect("a pod");
    }
    let crew = Crew::new("scheduler");
    let config =
        Config { client: door.client(), tap: Tap::new(), rng: Rng::seeded(3), identity: "n_1".into() };
    schedule(&crew, config).await;
    clock::sleep(QUIET).await;
    let pods = store.all("pods");
    let bound = pods.iter().filter(|p| !value::empty(&p.value, "spec.nodeName"));
    assert_eq!(bound.map(|p| meta::name(&p.value)).collect::<Vec<_>>(), ["b"]);
    crew.kill();
}

#[test]
fn a_seed_is_a_history() {
    for seed in [3, 14] {
        assert_eq!(run(seed, None), run(seed, None));
    }
    assert_ne!(run(3, None).1, run(4, None).1);
}

#[test]
fn planted_bugs_are_caught() {
    for (bug, most) in [(Bug::SwallowedFailure, 100), (Bug::MissedDeletion, 1500), (Bug::SkippedEvents, 100)]
    {
        let after = caught_after(most, |seed| run(seed, Some(bug)));
        eprintln!("{bug:?} was caught after {after:?} seeds");
        assert!(after.is_some(), "{most} histories with {bug:?} went unnoticed");
    }
}
