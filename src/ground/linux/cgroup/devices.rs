//! What a container may do with devices, in the two forms in which the kernel hears it: lines for
//! `devices.allow` of cgroup v1, and for v2 a BPF program that is asked at every open(2) and
//! mknod(2) of a device. Sources: cgroup-v1/devices.rst, bpf(2), `struct bpf_cgroup_dev_ctx`.

use crate::check;
use crate::{Context, Error, Result};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Block,
    Character,
}

/// Devices and what may be done with them; `None` is every number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
}

const MAKE: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;

const fn make_any(kind: Kind) -> Rule {
    Rule { kind, major: None, minor: None, access: MAKE }
}

const fn all_of(major: u32, minor: Option<u32>) -> Rule {
    Rule { kind: Kind::Character, major: Some(major), minor, access: MAKE | READ | WRITE }
}

/// Make any node; open null, zero, full, random, urandom, tty, the terminal multiplexer and
/// terminals. The rules are containerd's, but for the console, which it makes and Ropewalk does
/// not.
pub(super) const HARMLESS: &[Rule] = &[
    make_any(Kind::Block),
    make_any(Kind::Character),
    all_of(1, Some(3)),
    all_of(1, Some(5)),
    all_of(1, Some(7)),
    all_of(1, Some(8)),
    all_of(1, Some(9)),
    all_of(5, Some(0)),
    all_of(5, Some(2)),
    all_of(136, None),
];

/// As cgroup v1 reads it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let kind = if self.kind == Kind::Block { 'b' } else { 'c' };
        let number = |number: Option<u32>| number.map_or("*".to_string(), |n| n.to_string());
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        let letters = [(READ, 'r'), (WRITE, 'w'), (MAKE, 'm')];
        letters
            .iter()
            .filter(|(bit, _)| self.access & bit != 0)
            .try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

/// `struct bpf_insn`: the registers are two halves of a byte.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    value: u32,
}

// linux/bpf.h and linux/bpf_common.h
const LOAD: u8 = 0x61; // dst = *(u32 *)(src + offset)
const AND: u8 = 0x54; // dst &= value
const SHIFT_RIGHT: u8 = 0x74; // dst >>= value
const COPY: u8 = 0xbc; // dst = src
const SET: u8 = 0xb7; // dst = value
const UNLESS: u8 = 0x56; // skip offset instructions if dst != value
const UNLESS_SAME: u8 = 0x5e; // skip offset instructions if dst != src
const EXIT: u8 = 0x95;

/// Registers: the answer, the question's address, then what it asks for.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SPARE: u8 = 6;

fn of(code: u8, dst: u8, src: u8, offset: i16, value: u32) -> Instruction {
    let registers = if cfg!(target_endian = "little") { dst | src << 4 } else { dst << 4 | src };
    Instruction { code, registers, offset, value }
}

/// Answers 1 where a rule covers all that is asked for, else 0.
fn program(rules: &[Rule]) -> Vec<Instruction> {
    let mut all = vec![
        of(LOAD, KIND, CONTEXT, 0, 0),
        of(COPY, ACCESS, KIND, 0, 0),
        of(AND, KIND, 0, 0, 0xffff),
        of(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        of(LOAD, MAJOR, CONTEXT, 4, 0),
        of(LOAD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules {
        let kind = if rule.kind == Kind::Block { 1 } else { 2 };
        let mut part = vec![
            of(UNLESS, KIND, 0, 0, kind),
            of(COPY, SPARE, ACCESS, 0, 0),
            of(AND, SPARE, 0, 0, rule.access),
            of(UNLESS_SAME, SPARE, ACCESS, 0, 0),
        ];
        part.extend(rule.major.map(|major| of(UNLESS, MAJOR, 0, 0, major)));
        part.extend(rule.minor.map(|minor| of(UNLESS, MINOR, 0, 0, minor)));
        part.extend([of(SET, ANSWER, 0, 0, 1), of(EXIT, 0, 0, 0, 0)]);
        let length = part.len();
        for (at, instruction) in part.iter_mut().enumerate() {
            if matches!(instruction.code, UNLESS | UNLESS_SAME) {
                instruction.offset = (length - at - 1) as i16; // to the next rule
            }
        }
        all.extend(part);
    }
    all.extend([of(SET, ANSWER, 0, 0, 0), of(EXIT, 0, 0, 0, 0)]);
    all
}

/// The first fields of `union bpf_attr` for BPF_PROG_LOAD; the kernel takes the missing ones for
/// zero.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
}

/// For BPF_PROG_ATTACH.
#[repr(C)]
struct Attach {
    group: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// A group above may have a program of its own, as systemd attaches them: then both must agree.
const ALLOW_MULTI: u32 = 2;

/// Loads the program of [`HARMLESS`].
///
/// # Errors
/// `EPERM`: without CAP_BPF or CAP_SYS_ADMIN of the machine, or in a container whose filter refuses
/// bpf(2).
pub(super) fn load() -> Result<OwnedFd> {
    let program = program(HARMLESS);
    let attributes = Load {
        kind: TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: 0,
    };
    // SAFETY: `attributes` and the program it points to outlive the call, and the sizes are theirs.
    // The license is a constant string.
    let fd = check(unsafe {
        libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attributes, size_of_val(&attributes))
    })
    .during(|| "cannot load a program for devices".into())?;
    // SAFETY: the kernel just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Makes the program judge over devices for all processes in a v2 group and the groups in it, until
/// the group is removed.
///
/// # Errors
/// `EPERM`: a group above forbids further programs, or as [`load`].
pub(super) fn attach(program: BorrowedFd<'_>, group: BorrowedFd<'_>) -> Result<()> {
    let number = |fd: BorrowedFd<'_>| u32::try_from(fd.as_raw_fd());
    let (Ok(group), Ok(program)) = (number(group), number(program)) else {
        return Err(Error::new("no descriptor", io::ErrorKind::InvalidInput));
    };
    let attributes = Attach { group, program, kind: ATTACH_CGROUP_DEVICE, flags: ALLOW_MULTI };
    // SAFETY: `attributes` outlives the call and the size is its own; both descriptors are
    // borrowed.
    check(unsafe {
        libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attributes, size_of_val(&attributes))
    })
    .during(|| "cannot restrict devices".into())
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsFd;
    use std::path::Path;

    #[test]
    fn rules_are_written_as_v1_reads_them() {
        let lines: Vec<String> = HARMLESS.iter().map(Rule::to_string).collect();
        let want = "b *:* m,c *:* m,c 1:3 rwm,c 1:5 rwm,c 1:7 rwm,c 1:8 rwm,c 1:9 rwm,c 5:0 rwm,c 5:2 rwm,c 136:* rwm";
        assert_eq!(lines.join(","), want);
    }

    /// What the kernel would answer.
    fn asked(kind: u32, access: u32, major: u32, minor: u32) -> u32 {
        let (program, mut registers) = (program(HARMLESS), [0u32; 7]);
        let mut at = 0;
        loop {
            let i = program[at];
            let (dst, src) = ((i.registers & 15) as usize, (i.registers >> 4) as usize);
            at += 1;
            match i.code {
                LOAD => registers[dst] = [access << 16 | kind, major, minor][i.offset as usize / 4],
                AND => registers[dst] &= i.value,
                SHIFT_RIGHT => registers[dst] >>= i.value,
                COPY => registers[dst] = registers[src],
                SET => registers[dst] = i.value,
                UNLESS if registers[dst] != i.value => at += i.offset as usize,
                UNLESS_SAME if registers[dst] != registers[src] => at += i.offset as usize,
                UNLESS | UNLESS_SAME => {}
                EXIT => return registers[0],
                other => panic!("no such instruction: {other:#x}"),
            }
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_program_allows_what_the_rules_say() {
        for (kind, access, major, minor, allowed) in [
            (2, READ | WRITE, 1, 3, true),    // null
            (2, READ, 1, 9, true),            // urandom
            (2, WRITE, 5, 2, true),           // ptmx
            (2, READ | WRITE, 136, 77, true), // a terminal
            (2, READ | WRITE | MAKE, 1, 5, true),
            (2, READ, 1, 1, false),    // mem
            (2, READ, 1, 11, false),   // kmsg
            (2, WRITE, 5, 1, false),   // console
            (2, READ, 10, 200, false), // tun
            (1, READ, 8, 0, false),    // a disk
            (1, READ, 1, 3, false),    // a block device with null's number
            (1, WRITE, 136, 0, false),
            (1, MAKE, 8, 0, true), // a node may be made; the kernel asks again when it is opened
            (2, MAKE, 1, 1, true),
            (2, MAKE | READ, 1, 1, false),
            (3, READ, 1, 3, false), // no kind that exists
        ] {
            let answer = asked(kind, access, major, minor);
            assert_eq!(answer == 1, allowed, "kind {kind} access {access} {major}:{minor}");
        }
    }

    /// With the kernel, where this is root and there is a tree of v2, alone or beside those of v1.
    #[test]
    fn a_group_of_v2_refuses_the_memory_and_opens_null() {
        let tree = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let Some(tree) = tree.into_iter().find(|tree| tree.join("cgroup.procs").exists()) else { return };
        let group = tree.join(format!("ropewalk-test-{}", std::process::id()));
        let Ok(program) = load() else { return }; // not root, or a filter refuses
        if fs::create_dir(&group).is_err() {
            return;
        }
        let at = super::super::files::open_place(&group);
        let attached = at.and_then(|at| attach(program.as_fd(), at.as_fd()));
        let dir = tempfile::tempdir().unwrap();
        let script = "echo 0 > \"$1/cgroup.procs\" && cd \"$2\" && mknod memory c 1 1 && echo x > /dev/null && echo null
            head -c1 memory 2>&1 | grep -o 'Operation not permitted'";
        let ran = std::process::Command::new("/bin/sh")
            .args(["-c", script, "sh"])
            .args([&group, dir.path()])
            .output()
            .unwrap();
        let removed = super::super::files::remove_tree(
            &group,
            std::time::Instant::now() + super::super::backend::PATIENCE,
        );
        attached.unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "null\nOperation not permitted\n", "{ran:?}");
        assert!(removed);
    }
}
