use super::*;
use crate::graded::Opened;
use crate::graded::guest::Graded as Labs;
use crate::graded::seal::Chain;
use crate::graded::stopwatch::Stopwatch;
use crate::graded::view::{Ask, Question};
use crate::graded::world::World;
use crate::stage::{self, Stage};
use cluster::control::Reply;
use cluster::guest::{Guest, Host};
use futures::{FutureExt, StreamExt};
use serde_json::json;
use std::sync::atomic::Ordering;
use task::Crew;

/// A ground without a cluster, on which labs are handed out.
struct Ground {
    _dir: tempfile::TempDir,
    /// The server of the teacher's kubectl, where none answers.
    _silent: Option<tokio::net::TcpListener>,
    crew: Crew,
    host: Host,
}

impl Ground {
    async fn new() -> Ground {
        let (silent, address) = stage::silent().await;
        Ground { _silent: Some(silent), ..Ground::served_by(address).await }
    }

    /// With a server of the teacher's kubectl.
    async fn served_by(address: std::net::SocketAddr) -> Ground {
        let dir = tempfile::tempdir().unwrap();
        let past = stage::answer(|_| Box::pin(std::future::ready(Ok(json!({"revision": 20, "oldest": 1})))));
        let host: Host = Stage::new(dir.path(), address, past).await;
        Ground { _dir: dir, _silent: None, crew: Crew::new("labs"), host }
    }

    /// A process of the cluster.
    fn process(&self) -> LabRun {
        let world = World::start(&self.crew, &self.host).unwrap();
        LabRun::open(world, self.host.clone(), Opened::default()).unwrap()
    }

    /// A process of the cluster in which a lab was opened a moment ago.
    fn playing(&self) -> LabRun {
        self.playing_lab("orphans")
    }

    fn playing_lab(&self, id: &str) -> LabRun {
        let run = self.process();
        let started = clock::now();
        let open = json!({"lab": id, "seed": 7, "base": 5, "began": 10, "started": started,
            "hints": [], "solve": false, "undo": 0, "green": {}, "chain": Chain::default()});
        run.book().open = Some(serde_json::from_value(open).unwrap());
        run.world.know().watch = Some(Stopwatch::taken_up(started, 0));
        run.taken_up.store(true, Ordering::Relaxed);
        run
    }
}

async fn next(follower: &mut Follower, run: &LabRun) -> LabView {
    follower.next(run).await.expect("a view")
}

/// Returns whether nothing new comes to this follower.
fn is_quiet(follower: &mut Follower, run: &LabRun) -> bool {
    follower.next(run).now_or_never().is_none()
}

/// A learner who has written a status by hand sees why the task stays red before the grade does.
#[tokio::test(start_paused = true)]
async fn a_task_that_excludes_what_was_done_says_so_before_the_grade() {
    let ground = Ground::new().await;
    let run = ground.playing_lab("wrong-image");
    let mut follower = run.follower("ko");
    let first = next(&mut follower, &run).await;
    assert!(!first.tasks.is_empty() && first.tasks.iter().all(|task| task.told.is_empty()));
    run.world.know().meddling.insert(crate::observe::who::Meddling::Status);
    run.tell_followers();
    let told = next(&mut follower, &run).await;
    let of_tasks: Vec<&str> = told.tasks.iter().map(|task| task.told.as_str()).collect();
    assert!(of_tasks.iter().any(|told| told.contains("직접 고쳤습니다")), "{of_tasks:?}");
    ground.crew.kill();
}

#[tokio::test(start_paused = true)]
async fn a_hint_a_check_and_the_way_are_told_to_all_who_follow() {
    let ground = Ground::new().await;
    let run = ground.playing();
    let (mut english, mut korean) = (run.follower("en"), run.follower("ko"));
    let first = next(&mut english, &run).await;
    assert_eq!((first.id.as_str(), first.seed, first.work), ("orphans", 7, Work::Idle));
    assert!(first.left_s > 0 && first.tasks.iter().all(|task| task.green.is_none()));
    assert_ne!(next(&mut korean, &run).await.title, first.title, "each in its language");
    assert!(is_quiet(&mut english, &run));
    run.tell_followers();
    assert!(is_quiet(&mut english, &run), "nothing has changed");

    run.answer(Ask::Hint { id: None }, "en").await.unwrap();
    let hinted = next(&mut english, &run).await;
    assert_eq!((hinted.hints.len(), next(&mut korean, &run).await.hints.len()), (1, 1));

    run.answer(Ask::Check { id: None, seed: None }, "en").await.unwrap();
    let checked = next(&mut english, &run).await;
    assert!(checked.tasks.iter().any(|task| task.green == Some(false)), "{checked:?}");

    run.answer(Ask::GiveUp { id: None }, "ko").await.unwrap();
    let (told, in_korean) = (next(&mut english, &run).await, run.follower("ko").next(&run).await.unwrap());
    assert!(told.over && !told.given_up.clone().unwrap().lines.is_empty());
    assert_eq!(told.given_up, in_korean.given_up);
    ground.crew.kill();
}

#[tokio::test(start_paused = true)]
async fn a_grade_is_told_and_is_there_after_a_restart_in_every_language() {
    let ground = Ground::new().await;
    let run = ground.playing();
    let mut follower = run.follower("en");
    assert_eq!(next(&mut follower, &run).await.grade, None);
    let grade = Ask::Grade { id: None, seed: None, learner: "Ada".into(), parts: false };
    let (answer, working) = tokio::join!(run.answer(grade, "en"), next(&mut follower, &run));
    assert_eq!((working.work, working.grade), (Work::Grading, None), "it takes its time");
    let graded = next(&mut follower, &run).await;
    assert_eq!(graded.work, Work::Idle);
    let told = graded.grade.expect("a grade");
    assert_eq!(json!(told), answer.unwrap(), "the same as the one who asked was told");
    assert_eq!((&told.record["score"], &told.record["max"]), (&json!(0), &json!(100)));
    let red = told.found.iter().find(|found| !found.told.is_empty()).expect("a reason");
    assert!(red.told.get("en").starts_with("not so: ") && red.told.get("ko").starts_with("충족되지 않음: "));

    let again = ground.process();
    let seen = again.follower("ko").next(&again).await.expect("a view");
    assert_eq!(seen.grade, Some(told));
    ground.crew.kill();
}

/// `lab test` asks for the parts of checks that are not so. To a learner they would be the answer.
#[tokio::test(start_paused = true)]
async fn only_a_cluster_of_a_proof_names_the_parts_of_checks() {
    let ground = Ground::new().await;
    let mut run = ground.playing();
    let grade = |parts: bool| Ask::Grade { id: None, seed: None, learner: "Ada".into(), parts };
    for (lang, named) in [("en", "only on a cluster"), ("ko", "클러스터에서만")] {
        let refused = run.answer(grade(true), lang).await.unwrap_err();
        assert!(refused.contains("ropewalk lab test") && refused.contains(named), "{refused}");
    }
    assert_eq!(run.book().open.as_ref().map(|open| open.gradings), Some(0), "it was not graded");
    let parts_in = |told: &serde_json::Value| -> Vec<String> {
        let found = told["found"].as_array().into_iter().flatten();
        let parts = found.filter_map(|found| found["parts"].as_array()).flatten();
        parts.filter_map(|part| part.as_str().map(String::from)).collect()
    };
    let usual = run.answer(grade(false), "en").await.unwrap();
    assert!(usual["found"].as_array().is_some_and(|found| found.iter().any(|f| f["green"] == false)));
    assert!(!usual.to_string().contains("\"parts\""), "{usual}");
    let kept = run.follower("en").next(&run).await.and_then(|view| view.grade).expect("a grade");
    assert!(kept.found.iter().all(|found| found.parts.is_empty()), "{kept:?}");
    run.is_proof = true;
    let proved = parts_in(&run.answer(grade(true), "en").await.unwrap());
    assert!(!proved.is_empty(), "the same lab has parts that are not so");
    for part in proved {
        let source = part.trim_end_matches(" (not known)");
        assert!(!usual.to_string().contains(source), "{source}");
    }
    ground.crew.kill();
}

#[tokio::test(start_paused = true)]
async fn those_who_follow_hear_when_the_time_is_over_and_when_the_clock_was_set() {
    let ground = Ground::new().await;
    let run = ground.playing();
    let mut follower = run.follower("en");
    let first = next(&mut follower, &run).await;
    let over = next(&mut follower, &run).await;
    assert!(first.left_s > 0 && over.left_s <= 0, "{} {}", first.left_s, over.left_s);
    assert_eq!(LabView { left_s: first.left_s, ..over }, first, "nothing else has changed");
    assert!(is_quiet(&mut follower, &run));

    let mut time = Time::default();
    assert!(!time.has_jumped(1_000), "the first look knows nothing of before");
    clock::pause(Duration::from_secs(1)).await;
    assert!(!time.has_jumped(2_000));
    clock::pause(Duration::from_secs(1)).await;
    assert!(time.has_jumped(60_000));
    ground.crew.kill();
}

#[tokio::test(start_paused = true)]
async fn a_lab_that_was_left_is_gone_for_all_who_follow() {
    let ground = Ground::new().await;
    let run = ground.playing();
    let mut follower = run.follower("en");
    next(&mut follower, &run).await;
    run.answer(Ask::Leave { id: None, agreed: None }, "en").await.unwrap();
    assert_eq!(next(&mut follower, &run).await, LabView::default());
    assert!(is_quiet(&mut follower, &run));
    ground.crew.kill();
}

/// The names are free, and the store does not answer: the setup fails.
#[tokio::test]
async fn a_lab_that_is_set_up_shows_its_title_until_it_has_failed() {
    let server = stage::answering(|asked, _| {
        let found = match asked {
            "GET /api" => stage::discovered(&[
                ("", "namespaces", "Namespace", "Cluster"),
                ("", "services", "Service", "Namespaced"),
                ("", "pods", "Pod", "Namespaced"),
            ]),
            "GET /apis" => stage::discovered(&[("apps", "deployments", "Deployment", "Namespaced")]),
            _ => return stage::not_found(),
        };
        ("200 OK", found.to_string())
    });
    let ground = Ground::served_by(server.await).await;
    let run = ground.process();
    let mut follower = run.follower("en");
    assert_eq!(next(&mut follower, &run).await, LabView::default(), "none is open");
    let start = Ask::Start { id: "orphans".into(), seed: Some(7), agreed: None };
    let views = async {
        let first = next(&mut follower, &run).await;
        tokio::time::pause(); // what it waits for from here on takes no time
        (first, next(&mut follower, &run).await)
    };
    let (started, (first, last)) = tokio::join!(run.answer(start, "en"), views);
    assert!(started.is_err());
    assert_eq!((first.work, first.seed), (Work::Starting, 7));
    assert!(!first.title.is_empty() && first.text.is_empty() && first.tasks.is_empty());
    assert_eq!(last, LabView::default());
    ground.crew.kill();
}

#[tokio::test]
async fn who_follows_before_the_cluster_is_that_far_waits() {
    let ground = Ground::new().await;
    let labs = Labs::new(Opened::default());
    let question = || json!(Question { lang: "en".into(), ask: Ask::Follow });
    let mut views = labs.ask(question());
    assert!(views.next().now_or_never().is_none());
    labs.start(&ground.crew, ground.host.clone());
    let first = views.next().await;
    assert!(matches!(&first, Some(Reply::Ok(view)) if view["id"] == ""), "{first:?}");

    // What is kept of labs cannot be read.
    std::fs::write(ground.host.place().root.join("labs.json"), "{").unwrap();
    let broken = Labs::new(Opened::default());
    broken.start(&ground.crew, ground.host.clone());
    let told: Vec<Reply> = broken.ask(question()).collect().await;
    assert!(matches!(&told[..], [Reply::Error(why)] if why.contains("labs.json")), "{told:?}");
    ground.crew.kill();
}
