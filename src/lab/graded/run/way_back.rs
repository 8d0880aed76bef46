//! The way back of the open lab: the history that it needs is held in the store as long as the lab
//! is open; where the store had to give it up, what the lab made is deleted instead. What its setup
//! broke with `fault` is mended.

use super::{LabRun, plan};
use crate::graded::book::Open;
use crate::graded::words::{self, Word};
use crate::lines;
use crate::past;
use crate::teacher::{self, LINE_MAX};
use cluster::faults::{Act, Broken, Fault};
use cluster::guest::{HOLD, Inside, LessonScope};
use cluster::undo::{Loss, Past, losses};
use serde_json::Value;
use std::collections::BTreeSet;

impl LabRun {
    /// Has the API servers keep the history from before the open lab, and no other.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn hold_history(&self) -> Result<(), String> {
        let wanted = self.book().open.as_ref().map_or(String::new(), |open| open.base.to_string());
        let found = self.host.inside(&Inside::Key(HOLD.into())).await?;
        if found["value"].as_str().unwrap_or_default() == wanted {
            return Ok(());
        }
        // Where something is held and the count is not complete, that was deleted.
        let anchored = *self.anchored.lock().await;
        if !wanted.is_empty() && anchored.is_none_or(|(_, version)| version < 2) {
            self.anchor().await?;
        }
        self.host.put_key(HOLD, wanted, found["version"].as_i64().unwrap_or_default()).await
    }

    /// Returns whether the store no longer has what was at this revision of the open lab: it gives
    /// that up where it has no other room, and one that was restored never had it.
    ///
    /// # Errors
    /// No API server answers.
    pub(super) async fn is_gone(&self, revision: i64) -> Result<bool, String> {
        Ok(past::is_lost(&self.host.past(Past::Steps).await?, revision))
    }

    /// Takes away what the open lab made, and closes it. `left`: without a grade, because its
    /// learner said so. `plan`: of the way back that was agreed to; null: any. Returns the objects
    /// that were deleted because there is no way back.
    ///
    /// # Errors
    /// The lab stays open: nothing could be taken away, or not as agreed. The text is for people.
    pub(super) async fn put_back(&self, left: bool, plan: &Value, lang: &str) -> Result<Vec<Loss>, String> {
        let Some(open) = self.book().open.clone() else { return Ok(vec![]) };
        let failed = |why: String| words::say(lang, Word::NoReset, &[&open.lab, &why]);
        let mut deleted = vec![];
        if self.is_gone(open.base).await.map_err(failed)? {
            deleted = self.outermost(&open, lang)?;
            // Pods of a machine that is off would never end.
            self.mend(&open).await.map_err(failed)?;
            for object in &deleted {
                self.teacher.delete(object).await.map_err(failed)?;
            }
        } else {
            let back = Past::back(open.base, self.places_of(&open)).agreed(plan);
            let changed = |why: String| crate::words::translated_plan_changed(&why, lang).ok_or(why);
            let back = self.host.past(back).await;
            back.map_err(|why| changed(why).unwrap_or_else(failed))?;
            // Not before: a way back that is refused leaves the lab open, with all that is broken.
            self.mend(&open).await.map_err(failed)?;
        }
        // Only now: as long as it is open, what the learner does is seen.
        self.world.know().recording = false;
        match left {
            true => self.book().leave(),
            false => self.book().close(),
        }
        self.save().map_err(|why| words::say(lang, Word::NotKept, &[&why]))?;
        if let Err(why) = self.hold_history().await {
            tracing::warn!(why, "history is still held for a lab that is closed; the next start lets it go");
        }
        Ok(deleted)
    }

    /// Objects outside the namespaces of the open lab that were there before it, and that a person
    /// has changed since. The way back leaves them as they are: it cannot know whether they were
    /// changed for the lab. Empty where it takes everything back, or where no API server says.
    ///
    /// Example: the lab's learner deletes the ports of the Service `default/kubernetes` and leaves
    /// the lab, whose namespace is `shop`: that Service is the answer.
    pub(super) async fn stays(&self, open: &Open) -> Vec<Loss> {
        let Some(places) = self.places_of(open) else { return vec![] };
        let plan = |within| Past::Plan { of: Box::new(Past::back(open.base, within)) };
        let everywhere = self.host.past(plan(None)).await;
        let here = self.host.past(plan(Some(places))).await;
        let (Ok(everywhere), Ok(here)) = (everywhere, here) else { return vec![] };
        let goes = losses(&here);
        losses(&everywhere).into_iter().filter(|loss| !loss.removed && !goes.contains(loss)).collect()
    }

    /// Mends what the setup of the open lab broke with `fault`. What else is broken stays so, but
    /// for links and disks, which can only be mended together.
    ///
    /// # Errors
    /// The cluster refuses it.
    async fn mend(&self, open: &Open) -> Result<(), String> {
        let Some(lab) = self.labs.get(&open.lab) else { return Ok(()) };
        let faults = faults(&lab.setup_lines(&lab.variant(open.seed)?));
        if faults.is_empty() {
            return Ok(());
        }
        let broken = serde_json::from_value::<Vec<Broken>>(self.host.inside(&Inside::Faults).await?);
        let lines = mending(&faults, &broken.map_err(|error| error.to_string())?);
        let mended = self.teacher.play(&lines, &LessonScope::default()).await;
        mended.map_err(|error| cluster::chain(&error))
    }

    /// What the setup of the open lab makes: its namespaces, and objects in other ones.
    ///
    /// # Errors
    /// The lab is no longer among the labs.
    pub(super) fn outermost(&self, open: &Open, lang: &str) -> Result<Vec<Loss>, String> {
        let gone = || words::say(lang, Word::Gone, &[&open.lab]);
        let lab = self.labs.get(&open.lab).ok_or_else(gone)?;
        let all = plan::objects_made(&lab.setup_lines(&lab.variant(open.seed)?));
        let within = |o: &Loss| all.iter().any(|m| m.resource == "namespaces" && m.name == o.namespace);
        Ok(all.iter().filter(|o| !within(o)).cloned().collect())
    }
}

/// The faults among the lines of a setup.
fn faults(setup: &[String]) -> Vec<Fault> {
    let of = |(line, _): (String, String)| {
        let words = shlex::split(lines::may_fail(&line).0)?;
        let (first, rest) = words.split_first()?;
        Fault::parse(rest).ok().filter(|_| first == "fault")
    };
    lines::commands(setup).into_iter().filter_map(of).collect()
}

/// The lines that mend what these faults have broken, if it still is.
///
/// ```text
/// node crash n2, cut n2 n1    both are broken    fault heal, fault node start n2
/// node crash n2               it runs again      nothing
/// ```
pub(super) fn mending(faults: &[Fault], broken: &[Broken]) -> Vec<String> {
    let is_off = |broken: &Broken| matches!(broken.fault.as_str(), "stopped" | "crashed");
    let mends = |fault: &Fault| match fault {
        Fault::Node { node, act: Act::Stop | Act::Crash } => {
            let is_broken = broken.iter().any(|b| is_off(b) && b.nodes == [node.as_str()]);
            is_broken.then(|| format!("fault node start {node}"))
        }
        Fault::Stop { component, node } => {
            let is_held = |b: &Broken| {
                b.component.as_ref() == Some(component)
                    && node.as_ref().is_none_or(|node| b.nodes == [node.as_str()])
            };
            let to = node.as_ref().map(|node| format!("/{node}")).unwrap_or_default();
            broken.iter().any(is_held).then(|| format!("fault start {component}{to}"))
        }
        Fault::Cut { .. } | Fault::Slow { .. } | Fault::Loss { .. } | Fault::Disk { .. } => {
            broken.iter().any(|b| !is_off(b) && b.component.is_none()).then(|| "fault heal".to_string())
        }
        Fault::List | Fault::Kill { .. } | Fault::Start { .. } | Fault::Heal | Fault::Node { .. } => None,
    };
    faults.iter().filter_map(mends).collect::<BTreeSet<_>>().into_iter().collect()
}

impl teacher::Teacher {
    /// Deletes an object and waits until it is gone; of a namespace the pods get no time to end, as
    /// they are of no use any more.
    ///
    /// # Errors
    /// What kubectl says.
    async fn delete(&self, object: &Loss) -> Result<(), String> {
        let resource = api::status::qualified(&object.group, &object.resource);
        let mut lines = vec![];
        if object.resource == "namespaces" {
            lines.push(format!("kubectl delete namespace {} --ignore-not-found --wait=false", object.name));
            lines.push(format!("kubectl delete pod --all -n {} --now --wait=false", object.name));
        }
        let place = match object.namespace.as_str() {
            "" => String::new(),
            namespace => format!(" -n {namespace}"),
        };
        // kubectl says what is left; a line that is cut off says nothing.
        let limit = LINE_MAX.as_secs() - 5;
        lines.push(format!(
            "kubectl delete {resource} {}{place} --ignore-not-found --timeout={limit}s",
            object.name
        ));
        let played = self.play(&lines, &LessonScope::default()).await;
        played.map_err(|error| cluster::chain(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graded::Opened;
    use crate::graded::seal::Chain;
    use crate::graded::world::World;
    use crate::stage::{self, Stage};
    use cluster::control::Ask;
    use cluster::guest::{Host, HostCluster};
    use serde_json::json;
    use std::sync::Arc;
    use task::Crew;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixListener;

    #[test]
    fn only_what_the_setup_broke_and_is_broken_still_is_mended() {
        let of = |setup: &[&str], broken: &[(&str, &[&str])]| {
            let setup: Vec<String> = setup.iter().map(ToString::to_string).collect();
            let broken = broken.iter().map(|(fault, nodes)| Broken {
                fault: fault.to_string(),
                component: fault.strip_prefix("component stopped ").map(String::from),
                nodes: nodes.iter().map(ToString::to_string).collect(),
                amount: None,
                since: clock::now(),
            });
            mending(&faults(&setup), &broken.collect::<Vec<_>>()).join(", ")
        };
        let both = ["-fault node start n1", "fault node crash n1", "kubectl get nodes", "-fault cut n1 n2"];
        let crashed: (&str, &[&str]) = ("crashed", &["n1"]);
        assert_eq!(of(&both, &[crashed, ("cut", &["n1", "n2"])]), "fault heal, fault node start n1");
        assert_eq!(of(&both, &[crashed]), "fault node start n1");
        assert_eq!(of(&both, &[]), "");
        assert_eq!(of(&["fault node stop n1"], &[("stopped", &["n2"]), ("slow", &["n1"])]), "");
        assert_eq!(of(&["fault disk full"], &[("disk full", &["n1"])]), "fault heal");
        let held: (&str, &[&str]) = ("component stopped etcd", &["n1"]);
        let start = "fault start etcd";
        assert_eq!(of(&["fault stop etcd"], &[held]), start);
        assert_eq!(of(&["fault stop etcd/n1", "fault cut n1 n2"], &[held]), format!("{start}/n1"));
        assert_eq!(of(&["fault stop etcd/n2", "fault stop kubelet"], &[held]), "");
        assert_eq!(of(&["fault kill etcd", "fault heal", "fault node start n1"], &[crashed]), "");
    }

    fn labs(crew: &Crew, stage: &Arc<Stage>) -> LabRun {
        let host: Host = stage.clone();
        let world = World::start(crew, &host).unwrap();
        LabRun::open(world, host, Opened::default()).unwrap()
    }

    /// A lab that was started at revision 5.
    fn open(lab: &str, seed: u64) -> Open {
        let open = json!({"lab": lab, "seed": seed, "base": 5, "began": 10,
            "started": clock::now(), "hints": [], "solve": false, "undo": 0, "green": {},
            "chain": Chain::default()});
        serde_json::from_value(open).unwrap()
    }

    /// The lab `kubelet-down`, whose setup has switched a machine off. Returns the machine, too.
    fn playing(crew: &Crew, stage: &Arc<Stage>) -> (LabRun, String) {
        let run = labs(crew, stage);
        let lab = run.labs.get("kubelet-down").unwrap();
        let seed = (1..100).find(|seed| lab.variant(*seed).unwrap()["fault"] == "machine").unwrap();
        let node = lab.variant(seed).unwrap()["node"].as_str().unwrap().to_string();
        run.book().open = Some(open("kubelet-down", seed));
        (run, node)
    }

    /// Its way back is that of the lab's namespaces.
    #[tokio::test]
    async fn what_was_changed_outside_the_lab_is_named_when_it_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let (_silent, address) = stage::silent().await;
        let past = stage::answer(|past| {
            let loss = |name: &str, namespace: &str, removed: bool| json!({"resource": "services", "namespace": namespace, "name": name, "removed": removed});
            let here = loss("web", "shop", false);
            let lost = match past {
                Past::Plan { of } if matches!(*of, Past::Rewind { .. }) => {
                    json!([loss("kubernetes", "default", false), loss("own", "default", true), here])
                }
                _ => json!([here]),
            };
            Box::pin(std::future::ready(Ok(json!({"revision": 20, "oldest": 1, "lost": lost}))))
        });
        let stage = Stage::new(dir.path(), address, past).await;
        let crew = Crew::new("labs");
        let run = labs(&crew, &stage);
        let stays = run.stays(&open("broken-selector", 7)).await;
        let stays: Vec<String> = stays.iter().map(ToString::to_string).collect();
        assert_eq!(stays, ["services/kubernetes"]);
        crew.kill();
    }

    /// Such a lab could neither be left nor be started again: the server refused its way back.
    #[tokio::test]
    async fn a_store_that_was_restored_has_nothing_from_before_the_lab() {
        let dir = tempfile::tempdir().unwrap();
        let (_silent, address) = stage::silent().await;
        let past = stage::answer(|_| Box::pin(std::future::ready(Ok(json!({"revision": 7, "oldest": 1})))));
        let stage = Stage::new(dir.path(), address, past).await;
        let crew = Crew::new("labs");
        let run = labs(&crew, &stage);
        assert_eq!((run.is_gone(7).await, run.is_gone(8).await), (Ok(false), Ok(true)));
        crew.kill();
    }

    #[tokio::test]
    async fn a_machine_that_the_setup_switched_off_is_on_again_when_the_lab_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (_silent, address) = stage::silent().await;
        let past = stage::answer(|_| Box::pin(std::future::ready(Ok(json!({"revision": 20, "oldest": 1})))));
        let stage = Stage::new(dir.path(), address, past).await;
        let crew = Crew::new("labs");
        let (run, node) = playing(&crew, &stage);
        *stage.broken.lock() = json!([{"fault": "crashed", "nodes": [node], "since": clock::now()}]);
        // Without a control socket nothing is mended, and the lab can be left later.
        assert!(run.put_back(true, &Value::Null, "en").await.is_err());
        assert!(run.book().open.is_some());

        let listener = UnixListener::bind(stage.place().socket()).unwrap();
        let told = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            let (mut lines, mut told) = (BufReader::new(read).lines(), Vec::new());
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ask::Fault { fault } = serde_json::from_str(&line).unwrap() {
                    told.push(fault.to_string());
                }
                write.write_all(b"{\"ok\":null}\n").await.unwrap();
            }
            told
        });
        run.put_back(true, &Value::Null, "en").await.unwrap();
        assert!(run.book().open.is_none());
        assert_eq!(told.await.unwrap(), [format!("node start {node}")]);
        crew.kill();
    }
}
