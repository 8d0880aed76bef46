use super::forgotten::FORGOTTEN_MAX;
use super::*;

fn version(revision: i64, verb: &'static str) -> Arc<Version> {
    Arc::new(Version::new(revision, None, verb, "{}".into()))
}

#[test]
fn history_opens_with_what_was_there() {
    let all = [version(3, "ADDED"), version(5, "MODIFIED"), version(9, "DELETED"), version(12, "ADDED")];
    let told = |began| {
        since(&all, began)
            .iter()
            .map(|v| format!("{}{}", str_field(v, "verb"), int_field(v, "revision")))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(0), ["ADDED3", "MODIFIED5", "DELETED9", "ADDED12"]);
    assert_eq!(told(5), ["WAS5", "DELETED9", "ADDED12"]);
    assert_eq!(told(10), ["ADDED12"]);
}

/// Neither green nor red: "was never deleted" must not come true because the deletion was
/// forgotten.
#[test]
fn a_history_with_a_gap_is_not_answered() {
    let key = |name: &str| ("pods".to_string(), "shop".to_string(), name.to_string());
    let mut gone = Forgotten::default();
    gone.note(key("a"), 30, 4);
    let objects = [("pods".to_string(), Objects::default())].into();
    let mut facts = Facts { forgotten: Arc::new(gone), objects, since_step: 20, ..Facts::default() };
    for name in ["a", "*"] {
        let error = facts.history("Pod", "shop", name).unwrap_err();
        assert!(error.starts_with(UNKNOWN), "{error}");
        let fresh = |next: u64| facts.fresh_versions(["Pod", "shop", name], next, next);
        assert!(fresh(0).is_err());
        assert!(fresh(5).is_ok(), "what is gone was looked at before");
        assert!(fresh(4).is_err(), "it came and went since the last look");
    }
    assert!(facts.history("Pod", "shop", "b").is_ok() && facts.history("Pod", "d", "*").is_ok());
    facts.since_step = 30;
    assert!(facts.history("Pod", "shop", "a").is_ok(), "the step began later");
    // More objects than are noted one by one.
    let mut many = Forgotten::default();
    (0..=FORGOTTEN_MAX).for_each(|n| many.note(key(&n.to_string()), 7, 0));
    assert!(many.since(&key("another"), 6) && !many.since(&key("another"), 7));
}

#[test]
fn kinds_have_short_and_long_names() {
    assert_eq!(kind("Pod").map(|k| k.plural), Some("pods"));
    assert_eq!(kind("Deployment.apps").map(|k| k.group), Some("apps"));
    assert!(kind("TokenReview").is_none() && kind("Pood").is_none());
}

#[test]
fn what_nobody_watches_yet_is_asked_for() {
    let facts = Facts::default();
    assert!(facts.objects("Pod", "default", None).is_err());
    assert_eq!(facts.take_wanted().kinds, ["Pod".to_string()].into());
}

#[test]
fn a_snapshot_asks_the_network_no_more_than_may_be_out() {
    let facts = Facts::default();
    let ask = |n: usize| facts.probe(Probe::Logs { target: n.to_string() }).unwrap_err();
    for n in 0..QUESTIONS_MAX {
        assert!(ask(n).contains("not answered yet"), "{n}");
    }
    assert!(ask(QUESTIONS_MAX).contains("more than 2000 questions"));
    assert!(ask(0).contains("not answered yet"), "it is one of those that were asked");
    assert!(facts.has_asked(), "what came of it is not remembered");
    assert_eq!(facts.take_wanted().probes.len(), QUESTIONS_MAX);
}
