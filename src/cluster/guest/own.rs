//! The cluster of this process, as its guests use it.

use super::{HostCluster, Inside, LessonScope, Offers, Seen};
use crate::error::{Error, chain};
use crate::home::Place;
use crate::refusal::Refusal;
use crate::spec::NodeSpec;
use crate::undo::{self, Past};
use crate::world::World;
use api::kinds::Kind;
use bytes::Bytes;
use client::Client;
use etcd::{
    self, Storage,
    api::{
        Compare, CompareResult, CompareTarget, PutRequest, RangeRequest, RequestOp, ResponseOp, TxnRequest,
    },
};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tap::Tap;
use tokio::net::TcpStream;

/// The cluster that this process is.
pub(crate) struct OwnCluster {
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

    /// Lists the members that serve, in the order in which they are asked: one that no fault
    /// touches and that knows a leader first, because one that is cut off answers after seconds,
    /// and with an error.
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

impl HostCluster for OwnCluster {
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
    /// Returns a client with all rights.
    fn client(&self, user: &str) -> Result<Client, Error> {
        self.world.client(
            "",
            user,
            "system:masters",
            &format!("{user}/{}", api::VERSION),
            self.world.dialer(),
        )
    }
    /// Returns the path of a kubeconfig with all rights. It lies in this process's memory: a file
    /// would lend the teacher's name to everyone who can read it.
    fn kubeconfig(&self, user: &str) -> Result<PathBuf, Error> {
        let mut all = self.world.kubeconfigs.lock();
        if !all.contains_key(user) {
            let text = crate::kubeconfig::kubeconfig_of(&self.world, user)?;
            let file = linux::fds::memory_file(text.as_bytes());
            let file = file.map_err(Error::Kernel)?;
            all.insert(user.to_string(), file);
        }
        let fd = all.get(user).map_or(-1, AsRawFd::as_raw_fd);
        Ok(PathBuf::from(format!("/proc/self/fd/{fd}")))
    }
    fn past(&self, past: Past) -> BoxFuture<'_, Result<Value, String>> {
        Box::pin(async move {
            let done = undo::send(&self.world, past).await;
            done.map_err(|e| e.say(lang::Lang::En))
        })
    }
    fn lesson_scope(
        &self,
        _: String,
        _: Vec<&'static Kind>,
        _: bool,
    ) -> BoxFuture<'_, Result<Option<LessonScope>, Error>> {
        Box::pin(std::future::ready(Ok(Some(LessonScope::default()))))
    }
    fn lesson_namespaces(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(std::future::ready(vec![]))
    }
    fn leave(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        let why = Refusal::NoLessonNamespaces { name: self.world.place.name.clone() };
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
        let from = move |node: Arc<crate::node::Node>| async move {
            (node.spec.name.clone(), in_time(limit, node.network.dial(to)).await)
        };
        Box::pin(futures::future::join_all(self.world.all_nodes().into_iter().map(from)))
    }
    fn has_port(&self, port: u16) -> BoxFuture<'_, bool> {
        let host = self.world.fabric.host();
        Box::pin(async move { host.has_port(port).await })
    }
    fn put_key<'a>(&'a self, key: &'a str, value: String, version: i64) -> BoxFuture<'a, Result<(), String>> {
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
    /// Does nothing: the tap has each commit as soon as it is made.
    fn catch_up(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
    /// Does nothing: the tap has the version already, from the API server.
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
