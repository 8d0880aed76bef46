//! `lab test`: proves that a lab can be solved, and only by solving it. Seeds are chosen so that
//! every value of every key occurs with every fault; each has a cluster of its own, on which the
//! lab is started anew for every answer. All lines are typed into a real REPL, as the learner
//! would.

use super::cluster::ProofCluster;
use super::home;
use super::lab_plans::{Kind, Plan, plans};
use super::part::{Part, played};
use super::stop::Stop;
use crate::texts::Lang;
use clock::Instant;
use cluster::control::{self, Control};
use cluster::undo::Past;
use futures::StreamExt;
use lab::format::EN;
use lab::graded::read::Lab;
use lab::graded::view::{self, Ask, Graded, LabView};
use lab::graded::{draw, score, seal};
use lang::charset::{eprintln, println};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Lines that have not come to an end by then are cut off.
const LINES_MAX: Duration = Duration::from_secs(300);
/// How long a lab just started is watched before its being red is believed.
const SETTLE: Duration = Duration::from_secs(3);
/// How long what a solution set going may take on a machine with much to do.
const DONE_MAX: Duration = Duration::from_secs(180);

/// Proves labs, `jobs` clusters side by side, and prints what was found of each as soon as that is
/// known. `directory`: a folder that labs were read from beside those of the program, if any.
/// `only`: the cases whose names contain this. `once`: each other answer with one of the faults
/// that it is for, not with every one. `part`: which seeds of each lab ([`Part`]). True if all labs
/// are sound.
pub async fn prove(
    labs: Vec<Lab>,
    directory: Option<PathBuf>,
    jobs: usize,
    only: Option<&str>,
    once: bool,
    part: Part,
) -> bool {
    let directory = directory.map(|d| std::path::absolute(&d).unwrap_or(d));
    let (began, mut sound, mut total) = (Instant::now(), true, 0);
    let (mut all, mut open, mut is_found) = (Vec::new(), BTreeMap::new(), false);
    for lab in labs.into_iter().map(Arc::new) {
        let mut plans = match plans(&lab, once) {
            Ok(plans) => plans,
            Err(why) => {
                println!("✗ {}: {why}", lab.id);
                sound = false;
                continue;
            }
        };
        if let Some(only) = only {
            plans.iter_mut().for_each(|p| p.kinds.retain(|k| k.name(&p.lab).contains(only)));
            plans.retain(|p| !p.kinds.is_empty());
        }
        is_found |= !plans.is_empty(); // but perhaps in another part
        let share = part.share(plans.len());
        let mut plans = part.select(plans);
        plans.iter_mut().for_each(|plan| plan.keep(share));
        if let Some(first) = plans.first_mut() {
            first.twice = true;
        }
        total += plans.iter().map(|p| p.kinds.len()).sum::<usize>();
        let seeds = plans.len();
        let pieces: Vec<Plan> = plans.into_iter().flat_map(Plan::pieces).collect();
        open.insert(lab.id.clone(), Account::of(seeds, &pieces));
        all.extend(pieces);
    }
    if let (Some(only), false) = (only, is_found) {
        println!("✗ no answer's name has {only:?} in it");
        sound = false;
    }
    // The longest first, or the last of them would be waited for alone.
    all.sort_by_cached_key(|plan| std::cmp::Reverse(plan.length()));
    home::sweep();
    let stop = Stop::default();
    let mut played = futures::stream::iter(all)
        .map(|plan| async { (plan.lab.clone(), play(plan, directory.as_deref(), &stop).await) })
        .buffer_unordered(jobs.max(1));
    let told = async {
        while let Some((lab, outcomes)) = played.next().await {
            if stop.wanted() {
                sound = false;
                continue; // half a proof is none, and its clusters end now
            }
            let Some(account) = open.get_mut(&lab.id) else { continue };
            account.outcomes.extend(outcomes);
            account.left -= 1;
            if account.left == 0 {
                sound &= account.report(&lab, began.elapsed());
            }
        }
    };
    stop.heard_during(told).await;
    if !stop.wanted() {
        println!("{total} plays in {:.0} s", began.elapsed().as_secs_f64());
    }
    sound
}

/// What is known of one lab so far.
struct Account {
    seeds: usize,
    plays: usize,
    /// Pieces of plans that are not played to the end.
    left: usize,
    outcomes: Vec<Outcome>,
}

impl Account {
    fn of(seeds: usize, pieces: &[Plan]) -> Account {
        let plays = pieces.iter().map(|p| p.kinds.len()).sum();
        Account { seeds, plays, left: pieces.len(), outcomes: Vec::new() }
    }

    /// Prints what was found. True if the lab is sound.
    fn report(&self, lab: &Lab, at: Duration) -> bool {
        let faults: Vec<&String> = self.outcomes.iter().filter_map(|(_, o)| o.as_ref().err()).collect();
        let kinds: BTreeSet<Kind> = self.outcomes.iter().filter_map(|(kind, _)| *kind).collect();
        let wrong = kinds.iter().filter(|kind| matches!(kind, Kind::Wrong(_))).count();
        let also = kinds.iter().filter(|kind| matches!(kind, Kind::Also(_))).count();
        println!(
            "{} {} {}: {} seeds, {} plays, {} wrong answers, {} other ways (after {:.0} s)",
            if faults.is_empty() { "✓" } else { "✗" },
            lab.id,
            lab.title.get(EN),
            self.seeds,
            self.plays,
            played(wrong, lab.wrong.len()),
            played(also, lab.also.len()),
            at.as_secs_f64()
        );
        // The rest was printed when it happened.
        faults.iter().filter_map(|f| f.lines().next()).for_each(|f| println!("    ✗ {f}"));
        // What a wrong answer earned shows its author whether it is wrong for the reason that was
        // meant.
        let earned: BTreeSet<String> = self
            .outcomes
            .iter()
            .filter(|(kind, _)| matches!(kind, Some(Kind::Wrong(_))))
            .filter_map(|(kind, o)| Some(format!("{}: {}", (*kind)?.name(lab), o.as_ref().ok()?)))
            .collect();
        earned.iter().for_each(|e| println!("    · {e}"));
        faults.is_empty()
    }
}

/// Everything that is played with one seed, one after the other; what is wrong.
async fn play(plan: Plan, directory: Option<&Path>, stop: &Stop) -> Vec<Outcome> {
    let proof_cluster = match ProofCluster::for_labs(directory, plan.lab.cluster.as_ref(), stop).await {
        Ok(proof_cluster) => proof_cluster,
        Err(why) => return vec![(None, Err(format!("seed {}: {why}", plan.seed)))],
    };
    let outcomes = play_in(&plan, &proof_cluster, stop).await;
    proof_cluster.close().await; // whatever came of it: else its directory stays
    outcomes
}

async fn play_in(plan: &Plan, proof_cluster: &ProofCluster, stop: &Stop) -> Vec<Outcome> {
    let fresh = match revision(proof_cluster).await {
        Ok(revision) => revision,
        Err(why) => return vec![(None, Err(format!("seed {}: {why}", plan.seed)))],
    };
    let mut outcomes = Vec::new();
    for kind in &plan.kinds {
        let played = async {
            // A start leaves alone what an answer made outside the lab's namespaces.
            past(proof_cluster, Past::back(fresh, None)).await?;
            answer(plan, *kind, proof_cluster).await
        };
        let outcome = stop.or(played).await;
        let named = |why| format!("seed {}, {}: {why}", plan.seed, kind.name(&plan.lab));
        let outcome = outcome.map_err(named);
        // At once: the account comes when the last piece of the lab is over, or never.
        if let (Err(why), false) = (&outcome, stop.wanted()) {
            eprintln!("✗ {}: {why}", plan.lab.id);
        }
        outcomes.push((Some(*kind), outcome));
    }
    outcomes
}

/// What an answer earned, or what is wrong with that.
type Outcome = (Option<Kind>, Result<String, String>);

async fn past(proof_cluster: &ProofCluster, past: Past) -> Result<serde_json::Value, String> {
    let asked =
        async { Control::connect(&proof_cluster.place).await?.ask(&control::Ask::Past { past }).await };
    asked.await.map_err(|e: cluster::Error| e.say(Lang::En))
}

/// The store's newest revision.
async fn revision(proof_cluster: &ProofCluster) -> Result<i64, String> {
    let steps = past(proof_cluster, Past::Steps).await?;
    steps["revision"].as_i64().ok_or_else(|| "the store does not say its revision".to_string())
}

async fn answer(plan: &Plan, kind: Kind, proof_cluster: &ProofCluster) -> Result<String, String> {
    let (lab, seed) = (&plan.lab, Some(plan.seed));
    let variant = lab.variant(plan.seed)?;
    // As a learner starts it: what it would take is listed first, also behind another answer. What
    // such an answer has set going may still write, so only the first start is bound to its plan.
    let planned: view::Plan = proof_cluster.asked(Ask::Plan { id: Some(lab.id.clone()), seed }).await?;
    let agreed = (kind == Kind::Solution).then_some(planned);
    let _: LabView = proof_cluster.asked(Ask::Start { id: lab.id.clone(), seed, agreed }).await?;
    if kind == Kind::Solution {
        check_untouched(lab, proof_cluster).await?;
    }
    let filled: Result<Vec<String>, String> =
        kind.lines(lab, &variant).iter().map(|line| draw::fill(line, &variant)).collect();
    let said = proof_cluster.lines(&filled?, LINES_MAX).await?;
    if !matches!(kind, Kind::Wrong(_)) {
        await_done(proof_cluster).await?;
    }
    let failed = async |why: String| {
        let picture = picture(proof_cluster).await;
        Err(format!("{why}\n      {}\n{picture}", super::case::tail(&said)))
    };
    let found = grade(lab, proof_cluster).await?;
    if let Kind::Wrong(at) = kind {
        let wrong = &lab.wrong[at];
        return match score::too_good(&found, &wrong.red, wrong.score_max) {
            Some(why) => Err(format!("{why}\n      {}", super::case::tail(&said))),
            None => {
                let red: Vec<&str> = found.iter().filter(|t| !t.green).map(|t| t.id.as_str()).collect();
                Ok(format!("{} points, red: {}", score::points(&found).0, red.join(", ")))
            }
        };
    }
    if let Err(why) = check_full(&found) {
        return failed(why).await;
    }
    if kind == Kind::Solution
        && plan.twice
        && let Err(why) = check_full(&grade(lab, proof_cluster).await?)
    {
        return failed(format!("graded once more: {why}")).await;
    }
    Ok(String::new())
}

/// Waits until nothing that can be seen is red, as a learner does before asking for a grade. What
/// stays red is the grade's to tell.
async fn await_done(proof_cluster: &ProofCluster) -> Result<(), String> {
    await_tasks(proof_cluster, DONE_MAX).await.map(drop)
}

/// Returns how the tasks stand at the first moment in which nothing that can be seen is red, or
/// when this time is over.
async fn await_tasks(proof_cluster: &ProofCluster, within: Duration) -> Result<LabView, String> {
    proof_cluster.asked(Ask::Await { within_ms: within.as_millis() as u64 }).await
}

/// Checks that a lab in which nothing was done is red, and stays so, and that all its hints can be
/// had.
///
/// # Errors
/// Names the tasks that are green, or the hint that cannot be had.
async fn check_untouched(lab: &Lab, proof_cluster: &ProofCluster) -> Result<(), String> {
    await_tasks(proof_cluster, SETTLE).await?;
    // A pod that crashes again and again runs in between: only what holds is green.
    let seen: LabView = proof_cluster.asked(Ask::Check { id: None, seed: None }).await?;
    let green: Vec<&str> =
        seen.tasks.iter().filter(|t| t.green == Some(true)).map(|t| t.id.as_str()).collect();
    if !green.is_empty() {
        let green = green.join(", ");
        return Err(format!(
            "green before anything was done: {green}; `only_with` names the tasks without which they earn nothing"
        ));
    }
    let always = lab.hints.iter().filter(|h| h.when.is_none()).count();
    for number in 1..=always {
        let hinted: Result<LabView, String> = proof_cluster.asked(Ask::Hint { id: None }).await;
        if let Err(why) = hinted {
            return Err(format!("hint {number} of {always} cannot be had: {why}"));
        }
    }
    Ok(())
}

/// Grades, and checks that the record is what it should be.
async fn grade(lab: &Lab, proof_cluster: &ProofCluster) -> Result<Vec<score::Found>, String> {
    let ask = Ask::Grade { id: Some(lab.id.clone()), seed: None, learner: "test".into(), parts: true };
    let graded: Graded = proof_cluster.asked(ask).await?;
    seal::verify(&graded.record.to_string()).map_err(|e| format!("its own record is refused: {e}"))?;
    Ok(graded.found)
}

/// What the cluster looks like after an answer that should have been right: its author cannot look.
async fn picture(proof_cluster: &ProofCluster) -> String {
    let lines = [
        "kubectl get nodes,deployments,replicasets,pods,services,resourcequotas -A -o wide",
        "kubectl get resourcequotas -A -o jsonpath='{.items[*].status}'",
        "kubectl get events -A --sort-by=.metadata.creationTimestamp | tail -n 60",
    ];
    match proof_cluster.lines(&lines.map(String::from), LINES_MAX).await {
        Ok(said) => said.lines().map(|line| format!("      | {line}\n")).collect(),
        Err(why) => format!("      | {why}"),
    }
}

/// Checks that the answer has earned all points.
///
/// # Errors
/// Names what is missing.
fn check_full(found: &[score::Found]) -> Result<(), String> {
    match score::points(found) {
        (points, max) if points == max => Ok(()),
        (points, max) => Err(format!("{points} of {max}: {}", score::reds(found))),
    }
}
