//! The session's words of lessons.

use super::{CUT, Flow, Given, Lines, Manner, Session};
use crate::cluster::Error;
use crate::cluster::undo::Loss;
use crate::lab::graded::view::{Ask as LabAsk, LabView};
use crate::lab::view::{Ask, Entry, LessonView, Solution, State};
use crate::lang::charset::{eprintln, print, println};
use crate::ui::lesson::{self, Paper};
use crate::ui::terminal;
use crate::ui::texts::Say;
use crate::ui::{consent, labs};
use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::Duration;

/// Why there is no answer.
pub(super) enum Unanswered {
    /// Ctrl-C: whoever asked does not wait any longer.
    Cut,
    Refused(Error),
}

/// Ctrl-C came before the line was run.
#[derive(Debug)]
pub(super) struct Interrupted;

/// A busy engine is waited for so long before a line runs that has nothing to do with the cluster. It answers within milliseconds unless it plays a
/// lesson's setup, or takes up the open lesson when a session begins.
const HEARD_MAX: Duration = Duration::from_millis(500);
/// Any other line: a setup takes less, and who hangs for longer must not keep `down` from being run.
const BUSY_MAX: Duration = Duration::from_secs(60);

impl Session {
    /// Waits for an answer, until Ctrl-C.
    fn await_answer<T>(&mut self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Unanswered> {
        let interrupt = &mut self.interrupt;
        let cut = async {
            match interrupt {
                Some(interrupt) => drop(interrupt.recv().await),
                None => std::future::pending().await,
            }
        };
        let answer = self.handle.block_on(async {
            tokio::select! {
                answer = answer => answer.map_err(Unanswered::Refused),
                () = cut => Err(Unanswered::Cut),
            }
        });
        self.cut |= matches!(answer, Err(Unanswered::Cut));
        answer
    }

    /// Tells the engine what the learner does, and waits until it has heard: lessons judge in this order, and on another's cluster nothing may
    /// be changed before the lesson is open. `aside`: the line has nothing to do with the cluster. A busy engine holds that up for
    /// [`HEARD_MAX`] at most, others for [`BUSY_MAX`], and hears of it later.
    ///
    /// # Errors
    /// Ctrl-C while it waited.
    pub(super) fn announce(&mut self, ask: Ask, aside: bool) -> Result<(), Interrupted> {
        let (place, lang, mut before) = (self.place.clone(), self.lang(), self.announced.take());
        let mut telling = self.handle.spawn(async move {
            if let Some(before) = &mut before {
                let _ = before.await; // what was told before comes first
            }
            let _ = lesson::ask(&place, lang, ask).await; // without lessons nobody listens
        });
        let heard = self.await_answer(async {
            let limit = if aside { HEARD_MAX } else { BUSY_MAX };
            let _ = tokio::time::timeout(limit, &mut telling).await;
            Ok(())
        });
        if !telling.is_finished() {
            self.announced = Some(telling);
        }
        match heard {
            Err(Unanswered::Cut) => Err(Interrupted),
            _ => Ok(()),
        }
    }

    pub(super) fn ask(&mut self, ask: Ask) -> Result<serde_json::Value, Unanswered> {
        let (place, lang, told) = (self.place.clone(), self.lang(), self.announced.take());
        self.await_answer(async {
            if let Some(told) = told {
                let _ = told.await; // the answer is about what came before, too
            }
            lesson::ask(&place, lang, ask).await
        })
    }

    /// Says why there is no answer; the exit code.
    fn unanswered(&self, why: &Unanswered) -> i32 {
        match why {
            Unanswered::Cut => {
                self.column.saw(b"^C"); // which the terminal has shown
                CUT
            }
            Unanswered::Refused(error) => {
                self.complain(&error.say(self.lang()), None, None);
                1
            }
        }
    }

    fn paper(&self) -> Paper {
        let terminal = self.manner == Manner::Terminal;
        let width = if terminal { width() } else { Paper::WIDEST };
        let colour = terminal && terminal::colours();
        Paper { lang: self.lang(), width, colour, beside: self.frame.is_some() }
    }

    /// Returns whether the open step waits for the answer to its question. An engine that is busy for longer than [`BUSY_MAX`]
    /// does not count as waiting.
    ///
    /// # Errors
    /// Ctrl-C while it waited.
    pub(super) fn waits_for_letter(&mut self) -> Result<bool, Interrupted> {
        let (place, lang, told) = (self.place.clone(), self.lang(), self.announced.take());
        let asked = async move {
            if let Some(told) = told {
                let _ = told.await; // the answer is about what came before, too
            }
            lesson::view(&place, lang, Ask::Show).await
        };
        let view = match self.await_answer(async { Ok(tokio::time::timeout(BUSY_MAX, asked).await) }) {
            Err(why @ Unanswered::Cut) => {
                self.unanswered(&why);
                return Err(Interrupted);
            }
            Ok(Ok(Ok(view))) => Some(view),
            Ok(_) | Err(Unanswered::Refused(_)) => None,
        };
        Ok(view.is_some_and(|v| v.state == State::Open && v.predict.is_some_and(|p| p.chosen.is_none())))
    }

    /// Asks the engine and prints what `part` makes of its view.
    pub(super) fn shown(&mut self, ask: Ask, part: impl FnOnce(&Paper, &LessonView) -> String) -> i32 {
        if !self.alive() {
            return 1;
        }
        let view = self.ask(ask).and_then(|value| {
            serde_json::from_value(value).map_err(|e| Unanswered::Refused(Error::Control(e.to_string())))
        });
        match view {
            Ok(view) => {
                print!("{}", part(&self.paper(), &view));
                0
            }
            Err(why) => self.unanswered(&why),
        }
    }

    /// A word of lessons.
    pub(super) fn lesson(&mut self, words: &[String], lines: &mut dyn Lines) -> i32 {
        if words.iter().skip(1).any(|w| matches!(w.as_str(), "--help" | "-h"))
            && let Some(text) = words.first().and_then(|word| help(word))
        {
            println!("{}", self.say(text, &[]));
            return 0;
        }
        let is_yes = |w: &&String| matches!(w.as_str(), "--yes" | "-y");
        let sure = words.iter().any(|w| is_yes(&w));
        let argument = words.iter().skip(1).find(|w| !is_yes(w)).cloned();
        match (words.first().map(String::as_str).unwrap_or_default(), argument) {
            ("next", _) => self.dear(Ask::Next, sure),
            ("back", _) => self.shown(Ask::Back, Paper::page),
            ("goto", Some(step)) => self.dear(Ask::Goto { step }, sure),
            ("goto", None) => {
                println!("{}", self.say(Say::HelpGoto, &[]));
                2
            }
            ("debrief", step) => self.debrief(step),
            ("hint", _) => self.shown(Ask::Hint, Paper::hint),
            ("check", id) => {
                let over = |view: &LessonView| matches!(view.state, State::Done | State::Solved);
                // At a terminal the one who watches says it when a step is done.
                let mut watched = false;
                if self.manner == Manner::Terminal && id.is_none() {
                    watched = match self.ask(Ask::Show) {
                        Ok(view) => serde_json::from_value(view).is_ok_and(|view| !over(&view)),
                        Err(why) => return self.unanswered(&why),
                    };
                }
                let mut green = false;
                let code = self.shown(Ask::Check { id }, |paper, view| {
                    green = over(view);
                    if green && watched { String::new() } else { paper.verdict(view) }
                });
                if code == 0 && !green { 1 } else { code }
            }
            ("lesson", Some(id)) => self.dear(Ask::Open { id }, sure),
            ("lesson", None) => self.lessons(),
            ("solve", id) => self.solve(id, lines),
            _ => self.shown(Ask::Show, Paper::page),
        }
    }

    /// A question whose answer may cost something that the learner made: that is listed first, and the learner is asked.
    fn dear(&mut self, ask: Ask, sure: bool) -> i32 {
        if !self.alive() {
            return 1;
        }
        if !sure {
            let cost = match self.ask(Ask::Cost { of: Box::new(ask.clone()) }) {
                Ok(cost) => serde_json::from_value::<Vec<Loss>>(cost).unwrap_or_default(),
                Err(why) => return self.unanswered(&why),
            };
            if !cost.is_empty() {
                let head =
                    if matches!(ask, Ask::Open { .. } | Ask::Next) { Say::LossSetup } else { Say::LossHead };
                println!("{}", self.say(head, &[]));
                print!("{}", consent::list(self.lang(), &cost));
                if self.manner != Manner::Terminal {
                    self.complain(&self.say(Say::LossRefused, &[]), None, Some(&self.say(Say::LossTry, &[])));
                    return 1;
                }
                match self.agrees() {
                    Ok(true) => {}
                    Ok(false) => return 1,
                    Err(why) => return self.unanswered(&why),
                }
            }
        }
        self.shown(Ask::Sure { ask: Box::new(ask) }, Paper::page)
    }

    /// Asks whether the loss is meant. Ctrl-C is no.
    fn agrees(&mut self) -> Result<bool, Unanswered> {
        consent::put_question(self.lang());
        let answered = self.await_answer(async {
            let _ = terminal::input_ready().await; // what cannot be waited for is read at once
            Ok(())
        });
        if let Err(why) = answered {
            eprintln!();
            consent::decline(self.lang());
            return Err(why);
        }
        Ok(consent::take_answer(self.lang()))
    }

    /// What happened in a step that is done, once more.
    fn debrief(&mut self, step: Option<String>) -> i32 {
        if !self.alive() {
            return 1;
        }
        match self.ask(Ask::Debrief { step }) {
            Ok(told) => {
                let told: Vec<String> = serde_json::from_value(told).unwrap_or_default();
                if told.is_empty() {
                    self.complain(&self.say(Say::LessonDebriefNone, &[]), None, None);
                    return 1;
                }
                print!("{}", self.paper().told(&told));
                0
            }
            Err(why) => self.unanswered(&why),
        }
    }

    fn lessons(&mut self) -> i32 {
        if !self.alive() {
            return 1;
        }
        let open = self
            .ask(Ask::Show)
            .ok()
            .and_then(|v| serde_json::from_value::<LessonView>(v).ok())
            .unwrap_or_default();
        match self.ask(Ask::List) {
            Ok(list) => {
                let entries: Vec<Entry> = serde_json::from_value(list).unwrap_or_default();
                print!("{}", self.paper().list(&entries, &open.id));
                0
            }
            Err(why) => self.unanswered(&why),
        }
    }

    /// Plays the step's solution, as the learner, line by line.
    fn solve(&mut self, id: Option<String>, lines: &mut dyn Lines) -> i32 {
        if !self.alive() {
            return 1;
        }
        if id.is_none() {
            let place = self.place.clone();
            let lab = self.await_answer(labs::asked::<LabView>(&place, self.lang(), LabAsk::Show));
            match lab {
                Ok(lab) if !lab.id.is_empty() && !lab.over && lab.left_s > 0 => {
                    let tip = self.say(Say::SolveLabTry, &[]);
                    self.complain(&self.say(Say::SolveLab, &[]), None, Some(&tip));
                    return 1;
                }
                Err(why @ Unanswered::Cut) => return self.unanswered(&why),
                // A foreign cluster has no lab desk, which refuses with words of its own. The cluster's end and a
                // damaged answer say nothing about the lab: then nothing is solved.
                Err(
                    why @ Unanswered::Refused(Error::NotRunning(_) | Error::Hangs { .. } | Error::Control(_)),
                ) => {
                    return self.unanswered(&why);
                }
                Ok(_) | Err(Unanswered::Refused(_)) => {}
            }
        }
        let solution = match self.ask(Ask::Solve { id }) {
            Ok(value) => serde_json::from_value::<Solution>(value).unwrap_or_default(),
            Err(why) => return self.unanswered(&why),
        };
        let mut played = Played { rest: solution.lines.into(), under: lines };
        while let Some(line) = played.rest.pop_front() {
            println!("{}", self.say(Say::LessonPlays, &[&line]));
            if let Flow::Leave(code) = self.run(&line, &mut played) {
                return code;
            }
            if self.last == CUT {
                break; // the rest of a solution that was cut off is not played
            }
        }
        let _ = self.ask(Ask::Solved); // else the learner's next acts count as the solution's
        if self.last == CUT {
            return CUT;
        }
        let place = self.place.clone();
        match self.await_answer(lesson::until_green(&place, self.lang())) {
            Ok(Some(view)) => {
                // At a terminal the one who watches says it.
                if self.manner != Manner::Terminal {
                    print!("{}", self.paper().over(&view));
                }
                0
            }
            Ok(None) => {
                self.complain(&self.say(Say::LessonStuck, &[]), None, None);
                1
            }
            Err(why) => self.unanswered(&why),
        }
    }

    /// Says what the engine finds out by itself, until the cluster ends.
    pub fn watch_lesson(&self) {
        let (place, lang, paper) = (self.place.clone(), self.lang.clone(), self.paper());
        let news = self.news.clone();
        self.handle.spawn(async move {
            // What was known before a change of language stays known: the first view in the other one may have news.
            let mut known: Option<LessonView> = None;
            loop {
                let now = || *lang.lock().unwrap_or_else(PoisonError::into_inner);
                let spoken = now();
                let Ok((mut control, first)) = lesson::follow(&place, spoken).await else { return };
                let mut next = Some(first);
                while let Some(view) = next {
                    if now() != spoken {
                        break; // follow again in the other language
                    }
                    // The window may be narrower than it was.
                    let paper = Paper { lang: spoken, width: width(), ..paper };
                    if let Some(words) = known.as_ref().and_then(|known| lesson::news(&paper, known, &view)) {
                        news.tell(words);
                    }
                    known = Some(view);
                    let value = control.next().await.ok().flatten();
                    next = value.map(|value| serde_json::from_value(value).unwrap_or_default());
                }
                if now() == spoken {
                    return; // the cluster has ended
                }
            }
        });
    }
}

/// What a word of lessons does.
pub(super) fn help(word: &str) -> Option<Say> {
    Some(match word {
        "next" => Say::HelpNext,
        "back" => Say::HelpBack,
        "goto" => Say::HelpGoto,
        "hint" => Say::HelpHint,
        "check" => Say::HelpCheck,
        "lesson" => Say::HelpLesson,
        "solve" => Say::HelpSolve,
        "debrief" => Say::HelpDebrief,
        _ => return None,
    })
}

/// Of a line on the learner's terminal, as wide as is pleasant to read.
fn width() -> usize {
    usize::from(terminal::size().0).min(Paper::WIDEST)
}

/// Lines of a solution, before those of whoever types.
struct Played<'a> {
    rest: VecDeque<String>,
    under: &'a mut dyn Lines,
}

impl Lines for Played<'_> {
    fn more(&mut self) -> Given {
        match self.rest.pop_front() {
            Some(line) => Given::Text(line),
            None => self.under.more(),
        }
    }
    fn give_back(&mut self, text: String) {
        self.under.give_back(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Home, Place};
    use crate::ui::script::Script;
    use crate::ui::texts::Lang;
    use std::process::Command;
    use std::time::Instant;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixListener;
    use tokio::runtime::Runtime;

    /// Set in the process that is interrupted: a signal reaches all of a process.
    const INSIDE: &str = "ROPEWALK_TEST_INTERRUPTED";

    fn session_at(runtime: &Runtime, place: Place) -> Session {
        let _inside = runtime.enter();
        Session::new(place, Lang::En, Manner::Terminal, runtime.handle().clone())
    }

    /// Runs a test of this module in a process of its own.
    fn in_a_process(test: &str) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("ui::session::lessons::tests::{test}")]);
        let ran = command.env(INSIDE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    }

    /// A cluster whose lesson engine takes questions, passes them to `asked`, and answers none.
    fn busy(runtime: &Runtime, place: &Place, asked: tokio::sync::mpsc::UnboundedSender<String>) {
        std::fs::create_dir_all(&place.root).unwrap();
        let _inside = runtime.enter();
        let listener = UnixListener::bind(place.socket()).unwrap();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let asked = asked.clone();
                tokio::spawn(async move {
                    let (read, mut write) = stream.into_split();
                    let mut lines = BufReader::new(read).lines();
                    while let Ok(Some(line)) = lines.next_line().await {
                        if line.contains("hello") {
                            write.write_all(b"{\"ok\":null}\n").await.unwrap();
                        } else {
                            let _ = asked.send(line); // the test may have ended
                        }
                    }
                });
            }
        });
    }

    /// A cluster that tells each follower the next of these lists of views.
    fn tells(runtime: &Runtime, place: &Place, views: Vec<Vec<LessonView>>) {
        std::fs::create_dir_all(&place.root).unwrap();
        let _inside = runtime.enter();
        let listener = UnixListener::bind(place.socket()).unwrap();
        runtime.spawn(async move {
            let mut open = Vec::new();
            for views in views {
                let (read, mut write) = listener.accept().await.unwrap().0.into_split();
                let mut lines = BufReader::new(read).lines();
                lines.next_line().await.unwrap(); // the greeting
                write.write_all(b"{\"ok\":null}\n").await.unwrap();
                lines.next_line().await.unwrap(); // the question
                for view in views {
                    let told = serde_json::json!({ "ok": view });
                    write.write_all(format!("{told}\n").as_bytes()).await.unwrap();
                }
                open.push((lines, write));
            }
            std::future::pending::<()>().await;
        });
    }

    #[test]
    fn a_change_of_language_loses_no_news() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let view =
            |state| LessonView { id: "t/04".into(), step_id: "run".into(), state, ..LessonView::default() };
        let open = view(State::Open);
        let failed = LessonView { not_yet: Some("no pod".into()), ..open.clone() };
        tells(&runtime, &place, vec![vec![open, failed.clone(), failed], vec![view(State::Done)]]);
        let session = {
            let _inside = runtime.enter();
            Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone())
        };
        let (tell, told) = std::sync::mpsc::channel();
        // At the first news the learner changes the language: the view behind it makes the watcher ask anew.
        let lang = session.lang.clone();
        session.speak_through(move |words| {
            *lang.lock().unwrap() = Lang::Ko;
            drop(tell.send(words));
        });
        session.watch_lesson();
        for news in ["the step is not done yet", "the step is done"] {
            told.recv_timeout(Duration::from_secs(60)).expect(news);
        }
    }

    /// Not a test of its own: runs in a process that the test below starts.
    #[test]
    fn interrupted_while_the_lab_desk_is_busy() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let (asked, mut questions) = tokio::sync::mpsc::unbounded_channel();
        busy(&runtime, &place, asked);
        let mut session = session_at(&runtime, place);
        let interrupt = || nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            while let Some(question) = questions.recv().await {
                if question.contains("solve") {
                    tell.send(question).unwrap();
                    interrupt(); // the engine never answers
                }
            }
        });
        interrupt();
        session.run("solve", &mut Script::of([]));
        assert_eq!(session.last(), CUT);
        assert!(told.try_recv().is_err(), "the engine was asked for the solution");
    }

    #[test]
    fn ctrl_c_cancels_solve_before_the_solution_is_played() {
        in_a_process("interrupted_while_the_lab_desk_is_busy");
    }

    /// Not a test of its own: runs in a process that the test below starts, with an input where no answer comes.
    #[test]
    fn interrupted_at_the_question_about_a_loss() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let mut session = session_at(&runtime, Home::at(dir.path()).cluster("main").unwrap());
        let why = session.agrees().expect_err("Ctrl-C is no answer");
        std::eprintln!("<{}>", session.unanswered(&why));
    }

    #[test]
    fn ctrl_c_at_the_question_about_a_loss_is_no() {
        use std::io::Read;
        use std::process::Stdio;
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "ui::session::lessons::tests::interrupted_at_the_question_about_a_loss"]);
        command.arg("--nocapture").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut asks = command.env(INSIDE, "1").spawn().unwrap();
        let mut stderr = asks.stderr.take().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 256];
            while let Ok(n @ 1..) = stderr.read(&mut bytes)
                && tell.send(String::from_utf8_lossy(&bytes[..n]).into_owned()).is_ok()
            {}
        });
        let (mut said, mut interrupted) = (String::new(), false);
        while let Ok(more) = told.recv_timeout(Duration::from_secs(60)) {
            said.push_str(&more);
            if said.contains("[y/N]") && !std::mem::replace(&mut interrupted, true) {
                let pid = nix::unistd::Pid::from_raw(asks.id() as i32);
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
            }
        }
        let _ = asks.kill(); // one that still waits for the answer
        asks.wait().unwrap();
        assert!(said.contains(&format!("<{CUT}>")), "{said}");
    }

    /// Not a test of its own: what the one below runs in a process.
    #[test]
    fn interrupted_in_front_of_a_busy_engine() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main").unwrap();
        busy(&runtime, &place, tokio::sync::mpsc::unbounded_channel().0);
        let mut session = session_at(&runtime, place);
        let mut lines = Script::of([]);
        let began = Instant::now();
        session.announce(Ask::Typed { line: "echo".into() }, true).expect("nobody has interrupted");
        assert!(began.elapsed() >= HEARD_MAX && session.announced.is_some(), "the engine was given a moment");
        nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGINT).unwrap();
        session.run("exit-is-no-such-program; get pods", &mut lines);
        assert_eq!(session.last(), CUT);
        assert!(session.shell.is_none(), "nothing was started for it");
        session.last = 0;
        nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGINT).unwrap();
        session.run("a", &mut lines);
        assert_eq!(session.last(), CUT, "an answer to a question, or a program's name");
        assert!(session.shell.is_none(), "nothing was started for it");
    }

    #[test]
    fn ctrl_c_while_the_engine_is_busy_keeps_the_line_from_running() {
        in_a_process("interrupted_in_front_of_a_busy_engine");
    }
}
