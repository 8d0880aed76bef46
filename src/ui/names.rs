//! Names of live objects, for completion: asked of the API, kept for a moment, never waited for
//! long.

use super::kubeconfig::Watched;
use api::kinds::Kind;
use client::kube::api::ListParams;
use client::kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use client::kubeconfig::View;
use client::{Api, Client};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Typing waits this long at most; an answer that comes later serves the next Tab.
const PATIENCE: Duration = Duration::from_millis(150);
/// Names are asked for again after this time.
const FRESH: Duration = Duration::from_secs(2);
/// A request that has not answered by then is given up.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// More names than this are of no use to a person.
const NAMES_MAX: u32 = 500;

/// Lists that are kept at once, at most: one for each kind and namespace that was asked for.
const LISTS_MAX: usize = 64;

/// (the number of the view of the kubeconfig, resource, namespace). An answer that comes after a
/// change of the context is about another cluster or namespace.
type Key = (u64, String, String);

struct Kept {
    at: Option<Instant>,
    names: Vec<String>,
    asking: bool,
}

/// The client of the view that was seen last.
#[derive(Default)]
struct Known {
    /// Views are counted, so that each has a number of its own.
    number: u64,
    client: Option<(View, Client)>,
}

type Book = BTreeMap<Key, Kept>;

/// The list of a key. Beyond [`LISTS_MAX`] all others go whose answer is not on its way: the next
/// Tab asks anew.
fn entry(book: &mut Book, key: Key) -> &mut Kept {
    if book.len() >= LISTS_MAX && !book.contains_key(&key) {
        book.retain(|_, kept| kept.asking);
    }
    book.entry(key).or_insert(Kept { at: None, names: vec![], asking: false })
}

/// Keeps an answer, if the question is still open; `None`: there is none.
fn learn(book: &mut Book, key: &Key, names: Option<Vec<String>>) {
    let Some(entry) = book.get_mut(key) else { return };
    entry.asking = false;
    if let Some(names) = names {
        (entry.names, entry.at) = (names, Some(Instant::now()));
    }
}

/// Names of objects for completion. They are fetched in the background: Tab waits for them
/// [`PATIENCE`] at most.
pub(crate) struct Names {
    handle: Handle,
    config: Arc<Watched>,
    client: Mutex<Known>,
    kept: Arc<Mutex<Book>>,
}

impl Names {
    pub(crate) fn new(handle: Handle, config: Arc<Watched>) -> Names {
        Names { handle, config, client: Mutex::default(), kept: Arc::default() }
    }

    /// Names of a kind's objects, in `namespace` or else the current one; empty if the
    /// API server does not answer in time.
    pub(crate) fn of(&self, kind: &Kind, namespace: Option<&str>) -> Vec<String> {
        let Some((number, client, current)) = self.client() else { return vec![] };
        let namespace = match kind.namespaced {
            true => namespace.unwrap_or(&current).to_string(),
            false => String::new(),
        };
        let key = (number, kind.qualified(), namespace.clone());
        {
            let mut kept = self.kept.lock();
            let entry = entry(&mut kept, key.clone());
            if entry.asking || entry.at.is_some_and(|at| at.elapsed() < FRESH) {
                return entry.names.clone();
            }
            entry.asking = true;
        }
        let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
        let api: Api<DynamicObject> = match kind.namespaced {
            true => Api::namespaced_with(client.kube(), &namespace, &resource),
            false => Api::all_with(client.kube(), &resource),
        };
        let (tell, told) = mpsc::sync_channel(1);
        let (kept, own) = (self.kept.clone(), key.clone());
        self.handle.spawn(async move {
            let params = ListParams::default().limit(NAMES_MAX);
            let listed = clock::timeout(ANSWER_MAX, api.list_metadata(&params)).await;
            let names = match listed {
                Some(Ok(list)) => Some(list.items.into_iter().filter_map(|o| o.metadata.name).collect()),
                _ => None,
            };
            learn(&mut kept.lock(), &own, names);
            let _ = tell.try_send(()); // the wait for it may be over
        });
        let _ = told.recv_timeout(PATIENCE);
        self.kept.lock().get(&key).map(|k| k.names.clone()).unwrap_or_default()
    }

    /// The number of the current view, its client, and its namespace.
    fn client(&self) -> Option<(u64, Client, String)> {
        let view = self.config.view();
        let mut known = self.client.lock();
        if let Some((of, client)) = &known.client
            && *of == view
        {
            return Some((known.number, client.clone(), view.namespace));
        }
        let _inside = self.handle.enter(); // the connection's timers belong to the runtime
        let client = view.client("ropewalk-repl")?;
        let namespace = view.namespace.clone();
        *known = Known { number: known.number + 1, client: Some((view, client.clone())) };
        self.kept.lock().clear();
        Some((known.number, client, namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_ever_new_namespaces_are_kept_within_bounds() {
        let mut book = Book::new();
        let key = |n: usize| (1, "pods".to_string(), format!("n{n}"));
        entry(&mut book, key(0)).asking = true;
        for n in 1..1000 {
            entry(&mut book, key(n)).names = vec!["web".into()];
            assert!(book.len() <= LISTS_MAX);
        }
        assert!(book[&key(0)].asking, "its answer finds it");
        assert_eq!(entry(&mut book, key(999)).names, ["web"]);
    }

    #[test]
    fn a_late_answer_of_the_old_context_is_not_taken_for_the_new_one() {
        let key = |number| (number, "pods".to_string(), "default".to_string());
        let mut book = Book::from([(key(2), Kept { at: None, names: vec![], asking: true })]);
        learn(&mut book, &key(1), Some(vec!["old".into()]));
        assert!(book[&key(2)].asking && book[&key(2)].names.is_empty() && book.len() == 1);
        learn(&mut book, &key(2), Some(vec!["new".into()]));
        assert!(!book[&key(2)].asking && book[&key(2)].names == ["new"]);
    }
}
