//! What only a cluster of our own can answer on its control socket.

use super::control::{Keeper, Reply};
use super::ready::Progress;
use super::undo::{self, Past};
use super::world::World;
use crate::linux::boot::Pids;
use crate::tap::Tap;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct Main {
    pub world: Arc<World>,
    pub pids: Pids,
    pub api_url: String,
}

impl Keeper for Main {
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
                json!({"name": n.name, "role": role, "ready": progress.ready_nodes.contains(&n.name)})
            })
            .collect();
        json!({
            "name": world.spec.name,
            "state": if progress.ready { "running" } else { "starting" },
            "kubeconfig": world.place.kubeconfig(),
            "apiServers": [self.api_url],
            "nodes": nodes,
            "pids": self.pids,
            "progress": progress,
        })
    }

    fn kill(&self, component: &str, node: Option<&str>) -> Reply {
        let world = &self.world;
        let nodes: Vec<_> =
            world.all_nodes().into_iter().filter(|n| node.is_none_or(|name| name == n.spec.name)).collect();
        if nodes.is_empty() {
            let known: Vec<String> = world.all_nodes().iter().map(|n| n.spec.name.clone()).collect();
            return Reply::Error(format!(
                "there is no node {:?}; there are {}",
                node.unwrap_or_default(),
                known.join(", ")
            ));
        }
        let mut killed = Vec::new();
        for node in nodes {
            let hit = match component {
                "kubelet" => {
                    let crew = node.kubelet.lock().unwrap_or_else(|e| e.into_inner()).clone();
                    crew.inspect(|c| c.kill()).is_some()
                }
                name => node.cri.kill(name),
            };
            if hit {
                killed.push(format!("{component}/{}", node.spec.name));
            }
        }
        match killed.is_empty() {
            true => Reply::Error(format!(
                "{component:?} does not run there; components are kubelet, {}",
                super::components::ALL.join(", ")
            )),
            false => Reply::Ok(json!({"killed": killed})),
        }
    }

    fn past(&self, past: Past) -> BoxFuture<'_, Reply> {
        Box::pin(undo::ask(&self.world, past))
    }

    fn without(&self, guest: &str) -> String {
        format!("nobody here is called {guest:?}")
    }
}
