//! A member in the real world: one thread for the core, one for the log, and a link to the others.
//!
//! What the threads decide is in [`Run::turn`] and [`Writer::turn`]. Neither waits nor looks at a
//! clock, so `sim` takes turns with them in the order that a seed gives.

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

use super::codec;
use super::core::Config;
use super::disk::{DirLock, Disk, RealDisk};
use super::interface::ConfError;
use super::member::{Capture, Edge, Member, Persisted, SnapshotPolicy, StateMachine, Write, wants_data};
use super::message::{Body, ConfChange, ConfState, Index, MemberId, Message, Payload, SnapshotRef};
use super::snapfile;
use super::wal::{Wal, WalOptions};
use super::wal_error::WalError;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// A member among others: elections take 10 to 20 ticks (250 to 500 ms), heartbeats 2.
const TICK: Duration = Duration::from_millis(25);
/// A member alone has nobody to hear from.
const TICK_ALONE: Duration = Duration::from_millis(100);
/// How often a log that could not be written is tried again. Nobody tells when there is room, or a
/// descriptor.
pub(super) const ROOM_PERIOD: Duration = Duration::from_millis(250);
/// A group of this many bytes takes no further write before its sync. The last write that joined
/// may make it larger.
const GROUP_BYTES: usize = 4 << 20;
/// Messages from peers that may wait, and their bytes. More are dropped, as on a congested link;
/// Raft sends again. Of snapshots one may wait beside them, however large.
const PEER_QUEUE: usize = 4096;
const PEER_BYTES: usize = 64 << 20;

/// How messages leave a member. May lose, delay, duplicate and reorder them, and must not block.
/// Only a `MsgProp` must not arrive twice: it would be appended twice. (A stream that is cut loses
/// messages, but repeats none.)
pub trait Link: Send + Sync {
    /// Hands over one encoded message. What cannot be sent now is dropped: Raft repeats it.
    fn send(&self, to: MemberId, message: Bytes);
}

/// No peers.
pub struct NoLink;
impl Link for NoLink {
    fn send(&self, _: MemberId, _: Bytes) {}
}

/// Why a member did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log cannot be read or written, or is damaged.
    #[error(transparent)]
    Log(#[from] WalError),
    /// The lock of this directory is held.
    #[error("the directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The state machine refuses the snapshot that lies there.
    #[error("the snapshot in {} cannot be read: {why}", dir.display())]
    Snapshot {
        /// The member's directory.
        dir: PathBuf,
        /// The state machine's reason.
        why: String,
    },
    /// The machine has no room for another thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// What a member needs.
pub struct Options {
    /// This member's number, not 0.
    pub id: MemberId,
    /// `wal/` and `snap/` are made in here.
    pub dir: PathBuf,
    /// Who takes part, if this is a new member.
    pub initial: ConfState,
    /// Where election timeouts are drawn from.
    pub seed: u64,
    /// The way to the other members.
    pub link: Arc<dyn Link>,
    /// When a snapshot is made.
    pub policy: SnapshotPolicy,
    /// The sizes of the log's files.
    pub wal: WalOptions,
    /// The file system; tests have one of their own.
    pub disk: Arc<dyn Disk>,
}

impl Options {
    /// A member that has `dir` to itself, and no peers.
    pub fn alone(dir: &Path) -> Options {
        Options {
            id: 1,
            dir: dir.into(),
            initial: ConfState::of([1]),
            seed: 0,
            link: Arc::new(NoLink),
            policy: SnapshotPolicy::default(),
            wal: WalOptions::default(),
            disk: Arc::new(RealDisk::default()),
        }
    }
}

/// What a member's thread is told. Bounded by who tells: at most [`PEER_QUEUE`] messages of peers,
/// as many proposals and reads as the store lets wait (8192 for one handle), and one report for
/// each write, snapshot and change of membership that is under way.
enum Input {
    Propose { id: u64, data: Bytes },
    Read { ctx: u64 },
    Ask { ctx: u64, question: Bytes },
    Message(Message),
    Persisted(Persisted),
    Log(LogNews),
    SnapshotSaved(Option<SnapshotRef>),
    Transfer { to: MemberId },
    Conf { change: ConfChange, answer: oneshot::Sender<Result<Index, ConfError>> },
    Stop,
    Kill,
}

/// What the log's thread is given. A follower is sent no more than 256 messages of 1 MiB that it
/// has not made durable, and takes no second snapshot before the first is durable; a leader refuses
/// proposals while 64 MiB of entries are not durable and committed. So the bytes that wait here are
/// bounded, also while the disk is full.
enum Job {
    Write(Write),
    Release(Index),
}

/// What became of a member's log.
pub enum LogNews {
    /// It cannot be written just now, e.g. because there is no room, no descriptor is left, or no
    /// segment can be made. Nothing is lost: what was proposed waits, and is tried again until it
    /// is written. The error need not pass by itself: see [`Wal::may_retry`].
    Waits(WalError),
    /// It can be written again.
    GoesOn,
    /// It cannot be written any more, for good; proposals and reads are the machine's to end.
    Failed(WalError),
}

/// Hears of it.
pub type OnLogNews = Box<dyn FnMut(LogNews) + Send>;

/// What peers said and the member has not heard yet.
#[derive(Default)]
struct PeersWaiting {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    snapshots: AtomicUsize,
}

impl PeersWaiting {
    /// `false` if there is no room for this message.
    fn enter(&self, message: &Message) -> bool {
        if let Body::MsgSnap(_) = message.body {
            let entered = self.snapshots.fetch_add(1, Ordering::Relaxed) == 0;
            self.snapshots.fetch_sub(usize::from(!entered), Ordering::Relaxed);
            return entered;
        }
        let messages = self.messages.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.fetch_add(message.body.size(), Ordering::Relaxed);
        let entered = messages < PEER_QUEUE && bytes < PEER_BYTES;
        if !entered {
            self.leave(message);
        }
        entered
    }

    fn leave(&self, message: &Message) {
        if let Body::MsgSnap(_) = message.body {
            self.snapshots.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.messages.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(message.body.size(), Ordering::Relaxed);
    }
}

/// Calls a function if its thread panics: those that wait for the thread must learn that it is
/// gone.
struct OnPanic<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}

/// Speaks to a running member from any thread.
#[derive(Clone)]
pub struct Handle {
    inbox: Sender<Input>,
    peers_waiting: Arc<PeersWaiting>,
    me: MemberId,
    /// Every member that takes part or has ever, as far as is known here by the log or by a
    /// certificate.
    known: Arc<Mutex<BTreeSet<MemberId>>>,
}

impl Handle {
    fn meet(&self, conf: &ConfState) {
        let mut known = self.known.lock();
        known.extend(conf.voters.iter().chain(&conf.learners));
    }

    /// Is this from a member, to this one? What it says of who takes part is noted.
    fn admit(&self, message: &Message) -> Result<(), codec::DecodeError> {
        if message.to != self.me {
            return Err(codec::DecodeError::Impossible { what: "receiver", value: message.to });
        }
        if !self.known.lock().contains(&message.from) {
            return Err(codec::DecodeError::Impossible { what: "sender", value: message.from });
        }
        match &message.body {
            Body::MsgSnap(snapshot) => self.meet(&snapshot.conf),
            Body::MsgApp { entries, .. } => {
                for entry in entries {
                    if let Payload::ConfChange(conf) = &entry.payload {
                        self.meet(conf);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// `false` if the member is gone.
    pub fn propose(&self, id: u64, data: Bytes) -> bool {
        self.inbox.send(Input::Propose { id, data }).is_ok()
    }

    /// `false` if the member is gone.
    pub fn read(&self, ctx: u64) -> bool {
        self.inbox.send(Input::Read { ctx }).is_ok()
    }

    /// Asks the leader's state machine; see [`Member::ask_leader`]. `false` if the member is gone.
    pub fn ask(&self, ctx: u64, question: Bytes) -> bool {
        self.inbox.send(Input::Ask { ctx, question }).is_ok()
    }

    /// Takes bytes from a peer. While 4096 messages or 64 MiB wait, or a snapshot and this is
    /// another one, the message is dropped without an error, as on a congested link.
    ///
    /// # Errors
    /// Those of [`codec::decode_message`]; `Impossible` if the message is for another member, or if
    /// its sender is no member that is known here. The message is dropped.
    pub fn deliver(&self, bytes: Bytes) -> Result<(), codec::DecodeError> {
        self.take(codec::decode_message(bytes)?)
    }

    /// As [`Handle::deliver`], from a peer whose certificate says that it is the member `sender`: a
    /// member that was taken over speaks for no other. It need not take part as far as this
    /// member's log says: it may have joined, and lead, while this member was away.
    ///
    /// # Errors
    /// As there, and `Impossible` if the message names another sender.
    pub fn deliver_from(&self, sender: MemberId, bytes: Bytes) -> Result<(), codec::DecodeError> {
        let message = codec::decode_message(bytes)?;
        if message.from != sender {
            return Err(codec::DecodeError::Impossible { what: "sender", value: message.from });
        }
        self.meet(&ConfState::of([sender]));
        self.take(message)
    }

    fn take(&self, message: Message) -> Result<(), codec::DecodeError> {
        self.admit(&message)?;
        if self.peers_waiting.enter(&message) {
            let _ = self.inbox.send(Input::Message(message)); // a member that is gone counts nothing any more
        }
        Ok(())
    }

    /// Hands leadership over to the voter `to`. Does nothing if this member does not lead, or `to`
    /// is itself or no voter.
    pub fn transfer(&self, to: MemberId) {
        let _ = self.inbox.send(Input::Transfer { to }); // a member that is gone does not lead
    }

    /// Changes who takes part. Returns the entry's index; it is in force, but not yet committed.
    ///
    /// # Errors
    /// Those of [`Member::propose_conf`]; `NotLeader` also if this member has ended or its log has
    /// failed.
    pub async fn propose_conf(&self, change: ConfChange) -> Result<Index, ConfError> {
        let (answer, pending) = oneshot::channel();
        if let ConfChange::AddNode(id) | ConfChange::AddLearnerNode(id) = change {
            self.meet(&ConfState::of([id]));
        }
        let _ = self.inbox.send(Input::Conf { change, answer });
        pending.await.unwrap_or(Err(ConfError::NotLeader))
    }
}

/// The member's clock.
type Now = Box<dyn Fn() -> Duration + Send>;

/// What a thread does.
type Work = Box<dyn FnOnce() + Send>;

/// Starts a thread of this name. A simulation returns `None` and does the work when it is its turn.
type Spawn = Box<dyn Fn(&str, Work) -> std::io::Result<Option<JoinHandle<()>>> + Send>;

fn spawn_thread(name: &str, work: Work) -> std::io::Result<Option<JoinHandle<()>>> {
    std::thread::Builder::new().name(name.into()).spawn(work).map(Some)
}

/// A member whose log is open, without threads.
struct Opened<M> {
    run: Run<M>,
    inputs: Receiver<Input>,
    writer: Writer,
    queue: Receiver<Job>,
    handle: Handle,
    lock: Arc<DirLock>,
    killed: Arc<AtomicBool>,
    /// Where a torn tail was cut off, if there was one.
    torn: Option<(PathBuf, u64)>,
}

fn open<M: StateMachine>(
    options: Options,
    machine: M,
    on_news: OnLogNews,
    now: Now,
    spawn: Spawn,
) -> Result<Opened<M>, StartError> {
    let initial = SnapshotRef { conf: options.initial.clone(), ..SnapshotRef::default() };
    options.disk.create_dir(&options.dir).map_err(WalError::io("make the directory", &options.dir))?;
    let lock = Arc::new(lock(&*options.disk, &options.dir)?);
    let (wal, found) = Wal::open(options.disk.clone(), &options.dir, &initial, options.wal)?;
    let mut known: BTreeSet<MemberId> = BTreeSet::new();
    let confs = found.stored.entries.iter().filter_map(|e| match &e.payload {
        Payload::ConfChange(conf) => Some(conf),
        _ => None,
    });
    for conf in confs.chain([&found.stored.snapshot.conf, &initial.conf]) {
        known.extend(conf.voters.iter().chain(&conf.learners));
    }
    let config = Config { id: options.id, election_ticks: 10, heartbeat_ticks: 2, seed: options.seed };
    let member = Member::new(config, found.stored, machine, options.policy, now())
        .map_err(|why| StartError::Snapshot { dir: options.dir.clone(), why })?;
    let (inbox, inputs) = channel();
    let (jobs, queue) = channel();
    let peers_waiting = Arc::new(PeersWaiting::default());
    let handle = Handle {
        inbox: inbox.clone(),
        peers_waiting: peers_waiting.clone(),
        me: options.id,
        known: Arc::new(Mutex::new(known)),
    };
    let killed = Arc::new(AtomicBool::new(false));
    let edge = RealEdge {
        jobs,
        inbox,
        link: options.link,
        disk: options.disk,
        snap_dir: options.dir.join("snap"),
        lock: lock.clone(),
        killed: killed.clone(),
        spawn,
        saving: None,
        sending: None,
        wanted: Arc::default(),
    };
    let run = Run { member, edge, peers_waiting, now, on_news, failed: false };
    let writer = Writer { wal, held: VecDeque::new(), stuck: None };
    Ok(Opened { run, inputs, writer, queue, handle, lock, killed, torn: found.torn })
}

/// A member and its threads.
pub struct Driver {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
    /// Closed when the member's thread has ended.
    running: watch::Receiver<()>,
    /// Set by `kill`: each thread finishes the call to the system that it is in, and drops what
    /// waits.
    killed: Arc<AtomicBool>,
}

impl Driver {
    /// Opens the log and starts the threads. Returns where a torn tail was cut off (file and byte),
    /// if there was one.
    ///
    /// # Errors
    /// - `InUse` if another process has the directory: end it first.
    /// - `Log` if the log or a snapshot file is damaged, was written by a later version, or cannot
    ///   be read or written. The text says what to do about damage.
    /// - `Snapshot` if the state in the snapshot is none that the machine can read.
    /// - `Thread` if the system starts no more threads.
    pub fn start<M: StateMachine + 'static>(
        options: Options,
        machine: M,
        on_news: OnLogNews,
    ) -> Result<(Driver, Option<(PathBuf, u64)>), StartError> {
        let dir = options.dir.join("wal");
        let start = Instant::now();
        let (now, spawn) = (Box::new(move || start.elapsed()), Box::new(spawn_thread));
        let Opened { run, inputs, writer, queue, handle, lock, killed, torn } =
            open(options, machine, on_news, now, spawn)?;
        let spawn = |name: &str, f: Work| {
            std::thread::Builder::new().name(name.into()).spawn(f).map_err(StartError::Thread)
        };
        let (dead, inbox) = (killed.clone(), handle.inbox.clone());
        let write = move || {
            let _lock = lock; // dropped behind the log: until then this thread writes
            let ended = || {
                let cause = std::io::Error::other("its thread panicked");
                let _ = inbox.send(Input::Log(LogNews::Failed(WalError::io("write", &dir)(cause))));
            };
            let _ended = OnPanic(ended);
            write_log(writer, &queue, &inbox, &dead);
        };
        let writer = spawn("wal", Box::new(write))?;
        let (alive, running) = watch::channel(());
        let work = move || {
            let _alive = alive;
            run.run(&inputs);
        };
        let core = spawn("raft", Box::new(work))?;
        Ok((Driver { handle, threads: vec![core, writer], running, killed }, torn))
    }

    /// Returns a handle that speaks to this member.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until the member's thread has ended, be it by a stop, a kill or a panic. A member
    /// whose log has failed goes on.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut running = self.running.clone();
        async move { while running.changed().await.is_ok() {} }
    }

    /// Lets the log finish what it has been given, and waits for the threads.
    pub fn stop(mut self) {
        let _ = self.handle.inbox.send(Input::Stop); // a member that has ended needs no stop
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the raft member panicked");
            }
        }
    }

    /// Ends the member between two steps: nothing that waits is finished. Does not wait for the
    /// threads, which may be in a call to a slow disk, or to one that never answers: callers are
    /// tasks that share their thread with others. Until the last thread has ended the directory is
    /// in use.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.killed.store(true, Ordering::Release);
            let _ = self.handle.inbox.send(Input::Kill); // a member that has ended needs no kill
        }
    }
}

/// Two members on the same files would be the end of them.
fn lock(disk: &dyn Disk, dir: &Path) -> Result<DirLock, StartError> {
    let path = dir.join("lock");
    disk.lock(&path).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::WouldBlock => StartError::InUse(dir.into()),
        _ => WalError::io("lock", &path)(cause).into(),
    })
}

/// Snapshots that are to be sent, and whether a thread is at it.
#[derive(Default)]
struct Wanted {
    /// By receiver: the newest message replaces the one before.
    messages: BTreeMap<MemberId, Message>,
    served: bool,
}

/// The next snapshot to send. A function of its own, so that nobody holds the lock while it is
/// sent.
fn next_wanted(wanted: &Mutex<Wanted>) -> Option<Message> {
    let mut wanted = wanted.lock();
    let next = wanted.messages.pop_first().map(|(_, message)| message);
    wanted.served = next.is_some();
    next
}

struct RealEdge {
    jobs: Sender<Job>,
    inbox: Sender<Input>,
    link: Arc<dyn Link>,
    disk: Arc<dyn Disk>,
    snap_dir: PathBuf,
    /// Every thread that writes or reads in the directory holds the lock, so that it is let go when
    /// the last of them has ended.
    lock: Arc<DirLock>,
    /// Snapshots that wait are neither saved nor sent any more.
    killed: Arc<AtomicBool>,
    spawn: Spawn,
    saving: Option<JoinHandle<()>>,
    /// Reads snapshots and sends them, one after the other.
    sending: Option<JoinHandle<()>>,
    wanted: Arc<Mutex<Wanted>>,
}

impl RealEdge {
    /// A snapshot is read elsewhere: with a large state, heartbeats would be late. One that is
    /// lost, or cannot be read, is sent again when check-quorum rounds have passed in silence
    /// (`progress`): the leader is not told.
    fn send_snapshot(&mut self, message: Message) {
        let mut wanted = self.wanted.lock();
        wanted.messages.insert(message.to, message);
        if std::mem::replace(&mut wanted.served, true) {
            return;
        }
        drop(wanted);
        let (disk, dir, link) = (self.disk.clone(), self.snap_dir.clone(), self.link.clone());
        let (wanted, held, killed) = (self.wanted.clone(), self.lock.clone(), self.killed.clone());
        let send = move || {
            let _held = held;
            let _served = OnPanic(|| wanted.lock().served = false);
            while let Some(mut message) = next_wanted(&wanted).filter(|_| !killed.load(Ordering::Acquire)) {
                match (newest(&*disk, &dir), &mut message.body) {
                    // This member leads the message's term no longer. The receiver would refuse the
                    // message as impossible, and close the connection.
                    (Ok(Some(newest)), _) if newest.term > message.term => {}
                    (Ok(Some(newest)), Body::MsgSnap(snapshot)) => {
                        *snapshot = newest;
                        link.send(message.to, codec::encode_message(&message).into());
                    }
                    (Err(error), _) => {
                        tracing::warn!(error = %error.full_text(), "no snapshot for a member that is behind")
                    }
                    (Ok(_), _) => {}
                }
            }
        };
        match (self.spawn)("snapshot-send", Box::new(send)) {
            Ok(thread) => self.sending = thread,
            Err(e) => {
                self.wanted.lock().served = false;
                tracing::warn!(error = %e, "no thread for sending a snapshot");
            }
        }
    }
}

/// The newest snapshot. A newer one may replace it between the look at the directory and the
/// reading: then that one is read.
fn newest(disk: &dyn Disk, dir: &Path) -> Result<Option<SnapshotRef>, WalError> {
    let gone = |e: &WalError| matches!(e, WalError::Io { cause, .. } if cause.kind() == std::io::ErrorKind::NotFound);
    match snapfile::load(disk, dir) {
        Err(e) if gone(&e) => snapfile::load(disk, dir),
        loaded => loaded,
    }
}

impl Edge for RealEdge {
    fn write(&mut self, write: Write) {
        let _ = self.jobs.send(Job::Write(write)); // after a failure nobody writes, and nobody is told that it is durable
    }

    fn send(&mut self, message: Message) {
        if wants_data(&message) {
            return self.send_snapshot(message);
        }
        self.link.send(message.to, codec::encode_message(&message).into());
    }

    fn snapshot(&mut self, snapshot: SnapshotRef, capture: Capture) {
        let (disk, dir, inbox) = (self.disk.clone(), self.snap_dir.clone(), self.inbox.clone());
        let (held, killed) = (self.lock.clone(), self.killed.clone());
        let save = move || {
            let _held = held;
            let _failed = OnPanic(|| {
                let _ = inbox.send(Input::SnapshotSaved(None)); // else none would be made any more
            });
            let full = SnapshotRef { data: capture().into(), ..snapshot.clone() };
            if killed.load(Ordering::Acquire) {
                return;
            }
            let saved = match snapfile::save(&*disk, &dir, &full) {
                Ok(()) => Some(snapshot),
                Err(e) => {
                    // The log still has everything, so this is no reason to stop.
                    tracing::warn!(error = %e.full_text(), "no snapshot");
                    None
                }
            };
            let _ = inbox.send(Input::SnapshotSaved(saved)); // the member may have stopped meanwhile
        };
        match (self.spawn)("snapshot", Box::new(save)) {
            Ok(thread) => self.saving = thread,
            Err(e) => {
                tracing::warn!(error = %e, "no thread for a snapshot");
                let _ = self.inbox.send(Input::SnapshotSaved(None));
            }
        }
    }

    fn release(&mut self, upto: Index) {
        let _ = self.jobs.send(Job::Release(upto));
    }
}

struct Run<M> {
    member: Member<M>,
    edge: RealEdge,
    peers_waiting: Arc<PeersWaiting>,
    now: Now,
    on_news: OnLogNews,
    /// The log cannot be written any more.
    failed: bool,
}

enum Flow {
    Go,
    Stop,
    Kill,
}

impl<M: StateMachine> Run<M> {
    fn run(mut self, inputs: &Receiver<Input>) {
        self.pump();
        let mut next_tick = Instant::now() + self.tick();
        let end = loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            let first = match inputs.recv_timeout(wait) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break Flow::Kill,
            };
            // What came meanwhile is handled together with the first input, and shares one write to
            // the log.
            let more = if first.is_some() { 4096 } else { 0 };
            let now = Instant::now();
            let tick = now >= next_tick;
            if tick {
                next_tick = now + self.tick(); // ticks that were missed are not made up for: nobody was late but us
            }
            match self.turn(first.into_iter().chain(inputs.try_iter().take(more)), tick) {
                Flow::Go => {}
                end => break end,
            }
        };
        self.end(&end);
    }

    /// Handles what has come, then lets a tick pass if one is due, then does what follows of it.
    fn turn(&mut self, inputs: impl Iterator<Item = Input>, tick: bool) -> Flow {
        for input in inputs {
            match self.handle(input) {
                Flow::Go => {}
                end => return end,
            }
        }
        if tick && !self.failed {
            self.member.tick((self.now)());
        }
        self.pump();
        Flow::Go
    }

    fn end(mut self, how: &Flow) {
        if matches!(how, Flow::Stop) {
            self.pump();
        }
        let Run { edge, member, .. } = self;
        let threads = [edge.saving, edge.sending];
        drop(member); // callers that wait learn that there will be no answer
        drop(edge.jobs);
        for thread in threads.into_iter().flatten() {
            let _ = thread.join();
        }
    }

    /// A member whose disk failed neither promises nor applies anything any more.
    fn pump(&mut self) {
        if !self.failed {
            self.member.pump((self.now)(), &mut self.edge);
        }
    }

    fn tick(&self) -> Duration {
        match self.member.core().only_voter() {
            true => TICK_ALONE,
            false => TICK,
        }
    }

    fn handle(&mut self, input: Input) -> Flow {
        match input {
            Input::Stop => return Flow::Stop,
            Input::Kill => return Flow::Kill,
            Input::Log(news) => {
                match &news {
                    LogNews::Waits(error) if error.no_space() => {
                        tracing::error!(error = %error.full_text(), "the disk is full; this member takes no writes until there is room");
                    }
                    LogNews::Waits(error) => {
                        tracing::error!(error = %error.full_text(), "the log cannot be written now; this member takes no writes, and tries again");
                    }
                    LogNews::GoesOn => {
                        tracing::info!("the log can be written again; this member takes writes")
                    }
                    LogNews::Failed(error) => {
                        tracing::error!(error = %error.full_text(), "the log cannot be written; this member takes no more writes");
                        self.failed = true;
                    }
                }
                (self.on_news)(news);
                if self.failed {
                    self.member.give_up((self.now)());
                }
            }
            Input::Message(message) => {
                self.peers_waiting.leave(&message);
                if !self.failed {
                    self.member.step(message);
                }
            }
            Input::Propose { id, .. } if self.failed => self.member.machine().refused(id),
            Input::Read { ctx } if self.failed => self.member.machine().read(ctx, false),
            Input::Ask { ctx, .. } if self.failed => self.member.machine().answered(ctx, None),
            Input::Conf { answer, .. } if self.failed => {
                let _ = answer.send(Err(ConfError::NotLeader)); // the caller may have left
            }
            Input::Persisted(_) | Input::Transfer { .. } if self.failed => {}
            Input::Propose { id, data } => self.member.propose(id, data),
            Input::Read { ctx } => self.member.read(ctx),
            Input::Ask { ctx, question } => self.member.ask_leader(ctx, question, (self.now)()),
            Input::Persisted(write) => self.member.persisted(&write, (self.now)(), &mut self.edge),
            Input::SnapshotSaved(snapshot) => self.member.snapshot_saved(snapshot, &mut self.edge),
            Input::Transfer { to } => self.member.transfer(to),
            Input::Conf { change, answer } => {
                let _ = answer.send(self.member.propose_conf(change)); // the caller may have left
            }
        }
        Flow::Go
    }
}

/// The log's thread: takes all that is queued, writes once, syncs once, reports.
fn write_log(mut writer: Writer, queue: &Receiver<Job>, inbox: &Sender<Input>, killed: &AtomicBool) {
    loop {
        let mut last = false;
        if writer.stuck.is_some() {
            let again = Instant::now() + ROOM_PERIOD;
            last = loop {
                match queue.recv_timeout(again.saturating_duration_since(Instant::now())) {
                    Ok(job) => writer.held.push_back(job),
                    Err(end) => break end == RecvTimeoutError::Disconnected,
                }
            };
        } else if writer.held.is_empty() {
            match queue.recv() {
                Ok(job) => writer.held.push_back(job),
                Err(_) => return,
            }
        }
        // What waits stays undone when the member was killed, also when there is room by now.
        if killed.load(Ordering::Acquire) || !writer.turn(queue, inbox, last) {
            return;
        }
    }
}

/// What the log's thread knows.
struct Writer {
    wal: Wal,
    /// Jobs that were taken from the queue and not begun, in order.
    held: VecDeque<Job>,
    /// A group that could not be written, and of which nothing is lost; and what was told of it. It
    /// is written before anything else is. Only releases do not wait for it.
    stuck: Option<(Vec<Write>, String)>,
}

impl Writer {
    /// Does the next job, together with all that can share its sync; or tries again what is stuck.
    /// `last`: the member stops, so it is tried only once more. Returns whether the log can be
    /// written on.
    fn turn(&mut self, queue: &Receiver<Job>, inbox: &Sender<Input>, last: bool) -> bool {
        if self.stuck.is_some() && !self.release_waiting(queue, inbox) {
            return false;
        }
        let (group, told) = match self.stuck.take() {
            Some((group, told)) => (group, Some(told)),
            None => match self.held.pop_front().or_else(|| queue.try_recv().ok()) {
                Some(Job::Write(first)) => (self.group(first, queue), None),
                Some(Job::Release(upto)) => return self.release(upto, inbox),
                None => return true,
            },
        };
        // The member may have been killed meanwhile, and hear none of this.
        let tell = |news| drop(inbox.send(news));
        match write_group(&mut self.wal, &group) {
            Ok(persisted) => {
                told.into_iter().for_each(|_| tell(Input::Log(LogNews::GoesOn)));
                tell(Input::Persisted(persisted));
                true
            }
            Err(error) if self.wal.may_retry(&error) && !last => {
                let why = error.full_text();
                if told.is_none_or(|told| told != why) {
                    tell(Input::Log(LogNews::Waits(error)));
                }
                self.stuck = Some((group, why));
                true
            }
            // Never retried: after a failed sync nobody knows what is on the disk.
            Err(error) => {
                tell(Input::Log(LogNews::Failed(error)));
                false
            }
        }
    }

    /// Whatever waits and can share the sync of `first`.
    fn group(&mut self, first: Write, queue: &Receiver<Job>) -> Vec<Write> {
        let mut group = vec![first];
        while group[group.len() - 1].snapshot.is_none() && bytes(&group) < GROUP_BYTES {
            match self.held.pop_front().or_else(|| queue.try_recv().ok()) {
                // a snapshot comes before its records, and after those of others
                Some(Job::Write(write)) if write.snapshot.is_none() => group.push(write),
                Some(other) => {
                    self.held.push_front(other);
                    break;
                }
                None => break,
            }
        }
        group
    }

    /// Does the releases that wait behind a stuck group: the files that they delete may take the
    /// room that the group waits for. Each speaks of a durable snapshot and of closed segments
    /// only, of which the log keeps its last batch until the group is written; and the newest
    /// includes the others. Returns whether the log can be written on.
    fn release_waiting(&mut self, queue: &Receiver<Job>, inbox: &Sender<Input>) -> bool {
        self.held.extend(queue.try_iter());
        let mut newest = None;
        self.held.retain(|job| match job {
            Job::Release(upto) => {
                newest = newest.max(Some(*upto));
                false
            }
            Job::Write(_) => true,
        });
        newest.is_none_or(|upto| self.release(upto, inbox))
    }

    fn release(&mut self, upto: Index, inbox: &Sender<Input>) -> bool {
        let Err(error) = self.wal.release(upto) else { return true };
        if self.wal.sound() {
            tracing::warn!(error = %error.full_text(), "old parts of the log stay until the next snapshot");
            return true;
        }
        let _ = inbox.send(Input::Log(LogNews::Failed(error))); // the member may have been killed meanwhile
        false
    }
}

fn bytes(group: &[Write]) -> usize {
    group.iter().map(|w| w.records.size()).sum()
}

pub(super) fn write_group(wal: &mut Wal, group: &[Write]) -> Result<Persisted, WalError> {
    let start = Instant::now();
    for snapshot in group.iter().filter_map(|w| w.snapshot.as_ref()) {
        wal.save_snapshot(snapshot)?;
    }
    wal.append(group.iter().map(|w| &w.records))?;
    Ok(Persisted {
        batch: group.last().map_or(0, |w| w.batch),
        entries: group.iter().map(|w| w.entries).sum(),
        last: group.iter().rev().find_map(|w| w.last),
        bytes: bytes(group),
        took: start.elapsed(),
    })
}
