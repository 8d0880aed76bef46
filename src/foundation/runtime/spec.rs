//! Requests of main to the zygote. A request is one JSON text in a memfd, with descriptors beside
//! it; the answers come on a socket that travels with the request, so they need no numbers. The
//! zygote works on one request at a time: which one is next is decided by [`super::turns`].

use linux::{self, beneath::Source, user::Ids};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The role of a descriptor that came with a request. The first descriptor is the request's text
/// and has no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Where the answer goes; closed by a successful exec.
    Status,
    /// The pidfd of the sandbox' pause process, which holds net, ipc and uts namespaces (and pid if
    /// shared).
    Sandbox,
    /// The pod's own user namespace.
    Users,
    /// A network namespace to use instead of a new one.
    Network,
    /// The pidfd of a container to join.
    Container,
    /// A cgroup directory in which the process begins.
    Cgroup,
    /// What the process reads from descriptor 0.
    Stdin,
    /// Where its descriptor 1 goes.
    Stdout,
    /// Where its descriptor 2 goes.
    Stderr,
}

/// A request to make a process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Roles of the descriptors after the first.
    pub roles: Vec<Role>,
    /// Which user and group ids there are.
    pub ids: Ids,
    /// The pod has a user namespace of its own: the id of its user 0 out here.
    pub users: Option<u32>,
    /// cgroup v1: files to write `0` to.
    pub tasks: Vec<PathBuf>,
    /// The process, with what is needed for its kind.
    pub what: What,
}

/// The kind of process to make.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum What {
    /// The first process of a sandbox.
    Pause(Pause),
    /// The first process of a container.
    Container(Box<Container>),
    /// A further process in the container of [`Role::Container`].
    Exec(Box<Process>),
}

/// The process that holds a pod's namespaces.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pause {
    /// The name of the pod's UTS namespace.
    pub hostname: String,
    /// A directory with the program `pause`.
    pub root: PathBuf,
    /// A new network namespace is made, unless the pod uses the node's.
    pub own_network: bool,
    /// Settings of that namespace, as paths below `/proc/sys`, and their values.
    pub sysctls: Vec<(String, String)>,
    /// It is pid 1 of the pod (`shareProcessNamespace`).
    pub own_pids: bool,
}

/// A container's first process, and the root that it gets.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Container {
    /// An empty directory, over which the container mounts its writable layer.
    pub directory: PathBuf,
    /// The image's file system.
    pub image: PathBuf,
    /// Bytes that the writable layer may hold.
    pub layer_max: u64,
    /// Volumes and files, in the order in which they are mounted.
    pub mounts: Vec<Mount>,
    /// The root is mounted read-only, once the mounts are in it.
    pub read_only_root: bool,
    /// Its control group is of cgroup v2, and is shown at /sys/fs/cgroup: read-only, unless the
    /// container is privileged.
    pub cgroup_v2: bool,
    /// All capabilities and devices, no filters, and no file of the kernel masked or read-only. Of
    /// control groups it sees its own only, as every container.
    pub privileged: bool,
    /// Its /proc is read-only: it could lower its processes' `oom_score_adj` there, see
    /// [`linux::oom::score_holds`].
    pub read_only_proc: bool,
    /// Uses the sandbox' PID namespace instead of one of its own.
    pub shared_pids: bool,
    /// The program that it runs.
    pub process: Process,
}

/// A file or directory that a container sees at another place, e.g. a volume.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mount {
    /// A trusted directory, where `from` is an untrusted path in it. Without one `from` is trusted.
    pub root: Option<PathBuf>,
    /// The source: absolute, or as seen from `root`.
    pub from: PathBuf,
    /// A part of `from`, which cannot be left.
    pub part: PathBuf,
    /// Where the container sees it; absolute.
    pub to: PathBuf,
    /// Nothing in it can be written from the container.
    pub read_only: bool,
}

impl Mount {
    /// Opens what is to be mounted.
    ///
    /// # Errors
    /// It is missing, or its path leads out of where it must stay.
    pub(crate) fn source(&self) -> linux::Result<Source> {
        match &self.root {
            Some(root) => Source::open_in_root(root, &self.from, &self.part),
            None => Source::open(&self.from, &self.part),
        }
    }
}

/// The program to run, and the rights that its process keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    /// The program, looked up in `PATH`, and its arguments.
    pub argv: Vec<String>,
    /// The whole environment: names and values.
    pub env: Vec<(String, String)>,
    /// The working directory, as the container sees it.
    pub cwd: PathBuf,
    /// The user id inside the container; without one 0.
    pub uid: Option<u32>,
    /// The primary group id inside the container.
    pub gid: u32,
    /// Supplementary group ids: the pod's, and those of the image's user.
    pub groups: Vec<u32>,
    /// Names without `CAP_`.
    pub capabilities: Vec<String>,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privs: bool,
    /// System calls are filtered; not so in a privileged container.
    pub seccomp: bool,
    /// Its streams are a new terminal, whose master goes to main.
    pub terminal: bool,
    /// See [`linux::oom::score_adj`].
    pub oom_score_adj: i32,
}

/// One message on the status socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The process exists; its pidfd travels along.
    Child(i32),
    /// A helper process exists, which main does not wait for. It says so itself, before it does
    /// anything: so main has its number before `Child`.
    Helper(i32),
    /// The zygote has done its part and may work on the next request; the process goes on by
    /// itself.
    Made,
    /// The master of its terminal travels along.
    Terminal,
    /// Something that was asked for and cannot be had; it runs all the same.
    Warning(String),
    /// It runs its program next. Without this word the closed socket is that of a process that died
    /// before.
    Ready,
    /// It will not run its program, for this reason.
    Failed(String),
}

/// Bytes of a reason that travel; the rest is cut off, before a letter that would be cut in two.
const REASON_MAX: usize = 4096;

fn cut(text: &str) -> &[u8] {
    &text.as_bytes()[..text.floor_char_boundary(REASON_MAX)]
}

impl Answer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Answer::Child(pid) => [&b"B"[..], &pid.to_ne_bytes()].concat(),
            Answer::Helper(pid) => [&b"H"[..], &pid.to_ne_bytes()].concat(),
            Answer::Made => b"M".to_vec(),
            Answer::Terminal => b"T".to_vec(),
            Answer::Warning(text) => [b"W", cut(text)].concat(),
            Answer::Ready => b"R".to_vec(),
            Answer::Failed(reason) => [b"F", cut(reason)].concat(),
        }
    }

    /// Parses an answer. `None` for bytes that `encode` cannot have made.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Answer> {
        match bytes.split_first()? {
            (b'B', pid) => Some(Answer::Child(i32::from_ne_bytes(pid.try_into().ok()?))),
            (b'H', pid) => Some(Answer::Helper(i32::from_ne_bytes(pid.try_into().ok()?))),
            (b'M', []) => Some(Answer::Made),
            (b'T', []) => Some(Answer::Terminal),
            (b'R', []) => Some(Answer::Ready),
            (b'W', text) => Some(Answer::Warning(String::from_utf8_lossy(text).into_owned())),
            (b'F', reason) => Some(Answer::Failed(String::from_utf8_lossy(reason).into_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_survive_the_wire_and_nonsense_does_not() {
        for answer in [
            Answer::Child(4711),
            Answer::Helper(4712),
            Answer::Made,
            Answer::Terminal,
            Answer::Warning("no proc".into()),
            Answer::Ready,
            Answer::Failed("no such file".into()),
        ] {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
        let long = Answer::Failed(format!("{}é", "x".repeat(REASON_MAX - 1)));
        assert_eq!(Answer::decode(&long.encode()), Some(Answer::Failed("x".repeat(REASON_MAX - 1))));
        assert_eq!(Answer::decode(b""), None);
        assert_eq!(Answer::decode(b"Bxx"), None);
    }
}
