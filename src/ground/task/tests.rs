use super::*;

#[tokio::test]
async fn a_panic_of_the_main_task_is_the_end() {
    let crew = Crew::new("t");
    crew.spawn_main(async {
        assert!(std::hint::black_box(false), "boom");
        Ok::<(), String>(())
    });
    assert_eq!(crew.wait().await, End::Panicked("boom".into()));
}

/// Kills a crew whose main task waits for the request to stop; returns whether its graceful
/// path began.
async fn is_graceful_when_killed() -> bool {
    let crew = Crew::new("t");
    let token = crew.token();
    let (waits, is_waiting) = tokio::sync::oneshot::channel();
    let (graceful, began) = tokio::sync::oneshot::channel();
    crew.spawn_main(async move {
        let mut asked = std::pin::pin!(token.cancelled());
        let mut waits = Some(waits);
        std::future::poll_fn(|context| {
            let poll = asked.as_mut().poll(context);
            if let Some(waits) = waits.take() {
                let _ = waits.send(());
            }
            poll
        })
        .await;
        let _ = graceful.send(());
        Ok::<(), String>(())
    });
    is_waiting.await.unwrap();
    crew.kill();
    assert_eq!(crew.wait().await, End::Killed);
    began.await.is_ok() // an error once the task is dropped
}

/// Kills a crew whose only task, the main one or a helper, is in the middle of a poll. Returns
/// whether the rest of that poll finds the token cancelled.
async fn is_told_when_killed_in_a_poll(is_main: bool) -> bool {
    let crew = Crew::new("t");
    let token = crew.token();
    let (runs, is_running) = tokio::sync::oneshot::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let task = async move {
        let _ = runs.send(());
        let _ = wait.recv(); // in the middle of a poll
        let _ = tell.send(token.is_cancelled());
        Ok::<(), String>(())
    };
    match is_main {
        true => crew.spawn_main(task),
        false => crew.spawn(task.map(drop)),
    }
    is_running.await.unwrap();
    crew.kill();
    assert_eq!(crew.ended(), Some(End::Killed));
    drop(go);
    let told = told.recv().unwrap();
    crew.token().cancelled().await; // once the task is gone
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_skips_the_graceful_path_of_a_task_that_is_running() {
    assert!(!is_told_when_killed_in_a_poll(true).await);
}

/// The API server's crew has no main task, and a helper of it gives back its lease when it stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_skips_the_graceful_path_of_a_helper_that_is_running() {
    assert!(!is_told_when_killed_in_a_poll(false).await);
}

/// The first of many waiters runs on another thread while a cancelled token wakes the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_skips_the_graceful_path_of_helpers_that_wait() {
    for round in 0..50 {
        let (crew, graceful) = (Crew::new("t"), Arc::new(AtomicUsize::new(0)));
        let ready = Arc::new(tokio::sync::Barrier::new(101));
        for _ in 0..100 {
            let (token, ready, graceful) = (crew.token(), ready.clone(), graceful.clone());
            crew.spawn(async move {
                ready.wait().await;
                token.cancelled().await;
                graceful.fetch_add(1, Ordering::SeqCst);
            });
        }
        ready.wait().await;
        crew.kill();
        crew.token().cancelled().await;
        assert_eq!(graceful.load(Ordering::SeqCst), 0, "round {round}");
    }
}

/// A kill aborts the main task first, and the task that waits for it may run before the helpers are
/// aborted.
#[tokio::test]
async fn a_main_task_that_was_killed_tells_no_helper_to_stop() {
    let crew = Crew::new("t");
    crew.spawn(std::future::pending());
    crew.spawn_main(std::future::pending::<Result<(), String>>());
    tokio::task::yield_now().await;
    crew.record(&End::Killed);
    crew.abort_main(); // so far a kill has come
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!crew.token().is_cancelled(), "a helper is left");
    crew.kill();
    crew.token().cancelled().await;
}

/// A fault kills a component, and its kubelet, which has not heard of that yet, stops it.
#[tokio::test]
async fn a_stop_after_a_kill_tells_no_task_to_stop() {
    let crew = Crew::new("t");
    crew.spawn(std::future::pending());
    tokio::task::yield_now().await;
    crew.kill(); // the helper is dropped when the runtime comes to it
    assert!(crew.stop().now_or_never().is_some(), "it has ended");
    assert!(!crew.token().is_cancelled(), "a helper is left");
    crew.token().cancelled().await;
}

#[tokio::test]
async fn a_kill_skips_the_graceful_path() {
    assert!(!is_graceful_when_killed().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_skips_the_graceful_path_on_other_threads() {
    for round in 0..200 {
        assert!(!is_graceful_when_killed().await, "round {round}");
    }
}

/// A task that hears of the stop may end at once, and well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_that_stops_the_main_task_is_the_end() {
    for round in 0..300 {
        let crew = Crew::new("t");
        let ready = Arc::new(tokio::sync::Barrier::new(2));
        let (token, main) = (crew.token(), ready.clone());
        crew.spawn_main(async move {
            main.wait().await;
            token.cancelled().await;
            Ok::<(), String>(())
        });
        // Many wait for the token: to wake them takes time.
        for _ in 0..100 {
            let token = crew.token();
            crew.spawn(async move { token.cancelled().await });
        }
        crew.spawn_essential(async move {
            ready.wait().await;
            tokio::task::yield_now().await;
            assert!(std::hint::black_box(false), "boom");
        });
        assert_eq!(crew.wait().await, End::Panicked("boom".into()), "round {round}");
    }
}

#[tokio::test]
async fn a_panic_of_an_essential_task_is_the_end_and_that_of_a_helper_is_not() {
    let crew = Crew::new("t");
    crew.spawn_main(std::future::pending::<Result<(), String>>());
    crew.spawn(async { assert!(std::hint::black_box(false), "small") });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(crew.ended(), None);
    crew.spawn_essential(async { assert!(std::hint::black_box(false), "boom") });
    assert_eq!(crew.wait().await, End::Panicked("boom".into()));
}

#[tokio::test(start_paused = true)]
async fn a_crew_that_is_kept_is_started_again_and_ends_with_its_owner() {
    let (owner, starts, alive) = (Crew::new("t"), Arc::new(Mutex::new(0)), Arc::new(()));
    let (counted, held) = (starts.clone(), alive.clone());
    owner.keep("kept", move |crew| {
        let mut starts = counted.lock();
        *starts += 1;
        let (is_first, held) = (*starts == 1, held.clone());
        crew.spawn_essential(async move {
            let _held = held;
            assert!(!is_first, "boom");
            std::future::pending::<()>().await;
        });
    });
    tokio::time::sleep(START_AGAIN * 3).await;
    assert_eq!(*starts.lock(), 2, "it stays when nothing panics");
    assert_eq!(owner.ended(), None);
    owner.kill();
    while Arc::strong_count(&alive) > 1 {
        tokio::task::yield_now().await; // an aborted task is dropped at its next turn
    }
}

/// The task that waits for the stop may be busy with something else.
#[tokio::test]
async fn a_kill_during_a_stop_aborts_the_helpers_at_once() {
    let (crew, alive) = (Crew::new("t"), Arc::new(()));
    let held = alive.clone();
    crew.spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    let mut stop = std::pin::pin!(crew.stop());
    assert!(futures::poll!(stop.as_mut()).is_pending(), "the helper heeds no request");
    crew.spawn(async { assert!(std::hint::black_box(false), "a crew that stops takes no more tasks") });
    crew.kill();
    for _ in 0..100 {
        tokio::task::yield_now().await; // an aborted task is dropped at its next turn
    }
    assert_eq!((Arc::strong_count(&alive), crew.ended()), (1, Some(End::Killed)));
    stop.await;
}

/// What cannot start does not fill the log, and does not hold up the end of its owner.
#[tokio::test(start_paused = true)]
async fn a_kept_crew_that_ends_at_once_is_started_less_and_less_often() {
    let (owner, starts) = (Crew::new("t"), Arc::new(Mutex::new(0)));
    let counted = starts.clone();
    owner.keep("kept", move |_| {
        *counted.lock() += 1;
        assert!(std::hint::black_box(false), "boom");
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    // At 0, 1, 3, 7, 15 and 31 s; the next pause has the longest time.
    assert_eq!(*starts.lock(), 6);
    let begun = clock::Instant::now();
    owner.stop().await;
    assert!(begun.elapsed() < START_AGAIN, "the pause ends, too");
    let long = restart_pause(START_AGAIN_MAX, START_AGAIN_MAX);
    assert_eq!(long, START_AGAIN, "one that has run for a while is started again soon");
}

/// The levels of what is logged.
#[derive(Clone, Default)]
struct Levels(Arc<Mutex<Vec<tracing::Level>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Levels {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        self.0.lock().push(*event.metadata().level());
    }
}

#[tokio::test]
async fn a_panic_of_an_essential_task_is_logged_as_an_error() {
    use tracing_subscriber::layer::SubscriberExt;
    let levels = Levels::default();
    // With a single subscriber, tracing asks the thread that meets a place in the code first,
    // which may be another test's.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(levels.clone()));
    let crew = Crew::new("t");
    crew.spawn_essential(async { assert!(std::hint::black_box(false), "boom") });
    crew.wait().await;
    assert!(levels.0.lock().contains(&tracing::Level::ERROR));
}

/// A subscriber that panics at every event, as one may that cannot write.
struct Panics;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Panics {
    fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        assert!(std::hint::black_box(false), "cannot write");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crew_that_is_kept_is_started_again_whatever_panics() {
    use tracing_subscriber::layer::SubscriberExt;
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(Panics));
    let (owner, starts) = (Crew::new("t"), Arc::new(Mutex::new(0)));
    let counted = starts.clone();
    owner.keep("kept", move |crew| {
        let round = {
            let mut starts = counted.lock();
            *starts += 1;
            *starts
        };
        assert!(round != 1, "boom");
        crew.spawn_essential(async move {
            assert!(round != 2, "boom");
            std::future::pending::<()>().await;
        });
    });
    tokio::time::sleep(START_AGAIN * 5).await;
    assert_eq!(*starts.lock(), 3);
    owner.kill();
    drop(subscriber);
}

#[tokio::test]
async fn a_panic_of_an_essential_task_is_the_end_also_if_it_cannot_be_logged() {
    use tracing_subscriber::layer::SubscriberExt;
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(Panics));
    let crew = Crew::new("t");
    crew.spawn_essential(async { assert!(std::hint::black_box(false), "boom") });
    assert_eq!(crew.wait().await, End::Panicked("boom".into()));
}

/// The caller of the kill, such as the kubelet, has its own work to go on with.
#[tokio::test]
async fn a_kill_that_cannot_be_logged_is_a_kill() {
    use tracing_subscriber::layer::SubscriberExt;
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(Panics));
    let crew = Crew::new("t");
    crew.kill();
    assert_eq!(crew.ended(), Some(End::Killed));
}

#[tokio::test]
async fn a_kill_before_the_first_poll_leaves_no_main_task_behind() {
    let ran = Arc::new(Mutex::new(0));
    for killed_before in [true, false] {
        let (crew, seen) = (Crew::new("t"), ran.clone());
        if killed_before {
            crew.kill();
        }
        crew.spawn_main(async move {
            tokio::task::yield_now().await;
            *seen.lock() += 1;
            Ok::<(), String>(())
        });
        crew.kill();
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*ran.lock(), 0);
}

#[tokio::test(start_paused = true)]
async fn helpers_end_with_the_main_task_and_with_a_kill() {
    let patience = std::time::Duration::from_secs(60);
    for killed in [false, true] {
        let crew = Crew::new("t");
        let (token, alive) = (crew.token(), Arc::new(()));
        let held = alive.clone();
        crew.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        crew.spawn_main(async move {
            match killed {
                true => std::future::pending().await,
                false => token.cancelled().await,
            }
            Ok::<(), String>(())
        });
        let stopped = async {
            let (stop, kill) = (crew.stop(), async {
                if killed {
                    crew.kill()
                }
            });
            tokio::join!(stop, kill);
        };
        tokio::time::timeout(patience, stopped).await.expect("it waits for a helper that never ends");
        assert_eq!(crew.ended(), Some(if killed { End::Killed } else { End::Stopped }));
        while Arc::strong_count(&alive) > 1 {
            tokio::task::yield_now().await; // an aborted task is dropped at its next turn
        }
    }
}

#[tokio::test]
async fn helpers_end_with_the_last_handle_to_their_crew() {
    let (crew, alive) = (Crew::new("t"), Arc::new(()));
    let held = alive.clone();
    crew.spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    drop(crew.clone());
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&alive), 2, "a handle is left");
    drop(crew);
    for _ in 0..10 {
        tokio::task::yield_now().await; // an aborted task is dropped at its next turn
    }
    assert_eq!(Arc::strong_count(&alive), 1);
}

/// A pod that is deleted twice, the second time with a shorter grace period.
#[tokio::test]
async fn a_second_stop_waits_for_the_end_of_the_first() {
    let crew = Crew::new("t");
    let (token, graceful) = (crew.token(), Arc::new(Mutex::new(false)));
    let seen = graceful.clone();
    crew.spawn_main(async move {
        token.cancelled().await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        *seen.lock() = true;
        Ok::<(), String>(())
    });
    tokio::task::yield_now().await;
    let second = async {
        crew.stop().await;
        assert!(*graceful.lock(), "it returned before the crew had ended");
    };
    tokio::join!(crew.stop(), second);
    assert_eq!(crew.ended(), Some(End::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_is_given_up_kills() {
    let crew = Crew::new("t");
    let alive = Arc::new(());
    let held = alive.clone();
    crew.spawn_main(async move {
        let _held = held;
        std::future::pending::<Result<(), String>>().await
    });
    let patience = std::time::Duration::from_secs(5);
    assert!(tokio::time::timeout(patience, crew.stop()).await.is_err());
    assert_eq!(tokio::time::timeout(patience, crew.wait()).await, Ok(End::Killed));
    while Arc::strong_count(&alive) > 1 {
        tokio::task::yield_now().await; // an aborted task is dropped at its next turn
    }
}

/// The container of a store that cannot write its last entries exits with 1, and its message
/// says why.
#[tokio::test]
async fn a_main_task_that_fails_while_it_stops_has_failed() {
    let crew = Crew::new("t");
    let token = crew.token();
    crew.spawn_main(async move {
        token.cancelled().await;
        Err::<(), _>("the disk is full")
    });
    crew.stop().await;
    assert_eq!(crew.ended(), Some(End::Done(Err("the disk is full".into()))));
}

#[tokio::test]
async fn a_stop_waits_for_every_helper() {
    let crew = Crew::new("t");
    let (token, done) = (crew.token(), Arc::new(Mutex::new(0)));
    for _ in 0..3 {
        let (token, done) = (token.clone(), done.clone());
        crew.spawn(async move {
            token.cancelled().await;
            *done.lock() += 1;
        });
    }
    crew.stop().await;
    assert_eq!(*done.lock(), 3);
    assert_eq!(crew.ended(), Some(End::Stopped));
}
