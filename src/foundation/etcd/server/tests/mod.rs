//! A member on disk: what was acknowledged is there after every kind of end.

mod cluster;

use crate::api::{
    DeleteRangeRequest, Error, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, WatchRequest,
};
use crate::{Config, Kv, Server, StartError, member_id, quota_for};
use bytes::Bytes;
use parking_lot::Mutex;
use raft::driver::{Handle, Link};
use raft::member::SnapshotPolicy;
use raft::sim::disk::SimDisk;
use raft::wal::WalOptions;
use raft::{ConfChange, MemberId};
use rng::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tap::{Component, Event, Tap};

#[test]
fn the_quota_follows_the_memory() {
    let (mib, gib) = (1 << 20, 1 << 30);
    assert_eq!(quota_for(Some(16 * gib), 1), gib);
    assert_eq!(quota_for(Some(16 * gib), 3), 16 * gib / 16 / 3);
    assert_eq!(quota_for(Some(512 * mib), 1), 64 * mib);
    assert_eq!(quota_for(Some(256 * gib), 1), 2 * gib);
    assert_eq!(quota_for(None, 0), 2 * gib);
}

fn config(dir: &std::path::Path) -> Config {
    Config::new("cp", dir, Tap::new(), Rng::seeded(1))
}

fn simulated(disk: &SimDisk) -> Config {
    Config {
        disk: Arc::new(disk.clone()),
        wal: WalOptions { segment_bytes: 4096, prepare: false },
        snapshots: SnapshotPolicy { entries: 50, bytes: u64::MAX },
        ..config("/sim".as_ref())
    }
}

fn put(key: &str, value: &str) -> PutRequest {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    PutRequest { key, value, ..PutRequest::default() }
}

fn all() -> RangeRequest {
    RangeRequest { key: "\0".into(), range_end: "\0".into(), ..RangeRequest::default() }
}

fn show(r: &RangeResponse) -> String {
    let one = |kv: &crate::api::KeyValue| {
        let text = |b: &Bytes| String::from_utf8_lossy(b).into_owned();
        format!("{}={}@{}", text(&kv.key), text(&kv.value), kv.mod_revision)
    };
    r.kvs.iter().map(one).collect::<Vec<_>>().join(" ")
}

async fn fill(kv: &Kv) {
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
        kv.put(put(key, value)).await.unwrap();
    }
    kv.delete_range(DeleteRangeRequest { key: "b".into(), ..Default::default() }).await.unwrap();
}

/// Starts a member on a directory that another one has just left, and whose threads may not have
/// ended. A process that some other test is starting in this moment may hold a copy of the lock's
/// descriptor, too, until it executes its program.
async fn again(config: impl Fn() -> Config) -> Server {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match Server::start(config()).await {
            Err(StartError::Member(raft::driver::StartError::InUse(_))) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            started => return started.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_member_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(config(dir.path())).await.unwrap();
    fill(&server.kv()).await;
    let lease = server.kv().lease_grant(60, 0).await.unwrap();
    server.kv().put(PutRequest { lease, ..put("l", "") }).await.unwrap();
    let status = server.kv().status();
    assert!(status.is_leader && status.leader == "cp" && status.revision == 6, "{status:?}");
    for graceful in [true, false, true] {
        match graceful {
            true => server.stop().await,
            false => server.kill(),
        }
        let (kv, watch) = (server.kv(), WatchRequest { key: "a".into(), ..Default::default() });
        assert_eq!(kv.put(put("x", "")).await.err(), Some(Error::Stopped));
        assert_eq!(kv.watch(watch).await.err(), Some(Error::Stopped));
        assert_eq!(kv.range(all()).await.err(), Some(Error::Stopped), "it answers from memory");
        server = again(|| config(dir.path())).await;
        let kv = server.kv();
        assert_eq!(show(&kv.range(all()).await.unwrap()), "a=3@4 l=@6");
        let before = RangeRequest { revision: 3, ..all() };
        assert_eq!(show(&kv.range(before).await.unwrap()), "a=1@2 b=2@3");
        assert_eq!(kv.lease_time_to_live(lease).await.unwrap().keys, ["l"]);
        assert_eq!(kv.revision(), 6);
    }
}

#[tokio::test]
async fn two_processes_cannot_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = Server::start(config(dir.path())).await.unwrap();
    let second = Server::start(config(dir.path())).await.err();
    assert!(matches!(second, Some(StartError::Member(raft::driver::StartError::InUse(_)))), "{second:?}");
    drop(first);
    again(|| config(dir.path())).await;
}

#[tokio::test]
async fn snapshots_replace_the_log_and_keep_history() {
    let dir = tempfile::tempdir().unwrap();
    let small = || Config {
        snapshots: SnapshotPolicy { entries: 20, bytes: u64::MAX },
        wal: WalOptions { segment_bytes: 8192, prepare: true },
        ..config(dir.path())
    };
    let server = Server::start(small()).await.unwrap();
    for i in 0..200 {
        server.kv().put(put(&format!("k{}", i % 7), &"v".repeat(300))).await.unwrap();
    }
    server.kv().compact(100).await.unwrap();
    let (now, then) = (all(), RangeRequest { revision: 150, ..all() });
    let seen = [
        show(&server.kv().range(now.clone()).await.unwrap()),
        show(&server.kv().range(then.clone()).await.unwrap()),
    ];
    server.stop().await;
    let segments = std::fs::read_dir(dir.path().join("member/wal")).unwrap().count();
    assert!(segments <= 5, "{segments} segments are left of 200 puts");
    let server = Server::start(small()).await.unwrap();
    let kv = server.kv();
    assert_eq!([show(&kv.range(now).await.unwrap()), show(&kv.range(then).await.unwrap())], seen);
    let mut watch = kv
        .watch(WatchRequest { key: "\0".into(), range_end: "\0".into(), start_revision: 101, prev_kv: true })
        .await
        .unwrap();
    let events = watch.next().await.unwrap().unwrap().events;
    assert_eq!((events.len(), events[0].kv.mod_revision), (101, 101));
    assert!(events[10].prev_kv.as_ref().is_some_and(|p| p.mod_revision == 104), "{:?}", events[10]);
    let gone =
        kv.watch(WatchRequest { start_revision: 50, key: "a".into(), ..Default::default() }).await.err();
    assert_eq!(gone, Some(Error::Compacted { compact_revision: 100 }));
}

/// Power cuts under load, over and over: nothing acknowledged is ever lost, nothing half done is
/// ever seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_power_cuts() {
    let (disk, rng) = (SimDisk::default(), Rng::seeded(5));
    let acked: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    for round in 0..12u64 {
        let server = again(|| simulated(&disk)).await;
        let kv = server.kv();
        let found: BTreeMap<String, u64> = kv
            .range(all())
            .await
            .unwrap()
            .kvs
            .iter()
            .map(|kv| {
                let text = |b: &Bytes| String::from_utf8_lossy(b).into_owned();
                (text(&kv.key), text(&kv.value).parse().unwrap())
            })
            .collect();
        for (key, value) in acked.lock().iter() {
            assert!(
                found.get(key).is_some_and(|v| v >= value),
                "round {round}: {key} was {value}: {found:?}"
            );
        }
        // the two halves of a transaction are one
        for client in 0..4 {
            assert_eq!(found.get(&format!("a{client}")), found.get(&format!("b{client}")), "round {round}");
        }
        let wrote = Arc::new(tokio::sync::Semaphore::new(0));
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (kv, acked, wrote) = (server.kv(), acked.clone(), wrote.clone());
                let mut value = round * 1_000_000;
                tokio::spawn(async move {
                    loop {
                        value += 1;
                        let both = [format!("a{client}"), format!("b{client}")];
                        let op = |key: &String| RequestOp::Put(put(key, &value.to_string()));
                        let txn = TxnRequest { success: both.iter().map(op).collect(), ..Default::default() };
                        if kv.txn(txn).await.is_err() {
                            return value;
                        }
                        acked.lock().extend(both.map(|key| (key, value)));
                        if value == round * 1_000_000 + 1 {
                            wrote.add_permits(1);
                        }
                    }
                })
            })
            .collect();
        let _ = wrote.acquire_many(4).await.unwrap(); // on a busy machine a client may begin late
        tokio::time::sleep(Duration::from_millis(rng.range(5, 40))).await;
        disk.break_sync(); // from here on the disk only pretends, and says so
        for client in clients {
            client.await.unwrap();
        }
        assert!(matches!(kv.put(put("x", "1")).await, Err(Error::Disk { .. })));
        server.kill();
        while disk.unlocked().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await; // its threads end by themselves
        }
        disk.crash(&rng);
        disk.mend_sync();
    }
    assert!(acked.lock().values().all(|v| *v > 11_000_000), "a client never wrote");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_keeps_reads_and_recovers() {
    let disk = SimDisk::default();
    let server = Server::start(simulated(&disk)).await.unwrap();
    let kv = server.kv();
    let counted = async || kv.range(all()).await.unwrap().kvs[0].version;
    disk.set_room(Some(0));
    let writer = tokio::spawn({
        let kv = kv.clone();
        async move {
            let mut acked = 0;
            // the write that meets the full disk waits for room: no answer may say that it did not
            // happen
            while let Ok(put) =
                tokio::time::timeout(Duration::from_secs(3), kv.put(put("a", &"v".repeat(500)))).await
            {
                match put {
                    Ok(_) => acked += 1,
                    Err(e) => return (acked, Some(e)),
                }
            }
            (acked, None)
        }
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    while kv.status().refuses != Some(Error::NoSpace) {
        assert!(Instant::now() < deadline, "no alarm");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(kv.put(put("b", "")).await.unwrap_err(), Error::NoSpace);
    let before = counted().await;
    disk.set_room(None);
    assert_eq!(kv.range(all()).await.unwrap().count, 1, "b was refused");
    while kv.status().refuses.is_some() {
        assert!(Instant::now() < deadline, "no recovery");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    kv.put(put("b", "")).await.unwrap();
    assert!(counted().await > before, "what waited was written");
    writer.abort();
    // and a member that ends while there is no room comes back with everything it promised
    disk.set_room(Some(0));
    let acked = counted().await;
    while kv.status().refuses != Some(Error::NoSpace) {
        let _ = tokio::time::timeout(Duration::from_millis(300), kv.put(put("c", &"v".repeat(500)))).await;
        assert!(Instant::now() < deadline, "no alarm");
    }
    server.stop().await;
    disk.crash(&Rng::seeded(1));
    disk.set_room(None);
    let server = Server::start(simulated(&disk)).await.unwrap();
    assert!(server.kv().range(all()).await.unwrap().kvs[0].version >= acked);
    server.kv().put(put("b", "")).await.unwrap();
}

#[tokio::test]
async fn writes_that_come_together_share_a_sync() {
    let disk = SimDisk::default();
    let server = Server::start(simulated(&disk)).await.unwrap();
    disk.slow_down(Duration::from_millis(5));
    let before = disk.syncs();
    let kv = server.kv();
    let puts = (0..40).map(|i| {
        let kv = kv.clone();
        async move { kv.put(put(&format!("k{i}"), "v")).await }
    });
    let answers = futures::future::join_all(puts).await;
    assert!(answers.iter().all(Result::is_ok));
    let syncs = disk.syncs() - before;
    assert!(syncs <= 10, "{syncs} syncs for 40 puts");
}

#[tokio::test]
async fn the_quota_binds_puts_but_not_deletes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Config { quota_bytes: 2000, ..config(dir.path()) }).await.unwrap();
    let kv = server.kv();
    kv.put(put("a", &"x".repeat(1500))).await.unwrap();
    assert_eq!(kv.put(put("b", &"x".repeat(1500))).await.unwrap_err(), Error::NoSpace);
    kv.delete_range(DeleteRangeRequest { key: "a".into(), ..Default::default() }).await.unwrap();
    kv.compact(kv.revision()).await.unwrap();
    // there is room again, but a client has to end the alarm
    assert_eq!(kv.put(put("b", "x")).await.unwrap_err(), Error::NoSpace);
    for alarm in kv.alarms().await.unwrap() {
        kv.alarm(alarm, false).await.unwrap();
    }
    kv.put(put("b", &"x".repeat(1500))).await.unwrap();
}

#[tokio::test]
async fn leases_expire_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(config(dir.path())).await.unwrap();
    let kv = server.kv();
    let lease = kv.lease_grant(3, 0).await.unwrap();
    let mut watch = kv.watch(WatchRequest { key: "l".into(), ..Default::default() }).await.unwrap();
    kv.put(PutRequest { lease, ..put("l", "") }).await.unwrap();
    watch.next().await.unwrap().unwrap();
    let gone = tokio::time::timeout(Duration::from_secs(60), watch.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(gone.events[0].kind, crate::api::EventType::Delete);
}

#[tokio::test]
async fn every_write_is_on_the_tap() {
    let dir = tempfile::tempdir().unwrap();
    let tap = Tap::new();
    let server = Server::start(Config { tap: tap.clone(), ..config(dir.path()) }).await.unwrap();
    let (revision, _) = server.kv().put(put("a", "1")).await.unwrap();
    let records = tap.since(0);
    let committed = |r: &Arc<tap::Record>| match r.event {
        Event::CommitEntry { fsync_us: Some(us), batch, .. } => Some((r.clone(), us, batch)),
        _ => None,
    };
    let (commit, fsync_us, batch) = records.iter().find_map(committed).unwrap();
    let written_at = (commit.revision, commit.component, &*commit.node);
    assert_eq!(written_at, (Some(revision as u64), Component::Etcd, "cp"));
    assert_eq!(batch, 1);
    assert!(fsync_us > 0 && commit.took_us >= fsync_us);
    let leads = |event: &Event| matches!(event, Event::Leader { leader, .. } if leader == "cp");
    assert!(records.iter().any(|r| leads(&r.event)));
}

/// A start that is tried again must not hide an error that the next start does not mend.
#[tokio::test]
async fn a_start_whose_log_fails_for_good_says_so() {
    let disk = SimDisk::default();
    // No batch fits: the member makes segment 2 to open the log, and segment 3 for its first vote.
    let wal = WalOptions { segment_bytes: 1, prepare: false };
    disk.break_sync_of(Some("/sim/member/wal/0000000000000003.tmp".as_ref()));
    let failed = Server::start(Config { wal, ..simulated(&disk) }).await.err();
    assert!(matches!(failed, Some(StartError::Failed(Error::Disk { .. }))), "{failed:?}");
}

/// A member that can open nothing says why it takes no writes, keeps answering reads, and goes on
/// by itself.
#[tokio::test]
async fn a_member_without_descriptors_waits_for_some() {
    let disk = SimDisk::default();
    let server = Server::start(simulated(&disk)).await.unwrap();
    let kv = server.kv();
    for errno in [nix::libc::EMFILE, nix::libc::ENOMEM] {
        disk.set_scarce(Some(errno));
        let writer = tokio::spawn({
            let kv = kv.clone();
            async move { while kv.put(put("a", &"v".repeat(500))).await.is_ok() {} }
        });
        let deadline = Instant::now() + Duration::from_secs(10);
        while !matches!(kv.status().refuses, Some(Error::Disk { .. })) {
            assert!(Instant::now() < deadline, "no alarm");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(matches!(kv.put(put("b", "")).await, Err(Error::Disk { .. })));
        kv.range(all()).await.unwrap();
        disk.set_scarce(None);
        while kv.status().refuses.is_some() {
            assert!(Instant::now() < deadline, "no recovery");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kv.put(put("b", "")).await.unwrap();
        writer.abort();
    }
}

/// For the child of [`descriptors_run_out_and_come_back`].
const FEW: &str = "ROPEWALK_TEST_FEW_DESCRIPTORS";

/// In a process of its own with 64 descriptors, all of which another thread takes: the log rolls on
/// what it has in reserve, waits when that is gone, and goes on when they are free again.
#[test]
fn descriptors_run_out_and_come_back() {
    let Some(dir) = std::env::var_os(FEW) else {
        let dir = tempfile::tempdir().unwrap();
        let name = "server::tests::descriptors_run_out_and_come_back";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let ran = child.args(["--exact", name, "--nocapture"]).env(FEW, dir.path()).output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success() && said.contains("rolled on the reserve"), "{said}");
        return;
    };
    use nix::sys::resource::{Resource, setrlimit};
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let wal = WalOptions { segment_bytes: 64 << 10, prepare: true };
        let server = Server::start(Config { wal, ..config(std::path::Path::new(&dir)) }).await.unwrap();
        let kv = server.kv();
        kv.put(put("a", "")).await.unwrap();
        // Whatever is given back is taken at once.
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let greedy = std::thread::spawn({
            let stop = stop.clone();
            move || {
                let mut taken = vec![];
                while !stop.load(std::sync::atomic::Ordering::Acquire) {
                    match std::fs::File::open("/dev/null") {
                        Ok(file) => taken.push(file),
                        Err(_) => std::thread::yield_now(),
                    }
                }
            }
        });
        while std::fs::File::open("/dev/null").is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let deadline = Instant::now() + Duration::from_secs(120);
        let large = "v".repeat(30_000);
        let mut rolled = 0;
        let stuck = loop {
            match tokio::time::timeout(Duration::from_secs(2), kv.put(put("a", &large))).await {
                Ok(Ok(_)) => rolled += 1,
                Ok(Err(e)) => break Some(e),
                Err(_) => break kv.status().refuses,
            }
            assert!(Instant::now() < deadline, "nothing was missing in {rolled} writes");
        };
        assert!(rolled >= 4, "only {rolled} writes: there was no reserve");
        println!("rolled on the reserve: {rolled} writes");
        assert!(matches!(&stuck, Some(Error::Disk { cause }) if cause.contains("os error 24")), "{stuck:?}");
        stop.store(true, std::sync::atomic::Ordering::Release);
        greedy.join().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while kv.put(put("b", "after")).await.is_err() {
            assert!(Instant::now() < deadline, "no recovery");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server.stop().await;
        let server = Server::start(config(std::path::Path::new(&dir))).await.unwrap();
        let found = server.kv().range(all()).await.unwrap();
        assert_eq!(found.kvs.iter().find(|kv| kv.key == "b").map(|kv| &kv.value[..]), Some(&b"after"[..]));
    });
}
