//! A member of the store: data directory, Raft, keys.

use super::api::Error;
use super::applier::Applier;
use super::command::{self, Command};
use super::kv::Kv;
use super::machine::{Outcome, Shared};
use super::member::{Backend, Pending, Status, member_id};
use super::question::Question;
use super::waiting::Waiting;
use bytes::Bytes;
use futures::future::BoxFuture; // compiled in this room once, not in each that awaits it
use parking_lot::Mutex;
use raft::disk::{Disk, RealDisk};
use raft::driver::{self, Driver, Handle, Link, LogNews, NoLink, Options};
use raft::member::SnapshotPolicy;
use raft::wal::WalOptions;
use raft::wal_error::WalError;
use raft::{ConfState, MemberId};
use rng::Rng;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tap::{Component, Event, Record, Tap};
use tokio::sync::watch;

/// etcd's default `--quota-backend-bytes`.
const QUOTA: u64 = 2 << 30;
/// The part of the memory that the stores of all members in this program may fill: an API server
/// keeps each object parsed, which takes several times its bytes, and containers need the rest.
const QUOTA_PART: u64 = 16;
/// The quota on a machine with little memory: a cluster without it is of no use.
const QUOTA_LEAST: u64 = 64 << 20;

/// Returns the quota of each of `members` members that share `memory` bytes; `None` if the memory
/// is not known. etcd keeps its data in a file and has the same quota everywhere; this store is in
/// memory.
///
/// Example: 16 GiB give one member 1 GiB, and three members 341 MiB each.
pub fn quota_for(memory: Option<u64>, members: usize) -> u64 {
    let members = u64::try_from(members).unwrap_or(u64::MAX).max(1);
    memory.map_or(QUOTA, |bytes| (bytes / QUOTA_PART / members).clamp(QUOTA_LEAST, QUOTA))
}

/// A stopping leader waits this long for its heir.
const HAND_OVER: Duration = Duration::from_millis(500);

/// The settings of a member.
pub struct Config {
    /// e.g. `ropewalk-control-plane`.
    pub name: String,
    /// `member/wal` and `member/snap` are made in here.
    pub data_dir: PathBuf,
    /// Names of all members of a new cluster, this one included. A member that has data ignores it.
    pub initial_cluster: Vec<String>,
    /// Where the member records what it does.
    pub tap: Tap,
    /// Where election timeouts and lease ids are drawn from.
    pub rng: Rng,
    /// How to reach the other members; `None` for a member that is alone.
    pub link: Option<Arc<dyn Link>>,
    /// Bytes of the store ([`Status::db_size`]) above which puts are refused with `NoSpace`.
    pub quota_bytes: u64,
    /// When a snapshot is made and the log before it dropped.
    pub snapshots: SnapshotPolicy,
    /// The sizes of the log's files.
    pub wal: WalOptions,
    /// The file system; tests have one of their own.
    pub disk: Arc<dyn Disk>,
}

impl Config {
    /// Makes the settings of a cluster of this one member.
    pub fn new(name: &str, data_dir: impl Into<PathBuf>, tap: Tap, rng: Rng) -> Config {
        Config {
            name: name.into(),
            data_dir: data_dir.into(),
            initial_cluster: vec![name.into()],
            tap,
            rng,
            link: None,
            quota_bytes: QUOTA,
            snapshots: SnapshotPolicy::default(),
            wal: WalOptions::default(),
            disk: Arc::new(RealDisk::default()),
        }
    }
}

/// The reason for which a member did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log, its directory or the snapshot cannot be used.
    #[error(transparent)]
    Member(#[from] driver::StartError),
    /// The cluster's members do not include this one.
    #[error("member {name} is not in the initial cluster {cluster:?}")]
    NotAMember {
        /// This member's name.
        name: String,
        /// The names that were given.
        cluster: Vec<String>,
    },
    /// Numbers are made from names, and these two names give one number.
    #[error("members {0} and {1} have the same number; rename one")]
    SameNumber(String, String),
    /// Its first read got no answer in time, e.g. on a full disk. The data are as they were.
    #[error("the member ended while it started: {0}")]
    Ended(Error),
    /// Its log could not be written while it started.
    #[error("the member's log failed while it started: {0}")]
    Failed(Error),
}

/// Returns the names of a cluster's members by their numbers.
///
/// # Errors
/// `SameNumber` if two names have the same [`member_id`].
fn by_number(cluster: &[String]) -> Result<BTreeMap<MemberId, String>, StartError> {
    let mut names: BTreeMap<MemberId, String> = BTreeMap::new();
    for member in cluster {
        if let Some(other) = names.insert(member_id(member), member.clone())
            && other != *member
        {
            return Err(StartError::SameNumber(other, member.clone()));
        }
    }
    Ok(names)
}

/// Records what happened to the log, and lets the callers' writes wait, go on or fail by it.
fn handle_log_news(news: LogNews, callers: &Waiting, tap: &Tap) {
    let why = |error: &WalError| match error.no_space() {
        true => Error::NoSpace,
        false => Error::Disk { cause: error.full_text() },
    };
    let full = callers.writes_refused() == Some(Error::NoSpace);
    tap.emit(Record::new(match &news {
        LogNews::Waits(error) if error.no_space() => Event::DiskFull { error: error.full_text() },
        LogNews::Waits(error) => Event::LogWaits { error: error.full_text() },
        LogNews::GoesOn if full => Event::DiskHasRoom {},
        LogNews::GoesOn => Event::LogGoesOn {},
        LogNews::Failed(error) => Event::DiskFailed { error: error.full_text() },
    }));
    match news {
        LogNews::Waits(error) => callers.pause(Some(why(&error))),
        LogNews::GoesOn => callers.pause(None),
        LogNews::Failed(error) => callers.fail(why(&error)),
    }
}

/// A running member. Dropping it is [`Server::kill`].
pub struct Server {
    kv: Kv,
    handle: Handle,
    /// The leader's number, 0 if there is none.
    leader: watch::Receiver<u64>,
    /// Why the member takes no more writes, for good.
    failure: watch::Receiver<Option<Error>>,
    driver: Mutex<Option<Driver>>,
    tap: Tap,
}

impl Server {
    /// Opens the data and starts the member. One that is alone answers requests when this returns;
    /// others do when a majority has started.
    ///
    /// # Errors
    /// - `NotAMember` if the initial cluster does not name this member.
    /// - `SameNumber` if two names there have the same [`member_id`].
    /// - `Member` if the directory is in use by another process, or a file in it cannot be read or
    ///   written (the text names it), or no thread can be started.
    /// - `Ended` if the only member did not answer its first read in 6 s, e.g. with `NoSpace` on a
    ///   full disk, or if the program is about to end.
    /// - `Failed` if the only member's log failed for good before that read was answered, e.g. at a
    ///   sync. `Ended` says nothing about the data; after `Failed` it is not known what of the last
    ///   write is on the disk.
    pub fn start(config: Config) -> BoxFuture<'static, Result<Server, StartError>> {
        Box::pin(Server::open(config))
    }

    async fn open(config: Config) -> Result<Server, StartError> {
        let Config { name, initial_cluster, tap, rng, link, .. } = config;
        if !initial_cluster.contains(&name) {
            return Err(StartError::NotAMember { name, cluster: initial_cluster });
        }
        let names = by_number(&initial_cluster)?;
        let (me, tap) = (member_id(&name), tap.at(&name, Component::Etcd));
        let shared = Arc::new(Shared::new());
        // The log may still have requests of an earlier run. Their numbers must differ from those
        // of this run: a caller would get the answer to another request.
        let first_request = rng.u64() ^ clock::now().as_nanosecond() as u64 ^ me;
        let waiting = Arc::new(Waiting::new(first_request, &name));
        let mut applier = Applier::new(shared.clone(), waiting.clone(), tap.clone(), names.clone(), me);
        applier.election = driver::ELECTION_TIMEOUT;
        let options = Options {
            id: me,
            dir: config.data_dir.join("member"),
            initial: ConfState::of(names.keys().copied()),
            seed: rng.u64(),
            link: link.unwrap_or_else(|| Arc::new(NoLink)),
            policy: config.snapshots,
            wal: config.wal,
            disk: config.disk,
        };
        let (callers, records) = (waiting.clone(), tap.clone());
        let on_news = Box::new(move |news: LogNews| handle_log_news(news, &callers, &records));
        let span = tracing::Span::current(); // of the component: the member's threads log in it
        let start = move || span.in_scope(|| Driver::start(options, applier, on_news));
        let opened = tokio::task::spawn_blocking(start).await;
        let (driver, torn) = match opened {
            Ok(opened) => opened?,
            Err(_) => return Err(StartError::Ended(Error::Stopped)), // the runtime is shutting down
        };
        if let Some((path, offset)) = torn {
            tracing::info!(path = %path.display(), offset, "cut a torn tail off the log: the last write was interrupted");
            tap.emit(Record::new(Event::CutTornTail { path: path.display().to_string(), offset }));
        }
        let handle = driver.handle();
        let (leader, failure) = (waiting.leader(), waiting.failure());
        let backend = Arc::new(Member { waiting: waiting.clone(), door: handle.clone() });
        let kv = Kv::new(shared, backend, rng.fork("leases"), config.quota_bytes);
        let server = Server { kv, handle, leader, failure, driver: Mutex::new(Some(driver)), tap };
        if initial_cluster.len() == 1 {
            // A fault of the disk says more than that the read has timed out.
            let why = |error| match waiting.failed() {
                Some(failed) => StartError::Failed(failed),
                None => StartError::Ended(server.kv.status().refuses.unwrap_or(error)),
            };
            server.kv.read_barrier().await.map_err(why)?;
        }
        Ok(server)
    }

    /// Returns a client of this member.
    pub fn kv(&self) -> Kv {
        self.kv.clone()
    }

    /// Returns where the member records what it does.
    pub(crate) fn tap(&self) -> Tap {
        self.tap.clone()
    }

    /// Returns the door for messages from peers, leadership transfer and membership changes.
    pub fn raft(&self) -> Handle {
        self.handle.clone()
    }

    fn take(&self) -> Option<Driver> {
        self.driver.lock().take()
    }

    /// Waits until the member has ended. Unless it was stopped or killed, one of its threads has
    /// panicked: it has to be started again.
    pub fn ended(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let ended = self.driver.lock().as_ref().map(Driver::ended);
            if let Some(ended) = ended {
                ended.await;
            }
        })
    }

    /// Waits until the member's log has failed for good, and returns why. The member neither writes
    /// nor leads any more: etcd ends here. Start it again to see what is on the disk.
    pub fn failed(&self) -> BoxFuture<'_, Error> {
        let mut failure = self.failure.clone();
        Box::pin(async move {
            let failed = failure.wait_for(Option::is_some).await.ok().and_then(|error| error.clone());
            match failed {
                Some(error) => error,
                None => std::future::pending().await, // the member is gone, and failed in no write
            }
        })
    }

    /// Hands leadership over before this leader stops, as etcd does: the others need not notice its
    /// silence.
    async fn hand_over(&self) {
        let status = self.kv.status();
        if !status.is_leader || status.heir == 0 {
            return;
        }
        let mut leader = self.leader.clone();
        let me = *leader.borrow_and_update();
        self.handle.transfer(status.heir);
        let changed = leader.wait_for(|now| *now != me && *now != 0);
        let _ = tokio::time::timeout(HAND_OVER, changed).await; // there may be no member to take it
    }

    /// Hands leadership over, finishes what the log was given, ends watches and waiting requests
    /// with `Stopped`, frees the directory.
    pub fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.hand_over().await;
            if let Some(driver) = self.take() {
                let span = tracing::Span::current();
                let stop = move || span.in_scope(|| driver.stop());
                let _ = tokio::task::spawn_blocking(stop).await; // fails only with the runtime
            }
        })
    }

    /// Ends the member without finishing anything, as `kill -9` would. Returns at once: its threads
    /// may be in a call to the disk, and the directory is in use until the last of them has ended.
    pub fn kill(&self) {
        if let Some(driver) = self.take() {
            driver.kill();
        }
    }
}

/// The way of requests into a member: its thread's inbox, or a simulation's.
pub(super) trait Door: Send + Sync {
    /// Proposes a command for the log. Returns `false` if the member is gone.
    fn propose(&self, id: u64, data: Bytes) -> bool;
    /// Begins a linearizable read. Returns `false` if the member is gone.
    fn read(&self, ctx: u64) -> bool;
    /// Asks the leader. Returns `false` if the member is gone.
    fn ask(&self, ctx: u64, question: Bytes) -> bool;
}

impl Door for Handle {
    fn propose(&self, id: u64, data: Bytes) -> bool {
        Handle::propose(self, id, data)
    }
    fn read(&self, ctx: u64) -> bool {
        Handle::read(self, ctx)
    }
    fn ask(&self, ctx: u64, question: Bytes) -> bool {
        Handle::ask(self, ctx, question)
    }
}

/// The way to a member.
pub(super) struct Member<D> {
    pub waiting: Arc<Waiting>,
    pub door: D,
}

impl<D: Door> Backend for Member<D> {
    fn propose(&self, command: &Command) -> Result<Pending<Outcome>, Error> {
        if let Some(error) = self.waiting.writes_refused() {
            return Err(error);
        }
        let (id, pending) = self.waiting.proposal()?;
        match self.door.propose(id, command::encode(id, command)) {
            true => Ok(pending),
            false => Err(Error::Stopped),
        }
    }

    fn read_barrier(&self) -> Result<Option<Pending<()>>, Error> {
        if self.waiting.local_reads() {
            return Ok(None);
        }
        if let Some(error) = self.waiting.failed() {
            return Err(error);
        }
        let (ctx, pending) = self.waiting.read()?;
        match self.door.read(ctx) {
            true => Ok(Some(pending)),
            false => Err(Error::Stopped),
        }
    }

    fn ask(&self, question: &Question) -> Result<Pending<Option<Bytes>>, Error> {
        let (ctx, pending) = self.waiting.question()?;
        match self.door.ask(ctx, question.encode()) {
            true => Ok(pending),
            false => Err(Error::Stopped),
        }
    }

    fn leader(&self) -> Option<watch::Receiver<u64>> {
        Some(self.waiting.leader())
    }

    fn takes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.waiting.takes())
    }

    fn local_reads(&self) -> bool {
        self.waiting.local_reads()
    }

    fn status(&self) -> Status {
        self.waiting.status()
    }
}

#[cfg(test)]
mod tests;
