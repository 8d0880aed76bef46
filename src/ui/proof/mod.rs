//! `lesson test`: proves that a lesson teaches what it says. Several clusters run side by side, and
//! all lines are typed into a real REPL, as the learner would. Most cases of a lesson share a
//! cluster ([`batch`]).

mod batch;
mod case;
mod cluster;
pub mod drills;
mod folder;
mod group;
mod home;
mod lab_plans;
pub mod labs;
mod length;
pub mod part;
mod stop;
mod turns;

use batch::{Batch, Ground, Where, batches};
use case::{Case, Found, Kind};
use clock::Instant;
use futures::StreamExt;
use lab::format::{EN, Lesson, sh_blocks};
use lab::needs;
use lang::charset::println;
use part::{Part, played};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use stop::Stop;

/// Proves lessons, `jobs` clusters side by side, and prints what was found. True if all of them are
/// sound.
///
/// `directory`: a folder that lessons were read from beside those of the program, if any. `part`:
/// which of the wrong answers and other ways ([`Part`]). With a kubeconfig, on the cluster behind
/// it, each case in a namespace of its own: what that cluster cannot do is not tried.
pub async fn prove(
    lessons: Vec<Lesson>,
    directory: Option<PathBuf>,
    kubeconfig: Option<PathBuf>,
    jobs: usize,
    part: Part,
) -> bool {
    let lessons: Vec<Arc<Lesson>> = lessons.into_iter().map(Arc::new).collect();
    let ground = Arc::new(match kubeconfig {
        Some(file) => Where::Foreign(file),
        None => Where::Home,
    });
    let mut all: Vec<Batch> =
        lessons.iter().flat_map(|l| batches(cases(l, &ground, part), ground.is_home())).collect();
    // The longest first: one that begins last has the machine to itself while all others are over.
    all.sort_by_cached_key(|batch| std::cmp::Reverse(length::of_cases(&batch.0)));
    let began = Instant::now();
    let (total, clusters) = (all.iter().map(|batch| batch.0.len()).sum::<usize>(), all.len());
    let mut found: BTreeMap<String, Vec<(Kind, Found)>> = BTreeMap::new();
    let directory = directory.map(|d| std::path::absolute(&d).unwrap_or(d));
    home::sweep();
    let stop = Stop::default();
    let mut running = futures::stream::iter(all)
        .map(|batch| {
            let (directory, ground, stop) = (directory.clone(), ground.clone(), stop.clone());
            async move {
                let at = Ground { place: &ground, directory: directory.as_deref(), stop: &stop };
                batch::prove(&batch, &at).await
            }
        })
        .buffer_unordered(jobs.max(1));
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    for lesson in &lessons {
        left.insert(lesson.id.clone(), self::cases(lesson, &ground, part).len());
    }
    let mut sound = true;
    let told = async {
        while let Some(results) = running.next().await {
            if stop.wanted() {
                sound = false;
                continue; // half a proof is none, and its clusters end now
            }
            for (case, result) in results {
                let id = case.lesson.id.clone();
                found.entry(id.clone()).or_default().push((case.kind, result));
                let count = left.entry(id.clone()).or_default();
                *count = count.saturating_sub(1);
                if *count == 0 {
                    let all = found.remove(&id).unwrap_or_default();
                    sound &= report(&case.lesson, &ground, part, all);
                }
            }
        }
    };
    stop.heard_during(told).await;
    if !stop.wanted() {
        println!("{total} cases on {clusters} clusters in {:.0} s", began.elapsed().as_secs_f64());
    }
    sound
}

/// Returns the cases of a lesson that can be tried on this ground: the solution, the commands in
/// its text, and of the wrong answers and other ways those of the `part`.
fn cases(lesson: &Arc<Lesson>, ground: &Where, part: Part) -> Vec<Case> {
    let (mut kinds, mut answers) = (vec![Kind::Solution], Vec::new());
    let texts = lesson.steps.iter().flat_map(|s| [&s.prose, &s.after]).chain([&lesson.intro]);
    if texts.into_iter().any(|text| !sh_blocks(text.get(EN)).is_empty()) {
        kinds.push(Kind::Prose);
    }
    for (step, s) in lesson.steps.iter().enumerate() {
        if !ground.is_home() && !s.needs.is_empty() {
            continue;
        }
        let fits = |at: &usize| ground.is_home() || needs::of_lines(&s.also[*at].lines).is_empty();
        answers.extend((0..s.also.len()).filter(fits).map(|at| Kind::Also { step, at }));
        answers.extend((0..s.wrong.len()).map(|at| Kind::Wrong { step, at }));
    }
    kinds.extend(part.select(answers));
    kinds.into_iter().map(|kind| Case { lesson: lesson.clone(), kind }).collect()
}

/// Prints what was found about a lesson. True if it is sound. A hint that no wrong answer reaches
/// is a fault only where all answers were played, so it is not judged of a part.
fn report(lesson: &Lesson, ground: &Where, part: Part, found: Vec<(Kind, Found)>) -> bool {
    let mut faults: Vec<String> = found.iter().flat_map(|(_, f)| f.faults.clone()).collect();
    faults.sort();
    faults.dedup();
    let reached: BTreeSet<&(usize, String)> = found.iter().flat_map(|(_, f)| &f.hints).collect();
    for (at, step) in lesson.steps.iter().enumerate() {
        // Elsewhere some wrong answers are refused, and so their hints never fit.
        let hints = step.hints.iter().filter(|h| h.when.is_some() && ground.is_home() && part.is_all());
        for hint in hints.filter(|h| !reached.contains(&(at, h.id.clone()))) {
            faults.push(format!("{}: no wrong answer makes the hint {:?} fit", step.id, hint.id));
        }
    }
    let lost: BTreeSet<&usize> = found.iter().flat_map(|(_, f)| &f.lost).collect();
    for (at, step) in lesson.steps.iter().enumerate() {
        if step.lost.is_some() && ground.is_home() && part.is_all() && !lost.contains(&at) {
            faults.push(format!("{}: no wrong answer makes `lost` true", step.id));
        }
    }
    let wrong = found.iter().filter(|(kind, _)| matches!(kind, Kind::Wrong { .. })).count();
    let also = found.iter().filter(|(kind, _)| matches!(kind, Kind::Also { .. })).count();
    let wrong = played(wrong, lesson.steps.iter().map(|s| s.wrong.len()).sum());
    let also = played(also, lesson.steps.iter().map(|s| s.also.len()).sum());
    let longest = found.iter().map(|(_, f)| f.took).max().unwrap_or_default().as_secs_f64();
    let mark = if faults.is_empty() { "✓" } else { "✗" };
    println!(
        "{mark} {} {}: {} steps, {wrong} wrong answers, {also} other ways ({longest:.0} s)",
        lesson.id,
        lesson.title.get(EN),
        lesson.steps.len()
    );
    for fault in &faults {
        println!("    ✗ {fault}");
    }
    for note in found.iter().flat_map(|(_, f)| &f.notes) {
        println!("    · {note}");
    }
    faults.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::format::Library;
    use std::path::Path;

    #[test]
    fn every_wrong_answer_and_other_way_is_a_case() {
        let library = Library::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/fixtures"));
        let lesson = Arc::new(library.lessons[0].clone());
        let kinds: Vec<Kind> = cases(&lesson, &Where::Home, Part::ALL).into_iter().map(|c| c.kind).collect();
        assert_eq!(kinds.iter().filter(|k| matches!(k, Kind::Wrong { .. })).count(), 8);
        assert_eq!(kinds.iter().filter(|k| matches!(k, Kind::Also { .. })).count(), 1);
        assert!(kinds.contains(&Kind::Solution));
    }

    #[test]
    fn a_hint_that_never_fits_is_a_fault() {
        let library = Library::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/fixtures"));
        let lesson = &library.lessons[0];
        let all = |ids: &[&str]| Found {
            hints: ids.iter().map(|h| (0, h.to_string())).collect(),
            ..Found::default()
        };
        assert!(report(
            lesson,
            &Where::Home,
            Part::ALL,
            vec![(Kind::Solution, all(&["other-name", "pull", "typo"]))]
        ));
        assert!(!report(
            lesson,
            &Where::Home,
            Part::ALL,
            vec![(Kind::Solution, all(&["other-name", "pull"]))]
        ));
    }
}
