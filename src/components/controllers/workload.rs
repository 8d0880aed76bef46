//! The shape of a controller whose objects own pods: changes of the owner, of its pods and of pods
//! without an owner become keys in a queue; a [`Look`] is one key taken out of it, with everything
//! that is needed to act on it. [`PodOwner`] is what differs from kind to kind.

use super::expectations::Expectations;
use super::job::dismissed::Dismissed;
use super::job::ends::AllEnds;
use super::names;
use super::pauses::Pauses;
use super::pods::{self, PodControl, Words, owner_key};
use super::write::{self, Guard};
use crate::error::Error;
use crate::shared::{Shared, record};
use client::{Api, Backoff, Change, Codec, Key, Outcome, Recorder, WorkQueue, reference};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::api::ListParams;
use kube::core::Selector;
use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Component, Event};

/// A kind with namespaces whose objects are read and written as its type says.
pub(crate) trait Typed:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Codec
{
}

impl<K> Typed for K where K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Codec {}

/// A kind whose objects own pods, and how its controller looks at one of them.
pub(crate) trait PodOwner: 'static {
    type Kind: Typed + Send + Sync + 'static;
    /// The source of its events and records, e.g. `replicaset-controller`.
    const COMPONENT: Component;
    const WORKERS: usize;
    const WORDS: Words = pods::WORDS;
    /// How long an object waits whose look has failed.
    const BACKOFF: Backoff = client::BACKOFF;
    /// The finalizer that its pods carry.
    const FINALIZER: Option<&'static str> = None;

    fn selector(object: &Self::Kind) -> Option<Cow<'_, LabelSelector>>;
    /// Takes one look at one object: decides, acts, writes the status.
    fn sync(look: &Look<'_, Self::Kind>) -> impl Future<Output = Result<Outcome, Error>> + Send;
    /// Returns the owner of a pod that no longer names it; asked only for pods without a
    /// controller.
    fn lost_owner(_pod: &Pod) -> Option<Key> {
        None
    }
    /// Tidies what an object that is gone has left behind.
    fn gone(_shared: &Shared, _key: &Key) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }
}

/// Starts the controller and returns its queue, for changes of other kinds that concern its
/// objects.
///
/// Every change ends up as a key, for example `default/web`: an object that was changed ten times
/// while a worker was busy is looked at once, as it is then. That is why a look asks what is, and
/// never what happened.
pub(crate) fn start<C: PodOwner>(shared: &Shared) -> WorkQueue<Key> {
    let queue: WorkQueue<Key> = WorkQueue::retrying(&shared.crew, C::BACKOFF);
    let worker = Arc::new(Worker::new(shared, C::COMPONENT));
    worker.expectations.watch(shared.informer::<Pod>(), &queue);
    let q = queue.clone();
    shared.informer::<C::Kind>().on(move |change| q.add(change.key(), change.cause()));
    let (q, w) = (queue.clone(), worker.clone());
    shared.informer::<Pod>().on(move |change| {
        w.owners::<C>(change).into_iter().for_each(|owner| q.add(owner, change.cause()));
    });
    shared.report_panics(&queue, shared.informer::<C::Kind>(), C::COMPONENT.name());
    queue.work(C::COMPONENT.name(), C::WORKERS, move |key, cause| {
        let worker = worker.clone();
        async move { worker.sync::<C>(&key, &cause).await }
    });
    queue
}

/// Takes one look at one object. Tests put what there is into the caches of `shared`.
#[cfg(test)]
pub(crate) async fn look_once<C: PodOwner>(shared: &Shared, key: &Key) -> Result<Outcome, Error> {
    Worker::new(shared, C::COMPONENT).sync::<C>(key, &None).await
}

/// A worker that sees the changes which a test makes in its caches, and looks when the test says
/// so.
#[cfg(test)]
pub(crate) struct Driven(Arc<Worker>);

#[cfg(test)]
impl Driven {
    pub(crate) fn new(shared: &Shared) -> Driven {
        let worker = Arc::new(Worker::new(shared, Component::ControllerManager));
        let w = worker.clone();
        shared.informer::<Pod>().on(move |change| drop(w.expectations.seen(change)));
        Driven(worker)
    }

    pub(crate) async fn look<C: PodOwner>(&self, key: &Key) -> Result<Outcome, Error> {
        self.0.sync::<C>(key, &None).await
    }
}

struct Worker {
    shared: Shared,
    expectations: Expectations,
    pauses: Pauses,
    dismissed: Dismissed,
    ends: AllEnds,
    recorder: Recorder,
}

impl Worker {
    fn new(shared: &Shared, component: Component) -> Worker {
        Worker {
            shared: shared.clone(),
            expectations: Expectations::default(),
            pauses: Pauses::default(),
            dismissed: Dismissed::default(),
            ends: AllEnds::default(),
            recorder: Recorder::new(&shared.crew, &shared.config.client, component.name(), ""),
        }
    }

    /// Returns the keys of the objects that a change of a pod concerns, and notes that what was
    /// awaited of the pod has been seen.
    ///
    /// A pod that changes its owner concerns both, so the old and the new version of the pod are
    /// read. A pod without an owner concerns every object whose selector chooses it: one of them
    /// adopts it.
    fn owners<C: PodOwner>(&self, change: &Change<Pod>) -> Vec<Key> {
        let (pod, kind) = (change.object(), <C::Kind as kube::Resource>::kind(&()));
        let mut owners: Vec<Key> = owner_key(pod, &kind).into_iter().collect();
        if let Change::Updated { old, .. } = change {
            owners.extend(owner_key(old, &kind));
        }
        owners.extend(self.expectations.seen(change));
        if pods::controller_of(&pod.metadata).is_none() {
            // An orphan, perhaps by this very change: any workload that selects it may adopt it.
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            let labels = pod.metadata.labels.as_ref();
            let chosen = |o: &Arc<C::Kind>| C::selector(o).is_some_and(|s| pods::selects(&s, labels));
            let all = self.shared.informer::<C::Kind>().within(&namespace);
            owners.extend(all.iter().filter(|o| chosen(o)).map(|o| Key::of(&**o)));
            owners.extend(C::lost_owner(pod));
        }
        owners.sort();
        owners.dedup();
        owners
    }

    async fn sync<C: PodOwner>(&self, key: &Key, cause: &Option<Cause>) -> Result<Outcome, Error> {
        let Some(object) = self.shared.informer::<C::Kind>().get(key) else {
            self.expectations.forget(key);
            self.dismissed.forget(key);
            self.ends.forget(key);
            C::gone(&self.shared, key).await?;
            return Ok(Outcome::Done);
        };
        if self.expectations.in_doubt(key) {
            let client = self.shared.config.client.caused_by(cause.clone());
            self.expectations.resolve(key, &client.within::<Pod>(&key.namespace)).await?;
        }
        let look = Look {
            shared: &self.shared,
            key,
            cause,
            component: C::COMPONENT,
            settled: self.expectations.met(key),
            pauses: &self.pauses,
            dismissed: &self.dismissed,
            ends: &self.ends,
            started: clock::Instant::now(),
            control: PodControl {
                shared: &self.shared,
                expectations: &self.expectations,
                recorder: &self.recorder,
                owner: key,
                about: reference(&*object),
                cause,
                words: C::WORDS,
                finalizer: C::FINALIZER,
            },
            object,
        };
        let outcome = C::sync(&look).await?;
        // What a list has put in doubt while it was on its way brings no change that would bring
        // the key back.
        Ok(if self.expectations.in_doubt(key) { Outcome::After(Duration::ZERO) } else { outcome })
    }
}

/// One look at one object.
pub(crate) struct Look<'a, K> {
    pub shared: &'a Shared,
    pub key: &'a Key,
    pub cause: &'a Option<Cause>,
    pub object: Arc<K>,
    /// Everything that was written before has been seen: the pods may be counted.
    pub settled: bool,
    pub control: PodControl<'a>,
    pub pauses: &'a Pauses,
    /// Pods that the controller of Jobs has deleted itself.
    pub dismissed: &'a Dismissed,
    /// When pods of Jobs ended.
    pub ends: &'a AllEnds,
    component: Component,
    started: clock::Instant,
}

impl<K: Typed> Look<'_, K> {
    /// Returns whether the object is not being deleted.
    pub(crate) fn alive(&self) -> bool {
        self.object.meta().deletion_timestamp.is_none()
    }

    /// Makes the reference to this object that every object made for it carries.
    pub(crate) fn owner(&self) -> OwnerReference {
        pods::owned_by(&*self.object)
    }

    /// Returns the API of a kind in the object's namespace; what is written has the look's cause.
    pub(crate) fn api<T>(&self) -> Api<T>
    where
        T: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.shared.config.client.caused_by(self.cause.clone()).within(&self.key.namespace)
    }

    /// Generates a new pod's name: a prefix (see [`names::name_prefix`]) and five letters.
    pub(crate) fn pod_name(&self, prefix: &str) -> String {
        names::generated_name(prefix, &self.shared.config.rng.name_suffix(5))
    }

    /// Asks whether the API server still has the object, see [`still_there`].
    pub(crate) async fn still_there(&self) -> Result<bool, Error> {
        still_there(&self.api::<K>(), self.object.meta()).await
    }

    /// Makes sure that the cache knows all of the object's active pods, before more of them are
    /// made. `reported`: how many its status has; `known`: how many the cache has.
    ///
    /// Each kind comes over a watch of its own. An undo brings an owner and its pods back in one
    /// transaction: a controller that has seen the owner and not yet its pods would make them a
    /// second time. Where the cache has fewer than the status, the API server is asked.
    ///
    /// # Errors
    /// [`Error::Conflict`] if there are pods that the cache does not know.
    pub(crate) async fn expect_pods(
        &self,
        selector: &LabelSelector,
        reported: Option<i32>,
        known: usize,
    ) -> Result<(), Error> {
        if reported.is_none_or(|reported| usize::try_from(reported).is_ok_and(|reported| reported <= known)) {
            return Ok(());
        }
        let selector = Selector::try_from(selector.clone()).unwrap_or_default(); // then all of the namespace
        let params = ListParams::default().labels_from(&selector);
        let live = self.api::<Pod>().list_metadata(&params).await?;
        let uid = &self.owner().uid;
        let mine = live.items.iter().map(|pod| &pod.metadata).filter(|meta| {
            meta.deletion_timestamp.is_none() && pods::controller_of(meta).is_some_and(|c| c.uid == *uid)
        });
        let is_new = |meta: &ObjectMeta| {
            let key = Key::new(&self.key.namespace, meta.name.as_deref().unwrap_or_default());
            self.shared.informer::<Pod>().get(&key).is_none_or(|pod| pod.metadata.uid != meta.uid)
        };
        match mine.filter(|meta| is_new(meta)).count() {
            0 => Ok(()),
            new => Err(Error::Conflict(format!("{new} pods of {} are newer than the cache", self.key))),
        }
    }

    /// Claims the pods that the selector chooses; see [`Look::claim_members`].
    pub(crate) async fn claim(
        &self,
        selector: &LabelSelector,
        wanted: fn(&Pod) -> bool,
    ) -> Result<Vec<Arc<Pod>>, Error> {
        self.claim_members(selector, |_| true, wanted).await
    }

    /// Returns the object's pods: its own that still match, and orphans that match, which it
    /// adopts. Releases its own pods that no longer match. A pod matches if the selector chooses it
    /// and `is_member` holds. `wanted` may except pods from both: upstream's ReplicaSets adopt and
    /// release active pods only. Other workloads do it with pods that have ended as well: a
    /// StatefulSet deletes such a pod to create it anew.
    ///
    /// StatefulSet `web`, selector `app=web`; pods that the selector chooses:
    ///
    /// ```text
    /// web-0   no owner   adopted
    /// debug   no owner   left alone: the garbage collector would delete it together with the set
    /// debug   owner web  released
    /// ```
    ///
    /// # Errors
    /// The API server did not take a change of an owner. The other pods were claimed all the same.
    pub(crate) async fn claim_members(
        &self,
        selector: &LabelSelector,
        is_member: impl Fn(&Pod) -> bool,
        wanted: fn(&Pod) -> bool,
    ) -> Result<Vec<Arc<Pod>>, Error> {
        let (owner, control) = (self.owner(), &self.control);
        let (mut mine, mut orphans) = (Vec::new(), Vec::new());
        let mut result: Result<(), Error> = Ok(());
        for pod in self.shared.informer::<Pod>().within(&self.key.namespace) {
            let matches = pods::selects(selector, pod.metadata.labels.as_ref()) && is_member(&pod);
            match pods::controller_of(&pod.metadata) {
                Some(controller) if controller.uid != owner.uid => {}
                Some(_) if matches => mine.push(pod),
                Some(_) if self.alive() && wanted(&pod) => {
                    let released = control.release(&pod, &owner).await;
                    result = result.and(released.map_err(Error::from));
                }
                None if matches && self.alive() && wanted(&pod) => orphans.push(pod),
                _ => {}
            }
        }
        if !orphans.is_empty() && self.still_there().await? {
            for pod in orphans {
                match control.adopt(&pod, &owner).await {
                    Ok(adopted) => mine.extend(adopted),
                    Err(error) => result = result.and(Err(error.into())),
                }
            }
        }
        result.map(|()| mine)
    }

    /// Records what was done.
    pub(crate) fn did(&self, event: Event) {
        let record = record(event, &K::plural(&()), self.key, self.cause).took(self.started.elapsed());
        self.shared.tap(self.component).emit(record);
    }

    /// Writes the status if it is new. That the object is gone is no error.
    pub(crate) async fn write_status<S: Codec + PartialEq>(
        &self,
        old: Option<&S>,
        new: &S,
    ) -> Result<(), Error> {
        write::status(&self.api::<K>(), self.object.meta(), Guard::Uid, old, new).await.map(drop)
    }
}

/// Returns whether the API server still has this very object, and it is not being deleted. The
/// cache may be behind a deletion that the garbage collector has seen. Asked before an object is
/// made that would have no owner, and before one is adopted that the collector has just set free:
/// it would go with its new owner.
pub(crate) async fn still_there<K: Typed>(api: &Api<K>, known: &ObjectMeta) -> Result<bool, Error> {
    let found = client::optional(api.get_metadata(known.name.as_deref().unwrap_or_default()).await)?;
    Ok(found.is_some_and(|m| m.metadata.uid == known.uid && m.metadata.deletion_timestamp.is_none()))
}
