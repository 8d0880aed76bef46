//! What a learner waits for: start, stop, run, scale, heal; and what a cluster costs while nothing
//! happens. Measured from outside, on clusters in a home of their own, by the commands and the API
//! that learners use.

use super::figure::{Aim, Figure};
use super::part::Part;
use super::program::{PROGRAM, failure_reason, wait_for_output};
use super::rest::{REST, SPAN, cost};
use super::stderr;
use anyhow::{Context, bail, ensure};
use client::kubeconfig;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A cluster in a home of its own; it is wiped when this ends. If it cannot be wiped, its home
/// stays: without it no `ropewalk reset` would find the processes.
pub(crate) struct Cluster<'a> {
    home: &'a Path,
    /// Its `keep_dir` is set if the home has to stay.
    part: &'a Part<'a>,
}

/// A cluster is wiped within this time, also one that is just being started, on a machine that is
/// slow or has much else to do.
const WIPED_MAX: Duration = Duration::from_secs(60);
/// A controller makes the account of a namespace's pods within this time.
const ACCOUNT_MAX: Duration = Duration::from_secs(30);
/// The time between two attempts to wipe a cluster.
const WIPE_AGAIN: Duration = Duration::from_millis(200);

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        // A start makes this directory before its first process. One that was refused, e.g. because
        // the path is too long for a socket, has made nothing; its `reset` would be refused, too.
        if !self.home.join("clusters").exists() {
            return;
        }
        if let Err(error) = retry(WIPED_MAX, WIPE_AGAIN, || self.wipe()) {
            self.part.keep_dir.store(true, Ordering::Relaxed);
            let home = self.home.display();
            stderr::write_line(format!(
                "ropewalk: the cluster in {home} could not be removed: {error:#}; try: ROPEWALK_HOME={home} ropewalk reset --yes"
            ));
        }
    }
}

/// Does `act` until it succeeds, and at least once.
///
/// # Errors
/// The last error, when this time is over.
fn retry(most: Duration, pause: Duration, mut act: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let until = Instant::now() + most;
    loop {
        match act() {
            Err(_) if Instant::now() < until => std::thread::sleep(pause),
            done => return done,
        }
    }
}

impl<'a> Cluster<'a> {
    /// A cluster in this home, which lies in the directory of the part. Nothing runs yet.
    pub(crate) fn at(home: &'a Path, part: &'a Part<'_>) -> Cluster<'a> {
        Cluster { home, part }
    }

    /// Runs this program on the cluster; returns what it printed and how long it took.
    ///
    /// # Errors
    /// The program cannot be run or fails, or the bench was asked to end. That ends the program,
    /// too, as Ctrl-C at a terminal does by itself: the error is then the interruption, not how the
    /// program ended.
    fn ropewalk(&self, args: &[&str]) -> anyhow::Result<(String, Duration)> {
        let stop = &self.part.stop;
        stop.check()?;
        let mut command = Command::new(PROGRAM);
        let done = self.run(command.args(args), |child| wait_for_output(child, stop));
        done.or_else(|error| stop.check().and(Err(error)))
    }

    /// Wipes the cluster, in a process group of its own: Ctrl-C is for what is measured, and must
    /// not end this.
    fn wipe(&self) -> anyhow::Result<()> {
        let mut command = Command::new(PROGRAM);
        self.run(command.args(["reset", "--yes"]).process_group(0), Child::wait_with_output).map(drop)
    }

    /// Runs a command on the cluster, and waits for its end as `wait` does. Returns what it printed
    /// and how long it took.
    fn run(
        &self,
        command: &mut Command,
        wait: impl FnOnce(Child) -> std::io::Result<Output>,
    ) -> anyhow::Result<(String, Duration)> {
        command.env("ROPEWALK_HOME", self.home);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = Instant::now();
        let output = wait(command.spawn()?)?;
        let time = start.elapsed();
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        ensure!(output.status.success(), "ropewalk {}: {}", args.join(" "), failure_reason(&output));
        Ok((String::from_utf8_lossy(&output.stdout).into_owned(), time))
    }

    /// Starts the cluster with these further arguments, and waits until every node is Ready and
    /// kube-system runs. Returns how long that took.
    ///
    /// # Errors
    /// The program cannot be run or fails: its arguments and what it printed.
    pub(crate) fn up(&self, with: &[&str]) -> anyhow::Result<Duration> {
        let args = [&["up", "--detach", "--wait"], with].concat();
        Ok(self.ropewalk(&args)?.1)
    }

    fn down(&self) -> anyhow::Result<Duration> {
        Ok(self.ropewalk(&["down"])?.1)
    }

    fn reset(&self) -> anyhow::Result<()> {
        self.ropewalk(&["reset", "--yes"]).map(drop)
    }

    /// The document of `ropewalk status -o json`.
    ///
    /// # Errors
    /// The program cannot be run or fails, or its answer is no JSON.
    pub(crate) fn status(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.ropewalk(&["status", "-o", "json"])?.0)?)
    }

    /// Returns a client as the cluster's kubeconfig says.
    ///
    /// # Errors
    /// The kubeconfig cannot be read, is no YAML, or has no current context that can be used.
    pub(crate) fn client(&self) -> anyhow::Result<kube::Client> {
        let text = std::fs::read_to_string(self.home.join("clusters/main/kubeconfig"))?;
        let client = kubeconfig::view(&serde_yaml::from_str(&text)?).client("ropewalk-bench");
        Ok(client.context("the kubeconfig leads nowhere")?.kube())
    }
}

/// The aim of a time in milliseconds.
fn at_most_ms(most: u32) -> Aim {
    Aim::AtMost(most.into())
}

/// Measures starts, stops, and a cluster at rest.
///
/// # Errors
/// The cluster cannot be started, stopped or asked, or Ctrl-C has ended the measurement.
pub(crate) fn measure_start(part: &Part) -> anyhow::Result<Vec<Figure>> {
    let cluster = Cluster::at(part.dir, part);
    let size = std::fs::metadata(PROGRAM)?.len() as f64 / 1e6;
    let (mut cold, mut stops, mut again, mut three) = (vec![], vec![], vec![], vec![]);
    for _ in 0..part.runs_or(5) {
        part.stop.check()?;
        cluster.reset()?;
        cold.push(cluster.up(&[])?);
        stops.push(cluster.down()?);
        again.push(cluster.up(&[])?);
        cluster.reset()?;
        three.push(cluster.up(&["--control-planes", "3"])?);
    }
    cluster.reset()?;
    cluster.up(&[])?;
    let rest = cost(&part.stop, &cluster.status()?, REST, SPAN)?;
    Ok(vec![
        Figure::times("cold start, all Ready and Running", &cold, at_most_ms(1000)),
        Figure::times("start again with the same data", &again, at_most_ms(1000)),
        Figure::times("cold start, three control planes", &three, at_most_ms(2000)),
        Figure::times("stop", &stops, at_most_ms(1000)),
        // The aim is for the first of the two alone: the room's chapter says why.
        Figure::new("at rest: memory of its processes", "MB", vec![rest.memory], Aim::AtMost(100.0)),
        Figure::new("at rest: files in memory, beside that", "MB", vec![rest.files], Aim::None),
        Figure::new("at rest: of one core", "%", vec![rest.cpu], Aim::AtMost(3.0)),
        Figure::new("the program", "MB", vec![size], Aim::AtMost(60.0)),
    ])
}

fn is_ready(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.any(|c| c.type_ == "Ready" && c.status == "True") && pod.metadata.deletion_timestamp.is_none()
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

/// The pods of one selector, as a client sees them.
struct Pods {
    api: Api<Pod>,
    labels: String,
}

impl Pods {
    /// Does `act`, and waits until the pods are as `is_enough` says. Returns the time since the act
    /// began.
    async fn time_after<T, E>(
        &self,
        act: impl Future<Output = Result<T, E>>,
        is_enough: impl Fn(&BTreeMap<String, Pod>) -> bool,
    ) -> anyhow::Result<Duration>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let list = self.api.list(&ListParams::default().labels(&self.labels)).await?;
        let mut now: BTreeMap<String, Pod> = list.items.into_iter().map(|p| (name(&p), p)).collect();
        let from = list.metadata.resource_version.unwrap_or_default();
        let mut events = self.api.watch(&WatchParams::default().labels(&self.labels), &from).await?.boxed();
        let start = Instant::now();
        act.await?;
        while !is_enough(&now) {
            match events.next().await.context("the watch ended before the pods were as wanted")?? {
                WatchEvent::Added(p) | WatchEvent::Modified(p) => drop(now.insert(name(&p), p)),
                WatchEvent::Deleted(p) => drop(now.remove(&name(&p))),
                WatchEvent::Error(status) => bail!("the watch ended: {}", status.message),
                WatchEvent::Bookmark(_) => {}
            }
        }
        Ok(start.elapsed())
    }
}

fn are_all_ready(wanted: usize) -> impl Fn(&BTreeMap<String, Pod>) -> bool {
    move |pods| pods.len() == wanted && pods.values().all(is_ready)
}

fn pod_spec() -> Value {
    json!({"containers": [{"name": "c", "image": "nginx"}], "terminationGracePeriodSeconds": 1})
}

/// Measures pods: run, scale, heal, and many at once.
///
/// # Errors
/// The cluster cannot be started, its API refuses a request, a watch ends before the pods are as
/// wanted, or Ctrl-C has ended the measurement.
pub(crate) async fn measure_pods(part: &Part<'_>) -> anyhow::Result<Vec<Figure>> {
    let cluster = Cluster::at(part.dir, part);
    cluster.up(&["--workers", "2"])?;
    let client = cluster.client()?;
    wait_for_account(&Api::default_namespaced(client.clone()), ACCOUNT_MAX).await?;
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    let mut figures = vec![measure_runs(&api, part.runs_or(15)).await?];
    let deployments: Api<Deployment> = Api::default_namespaced(client);
    let web = Pods { api, labels: "app=web".into() };
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": pod_spec(),
        }},
    }))?;
    let params = PostParams::default();
    web.time_after(deployments.create(&params, &deployment), are_all_ready(1)).await?;
    let scale = async |replicas: usize| {
        let (patch, params) = (Patch::Merge(json!({"spec": {"replicas": replicas}})), PatchParams::default());
        web.time_after(deployments.patch_scale("web", &params, &patch), are_all_ready(replicas)).await
    };
    for (from, wanted, usual, most) in [(1, 30, 5, 1000), (0, 200, 3, 2500)] {
        let mut times = Vec::new();
        for _ in 0..part.runs_or(usual) {
            scale(from).await?;
            times.push(scale(wanted).await?);
        }
        figures.push(Figure::times(format!("scale {from} to {wanted}, all Ready"), &times, at_most_ms(most)));
    }
    scale(3).await?;
    let mut times = Vec::new();
    for _ in 0..part.runs_or(15) {
        let old = web.api.list(&ListParams::default().labels(&web.labels)).await?.items;
        let victim = old.iter().find(|pod| is_ready(pod)).map(name).context("no pod is ready")?;
        let (params, known): (_, Vec<String>) = (DeleteParams::default(), old.iter().map(name).collect());
        let successor = |pods: &BTreeMap<String, Pod>| {
            pods.values().any(|pod| is_ready(pod) && !known.contains(&name(pod)))
        };
        times.push(web.time_after(web.api.delete(&victim, &params), successor).await?);
        scale(3).await?;
    }
    figures.push(Figure::times("heal: deleted to successor Ready", &times, at_most_ms(300)));
    Ok(figures)
}

/// Waits until a controller has made the account under which pods run.
///
/// # Errors
/// None has within this time, or the API refuses the question.
async fn wait_for_account(accounts: &Api<ServiceAccount>, most: Duration) -> anyhow::Result<()> {
    let made = async {
        while accounts.get_opt("default").await?.is_none() {
            clock::pause(Duration::from_millis(10)).await;
        }
        anyhow::Ok(())
    };
    clock::limit(most, made).await.context("no controller makes the ServiceAccount default")?
}

/// Measures one pod, from its creation until it is ready.
async fn measure_runs(api: &Api<Pod>, runs: usize) -> anyhow::Result<Figure> {
    let mut times = Vec::new();
    for n in 0..runs {
        let one = Pods { api: api.clone(), labels: format!("run=run-{n}") };
        let name = format!("run-{n}");
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": name, "labels": {"run": name}}, "spec": pod_spec()}),
        )?;
        times.push(one.time_after(api.create(&PostParams::default(), &pod), are_all_ready(1)).await?);
        one.time_after(api.delete(&name, &DeleteParams::default()), BTreeMap::is_empty).await?;
    }
    Ok(Figure::times("run: created to Ready", &times, at_most_ms(50)))
}

#[cfg(test)]
mod tests {
    use super::super::stop::{INTERRUPTED, Stop};
    use super::*;

    #[test]
    fn nothing_more_is_started_once_the_bench_was_asked_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let part = Part::new(dir.path(), None, None, &Stop::default());
        let cluster = Cluster::at(dir.path(), &part);
        // In a test this program is the test's own, which has no option `-o`.
        assert_ne!(cluster.status().unwrap_err().to_string(), INTERRUPTED);
        part.stop.request();
        assert_eq!(cluster.status().unwrap_err().to_string(), INTERRUPTED);
        drop(cluster);
        assert!(!part.keep_dir.load(Ordering::Relaxed), "no start has made anything, so nothing has to stay");
    }

    #[test]
    fn the_last_error_of_something_tried_again_is_returned() {
        let mut attempts = 0;
        let mut act = |good: u32| {
            attempts += 1;
            ensure!(attempts >= good, "attempt {attempts}");
            Ok(())
        };
        assert!(retry(Duration::from_secs(3600), Duration::ZERO, || act(3)).is_ok());
        let failed = retry(Duration::ZERO, Duration::ZERO, || act(9)).map_err(|e| e.to_string());
        assert_eq!(failed, Err("attempt 4".to_string()));
    }

    /// A server without controllers.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_account_that_is_never_made_is_not_waited_for_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = apiserver::testing::start(dir.path()).await;
        let view = kubeconfig::view(&serde_yaml::from_str(&fixture.kubeconfig).unwrap());
        let client = view.client("bench").expect("a cluster").kube();
        let waited = wait_for_account(&Api::default_namespaced(client), Duration::from_millis(100)).await;
        assert_eq!(waited.unwrap_err().to_string(), "no controller makes the ServiceAccount default");
    }
}
