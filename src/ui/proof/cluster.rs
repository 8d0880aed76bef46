//! Where lessons and labs are proved: a cluster of its own for each case, and a REPL into which
//! lines are typed.

use super::group::Group;
use super::home::Private;
use super::stop::{STOPPED, Stop};
use super::turns::{self, Running};
use crate::guests::{self, Asks};
use crate::kubeconfig::of_map;
use crate::lesson::{self as front, Green};
use crate::texts::Lang;
use client::Api;
use client::kube::ResourceExt;
use client::kube::api::ListParams;
use client::kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use cluster::control::{Ask as Request, Control};
use cluster::foreign::{self, Foreign};
use cluster::launch::{self, Launched, WHOLE_MAX};
use cluster::{Error, Home, Place, Spec};
use lab::format::{Declared, Lesson, Step, library};
use lab::graded::{PROOF, read};
use lab::view::{Ask, LessonView, Proof, State};
use lang::charset::eprintln;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A solution that has not worked after this time does not work.
const GREEN_MAX: Duration = Duration::from_secs(180);
/// [`GREEN_MAX`] among cases that share a cluster. A case that takes longer is tried again alone.
const GREEN_SHARED_MAX: Duration = Duration::from_secs(45);
/// How long the last facts of a proof may take to arrive on a busy machine.
const PROOF_MAX: Duration = Duration::from_secs(60);
/// How long the proof waits for the sentences of a debrief. On a foreign cluster some never come,
/// and that is no fault.
const SENTENCES_MAX: Duration = Duration::from_secs(5);
/// How often the proof asks for new facts. A fact that changes nothing on the screen sends no
/// event.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long the proof asks again while a cluster does not answer, on a busy machine.
const HANGS_MAX: Duration = Duration::from_secs(60);

/// How long the pods of a step may take to be back when it begins anew.
const PODS_MAX: Duration = Duration::from_secs(60);

/// A start that takes longer no longer keeps other clusters from starting.
const START_MAX: Duration = Duration::from_secs(60);

/// A cluster for one case, in a home of its own. It ends with this process, however that ends.
pub(super) struct ProofCluster {
    pub(super) place: Place,
    home: Private,
    origin: Origin,
    /// How long a solution may take to work.
    patience: Duration,
    /// Process groups of the REPLs that have run. What one left running ends with the case.
    groups: Mutex<Vec<Group>>,
}

/// How many pods there are, and how many of them are ready: by namespace and controller, because a
/// controller replaces pods under other names. A pod without a controller stands under its own
/// name.
type Pods = BTreeMap<(String, String), [usize; 2]>;

/// What a step begins with, to which `goto` leads back.
pub(super) struct Beginning {
    /// The step's number, from 0.
    at: usize,
    pods: Pods,
    /// How many REPLs have run before: what they left in the background stays.
    groups: usize,
}

enum Origin {
    Launched(Box<Launched>, Running),
    Foreign(Foreign),
}

/// Waits for an event of the cluster, or for [`LOOK_AGAIN`].
///
/// # Errors
/// The stream has ended: every further wait would return at once.
async fn news_or_time(control: &mut Control) -> Result<(), String> {
    match clock::timeout(LOOK_AGAIN, control.next()).await {
        None | Some(Ok(Some(_))) => Ok(()),
        Some(Ok(None)) => Err("the cluster ended".into()),
        Some(Err(error)) => Err(error.say(Lang::En)),
    }
}

/// Asks again while the cluster does not take the question ([`Error::Hangs`]: then it was not
/// asked).
///
/// # Errors
/// The last answer's, for people.
async fn patiently<T>(question: impl AsyncFn() -> Result<T, Error>) -> Result<T, String> {
    let over = clock::Instant::now() + clock::scaled(HANGS_MAX);
    loop {
        match question().await {
            Err(Error::Hangs { .. }) if clock::Instant::now() < over => {}
            answer => return answer.map_err(|e| e.say(Lang::En)),
        }
    }
}

/// How long a step may take to be green. Its checks have to stay true for `hold`, which is no sign
/// that the solution does not work. The engine measures that in real time.
fn green_limit(patience: Duration, hold: Duration) -> Duration {
    patience + hold
}

/// The name of a cluster of the proof, in a home of its own.
const NAME: &str = "main";

/// Exactly the cluster that is declared, else the usual one.
fn spec(declared: Option<&Declared>) -> Spec {
    declared.map_or_else(|| Spec::new(NAME), |declared| declared.spec(NAME))
}

static PROOFS: AtomicUsize = AtomicUsize::new(0);

impl ProofCluster {
    /// Starts a cluster that has this lesson alone. `directory`: where the lesson was read from;
    /// `None`: from the binary.
    ///
    /// # Errors
    /// It does not start, or `stop` was wanted before it was ready.
    pub(super) async fn for_lesson(
        lesson: &Lesson,
        directory: Option<&Path>,
        stop: &Stop,
    ) -> Result<ProofCluster, String> {
        let home = Private::make()?;
        let alone = home.path().join("lessons");
        if let Err(fault) = library::write_alone(lesson, directory, &alone) {
            home.remove();
            return Err(fault.to_string());
        }
        let variables = [(library::DIRECTORY, alone.as_os_str()), (library::ONLY, OsStr::new("1"))];
        ProofCluster::open(home, &spec(lesson.cluster.as_ref()), &variables, stop).await
    }

    /// Starts a cluster for labs, which names the parts of checks. `directory`: of the labs.
    /// `declared`: the cluster that they declare.
    ///
    /// # Errors
    /// As [`ProofCluster::for_lesson`].
    pub(super) async fn for_labs(
        directory: Option<&Path>,
        declared: Option<&Declared>,
        stop: &Stop,
    ) -> Result<ProofCluster, String> {
        let mut variables = vec![(PROOF, OsStr::new("1"))];
        variables.extend(directory.map(|d| (read::DIRECTORY, d.as_os_str())));
        ProofCluster::open(Private::make()?, &spec(declared), &variables, stop).await
    }

    async fn open(
        home: Private,
        spec: &Spec,
        variables: &[(&str, &OsStr)],
        stop: &Stop,
    ) -> Result<ProofCluster, String> {
        if stop.wanted() {
            home.remove();
            return Err(STOPPED.into());
        }
        let place = match Home::at(home.path()).cluster(NAME) {
            Ok(place) => place,
            Err(e) => {
                home.remove();
                return Err(e.to_string());
            }
        };
        let turn = match turns::turn(stop).await {
            Ok(turn) => turn,
            Err(why) => {
                home.remove();
                return Err(why);
            }
        };
        let late = || "the cluster did not become ready".to_string();
        let launched =
            match clock::timeout(WHOLE_MAX, launch::launch_with(&place, spec, true, variables, |_| ())).await
            {
                Some(Ok(launched)) => launched,
                failed => {
                    home.remove();
                    return Err(failed.and_then(Result::err).map_or_else(late, |e| cluster::chain(&e)));
                }
            };
        let (running, next) = turn.started();
        let proof_cluster = ProofCluster {
            place,
            home,
            origin: Origin::Launched(Box::new(launched), running),
            patience: GREEN_MAX,
            groups: Mutex::default(),
        };
        let ready =
            async { clock::timeout(WHOLE_MAX, proof_cluster.ready()).await.unwrap_or_else(|| Err(late())) };
        let ready = {
            let mut ready = std::pin::pin!(stop.or(ready));
            let soon = clock::timeout(START_MAX, ready.as_mut()).await;
            drop(next);
            match soon {
                Some(ready) => ready,
                None => ready.await,
            }
        };
        match ready {
            Ok(()) => Ok(proof_cluster),
            Err(why) => {
                proof_cluster.close().await;
                Err(why)
            }
        }
    }

    /// Shortens the patience with solutions: from here on cases share this cluster.
    pub(super) fn share(&mut self) {
        self.patience = GREEN_SHARED_MAX;
    }

    async fn ready(&self) -> Result<(), String> {
        let mut control = Control::connect(&self.place).await.map_err(|e| e.to_string())?;
        let mut progress = control.ask(&Request::Wait).await.map_err(|e| e.to_string())?;
        while progress["ready"] != true {
            let next = control.next().await.map_err(|e| e.to_string())?;
            progress = next.ok_or("the cluster ended while it started")?;
        }
        Ok(())
    }

    /// Opens a proof on a foreign cluster, with namespaces that no other proof uses.
    pub(super) async fn foreign(kubeconfig: &Path) -> Result<ProofCluster, String> {
        let number = PROOFS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let home = Private::make()?;
        let place = match foreign::place(&Home::at(home.path()), kubeconfig) {
            Ok(place) => place,
            Err(e) => {
                home.remove();
                return Err(cluster::chain(&e));
            }
        };
        let prefix = format!("{}-test-{name}", foreign::PREFIX);
        match Foreign::open(&place, kubeconfig, &prefix, lab::guests_of_foreign_clusters).await {
            Ok(foreign) => Ok(ProofCluster {
                place,
                home,
                origin: Origin::Foreign(foreign),
                patience: GREEN_MAX,
                groups: Mutex::default(),
            }),
            Err(error) => {
                home.remove();
                Err(cluster::chain(&error))
            }
        }
    }

    pub(super) async fn close(self) {
        drop(self.groups);
        match self.origin {
            Origin::Launched(mut launched, _) => {
                drop(launched.stdin.take()); // the cluster ends when this pipe closes
                let _ = clock::timeout(Duration::from_secs(10), launched.child.wait()).await;
            }
            Origin::Foreign(foreign) => {
                let leave = || Ask::Leave { agreed: None };
                if let Err(why) = patiently(async || front::ask(&self.place, Lang::En, leave()).await).await {
                    eprintln!("ropewalk: {why}");
                }
                drop(foreign);
            }
        }
        self.home.remove();
    }

    /// Asks a guest of this cluster once; an error is its text.
    pub(super) async fn asked<T: DeserializeOwned>(&self, ask: impl Asks) -> Result<T, String> {
        guests::asked(&self.place, Lang::En, ask).await.map_err(|e| e.say(Lang::En))
    }

    pub(super) async fn view(&self, ask: Ask) -> Result<LessonView, String> {
        patiently(async || front::view(&self.place, Lang::En, ask.clone()).await).await
    }

    async fn follow(&self) -> Result<(Control, LessonView), String> {
        patiently(async || front::follow(&self.place, Lang::En).await).await
    }

    pub(super) async fn proof(&self) -> Result<Proof, String> {
        let value = patiently(async || front::ask(&self.place, Lang::En, Ask::Prove).await).await?;
        serde_json::from_value(value).map_err(|e| e.to_string())
    }

    /// Returns the proof once it is complete, or as it is when time is up. `because`: it is
    /// complete only if the prediction's answer is proved, which another way need not do.
    pub(super) async fn proved(&self, because: bool) -> Result<Proof, String> {
        let (mut control, _) = self.follow().await?;
        let begun = clock::Instant::now();
        loop {
            let proof = self.proof().await?;
            let waits = because && proof.because == Some(false);
            if !waits && proof.beats.iter().all(|(_, told)| *told) {
                return Ok(proof);
            }
            // Beats that can be shown now change the view. One that never can is waited for in
            // vain, and then reported.
            let limit = if waits { PROOF_MAX } else { SENTENCES_MAX };
            if clock::Instant::now() > begun + clock::scaled(limit) {
                return Ok(proof);
            }
            news_or_time(&mut control).await?;
        }
    }

    /// Returns whether the step stays red for this time, which its lesson gives as `settle`.
    pub(super) async fn stays_red(&self, settle: Duration) -> Result<bool, String> {
        let over = |v: &LessonView| matches!(v.state, State::Done | State::Solved);
        let (mut control, first) = self.follow().await?;
        let mut now = first;
        let green = async {
            while !over(&now) {
                let next = control.next().await.map_err(|e| e.say(Lang::En))?.ok_or("the cluster ended")?;
                now = serde_json::from_value(next).map_err(|e| e.to_string())?;
            }
            Ok::<bool, String>(false)
        };
        match clock::timeout(settle, green).await {
            Some(turned) => turned,
            None => Ok(!over(&self.view(Ask::Check { id: None }).await?)),
        }
    }

    /// Waits until the step is green; else what is missing.
    pub(super) async fn green(&self, step: &Step) -> Result<Result<(), String>, String> {
        let limit = green_limit(self.patience, step.hold);
        match patiently(async || front::until_green(&self.place, Lang::En, limit).await).await? {
            Green::Done(_) => Ok(Ok(())),
            Green::NotYet(_) => {
                let view = self.view(Ask::Check { id: None }).await?;
                Ok(Err(format!("not yet: {}", view.not_yet.unwrap_or_default())))
            }
        }
    }

    /// Answers the question that stands before the task, which a learner reads only then.
    pub(super) async fn guess(&self, step: &Step) -> Result<(), String> {
        if let Some(predict) = &step.predict {
            self.view(Ask::Predict { choice: predict.answer.clone() }).await?;
        }
        Ok(())
    }

    /// Where lines are typed.
    pub(super) fn folder(&self) -> PathBuf {
        self.home.path()
    }

    /// Notes what the open lesson's step number `at` (from 0), which has just begun, begins with.
    ///
    /// # Errors
    /// The pods cannot be listed.
    pub(super) async fn beginning(&self, at: usize) -> Result<Beginning, String> {
        Ok(Beginning { at, pods: self.pods().await?, groups: self.groups.lock().len() })
    }

    /// Begins a step anew. Returns when there are as many pods as before, as ready as they were.
    ///
    /// # Errors
    /// It does not begin, or the pods do not come back in time.
    pub(super) async fn begin_anew(&self, step: &Beginning) -> Result<(), String> {
        // What an earlier case left in the background is not this one's.
        self.groups.lock().truncate(step.groups);
        let number = step.at + 1;
        // What a case made may be a learner's own, which goes with the case.
        let goto = Box::new(Ask::Goto { step: number.to_string() });
        let begun = self.view(Ask::Sure { ask: goto, agreed: None }).await?;
        if begun.state != State::Open {
            return Err(format!("step {number} is {:?} after goto", begun.state));
        }
        let (mut control, _) = self.follow().await?;
        let back = async {
            while self.pods().await? != step.pods {
                news_or_time(&mut control).await?;
            }
            Ok(())
        };
        match clock::timeout(PODS_MAX, back).await {
            Some(back) => back,
            None => Err(format!("its pods do not come back: {:?}, not {:?}", self.pods().await?, step.pods)),
        }
    }

    /// # Errors
    /// The pods cannot be listed.
    async fn pods(&self) -> Result<Pods, String> {
        // It names itself like the map's, so that no check takes it for the learner's.
        let client = of_map(&self.place).ok_or("the kubeconfig cannot be read")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod"));
        let api = Api::<DynamicObject>::all_with(client.kube(), &resource);
        let listed = api.list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        let mut pods = Pods::new();
        for pod in &listed.items {
            let controller = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
            let name = controller.map_or_else(|| pod.name_any(), |c| format!("{}/{}", c.kind, c.name));
            let mut conditions = pod.data["status"]["conditions"].as_array().into_iter().flatten();
            let is_ready = conditions.any(|c| c["type"] == "Ready" && c["status"] == "True");
            let [all, ready] = pods.entry((pod.namespace().unwrap_or_default(), name)).or_default();
            (*all, *ready) = (*all + 1, *ready + usize::from(is_ready));
        }
        Ok(pods)
    }

    /// Types lines and returns what was said.
    pub(super) async fn lines(&self, lines: &[String], limit: Duration) -> Result<String, String> {
        match self.repl(lines, limit).await? {
            Some((_, said)) => Ok(said),
            None => Err(format!("took more than {} s: {}", limit.as_secs(), lines.join(" ⏎ "))),
        }
    }

    /// Types lines into a REPL of its own: exit code and output; `None` if it had to be cut off.
    pub(super) async fn repl(
        &self,
        lines: &[String],
        limit: Duration,
    ) -> Result<Option<(i32, String)>, String> {
        let file = self.home.path().join("lines");
        std::fs::write(&file, lines.join("\n") + "\n").map_err(|e| e.to_string())?;
        let mut command = tokio::process::Command::new("/proc/self/exe");
        command
            .arg0("ropewalk")
            .args(["repl", "--lang", "en", "--name", &self.place.name])
            .arg(&file)
            .env("ROPEWALK_HOME", self.home.path())
            .env("SHELL", "/bin/sh")
            .env_remove("KUBECONFIG")
            .current_dir(self.home.path());
        let mut group = Group::start(command).map_err(|e| e.to_string())?;
        let answer = clock::timeout(limit, group.answer()).await.transpose().map_err(|e| e.to_string())?;
        if answer.is_some() {
            self.groups.lock().push(group); // what it left in the background belongs to the answer
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixListener;

    #[test]
    fn a_step_has_time_to_hold_beside_the_time_to_work() {
        let hold = Duration::from_secs(300);
        for patience in [GREEN_MAX, GREEN_SHARED_MAX] {
            assert_eq!(green_limit(patience, hold) - hold, patience);
        }
    }

    #[tokio::test]
    async fn a_stream_that_has_ended_is_not_asked_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        std::fs::create_dir_all(&place.root).unwrap();
        let listener = UnixListener::bind(place.socket()).unwrap();
        // Says that it is there, and ends.
        let cluster = tokio::spawn(async move {
            let (read, mut write) = listener.accept().await.unwrap().0.into_split();
            let _hello = BufReader::new(read).lines().next_line().await;
            write.write_all(b"{\"ok\":null}\n").await.unwrap();
        });
        let mut control = Control::connect(&place).await.unwrap();
        cluster.await.unwrap();
        assert_eq!(news_or_time(&mut control).await, Err("the cluster ended".to_string()));
    }
}
