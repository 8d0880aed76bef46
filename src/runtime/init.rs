//! The zygote's children between clone and exec: each makes its own world, then becomes its program.

use super::spec::{Answer, Container, Pause, Process, Role};
use super::{passwd, root};
use crate::linux::confine::{self, Rights};
use crate::linux::process::{self, flags};
use crate::linux::seccomp::Profile;
use crate::linux::user::Ids;
use crate::linux::{Context, Error, Result, fds, mount, namespace, pty, signal};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What came with the request.
pub struct Birth<'a> {
    pub ids: Ids,
    pub fds: &'a BTreeMap<Role, OwnedFd>,
    pub tasks: Vec<fs::File>,
    pub seccomp: Option<&'a Profile>,
}

impl Birth<'_> {
    pub fn fd(&self, role: Role) -> Result<BorrowedFd<'_>> {
        let found = self.fds.get(&role).map(AsFd::as_fd);
        found.ok_or_else(|| Error::new(format!("{role:?} is missing"), io::ErrorKind::InvalidInput))
    }

    pub fn answer(&self, answer: &Answer, fds: &[BorrowedFd<'_>]) -> Result<()> {
        fds::send(self.fd(Role::Status)?, &answer.encode(), fds).during(|| "main is gone".into())
    }

    /// cgroup v1: joins the groups, whose files were opened while their paths still had a meaning.
    fn join_cgroups(&self) -> Result<()> {
        use std::io::Write;
        self.tasks
            .iter()
            .try_for_each(|mut file| file.write_all(b"0").during(|| "cannot join a cgroup".into()))
    }
}

/// Runs the rest of a child's life before its program; whatever fails is told to main.
pub fn finish(context: &Birth, run: impl FnOnce() -> Result<Infallible>) -> i32 {
    match run() {
        Err(e) => {
            let _ = context.answer(&Answer::Failed(e.line()), &[]);
            128
        }
    }
}

/// The pause process: namespaces, hostname, settings, an almost empty root, no rights.
pub fn pause(spec: &Pause, context: &Birth) -> Result<Infallible> {
    context.join_cgroups()?;
    if !spec.own_network {
        namespace::join(context.fd(Role::Network)?, flags::NEWNET)
            .during(|| "cannot use the node's network".into())?;
    }
    nix::unistd::sethostname(&spec.hostname)
        .during(|| format!("cannot set the hostname {:?}", spec.hostname))?;
    if spec.own_network {
        // Every user may open port 80 and ping, as containerd sets it.
        let groups = if context.ids == Ids::Single { "0 0" } else { "0 65535" };
        for (file, value) in [("ip_unprivileged_port_start", "0"), ("ping_group_range", groups)] {
            let path = format!("/proc/sys/net/ipv4/{file}");
            fs::write(&path, value).during(|| format!("cannot set {path}"))?;
        }
    }
    process::silence_stdio().during(|| "cannot close standard streams".into())?;
    mount::make_all_private()?;
    mount::bind(&spec.root, &spec.root, true)?; // a new root must be a mount point
    mount::enter_root(&spec.root)?;
    mount::leave_old_root()?;
    let _ = nix::unistd::setsid();
    signal::reset().during(|| "cannot reset signals".into())?;
    let rights = Rights {
        uid: 0,
        gid: 0,
        groups: &[],
        capabilities: &[],
        no_new_privs: true,
        seccomp: context.seccomp,
        ids: context.ids,
    };
    confine::confine(&rights)?;
    Err(Error::new("cannot run pause", process::exec::<String>(Path::new("/pause"), &["/pause".into()], &[])))
}

/// A container's first process.
pub fn container(spec: &Container, context: &Birth) -> Result<Infallible> {
    context.join_cgroups()?;
    namespace::own_cgroup_view().during(|| "cannot make a cgroup namespace".into())?;
    namespace::join(context.fd(Role::Sandbox)?, flags::NEWNET | flags::NEWIPC | flags::NEWUTS)
        .during(|| "cannot join the pod's namespaces".into())?;
    root::enter(spec, context.ids)?;
    become_program(&spec.process, context, true)
}

/// Built-in servers catch their stop signal a moment after they began; a pod deleted in that moment must not wait for its whole grace period.
fn catches_stop_signals(spec: &Process) -> bool {
    let program = spec.argv.first().map(Path::new).and_then(Path::file_name);
    program.is_some_and(|name| name == "nginx" || name == "echo-server")
}

/// A process that `exec` asked for. It was born into the container's PID namespace and mounts.
pub fn exec(spec: &Process, context: &Birth) -> Result<Infallible> {
    context.join_cgroups()?;
    namespace::join(context.fd(Role::Container)?, flags::NEWCGROUP)
        .during(|| "cannot join the container's cgroup namespace".into())?;
    become_program(spec, context, false)
}

fn become_program(spec: &Process, context: &Birth, first: bool) -> Result<Infallible> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uid = spec.uid.unwrap_or(0);
    let user = passwd::find(&passwd, uid);
    let gid = spec.gid.or(user.as_ref().map(|u| u.gid)).unwrap_or(0);
    let mut env = spec.env.clone();
    if !env.iter().any(|(name, _)| name == "HOME") {
        env.push(("HOME".into(), user.map_or_else(|| "/".into(), |u| u.home)));
    }
    if spec.terminal {
        let (master, terminal) = pty::become_terminal().during(|| "cannot make a terminal".into())?;
        // The group tty owns terminals, where it exists.
        let group = if context.ids == Ids::Single { gid } else { 5 };
        let _ = nix::unistd::fchown(&terminal, Some(uid.into()), Some(group.into()));
        context.answer(&Answer::Terminal, &[master.as_fd()])?;
        process::set_stdio([terminal.as_fd(); 3]).during(|| "cannot use the terminal".into())?;
    } else {
        let _ = nix::unistd::setsid();
        let streams = [context.fd(Role::Stdin)?, context.fd(Role::Stdout)?, context.fd(Role::Stderr)?];
        process::set_stdio(streams).during(|| "cannot set standard streams".into())?;
    }
    fs::create_dir_all(&spec.cwd)
        .during(|| format!("cannot make the working directory {}", spec.cwd.display()))?;
    std::env::set_current_dir(&spec.cwd).during(|| format!("cannot enter {}", spec.cwd.display()))?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    signal::reset().during(|| "cannot reset signals".into())?;
    if first && catches_stop_signals(spec) {
        signal::hold_stop_signals().during(|| "cannot hold signals".into())?;
    }
    let rights = Rights {
        uid,
        gid,
        groups: &spec.groups,
        capabilities: &spec.capabilities,
        no_new_privs: spec.no_new_privs,
        seccomp: context.seccomp.filter(|_| spec.seccomp),
        ids: context.ids,
    };
    confine::confine(&rights)?;
    let program = spec.argv.first().map_or("", String::as_str);
    let path = find_program(program, &env, executable)?;
    let failed = process::exec(&path, &spec.argv, &env);
    Err(Error::new(format!("exec {}", path.display()), failed))
}

enum Lookup {
    Runs,
    Denied,
    Absent,
}

fn executable(path: &Path) -> Lookup {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() || found.permissions().mode() & 0o111 == 0 => Lookup::Denied,
        Ok(_) => Lookup::Runs,
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Lookup::Denied,
        Err(_) => Lookup::Absent,
    }
}

/// As execvp(3) looks, in the words of Go's `exec`, which every Kubernetes user knows from runc.
fn find_program(program: &str, env: &[(String, String)], look: impl Fn(&Path) -> Lookup) -> Result<PathBuf> {
    let fail = |text: String, kind: io::ErrorKind| {
        Err(Error::new(format!("exec: {program:?}"), io::Error::new(kind, text)))
    };
    if program.contains('/') {
        let path = PathBuf::from(program);
        return match look(&path) {
            Lookup::Runs => Ok(path),
            Lookup::Denied => fail("permission denied".into(), io::ErrorKind::PermissionDenied),
            Lookup::Absent => {
                fail(format!("stat {program}: no such file or directory"), io::ErrorKind::NotFound)
            }
        };
    }
    let list = env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value.as_str());
    let candidates = list.split(':').filter(|_| !program.is_empty());
    let mut paths = candidates.map(|directory| Path::new(directory).join(program));
    match paths.find(|path| matches!(look(path), Lookup::Runs)) {
        Some(path) => Ok(path),
        None => fail("executable file not found in $PATH".into(), io::ErrorKind::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_up_as_runc_would() {
        let look = |path: &Path| match path.to_str() {
            Some("/bin/sh") => Lookup::Runs,
            Some("/usr/bin/sh" | "/etc/passwd") => Lookup::Denied,
            _ => Lookup::Absent,
        };
        let env = [("PATH".to_string(), "/usr/bin:/bin".to_string())];
        let line = |program| find_program(program, &env, look).map_err(|e| e.line());
        assert_eq!(line("sh"), Ok("/bin/sh".into()));
        assert_eq!(line("nope"), Err("exec: \"nope\": executable file not found in $PATH".into()));
        assert_eq!(line("/nope"), Err("exec: \"/nope\": stat /nope: no such file or directory".into()));
        assert_eq!(line("/etc/passwd"), Err("exec: \"/etc/passwd\": permission denied".into()));
    }
}
