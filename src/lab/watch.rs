//! Live objects of one kind, told to the engine as they change.

use super::cel::facts::{self, Object};
use crate::client::Client;
use crate::client::kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use crate::client::kube::runtime::watcher;
use crate::clock;
use crate::cluster::guest::{How, Room, Seen};
use crate::task::Crew;
use futures::StreamExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a watch says. `kind` is the qualified plural.
pub enum Told {
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

/// Watches a kind in a room. `saw` hears of every version as it came, `tell` of what there is as lessons know it; the watch ends when that
/// answers false. False if there is no such kind.
pub fn start(
    crew: &Crew,
    client: &Client,
    name: &str,
    room: &Room,
    saw: impl Fn(Seen<'_>) + Send + Sync + 'static,
    tell: impl Fn(Told) -> bool + Send + 'static,
) -> bool {
    let Some(known) = facts::kind(name) else { return false };
    let gvk = GroupVersionKind::gvk(known.group, known.version, known.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, known.plural);
    let api: Api<DynamicObject> = match &room.namespace {
        Some(own) if known.namespaced => Api::namespaced_with(client.kube(), own, &resource),
        _ => Api::all_with(client.kube(), &resource),
    };
    let (kind, version, qualified) = (known.kind, known.api_version(), known.qualified());
    let (plural, room) = (known.plural, room.clone());
    crew.spawn(async move {
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
        let mut stream = watcher(api, watcher::Config::default()).boxed();
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
                    clock::sleep(pause).await;
                    pause = (pause * 2).min(RETRY.1);
                    continue;
                }
            };
            pause = RETRY.0;
            if !tell(told) {
                return; // the engine has ended
            }
        }
    });
    true
}
