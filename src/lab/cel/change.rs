//! What became of an object since the step began: compared with the object as it was then.

use super::facts::{self, Facts, Object};
use super::value::{self, at, field};
use crate::desired::wanted;
use cel::Value;

/// Functions that compare with the beginning of the step.
pub(super) const OF_BEGINNING: &[&str] = &["before", "replaced", "restarted", "unchanged_since_step"];

/// Kind (with its group), namespace and name of an object; `None`: it is `{}`.
fn identity(object: &Value) -> Option<(String, String, String)> {
    let text = |path: &str| match at(object, path) {
        Some(Value::String(text)) => text.to_string(),
        _ => String::new(),
    };
    let kind = match text("apiVersion").split_once('/') {
        Some((group, _)) => format!("{}.{group}", text("kind")),
        None => text("kind"),
    };
    let name = text("metadata.name");
    (!name.is_empty()).then(|| (kind, text("metadata.namespace"), name))
}

fn uid(object: &Value) -> Option<&Value> {
    at(object, "metadata.uid")
}

/// How often the containers of a pod were restarted, all together: sidecars, which stand among the
/// init containers, too.
fn restarts(pod: &Value) -> i64 {
    let of = |statuses: &str| -> i64 {
        match at(pod, statuses) {
            Some(Value::List(all)) => {
                all.iter().map(|status| value::int_field(status, "restartCount")).fold(0, i64::saturating_add)
            }
            _ => 0,
        }
    };
    of("status.containerStatuses").saturating_add(of("status.initContainerStatuses"))
}

/// Returns whether a container of this pod was started again since the step began. It is the same
/// pod, or one that was made in the step.
///
/// # Errors
/// The pod as it was then is not known.
pub(super) fn restarted(facts: &Facts, pod: &Value) -> Result<bool, String> {
    let Some((kind, namespace, name)) = identity(pod) else { return Ok(false) };
    let was = facts.before(&kind, &namespace, &name)?;
    let before = was.filter(|was| uid(was) == uid(pod)).map_or(0, |was| restarts(&was));
    Ok(restarts(pod) > before)
}

/// Returns whether this object stands in the place of another that was there when the step began
/// and is gone: of one with the same name, or of one that the same controller had.
///
/// Example: the learner deletes `web-1` of a ReplicaSet, and the controller makes `web-2`: `web-2`
/// has replaced `web-1`. The pod of a StatefulSet has the name of the one before it.
///
/// # Errors
/// What there was then, or what there is now, is not known.
pub(super) fn replaced(facts: &Facts, object: &Value) -> Result<bool, String> {
    let Some((kind, namespace, name)) = identity(object) else { return Ok(false) };
    if let Some(was) = facts.before(&kind, &namespace, &name)? {
        return Ok(uid(&was) != uid(object));
    }
    let Some(owner) = controller(object) else { return Ok(false) };
    let there = facts.objects(&kind, &namespace, None)?;
    let is_there =
        |was: &Value| there.iter().any(|now| uid(&now.value) == uid(was) && at(&now.value, GOING).is_none());
    let then = facts.all_before(&kind, &namespace)?;
    Ok(then.iter().any(|was| controller(&was.value).as_ref() == Some(&owner) && !is_there(&was.value)))
}

/// Set on an object that is being deleted.
const GOING: &str = "metadata.deletionTimestamp";

/// The uid of the controller that owns an object.
fn controller(object: &Value) -> Option<Value> {
    let Some(Value::List(owners)) = at(object, "metadata.ownerReferences") else { return None };
    let owner = owners.iter().find(|owner| field(owner, "controller") == Some(&Value::Bool(true)))?;
    field(owner, "uid").cloned()
}

/// Returns whether this object is what it was when the step began: the same one, with the same
/// labels, annotations and spec (or data). Its status does not count.
///
/// # Errors
/// The object as it was then is not known.
pub(super) fn is_unchanged(facts: &Facts, object: &Value) -> Result<bool, String> {
    let Some((kind, namespace, name)) = identity(object) else { return Ok(false) };
    let Some(was) = facts.before(&kind, &namespace, &name)? else { return Ok(false) };
    Ok(uid(&was) == uid(object) && wanted(&value::to_json(&was)) == wanted(&value::to_json(object)))
}

impl Facts {
    /// All objects of a kind in a namespace as they were when the step began.
    ///
    /// # Errors
    /// They are not known yet, or not any more, or the kind is none.
    fn all_before(&self, name: &str, namespace: &str) -> Result<Vec<Object>, String> {
        self.before(name, namespace, "")?; // the errors, and what is to be asked for
        let Some(known) = facts::kind(name) else { return Ok(vec![]) };
        if let Some(before) = &self.before {
            let all = before.get(&known.qualified()).into_iter().flat_map(|all| all.iter());
            return Ok(all.filter(|((of, _), _)| of == namespace).map(|(_, o)| o.clone()).collect());
        }
        let mut found = Vec::new();
        for ((plural, of, _), versions) in self.history.iter() {
            if plural != known.plural || of != namespace {
                continue;
            }
            let then = versions[..versions.partition_point(|v| v.revision <= self.since_step)].last();
            if let Some(object) =
                then.filter(|v| v.verb != "DELETED").and_then(|v| field(v.value(), "object"))
            {
                found.push(Object::new(value::to_json(object)));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expr, Use};
    use super::*;
    use serde_json::{Value as Json, json};
    use std::sync::Arc;

    fn pod(name: &str, uid: &str, restarts: i64) -> Json {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "d", "name": name, "uid": uid, "labels": {"app": "web"},
                "ownerReferences": [{"controller": true, "uid": "rs"}]},
            "spec": {"nodeName": "n1"}, "status": {"containerStatuses": [{"restartCount": restarts}]}})
    }
    fn holds(source: &str, then: &[Json], now: &[Json]) -> Option<bool> {
        let objects = |all: &[Json]| {
            let one = |o: &Json| (facts::key(o), Object::new(o.clone()));
            let all: facts::Objects = Arc::new(all.iter().map(one).collect());
            [("pods".to_string(), all)].into()
        };
        let facts = Facts { objects: objects(now), before: Some(objects(then)), ..Facts::default() };
        Expr::compile(source, Use::Check, &[]).unwrap().truth(&Arc::new(facts))
    }

    #[test]
    fn a_restart_is_of_the_same_pod_or_of_one_made_since() {
        let restarted = |then: &[Json], now: &[Json]| holds("restarted(object('Pod','d','a'))", then, now);
        assert_eq!(restarted(&[pod("a", "1", 2)], &[pod("a", "1", 3)]), Some(true));
        assert_eq!(restarted(&[pod("a", "1", 2)], &[pod("a", "1", 2)]), Some(false));
        assert_eq!(restarted(&[pod("a", "1", 2)], &[pod("a", "2", 0)]), Some(false), "another pod");
        assert_eq!(restarted(&[], &[pod("a", "1", 1)]), Some(true));
        let mut sidecar = pod("a", "1", 2);
        sidecar["status"]["initContainerStatuses"] = json!([{"restartCount": 1}]);
        assert_eq!(restarted(&[pod("a", "1", 2)], &[sidecar]), Some(true));
        assert_eq!(restarted(&[pod("a", "1", 2)], &[]), Some(false), "there is none");
        let mut often = pod("a", "1", i64::MAX);
        often["status"]["initContainerStatuses"] = json!([{"restartCount": 1}]);
        assert_eq!(restarted(&[pod("a", "1", 2)], &[often]), Some(true));
    }

    #[test]
    fn a_pod_replaces_the_one_of_its_name_or_of_its_controller() {
        let replaced = |name: &str, then: &[Json], now: &[Json]| {
            holds(&format!("replaced(object('Pod','d','{name}'))"), then, now)
        };
        assert_eq!(replaced("a", &[pod("a", "1", 0)], &[pod("a", "2", 0)]), Some(true));
        assert_eq!(replaced("a", &[pod("a", "1", 0)], &[pod("a", "1", 9)]), Some(false));
        assert_eq!(replaced("b", &[pod("a", "1", 0)], &[pod("b", "2", 0)]), Some(true));
        assert_eq!(
            replaced("b", &[pod("a", "1", 0)], &[pod("a", "1", 0), pod("b", "2", 0)]),
            Some(false),
            "one more, and none is gone"
        );
        let mut bare = pod("b", "2", 0);
        bare["metadata"]["ownerReferences"] = json!([]);
        assert_eq!(replaced("b", &[pod("a", "1", 0)], &[bare]), Some(false));
        assert_eq!(replaced("b", &[], &[]), Some(false));
    }

    #[test]
    fn an_object_is_unchanged_whatever_its_status_says() {
        let source = "unchanged_since_step(object('Pod','d','a'))";
        let was = [pod("a", "1", 0)];
        assert_eq!(holds(source, &was, &[pod("a", "1", 5)]), Some(true));
        assert_eq!(holds(source, &was, &[pod("a", "2", 0)]), Some(false), "made anew");
        let mut labelled = pod("a", "1", 0);
        labelled["metadata"]["labels"]["tier"] = json!("web");
        assert_eq!(holds(source, &was, &[labelled]), Some(false));
        assert_eq!(holds(source, &was, &[]), Some(false));
        assert_eq!(holds(source, &[], &was), Some(false), "it is new");
    }

    #[test]
    fn the_beginning_is_asked_for_and_its_loss_is_no_verdict() {
        let expr = |source: &str| Expr::compile(source, Use::Check, &[]).unwrap();
        let check = expr("restarted(object('Pod','d','a'))");
        assert!(check.is_level() && check.reads_beginning() && !expr("ready({})").reads_beginning());
        let now: facts::Objects =
            Arc::new([(("d".into(), "a".into()), Object::new(pod("a", "1", 1)))].into());
        let objects: std::collections::HashMap<_, _> = [("pods".to_string(), now)].into();
        let facts = Arc::new(Facts { objects, before: Some(Default::default()), ..Facts::default() });
        assert_eq!(check.truth(&facts), None);
        assert_eq!(facts.take_wanted().before, ["Pod".to_string()].into());
    }
}
