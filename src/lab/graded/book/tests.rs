use super::*;

fn open() -> Open {
    Open {
        lab: "a".into(),
        seed: 7,
        base: 10,
        began: 20,
        started: Timestamp::UNIX_EPOCH,
        hints: vec!["h1".into()],
        told: BTreeMap::new(),
        solve: true,
        undo: 1,
        changed_ms: Some(900),
        ran_ms: 1000,
        disturbed: None,
        green: BTreeMap::new(),
        chain: Chain::default(),
        tampered: false,
        gradings: 0,
        gave_up: false,
        grade: None,
        given_up: None,
        before: Before::default(),
        at_limit: None,
        meddling: BTreeSet::new(),
        reborn: BTreeMap::new(),
        restarted: BTreeMap::new(),
        restarts_lost: false,
        broken: vec![],
    }
}

/// Every number of the file at its end: an edit is seen, and counts.
#[test]
fn an_edited_file_with_the_greatest_numbers_is_one_that_was_edited() {
    let dir = tempfile::tempdir().unwrap();
    let (path, key) = (dir.path().join("labs.json"), Key::load_or_create(dir.path()).unwrap());
    let mut book = Book::default();
    book.start("a", 7);
    let greatest = Open { gradings: u32::MAX, undo: u32::MAX, base: i64::MAX, ..open() };
    book.open = Some(greatest);
    book.save(&path, &key).unwrap();
    let mut kept: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    kept["lost"] = u32::MAX.into();
    kept["deleted"] = u32::MAX.into();
    kept["counter"] = u64::MAX.into();
    kept["open"]["chain"]["records"] = u64::MAX.into();
    std::fs::write(&path, kept.to_string()).unwrap();
    let mut book = Book::load(&path, &key).unwrap();
    assert_eq!((book.lost, book.deleted), (u32::MAX, u32::MAX));
    assert!(book.tries.is_empty() && book.open.as_ref().is_some_and(|open| open.tampered));
    book.open.as_mut().unwrap().chain.add("x");
    for _ in 0..2 {
        let before = book.counter;
        book.save(&path, &key).unwrap();
        assert_eq!(book.counter, before + 1, "an older copy counts less");
    }
    book.start("a", 7);
    book.leave();
    assert_eq!(book.tries["a"].gradings, u32::MAX);
}

#[test]
fn a_container_that_went_with_the_cluster_was_ended_by_nobody() {
    let pod = |field: &str, policy: Option<&str>, count: i64, reason: Option<&str>| {
        let last = reason.map_or(json!({}), |reason| json!({"terminated": {"reason": reason}}));
        let status = json!({field: [{"name": "s", "restartCount": count, "lastState": last}]});
        let init = json!({"name": "s", "restartPolicy": policy});
        json!({"metadata": {"name": "p", "managedFields": [{}]}, "spec": {"initContainers": [init]},
            "status": status})
        .to_string()
    };
    let kept = |count, reason| Restarted::of(7, pod("containerStatuses", None, count, reason).as_bytes());
    let found = kept(2, Some("Completed")).unwrap();
    assert_eq!((found.revision, found.count), (7, 2));
    assert_eq!(found.pod["metadata"], json!({"name": "p"}));
    assert!(kept(1, Some("Error")).is_some());
    let sidecar = pod("initContainerStatuses", Some("Always"), 1, Some("Error"));
    assert!(Restarted::of(7, sidecar.as_bytes()).is_some_and(|kept| kept.count == 1));
    let init = pod("initContainerStatuses", None, 1, Some("Completed"));
    assert_eq!(Restarted::of(7, init.as_bytes()), None, "its work was done, and the sandbox is new");
    assert_eq!([kept(1, Some("ContainerStatusUnknown")), kept(0, None), kept(1, None)], [None, None, None]);
    assert_eq!(Restarted::of(7, b"{}"), None, "it has no status yet");
}

#[test]
fn a_grade_of_a_reworked_lab_takes_the_place_of_the_best() {
    let mut book = Book::default();
    let grade = |score, max| Best { score, max, passed: score == max, seed: 1, attempt: 1 };
    for (noted, best) in [
        (grade(80, 100), grade(80, 100)),
        (grade(60, 60), grade(60, 60)),
        (grade(50, 60), grade(60, 60)),
        (grade(50, 100), grade(50, 100)),
    ] {
        book.note("a", noted, true);
        assert_eq!(book.best["a"], best);
    }
}

#[test]
fn the_book_survives_and_keeps_the_best_grade() {
    let dir = tempfile::tempdir().unwrap();
    let (path, key) = (dir.path().join("labs.json"), Key::load_or_create(dir.path()).unwrap());
    let mut book = Book::load(&path, &key).unwrap();
    let grade = |score| Best { score, max: 100, passed: score == 100, seed: 1, attempt: 1 };
    book.note("a", grade(90), true);
    book.note("a", grade(40), true);
    book.note("a", grade(100), false);
    book.note("played", grade(100), false);
    book.open = Some(open());
    book.save(&path, &key).unwrap();
    let read = Book::load(&path, &key).unwrap();
    assert_eq!(read, book);
    assert_eq!((read.best["a"].score, read.best["a"].passed), (90, false));
    assert!(!read.best.contains_key("played"), "what was only played has no grade, not even none");
    std::fs::write(&path, r#"{"format": 7}"#).unwrap();
    assert!(matches!(Book::load(&path, &key), Err(Error::Newer { found: 7, .. })));
}

#[test]
fn who_leaves_a_lab_is_known_to_have_left_it() {
    let mut book = Book::default();
    let before = book.start("a", 7);
    book.open = Some(Open { before, gradings: 2, ..open() });
    book.leave();
    assert_eq!((book.open.as_ref(), book.best.len()), (None, 0));
    let before = book.start("a", 7);
    assert_eq!((before.left, before.gradings, before.solves), (0, 2, 1), "it was graded");
    book.open = Some(Open { before, gradings: 0, ..open() });
    book.leave();
    let before = book.start("a", 7);
    assert_eq!((before.left, before.gradings), (1, 2));
    assert_eq!(before.hints, ["h1".to_string()].into(), "its hints are not forgotten");
    book.open = Some(Open { before, ..open() });
    assert_eq!(book.open.as_ref().unwrap().attempts()["earlier_left"], 1);
    book.close();
    assert_eq!(book.start("a", 7).left, 1, "another start is no leave");
    book.open = Some(Open { began: 0, ..open() });
    book.leave();
    assert_eq!(book.start("a", 7).left, 1, "it was never handed out");
}

/// Cheats 1 and 2: the solution and the hints are taken out of the file, the clock is set back,
/// a grade is put in.
#[test]
fn an_edited_book_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, key) = (dir.path().join("labs.json"), Key::load_or_create(dir.path()).unwrap());
    let mut book = Book { open: Some(open()), ..Book::default() };
    book.start("a", 7);
    book.save(&path, &key).unwrap();
    let kept: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    type Edit = fn(&mut Value);
    let edits: [Edit; 7] = [
        |b| b["open"]["solve"] = false.into(),
        |b| b["open"]["hints"] = json!([]),
        |b| b["open"]["changedMs"] = 1.into(),
        |b| b["open"]["started"] = "2026-11-21T00:00:00Z".into(),
        |b| b["best"] = json!({"orphans": {"score": 100, "max": 100, "passed": true, "seed": 1}}),
        |b| _ = b.as_object_mut().unwrap().remove("seal"),
        |b| {
            b["format"] = 1.into();
            b.as_object_mut().unwrap().remove("seal");
        },
    ];
    for (at, edit) in edits.into_iter().enumerate() {
        let mut forged = kept.clone();
        edit(&mut forged);
        std::fs::write(&path, forged.to_string()).unwrap();
        let read = Book::load(&path, &key).unwrap();
        assert!(read.open.is_some_and(|o| o.tampered), "edit {at}");
        assert!(read.best.is_empty() && read.tries.is_empty(), "edit {at}");
    }
    // Another key's seal is none, be it made for the purpose or another cluster's.
    let other = tempfile::tempdir().unwrap();
    let strange = Key::load_or_create(other.path()).unwrap();
    let Value::Object(fields) = kept.clone() else { unreachable!() };
    std::fs::write(&path, strange.seal(Kind::Book, fields).to_string()).unwrap();
    assert!(Book::load(&path, &key).unwrap().open.is_some_and(|o| o.tampered));
    std::fs::write(&path, serde_json::to_vec_pretty(&kept).unwrap()).unwrap();
    assert_eq!(Book::load(&path, &key).unwrap(), book, "white space does not matter");
}

/// An older copy has a good seal; the store has counted on.
#[test]
fn an_older_copy_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, key) = (dir.path().join("labs.json"), Key::load_or_create(dir.path()).unwrap());
    let mut book = Book { open: Some(open()), ..Book::default() };
    book.save(&path, &key).unwrap();
    assert!(book.agrees(Found::Nothing), "it was never told to the store");
    let anchor = |book: &Book, create, version| Anchor::new(book.counter, create, version);
    let first = anchor(&book, 0, 1).text(&key);
    let second = anchor(&book, 40, 2).text(&key);
    book.anchored = book.counter;
    book.save(&path, &key).unwrap();
    let old = book.clone();
    assert!(book.agrees(Anchor::read(&second, 40, 2, &key)), "the file may be ahead: the program was killed");
    book.open.as_mut().unwrap().hints.push("h2".into());
    book.save(&path, &key).unwrap();
    let third = anchor(&book, 40, 3).text(&key);
    assert!(book.agrees(Anchor::read(&third, 40, 3, &key)));
    assert!(!old.agrees(Anchor::read(&third, 40, 3, &key)), "an older file");
    assert!(!old.agrees(Anchor::read(&second, 40, 4, &key)), "and the older key put back");
    assert!(!old.agrees(Found::Nothing), "or deleted");
    assert!(!old.agrees(Anchor::read(&second, 70, 2, &key)), "or made anew and put as often");
    assert!(!old.agrees(Anchor::read(&first, 70, 1, &key)), "with its very first text");
    // Without the file there is no lab, and the next one's record says that something was lost.
    let mut none = Book::default();
    assert!(!none.agrees(Anchor::read(&third, 40, 3, &key)), "a file that was deleted");
    none.distrust();
    assert_eq!(none.start("a", 1).lost, 1);
    // The store's count was deleted as well; that a lab was opened it still knows.
    assert!(Book::default().agrees(Found::Nothing) && !Book::default().agrees(Found::Deleted));
    assert!(!old.agrees(Found::Deleted));
    let record = Open { before: none.start("a", 1), ..open() }.attempts();
    assert_eq!((&record["lost"], &record["book_deleted"]), (&json!(1), &json!(1)), "the record says so");
    let forged = third.replace(&format!("\"counter\":{}", book.counter), "\"counter\":0");
    assert_ne!(forged, third);
    assert!(!old.agrees(Anchor::read(&forged, 40, 3, &key)), "or edited");
}

/// A pod that was put back twice is still the one that was there; one that the learner made
/// anew in between is not.
#[test]
fn a_pod_that_the_judge_put_back_is_known_by_its_first_uid() {
    let mut lab = open();
    let pods = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(is, was)| (is.to_string(), was.to_string())).collect()
    };
    lab.put_back(pods(&[("a2", "a1"), ("b2", "b1")]));
    lab.put_back(pods(&[("a3", "a2"), ("c2", "c1")]));
    assert_eq!(lab.reborn, pods(&[("a3", "a1"), ("b2", "b1"), ("c2", "c1")]));
}

/// The anchor lies open in the store, has a good seal and the newest count. As the book it
/// would be one without any start, hint or solution, of which the store would say that it is
/// the newest.
#[test]
fn the_anchor_is_no_book_and_the_book_no_anchor() {
    let dir = tempfile::tempdir().unwrap();
    let (path, key) = (dir.path().join("labs.json"), Key::load_or_create(dir.path()).unwrap());
    let mut book = Book { open: Some(open()), ..Book::default() };
    book.start("a", 7);
    book.save(&path, &key).unwrap();
    let anchor = Anchor::new(book.counter, 40, 2).text(&key);
    let kept = std::fs::read_to_string(&path).unwrap();
    let mut with_format: Value = serde_json::from_str(&anchor).unwrap();
    with_format["format"] = FORMAT.into();
    for text in [anchor.clone(), with_format.to_string()] {
        std::fs::write(&path, text).unwrap();
        let read = Book::load(&path, &key).unwrap();
        assert_eq!(read.lost, 1, "it is noticed, and every later record says so");
    }
    assert_eq!(Anchor::read(&kept, 40, 2, &key), Found::Forged);
    assert_eq!(Anchor::read(&anchor, 40, 2, &key), Found::Anchor(Anchor::new(1, 40, 2)));
    let old = Anchor { format: 1, ..Anchor::new(1, 40, 2) }.text(&key);
    assert_eq!(Anchor::read(&old, 40, 2, &key), Found::Forged);
}

#[test]
fn starts_gradings_and_solutions_are_counted() {
    let mut book = Book::default();
    book.start("a", 1);
    book.open = Some(Open { gradings: 2, ..open() });
    book.close();
    assert_eq!(book.start("a", 9).seed_starts, 1);
    let third = book.start("a", 1);
    assert_eq!((third.starts, third.seed_starts, third.solves, third.gradings), (3, 2, 1, 2));
    let record = Open { before: third.clone(), gradings: 1, ..open() }.attempts();
    assert_eq!((&record["starts"], &record["gradings"]), (&json!(3), &json!(1)));
    // What was shown at the first start is known at the third, and counts there, once.
    assert_eq!(third.hints, ["h1".to_string()].into());
    let told = |hints: &[&str]| Open {
        before: third.clone(),
        hints: hints.iter().map(ToString::to_string).collect(),
        ..open()
    };
    assert_eq!((told(&[]).used().hints, told(&["h1"]).used().hints, told(&["h2"]).used().hints), (1, 1, 2));
    book.open = Some(Open { gave_up: true, ..open() });
    book.close();
    assert_eq!(book.start("a", 1).given_up, 1);
    (0..999).for_each(|seed| _ = book.start("a", seed));
    assert_eq!((book.tries["a"].seeds.len(), book.tries["a"].starts), (SEEDS_MAX, 1003));
}
