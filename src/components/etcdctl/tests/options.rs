//! What flags and formats change.

use super::*;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// An empty variable of a script must not lead to the store of another cluster.
#[tokio::test]
async fn an_empty_list_of_endpoints_is_not_the_default() {
    let preset = plain("127.0.0.1:1");
    let ended = etcdctl(&preset, &["get", "a", "--endpoints", ""]).await;
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (fail::CONNECTION, "Error: etcdclient: no available endpoints\n")
    );
    let ended = etcdctl(&preset, &["endpoint", "health", "--endpoints=", "-w", "json"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "null\n"), "as Go writes a list of nothing");
}

#[tokio::test]
async fn the_version_needs_no_certificate() {
    let ended =
        etcdctl(&plain("127.0.0.1:1"), &["version", "--cacert", "/no/such", "--key", "/no/such"]).await;
    assert!(ended.code == 0 && ended.stdout.starts_with("etcdctl version: "), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_limit_has_the_time_of_a_call() {
    let store = Store::start(1).await;
    let ended = etcdctl(&store.preset, &["put", "a", "1", "--dial-timeout", "0s"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "OK\n"), "{}", ended.stderr);
}

/// A member that does not answer does not say that there is no such lease.
#[tokio::test]
async fn a_lease_that_no_member_has_renewed_is_not_called_unknown() {
    let words = ["lease", "keep-alive", "--once", "7b", "--dial-timeout", "1s"];
    let ended = etcdctl(&plain(&silent().await), &words).await;
    let told = "Error: context deadline exceeded\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (fail::CONNECTION, told));
}

/// etcdctl asks for these without a limit: the connection ends them, or the server.
#[tokio::test]
async fn some_verbs_do_not_heed_the_time_of_a_command() {
    for words in [
        &["txn"][..],
        &["lease", "list"],
        &["lease", "timetolive", "7b"],
        &["lock", "l"],
        &["elect", "e", "me"],
    ] {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = silent.local_addr().unwrap().to_string();
        let words = [words, &["--command-timeout", "1ms"]].concat();
        let ended = beside(&plain(&endpoint), &words, "\n\n\n", async |_, _| {
            let stream = greet(&silent).await;
            clock::pause(Duration::from_millis(50)).await; // longer than the time of the command
            drop(stream);
        })
        .await;
        assert!(ended.code != 0 && !ended.stderr.contains("deadline exceeded"), "{words:?}: {ended:?}");
    }
}

/// As `GetResponse` of etcd's client, which nothing was counted for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_is_told_no_count() {
    let store = Store::start(1).await;
    beside(&store.preset, &["elect", "e", "me"], "", async |said, leads| {
        assert_eq!(lines(said, 2).await[1], "me");
        let words = ["elect", "-l", "e", "-w", "fields"];
        beside(&store.preset, &words, "", async |said, cancel| {
            let shown = lines(said, 12).await;
            assert_eq!(shown[10..].join(", "), "\"More\" : false, \"Count\" : 0");
            cancel.cancel();
        })
        .await;
        leads.cancel();
    })
    .await;
}

/// Input that counts how often it is read.
struct Counted(std::io::Cursor<Vec<u8>>, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

/// Standard input is read by a thread of the runtime: each time costs two changes of the thread.
#[tokio::test]
async fn a_large_transaction_is_not_read_byte_by_byte() {
    let input = format!("\nput k {}\n\n\n", "v".repeat(100_000)).into_bytes();
    let reads = Arc::new(AtomicUsize::new(0));
    let io = Io {
        stdin: Box::new(Counted(std::io::Cursor::new(input), reads.clone())),
        is_typed: false,
        stdout: Box::new(tokio::io::sink()),
        stderr: Box::new(tokio::io::sink()),
        cancel: CancellationToken::new(),
    };
    let args = ["etcdctl", "txn"].map(String::from).to_vec();
    assert_eq!(run(args, io, plain("127.0.0.1:1")).await, fail::FAILED, "it was read, and has no store");
    assert!(reads.load(Ordering::Relaxed) < 50, "{reads:?}");
}

/// As of every other answer: in a shell, SIGPIPE ends etcdctl.
#[tokio::test]
async fn help_whose_reader_has_ended_ends_as_by_sigpipe() {
    for words in [&["--help"][..], &["get", "--help"], &[]] {
        let (stdout, reader) = tokio::io::duplex(1);
        drop(reader);
        let io = Io {
            stdin: Box::new(tokio::io::empty()),
            is_typed: false,
            stdout: Box::new(stdout),
            stderr: Box::new(tokio::io::sink()),
            cancel: CancellationToken::new(),
        };
        let args = std::iter::once(&"etcdctl").chain(words).map(|word| word.to_string()).collect();
        assert_eq!(run(args, io, Preset::default()).await, fail::READER_LEFT, "{words:?}");
    }
}
