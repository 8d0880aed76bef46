//! Tests of [`super`].

use super::*;
use client::Key;
use std::time::Instant;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

pub(crate) fn disk(total: u64, free: u64) -> Signals {
    let disk =
        Free { now: Amount { bytes: free, files: 1 << 20 }, total: Amount { bytes: total, files: 1 << 21 } };
    Signals { disk, memory: None }
}

/// Room on the disk, and so much of the memory of a machine with 8 GiB.
pub(crate) fn memory(limit: u64, used: u64, machine: u64) -> Signals {
    Signals { memory: Some(Memory { limit, used, machine }), ..disk(500 * GIB, 400 * GIB) }
}

fn first(now: &Signals, least: Thresholds, used: u64) -> Option<Low> {
    low(now, least, used).into_iter().next()
}

fn usage(name: &str, mebi: u64, request: u64, priority: i32) -> Usage {
    let container = |name: &str, used, request| ContainerUse {
        name: name.into(),
        ends_first: false,
        logs: used,
        storage_request: request,
        memory: used,
        memory_request: request,
    };
    Usage {
        key: Key::new("default", name),
        uid: name.into(),
        priority,
        storage_request: request << 20,
        disk: Amount { bytes: mebi << 20, files: mebi },
        kept: Amount::default(),
        wrote: Amount::default(),
        memory_request: request << 20,
        memory_of_whole: None,
        memory: mebi << 20,
        containers: vec![container("c", 3 << 19, 0), container("d", 5, 10)],
    }
}

#[test]
fn a_reserve_is_left_and_a_nearly_full_disk_is_no_pressure() {
    let large = disk(500 * GIB, 40 * GIB);
    let thresholds = Thresholds::of(&large);
    assert_eq!(thresholds.disk, Amount { bytes: GIB, files: 100_000 });
    assert_eq!(first(&large, thresholds, 0), None);
    let small = disk(4 * GIB, GIB / 2);
    assert_eq!(Thresholds::of(&small).disk.bytes, GIB / 4);
    assert_eq!(first(&small, Thresholds::of(&small), 0), None);
    assert!(first(&disk(500 * GIB, GIB - 1), thresholds, 0).unwrap().shared);
    let with = |now, total| Signals { disk: Free { now, total }, memory: None };
    let few = with(Amount { bytes: 40 * GIB, files: 99_999 }, large.disk.total);
    assert_eq!(first(&few, thresholds, 0).unwrap().resource, Resource::Inodes);
    let no_count = with(Amount { bytes: 40 * GIB, files: 0 }, Amount { bytes: 500 * GIB, files: 0 });
    assert_eq!(first(&no_count, Thresholds::of(&no_count), 0), None, "btrfs has no fixed number of inodes");
}

#[test]
fn memory_has_a_reserve_of_what_pods_may_use_and_of_the_machine() {
    let start = memory(7 * GIB, GIB, 6 * GIB);
    let thresholds = Thresholds::of(&start);
    assert_eq!((thresholds.memory, thresholds.machine), (100 * MIB, 100 * MIB));
    let low = |used: u64, machine: u64| first(&memory(7 * GIB, used, machine), thresholds, 0);
    assert_eq!(low(7 * GIB - 100 * MIB, 6 * GIB), None);
    let found = low(7 * GIB - 100 * MIB + 1, 6 * GIB).unwrap();
    assert_eq!((found.resource, found.threshold, found.shared), (Resource::Memory, 100 * MIB, true));
    assert_eq!(low(8 * GIB, 6 * GIB).unwrap().available, 0);
    assert_eq!(low(0, 100 * MIB - 1).unwrap().available, 100 * MIB - 1, "programs beside the cluster count");
    let small = Thresholds::of(&memory(256 * MIB, 0, 60 * MIB));
    assert_eq!((small.memory, small.machine), (256 * MIB / 10, 30 * MIB));
    let uncounted = disk(500 * GIB, 400 * GIB);
    assert_eq!(first(&uncounted, Thresholds::of(&uncounted), 0), None);
    // Both at a time: memory comes first.
    let both = Signals { memory: memory(GIB, GIB, GIB).memory, ..disk(500 * GIB, 0) };
    let resources: Vec<_> = super::low(&both, thresholds, 0).iter().map(|low| low.resource).collect();
    assert_eq!(resources, [Resource::Memory, Resource::Storage]);
}

#[test]
fn a_node_uses_no_more_than_its_share() {
    let (free, thresholds) = (disk(500 * GIB, 400 * GIB), Thresholds::of(&disk(500 * GIB, 400 * GIB)));
    assert_eq!(first(&free, thresholds, ALLOCATABLE), None);
    let found = first(&free, thresholds, ALLOCATABLE + 1).unwrap();
    assert_eq!((found.shared, found.resource), (false, Resource::Storage));
    assert!(first(&free, thresholds, u64::MAX).is_some(), "files that cannot be counted");
}

#[test]
fn the_next_look_comes_before_a_fast_writer_has_used_the_room() {
    let thresholds = Thresholds::of(&disk(500 * GIB, 400 * GIB));
    let wait = |free: u64, used: u64| pause(&disk(500 * GIB, free), thresholds, used);
    assert_eq!(wait(400 * GIB, 0), PAUSE.1);
    assert_eq!(wait(GIB + GIB / 2, 0), Duration::from_millis(250));
    assert_eq!(wait(GIB, 0), PAUSE.0);
    assert_eq!(wait(400 * GIB, ALLOCATABLE), PAUSE.0);
    let thresholds = Thresholds::of(&memory(7 * GIB, 0, 6 * GIB));
    let wait = |used: u64, machine: u64| pause(&memory(7 * GIB, used, machine), thresholds, 0);
    assert_eq!(wait(0, 6 * GIB), PAUSE.1);
    assert_eq!(wait(7 * GIB - 612 * MIB, 6 * GIB), Duration::from_millis(250));
    assert_eq!([wait(7 * GIB, 6 * GIB), wait(0, 100 * MIB)], [PAUSE.0; 2]);
}

#[test]
fn the_worst_pod_goes_first() {
    let low = |resource| Low { resource, threshold: GIB, available: GIB / 2 + 1024, shared: true };
    let name = |pods: &[Usage], resource| victim(pods, &low(resource)).map(|p| p.uid.clone());
    for resource in [Resource::Storage, Resource::Memory] {
        let name = |pods: &[Usage]| name(pods, resource);
        assert_eq!(name(&[usage("keeps", 900, 1000, 0), usage("over", 100, 10, 1000)]), Some("over".into()));
        assert_eq!(name(&[usage("high", 900, 0, 1), usage("low", 100, 0, 0)]), Some("low".into()));
        assert_eq!(name(&[usage("small", 100, 0, 0), usage("large", 101, 0, 0)]), Some("large".into()));
        assert_eq!(name(&[usage("requests", 300, 250, 0), usage("less", 100, 0, 0)]), Some("less".into()));
        assert_eq!(name(&[usage("keeps", 900, 1000, 0)]), Some("keeps".into()), "if there is no other");
        let both = [usage("near", 300, 310, 0), usage("keeps", 900, 1000, 0)];
        assert_eq!(name(&both), Some("near".into()), "it comes closest to its request");
        assert_eq!(name(&[usage("tiny", 15, 0, 0)]), None, "its end would help nobody");
    }
    assert_eq!(
        name(&[usage("few", 999, 0, 0), usage("many", 1000, 0, 5)], Resource::Inodes),
        Some("many".into())
    );
    for (resource, name) in [(Resource::Storage, "ephemeral-storage"), (Resource::Memory, "memory")] {
        assert_eq!(
            message(&usage("p", 900, 0, 0), &low(resource)),
            format!(
                "The node was low on resource: {name}. Threshold quantity: 1Gi, available: 524289Ki. \
                 Container c was using 1536Ki, request is 0, has larger consumption of {name}. "
            )
        );
    }
}

#[test]
fn no_pod_is_evicted_for_files_that_stay_unless_it_still_writes_them() {
    let low = |shared| Low { resource: Resource::Storage, threshold: GIB, available: GIB / 2, shared };
    let mebi = |n: u64| Amount { bytes: n * MIB, files: n };
    // 9 GiB in a hostPath, which two pods mount: their evictions would free 30 MiB of the 512 MiB
    // that are missing.
    let idle = |name: &str| Usage { kept: mebi(9000), ..usage(name, 30, 0, 0) };
    let name = |pods: &[Usage], low: &Low| victim(pods, low).map(|pod| pod.uid.clone());
    assert_eq!(name(&[idle("a"), idle("b")], &low(false)), None);
    assert!(is_futile(&[idle("a"), idle("b")], &low(false)));
    // One of them writes on.
    let writes = Usage { wrote: mebi(16), ..idle("writes") };
    assert_eq!(name(&[idle("a"), writes, usage("c", 300, 0, 0)], &low(false)), Some("writes".into()));
    // There is enough that evictions free.
    let all = [idle("a"), usage("large", 600, 0, 0)];
    assert_eq!((name(&all, &low(false)), is_futile(&all, &low(false))), (Some("large".into()), false));
    // The machine may be full of something else: what is evicted gives some of it back.
    assert_eq!(name(&[idle("a")], &low(true)), Some("a".into()));
    assert_eq!(name(&[Usage { kept: mebi(9000), ..usage("empty", 1, 0, 0) }], &low(true)), None);
}

#[test]
fn a_pod_is_ranked_by_what_it_requests() {
    let pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {"uid": "u"}, "spec": {"priority": 7, "containers": [
        {"name": "a", "resources": {"requests": {"memory": "1Mi"}, "limits": {"ephemeral-storage": "2Mi"}}},
        {"name": "b", "resources": {"limits": {"memory": "3Mi"}}},
    ]}}))
    .unwrap();
    let found = Usage::of_pod(Key::new("default", "p"), &pod);
    assert_eq!((found.priority, found.memory_request, found.storage_request), (7, 4 * MIB, 2 * MIB));
    let of = |c: &ContainerUse| (c.memory_request / MIB, c.storage_request / MIB);
    assert_eq!(found.containers.iter().map(of).collect::<Vec<_>>(), [(1, 2), (3, 0)]);
}

/// A sidecar that requests much of the disk does not make its pod the first to go.
#[test]
fn init_containers_and_sidecars_count_as_in_upstream() {
    let storage = |mebi: u32| serde_json::json!({"requests": {"ephemeral-storage": format!("{mebi}Mi")}});
    let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {
        "initContainers": [
            {"name": "s", "restartPolicy": "Always", "resources": storage(5)},
            {"name": "i", "resources": storage(20)},
        ],
        "containers": [{"name": "a", "resources": storage(2)}],
        "resources": {"requests": {"memory": "64Mi"}},
    }}))
    .unwrap();
    let mut found = Usage::of_pod(Key::new("default", "p"), &pod);
    assert_eq!((found.storage_request / MIB, found.memory_request / MIB), (25, 64));
    for container in &mut found.containers {
        (container.logs, container.memory) = (30 * MIB, MIB);
    }
    found.memory = 3 * MIB;
    let low = |resource| Low { resource, threshold: GIB, available: 0, shared: true };
    let end_of =
        |resource| message(&found, &low(resource)).split_once("available: 0. ").unwrap().1.to_string();
    let uses = |name: &str, used: &str, request: &str, what: &str| {
        format!("{name} was using {used}, request is {request}, has larger consumption of {what}. ")
    };
    let of_disk = |name: &str, request: &str| uses(name, "30Mi", request, "ephemeral-storage");
    let disk = [of_disk("Container a", "2Mi"), of_disk("Container s", "5Mi")].concat();
    assert_eq!(end_of(Resource::Storage), disk, "the log of one that has ended is not its use");
    let each = ["a", "s", "i"].map(|name| uses(&format!("Container {name}"), "1Mi", "0", "memory")).concat();
    assert_eq!(end_of(Resource::Memory), uses("Pod p", "3Mi", "64Mi", "memory") + &each);
}

#[test]
fn under_memory_pressure_only_pods_without_requests_are_refused() {
    let pod = |spec: serde_json::Value| -> Pod {
        let mut all = serde_json::json!({"containers": [{"name": "c"}]});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(serde_json::json!({"metadata": {"namespace": "kube-system"}, "spec": all}))
            .unwrap()
    };
    let plain = pod(serde_json::json!({}));
    let asks = serde_json::json!([{"name": "c", "resources": {"requests": {"memory": "1Mi"}}}]);
    let burstable = pod(serde_json::json!({ "containers": asks }));
    let daemon = pod(serde_json::json!({"tolerations": [
        {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}]}));
    let critical = pod(serde_json::json!({"priority": 2_000_001_000}));
    let refused = |memory: bool, disk: bool| -> Vec<bool> {
        let all = [&plain, &burstable, &daemon, &critical].into_iter();
        all.map(|pod| Pressures { memory, disk, kept: 0 }.refuse(pod).is_some()).collect()
    };
    assert_eq!(refused(false, false), [false, false, false, false]);
    assert_eq!(refused(true, false), [true, false, false, false]);
    assert_eq!(refused(false, true), [true, true, true, false]);
    assert_eq!(refused(true, true), [true, true, true, false]);
    let refusal = |memory, disk| Pressures { memory, disk, kept: 0 }.refuse(&plain).unwrap();
    assert_eq!(refusal(true, false), "The node had condition: [MemoryPressure]. ");
    assert_eq!(refusal(true, true), "The node had condition: [MemoryPressure DiskPressure]. ");
}

#[test]
fn what_the_cluster_needs_stays() {
    let pod = |json: serde_json::Value| -> Pod { serde_json::from_value(json).unwrap() };
    let critical = |namespace: &str| serde_json::json!({"metadata": {"namespace": namespace}, "spec": {"containers": [], "priority": 2_000_001_000}});
    for goes in [
        serde_json::json!({"spec": {"containers": []}}),
        serde_json::json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}),
        critical("default"),
    ] {
        assert!(evictable(&pod(goes)));
    }
    for kept in [critical("kube-system"), serde_json::json!({"status": {"phase": "Failed"}})] {
        assert!(!evictable(&pod(kept)));
    }
    let own = serde_json::json!({"spec": {"containers": [], "priority": 1000}});
    let all = [critical("default"), critical("kube-system"), own].map(|json| priority(&pod(json)));
    assert_eq!(all, [0, 2_000_001_000, 1000], "whoever may create pods may name a system class");
}

#[test]
fn one_node_evicts_for_all() {
    let (machine, start) = (Machine::default(), Instant::now());
    let at = |millis: u64| start + Duration::from_millis(millis);
    for node in ["a", "b", "off"] {
        machine.looked(Pressure::Disk, node, false, start);
    }
    let begin = 10_000; // "off" has not looked for long
    machine.looked(Pressure::Disk, "a", true, at(begin));
    machine.looked(Pressure::Disk, "b", true, at(begin));
    assert!(!machine.is_worst(Pressure::Disk, "a", 5, at(begin + 1)), "b has not measured yet");
    assert!(machine.is_worst(Pressure::Disk, "b", 7, at(begin + 2)));
    assert!(!machine.is_worst(Pressure::Disk, "a", 5, at(begin + 3)));
    assert!(machine.is_worst(Pressure::Disk, "a", 9, at(begin + 4)), "it grew meanwhile");
    let tied = (
        machine.is_worst(Pressure::Disk, "a", 7, at(begin + 5)),
        machine.is_worst(Pressure::Disk, "b", 7, at(begin + 6)),
    );
    assert_eq!(tied, (false, true), "one of the two");
    machine.looked(Pressure::Disk, "a", false, at(20_000));
    machine.looked(Pressure::Disk, "b", true, at(20_001));
    machine.looked(Pressure::Disk, "a", true, at(20_001));
    assert!(!machine.is_worst(Pressure::Disk, "a", 5, at(20_002)));
    machine.looked(Pressure::Disk, "b", true, at(22_000));
    assert!(machine.is_worst(Pressure::Disk, "a", 5, at(22_002)), "b hangs");
    machine.looked(Pressure::Memory, "a", true, at(30_000));
    assert!(
        machine.is_worst(Pressure::Memory, "a", 1, at(30_001)),
        "figures of the disk say nothing about memory"
    );
}

/// Files of the node that it wrote are its own, but stay when it goes; those of others are not.
#[test]
fn a_pod_has_more_than_its_eviction_gives_back() {
    let mut pod = usage("a", 100, 40, 0);
    (pod.wrote, pod.kept) = (Amount { bytes: 8 * MIB, files: 3 }, Amount { bytes: 50 * MIB, files: 9 });
    let of = |resource| (pod.has(resource), pod.frees(resource), pod.excess(resource));
    assert_eq!(of(Resource::Storage), (108 * MIB, 100 * MIB, i128::from(68 * MIB)));
    assert_eq!(of(Resource::Inodes), (103, 100, 103), "nothing requests inodes");
    assert_eq!(of(Resource::Memory), (100 * MIB, 100 * MIB, i128::from(60 * MIB)));
}
