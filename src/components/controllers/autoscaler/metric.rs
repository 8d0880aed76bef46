//! From what pods use to how many there should be: pure. Source:
//! `pkg/controller/podautoscaler/replica_calculator.go`.

use crate::pods::phase;
use api::quantity::Quantity;
use api::requests;
use clock::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// So long after its start a pod's CPU use is believed only if it was measured while it was ready.
const CPU_INITIALIZATION: Duration = Duration::from_secs(300);
/// A pod that was unready from its start on for this long and still is counts as starting.
const INITIAL_READINESS: Duration = Duration::from_secs(30);

/// The use that a metric is to be brought to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// Per cent of what the pods request.
    Utilization(i64),
    /// Thousandths a pod.
    Average(i64),
}

/// A use this near to its target is left alone: parts of it, for more and for fewer replicas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tolerance {
    /// 0.1: up to 1.1 times the target is near enough.
    pub up: f64,
    /// 0.1: down to 0.9 times the target is near enough.
    pub down: f64,
}

impl Default for Tolerance {
    fn default() -> Tolerance {
        Tolerance { up: 0.1, down: 0.1 }
    }
}

impl Tolerance {
    fn covers(&self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

/// A metric: a resource, of all containers or of one.
#[derive(Clone, Debug)]
pub(crate) struct Metric {
    pub resource: String,
    pub container: Option<String>,
    pub target: Target,
    pub tolerance: Tolerance,
}

/// A pod's use: thousandths by container and then by resource, and over which time until when.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub at: Timestamp,
    pub window: Duration,
    pub used: BTreeMap<String, BTreeMap<String, i64>>,
}

/// The number of replicas that a metric asks for, and what it has measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub replicas: i32,
    /// Thousandths a pod.
    pub average: i64,
    /// Per cent of the request, if that was asked for.
    pub utilization: Option<i64>,
}

impl Metric {
    fn counts(&self, container: &str) -> bool {
        self.container.as_ref().is_none_or(|c| c == container)
    }

    /// Returns the pod's use; `None` if it is not known, because the sample lacks the container or
    /// a container that counts lacks the resource. Counted as 0 it would scale down loaded pods.
    fn used(&self, sample: &Sample) -> Option<i64> {
        let mut counted = sample.used.iter().filter(|(name, _)| self.counts(name)).peekable();
        counted.peek()?;
        counted.try_fold(0i64, |sum, (_, used)| Some(sum.saturating_add(*used.get(&self.resource)?)))
    }

    /// Returns the thousandths that the pod requests: as a whole if it has requests for that
    /// (KEP-2837) and the metric names no container, otherwise its containers together. A container
    /// that says nothing makes a percentage meaningless.
    fn requested(&self, pod: &Pod) -> Result<i64, String> {
        let spec = pod.spec.clone().unwrap_or_default();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        if self.container.is_none() && has_whole_requests(&spec) {
            let requests = requests::of_pod(pod, requests::Field::Requests);
            return requests
                .get(&self.resource)
                .map(Quantity::milli)
                .ok_or_else(|| format!("missing pod-level request for {} in Pod {name}", self.resource));
        }
        let sidecars = spec.init_containers.unwrap_or_default().into_iter();
        let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
        let (mut sum, mut counted) = (0, false);
        for container in spec.containers.into_iter().chain(sidecars).filter(|c| self.counts(&c.name)) {
            let requests = container.resources.and_then(|r| r.requests).unwrap_or_default();
            let Some(amount) = requests.get(&self.resource).and_then(|q| Quantity::parse(&q.0)) else {
                return Err(format!(
                    "missing request for {} in container {} of Pod {name}",
                    self.resource, container.name
                ));
            };
            sum = amount.milli().saturating_add(sum);
            counted = true;
        }
        match &self.container {
            Some(container) if !counted => Err(format!("container {container} not found in Pod {name}")),
            _ => Ok(sum),
        }
    }
}

/// Returns whether the pod requests something as a whole, of a resource that can be requested so
/// (upstream's `IsPodLevelRequestsSet`).
fn has_whole_requests(spec: &PodSpec) -> bool {
    let requests = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
    requests.is_some_and(|requests| requests.keys().any(|name| requests::is_of_whole_pod(name)))
}

/// Pods by what can be said of them.
#[derive(Debug, Default)]
struct Groups<'a> {
    /// Their use counts.
    ready: Vec<(&'a Pod, i64)>,
    /// Still starting.
    unready: Vec<&'a Pod>,
    /// Nothing is known of their use.
    missing: Vec<&'a Pod>,
}

/// Sorts the pods by what their use says. A pod of phase Failed, or one that is being deleted, is
/// in no group. For CPU alone a pod that is starting counts as unready: many programs use much CPU
/// at their start, and scaling by that would start more of them. Upstream: `groupPods`.
fn group<'a>(
    metric: &Metric,
    all: &'a [Arc<Pod>],
    samples: &BTreeMap<String, Sample>,
    now: Timestamp,
) -> Groups<'a> {
    let mut groups = Groups::default();
    for pod in all.iter().filter(|p| p.metadata.deletion_timestamp.is_none() && phase(p) != "Failed") {
        let sample = samples.get(pod.metadata.name.as_deref().unwrap_or_default());
        match sample.and_then(|sample| Some((sample, metric.used(sample)?))) {
            _ if phase(pod) == "Pending" => groups.unready.push(pod),
            None => groups.missing.push(pod),
            Some((sample, _)) if metric.resource == "cpu" && is_starting(pod, sample, now) => {
                groups.unready.push(pod)
            }
            Some((_, used)) => groups.ready.push((pod, used)),
        }
    }
    groups
}

/// Returns whether a pod is still starting, so that its use of CPU says nothing about its load.
///
/// ```text
/// started 2 min ago, not ready                             starting
/// started 2 min ago, ready for 10 s, measured over 15 s    starting: it was measured before, too
/// started 2 min ago, ready for 60 s, measured over 15 s    counts
/// started 10 min ago, unready since 10 s after its start   starting: it was never ready
/// started 10 min ago, unready since a minute ago           counts: it was ready once
/// ```
fn is_starting(pod: &Pod, sample: &Sample, now: Timestamp) -> bool {
    let status = pod.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().flatten().find(|c| c.type_ == "Ready");
    let (Some(ready), Some(start)) = (ready, status.start_time) else { return true };
    let since = ready.last_transition_time.as_ref().map_or(start.0, |t| t.0);
    let unready = ready.status == "False";
    match clock::left(start.0, CPU_INITIALIZATION, now).is_some() {
        true => unready || sample.at < clock::after(since, sample.window),
        false => unready && clock::left(start.0, INITIAL_READINESS, since).is_some(),
    }
}

/// Returns how a sum of uses relates to its target: the ratio, the use of a pod on average, and per
/// cent of the request.
fn ratio(metric: &Metric, uses: &[(&Pod, i64)]) -> Result<(f64, i64, Option<i64>), String> {
    let total: i128 = uses.iter().map(|(_, used)| i128::from(*used)).sum();
    let average = clamped(total / uses.len().max(1) as i128);
    match metric.target {
        Target::Average(target) => Ok((average as f64 / target.max(1) as f64, average, None)),
        Target::Utilization(target) => {
            let mut requests = 0i128;
            for (pod, _) in uses {
                requests += i128::from(metric.requested(pod)?);
            }
            if requests == 0 {
                return Err("no metrics returned matched known pods".into());
            }
            let percent = clamped(total * 100 / requests);
            Ok((percent as f64 / target.max(1) as f64, average, Some(percent)))
        }
    }
}

/// Returns a number of thousandths, or the nearest that can be counted: users may request any
/// amount.
fn clamped(n: i128) -> i64 {
    n.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// Pure: how many replicas bring the use to its target. `current` of them are there. Pods about
/// which nothing is known are counted so that they make the step smaller: as using all of their
/// share when fewer would do, as using nothing when more are needed, and not at all when the others
/// are exactly on target.
///
/// ```text
/// target 50 %, each pod requests 100m
/// 100m, 100m, unknown   100 % is too much: 200m / 300m = 66 %, so ceil(66/50 * 3) = 4
///  50m,  50m, unknown   50 % is on target: 3 stay
/// ```
///
/// # Errors
/// Why nothing can be decided, in upstream's words: there are no samples, no pods, or no ready pod
/// with a sample; or the target is a utilization and a pod requests nothing of the resource.
pub(crate) fn replicas(
    metric: &Metric,
    current: i32,
    all: &[Arc<Pod>],
    samples: &BTreeMap<String, Sample>,
    now: Timestamp,
) -> Result<Verdict, String> {
    if samples.is_empty() {
        return Err(format!(
            "unable to get metrics for resource {}: no metrics returned from resource metrics API",
            metric.resource
        ));
    }
    if all.is_empty() {
        return Err("no pods returned by selector while calculating replica count".into());
    }
    let Groups { ready: mut uses, unready, missing } = group(metric, all, samples, now);
    if uses.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".into());
    }
    if matches!(metric.target, Target::Utilization(_)) {
        // Also of those that are ending, as upstream.
        for pod in all {
            metric.requested(pod)?;
        }
    }
    let (first, average, utilization) = ratio(metric, &uses)?;
    let verdict = |replicas: i32| Verdict { replicas, average, utilization };
    let up = first > 1.0;
    if (!up || unready.is_empty()) && missing.is_empty() {
        if metric.tolerance.covers(first) {
            return Ok(verdict(current));
        }
        return Ok(verdict((first * uses.len() as f64).ceil() as i32));
    }
    for pod in missing.into_iter().filter(|_| first != 1.0) {
        let whole = match metric.target {
            Target::Average(target) => target,
            Target::Utilization(target) => {
                clamped(i128::from(metric.requested(pod)?) * i128::from(target.max(100)) / 100)
            }
        };
        uses.push((pod, if up { 0 } else { whole }));
    }
    if up {
        uses.extend(unready.into_iter().map(|pod| (pod, 0)));
    }
    let (second, ..) = ratio(metric, &uses)?;
    if metric.tolerance.covers(second) || (first < 1.0 && second > 1.0) || (first > 1.0 && second < 1.0) {
        return Ok(verdict(current));
    }
    let wanted = (second * uses.len() as f64).ceil() as i32;
    if (second < 1.0 && wanted > current) || (second > 1.0 && wanted < current) {
        return Ok(verdict(current)); // what is not known must not turn the direction
    }
    Ok(verdict(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: &str = "2026-01-01T01:00:00Z";

    /// Pods that request 100m each and use so many thousandths; -1: nothing is known; -2: just
    /// started, unready.
    fn ask(target: Target, current: i32, uses: &[i64]) -> Result<Verdict, String> {
        let mut samples = BTreeMap::new();
        let mut all = Vec::new();
        for (i, used) in uses.iter().enumerate() {
            let young = *used == -2;
            let since = if young { "2026-01-01T00:59:50Z" } else { "2026-01-01T00:00:00Z" };
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": format!("p{i}")},
                "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]},
                "status": {"phase": "Running", "startTime": since, "conditions":
                    [{"type": "Ready", "status": if young { "False" } else { "True" }, "lastTransitionTime": since}]},
            }))
            .unwrap();
            all.push(Arc::new(pod));
            if *used != -1 {
                let used = [("c".to_string(), [("cpu".to_string(), (*used).max(0))].into())].into();
                let sample = Sample { at: NOW.parse().unwrap(), window: Duration::from_secs(10), used };
                samples.insert(format!("p{i}"), sample);
            }
        }
        let metric =
            Metric { resource: "cpu".into(), container: None, target, tolerance: Tolerance::default() };
        replicas(&metric, current, &all, &samples, NOW.parse().unwrap())
    }

    fn count(target: Target, uses: &[i64]) -> i32 {
        ask(target, uses.len() as i32, uses).unwrap().replicas
    }

    #[test]
    fn the_use_is_brought_to_its_target() {
        use Target::{Average, Utilization};
        assert_eq!(count(Utilization(50), &[100]), 2);
        assert_eq!(count(Utilization(50), &[100, 100, 100]), 6);
        assert_eq!(count(Utilization(50), &[10, 20, 30]), 2);
        assert_eq!(count(Utilization(50), &[54, 54]), 2, "near enough");
        assert_eq!(count(Average(20), &[100, 20]), 6);
        assert_eq!(
            ask(Utilization(50), 2, &[30, 50]).unwrap(),
            Verdict { replicas: 2, average: 40, utilization: Some(40) }
        );
    }

    #[test]
    fn what_is_not_known_makes_the_step_smaller() {
        use Target::Utilization;
        assert_eq!(count(Utilization(50), &[100, 100, -1]), 4, "as if it used nothing");
        assert_eq!(count(Utilization(50), &[10, 10, -1]), 3, "as if it used all");
        assert_eq!(count(Utilization(50), &[50, 50, -1]), 3, "the others are exactly on target");
        assert_eq!(count(Target::Average(50), &[50, 50, -1]), 3);
        assert_eq!(count(Utilization(50), &[100, -2]), 2, "a pod that starts will take its share");
        assert_eq!(
            ask(Utilization(50), 1, &[-2]).unwrap_err(),
            "did not receive metrics for targeted pods (pods might be unready)"
        );
        assert!(
            ask(Utilization(50), 1, &[-1])
                .unwrap_err()
                .contains("no metrics returned from resource metrics API")
        );
    }

    /// Returns what ten loaded pods, with the containers `app` and `log`, are scaled to.
    fn scale(resource: &str, container: Option<&str>, target: Target) -> Result<Verdict, String> {
        let mut samples = BTreeMap::new();
        let mut all = Vec::new();
        for name in (0..10).map(|i| format!("p{i}")) {
            let requests = json!({"requests": {"memory": "1Gi"}});
            let pod = json!({"metadata": {"name": name}, "status": {"phase": "Running"},
                "spec": {"containers": [{"name": "app", "resources": requests}, {"name": "log"}]}});
            all.push(Arc::new(serde_json::from_value(pod).unwrap()));
            let used = |resource: &str| [(resource.to_string(), 100_000)].into();
            let mut sample =
                Sample { at: NOW.parse().unwrap(), window: Duration::from_secs(10), used: BTreeMap::new() };
            sample.used.insert("app".into(), used("memory"));
            sample.used.insert("log".into(), used("disk"));
            samples.insert(name, sample);
        }
        let container = container.map(String::from);
        let metric = Metric { resource: resource.into(), container, target, tolerance: Tolerance::default() };
        replicas(&metric, 10, &all, &samples, NOW.parse().unwrap())
    }

    #[test]
    fn a_use_that_a_sample_lacks_is_not_a_use_of_nothing() {
        let unknown = Err("did not receive metrics for targeted pods (pods might be unready)".into());
        let one_a_pod = Target::Average(1000);
        assert_eq!(scale("memory", Some("ap"), one_a_pod.clone()), unknown, "no such container");
        assert_eq!(scale("memory", Some("ap"), Target::Utilization(50)), unknown);
        assert_eq!(scale("storage", None, one_a_pod.clone()), unknown, "no container tells it");
        assert_eq!(scale("memory", None, one_a_pod.clone()), unknown, "one container does not tell it");
        assert_eq!(scale("disk", Some("app"), one_a_pod), unknown);
        assert_eq!(scale("memory", Some("app"), Target::Average(50_000)).unwrap().replicas, 20);
    }

    /// Two running pods with samples, and one without a request that is ending.
    #[test]
    fn any_request_may_be_made_and_none_may_be_missing() {
        let ask = |request: &str, ending: bool| {
            let pod = |name: &str, requests: serde_json::Value| -> Arc<Pod> {
                let pod = json!({"metadata": {"name": name}, "status": {"phase": "Running"},
                    "spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]}});
                Arc::new(serde_json::from_value(pod).unwrap())
            };
            let memory = || json!({"memory": request});
            let mut all = vec![pod("a", memory()), pod("b", memory()), pod("unmeasured", memory())];
            if ending {
                let mut last = pod("last", json!({}));
                Arc::make_mut(&mut last).metadata.deletion_timestamp =
                    serde_json::from_value(json!(NOW)).unwrap();
                all.push(last);
            }
            let used: BTreeMap<_, _> = [("memory".to_string(), i64::MAX / 2)].into();
            let sample = Sample {
                at: NOW.parse().unwrap(),
                window: Duration::from_secs(10),
                used: [("c".to_string(), used)].into(),
            };
            let samples = ["a", "b"].map(|name| (name.to_string(), sample.clone())).into();
            let metric = Metric {
                resource: "memory".into(),
                container: None,
                target: Target::Utilization(200),
                tolerance: Tolerance::default(),
            };
            replicas(&metric, 3, &all, &samples, NOW.parse().unwrap())
        };
        // All of the request is used, and of the unmeasured pod twice as much is assumed.
        assert_eq!(ask("4611686018427387", false).map(|v| v.replicas), Ok(2));
        let missing = "missing request for memory in container c of Pod last";
        assert_eq!(ask("1", true).unwrap_err(), missing);
    }

    #[test]
    fn requests_of_the_whole_pod_count_in_place_of_its_containers() {
        let requested = |resource: &str, container: Option<&str>, whole: serde_json::Value| {
            let app = json!({"name": "app", "resources": {"requests": {"cpu": "100m"}}});
            let spec = json!({"containers": [app, {"name": "log"}], "resources": whole});
            let pod = json!({"metadata": {"name": "p"}, "spec": spec});
            let metric = Metric {
                resource: resource.into(),
                container: container.map(String::from),
                target: Target::Utilization(50),
                tolerance: Tolerance::default(),
            };
            metric.requested(&serde_json::from_value(pod).unwrap())
        };
        let whole = || json!({"requests": {"cpu": "500m"}});
        assert_eq!(requested("cpu", None, whole()), Ok(500));
        assert_eq!(requested("cpu", Some("app"), whole()), Ok(100));
        let missing = "missing pod-level request for memory in Pod p";
        assert_eq!(requested("memory", None, whole()).unwrap_err(), missing);
        let missing = "missing request for cpu in container log of Pod p";
        assert_eq!(requested("cpu", None, json!({"limits": {"cpu": "1"}})).unwrap_err(), missing);
    }

    #[test]
    fn a_pod_without_the_container_has_no_share_of_its_request() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "app"}]}});
        let metric = Metric {
            resource: "cpu".into(),
            container: Some("ap".into()),
            target: Target::Utilization(50),
            tolerance: Tolerance::default(),
        };
        let requested = metric.requested(&serde_json::from_value(pod).unwrap());
        assert_eq!(requested.unwrap_err(), "container ap not found in Pod p");
    }
}
