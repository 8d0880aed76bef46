//! The zygote, from both sides: [`main`] is its process, [`Zygote`] is how main asks it for processes.
//!
//! Cloning six namespaces from a process of 300 MiB takes 10 to 36 ms, most of it for page tables; from this small one it takes
//! half a millisecond. A zygote also has no threads, so its children may allocate before they exec.

use super::init::{self, Birth};
use super::spec::{Answer, Request, Role, What};
use super::users;
use crate::cri;
use crate::linux::boot::ZygoteProcess;
use crate::linux::process::{self, Child, flags, spawn_forked};
use crate::linux::ranges::Ranges;
use crate::linux::reap::{Children, Process};
use crate::linux::seccomp::Profile;
use crate::linux::{self, Context, fds, namespace, user};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// The hidden argument that makes this program the zygote.
pub use crate::linux::boot::ZYGOTE_ARGUMENT;

/// The zygote's whole life: answers requests until main is gone. `socket` is the number that followed the hidden argument.
pub fn main(socket: &str) -> i32 {
    let Some(socket) = socket.parse::<RawFd>().ok().and_then(|number| fds::inherited(number).ok()) else {
        eprintln!("ropewalk: the zygote is started by ropewalk itself");
        return 2;
    };
    // Inherited by every child until it runs its program.
    if let Err(e) = process::become_undumpable() {
        eprintln!("ropewalk: the zygote cannot hide from tracers: {e}");
        return 1;
    }
    let seccomp = match Profile::compile() {
        Ok(profile) => Some(profile),
        Err(e) => {
            eprintln!("ropewalk: containers run without seccomp: {e}");
            None
        }
    };
    while let Ok((bytes, received)) = fds::receive(socket.as_fd()) {
        if bytes.is_empty() {
            return 0;
        }
        if let Err(e) = handle(received, seccomp.as_ref()) {
            eprintln!("ropewalk: zygote: {}", e.line());
        }
        // Here the request's descriptors are closed: a later child must not keep a status socket or a pipe open.
    }
    1
}

fn handle(mut received: Vec<OwnedFd>, seccomp: Option<&Profile>) -> linux::Result<()> {
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
    let birth = Birth { ids: request.ids, users: request.users, fds: &fds, tasks, seccomp };
    let made = match failed {
        Some(e) => Err(e),
        None => make(&request.what, &birth),
    };
    if let Err(e) = made {
        birth.answer(&Answer::Failed(e.line()), &[])?;
    }
    Ok(())
}

fn make(what: &What, birth: &Birth) -> linux::Result<()> {
    match what {
        What::Pause(spec) => {
            let mut wanted = flags::NEWNS | flags::NEWIPC | flags::NEWUTS;
            wanted |= if spec.own_network { flags::NEWNET } else { 0 };
            wanted |= if spec.own_pids { flags::NEWPID } else { 0 };
            match birth.users {
                Some(first) => users::pause(spec, birth, first, wanted),
                None => bear(birth, birth.fd(Role::Cgroup).ok(), wanted, || {
                    init::finish(birth, || init::pause(spec, birth))
                }),
            }
        }
        What::Container(spec) if birth.users.is_some() => users::container(spec, birth),
        What::Container(spec) if spec.shared_pids => {
            let joined = flags::NEWPID | init::POD_NAMESPACES;
            through_helper(birth, Role::Sandbox, joined, &spec.process, || {
                bear(birth, None, flags::NEWNS, || init::finish(birth, || init::container(spec, birth, None)))
            })
        }
        What::Container(spec) => {
            let wanted = flags::NEWNS | flags::NEWPID;
            bear(birth, birth.fd(Role::Cgroup).ok(), wanted, || {
                init::finish(birth, || {
                    birth.join_cgroups()?;
                    process::raise_oom_score(spec.process.oom_score_adj);
                    namespace::join(birth.fd(Role::Sandbox)?, init::POD_NAMESPACES)
                        .during(|| "cannot join the pod's namespaces".into())?;
                    birth.take_streams(spec.process.terminal)?;
                    birth.close_others()?;
                    init::container(spec, birth, None)
                })
            })
        }
        What::Exec(spec) => {
            let users = if birth.users.is_some() { flags::NEWUSER } else { 0 };
            let joined = flags::NEWNS | flags::NEWPID | flags::NEWCGROUP | init::POD_NAMESPACES | users;
            through_helper(birth, Role::Container, joined, spec, || {
                bear(birth, None, 0, || init::finish(birth, || init::exec(spec, birth)))
            })
        }
    }
}

/// Makes a child of main and tells main about it.
pub(super) fn bear(
    birth: &Birth,
    cgroup: Option<BorrowedFd<'_>>,
    wanted: u64,
    life: impl FnOnce() -> i32,
) -> linux::Result<()> {
    let child =
        spawn_forked(wanted | flags::PARENT, cgroup, life).during(|| "cannot clone a process".into())?;
    birth.answer(&Answer::Born(child.pid), &[child.pidfd.as_fd()])
}

/// A PID namespace that one enters counts for one's children only, and the zygote must stay where it is: a helper enters and
/// bears the child, which (CLONE_PARENT again) is main's too. The child is visible to its container from its first moment, so the
/// helper, which is not, closes what the container must not reach: the child inherits its standard streams and the status socket only.
fn through_helper(
    birth: &Birth,
    whose: Role,
    joined: u64,
    spec: &super::spec::Process,
    bear: impl FnOnce() -> linux::Result<()>,
) -> linux::Result<()> {
    in_helper(birth, || {
        birth.join_cgroups()?;
        process::raise_oom_score(spec.oom_score_adj); // while /proc is not the container's
        birth.take_streams(spec.terminal)?;
        namespace::join(birth.fd(whose)?, joined)
            .during(|| "cannot enter the container's namespaces".into())?;
        if joined & flags::NEWUSER != 0 {
            user::become_root()?;
        }
        birth.close_others()?;
        bear()
    })
}

/// Does what the zygote cannot do to itself, in a process that ends afterwards. It is in the cgroup that came with the request.
pub(super) fn in_helper(birth: &Birth, work: impl FnOnce() -> linux::Result<()>) -> linux::Result<()> {
    let life = || match work() {
        Ok(()) => 0,
        Err(e) => {
            let _ = birth.answer(&Answer::Failed(e.line()), &[]);
            1
        }
    };
    let cgroup = birth.fd(Role::Cgroup).ok();
    spawn_forked(flags::PARENT, cgroup, life).during(|| "cannot clone a helper".into()).map(drop)
}

/// Main's side. Cheap to clone; all nodes share one.
#[derive(Clone)]
pub struct Zygote {
    socket: Arc<fds::Socket>,
    process: Arc<Process>,
    children: Arc<Children>,
    ranges: Arc<Ranges>,
}

/// A process that runs its program.
pub struct Started {
    pub process: Arc<Process>,
    /// The master, if a terminal was asked for.
    pub terminal: Option<OwnedFd>,
    /// What was asked for and cannot be had.
    pub warnings: Vec<String>,
}

/// Where [`Zygote::run`] puts a process that exists and does not run its program yet, so that it can be killed in that phase.
pub type Unborn = std::sync::Mutex<Option<Arc<Process>>>;

/// Warnings of one start that are kept; a process has no reason for more.
const WARNINGS_MAX: usize = 16;

impl Zygote {
    /// Takes the zygote over from [`crate::linux::boot`]; on the async runtime.
    pub fn start(zygote: ZygoteProcess) -> cri::Result<Zygote> {
        let taken = zygote.take();
        let (socket, process, children) =
            taken.map_err(|cause| cri::Error::Io { what: "cannot talk to the zygote".into(), cause })?;
        Ok(Zygote { socket: Arc::new(socket), process, children, ranges: Arc::default() })
    }

    /// Ids for user namespaces of pods, which all nodes share too.
    pub fn ranges(&self) -> &Arc<Ranges> {
        &self.ranges
    }

    /// Resolves when the zygote is dead. No container can be made any more: main should end.
    pub async fn died(&self) {
        self.process.exit().await;
    }

    /// Collects orphans, as pid 1 must, for ever. Main runs this beside everything else.
    pub async fn reap_strangers(&self) -> io::Result<()> {
        self.children.clone().reap_strangers().await
    }

    /// Makes a process and waits until it runs its program.
    ///
    /// Errors: `Start` with the reason that the process itself gave, or `Io` if the zygote is gone.
    pub async fn run(
        &self,
        request: Request,
        given: &[(Role, BorrowedFd<'_>)],
        unborn: &Unborn,
    ) -> cri::Result<Started> {
        let gone = |cause| cri::Error::Io { what: "the zygote does not answer".into(), cause };
        let birth = self.children.birth();
        let (ours, theirs) = fds::seqpacket().map_err(gone)?;
        let text = serde_json::to_vec(&Request {
            roles: std::iter::once(Role::Status).chain(given.iter().map(|(role, _)| *role)).collect(),
            ..request
        })
        .map_err(|e| gone(e.into()))?;
        let text = fds::memory_file(&text).map_err(gone)?;
        let mut all = vec![text.as_fd(), theirs.as_fd()];
        all.extend(given.iter().map(|(_, fd)| *fd));
        self.socket.send(b"request", &all).await.map_err(gone)?;
        drop(all);
        drop(theirs);
        listen(&fds::Socket::new(ours).map_err(gone)?, birth, unborn).await
    }
}

/// Reads answers until the socket closes, which a successful exec does.
async fn listen(status: &fds::Socket, birth: linux::reap::Birth, unborn: &Unborn) -> cri::Result<Started> {
    let gone = |cause| cri::Error::Io { what: "the zygote does not answer".into(), cause };
    let mut birth = Some(birth);
    let (mut process, mut terminal, mut failed) = (None, None, None);
    let mut warnings = Vec::new();
    loop {
        let (bytes, mut fds) = status.receive().await.map_err(gone)?;
        if bytes.is_empty() {
            break;
        }
        match (Answer::decode(&bytes), fds.pop()) {
            (Some(Answer::Born(pid)), Some(pidfd)) => {
                if let Some(birth) = birth.take() {
                    let adopted: Arc<Process> = birth.adopt(Child { pid, pidfd }).map_err(gone)?;
                    *unborn.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(adopted.clone());
                    process = Some(adopted);
                }
            }
            (Some(Answer::Terminal), master) => terminal = master,
            (Some(Answer::Warning(text)), _) if warnings.len() < WARNINGS_MAX => warnings.push(text),
            (Some(Answer::Warning(_)), _) => {}
            (Some(Answer::Failed(reason)), _) => failed = Some(reason),
            (other, _) => return Err(gone(io::Error::other(format!("unexpected answer {other:?}")))),
        }
    }
    match (process, failed) {
        (Some(process), None) => Ok(Started { process, terminal, warnings }),
        (process, Some(reason)) => {
            if let Some(process) = process {
                process.exit().await;
            }
            Err(cri::Error::Start(reason))
        }
        (None, None) => Err(gone(io::ErrorKind::UnexpectedEof.into())),
    }
}
