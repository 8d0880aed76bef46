//! What must hold at the end of a history, and what must have held all the time.

use api::meta;
use api::value::{self, text};
use client::simulated::Store;
use cri::fake::FakeRuntime;
use cri::{Container, ContainerState, Runtime, Sandbox, SandboxState};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Attempts of a container that are kept: two that ran, and one that was made and not started yet.
const ATTEMPTS_MAX: usize = 3;

/// One pod, and what the runtime has of it.
struct Case<'a> {
    pod: &'a Value,
    sandboxes: Vec<&'a Sandbox>,
    containers: Vec<&'a Container>,
}

/// Lists everything that is not as it is wanted.
pub(super) async fn wrong(store: &Store, runtime: &FakeRuntime) -> Vec<String> {
    let sandboxes = runtime.list_pod_sandboxes().await.unwrap_or_default();
    let containers = runtime.list_containers().await.unwrap_or_default();
    let pods = store.all("pods");
    let uids: BTreeSet<&str> = pods.iter().map(|pod| meta::uid(&pod.value)).collect();
    let left = sandboxes.iter().filter(|s| !uids.contains(s.pod.uid.as_str()));
    let mut wrong: Vec<String> =
        left.map(|s| format!("sandbox {} of pod {} is left over", s.id, s.pod.name)).collect();
    for pod in &pods {
        let own = sandboxes.iter().filter(|s| s.pod.uid == meta::uid(&pod.value));
        let mut case = Case { pod: &pod.value, sandboxes: own.collect(), containers: Vec::new() };
        let of_case = |c: &&Container| case.sandboxes.iter().any(|s| s.id == c.sandbox_id);
        case.containers = containers.iter().filter(of_case).collect();
        wrong.extend(case.wrong().into_iter().map(|what| format!("pod {}: {what}", meta::name(&pod.value))));
    }
    wrong
}

/// Returns whether a pod has ended for good.
pub(super) fn is_over(pod: &Value) -> bool {
    matches!(text(pod, "status.phase"), "Succeeded" | "Failed")
}

impl Case<'_> {
    fn is_over(&self) -> bool {
        is_over(self.pod)
    }

    fn wrong(&self) -> Vec<String> {
        let (mut wrong, over) = (Vec::new(), self.is_over());
        let phase = text(self.pod, "status.phase");
        if meta::is_terminating(self.pod) {
            wrong.push("it is still being deleted".to_string());
        }
        let ready: Vec<&&Sandbox> =
            self.sandboxes.iter().filter(|s| s.state == SandboxState::Ready).collect();
        if ready.len() != usize::from(!over) {
            wrong.push(format!("{} ready sandboxes, phase {phase}", ready.len()));
        }
        if !over && phase != "Running" {
            wrong.push(format!("phase {phase}, not Running"));
        }
        if let (Some(sandbox), false) = (ready.first(), over) {
            let (has, by_status) = (sandbox.ip.map(|ip| ip.to_string()), text(self.pod, "status.podIP"));
            if has.as_deref() != Some(by_status) {
                wrong.push(format!("podIP {by_status}, not {has:?}"));
            }
        }
        let specs = value::list(self.pod, "spec.containers");
        wrong.extend(specs.iter().filter_map(|spec| self.wrong_of(spec)));
        let running = self.containers.iter().filter(|c| c.state == ContainerState::Running).count();
        if over && running > 0 {
            wrong.push(format!("{running} containers run, phase {phase}"));
        }
        let conditions = value::list(self.pod, "status.conditions");
        let is_ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
        if is_ready != (!over && running == specs.len()) {
            wrong.push(format!("Ready: {is_ready}, with {running} of {} containers running", specs.len()));
        }
        wrong
    }

    /// Returns what is wrong with a container of this definition.
    fn wrong_of(&self, spec: &Value) -> Option<String> {
        let (name, image) = (text(spec, "name"), text(spec, "image"));
        let attempts = self.containers.iter().filter(|c| c.name == name);
        let Some(newest) = attempts.max_by_key(|c| c.attempt) else {
            return (!self.is_over()).then(|| format!("container {name} was never made"));
        };
        let kept = self.containers.iter().filter(|c| c.name == name).count();
        if kept > ATTEMPTS_MAX {
            return Some(format!("{kept} attempts of container {name} are kept"));
        }
        let mut statuses = value::list(self.pod, "status.containerStatuses").iter();
        let Some(status) = statuses.find(|s| s["name"] == *name) else {
            return Some(format!("container {name} has no status"));
        };
        let difference = format!("container {name} is {:?}, its status {status}", newest.state);
        let same = text(status, "containerID").ends_with(&newest.id)
            && value::int(status, "restartCount") == Some(i64::from(newest.attempt));
        let right = match newest.state {
            ContainerState::Running => {
                same && newest.image == image && status["state"]["running"].is_object()
            }
            ContainerState::Exited if self.is_over() => {
                same && status["state"]["terminated"]["exitCode"] == newest.exit_code
                    && (newest.exit_code == 0 || text(self.pod, "status.phase") == "Failed")
            }
            ContainerState::Exited => {
                let stays = match text(self.pod, "spec.restartPolicy") {
                    "Never" => true,
                    "OnFailure" => newest.exit_code == 0,
                    _ => false,
                };
                let ended = &status["state"]["terminated"]["exitCode"];
                // One that is done is not done again with another image.
                same && stays && *ended == newest.exit_code
            }
            // A container that was made and never started stays only in a pod that has ended.
            ContainerState::Created => self.is_over(),
        };
        (!right).then_some(difference)
    }
}

/// Lists the containers that run twice at this moment, by pod and name.
pub(super) async fn twins(runtime: &FakeRuntime) -> Vec<String> {
    let sandboxes = runtime.list_pod_sandboxes().await.unwrap_or_default();
    let pods: BTreeMap<&str, &str> = sandboxes.iter().map(|s| (s.id.as_str(), s.pod.uid.as_str())).collect();
    let (mut seen, mut twins) = (BTreeSet::new(), Vec::new());
    for container in runtime.list_containers().await.unwrap_or_default() {
        let of = pods.get(container.sandbox_id.as_str()).copied();
        if container.state == ContainerState::Running && !seen.insert((of, container.name.clone())) {
            twins.push(format!("container {} of pod {of:?} runs twice", container.name));
        }
    }
    twins
}
