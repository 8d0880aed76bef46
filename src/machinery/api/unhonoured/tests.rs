use super::*;
use crate::kinds;
use serde_json::json;

fn fields(group: &str, kind: &str, object: Value, old: Option<Value>) -> Vec<String> {
    let kind = kinds::find(group, "v1", kind).unwrap();
    let found = warnings(kind, &object, old.as_ref());
    found.iter().map(|w| w.split(": ").next().unwrap().to_string()).collect()
}

#[test]
fn every_ignored_field_of_a_pod_is_named() {
    let spec = |spec: Value| fields("", "Pod", json!({ "spec": spec }), None);
    let container = |c: Value| spec(json!({ "containers": [c] }));
    for (set, want) in [
        (json!({"hostPID": true}), "spec.hostPID"),
        (json!({"dnsPolicy": "Default"}), "spec.dnsPolicy"),
        (json!({"hostIPC": true}), "spec.hostIPC"),
        (json!({"hostUsers": false}), "spec.hostUsers"),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}}}),
            "spec.securityContext.seccompProfile.type",
        ),
        (json!({"runtimeClassName": "kata"}), "spec.runtimeClassName"),
        (json!({"overhead": {"cpu": "1"}}), "spec.overhead"),
        (json!({"imagePullSecrets": [{"name": "a"}]}), "spec.imagePullSecrets"),
        (
            json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}, {"name": "kernel.shm_rmid_forced"}]}}),
            "spec.securityContext.sysctls[1].name",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
            "spec.securityContext.seccompProfile.type",
        ),
        (json!({"affinity": {"podAntiAffinity": {"a": 1}}}), "spec.affinity.podAntiAffinity"),
        (json!({"volumes": [{"name": "v", "nfs": {}}]}), "spec.volumes[0].nfs"),
        (
            json!({"volumes": [{"name": "v", "emptyDir": {"medium": "HugePages"}}]}),
            "spec.volumes[0].emptyDir.medium",
        ),
    ] {
        assert_eq!(spec(set), [want]);
    }
    for (set, want) in [
        (json!({"ports": [{"hostPort": 80}]}), "spec.containers[0].ports[0].hostPort"),
        (
            json!({"securityContext": {"procMount": "Unmasked"}}),
            "spec.containers[0].securityContext.procMount",
        ),
        (json!({"volumeDevices": [{}]}), "spec.containers[0].volumeDevices"),
        (
            json!({"env": [{"name": "K", "valueFrom": {"fileKeyRef": {"key": "K"}}}]}),
            "spec.containers[0].env[0].valueFrom.fileKeyRef",
        ),
        (
            json!({"volumeMounts": [{}, {"mountPropagation": "HostToContainer"}]}),
            "spec.containers[0].volumeMounts[1].mountPropagation",
        ),
        (json!({"lifecycle": {"stopSignal": "SIGINT"}}), "spec.containers[0].lifecycle.stopSignal"),
    ] {
        assert_eq!(container(set), [want]);
    }
}

#[test]
fn fields_of_leases_and_nodes_that_nothing_reads_are_named() {
    let spec = json!({"strategy": "OldestEmulationVersion", "preferredHolder": "a", "holderIdentity": "b"});
    let lease = json!({ "spec": spec });
    let named = ["spec.strategy", "spec.preferredHolder"];
    assert_eq!(fields("coordination.k8s.io", "Lease", lease.clone(), None), named);
    assert_eq!(fields("coordination.k8s.io", "Lease", lease.clone(), Some(lease)), [""; 0]);
    let node =
        json!({"spec": {"configSource": {"configMap": {}}, "externalID": "x", "podCIDR": "10.0.0.0/24"}});
    assert_eq!(fields("", "Node", node, None), ["spec.configSource", "spec.externalID"]);
}

#[test]
fn what_is_honoured_or_a_default_is_not_named() {
    let mut pod = json!({"spec": {"hostPID": false, "hostUsers": true, "hostNetwork": true,
        "preemptionPolicy": "PreemptLowerPriority",
        "securityContext": {"runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"},
            "supplementalGroupsPolicy": "Strict"},
        "initContainers": [{"name": "i", "image": "x", "restartPolicy": "Always"}],
        "containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 80, "hostPort": 80}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}], "securityContext": {"procMount": "Default"}}],
        "volumes": [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
            {"name": "h", "hostPath": {"path": "/h"}}]}});
    (crate::kinds::find("", "v1", "Pod").expect("a kind of the table").defaults)(&mut pod);
    assert_eq!(fields("", "Pod", pod, None), [""; 0]);
}

#[test]
fn templates_are_searched_and_updates_only_for_what_changed() {
    let deployment =
        |replicas: i64| json!({"spec": {"replicas": replicas, "template": {"spec": {"hostPID": true}}}});
    let place = ["spec.template.spec.hostPID"];
    assert_eq!(fields("apps", "Deployment", deployment(1), None), place);
    assert_eq!(fields("apps", "Deployment", deployment(2), Some(deployment(1))), [""; 0]);
    assert_eq!(fields("apps", "Deployment", deployment(2), Some(json!({}))), place);
    let cron = json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"hostIPC": true}}}}}});
    assert_eq!(fields("batch", "CronJob", cron, None), ["spec.jobTemplate.spec.template.spec.hostIPC"]);
    let class = json!({"parameters": {"nodePath": "/data"}, "allowedTopologies": []});
    assert_eq!(fields("storage.k8s.io", "StorageClass", class, None), ["parameters"]);
    let set = json!({"spec": {"volumeClaimTemplates": [{"spec": {}}, {"spec": {"volumeMode": "Block"}}]}});
    assert_eq!(fields("apps", "StatefulSet", set, None), ["spec.volumeClaimTemplates[1].spec.volumeMode"]);
    let claim = json!({"spec": {"volumeMode": "Block", "dataSource": {"kind": "x"}}});
    assert_eq!(fields("", "PersistentVolumeClaim", claim, None), ["spec.volumeMode", "spec.dataSource"]);
    let both = json!({"spec": {"dataSource": {"kind": "x"}, "dataSourceRef": {"kind": "x"}}});
    assert_eq!(fields("", "PersistentVolumeClaim", both, None), ["spec.dataSource"], "one source");
    let far = json!({"spec": {"dataSourceRef": {"kind": "x", "namespace": "n"}}});
    assert_eq!(fields("", "PersistentVolumeClaim", far, None), ["spec.dataSourceRef"]);
}

#[test]
fn labels_and_volumes_that_nothing_acts_on_are_named() {
    let labels = |level: &str| json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
    let place = ["metadata.labels[pod-security.kubernetes.io/enforce]"];
    let namespace = |level: &str, old: Option<&str>| fields("", "Namespace", labels(level), old.map(labels));
    assert_eq!(namespace("restricted", None), place);
    assert_eq!(namespace("restricted", Some("baseline")), place);
    assert_eq!(namespace("restricted", Some("restricted")), [""; 0]);
    assert_eq!(namespace("privileged", None), [""; 0]);
    let topology = json!({"metadata": {"annotations": {"service.kubernetes.io/topology-mode": "Auto"}}});
    let place = ["metadata.annotations[service.kubernetes.io/topology-mode]"];
    assert_eq!(fields("", "Service", topology, None), place);
    let volume = |spec: Value| fields("", "PersistentVolume", json!({ "spec": spec }), None);
    assert_eq!(volume(json!({"nfs": {"server": "s", "path": "/"}})), ["spec.nfs"]);
    assert_eq!(volume(json!({"local": {"path": "/x", "fsType": "ext4"}})), ["spec.local.fsType"]);
    let policy =
        |policy: &str| volume(json!({"hostPath": {"path": "/x"}, "persistentVolumeReclaimPolicy": policy}));
    assert_eq!(policy("Recycle"), ["spec.persistentVolumeReclaimPolicy"]);
    assert_eq!(policy("Retain"), [""; 0]);
    let slice = json!({"endpoints": [{}, {"hints": {"forZones": [{"name": "a"}]}}]});
    assert_eq!(fields("discovery.k8s.io", "EndpointSlice", slice, None), ["endpoints[1].hints"]);
}

#[test]
fn the_target_of_a_debugger_is_named_unless_all_processes_are_shared() {
    let pod = |share: bool| {
        let debugger = json!({"name": "d", "image": "busybox", "targetContainerName": "c"});
        json!({"spec": {"shareProcessNamespace": share, "ephemeralContainers": [debugger]}})
    };
    let place = ["spec.ephemeralContainers[0].targetContainerName"];
    assert_eq!(fields("", "Pod", pod(false), None), place);
    assert_eq!(fields("", "Pod", pod(true), None), [""; 0]);
}

#[test]
fn a_capability_with_its_prefix_is_named() {
    let kind = crate::kinds::find("", "v1", "Pod").unwrap();
    let container =
        json!({"name": "c", "securityContext": {"capabilities": {"drop": ["CAP_NET_RAW", "KILL"]}}});
    let found = warnings(kind, &json!({"spec": {"containers": [container]}}), None);
    assert_eq!(
        found,
        [
            "spec.containers[0].securityContext.capabilities.drop: there is no capability \"CAP_NET_RAW\"; its name is \"NET_RAW\""
        ]
    );
}

#[test]
fn the_ports_of_sidecars_on_the_node_are_named() {
    let kind = crate::kinds::find("", "v1", "Pod").unwrap();
    let sidecar =
        json!({"name": "s", "restartPolicy": "Always", "ports": [{"containerPort": 80, "hostPort": 80}]});
    let found = warnings(kind, &json!({"spec": {"initContainers": [sidecar]}}), None).join("; ");
    assert!(found.contains("spec.initContainers[0].ports[0].hostPort: "), "{found}");
}

#[test]
fn ports_of_services_that_nothing_serves_are_named() {
    let spec = |ports: Value| json!({"spec": {"ports": ports}});
    let (tcp, sctp) = (json!({"port": 1, "protocol": "TCP"}), json!({"port": 1, "protocol": "SCTP"}));
    let fields = |new: Value, old: Option<Value>| fields("", "Service", new, old);
    assert_eq!(fields(spec(json!([tcp])), None), [""; 0]);
    let both = spec(json!([tcp, sctp]));
    assert_eq!(fields(both.clone(), None), ["spec.ports[1].protocol"]);
    assert_eq!(fields(both.clone(), Some(spec(json!([tcp])))), ["spec.ports[1].protocol"]);
    assert_eq!(fields(both.clone(), Some(both)), [""; 0]);
    let checked = json!({"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}});
    assert_eq!(fields(checked.clone(), None), ["spec.healthCheckNodePort"]);
    assert_eq!(fields(checked.clone(), Some(checked)), [""; 0]);
}

#[test]
fn images_of_components_are_found_once() {
    let new = json!({"containers": [{"image": "ropewalk.io/etcd"}, {"image": "nginx"}], "initContainers": [{"image": " ropewalk.io/x"}]});
    let found = own_images(&new, &Value::Null);
    let want = [
        ("initContainers[0].image".to_string(), "ropewalk.io/x"),
        ("containers[0].image".to_string(), "ropewalk.io/etcd"),
    ];
    assert_eq!(found, want);
    assert_eq!(own_images(&new, &new), []);
}
