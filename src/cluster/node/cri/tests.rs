use super::*;
use cri::LogLimits;

#[test]
fn the_log_of_a_component_is_closed_also_if_its_container_is_removed_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    let open_files = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        all.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == path)).count()
    };
    logs::open("removed", Log::open(&path, Default::default()).unwrap());
    assert_eq!(open_files(), 1);
    assert_eq!(note_end(&mut BTreeMap::new(), "removed", &End::Killed), None);
    assert_eq!(open_files(), 0);
}

fn component(id: &str, log: LogFile) -> Component {
    let crew = Crew::new("etcd");
    crew.spawn_main(std::future::pending::<std::result::Result<(), String>>());
    Component {
        id: id.into(),
        sandbox_id: "s".into(),
        pod: PodId::default(),
        config: ContainerConfig::default(),
        log,
        created_at: clock::now(),
        started_at: None,
        finished_at: None,
        state: ContainerState::Running,
        exit_code: 0,
        reason: "",
        message: String::new(),
        crew: Some(crew),
    }
}

#[tokio::test]
async fn a_component_that_runs_ends_when_its_container_is_removed() {
    let all = Mutex::new(["a", "b"].map(|id| (id.to_string(), component(id, LogFile::default()))).into());
    let removed = remove_components(&all, |c| c.id == "a").await;
    let ends: Vec<_> = removed.iter().filter_map(|c| c.crew.as_ref()?.ended()).collect();
    assert_eq!(ends, [End::Killed]);
    let mut left = all.lock();
    assert!(left.len() == 1 && left["b"].crew.as_ref().unwrap().ended().is_none());
    let late = Crew::new("etcd");
    assert!(note_start(&mut left, "b", &late) && !note_start(&mut left, "a", &late));
}

#[tokio::test]
async fn the_end_of_a_component_is_shown_as_that_of_a_container() {
    for (end, code, reason, message) in [
        (End::Done(Ok(())), 0, "Completed", ""),
        (End::Stopped, 0, "Completed", ""),
        (End::Done(Err("no store".into())), 1, "Error", "no store"),
        (End::Panicked("no entry".into()), 2, "Error", "panic: no entry"),
        (End::Killed, 137, "Error", ""),
    ] {
        let mut all = BTreeMap::from([("a".to_string(), component("a", LogFile::default()))]);
        assert_eq!(all["a"].describe().reason, "", "it runs");
        assert_eq!(note_end(&mut all, "a", &end), Some(PodId::default()));
        let shown = all["a"].describe();
        assert_eq!((shown.exit_code, shown.reason.as_str(), shown.message.as_str()), (code, reason, message));
        assert!(shown.state == ContainerState::Exited && shown.finished_at.is_some());
        assert!(all["a"].crew.is_none(), "nothing of an ended component is killed later");
    }
}

/// containerd: "container is not in created state".
#[tokio::test]
async fn a_component_is_started_once_and_goes_on_when_it_is_started_again() {
    let make = |id: &str, state: ContainerState| {
        let config = ContainerConfig { image: "ropewalk.io/etcd:1".into(), ..ContainerConfig::default() };
        (id.to_string(), Component { state, config, ..component(id, LogFile::default()) })
    };
    let made = [
        make("a", ContainerState::Created),
        make("b", ContainerState::Created),
        make("old", ContainerState::Exited),
    ];
    let mut all: BTreeMap<String, Component> = made.into();
    claim(&mut all, "a", "n").unwrap();
    for again in ["a", "old"] {
        let refused = claim(&mut all, again, "n");
        assert!(matches!(refused, Err(Error::State(_))), "{again}: {refused:?}");
    }
    assert!(matches!(claim(&mut all, "b", "n"), Err(Error::Start(_))), "one etcd on a node");
    assert!(matches!(claim(&mut all, "c", "n"), Err(Error::NotFound(_))));
    let states: Vec<_> = all.values().map(|c| c.state).collect();
    assert_eq!(states, [ContainerState::Running, ContainerState::Created, ContainerState::Exited]);
}

#[tokio::test]
async fn the_logs_of_a_removed_component_go_also_those_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    let limits = LogLimits { max_size: 8, max_files: 3 };
    let log = LogFile { path: dir.path().join("0.log"), limits };
    let opened = Log::open(&log.path, limits).unwrap();
    (0..5).for_each(|_| opened.write(b"an entry\n").unwrap());
    logs::open("rotated", opened);
    let there = || std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(there(), 3);
    let all = Mutex::new([("rotated".to_string(), component("rotated", log))].into());
    remove_components(&all, |_| true).await;
    assert_eq!(there(), 0);
}

#[test]
fn components_run_from_the_nodes_static_pods_and_addons_from_kube_system() {
    let own: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"namespace": "kube-system", "name": "etcd-n", "uid": "hash"},
        "spec": {"containers": [{"name": "etcd", "image": "ropewalk.io/etcd:1"}]},
    }))
    .unwrap();
    let pod = |namespace: &str, name: &str, uid: &str| PodId {
        namespace: namespace.into(),
        name: name.into(),
        uid: uid.into(),
    };
    let may = |pod: PodId, image: &str| may_run(std::slice::from_ref(&own), &pod, image);
    assert!(may(pod("kube-system", "etcd-n", "hash"), "ropewalk.io/etcd:1"));
    assert!(!may(pod("default", "boom", "u"), "ropewalk.io/etcd"));
    assert!(!may(pod("default", "etcd-n", "hash"), "ropewalk.io/etcd"));
    assert!(!may(pod("kube-system", "etcd-n", "u"), "ropewalk.io/etcd"), "any user may take the name");
    assert!(!may(pod("kube-system", "etcd-n", "hash"), "ropewalk.io/kube-apiserver:1"));
    assert!(!may(pod("kube-system", "x", "u"), "ropewalk.io/kube-controller-manager@sha256:1"));
    assert!(may(pod("kube-system", "coredns-1", "u"), "ropewalk.io/coredns"));
    assert!(!may(pod("default", "coredns-1", "u"), "ropewalk.io/coredns"));
    assert!(!may(pod("default", "x", "u"), "ropewalk.io/no-such-component"));
    assert!(may(pod("default", "web", "u"), "nginx"));
}

/// `kubectl exec -n kube-system etcd-… -- etcdctl member list`, as on a cluster of kubeadm's.
#[test]
fn a_person_who_looks_for_etcdctl_in_the_pod_hears_where_it_is() {
    assert!(
        no_program("ropewalk.io/etcd:1").ends_with("no program to exec; `ropewalk etcdctl` asks the store")
    );
    assert!(no_program("ropewalk.io/coredns:1").ends_with("no program to exec"));
}
