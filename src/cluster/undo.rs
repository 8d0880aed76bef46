//! Going back in time, asked on the control socket and done by the API server.

use super::control::Reply;
use super::error::{Error, chain};
use super::refusal::Refusal;
use super::world::World;
use clock::{self, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tap::Record;

/// A question about the cluster's past, or an act that goes back in it: what `ropewalk undo`,
/// `redo` and `rewind` send.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Past {
    /// Lists the steps that can be undone and redone.
    Steps,
    /// Takes the newest steps back.
    Undo {
        /// How many, 1 or more.
        count: usize,
    },
    /// Does the step again that was undone last.
    Redo,
    /// Brings every object back to what it was at a moment.
    Rewind {
        /// The moment.
        to: Moment,
    },
    /// Goes back in some namespaces alone, with what is in them; everything else stays as it is.
    RewindWithin {
        /// The moment.
        to: Moment,
        /// Names of the namespaces that go back.
        namespaces: BTreeSet<String>,
    },
    /// What people made or changed since then that this would remove or change back, beyond the
    /// steps that it undoes: answers with `lost: [{resource, group, namespace, name, removed}]`.
    Plan {
        /// The act that is planned: undo, redo or rewind.
        of: Box<Past>,
    },
    /// Does it if that is still what a plan said: refused if a person has begun another step since.
    Agreed {
        /// The act that was planned.
        of: Box<Past>,
        /// What the answer to the plan said.
        plan: Agreed,
    },
}

/// What identifies a plan: the revision that it was made at, and the one that it goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// The revision that the plan was made at.
    pub known: i64,
    /// The revision that it goes back to.
    pub to: i64,
}

impl Past {
    /// Returns the act of which a plan gave this answer, bound to that plan. A moment becomes the
    /// revision that the plan found for it: the same words (`5m` ago) mean another one by now.
    pub fn agreed(self, answer: &Value) -> Past {
        let Ok(plan) = Agreed::deserialize(answer) else { return self };
        let to = Moment::Revision(plan.to);
        let of = match self {
            Past::Rewind { .. } => Past::Rewind { to },
            Past::RewindWithin { namespaces, .. } => Past::RewindWithin { to, namespaces },
            other => other,
        };
        Past::Agreed { of: Box::new(of), plan }
    }

    /// Returns the command that people ask for it with.
    pub(crate) fn command(&self) -> &'static str {
        match self {
            Past::Steps | Past::Undo { .. } => "undo",
            Past::Redo => "redo",
            Past::Rewind { .. } | Past::RewindWithin { .. } => "rewind",
            Past::Plan { of } | Past::Agreed { of, .. } => of.command(),
        }
    }

    /// Returns the act that goes back to a revision: in these namespaces, or everywhere if they are
    /// not known.
    pub fn back(revision: i64, namespaces: Option<BTreeSet<String>>) -> Past {
        let to = Moment::Revision(revision);
        match namespaces {
            Some(namespaces) => Past::RewindWithin { to, namespaces },
            None => Past::Rewind { to },
        }
    }
}

/// An object that a person made or changed, and that going back would remove or change back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loss {
    /// The plural.
    pub resource: String,
    /// The API group; empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The object's namespace; empty if it has none.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Whether the object would be gone; else it would be what it was.
    pub removed: bool,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.resource, self.name)?;
        match self.namespace.as_str() {
            "" | "default" => Ok(()),
            namespace => write!(f, " -n {namespace}"),
        }
    }
}

/// Returns the losses that an answer to [`Past::Plan`] names.
pub fn losses(answer: &Value) -> Vec<Loss> {
    serde_json::from_value(answer["lost"].clone()).unwrap_or_default()
}

/// The moment that a rewind goes back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// A resourceVersion.
    Revision(i64),
    /// A time of the clock on the wall.
    At(Timestamp),
    /// So many seconds ago.
    Ago(u64),
}

/// Asks an API server, and returns its answer as the control socket carries it.
pub(crate) async fn ask(world: &World, past: Past) -> Reply {
    match send(world, past).await {
        Ok(value) => Reply::Ok(value),
        Err(error) => error.into(),
    }
}

/// Asks an API server; for callers in this process.
///
/// # Errors
/// [`Error::Refusal`]: nothing to undo or redo, an unknown or compacted revision, a moment before
/// the tap's oldest record, a plan that no longer holds, or no API server answers.
/// [`Error::Message`]: the API server refused for another reason. [`Error::Pki`] and
/// [`Error::Client`]: no client can be made. After a refusal nothing was changed; without an answer
/// that is not known.
pub(crate) async fn send(world: &World, past: Past) -> Result<Value, Error> {
    let (past, plan, agreed) = match past {
        Past::Plan { of } => (*of, true, None),
        Past::Agreed { of, plan } => (*of, false, Some(plan)),
        past => (past, false, None),
    };
    let (method, what, mut body) = match past {
        Past::Steps => ("GET", "steps", Value::Null),
        Past::Undo { count } => ("POST", "undo", json!({ "count": count })),
        Past::Redo => ("POST", "redo", json!({})),
        Past::Rewind { to } => {
            ("POST", "rewind", json!({"revision": revision(world, &to).map_err(Error::Refusal)?}))
        }
        Past::RewindWithin { to, namespaces } => {
            let revision = revision(world, &to).map_err(Error::Refusal)?;
            ("POST", "rewind", json!({"revision": revision, "namespaces": namespaces}))
        }
        Past::Plan { .. } | Past::Agreed { .. } => {
            return Err(Error::Message("a plan of a plan was asked for".into()));
        }
    };
    if let Some(agreed) = agreed
        && !body.is_null()
    {
        body["agreed"] = json!(agreed);
    }
    if plan && !body.is_null() {
        body["plan"] = true.into();
    }
    let asked = body.clone();
    let body = if body.is_null() { vec![] } else { body.to_string().into_bytes() };
    let request = http::Request::builder()
        .method(method)
        .uri(format!("/ropewalk/v1/{what}"))
        .header("content-type", "application/json")
        .body(body)
        .map_err(|e| Error::Message(e.to_string()))?;
    let agent = format!("ropewalk/{}", api::VERSION);
    let client = world.client("", tap::TEACHER, "system:masters", &agent, world.dialer())?;
    client.kube().request::<Value>(request).await.map_err(|error| match error {
        kube::Error::Api(status) => refusal(&status.reason, &asked)
            .map_or_else(|| Error::Message(status.message.clone()), Error::Refusal),
        other => no_answer(&other),
    })
}

/// Says that a request was not answered. The innermost cause is enough: the others only name the
/// layers of the client.
fn no_answer(error: &kube::Error) -> Error {
    if !matches!(error, kube::Error::Service(_) | kube::Error::HyperError(_)) {
        return Error::Message(chain(error));
    }
    let error: &(dyn std::error::Error + 'static) = error;
    let cause = std::iter::successors(Some(error), |e| e.source()).last();
    Refusal::NoAnswer { why: cause.map(ToString::to_string).unwrap_or_default() }.into()
}

/// Returns the refusal that the API server's reason stands for; `asked` is the request's body.
fn refusal(reason: &str, asked: &Value) -> Option<Refusal> {
    let number = |key: &str| asked[key].as_i64().unwrap_or_default();
    Some(match reason {
        apiserver::NOTHING_TO_UNDO => Refusal::NothingToUndo,
        apiserver::NOTHING_TO_REDO => Refusal::NothingToRedo,
        apiserver::FEWER_STEPS => {
            // A `usize`, so it may be larger than any `i64`.
            Refusal::FewerSteps { asked: asked["count"].as_u64().unwrap_or_default() as usize }
        }
        apiserver::PLAN_CHANGED => Refusal::PlanChanged,
        apiserver::BEFORE_ADDONS => Refusal::BeforeAddons,
        apiserver::NO_SUCH_REVISION => Refusal::NoSuchRevision { revision: number("revision") },
        // A request to undo names no revision. Then the API server's message stays, which names it.
        "Expired" => Refusal::RevisionGone { revision: asked["revision"].as_i64()? },
        _ => return None,
    })
}

/// Returns the last revision that was committed by then, as far as the tap remembers.
fn revision(world: &World, moment: &Moment) -> Result<i64, Refusal> {
    let at = match moment {
        Moment::Revision(revision) => return Ok(*revision),
        Moment::At(at) => *at,
        Moment::Ago(seconds) => clock::before(clock::now(), Duration::from_secs(*seconds)),
    };
    let records = world.tap.since(0);
    let found = last_by(&records, at);
    found.map(|r| r as i64).ok_or_else(|| too_long_ago(&records, clock::now()))
}

/// Says from when on moments are remembered. Right after a start that is `now`: there was no write.
fn too_long_ago(records: &[Arc<Record>], now: Timestamp) -> Refusal {
    Refusal::TooLongAgo { oldest: clock::rfc3339(oldest_write(records).unwrap_or(now)) }
}

/// Returns whether the record tells of a write, whose revision a moment can lead to.
fn is_write(record: &Record) -> bool {
    record.request.is_some() && record.revision.is_some()
}

/// Returns the time of the oldest write that the tap remembers. Records of reads may be older: they
/// are kept apart from those of writes, and lead to no revision.
fn oldest_write(records: &[Arc<Record>]) -> Option<Timestamp> {
    records.iter().filter(|r| is_write(r)).map(|r| r.at).min()
}

/// Returns the highest revision of all records of this time or an earlier one. Revisions do not
/// rise from one record to the next: requests are recorded side by side, each after its own commit.
/// Times may run backwards, when the machine's clock is set.
///
/// Example: revisions 97, 94, 95 within a few milliseconds, and then nothing for a minute. A moment
/// in that minute is revision 97: with 95 a rewind would take back two writes too many.
fn last_by(records: &[Arc<Record>], at: Timestamp) -> Option<u64> {
    let by_then = records.iter().filter(|r| is_write(r) && r.at <= at);
    by_then.filter_map(|r| r.revision).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn record(time: &str, revision: u64) -> Arc<Record> {
        let mut record = Record::new(tap::Event::Commit(tap::Write::UPDATED)).revision(revision);
        record.at = at(time);
        record.request = Some(tap::Request::default());
        Arc::new(record)
    }

    /// A tenth of the commits of a busy cluster is recorded behind a later one.
    #[test]
    fn a_moment_after_commits_that_were_recorded_out_of_order_loses_none_of_them() {
        let records = [
            record("2026-11-20T10:00:00.188Z", 97),
            record("2026-11-20T10:00:00.194Z", 94),
            record("2026-11-20T10:00:00.199Z", 95),
            record("2026-11-20T10:01:00Z", 98),
        ];
        assert_eq!(last_by(&records, at("2026-11-20T10:00:30Z")), Some(97));
        assert_eq!(last_by(&records, at("2026-11-20T10:00:00.195Z")), Some(97));
        assert_eq!(last_by(&records, at("2026-11-20T10:01:00Z")), Some(98));
    }

    /// The clock was an hour fast, and was then set.
    #[test]
    fn a_clock_that_was_set_makes_a_rewind_go_no_further_back_than_asked() {
        let records = [
            record("2026-11-20T10:00:00Z", 5),
            record("2026-11-20T11:01:00Z", 6),
            record("2026-11-20T10:02:00Z", 7),
            record("2026-11-20T10:04:00Z", 8),
        ];
        assert_eq!(last_by(&records, at("2026-11-20T10:03:00Z")), Some(7));
        assert_eq!(last_by(&records, at("2026-11-20T10:01:00Z")), Some(5));
        assert_eq!(last_by(&records, at("2026-11-20T09:00:00Z")), None);
    }

    /// Otherwise `rewind 10:01:00` is refused with "nothing is remembered from before 09:00:00".
    #[test]
    fn a_read_that_is_older_than_all_writes_is_nothing_to_go_back_to() {
        let record = |time: &str, revision: Option<u64>| {
            let event = if revision.is_some() {
                tap::Event::Commit(tap::Write::UPDATED)
            } else {
                tap::Event::Authorize
            };
            let mut record = Record { revision, ..Record::new(event) };
            record.at = at(time);
            record.request = Some(tap::Request::default());
            Arc::new(record)
        };
        let write = "2026-11-20T10:02:00Z";
        let records = [
            record("2026-11-20T09:00:00Z", None),
            record(write, Some(5)),
            record("2026-11-20T10:03:00Z", Some(6)),
        ];
        assert_eq!(last_by(&records, at("2026-11-20T10:01:00Z")), None);
        assert_eq!(oldest_write(&records), Some(at(write)));
        assert_eq!(oldest_write(&records[..1]), None);
        let refusal = |records: &[Arc<Record>]| too_long_ago(records, at("2026-11-20T11:00:00Z"));
        assert_eq!(refusal(&records[..]), Refusal::TooLongAgo { oldest: write.into() });
        assert_eq!(refusal(&[]), Refusal::TooLongAgo { oldest: "2026-11-20T11:00:00Z".into() });
    }

    /// The only control plane is off.
    #[test]
    fn a_request_without_an_answer_says_where_to_look() {
        let refused = std::io::Error::from_raw_os_error(libc::ECONNREFUSED);
        let error = no_answer(&kube::Error::Service(refused.into()));
        assert!(!error.say(lang::Lang::Ko).is_ascii());
        let said = error.say(lang::Lang::En);
        assert!(said.starts_with("no API server answers (Connection refused"), "{said}");
        assert!(said.contains("`ropewalk status`") && !said.contains("ServiceError"), "{said}");
    }

    #[test]
    fn a_refusal_names_the_number_of_steps_that_was_asked_for() {
        for count in [3, usize::MAX] {
            let refused = refusal(apiserver::FEWER_STEPS, &json!({ "count": count }));
            assert_eq!(refused, Some(Refusal::FewerSteps { asked: count }));
        }
    }

    /// Such a revision was said to be none of the cluster's, with a list of steps in which it is.
    #[test]
    fn a_way_back_to_before_the_addons_is_refused_in_both_languages() {
        for asked in [json!({}), json!({"revision": 7})] {
            let refused = refusal(apiserver::BEFORE_ADDONS, &asked);
            assert_eq!(refused, Some(Refusal::BeforeAddons));
        }
        assert!(Refusal::BeforeAddons.say(lang::Lang::En).contains("addons (DNS"));
        assert!(Refusal::BeforeAddons.say(lang::Lang::Ko).contains("애드온(DNS"));
    }

    /// The store was compacted between the plan of the undo and its reads.
    #[test]
    fn a_revision_that_is_gone_is_named_only_by_a_person_who_asked_for_one() {
        let of = |asked: Value| refusal("Expired", &asked);
        assert_eq!(of(json!({"revision": 5})), Some(Refusal::RevisionGone { revision: 5 }));
        assert_eq!(of(json!({"count": 1})), None, "revision 0 is none");
        assert_eq!(of(json!({})), None);
    }

    /// Between the question and the answer of a person `5m` has come to mean a later revision.
    #[test]
    fn what_was_agreed_to_goes_where_the_plan_went() {
        let answer = json!({"known": 20, "to": 14, "lost": [], "steps": []});
        let plan = Agreed { known: 20, to: 14 };
        let Past::Agreed { of, plan: bound } = (Past::Rewind { to: Moment::Ago(300) }).agreed(&answer) else {
            panic!("it is not bound to the plan");
        };
        assert!(matches!(*of, Past::Rewind { to: Moment::Revision(14) }), "{of:?}");
        assert_eq!(bound, plan);
        let Past::Agreed { of, plan: bound } = (Past::Undo { count: 2 }).agreed(&answer) else {
            panic!("it is not bound to the plan");
        };
        assert!(matches!(*of, Past::Undo { count: 2 }), "{of:?}");
        assert_eq!(bound, plan);
    }
}
