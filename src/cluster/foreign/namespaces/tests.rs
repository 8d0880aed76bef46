use super::*;
use crate::foreign::testing::Stage;
use lang::Lang;

const LESSON: &str = "first/01";

/// The namespace was made, and the answer was lost: the ledger has no uid of it.
async fn half_made() -> (Stage, Namespaces) {
    let stage = Stage::new().await;
    let namespaces = stage.namespaces();
    stage.hangs_up(false);
    // A first look that is answered, and then nothing any more.
    let entry = Entry { name: "rw-first-01".into(), uid: String::new(), fresh: true };
    {
        let mut ledger = namespaces.ledger.lock().await;
        ledger.namespaces.insert(LESSON.into(), entry);
        namespaces.save(&ledger).unwrap();
        stage.hangs_up(true);
        assert!(namespaces.create("rw-first-01", &ledger.owner, LESSON).await.is_err());
    }
    (stage, namespaces)
}

#[tokio::test]
async fn a_namespace_whose_creation_was_not_answered_is_found_again() {
    for restarts in [false, true] {
        let (stage, mut namespaces) = half_made().await;
        if restarts {
            namespaces = stage.namespaces();
        }
        stage.hangs_up(false);
        let scope = namespaces.lesson_scope(LESSON, &[], false).await.unwrap().expect("it is ours");
        assert_eq!((scope.namespace.as_deref(), scope.fresh), (Some("rw-first-01"), true));
        namespaces.mark_entered(LESSON).await.unwrap();
        let again = namespaces.lesson_scope(LESSON, &[], true).await.unwrap().expect("it is there");
        assert!(!again.fresh, "it was taken up");
        assert_eq!(stage.foreign.lock().made, 1);
        assert_eq!(namespaces.leave().await.unwrap(), ["rw-first-01"]);
        assert_eq!(stage.foreign.lock().deleted, ["rw-first-01"]);
    }
}

/// A lesson begins anew in a fresh namespace, so it must hear of it although an error came
/// between.
#[tokio::test]
async fn a_namespace_stays_fresh_until_it_is_entered() {
    for restarts in [false, true] {
        let stage = Stage::new().await;
        let mut namespaces = stage.namespaces();
        stage.foreign.lock().hides_accounts = true;
        assert!(namespaces.lesson_scope(LESSON, &[], true).await.is_err(), "its account is not there");
        if restarts {
            namespaces = stage.namespaces();
        }
        assert!(namespaces.lesson_scope(LESSON, &[], true).await.is_err(), "its account is waited for again");
        stage.foreign.lock().hides_accounts = false;
        for _ in 0..2 {
            assert!(namespaces.lesson_scope(LESSON, &[], false).await.unwrap().expect("it is there").fresh);
        }
        namespaces.mark_entered(LESSON).await.unwrap();
        assert!(!namespaces.lesson_scope(LESSON, &[], true).await.unwrap().expect("it is there").fresh);
        assert!(
            !stage.namespaces().lesson_scope(LESSON, &[], true).await.unwrap().expect("it is there").fresh
        );
        assert_eq!(stage.foreign.lock().made, 1);
    }
}

/// Nothing that was made is forgotten because the network was bad for a while.
#[tokio::test]
async fn a_namespace_stays_in_the_ledger_while_no_server_answers() {
    for make in [false, true] {
        let (stage, namespaces) = half_made().await;
        assert!(namespaces.lesson_scope(LESSON, &[], make).await.is_err(), "no server answers");
        stage.hangs_up(false);
        // Making another lesson's namespace writes the ledger.
        namespaces.lesson_scope("first/02", &[], true).await.unwrap().expect("it is made");
        assert_eq!(remembered(&stage.dir.path().join("foreign.json")).unwrap().len(), 2);
        assert_eq!(namespaces.leave().await.unwrap().len(), 2);
        assert!(stage.foreign.lock().namespaces.is_empty());
    }
}

/// `reset` would remove it, and nothing would know the namespaces any more.
#[tokio::test]
async fn a_ledger_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    let stage = Stage::new().await;
    let path = stage.dir.path().join("foreign.json");
    assert!(remembered(&path).unwrap().is_empty(), "there is none");
    stage.namespaces().lesson_scope(LESSON, &[], true).await.unwrap().expect("it is made");
    assert_eq!(remembered(&path).unwrap(), ["rw-first-01"]);
    fs::write(&path, "{").unwrap();
    let upstream = Arc::new(Upstream::of(&stage.config()).unwrap());
    let opened = Namespaces::load(upstream, path.clone(), "rw", &Rng::seeded(1)).err();
    for refused in [opened, remembered(&path).err()] {
        let said = refused.expect("it is damaged").to_string();
        assert!(said.contains("managed-by=ropewalk") && !said.contains("reset"), "{said}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "{");
    let newer = json!({"format": FORMAT + 1, "server": "s", "owner": "o", "rooms": {}}).to_string();
    fs::write(&path, &newer).unwrap();
    let upstream = Arc::new(Upstream::of(&stage.config()).unwrap());
    let refused = Namespaces::load(upstream, path.clone(), "rw", &Rng::seeded(1)).err();
    let said = refused.expect("it is newer").to_string();
    assert!(said.contains("newer ropewalk") && !said.contains("reset"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
}

/// Another name of a field would forget the namespaces, or end each later program at its start.
#[tokio::test]
async fn a_ledger_of_an_earlier_program_is_read_and_written_in_its_form() {
    let stage = Stage::new().await;
    let path = stage.dir.path().join("foreign.json");
    let entry = json!({"name": "rw-first-01", "uid": "u"});
    let earlier = json!({"format": 1, "server": "s", "owner": "o", "rooms": {LESSON: entry}});
    fs::write(&path, earlier.to_string()).unwrap();
    assert_eq!(stage.namespaces().names().await, ["rw-first-01"]);
    let written: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(written["rooms"][LESSON]["name"], "rw-first-01");
}

/// The learner gets a list of what is gone although a later step failed.
#[tokio::test]
async fn a_namespace_that_cannot_be_deleted_hides_no_other_one() {
    let stage = Stage::new().await;
    let namespaces = stage.namespaces();
    for lesson in [LESSON, "first/02"] {
        namespaces.lesson_scope(lesson, &[], true).await.unwrap().expect("it is made");
    }
    stage.foreign.lock().keeps = "rw-first-02".into();
    let refused = namespaces.leave().await.unwrap_err().to_string();
    assert!(refused.contains("rw-first-02") && refused.ends_with("(deleted before that: rw-first-01)"));
    assert_eq!(
        namespaces.leave().await.unwrap_err().to_string().matches("rw-first-01").count(),
        0,
        "nothing more"
    );
    stage.foreign.lock().keeps.clear();
    assert_eq!(namespaces.leave().await.unwrap(), ["rw-first-02"]);
}

/// 503 and 429 are no matter of rights: an administrator would look for a role in vain.
#[tokio::test]
async fn a_server_that_is_busy_is_not_taken_for_one_that_refuses() {
    let stage = Stage::new().await;
    let namespaces = stage.namespaces();
    for (code, right) in [(503, false), (429, false), (403, true)] {
        stage.foreign.lock().reads_fail = Some(code);
        let refused = namespaces.lesson_scope(LESSON, &[], true).await.unwrap_err().say(Lang::En);
        assert_eq!(refused.contains("lacks a right"), right, "{code}: {refused}");
        assert!(refused.contains("not now"), "{code}: {refused}");
    }
    stage.foreign.lock().reads_fail = None;
    namespaces.lesson_scope(LESSON, &[], true).await.unwrap().expect("it is made");
}

#[tokio::test]
async fn a_lesson_that_is_taken_up_forgets_no_namespace_of_another_uid() {
    let stage = Stage::new().await;
    let namespaces = stage.namespaces();
    namespaces.lesson_scope(LESSON, &[], true).await.unwrap().expect("it is made");
    for namespace in stage.foreign.lock().namespaces.values_mut() {
        namespace["metadata"]["uid"] = "another".into();
    }
    assert!(namespaces.lesson_scope(LESSON, &[], false).await.unwrap().is_none());
    assert_eq!(namespaces.names().await, ["rw-first-01"]);
    assert!(namespaces.lesson_scope(LESSON, &[], true).await.unwrap().expect("it is made anew").fresh);
    assert_eq!(stage.foreign.lock().deleted, ["rw-first-01"]);
}

/// `lesson leave`, and at once the lesson again, by a user who has the rights that lessons need and
/// no more: none to watch namespaces.
#[tokio::test]
async fn a_namespace_that_is_going_is_waited_for() {
    let stage = Stage::new().await;
    let namespaces = stage.namespaces();
    namespaces.lesson_scope(LESSON, &[], true).await.unwrap().expect("it is made");
    stage.foreign.lock().lingers = 3;
    assert_eq!(namespaces.leave().await.unwrap(), ["rw-first-01"]);
    assert!(namespaces.lesson_scope(LESSON, &[], true).await.unwrap().expect("it is made anew").fresh);
    let foreign = stage.foreign.lock();
    assert_eq!((foreign.made, foreign.lingers), (2, 0), "made only when the first one was gone");
}
