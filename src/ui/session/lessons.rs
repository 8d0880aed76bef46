//! The session's words of lessons.

use super::{CUT, Flow, Given, Lines, Manner, Session};
use crate::cluster::Error;
use crate::cluster::undo::Loss;
use crate::lab::graded::view::{Ask as LabAsk, LabView};
use crate::lab::view::{Ask, Entry, LessonView, Solution, State};
use crate::lang::charset::{print, println};
use crate::ui::lesson::{self, Paper};
use crate::ui::terminal;
use crate::ui::texts::Say;
use crate::ui::{consent, labs};
use std::collections::VecDeque;
use std::sync::PoisonError;

/// Why there is no answer.
pub(super) enum Unanswered {
    /// Ctrl-C: whoever asked does not wait any longer.
    Cut,
    Refused(Error),
}

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
        self.handle.block_on(async {
            tokio::select! {
                answer = answer => answer.map_err(Unanswered::Refused),
                () = cut => Err(Unanswered::Cut),
            }
        })
    }

    pub(super) fn ask(&mut self, ask: Ask) -> Result<serde_json::Value, Unanswered> {
        let place = self.place.clone();
        self.await_answer(lesson::ask(&place, self.lang(), ask))
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
        Paper { lang: self.lang(), width, colour, beside: self.in_pane }
    }

    /// Does the open step wait for the answer to its question?
    pub(super) fn waits_for_letter(&mut self) -> bool {
        let view = self.ask(Ask::Show).ok().and_then(|v| serde_json::from_value::<LessonView>(v).ok());
        view.is_some_and(|v| v.state == State::Open && v.predict.is_some_and(|p| p.chosen.is_none()))
    }

    /// Asks the engine and prints what `part` makes of its view.
    pub(super) fn shown(&mut self, ask: Ask, part: impl FnOnce(&Paper, &LessonView) -> String) -> i32 {
        if !self.alive() {
            return 1;
        }
        let place = self.place.clone();
        match self.await_answer(lesson::view(&place, self.lang(), ask)) {
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
                if !consent::ask(self.lang()) {
                    return 1;
                }
            }
        }
        self.shown(Ask::Sure { ask: Box::new(ask) }, Paper::page)
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
            if lab.is_ok_and(|lab| !lab.id.is_empty() && !lab.over && lab.left_s > 0) {
                self.complain(&self.say(Say::SolveLab, &[]), None, Some(&self.say(Say::SolveLabTry, &[])));
                return 1;
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
            loop {
                let now = || *lang.lock().unwrap_or_else(PoisonError::into_inner);
                let spoken = now();
                let Ok((mut control, mut before)) = lesson::follow(&place, spoken).await else { return };
                while let Ok(Some(value)) = control.next().await {
                    if now() != spoken {
                        break; // follow again in the other language
                    }
                    let view: LessonView = serde_json::from_value(value).unwrap_or_default();
                    // The window may be narrower than it was.
                    let paper = Paper { lang: spoken, width: width(), ..paper };
                    if let Some(words) = lesson::news(&paper, &before, &view) {
                        news.tell(words);
                    }
                    before = view;
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
