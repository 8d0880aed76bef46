//! The memory that a running cluster takes, measured from outside.

use std::collections::BTreeMap;

/// Bytes of the memory (PSS) of a process and all its descendants: a page that several of them
/// share counts once. `None`: the process has ended, or another user's may not be looked at.
pub(crate) fn of_tree(root: i32) -> Option<u64> {
    let parents: BTreeMap<i32, i32> =
        std::fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| with_parent(&entry)).collect();
    let (mut next, mut bytes) = (vec![root], 0);
    while let Some(pid) = next.pop() {
        match std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
            Ok(rollup) => bytes += pss(&rollup)?,
            Err(_) if pid == root => return None,
            // It has ended meanwhile; a zombie has no memory.
            Err(error) if error.kind() != std::io::ErrorKind::PermissionDenied => {}
            Err(_) => return None,
        }
        next.extend(parents.iter().filter(|(_, parent)| **parent == pid).map(|(child, _)| *child));
    }
    Some(bytes)
}

/// The number of a process, from its entry in `/proc`, and that of its parent.
fn with_parent(entry: &std::fs::DirEntry) -> Option<(i32, i32)> {
    let pid = entry.file_name().to_str()?.parse().ok()?;
    let parent = linux::process::parent_of(pid)?; // it may have ended
    Some((pid, parent))
}

/// The bytes that `smaps_rollup` tells as `Pss:`, in units of 1024.
fn pss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// Megabytes of a cluster of `wanted` nodes, if one of `nodes` takes so many bytes. `None`: that
/// has no nodes.
///
/// Example: 90 MB for 3 nodes are 150 MB for 5.
pub(crate) fn share(bytes: u64, nodes: usize, wanted: u32) -> Option<u32> {
    let of_all = bytes.checked_mul(wanted.into())?.checked_div(u64::try_from(nodes).ok()?)?;
    u32::try_from(of_all.div_ceil(1_000_000)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_follows_from_the_number_of_nodes() {
        assert_eq!(share(90_000_000, 3, 5), Some(150));
        assert_eq!(share(70_000_001, 3, 3), Some(71), "rounded up");
        assert_eq!(share(90_000_000, 0, 5), None);
    }

    #[test]
    fn the_memory_of_this_process_is_found() {
        assert_eq!(
            pss("55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss: 9 kB\nPss:      31 kB\n"),
            Some(31744)
        );
        let own = of_tree(std::process::id() as i32);
        assert!(own.is_some_and(|bytes| bytes > 100_000), "{own:?}");
        assert_eq!(of_tree(i32::MAX), None, "there is no such process");
    }
}
