//! The interface for what runs in a cluster's process but is no part of the cluster: the lesson
//! engine, the labs. The cluster knows that it has guests, not which; a guest knows the cluster
//! only through [`HostCluster`], be it Ropewalk's own cluster (`own`) or a foreign one
//! ([`foreign`](super::foreign)).

pub(crate) mod own;

use super::control::Reply;
use super::error::Error;
use super::home::Place;
use super::undo::Past;
use api::kinds::Kind;
use client::{Client, Delta};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tap::Tap;
use task::Crew;
use tokio::net::TcpStream;

/// The store's key that keeps history from the regular compaction, for [`HostCluster::put_key`]:
/// its value is the oldest revision that is needed, or empty.
pub use apiserver::HOLD;

/// Size and abilities of a cluster, which others may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offers {
    /// The cluster is Ropewalk's own: every hop is recorded, it can be broken on purpose and taken
    /// back, and its NodePorts are on localhost.
    pub own: bool,
    /// Nodes that run pods only.
    pub workers: u8,
    /// Nodes with a control plane: 1, 3 or 5 in a cluster of our own.
    pub control_planes: u8,
}

/// The part of a cluster that a lesson is played in: the whole cluster, or one namespace that
/// stands for the one that lessons call `default` ([`LESSON_NAMESPACE`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LessonScope {
    /// The lesson's namespace; `None`: the whole cluster is there for it.
    pub namespace: Option<String>,
    /// The namespace was made just now, so nothing of an earlier sitting is left in it.
    pub fresh: bool,
    /// Kinds, by qualified plural, that may not be watched there.
    pub denied: BTreeSet<String>,
}

/// The name that lessons have for the namespace they are played in.
pub const LESSON_NAMESPACE: &str = "default";

impl LessonScope {
    /// Returns the name that lessons have for a namespace. Example: `default` for the lesson's own.
    pub fn lesson_name<'a>(&self, namespace: &'a str) -> &'a str {
        if self.namespace.as_deref() == Some(namespace) { LESSON_NAMESPACE } else { namespace }
    }

    /// Replaces the object's namespace by the name that lessons have for it.
    pub fn rename_for_lessons(&self, object: &mut Value) {
        for at in ["/metadata/namespace", "/involvedObject/namespace"] {
            if let Some(Value::String(namespace)) = object.pointer_mut(at)
                && self.namespace.as_ref() == Some(namespace)
            {
                *namespace = LESSON_NAMESPACE.into();
            }
        }
    }

    /// Returns the namespace that lessons call so: the opposite of [`LessonScope::lesson_name`].
    pub fn real_name<'a>(&'a self, namespace: &'a str) -> &'a str {
        match &self.namespace {
            Some(own) if namespace == LESSON_NAMESPACE => own,
            _ => namespace,
        }
    }
}

/// Versions of objects that a watch has shown.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The kind's plural, with its group for a custom resource: `widgets.example.com`.
    pub plural: &'a str,
    /// The only namespace that the watch is about; `None`: all of them.
    pub namespace: Option<&'a str>,
    /// What happened to them: whole objects, the last version of one that was deleted.
    pub delta: Delta<&'a Value>,
}

/// A question about a cluster's inside.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Inside {
    /// A key of the store, e.g. `/registry/pods/default/web`: `{value, create_revision,
    /// mod_revision, version}`, or `{}`.
    Key(String),
    /// The store's members, also those that do not run: `[{name, leader, term, healthy}]`.
    Members,
    /// What was broken on purpose and is so now: `[{fault, nodes, amount, since}]`.
    Faults,
}

/// The cluster as a guest may use it.
pub trait HostCluster: Send + Sync + 'static {
    /// Returns the directory of this cluster's files.
    fn place(&self) -> &Place;
    /// Returns the stream of records of all that happens.
    fn tap(&self) -> &Tap;
    /// Returns size and abilities of this cluster, for lessons that need some.
    fn offers(&self) -> Offers;
    /// Returns a client of the API under a user name of its own, so that its acts are not taken for
    /// the learner's.
    fn client(&self, user: &str) -> Result<Client, Error>;
    /// Returns the path of a kubeconfig for such a user, for commands of kubectl in this process.
    fn kubeconfig(&self, user: &str) -> Result<PathBuf, Error>;
    /// Answers about the cluster's past, or goes back in it. An error is for people.
    fn past(&self, past: Past) -> BoxFuture<'_, Result<Value, String>>;
    /// Returns the scope of a lesson that looks at these kinds. `None` if the lesson needs a
    /// namespace of its own, there is none yet, and none is to be made.
    fn lesson_scope(
        &self,
        lesson: String,
        kinds: Vec<&'static Kind>,
        make: bool,
    ) -> BoxFuture<'_, Result<Option<LessonScope>, Error>>;
    /// Lists the names of all namespaces that were made for lessons.
    fn lesson_namespaces(&self) -> BoxFuture<'_, Vec<String>>;
    /// Gives up all these namespaces, with everything in them. Returns their names.
    fn leave(&self) -> BoxFuture<'_, Result<Vec<String>, Error>>;
    /// Answers a question about the cluster's inside. An error is for people.
    fn inside<'a>(&'a self, what: &'a Inside) -> BoxFuture<'a, Result<Value, String>>;
    /// Opens a TCP connection from each node's own network, by the node's name: from where no pod
    /// can answer for another. One that nothing answers within `limit` has timed out, whatever
    /// becomes of the others. None where the nodes are not this process's.
    fn dial(
        &self,
        to: SocketAddr,
        limit: Duration,
    ) -> BoxFuture<'_, Vec<(String, std::io::Result<TcpStream>)>>;
    /// Returns whether a TCP port of the learner's loopback (127.0.0.1 and ::1) belongs to a
    /// Service of this cluster: behind any other port may be another program of the machine.
    fn has_port(&self, port: u16) -> BoxFuture<'_, bool>;
    /// Puts a key of the store that is a guest's own, below `/ropewalk/`, if its version is still
    /// this one (0: it is not there). After an error, which is for people, it is not known whether
    /// the put took effect, now or later: the guest reads before it puts again.
    fn put_key<'a>(&'a self, key: &'a str, value: String, version: i64) -> BoxFuture<'a, Result<(), String>>;
    /// Makes the tap know the present revision: a step of a lesson begins at one.
    fn catch_up(&self) -> BoxFuture<'_, ()>;
    /// Notes what a guest's watch has shown, which the tap may not know.
    fn saw(&self, seen: Seen<'_>);
}

/// The cluster that a guest runs beside, shared by all of its guests.
pub type Host = Arc<dyn HostCluster>;

/// A service in the cluster's process that is no part of the cluster, e.g. the lesson engine.
pub trait Guest: Send + Sync + 'static {
    /// Returns the word by which [`super::control::Ask::Guest`] names it.
    fn name(&self) -> &'static str;
    /// Moves in: its tasks belong to the crew.
    fn start(&self, crew: &Crew, host: Host);
    /// Answers a question with one reply or a stream of them.
    fn ask(&self, question: Value) -> BoxStream<'static, Reply>;
}

/// Makes the guests of a cluster when it starts.
pub(crate) type Guests = fn() -> Vec<Arc<dyn Guest>>;
