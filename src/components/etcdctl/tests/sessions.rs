//! Locks, elections, and the leases that keep them; connections that are lost.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_let_go_of_when_it_is_interrupted() {
    let store = Store::start(1).await;
    // The time of a command is over before any of them could be answered.
    for words in [&["lock", "l", "--command-timeout=1ns"][..], &["elect", "l", "me", "--command-timeout=1ns"]]
    {
        let ended = beside(&store.preset, words, "", async |said, cancel| {
            assert_eq!(lines(said, 2).await.len(), 2);
            cancel.cancel();
        })
        .await;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
        assert_eq!(etcdctl(&store.preset, &["get", "l", "--prefix"]).await.stdout, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_in_the_queue_is_a_failure() {
    let store = Store::start(1).await;
    beside(&store.preset, &["lock", "l"], "", async |said, held| {
        assert_eq!(lines(said, 2).await.len(), 2);
        let second = beside(&store.preset, &["lock", "l"], "", async |_, second| {
            let all = ["watch", "l/", "--prefix", "--rev", "1"];
            beside(&store.preset, &all, "", async |said, watch| {
                assert_eq!(lines(said, 6).await.len(), 6, "two places in the queue");
                watch.cancel();
            })
            .await;
            second.cancel();
        })
        .await;
        assert_eq!((second.code, second.stderr.as_str()), (1, "Error: context canceled\n"));
        held.cancel();
    })
    .await;
}

/// In the words of etcd's client library, which etcdctl waits with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_in_the_queue_that_is_deleted_ends_the_wait() {
    let store = Store::start(1).await;
    beside(&store.preset, &["lock", "l"], "", async |said, held| {
        assert_eq!(lines(said, 2).await.len(), 2);
        let second = beside(&store.preset, &["lock", "l"], "", async |_, _| {
            let all = ["watch", "l/", "--prefix", "--rev", "1"];
            beside(&store.preset, &all, "", async |said, watch| {
                let places = lines(said, 6).await; // PUT, key and value of each
                assert_eq!(etcdctl(&store.preset, &["del", &places[4]]).await.stdout, "1\n");
                watch.cancel();
            })
            .await;
            held.cancel();
        })
        .await;
        assert_eq!((second.code, second.stderr.as_str()), (1, "Error: mutex: session is expired\n"));
    })
    .await;
}

/// A real etcd says nothing, not even that the stream is open, before there is a leader.
#[tokio::test]
async fn an_observer_can_be_interrupted_before_there_is_a_leader() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = silent.local_addr().unwrap().to_string();
    let mut open = None; // until the command has ended: a lost connection would end it, too
    let ended = beside(&plain(&endpoint), &["elect", "-l", "e"], "", async |_, cancel| {
        let stream = open.insert(greet(&silent).await);
        stream.read_exact(&mut [0; 24]).await.unwrap(); // HTTP/2 begins with so many
        cancel.cancel();
    })
    .await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    drop(open);
}

/// As etcdctl: the member may be restarted before there is a leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_outlives_the_member_at_which_it_waits_for_a_leader() {
    let store = Store::start(1).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut preset = store.preset.clone();
    preset.endpoints.insert(0, format!("http://{}", silent.local_addr().unwrap()));
    let ended = beside(&preset, &["elect", "-l", "e"], "", async |said, cancel| {
        let stream = greet(&silent).await;
        clock::pause(2 * cmd::lock::AT_ONCE).await;
        drop(stream);
        tokio::select! {
            ended = etcdctl(&store.preset, &["elect", "e", "me"]) => panic!("{ended:?}"),
            shown = lines(said, 2) => assert_eq!(shown[1], "me"),
        }
        cancel.cancel();
    })
    .await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}

/// As another program than an etcd may answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_may_last_longer_than_any_calendar() {
    let store = Store::start(1).await;
    let given = given::read("get", &[], &[]).unwrap();
    let target = wire::Target::of(&given, store.preset.clone()).unwrap();
    let etcd = wire::Etcd::connect(&target, PATIENCE).await.unwrap();
    drop(etcd.keep_alive(1, Duration::MAX));
}

/// Breaks each connection once both sides have begun HTTP/2, and counts them.
async fn breaking(broken: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let mut stream = greet(&listener).await;
            if stream.read_exact(&mut [0; 24]).await.is_ok() {
                broken.fetch_add(1, Ordering::Relaxed);
                clock::pause(Duration::from_millis(50)).await; // until the client has heard it
            }
        }
    });
    endpoint
}

/// The kernel takes connections for a program that is stopped, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_stopped_is_passed_over() {
    let store = Store::start(1).await;
    let stopped = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut preset = store.preset.clone();
    preset.endpoints.insert(0, format!("http://{}", stopped.local_addr().unwrap()));
    let ended = etcdctl(&preset, &["put", "a", "1", "--dial-timeout", "1s"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "OK\n"), "{}", ended.stderr);
}

/// Reads what a client sends until it has asked something (RFC 9113, 3.4, 4.1 and 6.2): the words
/// that HTTP/2 begins with, and its frames up to the first HEADERS.
async fn asked(stream: &mut TcpStream) {
    stream.read_exact(&mut [0; 24]).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
        if head[3] == 1 {
            return;
        }
    }
}

/// As etcdctl, after 16 s.
#[tokio::test]
async fn a_member_that_falls_silent_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let (start, mut held) = (clock::Instant::now(), None);
    let ended = beside(&plain(&endpoint), &["lease", "list"], "", async |_, _| {
        let stream = held.insert(greet(&listener).await);
        asked(stream).await;
        tokio::time::pause(); // earlier, the clock would run ahead of the connection
    })
    .await;
    let lost = ended.code == fail::CONNECTION && ended.stderr.contains("the connection is lost");
    assert!(lost, "{ended:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    drop(held);
}

/// As etcd's client (`retry.go`): a write may have been carried out, so it is not sent again.
#[tokio::test]
async fn what_may_be_done_twice_is_asked_of_the_next_member() {
    for (words, want) in [
        (&["get", "a"][..], [1, 1]),
        (&["lease", "grant", "60"], [1, 1]),
        (&["member", "list"], [1, 1]),
        (&["alarm", "list"], [1, 1]),
        (&["lease", "list"], [1, 1]),
        (&["lock", "l"], [1, 1]),
        (&["put", "a", "1"], [1, 0]),
        (&["del", "a"], [1, 0]),
    ] {
        let broken = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let mut preset = Preset::default();
        for broken in &broken {
            preset.endpoints.push(breaking(broken.clone()).await);
        }
        let ended = etcdctl(&preset, words).await;
        assert!(ended.code != 0 && ended.stderr.contains("the connection is lost"), "{words:?}: {ended:?}");
        assert_eq!(broken.map(|broken| broken.load(Ordering::Relaxed)), want, "{words:?}");
    }
}
