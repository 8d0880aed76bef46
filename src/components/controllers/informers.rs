//! The caches of one controller manager: one watch for each kind that a controller names.

use client::{Client, Codec, Informer};
use futures::future::{BoxFuture, join_all};
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::watcher;
use std::any::{Any, TypeId, type_name};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use task::Crew;

/// A kind that an informer can hold.
pub(crate) trait Cached:
    kube::Resource<DynamicType = ()> + Clone + Codec + Send + Sync + 'static
{
}

impl<K> Cached for K where K: kube::Resource<DynamicType = ()> + Clone + Codec + Send + Sync + 'static {}

/// The part of an informer that does not depend on its kind.
trait AnyInformer: Any + Send + Sync {
    /// Waits until the first list is complete.
    fn first_list(&self) -> BoxFuture<'_, ()>;
}

impl<K: Cached> AnyInformer for Informer<K> {
    fn first_list(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.synced())
    }
}

/// The objects of a kind that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Selection {
    All,
    Namespace(&'static str),
    /// A field selector, e.g. `metadata.name=kube-root-ca.crt`.
    Fields(&'static str),
}

struct Named {
    informer: Box<dyn AnyInformer>,
    selection: Selection,
}

/// The origin of the objects in the caches.
enum Source {
    Watches(Crew, Client),
    /// Nowhere: tests fill the caches.
    #[cfg(test)]
    Tests,
}

/// Informers by the type of their objects.
///
/// A controller names the kinds that it reads (`informers.all::<Lease>()`) before any controller
/// starts. The first that names a kind starts its watch; the others share the cache. After the
/// naming nothing is added, so a lookup needs no lock.
pub(crate) struct Informers {
    source: Source,
    by_type: BTreeMap<TypeId, Named>,
}

impl Informers {
    pub(crate) fn new(crew: &Crew, client: &Client) -> Informers {
        Informers { source: Source::Watches(crew.clone(), client.clone()), by_type: BTreeMap::new() }
    }

    /// Makes caches that are empty and watch nothing.
    #[cfg(test)]
    pub(crate) fn fixed() -> Informers {
        Informers { source: Source::Tests, by_type: BTreeMap::new() }
    }

    /// Names a kind, of which all objects in all namespaces are watched.
    pub(crate) fn all<K: Cached>(&mut self) {
        self.name::<K>(Selection::All, Informer::all);
    }

    /// Names a kind, of which only the objects of one namespace are watched.
    pub(crate) fn within<K>(&mut self, namespace: &'static str)
    where
        K: Cached + kube::Resource<Scope = NamespaceResourceScope>,
    {
        self.name::<K>(Selection::Namespace(namespace), |crew, client| {
            Informer::in_namespace(crew, client, namespace)
        });
    }

    /// Names a kind, of which only the objects that a field selector chooses are watched.
    pub(crate) fn only<K: Cached>(&mut self, fields: &'static str) {
        self.name::<K>(Selection::Fields(fields), |crew, client| {
            Informer::start(crew, client, watcher::Config::default().fields(fields))
        });
    }

    /// Names a kind, and starts its watch if it was not named before.
    ///
    /// # Panics
    /// If the kind was named with another selection: one of the two controllers would miss objects.
    fn name<K: Cached>(&mut self, selection: Selection, watch: impl FnOnce(&Crew, &Client) -> Informer<K>) {
        match self.by_type.entry(TypeId::of::<K>()) {
            Entry::Occupied(named) => {
                let kind = type_name::<K>();
                assert_eq!(
                    named.get().selection,
                    selection,
                    "two controllers watch different parts of {kind}"
                );
            }
            Entry::Vacant(free) => {
                let informer = match &self.source {
                    Source::Watches(crew, client) => watch(crew, client),
                    #[cfg(test)]
                    Source::Tests => Informer::fixed([]),
                };
                free.insert(Named { informer: Box::new(informer), selection });
            }
        }
    }

    /// Returns the informer of a kind.
    ///
    /// # Panics
    /// If no controller names the kind. A cache that is made now would be empty until its first
    /// list, and a controller that reads it would take the objects for deleted.
    pub(crate) fn get<K: Cached>(&self) -> &Informer<K> {
        let found = self.by_type.get(&TypeId::of::<K>()).and_then(|named| {
            let informer: &dyn Any = &*named.informer;
            informer.downcast_ref::<Informer<K>>()
        });
        found.unwrap_or_else(|| panic!("no controller names the kind {}", type_name::<K>()))
    }

    /// Waits until the first list of every kind is complete.
    pub(crate) async fn synced(&self) {
        join_all(self.by_type.values().map(|named| named.informer.first_list())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::coordination::v1::Lease;
    use k8s_openapi::api::core::v1::Pod;

    #[tokio::test]
    async fn controllers_that_name_a_kind_share_its_cache() {
        let mut informers = Informers::fixed();
        informers.all::<Pod>();
        informers.get::<Pod>().show(Pod::default());
        informers.within::<Lease>("kube-node-lease");
        informers.all::<Pod>();
        assert_eq!(informers.get::<Pod>().list().len(), 1);
        assert_eq!(informers.get::<Lease>().list().len(), 0);
        informers.synced().await;
    }

    #[test]
    #[should_panic(expected = "no controller names the kind")]
    fn a_kind_that_no_controller_names_has_no_cache() {
        Informers::fixed().get::<Pod>();
    }

    #[test]
    #[should_panic(expected = "two controllers watch different parts of")]
    fn two_controllers_cannot_watch_different_parts_of_a_kind() {
        let mut informers = Informers::fixed();
        informers.within::<Lease>("kube-node-lease");
        informers.all::<Lease>();
    }
}
