//! Leader election: holders that are not answered, standbys that stop, Leases that are given back.

use super::*;
use crate::testing;

#[tokio::test]
async fn a_holder_whom_the_server_does_not_answer_gives_up() {
    let client = Client::connect(testing::silent().await).unwrap();
    let election = LeaderElection {
        lease_duration: Duration::from_millis(600),
        renew_deadline: Duration::from_millis(400),
        retry_period: Duration::from_millis(50),
        ..LeaderElection::new(client, "test", "me")
    };
    let held = tokio::time::timeout(Duration::from_secs(20), election.hold(clock::Instant::now())).await;
    let why = held.expect("it works on although no server says that it may");
    assert!(why.starts_with("leaderelection lost: not renewed for"), "{why}");
    assert!(why.ends_with("the API server does not answer"), "{why}");
}

/// However long it has stood before: a blip is no warning.
#[test]
fn a_standby_tells_of_a_silence_that_lasts() {
    let (began, mut silence) = (clock::Instant::now(), Silence::default());
    let goes_on = |silence: &mut Silence, at: u64| silence.goes_on(began + Duration::from_secs(at));
    assert_eq!(
        [100, 129, 130, 159, 160].map(|at| goes_on(&mut silence, at)),
        [false, false, true, false, true]
    );
    silence.ends();
    assert_eq!([200, 202, 230].map(|at| goes_on(&mut silence, at)), [false, false, true]);
}

#[tokio::test]
async fn a_standby_that_is_asked_to_stop_ends_and_leaves_the_lease_alone() {
    let held = serde_json::json!({
        "metadata": {"name": "test", "namespace": "kube-system", "resourceVersion": "5"},
        "spec": {"holderIdentity": "other", "leaseDurationSeconds": 15},
    });
    let server = testing::Scripted::new(move |_| Some((200, held.clone()))).await;
    let election = LeaderElection {
        retry_period: Duration::from_secs(3600),
        ..LeaderElection::new(server.client.clone(), "test", "me")
    };
    let crew = Crew::new("t");
    let standing = async {
        while server.take().is_empty() {
            tokio::task::yield_now().await;
        }
        crew.token().cancel();
    };
    let tap = Tap::default();
    let lead = election.lead(&crew, &tap, async |_| panic!("it leads"));
    let ended = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(lead, standing) }).await;
    ended.expect("it stands by although it was asked to stop").0.unwrap();
    assert!(server.lines().iter().all(|line| line.starts_with("GET ")));
}

#[tokio::test]
async fn a_lease_that_was_got_while_the_standby_was_asked_to_stop_is_given_back() {
    let crew = Crew::new("t");
    let stop = crew.token();
    let lease = parking_lot::Mutex::new(serde_json::json!({
        "metadata": {"name": "test", "namespace": "kube-system", "resourceVersion": "5"},
        "spec": {"holderIdentity": ""},
    }));
    let server = testing::Scripted::new(move |asked| {
        let mut lease = lease.lock();
        if asked.line.starts_with("PUT ") {
            stop.cancel(); // while the write is on its way
            *lease = asked.body.clone();
        }
        Some((200, lease.clone()))
    })
    .await;
    let election = LeaderElection::new(server.client.clone(), "test", "me");
    let tap = Tap::default();
    let lead = election.lead(&crew, &tap, async |_| panic!("it leads"));
    tokio::time::timeout(Duration::from_secs(20), lead).await.expect("it ends").unwrap();
    let last = server.take().pop().unwrap();
    assert_eq!(
        (last.line.split(' ').next(), &last.body["spec"]["holderIdentity"]),
        (Some("PUT"), &"".into())
    );
}

/// An abort ends a task at its next await point. The Lease must not be another's before that.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lease_is_given_back_when_the_last_task_of_the_work_is_gone() {
    struct Ends(std::sync::Arc<parking_lot::Mutex<Vec<&'static str>>>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.lock().push("the task is gone");
        }
    }
    let log: std::sync::Arc<parking_lot::Mutex<Vec<&'static str>>> = Default::default();
    let seen = log.clone();
    let lease = parking_lot::Mutex::new(serde_json::json!({
        "metadata": {"name": "test", "namespace": "kube-system", "resourceVersion": "5"},
        "spec": {"holderIdentity": ""},
    }));
    let server = testing::Scripted::new(move |asked| {
        let mut lease = lease.lock();
        if asked.line.starts_with("PUT ") {
            *lease = asked.body.clone();
            if asked.body["spec"]["holderIdentity"] == "" {
                seen.lock().push("the lease is free");
            }
        }
        Some((200, lease.clone()))
    })
    .await;
    let election = LeaderElection::new(server.client.clone(), "test", "me");
    let (crew, tap, working) = (Crew::new("t"), Tap::default(), log.clone());
    let stop = crew.token();
    let lead = election.lead(&crew, &tap, move |part: Crew| {
        part.spawn(async move {
            let _ends = Ends(working);
            tokio::task::yield_now().await;
            stop.cancel();
            std::thread::sleep(Duration::from_millis(500)); // it is in the middle of a poll
            std::future::pending::<()>().await;
        });
        std::future::ready(())
    });
    tokio::time::timeout(Duration::from_secs(20), lead).await.expect("it ends").unwrap();
    assert_eq!(*log.lock(), ["the task is gone", "the lease is free"]);
    let mut written = server.take();
    written.retain(|asked| asked.line.starts_with("PUT "));
    let time = |asked: Option<&testing::Asked>| asked.unwrap().body["spec"]["renewTime"].to_string();
    assert!(time(written.last()) > time(written.first()), "it says when it was given back: {written:?}");
}

/// It may be another standby's Lease by then, a good one.
#[tokio::test]
async fn a_delete_of_an_undecodable_lease_is_not_repeated_without_another_look() {
    let server = testing::Scripted::new(|asked| match asked.line.split(' ').next() {
        Some("GET") => testing::refusal(500, "StorageReadError"),
        _ => {
            let (code, mut body) = testing::refusal(429, "TooManyRequests")?;
            body["details"] = serde_json::json!({"retryAfterSeconds": 1});
            Some((code, body))
        }
    })
    .await;
    let election = LeaderElection {
        lease_duration: Duration::ZERO,
        retry_period: Duration::from_millis(500),
        ..LeaderElection::new(server.client.clone(), "test", "me")
    };
    let crew = Crew::new("t");
    let mut lines = vec![];
    let watching = async {
        while lines.iter().filter(|line: &&String| line.starts_with("DELETE ")).count() < 2 {
            lines.append(&mut server.lines());
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = election.acquire(&crew) => panic!("it leads"),
        done = tokio::time::timeout(Duration::from_secs(20), watching) => done.expect("it deletes"),
    }
    let at = lines.iter().position(|line| line.starts_with("DELETE ")).unwrap();
    assert!(lines[at + 1].starts_with("GET "), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_holder_stops_at_its_deadline_also_between_two_tries_and_within_one() {
    let _scale = clock::pin_scale(20); // its requests do not become faster
    let client = Client::connect(testing::silent().await).unwrap();
    for retry in [7, 9, 60] {
        let election = LeaderElection {
            retry_period: Duration::from_secs(retry),
            ..LeaderElection::new(client.clone(), "test", "me")
        };
        let renewed = clock::Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await; // since the write that got it
        let why = election.hold(renewed).await;
        assert_eq!(renewed.elapsed().as_secs(), 10, "retry after {retry} s: {why}");
    }
}
