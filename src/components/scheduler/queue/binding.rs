//! The Binding of a pod that was decided, and what follows when it fails. Upstream: `bindingCycle`
//! and `handleBindingCycleError` in `pkg/scheduler/schedule_one.go`.

use super::{SCHEDULER_ERROR, Scheduler, is_pending, requests};
use crate::volumes::{Choice, Open};
use client::{Codec, Key, is_code, reference};
use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::sync::Arc;
use tap::{Cause, Event, Record};
use task::guard;

/// The reason why a binding failed.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Returns whether the pod has pod affinity or topology spread constraints, which are left out. An
/// empty `podAntiAffinity: {}`, as charts write it, asks for nothing.
fn has_affinity_or_spread(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let affinity = spec.affinity.as_ref();
    let near = affinity.and_then(|a| a.pod_affinity.as_ref());
    let apart = affinity.and_then(|a| a.pod_anti_affinity.as_ref());
    near.is_some_and(|a| {
        has_items(&a.required_during_scheduling_ignored_during_execution)
            || has_items(&a.preferred_during_scheduling_ignored_during_execution)
    }) || apart.is_some_and(|a| {
        has_items(&a.required_during_scheduling_ignored_during_execution)
            || has_items(&a.preferred_during_scheduling_ignored_during_execution)
    }) || has_items(&spec.topology_spread_constraints)
}

fn has_items<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|items| !items.is_empty())
}

/// Returns an error of a plug-in in upstream's words, since people search for them. Of an answer of
/// the API server it has the message alone:
///
/// ```text
/// running Bind plugin "DefaultBinder": Operation cannot be fulfilled on pods/binding "web": …
/// ```
fn failure(extension_point: &str, plugin: &str, error: impl Into<Failure>) -> Failure {
    let error = error.into();
    let text = match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => status.message.clone(),
        _ => error.to_string(),
    };
    format!("running {extension_point} plugin {plugin:?}: {text}").into()
}

/// Returns the Binding of the pod to a node that was looked at in this version.
fn binding(pod: &Pod, key: &Key, node: &str, version: Option<String>) -> Binding {
    let metadata =
        ObjectMeta { name: Some(key.name.clone()), uid: pod.metadata.uid.clone(), ..ObjectMeta::default() };
    let target = ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Node".into()),
        name: Some(node.into()),
        resource_version: version,
        ..ObjectReference::default()
    };
    Binding { metadata, target }
}

impl Scheduler {
    /// Binds an assumed pod to its node in a task of its own: the next pod is decided meanwhile.
    pub(super) fn begin_binding(
        self: &Arc<Self>,
        key: Key,
        pod: Arc<Pod>,
        node: String,
        version: Option<String>,
        choices: Vec<(Open, Choice)>,
        cause: Option<Cause>,
    ) {
        let scheduler = self.clone();
        self.crew.spawn(async move {
            // A panic must not leave the pod assumed on a node for ever.
            let bound = guard(scheduler.bind(&key, &pod, &node, version, choices, &cause)).await;
            scheduler.reserved.lock().remove(&pod);
            scheduler.news.send_replace(());
            if let Err(error) = bound.unwrap_or_else(|panic| Err(format!("panic: {panic}").into())) {
                scheduler.binding_failed(&key, &pod, &node, error.to_string(), cause).await;
            }
        });
    }

    /// Posts the Binding, after what the pod's volumes need.
    ///
    /// The watches of pods and of nodes are two, so a pod may be decided before a change of a node
    /// is seen that came earlier, or in the same revision if a rewind has written both. So the
    /// Binding names the version of the node that was looked at, and the API server refuses it if
    /// the node's labels, taints or `unschedulable` are others by now. This costs the decision
    /// nothing, and no decision waits for a watch. After a wait for volumes no version is named:
    /// the volume is made for this node.
    pub(super) async fn bind(
        &self,
        key: &Key,
        pod: &Pod,
        node: &str,
        version: Option<String>,
        choices: Vec<(Open, Choice)>,
        cause: &Option<Cause>,
    ) -> Result<(), Failure> {
        let start = clock::Instant::now();
        let client = self.config.client.caused_by(cause.clone());
        let requested = requests::request_volumes(&client, choices, node).await;
        let requested = requested.map_err(|error| failure("PreBind", "VolumeBinding", error))?;
        let version = version.filter(|_| requested.is_empty());
        if !requested.is_empty() {
            let bound = self.await_volumes(&requested, node, key, pod).await;
            let bound = bound.and_then(|()| self.check_volumes_are_on(pod, node));
            bound.map_err(|why| failure("PreBind", "VolumeBinding", format!("binding volumes: {why}")))?;
        }
        let binding = binding(pod, key, node, version);
        let api = client.within::<Pod>(&key.namespace);
        let body = binding.encode()?.to_string().into_bytes();
        let request = http::Request::post(format!("{}/binding", api.path(&key.name)))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body)?;
        match client.kube().request_text(request).await {
            Ok(_) => {}
            Err(error) if is_code(&error, 404) => {
                self.cache.forget(key, pod);
                return Ok(()); // the watch shows that it is gone
            }
            // Also where another scheduler was faster: the watch may have shown its Binding before
            // this pod could be looked at again.
            Err(error) => return Err(failure("Bind", "DefaultBinder", error)),
        }
        let bound = Record::new(Event::Bind { node: node.to_string() });
        let record = bound.object("pods", &key.namespace, &key.name).cause(cause.clone());
        self.config.tap.emit(record.took(start.elapsed()));
        let message = format!("Successfully assigned {key} to {node}");
        self.recorder.normal(&reference(pod), "Scheduled", message, cause.clone());
        if has_affinity_or_spread(pod) {
            let message = "pod affinity and topology spread constraints are not implemented yet: the pod is scheduled without them";
            self.recorder.warning(&reference(pod), "AffinityNotImplemented", message, cause.clone());
        }
        Ok(())
    }

    /// Gives back the room of a pod whose binding has failed, reports the failure in an Event and
    /// in the condition, and has the pod decided again after a pause.
    ///
    /// The scheduler counts a pod as being on its node before the API server has taken the binding
    /// (it *assumes* it), so that the next decision need not wait. If the binding fails, for
    /// example because the node was deleted, this has to be taken back. Upstream:
    /// `handleBindingCycleError`.
    pub(super) async fn binding_failed(
        &self,
        key: &Key,
        pod: &Pod,
        node: &str,
        why: String,
        cause: Option<Cause>,
    ) {
        let is_to_bind = |now: &Pod| now.metadata.uid == pod.metadata.uid && is_pending(now);
        let is_there = self.pods.get(key).is_some_and(|now| is_to_bind(&now));
        // Before its room is given back: that has this pod looked at, too.
        let pause = is_there.then(|| self.begin_pause(key, pod));
        self.cache.forget(key, pod);
        self.try_again(cause.clone()); // its room is another one's now
        let Some((failures, pause)) = pause else { return }; // the pod is gone, or it is bound
        tracing::warn!(pod = %key, node, error = %why, failures, ?pause, "binding failed, trying again");
        self.waiting.lock().insert(key.clone(), clock::Instant::now()); // its own condition is no news, see `pod_changed`
        if let Err(error) = self.refuse(key, pod, SCHEDULER_ERROR, why, true, &cause).await {
            tracing::warn!(pod = %key, %error, "the pod's condition PodScheduled is not written");
        }
        self.queue.add_after_pause(key.clone(), cause, pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_affinity_without_terms_asks_for_nothing() {
        let term = json!({"topologyKey": "kubernetes.io/hostname"});
        for (spec, want) in [
            (json!({"affinity": {"podAffinity": {}, "podAntiAffinity": {}}}), false),
            (json!({"topologySpreadConstraints": []}), false),
            (
                json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}),
                true,
            ),
            (
                json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "podAffinityTerm": term}
                ]}}}),
                true,
            ),
            (
                json!({"topologySpreadConstraints": [
                    {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
                ]}),
                true,
            ),
        ] {
            let mut pod = json!({"spec": spec});
            pod["spec"]["containers"] = json!([]);
            assert_eq!(has_affinity_or_spread(&serde_json::from_value(pod).unwrap()), want, "{spec}");
        }
    }
}
