//! What this machine allows, found out by trying: `ropewalk doctor`.
//!
//! Every trial runs in a forked child that is thrown away, in the order in which a cluster would need it. Nothing remains.

use super::process::{self, flags, spawn_forked};
use super::ranges::{self, Ranges};
use super::seccomp::Profile;
use super::user::{self, Ids};
use super::{Context, Error, Result, beneath, calls, cgroup, confine, fds, mount, namespace};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// One thing that a cluster uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capability {
    pub name: String,
    pub ok: bool,
    /// What was found, or the kernel's answer.
    pub found: String,
    /// What does not work without it; empty if `ok`.
    pub what_is_lost: String,
    /// A command that mends it; empty if `ok`.
    pub how_to_mend: String,
}

impl Capability {
    /// From a trial's outcome.
    pub fn of(
        name: &str,
        outcome: std::result::Result<String, String>,
        lost: &str,
        mend: &str,
    ) -> Capability {
        let ok = outcome.is_ok();
        let unless = |text: &str| if ok { String::new() } else { text.to_string() };
        Capability {
            name: name.to_string(),
            ok,
            found: outcome.unwrap_or_else(|why| why),
            what_is_lost: unless(lost),
            how_to_mend: unless(mend),
        }
    }
}

impl Capability {
    /// Without it this machine is of no use.
    pub fn is_fatal(&self) -> bool {
        !self.ok && [NO_CLUSTER, NO_CONTAINER].iter().any(|lost| self.what_is_lost.contains(lost))
    }
}

/// What is lost when a cluster cannot even start.
pub const NO_CLUSTER: &str = "no cluster can run";
/// Nor is a cluster one without pods.
const NO_CONTAINER: &str = "no container can start";

/// Tries everything. `networks` runs in the child too, in namespaces like a cluster's: `net` brings its own trials.
///
/// Errors: this process has threads, or cannot fork.
pub fn probe(networks: impl FnOnce() -> Vec<Capability>) -> Result<Vec<Capability>> {
    let (kernel, calls) = (kernel_version(), system_calls());
    if calls.is_fatal() {
        return Ok(vec![kernel, calls]); // not even a child can be made
    }
    let (read, write) = fds::pipe().during(|| "cannot make a pipe".into())?;
    let child = spawn_forked(0, None, || tell(&write, &in_child(vec![kernel, calls], networks)))
        .during(|| "cannot fork".into())?;
    drop(write);
    let mut text = String::new();
    let told = fs::File::from(read).read_to_string(&mut text);
    let _ = process::wait_pidfd(child.pidfd.as_fd(), true);
    told.during(|| "cannot read the findings".into())?;
    serde_json::from_str(&text).map_err(|e| Error::new("the probe failed", io::Error::from(e)))
}

fn tell(to: &OwnedFd, findings: &impl Serialize) -> i32 {
    use std::io::Write;
    let text = serde_json::to_vec(findings).unwrap_or_default();
    let mut pipe = match to.try_clone() {
        Ok(fd) => fs::File::from(fd),
        Err(_) => return 1,
    };
    i32::from(pipe.write_all(&text).is_err())
}

fn in_child(mut findings: Vec<Capability>, networks: impl FnOnce() -> Vec<Capability>) -> Vec<Capability> {
    let ids = user::enter();
    findings.extend(users(&ids));
    if ids.is_err() {
        return findings;
    }
    let privileged = "inside Docker: docker run --privileged";
    findings.push(Capability::of(
        "pid and mount namespaces",
        trial(flags::NEWPID | flags::NEWNS, || mount::make_all_private().map(|()| "can be made".into())),
        NO_CLUSTER,
        &raise_limit(&["pid", "mnt"]).unwrap_or(privileged.into()),
    ));
    if findings.iter().any(Capability::is_fatal) {
        return findings; // nothing else could be tried
    }
    findings.push(Capability::of(
        "/proc of a namespace",
        trial(flags::NEWPID | flags::NEWNS, fresh_proc),
        "containers have an empty /proc: ps and top show nothing there",
        "inside Docker: docker run --privileged, or --security-opt systempaths=unconfined",
    ));
    findings.push(Capability::of(
        "uts, ipc, cgroup namespaces",
        trial(flags::NEWUTS | flags::NEWIPC | flags::NEWCGROUP, || Ok("can be made".into())),
        NO_CONTAINER,
        &raise_limit(&["uts", "ipc", "cgroup"]).unwrap_or(privileged.into()),
    ));
    findings.push(Capability::of(
        "overlay file system",
        trial(flags::NEWNS, overlay),
        NO_CONTAINER,
        "sudo modprobe overlay   # rootless needs Linux 5.11",
    ));
    findings.push(Capability::of(
        "pivot_root",
        trial(flags::NEWNS, other_root),
        NO_CONTAINER,
        "inside a container: docker run --privileged; from an initramfs: switch_root to a real root first",
    ));
    findings.push(Capability::of(
        "volume mounts",
        trial(flags::NEWNS, attached),
        NO_CONTAINER,
        "Linux 5.14 or newer; inside a container: docker run --privileged",
    ));
    findings.push(Capability::of(
        "seccomp filters",
        trial(0, || {
            let profile = Profile::compile().during(|| "cannot compile the filters".into())?;
            profile.load().during(|| "cannot load the filters".into())?;
            Ok("an allow list of system calls can be loaded".into())
        }),
        NO_CONTAINER,
        "a kernel with CONFIG_SECCOMP_FILTER",
    ));
    findings.push(Capability::of(
        "network namespaces",
        trial(0, || {
            let made = namespace::new_network().during(|| "cannot make a network namespace".into())?;
            namespace::set_network_sysctls(made.as_fd(), &[("net/ipv4/ip_forward", "1")])?;
            Ok("can be made and configured".into())
        }),
        NO_CLUSTER,
        &raise_limit(&["net"]).unwrap_or(privileged.into()),
    ));
    findings.extend(ids.as_ref().map(|ids| protections(*ids)).unwrap_or_default());
    findings.extend(cgroups());
    findings.extend(networks_in_child(networks));
    findings
}

/// Runs a trial in a child with new namespaces; its answer or its error's line.
fn trial(clone_flags: u64, run: impl FnOnce() -> Result<String>) -> std::result::Result<String, String> {
    let outcome = in_new_process(clone_flags, || run().map_err(|e| e.line()));
    outcome.unwrap_or_else(|e| Err(e.line()))
}

fn in_new_process<T: Serialize + serde::de::DeserializeOwned>(
    clone_flags: u64,
    run: impl FnOnce() -> T,
) -> Result<T> {
    let (read, write) = fds::pipe().during(|| "cannot make a pipe".into())?;
    let child = spawn_forked(clone_flags, None, || tell(&write, &run()))
        .during(|| "cannot clone a process with new namespaces".into())?;
    drop(write);
    let mut text = String::new();
    let told = fs::File::from(read).read_to_string(&mut text);
    let _ = process::wait_pidfd(child.pidfd.as_fd(), true);
    told.during(|| "cannot read the trial's answer".into())?;
    serde_json::from_str(&text).map_err(|e| Error::new("the trial broke off", io::Error::from(e)))
}

fn networks_in_child(networks: impl FnOnce() -> Vec<Capability>) -> Vec<Capability> {
    in_new_process(0, networks).unwrap_or_else(|e| {
        vec![Capability::of("networks of nodes and pods", Err(e.line()), NO_CLUSTER, "see above")]
    })
}

fn kernel_version() -> Capability {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim().to_string();
    let outcome = match version(&release) {
        Some(version) if version >= (5, 14) => Ok(release),
        Some(_) => Err(format!("{release}, and Ropewalk needs 5.14")),
        None => Err(format!("{release:?} is no version")),
    };
    Capability::of("kernel", outcome, "namespaces and cgroup.kill are incomplete", "a newer kernel")
}

fn system_calls() -> Capability {
    let outcome = match calls::missing() {
        None => Ok(calls::names()),
        Some((name, error)) => Err(format!("{name}: {error}")),
    };
    Capability::of(
        "system calls",
        outcome,
        NO_CLUSTER,
        "inside a container: docker run --privileged, or --security-opt seccomp=unconfined; else a newer kernel",
    )
}

/// `6.1.0-13-amd64` is (6, 1).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What being root, or not, means here.
fn users(ids: &Result<Ids>) -> Vec<Capability> {
    let lost = "without root no cluster can run";
    let namespace = |outcome, mend: &str| Capability::of("user namespaces", outcome, lost, mend);
    let single = "containers can run as user 0 only: runAsUser, and images that change their user, fail";
    let mend = "sudo apt-get install uidmap && sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER";
    match ids {
        Ok(Ids::Host) => vec![namespace(Ok("not needed: this is root".into()), "")],
        Ok(Ids::Range) => vec![
            namespace(Ok("can be made".into()), ""),
            Capability::of("subordinate ids", Ok("newuidmap works".into()), single, mend),
        ],
        Ok(Ids::Single) => vec![
            namespace(Ok("can be made".into()), ""),
            Capability::of("subordinate ids", Err("one user id only".into()), single, mend),
        ],
        Err(e) => {
            vec![namespace(Err(format!("cannot be made: {}", e.cause)), user::how_to_allow(&e.cause))]
        }
    }
}

/// The command that allows a kind of namespace again of which this user may have none.
fn raise_limit(kinds: &[&str]) -> Option<String> {
    let none = |kind: &&&str| {
        let most = fs::read_to_string(format!("/proc/sys/user/max_{kind}_namespaces"));
        most.is_ok_and(|n| n.trim() == "0")
    };
    kinds.iter().find(none).map(|kind| format!("sudo sysctl -w user.max_{kind}_namespaces=15000"))
}

fn fresh_proc() -> Result<String> {
    mount::make_all_private()?;
    let proc = Path::new("/proc");
    let plain = mount::Flags::MS_NOSUID | mount::Flags::MS_NODEV | mount::Flags::MS_NOEXEC;
    mount::mount("proc", proc, plain, "")?;
    let own = fs::read_link("/proc/self").during(|| "cannot read /proc/self".into())?;
    Ok(format!("the first process is {}", own.display()))
}

fn overlay() -> Result<String> {
    mount::make_all_private()?;
    let base = Path::new("/tmp");
    mount::mount("tmpfs", base, mount::Flags::empty(), "mode=755")?;
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(base.join(name)).during(|| format!("cannot make {name}"))?;
    }
    std::env::set_current_dir(base).during(|| "cannot enter /tmp".into())?;
    let own_namespace = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let rootless = !own_namespace.contains("4294967295");
    let options =
        format!("lowerdir=lower,upperdir=upper,workdir=work{}", if rootless { ",userxattr" } else { "" });
    mount::mount("overlay", Path::new("merged"), mount::Flags::empty(), &options)?;
    fs::write("merged/file", "text").during(|| "cannot write through an overlay".into())?;
    Ok("can be mounted".into())
}

/// As a volume is mounted: onto a descriptor, read-only and without devices.
fn attached() -> Result<String> {
    mount::make_all_private()?;
    let base = Path::new("/tmp");
    mount::mount("tmpfs", base, mount::Flags::empty(), "mode=755")?;
    let root = beneath::Root::open(base)?;
    let (from, onto) = (root.make_dirs(Path::new("from"), 0o755)?, root.make_dirs(Path::new("onto"), 0o755)?);
    let attributes = mount::Attributes { read_only: true, no_devices: true };
    mount::attach(from.as_fd(), onto.as_fd(), attributes)?;
    match root.write_file(Path::new("onto/file"), b"text", 0o644) {
        Ok(()) => Err(Error::new("a read-only mount was written", io::ErrorKind::Other)),
        Err(_) => Ok("are attached to descriptors, never to names".into()),
    }
}

fn other_root() -> Result<String> {
    mount::make_all_private()?;
    let base = Path::new("/tmp");
    mount::mount("tmpfs", base, mount::Flags::empty(), "mode=755")?;
    mount::enter_root(base)?;
    mount::leave_old_root()?;
    Ok("can change the root".into())
}

/// What keeps a pod away from the host and from other pods, beside namespaces, filters and limits.
fn protections(ids: Ids) -> Vec<Capability> {
    let dumpable = || {
        process::become_undumpable().during(|| "cannot become undumpable".into())?;
        match nix::sys::prctl::get_dumpable().during(|| "cannot ask".into())? {
            false => Ok("processes that start a container cannot be traced by it".into()),
            true => Err(Error::new("the setting has no effect", io::ErrorKind::Other)),
        }
    };
    let privileges = || {
        nix::sys::prctl::set_no_new_privs().during(|| "cannot be set".into())?;
        Ok("allowPrivilegeEscalation: false holds".into())
    };
    let missing = confine::missing_capabilities();
    let held = match missing.is_empty() {
        true => Ok("all that the kernel knows".into()),
        false => Err(format!("missing: {}", missing.join(", "))),
    };
    let newer = "Linux 5.14 or newer; inside a container: --security-opt seccomp=unconfined";
    vec![
        Capability::of(
            "path resolver",
            trial(0, || {
                beneath::supported().map(|()| "openat2 keeps paths of pods inside their root".into())
            }),
            NO_CONTAINER,
            newer,
        ),
        Capability::of("undumpable processes", trial(0, dumpable), NO_CONTAINER, newer),
        Capability::of("no_new_privs", trial(0, privileges), NO_CONTAINER, newer),
        Capability::of(
            "capabilities",
            held,
            "privileged pods start without them, and an Event names them",
            "inside Docker: docker run --privileged; else: start Ropewalk without dropping capabilities",
        ),
        supplementary_groups(),
        own_users(ids),
    ]
}

/// `hostUsers: false`.
fn own_users(ids: Ids) -> Capability {
    let tried = || {
        if ids.rootless() {
            let why = io::Error::new(
                io::ErrorKind::Unsupported,
                "an ordinary user may not show the machine's files as another user's",
            );
            return Err(Error::new("pods share Ropewalk's own user namespace", why));
        }
        drop(Arc::new(Ranges::default()).take()?);
        idmapped()
    };
    Capability::of(
        "user namespaces of pods",
        trial(flags::NEWNS, tried),
        "pods with hostUsers: false do not start; started by an ordinary user, they share one user namespace",
        "Linux 6.3 or newer, as root: sudo ropewalk",
    )
}

/// A memory file system, as images lie on, seen through another user namespace.
fn idmapped() -> Result<String> {
    mount::make_all_private()?;
    let base = Path::new("/tmp");
    mount::mount("tmpfs", base, mount::Flags::empty(), "mode=755")?;
    let tree = mount::copy(beneath::Root::open(base)?.as_fd(), mount::Attributes::default())?;
    let (wait, go) = fds::pipe().during(|| "cannot make a pipe".into())?;
    let go_number = go.as_raw_fd();
    let child = spawn_forked(flags::NEWUSER, None, || {
        // SAFETY: in the forked child, where nobody drops this copy: it would wait for itself.
        unsafe { libc::close(go_number) };
        let _ = nix::unistd::read(&wait, &mut [0]); // until the parent is through
        0
    })
    .during(|| "cannot make a user namespace".into())?;
    let run = || {
        user::map_child(&child, ranges::COUNT)?;
        let users = namespace::of_process(child.pid, "user").during(|| "cannot open it".into())?;
        mount::map_ids(&tree, users.as_fd())
    };
    let done = run();
    drop(go);
    let _ = process::wait_pidfd(child.pidfd.as_fd(), true);
    done.map(|()| "hostUsers: false holds: 65536 ids for each such pod".into())
}

/// Without subordinate ids the kernel lets nobody drop groups, so files that a group of this user may read can be read in containers.
fn supplementary_groups() -> Capability {
    let denied = fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny");
    let own = nix::unistd::getgid();
    let others =
        nix::unistd::getgroups().unwrap_or_default().into_iter().filter(|group| *group != own).count();
    let outcome = match denied && others > 0 {
        true => Err(format!("{others} groups of this user stay with its containers")),
        false => Ok("containers have none of this user's".into()),
    };
    Capability::of(
        "supplementary groups",
        outcome,
        "a container that is given a socket or a file of such a group (docker, disk, adm) can use it",
        "give this user subordinate ids: see above",
    )
}

fn cgroups() -> Vec<Capability> {
    let backend = cgroup::open(&format!("ropewalk-probe-{}", std::process::id()), None);
    let limits = cgroup::Limits {
        memory: Some(64 << 20),
        pids: Some(100),
        cpu_milli: Some(500),
        cpu_shares: 102,
        harmless_devices: true,
        of_groups: false,
    };
    let text = backend.describe();
    let text_of_mode = text.clone();
    let outcome = match backend.create("probe", &limits) {
        _ if backend.lacks().is_some() => Err(backend.lacks().unwrap_or_default()),
        Ok(group) => {
            group.remove();
            Ok(text)
        }
        Err(e) => Err(e.line()),
    };
    let lacks_pids =
        backend.lacks().is_some_and(|why| why.contains("pids") || !text_of_mode.starts_with('v'));
    let pids = match lacks_pids {
        true => Err("no writable cgroup counts processes".into()),
        false => Ok("at most 1024 processes a pod".into()),
    };
    let swap = match backend.controls_swap() {
        true => Ok("a container with a memory limit has no swap beyond it".into()),
        false => Err(format!("this machine has swap, and cgroup {text_of_mode} does not count it")),
    };
    // Both hold. Without a device cgroup it is the missing capability that does, and nodev on every volume.
    let devices = match backend.controls_devices() {
        true => format!(
            "the device list of cgroup {text_of_mode} allows null, zero, full, random and terminals only"
        ),
        false => format!("no device cgroup in {text_of_mode}: no container gets CAP_MKNOD"),
    };
    backend.destroy();
    vec![
        Capability::of(
            "cgroups",
            outcome,
            "limits on memory and cpu do nothing (lessons about them are skipped); usage is counted from /proc",
            "start with: systemd-run --user --scope -p Delegate=yes ropewalk   # or as root",
        ),
        Capability::of(
            "pids limit",
            pids,
            "one pod can take all process numbers of the machine",
            "as for cgroups",
        ),
        Capability::of(
            "swap limit",
            swap,
            "a container with a memory limit can use swap beyond it, and is ended later than it should be",
            "boot with swapaccount=1, or: swapoff -a",
        ),
        Capability::of("device control", Ok(devices), "", ""),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(version("6.1.0-13-amd64"), Some((6, 1)));
        assert!(version("5.9.16-generic") < Some((5, 14)));
        assert_eq!(version("nonsense"), None);
    }

    #[test]
    fn a_finding_tells_how_to_mend_only_what_is_broken() {
        let fine = Capability::of("x", Ok("yes".into()), "lost", "mend");
        assert_eq!((fine.ok, fine.what_is_lost.as_str(), fine.how_to_mend.as_str()), (true, "", ""));
        let broken = Capability::of("x", Err("EPERM".into()), "lost", "mend");
        assert_eq!((broken.ok, broken.found.as_str(), broken.how_to_mend.as_str()), (false, "EPERM", "mend"));
    }
}
