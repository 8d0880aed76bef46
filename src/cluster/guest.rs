//! The interface for what runs in a cluster's process but is no part of the cluster: the lesson
//! engine, the labs. The cluster knows that it has guests, not which; a guest knows the cluster
//! only through [`Ground`], be it Ropewalk's own cluster or a foreign one.

use super::control::Reply;
use super::error::{Error, chain};
use super::home::Place;
use super::refusal::Refusal;
use super::spec::NodeSpec;
use super::undo::Past;
use super::world::World;
use api::kinds::Kind;
use bytes::Bytes;
use client::{Client, Delta};
use etcd::{
    self, Storage,
    api::{
        Compare, CompareResult, CompareTarget, PutRequest, RangeRequest, RequestOp, ResponseOp, TxnRequest,
    },
};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tap::Tap;
use task::Crew;
use tokio::net::TcpStream;

/// The store's key that keeps history from the regular compaction, for [`Ground::keep`]: its value
/// is the oldest revision that is needed, or empty.
pub use apiserver::HOLD;

/// Size and abilities of a cluster, which others may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offers {
    /// It is Ropewalk's own: every hop is recorded, it can be broken on purpose and taken back, and
    /// its NodePorts are on localhost.
    pub own: bool,
    /// Nodes that run pods only.
    pub workers: u8,
    /// Nodes with a control plane: 1, 3 or 5 in a cluster of our own.
    pub control_planes: u8,
}

/// The place of a lesson: the whole cluster, or one namespace that stands for the one that lessons
/// call `default`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// The namespace; `None`: the whole cluster is there for it.
    pub namespace: Option<String>,
    /// It was made just now, so nothing of an earlier sitting is left in it.
    pub fresh: bool,
    /// Kinds, by qualified plural, that may not be watched there.
    pub denied: BTreeSet<String>,
}

/// The name that lessons have for the namespace they are played in.
pub const USUAL: &str = "default";

impl Room {
    /// Returns the name that lessons have for a namespace. Example: `default` for the lesson's own.
    pub fn lesson_name<'a>(&self, namespace: &'a str) -> &'a str {
        if self.namespace.as_deref() == Some(namespace) { USUAL } else { namespace }
    }

    /// Replaces the object's namespace by the name that lessons have for it.
    pub fn rename_for_lessons(&self, object: &mut Value) {
        for at in ["/metadata/namespace", "/involvedObject/namespace"] {
            if let Some(Value::String(namespace)) = object.pointer_mut(at)
                && self.namespace.as_ref() == Some(namespace)
            {
                *namespace = USUAL.into();
            }
        }
    }

    /// Returns the namespace that lessons call so: the opposite of [`Room::lesson_name`].
    pub fn real_name<'a>(&'a self, namespace: &'a str) -> &'a str {
        match &self.namespace {
            Some(own) if namespace == USUAL => own,
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
pub trait Ground: Send + Sync + 'static {
    /// Returns the directory of this cluster's files.
    fn place(&self) -> &Place;
    /// Returns the stream of records of all that happens.
    fn tap(&self) -> &Tap;
    /// Size and abilities of this cluster, for lessons that need some.
    fn offers(&self) -> Offers;
    /// A client of the API under a user name of its own, so that its acts are not taken for the
    /// learner's.
    fn client(&self, user: &str) -> Result<Client, Error>;
    /// A kubeconfig for such a user, for what this process does with kubectl's words.
    fn kubeconfig(&self, user: &str) -> Result<PathBuf, Error>;
    /// Answers about the cluster's past, or goes back in it. An error is for people.
    fn past(&self, past: Past) -> BoxFuture<'_, Result<Value, String>>;
    /// A room for a lesson that looks at these kinds. `None` if there is none yet and none is to be
    /// made.
    fn room(
        &self,
        lesson: String,
        kinds: Vec<&'static Kind>,
        make: bool,
    ) -> BoxFuture<'_, Result<Option<Room>, Error>>;
    /// The names of all rooms that there are.
    fn rooms(&self) -> BoxFuture<'_, Vec<String>>;
    /// Gives all rooms up, with everything in them; their names.
    fn leave(&self) -> BoxFuture<'_, Result<Vec<String>, Error>>;
    /// Answers a question about the cluster's inside. An error is for people.
    fn inside<'a>(&'a self, what: &'a Inside) -> BoxFuture<'a, Result<Value, String>>;
    /// A TCP connection from each node's own network, by the node's name: from where no pod can
    /// answer for another. One that nothing answers within `limit` has timed out, whatever becomes
    /// of the others. None where the nodes are not this process's.
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
    fn keep<'a>(&'a self, key: &'a str, value: String, version: i64) -> BoxFuture<'a, Result<(), String>>;
    /// Has the tap know the present revision: a step begins at one.
    fn catch_up(&self) -> BoxFuture<'_, ()>;
    /// A guest's watch has shown something, which the tap may not know.
    fn saw(&self, seen: Seen<'_>);
}

/// The cluster that a guest stands on, shared by all of its guests.
pub type Host = Arc<dyn Ground>;

/// The cluster that this process is.
pub(super) struct OwnCluster {
    pub world: Arc<World>,
}

impl OwnCluster {
    async fn key(&self, key: &str) -> Result<Value, String> {
        // Any member answers as of now, or not at all.
        let asked = RangeRequest { key: key.as_bytes().to_vec().into(), ..RangeRequest::default() };
        let answer = first_answer(self.members_to_ask(), |store| {
            let asked = asked.clone();
            async move { store.range(asked).await.map_err(|e| chain(&e)) }
        });
        let answer = answer.await?;
        Ok(answer.kvs.first().map_or_else(
            || json!({}),
            |kv| {
                json!({
                    "value": String::from_utf8_lossy(&kv.value), "create_revision": kv.create_revision,
                    "mod_revision": kv.mod_revision, "version": kv.version,
                })
            },
        ))
    }

    /// The members that serve, in the order in which they are asked: one that no fault touches and
    /// that knows a leader first, because one that is cut off answers after seconds, and with an
    /// error.
    fn members_to_ask(&self) -> Vec<Arc<dyn Storage>> {
        let stores = self.world.stores.borrow();
        let mut members: Vec<_> = stores.iter().collect();
        members.sort_by_key(|(node, store)| {
            let is_lost = store.status().is_some_and(|s| s.leader.is_empty());
            (is_lost, self.world.faults.touches(node))
        });
        members.into_iter().map(|(_, store)| store.clone()).collect()
    }

    fn members(&self) -> Result<Value, String> {
        if self.world.spec.external_etcd.is_some() {
            return Err("the store is an external etcd: ask it with etcdctl".into());
        }
        let stores = self.world.stores.borrow();
        let member = |node: NodeSpec| {
            let status = stores.get(&node.name).and_then(|s| s.status());
            let is = |f: fn(&etcd::Status) -> bool| status.as_ref().is_some_and(f);
            json!({
                "name": node.name,
                "leader": is(|s| s.is_leader),
                "term": status.as_ref().map_or(0, |s| s.term),
                "healthy": is(|s| !s.leader.is_empty() && s.refuses.is_none()),
            })
        };
        Ok(self.world.control_planes().into_iter().map(member).collect())
    }
}

impl Ground for OwnCluster {
    fn place(&self) -> &Place {
        &self.world.place
    }
    fn tap(&self) -> &Tap {
        &self.world.tap
    }
    fn offers(&self) -> Offers {
        let spec = &self.world.spec;
        Offers { own: true, workers: spec.workers, control_planes: spec.control_planes }
    }
    /// With all rights.
    fn client(&self, user: &str) -> Result<Client, Error> {
        self.world.client(
            "",
            user,
            "system:masters",
            &format!("{user}/{}", api::VERSION),
            self.world.dialer(),
        )
    }
    /// With all rights. It lies in this process's memory: a file would lend the teacher's name to
    /// everyone who can read it.
    fn kubeconfig(&self, user: &str) -> Result<PathBuf, Error> {
        let mut all = self.world.kubeconfigs.lock();
        if !all.contains_key(user) {
            let text = super::kubeconfig::kubeconfig_of(&self.world, user)?;
            let file = linux::fds::memory_file(text.as_bytes());
            let file = file.map_err(Error::Kernel)?;
            all.insert(user.to_string(), file);
        }
        let fd = all.get(user).map_or(-1, AsRawFd::as_raw_fd);
        Ok(PathBuf::from(format!("/proc/self/fd/{fd}")))
    }
    fn past(&self, past: Past) -> BoxFuture<'_, Result<Value, String>> {
        Box::pin(async move {
            let done = super::undo::send(&self.world, past).await;
            done.map_err(|e| e.say(lang::Lang::En))
        })
    }
    fn room(&self, _: String, _: Vec<&'static Kind>, _: bool) -> BoxFuture<'_, Result<Option<Room>, Error>> {
        Box::pin(std::future::ready(Ok(Some(Room::default()))))
    }
    fn rooms(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(std::future::ready(vec![]))
    }
    fn leave(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        let why = Refusal::NoRooms { name: self.world.place.name.clone() };
        Box::pin(std::future::ready(Err(Error::from(why))))
    }
    fn inside<'a>(&'a self, what: &'a Inside) -> BoxFuture<'a, Result<Value, String>> {
        Box::pin(async move {
            Ok(match what {
                Inside::Key(key) => self.key(key).await?,
                Inside::Members => self.members()?,
                Inside::Faults => json!(self.world.faults.list()),
            })
        })
    }
    fn dial(
        &self,
        to: SocketAddr,
        limit: Duration,
    ) -> BoxFuture<'_, Vec<(String, std::io::Result<TcpStream>)>> {
        let from = move |node: Arc<super::node::Node>| async move {
            (node.spec.name.clone(), in_time(limit, node.network.dial(to)).await)
        };
        Box::pin(futures::future::join_all(self.world.all_nodes().into_iter().map(from)))
    }
    fn has_port(&self, port: u16) -> BoxFuture<'_, bool> {
        let host = self.world.fabric.host();
        Box::pin(async move { host.has_port(port).await })
    }
    fn keep<'a>(&'a self, key: &'a str, value: String, version: i64) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let value = &value;
            // In turn, and not at once. A member that answers too late may have put it: the next
            // one finds that.
            first_answer(self.members_to_ask(), |store| async move {
                put_once(&*store, key, value, version).await
            })
            .await
        })
    }
    /// The tap has each commit as soon as it is made.
    fn catch_up(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
    /// The tap has it already, from the API server.
    fn saw(&self, _: Seen<'_>) {}
}

/// Asks one store after the other until one answers.
///
/// # Errors
/// What the last one said, or that there is none.
async fn first_answer<S, T, F: Future<Output = Result<T, String>>>(
    stores: Vec<S>,
    ask: impl Fn(S) -> F,
) -> Result<T, String> {
    let mut refused = "no member of the store runs".to_string();
    for store in stores {
        match ask(store).await {
            Ok(answer) => return Ok(answer),
            Err(why) => refused = why,
        }
    }
    Err(refused)
}

/// Puts a key if its version is still this one. If the very same put has been done already, that is
/// no error: sending it a second time changes nothing.
///
/// # Errors
/// The store's, or that something else was written.
async fn put_once(store: &dyn Storage, key: &str, value: &str, version: i64) -> Result<(), String> {
    let (key, value) = (Bytes::from(key.to_string()), Bytes::from(value.to_string()));
    let unchanged = Compare {
        key: key.clone(),
        range_end: Bytes::new(),
        result: CompareResult::Equal,
        target: CompareTarget::Version(version),
    };
    let put = PutRequest { key: key.clone(), value: value.clone(), ..PutRequest::default() };
    let asked = TxnRequest {
        compare: vec![unchanged],
        success: vec![RequestOp::Put(put)],
        failure: vec![RequestOp::Range(RangeRequest { key, ..RangeRequest::default() })],
    };
    let answer = store.txn(asked).await.map_err(|e| chain(&e))?;
    let is_done = match answer.responses.first() {
        Some(ResponseOp::Range(found)) => {
            found.kvs.first().is_some_and(|kv| kv.version == version + 1 && kv.value == value)
        }
        _ => answer.succeeded,
    };
    if is_done { Ok(()) } else { Err("another writer has changed the key meanwhile".into()) }
}

/// A service in the cluster's process that is no part of the cluster, e.g. the lesson engine.
pub trait Guest: Send + Sync + 'static {
    /// The word by which [`super::control::Ask::Guest`] names it.
    fn name(&self) -> &'static str;
    /// Moves in: its tasks belong to the crew.
    fn start(&self, crew: &Crew, host: Host);
    /// Answers a question with one reply or a stream of them.
    fn ask(&self, question: Value) -> BoxStream<'static, Reply>;
}

/// Makes the guests of a cluster when it starts.
pub(crate) type Guests = fn() -> Vec<Arc<dyn Guest>>;

/// Waits for a connection so long. Where packets are dropped nothing answers, and the kernel would
/// go on trying for two minutes.
async fn in_time<T>(
    limit: Duration,
    dialled: impl Future<Output = std::io::Result<T>>,
) -> std::io::Result<T> {
    let late = |_| Err(std::io::ErrorKind::TimedOut.into());
    tokio::time::timeout(limit, dialled).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A NetworkPolicy drops what one of the nodes sends: it alone gets no connection.
    #[tokio::test]
    async fn a_connection_that_nothing_answers_times_out() {
        let never = std::future::pending::<std::io::Result<()>>();
        let late = in_time(Duration::ZERO, never).await;
        assert_eq!(late.map_err(|error| error.kind()), Err(std::io::ErrorKind::TimedOut));
        let there = std::future::ready(Ok(7));
        assert_eq!(in_time(Duration::ZERO, there).await.ok(), Some(7));
    }

    /// The first control plane is cut off, and two members serve.
    #[tokio::test]
    async fn a_member_that_does_not_answer_keeps_no_check_from_the_others() {
        let ask =
            |store: u8| async move { if store == 2 { Ok(store) } else { Err(format!("{store}: timeout")) } };
        assert_eq!(first_answer(vec![1, 2, 3], ask).await, Ok(2));
        assert_eq!(first_answer(vec![1, 3], ask).await, Err("3: timeout".into()));
        assert_eq!(first_answer(vec![], ask).await, Err("no member of the store runs".into()));
    }

    /// A member of the store did not answer in time, has put the key all the same, and the put was
    /// sent to the next member.
    #[tokio::test]
    async fn a_put_that_is_sent_twice_is_done_once() {
        let store = etcd::Kv::in_memory(rng::Rng::seeded(1));
        let put = async |value: &str, version| put_once(&store, "/ropewalk/x", value, version).await;
        let version = async || {
            let asked = RangeRequest { key: "/ropewalk/x".into(), ..RangeRequest::default() };
            store.range(asked).await.unwrap().kvs.first().map_or(0, |kv| kv.version)
        };
        assert_eq!((put("a", 0).await, put("a", 0).await, version().await), (Ok(()), Ok(()), 1));
        assert_eq!((put("b", 1).await, version().await), (Ok(()), 2));
        assert!(put("a", 0).await.is_err() && put("c", 1).await.is_err(), "it has changed since");
        assert_eq!(version().await, 2);
    }
}
