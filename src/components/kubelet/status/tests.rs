//! A pod's status for containers in many states.

use super::super::decide::tests::{container, pod, sandbox};
use super::super::probe::ProbeResults;
use super::super::view::Backoffs;
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

#[test]
fn a_container_that_was_lost_with_the_machine_has_ended_or_counts_on() {
    let before = |policy: &str| {
        let mut p = pod(policy, &[], &["a"]);
        p.status = Some(status(
            &p,
            Some(&sandbox("s", 0, SandboxState::Ready)),
            &[container("a", 2, Running, 0)],
            None,
        ));
        p
    };
    let never = before("Never");
    let s = status(&never, None, &[], None);
    assert_eq!(line(&s), "Failed exit 137 ready=False");
    let a = &s.container_statuses.as_ref().unwrap()[0];
    let end = a.state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((end.reason.as_deref(), a.restart_count), (Some("ContainerStatusUnknown"), 2));
    let mut always = before("Always");
    for _ in 0..2 {
        // The second time from what was written the first time: the count is the same.
        always.status = Some(status(&always, None, &[], None));
        let s = always.status.as_ref().unwrap();
        let a = &s.container_statuses.as_ref().unwrap()[0];
        assert_eq!((a.restart_count, a.container_id.as_ref()), (3, None));
        assert_eq!(a.last_state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 137);
    }
    let again = [Container { id: "new".into(), ..container("a", 3, Running, 0) }];
    let s = status(&always, Some(&sandbox("s", 0, SandboxState::Ready)), &again, None);
    let a = &s.container_statuses.as_ref().unwrap()[0];
    assert_eq!(a.restart_count, 3);
    assert_eq!(a.last_state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 137);
}

/// Otherwise it is shown as one that waits, and the kubelet forgets that it is done and runs it
/// again.
#[test]
fn a_container_that_has_ended_for_good_stays_so_when_the_machine_was_restarted() {
    let ready = sandbox("s", 0, SandboxState::Ready);
    let mut p = pod("OnFailure", &["i"], &["a", "b"]);
    let all = [container("i", 0, Exited, 0), container("a", 0, Exited, 0), container("b", 0, Running, 0)];
    p.status = Some(status(&p, Some(&ready), &all, None));
    for _ in 0..2 {
        let s = status(&p, None, &[], None);
        assert_eq!(line(&s), "Pending exit 0,PodInitializing ready=False");
        let init = &s.init_container_statuses.as_ref().unwrap()[0];
        assert!(super::terminated(init).is_some(), "{init:?}");
        p.status = Some(s);
    }
    let next = sandbox("t", 1, SandboxState::Ready);
    let again = [Container { sandbox_id: "t".into(), ..container("i", 1, Running, 0) }];
    let s = status(&p, Some(&next), &again, None);
    let init = &s.init_container_statuses.as_ref().unwrap()[0];
    assert_eq!(super::terminated(init).unwrap().exit_code, 0, "the API server takes nothing else");
    let ended = [Container { sandbox_id: "t".into(), ..container("i", 1, Exited, 0) }];
    let s = status(&p, Some(&next), &ended, None);
    assert_eq!(s.init_container_statuses.unwrap()[0].restart_count, 1, "its next end is in the status");
}

/// The end of a container that is ended for its new image is not in the status: it could not be
/// taken back.
#[test]
fn a_container_that_changes_its_image_waits_whatever_its_policy() {
    let (ready, p) = (sandbox("s", 0, SandboxState::Ready), pod("Never", &[], &["a"]));
    let (backoffs, probes) = (Backoffs::new(), ProbeResults::default());
    let ended = [container("a", 0, Exited, 137)];
    let state = |pod: &Pod, replaced: &[&str]| {
        let replaced = replaced.iter().map(|id| (*id).to_string()).collect();
        let view = View {
            pod,
            sandbox: Some(&ready),
            containers: &ended,
            backoffs: &backoffs,
            replaced: &replaced,
            probes: &probes,
            now: Timestamp::from_second(205).unwrap(),
        };
        line(&of(&view, &Waiting::new(), [172, 30, 0, 12].into()))
    };
    assert_eq!(state(&p, &["a-0"]), "Running ContainerCreating ready=False");
    assert_eq!(state(&p, &[]), "Failed exit 137 ready=False");
    let mut over = p.clone();
    over.status = Some(PodStatus { phase: Some("Failed".into()), ..PodStatus::default() });
    assert_eq!(state(&over, &["a-0"]), "Failed exit 137 ready=False", "nothing of it runs again");
}

#[test]
fn a_deleted_pod_ends_in_a_terminal_phase() {
    let ready = sandbox("s", 0, SandboxState::NotReady);
    let ended = |policy: &str, containers: &[Container], backoff| {
        let mut s = status(&pod(policy, &[], &["a"]), Some(&ready), containers, backoff);
        super::end(&mut s, Timestamp::from_second(300).unwrap());
        let ready_condition = condition_of(&s, "Ready");
        assert_eq!((ready_condition.status.as_str(), ready_condition.message.as_ref()), ("False", None));
        (line(&s), ready_condition.reason.clone().unwrap())
    };
    let failed = |line: &str| (format!("Failed {line} ready=False"), "PodFailed".to_string());
    assert_eq!(
        ended("Always", &[container("a", 0, Exited, 0)], None),
        ("Succeeded exit 0 ready=False".into(), "PodCompleted".into())
    );
    assert_eq!(ended("OnFailure", &[container("a", 0, Exited, 137)], None), failed("exit 137"));
    assert_eq!(
        ended("Always", &[container("a", 1, Exited, 3)], Some(40)),
        failed("exit 3"),
        "in its back-off"
    );
    assert_eq!(ended("Always", &[], None), failed("exit 137"), "its image was never pulled");
    let mut waits = status(&pod("Never", &["i"], &["a"]), None, &[], None);
    super::end(&mut waits, Timestamp::UNIX_EPOCH);
    assert_eq!(line(&waits), "Failed PodInitializing ready=False");
    // Of init containers the last one that began has ended, and the first one in any case.
    let inits = |containers: &[Container]| {
        let mut s = status(&pod("Never", &["i", "j", "k"], &["a"]), Some(&ready), containers, None);
        super::end(&mut s, Timestamp::UNIX_EPOCH);
        let code = |c: &ContainerStatus| super::terminated(c).map(|end| end.exit_code);
        s.init_container_statuses.iter().flatten().map(code).collect::<Vec<_>>()
    };
    assert_eq!(inits(&[]), [Some(137), None, None]);
    let done = container("i", 0, Exited, 0);
    assert_eq!(inits(std::slice::from_ref(&done)), [Some(0), None, None]);
    assert_eq!(inits(&[done, container("j", 0, Exited, 3)]), [Some(0), Some(3), None]);
}

/// Nothing of it runs again, so it does not wait for that, and its sidecars do not either.
#[test]
fn a_crashed_container_of_a_deleted_pod_has_ended_and_waits_for_nothing() {
    let mut p = pod("Always", &["a"], &["b"]);
    p.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[0].restart_policy = Some("Always".into());
    let ready = sandbox("s", 0, SandboxState::Ready);
    let containers = [container("a", 1, Exited, 3), container("b", 0, Running, 0)];
    let sidecar = |pod: &Pod| {
        let s = status(pod, Some(&ready), &containers, Some(40));
        let state = s.init_container_statuses.unwrap().remove(0).state.unwrap();
        (state.waiting.and_then(|w| w.reason), state.terminated.map(|t| t.exit_code))
    };
    assert_eq!(sidecar(&p), (Some("CrashLoopBackOff".into()), None));
    p.metadata.deletion_timestamp = Some(Time(Timestamp::from_second(204).unwrap()));
    assert_eq!(sidecar(&p), (None, Some(3)));
}

#[test]
fn an_init_container_is_ready_when_its_work_is_done() {
    let mut p = pod("Always", &["i"], &["a"]);
    let ready = sandbox("s", 0, SandboxState::Ready);
    let is_ready = |pod: &Pod, state, code| {
        let s = status(pod, Some(&ready), &[container("i", 0, state, code)], None);
        s.init_container_statuses.unwrap()[0].ready
    };
    assert_eq!(
        [is_ready(&p, Running, 0), is_ready(&p, Exited, 1), is_ready(&p, Exited, 0)],
        [false, false, true]
    );
    p.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[0].restart_policy = Some("Always".into());
    assert!(is_ready(&p, Running, 0), "a sidecar's work is to run");
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
fn a_pod_that_was_evicted_stays_failed_while_its_containers_end() {
    let ready = sandbox("s", 0, SandboxState::Ready);
    let mut p = pod("Always", &[], &["a"]);
    let run = [container("a", 0, Running, 0)];
    let mut failed = status(&p, Some(&ready), &run, None);
    super::Failure::evicted("too much".into()).mark(&mut failed, Timestamp::UNIX_EPOCH, Some(1));
    p.status = Some(failed);
    for containers in [&run[..], &[container("a", 0, Exited, 137)][..], &[][..]] {
        let s = status(&p, Some(&ready), containers, None);
        assert_eq!((s.phase.as_deref(), s.reason.as_deref()), (Some("Failed"), Some("Evicted")));
        assert_eq!(s.message.as_deref(), Some("too much"));
        let disrupted = s.conditions.iter().flatten().find(|c| c.type_ == "DisruptionTarget").unwrap();
        assert_eq!(disrupted.reason.as_deref(), Some("TerminationByKubelet"));
        assert!(s.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "False"));
    }
}

/// Also for a kubelet that was started again since, and when the pod is deleted.
#[test]
fn nothing_is_told_of_containers_of_a_pod_that_was_refused() {
    let mut p = pod("Always", &["init"], &["a"]);
    let ready = status(&p, None, &[], None);
    let mut refused = ready.clone();
    super::Failure::rejected("OutOfcpu", "no".into()).mark(&mut refused, Timestamp::UNIX_EPOCH, None);
    p.status = Some(refused);
    let later = status(&p, None, &[], None);
    for rejected in [p.status.as_ref().unwrap(), &later] {
        assert_eq!(
            (rejected.phase.as_deref(), rejected.reason.as_deref()),
            (Some("Failed"), Some("OutOfcpu"))
        );
        assert!(rejected.container_statuses.is_none() && rejected.init_container_statuses.is_none());
        assert!(rejected.conditions.iter().flatten().all(|c| c.type_ != "Ready"), "{rejected:?}");
    }
    let sandbox = sandbox("s", 0, SandboxState::Ready);
    p.status = None;
    let mut ran = status(&p, Some(&sandbox), &[container("a", 0, Running, 0)], None);
    super::Failure::rejected("OutOfcpu", "no".into()).mark(&mut ran, Timestamp::UNIX_EPOCH, None);
    assert!(ran.container_statuses.is_some(), "it ran before the kubelet was started again");
}

#[test]
fn statuses_are_sorted_by_name_and_those_of_init_containers_are_not() {
    let mut p = pod("Always", &["second", "first"], &["web", "app"]);
    let extra = serde_json::json!([{"name": "z", "image": "i"}, {"name": "d", "image": "i"}]);
    p.spec.as_mut().unwrap().ephemeral_containers = serde_json::from_value(extra).unwrap();
    let status = status(&p, None, &[], None);
    let names = |all: Option<Vec<ContainerStatus>>| -> Vec<String> {
        all.into_iter().flatten().map(|s| s.name).collect()
    };
    assert_eq!(names(status.container_statuses), ["app", "web"]);
    assert_eq!(names(status.ephemeral_container_statuses), ["d", "z"]);
    assert_eq!(names(status.init_container_statuses), ["second", "first"]);
}

/// A Job may ignore disruptions and must not ignore these.
#[test]
fn a_pod_that_exceeds_its_own_limits_is_not_disrupted() {
    let disrupted = |failure: super::Failure| {
        let mut status = PodStatus::default();
        failure.mark(&mut status, Timestamp::UNIX_EPOCH, None);
        assert_eq!((status.reason.as_deref(), status.message.as_deref()), (Some("Evicted"), Some("why")));
        status.conditions.unwrap().iter().any(|c| c.type_ == "DisruptionTarget")
    };
    assert!(disrupted(super::Failure::evicted("why".into())));
    assert!(!disrupted(super::Failure::excessive("why".into())));
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

#[test]
fn the_last_words_of_all_containers_share_a_bound_as_they_are_encoded() {
    let names: Vec<String> = (0..100).map(|n| format!("c{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ended_with = |text: &str| -> Vec<Container> {
        let end = |name: &&str| Container { message: text.into(), ..container(name, 0, Exited, 1) };
        names.iter().map(end).collect()
    };
    let ready = sandbox("s", 0, SandboxState::Ready);
    let pod = pod("Never", &[], &names);
    let messages = |s: &PodStatus| -> Vec<String> {
        let all = s.container_statuses.iter().flatten();
        all.filter_map(|c| c.state.as_ref()?.terminated.as_ref()?.message.clone()).collect()
    };
    for text in ["x".repeat(4096), "\u{1}\n\"".repeat(1000), "말".repeat(1000)] {
        let mut s = status(&pod, Some(&ready), &ended_with(&text), None);
        let all = messages(&s);
        let encoded = |m: &String| serde_json::to_string(m).unwrap().len() - 2; // without the quotes
        assert!(all.len() == 100 && all.iter().all(|m| !m.is_empty() && text.starts_with(m.as_str())));
        assert!(all.iter().map(encoded).sum::<usize>() <= super::MESSAGES_MAX);
        s.message = Some("y".repeat(5000));
        super::without_messages(&mut s);
        assert_eq!((messages(&s).len(), s.message.map(|m| m.len())), (0, Some(super::OWN_MESSAGE_MAX)));
    }
    let short = status(&pod, Some(&ready), &ended_with("done"), None);
    assert!(messages(&short).iter().all(|m| m == "done"));
}

/// As upstream: the one that could not be started, too, although its sandbox is stopped by now.
#[test]
fn a_pod_that_ends_at_once_has_its_address() {
    let (mut p, stopped) = (pod("Never", &[], &["a"]), sandbox("s", 0, SandboxState::NotReady));
    let ended = [container("a", 0, Exited, 128)];
    let shown = status(&p, Some(&stopped), &ended, None);
    assert_eq!((phase_of(&shown), shown.pod_ip.as_deref()), ("Failed", Some("10.244.1.2")));
    p.status = Some(PodStatus { phase: Some("Failed".into()), ..PodStatus::default() });
    assert_eq!(status(&p, Some(&stopped), &ended, None).pod_ip, None, "it was over without one");
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

#[test]
fn the_status_of_a_container_says_what_it_was_given() {
    let mut pod = pod("Always", &[], &["a", "b"]);
    let asked = serde_json::json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "1", "memory": "64Mi"}});
    pod.spec.as_mut().unwrap().containers[0].resources = serde_json::from_value(asked.clone()).unwrap();
    let ready = sandbox("s", 0, SandboxState::Ready);
    let (made, none) =
        ([container("a", 0, Running, 0), container("b", 0, Running, 0)], serde_json::Value::Null);
    for (containers, of_a, of_b) in
        [(&[][..], &none, none.clone()), (&made[..], &asked, serde_json::json!({}))]
    {
        let shown = serde_json::to_value(status(&pod, Some(&ready), containers, None)).unwrap();
        let [a, b] = [0_usize, 1].map(|at| &shown["containerStatuses"][at]);
        assert_eq!((&a["resources"], &a["allocatedResources"]), (of_a, &of_a["requests"]));
        assert_eq!((&b["resources"], &b["allocatedResources"]), (&of_b, &none));
    }
}

#[test]
fn the_status_of_a_container_says_what_it_mounts_and_as_whom_it_runs() {
    let mut pod = pod("Always", &[], &["a", "b"]);
    let mounts = serde_json::json!([
        {"name": "v", "mountPath": "/v", "readOnly": false},
        {"name": "c", "mountPath": "/c", "readOnly": true},
        {"name": "w", "mountPath": "/w", "readOnly": true, "recursiveReadOnly": "IfPossible"},
    ]);
    pod.spec.as_mut().unwrap().containers[0].volume_mounts = serde_json::from_value(mounts).unwrap();
    let mut made = [container("a", 0, State::Running, 0), container("b", 0, State::Running, 0)];
    made[0].user = Some(cri::User { uid: 1000, gid: 3000, groups: vec![3000, 4000] });
    let ready = sandbox("s", 0, SandboxState::Ready);
    let shown = |containers: &[Container]| {
        let shown = serde_json::to_value(status(&pod, Some(&ready), containers, None)).unwrap();
        shown["containerStatuses"].clone()
    };
    let want = serde_json::json!([
        {"name": "v", "mountPath": "/v"},
        {"name": "c", "mountPath": "/c", "readOnly": true, "recursiveReadOnly": "Disabled"},
        {"name": "w", "mountPath": "/w", "readOnly": true, "recursiveReadOnly": "Enabled"},
    ]);
    for containers in [<&[Container]>::default(), made.as_slice()] {
        let shown = shown(containers);
        assert_eq!((&shown[0]["volumeMounts"], shown[1]["volumeMounts"].is_null()), (&want, true));
    }
    let user = serde_json::json!({"linux": {"uid": 1000, "gid": 3000, "supplementalGroups": [3000, 4000]}});
    assert_eq!((&shown(&made)[0]["user"], shown(&made)[1]["user"].is_null()), (&user, true));
    assert!(shown(&[])[0]["user"].is_null(), "it runs as no user yet");
}
