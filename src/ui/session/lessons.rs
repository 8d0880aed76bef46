//! The session's words of lessons.

use super::{Flow, Given, Lines, Manner, Session};
use crate::lab::view::{Ask, Entry, LessonView, Solution, State};
use crate::lang::charset::{print, println};
use crate::ui::lesson::{self, Paper};
use crate::ui::terminal;
use crate::ui::texts::Say;
use std::collections::VecDeque;
use std::sync::PoisonError;

impl Session {
    pub(super) fn ask(&self, ask: Ask) -> Result<serde_json::Value, crate::cluster::Error> {
        self.handle.block_on(lesson::ask(&self.place, self.lang(), ask))
    }

    fn paper(&self) -> Paper {
        let terminal = self.manner == Manner::Terminal;
        let width = if terminal { usize::from(terminal::size().0) } else { Paper::WIDEST };
        let colour = terminal && terminal::colours();
        Paper { lang: self.lang(), width: width.min(Paper::WIDEST), colour, beside: self.in_pane }
    }

    /// Does the open step wait for the answer to its question?
    pub(super) fn waits_for_letter(&self) -> bool {
        let view = self.ask(Ask::Show).ok().and_then(|v| serde_json::from_value::<LessonView>(v).ok());
        view.is_some_and(|v| v.state == State::Open && v.predict.is_some_and(|p| p.chosen.is_none()))
    }

    /// Asks the engine and prints what `part` makes of its view.
    pub(super) fn shown(&mut self, ask: Ask, part: impl FnOnce(&Paper, &LessonView) -> String) -> i32 {
        if !self.alive() {
            return 1;
        }
        match self.ask(ask).and_then(|v| {
            serde_json::from_value::<LessonView>(v).map_err(|e| crate::cluster::Error::Control(e.to_string()))
        }) {
            Ok(view) => {
                print!("{}", part(&self.paper(), &view));
                0
            }
            Err(error) => {
                self.complain(&error.say(self.lang()), None, None);
                1
            }
        }
    }

    /// A word of lessons.
    pub(super) fn lesson(&mut self, words: &[String], lines: &mut dyn Lines) -> i32 {
        let argument = words.get(1).cloned();
        match (words.first().map(String::as_str).unwrap_or_default(), argument) {
            ("next", _) => self.shown(Ask::Next, Paper::page),
            ("back", _) => self.shown(Ask::Back, Paper::page),
            ("goto", Some(step)) => self.shown(Ask::Goto { step }, Paper::page),
            ("hint", _) => self.shown(Ask::Hint, Paper::hint),
            ("check", id) => {
                let mut green = false;
                let code = self.shown(Ask::Check { id }, |paper, view| {
                    green = matches!(view.state, State::Done | State::Solved);
                    paper.verdict(view)
                });
                if code == 0 && !green { 1 } else { code }
            }
            ("lesson", Some(id)) => self.shown(Ask::Open { id }, Paper::page),
            ("lesson", None) => self.lessons(),
            ("solve", id) => self.solve(id, lines),
            _ => self.shown(Ask::Show, Paper::page),
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
            Err(error) => {
                self.complain(&error.say(self.lang()), None, None);
                1
            }
        }
    }

    /// Plays the step's solution, as the learner, line by line.
    fn solve(&mut self, id: Option<String>, lines: &mut dyn Lines) -> i32 {
        if !self.alive() {
            return 1;
        }
        let solution = match self.ask(Ask::Solve { id }) {
            Ok(value) => serde_json::from_value::<Solution>(value).unwrap_or_default(),
            Err(error) => {
                self.complain(&error.say(self.lang()), None, None);
                return 1;
            }
        };
        let mut played = Played { rest: solution.lines.into(), under: lines };
        while let Some(line) = played.rest.pop_front() {
            println!("{}", self.say(Say::LessonPlays, &[&line]));
            if let Flow::Leave(code) = self.run(&line, &mut played) {
                return code;
            }
        }
        let _ = self.ask(Ask::Solved); // else the learner's next acts count as the solution's
        match self.handle.block_on(lesson::until_green(&self.place, self.lang())) {
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
            Err(error) => {
                self.complain(&error.say(self.lang()), None, None);
                1
            }
        }
    }

    /// Says what the engine finds out by itself. `tell` gets the words for it.
    pub fn watch_lesson(&self, mut tell: impl FnMut(String) + Send + 'static) {
        let (place, lang, paper) = (self.place.clone(), self.lang.clone(), self.paper());
        let news = self.news.clone();
        let mut tell = move |words: String| {
            let mut news = news.lock().unwrap_or_else(PoisonError::into_inner);
            match news.waits {
                true => news.kept.push_str(&words),
                false => tell(words),
            }
        };
        self.handle.spawn(async move {
            loop {
                let now = || *lang.lock().unwrap_or_else(PoisonError::into_inner);
                let spoken = now();
                let Ok((mut control, mut before)) = lesson::follow(&place, spoken).await else { return };
                let paper = Paper { lang: spoken, ..paper };
                while let Ok(Some(value)) = control.next().await {
                    if now() != spoken {
                        break; // follow again in the other language
                    }
                    let view: LessonView = serde_json::from_value(value).unwrap_or_default();
                    if let Some(words) = lesson::news(&paper, &before, &view) {
                        tell(words);
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
