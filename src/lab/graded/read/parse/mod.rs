//! From text to a lab that can be drawn, or to what is wrong with it.

mod faults;
mod tasks;
mod translate;
mod values;

use super::lab::{Also, Lab, Wrong};
use super::written;
use crate::cel::Use;
use crate::format::file::plain;
use crate::format::{EN, Fault, Text};
use crate::format::{prose, raw};
use crate::graded::draw;
use crate::graded::seal::sha256;
use crate::needs;
use faults::On;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use tasks::{check_tasks, check_wrong, hints, tasks};
use translate::translate;
use values::{choices, derived};

/// From the first steps to what takes experience.
const LEVELS: RangeInclusive<u8> = 1..=4;
/// Minutes that a lab may have.
const MINUTES: RangeInclusive<u32> = 1..=24 * 60;

/// Reads a lab and its other languages.
///
/// # Errors
/// Every fault that is found, with file and line.
pub(crate) fn parse(
    source: &str,
    file: &Path,
    others: &[(&str, (PathBuf, String))],
) -> Result<Lab, Vec<Fault>> {
    let text = &plain(source);
    let mut on = On { text, file, faults: vec![] };
    let (front, first, body, _) = prose::split(text, file).map_err(|f| vec![f])?;
    let raw: written::Lab = raw::read(front, file, first).map_err(|f| vec![f])?;
    check_header(&raw, &mut on);
    let cluster = raw.cluster.as_ref().and_then(|written| on.cluster(written));
    [Some(&raw.title), raw.remember.as_ref()].into_iter().flatten().for_each(|text| on.bare(text));
    let choices = choices(&raw.variants, &mut on);
    let derived = derived(&raw, &mut on);
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
    check_lines([&setup, &solution, &more], &raw.tasks, &raw.wrong, &sample, &mut on);
    let ready_when = raw.ready_when.as_ref().and_then(|r| on.expr(r, Use::Check));
    let tasks = tasks(raw.tasks, &sample, &mut on);
    let weight = check_tasks(&tasks, &mut on);
    if Lab::lines(&solution, &sample).is_empty() {
        on.fault("solution:", "there is no solution".into());
    }
    check_wrong(&raw.wrong, &tasks, weight, &mut on);
    let hints = hints(raw.hints, &sample, &mut on);
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

/// Notes what is wrong with the name, the level, the time limit and the needs of a lab.
fn check_header(raw: &written::Lab, on: &mut On<'_>) {
    let folder = on.file.parent().and_then(|d| d.file_name()).and_then(|n| n.to_str());
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
    for odd in raw.requires.iter().filter_map(|need| needs::odd_requirement(need)) {
        on.fault("requires:", odd);
    }
}

/// Notes lines that name unknown values, lines that the teacher cannot play, and conditions that do
/// not compile. `parts`: the setup, the solution and the other ways.
fn check_lines(
    parts: [&[Also]; 3],
    tasks: &[written::Task],
    wrong: &[written::Wrong],
    sample: &Map<String, Value>,
    on: &mut On<'_>,
) {
    let setup = parts[0];
    let parts = || parts.iter().copied().flatten();
    let lines = parts().flat_map(|p| &p.lines).chain(wrong.iter().flat_map(|w| &w.lines));
    for line in lines.chain(tasks.iter().flat_map(|t| &t.probe)) {
        on.text(line, sample, false);
    }
    // A manifest's lines stand each for itself in the file, so all parts are read as one.
    let whole: Vec<String> = setup.iter().flat_map(|part| part.lines.iter().cloned()).collect();
    on.lines(&whole, sample);
    tasks.iter().for_each(|task| on.lines(&task.probe, sample));
    let conditions = parts().filter_map(|p| p.only.as_ref());
    for only in conditions.chain(wrong.iter().filter_map(|w| w.only.as_ref())) {
        on.expr(only, Use::Check);
    }
}

#[cfg(test)]
mod tests;
