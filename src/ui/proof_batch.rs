//! Cases that share a cluster: the wrong answers and other ways of one step. A cluster of its own
//! for each costs more processor time than the case does.
//!
//! Between two cases the step begins anew, as a learner would have it with `goto`: the objects are
//! put back, so are the files, and the pods that were ready are so again. Not everything can be put
//! back, so two rules keep a case from being judged by what an earlier one left:
//! - what looks wrong is tried again alone, on a cluster of its own, and that counts;
//! - at the end the step's solution has to work. If it does not, something was broken on the way,
//!   and all cases are tried again alone.

use super::proof::{self, Case, Found, Ground, LINES_MAX};
use super::proof_cluster::ProofCluster;
use clock::Instant;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// More cases than this have two clusters, so that one step does not take longer than all others.
const CASES_MAX: usize = 8;

/// Words of lines that do what `goto` does not take back, or that go through history themselves.
/// `goto` puts objects back, and no other keys of etcd.
const NOT_TAKEN_BACK: &[&str] =
    &["fault", "config", "ropewalk", "kill", "etcdctl", "undo", "redo", "rewind", "goto"];

/// Cases for one cluster. More than one are of the same step.
pub(super) struct Batch(pub Vec<Case>);

impl Batch {
    /// Returns how many steps are played, about.
    pub(super) fn length(&self) -> usize {
        self.0.first().map_or(0, Case::steps_played) + self.0.len()
    }
}

/// Puts cases together that can share a cluster; `may_share`: it is one that was made for them.
pub(super) fn batches(cases: Vec<Case>, may_share: bool) -> Vec<Batch> {
    let (mut shared, mut all): (BTreeMap<usize, Vec<Case>>, Vec<Batch>) = Default::default();
    for case in cases {
        match case.step().filter(|_| may_share && is_taken_back(&case)) {
            Some(step) => shared.entry(step).or_default().push(case),
            None => all.push(Batch(vec![case])),
        }
    }
    for cases in shared.into_values() {
        let size = cases.len().div_ceil(cases.len().div_ceil(CASES_MAX));
        all.extend(cases.chunks(size).map(|some| Batch(some.to_vec())));
    }
    all
}

fn is_taken_back(case: &Case) -> bool {
    let mut words = case.lines().iter().flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()));
    !words.any(|word| NOT_TAKEN_BACK.contains(&word))
}

/// Tries the cases; what came of each.
pub(super) async fn prove(batch: &Batch, ground: &Ground<'_>) -> Vec<(Case, Found)> {
    let mut results = Vec::new();
    let sound = match batch.0.as_slice() {
        [] | [_] => false,
        cases => together(cases, ground, &mut results).await == Ok(true),
    };
    if !sound {
        results.clear();
    }
    for case in batch.0.iter().skip(results.len()) {
        results.push(alone(case, ground).await);
    }
    for (case, found) in &mut results {
        if sound && !found.faults.is_empty() && !ground.stop.wanted() {
            *found = alone(case, ground).await.1;
        }
    }
    results
}

async fn alone(case: &Case, ground: &Ground<'_>) -> (Case, Found) {
    let (began, mut found) = (Instant::now(), Found::default());
    let outcome = match ground.cluster().await {
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

/// Tries cases of one step on one cluster. True if nothing was left by one that another met, as far
/// as can be known.
///
/// # Errors
/// The cluster does not start, the step is not reached, or it does not begin anew.
async fn together(
    cases: &[Case],
    ground: &Ground<'_>,
    results: &mut Vec<(Case, Found)>,
) -> Result<bool, String> {
    let mut cluster = ground.cluster().await?;
    cluster.share();
    let outcome = ground.stop.or(one_after_another(cases, &cluster, results)).await;
    cluster.close().await;
    outcome
}

async fn one_after_another(
    cases: &[Case],
    cluster: &ProofCluster,
    results: &mut Vec<(Case, Found)>,
) -> Result<bool, String> {
    let Some((lesson, at)) = cases.first().and_then(|case| Some((case.lesson.clone(), case.step()?))) else {
        return Ok(false);
    };
    proof::open(&lesson, cluster).await?;
    proof::reach(&lesson, at, cluster).await?;
    let (folder, pods) = (Folder::of(&cluster.folder())?, cluster.pods().await?);
    for case in cases {
        let (began, mut found) = (Instant::now(), Found::default());
        let outcome = proof::play(case, cluster, &mut found).await;
        results.push((case.clone(), found.ended(began, outcome)));
        cluster.begin_anew(at, &pods).await?;
        folder.put_back()?;
    }
    cluster.guess(&lesson.steps[at]).await?;
    cluster.lines(&lesson.steps[at].solution, LINES_MAX).await?;
    Ok(cluster.green().await?.is_ok())
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
    use super::super::proof::Kind;
    use super::*;
    use lab::format::Library;
    use std::sync::Arc;

    #[test]
    fn cases_of_a_step_share_a_cluster_unless_they_do_what_stays() {
        let library = Library::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/fixtures"));
        let mut lesson = library.lessons[0].clone();
        lesson.steps[0].wrong.truncate(3);
        lesson.steps[0].wrong[1].lines = vec!["fault kill kube-scheduler".into()];
        let lesson = Arc::new(lesson);
        let case = |kind| Case { lesson: lesson.clone(), kind };
        let wrong = |at| case(Kind::Wrong { step: 0, at });
        let all =
            || vec![case(Kind::Solution), wrong(0), wrong(1), wrong(2), case(Kind::Also { step: 0, at: 0 })];
        let kinds = |batch: &Batch| batch.0.iter().map(|c| c.kind).collect::<Vec<_>>();
        let found: Vec<_> = batches(all(), true).iter().map(kinds).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        let together =
            [Kind::Wrong { step: 0, at: 0 }, Kind::Wrong { step: 0, at: 2 }, Kind::Also { step: 0, at: 0 }];
        assert!(found.contains(&together.to_vec()), "{found:?}");
        assert!(found.contains(&vec![Kind::Wrong { step: 0, at: 1 }]));
        assert_eq!(batches(all(), false).len(), 5);
        let many = batches((0..9).map(|_| wrong(0)).collect(), true);
        assert_eq!(many.iter().map(|batch| batch.0.len()).collect::<Vec<_>>(), [5, 4]);
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
