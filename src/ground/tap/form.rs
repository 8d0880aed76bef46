//! The JSON form of a record, and the verbs of events.
//!
//! In JSON an event is the keys `verb` and `detail` of its record. Several events share a verb: the
//! API server and etcd both `commit`. There the record's component says which one is meant, so the
//! form is read in two steps: [`tag`] finds the variant, then serde reads the detail.

use super::component::Component;
use super::event::Event;
use super::record::{Cause, ObjectRef, Record, Request};
use clock::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

impl Event {
    /// Every verb, in alphabetical order.
    pub const VERBS: [&str; 57] = [
        "admit",
        "aggregate",
        "answer",
        "append",
        "authenticate",
        "authorize",
        "bind",
        "call",
        "collect",
        "commit",
        "compact-log",
        "conf-change",
        "create",
        "cut-torn-tail",
        "disk-failed",
        "disk-full",
        "disk-has-room",
        "election-timeout",
        "endpoints",
        "evict",
        "exec",
        "expire",
        "fault",
        "finalize",
        "install-snapshot",
        "lead",
        "leader",
        "log-goes-on",
        "log-waits",
        "lookup",
        "node-not-ready",
        "now",
        "peer-active",
        "peer-lost",
        "ports",
        "progress",
        "provision",
        "pull",
        "reconcile",
        "refuse",
        "refuse-vote",
        "register",
        "role",
        "rules",
        "sandbox",
        "scale",
        "schedule",
        "sign",
        "start",
        "status",
        "step-down",
        "stop",
        "transfer",
        "truncate",
        "validate",
        "visit",
        "vote",
    ];

    /// Returns the event's verb for people, in JSON, and in the expressions of lessons. Events that
    /// do the same to different kinds share a verb.
    pub const fn verb(&self) -> &'static str {
        match self {
            Event::Admit(_) => "admit",
            Event::Aggregate => "aggregate",
            Event::Answer(_) => "answer",
            Event::Append { .. } => "append",
            Event::Authenticate { .. } => "authenticate",
            Event::Authorize => "authorize",
            Event::Bind { .. } | Event::BindVolume { .. } => "bind",
            Event::Call(_) => "call",
            Event::Collect => "collect",
            Event::Commit(_) | Event::CommitEntry { .. } => "commit",
            Event::CompactLog { .. } => "compact-log",
            Event::ConfChange { .. } => "conf-change",
            Event::CreateReplicaSet { .. } | Event::CreateJob { .. } => "create",
            Event::CutTornTail { .. } => "cut-torn-tail",
            Event::DiskFailed { .. } => "disk-failed",
            Event::DiskFull { .. } => "disk-full",
            Event::DiskHasRoom {} => "disk-has-room",
            Event::ElectionTimeout { .. } => "election-timeout",
            Event::Endpoints { .. } => "endpoints",
            Event::Evict => "evict",
            Event::Exec { .. } => "exec",
            Event::Expire {} => "expire",
            Event::Fault(_) => "fault",
            Event::Finalize => "finalize",
            Event::InstallSnapshot { .. } => "install-snapshot",
            Event::Lead => "lead",
            Event::Leader { .. } => "leader",
            Event::LogGoesOn {} => "log-goes-on",
            Event::LogWaits { .. } => "log-waits",
            Event::Lookup(_) => "lookup",
            Event::NodeNotReady => "node-not-ready",
            Event::Now => "now",
            Event::PeerActive(_) => "peer-active",
            Event::PeerLost(_) => "peer-lost",
            Event::Ports { .. } => "ports",
            Event::Progress { .. } => "progress",
            Event::Provision { .. } => "provision",
            Event::Pull { .. } => "pull",
            Event::ReconcileReplicaSet { .. }
            | Event::ReconcileDaemonSet { .. }
            | Event::ReconcileStatefulSet { .. }
            | Event::ReconcileJob { .. }
            | Event::ReconcileBudget { .. }
            | Event::ReconcileQuota { .. } => "reconcile",
            Event::Refuse => "refuse",
            Event::RefuseVote { .. } => "refuse-vote",
            Event::Register => "register",
            Event::Role { .. } => "role",
            Event::Rules { .. } => "rules",
            Event::Sandbox { .. } => "sandbox",
            Event::ScaleReplicaSet { .. } | Event::ScaleTarget { .. } => "scale",
            Event::Schedule(_) => "schedule",
            Event::Sign => "sign",
            Event::Start { .. } => "start",
            Event::Status { .. } => "status",
            Event::StepDown { .. } => "step-down",
            Event::Stop { .. } => "stop",
            Event::Transfer { .. } => "transfer",
            Event::Truncate { .. } => "truncate",
            Event::Validate => "validate",
            Event::Visit { .. } => "visit",
            Event::Vote { .. } => "vote",
        }
    }

    /// Returns the detail of the JSON form; null if the event has none.
    pub fn detail(&self) -> Value {
        let form = serde_json::to_value(self).unwrap_or_default(); // no field has keys but text
        let mut detail = match form {
            Value::Object(mut form) => form.remove("detail").unwrap_or_default(),
            _ => Value::Null,
        };
        // An update is written as nothing, not as `{}`.
        if matches!((self, detail.as_object()), (Event::Commit(_), Some(set)) if set.is_empty()) {
            detail = Value::Null;
        }
        detail
    }

    /// Reads an event of a component from its JSON form. For example `commit` of `etcd` with
    /// `{"index": 7, "term": 2}` is [`Event::CommitEntry`].
    ///
    /// # Errors
    /// No event of this version has this verb with such a detail.
    pub fn read(component: Component, verb: &str, detail: Value) -> Result<Event, String> {
        let form = |detail: Value| {
            let keys = [("verb".to_string(), tag(component, verb).into()), ("detail".to_string(), detail)];
            serde_json::from_value::<Event>(Value::Object(Map::from_iter(keys)))
        };
        let read = match detail {
            // Of an event without fields, or of one whose fields all have their defaults.
            Value::Null => form(Value::Null).or_else(|_| form(Value::Object(Map::new()))),
            // An event that has no fields here may have some in a later version.
            detail => form(detail).or_else(|error| form(Value::Null).map_err(|_| error)),
        };
        match read {
            Ok(event) if event.verb() == verb => Ok(event),
            Ok(_) => Err(format!("{component} has no event {verb:?}")),
            Err(error) => Err(format!("{component} has no event {verb:?} like this one: {error}")),
        }
    }
}

/// Returns the name that serde knows a variant by: its verb, or a longer name where components
/// share a verb. For example `scale` of the autoscaler is `scale-target`.
fn tag(component: Component, verb: &str) -> &str {
    match (verb, component) {
        ("commit", Component::Etcd) => "commit-entry",
        ("bind", Component::PersistentVolumeController) => "bind-volume",
        ("create", Component::CronJobController) => "create-job",
        ("create", _) => "create-replica-set",
        ("scale", Component::HorizontalPodAutoscaler) => "scale-target",
        ("scale", _) => "scale-replica-set",
        ("reconcile", Component::DaemonSetController) => "reconcile-daemon-set",
        ("reconcile", Component::StatefulSetController) => "reconcile-stateful-set",
        ("reconcile", Component::JobController) => "reconcile-job",
        ("reconcile", Component::DisruptionController) => "reconcile-budget",
        ("reconcile", Component::ResourceQuotaController) => "reconcile-quota",
        ("reconcile", _) => "reconcile-replica-set",
        (verb, _) => verb,
    }
}

impl Serialize for Component {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Component {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Component, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

/// A record as it is written: the keys in their order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    seq: u64,
    at: Timestamp,
    node: &'a str,
    component: Component,
    verb: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: &'a Option<ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: &'a Option<Cause>,
    took_us: u64,
    #[serde(skip_serializing_if = "Value::is_null")]
    detail: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: &'a Option<Request>,
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Record { seq, at, node, component, object, revision, cause, took_us, event, request, .. } = self;
        let (verb, detail) = (event.verb(), event.detail());
        let (seq, at, component, revision, took_us) = (*seq, *at, *component, *revision, *took_us);
        Written { seq, at, node, component, verb, object, revision, cause, took_us, detail, request }
            .serialize(serializer)
    }
}

/// A record as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    seq: u64,
    at: Timestamp,
    node: String,
    component: Component,
    verb: String,
    #[serde(default)]
    object: Option<ObjectRef>,
    #[serde(default)]
    revision: Option<u64>,
    #[serde(default)]
    cause: Option<Cause>,
    took_us: u64,
    #[serde(default)]
    detail: Value,
    #[serde(default)]
    request: Option<Request>,
}

impl<'de> Deserialize<'de> for Record {
    /// Reads a record of this version. One of another version is refused if it holds an event
    /// that this version does not know; the error names the record, the component and the verb.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Record, D::Error> {
        let Read { seq, at, node, component, verb, object, revision, cause, took_us, detail, request } =
            Read::deserialize(deserializer)?;
        let event = Event::read(component, &verb, detail)
            .map_err(|why| serde::de::Error::custom(format!("record {seq}: {why}")))?;
        Ok(Record { seq, at, node, component, event, object, revision, cause, took_us, request, body: None })
    }
}
