//! One record of the stream: what happened, to which object, by which request, and why.

use super::component::Component;
use super::event::Event;
use super::parts::{Answer, Write};
use super::who::{actor, is_component, is_person};
use bytes::Bytes;
use clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The cause of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// The store's revision that a watcher saw.
    Revision(u64),
    /// An API request's id.
    Request(String),
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cause::Revision(r) => write!(f, "rev:{r}"),
            Cause::Request(id) => write!(f, "req:{id}"),
        }
    }
}

impl std::str::FromStr for Cause {
    type Err = ();
    /// Reads what `Display` wrote: the form in which a cause travels in an HTTP header.
    fn from_str(s: &str) -> Result<Cause, ()> {
        match s.split_once(':') {
            Some(("rev", r)) => r.parse().map(Cause::Revision).map_err(|_| ()),
            Some(("req", id)) => Ok(Cause::Request(id.to_string())),
            _ => Err(()),
        }
    }
}

/// The object that a record is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// The plural resource name, e.g. `pods`.
    pub resource: String,
    /// The API group of a custom resource, whose plural may be that of another one; empty for all
    /// others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Empty for an object of the whole cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The object's name; for a list or a collection it is empty.
    pub name: String,
}

impl ObjectRef {
    /// Names an object without an API group; a custom resource's `group` is set afterwards. The
    /// namespace of a cluster-wide object is empty.
    pub fn new(
        resource: impl Into<String>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> ObjectRef {
        let (resource, namespace, name) = (resource.into(), namespace.into(), name.into());
        ObjectRef { resource, group: String::new(), namespace, name }
    }

    /// Returns the plural name, with the group of a custom resource: `services`,
    /// `services.example.com`.
    pub fn qualified(&self) -> String {
        match self.group.as_str() {
            "" => self.resource.clone(),
            group => format!("{}.{group}", self.resource),
        }
    }
}

/// An API request, on the records that the API server writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// The `Audit-Id` of the request: unique, and the same in all of its records.
    pub id: String,
    /// The user's name after authentication and impersonation, e.g. `system:kube-scheduler`.
    pub user: String,
    /// Who let themselves be taken for `user` (`--as`); empty: `user` speaks for itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub impersonator: String,
    /// The `User-Agent` header, e.g. `kubectl/v1.35.0`.
    pub user_agent: String,
    /// The `Kubectl-Session` header: one kubectl command, possibly several requests.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// The `Kubectl-Command` header, e.g. `kubectl create`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub verb: String,
    /// e.g. `exec`, `log`, `scale`; empty for the object itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subresource: String,
    /// The client's address is one of the cluster's own network: it is a program in a pod or on a
    /// node, whatever it calls itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inside: bool,
    /// The HTTP status of the answer; 0 before there is one.
    pub code: u16,
    /// Nothing is stored: the query has `dryRun=All`, or it is a read of a kubectl command that
    /// only tries.
    pub dry_run: bool,
}

/// Clients that people use by hand and that, unlike kubectl, send no session: each of their
/// requests is a command of its own, as whatever user it was sent. Programs that ask all day are
/// not among them, and neither is a pod's `curl`: no person types there. These are the first word
/// of a `User-Agent`, e.g. `curl/8.5.0`, in lower case.
const BY_HAND: [&str; 3] = ["curl", "wget", "httpie"];

impl Request {
    /// Returns the client that a person used by hand for a request without a session: `curl` of
    /// `curl/8.5.0`. `None` for a request of kubectl, of a program, and from inside the cluster.
    pub fn by_hand(&self) -> Option<String> {
        let agent = self.user_agent.split(['/', ' ']).next().unwrap_or_default().to_lowercase();
        (!self.inside && self.session.is_empty() && BY_HAND.contains(&agent.as_str())).then_some(agent)
    }

    /// Returns whether a person sent the request, also one that impersonated another user.
    pub fn is_persons(&self) -> bool {
        is_person(actor(&self.user, &self.impersonator))
    }

    /// Returns whether one of the cluster's own components sent the request.
    pub fn is_components(&self) -> bool {
        is_component(actor(&self.user, &self.impersonator))
    }
}

/// One hop. In JSON the event is the keys `verb` and `detail`.
#[derive(Clone, Debug)]
pub struct Record {
    /// Position in the stream, from 1. Records that are no longer kept leave gaps.
    pub seq: u64,
    /// When the hop ended.
    pub at: Timestamp,
    /// The node; empty for what belongs to none.
    pub node: String,
    /// The component that wrote the record.
    pub component: Component,
    /// What happened.
    pub event: Event,
    /// The object that it happened to.
    pub object: Option<ObjectRef>,
    /// The store's revision that was written, or is known now.
    pub revision: Option<u64>,
    /// The cause.
    pub cause: Option<Cause>,
    /// How long the hop took, in microseconds; 0 if that was not measured.
    pub took_us: u64,
    /// The API request, on records of the API server.
    pub request: Option<Request>,
    /// The object's bytes, on records of a committed write. They are not part of the JSON form.
    pub body: Option<Bytes>,
}

impl Record {
    /// Makes a record to fill in; `emit` adds number, time, node and component.
    pub fn new(event: Event) -> Record {
        Record {
            seq: 0,
            at: Timestamp::UNIX_EPOCH,
            node: String::new(),
            component: Component::Unnamed,
            event,
            object: None,
            revision: None,
            cause: None,
            took_us: 0,
            request: None,
            body: None,
        }
    }
    /// Sets the object that the record is about.
    pub fn object(mut self, resource: &str, namespace: &str, name: &str) -> Record {
        self.object = Some(ObjectRef::new(resource, namespace, name));
        self
    }
    /// Adds the group of a custom resource to the object that the record is about.
    pub fn group(mut self, group: &str) -> Record {
        if let Some(object) = &mut self.object {
            object.group = group.to_string();
        }
        self
    }
    /// Sets the revision.
    pub fn revision(mut self, revision: u64) -> Record {
        self.revision = Some(revision);
        self
    }
    /// Sets the cause.
    pub fn cause(mut self, cause: Option<Cause>) -> Record {
        self.cause = cause;
        self
    }
    /// Sets how long the hop took.
    pub fn took(mut self, took: Duration) -> Record {
        self.took_us = took.as_micros() as u64;
        self
    }
    /// Returns what the write did, if the record is about a committed write of the API server.
    pub fn write(&self) -> Option<&Write> {
        match &self.event {
            Event::Commit(write) => Some(write),
            _ => None,
        }
    }
    /// Returns how the request was answered, if the record is about an answer of the API server.
    pub fn answer(&self) -> Option<&Answer> {
        match &self.event {
            Event::Answer(answer) => Some(answer),
            _ => None,
        }
    }
}
