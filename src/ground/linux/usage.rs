//! Use of time and memory: of one process, and of the machine's memory, from /proc.

use std::path::Path;
use std::time::Duration;

/// What a process or a group used since it was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time on a processor, in user and kernel mode, summed over all threads.
    pub cpu: Duration,
    /// Bytes that cannot be taken away without the processes noticing.
    pub working_set: u64,
}

/// Returns what a process, with all its threads, has used since it began. `self` is a process too.
pub fn of_process(pid: &str) -> Option<Usage> {
    let (ticks, pages) = parse(&crate::read_text(format!("/proc/{pid}/stat")).ok()?)?;
    // USER_HZ is 100 on every Linux that Rust runs on.
    Some(Usage { cpu: Duration::from_millis(ticks * 10), working_set: pages.saturating_mul(page_size()) })
}

/// Returns the size of a page of this machine in bytes: 4 KiB on x86, and 4, 16 or 64 KiB on ARM.
fn page_size() -> u64 {
    // SAFETY: sysconf reads no memory of ours.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

/// Gives memory back to the kernel that is free, but that the allocator keeps. glibc keeps what
/// lies below a block in use, for each group of threads: a thread that has built and freed some
/// hundred megabytes may leave all of them so.
pub fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) changes no block in use, and takes the locks that it needs.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Returns whether `proc` (as a rule `/proc`) shows the processes of this process' PID namespace.
/// With that of another one, which a container may have, a number of this namespace names a
/// stranger there.
///
/// # Errors
/// `proc` is not mounted.
pub fn proc_is_own(proc: &Path) -> std::io::Result<bool> {
    let me = std::fs::read_link(proc.join("self"))?;
    Ok(me.as_os_str() == std::process::id().to_string().as_str())
}

/// The machine's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// All memory that the kernel manages (`MemTotal`).
    pub total: u64,
    /// What can be used before the kernel swaps or kills.
    pub available: u64,
}

/// Asks the kernel.
pub fn of_machine() -> Option<Machine> {
    meminfo(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn meminfo(text: &str) -> Option<Machine> {
    let bytes = |key: &str| {
        let kib = text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB"))?;
        Some(kib.parse::<u64>().ok()?.saturating_mul(1024))
    };
    Some(Machine { total: bytes("MemTotal:")?, available: bytes("MemAvailable:")? })
}

/// Reads user plus system ticks, and resident pages, of a line of /proc/PID/stat. The name, in
/// brackets, may hold anything.
fn parse(stat: &str) -> Option<(u64, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((number(11)? + number(12)?, number(21)?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_stat_line_is_read_from_its_last_bracket() {
        let line =
            "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 5 1000000 321 18446744073709551615";
        assert_eq!(super::parse(line), Some((200, 321)));
        assert_eq!(super::parse("nonsense"), None);
    }

    /// A block above what was freed keeps it from the kernel, until it is asked for.
    #[test]
    #[cfg(target_env = "gnu")]
    fn free_memory_is_given_back() {
        const MANY: usize = 128 << 20;
        let mut blocks: Vec<Vec<u8>> = (0..MANY >> 12).map(|_| vec![1; 4000]).collect();
        let last = blocks.pop();
        drop(blocks);
        super::release_memory();
        let left = super::of_process("self").unwrap().working_set;
        assert!(left < MANY as u64 / 2, "{left} bytes are in use");
        drop(last);
    }

    /// As a name in Korean that the kernel cut in the middle of a letter: no process hides its use.
    #[test]
    fn a_process_whose_name_is_no_text_is_counted() {
        use std::os::unix::{ffi::OsStrExt, process::CommandExt};
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join(std::ffi::OsStr::from_bytes(b"a\xed\x95"));
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let mut child = std::process::Command::new(&program).arg0("sleep").arg("600").spawn().unwrap();
        let used = super::of_process(&child.id().to_string());
        child.kill().unwrap();
        child.wait().unwrap();
        // The kernel counts the first pages of a new program for each processor, so it may say 0.
        assert!(used.is_some());
    }

    /// The kernel tells the same number of each process in bytes.
    #[test]
    fn what_is_resident_is_counted_in_pages_of_this_machine() {
        let status = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("KernelPageSize:")).unwrap();
        let kib: u64 = kib.trim().trim_end_matches(" kB").parse().unwrap();
        assert_eq!(super::page_size(), kib * 1024);
        assert!(super::of_process("self").is_some_and(|used| used.working_set >= super::page_size()));
    }

    #[test]
    fn the_machines_memory_is_what_meminfo_says() {
        let text = "MemTotal:        2048 kB\nMemFree: 1 kB\nMemAvailable:       1024 kB\n";
        assert_eq!(super::meminfo(text), Some(super::Machine { total: 2 << 20, available: 1 << 20 }));
        assert_eq!(super::meminfo("MemTotal: 1 kB\n"), None);
        assert!(super::of_machine().is_some_and(|m| m.available > 0 && m.available <= m.total));
    }
}
