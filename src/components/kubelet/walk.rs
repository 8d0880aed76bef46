//! Measures what lies below a directory of a pod, in bytes and files. The content is the pod's, so
//! [`tree`] follows no link, and a pod that makes the walk impossible gains nothing by it.
//!
//! One walk goes on at a time in the whole process ([`in_turn`]), with bounds on files, depth and
//! time: a hostile tree costs a few megabytes and one thread, whatever is in it. File systems that
//! the kubelet mounted for a pod (volumes in memory, termination messages) have sizes of their own
//! and are not counted; a pod can mount nothing here.

use linux::beneath::Root;
use linux::{self, tree};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Names of files and directories of one tree that are looked at, at most: as many as a writable
/// layer or a volume in memory may hold files. A tree with more counts as larger than every limit
/// ([`Amount::BEYOND`]).
const FILES_MAX: u64 = 1 << 18;
/// The bound of [`FILES_MAX`], for what all pods of a node wrote to the node's own file system.
const NODE_FILES_MAX: u64 = 1 << 20;
/// All trees of one pod together are walked for this long in one round, at most: a disk that has to
/// seek reads the inodes of [`FILES_MAX`] files in less.
pub(crate) const POD_TIME: Duration = Duration::from_secs(10);
/// Held by the walk that goes on: of all nodes of this process, which share its descriptors and
/// processors.
static TURN: Semaphore = Semaphore::const_new(1);

/// Bytes and files that a tree takes of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    /// Bytes of allocated blocks.
    pub bytes: u64,
    /// Files and directories (inodes).
    pub files: u64,
}

impl Amount {
    /// More than any limit.
    pub(crate) const BEYOND: Amount = Amount { bytes: u64::MAX, files: u64::MAX };

    /// Returns the difference of both numbers, 0 if the other one is larger.
    pub(crate) fn minus(self, other: Amount) -> Amount {
        Amount {
            bytes: self.bytes.saturating_sub(other.bytes),
            files: self.files.saturating_sub(other.files),
        }
    }

    /// Returns the smaller number of bytes, and the smaller number of files.
    pub(crate) fn min(self, other: Amount) -> Amount {
        Amount { bytes: self.bytes.min(other.bytes), files: self.files.min(other.files) }
    }

    /// Returns the sum of both numbers, `u64::MAX` if it is larger.
    pub(crate) fn plus(self, other: Amount) -> Amount {
        Amount {
            bytes: self.bytes.saturating_add(other.bytes),
            files: self.files.saturating_add(other.files),
        }
    }
}

/// The rest of [`POD_TIME`] for one pod in one round. Waiting for a turn takes nothing of it:
/// only the pod's own trees do.
#[derive(Debug)]
pub(crate) struct Allowance(Duration);

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance(POD_TIME)
    }
}

impl Allowance {
    /// Runs `walk` in turn, with the time at which it has to stop. `None`: it panicked.
    pub(crate) async fn walk<T: Send + 'static>(
        &mut self,
        walk: impl FnOnce(Instant) -> T + Send + 'static,
    ) -> Option<T> {
        let left = self.0;
        let (took, found) = in_turn(move || {
            let begun = Instant::now();
            let found = walk(begun + left);
            (begun.elapsed(), found)
        })
        .await?;
        self.0 = left.saturating_sub(took);
        Some(found)
    }
}

/// Runs `walk` on a thread that may block, while no other walk of this process goes on. Waiting
/// calls are served in the order in which they came. `None`: it panicked.
pub(crate) async fn in_turn<T: Send + 'static>(walk: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    #[cfg(test)]
    if crate::simulated::is_simulated() {
        // In a simulation files are walked at once, on this thread: when another thread would be
        // done does not follow from the seed.
        return Some(walk());
    }
    let turn = TURN.acquire().await.ok()?;
    let walking = tokio::task::spawn_blocking(move || {
        let _turn = turn; // a caller that goes away does not end the walk
        walk()
    });
    walking.await.ok()
}

/// Measures all that is below a directory of the kubelet's; files with several names count once.
/// [`Amount::BEYOND`] if not all of it could be counted, `until` this time at most: see
/// [`tree::Found::cut`]. A directory that is not there takes nothing.
///
/// # Errors
/// As [`tree::measure`].
pub(crate) fn amount(dir: &Path, until: Instant) -> linux::Result<Amount> {
    let found = count(dir, FILES_MAX, until)?;
    Ok(if found.cut { Amount::BEYOND } else { Amount { bytes: found.bytes, files: found.files } })
}

/// Measures the file system of a whole node as [`amount`] does, but returns what was counted before
/// the walk ended.
///
/// # Errors
/// As [`tree::measure`].
pub(crate) fn at_least(dir: &Path, until: Instant) -> linux::Result<Amount> {
    let found = count(dir, NODE_FILES_MAX, until)?;
    if found.cut {
        tracing::warn!(dir = %dir.display(), files = found.files, "not all files of the node can be counted; the others count only for the machine's disk");
    }
    Ok(Amount { bytes: found.bytes, files: found.files })
}

/// Counts a tree, of which so many names are looked at. One that is not there is empty.
fn count(dir: &Path, names: u64, until: Instant) -> linux::Result<tree::Found> {
    match Root::open(dir) {
        Ok(root) => tree::measure(&root, &tree::Bounds { names, until }),
        Err(e) if e.cause.kind() == io::ErrorKind::NotFound => Ok(tree::Found::default()),
        Err(e) => Err(e),
    }
}

/// Returns the directories in a directory of the kubelet's on which nothing is mounted, with their
/// names: volumes, logs of containers.
pub(crate) fn directories(dir: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    // A directory that cannot be looked at is walked: the error of the walk tells more.
    named.filter(|(_, path)| path.is_dir() && !super::volumes::is_mounted(path).unwrap_or(false)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    #[test]
    fn links_lead_no_count_outside_and_names_count_once() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        fs::create_dir_all(inside.join("deep/er")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("large"), vec![1; 8 << 20]).unwrap();
        fs::write(inside.join("deep/er/file"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(inside.join("deep/er/file"), inside.join("again")).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        std::os::unix::fs::symlink(".", inside.join("loop")).unwrap();
        let found = amount(&inside, soon()).unwrap();
        assert!((1 << 20..2 << 20).contains(&found.bytes), "{found:?}");
        assert_eq!(found.files, 5, "deep, er, the file and the two links");
        assert_eq!(amount(&dir.path().join("missing"), soon()).unwrap(), Amount::default());
        let names: Vec<String> = directories(&inside).into_iter().map(|(name, _)| name).collect();
        assert!(names.contains(&"deep".to_string()) && !names.contains(&"again".to_string()));
    }

    /// One pod with a huge tree makes its own other trees unknown, and those of no other pod.
    #[tokio::test]
    async fn each_pod_has_a_time_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "x").unwrap();
        let (mut greedy, mut modest) =
            (Allowance(Duration::from_millis(50)), Allowance(Duration::from_millis(50)));
        let path = dir.path().to_path_buf();
        let measure = move |until: Instant| amount(&path, until).unwrap();
        let first = greedy.walk(measure.clone()).await.unwrap();
        assert_eq!(first.files, 1);
        greedy
            .walk(|until| std::thread::sleep(until.saturating_duration_since(Instant::now())))
            .await
            .unwrap();
        assert_eq!(greedy.walk(measure.clone()).await.unwrap(), Amount::BEYOND);
        assert_eq!(modest.walk(measure).await.unwrap(), first);
    }

    #[test]
    fn what_cannot_be_counted_is_more_than_any_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mut deep = dir.path().join("d");
        for _ in 0..tree::LEVELS_MAX {
            deep.push("d");
        }
        fs::create_dir_all(deep).unwrap();
        assert_eq!(amount(dir.path(), soon()).unwrap(), Amount::BEYOND);
        assert_eq!(at_least(dir.path(), soon()).unwrap().files, tree::LEVELS_MAX as u64);
        let flat = dir.path().join("flat");
        fs::create_dir(&flat).unwrap();
        fs::write(flat.join("f"), "").unwrap();
        assert_eq!(amount(&flat, soon()).unwrap().files, 1);
        assert_eq!(amount(&flat, Instant::now()).unwrap(), Amount::BEYOND, "it takes too long");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_tree_is_walked_at_a_time_and_none_on_a_thread_of_the_runtime() {
        let now = Arc::new(AtomicUsize::new(0));
        let runtime = std::thread::current().id();
        let walks = (0..8).map(|n| {
            let now = now.clone();
            in_turn(move || {
                let others = now.fetch_add(1, Ordering::SeqCst);
                (0..1000).for_each(|_| std::thread::yield_now());
                now.fetch_sub(1, Ordering::SeqCst);
                assert_ne!(std::thread::current().id(), runtime);
                (n, others)
            })
        });
        let done = futures::future::join_all(walks.map(tokio::spawn)).await;
        for (n, walk) in done.into_iter().enumerate() {
            assert_eq!(walk.unwrap(), Some((n, 0)));
        }
    }
}
