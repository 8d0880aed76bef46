//! Where lessons and labs are proved: a cluster of its own for each case, and a REPL into which
//! lines are typed.

use super::lesson::{self as front, Green};
use super::proof_home::Private;
use super::texts::Lang;
use cluster::control::{Ask as Request, Control};
use cluster::foreign::{self, Foreign};
use cluster::launch::{self, Launched, WHOLE_MAX};
use cluster::{Home, Place, Spec};
use lab::view::{Ask, LessonView, Proof, State};
use lang::charset::eprintln;
use linux::{fds, process};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use parking_lot::Mutex;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, Interest};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A solution that has not worked after this time does not work.
const GREEN_MAX: Duration = Duration::from_secs(180);
/// How long the last facts of a proof may take to arrive on a machine with much to do.
const PROOF_MAX: Duration = Duration::from_secs(60);
/// How long sentences of a debrief are waited for that have nothing to tell yet: on a foreign
/// cluster some never do, and that is no fault.
const SENTENCES_MAX: Duration = Duration::from_secs(20);
/// A fact that changes nothing on the screen tells nobody that it came: it is looked for this
/// often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Bytes that are kept of what lines printed, of each stream: a report names the last lines.
const OUTPUT_KEPT: usize = 64 << 10;

/// What lines printed may still be on its way when their REPL has ended: it is read for so long.
const PRINTED_LATER: Duration = Duration::from_millis(500);

const STOPPED: &str = "interrupted";

/// Whether the proof shall end before it is through: on Ctrl-C, SIGTERM, or with its terminal.
/// Every cluster is then ended and cleared away as after its last case.
#[derive(Clone, Default)]
pub(super) struct Stop(CancellationToken);

impl Stop {
    pub(super) fn wanted(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Does the work and hears meanwhile whether to stop, which the work has to heed.
    pub(super) async fn heard_during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut signals: Vec<_> = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .into_iter()
            .filter_map(|kind| signal(kind).ok())
            .collect();
        let heard = async {
            let _ = futures::future::select_all(signals.iter_mut().map(|s| Box::pin(s.recv()))).await; // which one does not matter
            eprintln!("ropewalk: {STOPPED}; ending the clusters");
            self.0.cancel();
            std::future::pending::<T>().await
        };
        tokio::select! { done = work => done, never = heard => never }
    }

    /// What the work comes to, or that it was broken off.
    pub(super) async fn or<T>(&self, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        tokio::select! {
            biased;
            () = self.0.cancelled() => Err(STOPPED.into()),
            done = work => done,
        }
    }
}

/// A cluster for one case, in a home of its own. It ends with this process, however that ends.
pub(super) struct ProofCluster {
    pub(super) place: Place,
    home: Private,
    origin: Origin,
    /// Those of the REPLs that have run. What they left in the background ends with the case.
    groups: Mutex<Vec<Group>>,
}

enum Origin {
    Launched(Launched),
    Foreign(Foreign),
}

/// Returns when the cluster tells something, or after [`LOOK_AGAIN`].
///
/// # Errors
/// The stream has ended: it would tell nothing any more, at once and every time.
async fn news_or_time(control: &mut Control) -> Result<(), String> {
    match clock::timeout(LOOK_AGAIN, control.next()).await {
        None | Some(Ok(Some(_))) => Ok(()),
        Some(Ok(None)) => Err("the cluster ended".into()),
        Some(Err(error)) => Err(error.say(Lang::En)),
    }
}

/// The process group of a REPL: it and what its lines run. Killed when dropped: lines that are cut
/// off would go on without the REPL, on a cluster that is taken away, and so would a program that a
/// line left in the background.
///
/// The leader is not reaped before that: until then no other process group can have its number.
/// Its output is read until then, too: a program that cannot print may end.
struct Group {
    leader: tokio::process::Child,
    reading: JoinSet<std::io::Result<()>>,
    printed: [Arc<Mutex<Vec<u8>>>; 2],
}

impl Group {
    /// Starts a program as the leader of a group.
    fn start(mut command: tokio::process::Command) -> std::io::Result<Group> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut leader = command.process_group(0).kill_on_drop(true).spawn()?;
        let (mut reading, printed) = (JoinSet::new(), <[Arc<Mutex<Vec<u8>>>; 2]>::default());
        reading.spawn(read_end(leader.stdout.take(), printed[0].clone()));
        reading.spawn(read_end(leader.stderr.take(), printed[1].clone()));
        Ok(Group { leader, reading, printed })
    }

    /// Waits until the leader has ended, and reads what it printed. A program in the background may
    /// print for as long as it runs: it is not waited for.
    async fn answer(&mut self) -> std::io::Result<(i32, String)> {
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

static PROOFS: AtomicUsize = AtomicUsize::new(0);

impl ProofCluster {
    /// Errors: it does not start, or `stop` was wanted before it was ready.
    pub(super) async fn open(variables: &[(&str, &OsStr)], stop: &Stop) -> Result<ProofCluster, String> {
        if stop.0.is_cancelled() {
            return Err(STOPPED.into());
        }
        let home = Private::make()?;
        let place = match Home::at(home.path()).cluster("main") {
            Ok(place) => place,
            Err(e) => {
                home.remove();
                return Err(e.to_string());
            }
        };
        let spec = Spec::new("main");
        let late = || "the cluster did not become ready".to_string();
        let launched =
            match clock::timeout(WHOLE_MAX, launch::launch_with(&place, &spec, true, variables)).await {
                Some(Ok(launched)) => launched,
                failed => {
                    home.remove();
                    return Err(failed.and_then(Result::err).map_or_else(late, |e| cluster::chain(&e)));
                }
            };
        let proof_cluster =
            ProofCluster { place, home, origin: Origin::Launched(launched), groups: Mutex::default() };
        let ready =
            async { clock::timeout(WHOLE_MAX, proof_cluster.ready()).await.unwrap_or_else(|| Err(late())) };
        match stop.or(ready).await {
            Ok(()) => Ok(proof_cluster),
            Err(why) => {
                proof_cluster.close().await;
                Err(why)
            }
        }
    }

    async fn ready(&self) -> Result<(), String> {
        let mut control = Control::connect(&self.place).await.map_err(|e| e.to_string())?;
        let mut progress = control.ask(&Request::Wait).await.map_err(|e| e.to_string())?;
        while progress["ready"] != true {
            let next = control.next().await.map_err(|e| e.to_string())?;
            progress = next.ok_or("the cluster ended while it started")?;
        }
        Ok(())
    }

    /// Opens a proof on a foreign cluster, with namespaces that no other proof uses.
    pub(super) async fn foreign(kubeconfig: &Path) -> Result<ProofCluster, String> {
        let number = PROOFS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let home = Private::make()?;
        let place = match foreign::place(&Home::at(home.path()), kubeconfig) {
            Ok(place) => place,
            Err(e) => {
                home.remove();
                return Err(cluster::chain(&e));
            }
        };
        let prefix = format!("{}-test-{name}", foreign::PREFIX);
        match Foreign::open(&place, kubeconfig, &prefix, lab::guests_of_foreign_clusters).await {
            Ok(foreign) => {
                Ok(ProofCluster { place, home, origin: Origin::Foreign(foreign), groups: Mutex::default() })
            }
            Err(error) => {
                home.remove();
                Err(cluster::chain(&error))
            }
        }
    }

    pub(super) async fn close(self) {
        drop(self.groups);
        match self.origin {
            Origin::Launched(mut launched) => {
                drop(launched.leash.take()); // what it lives by
                let _ = clock::timeout(Duration::from_secs(10), launched.child.wait()).await;
            }
            Origin::Foreign(foreign) => {
                if let Err(error) = front::ask(&self.place, Lang::En, Ask::Leave { agreed: None }).await {
                    eprintln!("ropewalk: {}", error.say(Lang::En));
                }
                drop(foreign);
            }
        }
        self.home.remove();
    }

    pub(super) async fn view(&self, ask: Ask) -> Result<LessonView, String> {
        front::view(&self.place, Lang::En, ask).await.map_err(|e| e.say(Lang::En))
    }

    pub(super) async fn proof(&self) -> Result<Proof, String> {
        let value = front::ask(&self.place, Lang::En, Ask::Prove).await.map_err(|e| e.say(Lang::En))?;
        serde_json::from_value(value).map_err(|e| e.to_string())
    }

    /// The proof once it is complete, or as it is when time is up.
    pub(super) async fn proved(&self) -> Result<Proof, String> {
        let (mut control, _) = front::follow(&self.place, Lang::En).await.map_err(|e| e.say(Lang::En))?;
        let begun = clock::Instant::now();
        loop {
            let proof = self.proof().await?;
            if proof.because != Some(false) && proof.beats.iter().all(|(_, told)| *told) {
                return Ok(proof);
            }
            // Beats that can be told now change the view; what never can is waited for in vain, and
            // then reported.
            let limit = if proof.because == Some(false) { PROOF_MAX } else { SENTENCES_MAX };
            if clock::Instant::now() > begun + clock::scaled(limit) {
                return Ok(proof);
            }
            news_or_time(&mut control).await?;
        }
    }

    /// Is the step red for as long as it takes to be sure?
    pub(super) async fn stays_red(&self, settle: Duration) -> Result<bool, String> {
        let over = |v: &LessonView| matches!(v.state, State::Done | State::Solved);
        let (mut control, first) = front::follow(&self.place, Lang::En).await.map_err(|e| e.say(Lang::En))?;
        let mut now = first;
        let green = async {
            while !over(&now) {
                let next = control.next().await.map_err(|e| e.say(Lang::En))?.ok_or("the cluster ended")?;
                now = serde_json::from_value(next).map_err(|e| e.to_string())?;
            }
            Ok::<bool, String>(false)
        };
        match clock::timeout(settle, green).await {
            Some(turned) => turned,
            None => Ok(!over(&self.view(Ask::Check { id: None }).await?)),
        }
    }

    /// Waits until the step is green; else what is missing.
    pub(super) async fn green(&self) -> Result<Result<(), String>, String> {
        match front::until_green(&self.place, Lang::En, GREEN_MAX).await.map_err(|e| e.say(Lang::En))? {
            Green::Done(_) => Ok(Ok(())),
            Green::NotYet(_) => {
                let view = self.view(Ask::Check { id: None }).await?;
                Ok(Err(format!("not yet: {}", view.not_yet.unwrap_or_default())))
            }
        }
    }

    /// Types lines and returns what was said.
    pub(super) async fn lines(&self, lines: &[String], limit: Duration) -> Result<String, String> {
        match self.repl(lines, limit).await? {
            Some((_, said)) => Ok(said),
            None => Err(format!("took more than {} s: {}", limit.as_secs(), lines.join(" ⏎ "))),
        }
    }

    /// Types lines into a REPL of its own: exit code and output; `None` if it had to be cut off.
    pub(super) async fn repl(
        &self,
        lines: &[String],
        limit: Duration,
    ) -> Result<Option<(i32, String)>, String> {
        let file = self.home.path().join("lines");
        std::fs::write(&file, lines.join("\n") + "\n").map_err(|e| e.to_string())?;
        let mut command = tokio::process::Command::new("/proc/self/exe");
        command
            .arg0("ropewalk")
            .args(["repl", "--lang", "en", "--name", &self.place.name])
            .arg(&file)
            .env("ROPEWALK_HOME", self.home.path())
            .env("SHELL", "/bin/sh")
            .env_remove("KUBECONFIG")
            .current_dir(self.home.path());
        let mut group = Group::start(command).map_err(|e| e.to_string())?;
        let answer = clock::timeout(limit, group.answer()).await.transpose().map_err(|e| e.to_string())?;
        if answer.is_some() {
            self.groups.lock().push(group); // what it left in the background belongs to the answer
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixListener;

    #[tokio::test]
    async fn a_stream_that_has_ended_is_not_asked_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        std::fs::create_dir_all(&place.root).unwrap();
        let listener = UnixListener::bind(place.socket()).unwrap();
        // Says that it is there, and ends.
        let cluster = tokio::spawn(async move {
            let (read, mut write) = listener.accept().await.unwrap().0.into_split();
            let _hello = BufReader::new(read).lines().next_line().await;
            write.write_all(b"{\"ok\":null}\n").await.unwrap();
        });
        let mut control = Control::connect(&place).await.unwrap();
        cluster.await.unwrap();
        assert_eq!(news_or_time(&mut control).await, Err("the cluster ended".to_string()));
    }

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
