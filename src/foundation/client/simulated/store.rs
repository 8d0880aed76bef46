//! The objects, each change of them in order, and the rules of writing.

use super::served::{SERVED, kind};
use api::kinds::Kind;
use api::value::{self, at, int, text};
use api::{Status, meta, validate};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use rng::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The revision of an empty store.
const FIRST: u64 = 100;

/// One version of an object, and its JSON, which is made once for all that read it.
#[derive(Debug)]
pub struct Item {
    /// The object.
    pub value: Value,
    /// Its JSON.
    pub bytes: Bytes,
}

/// One change of one object.
#[derive(Clone)]
pub struct Event {
    /// The store's revision after this change; `metadata.resourceVersion` of the object.
    pub revision: u64,
    /// When it was written, on the simulated clock.
    pub at: clock::Instant,
    /// The version before; `None` if the object is new.
    pub was: Option<Arc<Item>>,
    /// As it is now, or as it last was.
    pub item: Arc<Item>,
    /// The object was removed by this change.
    pub gone: bool,
}

/// The objects of one kind.
struct Shelf {
    kind: &'static Kind,
    /// By namespace and name.
    objects: BTreeMap<(String, String), Arc<Item>>,
    /// Everything that has happened, in order.
    log: Vec<Event>,
    /// Wakes the open watches in the order in which they began to wait. tokio's `watch` has an
    /// order of its own, and a seed has to be one history.
    news: Arc<Notify>,
}

struct State {
    revision: u64,
    /// By plural name, which is unique among the kinds that are served.
    shelves: BTreeMap<&'static str, Shelf>,
    /// Of everything that was written: as FNV-1a, but of eight bytes at a time.
    hash: u64,
}

/// The objects of a simulated cluster, in memory, with every change since its start. Cheap to
/// clone; all clones are one store.
#[derive(Clone)]
pub struct Store {
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
    rng: Rng,
}

impl Store {
    /// Makes an empty store; `rng` makes uids and names.
    pub fn new(rng: Rng) -> Store {
        let shelf = |kind| Shelf { kind, objects: BTreeMap::new(), log: Vec::new(), news: Arc::default() };
        let shelves = SERVED.iter().map(|(_, _, plural)| (*plural, shelf(kind(plural)))).collect();
        let state = State { revision: FIRST, shelves, hash: 0xcbf2_9ce4_8422_2325 };
        Store { state: Arc::new(Mutex::new(state)), news: Arc::default(), rng }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Returns the revision of the last change.
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// Returns a hash of everything that was written so far: equal for equal histories.
    pub fn hash(&self) -> u64 {
        self.lock().hash
    }

    /// Returns what is notified of each revision.
    pub fn news(&self) -> Arc<Notify> {
        self.news.clone()
    }

    pub(super) fn news_of(&self, kind: &Kind) -> Arc<Notify> {
        self.lock().shelves[kind.plural].news.clone()
    }

    /// Returns the first change of a kind after `revision`.
    pub(super) fn next_change(&self, kind: &Kind, revision: u64) -> Option<Event> {
        let state = self.lock();
        let log = &state.shelves[kind.plural].log;
        log.get(log.partition_point(|event| event.revision <= revision)).cloned()
    }

    /// Returns the object as it is now.
    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Arc<Item>> {
        self.lock().shelves[kind.plural].objects.get(&(namespace.into(), name.into())).cloned()
    }

    /// Returns the objects of a kind, of all namespaces if `namespace` is empty, and the revision
    /// of the list.
    pub fn list(&self, kind: &Kind, namespace: &str) -> (u64, Vec<Arc<Item>>) {
        let state = self.lock();
        let all = state.shelves[kind.plural].objects.iter();
        let all = all.filter(|((of, _), _)| namespace.is_empty() || of == namespace);
        (state.revision, all.map(|(_, item)| item.clone()).collect())
    }

    /// Returns the objects of a resource, e.g. `pods`, in all namespaces.
    pub fn all(&self, plural: &str) -> Vec<Arc<Item>> {
        self.list(kind(plural), "").1
    }

    /// Returns everything that has happened to the objects of a kind, in order.
    pub fn history(&self, kind: &Kind) -> Vec<Event> {
        self.lock().shelves[kind.plural].log.clone()
    }

    /// Returns the newest twelve changes as text: a test that fails prints them.
    pub fn tail(&self) -> String {
        let state = self.lock();
        let mut all: Vec<(u64, String)> = Vec::new();
        for (plural, shelf) in &state.shelves {
            for change in shelf.log.iter().rev().take(12) {
                let verb = match (&change.was, change.gone) {
                    (None, _) => "made",
                    (Some(_), true) => "gone",
                    (Some(_), false) => "changed",
                };
                let name = meta::name(&change.item.value);
                all.push((change.revision, format!("{} {plural} {name} {verb}", change.revision)));
            }
        }
        all.sort();
        let last: Vec<String> = all.into_iter().rev().take(12).rev().map(|(_, text)| text).collect();
        last.join(", ")
    }

    /// Returns all objects of all kinds.
    pub fn everything(&self) -> Vec<(&'static Kind, Arc<Item>)> {
        let state = self.lock();
        let of = |shelf: &Shelf| shelf.objects.values().map(|i| (shelf.kind, i.clone())).collect::<Vec<_>>();
        state.shelves.values().flat_map(of).collect()
    }

    /// Creates an object as the API server does.
    ///
    /// # Errors
    /// As the API server: it exists, or it is not valid.
    pub fn create(&self, kind: &'static Kind, namespace: &str, mut new: Value) -> Result<Arc<Item>, Status> {
        let metadata = value::slot_map(&mut new, "metadata");
        for own in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion"] {
            metadata.shift_remove(own);
        }
        metadata.insert("uid".into(), self.rng.uuid().into());
        metadata.insert("creationTimestamp".into(), clock::rfc3339(clock::now()).into());
        if kind.namespaced {
            metadata.insert("namespace".into(), namespace.into());
        }
        if kind.generation {
            metadata.insert("generation".into(), 1.into());
        }
        if meta::name(&new).is_empty() {
            let name = format!("{}{}", text(&new, "metadata.generateName"), self.rng.name_suffix(5));
            value::put(&mut new, "metadata.name", name);
        }
        value::default(&mut new, "apiVersion", group_version(kind));
        value::default(&mut new, "kind", kind.kind);
        kind.fill(&mut new)?;
        if kind.has_status && !kind.keeps_first_status {
            value::remove(&mut new, "status");
        }
        (kind.prepare)(&mut new);
        let errors = validate::create(kind, &new);
        if !errors.is_empty() {
            return Err(Status::invalid(kind.group, kind.kind, meta::name(&new), &errors));
        }
        let mut state = self.lock();
        let key = (meta::namespace(&new).to_string(), meta::name(&new).to_string());
        if state.shelves[kind.plural].objects.contains_key(&key) {
            return Err(Status::already_exists(kind.group, kind.plural, &key.1));
        }
        Ok(self.commit(&mut state, kind, None, new, false))
    }

    /// Changes an object as `edit` says, through `/status` or not.
    ///
    /// # Errors
    /// As the API server: it is not there, it is another one or a newer one than the edit has, or
    /// the edit is not valid.
    pub fn edit(
        &self,
        kind: &'static Kind,
        (namespace, name): (&str, &str),
        through_status: bool,
        edit: impl FnOnce(&mut Value) -> Result<(), Status>,
    ) -> Result<Arc<Item>, Status> {
        self.write(kind, (namespace, name), through_status, |old| {
            let mut new = Value::Null;
            match through_status {
                // Of the rest nothing is written.
                true => {
                    ["metadata", "status"].into_iter().for_each(|field| value::copy(old, &mut new, field))
                }
                false => new = old.clone(),
            }
            edit(&mut new)?;
            Ok(new)
        })
    }

    /// Puts `new` in the place of an object, or its status in the place of the object's.
    ///
    /// # Errors
    /// As [`Store::edit`].
    pub fn replace(
        &self,
        kind: &'static Kind,
        key: (&str, &str),
        through_status: bool,
        new: Value,
    ) -> Result<Arc<Item>, Status> {
        self.write(kind, key, through_status, |_| Ok(new))
    }

    fn write(
        &self,
        kind: &'static Kind,
        (namespace, name): (&str, &str),
        through_status: bool,
        next: impl FnOnce(&Value) -> Result<Value, Status>,
    ) -> Result<Arc<Item>, Status> {
        let mut state = self.lock();
        let found = state.shelves[kind.plural].objects.get(&(namespace.into(), name.into())).cloned();
        let old = found.ok_or_else(|| Status::not_found(kind.group, kind.plural, name))?;
        let mut new = next(&old.value)?;
        let is_another = |path: &str| {
            let sent = text(&new, path);
            !sent.is_empty() && sent != text(&old.value, path)
        };
        if is_another("metadata.uid") {
            let why = "the UID in the precondition is another one";
            return Err(Status::conflict(kind.group, kind.plural, name, why));
        }
        if is_another("metadata.resourceVersion") {
            return Err(Status::stale(kind.group, kind.plural, name));
        }
        if through_status {
            new = kind.through_status(&new, &old.value, "status");
            (kind.prepare_status_update)(&mut new, &old.value, "status");
            let errors = validate::status_update(kind, &new, &old.value, "status");
            if !errors.is_empty() {
                return Err(Status::invalid(kind.group, kind.kind, name, &errors));
            }
        } else {
            let own = ["uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "generation"];
            for field in own.into_iter().chain(["deletionGracePeriodSeconds", "name", "namespace"]) {
                value::copy(&old.value, &mut new, &format!("metadata.{field}"));
            }
            if kind.has_status {
                value::copy(&old.value, &mut new, "status");
            }
            kind.fill(&mut new)?;
            (kind.prepare_update)(&mut new, &old.value);
            if kind.generation && at(&new, "spec") != at(&old.value, "spec") {
                value::put(&mut new, "metadata.generation", meta::generation(&old.value) + 1);
            }
            let errors = validate::update(kind, &new, &old.value);
            if !errors.is_empty() {
                return Err(Status::invalid(kind.group, kind.kind, name, &errors));
            }
        }
        if new == old.value {
            return Ok(old);
        }
        let gone = is_finished(&new);
        Ok(self.commit(&mut state, kind, Some(old), new, gone))
    }

    /// Deletes an object: at once, after a grace period, or when its last finalizer is gone.
    /// `options` are `DeleteOptions`.
    ///
    /// # Errors
    /// As the API server: it is not there, or it is another one than the preconditions say.
    pub fn delete(
        &self,
        kind: &'static Kind,
        (namespace, name): (&str, &str),
        options: &Value,
    ) -> Result<Arc<Item>, Status> {
        let mut state = self.lock();
        let found = state.shelves[kind.plural].objects.get(&(namespace.into(), name.into())).cloned();
        let old = found.ok_or_else(|| Status::not_found(kind.group, kind.plural, name))?;
        for field in ["uid", "resourceVersion"] {
            let wanted = text(options, &format!("preconditions.{field}"));
            if !wanted.is_empty() && wanted != text(&old.value, &format!("metadata.{field}")) {
                return Err(Status::conflict(
                    kind.group,
                    kind.plural,
                    name,
                    "the object is not what the precondition says",
                ));
            }
        }
        let mut new = old.value.clone();
        let policy = match text(options, "propagationPolicy") {
            "" if kind.orphans => "Orphan",
            policy => policy,
        };
        let wanted = match policy {
            "Orphan" => Some("orphan"),
            "Foreground" => Some("foregroundDeletion"),
            _ => None,
        };
        if !policy.is_empty() {
            let mut all = value::list(&new, "metadata.finalizers").to_vec();
            all.retain(|f| f != "orphan" && f != "foregroundDeletion");
            all.extend(wanted.map(Value::from));
            match all.is_empty() {
                true => drop(value::remove(&mut new, "metadata.finalizers")),
                false => value::put(&mut new, "metadata.finalizers", all),
            }
        }
        let has_kubelet = kind.plural == "pods"
            && !value::empty(&new, "spec.nodeName")
            && !matches!(text(&new, "status.phase"), "Succeeded" | "Failed");
        let asked = int(options, "gracePeriodSeconds");
        let grace = match has_kubelet {
            true => asked.or(int(&new, "spec.terminationGracePeriodSeconds")).unwrap_or(30),
            false => 0,
        };
        let left = int(&new, "metadata.deletionGracePeriodSeconds").unwrap_or(i64::MAX);
        if !meta::is_terminating(&new) || grace == 0 || (asked.is_some() && grace < left) {
            let until = clock::after(clock::now(), Duration::from_secs(grace.unsigned_abs()));
            if !meta::is_terminating(&new) {
                if kind.generation {
                    value::put(&mut new, "metadata.generation", meta::generation(&old.value) + 1);
                }
                (kind.prepare_delete)(&mut new);
            }
            value::put(&mut new, "metadata.deletionTimestamp", clock::rfc3339(until));
            value::put(&mut new, "metadata.deletionGracePeriodSeconds", grace.min(left));
        }
        if new == old.value {
            return Ok(old);
        }
        let gone = is_finished(&new);
        Ok(self.commit(&mut state, kind, Some(old), new, gone))
    }

    /// Gives a pod a node, as a Binding does.
    ///
    /// # Errors
    /// The pod is not there, is another one, is being deleted, or has a node.
    pub fn bind(&self, namespace: &str, name: &str, binding: &Value) -> Result<Arc<Item>, Status> {
        let pods = kind("pods");
        let mut state = self.lock();
        let found = state.shelves["pods"].objects.get(&(namespace.into(), name.into())).cloned();
        let old = found.ok_or_else(|| Status::not_found("", "pods", name))?;
        let conflict = |why: &str| Err(Status::conflict("", "pods/binding", name, why));
        let uid = text(binding, "metadata.uid");
        if !uid.is_empty() && uid != meta::uid(&old.value) {
            return conflict("the pod is another one");
        }
        if meta::is_terminating(&old.value) {
            return conflict("pod is being deleted, cannot be assigned to a host");
        }
        if !value::empty(&old.value, "spec.nodeName") {
            return conflict("pod is already assigned to a node");
        }
        let mut new = old.value.clone();
        value::put(&mut new, "spec.nodeName", text(binding, "target.name"));
        let now = clock::rfc3339(clock::now());
        let condition = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": now});
        let mut conditions = value::list(&new, "status.conditions").to_vec();
        conditions.retain(|c| c["type"] != "PodScheduled");
        conditions.push(condition);
        value::put(&mut new, "status.conditions", conditions);
        Ok(self.commit(&mut state, pods, Some(old), new, false))
    }

    fn commit(
        &self,
        state: &mut State,
        kind: &'static Kind,
        was: Option<Arc<Item>>,
        mut new: Value,
        gone: bool,
    ) -> Arc<Item> {
        state.revision += 1;
        let revision = state.revision;
        value::put(&mut new, "metadata.resourceVersion", revision.to_string());
        meta::in_order(&mut new);
        let bytes = Bytes::from(serde_json::to_vec(&new).expect("a JSON value can be written"));
        let fold = |hash: u64, part: &[u8]| {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3)
        };
        state.hash = bytes.chunks(8).fold(state.hash, fold);
        let key = (meta::namespace(&new).to_string(), meta::name(&new).to_string());
        let item = Arc::new(Item { value: new, bytes });
        if let Some(shelf) = state.shelves.get_mut(kind.plural) {
            match gone {
                true => drop(shelf.objects.remove(&key)),
                false => drop(shelf.objects.insert(key, item.clone())),
            }
            shelf.log.push(Event { revision, at: clock::Instant::now(), was, item: item.clone(), gone });
            shelf.news.notify_waiters();
        }
        self.news.notify_waiters();
        item
    }
}

/// Returns whether nothing keeps an object that is being deleted any more.
fn is_finished(object: &Value) -> bool {
    meta::is_terminating(object)
        && value::empty(object, "metadata.finalizers")
        && int(object, "metadata.deletionGracePeriodSeconds").unwrap_or(0) == 0
}

fn group_version(kind: &Kind) -> String {
    match kind.group {
        "" => kind.version.to_string(),
        group => format!("{group}/{}", kind.version),
    }
}
