//! The zygote, from both sides: [`main`] is its process, [`Zygote`] is how main asks it for
//! processes.
//!
//! Cloning six namespaces from a process of 300 MiB takes 10 to 36 ms, most of it for page tables;
//! from this small one it takes half a millisecond. A zygote also has no threads, so its children
//! may allocate before they exec.

use super::init::{self, ChildContext};
use super::spawn::{helper_started, run_in_helper, spawn_child};
use super::spec::{Answer, Request, Role, What};
use super::turns::{Turn, Turns};
use super::words::line_of;
use super::{pause, users};
use linux::boot::ZygoteProcess;
use linux::descriptors::is_reserved;
use linux::process::{self, Child, Forked, flags, spawn_forked};
use linux::ranges::Ranges;
use linux::reap::{Children, Process};
use linux::seccomp::Profile;
use linux::{self, Context, fds, limits, namespace, oom, user};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// The hidden argument that makes this program the zygote.
pub use linux::boot::ZYGOTE_ARGUMENT;

/// Runs the zygote for its whole life: answers requests until main is gone. `socket` is the number
/// that followed the hidden argument.
pub fn main(socket: &str) -> i32 {
    let Some(socket) = socket.parse::<RawFd>().ok().and_then(|number| fds::take_inherited(number).ok())
    else {
        linux::say("the zygote is started by ropewalk itself");
        return 2;
    };
    // Every child inherits it, and so does its program: `/` of a container has the mode of a
    // directory that a child makes, whatever umask the session has.
    process::set_umask(process::CONTAINER_UMASK);
    // Inherited by every child until it runs its program.
    if let Err(e) = process::become_undumpable() {
        linux::say(format_args!("the zygote cannot hide from tracers: {e}"));
        return 1;
    }
    let seccomp = match Profile::compile() {
        Ok(profile) => Some(profile),
        Err(e) => {
            linux::say(format_args!("no seccomp filters, so only privileged containers start: {e}"));
            None
        }
    };
    let _ = limits::limit_cores(); // each child says why it cannot
    let _ = limits::lift_limits(); // the session's own hold then, as far as they are less
    while let Ok((bytes, received)) = fds::receive(socket.as_fd()) {
        if bytes.is_empty() {
            return 0;
        }
        if let Err(e) = hand_on(received, seccomp.as_ref()) {
            linux::say(format_args!("zygote: {}", e.line()));
        }
        // Here the request's descriptors are closed: a later child must not keep a status socket or
        // a pipe open.
    }
    1
}

/// Has a copy of this process do what a request asks for. The zygote itself reads no request: what
/// it had read would be in the memory of all its later children, and a container with SYS_PTRACE
/// may read that of a process that begins in it, also where this is another pod's environment.
///
/// # Errors
/// A request without descriptors; or the kernel makes no process, which main hears, too.
fn hand_on(received: Vec<OwnedFd>, seccomp: Option<&Profile>) -> linux::Result<()> {
    let status = received.get(1).map(OwnedFd::try_clone); // its role is `Status`, see `Zygote::run`
    let Some(Ok(status)) = status else {
        return Err(linux::Error::new("a request without a way to answer it", io::ErrorKind::InvalidData));
    };
    let answers = status.as_fd();
    let run = move |forked| {
        let _ = fds::send(answers, &helper_started().encode(), &[]); // main is gone
        match handle(forked, received, seccomp) {
            Ok(()) => 0,
            Err(e) => {
                linux::say(format_args!("zygote: {}", e.line()));
                1
            }
        }
    };
    spawn_forked(flags::PARENT, None, run).map(drop).map_err(|e| {
        let error = linux::Error::new("cannot clone a process for a request", e);
        let _ = fds::send(status.as_fd(), &Answer::Failed(line_of(&error)).encode(), &[]); // main is gone
        error
    })
}

fn handle(forked: Forked, mut received: Vec<OwnedFd>, seccomp: Option<&Profile>) -> linux::Result<()> {
    let wrong = |what: &str| linux::Error::new(what, io::ErrorKind::InvalidData);
    if received.is_empty() {
        return Err(wrong("a request without text"));
    }
    let mut text = String::new();
    File::from(received.remove(0)).read_to_string(&mut text).during(|| "cannot read a request".into())?;
    let request: Request = serde_json::from_str(&text).map_err(|e| wrong(&format!("a bad request: {e}")))?;
    if request.roles.len() != received.len() {
        return Err(wrong("a request with too few descriptors"));
    }
    let fds: BTreeMap<Role, OwnedFd> = request.roles.iter().copied().zip(received).collect();
    let open = |path| File::options().write(true).open(path);
    let tasks = request.tasks.iter().map(open).collect::<io::Result<Vec<File>>>();
    let (tasks, failed) = match tasks {
        Ok(tasks) => (tasks, None),
        Err(e) => (Vec::new(), Some(linux::Error::new("cannot open a cgroup", e))),
    };
    let context = ChildContext { forked, ids: request.ids, users: request.users, fds: &fds, tasks, seccomp };
    let made = match failed {
        Some(e) => Err(e),
        None => make(&request.what, &context),
    };
    if let Err(e) = made {
        context.answer(&Answer::Failed(line_of(&e)), &[])?;
    }
    let _ = context.answer(&Answer::Made, &[]); // main is gone, or has heard of a failure
    Ok(())
}

fn make(what: &What, context: &ChildContext) -> linux::Result<()> {
    match what {
        What::Pause(spec) => {
            let mut wanted = flags::NEWNS | flags::NEWIPC | flags::NEWUTS;
            wanted |= if spec.own_network { flags::NEWNET } else { 0 };
            wanted |= if spec.own_pids { flags::NEWPID } else { 0 };
            match context.users {
                Some(first) => users::pause(spec, context, first, wanted),
                None => spawn_child(context, context.fd(Role::Cgroup).ok(), wanted, || {
                    init::finish(context, || pause::pause_with_host_users(spec, context))
                }),
            }
        }
        What::Container(spec) if context.users.is_some() => users::container(spec, context),
        // With SYS_PTRACE the pod's other containers see this program's own files through the
        // child's /proc/PID/root until it has its root. It cannot be built by the helper: a /proc
        // that is mounted shows the PID namespace of the process that mounts it.
        What::Container(spec) if spec.shared_pids => {
            let joined = flags::NEWPID | init::POD_NAMESPACES;
            through_helper(context, Role::Sandbox, joined, &spec.process, || {
                spawn_child(context, None, flags::NEWNS, || {
                    init::finish(context, || init::container(spec, context, None))
                })
            })
        }
        What::Container(spec) => {
            let wanted = flags::NEWNS | flags::NEWPID;
            spawn_child(context, context.fd(Role::Cgroup).ok(), wanted, || {
                init::finish(context, || {
                    context.join_cgroups()?;
                    oom::raise_score(spec.process.oom_score_adj);
                    namespace::join(context.fd(Role::Sandbox)?, init::POD_NAMESPACES)
                        .during(|| "cannot join the pod's namespaces".into())?;
                    context.take_streams(spec.process.terminal)?;
                    context.close_others()?;
                    init::container(spec, context, None)
                })
            })
        }
        What::Exec(spec) => {
            let users = if context.users.is_some() { flags::NEWUSER } else { 0 };
            let joined = flags::NEWNS | flags::NEWPID | flags::NEWCGROUP | init::POD_NAMESPACES | users;
            through_helper(context, Role::Container, joined, spec, || {
                spawn_child(context, None, 0, || init::finish(context, || init::exec(spec, context)))
            })
        }
    }
}

/// Makes a child in a namespace that a helper enters. A PID namespace that one enters counts for
/// one's children only, and the zygote must stay where it is: a helper enters and makes the child,
/// which (CLONE_PARENT again) is main's too. The child is visible to its container from its first
/// moment, so the helper, which is not, closes what the container must not reach: the child
/// inherits its standard streams and the status socket only.
fn through_helper(
    context: &ChildContext,
    whose: Role,
    joined: u64,
    spec: &super::spec::Process,
    spawn: impl FnOnce() -> linux::Result<()>,
) -> linux::Result<()> {
    run_in_helper(context, || {
        context.join_cgroups()?;
        oom::raise_score(spec.oom_score_adj); // while /proc is not the container's
        context.take_streams(spec.terminal)?;
        namespace::join(context.fd(whose)?, joined)
            .during(|| "cannot enter the container's namespaces".into())?;
        if joined & flags::NEWUSER != 0 {
            user::become_root()?;
        }
        context.close_others()?;
        spawn()
    })
}

/// Main's side. Cheap to clone; all nodes share one.
#[derive(Clone)]
pub struct Zygote {
    socket: Arc<fds::Socket>,
    process: Arc<Process>,
    children: Arc<Children>,
    ranges: Arc<Ranges>,
    turns: Arc<Turns>,
}

/// A process that has been made and runs its program by now.
pub(crate) struct Started {
    /// Its number, and its end once it has ended.
    pub process: Arc<Process>,
    /// The master, if a terminal was asked for.
    pub terminal: Option<OwnedFd>,
    /// What was asked for and cannot be had.
    pub warnings: Vec<String>,
}

/// A process that [`Zygote::run`] is making, so that it can be killed while it does not run its
/// program yet.
#[derive(Default)]
pub(crate) struct PendingStart(Mutex<Phase>);

#[derive(Default)]
enum Phase {
    /// It does not exist.
    #[default]
    Awaited,
    Exists(Arc<Process>),
    /// It is killed as soon as it exists.
    Abandoned,
}

impl PendingStart {
    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.0.lock()
    }

    fn exists(&self, process: &Arc<Process>) {
        let mut phase = self.lock();
        match *phase {
            Phase::Abandoned => drop(process.signal(nix::libc::SIGKILL)), // ESRCH: it has ended
            Phase::Awaited | Phase::Exists(_) => *phase = Phase::Exists(process.clone()),
        }
    }

    /// Kills the process, now or as soon as it exists, which ends its start: unless its program
    /// runs already.
    pub(crate) fn abandon(&self) {
        if let Phase::Exists(process) = std::mem::replace(&mut *self.lock(), Phase::Abandoned) {
            let _ = process.signal(nix::libc::SIGKILL); // ESRCH: it has ended
        }
    }

    /// True after [`PendingStart::abandon`], until [`PendingStart::forget`].
    #[cfg(test)]
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(*self.lock(), Phase::Abandoned)
    }

    /// Forgets the process, whose program runs.
    pub(crate) fn forget(&self) {
        *self.lock() = Phase::Awaited;
    }
}

/// Warnings of one start that are kept; a process has no reason for more.
const WARNINGS_MAX: usize = 16;

impl Zygote {
    /// Takes the zygote over from [`linux::boot`]; on the async runtime.
    ///
    /// # Errors
    /// `Io`: the socket or the process cannot be registered with the runtime.
    pub fn start(zygote: ZygoteProcess) -> cri::Result<Zygote> {
        let taken = zygote.take();
        let (socket, process, children) =
            taken.map_err(|cause| cri::Error::Io { what: "cannot talk to the zygote".into(), cause })?;
        Ok(Zygote {
            socket: Arc::new(socket),
            process,
            children,
            ranges: Arc::default(),
            turns: Arc::default(),
        })
    }

    /// Returns the ids for user namespaces of pods, which all nodes share too.
    pub fn ranges(&self) -> &Arc<Ranges> {
        &self.ranges
    }

    /// Resolves when the zygote is dead. No container can be made any more: main should end.
    pub async fn died(&self) {
        self.process.exit().await;
    }

    /// Collects orphans, as pid 1 must, for ever. Main runs this beside everything else.
    ///
    /// # Errors
    /// As [`Children::reap_strangers`]. It returns for no other reason.
    pub async fn reap_strangers(&self) -> io::Result<()> {
        self.children.clone().reap_strangers().await
    }

    /// Makes a process of this pod, in turn, and waits until it runs its program.
    ///
    /// # Errors
    /// `Start`: the process gives the reason, or it ended before it ran its program. `Io`: the
    /// zygote is gone, or no descriptor is left. `State`: too many commands are being started in
    /// the pod.
    pub(crate) async fn run(
        &self,
        pod: &str,
        request: Request,
        given: &[(Role, BorrowedFd<'_>)],
        pending: &PendingStart,
    ) -> cri::Result<Started> {
        let gone = |cause| cri::Error::Io { what: "the zygote does not answer".into(), cause };
        let _exec = matches!(request.what, What::Exec(_)).then(|| self.turns.exec(pod)).transpose()?;
        let turn = self.turns.turn(pod).await;
        let birth = self.children.birth();
        let (ours, theirs) = fds::seqpacket().map_err(gone)?;
        let text = serde_json::to_vec(&Request {
            roles: std::iter::once(Role::Status).chain(given.iter().map(|(role, _)| *role)).collect(),
            ..request
        })
        .map_err(|e| cri::Error::Io {
            what: "cannot write a request for the zygote".into(),
            cause: e.into(),
        })?;
        let text = fds::memory_file(&text).map_err(gone)?;
        let mut all = vec![text.as_fd(), theirs.as_fd()];
        all.extend(given.iter().map(|(_, fd)| *fd));
        self.socket.send(b"request", &all).await.map_err(gone)?;
        drop(all);
        drop(theirs);
        listen(&fds::Socket::new(ours).map_err(gone)?, birth, pending, Some(turn)).await
    }
}

/// What main has heard of a process while it was made.
#[derive(Default)]
struct StartReport {
    process: Option<Arc<Process>>,
    terminal: Option<OwnedFd>,
    warnings: Vec<String>,
    /// The zygote took the request: a process that helps exists, or existed.
    helped: bool,
    ready: bool,
    failed: Option<String>,
}

/// Waits until the process runs its program. On every error nothing is left of the process.
async fn listen(
    status: &fds::Socket,
    birth: linux::reap::Birth,
    pending: &PendingStart,
    turn: Option<Turn>,
) -> cri::Result<Started> {
    let gone = |cause| cri::Error::Io { what: "the zygote does not answer".into(), cause };
    let mut report = StartReport::default();
    let read = report.read(status, birth, pending, turn).await;
    let error = match (read, report.failed) {
        (Err(e), _) => gone(e),
        (Ok(()), Some(reason)) => cri::Error::Start(reason),
        (Ok(()), None) => match (&report.process, report.ready) {
            // Some helpers are in the container's control group, where the OOM killer may take
            // them.
            (None, _) if report.helped => cri::Error::Start(
                "the process that was to make it ended before that (memory limit too low?)".into(),
            ),
            (None, _) => gone(io::ErrorKind::UnexpectedEof.into()),
            (Some(_), false) => cri::Error::Start("the process ended before it could run its program".into()),
            (Some(process), true) => {
                let process = process.clone();
                return Ok(Started { process, terminal: report.terminal, warnings: report.warnings });
            }
        },
    };
    if let Some(process) = report.process {
        let _ = process.signal(nix::libc::SIGKILL); // ESRCH: it has ended
        process.exit().await;
    }
    Err(error)
}

impl StartReport {
    /// Reads answers until the socket closes, which a successful exec does, and the end of the
    /// process.
    async fn read(
        &mut self,
        status: &fds::Socket,
        birth: linux::reap::Birth,
        pending: &PendingStart,
        turn: Option<Turn>,
    ) -> io::Result<()> {
        let (mut birth, mut turn) = (Some(birth), turn);
        loop {
            let (bytes, mut fds) = status.receive().await?;
            if bytes.is_empty() {
                return Ok(());
            }
            match (Answer::decode(&bytes), fds.pop()) {
                (Some(Answer::Child(pid)), pidfd) => {
                    let Some(birth) = birth.take() else { continue };
                    let Some(pidfd) = pidfd else {
                        birth.kill(pid);
                        return Err(io::Error::from_raw_os_error(nix::libc::EMFILE));
                    };
                    let adopted = birth.adopt(Child { pid, pidfd })?;
                    pending.exists(&adopted);
                    self.process = Some(adopted);
                }
                // After that nothing is held back that could be its, so it is collected as any
                // other stranger.
                (Some(Answer::Helper(pid)), _) => {
                    self.helped = true;
                    if let Some(birth) = &birth {
                        birth.stranger(pid);
                    }
                }
                (Some(Answer::Terminal), Some(master)) if !is_reserved(&master) => {
                    self.terminal = Some(master)
                }
                (Some(Answer::Terminal), _) => {
                    return Err(io::Error::from_raw_os_error(nix::libc::EMFILE));
                }
                (Some(Answer::Warning(text)), _) if self.warnings.len() < WARNINGS_MAX => {
                    self.warnings.push(text);
                }
                (Some(Answer::Warning(_)), _) => {}
                (Some(Answer::Made), _) => drop(turn.take()),
                (Some(Answer::Ready), _) => self.ready = true,
                (Some(Answer::Failed(reason)), _) => self.failed = Some(reason),
                (None, _) => return Err(io::Error::other("an answer that cannot be read")),
            }
        }
    }
}

#[cfg(test)]
mod tests;
