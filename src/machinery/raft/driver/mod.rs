//! A member in the real world: one thread for the core, one for the log, and a link to the others.
//!
//! The decisions of the threads are in [`Run::turn`] and [`Writer::turn`]. Neither of them waits or
//! decides by a clock, so `sim` takes turns with them in the order that a seed gives.

mod edge;
mod handle;
mod run;
mod writer;

pub use handle::Handle;
#[cfg(any(test, feature = "testing"))]
pub(super) use writer::write_group;

use super::core::Config;
use super::disk::{DirLock, Disk, RealDisk};
use super::interface::ConfError;
use super::member::{Member, Persisted, SnapshotPolicy, StateMachine, Write};
use super::message::{ConfChange, ConfState, Index, MemberId, Message, Payload, SnapshotRef};
use super::wal::{Wal, WalOptions};
use super::wal_error::WalError;
use bytes::Bytes;
use edge::RealEdge;
use handle::PeersWaiting;
use parking_lot::Mutex;
use run::Run;
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use writer::{Writer, write_log};

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

/// A member among others: elections take 10 to 20 ticks (250 to 500 ms), heartbeats 2.
const TICK: Duration = Duration::from_millis(25);
const ELECTION_TICKS: u32 = 10;
/// The shortest time without a leader after which a member among others asks for an election.
pub const ELECTION_TIMEOUT: Duration = TICK.saturating_mul(ELECTION_TICKS);
/// The only voter needs no heartbeats, and sends them to learners only.
const TICK_ALONE: Duration = Duration::from_millis(100);
/// How often a log that could not be written is tried again: the system does not report when there
/// is room, or a descriptor, again.
pub(super) const ROOM_PERIOD: Duration = Duration::from_millis(250);
/// A group of this many bytes takes no further write before its sync. The last write that joined
/// may make it larger.
const GROUP_BYTES: usize = 4 << 20;
/// Messages from peers that may wait, and their bytes. More are dropped, as on a congested link;
/// Raft sends again. Of snapshots one may wait beside them, however large.
const PEER_QUEUE: usize = 4096;
const PEER_BYTES: usize = 64 << 20;

/// Carries messages to other members. It may lose, delay, duplicate and reorder them, and must not
/// block. Only a `MsgProp` must not arrive twice: it would be appended twice. (A stream that is cut
/// loses messages, but repeats none.)
pub trait Link: Send + Sync {
    /// Hands over one encoded message. What cannot be sent now is dropped: Raft repeats it.
    fn send(&self, to: MemberId, message: Bytes);
}

/// No peers.
pub struct NoLink;

impl Link for NoLink {
    fn send(&self, _: MemberId, _: Bytes) {}
}

/// The error of a member that did not start.
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
    /// The first configuration has no voter. Such a log would be refused as damaged at the next
    /// start.
    #[error("the first configuration names no voter, so nothing could ever be committed")]
    NoVoter,
    /// The machine has no room for another thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// Settings of a member, and its ways to the disk and to its peers.
pub struct Options {
    /// This member's number, not 0.
    pub id: MemberId,
    /// `wal/` and `snap/` are made in here.
    pub dir: PathBuf,
    /// The first configuration, for a new member; at least one voter.
    pub initial: ConfState,
    /// The seed of the election timeouts.
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

/// An input of a member's thread. Its senders bound the queue: at most [`PEER_QUEUE`] messages of
/// peers, as many proposals and reads as the store lets wait (8192 for one handle), and one report
/// for each write, snapshot and change of membership that is under way.
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

/// A job of the log's thread. A follower is sent no more than 256 messages of 1 MiB that it has not
/// made durable, and takes no second snapshot before the first is durable; a leader refuses
/// proposals while 64 MiB of entries are not durable and committed. So the bytes that wait here are
/// bounded, also while the disk is full.
enum Job {
    Write(Write),
    Release(Index),
}

/// A change of the state of a member's log.
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

/// Called on the member's thread with each change of its log's state.
pub type OnLogNews = Box<dyn FnMut(LogNews) + Send>;

/// Calls a function if its thread panics, so that the other threads do not wait for it.
struct OnPanic<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}

/// The member's clock.
type Now = Box<dyn Fn() -> Duration + Send>;
/// The function that a thread runs.
type Work = Box<dyn FnOnce() + Send>;
/// Starts a thread of this name. A simulation returns `None` and does the work when it is its turn.
type Spawn = Box<dyn Fn(&str, Work) -> std::io::Result<Option<JoinHandle<()>>> + Send>;

/// Starts a thread that logs in this span: in the log of the member's component.
fn spawn_thread(name: &str, work: Work, span: &tracing::Span) -> std::io::Result<JoinHandle<()>> {
    let span = span.clone();
    std::thread::Builder::new().name(name.into()).spawn(move || span.in_scope(work))
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
    /// File and byte at which a torn tail was cut off, if there was one.
    torn: Option<(PathBuf, u64)>,
}

fn open<M: StateMachine>(
    options: Options,
    machine: M,
    on_news: OnLogNews,
    now: Now,
    spawn: Spawn,
) -> Result<Opened<M>, StartError> {
    if options.initial.voters.is_empty() {
        return Err(StartError::NoVoter);
    }
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
    let config =
        Config { id: options.id, election_ticks: ELECTION_TICKS, heartbeat_ticks: 2, seed: options.seed };
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
        snapshots: Arc::default(),
    };
    let run = Run { member, edge, peers_waiting, now, on_news, failed: false };
    let writer = Writer { wal, pending: VecDeque::new(), stuck: None };
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
    /// Opens the log and starts the threads, which log in the caller's span. Returns where a torn
    /// tail was cut off (file and byte), if there was one.
    ///
    /// # Errors
    /// - `InUse` if another process has the directory: end it first.
    /// - `Log` if the log or a snapshot file is damaged, was written by a later version, or cannot
    ///   be read or written. The text says what to do about damage.
    /// - `NoVoter` if the options name none; nothing is written.
    /// - `Snapshot` if the state in the snapshot is none that the machine can read.
    /// - `Thread` if the system starts no more threads.
    pub fn start<M: StateMachine + 'static>(
        options: Options,
        machine: M,
        on_news: OnLogNews,
    ) -> Result<(Driver, Option<(PathBuf, u64)>), StartError> {
        let dir = options.dir.join("wal");
        let (start, span) = (Instant::now(), tracing::Span::current());
        let now = Box::new(move || start.elapsed());
        let of_edge = span.clone();
        let spawn = Box::new(move |name: &str, work: Work| spawn_thread(name, work, &of_edge).map(Some));
        let Opened { run, inputs, writer, queue, handle, lock, killed, torn } =
            open(options, machine, on_news, now, spawn)?;
        let spawn = |name: &str, work: Work| spawn_thread(name, work, &span).map_err(StartError::Thread);
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

/// Locks a member's directory: two members would overwrite each other's files.
fn lock(disk: &dyn Disk, dir: &Path) -> Result<DirLock, StartError> {
    let path = dir.join("lock");
    disk.lock(&path).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::WouldBlock => StartError::InUse(dir.into()),
        _ => WalError::io("lock", &path)(cause).into(),
    })
}
