use super::*;

#[test]
fn what_a_line_changes_is_looked_for_by_a_get() {
    let of = |line: &str| {
        let (words, _) = words(line, &Room::default()).unwrap();
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
        let (words, _) = words(line, &Room::default()).unwrap();
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
        let (words, verb) = words(line, &Room::default()).unwrap();
        assert_eq!((words[0].as_str(), words[verb].as_str()), ("kubectl", "delete"), "{line}");
    }
    assert!(words("fault kill etcd", &Room::default()).is_none());
}

/// An option's value may be called like the verb.
#[test]
fn what_a_line_deletes_is_looked_for_by_a_get() {
    let look = |line: &str| {
        let (words, verb) = words(line, &Room::default()).unwrap();
        assert_eq!(words[verb], "delete", "{line}");
        look_for_deletion(words, verb).map(|words| words.join(" "))
    };
    for (line, asks) in [
        ("kubectl -n delete delete pod web --now", "kubectl -n delete get pod web"),
        ("delete pod web -n delete --cascade=orphan", "kubectl get pod web -n delete"),
        ("k -n delete delete pod -l a=delete --all", "kubectl -n delete get pod -l a=delete"),
    ] {
        assert_eq!(look(line), Ok(format!("{asks} --ignore-not-found -o json")), "{line}");
    }
    // A look that would fail, or answer no JSON, would say that nothing is lost.
    for line in ["kubectl delete pod web --dry-run=server", "kubectl delete pod -- web"] {
        assert!(look(line).unwrap_err().contains(line), "{line}");
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
fn what_was_agreed_to_is_not_what_more_would_be_lost() {
    let loss = |name: &str, removed| Loss { name: name.into(), removed, ..Loss::default() };
    let mut cost = Cost { lost: vec![loss("a", false)], plan: Value::Null };
    cost.add(vec![loss("a", false), loss("b", true)]);
    assert_eq!(cost.lost.len(), 2);
    assert_eq!(cost.beyond(&[loss("a", false), loss("b", true), loss("c", true)]), []);
    assert_eq!(cost.beyond(&[loss("a", true), loss("b", true)]), [loss("a", false)]);
    assert_eq!(cost.beyond(&[]).len(), 2);
}

#[test]
fn a_loss_is_named_with_its_group() {
    let object = serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": "web"}});
    let lost = loss(&object, true);
    assert_eq!((lost.resource.as_str(), lost.group.as_str()), ("deployments", "apps"));
    assert_eq!((lost.to_string().as_str(), lost.removed), ("deployments/web -n shop", true));
}
