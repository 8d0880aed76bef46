//! A pod's status for containers in many states: here phase and conditions.

mod containers;
mod ends;

use super::super::back_off::Backoffs;
use super::super::decide::tests::{container, pod, sandbox};
use super::super::probe::ProbeResults;
use super::Container;
use super::{
    ContainerStatus, Pod, PodCondition, PodStatus, SandboxState, State, Time, Timestamp, View, Waiting,
    condition, differs, of,
};
use cri::Sandbox;
use std::time::Duration;

fn status(pod: &Pod, sandbox: Option<&Sandbox>, containers: &[Container], backoff: Option<u64>) -> PodStatus {
    let backoffs: Backoffs = backoff.map(|s| ("a".into(), Duration::from_secs(s))).into_iter().collect();
    let view = View {
        pod,
        sandbox,
        containers,
        backoffs: &backoffs,
        replaced: &Default::default(),
        probes: &ProbeResults::default(),
        now: Timestamp::from_second(205).unwrap(),
    };
    of(&view, &Waiting::new(), [172, 30, 0, 12].into())
}

fn line(s: &PodStatus) -> String {
    let state = |c: &ContainerStatus| {
        let s = c.state.clone().unwrap_or_default();
        match (s.waiting, s.running, s.terminated) {
            (Some(w), ..) => w.reason.unwrap_or_default(),
            (_, Some(_), _) => "running".into(),
            (.., Some(t)) => format!("exit {}", t.exit_code),
            _ => "?".into(),
        }
    };
    let main: Vec<String> = s.container_statuses.iter().flatten().map(state).collect();
    let ready = s.conditions.iter().flatten().find(|c| c.type_ == "Ready").unwrap().status.clone();
    format!("{} {} ready={ready}", s.phase.clone().unwrap(), main.join(","))
}

use State::{Exited, Running};

#[test]
fn phases_follow_the_containers() {
    let ready = sandbox("s", 0, SandboxState::Ready);
    let always = pod("Always", &[], &["a", "b"]);
    assert_eq!(
        line(&status(&always, None, &[], None)),
        "Pending ContainerCreating,ContainerCreating ready=False"
    );
    let half = [container("a", 0, Running, 0)];
    assert_eq!(
        line(&status(&always, Some(&ready), &half, None)),
        "Pending running,ContainerCreating ready=False"
    );
    let both = [container("a", 0, Running, 0), container("b", 0, Running, 0)];
    assert_eq!(line(&status(&always, Some(&ready), &both, None)), "Running running,running ready=True");
    let crash = [container("a", 3, Exited, 1), container("b", 0, Running, 0)];
    let s = status(&always, Some(&ready), &crash, Some(40));
    assert_eq!(line(&s), "Running CrashLoopBackOff,running ready=False");
    let a = &s.container_statuses.unwrap()[0];
    assert_eq!(
        a.state.clone().unwrap().waiting.unwrap().message.unwrap(),
        "back-off 40s restarting failed container=a pod=p_default(u)"
    );
    assert_eq!(a.restart_count, 3);
    let done = [container("a", 0, Exited, 0), container("b", 0, Exited, 0)];
    assert_eq!(
        line(&status(&pod("Never", &[], &["a", "b"]), Some(&ready), &done, None)),
        "Succeeded exit 0,exit 0 ready=False"
    );
}

fn phase_of(s: &PodStatus) -> &str {
    s.phase.as_deref().unwrap()
}

fn condition_of<'a>(s: &'a PodStatus, kind: &str) -> &'a PodCondition {
    s.conditions.iter().flatten().find(|c| c.type_ == kind).unwrap()
}

#[test]
fn a_sidecar_that_restarts_makes_a_running_pod_unready_and_not_pending() {
    let mut p = pod("Always", &["s"], &["a"]);
    p.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[0].restart_policy = Some("Always".into());
    let ready = sandbox("s", 0, SandboxState::Ready);
    for code in [0, 1] {
        let containers = [container("s", 0, Exited, code), container("a", 0, Running, 0)];
        let s = status(&p, Some(&ready), &containers, None);
        assert_eq!(phase_of(&s), "Running");
        assert_eq!(condition_of(&s, "Initialized").status, "True");
        let ready_condition = condition_of(&s, "Ready");
        assert_eq!(ready_condition.status, "False", "exit code {code}");
        assert_eq!(ready_condition.message.as_deref(), Some("containers with unready status: [s]"));
    }
    let alone = status(&p, Some(&ready), &[container("s", 0, Exited, 0)], None);
    assert_eq!((phase_of(&alone), condition_of(&alone, "Initialized").status.as_str()), ("Pending", "False"));
}

#[test]
fn a_pod_that_has_run_is_pending_while_its_next_sandbox_is_initialized() {
    let (p, next) = (pod("Always", &["i"], &["a"]), sandbox("t", 1, SandboxState::Ready));
    let again = Container { sandbox_id: "t".into(), ..container("i", 1, Running, 0) };
    let all = [container("i", 0, Exited, 0), container("a", 0, Exited, 137), again];
    let s = status(&p, Some(&next), &all, None);
    assert_eq!(line(&s), "Pending exit 137 ready=False");
    assert_eq!(condition_of(&s, "Initialized").status, "True");
    let mut kept = pod("OnFailure", &["i"], &["a"]);
    kept.status = Some(status(&kept, Some(&sandbox("s", 0, SandboxState::Ready)), &all[..2], None));
    assert_eq!(phase_of(&status(&kept, Some(&next), &all, None)), "Running", "i is shown as it ended");
    let first = status(&p, Some(&next), &all[2..], None);
    assert_eq!(phase_of(&first), "Pending");
}

#[test]
fn a_sidecar_that_has_started_is_not_incomplete() {
    let mut p = pod("Always", &["s", "i"], &["a"]);
    p.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[0].restart_policy = Some("Always".into());
    let ready = sandbox("s", 0, SandboxState::Ready);
    let containers = [container("s", 0, Running, 0), container("i", 0, Running, 0)];
    let s = status(&p, Some(&ready), &containers, None);
    let initialized_condition = condition_of(&s, "Initialized");
    assert_eq!(initialized_condition.message.as_deref(), Some("containers with incomplete status: [i]"));
    let s = status(&p, Some(&ready), &[container("s", 0, Exited, 1)], None);
    let initialized_condition = condition_of(&s, "Initialized");
    assert_eq!(initialized_condition.message.as_deref(), Some("containers with incomplete status: [s i]"));
}

/// Also one that was never scheduled, and one whose scheduler did not hear that it was.
#[test]
fn a_pod_on_a_node_is_scheduled() {
    let mut p = pod("Always", &[], &["a"]);
    for before in [None, Some("False")] {
        let said = before.map(|said| vec![condition("PodScheduled", said == "True", None, None)]);
        p.status = Some(PodStatus { conditions: said, ..PodStatus::default() });
        let now = status(&p, None, &[], None);
        let scheduled = now.conditions.iter().flatten().filter(|c| c.type_ == "PodScheduled");
        assert_eq!(scheduled.map(|c| c.status.as_str()).collect::<Vec<_>>(), ["True"], "{before:?}");
    }
}

#[test]
fn unchanged_conditions_keep_their_time_and_strangers_stay() {
    let ready = sandbox("s", 0, SandboxState::Ready);
    let mut p = pod("Always", &[], &["a"]);
    let run = [container("a", 0, Running, 0)];
    let mut first = status(&p, Some(&ready), &run, None);
    let mut foreign = condition("example.com/ready", true, None, None);
    foreign.last_transition_time = Some(Time(Timestamp::from_second(1).unwrap()));
    first.conditions.as_mut().unwrap().push(foreign);
    for c in first.conditions.iter_mut().flatten() {
        c.last_transition_time = Some(Time(Timestamp::from_second(1).unwrap()));
    }
    p.status = Some(first.clone());
    let second = status(&p, Some(&ready), &run, None);
    assert!(
        second
            .conditions
            .iter()
            .flatten()
            .all(|c| c.last_transition_time == Some(Time(Timestamp::from_second(1).unwrap())))
    );
    assert!(second.conditions.iter().flatten().any(|c| c.type_ == "example.com/ready"));
    assert!(differs(None, &second));
}

#[test]
fn the_status_says_what_a_container_does_not_have_and_what_was_observed() {
    let ready = sandbox("s", 0, SandboxState::Ready);
    let mut p = pod("Always", &[], &["a"]);
    p.metadata.generation = Some(7);
    let mut c = container("a", 0, Running, 0);
    c.warnings = vec!["it has no SYS_TIME".into()];
    let foreign = condition("example.com/gate", true, None, None);
    p.status = Some(PodStatus { conditions: Some(vec![foreign]), ..PodStatus::default() });
    let s = status(&p, Some(&ready), &[c], None);
    assert_eq!(s.message.as_deref(), Some("container a: it has no SYS_TIME"));
    assert_eq!(s.observed_generation, Some(7));
    let observed = |c: &PodCondition| c.observed_generation == (!c.type_.contains('/')).then_some(7);
    assert!(s.conditions.unwrap().iter().all(observed));
}

/// A pod with amounts as a whole only is not `BestEffort`: the API server says the same of it.
#[test]
fn the_class_of_the_status_honours_the_amounts_of_the_whole_pod() {
    let mut pod = pod("Always", &[], &["a"]);
    let whole = serde_json::json!({"limits": {"cpu": "1", "memory": "1Gi"}});
    pod.spec.as_mut().unwrap().resources = serde_json::from_value(whole).unwrap();
    let status = status(&pod, None, &[], None);
    assert_eq!(status.qos_class.as_deref(), Some("Guaranteed"));
}
