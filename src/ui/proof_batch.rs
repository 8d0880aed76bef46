//! Cases that share a cluster: the solution of a lesson, and with it the wrong answers and other
//! ways of each step. A cluster of its own for each costs more processor time than the case does.
//!
//! The solution is played step by step. At each step the wrong answers and other ways come first,
//! and after each of them the step begins anew, as a learner would have it with `goto`: the objects
//! are put back, so are the files, and the pods that were ready are so again. Not everything can be
//! put back, so two rules keep a case from being judged by what an earlier one left:
//! - what looks wrong is tried again alone, on a cluster of its own, and that counts;
//! - after the cases of a step its solution has to work. If it does not, something was broken on
//!   the way: those cases and the solution are tried again alone, and the rest of the lesson goes
//!   on with another cluster.

use super::proof::{self, Case, Found, Kind, Where};
use super::proof_cluster::{ProofCluster, Stop};
use clock::Instant;
use lab::format::Lesson;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Cases for one cluster. More than one are of the same lesson: its solution, and others in the
/// order of their steps.
pub(super) struct Batch(pub Vec<Case>);

impl Batch {
    /// Returns how many steps are played, about.
    pub(super) fn length(&self) -> usize {
        self.0.first().map_or(0, Case::steps_played) + self.0.len()
    }
}

/// Puts cases of a lesson together that can share a cluster; `may_share`: it is one that was made
/// for them.
pub(super) fn batches(cases: Vec<Case>, may_share: bool) -> Vec<Batch> {
    let goes_back = |case: &Case| is_taken_back(case.lines()) && lab::takes_back(&case.lesson, case.lines());
    let is_shared =
        |case: &Case| may_share && (case.kind == Kind::Solution || case.step().is_some() && goes_back(case));
    let (mut shared, alone): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(is_shared);
    shared.sort_by_key(Case::step); // the solution has none, and is the first
    let together = (!shared.is_empty()).then_some(Batch(shared));
    together.into_iter().chain(alone.into_iter().map(|case| Batch(vec![case]))).collect()
}

/// Whether `goto` takes back what lines do, apart from objects (see [`lab::takes_back`]): it puts
/// back neither processes nor other keys of etcd, and does not undo what goes through history
/// itself.
fn is_taken_back(lines: &[String]) -> bool {
    lines.iter().all(|line| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let words: Vec<&str> = line.split(|c| !is_part(c)).filter(|word| !word.is_empty()).collect();
        words.iter().enumerate().all(|(at, word)| {
            let before = at.checked_sub(1).map_or("", |at| words[at]);
            let after = words.get(at + 1).copied().unwrap_or_default();
            match *word {
                "fault" | "redo" | "rewind" | "goto" => false,
                "undo" => before == "rollout",
                // One in a container stays in its number of restarts.
                "kill" => !words.contains(&"exec"),
                "config" => matches!(after, "view" | "current-context" | "get-contexts" | "get-clusters"),
                "etcdctl" => matches!(after, "get" | "watch" | "version"),
                "ropewalk" => {
                    matches!(after, "trace" | "why" | "map" | "net" | "status" | "what" | "progress")
                }
                _ => true,
            }
        })
    })
}

/// What a case needs beside itself.
pub(super) struct Ground<'a> {
    pub place: &'a Where,
    /// Where the lessons are read from; none: those in the binary.
    pub directory: Option<&'a Path>,
    pub stop: &'a Stop,
}

impl Ground<'_> {
    /// A cluster for cases of a lesson.
    ///
    /// # Errors
    /// It does not start.
    pub(super) async fn cluster(&self, lesson: &Lesson) -> Result<ProofCluster, String> {
        match self.place {
            Where::Home => ProofCluster::for_lesson(lesson, self.directory, self.stop).await,
            Where::Foreign(kubeconfig) => ProofCluster::foreign(kubeconfig).await,
        }
    }
}

/// Tries the cases; what came of each.
pub(super) async fn prove(batch: &Batch, ground: &Ground<'_>) -> Vec<(Case, Found)> {
    let (solution, others) = match batch.0.as_slice() {
        [] => return Vec::new(),
        [case] => return vec![alone(case, ground).await],
        [solution, others @ ..] => (solution, others),
    };
    let mut shared = Shared {
        lesson: solution.lesson.clone(),
        others,
        found: Vec::new(),
        solved: Ok(Found::default()),
        broken: Vec::new(),
        took: Duration::ZERO,
    };
    let steps = shared.lesson.steps.len();
    let mut from = 0;
    while from < steps && !ground.stop.wanted() {
        let broken = shared.walk(from, ground).await;
        if let Some(at) = broken {
            shared.found.retain(|(case, _)| case.step() != Some(at));
            shared.solved = Err(());
        }
        from = broken.map_or(steps, |at| at + 1);
    }
    let mut results = Vec::new();
    for case in others {
        let found = shared.found.iter().position(|(tried, _)| tried.kind == case.kind);
        let found = found.map(|at| shared.found.swap_remove(at)).filter(|(_, found)| found.faults.is_empty());
        results.push(match found {
            Some(sound) => sound,
            None => alone(case, ground).await,
        });
    }
    let (case, mut found) = match shared.solved.ok().filter(|found| found.faults.is_empty()) {
        Some(found) => (solution.clone(), found.lasted(shared.took)),
        None => alone(solution, ground).await,
    };
    found.notes.append(&mut shared.broken);
    results.push((case, found));
    results
}

async fn alone(case: &Case, ground: &Ground<'_>) -> (Case, Found) {
    let mut found = Found::default();
    let cluster = ground.cluster(&case.lesson).await;
    let began = Instant::now(); // not before it was its turn
    let outcome = match cluster {
        Ok(cluster) => {
            let played = async {
                proof::open(&case.lesson, &cluster).await?;
                proof::reach(&case.lesson, case.step().unwrap_or(0), &cluster).await?;
                proof::play(case, &cluster, &mut found).await
            };
            let outcome = ground.stop.or(played).await;
            cluster.close().await;
            outcome
        }
        Err(why) => Err(why),
    };
    (case.clone(), found.ended(began, outcome))
}

/// A lesson whose cases share clusters.
struct Shared<'a> {
    lesson: Arc<Lesson>,
    others: &'a [Case],
    /// What came of those of the others that were tried.
    found: Vec<(Case, Found)>,
    /// What came of the solution; none if it did not work everywhere after other cases.
    solved: Result<Found, ()>,
    /// Steps whose cases have to be tried again alone, and why.
    broken: Vec<String>,
    /// How long was played, without the waiting for clusters.
    took: Duration,
}

impl Shared<'_> {
    /// Plays the lesson from a step on, on one cluster. Returns the step that was not solved, if
    /// there is one: what came of its cases does not count, and later steps were not reached.
    async fn walk(&mut self, from: usize, ground: &Ground<'_>) -> Option<usize> {
        let mut cluster = match ground.cluster(&self.lesson).await {
            Ok(cluster) => cluster,
            Err(why) => {
                self.broken.push(why);
                return Some(from);
            }
        };
        cluster.share();
        let began = Instant::now();
        let mut at = from;
        let walked = async {
            proof::open(&self.lesson, &cluster).await?;
            proof::reach(&self.lesson, from, &cluster).await?;
            while at < self.lesson.steps.len() {
                self.step(at, &cluster).await?;
                at += 1;
            }
            Ok(())
        };
        let walked = ground.stop.or(walked).await;
        cluster.close().await;
        self.took += began.elapsed();
        let broken = walked.err()?;
        self.broken.push(format!("{}: its cases are tried again alone, {broken}", self.lesson.steps[at].id));
        Some(at)
    }

    /// Tries the cases of an open step, and then its solution.
    ///
    /// # Errors
    /// The step does not begin anew after a case, or its solution does not work.
    async fn step(&mut self, at: usize, cluster: &ProofCluster) -> Result<(), String> {
        let mut unsolved = Found::default();
        let solved = self.solved.as_mut().unwrap_or(&mut unsolved);
        if !proof::begins(&self.lesson, at, cluster, solved).await? {
            return Err("it is skipped".into());
        }
        let cases = self.others.iter().filter(|case| case.step() == Some(at));
        if cases.clone().next().is_some() {
            let begin = cluster.beginning(at).await?;
            let folder = Folder::of(&cluster.folder())?;
            for case in cases {
                let (began, mut found) = (Instant::now(), Found::default());
                let outcome = proof::play(case, cluster, &mut found).await;
                self.found.push((case.clone(), found.ended(began, outcome)));
                cluster.begin_anew(&begin).await?;
                folder.put_back()?;
            }
        }
        proof::is_solved(&self.lesson, at, cluster, solved).await
    }
}

/// The files of a folder, without those in folders below it.
struct Folder {
    path: PathBuf,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Folder {
    fn of(path: &Path) -> Result<Folder, String> {
        let told = |e: std::io::Error| format!("{}: {e}", path.display());
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(path).map_err(told)?.flatten() {
            if entry.file_type().is_ok_and(|t| t.is_file()) {
                files.insert(entry.path(), std::fs::read(entry.path()).map_err(told)?);
            }
        }
        Ok(Folder { path: path.into(), files })
    }

    /// Removes files that are new, and writes those anew that were changed or removed.
    fn put_back(&self) -> Result<(), String> {
        let now = Folder::of(&self.path)?;
        for new in now.files.keys().filter(|file| !self.files.contains_key(*file)) {
            std::fs::remove_file(new).map_err(|e| format!("{}: {e}", new.display()))?;
        }
        for (file, bytes) in self.files.iter().filter(|(file, bytes)| now.files.get(*file) != Some(bytes)) {
            std::fs::write(file, bytes).map_err(|e| format!("{}: {e}", file.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::format::Library;
    use std::sync::Arc;

    #[test]
    fn cases_of_a_lesson_share_a_cluster_unless_they_do_what_stays() {
        let library = Library::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/fixtures"));
        let mut lesson = library.lessons[0].clone();
        lesson.steps[0].wrong[1].lines = vec!["fault kill kube-scheduler".into()];
        lesson.steps[0].wrong[2].lines = vec!["kubectl label node --all a=b".into()];
        let lesson = Arc::new(lesson);
        let wrong = |step, at| Kind::Wrong { step, at };
        let kinds = [Kind::Prose, wrong(2, 0), wrong(0, 1), wrong(0, 2), wrong(0, 0), Kind::Solution];
        let all = || kinds.iter().map(|&kind| Case { lesson: lesson.clone(), kind }).collect::<Vec<_>>();
        let kinds = |batch: &Batch| batch.0.iter().map(|c| c.kind).collect::<Vec<_>>();
        let found: Vec<_> = batches(all(), true).iter().map(kinds).collect();
        let together = vec![Kind::Solution, wrong(0, 0), wrong(2, 0)];
        assert_eq!(found, [together, vec![Kind::Prose], vec![wrong(0, 1)], vec![wrong(0, 2)]]);
        assert_eq!(batches(all(), false).len(), 6);
    }

    #[test]
    fn what_goto_does_not_take_back_is_tried_alone() {
        let is_taken_back = |line: &str| super::is_taken_back(&[line.to_string()]);
        for line in [
            "kubectl describe node ropewalk-worker",
            "kubectl rollout undo deployment blog",
            "kubectl get pods --server=$(kubectl config view -o jsonpath='{..server}')",
            "sleep 900 & kill $!",
            "etcdctl get /registry --prefix",
            "answer $(ropewalk trace pod/ship | tail -1)",
        ] {
            assert!(is_taken_back(line), "{line}");
        }
        for line in [
            "fault kill kube-scheduler",
            "undo",
            "kubectl exec web -- kill 1",
            "kubectl config set-context --current --namespace=x",
            "echo x | etcdctl put foo",
            "ropewalk down",
            "ropewalk fault kill kubelet",
            "goto 1",
        ] {
            assert!(!is_taken_back(line), "{line}");
        }
    }

    #[test]
    fn files_of_a_case_are_gone_before_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        std::fs::write(file("kept"), "a").unwrap();
        std::fs::write(file("changed"), "b").unwrap();
        std::fs::create_dir(file("clusters")).unwrap();
        let folder = Folder::of(dir.path()).unwrap();
        std::fs::write(file("new"), "").unwrap();
        std::fs::write(file("changed"), "c").unwrap();
        std::fs::remove_file(file("kept")).unwrap();
        folder.put_back().unwrap();
        assert!(!file("new").exists() && file("clusters").exists());
        assert_eq!(["kept", "changed"].map(|name| std::fs::read_to_string(file(name)).unwrap()), ["a", "b"]);
    }
}
