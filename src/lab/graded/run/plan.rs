//! What a start of a lab takes from the learner, before it is done; and leaving one.

use super::LabRun;
use crate::format::Fault;
use crate::graded::book::Open;
use crate::graded::read::{Lab, Labs};
use crate::graded::view::{Left, Plan};
use crate::graded::words::{self, Word};
use crate::lines::{self, objects};
use crate::needs::Need;
use crate::{needs, teacher};
use api::kinds;
use api::status::qualified;
use cluster::guest::LessonScope;
use cluster::undo::{Loss, Past, losses};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Seeds that are tried where none was asked for and the names that they draw are taken.
const SEEDS: usize = 20;
/// Objects in the way that are named.
const NAMED: usize = 5;

impl LabRun {
    /// What a start of this lab, or leaving the open one, would take, and the API server's plan of
    /// the way back (null: there is none).
    ///
    /// # Errors
    /// There is no such lab, none is open, objects are in the way, or what would be taken cannot be
    /// found out.
    pub(super) async fn plan(
        &self,
        id: Option<&str>,
        seed: Option<u64>,
        lang: &str,
    ) -> Result<(Plan, Value), String> {
        let open = self.book().open.clone();
        let (mut plan, mut back) = (Plan::default(), Value::Null);
        let unknown = |why: String| crate::words::say(lang, crate::words::Word::CostUnknown, &[&why]);
        if let Some(open) = &open {
            let title = self.labs.get(&open.lab).map(|lab| lab.title.get(lang).to_string());
            plan.ends = title.unwrap_or_else(|| open.lab.clone());
            if self.is_gone(open.base).await.map_err(unknown)? {
                plan.lost = self.outermost(open, lang)?;
            } else {
                let of = Box::new(Past::back(open.base, self.places_of(open)));
                back = self.host.past(Past::Plan { of }).await.map_err(unknown)?;
                plan.lost = losses(&back);
            }
        } else if id.is_none() {
            return Err(words::say(lang, Word::NoneOpen, &[]));
        }
        let Some(id) = id else { return Ok((plan, back)) };
        let lab = self.known(id, lang)?;
        let (seed, variant) = self.free_seed(lab, seed, lang).await?;
        plan.seed = seed;
        let goes = open.as_ref().and_then(|open| self.places_of(open)).unwrap_or_default();
        let cost = self.cost_of_setup(&lab.setup_lines(&variant)).await.map_err(unknown)?;
        let (inside, mut cost): (Vec<_>, Vec<_>) =
            cost.into_iter().partition(|loss| goes.contains(&loss.namespace));
        // What the open lab made goes with it; what was there before it comes back. Without a way
        // back the two cannot be told apart.
        if let Some(open) = open.as_ref().filter(|_| !back.is_null()) {
            cost.extend(self.older(inside, open.base).await.map_err(unknown)?);
        }
        for loss in cost {
            if !plan.lost.contains(&loss) {
                plan.lost.push(loss);
            }
        }
        Ok((plan, back))
    }

    /// Of these objects, those that were there at the revision `base`, before the open lab. Objects
    /// of the control plane are left out: named by what differs now, they would tell the open lab's
    /// cause.
    ///
    /// # Errors
    /// The store does not say what there was.
    async fn older(&self, objects: Vec<Loss>, base: i64) -> Result<Vec<Loss>, String> {
        let mut then = BTreeMap::new();
        let mut older = Vec::new();
        for object in objects.into_iter().filter(|object| object.namespace != "kube-system") {
            let kind = kinds::stored(&object.resource).filter(|kind| kind.group == object.group);
            let Some(kind) = kind.map(|kind| kind.kind) else { continue };
            if !then.contains_key(kind) {
                then.insert(kind, self.world.objects_at(kind, base).await?);
            }
            if then[kind].contains_key(&(object.namespace.clone(), object.name.clone())) {
                older.push(object);
            }
        }
        Ok(older)
    }

    /// The API server's plan of the way back, if a start or a leave takes no more than was agreed
    /// to; null if the learner was not asked, or there is none.
    ///
    /// # Errors
    /// By now more would be taken, or as of [`plan`](LabRun::plan).
    pub(super) async fn still_agreed(
        &self,
        agreed: Option<Plan>,
        id: Option<&str>,
        seed: Option<u64>,
        lang: &str,
    ) -> Result<Value, String> {
        let Some(agreed) = agreed else { return Ok(Value::Null) };
        let (plan, back) = self.plan(id, seed, lang).await?;
        match plan.is_within(&agreed) {
            true => Ok(back),
            false => Err(crate::words::plan_changed(lang)),
        }
    }

    /// A lab by its id.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub(super) fn known(&self, id: &str, lang: &str) -> Result<&Lab, String> {
        self.labs.get(id).ok_or_else(|| {
            let broken = fault_of(&self.labs, id);
            broken.map_or_else(|| words::say(lang, Word::NoSuchLab, &[id]), ToString::to_string)
        })
    }

    /// Why this cluster cannot do a lab, for people.
    pub(super) fn lacks(&self, lab: &Lab, lang: &str) -> Option<String> {
        let offers = self.host.offers();
        if let Some(declared) = lab.cluster.as_ref().filter(|declared| !declared.fits(&offers)) {
            let begin = format!("lab start {}", lab.id);
            return Some(crate::words::other_cluster(lang, declared, &self.host.place().name, &begin));
        }
        let need = lab.requires.iter().find(|need| !needs::met(need, &offers))?;
        Some(words::say(lang, Word::Lacks, &[&Need::Requires(need.clone()).say(lang)]))
    }

    /// The seed that was asked for, or one whose names are free, with what it draws.
    ///
    /// # Errors
    /// Every one has something in the way, which is named, or draws values from which another one
    /// does not follow; or the server does not say what is in the way.
    pub(super) async fn free_seed(
        &self,
        lab: &Lab,
        seed: Option<u64>,
        lang: &str,
    ) -> Result<(u64, Map<String, Value>), String> {
        let rng = rng::Rng::from_os();
        let mut way = Vec::new();
        let failed = |why: String| words::say(lang, Word::SetupFailed, &[&why]);
        for _ in 0..if seed.is_some() { 1 } else { SEEDS } {
            let seed = seed.unwrap_or_else(|| rng.range(1, 10_000));
            let variant = lab.variant(seed).map_err(failed)?;
            way = self.in_the_way(&lab.setup_lines(&variant)).await.map_err(failed)?;
            if way.is_empty() {
                return Ok((seed, variant));
            }
        }
        way.truncate(NAMED);
        let named: Vec<String> = way.iter().map(ToString::to_string).collect();
        Err(words::say(lang, Word::InTheWay, &[&named.join(", ")]))
    }

    /// Objects that lines make and that are there already, without those that the end of the open
    /// lab removes. In its namespaces it removes what was not there before it.
    ///
    /// # Errors
    /// The server does not say what is there: then a start could change what is a person's.
    async fn in_the_way(&self, lines: &[String]) -> Result<Vec<Loss>, String> {
        let open = self.book().open.clone();
        // Without known namespaces everything since goes: what of it is in the way is not
        // known here.
        let goes = match &open {
            Some(open) => match self.places_of(open) {
                Some(places) => places,
                None => return Ok(vec![]),
            },
            None => BTreeSet::new(),
        };
        let (mut found, mut within): (Vec<Loss>, Vec<Loss>) = (Vec::new(), Vec::new());
        for made in objects_made(lines) {
            let inside = match made.resource.as_str() {
                "namespaces" => &made.name,
                _ => &made.namespace,
            };
            // In a namespace that is in the way itself everything is.
            let counted = |l: &Loss| l.resource == "namespaces" && l.name == made.namespace;
            if found.iter().any(counted) {
                continue;
            }
            if goes.contains(inside) {
                within.push(made);
            } else if self.teacher.is_there(&made).await? {
                found.push(made);
            }
        }
        if let Some(open) = open.filter(|_| !within.is_empty()) {
            // What the store no longer knows is taken for the open lab's.
            found.extend(self.older(within, open.base).await.unwrap_or_default());
        }
        Ok(found)
    }

    /// What lines would delete or change of what is there now.
    ///
    /// # Errors
    /// The server does not answer.
    async fn cost_of_setup(&self, lines: &[String]) -> Result<Vec<Loss>, String> {
        let (scope, made) = (LessonScope::default(), objects_made(lines));
        let mut lost: Vec<Loss> = Vec::new();
        for (line, input) in lines::commands(lines) {
            let found = self.teacher.would_take(&line, &input, &scope).await?;
            // What the lab makes itself cannot be there yet.
            let own = |loss: &Loss| {
                made.iter().any(|m| {
                    (&m.resource, &m.namespace, &m.name) == (&loss.resource, &loss.namespace, &loss.name)
                })
            };
            lost.extend(found.into_iter().filter(|loss| !own(loss)));
        }
        Ok(lost)
    }

    /// The namespaces of an open lab. `None`: it may be anywhere, or is no longer among the labs.
    pub(super) fn places_of(&self, open: &Open) -> Option<BTreeSet<String>> {
        super::places_of(&self.labs, open)
    }

    /// Ends the open lab without a grade and takes away what it made. `back`: the plan of the way
    /// back that was agreed to; null: any.
    ///
    /// # Errors
    /// No lab is open, or another one; or it stays open because what it made cannot be taken away
    /// as agreed. The text is for people.
    pub(super) async fn leave(&self, id: Option<&str>, back: &Value, lang: &str) -> Result<Value, String> {
        let open = self.book().open.clone().ok_or_else(|| words::say(lang, Word::NoneOpen, &[]))?;
        if id.is_some_and(|id| id != open.lab) {
            return Err(words::say(lang, Word::OtherOpen, &[&open.lab, &open.seed.to_string()]));
        }
        let stays = self.stays(&open).await;
        let deleted = self.put_back(true, back, lang).await?;
        self.anchor().await.map_err(|why| words::say(lang, Word::NotKept, &[&why]))?;
        let title = self.labs.get(&open.lab).map(|lab| lab.title.get(lang).to_string());
        let note_about = |word: Word, objects: &[Loss]| {
            let names: Vec<String> = objects.iter().map(ToString::to_string).collect();
            (!names.is_empty()).then(|| words::say(lang, word, &[&names.join(", ")]))
        };
        let notes = [note_about(Word::Cleared, &deleted), note_about(Word::Stays, &stays)];
        let note = notes.into_iter().flatten().collect::<Vec<_>>().join("\n");
        Ok(json!(Left { title: title.unwrap_or_else(|| open.lab.clone()), id: open.lab, note }))
    }
}

/// The first fault of the lab with this id, which is the name of its folder.
fn fault_of<'a>(labs: &'a Labs, id: &str) -> Option<&'a Fault> {
    labs.faults.iter().find(|f| f.file.parent().and_then(Path::file_name).is_some_and(|name| name == id))
}

/// The objects that lines name to make, namespaces first.
pub(super) fn objects_made(lines: &[String]) -> Vec<Loss> {
    let of = |key: String| {
        let mut parts = key.splitn(3, '/');
        let (resource, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        Some(Loss {
            resource: plural.into(),
            group: group.into(),
            namespace: namespace.into(),
            name: name.into(),
            removed: true,
        })
    };
    let mut all: Vec<Loss> = objects::made_new(lines).into_iter().filter_map(of).collect();
    all.sort_by_key(|made| made.resource != "namespaces");
    all
}

impl teacher::Teacher {
    /// Returns whether there is such an object.
    ///
    /// # Errors
    /// The server does not say; the text is kubectl's.
    async fn is_there(&self, object: &Loss) -> Result<bool, String> {
        let resource = qualified(&object.group, &object.resource);
        let mut words: Vec<String> = ["kubectl", "get", &resource, &object.name].map(String::from).into();
        if kinds::stored(&object.resource).is_none_or(|kind| kind.namespaced) {
            words.extend(["-n".to_string(), object.namespace.clone()]);
        }
        words.extend(["--ignore-not-found", "-o", "name"].map(String::from));
        let ran = teacher::kubectl(words, String::new(), &self.kubeconfig, teacher::LINE_MAX).await;
        match ran.code {
            0 => Ok(!ran.stdout.trim().is_empty()),
            _ => Err(ran.stderr.trim().to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graded::Opened;
    use crate::graded::world::World;
    use crate::stage::{self, Stage};
    use cluster::guest::Host;
    use task::Crew;

    #[test]
    fn what_a_lab_makes_is_named_with_its_namespace_first() {
        let labs = Labs::built_in();
        for lab in &labs.labs {
            let variant = lab.variant(7).unwrap();
            let all: Vec<String> =
                objects_made(&lab.setup_lines(&variant)).iter().map(ToString::to_string).collect();
            let ns = variant["ns"].as_str().unwrap();
            assert_eq!(all[0], format!("namespaces/{ns}"), "{}", lab.id);
            assert!(all.len() > 1, "{all:?}");
            assert!(all.iter().skip(1).all(|made| made.ends_with(&format!(" -n {ns}"))), "{all:?}");
        }
    }

    /// A pack may lie anywhere, and its path may have any word in it.
    #[test]
    fn a_fault_is_told_of_the_lab_that_has_it_alone() {
        let file = "/home/kim/labs/school/labs/my-selector/lab.md";
        let fault = Fault { file: file.into(), line: 2, what: "it is wrong".into() };
        let labs = Labs { faults: vec![fault.clone()], ..Labs::default() };
        assert_eq!(fault_of(&labs, "my-selector"), Some(&fault));
        for other in ["", "kim", "selector", "lab.md", "school"] {
            assert_eq!(fault_of(&labs, other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn what_a_cluster_lacks_is_told_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let (_silent, address) = stage::silent().await;
        let past = stage::answer(|_| Box::pin(std::future::ready(Ok(json!({})))));
        let host: Host = Stage::new(dir.path(), address, past).await;
        let crew = Crew::new("labs");
        let run = LabRun::open(World::start(&crew, &host).unwrap(), host, Opened::default()).unwrap();
        let mut lab = run.labs.get("orphans").unwrap().clone();
        for (requires, english, korean) in [
            ("workers>=3", "worker nodes, 3 or more", "워커 노드 3개 이상"),
            ("control-planes>=3", "control-plane nodes, 3 or more", "컨트롤 플레인 노드 3개 이상"),
        ] {
            lab.requires = vec![requires.into()];
            for (lang, says) in [("en", english), ("ko", korean)] {
                let told = run.lacks(&lab, lang).expect("the cluster has two workers");
                assert!(told.ends_with(says), "{told}");
            }
        }
        crew.kill();
    }

    /// The learner may have objects of these names.
    #[tokio::test]
    async fn no_seed_is_free_while_no_server_says_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (listener, address) = stage::silent().await;
        drop(listener);
        let past = stage::answer(|_| Box::pin(std::future::ready(Ok(json!({})))));
        let host: Host = Stage::new(dir.path(), address, past).await;
        let crew = Crew::new("labs");
        let run = LabRun::open(World::start(&crew, &host).unwrap(), host, Opened::default()).unwrap();
        let lab = run.labs.get("orphans").unwrap();
        let told = run.free_seed(lab, Some(7), "en").await.unwrap_err();
        assert!(told.contains("could not be set up"), "{told}");
        crew.kill();
    }

    /// The open lab is played in `shop`, where the learner had a ConfigMap before it.
    #[tokio::test]
    async fn what_was_there_before_the_open_lab_is_told_from_what_it_made() {
        let dir = tempfile::tempdir().unwrap();
        let (_silent, address) = stage::silent().await;
        let past = stage::answer(|_| Box::pin(std::future::ready(Ok(json!({})))));
        let client = client::testing::Scripted::new(|asked| {
            let is_list = asked.line == "GET /api/v1/configmaps";
            let item = json!({"metadata": {"namespace": "shop", "name": "own", "resourceVersion": "3"}});
            is_list.then(|| (200, json!({"metadata": {"resourceVersion": "5"}, "items": [item]})))
        });
        let host: Host = Stage::seen_by(client.await.client, dir.path(), address, past);
        let crew = Crew::new("labs");
        let run = LabRun::open(World::start(&crew, &host).unwrap(), host, Opened::default()).unwrap();
        let map = |namespace: &str, name: &str| Loss {
            resource: "configmaps".into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Loss::default()
        };
        let older = run.older(vec![map("shop", "own"), map("shop", "made"), map("kube-system", "own")], 5);
        assert_eq!(older.await, Ok(vec![map("shop", "own")]));
        crew.kill();
    }

    #[test]
    fn a_plan_that_takes_more_than_was_agreed_to_is_another_one() {
        let loss = |name: &str| Loss { name: name.into(), removed: true, ..Loss::default() };
        let plan = |ends: &str, lost: &[&str]| Plan {
            ends: ends.into(),
            lost: lost.iter().map(|name| loss(name)).collect(),
            ..Plan::default()
        };
        let agreed = plan("x", &["a", "b"]);
        assert!(plan("x", &["a"]).is_within(&agreed) && agreed.is_within(&agreed));
        assert!(!plan("x", &["a", "c"]).is_within(&agreed), "made since");
        assert!(!plan("y", &["a"]).is_within(&agreed), "another lab was started since");
        assert!(!plan("", &[]).is_within(&agreed));
    }
}
