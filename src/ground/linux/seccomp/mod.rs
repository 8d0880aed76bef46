//! Which system calls a container may make: an allow list, as containerd's and Docker's default
//! profile.
//!
//! A call on the list is passed on. Every other call that this program knows is "not permitted". A
//! call that is newer than the list "does not exist" (`ENOSYS`), so that programs fall back to
//! older ones; so does clone3, whose flags lie in memory, where a filter cannot look. The numbers
//! of x32 count as newer: they name the same calls once more. A program of another architecture is
//! killed.
//!
//! Some capabilities bring calls with them, as upstream: SYS_ADMIN mount(2), SYS_PTRACE ptrace(2).
//! Stricter than upstream: without SYS_PTRACE no ptrace(2) and no process_vm_readv(2), which Docker
//! allows since Linux 4.8; no rings of packet sockets and no AF_XDP sockets. NET_RAW, a default, is
//! enough to make these, and the kernel charges their memory to no control group. Packet sockets
//! work without a ring; tcpdump, which insists on one, says "Operation not permitted". Source:
//! moby/profiles, seccomp/default.json; packet(7), af_xdp.rst.

use super::check;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};
use std::collections::BTreeMap;
use std::io;

/// Calls without conditions, on every architecture.
#[rustfmt::skip]
const ALLOWED: &[i64] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_adjtimex,
    libc::SYS_bind,
    libc::SYS_brk,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_chdir,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_connect,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fanotify_mark,
    libc::SYS_fchdir,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_flock,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getitimer,
    libc::SYS_getpeername,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpriority,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_getsid,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_getxattr,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_io_cancel,
    libc::SYS_io_destroy,
    libc::SYS_io_getevents,
    libc::SYS_io_setup,
    libc::SYS_io_submit,
    libc::SYS_ioctl,
    libc::SYS_ioprio_get,
    libc::SYS_ioprio_set,
    libc::SYS_kill,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_lgetxattr,
    libc::SYS_linkat,
    libc::SYS_listen,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_lremovexattr,
    libc::SYS_lseek,
    libc::SYS_lsetxattr,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_mincore,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_mlockall,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mq_getsetattr,
    libc::SYS_mq_notify,
    libc::SYS_mq_open,
    libc::SYS_mq_timedreceive,
    libc::SYS_mq_timedsend,
    libc::SYS_mq_unlink,
    libc::SYS_mremap,
    libc::SYS_msgctl,
    libc::SYS_msgget,
    libc::SYS_msgrcv,
    libc::SYS_msgsnd,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_munlockall,
    libc::SYS_munmap,
    libc::SYS_name_to_handle_at,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pipe2,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    libc::SYS_ppoll,
    libc::SYS_prctl,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_prlimit64,
    libc::SYS_process_mrelease,
    libc::SYS_pselect6,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readahead,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_remap_file_pages,
    libc::SYS_removexattr,
    libc::SYS_renameat2,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getattr,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_rr_get_interval,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_yield,
    libc::SYS_seccomp,
    libc::SYS_semctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_sendfile,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setfsgid,
    libc::SYS_setfsuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_setitimer,
    libc::SYS_setpgid,
    libc::SYS_setpriority,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_setsid,
    libc::SYS_setsockopt,
    libc::SYS_setuid,
    libc::SYS_setxattr,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_shmdt,
    libc::SYS_shmget,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_signalfd4,
    libc::SYS_socketpair,
    libc::SYS_splice,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_sysinfo,
    libc::SYS_tee,
    libc::SYS_tgkill,
    libc::SYS_timer_create,
    libc::SYS_timer_delete,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_gettime,
    libc::SYS_timer_settime,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    libc::SYS_times,
    libc::SYS_tkill,
    libc::SYS_truncate,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_vmsplice,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Calls that only x86_64 has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER: &[i64] = &[
    libc::SYS_access,
    libc::SYS_alarm,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_creat,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_ctl_old,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_wait_old,
    libc::SYS_eventfd,
    libc::SYS_fork,
    libc::SYS_futimesat,
    libc::SYS_get_thread_area,
    libc::SYS_getdents,
    libc::SYS_getpgrp,
    libc::SYS_inotify_init,
    libc::SYS_lchown,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_modify_ldt,
    libc::SYS_open,
    libc::SYS_pause,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_set_thread_area,
    libc::SYS_signalfd,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_time,
    libc::SYS_unlink,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_vfork,
    97,  // getrlimit
    160, // setrlimit
    264, // renameat
    277, // sync_file_range
    333, // io_pgetevents
    335, // uretprobe
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[
    38,  // renameat
    84,  // sync_file_range
    163, // getrlimit
    164, // setrlimit
    292, // io_pgetevents
];

/// Calls for which not every libc has a name; since Linux 5.1 all architectures count alike.
const NEWER: &[i64] = &[
    451, // cachestat
    452, // fchmodat2
    453, // map_shadow_stack
    454, // futex_wake
    455, // futex_wait
    456, // futex_requeue
    457, // statmount
    458, // listmount
    462, // mseal
    463, // setxattrat
    464, // getxattrat
    465, // listxattrat
    466, // removexattrat
];

/// The newest call that was looked at for these lists: file_setattr of Linux 6.17.
const NEWEST: u32 = 469;

/// Calls that come with a capability.
const WITH_CAPABILITY: &[(&str, &[i64])] = &[
    ("BPF", &[libc::SYS_bpf]),
    ("DAC_READ_SEARCH", &[libc::SYS_open_by_handle_at]),
    ("PERFMON", &[libc::SYS_perf_event_open]),
    (
        "SYS_ADMIN",
        &[
            libc::SYS_bpf,
            libc::SYS_clone,
            libc::SYS_fanotify_init,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fsopen,
            libc::SYS_fspick,
            libc::SYS_lookup_dcookie,
            libc::SYS_mount,
            libc::SYS_mount_setattr,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_perf_event_open,
            libc::SYS_quotactl,
            libc::SYS_quotactl_fd,
            libc::SYS_setdomainname,
            libc::SYS_sethostname,
            libc::SYS_setns,
            libc::SYS_syslog,
            libc::SYS_umount2,
            libc::SYS_unshare,
            459, // lsm_get_self_attr
            460, // lsm_set_self_attr
            461, // lsm_list_modules
        ],
    ),
    ("SYS_BOOT", &[libc::SYS_reboot]),
    ("SYS_MODULE", &[libc::SYS_delete_module, libc::SYS_finit_module, libc::SYS_init_module]),
    (
        "SYS_NICE",
        &[
            libc::SYS_get_mempolicy,
            libc::SYS_mbind,
            libc::SYS_set_mempolicy,
            450, // set_mempolicy_home_node
        ],
    ),
    ("SYS_PACCT", &[libc::SYS_acct]),
    (
        "SYS_PTRACE",
        &[
            libc::SYS_kcmp,
            libc::SYS_pidfd_getfd,
            libc::SYS_process_madvise,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_ptrace,
        ],
    ),
    #[cfg(target_arch = "x86_64")]
    ("SYS_RAWIO", &[libc::SYS_ioperm, libc::SYS_iopl]),
    ("SYS_TIME", &[libc::SYS_clock_settime, libc::SYS_settimeofday]),
    ("SYS_TTY_CONFIG", &[libc::SYS_vhangup]),
    ("SYSLOG", &[libc::SYS_syslog]),
];

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
    /// The profile of a container without further capabilities.
    ///
    /// # Errors
    /// `Unsupported` on a machine that seccompiler does not know.
    pub fn compile() -> io::Result<Profile> {
        Profile::compile_for(&[])
    }

    /// The profile of a container with these capabilities (names without `CAP_`).
    ///
    /// # Errors
    /// As [`Profile::compile`].
    pub fn compile_for(capabilities: &[String]) -> io::Result<Profile> {
        let made = programs(capabilities).map(Profile);
        made.map_err(|e| io::Error::new(io::ErrorKind::Unsupported, e.to_string()))
    }

    /// Whether some of these capabilities bring calls with them, so that the default does not fit.
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

/// The error of asking for a ring without a socket: `EBADF`, or a filter's before it.
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
    Ok(vec![allowed.try_into()?, absent()])
}

/// Answers `ENOSYS` for clone3 and for numbers above [`NEWEST`], x32's among them. `seccomp_data`
/// begins with the number of the call. The architecture is looked at by the other program, whose
/// verdict is harder.
fn absent() -> BpfProgram {
    let step = |code: u32, jt: u8, jf: u8, k: u32| sock_filter { code: code as u16, jt, jf, k };
    vec![
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 1, 0, NEWEST),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_clone3 as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

#[cfg(test)]
mod tests;
