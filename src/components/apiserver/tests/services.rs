//! What the API server gives to Services: addresses, node ports, families, and what they keep.

use crate::auth::user::{MASTERS, User};
use crate::request::http::full;
use crate::testing::Api;
use ::http::Request;
use serde_json::{Value, json};

const SERVICES: &str = "/api/v1/namespaces/default/services";

impl Api {
    /// Asks for a Service with this spec, and returns the spec that it gets.
    async fn post_service(&self, name: &str, spec: Value) -> (u16, Value) {
        let service = json!({"metadata": {"name": name}, "spec": spec});
        spec_of(self.post(SERVICES, service).await)
    }

    async fn made_service(&self, name: &str, spec: Value) -> Value {
        let (code, spec) = self.post_service(name, spec).await;
        assert_eq!(code, 201, "{spec}");
        spec
    }

    async fn patch_service(&self, name: &str, spec: Value) -> (u16, Value) {
        spec_of(self.patch(&format!("{SERVICES}/{name}"), json!({ "spec": spec })).await)
    }

    /// Changes a Service by a patch, or by an update with the object as it was read.
    async fn change_service(&self, by: &str, name: &str, spec: Value) -> (u16, Value) {
        if by == "PATCH" {
            return self.patch_service(name, spec).await;
        }
        let path = format!("{SERVICES}/{name}");
        let (_, mut object) = self.get(&path).await;
        api::patch::merge(&mut object, &json!({ "spec": spec }));
        spec_of(self.put(&path, object).await)
    }
}

/// The spec of an object; of a refusal what it says.
fn spec_of((code, mut answer): (u16, Value)) -> (u16, Value) {
    let field = if code < 300 { "spec" } else { "message" };
    (code, answer[field].take())
}

#[tokio::test]
async fn addresses_from_outside_keep_their_policy_without_node_ports() {
    let api = Api::bare().await;
    let spec = json!({"type": "NodePort", "externalIPs": ["203.0.113.7"], "externalTrafficPolicy": "Local",
        "ports": [{"port": 80}]});
    api.made_service("s", spec).await;
    let (code, spec) = api.patch_service("s", json!({"type": "ClusterIP"})).await;
    assert_eq!((code, &spec["externalTrafficPolicy"]), (200, &json!("Local")), "{spec}");
    assert_eq!(spec["ports"][0].get("nodePort"), None);
    let (code, spec) = api.patch_service("s", json!({"externalIPs": null})).await;
    assert_eq!((code, spec.get("externalTrafficPolicy")), (200, None), "{spec}");
}

/// The message tells of the wrong field alone: which type was asked for stands in the record.
#[tokio::test]
async fn the_record_of_an_invalid_write_has_the_object_that_was_refused() {
    let api = Api::bare().await;
    let tried = || {
        let records = api.fixture.tap.since(0);
        let answer = records.iter().rev().find_map(|r| r.answer().map(|answer| answer.tried.clone()));
        answer.flatten().map(|object| object["spec"]["type"].clone())
    };
    let invalid = |kind: &str| json!({"type": kind, "ports": [{"port": 80, "nodePort": 80}]});
    for kind in ["NodePort", "LoadBalancer"] {
        let (code, message) = api.post_service("door", invalid(kind)).await;
        assert_eq!((code, tried()), (422, Some(json!(kind))), "{message}");
    }
    api.made_service("door", json!({"type": "NodePort", "ports": [{"port": 80}]})).await;
    assert_eq!(tried(), None, "it was stored");
    for kind in ["NodePort", "LoadBalancer"] {
        let (code, message) = api.patch_service("door", invalid(kind)).await;
        assert_eq!((code, tried()), (422, Some(json!(kind))), "{message}");
    }
}

#[tokio::test]
async fn a_port_has_one_node_port_for_all_protocols() {
    let api = Api::bare().await;
    let port = |name: &str, protocol: &str, number: i64, node_port: i64| json!({"name": name, "protocol": protocol, "port": number, "nodePort": node_port});
    let given = |spec: &Value| -> Vec<i64> {
        spec["ports"].as_array().unwrap().iter().map(|port| port["nodePort"].as_i64().unwrap()).collect()
    };
    let ports = |last: i64| {
        json!([port("dns", "UDP", 53, 0), port("other", "TCP", 54, 0), port("dns-tcp", "TCP", 53, last)])
    };
    let spec = api.made_service("dns", json!({"type": "NodePort", "ports": ports(0)})).await;
    let [udp, other, tcp] = given(&spec)[..] else { panic!("{spec}") };
    assert!(udp == tcp && udp != other, "{spec}");
    let spec = api.made_service("named", json!({"type": "NodePort", "ports": ports(30053)})).await;
    assert!(given(&spec)[0] == 30053 && given(&spec)[2] == 30053, "{spec}");
    let two = json!([port("a", "UDP", 53, 30054), port("b", "TCP", 54, 30054)]);
    let (code, message) = api.post_service("two", json!({"type": "NodePort", "ports": two})).await;
    assert_eq!(code, 422, "{message}");
    let why = "spec.ports[1].nodePort: Invalid value: 30054: provided port is already allocated";
    assert!(message.as_str().unwrap().contains(why), "{message}");
}

#[tokio::test]
async fn a_local_load_balancer_gets_a_port_for_health_checks() {
    let api = Api::bare().await;
    let balanced = |policy: &str| json!({"type": "LoadBalancer", "externalTrafficPolicy": policy, "ports": [{"port": 80}]});
    let spec = api.made_service("local", balanced("Local")).await;
    let given = spec["healthCheckNodePort"].as_i64().expect("a port");
    assert!((30000..=32767).contains(&given) && spec["ports"][0]["nodePort"] != given, "{spec}");
    assert_eq!(
        api.patch_service("local", json!({"sessionAffinity": "ClientIP"})).await.1["healthCheckNodePort"],
        given
    );
    let spec = api.made_service("cluster", balanced("Cluster")).await;
    assert_eq!(spec.get("healthCheckNodePort"), None);
    let taken = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": given}]});
    assert_eq!(api.post_service("other", taken.clone()).await.0, 422, "it is reserved");
    let (code, spec) = api.patch_service("cluster", json!({"externalTrafficPolicy": "Local"})).await;
    assert!(code == 200 && spec["healthCheckNodePort"].is_i64(), "{spec}");
    let (_, spec) = api.patch_service("local", json!({"externalTrafficPolicy": "Cluster"})).await;
    assert_eq!(spec.get("healthCheckNodePort"), None);
    assert_eq!(api.post_service("other", taken).await.0, 201, "it was given back");
}

#[tokio::test]
async fn a_headless_service_without_selector_has_both_families() {
    let api = Api::bare().await;
    let headless = |more: Value| {
        let mut spec = json!({"clusterIP": "None", "ports": [{"port": 80}]});
        api::patch::merge(&mut spec, &more);
        spec
    };
    for (name, more, policy, families) in [
        ("by-hand", json!({}), "RequireDualStack", json!(["IPv4", "IPv6"])),
        ("six", json!({"ipFamilies": ["IPv6"]}), "RequireDualStack", json!(["IPv6", "IPv4"])),
        ("prefers", json!({"ipFamilyPolicy": "PreferDualStack"}), "PreferDualStack", json!(["IPv4", "IPv6"])),
        ("single", json!({"ipFamilyPolicy": "SingleStack"}), "SingleStack", json!(["IPv4"])),
        ("selects", json!({"selector": {"a": "b"}}), "SingleStack", json!(["IPv4"])),
        ("address", json!({"clusterIP": null}), "SingleStack", json!(["IPv4"])),
    ] {
        let spec = api.made_service(name, headless(more)).await;
        assert_eq!((&spec["ipFamilyPolicy"], &spec["ipFamilies"]), (&json!(policy), &families), "{name}");
        let (code, after) = api.patch_service(name, json!({"sessionAffinity": "ClientIP"})).await;
        assert_eq!((code, &after["ipFamilies"]), (200, &families), "{name}: {after}");
    }
}

#[tokio::test]
async fn a_policy_of_one_family_releases_the_second_one() {
    let api = Api::bare().await;
    api.made_service("s", json!({"clusterIP": "None", "ports": [{"port": 80}]})).await;
    let (code, message) = api.patch_service("s", json!({"ipFamilies": ["IPv4"]})).await;
    let why = "must be 'SingleStack' to release the secondary IP family";
    assert!(code == 422 && message.as_str().unwrap().contains(why), "{message}");
    let (code, spec) = api.patch_service("s", json!({"ipFamilyPolicy": "SingleStack"})).await;
    assert_eq!((code, &spec["ipFamilies"]), (200, &json!(["IPv4"])), "{spec}");
    let (code, message) = api.patch_service("s", json!({"ipFamilies": ["IPv4", "IPv6"]})).await;
    let why = "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified";
    assert!(code == 422 && message.as_str().unwrap().contains(why), "{message}");
}

/// As upstream: the node port of such a Service means nothing, so another one may have it.
#[tokio::test]
async fn an_external_name_may_have_a_node_port_and_does_not_own_it() {
    let api = Api::bare().await;
    let ports = json!([{"port": 80, "nodePort": 30080}]);
    let away = json!({"type": "ExternalName", "externalName": "a.example", "ports": ports});
    assert_eq!(api.made_service("away", away).await["ports"][0]["nodePort"], 30080);
    let beyond =
        json!({"type": "ExternalName", "externalName": "a.example", "ports": [{"port": 80, "nodePort": 80}]});
    assert_eq!(api.post_service("beyond", beyond).await.0, 201, "its range is not looked at either");
    let node = json!({"type": "NodePort", "ports": ports});
    assert_eq!(api.post_service("node", node).await.0, 201);
    let (code, message) = api.patch_service("away", json!({"type": "NodePort", "externalName": null})).await;
    assert!(code == 422 && message.as_str().unwrap().contains("already allocated"), "{message}");
}

#[tokio::test]
async fn addresses_that_contradict_each_other_are_refused() {
    let api = Api::bare().await;
    let spec = |more: Value| {
        let mut spec = json!({"ports": [{"port": 80}]});
        api::patch::merge(&mut spec, &more);
        spec
    };
    for (more, why) in [
        (
            json!({"clusterIP": "10.96.0.50", "clusterIPs": ["10.96.0.60"]}),
            "first value must match `clusterIP`",
        ),
        (json!({"clusterIPs": ["10.96.0.60"]}), "must be empty when `clusterIP` is not specified"),
        (
            json!({"clusterIP": "10.96.0.50", "clusterIPs": ["10.96.0.50", "10.96.0.51"]}),
            "may specify no more than one IP for each IP family",
        ),
        (
            json!({"clusterIP": "10.96.0.50", "clusterIPs": ["10.96.0.50", "fd00::1"]}),
            "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified",
        ),
        (
            json!({"clusterIP": "10.96.0.50", "clusterIPs": ["10.96.0.50", "fd00::1"], "ipFamilyPolicy": "PreferDualStack"}),
            "IPv6 is not configured on this cluster",
        ),
        (
            json!({"clusterIP": "None", "clusterIPs": ["None", "10.96.0.50"]}),
            "'None' must be the first and only value",
        ),
        (json!({"clusterIP": "x"}), "must be a valid IP address"),
        (
            json!({"type": "ExternalName", "externalName": "a.example", "clusterIP": "10.96.0.9"}),
            "may not be set for ExternalName services",
        ),
        (
            json!({"type": "ExternalName", "externalName": "a.example", "ipFamilies": ["IPv4"]}),
            "may not be set for ExternalName services",
        ),
    ] {
        let (code, message) = api.post_service("s", spec(more.clone())).await;
        assert!(code == 422 && message.as_str().unwrap().contains(why), "{more}: {code} {message}");
    }
    let made = api.made_service("s", spec(json!({"clusterIP": "10.96.0.50"}))).await;
    assert_eq!(made["clusterIPs"], json!(["10.96.0.50"]));
    let (code, message) = api.patch_service("s", json!({"clusterIPs": ["10.96.0.51"]})).await;
    assert!(
        code == 422 && message.as_str().unwrap().contains("first value must match `clusterIP`"),
        "{message}"
    );
    let (code, message) = api.patch_service("s", json!({"clusterIP": "10.96.0.51"})).await;
    assert!(code == 422 && message.as_str().unwrap().contains("may not change once set"), "{message}");
    let (code, after) = api.patch_service("s", json!({"clusterIP": null, "clusterIPs": null})).await;
    assert_eq!((code, &after["clusterIP"]), (200, &json!("10.96.0.50")), "what it has stays");
    let away = json!({"type": "ExternalName", "externalName": "a.example"});
    let (code, after) = api.patch_service("s", away).await;
    assert_eq!((code, after.get("clusterIPs")), (200, None), "{after}");
    let (code, after) = api
        .patch_service("s", json!({"type": "ClusterIP", "externalName": null, "clusterIP": "10.96.0.52"}))
        .await;
    assert_eq!((code, &after["clusterIPs"]), (200, &json!(["10.96.0.52"])), "{after}");
}

/// What its type does not have goes, and all else stays. What an ExternalName has and does not show
/// comes back by a patch of the type alone.
#[tokio::test]
async fn a_service_becomes_an_external_name_and_comes_back() {
    let api = Api::bare().await;
    let external = json!({"type": "ExternalName", "externalName": "a.example",
        "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]});
    for (by, inside) in [("PATCH", "Local"), ("PUT", "Cluster")] {
        let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local",
            "internalTrafficPolicy": "Local", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]});
        let made = api.made_service("s", spec).await;
        let has_ports = made["healthCheckNodePort"].is_i64() && made["ports"][0]["nodePort"].is_i64();
        assert!(has_ports && made["allocateLoadBalancerNodePorts"] == true, "{made}");
        let away = json!({"type": "ExternalName", "externalName": "a.example"});
        let (code, away) = api.change_service(by, "s", away).await;
        assert_eq!((code, &away), (200, &external), "{by}");
        let (_, one) = api.get(&format!("{SERVICES}/s")).await;
        assert_eq!(one["spec"], external, "{by}");
        let (_, list) = api.get(SERVICES).await;
        let listed = list["items"].as_array().unwrap().iter().find(|one| one["metadata"]["name"] == "s");
        assert_eq!(listed.unwrap()["spec"], external, "{by}");
        let (code, back) = api.change_service(by, "s", json!({"type": "ClusterIP"})).await;
        let ip = back["clusterIP"].as_str().unwrap_or_default();
        assert!(code == 200 && !ip.is_empty(), "{back}");
        let mut want = external.clone();
        let more = json!({"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": inside});
        api::patch::merge(&mut want, &more);
        assert_eq!(back, want, "{by}");
        assert_eq!(api.delete(&format!("{SERVICES}/s"), json!({})).await.0, 200);
    }
}

/// As upstream, whose `StatusREST` has no decorator.
#[tokio::test]
async fn the_status_of_an_external_name_shows_all_that_is_stored() {
    let api = Api::bare().await;
    let spec = json!({"type": "ExternalName", "externalName": "a.example", "internalTrafficPolicy": "Local"});
    api.made_service("s", spec).await;
    let (main, status) = (format!("{SERVICES}/s"), format!("{SERVICES}/s/status"));
    let (_, whole) = api.get(&status).await;
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    for (code, shown) in
        [api.get(&status).await, api.put(&status, whole).await, api.patch(&status, labelled).await]
    {
        assert_eq!((code, &shown["spec"]["internalTrafficPolicy"]), (200, &json!("Local")), "{shown}");
    }
    let (_, one) = api.get(&main).await;
    assert_eq!(
        (&one["metadata"]["labels"]["a"], &one["spec"]["internalTrafficPolicy"]),
        (&json!("b"), &Value::Null)
    );
}

/// As upstream (`REST.beginUpdate`): a patch changes a Service with all that it has, and policies
/// see of the old one what answers show.
#[tokio::test]
async fn policies_see_the_old_service_of_an_update_as_it_was_shown() {
    const ROOT: &str = "/apis/admissionregistration.k8s.io/v1";
    let api = Api::bare().await;
    let spec = json!({"type": "ExternalName", "externalName": "a.example", "internalTrafficPolicy": "Local"});
    api.made_service("s", spec).await;
    let seen = "has(object.spec.internalTrafficPolicy) && !has(oldObject.spec.internalTrafficPolicy)";
    let rule = json!({"apiGroups": [""], "apiVersions": ["*"], "operations": ["UPDATE"],
        "resources": ["services"]});
    let policy = json!({"metadata": {"name": "p"}, "spec": {"validations": [{"expression": seen}],
        "matchConstraints": {"resourceRules": [rule]}}});
    api.made(&format!("{ROOT}/validatingadmissionpolicies"), policy).await;
    let binding =
        json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    api.made(&format!("{ROOT}/validatingadmissionpolicybindings"), binding).await;
    assert!(api.state().fresh().await.is_ok());
    let (code, patched) = api.patch_service("s", json!({"externalName": "b.example"})).await;
    assert_eq!(code, 200, "{patched}");
}

#[tokio::test]
async fn an_address_is_one_however_it_is_written() {
    let api = Api::bare().await;
    let spec = |ip: &str| json!({"clusterIP": ip, "ports": [{"port": 80}]});
    let made = api.made_service("s", spec("010.96.0.050")).await;
    let as_written = (&json!("010.96.0.050"), &json!(["010.96.0.050"]));
    assert_eq!((&made["clusterIP"], &made["clusterIPs"]), as_written);
    assert_eq!(made["ipFamilies"], json!(["IPv4"]));
    for ip in ["10.96.0.50", "::ffff:10.96.0.50", "10.096.0.50"] {
        let (code, message) = api.post_service("t", spec(ip)).await;
        let why = format!("failed to allocate IP {ip}: provided IP is already allocated");
        assert!(code == 422 && message.as_str().unwrap().contains(&why), "{message}");
    }
    let (code, message) = api.patch_service("s", json!({"clusterIP": "10.96.0.50"})).await;
    assert!(code == 422 && message.as_str().unwrap().contains("may not change once set"), "{message}");
    let (code, after) = api.patch_service("s", json!({"sessionAffinity": "ClientIP"})).await;
    assert_eq!((code, &after["clusterIP"]), (200, &json!("010.96.0.050")), "{after}");
    // Services keep their reservations when those without a Service are given back.
    crate::registry::services::repair(&api.fixture.server.state).await.unwrap();
    assert_eq!(api.post_service("t", spec("10.96.0.50")).await.0, 422);
    let (code, message) = api.post_service("t", spec("010.1.2.3")).await;
    let why = "failed to allocate IP 010.1.2.3: the provided IP (10.1.2.3) is not in the valid range";
    assert!(code == 422 && message.as_str().unwrap().contains(why), "{message}");
    let away = json!({"type": "ExternalName", "externalName": "a.example"});
    assert_eq!(api.patch_service("s", away).await.0, 200);
    let made = api.made_service("t", spec("::ffff:10.96.0.50")).await;
    assert_eq!(made["clusterIP"], json!("::ffff:10.96.0.50"), "it was given back");
    assert_eq!(api.delete(&format!("{SERVICES}/t"), json!({})).await.0, 200);
    api.made_service("t", spec("10.96.0.50")).await;
}

/// The Service that holds them was broken in the store by hand.
#[tokio::test]
async fn what_an_unreadable_service_holds_is_refused_at_once() {
    let api = Api::bare().await;
    let ports = json!([{"port": 80, "nodePort": 30080}]);
    api.made_service("old", json!({"type": "NodePort", "clusterIP": "10.96.7.7", "ports": ports})).await;
    let put = etcd::api::PutRequest {
        key: "/registry/services/default/old".into(),
        value: "{".into(),
        ..Default::default()
    };
    let txn = etcd::api::TxnRequest { success: vec![etcd::api::RequestOp::Put(put)], ..Default::default() };
    let state = &api.fixture.server.state;
    state.kv.txn_unbounded(txn).await.unwrap();
    state.fresh().await.unwrap();
    let (code, message) =
        api.post_service("new", json!({"clusterIP": "10.96.7.7", "ports": [{"port": 80}]})).await;
    assert!(
        code == 422 && message.as_str().unwrap().contains("provided IP is already allocated"),
        "{message}"
    );
    let (code, message) = api.post_service("new", json!({"type": "NodePort", "ports": ports})).await;
    let why = "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated";
    assert!(code == 422 && message.as_str().unwrap().contains(why), "{message}");
    api.made_service("new", json!({"type": "NodePort", "ports": [{"port": 80}]})).await;
    let (code, message) = api.patch_service("new", json!({"ports": ports})).await;
    assert!(code == 422 && message.as_str().unwrap().contains(why), "{message}");
}

/// A client that sets `clusterIP` alone is warned of the item of `clusterIPs`, which the server
/// fills in. What is refused is not warned of.
#[tokio::test]
async fn an_address_that_stands_alone_is_warned_of() {
    const IP: &str = "010.96.000.77";
    let api = Api::bare().await;
    let service = |more: Value| {
        let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"clusterIP": IP, "ports": [{"port": 80}]}});
        api::patch::merge(&mut service, &more);
        service
    };
    let one = format!("{SERVICES}/s");
    let applied = format!("{one}?fieldManager=t&force=true");
    let far = json!({"spec": {"clusterIPs": [IP], "ports": [{"port": 70_000}]}});
    let away = json!({"spec": {"type": "ExternalName", "externalName": "a.example"}});
    let back = json!({"spec": {"type": "ClusterIP", "externalName": null, "clusterIP": IP}});
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    let (json, merge, apply) =
        ("application/json", "application/merge-patch+json", "application/apply-patch+yaml");
    for (method, path, media, body, want) in [
        ("POST", SERVICES, json, service(far), (422, 0)),
        ("POST", SERVICES, json, service(json!({})), (201, 1)),
        ("PUT", &*one, json, service(labelled.clone()), (200, 1)),
        ("PATCH", &*applied, apply, service(json!({})), (200, 1)),
        ("PATCH", &*one, merge, away, (200, 0)),
        ("PATCH", &*one, merge, back, (200, 1)),
        ("DELETE", &*one, json, json!({}), (200, 0)),
        ("PATCH", &*applied, apply, service(labelled), (201, 1)),
    ] {
        let request = Request::builder().method(method).uri(path).header("content-type", media);
        let request = request.body(full(body.to_string())).unwrap();
        let answer = api.fixture.server.call(request, User::new("somebody", &[MASTERS])).await;
        let warnings = answer.headers().get_all("warning").iter().map(|w| w.to_str().unwrap());
        let of_this = warnings.filter(|w| w.contains("spec.clusterIPs[0]: non-standard IP address"));
        assert_eq!((answer.status().as_u16(), of_this.count()), want, "{method} {path} {body}");
    }
}

/// A manifest that names 30010 finds it free.
#[tokio::test]
async fn the_first_node_ports_are_left_for_people_who_choose() {
    let api = Api::bare().await;
    let ports: Vec<Value> = (1..=100).map(|n| json!({"name": format!("p{n}"), "port": n})).collect();
    let spec = api.made_service("many", json!({"type": "NodePort", "ports": ports})).await;
    let all = spec["ports"].as_array().unwrap();
    let given: Vec<i64> = all.iter().map(|port| port["nodePort"].as_i64().unwrap()).collect();
    assert!(given.iter().all(|port| (30_086..=32_767).contains(port)), "{given:?}");
    let chosen = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30_010}]});
    assert_eq!(api.post_service("chosen", chosen).await.0, 201);
}

/// No controller runs here. A Service that is made again at once does not begin with the addresses
/// of the last one.
#[tokio::test]
async fn the_endpoints_of_a_service_go_with_it() {
    const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";
    let api = Api::bare().await;
    let (service, endpoints) = (format!("{SERVICES}/s"), format!("{ENDPOINTS}/s"));
    let named = |finalizers: Value| json!({"metadata": {"name": "s", "finalizers": finalizers}});
    let held =
        json!({"metadata": {"name": "s", "finalizers": ["test/hold"]}, "spec": {"ports": [{"port": 80}]}});
    let free = json!({"metadata": {"finalizers": null}});

    api.made(SERVICES, held.clone()).await;
    api.made(ENDPOINTS, named(json!([]))).await;
    assert_eq!(api.delete(&format!("{service}?dryRun=All"), json!({})).await.0, 200);
    assert_eq!(api.delete(&service, json!({})).await.0, 200);
    assert_eq!(api.get(&endpoints).await.0, 200, "a finalizer holds the Service");
    let before = api.fixture.tap.since(0).len();
    assert_eq!(api.patch(&service, free.clone()).await.0, 200);
    assert_eq!((api.get(&service).await.0, api.get(&endpoints).await.0), (404, 404));
    let records = api.fixture.tap.since(0).split_off(before);
    let writes: Vec<&tap::Write> = records.iter().filter_map(|record| record.write()).collect();
    assert_eq!(writes, [&tap::Write::DELETED, &tap::Write::DELETED]);

    api.made(SERVICES, held).await;
    assert_eq!(api.patch(&service, free).await.0, 200);
    api.made(ENDPOINTS, named(json!([]))).await;
    assert_eq!(api.delete(&service, json!({})).await.0, 200);
    assert_eq!(api.get(&endpoints).await.0, 404);

    api.made_service("s", json!({"ports": [{"port": 80}]})).await;
    api.made(ENDPOINTS, named(json!(["test/hold"]))).await;
    assert_eq!(api.delete(&service, json!({})).await.0, 200);
    assert_eq!(api.get(&endpoints).await.0, 200, "its own finalizer holds it");
}
