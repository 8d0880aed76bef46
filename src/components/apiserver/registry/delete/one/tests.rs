use super::*;
use api::kinds;
use api::value::at;

fn pod() -> Value {
    json!({"metadata": {"name": "p", "generation": 1}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}, "status": {"phase": "Running"}})
}
fn marked(step: Step) -> Value {
    match step {
        Step::Mark(value) => *value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_running_pod_gets_its_grace_period_and_it_only_shrinks() {
    let kind = kinds::find("", "v1", "Pod").unwrap();
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    let first = marked(decide(kind, &pod(), &Options::default(), now));
    assert_eq!(text(&first, "metadata.deletionTimestamp"), "2026-01-02T03:04:35Z");
    assert_eq!(int(&first, "metadata.generation"), Some(2));
    let ask = |grace| Options { grace: Some(grace), ..Options::default() };
    assert_eq!(decide(kind, &first, &Options::default(), now), Step::Pending);
    assert_eq!(decide(kind, &first, &ask(60), now), Step::Pending);
    assert_eq!(
        int(&marked(decide(kind, &first, &ask(5), now)), "metadata.deletionGracePeriodSeconds"),
        Some(5)
    );
    assert_eq!(decide(kind, &first, &ask(0), now), Step::Erase);
    let late = marked(decide(kind, &pod(), &ask(i64::MAX), now));
    assert_eq!(text(&late, "metadata.deletionTimestamp"), clock::rfc3339(clock::Timestamp::MAX));
    let mut waiting = pod();
    value::remove(&mut waiting, "spec.nodeName");
    for (object, options) in [(waiting, Options::default()), (pod(), ask(0))] {
        let Step::MarkAndErase(last) = decide(kind, &object, &options, now) else {
            panic!("{object} has no time to end");
        };
        assert_eq!(text(&last, "metadata.deletionTimestamp"), clock::rfc3339(now));
        assert_eq!(int(&last, "metadata.deletionGracePeriodSeconds"), Some(0));
        assert_eq!(decide(kind, &last, &options, now), Step::Erase, "the next delete");
    }
}

#[test]
fn a_repeated_delete_counts_its_grace_period_from_the_first_one() {
    let kind = kinds::find("", "v1", "Pod").unwrap();
    let time = |text: &str| text.parse().unwrap();
    let ask = |grace| Options { grace: Some(grace), ..Options::default() };
    let first = marked(decide(kind, &pod(), &Options::default(), time("2026-01-02T03:04:00Z")));
    let later = time("2026-01-02T03:04:20Z");
    for (grace, until, seconds) in
        [(25, "2026-01-02T03:04:25Z", 25), (15, "2026-01-02T03:04:20Z", 1), (-1, "2026-01-02T03:04:20Z", 1)]
    {
        let second = marked(decide(kind, &first, &ask(grace), later));
        assert_eq!(text(&second, "metadata.deletionTimestamp"), until, "{grace}");
        assert_eq!(int(&second, "metadata.deletionGracePeriodSeconds"), Some(seconds), "{grace}");
    }
}

#[test]
fn a_terminating_pod_that_has_ended_waits_for_its_kubelet() {
    let kind = kinds::find("", "v1", "Pod").unwrap();
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    let ask = |grace| Options { grace: Some(grace), ..Options::default() };
    let mut ended = marked(decide(kind, &pod(), &Options::default(), now));
    value::put(&mut ended, "status.phase", "Succeeded");
    assert_eq!(decide(kind, &ended, &Options::default(), now), Step::Pending);
    assert_eq!(
        int(&marked(decide(kind, &ended, &ask(5), now)), "metadata.deletionGracePeriodSeconds"),
        Some(5)
    );
    assert_eq!(decide(kind, &ended, &ask(0), now), Step::Erase);
}

#[test]
fn a_namespace_and_a_definition_are_marked_without_a_grace_period() {
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    let foreground = Options { propagation: Some("Foreground".into()), ..Options::default() };
    let background = Options { propagation: Some("Background".into()), ..Options::default() };
    let namespace = kinds::find("", "v1", "Namespace").unwrap();
    let bare = marked(decide(namespace, &json!({"metadata": {"name": "x"}}), &Options::default(), now));
    assert_eq!(decide(namespace, &bare, &Options::default(), now), Step::Erase, "the second delete");
    let metadata = json!({"name": "x", "generation": 1});
    for (group, kind, spec, finalizers) in [
        ("", "Namespace", json!({"finalizers": ["kubernetes"]}), json!([FOREGROUND])),
        (
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            json!({}),
            json!(["customresourcecleanup.apiextensions.k8s.io"]),
        ),
    ] {
        let kind = kinds::find(group, "v1", kind).unwrap();
        let object = json!({"metadata": metadata, "spec": spec});
        let first = marked(decide(kind, &object, &foreground, now));
        assert_eq!(text(&first, "metadata.deletionTimestamp"), "2026-01-02T03:04:05Z");
        assert_eq!(at(&first, "metadata.deletionGracePeriodSeconds"), &Value::Null);
        assert_eq!(int(&first, "metadata.generation"), Some(1));
        assert_eq!(at(&first, "metadata.finalizers"), &finalizers, "{}", kind.kind);
        assert_eq!(decide(kind, &first, &background, now), Step::Pending, "{}", kind.kind);
    }
}

#[test]
fn finalizers_hold_an_object() {
    let kind = kinds::find("apps", "v1", "Deployment").unwrap();
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    let object = json!({"metadata": {"name": "d"}});
    assert_eq!(decide(kind, &object, &Options::default(), now), Step::Erase);
    let orphan = Options { propagation: Some("Orphan".into()), ..Options::default() };
    let held = marked(decide(kind, &object, &orphan, now));
    assert_eq!(at(&held, "metadata.finalizers"), &json!(["orphan"]));
    assert_eq!(decide(kind, &held, &orphan, now), Step::Pending);
}
