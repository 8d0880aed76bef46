//! Whole command lines on a store of this process.

use super::*;
use etcd::{Config, Server, grpc, member_id, pb};
use pki::{Ca, Subject, mutual_server_config};
use rng::Rng;
use std::path::Path;
use std::time::Duration;
use tap::Tap;
use task::Crew;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, DuplexStream};
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream};

mod options;
mod sessions;
mod signals;

const PATIENCE: Duration = Duration::from_secs(60);

/// One store with several endpoints, as the members of a cluster have.
struct Store {
    server: Server,
    /// Each ends one endpoint with its connections.
    faces: Vec<Crew>,
    preset: Preset,
    dir: TempDir,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.faces.iter().for_each(Crew::kill);
        self.server.kill();
    }
}

impl Store {
    async fn start(endpoints: usize) -> Store {
        Store::listing(endpoints, &[]).await
    }

    /// A store that lists these members beside its own. They never run.
    async fn listing(endpoints: usize, others: &[&str]) -> Store {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| Some(dir.path().join(name));
        let ca = Ca::load_or_create(dir.path(), "etcd-ca").unwrap();
        let member = ca.issue(&Subject::server("one", &["127.0.0.1"])).unwrap();
        let client = ca.issue(&Subject::client("client", "")).unwrap();
        std::fs::write(dir.path().join("client.crt"), &client.cert_pem).unwrap();
        std::fs::write(dir.path().join("client.key"), &client.key_pem).unwrap();
        let mut preset = Preset {
            cacert: file("ca.crt"),
            cert: file("client.crt"),
            key: file("client.key"),
            endpoints: vec![],
        };
        let config = Config::new("one", dir.path().join("data"), Tap::new(), Rng::seeded(1));
        let server = Server::start(config).await.unwrap();
        let member_of =
            |name: &&str| pb::Member { id: member_id(name), name: name.to_string(), ..Default::default() };
        let members: Vec<pb::Member> = ["one"].iter().chain(others).map(member_of).collect();
        let mut faces = Vec::new();
        for _ in 0..endpoints {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            preset.endpoints.push(format!("https://{}", listener.local_addr().unwrap()));
            let crew = Crew::new("etcd");
            let members = tokio::sync::watch::channel(members.clone()).1;
            let face = grpc::Face::new(&server, "test", members, &crew);
            crew.spawn(grpc::serve(face, listener, mutual_server_config(&member, ca.pem()).unwrap()));
            faces.push(crew);
        }
        Store { server, faces, preset, dir }
    }

    /// The way to it by one endpoint.
    fn by(&self, endpoint: usize) -> Preset {
        Preset { endpoints: vec![self.preset.endpoints[endpoint].clone()], ..self.preset.clone() }
    }
}

/// A way to an endpoint without TLS.
fn plain(endpoint: &str) -> Preset {
    Preset { endpoints: vec![endpoint.into()], ..Preset::default() }
}

/// Takes a connection and sends on it what a server of HTTP/2 sends first: its settings. It has
/// none.
async fn greet(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    stream
}

/// Returns the address of a server that takes connections, and does not answer on them.
async fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(greet(&listener).await);
        }
    });
    endpoint
}

/// What a command line came to.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs a command line, and beside it a script that reads what it says and interrupts it.
async fn beside(
    preset: &Preset,
    words: &[&str],
    input: &str,
    script: impl AsyncFnOnce(&mut BufReader<DuplexStream>, &CancellationToken),
) -> Ended {
    let (stdout, said) = tokio::io::duplex(1 << 20);
    let (stderr, mut wrong) = tokio::io::duplex(1 << 20);
    let (mut said, cancel) = (BufReader::new(said), CancellationToken::new());
    let io = Io {
        stdin: Box::new(std::io::Cursor::new(input.as_bytes().to_vec())),
        is_typed: false,
        stdout: Box::new(stdout),
        stderr: Box::new(stderr),
        cancel: cancel.clone(),
    };
    let args = std::iter::once(&"etcdctl").chain(words).map(|word| word.to_string()).collect();
    let both = async { tokio::join!(run(args, io, preset.clone()), script(&mut said, &cancel)) };
    let (code, ()) = tokio::time::timeout(PATIENCE, Box::pin(both)).await.expect("it has ended");
    let mut ended = Ended { code, stdout: String::new(), stderr: String::new() };
    said.read_to_string(&mut ended.stdout).await.unwrap();
    wrong.read_to_string(&mut ended.stderr).await.unwrap();
    ended
}

async fn etcdctl(preset: &Preset, words: &[&str]) -> Ended {
    beside(preset, words, "", async |_, _| ()).await
}

/// The next lines of an output; fewer if it ends before.
async fn lines(said: &mut BufReader<DuplexStream>, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut said = said.lines();
    while found.len() < count
        && let Some(line) = said.next_line().await.unwrap()
    {
        found.push(line);
    }
    found
}

#[tokio::test]
async fn input_that_ends_too_early_commits_nothing() {
    for input in ["", "\ndel a", "\ndel a\n", "\ndel a\n\n", "value(\"a\") = \"1\"\n\nput b 1\n", "zzz"] {
        let ended = beside(&plain("127.0.0.1:1"), &["txn"], input, async |_, _| ()).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (3, "Error: EOF\n"), "{input:?}");
    }
    let ended = beside(&plain("127.0.0.1:1"), &["txn"], "zzz\n", async |_, _| ()).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (3, "Error: malformed comparison: zzz\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_when_its_command_fails() {
    let store = Store::start(1).await;
    etcdctl(&store.preset, &["put", "a", "1"]).await;
    let ended = etcdctl(&store.preset, &["watch", "a", "--rev", "1", "--", "false"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (1, "command [\"false\"] error (exit status 1)\n"));
    let ended = etcdctl(&store.preset, &["watch", "a", "--rev", "1", "--", "/no/such"]).await;
    let told = "command [\"/no/such\"] error (fork/exec /no/such: no such file or directory)\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (1, told));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_watch_is_told_and_shown() {
    let store = Store::start(1).await;
    for value in ["1", "2", "3"] {
        etcdctl(&store.preset, &["put", "a", value]).await;
    }
    assert_eq!(etcdctl(&store.preset, &["compaction", "3"]).await.code, 0);
    let ended = etcdctl(&store.preset, &["watch", "a", "--rev", "1", "-w", "json"]).await;
    let told = "watch was canceled (etcdserver: mvcc: required revision has been compacted)\n\
                Error: watch is canceled by the server\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (5, told));
    assert!(ended.stdout.contains("\"Canceled\":true"), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_at_another_endpoint_and_misses_nothing() {
    let store = Store::start(2).await;
    etcdctl(&store.preset, &["put", "w", "1"]).await;
    let ended = beside(&store.preset, &["watch", "w", "--rev", "1"], "", async |said, cancel| {
        assert_eq!(lines(said, 3).await, ["PUT", "w", "1"]);
        store.faces[0].kill();
        etcdctl(&store.by(1), &["put", "w", "2"]).await;
        etcdctl(&store.by(1), &["put", "w", "3"]).await;
        assert_eq!(lines(said, 6).await, ["PUT", "w", "2", "PUT", "w", "3"]);
        cancel.cancel();
    })
    .await;
    assert_eq!((ended.code, ended.stdout.as_str()), (INTERRUPTED, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_renewed_at_another_endpoint() {
    let store = Store::start(2).await;
    let granted = etcdctl(&store.preset, &["lease", "grant", "6"]).await.stdout;
    let lease = granted.split(' ').nth(1).unwrap();
    let ended = beside(&store.preset, &["lease", "keep-alive", lease], "", async |said, cancel| {
        let renewed = format!("lease {lease} keepalived with TTL(6)");
        assert_eq!(lines(said, 1).await, [renewed.as_str()]);
        store.faces[0].kill();
        assert_eq!(lines(said, 1).await, [renewed.as_str()]);
        cancel.cancel();
    })
    .await;
    assert_eq!(ended.code, INTERRUPTED);
}

/// Reads what a command says beside its answer up to the end of a line, then interrupts it.
async fn interrupted_after_a_line(preset: &Preset, words: &[&str], input: &str) -> (String, i32) {
    let (stderr, wrong) = tokio::io::duplex(1 << 20);
    let cancel = CancellationToken::new();
    let io = Io {
        stdin: Box::new(std::io::Cursor::new(input.as_bytes().to_vec())),
        is_typed: true,
        stdout: Box::new(tokio::io::sink()),
        stderr: Box::new(stderr),
        cancel: cancel.clone(),
    };
    let args = std::iter::once(&"etcdctl").chain(words).map(|word| word.to_string()).collect();
    let script = async {
        let line = lines(&mut BufReader::new(wrong), 1).await.concat();
        cancel.cancel();
        line
    };
    let (code, line) = tokio::join!(run(args, io, preset.clone()), script);
    (line, code)
}

/// The clock of this test only goes on when nothing else can: the interrupt comes in the pause.
#[tokio::test(start_paused = true)]
async fn a_range_is_deleted_after_a_pause_in_which_it_can_be_interrupted() {
    let nowhere = plain("127.0.0.1:1");
    for (words, input) in [(&["del", "a", "b"][..], ""), (&["txn"], "\ndel a b\n\n\n")] {
        let (line, code) = interrupted_after_a_line(&nowhere, words, input).await;
        assert!(line.starts_with("Warning: Keys between \"a\" and \"b\" will be deleted."), "{line}");
        assert_eq!(code, INTERRUPTED, "{words:?}");
    }
    let ended = etcdctl(&nowhere, &["del", "a", "b", "--range"]).await;
    assert!(ended.stderr.starts_with("Error: ") && ended.code != INTERRUPTED, "{ended:?}");
}

/// Without a word, `hint` and every other line would become part of the value.
#[tokio::test(start_paused = true)]
async fn at_a_terminal_put_says_that_it_reads_the_value() {
    let nowhere = plain("127.0.0.1:1");
    let (line, _) = interrupted_after_a_line(&nowhere, &["put", "foo"], "bar").await;
    assert!(line.starts_with("reading the value from the terminal; Ctrl-D ends it"), "{line}");
}

/// Two named pipes for a command: what it writes to `began`, and what it reads from `go`.
fn pipes(dir: &Path) -> (pipe::Receiver, pipe::Sender) {
    let [began, go] = ["began", "go"].map(|name| {
        let path = dir.join(name);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    });
    let open = || {
        let mut options = pipe::OpenOptions::new();
        options.read_write(true);
        options
    };
    (open().open_receiver(began).unwrap(), open().open_sender(go).unwrap())
}

/// Says that it began, is told to go on, and says that it ended by itself.
const UNHURRIED: &str = r#"echo 1 >"$0/began"; read line <"$0/go"; echo 2 >"$0/began""#;

/// A terminal sends the interrupt to the command as well, which ends as it likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_of_a_watch_does_not_kill_its_command() {
    let store = Store::start(1).await;
    let dir = store.dir.path();
    let (mut began, go) = pipes(dir);
    etcdctl(&store.preset, &["put", "a", "1"]).await;
    let command = ["sh", "-c", UNHURRIED, dir.to_str().unwrap()];
    let words = [&["watch", "a", "--rev", "1", "--"][..], &command].concat();
    let mut said = [0; 2];
    let ended = beside(&store.preset, &words, "", async |_, cancel| {
        began.read_exact(&mut said).await.unwrap();
        cancel.cancel();
    })
    .await;
    assert_eq!((ended.code, &said), (INTERRUPTED, b"1\n"));
    go.writable().await.unwrap();
    assert_eq!(go.try_write(b"go\n").unwrap(), 3);
    let last = tokio::time::timeout(PATIENCE, began.read_exact(&mut said)).await;
    last.expect("it goes on").unwrap();
    assert_eq!(&said, b"2\n");
}

/// Writes that it began, and ends with the code that it reads.
const PATIENT: &str = r#"echo "$ETCD_LOCK_KEY" >"$0/began"; read code <"$0/go"; exit "$code""#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_locked_command_is_waited_for() {
    // An interrupt; a lost connection.
    for lost in [false, true] {
        let store = Store::start(2).await;
        let dir = store.dir.path();
        let (mut began, go) = pipes(dir);
        let words = ["lock", "l", "--", "sh", "-c", PATIENT, dir.to_str().unwrap()];
        let ended = beside(&store.preset, &words, "", async |_, cancel| {
            let mut key = [0; 2];
            began.read_exact(&mut key).await.unwrap();
            assert_eq!(&key, b"l/");
            match lost {
                true => store.faces[0].kill(),
                false => cancel.cancel(),
            }
            go.writable().await.unwrap();
            assert_eq!(go.try_write(b"7\n").unwrap(), 2);
        })
        .await;
        assert_eq!(ended.code, 7, "{ended:?}");
        let left = etcdctl(&store.by(1), &["get", "l", "--prefix"]).await;
        assert_eq!((left.code, left.stdout.as_str()), (0, ""), "the lock is free");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_leases_have_the_code_of_a_bad_connection() {
    let store = Store::start(1).await;
    let ended = etcdctl(&store.preset, &["lease", "keep-alive", "--once", "1234"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (2, "Error: etcdserver: requested lease not found\n"));
    let nowhere = plain("127.0.0.1:1");
    for words in [&["lease", "timetolive", "1234"][..], &["lease", "list"], &["lease", "keep-alive", "1234"]]
    {
        assert_eq!(etcdctl(&nowhere, words).await.code, 2, "{words:?}");
    }
}

#[tokio::test]
async fn every_member_that_is_not_defragmented_is_named() {
    let preset = Preset { endpoints: vec!["127.0.0.1:1".into(), "127.0.0.1:2".into()], ..Preset::default() };
    let ended = etcdctl(&preset, &["defrag"]).await;
    let named: Vec<&str> = ended.stderr.lines().filter_map(|line| line.split(['[', ']']).nth(1)).collect();
    assert_eq!((ended.code, named), (1, vec!["127.0.0.1:1", "127.0.0.1:2"]), "{}", ended.stderr);
    assert!(
        ended.stderr.starts_with("Failed to defragment etcd member[127.0.0.1:1]. took "),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_member_that_does_not_answer_is_told_once() {
    let preset = Preset { endpoints: vec!["127.0.0.1:1".into(), "127.0.0.1:2".into()], ..Preset::default() };
    let ended = etcdctl(&preset, &["endpoint", "status", "-w", "json"]).await;
    let told = |line: &str| line.starts_with("Failed to get the status of endpoint 127.0.0.1:");
    let lines: Vec<bool> = ended.stderr.lines().map(told).collect();
    assert_eq!((ended.code, lines), (1, vec![true, true]), "{}", ended.stderr);
    assert_eq!(ended.stdout, "null\n", "as Go writes a list of nothing");
    assert!(ended.stderr.contains("127.0.0.1:1 cannot be reached: Connection refused)"), "{}", ended.stderr);
    let ended = etcdctl(&preset, &["endpoint", "health", "--cluster"]).await;
    let told = "Error: failed to fetch endpoints from etcd cluster member list: ";
    assert!(ended.code == 1 && ended.stderr.starts_with(told), "{}", ended.stderr);
}

#[tokio::test(start_paused = true)]
async fn silent_endpoints_are_asked_for_their_health_at_the_same_time() {
    let endpoints = vec![silent().await, silent().await, silent().await];
    let preset = Preset { endpoints, ..Preset::default() };
    let start = clock::Instant::now();
    let words = ["endpoint", "health", "--dial-timeout", "1s", "--command-timeout", "1s"];
    let ended = etcdctl(&preset, &words).await;
    assert_eq!((ended.code, ended.stderr.matches("is unhealthy").count()), (1, 3), "{}", ended.stderr);
    // Each one costs the time of a connection and of a call at most.
    assert!(start.elapsed() < Duration::from_secs(3), "one after the other: {:?}", start.elapsed());
}

#[tokio::test]
async fn certificates_without_an_authority_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (cert, key) = (file("a.crt"), file("a.key"));
    let words = ["get", "a", "--cert", &cert, "--key", &key];
    let ended = etcdctl(&plain("127.0.0.1:1"), &words).await;
    let told = format!("Error: open {cert}: no such file or directory\n");
    assert_eq!((ended.code, ended.stderr), (fail::ARGUMENTS, told));
    let ended = etcdctl(&plain("127.0.0.1:1"), &["get", "a", "--cert", "", "--key", &key]).await;
    let told = "Error: empty string is passed to --cert option\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (fail::ARGUMENTS, told));
    let ended = etcdctl(&plain("127.0.0.1:1"), &["get", "a", "--key", &key]).await;
    assert_eq!(ended.code, fail::ARGUMENTS, "{}", ended.stderr);
    std::fs::write(&cert, "x").unwrap();
    std::fs::write(&key, "x").unwrap();
    let ended = etcdctl(&plain("127.0.0.1:1"), &words).await;
    assert!(ended.code == 1 && ended.stderr.contains("--cacert"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_snapshot_has_the_time_that_is_given() {
    let words = ["snapshot", "save", "x", "--command-timeout", "100ms"];
    let ended = etcdctl(&plain(&silent().await), &words).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (5, "Error: context deadline exceeded\n"));
}

/// A real etcd tries as long as its client waits; here the server gives up after 5 seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_of_leadership_has_the_time_that_is_given() {
    let store = Store::listing(1, &["down"]).await;
    assert_eq!(etcdctl(&store.preset, &["put", "a", "1"]).await.code, 0, "it leads");
    let [me, down] = ["one", "down"].map(|name| format!("{:x}", member_id(name)));
    let ended = etcdctl(&store.preset, &["move-leader", &down, "--command-timeout", "1s"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (1, "Error: context deadline exceeded\n"));
    let ended = etcdctl(&store.preset, &["move-leader", &me]).await;
    let told = format!("Leadership transferred from {me} to {me}\n");
    assert_eq!((ended.code, ended.stdout), (0, told), "{}", ended.stderr);
    let ended = etcdctl(&store.preset, &["move-leader", &me, "-w", "json"]).await;
    assert!(ended.code == 0 && ended.stdout.starts_with('{'), "{ended:?}");
    let ended = etcdctl(&store.preset, &["move-leader", &me, "-w", "fields"]).await;
    let told = "Error: fields not supported as output format\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (fail::FEATURE, told));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_not_saved_has_one_exit_code() {
    let store = Store::start(2).await;
    let save = async |preset: &Preset, path: &str| etcdctl(preset, &["snapshot", "save", path]).await;
    let path = store.dir.path().join("x.db").display().to_string();
    assert_eq!(save(&store.by(0), "/no/such/x.db").await.code, 5);
    let folder = store.dir.path().display().to_string();
    let taken = save(&store.by(0), &folder).await;
    let told = format!("Error: cannot rename {folder}.part to {folder}: is a directory\n");
    assert_eq!((taken.code, taken.stderr), (5, told));
    assert_eq!(save(&plain("127.0.0.1:1"), &path).await.code, 5);
    let two = save(&store.preset, &path).await;
    assert!(two.code == 5 && two.stderr.contains("not multiple [https://127.0.0.1:"), "{two:?}");
    assert_eq!(etcdctl(&store.by(0), &["snapshot", "save"]).await.code, fail::ARGUMENTS);
    assert_eq!(save(&store.by(0), &path).await.code, 0);
}

#[tokio::test]
async fn alarms_are_all_listed_and_ended_or_none() {
    for verb in ["list", "disarm"] {
        let ended = etcdctl(&plain("127.0.0.1:1"), &["alarm", verb, "x"]).await;
        let told = format!("Error: alarm {verb} command accepts no arguments\n");
        assert_eq!((ended.code, ended.stderr), (fail::ARGUMENTS, told));
    }
}

#[tokio::test]
async fn a_verb_that_holds_something_heeds_sigterm() {
    let mut heard = std::pin::pin!(interrupted(true));
    assert!(futures::poll!(&mut heard).is_pending(), "from here on the signal does not end the process");
    let me = std::process::id().to_string();
    assert!(tokio::process::Command::new("kill").args(["-TERM", &me]).status().await.unwrap().success());
    tokio::time::timeout(PATIENCE, heard).await.expect("it is heard").unwrap();
}

#[test]
fn what_needs_no_store_is_known_by_its_verb() {
    let needs = |line: &str| {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        crate::needs_a_store(&words)
    };
    for line in [
        "",
        "help",
        "get --help",
        "put -h",
        "-w json version",
        "--write-out=table snapshot status snap.db",
        "nonsense",
    ] {
        assert!(!needs(line), "{line}");
    }
    for line in ["get a", "-w json get a", "snapshot save snap.db", "endpoint status"] {
        assert!(needs(line), "{line}");
    }
}
