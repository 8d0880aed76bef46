//! What people did, step by step, so that it can be undone.
//!
//! A step is all writes of one `Kubectl-Session` (every kubectl command has one), from other
//! clients one write. It is a key of its own beside the registry, put by the same transaction as
//! the write: `/ropewalk/steps/<session and user, or request>`. The key is put once, by the step's
//! first write, so the state before the step is the state at the revision before the key's *mod
//! revision*. What was undone, and what the world looked like just before, stands under
//! `/ropewalk/undone`; the next write of a person forgets it. Each such write has the revision of
//! that key as a condition, so it never misses an undo that happens at the same moment. Nor does an
//! undo miss the further writes of a step: each puts `/ropewalk/written`. All of this is in the
//! store, so it survives every restart and is the same at every API server.
//!
//! Example: a command has written five objects (step `x`) and is undone while it runs. Its sixth
//! write finds `x` among the undone steps: it forgets the undo and puts the key of `x` again, so
//! the step now begins with the sixth object, and another undo takes the sixth and all later ones.

use crate::request::context::Context;
use crate::storage::extra::Extra;
use crate::storage::transaction::is_at;
use api::kinds::Kind;
use api::meta;
use bytes::Bytes;
use etcd::api::{Compare, CompareResult, CompareTarget, KeyValue, Revision};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use tap::account;

/// Under which the keys of this file live.
pub(crate) const ROOT: &str = "/ropewalk/";
/// The first key after them.
pub(crate) const ROOT_END: &str = "/ropewalk0";
const STEPS: &str = "/ropewalk/steps/";
pub(crate) const UNDONE: &str = "/ropewalk/undone";
/// Put by each further write of a step, whose own key stays as it is. An undo that was planned
/// before such a write finds this key newer than its plan ([`StepsSnapshot::unchanged_since`]).
const WRITTEN: &str = "/ropewalk/written";
/// Steps that are kept, of all people. At the bound the person with the most steps loses the oldest
/// of them: it cannot be undone any more. So a flood of one person's writes takes no steps from
/// others. Example: bob has 10 steps, and eve's program writes a thousand times; bob's 10 stay, and
/// eve's last 490.
const STEPS_MAX: usize = 500;
/// Keys of steps that one write removes at most: a transaction has its bounds.
const FORGOTTEN_AT_ONCE: usize = 16;

/// One command of a person, with all that it wrote.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Step {
    pub id: String,
    /// `kubectl create deployment`, or what another client is called.
    pub command: String,
    /// The first object it wrote: `deployments/web`, with ` -n shop` outside the default namespace.
    pub object: String,
    pub user: String,
    /// The person who impersonated the user (`--as`), to whom the step is charged; empty if the
    /// user made the request.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// RFC 3339.
    pub at: String,
    /// Revision of its first write.
    #[serde(default)]
    pub first: Revision,
}

impl Step {
    /// Returns the account that the step is charged to: one for a person, whatever names `--as`
    /// gives it.
    fn account(&self) -> &str {
        if self.account.is_empty() { &self.user } else { &self.account }
    }
}

/// Steps that were undone together, newest first, and the revision just before that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Undone {
    pub steps: Vec<String>,
    /// 0: a write has followed, so these can no longer be redone. Their keys are removed in
    /// portions.
    pub before: Revision,
    /// The namespaces that went back; `None`: everything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<BTreeSet<String>>,
}

impl Undone {
    /// True if a write has followed the undo.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.before == 0
    }
}

#[derive(Default)]
struct Inner {
    /// The steps by their first revision.
    steps: BTreeMap<Revision, Step>,
    /// The first revision of each step, by its id. Every write looks it up.
    at: HashMap<String, Revision>,
    undone: Vec<Undone>,
    /// Revision of the key of `undone`; 0 if it does not exist.
    undone_at: Revision,
    /// All steps in `undone`.
    hidden: BTreeSet<String>,
}

/// What people did and undid, at one moment.
pub(crate) struct StepsSnapshot {
    /// Steps that can be undone, oldest first.
    pub done: Vec<Step>,
    /// What was undone since, newest last.
    pub undone: Vec<Undone>,
    /// Revision of the key of `undone`, which the last undo or redo has put; 0 if there is none.
    pub undone_at: Revision,
}

impl StepsSnapshot {
    /// Returns the conditions of a transaction that holds only if no step was begun, continued,
    /// undone or redone since this snapshot, which has everything up to `known`.
    pub(crate) fn unchanged_since(&self, known: Revision) -> Vec<Compare> {
        let all = Compare {
            key: Bytes::from_static(ROOT.as_bytes()),
            range_end: Bytes::from_static(ROOT_END.as_bytes()),
            result: CompareResult::Less,
            target: CompareTarget::ModRevision(known + 1),
        };
        // A key that is removed is in no range.
        vec![all, is_at(UNDONE, self.undone_at)]
    }
}

/// The steps as the store has them; fed by the watch cache.
#[derive(Default)]
pub(crate) struct Steps {
    inner: Mutex<Inner>,
}

impl Inner {
    fn visible(&self) -> impl Iterator<Item = &Step> {
        self.steps.values().filter(|s| !self.hidden.contains(&s.id))
    }

    /// Returns the steps that have to go when this person begins one more.
    fn surplus(&self, writer: &str) -> impl Iterator<Item = &Step> {
        let mut by_person: BTreeMap<&str, VecDeque<&Step>> = BTreeMap::new();
        let mut over = (self.visible().count() + 1).saturating_sub(STEPS_MAX);
        if over > 0 {
            self.visible().for_each(|step| by_person.entry(step.account()).or_default().push_back(step));
        }
        let new = move |person: &str| usize::from(person == writer);
        std::iter::from_fn(move || {
            over = over.checked_sub(1)?;
            // Among people with as many steps the one whose oldest is the oldest.
            let oldest = |steps: &VecDeque<&Step>| std::cmp::Reverse(steps.front().map(|step| step.first));
            let most = by_person.iter_mut().filter(|(_, steps)| !steps.is_empty());
            let most = most.max_by_key(|(person, steps)| (steps.len() + new(person), oldest(steps)));
            most.and_then(|(_, steps)| steps.pop_front())
        })
    }
}

pub(crate) fn key(id: &str) -> String {
    format!("{STEPS}{id}")
}

/// Bytes that the name of a session may have. All requests of a session are one step; kubectl's
/// names have 36 bytes.
const SESSION_MAX: usize = 64;

/// Returns the step that a request belongs to: that of its user's session, or one of its own if it
/// has none or one that cannot stand in a key as it is. To shorten or clean such a session would
/// make one step of the commands of several; clients choose sessions, so the same one of two users
/// is two.
pub(crate) fn id_of(request: &tap::Request) -> String {
    let session = &request.session;
    let fits = (1..=SESSION_MAX).contains(&session.len())
        && session.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !fits {
        return request.id.clone();
    }
    let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = Sha256::digest(&request.user).into();
    format!("{session}-{:016x}", u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

impl Steps {
    fn lock(&self) -> parking_lot::MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Applies a change of the store to the steps. Keys that belong to no step are ignored.
    pub(crate) fn apply_key(&self, kv: &KeyValue, deleted: bool) {
        let Ok(name) = std::str::from_utf8(&kv.key) else { return };
        let mut inner = self.lock();
        if name == UNDONE {
            (inner.undone, inner.undone_at) = match deleted {
                true => (vec![], 0),
                false => (serde_json::from_slice(&kv.value).unwrap_or_default(), kv.mod_revision),
            };
            inner.hidden = inner.undone.iter().flat_map(|u| u.steps.iter().cloned()).collect();
        } else if let Some(id) = name.strip_prefix(STEPS) {
            if let Some(first) = inner.at.remove(id) {
                inner.steps.remove(&first);
            }
            if !deleted {
                // What cannot be read is a step all the same: a write of its command must find the
                // key as it is.
                let step: Step = serde_json::from_slice(&kv.value).unwrap_or_default();
                let first = kv.mod_revision;
                inner.at.insert(id.to_string(), first);
                inner.steps.insert(first, Step { id: id.to_string(), first, ..step });
            }
        }
    }

    pub(crate) fn clear(&self) {
        *self.lock() = Inner::default();
    }

    /// Returns what people did and undid, as far as it is known here.
    pub(crate) fn snapshot(&self) -> StepsSnapshot {
        let inner = self.lock();
        let done = inner.visible().cloned().collect();
        StepsSnapshot { done, undone: inner.undone.clone(), undone_at: inner.undone_at }
    }

    pub(crate) fn find(&self, id: &str) -> Option<Step> {
        let inner = self.lock();
        inner.steps.get(inner.at.get(id)?).cloned()
    }

    /// Returns the revision from which on history has to be kept so that steps can be undone;
    /// `None`: nothing has to. Steps whose past is gone, because the store keeps nothing before
    /// `oldest`, hold nothing.
    pub(crate) fn keep_from(&self, oldest: Revision) -> Option<Revision> {
        let inner = self.lock();
        let forgotten: BTreeSet<&String> =
            inner.undone.iter().filter(|u| u.is_forgotten()).flat_map(|u| &u.steps).collect();
        let mut kept = inner.steps.range(oldest + 1..).filter(|(_, step)| !forgotten.contains(&step.id));
        kept.next().map(|(first, _)| first - 1)
    }

    /// Adds to the transaction of a write what this request means for undo: the step, unless it is
    /// there already. It also forgets what was undone.
    pub(crate) fn note(&self, ctx: &Context, kind: &Kind, object: &Value, extra: &mut Extra) {
        // Not custom resources that are called so.
        let is_noise = kind.custom.is_none() && matches!(kind.plural, "events" | "leases");
        if !ctx.user.is_person() || is_noise {
            return;
        }
        let request = &ctx.request;
        let id = id_of(request);
        let account = account(&request.user, &request.impersonator);
        let inner = self.lock();
        // An undo at the same moment, here or at another server, makes this write judge again what
        // it forgets.
        extra.unchanged.push((UNDONE.to_string(), inner.undone_at));
        let mut portion = FORGOTTEN_AT_ONCE;
        if !inner.undone.is_empty() {
            let gone = |s: &&String| **s != id && inner.at.contains_key(*s);
            let mut now: Vec<&String> = inner.hidden.iter().filter(gone).collect();
            let later = now.split_off(portion.min(now.len()));
            portion -= now.len();
            extra.release.extend(now.into_iter().map(|id| key(id)));
            if later.is_empty() {
                extra.release.push(UNDONE.to_string());
            } else {
                let steps = later.into_iter().cloned().collect();
                let left = serde_json::to_string(&[Undone { steps, before: 0, within: None }]);
                extra.put.push((UNDONE.to_string(), left.unwrap_or_default()));
            }
        }
        let known = inner.at.get(&id).copied();
        if known.is_some() && !inner.hidden.contains(&id) {
            extra.put.push((WRITTEN.to_string(), id));
            return;
        }
        // Of two writes that begin a step at the same moment the second one finds it begun.
        extra.unchanged.push((key(&id), known.unwrap_or(0)));
        // Writes at the same time count the same steps and forget the same one: the steps that are
        // too many then go with the next writes.
        extra.release.extend(inner.surplus(&account).take(portion).map(|s| key(&s.id)));
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
            user: request.user.clone(),
            account: if account == request.user { String::new() } else { account },
            at: clock::rfc3339_micro(clock::now()),
            first: 0,
        };
        extra.put.push((key(&id), serde_json::to_string(&step).unwrap_or_default()));
    }
}

/// Returns a list of undone steps as a value of the store.
pub(crate) fn undone_value(undone: &[Undone]) -> Bytes {
    serde_json::to_vec(undone).unwrap_or_default().into()
}

#[cfg(test)]
mod tests;
