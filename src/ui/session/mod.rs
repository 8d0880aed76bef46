//! One session: runs lines and remembers what lasts between them.

use super::column::Column;
use super::line::{self, Line};
use super::practice::drill::Running;
use super::record::Tape;
use super::screen::Resizer;
use super::shell::Shell;
use super::terminal::{self, EndSignals, Unedited};
use super::texts::{Lang, Say, problem};
use cluster::Place;
use futures::FutureExt;
use lab::view::Ask;
use lab::why::Typed;
use lang::charset::{eprintln, print, println};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

mod about;
mod aliases;
mod alive;
mod answers;
mod beside;
mod broken;
mod by_shell;
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
mod shell;
mod suggest;
mod umask;

pub(crate) use lines::{Given, Lines};
use news::News;

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

/// What the session knows of the line that runs, or of the last one.
#[derive(Default)]
struct LineState {
    /// Receives Ctrl-C at a terminal; what it has not told yet has come since the line was read.
    interrupt: Option<Signal>,
    /// Ctrl-C came since the line was read, which `interrupt` or the shell has already told.
    cut: bool,
    /// The shell has ended since the line was read, or could not be started.
    shell_lost: bool,
    /// The last line that was not empty has run in the shell, which knows its code.
    ran_in_shell: bool,
    /// The last line has begun to run: it was neither refused nor given up before.
    has_begun: bool,
    /// The line before has warned the learner of programs that would end with the session.
    warned_of_stopped: bool,
    /// The programs that ran in the background of the shell when the line began.
    running_before: Vec<String>,
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
    /// The learner's shell does not come through its start files: it is started without them.
    bad_start_files: bool,
    /// The learner was told which shell runs in place of their own, if another one does.
    told_foreign: bool,
    /// The learner was told that the shell runs without its start files.
    told_plain: bool,
    /// What the shell's own `history` is to list.
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
    /// The last line that ran outside of this program, and how it ended: `why` explains it.
    line_before: Option<Typed>,
    line: LineState,
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
    pub dead: Arc<AtomicBool>,
    /// Where programs left the cursor.
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
            line: LineState { interrupt, ..LineState::default() },
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

    /// The language that the session speaks now.
    pub(crate) fn lang(&self) -> Lang {
        *self.lang.lock()
    }

    fn say(&self, say: Say, with: &[&str]) -> String {
        self.lang().say(say, with)
    }

    /// The last line's exit code.
    pub(crate) fn last(&self) -> i32 {
        self.last
    }

    /// Returns whether Ctrl-C was pressed since the last call, in this program or in one that the
    /// shell ran. Whatever the command made of it: the kernel, too, drops the input that waits.
    pub(crate) fn take_interrupt(&mut self) -> bool {
        let mut cut = std::mem::take(&mut self.line.cut);
        if let Some(interrupt) = &mut self.line.interrupt {
            while interrupt.recv().now_or_never().flatten().is_some() {
                cut = true;
            }
        }
        cut
    }

    /// Why the lines that came together with the last one do not run: Ctrl-C, or the shell has
    /// ended, and with it the directory and the variables that they rely on. Each is named once.
    pub(crate) fn take_reason_to_drop(&mut self) -> Option<Say> {
        let lost = std::mem::take(&mut self.line.shell_lost);
        match self.take_interrupt() {
            true => Some(Say::PasteDropped),
            false => lost.then_some(Say::ShellEndedDropped),
        }
    }

    /// Prints how many lines were dropped, and why.
    pub(crate) fn report_dropped(&self, why: Say, lines: usize) {
        eprintln!("{}", self.say(why, &[&lines.to_string()]));
    }

    /// Takes in Ctrl-C at the prompt: there was no line to run.
    pub(crate) fn note_interrupt(&mut self) {
        self.last = INTERRUPTED;
    }

    /// Gives up the line that was typed, because the terminal sends another encoding.
    pub(crate) fn not_utf8(&mut self) {
        self.last = 1;
        println!();
        self.complain(&self.say(Say::NotUtf8, &[]), None, None);
    }

    /// Refuses a line of a script: a command would get other bytes than those that stand in it.
    pub(crate) fn refuse_bytes(&mut self) {
        (self.last, self.line.ran_in_shell) = (1, false);
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

    /// Runs one line, unless a signal has ended the session. A script ends with its shell, as in
    /// every other shell: after `cd build || exit 1` the next line must not run in the directory of
    /// before.
    pub(crate) fn run(&mut self, text: &str, lines: &mut dyn Lines) -> Flow {
        if let Some(code) = self.asked_to_end() {
            return Flow::Leave(code);
        }
        let began = clock::now();
        self.line.has_begun = false;
        self.take_language_of_frame();
        let flow = self.run_line(text, lines);
        // A line that was refused would not be refused where the draft is proved.
        if let Some(tape) = self.tape.as_ref().filter(|_| self.line.has_begun) {
            tape.note(text, &self.place.name, self.last, began);
        }
        match flow {
            Flow::Next if self.end.is_leaving => Flow::Leave(0),
            Flow::Next if self.line.shell_lost && self.manner != Manner::Terminal => Flow::Leave(self.last),
            flow => flow,
        }
    }

    fn run_line(&mut self, text: &str, lines: &mut dyn Lines) -> Flow {
        let meant = line::of_korean_layout(text);
        let name = &self.place.name;
        let is_new = |meant: &&String| line::classify(text, name) != line::classify(meant, name);
        if let Some(meant) = meant.as_ref().filter(is_new) {
            eprintln!("{}", self.say(Say::KoreanLayout, &[meant.trim()]));
        }
        let text = meant.as_deref().unwrap_or(text);
        let line = line::classify(text, &self.place.name);
        if line == Line::Empty {
            return Flow::Next;
        }
        self.line.warned_of_stopped &= matches!(line, Line::Quit | Line::Exit(_));
        let refused = |session: &Session| session.refuses(&line, text).then_some(1);
        if let Some(code) = self.drill_word(&line, text).or_else(|| refused(self)) {
            self.last = code;
            return Flow::Next;
        }
        let outside = match &line {
            Line::Shell(text) => !line::begins_with_own_word(text),
            line => matches!(line, Line::Kubectl(_) | Line::Foreground(_)),
        };
        let acts = outside || matches!(line, Line::Own(_) | Line::Shell(_));
        self.line.ran_in_shell = false;
        // Hints may react to what was typed; an error is ignored, as there may be no lessons.
        // Ctrl-C while the engine is busy is meant for the line.
        let aside = !line.is_about_the_cluster();
        if acts && self.begin_line(text.trim(), aside).is_err() {
            self.last = INTERRUPTED;
            return Flow::Next;
        }
        self.line.has_begun = true;
        match line {
            Line::Empty => {}
            Line::Quit => return self.exit(None),
            Line::Exit(code) => return self.exit(code.as_deref()),
            Line::Kubectl(args) => self.last = self.kubectl(&args, lines),
            Line::Foreground(text) => self.last = self.foreground(&text, lines),
            Line::Own(args) => self.last = self.own(&args),
            Line::Shell(shell) => self.last = self.typed_in_shell(&shell, text),
            Line::Help(about) => self.last = self.help(&about, lines),
            Line::Map(words) => self.last = self.map(&words),
            Line::Lang(choice) => self.last = self.choose(&choice),
            Line::Lesson(words) => self.last = self.lesson(&words),
            Line::Answer(written) => self.last = self.answer(&written),
            Line::Letter(letter, text) => {
                self.last = match self.waits_for_letter() {
                    Ok(true) => self.shown(Ask::Predict { choice: letter.to_string() }, |style, view| {
                        style.answered(view) + &style.ask(view)
                    }),
                    Ok(false) if self.takes_letters() => self.answer(&letter.to_string()),
                    Ok(false) => self.letter_in_shell(letter, &text),
                    Err(_) => INTERRUPTED,
                }
            }
            Line::Clear => self.clear(),
            Line::Watch => {
                self.complain(&self.say(Say::WatchWhat, &[]), None, Some(&self.say(Say::WatchTry, &[])));
                self.last = 2;
            }
        }
        if outside {
            self.suggest_kind(text);
            self.line_before = Some(Typed { line: text.trim().into(), code: self.last });
        }
        if acts {
            self.end_line(text.trim(), aside);
        }
        Flow::Next
    }

    fn clear(&mut self) {
        if self.manner == Manner::Terminal && !terminal::dumb() {
            print!("\x1b[H\x1b[2J\x1b[3J");
            let _ = std::io::Write::flush(&mut std::io::stdout()); // the editor writes past it
        }
        self.last = 0;
    }

    fn complain(&self, what: &str, why: Option<&str>, tip: Option<&str>) {
        eprintln!("{}", problem(self.lang(), what, why, tip));
    }
}
