//! What pods ask of a node that they shall not have, and what they may have: paths, components,
//! workers, storage, last words.

use super::support::{Home, PATIENCE, TIMEOUT, World, capable, eventually, turn};
use serde_json::Value;
use std::path::Path;

fn waiting(world: &World, pod: &str) -> String {
    let status = world.status(&format!("pod {pod}"));
    status["containerStatuses"][0]["state"]["waiting"]["reason"].as_str().unwrap_or_default().to_string()
}

fn phase(world: &World, pod: &str) -> String {
    world.status(&format!("pod {pod}"))["phase"].as_str().unwrap_or_default().to_string()
}

/// A pod that runs one line of shell, with more of a container and more of a spec as YAML's short
/// form.
fn pod(name: &str, node: &str, line: &str, container: &str, spec: &str) -> String {
    let (container, spec) = (
        if container.is_empty() { String::new() } else { format!(", {container}") },
        if spec.is_empty() { String::new() } else { format!(", {spec}") },
    );
    let line = serde_json::to_string(line).unwrap();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{nodeName: {node}, restartPolicy: Never, \
         terminationGracePeriodSeconds: 0, containers: [{{name: c, image: busybox, command: [sh, -c, {line}]{container}}}]{spec}}}\n---\n"
    )
}

fn of_host(path: &str, kind: &str) -> (String, String) {
    let mount = "volumeMounts: [{name: h, mountPath: /h}]".to_string();
    (mount, format!("volumes: [{{name: h, hostPath: {{path: '{path}', type: '{kind}'}}}}]"))
}

#[test]
fn pods_have_of_a_node_what_they_may_and_no_more() {
    if !capable() {
        return;
    }
    let _turn = turn();
    let home = Home::new();
    let world = World::up(&home, &[]);
    let nodes = world.object("nodes");
    let node = |n: &Value| n["metadata"]["name"].as_str().unwrap_or_default().to_string();
    let all: Vec<String> = nodes["items"].as_array().unwrap().iter().map(node).collect();
    let node = all.last().unwrap().as_str();
    let outside = home.path().join("outside");
    std::fs::create_dir_all(outside.join("deep")).unwrap();
    std::fs::write(outside.join("secret"), "of the machine").unwrap();
    components(&world, &all[0]);
    files_of_volumes(&world, &outside, node);
    host_paths(&world, &outside, node);
    provisioner(&world, &home, &outside, node);
    storage(&world, node);
    last_words(&world, node);
    workers(&world, node);
    false_mirror(&world, node);
    admission(&world, node);
    full_disk(&world, &home, node);
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "of the machine");
    let mut left: Vec<_> = std::fs::read_dir(&outside).unwrap().flatten().map(|e| e.file_name()).collect();
    left.sort();
    assert_eq!(left, ["deep", "secret"], "nothing was made or removed outside of the node");
}

/// Images of components are refused to everybody's pods, by the API server and, if such a pod got
/// past it, by the node; the cluster goes on.
fn components(world: &World, control_plane: &str) {
    let placed = format!("{{\"spec\":{{\"nodeName\":\"{control_plane}\"}}}}");
    let pods = [
        ("boom", "default", "etcd"),
        ("a", "default", "kube-apiserver"),
        ("m", "default", "kube-controller-manager"),
        ("p", "default", "storage-provisioner"),
        ("s", "kube-system", "kube-scheduler"),
    ];
    for (name, namespace, component) in pods {
        let image = format!("ropewalk.io/{component}");
        let run = |image: &str| {
            let image = format!("--image={image}");
            let line = ["run", name, "-n", namespace, &image, "--overrides", &placed, "--", "sleep", "600"];
            world.cluster.kubectl(&world.any, &line)
        };
        run(&image).fails("runs a component of the cluster");
        run("busybox").ok();
        world.k(&["wait", "pod", name, "-n", namespace, "--for=condition=Ready", TIMEOUT]);
        world.rewrite_stored(&format!("/registry/pods/{namespace}/{name}"), |pod| {
            pod["spec"]["containers"][0]["image"] = image.as_str().into();
        });
    }
    for name in ["boom", "a", "m", "p", "s -n kube-system"] {
        eventually(PATIENCE, || waiting(world, name), |reason| reason == "CreateContainerError");
    }
    world.told("Pod", "boom", "is reserved");
    // A user who may write to kube-system may scale an addon.
    world.k(&["scale", "deployment", "coredns", "-n", "kube-system", "--replicas=3"]);
    let ready = || world.status("deployment coredns -n kube-system")["readyReplicas"].as_i64();
    eventually(PATIENCE, ready, |n| *n == Some(3));
    world.k(&["delete", "pod", "boom", "a", "m", "p", "--now"]);
    world.k(&["delete", "pod", "s", "-n", "kube-system", "--now"]);
}

/// A path of an item, or of a token, that leads out of its volume: refused by the API or by the
/// kubelet, and never written.
fn files_of_volumes(world: &World, outside: &Path, node: &str) {
    world.k(&["create", "configmap", "c1", "--from-literal=k=by a volume"]);
    let absolute = outside.join("deep/absolute").display().to_string();
    let climbing = format!("{}{absolute}", "../".repeat(20));
    for (n, path) in [absolute.as_str(), climbing.as_str(), "..data/x"].into_iter().enumerate() {
        let sources = [
            format!("configMap: {{name: c1, items: [{{key: k, path: '{path}', mode: 2541}}]}}"),
            format!("downwardAPI: {{items: [{{path: '{path}', fieldRef: {{fieldPath: metadata.name}}}}]}}"),
            format!("projected: {{sources: [{{serviceAccountToken: {{path: '{path}'}}}}]}}"),
        ];
        for (kind, source) in sources.iter().enumerate() {
            let name = format!("r1-{n}-{kind}");
            let mount = "volumeMounts: [{name: v, mountPath: /v}]";
            let volume = format!("volumes: [{{name: v, {source}}}]");
            let applied = world.apply(pod(&name, node, "true", mount, &volume));
            if applied.code == 0 {
                world.told("Pod", &name, "invalid path");
                world.k(&["delete", "pod", &name, "--now"]);
            } else {
                assert!(applied.err.contains("path"), "{applied:?}");
            }
        }
    }
    assert_eq!(std::fs::read_dir(outside.join("deep")).unwrap().count(), 0);
    // What is right is there.
    let right = "volumes: [{name: v, configMap: {name: c1, items: [{key: k, path: a/b, mode: 256}]}}]";
    let mount = "volumeMounts: [{name: v, mountPath: /v}]";
    assert_eq!(world.apply(pod("r1-right", node, "cat /v/a/b", mount, right)).code, 0);
    eventually(PATIENCE, || phase(world, "r1-right"), |phase| phase == "Succeeded");
    assert_eq!(world.k(&["logs", "r1-right"]).trim_end(), "by a volume");
}

/// A link that one pod puts into the node's file system leads no other pod out of it.
fn host_paths(world: &World, outside: &Path, node: &str) {
    let (mount, volume) = of_host("/", "");
    let out = outside.display();
    let line = format!(
        "ln -s {out} /h/evil; ln -s / /h/root; mkdir -p /h/srv; echo inside > /h/srv/file; ln -s /srv /h/link"
    );
    assert_eq!(world.apply(pod("r4a", node, &line, &mount, &volume)).code, 0);
    eventually(PATIENCE, || phase(world, "r4a"), |phase| phase == "Succeeded");
    for (name, path, kind) in [
        ("r4b", "/evil".to_string(), "Directory"),
        ("r4c", format!("/root{out}/secret"), "File"),
        ("r4d", "/evil/secret".to_string(), "File"),
    ] {
        let (mount, volume) = of_host(&path, kind);
        assert_eq!(world.apply(pod(name, node, "cat /h /h/*", &mount, &volume)).code, 0);
        world.told("Pod", name, "hostPath type check failed");
        world.k(&["delete", "pod", name, "--now"]);
    }
    for (name, path) in [("r4e", "/evil/deep/made".to_string()), ("r4f", format!("/root{out}"))] {
        let (mount, volume) = of_host(&path, "DirectoryOrCreate");
        assert_eq!(world.apply(pod(name, node, "ls -A /h", &mount, &volume)).code, 0);
        let settled = || {
            let events =
                world.k(&["get", "events", "--field-selector", &format!("involvedObject.name={name}")]);
            phase(world, name) == "Succeeded" || events.contains("FailedMount")
        };
        eventually(PATIENCE, settled, |settled| *settled);
        assert!(!world.say(&format!("logs {name}")).out.contains("secret"), "{name} sees the machine");
        world.k(&["delete", "pod", name, "--now"]);
    }
    let (mount, volume) = of_host("/link", "Directory");
    assert_eq!(world.apply(pod("r4g", node, "cat /h/file", &mount, &volume)).code, 0);
    eventually(PATIENCE, || phase(world, "r4g"), |phase| phase == "Succeeded");
    assert_eq!(world.k(&["logs", "r4g"]), "inside\n", "a link that stays in the node is followed");
    // The part of a volume that another pod made a link of.
    let part = "volumeMounts: [{name: h, mountPath: /h, subPath: evil}]";
    let (_, volume) = of_host("/", "");
    assert_eq!(world.apply(pod("r4h", node, "ls -A /h", part, &volume)).code, 0);
    eventually(PATIENCE, || phase(world, "r4h"), |phase| phase != "Pending" && phase != "Running");
    assert!(!world.say("logs r4h").out.contains("secret"));
}

/// A volume that only says that the provisioner made it is not removed.
fn provisioner(world: &World, home: &Home, outside: &Path, node: &str) {
    let inside = home.path().join("clusters/t/data").join(node).join("host/srv");
    assert!(inside.join("file").is_file(), "{} is where the node's files are", inside.display());
    for (name, path) in
        [("r10a", "/srv".to_string()), ("r10b", format!("{}{}", "/..".repeat(20), outside.display()))]
    {
        let volume = format!(
            "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {name}, annotations: {{pv.kubernetes.io/provisioned-by: ropewalk.io/local-path}}}}\n\
             spec: {{accessModes: [ReadWriteOnce], capacity: {{storage: 1Gi}}, persistentVolumeReclaimPolicy: Delete, hostPath: {{path: '{path}'}}, \
             claimRef: {{apiVersion: v1, kind: PersistentVolumeClaim, namespace: default, name: gone, uid: u}}, \
             nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [{node}]}}]}}]}}}}}}\n"
        );
        if world.apply(volume).code == 0 {
            let patch = "{\"status\":{\"phase\":\"Released\"}}";
            world.k(&["patch", "pv", name, "--subresource=status", "--type=merge", "-p", patch]);
            world.told("PersistentVolume", name, "VolumeFailedDelete");
        }
    }
    assert!(inside.join("file").is_file());
    // The annotation of a claim is no path either.
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: r10c, annotations: {volume.kubernetes.io/selected-node: '../../../x', \
         volume.kubernetes.io/storage-provisioner: ropewalk.io/local-path}}\n\
         spec: {storageClassName: standard, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}\n";
    assert_eq!(world.apply(claim).code, 0);
    world.told("PersistentVolumeClaim", "r10c", "there is no node");
    world.k(&["delete", "pvc", "r10c", "--wait=false"]);
}

/// A volume in memory is a tmpfs of its size; one on the disk has its pod evicted; a deadline ends
/// a pod.
fn storage(world: &World, node: &str) {
    let mount = "volumeMounts: [{name: v, mountPath: /v}]";
    let memory = "volumes: [{name: v, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]";
    let line =
        "grep ' /v ' /proc/mounts; dd if=/dev/zero of=/v/f bs=1024 count=4096 2>/dev/null; wc -c < /v/f";
    assert_eq!(world.apply(pod("memory", node, line, mount, memory)).code, 0);
    let disk = "volumes: [{name: v, emptyDir: {sizeLimit: 1Mi}}]";
    let line = "dd if=/dev/zero of=/v/f bs=1024 count=4096; sleep 3600";
    assert_eq!(world.apply(pod("disk", node, line, mount, disk)).code, 0);
    assert_eq!(world.apply(pod("brief", node, "sleep 3600", "", "activeDeadlineSeconds: 2")).code, 0);
    eventually(PATIENCE, || phase(world, "memory"), |phase| phase == "Succeeded");
    let said = world.k(&["logs", "memory"]);
    assert!(said.starts_with("tmpfs /v tmpfs ") && said.contains("size=1024k"), "{said}");
    assert_eq!(said.lines().last().map(str::trim), Some("1048576"), "{said}");
    let why = |pod: &str| {
        let status = world.status(&format!("pod {pod}"));
        (status["phase"].as_str().map(String::from), status["reason"].as_str().map(String::from))
    };
    let failed = |reason: &str| (Some("Failed".to_string()), Some(reason.to_string()));
    eventually(PATIENCE, || why("disk"), |why| *why == failed("Evicted"));
    eventually(PATIENCE, || why("brief"), |why| *why == failed("DeadlineExceeded"));
    world.told("Pod", "disk", "exceeds the limit");
    // (The deadline of `brief` counts from the pod's start, so it may be over before its container
    // was made.)
    let ended = || world.status("pod disk")["containerStatuses"][0]["state"]["terminated"].is_object();
    eventually(PATIENCE, ended, |ended| *ended);
    assert_eq!(why("disk"), failed("Evicted"), "what its containers did later changes nothing");
    world.k(&["delete", "pod", "memory", "disk", "brief", "--now"]);
}

/// What a container leaves in its file, or in its log, is in its status.
fn last_words(world: &World, node: &str) {
    let path = "terminationMessagePath: /tmp/words";
    let fall_back = "terminationMessagePolicy: FallbackToLogsOnError";
    let user = "securityContext: {runAsUser: 1000}";
    let pods = [
        pod("words-file", node, "printf DONE > /dev/termination-log", "", ""),
        pod("words-path", node, "printf DONE > /tmp/words", &format!("{path}, {user}"), ""),
        pod("words-log", node, "echo FAILED; exit 1", fall_back, ""),
        pod("words-none", node, "echo FAILED", fall_back, ""),
        pod("words-long", node, "head -c 10000 /dev/zero | tr '\\0' x > /dev/termination-log", "", ""),
    ];
    assert_eq!(world.apply(pods.concat()).code, 0);
    let message = |name: &str| {
        let mut status = world.status(&format!("pod {name}"));
        let ended = status["containerStatuses"][0]["state"]["terminated"].take();
        ended.is_object().then(|| ended["message"].as_str().unwrap_or_default().to_string())
    };
    for (name, said) in
        [("words-file", "DONE"), ("words-path", "DONE"), ("words-log", "FAILED\n"), ("words-none", "")]
    {
        eventually(PATIENCE, || message(name), |message| message.as_deref() == Some(said));
    }
    eventually(PATIENCE, || message("words-long").map(|m| m.len()), |length| *length == Some(4096));
}

/// A pod that says of itself that it mirrors a static pod, and got past the API server, is not run
/// but removed.
fn false_mirror(world: &World, node: &str) {
    assert_eq!(world.apply(pod("mirror", node, "sleep 3600", "", "")).code, 0);
    world.k(&["wait", "pod", "mirror", "--for=condition=Ready", TIMEOUT]);
    world.rewrite_stored("/registry/pods/default/mirror", |pod| {
        pod["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x".into();
    });
    eventually(PATIENCE, || world.say("get pod mirror").code, |code| *code != 0);
}

/// A pod that was bound past the scheduler and asks for more than the node has is rejected, and
/// never starts.
fn admission(world: &World, node: &str) {
    let over = "resources: {requests: {cpu: '100000'}}";
    let all = [
        pod("too-large", node, "sleep 3600", over, ""),
        pod("fits", node, "sleep 3600", "resources: {requests: {cpu: 1m}}", ""),
    ];
    assert_eq!(world.apply(all.concat()).code, 0);
    let why = || world.status("pod too-large")["reason"].as_str().unwrap_or_default().to_string();
    eventually(PATIENCE, why, |reason| reason == "OutOfcpu");
    let status = world.status("pod too-large");
    let message = status["message"].as_str().unwrap_or_default();
    let start = "Pod was rejected: Node didn't have enough resource: cpu, requested: 100000000, used: ";
    assert!(message.starts_with(start) && status["phase"] == "Failed", "{status}");
    assert!(status["containerStatuses"][0]["containerID"].is_null(), "{status}");
    world.told("Pod", "too-large", "Node didn't have enough resource: cpu");
    eventually(PATIENCE, || phase(world, "fits"), |phase| phase == "Running");
    world.k(&["delete", "pod", "too-large", "fits", "--now"]);
}

/// A message file holds little, and the pod's end is told all the same; a node whose pods use more
/// than its share of the disk evicts the worst of them.
fn full_disk(world: &World, home: &Home, node: &str) {
    let fill = "dd if=/dev/zero of=/dev/termination-log bs=65536 count=320 2>/dev/null; wc -c < /dev/termination-log";
    assert_eq!(world.apply(pod("words-full", node, fill, "", "")).code, 0);
    eventually(PATIENCE, || phase(world, "words-full"), |phase| phase == "Succeeded");
    let size: u64 = world.k(&["logs", "words-full"]).trim().parse().unwrap();
    assert!((4096..=1 << 20).contains(&size), "{size}");

    let mount = "volumeMounts: [{name: v, mountPath: /v}]";
    let volume = "volumes: [{name: v, emptyDir: {}}]";
    let pods = [
        pod("modest", node, "echo x > /v/f; sleep 3600", mount, volume),
        pod(
            "greedy",
            node,
            "trap '' TERM; while true; do sleep 1; done",
            mount,
            &format!("{volume}, terminationGracePeriodSeconds: 300"),
        ),
    ];
    let pods = pods.concat().replace("terminationGracePeriodSeconds: 0, ", "");
    assert_eq!(world.apply(pods).code, 0);
    world.k(&["wait", "pod", "modest", "greedy", "--for=condition=Ready", TIMEOUT]);
    let uid = world.object("pod greedy")["metadata"]["uid"].as_str().unwrap().to_string();
    let place = find_dir(home.path(), &uid).expect("the pod has a directory").join("volumes/v");
    let disk = nix::sys::statvfs::statvfs(&place).unwrap();
    if disk.blocks_available() * disk.fragment_size() < 15 << 30 {
        return eprintln!("skipped: this disk has less than 15 GiB, so a node cannot use up its share");
    }
    // As a process of the pod would, but at once.
    let file = std::fs::File::create(place.join("large")).unwrap();
    nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, 10 << 30).unwrap();
    drop(file);
    let why = || {
        let status = world.status("pod greedy");
        (
            status["reason"].as_str().unwrap_or_default().to_string(),
            status["message"].as_str().unwrap_or_default().to_string(),
        )
    };
    let (_, message) = eventually(PATIENCE, why, |(reason, _)| reason == "Evicted");
    let low = "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: ";
    assert!(message.starts_with(low), "{message}");
    eventually(PATIENCE, || place.join("large").exists(), |there| !there);
    world.told("Pod", "greedy", "The node was low on resource: ephemeral-storage");
    world.told("Node", node, "Attempting to reclaim ephemeral-storage");
    let condition = || {
        let status = world.status(&format!("node {node}"));
        let all = status["conditions"].as_array().cloned().unwrap_or_default();
        all.iter().any(|c| c["type"] == "DiskPressure" && c["status"] == "True")
    };
    eventually(PATIENCE, condition, |low| *low);
    let taints = || world.object(&format!("node {node}"))["spec"]["taints"].to_string();
    eventually(PATIENCE, taints, |taints| taints.contains("node.kubernetes.io/disk-pressure"));
    assert_eq!(phase(world, "modest"), "Running", "one pod is enough");
    assert_eq!(world.apply(pod("late", node, "sleep 3600", "", "")).code, 0);
    let refused = || world.status("pod late")["message"].as_str().unwrap_or_default().to_string();
    eventually(PATIENCE, refused, |said| said.contains("The node had condition: [DiskPressure]"));
}

/// A directory of this name.
fn find_dir(below: &Path, name: &str) -> Option<std::path::PathBuf> {
    let mut left = vec![below.to_path_buf()];
    while let Some(at) = left.pop() {
        for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name() == name {
                    return Some(entry.path());
                }
                left.push(entry.path());
            }
        }
    }
    None
}

/// Hooks that take for ever hold up their own pods only.
fn workers(world: &World, node: &str) {
    let hook = "lifecycle: {postStart: {exec: {command: [sleep, '9999']}}}";
    let many: String = (0..40).map(|n| pod(&format!("r18-{n}"), node, "sleep 3600", hook, "")).collect();
    assert_eq!(world.apply(many).code, 0);
    let hooked = || {
        let pods = world.object("events --field-selector reason=Started");
        let names = pods["items"].as_array().unwrap().iter().map(|e| e["involvedObject"]["name"].to_string());
        names.filter(|name| name.contains("r18-")).collect::<std::collections::BTreeSet<_>>().len()
    };
    eventually(PATIENCE, hooked, |n| *n == 40);
    assert_eq!(world.apply(pod("ordinary", node, "sleep 3600", "", "")).code, 0);
    eventually(PATIENCE, || phase(world, "ordinary"), |phase| phase == "Running");
}
