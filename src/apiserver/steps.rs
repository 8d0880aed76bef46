//! What people did, step by step, so that it can be undone.
//!
//! A step is all writes of one `Kubectl-Session` (every kubectl command has one), from other clients one write. It is a key of its own
//! beside the registry, put by the same transaction as the write: `/ropewalk/steps/<session or request>`. The key's *create revision* is the
//! step's first write, so the state before the step is the state at the revision before that. What was undone, and what the world looked like
//! just before, stands under `/ropewalk/undone`; the next write of a person forgets it. All of this is in the store, so it survives every
//! restart and is the same at every API server.

use super::context::Context;
use super::store::Extra;
use crate::api::kinds::Kind;
use crate::api::meta;
use crate::clock;
use crate::etcd::api::{KeyValue, Revision};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

/// Under which the keys of this file live.
pub const ROOT: &str = "/ropewalk/";
const STEPS: &str = "/ropewalk/steps/";
pub const UNDONE: &str = "/ropewalk/undone";
/// Steps that are kept. At the bound the oldest is forgotten: it cannot be undone any more.
const STEPS_MAX: usize = 500;
/// Of which one write forgets no more than these: a transaction has its bounds.
const FORGOTTEN_AT_ONCE: usize = 16;

/// What somebody did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub id: String,
    /// `kubectl create deployment`, or what another client is called.
    pub command: String,
    /// The first object it wrote: `deployments/web`, with ` -n shop` outside the default namespace.
    pub object: String,
    pub user: String,
    /// RFC 3339.
    pub at: String,
    /// Revision of its first write.
    #[serde(default)]
    pub first: Revision,
}

/// Steps that were undone together, newest first, and the revision just before that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Undone {
    pub steps: Vec<String>,
    pub before: Revision,
    /// The namespaces that went back; `None`: everything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<BTreeSet<String>>,
}

#[derive(Default)]
struct Inner {
    /// By their first revision.
    steps: BTreeMap<Revision, Step>,
    /// Where each stands. Every write asks.
    at: HashMap<String, Revision>,
    undone: Vec<Undone>,
}

/// The steps as the store has them; fed by the watch cache.
#[derive(Default)]
pub struct Steps {
    inner: Mutex<Inner>,
}

impl Inner {
    fn hidden(&self, id: &str) -> bool {
        self.undone.iter().any(|u| u.steps.iter().any(|s| s == id))
    }
}

pub fn key(id: &str) -> String {
    format!("{STEPS}{id}")
}

/// The step that a request belongs to.
pub fn id_of(request: &crate::tap::Request) -> String {
    let id = if request.session.is_empty() { &request.id } else { &request.session };
    id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect()
}

impl Steps {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes over a key from the store. Keys of others are ignored.
    pub fn see(&self, kv: &KeyValue, deleted: bool) {
        let Ok(name) = std::str::from_utf8(&kv.key) else { return };
        let mut inner = self.lock();
        if name == UNDONE {
            inner.undone =
                if deleted { vec![] } else { serde_json::from_slice(&kv.value).unwrap_or_default() };
        } else if let Some(id) = name.strip_prefix(STEPS) {
            if deleted {
                if let Some(first) = inner.at.remove(id) {
                    inner.steps.remove(&first);
                }
            } else if let Ok(step) = serde_json::from_slice::<Step>(&kv.value) {
                let first = kv.create_revision;
                inner.at.insert(id.to_string(), first);
                inner.steps.insert(first, Step { id: id.to_string(), first, ..step });
            }
        }
    }

    pub fn clear(&self) {
        *self.lock() = Inner::default();
    }

    /// Steps that can be undone, oldest first.
    pub fn done(&self) -> Vec<Step> {
        let inner = self.lock();
        inner.steps.values().filter(|s| !inner.hidden(&s.id)).cloned().collect()
    }

    pub fn undone(&self) -> Vec<Undone> {
        self.lock().undone.clone()
    }

    pub fn find(&self, id: &str) -> Option<Step> {
        let inner = self.lock();
        inner.steps.get(inner.at.get(id)?).cloned()
    }

    /// History from here on has to be kept so that steps can be undone; `None`: nothing has to. Steps whose past is gone,
    /// because the store keeps nothing before `oldest`, hold nothing.
    pub fn keep_from(&self, oldest: Revision) -> Option<Revision> {
        self.lock().steps.range(oldest + 1..).next().map(|(first, _)| first - 1)
    }

    /// What a write of this request adds to its transaction: the step, unless it is there already. It also forgets what was undone.
    pub fn note(&self, ctx: &Context, kind: &Kind, object: &Value, extra: &mut Extra) {
        if !ctx.user.is_person() || kind.plural == "events" || kind.plural == "leases" {
            return;
        }
        let request = &ctx.request;
        let id = id_of(request);
        let inner = self.lock();
        if !inner.undone.is_empty() {
            let gone = inner.undone.iter().flat_map(|u| &u.steps);
            extra.release.extend(gone.map(|id| key(id)));
            extra.release.push(UNDONE.to_string());
        }
        if inner.at.contains_key(&id) {
            return;
        }
        // Who writes at the same time counts the same steps and forgets the same one: what is too much then goes with the next writes.
        let over = (inner.steps.len() + 1).saturating_sub(STEPS_MAX).min(FORGOTTEN_AT_ONCE);
        let oldest = inner.steps.values().filter(|s| !inner.hidden(&s.id)).take(over);
        extra.release.extend(oldest.map(|s| key(&s.id)));
        let agent = request.user_agent.split(['/', ' ']).next().unwrap_or_default();
        let command = if request.command.is_empty() { agent } else { &request.command };
        let place = match meta::namespace(object) {
            "" | "default" => String::new(),
            namespace => format!(" -n {namespace}"),
        };
        let step = Step {
            id: id.clone(),
            command: command.chars().take(80).collect(),
            object: format!("{}/{}{place}", kind.plural, meta::name(object)),
            user: ctx.user.name.clone(),
            at: clock::rfc3339_micro(clock::now()),
            first: 0,
        };
        extra.put.push((key(&id), serde_json::to_string(&step).unwrap_or_default()));
    }
}

/// A list of undone steps as a value of the store.
pub fn undone_value(undone: &[Undone]) -> Bytes {
    serde_json::to_vec(undone).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apiserver::user::User;

    fn see(steps: &Steps, id: &str, first: Revision) {
        let value = serde_json::to_vec(&Step { id: id.into(), ..Step::default() }).unwrap();
        let kv = KeyValue {
            key: key(id).into(),
            create_revision: first,
            value: value.into(),
            ..KeyValue::default()
        };
        steps.see(&kv, false);
    }

    #[test]
    fn what_was_undone_is_no_step_until_it_is_forgotten_or_redone() {
        let steps = Steps::default();
        see(&steps, "b", 20);
        see(&steps, "a", 10);
        let ids = |steps: &Steps| steps.done().into_iter().map(|s| s.id).collect::<Vec<_>>();
        assert_eq!((ids(&steps), steps.keep_from(0)), (vec!["a".into(), "b".into()], Some(9)));
        let kept: Vec<_> = [9, 10, 19, 20].map(|oldest| steps.keep_from(oldest)).into();
        assert_eq!(kept, [Some(9), Some(19), Some(19), None], "a step whose past is gone holds nothing");
        let undone = [Undone { steps: vec!["b".into()], before: 25, within: None }];
        let kv = KeyValue { key: UNDONE.into(), value: undone_value(&undone), ..KeyValue::default() };
        steps.see(&kv, false);
        assert_eq!((ids(&steps), steps.undone().len()), (vec!["a".into()], 1));
        steps.see(&kv, true);
        assert_eq!(ids(&steps), ["a", "b"]);
        steps.see(&KeyValue { key: key("a").into(), ..KeyValue::default() }, true);
        assert_eq!((ids(&steps), steps.keep_from(0)), (vec!["b".into()], Some(19)));
    }

    /// Many who write at the same time forget the same step; those after them make up for it.
    #[test]
    fn steps_that_are_too_many_are_forgotten() {
        let steps = Steps::default();
        let (first, most) = (1000, STEPS_MAX as Revision + 40);
        (0..most).for_each(|n| see(&steps, &format!("s{n}"), first + n));
        let kind = crate::api::kinds::stored("pods").expect("a kind");
        let mut writes = 0;
        while steps.done().len() > STEPS_MAX {
            let (info, query, headers) = Default::default();
            let (user, tap) = (User::new("learner", &[]), crate::tap::Tap::new());
            let ctx = Context::new(format!("w{writes}"), user, info, query, headers, tap);
            let mut extra = Extra::default();
            steps.note(&ctx, kind, &Value::Null, &mut extra);
            assert!(extra.release.len() <= FORGOTTEN_AT_ONCE, "{}", extra.release.len());
            for gone in extra.release {
                steps.see(&KeyValue { key: gone.into(), ..KeyValue::default() }, true);
            }
            see(&steps, &format!("w{writes}"), first + most + writes);
            writes += 1;
        }
        assert_eq!((writes, steps.find("s42"), steps.done().len()), (3, None, STEPS_MAX));
        assert_eq!(steps.keep_from(0), Some(first + 43 - 1));
    }
}
