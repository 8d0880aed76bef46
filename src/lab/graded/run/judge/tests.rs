use super::record::{free_name, millis};
use super::*;
use crate::graded::Opened;
use crate::graded::book::Book;
use crate::graded::read::Labs;
use crate::graded::seal::Chain;
use crate::graded::world::World;
use crate::stage::{self, Stage};
use clock::Timestamp;
use cluster::guest::Host;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use task::Crew;
use tokio::sync::mpsc;

/// A lab that is open on a ground without a cluster.
async fn opened(dir: &Path, kubectl: std::net::SocketAddr, past: stage::Answer, crew: &Crew) -> LabRun {
    let host: Host = Stage::new(dir, kubectl, past).await;
    let world = World::start(crew, &host).unwrap();
    let run = LabRun::open(world, host, Opened::default()).unwrap();
    let open = json!({"lab": "orphans", "seed": 7, "base": 5, "began": 10, "started": "2026-01-01T00:00:00Z",
        "hints": [], "solve": false, "undo": 0, "green": {}, "chain": Chain::default()});
    run.book().open = Some(serde_json::from_value(open).unwrap());
    run
}

/// A task for which nothing has to be seen, and whose probe does nothing.
fn nothing_to_see(run: &LabRun) -> (Current, Task) {
    let current = run.current().unwrap();
    let mut task = current.lab.tasks.iter().find(|t| !t.probe.is_empty()).unwrap().clone();
    (task.checks, task.probe, task.hold) = (vec![], vec![], Duration::ZERO);
    (current, task)
}

/// An id such as `traffic` is the author's word: the learner has never seen it.
#[test]
fn a_task_that_counts_with_others_only_names_them_in_words() {
    let labs = Labs::built_in();
    let lab = labs.get("broken-selector").unwrap();
    let durable = lab.tasks.iter().find(|task| !task.only_with.is_empty()).unwrap();
    for lang in ["en", "ko"] {
        let red = only_with(lab, &durable.only_with);
        let with = lab.tasks.iter().find(|task| task.id == durable.only_with[0]).unwrap();
        assert!(red.told.get(lang).contains(with.task.get(lang)), "{:?}", red.told);
        assert!(red.unmet.contains(with.task.get("en")), "{}", red.unmet);
    }
}

/// A way back that fails is tried again. If it fails for good, the learner goes on from there:
/// no restart may go back then.
#[tokio::test]
async fn a_way_back_is_tried_again_and_forgotten_when_it_fails_for_good() {
    for failures in [0, BACK_TRIES - 1, BACK_TRIES] {
        let dir = tempfile::tempdir().unwrap();
        let (_silent, address) = stage::silent().await;
        let (went, mut goes) = mpsc::unbounded_channel();
        let left = AtomicUsize::new(failures);
        let past = stage::answer(move |past| {
            let answer = match past {
                Past::Rewind { .. } | Past::RewindWithin { .. } => {
                    let _ = went.send(());
                    let fails = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
                    let why = "the cluster changes too fast to go back; try again";
                    if fails.is_ok() { Err(why.to_string()) } else { Ok(json!({"revision": 30})) }
                }
                _ => Ok(json!({"revision": 20, "oldest": 1})),
            };
            Box::pin(std::future::ready(answer))
        });
        let crew = Crew::new("labs");
        let run = opened(dir.path(), address, past, &crew).await;
        let (current, task) = nothing_to_see(&run);
        let verdict = run.disturb(&current, &task, &[], &BTreeMap::new(), true).await;
        let tries = std::iter::from_fn(|| goes.try_recv().ok()).count();
        assert_eq!(tries, (failures + 1).min(BACK_TRIES));
        assert_eq!(verdict.is_ok(), failures < BACK_TRIES, "{failures} failures");
        let (path, key) = (&run.path, &run.key);
        let kept = Book::load(path, key).unwrap().open.unwrap().disturbed;
        assert_eq!(kept, None, "{failures} failures: nothing is taken back at the next start");
        crew.kill();
    }
}

/// A write of the learner's.
fn by_hand(revision: u64) -> tap::Record {
    let request = tap::Request { user: tap::LEARNER.into(), ..tap::Request::default() };
    let record = tap::Record::new(tap::Event::Commit(tap::Write::UPDATED));
    let record = record.object("configmaps", "shop", "own").revision(revision);
    tap::Record { request: Some(request), body: Some("{}".into()), ..record }
}

/// The learner writes while the judge is about to go back: the write goes with the rest.
#[tokio::test]
async fn what_a_person_writes_while_the_judge_goes_back_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, address) = stage::silent().await;
    let heard = Arc::new(std::sync::OnceLock::<tap::Tap>::new());
    let tells = heard.clone();
    let past = stage::answer(move |past| {
        let is_back = matches!(past, Past::Rewind { .. } | Past::RewindWithin { .. });
        if let Some(tap) = tells.get().filter(|_| is_back) {
            tap.emit(by_hand(25));
        }
        let revision = if is_back { 30 } else { 20 };
        Box::pin(std::future::ready(Ok(json!({"revision": revision, "oldest": 1}))))
    });
    let crew = Crew::new("labs");
    let run = opened(dir.path(), address, past, &crew).await;
    assert!(heard.set(run.host.tap().clone()).is_ok());
    run.world.know().recording = true;
    let (current, task) = nothing_to_see(&run);
    let verdict = run.disturb(&current, &task, &[], &BTreeMap::new(), true).await;
    assert!(verdict.is_err_and(|red| red.unmet.contains("changed by hand")));
    crew.kill();
}

/// The learner writes between the moment to which the judge goes back and its first act: the way
/// back takes that away, so the grade has to say it.
#[tokio::test]
async fn what_a_person_writes_right_before_a_probe_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, address) = stage::silent().await;
    let past = stage::answer(|_| Box::pin(std::future::ready(Ok(json!({})))));
    let crew = Crew::new("labs");
    let run = opened(dir.path(), address, past, &crew).await;
    run.world.know().recording = true;
    for (revision, is_told) in [(20, false), (21, true)] {
        run.host.tap().emit(by_hand(revision));
        run.world.read(run.host.tap());
        let quiet = run.quiet(20);
        assert_eq!(run.world.know().meddled, is_told, "revision {revision}");
        drop(quiet);
    }
    crew.kill();
}

/// The API server that the judge asks has not seen the learner's last write yet.
#[tokio::test]
async fn a_way_back_takes_nothing_that_was_written_before_the_probe() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, address) = stage::silent().await;
    let (went, mut goes) = mpsc::channel(8);
    let past = stage::answer(move |past| {
        if let Past::Rewind { to } | Past::RewindWithin { to, .. } = past {
            let _ = went.try_send(to);
        }
        Box::pin(std::future::ready(Ok(json!({"revision": 20, "oldest": 1}))))
    });
    let crew = Crew::new("labs");
    let run = opened(dir.path(), address, past, &crew).await;
    run.world.know().recording = true;
    run.host.tap().emit(by_hand(21));
    let (current, task) = nothing_to_see(&run);
    let verdict = run.disturb(&current, &task, &[], &BTreeMap::new(), true).await;
    assert!(verdict.is_ok_and(|verdict| verdict.is_ok()));
    assert_eq!(goes.recv().await, Some(cluster::undo::Moment::Revision(21)));
    crew.kill();
}

/// A request has failed, and the log that says so will say it for ever.
#[tokio::test]
async fn a_task_that_is_lost_is_not_waited_for() {
    use crate::cel::{Expr, Use};
    let dir = tempfile::tempdir().unwrap();
    let (_silent, address) = stage::silent().await;
    let past = stage::answer(|_| Box::pin(std::future::ready(Ok(json!({})))));
    let crew = Crew::new("labs");
    let run = opened(dir.path(), address, past, &crew).await;
    let (current, task) = nothing_to_see(&run);
    let expr = |source: &str| Expr::compile(source, Use::Check, &[]).unwrap();
    let (is_so, never) = (|| expr("since_step == 10"), || expr("since_step == 7"));
    let checks = [never(), is_so(), never()].map(|is| (Text::default(), is));
    let mut task = Task { checks: checks.into(), lost: Some(never()), ..task };
    let (frame, hour) = (current.frame(), Duration::from_secs(3600));
    assert_eq!(run.settle_task(&task, &frame, Duration::ZERO, Duration::ZERO).await, Err(0));
    task.lost = Some(is_so());
    let settled = run.settle_task(&task, &frame, Duration::ZERO, hour);
    let settled = tokio::time::timeout(Duration::from_secs(20), settled).await;
    assert_eq!(settled.expect("it ends at once"), Err(2), "the last one is what is lost");
    crew.kill();
}

/// The cluster is stopped while it still recovers from a probe: the next start does not go back
/// once more, over what the learner has done since.
#[tokio::test]
async fn a_way_back_is_noted_before_the_cluster_has_recovered() {
    use crate::cel::{Expr, Use};
    let dir = tempfile::tempdir().unwrap();
    let (_silent, address) = stage::silent().await;
    let (went, mut goes) = mpsc::channel(1);
    let past = stage::answer(move |past| {
        if matches!(past, Past::Rewind { .. } | Past::RewindWithin { .. }) {
            let _ = went.try_send(());
        }
        Box::pin(std::future::ready(Ok(json!({"revision": 30, "oldest": 1}))))
    });
    let crew = Crew::new("labs");
    let run = opened(dir.path(), address, past, &crew).await;
    let (current, task) = nothing_to_see(&run);
    let never = Expr::compile("since_step == 7", Use::Check, &[]).unwrap();
    let slow = Task { id: "slow".into(), checks: vec![(Text::default(), never)], ..task.clone() };
    let found: BTreeMap<String, Found> =
        [(slow.id.clone(), Found { green: true, ..Found::default() })].into();
    let noted = async {
        goes.recv().await.expect("a way back");
        let is_noted = || Book::load(&run.path, &run.key).unwrap().open.unwrap().disturbed.is_none();
        while !is_noted() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waits = [&slow];
    tokio::select! {
        biased;
        _ = run.disturb(&current, &task, &waits, &found, true) => panic!("nothing is noted before the end"),
        () = noted => {}
    }
    crew.kill();
}

/// The disk became full while the judge was at work: what the learner does next counts again.
#[tokio::test]
async fn a_judge_that_cannot_write_down_that_it_failed_listens_again() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, address) = stage::silent().await;
    let book = cluster::Home::at(dir.path()).cluster("stage").unwrap().root.join("labs.json");
    let past = stage::answer(move |past| {
        let answer = match past {
            Past::Rewind { .. } | Past::RewindWithin { .. } => {
                // A directory that is not empty takes no file's place.
                let _ = std::fs::remove_file(&book).and_then(|()| std::fs::create_dir_all(book.join("full")));
                Err("no API server answers".to_string())
            }
            _ => Ok(json!({"revision": 20, "oldest": 1})),
        };
        Box::pin(std::future::ready(answer))
    });
    let crew = Crew::new("labs");
    let run = opened(dir.path(), address, past, &crew).await;
    let (current, task) = nothing_to_see(&run);
    let verdict = run.disturb(&current, &task, &[], &BTreeMap::new(), true).await;
    assert!(verdict.is_err() && run.path.is_dir());
    let known = run.world.know();
    assert!(!known.quiet && !known.playing);
    crew.kill();
}

#[test]
fn one_late_answer_does_not_end_a_task_when_all_others_are_done() {
    let within = Duration::from_secs(15);
    assert_eq!(patience_before(true, within), within);
    assert_eq!(patience_before(true, Duration::ZERO), LOOK);
    assert_eq!(patience_before(false, within), LOOK, "what is wrong is told at once");
}

#[test]
fn a_probe_after_the_limit_is_of_what_was_done_before() {
    let judged = |seen: Option<&(u64, i64)>, remade: bool| {
        let at_ms = done_since(seen, (650_000, 90), remade.then_some(600_000)).0;
        let mut all = [Found { id: "durable".into(), green: true, at_ms, ..Found::default() }];
        score::in_time(&mut all, 600_000, true, &Red::default()); // something was written after the limit
        all[0].green
    };
    assert!(judged(Some(&(300_000, 40)), false));
    assert!(!judged(Some(&(610_000, 80)), false));
    assert!(!judged(None, false), "nobody saw it before the learner asked");
    // Mended by hand in time, and made to last when the time was over.
    assert!(!judged(Some(&(300_000, 40)), true));
}

#[test]
fn a_red_task_says_what_is_not_so_in_the_learners_language() {
    let labs = Labs::built_in();
    let told = |lab: &str, task: &str, lang: &str| {
        let task = labs.get(lab).unwrap().tasks.iter().find(|t| t.id == task).unwrap();
        let red = unmet(task, 0);
        (red.unmet, red.told.get(lang).to_string())
    };
    let (english, korean) =
        (told("broken-selector", "report", "en"), told("broken-selector", "report", "ko"));
    assert_eq!(english.1, format!("not so: {}", english.0));
    assert_eq!(korean.0, english.0, "the record is in one language");
    assert!(korean.1.starts_with("충족되지 않음: ") && !korean.1.contains(&english.0), "{korean:?}");
    // Where only the task could be said again, nothing is.
    let (unmet, told) = told("broken-selector", "same", "en");
    assert!(unmet.contains("address") && told.is_empty(), "{unmet}: {told}");
}

#[test]
fn a_probe_on_a_slow_machine_leaves_more_time_to_recover() {
    let seconds = Duration::from_secs;
    assert_eq!(recovery(seconds(15), seconds(2)), seconds(17));
    assert_eq!(recovery(seconds(15), seconds(600)), seconds(15) + RECOVERY_MAX, "it ends");
}

/// After a grade the pods that the judge took away are there again under other uids.
#[test]
fn a_restart_of_a_pod_that_the_judge_put_back_is_seen() {
    use crate::cel::facts::{self, Object, Versions};
    use crate::cel::{value, version::Version};
    let labs = Labs::built_in();
    let task = labs.get("orphans").unwrap().tasks.iter().find(|t| t.id == "owned").unwrap();
    let owned = |restarts: i64| {
        let pod = |uid: &str, restarts: i64, owner: Option<&str>| {
            let owners: Vec<Value> =
                owner.map(|uid| json!({"uid": uid, "controller": true})).into_iter().collect();
            json!({"kind": "Pod", "metadata": {"namespace": "shop", "name": "web-1", "uid": uid, "labels": {"app": "web"},
                "ownerReferences": owners}, "status": {"containerStatuses": [{"restartCount": restarts}]}})
        };
        let set = json!({"kind": "ReplicaSet", "metadata": {"namespace": "shop", "name": "web", "uid": "r"}});
        let now = pod("put-back", restarts, Some("r"));
        let version = |revision, verb, pod: &Value| {
            Arc::new(Version::new(revision, None, verb, pod.to_string().into()))
        };
        let versions = vec![version(4, "ADDED", &pod("first", 0, None)), version(9, "MODIFIED", &now)];
        let history: Versions = [(("pods".into(), "shop".into(), "web-1".into()), Arc::new(versions))].into();
        let mut facts =
            Facts { history: Arc::new(history), lesson_began: 5, since_step: 5, ..Facts::default() };
        facts.variant = Some(value::of_json(&json!({"ns": "shop", "app": "web", "count": 1})));
        facts.objects.insert(facts::kind("ReplicationController").unwrap().qualified(), Arc::default());
        for object in [now, set] {
            let kind = facts::kind(object["kind"].as_str().unwrap()).unwrap().qualified();
            let name = object["metadata"]["name"].as_str().unwrap().to_string();
            facts.objects.insert(kind, Arc::new([(("shop".into(), name), Object::new(object))].into()));
        }
        let facts = Arc::new(facts);
        super::super::exprs(task).into_iter().all(|e| e.holds(&facts))
    };
    assert!(owned(0) && !owned(1));
}

#[test]
fn no_record_takes_another_s_place() {
    let dir = tempfile::tempdir().unwrap();
    let next = || free_name(dir.path(), "wrong-image-7").file_name().unwrap().to_owned();
    for name in ["wrong-image-7.json", "wrong-image-7-2.json", "wrong-image-7-3.json"] {
        assert_eq!(next(), name);
        std::fs::write(dir.path().join(name), "{}").unwrap();
    }
}

#[test]
fn times_have_whole_milliseconds() {
    let at: Timestamp = "2026-11-20T05:02:11.0404999Z".parse().unwrap();
    assert_eq!(millis(at), "2026-11-20T05:02:11.040Z");
    assert_eq!(millis("2026-11-20T05:02:11Z".parse().unwrap()), "2026-11-20T05:02:11.000Z");
}
