//! One session: runs lines and remembers what lasts between them.

use super::column::Column;
use super::commands::{self, Input};
use super::dialect::Dialect;
use super::lesson::Paper;
use super::line::{self, Line};
use super::paste::{self, Paste};
use super::screen::Resizer;
use super::settings;
use super::shell::{Ran, Setting, Shell};
use super::texts::{Lang, Say, trouble};
use crate::cluster::Place;
use crate::cluster::control::Control;
use crate::lab::view::Ask;
use crate::lang::charset::{self, eprintln, print, println};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;

mod lessons;

/// What follows a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Next,
    /// With this exit code.
    Leave(i32),
}

/// What whoever types gives when more is asked for.
pub enum Given {
    Text(String),
    /// Ctrl-C.
    Cut,
    End,
}

/// Where the lines of a pasted manifest come from.
pub trait Lines {
    fn more(&mut self) -> Given;
    /// Text after a manifest's end, to be run as lines.
    fn give_back(&mut self, _text: String) {}
}

/// How the session meets people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Someone sits there.
    Terminal,
    /// Lines come from standard input, so commands cannot read it.
    Pipe,
    /// Lines come from a file; manifests may follow their command in it.
    File,
    /// Lines come from the command line.
    Script,
}

pub struct Session {
    pub place: Place,
    /// Shared with the one who tells of the cluster's end, who speaks as it is then.
    lang: Arc<Mutex<Lang>>,
    manner: Manner,
    handle: Handle,
    last: i32,
    shell: Option<Shell>,
    cwd: Option<PathBuf>,
    /// The shell's terminal, for whoever hears of a new size.
    pub resizer: Arc<Mutex<Option<Resizer>>>,
    /// The cluster has ended.
    pub dead: Arc<AtomicBool>,
    /// Where programs left the cursor.
    pub column: Arc<Column>,
    explained_paste: bool,
    explained_shell: bool,
    /// The interface around it hears what it says to the frame.
    pub in_pane: bool,
    /// News that wait until the program that has the terminal ends.
    news: Arc<Mutex<News>>,
}

/// Words that come by themselves. They would stand in the middle of an editor, or behind the prompt of a shell in a container.
#[derive(Default)]
struct News {
    waits: bool,
    kept: String,
}

impl Session {
    pub fn new(place: Place, lang: Lang, manner: Manner, handle: Handle) -> Session {
        Session {
            place,
            lang: Arc::new(Mutex::new(lang)),
            manner,
            handle,
            last: 0,
            shell: None,
            cwd: None,
            resizer: Arc::default(),
            dead: Arc::default(),
            column: Arc::default(),
            explained_paste: false,
            explained_shell: false,
            in_pane: false,
            news: Arc::default(),
        }
    }

    /// The language it speaks.
    pub fn lang(&self) -> Lang {
        *self.lang.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, say: Say, with: &[&str]) -> String {
        self.lang().say(say, with)
    }

    /// The last line's exit code.
    pub fn last(&self) -> i32 {
        self.last
    }

    /// Ctrl-C on an empty hand.
    pub fn interrupted(&mut self) {
        self.last = 130;
    }

    /// What was typed ahead while the shell worked.
    pub fn typed_ahead(&mut self) -> String {
        self.shell.as_mut().map(Shell::typed_ahead).unwrap_or_default()
    }

    /// Runs one line.
    pub fn run(&mut self, text: &str, lines: &mut dyn Lines) -> Flow {
        let line = line::classify(text, &self.place.name);
        if matches!(line, Line::Kubectl(_) | Line::Foreground(_) | Line::Own(_) | Line::Shell(_)) {
            // Hints may react to what was typed; without lessons nobody listens.
            let _ = self.ask(Ask::Typed { line: text.trim().to_string() });
        }
        match line {
            Line::Empty => return Flow::Next,
            Line::Quit => return Flow::Leave(if self.manner == Manner::Terminal { 0 } else { self.last }),
            Line::Exit(code) => return self.exit(code),
            Line::Kubectl(args) => self.last = self.kubectl(&args, lines),
            // Without a terminal there is none to take.
            Line::Foreground(text) if self.manner == Manner::Terminal => {
                self.news.lock().unwrap_or_else(PoisonError::into_inner).waits = true;
                self.last = self.in_shell(&text, false);
                let news = std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner));
                print!("{}", news.kept);
            }
            Line::Foreground(text) => self.last = self.kubectl(&line::cut(&text).words[1..], lines),
            Line::Own(args) => self.last = self.own(&args),
            Line::Shell(text) => self.last = self.in_shell(&text, true),
            Line::Help(about) => self.last = self.help(&about, lines),
            Line::Map(words) => self.last = self.map(&words),
            Line::Lang(choice) => self.last = self.choose(&choice),
            Line::Lesson(words) => self.last = self.lesson(&words, lines),
            Line::Letter(letter, text) => {
                self.last = match self.waits_for_letter() {
                    true => self.shown(Ask::Predict { choice: letter.to_string() }, Paper::ask),
                    false => self.in_shell(&text, true),
                }
            }
            Line::Clear => {
                if self.manner == Manner::Terminal {
                    print!("\x1b[H\x1b[2J\x1b[3J");
                    let _ = std::io::Write::flush(&mut std::io::stdout()); // the editor writes past it
                }
                self.last = 0;
            }
            Line::Later(word) => {
                let what = self.say(Say::Later, &[&word]);
                self.complain(
                    &what,
                    Some(&self.say(Say::LaterWhy, &[])),
                    Some(&self.say(Say::LaterTry, &[])),
                );
                self.last = 1;
            }
        }
        Flow::Next
    }

    fn complain(&self, what: &str, why: Option<&str>, tip: Option<&str>) {
        eprintln!("{}", trouble(self.lang(), what, why, tip));
    }

    fn exit(&mut self, code: Option<String>) -> Flow {
        match code.as_deref().map(str::parse::<u8>) {
            None if self.manner == Manner::Terminal => Flow::Leave(0),
            None => Flow::Leave(self.last),
            Some(Ok(code)) => Flow::Leave(code.into()),
            Some(Err(_)) => {
                self.complain(&self.say(Say::BadExit, &[&code.unwrap_or_default()]), None, None);
                self.last = 2;
                Flow::Next
            }
        }
    }

    fn kubectl(&mut self, args: &[String], lines: &mut dyn Lines) -> i32 {
        let mut input = match self.manner {
            Manner::Terminal => Input::Keyboard,
            Manner::Pipe => Input::Nothing,
            Manner::Script | Manner::File => Input::Stdin,
        };
        // `-c` lines come from the command line, so there standard input is the manifest.
        if paste::reads_stdin(args) && self.manner != Manner::Script {
            let Some(text) = self.collect(lines) else { return 130 };
            input = Input::Text(text);
        }
        if !self.alive() {
            return 1;
        }
        self.follow_shell();
        commands::run(args, input, &self.place, &self.handle, &self.column)
    }

    /// A manifest from the lines that follow; `None` if it was cancelled.
    fn collect(&mut self, lines: &mut dyn Lines) -> Option<String> {
        if self.manner == Manner::Terminal && !std::mem::replace(&mut self.explained_paste, true) {
            println!("{}", self.say(Say::PasteHint, &[]));
        }
        let mut paste = Paste::default();
        loop {
            match lines.more() {
                Given::Text(text) => {
                    if let Some(rest) = paste.take(&text) {
                        if !rest.is_empty() {
                            lines.give_back(rest);
                        }
                        return Some(paste.text());
                    }
                }
                Given::End => return Some(paste.text()),
                Given::Cut => {
                    eprintln!("{}", self.say(Say::PasteCut, &[]));
                    return None;
                }
            }
        }
    }

    /// A command of this program itself, in a process of its own.
    fn own(&mut self, args: &[String]) -> i32 {
        match args.first().map(String::as_str) {
            None | Some("repl" | "learn") => {
                let say = |what| self.say(what, &[]);
                self.complain(&say(Say::Nested), None, Some(&say(Say::NestedTry)));
                return 1;
            }
            Some("status" | "trace" | "fault" | "undo" | "redo" | "rewind" | "why" | "lab" | "etcdctl")
                if !self.alive() =>
            {
                return 1;
            }
            _ => {}
        }
        self.follow_shell();
        use std::os::unix::process::{CommandExt, ExitStatusExt};
        let mut command = Command::new("/proc/self/exe");
        command.arg0("ropewalk").args(args).env("ROPEWALK_HOME", self.place.home.path());
        command.env(settings::LANG_VARIABLE, super::lesson::tag(self.lang()));
        if self.manner == Manner::Pipe {
            command.stdin(Stdio::null());
        }
        match command.status() {
            Ok(status) => status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            Err(error) => {
                self.complain(&self.say(Say::Unreadable, &[&error.to_string()]), None, None);
                126
            }
        }
    }

    fn help(&mut self, about: &[String], lines: &mut dyn Lines) -> i32 {
        if !about.is_empty() {
            let args: Vec<String> = about.iter().cloned().chain(["--help".to_string()]).collect();
            return self.kubectl(&args, lines);
        }
        if self.in_pane {
            // Longer than the pane: the frame shows it over everything.
            self.tell_frame(&["help"]);
            return 0;
        }
        let shown = |path: &Path| path.display().to_string();
        let values = [shown(&self.place.kubeconfig()), shown(&self.place.home.bin())];
        println!("{}", self.say(Say::Help, &[&values[0], &values[1]]));
        0
    }

    /// Tells the interface around this shell something; outside of it there is nobody to tell.
    fn tell_frame(&self, words: &[&str]) {
        if self.in_pane {
            print!("\x1b]{};{}\x07", super::tui::terminal::TELL, words.join(";"));
            let _ = std::io::Write::flush(&mut std::io::stdout()); // a closed terminal has no frame
        }
    }

    /// Shows a diagram, or says which there are.
    fn map(&mut self, words: &[String]) -> i32 {
        use super::tui::model::View;
        let names: Vec<&str> = View::ALL.iter().map(|v| v.name()).collect();
        if !self.in_pane {
            self.complain(
                &self.say(Say::NoMap, &[]),
                None,
                Some(&self.say(Say::NoMapTry, &[&self.place.name])),
            );
            return 1;
        }
        match words.first().map(|w| (w, View::named(w))) {
            Some((_, Some(view))) => {
                self.tell_frame(&["view", view.name()]);
                0
            }
            None => {
                println!("map {}", names.join(" | "));
                0
            }
            Some((wrong, None)) => {
                self.complain(&self.say(Say::NoSuchView, &[wrong, &names.join(", ")]), None, None);
                2
            }
        }
    }

    fn choose(&mut self, choice: &[String]) -> i32 {
        let Some(lang) = choice.first().and_then(|c| Lang::parse(c)) else {
            let name = self.say(if self.lang() == Lang::Ko { Say::Korean } else { Say::English }, &[]);
            println!("{}", self.say(Say::LangIs, &[&name]));
            return if choice.is_empty() { 0 } else { 2 };
        };
        if charset::presentable(lang, false) != lang {
            return 1; // it has said why
        }
        *self.lang.lock().unwrap_or_else(PoisonError::into_inner) = lang;
        if let Err(error) = settings::save(&self.place.home, lang) {
            self.complain(&format!("{}: {error}", self.place.home.settings().display()), None, None);
            return 1;
        }
        println!("{}", lang.say(Say::LangSet, &[]));
        self.tell_frame(&["lang", if lang == Lang::Ko { "ko" } else { "en" }]);
        0
    }

    /// Is there a cluster to talk to? If it has ended, says so, unless it is back.
    fn alive(&mut self) -> bool {
        if !self.dead.load(Ordering::Acquire) {
            return true;
        }
        if self.handle.block_on(Control::connect(&self.place)).is_ok() {
            self.watch(|_| {});
            eprintln!("{}", self.say(Say::ClusterBack, &[&self.place.name]));
            return true;
        }
        eprintln!("{}", obituary(self.lang(), &self.place));
        false
    }

    /// Notices the cluster's end: its control socket closes. `tell` gets the words for it.
    pub fn watch(&self, tell: impl FnOnce(String) + Send + 'static) {
        self.dead.store(false, Ordering::Release);
        let (place, dead, lang) = (self.place.clone(), self.dead.clone(), self.lang.clone());
        self.handle.spawn(async move {
            if let Ok(mut control) = Control::connect(&place).await {
                while let Ok(Some(_)) = control.next().await {}
            }
            dead.store(true, Ordering::Release);
            let lang = *lang.lock().unwrap_or_else(PoisonError::into_inner);
            tell(obituary(lang, &place));
        });
    }

    /// Relative paths mean the same to kubectl as to the shell.
    fn follow_shell(&self) {
        if let Some(cwd) = &self.cwd {
            let _ = std::env::set_current_dir(cwd); // a removed directory is the learner's own doing
        }
    }

    fn in_shell(&mut self, text: &str, suggest: bool) -> i32 {
        let ran = match self.shell() {
            Ok(shell) => shell,
            Err(error) => return self.shell_failed(&error),
        };
        let ran = ran.0.run(text, ran.1);
        if let Some(cwd) = self.shell.as_ref().and_then(Shell::cwd) {
            self.cwd = Some(cwd);
        }
        match ran {
            Ok(Ran::Code(code)) => {
                if code == 127 && suggest {
                    self.suggest(text);
                }
                code
            }
            Ok(Ran::Ended(code)) => {
                self.shell = None;
                if self.manner == Manner::Terminal {
                    eprintln!("{}", self.say(Say::ShellEnded, &[&code.to_string()]));
                }
                code
            }
            Err(error) => {
                self.shell = None;
                self.shell_failed(&error)
            }
        }
    }

    fn shell_failed(&self, error: &std::io::Error) -> i32 {
        let (shell, ..) = choose_shell(std::env::var_os("SHELL").map(PathBuf::from), commands::is_program);
        let what = self.say(Say::ShellBroken, &[&error.to_string()]);
        let tip = self.say(Say::ShellBrokenTry, &[&shell.display().to_string()]);
        self.complain(&what, None, Some(&tip));
        126
    }

    /// A word that nobody knows: perhaps a slip.
    fn suggest(&self, text: &str) {
        let words = line::cut(text).words;
        let Some(slip) = words.first() else { return };
        if let Some(meant) = line::did_you_mean(slip) {
            let mut fixed = vec![meant.to_string()];
            fixed.extend_from_slice(&words[1..]);
            eprintln!("{}", self.say(Say::DidYouMean, &[&fixed.join(" ")]));
        }
    }

    /// The shell, started if there is none, and the code that `$?` is to be in it.
    fn shell(&mut self) -> std::io::Result<(&mut Shell, i32)> {
        if self.shell.is_none() {
            self.start_shell()?;
        }
        match &mut self.shell {
            Some(shell) => Ok((shell, self.last)),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        }
    }

    /// Starts the learner's shell, so that the first line does not wait for its start files.
    pub fn start_shell(&mut self) -> std::io::Result<()> {
        let asked = std::env::var_os("SHELL").map(PathBuf::from);
        let (shell, dialect, foreign) = choose_shell(asked, commands::is_program);
        let program = std::env::current_exe()?;
        let setting = Setting {
            shell,
            dialect,
            kubeconfig: self.place.kubeconfig(),
            bin: self.place.home.bin(),
            spare: stand_ins(&self.place, &program),
            program,
            cwd: self.cwd.clone(),
            column: self.column.clone(),
            terminal: self.manner == Manner::Terminal,
            stdin: matches!(self.manner, Manner::Script | Manner::File),
        };
        let started = Shell::start(&setting)?;
        if self.manner == Manner::Terminal && !std::mem::replace(&mut self.explained_shell, true) {
            if let Some(foreign) = foreign {
                let names = [foreign.display().to_string(), setting.shell.display().to_string()];
                eprintln!("{}", self.say(Say::ForeignShell, &[&names[0], &names[1]]));
            }
            if started.plain {
                eprintln!("{}", self.say(Say::PlainShell, &[]));
            }
        }
        *self.resizer.lock().unwrap_or_else(PoisonError::into_inner) = started.resizer();
        self.shell = Some(started);
        Ok(())
    }
}

/// What is said when the cluster has ended underneath.
fn obituary(lang: Lang, place: &Place) -> String {
    trouble(
        lang,
        &lang.say(Say::ClusterEnded, &[&place.name]),
        Some(&lang.say(Say::ClusterEndedWhy, &[&place.log().display().to_string()])),
        Some(&lang.say(Say::ClusterEndedTry, &[&place.name])),
    )
}

/// The learner's shell if it can be driven, else bash or sh; and the one that could not.
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

/// A directory for the end of PATH, with programs that a machine may lack: this one under other names.
fn stand_ins(place: &Place, program: &Path) -> PathBuf {
    let dir = place.home.bin().join("stand-ins");
    let link = dir.join("curl");
    if std::fs::read_link(&link).ok().as_deref() != Some(program) {
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
