//! Own writes that the cache does not show yet.
//!
//! The watch of one kind is often ahead of another's: the EndpointSlice that a look made is seen
//! before the Endpoints object of the same look. The next look must not act on the older object:
//!
//! ```text
//! POST endpoints/web   201 at 734   the slice is seen, endpoints/web is not
//! next look, without this           POST endpoints/web   409 AlreadyExists
//! next look, with this              waits until the cache shows 734
//! ```
//!
//! Upstream's `EndpointSliceTracker` has the same purpose for slices; its sync ends with a
//! `StaleInformerCache` error and is tried again.

use client::{Change, Codec, Informer, Key, WorkQueue};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One write of an object.
struct Write {
    /// The Service whose look wrote it.
    service: Key,
    /// The newest revision of the object that the cache has shown.
    seen: u64,
    /// The revision that the API server answered. `None` while the request is on its way.
    revision: Option<u64>,
    /// The cache showed the object's end, or a new list, while the request was on its way. It may
    /// never show the write, so the write is not waited for.
    is_void: bool,
}

/// The newest write of each object of one kind, as long as the cache does not show it.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<Mutex<BTreeMap<Key, Write>>>);

impl Written {
    /// Brings a Service back when the cache shows what was written for it, or will never do so.
    pub(super) fn watch<K>(&self, informer: &Informer<K>, queue: &WorkQueue<Key>)
    where
        K: kube::Resource + Clone + Codec + Send + Sync + 'static,
        K::DynamicType: Default,
    {
        let (written, q) = (self.clone(), queue.clone());
        informer.on(move |change| {
            written.seen(change).into_iter().for_each(|service| q.add(service, change.cause()));
        });
        let (written, q) = (self.clone(), queue.clone());
        informer.on_list(move |_| {
            written.listed().into_iter().for_each(|service| q.add(service, None));
        });
    }

    /// Returns whether the cache still shows an older object than this controller wrote for a
    /// Service. It is asked before the cache is read: what was read earlier may be that older
    /// object, although the cache shows the newer one by now.
    pub(super) fn is_behind(&self, service: &Key) -> bool {
        self.0.lock().values().any(|write| write.service == *service && write.revision.is_some())
    }

    /// Notes that a request is sent for an object that the cache shows as `known`.
    pub(super) fn sent(&self, service: &Key, object: &Key, known: Option<&ObjectMeta>) {
        let seen = known.and_then(revision).unwrap_or_default();
        let write = Write { service: service.clone(), seen, revision: None, is_void: false };
        self.0.lock().insert(object.clone(), write);
    }

    /// Notes the API server's answer: the object as it was stored, or `None` if it was not.
    pub(super) fn answered(&self, object: &Key, stored: Option<&ObjectMeta>) {
        let mut all = self.0.lock();
        let Some(mut write) = all.remove(object) else { return };
        let newer = stored.and_then(revision).filter(|stored| *stored > write.seen && !write.is_void);
        if newer.is_some() {
            write.revision = newer;
            all.insert(object.clone(), write);
        }
    }

    /// Notes a change in the cache. Returns the Service that waits for it.
    pub(super) fn seen<K: kube::Resource>(&self, change: &Change<K>) -> Option<Key> {
        let object = change.key();
        let is_gone = matches!(change, Change::Deleted(_));
        let shown = revision(change.object().meta()).unwrap_or_default();
        let mut all = self.0.lock();
        let write = all.get_mut(&object)?;
        write.is_void |= is_gone;
        write.seen = write.seen.max(shown);
        let is_shown = write.revision.is_some_and(|written| is_gone || shown >= written);
        if is_shown { all.remove(&object).map(|write| write.service) } else { None }
    }

    /// Notes a new list, which may miss objects that were made and deleted before it. Returns the
    /// Services that waited.
    pub(super) fn listed(&self) -> Vec<Key> {
        let mut all = self.0.lock();
        let (on_their_way, answered): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut *all).into_iter().partition(|(_, write)| write.revision.is_none());
        *all = on_their_way;
        all.values_mut().for_each(|write| write.is_void = true);
        answered.into_values().map(|write| write.service).collect()
    }
}

fn revision(meta: &ObjectMeta) -> Option<u64> {
    meta.resource_version.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Endpoints;

    fn at(revision: u64) -> Arc<Endpoints> {
        let mut endpoints = Endpoints::default();
        endpoints.metadata.namespace = Some("d".into());
        endpoints.metadata.name = Some("s".into());
        endpoints.metadata.resource_version = Some(revision.to_string());
        Arc::new(endpoints)
    }

    /// Returns a write that was sent, and answered with the revision 7.
    fn written() -> (Written, Key) {
        let (written, key) = (Written::default(), Key::new("d", "s"));
        written.sent(&key, &key, None);
        written.answered(&key, Some(&at(7).metadata));
        assert!(written.is_behind(&key));
        (written, key)
    }

    #[test]
    fn a_write_is_waited_for_until_the_cache_shows_it_or_its_end() {
        let (waiting, key) = written();
        assert_eq!(waiting.seen(&Change::Added(at(6))), None, "an earlier write of another client");
        assert_eq!(waiting.seen(&Change::Updated { old: at(6), new: at(7) }), Some(key.clone()));
        assert!(!waiting.is_behind(&key));
        let (waiting, key) = written();
        assert_eq!(waiting.seen(&Change::Deleted(at(6))), Some(key.clone()));
        assert!(!waiting.is_behind(&key));
        let (waiting, key) = written();
        assert_eq!(waiting.listed(), std::slice::from_ref(&key));
        assert!(!waiting.is_behind(&key));
    }

    /// So it can be asked before any slice is read.
    #[test]
    fn a_service_waits_for_each_of_its_slices_and_for_no_other() {
        let (written, service) = (Written::default(), Key::new("d", "web"));
        for (slice, revision) in [("s", 7), ("t", 8)] {
            let slice = Key::new("d", slice);
            written.sent(&service, &slice, Some(&at(6).metadata));
            written.answered(&slice, Some(&at(revision).metadata));
        }
        assert!(!written.is_behind(&Key::new("d", "s")), "a Service with the name of the slice");
        assert_eq!(written.seen(&Change::Added(at(7))), Some(service.clone()));
        assert!(written.is_behind(&service), "the other slice is not shown yet");
        written.listed();
        assert!(!written.is_behind(&service));
    }

    /// The watch may be faster than the answer.
    #[test]
    fn nothing_is_waited_for_that_the_cache_showed_before_the_answer() {
        let key = Key::new("d", "s");
        let shown: [fn(&Written); 3] = [
            |written| drop(written.seen(&Change::Added(at(7)))),
            |written| drop(written.seen(&Change::Deleted(at(6)))),
            |written| drop(written.listed()),
        ];
        for show in shown {
            let written = Written::default();
            written.sent(&key, &key, None);
            assert!(!written.is_behind(&key));
            show(&written);
            written.answered(&key, Some(&at(7).metadata));
            assert!(!written.is_behind(&key));
        }
        let refused = Written::default();
        refused.sent(&key, &key, None);
        refused.answered(&key, None);
        assert!(!refused.is_behind(&key));
        let unchanged = Written::default();
        unchanged.sent(&key, &key, Some(&at(7).metadata));
        unchanged.answered(&key, Some(&at(7).metadata));
        assert!(!unchanged.is_behind(&key), "a write that changes nothing brings no change");
    }
}
