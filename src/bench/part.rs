//! The parts of the bench, and what each is given while it is measured.

use super::stop::Stop;
use clap::ValueEnum;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// How long a start and a stop take, and what a cluster costs while nothing happens
    Start,
    /// Pods: run, scale, heal, 200 on two nodes
    Pods,
    /// Puts and gets a second of the store, beside etcd if it is on PATH
    Store,
    /// Gets and creates a second of the API server, beside a kube-apiserver if its kubeconfig is
    /// given
    Api,
    /// A NodePort beside a direct connection, localhost's way in beside loopback
    Network,
    /// A container's start beside crun's, if it is on PATH
    Runtime,
}

impl What {
    /// Returns the part's name on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
    }

    /// Returns whether a disk that syncs slowly makes the figures of this part worse.
    pub(super) fn syncs(self) -> bool {
        !matches!(self, What::Network | What::Runtime)
    }
}

/// A part while it is measured.
pub(crate) struct Part<'a> {
    /// A directory of its own, with a short path. Removed when the part has ended, unless
    /// `keep_dir` is set.
    pub dir: &'a Path,
    /// `--runs`: how often everything is measured. `None`: each measurement's usual number.
    pub runs: Option<usize>,
    /// `--peer-kubeconfig`: that of an API server to stand beside.
    pub peer_kubeconfig: Option<&'a Path>,
    /// Whether to end early.
    pub stop: Stop,
    /// Set if `dir` has to stay: a cluster in it still runs.
    pub keep_dir: AtomicBool,
}

impl<'a> Part<'a> {
    /// A part that begins.
    pub(super) fn new(
        dir: &'a Path,
        runs: Option<usize>,
        peer_kubeconfig: Option<&'a Path>,
        stop: &Stop,
    ) -> Part<'a> {
        Part { dir, runs, peer_kubeconfig, stop: stop.clone(), keep_dir: AtomicBool::new(false) }
    }

    /// Returns how often to measure what is usually measured so often.
    pub(super) fn runs_or(&self, usual: usize) -> usize {
        self.runs.unwrap_or(usual).max(1)
    }
}

/// Returns whether the files of a directory are in memory, where syncing them costs nothing.
pub(super) fn is_memory(dir: &Path) -> bool {
    statfs(dir).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_memory_is_known_as_that() {
        assert!(!is_memory(Path::new("/proc")) && !is_memory(Path::new("/nowhere")));
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let shared = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some("/dev/shm"));
        let has_tmpfs = shared.is_some_and(|line| line.split(' ').nth(2) == Some("tmpfs"));
        assert!(is_memory(Path::new("/dev/shm")) || !has_tmpfs, "{shared:?}");
        assert!(What::Store.syncs() && !What::Network.syncs());
    }

    #[test]
    fn everything_is_measured_once_at_least() {
        let runs = |wanted| Part::new(Path::new("/"), wanted, None, &Stop::default()).runs_or(5);
        assert_eq!([runs(None), runs(Some(2)), runs(Some(0))], [5, 2, 1]);
    }
}
