use super::super::delegation::tests::Trial;
use super::*;

fn of_all(path: &Path) -> V2Group {
    V2Group { path: path.into(), given: CONTROLLERS.to_vec() }
}

/// As in a container: the supervisor, the program that started it and others are in the only
/// group that can be written to. With the kernel, where this is root and a tree of v2 has a
/// controller.
#[test]
fn a_cluster_in_a_group_with_processes_makes_room_and_leaves_it_as_it_was() {
    let Some(trial) = Trial::begin("cluster") else { return };
    let (base, name) = (trial.base.clone(), "ropewalk-0123456789abcdef");
    let remember = tempfile::NamedTempFile::new().unwrap();
    let written = || fs::read_to_string(remember.path()).unwrap();
    let before = trial.processes();
    assert_eq!(before.len(), 2);
    let opened =
        V2::open_with(&[trial.wanted], std::slice::from_ref(&base), name, Some(remember.path())).unwrap();
    assert_eq!(read(&base.join(name).join("cgroup.subtree_control")).unwrap(), trial.wanted);
    assert!(trial.processes().is_empty());
    assert_eq!(written(), format!("+{} {}\n", trial.wanted, base.display()));
    // Another cluster finds room, and leaves it as long as the first one lives there.
    let other = V2::open_with(&[trial.wanted], std::slice::from_ref(&base), "ropewalk-other", None).unwrap();
    other.destroy();
    assert!(base.join(name).is_dir() && trial.processes().is_empty());
    opened.destroy();
    assert!(!base.join(name).exists());
    assert_eq!(trial.processes(), before);
    assert_eq!(read(&base.join("cgroup.subtree_control")).unwrap(), "");
    assert_eq!(written(), "");
}

#[test]
fn the_last_cluster_in_a_group_leaves_it_as_it_was_before_the_first() {
    let Some(trial) = Trial::begin("outlived") else { return };
    let (base, before) = (trial.base.clone(), trial.processes());
    let files = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
    let open = |name: &str, file: usize| {
        let remember = Some(files[file].path());
        V2::open_with(&[trial.wanted], std::slice::from_ref(&base), name, remember).unwrap()
    };
    let (first, last) = (open("ropewalk-0123456789abcdef", 0), open("ropewalk-fedcba9876543210", 1));
    first.destroy();
    assert!(trial.processes().is_empty(), "the other one lives there");
    last.destroy();
    assert_eq!(trial.processes(), before);
    assert_eq!(read(&base.join("cgroup.subtree_control")).unwrap(), "");
    assert_eq!(fs::read_to_string(files[1].path()).unwrap(), "");
}

/// As for an ordinary user: the groups above belong to root.
#[test]
fn the_reason_is_the_controller_that_an_own_group_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let (inner, outer) = (dir.path().join("a/b"), dir.path().join("a"));
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.join("cgroup.subtree_control"), "").unwrap();
    fs::write(inner.join("cgroup.controllers"), "memory pids\n").unwrap();
    fs::write(outer.join("cgroup.subtree_control"), "memory pids cpu\n").unwrap();
    for base in [&inner, &outer] {
        fs::write(base.join("ropewalk-x"), "no group can be made here").unwrap();
    }
    let gone = dir.path().join("a/b/gone");
    let refused = V2::open(&[gone.clone(), inner, outer], "ropewalk-x", None).map(drop).unwrap_err();
    assert!(refused.what.ends_with("is not given the controller cpu"), "{}", refused.what);
    assert!(delegation::not_given(&refused).is_some());
    let refused = V2::open(&[gone], "ropewalk-x", None).map(drop).unwrap_err();
    assert!(
        refused.what.starts_with("cannot read") && delegation::not_given(&refused).is_none(),
        "{}",
        refused.what
    );
}

/// As for a user of systemd before 252, whose group has `memory pids`, and on a Raspberry Pi.
#[test]
fn where_a_controller_is_missing_the_others_limit() {
    for (given, lacks) in [("memory pids", "cpu"), ("cpuset cpu pids", "memory")] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.subtree_control"), "").unwrap();
        fs::write(dir.path().join("cgroup.controllers"), given).unwrap();
        let opened = V2::open(&[dir.path().to_path_buf()], "ropewalk-x", None).unwrap();
        let lack = opened.lacks().unwrap();
        assert_eq!(lack.missing.controllers(), [lacks]);
        assert_eq!(matches!(lack.missing, Missing::MemoryController(_)), lacks == "memory");
        assert!(lack.why.contains(&format!("is not given the controller {lacks}")), "{}", lack.why);
        assert!(!opened.describe().contains(lacks) && opened.describe().contains("pids"));
        let limits = Limits {
            memory: Some(1 << 20),
            cpu_milli: Some(100),
            pids: Some(50),
            of_groups: true,
            ..Limits::default()
        };
        opened.create("pod", &limits).unwrap();
        let pod = dir.path().join("ropewalk-x/pod");
        let has = |file: &str| read(&pod.join(file)).ok();
        assert_eq!(has("pids.max").as_deref(), Some("50"));
        assert_eq!(has("memory.max").is_some(), lacks != "memory");
        assert_eq!(has("cpu.max").is_some(), lacks != "cpu");
        assert!(!has("cgroup.subtree_control").unwrap().contains(lacks));
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cgroup.subtree_control"), "").unwrap();
    fs::write(dir.path().join("cgroup.controllers"), "cpuset io\n").unwrap();
    let refused = V2::open(&[dir.path().to_path_buf()], "ropewalk-x", None).map(drop).unwrap_err();
    assert!(refused.what.ends_with("the controller memory, pids, cpu"), "{}", refused.what);
    // The base that has the most of them, and not the nearest one.
    let inner = dir.path().join("a.scope");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("cgroup.subtree_control"), "").unwrap();
    fs::write(inner.join("cgroup.controllers"), "pids\n").unwrap();
    fs::write(dir.path().join("cgroup.controllers"), "memory pids\n").unwrap();
    let opened = V2::open(&[inner.clone(), dir.path().to_path_buf()], "ropewalk-x", None).unwrap();
    assert_eq!(opened.describe(), "v2 (memory, pids)");
    assert!(dir.path().join("ropewalk-x").is_dir() && !inner.join("ropewalk-x").exists());
}

/// As a cgroup, as far as writing and reading go.
#[test]
fn a_memory_limit_leaves_no_swap() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    for name in ["memory.max", SWAP, "cgroup.subtree_control"] {
        fs::write(file(name), "max").unwrap();
    }
    let group = of_all(dir.path());
    group.limit(&Limits { memory: Some(1 << 20), ..Limits::default() }).unwrap();
    assert_eq!([read(&file("memory.max")).unwrap(), read(&file(SWAP)).unwrap()], ["1048576", "0"]);
    assert_eq!(read(&file("memory.oom.group")).unwrap(), "1");
    // That of a pod ends no more than what is too large in it.
    fs::remove_file(file("memory.oom.group")).unwrap();
    group.limit(&Limits { memory: Some(1 << 20), of_groups: true, ..Limits::default() }).unwrap();
    assert!(!file("memory.oom.group").exists());
    // A limit that cannot be set is an error: the container would have more than it may.
    fs::remove_file(file(SWAP)).unwrap();
    fs::create_dir(file(SWAP)).unwrap();
    assert!(group.limit(&Limits { memory: Some(1 << 20), ..Limits::default() }).is_err());
    assert!(group.limit(&Limits::default()).is_ok());
}

#[test]
fn a_limit_beyond_what_the_kernel_counts_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let group = of_all(dir.path());
    // 8Ei is the first number that a signed one does not hold.
    for (bytes, want) in
        [(1 << 63, "max"), (u64::MAX, "max"), (UNLIMITED, "max"), (UNLIMITED - 65536, "9223372036854644736")]
    {
        group.limit(&Limits { memory: Some(bytes), ..Limits::default() }).unwrap();
        assert_eq!(read(&file("memory.max")).unwrap(), want, "{bytes}");
    }
    group.limit(&Limits { cpu_milli: Some(u64::MAX), ..Limits::default() }).unwrap();
    assert_eq!(read(&file("cpu.max")).unwrap(), "17592186044415 100000");
    group.limit(&Limits { cpu_milli: Some(500), ..Limits::default() }).unwrap();
    assert_eq!(read(&file("cpu.max")).unwrap(), "50000 100000");
}

#[test]
fn shares_of_a_container_become_a_weight_as_runc_maps_them() {
    assert_eq!([2, 102, 1024, 2000, 262_144].map(container_weight), [1, 17, 100, 170, 10000]);
    assert_eq!([0, 1, 3, u64::MAX].map(container_weight), [1, 1, 2, 10000]);
    let all: Vec<u64> = (2..=262_144).map(container_weight).collect();
    assert!(all.is_sorted(), "more shares never weigh less");
}

#[test]
fn shares_of_a_pod_become_a_weight_as_the_kubelet_maps_them() {
    assert_eq!([2, 102, 256, 1024, 4096, 262_144].map(pod_weight), [1, 4, 10, 39, 157, 10000]);
    assert_eq!([0, 1, u64::MAX].map(pod_weight), [1, 1, 10000]);
    let dir = tempfile::tempdir().unwrap();
    let group = of_all(dir.path());
    for (of_groups, want) in [(true, "39"), (false, "100")] {
        group.limit(&Limits { cpu_shares: 1024, of_groups, ..Limits::default() }).unwrap();
        assert_eq!(read(&dir.path().join("cpu.weight")).unwrap(), want, "of groups: {of_groups}");
    }
}
