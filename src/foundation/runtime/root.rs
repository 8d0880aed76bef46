//! A container's root file system, built by the container's own first process.
//!
//! Volumes are mounted before the root is changed, onto descriptors that [`linux::beneath`] found
//! inside the new root. A name in an image or in a volume therefore leads nowhere else, also if
//! another container of the pod changes it meanwhile (CVE-2021-30465). No volume is ever mounted
//! over or in /proc (CVE-2019-16884, CVE-2019-19921) but over a few files of figures, and what
//! hides files of the kernel is opened before a pod's volume could replace it (CVE-2025-31133).

use super::dev::{devices, links, machine_devices};
use super::idmap::Users;
use super::layers::{MERGED, layers, make_dir};
use super::spec::{Container, Mount};
use super::words::{in_words_of_go, line_of};
use linux::beneath::{Kind, Root};
use linux::mount::{self, Attributes, Flags};
use linux::user::Ids;
use linux::{Context, Error, Result, namespace};
use nix::libc;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Files of the kernel that a container must not even read. containerd's and runc's list;
/// `thermal_throttle` of each CPU comes on top.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// Files of /proc that a volume may lie over, from /proc: there lxcfs shows a container figures of
/// its own. runc's list (`checkProcMount`).
const EMULATED: &[&str] = &[
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
];
/// In each of its directories `cpu0`, `cpu1`, … the directory `thermal_throttle` is masked.
const CPUS: &str = "/sys/devices/system/cpu";
/// Names that are looked at there: as many CPUs as the kernel may be configured for
/// (CONFIG_NR_CPUS), and what else is there.
const NAMES_MAX: usize = 8192 + 1024;
/// Files of the kernel that a container may only read.
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Builds the root and makes it `/`. The caller has its own mount namespace and is in all its other
/// namespaces. Returns what this machine does not allow, a sentence each.
///
/// # Errors
/// A volume is missing, or its path leads where it must not; the kernel forbids a mount.
pub(crate) fn enter(container: &Container, ids: Ids) -> Result<Vec<String>> {
    mount::make_all_private()?;
    let volumes = Volumes::copy(container, None)?;
    layers(container, None)?;
    build(container, ids, volumes)
}

/// As the first half of [`enter`], for a pod with a user namespace of its own, which is done before
/// it is entered: in there the kernel shows no files as another user's, and the layer could be made
/// larger. The caller has a mount namespace of its own, which that of the container is a copy of.
///
/// # Errors
/// As [`enter`]; a file system has no idmapped mounts.
pub(crate) fn prepare(container: &Container, users: &Users) -> Result<Volumes> {
    namespace::own_mounts()?;
    let volumes = Volumes::copy(container, Some(users))?;
    layers(container, Some(users))?;
    Ok(volumes)
}

/// Does the second half of [`enter`], in the pod's user namespace.
///
/// # Errors
/// As [`enter`].
pub(crate) fn enter_prepared(container: &Container, ids: Ids, volumes: Volumes) -> Result<Vec<String>> {
    mount::make_all_private()?;
    // What came from another user namespace is locked and may not become `/`.
    drop(mount::over_itself(&Root::open(Path::new(MERGED))?, Attributes::default())?);
    build(container, ids, volumes)
}

/// The volumes of a container as mounts that have no place yet, in the order of its specification.
pub(crate) struct Volumes(Vec<OwnedFd>);

impl Volumes {
    fn copy(container: &Container, users: Option<&Users>) -> Result<Volumes> {
        let one = |wanted: &Mount| {
            let source = wanted.source()?;
            let attributes = Attributes { read_only: wanted.read_only, no_devices: !container.privileged };
            let tree = mount::copy(source.as_fd(), attributes).map_err(|e| unmounted(e, wanted))?;
            if let Some(users) = users {
                users.show(&tree, &wanted.from)?;
            }
            Ok(tree)
        };
        container.mounts.iter().map(one).collect::<Result<_>>().map(Volumes)
    }

    /// Returns the descriptors that must stay open until [`enter_prepared`].
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd)
    }
}

fn unmounted(e: Error, wanted: &Mount) -> Error {
    Error::new(format!("cannot mount a volume on {}: {}", wanted.to.display(), e.what), e.cause)
}

/// Builds the root. The current directory is that of the layers.
fn build(container: &Container, ids: Ids, volumes: Volumes) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let empty = Root::open(Path::new("empty"))?;
    let merged = Path::new(MERGED);
    warnings.extend(proc_dev_sys(merged, ids, container)?);
    let root = Root::open(merged)?;
    let null = null_device(&root)?; // before a volume could lie over it
    for (tree, wanted) in volumes.0.iter().zip(&container.mounts) {
        volume(&root, tree, wanted)?;
    }
    drop(volumes);
    if !container.privileged {
        hide(&root, &null, &empty)?;
    }
    working_directory(&root, &container.process.cwd)?; // before the root is read-only
    mount::enter_opened_root(&root)?;
    drop(root);
    mount::leave_old_root()?;
    if container.read_only_root {
        mount::make_read_only(Path::new("/"))?;
    }
    Ok(warnings)
}

/// For a container without a /proc. The outer one is no substitute: it shows the processes of all
/// pods, and through them their files.
const NO_PROC: &str =
    "this machine allows no /proc of a container's own, so /proc is empty; see `ropewalk doctor`";

/// Returns what this machine does not allow.
fn proc_dev_sys(root: &Path, ids: Ids, container: &Container) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for name in ["proc", "dev", "sys", "tmp"] {
        make_dir(&root.join(name))?;
    }
    let proc = root.join("proc");
    let has_proc = match mount::fresh_proc(&proc) {
        Ok(()) if container.read_only_proc => mount::make_read_only(&proc).map(|()| true)?,
        Ok(()) => true,
        Err(e) if e.cause.kind() == io::ErrorKind::PermissionDenied => false,
        Err(e) => return Err(e),
    };
    let plain = Flags::MS_NOSUID | Flags::MS_NODEV | Flags::MS_NOEXEC;
    if !has_proc {
        warnings.push(NO_PROC.to_string());
        mount::mount("tmpfs", &proc, plain | Flags::MS_RDONLY, "size=4k,mode=555")?;
    }
    let dev = root.join("dev");
    devices(&dev, ids)?;
    links(&dev, &proc)?;
    if container.privileged {
        let mut missing = Vec::new();
        machine_devices(Path::new("/dev"), &dev, 0, &mut missing);
        if let Some(first) = missing.first() {
            let count = missing.len();
            warnings.push(format!("{count} of this machine's devices are not in /dev: {}", line_of(first)));
        }
    }
    let read_only = if container.privileged { Flags::empty() } else { Flags::MS_RDONLY };
    let sys = root.join("sys");
    kernel_objects(&sys, container.privileged)?;
    if container.cgroup_v2 {
        // Programs read their limits there. The cgroup namespace shows the container's own group
        // only. Where the kernel refuses, the directory is empty.
        let _ = mount::mount("cgroup2", &sys.join("fs/cgroup"), plain | read_only, "");
    }
    Ok(warnings)
}

/// Mounts the objects of the kernel (sysfs(5)), which a privileged container alone may change. The
/// containers of a pod have one file system there, that of their network namespace, and a first
/// mount that is read-only makes all of it read-only: so only the container's own view of it is.
///
/// # Errors
/// The kernel forbids the mount.
fn kernel_objects(sys: &Path, privileged: bool) -> Result<()> {
    let plain = Flags::MS_NOSUID | Flags::MS_NODEV | Flags::MS_NOEXEC;
    match mount::mount("sysfs", sys, plain, "") {
        Ok(()) if privileged => Ok(()),
        Ok(()) => mount::make_read_only(sys),
        // In a user namespace on a machine whose own /sys is read-only: an outer container.
        Err(e) if !privileged && e.cause.kind() == io::ErrorKind::PermissionDenied => {
            mount::mount("sysfs", sys, plain | Flags::MS_RDONLY, "")
        }
        Err(e) => Err(e),
    }
}

/// Makes what is missing of a working directory of the pod's choice, inside the container's root.
///
/// # Errors
/// In runc's words, with the first directory that is missing and cannot be made (Go's `MkdirAll`):
/// it is no absolute path; something else than a directory is there; it is missing in a volume that
/// is read-only.
fn working_directory(root: &Root, directory: &Path) -> Result<()> {
    if !directory.is_absolute() {
        let what = format!("cannot enter the working directory {}", directory.display());
        let why = io::Error::new(io::ErrorKind::InvalidInput, "Cwd must be an absolute path");
        return Err(Error::new(what, why));
    }
    root.make_dirs_in_root(directory, 0o755).map(drop).map_err(|e| {
        let cause = io::Error::new(e.cause.kind(), in_words_of_go(&e.cause));
        let is_missing = |path: &&Path| root.open_in_root(path, Kind::Directory).is_err();
        let first = directory.ancestors().take_while(is_missing).last().unwrap_or(directory);
        Error::new(format!("mkdir {}", first.display()), cause)
    })
}

/// Mounts one volume inside the new root. Devices in it can be opened by a privileged container
/// alone; setuid programs work, as with containerd.
fn volume(root: &Root, tree: &OwnedFd, wanted: &Mount) -> Result<()> {
    let named = |e: Error| unmounted(e, wanted);
    let refused = |why: &str| {
        let cause = io::Error::new(io::ErrorKind::PermissionDenied, why);
        Err(Error::new(format!("cannot mount a volume on {}", wanted.to.display()), cause))
    };
    let of_directory = is_dir(tree)?;
    let target: OwnedFd = if of_directory {
        root.make_dirs_in_root(&wanted.to, 0o755).map_err(named)?.into()
    } else {
        let there = root.open_in_root(&wanted.to, Kind::Place);
        there
            .or_else(|_| {
                root.make_file_in_root(&wanted.to, 0o644)?;
                root.open_in_root(&wanted.to, Kind::Place)
            })
            .map_err(named)?
    };
    if is_same(&target, root)? {
        return refused("it is the container's root");
    }
    if is_dir(&target)? != of_directory {
        return refused("it is a directory, and the volume is a file"); // the kernel's word is EINVAL
    }
    if fstatfs(&target).during(|| "cannot look at a mount point".into())?.filesystem_type()
        == PROC_SUPER_MAGIC
        && !is_emulated(root, &target)?
    {
        return refused("it is inside /proc");
    }
    mount::place(tree, target.as_fd()).map_err(named)
}

/// Returns whether a mount point is one of the [`EMULATED`] files of the container's own /proc. The
/// file is compared, and not its name: links may have led there, and another /proc has files of
/// these names too.
fn is_emulated(root: &Root, target: &OwnedFd) -> Result<bool> {
    for name in EMULATED {
        let found = root.open_plain(&Path::new("proc").join(name));
        if let Ok(found) = found
            && is_same(&found, target)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_dir(tree: &OwnedFd) -> Result<bool> {
    let found = nix::sys::stat::fstat(tree).during(|| "cannot look at a volume".into())?;
    Ok(found.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

fn is_same(a: &impl AsFd, b: &impl AsFd) -> Result<bool> {
    let stat = |fd| nix::sys::stat::fstat(fd).during(|| "cannot look at a mount point".into());
    let (a, b) = (stat(a.as_fd())?, stat(b.as_fd())?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

/// Opens the container's own /dev/null, which covers files of the kernel. The machine's is another
/// file: the root of a container may change the mode and owner of what it sees.
fn null_device(root: &Root) -> Result<OwnedFd> {
    let null = root.open_plain(Path::new("dev/null"))?;
    let found = nix::sys::stat::fstat(&null).during(|| "cannot look at /dev/null".into())?;
    let number = (nix::sys::stat::major(found.st_rdev), nix::sys::stat::minor(found.st_rdev));
    match found.st_mode & libc::S_IFMT == libc::S_IFCHR && number == (1, 3) {
        true => Ok(null),
        false => Err(Error::new("/dev/null is not the null device", io::ErrorKind::InvalidData)),
    }
}

/// Returns what was found; `None` if nothing has this name. Any other error is one: what cannot be
/// looked at cannot be hidden.
fn if_there<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::new(format!("cannot hide files of the kernel: {}", e.what), e.cause)),
    }
}

/// Returns the directories that show the temperature of each CPU: their numbers may have gaps.
fn throttles(root: &Root) -> Result<Vec<String>> {
    let names = root.names_plain(Path::new(CPUS.trim_start_matches('/')), NAMES_MAX);
    let names = if_there(names)?.unwrap_or_default();
    let is_cpu = |name: &str| {
        let number = name.strip_prefix("cpu").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    };
    let cpus = names.iter().filter_map(|name| name.to_str()).filter(|name| is_cpu(name));
    Ok(cpus.map(|name| format!("{CPUS}/{name}/thermal_throttle")).collect())
}

/// Hides files of the kernel in the new root. No link is followed: a volume may lie where these
/// files should be.
///
/// # Errors
/// A name is there and cannot be hidden: the container must not start.
fn hide(root: &Root, null: &OwnedFd, empty: &Root) -> Result<()> {
    let find = |path: &str| if_there(root.open_plain(Path::new(path.trim_start_matches('/'))));
    let read_only = Attributes { read_only: true, no_devices: false };
    for path in READ_ONLY {
        let Some(found) = find(path)? else { continue }; // this kernel does not have it
        mount::attach(found.as_fd(), found.as_fd(), read_only)?;
    }
    for path in MASKED.iter().map(|path| (*path).to_string()).chain(throttles(root)?) {
        let Some(found) = find(&path)? else { continue };
        let kind =
            nix::sys::stat::fstat(&found).during(|| format!("cannot look at {path}"))?.st_mode & libc::S_IFMT;
        let cover = if kind == libc::S_IFDIR { empty.as_fd() } else { null.as_fd() };
        mount::attach(cover, found.as_fd(), read_only)
            .map_err(|e| Error::new(format!("cannot hide {path}: {}", e.what), e.cause))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_cpu_is_masked_and_no_link_is_followed() {
        let tmp = tempfile::tempdir().unwrap();
        let cpus = tmp.path().join("sys/devices/system/cpu");
        for name in
            ["cpu0/thermal_throttle", "cpu2/thermal_throttle", "cpu10", "cpufreq", "cpu", "cpuidle", "power"]
        {
            fs::create_dir_all(cpus.join(name)).unwrap();
        }
        let root = Root::open(tmp.path()).unwrap();
        let mut found = throttles(&root).unwrap();
        found.sort();
        assert_eq!(found, ["cpu0", "cpu10", "cpu2"].map(|cpu| format!("{CPUS}/{cpu}/thermal_throttle")));
        // A link leads neither to what is masked nor to the list of CPUs.
        symlink("cpu0", cpus.join("cpu1")).unwrap();
        let within = |path: &str| root.open_plain(Path::new(path.trim_start_matches('/')));
        assert!(within(&format!("{CPUS}/cpu2/thermal_throttle")).is_ok());
        let linked = within(&format!("{CPUS}/cpu1/thermal_throttle")).unwrap_err();
        assert_eq!(linked.cause.raw_os_error(), Some(libc::ELOOP));
        fs::rename(&cpus, tmp.path().join("elsewhere")).unwrap();
        symlink("../../../elsewhere", &cpus).unwrap();
        assert!(throttles(&root).is_err(), "a list that cannot be read is no empty list");
    }

    #[test]
    fn a_working_directory_is_an_absolute_path() {
        let tmp = tempfile::tempdir().unwrap();
        let root = Root::open(tmp.path()).unwrap();
        let why = working_directory(&root, Path::new("app")).unwrap_err().line();
        assert!(why.ends_with("Cwd must be an absolute path") && !tmp.path().join("app").exists(), "{why}");
        fs::write(tmp.path().join("file"), "").unwrap();
        for path in ["/file", "/file/x", "/file/x/y"] {
            let why = working_directory(&root, Path::new(path)).unwrap_err().line();
            assert_eq!(why, "mkdir /file: not a directory", "{path}");
        }
        working_directory(&root, Path::new("/srv/../app/x")).unwrap();
        working_directory(&root, Path::new("/")).unwrap();
        assert!(tmp.path().join("app/x").is_dir());
    }

    /// A key of a ConfigMap (`subPath`) on a directory of the image, say.
    #[test]
    fn a_file_over_a_directory_is_refused_with_the_reason() {
        let tmp = tempfile::tempdir().unwrap();
        fs::create_dir(tmp.path().join("conf")).unwrap();
        fs::write(tmp.path().join("key"), "").unwrap();
        let root = Root::open(tmp.path()).unwrap();
        let tree = OwnedFd::from(fs::File::open(tmp.path().join("key")).unwrap());
        let (from, part) = (tmp.path().join("key"), "".into());
        let wanted = Mount { root: None, from, part, to: "/conf".into(), read_only: false };
        let why = volume(&root, &tree, &wanted).unwrap_err().line();
        let says = "cannot mount a volume on /conf: it is a directory, and the volume is a file";
        assert_eq!(why, says);
    }

    #[test]
    fn files_of_figures_in_proc_are_known_by_what_they_are() {
        let root = Root::open(Path::new("/")).unwrap();
        let is = |path: &str| {
            let target = root.open_in_root(Path::new(path), Kind::Place).unwrap();
            is_emulated(&root, &target).unwrap()
        };
        assert!(is("proc/meminfo") && is("/proc/self/../uptime"));
        let fips = "/proc/sys/crypto/fips_enabled";
        assert!(!Path::new(fips).exists() || is(fips), "not every kernel has it");
        for path in
            ["/proc", "/proc/version", "/proc/self/stat", "/proc/sys/kernel/hostname", "/proc/net/dev"]
        {
            assert!(!is(path), "{path}");
        }
        let tmp = tempfile::tempdir().unwrap();
        fs::create_dir(tmp.path().join("proc")).unwrap();
        fs::write(tmp.path().join("proc/stat"), "").unwrap();
        let other = Root::open(tmp.path()).unwrap();
        let target = root.open_in_root(Path::new("/proc/stat"), Kind::Place).unwrap();
        assert!(!is_emulated(&other, &target).unwrap(), "a file of another /proc");
    }

    #[test]
    fn what_cannot_be_hidden_keeps_the_container_from_starting() {
        let null = OwnedFd::from(fs::File::open("/dev/null").unwrap());
        let (tmp, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (root, empty) = (Root::open(tmp.path()).unwrap(), Root::open(empty.path()).unwrap());
        hide(&root, &null, &empty).unwrap(); // a kernel that has none of them
        fs::create_dir(tmp.path().join("elsewhere")).unwrap();
        for name in ["proc", "sys"] {
            symlink("elsewhere", tmp.path().join(name)).unwrap();
            let refused = hide(&root, &null, &empty).unwrap_err();
            assert!(refused.what.starts_with("cannot hide files of the kernel"), "{name}: {}", refused.what);
            fs::remove_file(tmp.path().join(name)).unwrap();
        }
    }
}
