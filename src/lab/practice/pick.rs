//! Picks the tasks of a drill: a pure function of how well each skill is known, and of a seed.

use super::record::State;
use super::table::{Skill, Task};
use rng::Rng;
use std::time::Duration;

/// How long a drill takes.
pub(super) const LIMIT: Duration = Duration::from_secs(120);
/// Tasks beyond [`LEAST`] are added as long as all of them take a learner who knows how no longer
/// than this: the rest of the time is for remembering.
const FILL: Duration = Duration::from_secs(90);
/// Tasks that a drill has, if there are so many and they fit.
const LEAST: usize = 3;
pub(super) const MOST: usize = 5;

/// A skill that was met, and how well it is known.
pub(super) struct Candidate<'a> {
    pub skill: &'a Skill,
    pub state: State,
}

/// Picks up to five tasks: rusty skills first, then due ones, then fresh ones, in each group by
/// chance. One that does not fit in the rest of the time ([`LIMIT`] for the first three, then
/// [`FILL`]) is left for another drill, and the next one is tried. Where fewer than three skills
/// were met, they come more than once, with another task each time: a drill has fewer tasks if
/// they have no more.
///
/// ```text
/// 1 rusty, 1 due, 6 fresh     the rusty one, the due one, and 1 to 3 of the fresh ones
/// 1 met, with two tasks       both tasks
/// ```
pub(super) fn pick<'a>(seed: u64, met: &[Candidate<'a>]) -> Vec<(&'a Skill, &'a Task)> {
    let rng = Rng::seeded(seed).fork("drill");
    let mut order: Vec<(State, u64, &Skill, Vec<&Task>)> = Vec::new();
    // In the order of the table: what one skill draws does not hang on how well another is known.
    for candidate in met {
        let mut tasks: Vec<(u64, &Task)> = candidate.skill.tasks.iter().map(|t| (rng.u64(), t)).collect();
        tasks.sort_by_key(|(by, _)| *by);
        let tasks = tasks.into_iter().map(|(_, task)| task).collect();
        order.push((candidate.state, rng.u64(), candidate.skill, tasks));
    }
    order.sort_by_key(|(state, by, ..)| (*state, *by));
    let rounds = order.iter().map(|(_, _, _, tasks)| tasks.len()).max().unwrap_or_default();
    let mut picked: Vec<(&Skill, &Task)> = Vec::new();
    for round in 0..rounds {
        for (_, _, skill, tasks) in &order {
            let Some(task) = tasks.get(round) else { continue };
            let seconds: u32 = picked.iter().map(|(_, task)| task.seconds).sum();
            let is_needed = picked.len() < LEAST;
            let room = if is_needed { LIMIT } else { FILL };
            let fits = u64::from(seconds + task.seconds) <= room.as_secs();
            if fits && (is_needed || picked.len() < MOST && round == 0) {
                picked.push((skill, task));
            }
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::practice::table::SkillTable;

    fn ids(seed: u64, met: &[(&str, State)]) -> Vec<String> {
        let table = SkillTable::built_in();
        let met: Vec<Candidate<'_>> = table
            .skills
            .iter()
            .filter_map(|skill| {
                let (_, state) = met.iter().find(|(id, _)| *id == skill.id)?;
                Some(Candidate { skill, state: *state })
            })
            .collect();
        pick(seed, &met).into_iter().map(|(_, task)| task.id.clone()).collect()
    }

    #[test]
    fn what_is_rusty_comes_first_and_a_seed_repeats_it() {
        use State::{Due, Fresh, Rusty};
        let met = [
            ("run-pod", Fresh),
            ("find-node", Fresh),
            ("create-deployment", Due),
            ("delete", Fresh),
            ("roll-back", Rusty),
            ("quota", Fresh),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for seed in 1..60 {
            let picked = ids(seed, &met);
            assert_eq!(picked, ids(seed, &met), "{seed}");
            assert!((LEAST..=MOST).contains(&picked.len()), "{picked:?}");
            assert_eq!(picked[..2], ["roll-back", "create-deployment"], "{seed}");
            let mut once = picked.clone();
            once.sort();
            once.dedup();
            assert_eq!(once.len(), picked.len(), "{picked:?}");
            seen.extend(picked);
        }
        assert_eq!(seen.len(), 7, "delete has two tasks: {seen:?}");
    }

    #[test]
    fn of_few_skills_there_are_several_tasks() {
        let mut two = ids(3, &[("delete", State::Due)]);
        two.sort();
        assert_eq!(two, ["delete-deployment", "delete-service"]);
        assert_eq!(ids(3, &[("delete", State::Due), ("logs", State::Fresh)]).len(), 3);
        assert_eq!(ids(3, &[]), Vec::<String>::new());
    }

    /// Whatever is met, a drill does not ask for more than fits.
    #[test]
    fn the_tasks_fit_in_two_minutes() {
        let table = SkillTable::built_in();
        let all: Vec<(&str, State)> = table.skills.iter().map(|s| (s.id.as_str(), State::Due)).collect();
        for seed in 0..200 {
            let picked = ids(seed, &all);
            let seconds = |ids: &[String]| -> u32 {
                ids.iter().map(|id| table.task(id).map_or(0, |(_, task)| task.seconds)).sum()
            };
            assert!(picked.len() >= LEAST && seconds(&picked) <= 120, "{seed}: {picked:?}");
            assert!(picked.len() == LEAST || seconds(&picked) <= 90, "{seed}: {picked:?}");
        }
        let longest = [("pending", State::Rusty), ("change-field", State::Rusty), ("selector", State::Rusty)];
        let short = [("run-pod", State::Fresh)];
        let picked = ids(1, &[&longest[..], &short[..]].concat());
        assert!(picked.len() == 3 && picked[2] == "run-pod", "the longest three do not fit: {picked:?}");
    }
}
