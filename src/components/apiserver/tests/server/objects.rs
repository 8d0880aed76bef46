//! Rules that writes, applies and deletions of objects keep.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn no_address_and_no_port_is_given_out_twice() {
    let api = std::sync::Arc::new(Api::new().await);
    let all = "/api/v1/namespaces/default/services";
    let service = |name: String, extra: Value| {
        let mut spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let chosen = json!({"clusterIP": "10.96.0.77"});
    let both =
        futures::future::join_all((0..8).map(|i| api.post(all, service(format!("same{i}"), chosen.clone()))))
            .await;
    let codes: Vec<u16> = both.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes.iter().filter(|c| **c == 201).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|c| matches!(c, 201 | 422)), "{codes:?}");
    let many =
        futures::future::join_all((0..40).map(|i| api.post(all, service(format!("s{i}"), json!({}))))).await;
    let mut ips: Vec<&str> = many.iter().map(|(_, s)| s["spec"]["clusterIP"].as_str().unwrap()).collect();
    let mut ports: Vec<i64> =
        many.iter().map(|(_, s)| s["spec"]["ports"][0]["nodePort"].as_i64().unwrap()).collect();
    ips.sort();
    ips.dedup();
    ports.sort();
    ports.dedup();
    assert_eq!((ips.len(), ports.len()), (40, 40));
    let free = ports[0];
    let owner = many.iter().find(|(_, s)| s["spec"]["ports"][0]["nodePort"] == free).unwrap();
    let taken = json!({"ports": [{"port": 80, "nodePort": free}]});
    let (code, status) = api.post(all, service("late".into(), taken.clone())).await;
    assert_eq!(code, 422);
    assert!(status["message"].as_str().unwrap().contains("provided port is already allocated"), "{status}");
    let name = owner.1["metadata"]["name"].as_str().unwrap();
    api.delete(&format!("{all}/{name}"), json!({})).await;
    assert_eq!(
        api.post(all, service("late".into(), taken)).await.0,
        201,
        "a deleted service gives its port back"
    );
    let (code, kept) = api.put(&format!("{all}/late"), service("late".into(), json!({}))).await;
    assert_eq!((code, &kept["spec"]["ports"][0]["nodePort"]), (200, &json!(free)));
    let (_, plain) = api.patch(&format!("{all}/late"), json!({"spec": {"type": "ClusterIP"}})).await;
    assert_eq!(plain["spec"]["ports"][0].get("nodePort"), None);
}

#[tokio::test]
async fn a_collection_is_deleted_page_by_page() {
    let api = Api::new().await;
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|o| o["metadata"]["name"].as_str().unwrap_or_default().into()).collect()
    };
    for name in ["a", "b", "c"] {
        assert_eq!(api.post(CM, json!({"metadata": {"name": name}})).await.0, 201);
    }
    let (code, first) = api.delete(&format!("{CM}?limit=2"), json!({})).await;
    assert_eq!((code, names(&first)), (200, vec!["a".into(), "b".into()]), "{first}");
    let token = first["metadata"]["continue"].as_str().expect("more are left").to_string();
    assert_eq!(names(&api.get(CM).await.1), ["c"]);
    // What has come meanwhile lies before the next page.
    assert_eq!(api.post(CM, json!({"metadata": {"name": "a"}})).await.0, 201);
    let (code, second) = api.delete(&format!("{CM}?limit=2&continue={token}"), json!({})).await;
    assert_eq!(
        (code, names(&second), &second["metadata"]["continue"]),
        (200, vec!["c".into()], &Value::Null)
    );
    assert_eq!(names(&api.get(CM).await.1), ["a"]);
    assert_eq!(api.delete(&format!("{CM}?continue=x"), json!({})).await.0, 400);
}

/// It would be refused in every later write of the object.
#[tokio::test]
async fn a_status_brings_no_annotation_that_is_none() {
    let api = Api::new().await;
    let path = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    assert_eq!(api.post(path, service).await.0, 201);
    let with = |key: &str| json!({"metadata": {"annotations": {key: "x"}}});
    let (code, answer) = api.patch(&format!("{path}/s/status"), with("not a key!")).await;
    assert_eq!(code, 422, "{answer}");
    assert_eq!(api.patch(&format!("{path}/s/status"), with("a.b/c")).await.0, 200);
    // Nor an address to a Service that has no load balancer.
    let balanced = json!({"status": {"loadBalancer": {"ingress": [{"ip": "9.9.9.9"}]}}});
    assert_eq!(api.patch(&format!("{path}/s/status"), balanced.clone()).await.0, 422);
    assert_eq!(api.patch(&format!("{path}/s"), json!({"spec": {"type": "LoadBalancer"}})).await.0, 200);
    let (code, stored) = api.patch(&format!("{path}/s/status"), balanced).await;
    assert_eq!((code, &stored["status"]["loadBalancer"]["ingress"][0]["ipMode"]), (200, &json!("VIP")));
    // A condition without a time has the zero time, which Go writes as null.
    let mut versions = vec![];
    let condition = json!({"type": "A", "status": "True", "reason": "R", "message": ""});
    for time in [None, Some(Value::Null)] {
        let mut sent = condition.clone();
        time.into_iter().for_each(|time| sent["lastTransitionTime"] = time);
        let sent = json!({"status": {"conditions": [sent]}});
        assert_eq!(api.patch(&format!("{path}/s/status"), sent).await.0, 200);
        let (_, stored) = api.get(&format!("{path}/s")).await;
        let stored = stored["status"]["conditions"][0].as_object().unwrap();
        assert_eq!(stored.get("lastTransitionTime"), Some(&Value::Null), "{stored:?}");
        assert_eq!(stored.get("lastProbeTime"), None, "a Service's have no such time");
    }
    let path = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    assert_eq!(api.post(path, pod).await.0, 201);
    let sent = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    for _ in 0..2 {
        let (code, stored) = api.patch(&format!("{path}/p/status"), sent.clone()).await;
        let condition = stored["status"]["conditions"][0].as_object().unwrap();
        assert_eq!((code, condition.get("lastProbeTime")), (200, Some(&Value::Null)), "{condition:?}");
        versions.push(stored["metadata"]["resourceVersion"].clone());
    }
    assert_eq!(versions[0], versions[1], "the second patch changes nothing");
}

#[tokio::test]
async fn a_write_that_means_an_object_that_is_gone_makes_no_other() {
    let api = Api::new().await;
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "uid": "gone"}});
    let apply = |body: &Value| {
        request("PATCH", &format!("{CM}/m?fieldManager=e"), "application/apply-patch+yaml", body.to_string())
    };
    let (code, answer) = api.send(admin(), apply(&body)).await;
    assert_eq!(code, 409, "{answer}");
    let lease = json!({"metadata": {"name": "l", "uid": "gone"}, "spec": {}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    assert_eq!(api.put(&format!("{leases}/l"), lease).await.0, 409);
}

#[tokio::test]
async fn a_resource_version_of_zero_is_none() {
    let api = Api::new().await;
    let map = json!({"metadata": {"name": "m", "resourceVersion": "0"}, "data": {"a": "1"}});
    let (code, made) = api.post(CM, map.clone()).await;
    assert_eq!(code, 201, "{made}");
    let mut next = map;
    next["data"]["a"] = "2".into();
    let (code, stored) = api.put(&format!("{CM}/m"), next).await;
    assert_eq!((code, &stored["data"]["a"]), (200, &json!("2")), "{stored}");
}

#[tokio::test]
async fn the_first_and_the_last_address_of_the_range_are_no_services() {
    let api = Api::new().await;
    let with = |ip: String| json!({"metadata": {"generateName": "s-"}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}});
    let (first, last) = ("10.96.0.0", "10.111.255.255");
    for (ip, code) in [(first, 422), (last, 422), ("10.111.255.254", 201)] {
        let (told, answer) = api.post("/api/v1/namespaces/default/services", with(ip.into())).await;
        assert_eq!(told, code, "{ip}: {answer}");
    }
}

#[tokio::test]
async fn an_eviction_of_the_older_version_is_one() {
    let api = Api::new().await;
    let eviction = json!({"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "p", "namespace": "default"}});
    assert_eq!(api.post("/api/v1/namespaces/default/pods/p/eviction", eviction).await.0, 404, "of the pod");
}

/// A label in a status that is applied is not stored, so its manager does not own it either, and
/// the one who sets it has no conflict.
#[tokio::test]
async fn nobody_owns_a_field_that_his_apply_does_not_write() {
    let api = Api::new().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let object = json!({"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    assert_eq!(api.post(path, object).await.0, 201);
    let apply = async |door: &str, manager: &str, metadata: Value| {
        let mut body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata});
        body["metadata"]["name"] = "web".into();
        let path = format!("{path}/web{door}?fieldManager={manager}");
        api.send(admin(), request("PATCH", &path, "application/apply-patch+yaml", body.to_string())).await
    };
    let metadata = json!({"labels": {"x": "1"}, "annotations": {"y": "1"}});
    let (code, stored) = apply("/status", "a", metadata).await;
    assert_eq!(code, 200, "{stored}");
    let entries = stored["metadata"]["managedFields"].as_array().unwrap();
    let mine = &entries.iter().find(|e| e["manager"] == "a").expect("its entry")["fieldsV1"]["f:metadata"];
    assert_eq!(*mine, json!({"f:annotations": {"f:y": {}}}));
    let (code, answer) = apply("", "b", json!({"labels": {"x": "2"}})).await;
    assert_eq!(code, 200, "{answer}");
}

/// Which metadata a status brings differs by kind: Deployments keep their labels, Pods their
/// owners, and others take everything, as upstream's status strategies.
#[tokio::test]
async fn a_status_brings_the_metadata_that_upstream_takes() {
    let api = Api::new().await;
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"});
    let metadata = json!({"labels": {"x": "1"}, "finalizers": ["a.b/c"], "ownerReferences": [owner]});
    let node = json!({"metadata": {"name": "n1"}});
    assert_eq!(api.post("/api/v1/nodes", node).await.0, 201);
    let (code, stored) = api.patch("/api/v1/nodes/n1/status", json!({"metadata": metadata})).await;
    let brought = &stored["metadata"];
    assert_eq!(
        (code, &brought["labels"]["x"], &brought["finalizers"][0]),
        (200, &json!("1"), &json!("a.b/c"))
    );
    assert_eq!(brought["ownerReferences"], metadata["ownerReferences"]);
    let wrong = json!({"metadata": {"labels": {"not a key!": "x"}}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", wrong).await.0, 422);
    // The finalizer holds it; a status takes no more of them then, and ends it by the last one.
    assert_eq!(api.delete("/api/v1/nodes/n1", json!({})).await.0, 200);
    let more = json!({"metadata": {"finalizers": ["a.b/c", "a.b/d"]}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", more).await.0, 422);
    let none = json!({"metadata": {"finalizers": []}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", none).await.0, 200);
    assert_eq!(api.get("/api/v1/nodes/n1").await.0, 404);

    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(api.post(pods, pod).await.0, 201);
    let status = format!("{pods}/p/status");
    let (_, stored) = api.patch(&status, json!({"metadata": metadata, "status": {"qosClass": null}})).await;
    let brought = &stored["metadata"];
    assert_eq!((&brought["labels"]["x"], &brought["ownerReferences"]), (&json!("1"), &Value::Null));
    assert_eq!(stored["status"]["qosClass"], "BestEffort");
    let kubelet = User::new("system:node:n1", &["system:nodes", "system:authenticated"]);
    let label = json!({"metadata": {"labels": {"x": "2"}}}).to_string();
    let (code, answer) =
        api.send(kubelet, request("PATCH", &status, "application/merge-patch+json", label)).await;
    let why = "cannot update labels through pod status";
    assert!(code == 403 && answer["message"].as_str().unwrap().ends_with(why), "{answer}");

    let namespace = "/api/v1/namespaces/default/status";
    let (_, stored) = api.patch(namespace, json!({"metadata": {"labels": null}})).await;
    assert_eq!(stored["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "default"}));
}

#[tokio::test]
async fn nothing_is_written_across_namespaces() {
    let api = Api::new().await;
    assert_eq!(api.post(CM, cm("a", "1")).await.0, 201);
    for method in ["DELETE", "POST", "PUT", "PATCH", "TRACE"] {
        let all = request(method, "/api/v1/configmaps", "application/json", "{}");
        let (code, status) = api.send(admin(), all).await;
        assert_eq!((code, &status["reason"]), (405, &json!("MethodNotAllowed")), "{method}");
    }
    assert_eq!(api.get(&format!("{CM}/a")).await.0, 200);
    // a right to one name is none to a collection, whatever its selector
    let bob = User::new("bob", &[]);
    let named = json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["deletecollection", "list"]}]);
    grant(&api, "bob", "default", named).await;
    let selected = format!("{CM}?fieldSelector=metadata.name%3Da");
    assert_eq!(api.send(bob.clone(), request("GET", &selected, "", "")).await.0, 200);
    assert_eq!(api.send(bob.clone(), request("DELETE", &selected, "", "")).await.0, 403);
    let escaped = format!("{CM}?fieldSelector=metadata.namespace%3Ddefault%5C,metadata.name%5C%3Da");
    assert_eq!(
        api.send(bob, request("GET", &escaped, "", "")).await.0,
        403,
        "one term, which names no object"
    );
}

#[tokio::test]
async fn no_service_catches_the_clusters_own_addresses() {
    let api = Api::new().await;
    let node = json!({"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.3.0/24"}});
    assert_eq!(api.post("/api/v1/nodes", node).await.0, 201);
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "172.30.0.11"}]}});
    assert_eq!(api.patch("/api/v1/nodes/n1/status", status).await.0, 200);
    let services = "/api/v1/namespaces/default/services";
    let service = |ip: &str| json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 443}], "externalIPs": [ip]}});
    for ip in [
        "172.30.0.11",
        "172.30.0.1",
        "10.244.3.9",
        "10.96.0.1",
        "::ffff:10.96.0.1",
        "010.96.0.1",
        "172.030.0.011",
        "127.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "x",
    ] {
        let (code, answer) = api.post(services, service(ip)).await;
        assert_eq!(code, 422, "{ip}: {answer}");
        assert!(
            answer["message"].as_str().unwrap().contains("spec.externalIPs[0]: Invalid value"),
            "{answer}"
        );
    }
    for (ip, got) in [
        ("2001:db8::1", "nothing leads to 2001:db8::1"),
        ("203.0.113.250", "connections of all pods to 203.0.113.250"),
    ] {
        let ask = request("POST", services, "application/json", service(ip).to_string());
        let _ = api.delete(&format!("{services}/s"), json!({})).await;
        let made = api.fixture.server.call(ask, admin()).await;
        assert_eq!(made.status(), 201);
        assert!(made.headers()["warning"].to_str().unwrap().contains(got), "{:?}", made.headers());
    }
    let (code, answer) =
        api.patch(&format!("{services}/s"), json!({"spec": {"externalIPs": ["172.30.0.11"]}})).await;
    assert_eq!(code, 422, "{answer}");
    // CVE-2021-25737
    let slice = json!({"metadata": {"name": "e"}, "addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}], "ports": [{"port": 80}]});
    let (code, answer) = api.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice).await;
    assert!(
        code == 422 && answer["message"].as_str().unwrap().contains("may not be in the loopback range"),
        "{answer}"
    );
    let endpoints = json!({"metadata": {"name": "e"}, "subsets": [{"addresses": [{"ip": "169.254.169.254"}], "ports": [{"port": 80}]}]});
    let (code, answer) = api.post("/api/v1/namespaces/default/endpoints", endpoints).await;
    assert!(
        code == 422 && answer["message"].as_str().unwrap().contains("may not be in the link-local range"),
        "{answer}"
    );
}

/// A delete says in its body that it is a dry run, and its record says so also where there is
/// nothing to delete.
#[tokio::test]
async fn a_deletion_that_is_only_tried_is_told_so_when_it_is_refused() {
    let api = Api::new().await;
    for (body, is_dry_run) in [(json!({"dryRun": ["All"]}), true), (json!({}), false)] {
        let learner = User::new(tap::LEARNER, &["system:masters"]);
        let asked = request("DELETE", &format!("{CM}/none"), "application/json", body.to_string());
        assert_eq!(api.send(learner, asked).await.0, 404);
        let records = api.fixture.tap.since(0);
        let answer = records.iter().rfind(|r| r.answer().is_some()).and_then(|r| r.request.clone());
        assert_eq!(answer.map(|request| (request.code, request.dry_run)), Some((404, is_dry_run)));
    }
}
