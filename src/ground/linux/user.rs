//! Enters a user namespace: so an ordinary user becomes root over processes of their own.

use super::beneath::Root;
use super::process::{self, Child, Exit};
use super::{Context, Error, Result, fds, limits, ranges, usage};
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// Which users and groups exist for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ids {
    /// All of the machine's, or all of a container's that has a user namespace: this process was
    /// root before.
    Host,
    /// Root and a range of subordinate ids (/etc/subuid, newuidmap).
    Range,
    /// Root alone: `runAsUser` other than 0 cannot work. Also that of `unshare -r`.
    Single,
}

impl Ids {
    /// True if this process is root in a user namespace only that Ropewalk has entered, or that has
    /// no other user.
    pub fn rootless(self) -> bool {
        self != Ids::Host
    }
}

/// Returns the largest range of /etc/subuid or /etc/subgid for this user, the first of several that
/// are as large: first id and count. The file names users by name or number.
pub(crate) fn subordinate_range(file: &str, name: &str, id: u32) -> Option<(u32, u32)> {
    let ranges = file.lines().rev().filter_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let range: (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.trim().parse().ok()?);
        (!name.is_empty() && owner == name || owner == id.to_string()).then_some(range)
    });
    // Of equal ones the last that is looked at, so from the end of the file.
    ranges.filter(|(_, count)| *count > 0).max_by_key(|(_, count)| *count)
}

/// Returns the name of a user id in the text of /etc/passwd.
pub(crate) fn user_name(passwd: &str, id: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id.to_string()).then_some(name)
    })
}

/// Returns the groups that exist for this process, as /proc/self/gid_map lists them: a line each of
/// first group in here, first group outside, and count. Without a /proc it is empty.
pub fn gid_map() -> String {
    fs::read_to_string("/proc/self/gid_map").unwrap_or_default()
}

/// Returns whether this process has a user of this number, by /proc/self/uid_map. Without a /proc
/// it is taken to have all.
pub fn exists(id: u32) -> bool {
    is_mapped(&fs::read_to_string("/proc/self/uid_map").unwrap_or_default(), id)
}

/// ```text
/// 0 1000 1, 1 100000 65536     0 to 65536
/// ```
fn is_mapped(uid_map: &str, id: u32) -> bool {
    let part = |line: &str| {
        let mut numbers = line.split_whitespace().map(|text| text.parse::<u64>().ok());
        let (first, _, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some(first..first.saturating_add(count))
    };
    let mut parts = uid_map.lines().filter_map(part);
    uid_map.trim().is_empty() || parts.any(|ids| ids.contains(&u64::from(id)))
}

/// Returns whether an overlay that this process mounts can keep its notes as `trusted.*`: only with
/// CAP_SYS_ADMIN in the machine's first user namespace (`xattr_permission` in fs/xattr.c). Root of
/// a container with a user namespace, e.g. of rootless Podman, has not got that: without
/// `userxattr` an `rm -r` of a directory of the image is `EIO` there.
pub fn keeps_trusted_attributes() -> bool {
    limits::in_first_users()
}

/// Enters a new user namespace as its root, with subordinate ids if the machine grants some, else
/// with one id. For root: no change. Only in a single-threaded process.
///
/// # Errors
/// This user may make none, and the text has the command that allows it. Or the ids cannot be
/// mapped: /etc/subuid and /etc/subgid grant this user different things.
pub fn enter() -> Result<Ids> {
    try_to_enter().map_err(|e| {
        let command = how_to_allow(&e.cause);
        advised(e, command)
    })
}

/// Adds the command that lifts a [`restriction`] to the error of a call that needs rights in the
/// user namespace that Ropewalk has entered.
pub(crate) fn with_advice(e: Error, ids: Ids) -> Error {
    with_command(e, ids, restriction())
}

/// Adds a command to what a restriction answers: `EPERM`. A limit of namespaces or processes
/// (`ENOSPC`, `EAGAIN`) is not lifted by it.
fn with_command(e: Error, ids: Ids, command: Option<&str>) -> Error {
    let is_denied = ids.rootless() && e.cause.raw_os_error() == Some(libc::EPERM);
    match command.filter(|_| is_denied) {
        Some(command) => advised(e, command),
        None => e,
    }
}

fn advised(e: Error, command: &str) -> Error {
    Error { what: format!("{}; allow it with `{command}`, or run as root", e.what), cause: e.cause }
}

/// Returns the command after which an ordinary user may make user namespaces, by the kernel's
/// answer and this machine's settings. `EAGAIN`: this user has as many processes as `ulimit -u`
/// allows, so the helper that maps the ids was not made. Not the kernel but newgidmap refused if
/// there is no number: it has lost the rights that its package gives it.
pub(crate) fn how_to_allow(refusal: &io::Error) -> &'static str {
    match refusal.raw_os_error() {
        Some(libc::ENOSPC) => "sudo sysctl -w user.max_user_namespaces=15000",
        Some(libc::EAGAIN) => "sudo prlimit --pid $$ --nproc=unlimited",
        None => "sudo apt-get install --reinstall uidmap",
        _ => restriction().unwrap_or("docker run --privileged"),
    }
}

/// Returns the command that lifts the setting by which this machine keeps user namespaces from
/// ordinary users, or the rights in them: since Ubuntu 24.04 AppArmor lets such a namespace be made
/// and denies all capabilities in it (its profile `unprivileged_userns`). With newuidmap even the
/// ids are mapped then, and the first call that needs a capability fails.
pub(crate) fn restriction() -> Option<&'static str> {
    restriction_by(|name| fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default())
}

fn restriction_by(setting: impl Fn(&str) -> String) -> Option<&'static str> {
    let is = |name: &str, value: &str| setting(name).trim() == value;
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        return Some("sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0");
    }
    is("kernel/unprivileged_userns_clone", "0").then_some("sudo sysctl -w kernel.unprivileged_userns_clone=1")
}

fn try_to_enter() -> Result<Ids> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if uid.is_root() {
        let map = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
        return Ok(of_root(&map("uid_map"), &map("gid_map")));
    }
    // newuidmap must run outside the new namespace, and we are about to be inside: a helper waits
    // there for our word.
    let (ours, theirs) = fds::seqpacket().during(|| "cannot make a socket pair".into())?;
    let me = std::process::id();
    let helper =
        process::spawn_forked(0, None, |_| map_from_outside(&theirs, me, uid.as_raw(), gid.as_raw()))
            .during(|| "cannot fork".into())?;
    drop(theirs);
    let made =
        nix::sched::unshare(CloneFlags::CLONE_NEWUSER).during(|| "cannot make a user namespace".into());
    // The helper has a copy of our end too, so it would never see us leave: it hears either word.
    let word: &[u8] = if made.is_ok() { b"go" } else { b"no" };
    fds::send(ours.as_fd(), word, &[]).during(|| "the id mapping helper is gone".into())?;
    let helped = process::wait_pidfd(helper.pidfd.as_fd(), true);
    made?;
    if matches!(helped, Ok(Some(Exit::Code(HALF)))) {
        let why = io::Error::new(io::ErrorKind::PermissionDenied, "newgidmap refused what newuidmap granted");
        return Err(Error::new(
            "cannot map subordinate ids; compare this user's lines in /etc/subuid and /etc/subgid",
            why,
        ));
    }
    let mapped = matches!(helped, Ok(Some(Exit::Code(0))));
    if !mapped {
        let write = |file: &str, text: String| {
            fs::write(format!("/proc/self/{file}"), text).during(|| format!("cannot write /proc/self/{file}"))
        };
        write("setgroups", "deny".into())?;
        write("uid_map", format!("0 {uid} 1\n"))?;
        write("gid_map", format!("0 {gid} 1\n"))?;
    }
    let (root, wheel) = (Uid::from_raw(0), Gid::from_raw(0));
    nix::unistd::setresgid(wheel, wheel, wheel).during(|| "cannot become group 0".into())?;
    nix::unistd::setresuid(root, root, root).during(|| "cannot become user 0".into())?;
    Ok(if mapped { Ids::Range } else { Ids::Single })
}

/// Decides which ids root has by its maps: in a namespace as `unshare -r` makes it only its own,
/// and it may not even leave its groups.
fn of_root(uid_map: &str, gid_map: &str) -> Ids {
    if is_mapped(uid_map, 1) && is_mapped(gid_map, 1) { Ids::Host } else { Ids::Single }
}

/// Gives a child's new user namespace its ids: 0 and the [`ranges::COUNT`] - 1 that follow are
/// `first` and the following ones out here.
///
/// # Errors
/// /proc shows other processes than this one's PID namespace; this process may not map these ids.
/// `ESRCH`: the child has ended and was waited for.
pub fn map_child(child: &Child, first: u32) -> Result<()> {
    // With another namespace's /proc the number would be a stranger's.
    if !usage::proc_is_own(Path::new("/proc")).during(|| "cannot read /proc/self".into())? {
        let why = io::Error::new(io::ErrorKind::Unsupported, "/proc is that of another PID namespace");
        return Err(Error::new("cannot map the pod's user ids", why));
    }
    // The directory stays that of the process which it was opened for. Afterwards the child still
    // has its number, so it had it then.
    let directory = Root::open(Path::new(&format!("/proc/{}", child.pid)))?;
    process::pidfd_send_signal(child.pidfd.as_fd(), 0).during(|| "the pod's first process is gone".into())?;
    let line = format!("0 {first} {}\n", ranges::COUNT);
    for file in ["uid_map", "gid_map"] {
        let failed = || format!("cannot write {file} of the pod");
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let opened = nix::fcntl::openat(&directory, file, flags, Mode::empty()).during(failed)?;
        fs::File::from(opened).write_all(line.as_bytes()).during(failed)?;
    }
    Ok(())
}

/// Becomes user 0 of the user namespace that this process has just entered, with no group but 0. It
/// stays undumpable.
///
/// # Errors
/// The namespace has no maps.
pub fn become_root() -> Result<()> {
    let (root, wheel) = (Uid::from_raw(0), Gid::from_raw(0));
    nix::unistd::setgroups(&[]).during(|| "cannot leave the groups".into())?;
    nix::unistd::setresgid(wheel, wheel, wheel).during(|| "cannot become the pod's group 0".into())?;
    nix::unistd::setresuid(root, root, root).during(|| "cannot become the pod's user 0".into())?;
    // A change of user sets what fs.suid_dumpable says.
    process::become_undumpable().during(|| "cannot hide from tracers".into())
}

fn map_from_outside(socket: &impl AsFd, pid: u32, uid: u32, gid: u32) -> i32 {
    // A parent that ended before it was asked for sends no signal, and no word either: this process
    // has a copy of its socket, too, so the wait would have no end.
    let is_tied = process::die_with_parent().is_ok() && std::os::unix::process::parent_id() == pid;
    if is_tied && fds::receive(socket.as_fd()).is_ok_and(|(word, _)| word == b"go") {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = user_name(&passwd, uid);
        // A directory service's user is in no file here. The name that the session has may be
        // another's (`su` without a dash), so it counts after the number, and the programs that map
        // check it.
        let session_name = || ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
        let session_name = if name.is_none() { session_name() } else { None };
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let (users, groups) = (read("/etc/subuid"), read("/etc/subgid"));
        let ranges = both_ranges(&users, &groups, name.unwrap_or_default(), uid);
        return match ranges.or_else(|| both_ranges(&users, &groups, &session_name?, uid)) {
            Some((users, groups)) => {
                map_both(|| run_map("newuidmap", pid, uid, users), || run_map("newgidmap", pid, gid, groups))
            }
            None => NOTHING,
        };
    }
    NOTHING
}

/// Exit codes of the helper. What is mapped once cannot be mapped otherwise any more.
const NOTHING: i32 = 1;
const HALF: i32 = 2;

/// Returns the subordinate users and groups. `None` unless there are both: then neither is mapped.
///
/// /etc/subgid too is keyed by the user's name or number, never by a group's (subgid(5)).
fn both_ranges(users: &str, groups: &str, name: &str, uid: u32) -> Option<((u32, u32), (u32, u32))> {
    Some((subordinate_range(users, name, uid)?, subordinate_range(groups, name, uid)?))
}

fn map_both(users: impl FnOnce() -> io::Result<()>, groups: impl FnOnce() -> io::Result<()>) -> i32 {
    match (users().is_ok(), groups) {
        (false, _) => NOTHING,
        (true, groups) => {
            if groups().is_ok() {
                0
            } else {
                HALF
            }
        }
    }
}

fn run_map(program: &str, pid: u32, id: u32, (first, count): (u32, u32)) -> io::Result<()> {
    let args = [pid, 0, id, 1, 1, first, count].map(|n| n.to_string());
    let done = std::process::Command::new(program).args(args).stderr(std::process::Stdio::null()).status()?;
    if done.success() { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ids_are_given_to_a_stranger_who_inherited_a_number() {
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let pidfd = process::pidfd_open(ended.id() as i32).unwrap();
        ended.wait().unwrap();
        // As if the number belonged to another process now.
        let mut stranger = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let refused = map_child(&Child { pid: stranger.id() as i32, pidfd }, 1 << 30).unwrap_err();
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert_eq!(refused.cause.raw_os_error(), Some(libc::ESRCH), "{}", refused.line());
    }

    #[test]
    fn a_helper_whose_parent_ended_first_waits_for_no_word() {
        use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
        use std::os::unix::process::CommandExt;
        use std::time::{Duration, Instant};
        let (_ours, theirs) = fds::seqpacket().unwrap();
        setsockopt(&theirs, ReceiveTimeout, &nix::sys::time::TimeVal::new(20, 0)).unwrap();
        let gone = std::process::id() + 1; // as if the parent had had this number
        let helper = move || match map_from_outside(&theirs, gone, 0, 0) {
            NOTHING => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        };
        let mut command = std::process::Command::new("/bin/true");
        // SAFETY: the child has one thread, and calls nothing that waits for another.
        unsafe { command.pre_exec(helper) };
        let begun = Instant::now();
        assert!(command.status().unwrap().success());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }

    /// A map can be written once: with half of it the other fallback, one id alone, is gone as
    /// well.
    #[test]
    fn subordinate_users_are_not_mapped_without_groups() {
        let line = "anna:100000:65536\n";
        assert_eq!(both_ranges(line, "ben:1:1\n", "anna", 1000), None);
        assert!(both_ranges(line, line, "anna", 1000).is_some());
        let refused = || Err(io::ErrorKind::PermissionDenied.into());
        assert_eq!(map_both(|| Ok(()), || Ok(())), 0);
        assert_eq!(map_both(|| Ok(()), refused), HALF);
        assert_eq!(map_both(refused, || panic!("groups without users")), NOTHING);
        let advice = how_to_allow(&refused().unwrap_err());
        assert!(advice.contains("uidmap"), "user namespaces can be made: {advice}");
        let of_kernel = |errno| how_to_allow(&io::Error::from_raw_os_error(errno));
        assert!(!of_kernel(libc::EPERM).contains("uidmap"));
        assert!(of_kernel(libc::ENOSPC).contains("max_user_namespaces"));
        assert!(of_kernel(libc::EAGAIN).contains("--nproc="), "ulimit -u");
    }

    /// As on Ubuntu, or as Debian had it.
    #[test]
    fn a_setting_that_keeps_user_namespaces_from_users_is_named_with_the_command() {
        let by = |setting: &str, value: &str| {
            restriction_by(|name| if name == setting { format!("{value}\n") } else { String::new() })
        };
        for (setting, value, free) in [
            ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
            ("kernel/unprivileged_userns_clone", "0", "1"),
        ] {
            let command = by(setting, value).unwrap();
            assert!(command.ends_with(&format!("{}={free}", setting.replace('/', "."))), "{command}");
            assert_eq!(by(setting, free), None);
        }
        assert_eq!(by("", ""), None, "a kernel that has neither");
        let text = |errno, ids| {
            let refused = Error::new("cannot make a PID namespace", io::Error::from_raw_os_error(errno));
            with_command(refused, ids, Some("sudo x")).what
        };
        let advice = text(libc::EPERM, Ids::Range);
        assert!(advice.starts_with("cannot make a PID namespace; allow it with `sudo x`"), "{advice}");
        for (errno, ids) in [(libc::ENOSPC, Ids::Range), (libc::EPERM, Ids::Host)] {
            assert_eq!(text(errno, ids), "cannot make a PID namespace");
        }
    }

    #[test]
    fn users_are_those_of_the_map() {
        let ordinary = "         0       1000          1\n         1     100000      65536\n";
        for (map, exists) in [
            ("0 0 4294967295\n", true),
            (ordinary, true),
            ("0 1000 1\n1 100000 10000\n", false),
            ("0 1000 1\n", false),
            ("", true),
        ] {
            assert_eq!(is_mapped(map, 65535), exists, "{map}");
            assert!(is_mapped(map, 0), "{map}");
        }
        assert!(is_mapped(ordinary, 65536) && !is_mapped(ordinary, 65537));
    }

    #[test]
    fn root_without_other_users_is_root_alone() {
        let (machine, podman) = ("0 0 4294967295\n", "0 1000 1\n1 100000 65536\n");
        assert_eq!([machine, podman, ""].map(|map| of_root(map, map)), [Ids::Host; 3]);
        let alone = "0 1000 1\n";
        for (users, groups) in [(alone, alone), (podman, alone), (alone, podman)] {
            assert_eq!(of_root(users, groups), Ids::Single, "{users}{groups}");
        }
    }

    /// As root of a container of rootless Podman.
    #[test]
    fn an_overlay_in_another_user_namespace_keeps_no_trusted_attributes() {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new("/bin/true");
        let inside = || match nix::sched::unshare(CloneFlags::CLONE_NEWUSER) {
            Ok(()) if keeps_trusted_attributes() => Err(io::Error::other("it keeps them")),
            _ => Ok(()), // or this machine allows no such namespace
        };
        // SAFETY: the child has one thread, and calls nothing that waits for another.
        unsafe { command.pre_exec(inside) };
        assert!(command.status().unwrap().success());
    }

    #[test]
    fn subordinate_ids_belong_to_a_name_or_a_number() {
        let file = "anna:100000:65536\n1001:165536:65536\n";
        assert_eq!(subordinate_range(file, "anna", 1000), Some((100_000, 65536)));
        assert_eq!(subordinate_range(file, "ben", 1001), Some((165_536, 65536)));
        assert_eq!(subordinate_range(file, "ben", 1002), None);
        let several = "anna:1:0\nanna:100000:10\n1000:200000:65536\nanna:300000:65536\n";
        assert_eq!(subordinate_range(several, "anna", 1000), Some((200_000, 65536)), "the largest");
        assert_eq!(subordinate_range("anna:1:0\n", "anna", 1000), None, "no ids");
        assert_eq!(subordinate_range("1002:1:9\nben:5:9\n", "ben", 1001), Some((5, 9)), "1002 is a stranger");
        assert_eq!(both_ranges("1001:1:9\n", "1001:5:9\n", "", 1001), Some(((1, 9), (5, 9))));
        assert_eq!(user_name("root:x:0:0::/:/bin/sh\nanna:x:1000:1000::/:/bin/sh", 1000), Some("anna"));
    }
}
