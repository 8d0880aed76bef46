//! A pod that has ended, that is being deleted, or whose containers were lost with the machine.

use super::*;
use crate::status::{Failure, end, terminated};

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
        assert!(terminated(init).is_some(), "{init:?}");
        p.status = Some(s);
    }
    let next = sandbox("t", 1, SandboxState::Ready);
    let again = [Container { sandbox_id: "t".into(), ..container("i", 1, Running, 0) }];
    let s = status(&p, Some(&next), &again, None);
    let init = &s.init_container_statuses.as_ref().unwrap()[0];
    assert_eq!(terminated(init).unwrap().exit_code, 0, "the API server takes nothing else");
    let ended = [Container { sandbox_id: "t".into(), ..container("i", 1, Exited, 0) }];
    let s = status(&p, Some(&next), &ended, None);
    assert_eq!(s.init_container_statuses.unwrap()[0].restart_count, 1, "its next end is in the status");
}

#[test]
fn a_deleted_pod_ends_in_a_terminal_phase() {
    let ready = sandbox("s", 0, SandboxState::NotReady);
    let ended = |policy: &str, containers: &[Container], backoff| {
        let mut s = status(&pod(policy, &[], &["a"]), Some(&ready), containers, backoff);
        end(&mut s, Timestamp::from_second(300).unwrap());
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
    end(&mut waits, Timestamp::UNIX_EPOCH);
    assert_eq!(line(&waits), "Failed PodInitializing ready=False");
    // Of init containers the last one that began has ended, and the first one in any case.
    let inits = |containers: &[Container]| {
        let mut s = status(&pod("Never", &["i", "j", "k"], &["a"]), Some(&ready), containers, None);
        end(&mut s, Timestamp::UNIX_EPOCH);
        let code = |c: &ContainerStatus| terminated(c).map(|end| end.exit_code);
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
fn a_pod_that_was_evicted_stays_failed_while_its_containers_end() {
    let ready = sandbox("s", 0, SandboxState::Ready);
    let mut p = pod("Always", &[], &["a"]);
    let run = [container("a", 0, Running, 0)];
    let mut failed = status(&p, Some(&ready), &run, None);
    Failure::evicted("too much".into()).mark(&mut failed, Timestamp::UNIX_EPOCH, Some(1));
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
fn a_pod_that_was_refused_shows_no_containers() {
    let mut p = pod("Always", &["init"], &["a"]);
    let ready = status(&p, None, &[], None);
    let mut refused = ready.clone();
    Failure::rejected("OutOfcpu", "no".into()).mark(&mut refused, Timestamp::UNIX_EPOCH, None);
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
    Failure::rejected("OutOfcpu", "no".into()).mark(&mut ran, Timestamp::UNIX_EPOCH, None);
    assert!(ran.container_statuses.is_some(), "it ran before the kubelet was started again");
}

/// A Job may ignore disruptions and must not ignore these.
#[test]
fn a_pod_that_exceeds_its_own_limits_is_not_disrupted() {
    let disrupted = |failure: Failure| {
        let mut status = PodStatus::default();
        failure.mark(&mut status, Timestamp::UNIX_EPOCH, None);
        assert_eq!((status.reason.as_deref(), status.message.as_deref()), (Some("Evicted"), Some("why")));
        status.conditions.unwrap().iter().any(|c| c.type_ == "DisruptionTarget")
    };
    assert!(disrupted(Failure::evicted("why".into())));
    assert!(!disrupted(Failure::excessive("why".into())));
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
