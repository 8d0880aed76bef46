//! The other languages of a lab.

use super::faults::On;
use crate::format::{EN, Fault, prose, raw};
use crate::graded::read::lab::Lab;
use crate::graded::read::written;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// Adds a language; whatever differs in structure is a fault.
pub(super) fn translate(
    lab: &mut Lab,
    lang: &str,
    text: &str,
    file: &Path,
    sample: &Map<String, Value>,
) -> Vec<Fault> {
    let (front, first, body, _) = match prose::split(text, file) {
        Ok(parts) => parts,
        Err(fault) => return vec![fault],
    };
    let words: written::Words = match raw::read(front, file, first) {
        Ok(words) => words,
        Err(fault) => return vec![fault],
    };
    let mut on = On { text, file, faults: vec![] };
    compare(&words, lab, &mut on);
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

/// Notes what the language has of its own, or lacks: its id, tasks, hints, explanations and
/// sentences are those of the English file.
fn compare(words: &written::Words, lab: &Lab, on: &mut On<'_>) {
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
    same("tasks", &words.tasks, lab.tasks.iter().map(|t| &t.id).collect(), on);
    same("hints", &words.hints, lab.hints.iter().map(|h| &h.id).collect(), on);
    let told = lab.tasks.iter().filter(|t| !t.debrief.get(EN).is_empty()).map(|t| &t.id).collect();
    same("debrief", &words.debrief, told, on);
    let red = lab.tasks.iter().filter(|t| !t.unmet.get(EN).is_empty()).map(|t| &t.id).collect();
    same("unmet", &words.unmet, red, on);
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
}
