//! The learner's side of a start: one more process, and reports of its progress. `order` has the
//! messages between the two.

pub(crate) mod order;

use super::control::Control;
use super::error::Error;
use super::home::Place;
use super::kubeconfig::{default_kubeconfig, own_address, renew_in};
use super::logs::{self, LOG_MAX};
use super::refusal::Refusal;
use super::spec::Spec;
use super::wipe;
use client::kubeconfig::LOCK_WITHIN;
use linux::cgroup::Lack;
use linux::lock::Lock;
use order::{Order, StartReport};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

pub use order::SUPERVISE_ARGUMENT;

/// Variables that name a directory, which guests read in the cluster.
const DIRECTORIES: [&str; 2] = ["ROPEWALK_LESSONS", "ROPEWALK_LABS"];
/// Lines that are quoted of a start that failed.
const LAST_WORDS: usize = 3;

/// A start that is not complete by then may never be. A slow machine with other work needs five
/// minutes.
pub const WHOLE_MAX: Duration = Duration::from_secs(600);

/// Limits of containers that are not enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlimited {
    /// The controllers by which nothing is limited, e.g. `memory, cpu`.
    pub controllers: String,
    /// The reason in words, with its path.
    pub why: String,
}

impl From<Lack> for Unlimited {
    fn from(lack: Lack) -> Unlimited {
        Unlimited { controllers: lack.missing.controllers().join(", "), why: lack.why }
    }
}

/// A cluster that this process started.
pub struct Launched {
    /// The supervisor's process.
    pub child: Child,
    /// The supervisor's standard input, if the cluster is attached: the cluster ends when this is
    /// closed.
    pub stdin: Option<ChildStdin>,
    /// The API's port on 127.0.0.1: the one that was asked for, or the first free one.
    pub api_port: u16,
    /// Why limits of containers are not enforced, or not all of them.
    pub unlimited: Option<Unlimited>,
    /// Why the context that a merge has put into the learner's kubeconfig is still that of an
    /// earlier start.
    pub stale_context: Option<Box<Error>>,
}

/// Starts a cluster and returns when its store serves, and its control socket and API port are
/// open. The API may not answer yet. `report` gets the reason of a store that does not serve after
/// some seconds, and each new reason.
///
/// # Errors
/// As [`launch_with`].
pub async fn launch(
    place: &Place,
    spec: &Spec,
    attached: bool,
    report: impl FnMut(&str),
) -> Result<Launched, Error> {
    launch_with(place, spec, attached, &[], report).await
}

/// Does what [`launch`] does, with these variables in the cluster's environment.
///
/// # Errors
/// [`Refusal::Foreign`]: this is the directory of a foreign cluster. [`Refusal::Running`] or
/// [`Refusal::Starting`]: another process has the cluster's lock. Other refusals
/// ([`Refusal::PortTaken`], [`Refusal::NoEtcd`] …) come from the supervisor, and the user can act
/// on each. [`Error::File`] and [`Error::Kernel`]: the files, or the process, cannot be made.
/// [`Error::Message`] and [`Error::Start`]: the cluster ended before it served; the text quotes
/// why. No process of this start runs then.
pub async fn launch_with(
    place: &Place,
    spec: &Spec,
    attached: bool,
    variables: &[(&str, &OsStr)],
    mut report: impl FnMut(&str),
) -> Result<Launched, Error> {
    if place.foreign().exists() {
        return Err(Refusal::Foreign { name: place.name.clone() }.into());
    }
    if wipe::has_leftovers(place) {
        // A `reset` that was interrupted. One that is under way has the lock, as a start has.
        if let Some(held) = hold(place)? {
            let left = || wipe::first_leftover(place).unwrap_or_else(|| place.gone(0));
            wipe::leftovers(place, &held).map_err(|cause| Error::File { path: left(), cause })?;
        }
    }
    place.make()?;
    place.sweep_shells();
    let before = own_address(place);
    link_tools(place)?;
    let log_path = place.log();
    let log = open_log(&log_path).map_err(|cause| Error::File { path: log_path.clone(), cause })?;
    let begun = log.metadata().map_or(0, |log| log.len());
    let order = Order { home: place.home.path().into(), spec: spec.clone(), attached };
    // JSON has no form for a path that is not UTF-8, e.g. of the authority of an external etcd.
    let order = serde_json::to_string(&order).map_err(|why| Error::Start(why.to_string()))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("ropewalk")
        .arg(SUPERVISE_ARGUMENT)
        .arg(order)
        .env("ROPEWALK_HOME", place.home.path())
        .envs(directories(variables, |name| std::env::var_os(name)))
        .envs(variables.iter().filter(|(name, _)| !DIRECTORIES.contains(name)).copied())
        .stdin(if attached { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(log)
        .current_dir("/");
    linux::process::leave_descriptors(command.as_std_mut());
    let mut child = command.spawn().map_err(Error::Kernel)?;
    let stdin = child.stdin.take();
    let out = child.stdout.take().ok_or_else(|| Error::Start("no pipe to the supervisor".into()))?;
    let mut lines = BufReader::new(out).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str::<StartReport>(&line) {
            Ok(StartReport::Started { api_port, unlimited }) => {
                let stale_context = renew_context(place, before).await;
                return Ok(Launched { child, stdin, api_port, unlimited, stale_context });
            }
            Ok(StartReport::Waits(why)) => report(&why),
            Ok(StartReport::Failed(why)) => {
                let _ = child.wait().await; // it has said why
                return Err(match why.into_result() {
                    Err(refused) => name_lock_holder(place, refused).await,
                    Ok(_) => Error::Start("it was refused without a reason".into()),
                });
            }
            Err(_) => {}
        }
    }
    let _ = child.wait().await;
    let last = last_words(&log_path, begun);
    let last = if last.is_empty() { String::new() } else { format!("; its last words:\n{last}") };
    Err(Error::Start(format!("its processes ended (log: {}){last}", log_path.display())))
}

/// Opens the log of the cluster's processes, to write at its end. A long one is set aside first.
fn open_log(path: &Path) -> std::io::Result<fs::File> {
    if fs::metadata(path).is_ok_and(|log| log.len() > LOG_MAX) {
        logs::set_aside(path)?;
    }
    fs::OpenOptions::new().create(true).append(true).open(path)
}

/// Returns why a start was refused. All that its supervisor knows is that the lock is taken:
/// without an answer on the socket it is another start, a `reset`, or a cluster that does not end.
async fn name_lock_holder(place: &Place, error: Error) -> Error {
    let is_held = matches!(error, Error::Refusal(Refusal::Running { .. }));
    if is_held && matches!(Control::connect(place).await, Err(Error::NotRunning(_))) {
        return Refusal::Starting { name: place.name.clone(), log: place.log().display().to_string() }.into();
    }
    error
}

/// Follows the API to another port in the learner's own kubeconfig. Returns why it could not.
async fn renew_context(place: &Place, before: Option<String>) -> Option<Box<Error>> {
    let (own, before) = (place.clone(), before?);
    let renew = move || default_kubeconfig().map(|target| renew_in(&own, &before, &target, LOCK_WITHIN));
    let renewed = tokio::task::spawn_blocking(renew).await.ok().flatten();
    renewed.and_then(Result::err).map(Box::new)
}

/// Returns the directories that the cluster's variables name, as absolute paths: its own present
/// directory is the root. `of_process` is this process's environment.
fn directories(
    variables: &[(&str, &OsStr)],
    of_process: impl Fn(&str) -> Option<OsString>,
) -> Vec<(&'static str, PathBuf)> {
    let given =
        |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_os_string());
    let named =
        DIRECTORIES.into_iter().filter_map(|name| Some((name, given(name).or_else(|| of_process(name))?)));
    // The empty text, which stands for none, has no absolute form.
    named.map(|(name, path)| (name, std::path::absolute(&path).unwrap_or_else(|_| path.into()))).collect()
}

/// Returns the last lines of what was written since the log was `begun` bytes long: earlier ones
/// tell of another run.
fn last_words(log: &Path, begun: u64) -> String {
    let text = fs::read(log).unwrap_or_default();
    let new = text.get(begun as usize..).unwrap_or_default();
    let new = String::from_utf8_lossy(new);
    let lines: Vec<&str> = new.lines().collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
}

/// Clears up after a cluster that does not run. Nothing is left of one that ended in any way but
/// with every process killed at once. Returns false if it runs, or is just being started.
///
/// # Errors
/// As [`hold`].
pub fn clear_up(place: &Place) -> Result<bool, Error> {
    if !place.lock().exists() {
        return Ok(true); // it has never run
    }
    Ok(hold(place)?.is_some())
}

/// Clears up after a cluster that does not run, and keeps its lock: it cannot be started until that
/// is dropped. `None`: it runs, or is just being started.
///
/// # Errors
/// [`Error::File`]: the lock cannot be made or opened, or the control socket cannot be removed.
/// The error names the path; the user can correct its permissions and try again.
pub fn hold(place: &Place) -> Result<Option<Lock>, Error> {
    place.make_lock()?;
    let busy = |cause: std::io::Error| match cause.kind() {
        std::io::ErrorKind::WouldBlock => Ok(None),
        _ => Err(Error::File { path: place.lock(), cause }),
    };
    if let Err(error) = linux::boot::sweep(&place.lock()) {
        return busy(error.cause);
    }
    let held = match Lock::take(&place.lock(), Duration::ZERO) {
        Ok(held) => held,
        Err(cause) => return busy(cause), // another process was faster
    };
    match fs::remove_file(place.socket()) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { path: place.socket(), cause })
        }
        _ => Ok(Some(held)),
    }
}

/// Returns the path of this program, also if another version was installed under it while this one
/// runs.
///
/// # Errors
/// The kernel does not tell it.
pub fn program() -> std::io::Result<PathBuf> {
    std::env::current_exe().map(installed)
}

/// Returns the path of the program, also if another version was installed under it while this one
/// runs: the kernel adds a word to the path of a file that was replaced (proc_pid_exe(5)).
fn installed(exe: PathBuf) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    match exe.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(path) if !exe.exists() => PathBuf::from(OsStr::from_bytes(path)),
        _ => exe,
    }
}

/// Makes `<home>/bin` hold this program under the names of the tools it contains.
pub(super) fn link_tools(place: &Place) -> Result<(), Error> {
    let exe = program().map_err(Error::Kernel)?;
    for tool in ["kubectl", "etcdctl"] {
        let link = place.home.bin().join(tool);
        if fs::read_link(&link).is_ok_and(|to| to == exe) {
            continue;
        }
        let fresh = place.home.bin().join(format!(".{tool}.{}", std::process::id()));
        // A start of the same pid, as in a container, may have been killed between the two steps.
        let _ = fs::remove_file(&fresh);
        std::os::unix::fs::symlink(&exe, &fresh)
            .and_then(|()| fs::rename(&fresh, &link))
            .map_err(|cause| Error::File { path: link, cause })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_is_not_explained_by_an_earlier_run() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let earlier = "asked to stop\n";
        fs::write(log.path(), earlier).unwrap();
        assert_eq!(last_words(log.path(), earlier.len() as u64), "");
        fs::write(log.path(), format!("{earlier}one\ntwo\nthree\nfour\n")).unwrap();
        assert_eq!(last_words(log.path(), earlier.len() as u64), "two\nthree\nfour");
        fs::write(log.path(), "short").unwrap(); // it was emptied meanwhile
        assert_eq!(last_words(log.path(), earlier.len() as u64), "");
    }

    /// `status`, which the other refusal names, would say that it is stopped.
    #[tokio::test]
    async fn a_lock_behind_which_nothing_answers_is_no_running_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let place = crate::Home::at(dir.path()).cluster("main").unwrap();
        let running = || Error::from(Refusal::Running { name: "main".into() });
        assert!(matches!(
            name_lock_holder(&place, running()).await,
            Error::Refusal(Refusal::Starting { .. })
        ));
        let port = name_lock_holder(&place, Refusal::PortTaken { port: 6443 }.into()).await;
        assert!(matches!(port, Error::Refusal(Refusal::PortTaken { .. })), "{port}");
    }

    /// The cluster stands in `/`, wherever it was started.
    #[test]
    fn a_directory_of_lessons_is_the_one_that_the_person_meant() {
        let here = std::env::current_dir().unwrap();
        let of_process = |name: &str| (name == "ROPEWALK_LABS").then(|| OsString::from("labs"));
        let given = [("ROPEWALK_LESSONS", OsStr::new("my/lessons")), ("OTHER", OsStr::new("x"))];
        let named = directories(&given, of_process);
        assert_eq!(
            named,
            [("ROPEWALK_LESSONS", here.join("my/lessons")), ("ROPEWALK_LABS", here.join("labs"))]
        );
        let named = directories(&[("ROPEWALK_LABS", OsStr::new(""))], of_process);
        assert_eq!(named, [("ROPEWALK_LABS", PathBuf::new())], "the empty text means none");
    }

    #[test]
    fn a_link_that_a_killed_start_left_does_not_end_the_next_one_of_its_pid() {
        let dir = tempfile::tempdir().unwrap();
        let place = crate::Home::at(dir.path()).cluster("t").unwrap();
        place.make().unwrap();
        let left = place.home.bin().join(format!(".kubectl.{}", std::process::id()));
        std::os::unix::fs::symlink("/nowhere", &left).unwrap();
        link_tools(&place).unwrap();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(fs::read_link(place.home.bin().join("kubectl")).unwrap(), exe);
        assert!(left.symlink_metadata().is_err());
    }

    /// Otherwise `kubectl` in the session's shell would lead to a file that is not there.
    #[test]
    fn a_program_that_was_replaced_while_it_runs_is_linked_by_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        assert_eq!(installed(path("ropewalk (deleted)")), path("ropewalk"));
        assert_eq!(installed(path("ropewalk")), path("ropewalk"));
        fs::write(path("odd (deleted)"), "").unwrap();
        assert_eq!(installed(path("odd (deleted)")), path("odd (deleted)"), "that is its name");
    }
}
