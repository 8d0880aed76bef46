//! The zygote's children between clone and exec: each makes its own world, then becomes its
//! program. What a pod's pause process does instead is in [`super::pause`].

use super::program::{check_environment, executable, find_program};
use super::spec::{Answer, Container, Process, Role};
use super::words::{in_words_of_go, line_of};
use super::{passwd, root};
use linux::beneath::{Kind, Root};
use linux::confine::{self, Rights};
use linux::process::{self, Forked, flags};
use linux::seccomp::Profile;
use linux::user::Ids;
use linux::{Context, Error, Result, fds, limits, namespace, pty, signal};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::libc;

/// The surroundings of a new process: what came with its request.
pub(crate) struct ChildContext<'a> {
    /// This process is a forked child, and so is each that it makes.
    pub forked: Forked,
    pub ids: Ids,
    /// As in the request.
    pub users: Option<u32>,
    pub fds: &'a BTreeMap<Role, OwnedFd>,
    pub tasks: Vec<fs::File>,
    pub seccomp: Option<&'a Profile>,
}

impl ChildContext<'_> {
    pub(crate) fn fd(&self, role: Role) -> Result<BorrowedFd<'_>> {
        let found = self.fds.get(&role).map(AsFd::as_fd);
        found.ok_or_else(|| Error::new(format!("{role:?} is missing"), io::ErrorKind::InvalidInput))
    }

    pub(crate) fn answer(&self, answer: &Answer, fds: &[BorrowedFd<'_>]) -> Result<()> {
        fds::send(self.fd(Role::Status)?, &answer.encode(), fds).during(|| "main is gone".into())
    }

    /// Joins the groups of cgroup v1, whose files were opened while their paths still had a
    /// meaning.
    ///
    /// # Errors
    /// A group is gone or full.
    pub(crate) fn join_cgroups(&self) -> Result<()> {
        use std::io::Write;
        self.tasks
            .iter()
            .try_for_each(|mut file| file.write_all(b"0").during(|| "cannot join a cgroup".into()))
    }

    /// Takes the standard streams that came with the request; with a terminal, which is made later,
    /// pipes that lead nowhere: neither the machine's /dev/null, of which a container must hold no
    /// descriptor, nor the container's, which may be something else.
    ///
    /// The streams of a pod with users of its own are given to the pod's root, as containerd does.
    /// It has to happen out here: in the pod's user namespace no process has a right to a file
    /// whose owner has no id there, and [`give_streams`] could not hand them on.
    ///
    /// # Errors
    /// A stream is missing; the kernel refuses.
    pub(crate) fn take_streams(&self, terminal: bool) -> Result<()> {
        if terminal {
            return process::end_stdio().during(|| "cannot close standard streams".into());
        }
        let streams = [self.fd(Role::Stdin)?, self.fd(Role::Stdout)?, self.fd(Role::Stderr)?];
        if let Some(first) = self.users {
            for stream in streams {
                nix::unistd::fchown(stream, Some(first.into()), Some(first.into()))
                    .during(|| "cannot give the standard streams to the pod".into())?;
            }
        }
        process::set_stdio(streams).during(|| "cannot set standard streams".into())
    }

    /// Closes all descriptors but the standard streams and the status socket: a path of a pod's
    /// choice that leads through /proc/self/fd finds nothing of the host (CVE-2024-21626), and
    /// neither does another process of the container that looks at this one (CVE-2016-9962). It
    /// comes before anything that belongs to a pod is looked at, but for one case: for a pod with
    /// users of its own ([`super::users`]) a helper outside of the pod's namespaces opens the
    /// volumes first, by look-ups that follow no magic link, and its child keeps those descriptors
    /// until they are mounted.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn close_others(&self) -> Result<()> {
        self.forked.close_all_but(&[self.fd(Role::Status)?]).during(|| "cannot close descriptors".into())
    }
}

/// Runs the rest of a child's life before its program; main gets the reason of a failure.
pub(crate) fn finish(context: &ChildContext, run: impl FnOnce() -> Result<Infallible>) -> i32 {
    match run() {
        Err(e) => {
            let _ = context.answer(&Answer::Failed(line_of(&e)), &[]);
            128
        }
    }
}

/// Namespaces that all containers of a pod share.
pub(crate) const POD_NAMESPACES: u64 = flags::NEWNET | flags::NEWIPC | flags::NEWUTS;

/// Becomes a container's first process. It is in its cgroups and in the pod's namespaces, and holds
/// its standard streams only. With `prepared` its pod has a user namespace of its own, which it is
/// root of.
pub(crate) fn container(
    spec: &Container,
    context: &ChildContext,
    prepared: Option<root::Volumes>,
) -> Result<Infallible> {
    // A privileged container too, which has none of its own with containerd.
    namespace::own_cgroup_view().during(|| "cannot make a cgroup namespace".into())?;
    let warnings = match prepared {
        Some(volumes) => root::enter_prepared(spec, context.ids, volumes)?,
        None => root::enter(spec, context.ids)?,
    };
    for warning in warnings {
        context.answer(&Answer::Warning(warning), &[])?;
    }
    become_program(&spec.process, context, true)
}

/// Returns whether the program is one of the image that catches its stop signal a moment after it
/// began, as built-in servers and `pause` do; a pod deleted in that moment must not wait for its
/// whole grace period. A program of this name in a volume is another one, which would never unblock
/// them.
fn catches_stop_signals(root: &Root, program: &Path) -> bool {
    const CATCHERS: &[&str] = &["nginx", "echo-server", "kv-server", "shop-logic", "shop-page", "pause"];
    let name = program.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| CATCHERS.contains(&name)) && root.open_of_root(program).is_ok()
}

/// Becomes a process that `exec` asked for. It was cloned into the container's namespaces, and
/// holds its standard streams only.
pub(crate) fn exec(spec: &Process, context: &ChildContext) -> Result<Infallible> {
    become_program(spec, context, false)
}

/// Gives the standard streams to the container's user, as runc does: /dev/stdout is a link to one
/// of them, and to open it takes the right to. Where the pod has users of its own, its root owns
/// them by now ([`ChildContext::take_streams`]). What the kernel refuses stays as it is.
fn give_streams(uid: u32) {
    let streams = [io::stdin().as_fd().try_clone_to_owned(), io::stdout().as_fd().try_clone_to_owned()];
    let streams = streams.into_iter().chain([io::stderr().as_fd().try_clone_to_owned()]);
    for stream in streams.flatten() {
        let is_pipe = nix::sys::stat::fstat(&stream).is_ok_and(|s| s.st_mode & libc::S_IFMT == libc::S_IFIFO);
        if is_pipe {
            let _ = nix::unistd::fchown(&stream, Some(uid.into()), None);
        }
    }
}

/// Bytes of a container's /etc/passwd that are read, for `HOME`. A larger file, or something else
/// than a file, counts as none. While this process has Ropewalk's rights, so does one on another
/// file system: a link into /proc or /sys would have the kernel answer root.
const PASSWD_MAX: usize = 1 << 20;

/// Returns the groups of a process. The primary group is one of them, too: a file may be closed to
/// a group, and a program that takes another group must not open it (CVE-2023-25173).
fn groups(spec: &Process, ids: Ids) -> Vec<u32> {
    let mut groups = spec.groups.clone();
    if ids != Ids::Single && !groups.contains(&spec.gid) {
        groups.insert(0, spec.gid);
    }
    groups
}

/// Returns the environment with `HOME`, where it is missing or empty. As runc, which looks into the
/// finished container: an /etc/passwd that is a volume counts. This process has no more rights by
/// now than the container: its user and its capabilities. So the file may lie on any file system.
/// Where they do not let it be read, what the image says about the user (`of_image`) counts.
fn with_home(
    env: &[(String, String)],
    root: &Root,
    uid: u32,
    of_image: Option<passwd::User>,
) -> Vec<(String, String)> {
    if env.iter().any(|(name, value)| name == "HOME" && !value.is_empty()) {
        return env.to_vec();
    }
    let read = || {
        let file = root.open_in_root(Path::new("etc/passwd"), Kind::File).ok()?;
        let mut text = Vec::new();
        fs::File::from(file).take(PASSWD_MAX as u64 + 1).read_to_end(&mut text).ok()?;
        Some(text).filter(|text| text.len() <= PASSWD_MAX)
    };
    let user = match read() {
        Some(text) => passwd::find(&String::from_utf8_lossy(&text), uid),
        None => of_image,
    };
    let home = user.map_or_else(|| "/".into(), |user| user.home);
    let others = env.iter().filter(|(name, _)| name != "HOME").cloned();
    others.chain([("HOME".to_string(), home)]).collect()
}

fn become_program(spec: &Process, context: &ChildContext, first: bool) -> Result<Infallible> {
    context.close_others()?; // once more, after the root was built
    let root = Root::open(Path::new("/"))?;
    let passwd = root.read_file_of_root(Path::new("etc/passwd"), PASSWD_MAX).unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    let uid = spec.uid.unwrap_or(0);
    let user = passwd::find(&passwd, uid);
    let gid = spec.gid;
    let groups = groups(spec, context.ids);
    if spec.terminal {
        let (master, terminal) = pty::become_terminal().during(|| "cannot make a terminal".into())?;
        // The group tty owns terminals, where it exists.
        let group = if context.ids == Ids::Single { gid } else { 5 };
        let _ = nix::unistd::fchown(&terminal, Some(uid.into()), Some(group.into()));
        context.answer(&Answer::Terminal, &[master.as_fd()])?;
        process::set_stdio([terminal.as_fd(); 3]).during(|| "cannot use the terminal".into())?;
    } else {
        let _ = nix::unistd::setsid();
        give_streams(uid);
    }
    enter_directory(&root, &spec.cwd)?;
    check_environment(&spec.env)?;
    if !spec.seccomp {
        // The filters keep all others from keys, also from those of the user who started Ropewalk.
        process::leave_session_keyring().during(|| "cannot make a session keyring".into())?;
    }
    signal::reset().during(|| "cannot reset signals".into())?;
    limits::limit_resources().during(|| "cannot set resource limits".into())?;
    // The default was compiled in the zygote; some capabilities need another.
    let default = filters(context.seccomp, spec.seccomp)?;
    let own = match default.is_some() && Profile::depends_on(&spec.capabilities) {
        true => {
            let made = Profile::compile_for(&spec.capabilities);
            Some(made.during(|| "cannot compile the seccomp filters".into())?)
        }
        false => None,
    };
    let rights = Rights {
        uid,
        gid,
        groups: &groups,
        capabilities: &spec.capabilities,
        no_new_privs: spec.no_new_privs,
        seccomp: own.as_ref().or(default),
        ids: context.ids,
    };
    for warning in confine::confine(&rights)? {
        context.answer(&Answer::Warning(warning), &[])?;
    }
    let env = with_home(&spec.env, &root, uid, user);
    let program = spec.argv.first().map_or("", String::as_str);
    let path = find_program(program, &env, |path| executable(&spec.cwd, path))?;
    if first && catches_stop_signals(&root, &spec.cwd.join(&path)) {
        signal::hold_stop_signals().during(|| "cannot hold signals".into())?;
    }
    drop(root);
    context.answer(&Answer::Ready, &[])?;
    let failed = process::exec(&path, &spec.argv, &env);
    end_without_program(&path, &failed)
}

/// Ends a process whose program the kernel does not run: a script without its interpreter, say, or
/// a file that is no program. As with runc the container, or the command, has started by then: its
/// standard error says why, and its exit code is 255.
///
/// ```text
/// exec /scripts/run.sh: no such file or directory     its first line is `#!/bin/zsh`
/// exec /scripts/run.sh: exec format error             it is empty
/// ```
fn end_without_program(path: &Path, why: &io::Error) -> ! {
    use std::io::Write as _;
    let _ = writeln!(io::stderr(), "exec {}: {}", path.display(), in_words_of_go(why));
    process::exit_now(255)
}

/// Returns the default seccomp filters of a container that has to have some.
///
/// # Errors
/// The zygote could not compile them: only privileged containers start then.
fn filters(default: Option<&Profile>, wanted: bool) -> Result<Option<&Profile>> {
    if wanted && default.is_none() {
        let why = "this machine's architecture has no seccomp filters here; only privileged containers start";
        return Err(Error::new(why, io::ErrorKind::Unsupported));
    }
    Ok(default.filter(|_| wanted))
}

/// Enters a working directory of the pod's choice, and checks that it lies inside the container's
/// root: a directory outside of it would stay reachable after exec (CVE-2024-21626). It is made
/// with the container's root only, as runc makes it: this process still has Ropewalk's rights, and
/// by now the container may have put a link in its place that leads into another volume.
///
/// # Errors
/// It is missing, or no directory, in runc's words; it lies outside.
fn enter_directory(root: &Root, directory: &Path) -> Result<()> {
    let opened = root.open_in_root(directory, Kind::Directory).map_err(|e| {
        let what = format!("chdir to cwd ({directory:?}) set in config.json failed");
        Error::new(what, io::Error::new(e.cause.kind(), in_words_of_go(&e.cause)))
    })?;
    nix::unistd::fchdir(&opened).during(|| format!("cannot enter {}", directory.display()))?;
    let here =
        nix::unistd::getcwd().during(|| format!("{} is outside of the container", directory.display()))?;
    if here.is_absolute() {
        return Ok(());
    }
    let why = io::Error::new(io::ErrorKind::PermissionDenied, here.display().to_string());
    Err(Error::new(format!("{} is outside of the container", directory.display()), why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_working_directory_that_is_gone_is_not_made_again() {
        let tmp = tempfile::tempdir().unwrap();
        fs::create_dir(tmp.path().join("shared")).unwrap();
        symlink("/shared", tmp.path().join("work")).unwrap(); // what a container may do to its volume
        fs::write(tmp.path().join("file"), "").unwrap();
        let root = Root::open(tmp.path()).unwrap();
        for (path, why) in [("/opt/a", "no such file or directory"), ("/file", "not a directory")] {
            let refused = enter_directory(&root, Path::new(path)).unwrap_err().line();
            assert_eq!(refused, format!("chdir to cwd ({path:?}) set in config.json failed: {why}"));
        }
        assert_eq!(fs::read_dir(tmp.path().join("shared")).unwrap().count(), 0);
    }

    #[test]
    fn home_is_what_the_finished_container_says_of_its_user() {
        let tmp = tempfile::tempdir().unwrap();
        let root = Root::open(tmp.path()).unwrap();
        let of_image = || passwd::find("app:x:1000:1000::/image:/bin/sh", 1000);
        let home = |env: &[(&str, &str)], uid| {
            let env: Vec<_> = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let all = with_home(&env, &root, uid, of_image().filter(|_| uid == 1000));
            let homes: Vec<_> = all.into_iter().filter(|(name, _)| name == "HOME").collect();
            assert_eq!(homes.len(), 1, "{homes:?}");
            homes[0].1.clone()
        };
        assert_eq!((home(&[], 1000), home(&[], 7)), ("/image".into(), "/".into()));
        fs::create_dir(tmp.path().join("etc")).unwrap();
        fs::write(tmp.path().join("etc/passwd"), "app:x:1000:1000::/home/app:/bin/sh\n").unwrap();
        assert_eq!((home(&[], 1000), home(&[], 7)), ("/home/app".into(), "/".into()));
        assert_eq!(home(&[("HOME", "/mine"), ("A", "b")], 1000), "/mine");
        assert_eq!(home(&[("HOME", ""), ("A", "b")], 1000), "/home/app");
    }

    #[test]
    fn no_container_starts_without_the_filters_that_it_has_to_have() {
        assert!(filters(None, true).is_err());
        assert!(filters(None, false).unwrap().is_none(), "a privileged container");
        let profile = Profile::compile().unwrap();
        assert!(filters(Some(&profile), true).unwrap().is_some());
        assert!(filters(Some(&profile), false).unwrap().is_none());
    }

    #[test]
    fn stop_signals_are_held_for_programs_of_the_image_only() {
        let here = Root::open(Path::new("/")).unwrap();
        assert!(!catches_stop_signals(&here, Path::new("/proc/self/status")), "no such name");
        let dir = tempfile::tempdir_in("/").or_else(|_| tempfile::tempdir()).unwrap();
        let program = dir.path().join("nginx");
        symlink("/proc/version", &program).unwrap();
        assert!(!catches_stop_signals(&here, &program), "it is on another file system");
        let image = tempfile::tempdir().unwrap();
        for name in ["nginx", "pause", "other"] {
            fs::write(image.path().join(name), "").unwrap();
        }
        let image = Root::open(image.path()).unwrap();
        assert!(catches_stop_signals(&image, Path::new("/nginx")));
        assert!(catches_stop_signals(&image, Path::new("/pause")));
        assert!(!catches_stop_signals(&image, Path::new("/other")));
        assert!(!catches_stop_signals(&image, Path::new("/echo-server")), "there is none");
    }
}
