//! Cases that share a cluster: the solution of a lesson, and with it the wrong answers and other
//! ways of each step. A cluster of its own for each costs more processor time than the case does.
//!
//! The solution is played step by step. At each step the wrong answers and other ways come first.
//! After each of them the step begins anew, as a learner would have it with `goto`: its objects and
//! the folder in which lines are typed are put back, and the pods that were ready are ready again.
//! After the last step the lesson begins anew for the commands in its text.
//!
//! Some things are not put back: processes that a fault ended, keys of etcd, and what a container
//! keeps, such as its files. A case that changes one of these has a cluster of its own
//! ([`batches`]). Two more rules keep a case from being judged by what an earlier one left:
//! - a case that looks wrong is tried again alone, on a cluster of its own, and that result counts;
//! - after the cases of a step its solution has to work. If it does not, those cases and the
//!   solution are tried again alone, and the rest of the lesson goes on with another cluster.
//!
//! They do not cover one thing: an earlier case left something that is not listed above, and that
//! alone makes a later wrong answer red. Then the wrong answer passes without proof.

use super::case::{self, Case, Found, Kind};
use super::cluster::{Beginning, ProofCluster};
use super::folder::Folder;
use super::stop::Stop;
use clock::Instant;
use lab::format::Lesson;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Cases for one cluster. More than one are of the same lesson: its solution, and others in the
/// order of their steps.
pub(super) struct Batch(pub Vec<Case>);

/// Groups the cases of a lesson: those that can share a cluster, and each of the others alone. They
/// share only clusters that the proof makes itself (`may_share`).
pub(super) fn batches(cases: Vec<Case>, may_share: bool) -> Vec<Batch> {
    let are_taken_back =
        |lesson: &Lesson, lines: &[String]| is_taken_back(lines) && lab::takes_back(lesson, lines);
    let goes_back = |case: &Case| match case.kind {
        Kind::Solution => true,
        // What the solutions did before it has to go back, too: it begins at the first step.
        Kind::Prose => are_taken_back(&case.lesson, &case::lines_of_prose(&case.lesson)),
        Kind::Wrong { .. } | Kind::Also { .. } => {
            begins_as_it_began(case) && are_taken_back(&case.lesson, case.lines())
        }
    };
    let (mut shared, alone): (Vec<Case>, Vec<Case>) =
        cases.into_iter().partition(|case| may_share && goes_back(case));
    shared.sort_by_key(|case| (case.kind != Kind::Solution, case.step())); // the solution comes first
    let together = (!shared.is_empty()).then_some(Batch(shared));
    together.into_iter().chain(alone.into_iter().map(|case| Batch(vec![case]))).collect()
}

/// Returns whether the step of a case can begin anew as it began. After a solution has switched a
/// node off it cannot: the node controller marks the pods of that node once, and those of other
/// namespaces are evicted in the course of the step, where `goto` puts nothing back.
fn begins_as_it_began(case: &Case) -> bool {
    let before = case.lesson.steps.iter().take(case.step().unwrap_or(0));
    let mut lines = before.flat_map(|step| &step.solution);
    !lines.any(|line| line.contains("fault node stop") || line.contains("fault node crash"))
}

/// Returns whether `goto` takes back what lines do, apart from objects (see [`lab::takes_back`]).
/// It does not put back processes, keys of etcd that are no objects, or what containers keep, and
/// does not undo `undo`, `redo` and the like.
fn is_taken_back(lines: &[String]) -> bool {
    lines.iter().all(|line| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let words: Vec<&str> = line.split(|c| !is_part(c)).filter(|word| !word.is_empty()).collect();
        let is_harmless = words.iter().enumerate().all(|(at, word)| {
            let before = at.checked_sub(1).map_or("", |at| words[at]);
            let after = words.get(at + 1).copied().unwrap_or_default();
            match *word {
                "fault" | "redo" | "rewind" | "goto" => false,
                "undo" => before == "rollout",
                // After a kill in a container the number of its restarts stays.
                "kill" => !words.contains(&"exec"),
                "config" => matches!(after, "view" | "current-context" | "get-contexts" | "get-clusters"),
                "etcdctl" => matches!(after, "get" | "watch" | "version"),
                "ropewalk" => {
                    matches!(after, "trace" | "why" | "map" | "net" | "status" | "what" | "progress")
                }
                _ => true,
            }
        });
        is_harmless && !writes_in_containers(line, &words)
    })
}

/// Programs that change files, and options that write a file or hand over what is typed.
const WRITERS: [&str; 18] = [
    "-i", "-it", "-ti", "--stdin", "chmod", "chown", "cp", "dd", "ln", "mkdir", "mv", "rm", "rmdir", "tar",
    "tee", "touch", "truncate", "unlink",
];

/// Commands of `kv-cli` that only read.
const KV_READERS: [&str; 5] = ["EXISTS", "GET", "HGET", "HGETALL", "PING"];

/// Returns whether a line may change what is in containers, which stays as long as the pod does:
/// their files, and the data of programs that are sent a request. In doubt it may: then the case
/// only takes longer, on a cluster of its own.
///
/// ```text
/// kubectl exec web -- sh -c 'echo hello > /shared/index.html'   yes
/// kubectl exec web -- wget -qO- http://localhost 2>&1           no: it only reads
/// curl -X POST http://localhost:30080/buy                       yes: the shop remembers it
/// kubectl exec db -- kv-cli FLUSHALL                            yes: the database is empty
/// rm notes                                                      no: a file of one's own folder
/// ```
fn writes_in_containers(line: &str, words: &[&str]) -> bool {
    let has = |word: &str| words.contains(&word);
    let sends = ["POST", "PUT", "PATCH", "DELETE"].into_iter().any(has)
        || has("curl") && has("-d")
        || words.iter().any(|word| word.starts_with("--data") || word.starts_with("--post-"));
    let copies = has("cp") && (has("k") || has("kubectl") || line.contains(":/"));
    let stores = has("kv-cli") && !KV_READERS.into_iter().any(has);
    let writes = WRITERS.into_iter().any(has) || loads(words) || redirects(line);
    sends || copies || has("exec") && (stores || writes)
}

/// The forms of output of kubectl's `-o`: in a line with curl, too, they are no names of files.
const FORMS: [&str; 7] = ["custom-columns", "go-template", "json", "jsonpath", "name", "wide", "yaml"];

/// Returns whether `wget` or `curl` writes a file: `-O FILE`, but not `-O -` or `-O /dev/null`; of
/// curl also `-o FILE` and `--output FILE`.
fn loads(words: &[&str]) -> bool {
    let has_curl = words.contains(&"curl");
    words.windows(2).any(|pair| {
        let names_file = match pair[0] {
            "-O" | "-qO" => true,
            "-o" | "--output" => has_curl && !FORMS.contains(&pair[1]),
            "-so" | "-sSo" => has_curl,
            _ => false,
        };
        names_file && !matches!(pair[1], "-" | "dev")
    })
}

/// Returns whether something is redirected to a file: `> FILE`, but not `2>&1` or `> /dev/null`.
fn redirects(line: &str) -> bool {
    let mut targets = line.split('>').skip(1).map(str::trim_start);
    targets.any(|target| !target.is_empty() && !target.starts_with('&') && !target.starts_with("/dev/null"))
}

/// Where lessons are proved.
pub(super) enum Where {
    /// On clusters made for it.
    Home,
    /// On the one behind this kubeconfig.
    Foreign(PathBuf),
}

impl Where {
    pub(super) fn is_home(&self) -> bool {
        matches!(self, Where::Home)
    }
}

/// Where cases are played, and what stops them.
pub(super) struct Ground<'a> {
    pub place: &'a Where,
    /// Where the lessons are read from; `None`: those in the binary.
    pub directory: Option<&'a Path>,
    pub stop: &'a Stop,
}

impl Ground<'_> {
    /// Starts a cluster for cases of a lesson.
    ///
    /// # Errors
    /// The cluster does not start.
    pub(super) async fn cluster(&self, lesson: &Lesson) -> Result<ProofCluster, String> {
        match self.place {
            Where::Home => ProofCluster::for_lesson(lesson, self.directory, self.stop).await,
            Where::Foreign(kubeconfig) => ProofCluster::foreign(kubeconfig).await,
        }
    }
}

/// Plays the cases of a batch, and returns what was found of each.
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
        first: None,
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

/// Plays a case on a cluster of its own.
async fn alone(case: &Case, ground: &Ground<'_>) -> (Case, Found) {
    let mut found = Found::default();
    let cluster = ground.cluster(&case.lesson).await;
    let began = Instant::now(); // the wait for the cluster does not count
    let outcome = match cluster {
        Ok(cluster) => {
            let played = async {
                case::open(&case.lesson, &cluster).await?;
                case::reach(&case.lesson, case.step().unwrap_or(0), &cluster).await?;
                case::play(case, &cluster, &mut found).await
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
    /// What was found of the cases in `others` that were played.
    found: Vec<(Case, Found)>,
    /// What was found of the solution; `Err` if it failed in a step after that step's cases.
    solved: Result<Found, ()>,
    /// Names the steps whose cases have to be tried again alone, and says why.
    broken: Vec<String>,
    /// What the first step began with on the cluster at hand; `None` if that one began later.
    first: Option<(Beginning, Folder)>,
    /// How long the cases were played, without the time in which clusters started.
    took: Duration,
}

impl Shared<'_> {
    /// Plays the lesson from a step on, on one cluster. Returns the step that was not solved, if
    /// there is one: the results of its cases do not count, and later steps were not played.
    async fn walk(&mut self, from: usize, ground: &Ground<'_>) -> Option<usize> {
        let mut cluster = match ground.cluster(&self.lesson).await {
            Ok(cluster) => cluster,
            Err(why) => {
                self.broken.push(why);
                return Some(from);
            }
        };
        cluster.share();
        self.first = None;
        let began = Instant::now();
        let mut at = from;
        let walked = async {
            case::open(&self.lesson, &cluster).await?;
            case::reach(&self.lesson, from, &cluster).await?;
            while at < self.lesson.steps.len() {
                self.step(at, &cluster).await?;
                at += 1;
            }
            self.prose(&cluster).await;
            Ok(())
        };
        let walked = ground.stop.or(walked).await;
        cluster.close().await;
        self.took += began.elapsed();
        let broken = walked.err()?;
        // Behind the last step the commands of the text are played: that may be interrupted, too.
        let step = self.lesson.steps.get(at)?;
        self.broken.push(format!("{}: its cases are tried again alone, {broken}", step.id));
        Some(at)
    }

    /// Plays the cases of an open step, and then its solution.
    ///
    /// # Errors
    /// The step does not begin anew after a case, or its solution does not work.
    async fn step(&mut self, at: usize, cluster: &ProofCluster) -> Result<(), String> {
        let mut unsolved = Found::default();
        let solved = self.solved.as_mut().unwrap_or(&mut unsolved);
        if !case::begin_step(&self.lesson, at, cluster, solved).await? {
            return Err("it is skipped".into());
        }
        let cases = self.others.iter().filter(|case| case.step() == Some(at));
        if at == 0 || cases.clone().next().is_some() {
            let begin = cluster.beginning(at).await?;
            let folder = Folder::of(&cluster.folder())?;
            for case in cases {
                let (began, mut found) = (Instant::now(), Found::default());
                let outcome = case::play(case, cluster, &mut found).await;
                self.found.push((case.clone(), found.ended(began, outcome)));
                cluster.begin_anew(&begin).await?;
                folder.put_back()?;
            }
            if at == 0 {
                self.first = Some((begin, folder));
            }
        }
        case::play_solution(&self.lesson, at, cluster, solved).await
    }

    /// Tries the commands in the text of a lesson that was played to its end, from the first step
    /// on. If that fails, they are tried again alone.
    async fn prose(&mut self, cluster: &ProofCluster) {
        let case = self.others.iter().find(|case| case.kind == Kind::Prose);
        let (Some(case), Some((begin, folder))) = (case, &self.first) else { return };
        let (began, mut found) = (Instant::now(), Found::default());
        let played = async {
            cluster.begin_anew(begin).await?;
            folder.put_back()?;
            case::play(case, cluster, &mut found).await
        };
        let outcome = played.await;
        self.found.push((case.clone(), found.ended(began, outcome)));
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
        let together = vec![Kind::Solution, Kind::Prose, wrong(0, 0), wrong(2, 0)];
        assert_eq!(found, [together, vec![wrong(0, 1)], vec![wrong(0, 2)]]);
        assert_eq!(batches(all(), false).len(), 6);
    }

    #[test]
    fn commands_of_the_text_are_tried_alone_if_a_solution_does_what_stays() {
        let library = Library::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/fixtures"));
        let found = |line: &str| {
            let mut lesson = library.lessons[0].clone();
            lesson.steps[1].solution = vec![line.to_string()];
            let lesson = Arc::new(lesson);
            let all = [Kind::Prose, Kind::Solution].map(|kind| Case { lesson: lesson.clone(), kind });
            let all = batches(all.to_vec(), true);
            all.iter().map(|batch| batch.0.iter().map(|c| c.kind).collect()).collect::<Vec<Vec<_>>>()
        };
        let (text, solution) = (Kind::Prose, Kind::Solution);
        assert_eq!(found("kubectl get pods"), [vec![solution, text]]);
        assert_eq!(found("fault kill kube-scheduler"), [vec![solution], vec![text]]);
    }

    #[test]
    fn cases_after_a_node_was_switched_off_are_tried_alone() {
        let library = Library::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/fixtures"));
        let shared = |line: &str| {
            let mut lesson = library.lessons[0].clone();
            lesson.steps[1].solution = vec![line.to_string()];
            let lesson = Arc::new(lesson);
            let wrong = |step| Kind::Wrong { step, at: 0 };
            let kinds = [Kind::Solution, wrong(0), wrong(1), wrong(2)];
            let all = kinds.map(|kind| Case { lesson: lesson.clone(), kind });
            batches(all.to_vec(), true)[0].0.iter().map(|case| case.kind).collect::<Vec<_>>()
        };
        let [first, second, third] = [0, 1, 2].map(|step| Kind::Wrong { step, at: 0 });
        assert_eq!(shared("kubectl get pods"), [Kind::Solution, first, second, third]);
        for line in ["fault node stop ropewalk-worker", "-fault node crash ropewalk-worker"] {
            assert_eq!(shared(line), [Kind::Solution, first, second], "{line}");
        }
        assert_eq!(shared("fault node start ropewalk-worker").len(), 4);
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
            "kubectl exec tester -- wget -T 2 -qO- http://web 2>&1",
            "kubectl exec tester -- wget -q -O - http://web",
            "kubectl exec tester -- curl -s -o /dev/null http://web >/dev/null",
            "kubectl exec tester -- curl -so /dev/null http://web",
            "kubectl exec tester -- curl -s http://$(kubectl get svc web -o jsonpath={.spec.clusterIP})",
            "curl -s -o page.html http://localhost:30080",
            "kubectl get pods -o yaml > pods.yaml",
            "cp pods.yaml more.yaml && rm pods.yaml && mkdir shop",
            "echo aGk= | base64 -d",
            "kubectl exec deploy/db -- kv-cli HGETALL stock",
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
            "kubectl exec pair -c writer -- sh -c 'echo Hello > /shared/index.html'",
            "kubectl exec pair -c writer -- sh -c 'date >>/shared/index.html'",
            "kubectl exec pair -c writer -- rm /shared/index.html",
            "kubectl exec pair -- touch /tmp/x",
            "echo Hello | kubectl exec -i pair -- sh",
            "kubectl exec pair -- wget -q -O /shared/index.html http://web",
            "kubectl exec pair -- curl -s -o /shared/index.html http://web",
            "kubectl exec pair -- curl -so /shared/index.html http://web",
            "kubectl exec pair -- curl --output=/shared/index.html http://web",
            "kubectl cp page.html pair:/shared/index.html",
            "cp page.html pair:/shared/index.html",
            "kubectl exec tester -- curl -s -X POST 'http://page:8080/buy?item=rope'",
            "curl -s -d item=rope http://localhost:30080/buy",
            "kubectl exec tester -- wget -qO- --post-data=x http://page",
            "kubectl exec deploy/db -- kv-cli FLUSHALL",
        ] {
            assert!(!is_taken_back(line), "{line}");
        }
    }
}
