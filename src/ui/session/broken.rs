//! The session's shell, broken on purpose: by the open step of a lesson, or with `fault shell`.
//! Only `PATH` and `KUBECONFIG` of this one shell are set, and taken back when the step is over.
//! What they lead to is in the cluster's directory, and goes with the fault.

use super::Session;
use super::beside::words;
use super::lessons::Interrupted;
use crate::commands::is_program;
use crate::dialect::quote;
use crate::shell::{Shell, Variables};
use crate::texts::Say;
use client::kubeconfig::view;
use lab::view::Ask;
use lab::{BrokenShell, ShellFault, ShellState};
use lang::charset::println;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A kubeconfig of a cluster that does not run: port 1 of this machine refuses connections.
const OTHER_CLUSTER: &str = "apiVersion: v1
kind: Config
current-context: other
clusters: [{name: other, cluster: {server: 'https://127.0.0.1:1'}}]
contexts: [{name: other, context: {cluster: other, user: other}}]
users: [{name: other, user: {}}]
";
/// A kubeconfig that is longer than this is not read.
const KUBECONFIG_MAX: u64 = 1 << 20;

/// A program that got a signal lives on for a moment. Its end is waited for no longer than this: a
/// line with `kill` in it may have ended none.
const DYING: Duration = Duration::from_millis(50);

/// Faults that are set in the shell on purpose, by a step of a lesson or by `fault shell`.
pub(super) struct Broken {
    /// The id of the step that wants the faults. `None`: the learner set them with `fault shell`.
    id: Option<String>,
    faults: Vec<ShellFault>,
    /// The variables that the faults have set, each with its value before. `None`: it was not
    /// exported.
    before: Vec<(&'static str, Option<String>)>,
    /// The folder with what the variables name, e.g. a kubeconfig of another cluster.
    dir: PathBuf,
}

impl Broken {
    /// Returns the variable that a fault sets, and its value. Makes the files that the value names,
    /// except a kubeconfig that is to be missing.
    fn value(&self, fault: ShellFault, exports: &Variables) -> io::Result<(&'static str, String)> {
        let text = |path: PathBuf| path.into_os_string().into_string().map_err(|_| unfit());
        Ok(match fault {
            ShellFault::Path => {
                let path = exports.get("PATH").map_or("", String::as_str);
                ("PATH", without_kubectl(path, &self.dir)?)
            }
            ShellFault::MissingKubeconfig => ("KUBECONFIG", text(self.dir.join("no-such-kubeconfig"))?),
            ShellFault::WrongKubeconfig => {
                let file = self.dir.join("other-cluster");
                std::fs::write(&file, OTHER_CLUSTER)?;
                ("KUBECONFIG", text(file)?)
            }
        })
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir); // it may be gone with the cluster's directory
    }
}

/// Returns the error for a path that is not UTF-8, or a shell that does not tell its variables.
fn unfit() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl Session {
    /// Tells the engine of a line that is about to run, and breaks or mends the shell as the open
    /// step wants it.
    ///
    /// # Errors
    /// Ctrl-C while it waited.
    pub(super) fn begin_line(&mut self, line: &str, aside: bool) -> Result<(), Interrupted> {
        self.line.running_before = self.shell.as_ref().map_or_else(Vec::new, Shell::running);
        let told = self.announce(Ask::Typed { line: line.to_string() }, aside)?;
        if let Some(told) = told {
            self.break_as_told(serde_json::from_value(told).unwrap_or_default());
        }
        Ok(())
    }

    /// Tells the engine how a line has ended, and how the broken shell stands after it.
    pub(super) fn end_line(&mut self, line: &str, aside: bool) {
        // Ctrl-C was for the line: it neither cuts this message off nor is shown once more.
        self.cutoff.pressed = self.take_interrupt();
        let (shell, running) = (self.shell_state(), self.running_after(line));
        let running_before = std::mem::take(&mut self.line.running_before);
        let ran = Ask::Ran { line: line.to_string(), code: self.last, shell, running, running_before };
        let _ = self.announce(ran, aside); // it has run
    }

    /// Returns the names of the programs that run in the background of the shell after a line.
    fn running_after(&self, line: &str) -> Vec<String> {
        let Some(shell) = &self.shell else { return vec![] };
        if line.contains("kill") && !shell.running().is_empty() {
            shell.await_ends(DYING);
        }
        shell.running()
    }

    /// Breaks the shell for a step, once; where no step wants it any more, the shell becomes as it
    /// was. What the learner broke with `fault shell` stays until then.
    fn break_as_told(&mut self, wanted: Option<BrokenShell>) {
        let is = self.broken.as_ref().and_then(|broken| broken.id.as_deref());
        match wanted {
            None if is.is_some() => self.mend(),
            Some(wanted) if is != Some(wanted.id.as_str()) => {
                self.mend();
                if let Err(error) = self.break_shell(Some(wanted.id), &wanted.faults) {
                    self.complain(&self.say(Say::ShellFaultFailed, &[&error.to_string()]), None, None);
                }
            }
            _ => {}
        }
    }

    /// Breaks the shell of this session.
    fn break_shell(&mut self, id: Option<String>, faults: &[ShellFault]) -> io::Result<()> {
        if self.shell.is_none() {
            self.start_shell()?;
        }
        let exports = self.shell.as_mut().and_then(Shell::exports).cloned().ok_or_else(unfit)?;
        let dir = self.place.shell(std::process::id());
        let _ = std::fs::remove_dir_all(&dir); // of a process that had this number before
        std::fs::create_dir_all(&dir)?;
        let mut broken = Broken { id, faults: faults.to_vec(), before: vec![], dir };
        let mut values = Vec::new();
        for fault in faults {
            let (name, value) = broken.value(*fault, &exports)?;
            broken.before.push((name, exports.get(name).cloned()));
            values.push((name, Some(value)));
        }
        self.set_quietly(&values);
        self.broken = Some(broken);
        Ok(())
    }

    /// Returns the id of the step that has broken `PATH` of this shell, as `goto` takes it; `None`:
    /// none has.
    pub(super) fn step_that_broke_path(&self) -> Option<&str> {
        let broken = self.broken.as_ref().filter(|broken| broken.faults.contains(&ShellFault::Path))?;
        let (_, step) = broken.id.as_deref()?.split_once('#')?;
        Some(step.split_once('@').map_or(step, |(step, _)| step))
    }

    /// Gives the shell the values that its variables had before.
    fn mend(&mut self) {
        let Some(broken) = self.broken.take() else { return };
        if self.shell.is_some() {
            self.set_quietly(&broken.before);
        }
    }

    /// Sets variables of the shell; `None` takes one away. A variable that the learner has made
    /// read-only stays: the subshell tries it first, because a failed `export` may end the shell.
    fn set_quietly(&mut self, values: &[(&'static str, Option<String>)]) {
        let one = |(name, value): &(&'static str, Option<String>)| {
            let set = match value {
                Some(value) => format!("export {name}={}", quote(value)),
                None => format!("unset -v {name}"),
            };
            format!("({set}) 2>/dev/null && {set}")
        };
        let lines: Vec<String> = values.iter().map(one).collect();
        self.own_in_shell(&lines.join("\n"));
    }

    /// Runs a line of kubectl in the shell if that has no kubectl on purpose: the shell says what
    /// it says of every program that it does not find. `None`: the built-in kubectl is to run.
    pub(super) fn without_program(&mut self, args: &[String], exports: Option<&Variables>) -> Option<i32> {
        self.broken.as_ref().filter(|broken| broken.faults.contains(&ShellFault::Path))?;
        if finds_kubectl(exports?) {
            return None;
        }
        let words: Vec<String> = args.iter().map(|arg| quote(arg)).collect();
        Some(self.in_shell(format!("kubectl {}", words.join(" ")).trim_end()))
    }

    /// Returns what a shell that a step has broken finds now: kubectl, and which kubeconfig.
    /// `None`: no step has broken it, or it does not tell its variables.
    fn shell_state(&mut self) -> Option<ShellState> {
        let id = self.broken.as_ref()?.id.clone()?;
        let own = self.place.kubeconfig();
        self.follow_shell(); // its paths may be relative
        let exports = self.shell.as_mut()?.exports()?;
        let kubeconfig = where_kubeconfig_leads(exports, &own).to_string();
        Some(ShellState { id, kubectl: finds_kubectl(exports), kubeconfig })
    }

    /// Runs `fault shell path|missing-kubeconfig|wrong-kubeconfig|heal` and returns its exit code.
    /// `None`: it is another line.
    pub(super) fn fault_shell(&mut self, args: &[String]) -> Option<i32> {
        let given: Vec<&str> = words(args).collect();
        let ["fault", "shell", rest @ ..] = given.as_slice() else { return None };
        let is_of_step = self.broken.as_ref().is_some_and(|broken| broken.id.is_some());
        let fault = ShellFault::ALL.into_iter().find(|fault| *rest == [fault.word()]);
        let refused = match (fault, rest) {
            (Some(_), _) | (None, ["heal"]) if is_of_step => Say::ShellFaultOfStep,
            (Some(fault), _) => {
                self.mend();
                if let Err(error) = self.break_shell(None, &[fault]) {
                    self.complain(&self.say(Say::ShellFaultFailed, &[&error.to_string()]), None, None);
                    return Some(1);
                }
                println!("{}", self.say(Say::ShellFaulted, &[fault.word()]));
                return Some(0);
            }
            (None, ["heal"]) => {
                self.mend();
                println!("{}", self.say(Say::ShellHealed, &[]));
                return Some(0);
            }
            (None, _) => Say::ShellFaultUsage,
        };
        self.complain(&self.say(refused, &[]), None, None);
        Some(if refused == Say::ShellFaultUsage { 2 } else { 1 })
    }
}

/// Returns whether a directory of `PATH` has kubectl.
fn finds_kubectl(exports: &Variables) -> bool {
    let path = exports.get("PATH").map_or("", String::as_str);
    std::env::split_paths(path).any(|dir| is_program(&dir.join("kubectl")))
}

/// Returns a `PATH` like this one without kubectl. In the place of each directory that has it
/// stands one in `dir` with links to everything else that is there: other programs are still found.
fn without_kubectl(path: &str, dir: &Path) -> io::Result<String> {
    let mut dirs = Vec::new();
    for (at, of) in std::env::split_paths(path).enumerate() {
        if !is_program(&of.join("kubectl")) {
            dirs.push(of);
            continue;
        }
        let stand_in = dir.join(format!("path-{at}"));
        std::fs::create_dir_all(&stand_in)?;
        // An empty entry is the working directory.
        let of = std::path::absolute(of.join("."))?;
        for entry in std::fs::read_dir(&of)?.flatten().filter(|entry| entry.file_name() != "kubectl") {
            symlink(entry.path(), stand_in.join(entry.file_name()))?;
        }
        dirs.push(stand_in);
    }
    let joined = std::env::join_paths(dirs).map_err(io::Error::other)?;
    joined.into_string().map_err(|_| unfit())
}

/// Returns where the file leads that kubectl reads with these variables: see
/// [`ShellState::kubeconfig`]. `own` is the cluster's. Of several files the first that is there
/// counts.
fn where_kubeconfig_leads(exports: &Variables, own: &Path) -> &'static str {
    let named: Vec<PathBuf> = match exports.get("KUBECONFIG").filter(|named| !named.is_empty()) {
        // The cluster's own path may have a colon in it, which separates no files there.
        Some(named) if Path::new(named) == own => vec![own.into()],
        Some(named) => std::env::split_paths(named).collect(),
        None => exports.get("HOME").map(|home| Path::new(home).join(".kube/config")).into_iter().collect(),
    };
    match named.iter().find_map(|file| server(file)) {
        None => "missing",
        Some(asked) if !asked.is_empty() && server(own).is_some_and(|own| own == asked) => "own",
        Some(_) => "other",
    }
}

/// Returns the server of a kubeconfig's current context; `None`: there is no such file.
fn server(file: &Path) -> Option<String> {
    std::fs::metadata(file).ok().filter(|about| about.is_file() && about.len() <= KUBECONFIG_MAX)?;
    let text = std::fs::read_to_string(file).ok()?;
    Some(view(&serde_yaml::from_str(&text).unwrap_or_default()).server)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;
    use crate::session::Manner;
    use crate::texts::Lang;
    use cluster::Home;
    use std::os::unix::fs::PermissionsExt;
    use tokio::runtime::Runtime;

    /// A session in a home that has a kubectl, and a kubeconfig of its own.
    fn session(runtime: &Runtime, home: &Path) -> Session {
        let place = Home::at(home).cluster("main").unwrap();
        std::fs::create_dir_all(&place.root).unwrap();
        std::fs::create_dir_all(place.home.bin()).unwrap();
        for program in ["kubectl", "other-tool"] {
            let file = place.home.bin().join(program);
            std::fs::write(&file, "#!/bin/sh\nexit 0\n").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::write(place.kubeconfig(), OTHER_CLUSTER.replace(":1'", ":6443'")).unwrap();
        Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone())
    }

    fn broken(id: &str, faults: &[ShellFault]) -> Option<BrokenShell> {
        Some(BrokenShell { id: id.into(), faults: faults.to_vec() })
    }

    fn variables(session: &mut Session) -> [Option<String>; 2] {
        let exports = session.shell.as_mut().and_then(Shell::exports).cloned().unwrap();
        ["PATH", "KUBECONFIG"].map(|name| exports.get(name).cloned())
    }

    #[test]
    fn a_step_takes_kubectl_out_of_path_and_its_repair_is_seen() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let mut session = session(&runtime, dir.path());
        assert_eq!(session.in_shell("kubectl get pods"), 0);
        let before = variables(&mut session);
        session.break_as_told(broken("t/01#one@7", &[ShellFault::Path]));
        assert_eq!(session.in_shell("other-tool && cat /dev/null"), 0, "all others are found");
        assert_eq!(session.in_shell("kubectl get pods 2>/dev/null"), 127);
        // Also the line that the built-in kubectl runs otherwise.
        session.run("kubectl version --client", &mut Script::of([]));
        assert_eq!(session.last(), 127);
        let expected = ShellState { id: "t/01#one@7".into(), kubectl: false, kubeconfig: "own".into() };
        assert_eq!(session.shell_state(), Some(expected.clone()));
        // Told again with every line, and broken once.
        session.in_shell("export PATH=$ROPEWALK_HOME/bin:$PATH");
        session.break_as_told(broken("t/01#one@7", &[ShellFault::Path]));
        assert_eq!(session.shell_state(), Some(ShellState { kubectl: true, ..expected }));
        session.run("kubectl version --client", &mut Script::of([]));
        assert_eq!(session.last(), 0, "the built-in one runs again");
        session.break_as_told(None);
        assert_eq!((variables(&mut session), session.shell_state()), (before, None), "as it was");
        let left: Vec<_> = std::fs::read_dir(&session.place.root).unwrap().flatten().collect();
        assert!(!left.iter().any(|entry| entry.file_name().to_string_lossy().starts_with("shell-")));
    }

    /// The likeliest mistake is a PATH without the directories that were in it: then the shell
    /// finds no program any more.
    #[test]
    fn a_step_that_broke_path_is_named_as_the_way_on() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let mut session = session(&runtime, dir.path());
        assert_eq!(session.step_that_broke_path(), None);
        session.break_as_told(broken("t/01#config@7", &[ShellFault::WrongKubeconfig]));
        assert_eq!(session.step_that_broke_path(), None);
        session.break_as_told(broken("t/01#path@9", &[ShellFault::Path]));
        assert_eq!(session.step_that_broke_path(), Some("path"));
        session.in_shell("export PATH=$ROPEWALK_HOME/bin");
        assert_eq!(session.exports(), Err(1), "the line must not run");
        session.in_shell("export PATH=$PATH:/usr/bin:/bin");
        assert!(session.exports().is_ok_and(|told| told.is_some()), "the advice helps");
    }

    /// A session that was killed has removed nothing.
    #[test]
    fn what_a_killed_session_left_goes_when_the_next_shell_starts() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let mut session = session(&runtime, dir.path());
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let left = session.place.shell(ended.id());
        std::fs::create_dir_all(left.join("path-0")).unwrap();
        symlink("/bin/sh", left.join("path-0/sh")).unwrap();
        // Of a process that had the number of this one.
        let same = session.place.shell(std::process::id());
        for at in 0..32 {
            let stand_in = same.join(format!("path-{at}"));
            std::fs::create_dir_all(&stand_in).unwrap();
            symlink("/nowhere", stand_in.join("other-tool")).unwrap();
        }
        session.in_shell("true");
        assert!(!left.exists() && Path::new("/bin/sh").exists());
        session.break_as_told(broken("t/01#one@7", &[ShellFault::Path]));
        assert!(session.shell_state().is_some_and(|state| !state.kubectl));
        assert_eq!(session.in_shell("other-tool"), 0, "its link is of this session");
    }

    #[test]
    fn kubeconfig_leads_nowhere_or_elsewhere_until_it_is_repaired() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let mut session = session(&runtime, dir.path());
        session.in_shell("true");
        let before = variables(&mut session);
        let stands = |session: &mut Session| session.shell_state().unwrap().kubeconfig;
        for (id, fault, word) in
            [("a", ShellFault::MissingKubeconfig, "missing"), ("b", ShellFault::WrongKubeconfig, "other")]
        {
            session.break_as_told(broken(id, &[fault]));
            assert_eq!(stands(&mut session), word);
            let [path, named] = variables(&mut session);
            assert_eq!(path, before[0], "nothing else is set");
            assert!(named.is_some_and(|named| Path::new(&named).starts_with(dir.path())), "within the home");
            session.in_shell(&format!("export HOME={}; unset KUBECONFIG", dir.path().display()));
            assert_eq!(stands(&mut session), "missing", "there is no ~/.kube/config");
            session.in_shell("export KUBECONFIG=$ROPEWALK_HOME/clusters/main/kubeconfig");
            assert_eq!(stands(&mut session), "own");
        }
        session.break_as_told(None);
        assert_eq!(variables(&mut session), before);
    }

    /// A kill may be the first line of a lesson's step, so no line before it tells what it ended.
    #[test]
    fn the_programs_that_ran_before_a_line_are_told_with_it() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let mut session = session(&runtime, dir.path());
        assert_eq!(session.in_shell("sleep 900 &"), 0);
        assert!(session.begin_line("kill $!; jobs", false).is_ok());
        assert_eq!(session.line.running_before.len(), 1);
        session.in_shell("kill $!; jobs");
        assert_eq!(session.line.running_before.len(), 1, "as it was when the line began");
        session.end_line("kill $!; jobs", false);
        assert!(session.line.running_before.is_empty());
    }

    #[test]
    fn the_learner_can_break_and_heal_the_shell() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let mut session = session(&runtime, dir.path());
        let mut code = |line: &str| {
            session.run(line, &mut Script::of([]));
            session.last()
        };
        assert_eq!([code("fault shell path"), code("kubectl version --client")], [0, 127]);
        assert_eq!([code("fault shell heal"), code("kubectl version --client")], [0, 0]);
        assert_eq!([code("fault shell PATH=/tmp"), code("fault shell")], [2, 2]);
        session.break_as_told(broken("t/01#one@7", &[ShellFault::Path]));
        session.run("fault shell heal", &mut Script::of([]));
        assert_eq!(session.last(), 1, "a step's fault is repaired by hand");
        assert!(session.shell_state().is_some_and(|state| !state.kubectl));
    }
}
