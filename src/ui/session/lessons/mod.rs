//! Runs the words of lessons, and asks the lesson engine.

use super::help;
use super::{INTERRUPTED, Manner, Session};
use crate::consent;
use crate::lesson::{self, PageStyle};
use crate::lesson_files;
use crate::terminal::{self, Unedited};
use crate::texts::Say;
use cluster::Error;
use cluster::undo::Loss;
use lab::view::{Ask, Entry, LessonView, State};
use lang::charset::{eprintln, print, println};
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

mod check;
mod hint;
mod solve;
mod watch;

/// Returns the question behind a word of `lesson` that plays the open one again, from its first
/// step.
fn plays_again(word: &str) -> Option<Ask> {
    matches!(word, "again" | "restart").then(|| Ask::Goto { step: "1".into() })
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// Ctrl-C: the learner does not wait any longer.
    Cut,
    Refused(Error),
}

/// Ctrl-C came before the line was run.
#[derive(Debug)]
pub(super) struct Interrupted;

/// How long a busy engine is waited for before a line runs that has nothing to do with the cluster.
/// It answers within milliseconds unless it plays a lesson's setup, or takes up the open lesson
/// when a session begins.
const HEARD_MAX: Duration = Duration::from_millis(500);
/// How long a busy engine is waited for before any other line runs. A setup takes less; an engine
/// that hangs for longer must not keep `down` from being run.
const BUSY_MAX: Duration = Duration::from_secs(60);

/// Pause before the lesson is followed again after an error of the engine: the first, and the
/// longest. Each is twice as long as the one before.
pub(super) const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Waits until the engine has taken a message of an earlier line, if there is one. Where this wait
/// is given up, the message goes on, and its handle stays with the caller.
async fn await_taken(message: &mut Option<JoinHandle<()>>) {
    if let Some(message) = message {
        let _ = message.await; // an error: the session ends
    }
}

impl Session {
    /// Waits for an answer, until Ctrl-C.
    pub(super) fn await_answer<T>(
        &mut self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Unanswered> {
        let interrupt = &mut self.cutoff.signal;
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
        if matches!(answer, Err(Unanswered::Cut)) {
            self.cutoff.pressed = true;
            terminal::show_interrupt(&self.column);
        }
        answer
    }

    /// Tells the engine what the learner does, and waits for its answer: lessons judge in this
    /// order, and on a foreign cluster nothing may be changed before the lesson is open. `aside`:
    /// the line has nothing to do with the cluster. A busy engine holds that up for [`HEARD_MAX`]
    /// at most, others for [`BUSY_MAX`], and hears of it later: then its answer is not waited for.
    ///
    /// # Errors
    /// Ctrl-C while it waited.
    pub(super) fn announce(&mut self, ask: Ask, aside: bool) -> Result<Option<Value>, Interrupted> {
        let (place, lang, mut before) = (self.place.clone(), self.lang(), self.engine.announced.take());
        let answer: Arc<Mutex<Option<Value>>> = Arc::default();
        let answered = answer.clone();
        let mut telling = self.handle.spawn(async move {
            await_taken(&mut before).await; // in the order of the lines
            let told = lesson::ask(&place, lang, ask).await.ok(); // there may be no lessons here
            *answered.lock() = told;
        });
        let heard = self.await_answer(async {
            let limit = if aside { HEARD_MAX } else { BUSY_MAX };
            let _ = clock::timeout(limit, &mut telling).await; // it goes on, see `announced`
            Ok(())
        });
        if !telling.is_finished() {
            self.engine.announced = Some(telling);
        }
        match heard {
            Err(Unanswered::Cut) => Err(Interrupted),
            _ => Ok(answer.lock().take()),
        }
    }

    /// Asks the lesson engine, behind the news of earlier lines, and waits for its answer. Ctrl-C
    /// ends the wait, and the lines that the engine plays for the question. The news stay on their
    /// way: the next line waits for them.
    ///
    /// # Errors
    /// Ctrl-C, or the engine refuses or does not answer.
    pub(super) fn ask(&mut self, ask: Ask) -> Result<serde_json::Value, Unanswered> {
        let (place, lang, mut before) = (self.place.clone(), self.lang(), self.engine.announced.take());
        let id = question_id();
        let own = id.clone();
        let answer = self.await_answer(async {
            await_taken(&mut before).await; // the answer is about what came before, too
            lesson::ask_as(own, &place, lang, ask).await
        });
        self.engine.announced = before.filter(|before| !before.is_finished());
        if matches!(answer, Err(Unanswered::Cut)) {
            self.take_back(id);
        }
        answer
    }

    /// Takes a question back that Ctrl-C has cut off: if the engine plays lines for it, they end.
    fn take_back(&mut self, id: String) {
        let (place, lang) = (self.place.clone(), self.lang());
        let stop = lesson::ask(&place, lang, Ask::Stop { question: Some(id) });
        let said = self.handle.block_on(async { clock::timeout(HEARD_MAX, stop).await });
        self.engine.stop_message = said.and_then(Result::ok).and_then(|said| said.as_str().map(String::from));
    }

    /// Runs `lesson stop`, which ends the lines that the engine plays, also those of another
    /// session.
    fn stop_played_lines(&mut self) -> i32 {
        if !self.check_alive() {
            return 1;
        }
        match self.ask(Ask::Stop { question: None }) {
            Ok(said) => {
                println!("{}", said.as_str().unwrap_or_default());
                0
            }
            Err(why) => self.unanswered(&why),
        }
    }

    /// Prints why there is no answer, and returns the exit code.
    pub(super) fn unanswered(&mut self, why: &Unanswered) -> i32 {
        match why {
            Unanswered::Cut => {
                if let Some(said) = self.engine.stop_message.take() {
                    self.column.take_inside(); // the sentence has lines of its own
                    println!("\n{said}");
                }
                INTERRUPTED
            }
            Unanswered::Refused(error) => {
                self.complain(&error.say(self.lang()), None, None);
                1
            }
        }
    }

    /// Returns how text is laid out for this session, now.
    pub(super) fn style(&self) -> PageStyle {
        let terminal = self.manner == Manner::Terminal;
        let width = if terminal { width() } else { PageStyle::WIDEST };
        let colour = terminal && terminal::colours();
        PageStyle { lang: self.lang(), width, colour, beside: self.frame.is_some() }
    }

    /// Returns whether the open step waits for the answer to its question. An engine that is busy
    /// for longer than [`BUSY_MAX`] does not count as waiting.
    ///
    /// # Errors
    /// Ctrl-C while it waited.
    pub(super) fn waits_for_letter(&mut self) -> Result<bool, Interrupted> {
        let (place, lang, mut before) = (self.place.clone(), self.lang(), self.engine.announced.take());
        let asked = async {
            await_taken(&mut before).await; // the answer is about what came before, too
            lesson::view(&place, lang, Ask::Show).await
        };
        let answer = self.await_answer(async { Ok(clock::timeout(BUSY_MAX, asked).await) });
        self.engine.announced = before.filter(|before| !before.is_finished());
        let view = match answer {
            Err(why @ Unanswered::Cut) => {
                self.unanswered(&why);
                return Err(Interrupted);
            }
            Ok(Some(Ok(view))) => Some(view),
            Ok(_) | Err(Unanswered::Refused(_)) => None,
        };
        Ok(view.is_some_and(|v| v.state == State::Open && v.predict.is_some_and(|p| p.chosen.is_none())))
    }

    /// Asks the engine, prints what `part` makes of its view, and returns the exit code.
    pub(super) fn ask_and_print(
        &mut self,
        ask: Ask,
        part: impl FnOnce(&PageStyle, &LessonView) -> String,
    ) -> i32 {
        if !self.check_alive() {
            return 1;
        }
        let opens = opens(&ask);
        let view = self.ask(ask).and_then(|value| {
            serde_json::from_value(value).map_err(|e| Unanswered::Refused(Error::Control(e.to_string())))
        });
        match view {
            Ok(view) => {
                print!("{}", part(&self.style(), &view));
                if opens && let Ok(folder) = std::env::current_dir() {
                    print!("{}", lesson_files::place_all(self.lang(), &view.files, &folder, true));
                }
                0
            }
            Err(why) => self.unanswered(&why),
        }
    }

    /// Runs a word of lessons, and returns its exit code.
    pub(super) fn run_lesson_word(&mut self, words: &[String]) -> i32 {
        if words.iter().skip(1).any(|w| matches!(w.as_str(), "--help" | "-h"))
            && let Some(text) = words.first().and_then(|word| help::of_lessons(word))
        {
            println!("{}", self.say(text, &[]));
            return 0;
        }
        let is_yes = |w: &&String| matches!(w.as_str(), "--yes" | "-y");
        let sure = words.iter().any(|w| is_yes(&w));
        let mut given = words.iter().skip(1).filter(|w| !is_yes(w)).cloned();
        let word = words.first().map(String::as_str).unwrap_or_default();
        let argument = if matches!(word, "next" | "back" | "hint") { None } else { given.next() };
        if let Some(other) = given.next() {
            self.complain(&self.say(Say::UsageUnknown, &[word, &other]), None, None);
            return 2;
        }
        match (word, argument) {
            ("next", _) => self.go_on(sure),
            ("back", _) => self.ask_and_print(Ask::Back, PageStyle::page),
            ("goto", Some(step)) => self.ask_with_consent(Ask::Goto { step }, sure),
            ("goto", None) => {
                println!("{}", self.say(Say::HelpGoto, &[]));
                2
            }
            ("debrief", step) => self.print_debrief(step),
            ("hint", _) => self.lesson_hint(),
            ("check", id) => self.check_lesson(id),
            ("lesson", Some(word)) if word == "list" => self.list_lessons(),
            ("lesson", Some(word)) if word == "stop" => self.stop_played_lines(),
            ("lesson", Some(word)) if word == "leave" => self.leave_lesson(),
            ("lesson", Some(word)) => match plays_again(&word) {
                Some(ask) => self.ask_with_consent(ask, sure),
                None => self.open_lesson(word, sure),
            },
            ("lesson", None) => self.list_lessons(),
            ("solve", id) => self.solve(id),
            _ => self.ask_and_print(Ask::Show, PageStyle::page),
        }
    }

    /// Asks a question whose answer may delete something that the learner made. Lists that first,
    /// and asks the learner for consent.
    pub(super) fn ask_with_consent(&mut self, ask: Ask, sure: bool) -> i32 {
        if !self.check_alive() {
            return 1;
        }
        let mut agreed = None;
        if !sure {
            let cost = match self.ask(Ask::Cost { of: Box::new(ask.clone()) }) {
                Ok(cost) => serde_json::from_value::<Vec<Loss>>(cost).unwrap_or_default(),
                Err(why) => return self.unanswered(&why),
            };
            if !cost.is_empty() {
                let is_setup = matches!(ask, Ask::Open { .. } | Ask::Next);
                let head = if is_setup { Say::LossSetup } else { Say::LossHead };
                println!("{}", self.say(head, &[]));
                print!("{}", consent::list(self.lang(), &cost));
                if is_setup {
                    println!("{}", self.say(Say::LossSetupKeep, &[]));
                }
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
            // What was listed is agreed to, and no more.
            agreed = Some(cost);
        }
        self.ask_and_print(Ask::Sure { ask: Box::new(ask), agreed }, PageStyle::page)
    }

    /// Asks whether the loss is meant. Ctrl-C is no. News wait for the answer: they would overwrite
    /// the question.
    pub(super) fn agrees(&mut self) -> Result<bool, Unanswered> {
        self.news.hold();
        let edited = self.unedited.as_ref().map(Unedited::edited);
        let agreed = self.put_question();
        drop(edited);
        self.news.release();
        agreed
    }

    fn put_question(&mut self) -> Result<bool, Unanswered> {
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

    /// Runs `debrief [STEP]`, which tells once more what happened in a step that is done.
    fn print_debrief(&mut self, step: Option<String>) -> i32 {
        if !self.check_alive() {
            return 1;
        }
        match self.ask(Ask::Debrief { step }) {
            Ok(told) => {
                let told: Vec<String> = serde_json::from_value(told).unwrap_or_default();
                if told.is_empty() {
                    self.complain(&self.say(Say::LessonDebriefNone, &[]), None, None);
                    return 1;
                }
                print!("{}", self.style().debrief(&told));
                0
            }
            Err(why) => self.unanswered(&why),
        }
    }

    fn list_lessons(&mut self) -> i32 {
        if !self.check_alive() {
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
                print!("{}", self.style().list(&entries, &open.id));
                0
            }
            Err(why) => self.unanswered(&why),
        }
    }
}

/// True if the question opens a lesson, or goes to a step of one.
fn opens(ask: &Ask) -> bool {
    match ask {
        Ask::Open { .. } | Ask::Goto { .. } | Ask::Next => true,
        Ask::Sure { ask, .. } => opens(ask),
        _ => false,
    }
}

/// Returns an id that no other question to an engine has.
fn question_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Returns the cells of a line on the learner's terminal, as many as are pleasant to read.
pub(super) fn width() -> usize {
    PageStyle::fitting(terminal::size().0)
}

#[cfg(test)]
mod tests;
