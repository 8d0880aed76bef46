//! What `lab test` plays of a lab: which answers with which seed, and how long that takes.

use super::length::waits;
use super::part::Part;
use lab::graded::draw;
use lab::graded::read::{Lab, Task};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One answer of a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Solution,
    Also(usize),
    Wrong(usize),
}

/// What is played with one seed.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) lab: Arc<Lab>,
    pub(super) seed: u64,
    pub(super) kinds: Vec<Kind>,
    /// Grade the solution twice: the first grade must not have left anything.
    pub(super) twice: bool,
}

impl Kind {
    pub(super) fn lines(
        self,
        lab: &Lab,
        variant: &serde_json::Map<String, serde_json::Value>,
    ) -> Vec<String> {
        match self {
            Kind::Solution => Lab::lines(&lab.solution, variant),
            Kind::Also(at) => lab.also[at].lines.clone(),
            Kind::Wrong(at) => lab.wrong[at].lines.clone(),
        }
    }
    fn only(self, lab: &Lab) -> Option<&str> {
        match self {
            Kind::Solution => None,
            Kind::Also(at) => lab.also[at].only.as_deref(),
            Kind::Wrong(at) => lab.wrong[at].only.as_deref(),
        }
    }
    pub(super) fn name(self, lab: &Lab) -> String {
        match self {
            Kind::Solution => "solution".into(),
            Kind::Also(at) => format!("other way {}", at + 1),
            Kind::Wrong(at) => format!("wrong: {}", lab.wrong[at].why),
        }
    }
}

/// How long a play takes beside what its lines and the grade wait for: the lab is taken back and
/// set up, and pods start.
const PLAY: Duration = Duration::from_secs(8);
/// Answers that take longer than this together get clusters of their own, side by side. A further
/// cluster costs less processor time than one play, and the proof is as long as its longest plan.
const PLAN_MAX: Duration = Duration::from_secs(100);

impl Plan {
    /// Leaves of the answers those that are in this part. The solution stays.
    pub(super) fn keep(&mut self, share: Part) {
        let (mut kinds, answers) =
            std::mem::take(&mut self.kinds).into_iter().partition::<Vec<_>, _>(|k| *k == Kind::Solution);
        kinds.extend(share.only(answers));
        self.kinds = kinds;
    }

    /// Splits it into pieces of [`PLAN_MAX`] at most, or of one answer that is longer.
    pub(super) fn pieces(mut self) -> Vec<Plan> {
        let mut pieces: Vec<Plan> = Vec::new();
        for kind in std::mem::take(&mut self.kinds) {
            let one = Plan { kinds: vec![kind], ..self.clone() };
            match pieces.last_mut().filter(|last| last.length() + one.length() <= PLAN_MAX) {
                Some(last) => last.kinds.push(kind),
                None => pieces.push(one),
            }
        }
        pieces
    }

    /// Returns roughly how long it is played. Most of that time is waited: a task that is red is
    /// looked at until its time is over, and probes wait for what they disturb.
    pub(super) fn length(&self) -> Duration {
        let Ok(variant) = self.lab.variant(self.seed) else { return Duration::ZERO };
        let probes: Duration = self.lab.tasks.iter().map(|task| waits(&task.probe)).sum();
        let of_kind = |kind: &Kind| {
            let grades = match kind {
                Kind::Solution if self.twice => probes * 2,
                Kind::Solution | Kind::Also(_) => probes,
                Kind::Wrong(at) => self.looked_at(*at, probes),
            };
            PLAY + waits(&kind.lines(&self.lab, &variant)) + grades
        };
        self.kinds.iter().map(of_kind).sum()
    }

    /// Returns roughly how long the grade looks at what a wrong answer leaves red. The `probes`,
    /// which wait this long together, are played only if all else is green.
    fn looked_at(&self, wrong: usize, probes: Duration) -> Duration {
        let red = &self.lab.wrong[wrong].red;
        let (still, probed) = self
            .lab
            .tasks
            .iter()
            .filter(|task| red.contains(&task.id))
            .partition::<Vec<_>, _>(|task| task.probe.is_empty());
        let longest = |tasks: Vec<&Task>| tasks.iter().map(|task| task.within).max();
        longest(still).unwrap_or_else(|| probes + longest(probed).unwrap_or_default())
    }
}

/// The solution with every seed; each other answer once with every fault that it is for, or with
/// one of these alone if `once`, spread evenly.
pub(super) fn plans(lab: &Arc<Lab>, once: bool) -> Result<Vec<Plan>, String> {
    let seeds = draw::seeds(&lab.id, &lab.choices);
    let mut plans = Vec::new();
    for (at, seed) in seeds.into_iter().enumerate() {
        plans.push((
            lab.variant(seed)?,
            Plan { lab: lab.clone(), seed, kinds: vec![Kind::Solution], twice: at == 0 },
        ));
    }
    let answers = (0..lab.also.len()).map(Kind::Also).chain((0..lab.wrong.len()).map(Kind::Wrong));
    for kind in answers {
        let mut of_fault: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, (variant, _)) in plans.iter().enumerate() {
            if draw::fits(kind.only(lab), variant) {
                let fault = variant.get("fault").map(ToString::to_string).unwrap_or_default();
                of_fault.entry(fault).or_default().push(at);
            }
        }
        if of_fault.is_empty() {
            return Err(format!("no variant fits {:?}", kind.name(lab)));
        }
        let faults: Vec<Vec<usize>> = match once {
            true => vec![of_fault.into_values().flatten().collect()],
            false => of_fault.into_values().collect(),
        };
        for fits in faults {
            if let Some(least) = fits.into_iter().min_by_key(|at| plans[*at].1.kinds.len()) {
                plans[least].1.kinds.push(kind);
            }
        }
    }
    Ok(plans.into_iter().map(|(_, plan)| plan).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::graded::read::Labs;

    /// A few plays that wait may take longer than many that do not.
    #[test]
    fn plays_that_wait_are_longer_than_plays_that_do_not() {
        let library = Labs::built_in();
        let plan = |id: &str, kinds: Vec<Kind>, twice: bool| {
            let lab = Arc::new(library.labs.iter().find(|lab| lab.id == id).unwrap().clone());
            let seed = draw::seeds(&lab.id, &lab.choices)[0];
            Plan { lab, seed, kinds, twice }.length()
        };
        let solution = |twice| plan("slow-death", vec![Kind::Solution], twice);
        assert!(solution(false) > PLAY && solution(true) > solution(false));
        let wrong = |id: &str| plan(id, vec![Kind::Wrong(0); 4], false);
        assert!(wrong("dns-down") > wrong("wrong-port"), "60 s are longer than 15 s");
        let lost = plan("no-lost-guest", vec![Kind::Wrong(9)], false);
        assert!(lost > Duration::from_secs(90), "what a probe leaves red is looked at for 90 s");
    }

    /// Long answers have clusters of their own, and none is lost.
    #[test]
    fn long_plans_are_split() {
        let lab = Labs::built_in().labs.iter().find(|lab| lab.id == "no-lost-guest").unwrap().clone();
        let (lab, kinds) = (Arc::new(lab), vec![Kind::Solution, Kind::Wrong(9), Kind::Wrong(10)]);
        let seed = draw::seeds(&lab.id, &lab.choices)[0];
        let pieces = Plan { lab: lab.clone(), seed, kinds: kinds.clone(), twice: true }.pieces();
        assert_eq!(pieces.iter().map(|piece| piece.kinds.len()).collect::<Vec<_>>(), [1, 1, 1]);
        assert_eq!(pieces.into_iter().flat_map(|piece| piece.kinds).collect::<Vec<_>>(), kinds);
        let short = Plan { lab, seed, kinds: vec![Kind::Solution; 2], twice: false };
        assert_eq!(short.pieces().len(), 1);
    }

    #[test]
    fn every_answer_is_played_with_every_fault_it_is_for() {
        for lab in Labs::built_in().labs.iter().cloned().map(Arc::new) {
            let plans = super::plans(&lab, true).unwrap();
            for kind in (0..lab.wrong.len()).map(Kind::Wrong) {
                assert_eq!(plans.iter().filter(|p| p.kinds.contains(&kind)).count(), 1, "{}", lab.id);
            }
            let plans = super::plans(&lab, false).unwrap();
            let answers = (0..lab.also.len()).map(Kind::Also).chain((0..lab.wrong.len()).map(Kind::Wrong));
            for kind in answers.chain([Kind::Solution]) {
                let (mut want, mut have) = (Vec::new(), Vec::new());
                for plan in &plans {
                    let variant = lab.variant(plan.seed).unwrap();
                    let fault = variant.get("fault").cloned();
                    if draw::fits(kind.only(&lab), &variant) && !want.contains(&fault) {
                        want.push(fault.clone());
                    }
                    if plan.kinds.contains(&kind) && !have.contains(&fault) {
                        have.push(fault);
                    }
                }
                assert!(
                    !want.is_empty() && want.iter().all(|f| have.contains(f)),
                    "{} {}",
                    lab.id,
                    kind.name(&lab)
                );
            }
        }
    }
}
