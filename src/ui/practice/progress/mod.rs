//! The skill map as a picture: signs and words, in lines of at most 80 cells.

use super::words::{Say, since, until};
use crate::prose::{self, harmless};
use crate::texts::Lang;
use crate::tui::text;
use clock::Timestamp;
use lab::practice::map::{LabLine, SkillLine, SkillMap, Track};
use lab::practice::record::State;

/// Cells of a line, at most, however wide the terminal is.
const WIDTH: usize = 78;
/// Cells of a bar.
const BAR: usize = 22;
/// Cells of a skill's title, and of its state.
const TITLE: usize = 34;
const STATE: usize = 14;
/// Cells of a track's or a lab's name.
const NAME: usize = 18;

/// Returns the map as text. `colour`: a sign has a colour, too, which says no more than the sign.
pub fn picture(lang: Lang, map: &SkillMap, now: Timestamp, colour: bool) -> String {
    let say = |say, with: &[&str]| lang.say(say, with);
    let number = |n: usize| n.to_string();
    let mut out = String::new();
    for notice in &map.notices {
        out.push_str(&folded(&format!("! {}", harmless(notice)), "  "));
    }
    let lessons = &map.lessons;
    let done = say(Say::LessonsDone, &[&number(lessons.done), &number(lessons.all)]);
    out.push_str(&head(&say(Say::Lessons, &[]), &done, colour));
    lessons.tracks.iter().for_each(|t| out.push_str(&track(t)));
    let labs = &map.labs;
    let told = match labs.list.is_empty() {
        true => say(Say::LabsNone, &[&number(labs.all)]),
        false => {
            let (score, max) = (labs.score.to_string(), labs.max.to_string());
            say(Say::LabsPassed, &[&number(labs.passed), &number(labs.all), &score, &max])
        }
    };
    out.push_str(&head(&say(Say::Labs, &[]), &told, colour));
    labs.list.iter().for_each(|l| out.push_str(&lab(l)));
    let count = |state| number(map.count(state));
    let counts = [State::Fresh, State::Due, State::Rusty, State::NotMet].map(count);
    let counts = say(Say::SkillsCount, &counts.each_ref().map(String::as_str));
    out.push_str(&head(&say(Say::Skills, &[]), &counts, colour));
    map.skills.iter().for_each(|s| out.push_str(&skill(lang, s, now, colour)));
    out.push_str(&folded(&format!("  {}", say(Say::Legend, &[])), "  "));
    out.push('\n');
    let is_met = map.skills.iter().any(|skill| skill.state != State::NotMet);
    // The first of the library, as `drill` says it; skills stand in another order.
    let teaches = |id: &String| map.skills.iter().any(|skill| skill.lessons.contains(id));
    let first = map.lessons.list.iter().map(|lesson| &lesson.id).find(|id| teaches(id));
    let last = match (is_met, first) {
        (false, Some(lesson)) => say(Say::ToBegin, &[&harmless(lesson)]),
        _ => say(Say::ToPractise, &[]),
    };
    out.push_str(&folded(&last, ""));
    out
}

/// Returns a text in lines; `rest` stands before the further ones.
fn folded(line: &str, rest: &str) -> String {
    text::fold(line, WIDTH, rest).join("\n") + "\n"
}

fn head(title: &str, told: &str, colour: bool) -> String {
    let bold = if colour { format!("\x1b[1m{title}\x1b[0m") } else { title.into() };
    format!("{bold}{}{told}\n", " ".repeat(gap(title, NAME + 4)))
}

/// `  first-voyage      ███████░░░░░  14/22`
fn track(track: &Track) -> String {
    let full = (track.done * BAR).checked_div(track.all).unwrap_or_default();
    // A lesson that is done is seen, and so is one that is missing.
    let full = full.clamp(usize::from(track.done > 0), BAR - usize::from(track.done < track.all));
    let bar = "█".repeat(full) + &"░".repeat(BAR - full);
    format!("  {}  {bar}  {}/{}\n", fitted(&harmless(&track.id), NAME), track.done, track.all)
}

/// `  ✓ wrong-image     100/100  One of three apps does not start`
fn lab(lab: &LabLine) -> String {
    let mark = if lab.passed { "✓" } else { "·" };
    let points = format!("{}/{}", lab.score, lab.max);
    let line = format!("  {mark} {}{points:>7}  {}", fitted(&harmless(&lab.id), NAME), harmless(&lab.title));
    format!("{}\n", cut(&line, WIDTH))
}

/// `  ● Scale a Deployment                    fresh          in 6 days`
fn skill(lang: Lang, skill: &SkillLine, now: Timestamp, colour: bool) -> String {
    let (sign, code, word) = match skill.state {
        State::Fresh => ("●", "32", Say::Fresh),
        State::Due => ("◐", "33", Say::Due),
        State::Rusty => ("○", "31", Say::Rusty),
        State::NotMet => ("·", "2", Say::NotMet),
    };
    let due = skill.due.as_ref().and_then(|due| due.parse::<Timestamp>().ok());
    let more = match (skill.state, due) {
        (State::NotMet, _) => source(lang, skill),
        (State::Fresh, Some(due)) => until(lang, due, now),
        (State::Rusty, _) if skill.helped => lang.say(Say::Helped, &[]),
        (State::Rusty, _) if skill.failed => lang.say(Say::Failed, &[]),
        (_, Some(due)) => since(lang, due, now),
        (_, None) => String::new(),
    };
    let title = fitted(&harmless(&skill.title), TITLE);
    let state = fitted(&lang.say(word, &[]), STATE);
    let line = cut(&format!("{title}  {state}{more}"), WIDTH - 4);
    let sign = if colour { format!("\x1b[{code}m{sign}\x1b[0m") } else { sign.into() };
    format!("  {sign} {}\n", line.trim_end())
}

/// Returns what teaches a skill.
fn source(lang: Lang, skill: &SkillLine) -> String {
    match (skill.lessons.first(), skill.labs.first()) {
        (Some(lesson), _) => lang.say(Say::LessonId, &[&harmless(lesson)]),
        (None, Some(lab)) => lang.say(Say::LabId, &[&harmless(lab)]),
        (None, None) => String::new(),
    }
}

fn gap(text: &str, cells: usize) -> usize {
    cells.saturating_sub(prose::cells(text))
}

/// Returns a text in exactly so many cells.
fn fitted(text: &str, cells: usize) -> String {
    let cut = cut(text, cells);
    let pad = " ".repeat(gap(&cut, cells));
    cut + &pad
}

/// Returns the beginning of a text in at most so many cells.
fn cut(text: &str, cells: usize) -> String {
    text::cut(text, cells, "…")
}

#[cfg(test)]
mod tests;
