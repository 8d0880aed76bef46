//! The API of three control planes under load: creates, reads, lists, watchers.
//!
//! `cargo bench --bench towers`. The store beside a real etcd, starts and pods: `ropewalk bench`.

mod support;

use client::{Client, kubeconfig};
use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};
use support::{Cluster, Figures};

const WRITERS: usize = 32;
const PODS: usize = 5000;
const WATCHERS: usize = 1000;
const WRITES_PER_SECOND: u32 = 100;
const WRITES: u32 = 5 * WRITES_PER_SECOND;

fn main() {
    if std::env::args().any(|a| a == "--test") {
        return; // `cargo test --benches` only wants to know that it builds
    }
    let cluster = Cluster::up(&["--control-planes", "3", "--workers", "0"]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(api(cluster.home(), &Figures));
}

fn quantile(times: &mut [Duration], p: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * p) as usize]
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

async fn api(home: &Path, figures: &Figures) {
    let first = client(home);
    let namespaces: Api<Namespace> = Api::all(first.kube());
    let space: Namespace =
        serde_json::from_value(json!({"metadata": {"name": "bench"}})).expect("a namespace");
    namespaces.create(&PostParams::default(), &space).await.expect("created");
    let accounts = first.within::<k8s_openapi::api::core::v1::ServiceAccount>("bench");
    while accounts.get("default").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Nobody schedules them: what is measured is the API.
    let each = PODS / WRITERS;
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| {
            let pods = client(home).within::<Pod>("bench");
            tokio::spawn(async move {
                let mut took = Vec::new();
                for m in 0..each {
                    let pod: Pod = serde_json::from_value(json!({
                        "metadata": {"name": format!("pod-{n}-{m}"), "labels": {"app": "bench"}},
                        "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "nginx"}]},
                    }))
                    .expect("a pod");
                    let start = Instant::now();
                    pods.create(&PostParams::default(), &pod).await.expect("created");
                    took.push(start.elapsed());
                }
                took
            })
        })
        .collect();
    let mut creates = Vec::new();
    for writer in writers {
        creates.extend(writer.await.expect("a writer"));
    }
    let (p50, p99) = (quantile(&mut creates, 0.5), quantile(&mut creates, 0.99));
    let text = format!("p50 {}, p99 {} (n={})", ms(p50), ms(p99), creates.len());
    figures.value("three towers: create of a Pod, 32 clients", &text, "p99 ≤ 25 ms");

    let pods = first.within::<Pod>("bench");
    let mut gets = Vec::new();
    for _ in 0..3000 {
        let start = Instant::now();
        pods.get("pod-0-0").await.expect("a pod");
        gets.push(start.elapsed());
    }
    let text = format!("p50 {}, p99 {}", ms(quantile(&mut gets, 0.5)), ms(quantile(&mut gets, 0.99)));
    figures.value("three towers: get of a Pod, 1 client", &text, "p50 ≤ 0.5 ms");

    let mut rates = Vec::new();
    let mut size = 0;
    for _ in 0..10 {
        let request = http::Request::get("/api/v1/namespaces/bench/pods").body(vec![]).expect("a request");
        let start = Instant::now();
        size = first.kube().request_text(request).await.expect("a list").len();
        rates.push(size as f64 / 1e6 / start.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    let text =
        format!("{:.0} MB/s ({:.0}–{:.0}) of {:.1} MB", rates[5], rates[0], rates[9], size as f64 / 1e6);
    figures.value(&format!("three towers: list of {} pods", each * WRITERS), &text, "≥ 100 MB/s");
    watchers(home, figures).await;
}

/// Delays between a write's beginning and its arrival at each of many watchers.
async fn watchers(home: &Path, figures: &Figures) {
    let first = client(home);
    let maps = first.within::<ConfigMap>("bench");
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "clock"}, "data": {"at": "0"}})).expect("a map");
    maps.create(&PostParams::default(), &map).await.expect("created");
    let epoch = Instant::now();
    let (ready, mut all) = tokio::sync::mpsc::channel::<()>(WATCHERS);
    let clients: Vec<_> = (0..WATCHERS / 20).map(|_| client(home)).collect();
    let tasks: Vec<_> = (0..WATCHERS)
        .map(|n| {
            let (client, ready) = (clients[n % clients.len()].kube(), ready.clone());
            tokio::spawn(async move {
                let path =
                    "/api/v1/namespaces/bench/configmaps?watch=true&fieldSelector=metadata.name%3Dclock";
                let request = http::Request::get(path).body(vec![]).expect("a request");
                let stream = client.request_stream(request).await.expect("a watch");
                let mut lines = stream.lines();
                let mut delays = Vec::new();
                while let Ok(Some(line)) = lines.try_next().await {
                    // Only this much is read of it: the watcher's own work is not what is measured.
                    let at = line.split("\"at\":\"").nth(1).and_then(|rest| rest.split('"').next());
                    match at.and_then(|at| at.parse::<u64>().ok()) {
                        Some(0) => ready.send(()).await.expect("the bench"),
                        Some(u64::MAX) => break,
                        Some(at) => delays.push(epoch.elapsed().saturating_sub(Duration::from_nanos(at))),
                        None => {}
                    }
                }
                delays
            })
        })
        .collect();
    for _ in 0..WATCHERS {
        all.recv().await.expect("a watcher");
    }
    let mut tick = tokio::time::interval(Duration::from_secs(1) / WRITES_PER_SECOND);
    let write = async |at: u64| {
        let patch = Patch::Merge(json!({"data": {"at": at.to_string()}}));
        maps.patch("clock", &PatchParams::default(), &patch).await.expect("a patch");
    };
    for _ in 0..WRITES {
        tick.tick().await;
        write(epoch.elapsed().as_nanos() as u64).await;
    }
    let writes = epoch.elapsed();
    write(u64::MAX).await;
    let mut delays = Vec::new();
    for task in tasks {
        delays.extend(task.await.expect("a watcher"));
    }
    let (p50, p99) = (quantile(&mut delays, 0.5), quantile(&mut delays, 0.99));
    // A watcher that was cut off has fewer.
    let (came, all) = (delays.len(), WATCHERS * WRITES as usize);
    let text =
        format!("p50 {}, p99 {}, {came} of {all} events in {:.1} s", ms(p50), ms(p99), writes.as_secs_f64());
    figures.value("three towers: 1000 watchers, 100 writes/s", &text, "p99 ≤ 50 ms");
}

fn client(home: &Path) -> Client {
    let text = std::fs::read_to_string(home.join("clusters/main/kubeconfig")).expect("a kubeconfig");
    let config = serde_yaml::from_str(&text).expect("YAML");
    kubeconfig::view(&config).client("bench").expect("a client")
}
