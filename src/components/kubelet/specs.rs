//! Words of messages and Events: names of a pod and its containers, durations. And the definition
//! of a container, read from the pod alone.

use api::gostr::Nanos;
use client::Codec;
use k8s_openapi::api::core::v1::{Container as Spec, ObjectReference, Pod};
use std::time::Duration;

/// Returns `name_namespace(uid)`, by which the kubelet's messages name a pod.
pub(crate) fn long_name(pod: &Pod) -> String {
    let meta = &pod.metadata;
    let part = |p: &Option<String>| p.clone().unwrap_or_default();
    format!("{}_{}({})", part(&meta.name), part(&meta.namespace), part(&meta.uid))
}

/// Returns a duration as messages have it, written as Go does: `10s`, `1m20s`, `1.25s`.
pub(crate) fn go_duration(duration: Duration) -> Nanos {
    Nanos(duration.as_nanos() as i128)
}

/// Returns the object of an Event about a pod, or about one of its containers.
pub(crate) fn reference(pod: &Pod, container: Option<(&str, bool)>) -> ObjectReference {
    ObjectReference {
        field_path: container.map(|(name, init)| match init {
            true => format!("spec.initContainers{{{name}}}"),
            false if is_ephemeral(pod, name) => format!("spec.ephemeralContainers{{{name}}}"),
            false => format!("spec.containers{{{name}}}"),
        }),
        ..client::reference(pod)
    }
}

/// Returns the definition of a container of the pod, also of an init container.
pub(crate) fn spec_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a Spec> {
    let spec = pod.spec.as_ref()?;
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|c| c.name == name)
}

/// Returns the ephemeral containers of a pod, as the containers that they are but for their
/// `targetContainerName`.
pub(crate) fn ephemeral(pod: &Pod) -> Vec<Spec> {
    let all = pod.spec.iter().flat_map(|s| s.ephemeral_containers.iter().flatten());
    all.filter_map(|e| Spec::decode(&e.encode().ok()?).ok()).collect()
}

/// Returns whether this is the name of an ephemeral container.
pub(crate) fn is_ephemeral(pod: &Pod, name: &str) -> bool {
    pod.spec.iter().flat_map(|s| s.ephemeral_containers.iter().flatten()).any(|e| e.name == name)
}
