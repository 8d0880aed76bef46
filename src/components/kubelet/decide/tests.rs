use super::super::back_off::{Backoffs, RESET_AFTER};
use super::super::probe::{Kind, ProbeResults, Probed};
use super::super::view::{HASH, hash};
use super::*;
use clock::Timestamp;
use cri::{PodId, Sandbox, SandboxState};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

pub(crate) fn pod(policy: &str, init: &[&str], main: &[&str]) -> Pod {
    let names = |names: &[&str]| -> Vec<serde_json::Value> {
        names.iter().map(|n| serde_json::json!({"name": n, "image": "nginx"})).collect()
    };
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p", "namespace": "default", "uid": "u"},
        "spec": {"restartPolicy": policy, "initContainers": names(init), "containers": names(main)},
    }))
    .unwrap()
}

pub(crate) fn sandbox(id: &str, attempt: u32, state: SandboxState) -> Sandbox {
    Sandbox {
        id: id.into(),
        pod: PodId { namespace: "default".into(), name: "p".into(), uid: "u".into() },
        attempt,
        state,
        created_at: Timestamp::UNIX_EPOCH,
        ip: Some([10, 244, 1, 2].into()),
    }
}

pub(crate) fn container(name: &str, attempt: u32, state: ContainerState, exit_code: i32) -> Container {
    let at = |s| Some(Timestamp::from_second(s).unwrap());
    let exited = state == ContainerState::Exited;
    Container {
        id: format!("{name}-{attempt}"),
        sandbox_id: "s".into(),
        name: name.into(),
        attempt,
        state,
        image: "nginx".into(),
        image_id: "sha256:1".into(),
        created_at: at(100).unwrap(),
        started_at: at(100),
        finished_at: if exited { at(200) } else { None },
        exit_code,
        reason: if exit_code == 0 { "Completed".into() } else { "Error".into() },
        message: String::new(),
        warnings: Vec::new(),
        user: None,
        log_path: PathBuf::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    }
}

fn steps(pod: &Pod, sandbox: Option<&Sandbox>, containers: &[Container], backoff: Option<u64>) -> Vec<Step> {
    let backoffs = backoff.map(|s| ("a".to_string(), Duration::from_secs(s))).into_iter().collect();
    probed(pod, sandbox, containers, &backoffs, &ProbeResults::default())
}

fn probed(
    pod: &Pod,
    sandbox: Option<&Sandbox>,
    containers: &[Container],
    backoffs: &Backoffs,
    probes: &ProbeResults,
) -> Vec<Step> {
    let now = Timestamp::from_second(205).unwrap();
    decide(&View { pod, sandbox, containers, backoffs, replaced: &HashSet::new(), probes, now })
}

/// Made from this definition.
fn made_from(spec: &Spec, mut c: Container) -> Container {
    c.annotations.insert(HASH.into(), hash(spec));
    c
}

fn start(name: &str, init: bool, attempt: u32) -> Step {
    Step::Start { name: name.into(), init, attempt }
}

use ContainerState::{Exited, Running};

#[test]
fn a_pod_grows_sandbox_first_then_init_containers_one_by_one_then_the_rest() {
    let pod = pod("Always", &["i", "j"], &["a", "b"]);
    let ready = sandbox("s", 0, SandboxState::Ready);
    assert_eq!(steps(&pod, None, &[], None), [Step::CreateSandbox { attempt: 0 }]);
    assert_eq!(steps(&pod, Some(&ready), &[], None), [start("i", true, 0)]);
    assert_eq!(steps(&pod, Some(&ready), &[container("i", 0, Running, 0)], None), []);
    let i = container("i", 0, Exited, 0);
    assert_eq!(steps(&pod, Some(&ready), std::slice::from_ref(&i), None), [start("j", true, 0)]);
    let both = [i, container("j", 0, Exited, 0)];
    assert_eq!(steps(&pod, Some(&ready), &both, None), [start("a", false, 0), start("b", false, 0)]);
}

#[test]
fn a_crash_restarts_at_once_and_later_after_its_back_off() {
    let pod = pod("Always", &[], &["a"]);
    let ready = sandbox("s", 0, SandboxState::Ready);
    let crashed = [container("a", 0, Exited, 1)];
    assert_eq!(steps(&pod, Some(&ready), &crashed, None), [start("a", false, 1)]);
    assert_eq!(steps(&pod, Some(&ready), &crashed, Some(10)), [Step::LookAgain(Duration::from_secs(5))]);
    assert_eq!(steps(&pod, Some(&ready), &crashed, Some(5)), [start("a", false, 1)]);
    let [mut ran_well] = crashed;
    ran_well.started_at = ran_well.finished_at.map(|at| clock::before(at, RESET_AFTER));
    assert_eq!(steps(&pod, Some(&ready), &[ran_well], Some(300)), [start("a", false, 1)]);
}

#[test]
fn restart_policies_decide_when_a_pod_is_done() {
    let ready = sandbox("s", 0, SandboxState::Ready);
    let (well, ill) = ([container("a", 0, Exited, 0)], [container("a", 0, Exited, 2)]);
    let stop = [Step::StopSandbox { id: "s".into() }];
    assert_eq!(steps(&pod("Never", &[], &["a"]), Some(&ready), &ill, None), stop);
    assert_eq!(steps(&pod("OnFailure", &[], &["a"]), Some(&ready), &well, None), stop);
    assert_eq!(steps(&pod("OnFailure", &[], &["a"]), Some(&ready), &ill, None), [start("a", false, 1)]);
    assert_eq!(steps(&pod("Always", &[], &["a"]), Some(&ready), &well, None), [start("a", false, 1)]);
}

#[test]
fn another_image_ends_the_container_and_starts_it_anew_without_back_off() {
    let ready = sandbox("s", 0, SandboxState::Ready);
    let old = pod("Never", &[], &["a"]).spec.unwrap().containers.remove(0);
    let mut pod = pod("Never", &[], &["a"]);
    let running = [made_from(&old, container("a", 0, Running, 0))];
    assert_eq!(steps(&pod, Some(&ready), &running, None), []);
    pod.spec.as_mut().unwrap().containers[0].image = Some("nginx:1.27".into());
    let stop = Step::Stop { name: "a".into(), id: "a-0".into(), why: Why::Changed };
    assert_eq!(steps(&pod, Some(&ready), &running, None), [stop]);
    let ended = [made_from(&old, container("a", 0, Exited, 137))];
    let next = |replaced: &HashSet<String>| {
        let (backoffs, probes) =
            ([("a".to_string(), Duration::from_secs(10))].into(), ProbeResults::default());
        let (sandbox, now) = (Some(&ready), Timestamp::from_second(205).unwrap());
        let (pod, containers) = (&pod, &ended);
        decide(&View { pod, sandbox, containers, backoffs: &backoffs, replaced, probes: &probes, now })
    };
    assert_eq!(next(&["a-0".to_string()].into()), [start("a", false, 1)]);
    let done = [Step::StopSandbox { id: "s".into() }];
    assert_eq!(next(&HashSet::new()), done, "it had ended before its image was edited");
    let new = pod.spec.as_ref().unwrap().containers[0].clone();
    let crashed = [made_from(&new, container("a", 1, Exited, 1))];
    assert_eq!(steps(&pod, Some(&ready), &crashed, Some(10)), [Step::StopSandbox { id: "s".into() }]);
}

#[test]
fn a_container_that_a_probe_gave_up_is_ended_and_then_restarts_as_after_a_crash() {
    let pod = pod("Always", &[], &["a"]);
    let ready = sandbox("s", 0, SandboxState::Ready);
    let probes =
        ProbeResults { failed: [("a".to_string(), Kind::Liveness)].into(), ..ProbeResults::default() };
    let running = [container("a", 0, Running, 0)];
    let stop = Step::Stop { name: "a".into(), id: "a-0".into(), why: Why::Failed(Kind::Liveness) };
    assert_eq!(probed(&pod, Some(&ready), &running, &Backoffs::new(), &probes), [stop]);
    let ended = [container("a", 0, Exited, 137)];
    assert_eq!(steps(&pod, Some(&ready), &ended, Some(10)), [Step::LookAgain(Duration::from_secs(5))]);
}

#[test]
fn others_wait_until_a_sidecar_has_started_and_it_ends_after_them() {
    let mut pod = pod("Never", &["s"], &["a"]);
    pod.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[0].restart_policy = Some("Always".into());
    let ready = sandbox("s", 0, SandboxState::Ready);
    let probes = |started| ProbeResults {
        probed: [("s".to_string(), Probed { started: Some(started), ready: None })].into(),
        ..ProbeResults::default()
    };
    let sidecar = container("s", 0, Running, 0);
    let alone = std::slice::from_ref(&sidecar);
    let none = Backoffs::new();
    assert_eq!(probed(&pod, Some(&ready), alone, &none, &probes(false)), []);
    assert_eq!(probed(&pod, Some(&ready), alone, &none, &probes(true)), [start("a", false, 0)]);
    let done = [sidecar.clone(), container("a", 0, Exited, 0)];
    let stop = Step::Stop { name: "s".into(), id: "s-0".into(), why: Why::Over };
    assert_eq!(probed(&pod, Some(&ready), &done, &none, &probes(true)), [stop]);
    let both = [container("s", 0, Exited, 0), container("a", 0, Exited, 0)];
    assert_eq!(steps(&pod, Some(&ready), &both, None), [Step::StopSandbox { id: "s".into() }]);
}

#[test]
fn sidecars_end_after_the_containers_and_in_reverse() {
    let mut pod = pod("Always", &["i", "s", "t"], &["a", "b"]);
    for sidecar in [1, 2] {
        pod.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[sidecar].restart_policy =
            Some("Always".into());
    }
    let turns = |running: &[&'static str]| -> Vec<&str> {
        running.iter().copied().filter(|name| is_turn(&pod, name, running)).collect()
    };
    assert_eq!(turns(&["a", "s", "b", "t"]), ["a", "b"]);
    assert_eq!(turns(&["s", "t", "debugger"]), ["t", "debugger"], "no sidecar waits for a debugger");
    assert_eq!(turns(&["i", "s"]), ["i", "s"], "nor for an init container");
    assert_eq!(turns(&["s", "t"]), ["t"]);
    assert_eq!(turns(&["s"]), ["s"]);
}

#[test]
fn a_lost_sandbox_takes_its_containers_with_it() {
    let pod = pod("Always", &["i"], &["a"]);
    let old = sandbox("s", 0, SandboxState::NotReady);
    let before = [container("i", 0, Exited, 0), container("a", 0, Exited, 137)];
    assert_eq!(steps(&pod, Some(&old), &before, None), [Step::CreateSandbox { attempt: 1 }]);
    let new = sandbox("t", 1, SandboxState::Ready);
    assert_eq!(steps(&pod, Some(&new), &before, None), [start("i", true, 1)]);
}

/// The pod with stored states of its containers, as after a restart of the machine.
fn stored(policy: &str, states: &[(&str, serde_json::Value)]) -> Pod {
    let names: Vec<&str> = states.iter().map(|(name, _)| *name).collect();
    let mut pod = pod(policy, &[], &names);
    let statuses = states.iter().map(|(name, state)| {
        serde_json::json!({
            "name": name, "state": state, "restartCount": 0, "containerID": format!("ropewalk://{name}"),
            "image": "", "imageID": "", "ready": false,
        })
    });
    let statuses: Vec<serde_json::Value> = statuses.collect();
    pod.status = Some(serde_json::from_value(serde_json::json!({"containerStatuses": statuses})).unwrap());
    pod
}

#[test]
fn a_pod_that_never_restarts_does_not_run_again_after_the_machine_did() {
    let running = || serde_json::json!({"running": {}});
    let ended = |code: i32| serde_json::json!({"terminated": {"exitCode": code}});
    let waiting = || serde_json::json!({"waiting": {}});
    let new = |states: &[(&str, serde_json::Value)], policy: &str| {
        let pod = stored(policy, states);
        (steps(&pod, None, &[], None), finished(&pod, None, &[]))
    };
    assert_eq!(new(&[("a", running())], "Never"), (vec![], Some(false)));
    assert_eq!(new(&[("a", ended(0))], "Never"), (vec![], Some(true)));
    assert_eq!(new(&[("a", ended(0)), ("b", waiting())], "Never"), (vec![], Some(false)));
    assert_eq!(new(&[("a", ended(0)), ("b", ended(0))], "OnFailure"), (vec![], Some(true)));
    let goes_on = (vec![Step::CreateSandbox { attempt: 0 }], None);
    assert_eq!(new(&[("a", waiting())], "Never"), goes_on, "it had not begun");
    assert_eq!(new(&[("a", ended(0))], "Always"), goes_on);
    assert_eq!(new(&[("a", ended(0)), ("b", running())], "OnFailure"), goes_on);
    let pod = stored("OnFailure", &[("a", ended(0)), ("b", running())]);
    let ready = sandbox("s", 0, SandboxState::Ready);
    assert_eq!(steps(&pod, Some(&ready), &[], None), [start("b", false, 1)], "a is done");
}

#[test]
fn an_init_container_that_was_lost_with_the_machine_is_not_run_twice_by_a_pod_that_never_restarts() {
    let of = |policy: &str, state: serde_json::Value| {
        let mut pod = pod(policy, &["i"], &["a"]);
        let stored = serde_json::json!({"name": "i", "state": state, "restartCount": 0, "ready": false,
            "containerID": "ropewalk://i", "image": "", "imageID": ""});
        let status = serde_json::json!({"initContainerStatuses": [stored]});
        pod.status = Some(serde_json::from_value(status).unwrap());
        (steps(&pod, None, &[], None), finished(&pod, None, &[]))
    };
    let running = || serde_json::json!({"running": {}});
    let goes_on = (vec![Step::CreateSandbox { attempt: 0 }], None);
    assert_eq!(of("Never", running()), (vec![], Some(false)));
    assert_eq!(of("Never", serde_json::json!({"waiting": {}})), goes_on, "it had not begun");
    assert_eq!(of("Never", serde_json::json!({"terminated": {"exitCode": 0}})), goes_on);
    assert_eq!(of("OnFailure", running()), goes_on);
}

#[test]
fn nothing_of_a_pod_that_is_over_is_started_again() {
    let mut pod = pod("Always", &[], &["a"]);
    let (ready, ended) = (sandbox("s", 0, SandboxState::Ready), [container("a", 0, Exited, 1)]);
    assert_eq!(finished(&pod, Some(&ready), &ended), None);
    pod.status = Some(serde_json::from_value(serde_json::json!({"phase": "Failed"})).unwrap());
    assert_eq!(finished(&pod, Some(&ready), &ended), Some(false));
    assert_eq!(steps(&pod, Some(&ready), &ended, None), [Step::StopSandbox { id: "s".into() }]);
}

fn finished(pod: &Pod, sandbox: Option<&Sandbox>, containers: &[Container]) -> Option<bool> {
    let (backoffs, probes) = (Backoffs::new(), ProbeResults::default());
    let now = Timestamp::from_second(205).unwrap();
    let replaced = &HashSet::new();
    View { pod, sandbox, containers, backoffs: &backoffs, replaced, probes: &probes, now }.finished()
}

/// Only the pause process has ended: the containers have PID namespaces of their own.
#[test]
fn what_runs_on_in_a_lost_sandbox_ends_before_there_is_another() {
    let lost = sandbox("s", 0, SandboxState::NotReady);
    let all = [container("a", 0, ContainerState::Running, 0), container("b", 0, Exited, 1)];
    let stop = Step::Stop { name: "a".into(), id: "a-0".into(), why: Why::Lost };
    for policy in ["Always", "OnFailure", "Never"] {
        let steps = steps(&pod(policy, &[], &["a", "b"]), Some(&lost), &all, None);
        assert_eq!(steps, std::slice::from_ref(&stop));
    }
}

#[test]
fn what_is_done_is_not_done_again_when_the_sandbox_was_lost() {
    let new = sandbox("t", 1, SandboxState::Ready);
    let before = [container("a", 0, Exited, 0), container("b", 0, Exited, 137)];
    let failing = pod("OnFailure", &[], &["a", "b"]);
    assert_eq!(steps(&failing, Some(&new), &before, None), [start("b", false, 1)]);
    let lost = sandbox("s", 0, SandboxState::NotReady);
    let never = pod("Never", &[], &["a", "b"]);
    assert_eq!(steps(&never, Some(&lost), &before[..1], None), [], "b never started and never will");
    assert_eq!(finished(&never, Some(&lost), &before[..1]), Some(false));
}

/// KEP-5307.
#[test]
fn a_container_may_have_a_restart_policy_and_rules_of_its_own() {
    let ready = sandbox("s", 0, SandboxState::Ready);
    let own = |policy: &str, fields: serde_json::Value| {
        let mut pod = serde_json::to_value(pod(policy, &[], &["a"])).unwrap();
        api::patch::merge(&mut pod["spec"]["containers"][0], &fields);
        serde_json::from_value::<Pod>(pod).unwrap()
    };
    let ends = |pod: &Pod, code| finished(pod, Some(&ready), &[container("a", 0, Exited, code)]);
    let never = own("Always", serde_json::json!({"restartPolicy": "Never"}));
    assert_eq!((ends(&never, 0), ends(&never, 1)), (Some(true), Some(false)));
    let always = own("Never", serde_json::json!({"restartPolicy": "Always"}));
    assert_eq!(ends(&always, 0), None);
    let rule = |operator: &str| {
        let codes = serde_json::json!({"operator": operator, "values": [3]});
        let rules = serde_json::json!([{"action": "Restart", "exitCodes": codes}]);
        own("Never", serde_json::json!({"restartPolicy": "Never", "restartPolicyRules": rules}))
    };
    assert_eq!((ends(&rule("In"), 3), ends(&rule("In"), 4)), (None, Some(false)));
    assert_eq!((ends(&rule("NotIn"), 3), ends(&rule("NotIn"), 4)), (Some(false), None));
}

#[test]
fn a_sidecar_that_crashes_holds_up_no_container_once_the_pod_runs() {
    let mut pod = pod("Always", &["s", "i", "t"], &["a"]);
    for sidecar in [0, 2] {
        pod.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[sidecar].restart_policy =
            Some("Always".into());
    }
    let ready = sandbox("s", 0, SandboxState::Ready);
    let mut crashed = [
        container("s", 0, Exited, 1),
        container("i", 0, Exited, 0),
        container("t", 0, Exited, 1),
        container("a", 0, Exited, 1),
    ];
    // At 20 times the speed it would have run well for half an hour else.
    crashed[0].started_at = Some(Timestamp::from_second(199).unwrap());
    let all = [start("s", true, 1), start("t", true, 1), start("a", false, 1)];
    assert_eq!(steps(&pod, Some(&ready), &crashed, None), all);
    let backoffs: Backoffs = [("s".to_string(), Duration::from_secs(300))].into();
    let mut waits = all[1..].to_vec();
    waits.push(Step::LookAgain(Duration::from_secs(295)));
    assert_eq!(probed(&pod, Some(&ready), &crashed, &backoffs, &ProbeResults::default()), waits);
    {
        // Five seconds have passed, which are 100 of the cluster's.
        let _scale = clock::pin_scale(20);
        *waits.last_mut().unwrap() = Step::LookAgain(Duration::from_secs(200));
        assert_eq!(probed(&pod, Some(&ready), &crashed, &backoffs, &ProbeResults::default()), waits);
    }
    // It runs again, and its startup probe has not succeeded yet; the runtime has forgotten the
    // init container.
    let again = [container("s", 1, Running, 0), container("t", 1, Running, 0), container("a", 0, Exited, 1)];
    let starting = ProbeResults {
        probed: [("s".to_string(), Probed { started: Some(false), ready: None })].into(),
        failed: [("t".to_string(), Kind::Liveness)].into(),
    };
    let stop = Step::Stop { name: "t".into(), id: "t-1".into(), why: Why::Failed(Kind::Liveness) };
    let found = probed(&pod, Some(&ready), &again, &Backoffs::new(), &starting);
    assert_eq!(found, [stop, start("a", false, 1)]);
}

/// As upstream, where the newest init container alone decides what comes next
/// (`computeInitContainerActions`).
#[test]
fn a_sidecar_that_crashes_holds_up_no_later_init_container() {
    let mut pod = pod("Always", &["s", "i", "j"], &["a"]);
    pod.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[0].restart_policy = Some("Always".into());
    let ready = sandbox("s", 0, SandboxState::Ready);
    let backoffs: Backoffs = [("s".to_string(), Duration::from_secs(300))].into();
    let (crashed, wait) = (container("s", 0, Exited, 1), Step::LookAgain(Duration::from_secs(295)));
    let next = |containers: &[Container], probes: &ProbeResults| {
        probed(&pod, Some(&ready), containers, &backoffs, probes)
    };
    let none = ProbeResults::default();
    let done = |name: &str| container(name, 0, Exited, 0);
    assert_eq!(next(&[crashed.clone(), done("i")], &none), [start("j", true, 0), wait.clone()]);
    let both = [crashed.clone(), container("i", 0, Exited, 1)];
    assert_eq!(next(&both, &none), [start("i", true, 1), wait.clone()]);
    assert_eq!(next(&[crashed.clone(), container("i", 0, Running, 0)], &none), vec![wait.clone()]);
    assert_eq!(next(&[crashed], &none), [wait], "it is the newest one itself");
    // It runs again, and its startup probe has not succeeded yet.
    let starting = ProbeResults {
        probed: [("s".to_string(), Probed { started: Some(false), ready: None })].into(),
        ..ProbeResults::default()
    };
    let again = [container("s", 1, Running, 0), done("i"), done("j")];
    assert_eq!(next(&again, &starting), [start("a", false, 0)]);
}

#[test]
fn the_previous_run_of_a_crash_loop_is_the_one_that_just_crashed() {
    let pod = pod("OnFailure", &[], &["a"]);
    let last = |pod: &Pod, containers: &[Container]| {
        let (backoffs, probes) = (Backoffs::new(), ProbeResults::default());
        let now = Timestamp::from_second(205).unwrap();
        let (backoffs, probes, replaced) = (&backoffs, &probes, &HashSet::new());
        let view = View { pod, sandbox: None, containers, backoffs, replaced, probes, now };
        view.last_ended("a").map(|c| c.attempt)
    };
    let crashed = container("a", 0, Exited, 1);
    assert_eq!(last(&pod, std::slice::from_ref(&crashed)), Some(0));
    assert_eq!(last(&pod, &[crashed.clone(), container("a", 1, Running, 0)]), Some(0));
    assert_eq!(last(&pod, &[crashed.clone(), container("a", 1, Exited, 1)]), Some(1));
    assert_eq!(last(&pod, &[crashed.clone(), container("a", 1, Exited, 0)]), Some(0), "it is done");
    assert_eq!(last(&pod, &[container("a", 0, Running, 0)]), None);
}
