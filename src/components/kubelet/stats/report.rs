//! Writes the figures: `/stats/summary` as JSON, `/metrics/resource` in the text format of
//! Prometheus.

use super::{ContainerUsage, NodeUsage, UsageMeter};
use cri::{PodId, Stats};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Writes one series in the text format of Prometheus: each value with its labels.
fn write_series(out: &mut String, name: &str, kind: &str, help: &str, values: Vec<(String, String)>) {
    let _ = writeln!(out, "# HELP {name} [STABLE] {help}\n# TYPE {name} {kind}");
    for (labels, value) in values {
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}

/// Returns the use of the pod that has these running containers: that of its sandbox, which
/// includes containers that have ended, or else the sum.
fn of_pod(containers: &[ContainerUsage], of_sandboxes: &BTreeMap<String, Stats>) -> Stats {
    let whole = of_sandboxes.get(&containers[0].sandbox).copied();
    whole.unwrap_or_else(|| {
        containers.iter().fold(Stats::default(), |sum, u| Stats {
            cpu_usage: sum.cpu_usage + u.stats.cpu_usage,
            memory_working_set: sum.memory_working_set + u.stats.memory_working_set,
        })
    })
}

/// Returns the use of each pod, with the labels of its series.
fn by_pod(all: &[ContainerUsage], of_sandboxes: &BTreeMap<String, Stats>) -> Vec<(String, Stats)> {
    let labels = |pod: &PodId| format!("{{namespace=\"{}\",pod=\"{}\"}}", pod.namespace, pod.name);
    let pods = all.chunk_by(|a, b| a.pod == b.pod);
    pods.map(|one| (labels(&one[0].pod), of_pod(one, of_sandboxes))).collect()
}

/// Adds rates up; `None` where no part has one.
fn sum_of_rates(rates: impl Iterator<Item = Option<(u64, Duration)>>) -> Option<(u64, Duration)> {
    rates.flatten().reduce(|(nano, window), (more, over)| (nano + more, window.max(over)))
}

impl UsageMeter {
    /// Returns the answer to `/stats/summary`. `None`: the runtime does not answer. Nothing is
    /// known of the node then, either: what its containers use is the most of it.
    pub(crate) async fn summary(&self) -> Option<Value> {
        let found = self.measure_running(false).await?;
        let of_sandboxes = self.config.runtime.list_pod_sandbox_stats().await.unwrap_or_default();
        let now = clock::rfc3339(clock::now());
        let figures = |stats: &Stats, rate: Option<(u64, Duration)>| {
            let mut cpu = json!({"time": now, "usageCoreNanoSeconds": stats.cpu_usage.as_nanos() as u64});
            if let Some((nano, window)) = rate {
                cpu["usageNanoCores"] = nano.into();
                cpu["windowMilliseconds"] = (window.as_millis() as u64).into();
            }
            (cpu, json!({"time": now, "workingSetBytes": stats.memory_working_set}))
        };
        let (stats, nano, window) = self.node(&found);
        let (cpu, mut memory) = figures(&stats, Some((nano, window)));
        memory["availableBytes"] =
            self.config.capacity.memory_bytes.saturating_sub(stats.memory_working_set).into();
        let mut pods: Vec<Value> = Vec::new();
        for one in found.running.chunk_by(|a, b| a.pod == b.pod) {
            let containers: Vec<Value> = one
                .iter()
                .map(|u| {
                    let (cpu, memory) = figures(&u.stats, u.rate);
                    json!({"name": u.container, "startTime": u.started.map(clock::rfc3339), "cpu": cpu, "memory": memory})
                })
                .collect();
            let pod = &one[0].pod;
            let (cpu, memory) =
                figures(&of_pod(one, &of_sandboxes), sum_of_rates(one.iter().map(|u| u.rate)));
            pods.push(json!({
                "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
                "startTime": one.iter().filter_map(|u| u.started).min().map(clock::rfc3339),
                "containers": containers,
                "cpu": cpu,
                "memory": memory,
            }));
        }
        let node = json!({"nodeName": self.config.node_name, "cpu": cpu, "memory": memory});
        Some(json!({"node": node, "pods": pods}))
    }

    /// Returns the answer to `/metrics/resource`, in the text format of Prometheus. If the runtime
    /// does not answer, the other series are left out: a gap is no counter that went down.
    pub(crate) async fn resource_metrics(&self) -> String {
        let mut out = String::new();
        let found = self.measure_running(false).await;
        let of_sandboxes = self.config.runtime.list_pod_sandbox_stats().await.ok();
        if let Some(found) = &found {
            self.write_usage(&mut out, found, of_sandboxes.as_ref());
        }
        let failed = u8::from(found.is_none() || of_sandboxes.is_none());
        write_series(
            &mut out,
            "resource_scrape_error",
            "gauge",
            "1 if there was an error while getting container metrics, 0 otherwise",
            vec![(String::new(), failed.to_string())],
        );
        out
    }

    /// Writes what containers, pods and the node use.
    fn write_usage(
        &self,
        out: &mut String,
        found: &NodeUsage,
        of_sandboxes: Option<&BTreeMap<String, Stats>>,
    ) {
        let seconds = |stats: &Stats| stats.cpu_usage.as_secs_f64().to_string();
        let bytes = |stats: &Stats| stats.memory_working_set.to_string();
        let labels = |u: &ContainerUsage| {
            format!(
                "{{container=\"{}\",namespace=\"{}\",pod=\"{}\"}}",
                u.container, u.pod.namespace, u.pod.name
            )
        };
        let mut metric = |name: &str, kind: &str, help: &str, values: Vec<(String, String)>| {
            write_series(out, name, kind, help, values);
        };
        let all = &found.running;
        let each =
            |f: &dyn Fn(&ContainerUsage) -> String| all.iter().map(|u| (labels(u), f(u))).collect::<Vec<_>>();
        let (node, ..) = self.node(found);
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
        let pods = of_sandboxes.map(|of_sandboxes| by_pod(all, of_sandboxes)).unwrap_or_default();
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
    }
}

#[cfg(test)]
mod tests {
    use super::super::sort_by_pod;
    use super::*;

    fn used(pod: &str, uid: &str, container: &str, cpu: u64, memory: u64) -> ContainerUsage {
        ContainerUsage {
            pod: PodId { namespace: "n".into(), name: pod.into(), uid: uid.into() },
            sandbox: uid.into(),
            container: container.into(),
            started: None,
            stats: Stats { cpu_usage: Duration::from_secs(cpu), memory_working_set: memory },
            rate: None,
        }
    }

    #[test]
    fn a_pod_beside_its_successor_of_the_same_name_is_one_pod() {
        let of = |uid: &str, container: &str| used("p", uid, container, 1, 10);
        let mut found = [of("new", "a"), of("old", "a"), of("new", "b"), of("old", "b")];
        sort_by_pod(&mut found);
        let pods = by_pod(&found, &BTreeMap::new());
        assert_eq!(pods.iter().map(|(_, s)| s.memory_working_set).collect::<Vec<_>>(), [20, 20]);
    }

    #[test]
    fn the_series_of_a_pod_is_that_of_its_sandbox_or_the_sum_of_its_containers() {
        let one = |pod: &str, cpu: u64, memory: u64| used(pod, pod, "c", cpu, memory);
        let whole = Stats { cpu_usage: Duration::from_secs(9), memory_working_set: 50 };
        let found =
            by_pod(&[one("a", 1, 10), one("a", 2, 20), one("b", 4, 40)], &[("b".to_string(), whole)].into());
        let plain: Vec<_> =
            found.iter().map(|(l, s)| (l.as_str(), s.cpu_usage.as_secs(), s.memory_working_set)).collect();
        let want = [("{namespace=\"n\",pod=\"a\"}", 3, 30), ("{namespace=\"n\",pod=\"b\"}", 9, 50)];
        assert_eq!(plain, want);
    }
}
