//! The use of CPU and memory by containers: the figures behind `/stats/summary` and
//! `/metrics/resource`, and so behind `kubectl top` and autoscaling.
//!
//! Memory is measured when a client asks for it. CPU is a rate: what was used since an earlier
//! look, which the [`UsageMeter`] keeps, divided by the time in between. As a counter it never goes
//! down when a container ends: clients would take that for a restart from zero. [`report`] writes
//! the figures.

use super::config::Config;
use clock::{self, Instant, Timestamp};
use cri::{ContainerState, PodId, Runtime, Stats};
use linux::usage;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use task::Crew;

mod report;

/// Looks are this far apart: the kubelet's housekeeping interval.
const EVERY: Duration = Duration::from_secs(10);
/// A rate over less time says little.
const SHORTEST: Duration = Duration::from_secs(1);
/// A look younger than this is no base for a rate if there is an older one.
const BASE: Duration = Duration::from_secs(5);
/// The id of the cluster's own process among those of the containers, which are longer.
const OWN: &str = "";

/// The CPU time that a container had used at a moment. Two of them give a rate.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    cpu: Duration,
}

/// The use of one container.
#[derive(Clone, Debug)]
pub(crate) struct ContainerUsage {
    pub pod: PodId,
    /// The id of its sandbox.
    pub sandbox: String,
    pub container: String,
    pub started: Option<Timestamp>,
    pub stats: Stats,
    /// Nanoseconds of CPU in a second, and over how long that was counted; `None` if it runs too
    /// short.
    pub rate: Option<(u64, Duration)>,
}

/// CPU of the node beyond that of its running containers.
#[derive(Default)]
struct Past {
    /// The CPU that ended containers had used when they were looked at last.
    ended: Duration,
    /// The largest total that was reported to a client. It may be more than `ended` says: what a
    /// container used after it was looked at last is missing there.
    reported: Duration,
}

/// The running containers of the node and what they use, as one look has found them.
struct NodeUsage {
    /// Running containers, those of one pod side by side.
    running: Vec<ContainerUsage>,
    /// [`Past::ended`] before the look, so that it has nothing of what is found running.
    ended: Duration,
}

/// Measures the containers of a node, and remembers earlier looks.
pub(crate) struct UsageMeter {
    config: Arc<Config>,
    /// By container id, the oldest first.
    marks: Mutex<BTreeMap<String, VecDeque<Mark>>>,
    past: Mutex<Past>,
}

/// Returns the nanoseconds of CPU in a second until `now`, counted from the youngest mark that is
/// old enough.
fn rate(marks: &VecDeque<Mark>, now: Mark) -> Option<(u64, Duration)> {
    let age = |m: &&Mark| now.at.saturating_duration_since(m.at);
    let base = marks.iter().rev().find(|m| age(m) >= BASE).or(marks.front())?;
    let window = age(&base);
    let used = now.cpu.saturating_sub(base.cpu);
    (window >= SHORTEST).then(|| ((used.as_nanos() as f64 / window.as_secs_f64()) as u64, window))
}

/// Puts the containers of one pod side by side. A pod may run while another one of its name still
/// ends: it was deleted without waiting.
fn sort_by_pod(found: &mut [ContainerUsage]) {
    found.sort_by_cached_key(|u| {
        (u.pod.namespace.clone(), u.pod.name.clone(), u.pod.uid.clone(), u.container.clone())
    });
}

impl UsageMeter {
    fn new(config: &Arc<Config>) -> UsageMeter {
        UsageMeter { config: config.clone(), marks: Mutex::default(), past: Mutex::default() }
    }

    pub(crate) fn start(crew: &Crew, config: &Arc<Config>) -> Arc<UsageMeter> {
        let meter = Arc::new(UsageMeter::new(config));
        let own = meter.clone();
        crew.spawn(async move {
            loop {
                own.measure_running(true).await;
                clock::sleep_at_least(EVERY, SHORTEST).await;
            }
        });
        meter
    }

    fn measure(
        &self,
        id: &str,
        cpu: Duration,
        begun: Option<Instant>,
        keep: bool,
    ) -> Option<(u64, Duration)> {
        let now = Mark { at: Instant::now(), cpu };
        let mut all = self.marks.lock();
        let marks = all.entry(id.to_string()).or_insert_with(|| {
            // It began with nothing used.
            begun.map(|at| Mark { at, cpu: Duration::ZERO }).into_iter().collect()
        });
        let rate = rate(marks, now);
        if keep {
            marks.push_back(now);
            if marks.len() > 3 {
                marks.pop_front();
            }
        }
        rate
    }

    /// Measures the running containers; `None` if the runtime does not answer. `keep`: later looks
    /// count from this one.
    async fn measure_running(&self, keep: bool) -> Option<NodeUsage> {
        let runtime: &dyn Runtime = &*self.config.runtime;
        let ended = self.past.lock().ended;
        let (containers, sandboxes, used) = futures::join!(
            runtime.list_containers(),
            runtime.list_pod_sandboxes(),
            runtime.list_container_stats()
        );
        let (Ok(containers), Ok(sandboxes), Ok(used)) = (containers, sandboxes, used) else {
            return None; // no container has ended for that
        };
        let mut found = Vec::new();
        let mut known = vec![OWN.to_string()];
        for container in containers.into_iter().filter(|c| c.state == ContainerState::Running) {
            known.push(container.id.clone());
            let Some(sandbox) = sandboxes.iter().find(|s| s.id == container.sandbox_id) else { continue };
            // Some have no figures of their own: the control plane's components share a process.
            let Some(stats) = used.get(&container.id).copied() else { continue };
            let age =
                container.started_at.and_then(|at| Duration::try_from(clock::now().duration_since(at)).ok());
            let begun = age.and_then(|age| Instant::now().checked_sub(age));
            let rate = self.measure(&container.id, stats.cpu_usage, begun, keep);
            found.push(ContainerUsage {
                pod: sandbox.pod.clone(),
                sandbox: container.sandbox_id,
                container: container.name,
                started: container.started_at,
                stats,
                rate,
            });
        }
        if keep {
            self.forget_ended(&known);
        }
        sort_by_pod(&mut found);
        if self.config.hosts_cluster && keep {
            self.measure_process(true);
        }
        Some(NodeUsage { running: found, ended })
    }

    /// Forgets the containers that run no more, but for the CPU that they had used.
    fn forget_ended(&self, running: &[String]) {
        let mut ended = Duration::ZERO;
        self.marks.lock().retain(|id, marks| {
            let stays = running.contains(id);
            let used = marks.back().map_or(Duration::ZERO, |last| last.cpu);
            ended += if stays { Duration::ZERO } else { used };
            stays
        });
        self.past.lock().ended += ended;
    }

    /// Returns what the process of the whole cluster uses: components, kubelets, this one. It is
    /// counted on one node.
    fn measure_process(&self, keep: bool) -> (Stats, Option<(u64, Duration)>) {
        let usage = usage::of_process("self").unwrap_or_default();
        let rate = self.measure(OWN, usage.cpu, None, keep);
        (Stats { cpu_usage: usage.cpu, memory_working_set: usage.working_set }, rate)
    }

    /// Returns the node's use: that of its containers, ended ones too, and of the cluster's process
    /// if it is counted here. Its CPU time never decreases from one report to the next.
    fn node(&self, found: &NodeUsage) -> (Stats, u64, Duration) {
        let own = self.config.hosts_cluster.then(|| self.measure_process(false));
        let parts = found.running.iter().map(|u| (u.stats, u.rate)).chain(own);
        let ended = Stats { cpu_usage: found.ended, ..Stats::default() };
        let (mut sum, nano, window) =
            parts.fold((ended, 0, Duration::ZERO), |(sum, nano, window), (stats, rate)| {
                let sum = Stats {
                    cpu_usage: sum.cpu_usage + stats.cpu_usage,
                    memory_working_set: sum.memory_working_set + stats.memory_working_set,
                };
                let (more, over) = rate.unwrap_or_default();
                (sum, nano + more, window.max(over))
            });
        let mut past = self.past.lock();
        past.reported = past.reported.max(sum.cpu_usage);
        sum.cpu_usage = past.reported;
        (sum, nano, window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::{NODE, PODS, config};
    use client::testing::Scripted;
    use cri::fake::FakeRuntime;
    use cri::{ContainerConfig, SandboxConfig};
    use rng::Rng;

    #[test]
    fn a_rate_is_counted_from_a_look_that_is_old_enough() {
        let start = Instant::now();
        let mark =
            |at: u64, cpu: u64| Mark { at: start + Duration::from_secs(at), cpu: Duration::from_millis(cpu) };
        let marks: VecDeque<Mark> = [mark(0, 0), mark(10, 1000), mark(20, 6000)].into();
        let half_core = rate(&marks, mark(30, 11_000));
        assert_eq!(half_core, Some((500_000_000, Duration::from_secs(10))));
        assert_eq!(
            rate(&marks, mark(22, 7200)),
            Some((516_666_666, Duration::from_secs(12))),
            "not over 2 s"
        );
        assert_eq!(rate(&[mark(0, 0)].into(), mark(2, 100)), Some((50_000_000, Duration::from_secs(2))));
        assert_eq!(rate(&VecDeque::new(), mark(2, 100)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn counters_keep_what_ended_containers_used() {
        clock::pin("2026-01-01T00:00:00Z".parse().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let runtime = FakeRuntime::new(NODE, PODS, Rng::seeded(1));
        let api = Scripted::new(|_| None).await;
        let meter = UsageMeter::new(&Arc::new(config(&api.client, &runtime, dir.path().into())));
        let pod = PodId { namespace: "n".into(), name: "p".into(), uid: "u".into() };
        let of_pod = SandboxConfig { pod, ..SandboxConfig::default() };
        let sandbox = runtime.run_pod_sandbox(of_pod).await.unwrap().id;
        let start = async |name: &str| {
            let image = "nginx".into();
            let config = ContainerConfig { name: name.into(), image, ..ContainerConfig::default() };
            let id = runtime.create_container(&sandbox, config).await.unwrap();
            runtime.start_container(&id).await.unwrap();
            id
        };
        // Seconds of CPU of the node and of the pod, for clients: a millicore for each container.
        let reported = async || {
            let (found, text) = (meter.summary().await.unwrap(), meter.resource_metrics().await);
            let of = |name: &str| {
                let line = text.lines().find(|line| line.starts_with(name)).unwrap();
                line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap().round() as u64
            };
            let node = found["node"]["cpu"]["usageCoreNanoSeconds"].as_u64().unwrap();
            let all = [of("node_cpu_usage_seconds_total"), of("pod_cpu_usage_seconds_total")];
            let pod = found["pods"][0]["cpu"]["usageCoreNanoSeconds"].as_u64().unwrap();
            assert_eq!([node, pod].map(|nanos| (nanos as f64 / 1e9).round() as u64), all);
            all
        };
        let (first, _second) = (start("a").await, start("b").await);
        clock::pause(Duration::from_secs(10_000)).await;
        meter.measure_running(true).await;
        clock::pause(Duration::from_secs(1000)).await;
        assert_eq!(reported().await, [22, 22]);
        runtime.exit(&first, 1, "Error");
        assert_eq!(reported().await, [22, 22], "before the next look that is kept");
        meter.measure_running(true).await;
        assert_eq!(reported().await, [22, 22], "the second that it used after the last look is missing");
        clock::pause(Duration::from_secs(3000)).await;
        assert_eq!(reported().await, [24, 25]);
        meter.measure_running(true).await;
        assert_eq!(reported().await, [24, 25], "an end counts once");
    }

    /// Figures of zero would say that the node has room.
    #[tokio::test]
    async fn a_node_whose_runtime_does_not_answer_has_no_figures() {
        let runtime = FakeRuntime::new(NODE, PODS, Rng::seeded(1));
        let api = Scripted::new(|_| None).await;
        let meter = UsageMeter::new(&Arc::new(config(&api.client, &runtime, "/nowhere".into())));
        let of_node = |text: &str| text.contains("\nnode_memory_working_set_bytes ");
        let text = meter.resource_metrics().await;
        assert!(of_node(&text) && text.ends_with("\nresource_scrape_error 0\n"), "{text}");
        assert!(meter.summary().await.is_some());
        runtime.fail_lists(2);
        let text = meter.resource_metrics().await;
        assert!(!of_node(&text) && text.ends_with("\nresource_scrape_error 1\n"), "{text}");
        assert_eq!(meter.summary().await, None);
    }
}
