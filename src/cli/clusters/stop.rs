//! `down`: ends a cluster that answers, one that hangs, and one that was killed.

use super::{refuse, say};
use anyhow::anyhow;
use cluster::control::{self, Ask, Control};
use cluster::home::Home;
use cluster::{Error, Place, Refusal, launch};
use lang::charset::eprintln;
use nix::sys::signal::Signal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use ui::settings;
use ui::texts::Say;

/// A cluster that was asked to stop ends within this time.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Asks a cluster to stop and waits until its processes are gone. False: it did not run.
pub(super) async fn stop(place: &Place) -> anyhow::Result<bool> {
    let mut control = match Control::connect(place).await {
        Ok(control) => control,
        Err(Error::Hangs { main, .. }) => {
            // Its supervisor hears of the end, ends too, and clears up.
            if let Some(main) = main_process(place, main).await {
                eprintln!("{}", settings::language(None, &place.home).say(Say::SilentKilled, &[&place.name]));
                kill(main.as_fd())?;
            }
            return cleared_up(place);
        }
        Err(Error::NotRunning(_)) => return Ok(false),
        Err(unknown) => return Err(unknown.into()),
    };
    let main = main_process(place, control.main).await;
    let status = match tokio::time::timeout(STOP_PATIENCE, control.ask(&Ask::Status)).await {
        Ok(Ok(status)) => status,
        _ => return wait_for_end(place, main).await, // it ends by itself meanwhile, or hangs by now
    };
    let supervisor = status["pids"]["supervisor"].as_i64().and_then(|p| i32::try_from(p).ok());
    let handle = supervisor.and_then(|pid| linux::process::pidfd_open(pid).ok());
    // The main process dies with its supervisor: while it answers, the number is the supervisor's.
    if !matches!(tokio::time::timeout(STOP_PATIENCE, control.ask(&Ask::Hello)).await, Ok(Ok(_))) {
        return wait_for_end(place, main).await;
    }
    // Readable when the supervisor, the last to go, has ended.
    let ended = handle.map(|fd| linux::fds::async_fd(fd, tokio::io::Interest::READABLE)).transpose()?;
    let all = async {
        if control.ask(&Ask::Stop).await.is_ok() {
            while let Ok(Some(_)) = control.next().await {}
        }
        if let Some(ended) = &ended {
            let _ = ended.readable().await;
        }
    };
    if tokio::time::timeout(STOP_PATIENCE, all).await.is_err() {
        let Some(ended) = &ended else { return wait_for_end(place, main).await };
        // The kernel ends everything below it, and its janitor clears up.
        let (lang, seconds) = (settings::language(None, &place.home), STOP_PATIENCE.as_secs().to_string());
        eprintln!("{}", lang.say(Say::LateKilled, &[&place.name, &seconds]));
        kill(ended.get_ref().as_fd())?;
        let _ = tokio::time::timeout(STOP_PATIENCE, ended.readable()).await;
        return cleared_up(place);
    }
    Ok(true)
}

/// Kills a process. One that has ended meanwhile needs no signal.
fn kill(process: BorrowedFd<'_>) -> std::io::Result<()> {
    match linux::process::pidfd_send_signal(process, Signal::SIGKILL as i32) {
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(()),
        done => done,
    }
}

/// Clears up after a cluster whose processes were killed.
///
/// # Errors
/// Its processes still run.
fn cleared_up(place: &Place) -> anyhow::Result<bool> {
    if launch::clear_up(place)? { Ok(true) } else { Err(never_ends(place)) }
}

/// Returns the error about a cluster whose processes still run.
fn never_ends(place: &Place) -> anyhow::Error {
    anyhow!(say(place, Say::NeverEnds, &[&place.name, &place.log().display().to_string()]))
}

/// Returns a handle of the cluster's main process, if that still runs.
async fn main_process(place: &Place, pid: Option<i32>) -> Option<OwnedFd> {
    control::main_process(place, pid?).await
}

/// Waits for the end of a cluster that answers no more, and clears up after it. Kills it if it
/// takes longer than [`STOP_PATIENCE`].
///
/// # Errors
/// It does not end.
pub(super) async fn wait_for_end(place: &Place, main: Option<OwnedFd>) -> anyhow::Result<bool> {
    if let Some(main) = main {
        let ended = linux::fds::async_fd(main, tokio::io::Interest::READABLE)?;
        if tokio::time::timeout(STOP_PATIENCE, ended.readable()).await.is_err() {
            let seconds = STOP_PATIENCE.as_secs().to_string();
            eprintln!(
                "{}",
                settings::language(None, &place.home).say(Say::LateKilled, &[&place.name, &seconds])
            );
            kill(ended.get_ref().as_fd())?;
        }
    }
    // Its supervisor hears of the end and holds the lock until it has cleared up itself. Each try
    // waits for the lock for a while.
    let over = clock::deadline(STOP_PATIENCE);
    while clock::Instant::now() < over {
        let place = place.clone();
        if tokio::task::spawn_blocking(move || launch::clear_up(&place)).await?? {
            return Ok(true);
        }
    }
    Err(never_ends(place))
}

/// `down`: ends a cluster. One that does not run is no failure.
pub(crate) async fn down(name: &str) -> anyhow::Result<i32> {
    let place = Home::find()?.cluster(name)?;
    if !end_cluster(&place).await? {
        eprintln!("{}", settings::language(None, &place.home).say(Say::NotUp, &[name]));
    }
    Ok(0)
}

/// Ends a cluster, and clears up after one that does not run. False if there was nothing to end.
///
/// # Errors
/// It is there, and does not answer yet.
async fn end_cluster(place: &Place) -> anyhow::Result<bool> {
    let was_stopped = stop(place).await?;
    place.sweep_shells();
    if was_stopped {
        return Ok(true);
    }
    if launch::clear_up(place)? {
        return Ok(false);
    }
    // Another process holds the lock: the cluster was being started, and may answer by now.
    if stop(place).await? {
        return Ok(true);
    }
    let log = place.log().display().to_string();
    Err(refuse(Refusal::Starting { name: place.name.clone(), log }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::linux::lock::Lock;

    /// A script that gets exit code 0 from `down` goes on as if the cluster were stopped.
    #[tokio::test]
    async fn a_cluster_that_is_being_started_and_does_not_answer_is_not_called_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        place.make().unwrap();
        let mut session = std::process::Command::new("true").spawn().unwrap();
        session.wait().unwrap();
        std::fs::create_dir(place.shell(session.id())).unwrap();
        assert!(!end_cluster(&place).await.unwrap(), "it does not run");
        assert!(!place.shell(session.id()).exists(), "a session that was killed had left it");
        let held = Lock::take(&place.lock(), Duration::ZERO).unwrap();
        let refused = end_cluster(&place).await.unwrap_err();
        let problem = refused.downcast_ref::<Error>();
        assert!(matches!(problem, Some(Error::Refusal(Refusal::Starting { .. }))), "{refused}");
        drop(held);
        assert!(!end_cluster(&place).await.unwrap(), "it has ended");
    }

    #[test]
    fn a_process_that_has_ended_before_it_is_killed_is_no_failure() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let handle = linux::process::pidfd_open(child.id() as i32).unwrap();
        kill(handle.as_fd()).unwrap();
        child.wait().unwrap();
        kill(handle.as_fd()).unwrap();
    }

    /// A script that gets exit code 0 from `down` goes on as if no process were left.
    #[test]
    fn a_cluster_that_was_killed_and_still_holds_its_lock_is_not_called_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        place.make().unwrap();
        let held = Lock::take(&place.lock(), Duration::ZERO).unwrap();
        assert!(cleared_up(&place).is_err());
        drop(held);
        assert!(cleared_up(&place).unwrap());
    }

    /// `reset` removes the cluster's files next: they must not be in use any more.
    #[tokio::test]
    async fn a_cluster_that_answers_no_more_is_waited_for_and_cleared_up_after() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        place.make().unwrap();
        let held = Lock::take(&place.lock(), Duration::ZERO).unwrap();
        std::fs::write(place.socket(), "").unwrap();
        let mut main = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pidfd = linux::process::pidfd_open(main.id() as i32).unwrap();
        let end = wait_for_end(&place, Some(pidfd));
        tokio::pin!(end);
        assert!(futures::poll!(end.as_mut()).is_pending(), "its main process runs");
        main.kill().unwrap();
        main.wait().unwrap();
        let socket = place.socket();
        let supervisor = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_millis(50));
            assert!(socket.exists(), "the supervisor clears up first");
            drop(held);
        });
        assert!(end.await.unwrap());
        supervisor.await.unwrap();
        assert!(!place.socket().exists());
    }
}
