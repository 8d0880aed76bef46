//! Which system calls a container may make: an allow list, as containerd's and Docker's default
//! profile.
//!
//! A call on the list is passed on. Every other call up to the last one of the list is "not
//! permitted". A newer call "does not exist" (`ENOSYS`), as with runc, so that programs fall back
//! to older ones; so does clone3, whose flags lie in memory, where a filter cannot look, but for
//! SYS_ADMIN, which may use all of them. The numbers of x32 count as newer: they name the same
//! calls once more. A program of another architecture is killed.
//!
//! Some capabilities bring calls with them, as upstream: SYS_ADMIN mount(2), SYS_PTRACE ptrace(2).
//! Stricter than upstream: without SYS_PTRACE no ptrace(2) and no process_vm_readv(2), which Docker
//! allows since Linux 4.8; no rings of packet sockets and no AF_XDP sockets. NET_RAW, a default, is
//! enough to make these, and the kernel charges their memory to no control group. Packet sockets
//! work without a ring; tcpdump, which insists on one, says "Operation not permitted". Source:
//! moby/profiles, seccomp/default.json; packet(7), af_xdp.rst.

mod calls;

use super::check;
use calls::{ALLOWED, NEWER, NEWEST, OLDER, WITH_CAPABILITY};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};
use std::collections::BTreeMap;
use std::io;

const NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u64;
/// Socket families that are refused: those that upstream's list leaves out, among them DECnet,
/// Econet, IrDA, CAIF, ALG and VSOCK; all from [`FAMILIES`] on, too; and XDP (44), which upstream
/// allows.
const REFUSED_FAMILIES: &[u64] = &[12, 19, 20, 23, 25, 34, 37, 38, 40, 44];
/// `SOL_PACKET` with `PACKET_RX_RING` and `PACKET_TX_RING` (linux/if_packet.h). A ring has up to 4
/// GiB.
const PACKET_LEVEL: u64 = libc::SOL_PACKET as u64;
const PACKET_RX_RING: u64 = 5;
const PACKET_TX_RING: u64 = 13;
const PACKET_RINGS: &[u64] = &[PACKET_RX_RING, PACKET_TX_RING];
/// The first family that upstream does not list.
const FAMILIES: u64 = 46;
/// Arguments of personality(2): Linux, Linux 32 bit, each with UNAME26, and the question.
const PERSONALITIES: &[u64] = &[0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// A profile, compiled for this machine. Compile the default once, in the zygote, before it is
/// needed.
pub struct Profile(Vec<BpfProgram>);

impl Profile {
    /// Compiles the profile of a container without further capabilities.
    ///
    /// # Errors
    /// `Unsupported` on a machine that seccompiler does not know.
    pub fn compile() -> io::Result<Profile> {
        Profile::compile_for(&[])
    }

    /// Compiles the profile of a container with these capabilities (names without `CAP_`).
    ///
    /// # Errors
    /// As [`Profile::compile`].
    pub fn compile_for(capabilities: &[String]) -> io::Result<Profile> {
        let made = programs(capabilities).map(Profile);
        made.map_err(|e| io::Error::new(io::ErrorKind::Unsupported, e.to_string()))
    }

    /// Returns whether some of these capabilities bring calls with them, so that the default does
    /// not fit.
    pub fn depends_on(capabilities: &[String]) -> bool {
        capabilities.iter().any(|c| WITH_CAPABILITY.iter().any(|(name, _)| name == c))
    }

    /// Loads the filters for this process and its children, for ever. Needs CAP_SYS_ADMIN or
    /// no_new_privs, which this, in contrast to `seccompiler::apply_filter`, does not set: it would
    /// break setuid programs.
    ///
    /// # Errors
    /// The kernel refuses filters.
    pub fn load(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|program| {
            let filter =
                libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut().cast() };
            // SAFETY: `sock_filter` of seccompiler and of libc have the same layout
            // (linux/filter.h); the kernel copies `len` of them from `program`, which outlives the
            // call.
            check(unsafe {
                libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter)
            })
            .map(drop)
        })
    }
}

/// Returns the error of asking for a ring without a socket: `EBADF`, or a filter's before it.
pub(crate) fn ring_of_nothing() -> io::Error {
    // SAFETY: there is no descriptor -1, so nothing is read.
    let answer =
        unsafe { libc::setsockopt(-1, libc::SOL_PACKET, PACKET_RX_RING as i32, std::ptr::null(), 0) };
    check(i64::from(answer)).err().unwrap_or_else(|| io::ErrorKind::Other.into())
}

fn programs(capabilities: &[String]) -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let is = |argument: u8, length, op, value| SeccompCondition::new(argument, length, op, value);
    let double = SeccompCmpArgLen::Dword;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in [ALLOWED, OLDER, NEWER].iter().flat_map(|list| list.iter()) {
        rules.insert(*call, vec![]);
    }
    // Conditions of one rule are AND-ed, rules of one call OR-ed.
    let no_namespace = is(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(NAMESPACES), 0)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![no_namespace])?]);
    let mut family = vec![is(0, double.clone(), SeccompCmpOp::Lt, FAMILIES)?];
    for refused in REFUSED_FAMILIES {
        family.push(is(0, double.clone(), SeccompCmpOp::Ne, *refused)?);
    }
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(family)?]);
    let other_level = SeccompRule::new(vec![is(1, double.clone(), SeccompCmpOp::Ne, PACKET_LEVEL)?])?;
    let no_ring = PACKET_RINGS.iter().map(|ring| is(2, double.clone(), SeccompCmpOp::Ne, *ring));
    let no_ring = SeccompRule::new(no_ring.collect::<Result<_, _>>()?)?;
    rules.insert(libc::SYS_setsockopt, vec![other_level, no_ring]);
    let mut personalities = Vec::new();
    for allowed in PERSONALITIES {
        personalities.push(SeccompRule::new(vec![is(0, double.clone(), SeccompCmpOp::Eq, *allowed)?])?);
    }
    rules.insert(libc::SYS_personality, personalities);
    let held = |name: &str| capabilities.iter().any(|c| c == name);
    for (_, calls) in WITH_CAPABILITY.iter().filter(|(name, _)| held(name)) {
        calls.iter().for_each(|call| drop(rules.insert(*call, vec![])));
    }
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let allowed = SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch)?;
    // Both answer for a call that is absent; of two errors the kernel returns that of the program
    // which was loaded last.
    Ok(vec![allowed.try_into()?, absent(held("SYS_ADMIN"))])
}

/// Answers `ENOSYS` for numbers above [`NEWEST`], x32's among them, and for clone3 unless the
/// container has that. `seccomp_data` begins with the number of the call. The architecture is
/// looked at by the other program, whose verdict is harder.
fn absent(has_clone3: bool) -> BpfProgram {
    let step = |code: u32, jt: u8, jf: u8, k: u32| sock_filter { code: code as u16, jt, jf, k };
    let skipped = u8::from(has_clone3); // the next instruction refuses, the one behind it allows
    vec![
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 1, 0, NEWEST),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, skipped, 1, libc::SYS_clone3 as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

#[cfg(test)]
mod tests;
