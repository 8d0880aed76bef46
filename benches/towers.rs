//! Three control planes under load, and the store beside a real etcd.
//!
//! `cargo bench --bench towers`. The API: creates, reads, lists, watchers. The store: puts and linearizable gets at 1 and 64 clients with 1 and 3
//! members, each round beside the same round on Debian's etcd (`etcd-server`), if that is on PATH; both are spoken to over mutual TLS, both sync to disk.

mod support;

use bytes::Bytes;
use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use ropewalk::etcd::grpc::client::{Channel, Endpoint};
use ropewalk::etcd::pb;
use ropewalk::pki::{Ca, Identity, Subject, client_config};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Figures, client, ropewalk};

const ROUND: Duration = Duration::from_secs(3);
const VALUE_BYTES: usize = 256;
const WRITERS: usize = 32;
const PODS: usize = 5000;
const WATCHERS: usize = 1000;
const WRITES_PER_SECOND: u32 = 100;

fn main() {
    if std::env::args().any(|a| a == "--test") {
        return; // `cargo test --benches` only wants to know that it builds
    }
    // A short path, for its sockets. Where /tmp is memory, TMPDIR names a place on a disk.
    let dir = tempfile::Builder::new().prefix("rwb").tempdir().expect("a directory");
    let figures = Figures;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for members in [1, 3] {
        let home = dir.path().join(format!("{members}"));
        let (count, workers) = (members.to_string(), "0");
        let mut starts = Vec::new();
        for _ in 0..5 {
            ropewalk(&home, &["reset", "--yes"]);
            let start = Instant::now();
            ropewalk(&home, &["up", "--detach", "--wait", "--control-planes", &count, "--workers", workers]);
            starts.push(start.elapsed());
        }
        figures.times(&format!("cold start of {members} control planes"), starts, "≤ 2000 ms");
        let status: Value = serde_json::from_str(&ropewalk(&home, &["status", "-o", "json"])).expect("JSON");
        let ours = Store::of_status(&status["etcd"]);
        let real = Real::start(&dir.path().join(format!("real-{members}")), members);
        runtime.block_on(beside_real(members, &ours, real.as_ref().map(|r| &r.store), &figures));
        drop(real);
        if members == 3 {
            runtime.block_on(api(&home, &figures));
        }
        ropewalk(&home, &["down"]);
    }
}

// -- the store --------------------------------------------------------------------------------------------------------

/// Where an etcd's members listen, and what a client shows them.
struct Store {
    endpoints: Vec<Endpoint>,
    tls: Arc<rustls::ClientConfig>,
}

impl Store {
    fn of_status(etcd: &Value) -> Store {
        let read = |name: &str| std::fs::read_to_string(etcd[name].as_str().expect("a path")).expect("PEM");
        let identity = Identity { cert_pem: read("cert"), key_pem: read("key") };
        let endpoints = etcd["endpoints"].as_array().expect("endpoints").iter();
        Store {
            endpoints: endpoints
                .map(|e| Endpoint::parse(e.as_str().expect("text"), true).expect("an endpoint"))
                .collect(),
            tls: client_config(Some(&identity), &read("cacert"), &["h2"]).expect("TLS"),
        }
    }
}

/// Real etcd servers; they end with this.
struct Real {
    store: Store,
    processes: Vec<Child>,
}

impl Drop for Real {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill(); // it may have ended by itself
            let _ = process.wait();
        }
    }
}

impl Real {
    /// `None`, with a word, where there is no etcd.
    fn start(dir: &Path, members: usize) -> Option<Real> {
        std::fs::create_dir_all(dir).expect("a directory");
        let ca = Ca::load_or_create(dir, "etcd-ca").expect("an authority");
        let server = ca.issue(&Subject::server("etcd", &["127.0.0.1"])).expect("a certificate");
        let own = ca.issue(&Subject::client("bench", "")).expect("a certificate");
        let file = |name: &str| dir.join(name).display().to_string();
        std::fs::write(file("server.crt"), &server.cert_pem).expect("a file");
        std::fs::write(file("server.key"), &server.key_pem).expect("a file");
        let free = || {
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
        };
        let ports: Vec<(u16, u16)> = (0..members).map(|_| (free(), free())).collect();
        let cluster: Vec<String> =
            ports.iter().enumerate().map(|(n, (_, peer))| format!("m{n}=http://127.0.0.1:{peer}")).collect();
        let mut processes = Vec::new();
        for (n, (port, peer)) in ports.iter().enumerate() {
            let (url, peers) = (format!("https://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
            let started = Command::new("etcd")
                .args([
                    "--name",
                    &format!("m{n}"),
                    "--log-level",
                    "error",
                    "--data-dir",
                    &file(&format!("m{n}")),
                ])
                .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
                .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
                .args(["--initial-cluster", &cluster.join(","), "--client-cert-auth"])
                .args(["--trusted-ca-file", &file("ca.crt"), "--cert-file", &file("server.crt")])
                .args(["--key-file", &file("server.key")])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            match started {
                Ok(child) => processes.push(child),
                Err(error) => {
                    println!("no etcd to stand beside: {error}");
                    return None;
                }
            }
        }
        let endpoint = |(port, _): &(u16, u16)| Endpoint { tls: true, host: "127.0.0.1".into(), port: *port };
        let tls = client_config(Some(&own), ca.pem(), &["h2"]).expect("TLS");
        Some(Real { store: Store { endpoints: ports.iter().map(endpoint).collect(), tls }, processes })
    }
}

#[derive(Clone, Copy)]
enum Op {
    Put,
    Get,
}

/// Operations a second, by so many clients spread over the members, each waiting for its answer.
async fn round(store: &Store, clients: usize, op: Op) -> f64 {
    let mut tasks = Vec::new();
    for n in 0..clients {
        let endpoint = &store.endpoints[n % store.endpoints.len()];
        let channel = loop {
            match Channel::connect(endpoint, Some(store.tls.clone())).await {
                Ok(channel) => break channel,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        // A member that has just begun has no leader yet.
        let ready = pb::RangeRequest { key: "ready".into(), ..Default::default() };
        while channel.unary::<_, pb::RangeResponse>("/etcdserverpb.KV/Range", ready.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tasks.push((n, channel));
    }
    let start = Instant::now();
    let tasks: Vec<_> = tasks
        .into_iter()
        .map(|(n, channel)| {
            tokio::spawn(async move {
                let mut done = 0_u64;
                while start.elapsed() < ROUND {
                    let key = Bytes::from(format!("/bench/{n}/{}", done % 1000));
                    match op {
                        Op::Put => {
                            let put = pb::PutRequest {
                                key,
                                value: vec![7; VALUE_BYTES].into(),
                                ..Default::default()
                            };
                            let put = channel.unary::<_, pb::PutResponse>("/etcdserverpb.KV/Put", put);
                            put.await.expect("a put");
                        }
                        Op::Get => {
                            let get = pb::RangeRequest { key, ..Default::default() };
                            let get = channel.unary::<_, pb::RangeResponse>("/etcdserverpb.KV/Range", get);
                            get.await.expect("a get");
                        }
                    }
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.expect("a client");
    }
    done as f64 / start.elapsed().as_secs_f64()
}

async fn beside_real(members: usize, ours: &Store, real: Option<&Store>, figures: &Figures) {
    for (op, name, clients, aim) in [
        (Op::Put, "puts", 1, 1.0),
        (Op::Put, "puts", 64, 1.5),
        (Op::Get, "gets", 1, 1.0),
        (Op::Get, "gets", 64, 1.5),
    ] {
        let what = format!("store: {name}/s, {members} members, {clients} clients");
        // Three rounds in turn: the spread is the machine's noise.
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            mine.push(round(ours, clients, op).await);
            if let Some(real) = real {
                theirs.push(round(real, clients, op).await);
            }
        }
        let told = |rounds: &mut Vec<f64>| {
            rounds.sort_by(f64::total_cmp);
            format!("{:.0} ({:.0}–{:.0})", rounds[1], rounds[0], rounds[2])
        };
        let text = match theirs.is_empty() {
            true => told(&mut mine),
            false => {
                let (own, other) = (told(&mut mine), told(&mut theirs));
                format!("{own}, etcd {other}: {:.2}×", mine[1] / theirs[1])
            }
        };
        figures.value(&what, &text, &format!("≥ {aim:.1}×"));
    }
}

// -- the API ----------------------------------------------------------------------------------------------------------

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
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = first.within("bench");
    while accounts.get("default").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Nobody schedules them: what is measured is the API.
    let each = PODS / WRITERS;
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| {
            let pods: Api<Pod> = client(home).within("bench");
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

    let pods: Api<Pod> = first.within("bench");
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
    let maps: Api<ConfigMap> = first.within("bench");
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
    for _ in 0..WRITES_PER_SECOND * 5 {
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
    let text =
        format!("p50 {}, p99 {}, {} events in {:.1} s", ms(p50), ms(p99), delays.len(), writes.as_secs_f64());
    figures.value("three towers: 1000 watchers, 100 writes/s", &text, "p99 ≤ 50 ms");
}
