//! Termination messages: a file of its own for each container, which the container may write its
//! last words to, or the end of its log.
//!
//! Upstream these files lie on the node's disk, where a container may fill it through them. Here
//! those of one pod lie on a small file system of their own ([`mount`]).

use super::container::{MESSAGE_PATH, MESSAGE_POLICY};
use super::{logs, volumes};
use ::linux::beneath::{Kind, Root};
use ::linux::mount::Flags;
use cri::{Container, ContainerState, Mount};
use k8s_openapi::api::core::v1::Container as Spec;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes of a message that are taken from the end of its file: upstream's bound.
const MESSAGE_MAX: u64 = 4096;
/// Bytes and lines of a log that are taken instead.
const FROM_LOG_MAX: usize = 2048;
const LINES_MAX: usize = 80;
/// Bytes at the end of a log file in which those lines are looked for: each has up to 60 bytes of
/// time and stream before it.
const LOG_TAIL: u64 = 64 << 10;

/// Bytes of all message files of one pod. Only [`MESSAGE_MAX`] of each are read, so this is room
/// enough for hundreds of containers.
const POD_MAX: u64 = 1 << 20;
/// Files and directories on the file system of one pod: a directory for each container, in it a
/// file for each of its last attempts.
const POD_FILES_MAX: u64 = 4096;
/// Below the pod's directory.
const DIRECTORY: &str = "containers";
/// The plain copy of the messages. It is beside [`DIRECTORY`] until it replaces that: see
/// [`move_messages_to_disk`].
const SETTLED: &str = "containers.settled";

/// Mounts the file system of a pod's message files, unless it is there already (from before a
/// restart of this kubelet).
///
/// # Errors
/// The kernel forbids the mount.
pub(crate) fn mount(pod_dir: &Path) -> linux::Result<()> {
    let dir = pod_dir.join(DIRECTORY);
    std::fs::create_dir_all(&dir)
        .map_err(|cause| linux::Error::new(format!("cannot make {}", dir.display()), cause))?;
    #[cfg(test)]
    if super::simulated::is_simulated() {
        return Ok(()); // a plain directory does as well
    }
    if volumes::is_mounted(&dir)? {
        return Ok(());
    }
    let flags = Flags::MS_NOSUID | Flags::MS_NODEV | Flags::MS_NOEXEC;
    linux::mount::tmpfs(&dir, flags, 0o755, POD_MAX, POD_FILES_MAX)
}

/// Unmounts the file system of a pod's message files, so that the pod's directory can be removed.
pub(crate) fn unmount(pod_dir: &Path) {
    let dir = pod_dir.join(DIRECTORY);
    if volumes::is_mounted(&dir).unwrap_or(false)
        && let Err(error) = linux::mount::detach(&dir)
    {
        tracing::warn!(error = error.line(), "termination messages stay in memory");
    }
}

/// Keeps the messages of a pod whose containers have ended as plain files and takes their file
/// system away: ended pods may stay for long and in any number, and every mount counts for the
/// whole machine (`fs.mount-max`).
///
/// # Errors
/// The disk is full; then the file system stays.
pub(crate) fn move_messages_to_disk(pod_dir: &Path) -> linux::Result<()> {
    let dir = pod_dir.join(DIRECTORY);
    if !dir.is_dir() {
        return Ok(());
    }
    if !volumes::is_mounted(&dir)? {
        // A kubelet that ended after it had taken the mount away left the whole copy; beside a
        // mount a copy may be a part.
        let root = Root::open(pod_dir)?;
        return match root.exists(Path::new(SETTLED))? {
            true => root.rename(Path::new(SETTLED), Path::new(DIRECTORY)),
            false => Ok(()),
        };
    }
    let (root, names) = (Root::open(pod_dir)?, |dir: &Path| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| PathBuf::from(entry.file_name())).collect::<BTreeSet<_>>()
    });
    let aside = Path::new(SETTLED);
    root.remove_all(aside)?; // of a kubelet that ended in between
    root.make_dirs(aside, 0o700)?;
    for container in names(&dir) {
        for attempt in names(&dir.join(&container)) {
            let file = container.join(attempt);
            let Some(words) = read(&root, &Path::new(DIRECTORY).join(&file)) else { continue };
            root.write_file(&aside.join(file), &words, 0o600)?;
        }
    }
    linux::mount::detach(&dir)?;
    root.rename(aside, Path::new(DIRECTORY)) // over the empty mount point
}

/// Reads the last [`MESSAGE_MAX`] bytes of a message: a program that appends its log to the file
/// says at its end why it failed. The file was a container's, so it is read as any file of a pod.
/// Source: `ReadAtMost` in `pkg/util/tail/tail.go`.
fn read(root: &Root, file: &Path) -> Option<Vec<u8>> {
    let mut file = File::from(root.open_beneath(file, Kind::File).ok()?);
    let end = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(end.saturating_sub(MESSAGE_MAX))).ok()?;
    let mut bytes = Vec::new();
    file.take(MESSAGE_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Returns where the message of an attempt is, below the pod's directory.
fn file_of(name: &str, attempt: u32) -> PathBuf {
    Path::new(DIRECTORY).join(name).join(attempt.to_string())
}

/// Makes the file of a container's message, below what [`mount`] mounted, and says where it is
/// mounted. `None`: the pod wants none.
///
/// # Errors
/// The file cannot be made.
pub(crate) fn prepare(pod_dir: &Path, spec: &Spec, attempt: u32) -> linux::Result<Option<Mount>> {
    let path = spec.termination_message_path.as_deref().unwrap_or_default();
    if path.is_empty() {
        return Ok(None);
    }
    std::fs::create_dir_all(pod_dir)
        .map_err(|cause| linux::Error::new(format!("cannot make {}", pod_dir.display()), cause))?;
    let file = file_of(&spec.name, attempt);
    Root::open(pod_dir)?.write_file(&file, b"", 0o666)?; // for whatever user the container has
    Ok(Some(Mount {
        host_root: None,
        host_path: pod_dir.join(file),
        sub_path: PathBuf::new(),
        container_path: Path::new("/").join(path), // a relative one, too, as upstream
        read_only: false,
    }))
}

/// Returns the last words of an ended container: the last [`MESSAGE_MAX`] bytes of its file, or of
/// one that failed without a word, if its pod wants that, the end of its log. Empty if there are
/// none.
pub(crate) fn message(pod_dir: &Path, ended: &Container) -> String {
    let annotation = |name: &str| ended.annotations.get(name).map(String::as_str).unwrap_or_default();
    if ended.state != ContainerState::Exited || annotation(MESSAGE_PATH).is_empty() {
        return String::new();
    }
    let written = || {
        let bytes = read(&Root::open(pod_dir).ok()?, &file_of(&ended.name, ended.attempt))?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let written = written().unwrap_or_default();
    let fall_back = annotation(MESSAGE_POLICY) == "FallbackToLogsOnError" && ended.exit_code != 0;
    match written.is_empty() && fall_back {
        true => log_end(&ended.log_path).unwrap_or_default(),
        false => written,
    }
}

/// Removes the message file of an attempt that the runtime does not have any more.
pub(crate) fn forget(pod_dir: &Path, container: &Container) {
    if let Ok(root) = Root::open(pod_dir) {
        let _ = root.remove_all(&file_of(&container.name, container.attempt)); // it goes with the pod at the latest
    }
}

/// Returns the last lines of a log file, without their times.
fn log_end(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    let begin = end.saturating_sub(LOG_TAIL);
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes)?;
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut open = false;
    // The first line may be cut off.
    for line in bytes.split(|b| *b == b'\n').skip(usize::from(begin > 0)) {
        let Some(entry) = logs::parse(line) else { continue };
        let mut text = entry.text.to_vec();
        if !entry.partial {
            text.push(b'\n');
        }
        match lines.last_mut().filter(|_| open) {
            Some(last) => last.extend(text),
            None => lines.push(text),
        }
        open = entry.partial;
    }
    let text = lines[lines.len().saturating_sub(LINES_MAX)..].concat();
    let text = &text[text.len().saturating_sub(FROM_LOG_MAX)..];
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::decide::tests::container;
    use super::*;
    use std::os::unix::fs::symlink;

    fn ended(policy: &str, exit_code: i32, log: &Path) -> Container {
        let mut c = container("c", 1, ContainerState::Exited, exit_code);
        c.annotations.insert(MESSAGE_PATH.into(), "/dev/termination-log".into());
        c.annotations.insert(MESSAGE_POLICY.into(), policy.into());
        c.log_path = log.to_path_buf();
        c
    }

    fn spec(json: serde_json::Value) -> Spec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn last_words_come_from_the_file_or_from_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        let lines = (0..100).map(|n| format!("2026-01-02T03:04:05.000000006Z stdout F line {n}\n"));
        std::fs::write(&log, lines.collect::<String>()).unwrap();
        let wanted = spec(serde_json::json!({"name": "c", "terminationMessagePath": "/dev/termination-log"}));
        let mount = prepare(dir.path(), &wanted, 1).unwrap().unwrap();
        assert_eq!(mount.container_path, Path::new("/dev/termination-log"));
        let words = |policy: &str, code: i32| message(dir.path(), &ended(policy, code, &log));
        assert_eq!(words("File", 1), "");
        assert_eq!(words("FallbackToLogsOnError", 0), "");
        let fallen_back = words("FallbackToLogsOnError", 1);
        assert!(fallen_back.starts_with("line 20\n") && fallen_back.ends_with("line 99\n"), "{fallen_back}");
        std::fs::write(&log, format!("x stderr P {}\nx stderr F b\n", "a".repeat(5000))).unwrap();
        let long = words("FallbackToLogsOnError", 137);
        assert_eq!((long.len(), long.ends_with("aab\n")), (2048, true));
        std::fs::write(&log, "x stdout F one\nx stdout P DONE\n").unwrap();
        assert_eq!(
            words("FallbackToLogsOnError", 1),
            "one\nDONE",
            "no newline was written after the last word"
        );
        std::fs::write(&mount.host_path, format!("{}end", "d".repeat(5000))).unwrap();
        let last = format!("{}end", "d".repeat(4093));
        assert_eq!([words("File", 0), words("FallbackToLogsOnError", 1)], [last.as_str(); 2]);
        forget(dir.path(), &ended("File", 0, &log));
        assert_eq!(words("File", 0), "");
    }

    /// Thousands of ended pods may be remembered, and the machine has so many mounts.
    #[test]
    fn last_words_of_an_ended_pod_outlive_their_mount() {
        let dir = tempfile::tempdir().unwrap();
        let pod = dir.path().to_path_buf();
        let in_own_mounts = move || {
            let allowed = linux::namespace::own_mounts().and_then(|()| linux::mount::make_all_private());
            if allowed.is_err() || mount(&pod).is_err() {
                return; // only root may mount here
            }
            let wanted = spec(serde_json::json!({"name": "c", "terminationMessagePath": "/m"}));
            let file = prepare(&pod, &wanted, 1).unwrap().unwrap().host_path;
            std::fs::write(file, format!("{}end", "x".repeat(5000))).unwrap();
            let last = format!("{}end", "x".repeat(4093));
            for _ in 0..2 {
                move_messages_to_disk(&pod).unwrap();
                assert!(!volumes::is_mounted(&pod.join(DIRECTORY)).unwrap());
                assert_eq!(message(&pod, &ended("File", 0, Path::new("/none"))), last);
                let left: Vec<_> =
                    std::fs::read_dir(&pod).unwrap().flatten().map(|e| e.file_name()).collect();
                assert_eq!(left, [DIRECTORY]);
            }
        };
        std::thread::spawn(in_own_mounts).join().unwrap(); // a thread's own mount namespace goes with it
    }

    #[test]
    fn last_words_outlive_a_kubelet_that_ended_while_it_moved_them() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join(DIRECTORY)).unwrap(); // the empty mount point
        std::fs::create_dir_all(dir.path().join(SETTLED).join("c")).unwrap();
        std::fs::write(dir.path().join(SETTLED).join("c/1"), "bye").unwrap();
        for _ in 0..2 {
            move_messages_to_disk(dir.path()).unwrap();
            assert_eq!(message(dir.path(), &ended("File", 0, Path::new("/none"))), "bye");
        }
    }

    #[test]
    fn a_message_is_no_way_to_read_something_else() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "of the machine").unwrap();
        let pod = dir.path().join("pod");
        std::fs::create_dir_all(pod.join("containers/c")).unwrap();
        for target in [secret.as_path(), Path::new("../../../secret"), Path::new("/dev/zero")] {
            let _ = std::fs::remove_file(pod.join("containers/c/1"));
            symlink(target, pod.join("containers/c/1")).unwrap();
            assert_eq!(message(&pod, &ended("File", 0, &secret)), "");
        }
        let climbing = spec(serde_json::json!({"name": "../../x", "terminationMessagePath": "/m"}));
        assert!(prepare(&pod, &climbing, 1).is_err());
    }

    #[test]
    fn a_relative_path_of_a_message_begins_at_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let relative = spec(serde_json::json!({"name": "c", "terminationMessagePath": "tmp/why"}));
        let mount = prepare(dir.path(), &relative, 1).unwrap().unwrap();
        assert_eq!(mount.container_path, Path::new("/tmp/why"));
    }

    /// Its /dev is its own, too.
    #[test]
    fn a_privileged_container_has_a_message() {
        let dir = tempfile::tempdir().unwrap();
        let privileged = serde_json::json!({"name": "c", "terminationMessagePath": "/dev/termination-log",
            "securityContext": {"privileged": true}});
        let mount = prepare(&dir.path().join("pod"), &spec(privileged), 1).unwrap().unwrap();
        assert_eq!(mount.container_path, Path::new("/dev/termination-log"));
    }
}
