//! What a pod's status says of its containers.

use super::*;
use crate::status::{MESSAGES_MAX, OWN_MESSAGE_MAX, without_messages};

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
        assert!(all.iter().map(encoded).sum::<usize>() <= MESSAGES_MAX);
        s.message = Some("y".repeat(5000));
        without_messages(&mut s);
        assert_eq!((messages(&s).len(), s.message.map(|m| m.len())), (0, Some(OWN_MESSAGE_MAX)));
    }
    let short = status(&pod, Some(&ready), &ended_with("done"), None);
    assert!(messages(&short).iter().all(|m| m == "done"));
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
