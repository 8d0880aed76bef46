use super::*;
use crate::stage::{answering, discovered, not_found};
use crate::teacher;

/// No question is asked about what is as the setup wants it.
#[test]
fn what_is_as_it_is_wanted_is_no_loss() {
    let is_so = |line: &str, spec: Value| {
        let (words, _) = kubectl_words(line, &LessonScope::default()).unwrap();
        is_so_already(&parse::parse(&words[1..]).unwrap(), &serde_json::json!({ "spec": spec }))
    };
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    for (line, so, not_so) in [
        ("scale deploy/web --replicas=2", r#"{"replicas": 2}"#, r#"{"replicas": 3}"#),
        ("cordon n1", r#"{"unschedulable": true}"#, "{}"),
        ("uncordon n1", "{}", r#"{"unschedulable": true}"#),
        ("rollout pause deploy/web", r#"{"paused": true}"#, "{}"),
        ("rollout resume deploy/web", "{}", r#"{"paused": true}"#),
    ] {
        assert!(is_so(line, json(so)) && !is_so(line, json(not_so)), "{line}");
    }
    assert!(!is_so("rollout restart deploy/web", json("{}")));
}

/// A server that does not answer has not said that nothing is lost.
#[test]
fn only_a_server_s_verdict_says_that_nothing_is_lost() {
    for (code, stderr, unanswered) in [
        (1, "Error from server (NotFound): deployments.apps \"web\" not found\n", false),
        (1, "error: the server doesn't have a resource type \"ships\"\n", false),
        (1, "Error from server (ServiceUnavailable): x\n", true),
        (1, "W1\nThe connection to the server 127.0.0.1:1 was refused - did you\n", true),
        (1, "Unable to connect to the server: EOF\n", true),
        (124, "gave up after 15 s\n", true),
    ] {
        assert_eq!(is_unanswered(code, stderr), unanswered, "{stderr}");
    }
}

#[test]
fn every_field_that_somebody_wants_is_compared() {
    let role = |verb: &str, revision: &str, labels: Value| {
        serde_json::json!({"kind": "ClusterRole", "metadata": {"name": "r", "resourceVersion": revision, "labels": labels},
            "rules": [{"verbs": [verb]}]})
    };
    let none = || serde_json::json!({});
    assert_eq!(wanted(&role("get", "4", none())), wanted(&role("get", "9", none())));
    assert_ne!(wanted(&role("get", "4", none())), wanted(&role("list", "4", none())));
}

#[test]
fn a_loss_is_named_with_its_group() {
    let object = serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": "web"}});
    let lost = loss(&object, true);
    assert_eq!((lost.resource.as_str(), lost.group.as_str()), ("deployments", "apps"));
    assert_eq!((lost.to_string().as_str(), lost.removed), ("deployments/web -n shop", true));
}

/// By its plural an object is found among those that a lesson has made.
#[test]
fn a_custom_resource_is_named_by_its_plural() {
    for (kind, resource) in [("Ship", "ships"), ("Policy", "policies"), ("Bus", "buses")] {
        let object = serde_json::json!({"apiVersion": "example.com/v1", "kind": kind});
        let lost = loss(&object, true);
        assert_eq!((lost.resource.as_str(), lost.group.as_str()), (resource, "example.com"));
    }
}

/// Verbs that print each object by itself give no list.
#[test]
fn all_objects_of_an_answer_are_read() {
    let names = |text: &str| {
        let all = objects(text).unwrap();
        all.iter().map(|o| o["name"].as_str().unwrap_or_default().to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(""), "");
    assert_eq!(names("{\"name\": \"a\"}\n{\"name\": \"b\"}\n"), "a b");
    assert_eq!(names("{\"kind\": \"List\", \"items\": [{\"name\": \"a\"}, {\"name\": \"b\"}]}"), "a b");
    assert!(objects("pod/web labeled\n").is_err());
    // A lab that removes a label from all nodes could not be started where no node has it.
    let noted = "label \"disk\" not found.\n{\n  \"kind\": \"Node\"\n}\n".repeat(2);
    assert_eq!(objects(&noted).unwrap().len(), 2);
    // An answer that was cut does not say that nothing is lost.
    assert!(objects("{\"items\": [{\"name\": \"a\"}, {\"na").is_err());
}

#[test]
fn what_apply_prunes_is_what_it_names_beside_what_it_applies() {
    let map = |name: &str| serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "shop", "name": name}});
    let lost = pruned(&[map("new")], &[map("new"), map("own")]);
    assert_eq!(lost.iter().map(ToString::to_string).collect::<Vec<_>>(), ["configmaps/own -n shop"]);
    assert!(lost[0].removed);
}

/// A server with a namespace that has a ConfigMap of the learner's, objects that controllers made,
/// and an object of a custom resource.
async fn server_with_namespace() -> std::net::SocketAddr {
    let list = |kind: &str, version: &str, metadata: Vec<Value>| {
        let items: Vec<Value> =
            metadata.into_iter().map(|metadata| serde_json::json!({ "metadata": metadata })).collect();
        serde_json::json!({"kind": format!("{kind}List"), "apiVersion": version, "items": items})
    };
    let named = |name: &str| serde_json::json!({"name": name, "namespace": "staging"});
    answering(move |asked, _| {
        let controlled = serde_json::json!({"name": "web-x", "namespace": "staging",
            "ownerReferences": [{"controller": true, "uid": "u"}]});
        let found = match asked {
            "GET /api" => discovered(&[
                ("", "configmaps", "ConfigMap", "Namespaced"),
                ("", "events", "Event", "Namespaced"),
                ("", "pods", "Pod", "Namespaced"),
                ("", "namespaces", "Namespace", "Cluster"),
            ]),
            "GET /apis" => discovered(&[("example.com", "sails", "Sail", "Namespaced")]),
            "GET /api/v1/namespaces/staging" => {
                serde_json::json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "staging"}})
            }
            "GET /api/v1/namespaces/staging/configmaps" => {
                list("ConfigMap", "v1", vec![named("own"), named("kube-root-ca.crt")])
            }
            "GET /api/v1/namespaces/staging/pods" => list("Pod", "v1", vec![controlled]),
            "GET /api/v1/namespaces/staging/events" => list("Event", "v1", vec![named("own.1")]),
            "GET /apis/example.com/v1/namespaces/staging/sails" => {
                list("Sail", "example.com/v1", vec![named("big")])
            }
            _ => return not_found(),
        };
        ("200 OK", found.to_string())
    })
    .await
}

/// The namespace may be a lesson's; what the learner has put into it is not.
#[tokio::test]
async fn what_is_in_a_namespace_goes_with_it() {
    use cluster::guest::HostCluster;
    let dir = tempfile::tempdir().unwrap();
    let past = crate::stage::answer(|_| Box::pin(std::future::ready(Err("no past".into()))));
    let stage = crate::stage::Stage::new(dir.path(), server_with_namespace().await, past).await;
    let teacher =
        teacher::Teacher { place: stage.place().clone(), kubeconfig: stage.kubeconfig("teacher").unwrap() };
    let line = "kubectl delete namespace staging --ignore-not-found";
    let lost = teacher.would_take(line, "", &LessonScope::default()).await.unwrap();
    let mut told: Vec<String> = lost.iter().map(ToString::to_string).collect();
    told.sort();
    assert_eq!(told, ["configmaps/own -n staging", "namespaces/staging", "sails/big -n staging"]);
    assert!(lost.iter().all(|loss| loss.removed));
}
