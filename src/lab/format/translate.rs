//! The other languages of a lesson: texts alone, of the same shape as the English ones.

use super::compiler::Compiler;
use super::lesson::{Lesson, Step};
use super::text::{EN, Fault};
use super::{answer, prose, raw};
use std::collections::BTreeSet;
use std::path::Path;

/// Adds a language. What is wrong with a step is noted in `faults`.
///
/// # Errors
/// The file cannot be read, or has not the steps and sections of the English one.
pub(super) fn translate(
    lesson: &mut Lesson,
    lang: &str,
    text: &str,
    file: &Path,
    faults: &mut Vec<Fault>,
) -> Result<(), Fault> {
    let (front, first, body, body_first) = prose::split(text, file)?;
    let words: raw::Words = raw::read(front, file, first)?;
    let (intro, mut sections) = prose::sections(body, body_first, file)?;
    let closing = prose::closing(&mut sections);
    let mut on = Compiler::new(text, file, faults);
    on.defines = lesson.defines.clone();
    if words.id != lesson.id {
        on.fault("id:", format!("the id is {:?}, in English {:?}", words.id, lesson.id));
    }
    let order: Vec<&str> = lesson.steps.iter().map(|s| s.id.as_str()).collect();
    let here: Vec<&str> = words.steps.iter().map(|s| s.id.as_str()).collect();
    if here != order {
        return Err(Fault {
            file: file.into(),
            line: first,
            what: format!("the steps are {}, in English {}", here.join(", "), order.join(", ")),
        });
    }
    let written: Vec<&str> = sections.iter().map(|s| s.id.as_str()).collect();
    if written != order {
        return Err(Fault {
            file: file.into(),
            line: body_first,
            what: format!("the sections are {}, in English {}", written.join(", "), order.join(", ")),
        });
    }
    lesson.title.put(lang, &words.title);
    same_code(&mut on, lesson.intro.get(EN), &intro, body_first);
    lesson.intro.put(lang, &intro);
    if closing.is_empty() != lesson.closing.get(EN).is_empty() {
        let what = format!("the closing section {{#{}}} stands in one language only", prose::CLOSING);
        on.faults.push(Fault { file: file.into(), line: body_first, what });
    }
    same_code(&mut on, lesson.closing.get(EN), &closing, body_first);
    lesson.closing.put(lang, &closing);
    for ((step, words), section) in lesson.steps.iter_mut().zip(words.steps).zip(&sections) {
        same_code(&mut on, step.prose.get(EN), &section.text, section.line);
        step.prose.put(lang, &section.text);
        step.heading.put(lang, &section.heading);
        if section.after.is_empty() != step.after.get(EN).is_empty() {
            let what = format!("{} of step {:?} stands in one language only", prose::AFTER, step.id);
            on.faults.push(Fault { file: file.into(), line: section.line, what });
        }
        same_code(&mut on, step.after.get(EN), &section.after, section.line);
        step.after.put(lang, &section.after);
        step.task.put(lang, &words.task);
        one_step_in(&mut on, step, words, lang);
    }
    Ok(())
}

/// Code is the same in every language.
fn same_code(on: &mut Compiler<'_>, english: &str, here: &str, line: usize) {
    if prose::code_blocks(english) != prose::code_blocks(here) {
        on.faults.push(Fault {
            file: on.file.into(),
            line,
            what: "the code blocks differ from the English ones".into(),
        });
    }
}

fn one_step_in(on: &mut Compiler<'_>, step: &mut Step, words: raw::StepWords, lang: &str) {
    let here = format!("id: {}", step.id);
    on.begin_step(&step.id, step.answer.is_some());
    answer::translate(on, &step.id, &mut step.answer, words.answer, lang);
    match (&mut step.predict, words.predict) {
        (Some(predict), Some(words)) => {
            predict.question.put(lang, &words.question);
            if !predict.choices.iter().map(|(k, _)| k).eq(words.choices.keys()) {
                on.fault(&here, format!("the choices of step {:?} are not called as in English", step.id));
            }
            for (key, text) in &mut predict.choices {
                text.put(lang, words.choices.get(key).map_or("", String::as_str));
            }
        }
        (None, None) => {}
        (there, _) => {
            let what = if there.is_some() { "is missing" } else { "is not in English" };
            on.fault(&here, format!("the question of step {:?} {what}", step.id));
        }
    }
    let sentences = step.checks.iter().filter(|c| !c.that.get(EN).is_empty()).count();
    if sentences != words.check.len() {
        on.fault(
            &here,
            format!("step {:?} has {} check texts, in English {sentences}", step.id, words.check.len()),
        );
    }
    for (check, text) in step.checks.iter_mut().zip(&words.check) {
        check.that.put(lang, text);
    }
    let ids: BTreeSet<&String> = step.hints.iter().map(|h| &h.id).collect();
    if ids != words.hints.keys().collect() {
        let (ours, theirs): (Vec<&String>, Vec<&String>) =
            (words.hints.keys().collect(), ids.into_iter().collect());
        on.fault(&here, format!("the hints of step {:?} are {ours:?}, in English {theirs:?}", step.id));
    }
    for hint in &mut step.hints {
        if let Some(template) = words.hints.get(&hint.id).and_then(|text| on.template(text)) {
            hint.say.put(lang, template);
        }
    }
    if step.keep.is_some() != words.keep.is_some() {
        on.fault(&here, format!("`keep` of step {:?} stands in one language only", step.id));
    }
    if let (Some(keep), Some(text)) = (&mut step.keep, &words.keep) {
        keep.say.put(lang, text);
    }
    if step.lost.is_some() != words.lost.is_some() {
        on.fault(&here, format!("`lost` of step {:?} stands in one language only", step.id));
    }
    if let (Some(lost), Some(text)) = (&mut step.lost, &words.lost) {
        lost.say.put(lang, text);
    }
    if step.remember.get(EN).is_empty() != words.remember.is_none() {
        on.fault(&here, format!("`remember` of step {:?} stands in one language only", step.id));
    }
    if let Some(text) = &words.remember {
        step.remember.put(lang, text);
    }
}
