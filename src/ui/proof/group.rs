//! The programs that a proof's lines run, as one process group.

use linux::{fds, process};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use parking_lot::Mutex;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, Interest};
use tokio::task::JoinSet;

/// Bytes that are kept of what lines printed, of each stream: a report names the last lines.
const OUTPUT_KEPT: usize = 64 << 10;

/// What lines printed may still be on its way when their REPL has ended: it is read for so long.
const PRINTED_LATER: Duration = Duration::from_millis(500);

/// The process group of a REPL: it and what its lines run. Killed when dropped: lines that are cut
/// off would go on without the REPL, on a cluster that is taken away, and so would a program that a
/// line left in the background.
///
/// The leader is not reaped before that: until then no other process group can have its number.
/// Its output is read until then, too: a program that cannot print may end.
pub(super) struct Group {
    leader: tokio::process::Child,
    reading: JoinSet<std::io::Result<()>>,
    printed: [Arc<Mutex<Vec<u8>>>; 2],
}

impl Group {
    /// Starts a program as the leader of a group.
    pub(super) fn start(mut command: tokio::process::Command) -> std::io::Result<Group> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut leader = command.process_group(0).kill_on_drop(true).spawn()?;
        let (mut reading, printed) = (JoinSet::new(), <[Arc<Mutex<Vec<u8>>>; 2]>::default());
        reading.spawn(read_end(leader.stdout.take(), printed[0].clone()));
        reading.spawn(read_end(leader.stderr.take(), printed[1].clone()));
        Ok(Group { leader, reading, printed })
    }

    /// Waits until the leader has ended, and reads what it printed. A program in the background may
    /// print for as long as it runs: it is not waited for.
    pub(super) async fn answer(&mut self) -> std::io::Result<(i32, String)> {
        let code = self.ended().await?;
        let read = async {
            while let Some(end) = self.reading.join_next().await {
                end.map_err(std::io::Error::other)??;
            }
            Ok::<(), std::io::Error>(())
        };
        clock::timeout(PRINTED_LATER, read).await.transpose()?;
        let printed = self.printed.each_ref().map(|stream| stream.lock().clone()).concat();
        Ok((code, String::from_utf8_lossy(&printed).into_owned()))
    }

    /// Waits until the leader has ended, and returns its exit code; 128 and the signal's number if
    /// a signal ended it.
    async fn ended(&self) -> std::io::Result<i32> {
        let pid = self.pid().ok_or(std::io::ErrorKind::NotFound)?;
        let life = fds::async_fd(process::pidfd_open(pid.as_raw())?, Interest::READABLE)?;
        drop(life.readable().await?);
        match waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)? {
            WaitStatus::Exited(_, code) => Ok(code),
            WaitStatus::Signaled(_, signal, _) => Ok(128 + signal as i32),
            _ => Ok(128),
        }
    }

    fn pid(&self) -> Option<Pid> {
        self.leader.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.pid() {
            let _ = killpg(leader, Signal::SIGKILL); // they may have ended
        }
    }
}

/// Reads a stream to its end. The last [`OUTPUT_KEPT`] bytes are kept: a wrong answer may print for
/// as long as it is let.
async fn read_end(stream: Option<impl AsyncRead + Unpin>, kept: Arc<Mutex<Vec<u8>>>) -> std::io::Result<()> {
    let Some(mut stream) = stream else { return Ok(()) };
    let mut bytes = [0; 16 << 10];
    loop {
        let length = stream.read(&mut bytes).await?;
        if length == 0 {
            return Ok(());
        }
        let mut kept = kept.lock();
        kept.extend_from_slice(&bytes[..length]);
        let over = kept.len().saturating_sub(OUTPUT_KEPT);
        kept.drain(..over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn script(text: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("/bin/sh");
        command.args(["-c", text]);
        command
    }

    /// Holds the other end of a pipe as long as one of the processes does: the pipe ends with them.
    async fn all_ended(mut pipe: tokio::net::unix::pipe::Receiver) {
        let ended = tokio::time::timeout(Duration::from_secs(60), pipe.read_to_end(&mut vec![])).await;
        ended.expect("one goes on").unwrap();
    }

    fn fifo(dir: &Path) -> (std::path::PathBuf, tokio::net::unix::pipe::Receiver) {
        let path = dir.join("held");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let pipe = tokio::net::unix::pipe::OpenOptions::new().open_receiver(&path).unwrap();
        (path, pipe)
    }

    #[tokio::test]
    async fn lines_that_are_cut_off_leave_no_process_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (held, pipe) = fifo(dir.path());
        let text = format!("exec 3> {}; echo; sleep 1000 & sleep 1000; echo", held.display());
        let group = Group::start(script(&text)).unwrap();
        while group.printed[0].lock().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(group);
        all_ended(pipe).await;
    }

    #[tokio::test]
    async fn a_program_in_the_background_is_not_waited_for_and_ends_with_the_case() {
        let dir = tempfile::tempdir().unwrap();
        let (held, pipe) = fifo(dir.path());
        let text = format!("exec 3> {}; sleep 1000 & echo told; echo why >&2; exit 3", held.display());
        let mut group = Group::start(script(&text)).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(60), group.answer()).await;
        assert_eq!(answer.expect("with its leader").unwrap(), (3, "told\nwhy\n".to_string()));
        assert_eq!(group.reading.len(), 2, "what it prints is read");
        assert_eq!(killpg(group.pid().unwrap(), None), Ok(()));
        drop(group);
        all_ended(pipe).await;
    }

    #[tokio::test]
    async fn a_signal_that_ended_the_leader_is_its_code() {
        let mut group = Group::start(script("kill -TERM $$")).unwrap();
        assert_eq!(group.answer().await.unwrap().0, 128 + 15);
    }

    #[tokio::test]
    async fn of_endless_output_the_end_is_kept() {
        let long = tokio::io::repeat(b'y').take(1 << 20).chain(&b"the end"[..]);
        let kept = Arc::<Mutex<Vec<u8>>>::default();
        read_end(Some(long), kept.clone()).await.unwrap();
        assert_eq!(kept.lock().len(), OUTPUT_KEPT);
        assert!(kept.lock().ends_with(b"ythe end"));
        let nothing = Arc::<Mutex<Vec<u8>>>::default();
        read_end(None::<&[u8]>, nothing.clone()).await.unwrap();
        assert!(nothing.lock().is_empty());
    }
}
