//! Taking power away from a container's first process, in the one order that works.

use super::seccomp::Profile;
use super::user::Ids;
use super::{Context, Error, Result};
use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid};
use std::io;

/// containerd's default capabilities, without `CAP_`.
pub const DEFAULT_CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
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
    pub uid: u32,
    pub gid: u32,
    pub groups: &'a [u32],
    /// Names without `CAP_`; an unknown one is an error.
    pub capabilities: &'a [String],
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privs: bool,
    /// `None` for a privileged container.
    pub seccomp: Option<&'a Profile>,
    pub ids: Ids,
}

/// Gives up everything but `rights`, for ever. The next step is exec.
pub fn confine(rights: &Rights) -> Result<()> {
    let keep = capabilities(rights.capabilities)?;
    if rights.ids == Ids::Single && (rights.uid != 0 || rights.gid != 0) {
        let why = "this user has no subordinate ids, so user 0 is the only one in a container; see `ropewalk doctor`";
        return Err(Error::new(
            format!("cannot run as user {}:{}", rights.uid, rights.gid),
            io::Error::new(io::ErrorKind::Unsupported, why),
        ));
    }
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
        Err(nix::errno::Errno::EPERM) if rights.ids == Ids::Single => {} // forbidden there, and there are no others
        other => other.during(|| format!("cannot set supplementary groups {:?}", rights.groups))?,
    }
    let (uid, gid) = (Uid::from_raw(rights.uid), Gid::from_raw(rights.gid));
    nix::unistd::setresgid(gid, gid, gid).during(|| format!("cannot become group {gid}"))?;
    nix::unistd::setresuid(uid, uid, uid).during(|| format!("cannot become user {uid}"))?;
    if rights.uid == 0 {
        // Another user's change of uid emptied these sets already.
        caps::clear(None, CapSet::Inheritable).map_err(of_caps)?;
        caps::set(None, CapSet::Effective, &keep).map_err(of_caps)?;
        caps::set(None, CapSet::Permitted, &keep).map_err(of_caps)?;
    }
    if rights.no_new_privs {
        nix::sys::prctl::set_no_new_privs().during(|| "cannot set no_new_privs".into())?;
        load()?;
    }
    Ok(())
}

fn capabilities(names: &[String]) -> Result<CapsHashSet> {
    let parse = |name: &String| {
        format!("CAP_{name}")
            .parse::<Capability>()
            .map_err(|_| Error::new(format!("unknown capability {name:?}"), io::ErrorKind::InvalidInput))
    };
    names.iter().map(parse).collect()
}

fn of_caps(e: caps::errors::CapsError) -> Error {
    Error::new(format!("cannot set capabilities: {e}"), io::Error::last_os_error())
}
