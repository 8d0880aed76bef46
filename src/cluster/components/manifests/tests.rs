use super::*;
use client::testing::{Scripted, refusal};

/// A probe of a port that does not exist would never succeed: the rollout would end nowhere.
#[test]
fn the_name_servers_probes_ask_where_it_answers() {
    let deployment = coredns(&json!({"k8s-app": "kube-dns"}), &json!([]));
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    for (probe, path, number) in [
        ("livenessProbe", "/health", addons::dns::HEALTH_PORT),
        ("readinessProbe", "/ready", addons::dns::READY_PORT),
    ] {
        let get = &container[probe]["httpGet"];
        let port = container["ports"].as_array().unwrap().iter().find(|p| p["name"] == get["port"]);
        assert_eq!((&get["path"], &port.unwrap()["containerPort"]), (&json!(path), &json!(number)));
    }
    assert_eq!(container["readinessProbe"]["periodSeconds"], 1, "a start waits for a period at most");
}

/// The lab takes what an addon's account does for the cluster's own work. With a token in the
/// pod, `kubectl exec` would lend it to a person (`lab::observe::who`).
#[test]
fn no_pod_of_an_addon_holds_a_token() {
    for deployment in [coredns(&json!({}), &json!([])), kube_proxy(), provisioner(&json!([]))] {
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false, "{}", deployment["metadata"]["name"]);
        assert!(!pod.to_string().contains("serviceAccountToken\""), "{pod}");
    }
}

#[test]
fn a_role_of_an_earlier_program_gets_what_it_lacks_and_keeps_what_was_added() {
    let rule = |verbs: &[&str]| json!({"apiGroups": [""], "resources": ["pods"], "verbs": verbs});
    let role = |rules: &[Value]| json!({"kind": "ClusterRole", "rules": rules});
    let (old, new, own) = (rule(&["get"]), rule(&["get", "patch"]), rule(&["list"]));
    let patch = missing_rules(&role(std::slice::from_ref(&new)), &role(&[old.clone(), own.clone()]));
    assert_eq!(patch, Some(json!({"rules": [old, own, new]})));
    assert_eq!(missing_rules(&role(std::slice::from_ref(&new)), &role(&[own, new])), None);
    assert_eq!(missing_rules(&json!({"kind": "Service"}), &json!({})), None);
}

#[test]
fn a_components_image_is_renewed_and_a_learners_stays() {
    let with = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let wanted = with(json!([{"name": "coredns", "image": image("coredns")}]));
    let old = format!("{}coredns:0.0.1", PREFIX);
    let patch = with(json!([{"name": "coredns", "image": image("coredns")}]));
    for (there, renewed) in [
        (json!([{"name": "coredns", "image": old}]), true),
        (json!([{"name": "sidecar", "image": "busybox"}, {"name": "coredns", "image": old}]), true),
        (json!([{"name": "coredns", "image": image("coredns")}]), false),
        (json!([{"name": "coredns", "image": "registry.k8s.io/coredns:1"}]), false),
        (json!([{"name": "mine", "image": old}]), false),
    ] {
        assert_eq!(newer_image(&wanted, &with(there.clone())), renewed.then(|| patch.clone()), "{there}");
    }
}

fn account(name: &str) -> Value {
    let meta = json!({"name": name, "namespace": "kube-system"});
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
}

#[tokio::test]
async fn an_object_that_is_missing_is_made_and_one_that_is_there_stays() {
    let server =
        Scripted::new(|asked| match (asked.line.as_str(), asked.body["metadata"]["name"].as_str()) {
            ("GET /api/v1/namespaces/kube-system/serviceaccounts/there", _) => Some((200, account("there"))),
            (line, _) if line.starts_with("GET ") => refusal(404, "NotFound"),
            (_, Some("meanwhile")) => refusal(409, "AlreadyExists"),
            (_, Some("refused")) => refusal(403, "Forbidden"),
            _ => Some((201, asked.body.clone())),
        })
        .await;
    for name in ["new", "meanwhile", "there"] {
        let made = apply_one(&server.client, &account(name)).await.unwrap();
        assert_eq!(made["metadata"]["name"], name);
    }
    let refused = apply_one(&server.client, &account("refused")).await.unwrap_err();
    assert!(refused.starts_with("cannot make ServiceAccount refused: "), "{refused}");
    let all = "/api/v1/namespaces/kube-system/serviceaccounts";
    let (get, post) = (|name: &str| format!("GET {all}/{name}"), format!("POST {all}"));
    let expected =
        [get("new"), post.clone(), get("meanwhile"), post.clone(), get("there"), get("refused"), post];
    assert_eq!(server.lines(), expected);
}

/// `coredns` as an earlier program has made it.
#[tokio::test]
async fn the_component_of_an_earlier_program_is_brought_to_this_one() {
    let wanted = coredns(&json!({"k8s-app": "kube-dns"}), &json!([]));
    let mut earlier = wanted.clone();
    earlier["spec"]["template"]["spec"]["containers"][0]["image"] = format!("{PREFIX}coredns:0.0.1").into();
    for is_refused in [false, true] {
        let there = earlier.clone();
        let server = Scripted::new(move |asked| match asked.line.starts_with("GET ") {
            true => Some((200, there.clone())),
            false if is_refused => refusal(403, "Forbidden"),
            false => None,
        })
        .await;
        let done = apply_one(&server.client, &wanted).await;
        assert_eq!(done.is_err(), is_refused, "{done:?}");
        let said = done.err().unwrap_or_default();
        assert!(!is_refused || said.starts_with("cannot bring Deployment coredns to "), "{said}");
        let asked = server.take();
        let path = "/apis/apps/v1/namespaces/kube-system/deployments/coredns";
        let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
        assert_eq!(lines, [format!("GET {path}"), format!("PATCH {path}")]);
        let container = json!({"name": "coredns", "image": image("coredns")});
        assert_eq!(asked[1].body["spec"]["template"]["spec"], json!({"containers": [container]}));
    }
}
