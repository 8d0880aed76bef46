//! Lessons in the REPL: words become questions to the engine, its views become text.

use super::prose;
use super::terminal;
use super::texts::{Lang, Say};
use super::tracks;
use lab::view::{Answer, Check, Entry, Form, Judged, LessonView, Predict, State, Then, Verdict};
use lang::typed;

mod asking;

pub(crate) use asking::{Green, ask_as, follow, until_green};
pub use asking::{ask, tag, view};

/// How text is to be laid out.
#[derive(Clone, Copy, Debug)]
pub struct PageStyle {
    /// The language of what is printed around a lesson's own text.
    pub lang: Lang,
    /// Cells of a line, at most.
    pub width: usize,
    /// ANSI styles, for a terminal that knows them.
    pub colour: bool,
    /// The lesson stands beside it on the same screen, so only the news is printed.
    pub(crate) beside: bool,
}

impl PageStyle {
    /// The widest line that is pleasant to read, in cells.
    pub(crate) const WIDEST: usize = 78;

    /// Returns the style for the output of a command, without colours: as wide as its terminal, and
    /// no wider than 78 cells, which is pleasant to read. The pane of a shell may have fewer
    /// columns.
    pub fn for_output(lang: Lang) -> PageStyle {
        PageStyle { lang, width: PageStyle::fitting(terminal::size().0), colour: false, beside: false }
    }

    /// Returns the width of lines on a terminal of this many columns.
    pub(crate) fn fitting(columns: u16) -> usize {
        usize::from(columns).min(PageStyle::WIDEST)
    }

    fn say(&self, say: Say, with: &[&str]) -> String {
        self.lang.say(say, with)
    }
    pub(crate) fn prose(&self, markdown: &str, indent: &str) -> String {
        prose::text(markdown, self.width, indent, self.colour)
    }
    /// Returns a paragraph behind a mark, its further lines under its first.
    pub(crate) fn marked(&self, mark: &str, markdown: &str) -> String {
        let hang = " ".repeat(prose::cells(mark));
        let text = self.prose(markdown, &hang);
        format!("{mark}{}", text.strip_prefix(&hang).unwrap_or(&text))
    }
    /// Returns what the engine tells beside the text of the step.
    pub(crate) fn notice(&self, text: &str) -> String {
        self.marked("! ", &typed::here(text))
    }
    fn bold(&self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.into() }
    }

    /// Returns everything there is to see of the open step; a sentence if no lesson is open.
    pub fn page(&self, view: &LessonView) -> String {
        if view.id.is_empty() {
            return typed::here(&view.notices.join("\n"))
                + if view.notices.is_empty() { "" } else { "\n" }
                + &self.prose(&self.say(Say::LessonNone, &[]), "");
        }
        let at = self.say(Say::LessonStep, &[&(view.step + 1).to_string(), &view.steps.to_string()]);
        let number = view.id.rsplit('/').next().unwrap_or_default();
        let mut out = self.bold(&format!("── {number} {} · {at} ──", view.title)) + "\n";
        if self.beside {
            // Cards have no room in a small pane beside the task: they stand here, too.
            let is_asked = |answer: &Answer| !answer.cards.is_empty() && answer.state != Judged::Right;
            if view.state == State::Open
                && view.predict.is_none()
                && view.answer.as_ref().is_some_and(is_asked)
            {
                out.push_str(&self.ask(view));
            }
            return out;
        }
        out.push('\n');
        for notice in &view.notices {
            out.push_str(&self.notice(notice));
        }
        out.push_str(&self.prose(&view.prose, ""));
        out.push('\n');
        out.push_str(&self.answered(view));
        out.push_str(&self.ask(view));
        if matches!(view.state, State::Done | State::Solved) {
            out.push_str(&self.over(view));
        }
        out
    }

    /// Returns what may be read once the question is answered.
    pub(crate) fn answered(&self, view: &LessonView) -> String {
        match view.after.is_empty() || self.beside {
            true => String::new(),
            false => self.prose(&view.after, "") + "\n",
        }
    }

    /// Returns the question, or the task and how it stands.
    pub(crate) fn ask(&self, view: &LessonView) -> String {
        let mut out = String::new();
        if let Some(predict) = awaited_guess(view) {
            // There are no checks to tell it with, and who guesses first would try in vain.
            out.push_str(&self.lost(view));
            out.push_str(&self.marked("? ", &predict.question));
            for (letter, text) in &predict.choices {
                out.push_str(&self.marked(&format!("  {letter}  "), text));
            }
            out.push_str(&format!("{}\n", self.say(Say::LessonChoose, &[])));
            return out;
        }
        out.push_str(&self.marked("▸ ", &view.task));
        out.push_str(&self.checks(view));
        if view.state == State::Open {
            out.push_str(&self.asked(view));
        }
        out
    }

    /// Returns the question that the cluster proves, and how to answer it; then how the answer
    /// stands.
    fn asked(&self, view: &LessonView) -> String {
        let Some(answer) = &view.answer else { return String::new() };
        let mut out = self.marked("? ", &answer.question);
        for (letter, text) in &answer.cards {
            out.push_str(&self.marked(&format!("  {letter}  "), text));
        }
        let way = match answer.form {
            Form::Text => Say::AnswerText,
            Form::Number => Say::AnswerNumber,
            Form::Choices => Say::AnswerChoices,
            Form::Order => Say::AnswerOrder,
        };
        if answer.state != Judged::Right {
            out.push_str(&self.prose(&self.say(way, &[]), ""));
        }
        out + &self.judged(view)
    }

    /// Returns how the learner's last answer stands, without what would be right.
    pub(crate) fn judged(&self, view: &LessonView) -> String {
        let answer = view.answer.clone().unwrap_or_default();
        let given = literal(&answer.given.unwrap_or_default());
        let told = match answer.state {
            Judged::Missing | Judged::Waiting => return String::new(),
            Judged::Right => self.say(Say::AnswerRight, &[&given]),
            Judged::Wrong => match answer.more {
                Some(more) => self.say(Say::AnswerPart, &[&given, &more.to_string()]),
                None => self.say(Say::AnswerWrong, &[&given]),
            },
            Judged::Unknown => self.say(Say::AnswerUnknown, &[&given]),
            Judged::Early => self.say(Say::AnswerEarly, &[&given]),
        };
        self.prose(&told, "")
    }

    /// Returns one line a check, if there is more to say than the task says.
    pub(crate) fn checks(&self, view: &LessonView) -> String {
        let alone = view.checks.len() == 1 && view.checks[0].that == view.task;
        // They may tell what the learner is to guess.
        let is_told = !alone && awaited_guess(view).is_none();
        let mut out = String::new();
        for check in view.checks.iter().filter(|_| is_told) {
            out.push_str(&self.marked(&format!("  {} ", sign(check)), &check.that));
        }
        out.push_str(&self.lost(view));
        out
    }

    /// Returns what keeps the step from being done, and how to get it back.
    fn lost(&self, view: &LessonView) -> String {
        view.lost.as_ref().map_or_else(String::new, |lost| self.notice(lost))
    }

    /// Returns what is said when a step is done.
    pub(crate) fn over(&self, view: &LessonView) -> String {
        let word = if view.state == State::Solved { Say::LessonSolved } else { Say::LessonDone };
        let mut out = self.bold(&self.say(word, &[])) + "\n";
        if self.beside && !view.is_at_the_end() {
            return out;
        }
        for told in view.debrief.iter().filter(|_| !self.beside) {
            out.push_str(&self.prose(told, "  "));
        }
        if !view.also.is_empty() && !self.beside {
            out.push_str(&format!("{}\n", self.say(Say::LessonAlso, &[])));
            for lines in &view.also {
                for line in lines {
                    out.push_str(&format!("    {line}\n"));
                }
            }
        }
        if !view.closing.is_empty() && !self.beside {
            out.push_str(&format!("\n{}\n", self.prose(&view.closing, "")));
        }
        if let Some(then) = view.then.as_ref().filter(|_| view.is_at_the_end()) {
            out.push_str(&self.prose(&alone(self.lang, then), ""));
        }
        let ahead = match (&view.next, view.is_at_the_end()) {
            (Some((id, title)), true) => self.say(Say::LessonFinishedNext, &[id, title]),
            (None, true) => self.say(Say::LessonFinishedAll, &[]),
            _ => self.say(Say::LessonNext, &[]),
        };
        out + &self.prose(&ahead, "")
    }

    /// Returns the sentences of a debrief, each as a paragraph.
    pub(crate) fn debrief(&self, sentences: &[String]) -> String {
        sentences.iter().map(|sentence| self.prose(sentence, "  ")).collect()
    }

    /// Returns the last hint that was shown.
    pub(crate) fn hint(&self, view: &LessonView) -> String {
        let Some(hint) = view.hints.last() else { return String::new() };
        let (number, left) = (view.hints.len().to_string(), view.hints_left.to_string());
        let more = if view.hints_left > 0 { Say::LessonHintsLeft } else { Say::LessonHintsOver };
        self.marked(&format!("{} ", self.say(Say::LessonHint, &[&number])), &hint.say)
            + &self.say(more, &[&left])
            + "\n"
    }

    /// Returns the answer to `check`: that the step is done, or which conditions it misses; of a
    /// step that cannot be done here, why; of one that begins with a guess, its question.
    pub fn verdict(&self, view: &LessonView) -> String {
        if matches!(view.state, State::Done | State::Solved) {
            return self.over(view);
        }
        if view.state == State::Skipped {
            return view.notices.iter().map(|n| self.notice(n)).collect();
        }
        if awaited_guess(view).is_some() {
            return self.ask(view);
        }
        let mut out = self.checks(view);
        if !view.checks.is_empty() || view.not_yet.is_some() {
            out.push_str(&self.prose(&missing(self.lang, view), ""));
        }
        out
    }

    /// Returns the list of lessons by track, a line each: a mark, its number and title, steps done
    /// of all, minutes. `open`: the id of the open lesson; empty if none is.
    pub fn list(&self, entries: &[Entry], open: &str) -> String {
        let mut out = String::new();
        let (mut track, mut above) = ("", None);
        for (at, entry) in entries.iter().enumerate() {
            if entry.track != track {
                (track, above) = (entry.track.as_str(), None);
                let head = self.bold(&tracks::head_of(entry, self.lang));
                out.push_str(&format!("{}{head}\n", if out.is_empty() { "" } else { "\n" }));
            }
            if let Some(source) = tracks::source_of(entry, above, self.lang) {
                out.push_str(&self.prose(&source, "   "));
            }
            above = Some(entry);
            let mark = match entry.done {
                _ if entry.id == open => "▸",
                done if done >= entry.steps => "✓",
                0 => " ",
                _ => "…",
            };
            let number = entry.id.rsplit('/').next().unwrap_or_default();
            let pad = " ".repeat(46usize.saturating_sub(prose::cells(&entry.title)));
            let minutes = self.say(Say::LessonMinutes, &[&entry.minutes.to_string()]);
            out.push_str(&format!(
                " {mark} {}  {}{pad} {}/{}   {minutes}\n",
                prose::harmless(number),
                prose::harmless(&entry.title),
                entry.done,
                entry.steps
            ));
            if let Some(first) = first(self.lang, entries, at) {
                out.push_str(&self.prose(&first, "       "));
            }
            for (step, why) in &entry.cannot {
                out.push_str(&self.prose(&self.say(Say::LessonCannot, &[step, why]), "       "));
            }
        }
        if out.is_empty() {
            out.push_str(&format!("{}\n", self.say(Say::LessonEmpty, &[])));
        }
        out
    }
}

/// Returns what comes before the entry at this place of the list and is not done yet. Nothing if
/// the entry itself is done, or if that is the lesson right above it: its own mark says how it
/// stands.
///
/// ```text
/// 07 builds on 04            first: lesson 04, not done yet
/// 06 builds on 05            nothing: 05 stands above it
/// ```
pub(crate) fn first(lang: Lang, entries: &[Entry], at: usize) -> Option<String> {
    let entry = entries.get(at).filter(|entry| entry.done < entry.steps)?;
    let above = at.checked_sub(1).and_then(|at| entries.get(at)).map(|above| &above.id);
    let named = entry.first.iter().filter(|id| Some(*id) != above).map(|id| {
        let own = id.strip_prefix(&entry.track).and_then(|rest| rest.strip_prefix('/'));
        own.unwrap_or(id)
    });
    let named: Vec<&str> = named.collect();
    (!named.is_empty()).then(|| lang.say(Say::LessonFirst, &[&named.join(", ")]))
}

/// Returns how many conditions of a step are met, and which one is missing, in words.
pub(crate) fn missing(lang: Lang, view: &LessonView) -> String {
    let (met, all) = (view.met().to_string(), view.checks.len());
    let named = view.missing().and_then(|at| view.checks.get(at)).map(|check| &check.that);
    let is_asked = view.answer.as_ref().is_some_and(|answer| answer.state != Judged::Right);
    let counted = match (named.or(view.not_yet.as_ref()), all, view.met()) {
        // Time alone does not end the step.
        (None, ..) if is_asked => lang.say(Say::LessonHoldsAsks, &[]),
        (None, 1, _) => lang.say(Say::LessonHoldsOne, &[]),
        (None, ..) => lang.say(Say::LessonHolds, &[&all.to_string()]),
        (Some(that), 0 | 1, _) => lang.say(Say::LessonNotYet, &[that]),
        (Some(that), all, 1) => lang.say(Say::LessonMetOne, &[&met, &all.to_string(), that]),
        (Some(that), all, _) => lang.say(Say::LessonMet, &[&met, &all.to_string(), that]),
    };
    // They may be met already: a learner who counts must not look for a cause.
    match view.unasked {
        0 => counted,
        unasked => lang.say(Say::LessonUnasked, &[&counted, &unasked.to_string()]),
    }
}

/// Returns what a learner does without guidance after a lesson, with the line to type.
pub(crate) fn alone(lang: Lang, then: &Then) -> String {
    let say = match then {
        Then::Lab(_) => Say::LessonThenLab,
        Then::Drill(_) => Say::LessonThenDrill,
    };
    lang.say(say, &[&then.command()])
}

/// Returns a text of the learner's as Markdown that reads like it.
///
/// ```text
/// app=*  app\=\*
/// ```
fn literal(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_punctuation() {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Returns the question that comes before the task, as long as it waits for the learner's guess.
fn awaited_guess(view: &LessonView) -> Option<&Predict> {
    view.predict.as_ref().filter(|predict| predict.chosen.is_none() && view.task.is_empty())
}

fn sign(check: &Check) -> &'static str {
    match check.state {
        Verdict::Met => "✓",
        Verdict::Holding => "…",
        Verdict::Unmet => "·",
    }
}

/// Returns what changed so that a learner at the prompt should hear of it. Beside the lesson's pane
/// only success is said: what is missing stands in the pane, and would break into what is typed.
pub(crate) fn news(style: &PageStyle, before: &LessonView, now: &LessonView) -> Option<String> {
    let same = before.id == now.id && before.step_id == now.step_id;
    let over = |v: &LessonView| matches!(v.state, State::Done | State::Solved);
    let stuck = same && now.is_stuck && !before.is_stuck && !style.beside;
    let offer = || format!("{}\n", style.say(Say::LessonOffer, &[]));
    let told = match same {
        true if over(now) && !over(before) => Some(style.verdict(now)),
        _ if style.beside => None,
        true if now.not_yet.is_some() && before.not_yet.is_none() => Some(style.verdict(now)),
        true if now.lost.is_some() && before.lost.is_none() => Some(style.checks(now)),
        _ => None,
    };
    match (told, stuck) {
        (told, false) => told,
        (told, true) => Some(told.unwrap_or_default() + &offer()),
    }
}

#[cfg(test)]
mod tests;
