//! `drill test`: proves that each task of a drill can be done, and only by doing it. One cluster
//! for all: a rehearsal takes away what it made. Lines are typed into a real REPL, as the learner
//! would.

use super::case::tail;
use super::cluster::ProofCluster;
use super::home;
use super::part::{Part, played};
use super::stop::Stop;
use clock::Instant;
use lab::practice::table::SkillTable;
use lab::practice::view::{Ask, DrillView, Lines, Phase, Wrong};
use lang::charset::println;
use std::time::Duration;

/// Lines that have not come to an end by then are cut off.
const LINES_MAX: Duration = Duration::from_secs(120);
/// How long a task is watched before its being red is believed.
const SETTLE: Duration = Duration::from_secs(2);
/// How long what a solution set going may take on a machine with much to do.
const DONE_MAX: Duration = Duration::from_secs(120);

/// Proves a part of the tasks, which are named by their ids, with the values of a seed, and prints
/// what was found of each. True if all of them are sound.
pub async fn prove(tasks: Vec<String>, seed: u64, part: Part) -> bool {
    home::sweep();
    let (began, stop) = (Instant::now(), Stop::default());
    let (mut sound, all) = (true, tasks.len());
    let tasks = part.select(tasks);
    let some = played(tasks.len(), all);
    let work = async {
        let cluster = match ProofCluster::for_labs(None, None, &stop).await {
            Ok(cluster) => cluster,
            Err(why) => {
                println!("✗ {why}");
                return false;
            }
        };
        for task in tasks {
            match stop.or(play(&cluster, &task, seed)).await {
                Ok(told) => println!("✓ {task}: {told}"),
                Err(why) => {
                    println!("✗ {task}, seed {seed}: {why}");
                    sound = false;
                    let _: Result<DrillView, _> = cluster.asked(Ask::Stop).await; // there may be none
                }
            }
            if stop.wanted() {
                break;
            }
        }
        cluster.close().await;
        sound && !stop.wanted()
    };
    let sound = stop.heard_during(work).await;
    println!("{some} tasks in {:.0} s", began.elapsed().as_secs_f64());
    sound
}

/// Plays each wrong answer, each other way and the solution, each on a task that was set up anew.
async fn play(cluster: &ProofCluster, task: &str, seed: u64) -> Result<String, String> {
    let begin = || Ask::Rehearse { task: task.into(), seed };
    let _: DrillView = cluster.asked(begin()).await?;
    let lines: Lines = cluster.asked(Ask::Solution).await?;
    for wrong in &lines.wrong {
        let said = wrong_answer(cluster, wrong).await?;
        check_red(cluster)
            .await
            .map_err(|why| format!("{why} after “{}”\n      {}", wrong.why, tail(&said)))?;
        let _: DrillView = cluster.asked(Ask::Stop).await?;
        let _: DrillView = cluster.asked(begin()).await?;
    }
    for way in &lines.also {
        let said = cluster.lines(way, LINES_MAX).await?;
        let told = |why| format!("{why} after “{}”\n      {}", way.join("; "), tail(&said));
        await_green(cluster).await.map_err(told)?;
        let _: DrillView = cluster.asked(begin()).await?;
    }
    check_red(cluster).await?;
    check_hints(cluster, task).await?;
    let said = cluster.lines(&lines.solution, LINES_MAX).await?;
    let took = await_green(cluster).await.map_err(|why| format!("{why}\n      {}", tail(&said)))?;
    Ok(format!(
        "red, {} wrong answers, {} other ways, green {:.1} s after the solution",
        lines.wrong.len(),
        lines.also.len(),
        took.as_secs_f64()
    ))
}

/// Types a wrong answer and returns what was said. One that is refused changes nothing, so that the
/// task stays red proves nothing.
async fn wrong_answer(cluster: &ProofCluster, wrong: &Wrong) -> Result<String, String> {
    let Some((code, said)) = cluster.repl(&wrong.lines, LINES_MAX).await? else {
        return Err(format!("“{}” took more than {} s", wrong.why, LINES_MAX.as_secs()));
    };
    match refusal(code, &said) {
        Some(why) => Err(format!("“{}” is refused: {why}", wrong.why)),
        None => Ok(said),
    }
}

/// Finds the line by which kubectl has refused a command. `code` is that of the last command; of
/// the others only what they said is known.
fn refusal(code: i32, said: &str) -> Option<String> {
    const BEGINNINGS: [&str; 3] = ["error: ", "Error from server", "Error: "];
    let is_refusal = |line: &&str| {
        let is_invalid = line.starts_with("The ") && line.contains(" is invalid: ");
        is_invalid || BEGINNINGS.iter().any(|beginning| line.starts_with(beginning))
    };
    let told = said.lines().map(str::trim).find(is_refusal).map(String::from);
    told.or_else(|| (code != 0).then(|| format!("exit code {code}")))
}

/// Checks that the task is red, and stays so.
///
/// # Errors
/// It is green, or cannot be asked for.
async fn check_red(cluster: &ProofCluster) -> Result<(), String> {
    for look in 0..2 {
        // A rehearsal ends when its task is green, and `check` of one that has ended is an error.
        let before: DrillView = cluster.asked(Ask::Show).await?;
        if before.phase != Phase::Running {
            return Err("it is green".into());
        }
        let view: DrillView = cluster.asked(Ask::Check).await?;
        if view.phase != Phase::Running || view.checks.iter().all(|check| check.met) {
            return Err("it is green".into());
        }
        if look == 0 {
            clock::pause(SETTLE).await;
        }
    }
    Ok(())
}

/// Checks that all hints without a condition can be had.
///
/// # Errors
/// Names the first one that cannot be said.
async fn check_hints(cluster: &ProofCluster, task: &str) -> Result<(), String> {
    let wanted = SkillTable::built_in().task(task).map_or(0, |(_, task)| task.hints());
    for number in 1..=wanted {
        let view: DrillView = cluster.asked(Ask::Hint { task: task.into() }).await?;
        if view.hints.len() != number || view.hints.iter().any(String::is_empty) {
            return Err(format!("hint {number} of {wanted} cannot be said"));
        }
    }
    Ok(())
}

/// Waits until the task is done, and returns how long that took.
///
/// # Errors
/// Names what was not done in [`DONE_MAX`].
async fn await_green(cluster: &ProofCluster) -> Result<Duration, String> {
    let began = Instant::now();
    loop {
        let view: DrillView = cluster.asked(Ask::Show).await?;
        match view.phase {
            Phase::Finished => return Ok(began.elapsed()),
            Phase::Running if began.elapsed() < DONE_MAX => clock::pause(Duration::from_millis(200)).await,
            _ => {
                let view: DrillView = cluster.asked(Ask::Check).await?;
                let unmet = view.checks.iter().filter(|check| !check.met).map(|check| check.that.as_str());
                return Err(format!("not done: {}", unmet.collect::<Vec<_>>().join("; ")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn a_wrong_answer_that_kubectl_refuses_is_noticed() {
        assert_eq!(refusal(0, "pod/mast created\nservice/web scaled\n"), None);
        for said in [
            "error: unknown flag: --replica",
            "Error from server (NotFound): deployments.apps \"crane\" not found",
            "The Deployment \"crane\" is invalid: spec.replicas: Invalid value: -1",
        ] {
            let told = format!("deployment.apps/crane created\n{said}\nservice/crane created\n");
            assert_eq!(refusal(0, &told).as_deref(), Some(said), "also one that is not the last");
        }
        assert_eq!(refusal(127, "sh: kubctl: not found").as_deref(), Some("exit code 127"));
    }
}
