//! Eviction: a delete that asks the pod's disruption budget first (`pods/eviction`).
//!
//! The budget's controller counts what is healthy; the API server only spends what the status
//! allows, one disruption an eviction, in the same optimistic way as any other write. So two drains
//! at the same time never spend one twice.

use crate::admission;
use crate::registry::delete::{self, Options};
use crate::registry::pod::{kind_of_pods, set_condition};
use crate::registry::strategy::{Part, set_namespace};
use crate::registry::write::modify;
use crate::request::context::Context;
use crate::request::decode::EVICTION;
use crate::request::http::{Answer, json};
use crate::state::State;
use crate::storage::extra::Extra;
use crate::storage::store::{Deadline, Refused};
use api::errors::Errors;
use api::kinds::{self, Kind};
use api::labels::Selector;
use api::value::{self, at, int, list, text};
use api::{Status, meta};
use bytes::Bytes;
use clock::{self, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tap::{Event, Record, Write};

/// How often an eviction looks again at a pod that changes. Source: `EvictionsRetry`.
const TRIES: usize = 20;
/// The pause before each further look.
const PAUSE: Duration = Duration::from_millis(500);
/// Evicted pods that a budget remembers, at most; more say that its controller does not work.
const DISRUPTED_MAX: usize = 2000;
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
const MANY: &str =
    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";

/// Evicts a pod. `kubectl drain` asks for it for each pod, instead of a delete:
///
/// ```text
/// no budget selects it               deleted
/// its budget allows one more         the budget is written first, then the pod is deleted
/// its budget allows none             429, the client tries again after some seconds
/// two budgets select it              500: which one to ask is not defined
/// it has not started, or has ended   deleted, no budget is asked
/// ```
pub(crate) async fn evict(state: &Arc<State>, ctx: &Context, body: &Bytes) -> Result<Answer, Status> {
    let mut eviction = EVICTION.read(ctx, body)?;
    let kind = kind_of_pods()?;
    set_namespace(ctx, kind, &mut eviction)?;
    let (namespace, name) = (ctx.info.namespace.clone(), ctx.info.name.clone());
    if meta::name(&eviction) != name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    check_reads_what_goes(&eviction)?;
    let mut requested = Options { dry_run: ctx.dry_run, ..Options::default() };
    requested.read(at(&eviction, "deleteOptions"))?;
    admission::policies::check_creation_below(state, ctx, kind, &eviction)?;
    let (deadline, mut tries) = (Deadline::new(), 0);
    loop {
        deadline.check()?;
        tries += 1;
        let pod = state.get(kind, &namespace, &name).await?;
        admission::nodes::removal(ctx, kind, &pod.value)?;
        let mut options = requested.clone();
        let free = is_disrupted(&pod.value);
        // It may go because of what it is now: not if it became healthy meanwhile. What has ended
        // or is ending stays so.
        let budget = match free {
            true => None,
            false => ask_budget(state, ctx, &pod.value, options.dry_run).await?,
        };
        let only_as_it_is = if free { !is_over(&pod.value) } else { budget.is_some() };
        let pinned = only_as_it_is && options.version.is_none();
        if pinned {
            options.version = Some(meta::resource_version(&pod.value).to_string());
        }
        let done = match options.dry_run {
            true => delete::remove(state, ctx, kind, &namespace, &name, &options).await.map(drop),
            false => mark_and_remove(state, ctx, kind, &name, options).await,
        };
        match done {
            // It is judged again as it is now, unless it is not the pod that the client means.
            Err(status) if status.reason == "Conflict" && pinned && free && tries < TRIES => {
                delete::preconditions(kind, &pod.value, &requested)?;
                clock::pause(PAUSE).await;
            }
            // The client comes again, unless it means another pod of this name. One that names a
            // version of its own is answered with the conflict: that version never comes back.
            Err(status) if status.reason == "Conflict" && pinned => {
                delete::preconditions(kind, &pod.value, &requested)?;
                return Err(budget.map_or(status, |name| refused(&being_processed(&name), 10)));
            }
            Err(status) => return Err(status),
            Ok(()) => {
                let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
                return Ok(json(201, &done));
            }
        }
    }
}

/// Checks that an eviction does not ask for the removal of a pod that cannot be read: no budget
/// could be asked for it.
///
/// # Errors
/// 422 if it does.
fn check_reads_what_goes(eviction: &Value) -> Result<(), Status> {
    const FIELD: &str = "deleteOptions.ignoreStoreReadErrorWithClusterBreakingPotential";
    if !value::flag(eviction, FIELD) {
        return Ok(());
    }
    let mut errors = Errors::default();
    errors.invalid(FIELD, &true.into(), "can not be set for pod eviction, try after removing the option");
    Err(Status::invalid("policy", "Eviction", meta::name(eviction), &errors))
}

/// Returns whether a pod has ended, is ending or has not started: its eviction disrupts nothing
/// that a budget guards.
fn is_disrupted(pod: &Value) -> bool {
    is_over(pod) || text(pod, "status.phase") == "Pending"
}

/// Returns whether a pod has ended or is ending.
fn is_over(pod: &Value) -> bool {
    meta::is_terminating(pod) || matches!(text(pod, "status.phase"), "Succeeded" | "Failed")
}

/// Writes the condition `DisruptionTarget`, by which a Job knows that the pod's end is not its
/// program's fault, then deletes. A pod that is ending already gets it, too (as upstream): its
/// program may be running still when the node is drained.
async fn mark_and_remove(
    state: &Arc<State>,
    ctx: &Context,
    kind: &'static Kind,
    name: &str,
    mut options: Options,
) -> Result<(), Status> {
    let marked = modify(state, ctx, kind, Part::Internal, name, |old| {
        delete::preconditions(kind, old, &options)?;
        let mut pod = old.clone();
        value::remove(&mut pod, "metadata.resourceVersion");
        let why = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"});
        set_condition(&mut pod, why);
        Ok(pod)
    })
    .await?;
    if options.version.is_some() {
        options.version = Some(meta::resource_version(&marked.value).to_string());
    }
    delete::remove(state, ctx, kind, &ctx.info.namespace, name, &options).await.map(drop)
}

/// What a budget says to one eviction.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// The pod is not healthy, so its end costs nothing.
    Free,
    /// The budget after it.
    Spend(Value),
    Refuse(Status),
}

/// Asks the pod's budget, if it has one, and spends one disruption of it. Returns the budget's name
/// if the pod may go only as it is now, which costs nothing.
///
/// # Errors
/// 429 if the budget refuses.
async fn ask_budget(
    state: &State,
    ctx: &Context,
    pod: &Value,
    dry_run: bool,
) -> Result<Option<String>, Status> {
    let kind = kinds::find("policy", "v1", "PodDisruptionBudget")
        .ok_or_else(|| Status::internal("budgets are not served"))?;
    let mut last = String::new();
    let deadline = Deadline::new();
    while deadline.check().is_ok() {
        state.fresh().await?;
        let all = state.cache.list(kind.place(), &format!("{}/", meta::namespace(pod))).objects;
        let labels = at(pod, "metadata.labels");
        let mut mine = all
            .into_iter()
            .map(|(_, b)| b)
            .filter(|b| Selector::of(at(&b.value, "spec.selector")).is_some_and(|s| s.matches(labels)));
        let Some(budget) = mine.next() else { return Ok(None) };
        if mine.next().is_some() {
            return Err(Status::new(500, "", MANY));
        }
        let new = match judge(&budget.value, pod, clock::now()) {
            Verdict::Free => return Ok(Some(meta::name(&budget.value).to_string())),
            Verdict::Refuse(status) => return Err(status),
            Verdict::Spend(_) if dry_run => return Ok(None),
            Verdict::Spend(new) => new,
        };
        last = meta::name(&new).to_string();
        let extra = Extra { of_component: ctx.user.may_repair(), ..Extra::default() };
        match state.write(kind, new, budget.revision, &extra).await {
            Ok(made) => {
                let record = Record::new(Event::Commit(Write::UPDATED)).revision(made.revision as u64);
                let record = record.object(kind.plural, meta::namespace(pod), &last);
                ctx.record_other(record, Some(made.bytes.clone()));
                return Ok(None);
            }
            Err(Refused::Changed) => {}
            Err(Refused::Error(status)) => return Err(status),
        }
    }
    Err(in_conflict(&last))
}

/// Returns the refusal of an eviction whose budget other writers change all the time.
fn in_conflict(budget: &str) -> Status {
    Status::timeout(format!("couldn't update PodDisruptionBudget {budget:?} due to conflicts"))
        .with(json!({"retryAfterSeconds": 10}))
}

fn being_processed(budget: &str) -> String {
    format!("The disruption budget {budget} is still being processed by the server.")
}

fn refused(cause: &str, retry_secs: u32) -> Status {
    let mut details = json!({"causes": [{"reason": "DisruptionBudget", "message": cause}]});
    if retry_secs > 0 {
        details["retryAfterSeconds"] = retry_secs.into();
    }
    Status::new(429, "TooManyRequests", REFUSED).with(details)
}

fn is_ready(pod: &Value) -> bool {
    list(pod, "status.conditions").iter().any(|c| text(c, "type") == "Ready" && text(c, "status") == "True")
}

/// Decides whether this pod, which runs, may be evicted.
///
/// At least 2 pods have to be healthy:
///
/// ```text
/// 3 healthy, allowed 1, pod ready        Spend: allowed 0, the pod is noted in disruptedPods
/// 2 healthy, allowed 0, pod ready        Refuse
/// 3 healthy, pod not ready               Free: it is not among the three
/// 1 healthy, allowed 0, pod not ready    Refuse: it may become the second healthy one
/// the same, policy AlwaysAllow           Free
/// status older than the spec             Refuse: it counts by the old spec
/// ```
///
/// AlwaysAllow (KEP-3017) is for programs that never become ready: a drain would wait for ever.
fn judge(budget: &Value, pod: &Value, now: Timestamp) -> Verdict {
    let status = |field: &str| int(budget, &format!("status.{field}")).unwrap_or(0);
    let name = meta::name(budget);
    let (healthy, desired) = (status("currentHealthy"), status("desiredHealthy"));
    let always = text(budget, "spec.unhealthyPodEvictionPolicy") == "AlwaysAllow";
    if !is_ready(pod) && (always || (healthy >= desired && desired > 0)) {
        return Verdict::Free;
    }
    if status("observedGeneration") < meta::generation(budget) {
        return Verdict::Refuse(refused(&being_processed(name), 10));
    }
    let forbidden = |why| Verdict::Refuse(Status::forbidden("policy", "poddisruptionbudget", name, why));
    let allowed = status("disruptionsAllowed");
    if allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    if value::map(budget, "status.disruptedPods").is_some_and(|m| m.len() > DISRUPTED_MAX) {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        return Verdict::Refuse(refused(&why_not(budget, healthy, desired), 0));
    }
    let mut new = budget.clone();
    value::put(&mut new, "status.disruptionsAllowed", allowed - 1);
    let disrupted = value::slot_map(&mut new, "status.disruptedPods");
    disrupted.insert(meta::name(pod).into(), clock::rfc3339(now).into());
    if allowed == 1 {
        allow_no_more(&mut new, now);
    }
    Verdict::Spend(new)
}

/// Sets the condition of a budget whose last disruption is spent (upstream:
/// `UpdateDisruptionAllowedCondition`).
fn allow_no_more(budget: &mut Value, now: Timestamp) {
    const KIND: &str = "DisruptionAllowed";
    let mut all = list(budget, "status.conditions").to_vec();
    let known = all.iter().position(|condition| text(condition, "type") == KIND);
    let before = known.map(|i| &all[i]).filter(|condition| text(condition, "status") == "False");
    let since =
        before.map_or_else(|| clock::rfc3339(now), |before| text(before, "lastTransitionTime").to_string());
    let mut condition = json!({"type": KIND, "status": "False", "reason": "InsufficientPods",
        "message": "", "lastTransitionTime": since});
    value::copy(&budget["status"], &mut condition, "observedGeneration");
    match known {
        Some(i) => all[i] = condition,
        None => all.push(condition),
    }
    value::put(budget, "status.conditions", all);
}

/// Returns the cause that a refused eviction carries.
fn why_not(budget: &Value, healthy: i64, desired: i64) -> String {
    let name = meta::name(budget);
    let conditions = list(budget, "status.conditions");
    let failed = conditions.iter().find(|c| {
        text(c, "type") == "DisruptionAllowed"
            && text(c, "status") == "False"
            && !text(c, "message").is_empty()
    });
    match failed {
        // Its counts are not to be trusted then.
        Some(c) if text(c, "reason") == "SyncFailed" => format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
            text(c, "message")
        ),
        _ if healthy <= desired => {
            format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
        }
        Some(c) => format!(
            "The disruption budget {name} does not allow evicting pods currently ({}): {}",
            text(c, "reason"),
            text(c, "message")
        ),
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(allowed: i64, healthy: i64, desired: i64) -> Value {
        json!({"metadata": {"name": "b", "generation": 2}, "status": {"observedGeneration": 2, "disruptionsAllowed": allowed,
            "currentHealthy": healthy, "desiredHealthy": desired,
            "conditions": [{"type": "DisruptionAllowed", "status": "True", "reason": "SufficientPods"}]}})
    }
    fn pod(ready: &str) -> Value {
        json!({"metadata": {"name": "p"}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}})
    }
    fn cause(verdict: Verdict) -> String {
        match verdict {
            Verdict::Refuse(status) => {
                status.details["causes"][0]["message"].as_str().unwrap_or_default().to_string()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_disruption_is_spent_and_remembered() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let Verdict::Spend(after) = judge(&budget(1, 3, 2), &pod("True"), now) else { panic!("refused") };
        assert_eq!(int(&after, "status.disruptionsAllowed"), Some(0));
        assert_eq!(at(&after, "status.disruptedPods"), &json!({"p": "2026-01-02T03:04:05Z"}));
        let time = "2026-01-02T03:04:05Z";
        let want = json!([{"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods",
            "message": "", "lastTransitionTime": time, "observedGeneration": 2}]);
        assert_eq!(at(&after, "status.conditions"), &want);
        let mut unsaid = budget(1, 3, 2);
        value::remove(&mut unsaid, "status.conditions");
        let Verdict::Spend(after) = judge(&unsaid, &pod("True"), now) else { panic!("refused") };
        assert_eq!(at(&after, "status.conditions"), &want, "a budget without the condition gets it");
        let why = cause(judge(&budget(0, 2, 2), &pod("True"), now));
        assert_eq!(why, "The disruption budget b needs 2 healthy pods and has 2 currently");
    }

    #[test]
    fn an_unhealthy_pod_goes_for_nothing_if_the_rest_is_well_or_the_budget_says_so() {
        let now = clock::now();
        assert_eq!(judge(&budget(0, 2, 2), &pod("False"), now), Verdict::Free);
        assert!(matches!(judge(&budget(0, 1, 2), &pod("False"), now), Verdict::Refuse(_)));
        let mut always = budget(0, 1, 2);
        value::put(&mut always, "spec.unhealthyPodEvictionPolicy", "AlwaysAllow");
        assert_eq!(judge(&always, &pod("False"), now), Verdict::Free);
        assert!(matches!(judge(&always, &pod("True"), now), Verdict::Refuse(_)));
    }

    #[test]
    fn a_budget_that_nobody_counted_yet_lets_nothing_go() {
        let mut fresh = budget(5, 5, 0);
        value::put(&mut fresh, "status.observedGeneration", 1);
        let Verdict::Refuse(status) = judge(&fresh, &pod("True"), clock::now()) else { panic!("allowed") };
        assert_eq!(status.details["retryAfterSeconds"], 10);
    }

    /// The texts and codes of upstream's `checkAndDecrement`.
    #[test]
    fn a_budget_that_refuses_says_why() {
        let refused = |budget: &Value| match judge(budget, &pod("True"), clock::now()) {
            Verdict::Refuse(status) => (status.code, status.message),
            other => panic!("{other:?}"),
        };
        let (code, message) = refused(&budget(-1, 3, 2));
        assert!(code == 403 && message.ends_with("pdb disruptions allowed is negative"), "{message}");
        let mut full = budget(1, 3, 2);
        let pods: serde_json::Map<String, Value> =
            (0..=DISRUPTED_MAX).map(|n| (format!("p{n}"), json!("2026-01-02T03:04:05Z"))).collect();
        value::put(&mut full, "status.disruptedPods", Value::Object(pods));
        let (code, message) = refused(&full);
        assert!(code == 403 && message.contains("DisruptedPods map too big"), "{message}");
        let because = |healthy: i64, condition: Value| {
            let mut none = budget(0, healthy, 2);
            value::put(&mut none, "status.conditions", json!([condition]));
            cause(judge(&none, &pod("True"), clock::now()))
        };
        let says = |reason: &str, message: &str| json!({"type": "DisruptionAllowed", "status": "False", "reason": reason, "message": message});
        let failed = because(1, says("SyncFailed", "no controller"));
        assert!(
            failed.ends_with("because it failed sync: no controller"),
            "its counts do not matter: {failed}"
        );
        assert!(because(2, says("X", "y")).ends_with("needs 2 healthy pods and has 2 currently"));
        assert!(because(3, says("X", "y")).ends_with("does not allow evicting pods currently (X): y"));
        assert!(because(3, json!({})).ends_with("does not allow evicting pods currently"));
    }

    #[test]
    fn an_eviction_with_conflicts_comes_again_after_ten_seconds() {
        let status = in_conflict("b");
        assert_eq!((status.code, &status.details), (504, &json!({"retryAfterSeconds": 10})));
        assert!(status.message.contains("PodDisruptionBudget \"b\" due to conflicts"), "{}", status.message);
    }

    /// A client that is to come again has to know which budget it waits for.
    #[tokio::test]
    async fn a_budget_that_lets_an_unhealthy_pod_go_is_named() {
        let api = crate::testing::Api::bare().await;
        let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
        let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}},
            "unhealthyPodEvictionPolicy": "AlwaysAllow"});
        api.made(budgets, json!({"metadata": {"name": "b"}, "spec": spec})).await;
        let user = crate::auth::user::User::new("admin", &[crate::auth::user::MASTERS]);
        let (info, query, headers) = Default::default();
        let ctx = Context::new("r".into(), user, info, query, headers, api.fixture.tap.clone());
        let mut unready = pod("False");
        unready["metadata"] = json!({"name": "p", "namespace": "default", "labels": {"a": "b"}});
        let asked = ask_budget(api.state(), &ctx, &unready, false).await;
        assert_eq!(asked.map_err(|status| status.message), Ok(Some("b".to_string())));
    }
}
