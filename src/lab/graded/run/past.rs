//! The way back of the open lab: the history that it needs is held in the store as long as the lab
//! is open; where the store had to give it up, what the lab made is deleted instead.

use super::{LabRun, plan};
use crate::graded::book::Open;
use crate::graded::words::{self, Word};
use crate::run::{self, LINE_MAX};
use cluster::guest::{HOLD, Inside};
use cluster::undo::{Loss, Past};
use serde_json::Value;

impl LabRun {
    /// Has the API servers keep the history from before the open lab, and no other. Errors: the
    /// store does not answer.
    pub(super) async fn hold(&self) -> Result<(), String> {
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
        self.host.keep(HOLD, wanted, found["version"].as_i64().unwrap_or_default()).await
    }

    /// Has the store given up what was at this revision of the open lab? It does so where it has no
    /// other room. Errors: no API server answers.
    pub(super) async fn is_gone(&self, revision: i64) -> Result<bool, String> {
        let steps = self.host.past(Past::Steps).await?;
        Ok(steps["oldest"].as_i64().is_some_and(|oldest| oldest > revision))
    }

    /// Takes away what the open lab made, and closes it. `left`: without a grade, because its
    /// learner said so. `plan`: of the way back that was agreed to; null: any. Answers the objects
    /// that were deleted because there is no way back.
    pub(super) async fn put_back(&self, left: bool, plan: &Value, lang: &str) -> Result<Vec<Loss>, String> {
        let Some(open) = self.book().open.clone() else { return Ok(vec![]) };
        let failed = |why: String| words::say(lang, Word::NoReset, &[&open.lab, &why]);
        let mut deleted = vec![];
        if self.is_gone(open.base).await.map_err(failed)? {
            deleted = self.outermost(&open, lang)?;
            for object in &deleted {
                self.teacher.delete(object).await.map_err(failed)?;
            }
        } else {
            let back = Past::back(open.base, self.places_of(&open)).agreed(plan);
            let changed = |why: String| crate::words::is_plan_changed(&why, lang).ok_or(why);
            let back = self.host.past(back).await;
            back.map_err(|why| changed(why).unwrap_or_else(failed))?;
        }
        // Only now: as long as it is open, what the learner does is seen.
        self.world.know().recording = false;
        match left {
            true => self.book().leave(),
            false => self.book().close(),
        }
        self.save().map_err(|why| words::say(lang, Word::NotKept, &[&why]))?;
        if let Err(why) = self.hold().await {
            tracing::warn!(why, "history is still held for a lab that is closed; the next start lets it go");
        }
        Ok(deleted)
    }

    /// What the setup of the open lab makes: its namespaces, and objects in other ones. Errors: the
    /// lab is no longer among the labs.
    pub(super) fn outermost(&self, open: &Open, lang: &str) -> Result<Vec<Loss>, String> {
        let gone = || words::say(lang, Word::Gone, &[&open.lab]);
        let lab = self.labs.get(&open.lab).ok_or_else(gone)?;
        let all = plan::made(&plan::lines(lab, &lab.variant(open.seed)?));
        let within = |o: &Loss| all.iter().any(|m| m.resource == "namespaces" && m.name == o.namespace);
        Ok(all.iter().filter(|o| !within(o)).cloned().collect())
    }
}

impl run::Teacher {
    /// Deletes an object and waits until it is gone; of a namespace the pods get no time to end,
    /// since nobody misses them. Errors: kubectl's.
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
        let played = self.play(&lines, &cluster::guest::Room::default()).await;
        played.map_err(|error| cluster::chain(&error))
    }
}
