use super::claims::{behind, claimed};
use super::*;
use api::requests::Amount;
use api::volumes::CLAIM_PROTECTION;
use client::testing::{self, Scripted, refusal};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A policy that forbids `prod` by its name says nothing of `prod?`: a pod that names the
/// latter must not get what the former holds.
#[tokio::test]
async fn a_name_that_no_object_can_have_leads_to_no_other_object() {
    let server = Scripted::new(|asked| match asked.line.ends_with("s/prod") {
        true => Some((200, serde_json::json!({"metadata": {"name": "prod"}}))),
        false => refusal(404, "NotFound"),
    })
    .await;
    let (pod, dir) = (Pod::default(), tempfile::tempdir().unwrap());
    let (node_ip, pod_ip) = (String::new(), String::new());
    let facts = Facts { pod: &pod, node_name: "n1", node_ip, pod_ip, allocatable: Amount::default() };
    let (client, node_root) = (&server.client, dir.path());
    let context = Context {
        client,
        facts: &facts,
        dir: node_root.join("volumes"),
        node_root,
        memory_bytes: 0,
        take_claim: &|_| true,
    };
    let mut left = files::ALL_MAX;
    let mut files = Gathered::new(&mut left);
    for name in ["prod?", "prod#x", "my prod", "../pods/prod"] {
        let unmade = secret(&context, "n", name, None, false, 0o644, &mut files).await.unwrap_err();
        assert_eq!((unmade.why, unmade.unanswered), (format!("secret {name:?} not found"), false));
        secret(&context, "n", name, None, true, 0o644, &mut files).await.expect("it is optional");
        let unmade = config_map(&context, "n", name, None, false, 0o644, &mut files).await.unwrap_err();
        assert_eq!(unmade.why, format!("configmap {name:?} not found"));
        let unmade = claimed(client, "n", name).await.map(drop).unwrap_err();
        assert_eq!(unmade.why, format!("persistentvolumeclaim {name:?} not found"));
    }
    secret(&context, "n", "prod", None, false, 0o644, &mut files).await.expect("it is there");
}

/// A pod with `nodeName` has passed the scheduler by.
#[tokio::test]
async fn a_volume_for_one_pod_is_not_mounted_into_a_second_one() {
    let server = Scripted::new(|asked| match asked.line.as_str() {
        line if line.ends_with("/persistentvolumeclaims/c") => {
            let metadata = json!({"name": "c", "namespace": "n"});
            let (spec, status) = (json!({"volumeName": "v"}), json!({"phase": "Bound"}));
            Some((200, json!({"metadata": metadata, "spec": spec, "status": status})))
        }
        line if line.ends_with("/persistentvolumes/v") => {
            let reserved = json!({"name": "c", "namespace": "n"});
            let modes = ["ReadWriteOncePod"];
            let spec = json!({"hostPath": {"path": "/d"}, "claimRef": reserved, "accessModes": modes});
            Some((200, json!({"metadata": {}, "spec": spec})))
        }
        _ => refusal(404, "NotFound"),
    })
    .await;
    let pod = |uid: &str, status: Value| -> Pod {
        let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
        let metadata = json!({"name": uid, "namespace": "n", "uid": uid});
        let mounts = json!([{"name": "v", "mountPath": "/v"}]);
        let spec = json!({"containers": [{"name": "a", "volumeMounts": mounts}], "volumes": volumes});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
    };
    let made = json!([{"name": "a", "containerID": "ropewalk://1", "image": "", "imageID": "", "ready": true, "restartCount": 0}]);
    let second = pod("second", json!({}));
    let starts = async |holders: &Holders, own: &Pod, other: &Pod| {
        let dir = tempfile::tempdir().unwrap();
        let (node_ip, pod_ip) = (String::new(), String::new());
        let facts = Facts { pod: own, node_name: "n1", node_ip, pod_ip, allocatable: Amount::default() };
        let all = || vec![Arc::new(own.clone()), Arc::new(other.clone())];
        let take_claim = &|claim: &str| holders.take(own, claim, all);
        let (client, node_root) = (&server.client, dir.path());
        let dir = node_root.join("volumes");
        let context = Context { client, facts: &facts, dir, node_root, memory_bytes: 0, take_claim };
        prepare(&context, &mut Volumes::new()).await.map(drop).map_err(|(_, unmade)| unmade.why)
    };
    let in_use = "volume uses the ReadWriteOncePod access mode and is already in use by another pod";
    let refused = Err(in_use.to_string());
    let running = pod("first", json!({"phase": "Running", "containerStatuses": made}));
    assert_eq!(starts(&Holders::default(), &second, &running).await, refused);
    for status in [json!({"phase": "Pending"}), json!({"phase": "Failed", "containerStatuses": made})] {
        assert_eq!(starts(&Holders::default(), &second, &pod("first", status)).await, Ok(()));
    }
    // Both start in the same moment: the status of neither shows a container yet.
    let (holders, first) = (Holders::default(), pod("first", json!({"phase": "Pending"})));
    assert_eq!(starts(&holders, &first, &second).await, Ok(()));
    assert_eq!(starts(&holders, &second, &first).await, refused);
    assert_eq!(starts(&holders, &first, &second).await, Ok(()), "its volumes are brought up to date");
    let ended = pod("first", json!({"phase": "Succeeded"}));
    assert_eq!(starts(&holders, &second, &ended).await, Ok(()));
}

#[test]
fn host_paths_stay_on_the_node_whatever_links_pods_put_there() {
    let dir = tempfile::tempdir().unwrap();
    let (node, outside) = (dir.path().join("n/host"), dir.path().join("outside"));
    fs::create_dir_all(node.join("run")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("secret"), "of the machine").unwrap();
    symlink("/", node.join("evil")).unwrap(); // as a pod with hostPath: / makes it
    symlink("../../outside", node.join("up")).unwrap();
    symlink(&outside, node.join("away")).unwrap();
    symlink("/run", node.join("here")).unwrap();
    symlink(outside.join("made"), node.join("dangling")).unwrap();
    symlink("/proc/self/root", node.join("magic")).unwrap();
    let on = |path: &str, kind: &str| host_path(&node, path, kind, 0o755);
    on("/here/deep/dir", "DirectoryOrCreate").unwrap();
    assert!(node.join("run/deep/dir").is_dir(), "a link of the node's own is followed inside");
    on("/evil/run", "Directory").unwrap(); // `/` is the node's own root
    on("/evil/etc/x", "").unwrap();
    assert!(node.join("etc/x").is_dir());
    assert_eq!(on("/f/new", "FileOrCreate"), Err("open /f/new: no such file or directory".into()));
    on("/f", "DirectoryOrCreate").unwrap();
    on("/f/new", "FileOrCreate").unwrap();
    on("/f/new", "File").unwrap();
    on("/f/new", "").unwrap();
    for (path, kind, what) in [("/f/new", "DirectoryOrCreate", "directory"), ("/f", "FileOrCreate", "file")] {
        assert_eq!(on(path, kind), Err(format!("hostPath type check failed: {path} is not a {what}")));
    }
    for (path, kind) in [
        ("/up/secret", "File"),
        ("/away/secret", "File"),
        ("/away/made", "FileOrCreate"),
        ("/dangling", "FileOrCreate"),
        ("/dangling/x", "DirectoryOrCreate"),
        ("/magic/etc", "Directory"),
        ("/magic/tmp/rw-made", "DirectoryOrCreate"),
        ("/../../outside", "Directory"),
        ("/f/new", "Directory"),
        ("/run", "File"),
        ("/f/new", "Socket"),
        ("/f/new", "BlockDevice"),
        ("/f/new", "CharDevice"),
        ("/run", "Nonsense"),
    ] {
        assert!(on(path, kind).is_err(), "{path} as {kind}");
    }
    let left: Vec<_> = fs::read_dir(&outside).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["secret"], "nothing is made outside");
}

#[test]
fn the_type_of_a_persistent_volumes_path_is_kept_and_a_local_path_has_to_exist() {
    let claim: PersistentVolumeClaim = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "c", "namespace": "n", "uid": "u"}, "spec": {"volumeName": "v"},
    }))
    .unwrap();
    let kind = |mut spec: serde_json::Value| {
        spec["claimRef"] = serde_json::json!({"name": "c", "namespace": "n", "uid": "u"});
        let volume = serde_json::from_value(serde_json::json!({"spec": spec})).unwrap();
        behind("v".into(), volume, &claim).unwrap().kind
    };
    let of_host = serde_json::json!({"hostPath": {"path": "/typo", "type": "Directory"}});
    assert_eq!(kind(of_host).as_deref(), Some("Directory"));
    assert_eq!(kind(serde_json::json!({"hostPath": {"path": "/d"}})).as_deref(), Some(""));
    assert_eq!(kind(serde_json::json!({"local": {"path": "/d"}})), None);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("there")).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(local(dir.path(), "/there"), Ok(()));
    assert!(local(dir.path(), "/typo").unwrap_err().contains("does not exist"));
    assert!(local(dir.path(), "/file").unwrap_err().contains("is not a directory"));
    assert!(!dir.path().join("typo").exists());
}

/// A process ended while it made the directory of an emptyDir.
#[test]
fn an_unfinished_directory_is_finished_and_a_finished_one_keeps_its_mode() {
    let dir = tempfile::tempdir().unwrap();
    let (volume, unfinished) = (dir.path().join("volumes/cache"), dir.path().join("volumes/.cache.new"));
    fs::create_dir_all(&unfinished).unwrap();
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    make_dir(&volume, 0o777).unwrap();
    assert_eq!((mode(&volume), unfinished.exists()), (0o777, false));
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o700)).unwrap(); // a container's own doing
    make_dir(&volume, 0o777).unwrap();
    assert_eq!((mode(&volume), unfinished.exists()), (0o700, false));
}

#[test]
fn one_object_many_times_has_a_bound() {
    let all = || BTreeMap::from([("k".to_string(), vec![b'x'; 1 << 20])]);
    let items = |count: usize| -> Vec<KeyToPath> {
        (0..count).map(|n| KeyToPath { key: "k".into(), path: n.to_string(), mode: None }).collect()
    };
    let room = tokio::sync::Semaphore::new(files::ROOM);
    let mut left = files::ALL_MAX;
    let mut gathered = Gathered::within(&mut left, &room);
    select(all(), Some(&items(60)[..]), 0o644, &mut gathered, false, "").unwrap();
    let refused = select(all(), Some(&items(1000)[..]), 0o644, &mut gathered, false, "").unwrap_err();
    assert!(refused.contains("more than 67108864 bytes"), "{refused}");
    assert!(gathered.files.len() <= 64);
    let small = || BTreeMap::from([("k".to_string(), vec![])]);
    let mut left = files::ALL_MAX;
    let mut gathered = Gathered::within(&mut left, &room);
    assert!(
        select(small(), Some(&items(20_000)[..]), 0o644, &mut gathered, false, "").is_err(),
        "files take blocks"
    );
}

/// A kubelet that has just started knows no volume; the token of a pod is renewed all the same.
#[tokio::test]
async fn a_volume_that_cannot_be_made_keeps_no_other_from_being_made() {
    let server = Scripted::new(|asked| match asked.line.ends_with("/configmaps/there") {
        true => Some((200, serde_json::json!({"metadata": {"name": "there"}, "data": {"k": "v"}}))),
        false => refusal(404, "NotFound"),
    })
    .await;
    let of = |name: &str| serde_json::json!({"name": name, "configMap": {"name": name}});
    let mount = |name: &str| json!({"name": name, "mountPath": format!("/{name}")});
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {
            "containers": [{"name": "c", "volumeMounts": [mount("gone"), mount("there")]}],
            "volumes": [of("unused"), of("gone"), of("there")],
        },
    }))
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (node_ip, pod_ip) = (String::new(), String::new());
    let facts = Facts { pod: &pod, node_name: "n1", node_ip, pod_ip, allocatable: Amount::default() };
    let (client, node_root) = (&server.client, dir.path());
    let context = Context {
        client,
        facts: &facts,
        dir: node_root.join("volumes"),
        node_root,
        memory_bytes: 0,
        take_claim: &|_| true,
    };
    let mut known = Volumes::new();
    let (volume, unmade) = prepare(&context, &mut known).await.unwrap_err();
    assert_eq!((volume.as_str(), unmade.why.as_str()), ("gone", "configmap \"gone\" not found"));
    assert_eq!(fs::read_to_string(node_root.join("volumes/there/k")).unwrap(), "v");
    assert!(known.contains_key("there") && !known.contains_key("gone"));
}

/// Behind a link that is cut each request takes seconds.
#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_asked_for_one_volume_alone() {
    let (dials, mut endpoint) = (Arc::new(AtomicUsize::new(0)), testing::silent().await);
    let counted = dials.clone();
    let dial: client::Dialer = Arc::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            clock::pause(SLOW).await;
            Err(io::Error::from(io::ErrorKind::TimedOut))
        })
    });
    endpoint.dial = dial;
    let (client, dir) = (Client::connect(endpoint).unwrap(), tempfile::tempdir().unwrap());
    let asked = async |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("v{n}")).collect();
        let volumes = names.iter().map(|n| json!({"name": n, "configMap": {"name": n}}));
        let mounts = names.iter().map(|n| json!({"name": n, "mountPath": format!("/{n}")}));
        let container = json!({"name": "c", "volumeMounts": mounts.collect::<Vec<_>>()});
        let spec = json!({"containers": [container], "volumes": volumes.collect::<Vec<_>>()});
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
        let (node_ip, pod_ip) = (String::new(), String::new());
        let facts = Facts { pod: &pod, node_name: "n1", node_ip, pod_ip, allocatable: Amount::default() };
        let context = Context {
            client: &client,
            facts: &facts,
            dir: dir.path().join("volumes"),
            node_root: dir.path(),
            memory_bytes: 0,
            take_claim: &|_| true,
        };
        let mut known: Volumes = names.into_iter().map(|name| (name, Place::default())).collect();
        let stale = prepare(&context, &mut known).await.unwrap();
        assert!(stale.len() == count && stale.iter().all(|(_, unmade)| unmade.unanswered));
        dials.swap(0, Ordering::Relaxed)
    };
    assert_eq!(asked(5).await, asked(1).await);
}

/// The scheduler looks at that, too, but a pod with `nodeName` has passed it by.
#[tokio::test]
async fn a_claim_that_is_being_deleted_is_for_the_pods_alone_that_use_it() {
    let server = Scripted::new(|asked| {
        let (kind, name) = asked.line.rsplit_once('/')?;
        let finalizer = if name == "protected" { CLAIM_PROTECTION } else { "example.com/x" };
        let claim = json!({
            "metadata": {"name": name, "namespace": "n", "uid": "u", "finalizers": [finalizer],
                "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"volumeName": name}, "status": {"phase": "Bound"},
        });
        let reserved = json!({"name": name, "namespace": "n", "uid": "u"});
        let spec = json!({"hostPath": {"path": "/data"}, "claimRef": reserved});
        let volume = json!({"metadata": {"name": name}, "spec": spec});
        Some((200, if kind.ends_with("persistentvolumeclaims") { claim } else { volume }))
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let (client, node_root) = (&server.client, dir.path());
    let made = async |claim: &str, container_id: Option<&str>| {
        let status = json!({"name": "a", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "containerID": container_id});
        let source = json!({"name": "d", "persistentVolumeClaim": {"claimName": claim}});
        let mounts = json!([{"name": "d", "mountPath": "/d"}]);
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {"containers": [{"name": "a", "volumeMounts": mounts}], "volumes": [source]},
            "status": {"containerStatuses": [status]},
        }))
        .unwrap();
        let (node_ip, pod_ip) = (String::new(), String::new());
        let facts = Facts { pod: &pod, node_name: "n1", node_ip, pod_ip, allocatable: Amount::default() };
        let context = Context {
            client,
            facts: &facts,
            dir: node_root.join("volumes"),
            node_root,
            memory_bytes: 0,
            take_claim: &|_| true,
        };
        prepare(&context, &mut Volumes::new()).await.map(drop).map_err(|(_, unmade)| unmade.why)
    };
    let refused = "persistentvolumeclaim \"c\" is being deleted".to_string();
    assert_eq!(made("c", None).await, Err(refused));
    assert_eq!(made("c", Some("ropewalk://a")).await, Ok(()), "its container crashed and starts again");
    assert_eq!(made("protected", None).await, Ok(()), "it stays as long as the pod");
}

#[test]
fn an_ephemeral_container_does_not_change_whom_tokens_belong_to() {
    let user = |of_main: serde_json::Value| {
        let pod = serde_json::json!({"spec": {
            "initContainers": [{"name": "i", "securityContext": {"runAsUser": 1000}}],
            "containers": [{"name": "a", "securityContext": of_main}],
            "ephemeralContainers": [{"name": "debugger"}],
        }});
        owners(&serde_json::from_value(pod).unwrap()).user
    };
    assert_eq!(user(serde_json::json!({"runAsUser": 1000})), Some(1000));
    assert_eq!(user(serde_json::json!({"runAsUser": 2000})), None);
    assert_eq!(user(serde_json::json!({})), None);
}

/// The volume was mounted as a directory.
#[tokio::test]
async fn a_pod_that_mounts_a_block_volume_does_not_start() {
    let server = Scripted::new(|asked| {
        let claim = serde_json::json!({"metadata": {"name": "c", "namespace": "n", "uid": "u"},
            "spec": {"volumeName": "v", "volumeMode": "Block"}, "status": {"phase": "Bound"}});
        let reserved = serde_json::json!({"name": "c", "namespace": "n", "uid": "u"});
        let volume = serde_json::json!({"metadata": {"name": "v"},
            "spec": {"hostPath": {"path": "/data"}, "volumeMode": "Block", "claimRef": reserved}});
        let line = asked.line.as_str();
        let of_claim = line.ends_with("/persistentvolumeclaims/c").then_some(claim);
        Some((200, of_claim.or(line.ends_with("/persistentvolumes/v").then_some(volume))?))
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let (client, node_root) = (&server.client, dir.path());
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {
            "containers": [{"name": "a", "volumeMounts": [{"name": "d", "mountPath": "/d"}]}],
            "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}],
        },
    }))
    .unwrap();
    let (node_ip, pod_ip) = (String::new(), String::new());
    let facts = Facts { pod: &pod, node_name: "n1", node_ip, pod_ip, allocatable: Amount::default() };
    let context = Context {
        client,
        facts: &facts,
        dir: node_root.join("volumes"),
        node_root,
        memory_bytes: 0,
        take_claim: &|_| true,
    };
    let prepared = prepare(&context, &mut Volumes::new()).await.map(drop).map_err(|(_, unmade)| unmade.why);
    assert_eq!(prepared, Err("volume d has volumeMode Block, but is specified in volumeMounts".into()));
    assert!(!node_root.join("data").exists());
}
