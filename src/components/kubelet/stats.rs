//! What containers use: the figures behind `/stats/summary` and `/metrics/resource`, and so behind
//! `kubectl top` and autoscaling.
//!
//! Memory is measured when a client asks for it. CPU is a rate: what was used since an earlier
//! look, which the [`Meter`] keeps, divided by the time in between.

use super::Config;
use clock::{self, Instant, Timestamp};
use cri::{ContainerState, PodId, Runtime, Stats};
use linux::usage;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use task::Crew;

/// Looks are this far apart: the kubelet's housekeeping interval.
const EVERY: Duration = Duration::from_secs(10);
/// A rate over less time says little.
const SHORTEST: Duration = Duration::from_secs(1);
/// A look younger than this is no base for a rate if there is an older one.
const BASE: Duration = Duration::from_secs(5);
/// Under which the node's own process is kept among the containers, whose ids are longer.
const OWN: &str = "";

/// CPU used until a moment.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    cpu: Duration,
}

/// What one container uses.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    pub pod: PodId,
    pub container: String,
    pub started: Option<Timestamp>,
    pub stats: Stats,
    /// Nanoseconds of CPU in a second, and over how long that was counted; `None` if it runs too
    /// short.
    pub rate: Option<(u64, Duration)>,
}

/// Remembers earlier looks.
pub(crate) struct Meter {
    config: Arc<Config>,
    marks: Mutex<BTreeMap<String, VecDeque<Mark>>>,
}

/// Pure: nanoseconds of CPU in a second until `now`, counted from the youngest mark that is old
/// enough.
fn rate(marks: &VecDeque<Mark>, now: Mark) -> Option<(u64, Duration)> {
    let age = |m: &&Mark| now.at.saturating_duration_since(m.at);
    let base = marks.iter().rev().find(|m| age(m) >= BASE).or(marks.front())?;
    let window = age(&base);
    let used = now.cpu.saturating_sub(base.cpu);
    (window >= SHORTEST).then(|| ((used.as_nanos() as f64 / window.as_secs_f64()) as u64, window))
}

/// Writes one series in the text format of Prometheus: each value with its labels.
fn write_series(out: &mut String, name: &str, kind: &str, help: &str, values: Vec<(String, String)>) {
    let _ = writeln!(out, "# HELP {name} [STABLE] {help}\n# TYPE {name} {kind}");
    for (labels, value) in values {
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}

/// Sums the use of each pod's running containers, with the labels of the pod's series.
fn by_pod(all: &[Use]) -> Vec<(String, Stats)> {
    let sum = |one: &[Use]| {
        one.iter().fold(Stats::default(), |sum, u| Stats {
            cpu_usage: sum.cpu_usage + u.stats.cpu_usage,
            memory_working_set: sum.memory_working_set + u.stats.memory_working_set,
        })
    };
    let labels = |pod: &PodId| format!("{{namespace=\"{}\",pod=\"{}\"}}", pod.namespace, pod.name);
    all.chunk_by(|a, b| a.pod == b.pod).map(|one| (labels(&one[0].pod), sum(one))).collect()
}

impl Meter {
    pub(crate) fn start(crew: &Crew, config: &Arc<Config>) -> Arc<Meter> {
        let meter = Arc::new(Meter { config: config.clone(), marks: Mutex::default() });
        let own = meter.clone();
        crew.spawn(async move {
            loop {
                own.look(true).await;
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

    /// The running containers' use now. `keep`: later looks count from this one.
    async fn look(&self, keep: bool) -> Vec<Use> {
        let runtime: &dyn Runtime = &*self.config.runtime;
        let (containers, sandboxes, used) = futures::join!(
            runtime.list_containers(),
            runtime.list_pod_sandboxes(),
            runtime.list_container_stats()
        );
        let (containers, sandboxes) = (containers.unwrap_or_default(), sandboxes.unwrap_or_default());
        let used = used.unwrap_or_default();
        let mut found = Vec::new();
        let mut known = vec![OWN.to_string()];
        for container in containers.into_iter().filter(|c| c.state == ContainerState::Running) {
            let Some(sandbox) = sandboxes.iter().find(|s| s.id == container.sandbox_id) else { continue };
            // Of some nothing can be told: the control plane's components share a process.
            let Some(stats) = used.get(&container.id).copied() else { continue };
            let age =
                container.started_at.and_then(|at| Duration::try_from(clock::now().duration_since(at)).ok());
            let begun = age.and_then(|age| Instant::now().checked_sub(age));
            let rate = self.measure(&container.id, stats.cpu_usage, begun, keep);
            known.push(container.id);
            found.push(Use {
                pod: sandbox.pod.clone(),
                container: container.name,
                started: container.started_at,
                stats,
                rate,
            });
        }
        let mut marks = self.marks.lock();
        marks.retain(|id, _| known.contains(id));
        drop(marks);
        found.sort_by(|a, b| {
            let key = |u: &Use| (u.pod.namespace.clone(), u.pod.name.clone(), u.container.clone());
            key(a).cmp(&key(b))
        });
        if self.config.hosts_cluster && keep {
            self.own(true);
        }
        found
    }

    /// What the process of the whole cluster uses: components, kubelets, this one. It is counted on
    /// one node.
    fn own(&self, keep: bool) -> (Stats, Option<(u64, Duration)>) {
        let usage = usage::of_process("self").unwrap_or_default();
        let rate = self.measure(OWN, usage.cpu, None, keep);
        (Stats { cpu_usage: usage.cpu, memory_working_set: usage.working_set }, rate)
    }

    /// The node's use: that of its containers, and of the cluster's process if it is counted here.
    fn node(&self, all: &[Use]) -> (Stats, u64, Duration) {
        let own = self.config.hosts_cluster.then(|| self.own(false));
        let parts = all.iter().map(|u| (u.stats, u.rate)).chain(own);
        parts.fold((Stats::default(), 0, Duration::ZERO), |(sum, nano, window), (stats, rate)| {
            let sum = Stats {
                cpu_usage: sum.cpu_usage + stats.cpu_usage,
                memory_working_set: sum.memory_working_set + stats.memory_working_set,
            };
            let (more, over) = rate.unwrap_or_default();
            (sum, nano + more, window.max(over))
        })
    }

    /// `/stats/summary`
    pub(crate) async fn summary(&self) -> Value {
        let all = self.look(false).await;
        let now = clock::rfc3339(clock::now());
        let figures = |stats: &Stats, rate: Option<(u64, Duration)>| {
            let mut cpu = json!({"time": now, "usageCoreNanoSeconds": stats.cpu_usage.as_nanos() as u64});
            if let Some((nano, window)) = rate {
                cpu["usageNanoCores"] = nano.into();
                cpu["windowMilliseconds"] = (window.as_millis() as u64).into();
            }
            (cpu, json!({"time": now, "workingSetBytes": stats.memory_working_set}))
        };
        let (stats, nano, window) = self.node(&all);
        let (cpu, mut memory) = figures(&stats, Some((nano, window)));
        memory["availableBytes"] =
            self.config.capacity.memory_bytes.saturating_sub(stats.memory_working_set).into();
        let mut pods: Vec<Value> = Vec::new();
        for one in all.chunk_by(|a, b| a.pod == b.pod) {
            let containers: Vec<Value> = one
                .iter()
                .map(|u| {
                    let (cpu, memory) = figures(&u.stats, u.rate);
                    json!({"name": u.container, "startTime": u.started.map(clock::rfc3339), "cpu": cpu, "memory": memory})
                })
                .collect();
            let pod = &one[0].pod;
            pods.push(json!({
                "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
                "startTime": one.iter().filter_map(|u| u.started).min().map(clock::rfc3339),
                "containers": containers,
            }));
        }
        json!({"node": {"nodeName": self.config.node_name, "cpu": cpu, "memory": memory}, "pods": pods})
    }

    /// `/metrics/resource`, in the text format of Prometheus.
    pub(crate) async fn resource_metrics(&self) -> String {
        let all = self.look(false).await;
        let mut out = String::new();
        let seconds = |stats: &Stats| stats.cpu_usage.as_secs_f64().to_string();
        let bytes = |stats: &Stats| stats.memory_working_set.to_string();
        let labels = |u: &Use| {
            format!(
                "{{container=\"{}\",namespace=\"{}\",pod=\"{}\"}}",
                u.container, u.pod.namespace, u.pod.name
            )
        };
        let mut metric = |name: &str, kind: &str, help: &str, values: Vec<(String, String)>| {
            write_series(&mut out, name, kind, help, values);
        };
        let each = |f: &dyn Fn(&Use) -> String| all.iter().map(|u| (labels(u), f(u))).collect::<Vec<_>>();
        let (node, ..) = self.node(&all);
        metric(
            "container_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the container in core-seconds",
            each(&|u| seconds(&u.stats)),
        );
        metric(
            "container_memory_working_set_bytes",
            "gauge",
            "Current working set of the container in bytes",
            each(&|u| bytes(&u.stats)),
        );
        metric(
            "container_start_time_seconds",
            "gauge",
            "Start time of the container since unix epoch in seconds",
            each(&|u| u.started.map_or(0.0, |t| t.as_millisecond() as f64 / 1000.0).to_string()),
        );
        let pods = by_pod(&all);
        metric(
            "pod_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the pod in core-seconds",
            pods.iter().map(|(labels, stats)| (labels.clone(), seconds(stats))).collect(),
        );
        metric(
            "pod_memory_working_set_bytes",
            "gauge",
            "Current working set of the pod in bytes",
            pods.iter().map(|(labels, stats)| (labels.clone(), bytes(stats))).collect(),
        );
        metric(
            "node_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the node in core-seconds",
            vec![(String::new(), seconds(&node))],
        );
        metric(
            "node_memory_working_set_bytes",
            "gauge",
            "Current working set of the node in bytes",
            vec![(String::new(), bytes(&node))],
        );
        metric(
            "resource_scrape_error",
            "gauge",
            "1 if there was an error while getting container metrics, 0 otherwise",
            vec![(String::new(), "0".into())],
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn the_series_of_a_pod_is_the_sum_of_its_containers() {
        let one = |pod: &str, cpu: u64, memory: u64| Use {
            pod: PodId { namespace: "n".into(), name: pod.into(), uid: pod.into() },
            container: "c".into(),
            started: None,
            stats: Stats { cpu_usage: Duration::from_secs(cpu), memory_working_set: memory },
            rate: None,
        };
        let found = by_pod(&[one("a", 1, 10), one("a", 2, 20), one("b", 4, 40)]);
        let plain: Vec<_> =
            found.iter().map(|(l, s)| (l.as_str(), s.cpu_usage.as_secs(), s.memory_working_set)).collect();
        let want = [("{namespace=\"n\",pod=\"a\"}", 3, 30), ("{namespace=\"n\",pod=\"b\"}", 4, 40)];
        assert_eq!(plain, want);
    }
}
