//! Clusters for tests: each in a directory of its own, stopped when its test ends.

use parking_lot::{Condvar, Mutex};
use serde_json::Value;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The program under test: the one that was named when the tests were built
/// (`ROPEWALK_TEST_PROGRAM=target/…/release/ropewalk cargo test`), else the one that was built with
/// them. A release build needs less than half of the processor time.
pub(crate) const ROPEWALK: &str = match option_env!("ROPEWALK_TEST_PROGRAM") {
    Some(program) => program,
    None => env!("CARGO_BIN_EXE_ropewalk"),
};

/// Clusters are large: tests that start one take turns, so that a small machine is not asked for
/// many at once.
static TAKEN: Mutex<usize> = Mutex::new(0);
static GIVEN_BACK: Condvar = Condvar::new();

/// Tests that may have a cluster at a time. Much of their time they wait, and so do the two that
/// play all lessons and all labs (`turn_of_many`): beside these, two others fit on two processors.
const TURNS: usize = 4;

/// The longest that a test has; one that hangs would otherwise take the time of all others with it,
/// and nobody would hear which it was.
const TURN_MAX: Duration = Duration::from_secs(1500);

/// How long a test waits for what has to come. It costs nothing where it comes, and on a machine
/// with more work than processors it comes late.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
/// The same for a kubectl that waits by itself.
pub(crate) const TIMEOUT: &str = "--timeout=180s";

/// A test's turn, from `turn` to its drop.
pub(crate) struct Turn {
    places: usize,
    began: Instant,
    /// Dropped with the turn, and so heard by its watchman.
    _over: mpsc::Sender<()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock() -= self.places;
        GIVEN_BACK.notify_all();
        if std::env::var_os("ROPEWALK_TEST_TIMES").is_some() {
            let name = std::thread::current().name().unwrap_or("a test").to_string();
            // Past libtest, which keeps what a test prints that goes well.
            let _ = writeln!(std::io::stderr(), "   {name}: {} s", self.began.elapsed().as_secs());
        }
    }
}

pub(crate) fn turn() -> Turn {
    take_turn(1, TURN_MAX)
}

/// For a test with many clusters at once. They wait for one another and for the kubelets, so it
/// takes one place: what they play starts a further cluster only while the processors have time to
/// spare (`ui::proof::turns`), and so makes room for others. Every lesson makes it longer.
pub(crate) fn turn_of_many() -> Turn {
    take_turn(1, 3 * TURN_MAX)
}

/// For a test that others disturb, or that disturbs others: one that compares the machine before
/// and after, or takes what there is of something. Nothing runs beside it, so the processors are
/// idle while it waits: a test that only kills or breaks its own cluster takes [`turn`].
pub(crate) fn turn_alone() -> Turn {
    take_turn(TURNS, TURN_MAX)
}

/// For a test that was asked to take longer.
pub(crate) fn turn_of(longest: Duration) -> Turn {
    take_turn(1, longest)
}

fn take_turn(places: usize, longest: Duration) -> Turn {
    let mut taken = TAKEN.lock();
    GIVEN_BACK.wait_while(&mut taken, |taken| *taken + places > TURNS);
    *taken += places;
    drop(taken);
    let (over, watched) = mpsc::channel();
    let name = std::thread::current().name().unwrap_or("a test").to_string();
    std::thread::spawn(move || {
        if watched.recv_timeout(longest) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{name} hangs: it has not ended after {} s", longest.as_secs());
            std::process::abort();
        }
    });
    Turn { places, began: Instant::now(), _over: over }
}

/// Must skipped tests fail? Set in CI.
pub(crate) fn strict() -> bool {
    std::env::var_os("ROPEWALK_REQUIRE_KERNEL").is_some_and(|v| v == "1")
}

/// Says why a test cannot run here; fails where that is not allowed.
pub(crate) fn skip(why: &str) {
    assert!(!strict(), "skipped, but ROPEWALK_REQUIRE_KERNEL=1: {why}");
    eprintln!("skipped: {why}");
}

/// Can this machine run a cluster at all? `doctor` decides.
pub(crate) fn capable() -> bool {
    let doctor = Command::new(ROPEWALK).arg("doctor").output().expect("the program runs");
    if !doctor.status.success() {
        skip(&format!("this machine cannot run a cluster:\n{}", String::from_utf8_lossy(&doctor.stdout)));
    }
    doctor.status.success()
}

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Said {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.out, self.err);
        self.out
    }
    #[track_caller]
    pub(crate) fn fails(self, part: &str) -> Said {
        assert_ne!(self.code, 0, "it should have failed; stdout: {}\nstderr: {}", self.out, self.err);
        assert!(self.err.contains(part), "{part:?} is not in the error: {}", self.err);
        self
    }
}

/// A home directory with clusters in it.
pub(crate) struct Home {
    dir: tempfile::TempDir,
    /// Run everything as this user (uid, gid).
    user: Option<u32>,
    program: PathBuf,
}

impl Home {
    pub(crate) fn new() -> Home {
        let dir = tempfile::Builder::new().prefix("rw").tempdir().expect("a temporary directory");
        Home { dir, user: None, program: ROPEWALK.into() }
    }

    /// The same for an ordinary user, with a copy of the program where that user may run it; `None`
    /// if this test is not root and so cannot become one.
    pub(crate) fn of_user(uid: u32) -> Option<Home> {
        let home = Home::new();
        std::os::unix::fs::chown(home.path(), Some(uid), Some(uid)).ok()?;
        let program = home.path().join("ropewalk");
        std::fs::copy(ROPEWALK, &program).expect("a copy");
        Some(Home { user: Some(uid), program, ..home })
    }

    /// The program under test, where this home's user finds it.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = self.command_of_ours(program, &[]);
        if let Some(uid) = self.user {
            command.uid(uid).gid(uid).current_dir("/");
        }
        command
    }

    /// A command for this home, as the user who runs the tests.
    pub(crate) fn command_of_ours(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        // As from a terminal. The tests may run under nohup, or in the background of a script, and
        // go on ignoring what they ignore then.
        linux::signal::start_heeding(&mut command);
        command
            .args(args)
            .env("ROPEWALK_HOME", self.path())
            .env("HOME", self.path())
            .stdin(Stdio::null())
            .env_remove("KUBECONFIG");
        command
    }

    pub(crate) fn ropewalk(&self, args: &[&str]) -> Said {
        self.command(&self.program).args(args).output().expect("the program runs").into()
    }

    /// Starts cluster `t` and waits until it is ready.
    pub(crate) fn up(&self, more: &[&str]) -> Cluster<'_> {
        let mut args = vec!["up", "--name", "t", "--detach", "--wait"];
        args.extend(more);
        let said = self.ropewalk(&args);
        assert_eq!(said.code, 0, "stderr: {}\nlog: {}", said.err, self.log());
        assert!(said.out.contains("export KUBECONFIG="), "{}", said.out);
        Cluster { home: self }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("clusters/t/log/ropewalk.log")).unwrap_or_default()
    }
}

/// A running cluster; dropping it stops it.
pub(crate) struct Cluster<'a> {
    pub home: &'a Home,
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        let said = self.home.ropewalk(&["down", "--name", "t"]);
        if said.code != 0 && !std::thread::panicking() {
            panic!("down failed: {said:?}");
        }
    }
}

impl Cluster<'_> {
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.home.path().join("clusters/t/kubeconfig")
    }

    pub(crate) fn status(&self) -> Value {
        // Its exit code says whether it runs, and so does this.
        serde_json::from_str(&self.home.ropewalk(&["status", "--name", "t", "-o", "json"]).out).expect("JSON")
    }

    pub(crate) fn pid(&self, of: &str) -> i32 {
        self.status()["pids"][of].as_i64().expect("a pid") as i32
    }

    /// Runs a kubectl, given as a program and leading arguments.
    pub(crate) fn kubectl(&self, with: &Kubectl, args: &[&str]) -> Said {
        let mut command = self.home.command(&with.program);
        command.args(&with.leading).args(args).env("KUBECONFIG", self.kubeconfig());
        command.output().expect("kubectl runs").into()
    }

    /// Asks until it is answered, and returns the answer: while the store elects a leader, or an
    /// API server comes back, a right question may get an error. A create whose answer was lost has
    /// made its object.
    #[track_caller]
    pub(crate) fn must(&self, with: &Kubectl, args: &[&str]) -> String {
        let is_done = |said: &Said| {
            said.code == 0 || (args.first() == Some(&"create") && said.err.contains("already exists"))
        };
        eventually(PATIENCE, || self.kubectl(with, args), is_done).out
    }
}

/// A kubectl to test with.
#[derive(Clone, Debug)]
pub(crate) struct Kubectl {
    pub program: PathBuf,
    pub leading: Vec<String>,
}

/// The real one on PATH, if there is one.
pub(crate) fn real_kubectl() -> Option<Kubectl> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|d| d.join("kubectl")).find(|p| p.is_file())?;
    Some(Kubectl { program: found, leading: vec![] })
}

/// Ours, for cluster `t`.
pub(crate) fn built_in() -> Kubectl {
    Kubectl { program: ROPEWALK.into(), leading: ["kubectl", "--name", "t"].map(String::from).to_vec() }
}

/// Any kubectl: the real one, or else ours.
pub(crate) fn any_kubectl() -> Kubectl {
    real_kubectl().unwrap_or_else(built_in)
}

/// The kubectls to try: ours, and the real one if there is one.
pub(crate) fn both_kubectls() -> Vec<Kubectl> {
    std::iter::once(built_in()).chain(real_kubectl()).collect()
}

/// A cluster and a kubectl to ask it.
pub(crate) struct World<'a> {
    pub cluster: Cluster<'a>,
    pub any: Kubectl,
}

impl World<'_> {
    /// Starts cluster `t`.
    pub(crate) fn up<'a>(home: &'a Home, more: &[&str]) -> World<'a> {
        World { cluster: home.up(more), any: any_kubectl() }
    }

    /// What a command says that has to succeed.
    #[track_caller]
    pub(crate) fn k(&self, args: &[&str]) -> String {
        self.cluster.kubectl(&self.any, args).ok()
    }

    /// Runs a command, given as a line of words without quotes.
    pub(crate) fn say(&self, line: &str) -> Said {
        self.with(&self.any, line)
    }

    pub(crate) fn with(&self, kubectl: &Kubectl, line: &str) -> Said {
        self.cluster.kubectl(kubectl, &line.split(' ').collect::<Vec<_>>())
    }

    /// An object, or a list, by the words after `get`.
    #[track_caller]
    pub(crate) fn object(&self, what: &str) -> Value {
        serde_json::from_str(&self.say(&format!("get {what} -o json")).ok()).expect("JSON")
    }

    #[track_caller]
    pub(crate) fn status(&self, what: &str) -> Value {
        self.object(what)["status"].take()
    }

    #[track_caller]
    pub(crate) fn pod_names(&self, selector: &str) -> Vec<String> {
        let out = self.k(&["get", "pods", "-l", selector, "-o", "name"]);
        out.lines().map(|l| l.trim_start_matches("pod/").to_string()).collect()
    }

    /// Waits for an event of an object: it is written after what it tells of.
    #[track_caller]
    pub(crate) fn told(&self, kind: &str, name: &str, what: &str) {
        let selector = format!("involvedObject.kind={kind},involvedObject.name={name}");
        let events = || self.k(&["get", "events", "--field-selector", &selector]);
        eventually(PATIENCE, events, |told| told.contains(what));
    }

    /// Makes a namespace, and returns when pods can be created in it: they need its ServiceAccount,
    /// which a controller makes.
    #[track_caller]
    pub(crate) fn create_namespace(&self, name: &str) {
        self.k(&["create", "namespace", name]);
        let account = || self.say(&format!("get serviceaccount default -n {name}"));
        eventually(PATIENCE, account, |said| said.code == 0);
    }

    /// Changes an object in the store, past the API server and what it would refuse.
    #[track_caller]
    pub(crate) fn rewrite_stored(&self, key: &str, edit: impl Fn(&mut Value)) {
        let home = self.cluster.home;
        let etcdctl = |args: &[&str]| home.ropewalk(&[&["etcdctl", "--name", "t"], args].concat()).ok();
        let stored = etcdctl(&["get", key, "--print-value-only"]);
        let mut object: Value = serde_json::from_str(stored.trim()).expect("JSON");
        edit(&mut object);
        etcdctl(&["put", key, &object.to_string()]);
    }

    /// Writes a text or JSON into a file in the cluster's home; its path.
    pub(crate) fn file(&self, name: &str, content: impl std::fmt::Display) -> String {
        let path = self.cluster.home.path().join(name);
        std::fs::write(&path, content.to_string()).expect("a file");
        path.to_str().expect("a path").to_string()
    }

    pub(crate) fn apply(&self, objects: impl std::fmt::Display) -> Said {
        let file = self.file("objects.yaml", objects);
        self.say(&format!("apply -f {file}"))
    }
}

/// Asks until the answer is right; fails with the last answer.
#[track_caller]
pub(crate) fn eventually<T: std::fmt::Debug>(
    patience: Duration,
    mut ask: impl FnMut() -> T,
    right: impl Fn(&T) -> bool,
) -> T {
    let start = Instant::now();
    loop {
        let answer = ask();
        if right(&answer) {
            return answer;
        }
        assert!(start.elapsed() < patience, "not within {patience:?}: {answer:?}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// The number that a variable of the environment holds; `None` if it is not set. One that holds
/// anything else fails: a test that was asked for more rounds must not run the usual few.
pub(crate) fn number(name: &str) -> Option<u64> {
    let text = std::env::var_os(name)?.to_string_lossy().into_owned();
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a whole number")))
}

/// GET over plain HTTP/1.0. `Err` with the kind if there is no connection.
pub(crate) fn http_get(host: &str, port: u16) -> Result<String, std::io::Error> {
    let mut stream = std::net::TcpStream::connect((host, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Ends a process, and only that one.
pub(crate) fn kill(pid: i32, signal: i32) {
    let sent =
        Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().expect("kill runs");
    assert!(sent.success(), "cannot signal {pid}");
}

/// Stops a process, and returns when all of its threads stand: they stop one after the other, and
/// on a busy machine one of them may still answer.
pub(crate) fn freeze(pid: i32) {
    kill(pid, nix::libc::SIGSTOP);
    let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = task.and_then(|task| std::fs::read_to_string(task.path().join("stat")));
        stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')))
    };
    let tasks = || std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    eventually(PATIENCE, || tasks().all(is_stopped), |all| *all);
}

/// Ends processes without asking, with one command for all: the last one may end with the first,
/// and some may be gone already.
pub(crate) fn kill_9(pids: &[i32]) {
    let numbers = pids.iter().map(ToString::to_string);
    let _ = Command::new("kill").arg("-9").args(numbers).stderr(Stdio::null()).status();
}
