//! Work queues whose keys change, fail, wait and panic.

use super::*;
use task::End;

#[tokio::test]
async fn what_matters_most_is_handed_out_first() {
    let queue: WorkQueue<String> = WorkQueue::new(&Crew::new("t"));
    queue.rank_by(|key| -(key.len() as i64));
    for key in ["a", "ccc", "b", "dd"] {
        queue.add(key.into(), None);
    }
    let mut order = vec![];
    for _ in 0..4 {
        order.push(queue.next().await.0);
    }
    assert_eq!(order, ["ccc", "dd", "a", "b"]);
}

#[tokio::test]
async fn a_key_is_handed_out_once_and_comes_back_if_it_changed_meanwhile() {
    let queue = WorkQueue::new(&Crew::new("t"));
    queue.add("a", Some(Cause::Revision(1)));
    queue.add("a", Some(Cause::Revision(2)));
    queue.add("a", None); // it keeps the cause that it has
    queue.add("b", None);
    assert_eq!(queue.next().await, ("a", Some(Cause::Revision(2))));
    queue.add("a", Some(Cause::Revision(3)));
    assert_eq!(queue.next().await, ("b", None)); // a is busy
    queue.done(&"a");
    assert_eq!(queue.next().await, ("a", Some(Cause::Revision(3))));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_back_at_once_for_ever_is_found() {
    spin::find();
    let crew = Crew::new("t");
    let queue = WorkQueue::new(&crew);
    let again = queue.clone();
    queue.work("t", 1, move |key: &'static str, _| {
        again.add(key, None);
        async { Ok::<_, String>(Outcome::Done) }
    });
    queue.add("a", None);
    let end = crew.wait().await;
    assert!(matches!(&end, End::Panicked(why) if why.contains("\"a\" was taken out")), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_put_off_again_and_again_comes_once_at_the_earliest_time() {
    let queue = WorkQueue::new(&Crew::new("t"));
    let start = clock::Instant::now();
    for secs in [20, 10, 30, 10] {
        queue.add_after("a", None, Duration::from_secs(secs));
    }
    assert_eq!(queue.next().await, ("a", None));
    assert_eq!(start.elapsed().as_secs(), 10);
    queue.done(&"a");
    let again = clock::timeout(Duration::from_secs(60), queue.next()).await;
    assert_eq!(again, None);
}

#[tokio::test(start_paused = true)]
async fn delays_are_the_cluster_s_time_and_pauses_are_real() {
    let _scale = clock::pin_scale(20);
    let (queue, start) = (WorkQueue::new(&Crew::new("t")), clock::Instant::now());
    queue.add_after("a", None, Duration::from_secs(300));
    queue.add_after_pause("b", None, Duration::from_secs(300));
    assert_eq!(queue.next().await, ("a", None));
    assert_eq!(start.elapsed().as_secs(), 15);
    assert_eq!(queue.next().await, ("b", None));
    assert_eq!(start.elapsed().as_secs(), 300);
}

/// A pinned scale sends no news of its change, as if another wake-up had hidden it.
#[tokio::test(start_paused = true)]
async fn a_change_of_the_scale_brings_every_delayed_key_also_without_its_news() {
    let (queue, start) = (WorkQueue::new(&Crew::new("t")), clock::Instant::now());
    let delay = Duration::from_secs(300);
    queue.add_after("a", None, delay);
    clock::pause(Duration::from_secs(1)).await; // now the task waits
    let scale = clock::pin_scale(20);
    queue.add_after("b", None, delay);
    assert_eq!([queue.next().await.0, queue.next().await.0], ["b", "a"]);
    assert_eq!(start.elapsed().as_secs(), 1);
    drop(scale);
    queue.add_after("c", None, delay);
    let _scale = clock::pin_scale(20); // before the task has seen the one that held for c
    assert_eq!(queue.next().await.0, "c");
    assert_eq!(start.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_takes_for_ever_holds_up_no_other_and_is_handed_out_once() {
    let queue = WorkQueue::new(&Crew::new("t"));
    let (calls, news) = tokio::sync::mpsc::unbounded_channel();
    let mut news = news;
    queue.work_each("t", move |key: u32, _| {
        let _ = calls.send(key);
        async move {
            if key < 1000 {
                std::future::pending::<()>().await;
            }
            Ok::<_, String>(Outcome::Done)
        }
    });
    for key in 0..100 {
        queue.add(key, None);
    }
    queue.add(7, None); // it is being reconciled for ever: no second worker comes to it
    queue.add(1000, None);
    let mut seen = Vec::new();
    while !seen.contains(&1000) {
        seen.push(clock::timeout(Duration::from_secs(1), news.recv()).await.unwrap().unwrap());
    }
    queue.add(7, None);
    assert_eq!(clock::timeout(Duration::from_secs(60), news.recv()).await, None);
    assert_eq!(seen.iter().filter(|key| **key == 7).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_put_down_again_and_again_is_one_entry_and_comes_within_the_hour() {
    let queue = WorkQueue::new(&Crew::new("t"));
    let (start, year) = (clock::Instant::now(), Duration::from_secs(365 * 86_400));
    for n in 0..1000 {
        queue.add_after("a", None, Duration::from_secs(3000 - n)); // each a little earlier
        queue.add_after("b", None, year);
    }
    {
        let state = queue.lock();
        assert_eq!((state.delayed.len(), state.agenda.len()), (2, 2));
    }
    assert_eq!(queue.next().await.0, "a");
    assert_eq!(start.elapsed().as_secs(), 2001);
    assert_eq!(queue.next().await.0, "b");
    assert_eq!(start.elapsed().as_secs(), LONGEST.as_secs());
    assert!(!queue.lock().timed, "the task has nothing to wait for");
    queue.add_after("c", None, Duration::from_secs(1));
    assert_eq!(queue.next().await.0, "c");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_lasts_is_a_warning_with_its_reason() {
    let seen = crate::testing::Log::default();
    let _guard = seen.listen();
    let queue = WorkQueue::new(&Crew::new("t"));
    queue.work("sorter", 1, |_: u8, _| async { Err::<Outcome, _>("no such shelf") });
    queue.add(1, None);
    clock::sleep(Duration::from_millis(1)).await;
    assert_eq!(seen.warnings(), [""; 0], "once is no news");
    clock::sleep(Duration::from_secs(1)).await;
    let warnings = seen.warnings();
    assert!(warnings.iter().any(|w| w.contains("sorter") && w.contains("no such shelf")), "{warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn failures_wait_longer_and_longer() {
    let queue = WorkQueue::new(&Crew::new("t"));
    let tries = Arc::new(Mutex::new(Vec::new()));
    let (seen, start) = (tries.clone(), clock::Instant::now());
    queue.work("t", 1, move |_: u8, _| {
        seen.lock().push(start.elapsed().as_millis());
        let enough = seen.lock().len() == 4;
        async move { if enough { Ok(Outcome::Done) } else { Err("not yet") } }
    });
    queue.add(1, None);
    clock::sleep(Duration::from_secs(60)).await;
    let tries = tries.lock();
    assert_eq!(tries.len(), 4);
    assert!(tries[1] >= 5 && tries[2] - tries[1] >= 10 && tries[3] - tries[2] >= 20, "{tries:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_failed_for_long_is_tried_within_the_longest_pause() {
    let longest = Duration::from_secs(10);
    let backoff = Backoff { first: Duration::from_millis(5), longest };
    let queue = WorkQueue::retrying(&Crew::new("t"), backoff);
    let mended = Arc::new(Mutex::new(None));
    let (seen, start) = (mended.clone(), clock::Instant::now());
    queue.work("t", 1, move |_: u8, _| {
        let there = start.elapsed() >= Duration::from_secs(3600);
        let done = there.then(|| *seen.lock() = Some(start.elapsed()));
        async move { done.map(|()| Outcome::Done).ok_or("not yet") }
    });
    queue.add(1, None);
    clock::sleep(Duration::from_secs(7200)).await;
    let mended = mended.lock().unwrap();
    assert!(mended <= Duration::from_secs(3600) + longest, "{mended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_panics_waits_longer_and_longer_and_the_others_go_on() {
    let crew = Crew::new("t");
    let queue = WorkQueue::new(&crew);
    let (log, reports) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (seen, start) = (log.clone(), clock::Instant::now());
    let sent = reports.clone();
    queue.on_panic(move |key: &u8, text| sent.lock().push(format!("{key}: {text}")));
    queue.work("t", 1, move |key: u8, _| {
        seen.lock().push((key, start.elapsed().as_secs()));
        async move {
            assert!(key != 1, "boom");
            Ok::<Outcome, String>(Outcome::Done)
        }
    });
    queue.add(1, None);
    queue.add(2, None);
    clock::sleep(Duration::from_secs(60)).await;
    let log = log.lock();
    assert_eq!(log.iter().filter(|(key, _)| *key == 2).count(), 1);
    let panics = log.iter().filter(|(key, _)| *key == 1).count();
    assert!((3..20).contains(&panics), "{log:?}");
    assert_eq!(reports.lock().len(), panics);
    assert_eq!(reports.lock()[0], "1: boom");
    assert_eq!(crew.ended(), None);
}

/// A component that is killed and started again makes a new queue each time, and its caches stay in
/// memory as long as the old one does.
#[tokio::test]
async fn a_queue_whose_workers_have_ended_does_not_keep_its_owner_in_memory() {
    struct Owner {
        queue: WorkQueue<u8>,
    }
    for is_each in [false, true] {
        let crew = Crew::new("t");
        let owner = Arc::new(Owner { queue: WorkQueue::new(&crew) });
        let (ranks, informed, works) = (owner.clone(), owner.clone(), owner.clone());
        owner.queue.rank_by(move |_| Arc::strong_count(&ranks) as i64);
        owner.queue.on_panic(move |key, _| informed.queue.add(*key, None));
        let reconcile = move |_: u8, _: Option<Cause>| {
            let owner = works.clone();
            async move {
                drop(owner);
                Ok::<_, String>(Outcome::Done)
            }
        };
        match is_each {
            true => owner.queue.work_each("t", reconcile),
            false => owner.queue.work("t", 2, reconcile),
        }
        let kept = Arc::downgrade(&owner);
        drop(owner);
        tokio::task::yield_now().await;
        assert!(kept.upgrade().is_some(), "its workers go on");
        crew.kill();
        for _ in 0..10 {
            tokio::task::yield_now().await; // an aborted task is dropped at its next turn
        }
        assert!(kept.upgrade().is_none());
    }
}
