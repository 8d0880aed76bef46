//! What this machine allows, found out by trying: `ropewalk doctor`.
//!
//! Every trial runs in a forked child that is thrown away, in the order in which a cluster would
//! need it. Nothing remains, also of one that is interrupted, but root's empty file of locks
//! ([`ranges`]), which its clusters share.

mod cgroups;
mod own_users;
mod question;
mod words;

use super::process::{self, flags, spawn_forked};
use super::ranges;
use super::seccomp::Profile;
use super::user::{self, Ids};
use super::{Context, Error, Result, beneath, confine, fds, limits};
use super::{mount, namespace, oom, required_calls, seccomp};
use lang::Lang;
use serde::Serialize;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use words::Word;

pub use question::{Capability, Question};

impl Question<'_> {
    /// Runs a trial in a child with new namespaces; what it found, or its error's line.
    fn trial(
        &self,
        clone_flags: u64,
        found: Word,
        run: impl FnOnce() -> Result<()>,
    ) -> std::result::Result<String, String> {
        trial(clone_flags, || run().map(|()| self.say(found)))
    }
}

/// Tries everything. `networks` runs in the child too, in namespaces like a cluster's: `net` brings
/// its own trials.
///
/// # Errors
/// This process has threads or cannot fork, or the child ended before it wrote its findings.
pub fn probe(
    question: Question<'_>,
    networks: impl FnOnce(Lang) -> Vec<Capability>,
) -> Result<Vec<Capability>> {
    let (kernel, calls) = (kernel_version(question), system_calls(question));
    if calls.fatal {
        return Ok(vec![kernel, calls]); // not even a child can be made
    }
    let (read, write) = fds::pipe().during(|| "cannot make a pipe".into())?;
    let child =
        spawn_forked(0, None, |_| write_json(&write, &in_child(question, vec![kernel, calls], networks)))
            .during(|| "cannot fork".into())?;
    drop(write);
    let mut text = String::new();
    let outcome = fs::File::from(read).read_to_string(&mut text);
    let _ = process::wait_pidfd(child.pidfd.as_fd(), true);
    outcome.during(|| "cannot read the findings".into())?;
    serde_json::from_str(&text).map_err(|e| Error::new("the probe failed", io::Error::from(e)))
}

/// Writes what a child found for its parent. Returns the child's exit code.
fn write_json(to: &OwnedFd, findings: &impl Serialize) -> i32 {
    use std::io::Write;
    let text = serde_json::to_vec(findings).unwrap_or_default();
    let mut pipe = match to.try_clone() {
        Ok(fd) => fs::File::from(fd),
        Err(_) => return 1,
    };
    i32::from(pipe.write_all(&text).is_err())
}

fn in_child(
    q: Question<'_>,
    mut findings: Vec<Capability>,
    networks: impl FnOnce(Lang) -> Vec<Capability>,
) -> Vec<Capability> {
    let was_root = nix::unistd::geteuid().is_root(); // afterwards it always is
    let ids = user::enter();
    findings.extend(users(q, &ids, was_root));
    if ids.is_err() {
        return findings;
    }
    let restriction = if was_root { None } else { user::restriction() };
    let mend = |kinds: &[&str]| how_to_make(kinds, restriction).unwrap_or(q.say(Word::MendPrivileged));
    findings.push(
        Capability::of(
            q.say(Word::PidAndMount),
            q.trial(flags::NEWPID | flags::NEWNS, Word::CanBeMade, mount::make_all_private),
            q.say(Word::NoCluster),
            mend(&["pid", "mnt"]),
        )
        .needed(),
    );
    if findings.iter().any(|finding| finding.fatal) {
        return findings; // nothing else could be tried
    }
    let proc = trial(flags::NEWPID | flags::NEWNS, || Ok(q.say_of(Word::FirstProcess, &[&fresh_proc()?])));
    findings.push(q.of(Word::OwnProc, proc, Word::EmptyProc, Word::MendProc));
    findings.push(
        Capability::of(
            q.say(Word::UtsIpcCgroup),
            q.trial(flags::NEWUTS | flags::NEWIPC | flags::NEWCGROUP, Word::CanBeMade, || Ok(())),
            q.say(Word::NoContainer),
            mend(&["uts", "ipc", "cgroup"]),
        )
        .needed(),
    );
    let mut container = |name: Word, tried: std::result::Result<String, String>, mend: Word| {
        findings.push(q.of(name, tried, Word::NoContainer, mend).needed());
    };
    container(Word::Overlay, q.trial(flags::NEWNS, Word::CanBeMounted, overlay), Word::MendOverlay);
    container(Word::PivotRoot, q.trial(flags::NEWNS, Word::RootChanges, other_root), Word::MendPivot);
    container(Word::VolumeMounts, q.trial(flags::NEWNS, Word::Attached, attached), Word::MendMounts);
    let filters = q.trial(0, Word::FilterLoads, || {
        let profile = Profile::compile().during(|| "cannot compile the filters".into())?;
        profile.load().during(|| "cannot load the filters".into())
    });
    container(Word::Seccomp, filters, Word::MendSeccomp);
    let networked = q.trial(0, Word::Configured, || {
        let made = namespace::new_network().during(|| "cannot make a network namespace".into())?;
        namespace::set_network_sysctls(made.as_fd(), &[("net/ipv4/ip_forward", "1")])
    });
    findings.push(
        Capability::of(q.say(Word::NetworkNamespaces), networked, q.say(Word::NoCluster), mend(&["net"]))
            .needed(),
    );
    findings.extend(ids.as_ref().map(|ids| protections(q, *ids)).unwrap_or_default());
    findings.extend(cgroups::trials(q));
    findings.extend(networks_in_child(q, networks));
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
    let child = spawn_forked(clone_flags, None, |_| write_json(&write, &run()))
        .during(|| "cannot clone a process with new namespaces".into())?;
    drop(write);
    let mut text = String::new();
    let outcome = fs::File::from(read).read_to_string(&mut text);
    let _ = process::wait_pidfd(child.pidfd.as_fd(), true);
    outcome.during(|| "cannot read the trial's answer".into())?;
    serde_json::from_str(&text).map_err(|e| Error::new("the trial broke off", io::Error::from(e)))
}

fn networks_in_child(q: Question<'_>, networks: impl FnOnce(Lang) -> Vec<Capability>) -> Vec<Capability> {
    in_new_process(0, || networks(q.lang)).unwrap_or_else(|e| {
        vec![q.of(Word::Networks, Err(e.line()), Word::NoCluster, Word::SeeAbove).needed()]
    })
}

fn kernel_version(q: Question<'_>) -> Capability {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim().to_string();
    let outcome = match version(&release) {
        Some(version) if version >= (5, 14) => Ok(release),
        Some(_) => Err(q.say_of(Word::TooOld, &[&release])),
        None => Err(q.say_of(Word::NoVersion, &[&format!("{release:?}")])),
    };
    q.of(Word::Kernel, outcome, Word::Incomplete, Word::NewerKernel)
}

fn system_calls(q: Question<'_>) -> Capability {
    let outcome = match required_calls::missing() {
        None => Ok(required_calls::names()),
        Some((name, error)) => Err(format!("{name}: {error}")),
    };
    q.of(Word::SystemCalls, outcome, Word::NoCluster, Word::MendCalls).needed()
}

/// Parses the version of a release: `6.1.0-13-amd64` is (6, 1).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Says what being root, or not, means here. Root enters no user namespace, so subordinate ids do
/// not help a root that has one id only, as in that of `unshare -r`.
fn users(q: Question<'_>, ids: &Result<Ids>, was_root: bool) -> Vec<Capability> {
    let namespace = |outcome, mend: &str| {
        Capability::of(q.say(Word::UserNamespaces), outcome, q.say(Word::NoClusterWithoutRoot), mend).needed()
    };
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let mend = match was_root {
        true => q.say(Word::MendOneId),
        false => how_to_get_ids(&read("/etc/subuid"), &read("/etc/subgid")),
    };
    let own = |outcome| Capability::of(q.say(Word::SubordinateIds), outcome, q.say(Word::UserZeroOnly), mend);
    match ids {
        Ok(Ids::Host) => vec![namespace(Ok(q.say(Word::NotNeeded)), "")],
        Ok(Ids::Range) => vec![namespace(Ok(q.say(Word::CanBeMade)), ""), own(Ok(q.say(Word::Newuidmap)))],
        Ok(Ids::Single) => vec![namespace(Ok(q.say(Word::CanBeMade)), ""), own(Err(q.say(Word::OneId)))],
        Err(e) => {
            let why = q.say_of(Word::CannotBeMade, &[&e.cause.to_string()]);
            vec![namespace(Err(why), user::how_to_allow(&e.cause))]
        }
    }
}

/// Returns the command that gives this user subordinate ids which no other user has.
fn how_to_get_ids(users: &str, groups: &str) -> String {
    let first = ranges::first_free([users, groups]);
    let last = first.saturating_add(u64::from(ranges::COUNT) - 1);
    format!(
        "sudo apt-get install uidmap && sudo usermod --add-subuids {first}-{last} --add-subgids {first}-{last} $USER"
    )
}

/// Returns the command after which namespaces of these kinds can be made: of one of them this user
/// may have none, or a [`restriction`](user::restriction) leaves no rights in a user namespace.
fn how_to_make(kinds: &[&str], restriction: Option<&str>) -> Option<String> {
    raise_limit(kinds).or_else(|| restriction.map(String::from))
}

/// Returns the command that allows a kind of namespace again of which this user may have none.
fn raise_limit(kinds: &[&str]) -> Option<String> {
    let none = |kind: &&&str| {
        let most = fs::read_to_string(format!("/proc/sys/user/max_{kind}_namespaces"));
        most.is_ok_and(|n| n.trim() == "0")
    };
    kinds.iter().find(none).map(|kind| format!("sudo sysctl -w user.max_{kind}_namespaces=15000"))
}

/// Returns the number of this process in there.
fn fresh_proc() -> Result<String> {
    mount::make_all_private()?;
    mount::fresh_proc(Path::new("/proc"))?;
    let own = fs::read_link("/proc/self").during(|| "cannot read /proc/self".into())?;
    Ok(own.display().to_string())
}

fn overlay() -> Result<()> {
    mount::make_all_private()?;
    let base = Path::new("/tmp");
    mount::mount("tmpfs", base, mount::Flags::empty(), "mode=755")?;
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(base.join(name)).during(|| format!("cannot make {name}"))?;
    }
    std::env::set_current_dir(base).during(|| "cannot enter /tmp".into())?;
    let notes = if user::keeps_trusted_attributes() { "" } else { ",userxattr" };
    let options = format!("lowerdir=lower,upperdir=upper,workdir=work{notes}");
    mount::mount("overlay", Path::new("merged"), mount::Flags::empty(), &options)?;
    fs::write("merged/file", "text").during(|| "cannot write through an overlay".into())
}

/// As a volume is mounted: onto a descriptor, read-only and without devices.
fn attached() -> Result<()> {
    mount::make_all_private()?;
    let base = Path::new("/tmp");
    mount::mount("tmpfs", base, mount::Flags::empty(), "mode=755")?;
    let root = beneath::Root::open(base)?;
    let (from, onto) = (root.make_dirs(Path::new("from"), 0o755)?, root.make_dirs(Path::new("onto"), 0o755)?);
    let attributes = mount::Attributes { read_only: true, no_devices: true };
    mount::attach(from.as_fd(), onto.as_fd(), attributes)?;
    match root.write_file(Path::new("onto/file"), b"text", 0o644) {
        Ok(()) => Err(Error::new("a read-only mount was written", io::ErrorKind::Other)),
        Err(_) => Ok(()),
    }
}

fn other_root() -> Result<()> {
    mount::make_all_private()?;
    let base = Path::new("/tmp");
    mount::mount("tmpfs", base, mount::Flags::empty(), "mode=755")?;
    mount::enter_root(base)?;
    mount::leave_old_root()
}

/// Tries what keeps a pod away from the host and from other pods, beside namespaces, filters and
/// limits.
fn protections(q: Question<'_>, ids: Ids) -> Vec<Capability> {
    let dumpable = || {
        process::become_undumpable().during(|| "cannot become undumpable".into())?;
        match nix::sys::prctl::get_dumpable().during(|| "cannot ask".into())? {
            false => Ok(()),
            true => Err(Error::new(q.say(Word::NoEffect), io::ErrorKind::Other)),
        }
    };
    let privileges = || nix::sys::prctl::set_no_new_privs().during(|| "cannot be set".into());
    let missing = confine::missing_capabilities();
    let held = match missing.is_empty() {
        true => Ok(q.say(Word::AllCapabilities)),
        false => Err(q.say_of(Word::Missing, &[&missing.join(", ")])),
    };
    let needed = |name, tried| q.of(name, tried, Word::NoContainer, Word::MendProtection).needed();
    let rings = q.trial(0, Word::RingsRefused, || rings_refused(q));
    vec![
        needed(Word::PathResolver, q.trial(0, Word::Openat2, beneath::supported)),
        needed(Word::Undumpable, q.trial(0, Word::NotTraced, dumpable)),
        needed(Word::NoNewPrivs, q.trial(0, Word::EscalationHolds, privileges)),
        q.of(Word::Capabilities, held, Word::PrivilegedLess, Word::MendCapabilities),
        q.of(Word::PacketRings, rings, Word::UncountedRings, Word::MendSeccomp),
        oom_order(q),
        open_files(q),
        supplementary_groups(q),
        own_users::own_users(q, ids),
    ]
}

/// Tries whether rings of packet sockets are refused. A filter answers before the kernel looks
/// whether the descriptor is one.
fn rings_refused(q: Question<'_>) -> Result<()> {
    let profile = Profile::compile().during(|| "cannot compile the filters".into())?;
    profile.load().during(|| "cannot load the filters".into())?;
    match seccomp::ring_of_nothing().raw_os_error() {
        Some(nix::libc::EPERM) => Ok(()),
        _ => Err(Error::new(q.say(Word::NoEffect), io::ErrorKind::Other)),
    }
}

/// Says which process the kernel ends when memory runs out. The order holds everywhere, by one of
/// two ways.
fn oom_order(q: Question<'_>) -> Capability {
    let least = oom::score_adj(-1000).to_string();
    let how = if oom::score_holds() { Word::OomFinal } else { Word::OomReadOnly };
    Capability::of(q.say(Word::OomOrder), Ok(q.say_of(how, &[&least])), "", "")
}

fn open_files(q: Question<'_>) -> Capability {
    use nix::sys::resource::{Resource, getrlimit};
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| limits::files_of(hard));
    let (shown, most) = (files.to_string(), limits::FILES_MAX.to_string());
    if !limits::cores_held() {
        let found = Err(q.say_of(Word::CoresLeave, &[&shown]));
        return q.of(Word::OpenFiles, found, Word::CoreProgram, Word::MendCores);
    }
    let found = match files < limits::FILES_MAX {
        true => Err(q.say_of(Word::FewFiles, &[&shown, &most])),
        false => Ok(q.say_of(Word::FilesAndCores, &[&shown])),
    };
    q.of(Word::OpenFiles, found, Word::FewerFiles, Word::MendFiles)
}

/// Says whether groups of this user stay with containers. Without subordinate ids the kernel lets
/// no process drop groups, so files that a group of this user may read can be read in containers.
fn supplementary_groups(q: Question<'_>) -> Capability {
    let denied = fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny");
    let own = nix::unistd::getgid();
    let others =
        nix::unistd::getgroups().unwrap_or_default().into_iter().filter(|group| *group != own).count();
    let outcome = match denied && others > 0 {
        true => Err(q.say_of(Word::GroupsStay, &[&others.to_string()])),
        false => Ok(q.say(Word::NoGroups)),
    };
    q.of(Word::Groups, outcome, Word::GroupFiles, Word::MendGroups)
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

    #[test]
    fn root_with_one_id_is_not_told_to_add_subordinate_ids() {
        let q = Question { lang: Lang::En, home: Path::new("/") };
        let mend = |was_root| users(q, &Ok(Ids::Single), was_root).pop().unwrap().how_to_mend;
        assert!(mend(false).contains("--add-subuids"), "{}", mend(false));
        assert!(mend(true).contains("outside of this user namespace"), "{}", mend(true));
    }

    #[test]
    fn a_user_is_not_told_to_take_the_subordinate_ids_of_another_one() {
        let anna = "anna:100000:65536\n";
        assert!(how_to_get_ids("", "").contains("--add-subuids 100000-165535 --add-subgids 100000-165535 "));
        assert!(
            how_to_get_ids(anna, anna).contains("--add-subuids 165536-231071 --add-subgids 165536-231071 ")
        );
    }

    #[test]
    fn where_a_user_namespace_has_no_rights_the_setting_is_the_advice() {
        assert_eq!(how_to_make(&[], Some("sudo x")).as_deref(), Some("sudo x"));
        assert_eq!(how_to_make(&["no such kind"], None), None);
    }

    #[test]
    fn only_what_is_needed_and_missing_is_fatal() {
        let of = |outcome: std::result::Result<String, String>| Capability::of("x", outcome, "", "");
        let broken = || of(Err("EPERM".into()));
        assert_eq!(
            [broken().fatal, broken().needed().fatal, of(Ok("yes".into())).needed().fatal],
            [false, true, false]
        );
    }
}
