//! Opens a session, in one of its forms, and ends it.

use super::beside;
use super::connection;
use super::editor::{self, Prompt};
use super::names::Names;
use super::options::{Drill, Options};
use super::script::{self, Script};
use super::session::{Manner, Session};
use super::terminal::{self, AsFound, EndSignals, Unedited};
use super::texts::{Lang, Say};
use super::tui::update::HUNG_UP;
use super::{Error, record, settings, tui};
use cluster::Home;
use lang::charset::{self, print, printable, println};
use lang::typed;
use linux::signal::{self, stop_requested};
use rustyline::ExternalPrinter;
use std::io::{BufRead, Write};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind};
use tokio::task::JoinSet;

/// Runs a session and returns its exit code: in the interface, in lines at a terminal, or from a
/// pipe, a file or the command line.
///
/// # Errors
/// The cluster cannot be used, the file cannot be read, or the terminal fails; see [`Error`].
pub async fn run(options: Options) -> Result<i32, Error> {
    if options.lines.is_empty() {
        typed::read_at_prompt(); // with lines, the reader stays in the shell that gave them
    }
    let home = Home::find()?;
    let place = options.place(&home)?;
    let given = !options.lines.is_empty() || options.file.is_some();
    if !given && terminal::is_terminal() {
        let _as_found = AsFound::keep();
        return match options.plain || terminal::dumb() {
            true => at_terminal(options, home).await,
            false => in_interface(options, home).await,
        };
    }
    let (script, manner) = match (&options.file, options.lines.is_empty()) {
        (Some(path), empty) => {
            let text =
                std::fs::read_to_string(path).map_err(|cause| Error::File { path: path.clone(), cause })?;
            let text = text.strip_suffix('\n').unwrap_or(&text).to_string();
            let lines = if empty { vec![] } else { options.lines.clone() };
            (Script::of(lines.into_iter().chain([text])), Manner::File)
        }
        (None, false) => (Script::of(options.lines.clone()), Manner::Script),
        (None, true) => (Script::pipe(), Manner::Pipe),
    };
    let lang = settings::language(options.lang, &home);
    let connection = connection::take(&options, place.clone(), lang, std::future::pending()).await?;
    let asked = stop_requested().map_err(Error::Signals)?;
    let recording = record::start(options.record.as_ref(), &place);
    let mut session = Session::new(place, lang, manner, Handle::current());
    session.tape = options.record;
    session.end.signals = Some(EndSignals::new(EndSignals::SCRIPT).map_err(Error::Signals)?);
    let lesson = options.lesson.map(|id| (id, options.sure));
    let played = tokio::task::spawn_blocking(move || script::play_lesson(&mut session, lesson, script));
    let code = tokio::select! {
        played = played => played.map_err(|_| Error::Panicked),
        signal = asked => Ok(128 + signal::number(signal).unwrap_or_default()),
    };
    record::finish(recording).await;
    connection.leave(lang, false).await;
    code
}

async fn at_terminal(options: Options, home: Home) -> Result<i32, Error> {
    let place = options.place(&home)?;
    let lang = language(&options, &home);
    // From here on Ctrl-C is for the commands.
    let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let mut end = EndSignals::new(EndSignals::LINES).map_err(Error::Signals)?;
    let heard = EndSignals::new(EndSignals::LINES).map_err(Error::Signals)?;
    let mut ended = None;
    let cut = async { ended = await_signal(&mut interrupt, &mut end).await };
    let connection = connection::take(&options, place.clone(), lang, cut).await?;
    if let Some(code) = ended {
        connection.leave(lang, false).await;
        return Ok(code);
    }
    println!(
        "{}",
        match (options.in_pane.is_some(), connection.foreign()) {
            (true, _) => lang.say(Say::WelcomePane, &[]),
            (_, Some(server)) => lang.say(Say::WelcomeForeign, &[&server]),
            _ => lang.say(Say::Welcome, &[&connection.nodes.to_string()]),
        }
    );
    let recording = record::start(options.record.as_ref(), &place);
    let mut session = Session::new(place, lang, Manner::Terminal, Handle::current());
    session.tape = options.record;
    session.end.signals = Some(heard);
    let in_pane = options.in_pane.is_some();
    session.frame = options.in_pane;
    if let Some(swept) = beside::sweep(&session.place, lang).await {
        println!("{swept}");
    }
    let first = First { drill: options.drill, lesson: options.lesson, sure: options.sure, lab: options.lab };
    let (column, end_news) = (session.column.clone(), session.end_news());
    let conversation = tokio::task::spawn_blocking(move || run_prompt(session, first));
    let (result, lang, by_signal) = tokio::select! {
        done = conversation => match done {
            Ok(Ok((code, lang, by_signal))) => (Ok(code), lang, by_signal),
            Ok(Err(error)) => (Err(error), lang, false),
            Err(_) => (Err(Error::Panicked), lang, false),
        },
        code = end.recv() => (Ok(code), lang, true),
    };
    let is_gone = terminal::is_gone();
    let result = outcome(result, by_signal, is_gone);
    end_news();
    record::finish(recording).await;
    // Then no farewell is printed and no question asked: the terminal may be gone.
    let signalled = by_signal || is_gone;
    if column.full_screen() {
        terminal::leave_full_screen();
    }
    connection.leave(lang, !in_pane && !signalled).await;
    result
}

/// The result of a session. A window that was closed ends it as SIGHUP does, also if the thread of
/// the prompt notices that before the signal comes, or panics because it prints there.
fn outcome(result: Result<i32, Error>, by_signal: bool, is_gone: bool) -> Result<i32, Error> {
    match result {
        Ok(code) if by_signal => Ok(code),
        _ if is_gone => Ok(HUNG_UP),
        result => result,
    }
}

/// Waits for Ctrl-C, or for a signal that ends the session: then it returns the exit code.
async fn await_signal(interrupt: &mut Signal, end: &mut EndSignals) -> Option<i32> {
    tokio::select! {
        code = end.recv() => Some(code),
        _ = interrupt.recv() => None,
    }
}

/// The terminal interface: the cluster is started, or joined, and its start watched from inside.
async fn in_interface(options: Options, home: Home) -> Result<i32, Error> {
    let place = options.place(&home)?;
    let lang = language(&options, &home);
    let connection = connection::open(&options, place.clone(), lang).await?;
    let first = tui::first(options.lesson, options.lab);
    let setting = tui::Setting { place, lang, ascii: options.ascii || charset::ascii_only(), first };
    // A task of its own: its panic is an error here, and the cluster is ended all the same.
    let mut task = JoinSet::new();
    task.spawn(tui::run(setting));
    let closed = match task.join_next().await {
        Some(Ok(closed)) => closed.map_err(Error::Interface),
        Some(Err(_)) | None => Err(Error::Panicked),
    };
    let lang = closed.as_ref().map_or(lang, |closed| closed.lang); // it may have been changed
    // As in a session in lines: there may be no one to read a farewell.
    let by_signal = closed.as_ref().is_ok_and(|closed| closed.by_signal) || terminal::is_gone();
    connection.leave(lang, !by_signal).await;
    closed.map(|closed| closed.code)
}

/// What a session begins with.
struct First {
    drill: Option<Drill>,
    lesson: Option<String>,
    sure: bool,
    lab: Option<(String, Option<u64>)>,
}

/// Reads and runs lines, on a thread of its own: the editor and the shell block. Returns the exit
/// code, the language that is spoken by then, and whether a signal ended the session: `exit 130`
/// has the code of one, and is none.
fn run_prompt(mut session: Session, first: First) -> Result<(i32, Lang, bool), Error> {
    let handle = Handle::current();
    let names = Arc::new(Names::new(handle.clone(), session.config.clone()));
    let mut prompt = Prompt::new(&session, names)?;
    match prompt.printer() {
        // A terminal that is gone hears nothing, and without a thread there are no news.
        Some(mut printer) => {
            // Behind the editor's look at the settings, which Ctrl-Z gives back.
            session.unedited = Unedited::enter().ok();
            drop(session.print_news_on_a_thread(move |words| drop(printer.print(printable(words)))))
        }
        // On a dumb terminal: behind the prompt that stands there.
        None => session.print_news_with(|words| print!("\n{words}")),
    }
    session.watch();
    session.watch_lesson();
    session.watch_drill();
    // After the editor, which replaces the handler of this signal with its own; ours calls it in
    // turn.
    let resizer = session.resizer.clone();
    let mut resized = {
        let _inside = handle.enter();
        tokio::signal::unix::signal(SignalKind::window_change()).map_err(Error::Signals)?
    };
    handle.spawn(async move {
        while resized.recv().await.is_some() {
            if let Some(resizer) = &*resizer.lock() {
                resizer.resize();
            }
        }
    });
    let _ = session.start_shell(); // an error is shown when a line needs the shell
    if let Some(drill) = first.drill {
        let code = session.begin_drill(drill);
        if code != 0 {
            return Ok((code, session.lang(), false));
        }
    }
    // What is wrong is said, and the session goes on.
    if let Some(id) = first.lesson {
        session.open_lesson(id, first.sure);
    }
    if let Some((id, seed)) = first.lab {
        session.start_lab(&id, seed);
    }
    let code = editor::run_lines(&mut session, &mut prompt);
    Ok((code, session.lang(), session.is_ended()))
}

/// Returns the language of a session at a terminal: the one asked for, else that of the session
/// whose shell runs this one (for a lesson on a cluster of its own), else the saved one. Where none
/// is known and there is a choice, the learner is asked.
fn language(options: &Options, home: &Home) -> Lang {
    let asked = options.lang.map(|lang| charset::presentable(lang, true));
    match asked.or_else(settings::of_repl).or_else(|| settings::saved(home)) {
        Some(lang) => lang,
        None if charset::ascii_only() => Lang::En,
        None => ask_language(home),
    }
}

/// Asks for the language, once. Enter alone, or an answer that names none, chooses that of the
/// environment, which is kept like every choice. The end of the input keeps nothing: the next
/// session asks again.
fn ask_language(home: &Home) -> Lang {
    let usual = settings::from_environment();
    let number = if usual == Lang::Ko { "2" } else { "1" };
    print!("{}", usual.say(Say::ChooseLanguage, &[number]));
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(0) | Err(_) => return usual,
        Ok(_) => {}
    }
    let lang = Lang::parse(&answer).unwrap_or(usual);
    let _ = settings::save(home, lang); // else it is asked again
    lang
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set in the process that gets the signals: one reaches all of a process.
    const INSIDE: &str = "ROPEWALK_TEST_START_SIGNALS";

    /// Not a test of its own: what the one below runs in a process.
    #[tokio::test]
    async fn gets_signals_while_the_cluster_starts() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        use nix::sys::signal::{Signal, raise};
        linux::signal::reset().unwrap(); // the tests may run under nohup
        let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt()).unwrap();
        let mut end = EndSignals::new(EndSignals::LINES).unwrap();
        for (kind, code) in
            [(Signal::SIGINT, None), (Signal::SIGTERM, Some(143)), (Signal::SIGHUP, Some(129))]
        {
            raise(kind).unwrap();
            assert_eq!(await_signal(&mut interrupt, &mut end).await, code);
        }
    }

    /// Not a test of its own: what the one below runs in a process, whose environment names Korean.
    #[test]
    fn speaks_the_language_of_the_session_around_it() {
        if std::env::var_os(settings::LANG_VARIABLE).is_none() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        settings::save(&home, Lang::En).unwrap();
        assert_eq!(language(&Options::default(), &home), Lang::Ko);
        let asked = Options { lang: Some(Lang::En), ..Options::default() };
        assert_eq!(language(&asked, &home), Lang::En, "`--lang` comes first");
    }

    /// `--plain --lang ko` beside a saved `en`: a lesson with a cluster of its own begins a session
    /// in this session's shell.
    #[test]
    fn a_session_beside_another_one_speaks_its_language() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "repl::tests::speaks_the_language_of_the_session_around_it"]);
        let ran = command.env(settings::LANG_VARIABLE, "ko").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    fn a_closed_window_ends_the_session_as_its_signal_does() {
        let code = |result, by_signal, is_gone| outcome(result, by_signal, is_gone).ok();
        assert_eq!(code(Ok(0), false, true), Some(HUNG_UP));
        assert_eq!(code(Err(Error::Panicked), false, true), Some(HUNG_UP));
        assert_eq!(code(Ok(143), true, true), Some(143));
        assert_eq!(code(Ok(143), false, true), Some(HUNG_UP), "`exit 143`, and the window is closed");
        assert_eq!((code(Ok(3), false, false), code(Ok(130), false, false)), (Some(3), Some(130)));
        assert_eq!(code(Err(Error::Panicked), false, false), None);
    }

    #[test]
    fn a_signal_ends_the_session_also_while_the_cluster_starts() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "repl::tests::gets_signals_while_the_cluster_starts"]);
        let ran = command.env(INSIDE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    }
}
