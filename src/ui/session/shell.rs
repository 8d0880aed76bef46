//! Chooses and starts the session's shell, and runs lines in it.

use super::{Flow, Manner, Session};
use crate::commands;
use crate::dialect::Dialect;
use crate::line;
use crate::shell::{Ran, START_PATIENCE, Setting, Shell, Variables};
use crate::texts::Say;
use cluster::Place;
use lang::charset::eprintln;
use lang::texts;
use std::path::{Path, PathBuf};
use std::time::Duration;

texts! {
    enum Word {
        EditingMode: "The prompt has a line editor of its own, so `set -o vi` and `set -o emacs` change nothing here", "이 프롬프트에는 자체 줄 편집기가 있으므로 `set -o vi`와 `set -o emacs`는 여기서 아무것도 바꾸지 않습니다";
    }
}

/// How long the prompt waits for a shell that is busy with a trap of the learner's.
const PROMPT_PATIENCE: Duration = Duration::from_secs(1);

impl Session {
    /// Changes to the directory of the shell, so that relative paths mean the same to kubectl.
    pub(super) fn follow_shell(&self) {
        if let Some(cwd) = &self.shell_memory.cwd {
            let _ = std::env::set_current_dir(cwd); // a removed directory is the learner's own doing
        }
    }

    /// Lets the prompt and completion read the kubeconfig that kubectl reads: the learner may have
    /// exported another one in the shell. If the shell does not tell its variables, the one that
    /// was known stays.
    fn follow_kubeconfig(&mut self) {
        let told = self.shell.as_mut().and_then(|shell| shell.exports_within(PROMPT_PATIENCE));
        if let Some(exports) = told {
            self.config.follow(commands::environment(&self.place, Some(exports)));
        }
    }

    /// Runs a line of the learner's in the shell. bash 5.2 crashes where an `eval` turns its line
    /// editor on while it reads commands from elsewhere, so such a command does nothing. After
    /// `set -n` a shell would report no line any more: at a terminal it does nothing, as in bash,
    /// and a script, of which nothing more would run, ends. `typed` is the line as it stood at the
    /// prompt.
    pub(super) fn typed_in_shell(&mut self, text: &str, typed: &str) -> i32 {
        let at_terminal = self.manner == Manner::Terminal;
        let without = line::without_editing_mode(text).filter(|_| at_terminal);
        if without.is_some() {
            eprintln!("{}", self.lang().say(Word::EditingMode, &[]));
        }
        let run = without.unwrap_or_else(|| text.into());
        self.warn_of_unused_alias(&run);
        let running = line::in_place_of_noexec(&run, if at_terminal { ":" } else { "exit 0" });
        let run = self.with_session(running.unwrap_or(run));
        let code = self.in_shell(&run);
        self.suggest(code, text, typed);
        code
    }

    /// Runs a line in the shell. News wait until it ends: the terminal is raw for the line's
    /// programs, and the news would stand in the middle of their output.
    pub(super) fn in_shell(&mut self, text: &str) -> i32 {
        self.news.hold();
        self.line.ran_in_shell = true;
        let ran = match self.shell() {
            Ok(shell) => shell,
            Err(error) => {
                self.cutoff.shell_lost = true;
                let code = self.shell_failed(&error);
                self.news.release(); // nothing has the terminal
                return code;
            }
        };
        let mut ran = ran.0.run(text, ran.1);
        if self.manner == Manner::Terminal
            && self.shell.as_ref().is_some_and(Shell::unread)
            && let Ok(Ran::Ended(code)) = ran
        {
            ran = self.run_anew(text, code);
        }
        if self.shell.as_mut().is_some_and(Shell::take_woken) {
            eprintln!("{}", self.say(Say::ShellWoken, &[]));
        }
        self.cutoff.pressed |= self.shell.as_mut().is_some_and(Shell::take_interrupt);
        if let Some(cwd) = self.shell.as_ref().and_then(Shell::cwd) {
            self.shell_memory.cwd = Some(cwd);
            self.follow_shell(); // Tab completes names of files that are there
        }
        self.news.release();
        match ran {
            Ok(Ran::Code(code)) => {
                if self.manner == Manner::Terminal {
                    self.follow_kubeconfig();
                }
                code
            }
            Ok(Ran::Ended(code)) => {
                (self.shell, self.cutoff.shell_lost) = (None, true);
                if self.manner == Manner::Terminal {
                    eprintln!("{}", self.say(Say::ShellEnded, &[&code.to_string()]));
                }
                code
            }
            Err(error) => {
                (self.shell, self.cutoff.shell_lost) = (None, true);
                self.shell_failed(&error)
            }
        }
    }

    /// Runs a line of this program's in the shell, within a line of the learner's: that counts as
    /// run in the shell only if it was before.
    pub(super) fn own_in_shell(&mut self, text: &str) -> i32 {
        let ran_in_shell = self.line.ran_in_shell;
        let code = self.in_shell(text);
        self.line.ran_in_shell = ran_in_shell;
        code
    }

    /// Lets the shell of a script decide what a failure means of a line that this program has run:
    /// after `set -e` the shell ends, and the script with it, and a trap for ERR runs. For this the
    /// line fails once more, in the shell.
    pub(crate) fn let_shell_judge(&mut self) -> Flow {
        if self.last == 0 || self.line.ran_in_shell || self.shell.is_none() || self.asked_to_end().is_some() {
            return Flow::Next;
        }
        self.last = self.in_shell(&format!("(exit {})", self.last));
        if self.cutoff.shell_lost { Flow::Leave(self.last) } else { Flow::Next }
    }

    /// Runs a line in a new shell, because the one before had ended with this code and has not read
    /// it: after TMOUT seconds, or by a program in the background.
    fn run_anew(&mut self, text: &str, code: i32) -> std::io::Result<Ran> {
        self.shell = None;
        eprintln!("{}", self.say(Say::ShellHadEnded, &[&code.to_string()]));
        let (shell, last) = self.shell()?;
        shell.run(text, last)
    }

    /// Returns the variables that the shell exports, for a line that runs in this program; `None`
    /// without a shell.
    ///
    /// # Errors
    /// The exit code of the line, which must not run: the shell has ended, or does not tell its
    /// variables, and those may name another cluster. The reason is printed.
    pub(super) fn exports(&mut self) -> Result<Option<Variables>, i32> {
        let Some(shell) = &mut self.shell else { return Ok(None) };
        let mut told = shell.exports().cloned();
        if told.is_none()
            && let Some(code) = shell.ended()
        {
            self.begin_anew(code)?;
            told = self.shell.as_mut().and_then(Shell::exports).cloned();
        }
        if told.is_none() {
            let tip = match self.step_that_broke_path() {
                Some(step) => self.say(Say::ShellSilentStep, &[step]),
                None => self.say(Say::ShellSilentTry, &[]),
            };
            self.complain(&self.say(Say::ShellSilent, &[]), None, Some(&tip));
            return Err(1);
        }
        Ok(told)
    }

    /// Starts a new shell at a terminal, because the one before has ended with this code. A script
    /// ends with its shell.
    ///
    /// # Errors
    /// The exit code of a line that needs the shell.
    fn begin_anew(&mut self, code: i32) -> Result<(), i32> {
        self.shell = None;
        if self.manner != Manner::Terminal {
            self.cutoff.shell_lost = true;
            return Err(code);
        }
        eprintln!("{}", self.say(Say::ShellHadEnded, &[&code.to_string()]));
        self.start_shell().map_err(|error| self.shell_failed(&error))
    }

    fn shell_failed(&self, error: &std::io::Error) -> i32 {
        let (shell, ..) = choose_shell(std::env::var_os("SHELL").map(PathBuf::from), commands::is_program);
        let what = self.say(Say::ShellBroken, &[&error.to_string()]);
        let tip = self.say(Say::ShellBrokenTry, &[&shell.display().to_string()]);
        self.complain(&what, None, Some(&tip));
        126
    }

    /// Returns the shell, started if there is none, and the code that `$?` is to be in it.
    fn shell(&mut self) -> std::io::Result<(&mut Shell, i32)> {
        if self.shell.is_none() {
            self.start_shell()?;
        }
        self.tell_typed();
        match &mut self.shell {
            Some(shell) => Ok((shell, self.last)),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        }
    }

    /// Starts the learner's shell, so that the first line does not wait for its start files.
    pub(crate) fn start_shell(&mut self) -> std::io::Result<()> {
        self.place.sweep_shells();
        let asked = std::env::var_os("SHELL").map(PathBuf::from);
        let (shell, dialect, foreign) = choose_shell(asked, commands::is_program);
        let dialect = if is_busybox(&shell) { Dialect::Busybox } else { dialect };
        let program = runnable(cluster::launch::program()?);
        let setting = Setting {
            shell,
            dialect,
            cluster: self.place.name.clone(),
            home: self.place.home.path().to_path_buf(),
            kubeconfig: self.place.kubeconfig(),
            bin: self.place.home.bin(),
            spare: stand_ins(&self.place, &program),
            program,
            cwd: self.shell_memory.cwd.clone(),
            column: self.column.clone(),
            terminal: self.manner == Manner::Terminal,
            stdin: matches!(self.manner, Manner::Script | Manner::File),
            start_files: !self.shell_memory.bad_start_files,
            patience: START_PATIENCE,
        };
        let started = Shell::start(&setting);
        // The next shell does not wait for the same start files again.
        self.shell_memory.bad_start_files |= started.as_ref().map_or(setting.terminal, |shell| shell.plain);
        let started = started?;
        if self.manner == Manner::Terminal {
            if !std::mem::replace(&mut self.shell_memory.told_foreign, true)
                && let Some(foreign) = foreign
            {
                let names = [foreign.display().to_string(), setting.shell.display().to_string()];
                eprintln!("{}", self.say(Say::ForeignShell, &[&names[0], &names[1]]));
            }
            // Also of a later shell: the start files may get stuck although they did not before.
            if started.plain && !std::mem::replace(&mut self.shell_memory.told_plain, true) {
                eprintln!("{}", self.say(Say::PlainShell, &[]));
            }
        }
        *self.resizer.lock() = started.resizer();
        self.shell = Some(started);
        self.config.follow(commands::environment(&self.place, None)); // until a line says otherwise
        Ok(())
    }
}

/// The exit code of a shell for a command that it does not find (POSIX, 2.8.2).
pub(super) const NOT_FOUND: i32 = 127;

/// Returns the learner's shell if it can be driven, else bash or sh; and the one that could not.
fn choose_shell(
    asked: Option<PathBuf>,
    exists: impl Fn(&Path) -> bool,
) -> (PathBuf, Dialect, Option<PathBuf>) {
    let asked = asked.filter(|s| s.is_absolute() && exists(s));
    if let Some(shell) = &asked
        && let Some(dialect) = Dialect::of(shell)
    {
        return (shell.clone(), dialect, None);
    }
    let bash = ["/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"].map(PathBuf::from);
    match bash.into_iter().find(|b| exists(b)) {
        Some(bash) => (bash, Dialect::Bash, asked),
        None => ("/bin/sh".into(), Dialect::Posix, asked),
    }
}

/// True for a link to busybox, as `/bin/sh` and `/bin/ash` are on Alpine Linux.
fn is_busybox(shell: &Path) -> bool {
    let program = std::fs::canonicalize(shell).unwrap_or_default();
    Dialect::of(&program) == Some(Dialect::Busybox)
}

/// Returns what the shell is to run as `ropewalk`: the program at its path, or this very one if
/// there is none any more, as while another version is being installed.
fn runnable(program: PathBuf) -> PathBuf {
    match program.exists() {
        true => program,
        false => format!("/proc/{}/exe", std::process::id()).into(),
    }
}

/// Returns a directory for the end of PATH, with links to this program under the name of one that
/// the machine may lack: `curl`. All sessions share it, so no link is made to a path that ends with
/// this session (`/proc/PID/exe`).
fn stand_ins(place: &Place, program: &Path) -> PathBuf {
    let dir = place.home.bin().join("stand-ins");
    let link = dir.join("curl");
    let lasts = program.exists() && !program.starts_with("/proc");
    if lasts && std::fs::read_link(&link).ok().as_deref() != Some(program) {
        // Without it only a machine that has no curl misses something.
        let _ = std::fs::create_dir_all(&dir);
        let _ = std::fs::remove_file(&link);
        let _ = std::os::unix::fs::symlink(program, &link);
    }
    dir
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::Lang;
    use cluster::Home;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;

    #[test]
    fn news_wait_until_the_line_in_the_shell_has_ended() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        let (tell, told) = std::sync::mpsc::channel();
        session.print_news_with(move |words| drop(tell.send(words)));
        let (news, [runs, go]) = (session.news.clone(), ["runs", "go"].map(|name| dir.path().join(name)));
        for pipe in [&runs, &go] {
            nix::unistd::mkfifo(pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        let line = format!("echo > {}; read x < {}", runs.display(), go.display());
        let other = std::thread::spawn(move || {
            std::fs::read(&runs).unwrap(); // the line runs
            news.tell("news".into());
            std::fs::write(&go, "\n").unwrap();
        });
        assert_eq!(session.in_shell(&line), 0);
        other.join().unwrap();
        assert!(told.try_recv().is_err(), "said while the line ran");
        session.news.tell("later".into());
        assert_eq!(told.try_recv().as_deref(), Ok("later\n"), "and nothing is held any more");
    }

    /// Set in the process that has a terminal.
    const ON_A_TERMINAL: &str = "ROPEWALK_TEST_SESSION";

    /// Not a test of its own: runs on the terminal that the test below opens.
    #[test]
    fn has_a_shell_that_is_killed_between_two_lines() {
        if std::env::var_os(ON_A_TERMINAL).is_none() {
            return;
        }
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let _inside = runtime.enter();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::En, Manner::Terminal, runtime.handle().clone());
        // As if the start files had got stuck since an earlier shell.
        (session.shell_memory.bad_start_files, session.shell_memory.told_foreign) = (true, true);
        kill_the_shell(&mut session, &dir.path().join("pid"));
        assert_eq!(session.in_shell("(exit 5)"), 5, "the line has run");
        let (tell, told) = std::sync::mpsc::channel();
        session.print_news_with(move |words| drop(tell.send(words)));
        // What a pod's log may print.
        session.column.saw(b"\x1b[?1049h");
        session.news.tell("kept".into());
        let words = ["version", "--client"].map(String::from);
        assert_eq!(session.kubectl(&words, &mut crate::script::Script::of([])), 0);
        assert!(!session.column.full_screen() && told.try_recv().is_err());
        session.news.tell("later".into());
        assert_eq!(told.try_recv().as_deref(), Ok("later\n"), "what came before does not hold it up");
        kill_the_shell(&mut session, &dir.path().join("pid"));
        assert_eq!(
            session.kubectl(&words, &mut crate::script::Script::of([])),
            0,
            "with a new shell's variables"
        );
    }

    /// Kills the shell of a session, as a program in the background may, and waits for its end.
    fn kill_the_shell(session: &mut Session, file: &Path) {
        assert_eq!(session.in_shell(&format!("echo $$ > {}", file.display())), 0);
        let pid: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        let life = linux::process::pidfd_open(pid).unwrap();
        linux::process::pidfd_send_signal(life.as_fd(), nix::libc::SIGKILL).unwrap();
        poll(&mut [PollFd::new(life.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
    }

    /// The learner may have exported a `KUBECONFIG` in it.
    #[test]
    fn a_script_whose_shell_has_ended_runs_no_line_of_kubectl() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        let own = session.place.kubeconfig();
        std::fs::create_dir_all(own.parent().unwrap()).unwrap();
        kill_the_shell(&mut session, &dir.path().join("pid"));
        let left = session.run("config set-context main", &mut crate::script::Script::of([]));
        assert_eq!(left, Flow::Leave(128 + 9));
        assert!(!own.exists());
    }

    #[test]
    fn the_prompt_follows_the_kubeconfig_that_the_shell_exports() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        let config = dir.path().join("jane");
        std::fs::write(&config, "{current-context: jane}").unwrap();
        session.in_shell(&format!("export KUBECONFIG={}", config.display()));
        session.follow_kubeconfig();
        assert_eq!(session.config.view().context, "jane");
        session.start_shell().unwrap();
        assert_eq!(session.config.view().context, "", "a new shell has the cluster's own");
    }

    #[test]
    fn a_line_runs_although_the_shell_has_ended_before_it() {
        let test = "session::shell::tests::has_a_shell_that_is_killed_between_two_lines";
        let said = crate::shell::tests::on_a_terminal(test, ON_A_TERMINAL, "1");
        assert_eq!(said.matches("The shell had ended with code").count(), 2, "{said}");
        assert_eq!(said.matches("without them here").count(), 1, "told once, also of a later shell: {said}");
        let behind = said.split("\x1b[?1049l").nth(1).unwrap_or_default();
        assert!(behind.contains("kept"), "news on the usual screen: {said}");
    }

    #[test]
    fn a_program_that_is_being_replaced_can_be_run_and_breaks_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        std::fs::write(&old, "").unwrap();
        assert_eq!(runnable(old.clone()), old);
        let link = stand_ins(&place, &old).join("curl");
        for gone in [runnable(new.clone()), new.clone()] {
            assert_eq!(gone.exists(), gone != new, "{}", gone.display());
            stand_ins(&place, &gone);
            assert_eq!(std::fs::read_link(&link).unwrap(), old);
        }
        std::fs::write(&new, "").unwrap();
        stand_ins(&place, &new);
        assert_eq!(std::fs::read_link(&link).unwrap(), new);
    }

    #[test]
    fn a_link_to_busybox_is_its_shell() {
        let dir = tempfile::tempdir().unwrap();
        let (program, link) = (dir.path().join("busybox"), dir.path().join("ash"));
        std::fs::write(&program, "").unwrap();
        std::os::unix::fs::symlink(&program, &link).unwrap();
        assert!(is_busybox(&link) && is_busybox(&program) && !is_busybox(&dir.path().join("sh")));
    }

    #[test]
    fn the_learners_shell_is_used_if_it_can_be() {
        let choose = |asked: &str, there: &[&str]| {
            choose_shell(Some(asked.into()), |p| there.iter().any(|t| Path::new(t) == p))
        };
        assert_eq!(choose("/bin/zsh", &["/bin/zsh"]), ("/bin/zsh".into(), Dialect::Zsh, None));
        assert_eq!(
            choose("/usr/bin/fish", &["/usr/bin/fish", "/bin/bash"]),
            ("/bin/bash".into(), Dialect::Bash, Some("/usr/bin/fish".into()))
        );
        assert_eq!(choose("/no/zsh", &[]), ("/bin/sh".into(), Dialect::Posix, None));
        assert_eq!(choose("zsh", &["zsh"]), ("/bin/sh".into(), Dialect::Posix, None));
    }
}
