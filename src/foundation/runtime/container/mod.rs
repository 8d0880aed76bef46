//! One container: its configuration, its process while it runs, and how it ended.

mod attach;
mod make;
mod process;
mod streams;

pub(crate) use streams::Streams;

use super::context::NodeContext;
use super::log::Log;
use super::output::Output;
use super::pumps::Pumps;
use super::sandbox::Sandbox;
use super::spec;
use super::terminal::Terminal;
use super::zygote::PendingStart;
use super::{control_groups, work};
use clock::{self, Timestamp};
use cri::{ContainerConfig, ContainerState, Error, EventKind, Result, Writer};
use lang::chain;
use linux::process::Exit;
use linux::reap::Process;
use linux::{cgroup, signal};
use parking_lot::{Mutex, MutexGuard};
use process::{choose_user, not_enforced, process, user};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a start that was abandoned may take to end: that of a container that is stopped, and
/// that of a command whose caller is gone. The process is killed as soon as it exists, but what
/// makes it may hang.
pub(crate) const ABANDON: Duration = Duration::from_secs(10);
/// The warning about `hostUsers: false` where Ropewalk runs as an ordinary user.
const NO_OWN_USERS: &str = "hostUsers: false is not honoured: the pod shares Ropewalk's own user namespace, because it runs as an ordinary user; \
                            see `ropewalk doctor`";
/// The warning about a memory limit on a machine that has swap and does not count it.
const NO_SWAP_LIMIT: &str = "the memory limit does not bound swap: this machine has swap and its kernel does not count it (swapaccount=1 at boot, or \
                             swapoff); see `ropewalk doctor`";
/// The warning about a container of a shared PID namespace on a machine without control groups.
const NO_KILL: &str = "processes that this container's first process leaves behind run until the pod ends, and keep their ports: no control group here can \
                       kill them; see `ropewalk doctor`";

pub(crate) struct Container {
    pub id: String,
    pub sandbox: Arc<Sandbox>,
    pub config: ContainerConfig,
    pub log: Log,
    /// Held by its removal. A second one waits for it: if it ended later, it would take the log of
    /// the next attempt, which may have the same name.
    pub removal: tokio::sync::Mutex<()>,
    image: String,
    image_id: String,
    stop_signal: i32,
    /// Whether the stop signal was sent. It is sent once in a container's life, as containerd sends
    /// it: programs take a second one for an order to end at once.
    stop_signalled: AtomicBool,
    /// The parts that its process is made from. `None` once it has ended: environments are large,
    /// and ended containers many.
    launch: Mutex<Option<Arc<Launch>>>,
    directory: PathBuf,
    /// The image's file system.
    layer: PathBuf,
    /// The warnings that are known before it starts.
    warnings: Vec<String>,
    user: cri::User,
    /// Its start, so that it can be abandoned before the process runs its program.
    pending: PendingStart,
    created_at: Timestamp,
    status: watch::Sender<Status>,
    /// Everything that holds a descriptor or much memory: what is left of an ended container is
    /// data.
    live: Mutex<Option<Live>>,
}

#[derive(Clone, Debug)]
struct Status {
    state: ContainerState,
    /// Its process is being made. Until that runs, CRI shows the container as created.
    starting: bool,
    /// It is being removed and starts no more.
    removed: bool,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    exit_code: i32,
    reason: String,
    message: String,
    warnings: Vec<String>,
}

impl Status {
    fn created() -> Status {
        Status {
            state: ContainerState::Created,
            starting: false,
            removed: false,
            started_at: None,
            finished_at: None,
            exit_code: 0,
            reason: String::new(),
            message: String::new(),
            warnings: Vec::new(),
        }
    }
}

/// The parts that a container's process is made from.
struct Launch {
    process: spec::Process,
    mounts: Vec<cri::Mount>,
}

/// A running container's process, and the ends of its streams.
#[derive(Clone)]
pub(crate) struct Live {
    launch: Arc<Launch>,
    pub process: Arc<Process>,
    pub group: Arc<dyn cgroup::Group>,
    pub stdin: Stdin,
    pub terminal: Option<Terminal>,
    /// Output as it comes, for attached sessions.
    pub output: Output,
}

/// The input that attached sessions write to; `None` inside once it is closed. One session writes
/// at a time.
pub(crate) type Stdin = Arc<tokio::sync::Mutex<Option<Writer>>>;

impl Live {
    /// Returns what `exec` runs: another program with this container's user, rights and
    /// environment. With a terminal `TERM` is `xterm`, whatever the container has, as with
    /// containerd.
    pub(crate) fn exec_process(&self, argv: Vec<String>, terminal: bool) -> spec::Process {
        let mut process = spec::Process { argv, terminal, ..self.launch.process.clone() };
        if terminal {
            process.env.retain(|(name, _)| name != "TERM");
            process.env.push(("TERM".into(), "xterm".into()));
        }
        process
    }
}

impl Container {
    /// Prepares directories and log; no process yet. Blocks.
    ///
    /// # Errors
    /// There is no such image, or nothing to run in it; it would run as a user that the pod
    /// forbids; the directory or the log cannot be made. Nothing is left of either.
    pub(crate) fn prepare(
        context: &NodeContext,
        id: String,
        sandbox: Arc<Sandbox>,
        mut config: ContainerConfig,
    ) -> Result<Container> {
        let image = context.config.images.find(&config.image)?;
        let no_user = choose_user(&mut config.security, image, linux::user::exists)?;
        let (process, mut warnings) = process(
            &config,
            image,
            sandbox.config.kernel_hostname(),
            context.config.cgroups.controls_devices(),
        )?;
        warnings.extend(no_user);
        if sandbox.config.own_users && sandbox.first_user().is_none() {
            warnings.push(NO_OWN_USERS.to_string());
        }
        let lack = context.config.cgroups.lacks();
        warnings.extend(not_enforced(&config.resources, &sandbox.config, lack.as_ref()));
        let memory_limit = config.resources.memory_limit.or(sandbox.config.memory_limit);
        if memory_limit.is_some() && !context.config.cgroups.controls_swap() {
            warnings.push(NO_SWAP_LIMIT.to_string());
        }
        if sandbox.config.share_process_namespace && !context.config.cgroups.kills() {
            warnings.push(NO_KILL.to_string());
        }
        let io = |what: &str, path: &Path| {
            let what = format!("{what} {}", path.display());
            move |cause| Error::Io { what, cause }
        };
        let log_path = sandbox.config.log_directory.join(&config.log_path);
        let log = Log::make(&log_path, sandbox.config.logs).map_err(io("cannot open the log", &log_path))?;
        let directory = context.config.directory.join(&id);
        fs::create_dir_all(&directory)
            .map_err(io("cannot make", &directory))
            .inspect_err(|_| log.remove())?;
        let user = user(&process);
        let launch = Launch { process, mounts: std::mem::take(&mut config.mounts) };
        (config.env, config.command, config.args) = Default::default(); // they are in the process now
        Ok(Container {
            image: context.config.images.describe(image).tags.first().cloned().unwrap_or_default(),
            image_id: image.id(),
            stop_signal: signal::number(image.stop_signal).unwrap_or(nix::libc::SIGTERM),
            stop_signalled: AtomicBool::new(false),
            created_at: clock::now(),
            status: watch::Sender::new(Status::created()),
            live: Mutex::new(None),
            id,
            sandbox,
            config,
            log,
            removal: tokio::sync::Mutex::default(),
            launch: Mutex::new(Some(Arc::new(launch))),
            directory,
            layer: context.config.images.layer(image),
            warnings,
            user,
            pending: PendingStart::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock()
    }

    /// Returns its process and ends, or an error in CRI's words.
    pub(crate) fn live(&self) -> Result<Live> {
        self.lock().clone().ok_or_else(|| Error::State(format!("container {} is not running", self.id)))
    }

    fn lock_launch(&self) -> MutexGuard<'_, Option<Arc<Launch>>> {
        self.launch.lock()
    }

    pub(crate) fn describe(&self) -> cri::Container {
        let status = self.status.borrow().clone();
        cri::Container {
            id: self.id.clone(),
            sandbox_id: self.sandbox.id.clone(),
            name: self.config.name.clone(),
            attempt: self.config.attempt,
            state: status.state,
            image: self.image.clone(),
            image_id: self.image_id.clone(),
            created_at: self.created_at,
            started_at: status.started_at,
            finished_at: status.finished_at,
            exit_code: status.exit_code,
            reason: status.reason,
            message: status.message,
            warnings: status.warnings,
            user: Some(self.user.clone()),
            log_path: self.log.path().to_path_buf(),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
        }
    }

    /// Runs the program.
    ///
    /// # Errors
    /// `State`: it was started before, by a kubelet that is gone, say, or is being removed. `Start`
    /// in runc's words; the container is then ended with code 128, reason `StartError`.
    pub(crate) async fn start(self: &Arc<Self>, context: &Arc<NodeContext>) -> Result<()> {
        let first = self.status.send_if_modified(|status| {
            let first = status.state == ContainerState::Created && !status.starting && !status.removed;
            status.starting |= first;
            first
        });
        if !first {
            return Err(Error::State(format!("container {} is not in created state", self.id)));
        }
        // After it is starting: a sandbox that stops either sees that, or is seen here.
        let started = match self.sandbox.is_stopping() {
            true => Err(Error::State(format!("sandbox container {:?} is not running", self.sandbox.id))),
            false => self.try_start(context).await,
        };
        match started {
            Ok(()) => {
                context.event(&self.sandbox.config.pod, &self.id, EventKind::Started);
                Ok(())
            }
            Err(e) => {
                let message = match e {
                    Error::Start(reason) => format!(
                        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc \
                         create failed: unable to start container process: {reason}: unknown"
                    ),
                    other => chain(&other),
                };
                self.lock_launch().take();
                self.status.send_modify(|status| {
                    (status.state, status.starting) = (ContainerState::Exited, false);
                    status.finished_at = Some(clock::now());
                    (status.exit_code, status.reason) = (128, "StartError".into());
                    status.message.clone_from(&message);
                });
                context.event(&self.sandbox.config.pod, &self.id, EventKind::Stopped);
                Err(Error::Start(message))
            }
        }
    }

    async fn try_start(self: &Arc<Self>, context: &Arc<NodeContext>) -> Result<()> {
        let launch = self.lock_launch().clone();
        let launch = launch.ok_or_else(|| Error::State(format!("container {} has ended", self.id)))?;
        let wanted = &self.config.resources;
        let limits = cgroup::Limits {
            cpu_shares: wanted.cpu_shares,
            cpu_milli: wanted.cpu_limit_milli,
            memory: wanted.memory_limit,
            pids: wanted.pids_limit, // and never more than what its pod has
            harmless_devices: !self.config.security.privileged,
            of_groups: false,
        };
        let group =
            control_groups::make_group(&context.config.cgroups, self.sandbox.group_of(&self.id), limits)
                .await?;
        let oom_before = group.oom_kills(); // a small limit may end the process before its program runs
        let made = self.make_process(context, &*group, &launch).await;
        let (started, streams) = match made {
            Ok(made) => made,
            Err(e) => {
                let oom = group.oom_kills() > oom_before;
                control_groups::remove_group(group, &context.crew).await;
                return Err(match oom {
                    true => Error::Start("container init was OOM-killed (memory limit too low?)".into()),
                    false => e,
                });
            }
        };
        let process = started.process;
        let mut warnings = self.warnings.clone();
        warnings.extend(started.warnings);
        let output = Output::default();
        let over = CancellationToken::new();
        let connected = self.connect(&process, started.terminal, streams, &output, &over);
        let (stdin, terminal, pumps) = match connected {
            Ok(connected) => connected,
            Err(e) => {
                control_groups::kill_group(&group).await;
                // Without control groups its own descriptor kills it. ESRCH: it has ended.
                let _ = process.signal(nix::libc::SIGKILL);
                process.exit().await;
                control_groups::remove_group(group, &context.crew).await;
                self.log.close();
                return Err(e);
            }
        };
        *self.lock() =
            Some(Live { launch, process: process.clone(), group: group.clone(), stdin, terminal, output });
        self.pending.forget();
        self.status.send_modify(|status| {
            (status.state, status.starting) = (ContainerState::Running, false);
            status.warnings = warnings;
            status.started_at = Some(clock::now());
        });
        let (container, context) = (self.clone(), context.clone());
        let crew = context.crew.clone();
        crew.spawn(async move {
            let exit = process.exit().await;
            container.ended(&context, exit, group, oom_before, Pumps { tasks: pumps, over }).await;
            context.event(&container.sandbox.config.pod, &container.id, EventKind::Stopped);
        });
        Ok(())
    }

    async fn ended(
        &self,
        context: &NodeContext,
        exit: Exit,
        group: Arc<dyn cgroup::Group>,
        oom_before: u64,
        pumps: Pumps,
    ) {
        let finished = clock::now();
        control_groups::kill_group(&group).await; // in a shared PID namespace others may be left
        pumps.end().await;
        let oom = group.oom_kills() > oom_before;
        control_groups::remove_group(group, &context.crew).await;
        self.log.close();
        self.lock_launch().take();
        publish_end(&self.status, &self.live, |status| {
            status.state = ContainerState::Exited;
            status.finished_at = Some(finished);
            status.exit_code = exit.code();
            status.reason = reason(exit, oom).into();
        });
    }

    /// Resolves when it has ended and all of its output is in the log.
    pub(crate) async fn wait_ended(&self) {
        let mut status = self.status.subscribe();
        let _ = status.wait_for(|s| s.state == ContainerState::Exited).await;
    }

    /// Sends the stop signal, waits for at most `grace` of real time, and then sends SIGKILL to all
    /// its processes. A further stop, with less time say, sends the signal no second time.
    pub(crate) async fn stop(&self, grace: Duration) {
        self.abandon_start().await;
        let Ok(live) = self.live() else { return };
        if !grace.is_zero() {
            if !self.stop_signalled.swap(true, Ordering::SeqCst) {
                let _ = live.process.signal(self.stop_signal); // ESRCH: it has ended
            }
            let _ = tokio::time::timeout(grace, live.process.exit()).await;
        }
        if live.process.ended().is_none() {
            control_groups::kill_group(&live.group).await;
        }
        // A group that was empty of it (no cgroups at all) cannot kill it; its own descriptor can.
        let _ = live.process.signal(nix::libc::SIGKILL);
        self.wait_ended().await;
    }

    /// Kills the process of a container that is starting, whatever it waits for, and waits until
    /// the start has failed or, if the program began in that moment, until it is running. Returns
    /// at once if it is not starting.
    async fn abandon_start(&self) {
        if !self.status.borrow().starting {
            return;
        }
        self.pending.abandon();
        let mut status = self.status.subscribe();
        if tokio::time::timeout(ABANDON, status.wait_for(|s| !s.starting)).await.is_err() {
            tracing::warn!(
                container = self.id,
                "its start hangs; its process is killed as soon as it exists"
            );
        }
    }

    /// Refuses to start from now on. A start that is on its way is not hindered:
    /// [`Container::stop`] ends it.
    pub(crate) fn refuse_starts(&self) {
        self.status.send_modify(|status| status.removed = true);
    }

    pub(crate) async fn remove(&self) {
        let directory = self.directory.clone();
        work::clean_up(move || drop(fs::remove_dir_all(directory))).await;
        self.log.remove();
    }
}

/// Publishes a container's end, and lets go of its process after that: a stop that finds a running
/// container without a process would return too early.
fn publish_end<L>(status: &watch::Sender<Status>, live: &Mutex<Option<L>>, change: impl FnOnce(&mut Status)) {
    status.send_modify(change);
    live.lock().take();
}

fn reason(exit: Exit, oom: bool) -> &'static str {
    match exit {
        _ if oom => "OOMKilled",
        Exit::Code(0) => "Completed",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests;
