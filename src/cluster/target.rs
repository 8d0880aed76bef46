//! What only a cluster of our own can answer on its control socket.

use super::control::Target;
use super::faults::Fault;
use super::inject;
use super::network;
use super::ready::Progress;
use super::reply::Reply;
use super::undo::{self, Past};
use super::world::World;
use futures::future::BoxFuture;
use linux::boot::Pids;
use serde_json::{Value, json};
use std::sync::Arc;
use tap::Tap;

pub(super) struct Main {
    pub world: Arc<World>,
    pub pids: Pids,
    pub api_url: String,
}

impl Target for Main {
    fn tap(&self) -> &Tap {
        &self.world.tap
    }

    fn status(&self, progress: &Progress) -> Value {
        let world = &self.world;
        let nodes: Vec<Value> = world
            .spec
            .nodes()
            .iter()
            .map(|n| {
                let role = if n.control_plane { "control-plane" } else { "worker" };
                // A node that is switched off counts as not ready, although its last status may say
                // Ready.
                let ready = progress.ready_nodes.contains(&n.name) && !world.faults.is_off(&n.name);
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
