//! From text to a lab that can be drawn, or to what is wrong with it.

use super::lab::{Also, Hint, Lab, Task, Wrong};
use super::written;
use crate::cel::{Expr, Template, Use};
use crate::format::file::plain;
use crate::format::{Declared, EN, Fault, Text};
use crate::format::{prose, raw};
use crate::graded::draw::{self, Choice, Choices};
use crate::graded::seal::sha256;
use crate::{lines, playable, reach};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a task has to be true at grading, and how long the judge waits for it.
const HOLD: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(6);
/// The ends of a range are no further apart.
const WIDTH_MAX: u64 = 1_000_000_000;
/// All tasks of a lab together weigh no more.
const WEIGHT_MAX: u64 = 10_000;
/// From the first steps to what takes experience.
const LEVELS: RangeInclusive<u8> = 1..=4;
/// Minutes that a lab may have.
const MINUTES: RangeInclusive<u32> = 1..=24 * 60;

/// Notes what is wrong, and on which line.
struct On<'a> {
    text: &'a str,
    file: &'a Path,
    faults: Vec<Fault>,
}

impl On<'_> {
    fn fault(&mut self, near: &str, what: String) {
        let begin: String = near.lines().next().unwrap_or_default().chars().take(50).collect();
        let plain = |l: &str| l.replace("''", "'").replace("\\\"", "\"");
        let line = self.text.lines().position(|l| l.contains(&begin) || plain(l).contains(&begin));
        self.faults.push(Fault { file: self.file.into(), line: line.map_or(1, |n| n + 1), what });
    }
    fn expr(&mut self, source: &str, place: Use) -> Option<Expr> {
        Expr::compile(source, place, &[]).map_err(|e| self.fault(source, e.to_string())).ok()
    }
    /// Lines that the teacher is to play.
    fn lines(&mut self, lines: &[String], sample: &Map<String, Value>) {
        for (line, _) in lines::commands(lines) {
            let filled = draw::fill(&line, sample).unwrap_or_else(|_| line.clone());
            if let Some(why) = playable::unplayable(&filled) {
                self.fault(&line, format!("{line:?} cannot be played: {why}"));
            }
        }
    }
    /// The cluster that the lab declares.
    fn cluster(&mut self, written: &raw::Cluster) -> Option<Declared> {
        if written.clock.is_some() {
            self.fault("cluster:", "a lab runs in real time: its limit is in minutes".into());
        }
        Declared::read(written).map_err(|why| self.fault("cluster:", why)).ok()
    }
    /// A text that is shown as it is names no values.
    fn bare(&mut self, text: &str) {
        if text.contains("{{") {
            self.fault(
                text,
                "no value is filled in here: the title and `remember` are shown as they are".into(),
            );
        }
    }
    /// Every `{{key}}` is known, and every `${…}` compiles.
    fn text(&mut self, text: &str, sample: &Map<String, Value>, template: bool) {
        match draw::fill(text, sample) {
            Err(key) => self.fault(text, format!("there is no {{{{{key}}}}} among variants and derive")),
            Ok(filled) if template => {
                if let Err(error) = Template::compile(&filled, Use::Hint, &[]) {
                    self.fault(text, error.to_string());
                }
            }
            Ok(_) => {}
        }
    }
}

fn choices(written: &Map<String, Value>, on: &mut On<'_>) -> Choices {
    let mut all = Choices::new();
    for (key, value) in written {
        if !draw::is_name(key) {
            on.fault(&format!("{key}:"), format!("{key:?} is no name: letters, digits and `_` alone"));
        }
        let of = value.as_object().and_then(|o| if o.len() == 1 { o.iter().next() } else { None });
        let choice = match of.map(|(how, list)| (how.as_str(), list.as_array())) {
            Some(("pick", Some(list))) if !list.is_empty() => Some(Choice::Pick(list.clone())),
            Some(("range", Some(ends))) => {
                match (ends.first().and_then(Value::as_i64), ends.get(1).and_then(Value::as_i64)) {
                    // Wider than anybody needs, and no sum of its ends is too big for its type.
                    (Some(low), Some(high))
                        if low <= high && high.abs_diff(low) <= WIDTH_MAX && ends.len() == 2 =>
                    {
                        Some(Choice::Range(low, high))
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        match choice {
            Some(choice) => all.push((key.clone(), choice)),
            None => on.fault(
                &format!("{key}:"),
                format!("{key}: write {{pick: [A, B]}} or {{range: [LOW, HIGH]}}, at most {WIDTH_MAX} apart"),
            ),
        }
    }
    all
}

/// Reads a lab and its other languages.
///
/// # Errors
/// Every fault that is found, with file and line.
pub fn parse(source: &str, file: &Path, others: &[(&str, (PathBuf, String))]) -> Result<Lab, Vec<Fault>> {
    let text = &plain(source);
    let mut on = On { text, file, faults: vec![] };
    let (front, first, body, _) = prose::split(text, file).map_err(|f| vec![f])?;
    let raw: written::Lab = raw::read(front, file, first).map_err(|f| vec![f])?;
    let folder = file.parent().and_then(|d| d.file_name()).and_then(|n| n.to_str());
    if folder.is_some_and(|f| f != raw.id) {
        on.fault(
            "id:",
            format!(
                "the lab is called {:?} and lies in the directory {:?}",
                raw.id,
                folder.unwrap_or_default()
            ),
        );
    }
    if !LEVELS.contains(&raw.level) {
        on.fault(
            "level:",
            format!("levels go from {} to {}, not {}", LEVELS.start(), LEVELS.end(), raw.level),
        );
    }
    if !MINUTES.contains(&raw.minutes) {
        let (least, most) = (MINUTES.start(), MINUTES.end());
        on.fault("minutes:", format!("a lab has from {least} to {most} minutes, not {}", raw.minutes));
    }
    for odd in raw.requires.iter().filter_map(|need| reach::odd_requirement(need)) {
        on.fault("requires:", odd);
    }
    let cluster = raw.cluster.as_ref().and_then(|written| on.cluster(written));
    [Some(&raw.title), raw.remember.as_ref()].into_iter().flatten().for_each(|text| on.bare(text));
    let choices = choices(&raw.variants, &mut on);
    let mut derived = Vec::new();
    for (key, source) in &raw.derive {
        if !draw::is_name(key) {
            on.fault(&format!("{key}:"), format!("{key:?} is no name: letters, digits and `_` alone"));
        }
        let near = format!("{key}:");
        if raw.variants.contains_key(key) {
            on.fault(&near, format!("{key} is drawn and derived; call one of the two something else"));
        }
        let Some(source) = source.as_str() else {
            on.fault(&near, format!("{key}: write an expression, in quotes"));
            continue;
        };
        if let Some(expr) = on.expr(source, Use::Check) {
            derived.push((key.clone(), expr));
        }
    }
    let sample = draw::derive(&draw::draw(&raw.id, 1, &choices), &derived).unwrap_or_else(|why| {
        on.fault("derive:", why);
        Map::new()
    });
    let intro = body.trim();
    on.text(intro, &sample, false);
    let also = |a: written::Also| Also { only: a.only, lines: a.lines };
    let setup: Vec<Also> = raw.setup.into_iter().map(|p| also(p.0)).collect();
    let solution: Vec<Also> = raw.solution.into_iter().map(|p| also(p.0)).collect();
    let more: Vec<Also> = raw.also.into_iter().map(also).collect();
    let parts = || setup.iter().chain(&solution).chain(&more);
    let lines = parts().flat_map(|p| &p.lines).chain(raw.wrong.iter().flat_map(|w| &w.lines));
    for line in lines.chain(raw.tasks.iter().flat_map(|t| &t.probe)) {
        on.text(line, &sample, false);
    }
    // A manifest's lines stand each for itself in the file, so all parts are read as one.
    let whole: Vec<String> = setup.iter().flat_map(|part| part.lines.iter().cloned()).collect();
    on.lines(&whole, &sample);
    raw.tasks.iter().for_each(|task| on.lines(&task.probe, &sample));
    let conditions = parts().filter_map(|p| p.only.as_ref());
    for only in conditions.chain(raw.wrong.iter().filter_map(|w| w.only.as_ref())) {
        on.expr(only, Use::Check);
    }
    let ready_when = raw.ready_when.as_ref().and_then(|r| on.expr(r, Use::Check));
    let mut tasks: Vec<Task> = Vec::new();
    for task in raw.tasks {
        if tasks.iter().any(|t| t.id == task.id) {
            on.fault(&format!("id: {}", task.id), format!("two tasks are called {:?}", task.id));
        }
        on.text(&task.task, &sample, false);
        on.text(task.debrief.as_deref().unwrap_or_default(), &sample, true);
        let mut written = Vec::new();
        for check in task.check.list() {
            match check {
                raw::Check { that, is: Some(is), expect: None, asked: None, code: None } => {
                    written.push((that, is));
                }
                check => {
                    let near = if check.that.is_empty() { task.id.clone() } else { check.that };
                    on.fault(
                        &near,
                        "a check of a lab is an expression, `is`; `expect` and `asked` are for lessons"
                            .into(),
                    );
                }
            }
        }
        if written.is_empty() {
            on.fault(&format!("id: {}", task.id), format!("task {:?} checks nothing", task.id));
        }
        let unmet = task.unmet.unwrap_or_default();
        for told in written.iter().map(|(that, _)| that).chain([&unmet]) {
            on.text(told, &sample, false);
        }
        let compiled =
            written.into_iter().filter_map(|(that, is)| Some((Text::new(&that), on.expr(&is, Use::Check)?)));
        let checks: Vec<(Text, Expr)> = compiled.collect();
        tasks.push(Task {
            id: task.id,
            weight: task.weight,
            task: Text::new(&task.task),
            probe: task.probe,
            checks,
            unmet: Text::new(&unmet),
            hold: task.hold.map_or(HOLD, |s| s.0),
            within: task.within.map_or(WITHIN, |s| s.0),
            debrief: Text::new(task.debrief.as_deref().unwrap_or_default()),
            only_with: task.only_with,
            excludes: task.excludes,
        });
    }
    for task in &tasks {
        let odd = |id: &&String| **id == task.id || tasks.iter().all(|t| t.id != **id);
        if let Some(odd) = task.only_with.iter().find(odd) {
            on.fault(
                "only_with:",
                format!("task {:?} goes with {odd:?}, and there is no such other task", task.id),
            );
        }
    }
    let weight: u64 = tasks.iter().map(|t| u64::from(t.weight)).sum();
    if !(1..=WEIGHT_MAX).contains(&weight) {
        on.fault("tasks:", format!("the tasks weigh {weight} together; write from 1 to {WEIGHT_MAX}"));
    }
    if Lab::lines(&solution, &sample).is_empty() {
        on.fault("solution:", "there is no solution".into());
    }
    for wrong in &raw.wrong {
        if let Some(odd) = wrong.red.iter().find(|id| tasks.iter().all(|t| t.id != **id)) {
            on.fault(&wrong.why, format!("there is no task {odd:?}"));
        }
        if wrong.red.is_empty() && wrong.score_max.is_none() {
            on.fault(&wrong.why, "say which tasks stay red (red) or what it may earn (score_max)".into());
        }
        if wrong.score_max.is_some_and(|most| u64::from(most) >= weight) {
            on.fault(&wrong.why, format!("a wrong answer earns less than all {weight} points"));
        }
    }
    let mut hints: Vec<Hint> = Vec::new();
    for (at, hint) in raw.hints.into_iter().enumerate() {
        on.text(&hint.say, &sample, true);
        if let Some(what) = raw::odd_tier(hint.tier) {
            on.fault(&hint.say, what);
        }
        let id = hint.id.unwrap_or_else(|| (at + 1).to_string());
        if hints.iter().any(|h| h.id == id) {
            on.fault(&format!("id: {id}"), format!("two hints are called {id:?}"));
        }
        let when = hint.when.and_then(|w| on.expr(&w, Use::Check));
        hints.push(Hint { id, tier: hint.tier, when, say: Text::new(&hint.say) });
    }
    let mut lab = Lab {
        id: raw.id,
        title: Text::new(&raw.title),
        row: raw.row,
        level: raw.level,
        minutes: raw.minutes,
        needs: raw.needs,
        requires: raw.requires,
        cluster,
        choices,
        derived,
        setup,
        ready_when,
        tasks,
        hints,
        solution,
        also: more,
        wrong: raw
            .wrong
            .into_iter()
            .map(|w| Wrong { only: w.only, red: w.red, score_max: w.score_max, why: w.why, lines: w.lines })
            .collect(),
        remember: Text::new(raw.remember.as_deref().unwrap_or_default()),
        intro: Text::new(intro),
        languages: vec![EN.into()],
        content: sha256(source.as_bytes()),
        file: file.into(),
    };
    let mut faults = on.faults;
    for (lang, (path, text)) in others {
        faults.extend(translate(&mut lab, lang, &plain(text), path, &sample));
    }
    if faults.is_empty() { Ok(lab) } else { Err(faults) }
}

/// Adds a language; whatever differs in structure is a fault.
fn translate(lab: &mut Lab, lang: &str, text: &str, file: &Path, sample: &Map<String, Value>) -> Vec<Fault> {
    let (front, first, body, _) = match prose::split(text, file) {
        Ok(parts) => parts,
        Err(fault) => return vec![fault],
    };
    let words: written::Words = match raw::read(front, file, first) {
        Ok(words) => words,
        Err(fault) => return vec![fault],
    };
    let mut on = On { text, file, faults: vec![] };
    if words.id != lab.id {
        on.fault("id:", format!("the id is {:?}, in English {:?}", words.id, lab.id));
    }
    let same = |what: &str, here: &BTreeMap<String, String>, english: Vec<&String>, on: &mut On<'_>| {
        let mut english = english;
        english.sort();
        let here: Vec<&String> = here.keys().collect();
        if here != english {
            on.fault(&format!("{what}:"), format!("the {what} are {here:?}, in English {english:?}"));
        }
    };
    same("tasks", &words.tasks, lab.tasks.iter().map(|t| &t.id).collect(), &mut on);
    same("hints", &words.hints, lab.hints.iter().map(|h| &h.id).collect(), &mut on);
    let told = lab.tasks.iter().filter(|t| !t.debrief.get(EN).is_empty()).map(|t| &t.id).collect();
    same("debrief", &words.debrief, told, &mut on);
    let red = lab.tasks.iter().filter(|t| !t.unmet.get(EN).is_empty()).map(|t| &t.id).collect();
    same("unmet", &words.unmet, red, &mut on);
    for task in &lab.tasks {
        let english = task.checks.iter().filter(|(that, _)| !that.get(EN).is_empty()).count();
        let here = words.check.get(&task.id).map_or(0, Vec::len);
        if here != english {
            let what = format!("task {:?} has {here} sentences under `check`, in English {english}", task.id);
            on.fault("check:", what);
        }
    }
    if let Some(odd) = words.check.keys().find(|id| lab.tasks.iter().all(|t| t.id != **id)) {
        on.fault("check:", format!("there is no task {odd:?}"));
    }
    if lab.remember.get(EN).is_empty() != words.remember.is_none() {
        on.fault("remember", "`remember` stands in one language only".into());
    }
    [Some(&words.title), words.remember.as_ref()].into_iter().flatten().for_each(|text| on.bare(text));
    let red = words.unmet.values().chain(words.check.values().flatten());
    let plain = words.tasks.values().chain(red).map(|t| (t, false));
    for (text, template) in plain.chain(words.hints.values().chain(words.debrief.values()).map(|t| (t, true)))
    {
        on.text(text, sample, template);
    }
    on.text(body.trim(), sample, false);
    if prose::code_blocks(lab.intro.get(EN)) != prose::code_blocks(body) {
        on.fault("```", "the code blocks differ from the English ones".into());
    }
    lab.title.put(lang, &words.title);
    lab.intro.put(lang, body.trim());
    lab.remember.put(lang, words.remember.as_deref().unwrap_or_default());
    for task in &mut lab.tasks {
        task.task.put(lang, words.tasks.get(&task.id).map_or("", String::as_str));
        task.debrief.put(lang, words.debrief.get(&task.id).map_or("", String::as_str));
        task.unmet.put(lang, words.unmet.get(&task.id).map_or("", String::as_str));
        let mut sentences = words.check.get(&task.id).into_iter().flatten();
        for (that, _) in task.checks.iter_mut().filter(|(that, _)| !that.get(EN).is_empty()) {
            that.put(lang, sentences.next().map_or("", String::as_str));
        }
    }
    for hint in &mut lab.hints {
        hint.say.put(lang, words.hints.get(&hint.id).map_or("", String::as_str));
    }
    lab.languages.push(lang.into());
    on.faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAB: &str = include_str!("../../../../labs/broken-selector/lab.md");
    const KOREAN: &str = include_str!("../../../../labs/broken-selector/lab.ko.md");

    fn read(english: &str, korean: &str) -> Result<Lab, Vec<String>> {
        let other = ("ko", (PathBuf::from("broken-selector/lab.ko.md"), korean.to_string()));
        parse(english, Path::new("broken-selector/lab.md"), &[other])
            .map_err(|all| all.iter().map(ToString::to_string).collect())
    }
    fn broken(from: &str, to: &str) -> String {
        assert!(LAB.contains(from), "{from}");
        read(&LAB.replacen(from, to, 1), KOREAN).unwrap_err().join("\n")
    }

    #[test]
    fn a_lab_saved_on_windows_is_the_same_lab() {
        let windows = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
        let (here, there) = (read(LAB, KOREAN).unwrap(), read(&windows(LAB), &windows(KOREAN)).unwrap());
        let there = Lab { content: here.content.clone(), ..there }; // that is the hash of the file as it lies there
        assert_eq!(format!("{here:?}"), format!("{there:?}"));
    }

    #[test]
    fn slips_are_told_with_file_line_and_what_was_meant() {
        assert!(broken("minutes:", "minuts:").contains("did you mean \"minutes\"?"));
        assert!(broken("weight: 40", "wieght: 40").contains("did you mean \"weight\"?"));
        assert!(broken("namespace {{ns}}", "namespace {{nss}}").contains("there is no {{nss}}"));
        assert!(broken("{pick: [value, key]}", "{pik: [value, key]}").contains("{pick: [A, B]}"));
        assert!(broken("red: [traffic, durable]", "red: [trafic]").contains("there is no task \"trafic\""));
        assert!(broken("id: broken-selector", "id: other").contains("in the directory"));
        let all = LAB.find("    check: 'get(object(\"Deployment\"").expect("a check");
        let checked = LAB[all..].lines().next().expect("a line");
        assert!(broken(checked, "    check: []").contains("task \"all\" checks nothing"));
        for weight in ["4294967295", "10000"] {
            assert!(broken("weight: 40", &format!("weight: {weight}")).contains("weigh"));
        }
        for range in
            ["[8999, 8001]", "[-9223372036854775808, 9223372036854775807]", "[1, 18446744073709551615]"]
        {
            assert!(broken("[8001, 8999]", range).contains("{range: [LOW, HIGH]}"), "{range}");
        }
        assert!(broken("level: 1", "level: 5").contains("levels go from 1 to 4"));
        assert!(broken("minutes: 10", "minutes: 0").contains("from 1 to 1440 minutes"));
        assert!(broken("minutes: 10", "requires: [kernle]\nminutes: 10").contains("\"kernle\""));
        let cluster = |keys: &str| broken("minutes: 10", &format!("cluster: {{{keys}}}\nminutes: 10"));
        assert!(cluster("control-planes: 4").contains("1, 3 or 5 control planes"));
        assert!(cluster("clock: 20").contains("a lab runs in real time"));
        assert!(broken("id: where, tier: 1", "id: where, tier: 0").contains("tiers are 1"));
        assert!(broken("id: durable", "id: traffic").contains("two tasks are called \"traffic\""));
        assert!(broken("id: what, tier: 2", "id: where, tier: 2").contains("two hints are called \"where\""));
        assert!(broken("score_max: 90", "score_max: 100").contains("less than all 100 points"));
        assert!(broken("  bad: 'v", "  app: 'v").contains("app is drawn and derived"));
        assert!(broken("  bad: 'v", "  ba-d: 'v").contains("\"ba-d\" is no name"));
        assert!(broken("title: ", "title: \"{{ns}}\" # ").contains("no value is filled in here"));
        assert!(read(LAB, &KOREAN.replace("  same:", "  sane:")).unwrap_err()[0].contains("in English"));
        // What is said of a red task stands in both languages, and names what the lab draws.
        let (unmet, red) = ("\n    unmet: ConfigMap report, key cause", "  report: 컨피그맵");
        assert!(KOREAN.contains(red), "{KOREAN}");
        assert!(read(LAB, &KOREAN.replace(red, "  all: 컨피그맵")).unwrap_err()[0].contains("the unmet are"));
        assert!(broken(unmet, "\n    unmet: ConfigMap {{nane}}").contains("there is no {{nane}}"));
        let told = (checked, "    check: [{that: it is so, is: 'true'}]");
        assert!(broken(told.0, told.1).contains("has 0 sentences under `check`, in English 1"));
        assert!(
            read(LAB, &KOREAN.replace("{{app}}", "{{ap}}")).unwrap_err()[0]
                .starts_with("broken-selector/lab.ko.md:")
        );
    }
}
