//! One container: what it was asked to be, its process while it runs, and how it ended.

use super::images::Definition;
use super::log::{Cutter, Log, Stream};
use super::means::Means;
use super::output::Output;
use super::pumps::{Pumps, REST_MAX, read_until};
use super::sandbox::{self, Sandbox};
use super::spec::{self, Request, Role, What};
use super::terminal::Terminal;
use super::zygote::{Started, Unborn};
use super::{groups, work};
use clock::{self, Timestamp};
use cri::{self, ContainerConfig, ContainerState, Error, EventKind, Result, Security, Writer};
use linux::process::Exit;
use linux::{cgroup, confine, descriptors, fds, oom, reap::Process, signal};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashSet;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a start that was abandoned may take to end: that of a container that is stopped, and
/// that of a command whose caller is gone. The process is killed as soon as it exists, but what
/// makes it may hang.
pub(crate) const ABANDON: Duration = Duration::from_secs(10);

/// Bytes of one container's writable layer, in memory. A container whose memory limit is lower is
/// bounded by that.
const LAYER_MAX: u64 = 512 << 20;

/// For `hostUsers: false` where Ropewalk runs as an ordinary user.
const NO_OWN_USERS: &str = "hostUsers: false is not honoured: the pod shares Ropewalk's own user namespace, because it runs as an ordinary user; \
                            see `ropewalk doctor`";

/// For a container with a memory limit on a machine that has swap and does not count it.
const NO_SWAP_LIMIT: &str = "the memory limit does not bound swap: this machine has swap and its kernel does not count it (swapaccount=1 at boot, or \
                             swapoff); see `ropewalk doctor`";

/// For a container of a shared PID namespace on a machine without control groups.
const NO_KILL: &str = "processes that this container's first process leaves behind run until the pod ends, and keep their ports: no control group here can \
                       kill them; see `ropewalk doctor`";

pub(crate) struct Container {
    pub id: String,
    pub sandbox: Arc<Sandbox>,
    pub config: ContainerConfig,
    pub log: Log,
    image: String,
    image_id: String,
    stop_signal: i32,
    /// Whether the stop signal was sent. It is sent once in a container's life, as containerd sends
    /// it: programs take a second one for an order to end at once.
    stop_signalled: AtomicBool,
    /// What its process is made from. `None` once it has ended: environments are large, and ended
    /// containers many.
    launch: Mutex<Option<Arc<Launch>>>,
    directory: PathBuf,
    /// The image's file system.
    layer: PathBuf,
    /// What is known before it starts.
    warnings: Vec<String>,
    /// Its process before it runs the program.
    unborn: Unborn,
    created_at: Timestamp,
    status: watch::Sender<Status>,
    /// Everything that holds a descriptor or much memory: what is left of an ended container is
    /// data.
    live: Mutex<Option<Live>>,
}

#[derive(Clone, Debug)]
struct Status {
    state: ContainerState,
    /// Its process is being made. It is created until then, in CRI's words.
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

/// What a container's process is made from.
struct Launch {
    process: spec::Process,
    mounts: Vec<cri::Mount>,
}

/// A running container's process and ends.
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

/// Where attached sessions write to; `None` inside once it is closed. One session writes at a time.
pub(crate) type Stdin = Arc<tokio::sync::Mutex<Option<Writer>>>;

impl Live {
    /// What `exec` runs: another program with this container's user, rights and environment. With
    /// a terminal `TERM` is `xterm`, whatever the container has, as with containerd.
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
    /// There is no such image, or nothing to run in it; the directory or the log cannot be made.
    /// Nothing is left of either.
    pub(crate) fn prepare(
        means: &Means,
        id: String,
        sandbox: Arc<Sandbox>,
        mut config: ContainerConfig,
    ) -> Result<Container> {
        let image = means.config.images.find(&config.image)?;
        let (process, mut warnings) =
            program(&config, image, &sandbox.config.hostname, means.config.cgroups.controls_devices())?;
        if sandbox.config.own_users && sandbox.first_user().is_none() {
            warnings.push(NO_OWN_USERS.to_string());
        }
        if config.resources.memory_limit.is_some() && !means.config.cgroups.controls_swap() {
            warnings.push(NO_SWAP_LIMIT.to_string());
        }
        if sandbox.config.share_process_namespace && !means.config.cgroups.kills() {
            warnings.push(NO_KILL.to_string());
        }
        let io = |what: &str, path: &Path| {
            let what = format!("{what} {}", path.display());
            move |cause| Error::Io { what, cause }
        };
        let log_path = sandbox.config.log_directory.join(&config.log_path);
        let log = Log::make(&log_path, sandbox.config.logs).map_err(io("cannot open the log", &log_path))?;
        let directory = means.config.directory.join(&id);
        fs::create_dir_all(&directory)
            .map_err(io("cannot make", &directory))
            .inspect_err(|_| log.remove())?;
        let launch = Launch { process, mounts: std::mem::take(&mut config.mounts) };
        (config.env, config.command, config.args) = Default::default(); // they are in the process now
        Ok(Container {
            image: means.config.images.describe(image).tags.first().cloned().unwrap_or_default(),
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
            launch: Mutex::new(Some(Arc::new(launch))),
            directory,
            layer: means.config.images.layer(image),
            warnings,
            unborn: Unborn::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock()
    }

    /// Its process and ends, or an error in CRI's words.
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
    pub(crate) async fn start(self: &Arc<Self>, means: &Arc<Means>) -> Result<()> {
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
            false => self.try_start(means).await,
        };
        match started {
            Ok(()) => {
                means.event(&self.sandbox.config.pod, &self.id, EventKind::Started);
                Ok(())
            }
            Err(e) => {
                let message = match e {
                    Error::Start(reason) => format!(
                        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc \
                         create failed: unable to start container process: {reason}: unknown"
                    ),
                    other => work::chain(&other),
                };
                self.lock_launch().take();
                self.status.send_modify(|status| {
                    (status.state, status.starting) = (ContainerState::Exited, false);
                    status.finished_at = Some(clock::now());
                    (status.exit_code, status.reason) = (128, "StartError".into());
                    status.message.clone_from(&message);
                });
                means.event(&self.sandbox.config.pod, &self.id, EventKind::Stopped);
                Err(Error::Start(message))
            }
        }
    }

    async fn try_start(self: &Arc<Self>, means: &Arc<Means>) -> Result<()> {
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
            groups::make_group(&means.config.cgroups, self.sandbox.group_of(&self.id), limits).await?;
        let oom_before = group.oom_kills(); // a small limit may end the process before its program runs
        let made = self.make_process(means, &*group, &launch).await;
        let (started, streams) = match made {
            Ok(made) => made,
            Err(e) => {
                let oom = group.oom_kills() > oom_before;
                groups::remove_group(group, &means.crew).await;
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
                groups::kill_group(&group).await; // with its own descriptor in case that there are no cgroups
                let _ = process.signal(nix::libc::SIGKILL);
                process.exit().await;
                groups::remove_group(group, &means.crew).await;
                self.log.close();
                return Err(e);
            }
        };
        *self.lock() =
            Some(Live { launch, process: process.clone(), group: group.clone(), stdin, terminal, output });
        self.unborn.forget();
        self.status.send_modify(|status| {
            (status.state, status.starting) = (ContainerState::Running, false);
            status.warnings = warnings;
            status.started_at = Some(clock::now());
        });
        let (container, means) = (self.clone(), means.clone());
        let crew = means.crew.clone();
        crew.spawn(async move {
            let exit = process.exit().await;
            container.ended(&means, exit, group, oom_before, Pumps { tasks: pumps, over }).await;
            means.event(&container.sandbox.config.pod, &container.id, EventKind::Stopped);
        });
        Ok(())
    }

    /// What is mounted into it: the pod's own files, where it has no volume at their place, and its
    /// volumes.
    fn mounts(&self, node: &str, launch: &Launch) -> Result<Vec<spec::Mount>> {
        let has_volume = |to: &str| launch.mounts.iter().any(|m| m.container_path == Path::new(to));
        if !has_volume("/etc/hosts") {
            self.sandbox.renew_hosts(node)?;
        }
        let mut mounts: Vec<spec::Mount> = sandbox::shared_files(&self.sandbox.directory)
            .into_iter()
            .filter(|(_, to)| !has_volume(to))
            .map(|(from, to)| spec::Mount {
                root: None,
                from,
                part: PathBuf::new(),
                // As upstream: the kubelet's /etc/hosts is always writable, what containerd adds is
                // not on a read-only root. All containers of the pod share these files.
                read_only: self.config.security.read_only_root && to != "/etc/hosts",
                to: to.into(),
            })
            .collect();
        mounts.extend(launch.mounts.iter().map(|m| spec::Mount {
            root: m.host_root.clone(),
            from: m.host_path.clone(),
            part: m.sub_path.clone(),
            to: m.container_path.clone(),
            read_only: m.read_only,
        }));
        // A volume in another volume comes after it.
        mounts.sort_by_key(|m| m.to.components().count());
        Ok(mounts)
    }

    async fn make_process(
        &self,
        means: &Means,
        group: &dyn cgroup::Group,
        launch: &Launch,
    ) -> Result<(Started, Streams)> {
        let entry = group.entry().map_err(|e| Error::Start(e.line()))?;
        let mounts = self.mounts(&means.config.node, launch)?;
        let wanted = spec::Container {
            directory: self.directory.clone(),
            image: self.layer.clone(),
            layer_max: LAYER_MAX,
            mounts,
            read_only_root: self.config.security.read_only_root,
            cgroup_v2: entry.directory.is_some() && entry.tasks.is_empty(),
            privileged: self.config.security.privileged,
            read_only_proc: !self.config.security.privileged && !oom::score_holds(),
            shared_pids: self.sandbox.config.share_process_namespace,
            process: launch.process.clone(),
        };
        let (streams, theirs) = Streams::make(self.config.tty, self.config.stdin)
            .map_err(|cause| Error::Io { what: "cannot make pipes".into(), cause })?;
        let pause = self.sandbox.process.pidfd().map_err(|cause| Error::Io {
            what: format!("the pause process of sandbox {} has ended", self.sandbox.id),
            cause,
        })?;
        let namespace = self.sandbox.users();
        let mut given = vec![(Role::Sandbox, pause.as_fd())];
        given.extend(theirs.iter().map(|(role, fd)| (*role, fd.as_fd())));
        given.extend(entry.directory.as_ref().map(|fd| (Role::Cgroup, fd.as_fd())));
        let what = What::Container(Box::new(wanted));
        given.extend(namespace.as_ref().map(|namespace| (Role::Users, namespace.as_fd())));
        let users = self.sandbox.first_user();
        let request =
            Request { roles: vec![], ids: means.config.ids, users, tasks: entry.tasks.clone(), what };
        let started = means.config.zygote.run(&self.sandbox.id, request, &given, &self.unborn).await;
        Ok((started?, streams))
    }

    /// Opens the log and starts the tasks that carry output to it and to attached sessions.
    fn connect(
        self: &Arc<Self>,
        process: &Arc<Process>,
        master: Option<OwnedFd>,
        streams: Streams,
        output: &Output,
        over: &CancellationToken,
    ) -> Result<(Stdin, Option<Terminal>, JoinSet<()>)> {
        let io = |cause| Error::Io { what: "cannot watch the container's output".into(), cause };
        self.log.reopen().map_err(|cause| Error::Io {
            what: format!("cannot open the log {}", self.log.path().display()),
            cause,
        })?;
        let mut pumps = JoinSet::new();
        if let Some(master) = master {
            let terminal = Terminal::new(master).map_err(io)?;
            let (from, to) = (terminal.clone(), (Stream::Stdout, output.clone()));
            pumps.spawn(self.clone().pump(process.clone(), from, to, over.clone()));
            let stdin: Option<Writer> = self.config.stdin.then(|| Box::pin(terminal.clone()) as Writer);
            return Ok((Arc::new(tokio::sync::Mutex::new(stdin)), Some(terminal), pumps));
        }
        for (fd, stream) in [(streams.stdout, Stream::Stdout), (streams.stderr, Stream::Stderr)] {
            if let Some(fd) = fd {
                let reader = pipe::Receiver::from_owned_fd(fd).map_err(io)?;
                let to = (stream, output.clone());
                pumps.spawn(self.clone().pump(process.clone(), reader, to, over.clone()));
            }
        }
        let stdin = streams.stdin.map(pipe::Sender::from_owned_fd).transpose().map_err(io)?;
        let stdin = stdin.map(|sender| Box::pin(sender) as Writer);
        Ok((Arc::new(tokio::sync::Mutex::new(stdin)), None, pumps))
    }

    /// Carries output to the log and to attached sessions, as fast as the pod's [`super::pace`]
    /// allows, until its end, or until it is `over` and what was written is carried.
    async fn pump(
        self: Arc<Self>,
        process: Arc<Process>,
        mut from: impl AsyncRead + Unpin,
        (stream, output): (Stream, Output),
        over: CancellationToken,
    ) {
        let mut cutter = Cutter::new(stream);
        let mut buffer = vec![0; 16 * 1024];
        let mut rest = REST_MAX; // that may be read once it is over
        let mut told = false; // once, until it can be written again: a full disk must not be filled by complaints
        while let Some(length) = read_until(&mut from, &mut buffer, &over, &mut rest).await {
            let bytes = &buffer[..length];
            let entries = cutter.cut(bytes, clock::now());
            match self.log.write(&entries) {
                Err(e) if !std::mem::replace(&mut told, true) => {
                    tracing::warn!(container = self.id, "cannot write the log: {e}");
                }
                done => told = done.is_err(),
            }
            output.send(stream, bytes, || process.exit()).await;
            let wait = self.sandbox.pace.wrote(entries.len().max(length) as u64, clock::Instant::now());
            if !wait.is_zero() {
                // Once the process has ended, no more than the pipe is left, and that has to be in
                // the log soon.
                let _ = tokio::time::timeout(wait, process.exit()).await;
            }
        }
        let _ = self.log.write(&cutter.finish(clock::now()));
    }

    async fn ended(
        &self,
        means: &Means,
        exit: Exit,
        group: Arc<dyn cgroup::Group>,
        oom_before: u64,
        pumps: Pumps,
    ) {
        let finished = clock::now();
        groups::kill_group(&group).await; // in a shared PID namespace others may be left
        pumps.end().await;
        let oom = group.oom_kills() > oom_before;
        groups::remove_group(group, &means.crew).await;
        self.log.close();
        self.lock_launch().take();
        tell_end(&self.status, &self.live, |status| {
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

    /// Stop signal, at most `grace` of real time, then SIGKILL for all its processes. A further
    /// stop, with less time say, sends the signal no second time.
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
            groups::kill_group(&live.group).await;
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
        self.unborn.abandon();
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

/// Tells of a container's end, and lets go of its process after that: a stop that finds a running
/// container without a process would return too early.
fn tell_end<L>(status: &watch::Sender<Status>, live: &Mutex<Option<L>>, change: impl FnOnce(&mut Status)) {
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

/// Our ends of a container's standard streams.
#[derive(Default)]
pub(crate) struct Streams {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

impl Streams {
    /// Ours, and theirs for the zygote. A terminal is made by the process itself, so then there are
    /// none.
    ///
    /// # Errors
    /// `EMFILE`: only descriptors of the reserve are left, which is not for containers and commands
    /// in them.
    pub(crate) fn make(terminal: bool, stdin: bool) -> std::io::Result<(Streams, Vec<(Role, OwnedFd)>)> {
        if terminal {
            return Ok((Streams::default(), Vec::new()));
        }
        let (out_ours, out_theirs) = fds::pipe()?;
        let (err_ours, err_theirs) = fds::pipe()?;
        let (in_theirs, in_ours) = match stdin {
            true => fds::pipe().map(|(read, write)| (read, Some(write)))?,
            // At its end from the beginning. The machine's /dev/null would be a file of the host in
            // the hands of the container, whose root may change its mode and owner.
            false => (fds::pipe()?.0, None),
        };
        let all = [&out_ours, &out_theirs, &err_ours, &err_theirs, &in_theirs];
        if all.into_iter().chain(&in_ours).any(descriptors::is_reserved) {
            return Err(std::io::Error::from_raw_os_error(nix::libc::EMFILE)); // closed here
        }
        let ours = Streams { stdin: in_ours, stdout: Some(out_ours), stderr: Some(err_ours) };
        Ok((ours, vec![(Role::Stdin, in_theirs), (Role::Stdout, out_theirs), (Role::Stderr, err_theirs)]))
    }
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Image and pod together say what runs.
///
/// Also returns what the pod asked for and does not get, a sentence each.
fn program(
    config: &ContainerConfig,
    image: &Definition,
    hostname: &str,
    controls_devices: bool,
) -> Result<(spec::Process, Vec<String>)> {
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_string()).collect::<Vec<String>>();
    let mut argv = match config.command.is_empty() {
        true => owned(image.entrypoint),
        false => config.command.clone(),
    };
    match (config.args.is_empty(), config.command.is_empty()) {
        (false, _) => argv.extend(config.args.iter().cloned()),
        (true, true) => argv.extend(owned(image.command)),
        (true, false) => {} // a command of the pod's own takes no arguments of the image's
    }
    if argv.is_empty() {
        return Err(Error::Start("no command specified".into()));
    }
    let ours = [("PATH".to_string(), PATH.to_string()), ("HOSTNAME".to_string(), hostname.to_string())];
    let terminal = config.tty.then(|| ("TERM".to_string(), "xterm".to_string()));
    let of_image = image.env.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string()));
    let all: Vec<_> = ours.into_iter().chain(terminal).chain(of_image).chain(config.env.clone()).collect();
    // The last of a name counts, at its place. There may be a hundred thousand.
    let mut last = HashSet::new();
    let mut env: Vec<_> = all.iter().rev().filter(|(name, _)| last.insert(name)).cloned().collect();
    env.reverse();
    let security = &config.security;
    let mut capabilities = capabilities(security);
    let mut warnings = Vec::new();
    // A device node that can be made and opened is the host's disk.
    if !security.privileged && !controls_devices && capabilities.iter().any(|c| c == "MKNOD") {
        capabilities.retain(|c| c != "MKNOD");
        warnings
            .push("capability MKNOD is not granted: no control group here can refuse devices".to_string());
    }
    let made = spec::Process {
        argv,
        env,
        cwd: config.working_dir.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".into()).into(),
        uid: security.run_as_user,
        gid: security.run_as_group,
        groups: security.supplemental_groups.clone(),
        capabilities,
        no_new_privs: security.no_new_privs,
        seccomp: !security.privileged,
        terminal: config.tty,
        oom_score_adj: oom::score_adj(config.resources.oom_score_adj),
    };
    Ok((made, warnings))
}

/// Default capabilities plus `add` minus `drop`. `ALL` counts before the names do, so `drop: [ALL],
/// add: [X]` leaves X; a name in both lists is dropped. The order is that of containerd's
/// `WithCapabilities`: add ALL, drop ALL, add names, drop names.
fn capabilities(security: &Security) -> Vec<String> {
    let all = confine::all_capabilities();
    if security.privileged {
        return all;
    }
    // As containerd, which writes `CAP_` before whatever the pod names: `CAP_X` is no capability.
    let plain = |name: &String| name.to_uppercase();
    let add: Vec<String> = security.add_capabilities.iter().map(plain).collect();
    let dropped: Vec<String> = security.drop_capabilities.iter().map(plain).collect();
    let defaults = confine::DEFAULT_CAPABILITIES.iter().map(|name| (*name).to_string());
    let mut keep: Vec<String> = if add.iter().any(|c| c == "ALL") { all } else { defaults.collect() };
    if dropped.iter().any(|c| c == "ALL") {
        keep.clear();
    }
    keep.extend(add.into_iter().filter(|c| c != "ALL"));
    keep.retain(|c| !dropped.contains(c));
    keep.sort();
    keep.dedup();
    keep
}

#[cfg(test)]
mod tests;
