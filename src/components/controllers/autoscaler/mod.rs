//! # HorizontalPodAutoscaler: as many pods as the load needs
//!
//! Every 15 seconds it asks the metrics API what the pods of its target use. [`metric`] says how
//! many replicas would bring that to the target, [`limits`] how much of it may be done now; then
//! the target's `/scale` is written, whatever kind it is. Source: `pkg/controller/podautoscaler`.

mod limits;
mod metric;
mod source;
mod target;

use super::resources::Mapper;
use super::write;
use crate::error::{Error, message_of};
use crate::shared::{Controller, Shared, record};
use client::{Client, Key, Outcome, Recorder, WorkQueue, reference};
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerSpec,
    HorizontalPodAutoscalerStatus, MetricStatus,
};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use limits::Past;
use metric::{Metric, Sample};
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use source::{name_of, read, sample, shown, tolerance, use_of, value_of};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Component, Event};

const COMPONENT: Component = Component::HorizontalPodAutoscaler;
const WORKERS: usize = 5;
/// Looks are this far apart, whatever happens: `--horizontal-pod-autoscaler-sync-period`.
const EVERY: Duration = Duration::from_secs(15);

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<HorizontalPodAutoscaler>();
        informers.all::<Pod>();
    },
    start,
};

fn start(shared: &Shared) {
    let queue: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = queue.clone();
    shared.informer::<HorizontalPodAutoscaler>().on(move |change| {
        // Its own status is no news.
        if let client::Change::Updated { old, new } = change
            && old.spec == new.spec
        {
            return;
        }
        q.add(change.key(), change.cause());
    });
    let worker = Arc::new(Worker {
        shared: shared.clone(),
        recorder: Recorder::new(&shared.crew, &shared.config.client, COMPONENT.name(), ""),
        kinds: Mapper::default(),
        known: Mutex::default(),
    });
    shared.report_panics(&queue, shared.informer::<HorizontalPodAutoscaler>(), COMPONENT.name());
    queue.work(COMPONENT.name(), WORKERS, move |key, cause| {
        let worker = worker.clone();
        async move { worker.sync(key, cause).await }
    });
}

/// What is remembered of an autoscaler between looks.
#[derive(Default)]
struct Memory {
    past: Past,
    /// The selector of its target's pods, as of the last look.
    selector: String,
    /// When the present round of looks was last looked at. A look before the next one is due (its
    /// spec has changed) does not make two rounds of looks out of one.
    round: Option<clock::Instant>,
}

struct Worker {
    shared: Shared,
    recorder: Recorder,
    /// Finds where custom kinds are served.
    kinds: Mapper,
    known: Mutex<BTreeMap<Key, Memory>>,
}

/// The target's pods, and what they use by their names; or why that is not known.
type Known = Result<(Vec<Arc<Pod>>, BTreeMap<String, Sample>), String>;

/// What the metrics of an autoscaler say together.
#[derive(Default)]
struct Measured {
    /// The most replicas that one of them asks for, and how events name it.
    best: Option<(i32, String)>,
    failed: Vec<Failure>,
}

/// A metric that gives no number of replicas, and why.
struct Failure {
    /// The reason of its event and of the condition: `FailedGetResourceMetric`.
    reason: String,
    /// `failed to get cpu utilization: unable to get metrics for resource cpu: …`
    why: String,
    /// What could not be measured: `cpu resource metric value`.
    value: String,
}

/// One look at one autoscaler.
struct Look<'a> {
    worker: &'a Worker,
    key: &'a Key,
    client: Client,
    about: ObjectReference,
    cause: &'a Option<Cause>,
    autoscaler: &'a HorizontalPodAutoscaler,
    status: HorizontalPodAutoscalerStatus,
}

impl Worker {
    fn known(&self) -> MutexGuard<'_, BTreeMap<Key, Memory>> {
        self.known.lock()
    }

    fn remember<T>(&self, key: &Key, f: impl FnOnce(&mut Memory) -> T) -> T {
        f(self.known().entry(key.clone()).or_default())
    }

    async fn sync(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(autoscaler) = self.shared.informer::<HorizontalPodAutoscaler>().get(&key) else {
            self.known().remove(&key);
            return Ok(Outcome::Done);
        };
        let mut look = Look {
            worker: self,
            key: &key,
            client: self.shared.config.client.caused_by(cause.clone()),
            about: reference(&*autoscaler),
            cause: &cause,
            autoscaler: &autoscaler,
            status: autoscaler.status.clone().unwrap_or_default(),
        };
        // As upstream before 1.37: the API server counts no generations of an autoscaler.
        look.status.observed_generation = None;
        look.look().await;
        look.write().await?;
        let now = clock::Instant::now();
        let left = self.remember(&key, |m| {
            let left = m.round.and_then(|since| clock::left(since, EVERY, now));
            // A timer may be a little early.
            let left = left.filter(|left| clock::scaled(*left) > Duration::from_millis(50));
            left.unwrap_or_else(|| {
                m.round = Some(now);
                EVERY
            })
        });
        Ok(Outcome::After(left))
    }
}

impl Look<'_> {
    /// Sets a condition. Its time stays unless its status is another one than before this look:
    /// what the look itself says in between, as that the scale was found before its write is
    /// refused, is no transition.
    fn set(&mut self, kind: &str, value: bool, reason: &str, message: &str) {
        let status = if value { "True" } else { "False" };
        let before = self.autoscaler.status.iter().flat_map(|s| s.conditions.iter().flatten());
        let before = before.into_iter().find(|c| c.type_ == kind && c.status == status);
        let since = before.and_then(|c| c.last_transition_time.clone());
        let fresh = HorizontalPodAutoscalerCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_transition_time: since.or_else(|| Some(Time(clock::now()))),
        };
        let conditions = self.status.conditions.get_or_insert_default();
        match conditions.iter_mut().find(|c| c.type_ == kind) {
            Some(old) => *old = fresh,
            None => conditions.push(fresh),
        }
    }

    fn warn(&self, reason: &str, message: &str) {
        self.worker.recorder.warning(&self.about, reason, message, self.cause.clone());
    }

    /// Reads the target's scale, asks the metrics, and writes the scale if the number is another
    /// one. Outside `minReplicas` and `maxReplicas` no metric is asked. A target that a user scaled
    /// to 0 is left alone: that is how autoscaling is switched off. Upstream:
    /// `reconcileAutoscaler`.
    async fn look(&mut self) {
        let spec = self.autoscaler.spec.clone().unwrap_or_default();
        let (path, scale) = match self.read_scale(&spec.scale_target_ref).await {
            Ok(found) => found,
            Err(why) => {
                self.warn("FailedGetScale", &why);
                let message =
                    format!("the HPA controller was unable to get the target's current scale: {why}");
                self.set("AbleToScale", false, "FailedGetScale", &message);
                return;
            }
        };
        let message = "the HPA controller was able to get the target's current scale";
        self.set("AbleToScale", true, "SucceededGetScale", message);
        let current = scale.spec.as_ref().and_then(|s| s.replicas).unwrap_or(0);
        self.status.current_replicas = Some(current);
        // Also while nothing is scaled. Otherwise a target that a user brings back from 0 would
        // begin with its new size as the first recommendation, and be held at it for a whole
        // window.
        self.worker.remember(self.key, |m| m.past.begin(clock::Instant::now(), current));
        // Unless this look measures them. Values of an earlier one would be shown as of now.
        self.status.current_metrics = None;
        let least = spec.min_replicas.unwrap_or(1);
        let (desired, why) = if current == 0 && least != 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            self.set("ScalingActive", false, "ScalingDisabled", message);
            (0, String::new())
        } else if current > spec.max_replicas {
            (spec.max_replicas, "Current number of replicas above Spec.MaxReplicas".into())
        } else if current < least {
            (least, "Current number of replicas below Spec.MinReplicas".into())
        } else {
            match self.wanted(current, &scale).await {
                Some(wanted) => wanted,
                None => return, // what was desired before stands
            }
        };
        if desired == current {
            self.status.desired_replicas = desired;
            return;
        }
        match self.resize(&path, scale, desired).await {
            Ok(()) => {
                // Not before: a size that the target did not get is no last one, as upstream.
                self.status.desired_replicas = desired;
                let message = format!("the HPA controller was able to update the target scale to {desired}");
                self.set("AbleToScale", true, "SucceededRescale", &message);
                self.status.last_scale_time = Some(Time(clock::now()));
                let message = format!("New size: {desired}; reason: {why}");
                self.worker.recorder.normal(&self.about, "SuccessfulRescale", message, self.cause.clone());
                let (now, by) = (clock::Instant::now(), desired - current);
                self.worker.remember(self.key, |m| m.past.change(&spec, now, by));
                let tap = self.worker.shared.tap(COMPONENT);
                let event = Event::ScaleTarget { from: current, to: desired, reason: why.to_string() };
                tap.emit(record(event, "horizontalpodautoscalers", self.key, self.cause));
            }
            Err(error) => {
                let error = message_of(&error);
                self.warn("FailedRescale", &format!("New size: {desired}; reason: {why}; error: {error}"));
                let message = format!("the HPA controller was unable to update the target scale: {error}");
                self.set("AbleToScale", false, "FailedUpdateScale", &message);
            }
        }
    }

    /// Returns the number of replicas that the metrics ask for, within what the limits allow, and
    /// the reason for the Event. `None` if no metric gives a number.
    async fn wanted(&mut self, current: i32, scale: &Scale) -> Option<(i32, String)> {
        let spec = self.autoscaler.spec.clone().unwrap_or_default();
        let selector = scale.status.as_ref().and_then(|s| s.selector.clone()).unwrap_or_default();
        let pods = match self.choose_pods(&selector) {
            Ok(pods) => pods,
            Err(why) => {
                self.warn("FailedComputeMetricsReplicas", &why);
                return None;
            }
        };
        let known = self.samples(&selector).await.map(|samples| (pods, samples));
        let Measured { best, failed } = self.measure(current, &spec, &known);
        // Where one gives no number, others may ask for more or for as many, but not for fewer.
        let usable = best.filter(|(wanted, _)| failed.is_empty() || *wanted >= current);
        let Some((wanted, name)) = usable else {
            let all = spec.metrics.as_ref().map_or(0, Vec::len);
            let Failure { reason, why, value } = failed.first()?;
            let first = format!("first error is: failed to get {value}: {why}");
            let message = format!("invalid metrics ({} invalid out of {all}), {first}", failed.len());
            self.warn("FailedComputeMetricsReplicas", &message);
            let message = format!("the HPA was unable to compute the replica count: {why}");
            self.set("ScalingActive", false, reason, &message);
            return None;
        };
        let message = format!("the HPA was able to successfully calculate a replica count from {name}");
        self.set("ScalingActive", true, "ValidMetricFound", &message);
        let now = clock::Instant::now();
        let limited =
            self.worker.remember(self.key, |m| limits::limit(&spec, &mut m.past, current, wanted, now));
        let (reason, message) =
            limited.stabilized.unwrap_or(("ReadyForNewScale", "recommended size matches current size"));
        self.set("AbleToScale", true, reason, message);
        let (reason, message) = limited
            .limited
            .unwrap_or(("DesiredWithinRange", "the desired count is within the acceptable range"));
        self.set("ScalingLimited", limited.limited.is_some(), reason, message);
        let why = match wanted.cmp(&current) {
            std::cmp::Ordering::Greater => format!("{name} above target"),
            std::cmp::Ordering::Less => "All metrics below target".into(),
            // An earlier recommendation asks for more. Upstream has no words for that.
            std::cmp::Ordering::Equal => String::new(),
        };
        Some((limited.replicas, why))
    }

    /// Asks each metric how many replicas it wants, and shows in the status what it measured.
    /// Clients pair the metrics of the spec and of the status by position, so a metric that gives
    /// no number has an empty entry, as upstream.
    ///
    /// ```text
    /// metrics memory, cpu; no container requests memory   currentMetrics: an empty entry, cpu
    /// ```
    fn measure(&mut self, current: i32, spec: &HorizontalPodAutoscalerSpec, known: &Known) -> Measured {
        let tolerance = tolerance(spec.behavior.as_ref());
        let mut measured = Measured::default();
        let mut statuses: Vec<MetricStatus> = Vec::new();
        for asked in spec.metrics.iter().flatten() {
            let verdict = match (read(asked), known) {
                (Ok(metric), Ok((pods, samples))) => {
                    let metric = Metric { tolerance, ..metric };
                    metric::replicas(&metric, current, pods, samples, clock::now()).map(|v| (metric, v))
                }
                (Err(why), _) => Err(why),
                (Ok(metric), Err(why)) => {
                    Err(format!("unable to get metrics for resource {}: {why}", metric.resource))
                }
            };
            match verdict {
                Ok((metric, verdict)) => {
                    if measured.best.as_ref().is_none_or(|(most, _)| verdict.replicas > *most) {
                        measured.best = Some((verdict.replicas, name_of(&metric)));
                    }
                    statuses.push(shown(asked, &verdict));
                }
                Err(why) => {
                    let why = format!("failed to get {}: {why}", use_of(asked));
                    let reason = format!("FailedGet{}Metric", asked.type_);
                    self.warn(&reason, &why);
                    measured.failed.push(Failure { reason, why, value: value_of(asked) });
                    statuses.push(MetricStatus::default());
                }
            }
        }
        self.status.current_metrics = Some(statuses);
        measured
    }

    /// Returns the pods that the target's selector chooses.
    ///
    /// # Errors
    /// The reason why no metric can be asked, which the condition has already.
    fn choose_pods(&mut self, selector: &str) -> Result<Vec<Arc<Pod>>, String> {
        if selector.is_empty() {
            let why = "selector is required";
            self.warn("SelectorRequired", why);
            let message = "the HPA target's scale is missing a selector";
            self.set("ScalingActive", false, "InvalidSelector", message);
            return Err(why.into());
        }
        let verdict = match self.pods(selector) {
            Err(why) => {
                let what = "couldn't convert selector into a corresponding internal selector object";
                Err(("InvalidSelector", format!("{what}: {why}")))
            }
            Ok(pods) => match self.rivals(selector, &pods) {
                Some(rivals) => {
                    let what = format!("pods by selector {selector} are controlled by multiple HPAs");
                    Err(("AmbiguousSelector", format!("{what}: [{rivals}]")))
                }
                None => Ok(pods),
            },
        };
        verdict.map_err(|(reason, why)| {
            self.warn(reason, &why);
            self.set("ScalingActive", false, reason, &why);
            why
        })
    }

    /// Returns the names of all autoscalers that choose some of these pods, if there are others
    /// beside this one. Then none of them scales, as upstream: each would undo what the other does.
    fn rivals(&self, selector: &str, pods: &[Arc<Pod>]) -> Option<String> {
        let mut known = self.worker.known();
        known.entry(self.key.clone()).or_default().selector = selector.to_string();
        let chooses = |memory: &Memory| {
            let selector = api::labels::Selector::parse(&memory.selector).ok();
            let selector = selector.filter(|_| !memory.selector.is_empty());
            selector.is_some_and(|s| pods.iter().any(|pod| s.matches(&labels(pod))))
        };
        let all = known.iter().filter(|(key, memory)| {
            key.namespace == self.key.namespace && (*key == self.key || chooses(memory))
        });
        let all: Vec<String> = all.map(|(key, _)| key.to_string()).collect();
        (all.len() > 1).then(|| all.join(" "))
    }

    fn pods(&self, selector: &str) -> Result<Vec<Arc<Pod>>, String> {
        let selector = api::labels::Selector::parse(selector)?;
        let chosen = |pod: &Arc<Pod>| selector.matches(&labels(pod));
        Ok(self
            .worker
            .shared
            .informer::<Pod>()
            .within(&self.key.namespace)
            .into_iter()
            .filter(chosen)
            .collect())
    }

    /// Asks the metrics API what the pods use, by name; thousandths of each resource by container.
    async fn samples(&self, selector: &str) -> Result<BTreeMap<String, Sample>, String> {
        let query: String = form_urlencoded::byte_serialize(selector.as_bytes()).collect();
        let path = format!(
            "/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods?labelSelector={query}",
            client::segment(&self.key.namespace)
        );
        let list = self
            .ask(&path)
            .await
            .map_err(|e| format!("unable to fetch metrics from resource metrics API: {}", message_of(&e)))?;
        Ok(list["items"].as_array().into_iter().flatten().filter_map(sample).collect())
    }

    async fn ask(&self, path: &str) -> Result<Value, kube::Error> {
        let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
        self.client.kube().request(request).await
    }

    async fn write(&self) -> Result<(), Error> {
        let api = self.client.within::<HorizontalPodAutoscaler>(&self.key.namespace);
        let (meta, old) = (&self.autoscaler.metadata, self.autoscaler.status.as_ref());
        // No other client writes the status. The metadata, which others write, stays as it is.
        write::status(&api, meta, write::Guard::Uid, old, &self.status).await.map(drop)
    }
}

fn labels(pod: &Pod) -> Value {
    serde_json::to_value(&pod.metadata.labels).unwrap_or_default()
}

#[cfg(test)]
mod tests;
