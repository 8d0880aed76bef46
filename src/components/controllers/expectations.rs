//! Writes on their way: a controller waits to see its own writes in the cache before it counts
//! again, or it would make everything twice.
//!
//! A cache that is listed anew never shows an object that was made and deleted before the list: its
//! watch broke off before it showed either. What was awaited of such an object has to be given up,
//! and a list says when:
//!
//! ```text
//! POST web-1   answer   list begins   list ends    not in the list: web-1 is gone, wait no more
//! POST web-1   list begins   answer   list ends    the list may be older: ask the API server
//! ```

use client::{Api, Change, Codec, Informer, Key, Lists, WorkQueue};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A write not seen in the cache after this time is given up: upstream's `ExpectationsTimeout`.
const TIMEOUT: Duration = Duration::from_secs(300);

#[cfg(test)]
thread_local! {
    /// Plants a bug for the simulation: nothing is waited for.
    pub static IMPATIENT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// An object that was made and has not been seen yet.
struct Creation {
    /// Lists of the cache that were complete when the request was sent.
    complete: u64,
    /// The object's uid, and how many lists of the cache had begun when the API server answered.
    /// `None` while the request is on its way.
    answer: Option<(String, u64)>,
    /// A list that may be older or newer than the object does not have it.
    doubtful: bool,
}

#[derive(Default)]
struct Open {
    /// By name.
    creations: BTreeMap<String, Creation>,
    /// Uids of objects deleted and not yet seen so.
    deletions: BTreeSet<String>,
    since: Option<clock::Instant>,
}

impl Open {
    fn is_empty(&self) -> bool {
        self.creations.is_empty() && self.deletions.is_empty()
    }
}

/// Writes that the cache does not show yet, by owner. An owner without such writes has no entry:
/// each change of an object is compared with all entries.
#[derive(Clone, Default)]
pub(crate) struct Expectations(Arc<Mutex<BTreeMap<Key, Open>>>);

impl Expectations {
    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<Key, Open>) -> T) -> T {
        f(&mut self.0.lock())
    }

    /// Returns whether every write of the owner has been seen, or was given up.
    pub(crate) fn met(&self, owner: &Key) -> bool {
        #[cfg(test)]
        if IMPATIENT.get() {
            return true;
        }
        self.with(|all| match all.get(owner) {
            None => true,
            Some(open) => {
                let old = open.since.is_some_and(|at| at.elapsed() > TIMEOUT);
                old || open.is_empty()
            }
        })
    }

    /// Notes that a request to make an object is sent. `lists`: of the cache that is to show the
    /// object.
    pub(crate) fn creating(&self, owner: &Key, name: &str, lists: Lists) {
        self.with(|all| {
            let open = all.entry(owner.clone()).or_default();
            let creation = Creation { complete: lists.complete, answer: None, doubtful: false };
            open.creations.insert(name.to_string(), creation);
            open.since = Some(clock::Instant::now());
        });
    }

    /// Notes that the API server has made the object.
    pub(crate) fn answered(&self, owner: &Key, name: &str, uid: Option<String>, lists: Lists) {
        self.with(|all| {
            let Some(creation) = all.get_mut(owner).and_then(|open| open.creations.get_mut(name)) else {
                return; // it was seen before the answer came
            };
            creation.answer = Some((uid.unwrap_or_default(), lists.begun));
            creation.doubtful = lists.complete > creation.complete;
        });
    }

    /// Notes that a request to delete an object is sent.
    pub(crate) fn deleting(&self, owner: &Key, uid: &str) {
        self.with(|all| {
            let open = all.entry(owner.clone()).or_default();
            open.deletions.insert(uid.to_string());
            open.since = Some(clock::Instant::now());
        });
    }

    /// Gives up waiting for an object that could not be made.
    pub(crate) fn forget_creation(&self, owner: &Key, name: &str) {
        self.with(|all| {
            all.get_mut(owner).map(|open| open.creations.remove(name));
            all.retain(|_, open| !open.is_empty());
        });
    }

    /// Gives up waiting for the end of an object that could not be deleted.
    pub(crate) fn forget_deletion(&self, owner: &Key, uid: &str) {
        self.with(|all| {
            all.get_mut(owner).map(|open| open.deletions.remove(uid));
            all.retain(|_, open| !open.is_empty());
        });
    }

    /// Notes a change of an object in the cache. Returns the owners that have waited for it, also
    /// those that it no longer names: its owner may have been taken off before it was seen for the
    /// first time, and another object may have its owner's name.
    pub(crate) fn seen<K: kube::Resource>(&self, change: &Change<K>) -> Vec<Key> {
        let (meta, key) = (change.object().meta(), change.key());
        let gone = matches!(change, Change::Deleted(_));
        let (going, uid) =
            (gone || meta.deletion_timestamp.is_some(), meta.uid.as_deref().unwrap_or_default());
        self.with(|all| {
            let mut waited = Vec::new();
            for (owner, open) in all.iter_mut().filter(|(owner, _)| owner.namespace == key.namespace) {
                let is_it = |made: &Creation| made.answer.as_ref().is_none_or(|(of, _)| of == uid);
                // What is gone was seen before; an earlier object of the same name may go late.
                let made = !gone && open.creations.get(&key.name).is_some_and(is_it);
                if made {
                    open.creations.remove(&key.name);
                }
                if (going && open.deletions.remove(uid)) || made {
                    waited.push(owner.clone());
                }
            }
            all.retain(|_, open| !open.is_empty());
            waited
        })
    }

    pub(crate) fn forget(&self, owner: &Key) {
        self.with(|all| all.remove(owner));
    }

    /// Brings the key of an owner back when a new list of `informer` shows that an object of it
    /// will never be seen, or leaves it in doubt.
    pub(crate) fn watch<K>(&self, informer: &Informer<K>, queue: &WorkQueue<Key>)
    where
        K: kube::Resource + Clone + Codec + Send + Sync + 'static,
        K::DynamicType: Default,
    {
        let (expectations, queue) = (self.clone(), queue.clone());
        informer.on_list(move |list| {
            expectations.listed(list).into_iter().for_each(|owner| queue.add(owner, None));
        });
    }

    /// Notes that a list of the cache is complete: the `list`th one that had begun. What it has was
    /// seen before this. Returns the owners of the rest.
    fn listed(&self, list: u64) -> Vec<Key> {
        self.with(|all| {
            let mut concerned = Vec::new();
            for (owner, open) in all.iter_mut() {
                let before = open.creations.len();
                open.creations
                    .retain(|_, creation| creation.answer.as_ref().is_none_or(|(_, begun)| list <= *begun));
                let mut doubt = false;
                for creation in open.creations.values_mut().filter(|creation| creation.answer.is_some()) {
                    (creation.doubtful, doubt) = (true, true);
                }
                if doubt || open.creations.len() < before {
                    concerned.push(owner.clone());
                }
            }
            all.retain(|_, open| !open.is_empty());
            concerned
        })
    }

    /// Returns the names and uids of objects that may be gone without having been seen.
    fn doubtful(&self, owner: &Key) -> Vec<(String, String)> {
        self.with(|all| {
            let creations = all.get(owner).into_iter().flat_map(|open| &open.creations);
            let doubtful = creations.filter(|(_, creation)| creation.doubtful);
            let named = doubtful.filter_map(|(name, c)| Some((name.clone(), c.answer.as_ref()?.0.clone())));
            named.collect()
        })
    }

    pub(crate) fn in_doubt(&self, owner: &Key) -> bool {
        !self.doubtful(owner).is_empty()
    }

    /// Asks the API server for objects that may be gone without having been seen. One that is there
    /// will be seen: the list was older, and the watch goes on from the list.
    ///
    /// # Errors
    /// The API server does not answer. The doubt stays.
    pub(crate) async fn resolve<K>(&self, owner: &Key, api: &Api<K>) -> Result<(), kube::Error>
    where
        K: Codec,
    {
        for (name, uid) in self.doubtful(owner) {
            let found = client::optional(api.get_metadata(&name).await)?;
            let there = found.is_some_and(|meta| meta.metadata.uid.as_deref() == Some(&uid));
            self.with(|all| {
                let Some(open) = all.get_mut(owner) else { return };
                match open.creations.get_mut(&name) {
                    Some(creation) if there => creation.doubtful = false,
                    _ => drop(open.creations.remove(&name)),
                }
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::testing::Scripted;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    fn lists(begun: u64, complete: u64) -> Lists {
        Lists { begun, complete }
    }

    #[test]
    fn what_a_later_list_does_not_have_is_awaited_no_more() {
        let (awaited, owner) = (Expectations::default(), Key::new("d", "o"));
        awaited.creating(&owner, "p", lists(1, 1));
        assert!(awaited.listed(1).is_empty(), "it was not answered yet");
        awaited.answered(&owner, "p", Some("u".into()), lists(1, 1));
        assert!(!awaited.met(&owner) && !awaited.in_doubt(&owner));
        assert_eq!(awaited.listed(2), std::slice::from_ref(&owner));
        assert!(awaited.met(&owner));
        assert!(awaited.listed(3).is_empty(), "it concerns nobody any more");
    }

    fn pod(uid: &str, going: bool) -> Arc<Pod> {
        let going = going.then_some("2026-01-01T00:00:00Z");
        let meta = json!({"name": "p", "namespace": "d", "uid": uid, "deletionTimestamp": going});
        Arc::new(serde_json::from_value(json!({"metadata": meta})).unwrap())
    }

    /// Its owner may have been taken off meanwhile: none of these pods names one.
    #[test]
    fn a_change_is_seen_whatever_owner_the_object_has() {
        let (awaited, owner) = (Expectations::default(), Key::new("d", "o"));
        let deleting = || awaited.deleting(&owner, "u");
        let seen = |change: Change<Pod>| awaited.seen(&change) == [owner.clone()] && awaited.met(&owner);
        deleting();
        assert!(!seen(Change::Added(pod("u", false))) && !seen(Change::Deleted(pod("another", false))));
        assert!(seen(Change::Updated { old: pod("u", false), new: pod("u", true) }));
        deleting();
        assert!(seen(Change::Deleted(pod("u", false))));
        let creating = || {
            awaited.creating(&owner, "p", lists(1, 1));
            awaited.answered(&owner, "p", Some("u".into()), lists(1, 1));
        };
        creating();
        assert!(!seen(Change::Deleted(pod("earlier", true))) && !seen(Change::Added(pod("earlier", true))));
        assert!(seen(Change::Added(pod("u", false))));
        creating();
        assert!(seen(Change::Added(pod("u", true))), "it is on its way out when it is first seen");
        assert!(awaited.seen(&Change::Added(pod("u", false))).is_empty(), "it concerns nobody any more");
    }

    #[tokio::test]
    async fn a_new_list_without_the_object_brings_its_owner_back() {
        let server = Scripted::new(|_| None).await;
        let shared = crate::shared::Shared::fixed(&server.client);
        let (awaited, owner) = (Expectations::default(), Key::new("d", "o"));
        let queue = WorkQueue::new(&shared.crew);
        awaited.watch(shared.informer::<Pod>(), &queue);
        awaited.creating(&owner, "p", shared.informer::<Pod>().lists());
        awaited.answered(&owner, "p", Some("u".into()), shared.informer::<Pod>().lists());
        assert!(!awaited.met(&owner));
        shared.informer::<Pod>().show_list([]);
        assert_eq!(queue.next().await.0, owner);
        assert!(awaited.met(&owner));
    }

    /// The list may have been read before the object was made, or after it was deleted.
    #[tokio::test]
    async fn an_object_that_a_list_leaves_in_doubt_is_asked_for() {
        for (uid, met) in [(Some("u"), false), (Some("another"), true), (None, true)] {
            let server = Scripted::new(move |asked| {
                let uid = uid.filter(|_| asked.line == "GET /api/v1/namespaces/d/pods/p")?;
                let meta = json!({"name": "p", "uid": uid});
                Some((200, json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta})))
            })
            .await;
            let (api, owner) = (server.client.within::<Pod>("d"), Key::new("d", "o"));
            let (before, after) = (Expectations::default(), Expectations::default());
            // The list ends after the answer has come ...
            before.creating(&owner, "p", lists(1, 1));
            before.answered(&owner, "p", Some("u".into()), lists(2, 1));
            assert!(!before.in_doubt(&owner));
            assert_eq!(before.listed(2), std::slice::from_ref(&owner));
            // ... or before.
            after.creating(&owner, "p", lists(1, 1));
            assert!(after.listed(2).is_empty());
            after.answered(&owner, "p", Some("u".into()), lists(2, 2));
            for awaited in [before, after] {
                assert!(awaited.in_doubt(&owner) && !awaited.met(&owner));
                awaited.resolve(&owner, &api).await.unwrap();
                assert!(!awaited.in_doubt(&owner));
                assert_eq!(awaited.met(&owner), met, "{uid:?}");
            }
        }
    }
}
