//! Live objects of one kind, reported to the engine as they change.

use crate::cel::facts::{self, Object, Objects};
use api::kinds::Kind;
use client::kube::Resource;
use client::kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, VersionMatch};
use client::kube::core::DynamicResourceScope;
use client::kube::runtime::watcher;
use client::{Api, Client, Codec, Delta, Item, Reflector};
use cluster::guest::{LessonScope, Seen};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use task::Crew;
use tokio::sync::mpsc;

/// An object by (namespace, name), both as lessons know it.
type Named = ((String, String), Object);

/// A report of the watch of one kind.
pub(crate) struct Report {
    /// The qualified plural.
    pub kind: String,
    /// The revision of the newest object in it.
    pub revision: i64,
    pub delta: Delta<Named>,
}

impl Report {
    /// Takes the report over into the live objects, by kind.
    pub(crate) fn apply(self, live: &mut HashMap<String, Objects>) {
        let objects = live.entry(self.kind).or_default();
        match self.delta {
            Delta::Replaced(all) => *objects = Arc::new(all.into_iter().collect()),
            Delta::Updated((key, object)) => {
                Arc::make_mut(objects).insert(key, object);
            }
            Delta::Deleted((key, _)) => {
                Arc::make_mut(objects).remove(&key);
            }
        }
    }

    /// A complete list.
    #[cfg(test)]
    pub(crate) fn list(kind: &str, all: BTreeMap<(String, String), Object>, revision: i64) -> Report {
        Report { kind: kind.into(), revision, delta: Delta::Replaced(all.into_iter().collect()) }
    }
}

/// Reports of the watches that the engine has not taken over yet, at most. Then the watches wait,
/// and the API server's bound for slow watchers holds.
pub(crate) const WAITING_MAX: usize = 64;

/// Pause after a watch panicked; doubles up to the second value.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The HTTP status of a revision that was compacted.
const GONE: u16 = 410;
/// The HTTP statuses of the class 4xx that say nothing about what was asked: a timeout, and too
/// many requests.
const ASK_AGAIN: [u16; 2] = [408, 429];

/// What a server has of a kind at one moment.
pub(crate) struct Look {
    /// Revision of the newest of them.
    pub newest: i64,
    /// Revision at which it was asked.
    pub at: i64,
    pub there: BTreeSet<(String, String)>,
}

impl Look {
    /// True if a watch has reported everything that this look saw. `seen`: the newest revision that
    /// it has reported.
    pub(crate) fn is_known(&self, seen: i64, objects: &BTreeMap<(String, String), Object>) -> bool {
        let revision = |o: &Object| number(o.json["metadata"]["resourceVersion"].as_str());
        // One that was not there has been made since; else its end has not been heard of yet.
        let heard = |(key, o): (_, &Object)| self.there.contains(key) || revision(o) > self.at;
        seen >= self.newest && objects.iter().all(heard)
    }
}

fn number(revision: Option<&str>) -> i64 {
    revision.and_then(|r| r.parse().ok()).unwrap_or_default()
}

/// Lists the names of a kind in a scope as they are now. A watch may be behind that, and does not
/// say by how much.
pub(crate) async fn list_now(client: &Client, name: &str, scope: &LessonScope) -> Option<(String, Look)> {
    let known = facts::kind(name)?;
    let api = api::<DynamicObject>(client, &resource(known), place(known, scope));
    let list = api.list_metadata(&ListParams::default()).await;
    let list = list.inspect_err(|error| tracing::debug!(name, %error, "cannot be looked at")).ok()?;
    let at = number(list.metadata.resource_version.as_deref());
    let mut look = Look { newest: 0, at, there: BTreeSet::new() };
    for object in list.items {
        look.newest = look.newest.max(number(object.metadata.resource_version.as_deref()));
        let namespace = object.metadata.namespace.unwrap_or_default();
        look.there
            .insert((scope.lesson_name(&namespace).to_string(), object.metadata.name.unwrap_or_default()));
    }
    Some((known.qualified(), look))
}

/// Returns the objects of a kind in a scope as they were at a revision and as they are, and the
/// revision of the latter.
///
/// # Errors
/// The server does not have the former any more, or it does not answer.
pub(crate) async fn between(
    client: &Client,
    name: &str,
    scope: &LessonScope,
    revision: i64,
) -> Result<(Vec<Value>, Vec<Value>, i64), Then> {
    let then = at_revision(client, name, scope, revision).await.objects()?;
    let (_, look) = list_now(client, name, scope).await.ok_or(Then::Failed)?;
    let now = at_revision(client, name, scope, look.at).await.objects()?;
    let json = |all: BTreeMap<_, Object>| all.into_values().map(|o: Object| (*o.json).clone()).collect();
    Ok((json(then), json(now), look.at))
}

/// What a server answers when it is asked for the objects of a kind at a revision.
#[derive(Debug)]
pub(crate) enum Then {
    Objects(BTreeMap<(String, String), Object>),
    /// The server no longer has them.
    Gone,
    /// The server refuses the question, and will again: this user may not list them, or it serves
    /// no such kind.
    Refused,
    /// It could not be asked, or did not answer: asked again, it may.
    Failed,
}

impl Then {
    /// The objects.
    ///
    /// # Errors
    /// There are none in the answer.
    fn objects(self) -> Result<BTreeMap<(String, String), Object>, Then> {
        match self {
            Then::Objects(objects) => Ok(objects),
            other => Err(other),
        }
    }
}

/// Asks for the objects of a kind in a scope as they were at a revision. 0 is none, and asks
/// nothing.
pub(crate) async fn at_revision(client: &Client, name: &str, scope: &LessonScope, revision: i64) -> Then {
    let Some(known) = facts::kind(name) else { return Then::Refused };
    if revision == 0 {
        return Then::Gone;
    }
    let all = match list(client, known, scope, &exactly(revision)).await {
        Ok((all, _)) => all,
        Err(error) => {
            tracing::debug!(name, revision, %error, "cannot be listed");
            let code = match &error {
                client::kube::Error::Api(status) => status.code,
                _ => return Then::Failed,
            };
            return match code {
                GONE => Then::Gone,
                400..500 if !ASK_AGAIN.contains(&code) => Then::Refused,
                _ => Then::Failed,
            };
        }
    };
    Then::Objects(all.into_iter().map(|json| keyed(scope, json)).collect())
}

/// Asks for objects as they were at a revision, and at no later one.
pub(crate) fn exactly(revision: i64) -> ListParams {
    ListParams::default().at(&revision.to_string()).matching(VersionMatch::Exact)
}

/// Returns the objects of a kind in a scope as the server has them, and the revision of the list.
///
/// # Errors
/// The server cannot be asked, or refuses.
pub(crate) async fn list(
    client: &Client,
    known: &Kind,
    scope: &LessonScope,
    asked: &ListParams,
) -> Result<(Vec<Value>, i64), client::kube::Error> {
    list_in(client, &resource(known), place(known, scope), asked).await
}

/// Lists the objects of a resource in a namespace, or all (`None`). An object that cannot be
/// decoded is left out, as a watch leaves it out.
///
/// # Errors
/// As [`list`].
async fn list_in(
    client: &Client,
    resource: &ApiResource,
    place: Option<&str>,
    asked: &ListParams,
) -> Result<(Vec<Value>, i64), client::kube::Error> {
    let api = api::<Item<DynamicObject>>(client, resource, place);
    let list = api.list_decoded(&resource.kind, asked).await?;
    let at = number(list.metadata.resource_version.as_deref());
    Ok((list.items.into_iter().map(|object| whole(resource, object)).collect(), at))
}

/// The objects of a resource in the whole cluster as the server has them now, in the form in which
/// a watch keeps them.
///
/// # Errors
/// As [`list`].
pub(super) async fn objects_now(
    client: &Client,
    resource: &ApiResource,
    asked: &ListParams,
) -> Result<Objects, client::kube::Error> {
    let (all, _) = list_in(client, resource, None, asked).await?;
    Ok(Arc::new(all.into_iter().map(|json| keyed(&LessonScope::default(), json)).collect()))
}

/// What kube-rs needs to know of a kind.
pub(crate) fn resource(known: &Kind) -> ApiResource {
    let gvk = GroupVersionKind::gvk(known.group, known.version, known.kind);
    ApiResource::from_gvk_with_plural(&gvk, known.plural)
}

/// Returns the namespace to which a scope limits a kind, if it does.
fn place<'a>(known: &Kind, scope: &'a LessonScope) -> Option<&'a str> {
    scope.namespace.as_deref().filter(|_| known.namespaced)
}

fn api<K>(client: &Client, resource: &ApiResource, place: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
{
    match place {
        Some(own) => Api::namespaced_with(client.kube(), own, resource),
        None => Api::all_with(client.kube(), resource),
    }
}

/// An object with its kind: items of a list come without.
fn whole(resource: &ApiResource, object: DynamicObject) -> Value {
    let mut json = object.encode().unwrap_or_default();
    json["kind"] = resource.kind.as_str().into();
    json["apiVersion"] = resource.api_version.as_str().into();
    json
}

/// An object as lessons know it, with its key.
fn keyed(scope: &LessonScope, mut json: Value) -> Named {
    scope.rename_for_lessons(&mut json);
    (facts::key(&json), Object::new(json))
}

/// Watches a kind in a scope. `saw` hears of every version as it came; what there is, as lessons
/// know it, goes through `wrap` into `tell`. The watch ends when nothing receives there any more.
/// One that panics begins anew, so that a lesson does not wait for ever. False if there is no such
/// kind.
pub(crate) fn start<T: Send + 'static>(
    crew: &Crew,
    client: &Client,
    name: &str,
    scope: &LessonScope,
    saw: impl Fn(Seen<'_>) + Send + Sync + 'static,
    tell: mpsc::Sender<T>,
    wrap: impl Fn(Report) -> T + Send + Sync + 'static,
) -> bool {
    let Some(known) = facts::kind(name) else { return false };
    let (client, scope) = (client.clone(), scope.clone());
    crew.spawn(async move {
        let mut again = RETRY.0;
        loop {
            let follow = follow(&client, known, &scope, &saw, &tell, &wrap);
            let Err(panic) = task::guard(follow).await else { return };
            tracing::error!(kind = known.kind, panic, "a watch panicked and begins anew");
            clock::pause(again).await;
            again = (again * 2).min(RETRY.1);
        }
    });
    true
}

/// Passes on what a watch says until nothing receives it any more. A watch that fails goes on.
async fn follow<T: Send>(
    client: &Client,
    known: &Kind,
    scope: &LessonScope,
    saw: &(impl Fn(Seen<'_>) + Sync),
    tell: &mpsc::Sender<T>,
    wrap: &(impl Fn(Report) -> T + Sync),
) {
    let resource = resource(known);
    let namespace = place(known, scope);
    let api = api::<Item<DynamicObject>>(client, &resource, namespace);
    let mut reflector = Reflector::<DynamicObject>::new(known.kind, api, watcher::Config::default());
    while let Some(next) = reflector.next_decoded().await {
        let Ok(delta) = next else { continue };
        let delta = delta.map(|object| whole(&resource, object));
        saw(Seen { plural: known.plural, namespace, delta: delta.as_ref() });
        let revision = |json: &Value| number(json["metadata"]["resourceVersion"].as_str());
        let newest = match &delta {
            Delta::Replaced(all) => all.iter().map(revision).max().unwrap_or_default(),
            Delta::Updated(json) | Delta::Deleted(json) => revision(json),
        };
        let delta = delta.map(|json| keyed(scope, json));
        let report = Report { kind: known.qualified(), revision: newest, delta };
        if tell.send(wrap(report)).await.is_err() {
            return; // the engine has ended
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_watch_that_is_behind_a_look_is_found_out() {
        let key = |name: &str| ("d".to_string(), name.to_string());
        let objects = |all: &[(&str, i64)]| -> BTreeMap<_, _> {
            let object = |at: &i64| Object::new(json!({"metadata": {"resourceVersion": at.to_string()}}));
            all.iter().map(|(name, at)| (key(name), object(at))).collect()
        };
        let look = Look { newest: 7, at: 9, there: [key("a"), key("b")].into() };
        assert!(look.is_known(7, &objects(&[("a", 5), ("b", 7)])));
        assert!(!look.is_known(6, &objects(&[("a", 5), ("b", 6)])), "the newest version has not been told");
        assert!(!look.is_known(8, &objects(&[("a", 5), ("b", 7), ("gone", 8)])), "nor that one is gone");
        assert!(look.is_known(12, &objects(&[("a", 5), ("b", 11), ("made since", 12)])));
        assert!(look.is_known(12, &objects(&[("b", 7)])), "one that has gone since");
        assert!(Look { newest: 0, at: 9, there: BTreeSet::new() }.is_known(0, &objects(&[])));
    }

    #[test]
    fn what_a_watch_tells_becomes_the_live_objects() {
        let object = |name: &str| (("d".to_string(), name.to_string()), Object::new(json!({})));
        let mut live = HashMap::new();
        let mut tell = |delta: Delta<Named>| {
            Report { kind: "pods".into(), revision: 1, delta }.apply(&mut live);
            let names = live["pods"].keys().map(|(_, name)| name.clone());
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(tell(Delta::Replaced(vec![])), "", "the kind is known from now on");
        assert_eq!(tell(Delta::Updated(object("a"))), "a");
        assert_eq!(tell(Delta::Updated(object("b"))), "a b");
        assert_eq!(tell(Delta::Deleted(object("a"))), "b");
        assert_eq!(tell(Delta::Replaced(vec![object("c")])), "c", "the end of b was missed");
    }

    #[tokio::test]
    async fn a_revision_that_is_gone_is_told_from_a_server_that_does_not_answer() {
        let answers = [
            (410, "Gone"),
            (400, "Refused"),
            (403, "Refused"),
            (404, "Refused"),
            (408, "Failed"),
            (429, "Failed"),
            (500, "Failed"),
            (503, "Failed"),
        ];
        for (code, means) in answers {
            let status =
                json!({"kind": "Status", "status": "Failure", "code": code, "reason": "x", "message": "x"});
            let server = client::testing::Scripted::new(move |_| Some((code, status.clone()))).await;
            let then = at_revision(&server.client, "Pod", &LessonScope::default(), 7).await;
            assert_eq!(format!("{then:?}"), means, "{code}");
        }
    }

    /// A step that began before any revision was known.
    #[tokio::test]
    async fn the_objects_of_no_revision_are_not_asked_for() {
        let server = client::testing::Scripted::new(|_| panic!("it is asked")).await;
        let then = at_revision(&server.client, "Pod", &LessonScope::default(), 0).await;
        assert!(matches!(then, Then::Gone), "{then:?}");
    }

    #[tokio::test]
    async fn a_watch_that_panicked_begins_anew() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let server = client::testing::Scripted::new(|_| {
            let pod = json!({"metadata": {"namespace": "d", "name": "a", "resourceVersion": "4"}});
            Some((200, json!({"metadata": {"resourceVersion": "5"}, "items": [pod]})))
        })
        .await;
        let (crew, first) = (Crew::new("t"), AtomicBool::new(true));
        let (reporter, mut reports) = mpsc::channel(1);
        let saw = move |_: Seen<'_>| assert!(!first.swap(false, Ordering::Relaxed), "boom");
        assert!(start(&crew, &server.client, "Pod", &LessonScope::default(), saw, reporter, |report| report));
        match reports.recv().await.map(|report| report.delta) {
            Some(Delta::Replaced(objects)) => assert_eq!(objects.len(), 1),
            _ => panic!("it tells nothing"),
        }
        crew.kill();
    }
}
