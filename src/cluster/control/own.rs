//! The answers on the control socket that only a cluster of our own can give.

use super::{Reply, Target, network};
use crate::boot::ready::Progress;
use crate::faults::{Fault, inject};
use crate::undo::{self, Past};
use crate::world::World;
use apiserver::Server;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use linux::boot::Pids;
use serde_json::{Value, json};
use std::sync::Arc;
use tap::Tap;

/// A cluster of our own, as the control socket asks it.
pub(crate) struct OwnTarget {
    pub world: Arc<World>,
    pub pids: Pids,
    pub api_url: String,
}

impl Target for OwnTarget {
    fn tap(&self) -> &Tap {
        &self.world.tap
    }

    fn status<'a>(&'a self, progress: &'a Progress) -> BoxFuture<'a, Value> {
        Box::pin(async move {
            let servers: Vec<Server> = self.world.api_servers.borrow().values().cloned().collect();
            self.status_with(progress, progress.api && any_is_ready(servers).await)
        })
    }

    fn fault(&self, fault: Fault) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            match inject::act(&self.world, fault).await {
                Ok(done) => Reply::Ok(done),
                Err(error) => error.into(),
            }
        })
    }

    fn past(&self, past: Past) -> BoxFuture<'_, Reply> {
        Box::pin(undo::ask(&self.world, past))
    }

    fn network(&self) -> BoxFuture<'_, Reply> {
        Box::pin(async move { Reply::Ok(json!(network::read(&self.world).await)) })
    }

    fn without(&self, guest: &str) -> Reply {
        Reply::Error(format!("this cluster has no guest {guest:?}"))
    }
}

impl OwnTarget {
    /// Returns the status, when it is known whether an API server answers.
    fn status_with(&self, progress: &Progress, is_served: bool) -> Value {
        let world = &self.world;
        let nodes: Vec<Value> = world
            .spec
            .nodes()
            .iter()
            .map(|n| {
                let role = if n.control_plane { "control-plane" } else { "worker" };
                let ready = readiness(progress, is_served, &n.name, world.faults.is_off(&n.name));
                json!({"name": n.name, "role": role, "ready": ready})
            })
            .collect();
        let etcd = match &world.spec.external_etcd {
            Some(external) => external.status(),
            None => world.listeners.status(&world.place),
        };
        json!({
            "name": world.spec.name,
            "state": if progress.started { "running" } else { "starting" },
            "kubeconfig": world.place.kubeconfig(),
            "apiServers": [self.api_url],
            "nodes": nodes,
            "etcd": etcd,
            "pids": self.pids,
            "clock": clock::scale(),
            "faults": world.faults.list(),
            "progress": progress,
        })
    }
}

/// Returns whether one of these API servers can answer now. One that runs may be unable to: its
/// store has no majority, its member is cut off from the others, or the external etcd does not
/// answer. All are asked at once, and each says so within 400 ms.
async fn any_is_ready(servers: Vec<Server>) -> bool {
    let mut asked = FuturesUnordered::new();
    for server in &servers {
        asked.push(server.is_ready());
    }
    while let Some(is_ready) = asked.next().await {
        if is_ready {
            return true;
        }
    }
    false
}

/// Returns whether a node is ready. `None`: it is not known, because no API server answers
/// (`is_served`), and the last status that was heard may be of any time before. At a start there is
/// no earlier status: nodes are not ready then. A node that is switched off is not ready, although
/// its last status may say Ready.
fn readiness(progress: &Progress, is_served: bool, name: &str, is_off: bool) -> Option<bool> {
    match is_off {
        true => Some(false),
        false if progress.started && !is_served => None,
        false => Some(progress.ready_nodes.iter().any(|ready| ready == name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An external etcd that does not answer, or members that are all cut off from each other: the
    /// API servers run, and `status` said that all nodes are ready.
    #[tokio::test]
    async fn an_api_server_whose_store_does_not_answer_does_not_answer_either() {
        let dir = tempfile::tempdir().unwrap();
        let config = etcd::Config::new("cp1", dir.path().join("data"), Tap::new(), rng::Rng::seeded(1));
        let store = etcd::Server::start(config).await.unwrap();
        let fixture = apiserver::testing::start_on(dir.path(), Arc::new(store.kv())).await;
        assert!(any_is_ready(vec![fixture.server.clone()]).await);
        store.kill();
        let silent = async { while any_is_ready(vec![fixture.server.clone()]).await {} };
        let silent = clock::timeout(std::time::Duration::from_secs(60), silent).await; // its threads end soon
        assert!(silent.is_some() && !any_is_ready(vec![]).await);
        fixture.server.crew().kill();
    }

    #[test]
    fn the_readiness_of_nodes_is_not_known_while_no_api_server_answers() {
        let started = Progress { started: true, ready_nodes: vec!["a".into()], ..Progress::default() };
        let ready = |is_served, name, is_off| readiness(&started, is_served, name, is_off);
        assert_eq!([ready(true, "a", false), ready(true, "b", false)], [Some(true), Some(false)]);
        assert_eq!(ready(true, "a", true), Some(false), "its last status says Ready");
        assert_eq!([ready(false, "a", false), ready(false, "b", false)], [None, None]);
        assert_eq!(ready(false, "a", true), Some(false), "this is known without an API server");
        assert_eq!(readiness(&Progress::default(), false, "a", false), Some(false), "it starts");
    }
}
