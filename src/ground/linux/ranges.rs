//! Ranges of user and group ids for the user namespaces of pods.
//!
//! Every range has [`COUNT`] ids and begins at a multiple of it, so two ranges are equal or have no
//! id in common. A range is taken twice: in a table of this process, and as a locked byte of a file
//! that all clusters of the machine share. The kernel gives such a lock back when its holder ends
//! in whatever way, so nothing has to be remembered over a restart. Ids that /etc/subuid or
//! /etc/subgid give to a user are left out: other programs take them without asking. Sources:
//! fcntl_locking(2), user_namespaces(7), subuid(5), systemd's UIDS-GIDS.

use super::{Error, Result};
use nix::fcntl::{FcntlArg, fcntl};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// Ids of one pod, as the kubelet gives them out.
pub const COUNT: u32 = 1 << 16;
/// First ids of ranges, divided by [`COUNT`], that no other program gives out: users, subordinate
/// ids and systemd's containers lie below, systemd's foreign ids and what is negative to old
/// programs above.
const FREE: std::ops::Range<u32> = 0x7000..0x7FFD;
/// Who else of this machine has ranges of ids: for each user, the first id and how many. Source:
/// subuid(5), subgid(5).
const SUBORDINATE: [&str; 2] = ["/etc/subuid", "/etc/subgid"];
/// Where the clusters of root see each other's ranges.
const FILE: &str = "/run/ropewalk-ids";

/// Gives out ranges. One for all nodes of a cluster.
#[derive(Debug, Default)]
pub struct Ranges(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// First ids divided by [`COUNT`].
    taken: BTreeSet<u32>,
    /// `None`: not opened yet.
    file: Option<File>,
}

/// A range of one pod, which no other pod gets while this value exists.
#[derive(Debug)]
pub struct Range {
    slot: u32,
    of: Arc<Ranges>,
}

impl Range {
    /// Returns the id, out here, of user 0 of the namespace; the following [`COUNT`] - 1 are those
    /// of its other users.
    pub fn first(&self) -> u32 {
        self.slot * COUNT
    }
}

impl Ranges {
    /// Takes a range that exists in this process' user namespace, that no other pod has and that
    /// the machine does not give to its users.
    ///
    /// # Errors
    /// `Unsupported`: this process has fewer ids than its own and one range. `StorageFull`: all
    /// ranges are taken. Any other: the file cannot be used, as in a container whose `/run` is
    /// read-only; without it two clusters could give out the same ids.
    pub fn take(self: &Arc<Self>) -> Result<Range> {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let slots = slots(&read("/proc/self/uid_map"), &read("/proc/self/gid_map"));
        let slots = not_given(slots, &SUBORDINATE.map(read))?;
        self.take_from(&slots, Path::new(FILE))
    }

    fn take_from(self: &Arc<Self>, slots: &[u32], path: &Path) -> Result<Range> {
        if slots.is_empty() {
            let why = io::Error::new(
                io::ErrorKind::Unsupported,
                "Ropewalk itself has too few user and group ids here",
            );
            return Err(Error::new(format!("cannot find {COUNT} ids for the pod's user namespace"), why));
        }
        let mut table = self.table();
        let Table { taken, file } = &mut *table;
        let file = match file {
            Some(file) => file,
            none => none.insert(open(path)?),
        };
        let mut free = None;
        for slot in slots.iter().copied().filter(|slot| !taken.contains(slot)) {
            match lock(file, slot, libc::F_WRLCK) {
                Ok(()) => free = Some(slot),
                Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => continue, // another cluster's
                Err(cause) => return Err(unusable(path, cause)),
            }
            break;
        }
        let Some(slot) = free else {
            let why = io::Error::new(io::ErrorKind::StorageFull, "all of them are taken");
            return Err(Error::new(format!("cannot find {COUNT} ids for the pod's user namespace"), why));
        };
        taken.insert(slot);
        Ok(Range { slot, of: self.clone() })
    }

    /// Returns how many ranges are taken from this table.
    pub fn taken(&self) -> usize {
        self.table().taken.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock()
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        let mut table = self.of.table();
        table.taken.remove(&self.slot);
        if let Some(Err(e)) = table.file.as_ref().map(|file| lock(file, self.slot, libc::F_UNLCK)) {
            tracing::warn!("a range of ids is not given back: {e}"); // until this process ends
        }
    }
}

fn unusable(path: &Path, cause: io::Error) -> Error {
    let path = path.display();
    Error::new(
        format!(
            "{path} cannot be used, which keeps user ids of pods apart; make its directory writable, or leave out hostUsers: false"
        ),
        cause,
    )
}

fn open(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let opened = options.custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(path);
    opened.map_err(|cause| unusable(path, cause))
}

/// Locks or unlocks one byte, for this open file.
fn lock(file: &File, slot: u32, kind: i32) -> io::Result<()> {
    // SAFETY: flock is plain data; all zeroes is valid, and l_pid must be 0 here.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as i16;
    lock.l_whence = libc::SEEK_SET as i16;
    lock.l_start = slot.into();
    lock.l_len = 1;
    Ok(fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).map(drop)?)
}

/// Returns the ranges, divided by [`COUNT`], that exist in a user namespace with these maps: the
/// free ones of a whole machine; in a part of one all but the first, which is that of this
/// namespace's own users.
fn slots(uid_map: &str, gid_map: &str) -> Vec<u32> {
    let extents = |map: &str| -> Vec<(u64, u64)> {
        let numbers = |line: &str| {
            let mut fields = line.split_whitespace().map(|field| field.parse::<u64>().ok());
            let (first, _, count) = (fields.next()??, fields.next()??, fields.next()??);
            Some((first, first + count))
        };
        map.lines().filter_map(numbers).collect()
    };
    let (users, groups) = (extents(uid_map), extents(gid_map));
    let exists = |slot: &u32| {
        let (first, last) = (u64::from(*slot) * u64::from(COUNT), (u64::from(*slot) + 1) * u64::from(COUNT));
        [&users, &groups].iter().all(|map| map.iter().any(|(from, to)| *from <= first && last <= *to))
    };
    match FREE.clone().all(|slot| exists(&slot)) {
        true => FREE.collect(),
        false => (1..u32::MAX / COUNT).filter(exists).collect(),
    }
}

/// Returns the ranges that no file of subordinate ids gives to a user.
fn not_given(slots: Vec<u32>, files: &[String]) -> Result<Vec<u32>> {
    let all = slots.len();
    let left: Vec<u32> =
        slots.into_iter().filter(|slot| !files.iter().any(|file| is_given(file, *slot))).collect();
    if all > 0 && left.is_empty() {
        let why = "/etc/subuid and /etc/subgid give all of them to users of this machine";
        let why = io::Error::new(io::ErrorKind::StorageFull, why);
        return Err(Error::new(format!("cannot find {COUNT} ids for the pod's user namespace"), why));
    }
    Ok(left)
}

/// Returns whether a file of subordinate ids (`user:first:count` in each line) gives any id of a
/// range to a user. Whose it is does not matter: also root's own ranges are there for other
/// programs, which take them without asking. Lines that are none give nothing, as to newuidmap(1).
fn is_given(file: &str, slot: u32) -> bool {
    let (first, last) = (u64::from(slot) * u64::from(COUNT), (u64::from(slot) + 1) * u64::from(COUNT));
    file.lines().filter_map(subordinate).any(|(from, to)| from < last && first < to && from < to)
}

/// Reads a line of a file of subordinate ids: the first id of a range, and the one behind its last.
fn subordinate(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split(':').skip(1).map(|field| field.trim().parse::<u64>().ok());
    let (from, count) = (fields.next()??, fields.next()??);
    Some((from, from.saturating_add(count)))
}

/// Returns the first of [`COUNT`] ids that no file of subordinate ids gives to a user: two users
/// with the same ids could read and end what the containers of the other one have.
///
/// ```text
/// no lines              100000
/// anna:100000:65536     165536
/// ```
pub(super) fn first_free(files: [&str; 2]) -> u64 {
    let mut given: Vec<(u64, u64)> =
        files.iter().flat_map(|file| file.lines()).filter_map(subordinate).collect();
    given.sort_unstable();
    let mut first: u64 = 100_000; // as useradd(8) begins (SUB_UID_MIN)
    for (from, to) in given {
        if from < first.saturating_add(COUNT.into()) && first < to {
            first = to;
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = "         0          0 4294967295\n";

    #[test]
    fn a_range_exists_in_both_maps_and_is_no_users_own() {
        assert_eq!(slots(MACHINE, MACHINE), FREE.collect::<Vec<u32>>());
        let rootless = "0 1000 1\n1 100000 65536\n";
        assert!(slots(rootless, rootless).is_empty());
        let more = "0 1000 1\n1 100000 262144\n";
        assert_eq!(slots(more, more), [1, 2, 3]);
        assert_eq!(slots(more, "0 1000 1\n1 100000 200000\n"), [1, 2]);
        assert!(slots(MACHINE, "").is_empty());
    }

    /// Two programs that give out the same ids let a container of one read the files of the
    /// other's.
    #[test]
    fn ids_that_the_machine_gives_to_its_users_are_left_out() {
        let id = |slot: u32| u64::from(slot) * u64::from(COUNT);
        let slot = 0x7000;
        let given = |line: String| is_given(&format!("nobody:1:\nbad\n\n{line}\n"), slot);
        assert!(!given(String::new()) && !given("alice:100000:65536".into()));
        assert!(given(format!("alice:{}:65536", id(slot))));
        assert!(given(format!("1000:{}:1", id(slot + 1) - 1)), "its last id");
        assert!(given(format!("root:{}:2", id(slot) - 1)), "its first id");
        assert!(given(format!("lxd:1000000:{}", u64::from(u32::MAX))));
        assert!(given(format!("odd:5:{}", u64::MAX)));
        assert!(!given(format!("alice:{}:65536", id(slot + 1))) && !given(format!("alice:{}:0", id(slot))));
        assert!(!given(format!("alice:{}:65536", id(slot) - 65536)));
        assert!(!given(format!("alice:{}", id(slot))));
        let files = [format!("alice:{}:1", id(7)), format!("bob:{}:65536", id(8) + 5)];
        assert_eq!(not_given(vec![6, 7, 8, 9, 10], &files).unwrap(), [6, 10]);
        assert!(not_given(vec![7, 8], &files).unwrap_err().line().contains("/etc/subuid"));
        assert_eq!(not_given(vec![], &files).unwrap(), [0; 0], "that has a reason of its own");
    }

    #[test]
    fn free_subordinate_ids_lie_behind_those_that_others_have() {
        let anna = "anna:100000:65536\n";
        assert_eq!(first_free(["", ""]), 100_000);
        assert_eq!(first_free([anna, anna]), 165_536);
        assert_eq!(first_free([anna, "ben:165536:65536\nbad\n"]), 231_072, "both files count");
        assert_eq!(first_free(["c:300000:65536\nanna:100000:65536", "b:200000:1000"]), 201_000);
        assert_eq!(first_free(["lxd:1000000:1000000000\nsmall:1:10\n", ""]), 100_000);
        assert_eq!(first_free(["all:0:1000000\nanna:100000:65536", ""]), 1_000_000);
        assert_eq!(first_free(["odd:5:18446744073709551615", anna]), u64::MAX, "no panic");
    }

    #[test]
    fn no_two_pods_have_an_id_in_common_and_a_range_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ids");
        // Two clusters: each has its own table and open file.
        let (one, other) = (Arc::new(Ranges::default()), Arc::new(Ranges::default()));
        let three = [7, 8, 9];
        let a = one.take_from(&three, &file).unwrap();
        let b = other.take_from(&three, &file).unwrap();
        let c = one.take_from(&three, &file).unwrap();
        assert_eq!([a.first(), b.first(), c.first()], [7, 8, 9].map(|slot| slot * COUNT));
        for cluster in [&one, &other] {
            let full = cluster.take_from(&three, &file).unwrap_err();
            assert!(full.line().contains("all of them are taken"), "{}", full.line());
        }
        drop(b);
        assert_eq!(one.take_from(&three, &file).unwrap().first(), 8 * COUNT);
        // A cluster that ends gives all of its ranges back, without a word.
        std::mem::forget(c);
        let table = std::mem::take(&mut *one.table());
        drop(table);
        // A child that another test forks holds the file, too, until it runs its own program.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let again = loop {
            match other.take_from(&[9], &file) {
                Err(_) if std::time::Instant::now() < until => std::thread::yield_now(),
                taken => break taken,
            }
        };
        assert_eq!(again.unwrap().first(), 9 * COUNT);
        assert!(other.take_from(&[], &file).unwrap_err().line().contains("too few"));
    }

    #[test]
    fn without_the_file_that_clusters_share_no_ids_are_given_out() {
        let dir = tempfile::tempdir().unwrap();
        let (missing, ranges) = (dir.path().join("no/ids"), Arc::new(Ranges::default()));
        let refused = ranges.take_from(&[7], &missing).unwrap_err();
        assert!(
            refused.line().contains("cannot be used, which keeps user ids of pods apart"),
            "{}",
            refused.line()
        );
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
        assert!(ranges.take_from(&[7], &link).is_err());
        assert!(!dir.path().join("elsewhere").exists());
        // It is tried anew: the directory may have been made writable.
        fs::create_dir(dir.path().join("no")).unwrap();
        assert_eq!(ranges.take_from(&[7], &missing).unwrap().first(), 7 * COUNT);
    }
}
