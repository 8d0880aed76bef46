//! Taking power away from a container's first process, in the one order that works.

use super::seccomp::Profile;
use super::user::Ids;
use super::{Context, Error, Result, process};
use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid};
use std::io;

/// containerd's default capabilities, without `CAP_` and without MKNOD: device nodes are harmless
/// only where a device cgroup says which may be opened, and that is not so on every machine. A pod
/// can ask for MKNOD where it is.
pub const DEFAULT_CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Names of all capabilities that the kernel has, without `CAP_`.
pub fn all_capabilities() -> Vec<String> {
    let mut all: Vec<String> =
        caps::all().iter().map(|c| c.to_string().trim_start_matches("CAP_").to_string()).collect();
    all.sort();
    all
}

/// What is left to a process.
pub struct Rights<'a> {
    /// User id, as the container's user namespace counts.
    pub uid: u32,
    /// Group id, as the container's user namespace counts.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: &'a [u32],
    /// Names without `CAP_`; one that is not known here is not granted.
    pub capabilities: &'a [String],
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privs: bool,
    /// `None` for a privileged container.
    pub seccomp: Option<&'a Profile>,
    /// Which ids can be set at all.
    pub ids: Ids,
}

/// Gives up everything but `rights`, for ever. The next step is exec. Returns what was asked for
/// and cannot be had, a sentence each.
///
/// Another user than 0 has the capabilities until exec, as with runc (`finalizeNamespace`): with
/// `DAC_OVERRIDE` the kernel opens a program that only root may run. After exec it has those of
/// them that the program's file grants (setcap(8)), also with `no_new_privs`: of most files none.
///
/// ```text
/// user 1000, program of root with mode 0744, DAC_OVERRIDE    it runs, without a capability
/// user 1000, program of root with mode 0744, drop: [ALL]     permission denied
/// ```
///
/// # Errors
/// A user or group that does not exist here, or is 4294967295, which means "no change" to the
/// kernel; the process is not what it should be afterwards.
pub fn confine(rights: &Rights) -> Result<Vec<String>> {
    let (wanted, unknown) = capabilities(rights.capabilities);
    let mut warnings: Vec<String> =
        unknown.iter().map(|name| format!("capability {name} is not known here and not granted")).collect();
    let held = held()?;
    let keep: CapsHashSet = wanted.intersection(&held).copied().collect();
    let mut missing: Vec<String> = wanted.difference(&held).map(ToString::to_string).collect();
    if !missing.is_empty() {
        missing.sort();
        warnings
            .push(format!("this machine does not grant Ropewalk these capabilities: {}", missing.join(", ")));
    }
    check_ids(rights)?;
    let load = || match rights.seccomp {
        Some(profile) => profile.load().during(|| "cannot load the seccomp filters".into()),
        None => Ok(()),
    };
    if !rights.no_new_privs {
        load()?; // needs CAP_SYS_ADMIN, so before it goes
    }
    for capability in caps::all() {
        let held = caps::has_cap(None, CapSet::Bounding, capability).unwrap_or(false);
        if held && !keep.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability).map_err(of_caps)?;
        }
    }
    let groups: Vec<Gid> = rights.groups.iter().map(|g| Gid::from_raw(*g)).collect();
    match nix::unistd::setgroups(&groups) {
        // Forbidden where a user has one id only; the groups of the user who runs Ropewalk stay, as
        // `ropewalk doctor` says.
        Err(nix::errno::Errno::EPERM) if rights.ids == Ids::Single => {
            if !groups.is_empty() {
                warnings.push(format!(
                    "supplementary groups {:?} cannot be set without subordinate ids",
                    rights.groups
                ));
            }
        }
        other => other.during(|| format!("cannot set supplementary groups {:?}", rights.groups))?,
    }
    let (uid, gid) = (Uid::from_raw(rights.uid), Gid::from_raw(rights.gid));
    nix::sys::prctl::set_keepcaps(true).during(|| "cannot keep capabilities".into())?;
    nix::unistd::setresgid(gid, gid, gid).during(|| format!("cannot become group {gid}"))?;
    nix::unistd::setresuid(uid, uid, uid).during(|| format!("cannot become user {uid}"))?;
    process::become_undumpable().during(|| "cannot hide from tracers".into())?; // at once, and again below
    must_be(uid, gid)?;
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(of_caps)?;
    }
    caps::set(None, CapSet::Effective, &keep).map_err(of_caps)?;
    caps::set(None, CapSet::Permitted, &keep).map_err(of_caps)?;
    nix::sys::prctl::set_keepcaps(false).during(|| "cannot stop keeping capabilities".into())?;
    // A change of user or of rights sets what fs.suid_dumpable says, which may be 1: then the
    // container could trace this process until exec.
    process::become_undumpable().during(|| "cannot hide from tracers".into())?;
    if rights.no_new_privs {
        nix::sys::prctl::set_no_new_privs().during(|| "cannot set no_new_privs".into())?;
        load()?;
    }
    Ok(warnings)
}

/// Checks that the kernel and the user namespace have these ids.
///
/// # Errors
/// One is 4294967295, or another than 0 where there is only user 0.
fn check_ids(rights: &Rights) -> Result<()> {
    if rights.uid == u32::MAX || rights.gid == u32::MAX || rights.groups.contains(&u32::MAX) {
        let why = io::Error::new(
            io::ErrorKind::InvalidInput,
            "4294967295 is no id: it means \"no change\" to the kernel",
        );
        return Err(Error::new(format!("cannot run as user {}:{}", rights.uid, rights.gid), why));
    }
    if rights.ids == Ids::Single && (rights.uid != 0 || rights.gid != 0) {
        let why = "this user has no subordinate ids, so user 0 is the only one in a container; see `ropewalk doctor`";
        return Err(Error::new(
            format!("cannot run as user {}:{}", rights.uid, rights.gid),
            io::Error::new(io::ErrorKind::Unsupported, why),
        ));
    }
    Ok(())
}

/// Checks that all three user and group ids are these.
fn must_be(uid: Uid, gid: Gid) -> Result<()> {
    let users = nix::unistd::getresuid().during(|| "cannot read the user ids".into())?;
    let groups = nix::unistd::getresgid().during(|| "cannot read the group ids".into())?;
    let reached = [users.real, users.effective, users.saved].iter().all(|id| *id == uid)
        && [groups.real, groups.effective, groups.saved].iter().all(|id| *id == gid);
    if reached {
        return Ok(());
    }
    let found = format!("the ids are {users:?} and {groups:?}, not {uid} and {gid}");
    Err(Error::new("cannot change the user", io::Error::other(found)))
}

/// Returns the capabilities that this process has and may hand on.
fn held() -> Result<CapsHashSet> {
    let permitted = caps::read(None, CapSet::Permitted).map_err(of_caps)?;
    let bounding = |c: &Capability| caps::has_cap(None, CapSet::Bounding, *c).unwrap_or(false);
    Ok(permitted.into_iter().filter(bounding).collect())
}

/// Names, without `CAP_`, of capabilities that the kernel has and this process has not: a
/// privileged container goes without them.
pub fn missing_capabilities() -> Vec<String> {
    let held = held().unwrap_or_default();
    let all = caps::runtime::thread_all_supported().into_iter().filter(|c| !held.contains(c));
    let mut names: Vec<String> = all.map(|c| c.to_string().trim_start_matches("CAP_").to_string()).collect();
    names.sort();
    names
}

/// Returns capabilities by their names without `CAP_`, and the names of which none is known. As
/// with containerd and runc a container starts without those.
fn capabilities(names: &[String]) -> (CapsHashSet, Vec<&String>) {
    let parse = |name: &String| format!("CAP_{name}").parse::<Capability>().ok();
    let unknown = names.iter().filter(|name| parse(name).is_none()).collect();
    (names.iter().filter_map(parse).collect(), unknown)
}

fn of_caps(e: caps::errors::CapsError) -> Error {
    Error::new("cannot read or set capabilities", io::Error::other(e)) // it has the kernel's answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(uid: u32, gid: u32, capabilities: &[String]) -> Rights<'_> {
        Rights { uid, gid, groups: &[], capabilities, no_new_privs: true, seccomp: None, ids: Ids::Host }
    }

    #[test]
    fn an_id_that_means_no_change_is_refused() {
        // Refused before anything is given up, so the test's own process is left as it is.
        for (uid, gid) in [(u32::MAX, 0), (0, u32::MAX)] {
            let refused = confine(&rights(uid, gid, &[])).unwrap_err();
            assert!(refused.line().contains("4294967295"), "{}", refused.line());
        }
        let groups = Rights { groups: &[u32::MAX], ..rights(0, 0, &[]) };
        assert!(confine(&groups).is_err());
    }

    #[test]
    fn a_capability_that_nobody_knows_keeps_no_container_from_starting() {
        let names = ["CHOWN", "NONSENSE", "CAP_KILL"].map(String::from);
        let (known, unknown) = capabilities(&names);
        assert_eq!(known, [Capability::CAP_CHOWN].into_iter().collect());
        assert_eq!(unknown, [&names[1], &names[2]]);
    }

    #[test]
    fn a_confined_process_cannot_be_traced_before_its_program_runs() {
        use std::os::unix::process::CommandExt;
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let mut command = std::process::Command::new("/bin/true");
        let confined = || {
            // As fs.suid_dumpable=1 leaves it, which a test may not set for the whole machine.
            nix::sys::prctl::set_dumpable(true)?;
            confine(&rights(0, 0, &[])).map_err(|e| e.cause)?;
            match nix::sys::prctl::get_dumpable()? {
                false => Ok(()),
                true => Err(io::Error::other("it can be traced")),
            }
        };
        // SAFETY: the child has one thread, and calls nothing that waits for another.
        unsafe { command.pre_exec(confined) };
        assert!(command.status().unwrap().success());
    }

    /// A script of a ConfigMap with `defaultMode: 0744` belongs to root.
    #[test]
    fn another_user_opens_its_program_with_the_capabilities_and_runs_it_without() {
        use std::os::unix::fs::PermissionsExt;
        use std::os::unix::process::CommandExt;
        let may_override = held().is_ok_and(|held| held.contains(&Capability::CAP_DAC_OVERRIDE));
        if !nix::unistd::geteuid().is_root() || !may_override || !super::super::user::exists(1000) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        // Only root may search it.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let program = dir.path().join("cat");
        std::os::unix::fs::symlink("/bin/cat", &program).unwrap();
        let run = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_string()).collect();
            let mut command = std::process::Command::new(&program);
            let confined = move || confine(&rights(1000, 1000, &names)).map(drop).map_err(|e| e.cause);
            // SAFETY: the child has one thread, and calls nothing that waits for another.
            unsafe { command.arg("/proc/self/status").pre_exec(confined) };
            command.output()
        };
        assert_eq!(run(&[]).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let status = String::from_utf8(run(&["DAC_OVERRIDE"]).unwrap().stdout).unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert!(status.contains(&format!("{set}:\t0000000000000000\n")), "{status}");
        }
    }

    #[test]
    fn the_ids_that_were_reached_are_compared() {
        let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
        assert!(must_be(uid, gid).is_ok());
        assert!(must_be(Uid::from_raw(uid.as_raw() + 1), gid).is_err());
        assert!(must_be(uid, Gid::from_raw(gid.as_raw() + 1)).is_err());
    }
}
