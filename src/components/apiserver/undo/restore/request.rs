//! The request for an undo or redo, and its answer.

use super::{Journey, Past, TRIES};
use crate::request::context::Context;
use crate::request::http::{Answer, json};
use crate::state::State;
use crate::undo::steps::{self, Step, StepsSnapshot, Undone};
use api::Status;
use etcd::api::Revision;
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json as object};
use std::collections::BTreeSet;
use tap::{Journey as Way, Record};

#[derive(Deserialize, Default)]
#[serde(default)]
struct JourneyRequest {
    /// The request only asks what would be lost.
    plan: bool,
    count: Option<usize>,
    revision: Option<Revision>,
    /// The only namespaces that a rewind brings back; `None`: all.
    namespaces: Option<BTreeSet<String>>,
    /// The plan that was agreed to: the revision that it was made at, and the one that it goes back
    /// to.
    agreed: Option<Agreed>,
}

/// What a plan has answered, sent back as a precondition.
#[derive(Clone, Copy, Deserialize)]
struct Agreed {
    known: Revision,
    to: Revision,
}

impl Agreed {
    /// Checks that the journey still does what the plan said. `undone_at` is the revision of the
    /// last undo or redo.
    ///
    /// Example: a plan to undo one step was made at revision 20 and goes back to 14. At 21 a person
    /// begins another step: that one would be undone instead, so the journey is refused.
    fn check(&self, to: Revision, done: &[Step], undone_at: Revision) -> Result<(), Status> {
        let newest = done.iter().map(|step| step.first).max().unwrap_or_default().max(undone_at);
        if to != self.to || newest > self.known { Err(plan_changed()) } else { Ok(()) }
    }
}

/// Refuses a journey if a person has written since its plan was agreed to: also the later writes of
/// a command that had begun before, which make no step of their own.
///
/// # Errors
/// 409 if so.
pub(super) fn check_writes_since(ctx: &Context, agreed: Revision) -> Result<(), Status> {
    let records = ctx.records();
    let mut commits = records.iter().filter(|r| r.write().is_some());
    let is_later = |at: u64| at as Revision > agreed;
    let is_persons = |r: &Record| r.request.as_ref().is_some_and(tap::Request::is_persons);
    match commits.any(|r| r.revision.is_some_and(is_later) && is_persons(r)) {
        true => Err(plan_changed()),
        false => Ok(()),
    }
}

fn plan_changed() -> Status {
    Status::new(409, PLAN_CHANGED, "the cluster was changed since this was planned; plan it again")
}

/// 409: there are no steps to undo. Like the other reasons of refusals here, it is for callers that
/// have words of their own for it.
pub const NOTHING_TO_UNDO: &str = "NothingToUndo";
/// 409: no undo was done, a write has followed it, or the store no longer keeps the state before
/// it.
pub const NOTHING_TO_REDO: &str = "NothingToRedo";
/// 409: there are steps to undo, but fewer than `count`.
pub const FEWER_STEPS: &str = "FewerSteps";
/// 400: the revision is below 1 or above the newest one.
pub const NO_SUCH_REVISION: &str = "NoSuchRevision";
/// 409: the addons of the cluster were made after the revision that would be gone back to.
pub const BEFORE_ADDONS: &str = "BeforeAddons";
/// 409: a person has changed the cluster, or undone or redone something, since the plan that was
/// agreed to.
pub const PLAN_CHANGED: &str = "PlanChanged";

/// Answers `/ropewalk/v1/…`.
///
/// # Errors
/// 400 and 409 for what cannot be gone back to, 409 if it is not what was agreed to any more, 504
/// if others write faster than it can be planned, and those of the store.
pub(crate) async fn serve(
    state: &State,
    ctx: &Context,
    method: &Method,
    what: &str,
    body: &[u8],
) -> Result<Answer, Status> {
    if *method == Method::GET && what == "steps" {
        state.fresh().await?;
        return Ok(json(200, &steps_answer(state)));
    }
    if *method != Method::POST {
        return Err(Status::method_not_allowed());
    }
    let request: JourneyRequest = match body {
        [] => JourneyRequest::default(),
        // Read as a map first: serde takes a list, too, and an empty one would be an undo.
        body => serde_json::from_slice::<Map<String, Value>>(body)
            .and_then(|request| serde_json::from_value(Value::Object(request)))
            .map_err(|error| Status::bad_request(format!("the body cannot be read: {error}")))?,
    };
    let mut past: Option<(Revision, Past)> = None;
    for _ in 0..TRIES {
        // Planned anew each time: an undo at the same moment has taken the step that this one
        // meant.
        let known = state.fresh().await?;
        let Some(journey) = journey(state, what, &request, known)? else {
            return Ok(crate::request::http::not_found_page());
        };
        if journey.within.is_none() {
            state.check_origin(journey.way).await?;
        }
        if request.plan {
            let lost = state.losses(ctx, &journey).await?;
            let answer = object!({"to": journey.to, "known": known, "steps": journey.steps, "lost": lost});
            return Ok(json(200, &answer));
        }
        if journey.within.as_ref().is_some_and(BTreeSet::is_empty) {
            let answer = object!({"revision": known, "to": journey.to, "steps": [], "back": 0, "gone": 0});
            return Ok(json(200, &answer));
        }
        if let Some(agreed) = request.agreed {
            let undone_at = state.revision_of(steps::UNDONE).await?;
            agreed.check(journey.to, &state.cache.steps.snapshot().done, undone_at)?;
        }
        let read = match past.take().filter(|(to, _)| *to == journey.to) {
            Some((_, read)) => read,
            None => state.past(journey.to).await?,
        };
        if let Some(answer) = state.travel(ctx, &journey, &read).await? {
            return Ok(json(200, &answer));
        }
        past = Some((journey.to, read));
    }
    Err(Status::timeout("the cluster changes too fast to go back; try again"))
}

/// Returns the steps that can be undone, and those of which the store no longer keeps the state
/// before: history goes when it is old, or when the store needs room.
fn parted(state: &State, snapshot: &StepsSnapshot) -> (Vec<Step>, Vec<Step>) {
    let oldest = state.kv.compacted();
    snapshot.done.iter().cloned().partition(|s| s.first > oldest)
}

/// Returns the answer to `GET /ropewalk/v1/steps`.
fn steps_answer(state: &State) -> Value {
    let steps = &state.cache.steps;
    let snapshot = steps.snapshot();
    let (done, lost) = parted(state, &snapshot);
    let of = |u: &Undone| u.steps.iter().filter_map(|id| steps.find(id)).collect::<Vec<_>>();
    let undone: Vec<Value> = snapshot
        .undone
        .iter()
        .filter(|u| !u.is_forgotten())
        .map(|u| object!({"before": u.before, "steps": of(u)}))
        .collect();
    let oldest = state.kv.compacted().max(1);
    object!({"revision": state.kv.revision(), "oldest": oldest, "steps": done, "lost": lost, "undone": undone})
}

/// Plans an undo, a redo or a rewind from the steps that are known now, which are at least those up
/// to `known`. `None`: there is no such verb.
fn journey(
    state: &State,
    what: &str,
    request: &JourneyRequest,
    known: Revision,
) -> Result<Option<Journey>, Status> {
    let snapshot = state.cache.steps.snapshot();
    let (done, lost) = parted(state, &snapshot);
    let (oldest, unchanged) = (state.kv.compacted(), snapshot.unchanged_since(known));
    let mut undone = snapshot.undone;
    let agreed = request.agreed.map(|agreed| agreed.known);
    let gone = match lost.len() {
        0 => String::new(),
        n => format!(
            "; {n} earlier can no longer be undone, because the store no longer keeps the state before them"
        ),
    };
    Ok(Some(match what {
        "undo" => {
            let count = request.count.unwrap_or(1);
            if count == 0 || count > done.len() {
                return Err(match done.len() {
                    0 => Status::new(409, NOTHING_TO_UNDO, format!("there is nothing to undo{gone}")),
                    n => {
                        let message = format!("{count} steps cannot be undone: there are {n}{gone}");
                        Status::new(409, FEWER_STEPS, &message)
                    }
                });
            }
            let gone: Vec<Step> = done.iter().rev().take(count).cloned().collect();
            let to = gone.last().map_or(0, |s| s.first - 1);
            Journey { to, steps: gone, undone, way: Way::Undo(to), within: None, unchanged, agreed }
        }
        "redo" => {
            let Some(last) = undone.pop().filter(|last| !last.is_forgotten()) else {
                return Err(Status::new(409, NOTHING_TO_REDO, "there is nothing to redo"));
            };
            if last.before < oldest {
                let message =
                    "there is nothing to redo: the store no longer keeps the state before the last undo";
                return Err(Status::new(409, NOTHING_TO_REDO, message));
            }
            let steps = &state.cache.steps;
            let again = last.steps.iter().rev().filter_map(|id| steps.find(id)).collect();
            let (to, within) = (last.before, last.within);
            Journey { to, steps: again, undone, way: Way::Redo(to), within, unchanged, agreed }
        }
        "rewind" => {
            let current = state.kv.revision();
            let to = request.revision.unwrap_or_default();
            if to < 1 || to > current {
                let message = format!("revision {to} is none of this cluster's: the newest is {current}");
                return Err(Status::new(400, NO_SUCH_REVISION, &message));
            }
            let within = request.namespaces.clone();
            // Where nothing goes back, no step is undone.
            let is_undone = |s: &&Step| s.first > to && within.as_ref().is_none_or(|all| !all.is_empty());
            let gone = done.iter().rev().filter(is_undone).cloned().collect();
            // Also where only some namespaces go back, what came since cannot be undone one by one
            // any more: its beginnings lie among what went.
            Journey { to, steps: gone, undone, way: Way::Rewind(to), within, unchanged, agreed }
        }
        _ => return Ok(None),
    }))
}
