//! A pod's status, from what the runtime shows. Pure.

use super::container_status::{Waiting, container, terminated, unknown_end};
use super::ephemeral;
use super::view::{View, may_restart};
use api::requests::qos_class;
use clock::Timestamp;
use cri::{self, Container, ContainerState as State, SandboxState};
use k8s_openapi::api::core::v1::{
    Container as Spec, ContainerState, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::net::Ipv4Addr;

mod address;
mod failure;
mod patch;
mod phase;

use address::address;
use failure::leave_containers_out;
pub(crate) use failure::{Failure, FailureKind, PREEMPTING};
pub(crate) use patch::{differs, patch};
use phase::phase;

/// Bytes of the termination messages of all containers of a pod, as JSON writes them: upstream's
/// bound. Source: `MaxPodTerminationMessageLogLength`.
const MESSAGES_MAX: usize = 12 << 10;
/// Bytes of the pod's own message that are kept where the whole status is too large for the API.
const OWN_MESSAGE_MAX: usize = 1024;

/// Conditions that a kubelet keeps up to date.
const OWN: [&str; 5] =
    ["PodScheduled", "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

/// Returns the status to report. Conditions of others, the scheduler's for example, are kept from
/// the stored status.
pub(crate) fn of(view: &View, waiting: &Waiting, node_ip: Ipv4Addr) -> PodStatus {
    let before = view.pod.status.clone().unwrap_or_default();
    let has_init = !view.init_specs().is_empty();
    let init: Vec<ContainerStatus> =
        view.init_specs().iter().map(|s| container(view, s, true, waiting, has_init)).collect();
    let mut main: Vec<ContainerStatus> =
        view.specs().iter().map(|s| container(view, s, false, waiting, has_init)).collect();
    let past = || view.init_specs().iter().zip(&init).all(|(spec, status)| is_past(spec, status));
    let initialized = view.has_begun() || main.iter().any(has_run) || past();
    // A pod that has failed or succeeded stays so, also if another component wrote that, and
    // whatever its containers do until they have ended.
    let phase = match before.phase.as_deref() {
        Some("Succeeded") => "Succeeded",
        Some("Failed") => "Failed",
        _ => phase(view, &init, &main, initialized),
    };
    let done = phase == "Succeeded" || phase == "Failed";
    let was_refused = phase == "Failed" && before.container_statuses.is_none();
    let sidecars =
        view.init_specs().iter().zip(&init).filter(|(spec, _)| View::is_sidecar(spec)).map(|(_, s)| s);
    let unready: Vec<&str> = sidecars.chain(&main).filter(|s| !s.ready).map(|s| s.name.as_str()).collect();
    let sandbox_ready = view.sandbox.filter(|s| s.state == SandboxState::Ready);
    let ip = address(view, &before, node_ip);
    let readiness = Readiness { phase, unready: &unready, has_sandbox: sandbox_ready.is_some() };
    let conditions = conditions(view, &before, &init, initialized, &readiness);
    main.sort_by(|a, b| a.name.cmp(&b.name)); // as upstream; init containers stay in their order
    let mut status = PodStatus {
        phase: Some(phase.into()),
        observed_generation: view.pod.metadata.generation,
        conditions: Some(conditions),
        host_ip: Some(node_ip.to_string()),
        host_ips: Some(vec![HostIP { ip: node_ip.to_string() }]),
        pod_ips: ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: ip,
        start_time: before.start_time.or(Some(Time(view.now))),
        container_statuses: Some(main),
        init_container_statuses: has_init.then_some(init),
        ephemeral_container_statuses: ephemeral::statuses(view, waiting),
        qos_class: Some(qos_class(view.pod).into()),
        message: match done || before.reason.is_some() {
            true => before.message,
            false => not_honored(view),
        },
        reason: before.reason,
        ..PodStatus::default()
    };
    keep_ends(view, &mut status);
    if done && !view.containers.iter().any(|c| c.state == State::Running) {
        end(&mut status, view.now); // also of containers that were never started
    }
    bound_messages(&mut status);
    if was_refused && !has_containers(&status) {
        leave_containers_out(&mut status);
    }
    status
}

/// Facts that decide whether a pod is ready.
struct Readiness<'a> {
    phase: &'a str,
    /// Names of the containers and sidecars that are not ready.
    unready: &'a [&'a str],
    /// Its sandbox is ready.
    has_sandbox: bool,
}

/// Returns the pod's conditions. One container of two is ready:
///
/// ```text
/// PodReadyToStartContainers   True
/// Initialized                 True
/// Ready                       False   ContainersNotReady: containers with unready status: [web]
/// ContainersReady             False   the same
/// PodScheduled                True
/// ```
///
/// With a closed readiness gate and both containers ready, only `Ready` is False.
fn conditions(
    view: &View,
    before: &PodStatus,
    init: &[ContainerStatus],
    initialized: bool,
    readiness: &Readiness,
) -> Vec<PodCondition> {
    let Readiness { phase, unready, has_sandbox } = *readiness;
    let done = phase == "Succeeded" || phase == "Failed";
    let (not_ready_reason, not_ready_message) = match (phase, unready.is_empty()) {
        ("Succeeded", _) => (Some("PodCompleted".to_string()), None),
        ("Failed", _) => (Some("PodFailed".to_string()), None),
        (_, false) => (
            Some("ContainersNotReady".to_string()),
            Some(format!("containers with unready status: [{}]", unready.join(" "))),
        ),
        _ => (None, None),
    };
    let containers_ready = !done && unready.is_empty(); // also in a sandbox that was lost
    let gates = closed_gates(view.pod, before);
    let ready = containers_ready && gates.is_empty();
    let (pod_reason, pod_message) = match containers_ready && !gates.is_empty() {
        true => (Some("ReadinessGatesNotReady".to_string()), Some(gates.join(", "))),
        false => (not_ready_reason.clone(), not_ready_message.clone()),
    };
    let mut conditions = vec![
        condition("PodReadyToStartContainers", has_sandbox, None, None),
        match initialized {
            true => {
                let reason = (phase == "Succeeded").then(|| "PodCompleted".to_string());
                condition("Initialized", true, reason, None)
            }
            false => not_initialized(view, init),
        },
        condition("Ready", ready, pod_reason.filter(|_| !ready), pod_message),
        condition(
            "ContainersReady",
            containers_ready,
            not_ready_reason.filter(|_| !containers_ready),
            not_ready_message,
        ),
        // The pod is on this node, also where a scheduler that did not know it wrote False.
        condition("PodScheduled", true, None, None),
    ];
    keep_conditions(&mut conditions, before.conditions.as_deref().unwrap_or_default());
    for condition in &mut conditions {
        condition.last_transition_time.get_or_insert(Time(view.now));
        // Conditions of others (readiness gates, disruption) were observed by them.
        if OWN.contains(&condition.type_.as_str()) {
            condition.observed_generation = view.pod.metadata.generation;
        }
    }
    conditions
}

/// Returns true for an init container that no other waits for any more: it has ended with 0, or is
/// a sidecar that has started.
fn is_past(spec: &Spec, status: &ContainerStatus) -> bool {
    match View::is_sidecar(spec) {
        true => status.started == Some(true),
        false => terminated(status).is_some_and(|end| end.exit_code == 0),
    }
}

/// Returns true for a regular container that runs or has ended, in whatever sandbox: its pod was
/// initialized then, and counts as that while a new sandbox is being initialized. Source:
/// `HasAnyRegularContainerStarted`.
fn has_run(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
}

/// Returns the condition `Initialized` of a pod that still waits for the init containers that it
/// names. Source: `GeneratePodInitializedCondition`.
fn not_initialized(view: &View, init: &[ContainerStatus]) -> PodCondition {
    let all = view.init_specs().iter().zip(init);
    let open: Vec<&str> =
        all.filter(|(spec, status)| !is_past(spec, status)).map(|(_, status)| status.name.as_str()).collect();
    let message = format!("containers with incomplete status: [{}]", open.join(" "));
    condition("Initialized", false, Some("ContainersNotInitialized".into()), Some(message))
}

/// Keeps the stored status of each container that has ended for good, in place of one that brings
/// it back: the API server refuses that (`ValidateContainerStateTransition` upstream), and the exit
/// code is what the kubelet itself goes by after a restart of the machine.
///
/// ```text
/// OnFailure, stored: exit 0, the runtime has forgotten it    stays so, and is not run again
/// OnFailure, an init container runs again in a new sandbox   shown as it ended before
/// ```
fn keep_ends(view: &View, status: &mut PodStatus) {
    let Some(before) = &view.pod.status else { return };
    for (new, old) in [
        (&mut status.container_statuses, &before.container_statuses),
        (&mut status.init_container_statuses, &before.init_container_statuses),
        (&mut status.ephemeral_container_statuses, &before.ephemeral_container_statuses),
    ] {
        for new in new.iter_mut().flatten() {
            let Some(old) = old.iter().flatten().find(|old| old.name == new.name) else { continue };
            let Some(end) = terminated(old) else { continue };
            // An ephemeral container is in neither list, and never runs again.
            let spec = view.specs().iter().chain(view.init_specs()).find(|spec| spec.name == new.name);
            let may_be_back = spec.is_some_and(|spec| may_restart(view.policy(), spec, end.exit_code));
            if terminated(new).is_none() && !may_be_back {
                *new = old.clone();
            }
        }
    }
}

fn all_containers(status: &mut PodStatus) -> impl Iterator<Item = &mut ContainerStatus> {
    let init = status.init_container_statuses.iter_mut().flatten();
    let ephemeral = status.ephemeral_container_statuses.iter_mut().flatten();
    init.chain(status.container_statuses.iter_mut().flatten()).chain(ephemeral)
}

/// Gives each container an equal share of [`MESSAGES_MAX`] for the messages of its ends, the newest
/// first.
fn bound_messages(status: &mut PodStatus) {
    let share = MESSAGES_MAX / all_containers(status).count().max(1);
    for container in all_containers(status) {
        let mut left = share;
        for state in [&mut container.state, &mut container.last_state].into_iter().flatten() {
            if let Some(message) = state.terminated.as_mut().and_then(|end| end.message.as_mut()) {
                left -= cut(message, left);
            }
        }
    }
}

/// Cuts a text to at most so many bytes of JSON, between two characters. Returns how many it has.
fn cut(text: &mut String, most: usize) -> usize {
    let mut encoded = 0;
    for (at, c) in text.char_indices() {
        let size = match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\0'..='\u{1f}' => 6, // \u001b
            c => c.len_utf8(),
        };
        if encoded + size > most {
            text.truncate(at);
            break;
        }
        encoded += size;
    }
    encoded
}

/// Drops the messages of all containers, and cuts the pod's own, in a status that is too large for
/// the API. Phases, reasons and exit codes stay: controllers decide by them.
pub(crate) fn without_messages(status: &mut PodStatus) {
    for container in all_containers(status) {
        for state in [&mut container.state, &mut container.last_state].into_iter().flatten() {
            if let Some(end) = &mut state.terminated {
                end.message = None;
            }
            if let Some(waiting) = &mut state.waiting {
                waiting.message = None;
            }
        }
    }
    if let Some(message) = &mut status.message {
        cut(message, OWN_MESSAGE_MAX);
    }
}

/// Gives conditions that have not changed the time of their last transition, and adds those that
/// others have set.
pub(crate) fn keep_conditions(conditions: &mut Vec<PodCondition>, before: &[PodCondition]) {
    for old in before {
        match conditions.iter_mut().find(|c| c.type_ == old.type_) {
            Some(new) if new.status == old.status => {
                new.last_transition_time = old.last_transition_time.clone()
            }
            Some(_) => {}
            None => conditions.push(old.clone()),
        }
    }
}

/// Makes the status of a pod whose containers have all ended, because it is over, was deleted or
/// has to fail, a terminal one: Succeeded if all regular containers ended with code 0, else Failed.
/// A Job, for example, may wait for that before it replaces the pod. A container whose end was not
/// seen gets that of one that was lost; in a pod that was never initialized the regular containers
/// stay as they are, and of the init containers those after the last that began. Source:
/// `TerminatePod` in `pkg/kubelet/status/status_manager.go`.
///
/// ```text
/// i1 ended with 0, i2 waits for its image, a waits   ->  the same: Failed
/// i1 waits for its image, a waits                    ->  i1 137, a waits: Failed
/// ```
pub(crate) fn end(status: &mut PodStatus, now: Timestamp) {
    let inits = status.init_container_statuses.as_deref_mut().unwrap_or_default();
    let has_begun = |c: &ContainerStatus| {
        let waits = c.state.as_ref().is_some_and(|state| state.waiting.is_some());
        !waits || c.last_state.as_ref().is_some_and(|last| last.terminated.is_some())
    };
    let begun = inits.iter().rposition(has_begun).unwrap_or(0); // at least the first one
    inits.iter_mut().take(begun + 1).for_each(end_container);
    let conditions = status.conditions.get_or_insert_default();
    if conditions.iter().any(|c| c.type_ == "Initialized" && c.status == "True") {
        for container in status.container_statuses.iter_mut().flatten() {
            end_container(container);
            (container.ready, container.started) = (false, Some(false));
        }
    }
    if !matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        let mut main = status.container_statuses.iter().flatten().peekable();
        let well = main.peek().is_some() && main.all(|c| terminated(c).is_some_and(|t| t.exit_code == 0));
        status.phase = Some(if well { "Succeeded" } else { "Failed" }.into());
    }
    let reason = if status.phase.as_deref() == Some("Succeeded") { "PodCompleted" } else { "PodFailed" };
    for condition in conditions.iter_mut().filter(|c| matches!(c.type_.as_str(), "Ready" | "ContainersReady"))
    {
        if condition.status != "False" {
            condition.status = "False".into();
            condition.last_transition_time = Some(Time(now));
        }
        (condition.reason, condition.message) = (Some(reason.into()), None);
    }
}

/// Makes the state of a container terminated: as `lastState` says if it waits for its restart, else
/// as that of one that was lost.
fn end_container(container: &mut ContainerStatus) {
    if terminated(container).is_some() {
        return;
    }
    let crashed = container.last_state.as_ref().and_then(|last| last.terminated.clone());
    let known = crashed.filter(|last| last.container_id == container.container_id);
    let lost = || unknown_end("The container could not be located when the pod was terminated");
    let end = Some(known.unwrap_or_else(lost));
    container.state = Some(ContainerState { terminated: end, ..ContainerState::default() });
}

/// Returns what the pod asks for and its running containers do not have, one sentence each.
fn not_honored(view: &View) -> Option<String> {
    let of_container = |c: &Container| {
        let say = |warning: &String| format!("container {}: {warning}", c.name);
        c.warnings.iter().map(say).collect::<Vec<_>>()
    };
    let all = view.specs().iter().chain(view.init_specs()).filter_map(|spec| view.current(&spec.name));
    let warnings: Vec<String> = all.filter(|c| c.state == State::Running).flat_map(of_container).collect();
    (!warnings.is_empty()).then(|| warnings.join("; "))
}

/// Returns true if the runtime has made a container of this pod: a kubelet that restarts may refuse
/// a pod that runs.
pub(crate) fn has_containers(status: &PodStatus) -> bool {
    let lists =
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().any(|c| c.container_id.is_some())
}

/// Returns a sentence for each readiness gate whose condition is not True.
fn closed_gates(pod: &Pod, before: &PodStatus) -> Vec<String> {
    let gates = pod.spec.iter().flat_map(|s| s.readiness_gates.iter().flatten());
    let missing = gates.filter_map(|gate| {
        let kind = &gate.condition_type;
        match before.conditions.iter().flatten().find(|c| c.type_ == *kind) {
            None => Some(format!("corresponding condition of pod readiness gate {kind:?} does not exist.")),
            Some(c) if c.status != "True" => {
                Some(format!("the status of pod readiness gate {kind:?} is not \"True\", but {}", c.status))
            }
            Some(_) => None,
        }
    });
    missing.collect()
}

fn condition(kind: &str, status: bool, reason: Option<String>, message: Option<String>) -> PodCondition {
    PodCondition {
        type_: kind.into(),
        status: if status { "True" } else { "False" }.into(),
        reason,
        message,
        ..PodCondition::default()
    }
}

/// Returns the reason and the message of a container whose image could not be pulled for now.
pub(crate) fn pull_back_off(image: &str, error: &cri::Error) -> (String, String) {
    ("ImagePullBackOff".into(), format!("Back-off pulling image {image:?}: ErrImagePull: {}", error.line()))
}

#[cfg(test)]
mod tests;
