//! How the learner's shell is started, with its start files or without them.

use super::{Shell, exports};
use crate::column::Column;
use crate::dialect::{Dialect, Surroundings};
use crate::exit;
use crate::screen::Screen;
use linux::fds;
use portable_pty::CommandBuilder;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A shell on a terminal that has not come through its start files by then is ended, and started
/// without them.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(10);

/// A script that turns the pipes into the descriptors of [`crate::dialect`], and runs the shell on
/// its terminal. Pipes are opened by name because a terminal's child inherits nothing else.
const WITH_TERMINAL: &str = r#"in=$1; out=$2; shift 2; exec "$@" 7<&0 8>&2 <"$in" 2>"$out""#;
/// The script for a shell without a terminal.
const WITHOUT_TERMINAL: &str = r#"in=$1; out=$2; shift 2; exec "$@" 7<&0 8>"$out" <"$in""#;

/// What a shell is started with.
#[derive(Clone)]
pub(crate) struct Setting {
    pub shell: PathBuf,
    pub dialect: Dialect,
    /// This program.
    pub program: PathBuf,
    /// The name of the session's cluster.
    pub cluster: String,
    pub home: PathBuf,
    pub kubeconfig: PathBuf,
    /// Before everything else on PATH: the built-in tools.
    pub bin: PathBuf,
    /// After everything else on PATH: stand-ins for tools that a machine may lack.
    pub spare: PathBuf,
    /// The working directory; `None`: this program's own.
    pub cwd: Option<PathBuf>,
    /// On a terminal of its own, or on this program's standard output.
    pub terminal: bool,
    /// Hears of all that is printed on that terminal.
    pub column: Arc<Column>,
    /// Without a terminal: commands may read this program's standard input.
    pub stdin: bool,
    /// On a terminal: the learner's start files are read. Without it the shell is [`Shell::plain`]
    /// at once.
    pub start_files: bool,
    /// How long the start files may take: [`START_PATIENCE`].
    pub patience: Duration,
}

impl Setting {
    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            program: &self.program,
            cluster: &self.cluster,
            home: &self.home,
            kubeconfig: &self.kubeconfig,
            bin: &self.bin,
            spare: &self.spare,
        }
    }
}

impl Shell {
    /// Starts the shell and waits until it is ready. On a terminal a shell that gets stuck in its
    /// start files, or ends in them, is started once more without them.
    ///
    /// # Errors
    /// The shell cannot be started, or ends at its start even without start files.
    pub(crate) fn start(setting: &Setting) -> io::Result<Shell> {
        let ready = |start_files| {
            let mut shell = Shell::spawn(setting, start_files)?;
            shell.begin_output()?;
            shell.plain = setting.terminal && !start_files;
            Ok(shell)
        };
        match ready(setting.start_files) {
            Err(_) if setting.terminal && setting.start_files => ready(false),
            result => result,
        }
    }

    /// Starts the shell's process, and waits until it has read its first commands.
    fn spawn(setting: &Setting, start_files: bool) -> io::Result<Shell> {
        let (orders_read, orders) = fds::pipe()?;
        let (reports, reports_write) = fds::pipe()?;
        let told_exports = exports::file()?;
        let name = |fd: &OwnedFd| format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        let wrapper = if setting.terminal { WITH_TERMINAL } else { WITHOUT_TERMINAL };
        let mut words =
            vec!["-c".to_string(), wrapper.into(), "sh".into(), name(&orders_read), name(&reports_write)];
        words.push(setting.shell.to_string_lossy().into_owned());
        if setting.shell.file_name().is_some_and(|n| n == "busybox") {
            words.push("sh".into());
        }
        words
            .extend(setting.dialect.arguments(setting.terminal, start_files).iter().map(ToString::to_string));
        let cwd = setting.cwd.clone().filter(|d| d.is_dir());
        let (child, screen) = match setting.terminal {
            true => {
                let (screen, slave) = Screen::open(setting.column.clone())?;
                let mut command = CommandBuilder::new("/bin/sh");
                command.args(&words);
                if !start_files {
                    command.env_remove("ENV"); // the start file of POSIX shells
                }
                if setting.dialect == Dialect::Posix {
                    command.env("HISTFILE", "/dev/null"); // ksh writes what it reads there at once
                }
                if let Some(cwd) = cwd.or_else(|| std::env::current_dir().ok()) {
                    command.cwd(cwd);
                }
                (exit::process(slave.spawn_command(command).map_err(io::Error::other)?)?, Some(screen))
            }
            false => {
                let mut command = Command::new("/bin/sh");
                command.args(&words).stdin(if setting.stdin { Stdio::inherit() } else { Stdio::null() });
                if let Some(cwd) = cwd {
                    command.current_dir(cwd);
                }
                (command.spawn()?, None)
            }
        };
        let mut shell = Shell {
            setting: setting.clone(),
            child,
            orders: orders.into(),
            reports: reports.into(),
            unparsed: Vec::new(),
            token: format!("rw-{:016x}", rng::Rng::from_os().u64()),
            number: 0,
            screen,
            plain: false,
            unread: false,
            woken: false,
            typed: Vec::new(),
            exports: None,
            told_exports,
        };
        let text = setting.dialect.preparation(&setting.surroundings(), &shell.token, setting.terminal);
        shell.orders.write_all(text.as_bytes())?;
        // Our own copies stay open until the shell has opened its ends: only then does its end
        // become visible as one.
        let ready = shell.await_report(if start_files { setting.patience } else { START_PATIENCE * 2 });
        if ready.is_err() && !setting.terminal {
            let _ = shell.child.kill(); // its start file may never end, and `drop` waits for it
        }
        ready?;
        drop((orders_read, reports_write));
        Ok(shell)
    }

    /// Shows what is printed on its terminal from now on.
    fn begin_output(&mut self) -> io::Result<()> {
        self.screen.as_mut().map_or(Ok(()), Screen::begin)
    }
}
