use super::*;
use crate::teacher;

#[test]
fn what_a_line_changes_is_looked_for_by_a_get() {
    let of = |line: &str| {
        let (words, _) = words(line, &LessonScope::default()).unwrap();
        look_for_change(&parse::parse(&words[1..]).unwrap()).map(|look| look.join(" "))
    };
    for (line, asks) in [
        ("-kubectl scale deployment dpy-nginx --replicas=3", "deployment dpy-nginx"),
        ("scale --replicas 0 deploy/web -n shop", "deploy/web -n shop"),
        ("k scale rs -l app=web --replicas=5", "rs -l app=web"),
        ("rollout undo deploy/web --to-revision=1", "deploy/web"),
        ("rollout restart -f web.yaml", "-f web.yaml"),
        ("rollout restart -k web", "-k web"),
        ("rollout undo -R -f -", "-f - -R"),
        ("taint nodes n1 n2 a=b:NoSchedule c-", "nodes n1 n2"),
        ("taint node -l zone=a a:NoExecute-", "node -l zone=a"),
        ("cordon n1", "nodes n1"),
        ("drain n1 --ignore-daemonsets --force", "nodes n1"),
    ] {
        assert_eq!(of(line), Some(format!("kubectl get {asks} --ignore-not-found -o json")), "{line}");
    }
    for line in ["kubectl scale deployment web", "rollout status deploy/web", "kubectl get pods", "cordon"] {
        assert_eq!(of(line), None, "{line}");
    }
}

/// No question is asked about what is as the setup wants it.
#[test]
fn what_is_as_it_is_wanted_is_no_loss() {
    let is_so = |line: &str, spec: Value| {
        let (words, _) = words(line, &LessonScope::default()).unwrap();
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

#[test]
fn options_before_the_verb_hide_no_deletion() {
    for line in
        ["kubectl delete pod web", "-kubectl -n shop delete pod web", "k --namespace=shop delete po/web"]
    {
        let (words, verb) = words(line, &LessonScope::default()).unwrap();
        assert_eq!((words[0].as_str(), words[verb].as_str()), ("kubectl", "delete"), "{line}");
    }
    assert!(words("fault kill etcd", &LessonScope::default()).is_none());
}

/// An option's value may be called like the verb.
#[test]
fn what_a_line_deletes_is_looked_for_by_a_get() {
    let look = |line: &str| {
        let (words, verb) = words(line, &LessonScope::default()).unwrap();
        assert_eq!(words[verb], "delete", "{line}");
        look_for_deletion(words, verb).map(|words| words.join(" "))
    };
    for (line, asks) in [
        ("kubectl -n delete delete pod web --now", "kubectl -n delete get pod web"),
        ("delete pod web -n delete --cascade=orphan", "kubectl get pod web -n delete"),
        ("k -n delete delete pod -l a=delete --all", "kubectl -n delete get pod -l a=delete"),
        ("kubectl delete pod web --grace_period 0", "kubectl get pod web"),
    ] {
        assert_eq!(look(line), Ok(format!("{asks} --ignore-not-found -o json")), "{line}");
    }
    // A look that would fail, or answer no JSON, would say that nothing is lost.
    for line in ["kubectl delete pod web --dry-run=server", "kubectl delete pod -- web"] {
        assert!(look(line).unwrap_err().contains(line), "{line}");
    }
}

/// `--dry-run=false` deletes, so it is no trial.
#[test]
fn a_trial_takes_nothing() {
    let takes_nothing = |flag: &str| {
        let (words, verb) =
            words(&format!("kubectl delete pod web {flag}"), &LessonScope::default()).unwrap();
        matches!(way(&parse::parse(&words[1..]).unwrap(), &words, verb), Ok(Way::Nothing))
    };
    for flag in ["--dry-run", "--dry-run=client", "--dry-run=server", "--dry-run=True"] {
        assert!(takes_nothing(flag), "{flag}");
    }
    for flag in ["", "--dry-run=none", "--dry-run=false", "--dry-run=0"] {
        assert!(!takes_nothing(flag), "{flag}");
    }
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

/// Lines as setups have them, and the line that shows what each would change.
#[test]
fn every_verb_that_writes_is_looked_at_before() {
    let of = |line: &str| {
        let (words, verb) = words(line, &LessonScope::default()).unwrap();
        way(&parse::parse(&words[1..]).unwrap(), &words, verb)
    };
    let get = |asks: &str| {
        let line = format!("kubectl get {asks} --ignore-not-found -o json");
        line.split(' ').map(String::from).collect::<Vec<_>>()
    };
    for (line, way) in [
        ("replace --force -R -f -", Way::Deletes(get("-f - -R"))),
        ("debug web -n shop --copy-to=x --replace -- sh", Way::Deletes(get("pods web -n shop"))),
        ("delete pod web --grace-period 0", Way::Deletes(get("pod web"))),
        ("debug pod/web --image=busybox", Way::Changes(get("pod/web"))),
        ("debug web --copy-to=x", Way::Nothing),
        ("certificate approve ann bob", Way::Changes(get("certificatesigningrequests ann bob"))),
        ("certificate deny -f -", Way::Changes(get("-f -"))),
        ("replace -f -", Way::Trial),
        ("auth reconcile -f -", Way::Trial),
        ("apply --prune -l app=shop -f -", Way::Trial),
        ("set image deploy/web web=x", Way::Trial),
        ("apply --dry-run=client -f -", Way::Nothing),
        ("label pod web a=b --local", Way::Nothing),
        ("create -f -", Way::Nothing),
        ("create --raw /api/v1/namespaces/default/pods/web/eviction -f -", Way::Unknown),
        ("delete --raw /api/v1/namespaces/default/pods/web", Way::Unknown),
        ("edit deploy web", Way::Unknown),
    ] {
        assert_eq!(of(line), Ok(way), "{line}");
    }
}

/// Only what a person writes in an editor is refused in setups. So is a verb without an [`Act`].
#[test]
fn what_each_verb_takes_is_known() {
    let unknown: Vec<&str> = kubectl::table::all()
        .iter()
        .filter(|verb| {
            let words: Vec<String> =
                std::iter::once("kubectl").chain(verb.path.split_whitespace()).map(String::from).collect();
            let parsed = parse::parse(&words[1..]).unwrap();
            way(&parsed, &words, 1) == Ok(Way::Unknown)
        })
        .map(|verb| verb.path)
        .collect();
    assert_eq!(unknown, ["edit", "apply edit-last-applied"]);
}

#[test]
fn a_line_whose_cost_nobody_can_tell_has_no_place_in_a_setup() {
    for line in ["edit deploy web", "-kubectl replace --raw /api -f -", "apply -f - -- x"] {
        assert!(
            crate::lines::playable::unplayable(line).is_some_and(|why| why.contains("beforehand")),
            "{line}"
        );
    }
    for line in ["apply --force -f -", "kubectl create deployment web --image=nginx", "delete pod web"] {
        assert_eq!(crate::lines::playable::unplayable(line), None, "{line}");
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
fn a_trial_is_asked_for_without_what_kubectl_refuses_beside_it() {
    let of = |line: &str, more: &[&str]| {
        let (words, _) = words(line, &LessonScope::default()).unwrap();
        trial(&words, more).map(|words| words.join(" "))
    };
    assert_eq!(
        of("apply --force -f -", &[]),
        Ok("kubectl apply --force -f - --force=false --dry-run=server -o json".into())
    );
    assert_eq!(
        of("apply --prune -l a=b -f - -o name", &["--prune=false"]),
        Ok("kubectl apply --prune -l a=b -f - -o name --prune=false --dry-run=server -o json".into())
    );
    assert!(of("annotate pod web -- a=b", &[]).is_err(), "behind `--` flags are words");
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
    let resource = |plural: &str, kind: &str, scope: &str| {
        serde_json::json!({"resource": plural, "responseKind": {"kind": kind}, "scope": scope,
            "singularResource": kind.to_lowercase(), "verbs": ["get", "list", "delete"]})
    };
    let groups = move |group: &str, resources: Vec<Value>| {
        let versions = serde_json::json!([{"version": "v1", "resources": resources}]);
        let metadata =
            if group.is_empty() { serde_json::json!({}) } else { serde_json::json!({"name": group}) };
        let items = serde_json::json!([{"metadata": metadata, "versions": versions}]);
        serde_json::json!({"kind": "APIGroupDiscoveryList", "items": items})
    };
    let list = |kind: &str, version: &str, metadata: Vec<Value>| {
        let items: Vec<Value> =
            metadata.into_iter().map(|metadata| serde_json::json!({ "metadata": metadata })).collect();
        serde_json::json!({"kind": format!("{kind}List"), "apiVersion": version, "items": items})
    };
    let named = |name: &str| serde_json::json!({"name": name, "namespace": "staging"});
    crate::stage::answering(move |asked, _| {
        let controlled = serde_json::json!({"name": "web-x", "namespace": "staging",
            "ownerReferences": [{"controller": true, "uid": "u"}]});
        let found = match asked {
            "GET /api" => groups(
                "",
                vec![
                    resource("configmaps", "ConfigMap", "Namespaced"),
                    resource("events", "Event", "Namespaced"),
                    resource("pods", "Pod", "Namespaced"),
                    resource("namespaces", "Namespace", "Cluster"),
                ],
            ),
            "GET /apis" => groups("example.com", vec![resource("sails", "Sail", "Namespaced")]),
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
            _ => return crate::stage::not_found(),
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
    assert_eq!(told, ["Sail/big -n staging", "configmaps/own -n staging", "namespaces/staging"]);
    assert!(lost.iter().all(|loss| loss.removed));
}
