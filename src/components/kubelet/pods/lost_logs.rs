//! Logs of containers that the runtime does not have any more. After a restart of the machine, or
//! of this program, it has none, and the logs of the runs before lie on the disk as before.
//!
//! ```text
//! web/1.log  web/2.log  web/2.log.1     before the restart: attempt 2 ran
//! web/2.log  web/2.log.1  web/3.log     afterwards attempt 3 runs, and the log of 1 is gone
//! ```

use super::kubelet::Kubelet;
use crate::files;
use client::Key;
use std::fs;
use std::path::{Path, PathBuf};

/// Lists the log files in a container's directory, each with the number of its attempt.
fn logs(dir: &Path) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten(); // none before its first start
    let of_attempt = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let (attempt, _) = name.to_str()?.split_once(".log")?;
        Some((attempt.parse().ok()?, entry.path()))
    };
    entries.filter_map(of_attempt).collect()
}

/// Returns the number of the next attempt: `attempt`, or the one after those that have a log.
/// Removes the logs of all but the newest of them.
fn next_attempt_beside_logs(dir: &Path, attempt: u32) -> u32 {
    let all = logs(dir);
    let Some(newest) = all.iter().map(|(number, _)| *number).max() else { return attempt };
    for (_, path) in all.iter().filter(|(number, _)| *number < newest) {
        if let Err(error) = fs::remove_file(path) {
            // It goes with its pod at the latest.
            tracing::debug!(path = %path.display(), %error, "a log stays");
        }
    }
    attempt.max(newest.saturating_add(1))
}

impl Kubelet {
    /// Returns the number of the next attempt of a container of which the runtime has none. The
    /// stored status of its pod says `attempt`, but of a static pod the kubelet knows no status:
    /// its count would begin anew. Upstream: `calcRestartCountByLogDir`.
    ///
    /// Logs of earlier attempts go, but for the newest of them: nothing else would remove them as
    /// long as the pod lives, which may be for hundreds of restarts of the machine, and they count
    /// for what the pod may use of the disk.
    pub(super) fn attempt_after_restart(&self, key: &Key, uid: &str, container: &str, attempt: u32) -> u32 {
        match files::is_name(container) {
            true => next_attempt_beside_logs(
                &self.log_dir(&key.namespace, &key.name, uid).join(container),
                attempt,
            ),
            false => attempt, // it is not started
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_count_goes_on_after_a_restart_and_logs_do_not_pile_up() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(next_attempt_beside_logs(&dir.path().join("none"), 0), 0);
        for name in ["1.log", "2.log", "2.log.1", "note.txt", "x.log"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let names = || -> BTreeSet<String> {
            let all = fs::read_dir(dir.path()).unwrap().flatten();
            all.map(|entry| entry.file_name().into_string().unwrap()).collect()
        };
        let named = |all: &[&str]| all.iter().map(|name| (*name).to_string()).collect::<BTreeSet<_>>();
        assert_eq!(next_attempt_beside_logs(dir.path(), 0), 3, "a static pod has no stored status");
        assert_eq!(names(), named(&["2.log", "2.log.1", "note.txt", "x.log"]));
        assert_eq!(next_attempt_beside_logs(dir.path(), 3), 3, "it is tried again");
        assert_eq!(
            next_attempt_beside_logs(dir.path(), 7),
            7,
            "the status tells of attempts whose logs are gone"
        );
        assert_eq!(names(), named(&["2.log", "2.log.1", "note.txt", "x.log"]));
    }
}
