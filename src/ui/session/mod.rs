//! One session: what it is made of, and what it remembers between two lines. `run` runs one.

use super::column::Column;
use super::practice::drill::Running;
use super::record::Tape;
use super::screen::Resizer;
use super::shell::Shell;
use super::terminal::{EndSignals, Unedited};
use super::texts::{Lang, Say, problem};
use cluster::Place;
use lab::why::Typed;
use lang::charset::{eprintln, println};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

mod about;
mod aliases;
mod alive;
mod answers;
mod beside;
mod broken;
mod by_shell;
mod cutoff;
mod drill;
mod frame;
mod help;
mod history;
mod kubectl;
mod language;
mod leave;
mod lessons;
mod lines;
mod news;
mod own;
mod own_processes;
mod refused;
mod run;
mod shell;
mod suggest;
mod umask;

use cutoff::Cutoff;
pub(crate) use lines::{Given, Lines};
use news::News;
use run::LineState;

/// The exit code of what Ctrl-C ended: 128 and the number of SIGINT.
pub(crate) const INTERRUPTED: i32 = 130;

/// What follows a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Next,
    /// With this exit code.
    Leave(i32),
}

/// Where the session's lines come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A person types them at a terminal.
    Terminal,
    /// Lines come from standard input, so commands cannot read it.
    Pipe,
    /// Lines come from a file; manifests may follow their command in it.
    File,
    /// Lines come from the command line.
    Script,
}

/// What ends the session.
#[derive(Default)]
pub(crate) struct Ending {
    /// Signals that end the session. The task that waits for them ends the cluster meanwhile, and
    /// cannot stop this thread.
    pub signals: Option<EndSignals>,
    /// The exit code, after such a signal.
    code: Option<i32>,
    /// The learner goes back from a declared cluster: the session ends after this line.
    is_leaving: bool,
}

/// What the session remembers of its shell, also when that has ended.
#[derive(Default)]
struct ShellMemory {
    /// The directory that the shell was in, where the next one begins.
    cwd: Option<PathBuf>,
    /// The learner's shell did not get through its start files, so the next one starts without
    /// them.
    bad_start_files: bool,
    /// The learner was told which shell runs in place of their own, if another one does.
    told_foreign: bool,
    /// The learner was told that the shell runs without its start files.
    told_plain: bool,
    /// Typed lines that the shell's own `history` does not list yet.
    untold: history::Untold,
}

/// What goes on between the session and the engine of lessons and drills.
#[derive(Default)]
pub(crate) struct EngineLink {
    /// A message to the lesson engine that was too busy to take it at once.
    announced: Option<tokio::task::JoinHandle<()>>,
    /// The task that follows the lesson.
    following: Option<tokio::task::AbortHandle>,
    /// The engine's sentence about lines that Ctrl-C has stopped, until it is shown.
    stop_message: Option<String>,
    /// The drill that runs, as far as this session follows drills: at a terminal.
    pub drill: Arc<Running>,
    /// The task that follows drills.
    following_drill: Option<tokio::task::AbortHandle>,
}

/// A learner's session: runs lines one after the other, in this program or in the learner's shell.
pub(crate) struct Session {
    pub place: Place,
    /// Shared with the tasks that print news, which use the language of that moment.
    lang: Arc<Mutex<Lang>>,
    manner: Manner,
    handle: Handle,
    /// The exit code of the last line.
    last: i32,
    /// The last line that kubectl or the shell has run for the learner, and its exit code: `why`
    /// explains it.
    line_before: Option<Typed>,
    line: LineState,
    cutoff: Cutoff,
    shell: Option<Shell>,
    shell_memory: ShellMemory,
    /// What is broken in the shell on purpose.
    broken: Option<broken::Broken>,
    /// The kubeconfig that kubectl reads in the shell.
    pub config: Arc<crate::kubeconfig::Watched>,
    /// The shell's terminal, for the task that handles SIGWINCH.
    pub resizer: Arc<Mutex<Option<Resizer>>>,
    /// What is typed between two prompts waits for the next one, at a terminal with an editor.
    pub unedited: Option<Unedited>,
    /// The cluster has ended.
    dead: Arc<AtomicBool>,
    /// Whether programs left the cursor within a line, and on which screen.
    pub column: Arc<Column>,
    explained_paste: bool,
    /// In the shell pane of the interface: the token with which the frame takes commands.
    pub frame: Option<String>,
    news: Arc<News>,
    pub end: Ending,
    pub engine: EngineLink,
    /// Notes what is typed, for the draft of a lesson.
    pub tape: Option<Arc<Tape>>,
}

impl Session {
    pub(crate) fn new(place: Place, lang: Lang, manner: Manner, handle: Handle) -> Session {
        let column: Arc<Column> = Arc::default();
        let at_terminal = manner == Manner::Terminal;
        // Without it Ctrl-C ends the program, as it does every other.
        let interrupt = at_terminal.then(|| signal(SignalKind::interrupt()).ok()).flatten();
        Session {
            config: Arc::new(crate::kubeconfig::Watched::new(&place.kubeconfig())),
            place,
            lang: Arc::new(Mutex::new(lang)),
            manner,
            handle,
            last: 0,
            line_before: None,
            line: LineState::default(),
            cutoff: Cutoff { signal: interrupt, ..Cutoff::default() },
            shell: None,
            shell_memory: ShellMemory::default(),
            broken: None,
            resizer: Arc::default(),
            unedited: None,
            dead: Arc::default(),
            news: Arc::new(News::new(column.clone())),
            column,
            explained_paste: false,
            frame: None,
            end: Ending::default(),
            engine: EngineLink::default(),
            tape: None,
        }
    }

    /// Returns the language that the session speaks now.
    pub(crate) fn lang(&self) -> Lang {
        *self.lang.lock()
    }

    fn say(&self, say: Say, with: &[&str]) -> String {
        self.lang().say(say, with)
    }

    /// Returns the last line's exit code.
    pub(crate) fn last(&self) -> i32 {
        self.last
    }

    /// Gives up the line that was typed, because the terminal sends another encoding.
    pub(crate) fn not_utf8(&mut self) {
        self.last = 1;
        println!();
        self.complain(&self.say(Say::NotUtf8, &[]), None, None);
    }

    /// Refuses a line of a script: a command would get other bytes than those that stand in it.
    pub(crate) fn refuse_bytes(&mut self) {
        self.line.begin(false);
        self.last = 1;
        self.complain(&self.say(Say::LineNotUtf8, &[]), None, None);
    }

    /// Returns what was typed ahead while the shell worked, and keeps it no longer.
    pub(crate) fn typed_ahead(&mut self) -> String {
        self.shell.as_mut().map(Shell::typed_ahead).unwrap_or_default()
    }

    /// Returns the exit code if a signal has come that ends the session.
    fn asked_to_end(&mut self) -> Option<i32> {
        self.end.code = self.end.code.or_else(|| self.end.signals.as_mut()?.came());
        self.end.code
    }

    fn complain(&self, what: &str, why: Option<&str>, tip: Option<&str>) {
        eprintln!("{}", problem(self.lang(), what, why, tip));
    }
}
