//! The order of the objects that a view can turn over: what the open step names comes first, then
//! what the learner changed last, then what is not well, then the latest change.
//!
//! Example: the task is ``Set the image of `site` to `nginx:1.27` ``. The rollout view is about the
//! Deployment `site`, also while another Deployment changes.

use super::cluster::{Cluster, Deployment, Key, Pod, Service};
use super::flow::Flow;
use super::model::{Model, View};
use clock::Timestamp;
use std::collections::BTreeMap;
use tap::ObjectRef;

impl Model {
    /// Returns the objects among which Up and Down choose in the current view, those that the open
    /// step names first.
    pub(crate) fn subjects(&self) -> Vec<Key> {
        let scene = &self.cluster;
        match self.view {
            View::Pod => {
                self.pods(scene).into_iter().map(|pod| (pod.namespace.clone(), pod.name.clone())).collect()
            }
            View::Network => self.services(scene).into_iter().map(|(key, _)| key.clone()).collect(),
            View::Rollout => self.deployments(scene).into_iter().map(|(key, _)| key.clone()).collect(),
            View::Scheduling => self.traffic.decided(),
            View::Cluster | View::ControlPlane | View::Raft => vec![],
        }
    }

    /// Returns the pods of [`Cluster::pods_by_age`]. A step names a pod also by its owner, and who
    /// changes an owner changes its pods. Those that are not well keep the order of
    /// [`Cluster::unwell_pods`].
    pub(crate) fn pods<'a>(&self, scene: &'a Cluster) -> Vec<&'a Pod> {
        let (mut pods, words) = (scene.pods_by_age(), self.step_words());
        let changed = self.last_changed();
        let unwell_pods = scene.unwell_pods().into_iter().enumerate();
        let unwell_pods: BTreeMap<(&str, &str), usize> =
            unwell_pods.map(|(at, it)| ((it.pod.namespace.as_str(), it.pod.name.as_str()), at)).collect();
        pods.sort_by_key(|pod| {
            let set = scene.replicasets.get(&(pod.namespace.clone(), pod.owner.clone()));
            let owners = [pod.owner.as_str(), set.map_or("", |set| set.owner.as_str())];
            let is_changed = changed.is_some_and(|object| {
                let is_its = match object.resource.as_str() {
                    "pods" => object.name == pod.name,
                    "deployments" | "replicasets" | "statefulsets" | "daemonsets" | "jobs" => {
                        owners.contains(&object.name.as_str())
                    }
                    _ => false,
                };
                object.namespace == pod.namespace && is_its
            });
            let unwell = unwell_pods.get(&(pod.namespace.as_str(), pod.name.as_str())).copied();
            let named = rank(&words, &pod.namespace, &pod.name, &owners);
            (named, !is_changed, unwell.unwrap_or(usize::MAX))
        });
        pods
    }

    /// Returns the Services of [`Cluster::services_by_age`].
    pub(crate) fn services<'a>(&self, scene: &'a Cluster) -> Vec<(&'a Key, &'a Service)> {
        let (mut services, words) = (scene.services_by_age(), self.step_words());
        services.sort_by_key(|(key, _)| rank(&words, &key.0, &key.1, &[]));
        services
    }

    /// Returns the Deployments of [`Cluster::deployments_by_age`].
    pub(crate) fn deployments<'a>(&self, scene: &'a Cluster) -> Vec<(&'a Key, &'a Deployment)> {
        let (mut deployments, words) = (scene.deployments_by_age(), self.step_words());
        let (changed, unwell) = (self.last_changed(), scene.unwell_deployments());
        let changed = changed.and_then(|object| {
            let key = (object.namespace.clone(), object.name.clone());
            match object.resource.as_str() {
                "deployments" => Some(key),
                "pods" => scene.pods.get(&key).and_then(|pod| scene.deployment_of(pod)),
                _ => None,
            }
        });
        deployments.sort_by_key(|(key, _)| {
            let named = rank(&words, &key.0, &key.1, &[]);
            (named, changed.as_ref() != Some(*key), !unwell.contains(*key))
        });
        deployments
    }

    /// Returns the object that the learner's newest command has written. While a lab is open,
    /// commands from before it do not count.
    fn last_changed(&self) -> Option<&ObjectRef> {
        let started = self.lab.open().and_then(|view| view.started.parse::<Timestamp>().ok());
        let counts = |flow: &&Flow| {
            flow.is_typed() && flow.wrote() && started.is_none_or(|started| flow.began >= started)
        };
        self.traffic.flows.iter().filter(counts).max_by_key(|flow| flow.began)?.object()
    }

    /// Returns the words that the open step's task has as code; before the guess those of its
    /// question. A lab names no object: what is broken is to be found.
    fn step_words(&self) -> Vec<&str> {
        let open = self.lesson.view.as_ref().filter(|view| !view.id.is_empty());
        let Some(view) = open.filter(|_| self.lab.open().is_none()) else { return vec![] };
        match (&view.predict, view.task.is_empty()) {
            (Some(predict), true) => code_words(&predict.question),
            _ => code_words(&view.task),
        }
    }

    /// Returns the place of the chosen object in this list. Lists are ordered by the latest change:
    /// a place alone would mean another object as soon as one of the others changes.
    pub(crate) fn place(&self, all: &[Key]) -> usize {
        let held = self.about.as_ref().and_then(|about| all.iter().position(|key| key == about));
        held.unwrap_or_else(|| self.subject.min(all.len().saturating_sub(1)))
    }

    /// Chooses the object at a place of a list. The first is followed, whichever it is by then.
    pub(crate) fn choose(&mut self, all: &[Key], place: usize) {
        self.subject = place;
        self.about = all.get(place).filter(|_| place > 0).cloned();
    }
}

/// Returns the words between backticks: `` `kubectl get deploy/web -n shop` `` has kubectl, get,
/// deploy, web, -n and shop.
fn code_words(text: &str) -> Vec<&str> {
    let code = text.split('`').skip(1).step_by(2);
    let words = code.flat_map(|code| code.split(|c: char| !(c.is_ascii_alphanumeric() || "-.".contains(c))));
    words.filter(|word| !word.is_empty()).collect()
}

/// Sorts an object by where the words name it, or one of its owners: the object itself before
/// those that it owns, and one in a namespace that is named before others. What is not named has
/// the last place.
fn rank(words: &[&str], namespace: &str, name: &str, owners: &[&str]) -> (usize, bool, bool) {
    // A Service may be named with its namespace: `web.shop`.
    let is_named = |word: &str, name: &str| {
        word == name || word.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
    };
    let place = |name: &str| words.iter().position(|word| !name.is_empty() && is_named(word, name));
    let own = place(name);
    let at = own.or_else(|| owners.iter().filter_map(|owner| place(owner)).min());
    let in_namespace = words.iter().any(|word| word.split('.').any(|part| part == namespace));
    (at.unwrap_or(usize::MAX), own.is_none(), !in_namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_code_are_names_and_the_others_are_not() {
        let text = "Scale `web` in shop, with `kubectl scale deploy/api -n prod --replicas=3`.";
        let words = ["web", "kubectl", "scale", "deploy", "api", "-n", "prod", "--replicas", "3"];
        assert_eq!(code_words(text), words);
        assert_eq!(code_words("no code"), [""; 0]);
    }

    #[test]
    fn what_is_named_first_has_the_first_place() {
        let words = code_words("`logic`, then `http://page.shop:8080/goods`");
        let order = |namespace: &str, name: &str, owner: &str| rank(&words, namespace, name, &[owner]);
        let last = (usize::MAX, true, true);
        assert_eq!(order("default", "db", ""), last);
        assert_eq!(order("default", "log", ""), last, "a part of a word is no name");
        let all = [
            order("default", "logic", ""),
            order("default", "logic-5c9", "logic"),
            order("shop", "page", ""),
            order("default", "page", ""),
            order("shop", "db", ""),
            last,
        ];
        assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
    }
}
