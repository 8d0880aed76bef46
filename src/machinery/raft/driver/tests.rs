//! The threads of a member: what they share, and how they end.

use super::super::member::{Capture, Edge};
use super::super::message::Body;
use super::super::{codec, fields, snapfile};
use super::edge::RealEdge;
use super::handle::PeersWaiting;
use super::writer::{Writer, write_log};
use super::*;
use crate::message::Entry;
use crate::records::Records;
use crate::sim::disk::SimDisk;
use crate::{Event, Ready, Status, Term};
use std::sync::mpsc;

/// An entry of which the machine panics.
const POISON: &[u8] = b"poison";
const PATIENCE: Duration = Duration::from_secs(20);

/// A machine without a state. Tells of every snapshot that is begun; the first one panics, or
/// waits.
struct Null {
    captures: mpsc::Sender<()>,
    panics: bool,
    waits: Option<mpsc::Receiver<()>>,
}

impl StateMachine for Null {
    fn apply(&mut self, entries: &[Entry], _: Duration) {
        let poison = Payload::Normal(Bytes::from_static(POISON));
        assert!(entries.iter().all(|entry| entry.payload != poison), "planted");
    }
    fn restore(&mut self, _: &SnapshotRef, _: Duration) -> Result<(), String> {
        Ok(())
    }
    fn capture(&mut self) -> Capture {
        let (captures, panics) = (self.captures.clone(), std::mem::take(&mut self.panics));
        let waits = self.waits.take();
        Box::new(move || {
            let _ = captures.send(());
            let _ = waits.map(|wait| wait.recv()); // an error once it may go on
            assert!(!panics, "planted");
            Vec::new()
        })
    }
    fn refused(&mut self, _: u64) {}
    fn read(&mut self, _: u64, _: bool) {}
    fn status(&mut self, _: &Status, _: Index, _: Duration) {}
    fn events(&mut self, _: &[Event]) {}
    fn persisted(&mut self, _: &Persisted) {}
    fn due(&mut self, _: Duration) -> Vec<Bytes> {
        Vec::new()
    }
}

struct One {
    driver: Driver,
    captures: mpsc::Receiver<()>,
    news: mpsc::Receiver<LogNews>,
}

fn start(disk: &SimDisk, policy: SnapshotPolicy, panics: bool) -> One {
    start_with(disk, policy, panics, None)
}

fn start_with(
    disk: &SimDisk,
    policy: SnapshotPolicy,
    panics: bool,
    waits: Option<mpsc::Receiver<()>>,
) -> One {
    let wal = WalOptions { segment_bytes: 4096, prepare: false };
    let options = Options { disk: Arc::new(disk.clone()), policy, wal, ..Options::alone("/one".as_ref()) };
    let ((captures, begun), (tell, news)) = (mpsc::channel(), mpsc::channel());
    let on_news = Box::new(move |news| drop(tell.send(news)));
    let (driver, _) = Driver::start(options, Null { captures, panics, waits }, on_news).expect("a member");
    One { driver, captures: begun, news }
}

/// Its log would be refused as damaged at the next start.
#[test]
fn a_member_of_no_voter_is_refused_before_it_writes_anything() {
    let disk = SimDisk::default();
    let alone = Options::alone("/one".as_ref());
    let options = Options { disk: Arc::new(disk.clone()), initial: ConfState::default(), ..alone };
    let machine = Null { captures: mpsc::channel().0, panics: false, waits: None };
    let refused = Driver::start(options, machine, Box::new(|_| {})).err();
    assert!(matches!(refused, Some(StartError::NoVoter)), "{refused:?}");
    assert_eq!(disk.syncs_begun(), 0);
}

/// Another process that gets the lock appends where this one may still be writing.
#[test]
fn the_directory_is_unlocked_when_no_thread_writes_any_more() {
    for graceful in [true, false] {
        let disk = SimDisk::default();
        let one = start(&disk, SnapshotPolicy::default(), false);
        let deadline = Instant::now() + PATIENCE;
        // its first entry is durable: it leads
        while disk.syncs() < 4 {
            assert!(Instant::now() < deadline, "no leader");
            one.driver.handle().propose(1, Bytes::from_static(b"early"));
            std::thread::sleep(Duration::from_millis(1));
        }
        disk.slow_down(Duration::from_millis(150));
        let before = disk.syncs_begun();
        one.driver.handle().propose(2, Bytes::from_static(b"late"));
        while disk.syncs_begun() == before {
            assert!(Instant::now() < deadline, "nothing is written");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(disk.unlocked(), None);
        match graceful {
            true => one.driver.stop(),
            false => one.driver.kill(),
        }
        until_unlocked(&disk);
        assert_eq!(disk.unlocked(), Some(disk.syncs()), "something was written without the lock");
    }
}

fn until_unlocked(disk: &SimDisk) {
    let deadline = Instant::now() + PATIENCE;
    while disk.unlocked().is_none() {
        assert!(Instant::now() < deadline, "a thread of the member does not end");
        std::thread::yield_now();
    }
}

/// The kill may come from a task whose thread has other tasks to run.
#[test]
fn a_kill_waits_for_no_disk_and_finishes_no_snapshot() {
    let disk = SimDisk::default();
    let (go, wait) = mpsc::channel();
    let policy = SnapshotPolicy { entries: 1, bytes: u64::MAX };
    let one = start_with(&disk, policy, false, Some(wait));
    one.captures.recv_timeout(PATIENCE).expect("the first entry is worth a snapshot");
    let (tell, killed) = mpsc::channel();
    let kill = std::thread::spawn(move || {
        one.driver.kill();
        let _ = tell.send(());
    });
    killed.recv_timeout(PATIENCE).expect("it waits for a snapshot");
    kill.join().expect("it does not panic");
    assert_eq!(disk.unlocked(), None, "a thread that may write is left");
    drop(go);
    until_unlocked(&disk);
    let is_snapshot = |path: &PathBuf| path.starts_with("/one/snap");
    assert!(!disk.files().iter().any(is_snapshot), "a snapshot was written after the kill");
}

#[test]
fn a_member_that_is_killed_finishes_nothing_that_waits_for_room() {
    let disk = SimDisk::default();
    let initial = SnapshotRef { conf: ConfState::of([1]), ..SnapshotRef::default() };
    let options = WalOptions { segment_bytes: 4096, prepare: false };
    let (wal, _) =
        Wal::open(Arc::new(disk.clone()), Path::new("/one"), &initial, options).expect("a new log");
    let ((jobs, queue), (inbox, told)) = (channel(), channel());
    disk.fill(0);
    let payload = Payload::Normal(Bytes::from_static(b"a"));
    let append = vec![Entry { term: 1, index: 1, payload }];
    let records = Records::of(&Ready { append, ..Ready::default() });
    jobs.send(Job::Write(Write { batch: 1, records, entries: 1, last: Some((1, 1)), snapshot: None }))
        .expect("it is waited for");
    let killed = Arc::new(AtomicBool::new(false));
    let dead = killed.clone();
    let writer = Writer { wal, pending: VecDeque::new(), stuck: None };
    let log = std::thread::spawn(move || write_log(writer, &queue, &inbox, &dead));
    let waits = told.recv_timeout(PATIENCE).expect("news");
    assert!(matches!(waits, Input::Log(LogNews::Waits(_))));
    killed.store(true, Ordering::Release);
    disk.set_room(None);
    drop(jobs); // as the member's thread does when it ends
    log.join().expect("it ends");
    let done = told.try_iter().any(|news| matches!(news, Input::Persisted(_)));
    assert!(!done, "it was written");
}

/// A snapshot becomes durable while the log waits for room, and makes older files superfluous.
#[test]
fn what_frees_room_does_not_wait_behind_what_waits_for_room() {
    let disk = SimDisk::default();
    let initial = SnapshotRef { conf: ConfState::of([1]), ..SnapshotRef::default() };
    let options = WalOptions { segment_bytes: 4096, prepare: false };
    let (mut wal, _) =
        Wal::open(Arc::new(disk.clone()), Path::new("/one"), &initial, options).expect("a new log");
    let records = |index| {
        let payload = Payload::Normal(Bytes::from(vec![7; 600]));
        let append = vec![Entry { term: 1, index, payload }];
        Records::of(&Ready { append, ..Ready::default() })
    };
    for index in 1..=20 {
        wal.append(&[records(index)]).expect("room");
    }
    disk.set_room(Some(0));
    let ((jobs, queue), (inbox, told)) = (channel(), channel());
    let mut writer = Writer { wal, pending: VecDeque::new(), stuck: None };
    for index in 21..=25 {
        let last = Some((index, 1));
        let write = Write { batch: index, records: records(index), entries: 1, last, snapshot: None };
        jobs.send(Job::Write(write)).expect("it is waited for");
    }
    jobs.send(Job::Release(18)).expect("it is waited for");
    assert!(writer.turn(&queue, &inbox, false) && writer.stuck.is_some());
    assert!(matches!(told.try_recv(), Ok(Input::Log(LogNews::Waits(_)))));
    assert!(writer.turn(&queue, &inbox, false) && writer.stuck.is_none(), "nothing makes room");
    assert!(matches!(told.try_recv(), Ok(Input::Log(LogNews::GoesOn))));
    assert!(told.try_iter().any(|news| matches!(news, Input::Persisted(write) if write.batch == 25)));
}

#[test]
fn a_panic_of_the_log_s_thread_is_the_log_s_end() {
    let disk = SimDisk::default();
    let one = start(&disk, SnapshotPolicy::default(), false);
    disk.panic_on_write();
    let deadline = Instant::now() + PATIENCE;
    let failed = loop {
        one.driver.handle().propose(1, Bytes::from_static(b"a"));
        match one.news.recv_timeout(Duration::from_millis(5)) {
            Ok(news) => break news,
            Err(_) => assert!(Instant::now() < deadline, "no report came"),
        }
    };
    let LogNews::Failed(error) = failed else { panic!("it waits") };
    assert!(error.full_text().contains("panicked"), "{}", error.full_text());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let conf = one.driver.handle();
    let refused = runtime.block_on(conf.propose_conf(ConfChange::AddLearnerNode(7)));
    assert_eq!(refused, Err(ConfError::NotLeader), "nothing of it would reach a disk");
}

/// Remembers the threads that were in a span.
#[derive(Clone, Default)]
struct InSpan(Arc<Mutex<BTreeSet<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for InSpan {
    fn on_enter(&self, _: &tracing::span::Id, _: tracing_subscriber::layer::Context<'_, S>) {
        self.0.lock().extend(std::thread::current().name().map(String::from));
    }
}

/// `kubectl logs` of the store says that its disk is full: the span leads to the container's log.
#[test]
fn the_threads_of_a_member_log_in_the_span_in_which_it_was_started() {
    use tracing_subscriber::layer::SubscriberExt;
    let threads = InSpan::default();
    // With a single subscriber, tracing asks the thread that meets a place in the code first, which
    // may be another test's.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(threads.clone()));
    let policy = SnapshotPolicy { entries: 1, bytes: u64::MAX };
    let span = tracing::error_span!("component");
    let one = span.in_scope(|| start(&SimDisk::default(), policy, false));
    one.captures.recv_timeout(PATIENCE).expect("the first entry is worth a snapshot");
    one.driver.stop();
    let threads = threads.0.lock().clone();
    for name in ["raft", "wal", "snapshot"] {
        assert!(threads.contains(name), "{name} is none of {threads:?}");
    }
}

/// The owner of the member must learn of it, to start it again.
#[test]
fn the_end_of_the_member_s_thread_is_told() {
    let disk = SimDisk::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let one = start(&disk, SnapshotPolicy::default(), false);
    let ended = one.driver.ended();
    one.driver.stop();
    runtime.block_on(ended);
    let one = start(&disk, SnapshotPolicy::default(), false);
    let ended = one.driver.ended();
    let deadline = Instant::now() + PATIENCE;
    while one.driver.handle().propose(1, Bytes::from_static(POISON)) {
        assert!(Instant::now() < deadline, "it does not panic");
        std::thread::yield_now();
    }
    runtime.block_on(ended);
}

/// Only room is lost by it. A file system that copies on write needs room to delete a file.
#[test]
fn files_that_cannot_be_deleted_end_no_member() {
    let disk = SimDisk::default();
    let one = start(&disk, SnapshotPolicy { entries: 4, bytes: u64::MAX }, false);
    let handle = one.driver.handle();
    let snapshots =
        || disk.files().iter().filter(|path| path.extension().is_some_and(|e| e == "snap")).count();
    let deadline = Instant::now() + PATIENCE;
    let until = |what: &str, reached: &dyn Fn() -> bool| {
        while !reached() {
            assert!(Instant::now() < deadline, "{what}");
            handle.propose(1, Bytes::from(vec![7; 600]));
            std::thread::sleep(Duration::from_millis(1));
            let failed = one.news.try_iter().any(|news| matches!(news, LogNews::Failed(_)));
            assert!(!failed, "the log still can be written");
        }
    };
    disk.keep_files(true);
    until("no snapshots beside the first one", &|| snapshots() > 3);
    disk.keep_files(false);
    until("the old ones are not deleted when they can be", &|| snapshots() == 1);
}

#[test]
fn after_a_snapshot_whose_making_panics_the_next_one_is_made() {
    let disk = SimDisk::default();
    let one = start(&disk, SnapshotPolicy { entries: 1, bytes: u64::MAX }, true);
    one.captures.recv_timeout(PATIENCE).expect("the first entry is worth one");
    one.captures.recv_timeout(PATIENCE).expect("it is tried again");
}

/// A member that was away does not know a leader that joined meanwhile; only that leader can tell
/// it.
#[test]
fn a_leader_that_joined_meanwhile_is_heard_if_its_certificate_names_it() {
    let one = start(&SimDisk::default(), SnapshotPolicy::default(), false);
    let handle = one.driver.handle();
    let beat = |from| {
        let body = Body::MsgHeartbeat { commit: 0, read: 0 };
        Bytes::from(codec::encode_message(&Message { from, to: 1, term: 9, body }))
    };
    let stranger = |id| Err(fields::DecodeError::Impossible { what: "sender", value: id });
    assert_eq!(handle.deliver(beat(7)), stranger(7));
    assert_eq!(handle.deliver_from(8, beat(7)), stranger(7), "it speaks for another one");
    assert_eq!(handle.deliver(beat(7)), stranger(7));
    assert_eq!(handle.deliver_from(7, beat(7)), Ok(()));
}

#[test]
fn what_peers_say_waits_in_bounded_bytes() {
    let message = |body| Message { from: 2, to: 1, term: 1, body };
    let large = message(Body::MsgProp { data: Bytes::from(vec![0; PEER_BYTES / 4]) });
    let snapshot = message(Body::MsgSnap(SnapshotRef::default()));
    let waiting = PeersWaiting::default();
    for _ in 0..2 {
        assert_eq!((0..9).filter(|_| waiting.enter(&large)).count(), 4);
        assert!(!waiting.enter(&message(Body::MsgHeartbeat { commit: 0, read: 0 })));
        assert_eq!((0..9).filter(|_| waiting.enter(&snapshot)).count(), 1, "one, however much waits");
        (0..4).for_each(|_| waiting.leave(&large));
        waiting.leave(&snapshot);
    }
    let small = message(Body::MsgHeartbeat { commit: 0, read: 0 });
    assert_eq!((0..2 * PEER_QUEUE).filter(|_| waiting.enter(&small)).count(), PEER_QUEUE);
}

/// Tells who was sent something, and lets the first message wait.
struct Slow {
    sent: Mutex<mpsc::Sender<MemberId>>,
    go: Mutex<mpsc::Receiver<()>>,
}

impl Link for Slow {
    fn send(&self, to: MemberId, _: Bytes) {
        let _ = self.sent.lock().send(to);
        let _ = self.go.lock().recv();
    }
}

/// The edge of a member that has this snapshot on its disk.
fn edge_with(disk: &SimDisk, snapshot: &SnapshotRef, link: impl Link + 'static) -> RealEdge {
    let snap_dir = PathBuf::from("/one/snap");
    snapfile::save(disk, &snap_dir, snapshot).expect("room");
    RealEdge {
        jobs: channel().0,
        inbox: channel().0,
        link: Arc::new(link),
        lock: Arc::new(disk.lock(Path::new("/one/lock")).expect("free")),
        killed: Arc::default(),
        disk: Arc::new(disk.clone()),
        snap_dir,
        spawn: Box::new(|name: &str, work: Work| spawn_thread(name, work, &tracing::Span::none()).map(Some)),
        saving: None,
        sending: None,
        snapshots: Arc::default(),
    }
}

/// A leader's message for a member that is behind; the bytes of the snapshot are not in it yet.
fn wants(to: MemberId, term: Term, snapshot: &SnapshotRef) -> Message {
    let body = Body::MsgSnap(SnapshotRef { data: Bytes::new(), ..snapshot.clone() });
    Message { from: 1, to, term, body }
}

#[test]
fn a_snapshot_for_a_second_member_is_sent_when_the_first_one_is_on_its_way() {
    let disk = SimDisk::default();
    let snapshot = SnapshotRef { index: 5, term: 1, conf: ConfState::of([1, 2, 3]), data: "state".into() };
    let ((sent, told), (go, wait)) = (mpsc::channel(), mpsc::channel());
    let link = Slow { sent: Mutex::new(sent), go: Mutex::new(wait) };
    let mut edge = edge_with(&disk, &snapshot, link);
    let want = |to| wants(to, 1, &snapshot);
    edge.send(want(2));
    assert_eq!(told.recv_timeout(PATIENCE), Ok(2));
    edge.send(want(3));
    edge.send(want(3));
    drop(go);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(3));
    edge.sending.take().map(JoinHandle::join);
    assert!(told.try_recv().is_err(), "each is sent it once");
    edge.send(want(2));
    assert_eq!(told.recv_timeout(PATIENCE), Ok(2), "and once more when it is wanted again");
    edge.sending.take().map(JoinHandle::join);
}

/// The leader lost its post while its thread was busy, and has saved what the next leader wrote.
#[test]
fn a_snapshot_is_not_sent_in_a_message_of_an_earlier_term() {
    let disk = SimDisk::default();
    let old = SnapshotRef { index: 5, term: 1, conf: ConfState::of([1, 2, 3]), data: "state".into() };
    let newest = SnapshotRef { index: 9, term: 2, ..old.clone() };
    let ((sent, told), (_, wait)) = (mpsc::channel(), mpsc::channel());
    let mut edge = edge_with(&disk, &newest, Slow { sent: Mutex::new(sent), go: Mutex::new(wait) });
    edge.spawn = Box::new(|_: &str, work: Work| {
        work();
        Ok(None)
    });
    edge.send(wants(2, 1, &old));
    assert_eq!(told.try_iter().count(), 0, "its receiver would close the connection");
    edge.send(wants(2, 2, &newest));
    assert_eq!(told.try_recv(), Ok(2), "it leads again, and the thread is free");
}
