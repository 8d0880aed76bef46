use super::*;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ABSENT: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// What the kernel would run: one program over `seccomp_data` (number, architecture,
/// instruction pointer, six arguments).
fn run(program: &BpfProgram, data: &[u8; 64]) -> u32 {
    let word = |at: u32| {
        let at = at as usize;
        u32::from_ne_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]])
    };
    let (mut at, mut value) = (0, 0u32);
    loop {
        let s = &program[at];
        at += 1;
        let jump = |taken: bool| usize::from(if taken { s.jt } else { s.jf });
        match s.code {
            0x20 => value = word(s.k),
            0x54 => value &= s.k,
            0x05 => at += s.k as usize,
            0x15 => at += jump(value == s.k),
            0x25 => at += jump(value > s.k),
            0x35 => at += jump(value >= s.k),
            0x45 => at += jump(value & s.k != 0),
            0x06 => return s.k,
            other => panic!("an instruction that this test does not know: {other:#x}"),
        }
    }
}

/// The verdict of all programs, as seccomp(2) has it: the hardest action wins, and among equal
/// ones that of the program loaded last.
fn verdict<const N: usize>(profile: &Profile, architecture: u32, call: i64, arguments: [u64; N]) -> u32 {
    let mut data = [0; 64];
    data[..4].copy_from_slice(&(call as u32).to_ne_bytes());
    data[4..8].copy_from_slice(&architecture.to_ne_bytes());
    for (place, argument) in data[16..].chunks_exact_mut(8).zip(arguments) {
        place.copy_from_slice(&argument.to_ne_bytes());
    }
    let verdicts = profile.0.iter().rev().map(|program| run(program, &data));
    verdicts.min_by_key(|verdict| (verdict & libc::SECCOMP_RET_ACTION_FULL) as i32).unwrap()
}

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xC000_00B7;
const I386: u32 = 0x4000_0003;

/// Calls that containerd's profile refuses, whatever their arguments.
const REFUSED_CALLS: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_get_mempolicy,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mbind,
    libc::SYS_migrate_pages,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_set_mempolicy,
    450, // set_mempolicy_home_node
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    459, // lsm_get_self_attr
];

#[test]
fn calls_are_allowed_and_refused_as_by_containerd() {
    let profile = Profile::compile().unwrap();
    let ask = |call: i64, first: u64| verdict(&profile, NATIVE, call, [first, 0]);
    for call in [
        libc::SYS_read,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_execve,
        libc::SYS_futex,
        libc::SYS_rseq,
        libc::SYS_close_range,
        libc::SYS_mknodat,
        libc::SYS_chroot,
        libc::SYS_statx,
        libc::SYS_setuid,
        libc::SYS_seccomp,
        462,
    ] {
        assert_eq!(ask(call, 0), ALLOW, "{call}");
    }
    for call in REFUSED_CALLS {
        assert_eq!(ask(*call, 0), REFUSED, "{call}");
    }
    // open_tree_attr, file_getattr and file_setattr are newer than upstream's list: runc says so.
    for call in [libc::SYS_clone3, 467, 468, 469, 470, 500, 0x4000_0000, 0x4000_0027] {
        assert_eq!(ask(call, 0), ABSENT, "{call}");
    }
    let last = *ALLOWED.iter().chain(OLDER).chain(NEWER).max().unwrap();
    assert_eq!(last, i64::from(NEWEST), "a call beyond it would be allowed and absent");
}

#[test]
fn arguments_decide_where_the_number_does_not() {
    let profile = Profile::compile().unwrap();
    let ask = |call: i64, first: u64| verdict(&profile, NATIVE, call, [first, 0]);
    assert_eq!(ask(libc::SYS_clone, libc::SIGCHLD as u64), ALLOW);
    assert_eq!(ask(libc::SYS_clone, (libc::CLONE_VM | libc::CLONE_THREAD) as u64), ALLOW);
    for bit in (0..32).filter(|bit| NAMESPACES >> bit & 1 == 1) {
        assert_eq!(ask(libc::SYS_clone, 1 << bit | libc::SIGCHLD as u64), REFUSED, "{bit}");
    }
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET] {
        assert_eq!(ask(libc::SYS_socket, family as u64), ALLOW, "{family}");
    }
    for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_CAIF, 46, 1000] {
        assert_eq!(ask(libc::SYS_socket, family as u64), REFUSED, "{family}");
    }
    // The kernel looks at the lower half of an int only.
    assert_eq!(ask(libc::SYS_socket, 1 << 32 | libc::AF_VSOCK as u64), REFUSED);
    assert_eq!(ask(libc::SYS_personality, 0), ALLOW);
    assert_eq!(ask(libc::SYS_personality, 0x40000), REFUSED); // ADDR_NO_RANDOMIZE
}

#[test]
fn memory_that_no_group_pays_for_is_not_to_be_had() {
    let some = ["NET_RAW", "NET_ADMIN", "SYS_ADMIN"].map(String::from).to_vec();
    for profile in [Profile::compile().unwrap(), Profile::compile_for(&some).unwrap()] {
        let set = |level: u64, option: u64| {
            verdict(&profile, NATIVE, libc::SYS_setsockopt, [3, level, option, 0, 0])
        };
        for ring in PACKET_RINGS {
            assert_eq!(set(PACKET_LEVEL, *ring), REFUSED);
            assert_eq!(
                set(1 << 32 | PACKET_LEVEL, 1 << 32 | ring),
                REFUSED,
                "the kernel looks at the lower half"
            );
            assert_eq!(set(libc::SOL_SOCKET as u64, *ring), ALLOW);
        }
        // PACKET_ADD_MEMBERSHIP, PACKET_AUXDATA, PACKET_VERSION
        for option in [1, 8, 10] {
            assert_eq!(set(PACKET_LEVEL, option), ALLOW, "{option}");
        }
        assert_eq!(verdict(&profile, NATIVE, libc::SYS_socket, [libc::AF_XDP as u64, 0]), REFUSED);
    }
}

#[test]
fn a_capability_brings_its_calls_and_no_others() {
    let admin = vec!["SYS_ADMIN".to_string()];
    assert!(Profile::depends_on(&admin));
    assert!(!Profile::depends_on(&["CHOWN".to_string(), "NET_ADMIN".to_string()]));
    let profile = Profile::compile_for(&admin).unwrap();
    let ask = |call: i64, first: u64| verdict(&profile, NATIVE, call, [first, 0]);
    assert_eq!(ask(libc::SYS_mount, 0), ALLOW);
    assert_eq!(ask(libc::SYS_clone, NAMESPACES), ALLOW);
    assert_eq!(ask(libc::SYS_clone3, 0), ALLOW);
    assert_eq!([ask(467, 0), ask(0x4000_0000, 0)], [ABSENT; 2], "newer than the list all the same");
    assert_eq!(ask(libc::SYS_ptrace, 0), REFUSED);
    assert_eq!(ask(libc::SYS_keyctl, 0), REFUSED);
    assert_eq!(ask(libc::SYS_kexec_load, 0), REFUSED);
    assert_eq!([459, 460, 461].map(|call| ask(call, 0)), [ALLOW; 3], "attributes of security modules");
    assert_eq!(ask(450, 0), REFUSED);
    let profile = Profile::compile_for(&["SYS_NICE".to_string()]).unwrap();
    let ask = |call: i64| verdict(&profile, NATIVE, call, [0, 0]);
    assert_eq!(ask(libc::SYS_clone3), ABSENT, "its libc falls back to clone");
    for call in [libc::SYS_get_mempolicy, libc::SYS_mbind, libc::SYS_set_mempolicy, 450] {
        assert_eq!(ask(call), ALLOW, "{call}");
    }
    assert_eq!(ask(459), REFUSED);
}

#[test]
fn another_architecture_is_killed() {
    let profile = Profile::compile().unwrap();
    let killed = verdict(&profile, I386, libc::SYS_read, [0; 2]);
    assert!(
        killed == libc::SECCOMP_RET_KILL_PROCESS || killed == libc::SECCOMP_RET_KILL_THREAD,
        "{killed:#x}"
    );
}
