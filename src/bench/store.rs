//! The store beside a real etcd: puts and linearizable gets a second, by 1 and 64 clients, of 1 and
//! 3 members. Both are spoken to over mutual TLS, both sync to disk; rounds take turns.

use super::cluster::Cluster;
use super::figure::{Aim, Figure};
use super::room::{Room, all_done, tell};
use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use etcd::grpc::client::{Channel, Endpoint};
use etcd::pb;
use pki::{Ca, Identity, Subject, client_config};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

const ROUND: Duration = Duration::from_secs(2);
/// How long a client waits for a member's first answer, which needs a leader.
const PATIENCE: Duration = Duration::from_secs(20);
/// The time between two attempts to reach a member.
const ATTEMPT_EVERY: Duration = Duration::from_millis(50);
/// Of what a member that has ended printed, so many lines are shown, of so many bytes at its end: a
/// panic's trace has to fit, since the reason stands before it.
const LINES_SHOWN: usize = 3;
const TAIL_BYTES: u64 = 64 << 10;
const VALUE_BYTES: usize = 256;
/// Keys that each client puts.
const KEYS: u32 = 1000;
const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const COMPACT: &str = "/etcdserverpb.KV/Compact";

/// The members of a cluster of ours, beside as many of etcd's.
///
/// # Errors
/// The cluster cannot be started, the files of etcd cannot be written, or a member does not answer
/// within [`PATIENCE`]. A machine on which etcd does not run is no error: the figures have no peer.
pub(crate) async fn beside_etcd(room: &Room<'_>) -> anyhow::Result<Vec<Figure>> {
    let (mut figures, mut has_peer) = (Vec::new(), true);
    for members in [1, 3] {
        let home = room.dir.join(members.to_string());
        let cluster = Cluster::at(&home, room);
        cluster.up(&["--control-planes", &members.to_string(), "--workers", "0"])?;
        let ours = Store::of_status(&cluster.status()?["etcd"])?;
        let start = || Real::start(&room.dir.join(format!("real-{members}")), members);
        // Where one member does not run, three are not tried: it takes time, and was told.
        let real = match has_peer.then(start).transpose()?.flatten() {
            Some(started) => started.answering().await,
            None => None,
        };
        has_peer = real.is_some();
        let theirs = real.as_ref().map(|r| &r.store);
        for (op, name, clients, aim) in [
            (Op::Put, "puts", 1, 1.0),
            (Op::Put, "puts", 64, 1.5),
            (Op::Get, "gets", 1, 1.0),
            (Op::Get, "gets", 64, 1.5),
        ] {
            let (mut mine, mut other) = (Vec::new(), Vec::new());
            for _ in 0..room.runs(3) {
                mine.push(round(&ours, clients, op).await?);
                if let Some(theirs) = theirs {
                    other.push(round(theirs, clients, op).await?);
                }
            }
            let what = format!("{name}, members: {members}, clients: {clients}");
            figures
                .push(Figure::new(what, &format!("{name}/s"), mine, Aim::OfPeer(aim)).beside("etcd", other));
        }
    }
    Ok(figures)
}

/// Where an etcd's members listen, and what a client shows them.
struct Store {
    endpoints: Vec<Endpoint>,
    tls: Arc<rustls::ClientConfig>,
}

impl Store {
    fn of_status(etcd: &Value) -> anyhow::Result<Store> {
        let read = |name: &str| -> anyhow::Result<String> {
            let path = etcd[name].as_str().with_context(|| format!("status tells no {name} of the store"))?;
            Ok(std::fs::read_to_string(path)?)
        };
        let identity = Identity { cert_pem: read("cert")?, key_pem: read("key")? };
        let urls = etcd["endpoints"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let endpoints: Vec<Endpoint> =
            urls.map(|url| Endpoint::parse(url, true)).collect::<Result<_, _>>()?;
        ensure!(!endpoints.is_empty(), "status tells no endpoints of the store");
        Ok(Store { endpoints, tls: client_config(Some(&identity), &read("cacert")?, &["h2"])? })
    }

    /// Connects to the member whose turn it is, and waits until it knows a leader.
    ///
    /// # Errors
    /// The member refuses or stays silent for [`PATIENCE`]: the last reason.
    async fn connect(&self, turn: usize) -> anyhow::Result<Channel> {
        let endpoint = &self.endpoints[turn % self.endpoints.len()];
        let until = clock::deadline(PATIENCE);
        let mut why = anyhow!("it says nothing");
        while let Some(left) = until.checked_duration_since(clock::Instant::now()) {
            // A channel has no limit of its own: a member that accepts connections and never
            // answers would be waited for without end.
            match clock::limit(left, self.attempt(endpoint)).await {
                Some(Ok(channel)) => return Ok(channel),
                Some(Err(error)) => why = error,
                None => break,
            }
            clock::pause(ATTEMPT_EVERY).await;
        }
        Err(why.context(format!("{}:{} does not answer", endpoint.host, endpoint.port)))
    }

    /// Connects to a member and reads from it, which a member without a leader refuses.
    async fn attempt(&self, endpoint: &Endpoint) -> anyhow::Result<Channel> {
        let channel = Channel::connect(endpoint, Some(self.tls.clone())).await?;
        let ready = pb::RangeRequest { key: "ready".into(), ..Default::default() };
        channel.unary::<_, pb::RangeResponse>(RANGE, ready).await?;
        Ok(channel)
    }
}

/// Real etcd servers; they end with this.
struct Real {
    store: Store,
    members: Vec<Member>,
}

/// One process of etcd.
struct Member {
    process: Child,
    /// What it prints to standard error.
    log: PathBuf,
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended by itself
        let _ = self.process.wait();
    }
}

impl Real {
    /// `None`, with a word, where there is no etcd.
    fn start(dir: &Path, members: usize) -> anyhow::Result<Option<Real>> {
        std::fs::create_dir_all(dir)?;
        let ca = Ca::load_or_create(dir, "etcd-ca")?;
        let server = ca.issue(&Subject::server("etcd", &["127.0.0.1"]))?;
        let own = ca.issue(&Subject::client("bench", ""))?;
        let file = |name: &str| dir.join(name).display().to_string();
        std::fs::write(file("server.crt"), &server.cert_pem)?;
        std::fs::write(file("server.key"), &server.key_pem)?;
        let free = free_ports(2 * members)?;
        let ports: Vec<(u16, u16)> = free.chunks_exact(2).map(|two| (two[0], two[1])).collect();
        let cluster: Vec<String> =
            ports.iter().enumerate().map(|(n, (_, peer))| format!("m{n}=http://127.0.0.1:{peer}")).collect();
        let endpoint = |(port, _): &(u16, u16)| Endpoint { tls: true, host: "127.0.0.1".into(), port: *port };
        let tls = client_config(Some(&own), ca.pem(), &["h2"])?;
        let store = Store { endpoints: ports.iter().map(endpoint).collect(), tls };
        let mut real = Real { store, members: Vec::new() };
        for (n, (port, peer)) in ports.iter().enumerate() {
            let (url, peers) = (format!("https://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
            let name = format!("m{n}");
            let log = dir.join(format!("{name}.log"));
            let mut etcd = Command::new("etcd");
            for (setting, _) in std::env::vars_os().filter(|(variable, _)| is_setting(variable)) {
                etcd.env_remove(setting);
            }
            let started = etcd
                .args(["--name", &name, "--log-level", "error", "--data-dir", &file(&name)])
                .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
                .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
                .args(["--initial-cluster", &cluster.join(","), "--client-cert-auth"])
                .args(["--trusted-ca-file", &file("ca.crt"), "--cert-file", &file("server.crt")])
                .args(["--key-file", &file("server.key")])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(&log)?)
                .spawn();
            match started {
                Ok(process) => real.members.push(Member { process, log }),
                Err(error) => {
                    tell(format!("no etcd on PATH to stand beside: {error}"));
                    return Ok(None);
                }
            }
        }
        Ok(Some(real))
    }

    /// Waits until every member answers. `None`, and a line that says why: etcd does not run here.
    async fn answering(mut self) -> Option<Real> {
        let Some(why) = self.failure().await else { return Some(self) };
        tell(format!("etcd does not run here: {why}"));
        None
    }

    /// Returns why not every member answers; `None`: all do. A member that ends is not waited for.
    async fn failure(&mut self) -> Option<String> {
        let store = &self.store;
        let answers = (0..self.members.len()).map(|n| store.connect(n));
        tokio::select! {
            answered = futures::future::try_join_all(answers) => {
                answered.err().map(|error| format!("{error:#}"))
            }
            why = first_end(&mut self.members) => Some(why),
        }
    }
}

/// Waits until one of these members has ended; returns how it did, and what it printed last.
async fn first_end(members: &mut [Member]) -> String {
    // Before the first look: an end in between is not missed.
    let Ok(mut ended) = signal(SignalKind::child()) else { return std::future::pending().await };
    loop {
        for member in members.iter_mut() {
            if let Ok(Some(status)) = member.process.try_wait() {
                return format!("it ended ({status}){}", last_lines(&member.log));
            }
        }
        if ended.recv().await.is_none() {
            return std::future::pending().await;
        }
    }
}

/// Returns the last lines of a file, each behind a line break; nothing if there are none. The trace
/// of a Go panic, which would hide the reason, is left out:
///
/// ```text
/// panic: create wal error: no space left on device
///
/// goroutine 1 [running]:
/// go.etcd.io/etcd/server/v3/etcdserver.startNode(...)
/// ```
fn last_lines(log: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let (mut file, mut bytes) = (File::open(log)?, Vec::new());
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let told = text.split("\ngoroutine ").next().unwrap_or_default();
    let lines: Vec<&str> = told.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    shown.iter().map(|line| format!("\n  {line}")).collect()
}

/// Returns so many ports of 127.0.0.1 that are free, no two the same: all are held until the last
/// one is known, since the kernel may give a port that was let go a second time.
///
/// # Errors
/// There are not so many, or no descriptor is left.
fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let held: Vec<_> =
        (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
    held.iter().map(|listener| listener.local_addr().map(|at| at.port())).collect()
}

/// Returns whether etcd would take a setting from this variable of the environment: each flag that
/// is not given has one, `ETCD_` and the flag's name. A shell in which another etcd is set up must
/// not change the peer, nor let it write without syncing. `ETCD_UNSUPPORTED_ARCH` is no flag:
/// without it etcd does not start on some machines.
fn is_setting(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    name.starts_with("ETCD_") && name != "ETCD_UNSUPPORTED_ARCH"
}

#[derive(Clone, Copy)]
enum Op {
    Put,
    Get,
}

/// Operations a second, by so many clients spread over the members, each waiting for its answer.
async fn round(store: &Store, clients: usize, op: Op) -> anyhow::Result<f64> {
    if matches!(op, Op::Put) {
        compact(store).await?;
    }
    let channels = futures::future::try_join_all((0..clients).map(|n| store.connect(n))).await?;
    let start = Instant::now();
    // The clients end with this set: it is dropped when the bench is interrupted or one of
    // them fails.
    let tasks: JoinSet<_> = channels
        .into_iter()
        .enumerate()
        .map(|(n, channel)| async move {
            let mut done = 0_u32;
            while start.elapsed() < ROUND {
                operate(&channel, op, key(n, op, done).into()).await?;
                done += 1;
            }
            anyhow::Ok(done)
        })
        .collect();
    let done: u32 = all_done(tasks, ROUND).await?.into_iter().sum();
    Ok(f64::from(done) / start.elapsed().as_secs_f64())
}

/// Makes a store forget the history of earlier puts, outside the time of a round. Both stores keep
/// each version until a compaction, and refuse puts when their quota is used up: 2 GiB of etcd,
/// which nothing else compacts here, and of ours a part of the machine's memory, where the API
/// server would compact in the middle of a round.
///
/// # Errors
/// A member does not answer, or it refuses the compaction.
async fn compact(store: &Store) -> anyhow::Result<()> {
    let compacted = async {
        let channel = store.connect(0).await?;
        let newest = pb::RangeRequest { key: "newest".into(), ..Default::default() };
        let newest: pb::RangeResponse = channel.unary(RANGE, newest).await?;
        let revision = newest.header.context("an answer tells no revision")?.revision;
        let ask = pb::CompactionRequest { revision, physical: true };
        let answer: Result<pb::CompactionResponse, _> = channel.unary(COMPACT, ask).await;
        match answer {
            Ok(_) => Ok(()),
            // Our API server may have done it in between: it sees to the room in its store, too.
            Err(status) if status.message().contains("has been compacted") => Ok(()),
            Err(status) => Err(anyhow::Error::from(status)),
        }
    };
    // An etcd answers a physical compaction when it is through.
    clock::limit(2 * PATIENCE, compacted).await.context("a compaction is not answered")?
}

/// Returns the key of a client's next operation, after so many. Puts go round [`KEYS`] keys. A get
/// reads the first of them, which a round of puts has written on the slowest disk, too: a get that
/// finds nothing costs less, and the store that puts less would find less.
fn key(client: usize, op: Op, done: u32) -> String {
    let number = match op {
        Op::Put => done % KEYS,
        Op::Get => 0,
    };
    format!("/bench/{client}/{number}")
}

/// Puts or gets a key, and waits for the answer.
async fn operate(channel: &Channel, op: Op, key: Bytes) -> anyhow::Result<()> {
    match op {
        Op::Put => {
            let put = pb::PutRequest { key, value: vec![7; VALUE_BYTES].into(), ..Default::default() };
            channel.unary::<_, pb::PutResponse>(PUT, put).await?;
        }
        Op::Get => {
            let get = pb::RangeRequest { key, ..Default::default() };
            let found: pb::RangeResponse = channel.unary(RANGE, get).await?;
            ensure!(!found.kvs.is_empty(), "a get has not found what was put");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A listener that never takes a connection: the kernel greets the client all the same.
    #[tokio::test(start_paused = true)]
    async fn a_member_that_stays_silent_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "etcd-ca").unwrap();
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let endpoint = Endpoint { tls: true, host: "127.0.0.1".into(), port };
        let tls = client_config(None, ca.pem(), &["h2"]).unwrap();
        let store = Store { endpoints: vec![endpoint], tls };
        let connected = clock::limit(2 * PATIENCE, store.connect(0)).await.expect("an end");
        let told = format!("{:#}", connected.err().unwrap());
        assert!(told.starts_with(&format!("127.0.0.1:{port} does not answer: ")), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_etcd_that_does_not_run_here_is_no_peer() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "etcd-ca").unwrap();
        let port = free_ports(1).unwrap()[0];
        let endpoint = Endpoint { tls: true, host: "127.0.0.1".into(), port };
        let store = Store { endpoints: vec![endpoint], tls: client_config(None, ca.pem(), &["h2"]).unwrap() };
        let real = Real { store, members: vec![member(dir.path(), "exit 3")] };
        assert!(clock::limit(2 * PATIENCE, real.answering()).await.expect("an end").is_none());
    }

    /// A member whose process is this shell script, and whose log lies in this directory.
    fn member(dir: &Path, script: &str) -> Member {
        let log = dir.join("m0.log");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script]).stdin(Stdio::null()).stderr(File::create(&log).unwrap());
        Member { process: shell.spawn().unwrap(), log }
    }

    /// Its port is taken by a listener that never takes a connection: only the end of the process
    /// tells that it will not answer.
    #[tokio::test]
    async fn an_etcd_that_ends_is_noticed_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "etcd-ca").unwrap();
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let endpoint = Endpoint { tls: true, host: "127.0.0.1".into(), port };
        let store = Store { endpoints: vec![endpoint], tls: client_config(None, ca.pem(), &["h2"]).unwrap() };
        let script = "for line in 1 2 3 '' 4; do echo \"$line\" >&2; done; exit 3";
        let mut real = Real { store, members: vec![member(dir.path(), script)] };
        let why = clock::limit(PATIENCE / 2, real.failure()).await.expect("it is noticed");
        assert_eq!(why.as_deref(), Some("it ended (exit status: 3)\n  2\n  3\n  4"));
    }

    #[test]
    fn a_panic_is_told_without_its_trace() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let trace = "main.main()\n\tmain.go:28 +0x17\n".repeat(100);
        let text = format!("a notice\npanic: no space left\n\ngoroutine 1 [running]:\n{trace}");
        std::fs::write(log.path(), text).unwrap();
        assert_eq!(last_lines(log.path()), "\n  a notice\n  panic: no space left");
    }

    /// Each of the rounds leaves versions that count for a store's quota.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_round_of_puts_begins_without_the_history_of_earlier_ones() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "etcd-ca").unwrap();
        let own = ca.issue(&Subject::server("one", &["127.0.0.1"])).unwrap();
        let client = ca.issue(&Subject::client("bench", "")).unwrap();
        let config = etcd::Config::new("one", dir.path().join("data"), tap::Tap::new(), rng::Rng::seeded(1));
        let server = etcd::Server::start(config).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (crew, members) = (task::Owned::new("etcd"), tokio::sync::watch::channel(vec![]).1);
        let face = etcd::grpc::Face::new(&server, "test", members, &crew);
        crew.spawn(etcd::grpc::serve(face, listener, pki::mutual_server_config(&own, ca.pem()).unwrap()));
        let endpoint = Endpoint { tls: true, host: "127.0.0.1".into(), port };
        let tls = client_config(Some(&client), ca.pem(), &["h2"]).unwrap();
        let store = Store { endpoints: vec![endpoint], tls };
        let channel = store.connect(0).await.unwrap();
        for _ in 0..3 {
            operate(&channel, Op::Put, key(0, Op::Put, 0).into()).await.unwrap();
        }
        let before = server.kv().revision();
        assert!(round(&store, 1, Op::Put).await.unwrap() > 0.0);
        assert_eq!(server.kv().compacted(), before, "and the round itself is not in it");
        for _ in 0..2 {
            compact(&store).await.unwrap();
            assert_eq!(server.kv().compacted(), server.kv().revision());
        }
        operate(&channel, Op::Get, key(0, Op::Get, 0).into()).await.unwrap();
    }

    /// On a slow disk a client puts a single key in a round.
    #[test]
    fn a_get_reads_what_the_first_put_of_its_client_has_written() {
        for (client, done) in [(0, 0), (63, 1), (0, 999), (63, 1000), (7, u32::MAX)] {
            assert_eq!(key(client, Op::Get, done), key(client, Op::Put, 0));
        }
        let puts: std::collections::BTreeSet<String> = (0..2 * KEYS).map(|n| key(7, Op::Put, n)).collect();
        assert_eq!(puts.len(), KEYS as usize);
    }

    #[test]
    fn a_status_without_endpoints_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        let status = json!({"cert": path, "key": path, "cacert": path, "endpoints": []});
        let told = Store::of_status(&status).err().unwrap().to_string();
        assert_eq!(told, "status tells no endpoints of the store");
    }

    #[test]
    fn no_port_is_given_twice() {
        let ports = free_ports(400).unwrap();
        let all: std::collections::BTreeSet<u16> = ports.iter().copied().collect();
        assert_eq!((ports.len(), all.len()), (400, 400));
    }

    #[test]
    fn another_etcd_s_settings_are_not_the_peer_s() {
        for (variable, wanted) in [
            ("ETCD_UNSAFE_NO_FSYNC", true),
            ("ETCD_INITIAL_CLUSTER_STATE", true),
            ("ETCD_UNSUPPORTED_ARCH", false),
            ("ETCDCTL_ENDPOINTS", false),
            ("PATH", false),
        ] {
            assert_eq!(is_setting(OsStr::new(variable)), wanted, "{variable}");
        }
    }
}
