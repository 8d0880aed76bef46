//! The logs of containers: how much is kept, and in which files.

use std::path::{Path, PathBuf};

/// How much of a container's output is kept: `containerLogMaxSize` and `containerLogMaxFiles` of
/// the kubelet's configuration. CRI leaves moving files aside to the kubelet, which looks every ten
/// seconds; here the runtime does it as it writes, so that the bound holds at any rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes of one file; it is moved aside before it would grow beyond.
    pub max_size: u64,
    /// The current file included; at least 2.
    pub max_files: usize,
}

impl Default for LogLimits {
    fn default() -> LogLimits {
        LogLimits { max_size: 10 << 20, max_files: 5 }
    }
}

/// Where a log is that was moved aside `age` times: `0.log`, `0.log.1`, `0.log.2`, …
pub fn rotated_log(path: &Path, age: usize) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    if age > 0 {
        name.push(format!(".{age}"));
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_moved_aside_has_its_age_behind_its_name() {
        let log = Path::new("/log/web/0.log");
        assert_eq!(rotated_log(log, 0), log);
        assert_eq!(rotated_log(log, 2), Path::new("/log/web/0.log.2"));
    }
}
