//! What the benches share: the program, a cluster that is wiped afterwards, and a table of figures
//! beside their aims.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const ROPEWALK: &str = env!("CARGO_BIN_EXE_ropewalk");
/// How often a cluster is wiped until it is: it may just be starting, or have much else to do.
const ATTEMPTS: usize = 60;
const ATTEMPT_EVERY: Duration = Duration::from_secs(1);

/// Prints a line a figure: what, how much, and the aim or the peer.
pub(crate) struct Figures;

impl Figures {
    pub(crate) fn value(&self, what: &str, text: &str, aim: &str) {
        println!("{what:<46} {text:<44} aim {aim}");
    }
}

/// A cluster in a directory of its own. Both are removed when this is dropped, also after a panic
/// of the bench, and after Ctrl-C.
pub(crate) struct Cluster(TempDir);

impl Cluster {
    /// Starts a cluster with these further arguments, and waits until it is ready.
    pub(crate) fn up(with: &[&str]) -> Cluster {
        // A short path, for its sockets. Where /tmp is memory, TMPDIR names a place on a disk.
        let cluster = Cluster(tempfile::Builder::new().prefix("rwb").tempdir().expect("a directory"));
        wipe_after_signal(cluster.home().to_path_buf());
        ropewalk(cluster.home(), &[&["up", "--detach", "--wait"], with].concat());
        cluster
    }

    pub(crate) fn home(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let is_wiped = wipe(self.home());
        self.0.disable_cleanup(!is_wiped); // without it no `reset` would find the processes
    }
}

/// Wipes a cluster, in a process group of its own: Ctrl-C must not end this. Returns whether it is
/// gone; if not, prints what to do.
fn wipe(home: &Path) -> bool {
    for _ in 0..ATTEMPTS {
        let mut reset = Command::new(ROPEWALK);
        reset.args(["reset", "--yes"]).env("ROPEWALK_HOME", home).process_group(0);
        if reset.output().is_ok_and(|said| said.status.success()) {
            return true;
        }
        std::thread::sleep(ATTEMPT_EVERY);
    }
    let home = home.display();
    // The terminal may have hung up.
    let _ = writeln!(std::io::stderr(), "left: {home}; try: ROPEWALK_HOME={home} ropewalk reset --yes");
    false
}

/// Removes the cluster when the bench is asked to end, and ends the bench. A cluster has a session
/// of its own, which Ctrl-C does not reach.
fn wipe_after_signal(home: PathBuf) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let asked = {
        let _inside = tokio.enter();
        linux::signal::stop_requested().expect("signals")
    };
    let wait = move || {
        tokio.block_on(asked);
        if wipe(&home) {
            let _ = std::fs::remove_dir_all(&home); // the bench may be at it, too
        }
        std::process::exit(130);
    };
    std::thread::Builder::new().name("bench-stop".into()).spawn(wait).expect("a thread");
}

pub(crate) fn ropewalk(home: &Path, args: &[&str]) -> String {
    let output =
        Command::new(ROPEWALK).args(args).env("ROPEWALK_HOME", home).output().expect("the program runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
