//! Live objects of one kind, told to the engine as they change.

use super::cel::facts::{self, Object};
use api::kinds::Kind;
use client::kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, VersionMatch};
use client::kube::runtime::watcher;
use client::{Api, Client};
use cluster::guest::{How, Room, Seen};
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use task::Crew;

/// What a watch says. `kind` is the qualified plural.
pub(crate) enum Told {
    /// All that there is: at first, and after a gap.
    All {
        kind: String,
        objects: BTreeMap<(String, String), Object>,
        revision: i64,
    },
    Put {
        kind: String,
        key: (String, String),
        object: Object,
        revision: i64,
    },
    Gone {
        kind: String,
        key: (String, String),
        revision: i64,
    },
}

/// Pause after a failed list or watch; doubles up to the second value.
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
    /// Has a watch told everything that this look saw? `seen` is the newest revision that it told
    /// of.
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

/// Asks what there is of a kind in a room right now. A watch may be behind that, and tells nobody
/// by how much.
pub(crate) async fn look(client: &Client, name: &str, room: &Room) -> Option<(String, Look)> {
    let known = facts::kind(name)?;
    let list = api(client, known, room).list_metadata(&ListParams::default()).await;
    let list = list.inspect_err(|error| tracing::debug!(name, %error, "cannot be looked at")).ok()?;
    let at = number(list.metadata.resource_version.as_deref());
    let mut look = Look { newest: 0, at, there: BTreeSet::new() };
    for object in list.items {
        look.newest = look.newest.max(number(object.metadata.resource_version.as_deref()));
        let namespace = object.metadata.namespace.unwrap_or_default();
        look.there.insert((room.told(&namespace).to_string(), object.metadata.name.unwrap_or_default()));
    }
    Some((known.qualified(), look))
}

/// The objects of a kind in a room as they were at a revision and as they are, and the revision of
/// the latter.
///
/// # Errors
/// The server does not have the former any more, or it does not answer.
pub(crate) async fn between(
    client: &Client,
    name: &str,
    room: &Room,
    revision: i64,
) -> Result<(Vec<serde_json::Value>, Vec<serde_json::Value>, i64), Then> {
    let then = at_revision(client, name, room, revision).await.objects()?;
    let (_, look) = look(client, name, room).await.ok_or(Then::Failed)?;
    let now = at_revision(client, name, room, look.at).await.objects()?;
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

/// Asks for the objects of a kind in a room as they were at a revision. 0 is none, and asks
/// nothing.
pub(crate) async fn at_revision(client: &Client, name: &str, room: &Room, revision: i64) -> Then {
    let Some(known) = facts::kind(name) else { return Then::Refused };
    if revision == 0 {
        return Then::Gone;
    }
    let exact = ListParams::default().at(&revision.to_string()).matching(VersionMatch::Exact);
    let list = match api(client, known, room).list(&exact).await {
        Ok(list) => list,
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
    let whole = |object: DynamicObject| {
        let mut json = serde_json::to_value(object).unwrap_or_default();
        json["kind"] = known.kind.into(); // items of a list come without
        json["apiVersion"] = known.api_version().into();
        room.retell(&mut json);
        let part = |key: &str| json["metadata"][key].as_str().unwrap_or_default().to_string();
        ((part("namespace"), part("name")), Object::new(json))
    };
    Then::Objects(list.items.into_iter().map(whole).collect())
}

fn api(client: &Client, known: &Kind, room: &Room) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk(known.group, known.version, known.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, known.plural);
    match &room.namespace {
        Some(own) if known.namespaced => Api::namespaced_with(client.kube(), own, &resource),
        _ => Api::all_with(client.kube(), &resource),
    }
}

/// Watches a kind in a room. `saw` hears of every version as it came, `tell` of what there is as
/// lessons know it; the watch ends when that answers false. One that panics begins anew, so that a
/// lesson does not wait for ever. False if there is no such kind.
pub(crate) fn start(
    crew: &Crew,
    client: &Client,
    name: &str,
    room: &Room,
    saw: impl Fn(Seen<'_>) + Send + Sync + 'static,
    tell: impl Fn(Told) -> bool + Send + Sync + 'static,
) -> bool {
    let Some(known) = facts::kind(name) else { return false };
    let api = api(client, known, room);
    let (kind, version, qualified) = (known.kind, known.api_version(), known.qualified());
    let (plural, room) = (known.plural, room.clone());
    crew.spawn(async move {
        let mut again = RETRY.0;
        loop {
            let mut stream = watcher(api.clone().for_watcher(), watcher::Config::default()).boxed();
            let follow = async {
                let read = |object: &DynamicObject, how: How| {
                    let mut json = serde_json::to_value(object).unwrap_or_default();
                    json["kind"] = kind.into(); // items of a list come without
                    json["apiVersion"] = version.clone().into();
                    saw(Seen { how, plural, object: &json });
                    room.retell(&mut json);
                    let part = |key: &str| json["metadata"][key].as_str().unwrap_or_default().to_string();
                    let revision = part("resourceVersion").parse::<i64>().unwrap_or_default();
                    ((part("namespace"), part("name")), Object::new(json), revision)
                };
                let mut pause = RETRY.0;
                let (mut fresh, mut newest) = (BTreeMap::new(), 0);
                while let Some(event) = stream.next().await {
                    let told = match event {
                        Ok(watcher::Event::Init) => {
                            (fresh, newest) = (BTreeMap::new(), 0);
                            continue;
                        }
                        Ok(watcher::Event::InitApply(object)) => {
                            let (key, object, revision) = read(&object, How::There);
                            newest = newest.max(revision);
                            fresh.insert(key, object);
                            continue;
                        }
                        Ok(watcher::Event::InitDone) => Told::All {
                            kind: qualified.clone(),
                            objects: std::mem::take(&mut fresh),
                            revision: newest,
                        },
                        Ok(watcher::Event::Apply(object)) => {
                            let (key, object, revision) = read(&object, How::Put);
                            Told::Put { kind: qualified.clone(), key, object, revision }
                        }
                        Ok(watcher::Event::Delete(object)) => {
                            let (key, _, revision) = read(&object, How::Gone);
                            Told::Gone { kind: qualified.clone(), key, revision }
                        }
                        Err(error) => {
                            tracing::debug!(kind, %error, "watch failed, trying again");
                            clock::pause(pause).await;
                            pause = (pause * 2).min(RETRY.1);
                            continue;
                        }
                    };
                    pause = RETRY.0;
                    if !tell(told) {
                        return; // the engine has ended
                    }
                }
            };
            let Err(panic) = task::guard(follow).await else { return };
            tracing::error!(kind, panic, "a watch panicked and begins anew");
            clock::pause(again).await;
            again = (again * 2).min(RETRY.1);
        }
    });
    true
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
            let then = at_revision(&server.client, "Pod", &Room::default(), 7).await;
            assert_eq!(format!("{then:?}"), means, "{code}");
        }
    }

    /// A step that began before any revision was known.
    #[tokio::test]
    async fn the_objects_of_no_revision_are_not_asked_for() {
        let server = client::testing::Scripted::new(|_| panic!("it is asked")).await;
        let then = at_revision(&server.client, "Pod", &Room::default(), 0).await;
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
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let saw = move |_: Seen<'_>| assert!(!first.swap(false, Ordering::Relaxed), "boom");
        let tell = move |what: Told| told.send(what).is_ok();
        assert!(start(&crew, &server.client, "Pod", &Room::default(), saw, tell));
        match heard.recv().await {
            Some(Told::All { objects, .. }) => assert_eq!(objects.len(), 1),
            _ => panic!("it tells nothing"),
        }
        crew.kill();
    }
}
