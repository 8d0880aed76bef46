use super::decide::{ZONE, container_port};
use super::group::HEADLESS;
use super::*;
use serde_json::{Value, json};

pub(super) fn pod(name: &str, ip: &str, ready: bool, going: bool, port: i32) -> Arc<Pod> {
    let mut json = json!({
        "metadata": {"name": name, "namespace": "d", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": port}]}]},
        "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    });
    if going {
        json["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    Arc::new(serde_json::from_value(json).unwrap())
}

fn node(name: &str, labels: Value) -> Node {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
}

fn line(groups: &[Group]) -> Vec<String> {
    let endpoint = |e: &Endpoint| {
        let c = e.conditions.clone().unwrap();
        format!(
            "{}:{}{}{}",
            e.addresses[0],
            u8::from(c.ready.unwrap()),
            u8::from(c.serving.unwrap()),
            u8::from(c.terminating.unwrap())
        )
    };
    groups
        .iter()
        .map(|g| {
            format!(
                "{} {}",
                g.ports[0].port.unwrap(),
                g.endpoints.iter().map(endpoint).collect::<Vec<_>>().join(" ")
            )
        })
        .collect()
}

#[test]
fn readiness_decides_and_named_ports_may_differ() {
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "s"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }))
    .unwrap();
    let pods = [
        pod("a", "10.244.1.2", true, false, 80),
        pod("b", "10.244.1.3", false, false, 80),
        pod("c", "10.244.1.4", true, true, 80),
        pod("d", "10.244.1.5", true, false, 8080),
        pod("e", "", true, false, 80),
    ];
    let groups = decide(&service, &pods);
    assert_eq!(line(&groups), ["80 10.244.1.2:110 10.244.1.3:000 10.244.1.4:011", "8080 10.244.1.5:110"]);
    let old = old::subsets(&service, &groups);
    assert_eq!(old[0].addresses.as_ref().unwrap().len(), 1);
    assert_eq!(old[0].not_ready_addresses.as_ref().unwrap().len(), 1);
}

/// A typo, or peers that need no port and find each other by DNS.
#[test]
fn a_pod_without_the_named_port_is_an_endpoint_without_ports() {
    for (ports, subsets) in [(json!([{"port": 80, "targetPort": "web"}]), 0), (json!([]), 1)] {
        let spec = json!({"selector": {"app": "web"}, "clusterIP": "None", "ports": ports});
        let service: Service =
            serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).unwrap();
        let groups = decide(&service, &[pod("a", "10.244.1.2", true, false, 80)]);
        assert_eq!((groups.len(), slices::ports_of(&groups[0])), (1, None));
        assert_eq!(groups[0].endpoints[0].addresses, ["10.244.1.2"]);
        let old = old::subsets(&service, &groups);
        assert_eq!(old.len(), subsets, "{ports}");
        assert!(old.iter().all(|s| s.ports.is_none()), "as the API server stores it: {old:?}");
    }
}

#[test]
fn a_named_port_is_one_of_a_container_that_stays() {
    for (policy, want) in [(Value::Null, None), (json!("Always"), Some(9000))] {
        let ports = json!([{"name": "http", "containerPort": 9000}]);
        let first = json!({"name": "i", "restartPolicy": policy, "ports": ports});
        let pod = json!({"spec": {"initContainers": [first], "containers": [{"name": "c"}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        assert_eq!(container_port(&pod, "http", None), want, "{policy}");
    }
}

#[test]
fn endpoints_are_in_the_zone_of_their_node() {
    let service =
        json!({"metadata": {"name": "s"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    let service: Service = serde_json::from_value(service).unwrap();
    let mut groups = decide(&service, &[pod("a", "10.244.1.2", true, false, 80)]);
    for (label, want) in [(ZONE, Some("east")), ("zone", None)] {
        let node = node("n1", json!({label: "east"}));
        look_up_nodes(&mut groups, false, |name| (name == "n1").then(|| Arc::new(node.clone())));
        assert_eq!(groups[0].endpoints[0].zone.as_deref(), want, "{label}");
    }
}

/// As after `kubectl delete node`, until the garbage collector of pods has been there.
#[tokio::test]
async fn pods_of_a_node_that_does_not_exist_are_in_no_slice() {
    let server = client::testing::Scripted::new(|_| None).await;
    let worker = Worker::new(&Shared::fixed(&server.client));
    worker.shared.informer::<Node>().show(node("n1", json!({})));
    worker.shared.informer::<Pod>().show((*pod("a", "10.244.1.2", true, false, 80)).clone());
    let mut lost = (*pod("b", "10.244.2.2", true, false, 80)).clone();
    lost.spec.as_mut().unwrap().node_name = Some("n2".into());
    worker.shared.informer::<Pod>().show(lost);
    for (name, publish) in [("s", false), ("t", true)] {
        let spec = json!({"selector": {"app": "web"}, "publishNotReadyAddresses": publish});
        let service = json!({"metadata": {"name": name, "namespace": "d", "uid": name}, "spec": spec});
        worker.shared.informer::<Service>().show(serde_json::from_value(service).unwrap());
        worker.sync(Key::new("d", name), None).await.unwrap();
        let asked = server.take();
        let old = asked.iter().find(|a| a.line.ends_with("/endpoints")).expect("an Endpoints object");
        assert_eq!(old.body["subsets"][0]["addresses"].as_array().map(Vec::len), Some(2), "as upstream");
        let want = if publish { "POST 10.244.1.2 10.244.2.2" } else { "POST 10.244.1.2" };
        assert_eq!(writes(asked), [want]);
    }
}

#[tokio::test]
async fn a_node_that_appears_or_moves_brings_the_services_of_its_pods() {
    let server = client::testing::Scripted::new(|_| None).await;
    let shared = Shared::fixed(&server.client);
    shared.informer::<Pod>().show((*pod("a", "10.244.1.2", true, false, 80)).clone());
    for (name, selector) in [("s", json!({"app": "web"})), ("t", json!({"app": "db"})), ("u", json!({}))] {
        let service = json!({"metadata": {"name": name, "namespace": "d"}, "spec": {"selector": selector}});
        shared.informer::<Service>().show(serde_json::from_value(service).unwrap());
    }
    let here = |zone: &str| Arc::new(node("n1", json!({ZONE: zone})));
    let services = |change: Change<Node>| -> Vec<String> {
        services_on(&shared, &change).into_iter().map(|key| key.name).collect()
    };
    assert_eq!(services(Change::Added(here("east"))), ["s"]);
    assert_eq!(services(Change::Added(Arc::new(node("n2", json!({}))))), [""; 0]);
    assert_eq!(services(Change::Updated { old: here("east"), new: here("west") }), ["s"]);
    assert_eq!(services(Change::Updated { old: here("west"), new: here("west") }), [""; 0]);
    assert_eq!(services(Change::Deleted(here("west"))), [""; 0]);
}

#[test]
fn a_service_without_a_selector_selects_nothing() {
    let service: Service =
        serde_json::from_value(json!({"metadata": {}, "spec": {"ports": [{"port": 80}]}})).unwrap();
    assert!(decide(&service, &[pod("a", "10.244.1.2", true, false, 80)]).is_empty());
}

#[tokio::test]
async fn a_slice_is_not_made_twice_while_the_cache_is_behind() {
    let server = client::testing::Scripted::new(|_| None).await;
    let worker = Worker::new(&Shared::fixed(&server.client));
    let name = "s".repeat(63);
    let service = serde_json::json!({"metadata": {"name": name, "namespace": "d", "uid": "u"}, "spec": {"selector": {"a": "b"}}});
    worker.shared.informer::<Service>().show(serde_json::from_value(service).unwrap());
    let key = Key::new("d", &name);
    let posts =
        || server.take().into_iter().filter(|a| a.line.ends_with("/endpointslices")).collect::<Vec<_>>();
    worker.sync(key.clone(), None).await.unwrap();
    let made = posts();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].body["metadata"]["name"].as_str().map(str::len), Some(63));
    worker.sync(key.clone(), None).await.unwrap();
    assert_eq!(posts().len(), 0);
    worker.awaited.forget_creation(&key, made[0].body["metadata"]["name"].as_str().unwrap());
    worker.sync(key, None).await.unwrap();
    assert_eq!(posts().len(), 1, "it was seen, and is gone again");
}

/// `kubectl expose`: the slice is seen before the Endpoints object that the same look made. A 409
/// would be drawn on the map.
#[tokio::test]
async fn an_endpoints_object_is_not_written_twice_while_the_cache_is_behind() {
    let stored = |a: &client::testing::Asked, revision: &str| {
        let mut body = a.body.clone();
        body["metadata"]["resourceVersion"] = json!(revision);
        Some((201, body))
    };
    let server = client::testing::Scripted::new(move |a| match a.line.split(' ').next() {
        Some("POST") => stored(a, "7"),
        Some("PUT") => stored(a, "9"),
        _ => None,
    })
    .await;
    let worker = Worker::new(&Shared::fixed(&server.client));
    let queue = WorkQueue::new(&worker.shared.crew);
    worker.watch_writes(&queue);
    let spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80}]});
    let service = json!({"metadata": {"name": "s", "namespace": "d", "uid": "u"}, "spec": spec});
    worker.shared.informer::<Service>().show(serde_json::from_value(service).unwrap());
    worker.shared.informer::<Node>().show(node("n1", json!({})));
    let key = Key::new("d", "s");
    let written = async || -> Vec<Value> {
        worker.sync(key.clone(), None).await.unwrap();
        server.take().into_iter().filter(|a| !a.line.starts_with("GET")).map(|a| a.body).collect()
    };
    let first = written().await;
    assert_eq!(first.len(), 2, "a slice and an Endpoints object");
    let show = |mut body: Value, revision: &str| {
        body["metadata"]["resourceVersion"] = json!(revision);
        match body["addressType"].is_null() {
            true => worker.shared.informer::<Endpoints>().show(serde_json::from_value(body).unwrap()),
            false => {
                worker.awaited.forget_creation(&key, body["metadata"]["name"].as_str().unwrap());
                worker.shared.informer::<EndpointSlice>().show(serde_json::from_value(body).unwrap());
            }
        }
    };
    let (old, slices): (Vec<Value>, Vec<Value>) =
        first.into_iter().partition(|body| body["addressType"].is_null());
    show(slices[0].clone(), "7");
    assert!(written().await.is_empty(), "the Endpoints object is not seen yet");
    show(old[0].clone(), "7");
    assert_eq!(queue.next().await.0, key, "what was held back is looked at again");
    assert!(written().await.is_empty(), "all is as it should be");
    worker.shared.informer::<Pod>().show((*pod("a", "10.244.1.2", true, false, 80)).clone());
    let second = written().await;
    assert_eq!(second.len(), 2, "both are replaced");
    worker.shared.informer::<Pod>().show((*pod("b", "10.244.1.3", true, false, 80)).clone());
    assert!(written().await.is_empty(), "a write at an old revision would be a conflict");
    second.into_iter().for_each(|body| show(body, "9"));
    assert_eq!(written().await.len(), 2);
}

#[tokio::test]
async fn slices_that_are_going_or_of_another_type_are_not_written() {
    let server = client::testing::Scripted::new(|_| None).await;
    let worker = Worker::new(&Shared::fixed(&server.client));
    let spec = json!({"selector": {"app": "web"}, "clusterIP": "None"});
    let service = json!({"metadata": {"name": "s", "namespace": "d", "uid": "u"}, "spec": spec});
    worker.shared.informer::<Service>().show(serde_json::from_value(service).unwrap());
    worker.shared.informer::<Pod>().show((*pod("a", "10.244.1.2", true, false, 80)).clone());
    let labels = json!({SERVICE_NAME: "s", MANAGED_BY: MANAGER});
    for (name, going, addresses) in
        [("going", json!("2026-01-01T00:00:00Z"), "IPv4"), ("six", Value::Null, "IPv6")]
    {
        let meta = json!({"name": name, "namespace": "d", "uid": name, "labels": labels, "deletionTimestamp": going});
        let slice = json!({"metadata": meta, "addressType": addresses, "endpoints": []});
        worker.shared.informer::<EndpointSlice>().show(serde_json::from_value(slice).unwrap());
    }
    worker.sync(Key::new("d", "s"), None).await.unwrap();
    let asked = server.take();
    let slices: Vec<&str> =
        asked.iter().map(|a| a.line.as_str()).filter(|l| l.contains("/endpointslices")).collect();
    let root = "/apis/discovery.k8s.io/v1/namespaces/d/endpointslices";
    assert_eq!(slices, [format!("POST {root}"), format!("DELETE {root}/six")]);
    let old = asked.iter().find(|a| a.line.ends_with("/endpoints")).expect("an Endpoints object");
    assert_eq!(old.body["metadata"]["labels"][HEADLESS], "");
}

/// It was made for a service without a selector, and would be that of the next one of this name.
#[tokio::test]
async fn an_endpoints_object_that_a_user_wrote_goes_with_its_service() {
    for (written, goes) in [("7", true), ("9", false)] {
        let server = client::testing::Scripted::new(|_| None).await;
        let worker = Worker::new(&Shared::fixed(&server.client));
        let meta = json!({"name": "s", "namespace": "d", "uid": "e", "resourceVersion": written});
        let by_hand = serde_json::from_value(json!({"metadata": meta})).unwrap();
        worker.shared.informer::<Endpoints>().show(by_hand);
        worker.sync(Key::new("d", "s"), Some(Cause::Revision(8))).await.unwrap();
        let deletion = ["DELETE /api/v1/namespaces/d/endpoints/s"];
        assert_eq!(server.lines(), if goes { &deletion[..] } else { &[] }, "{written}");
    }
}

#[test]
fn only_a_service_without_an_address_has_the_label_of_headless_ones() {
    for (address, want) in [("None", Some("")), ("10.96.0.9", None)] {
        let spec = json!({"clusterIP": address});
        let service: Service = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        let mut labels = BTreeMap::from([(HEADLESS.to_string(), "yes".to_string())]);
        label_headless(&mut labels, &service);
        assert_eq!(labels.get(HEADLESS).map(String::as_str), want, "{address}");
    }
}

/// As after `kubectl replace --force`: the garbage collector is about to delete them.
#[tokio::test]
async fn slices_of_an_earlier_service_of_that_name_are_replaced() {
    let server = client::testing::Scripted::new(|_| None).await;
    let worker = Worker::new(&Shared::fixed(&server.client));
    let service = json!({"metadata": {"name": "s", "namespace": "d", "uid": "new"}, "spec": {"selector": {"app": "web"}}});
    worker.shared.informer::<Service>().show(serde_json::from_value(service).unwrap());
    let owner = json!({"apiVersion": "v1", "kind": "Service", "name": "s", "uid": "old", "controller": true});
    let labels = json!({SERVICE_NAME: "s", MANAGED_BY: MANAGER});
    let meta =
        json!({"name": "left", "namespace": "d", "uid": "1", "labels": labels, "ownerReferences": [owner]});
    let slice = json!({"metadata": meta, "addressType": "IPv4", "endpoints": []});
    worker.shared.informer::<EndpointSlice>().show(serde_json::from_value(slice).unwrap());
    worker.sync(Key::new("d", "s"), None).await.unwrap();
    let asked = server.lines();
    let slices: Vec<&String> = asked.iter().filter(|l| l.contains("/endpointslices")).collect();
    let root = "/apis/discovery.k8s.io/v1/namespaces/d/endpointslices";
    assert_eq!(slices, [&format!("POST {root}"), &format!("DELETE {root}/left")]);
}

#[tokio::test]
async fn an_endpoints_object_that_has_not_all_addresses_says_so_until_it_has() {
    let server = client::testing::Scripted::new(|a| {
        let writes = a.line.starts_with("POST") || a.line.starts_with("PUT");
        writes.then(|| (201, a.body.clone()))
    })
    .await;
    let worker = Worker::new(&Shared::fixed(&server.client));
    let service = json!({"metadata": {"name": "s", "namespace": "d", "uid": "u"}, "spec": {"selector": {"app": "web"}}});
    worker.shared.informer::<Service>().show(serde_json::from_value(service).unwrap());
    let ip = |n: usize| format!("10.244.{}.{}", n / 200, n % 200);
    let pods: Vec<Arc<Pod>> = (0..1001).map(|n| pod(&format!("p{n:04}"), &ip(n), true, false, 80)).collect();
    pods.iter().for_each(|pod| worker.shared.informer::<Pod>().show(Pod::clone(pod)));
    let mut notes = Vec::new();
    for writes in [1, 0, 1] {
        worker.sync(Key::new("d", "s"), None).await.unwrap();
        let written: Vec<Value> =
            server.take().into_iter().filter(|a| a.line.contains("/endpoints")).map(|a| a.body).collect();
        let written: Vec<Value> = written.into_iter().filter(|body| body["addressType"].is_null()).collect();
        assert_eq!(written.len(), writes, "what is the same is not written");
        for body in written {
            notes.push(body["metadata"]["annotations"]["endpoints.kubernetes.io/over-capacity"].clone());
            assert_eq!(body["subsets"][0]["addresses"].as_array().map(Vec::len), Some(1000));
            worker.shared.informer::<Endpoints>().show(serde_json::from_value(body).unwrap());
        }
        if writes == 0 {
            worker.shared.informer::<Pod>().show_deleted(Pod::clone(&pods[1000]));
        }
    }
    assert_eq!(notes, [json!("truncated"), Value::Null]);
}

/// `/endpointslices` as asked for, in order, with the addresses that are written.
fn writes(asked: Vec<client::testing::Asked>) -> Vec<String> {
    let shown = |a: client::testing::Asked| {
        let verb = a.line.split(' ').next().unwrap_or_default().to_string();
        let addresses = a.body["endpoints"].as_array().cloned().unwrap_or_default();
        addresses.iter().fold(verb, |line, e| format!("{line} {}", e["addresses"][0].as_str().unwrap()))
    };
    asked.into_iter().filter(|a| a.line.contains("/endpointslices")).map(shown).collect()
}

/// A finalizer holds it, as that of a load balancer does, and meanwhile its pods change.
#[tokio::test]
async fn a_service_that_is_being_deleted_has_its_slice_written_and_gets_no_new_one() {
    let server = client::testing::Scripted::new(|a| {
        let writes = a.line.starts_with("POST") || a.line.starts_with("PUT");
        writes.then(|| (201, a.body.clone()))
    })
    .await;
    let worker = Worker::new(&Shared::fixed(&server.client));
    let meta =
        json!({"name": "s", "namespace": "d", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"});
    let service = json!({"metadata": meta, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    worker.shared.informer::<Service>().show(serde_json::from_value(service).unwrap());
    worker.shared.informer::<Node>().show(node("n1", json!({})));
    worker.shared.informer::<Pod>().show((*pod("a", "10.244.1.2", true, false, 80)).clone());
    let key = Key::new("d", "s");
    worker.sync(key.clone(), None).await.unwrap();
    assert_eq!(writes(server.take()), [""; 0]);
    let owner = json!({"apiVersion": "v1", "kind": "Service", "name": "s", "uid": "u", "controller": true});
    let labels = json!({SERVICE_NAME: "s", MANAGED_BY: MANAGER});
    let meta =
        json!({"name": "s-1", "namespace": "d", "uid": "1", "labels": labels, "ownerReferences": [owner]});
    let slice = json!({"metadata": meta, "addressType": "IPv4", "endpoints": []});
    worker.shared.informer::<EndpointSlice>().show(serde_json::from_value(slice).unwrap());
    worker.sync(key, None).await.unwrap();
    assert_eq!(writes(server.take()), ["PUT 10.244.1.2"]);
}

/// A rolling update gives a named port another number; the pods that serve keep their slice.
#[tokio::test]
async fn a_new_group_of_ports_does_not_take_the_slice_of_another() {
    let server = client::testing::Scripted::new(|a| {
        let writes = a.line.starts_with("POST") || a.line.starts_with("PUT");
        writes.then(|| (201, a.body.clone()))
    })
    .await;
    let worker = Worker::new(&Shared::fixed(&server.client));
    let spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]});
    let service = json!({"metadata": {"name": "s", "namespace": "d", "uid": "u"}, "spec": spec});
    worker.shared.informer::<Service>().show(serde_json::from_value(service).unwrap());
    worker.shared.informer::<Node>().show(node("n1", json!({})));
    let key = Key::new("d", "s");
    worker.shared.informer::<Pod>().show((*pod("z", "10.244.1.9", true, false, 8080)).clone());
    worker.sync(key.clone(), None).await.unwrap();
    let made = server.take().into_iter().find(|a| a.line.ends_with("/endpointslices")).unwrap().body;
    worker.awaited.forget_creation(&key, made["metadata"]["name"].as_str().unwrap());
    worker.shared.informer::<EndpointSlice>().show(serde_json::from_value(made).unwrap());
    worker.shared.informer::<Pod>().show((*pod("a", "10.244.1.2", false, false, 9090)).clone());
    worker.sync(key, None).await.unwrap();
    assert_eq!(writes(server.take()), ["POST 10.244.1.2"]);
}
