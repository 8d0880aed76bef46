//! What a learner waits for: start, run, scale, heal, stop; and what a cluster costs while nothing happens.
//!
//! `cargo bench --bench cluster`. Every figure stands beside the one aimed for; the machine's noise is the spread of the runs.

mod support;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use support::{Figures, ROPEWALK, client, ropewalk};

const RUNS: usize = 15;

fn running(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
        && pod.metadata.deletion_timestamp.is_none()
}

/// Runs `act`, and waits until so many pods chosen by the labels are ready (and `right` agrees). Returns the time since the act began.
async fn until_ready<F>(
    pods: &Api<Pod>,
    labels: &str,
    wanted: usize,
    right: impl Fn(&Pod) -> bool,
    act: F,
) -> Duration
where
    F: Future<Output = ()>,
{
    use futures::StreamExt;
    let list = pods.list(&ListParams::default().labels(labels)).await.expect("a list");
    let mut now: std::collections::BTreeMap<String, Pod> =
        list.items.into_iter().map(|p| (p.metadata.name.clone().unwrap_or_default(), p)).collect();
    let from = list.metadata.resource_version.unwrap_or_default();
    let mut events =
        pods.watch(&WatchParams::default().labels(labels), &from).await.expect("a watch").boxed();
    let start = Instant::now();
    act.await;
    loop {
        match events.next().await.expect("the watch goes on").expect("an event") {
            WatchEvent::Added(p) | WatchEvent::Modified(p) => {
                drop(now.insert(p.metadata.name.clone().unwrap_or_default(), p))
            }
            WatchEvent::Deleted(p) => drop(now.remove(&p.metadata.name.unwrap_or_default())),
            _ => {}
        }
        if now.values().filter(|p| running(p) && right(p)).count() >= wanted {
            return start.elapsed();
        }
    }
}

/// Resident memory in MB and CPU in percent of a core over `span`, of supervisor, main and zygote.
fn cost(pids: &[i64], span: Duration) -> (f64, f64) {
    let ticks = || -> u64 {
        pids.iter()
            .map(|pid| {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                let fields: Vec<&str> =
                    stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
                let at = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
                at(11) + at(12)
            })
            .sum()
    };
    let before = ticks();
    std::thread::sleep(span);
    let used = (ticks() - before) as f64 / 100.0 / span.as_secs_f64() * 100.0;
    let resident: u64 = pids
        .iter()
        .map(|pid| {
            let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let pss = smaps
                .lines()
                .find_map(|l| l.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
            pss.unwrap_or(0)
        })
        .sum();
    (resident as f64 / 1000.0, used)
}

fn main() {
    if std::env::args().any(|a| a == "--test") {
        return; // `cargo test --benches` only wants to know that it builds
    }
    let home = tempfile::Builder::new().prefix("rwb").tempdir().expect("a directory");
    let home = home.path();
    let figures = Figures;
    let size = std::fs::metadata(ROPEWALK).expect("the program").len();
    figures.value("program, static", &format!("{:.1} MB", size as f64 / 1e6), "≤ 60 MB");
    let (mut cold, mut stops) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        ropewalk(home, &["reset", "--yes"]);
        let start = Instant::now();
        ropewalk(home, &["up", "--detach", "--wait"]);
        cold.push(start.elapsed());
        let start = Instant::now();
        ropewalk(home, &["down"]);
        stops.push(start.elapsed());
    }
    figures.times("cold start to all Ready and Running", cold, "≤ 1000 ms");
    figures.times("stop", stops, "≤ 1000 ms");
    let mut again = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        ropewalk(home, &["up", "--detach", "--wait"]);
        again.push(start.elapsed());
        ropewalk(home, &["down"]);
    }
    figures.times("start again with the same data", again, "≤ 1000 ms");

    ropewalk(home, &["up", "--detach", "--wait"]);
    let status: Value = serde_json::from_str(&ropewalk(home, &["status", "-o", "json"])).expect("JSON");
    let pids: Vec<i64> =
        ["supervisor", "main", "zygote"].iter().filter_map(|p| status["pids"][p].as_i64()).collect();
    std::thread::sleep(Duration::from_secs(5));
    let (memory, cpu) = cost(&pids, Duration::from_secs(20));
    figures.value("idle: memory of all processes", &format!("{memory:.0} MB"), "≤ 100 MB");
    figures.value("idle: CPU", &format!("{cpu:.1} % of a core"), "≤ 3 %");

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure(home, &figures));
    ropewalk(home, &["reset", "--yes"]);
}

async fn measure(home: &Path, figures: &Figures) {
    let client = client(home);
    let pods: Api<Pod> = client.within("default");
    let deployments: Api<Deployment> = client.within("default");
    // The default service account is made by a controller; ask until it is there.
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = client.within("default");
    while accounts.get("default").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut runs = Vec::new();
    for n in 0..RUNS {
        let name = format!("run-{n}");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"run": name}},
            "spec": {"containers": [{"name": "c", "image": "nginx"}], "terminationGracePeriodSeconds": 1},
        }))
        .expect("a pod");
        let labels = format!("run={name}");
        let took = until_ready(&pods, &labels, 1, |_| true, async {
            pods.create(&PostParams::default(), &pod).await.expect("created");
        });
        runs.push(took.await);
        pods.delete(&name, &DeleteParams::default()).await.expect("deleted");
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    figures.times("run: created to Ready", runs, "p50 ≤ 50 ms");

    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "nginx"}], "terminationGracePeriodSeconds": 1},
        }},
    }))
    .expect("a deployment");
    until_ready(&pods, "app=web", 1, |_| true, async {
        deployments.create(&PostParams::default(), &deployment).await.expect("created");
    })
    .await;
    let scale = |n: i32| {
        let deployments = deployments.clone();
        async move {
            let patch = Patch::Merge(json!({"spec": {"replicas": n}}));
            deployments.patch_scale("web", &PatchParams::default(), &patch).await.expect("scaled");
        }
    };
    let mut scales = Vec::new();
    for _ in 0..5 {
        scales.push(until_ready(&pods, "app=web", 30, |_| true, scale(30)).await);
        scale(1).await;
        loop {
            let left = pods.list(&ListParams::default().labels("app=web")).await.expect("a list").items.len();
            if left == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    figures.times("scale 1 → 30 replicas, all Ready", scales, "≤ 1000 ms");

    until_ready(&pods, "app=web", 3, |_| true, scale(3)).await;
    let mut heals = Vec::new();
    for _ in 0..RUNS {
        let list = pods.list(&ListParams::default().labels("app=web")).await.expect("a list").items;
        let before: Vec<String> = list.iter().filter_map(|p| p.metadata.uid.clone()).collect();
        let victim = list.iter().find(|p| running(p)).and_then(|p| p.metadata.name.clone()).expect("a pod");
        let fresh = |p: &Pod| p.metadata.uid.as_ref().is_some_and(|u| !before.contains(u));
        let took = until_ready(&pods, "app=web", 1, fresh, async {
            pods.delete(&victim, &DeleteParams::default()).await.expect("deleted");
        });
        heals.push(took.await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    figures.times("heal: pod deleted to its successor Ready", heals, "≤ 300 ms");
}
